"""Search spaces: what a hyperparameter is drawn from, and stateless draws."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from qn_env.errors import ConfigError


class Distribution(Protocol):
    """What one hyperparameter is drawn from."""

    def draw(self, rng: np.random.Generator) -> Any:
        """One value."""


@dataclass(frozen=True)
class Choice:
    """One of some values, each as likely."""

    values: tuple[Any, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        """One of the values."""
        return self.values[int(rng.integers(len(self.values)))]


@dataclass(frozen=True)
class Integer:
    """A whole number from `low` to `high`, both included, each as likely."""

    low: int
    high: int

    def draw(self, rng: np.random.Generator) -> int:
        """A whole number."""
        return int(rng.integers(self.low, self.high, endpoint=True))


@dataclass(frozen=True)
class Uniform:
    """A number from `low` to `high`, uniform."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """A number."""
        return float(rng.uniform(self.low, self.high))


@dataclass(frozen=True)
class LogUniform:
    """A number from `low` to `high` whose logarithm is uniform."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """A number."""
        return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))


Space = Mapping[str, Distribution]


def draw(space: Space, *, seed: int, trial: int) -> dict[str, Any]:
    """The values of one trial; they depend on the seed, the trial's number and each name alone.

    So any order, any number of workers and a hyperparameter more give the same trials.

    Examples:
        >>> space = {"hidden": Choice((5, 10, 20)), "rate": LogUniform(1e-4, 1e-1)}
        >>> draw(space, seed=0, trial=3) == draw(space, seed=0, trial=3)
        True
    """
    return {
        name: distribution.draw(np.random.default_rng([seed, trial, zlib.crc32(name.encode())]))
        for name, distribution in space.items()
    }


def space_of(agent: Any, name: str) -> Space:
    """The space an agent declares as `space`.

    Raises:
        ConfigError: it declares none.
    """
    space: Space | None = getattr(agent, "space", None)
    if space is None:
        raise ConfigError(
            f"agent {name!r} declares no search space; give its class an attribute `space`, a mapping from "
            "the names of its options to distributions of agents.space."
        )
    return space

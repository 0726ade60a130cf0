"""Search spaces: what a hyperparameter is drawn from, and stateless draws."""

from __future__ import annotations

import importlib
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from agents.layers import unwrapped
from qn_env.errors import ConfigError, did_you_mean


class Distribution(Protocol):
    """What one hyperparameter is drawn from."""

    def draw(self, rng: np.random.Generator) -> object:
        """One value."""


@dataclass(frozen=True)
class Choice:
    """One of some values, each as likely."""

    values: tuple[object, ...]

    def draw(self, rng: np.random.Generator) -> object:
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

# Published spaces: where the function of an agent's configuration is, and which class that has to be.
PRESETS = {
    "quantnet2020": ("agents.quantnet.space:quantnet2020", "agents.quantnet.config:QuantNetConfig"),
    "dmn2019": ("agents.dmn.space:dmn2019", "agents.dmn.config:DmnConfig"),
    "wood2022": ("agents.dmn.space:wood2022", "agents.dmn.config:DmnConfig"),
}


def draw(space: Space, *, seed: int, trial: int) -> dict[str, object]:
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


def space_of(agent: object, name: str) -> Space:
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


def preset_space(preset: str, agent: object, name: str) -> Space:
    """The published space of that name, for an agent.

    Raises:
        ConfigError: an unknown preset, or one of another kind of agent.
    """
    if preset not in PRESETS:
        raise ConfigError(f"unknown space {preset!r}. {did_you_mean(preset, PRESETS)}")
    made, config = (_load_named(path) for path in PRESETS[preset])
    configured = getattr(unwrapped(agent), "config", None)
    if not isinstance(configured, config):
        fitting = [known for known, (_, of) in PRESETS.items() if isinstance(configured, _load_named(of))]
        known = f"fitting: {', '.join(fitting)}" if fitting else "none fits it; leave --space out"
        raise ConfigError(f"space {preset!r} is not one of agent {name!r}; {known}.")
    space: Space = made(configured)
    return space


def _load_named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)

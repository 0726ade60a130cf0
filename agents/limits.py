"""The bounds of hyperparameters, for every configuration of an agent that learns.

They are wide: no network of this project comes near them, and beyond them nothing could be trained. A file
that
asks for more is refused by name before memory is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields

from qn_env.checks import MOST_COST_BPS, check_number, check_whole

MOST_WIDTH = 4_096  # of a layer, a state, an embedding
MOST_LAYERS = 64
MOST_COUNT = 10_000_000  # steps, epochs, windows of a step, days of one


def check_widths(config: object, names: Iterable[str]) -> None:
    """Refuse a width that is no whole number from 1 to `MOST_WIDTH`; None only where it is the default.

    Raises:
        ConfigError: with the name of the field.
    """
    _check(config, names, MOST_WIDTH)


def check_layers(config: object, names: Iterable[str]) -> None:
    """Refuse a number of layers that is no whole number from 1 to `MOST_LAYERS`.

    Raises:
        ConfigError: with the name of the field.
    """
    _check(config, names, MOST_LAYERS)


def check_counts(config: object, names: Iterable[str]) -> None:
    """Refuse a count that is no whole number from 1 to `MOST_COUNT`; None only where it is the default.

    Raises:
        ConfigError: with the name of the field.
    """
    _check(config, names, MOST_COUNT)


def check_shares(config: object, names: Iterable[str]) -> None:
    """Refuse a share that is not in [0, 1).

    Raises:
        ConfigError: with the name of the field.
    """
    below = math.nextafter(1.0, 0.0)
    for name in names:
        check_number(name, getattr(config, name), 0.0, below, unit="a rate in [0, 1), a number")


def check_positive(config: object, names: Iterable[str]) -> None:
    """Refuse what is not a finite number above 0.

    Raises:
        ConfigError: with the name of the field.
    """
    for name in names:
        check_number(name, getattr(config, name), 0.0, math.inf, above=True)


def check_penalties(config: object, names: Iterable[str]) -> None:
    """Refuse what is not a finite number from 0 on; costs, in basis points, up to the whole amount.

    Raises:
        ConfigError: with the name of the field.
    """
    for name in names:
        most = MOST_COST_BPS if name.endswith("_bps") else math.inf
        check_number(name, getattr(config, name), 0.0, most)


def _check(config: object, names: Iterable[str], most: int) -> None:
    optional = {field.name for field in fields(config) if field.default is None}  # type: ignore[arg-type]
    for name in names:
        value = getattr(config, name)
        if not (value is None and name in optional):
            check_whole(name, value, 1, most)

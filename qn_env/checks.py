"""Arguments and settings checked at the edge: refused by name, with what was found and what was expected.

Most checks take the argument's name and the value, and return the value in the type that the code behind them
relies on. The bounds below are wide: no sound experiment comes near them, and nothing beyond them could be
computed or held in memory.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from itertools import islice
from numbers import Integral, Real
from pathlib import Path
from typing import TypeVar

import numpy as np

from qn_env.arrays import Numbers
from qn_env.errors import ConfigError, did_you_mean

MOST_DAYS = 150_000  # the trading days between 1678 and 2261, the years whose dates pandas holds
MOST_BARS = 100_000_000  # rows of a panel or of a span: three years of seconds
MOST_YEARS = 200  # longer than any record of daily prices
MOST_WINDOW = 20_000  # days shown at once: eighty years
MOST_LAG = 1_000  # four years between a decision and its trade; so many orders are kept
MOST_SEEDS = 10_000  # trainings of one agent
MOST_SEED = 2**32 - 1  # of one generator: NumPy's older ones, which Stable-Baselines3 seeds, take no larger
MOST_FIRST_SEED = 2**31 - 1  # of a row of seeds that are counted on from it
MOST_JOBS = 1_024  # processes
MOST_TRIALS = 1_000_000  # of a search, each a training
MOST_COST_BPS = 10_000.0  # the whole amount that is traded
MOST_MONEY = 1e18  # beyond all the money there is, in any currency
MOST_FEE_BPS = 100_000.0  # a year: ten times the amount that is borrowed
MOST_VOLATILITY = 10.0  # annualised: 1,000%
MOST_AUDITED = 10_000  # days that an audit scrambles after: forty years, each played eight times
MOST_ENVS = 1_000_000  # episodes in one batch
MOST_NUMBERS = 2**29  # of one observation or one synthetic panel: 4 GiB of float64
MOST_ITEMS = 1_000_000  # of a list of names, days or settings

Item = TypeVar("Item")

_SHOWN = 60  # characters of a refused value that are told


def check_whole(name: str, value: object, least: int, most: int) -> int:
    """A whole number within bounds, NumPy's too; True is none, nor is 2.0.

    Raises:
        ConfigError: with the argument's name.

    Examples:
        >>> check_whole("window", 63, 1, 1000)
        63
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ConfigError(f"{name} is {in_words(value)}, expected a whole number from {least} to {most}.")
    number = int(value)
    if number < least:
        raise ConfigError(f"{name} is {in_words(value)}, expected at least {least}.")
    if number > most:
        raise ConfigError(f"{name} is {in_words(value)}, expected at most {most}.")
    return number


def check_number(
    name: str, value: object, least: float, most: float, *, above: bool = False, unit: str = "a number"
) -> float:
    """A finite number within bounds; NaN is in none.

    Args:
        name: of the argument.
        value: what was given.
        least: smallest number allowed; with `above`, the one it must exceed.
        most: the largest.
        above: whether `least` itself is refused.
        unit: what is expected, in words.

    Raises:
        ConfigError: with the argument's name.
    """
    # The upper bound stands first: NaN fails it.
    if (
        not isinstance(value, Real)
        or isinstance(value, bool)
        or not value <= most
        or value < least
        or value == math.inf
        or (above and value == least)
    ):
        bound = f"above {least:g}" if above else f">= {least:g}"
        upper = f" and at most {most:g}" if most < math.inf else " and finite"
        raise ConfigError(f"{name} is {in_words(value)}, expected {unit} {bound}{upper}.")
    return float(value)


def check_flag(name: str, value: object) -> bool:
    """True or False, and nothing that merely counts as one of them.

    Raises:
        ConfigError: with the argument's name.
    """
    if not isinstance(value, bool | np.bool_):
        raise ConfigError(f"{name} is {in_words(value)}, expected True or False.")
    return bool(value)


def check_text(name: str, value: object) -> str:
    """Text that is not empty.

    Raises:
        ConfigError: with the argument's name.
    """
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} is {in_words(value)}, expected text.")
    return value


def check_known(name: str, value: object, known: Iterable[str]) -> str:
    """One of the known words.

    Raises:
        ConfigError: with the argument's name and the nearest known word.
    """
    words = list(known)
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {in_words(value)}, expected one of {', '.join(words)}.")
    if value not in words:
        raise ConfigError(f"unknown {name} {value!r}. {did_you_mean(value, words)}")
    return value


def check_device(name: str, value: object) -> str:
    """What a place for tensors is called; whether there is one is not looked at (`agents.device.resolve`).

    Raises:
        ConfigError: with the argument's name.

    Examples:
        >>> check_device("device", "cuda:1")
        'cuda:1'
    """
    expected = "cpu, cuda (the first card), cuda:N (a card by its number) or auto (cuda where there is one)"
    if not isinstance(value, str):
        raise ConfigError(f"{name} is {in_words(value)}, expected {expected}.")
    if not re.fullmatch(r"cpu|auto|cuda(:\d{1,2})?", value, flags=re.ASCII):
        raise ConfigError(f"unknown {name} {in_words(value)}, expected {expected}.")
    return value


def check_is(name: str, value: object, kind: type, expected: str) -> None:
    """Refuse what is no object of a class.

    Args:
        name: of the argument.
        value: what was given.
        kind: the class.
        expected: what it is, in words: "a Panel".

    Raises:
        ConfigError: with the argument's name.
    """
    if not isinstance(value, kind):
        raise ConfigError(f"{name} is {in_words(value)}, expected {expected}.")


def check_items(
    name: str, value: Iterable[Item], fits: Callable[[Item], bool], expected: str
) -> tuple[Item, ...]:
    """A list, tuple or other iterable of things of one sort; neither text nor a mapping is one.

    Args:
        name: of the argument.
        value: what was given.
        fits: whether one entry is of the sort.
        expected: the entries in words: "a list of features".

    Raises:
        ConfigError: with the argument's name.
    """
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise ConfigError(f"{name} is {in_words(value)}, expected {expected}.")
    try:
        items = tuple(islice(value, MOST_ITEMS + 1))  # an iterator may have no end
    except TypeError as error:  # NumPy's arrays without an axis say so only when they are asked
        raise ConfigError(f"{name} is {in_words(value)}, expected {expected}.") from error
    if len(items) > MOST_ITEMS:
        raise ConfigError(f"{name} has more than {MOST_ITEMS} entries, expected {expected}.")
    for item in items:
        if not fits(item):
            raise ConfigError(f"{name} holds {in_words(item)}, expected {expected}.")
    return items


def as_array(value: object) -> Numbers:
    """A value as NumPy has it; what is no array, rows of different lengths say, is one object."""
    try:
        return np.asarray(value)
    except ValueError:
        return np.array(None)


def check_names(name: str, value: Iterable[str], *, keys: bool = False) -> tuple[str, ...]:
    """A list of names; one name alone is no list, since its letters would be taken for names.

    Args:
        name: of the argument.
        value: what was given.
        keys: whether a mapping stands for the names it has values for.

    Raises:
        ConfigError: with the argument's name.
    """
    if keys and isinstance(value, Mapping):
        value = list(value)
    return check_items(name, value, lambda one: isinstance(one, str) and bool(one), "a list of names")


def is_function(value: object) -> bool:
    """Whether a value can be called and is no class.

    Examples:
        >>> is_function(len), is_function(dict)
        (True, False)
    """
    return callable(value) and not isinstance(value, type)


def check_path(name: str, value: object) -> Path:
    """A path, from text or a path.

    Raises:
        ConfigError: with the argument's name.
    """
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise ConfigError(f"{name} is {in_words(value)}, expected the path of a file or folder.")
    return Path(value)


def check_seed(name: str, value: object) -> int:
    """A seed of one generator.

    Raises:
        ConfigError: with the argument's name.
    """
    return check_whole(name, value, 0, MOST_SEED)


def in_words(value: object) -> str:
    """A refused value in words: short, whatever it is.

    Examples:
        >>> in_words("63"), in_words(None), in_words(2.5), in_words([1, 2]), in_words(object())
        ("'63'", 'None', '2.5', '[1, 2]', 'an object')
    """
    try:
        if isinstance(value, np.generic | date):  # pandas' NaT is one
            text = str(value)
        elif isinstance(value, type):
            text = f"the class {value.__name__}"
        elif value is None or isinstance(value, str | bytes | bool | int | float | Path):
            text = repr(value)
        elif isinstance(value, list | tuple | dict | set | frozenset):
            text = reprlib.repr(value)
        else:
            kind = type(value).__name__
            return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
    except ValueError:  # Python prints no whole number of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

"""Errors a user can act on: what was found, what was expected, what to do."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from difflib import get_close_matches


class QnError(Exception):
    """Anything this project refuses on purpose; the message is meant for the user."""


class DataError(QnError, ValueError):
    """Market data that cannot be used as it is."""


class ConfigError(QnError, ValueError):
    """A setting, a name or a path that cannot be used."""


class FileError(ConfigError, DataError):
    """A file that cannot be written or read, or that does not hold what was written into it."""


class LookAheadError(QnError):
    """Something was seen, paid or done that depends on later days."""


def in_a_line(error: BaseException) -> str:
    """What an error says, and where it arose: the file and line that its traceback ends with.

    Examples:
        >>> try:
        ...     {}["a"]
        ... except KeyError as error:
        ...     in_a_line(error).startswith("KeyError: 'a' (")
        True
    """
    if isinstance(error, SyntaxError):  # the file that was being read, not the reader
        where = f" ({error.filename}, line {error.lineno})"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    first, _, more = str(error).partition("\n")
    return f"{type(error).__name__}: {first}{' ...' if more else ''}{where}"


def refusal(where: object, faults: Iterable[str]) -> DataError:
    """The error with everything that is wrong, a line each where there are several.

    Args:
        where: the file or source.
        faults: what is wrong with it, each without a full stop.

    Examples:
        >>> print(refusal("prices.csv", ["no dates", "no prices"]))
        prices.csv: 2 things are wrong:
          - no dates.
          - no prices.
    """
    lines = list(faults)
    if len(lines) == 1:
        return DataError(f"{where}: {lines[0]}.")
    return DataError(f"{where}: {len(lines)} things are wrong:" + "".join(f"\n  - {one}." for one in lines))


def refuse_missing(
    where: object, kind: str, needed: Iterable[str], found: Iterable[str], advice: str
) -> None:
    """Refuse a table or record that lacks some of its columns or keys.

    Args:
        where: the file.
        kind: what is needed, "columns".
        needed: their names.
        found: what there is, in the order in which it is told.
        advice: what to do.

    Raises:
        DataError: one of them is missing.
    """
    present = [str(name) for name in found]
    lacking = [name for name in needed if name not in present]
    if lacking:
        raise DataError(
            f"{where}: lacks the {kind} {', '.join(lacking)}; found {', '.join(present)}. {advice}"
        )


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A sentence naming the nearest known name, then all of them.

    Examples:
        >>> did_you_mean("qantnet", ["quantnet", "macd"])
        "Did you mean 'quantnet'? Known: macd, quantnet."
    """
    names = sorted(known)
    near = get_close_matches(given, names, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"{hint}Known: {', '.join(names)}."


def few(names: Iterable[str], *, most: int = 5) -> str:
    """The first names, and how many more there are.

    Examples:
        >>> few("abcdefg")
        'a, b, c, d, e and 2 more'
    """
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more

"""Days as they may be written: YYYY-MM-DD, or a date object without a time zone; nothing is guessed."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from qn_env.arrays import DateArray
from qn_env.checks import in_words
from qn_env.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

DateLike: TypeAlias = str | date | np.datetime64

# The years that pandas holds to the nanosecond, whole ones.
FIRST_DAY, LAST_DAY = np.datetime64("1678-01-01", "D"), np.datetime64("2261-12-31", "D")
# Looser than this, a day-first date is read as month-first without a word.
ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?")
_HOW = f"write YYYY-MM-DD, from {FIRST_DAY} to {LAST_DAY}, without a time zone"


def as_day(value: DateLike, name: str = "date") -> np.datetime64:
    """A day as datetime64[D]; of a moment, its day.

    Args:
        value: text YYYY-MM-DD, or a date, datetime, pandas Timestamp or datetime64 (in days or finer).
        name: what error messages call it.

    Raises:
        ConfigError: anything else, NaT, a time zone, a day before 1678 or after 2261.

    Examples:
        >>> str(as_day("2020-02-29"))
        '2020-02-29'
    """
    try:
        day = _day(value)
    except ValueError:
        day = None
    # The bounds are written so that NaT fails them.
    if day is None or not FIRST_DAY <= day <= LAST_DAY:
        shown = str(value) if isinstance(value, date) else in_words(value)
        raise ConfigError(f"{name}: {shown} is not a date; {_HOW}.")
    return day


def _day(value: object) -> np.datetime64 | None:
    if isinstance(value, np.datetime64):
        whole = np.datetime_data(value.dtype)[0] not in ("Y", "M", "W", "generic")
        return value.astype("datetime64[D]") if whole else None
    if isinstance(value, datetime):
        missing = bool(value != value)  # pandas' NaT is a datetime that has no date
        return None if missing or value.tzinfo is not None else np.datetime64(value.date(), "D")
    if isinstance(value, date):
        return np.datetime64(value, "D")
    if isinstance(value, str) and ISO_DAY.fullmatch(value) and len(value) == len("YYYY-MM-DD"):
        return np.datetime64(date.fromisoformat(value), "D")
    return None


def read_days(source: str, index: pd.Index) -> tuple[DateArray, list[str]]:
    """[T] days of an index of dates or ISO text, and a note if times of day were cut off.

    Args:
        source: what error messages call it.
        index: dates without time zone, or text YYYY-MM-DD, with or without a time of day.

    Raises:
        DataError: an entry that is no such date, by its row, or several times on one day.
    """
    import pandas as pd

    stamps = _stamps(source, index)
    days: DateArray = stamps.astype("datetime64[D]")
    late = stamps != days
    if not late.any():
        return days, []
    first = pd.Timestamp(stamps[late][0])
    same = np.flatnonzero(days[1:] == days[:-1])
    if len(same):
        raise DataError(
            f"{source}: several times on {days[same[0]]} ({len(same)} such rows; first time of day {first}); "
            "expected one row per day. Keep one row, say the last, of each day."
        )
    return days, [f"{source}: times of day cut off in {int(late.sum())} rows, the first at {first}."]


def check_increasing(source: str, days: DateArray) -> None:
    """Refuse days [T] that are not strictly increasing.

    Raises:
        DataError: the first one that is not later than the one before.
    """
    bad = np.flatnonzero(~(np.diff(days) > np.timedelta64(0, "D")))
    if len(bad):
        what = "appears twice" if days[bad[0] + 1] == days[bad[0]] else f"follows {days[bad[0]]}"
        raise DataError(
            f"{source}: date {days[bad[0] + 1]} {what} ({len(bad)} such rows); expected strictly increasing "
            "dates. Sort the rows and remove repeated ones."
        )


def _stamps(source: str, index: pd.Index) -> DateArray:
    """[T] points in time; text must be written YYYY-MM-DD, so that 03/04/2020 is refused and not guessed."""
    import pandas as pd

    if isinstance(index, pd.DatetimeIndex) and index.tz is None:
        times = index
    else:
        texts = [str(entry) for entry in index]
        iso = [text if ISO_DAY.fullmatch(text) else None for text in texts]
        times = pd.to_datetime(iso, format="ISO8601", errors="coerce")
    stamps: DateArray = times.to_numpy()
    within = (stamps >= FIRST_DAY) & (stamps < LAST_DAY + 1)  # of NaT neither is true
    bad = np.flatnonzero(~within)
    if len(bad):
        raise DataError(
            f"{source}: date in data row {bad[0] + 1} is {str(index[bad[0]])!r}, expected a day written "
            f"YYYY-MM-DD without time zone, from {FIRST_DAY} to {LAST_DAY} ({len(bad)} such rows). Write all "
            "dates as YYYY-MM-DD."
        )
    return stamps

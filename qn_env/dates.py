"""Days and moments as they may be written: YYYY-MM-DD, with a time of day or without; nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from qn_env.arrays import BoolArray, DateArray
from qn_env.checks import in_words
from qn_env.errors import ConfigError, DataError
from qn_env.year import is_intraday

if TYPE_CHECKING:
    import pandas as pd

DateLike: TypeAlias = str | date | np.datetime64

# The years that pandas holds to the nanosecond, whole ones.
FIRST_DAY, LAST_DAY = np.datetime64("1678-01-01", "D"), np.datetime64("2261-12-31", "D")
# Looser than this, a day-first date is read as month-first without a word.
ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?")
ZONE = re.compile(r" ?(?:Z|UTC|[+-][0-9]{2}:?[0-9]{2})")
# So many rows a day, as a median, on so many days, and they are bars within days and no repeated days.
WITHIN_DAYS, LEAST_SESSIONS = 2, 3
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


def as_moment(value: DateLike, dates: DateArray, name: str = "date") -> np.datetime64:
    """A point on a panel's calendar: a day of days; of bars within days a day too, or datetime64[s] in UTC.

    Args:
        value: as `as_day` takes it; with a time of day, text YYYY-MM-DD HH:MM[:SS], and a zone or UTC.
        dates: [T] the calendar.
        name: what error messages call it.

    Raises:
        ConfigError: as `as_day`.
    """
    if not is_intraday(dates):
        return as_day(value, name)
    moment = _moment(value)
    if moment is None:
        return as_day(value, name)
    as_day(moment, name)  # within its years
    return moment


def after(dates: DateArray, moment: np.datetime64) -> BoolArray:
    """[T] which dates lie after a moment; after a day, those of the next one on.

    Examples:
        >>> noon = np.array(["2020-01-01T12:00", "2020-01-02T00:00"], dtype="datetime64[s]")
        >>> after(noon, np.datetime64("2020-01-01"))
        array([False,  True])
    """
    later: BoolArray = dates.astype(moment.dtype) > moment
    return later


def _moment(value: object) -> np.datetime64 | None:
    """Of a value with a time of day, in UTC; None of any other."""
    if isinstance(value, np.datetime64):
        fine = np.datetime_data(value.dtype)[0] not in ("Y", "M", "W", "D", "generic")
        return value.astype("datetime64[s]") if fine and not np.isnat(value) else None
    if isinstance(value, str):
        zone = ZONE.search(value, len("YYYY-MM-DD"))
        plain = value[: zone.start()] if zone else value
        if ISO_DAY.fullmatch(plain) is None or len(plain) == len("YYYY-MM-DD"):
            return None
        try:
            value = datetime.fromisoformat(value.replace("UTC", "Z").replace(" Z", "Z"))
        except ValueError:
            return None
    if not isinstance(value, datetime) or bool(value != value):
        return None
    naive = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo is not None else value
    return np.datetime64(naive, "s")


def are_within_days(rows: Sequence[int], *, timed: bool) -> bool:
    """Whether dates are of bars within days, and no repeated days.

    Args:
        rows: how many each day has.
        timed: whether any of them has a time of day.
    """
    return timed and len(rows) >= LEAST_SESSIONS and float(np.median(rows)) >= WITHIN_DAYS


def read_dates(source: str, index: pd.Index) -> tuple[DateArray, list[str]]:
    """[T] the dates of a panel: days, or moments in UTC where days have several rows, and notes on them.

    Args:
        source: what error messages call it.
        index: dates, or text YYYY-MM-DD, with or without a time of day and a time zone behind it.

    Raises:
        DataError: an entry that is no such date, by its row, or a few days that have several rows.
    """
    stamps, zoned = _stamps(source, index)
    days = stamps.astype("datetime64[D]")
    _, rows = np.unique(days, return_counts=True)
    if are_within_days(rows.tolist(), timed=bool((stamps != days).any())):
        notes = [f"{source}: the times have a zone and were brought to UTC."] if zoned is not None else []
        return (stamps if zoned is None else zoned).astype("datetime64[s]"), notes
    return _one_a_day(source, stamps, zoned=zoned is not None)


def read_days(source: str, index: pd.Index) -> tuple[DateArray, list[str]]:
    """[T] days of an index of dates or ISO text, and a note if times of day were cut off.

    Args:
        source: what error messages call it.
        index: as in `read_dates`, without a time zone: of which day a rate is, is not guessed.

    Raises:
        DataError: an entry that is no such date, by its row, or several times on one day.
    """
    stamps, zoned = _stamps(source, index)
    if zoned is not None:
        raise DataError(
            f"{source}: date in data row 1 is {str(index[0])!r}, expected a day written YYYY-MM-DD without "
            "time zone. Write the day that is meant."
        )
    return _one_a_day(source, stamps, zoned=False)


def _one_a_day(source: str, stamps: DateArray, *, zoned: bool) -> tuple[DateArray, list[str]]:
    """[T] days, as written, of moments; several on one day are refused."""
    import pandas as pd

    days: DateArray = stamps.astype("datetime64[D]")
    told = [f"{source}: the dates have a time zone; the day is as it is written."] if zoned else []
    late = stamps != days
    if not late.any():
        return days, told
    first = pd.Timestamp(stamps[late][0])
    same = np.flatnonzero(days[1:] == days[:-1])
    if len(same):
        raise DataError(
            f"{source}: several times on {days[same[0]]} ({len(same)} such rows; first time of day {first}); "
            "expected one row per day. Keep one row, say the last, of each day."
        )
    return days, [f"{source}: times of day cut off in {int(late.sum())} rows, the first at {first}.", *told]


def check_increasing(source: str, days: DateArray) -> None:
    """Refuse days [T] that are not strictly increasing.

    Raises:
        DataError: the first one that is not later than the one before.
    """
    bad = np.flatnonzero(~(np.diff(days) > np.timedelta64(0)))
    if len(bad):
        what = "appears twice" if days[bad[0] + 1] == days[bad[0]] else f"follows {days[bad[0]]}"
        raise DataError(
            f"{source}: date {days[bad[0] + 1]} {what} ({len(bad)} such rows); expected strictly increasing "
            "dates. Sort the rows and remove repeated ones."
        )


def _stamps(source: str, index: pd.Index) -> tuple[DateArray, DateArray | None]:
    """[T] points in time as they are written, and in UTC where they have a zone, else None.

    Text must be written YYYY-MM-DD, so that 03/04/2020 is refused and not guessed.
    """
    import pandas as pd

    utc: DateArray | None = None
    if isinstance(index, pd.DatetimeIndex):
        times = index if index.tz is None else index.tz_localize(None)
        utc = None if index.tz is None else index.tz_convert("UTC").tz_localize(None).to_numpy()
    else:
        texts = [str(entry) for entry in index]
        zones = [ZONE.search(text, len("YYYY-MM-DD")) for text in texts]
        zoned = bool(texts) and all(zones)
        plain = [
            text[: zone.start()] if zoned and zone else text for text, zone in zip(texts, zones, strict=True)
        ]
        iso = [text if ISO_DAY.fullmatch(text) else None for text in plain]
        times = pd.to_datetime(iso, format="ISO8601", errors="coerce")
        if zoned and not times.hasnans:
            with_zone = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)
            utc = with_zone.tz_localize(None).to_numpy()
    stamps: DateArray = times.to_numpy()
    within = (stamps >= FIRST_DAY) & (stamps < LAST_DAY + 1)  # of NaT neither is true
    bad = np.flatnonzero(~within)
    if len(bad):
        raise DataError(
            f"{source}: date in data row {bad[0] + 1} is {str(index[bad[0]])!r}, expected a day written "
            f"YYYY-MM-DD, from {FIRST_DAY} to {LAST_DAY} ({len(bad)} such rows). Write all "
            "dates as YYYY-MM-DD, with a time zone behind all of them or behind none."
        )
    return stamps, utc

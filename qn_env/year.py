"""How many bars a year has: what is annualised by, and what spans of days are brought to.

A bar is a row of a panel: a day, a week, an hour. What is called a day where rows are counted (a window, a
lag, a purge, an embargo) is a bar; a span of time (of a feature, of an estimate) is written in trading days,
of which a year has 252, and brought to bars where a panel has another number of them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qn_env.arrays import DateArray, IntArray

DAYS_PER_YEAR = 252
MOST_BARS_PER_YEAR = 366 * 24 * 60 * 60.0  # one a second

# What a market's dates a year are taken for: the bounds leave room for holidays and for gaps of the data.
PLAIN = {252.0: (200.0, 280.0), 365.0: (340.0, 367.0), 52.0: (49.0, 53.5), 12.0: (11.0, 12.5)}
# Before a market is said to have a rhythm: so many dates, or some over so many years.
MANY_DATES, LEAST_DATES, LEAST_YEARS = 60, 12, 1.0
WEEKEND = 5  # Saturday, Monday being 0


def bars_in(days: float, bars_per_year: float, least: int = 1) -> int:
    """A span of trading days in bars, rounded.

    Args:
        days: trading days, of which a year has 252.
        bars_per_year: of the panel.
        least: bars below which the span would be none.

    Examples:
        >>> bars_in(63, 52), bars_in(252, 98_280), bars_in(1, 12)
        (13, 98280, 1)
    """
    return max(round(days * (bars_per_year / DAYS_PER_YEAR)), least)


def decay_a_bar(decay: float, bars_per_year: float) -> float:
    """What is left after a bar of a weight of which `decay` is left after a trading day.

    Examples:
        >>> decay_a_bar(0.5, 126.0)  # a bar is two days
        0.25
    """
    return float(decay ** (DAYS_PER_YEAR / bars_per_year))


def dates_a_year(dates: DateArray) -> float | None:
    """How many dates [T] a year has, of dates enough to tell; else None.

    Examples:
        >>> round(dates_a_year(np.arange("2020-01-01", "2023-01-01", 7, dtype="datetime64[D]")))
        52
    """
    if len(dates) < 2:
        return None
    years = (dates[-1] - dates[0]) / np.timedelta64(1, "D") / 365.25
    if len(dates) < MANY_DATES and (len(dates) < LEAST_DATES or years < LEAST_YEARS):
        return None
    return float((len(dates) - 1) / years)


def is_intraday(dates: DateArray) -> bool:
    """Whether dates are points in time within days."""
    return np.datetime_data(dates.dtype)[0] != "D"


def weekdays(dates: DateArray) -> IntArray:
    """[T] the day of the week of dates; Monday is 0.

    Examples:
        >>> weekdays(np.array(["2026-11-29", "2026-11-30"], dtype="datetime64[D]")).tolist()
        [6, 0]
    """
    numbers: IntArray = (dates.astype("datetime64[D]").astype(np.int64) + 3) % 7  # 1970 began on a Thursday
    return numbers


def plain_bars(dates: DateArray) -> float | None:
    """Bars a year of one market's dates [T], where they are plain: 252, 365, 52 or 12.

    Of bars within days it is the median number of a session times the sessions of a year.

    Examples:
        >>> plain_bars(np.arange("2020-01-01", "2023-01-01", dtype="datetime64[D]"))
        365.0
    """
    if not is_intraday(dates):
        rate = dates_a_year(dates)
        return None if rate is None else _taken_for(rate)
    days, bars = np.unique(dates.astype("datetime64[D]"), return_counts=True)
    if not len(days):
        return None
    rate = dates_a_year(days)
    if rate is None:  # a few weeks: do they have weekends?
        sessions: float | None = 365.0 if (weekdays(days) >= WEEKEND).any() else 252.0
    else:
        sessions = _taken_for(rate)
    return None if sessions is None else float(np.median(bars)) * sessions


def _taken_for(rate: float) -> float | None:
    return next((plain for plain, (low, high) in PLAIN.items() if low <= rate <= high), None)


def infer_bars_per_year(dates: Mapping[str, DateArray]) -> float | None:
    """Bars a year of a panel: what all its markets' dates that tell anything agree on.

    Args:
        dates: by market, its own dates.

    Returns:
        252 where none of them says otherwise; None where bars within days leave it open.
    """
    found = {plain_bars(own) for own in dates.values() if len(own) and _tells(own)}
    if len(found) == 1 and (one := found.pop()) is not None:
        return one
    return None if any(is_intraday(own) for own in dates.values()) else float(DAYS_PER_YEAR)


def _tells(dates: DateArray) -> bool:
    return is_intraday(dates) or dates_a_year(dates) is not None

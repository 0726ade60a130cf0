"""What a panel's notes say of numbers that are read as they are, and that somebody should look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qn_env.arrays import DateArray, FloatArray
from qn_env.errors import few
from qn_env.features import DAYS_PER_YEAR

LARGEST_MOVE = 9.0  # of a day, decimal: ten times the price before
ALIKE_DAYS = 60  # returns that two series have to share before they are called one
# Dates a year of a market that trades on working days, holidays and gaps of the data included.
WORKING_DAYS = (200.0, 280.0)
LEAST_DATES, LEAST_YEARS = 12, 1.0  # before a market is said to have a rhythm


def implausible(source: str, dates: DateArray, assets: Sequence[str], returns: FloatArray) -> list[str]:
    """Notes on numbers that are read as they are, and that nobody should believe without looking.

    Args:
        source: what the notes call this data.
        dates: [T].
        assets: N names.
        returns: [T, N], NaN where there is none.
    """
    notes = []
    far = np.argwhere(np.nan_to_num(returns) > LARGEST_MOVE)
    if len(far):
        t, j = far[0]
        some = f" and {len(far) - 1} more such days" if len(far) > 1 else ""
        notes.append(
            f"{source}: {assets[j]!r} moves by {returns[t, j]:+,.0%} on {dates[t]}{some}: a split, a bad "
            "print, another unit, or no price at all? It is taken as it is."
        )
    same: dict[bytes, list[str]] = {}
    for name, column in zip(assets, returns.T, strict=True):
        if np.isfinite(column).sum() >= ALIKE_DAYS:
            same.setdefault(np.ascontiguousarray(column).tobytes(), []).append(name)
    notes += [
        f"{source}: {few(names)} have the same return on every day: one series under several names?"
        for names in same.values()
        if len(names) > 1
    ]
    return notes


def other_rhythms(dates: Mapping[str, DateArray]) -> list[str]:
    """Notes on markets that do not trade on working days: annualised figures count 252 of them a year.

    Args:
        dates: by market, its dates.

    Examples:
        >>> weeks = np.arange("2020-01-01", "2023-01-01", 7, dtype="datetime64[D]")
        >>> print(*other_rhythms({"US": weeks}))
        US: 52 dates a year; annualised figures count 252, which makes a Sharpe ratio 2.20 times what it is.
    """
    of_rate: dict[int, list[str]] = {}
    for market, days in dates.items():
        years = (days[-1] - days[0]).astype(float) / 365.25 if len(days) else 0.0
        if len(days) < LEAST_DATES or years < LEAST_YEARS:
            continue
        rate = (len(days) - 1) / years
        if not WORKING_DAYS[0] <= rate <= WORKING_DAYS[1]:
            of_rate.setdefault(round(rate), []).append(market)
    return [
        f"{few(markets)}: {rate} dates a year; annualised figures count {DAYS_PER_YEAR}, which makes a "
        f"Sharpe ratio {(DAYS_PER_YEAR / max(rate, 1)) ** 0.5:.2f} times what it is."
        for rate, markets in of_rate.items()
    ]

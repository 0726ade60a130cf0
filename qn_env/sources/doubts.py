"""What a panel's notes say of numbers that are read as they are, and that somebody should look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from qn_env.arrays import DateArray, FloatArray
from qn_env.errors import few
from qn_env.panel import Panel
from qn_env.year import DAYS_PER_YEAR, dates_a_year, plain_bars

LARGEST_MOVE = 9.0  # of a day, decimal: ten times the price before
ALIKE_DAYS = 60  # returns that two series have to share before they are called one


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


def rhythm(panel: Panel) -> list[str]:
    """Notes on what annualised figures count, where a year has other than 252 bars, and on who differs.

    Examples:
        >>> from qn_env.panel import Panel
        >>> weeks = np.arange("2020-01-01", "2023-01-01", 7, dtype="datetime64[D]")
        >>> panel = Panel.build(weeks, ["A"], ["US"], np.zeros((len(weeks), 1)))
        >>> print(*rhythm(panel))
        A year has 52 bars here: figures are annualised by it; what is called a day is a bar.
    """
    year = panel.bars_per_year
    notes = []
    if year != DAYS_PER_YEAR:
        notes.append(
            f"A year has {year:,g} bars here: figures are annualised by it; what is called a day is a bar."
        )
    of_rate: dict[int, list[str]] = {}
    for market, dates in panel.own_dates.items():
        plain = plain_bars(dates)
        found = plain if plain is not None else dates_a_year(dates)
        if found is not None and found != year:
            of_rate.setdefault(round(found), []).append(market)
    return notes + [
        f"{few(markets)}: {rate:,} bars a year; annualised figures count {year:,g}, which makes a Sharpe "
        f"ratio {(year / max(rate, 1)) ** 0.5:.2f} times what it is. Say bars_per_year (--bars-per-year), or "
        "keep such markets in a panel of their own."
        for rate, markets in of_rate.items()
    ]


def with_rhythm(panel: Panel, before: Iterable[Panel] = ()) -> Panel:
    """The panel with these notes, without those of the panels it was put together from."""
    stale = {note for one in before for note in rhythm(one)}
    kept = tuple(note for note in panel.notes if note not in stale)
    return replace(panel, notes=(*kept, *rhythm(panel)))

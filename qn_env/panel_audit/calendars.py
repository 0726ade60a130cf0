"""What dates show: filled or copied rows, weekends, next to empty dates, holes, and no delisting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from qn_env.arrays import BoolArray, DateArray, FloatArray
from qn_env.errors import few
from qn_env.panel import Market, Panel
from qn_env.panel_audit.histories import History
from qn_env.panel_audit.prices import CHANCE
from qn_env.panel_audit.report import Finding
from qn_env.year import WEEKEND, weekdays

ALIKE = 0.9  # share of a date's assets that repeat the date before
SAME_RETURN = 1e-9
STRAY = 0.2  # of the dates that a trading weekday has
LIVE, TENTH = 10, 0.1  # assets listed, and the share of them that trade, on a date that is next to empty
HOLE_DAYS, HOLE_BARS = 10.0, 3.0  # calendar days without an observation; bars, where they are longer
DELISTING_YEARS, DELISTING_ASSETS = 10.0, 20  # in which some of so many companies fail or are taken over
END_BARS = 10  # of a market: who is there on one of them was not delisted
DAYS_A_YEAR = 365.25


def repeated_dates(panel: Panel, market: Market) -> Iterator[Finding]:
    """Dates whose returns are those of the date before, or all exactly 0: copied or filled rows.

    How often an asset repeats itself otherwise says how improbable it is that all do on one date.
    """
    returns = market.compact(panel.returns)
    present = np.isfinite(returns)
    moves = present & (returns != 0.0)
    both = np.zeros_like(present)
    both[1:] = moves[1:] & moves[:-1]
    same = np.zeros_like(present)
    same[1:] = both[1:] & (np.abs(returns[1:] - returns[:-1]) <= SAME_RETURN)
    still = present & ~moves
    for repeats, among, told in (
        (same, both, "returns equal those of the date before"),
        (still, present, "all returns are exactly 0: prices carried over"),
    ):
        dates = _improbable(repeats, among)
        if dates.any():
            days = panel.dates[market.rows[dates]]
            detail = f"{len(days)} {'date' if len(days) == 1 else 'dates'} on which {told}"
            yield _of_market(market, "repeated date", days, detail)


def stray_weekends(panel: Panel, market: Market) -> Iterator[Finding]:
    """Saturdays or Sundays on which a market trades now and then, and not every week."""
    weekday = weekdays(panel.dates[market.rows])
    counts = np.bincount(weekday, minlength=7)
    trading = counts[:WEEKEND][counts[:WEEKEND] > 0]
    if not len(trading):
        return
    stray = np.zeros(len(weekday), dtype=bool)
    for day in range(WEEKEND, 7):
        if counts[day] < STRAY * np.median(trading):
            stray |= weekday == day
    if stray.any():
        share = market.compact(panel.tradable)[stray].sum(axis=1).mean() / len(market.assets)
        dates = panel.dates[market.rows[stray]]
        word = "date" if len(dates) == 1 else "dates"
        detail = f"{len(dates)} {word} at weekends, on which {share:.0%} of the assets trade"
        yield _of_market(market, "weekend", dates, detail)


def thin_dates(panel: Panel, market: Market) -> Iterator[Finding]:
    """Dates on which under a tenth of the live assets trade."""
    tradable = market.compact(panel.tradable)
    to_come = np.logical_or.accumulate(tradable[::-1], axis=0)[::-1]
    live = (np.logical_or.accumulate(tradable, axis=0) & to_come).sum(axis=1)
    thin = (live >= LIVE) & (tradable.sum(axis=1) < TENTH * live)
    if thin.any():
        dates = panel.dates[market.rows[thin]]
        fewest = tradable[thin].sum(axis=1).min()
        word = "date" if len(dates) == 1 else "dates"
        detail = f"{len(dates)} {word} on which as few as {fewest} of {live[thin].max()} live assets trade"
        yield _of_market(market, "thin date", dates, detail)


def holes(panel: Panel, history: History) -> Iterator[Finding]:
    """More than 10 days (three bars, where that is longer) without an observation of a market or an asset.

    Of an asset, if its market traded on half of the usual number of days meanwhile.
    """
    market = history.market
    limit = max(HOLE_DAYS, HOLE_BARS * DAYS_A_YEAR / panel.bars_per_year)
    own = panel.dates[market.rows]
    closed = np.flatnonzero(_days_between(own) > limit)
    if len(closed):
        longest = closed[_days_between(own)[closed].argmax()]
        detail = _holes(len(closed), _days_between(own)[longest], own[longest])
        days = np.concatenate([own[closed], own[closed + 1]])
        yield Finding(
            "hole", market.name, ("all assets",), str(days.min()), str(days.max()), len(closed), detail
        )
    place = np.searchsorted(market.rows, history.rows)  # on the market's own calendar
    valid = np.arange(1, len(history.rows))[:, None] < history.counts
    missed = (
        np.where(valid, np.diff(place, axis=0) - 1, 0) if len(place) else np.zeros((0, len(market.assets)))
    )
    least = 0.5 * limit * panel.bars_per_year / DAYS_A_YEAR
    for j in np.flatnonzero((missed >= least).any(axis=0)).tolist():
        dates = history.dates[history.rows[: history.counts[j], j]]
        between = _days_between(dates)
        there = np.flatnonzero((missed[: len(between), j] >= least) & (between > limit))
        if len(there):
            longest = there[between[there].argmax()]
            detail = _holes(len(there), between[longest], dates[longest])
            yield Finding(
                "hole",
                market.name,
                (market.assets[j],),
                str(dates[there[0]]),
                str(dates[there[-1] + 1]),
                int(missed[there, j].sum()),
                detail,
            )


def survivors(panel: Panel) -> Iterator[Finding]:
    """Ten years and more of twenty assets and more, in one market or in several, of which none ever left."""
    complete = {name: market for name, market in panel.markets.items() if _nobody_left(panel, market)}
    large = [name for name, market in complete.items() if len(market.assets) >= DELISTING_ASSETS]
    for name in large:
        yield _survived(panel, [complete[name]], name)
    small = [market for name, market in complete.items() if name not in large]
    if sum(len(market.assets) for market in small) >= DELISTING_ASSETS:
        yield _survived(panel, small, None)


def _nobody_left(panel: Panel, market: Market) -> bool:
    """Whether a market lasts ten years, and every asset to its end."""
    if len(market.rows) <= END_BARS:
        return False
    dates = panel.dates[market.rows]
    years = (dates[-1] - dates[0]) / np.timedelta64(1, "D") / DAYS_A_YEAR
    return bool(years >= DELISTING_YEARS and market.compact(panel.tradable)[-END_BARS:].any(axis=0).all())


def _survived(panel: Panel, markets: Iterable[Market], name: str | None) -> Finding:
    listed = list(markets)
    rows = np.concatenate([market.rows[[0, -1]] for market in listed])
    days = panel.dates[[rows.min(), rows.max()]]
    count = sum(len(market.assets) for market in listed)
    where = "" if name is not None else f" of {few(market.name for market in listed)}"
    detail = f"none of {count} assets{where} ends before its market does"
    names = ("all assets",)
    span = int(rows.max() - rows.min()) + 1
    return Finding("no delisting", name, names, str(days[0]), str(days[1]), span, detail)


def _improbable(repeats: BoolArray, among: BoolArray) -> BoolArray:
    """[T] dates on which next to all assets repeat [T, n], by chance once in a thousand histories."""
    count, able = repeats.sum(axis=1), among.sum(axis=1)
    whole = (count >= 2) & (count >= ALIKE * able)
    others = ~whole[:, None]
    usual = ((repeats & others).sum(axis=0) + 0.5) / ((among & others).sum(axis=0) + 1.0)
    chance = repeats @ np.log(usual)
    found: BoolArray = whole & (chance < np.log(CHANCE / max(len(repeats), 1)))
    return found


def _days_between(dates: DateArray) -> FloatArray:
    between: FloatArray = np.diff(dates) / np.timedelta64(1, "D")
    return between


def _holes(count: int, days: float, since: np.datetime64) -> str:
    return f"{count} {'hole' if count == 1 else 'holes'}, the longest of {days:.0f} days from {since}"


def _of_market(market: Market, kind: str, dates: DateArray, detail: str) -> Finding:
    return Finding(kind, market.name, ("all assets",), str(dates[0]), str(dates[-1]), len(dates), detail)

"""What the decisions of a forward record earned, on the days that came after each of them.

A weight stands until the next one that was recorded in time, or until its asset is delisted; a day without a
line trades nothing. A line counts for a market if it was written before the close of the market's next date
could be known; one that was late decides nothing there. Days enter once every asset has reached them, so
that they do not change when the rest of a day's data comes in, or when an asset turns out to have been halted
and not delisted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.results.forward_table import Scored
from experiments.results.tables import market_days, portfolio_table
from experiments.running.forward_entries import histories
from experiments.running.protocols import Fold
from experiments.running.runner import without_costs
from experiments.running.settling import settle_block
from experiments.settings.config import MARKET
from experiments.storage.forward_record import Entry, Header, Record, moment, stamped
from qn_env.arrays import DateArray, FloatArray, IntArray
from qn_env.costs import own_costs
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.tape import Tape
from qn_env.year import is_intraday

FIRST_LINE = 2  # of decisions
YOUNG_DAYS = 20  # own days before which an asset has no deviation of its own
QUIET_DAYS = 14  # calendar days without a trade, and two bars, after which an asset is taken to have ended


class Late(NamedTuple):
    """A line that was written when its market's next close could be known."""

    line: int
    market: str
    as_of: str
    written: str
    next_date: np.datetime64


class Revised(NamedTuple):
    """The first line whose history is no longer what it was, in words, and how many lines there are."""

    line: int
    market: str
    as_of: str
    what: str
    lines: int


class Standing(NamedTuple):
    """Which lines count, and from when.

    Attributes:
        rows: of every market, the index of each line that counts in it, and its row among the market's dates.
        late: lines that do not.
        start: of every market with days to score, the day from which on they count: for all of them that
            after the dates of the first line that counts anywhere.
        until: the last date that all assets have reached.
    """

    rows: dict[str, list[tuple[int, int]]]
    late: list[Late]
    start: dict[str, np.datetime64]
    until: np.datetime64


def refuse_older(record: Record, panel: Panel) -> None:
    """Refuse a panel of which a market ends before the last line saw it.

    Raises:
        ConfigError: with the market and both dates.
    """
    if not record.entries:
        return
    for name, own in panel.own_dates.items():
        if own[-1] < (seen := moment(record.entries[-1].as_of[name])):
            raise ConfigError(
                f"market {name!r} ends on {own[-1]}, and the last line of {record.path} is of {seen}; "
                "expected a panel that goes on from there."
            )


def stand(record: Record, panel: Panel) -> Standing:
    """Which lines of a record count on a panel (`recorded_panel`) that goes on from its last line."""
    rows: dict[str, list[tuple[int, int]]] = {name: [] for name in panel.markets}
    late: list[Late] = []
    for name, own in panel.own_dates.items():
        for k, entry in _decided(record, name):
            row = int(np.searchsorted(own, moment(entry.as_of[name]), side="right")) - 1
            following = own[row + 1] if row + 1 < len(own) else None
            if following is not None and stamped(entry.written) >= _closed(following, record.header):
                late.append(Late(k + FIRST_LINE, name, entry.as_of[name], entry.written, following))
            elif row >= 0:
                rows[name].append((k, row))
    ends = {name: len(own) - 1 for name, own in panel.own_dates.items()}
    followed = [k for name, lines in rows.items() for k, row in lines if row < ends[name]]
    start = {}
    if followed:
        first = max(map(moment, record.entries[min(followed)].as_of.values()))
        start = {name: _next(first) for name, own in panel.own_dates.items() if own[-1] > first}
    return Standing(rows, sorted(late), start, _reached(panel))


def _decided(record: Record, market: str) -> Iterator[tuple[int, Entry]]:
    """The lines that are the first of a date of a market; those behind them repeat it over its holidays."""
    before = None
    for k, entry in enumerate(record.entries):
        if (day := entry.as_of[market]) != before:
            yield k, entry
        before = day


def _closed(date: np.datetime64, header: Header) -> np.datetime64:
    """When the close of a date could be known, in UTC."""
    if not _is_day(date):
        return date
    hours, minutes = header.closes.split(":")
    midnight: np.datetime64 = date.astype("datetime64[s]")
    return midnight + np.timedelta64(3600 * int(hours) + 60 * int(minutes), "s")


def _next(date: np.datetime64) -> np.datetime64:
    """The next day, or second."""
    moved: np.datetime64 = date + np.timedelta64(1, "D" if _is_day(date) else "s")
    return moved


def _is_day(date: np.datetime64) -> bool:
    return np.datetime_data(date.dtype)[0] == "D"


def _reached(panel: Panel) -> np.datetime64:
    """The last date that all assets have reached, but for those that ended."""
    last = len(panel.dates) - 1 - np.argmax(panel.tradable[::-1], axis=0)
    ends = panel.dates[last[panel.tradable.any(axis=0)]]
    quiet = np.timedelta64(QUIET_DAYS + round(2 * 366 / panel.bars_per_year), "D")
    reached: np.datetime64 = ends[ends >= panel.dates[-1] - quiet].min()
    return reached


def score(record: Record, standing: Standing, panel: Panel, label: str) -> Scored | None:
    """What an agent earned on a panel, at every level of costs and in both executions; None without a day."""
    if not standing.start:
        return None
    header = record.header
    panel = panel.select(standing.start)
    panel = panel if MARKET in header.costs else without_costs(panel)
    tape = Tape.of(
        panel, costs=own_costs(panel), start=standing.start, execution_lag=header.execution_lag
    )  # without a target: what is recorded are weights
    fold = Fold(panel, panel, standing.start, panel, standing.start, pd.DataFrame())
    days = settle_block(tape, fold, standing_weights(record, standing, panel, label))
    blocks = pd.DataFrame(
        {"market": name, "test_first": standing.start[name], "test_last": panel.own_dates[name][-1]}
        for name in panel.markets
    )
    portfolio = portfolio_table(market_days(days), blocks, header.costs, bars_per_year=header.bars_per_year)
    portfolio = portfolio[portfolio["date"] <= pd.Timestamp(standing.until)].reset_index(drop=True)
    if portfolio.empty:
        return None
    dates, book = _book(days, portfolio, panel, header)
    scale, young = book_scale(panel, dates, book, header.evidence.scale_days)
    return Scored(portfolio, scale, young)


def standing_weights(record: Record, standing: Standing, panel: Panel, label: str) -> FloatArray:
    """[T, N] the recorded weights in force at the close of every day, 0 before the first."""
    place = {pair: j for j, pair in enumerate(record.header.assets)}
    own = np.array([place[pair] for pair in zip(panel.market_of, panel.assets, strict=True)])
    weights = np.zeros(panel.shape)
    for name, market in panel.markets.items():
        decided = np.full((len(market.rows), len(market.assets)), np.nan)
        for k, row in standing.rows[name]:
            values = np.array(record.entries[k].agents[label].weights, dtype=np.float64)
            decided[row] = values[own[market.columns]]
        market.spread(np.nan_to_num(_filled(decided), nan=0.0), weights)
    return weights


def _filled(decided: FloatArray) -> FloatArray:
    """[T, n] the last number of each column up to a row, NaN before the first."""
    rows: IntArray = np.where(np.isnan(decided), 0, np.arange(len(decided))[:, None])
    filled: FloatArray = np.take_along_axis(decided, np.maximum.accumulate(rows, axis=0), axis=0)
    return filled


def _book(
    days: pd.DataFrame, portfolio: pd.DataFrame, panel: Panel, header: Header
) -> tuple[DateArray, FloatArray]:
    """The dates [D] of the evidence, and [D, N] what was held over each of them, of the whole portfolio."""
    chosen = portfolio[portfolio["execution"] == header.evidence.execution].drop_duplicates("date")
    listed = days[days["listed"] & days["date"].isin(chosen["date"])]
    weight = listed["weight" if header.evidence.execution == "on-time" else "weight_late"]
    size = listed.groupby(["date", "market"])["weight"].transform("size")
    markets = listed["date"].map(chosen.set_index("date")["markets"])
    held = listed.assign(held=weight / (size * markets))
    wide = held.pivot(index="date", columns=["market", "asset"], values="held")
    pairs = pd.MultiIndex.from_arrays([panel.market_of, panel.assets])
    wide = wide.reindex(index=chosen["date"], columns=pairs, fill_value=0.0)
    return chosen["date"].to_numpy().astype(panel.dates.dtype), np.nan_to_num(wide.to_numpy(), nan=0.0)


def book_scale(panel: Panel, dates: DateArray, book: FloatArray, days: int) -> tuple[FloatArray, FloatArray]:
    """What each book would have deviated by over the days before its own, had it been held on all of them.

    The root of the mean square of its returns; an asset that traded on some of those days only is taken to
    have been as volatile on the others.

    Args:
        panel: the data.
        dates: [D] over which the books are held.
        book: [D, N] exposures as fractions of the portfolio.
        days: so many of the panel's dates before each.

    Returns:
        [D] the deviation, decimal; [D] the absolute exposure in assets that traded on fewer than 20 of them,
        which are left out of it.
    """
    scale, young = np.zeros(len(dates)), np.zeros(len(dates))
    known = np.isfinite(panel.returns)
    returns = np.where(known, panel.returns, 0.0)
    for d, row in enumerate(np.searchsorted(panel.dates, dates)):
        window = slice(max(int(row) - days, 0), int(row))
        traded = known[window].sum(axis=0)
        old = traded >= YOUNG_DAYS
        share = np.where(old, book[d] * np.sqrt(len(known[window]) / np.maximum(traded, 1)), 0.0)
        past = returns[window] @ share
        scale[d] = np.sqrt(np.mean(past**2)) if len(past) else 0.0
        young[d] = np.abs(book[d][~old]).sum()
    return scale, young


def revised(record: Record, panel: Panel) -> Revised | None:
    """The first line that was decided on other data than the panel has today; None where all are the same."""
    ends = {name: [entry.as_of[name] for entry in record.entries] for name in record.header.markets}
    digests = histories(panel, ends, priced=MARKET in record.header.costs)
    changed = [
        (k, name)
        for k, entry in enumerate(record.entries)
        for name in record.header.markets
        if entry.history[name] != digests[name][k]
    ]
    if not changed:
        return None
    k, name = changed[0]
    lines = len({k for k, _ in changed})
    return Revised(
        k + FIRST_LINE, name, record.entries[k].as_of[name], _what_changed(record, panel, k, name), lines
    )


def _what_changed(record: Record, panel: Panel, last: int, name: str) -> str:
    """The first recorded return of a market, up to a line, that is another one today; in words."""
    own, now = panel.own_dates[name], panel.markets[name].compact(panel.returns)
    names = panel.markets[name].assets
    place: Mapping[tuple[str, str], int] = {pair: j for j, pair in enumerate(record.header.assets)}
    for entry in record.entries[: last + 1]:
        day = moment(entry.as_of[name])
        row = int(np.searchsorted(own, day))
        if row >= len(own) or own[row] != day:
            return f"{day} is no date of the market any more"
        for j, asset in enumerate(names):
            then = entry.returns[place[name, asset]]
            today = None if np.isnan(now[row, j]) else float(now[row, j])
            if then != today:
                return f"the return of {asset!r} on {day} was {_told(then)} and is {_told(today)}"
    return "an earlier return, a day on which an asset traded, or a cost"


def _told(value: float | None) -> str:
    return "none" if value is None else repr(value)


def late_by_now(entry: Entry, panel: Panel, header: Header) -> bool:
    """Whether a line will probably turn out to be late: a weekday's close lies between its data and it."""
    if is_intraday(panel.dates) or not 200.0 <= panel.bars_per_year <= 280.0:
        return False
    last = max(moment(day) for day in entry.as_of.values())
    return bool(stamped(entry.written) >= _closed(np.busday_offset(last, 1, roll="backward"), header))

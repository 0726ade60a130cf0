"""Tape: a panel laid out for computing, finite numbers beside masks, one row per day.

This is where NaN is replaced, once. The environment plays a tape of the whole panel day by day; backtests
and training windows use the tape of one market at a time, on its own trading days.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import numpy as np

from qn_env.arrays import BoolArray, DateArray, FloatArray, IntArray, read_only
from qn_env.checks import MOST_LAG, MOST_VOLATILITY, check_is, check_whole
from qn_env.costs import Cost, PerAsset, Proportional, check_costs, per_asset, total
from qn_env.economics import (
    Costs,
    Day,
    Ledger,
    equal_market_share,
    settle,
    volatility_scale,
    weights_before,
    weights_in_force,
)
from qn_env.errors import ConfigError
from qn_env.features import EwVolatility
from qn_env.panel import Dates, Market, Panel, per_market

Start: TypeAlias = Dates | None


Flag = TypeVar("Flag", BoolArray, list[bool], bool)


class Flags(NamedTuple, Generic[Flag]):
    """Whether something has to be looked at, on one day, or by day [T].

    Of all days they are arrays, or lists, which are read five times faster.
    """

    scaled: Flag  # some signal is not the weight asked for
    closed: Flag  # some asset of an open account does not trade
    asleep: Flag  # some listed asset's market has no trading day
    exit: Flag  # some delisting is booked


@dataclass(frozen=True, eq=False)
class Tape:
    """Finite arrays of a panel, read-only, all on its union calendar.

    Attributes:
        dates: [T] the days.
        returns: [T, N] simple returns, 0 where an asset does not trade.
        tradable: [T, N] the asset has an observation (what an agent may know).
        decides: [T, N] it is tradable and its signal is taken.
        live: [T, N] it is tradable and its market's account is open: a trade takes place.
        listed: [T, N] it is listed and its market's account is open: it counts in the day's mean.
        awake: [T, N] its market has a trading day.
        exits: [T, N] 1.0 where its delisting is booked on this day.
        scale: [T, N] weight per unit of signal; 1 without a volatility target, 0 where nothing can be held.
        share: [T, N] weight in the panel's mean (assets of a market, then markets).
        costs: rates of every cost, [N] or [T, N]; row t is what is charged for a trade at the close of t and
            for holding from there: on a day on which the asset is closed, the rates of its last own day.
        lag: the market's trading days between a decision and its trade.
        bars_per_year: the panel's.
    """

    dates: DateArray
    returns: FloatArray
    tradable: BoolArray
    decides: BoolArray
    live: BoolArray
    listed: BoolArray
    awake: BoolArray
    exits: FloatArray
    scale: FloatArray
    share: FloatArray
    costs: Costs[FloatArray]
    lag: int
    bars_per_year: float

    @classmethod
    def of(
        cls,
        panel: Panel,
        *,
        cost_bps: PerAsset = 0.0,
        costs: Sequence[Cost] = (),
        vol_target: PerAsset | None = None,
        start: Start = None,
        execution_lag: int = 0,
    ) -> Tape:
        """Lay out a panel.

        Args:
            panel: the data.
            cost_bps: cost per unit of turnover in basis points, one for all or per asset.
            costs: further costs, added to it (`qn_env.costs`).
            vol_target: annualised volatility (0.15 is 15%), one for all, by asset name or [N]; None trades
                the signals themselves.
            start: first day whose return counts, one for all or per market; decisions begin at the close of
                the market's day before, or `execution_lag` days earlier. Earlier days are history: seen, not
                traded.
            execution_lag: a decision at the close of t is traded so many of the market's days later, and
                earns r_{t+1+lag}. An order stands until the asset is open.

        Raises:
            ConfigError: a negative or non-finite cost, a target that is not positive, a negative lag.
        """
        check_is("panel", panel, Panel, "a Panel")
        costs = check_costs(costs)
        execution_lag = check_whole("execution_lag", execution_lag, 0, MOST_LAG)
        account = _open_accounts(panel, start, 1)
        listed = panel.listed & account
        exits = np.zeros(panel.shape)
        exits[1:] = listed[:-1] & ~listed[1:]
        scale = np.ones(panel.shape)
        if vol_target is not None:
            targets = per_asset("vol_target", vol_target, panel, MOST_VOLATILITY)
            if not (targets > 0.0).all():
                raise ConfigError(
                    f"vol_target is {targets.min()}, expected an annualised volatility > 0 or None."
                )
            scale = volatility_scale(
                panel.feature(EwVolatility()), targets, bars_per_year=panel.bars_per_year
            )
        decides = panel.tradable & _open_accounts(panel, start, 1 + execution_lag)
        scale = scale * (listed | decides)
        return cls(
            dates=panel.dates,
            returns=read_only(np.nan_to_num(panel.returns, nan=0.0)),
            tradable=panel.tradable,
            decides=read_only(decides),
            live=read_only(panel.tradable & account),
            listed=read_only(listed),
            awake=panel.awake,
            exits=read_only(exits),
            scale=read_only(scale),
            share=read_only(equal_market_share(listed, panel.market_index)),
            costs=_standing(total((Proportional(cost_bps), *costs), panel), panel.tradable),
            lag=execution_lag,
            bars_per_year=panel.bars_per_year,
        )

    def charged(self, panel: Panel, costs: Sequence[Cost]) -> Tape:
        """The same tape of the same panel under these costs alone."""
        return replace(self, costs=_standing(total(costs, panel), panel.tradable))

    @property
    def first(self) -> int:
        """The row of the first decision."""
        return int(np.argmax(self.decides.any(axis=1)))

    @property
    def counted(self) -> BoolArray:
        """[T, N] days that enter a per-asset statistic: listed at t, on t + 1 an observation or an exit."""
        counted = np.zeros_like(self.listed)
        counted[:-1] = self.listed[:-1] & (self.tradable[1:] | (self.exits[1:] > 0))
        return counted

    def day(self, t: int) -> Day[FloatArray]:
        """Decision day t, for `economics.advance`; put together once, since episodes come back to it."""
        facts = self._seen[t]
        if facts is None:
            facts = self._seen[t] = self._day(t)
        return facts

    def _day(self, t: int) -> Day[FloatArray]:
        flags = self._flag_lists
        return Day(
            self.returns[t + 1],
            self.costs if self._fixed else self.rates(t),
            self.scale[self._scale_since[t]] if flags.scaled[t] else None,
            self.live[t] if flags.closed[t] else None,
            self.awake[t + 1] if flags.asleep[t + 1] else None,
            self.exits[t + 1] if flags.exit[t + 1] else None,
            *((self.decides[t], self.awake[t]) if self.lag else ()),
        )

    def days(self, rows: IntArray, flags: Flags[bool] | None = None) -> Day[FloatArray]:
        """Decision days [B], each field [B, N].

        Args:
            rows: [B] their rows.
            flags: `flags_of` these rows, for a tape whose arrays are elsewhere; None: they are looked up.
        """
        flags, following = self.flags_of(rows) if flags is None else flags, rows + 1
        return Day(
            self.returns[following],
            self.rates(rows),
            self.scale[rows] if flags.scaled else None,
            self.live[rows] if flags.closed else None,
            self.awake[following] if flags.asleep else None,
            self.exits[following] if flags.exit else None,
            *((self.decides[rows], self.awake[rows]) if self.lag else ()),
        )

    def flags_of(self, rows: IntArray) -> Flags[bool]:
        """What has to be looked at on any of the decision days [B]."""
        flags, following = self._flags, rows + 1
        return Flags(
            bool(flags.scaled[rows].any()),
            bool(flags.closed[rows].any()),
            bool(flags.asleep[following].any()),
            bool(flags.exit[following].any()),
        )

    @cached_property
    def _seen(self) -> list[Day[FloatArray] | None]:
        return [None] * len(self.dates)

    @cached_property
    def _flags(self) -> Flags[BoolArray]:
        # An order may outlive its asset; without one, a scale of 0 keeps what is not listed flat.
        shut = ~self.live if self.lag else self.listed & ~self.live
        return Flags(
            (self.scale != 1.0).any(1),
            shut.any(1),
            (self.listed & ~self.awake).any(1),
            (self.exits > 0).any(1),
        )

    @cached_property
    def _flag_lists(self) -> Flags[list[bool]]:
        return Flags(*(flag.tolist() for flag in self._flags))

    @cached_property
    def share_since(self) -> list[int]:
        """[T] the first row of the run of equal rows of `share` that row t belongs to."""
        return _since(self.share)

    @cached_property
    def _scale_since(self) -> list[int]:
        return _since(self.scale)

    @cached_property
    def _fixed(self) -> bool:
        """Whether no rate changes over time."""
        return all(rate is None or rate.ndim == 1 for rate in self.costs)

    def rates(self, rows: int | slice | IntArray) -> Costs[FloatArray]:
        """The rates of the given rows; rates that do not change over time are as they are."""
        return self.costs.each(lambda rate: rate if rate.ndim == 1 else rate[rows])

    def of_market(self, market: Market) -> Tape:
        """The same tape on one market's own trading days."""
        listed = market.compact(self.listed)
        return replace(
            self,
            dates=self.dates[market.rows],
            share=equal_market_share(listed, np.zeros(listed.shape[1], dtype=np.intp)),
            listed=listed,
            costs=self.costs.each(lambda r: r[market.columns] if r.ndim == 1 else market.compact(r)),
            returns=market.compact(self.returns),
            tradable=market.compact(self.tradable),
            decides=market.compact(self.decides),
            live=market.compact(self.live),
            awake=market.compact(self.awake),
            exits=market.compact(self.exits),
            scale=market.compact(self.scale),
        )

    def order(self) -> IntArray:
        """[T, N] the row whose decision is in force after the close of t, T where there is none.

        That of the asset's last decision `lag` days before its last trade; on one market's own calendar.
        """
        T = len(self.dates)
        traded, decided = _latest(self.live), _latest(self.decides)
        due = traded - self.lag
        in_force = np.where(due >= 0, np.take_along_axis(decided, due.clip(0), axis=0), -1)
        return np.where((traded >= 0) & (in_force >= 0), in_force, T)


def backtest(tape: Tape, signals: FloatArray) -> Ledger[FloatArray]:
    """Settle a whole history of signals over one market's tape, starting flat.

    Args:
        tape: the tape of one market, on its own trading days (`Tape.of(panel).of_market(market)`).
        signals: [T, N] in [-1, 1], decided at the close of each day.

    Returns:
        [T - 1, N] arrays; row t is booked on `tape.dates[t + 1]`.

    Raises:
        ConfigError: a panel of several calendars, or signals of another shape or not finite.
    """
    return settle_weights(tape, weights_held(tape, signals))


def settle_weights(tape: Tape, weight: FloatArray) -> Ledger[FloatArray]:
    """What the weights [T - 1, N] of `weights_held` earn; rows as in `backtest`."""
    before = weights_before(weight, tape.listed[:-1].astype(np.float64), initial="flat")
    return settle(weight, before, tape.returns[1:], tape.rates(slice(None, -1)), tape.exits[1:])


def weights_held(tape: Tape, signals: FloatArray) -> FloatArray:
    """The weights [T - 1, N] that `backtest` settles: row t is held from `tape.dates[t]` to the next day.

    Raises:
        ConfigError: as `backtest`.
    """
    if not tape.awake.all():
        raise ConfigError(
            "backtest needs the tape of one market; markets of a panel close on different days."
        )
    if signals.shape != tape.returns.shape or not np.isfinite(signals).all():
        raise ConfigError(f"signals have shape {signals.shape}, expected finite {tape.returns.shape}.")
    return weights_in_force(
        (signals * tape.scale)[:-1],
        tape.order()[:-1].clip(max=len(tape.dates) - 1),
        tape.listed[:-1].astype(np.float64),
    )


def _since(rows: FloatArray) -> list[int]:
    """[T] where each run of equal rows begins: read there, what does not change stays in the cache."""
    changed = np.zeros(len(rows), dtype=bool)
    changed[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    begins: IntArray = np.maximum.accumulate(np.where(changed, np.arange(len(rows)), 0))
    since: list[int] = begins.tolist()
    return since


def _latest(mask: BoolArray) -> IntArray:
    """[T, N] the last row up to t where `mask` is True, -1 where there was none."""
    rows = np.where(mask, np.arange(len(mask))[:, None], -1)
    latest: IntArray = np.maximum.accumulate(rows, axis=0)
    return latest


def _standing(costs: Costs[FloatArray], tradable: BoolArray) -> Costs[FloatArray]:
    """The rates with those of closed days [T, N] replaced by those of the asset's last own day, 0 before it.

    A trade is settled on the market's next own day, when holidays may lie behind it; the rate it pays is that
    of the close it was made at, in the modes that walk the union calendar as on the market's own one.
    """
    if all(rate is None or rate.ndim == 1 for rate in costs):
        return costs
    latest = _latest(tradable)

    def carry_forward(rate: FloatArray) -> FloatArray:
        if rate.ndim == 1:
            return rate
        return read_only(np.where(latest < 0, 0.0, np.take_along_axis(rate, latest.clip(0), axis=0)))

    return costs.each(carry_forward)


def _open_accounts(panel: Panel, start: Start, days: int) -> BoolArray:
    """[T, N] True from the close of so many of the market's trading days before its start on."""
    if start is None:
        return np.ones(panel.shape, dtype=bool)
    account = np.zeros(panel.shape, dtype=bool)
    begin = per_market(start, panel, "start")
    for name, market in panel.markets.items():
        own = int(np.searchsorted(panel.dates[market.rows], begin[name]))
        row = market.rows[max(own - days, 0)] if own < len(market.rows) else len(panel.dates)
        account[row:, market.columns] = True
    return account

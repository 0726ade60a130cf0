"""From decisions to daily results: of one test block, and of several blocks in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from experiments.running.protocols import Fold
from qn_env.arrays import BoolArray, FloatArray
from qn_env.costs import own_costs, own_impact
from qn_env.economics import Ledger
from qn_env.panel import Market, Panel
from qn_env.tape import Tape, backtest, settle_weights, weights_held


def settle_block(tape: Tape, fold: Fold, signals: FloatArray) -> pd.DataFrame:
    """What the signals [T, N] earn on every day of every market's test block, by asset, starting flat.

    Args:
        tape: of the fold's test panel, from its first test day on; its costs are each asset's own, where the
            panel has them, else none.
        fold: the blocks.
        signals: decided at the close of each day.

    Returns:
        date, market, asset, gross, turnover, weight (held over the day), gross_late, turnover_late,
        weight_late; where the panel says what each asset costs, cost, cost_late and rate (of a unit of
        turnover, decimal), and where it has all volumes, impact and impact_late, of a capital of 1; signal
        (decided at the close before), listed, counted, traded (whether the asset could be, at the close
        before). What is late is of the same decisions, each traded one trading day later.
    """
    days = []
    impact = _impact_tape(tape, fold.test)
    for name, market in fold.test.markets.items():
        settled = _Settled.of(
            tape.of_market(market),
            market,
            market.compact(signals),
            priced=fold.test.own_costs is not None,
            impact=None if impact is None else impact.of_market(market),
        )
        days.append(settled.table(name, settled.tape.dates >= fold.test_start[name]))
    return pd.concat(days, ignore_index=True)


def _impact_tape(tape: Tape, panel: Panel) -> Tape | None:
    """The tape under nothing but the impact of a capital of 1; None where volumes are not known."""
    impact = own_impact(panel)
    return None if impact is None else tape.charged(panel, [impact])


def carry_over(
    folds: Sequence[Fold],
    blocks: Sequence[pd.DataFrame],
    *,
    vol_target: float | None,
    execution_lag: int,
) -> pd.DataFrame:
    """The days of one agent's test blocks, settled once: what a block holds at its end, the next begins with.

    A recalibration changes who decides, and closes no position: entry is paid for once, at the first block,
    and the next block's first orders are those that the one before has left. What was decided last stands
    through days that an embargo leaves out; such days are not booked. A market's first block stays as it is,
    and so does the first one after a window that leaves the market out: they start flat.

    Args:
        folds: the windows, in time order.
        blocks: of each window, its days as `settle_block` gives them.
        vol_target: annualised, per asset, or None.
        execution_lag: trading days between a decision and its trade.

    Returns:
        The days of all blocks, in their order, with the column `window`.
    """
    own = [dict(iter(days.groupby("market", sort=False))) for days in blocks]
    begins: list[dict[str, int]] = []  # of every window: market to the window at which it started flat
    for number, fold in enumerate(folds):
        before = begins[-1] if begins else {}
        begins.append({name: before.get(name, number) for name in fold.test.markets})
    for number, begin in enumerate(begins):
        after = begins[number + 1] if number + 1 < len(begins) else {}
        ending = [name for name, since in begin.items() if since < number and name not in after]
        if not ending:
            continue
        test = folds[number].test
        start = {name: folds[since].test_start[name] for name, since in begin.items()}
        tape = Tape.of(
            test, costs=own_costs(test), vol_target=vol_target, start=start, execution_lag=execution_lag
        )
        priced, impact = test.own_costs is not None, _impact_tape(tape, test)
        for name in ending:
            windows = range(begin[name], number + 1)
            days_of = [own[k][name] for k in windows]
            chain = _settle_chain(tape, impact, test.markets[name], name, days_of, priced=priced)
            for window, days in zip(windows, chain, strict=True):
                own[window][name] = days
    return pd.concat(
        [
            by_market[name].assign(window=fold.name)
            for fold, by_market in zip(folds, own, strict=True)
            for name in fold.test.markets
        ],
        ignore_index=True,
    )


def _settle_chain(
    whole: Tape,
    impact: Tape | None,
    market: Market,
    name: str,
    blocks: Sequence[pd.DataFrame],
    *,
    priced: bool,
) -> list[pd.DataFrame]:
    """Consecutive blocks of one market: the first as it is, the later ones of the decisions of all."""
    tape = whole.of_market(market)
    decided, known = np.zeros(tape.returns.shape), np.zeros(len(tape.dates), dtype=bool)
    booked = []
    for days in blocks:
        wide = days.pivot(index="date", columns="asset", values="signal")[list(market.assets)]
        booked.append(np.isin(tape.dates, wide.index.to_numpy().astype(tape.dates.dtype)))
        rows = np.flatnonzero(booked[-1]) - 1  # decided at the close before
        decided[rows], known[rows] = wide.to_numpy(), True
    standing = np.maximum.accumulate(np.where(known, np.arange(len(known)), 0))
    moved = None if impact is None else impact.of_market(market)
    settled = _Settled.of(tape, market, decided[standing], priced=priced, impact=moved)
    return [blocks[0], *(settled.table(name, rows) for rows in booked[1:])]


class _Held(NamedTuple):
    """The weights of one execution and what they earn, [T - 1, N]."""

    weight: FloatArray
    ledger: Ledger[FloatArray]

    @classmethod
    def of(cls, tape: Tape, decided: FloatArray) -> Self:
        """Decisions [T, N] settled on the tape of their market."""
        weight = weights_held(tape, decided)
        return cls(weight, settle_weights(tape, weight))

    def columns(self, booked: BoolArray, suffix: str) -> dict[str, FloatArray]:
        """What they earn, what was traded, and what is held, of some days."""
        money = {"gross": self.ledger.gross, "turnover": self.ledger.turnover, "weight": self.weight}
        return {f"{name}{suffix}": values[booked].ravel() for name, values in money.items()}


class _Settled(NamedTuple):
    """Decisions of one market and what they earn, on its own days."""

    tape: Tape
    market: Market
    decided: FloatArray
    on_time: _Held
    late: _Held
    priced: bool  # what is charged is what the data say that each asset costs
    impacts: tuple[FloatArray, FloatArray] | None  # of a capital of 1, on time and late

    @classmethod
    def of(
        cls, tape: Tape, market: Market, decided: FloatArray, *, priced: bool, impact: Tape | None
    ) -> Self:
        """Settle them, on time and one trading day later."""

        def delayed(charged: Tape) -> Tape:
            return replace(charged, lag=charged.lag + 1)

        impacts = None
        if impact is not None:
            impacts = backtest(impact, decided).cost, backtest(delayed(impact), decided).cost
        on_time, late = (_Held.of(each, decided) for each in (tape, delayed(tape)))
        return cls(tape, market, decided, on_time, late, priced, impacts)

    def _own_costs(self, booked: BoolArray) -> dict[str, FloatArray]:
        """What trading and holding cost, on time and late, of days [T - 1]; nothing where it is not known."""
        known: dict[str, FloatArray] = {}
        if self.priced:
            rate = self.tape.rates(slice(None, -1)).turnover
            known |= {"cost": self.on_time.ledger.cost, "cost_late": self.late.ledger.cost}
            known |= {"rate": np.broadcast_to(rate, self.decided[1:].shape)}
        if self.impacts is not None:
            known |= dict(zip(("impact", "impact_late"), self.impacts, strict=True))
        return {name: values[booked].ravel() for name, values in known.items()}

    def table(self, name: str, booked: BoolArray) -> pd.DataFrame:
        """The rows of the days [T] that are booked, one for each asset."""
        booked, n = booked[1:], len(self.market.assets)
        return pd.DataFrame(
            {
                "date": self.tape.dates[1:][booked].repeat(n),
                "market": name,
                "asset": list(self.market.assets) * int(booked.sum()),
                **self.on_time.columns(booked, ""),
                **self.late.columns(booked, "_late"),
                **self._own_costs(booked),
                "signal": self.decided[:-1][booked].ravel(),
                "listed": self.tape.listed[:-1][booked].ravel(),
                "counted": self.tape.counted[:-1][booked].ravel(),
                "traded": self.tape.live[:-1][booked].ravel(),
            }
        )

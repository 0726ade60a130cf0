"""An agent trained on the first days of a panel and played on the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.agent import Agent, make_agent, settings_of, signals_of
from experiments.results.books import Book
from qn_env.arrays import BoolArray, FloatArray
from qn_env.environment import TradingEnv
from qn_env.objectives import sharpe
from qn_env.panel import Panel
from qn_env.tape import Tape, backtest


@dataclass(frozen=True, eq=False)
class Played:
    """What an agent did on test days, day by day and asset by asset.

    Attributes:
        signals: [D, N] decided at the close of the day before.
        gross: [D, N] returns before costs.
        turnover: [D, N] of the trade that they came from.
        counted: [D, N] the days that enter a statistic.
    """

    signals: FloatArray
    gross: FloatArray
    turnover: FloatArray
    counted: BoolArray

    def net(self, cost_bps: float = 0.0) -> FloatArray:
        """[D, N] returns after costs."""
        book: Book[FloatArray] = Book(self.gross, self.turnover)
        return book.net(cost_bps)

    def of(self, columns: slice) -> Played:
        """The same of some assets."""
        return Played(
            self.signals[:, columns],
            self.gross[:, columns],
            self.turnover[:, columns],
            self.counted[:, columns],
        )

    @property
    def takes_sides(self) -> bool:
        """Whether the agent only ever chose between long, short and flat, and no size."""
        return bool(np.isin(np.abs(self.signals), (0.0, 1.0)).all())

    def mean_sharpe(self, cost_bps: float = 0.0) -> float:
        """Mean of the assets' annualised Sharpe ratios after costs, weighted by days; 0 of a flat asset."""
        ratios = np.nan_to_num(sharpe(self.net(cost_bps), self.counted, axis=0), nan=0.0)
        return float(np.average(ratios, weights=self.counted.sum(axis=0)))


def environment(agent: Agent, panel: Panel, cost_bps: float | None = None) -> TradingEnv:
    """The environment an agent asks for; `cost_bps` replaces the costs it wants to learn with."""
    settings = settings_of(agent)
    return TradingEnv(
        panel,
        window=settings.window,
        features=settings.features,
        vol_target=settings.vol_target,
        cost_bps=settings.train_cost_bps if cost_bps is None else cost_bps,
    )


def train_agent(
    agent: Agent, panel: Panel, days: slice, *, seed: int, cost_bps: float | None = None
) -> Agent:
    """The agent, fitted to the rows `days` of a panel, of which it selects on the latest tenth."""
    dates = panel.dates[days]
    return agent.fit(environment(agent, panel.since(dates[0]).until(dates[-1]), cost_bps), seed=seed)


def play_agent(agent: Agent, panel: Panel, days: slice) -> Played:
    """Play a trained agent over a panel, and what it earned on the rows `days`; begins on row 1 or later."""
    signals = signals_of(agent, panel, environment(agent, panel, 0.0))
    gross, turnover = np.zeros(panel.shape), np.zeros(panel.shape)
    counted = np.zeros(panel.shape, dtype=bool)
    whole = Tape.of(panel, vol_target=settings_of(agent).vol_target)
    for market in panel.markets.values():
        tape = whole.of_market(market)
        ledger = backtest(tape, market.compact(signals))
        booked = market.rows[1:]
        gross[booked, market.columns] = ledger.gross
        turnover[booked, market.columns] = ledger.turnover
        counted[booked, market.columns] = tape.counted[:-1]
    decided = slice(days.start - 1, days.stop - 1 if days.stop is not None else -1)
    return Played(signals[decided], gross[days], turnover[days], counted[days])


def out_of_sample(agent: str, panel: Panel, train_days: int, *, seed: int) -> FloatArray:
    """Returns [D, N] before costs of an agent trained on the first `train_days` and played on the rest.

    Args:
        agent: registered name or import path.
        panel: markets on one common calendar.
        train_days: days of the panel the agent learns and selects from.
        seed: of the training.
    """
    chosen = train_agent(make_agent(agent), panel, slice(train_days), seed=seed)
    return play_agent(chosen, panel, slice(train_days, None)).gross

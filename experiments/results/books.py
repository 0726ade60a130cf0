"""A book: what was earned before costs and what was traded for it, by day; net returns come from here."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import pandas as pd

from experiments.settings.config import Execution
from qn_env.arrays import BoolArray, FloatArray
from qn_env.economics import BASIS_POINT

Daily = TypeVar("Daily", FloatArray, pd.DataFrame, pd.Series)  # [days, ...]


class Book(NamedTuple, Generic[Daily]):
    """Daily gross returns and turnovers, of any series side by side.

    Attributes:
        gross: returns before costs, decimal.
        turnover: absolute changes of weight.
    """

    gross: Daily
    turnover: Daily

    def cost(self, cost_bps: float) -> Daily:
        """What trading costs every day, at so many basis points per unit of turnover."""
        return self.turnover * (cost_bps * BASIS_POINT)

    def net(self, cost_bps: float) -> Daily:
        """Daily returns after that cost."""
        return self.gross - self.cost(cost_bps)

    def on(self, rows: BoolArray | slice) -> Book[Daily]:
        """The same book on some of its days."""
        return Book(self.gross[rows], self.turnover[rows])


def book_of(days: pd.DataFrame, execution: Execution = "on-time") -> Book[pd.Series]:
    """The book of a table of days.

    Args:
        days: gross and turnover, and of those that are late gross_late and turnover_late.
        execution: "on-time", or "late" of the same decisions, each traded one trading day later.
    """
    suffix = "_late" if execution == "late" else ""
    return Book(days[f"gross{suffix}"], days[f"turnover{suffix}"])

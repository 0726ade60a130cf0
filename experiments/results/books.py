"""A book: what was earned before costs and what was traded for it, by day; net returns come from here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import pandas as pd

from experiments.settings.config import MARKET, Execution, Level
from qn_env.arrays import BoolArray, FloatArray
from qn_env.economics import BASIS_POINT
from qn_env.errors import ConfigError

Daily = TypeVar("Daily", FloatArray, pd.DataFrame, pd.Series)  # [days, ...]
Other = TypeVar("Other", FloatArray, pd.DataFrame, pd.Series)


class Book(NamedTuple, Generic[Daily]):
    """Daily gross returns and turnovers, of any series side by side.

    Attributes:
        gross: returns before costs, decimal.
        turnover: absolute changes of weight.
        own: what trading and holding costs at what the data say that each asset costs, decimal; None where
            they say nothing.
    """

    gross: Daily
    turnover: Daily
    own: Daily | None = None

    def cost(self, level: Level) -> Daily:
        """What trading costs every day: basis points per unit of turnover, or each asset's own costs.

        Raises:
            ConfigError: the data do not say what each asset costs.
        """
        if level != MARKET:
            return self.turnover * (float(level) * BASIS_POINT)
        if self.own is None:
            raise ConfigError("the data do not say what each asset costs; take a number of basis points.")
        return self.own

    def net(self, level: Level) -> Daily:
        """Daily returns after that cost."""
        return self.gross - self.cost(level)

    def on(self, rows: BoolArray | slice) -> Book[Daily]:
        """The same book on some of its days."""
        return self.each(lambda series: series[rows])

    def each(self, change: Callable[[Daily], Other]) -> Book[Other]:
        """The book of every series changed."""
        own = None if self.own is None else change(self.own)
        return Book(change(self.gross), change(self.turnover), own)


def book_of(days: pd.DataFrame, execution: Execution = "on-time") -> Book[pd.Series]:
    """The book of a table of days.

    Args:
        days: gross, turnover and, where the data say what each asset costs, cost; of those that are late
            gross_late, turnover_late and cost_late.
        execution: "on-time", or "late" of the same decisions, each traded one trading day later.
    """
    suffix = "_late" if execution == "late" else ""
    own = f"cost{suffix}"
    return Book(days[f"gross{suffix}"], days[f"turnover{suffix}"], days.get(own))


def at_level(table: pd.DataFrame, level: Level) -> pd.DataFrame:
    """The rows of a table at one level of costs; of each asset's own costs `cost_bps` is NaN."""
    costs = table["cost_bps"]
    return table[costs.isna() if level == MARKET else costs == level]


def levels_in(table: pd.DataFrame) -> list[Level]:
    """The levels of costs in a table: basis points ascending, then each asset's own costs."""
    costs = table["cost_bps"]
    flat = sorted(float(cost) for cost in costs.dropna().unique())
    return [*flat, MARKET] if costs.isna().any() else [*flat]


def cost_column(level: Level) -> float:
    """What `cost_bps` is of a level."""
    return float("nan") if level == MARKET else float(level)

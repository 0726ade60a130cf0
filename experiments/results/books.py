"""A book: what was earned before costs and what was traded for it, by day; net returns come from here."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

from qn_env.economics import BASIS_POINT

Daily = TypeVar("Daily")  # arrays [days, ...] or columns of a table


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
        traded: Any = self.turnover
        paid: Daily = cost_bps * BASIS_POINT * traded
        return paid

    def net(self, cost_bps: float) -> Daily:
        """Daily returns after that cost."""
        gross: Any = self.gross
        found: Daily = gross - self.cost(cost_bps)
        return found

    def on(self, rows: Any) -> Book[Any]:
        """The same book on some of its days."""
        gross: Any = self.gross
        turnover: Any = self.turnover
        return Book(gross[rows], turnover[rows])


def book_of(days: Any, *, late: bool = False) -> Book[Any]:
    """The book of a table of days.

    Args:
        days: gross and turnover, and with `late` the columns gross_late and turnover_late.
        late: of the same decisions, each traded one trading day later.
    """
    suffix = "_late" if late else ""
    return Book(days[f"gross{suffix}"], days[f"turnover{suffix}"])

"""How every metric is headed and written: one row each, from which every table picks.

A new metric is a formula in `experiments.results.metrics` and a row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Heading(NamedTuple):
    """One metric in a table."""

    name: str  # in the results table and the leaderboard
    title: str
    form: str  # how a value is written, a format specification
    help: str
    short: str = ""  # heading of a narrow column; empty: the title

    @property
    def kind(self) -> Literal["number", "percent", "count"]:
        """What the page makes of a value."""
        if self.form.endswith("%"):
            return "percent"
        return "count" if self.form == "d" else "number"

    @property
    def narrow(self) -> str:
        """The heading of a narrow column."""
        return self.short or self.title


_ROWS = (
    Heading("sharpe", "Sharpe", ".2f", "annualised mean over standard deviation of daily net returns"),
    Heading("ann_return", "Return", ".2%", "mean net return of a day times the days of a year", "return"),
    Heading("cagr", "Compound return", ".2%", "compound annual growth of net returns"),
    Heading(
        "ann_volatility",
        "Volatility",
        ".2%",
        "annualised standard deviation of daily net returns",
        "volat.",
    ),
    Heading("downside_risk", "Downside risk", ".2%", "annualised root mean square of the losses"),
    Heading("max_drawdown", "Max drawdown", ".1%", "deepest fall from a peak", "max DD"),
    Heading("sortino", "Sortino", ".2f", "annualised return over the downside risk"),
    Heading("calmar", "Calmar", ".2f", "compound annual return over the absolute maximum drawdown"),
    Heading("calmar_arith", "Calmar", ".2f", "annualised return over the absolute maximum drawdown"),
    Heading("hit_rate", "Hit rate", ".1%", "share of the days with a result that gained"),
    Heading("profit_loss_ratio", "Profit to loss", ".3f", "average gain over average loss"),
    Heading("skew", "Skewness", ".2f", "skewness of daily net returns"),
    Heading("kurtosis", "Kurtosis", ".2f", "excess kurtosis of daily net returns"),
    Heading("turnover", "Turnover", ".1f", "annualised mean absolute change of weight per asset", "turnover"),
    Heading("cost_drag", "Cost drag", ".2%", "annualised return that costs take"),
    Heading("break_even_bps", "Break-even", ".1f", "cost in basis points that takes the whole return"),
    Heading("days", "Days", "d", "days that count"),
    Heading("signal_change", "Signal change", ".3f", "mean absolute daily change of the signal per asset"),
    Heading("still", "Still", ".0%", "share of the assets whose signal never moves"),
    # Of the leaderboard alone.
    Heading(
        "ann_return_10", "Return at 10%", ".2%", "return after ex-ante scaling to 10% volatility", "return*"
    ),
    Heading(
        "max_drawdown_10",
        "Drawdown at 10%",
        ".1%",
        "drawdown after ex-ante scaling to 10% volatility",
        "max DD*",
    ),
    Heading("undefined", "Undefined", "d", "per-asset Sharpe ratios without a value"),
)
HEADINGS: Mapping[str, Heading] = {row.name: row for row in _ROWS}

# Columns of the leaderboard behind the Sharpe ratio: of the results table, and those that it measures itself.
LEADERBOARD = ("ann_return", "ann_volatility", "max_drawdown", "calmar", "turnover")
SIGNALS = ("signal_change", "still")
SCALED = ("ann_return_10", "max_drawdown_10")


def pick(*names: str) -> tuple[Heading, ...]:
    """The headings of these metrics, in this order."""
    return tuple(HEADINGS[name] for name in names)


def as_printed(labels: Mapping[str, str]) -> tuple[Heading, ...]:
    """Headings as a paper prints them: its labels by metric; shares in percent with one decimal.

    Examples:
        >>> as_printed({"ann_return": "E[R]"})[0][:3]
        ('ann_return', 'E[R]', '.1%')
    """
    rows = [(HEADINGS[name], label) for name, label in labels.items()]
    return tuple(
        row._replace(title=label, short="", form=".1%" if row.kind == "percent" else row.form)
        for row, label in rows
    )

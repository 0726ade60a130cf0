"""What Lim, Zohren and Roberts (2019) printed, to stand beside our own figures: references, never targets.

"Enhancing Time Series Momentum Strategies Using Deep Neural Networks", over 88 futures of a commercial
database, 1995-2015. Only figures that the text or public summaries tell are kept here. Those of the
Sharpe-trained LSTM fit each other: 0.451 / 2.907 is a volatility of 15.5%, as in the text, and 0.451 / 0.209
a Calmar ratio of 2.16.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from experiments.papers.config import as_the_paper_trades, is_late_trained
from experiments.papers.dmn.config import REFERENCES, REGULARISED
from experiments.results.headings import as_printed

# Columns of Exhibits 2, 3 and 9, under the paper's headings, and under short ones in a terminal.
_HEADINGS = {
    "ann_return": ("E[R]", ""),
    "ann_volatility": ("Vol.", ""),
    "downside_risk": ("Downside dev.", "Down."),
    "max_drawdown": ("MDD", ""),
    "sharpe": ("Sharpe", ""),
    "sortino": ("Sortino", ""),
    "calmar_arith": ("Calmar", ""),
    "hit_rate": ("% positive", "% pos."),
    "profit_loss_ratio": ("Ave. P / Ave. L", "P/L"),
}
METRICS = tuple(
    row._replace(short=_HEADINGS[row.name][1])
    for row in as_printed({name: title for name, (title, _) in _HEADINGS.items()})
)

MODELS: Mapping[str, str] = {"linear": "Linear", "mlp": "MLP", "wavenet": "WaveNet", "lstm": "LSTM"}
LOSSES: Mapping[str, str] = {
    "sharpe": "Sharpe",
    "average": "average return",
    "mse": "MSE",
    "binary": "binary",
}
# The sixteen models, by architecture.
SIXTEEN = tuple(f"dmn-{model}-{loss}" for model in MODELS for loss in LOSSES)
LABELS: Mapping[str, str] = {
    "long-only": "Long only",
    "sgn-returns": "Sgn(Returns)",
    "macd": "MACD",
    **{f"dmn-{m}-{s}": f"{MODELS[m]}, {LOSSES[s]}" for m in MODELS for s in LOSSES},
    REGULARISED: "LSTM + Reg.",
    "momentum-transformer": "Transformer, Sharpe",
    "spatiotemporal": "Spatiotemporal, Sharpe",
    "quantnet-shared": "QuantNet Shared",
}
# Strategies in the order of the paper's exhibits, then those it does not have.
ORDER = (*REFERENCES, *SIXTEEN, *(name for name in LABELS if name not in (*REFERENCES, *SIXTEEN)))

LATER = (
    "Later work of the same group, on 50 futures 1995-2020, finds 1.62 for the plain LSTM and 0.94 for "
    "time-series momentum."
)


class Hyperparameter(NamedTuple):
    """One row of Exhibit A1."""

    label: str
    option: str  # an agent's name for it
    values: tuple[float, ...]
    note: str


@cache
def _printed(name: str) -> tuple[dict[str, str], ...]:
    """The rows of a table of `published/`, by column; every row names its paper and exhibit."""
    text = files("experiments.papers.dmn").joinpath("published", f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def figures_of(exhibit: str) -> Mapping[str, Mapping[str, float]]:
    """Strategy to metric to what an exhibit prints of it: all that its text or public summaries tell.

    Signs and units are ours: a drawdown is negative, shares are fractions.
    """
    figures: dict[str, dict[str, float]] = {}
    for row in _printed("exhibits"):
        if row["exhibit"] == exhibit:
            figures.setdefault(row["strategy"], {})[row["metric"]] = float(row["value"])
    return figures


EXHIBIT_A1 = tuple(
    Hyperparameter(row["label"], row["option"], tuple(map(float, row["values"].split())), row["note"])
    for row in _printed("grid")
)


def label(agent: str) -> str:
    """The name of an agent in the tables.

    Examples:
        >>> label("dmn-lstm-sharpe"), label("my-agent")
        ('LSTM, Sharpe', 'my-agent')
    """
    name = as_the_paper_trades(agent)
    return LABELS.get(name, name) + (", trained late" if is_late_trained(agent) else "")


def in_paper_order(agents: list[str]) -> list[str]:
    """Agents as in the paper's exhibits, unknown ones last in the order given."""
    return [name for name in ORDER if name in agents] + [name for name in agents if name not in ORDER]


def loss_of(agent: str) -> str | None:
    """The loss of one of the sixteen models, None of any other strategy.

    Examples:
        >>> loss_of("dmn-mlp-binary"), loss_of("macd"), loss_of("dmn-lstm-sharpe-turnover")
        ('binary', None, None)
    """
    return agent.rpartition("-")[2] if agent in SIXTEEN else None


def model_of(agent: str) -> str | None:
    """The architecture of one of the sixteen models, None of any other strategy.

    Examples:
        >>> model_of("dmn-mlp-binary"), model_of("dmn-lstm-sharpe-turnover")
        ('mlp', None)
    """
    return agent.split("-")[1] if agent in SIXTEEN else None

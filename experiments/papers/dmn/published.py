"""What Lim, Zohren and Roberts (2019) printed, to stand beside our own figures: references, never targets.

"Enhancing Time Series Momentum Strategies Using Deep Neural Networks", over 88 futures of a commercial
database, 1995-2015. Only figures that the text or its public summaries agree on are kept here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from experiments.results.headings import as_printed

# Columns of Exhibits 2, 3 and 9, under the paper's headings.
METRICS = as_printed(
    {
        "ann_return": "E[R]",
        "ann_volatility": "Vol.",
        "downside_risk": "Downside dev.",
        "max_drawdown": "MDD",
        "sharpe": "Sharpe",
        "sortino": "Sortino",
        "calmar_arith": "Calmar",
        "hit_rate": "% positive",
        "profit_loss_ratio": "Ave. P / Ave. L",
    }
)

REFERENCES = ("long-only", "sgn-returns", "macd")
MODELS: Mapping[str, str] = {"linear": "Linear", "mlp": "MLP", "wavenet": "WaveNet", "lstm": "LSTM"}
LOSSES: Mapping[str, str] = {
    "sharpe": "Sharpe",
    "average": "average return",
    "mse": "MSE",
    "binary": "binary",
}
LSTM, REGULARISED = "dmn-lstm-sharpe", "dmn-lstm-sharpe-turnover"
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

# Sharpe ratios of Exhibit 2, the strategy returns of Eq. 1.
RAW: Mapping[str, float] = {"long-only": 0.738, "sgn-returns": 1.192, "macd": 0.976, LSTM: 2.804}
# Sharpe ratios of Exhibit 3, after scaling the portfolio to 15% volatility.
RESCALED: Mapping[str, float] = {
    "long-only": 0.759,
    "sgn-returns": 1.392,
    "macd": 1.111,
    "dmn-linear-sharpe": 1.496,
    "dmn-mlp-sharpe": 2.017,
    "dmn-wavenet-sharpe": 0.956,
    LSTM: 2.907,
    "dmn-lstm-average": 1.349,
    "dmn-lstm-mse": 0.791,
    "dmn-lstm-binary": 0.486,
}
LATER = (
    "Later work of the same group, on 50 futures 1995-2020, finds 1.62 for the plain LSTM and 0.94 for "
    "time-series momentum."
)


class Hyperparameter(NamedTuple):
    """One row of Exhibit A1."""

    label: str
    option: str  # an agent's name for it
    values: tuple[float, ...]
    note: str = ""


EXHIBIT_A1 = (
    Hyperparameter("Dropout rate", "dropout", (0.1, 0.2, 0.3, 0.4, 0.5)),
    Hyperparameter("Hidden layer size", "hidden", (5, 10, 20, 40, 80), "not the linear model"),
    Hyperparameter("Minibatch size", "batch", (256, 512, 1024, 2048)),
    Hyperparameter("Learning rate", "learning_rate", (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)),
    Hyperparameter("Max gradient norm", "max_norm", (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)),
    Hyperparameter("L1 weight", "l1", (1e-5, 1e-4, 1e-3, 1e-2, 1e-1), "linear model only"),
)


def label(agent: str) -> str:
    """The name of an agent in the tables.

    Examples:
        >>> label("dmn-lstm-sharpe"), label("my-agent")
        ('LSTM, Sharpe', 'my-agent')
    """
    return LABELS.get(agent, agent)


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

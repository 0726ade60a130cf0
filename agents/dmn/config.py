"""The hyperparameters of Deep Momentum Networks, and what their inputs are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from agents.limits import check_counts, check_penalties, check_positive, check_shares, check_widths
from qn_env.checks import check_known

NetworkName = Literal[
    "linear",
    "mlp",
    "wavenet",
    "lstm",
    "transformer",
    "patchtst",
    "lstm-patchtst",
    "dlinear",
    "itransformer",
    "mamba2",
]
LossName = Literal["sharpe", "average", "mse", "binary"]
SpaceName = Literal["dmn2019", "wood2022"]
SplitName = Literal["date", "asset"]

# The eight inputs u_t, in the order of `qn_env.features.dmn_features`.
FEATURE_NAMES = (
    *("return 1", "return 21", "return 63", "return 126", "return 252"),
    *("MACD 8-24", "MACD 16-48", "MACD 32-96"),
)


@dataclass(frozen=True, kw_only=True)
class DmnConfig:
    """Hyperparameters; values of the paper's search grid (Exhibit A1) where it has one."""

    network: NetworkName = "lstm"
    loss: LossName = "sharpe"
    hidden: int = 20  # width of every state; the linear model has none
    dropout: float = 0.2  # one rate for all masks; the linear model has none
    l1: float = 1e-5  # penalty on the linear model's weights (Eq. 19), in units of the loss
    train_cost_bps: float = 0.0  # c of the turnover regularisation (Eqs. 35-36)
    heads: int = 4  # of attention, or of a state space
    context: int = 63  # days that attention or a window reaches back to, today among them
    batch: int = 256  # of a step: trajectories of a network with a state, asset-days of the others
    learning_rate: float = 1e-2
    max_norm: float = 1.0  # of the gradient
    epochs: int = 100
    patience: int = 25  # epochs without a better validation loss
    length: int = 63  # days of a trajectory
    split: SplitName = "date"  # selects on the given block, or on each asset's own last tenth
    search: SpaceName = "dmn2019"  # what a random search draws from

    def __post_init__(self) -> None:
        for name, kinds in KINDS.items():
            check_known(name, getattr(self, name), get_args(kinds))
        check_widths(self, ("hidden", "heads", "context"))
        check_training(self)


KINDS = {"network": NetworkName, "loss": LossName, "search": SpaceName, "split": SplitName}


def check_training(config: object) -> None:
    """Refuse what every configuration of a training has, out of its range.

    Raises:
        ConfigError: with the name of the field.
    """
    check_counts(config, ("batch", "epochs", "patience", "length"))
    check_shares(config, ("dropout",))
    check_positive(config, ("learning_rate", "max_norm"))
    check_penalties(config, ("l1", "train_cost_bps"))

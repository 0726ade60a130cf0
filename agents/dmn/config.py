"""The hyperparameters of Deep Momentum Networks, and what their inputs are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from qn_env.errors import ConfigError, did_you_mean

NetworkName = Literal["linear", "mlp", "wavenet", "lstm", "transformer"]
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
    heads: int = 4  # of the transformer's attention
    context: int = 63  # days the transformer attends to
    batch: int = 256  # trajectories per step
    learning_rate: float = 1e-2
    max_norm: float = 1.0  # of the gradient
    epochs: int = 100
    patience: int = 25  # epochs without a better validation loss
    length: int = 63  # days of a trajectory
    split: SplitName = "date"  # selects on the given block, or on each asset's own last tenth
    search: SpaceName = "dmn2019"  # what a random search draws from

    def __post_init__(self) -> None:
        for name, kinds in {
            "network": NetworkName,
            "loss": LossName,
            "search": SpaceName,
            "split": SplitName,
        }.items():
            check_name(name, getattr(self, name), get_args(kinds))
        check_numbers(self, ("hidden", "heads", "context", "batch", "epochs", "patience", "length"))


def check_name(name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a word that is none of those known.

    Raises:
        ConfigError: with the nearest one.
    """
    if value not in known:
        raise ConfigError(
            f"{name} is {value!r}, expected one of {', '.join(known)}. {did_you_mean(value, known)}"
        )


def check_numbers(config: object, counts: tuple[str, ...]) -> None:
    """Refuse counts below 1, and rates and weights out of their range.

    Raises:
        ConfigError: with the name of the field.
    """
    for name in counts:
        if not getattr(config, name) >= 1:
            raise ConfigError(f"{name} is {getattr(config, name)}, expected at least 1.")
    rate = getattr(config, "dropout")  # noqa: B009 - of any configuration
    if not 0.0 <= rate < 1.0:
        raise ConfigError(f"dropout is {rate}, expected a rate in [0, 1).")
    for name in ("learning_rate", "max_norm"):
        if not 0.0 < getattr(config, name) < float("inf"):
            raise ConfigError(f"{name} is {getattr(config, name)}, expected a number > 0.")
    for name in ("l1", "train_cost_bps"):
        if not 0.0 <= getattr(config, name) < float("inf"):
            raise ConfigError(f"{name} is {getattr(config, name)}, expected a number >= 0.")

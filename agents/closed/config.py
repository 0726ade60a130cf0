"""The hyperparameters of policies that are trained through the account."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from agents.dmn.config import check_training
from agents.dmn.space import DROPOUT
from agents.limits import check_widths
from agents.space import Choice, LogUniform, Space
from qn_env.checks import check_known

TraderName = Literal["linear", "mlp", "lstm"]


@dataclass(frozen=True, kw_only=True)
class ClosedConfig:
    """Hyperparameters; the costs inside the objective are what the policy learns to pay for."""

    network: TraderName = "linear"
    hidden: int = 20  # width of the state; the linear policy has none
    dropout: float = 0.2  # one rate for all masks; the linear policy has none
    train_cost_bps: float = 2.0  # per unit of turnover, inside the objective
    l1: float = 1e-5  # penalty on the linear policy's weights of the inputs, in units of the loss
    batch: int = 64  # windows of a step
    learning_rate: float = 1e-2
    max_norm: float = 1.0  # of the gradient
    epochs: int = 100
    patience: int = 25  # epochs without a better validation loss
    length: int = 63  # days of a window, behind which the gradient ends

    def __post_init__(self) -> None:
        check_known("network", self.network, get_args(TraderName))
        check_widths(self, ("hidden",))
        check_training(self)

    @property
    def space(self) -> Space:
        """What a random search draws from."""
        if self.network == "linear":
            return {"learning_rate": LogUniform(1e-3, 1e-1), "l1": LogUniform(1e-6, 1e-2)}
        return {
            "learning_rate": LogUniform(1e-3, 3e-2),
            "hidden": Choice((5, 10, 20, 40, 80)),
            "dropout": Choice((0.0, *DROPOUT)),
            "batch": Choice((32, 64, 128, 256)),
        }

"""The hyperparameters of policies that are trained through the account."""

from __future__ import annotations

from dataclasses import dataclass

from agents.limits import check_counts, check_penalties, check_positive
from agents.space import LogUniform, Space


@dataclass(frozen=True, kw_only=True)
class ClosedConfig:
    """Hyperparameters; the costs inside the objective are what the policy learns to pay for."""

    train_cost_bps: float = 2.0  # per unit of turnover, inside the objective
    l1: float = 1e-5  # penalty on the weights of the inputs, in units of the loss
    batch: int = 64  # windows of a step
    learning_rate: float = 1e-2
    max_norm: float = 1.0  # of the gradient
    epochs: int = 100
    patience: int = 25  # epochs without a better validation loss
    length: int = 63  # days of a window, behind which the gradient ends

    def __post_init__(self) -> None:
        check_counts(self, ("batch", "epochs", "patience", "length"))
        check_positive(self, ("learning_rate", "max_norm"))
        check_penalties(self, ("l1", "train_cost_bps"))

    @property
    def space(self) -> Space:
        """What a random search draws from."""
        return {"learning_rate": LogUniform(1e-3, 1e-1), "l1": LogUniform(1e-6, 1e-2)}

"""What a training is beside its data: one of a population, or alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from agents.resuming import Keeper, Parts
from agents.training import Monitor, Training, train
from qn_env.environment import TradingEnv


class Fit(NamedTuple):
    """What `fit` of an agent is called with, and the agent."""

    agent: Any
    env: TradingEnv
    seed: int
    validation: TradingEnv | None


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training; the fields are arguments of `agents.training.train`.

    Attributes:
        network: its first weights, and where the best ones are left.
        optimizer: Adam over its parameters; a population reads rates, penalties and moments from it.
        epochs: at most so many.
        patience: epochs without a better score before it stops.
        max_norm: gradients are scaled down to this norm.
        title: what a progress bar says.
        identity: configuration, seed and data as text.
        generators: what is drawn from, by name; they are on the CPU, whatever trains.
        monitor: who watches it, and where its state is stored.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    epochs: int
    patience: int
    max_norm: float
    title: str
    identity: str
    generators: Mapping[str, torch.Generator]
    monitor: Monitor

    def alone(self, losses: Callable[[int], Iterator[Tensor]], score: Callable[[], float]) -> Training:
        """Train by itself; arguments as of `train`."""
        return train(
            self.network,
            self.optimizer,
            losses,
            score,
            epochs=self.epochs,
            patience=self.patience,
            max_norm=self.max_norm,
            title=self.title,
            identity=self.identity,
            generators=self.generators,
            monitor=self.monitor,
        )

    @property
    def keeper(self) -> Keeper:
        """Where its state is stored: the same file, whether it trains alone or beside others."""
        parts = Parts(self.network, self.optimizer, self.generators)
        return Keeper.of(self.identity, parts, self.monitor.checkpoints)

    def goes_on(self, state: Training) -> bool:
        """Whether another epoch follows."""
        within = state.epochs < self.epochs and state.epochs - state.best_epoch < self.patience
        return within and not self.monitor.ended(state)

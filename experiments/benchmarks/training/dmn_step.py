"""The step of Deep Momentum Networks as the agent takes it, and its least: the same on plain tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from agents.closed import ClosedConfig
from agents.closed.agent import Learner
from agents.closed.agent import build as build_closed
from agents.closed.windows import ClosedWindows
from agents.dmn import DeepMomentum, DmnConfig
from agents.dmn.architectures import build
from agents.dmn.losses import LOSSES
from agents.dmn.network import Network
from agents.dmn.training_windows import TrainingWindows, cut_windows
from agents.training import Monitor, global_seed, train
from qn_env.environment import TradingEnv
from qn_env.objectives import LOSS_FLOOR
from qn_env.panel import Panel
from qn_env.year import DAYS_PER_YEAR


def trajectories(panel: Panel, length: int) -> TrainingWindows:
    """What the LSTM agent learns from, with the environment that it asks for."""
    settings = DeepMomentum().settings
    env = TradingEnv(
        panel,
        window=settings.window,
        features=settings.features,
        vol_target=settings.vol_target,
        cost_bps=settings.train_cost_bps,
    )
    return cut_windows(env, length, 0)


class _Step(ABC):
    """Optimiser steps on random trajectories in the project's training loop."""

    network: nn.Module
    batch: int
    max_norm: float

    def _prepare(self, config: DmnConfig | ClosedConfig) -> None:
        self.batch, self.max_norm = config.batch, config.max_norm
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate, fused=True)
        self._generator = torch.Generator().manual_seed(0)

    def __call__(self, steps: int) -> None:
        """Take, forward, settle, score, backward, clip, step: so many times, without validation."""
        train(
            self.network,
            self._optimizer,
            lambda _done: self._losses(steps),
            lambda: 0.0,
            epochs=1,
            patience=1,
            max_norm=self.max_norm,
            title="benchmark",
            identity="benchmark",
            generators={},
            monitor=Monitor(progress=lambda _done, _total: None),
        )

    @abstractmethod
    def _loss(self, rows: Tensor) -> Tensor:
        """Of the trajectories of the given numbers."""

    @property
    @abstractmethod
    def _count(self) -> int:
        """How many trajectories there are."""

    def _losses(self, steps: int) -> Iterator[Tensor]:
        for _ in range(steps):
            yield self._loss(torch.randint(self._count, (self.batch,), generator=self._generator))


class AgentStep(_Step):
    """The steps of `DeepMomentum.fit`."""

    def __init__(self, given: TrainingWindows, config: DmnConfig) -> None:
        """Build the network; `given` are all trajectories."""
        self._given, self._config = given, config
        with global_seed(0):
            self.network: Network = build(config)
        self.network.generator.manual_seed(1)
        self._prepare(config)

    @property
    def _count(self) -> int:
        return len(self._given)

    def loss(self, given: TrainingWindows) -> Tensor:
        """Minus the pooled Sharpe ratio (Eq. 17) through the environment's economics."""
        z, _ = self.network(given.inputs, self.network.memory(given.past))
        return LOSSES[self._config.loss].value(z, given.pairs)

    def _loss(self, rows: Tensor) -> Tensor:
        return self.loss(self._given.take(rows))


class ClosedStep(_Step):
    """The steps of `ClosedLoop.fit`: the same trajectories, and what is held goes back in every day."""

    def __init__(self, given: TrainingWindows, config: ClosedConfig) -> None:
        """Build the policy; `given` are all trajectories."""
        self._windows = ClosedWindows.of(given, targeted=True)
        trader = build_closed(config, 0)
        trader.generator.manual_seed(1)
        self.network: Learner = Learner(trader, self._windows)
        self._prepare(config)

    @property
    def _count(self) -> int:
        return len(self._windows)

    def _loss(self, rows: Tensor) -> Tensor:
        return self.network.loss(self._windows, rows)


class BareStep:
    """The least that such a step can be: fused LSTM, head, masked Sharpe ratio and Adam on one fixed batch.

    The mask is that of padding and of days that do not count. No sampling, no settling, no clipping, no check
    of the loss, and money in float32.
    """

    def __init__(self, given: TrainingWindows, config: DmnConfig) -> None:
        """Build modules; `given` is the batch."""
        episode = given.pairs.episode
        self._inputs, self._counted = given.inputs, given.pairs.counted.float()
        self._earned = (episode.next_returns * episode.scale)[..., 0].float()
        self.network = nn.ModuleDict(
            {
                "lstm": nn.LSTM(given.inputs.shape[-1], config.hidden, batch_first=True),
                "head": nn.Linear(config.hidden, 1),
            }
        )
        self._optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate, fused=True)

    def __call__(self, steps: int) -> None:
        """Forward, score, backward, step: so many times."""
        for _ in range(steps):
            loss = self.loss()
            self._optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            self._optimizer.step()

    def loss(self) -> Tensor:
        """Minus the Sharpe ratio of positions tanh(z) over the days that count."""
        hidden, _ = self.network["lstm"](self._inputs)
        net = torch.tanh(self.network["head"](hidden)[..., 0]) * self._earned * self._counted
        days = self._counted.sum()
        mean = net.sum() / days
        variance = ((net - mean).square() * self._counted).sum() / days
        ratio: Tensor = DAYS_PER_YEAR**0.5 * mean / variance.clip(LOSS_FLOOR).sqrt()
        return -ratio

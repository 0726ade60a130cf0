"""A PyTorch network, trained end to end on the Sharpe ratio of what its signals earn after costs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self, TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from agents import Settings
from agents.adapting import fine_tuned
from agents.checkpoint import load_json, load_tensors, save_json, save_tensors
from agents.space import Choice, LogUniform
from agents.training import Monitor, Training, global_seed, train
from qn_env import TradingEnv
from qn_env.arrays import FloatArray
from qn_env.episodes import Episode
from qn_env.features import dmn_features
from qn_env.objectives import LOSS_FLOOR, sharpe
from qn_env.panel import Panel
from qn_env.setup import Observation

DEFINED = 8  # the ninth column says whether the eight before it are all defined
LENGTH, BATCH, STEPS = 63, 32, 20  # days of a window, windows of a step, steps of an epoch


class Stored(TypedDict):
    """What a checkpoint holds beside the weights."""

    hidden: int
    learning_rate: float
    epochs: int


class MyAgent:
    """A small network for all assets; it sees each asset's eight features and gives its signal."""

    learns = True
    warmup = 315  # trading days until every feature is defined

    def __init__(self, hidden: int = 16, learning_rate: float = 1e-2, epochs: int = 30) -> None:
        """Choose the width, the size of a step and how long it may train."""
        self.hidden, self.learning_rate, self.epochs = hidden, learning_rate, epochs
        # What `qn search` draws from.
        self.space = {"hidden": Choice((8, 16, 32)), "learning_rate": LogUniform(1e-4, 1e-1)}
        self.settings = Settings(window=1, features=dmn_features(), vol_target=0.15, train_cost_bps=2.0)
        self.network = self._build(0)
        # Optional: the harness shows progress through the monitor, resumes a killed training and, from
        # `training_`, ends hopeless trials of a search early.
        self.monitor, self.training_ = Monitor(), Training()
        self._earlier: nn.Module | None = None

    def start_from(self, earlier: MyAgent) -> None:
        """Optional: let `fit` begin at the weights of a trained agent, in a run with warm starts."""
        self._earlier = earlier.network

    def adapt(
        self, env: TradingEnv, *, seed: int, learn: bool, validation: TradingEnv | None = None
    ) -> MyAgent:
        """Optional, for the protocol unseen: it plays any asset; from a few days of some it learns on."""
        return fine_tuned(self, env, seed=seed, validation=validation) if learn else self

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Maximise the Sharpe ratio on windows of `env`; keep the weights that do best on `validation`."""
        env, validation = (env, validation) if validation is not None else env.split()
        network = self._build(seed)
        if self._earlier is not None:
            network.load_state_dict(self._earlier.state_dict())
        generator = torch.Generator().manual_seed(seed)
        learn, held = env.episodes(generator=generator), validation.episodes().block()

        def losses(_done: int) -> Iterator[Tensor]:
            for _ in range(STEPS):
                batch = learn.sample(length=LENGTH, batch=BATCH)
                yield -torch.stack([_ratio(network, episode) for episode in batch.values()]).mean()

        self.training_ = train(
            network,
            torch.optim.Adam(network.parameters(), lr=self.learning_rate),
            losses,
            lambda: float(torch.stack([_ratio(network, episode) for episode in held.values()]).mean()),
            epochs=self.epochs,
            patience=10,
            max_norm=1.0,
            title=f"MyAgent seed {seed}",
            identity=f"{self._stored()} {seed} {env.fingerprint} {validation.fingerprint}",
            generators={"windows": generator},
            monitor=self.monitor,
        )
        self.network = network
        return self

    def reset(self) -> None:
        """Nothing to forget: the past is in the features."""

    def act(self, observation: Observation) -> FloatArray:
        """Signals [N] of one day."""
        signals: FloatArray = self._signals(observation["features"][-1:])[0]
        return signals

    def signals(self, panel: Panel) -> FloatArray:
        """Signals [T, N] of a whole history: what `act` gives, a day at a time.

        One day after the other, since the last digits of a matrix product depend on its size.
        """
        signals = np.zeros(panel.shape)
        for t, day in enumerate(panel.features(self.settings.features)):
            signals[t] = self._signals(day[None])[0]
        return signals

    def save(self, folder: Path) -> None:
        """Write options and weights, as JSON and safetensors."""
        save_json(folder, self._stored())
        save_tensors(folder, self.network.state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        agent = cls(**load_json(folder, Stored))
        agent.network.load_state_dict(load_tensors(folder))
        return agent

    def _stored(self) -> Stored:
        return {"hidden": self.hidden, "learning_rate": self.learning_rate, "epochs": self.epochs}

    def _build(self, seed: int) -> nn.Module:
        with global_seed(seed):  # the weights come from torch's global generator
            return nn.Sequential(nn.Linear(DEFINED, self.hidden), nn.Tanh(), nn.Linear(self.hidden, 1))

    @torch.no_grad()
    def _signals(self, features: FloatArray) -> FloatArray:
        seen = torch.tensor(features, dtype=torch.float32)
        signals: FloatArray = np.asarray(_positions(self.network, seen))
        return signals


def _positions(network: nn.Module, features: Tensor) -> Tensor:
    """Signals [...] of features [..., 9]; 0 where not all are defined."""
    known = features[..., DEFINED]
    z = network(features[..., :DEFINED] * known[..., None]).squeeze(-1)
    return torch.tanh(z).double() * known


def _ratio(network: nn.Module, episode: Episode) -> Tensor:
    """The mean Sharpe ratio of a market's assets over all windows, after costs."""
    net = episode.settle(_positions(network, episode.features)).net.flatten(0, 1)
    counted, year = episode.counted.flatten(0, 1), episode.bars_per_year
    ratios: Tensor = sharpe(net, counted, axis=0, ddof=0, floor=LOSS_FLOOR, bars_per_year=year)
    return ratios.mean()

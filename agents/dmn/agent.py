"""Deep Momentum Networks as an agent: features in, volatility-scaled positions out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from agents.agent import Settings
from agents.checkpoint import load_json, load_tensors, save_json, save_tensors
from agents.dmn.network import LstmNetwork, State
from agents.training import seeded, train
from qn_env.environment import TradingEnv
from qn_env.episodes import Episode
from qn_env.errors import ConfigError
from qn_env.features import dmn_features
from qn_env.objectives import LOSS_FLOOR, sharpe
from qn_env.panel import FloatArray, Panel
from qn_env.stage import Observation

# Days a prediction pass handles at once; bounds memory, changes no number.
CHUNK = 512


@dataclass(frozen=True, kw_only=True)
class DmnConfig:
    """Hyperparameters; values of the paper's search grid (Exhibit A1) where it has one."""

    hidden: int = 20  # LSTM width
    dropout: float = 0.2
    batch: int = 256  # trajectories per step
    learning_rate: float = 1e-2
    max_norm: float = 1.0  # of the gradient
    epochs: int = 100
    patience: int = 25  # epochs without a better validation loss
    length: int = 63  # days of a trajectory, unrolled from zero state

    def __post_init__(self) -> None:
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout is {self.dropout}, expected a rate in [0, 1).")
        for name in ("hidden", "batch", "epochs", "patience", "length"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 1.")


class DeepMomentum:
    """A Sharpe-trained LSTM over the eight features of each asset, one network for all of them.

    Trained on non-overlapping trajectories of 63 days on each asset's own trading days with the pooled
    Sharpe loss (Eq. 17), selected on the validation block; predicts in one streamed pass with a warm state.
    """

    learns = True
    warmup = 315

    def __init__(self, **options: Any) -> None:
        """Options are the fields of `DmnConfig`."""
        self.config = DmnConfig(**options)
        self.settings = Settings(window=1, features=dmn_features(), vol_target=0.15)
        self.network: LstmNetwork | None = None
        self._state: State | None = None

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Minimise the Sharpe loss on `env`; keep the weights that do best on `validation`.

        Without `validation` the most recent 10% of each market's days in `env` are held out.
        """
        config = self.config
        network = self._build(seed)
        generator = torch.Generator().manual_seed(seed)
        network.generator.manual_seed(seed + 1)
        env, validation = (env, validation) if validation is not None else env.split()
        learn = env.episodes().trajectories(config.length)
        held = validation.episodes().trajectories(config.length)

        def losses() -> Iterator[Tensor]:
            order = torch.randperm(len(learn.inputs), generator=generator)
            for rows in torch.split(order, config.batch):
                yield -self._objective(network, learn.take(rows))

        self.training_ = train(
            network,
            torch.optim.Adam(network.parameters(), lr=config.learning_rate),
            losses,
            lambda: float(self._objective(network, held)),
            epochs=config.epochs,
            patience=config.patience,
            max_norm=config.max_norm,
            title=f"dmn seed {seed}",
            identity=json.dumps({"config": asdict(config), "seed": seed})
            + env.fingerprint
            + validation.fingerprint,
            generators={"batches": generator, "dropout": network.generator},
        )
        self.network = network
        return self

    def reset(self) -> None:
        """Forget the state of every asset."""
        self._state = None

    @torch.no_grad()
    def act(self, observation: Observation) -> FloatArray:
        """Signals [N]: one more step for every asset that trades and whose features are defined."""
        network = self._fitted()
        features = observation["features"][-1]
        N = len(features)
        if self._state is None:
            self._state = (torch.zeros(1, N, self.config.hidden), torch.zeros(1, N, self.config.hidden))
        signals = np.zeros(N)
        active = np.flatnonzero((observation["tradable"][-1] > 0) & (features[:, -1] > 0))
        if len(active):
            inputs = torch.tensor(features[active, None, :-1], dtype=torch.float32)
            h, c = self._state
            found, (h[:, active], c[:, active]) = network(inputs, (h[:, active], c[:, active]))
            signals[active] = found[:, 0].double().numpy()
        return signals

    @torch.no_grad()
    def signals(self, panel: Panel) -> FloatArray:
        """Signals [T, N] in one streamed pass over each asset's own trading days."""
        network = self._fitted()
        features = panel.features(self.settings.features)
        active = panel.tradable & (features[..., -1] > 0)
        days = active.sum(axis=0)
        # Each asset's active days first, so that one pass serves all of them.
        rows = np.argsort(~active, axis=0, kind="stable")[: days.max(initial=0)]
        own = np.take_along_axis(features[..., :-1], rows[..., None], axis=0)
        found = np.zeros(rows.shape)
        state: State | None = None
        for begin in range(0, len(rows), CHUNK):
            inputs = torch.tensor(own[begin : begin + CHUNK], dtype=torch.float32).transpose(0, 1)
            part, state = network(inputs, state)
            found[begin : begin + CHUNK] = part.double().numpy().T
        signals = np.zeros(panel.shape)
        np.put_along_axis(signals, rows, found, axis=0)
        return np.where(active, signals, 0.0)

    def save(self, folder: Path) -> None:
        """Write configuration and weights."""
        save_json(folder, {"config": asdict(self.config)})
        save_tensors(folder, self._fitted().state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        agent = cls(**load_json(folder)["config"])
        agent.network = agent._build(0)
        agent.network.load_state_dict(load_tensors(folder))
        agent.network.eval()
        return agent

    def _build(self, seed: int) -> LstmNetwork:
        with seeded(seed):
            return LstmNetwork(len(self.settings.features) - 1, self.config.hidden, self.config.dropout)

    def _fitted(self) -> LstmNetwork:
        if self.network is None:
            raise ConfigError("this agent is not trained; call fit or load first.")
        return self.network

    def _objective(self, network: LstmNetwork, episode: Episode) -> Tensor:
        """The Sharpe ratio pooled over all counted pairs of asset and day (Eq. 17)."""
        features = episode.features[:, :, 0]
        signals, _ = network(features[..., :-1])
        net = episode.settle(signals[..., None]).net
        counted = episode.counted & (features[..., -1:] > 0)
        ratio: Tensor = sharpe(net.flatten(), counted.flatten(), ddof=0, floor=LOSS_FLOOR)
        return ratio

"""QuantNet as an agent: each market's own returns in, its signals out, trained on all markets at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from agents.agent import Settings
from agents.checkpoint import load_json, load_tensors, save_json, save_tensors
from agents.quantnet.network import Kind, QuantNetwork, State
from agents.training import seeded, train
from qn_env.environment import TradingEnv
from qn_env.episodes import Episode
from qn_env.errors import ConfigError
from qn_env.objectives import LOSS_FLOOR, sharpe
from qn_env.panel import FloatArray, Panel
from qn_env.stage import Observation

# Days a validation or prediction pass handles at once, and days of warm state before a validation block.
CHUNK = 512
CONTEXT = 252


@dataclass(frozen=True, kw_only=True)
class QuantNetConfig:
    """Hyperparameters; ranges in Table 3 of the paper."""

    encoder: Kind = "lstm"
    transfer: Kind | None = "linear"  # None is No Transfer
    decoder: Kind = "linear"
    dimension: int = 10  # the transfer dimension N
    dropout: float = 0.1  # on the encoders' outputs
    batch: int = 32  # windows per market and step (L)
    length: int = 63  # days of a window (p)
    learning_rate: float = 5e-3
    steps: int = 2000
    epoch: int = 50  # steps between two validations
    patience: int = 8  # validations without a better score
    max_norm: float = 1.0  # of the gradient

    def __post_init__(self) -> None:
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout is {self.dropout}, expected a rate in [0, 1).")
        for name in ("dimension", "batch", "length", "steps", "epoch", "patience"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 1.")


class QuantNet:
    """The encoder-omega-decoder network of Koshiyama et al. (2020), or its No Transfer counterpart.

    Inputs are a market's returns of the day, each divided by the asset's standard deviation in the training
    block: a fixed rescaling of the encoder's input weights, so that 63-day windows of 1% returns reach the
    LSTM's gates. The objective is Eqs. 7-8, the training Algorithm 1 with AMSGrad.
    """

    learns = True
    warmup = CONTEXT

    def __init__(self, **options: Any) -> None:
        """Options are the fields of `QuantNetConfig`."""
        self.config = QuantNetConfig(**options)
        self.settings = Settings(window=1)
        self.network: QuantNetwork | None = None
        self.columns_: dict[str, slice] = {}
        self.unit_: FloatArray = np.ones(0)
        self._state: dict[str, State] = {}

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Maximise the mean Sharpe ratio of assets, then markets, on sampled windows of `env`.

        The weights with the best objective on `validation` are kept; without it, the most recent 10% of each
        market's days in `env` are held out.
        """
        config = self.config
        env, validation = (env, validation) if validation is not None else env.split()
        self._learn_layout(env.panel)
        network = self._build(seed)
        network.generator.manual_seed(seed + 1)
        episodes = env.episodes(generator=torch.Generator().manual_seed(seed))
        held = validation.episodes().block(CONTEXT)

        def losses() -> Iterator[Tensor]:
            for _ in range(min(config.epoch, config.steps)):
                batch = episodes.sample(length=config.length, batch=config.batch)
                yield -self._objective(network, batch)

        self.training_ = train(
            network,
            torch.optim.Adam(network.parameters(), lr=config.learning_rate, amsgrad=True),
            losses,
            lambda: float(self._objective(network, held)),
            epochs=-(-config.steps // config.epoch),
            patience=config.patience,
            max_norm=config.max_norm,
            title=f"quantnet seed {seed}",
        )
        self.network = network
        return self

    def reset(self) -> None:
        """Forget the state of every market."""
        self._state = {}

    @torch.no_grad()
    def act(self, observation: Observation) -> FloatArray:
        """Signals [N]: one more step for every market that trades today."""
        network = self._fitted()
        returns, tradable = observation["returns"][-1], observation["tradable"][-1]
        signals = np.zeros(len(returns))
        for name, columns in self.columns_.items():
            if tradable[columns].any():
                inputs = self._scaled(returns[None, None, columns], columns)
                found, self._state[name] = network(name, inputs, self._state.get(name))
                signals[columns] = found[0, 0].double().numpy()
        return signals

    @torch.no_grad()
    def signals(self, panel: Panel) -> FloatArray:
        """Signals [T, N] in one streamed pass over each market's own trading days."""
        network = self._fitted()
        signals = np.zeros(panel.shape)
        for name, columns in self.columns_.items():
            market = panel.markets[name]
            returns = np.nan_to_num(market.compact(panel.returns), nan=0.0)
            found = np.zeros(returns.shape)
            state: State | None = None
            for begin in range(0, len(returns), CHUNK):
                inputs = self._scaled(returns[None, begin : begin + CHUNK], columns)
                part, state = network(name, inputs, state)
                found[begin : begin + CHUNK] = part[0].double().numpy()
            market.spread(found, signals)
        return signals

    def save(self, folder: Path) -> None:
        """Write configuration, layout of the markets, and weights."""
        layout = {name: [c.start, c.stop] for name, c in self.columns_.items()}
        save_json(folder, {"config": asdict(self.config), "columns": layout, "unit": self.unit_.tolist()})
        save_tensors(folder, self._fitted().state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        stored = load_json(folder)
        agent = cls(**stored["config"])
        agent.columns_ = {name: slice(a, b) for name, (a, b) in stored["columns"].items()}
        agent.unit_ = np.array(stored["unit"])
        agent.network = agent._build(0)
        agent.network.load_state_dict(load_tensors(folder))
        agent.network.eval()
        return agent

    def _learn_layout(self, panel: Panel) -> None:
        """Where each market's assets stand, and each asset's standard deviation (1 where it never traded)."""
        self.columns_ = {name: market.columns for name, market in panel.markets.items()}
        seen = np.isfinite(panel.returns)
        filled = np.where(seen, panel.returns, 0.0)
        days = np.maximum(seen.sum(axis=0), 1)
        mean = filled.sum(axis=0) / days
        spread = np.sqrt((np.where(seen, panel.returns - mean, 0.0) ** 2).sum(axis=0) / days)
        self.unit_ = np.where(spread > 0, spread, 1.0)

    def _build(self, seed: int) -> QuantNetwork:
        config = self.config
        sizes = {name: c.stop - c.start for name, c in self.columns_.items()}
        with seeded(seed):
            return QuantNetwork(
                sizes,
                encoder=config.encoder,
                transfer=config.transfer,
                decoder=config.decoder,
                dimension=config.dimension,
                dropout=config.dropout,
            )

    def _fitted(self) -> QuantNetwork:
        if self.network is None:
            raise ConfigError("this agent is not trained; call fit or load first.")
        return self.network

    def _scaled(self, returns: FloatArray, columns: slice) -> Tensor:
        return torch.tensor(returns / self.unit_[columns], dtype=torch.float32)

    def _objective(self, network: QuantNetwork, batch: Mapping[str, Episode]) -> Tensor:
        """Mean over markets of the mean Sharpe ratio of windows and assets (Eqs. 7-8).

        An asset with fewer than two counted days in a window is left out of the mean.
        """
        scores = []
        for name, episode in batch.items():
            unit = torch.tensor(self.unit_[self.columns_[name]], dtype=torch.float32)
            signals, _ = network(name, episode.inputs / unit)
            net = episode.settle(signals).net
            ratios = sharpe(net, episode.counted, axis=1, ddof=0, floor=LOSS_FLOOR)
            enough = episode.counted.sum(1) >= 2
            if enough.any():
                scores.append(ratios[enough].mean())
        return torch.stack(scores).mean()

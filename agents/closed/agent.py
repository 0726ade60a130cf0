"""Recurrent reinforcement learning as an agent: a policy that reads what it holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from agents.agent import Settings, repr_of
from agents.checkpoint import load_json, load_tensors, save_json, save_tensors
from agents.closed.config import ClosedConfig
from agents.closed.windows import ClosedWindows
from agents.dmn.agent import INPUT_DAYS
from agents.dmn.config import FEATURE_NAMES
from agents.dmn.losses import VOL_TARGET
from agents.dmn.training_windows import DEFINED, FEATURES, SIGMA, cut_windows
from agents.space import Space
from agents.training import Monitor, Training, train
from qn_env.arrays import BoolArray, FloatArray
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.setup import Observation


class Stored(TypedDict):
    """What a checkpoint says beside the weights."""

    config: dict[str, Any]
    targeted: bool


class Trader(nn.Module):
    """x_t = tanh(w . u_t + b + f x_{t-1}), one for all assets (Moody and Saffell 2001, Eq. 2)."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        # From all zeros nothing is held, and nothing says which way to go.
        self.weight = nn.Parameter(
            0.1 * torch.randn(len(FEATURE_NAMES), generator=generator, dtype=torch.float64)
        )
        self.bias = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.feedback = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def drive(self, inputs: Tensor) -> Tensor:
        """[B, L] of inputs [B, L, F]."""
        return inputs @ self.weight + self.bias


class _Learner(nn.Module):
    """A trader, and what every window has left for the next one when it was last played."""

    def __init__(self, trader: Trader, windows: ClosedWindows) -> None:
        super().__init__()
        self.trader = trader
        self.decided: Tensor
        self.weights: Tensor
        self.register_buffer("decided", torch.zeros(len(windows), dtype=torch.float64))
        shape = (len(windows), windows.account.lag + 1)
        self.register_buffer("weights", torch.zeros(shape, dtype=torch.float64))

    def loss(self, windows: ClosedWindows, rows: Tensor) -> Tensor:
        """Minus the net Sharpe ratio of some windows, each from where the one before it has ended."""
        given = windows.take(rows)
        begins = given.previous < 0
        before = given.previous.clip(0)
        loss, decided, weights = given.play(
            self.trader.drive(given.inputs),
            self.trader.feedback,
            self.decided[before].masked_fill(begins, 0.0),
            self.weights[before].masked_fill(begins[:, None], 0.0),
        )
        self.decided[rows], self.weights[rows] = decided, weights
        return loss


class Recurrent:
    """A linear policy that reads its last decision, trained through the account it keeps.

    Moody and Saffell (2001): the objective is the net Sharpe ratio, pooled over assets, and its gradient goes
    back through every day on which a position was taken because of the one before. Here over windows of 63 of
    each asset's own days; a window begins with the position that the window before it ended with when it was
    last played, and pays for what it trades from there. One policy serves all assets, those it never saw
    included.
    """

    learns = True
    warmup = INPUT_DAYS

    def __init__(self, **options: Any) -> None:
        """Options are the fields of `ClosedConfig`."""
        self.config = ClosedConfig(**options)
        self.settings = Settings(
            window=1, features=FEATURES, vol_target=VOL_TARGET, train_cost_bps=self.config.train_cost_bps
        )
        self.trader: Trader | None = None
        self.training_ = Training()
        self.monitor = Monitor()
        self._targeted = True
        self._earlier: Trader | None = None
        self._memory: tuple[FloatArray, FloatArray] | None = None

    def __repr__(self) -> str:
        return repr_of(self, self.config)

    @property
    def space(self) -> Space:
        """What a random search draws from."""
        return self.config.space

    def start_from(self, earlier: Recurrent) -> None:
        """Let `fit` begin at the weights of a trained agent."""
        self._earlier = earlier._trained()

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Maximise the net Sharpe ratio on `env`; keep the weights that do best on `validation`.

        Without `validation` the most recent 10% of each market's days in `env` are held out.
        """
        config = self.config
        generator = torch.Generator().manual_seed(seed)
        trader = Trader(generator)
        if self._earlier is not None:
            trader.load_state_dict(self._earlier.state_dict())
        env, validation = (env, validation) if validation is not None else env.split()
        targeted = env.config.vol_target is not None
        learn, held = (
            ClosedWindows.of(cut_windows(e, config.length, 0), targeted=targeted) for e in (env, validation)
        )
        whole = held.joined()
        learner = _Learner(trader, learn)

        def losses(_done: int) -> Iterator[Tensor]:
            for rows in torch.split(torch.randperm(len(learn), generator=generator), config.batch):
                yield learner.loss(learn, rows) + config.l1 * trader.weight.abs().sum()

        def score() -> float:
            flat = whole.inputs.new_zeros(len(whole), whole.account.lag + 1)
            loss, *_ = whole.play(trader.drive(whole.inputs), trader.feedback, flat[:, 0], flat)
            return -float(loss)

        self.training_ = train(
            learner,
            torch.optim.Adam(trader.parameters(), lr=config.learning_rate),
            losses,
            score,
            epochs=config.epochs,
            patience=config.patience,
            max_norm=config.max_norm,
            title=f"rrl seed {seed}",
            identity=json.dumps({"config": asdict(config), "seed": seed})
            + env.fingerprint
            + validation.fingerprint,
            generators={"batches": generator},
            monitor=self.monitor,
        )
        self.trader, self._targeted = trader, targeted
        return self

    def reset(self) -> None:
        """Forget what is held."""
        self._memory = None

    def act(self, observation: Observation) -> FloatArray:
        """Signals [N]."""
        features = observation["features"][-1]
        if self._memory is None:
            self._memory = np.zeros(len(features)), np.zeros(len(features))
        signals, self._memory = self._decide(
            features, self._drive(features), observation["tradable"][-1] > 0, self._memory
        )
        return signals

    def signals(self, panel: Panel) -> FloatArray:
        """Signals [T, N], day after day."""
        features = panel.features(self.settings.features)
        drive = self._drive(features)
        memory = np.zeros(panel.shape[1]), np.zeros(panel.shape[1])
        signals = np.zeros(panel.shape)
        for t in range(len(signals)):
            signals[t], memory = self._decide(features[t], drive[t], panel.tradable[t], memory)
        return signals

    def _drive(self, features: FloatArray) -> FloatArray:
        """[..., N] what the inputs say."""
        trader = self._trained()
        weight = trader.weight.detach().numpy()
        # A product of matrices rounds as its shape is; this sum does not, in one pass and day by day.
        drive: FloatArray = (features[..., :DEFINED] * weight).sum(axis=-1) + float(trader.bias.detach())
        return drive

    def _decide(
        self,
        features: FloatArray,
        drive: FloatArray,
        tradable: BoolArray,
        memory: tuple[FloatArray, FloatArray],
    ) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
        """Signals [N] of a day, and what is remembered: the last decision and its day's volatility."""
        decided, volatility = memory
        sigma = features[:, SIGMA]
        known = (volatility > 0.0) & (sigma > 0.0)
        ratio = np.where(known, sigma / np.where(known, volatility, 1.0) if self._targeted else 1.0, 0.0)
        active = tradable & (features[:, DEFINED] > 0)
        feedback = float(self._trained().feedback.detach())
        signals = np.where(active, np.tanh(drive + feedback * ratio * decided), 0.0)
        return signals, (np.where(tradable, signals, decided), np.where(tradable, sigma, volatility))

    def save(self, folder: Path) -> None:
        """Write configuration and weights."""
        save_json(folder, {"config": asdict(self.config), "targeted": self._targeted})
        save_tensors(folder, self._trained().state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        stored = load_json(folder, Stored)
        agent = cls(**stored["config"])
        agent._targeted = stored["targeted"]
        agent.trader = Trader(torch.Generator())
        agent.trader.load_state_dict(load_tensors(folder))
        return agent

    def _trained(self) -> Trader:
        if self.trader is None:
            raise ConfigError("this agent is not trained; call fit or load first.")
        return self.trader

"""A scikit-learn regression: forecasts the next return, and takes its side and size."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Self, TypedDict

import numpy as np
from sklearn.linear_model import Ridge

from agents import Settings
from agents.checkpoint import load_json, save_json
from agents.space import LogUniform
from qn_env import TradingEnv
from qn_env.arrays import FloatArray
from qn_env.features import EwVolatility, dmn_features
from qn_env.panel import Panel
from qn_env.setup import Observation

DEFINED = 8  # the ninth column says whether the eight before it are all defined


class Stored(TypedDict):
    """What a checkpoint holds."""

    penalty: float
    weights: list[float]
    intercept: float


class MyAgent:
    """One ridge regression for all assets, on the eight features of Deep Momentum Networks."""

    learns = False  # a least-squares fit has no chance in it; True where the seed matters
    warmup = 315  # trading days until every feature is defined

    def __init__(self, penalty: float = 10.0) -> None:
        """Choose the penalty on the weights."""
        self.penalty = penalty
        self.space = {"penalty": LogUniform(1e-2, 1e4)}  # what `qn search` draws from
        # vol_target: a signal of 1 is a position of 15% annualised volatility.
        self.settings = Settings(window=1, features=dmn_features(), vol_target=0.15)
        self._weights, self._intercept = np.zeros(DEFINED), 0.0

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Regress the next own day's return, in units of its volatility, on today's features."""
        self._weights, self._intercept = np.zeros(DEFINED), 0.0
        self._learn(env)
        return self

    def adapt(
        self, env: TradingEnv, *, seed: int, learn: bool, validation: TradingEnv | None = None
    ) -> MyAgent:
        """Optional, for the protocol unseen: it plays any asset; a few days of some move it from there."""
        if not learn:
            return self
        other = copy.copy(self)
        other._learn(env)
        return other

    def _learn(self, env: TradingEnv) -> None:
        """Regress what is not forecast yet, on the days of the environment that count."""
        panel = env.panel
        features, sigma = panel.features(self.settings.features), panel.feature(EwVolatility())
        inputs, targets = [], []
        for asset in range(panel.shape[1]):
            own = np.flatnonzero(panel.tradable[:, asset])
            today, tomorrow = own[:-1], own[1:]
            known = env.tape.decides[today, asset] & (features[today, asset, DEFINED] > 0)
            inputs.append(features[today[known], asset, :DEFINED])
            targets.append(panel.returns[tomorrow[known], asset] / sigma[today[known], asset])
        x, y = np.concatenate(inputs), np.concatenate(targets)
        model = Ridge(alpha=self.penalty).fit(x, y - x @ self._weights - self._intercept)
        self._weights = self._weights + model.coef_
        self._intercept += float(model.intercept_)

    def reset(self) -> None:
        """Nothing to forget: the past is in the features."""

    def act(self, observation: Observation) -> FloatArray:
        """Signals [N] of one day."""
        return self._signals(observation["features"][-1])

    def signals(self, panel: Panel) -> FloatArray:
        """Signals [T, N] of a whole history in one pass: what `act` gives day by day."""
        return self._signals(panel.features(self.settings.features))

    def save(self, folder: Path) -> None:
        """Write what was learnt, as JSON."""
        content = {"penalty": self.penalty, "weights": self._weights.tolist(), "intercept": self._intercept}
        save_json(folder, content)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        stored = load_json(folder, Stored)
        agent = cls(stored["penalty"])
        agent._weights, agent._intercept = np.array(stored["weights"]), stored["intercept"]
        return agent

    def _signals(self, features: FloatArray) -> FloatArray:
        known = features[..., DEFINED] > 0
        # A sum, not a matrix product, whose last digits depend on how many days there are.
        forecast = (features[..., :DEFINED] * self._weights).sum(axis=-1) + self._intercept
        signals: FloatArray = np.where(known, np.tanh(10.0 * forecast), 0.0)
        return signals

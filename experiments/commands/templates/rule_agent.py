"""A rule: a formula over past returns, nothing learnt."""

from __future__ import annotations

from typing import Self

import numpy as np

from agents import Settings
from agents.space import Choice
from qn_env import TradingEnv
from qn_env.arrays import FloatArray
from qn_env.setup import Observation


class MyAgent:
    """Long what rose over the last days, short what fell."""

    learns = False  # the seed has no effect

    def __init__(self, days: int = 126) -> None:
        """Choose how far it looks back."""
        self.days = days
        self.space = {"days": Choice((21, 63, 126, 252))}  # what `qn search` draws from
        self.settings = Settings(window=days)  # so many rows of returns in an observation
        self.warmup = days  # trading days before its first valid signal

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Nothing to learn."""
        return self

    def reset(self) -> None:
        """Nothing to forget: all it needs is in the observation."""

    def act(self, observation: Observation) -> FloatArray:
        """Signals [N] in [-1, 1] for the next day."""
        grown = np.prod(1.0 + observation["returns"], axis=0) - 1.0
        signals: FloatArray = np.sign(grown) * (observation["tradable"][-1] > 0)
        return signals

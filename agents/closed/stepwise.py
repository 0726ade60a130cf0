"""Agents that decide day after day and read their last decision: one pass is nothing but many steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, NamedTuple, Self, TypeVar

import numpy as np

from agents.agent import Settings, last_rows
from agents.dmn.training_windows import DEFINED, SIGMA
from qn_env.arrays import BoolArray, FloatArray
from qn_env.panel import Panel
from qn_env.setup import Observation

# What a policy keeps beside the last decision.
Memory = TypeVar("Memory")


class Held(NamedTuple):
    """The last decision of each asset, and the volatility of the day it was made on, both [N]."""

    decided: FloatArray
    volatility: FloatArray

    @classmethod
    def nothing(cls, n_assets: int) -> Self:
        """Before the first day."""
        return cls(np.zeros(n_assets), np.zeros(n_assets))

    def as_signal(self, sigma: FloatArray, *, targeted: bool) -> FloatArray:
        """[N] the signal of today that would leave every weight as it is.

        Under a volatility target a weight is signal times target over volatility, so that it is
        x_{t-1} sigma_t / sigma_{t-1}; without a target it is x_{t-1}.
        """
        known = (self.volatility > 0.0) & (sigma > 0.0)
        ratio = np.where(known, sigma / np.where(known, self.volatility, 1.0) if targeted else 1.0, 0.0)
        return self.decided * ratio

    def after(self, decided: FloatArray, sigma: FloatArray, tradable: BoolArray) -> Held:
        """After a day; what is closed stays as it is."""
        return Held(np.where(tradable, decided, self.decided), np.where(tradable, sigma, self.volatility))


class Stepwise(ABC, Generic[Memory]):
    """An agent over the features of Deep Momentum Networks that reads what it holds.

    What is held is its own last decision, not the position an observation shows: under an execution lag that
    is the order under way, and it is known wherever signals are made, be it in an environment, in one pass
    over a history or from a file.
    """

    settings: Settings

    def __init__(self) -> None:
        self._targeted = True
        self._held: Held | None = None
        self._memory: Memory | None = None

    @abstractmethod
    def _begin(self, n_assets: int) -> Memory:
        """What is kept beside the last decision, before the first day."""

    @abstractmethod
    def _decide(
        self, inputs: FloatArray, active: BoolArray, held: FloatArray, memory: Memory
    ) -> tuple[FloatArray, Memory]:
        """Decisions [N] of a day, and what is kept after it.

        Args:
            inputs: [N, F], 0 where not all of them are defined.
            active: [N] whether something is decided; elsewhere the decision is taken as 0.
            held: [N] the signal that would leave every weight as it is.
            memory: before the day.
        """

    @abstractmethod
    def _keep(self, tradable: BoolArray, after: Memory, before: Memory) -> Memory:
        """What is kept `after` the day of the assets that trade on it, and `before` it of the others."""

    def reset(self) -> None:
        """Forget what is held."""
        self._held = self._memory = None

    def act(self, observation: Observation) -> FloatArray:
        """Signals [N]."""
        return self._step(observation["features"][-1], observation["tradable"][-1] > 0)

    def signals(self, panel: Panel) -> FloatArray:
        """Signals [T, N], day after day from nothing held."""
        return self._play(panel, None)

    def signals_from(self, panel: Panel, held: FloatArray) -> FloatArray:
        """Signals [N] of every market's last trading day, for who holds `held` [N], signals too."""
        signals: FloatArray = self._play(panel, held)[last_rows(panel), np.arange(len(held))]
        return signals

    def _play(self, panel: Panel, told: FloatArray | None) -> FloatArray:
        """Signals [T, N]; on every market's last day with `told` [N] in place of what would be held."""
        days = zip(panel.features(self.settings.features), panel.tradable, strict=True)
        last, signals = last_rows(panel), np.zeros(panel.shape)
        self.reset()
        for t, (features, tradable) in enumerate(days):
            today = last == t
            if told is not None and today.any():
                before = Held.nothing(len(told)) if self._held is None else self._held
                # Decided today, as it were: no volatility has changed since.
                self._held = before.after(told, features[:, SIGMA], today)
            signals[t] = self._step(features, tradable)
        self.reset()
        return signals

    def _step(self, features: FloatArray, tradable: BoolArray) -> FloatArray:
        held = Held.nothing(len(tradable)) if self._held is None else self._held
        memory = self._begin(len(tradable)) if self._memory is None else self._memory
        sigma, defined = features[:, SIGMA], features[:, DEFINED] > 0
        active = tradable & defined
        decided, after = self._decide(
            np.where(defined[:, None], features[:, :DEFINED], 0.0),
            active,
            held.as_signal(sigma, targeted=self._targeted),
            memory,
        )
        signals = np.where(active, decided, 0.0)
        self._held = held.after(signals, sigma, tradable)
        self._memory = self._keep(tradable, after, memory)
        return signals

"""Positive controls of the probes: agents that know what is planted, or learn the one number that is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

import numpy as np

from agents.agent import Settings
from experiments.probes.optima import latent_filter
from experiments.probes.programme import Law, best_policy
from qn_env.arrays import FloatArray
from qn_env.environment import TradingEnv
from qn_env.setup import Observation

SURE = 15.0  # of what a day tells, half the log odds beyond which nothing is surer

# mu / sigma of the next returns [N], from today's returns [N] and the forecast of the day before [N].
Forecast = Callable[[FloatArray, FloatArray], FloatArray]


class Oracle:
    """Plays the best policy for a forecast that is given: w proportional to mu / (mu^2 + sigma^2)."""

    learns = False
    settings = Settings(window=1)

    def __init__(self, forecast: Forecast) -> None:
        """Take the forecast of what is planted."""
        self._forecast = forecast
        self._last: FloatArray | None = None

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Nothing is learnt."""
        del env, seed, validation
        return self

    def reset(self) -> None:
        """Forget the last forecast."""
        self._last = None

    def act(self, observation: Observation) -> FloatArray:
        """Signals [N], the best weights times 2 sigma: they fill [-1, 1]."""
        today = observation["returns"][-1]
        before = np.zeros(len(today)) if self._last is None else self._last
        forecast = self._last = self._forecast(today, before)
        return 2.0 * forecast / (1.0 + forecast**2)


class Banded(Oracle):
    """Plays the best policy under the costs it is fitted with: no trade inside a band that moves."""

    def __init__(self, forecast: Forecast, law: Law, volatility: float) -> None:
        """Take what is planted.

        Args:
            forecast: mu of the next return, in units of what it leaves open.
            law: of mu.
            volatility: standard deviation of what is left open, decimal.
        """
        super().__init__(forecast)
        self._law, self._volatility = law, volatility
        self._policy = best_policy(law, 0.0)

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Compute the policy for the cost of a unit of turnover, the same for all assets."""
        del seed, validation
        self._policy = best_policy(self._law, float(env.tape.costs.turnover.flat[0]) / self._volatility)
        return self

    def act(self, observation: Observation) -> FloatArray:
        """Signals [N]: positions as shares of the largest one that is ever taken."""
        super().act(observation)
        assert self._last is not None, "the forecast"
        most = self._policy.largest
        if most == 0.0:
            return 0.0 * self._last
        return self._policy.position(self._last, most * observation["positions"]) / most


class Switching(Oracle):
    """Knows two AR(1) laws of opposite sign and how long they last; infers which is in force (Bayes).

    The forecast of the next return is (2 p - 1) c r_t, p the probability of +c. A return under it has the
    variance of the innovations and the square of c r_t, whichever law it is, and the best weight is the mean
    over both.
    """

    def __init__(
        self,
        coefficient: float,
        volatility: float,
        mean_days: int,
        *,
        least_days: int,
        reads: Literal["own", "all"],
    ) -> None:
        """Take what is planted, and whose past is read.

        Args:
            coefficient: c.
            volatility: standard deviation of the innovations, decimal.
            mean_days: of a regime.
            least_days: of a regime; behind them it ends on any day with the same probability.
            reads: each asset's own past, or that of all assets as if one law were in force for all.
        """
        super().__init__(constant_forecast(0.0))
        self._coefficient, self._volatility, self._reads = coefficient, volatility, reads
        # By the days that it has lasted, from 1 on; the last entry is that of all older regimes.
        self._ends = np.append(np.zeros(least_days), 1.0 / (mean_days - least_days))[:, None]
        self._belief: FloatArray | None = None  # [2, A, N] of +c and -c and the age; [2, A, 1] of all assets

    def reset(self) -> None:
        """Forget what was inferred."""
        super().reset()
        self._belief = None

    def act(self, observation: Observation) -> FloatArray:
        """Signals [N], the best weights times 2 sigma."""
        today = observation["returns"][-1] / self._volatility
        if self._belief is None or self._last is None:
            belief = np.zeros((2, len(self._ends), 1 if self._reads == "all" else len(today)))
            belief[:, 0] = 0.5
        else:
            # Half the log of the likelihood ratio of today's return, ((x + c x')^2 - (x - c x')^2) / 4.
            told = self._coefficient * self._last * today
            told = (told.sum(keepdims=True) if self._reads == "all" else told).clip(-SURE, SURE)
            belief = self._belief * np.exp(np.stack([told, -told]))[:, None]
            belief /= belief.sum(axis=(0, 1))
        self._belief, self._last = self._later(belief), today
        up, down = self._belief.sum(axis=1)
        expected = self._coefficient * today
        signals: FloatArray = 2.0 * (up - down) * expected / (1.0 + expected**2)
        return signals

    def _later(self, belief: FloatArray) -> FloatArray:
        """The belief a day later, when each regime is a day older or another one has begun."""
        stays = belief * (1.0 - self._ends)
        later = np.zeros_like(belief)
        later[:, 0] = (belief * self._ends).sum(axis=1)[::-1]
        later[:, 1:] = stays[:, :-1]
        later[:, -1] += stays[:, -1]
        return later


class Regression(Oracle):
    """Learns one AR(1) coefficient for all assets by least squares, then plays its forecast."""

    learns = True

    def __init__(self) -> None:
        """Start without a forecast."""
        super().__init__(constant_forecast(0.0))

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Regress every return on that of the day before, all assets together."""
        del seed, validation
        before, after = env.panel.returns[:-1], env.panel.returns[1:]
        both = np.isfinite(before) & np.isfinite(after)
        x, y = before[both], after[both]
        coefficient = float((x * y).sum() / (x**2).sum())
        self._forecast = ar1_forecast(coefficient, float((y - coefficient * x).std()))
        return self


def constant_forecast(drift: float) -> Forecast:
    """The same mu / sigma every day."""
    return lambda today, _before: np.full(len(today), drift)


def ar1_forecast(coefficient: float, volatility: float) -> Forecast:
    """Forecast of AR(1) returns, mu = coefficient r_t."""
    return lambda today, _before: coefficient / volatility * today


def latent_forecast(persistence: float, strength: float, volatility: float) -> Forecast:
    """The Kalman forecast of a latent drift, with the gain of the steady state from the first day on."""
    steady = latent_filter(persistence, strength)
    sigma = steady.innovation**0.5

    def forecast(today: FloatArray, before: FloatArray) -> FloatArray:
        surprise = today / volatility - before * sigma
        expected: FloatArray = persistence * (before + steady.gain / sigma * surprise)
        return expected

    return forecast


def leader_forecast(coefficient: float, volatility: float) -> Forecast:
    """The first half of the assets leads: mu of each of the others is coefficient r_t of its leader."""

    def forecast(today: FloatArray, _before: FloatArray) -> FloatArray:
        leaders = today[: len(today) // 2]
        return np.concatenate([np.zeros(len(leaders)), coefficient / volatility * leaders])

    return forecast

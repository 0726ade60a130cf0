"""The best policy under proportional costs, by dynamic programming on forecast and position.

One asset, in units of the standard deviation of what its forecast leaves open (the innovation). The forecast
mu of the next return is an AR(1) process that everybody can know; a policy chooses the position w' held over
the day in place of w, and earns x = w' r - c |w' - w|, where E[r | mu] = mu and Var(r | mu) = 1. Among
stationary policies the one with the largest Sharpe ratio has the largest m^2 / s, m = E x, s = E x^2.

That ratio does not change where every position is multiplied by a number: costs, too, are proportional. Of
all multiples of a policy the one with m = s has the largest E x - E x^2 / 2, m^2 / 2 s, so that the policy
with the largest Sharpe ratio is one with the largest E x - E x^2 / 2, an average reward, and no price of risk
has to be searched for. Divided by its largest position it fits between -1 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np

from qn_env.arrays import FloatArray, IntArray
from qn_env.year import DAYS_PER_YEAR

FORECASTS, POSITIONS = 41, 401  # of the grid: to twice both, Sharpe ratios change by less than 0.5%
_SWEEPS = 200  # of the values of one policy, before it is improved
_ROUNDS = 200  # policies: some ten are enough
_LEAST_CHANGE = 1e-10


class Law(NamedTuple):
    """A forecast of the next return: an AR(1) process around 0.

    Attributes:
        persistence: its coefficient.
        ratio: its variance over that of what it leaves open.
    """

    persistence: float
    ratio: float


class Earned(NamedTuple):
    """What a stationary policy earns.

    Attributes:
        sharpe: annualised, net of costs.
        turnover: a year, in units of its mean absolute position.
        mean, square: m and s of a day.
    """

    sharpe: float
    turnover: float
    mean: float
    square: float


@dataclass(frozen=True)
class Programme:
    """The best policy on a grid.

    Attributes:
        law: of the forecast.
        cost: of a unit of turnover, in units of the innovation's standard deviation.
        forecasts: [n] the grid of mu, ascending.
        positions: [m] the grid of w, ascending.
        chosen: [n, m] the place in `positions` of the position that replaces one.
        earned: by it, in the long run.
    """

    law: Law
    cost: float
    forecasts: FloatArray
    positions: FloatArray
    chosen: IntArray
    earned: Earned

    @cached_property
    def band(self) -> tuple[FloatArray, FloatArray]:
        """[n] the least and the largest position that is left as it is, at every forecast.

        A position below is brought to the one, a position above to the other. Where the forecast is worth far
        more than the cost there is no band: what was paid to come there makes a day less spread, so that who
        comes from farther goes a little farther, and both ends are in order here.
        """
        ends = self.positions[self.chosen[:, [0, -1]]]
        return ends.min(axis=1), ends.max(axis=1)

    def position(self, forecast: FloatArray, held: FloatArray) -> FloatArray:
        """The positions that replace those held, at forecasts between those of the grid, too."""
        low, high = (np.interp(forecast, self.forecasts, edge) for edge in self.band)
        return np.clip(held, low, high)

    @property
    def largest(self) -> float:
        """The largest position that it ever takes: from flat it buys up to the lower end and not beyond."""
        low, high = self.band
        return float(max(low.max(), -high.min(), 0.0))


@cache
def best_policy(
    law: Law, cost: float, *, forecasts: int = FORECASTS, positions: int = POSITIONS
) -> Programme:
    """Average-reward value iteration in rounds: the values of a policy, then a better one.

    Args:
        law: of the forecast.
        cost: of a unit of turnover, in units of the innovation's standard deviation: 5 bps are 0.05 where
            that is 1%.
        forecasts: size of their grid.
        positions: size of theirs, odd, so that flat is one of them.
    """
    unit, step = rouwenhorst(forecasts, law.persistence)
    mu = law.ratio**0.5 * unit
    # Nobody holds more than who trades for nothing: the best policy then is mu / (1 + mu^2), at most 1 / 2.
    most = float((mu / (1.0 + mu**2)).max())
    w = np.linspace(-most, most, positions)
    traded = abs(w[None] - w[:, None])  # [from, to]
    rewards = [_reward(w, traded, each, cost) for each in mu]
    values = np.zeros((forecasts, positions))
    chosen = np.zeros((forecasts, positions), dtype=np.intp)
    rows = np.arange(positions)
    for _ in range(_ROUNDS):
        ahead = step @ values
        better = np.stack(
            [(reward + following).argmax(axis=1) for reward, following in zip(rewards, ahead, strict=True)]
        )
        if (better == chosen).all():
            break
        chosen = better
        reward = np.stack([each[rows, to] for each, to in zip(rewards, chosen, strict=True)])
        values = _values(reward, step, chosen, values)
    return Programme(law, cost, mu, w, chosen, _earned(mu, w, traded, step, chosen, cost))


def rouwenhorst(size: int, persistence: float) -> tuple[FloatArray, FloatArray]:
    """An AR(1) process of variance 1 as a Markov chain: its states [size] and transitions [size, size].

    Rouwenhorst (1995): conditional mean and variance are the process's own, for any persistence.

    Examples:
        >>> states, step = rouwenhorst(2, 0.5)
        >>> states.tolist(), step.tolist()
        ([-1.0, 1.0], [[0.75, 0.25], [0.25, 0.75]])
    """
    p = (1.0 + persistence) / 2.0
    step = np.array([[p, 1.0 - p], [1.0 - p, p]])
    for n in range(3, size + 1):
        wider = np.zeros((n, n))
        wider[:-1, :-1] += p * step
        wider[:-1, 1:] += (1.0 - p) * step
        wider[1:, :-1] += (1.0 - p) * step
        wider[1:, 1:] += p * step
        wider[1:-1] /= 2.0
        step = wider
    return np.linspace(-1.0, 1.0, size) * (size - 1.0) ** 0.5, step


def _moments(
    w: FloatArray, traded: FloatArray, mu: FloatArray | float, cost: float
) -> tuple[FloatArray, FloatArray]:
    """E[x] and E[x^2] given the forecast, the position that is taken, and what is traded for it."""
    gross, paid = w * mu, cost * traded
    return gross - paid, w**2 * (1.0 + mu**2) - 2.0 * gross * paid + paid**2


def _reward(w: FloatArray, traded: FloatArray, mu: float, cost: float) -> FloatArray:
    """[from, to] E x - E x^2 / 2."""
    mean, square = _moments(w[None], traded, mu, cost)
    reward: FloatArray = mean - square / 2.0
    return reward


def _values(reward: FloatArray, step: FloatArray, chosen: IntArray, values: FloatArray) -> FloatArray:
    """[n, m] relative values of a policy, from some to begin with."""
    middle = values.shape[0] // 2, values.shape[1] // 2
    for _ in range(_SWEEPS):
        moved = reward + np.take_along_axis(step @ values, chosen, axis=1)
        settled = np.ptp(moved - values) < _LEAST_CHANGE
        values = moved - moved[middle]
        if settled:
            break
    return values


def _earned(
    mu: FloatArray, w: FloatArray, traded: FloatArray, step: FloatArray, chosen: IntArray, cost: float
) -> Earned:
    """What a policy earns under the stationary law of forecast and position."""
    n, m = chosen.shape
    state = np.repeat(np.arange(n), m)
    share = np.zeros((n, m))
    share[:, m // 2] = _stationary(step)  # begins flat
    for _ in range(100_000):
        taken = np.zeros((n, m))
        np.add.at(taken, (state, chosen.ravel()), share.ravel())
        following = step.T @ taken
        settled = abs(following - share).max() < 1e-14
        share = following
        if settled:
            break
    to = w[chosen]
    change = np.take_along_axis(np.broadcast_to(traded, (n, m, m)), chosen[:, :, None], axis=2)[:, :, 0]
    mean, square = _moments(to, change, mu[:, None], cost)
    return earned_by(
        float((share * mean).sum()),
        float((share * square).sum()),
        float((share * change).sum()),
        float((share * abs(to)).sum()),
    )


def earned_by(mean: float, square: float, traded: float, held: float) -> Earned:
    """What a policy with these daily means earns; who never trades earns nothing."""
    if held == 0.0:
        return Earned(0.0, 0.0, 0.0, 0.0)
    daily = mean / (square - mean**2) ** 0.5
    return Earned(float(DAYS_PER_YEAR**0.5 * daily), DAYS_PER_YEAR * traded / held, mean, square)


def _stationary(step: FloatArray) -> FloatArray:
    """[n] the stationary law of Rouwenhorst's chain: binomial, whatever its persistence."""
    from scipy.stats import binom

    n = len(step)
    law: FloatArray = binom.pmf(np.arange(n), n - 1, 0.5)
    return law


@dataclass(frozen=True)
class BlindPolicy:
    """The best policy that does not see what it holds: a position for every forecast.

    Attributes:
        forecasts: [n] the grid of mu.
        positions: [n] what is held there; the multiple with m = s.
        earned: by it, in the long run.
    """

    forecasts: FloatArray
    positions: FloatArray
    earned: Earned


@cache
def best_blind_policy(law: Law, cost: float, *, forecasts: int = FORECASTS) -> BlindPolicy:
    """The static map from forecast to position with the largest Sharpe ratio; arguments as in `best_policy`.

    By gradients, of changes of position that are smoothed less and less, from the best map without costs.
    """
    from scipy.optimize import minimize

    unit, step = rouwenhorst(forecasts, law.persistence)
    mu = law.ratio**0.5 * unit
    pair = _stationary(step)[:, None] * step  # [yesterday, today]

    def moments(f: FloatArray, smooth: float) -> tuple[float, float, FloatArray, FloatArray]:
        change = f[None] - f[:, None]
        size = np.sqrt(change**2 + smooth**2)
        slope = change / np.where(size > 0.0, size, 1.0)
        mean, square = _moments(f[None], size, mu[None], cost)
        # Slopes by what is held today, and by what is traded, which both days decide.
        held = mu[None], 2.0 * f[None] * (1.0 + mu[None] ** 2) - 2.0 * mu[None] * cost * size
        trade = -cost * slope, (2.0 * cost**2 * size - 2.0 * f[None] * mu[None] * cost) * slope
        by_f = [
            (pair * (one + other)).sum(axis=0) - (pair * other).sum(axis=1)
            for one, other in zip(held, trade, strict=True)
        ]
        return float((pair * mean).sum()), float((pair * square).sum()), by_f[0], by_f[1]

    def loss(f: FloatArray, smooth: float) -> tuple[float, FloatArray]:
        m, s, dm, ds = moments(f, smooth)
        return s / 2.0 - m, ds / 2.0 - dm

    f = mu / (1.0 + mu**2)
    scale = float(f.max())
    for smooth in scale * 10.0 ** np.arange(-1.0, -7.0, -0.5):
        f = minimize(loss, f, args=(smooth,), jac=True, method="L-BFGS-B", options={"maxiter": 2000}).x
    m, s, _, _ = moments(f, 0.0)
    held, traded = _stationary(step) @ abs(f), float((pair * abs(f[None] - f[:, None])).sum())
    found = earned_by(m, s, traded, float(held))
    if found.sharpe < 0.0:  # nothing is worth its costs
        f, found = 0.0 * f, earned_by(0.0, 0.0, 0.0, 0.0)
    return BlindPolicy(mu, f, found)

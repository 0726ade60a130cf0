"""Probability of backtest overfitting by combinatorially symmetric cross-validation.

Bailey, Borwein, Lopez de Prado and Zhu, "The Probability of Backtest Overfitting" (2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from qn_env.arrays import FloatArray
from qn_env.errors import ConfigError, DataError
from qn_env.objectives import ROUNDING
from qn_env.year import DAYS_PER_YEAR

# Combinations computed at once: bounds the memory of a search with thousands of trials.
CHUNK = 512


@dataclass(frozen=True, kw_only=True)
class Overfitting:
    """What became, in the other half of the days, of the trial that was best in one half.

    Attributes:
        logits: [C] log(w / (1 - w)) of its relative rank w there, one per choice of half.
        inside: [C] its annualised Sharpe ratio in the half it was chosen in.
        outside: [C] and in the other.
    """

    logits: FloatArray
    inside: FloatArray
    outside: FloatArray

    @property
    def probability(self) -> float:
        """How often the chosen trial was at best the median of all."""
        return float((self.logits <= 0.0).mean())

    @property
    def probability_of_loss(self) -> float:
        """How often the chosen trial lost money."""
        return float((self.outside < 0.0).mean())

    @property
    def degradation(self) -> float:
        """Slope of the regression of `outside` on `inside`; NaN where `inside` does not vary."""
        spread = self.inside - self.inside.mean()
        squares = float(spread @ spread)
        return float(spread @ self.outside) / squares if squares > 0.0 else float("nan")


def backtest_overfitting(
    net: FloatArray, *, blocks: int = 16, bars_per_year: float = DAYS_PER_YEAR
) -> Overfitting:
    """Choose the best of N trials in every half of the blocks, and rank it in the other half.

    Trials are ranked by their Sharpe ratio; one that is flat has 0. Blocks differ by at most a day, so that
    none is dropped. Trials with equal ratios share their mean rank: many copies of one trial count as the
    median, hence as overfitted.

    Args:
        net: [T, N] daily net returns of all trials of a search.
        blocks: S, even; 16 gives 12870 combinations.
        bars_per_year: what ratios are annualised by.

    Raises:
        ConfigError: too few trials or days, or `blocks` is odd.
        DataError: a return is not finite.
    """
    T, N = net.shape
    _check(net, blocks)
    centre = net.mean(axis=0)
    edges = np.linspace(0, T, blocks + 1).astype(int)
    starts, days = edges[:-1], np.diff(edges).astype(np.float64)
    first = np.add.reduceat(net - centre, starts, axis=0)
    second = np.add.reduceat((net - centre) ** 2, starts, axis=0)

    def ratios(chosen: FloatArray) -> FloatArray:
        sums = chosen @ first, chosen @ second
        return _sharpe(centre, (chosen @ days)[:, None], *sums, bars_per_year=bars_per_year)

    ranks, inside, outside = [], [], []
    halves = _halves(blocks)
    for part in (halves[i : i + CHUNK] for i in range(0, len(halves), CHUNK)):
        here, there = ratios(part), ratios(1.0 - part)
        best = here.argmax(axis=1)[:, None]
        reached = np.take_along_axis(there, best, axis=1)
        ranks.append((there < reached).sum(axis=1) + ((there == reached).sum(axis=1) + 1) / 2)
        inside.append(np.take_along_axis(here, best, axis=1)[:, 0])
        outside.append(reached[:, 0])
    rank = np.concatenate(ranks)
    return Overfitting(
        logits=np.log(rank / (N + 1 - rank)),  # w = rank / (N + 1)
        inside=np.concatenate(inside),
        outside=np.concatenate(outside),
    )


def _sharpe(
    centre: FloatArray, days: FloatArray, first: FloatArray, second: FloatArray, *, bars_per_year: float
) -> FloatArray:
    """[C, N] annualised Sharpe ratios from sums of centred returns and of their squares; flat ones 0."""
    mean = centre + first / days
    variance = (second - first**2 / days) / (days - 1.0)
    defined = variance > (ROUNDING * mean) ** 2
    return np.where(defined, bars_per_year**0.5 * mean / np.sqrt(np.where(defined, variance, 1.0)), 0.0)


def _halves(blocks: int) -> FloatArray:
    """[C, S] every choice of half of the blocks, as 0 and 1."""
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    members = np.zeros((len(chosen), blocks))
    np.put_along_axis(members, chosen, 1.0, axis=1)
    return members


def _check(net: FloatArray, blocks: int) -> None:
    T, N = net.shape
    if blocks < 2 or blocks % 2:
        raise ConfigError(f"blocks: {blocks}, expected an even number of at least 2.")
    if min(N, T // blocks) < 2:
        raise ConfigError(
            f"{N} trials of {T} days: expected at least 2 trials and {2 * blocks} days, two per block. "
            "Choose fewer blocks."
        )
    if not np.isfinite(net).all():
        t, n = np.argwhere(~np.isfinite(net))[0]
        raise DataError(
            f"trial {n}, day {t}: return is {net[t, n]}, expected a number. "
            "Keep the days that all trials have."
        )

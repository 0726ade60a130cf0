"""Ranks of agents across markets, with the difference that chance explains.

Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets" (2006).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.statistics.intervals import LEVEL
from qn_env.arrays import FloatArray
from qn_env.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What a critical-difference figure shows.

    Attributes:
        average: mean rank of each agent, the best first; 1 is best.
        critical_difference: agents whose mean ranks are further apart differ (Nemenyi).
        groups: the largest sets of neighbours that do not differ; the bars of the figure.
        friedman_p: that all agents are alike, by chi-square; NaN for two agents, who need a paired test.
        iman_davenport_p: the same by the F distribution, less conservative.
        markets: how many entered.
        left_out: how many did not, because an agent has no score there.
    """

    average: Mapping[str, float]
    critical_difference: float
    groups: tuple[tuple[str, ...], ...]
    friedman_p: float
    iman_davenport_p: float
    markets: int
    left_out: int


def rank_agents(scores: pd.DataFrame, *, level: float = LEVEL) -> Ranking:
    """Rank agents in each market and average; equal scores share their mean rank.

    Markets are taken for independent.

    Args:
        scores: one row per market, one column per agent; higher is better, NaN where undefined.
        level: of the critical difference; 0.95 is a 5% chance that any two like agents are told apart.

    Raises:
        ConfigError: fewer than two agents, or no market in which all have a score.
    """
    from scipy.stats import rankdata

    values = scores.to_numpy(dtype=np.float64)
    complete = np.isfinite(values).all(axis=1)
    M, K = int(complete.sum()), values.shape[1]
    if K < 2 or M < 1:
        raise ConfigError(
            f"{K} agents with scores in {M} common markets: expected at least two agents and one market."
        )
    ranks = rankdata(-values[complete], axis=1)
    mean = pd.Series(ranks.mean(axis=0), index=scores.columns.astype(str)).sort_values(kind="stable")
    difference = critical_difference(K, M, level=level)
    friedman_p, iman_davenport_p = _friedman(ranks)
    return Ranking(
        average={str(name): float(rank) for name, rank in mean.items()},
        critical_difference=difference,
        groups=_groups(mean, difference),
        friedman_p=friedman_p,
        iman_davenport_p=iman_davenport_p,
        markets=M,
        left_out=len(values) - M,
    )


def critical_difference(n_agents: int, n_markets: int, *, level: float = LEVEL) -> float:
    """Nemenyi's: q sqrt(k (k + 1) / (6 n)), q the studentized range over sqrt(2).

    Examples:
        >>> print(round(critical_difference(4, 14), 2))  # Demsar's four trees on 14 data sets
        1.25
    """
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(level, n_agents, np.inf)) / 2**0.5
    scale: float = (n_agents * (n_agents + 1) / (6 * n_markets)) ** 0.5
    return q * scale


def _friedman(ranks: FloatArray) -> tuple[float, float]:
    """p-values of Friedman's chi-square, corrected for ties, and of Iman and Davenport's F of it."""
    from scipy.stats import f, friedmanchisquare

    M, K = ranks.shape
    if K < 3 or M < 2:
        return np.nan, np.nan
    if (ranks == ranks[0, 0]).all():
        return 1.0, 1.0  # all agents equal everywhere: SciPy divides by zero
    chi_square, p = friedmanchisquare(*ranks.T)
    rest = M * (K - 1) - chi_square
    if rest <= 0.0:
        return float(p), 0.0  # the same order in every market
    F = (M - 1) * chi_square / rest
    return float(p), float(f.sf(F, K - 1, (K - 1) * (M - 1)))


def _groups(mean: pd.Series, difference: float) -> tuple[tuple[str, ...], ...]:
    """Runs of two and more neighbours within `difference`, none inside another."""
    names, ranks = [str(name) for name in mean.index], mean.to_numpy()
    groups: list[tuple[str, ...]] = []
    reached = 0
    for start in range(len(names)):
        stop = int(np.searchsorted(ranks, ranks[start] + difference, side="right"))
        if stop > max(reached, start + 1):
            groups.append(tuple(names[start:stop]))
            reached = stop
    return tuple(groups)

"""Aggregates over seeds and markets, with stratified bootstrap intervals.

Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (2021). Seeds are
resampled within each market: an interval says what other seeds would give on the same markets and days, and
nothing about other days, for which there is `sharpe_interval`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments.statistics.intervals import LEVEL
from qn_env.arrays import FloatArray

REPLICATIONS = 2000


class Estimate(NamedTuple):
    """A figure with its 95% percentile interval."""

    value: float
    low: float
    high: float


def interquartile_mean(scores: FloatArray) -> float:
    """Mean of the middle half of all scores [S, M]; NaN if one is undefined."""
    from scipy.stats import trim_mean

    # A NaN would be sorted to the end and trimmed in silence.
    return float(trim_mean(scores, 0.25, axis=None)) if np.isfinite(scores).all() else float("nan")


def interquartile_mean_interval(
    scores: FloatArray, *, seed: int, replications: int = REPLICATIONS
) -> Estimate:
    """`interquartile_mean` of S seeds on M markets [S, M]; a single seed has no interval (NaN)."""
    rng = np.random.default_rng(seed)
    return _estimate(
        interquartile_mean(scores),
        lambda: interquartile_mean(_resample(scores, rng)),
        replications if len(scores) > 1 else 0,
    )


def probability_of_improvement(left: FloatArray, right: FloatArray) -> float:
    """How often a run of `left` [S, M] beats one of `right` [Z, M] in the same market; a draw is half a win.

    The mean over markets of the Mann-Whitney statistic over S Z; NaN if a score is undefined.
    """
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return float("nan")
    margin = left[:, None] - right[None]
    return float(((np.sign(margin) + 1.0) / 2.0).mean())


def probability_of_improvement_interval(
    left: FloatArray, right: FloatArray, *, seed: int, replications: int = REPLICATIONS
) -> Estimate:
    """`probability_of_improvement` with an interval; NaN if neither side has a second seed."""
    rng = np.random.default_rng(seed)
    return _estimate(
        probability_of_improvement(left, right),
        lambda: probability_of_improvement(_resample(left, rng), _resample(right, rng)),
        replications if max(len(left), len(right)) > 1 else 0,
    )


def _estimate(value: float, draw: Callable[[], float], replications: int) -> Estimate:
    if not (replications and np.isfinite(value)):
        return Estimate(value, np.nan, np.nan)
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile([draw() for _ in range(replications)], [tail, 1.0 - tail])
    return Estimate(value, float(low), float(high))


def _resample(scores: FloatArray, rng: np.random.Generator) -> FloatArray:
    """As many seeds [S, M], drawn with replacement within each market."""
    S, M = scores.shape
    return scores[rng.integers(S, size=(S, M)), np.arange(M)]

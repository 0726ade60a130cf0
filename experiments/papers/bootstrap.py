"""Sharpe ratios of resampled days by matrix products: the stationary bootstrap of both papers' tables."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from experiments.statistics import LEVEL
from qn_env.features import DAYS_PER_YEAR
from qn_env.objectives import ROUNDING
from qn_env.panel import FloatArray


class Interval(NamedTuple):
    """95% percentile interval; NaN where nothing is defined."""

    low: float
    high: float


def day_counts(T: int, block: float, rng: np.random.Generator, replications: int) -> FloatArray:
    """[R, T] how often each of T days is in each bootstrap sample."""
    from arch.bootstrap import StationaryBootstrap

    # Its block length is a mean, for which arch documents a float and declares an int.
    mean_length: Any = block
    days = StationaryBootstrap(mean_length, np.arange(T), seed=rng)
    samples = (rows for (rows,), _ in days.bootstrap(replications))
    return np.stack([np.bincount(rows, minlength=T).astype(np.float64) for rows in samples])


def resampled_sharpe(net: FloatArray, counted: FloatArray, counts: FloatArray) -> FloatArray:
    """[R, N] annualised Sharpe ratios of R resampled blocks, from sums alone; NaN where undefined.

    Args:
        net: [T, N] daily net returns, decimal.
        counted: [T, N] 1 where the day counts.
        counts: [R, T] how often each day was drawn.
    """
    days = counts @ counted
    centre = (net * counted).sum(axis=0) / np.maximum(counted.sum(axis=0), 1.0)
    spread = (net - centre) * counted  # centred: the difference of squares below loses no digits
    first, second = counts @ spread, counts @ spread**2
    shift = first / np.maximum(days, 1.0)
    variance = (second - days * shift**2) / np.maximum(days - 1.0, 1.0)
    mean = centre + shift
    defined = (days > 1) & (variance > (ROUNDING * mean) ** 2)
    ratio = mean / np.sqrt(np.where(defined, variance, 1.0))
    return np.where(defined, DAYS_PER_YEAR**0.5 * ratio, np.nan)


def interval_of(values: FloatArray) -> Interval:
    """The percentile interval of bootstrap samples, those that are undefined left out."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return Interval(np.nan, np.nan)
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return Interval(float(low), float(high))

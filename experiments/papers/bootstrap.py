"""Sharpe ratios of resampled days by matrix products: the stationary bootstrap of both papers' tables."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from experiments.statistics import LEVEL, resampled_sharpe
from qn_env.arrays import FloatArray

__all__ = ["Interval", "day_counts", "interval_of", "resampled_sharpe", "row_mean"]


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


def row_mean(values: FloatArray) -> FloatArray:
    """[R, K] -> [R] mean of the defined values; NaN where there is none."""
    n = np.isfinite(values).sum(axis=1)
    return np.where(n > 0, np.nansum(values, axis=1) / np.maximum(n, 1), np.nan)


def interval_of(values: FloatArray) -> Interval:
    """The percentile interval of bootstrap samples, those that are undefined left out."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return Interval(np.nan, np.nan)
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return Interval(float(low), float(high))

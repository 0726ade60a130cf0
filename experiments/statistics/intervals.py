"""Bootstrap intervals of mean Sharpe ratios, over dependent days and over seeds."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from experiments.statistics.sharpe_errors import mean_error
from qn_env.arrays import FloatArray
from qn_env.objectives import ROUNDING, sharpe
from qn_env.year import DAYS_PER_YEAR

REPLICATIONS = 1000
LEVEL = 0.95


def sharpe_interval(
    net: FloatArray,
    *,
    seed: int,
    replications: int = REPLICATIONS,
    bars_per_year: float = DAYS_PER_YEAR,
) -> tuple[float, float]:
    """95% interval of the mean Sharpe ratio, by a stationary bootstrap of days and of seeds.

    Days are resampled in blocks of random length (Politis and Romano 1994; mean length after Politis and
    White 2004), the same days for all columns, so that dependence over time and between columns stays. What
    a block cuts off makes the samples of autocorrelated returns too alike: where resampled days spread less
    than `mean_error` says, the percentiles are moved away from the estimate in proportion.

    Args:
        net: [S, D, K] daily net returns of S seeds and K series on D days; NaN where a series has none.
        seed: the only chance.
        replications: bootstrap samples.
        bars_per_year: what ratios are annualised by.

    Returns:
        Annualised bounds; NaN where no Sharpe ratio is defined.
    """
    from arch.bootstrap import StationaryBootstrap

    S, D, _ = net.shape
    if D < 2 or not np.isfinite(mean_sharpe(net)):
        return np.nan, np.nan
    rng = np.random.default_rng(seed)
    # Its block length is a mean, for which arch documents a float and declares an int.
    mean_length: Any = block_length(net)
    days = StationaryBootstrap(mean_length, np.arange(D), seed=rng)
    counts, runs = np.zeros((replications, D)), np.zeros((replications, S))
    for k, ((rows,), _) in enumerate(days.bootstrap(replications)):
        counts[k] = np.bincount(rows, minlength=D)
        runs[k] = np.bincount(rng.integers(S, size=S), minlength=S) if S > 1 else 1.0
    resampled, of_days = _resampled_means(net, counts, runs, bars_per_year)
    tail = (1.0 - LEVEL) / 2.0
    bounds = np.nanquantile(resampled, [tail, 1.0 - tail])
    point, spread = mean_sharpe(net, bars_per_year), float(np.nanstd(of_days))
    error = bars_per_year**0.5 * mean_error(net.transpose(1, 0, 2).reshape(D, -1))
    low, high = point + (bounds - point) * (max(error / spread, 1.0) if spread > 0.0 else 1.0)
    return float(low), float(high)


def resampled_sharpe(
    net: FloatArray, counted: FloatArray, counts: FloatArray, bars_per_year: float = DAYS_PER_YEAR
) -> FloatArray:
    """[R, N] annualised Sharpe ratios of R resampled blocks, from sums alone; NaN where undefined.

    Args:
        net: [T, N] daily net returns, decimal.
        counted: [T, N] 1 where the day counts.
        counts: [R, T] how often each day was drawn.
        bars_per_year: what ratios are annualised by.
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
    return np.where(defined, bars_per_year**0.5 * ratio, np.nan)


def _resampled_means(
    net: FloatArray, counts: FloatArray, runs: FloatArray, bars_per_year: float
) -> tuple[FloatArray, FloatArray]:
    """[R] means over all series of Sharpe ratios on resampled days: over resampled seeds, and over all.

    Args:
        net: [S, D, K] as in `sharpe_interval`.
        counts: [R, D] how often each day was drawn.
        runs: [R, S] how often each seed was drawn.
        bars_per_year: what ratios are annualised by.

    Returns:
        NaN where no ratio is defined.
    """
    total, number = np.zeros(runs.shape), np.zeros(runs.shape)
    for s, returns in enumerate(net):
        present = np.isfinite(returns)
        filled, counted = np.where(present, returns, 0.0), present.astype(np.float64)
        ratios = resampled_sharpe(filled, counted, counts, bars_per_year)
        total[:, s] = np.nansum(ratios, axis=1)
        number[:, s] = np.isfinite(ratios).sum(axis=1)
    drawn, every = (
        _ratio((weights * total).sum(axis=1), (weights * number).sum(axis=1))
        for weights in (runs, np.ones_like(runs))
    )
    return drawn, every


def _ratio(total: FloatArray, number: FloatArray) -> FloatArray:
    """A mean from its sum, NaN of nothing."""
    return np.where(number > 0, total / np.maximum(number, 1.0), np.nan)


def mean_sharpe(net: FloatArray, bars_per_year: float = DAYS_PER_YEAR) -> float:
    """Mean over seeds and series of the annualised Sharpe ratios of net [S, D, K]; NaN if none is defined."""
    present = np.isfinite(net)
    ratios = sharpe(np.where(present, net, 0.0), present, axis=1, bars_per_year=bars_per_year)
    defined = np.isfinite(ratios)
    return float(ratios[defined].mean()) if defined.any() else float("nan")


def block_length(net: FloatArray) -> float:
    """Mean block length in days for the average series of net [S, D, K]; at least 1."""
    from arch.bootstrap import optimal_block_length

    series = np.nan_to_num(net, nan=0.0).mean(axis=(0, 2))
    if len(series) < 10 or np.ptp(series) == 0.0:
        return 1.0
    with warnings.catch_warnings():
        # A short series makes the estimator's bandwidth warn; its answer is bounded below.
        warnings.simplefilter("ignore")
        length = optimal_block_length(pd.Series(series))["stationary"].iloc[0]
    return float(max(length, 1.0)) if np.isfinite(length) else 1.0

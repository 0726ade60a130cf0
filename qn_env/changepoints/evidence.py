"""Severity and location of the latest changepoint in every window of a history, by their exact evidence.

Wood, Roberts and Zohren (2021, arXiv 2105.13727) fit two Gaussian processes to the standardised returns of
the last l days: one Matern 3/2 kernel with noise, and two of them joined at a changepoint c. The severity is
nu = 1 - 1 / (1 + exp(-(nlml_C - nlml_M))). What they find by gradients is computed exactly, in four readings:

1. The change is abrupt: their steepness goes to infinity. The days before c and those from c on are then
   independent, and their marginal likelihoods multiply: one pass over prefixes and suffixes serves every c.
   Each half has its own kernel and its own noise.
2. Hyperparameters and c are not set to their best values but integrated out: length-scales and ratios of
   signal to noise over a grid, the noise variance by its conjugate law, c evenly. At its best values the
   richer model never loses, so that the published nu is never below 1/2; integrated out, it pays for all that
   it could also have said, the Occam factor of a Bayesian comparison (MacKay 2003, chapter 28).
3. One window in twenty is taken to hold a changepoint, as part of both marginal likelihoods. So nu is the
   probability that this one does, and near 0 on noise, where a few days alone cannot tell.
4. Length-scales are half a year and two years of rows, whatever the look-back: a curve that turns within a
   month of returns could not be told from a break.

The location is the likeliest c. Nothing is drawn by chance, and there is no local optimum to end in.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import expit, gammaln

from qn_env.arrays import FloatArray, IntArray, read_only
from qn_env.changepoints.lattice import Processes, prediction_errors
from qn_env.checks import as_array, check_whole, in_words
from qn_env.errors import ConfigError
from qn_env.features import SMALLEST_VOLATILITY

SHORTEST_HALF = 2  # days: a half of a single one is an outlier
FEWEST_DAYS, MOST_DAYS = 2 * SHORTEST_HALF, 2_520  # of a look-back: some place for a change; ten years
PRIOR = 0.05  # probability that a window holds a changepoint

# The laws a stretch of returns may have: noise alone, with half of the weight, or a Matern curve beneath it.
LENGTH_SCALES = (126.0, 504.0)  # rows
SIGNALS = (0.1, 0.3, 1.0)  # variance of the curve over that of the noise
# The noise variance, in units of the window's variance, is inverse gamma with a mean of 1.
SHAPE, SCALE = 2.0, 1.0

WIDTH, STEP = (
    512,
    64,
)  # windows computed at once, few enough for the caches; a block holds a multiple of these


def changepoints(returns: FloatArray, days: int) -> tuple[FloatArray, FloatArray]:
    """Severity and location of the latest changepoint in the last `days` returns, [T, N] each.

    The severity is the probability, in [0, 1], that the returns of the window changed their law within it.
    The location, in (0, 1), is the number of days before the likeliest change over `days`: the row t - days +
    location * days is the last one of the old law. Both are NaN before `days` returns, and where a return of
    the window is missing or none differs from another. Row t depends on rows t - days + 1 to t alone, and is
    the same to the last bit whatever rows and assets stand beside it.

    Args:
        returns: [T, N] on each asset's own trading days, as a feature gets them; NaN where there is none.
        days: returns in a window, 4 to 2,520.

    Raises:
        ConfigError: no array of numbers [T, N], or no such number of days.
    """
    days = check_whole("days", days, FEWEST_DAYS, MOST_DAYS)
    values = as_array(returns)
    if values.ndim != 2 or values.dtype.kind not in "fiub":
        raise ConfigError(
            f"returns is {in_words(returns)} of shape {values.shape}, expected numbers of shape [T, N]."
        )
    severity, location = np.full(values.shape, np.nan), np.full(values.shape, np.nan)
    for j in range(values.shape[1]):
        severity[:, j], location[:, j] = fit(values[:, j].astype(np.float64), days)
    return severity, location


def fit(returns: FloatArray, days: int) -> tuple[FloatArray, FloatArray]:
    """`changepoints` of one asset's returns [T], arguments unchecked: severity [T] and location [T]."""
    T = len(returns)
    severity, location = np.full(T, np.nan), np.full(T, np.nan)
    known = np.flatnonzero(np.isfinite(returns))
    if len(known) < days:
        return severity, location
    begin, end = int(known[0]), int(known[-1]) + 1
    for first in range(begin, end - days + 1, WIDTH):
        windows = min(WIDTH, end - days + 1 - first)
        piece = returns[first : first + windows + days - 1]
        block = np.full(-(-windows // STEP) * STEP + days - 1, np.nan)
        block[: len(piece)] = np.where(np.isfinite(piece), piece, np.nan)
        rows = slice(first + days - 1, first + days - 1 + windows)
        odds, before = log_odds(block, days)
        severity[rows] = expit(odds)[:windows]
        location[rows] = (before / days)[:windows]
    location[np.isnan(severity)] = np.nan
    return severity, location


def log_odds(returns: FloatArray, days: int) -> tuple[FloatArray, IntArray]:
    """Of each window of returns [R]: log odds that it holds a changepoint, and the days before the likeliest.

    Returns:
        Two arrays [R - days + 1]; log odds of NaN where a window is not defined.
    """
    before, after = half_evidences(returns, days)
    halves = np.arange(SHORTEST_HALF, days - SHORTEST_HALF + 1)  # days before the change
    joint = before[halves - 1] + after[days - 1 - halves]
    best = joint.argmax(axis=0)
    top = np.take_along_axis(joint, best[None], axis=0)[0]
    changed = np.log(np.exp(joint - top).sum(axis=0)) + top - np.log(len(halves))
    return changed - before[-1] + np.log(PRIOR / (1.0 - PRIOR)), halves[best]


def half_evidences(returns: FloatArray, days: int) -> tuple[FloatArray, FloatArray]:
    """Log evidence of the first n + 1 days of each window of returns [R], and of its last n + 1 days.

    Returns:
        Two arrays [days, R - days + 1], row n of n + 1 days. Of a window as a whole both say the same.
    """
    mean, variance = moments(returns, days)
    processes, constants = laws(days)
    windows = len(mean)
    squares = np.zeros((2, len(constants), windows))
    terms = np.empty_like(squares)
    evidences = np.empty((2, days, windows))
    for n, (last, first) in enumerate(prediction_errors(returns, processes)):
        of_mean = processes.constant[:, n, None] * mean
        np.subtract(last[:, :windows], of_mean, out=terms[0])
        np.subtract(first[:, -windows:], of_mean, out=terms[1])
        terms *= terms
        terms *= 1.0 / processes.variances[:, n, None]
        squares += terms
        np.divide(squares, 2.0 * variance, out=terms)
        terms += SCALE
        np.log(terms, out=terms)
        terms *= -(SHAPE + 0.5 * (n + 1))
        terms += constants[:, n, None]
        evidences[:, n] = _log_sum(terms)
    return evidences[0], evidences[1]


def moments(returns: FloatArray, days: int) -> tuple[FloatArray, FloatArray]:
    """Mean and variance (ddof 0) of each window of returns [R]; NaN where the returns do not move."""
    windows = len(returns) - days + 1
    mean, variance = np.zeros(windows), np.zeros(windows)
    for n in range(days):
        mean += returns[n : n + windows]
    mean /= days
    for n in range(days):
        variance += (returns[n : n + windows] - mean) ** 2
    variance /= days
    return mean, np.where(variance > SMALLEST_VOLATILITY**2, variance, np.nan)


@lru_cache(maxsize=16)
def laws(days: int) -> tuple[Processes, FloatArray]:
    """The G laws of a stretch of up to `days` days, and the parts of their log evidence without data [G, l].

    With the quadratic form q of the days, in units of the noise, and C their covariance, the log evidence is
    -n/2 log(2 pi) - log|C|/2 + a log b + log Gamma(a + n/2) - log Gamma(a) - (a + n/2) log(b + q/2), a and b
    the shape and scale of the noise variance: a multivariate t distribution.
    """
    apart, days_so_far = np.arange(days), np.arange(1, days + 1)
    curves = [signal * matern(apart, scale) for scale in LENGTH_SCALES for signal in SIGNALS]
    covariances = np.array([np.zeros(days), *curves]) + (apart == 0)
    processes = Processes.of(covariances)
    weights = np.array([0.5, *(0.5 / len(curves) for _ in curves)])
    constants = np.log(weights)[:, None] - 0.5 * np.cumsum(np.log(processes.variances), axis=1)
    constants += SHAPE * np.log(SCALE) - gammaln(SHAPE) + gammaln(SHAPE + 0.5 * days_so_far)
    constants -= 0.5 * days_so_far * np.log(2.0 * np.pi)
    return processes, read_only(constants)


def matern(apart: IntArray, scale: float) -> FloatArray:
    """Matern 3/2 correlation of days so far apart."""
    distance = np.sqrt(3.0) * apart / scale
    correlation: FloatArray = (1.0 + distance) * np.exp(-distance)
    return correlation


def _log_sum(terms: FloatArray) -> FloatArray:
    """Log of the sum of exp over the second of three axes, in place."""
    top = terms.max(axis=1)
    terms -= top[:, None]
    np.exp(terms, out=terms)
    total: FloatArray = np.log(terms.sum(axis=1)) + top
    return total

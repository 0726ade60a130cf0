"""Standard errors of Sharpe ratios and of their differences, without a bootstrap.

Everything here is daily, not annualised: a Sharpe ratio is mean / standard deviation of daily net returns,
and an error times sqrt(252) belongs to the annualised ratio.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from qn_env.arrays import FloatArray
from qn_env.objectives import ROUNDING, sharpe
from qn_env.year import DAYS_PER_YEAR

# Fewer days say nothing about autocorrelation: they are taken for independent.
SHORT = 10
# Autocorrelation beyond which prewhitening would divide by next to nothing (Andrews and Monahan 1992).
STRONGEST = 0.97


class Moments(NamedTuple):
    """What the error of a daily Sharpe ratio depends on; numbers, or arrays of one shape.

    Attributes:
        days: number of returns.
        sharpe: daily mean / standard deviation.
        skew: population skewness, 0 for a normal distribution.
        kurtosis: population kurtosis, not in excess: 3 for a normal distribution.
    """

    days: ArrayLike
    sharpe: ArrayLike
    skew: ArrayLike = 0.0
    kurtosis: ArrayLike = 3.0


class Difference(NamedTuple):
    """The mean daily Sharpe ratio of some series less that of others.

    Attributes:
        value: the difference.
        error: its standard error.
        p_value: two-sided, of no difference.
        compared: pairs of series with a Sharpe ratio each.
        left_out: pairs without.
    """

    value: float
    error: float
    p_value: float
    compared: int
    left_out: int


def moments(net: FloatArray) -> Moments:
    """The moments [K] of daily net returns [T, K], NaN on days without one; NaN where a series is flat."""
    ratio, standard = _standardise(net)
    return Moments(
        days=np.isfinite(net).sum(axis=0),
        sharpe=ratio,
        skew=_mean(standard**3),
        kurtosis=_mean(standard**4),
    )


def independent_error(of: Moments) -> FloatArray:
    """Standard error sqrt((1 - skew SR + (kurtosis - 1) / 4 SR^2) / (T - 1)) for independent days.

    Mertens (2002), with the T - 1 of Bailey and Lopez de Prado (2012); Lo (2002) is the case of skew 0 and
    kurtosis 3.

    Examples:
        >>> print(f"{independent_error(Moments(days=253, sharpe=0.0)):.4f}")  # 1 / sqrt(252)
        0.0630
    """
    days, ratio, skew, kurtosis = (np.asarray(moment, dtype=np.float64) for moment in of)
    spread = 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    variance = np.where(days > 1, spread / np.maximum(days - 1.0, 1.0), np.nan)
    # Moments of a sample give no negative spread; typed ones may.
    return np.sqrt(np.where(variance >= 0.0, variance, np.nan))


def robust_error(net: FloatArray) -> FloatArray:
    """Standard errors [K] of the daily Sharpe ratios of `net` [T, K], for dependent days with fat tails.

    The long-run variance of the ratio's influence function (Lo 2002, section on dependent returns). Without
    the covariances between days it is the variance of `independent_error`. Days without a return (NaN) are
    taken out, their neighbours count as neighbours.
    """
    influence = _influence(net)
    errors = np.full(net.shape[1], np.nan)
    for k, column in enumerate(influence.T):
        defined = np.isfinite(column)
        if defined.any():
            errors[k] = error_of_mean(column[defined])
    return errors


def mean_error(net: FloatArray) -> float:
    """Standard error of the mean of the daily Sharpe ratios of `net` [T, K], over the series that have one.

    As `sharpe_difference`: for dependent days and for series that move together. NaN if no series has one.
    """
    defined = np.isfinite(_standardise(net)[0])
    return error_of_mean(_daily_mean(_influence(net[:, defined]))) if defined.any() else float("nan")


def sharpe_difference(left: FloatArray, right: FloatArray) -> Difference:
    """Is the mean Sharpe ratio of `left` [T, K] higher than that of `right`, beyond chance?

    After Ledoit and Wolf (2008), for means over series: influence functions are averaged over the series of a
    day before their long-run variance is taken, so that neither dependence over time nor correlation
    between series or between the two sides feigns evidence. Seeds, if any, are further columns; the
    statement is then about these seeds.

    Args:
        left: [T, K] daily net returns, NaN on days that do not count.
        right: the same days and series of another strategy.
    """
    defined = np.isfinite(_standardise(left)[0]) & np.isfinite(_standardise(right)[0])
    compared, left_out = int(defined.sum()), int((~defined).sum())
    if not compared:
        return Difference(np.nan, np.nan, np.nan, 0, left_out)
    left, right = left[:, defined], right[:, defined]
    value = float((_standardise(left)[0] - _standardise(right)[0]).mean())
    days = _daily_mean(_influence(left)) - _daily_mean(_influence(right))
    error = error_of_mean(days)
    return Difference(value, error, _two_sided(value, error), compared, left_out)


def _standardise(net: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Daily Sharpe ratios [K], and returns [T, K] less their mean over their population deviation."""
    present = np.isfinite(net)
    ratio = sharpe(np.where(present, net, 0.0), present, axis=0) / DAYS_PER_YEAR**0.5
    spread = net - _mean(net)
    deviation = np.sqrt(_mean(spread**2))
    defined = np.isfinite(ratio)
    return ratio, np.where(defined, spread / np.where(defined, deviation, 1.0), np.nan)


def _influence(net: FloatArray) -> FloatArray:
    """[T, K] z - SR / 2 (z^2 - 1), whose mean moves the Sharpe ratio; z are standardised returns."""
    ratio, standard = _standardise(net)
    influence: FloatArray = standard - ratio / 2.0 * (standard**2 - 1.0)
    return influence


def _daily_mean(influence: FloatArray) -> FloatArray:
    """[T] mean over series; a series with fewer days weighs each of them more."""
    T = len(influence)
    days = np.isfinite(influence).sum(axis=0)
    mean: FloatArray = (np.nan_to_num(influence) * (T / days)).mean(axis=1)
    return mean


def error_of_mean(values: FloatArray) -> float:
    """HAC standard error of a mean of dependent values [T].

    Prewhitened by an AR(1) (Andrews and Monahan 1992): the kernel alone (Newey and West 1987, bandwidth of
    1994) is too short for what two or three years of autocorrelated returns show, and intervals with it
    hold the truth in 92% instead of 95% of samples.
    """
    from arch.covariance.kernel import Bartlett

    if np.ptp(values) <= ROUNDING:
        return 0.0  # two series that are the same, or multiples, have a difference without error
    coefficient = _autocorrelation(values)
    spread = values - values.mean()
    shocks = spread[1:] - coefficient * spread[:-1] if coefficient else spread
    variance = Bartlett(shocks, bandwidth=_bandwidth(shocks)).cov.long_run[0, 0]
    return float(np.sqrt(variance / len(values)) / (1.0 - coefficient))


def _autocorrelation(values: FloatArray) -> float:
    """Of neighbouring days, bounded away from 1; 0 for a series too short to say."""
    if len(values) < SHORT:
        return 0.0
    spread = values - values.mean()
    return float(np.clip(spread[1:] @ spread[:-1] / (spread @ spread), -STRONGEST, STRONGEST))


def _bandwidth(values: FloatArray) -> float:
    """Newey and West's (1994), at most sqrt(T): theirs has no bound where the long-run variance is near 0."""
    from arch.covariance.kernel import Bartlett

    T = len(values)
    if T < SHORT:
        return 0.0
    try:
        return float(min(Bartlett(values).opt_bandwidth, T**0.5))
    except ZeroDivisionError:  # the pilot estimate of that variance is exactly 0
        return float(T**0.5)


def _two_sided(value: float, error: float) -> float:
    from scipy.special import ndtr

    if error == 0.0:
        return 1.0 if abs(value) <= ROUNDING else 0.0
    return float(2.0 * ndtr(-abs(value) / error))


def _mean(values: FloatArray) -> FloatArray:
    """Mean [K] over the days that are finite, NaN where there is none."""
    present = np.isfinite(values)
    days = present.sum(axis=0)
    mean: FloatArray = np.where(
        days > 0, np.where(present, values, 0.0).sum(axis=0) / np.maximum(days, 1), np.nan
    )
    return mean

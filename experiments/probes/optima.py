"""The best Sharpe ratios of planted markets, in closed form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qn_env.year import DAYS_PER_YEAR


class Optimum(NamedTuple):
    """The best annualised Sharpe ratios on one asset, before costs.

    Attributes:
        sized: of any causal policy.
        sided: of a policy that takes a side every day, +1 or -1, and no size.
    """

    sized: float
    sided: float


class Filter(NamedTuple):
    """The steady state of the Kalman filter for a latent AR(1) drift under noise of variance 1.

    Attributes:
        gain: what a surprise of 1 moves the estimate of today's drift by.
        innovation: variance of the next return around its forecast.
        ratio: variance of the forecast over that of the innovation.
    """

    gain: float
    innovation: float
    ratio: float


def normal_optimum(ratio: float) -> Optimum:
    """The optimum where the conditional mean is normal around 0, and the conditional variance constant.

    With conditional mean mu and variance sigma^2 the best weight is mu / (mu^2 + sigma^2). The square of its
    daily ratio is B / (1 - B), B = E[q / (1 + q)], q = mu^2 / sigma^2. Of sides sgn(mu) is best: the second
    moment of the return is E[r^2] whatever the sides, and the mean E|mu| the largest there is, so that the
    daily ratio is E|mu| / sqrt(E[r^2] - E|mu|^2), with E|mu| = sqrt(2 ratio / pi) in units of sigma.

    Args:
        ratio: Var(mu) / sigma^2.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    q = ratio * nodes**2
    B = float((weights * q / (1.0 + q)).sum() / weights.sum())
    mean = (2.0 * ratio / np.pi) ** 0.5
    sided = mean / (1.0 + ratio - mean**2) ** 0.5
    return Optimum(_annual((B / (1.0 - B)) ** 0.5), _annual(sided))


def constant_optimum(drift: float) -> Optimum:
    """The optimum where the mean is constant: any constant weight of its sign has the ratio mu / sigma.

    Args:
        drift: mu / sigma, daily.

    Examples:
        >>> round(constant_optimum(0.0625).sized, 2)
        0.99
    """
    return Optimum(_annual(abs(drift)), _annual(abs(drift)))


def ar1_ratio(coefficient: float) -> float:
    """Var(mu) / sigma^2 of AR(1) returns: mu = coefficient r_t, sigma^2 the variance of the shocks."""
    return coefficient**2 / (1.0 - coefficient**2)


def ar1_optimum(coefficient: float) -> float:
    """Best annualised Sharpe ratio of any causal strategy on one AR(1) asset, before costs.

    For a model that is linear in the last returns, too: mu is.

    Examples:
        >>> round(ar1_optimum(0.15), 2)
        2.36
    """
    return normal_optimum(ar1_ratio(coefficient)).sized


def latent_filter(persistence: float, strength: float) -> Filter:
    """The steady state of the filter that forecasts a latent drift m_{t+1} = persistence m_t + shock.

    With noise of variance 1 and a drift of variance strength^2, the variance P of the drift around its
    forecast solves P = persistence^2 P / (P + 1) + (1 - persistence^2) strength^2. The innovation has the
    variance P + 1, and the forecast, which is uncorrelated with its error, strength^2 - P (Kalman 1960).

    Args:
        persistence: AR(1) coefficient of the drift.
        strength: standard deviation of the drift over that of the noise.
    """
    shock = (1.0 - persistence**2) * strength**2
    linear = 1.0 - persistence**2 - shock
    P = (-linear + (linear**2 + 4.0 * shock) ** 0.5) / 2.0
    return Filter(gain=P / (P + 1.0), innovation=P + 1.0, ratio=(strength**2 - P) / (P + 1.0))


def _annual(daily: float) -> float:
    return float(DAYS_PER_YEAR**0.5 * daily)

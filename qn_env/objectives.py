"""Objectives and reports share one Sharpe ratio, in NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from qn_env.arrays import Array, Mask
from qn_env.economics import namespace
from qn_env.year import DAYS_PER_YEAR

# Under the root of the losses' Sharpe ratios: a flat window has a finite gradient.
LOSS_FLOOR = 1e-8

# A standard deviation this small beside the mean is rounding: the series is constant.
ROUNDING = 1e-12


def sharpe(
    net: Array,
    mask: Mask | None = None,
    *,
    axis: int = -1,
    ddof: int = 1,
    floor: float | None = None,
    bars_per_year: float = DAYS_PER_YEAR,
) -> Array:
    """Annualised Sharpe ratio sqrt(bars_per_year) * mean / std of net returns along `axis`.

    Reports use ddof 1 and no floor: NaN where there are too few days or no variation. The losses of QuantNet
    (Eq. 7) and Deep Momentum Networks (Eq. 17) use ddof 0 and `floor` as the least variance.

    Args:
        net: [...] net returns of each bar, decimal; NumPy or Torch.
        mask: same shape, True where the bar counts; default: every bar.
        axis: the axis of bars.
        ddof: delta degrees of freedom of the variance.
        floor: least variance of a trading day, or None.
        bars_per_year: 252 of daily returns.

    Examples:
        >>> import numpy as np
        >>> print(round(float(sharpe(np.array([0.01, 0.03]))), 3))  # 0.02 / 0.014142 * 15.8745
        22.45
    """
    days, mean, _, squares = _moments(net, mask, axis)
    variance = squares / _at_least_one(days - ddof)
    # Sums over the axis of days, one long by now, drop it (and leave a NumPy scalar of a single series).
    if floor is not None:
        least = floor * (DAYS_PER_YEAR / bars_per_year)
        bounded: Array = (bars_per_year**0.5 * mean / variance.clip(least) ** 0.5).sum(axis)
        return bounded
    xp = namespace(net)
    defined = (days > ddof) & (variance > (ROUNDING * mean) ** 2)
    ratio = mean / xp.where(defined, variance, xp.ones_like(variance)) ** 0.5
    known = xp.where(defined, ratio, xp.full_like(ratio, float("nan")))
    annualised: Array = (bars_per_year**0.5 * known).sum(axis)
    return annualised


def sharpe_and_slope(
    net: Array,
    mask: Mask | None,
    weights: float | Array,
    *,
    axis: int,
    floor: float,
    bars_per_year: float = DAYS_PER_YEAR,
) -> tuple[Array, Array]:
    """Weighted Sharpe ratios as the losses use them (ddof 0), and the derivative of their sum by each return.

    With m the mean, v the variance and k the number of days, d ratio / d net_t is
    sqrt(bars_per_year) / k * (1 / sqrt(v) - m (net_t - m) / v^1.5); at the floor v is a constant and the
    second term is absent. Written out because automatic differentiation takes three times as many passes
    over memory.

    Args:
        net: [...] as in `sharpe`.
        mask: same shape or None, as in `sharpe`.
        weights: of the ratios, a number or of the shape of `net` with 1 in place of `axis`.
        axis: the axis of bars.
        floor: least variance of a trading day.
        bars_per_year: 252 of daily returns.

    Returns:
        ratios: the shape of `net` with 1 in place of `axis`; slope: the shape of `net`, 0 where `mask` is
        False.
    """
    days, mean, spread, squares = _moments(net, mask, axis)
    days = _at_least_one(days)
    variance = squares / days
    lowest = floor * (DAYS_PER_YEAR / bars_per_year)
    least = variance.clip(lowest)
    level = (least / bars_per_year) ** -0.5 * weights
    ratio = level * mean
    # `spread` is ours to write into, and already 0 where `mask` is False.
    spread *= (variance >= lowest) * ratio / (least * -days)
    level = level / days
    spread += level if mask is None else namespace(level).multiply(level, mask)
    return ratio, spread


def softmin(values: Array, mask: Mask | None = None, *, temperature: float, axis: int = -1) -> Array:
    """Smooth minimum -tau log(mean_w exp(-S_w / tau)) of the values S_w along `axis`; 0 where there are none.

    Of the Sharpe ratios of W windows it is DeePM's robust objective (arXiv:2601.05975; reading), an entropic
    value at risk. tau -> 0 gives the worst window, tau -> infinity the mean; it is never above the mean.

    Args:
        values: [...] NumPy or Torch.
        mask: same shape, True where there is a window; default: everywhere.
        temperature: tau > 0, in the units of `values`.
        axis: the axis of windows.

    Examples:
        >>> import numpy as np
        >>> print(round(float(softmin(np.array([1.0, 3.0]), temperature=2.0)), 4))  # 1 - 2 log((1 + 1/e) / 2)
        1.7598
    """
    xp = namespace(values)
    weights = xp.ones_like(values) if mask is None else xp.multiply(xp.ones_like(values), mask)
    count = _sum(weights, axis)
    # Distances from the least of them: no exponential overflows, and that of the least is 1.
    least = _smallest(xp.where(weights > 0, values, xp.full_like(values, float("inf"))), axis)
    least = xp.where(count > 0, least, xp.ones_like(least))
    above = xp.where(weights > 0, values - least, xp.ones_like(values))
    mean = _sum(weights * xp.exp(above / -temperature), axis) / _at_least_one(count)
    known = xp.where(count > 0, mean, xp.ones_like(mean))
    smooth = xp.multiply(least - temperature * xp.log(known), count > 0)
    smallest: Array = smooth.sum(axis)
    return smallest


def _smallest(values: Array, axis: int) -> Array:
    """The least along an axis that is kept, one long."""
    given: Any = values  # Torch's own calls it amin
    least: Array = (
        given.min(axis, keepdims=True) if namespace(values) is np else given.amin(axis, keepdim=True)
    )
    return least


def _moments(net: Array, mask: Mask | None, axis: int) -> tuple[int | Array, Array, Array, Array]:
    """Number of days, mean, deviations from it and the sum of their squares; `axis` is kept."""
    if mask is None:
        days: int | Array = net.shape[axis]
        mean = _sum(net, axis) / _at_least_one(days)
        spread = net - mean
    else:
        xp = namespace(net)
        counts = xp.multiply(xp.ones_like(net), mask)
        days = _sum(counts, axis)
        mean = _sum(net * counts, axis) / _at_least_one(days)
        spread = (net - mean) * counts
    return days, mean, spread, _sum(spread * spread, axis)


def _sum(values: Array, axis: int) -> Array:
    """The sum along an axis that is kept, one long."""
    given: Any = values  # Torch's own types know `keepdims` by another name only
    total: Array = given.sum(axis, keepdims=True)
    return total


def _at_least_one(count: int | Array) -> int | Array:
    """A number or an array of them, 1 where it is less."""
    return max(count, 1) if isinstance(count, int) else count.clip(1)

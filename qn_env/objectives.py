"""Objectives and reports share one Sharpe ratio, in NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

from qn_env.economics import namespace
from qn_env.features import DAYS_PER_YEAR

# Under the root of the losses' Sharpe ratios: a flat window has a finite gradient.
LOSS_FLOOR = 1e-8

# A standard deviation this small beside the mean is rounding: the series is constant.
ROUNDING = 1e-12


def sharpe(net: Any, mask: Any = None, *, axis: int = -1, ddof: int = 1, floor: float | None = None) -> Any:
    """Annualised Sharpe ratio sqrt(252) * mean / std of daily net returns along `axis`.

    Reports use ddof 1 and no floor: NaN where there are too few days or no variation. The losses of QuantNet
    (Eq. 7) and Deep Momentum Networks (Eq. 17) use ddof 0 and `floor` as the least variance.

    Args:
        net: [...] daily net returns, decimal; NumPy or Torch.
        mask: same shape, True where the day counts; default: every day.
        axis: the axis of days.
        ddof: delta degrees of freedom of the variance.
        floor: least variance (daily), or None.

    Examples:
        >>> import numpy as np
        >>> print(round(float(sharpe(np.array([0.01, 0.03]))), 3))  # 0.02 / 0.014142 * 15.8745
        22.45
    """
    xp = namespace(net)
    counts = xp.ones_like(net) if mask is None else mask * xp.ones_like(net)
    days = counts.sum(axis, keepdims=True)
    mean = (net * counts).sum(axis, keepdims=True) / days.clip(1)
    spread = (net - mean) * counts
    variance = (spread * spread).sum(axis) / (days.sum(axis) - ddof).clip(1)
    mean, days = mean.sum(axis), days.sum(axis)
    if floor is not None:
        return DAYS_PER_YEAR**0.5 * mean / variance.clip(floor) ** 0.5
    defined = (days > ddof) & (variance > (ROUNDING * mean) ** 2)
    ratio = mean / xp.where(defined, variance, xp.ones_like(variance)) ** 0.5
    return DAYS_PER_YEAR**0.5 * xp.where(defined, ratio, xp.full_like(ratio, float("nan")))

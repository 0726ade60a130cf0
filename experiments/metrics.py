"""Performance metrics of daily net returns, vectorised over columns.

All take `net` [T, K] daily returns, decimal, and `counted` [T, K], the days that enter; a year has 252 days.
A value that is undefined (no day, no volatility, no drawdown) is NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from qn_env.features import DAYS_PER_YEAR
from qn_env.objectives import sharpe
from qn_env.panel import BoolArray, FloatArray


def all_metrics(
    gross: FloatArray, turnover: FloatArray, counted: BoolArray, cost_rate: float
) -> dict[str, FloatArray]:
    """Every metric [K] by name, of gross returns [T, K] that pay `cost_rate` per unit of turnover."""
    gross, turnover = np.where(counted, gross, 0.0), np.where(counted, turnover, 0.0)
    net = gross - cost_rate * turnover
    days = counted.sum(axis=0)
    growth, drawdown = cagr(net, counted), max_drawdown(net)
    drawdown = np.where(days > 0, drawdown, np.nan)
    annual, risk = ann_return(net, counted), downside_risk(net, counted)
    return {
        "days": days.astype(np.float64),
        "ann_return": annual,
        "cagr": growth,
        "ann_volatility": ann_volatility(net, counted),
        "sharpe": sharpe(net, counted, axis=0),
        "downside_risk": risk,
        "sortino": _divided(annual, risk),
        "max_drawdown": drawdown,
        "calmar": _divided(growth, np.abs(drawdown)),
        "calmar_arith": _divided(annual, np.abs(drawdown)),
        "skew": skew(net, counted),
        "kurtosis": kurtosis(net, counted),
        "hit_rate": _divided((net > 0).sum(axis=0), (net != 0).sum(axis=0)),
        "profit_loss_ratio": profit_loss_ratio(net),
        "turnover": DAYS_PER_YEAR * _divided(turnover.sum(axis=0), days),
        "cost_drag": ann_return(gross, counted) - annual,
    }


def ann_return(net: FloatArray, counted: BoolArray) -> FloatArray:
    """252 * mean(r)."""
    return DAYS_PER_YEAR * _divided(np.where(counted, net, 0.0).sum(axis=0), counted.sum(axis=0))


def cagr(net: FloatArray, counted: BoolArray) -> FloatArray:
    """prod(1 + r)^(252 / T) - 1; -1 after a day that lost everything."""
    wealth = _wealth(np.where(counted, net, 0.0))[-1]
    days = counted.sum(axis=0)
    growth: FloatArray = np.where(days > 0, wealth ** (DAYS_PER_YEAR / np.maximum(days, 1)) - 1.0, np.nan)
    return growth


def ann_volatility(net: FloatArray, counted: BoolArray) -> FloatArray:
    """sqrt(252) * std(r, ddof=1)."""
    days = counted.sum(axis=0)
    spread = _spread(net, counted)
    variance = _divided((spread**2).sum(axis=0), np.where(days > 1, days - 1, 0))
    return np.sqrt(DAYS_PER_YEAR * variance)


def downside_risk(net: FloatArray, counted: BoolArray) -> FloatArray:
    """sqrt(252 * mean(min(r, 0)^2))."""
    losses = np.where(counted, np.minimum(net, 0.0), 0.0)
    return np.sqrt(DAYS_PER_YEAR * _divided((losses**2).sum(axis=0), counted.sum(axis=0)))


def drawdowns(net: FloatArray) -> FloatArray:
    """[T, K] V_t / max_{s <= t} V_s - 1 with V_0 = 1 and V = cumprod(1 + r); zero or negative."""
    wealth = _wealth(net)
    peak = np.maximum(np.maximum.accumulate(wealth, axis=0), 1.0)
    return wealth / peak - 1.0


def max_drawdown(net: FloatArray) -> FloatArray:
    """The deepest drawdown, [K]; zero or negative."""
    deepest: FloatArray = drawdowns(net).min(axis=0)
    return deepest


def skew(net: FloatArray, counted: BoolArray) -> FloatArray:
    """Sample skewness, bias-corrected."""
    n, m2, m3, _ = _moments(net, counted)
    raw = _divided(m3, m2**1.5)
    corrected: FloatArray = np.where(n > 2, np.sqrt(n * (n - 1.0)) / np.maximum(n - 2, 1) * raw, np.nan)
    return corrected


def kurtosis(net: FloatArray, counted: BoolArray) -> FloatArray:
    """Excess kurtosis, bias-corrected (0 for a normal distribution)."""
    n, m2, _, m4 = _moments(net, counted)
    excess = _divided(m4, m2**2) - 3.0
    factor = (n - 1.0) / np.maximum((n - 2) * (n - 3), 1)
    corrected: FloatArray = np.where(n > 3, factor * ((n + 1) * excess + 6.0), np.nan)
    return corrected


def profit_loss_ratio(net: FloatArray) -> FloatArray:
    """Mean gain of the days with a gain over the mean loss of the days with a loss."""
    gains, losses = np.maximum(net, 0.0).sum(axis=0), -np.minimum(net, 0.0).sum(axis=0)
    mean_gain = _divided(gains, (net > 0).sum(axis=0))
    return _divided(mean_gain, _divided(losses, (net < 0).sum(axis=0)))


def _wealth(net: FloatArray) -> FloatArray:
    """cumprod(1 + r); what is lost stays lost."""
    wealth: FloatArray = np.multiply.accumulate(np.maximum(1.0 + net, 0.0), axis=0)
    return wealth


def _spread(net: FloatArray, counted: BoolArray) -> FloatArray:
    mean = _divided(np.where(counted, net, 0.0).sum(axis=0), counted.sum(axis=0))
    return np.where(counted, net - mean, 0.0)


def _moments(net: FloatArray, counted: BoolArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Days and central moments two to four; a spread that is only rounding counts as none."""
    n = counted.sum(axis=0).astype(np.float64)
    spread = _spread(net, counted)
    m2 = _divided((spread**2).sum(axis=0), n)
    m2 = np.where(np.isnan(sharpe(np.where(counted, net, 0.0), counted, axis=0)), 0.0, m2)
    return n, m2, _divided((spread**3).sum(axis=0), n), _divided((spread**4).sum(axis=0), n)


def _divided(numerator: ArrayLike, denominator: ArrayLike) -> FloatArray:
    """The ratio, NaN where the denominator is 0 or undefined."""
    above, below = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    defined = below != 0
    return np.where(defined, above / np.where(defined, below, 1.0), np.nan)

"""Performance metrics of daily net returns, vectorised over columns.

Returns are of a bar, which is a day where nothing else is said, and decimal; a year has `bars_per_year`, 252
by default. A value that is undefined (no day, no volatility, no drawdown) is NaN. The single functions take
`net` [T, K] with 0 on days that do not count, and `days` [K], the number of days that do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from experiments.results.books import Book
from experiments.settings.config import Level
from qn_env.arrays import BoolArray, FloatArray
from qn_env.economics import BASIS_POINT
from qn_env.objectives import sharpe
from qn_env.year import DAYS_PER_YEAR

# Columns measured at once: small enough for their days to stay in a core's cache from pass to pass.
CHUNK = 8

Metrics = dict[str, FloatArray]


def all_metrics(
    book: Book[FloatArray], counted: BoolArray, level: Level, *, bars_per_year: float = DAYS_PER_YEAR
) -> Metrics:
    """Every metric [K] by name, of the book's returns at a cost.

    Args:
        book: [T, K] of K series; what stands on days that do not count is not looked at.
        counted: [T, K] the days that enter.
        level: basis points per unit of turnover, or `market`.
        bars_per_year: what figures are annualised by.
    """
    measure = partial(_measure, bars_per_year=bars_per_year)
    return _by_columns(measure, book.gross, book.turnover, book.cost(level), counted)


def performance(
    net: FloatArray, counted: BoolArray | None = None, *, bars_per_year: float = DAYS_PER_YEAR
) -> Metrics:
    """The metrics of `all_metrics` that speak of return, risk and drawdown, of net returns [T, K].

    Args:
        net: [T, K] daily net returns; what stands on days that do not count is not looked at.
        counted: [T, K] the days that enter; default: every day.
        bars_per_year: what figures are annualised by.
    """
    measure = partial(_performance, bars_per_year=bars_per_year)
    if counted is None:
        return _by_columns(partial(measure, mask=None), net)
    return _by_columns(lambda net, mask: measure(np.where(mask, net, 0.0), mask), net, counted)


def signal_metrics(signals: FloatArray, counted: BoolArray) -> Metrics:
    """How much K signals vary over the days that count, each [K]; NaN without a day.

    Args:
        signals: [T, K] in [-1, 1]; what stands on days that do not count is not looked at.
        counted: [T, K] the days that enter.

    Returns:
        `signal_change`: mean absolute change from one of these days to the next. `still`: 1 where the signal
        is one number on all of them, else 0; the mean over assets is the share of a book that never moves.
    """
    change, still = (np.full(signals.shape[1], np.nan) for _ in range(2))
    for k, (column, days) in enumerate(zip(signals.T, counted.T, strict=True)):
        own = column[days]
        if len(own):
            still[k] = float((own == own[0]).all())
            change[k] = np.abs(np.diff(own)).mean() if len(own) > 1 else 0.0
    return {"signal_change": change, "still": still}


def ann_return(net: FloatArray, days: FloatArray, bars_per_year: float = DAYS_PER_YEAR) -> FloatArray:
    """bars_per_year * mean(r)."""
    return bars_per_year * _divide(net.sum(axis=0), days)


def cagr(wealth: FloatArray, days: FloatArray, bars_per_year: float = DAYS_PER_YEAR) -> FloatArray:
    """prod(1 + r)^(bars_per_year / T) - 1; -1 after a day that lost everything; of `growth_of_one` [T, K]."""
    exponent = bars_per_year / np.maximum(days, 1.0)
    with np.errstate(over="ignore"):  # a few good minutes, a year long
        return np.where(days > 0, wealth[-1] ** exponent - 1.0, np.nan)


def downside_risk(net: FloatArray, days: FloatArray, bars_per_year: float = DAYS_PER_YEAR) -> FloatArray:
    """sqrt(bars_per_year * mean(min(r, 0)^2))."""
    losses = np.minimum(net, 0.0)
    return np.sqrt(bars_per_year * _divide((losses * losses).sum(axis=0), days))


def growth_of_one(net: FloatArray) -> FloatArray:
    """[T, K] V_t = cumprod(1 + r); what is lost stays lost."""
    wealth = 1.0 + net
    np.maximum(wealth, 0.0, out=wealth)
    np.multiply.accumulate(wealth, axis=0, out=wealth)
    return wealth


def drawdowns(wealth: FloatArray) -> FloatArray:
    """[T, K] V_t / max_{s <= t} V_s - 1 with V_0 = 1, of `growth_of_one`; zero or negative."""
    return _below_peak(wealth) - 1.0


def max_drawdown(wealth: FloatArray, days: FloatArray) -> FloatArray:
    """The deepest drawdown; zero or negative."""
    return np.where(days > 0, _below_peak(wealth).min(axis=0) - 1.0, np.nan)


def skew(days: FloatArray, variance: FloatArray, third: FloatArray) -> FloatArray:
    """Sample skewness, bias-corrected, of the central moments [K] two and three."""
    factor = np.sqrt(days * np.maximum(days - 1.0, 0.0)) / np.maximum(days - 2.0, 1.0)
    return np.where(days > 2, factor * _divide(third, variance**1.5), np.nan)


def kurtosis(days: FloatArray, variance: FloatArray, fourth: FloatArray) -> FloatArray:
    """Excess kurtosis, bias-corrected (0 for a normal distribution), of the central moments two and four."""
    excess = _divide(fourth, variance**2) - 3.0
    factor = (days - 1.0) / np.maximum((days - 2.0) * (days - 3.0), 1.0)
    return np.where(days > 3, factor * ((days + 1.0) * excess + 6.0), np.nan)


def profit_loss_ratio(net: FloatArray) -> FloatArray:
    """Mean gain of the days with a gain over the mean loss of the days with a loss."""
    gains, losses = np.maximum(net, 0.0).sum(axis=0), -np.minimum(net, 0.0).sum(axis=0)
    mean_gain = _divide(gains, (net > 0).sum(axis=0))
    return _divide(mean_gain, _divide(losses, (net < 0).sum(axis=0)))


def break_even_bps(gross: FloatArray, turnover: FloatArray) -> FloatArray:
    """Cost in basis points at which mean(r) and with it the Sharpe ratio is 0: sum(gross) / sum(turnover).

    Negative where the gross return is; NaN where nothing is traded, for then no cost takes anything away.
    """
    return _divide(gross.sum(axis=0), turnover.sum(axis=0)) / BASIS_POINT


def _by_columns(measure: Callable[..., Metrics], *daily: FloatArray | BoolArray) -> Metrics:
    """`measure` of all columns, a few at a time, each column's days side by side in memory."""
    K = daily[0].shape[1]
    parts = [
        measure(*(np.asfortranarray(array[:, k : k + CHUNK]) for array in daily))
        for k in range(0, max(K, 1), CHUNK)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _measure(
    gross: FloatArray, turnover: FloatArray, cost: FloatArray, counted: BoolArray, *, bars_per_year: float
) -> Metrics:
    gross, turnover, cost = (np.where(counted, daily, 0.0) for daily in (gross, turnover, cost))
    net = gross - cost
    metrics = _performance(net, counted, bars_per_year=bars_per_year)
    days = metrics["days"]
    return metrics | {
        **_shape(net, counted, metrics),
        "hit_rate": _divide((net > 0).sum(axis=0), (net != 0).sum(axis=0)),
        "profit_loss_ratio": profit_loss_ratio(net),
        "turnover": bars_per_year * _divide(turnover.sum(axis=0), days),
        "cost_drag": ann_return(gross, days, bars_per_year) - metrics["ann_return"],
        "break_even_bps": break_even_bps(gross, turnover),
    }


def _performance(net: FloatArray, mask: BoolArray | None, *, bars_per_year: float) -> Metrics:
    T, K = net.shape
    days = np.full(K, float(T)) if mask is None else mask.sum(axis=0).astype(np.float64)
    spread = _spread(net, mask, days)
    variance = _divide((spread * spread).sum(axis=0), np.maximum(days - 1.0, 0.0))
    wealth = growth_of_one(net)
    growth = cagr(wealth, days, bars_per_year)
    deepest = max_drawdown(wealth, days)
    annual, risk = ann_return(net, days, bars_per_year), downside_risk(net, days, bars_per_year)
    return {
        "days": days,
        "ann_return": annual,
        "cagr": growth,
        "ann_volatility": np.sqrt(bars_per_year * variance),
        "sharpe": sharpe(net, mask, axis=0, bars_per_year=bars_per_year),
        "downside_risk": risk,
        "sortino": _divide(annual, risk),
        "max_drawdown": deepest,
        "calmar": _divide(growth, -deepest),
        "calmar_arith": _divide(annual, -deepest),
    }


def _shape(net: FloatArray, counted: BoolArray, metrics: Metrics) -> Metrics:
    """Skewness and kurtosis; a spread that is only rounding, without a Sharpe ratio, counts as none."""
    days = metrics["days"]
    spread = _spread(net, counted, days)
    squares = spread * spread
    variance = np.where(np.isnan(metrics["sharpe"]), 0.0, _divide(squares.sum(axis=0), days))
    third, fourth = (_divide((squares * other).sum(axis=0), days) for other in (spread, squares))
    return {"skew": skew(days, variance, third), "kurtosis": kurtosis(days, variance, fourth)}


def _below_peak(wealth: FloatArray) -> FloatArray:
    """[T, K] wealth over its highest so far, the first 1 included."""
    peak = np.maximum.accumulate(wealth, axis=0)
    np.maximum(peak, 1.0, out=peak)
    return np.divide(wealth, peak, out=peak)


def _spread(net: FloatArray, mask: BoolArray | None, days: FloatArray) -> FloatArray:
    """[T, K] deviations from the mean, 0 on days that do not count."""
    spread = net - _divide(net.sum(axis=0), days)
    return spread if mask is None else spread * mask


def _divide(numerator: ArrayLike, denominator: ArrayLike) -> FloatArray:
    """The ratio, NaN where the denominator is 0 or undefined."""
    above, below = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    defined = below != 0
    return np.where(defined, above / np.where(defined, below, 1.0), np.nan)

"""Synthetic markets: planted structure whose best Sharpe ratio is known, noise, and ragged calendars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qn_env.panel import DateArray, FloatArray, Panel


def ar1_trend(
    *,
    coefficient: float = 0.15,
    volatility: float = 0.01,
    markets: int = 4,
    assets: int = 5,
    days: int = 4000,
    seed: int,
) -> Panel:
    """Independent AR(1) returns: r_{t+1} = coefficient * r_t + noise; the `trend` probe.

    A negative coefficient is the `reversal` probe, 0 the `noise` probe. The best unconditional Sharpe ratio
    of one asset is 2.36 at 0.15 (see `experiments.probes.ar1_optimum`).

    Args:
        coefficient: AR(1) coefficient, in (-1, 1).
        volatility: daily standard deviation of the innovations.
        markets: number of markets.
        assets: assets in each.
        days: trading days, on one weekday calendar.
        seed: the only chance.
    """
    rng = np.random.default_rng(seed)
    shocks = rng.standard_normal((days, markets * assets)) * volatility
    returns = np.empty_like(shocks)
    # The first day is drawn from the stationary distribution.
    returns[0] = shocks[0] / np.sqrt(1.0 - coefficient**2)
    for t in range(1, days):
        returns[t] = coefficient * returns[t - 1] + shocks[t]
    return _named(np.clip(returns, -0.99, None), [assets] * markets, f"synthetic AR(1), seed {seed}")


def noise(
    *, volatility: float = 0.01, markets: int = 4, assets: int = 5, days: int = 4000, seed: int
) -> Panel:
    """Independent Gaussian returns: nothing can be learnt; arguments as in `ar1_trend`."""
    return ar1_trend(
        coefficient=0.0, volatility=volatility, markets=markets, assets=assets, days=days, seed=seed
    )


def ragged(*, sizes: Sequence[int] = (3, 1, 4), days: int = 400, seed: int) -> Panel:
    """Noise on ragged calendars: each market has its own holidays, assets list late, halt and delist.

    Args:
        sizes: assets of each market.
        days: weekdays of the underlying calendar.
        seed: the only chance.
    """
    rng = np.random.default_rng(seed)
    N = sum(sizes)
    returns = rng.standard_normal((days, N)) * 0.01 * rng.uniform(0.5, 3.0, N)
    market = np.repeat(np.arange(len(sizes)), sizes)
    holiday = rng.random((days, len(sizes))) < 0.08
    halted = rng.random((days, N)) < 0.03
    first = np.where(rng.random(N) < 0.5, 0, rng.integers(0, days // 2, N))
    last = np.where(rng.random(N) < 0.6, days, rng.integers(days // 2 + 2, days + 1, N))
    row = np.arange(days)[:, None]
    gone = holiday[:, market] | halted | (row < first) | (row >= last)
    returns[np.clip(returns, -0.9, None) != returns] = -0.9
    return _named(np.where(gone, np.nan, returns), sizes, f"synthetic ragged, seed {seed}")


def weekdays(days: int) -> DateArray:
    """[T] the first `days` weekdays from 2000-01-03 on."""
    return np.busday_offset(np.datetime64("2000-01-03", "D"), np.arange(days))


def _named(returns: FloatArray, sizes: Sequence[int], source: str) -> Panel:
    """A panel of markets M0, M1, ... with assets A0, A1, ..."""
    market_of = [f"M{m}" for m, size in enumerate(sizes) for _ in range(size)]
    assets = [f"A{j}" for size in sizes for j in range(size)]
    return Panel.build(weekdays(len(returns)), assets, market_of, returns, source=source)

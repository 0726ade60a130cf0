"""Synthetic markets: planted structure of known best Sharpe ratio, noise, late closes, ragged calendars."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import numpy as np

from qn_env.arrays import DateArray, FloatArray
from qn_env.checks import MOST_DAYS, MOST_NUMBERS, MOST_SEED, check_items, check_number, check_whole
from qn_env.errors import ConfigError
from qn_env.panel import Panel

MOST_ASSETS = 100_000  # of a synthetic panel, and markets
MOST_STRENGTH = 100.0  # of a drift, in standard deviations


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
    _check_size(days, markets, assets, seed)
    _check_law(coefficient, volatility)
    rng = np.random.default_rng(seed)
    returns = rng.standard_normal((days, markets * assets)) * volatility
    _follow(returns, coefficient)
    return _panel_of(np.clip(returns, -0.99, None), [assets] * markets, f"synthetic AR(1), seed {seed}")


def noise(
    *, volatility: float = 0.01, markets: int = 4, assets: int = 5, days: int = 4000, seed: int
) -> Panel:
    """Independent Gaussian returns: nothing can be learnt; arguments as in `ar1_trend`."""
    return ar1_trend(
        coefficient=0.0, volatility=volatility, markets=markets, assets=assets, days=days, seed=seed
    )


def drift(
    *,
    strength: float = 0.0625,
    volatility: float = 0.01,
    markets: int = 4,
    assets: int = 5,
    days: int = 4000,
    seed: int,
) -> Panel:
    """Independent Gaussian returns with a constant mean; the `drift` probe.

    Args:
        strength: mean over standard deviation, daily.
        volatility: daily standard deviation.
        markets: number of markets.
        assets: assets in each.
        days: trading days, on one weekday calendar.
        seed: the only chance.
    """
    _check_size(days, markets, assets, seed)
    _check_law(0.0, volatility)
    check_number("strength", strength, -MOST_STRENGTH, MOST_STRENGTH)
    rng = np.random.default_rng(seed)
    returns = (rng.standard_normal((days, markets * assets)) + strength) * volatility
    return _panel_of(np.clip(returns, -0.99, None), [assets] * markets, f"synthetic drift, seed {seed}")


def latent_drift(
    *,
    persistence: float = 0.9,
    strength: float = 0.3,
    volatility: float = 0.01,
    markets: int = 4,
    assets: int = 5,
    days: int = 4000,
    seed: int,
) -> Panel:
    """Noise around a drift that nobody sees: m_{t+1} = persistence * m_t + shock; the `latent-trend` probe.

    Args:
        persistence: AR(1) coefficient of the drift, in (-1, 1).
        strength: standard deviation of the drift over that of the noise.
        volatility: daily standard deviation of the noise.
        markets: number of markets.
        assets: assets in each.
        days: trading days, on one weekday calendar.
        seed: the only chance.
    """
    _check_size(days, markets, assets, seed)
    _check_law(persistence, volatility, "persistence")
    check_number("strength", strength, 0.0, MOST_STRENGTH)
    rng = np.random.default_rng(seed)
    noisy, hidden = rng.standard_normal((2, days, markets * assets))
    hidden *= strength * np.sqrt(1.0 - persistence**2)
    _follow(hidden, persistence)
    returns = (hidden + noisy) * volatility
    return _panel_of(
        np.clip(returns, -0.99, None), [assets] * markets, f"synthetic latent drift, seed {seed}"
    )


def contagion(
    *, coefficient: float = 0.15, volatility: float = 0.01, assets: int = 4, days: int = 4000, seed: int
) -> Panel:
    """Two markets: that of M0 is noise, that of M1 follows it a day later; the `contagion` probe.

    The return of asset j of M1 on day t + 1 is coefficient times that of asset j of M0 on day t, and noise:
    a moving average of other people's noise, which its own past says nothing about.

    Args:
        coefficient: what a leader's return moves its follower by.
        volatility: daily standard deviation of the noise of both.
        assets: assets in each market.
        days: trading days, on one weekday calendar.
        seed: the only chance.
    """
    _check_size(days, 2, assets, seed)
    _check_law(coefficient, volatility)
    rng = np.random.default_rng(seed)
    returns = rng.standard_normal((days, 2 * assets)) * volatility
    returns[1:, assets:] += coefficient * returns[:-1, :assets]
    return _panel_of(np.clip(returns, -0.99, None), [assets] * 2, f"synthetic contagion, seed {seed}")


def asynchronous(
    *,
    hours_early: float = 6.0,
    early: float = 0.5,
    common: float = 0.8,
    volatility: float = 0.01,
    markets: int = 2,
    assets: int = 10,
    days: int = 4000,
    seed: int,
) -> Panel:
    """Walks around the clock whose closes are not taken at one moment; nothing can be earned a day late.

    The assets of a market share a random walk, and each has one of its own. The first ones of a market, A0,
    A1, ..., are stamped some hours before the others: the news of those hours is in the others' return of
    the day, and in theirs of the next. Of an early asset's tomorrow today's later closes then explain up to
    common * hours_early / 24 of the variance, of the day after nothing, and no asset has an autocorrelation
    of its own. Who reads the whole market earns that at closes that are hours old.

    Args:
        hours_early: between the two closes; 0 is a market whose closes are taken at one moment.
        early: share of each market's assets that are stamped early; 0 is none.
        common: share of an asset's variance that is its market's.
        volatility: daily standard deviation.
        markets: number of markets, independent of each other.
        assets: assets in each.
        days: trading days, on one weekday calendar.
        seed: the only chance.

    Examples:
        >>> panel = asynchronous(assets=2, markets=1, common=1.0, hours_early=12.0, days=2000, seed=0)
        >>> early, late = panel.returns.T
        >>> print(f"{np.corrcoef(early, late)[0, 1]:.1f} {np.corrcoef(early[1:], late[:-1])[0, 1]:.1f}")
        0.5 0.5
    """
    _check_size(days, markets, assets, seed)
    _check_law(0.0, volatility)
    check_number("hours_early", hours_early, 0.0, 24.0)
    check_number("early", early, 0.0, 1.0)
    check_number("common", common, 0.0, 1.0)
    rng = np.random.default_rng(seed)
    shared, own = (
        rng.standard_normal((2, days + 1, markets, 1)),
        rng.standard_normal((2, days + 1, markets, assets)),
    )
    news = np.sqrt(common) * shared + np.sqrt(1.0 - common) * own
    # Of each day: up to the early close, and from it to the late one.
    before, after = news * np.sqrt(np.array([24.0 - hours_early, hours_early]) / 24.0)[:, None, None, None]
    returns = before[1:] + after[1:]
    first = round(early * assets)
    returns[:, :, :first] = after[:-1, :, :first] + before[1:, :, :first]
    returns = np.clip(volatility * returns.reshape(days, markets * assets), -0.99, None)
    return _panel_of(returns, [assets] * markets, f"synthetic asynchronous closes, seed {seed}")


def regime(
    *,
    coefficient: float = 0.15,
    volatility: float = 0.01,
    markets: int = 4,
    assets: int = 5,
    days: int = 4000,
    seed: int,
) -> Panel:
    """AR(1) returns whose coefficient changes its sign half way; the `regime` probe.

    Arguments as in `ar1_trend`; the first return of the second half is the first that the other sign moves.
    """
    _check_size(days, markets, assets, seed)
    _check_law(coefficient, volatility)
    rng = np.random.default_rng(seed)
    returns = rng.standard_normal((days, markets * assets)) * volatility
    half = days // 2
    _follow(returns[:half], coefficient)
    for t in range(half, days):
        returns[t] -= coefficient * returns[t - 1]
    return _panel_of(np.clip(returns, -0.99, None), [assets] * markets, f"synthetic regime, seed {seed}")


def cascade(
    *,
    coefficient: float = 0.2,
    volatility: float = 0.01,
    mean_days: int = 60,
    least_days: int = 20,
    spread: int = 10,
    markets: int = 4,
    assets: int = 5,
    days: int = 4000,
    seed: int,
) -> Panel:
    """AR(1) returns under one of two laws, +coefficient or -coefficient, which spreads from market to market.

    The `context` probe. A regime lasts `least_days` and a geometric number of days behind them. Each market
    enters it up to `spread` days after the first, in an order that is drawn anew every time: most of the time
    the other markets' last days show the law that is in force, in fewer days than any asset's own.

    Args:
        coefficient: size of the AR(1) coefficient, in (-1, 1).
        volatility: daily standard deviation of the innovations.
        mean_days: of a regime, more than `least_days`.
        least_days: of a regime, more than `spread`.
        spread: days by which the last market may be behind the first.
        markets: number of markets.
        assets: assets in each.
        days: trading days, on one weekday calendar.
        seed: the only chance.
    """
    _check_size(days, markets, assets, seed)
    _check_law(coefficient, volatility)
    check_whole("spread", spread, 0, MOST_DAYS)
    check_whole("least_days", least_days, spread + 1, MOST_DAYS)
    check_whole("mean_days", mean_days, least_days + 1, MOST_DAYS)
    rng = np.random.default_rng(seed)
    signs = cascade_signs(days, markets, mean_days=mean_days, least_days=least_days, spread=spread, rng=rng)
    returns = rng.standard_normal((days, markets * assets)) * volatility
    follow = coefficient * np.repeat(signs, assets, axis=1)
    returns[0] /= np.sqrt(1.0 - coefficient**2)
    for t in range(1, days):
        returns[t] += follow[t] * returns[t - 1]
    return _panel_of(np.clip(returns, -0.99, None), [assets] * markets, f"synthetic cascade, seed {seed}")


def cascade_signs(
    days: int, markets: int, *, mean_days: int, least_days: int, spread: int, rng: np.random.Generator
) -> FloatArray:
    """[T, M] the sign of the law by which each market's return of a day follows that of the day before."""
    sign = rng.choice((-1.0, 1.0))
    signs = np.full((days, markets), sign)
    begin = 0
    while (begin := begin + least_days + int(rng.geometric(1.0 / (mean_days - least_days)))) < days:
        sign = -sign
        for market, delay in enumerate(rng.integers(0, spread, markets, endpoint=True)):
            signs[begin + delay :, market] = sign
    return signs


def ragged(
    *,
    sizes: Sequence[int] = (3, 1, 4),
    days: int = 400,
    coefficient: float = 0.0,
    spread: tuple[float, float] = (0.5, 3.0),
    seed: int,
) -> Panel:
    """AR(1) returns on ragged calendars: markets have their holidays, assets list late, halt and delist.

    Args:
        sizes: assets of each market.
        days: weekdays of the underlying calendar.
        coefficient: AR(1) coefficient from one of an asset's own trading days to the next; 0 is noise.
        spread: least and greatest daily standard deviation of an asset's innovations, in percent.
        seed: the only chance.
    """
    sizes = check_items("sizes", sizes, lambda n: True, "the number of assets of each market")
    check_whole("the number of sizes", len(sizes), 1, MOST_ASSETS)
    for size in sizes:
        check_whole("sizes", size, 1, MOST_ASSETS)
    _check_size(days, 1, sum(sizes), seed, least=4)
    _check_law(coefficient, 0.01)
    low, high = _check_spread(spread)
    rng = np.random.default_rng(seed)
    N = sum(sizes)
    returns = rng.standard_normal((days, N)) * 0.01 * rng.uniform(low, high, N)
    market = np.repeat(np.arange(len(sizes)), sizes)
    holiday = rng.random((days, len(sizes))) < 0.08
    halted = rng.random((days, N)) < 0.03
    first = np.where(rng.random(N) < 0.5, 0, rng.integers(0, days // 2, N))
    last = np.where(rng.random(N) < 0.6, days, rng.integers(days // 2 + 2, days + 1, N))
    row = np.arange(days)[:, None]
    gone = holiday[:, market] | halted | (row < first) | (row >= last)
    for j in range(N):
        own = returns[~gone[:, j], j]
        _follow(own, coefficient)
        returns[~gone[:, j], j] = own
    returns[np.clip(returns, -0.9, None) != returns] = -0.9
    return _panel_of(np.where(gone, np.nan, returns), sizes, f"synthetic ragged, seed {seed}")


class Size(NamedTuple):
    """One market of QuantNet's Table 2."""

    market: str
    country: str
    region: str
    samples: int  # days in the training set
    assets: int


# Days of the test block, which the samples of Table 2 leave out (our reading of its section 4.2).
TEST_DAYS = 752


def quantnet2020_sizes() -> tuple[Size, ...]:
    """The 58 markets, 3,103 assets in all, of Koshiyama et al. (2020), QuantNet, Table 2."""
    text = files("qn_env.sources").joinpath("quantnet_table2.csv").read_text(encoding="utf-8")
    return tuple(
        Size(row["market"], row["country"], row["region"], int(row["samples"]), int(row["assets"]))
        for row in csv.DictReader(text.splitlines())
    )


def quantnet2020(*, seed: int, coefficient: float = 0.0, volatility: float = 0.01) -> Panel:
    """Markets as many, as large and as long as QuantNet's: the paper's data cannot be given away.

    Each market has samples + 752 days of independent AR(1) returns and is open on all of them; all end on
    the same day. Something to measure speed and memory on; there is nothing to learn unless `coefficient`
    plants it.

    Args:
        seed: the only chance.
        coefficient: AR(1) coefficient, in (-1, 1).
        volatility: daily standard deviation of the innovations.

    Examples:
        >>> sizes = quantnet2020_sizes()
        >>> len(sizes), sum(size.assets for size in sizes)
        (58, 3103)
    """
    check_whole("seed", seed, 0, MOST_SEED)
    _check_law(coefficient, volatility)
    return ar1_of_sizes(quantnet2020_sizes(), seed=seed, coefficient=coefficient, volatility=volatility)


def ar1_of_sizes(
    sizes: Sequence[Size], *, seed: int, coefficient: float = 0.0, volatility: float = 0.01
) -> Panel:
    """`quantnet2020` with markets of other sizes."""
    check_whole("seed", seed, 0, MOST_SEED)
    _check_law(coefficient, volatility)
    rng = np.random.default_rng(seed)
    T = max(size.samples for size in sizes) + TEST_DAYS
    returns = np.full((T, sum(size.assets for size in sizes)), np.nan)
    market_of: list[str] = []
    for size in sizes:
        days = size.samples + TEST_DAYS
        own = returns[-days:, len(market_of) : len(market_of) + size.assets]
        own[:] = rng.standard_normal((days, size.assets), dtype=np.float32)
        own *= volatility
        _follow(own, coefficient)
        market_of += [size.market] * size.assets
    np.clip(returns, -0.99, None, out=returns)
    assets = [f"A{j}" for size in sizes for j in range(size.assets)]
    source = f"synthetic AR(1), {len(sizes)} markets, seed {seed}"
    return Panel.build(weekdays(T), assets, market_of, returns, source=source)


def _check_size(days: int, markets: int, assets: int, seed: int, *, least: int = 2) -> None:
    """Refuse a synthetic panel that cannot be made, or that no memory holds."""
    check_whole("days", days, least, MOST_DAYS)
    check_whole("markets", markets, 1, MOST_ASSETS)
    check_whole("assets", assets, 1, MOST_ASSETS)
    check_whole("seed", seed, 0, MOST_SEED)
    if (numbers := days * markets * assets) > MOST_NUMBERS:
        raise ConfigError(
            f"{days} days of {markets} x {assets} assets are {numbers} returns, expected at most "
            f"{MOST_NUMBERS}. Take fewer."
        )


def _check_law(coefficient: float, volatility: float, name: str = "coefficient") -> None:
    """Refuse an AR(1) coefficient that has no stationary law, and a volatility that is none."""
    check_number(name, coefficient, -1.0, 1.0, above=True)
    if coefficient == 1.0:
        raise ConfigError(f"{name} is 1, expected a number between -1 and 1, both left out.")
    check_number("volatility", volatility, 0.0, 1.0, above=True, unit="a daily standard deviation")


def _check_spread(spread: tuple[float, float]) -> tuple[float, float]:
    """The least and the greatest daily standard deviation, in percent."""
    pair = check_items("spread", spread, lambda one: True, "a least and a greatest percentage a day")
    if len(pair) != 2:
        raise ConfigError(f"spread has {len(pair)} numbers, expected a least and a greatest percentage.")
    low = check_number("spread", pair[0], 0.0, 100.0)
    return low, check_number("spread", pair[1], low, 100.0)


def _follow(shocks: FloatArray, coefficient: float) -> None:
    """Turn shocks [T, ...] into the AR(1) returns they drive, in place."""
    # The first day is drawn from the stationary distribution.
    shocks[:1] /= np.sqrt(1.0 - coefficient**2)
    for t in range(1, len(shocks) if coefficient else 0):
        shocks[t] += coefficient * shocks[t - 1]


def weekdays(days: int) -> DateArray:
    """[T] the first `days` weekdays from 2000-01-03 on."""
    return np.busday_offset(np.datetime64("2000-01-03", "D"), np.arange(days))


def _panel_of(returns: FloatArray, sizes: Sequence[int], source: str) -> Panel:
    """A panel of markets M0, M1, ... with assets A0, A1, ..."""
    market_of = [f"M{m}" for m, size in enumerate(sizes) for _ in range(size)]
    assets = [f"A{j}" for size in sizes for j in range(size)]
    return Panel.build(weekdays(len(returns)), assets, market_of, returns, source=source)

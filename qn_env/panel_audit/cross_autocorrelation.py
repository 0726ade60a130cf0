"""Do today's other closes say what an asset does tomorrow? They do where closes are not taken at one moment.

A market whose closes are stamped at different times (or whose last trades are of different age) shows the
news of a day twice: today in the closes that are taken late, tomorrow in those taken early. Cross-
autocorrelations then stand where each asset by itself has none (Lo and MacKinlay 1990, "An econometric
analysis of nonsynchronous trading"), at lag 1 and not beyond. Who reads the whole market earns that on
paper; nobody could have traded at the earlier close.

For asset i of a market, on the market's own trading days,

    z_{i,t+1} = a_i + c_i z_{i,t} + d_i z_{i,t-1} + b x_{i,t} + u_{i,t+1},  z_{i,t} = r_{i,t} / sigma_{i,t-1},

sigma the exponentially weighted volatility (`EwVolatility`), x_{i,t} the mean of the other assets' z_t, or
of the other markets' mean z of the day, beyond that of the own market. a, c and d are the asset's own, b
is the market's. After Frisch and Waugh b is the slope of what own lags leave of z_{t+1} on what they
leave of x.

The error of b comes from the daily sums s_t of the products, so that assets which move together are no
separate evidence, with the covariances of neighbouring days (Driscoll and Kraay 1998; Bartlett kernel,
4 (T / 100)^(2/9) lags), and with b = 0 imposed: sums that are divided by their own squares keep their size in
short samples and under fat tails, where errors from fitted residuals accuse too often (6 to 8% for 5%).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from qn_env.arrays import BoolArray, FloatArray
from qn_env.features import EwVolatility, in_bars
from qn_env.multiple_tests import holm
from qn_env.panel import Market, Panel
from qn_env.panel_audit.sums import dots, ratio

LEVEL = 0.05  # of all tests of a panel together
# A continued effect leaves more than this share of what it explains at lag 1 also at lag 2.
MOST_LATE = 1.0 / 3.0
WIDEST = 5.0  # standard deviations, beyond which a return is clipped: Lim et al. (2019) clip features there
LEAST_DAYS = 60  # with both closes, before a market is tested
# Others count with a minus where they move against the asset beyond so many standard errors: a sign estimated
# from noise would follow the noise of the lagged products, which own autocorrelation ties to it.
AGAINST = 4.0

Others = Literal["assets", "markets"]


@dataclass(frozen=True)
class CrossAutocorrelation:
    """What the closes of today say about tomorrow's returns of other assets of one market.

    Attributes:
        market: whose returns are explained.
        others: by "assets", the other ones of the market, or "markets", the other ones of the panel.
        assets: of the market.
        days: on which anything could be compared; 0 where nothing can be said, and the rest is NaN.
        coefficient: b, standard deviations of tomorrow per standard deviation of today.
        error: its standard error, clustered by day, for dependent days, under b = 0.
        p_value: one-sided, of no b > 0: late news moves an asset the way it moved the others.
        p_holm: the same after Holm (1979) over all tests of the panel.
        r2: partial R^2 at lag 1: the share of tomorrow's variance, beyond own lags, that today's closes say.
        r2_late: partial R^2 of the day after, negative where it has the opposite sign.
        sharpe: annualised Sharpe ratio, before costs, of the sign of what the others say, mean of the assets
            at equal risk, held from the same close on (in-sample).
        sharpe_late: of the same positions, taken one trading day later.
        followers: assets that tomorrow follow the others by themselves (Holm over the market's assets, 5%).
        r2_follower: the same of the first of them alone, by a slope of its own.
    """

    market: str
    others: Others
    assets: int
    days: int
    coefficient: float
    error: float
    p_value: float
    p_holm: float
    r2: float
    r2_late: float
    sharpe: float
    sharpe_late: float
    followers: tuple[str, ...] = ()
    r2_follower: float = float("nan")

    @property
    def asynchronous(self) -> bool:
        """Significant at lag 1, and at most a third of it left the day after."""
        return bool(self.p_holm < LEVEL and self.r2_late <= MOST_LATE * self.r2)


def cross_autocorrelations(panel: Panel) -> tuple[CrossAutocorrelation, ...]:
    """The test of every market against its own assets, and against the other markets.

    The null hypothesis: given an asset's own last two returns, the others' closes of today say nothing about
    it. News that all share, volatility that clusters, own autocorrelation and ragged calendars all have their
    place in it. What has not looks alike: where only what an asset does not share with its market bounces
    (at -0.1, 12 assets, 1,500 days: 86% are accused), an autocorrelated factor (at 0.1: 83%), small stocks
    that follow large ones. In all of them the others do say something of tomorrow, and of the day after next
    to nothing.

    Args:
        panel: any; its `bars_per_year` annualises.

    Returns:
        One row per market of two assets or more, and one more per market where there are several; in the
        order of the panel.
    """
    scaled = {name: _scaled(panel, market) for name, market in panel.markets.items()}
    clipped = {name: np.clip(z, -WIDEST, WIDEST) for name, z in scaled.items()}
    means = _market_means(panel, clipped)
    rows: list[CrossAutocorrelation] = []
    for number, (name, market) in enumerate(panel.markets.items()):
        z = clipped[name]
        own_market = _others_mean(z, z, own=True)
        if len(market.assets) > 1:
            rows.append(_tested(market, "assets", scaled[name], z, own_market, (), panel.bars_per_year))
        if len(panel.markets) > 1:
            elsewhere = np.delete(means[market.rows], number, axis=1)
            x = _others_mean(elsewhere, z)
            beyond = (own_market,) if len(market.assets) > 1 else ()
            rows.append(_tested(market, "markets", scaled[name], z, x, beyond, panel.bars_per_year))
    adjusted = holm([row.p_value for row in rows])
    return tuple(replace(row, p_holm=float(p)) for row, p in zip(rows, adjusted, strict=True))


def _scaled(panel: Panel, market: Market) -> FloatArray:
    """[T_i, n] returns over the volatility known the day before, on the market's own days."""
    returns = market.compact(panel.returns)
    volatility = in_bars(EwVolatility(), panel.bars_per_year)(returns)
    z = np.full_like(returns, np.nan)
    z[1:] = returns[1:] / volatility[:-1]
    return z


def _market_means(panel: Panel, clipped: dict[str, FloatArray]) -> FloatArray:
    """[T, M] each market's mean z of the day; NaN on days on which it does not trade."""
    means = np.full((len(panel.dates), len(clipped)), np.nan)
    for number, (name, z) in enumerate(clipped.items()):
        present = np.isfinite(z)
        count = present.sum(axis=1)
        sums = np.where(present, z, 0.0).sum(axis=1)
        means[panel.markets[name].rows, number] = np.where(count > 0, sums / np.maximum(count, 1), np.nan)
    return means


def _others_mean(others: FloatArray, z: FloatArray, *, own: bool = False) -> FloatArray:
    """[T, n] for each asset the mean of the others of the day, those that move against it with a minus.

    Args:
        others: [T, k] what is averaged.
        z: [T, n] the assets; the same array where `own`.
        own: leave each asset itself out.
    """
    there, present = np.isfinite(others), np.isfinite(z)
    values, mine = np.where(there, others, 0.0), np.where(present, z, 0.0)
    signs = np.where(values.T @ mine < -AGAINST * _largest_error(values, mine), -1.0, 1.0)
    count = there.sum(axis=1, keepdims=True)
    if own:
        np.fill_diagonal(signs, 0.0)
        count = count - there
    mean: FloatArray = np.where(count > 0, values @ signs / np.maximum(count, 1), np.nan)
    return mean


def _largest_error(one: FloatArray, other: FloatArray) -> FloatArray:
    """[k, n] the most that the standard error of sums of products of [T, k] and [T, n] can be.

    The root of the sum of squared products, which is at most the root of the product of the fourth moments'
    (Cauchy and Schwarz): no third product of large matrices.
    """
    largest: FloatArray = np.sqrt(np.sqrt(np.outer(dots(one**2, one**2), dots(other**2, other**2))))
    return largest


def _tested(
    market: Market,
    others: Others,
    scaled: FloatArray,
    z: FloatArray,
    x: FloatArray,
    beyond: tuple[FloatArray, ...],
    bars_per_year: float,
) -> CrossAutocorrelation:
    """One market's row, before the correction for the number of tests.

    Args:
        market: whose assets they are.
        others: who explains.
        scaled: [T, n] z, as it is.
        z: [T, n] z, clipped.
        x: [T, n] what the others say at t.
        beyond: each [T, n], what else is taken for known at t.
        bars_per_year: annualises.
    """
    n = len(market.assets)
    nan = float("nan")
    nothing = CrossAutocorrelation(market.name, others, n, 0, nan, nan, nan, nan, nan, nan, nan, nan)
    if len(z) < LEAST_DAYS:
        return nothing
    controls = (z[1:-1], z[:-2], *(known[1:-1] for known in beyond))
    next_z, after_z = z[2:], np.concatenate([z[3:], np.full((1, n), np.nan)])
    valid = np.isfinite(x[1:-1]) & np.isfinite(next_z)
    for known in controls:
        valid &= np.isfinite(known)
    left_x, left_z = _residuals((x[1:-1], next_z), controls, valid)
    products = left_x * left_z
    followers = _followers(products)
    daily = products.sum(axis=1)[valid.any(axis=1)]
    information = float(dots(left_x, left_x).sum())
    spread = np.sqrt(_long_run(daily))
    if len(daily) < LEAST_DAYS or not information > 0.0 or not spread > 0.0:
        return nothing
    slope = float(daily.sum()) / information
    both = valid & np.isfinite(after_z)
    late_x, late_z = _residuals((x[1:-1], after_z), controls, both)
    late = _share(late_x, late_z)
    position = np.sign(slope * left_x)
    returns = scaled[2:]
    later = np.concatenate([returns[1:], np.full((1, n), np.nan)])
    return CrossAutocorrelation(
        market=market.name,
        others=others,
        assets=n,
        days=len(daily),
        coefficient=slope,
        error=float(spread / information),
        p_value=_upper_tail(float(daily.sum()) / float(spread)),
        p_holm=np.nan,
        r2=abs(_share(left_x, left_z)),
        r2_late=late * np.sign(slope),
        sharpe=_annual_sharpe(position, returns, valid, bars_per_year),
        sharpe_late=_annual_sharpe(position, later, valid & np.isfinite(later), bars_per_year),
        followers=tuple(market.assets[j] for j in followers),
        r2_follower=abs(_share(left_x[:, followers[:1]], left_z[:, followers[:1]])) if followers else nan,
    )


def _residuals(
    targets: tuple[FloatArray, ...], controls: tuple[FloatArray, ...], valid: BoolArray
) -> list[FloatArray]:
    """What an asset's regression on a constant and the controls leaves of the targets [T, n]; else 0."""
    known = [valid.astype(np.float64), *(np.where(valid, one, 0.0) for one in controls)]
    wanted = [np.where(valid, one, 0.0) for one in targets]
    K, n = len(known), valid.shape[1]
    gram, sums = np.empty((n, K, K)), np.empty((n, K, len(wanted)))
    for i, one in enumerate(known):
        for j in range(i, K):
            gram[:, i, j] = gram[:, j, i] = dots(one, known[j])
        for j, target in enumerate(wanted):
            sums[:, i, j] = dots(one, target)
    # An asset without days, or whose returns are all alike, has no inverse.
    slopes = np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ sums
    for j, target in enumerate(wanted):
        for i, one in enumerate(known):
            target -= one * slopes[:, i, j]
    return wanted


def _share(x: FloatArray, y: FloatArray) -> float:
    """The share of the sum of squares of y [T, n] that one slope on x explains, with the slope's sign."""
    product, squares = float(dots(x, y).sum()), float(dots(x, x).sum() * dots(y, y).sum())
    return product * abs(product) / squares if squares > 0.0 else 0.0


def _long_run(daily: FloatArray) -> float:
    """Variance of the sum of dependent daily terms [T] of mean 0 (Bartlett kernel, Newey and West 1987)."""
    T = len(daily)
    lags = min(int(4.0 * (T / 100.0) ** (2.0 / 9.0)), T - 1)
    variance = float(daily @ daily)
    for lag in range(1, lags + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1.0)) * float(daily[lag:] @ daily[:-lag])
    return max(variance, 0.0)


def _upper_tail(ratio: float) -> float:
    from scipy.special import ndtr

    return float(ndtr(-ratio))


def _annual_sharpe(
    position: FloatArray, returns: FloatArray, valid: BoolArray, bars_per_year: float
) -> float:
    """Of position times return, each [T, n], the assets' mean of the day; NaN where it never varies."""
    count = valid.sum(axis=1)
    daily = np.where(valid, position * np.where(valid, returns, 0.0), 0.0).sum(axis=1)
    earned = daily[count > 0] / count[count > 0]
    deviation = earned.std() if len(earned) else 0.0
    return float(earned.mean() / deviation * np.sqrt(bars_per_year)) if deviation > 0.0 else np.nan


def _followers(products: FloatArray) -> list[int]:
    """The assets whose own sum of products [T, n] is positive beyond chance, the clearest first."""
    sums, squares = products.sum(axis=0), dots(products, products)
    ratios = ratio(sums, np.sqrt(squares))
    p_values = [_upper_tail(float(one)) for one in ratios]
    clear = np.flatnonzero(holm(p_values) < LEVEL)
    order: list[int] = clear[np.argsort(-ratios[clear], kind="stable")].tolist()
    return order

"""Closes that are not taken at one moment: the test's figures, size and power, and what an agent earns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from agents.agent import Settings, signals_of
from experiments.running.protocols import Fold, holdout
from experiments.running.settling import settle_block
from experiments.statistics import robust_error
from qn_env import TradingEnv
from qn_env.arrays import FloatArray
from qn_env.errors import ConfigError
from qn_env.objectives import sharpe
from qn_env.panel import Panel
from qn_env.panel_audit import audit_panel, cross_autocorrelations
from qn_env.panel_audit.cross_autocorrelation import LEVEL, WIDEST
from qn_env.sources import asynchronous, ragged, read_panel
from qn_env.sources.synthetic import weekdays
from qn_env.tape import Tape

MARKETS, ASSETS = 4, 5
REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def of_returns(returns: FloatArray, sizes: tuple[int, ...]) -> Panel:
    markets = [f"M{m}" for m, size in enumerate(sizes) for _ in range(size)]
    names = [f"A{j}" for size in sizes for j in range(size)]
    return Panel.build(weekdays(len(returns)), names, markets, np.clip(returns, -0.9, None))


def garch(rng: np.random.Generator, shape: tuple[int, ...], df: float) -> FloatArray:
    """GARCH(1, 1) with alpha 0.09 and beta 0.89, Student-t innovations, variance 1."""
    shocks = rng.standard_t(df, shape) / np.sqrt(df / (df - 2.0))
    variance = np.ones(shape[1:])
    values = np.empty(shape)
    for t in range(shape[0]):
        values[t] = np.sqrt(variance) * shocks[t]
        variance = 0.02 + 0.09 * values[t] ** 2 + 0.89 * variance
    return values


def independent(rng: np.random.Generator, days: int) -> FloatArray:
    return rng.standard_normal((days, MARKETS * ASSETS))


def clustered(rng: np.random.Generator, days: int) -> FloatArray:
    return garch(rng, (days, MARKETS * ASSETS), df=5.0)


def common(rng: np.random.Generator, days: int) -> FloatArray:
    """A factor of all, one of each market, loadings that differ."""
    world, market = rng.standard_normal((days, 1)), rng.standard_normal((days, MARKETS))
    loading = rng.uniform(0.3, 1.2, MARKETS * ASSETS)
    return loading * world + 0.5 * np.repeat(market, ASSETS, axis=1) + independent(rng, days)


def everything(rng: np.random.Generator, days: int) -> FloatArray:
    """Factors and assets with clustered volatility and fat tails, holidays, halts, late listings."""
    world, market = garch(rng, (days, 1), df=4.0), garch(rng, (days, MARKETS), df=5.0)
    loading = rng.uniform(0.3, 1.2, MARKETS * ASSETS)
    return loading * world + 0.5 * np.repeat(market, ASSETS, axis=1) + clustered(rng, days)


def gaps(rng: np.random.Generator, days: int) -> FloatArray:
    """[T, N] True where an asset does not trade."""
    N = MARKETS * ASSETS
    holiday = np.repeat(rng.random((days, MARKETS)) < 0.04, ASSETS, axis=1)
    first = np.where(rng.random(N) < 0.5, 0, rng.integers(0, 2 * days // 3, N))
    return holiday | (rng.random((days, N)) < 0.02) | (np.arange(days)[:, None] < first)


LAWS: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "independent": independent,
    "GARCH": clustered,
    "common factor": common,
    "all of it, ragged": everything,
}


def synchronous(law: str, rng: np.random.Generator, days: int) -> Panel:
    """Closes of one moment; every asset follows its own last return, each by a coefficient of its own."""
    returns = LAWS[law](rng, days)
    coefficient = rng.uniform(-0.2, 0.2, returns.shape[1])
    for t in range(1, days):
        returns[t] += coefficient * returns[t - 1]
    returns *= rng.uniform(0.003, 0.02, returns.shape[1])
    if law == "all of it, ragged":
        returns = np.where(gaps(rng, days), np.nan, returns)
    return of_returns(returns, (ASSETS,) * MARKETS)


def accused(law: str, panels: int, days: int, seed: int) -> int:
    rng = np.random.default_rng(seed)
    found = (cross_autocorrelations(synchronous(law, rng, days)) for _ in range(panels))
    return sum(any(row.asynchronous for row in rows) for rows in found)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_of_a_thousand_synchronous_panels_three_to_seven_in_a_hundred_are_accused(law, record_property):
    share = accused(law, panels=1000, days=1000, seed=1) / 1000
    record_property(f"accused ({law})", share)
    assert 0.03 <= share <= 0.07


def test_a_few_synchronous_panels_are_accused_about_as_often_as_the_level_says():
    count = sum(accused(law, panels=40, days=400, seed=2) for law in LAWS)
    assert binomtest(count, 160, LEVEL).pvalue > 0.01


@pytest.mark.parametrize(
    ("options", "power"),
    [({}, 1.0), ({"hours_early": 2.0}, 1.0), ({"days": 1000, "assets": 4, "common": 0.5}, 0.8)],
)
def test_closes_some_hours_early_are_found_and_the_early_assets_named(options, power):
    panels = [asynchronous(**{"markets": 1, "days": 2000, "assets": 8} | options, seed=s) for s in range(20)]
    rows = [cross_autocorrelations(panel)[0] for panel in panels]
    assert np.mean([row.asynchronous for row in rows]) >= power
    early = [f"A{j}" for j in range(len(panels[0].assets) // 2)]
    named = [name for row in rows for name in row.followers]
    assert named
    assert np.mean([name in early for name in named]) > 0.97


def test_the_same_walks_stamped_at_one_moment_are_not_accused():
    at_once = ({"hours_early": 0.0}, {"early": 0.0}, {"early": 1.0})
    panels = [asynchronous(days=800, seed=s, **at_once[s % 3]) for s in range(1000, 1100)]
    count = sum(any(row.asynchronous for row in cross_autocorrelations(panel)) for panel in panels)
    assert binomtest(count, len(panels), LEVEL).pvalue > 0.01


def test_markets_that_close_early_are_found_by_the_other_markets():
    """M0 is the early half of one world, M1 the late one; within each market all close together."""
    panel = asynchronous(markets=1, assets=10, days=2500, seed=3)
    panel = replace(panel, market_of=("M0",) * 5 + ("M1",) * 5)
    verdict = {(row.market, row.others): row.asynchronous for row in cross_autocorrelations(panel)}
    assert verdict == {
        ("M0", "assets"): False,
        ("M0", "markets"): True,
        ("M1", "assets"): False,
        ("M1", "markets"): False,
    }


def test_a_trend_that_goes_on_is_told_apart_from_late_news():
    """A factor that is autocorrelated at lags 1 and 2 alike: its news is not old on the second day."""
    rng = np.random.default_rng(0)
    factor = rng.standard_normal(4002)
    trend = factor[2:] + 0.25 * factor[1:-1] + 0.25 * factor[:-2]
    panel = of_returns(0.01 * (trend[:, None] + rng.standard_normal((4000, 6))), (6,))
    (row,) = cross_autocorrelations(panel)
    assert row.p_holm < LEVEL
    assert row.r2_late > row.r2 / 3
    assert not row.asynchronous


def test_assets_that_move_against_their_market_are_followers_too():
    panel = asynchronous(markets=1, days=2000, seed=1)
    quoted = panel.returns * np.where(
        np.arange(10) % 2, -1.0, 1.0
    )  # the other way round, as currencies may be
    rows = [cross_autocorrelations(replace(panel, returns=r))[0] for r in (panel.returns, quoted)]
    assert rows[1].asynchronous
    assert rows[1].coefficient == pytest.approx(rows[0].coefficient, rel=1e-9)


def test_bars_per_year_annualise_the_sharpe_ratios():
    """Of four times as many bars the volatility is that of a longer span, and next to the same."""
    panel = asynchronous(markets=1, days=2000, seed=1)
    rows = [cross_autocorrelations(replace(panel, bars_per_year=bars))[0] for bars in (252.0, 1008.0)]
    assert rows[1].sharpe / rows[0].sharpe == pytest.approx(2.0, rel=0.05)
    assert rows[1].r2 == pytest.approx(rows[0].r2, rel=0.2)


def by_hand(panel: Panel) -> tuple[float, float, float]:
    """Slope, error and partial R^2 of one market without gaps, asset by asset and day by day."""
    import pandas as pd

    returns = panel.returns
    T, n = returns.shape
    z = np.full((T, n), np.nan)
    for j in range(n):
        for t in range(21, T):
            known = pd.Series(returns[:t, j]).ewm(span=60).std().iloc[-1]
            z[t, j] = np.clip(returns[t, j] / known, -WIDEST, WIDEST)
    scores, information, total = np.zeros(T), 0.0, 0.0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        rows = [t for t in range(1, T - 1) if np.isfinite(z[t - 1 : t + 2]).all()]
        own = np.array([[1.0, z[t, i], z[t - 1, i]] for t in rows])
        x = np.array([z[t, others].mean() for t in rows])
        y = np.array([z[t + 1, i] for t in rows])
        x = x - own @ np.linalg.lstsq(own, x, rcond=None)[0]
        y = y - own @ np.linalg.lstsq(own, y, rcond=None)[0]
        scores[rows] += x * y
        information, total = information + x @ x, total + y @ y
    used = scores[scores != 0.0]
    lags = int(4 * (len(used) / 100) ** (2 / 9))
    variance = used @ used
    for lag in range(1, lags + 1):
        variance += 2 * (1 - lag / (lags + 1)) * (used[lag:] @ used[:-lag])
    slope = scores.sum() / information
    return slope, np.sqrt(variance) / information, slope**2 * information / total


def test_slope_error_and_share_are_those_of_a_plain_loop():
    panel = asynchronous(markets=1, assets=3, days=150, seed=2)
    (row,) = cross_autocorrelations(panel)
    np.testing.assert_allclose((row.coefficient, row.error, row.r2), by_hand(panel), rtol=1e-8)
    assert row.days == 150 - 23


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 2.0))
def test_units_order_and_other_assets_names_do_not_matter(seed, scale):
    panel = ragged(sizes=(3, 2), days=300, seed=seed)
    rows = cross_autocorrelations(panel)
    scaled = cross_autocorrelations(replace(panel, returns=panel.returns * scale))
    swapped = cross_autocorrelations(panel.select(list(panel.markets)[::-1]))
    for one, other in zip(rows, scaled, strict=True):
        np.testing.assert_allclose(one.p_value, other.p_value, rtol=1e-6)
    assert {r.market: r.days for r in rows} == {r.market: r.days for r in swapped}
    assert all(row.p_holm >= row.p_value for row in rows if row.days)


def test_what_is_too_short_or_never_moves_has_no_figure():
    short = ragged(sizes=(2, 2), days=40, seed=0)
    assert [row.days for row in cross_autocorrelations(short)] == [0] * 4
    still = of_returns(np.zeros((400, 3)), (3,))
    (row,) = cross_autocorrelations(still)
    assert row.days == 0
    assert np.isnan(row.p_holm)
    assert not row.asynchronous
    assert cross_autocorrelations(of_returns(np.full((400, 1), 0.01), (1,))) == ()


class ReadsTheMarket:
    """Regresses each asset's next return on everybody's last two, and holds the sign of the forecast."""

    learns = True
    warmup = 2
    settings = Settings()

    def fit(self, env, *, seed, validation=None):
        returns = np.nan_to_num(env.panel.returns)
        known = np.hstack([returns[1:-1], returns[:-2]])
        self.slopes = np.linalg.lstsq(known, returns[2:], rcond=None)[0]
        return self

    def reset(self):
        pass

    def act(self, observation):
        latest = observation["returns"][-1], observation["returns"][-2]
        return np.sign(np.concatenate(latest) @ self.slopes)


def annual(net: FloatArray) -> tuple[float, float]:
    """Sharpe ratio and its error, annualised."""
    return float(sharpe(net, None, axis=0)), float(robust_error(net[:, None])[0] * np.sqrt(252.0))


def test_who_reads_the_whole_market_earns_it_on_time_and_nothing_a_day_late():
    panel = asynchronous(days=4000, seed=11)
    fold: Fold = holdout(panel)
    env = TradingEnv(fold.test, window=2)
    agent = ReadsTheMarket().fit(TradingEnv(fold.train, window=2), seed=0)
    signals = signals_of(agent, fold.test, env)
    tape = Tape.of(fold.test, vol_target=None, start=fold.test_start, execution_lag=0)
    daily = settle_block(tape, fold, signals).groupby("date")[["gross", "gross_late"]].mean()
    on_time, late = (annual(daily[name].to_numpy()) for name in ("gross", "gross_late"))
    assert on_time[0] > 3.0
    assert abs(late[0]) < 2.0 * late[1]
    findings = audit_panel(fold.train).of_kind("asynchronous closes")
    assert [finding.market for finding in findings] == list(panel.markets)
    assert set(findings[0].assets) == {"A0", "A1", "A2", "A3", "A4"}
    assert "on time" in findings[0].detail


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hours_early": 25.0}, "hours_early is 25.0"),
        ({"early": -0.1}, "early is -0.1"),
        ({"common": float("nan")}, "common is nan"),
        ({"days": 1}, "days is 1"),
    ],
)
def test_the_generator_refuses_what_is_no_market(options, message):
    with pytest.raises(ConfigError, match=message):
        asynchronous(seed=0, **options)


def test_the_generator_stamps_the_same_walk():
    """Both closes are of the same news: the early return is the late one's, some hours of it a day later."""
    same = {"markets": 2, "assets": 4, "days": 300, "volatility": 0.01, "seed": 7}
    at_once, early = asynchronous(early=0.0, **same), asynchronous(early=0.5, **same)
    late = [2, 3, 6, 7]
    np.testing.assert_array_equal(early.returns[:, late], at_once.returns[:, late])
    shifted = np.delete(np.arange(8), late)
    assert not np.allclose(early.returns[:, shifted], at_once.returns[:, shifted])
    walks = (np.cumsum(p.returns[:, shifted], axis=0) for p in (early, at_once))
    gap = np.diff(next(walks) - next(walks), axis=0)  # the change of the news between two closes: MA(1), -1/2
    assert np.std(gap) / 0.01 == pytest.approx(np.sqrt(2 * 6 / 24), rel=0.1)
    np.testing.assert_array_equal(asynchronous(**same).returns, early.returns)


@pytest.mark.slow
@pytest.mark.skipif(not REAL_DATA.exists(), reason=f"the real data are not at {REAL_DATA}")
def test_stocks_of_asia_follow_markets_that_close_later_and_those_of_america_follow_none():
    rows = cross_autocorrelations(read_panel(REAL_DATA / "equities"))
    elsewhere = {row.market: row for row in rows if row.others == "markets"}
    for market in ("AU", "JP", "TW", "PH"):
        row = elsewhere[market]
        assert row.asynchronous
        assert row.r2 > 0.02
        assert row.sharpe > 3.0
        assert row.sharpe_late < 1.0
    assert not any(elsewhere[market].asynchronous for market in ("US", "CA", "BR"))

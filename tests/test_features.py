"""Features: against plain loops and published half-lives, causal, and on each asset's own days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qn_env import features
from qn_env.features import (
    CumulativeReturn,
    Defined,
    EwVolatility,
    MacdTrend,
    MeanReturn,
    NormalisedReturn,
    PriceIndex,
    Volatility,
    WeightedAverage,
    Winsorised,
    dmn_features,
)
from qn_env.panel import Panel
from qn_env.sources.frames import from_prices
from qn_env.sources.synthetic import ragged, weekdays

EVERY = (
    EwVolatility(),
    MeanReturn(20),
    WeightedAverage(20, 10),
    Volatility(20),
    CumulativeReturn(20),
    NormalisedReturn(5),
    MacdTrend(8, 24),
    Winsorised(NormalisedReturn(1)),
    *dmn_features(),
)


def returns_of(days: int = 700, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0005, 0.01, (days, 1))


def ew_moments(values: np.ndarray, alpha: float) -> tuple[float, float]:
    """Mean and bias-corrected standard deviation with weights (1 - alpha)^age, by their definition."""
    w = (1 - alpha) ** np.arange(len(values))[::-1]
    mean = (w * values).sum() / w.sum()
    variance = (w * (values - mean) ** 2).sum() / w.sum()
    return mean, np.sqrt(variance * w.sum() ** 2 / (w.sum() ** 2 - (w**2).sum()))


def test_ew_volatility_is_the_weighted_deviation_with_span_60():
    returns = returns_of(200)
    found = EwVolatility()(returns)
    assert np.isnan(found[:20]).all()
    for t in (20, 90, 199):
        assert found[t, 0] == pytest.approx(ew_moments(returns[: t + 1, 0], 2 / 61)[1], rel=1e-10)


def test_rolling_features_use_the_last_days_up_to_and_including_today():
    returns = returns_of(60)
    mean, deviation, growth = MeanReturn(20)(returns), Volatility(20)(returns), CumulativeReturn(20)(returns)
    assert np.isnan(mean[:19]).all()
    for t in (19, 40, 59):
        last = returns[t - 19 : t + 1, 0]
        assert mean[t, 0] == pytest.approx(last.mean())
        assert deviation[t, 0] == pytest.approx(last.std(ddof=1))
        assert growth[t, 0] == pytest.approx(np.prod(1 + last) - 1)


def test_a_normalised_return_is_over_daily_volatility_times_the_root_of_days():
    returns = returns_of(300)
    found = NormalisedReturn(63)(returns)
    t = 250
    growth = np.prod(1 + returns[t - 62 : t + 1, 0]) - 1
    assert found[t, 0] == pytest.approx(growth / (ew_moments(returns[: t + 1, 0], 2 / 61)[1] * np.sqrt(63)))


def test_macd_is_the_transcribed_formula():
    """Eqs. 4-6 in plain loops: EWMA with alpha = 1 / S, 63-day deviation of prices, 252-day of the result."""
    returns = returns_of(420, seed=3)
    prices = np.cumprod(1 + returns[:, 0])
    q = np.full(len(prices), np.nan)
    for t in range(62, len(prices)):
        fast, slow = (ew_moments(prices[: t + 1], 1 / scale)[0] for scale in (8, 24))
        q[t] = (fast - slow) / prices[t - 62 : t + 1].std(ddof=1)
    found = MacdTrend(8, 24)(returns)[:, 0]
    assert np.isnan(found[:313]).all()
    for t in (313, 400, 419):
        assert found[t] == pytest.approx(q[t] / q[t - 251 : t + 1].std(ddof=1), rel=1e-8)


@pytest.mark.parametrize("gaps", ["none", "late and ended", "inside", "everything"])
def test_exponentially_weighted_moments_are_those_of_pandas(gaps):
    values = 50.0 + np.random.default_rng(4).normal(size=(400, 5)).cumsum(axis=0)
    if gaps == "late and ended":
        values[:30], values[350:, 2] = np.nan, np.nan
    elif gaps == "inside":
        values[:7, 0] = values[100:120, 1] = values[::3, 3] = np.nan
    elif gaps == "everything":
        values[:, 1], values[1:, 4] = np.nan, np.nan
    window = pd.DataFrame(values).ewm(alpha=0.03)
    gap = np.isnan(values)
    mean, deviation = features.ew_moments(values, 0.97)
    (alone,) = features.ew_means(values, 0.97)
    np.testing.assert_allclose(mean, np.where(gap, np.nan, window.mean()), rtol=1e-12)
    np.testing.assert_allclose(alone, mean, rtol=1e-14)
    np.testing.assert_allclose(deviation, np.where(gap, np.nan, window.std()), rtol=1e-9)


def test_what_features_share_is_computed_once():
    calls = []

    @dataclass(frozen=True)
    class Counted:
        def __call__(self, returns):
            calls.append(returns.shape)
            return returns

    panel = ragged(sizes=(2, 2), days=60, seed=0)
    shared = Winsorised(Counted())
    both = panel.features((shared, Defined((shared, Counted())), Counted()))
    assert len(calls) == 1
    np.testing.assert_array_equal(both[..., 2], np.nan_to_num(panel.returns))
    np.testing.assert_array_equal(both[..., 1], panel.tradable)


def test_blocks_of_columns_and_rows_change_nothing(monkeypatch):
    whole, other = (ragged(sizes=(3, 4), days=90, seed=1) for _ in range(2))
    expected = whole.features(EVERY[:8])
    monkeypatch.setattr("qn_env.panel.BLOCK_NUMBERS", 200)
    monkeypatch.setattr(
        "qn_env.panel.ROWS_NUMBERS", 7 * 7 * 8 + 1
    )  # seven rows, which do not divide the days
    np.testing.assert_array_equal(other.features(EVERY[:8]), expected)


def test_assets_that_never_close_are_evaluated_as_beside_one_that_does():
    returns = np.random.default_rng(0).normal(0.0005, 0.01, (600, 3))
    alone = Panel.build(weekdays(600), ["A", "B"], ["X", "X"], returns[:, :2])
    returns[100:130, 2] = np.nan
    beside = Panel.build(weekdays(600), ["A", "B", "C"], ["X"] * 3, returns)
    expected = beside.features(EVERY)
    np.testing.assert_array_equal(alone.features(EVERY), expected[:, :2])
    assert (expected[-1, :2] != 0.0).all()


def test_the_half_lives_of_macd_are_those_of_the_paper():
    half_lives = [np.log(0.5) / np.log(1 - 1 / scale) for scale in (8, 16, 32, 24, 48, 96)]
    np.testing.assert_allclose(half_lives, [5.191, 10.740, 21.832, 16.287, 32.923, 66.195], atol=1e-3)
    # After a step from 1 to 2 the EWMA is half way after one half-life: 2 - 0.5 at 5.191 days.
    step = np.zeros((2000, 1))
    step[1000] = 1.0
    ewma = pd.Series(PriceIndex()(step)[:, 0]).ewm(alpha=1 / 8).mean()
    assert ewma[999 + 5] < 1.5 < ewma[999 + 6]


def test_winsorising_clips_at_five_deviations_and_leaves_the_rest():
    values = np.random.default_rng(0).normal(size=(600, 1))
    values[500] = 40.0
    found = Winsorised(lambda x: x)(values)
    mean, deviation = ew_moments(values[:501, 0], 1 - 0.5 ** (1 / 252))
    assert found[500, 0] == pytest.approx(mean + 5 * deviation)
    np.testing.assert_array_equal(np.delete(found, 500), np.delete(values, 500))


def test_a_price_that_does_not_move_has_no_volatility_and_no_trend():
    still = np.zeros((700, 1))
    for feature in (EwVolatility(), Volatility(252), MacdTrend(), NormalisedReturn(1)):
        assert np.isnan(feature(still)).all()
    assert not Defined((MacdTrend(),))(still).any()


@pytest.mark.parametrize("feature", EVERY, ids=str)
@given(seed=st.integers(0, 50), cut=st.floats(0.3, 0.95))
def test_no_feature_looks_ahead(feature, seed, cut):
    panel = ragged(sizes=(2, 2), days=60, seed=seed)
    row = int(cut * len(panel.dates))
    other = panel.with_future_scrambled(panel.dates[row], seed=seed)
    np.testing.assert_array_equal(panel.feature(feature)[: row + 1], other.feature(feature)[: row + 1])


@given(seed=st.integers(0, 50))
def test_a_feature_is_that_of_the_assets_own_days(seed):
    panel = ragged(sizes=(2, 3), days=80, seed=seed)
    for feature in (EwVolatility(), MeanReturn(10), CumulativeReturn(10), NormalisedReturn(5)):
        found = panel.feature(feature)
        for j in range(panel.shape[1]):
            own = panel.tradable[:, j]
            np.testing.assert_allclose(
                found[own, j], feature(panel.returns[own, j : j + 1])[:, 0], rtol=1e-12
            )
            assert np.isnan(found[~own, j]).all()


def test_prices_and_their_returns_give_the_same_features_once_warm():
    returns = returns_of(60)[:, 0]
    prices = pd.DataFrame({"A": 100 * np.cumprod(np.concatenate([[1.0], 1 + returns]))}, index=weekdays(61))
    from_price = from_prices(prices, "M").feature(CumulativeReturn(20))[1:]
    from_return = Panel.build(weekdays(61)[1:], ["A"], ["M"], returns[:, None]).feature(CumulativeReturn(20))
    np.testing.assert_allclose(from_price, from_return, rtol=1e-10)


def test_features_side_by_side_are_zero_where_undefined(panel):
    stacked = panel.features((MeanReturn(10), Defined((MeanReturn(10),))))
    assert stacked.shape == (*panel.shape, 2)
    known = np.isfinite(panel.feature(MeanReturn(10)))
    np.testing.assert_array_equal(stacked[..., 1] == 1.0, known)
    assert not stacked[~known].any()

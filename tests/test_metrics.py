"""Metrics against numbers worked by hand and against scipy, skfolio and pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import skfolio.measures
from hypothesis import given
from hypothesis import strategies as st

from experiments.results import metrics
from experiments.results.books import Book
from experiments.results.headings import HEADINGS, LEADERBOARD, SCALED, SIGNALS
from experiments.results.metrics import all_metrics, performance, signal_metrics
from qn_env.arrays import BoolArray, FloatArray

NAN = np.nan

# Mean 0.012; squared deviations 0.01468; wealth 1.1, 1.045, 1.0659, 1.023264, 1.05396192.
FIVE_DAYS = [0.10, -0.05, 0.02, -0.04, 0.03]


def column(values: list[float]) -> FloatArray:
    return np.array(values, dtype=float)[:, None]


def measured(
    net: list[float],
    counted: list[bool] | None = None,
    turnover: list[float] | None = None,
    rate: float = 0.0,
) -> dict[str, float]:
    """Every metric of one series."""
    days = np.ones((len(net), 1), dtype=bool) if counted is None else np.array(counted)[:, None]
    traded = np.zeros((len(net), 1)) if turnover is None else column(turnover)
    return {
        name: float(value[0])
        for name, value in all_metrics(Book(column(net), traded), days, 1e4 * rate).items()
    }


def everywhere(net: FloatArray) -> BoolArray:
    return np.ones(net.shape, dtype=bool)


@st.composite
def ragged_returns(draw: st.DrawFn) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Gross [T, K], turnover [T, K] and counted days; beneath the mask lies rubbish."""
    T, K = draw(st.integers(1, 60)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    gross = rng.standard_t(4, (T, K)) * 0.01
    gross[rng.random((T, K)) < 0.1] = 0.0
    counted = rng.random((T, K)) < draw(st.sampled_from([0.1, 0.7, 1.0]))
    rubbish = np.where(rng.random((T, K)) < 0.5, NAN, 7.0)
    turnover = np.abs(rng.standard_normal((T, K)))
    return np.where(counted, gross, rubbish), np.where(counted, turnover, rubbish), counted


def fat_tailed(seed: int, T: int = 300, K: int = 3) -> FloatArray:
    return np.random.default_rng(seed).standard_t(5, (T, K)) * 0.01 + 0.001


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("days", 5.0),
        ("ann_return", 252 * 0.012),
        ("cagr", 1.05396192 ** (252 / 5) - 1),
        ("ann_volatility", (252 * 0.01468 / 4) ** 0.5),
        ("sharpe", 252**0.5 * 0.012 / (0.01468 / 4) ** 0.5),
        ("downside_risk", (252 * (0.0025 + 0.0016) / 5) ** 0.5),
        ("sortino", 252 * 0.012 / (252 * 0.00082) ** 0.5),
        ("max_drawdown", 1.023264 / 1.1 - 1),
        ("calmar", (1.05396192 ** (252 / 5) - 1) / 0.06976),
        ("calmar_arith", 252 * 0.012 / 0.06976),
        ("hit_rate", 3 / 5),
        ("profit_loss_ratio", 0.05 / 0.045),
        ("turnover", 0.0),
        ("cost_drag", 0.0),
    ],
)
def test_five_days_have_the_values_worked_by_hand(name: str, expected: float) -> None:
    assert measured(FIVE_DAYS)[name] == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_one_outlier_has_the_skewness_and_kurtosis_worked_by_hand() -> None:
    # Biased skewness 1 / sqrt(2), times sqrt(3 * 2) / 1; biased excess kurtosis -2/3, corrected to 4.
    assert measured([0.0, 0.0, 0.01])["skew"] == pytest.approx(3**0.5, rel=1e-12)
    assert measured([0.0, 0.0, 0.0, 0.01])["kurtosis"] == pytest.approx(4.0, rel=1e-12)


def test_costs_are_charged_per_unit_of_turnover_on_the_days_that_count() -> None:
    # Net returns 0 and 0.015; the third day does not count.
    found = measured([0.01, 0.02, 0.5], [True, True, False], [1.0, 0.5, 9.0], 0.01)
    assert found["ann_return"] == pytest.approx(252 * 0.0075)
    assert found["turnover"] == pytest.approx(252 * 0.75)
    assert found["cost_drag"] == pytest.approx(252 * 0.0075)
    assert found["hit_rate"] == 1.0  # a day that earns nothing is neither hit nor miss


def test_at_the_break_even_cost_nothing_is_left() -> None:
    # 0.03 earned for 1.5 of turnover: 200 basis points, whatever is charged; the third day does not count.
    days = [True, True, False]
    assert measured([0.01, 0.02, 0.5], days, [1.0, 0.5, 9.0], 0.01)["break_even_bps"] == pytest.approx(200.0)
    assert measured([-0.01, 0.005], None, [1.0, 0.0])["break_even_bps"] == pytest.approx(-50.0)
    assert np.isnan(measured([0.01, 0.02])["break_even_bps"])
    gross, turnover = fat_tailed(0, K=1), np.abs(fat_tailed(1, K=1))
    level = measured(gross[:, 0].tolist(), None, turnover[:, 0].tolist())["break_even_bps"]
    at_level = measured(gross[:, 0].tolist(), None, turnover[:, 0].tolist(), level * 1e-4)
    assert at_level["sharpe"] == pytest.approx(0.0, abs=1e-10)


def test_a_loss_on_the_first_day_is_a_drawdown() -> None:
    wealth = metrics.growth_of_one(column([-0.1, 0.05]))
    assert metrics.drawdowns(wealth).ravel() == pytest.approx([-0.1, 0.9 * 1.05 - 1])
    assert measured([-0.1, 0.05])["max_drawdown"] == pytest.approx(-0.1)


@pytest.mark.parametrize("net", [[0.1, -1.0, 0.5], [0.1, -1.5, 3.0], [0.1, -3.0, -3.0]])
def test_ruin_stays_ruined(net: list[float]) -> None:
    assert metrics.drawdowns(metrics.growth_of_one(column(net))).ravel().tolist() == [0.0, -1.0, -1.0]
    found = measured(net)
    assert (found["cagr"], found["max_drawdown"], found["calmar"]) == (-1.0, -1.0, -1.0)


def test_without_a_day_every_figure_but_the_number_of_days_is_nan() -> None:
    found = measured([0.1, NAN], [False, False], [1.0, 1.0], 0.01)
    assert found.pop("days") == 0.0
    assert [name for name, value in found.items() if not np.isnan(value)] == []


@pytest.mark.parametrize(
    ("net", "undefined"),
    [
        pytest.param([0.01], {"ann_volatility", "sharpe"}, id="one day has no volatility"),
        pytest.param([0.001] * 50, {"sharpe", "skew", "kurtosis"}, id="a constant has no volatility"),
        pytest.param([0.0] * 50, {"sharpe", "skew", "kurtosis", "hit_rate"}, id="flat"),
        pytest.param([0.1, 0.2, 0.1, 0.3], {"sortino", "calmar", "calmar_arith"}, id="never a loss"),
        pytest.param([0.1, 0.2, 0.0, 0.1], {"profit_loss_ratio"}, id="no loss to compare with"),
        pytest.param([-0.1, -0.2, -0.1], {"profit_loss_ratio"}, id="no gain to compare with"),
        pytest.param([0.1, -0.2], {"skew", "kurtosis"}, id="two days have no skewness"),
        pytest.param([0.1, -0.2, 0.05], {"kurtosis"}, id="three days have no kurtosis"),
    ],
)
def test_an_undefined_value_is_nan(net: list[float], undefined: set[str]) -> None:
    found = measured(net)
    assert {name for name in undefined if not np.isnan(found[name])} == set()


def test_staying_flat_is_no_return_no_risk_and_no_drawdown() -> None:
    found = measured([0.0] * 10)
    assert [found[name] for name in ("ann_return", "cagr", "ann_volatility", "max_drawdown")] == [0.0] * 4


def test_every_defined_value_of_an_ordinary_series_is_finite() -> None:
    found = measured(FIVE_DAYS, turnover=[0.1] * 5)
    assert [name for name, value in found.items() if not np.isfinite(value)] == []


@given(ragged_returns())
def test_days_that_do_not_count_are_as_if_they_were_not_there(
    data: tuple[FloatArray, FloatArray, BoolArray],
) -> None:
    gross, turnover, counted = data
    found = all_metrics(Book(gross, turnover), counted, 10.0)
    for k in np.flatnonzero(counted.any(axis=0)):
        days = counted[:, k]
        alone = all_metrics(
            Book(gross[days, k : k + 1], turnover[days, k : k + 1]),
            np.ones((days.sum(), 1), dtype=bool),
            10.0,
        )
        for name, value in alone.items():
            np.testing.assert_allclose(found[name][k], value[0], rtol=1e-8, atol=1e-12, err_msg=name)


@given(ragged_returns())
def test_the_metrics_of_performance_are_those_of_all(
    data: tuple[FloatArray, FloatArray, BoolArray],
) -> None:
    net, _, counted = data
    whole = all_metrics(Book(net, np.zeros_like(net)), counted, 0.0)
    for name, value in performance(net, counted).items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)
    clean = np.where(counted, net, 0.0)
    for name, value in performance(clean).items():
        np.testing.assert_allclose(
            value, performance(clean, everywhere(clean))[name], rtol=1e-12, atol=1e-15, err_msg=name
        )


@pytest.mark.parametrize("columns", [0, 1, 7, 8, 9, 17])
def test_any_number_of_columns_is_measured(columns: int) -> None:
    net = fat_tailed(0, T=30, K=20)[:, :columns]
    found = performance(net)
    assert {value.shape for value in found.values()} == {(columns,)}
    np.testing.assert_allclose(found["ann_return"], 252 * net.mean(axis=0), rtol=1e-12)


def test_the_arguments_are_not_written_to() -> None:
    arrays = fat_tailed(0), np.abs(fat_tailed(1)), everywhere(fat_tailed(0))
    # One layout in memory is copied for the computation, the other is not.
    for order in ("C", "F"):
        laid = [np.array(array, order=order) for array in arrays]  # type: ignore[call-overload]
        for array in laid:
            array.flags.writeable = False
        all_metrics(Book(laid[0], laid[1]), laid[2], 10.0)
        performance(laid[0])


@given(ragged_returns(), st.randoms(use_true_random=False))
def test_columns_do_not_know_of_each_other(
    data: tuple[FloatArray, FloatArray, BoolArray], chance: object
) -> None:
    gross, turnover, counted = data
    order = np.arange(gross.shape[1])
    chance.shuffle(order)  # type: ignore[attr-defined]
    found = all_metrics(Book(gross, turnover), counted, 10.0)
    shuffled = all_metrics(Book(gross[:, order], turnover[:, order]), counted[:, order], 10.0)
    for name, value in found.items():
        np.testing.assert_allclose(shuffled[name], value[order], rtol=1e-12, atol=1e-15, err_msg=name)


@given(ragged_returns(), st.sampled_from([0.25, 2.0, 8.0]))
def test_leverage_scales_return_and_risk_and_leaves_ratios_alone(
    data: tuple[FloatArray, FloatArray, BoolArray], leverage: float
) -> None:
    gross, turnover, counted = data
    one = all_metrics(Book(gross, turnover), counted, 10.0)
    more = all_metrics(Book(leverage * gross, leverage * turnover), counted, 10.0)
    for name in ("ann_return", "ann_volatility", "downside_risk", "turnover", "cost_drag"):
        np.testing.assert_allclose(more[name], leverage * one[name], rtol=1e-12, err_msg=name)
    for name in ("sharpe", "sortino", "skew", "kurtosis", "hit_rate", "profit_loss_ratio"):
        np.testing.assert_allclose(more[name], one[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("seed", range(3))
def test_skewness_and_kurtosis_agree_with_scipy(seed: int) -> None:
    net = fat_tailed(seed)
    found = all_metrics(Book(net, np.zeros_like(net)), everywhere(net), 0.0)
    np.testing.assert_allclose(found["skew"], scipy.stats.skew(net, bias=False), rtol=1e-9)
    np.testing.assert_allclose(found["kurtosis"], scipy.stats.kurtosis(net, bias=False), rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_return_risk_and_drawdown_agree_with_skfolio(seed: int) -> None:
    net = fat_tailed(seed)
    found = all_metrics(Book(net, np.zeros_like(net)), everywhere(net), 0.0)
    mean, deviation = skfolio.measures.mean(net), skfolio.measures.standard_deviation(net)
    below = skfolio.measures.semi_deviation(net, min_acceptable_return=0.0, biased=True)
    deepest = [
        skfolio.measures.max_drawdown(skfolio.measures.get_drawdowns(net[:, k], compounded=True))
        for k in range(net.shape[1])
    ]
    np.testing.assert_allclose(found["ann_return"], 252 * mean, rtol=1e-12)
    np.testing.assert_allclose(found["ann_volatility"], 252**0.5 * deviation, rtol=1e-12)
    np.testing.assert_allclose(found["sharpe"], 252**0.5 * mean / deviation, rtol=1e-12)
    np.testing.assert_allclose(found["downside_risk"], 252**0.5 * below, rtol=1e-12)
    np.testing.assert_allclose(found["sortino"], 252**0.5 * mean / below, rtol=1e-12)
    np.testing.assert_allclose(found["max_drawdown"], -np.array(deepest), rtol=1e-10)  # skfolio's is positive


@pytest.mark.parametrize("seed", range(3))
def test_growth_hits_and_drawdowns_agree_with_pandas(seed: int) -> None:
    net = fat_tailed(seed)
    frame = pd.DataFrame(net)
    wealth = (1.0 + frame).cumprod()
    paths = wealth / wealth.cummax().clip(lower=1.0) - 1.0
    found = all_metrics(Book(net, np.zeros_like(net)), everywhere(net), 0.0)
    np.testing.assert_allclose(metrics.drawdowns(metrics.growth_of_one(net)), paths, rtol=1e-12, atol=1e-15)
    growth = wealth.iloc[-1] ** (252 / len(frame)) - 1.0
    np.testing.assert_allclose(found["cagr"], growth, rtol=1e-12)
    np.testing.assert_allclose(found["calmar"], growth / -paths.min(), rtol=1e-12)
    np.testing.assert_allclose(found["calmar_arith"], 252 * frame.mean() / -paths.min(), rtol=1e-12)
    np.testing.assert_allclose(found["hit_rate"], (frame > 0).mean(), rtol=1e-12)
    ratio = frame[frame > 0].mean() / frame[frame < 0].mean().abs()
    np.testing.assert_allclose(found["profit_loss_ratio"], ratio, rtol=1e-12)


def test_every_metric_has_one_heading_and_every_heading_a_figure():
    gross = np.random.default_rng(3).normal(0.0, 0.01, (50, 2))
    found = metrics.all_metrics(Book(gross, np.abs(gross)), np.ones(gross.shape, dtype=bool), 2.0)
    assert set(HEADINGS) == set(found) | {*SCALED, *SIGNALS, "undefined"}
    assert set(LEADERBOARD) < set(found)
    for row in HEADINGS.values():
        assert format(0.1234 if row.form != "d" else 12, row.form)
        assert row.help


def test_how_much_a_signal_varies_by_hand():
    nan = np.nan
    signals = np.array(
        [[0.5, 1.0, nan, 0.2], [0.5, -1.0, 0.3, 0.2], [0.1, 0.0, 0.3, 0.2], [0.5, 0.0, 0.3, 0.2]]
    )
    counted = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [1, 1, 1, 0]], dtype=bool)
    found = signal_metrics(signals, counted)
    np.testing.assert_array_equal(found["still"], [1.0, 0.0, 1.0, nan])
    np.testing.assert_allclose(found["signal_change"], [0.0, (2.0 + 1.0 + 0.0) / 3.0, 0.0, nan])

"""The interval of a Sharpe ratio: what it covers, what it depends on, where it is undefined."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap
from scipy.stats import binomtest

from experiments.statistics import (
    block_length,
    independent_error,
    mean_error,
    mean_sharpe,
    moments,
    robust_error,
    sharpe_interval,
)
from qn_env.arrays import FloatArray

NAN = np.nan
YEAR = 252**0.5


def normal(seed: int, days: int, *, runs: int = 1, series: int = 1, mean: float = 0.0005) -> FloatArray:
    """[S, D, K] independent daily returns with volatility 1%."""
    return mean + 0.01 * np.random.default_rng(seed).standard_normal((runs, days, series))


def autocorrelated(seed: int, days: int, coefficient: float) -> FloatArray:
    """[1, D, 1] an AR(1) series."""
    shocks = np.random.default_rng(seed).standard_normal(days) * 0.01
    values = np.zeros(days)
    for t in range(1, days):
        values[t] = coefficient * values[t - 1] + shocks[t]
    return values[None, :, None]


def width(net: FloatArray, seed: int = 0) -> float:
    low, high = sharpe_interval(net, seed=seed, replications=400)
    return high - low


# A year's Sharpe ratio of the series whose intervals are studied.
TRUTH = 0.5


def independent(rng: np.random.Generator, days: int) -> FloatArray:
    """[D] normal returns."""
    return rng.standard_normal(days)


def fat_ar1(rng: np.random.Generator, days: int) -> FloatArray:
    """[D] AR(1) returns, coefficient 0.2, with Student-t(5) shocks; of variance 1."""
    values = rng.standard_t(5, days + 50)
    for t in range(1, len(values)):
        values[t] += 0.2 * values[t - 1]
    return values[50:] / (5 / 3 / (1 - 0.2**2)) ** 0.5


def garch(rng: np.random.Generator, days: int) -> FloatArray:
    """[D] GARCH(1, 1) returns, 0.08 and 0.9, with Student-t(5) shocks; of variance 1."""
    values = rng.standard_t(5, days + 300) / (5 / 3) ** 0.5
    variance = 1.0
    for t in range(len(values)):
        values[t] *= variance**0.5
        variance = 0.02 + 0.08 * values[t] ** 2 + 0.9 * variance
    return values[300:]


def coverage(
    law: Callable[[np.random.Generator, int], FloatArray], days: int, series: int
) -> dict[str, float]:
    """How often 95% intervals hold the true Sharpe ratio: the bootstrap's, and those of standard errors."""
    held = {"bootstrap": 0, "robust error": 0, "independent error": 0}
    for i in range(series):
        net = 0.01 * (law(np.random.default_rng([days, i]), days) + TRUTH / YEAR)[:, None]
        low, high = sharpe_interval(net[None], seed=i, replications=400)
        held["bootstrap"] += low <= TRUTH <= high
        margin = abs(mean_sharpe(net[None]) - TRUTH) / YEAR / 1.96
        held["robust error"] += bool(margin <= robust_error(net)[0])
        held["independent error"] += bool(margin <= independent_error(moments(net))[0])
    return {name: count / series for name, count in held.items()}


@pytest.mark.parametrize("law", [independent, fat_ar1, garch])
def test_intervals_hold_the_true_sharpe_ratio_about_as_often_as_they_say(law) -> None:
    # 95% of 150 is 142.5 with a standard deviation of 2.7.
    found = coverage(law, 752, 150)
    assert 0.89 <= found["bootstrap"] <= 0.99
    assert 0.89 <= found["robust error"] <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("days", [752, 1250])
@pytest.mark.parametrize("law", [independent, fat_ar1, garch])
def test_95_percent_intervals_hold_the_true_sharpe_ratio_in_92_to_98_percent(
    law, days: int, record_property
) -> None:
    found = coverage(law, days, 2000)
    for name, share in found.items():
        interval = binomtest(round(2000 * share), 2000).proportion_ci(0.95, "exact")
        record_property(name, f"{share:.4f} [{interval.low:.3f}, {interval.high:.3f}] of 2,000")
    assert 0.92 <= found["bootstrap"] <= 0.98
    assert 0.92 <= found["robust error"] <= 0.98
    # What the paper's error of independent days is not for.
    assert (found["independent error"] < 0.92) is (law is fat_ar1)


def test_the_error_of_one_series_is_its_robust_error_and_copies_add_nothing() -> None:
    net = normal(1, 500)[0]
    assert mean_error(net) == pytest.approx(robust_error(net)[0], rel=1e-12)
    assert mean_error(np.repeat(net, 3, axis=1)) == pytest.approx(mean_error(net), rel=1e-12)
    flat = np.zeros_like(net)
    assert mean_error(np.concatenate([net, flat], axis=1)) == mean_error(net)
    assert np.isnan(mean_error(flat))


def test_the_error_of_an_autocorrelated_series_is_that_of_its_long_run_variance() -> None:
    # Of AR(1) returns around 0: sqrt((1 + c) / (1 - c) / T).
    net = autocorrelated(0, 20000, 0.5)[0]
    assert mean_error(net - net.mean()) == pytest.approx((1.5 / 0.5 / 20000) ** 0.5, rel=0.05)


def test_independent_days_have_the_width_of_the_asymptotic_interval() -> None:
    # Lo (2002): standard error sqrt(252 / D) for a small Sharpe ratio, 2 * 1.96 of them.
    assert width(normal(0, 2000)) == pytest.approx(2 * 1.96 * (252 / 2000) ** 0.5, rel=0.15)


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_holds_the_point_estimate(seed: int) -> None:
    net = normal(seed, 300, runs=2, series=3)
    low, high = sharpe_interval(net, seed=seed, replications=200)
    assert low < mean_sharpe(net) < high


def test_the_same_seed_gives_the_same_bounds_and_another_seed_others() -> None:
    net = normal(0, 300, runs=3)
    first = sharpe_interval(net, seed=7, replications=100)
    assert sharpe_interval(net, seed=7, replications=100) == first
    assert sharpe_interval(net, seed=8, replications=100) != first


def test_fewer_days_give_a_wider_interval() -> None:
    # A 16th of the days: four times the width.
    assert 2.5 < width(normal(1, 250)) / width(normal(1, 4000)) < 6.0


def test_positive_autocorrelation_widens_the_interval() -> None:
    net = autocorrelated(2, 1500, 0.6)
    shuffled = np.random.default_rng(0).permutation(net, axis=1)
    # The variance of the mean is (1 + 0.6) / (1 - 0.6) = 4 times that of independent days.
    assert width(net) > 1.4 * width(shuffled)


def test_copies_of_a_series_add_no_evidence_and_independent_ones_do() -> None:
    one = normal(3, 500)
    assert sharpe_interval(np.repeat(one, 4, axis=2), seed=0, replications=200) == pytest.approx(
        sharpe_interval(one, seed=0, replications=200), rel=1e-9
    )
    assert width(normal(3, 500, series=16)) < 0.4 * width(one)  # a quarter, by the square root of 16


def test_disagreement_between_seeds_widens_the_interval() -> None:
    one = normal(4, 500)
    agreeing = np.concatenate([one, one, one, one])
    apart = agreeing + np.array([-0.004, -0.002, 0.002, 0.004])[:, None, None]
    assert width(apart) > 1.5 * width(agreeing)


@pytest.mark.parametrize(
    "net",
    [
        pytest.param(np.zeros((1, 300, 1)), id="flat"),
        pytest.param(np.full((2, 300, 2), 0.001), id="constant"),
        pytest.param(np.full((1, 300, 1), NAN), id="no day"),
        pytest.param(np.full((1, 1, 1), 0.01), id="one day"),
        pytest.param(np.zeros((1, 0, 1)), id="no row"),
    ],
)
def test_without_a_sharpe_ratio_there_is_no_interval(net: FloatArray) -> None:
    assert np.isnan(mean_sharpe(net))
    assert np.isnan(sharpe_interval(net, seed=0)).all()


def test_the_mean_sharpe_ratio_is_over_the_series_that_have_one() -> None:
    # Mean 0.02 over standard deviation 0.01 * sqrt(2); mean 0.01 over 0.02 * sqrt(2); the others have none.
    net = np.full((2, 3, 2), NAN)
    net[0, :, 0] = [0.01, NAN, 0.03]
    net[1, :, 1] = [NAN, -0.01, 0.03]
    net[1, :, 0] = 0.0
    assert mean_sharpe(net) == pytest.approx(YEAR * (2**0.5 + 0.5 / 2**0.5) / 2)


def test_a_series_without_a_day_changes_nothing() -> None:
    net = normal(5, 300)
    padded = np.concatenate([net, np.full_like(net, NAN)], axis=2)
    assert mean_sharpe(padded) == pytest.approx(mean_sharpe(net), rel=1e-12)
    assert sharpe_interval(padded, seed=0, replications=100) == pytest.approx(
        sharpe_interval(net, seed=0, replications=100)
    )


def test_autocorrelated_series_get_longer_blocks() -> None:
    white, mild, strong = (block_length(autocorrelated(6, 1500, c)) for c in (0.0, 0.4, 0.9))
    assert 1.0 <= white < mild < strong


@pytest.mark.parametrize("days", [0, 1, 9])
def test_a_short_series_is_resampled_day_by_day(days: int) -> None:
    assert block_length(normal(7, days)) == 1.0


@pytest.mark.parametrize("days", [10, 11, 15, 30])
def test_blocks_of_a_just_long_enough_series_are_between_a_day_and_the_series(days: int) -> None:
    assert 1.0 <= block_length(normal(8, days)) <= days


@pytest.mark.parametrize("value", [0.0, 0.01, NAN])
def test_a_constant_series_is_resampled_day_by_day(value: float) -> None:
    assert block_length(np.full((2, 200, 3), value)) == 1.0


def test_the_interval_by_matrix_products_is_that_of_a_plain_loop():
    """The same draws of days and seeds, one replication after the other; one series begins late."""
    rng = np.random.default_rng(0)
    shocks = rng.normal(3e-4, 0.01, (3, 301, 4))
    net = shocks[:, 1:] + 0.7 * shocks[:, :-1]  # dependent days, whose blocks are too short
    net[:, :100, 1] = np.nan
    chance = np.random.default_rng(1)
    days = StationaryBootstrap(block_length(net), np.arange(300), seed=chance)
    found, of_days = [], []
    for (rows,), _ in days.bootstrap(50):
        runs = chance.integers(3, size=3)
        found.append(mean_sharpe(net[:, rows][runs]))
        of_days.append(mean_sharpe(net[:, rows]))
    factor = YEAR * mean_error(np.concatenate(list(net), axis=1)) / np.std(of_days)
    assert factor > 1.05
    point = mean_sharpe(net)
    expected = point + (np.quantile(found, [0.025, 0.975]) - point) * factor
    np.testing.assert_allclose(sharpe_interval(net, seed=1, replications=50), expected, rtol=1e-9)

"""Evidence by betting: valid on every day, whatever the returns do; and how soon it finds skill."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from scipy import stats

from experiments.statistics import anytime_p_values, holm, largest_losses, wealth_of_bets
from experiments.statistics.evidence_process import BETS, LARGEST_LOSS, SCALE_DAYS, THRESHOLD, WIDEST_DAYS
from qn_env.arrays import FloatArray
from qn_env.errors import ConfigError, DataError

YEAR = 252
Law = Callable[[np.random.Generator, int, int], FloatArray]


def normal(rng: np.random.Generator, T: int, K: int) -> FloatArray:
    return rng.standard_normal((T, K))


def student(rng: np.random.Generator, T: int, K: int) -> FloatArray:
    return rng.standard_t(3, (T, K)) / 3**0.5


def garch(rng: np.random.Generator, T: int, K: int) -> FloatArray:
    """GARCH(1, 1) with Student-t(4) shocks: calm years that end at once."""
    shocks, variance = rng.standard_t(4, (T, K)) / 2**0.5, np.ones(K)
    x = np.empty((T, K))
    for t in range(T):
        x[t] = np.sqrt(variance) * shocks[t]
        variance = 0.02 + 0.10 * x[t] ** 2 + 0.88 * variance
    return x


def volatile(rng: np.random.Generator, T: int, K: int) -> FloatArray:
    """Log volatility that is an AR(1) of its own."""
    log, x = 0.5 * rng.standard_normal(K), np.empty((T, K))
    for t in range(T):
        log = 0.98 * log + 0.1 * rng.standard_normal(K)
        x[t] = np.exp(log) * rng.standard_normal(K)
    return x


def crashing(rng: np.random.Generator, T: int, K: int) -> FloatArray:
    """Small gains, and losses with a long tail: what selling insurance earns at a fair price."""
    return 1.0 - rng.exponential(1.0, (T, K))


def followed(rng: np.random.Generator, T: int, K: int) -> FloatArray:
    """A book that doubles its weight after a loss and halves it after a gain, of returns without a drift."""
    x, weight = rng.standard_normal((T, K)), np.ones(K)
    for t in range(T):
        x[t] *= weight
        weight = np.clip(weight * np.where(x[t] < 0.0, 2.0, 0.5), 0.25, 4.0)
    return x


LAWS: dict[str, Law] = {law.__name__: law for law in (normal, student, garch, volatile, crashing, followed)}


def wealth(x: FloatArray) -> FloatArray:
    """[T, K] from returns that begin a year earlier, with their own deviation over the year before."""
    squares = np.cumsum(np.pad(x**2, ((1, 0), (0, 0))), axis=0)
    scale = np.sqrt(np.maximum(squares[SCALE_DAYS:-1] - squares[: -SCALE_DAYS - 1], 0.0) / SCALE_DAYS)
    net = x[SCALE_DAYS:]
    return wealth_of_bets(net, largest_losses(scale, np.zeros(net.shape)))


# The numbers.


def test_wealth_is_the_product_of_what_the_bets_make_worked_by_hand() -> None:
    net, losses = np.array([0.01, -0.02, 0.0]), np.array([0.10, 0.05, 0.0])
    whole, half = 1.1 * 0.6, 1.05 * 0.8
    found = wealth_of_bets(net, losses, [1.0, 0.5])
    np.testing.assert_allclose(found, [(1.1 + 1.05) / 2, (whole + half) / 2, (whole + half) / 2], rtol=1e-15)


def test_series_side_by_side_are_as_one_by_one() -> None:
    rng = np.random.default_rng(0)
    net, losses = rng.standard_normal((30, 4)) / 100, rng.uniform(0.05, 0.1, (30, 4))
    both = wealth_of_bets(net, losses)
    for k in range(4):
        np.testing.assert_array_equal(both[:, k], wealth_of_bets(net[:, k], losses[:, k]))


def test_a_loss_beyond_the_largest_takes_the_stake_for_good_and_leaves_what_was_not_staked() -> None:
    found = wealth_of_bets(np.array([-0.5, 9.0]), np.array([0.4, 0.4]), [0.5, 1.0])
    np.testing.assert_allclose(found, [0.375 / 2, 0.375 * (1 + 0.5 * 22.5) / 2])
    assert wealth_of_bets(np.array([-1.0, 9.0]), np.array([0.4, 0.4]), [1.0]).tolist() == [0.0, 0.0]


def test_the_largest_loss_is_of_the_widest_book_of_the_last_days_and_never_of_a_later_one() -> None:
    scale, cost = np.array([1.0, 3.0, 2.0, 0.0, 0.0]), np.array([0.5, 0.0, 0.0, 0.25, 0.0])
    found = largest_losses(scale, cost, times=10.0, days=3)
    assert found.tolist() == [10.5, 30.0, 30.0, 30.25, 20.0]
    assert largest_losses(scale, cost, times=10.0, days=1).tolist() == [10.5, 30.0, 20.0, 0.25, 0.0]
    rng = np.random.default_rng(0)
    scale = rng.uniform(size=(40, 2))
    slow = [7.0 * scale[max(t - 8, 0) : t + 1].max(axis=0) for t in range(40)]
    np.testing.assert_allclose(largest_losses(scale, np.zeros((40, 2)), times=7.0, days=9), slow)


def test_a_p_value_never_rises_and_is_one_over_the_largest_wealth() -> None:
    assert anytime_p_values(np.array([0.1, 20.0, 1.0, 40.0])).tolist() == [1.0, 0.05, 0.05, 0.025]


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"bets": []}, ConfigError, "bets: 0 of them"),
        ({"bets": [0.0]}, ConfigError, "bets is 0.0, expected a share of the stake above 0"),
        ({"bets": [1.5]}, ConfigError, "bets is 1.5"),
        ({"net": np.zeros(3)}, ConfigError, "net has shape"),
        ({"net": np.array([0.0, np.nan])}, DataError, "not finite"),
        ({"losses": np.array([1.0, np.nan])}, DataError, "negative or NaN"),
        ({"losses": np.array([1.0, -1.0])}, DataError, "negative or NaN"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, object], error: type[Exception], says: str) -> None:
    given: dict[str, object] = {"net": np.zeros(2), "losses": np.ones(2), **change}
    with pytest.raises(error, match=says):
        wealth_of_bets(**given)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="scale holds"):
        largest_losses(np.array([np.nan]), np.zeros(1))
    with pytest.raises(ConfigError, match="times is"):
        largest_losses(np.ones(1), np.zeros(1), times=0.0)
    with pytest.raises(ConfigError, match="days is"):
        largest_losses(np.ones(1), np.zeros(1), days=0)


# Its size.


def test_over_all_paths_of_a_fair_game_it_is_a_martingale_and_keeps_villes_inequality() -> None:
    """A gain of 3 with chance 1/4, a loss of 1 else; the book doubles after every loss, the loss is known."""
    days = 9
    paths = np.array(list(product((3.0, -1.0), repeat=days))).T
    chance = np.where(paths > 0, 0.25, 0.75).prod(axis=0)
    lost = np.cumsum(paths < 0, axis=0)
    weight = 2.0 ** np.vstack([np.zeros((1, paths.shape[1])), lost[:-1]])
    found = wealth_of_bets(paths * weight, weight)
    np.testing.assert_allclose(found @ chance, 1.0, rtol=1e-12)
    highest = found.max(axis=0)
    for level in (0.5, 0.2, 0.1, 0.05, 0.02, 0.01):
        assert chance[highest >= 1.0 / level].sum() <= level
    assert chance[highest >= 5.0].sum() > 0.05, "the bound is no empty one here"


def test_with_an_expected_loss_wealth_falls_in_expectation() -> None:
    paths = np.array(list(product((3.0, -1.0), repeat=6))).T
    chance = np.where(paths > 0, 0.24, 0.76).prod(axis=0)
    expected = wealth_of_bets(paths, np.ones(paths.shape)) @ chance
    assert (np.diff(expected) < 0).all()
    assert expected[0] < 1.0


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("years", [1, 5])
def test_a_thousand_lives_of_noise_look_skilled_on_any_day_in_at_most_one_of_twenty(
    law: str, years: int, record_property: Callable[[str, object], None]
) -> None:
    found = wealth(LAWS[law](np.random.default_rng(years), SCALE_DAYS + years * YEAR, 1000))
    assert found.shape == (years * YEAR, 1000)
    share = float((found.max(axis=0) >= THRESHOLD).mean())
    record_property(f"share of {years}-year lives of {law} noise with evidence", share)
    assert share <= 0.05
    error = found[-1].std() / 1000**0.5
    assert abs(found[-1].mean() - 1.0) < 4.0 * error, "the bets are fair: nothing is given away either"


def test_who_looks_at_a_t_test_every_day_is_fooled_and_here_is_not() -> None:
    x = normal(np.random.default_rng(5), SCALE_DAYS + YEAR, 1000)
    net = x[SCALE_DAYS:]
    days = np.arange(1, YEAR + 1)[:, None]
    mean = np.cumsum(net, axis=0) / days
    deviation = np.sqrt(np.maximum(np.cumsum(net**2, axis=0) / days - mean**2, 1e-12) * days / (days - 0.999))
    t = (mean / deviation * np.sqrt(days))[19:]
    assert ((t > stats.norm.isf(0.05)).any(axis=0)).mean() > 0.15
    assert (wealth(x).max(axis=0) >= THRESHOLD).mean() <= 0.05


def test_the_mean_over_agents_and_holms_steps_keep_their_size_when_all_are_noise() -> None:
    """Five agents that hold much the same; whoever looks at the best of them looks five times."""
    rng = np.random.default_rng(7)
    common = student(rng, SCALE_DAYS + 4 * YEAR, 500)
    each = [wealth(0.7 * common + 0.7 * student(rng, len(common), 500)) for _ in range(5)]
    mean = np.mean(each, axis=0)
    assert (mean.max(axis=0) >= THRESHOLD).mean() <= 0.05
    p_values = np.array([anytime_p_values(one)[-1] for one in each])
    adjusted = np.array([holm(column) for column in p_values.T])
    assert (adjusted.min(axis=1) <= 0.05).mean() <= 0.05


# Its power.


def days_needed(sharpe: float, law: Law, years: int, lives: int = 1000) -> FloatArray:
    """[lives] years until the evidence reaches 20; infinite where it does not."""
    x = law(np.random.default_rng(11), SCALE_DAYS + years * YEAR, lives)
    x = x / x.std() + sharpe / YEAR**0.5
    reached = np.maximum.accumulate(wealth(x), axis=0) >= THRESHOLD
    return np.where(reached[-1], reached.argmax(axis=0) / YEAR, np.inf)


def test_a_sharpe_ratio_of_two_is_found_in_a_few_years() -> None:
    years = days_needed(2.0, normal, 6, lives=300)
    assert np.median(years) < 3.5
    assert np.isfinite(years).mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("law", ["normal", "garch"])
@pytest.mark.parametrize("sharpe", [0.5, 1.0, 2.0, 3.0])
def test_years_until_skill_is_found(
    law: str, sharpe: float, record_property: Callable[[str, object], None]
) -> None:
    years = days_needed(sharpe, LAWS[law], 40)
    found = ", ".join(f"{share:.0%} in {np.quantile(years, share):.1f}" for share in (0.2, 0.5, 0.8))
    record_property(f"years until evidence of 20, Sharpe ratio {sharpe:g}, {law} returns", found)
    assert np.median(years) <= {0.5: 40.0, 1.0: 9.0, 2.0: 3.5, 3.0: 2.5}[sharpe]


def test_the_constants_are_those_the_docstring_speaks_of() -> None:
    assert THRESHOLD == 1 / 0.05
    assert (BETS, LARGEST_LOSS, SCALE_DAYS, WIDEST_DAYS) == ((0.5, 1.0), 20.0, 252, 21)

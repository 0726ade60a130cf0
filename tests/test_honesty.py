"""Statistics that keep a comparison honest, held against the numbers their papers print."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.probes.play import out_of_sample
from experiments.statistics import (
    Moments,
    Trials,
    backtest_overfitting,
    critical_difference,
    deflated_sharpe,
    effective_trials,
    expected_maximum_sharpe,
    holm,
    independent_error,
    interquartile_mean,
    interquartile_mean_interval,
    minimum_track_record,
    moments,
    paired_tests,
    probabilistic_sharpe,
    probability_of_improvement,
    probability_of_improvement_interval,
    rank_agents,
    recorded_trials,
    robust_error,
    sharpe_difference,
    sharpe_interval,
)
from qn_env.arrays import FloatArray
from qn_env.errors import ConfigError, DataError
from qn_env.sources.synthetic import noise

NAN = np.nan


def fat_tailed(
    seed: int, days: int, series: int, *, coefficient: float = 0.0, sharpe: float = 0.0
) -> FloatArray:
    """[T, K] AR(1) returns with Student-t(5) shocks and a given daily Sharpe ratio."""
    shocks = np.random.default_rng(seed).standard_t(5, size=(days + 50, series))
    values = np.zeros_like(shocks)
    for t in range(1, len(shocks)):
        values[t] = coefficient * values[t - 1] + shocks[t]
    deviation = (5 / 3 / (1 - coefficient**2)) ** 0.5
    return 0.01 * (values[50:] / deviation + sharpe)


# Standard errors


def covered(net: FloatArray, error: FloatArray, truth: float) -> float:
    return float((np.abs(np.asarray(moments(net).sharpe) - truth) < 1.96 * error).mean())


@pytest.mark.parametrize("truth", [0.0, 0.06])
def test_on_independent_days_with_fat_tails_both_errors_cover(truth: float) -> None:
    net = fat_tailed(1, 1000, 1000, sharpe=truth)
    # 95% of 1000 has a standard deviation of 0.7%; a long-run variance is a little short in a sample.
    assert 0.92 < covered(net, independent_error(moments(net)), truth) < 0.975
    assert 0.91 < covered(net, robust_error(net), truth) < 0.975


@pytest.mark.parametrize("truth", [0.0, 0.06])
def test_on_dependent_days_only_the_robust_error_covers(truth: float) -> None:
    net = fat_tailed(2, 1000, 1000, coefficient=0.3, sharpe=truth)
    assert covered(net, independent_error(moments(net)), truth) < 0.88
    assert 0.90 < covered(net, robust_error(net), truth) < 0.975


def test_the_errors_agree_where_days_do_not_depend_on_each_other() -> None:
    net = fat_tailed(3, 5000, 20, sharpe=0.1)
    np.testing.assert_allclose(robust_error(net), independent_error(moments(net)), rtol=0.15)


def test_the_error_of_a_normal_series_is_los() -> None:
    # Lo (2002): variance (1 + SR^2 / 2) / T, here with T - 1.
    assert independent_error(Moments(days=101, sharpe=2.0)) == pytest.approx((3.0 / 100) ** 0.5)


def test_moments_are_the_population_ones_and_leave_days_without_a_return_out() -> None:
    net = fat_tailed(4, 300, 2)
    net[::7, 1] = NAN
    found = moments(net)
    for k in range(2):
        days = net[np.isfinite(net[:, k]), k]
        assert np.asarray(found.days)[k] == len(days)
        assert np.asarray(found.sharpe)[k] == pytest.approx(days.mean() / days.std(ddof=1))
        assert np.asarray(found.skew)[k] == pytest.approx(stats.skew(days))
        assert np.asarray(found.kurtosis)[k] == pytest.approx(stats.kurtosis(days, fisher=False))


@pytest.mark.parametrize("days", [0, 1, 2, 5, 9, 10, 11, 40])
def test_short_series_have_an_error_as_soon_as_they_have_a_sharpe_ratio(days: int) -> None:
    net = fat_tailed(5, days, 3)
    assert np.isfinite(robust_error(net)).tolist() == [days > 1] * 3


def test_a_flat_series_has_no_error() -> None:
    flat = np.full((100, 1), 0.001)
    assert np.isnan(robust_error(flat)).all()
    assert np.isnan(independent_error(moments(flat))).all()


# Differences of Sharpe ratios


def two_sides(seed: int) -> tuple[FloatArray, FloatArray]:
    """Two strategies without skill on 20 assets: half of the variance of each is common to its assets."""
    rng = np.random.default_rng(seed)
    net = 0.01 * (rng.standard_normal((500, 2, 1)) + rng.standard_normal((500, 2, 20)))
    return net[:, 0], net[:, 1]


def test_correlated_assets_deceive_wilcoxon_and_not_the_difference_of_sharpe_ratios() -> None:
    false, deceived = 0, 0
    for seed in range(200):
        left, right = two_sides(seed)
        false += sharpe_difference(left, right).p_value < 0.05
        ratios = pd.DataFrame({"a": moments(left).sharpe, "b": moments(right).sharpe})
        deceived += paired_tests(ratios)["wilcoxon"].iloc[0] < 0.05
    assert 1 <= false <= 25  # 10 with a standard deviation of 3
    assert deceived > 80


def test_a_real_difference_is_seen_and_is_signed() -> None:
    left = fat_tailed(6, 1000, 10, sharpe=0.1)
    right = fat_tailed(7, 1000, 10)
    found = sharpe_difference(left, right)
    assert found.value == pytest.approx(np.mean(moments(left).sharpe) - np.mean(moments(right).sharpe))
    assert found.p_value < 0.001
    back = sharpe_difference(right, left)
    assert (back.value, back.error, back.p_value) == pytest.approx((-found.value, found.error, found.p_value))


def test_the_variances_of_independent_sides_add() -> None:
    left, right = fat_tailed(8, 4000, 1), fat_tailed(9, 4000, 1)
    apart = (robust_error(left)[0] ** 2 + robust_error(right)[0] ** 2) ** 0.5
    assert sharpe_difference(left, right).error == pytest.approx(apart, rel=0.1)


def test_leverage_makes_no_difference() -> None:
    net = fat_tailed(10, 300, 3, sharpe=0.1)
    found = sharpe_difference(net, 3.0 * net)
    assert (found.error, found.p_value) == (0.0, 1.0)


def test_series_without_a_sharpe_ratio_on_either_side_are_left_out_and_counted() -> None:
    left, right = fat_tailed(11, 300, 4), fat_tailed(12, 300, 4)
    left[:, 0], right[:, 1] = 0.0, NAN
    found = sharpe_difference(left, right)
    assert (found.compared, found.left_out) == (2, 2)
    alone = sharpe_difference(left[:, 2:], right[:, 2:])
    assert found[:3] == pytest.approx(alone[:3])
    assert np.isnan(sharpe_difference(left[:, :1], right[:, :1]).p_value)


# Probabilistic and deflated Sharpe ratio

# Bailey and Lopez de Prado (2014), numerical example: Sharpe ratio 2.5 annualised over 250 days, five years.
FOUND = Moments(days=1250, sharpe=2.5 / 250**0.5, skew=-3.0, kurtosis=10.0)
VARIANCE = 0.5 / 250


def test_the_papers_discovery_is_not_significant_after_100_trials() -> None:
    assert expected_maximum_sharpe(Trials(100, VARIANCE)) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(FOUND, Trials(100, VARIANCE)) == pytest.approx(0.9004, abs=5e-5)


def test_the_papers_discovery_is_significant_after_46_trials_or_88_with_normal_returns() -> None:
    assert deflated_sharpe(FOUND, Trials(46, VARIANCE)) == pytest.approx(0.9505, abs=5e-5)
    normal = FOUND._replace(skew=0.0, kurtosis=3.0)
    assert deflated_sharpe(normal, Trials(88, VARIANCE)) == pytest.approx(0.9505, abs=5e-5)


def test_a_single_trial_is_not_deflated() -> None:
    assert expected_maximum_sharpe(Trials(1, VARIANCE)) == 0.0
    assert deflated_sharpe(FOUND, Trials(1, VARIANCE)) == probabilistic_sharpe(FOUND)


@pytest.mark.parametrize("trials", [Trials(0, 1.0), Trials(5, -1.0), Trials(NAN, 1.0), Trials(5, NAN)])
def test_a_search_without_trials_is_refused(trials: Trials) -> None:
    with pytest.raises(ConfigError, match="expected at least one"):
        expected_maximum_sharpe(trials)


def test_the_expected_maximum_is_that_of_simulated_trials() -> None:
    best = np.random.default_rng(0).standard_normal((20000, 100)).max(axis=1).mean()
    assert expected_maximum_sharpe(Trials(100, 1.0)) == pytest.approx(best, rel=0.015)


def test_two_years_of_a_hedge_fund_convince_only_those_who_believe_in_normal_returns() -> None:
    # Bailey and Lopez de Prado (2012): 24 months, Sharpe ratio 0.458, skewness -2.448, kurtosis 10.164.
    fund = Moments(days=24, sharpe=0.458, skew=-2.448, kurtosis=10.164)
    assert probabilistic_sharpe(fund) == pytest.approx(0.913, abs=5e-4)
    assert probabilistic_sharpe(fund._replace(skew=0.0, kurtosis=3.0)) == pytest.approx(0.982, abs=5e-4)


@pytest.mark.parametrize(
    ("per_year", "skew", "kurtosis", "years"),
    [
        # Bailey and Lopez de Prado (2012): years until 2 is above 1, annualised, with 95% confidence.
        pytest.param(250, 0.0, 3.0, 2.73, id="daily"),
        pytest.param(52, 0.0, 3.0, 2.83, id="weekly"),
        pytest.param(12, 0.0, 3.0, 3.24, id="monthly"),
        pytest.param(12, -0.72, 5.78, 4.99, id="monthly hedge funds"),
    ],
)
def test_the_papers_minimum_track_records(per_year: int, skew: float, kurtosis: float, years: float) -> None:
    seen = Moments(days=NAN, sharpe=2.0 / per_year**0.5, skew=skew, kurtosis=kurtosis)
    needed = minimum_track_record(seen, 1.0 / per_year**0.5)
    assert needed / per_year == pytest.approx(years, abs=0.005)


def test_after_the_minimum_track_record_the_confidence_is_reached() -> None:
    needed = minimum_track_record(FOUND, 0.1, confidence=0.9)
    assert probabilistic_sharpe(FOUND._replace(days=needed), 0.1) == pytest.approx(0.9)


def test_no_track_record_is_long_enough_for_a_ratio_that_is_not_above_the_benchmark() -> None:
    seen = Moments(days=100, sharpe=np.array([0.0, -0.1, NAN]))
    assert minimum_track_record(seen).tolist() == pytest.approx([np.inf, np.inf, NAN], nan_ok=True)


def test_skfolio_agrees_on_a_series() -> None:
    from skfolio import measures

    net = fat_tailed(13, 700, 1, sharpe=0.08)
    trials = np.random.default_rng(0).standard_normal(30) * 0.05
    assert probabilistic_sharpe(moments(net), 0.02)[0] == pytest.approx(
        measures.probabilistic_sharpe_ratio(net[:, 0], benchmark_sharpe_ratio=0.02)
    )
    assert deflated_sharpe(moments(net), Trials(30, trials.var(ddof=1)))[0] == pytest.approx(
        measures.deflated_sharpe_ratio(net[:, 0], trials)
    )


def test_a_robust_error_makes_the_statement_for_dependent_days() -> None:
    net = fat_tailed(14, 1000, 1, coefficient=0.3)
    net += 0.08 * net.std() - net.mean()
    trials = Trials(1, 0.0)
    assert deflated_sharpe(moments(net), trials, error=robust_error(net)) < deflated_sharpe(
        moments(net), trials
    )


def test_the_best_of_many_trials_without_skill_is_seldom_significant_and_naively_always() -> None:
    deflated, naive = 0, 0
    for seed in range(200):
        ratios = moments(fat_tailed(seed, 250, 40))
        best = int(np.argmax(ratios.sharpe))
        chosen = Moments(*(np.asarray(moment)[best] for moment in ratios))
        trials = recorded_trials(list(np.asarray(ratios.sharpe) * 252**0.5))
        deflated += bool(deflated_sharpe(chosen, trials) > 0.95)
        naive += bool(probabilistic_sharpe(chosen) > 0.95)
    assert deflated <= 10
    assert naive > 150


def test_failed_trials_count_but_do_not_vary() -> None:
    found = recorded_trials([0.0, 252**0.5, -np.inf])
    assert found == pytest.approx((3, 0.5))
    assert recorded_trials([1.0]) == (1, 0.0)


def test_correlated_trials_count_for_fewer() -> None:
    assert effective_trials(100, 0.0) == 100
    assert effective_trials(100, 1.0) == 1
    assert effective_trials(101, 0.5) == 51.0


# False statements where there is nothing


@cache
def played_on_noise() -> FloatArray:
    """[T, 2] daily net returns of two rules on noise, moved to a Sharpe ratio of exactly 0."""
    panel = noise(days=4000, seed=0)
    net = [out_of_sample(rule, panel, 1000, seed=0).mean(axis=1) for rule in ("macd", "sgn-returns")]
    earned = np.column_stack(net)
    return earned - earned.mean(axis=0)


def false_statements(comparisons: int) -> dict[str, float]:
    """Share of false statements on resampled days of strategies without an edge, 752 days each."""
    rng = np.random.default_rng(0)
    net = played_on_noise()
    false = {"difference": 0, "interval excludes 0": 0, "probabilistic": 0}
    for i in range(comparisons):
        left, right = (net[rng.integers(len(net), size=752)] for _ in range(2))
        false["difference"] += sharpe_difference(left[:, :1], left[:, 1:]).p_value < 0.05
        low, high = sharpe_interval(right[None, :, :1], seed=i, replications=300)
        false["interval excludes 0"] += not low <= 0.0 <= high
        false["probabilistic"] += bool(probabilistic_sharpe(moments(right))[0] > 0.95)
    return {name: count / comparisons for name, count in false.items()}


def best_is_significant(searches: int, trials: int = 20) -> float:
    """Share of searches on noise whose best trial has a significant deflated Sharpe ratio."""
    rng, net = np.random.default_rng(1), played_on_noise()[:, 0]
    false = 0
    for _ in range(searches):
        found = moments(net[rng.integers(len(net), size=(752, trials))])
        ratios = np.asarray(found.sharpe)
        chosen = Moments(*(np.asarray(moment)[ratios.argmax()] for moment in found))
        false += bool(deflated_sharpe(chosen, recorded_trials((252**0.5 * ratios).tolist())) > 0.95)
    return false / searches


def test_a_false_statement_on_noise_is_about_as_rare_as_it_claims() -> None:
    # 5% of 300 has a standard deviation of 1.3%.
    for name, share in false_statements(300).items():
        assert 0.01 <= share <= 0.095, name
    assert best_is_significant(300) <= 0.095


@pytest.mark.slow
def test_false_statements_on_noise_are_3_to_7_percent_of_2000(record_property) -> None:
    for name, share in false_statements(2000).items():
        interval = stats.binomtest(round(2000 * share), 2000).proportion_ci(0.95, "exact")
        record_property(name, f"{share:.4f} [{interval.low:.3f}, {interval.high:.3f}] of 2,000")
        assert 0.03 <= share <= 0.07, name


@pytest.mark.slow
@pytest.mark.parametrize("trials", [5, 20, 100])
def test_the_best_of_a_search_on_noise_is_rarely_significant_after_deflation(
    trials: int, record_property
) -> None:
    # Not 5%: the paper compares one ratio with the expected maximum, whose own spread is smaller.
    share = best_is_significant(2000, trials)
    interval = stats.binomtest(round(2000 * share), 2000).proportion_ci(0.95, "exact")
    record_property(f"{trials} trials", f"{share:.4f} [{interval.low:.3f}, {interval.high:.3f}] of 2,000")
    assert share <= 0.07


# Probability of backtest overfitting


def slow_overfitting(net: FloatArray, blocks: int) -> list[float]:
    """The logits by a plain loop, for blocks of equal length and no equal ratios."""
    parts = np.split(net, blocks)
    logits = []
    for chosen in combinations(range(blocks), blocks // 2):
        here = np.concatenate([parts[s] for s in chosen])
        there = np.concatenate([parts[s] for s in range(blocks) if s not in chosen])
        best = np.argmax(here.mean(axis=0) / here.std(axis=0, ddof=1))
        rank = stats.rankdata(there.mean(axis=0) / there.std(axis=0, ddof=1))[best]
        share = rank / (net.shape[1] + 1)
        logits.append(np.log(share / (1 - share)))
    return logits


def test_overfitting_equals_the_plain_loop() -> None:
    net = fat_tailed(15, 160, 12)
    np.testing.assert_allclose(backtest_overfitting(net, blocks=8).logits, slow_overfitting(net, 8))


def test_sixteen_blocks_give_the_papers_12870_combinations() -> None:
    assert len(backtest_overfitting(fat_tailed(16, 320, 5)).logits) == 12870


def test_two_trials_and_two_blocks_by_hand() -> None:
    # A is better in the first block, B in the second: whichever is chosen is the worse in the other.
    # Relative rank 1 / 3, logit log(1 / 2).
    up, down = [0.02, 0.01], [-0.01, -0.02]
    found = backtest_overfitting(np.array([up + down, down + up]).T, blocks=2)
    assert found.logits == pytest.approx([np.log(0.5)] * 2)
    assert found.probability == 1.0
    assert found.probability_of_loss == 1.0
    # 0.015 / 0.00707 * sqrt(252), and its negative.
    assert found.inside == pytest.approx([33.675] * 2, abs=1e-3)
    assert found.outside == pytest.approx([-33.675] * 2, abs=1e-3)
    # Now A is better in both: rank 2 / 3, logit log(2).
    found = backtest_overfitting(np.array([up + up, down + down]).T, blocks=2)
    assert found.logits == pytest.approx([np.log(2.0)] * 2)
    assert found.probability == 0.0


def test_four_blocks_of_three_trials_by_hand() -> None:
    # Blocks of two days, block mean +- 0.01; means in 1e-3: A 6 -1 -1 -1, B -1 4.5 -1.5 -1, C 1 1 1 1.
    means = np.array([[6.0, -1.0, 1.0], [-1.0, 4.5, 1.0], [-1.0, -1.5, 1.0], [-1.0, -1.0, 1.0]]) * 1e-3
    net = means.repeat(2, axis=0) + np.tile([[0.01], [-0.01]], (4, 1))
    found = backtest_overfitting(net, blocks=4)
    # Half 12: A is best, and in the rest (A -1, B -1.25, C 1) second; 13 and 14: A, then last;
    # 23 and 24: B, then last; 34: C, and in the rest (A 2.5, B 1.75, C 1) last. Relative ranks 2/4 and 1/4.
    assert found.logits == pytest.approx([0.0] + [np.log(1 / 3)] * 5)
    assert found.probability == 1.0
    assert found.probability_of_loss == pytest.approx(5 / 6)
    # A in half 12: days 16, -4, 9, -11 (1e-3), mean 2.5, squares about it 182.25, 42.25, 42.25, 182.25.
    assert found.inside[0] == pytest.approx(252**0.5 * 2.5 / (449 / 3) ** 0.5)
    # And in the rest: 9, -11, 9, -11, mean -1, squares 100 each.
    assert found.outside[0] == pytest.approx(-(252**0.5) / (400 / 3) ** 0.5)
    # A fourth one that is better by far is chosen in every half and first of four in the other.
    better = np.column_stack([net, np.full(8, 5e-2) + np.tile([0.01, -0.01], 4)])
    best = backtest_overfitting(better, blocks=4)
    assert best.logits == pytest.approx([np.log(4.0)] * 6)
    assert best.probability == 0.0


def test_noise_is_overfitted_half_of_the_time() -> None:
    found = [backtest_overfitting(fat_tailed(seed, 400, 20), blocks=8).probability for seed in range(60)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.1)


def test_one_truly_better_trial_is_not_overfitted() -> None:
    net = fat_tailed(17, 1000, 20)
    net[:, 3] += 0.003
    found = backtest_overfitting(net)
    assert found.probability < 0.01
    assert found.probability_of_loss < 0.01


def test_trials_that_end_level_are_always_overfitted() -> None:
    # What is gained in one half is lost in the other.
    net = fat_tailed(18, 400, 30)
    found = backtest_overfitting((net - net.mean(axis=0)) / net.std(axis=0), blocks=8)
    assert found.probability > 0.99
    assert found.degradation == pytest.approx(-1.0, abs=0.1)


def test_a_flat_trial_is_one_with_a_ratio_of_zero() -> None:
    net = -0.01 + 0.001 * fat_tailed(19, 64, 3)
    net[:, 1] = 0.0
    found = backtest_overfitting(net, blocks=4)
    assert found.probability == 0.0
    assert (found.outside == 0.0).all()


def test_copies_of_one_trial_count_as_the_median() -> None:
    found = backtest_overfitting(np.repeat(fat_tailed(20, 64, 1), 4, axis=1), blocks=4)
    np.testing.assert_array_equal(found.logits, 0.0)


@pytest.mark.parametrize("blocks", [0, 1, 7, 34])
def test_blocks_that_do_not_fit_are_refused(blocks: int) -> None:
    with pytest.raises(ConfigError, match="expected"):
        backtest_overfitting(fat_tailed(21, 66, 3), blocks=blocks)


def test_a_missing_return_is_refused_by_trial_and_day() -> None:
    net = fat_tailed(22, 64, 3)
    net[5, 2] = NAN
    with pytest.raises(DataError, match="trial 2, day 5"):
        backtest_overfitting(net, blocks=4)


# Paired comparisons

# Demsar (2006), Tables 2 and 6: AUC of C4.5 with parameters m and cf tuned, or not, on 14 data sets.
DEMSAR = pd.DataFrame(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.975, 0.9749],  # printed as 0.975 too, and ranked third
        [0.957, 0.978, 0.946, 0.970],
    ],
    columns=["C4.5", "+m", "+cf", "+m+cf"],
)


def test_p_values_are_scipys() -> None:
    rng = np.random.default_rng(0)
    scores = pd.DataFrame(rng.normal([0.0, 0.4, 1.0], size=(40, 3)), columns=["a", "b", "c"])
    table = paired_tests(scores).set_index(["left", "right"])
    assert list(table.index) == [("a", "b"), ("a", "c"), ("b", "c")]
    for (left, right), row in table.iterrows():
        assert row["wilcoxon"] == stats.wilcoxon(scores[left], scores[right]).pvalue
        assert row["ks"] == stats.ks_2samp(scores[left], scores[right]).pvalue
        assert row["median_difference"] == (scores[left] - scores[right]).median()
    np.testing.assert_array_equal(table["wilcoxon_holm"], holm(table["wilcoxon"].tolist()))
    np.testing.assert_array_equal(table["ks_holm"], holm(table["ks"].tolist()))


def test_demsars_tuned_tree_is_better() -> None:
    # At most 21 for 14 data sets is significant at 5%; the smaller sum of ranks is 12.
    assert paired_tests(DEMSAR[["+m", "C4.5"]])["wilcoxon"].iloc[0] < 0.05


def test_only_the_pairs_with_the_one_agent_are_corrected_for() -> None:
    table = paired_tests(DEMSAR, against="C4.5")
    assert table["left"].tolist() == ["+m", "+cf", "+m+cf"]
    assert set(table["right"]) == {"C4.5"}
    with pytest.raises(ConfigError, match="'C5' is none of the agents"):
        paired_tests(DEMSAR, against="C5")


def test_assets_without_both_scores_are_left_out_and_counted() -> None:
    scores = pd.DataFrame({"a": [1.0, 2.0, NAN, 4.0], "b": [0.5, NAN, NAN, 3.0], "c": [NAN] * 4})
    table = paired_tests(scores)
    assert table["assets"].tolist() == [2, 0, 0]
    assert table["left_out"].tolist() == [2, 4, 4]
    assert np.isfinite(table["wilcoxon_holm"]).tolist() == [True, False, False]


def test_equal_agents_do_not_differ() -> None:
    scores = np.random.default_rng(1).standard_normal(60)
    table = paired_tests(pd.DataFrame({"a": scores, "b": scores}))
    assert table[["wilcoxon", "ks"]].iloc[0].tolist() == [1.0, 1.0]


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, and none below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, NAN, 0.5]) == pytest.approx([1.0, NAN, 1.0], nan_ok=True)
    assert len(holm([])) == 0


def test_among_agents_alike_a_false_statement_is_rare_after_holm() -> None:
    false = 0
    for seed in range(100):
        scores = pd.DataFrame(np.random.default_rng(seed).standard_normal((30, 4)), columns=list("abcd"))
        false += bool((paired_tests(scores)["wilcoxon_holm"] < 0.05).any())
    assert false <= 13  # at most 5 expected, with a standard deviation of 2.2


# Ranks


@pytest.mark.parametrize(
    ("level", "q"),
    [
        # Demsar (2006), Table 5a, for two to ten classifiers.
        (0.95, [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]),
        (0.90, [1.645, 2.052, 2.291, 2.459, 2.589, 2.693, 2.780, 2.855, 2.920]),
    ],
)
def test_critical_values_are_demsars(level: float, q: list[float]) -> None:
    found = [critical_difference(k, 1, level=level) / (k * (k + 1) / 6) ** 0.5 for k in range(2, 11)]
    assert found == pytest.approx(q, abs=1.5e-3)  # printed from tables with three digits


def test_demsars_worked_example() -> None:
    found = rank_agents(DEMSAR)
    assert list(found.average) == ["+m+cf", "+m", "+cf", "C4.5"]
    assert list(found.average.values()) == pytest.approx([1.964, 2.000, 2.893, 3.143], abs=5e-4)
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert found.groups == (("+m+cf", "+m", "+cf", "C4.5"),)
    # At 10% the paper sees two groups and cannot tell which of them +cf belongs to.
    at_ten = rank_agents(DEMSAR, level=0.9)
    assert at_ten.critical_difference == pytest.approx(1.12, abs=0.005)
    assert at_ten.groups == (("+m+cf", "+m", "+cf"), ("+cf", "C4.5"))
    # The paper's 9.28 is without SciPy's correction for ties; both reject at 5%.
    assert found.friedman_p < 0.05
    assert found.iman_davenport_p < 0.05
    assert (found.markets, found.left_out) == (14, 0)


def test_friedman_and_iman_davenport_by_hand() -> None:
    # Ranks 1 2 3, 1 2 3, 1 2 3, 2 1 3: sums 5, 7, 12; 12 / (4 * 3 * 4) * 218 - 3 * 4 * 4 = 6.5;
    # F = 3 * 6.5 / (4 * 2 - 6.5) = 13 on 2 and 6 degrees of freedom.
    scores = pd.DataFrame([[3, 2, 1], [3, 2, 1], [3, 2, 1], [2, 3, 1]], columns=list("abc"))
    found = rank_agents(scores)
    assert found.friedman_p == pytest.approx(np.exp(-6.5 / 2))  # chi-square, 2 degrees of freedom
    assert found.iman_davenport_p == pytest.approx((1 + 2 * 13 / 6) ** -3.0)  # F(2, 6)
    assert found.average == pytest.approx({"a": 1.25, "b": 1.75, "c": 3.0})


def test_groups_are_the_largest_runs_within_the_critical_difference() -> None:
    # 60 markets in one order: mean ranks 1 to 5, critical difference 0.79; with 20 markets 1.36.
    order = np.arange(5, 0, -1.0)
    assert rank_agents(pd.DataFrame(np.tile(order, (60, 1)), columns=list("abcde"))).groups == ()
    wider = rank_agents(pd.DataFrame(np.tile(order, (20, 1)), columns=list("abcde")))
    assert wider.groups == (("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"))
    assert wider.iman_davenport_p == 0.0


def test_a_market_without_every_score_is_left_out_and_counted() -> None:
    scores = DEMSAR.copy()
    scores.iloc[3, 1] = NAN
    found = rank_agents(scores)
    assert (found.markets, found.left_out) == (13, 1)
    assert found.average == rank_agents(DEMSAR.drop(index=3)).average


@pytest.mark.parametrize("scores", [DEMSAR[["+m"]], DEMSAR * NAN], ids=["one agent", "no score"])
def test_nothing_to_rank_is_refused(scores: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="expected at least two agents"):
        rank_agents(scores)


def test_two_agents_and_equal_agents_have_defined_ranks() -> None:
    two = rank_agents(DEMSAR[["C4.5", "+m"]])
    assert np.isnan(two.friedman_p)
    assert sum(two.average.values()) == 3.0
    equal = rank_agents(pd.DataFrame(np.ones((5, 3)), columns=list("abc")))
    assert (equal.friedman_p, equal.groups) == (1.0, (("a", "b", "c"),))


# Aggregates over seeds and markets


def scores(seed: int, runs: int, markets: int, *, shift: float = 0.0) -> FloatArray:
    """[S, M] with levels of markets that differ more than seeds."""
    rng = np.random.default_rng(seed)
    return shift + 5.0 * np.arange(markets) + rng.standard_normal((runs, markets))


def test_the_interquartile_mean_by_hand_and_by_scipy() -> None:
    assert interquartile_mean(np.array([[100.0, 1.0], [2.0, -50.0]])) == 1.5
    values = scores(0, 7, 9)
    assert interquartile_mean(values) == stats.trim_mean(values.ravel(), 0.25)


def test_the_probability_of_improvement_by_hand() -> None:
    # Market 1: 1 > 0 and 3 > 0, both wins; market 2: 5 against 5 a draw, 4 against 5 a loss.
    left, right = np.array([[1.0, 5.0], [3.0, 4.0]]), np.array([[0.0, 5.0]])
    assert probability_of_improvement(left, right) == (1.0 + 0.25) / 2
    assert probability_of_improvement(right, left) == 1.0 - (1.0 + 0.25) / 2


def test_the_probability_of_improvement_is_the_mean_mann_whitney_statistic() -> None:
    left, right = scores(1, 6, 4, shift=0.5), scores(2, 5, 4)
    each = [stats.mannwhitneyu(left[:, m], right[:, m]).statistic / 30 for m in range(4)]
    assert probability_of_improvement(left, right) == pytest.approx(np.mean(each))


def test_intervals_are_stratified_so_that_levels_of_markets_do_not_widen_them() -> None:
    found = interquartile_mean_interval(scores(3, 10, 8), seed=0, replications=500)
    assert found.low < found.value < found.high
    # 40 middle scores with deviations near 1: about 4 / sqrt(40); unstratified it would be about 7.
    assert found.high - found.low < 1.5


def test_the_interval_of_no_improvement_covers_a_half() -> None:
    covers = 0
    for seed in range(60):
        left, right = scores(seed, 8, 6), scores(1000 + seed, 8, 6)
        found = probability_of_improvement_interval(left, right, seed=seed, replications=150)
        covers += found.low <= 0.5 <= found.high
    assert covers >= 48  # 57 expected; a percentile bootstrap of 8 seeds is a little short


def test_a_clear_improvement_is_one() -> None:
    found = probability_of_improvement_interval(scores(4, 5, 3, shift=10.0), scores(5, 5, 3), seed=0)
    assert found == (1.0, 1.0, 1.0)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = scores(6, 5, 4)
    first = interquartile_mean_interval(values, seed=1, replications=50)
    assert interquartile_mean_interval(values, seed=1, replications=50) == first
    assert interquartile_mean_interval(values, seed=2, replications=50) != first


def test_one_run_has_no_interval_and_an_undefined_score_no_value() -> None:
    one, hole = scores(7, 1, 4), scores(8, 3, 4)
    found = interquartile_mean_interval(one, seed=0)
    assert np.isfinite(found.value)
    assert np.isnan(found[1:]).all()
    assert np.isnan(probability_of_improvement_interval(one, one, seed=0).low)
    assert np.isfinite(probability_of_improvement_interval(one, scores(9, 3, 4), seed=0, replications=9).low)
    hole[0, 0] = NAN
    assert np.isnan(interquartile_mean_interval(hole, seed=0)).all()
    assert np.isnan(probability_of_improvement_interval(one, hole, seed=0)).all()

"""Learners on markets with a known optimum: they find what is planted, and nothing in noise."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.probes import ar1_optimum, out_of_sample, transfer
from experiments.statistics import sharpe_interval
from qn_env.objectives import sharpe
from qn_env.sources.synthetic import ar1_trend, noise

SEEDS = (0, 1, 2)  # declared in advance
TEST_DAYS = 4000


def share_of_optimum(agent: str, train_days: int) -> float:
    """Mean per-asset Sharpe ratio over seeds and assets, as a share of the closed-form optimum."""
    found = []
    for seed in SEEDS:
        panel = ar1_trend(
            coefficient=0.15, markets=4, assets=5, days=train_days + TEST_DAYS, seed=1000 + seed
        )
        found.append(sharpe(out_of_sample(agent, panel, train_days, seed=seed), axis=0).mean())
    return float(np.mean(found)) / ar1_optimum(0.15)


def noise_interval(agent: str, train_days: int, seed: int) -> tuple[float, float]:
    """95% bootstrap interval of the mean Sharpe ratio over assets, on pure noise."""
    panel = noise(markets=4, assets=5, days=train_days + TEST_DAYS, seed=2000 + seed)
    return sharpe_interval(out_of_sample(agent, panel, train_days, seed=seed)[None], seed=seed)


def test_the_optimum_is_that_of_a_simulated_best_strategy():
    rng = np.random.default_rng(0)
    panel = ar1_trend(
        coefficient=0.15, markets=1, assets=1, days=400_000, volatility=0.01, seed=int(rng.integers(9))
    )
    mu = 0.15 * panel.returns[:-1, 0]
    net = mu / (mu**2 + 0.01**2) * panel.returns[1:, 0]
    assert sharpe(net) == pytest.approx(ar1_optimum(0.15), rel=0.04)


@pytest.mark.parametrize(("agent", "bar"), [("dmn-lstm-sharpe", 0.5), ("quantnet", 0.25)])
def test_a_planted_trend_is_found_from_2000_days(agent, bar):
    assert share_of_optimum(agent, 2000) >= bar


@pytest.mark.parametrize("agent", ["dmn-lstm-sharpe", "quantnet"])
def test_in_noise_nothing_is_found(agent):
    low, high = noise_interval(agent, 2000, seed=0)
    assert low < 0.0 < high


@pytest.mark.slow
@pytest.mark.parametrize(("agent", "bar"), [("dmn-lstm-sharpe", 0.85), ("quantnet", 0.65)])
def test_a_planted_trend_is_found_from_8000_days(agent, bar, record_property):
    share = share_of_optimum(agent, 8000)
    record_property("share_of_optimum", round(share, 3))
    assert share >= bar


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("agent", ["dmn-lstm-sharpe", "quantnet"])
def test_in_noise_nothing_is_found_from_8000_days(agent, seed, record_property):
    low, high = noise_interval(agent, 8000, seed)
    record_property("interval", (round(low, 2), round(high, 2)))
    assert low < 0.0 < high


def test_shared_weights_learn_a_common_law_from_500_days_and_trade_a_market_never_seen():
    found = transfer("quantnet-shared", 500, seed=0, test_days=2000)
    assert found["known"] >= 0.7
    assert found["zero"] >= 0.7
    assert found["new"] >= 0.65


TRANSFER_SEEDS = range(10)  # declared in advance


@pytest.mark.slow
def test_shared_weights_reach_their_bars_over_ten_seeds(record_property):
    found = [transfer("quantnet-shared", 500, seed=seed) for seed in TRANSFER_SEEDS]
    means = {name: float(np.mean([f[name] for f in found])) for name in found[0]}
    record_property("share_of_optimum", {name: round(value, 3) for name, value in means.items()})
    assert means["known"] >= 0.8
    assert means["new"] >= 0.75

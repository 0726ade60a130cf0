"""Rewards by name, against their formulas; money is the same whatever the agent is paid."""

from __future__ import annotations

import numpy as np
import pytest

from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.features import EwVolatility
from qn_env.rewards import REWARDS, RUIN_LOG
from qn_env.sources.synthetic import ragged


def episode(panel, seed=0, **settings):
    """Rewards [T - 1], equity [T - 1], per-asset net [T - 1, N] of random signals."""
    env = TradingEnv(panel, window=1, **settings)
    rng = np.random.default_rng(seed)
    env.reset()
    rewards, equity, net, done = [], [], [], False
    while not done:
        _, reward, terminated, truncated, info = env.step(rng.uniform(-1, 1, panel.shape[1]))
        rewards.append(reward)
        equity.append(info["equity"])
        net.append(info["net"])
        done = terminated or truncated
    return np.array(rewards), np.array(equity), np.array(net)


@pytest.mark.parametrize("name", REWARDS)
def test_the_money_is_the_same_whatever_is_paid(panel, name):
    wanted, found = episode(panel), episode(panel, reward=name)
    np.testing.assert_array_equal(wanted[1], found[1])
    np.testing.assert_array_equal(wanted[2], found[2])
    assert np.isfinite(found[0]).all()


def test_net_rewards_compound_to_the_equity(panel):
    rewards, equity, _ = episode(panel)
    np.testing.assert_allclose(np.cumprod(1 + rewards), equity, rtol=1e-12)


def test_log_rewards_add_up_to_the_log_of_equity(panel):
    rewards, equity, _ = episode(panel, reward="log")
    np.testing.assert_allclose(np.cumsum(rewards), np.log(equity), atol=1e-12)
    assert rewards.min() > RUIN_LOG


def test_volatility_scaled_rewards_weigh_assets_by_their_risk(panel):
    rewards, _, net = episode(panel, reward="volatility_scaled")
    scale = np.nan_to_num(0.15 / (np.sqrt(252) * panel.feature(EwVolatility())))
    share = TradingEnv(panel).tape.share
    np.testing.assert_allclose(rewards, (net * scale[:-1] * share[:-1]).sum(axis=1), atol=1e-15)


def test_the_differential_sharpe_ratio_is_moody_and_saffells():
    panel = ragged(sizes=(2,), days=60, seed=0)
    rewards, _, _ = episode(panel, reward="differential_sharpe")
    plain, _, _ = episode(panel)
    A = B = 0.0
    for found, r in zip(rewards, plain, strict=True):
        up, square, variance = r - A, r * r - B, B - A * A
        wanted = (B * up - 0.5 * A * square) / variance**1.5 if variance > 1e-16 else 0.0
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)
        A, B = A + up / 252, B + square / 252


def test_its_sum_is_the_change_of_the_ew_sharpe_ratio_to_first_order():
    """D_t is the derivative with respect to the adaptation rate: S_t - S_{t-1} = rate * D_t + O(rate^2)."""
    from qn_env.rewards import Reward

    rng = np.random.default_rng(0)
    returns = rng.normal(0.001, 0.01, 500)
    gaps = []
    for rate in (1e-3, 1e-4):
        reward = Reward("differential_sharpe", np.zeros(0), None, rate=rate)
        memory = np.array([0.001, 1.01e-4])
        before = memory[0] / np.sqrt(memory[1] - memory[0] ** 2)
        paid, memory = reward(returns[0], None, 0, None, memory)
        after = memory[0] / np.sqrt(memory[1] - memory[0] ** 2)
        gaps.append(abs(after - before - rate * float(paid)))
    assert gaps[1] < gaps[0] / 50


def test_weighting_assets_alike_is_the_mean_over_all_listed_assets(panel):
    rewards, _, net = episode(panel, weighting="asset")
    for t, reward in enumerate(rewards):
        assert reward == pytest.approx(net[t][panel.listed[t]].mean(), abs=1e-15)


def test_unknown_names_are_refused(panel):
    with pytest.raises(ConfigError, match="Did you mean 'log'"):
        TradingEnv(panel, reward="logs")
    with pytest.raises(ConfigError, match="Did you mean 'market'"):
        TradingEnv(panel, weighting="markets")

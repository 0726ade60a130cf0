"""Exposure limits, and Gymnasium's own wrappers around the environments."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import (
    ClipAction,
    FlattenObservation,
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
    RescaleAction,
    TimeLimit,
)
from gymnasium.wrappers.vector import RecordEpisodeStatistics as RecordVectorStatistics
from hypothesis import assume, given
from hypothesis import strategies as st

import qn_env
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.rewards import WEIGHTINGS
from qn_env.sources.synthetic import noise, ragged
from qn_env.vector import TradingVectorEnv
from qn_env.wrappers import GrossLeverage, LongOnly, MaxWeight

panels = st.builds(
    ragged, sizes=st.sampled_from([(2, 1), (3,), (1, 2, 2)]), days=st.just(60), seed=st.integers(0, 999)
)
caps = st.sampled_from([0.05, 0.3, 1.0, 2.5])
seeds = st.integers(0, 999)
LIMITS = {"long": LongOnly, "weight": lambda e: MaxWeight(e, 0.4), "gross": lambda e: GrossLeverage(e, 0.2)}


def steps(env: gymnasium.Env, seed: int):
    """Signals, observation, reward and info of every step of an episode of random signals."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    done = False
    while not done:
        signals = rng.uniform(-1, 1, env.unwrapped.action_space.shape)
        observation, reward, terminated, truncated, info = env.step(signals)
        yield signals, observation, float(reward), info
        done = terminated or truncated


@given(panel=panels, seed=seeds)
def test_long_only_never_holds_a_short(panel, seed):
    limited = LongOnly(TradingEnv(panel, window=1, vol_target=0.15))
    cut = TradingEnv(panel, window=1, vol_target=0.15)
    cut.reset()
    for signals, observation, reward, _ in steps(limited, seed):
        assert (observation["positions"] >= 0).all()
        assert reward == cut.step(np.maximum(signals, 0.0))[1]


@given(panel=panels, seed=seeds, cap=caps, lag=st.sampled_from([0, 0, 1, 2]))
def test_no_weight_exceeds_its_cap_on_any_day(panel, seed, cap, lag):
    env = MaxWeight(TradingEnv(panel, window=1, vol_target=0.15, execution_lag=lag), cap)
    held = [np.abs(observation["positions"]) for _, observation, *_ in steps(env, seed)]
    assert np.max(held) <= cap * (1 + 1e-12)


@given(panel=panels, seed=seeds, cap=caps, weighting=st.sampled_from(WEIGHTINGS))
def test_gross_leverage_stays_within_its_cap_on_every_day(panel, seed, cap, weighting):
    inner = TradingEnv(panel, window=1, vol_target=0.15, weighting=weighting)
    env, tape = GrossLeverage(inner, cap), inner.tape
    env.reset()
    rng, truncated = np.random.default_rng(seed), False
    while not truncated:
        t, share, kept = inner.row, inner.share, inner.positions
        signals = rng.uniform(-1, 1, inner.action_space.shape)
        target = env.action(signals) * tape.scale[t]
        truncated = env.step(signals)[3]
        weight = np.where(tape.live[t], target, kept)
        closed = (share * np.abs(kept))[~tape.live[t]].sum()
        assert (share * np.abs(weight)).sum() <= max(cap, closed) + 1e-12
        still = tape.listed[t + 1]
        np.testing.assert_array_equal(inner.positions[still], (weight * tape.listed[t])[still])


@given(seed=seeds, cap=caps)
def test_where_all_trade_the_leverage_held_is_within_the_cap_and_signals_keep_their_proportions(seed, cap):
    panel = noise(markets=3, assets=2, days=40, seed=seed)
    inner = TradingEnv(panel, window=1, vol_target=0.15)
    env = GrossLeverage(inner, cap)
    env.reset()
    rng = np.random.default_rng(seed)
    for t in range(38):
        signals = rng.uniform(-1, 1, 6)
        wanted = np.abs(signals * inner.tape.scale[t]).mean()
        env.step(signals)
        factor = min(1.0, cap / wanted) if wanted > 0 else 1.0
        np.testing.assert_allclose(inner.positions, factor * signals * inner.tape.scale[t], rtol=1e-12)
        assert (inner.share * np.abs(inner.positions)).sum() <= cap + 1e-12


@given(panel=panels, seed=seeds, limit=st.sampled_from(sorted(LIMITS)))
def test_signals_within_the_limit_pass_unchanged(panel, seed, limit):
    env = LIMITS[limit](TradingEnv(panel, window=1, vol_target=0.15))
    env.reset()
    rng, truncated = np.random.default_rng(seed), False
    while not truncated:
        small = rng.uniform(0, 1e-3, env.action_space.shape)
        np.testing.assert_array_equal(env.action(small), small)
        truncated = env.step(small)[3]


@given(panel=panels, seed=seeds, limit=st.sampled_from(sorted(LIMITS)))
def test_a_limit_that_binds_changes_signals_only_towards_zero(panel, seed, limit):
    env = LIMITS[limit](TradingEnv(panel, window=1, vol_target=0.15))
    env.reset()
    rng, truncated, bound = np.random.default_rng(seed), False, False
    while not truncated:
        signals = rng.uniform(-1, 1, env.action_space.shape)
        found = env.action(signals)
        assert (np.abs(found) <= np.abs(signals)).all()
        assert (found * signals >= 0).all()
        bound |= not np.array_equal(found, signals)
        truncated = env.step(signals)[3]
    assume(bound)


def test_leverage_counts_only_the_markets_of_the_episode(panel):
    inner = TradingEnv(panel, window=1)
    env = GrossLeverage(inner, 0.5)
    env.reset(options={"markets": ["M1"], "start": panel.dates[100]})
    for _ in range(20):
        t = inner.row
        env.step(np.ones(8))
        if inner.tape.live[t, panel.markets["M1"].columns].all():
            assert (inner.share * np.abs(inner.positions)).sum() == pytest.approx(0.5)


@pytest.mark.parametrize("wrapper", [MaxWeight, GrossLeverage])
@pytest.mark.parametrize("cap", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bad_cap_is_refused(panel, wrapper, cap):
    with pytest.raises(ConfigError, match="expected a positive number"):
        wrapper(TradingEnv(panel), cap)


@pytest.mark.parametrize("limit", sorted(LIMITS))
def test_a_limit_wraps_only_a_trading_environment(limit):
    with pytest.raises(ConfigError, match="not a CartPoleEnv"):
        LIMITS[limit](gymnasium.make("CartPole-v1"))


@pytest.mark.parametrize("limit", sorted(LIMITS))
@pytest.mark.parametrize(
    ("action", "message"),
    [(np.zeros(3), "has shape"), (np.full(8, np.nan), "expected a signal"), (np.full(8, -2.0), "is -2.0")],
)
def test_what_the_environment_refuses_is_refused_before_it_is_cut(panel, limit, action, message):
    env = LIMITS[limit](TradingEnv(panel))
    env.reset()
    with pytest.raises(ConfigError, match=message):
        env.step(action)


@pytest.mark.parametrize("limit", sorted(LIMITS))
def test_stepping_a_limited_environment_before_reset_is_refused(panel, limit):
    with pytest.raises(ConfigError, match="call reset"):
        LIMITS[limit](TradingEnv(panel)).step(np.zeros(8))


def test_todays_row_positions_and_share_are_public_and_copies(panel):
    env = TradingEnv(panel, window=1)
    assert env.row == -1
    for part in ("positions", "share"):
        with pytest.raises(ConfigError, match="call reset first"):
            getattr(env, part)
    env.reset()
    for t in range(5):
        assert env.row == t
        observation = env.step(np.full(8, 0.5))[0]
        np.testing.assert_array_equal(env.positions, observation["positions"])
        np.testing.assert_array_equal(env.share, env.tape.share[t + 1])
        env.positions[...] = env.share[...] = 7.0
        np.testing.assert_array_equal(env.positions, observation["positions"])
        np.testing.assert_array_equal(env.share, env.tape.share[t + 1])


def test_limits_are_made_again_from_their_spec(panel):
    env = GrossLeverage(MaxWeight(LongOnly(gymnasium.make(qn_env.ENV_ID, panel=panel)), 0.5), 0.25)
    again = gymnasium.make(env.spec)
    for one in (env, again):
        one.reset(seed=0)
    signals = np.linspace(-1, 1, 8)
    np.testing.assert_array_equal(env.step(signals)[0]["positions"], again.step(signals)[0]["positions"])


@pytest.mark.parametrize("limit", sorted(LIMITS))
def test_gymnasiums_checker_finds_nothing_in_a_limited_environment(panel, limit):
    env = LIMITS[limit](gymnasium.make(qn_env.ENV_ID, panel=panel))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # It advises against checking any wrapper.
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version.*")
        check_env(env, skip_render_check=True)


def test_long_only_declares_what_makes_a_difference_and_rescales(panel):
    env = LongOnly(TradingEnv(panel, window=1))
    assert env.action_space == spaces.Box(0.0, 1.0, (8,), np.float32)
    spread = RescaleAction(env, np.float32(-1), np.float32(1))
    spread.reset(options={"start": panel.dates[100]})
    held = spread.step(np.zeros(8, dtype=np.float32))[0]["positions"]
    assert set(held) <= {0.0, 0.5}
    assert 0.5 in held


def test_an_episodes_statistics_are_the_sum_of_its_rewards(panel):
    env = RecordEpisodeStatistics(TradingEnv(panel, window=1))
    played = list(steps(env, 3))
    episode = played[-1][3]["episode"]
    assert episode["r"] == pytest.approx(sum(reward for *_, reward, _ in played), abs=1e-12)
    assert episode["l"] == len(played) == len(panel.dates) - 1


def test_a_time_limit_truncates(panel):
    env = TimeLimit(TradingEnv(panel, window=1), max_episode_steps=5)
    assert len(list(steps(env, 0))) == 5


@pytest.mark.parametrize("view", ["window", "row", "index"])
def test_flattened_observations_can_be_normalised(panel, view):
    env = FlattenObservation(TradingEnv(panel, window=3, observation=view))
    assert env.observation_space.contains(env.reset()[0])
    normalised = NormalizeObservation(env)
    seen = np.array([observation for _, observation, *_ in steps(normalised, 0)])
    assert np.isfinite(seen).all()
    assert np.abs(seen[100:].mean()) < 1.0


def test_rewards_can_be_normalised(panel):
    rewards = [reward for *_, reward, _ in steps(NormalizeReward(TradingEnv(panel, window=1)), 0)]
    assert np.isfinite(rewards).all()
    assert np.std(rewards[100:]) > 0.1


def test_actions_can_be_clipped_and_rescaled(panel):
    options = {"start": panel.dates[100]}
    clipped, plain = ClipAction(TradingEnv(panel, window=1)), TradingEnv(panel, window=1)
    rescaled = RescaleAction(TradingEnv(panel, window=1), np.float32(0), np.float32(10))
    for env in (clipped, plain, rescaled):
        env.reset(options=options)
    wanted = plain.step(np.ones(8))[1]
    assert clipped.step(np.full(8, 7.0, dtype=np.float32))[1] == wanted
    assert rescaled.step(np.full(8, 10.0, dtype=np.float32))[1] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_a_vectors_statistics_are_the_sums_of_its_rewards(panel, mode):
    B, days = 3, 6
    env = RecordVectorStatistics(
        TradingVectorEnv(B, panel=panel, window=1, random_start=True, episode_days=days, autoreset_mode=mode)
    )
    env.reset(seed=0)
    rng, total, ended = np.random.default_rng(0), np.zeros(B), 0
    for _ in range(4 * days):
        _, rewards, terminated, truncated, info = env.step(rng.uniform(-1, 1, (B, 8)))
        total += rewards
        over = terminated | truncated
        if over.any():
            facts = info["episode"]
            np.testing.assert_allclose(facts["r"][over], total[over], rtol=0, atol=1e-7)
            assert set(facts["l"][over]) == {days}
            total[over], ended = 0.0, ended + int(over.sum())
    assert ended >= 3 * B

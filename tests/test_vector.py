"""The native vector environment: the scalar one, many times at once, in every autoreset mode."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from changing import Quoted
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

import qn_env
from qn_env.costs import Borrow, Financing, HalfSpread, SquareRootImpact
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.features import MeanReturn
from qn_env.rewards import REWARDS
from qn_env.sources.synthetic import noise, ragged
from qn_env.vector import TradingVectorEnv

EVERY_COST = (HalfSpread(1.5), SquareRootImpact(capital=1e6, volume=1e8), Borrow(50.0), Financing(200.0))

settings_of = st.fixed_dictionaries(
    {
        "window": st.integers(1, 4),
        "vol_target": st.sampled_from([None, 0.15]),
        "execution_lag": st.sampled_from([0, 0, 1, 2]),
        "reward": st.sampled_from(REWARDS),
        "weighting": st.sampled_from(["market", "asset"]),
        "observation": st.sampled_from(["window", "row", "index"]),
        "positions": st.booleans(),
        "costs": st.sampled_from([(), EVERY_COST, (Quoted(),)]),
        "features": st.sampled_from([(), (MeanReturn(3),)]),
        "random_start": st.booleans(),
        "episode_days": st.sampled_from([None, 7]),
    }
)
panels = st.one_of(
    st.builds(
        ragged, sizes=st.sampled_from([(2, 1), (3,)]), days=st.integers(30, 45), seed=st.integers(0, 999)
    ),
    st.builds(
        noise, markets=st.just(2), assets=st.just(2), days=st.integers(20, 30), seed=st.integers(0, 999)
    ),
)


def assert_alike(mine: dict, theirs: dict) -> None:
    assert set(mine) == set(theirs)
    for name, part in mine.items():
        np.testing.assert_allclose(part, theirs[name], rtol=0, atol=1e-12, err_msg=name)


@given(
    panel=panels,
    settings=settings_of,
    seed=st.integers(0, 99),
    mode=st.sampled_from(["NextStep", "SameStep"]),
)
@example_settings(max_examples=40)
def test_every_environment_of_a_batch_is_a_scalar_one(panel, settings, seed, mode):
    B = 3
    vector = TradingVectorEnv(B, panel=panel, autoreset_mode=mode, **settings)
    scalars = [TradingEnv(panel, **settings) for _ in range(B)]
    observation, info = vector.reset(seed=seed)
    starts = [env.reset(seed=seed + b) for b, env in enumerate(scalars)]
    rng, over = np.random.default_rng(seed), np.zeros(B, dtype=bool)
    for b in range(B):
        assert_alike({k: v[b] for k, v in observation.items()}, starts[b][0])
    for _ in range(40):
        actions = rng.uniform(-1, 1, (B, panel.shape[1]))
        observation, rewards, terminated, truncated, info = vector.step(actions)
        for b, env in enumerate(scalars):
            if over[b]:
                seen, expected = env.reset(), (0.0, False, False)
                seen, facts = seen
                over[b] = False
            else:
                seen, reward, *ends, facts = env.step(actions[b])
                expected = (reward, *ends)
                over[b] = any(ends)
            assert (terminated[b], truncated[b]) == expected[1:]
            assert rewards[b] == pytest.approx(expected[0], abs=1e-12)
            if over[b] and mode == "SameStep":
                assert info["_final_obs"][b]
                assert_alike({k: v[b] for k, v in info["final_obs"].items()}, seen)
                assert str(info["final_info"]["date"][b]) == facts["date"]
                np.testing.assert_allclose(info["final_info"]["net"][b], facts["net"], rtol=0, atol=1e-12)
                seen, facts = env.reset()
                over[b] = False
            assert_alike({k: v[b] for k, v in observation.items()}, seen)
            assert str(info["date"][b]) == facts["date"]
            assert info["equity"][b] == pytest.approx(facts["equity"], abs=1e-12)
            for field in ("gross", "turnover", "cost", "net"):
                np.testing.assert_allclose(info[field][b], facts[field], rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_make_vec_gives_the_native_environment_in_every_autoreset_mode(panel, mode):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make_vec(
            qn_env.ENV_ID,
            num_envs=4,
            vectorization_mode="vector_entry_point",
            panel=panel,
            autoreset_mode=mode,
        )
    assert isinstance(env.unwrapped, TradingVectorEnv)
    assert env.unwrapped.metadata["autoreset_mode"] is mode
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)


def test_the_spaces_are_those_of_gymnasiums_own_vector_environment(panel):
    mine, theirs = TradingVectorEnv(3, panel=panel), SyncVectorEnv([lambda: TradingEnv(panel)] * 3)
    assert mine.observation_space == theirs.observation_space
    assert mine.action_space == theirs.action_space
    assert mine.single_observation_space == theirs.single_observation_space


def test_with_autoreset_disabled_the_caller_resets_what_has_ended(panel):
    env = TradingVectorEnv(2, panel=panel, window=2, episode_days=3, autoreset_mode="Disabled")
    env.reset(seed=0)
    flat = np.zeros((2, panel.shape[1]))
    for _ in range(3):
        _, _, _, truncated, _ = env.step(flat)
    assert truncated.all()
    with pytest.raises(ConfigError, match="environment 0 has ended"):
        env.step(flat)
    observation, info = env.reset(options={"reset_mask": np.array([True, False])})
    assert info["date"][0] < info["date"][1]
    with pytest.raises(ConfigError, match="environment 1 has ended"):
        env.step(flat)
    env.reset(options={"reset_mask": np.array([False, True])})
    env.step(flat)
    assert observation["returns"].shape == (2, 2, panel.shape[1])


def test_environments_start_on_days_of_their_own_and_alike_from_the_same_seed(panel):
    env = TradingVectorEnv(16, panel=panel, random_start=True, episode_days=10)
    first = env.reset(seed=3)[1]["date"]
    assert len(set(first)) > 5
    np.testing.assert_array_equal(env.reset(seed=3)[1]["date"], first)
    assert not np.array_equal(env.reset(seed=4)[1]["date"], first)


def test_writing_into_what_was_returned_changes_nothing(panel):
    options = {"panel": panel, "window": 2, "episode_days": 4, "autoreset_mode": "SameStep"}
    honest, env = TradingVectorEnv(3, **options), TradingVectorEnv(3, **options)
    rng = np.random.default_rng(0)
    for e in (honest, env):
        e.reset(seed=0)
    for _ in range(10):
        actions = rng.uniform(-1, 1, (3, panel.shape[1]))
        wanted, found = honest.step(actions), env.step(actions)
        np.testing.assert_array_equal(wanted[1], found[1])
        assert_alike(found[0], wanted[0])
        for part in (*found[0].values(), found[1], found[4]["net"], found[4]["equity"], found[4]["gross"]):
            part[...] = 77.0 if part.dtype != np.int8 else 7


def test_options_of_reset_reach_every_environment(panel):
    env = TradingVectorEnv(2, panel=panel, window=1)
    start = panel.dates[100]
    _, info = env.reset(options={"start": start, "length": 5, "markets": ["M2"]})
    assert (info["date"] == start).all()
    outside = panel.markets["M0"].columns
    for step in range(5):
        observation, _, _, truncated, info = env.step(np.ones((2, panel.shape[1])))
        assert not observation["positions"][:, outside].any()
        assert not info["net"][:, outside].any()
        assert truncated.all() == (step == 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda env: env.step(np.zeros((2, 8))), "before reset"),
        (lambda env: env.reset(options={"reset_mask": np.ones(2, dtype=bool)}), "first reset"),
        (lambda env: env.reset(seed=[1]), "1 seeds for 2"),
        (lambda env: env.reset(options={"stat": 1}), "Did you mean 'start'"),
        (lambda env: (env.reset(), env.step(np.zeros((2, 3)))), "have shape"),
        (lambda env: (env.reset(), env.step(np.full((2, 8), np.nan))), "expected a signal"),
    ],
)
def test_bad_calls_are_refused(panel, call, message):
    with pytest.raises(ConfigError, match=message):
        call(TradingVectorEnv(2, panel=panel))


def test_a_batch_draws_no_pictures(panel):
    with pytest.raises(ConfigError, match="draws no pictures"):
        TradingVectorEnv(2, panel=panel, render_mode="rgb_array")


def test_no_environment_is_refused(panel):
    with pytest.raises(ConfigError, match="num_envs is 0"):
        TradingVectorEnv(0, panel=panel)


def test_what_a_day_leaves_out_does_not_matter_on_it(panel):
    """A day's fields are None exactly where they would change nothing."""
    tape = TradingEnv(panel, vol_target=0.15).tape
    for t in range(len(panel.dates) - 1):
        day = tape.day(t)
        assert (day.live is None) == tape.live[t][tape.listed[t]].all()
        assert (day.awake_tp1 is None) == tape.awake[t + 1][tape.listed[t + 1]].all()
        assert (day.exit_tp1 is None) == (not tape.exits[t + 1].any())
        assert not tape.scale[t][~tape.listed[t]].any()
    dense = TradingEnv(noise(markets=2, assets=2, days=20, seed=0)).tape.day(3)
    assert dense.scale is dense.live is dense.awake_tp1 is dense.exit_tp1 is dense.decides is None

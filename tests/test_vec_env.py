"""The Stable-Baselines3 adapter: their algorithms train on the native batch."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
from gymnasium import spaces

from agents.sb3.vec_env import SB3VecEnv
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.sources.synthetic import noise
from qn_env.vector import TradingVectorEnv


def adapter(panel, *, flat=True, **settings) -> SB3VecEnv:
    return SB3VecEnv(TradingVectorEnv(3, panel=panel, autoreset_mode="SameStep", **settings), flat=flat)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_it_plays_what_make_vec_made_in_any_mode(panel, mode):
    settings = {"panel": panel, "window": 2, "episode_days": 3}
    made = gymnasium.make_vec("qn_env/Trading-v0", num_envs=3, autoreset_mode=mode, **settings)
    own, wanted = SB3VecEnv(made), adapter(panel, window=2, episode_days=3)
    for env in (own, wanted):
        env.seed(0)
    np.testing.assert_array_equal(own.reset(), wanted.reset())
    signals = np.full((3, panel.shape[1]), 0.5)
    for _ in range(7):  # over the end of two episodes
        for mine, theirs in zip(own.step(signals), wanted.step(signals), strict=True):
            assert str(mine) == str(theirs)
    assert made.autoreset_mode.value == mode, "what was given is as it was"
    made.reset(seed=0)
    made.step(signals)


def test_another_vector_environment_is_refused():
    other = gymnasium.make_vec("CartPole-v1", num_envs=2)
    with pytest.raises(ConfigError, match=r"expected the TradingVectorEnv of gymnasium\.make_vec"):
        SB3VecEnv(other)
    with pytest.raises(ConfigError, match="expected the TradingVectorEnv"):
        SB3VecEnv(TradingEnv(noise(markets=1, assets=1, days=30, seed=0)))


def test_a_flat_observation_is_gymnasiums(panel):
    env, single = adapter(panel, window=2), TradingEnv(panel, window=2)
    observation, _ = single.reset()
    wanted = spaces.flatten(single.observation_space, observation).astype(np.float32)
    np.testing.assert_array_equal(env.reset()[1], wanted)


def test_the_end_of_an_episode_is_delivered_as_stable_baselines3_reads_it(panel):
    env, single = adapter(panel, window=2, episode_days=2), TradingEnv(panel, window=2, episode_days=2)
    env.reset()
    single.reset()
    signals = np.full((3, panel.shape[1]), 0.5)
    first = env.step(signals)
    single.step(signals[0])
    assert first[3] == [{}, {}, {}]
    observation, _, dones, infos = env.step(signals)
    last = single.step(signals[0])[0]
    assert dones.all()
    flat = spaces.flatten(single.observation_space, last).astype(np.float32)
    for b in range(3):
        np.testing.assert_array_equal(infos[b]["terminal_observation"], flat)
        assert infos[b]["TimeLimit.truncated"] is True
    np.testing.assert_array_equal(observation, env.reset())


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("name", ["PPO", "A2C", "SAC", "TD3", "RecurrentPPO"])
def test_algorithms_train_on_it(name, flat):
    panel = noise(markets=1, assets=2, days=80, seed=0)
    env = adapter(panel, flat=flat, window=2, random_start=True, episode_days=20)
    off_policy = name in ("SAC", "TD3")
    options = {"learning_starts": 30, "buffer_size": 500} if off_policy else {"n_steps": 16}
    if "PPO" in name:
        options["batch_size"] = 16
    memory = "Lstm" if name == "RecurrentPPO" else ""
    policy = f"Mlp{memory}Policy" if flat else f"MultiInput{memory}Policy"
    package = sb3_contrib if memory else stable_baselines3
    model = getattr(package, name)(policy, env, seed=0, device="cpu", **options)
    before = [p.clone() for p in model.policy.parameters()]
    model.learn(96)
    assert any(
        not np.array_equal(a.detach(), b.detach())
        for a, b in zip(before, model.policy.parameters(), strict=True)
    )


def test_the_same_seed_gives_the_same_rollout(panel):
    def rollout() -> list:
        env = adapter(panel, window=1, random_start=True, episode_days=5)
        env.seed(7)
        env.reset()
        return [env.step(np.full((3, panel.shape[1]), 0.1))[0] for _ in range(12)]

    np.testing.assert_array_equal(rollout(), rollout())


def test_what_a_batch_cannot_do_is_refused(panel):
    env = adapter(panel)
    assert env.env_is_wrapped(object) == [False] * 3
    assert env.get_attr("num_envs") == [3] * 3
    with pytest.raises(ConfigError, match="share their settings"):
        env.set_attr("window", 3)
    with pytest.raises(ConfigError, match="no single environments"):
        env.env_method("reset")


def test_a_trained_policy_is_evaluated_as_the_same_function():
    """What the agent does is the mode of the trained distribution, clipped to the action space, no more."""
    import torch

    from agents.sb3 import SB3Agent

    panel = noise(markets=1, assets=2, days=700, seed=0)
    agent = SB3Agent(timesteps=1024)
    settings = agent.settings
    env = TradingEnv(panel, window=1, features=settings.features, vol_target=settings.vol_target)
    agent.fit(env, seed=0)
    observation, _ = env.reset(options={"start": panel.dates[500]})
    flat = spaces.flatten(env.observation_space, observation)
    mean, spread = agent.normalisation()
    normal = torch.tensor(np.clip((flat - mean) / spread, -10, 10), dtype=torch.float32)[None]
    mode = agent.policy.get_distribution(normal).mode()[0].detach().double().numpy()
    np.testing.assert_allclose(agent.act(observation), np.clip(mode, -1, 1), atol=1e-6)


def test_training_leaves_no_folder_among_the_temporary_files(tmp_path, monkeypatch):
    from agents.sb3 import SB3Agent

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    panel = noise(markets=1, assets=2, days=700, seed=0)
    agent = SB3Agent("PPO", timesteps=64, options={"n_steps": 32, "batch_size": 32, "n_epochs": 1})
    env = TradingEnv(panel, window=1, features=agent.settings.features)
    agent.fit(env, seed=0)
    assert list(tmp_path.iterdir()) == []

"""Every algorithm of Stable-Baselines3 and sb3-contrib for continuous actions keeps the laws of an agent."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
import torch
from finished import small_panel, write_panel
from gymnasium import spaces
from stable_baselines3 import A2C, SAC
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.env_util import make_vec_env

from agents.agent import load_agent, make_agent, play
from agents.audit import audit_agent
from agents.sb3 import ALGORITHMS, SB3Agent
from agents.sb3.algorithms import MOST_REPLAYED, find_algorithm
from agents.sb3.joint import validation_sharpe
from agents.space import draw
from experiments.cli import main
from experiments.running.search import Search
from experiments.running.units import Variant
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged
from qn_env.storage import read_sealed, write_sealed

RECURRENT = "sb3_contrib:RecurrentPPO"
every_algorithm = pytest.mark.parametrize("name", ALGORITHMS)


class OwnSAC(SAC):
    """One's own: what it does not name goes on to its base."""

    def __init__(self, *args: Any, gamma: float = 0.5, **more: Any) -> None:
        super().__init__(*args, gamma=gamma, **more)


class Quantiles(SB3Agent):
    algorithm = "sb3_contrib:TQC"


class Own(SB3Agent):
    algorithm = OwnSAC


@lru_cache
def market() -> Panel:
    return ragged(sizes=(2, 1), days=160, seed=3)


def environment(panel: Panel) -> TradingEnv:
    settings = SB3Agent().settings
    return TradingEnv(panel, window=1, features=settings.features, vol_target=settings.vol_target)


def untrained(name: Any, kind: type[SB3Agent] = SB3Agent) -> SB3Agent:
    """A small network that learns for some dozens of steps."""
    learner = find_algorithm(name)
    small = {"net_arch": [8]} | ({"lstm_hidden_size": 8} if "Lstm" in learner.policy else {})
    tiny: dict[str, Any] = {"policy_kwargs": small, "batch_size": 16, "n_delta": 1}
    off_policy = "buffer_size" in learner.options
    tiny |= {"learning_starts": 16, "buffer_size": 64} if off_policy else {"n_steps": 16}
    taken = {key: value for key, value in tiny.items() if key in learner.options}
    return kind(timesteps=32, **taken) if kind.algorithm else kind(name, timesteps=32, **taken)


def fitted(name: Any, kind: type[SB3Agent] = SB3Agent) -> SB3Agent:
    panel = market()
    return untrained(name, kind).fit(environment(panel.until(panel.dates[100])), seed=0)


trained = lru_cache(fitted)  # tests must not change it beyond `reset`


def signals(agent: SB3Agent) -> np.ndarray:
    return play(agent, environment(market()))


@every_algorithm
def test_it_acts_forgets_and_does_the_same_with_the_same_seed(name):
    found = signals(trained(name))
    assert found.shape == market().shape
    assert np.abs(found).max() <= 1.0
    assert len(np.unique(found[:-1])) > 100, "signals that do not answer to what is seen show nothing"
    np.testing.assert_array_equal(signals(trained(name)), found)
    np.testing.assert_array_equal(signals(fitted(name)), found)


@every_algorithm
def test_it_does_not_know_the_future(name):
    assert audit_agent(trained(name), environment(market())).active > 0


@every_algorithm
def test_save_and_load_agree(name, tmp_path):
    trained(name).save(tmp_path)
    again = load_agent("ppo-joint", tmp_path)
    assert again.algorithm == name
    np.testing.assert_array_equal(signals(again), signals(trained(name)))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


@every_algorithm
def test_whatever_a_search_draws_builds_a_model(name):
    space = SB3Agent(name).space
    assert len(space) > 2
    for trial in range(2):
        agent = SB3Agent(name, **draw(space, seed=0, trial=trial))
        assert set(space) <= set(agent.options)
        untouched = dict(agent.options)
        find_algorithm(name).build(make_vec_env("Pendulum-v1"), agent.options)
        assert agent.options == untouched


def test_the_spaces_and_defaults_of_the_five_and_of_the_others():
    spaces_of = {name: set(SB3Agent(name).space) for name in ALGORITHMS}
    common, off = {"learning_rate", "gamma"}, {"batch_size", "tau", "train_freq"}
    rollouts = {*common, "gae_lambda", "ent_coef", "n_steps", "n_epochs", "clip_range"}
    assert spaces_of["PPO"] == spaces_of[RECURRENT] == rollouts
    assert spaces_of["A2C"] == {*common, "gae_lambda", "ent_coef", "n_steps"}
    assert spaces_of["DDPG"] == spaces_of["SAC"] == spaces_of["TD3"] == common | off
    assert spaces_of["sb3_contrib:CrossQ"] == common | off - {"tau"}, "it has no target network"
    assert spaces_of["sb3_contrib:TQC"] == {*common, *off, "top_quantiles_to_drop_per_net"}
    assert spaces_of["sb3_contrib:TRPO"] == {
        *common,
        "gae_lambda",
        "n_steps",
        "target_kl",
        "n_critic_updates",
    }
    assert spaces_of["sb3_contrib:ARS"] == {"learning_rate", "n_delta", "delta_std"}
    for name in ("SAC", "sb3_contrib:TQC", "sb3_contrib:CrossQ", OwnSAC):
        assert SB3Agent(name).options == {"buffer_size": MOST_REPLAYED}
    assert SB3Agent(RECURRENT).options == SB3Agent("PPO").options
    assert SB3Agent("PPO", options={}).options == {}


def test_a_search_with_a_fixed_algorithm_draws_what_that_one_takes():
    fixed = {"algorithm": "sb3_contrib:TQC", "timesteps": 32}
    one = Search(label="a", variant=Variant("ppo-joint"), trials=range(1), seed=0, fixed=fixed)
    assert "tau" in one.space
    assert "clip_range" not in one.space
    assert make_agent("ppo-joint", options=one.options(0)).algorithm == "sb3_contrib:TQC"


# A policy with a memory.


def flat_observations() -> tuple[TradingEnv, list[dict[str, np.ndarray]]]:
    """An environment, and what it showed while the recurrent agent played it."""
    env, agent = environment(market()), trained(RECURRENT)
    agent.reset()
    seen, done = [env.reset()[0]], False
    while not done:
        observation, _, terminated, truncated, _ = env.step(agent.act(seen[-1]))
        seen.append(observation)
        done = terminated or truncated
    return env, seen[:-1]


def test_a_memory_played_day_by_day_equals_one_pass_over_the_sequence():
    agent, (env, seen) = trained(RECURRENT), flat_observations()
    mean, spread = agent.normalisation()
    flat = np.stack([spaces.flatten(env.observation_space, one) for one in seen])
    normal = torch.tensor(np.clip((flat - mean) / spread, -10, 10), dtype=torch.float32)
    begin = torch.zeros(len(seen))
    begin[0] = 1.0
    zeros = torch.zeros(agent.policy.lstm_hidden_state_shape)
    with torch.no_grad():
        distribution, _ = agent.policy.get_distribution(normal, (zeros, zeros), begin)
    at_once = np.clip(distribution.mode().double().numpy(), -1.0, 1.0)
    agent.reset()
    np.testing.assert_allclose(at_once, [agent.act(one) for one in seen], atol=1e-6)


def test_a_memory_is_carried_and_reset_forgets_it():
    agent, (_, seen) = trained(RECURRENT), flat_observations()
    agent.reset()
    fresh = agent.act(seen[80])
    assert not np.array_equal(agent.act(seen[80]), fresh), "the day before leaves its trace"
    agent.reset()
    np.testing.assert_array_equal(agent.act(seen[80]), fresh)


def test_a_training_leaves_no_memory_of_its_validation(tmp_path):
    agent = fitted(RECURRENT)
    observation, _ = environment(market()).reset()
    first = agent.act(observation)
    validation_sharpe(agent, environment(market()))
    agent.save(tmp_path)
    for other in (agent, SB3Agent.load(tmp_path)):
        other.reset()
        np.testing.assert_array_equal(other.act(observation), first)
    np.testing.assert_array_equal(SB3Agent.load(tmp_path).act(observation), first)


# Which algorithms there are.


@pytest.mark.parametrize(
    "name",
    ["DQN", "stable_baselines3:DQN", "sb3_contrib:QRDQN", "sb3_contrib:MaskablePPO", stable_baselines3.DQN],
)
def test_an_algorithm_for_discrete_actions_is_refused_at_once(name):
    says = (
        r"cannot be built for signals, which are continuous \(a Box\): .*Discrete.*such as .*sb3_contrib:TQC"
    )
    with pytest.raises(ConfigError, match=says):
        SB3Agent(name)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("TQC", r"unknown algorithm 'TQC'. Did you mean 'sb3_contrib:TQC'\? Known: A2C"),
        ("PP0", "unknown algorithm 'PP0'. Did you mean 'PPO'"),
        ("sb3_contrib:TRP", "Did you mean 'sb3_contrib:TRPO'"),
        ("stable_baselines3:HerReplayBuffer", "unknown algorithm 'stable_baselines3:HerReplayBuffer'"),
        ("stable_baselines3:common", "unknown algorithm"),
        ("stable_baselines3.sac.sac:SAC", "expected an import path stable_baselines3:CLASS or sb3_contrib"),
        ("os:system", "One of your own is given as the class itself"),
        (BaseAlgorithm, r"BaseAlgorithm: has the policies none, expected MlpPolicy or MlpLstmPolicy"),
        (dict, "algorithm is the class dict, expected a name .* or a class that derives from"),
        (7, "algorithm is 7, expected a name"),
    ],
)
def test_what_is_no_algorithm_is_refused_with_what_would_be(given, says):
    with pytest.raises(ConfigError, match=says):
        SB3Agent(given)


@pytest.mark.parametrize("name", ["seed", "policy", "env", "n_epoch"])
def test_an_option_that_is_the_agents_own_or_unknown_is_refused(name):
    with pytest.raises(ConfigError, match=f"PPO takes no option '{name}'"):
        SB3Agent("PPO", **{name: 1})


def test_a_name_a_path_and_a_class_are_the_same_algorithm():
    for given in ("SAC", "stable_baselines3:SAC", SAC):
        assert SB3Agent(given).algorithm == "SAC"
    assert (
        SB3Agent(sb3_contrib.TQC).algorithm == SB3Agent("sb3_contrib:TQC").algorithm == Quantiles().algorithm
    )
    assert repr(Quantiles()) == "Quantiles('sb3_contrib:TQC', timesteps=20480)"


def test_a_class_of_ones_own_takes_the_options_of_its_base():
    agent = Own(gamma=0.9, tau=0.01)
    assert agent.algorithm == f"{__name__}:OwnSAC"
    assert agent.options == {"buffer_size": MOST_REPLAYED, "gamma": 0.9, "tau": 0.01}
    assert set(agent.space) == set(SB3Agent("SAC").space)
    with pytest.raises(ConfigError, match=r"takes no option 'gama'.*'gamma'"):
        Own(gama=0.9)


def test_an_agent_of_one_algorithm_takes_no_other():
    assert Quantiles("sb3_contrib:TQC").algorithm == "sb3_contrib:TQC"
    with pytest.raises(ConfigError, match=r"Quantiles learns by sb3_contrib:TQC .* and PPO was given"):
        Quantiles("PPO")


def test_training_changes_no_option_that_a_checkpoint_holds(tmp_path):
    """A2C writes its optimiser's class into the options of its policy."""
    given = {"policy_kwargs": {"net_arch": [8]}, "n_steps": 16}
    agent = SB3Agent(A2C, 32, given).fit(environment(market()), seed=0)
    agent.save(tmp_path)
    assert (
        read_sealed(tmp_path / "agent.json")["options"]
        == given
        == {
            "policy_kwargs": {"net_arch": [8]},
            "n_steps": 16,
        }
    )


def test_a_pair_comes_back_from_its_checkpoint_as_a_pair(tmp_path):
    agent = SB3Agent("SAC", 16, train_freq=(1, "episode"), policy_kwargs={"net_arch": [8]})
    agent.fit(environment(market().until(market().dates[40])), seed=0).save(tmp_path)
    assert SB3Agent.load(tmp_path).options == agent.options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("policy_kwargs", {"activation_fn": torch.nn.Tanh}),
        ("learning_rate", lambda left: left),
        ("tau", {1, 2}),
    ],
)
def test_an_option_that_no_checkpoint_holds_is_refused_before_a_training(name, value):
    with pytest.raises(
        ConfigError, match=rf"option '{name}' of SAC is .* no checkpoint can hold.*class Mine\(SAC"
    ):
        SB3Agent("SAC", **{name: value})


# No checkpoint chooses which code runs.


def renamed(folder: Path, name: str) -> Path:
    """The checkpoint says that another algorithm wrote it; who did that sealed it."""
    content = read_sealed(folder / "agent.json")
    write_sealed(folder / "agent.json", content | {"algorithm": name})
    return folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    trained("SAC").save(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.mark.parametrize(
    "name", ["a_strangers_module:Algorithm", "sb3_contrib:QRDQN", "sb3_contrib.tqc:TQC", ""]
)
def test_a_checkpoint_that_names_an_unknown_algorithm_imports_nothing(
    name, checkpoint, tmp_path, monkeypatch
):
    (tmp_path / "a_strangers_module.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    renamed(checkpoint, name)
    for load in (SB3Agent.load, lambda folder: load_agent("ppo-joint", folder)):
        with pytest.raises(ConfigError, match=rf"agent.json: names the algorithm '{name}'; a file does not"):
            load(checkpoint)
    for kind, own in ((Quantiles, "sb3_contrib:TQC"), (Own, f"{__name__}:OwnSAC")):
        with pytest.raises(ConfigError, match=f"written by the algorithm '{name}', expected '{own}'"):
            kind.load(checkpoint)
    assert not (tmp_path / "mark").exists()
    assert "a_strangers_module" not in sys.modules


def test_an_agent_of_one_algorithm_loads_no_other(checkpoint, tmp_path):
    with pytest.raises(ConfigError, match=r"written by the algorithm 'SAC', expected 'sb3_contrib:TQC'"):
        Quantiles.load(checkpoint)
    with pytest.raises(ConfigError, match=r"written by the algorithm 'SAC', expected 'PPO'"):
        SB3Agent.load(checkpoint, algorithm="PPO")
    assert SB3Agent.load(checkpoint, algorithm=SAC).algorithm == "SAC"
    agent = fitted("sb3_contrib:TQC", Quantiles)
    agent.save(tmp_path / "own")
    np.testing.assert_array_equal(signals(Quantiles.load(tmp_path / "own")), signals(agent))


def test_a_class_of_ones_own_is_loaded_where_the_reader_has_it(tmp_path):
    agent = fitted(OwnSAC, Own)
    agent.save(tmp_path)
    for again in (
        Own.load(tmp_path),
        SB3Agent.load(tmp_path, OwnSAC),
        load_agent(f"{__name__}:Own", tmp_path),
    ):
        assert again.algorithm == f"{__name__}:OwnSAC"
        np.testing.assert_array_equal(signals(again), signals(agent))
    with pytest.raises(ConfigError, match=rf"names the algorithm '{__name__}:OwnSAC'.*subclass of SB3Agent"):
        SB3Agent.load(tmp_path)


def test_sb3_contrib_is_asked_for_before_anything_is_trained(tmp_path, monkeypatch, capsys):
    trained("sb3_contrib:TQC").save(tmp_path / "checkpoint")
    monkeypatch.setitem(sys.modules, "sb3_contrib", None)
    needs = r"sb3_contrib:TQC needs the package 'sb3_contrib', .*pip install \"qn-env\[contrib\]\""
    with pytest.raises(ConfigError, match=needs):
        SB3Agent("sb3_contrib:TQC")
    with pytest.raises(ConfigError, match=rf"agent.json: The algorithm {needs}$"):
        load_agent("ppo-joint", tmp_path / "checkpoint")
    assert SB3Agent("SAC").algorithm == "SAC"
    panel = write_panel(small_panel(), tmp_path / "panel")
    words = ["run", "--agents", f"macd,{__name__}:Quantiles", "--panel", str(panel), "--kind", "returns"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 1
    assert 'pip install "qn-env[contrib]"' in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


OWN_AGENTS = """
from agents.sb3 import SB3Agent


class Quantiles(SB3Agent):
    algorithm = "sb3_contrib:TQC"

    def __init__(self, timesteps=64, options=None, **more):
        super().__init__(timesteps=timesteps, options=options, **more)


class Memory(Quantiles):
    algorithm = "sb3_contrib:RecurrentPPO"
"""


@pytest.mark.slow
def test_agents_of_ones_own_go_through_the_commands(tmp_path, monkeypatch, capsys):
    panel = write_panel(small_panel(), tmp_path / "panel")
    (tmp_path / "own_rl_agents.py").write_text(OWN_AGENTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = ("own_rl_agents:Quantiles", "own_rl_agents:Memory")
    data = ["--panel", str(panel), "--kind", "returns"]
    assert (
        main(["run", "--agents", ",".join(names), *data, "--seeds", "1", "--jobs", "2", "--out", "run"]) == 0
    )
    for name in names:
        words = ["signal", "--run", "run", "--agent", name, *data]
        assert main(words) == 1, "a run names no code that is not repeated"
        assert main([*words, "--trust", name]) == 0
        assert main(["audit", "--agent", name, *data, "--refit", "--days", "1"]) == 0
        search = ["search", "--agent", name, "--trials", "1", "--fixed", "timesteps=64", "--jobs", "1"]
        assert main([*search, *data, "--out", f"search-{name[-3:]}"]) == 0
    assert "No look-ahead found" in capsys.readouterr().out

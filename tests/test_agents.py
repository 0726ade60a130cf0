"""The conformance suite: what every registered agent must keep. A new agent is tested by being registered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from agents.agent import (
    AGENTS,
    Agent,
    learns,
    load_agent,
    make_agent,
    play,
    settings_of,
    signals_of,
    warmup_of,
)
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.sources.synthetic import noise, ragged, weekdays

# Agents with layers around them, of every kind: in one pass and stepped, under a volatility target and not.
LAYERED = [
    "macd+band:0.1",
    "macd+partial:0.2",
    "long-only+every:5",
    "cs-momentum+every:5+band:0.0001",
    "dmn-mlp-sharpe+band:0.05",
    "dmn-linear-sharpe+budget:40",
    "dmn-linear-sharpe+mean:2+every:3",
    "spatiotemporal+partial:0.5+mean:2",
    pytest.param("ppo-joint+partial:0.5", marks=pytest.mark.slow),
]
# Algorithms of one class, which tests/test_sb3_shared.py holds to the same laws with smaller networks.
OF_ONE_CLASS = ("a2c", "ddpg", "td3", "recurrent-ppo")


def shown(names: Iterable[str]) -> list[Any]:
    return [
        pytest.param(name, marks=pytest.mark.slow) if name in OF_ONE_CLASS else name for name in sorted(names)
    ]


NAMES = [*shown(AGENTS), *LAYERED]
LEARNERS = [*shown(name for name, entry in AGENTS.items() if entry.learns), *LAYERED[-4:]]
every_agent = pytest.mark.parametrize("name", NAMES)


@lru_cache
def market() -> Panel:
    """With a trend: who finds nothing on its validation block may stay flat."""
    return ragged(sizes=(2, 3), days=900, coefficient=0.5, seed=3)


@lru_cache
def trending() -> Panel:
    """Half of the assets gain 1% a day, half lose it, with a deviation of 1%: nobody can miss it."""
    rng = np.random.default_rng(0)
    drift = np.array([0.01, -0.01, 0.01, -0.01])
    returns = rng.normal(drift, 0.01, (1200, 4))
    return Panel.build(weekdays(1200), list("abcd"), ["X", "X", "Y", "Y"], returns)


def environment(agent: Agent, panel: Panel, **options) -> TradingEnv:
    settings = settings_of(agent)
    return TradingEnv(
        panel, window=settings.window, features=settings.features, vol_target=settings.vol_target, **options
    )


def train(name: str, panel: Panel, seed: int = 0) -> Agent:
    agent = make_agent(name, quick=True)
    return agent.fit(environment(agent, panel), seed=seed)


@lru_cache
def trained(name: str) -> Agent:
    """Trained once on the first 700 days; tests must not change it beyond `reset`."""
    return train(name, market().until(market().dates[700]))


def signals(agent: Agent, panel: Panel) -> np.ndarray:
    return signals_of(agent, panel, environment(agent, panel))


@every_agent
def test_signals_are_finite_and_within_minus_one_and_one(name):
    found = signals(trained(name), market())
    assert found.shape == market().shape
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 1.0
    if name != "recurrent-ppo":  # so short a training finds nothing, and who finds nothing stays flat
        assert np.abs(found).max() > 0.0, "an agent that never trades shows nothing"


@every_agent
def test_the_same_seed_gives_the_same_signals(name):
    panel = market().until(market().dates[700])
    np.testing.assert_array_equal(signals(trained(name), market()), signals(train(name, panel), market()))


@pytest.mark.parametrize("name", LEARNERS)
def test_another_seed_gives_other_signals(name):
    panel = market().until(market().dates[700])
    assert not np.array_equal(signals(trained(name), market()), signals(train(name, panel, seed=1), market()))


@every_agent
def test_reset_forgets(name):
    agent, panel = trained(name), market().until(market().dates[650])
    env = environment(agent, panel)
    np.testing.assert_array_equal(play(agent, env), play(agent, env))


@every_agent
def test_step_mode_equals_sequence_mode(name):
    agent = trained(name)
    if not hasattr(agent, "signals"):
        pytest.skip("this agent sees its own positions and is always stepped")
    stepped, at_once = play(agent, environment(agent, market())), agent.signals(market())
    # Steps end a day earlier; on closed days an action is ignored, whatever it is.
    live = environment(agent, market()).tape.live[:-1]
    tolerance = 1e-5 if learns(agent) else 1e-12
    np.testing.assert_allclose(stepped[:-1][live], at_once[:-1][live], rtol=0, atol=tolerance)


@every_agent
@pytest.mark.parametrize("day", [420, 555, 680])
def test_the_future_cannot_change_the_past(name, day):
    agent, panel = trained(name), market()
    other = panel.with_future_scrambled(panel.dates[day], seed=day)
    np.testing.assert_array_equal(signals(agent, panel)[: day + 1], signals(agent, other)[: day + 1])


@every_agent
def test_save_and_load_agree(name, tmp_path):
    agent = trained(name)
    agent.save(tmp_path / "agent")
    again = load_agent(name, tmp_path / "agent")
    np.testing.assert_array_equal(signals(agent, market()), signals(again, market()))
    files = [path for path in (tmp_path / "agent").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".safetensors"}


@every_agent
def test_training_leaves_the_global_generators_alone(name):
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002
    train(name, market().until(market().dates[400]))
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(torch.random.get_rng_state(), torch_before)


@every_agent
def test_what_an_agent_is_selected_on_is_not_what_it_learns_from(name):
    """Other data after the training block, which the agent is not given, change nothing."""
    agent, panel = trained(name), market()
    other = panel.with_future_scrambled(panel.dates[700], seed=9).until(panel.dates[700])
    np.testing.assert_array_equal(signals(agent, panel), signals(train(name, other), panel))


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_finds_a_blatant_trend(name):
    panel = trending()
    agent = train(name, panel.until(panel.dates[900]))
    found = signals(agent, panel)[950:-1].mean(axis=0)
    np.testing.assert_array_equal(np.sign(found), [1, -1, 1, -1])


RULES_WITH_MEMORY = sorted(n for n in AGENTS if not AGENTS[n].learns and warmup_of(make_agent(n)) > 1)


@pytest.mark.parametrize("name", RULES_WITH_MEMORY)
def test_after_its_warmup_a_rule_does_not_depend_on_older_days(name):
    panel = noise(markets=2, assets=3, days=1200, seed=4)
    late = Panel.build(panel.dates[100:], panel.assets, panel.market_of, panel.returns[100:])
    whole, part = (signals(train(name, p), p) for p in (panel, late))
    ready = warmup_of(make_agent(name))
    assert np.abs(part[ready:]).max() > 0
    tolerance = 1e-12
    if name == "macd":
        # An EW average never forgets altogether; the slowest loses 99% of its past in 440 days.
        ready, tolerance = ready + 440, 0.01
    np.testing.assert_allclose(whole[100 + ready :], part[ready:], rtol=0, atol=tolerance)


def test_agents_panels_and_episodes_show_what_they_are():
    shown = {name: repr(make_agent(name)) for name in ("macd", "dmn-lstm-sharpe", "dmn-mlp-mse", "quantnet")}
    assert shown == {
        "macd": "RuleAgent('macd')",
        "dmn-lstm-sharpe": "DeepMomentum(network='lstm', loss='sharpe')",
        "dmn-mlp-mse": "DeepMomentum(network='mlp', loss='mse', batch=2048, learning_rate=0.001)",
        "quantnet": "QuantNet(encoder='lstm', transfer='linear')",
    }
    assert repr(make_agent("ppo")) == "SharedSB3Agent('PPO', timesteps=3000000)"
    assert repr(make_agent("ppo-joint")) == "SB3Agent('PPO', timesteps=20480)"
    panel = noise(markets=2, assets=3, days=40, seed=0)
    told = f"<Panel: 6 assets in 2 markets, 40 days, {panel.dates[0]} to {panel.dates[-1]}>"
    assert repr(panel) == told
    env = TradingEnv(panel, window=5, cost_bps=2.5, vol_target=0.15)
    assert repr(env) == f"<TradingEnv: window 5, 2.5 bps, target volatility 0.15, {told}>"
    assert repr(TradingEnv(panel, cost_bps=[1.0] * 6, window=5)).startswith(
        "<TradingEnv: window 5, costs per"
    )
    assert repr(env.episodes()) == f"<Episodes: 2 markets of {told}>"
    assert repr(env.episodes().sample(length=7, batch=4)["M0"]) == "<Episode: 4 windows of 7 days, 3 assets>"


def test_unknown_names_and_broken_paths_are_refused_with_a_hint(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="Did you mean 'quantnet'"):
        make_agent("qantnet")
    with pytest.raises(ConfigError, match="no module named 'nowhere'"):
        make_agent("nowhere.module:Agent")
    (tmp_path / "taken" / "agents").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "taken")
    with pytest.raises(
        ConfigError, match=r"'agents' is a package of qn_env, and yours .* rename your folder"
    ):
        make_agent("agents.mine:Agent")
    with pytest.raises(ConfigError, match="has no class 'Missing'"):
        make_agent("agents.rules:Missing")
    (tmp_path / "half_agent.py").write_text(
        "class Half:\n    def fit(self, env, *, seed, validation=None): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="missing: reset, act"):
        make_agent("half_agent:Half")


def test_a_name_is_registered_once():
    from agents.agent import register

    with pytest.raises(ConfigError, match="registered already"):
        register("macd", "agents.rules:RuleAgent")


def test_signals_of_names_the_asset_and_the_day_of_a_bad_signal(panel):
    class Wild:
        def fit(self, env, *, seed, validation=None):
            return self

        def reset(self): ...

        def act(self, observation): ...

        def signals(self, panel):
            found = np.zeros(panel.shape)
            found[3, 2] = 1.5
            return found

    with pytest.raises(ConfigError, match=f"'A2' on {panel.dates[3]} is 1.5"):
        signals_of(Wild(), panel, TradingEnv(panel))


def test_an_untrained_or_damaged_checkpoint_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"agent.json: not found"):
        load_agent("quantnet", tmp_path)
    agent = trained("dmn-lstm-sharpe")
    agent.save(tmp_path)
    (tmp_path / "weights.safetensors").write_bytes(b"junk")
    with pytest.raises(ConfigError, match="damaged"):
        load_agent("dmn-lstm-sharpe", tmp_path)
    with pytest.raises(ConfigError, match="not trained"):
        make_agent("quantnet").signals(market())


@pytest.mark.parametrize("name", ["quantnet", "dmn-lstm-sharpe", "spatiotemporal-mlp", "x-trend"])
@pytest.mark.parametrize("value", [None, "x", 10**9, 10**30, -1, 0.5, True, float("nan"), [], {}])
def test_hyperparameters_of_a_wrong_type_or_size_are_refused_by_name_at_once(name, value):
    """Also where they come from a file: nothing asks for memory first."""
    config = make_agent(name).config
    for field in fields(config):
        current = getattr(config, field.name)
        if type(current) in (int, float) and (value is not None or field.name != "hidden"):
            if isinstance(value, int | float) and not isinstance(value, bool) and isinstance(current, float):
                continue  # a number, for a number: its own bounds are tested elsewhere
            with pytest.raises(ConfigError, match=field.name):
                make_agent(name, options={field.name: value})

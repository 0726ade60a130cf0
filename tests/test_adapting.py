"""Agents on markets that they were not trained on: as they are, and after a few days of them."""

from __future__ import annotations

import copy
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.adapting import adapted, adapts
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
from agents.budget import Budget
from agents.mean import member_seed
from qn_env.environment import TradingEnv
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged

# Agents that have a network, or weights, for every market or asset they are trained on.
PER_MARKET = {
    *(name for name in AGENTS if name.startswith(("quantnet", "no-transfer", "spatiotemporal"))),
    "ppo-joint",
} - {"quantnet-shared"}
# One of every family that plays any market, and of every layer around one.
PPO: dict[str, Any] = {"timesteps": 640, "accounts": 16}
CASES: dict[str, dict[str, Any]] = {
    "dmn-linear-sharpe": {"epochs": 2},
    "dmn-lstm-sharpe": {"epochs": 2},
    "rrl": {"epochs": 2},
    "quantnet-shared": {"steps": 4},
    "x-trend": {"epochs": 2, "hidden": 8},
    "ppo-device": {**PPO, "minibatches": 1},
    "ppo": {**PPO, "n_steps": 8, "batch_size": 64},
    "dmn-linear-sharpe+band:0.1": {"epochs": 2},
    "dmn-linear-sharpe+budget:1000": {"epochs": 2},
    "dmn-linear-sharpe+mean:2": {"epochs": 2},
    "dmn-linear-sharpe+mean:2+band:0.1": {"epochs": 2},
    "quantnet-shared+mean:2+every:3": {"steps": 4},
    "experiments.commands.templates.sklearn_agent:MyAgent": {},
    "experiments.commands.templates.torch_agent:MyAgent": {"epochs": 1},
}
QUICK = (
    *("dmn-linear-sharpe", "quantnet-shared", "dmn-linear-sharpe+mean:2+band:0.1"),
    "experiments.commands.templates.sklearn_agent:MyAgent",
)
every_case = pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
SEED = 3


@lru_cache
def world() -> Panel:
    """Four markets with a trend; the third is the one that nobody was trained on."""
    return ragged(sizes=(2, 1, 3, 1), days=750, coefficient=0.5, seed=3)


@lru_cache
def seen() -> Panel:
    return world().select(["M0", "M1", "M3"])


@lru_cache
def fresh() -> Panel:
    return world().select(["M2"])


def environment(agent: Agent, panel: Panel, **more: Any) -> TradingEnv:
    asks = settings_of(agent)
    return TradingEnv(panel, window=asks.window, features=asks.features, vol_target=asks.vol_target, **more)


def build(name: str) -> Agent:
    return make_agent(name, options=CASES[name])


@lru_cache
def trained(name: str) -> Agent:
    agent = build(name)
    return agent.fit(environment(agent, seen().until(seen().dates[600])), seed=0)


@lru_cache
def few(name: str) -> tuple[TradingEnv, TradingEnv]:
    """The last 120 of 600 days of the other market to learn from, and the 30 days after them."""
    agent, panel = build(name), fresh()
    dates, asks = panel.dates, {"warmup": warmup_of(agent)}
    return (
        environment(agent, panel.until(dates[600]), start=dates[480], **asks),
        environment(agent, panel.until(dates[630]), start=dates[601], **asks),
    )


@lru_cache
def learnt(name: str) -> Agent:
    learn, held = few(name)
    return adapted(trained(name), learn, seed=SEED, learn=True, validation=held)


@lru_cache
def shown(name: str) -> Agent:
    agent = trained(name)
    return adapted(agent, environment(agent, fresh().until(fresh().dates[600])), seed=SEED, learn=False)


def signals(agent: Agent, panel: Panel) -> np.ndarray:
    return signals_of(agent, panel, environment(agent, panel))


def weights(agent: Agent, folder: Path) -> dict[str, bytes]:
    """What an agent stores, file by file."""
    agent.save(folder)  # type: ignore[attr-defined]
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize("name", AGENTS)
def test_who_has_weights_for_every_market_cannot_be_adapted_and_all_other_learners_can(name: str) -> None:
    agent = make_agent(name, quick=True)
    assert adapts(agent) == (learns(agent) and name not in PER_MARKET)


def test_a_layer_can_be_adapted_where_the_agent_inside_can() -> None:
    for layer in ("band:0.1", "mean:2", "budget:50", "mean:2+band:0.1"):
        assert adapts(make_agent(f"dmn-linear-sharpe+{layer}"))
        assert not adapts(make_agent(f"no-transfer-linear+{layer}"))
    assert not adapts(make_agent("macd+band:0.1"))


@every_case
def test_an_adapted_agent_plays_the_other_market_in_one_pass_and_day_by_day(name: str) -> None:
    panel = fresh()
    for agent in (shown(name), learnt(name)):
        found = signals(agent, panel)
        assert found.shape == panel.shape
        assert np.abs(found).max() <= 1.0
        stepped = play(agent, environment(agent, panel))
        live = environment(agent, panel).tape.live[:-1]
        np.testing.assert_allclose(stepped[:-1][live], found[:-1][live], rtol=0, atol=1e-5)


@every_case
def test_an_agent_stays_as_it_is_whoever_learns_from_it(name: str, tmp_path: Path) -> None:
    agent = copy.deepcopy(trained(name))
    before, played = weights(agent, tmp_path / "before"), signals(agent, seen())
    learn, held = few(name)
    for learning in (False, True):
        adapted(agent, learn, seed=SEED, learn=learning, validation=held)
    assert weights(agent, tmp_path / "after") == before
    np.testing.assert_array_equal(signals(agent, seen()), played)


@every_case
def test_zero_shots_take_nothing_from_the_days_of_the_other_market(name: str) -> None:
    agent, panel = trained(name), fresh()
    other = panel.with_future_scrambled(panel.dates[0], seed=1).until(panel.dates[600])
    again = adapted(agent, environment(agent, other), seed=9, learn=False)
    np.testing.assert_array_equal(signals(again, panel), signals(shown(name), panel))


@every_case
def test_few_shots_learn_from_their_days_and_from_no_other(name: str) -> None:
    learn, held = few(name)
    panel = fresh()
    again = adapted(trained(name), learn, seed=SEED, learn=True, validation=held)
    np.testing.assert_array_equal(signals(again, panel), signals(learnt(name), panel))
    if not name.startswith("ppo"):  # after so few steps none may be better than the one that is kept
        assert not np.array_equal(signals(learnt(name), panel), signals(shown(name), panel))
    later = panel.with_future_scrambled(panel.dates[630], seed=1)
    assert later.until(panel.dates[600]).fingerprint == learn.panel.fingerprint


@every_case
def test_an_adapted_agent_is_saved_and_read_and_can_be_adapted_again(name: str, tmp_path: Path) -> None:
    panel = fresh()
    for number, agent in enumerate((shown(name), learnt(name))):
        place = tmp_path / str(number)
        agent.save(place)  # type: ignore[attr-defined]
        again = load_agent(name, place)
        np.testing.assert_array_equal(signals(again, panel), signals(agent, panel))
        back = adapted(again, environment(again, panel.until(panel.dates[600])), seed=0, learn=False)
        np.testing.assert_array_equal(signals(back, panel), signals(agent, panel))
    # Few shots of an agent that was read after zero of them are those of the agent itself.
    learn, held = few(name)
    again = load_agent(name, tmp_path / "0")
    found = adapted(again, learn, seed=SEED, learn=True, validation=held)
    np.testing.assert_array_equal(signals(found, panel), signals(learnt(name), panel))


# By hand.


@pytest.mark.parametrize("steps", [0, None])
def test_quantnet_is_adapted_by_adding_the_markets(steps: int | None) -> None:
    name, panel = "quantnet-shared", fresh()
    by_hand = copy.deepcopy(trained(name))
    learn, held = few(name)
    known = environment(by_hand, panel.until(panel.dates[600]))
    by_hand.add_market(  # type: ignore[attr-defined]
        known if steps == 0 else learn, seed=SEED, validation=None if steps == 0 else held, steps=steps
    )
    expected = shown(name) if steps == 0 else learnt(name)
    np.testing.assert_array_equal(signals(by_hand, panel), signals(expected, panel))


def test_few_shots_of_quantnet_leave_everything_but_the_new_embeddings() -> None:
    before, after = (agent.network for agent in (trained("quantnet-shared"), learnt("quantnet-shared")))  # type: ignore[attr-defined]
    own = {id(p) for p in after.own("M2")}
    assert any(bool(p.any()) for p in after.own("M2"))
    rest = [p for p in after.parameters() if id(p) not in own]
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(rest, before.parameters(), strict=True))


def test_a_deep_momentum_network_goes_on_from_its_weights(tmp_path: Path) -> None:
    name = "dmn-lstm-sharpe"
    learn, held = few(name)
    by_hand = build(name)
    by_hand.start_from(trained(name))  # type: ignore[attr-defined]
    by_hand.fit(learn, seed=SEED, validation=held)
    assert weights(by_hand, tmp_path / "a") == weights(learnt(name), tmp_path / "b")


def test_the_members_of_a_mean_learn_each_with_its_own_seed() -> None:
    name = "dmn-linear-sharpe+mean:2"
    learn, held = few(name)
    members = [
        adapted(member, learn, seed=member_seed(SEED, number), learn=True, validation=held)
        for number, member in enumerate(trained(name).members)  # type: ignore[attr-defined]
    ]
    expected = np.mean([signals(member, fresh()) for member in members], axis=0)
    np.testing.assert_array_equal(signals(learnt(name), fresh()), expected)


def test_a_budget_keeps_its_price_and_learns_under_it(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = copy.deepcopy(trained("dmn-linear-sharpe+budget:1000"))
    assert isinstance(budget, Budget)
    budget.price_bps_ = 7.0
    paid: list[float] = []

    def adapt(env: TradingEnv, *, seed: int, learn: bool, validation: TradingEnv | None = None) -> Agent:
        paid.extend(
            cost.rates(one.panel).turnover.max()
            for one in (env, validation)
            for cost in one.config.costs  # type: ignore[union-attr]
        )
        return budget.agent

    monkeypatch.setattr(budget.agent, "adapt", adapt, raising=False)
    learn, held = few("dmn-linear-sharpe+budget:1000")
    other = adapted(budget, learn, seed=0, learn=True, validation=held)
    assert paid == [7e-4, 7e-4]
    assert isinstance(other, Budget)
    assert other.price_bps_ == 7.0


@pytest.mark.parametrize("name", [pytest.param("ppo", marks=pytest.mark.slow), "ppo-device"])
def test_reinforcement_learners_take_a_tenth_of_the_steps(name: str) -> None:
    agent, after = trained(name), learnt(name)
    steps = [getattr(one, "timesteps", None) or one.config.timesteps for one in (agent, after)]  # type: ignore[attr-defined]
    assert steps == [640, 64]


@pytest.mark.slow
def test_an_off_policy_learner_begins_to_learn_after_a_tenth_of_the_days_too() -> None:
    options = {"timesteps": 400, "accounts": 8, "learning_starts": 100, "batch_size": 16}
    agent = make_agent("sac", options={"algorithm": "SAC", **options})
    agent.fit(environment(agent, seen().until(seen().dates[600])), seed=0)
    learn, held = few("ppo")
    after: Any = adapted(agent, learn, seed=0, learn=True, validation=held)
    assert (after.timesteps, after.options["learning_starts"]) == (40, 10)
    assert agent.options["learning_starts"] == 100  # type: ignore[attr-defined]

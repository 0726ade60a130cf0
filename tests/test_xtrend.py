"""X-Trend as an agent: what it may know, whom it attends to, markets it was not trained on, its refusals."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.adapting import adapted
from agents.agent import play
from agents.training import Monitor
from agents.xtrend import XTrend, XTrendConfig
from agents.xtrend.course import Course
from agents.xtrend.cutting import library_of
from agents.xtrend.losses import joint_loss
from agents.xtrend.network import Outputs
from agents.xtrend.pool import names_of, seconds
from agents.xtrend.windows import Windows
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged, weekdays

CUTS = ("fixed", "changepoints")
TINY: dict[str, Any] = {
    **{"hidden": 4, "heads": 2, "embedding": 2, "embedding_dropout": 0.3, "dropout": 0.2},
    **{"context_days": 8, "look_back": 8, "threshold": 0.05, "shortest": 3},
    **{"recent": 5, "earlier": 3, "renew": 7, "bank": 20, "likelihood": 0.5, "train_cost_bps": 0.0},
    **{"batch": 24, "length": 30, "learning_rate": 0.02, "epochs": 2, "patience": 2},
}
every_cut = pytest.mark.parametrize("cut", CUTS)


@lru_cache
def world() -> Panel:
    """Three ragged markets with a trend; the second is one that nobody is trained on."""
    return ragged(sizes=(2, 2, 1), days=300, coefficient=0.4, seed=12)


@lru_cache
def seen() -> Panel:
    return world().select(["M0", "M2"])


@lru_cache
def fresh() -> Panel:
    return world().select(["M1"])


def environment(agent: XTrend, panel: Panel, **more: Any) -> TradingEnv:
    return TradingEnv(panel, window=1, features=agent.settings.features, vol_target=0.15, **more)


def train(cut: str, panel: Panel, seed: int = 0, **options: Any) -> XTrend:
    agent = XTrend(contexts=cut, **{**TINY, **options})
    return agent.fit(environment(agent, panel), seed=seed)


@lru_cache
def trained(cut: str = "fixed") -> XTrend:
    """On the first 220 days."""
    return train(cut, seen().until(world().dates[220]))


def stored(agent: XTrend, folder: Path) -> list[bytes]:
    agent.save(folder)
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def with_returns(panel: Panel, returns: np.ndarray) -> Panel:
    return Panel.build(panel.dates, panel.assets, panel.market_of, returns)


# What is known when.


@settings(max_examples=6)
@given(cut=st.sampled_from(CUTS), seed=st.integers(0, 99), data=st.data())
def test_a_later_return_never_moves_an_earlier_signal(cut, seed, data):
    """Halts, late listings and delistings, markets that it knows and that it does not."""
    agent, panel = trained(cut), ragged(sizes=(2, 3), days=140, seed=seed)
    row, j = data.draw(st.integers(30, 139)), data.draw(st.integers(0, 4))
    found = agent.signals(panel)
    scrambled = panel.with_future_scrambled(panel.dates[row], seed=seed)
    np.testing.assert_array_equal(agent.signals(scrambled)[: row + 1], found[: row + 1])
    returns = panel.returns.copy()
    returns[row, j] = -0.8  # where the asset has none, its listing or halt is another
    np.testing.assert_array_equal(agent.signals(with_returns(panel, returns))[:row], found[:row])


@every_cut
def test_what_an_asset_sees_of_others_is_a_day_old(cut):
    """Other assets' returns of a day change neither its signal of that day nor the attention behind it."""
    agent, panel = trained(cut), world()
    found = agent.signals(panel)
    for row in range(60, 200, 20):
        others = panel.returns.copy()
        others[row, 1:] = -others[row, 1:]
        changed = with_returns(panel, others)
        np.testing.assert_array_equal(agent.signals(changed)[: row + 1, 0], found[: row + 1, 0])
    assert not np.array_equal(agent.signals(changed)[:, 0], found[:, 0]), "later they are seen"


@every_cut
def test_step_mode_equals_one_pass(cut):
    agent = trained(cut)
    for player, panel in (
        (agent, seen()),
        (adapted(agent, environment(agent, fresh()), seed=0, learn=False), fresh()),
    ):
        panel = panel.until(panel.dates[160])
        env = environment(player, panel)
        live, found = env.tape.live[:-1], player.signals(panel)
        np.testing.assert_allclose(play(player, env)[:-1][live], found[:-1][live], rtol=0, atol=1e-5)
        assert np.abs(found).max() > 0.01


@every_cut
def test_in_training_a_window_of_all_days_has_the_outputs_of_one_pass(cut):
    """From the first day that can be read; behind it assets halt."""
    agent, rng = trained(cut), np.random.default_rng(4)
    returns = rng.normal(0.0, 0.01, (200, 3))
    returns[60:][rng.random((140, 3)) < 0.1] = np.nan
    panel = Panel.build(weekdays(200), seen().assets, seen().market_of, returns)
    first = library_of(panel, agent.config).history.row[0]
    env = environment(agent, panel, start=panel.dates[first + 1])  # decides on the day before
    config = replace(agent.config, length=200)
    course = Course.of(config, agent.network, env, env, seed=0, monitor=Monitor())
    windows = np.arange(len(course.learn.row))
    assert sorted(np.concatenate(course.learn.spans).tolist()) == windows.tolist() == [0, 1, 2]
    with torch.no_grad():
        z = course.outputs(course.learn, windows, np.zeros(3, dtype=np.intp)).z.double().numpy()
    counted = course.learn.pairs.counted.numpy()
    asset = np.broadcast_to(course.learn.asset[:, None], counted.shape)
    expected = agent.signals(panel)[course.learn.row[counted], asset[counted]]
    np.testing.assert_allclose(np.tanh(z[counted]), expected, rtol=0, atol=1e-5)
    assert counted.sum() > 400


# The loss.


def test_the_joint_loss_by_hand():
    agent, panel = trained(), seen()
    pairs = Windows.of(environment(agent, panel), agent.config).pairs
    rng = np.random.default_rng(0)
    z, mean, raw = (torch.tensor(rng.normal(size=pairs.counted.shape)) for _ in range(3))
    outputs = Outputs(z, mean, raw.exp())
    counted, labelled = pairs.counted.numpy(), pairs.labelled.numpy()
    net = pairs.net(torch.tanh(z)).numpy()[counted]
    ratio = 252**0.5 * net.mean() / net.std()
    target = np.clip(pairs.target.numpy(), -5.0, 5.0)[labelled]
    m, s = (part.numpy()[labelled] for part in (outputs.mean, outputs.deviation))
    surprise = (np.log(s * np.sqrt(2 * np.pi)) + (target - m) ** 2 / (2 * s**2)).mean()
    for alpha in (0.0, 0.1, 5.0):
        assert joint_loss(outputs, pairs, alpha).item() == pytest.approx(-ratio + alpha * surprise, rel=1e-6)


def test_every_part_learns():
    # Some parts wait for others, which begin at 0: several steps within the first epoch.
    panel, brief = seen().until(world().dates[150]), {"batch": 2, "epochs": 1}
    agent, before = (train("fixed", panel, learning_rate=rate, **brief) for rate in (0.02, 1e-30))
    pairs = zip(agent.network.named_parameters(), before.network.parameters(), strict=True)
    still = [name for (name, after), at_first in pairs if torch.equal(after, at_first)]
    assert still == []


@every_cut
def test_the_same_seed_gives_the_same_bytes_and_another_one_others(cut, tmp_path):
    panel = seen().until(world().dates[220])
    first = stored(trained(cut), tmp_path / "a")
    assert stored(train(cut, panel), tmp_path / "b") == first
    assert stored(train(cut, panel, seed=1), tmp_path / "c") != first


@every_cut
def test_a_saved_agent_plays_the_same_and_is_stored_in_the_same_bytes(cut, tmp_path):
    for number, agent in enumerate(
        (
            trained(cut),
            adapted(trained(cut), environment(trained(cut), fresh()), seed=0, learn=False),
        )
    ):
        first = stored(agent, tmp_path / f"{number}")
        again = XTrend.load(tmp_path / f"{number}")
        assert stored(again, tmp_path / f"{number} again") == first
        panel = (seen(), fresh())[number]
        np.testing.assert_array_equal(again.signals(panel), agent.signals(panel))
        short = panel.until(panel.dates[60])
        env = environment(agent, short)
        np.testing.assert_array_equal(play(again, env), play(agent, env))


# Whom a decision attended to.


@every_cut
def test_attention_is_named_sums_to_one_and_looks_at_what_has_ended(cut):
    agent, panel = trained(cut), world()
    library, names = library_of(panel, agent.config), names_of(panel)
    rows, found = library.history.row, library.sequences
    ours = {
        (*names[j], panel.dates[rows[s]], panel.dates[rows[s + n - 1]]): panel.dates[end]
        for j, s, n, end in zip(found.asset, found.start, found.length, found.ended, strict=True)
    }
    for row in range(60, 300, 24):
        j = int(np.flatnonzero(panel.tradable[row])[0])
        if panel.features(agent.settings.features)[row, j, 8] == 0:
            continue
        attended = agent.attended(panel, *names[j], panel.dates[row])
        weights = [one.weight for one in attended]
        assert sum(weights) == pytest.approx(1.0, abs=1e-5)
        assert weights == sorted(weights, reverse=True)
        assert min(weights) >= 0.0
        told = [one.told for one in attended if one.told is not None]
        assert len(told) == len(attended) - 1 == 8, (
            "five recent ones, three before them, and the constant one"
        )
        ended = [ours[tuple(one)] for one in told]
        assert max(ended) < panel.dates[row]
        usable = sorted((end for end in ours.values() if end < panel.dates[row]), reverse=True)
        assert sorted(ended, reverse=True)[:5] == usable[:5], "the latest ones are among them"


@torch.no_grad()
def test_a_decision_can_be_made_again_from_what_it_says_it_attended_to():
    agent, panel = trained(), seen()
    network, history = agent.network, library_of(panel, agent.config).history
    row, first = history.row[: history.first[1]], torch.from_numpy(history.inputs[: history.first[1]])[None]
    day = panel.dates[row[-1]]
    _, pool, sets = agent._pieces(panel)
    offered = network.offer(pool.keys, pool.values, torch.from_numpy(sets[row]))
    values = network.cross.values(offered.values[-1])
    read = {pool.told(number): values[c] for c, number in enumerate(sets[row[-1]])}
    mixed = sum(
        one.weight * (network.cross.no_value if one.told is None else read[one.told])
        for one in agent.attended(panel, "M0", panel.assets[0], day)
    )
    asset = network.given(torch.tensor([0]))
    found = network.cross(network.ask(first, asset, None)[0][0][:, None], offered)[0].transpose(0, 1)
    found[0, -1] = network.cross.out(mixed)
    z = network.decode(first, found, asset, None)[0].z[0, -1]
    assert torch.tanh(z).item() == pytest.approx(agent.signals(panel)[row[-1], 0], abs=1e-5)


def test_who_is_young_or_does_not_trade_attends_to_nothing():
    agent, panel = trained(), world()
    market, asset = names_of(panel)[0]
    with pytest.raises(ConfigError, match=r"no asset 'Z' in a market 'M0'"):
        agent.attended(panel, "M0", "Z", panel.dates[100])
    closed = panel.dates[np.flatnonzero(~panel.tradable[:, 0])[0]]
    for day in (panel.dates[0], closed, panel.dates[-1] + 1):
        with pytest.raises(ConfigError, match=f"{market}/{asset} has no decision on {day}"):
            agent.attended(panel, market, asset, day)


# Markets that it was not trained on.


def without_bank(agent: XTrend) -> XTrend:
    other = copy.copy(agent)
    other.bank_ = agent.bank_.take(np.zeros(0, dtype=np.intp))
    return other


@every_cut
def test_an_asset_that_was_never_seen_is_played_like_one_without_an_embedding(cut):
    agent, panel = without_bank(trained(cut)), seen()
    renamed = Panel.build(panel.dates, panel.assets, [f"new {m}" for m in panel.market_of], panel.returns)
    unseen = agent.signals(renamed)
    np.testing.assert_array_equal(agent.without_embeddings().signals(panel), unseen)
    assert not np.array_equal(agent.signals(panel), unseen)
    assert agent.network.assets.any(), "those of the agent are kept"


def test_the_bank_serves_other_markets_once_its_sequences_have_ended():
    agent, panel = trained(), fresh()
    found = agent.signals(panel)
    assert not np.array_equal(without_bank(agent).signals(panel), found)
    for row in (80, 130, 180):
        moment = seconds(panel.dates)[row]
        other = copy.copy(agent)
        other.bank_ = agent.bank_.take(np.flatnonzero(agent.bank_.days[:, 2].numpy() < moment))
        assert len(other.bank_) < len(agent.bank_)
        np.testing.assert_array_equal(other.signals(panel)[: row + 1], found[: row + 1])
        told = [a.told for a in agent.attended(panel, *names_of(panel)[0], panel.dates[row]) if a.told]
        assert max(one.last for one in told) < panel.dates[row]
        assert {one.market for one in told} & {"M0", "M2"}, "markets that are not played"


def test_the_bank_holds_the_latest_sequences_and_others_spread_over_the_time_before():
    agent = trained()
    panel = seen().until(world().dates[220])
    library = library_of(panel, agent.config)
    every = seconds(panel.dates)[library.sequences.ended].tolist()
    kept = agent.bank_.days[:, 2].tolist()
    assert kept == sorted(kept)
    assert len(every) > 40
    assert 20 <= len(kept) <= 25
    assert kept[-5:] == every[-5:]
    assert kept[0] == every[0]
    gaps = np.diff(np.searchsorted(every, kept))
    assert gaps.max() <= 2 * len(every) / 19


def test_a_market_of_the_training_brings_its_own_sequences_and_none_of_the_bank():
    agent, panel = trained(), seen()
    np.testing.assert_array_equal(without_bank(agent).signals(panel), agent.signals(panel))
    # Days behind the training only: then the bank's are the past that the panel does not hold.
    late = Panel.build(panel.dates[230:], panel.assets, panel.market_of, panel.returns[230:])
    assert not np.array_equal(without_bank(agent).signals(late), agent.signals(late))


def test_zero_shots_learn_nothing_and_few_shots_know_their_market(tmp_path):
    agent, panel = trained(), fresh()
    env = environment(agent, panel.until(panel.dates[150]))
    before = stored(agent, tmp_path / "before")
    shown = adapted(agent, env, seed=3, learn=False)
    np.testing.assert_array_equal(shown.signals(panel), agent.signals(panel))
    learnt = adapted(agent, env, seed=3, learn=True)
    assert learnt.assets_ == names_of(panel)
    assert not np.array_equal(learnt.signals(panel), shown.signals(panel))
    assert learnt.network.assets.any()
    assert stored(agent, tmp_path / "after") == before


def test_it_goes_on_from_the_weights_and_embeddings_of_another():
    agent = trained()
    next_one = XTrend(**{**TINY, "learning_rate": 1e-30, "epochs": 1})
    next_one.start_from(agent)
    next_one.fit(environment(next_one, world().until(world().dates[220])), seed=5)
    ours, theirs = (one.network.state_dict() for one in (next_one, agent))
    expected = dict(zip(agent.assets_, theirs.pop("assets"), strict=True))
    for name, embedding in zip(next_one.assets_, ours.pop("assets"), strict=True):
        torch.testing.assert_close(embedding, expected.get(name, torch.zeros(2)), rtol=0, atol=1e-12)
    assert {name[0] for name in next_one.assets_} == {"M0", "M1", "M2"}
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=1e-12)


# Refusals.


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "hidden": ({"hidden": 0}, "hidden is 0, expected at least 1"),
    "heads": ({"hidden": 10, "heads": 4}, "hidden is 10, expected a multiple of heads, 4"),
    "embedding": ({"embedding": 0}, "embedding is 0, expected at least 1"),
    "embedding_dropout": ({"embedding_dropout": 1.0}, "embedding_dropout is 1.0, expected a rate"),
    "embedding_decay": ({"embedding_decay": -1.0}, "embedding_decay is -1.0, expected a number >= 0"),
    "decay": ({"decay": -1.0}, "decay is -1.0, expected a number >= 0"),
    "dropout": ({"dropout": 1.0}, "dropout is 1.0, expected a rate"),
    "contexts": ({"contexts": "fixd"}, "Did you mean 'fixed'"),
    "context_days": ({"context_days": 0}, "context_days is 0, expected at least 1"),
    "look_back": ({"look_back": 0}, "look_back is 0, expected at least"),
    "threshold": ({"threshold": float("nan")}, "threshold is nan, expected a rate"),
    "shortest": ({"shortest": 9, "context_days": 8}, "shortest is 9, expected at most context_days, 8"),
    "recent": ({"recent": 0}, "recent is 0, expected at least 1"),
    "earlier": ({"earlier": -1}, "earlier is -1, expected at least"),
    "renew": ({"renew": 0}, "renew is 0, expected at least 1"),
    "bank": ({"bank": 0}, "bank is 0, expected at least 1"),
    "likelihood": ({"likelihood": -0.1}, "likelihood is -0.1, expected a number >= 0"),
    "train_cost_bps": ({"train_cost_bps": 20_000.0}, "train_cost_bps is 20000.0, expected"),
    "batch": ({"batch": 0}, "batch is 0, expected at least 1"),
    "length": ({"length": 0}, "length is 0, expected at least 1"),
    "learning_rate": ({"learning_rate": 0.0}, "learning_rate is 0.0, expected a number above 0"),
    "max_norm": ({"max_norm": 0.0}, "max_norm is 0.0, expected a number above 0"),
    "epochs": ({"epochs": 0}, "epochs is 0, expected at least 1"),
    "patience": ({"patience": 0}, "patience is 0, expected at least 1"),
}


def test_every_setting_has_a_case():
    assert set(REFUSED) == {field.name for field in fields(XTrendConfig)}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_cannot_be_used_are_refused_by_name(case):
    options, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        XTrend(**options)


def test_who_is_not_trained_or_of_another_shape_is_refused():
    with pytest.raises(ConfigError, match="not trained"):
        XTrend().signals(world())
    with pytest.raises(ConfigError, match="not trained"):
        XTrend().start_from(XTrend())
    for name, value in (("hidden", 8), ("heads", 1), ("embedding", 3), ("recent", 4), ("earlier", 0)):
        with pytest.raises(
            ConfigError, match=f"{name} is {value}, and {TINY[name]} of the agent to begin at"
        ):
            XTrend(**{**TINY, name: value}).start_from(trained())


def test_an_environment_that_shows_something_else_is_refused():
    agent = XTrend(**TINY)
    with pytest.raises(ConfigError, match="shows 0 features, not those this agent reads"):
        agent.fit(TradingEnv(seen(), window=1), seed=0)
    short = environment(agent, seen().until(world().dates[15]))
    with pytest.raises(ConfigError, match="no asset has a day whose return is defined"):
        agent.fit(short, seed=0, validation=short)
    played = trained()
    first = environment(played, world()).reset(seed=0)[0]
    with pytest.raises(ConfigError, match="5 assets, expected the 3 it is laid out for"):
        played.act(first)

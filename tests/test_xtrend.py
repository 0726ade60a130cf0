"""X-Trend as an agent: causal, streamed, readable; what it knows of assets; saved, read, gone on from."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.adapting import adapted
from agents.agent import AGENTS, load_agent, make_agent, play
from agents.xtrend import XTrend, XTrendConfig
from agents.xtrend.pool import Pool, names_of, seconds
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged
from tests.gappy import gappy

SMALL: dict[str, Any] = {
    **{"hidden": 4, "context_days": 5, "recent": 4, "earlier": 2, "renew": 7, "bank": 20},
    **{"length": 20, "epochs": 3, "batch": 32, "likelihood": 0.3, "decay": 0.0},
}
CUTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "changepoints": {"contexts": "changepoints", "look_back": 10, "shortest": 2, "context_days": 12},
}
every_cut = pytest.mark.parametrize("cut", CUTS)


def environment(agent: XTrend, panel: Panel, **options: Any) -> TradingEnv:
    asks = agent.settings
    return TradingEnv(panel, window=1, features=asks.features, vol_target=asks.vol_target, **options)


@lru_cache
def world() -> Panel:
    """Three markets with a trend; nobody is trained on the last."""
    return ragged(sizes=(2, 1, 2), days=420, coefficient=0.5, seed=11)


@lru_cache
def known() -> Panel:
    return world().select(["M0", "M1"])


@lru_cache
def fresh() -> Panel:
    return world().select(["M2"])


LEARNT = 300  # days


def train(cut: str = "fixed", seed: int = 0, **options: Any) -> XTrend:
    agent = XTrend(**{**SMALL, **CUTS[cut], **options})
    return agent.fit(environment(agent, known().until(known().dates[LEARNT])), seed=seed)


@lru_cache
def trained(cut: str = "fixed") -> XTrend:
    """As it is after a few steps, its parameters moved, so that everything in it has a say."""
    agent = train(cut)
    assert agent.network is not None
    with torch.no_grad():
        for number, parameter in enumerate(agent.network.parameters()):
            parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
    return agent


def stored(agent: XTrend, folder: Path) -> dict[str, bytes]:
    agent.save(folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


# Nothing later reaches anything earlier.


@every_cut
@pytest.mark.parametrize("seed", [1, 2])
def test_no_later_return_of_any_asset_moves_an_earlier_signal(cut: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    panel = gappy(seed, halts=True).until(gappy(seed, halts=True).dates[150 if cut == "fixed" else 110])
    agent = trained(cut)
    before = agent.signals(panel)
    assert np.abs(before[60:]).max() > 0
    for day in rng.integers(40, len(panel.dates) - 2, 4):
        returns = panel.returns.copy()
        changed = rng.integers(panel.shape[1])
        later = day + 1 + rng.integers(2)
        returns[later, changed] = rng.choice([0.05, -0.05, np.nan])
        names = list(panel.assets), list(panel.market_of)
        other = agent.signals(Panel.build(panel.dates, *names, returns))
        np.testing.assert_array_equal(other[: day + 1], before[: day + 1])
        # Nor does it need to know that there is a later day.
        np.testing.assert_array_equal(agent.signals(panel.until(panel.dates[day])), before[: day + 1])


@every_cut
def test_what_other_assets_did_reaches_a_signal_but_only_a_day_later(cut: str) -> None:
    panel, agent = known().until(known().dates[120]), trained(cut)
    before, reached = agent.signals(panel), 0
    target, other = 0, 2
    for day in range(60, 118, 3):
        returns = panel.returns.copy()
        if not np.isfinite(returns[day, other]):
            continue
        returns[day, other] = -returns[day, other] + 0.01
        names = list(panel.assets), list(panel.market_of)
        after = agent.signals(Panel.build(panel.dates, *names, returns))
        np.testing.assert_array_equal(after[: day + 1, target], before[: day + 1, target])
        reached += int(not np.array_equal(after[day + 1 :, target], before[day + 1 :, target]))
    assert reached > 12


# Day by day.


@every_cut
@pytest.mark.parametrize("seed", [3, 4])
def test_day_by_day_an_agent_plays_what_it_plays_in_one_pass(cut: str, seed: int) -> None:
    panel = gappy(seed, halts=True).until(gappy(seed, halts=True).dates[120])
    agent = trained(cut)
    env = environment(agent, panel)
    other = adapted(agent, env, seed=0, learn=False)
    at_once, live = other.signals(panel), env.tape.live[:-1]
    np.testing.assert_allclose(play(other, env)[:-1][live], at_once[:-1][live], rtol=0, atol=1e-5)
    assert live.sum() > 200


def test_the_bank_of_an_agent_serves_day_by_day_as_in_one_pass() -> None:
    """Of assets that are played, sequences that had ended before the first day; of others, all of them."""
    agent = trained()
    later = world().since(world().dates[200]).until(world().dates[290])
    env = environment(agent, later)
    other = adapted(agent, env, seed=0, learn=False)
    at_once, live = other.signals(later), env.tape.live[:-1]
    np.testing.assert_allclose(play(other, env)[:-1][live], at_once[:-1][live], rtol=0, atol=1e-5)


# What a decision attended to.


@every_cut
def test_what_is_attended_to_had_ended_before_the_day_and_its_weights_sum_to_one(cut: str) -> None:
    panel, agent = known(), trained(cut)
    names = names_of(panel)
    rows = range(150, 160) if cut == "fixed" else [155]
    panel = panel.until(panel.dates[max(rows)])
    seen = 0
    for t in rows:
        for j in np.flatnonzero(panel.tradable[t]):
            found = agent.attended(panel, *names[j], panel.dates[t])
            weights = [one.weight for one in found]
            assert sum(weights) == pytest.approx(1.0, abs=1e-6)
            assert weights == sorted(weights, reverse=True)
            assert [one.told for one in found].count(None) == 1
            for told, _ in found:
                if told is None:
                    continue
                own = panel.dates[panel.tradable[:, names.index((told.market, told.asset))]]
                span = own[(own >= told.first) & (own <= told.last)]
                assert {told.first, told.last} <= set(span)
                assert 2 <= len(span) <= agent.config.context_days or cut == "fixed"
                following = own[own > told.last][0]
                assert following < panel.dates[t], "its last next return was known the day before"
                seen += 1
    assert seen > 4


def test_a_signal_moves_with_what_was_attended_to_and_with_no_other_day_of_another_asset() -> None:
    panel, agent, target = known().until(known().dates[200]), trained(), 0
    names, t = names_of(panel), int(np.flatnonzero(known().tradable[:190, 0])[-1])
    found = agent.attended(panel, *names[target], panel.dates[t])
    told = [one.told for one in found if one.told is not None]
    before = agent.signals(panel)[t, target]
    for other in range(1, panel.shape[1]):
        own = np.flatnonzero(panel.tradable[:t, other])
        spans = [one for one in told if (one.market, one.asset) == names[other]]
        last = max(np.datetime64(one.last) for one in spans)
        label, *behind = own[panel.dates[own] > last]
        for row, moves in [(label, True), *((row, False) for row in behind)]:
            returns = panel.returns.copy()
            returns[row, other] += 0.01
            shown = Panel.build(panel.dates, list(panel.assets), list(panel.market_of), returns)
            assert (agent.signals(shown)[t, target] != before) == moves, (other, row)


def test_a_decision_that_is_none_has_not_attended_to_anything() -> None:
    agent, panel = trained(), known()
    market, asset = names_of(panel)[0]
    with pytest.raises(ConfigError, match="no asset 'A9'"):
        agent.attended(panel, market, "A9", panel.dates[100])
    closed = panel.dates[100 + int(np.argmin(panel.tradable[100:, 0]))]
    for day in (closed, panel.dates[0], panel.dates[-1] + 3):
        with pytest.raises(ConfigError, match=f"no decision on {day}"):
            agent.attended(panel, market, asset, day)


# Assets that were and were not seen.


def test_only_assets_that_were_learnt_from_have_an_embedding() -> None:
    agent = train(epochs=8, patience=8)
    assert agent.network is not None
    assert agent.assets_ == names_of(known())
    assert agent.network.assets.abs().sum(1).gt(0).all()
    zero = agent.without_embeddings()
    for panel, differ in ((known(), True), (fresh(), False)):
        assert differ != np.array_equal(agent.signals(panel), zero.signals(panel))
    assert agent.network.assets.any(), "a copy lost them"
    # An asset of the same name in another market is another asset.
    panel = known()
    moved = Panel.build(panel.dates, list(panel.assets), [f"{m}x" for m in panel.market_of], panel.returns)
    bankless = XTrend(**agent.config.__dict__)
    bankless.network, bankless.assets_ = agent.network, agent.assets_
    bankless.bank_ = agent._bank().take(np.zeros(0, dtype=np.intp))
    again = bankless.without_embeddings()
    np.testing.assert_array_equal(bankless.signals(moved), again.signals(panel))


def test_a_zero_shot_knows_the_other_markets_assets_and_nothing_else_of_them() -> None:
    agent = trained()
    env = environment(agent, fresh().until(fresh().dates[LEARNT]))
    other = agent.adapt(env, seed=0, learn=False)
    assert other.network is agent.network
    assert other.assets_ == agent.assets_
    np.testing.assert_array_equal(other.signals(fresh()), agent.signals(fresh()))
    short = environment(agent, fresh().until(fresh().dates[40]))
    assert play(other, short).shape == (41, 2)
    with pytest.raises(ConfigError, match=r"2 assets, expected the 3 it is laid out for; agent\.adapt"):
        play(agent, short)


def test_few_shots_begin_at_the_weights_and_give_the_new_assets_embeddings() -> None:
    agent = trained()
    learn, held = (environment(agent, part) for part in _split(fresh(), 200, 280))
    other = agent.adapt(learn, seed=1, learn=True, validation=held)
    assert other.network is not None
    assert agent.network is not None
    assert other.assets_ == names_of(fresh())
    ours, theirs = dict(other.network.named_parameters()), dict(agent.network.named_parameters())
    for name in set(ours) - {"assets"}:
        moved = (ours[name] - theirs[name]).abs().max()
        assert moved < 12 * other.config.learning_rate, "as far as a few steps of Adam go"
    assert any(not torch.equal(ours[name], theirs[name]) for name in set(ours) - {"assets"})


def _split(panel: Panel, first: int, second: int) -> tuple[Panel, Panel]:
    return panel.until(panel.dates[first]), panel.since(panel.dates[first + 1]).until(panel.dates[second])


def test_a_training_begins_at_another_agents_weights_and_embeddings_of_assets_both_know() -> None:
    earlier = trained()
    agent = XTrend(**SMALL)
    agent.start_from(earlier)
    agent.assets_ = (*names_of(fresh()), *names_of(known())[1:])
    network = agent._build()
    agent._take_over(network)
    ours, theirs = network.state_dict(), earlier._trained().state_dict()
    for name in set(ours) - {"assets"}:
        assert torch.equal(ours[name], theirs[name])
    assert not ours["assets"][:2].any()
    assert torch.equal(ours["assets"][2:], theirs["assets"][1:])
    for name, value in (("hidden", 8), ("heads", 1), ("embedding", 2), ("recent", 5), ("earlier", 1)):
        with pytest.raises(ConfigError, match=f"{name} is {value}, and {SMALL.get(name, '')}"):
            XTrend(**{**SMALL, name: value}).start_from(earlier)
    with pytest.raises(ConfigError, match="not trained"):
        agent.start_from(XTrend(**SMALL))


# Stored.


@every_cut
def test_a_saved_agent_is_read_with_the_same_bytes_and_signals(cut: str, tmp_path: Path) -> None:
    agent, panel = trained(cut), world().until(world().dates[200])
    first = stored(agent, tmp_path / "a")
    again = load_agent("x-trend", tmp_path / "a")
    assert isinstance(again, XTrend)
    assert stored(again, tmp_path / "b") == first
    np.testing.assert_array_equal(again.signals(panel), agent.signals(panel))
    env = environment(agent, known().until(known().dates[60]))
    np.testing.assert_array_equal(play(again, env), play(agent, env))
    market, asset = names_of(panel)[0]
    day = panel.dates[np.flatnonzero(panel.tradable[:, 0])[-1]]
    assert again.attended(panel, market, asset, day) == agent.attended(panel, market, asset, day)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    one, same, other = (stored(train(seed=s), tmp_path / str(n)) for n, s in enumerate((5, 5, 6)))
    assert one == same
    assert one != other


def test_a_bank_keeps_the_latest_sequences_and_others_spread_over_the_time_before() -> None:
    agent = train(bank=6, recent=4, earlier=0)
    bank = agent._bank()
    panel = known().until(known().dates[LEARNT])
    assert 6 <= len(bank) <= 10
    last = panel.dates.astype("datetime64[s]").astype(np.int64)
    ended = bank.days[:, 2].numpy()
    assert (np.diff(ended) >= 0).all()
    assert (ended[-4:] >= last[-15]).all()
    assert ended[0] < last[60]
    assert ended.max() <= last[-1]


def test_sequences_of_assets_that_are_played_come_from_the_panel_and_not_twice() -> None:
    agent = trained()
    bank, moments = agent._bank(), seconds(known().dates)
    assert len(bank) > 20
    assert len(bank.beside(names_of(known()), moments)) == 0, "it brings all of them itself"
    assert len(bank.beside(names_of(fresh()), moments)) == len(bank)
    beginning = moments[150:]
    before = int((bank.days[:, 2].numpy() < beginning[0]).sum())
    assert 0 < len(bank.beside(names_of(known()), beginning)) == before < len(bank)


def test_sequences_from_two_places_are_in_the_order_in_which_they_ended() -> None:
    def pool(name: str, days: list[int]) -> Pool:
        P = len(days)
        ended = torch.tensor(days)[:, None].expand(P, 3).clone()
        return Pool(
            (("M", name),), torch.zeros(P, dtype=torch.int64), torch.ones(P, 2), torch.ones(P, 2), ended
        )

    both, rows = pool("a", [-5, 20, 25]).before(pool("b", [10, 20, 31]), np.array([0, 10, 20, 30]))
    assert rows.tolist() == [-1, 1, 2, 2, 2, 3]
    assert [both.told(n).asset for n in range(6)] == ["a", "b", "a", "a", "b", "b"]


# Refused.


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"hidden": 0}, "hidden"),
        ({"hidden": 5}, "hidden is 5, expected a multiple of heads, 2"),
        ({"recent": 0}, "recent"),
        ({"earlier": -1}, "earlier"),
        ({"shortest": 11}, "shortest is 11, expected at most context_days, 10"),
        ({"contexts": "regimes"}, "contexts"),
        ({"dropout": 1.0}, "dropout"),
        ({"embedding_dropout": -0.1}, "embedding_dropout"),
        ({"threshold": 1.0}, "threshold"),
        ({"likelihood": float("nan")}, "likelihood"),
        ({"decay": -1.0}, "decay"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"epochs": 0}, "epochs"),
        ({"renew": 0}, "renew"),
        ({"bank": 1.5}, "bank"),
    ],
)
def test_hyperparameters_that_make_no_sense_are_refused_by_name(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        XTrendConfig(**options)


def test_an_untrained_agent_says_so(tmp_path: Path) -> None:
    agent = XTrend()
    for use in (
        lambda: agent.signals(known()),
        lambda: agent.save(tmp_path),
        lambda: agent.without_embeddings(),
        lambda: agent.attended(known(), *names_of(known())[0], known().dates[99]),
    ):
        with pytest.raises(ConfigError, match="not trained"):
            use()


def test_it_is_registered_and_says_what_it_is() -> None:
    assert AGENTS["x-trend"].learns
    assert repr(make_agent("x-trend")) == "XTrend(contexts='fixed')"
    assert set(XTrend().space) <= set(XTrendConfig().__dict__)

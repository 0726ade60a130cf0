"""QuantNet as an agent: what it maximises, new markets, embeddings, scores, awkward markets, its settings."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

import agents.population.jobs as jobs
from agents.agent import play
from agents.quantnet import QuantNet, QuantNetConfig
from agents.quantnet.course import Course, pooled_sharpe
from agents.quantnet.warm import take_over
from agents.training import Monitor
from qn_env.environment import TradingEnv
from qn_env.episodes import Episodes
from qn_env.errors import ConfigError
from qn_env.objectives import LOSS_FLOOR
from qn_env.panel import Panel
from qn_env.sources.synthetic import ar1_trend, noise, ragged, weekdays
from qn_env.windows import countable, window_sharpe

BRIEF = {"steps": 6, "epoch": 3, "batch": 4, "length": 20}
KINDS = {
    "published": {},
    "linear with lags": {"encoder": "linear", "decoder": "linear", "lags": 3},
    "no transfer": {"transfer": None},
    "shared": {"weights": "shared"},
}
every_kind = pytest.mark.parametrize("kind", KINDS)
WITH_ENCODER = [kind for kind in KINDS if kind != "no transfer"]
PUBLISHED = [kind for kind in KINDS if kind != "shared"]


@lru_cache
def panel() -> Panel:
    return ragged(sizes=(3, 2, 3, 1), days=300, seed=2)


KNOWN, NEW = ("M0", "M1"), ("M2", "M3")


def environment(agent: QuantNet, panel: Panel, **options) -> TradingEnv:
    settings = agent.settings
    return TradingEnv(
        panel,
        window=settings.window,
        features=settings.features,
        cost_bps=settings.train_cost_bps,
        **options,
    )


def fitted(kind: str, panel: Panel, *, seed: int = 0, monitor: Monitor | None = None, **options) -> QuantNet:
    agent = QuantNet(**{**BRIEF, **KINDS[kind], **options})
    agent.monitor = monitor or Monitor()
    return agent.fit(environment(agent, panel), seed=seed)


def known(kind: str, **options) -> QuantNet:
    """Trained on the known markets only; a fresh one, to be changed at will."""
    return fitted(kind, panel().select(KNOWN), **options)


def add(agent: QuantNet, markets, **options) -> QuantNet:
    return agent.add_market(environment(agent, panel().select(markets)), seed=1, **options)


def renamed(panel: Panel, name: str) -> Panel:
    """A panel of one market under another name."""
    return Panel.build(
        panel.dates, panel.assets, [name] * panel.shape[1], panel.returns, tradable=panel.tradable
    )


def weights(agent: QuantNet) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in agent.network.state_dict().items()}


# The objective.


@pytest.mark.parametrize("kind", KINDS)
def test_the_validation_score_is_the_mean_over_markets_of_the_assets_mean_sharpe_ratio(kind):
    """Eqs. 7-8, from the signals of a plain pass: s_t earns the next day's return, held-out last 10%."""
    whole = noise(markets=1, assets=3, days=200, seed=0)
    other = noise(markets=1, assets=1, days=200, seed=1)
    both = Panel.build(
        whole.dates,
        [*whole.assets, *other.assets],
        ["A"] * 3 + ["B"],
        np.hstack([whole.returns, other.returns]),
    )
    agent = fitted(kind, both)
    signals = agent.signals(both)
    net = (signals[:-1] * both.returns[1:])[179:]
    ratios = 252**0.5 * net.mean(axis=0) / np.sqrt(np.maximum(net.var(axis=0), LOSS_FLOOR))
    expected = (ratios[:3].mean() + ratios[3]) / 2
    assert agent.training_.best_score == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("pooled", [False, True])
def test_the_market_objective_is_a_plain_loop_over_windows_and_assets(pooled):
    """Windows of 5 days of a ragged market: some assets have fewer than two days that count."""
    env = TradingEnv(panel().select(["M0"]), window=1, cost_bps=10.0)
    episode = env.episodes(generator=torch.Generator().manual_seed(3)).sample(length=5, batch=60)["M0"]
    signals = torch.rand(episode.shape, generator=torch.Generator().manual_seed(4)) * 2 - 1
    net, counted = episode.settle(signals).net.numpy(), episode.counted.numpy()
    ratios = []
    for j in range(3):
        days = [net[b, counted[b, :, j], j] for b in range(60)]
        for own in [np.concatenate(days)] if pooled else days:
            if len(own) >= 2:
                ratios.append(252**0.5 * own.mean() / max(own.var(), LOSS_FLOOR) ** 0.5)
    assert len(ratios) < 3 * 60, "the case must occur"
    found = pooled_sharpe(episode, signals) if pooled else window_sharpe(episode, signals)
    assert float(found) == pytest.approx(np.mean(ratios))


def test_a_market_without_two_counted_days_has_no_objective():
    env = TradingEnv(noise(markets=1, assets=2, days=2, seed=0), window=1)
    episode = env.episodes().block()["M0"]
    assert not countable(episode)


def test_pooled_trains_to_other_weights():
    plain, pooled = (known("published", pooled=p) for p in (False, True))
    assert any(
        not torch.equal(a, b) for a, b in zip(*(weights(x).values() for x in (plain, pooled)), strict=True)
    )


@every_kind
def test_costs_inside_the_objective_lower_the_turnover(kind):
    """On reversing returns trading every day pays before costs, and never after 1% a trade."""
    reversing = ar1_trend(coefficient=-0.4, markets=1, assets=2, days=600, seed=0)

    def turnover(train_cost_bps: float) -> float:
        options = {"steps": 100, "epoch": 20, "length": 40, "batch": 8, "learning_rate": 2e-2}
        agent = fitted(kind, reversing, train_cost_bps=train_cost_bps, **options)
        assert agent.settings.train_cost_bps == train_cost_bps
        return float(np.abs(np.diff(agent.signals(reversing), axis=0)).mean())

    assert turnover(100.0) < 0.5 * turnover(0.0)


# Markets in a step.


def markets_drawn(monkeypatch, agent: QuantNet, env: TradingEnv) -> list[tuple[str, ...]]:
    drawn, sample = [], Episodes.sample

    def recorded(self, **options):
        batch = sample(self, **options)
        drawn.append(tuple(batch))
        return batch

    monkeypatch.setattr(Episodes, "sample", recorded)
    agent.fit(env, seed=0)
    return drawn


def test_a_step_sees_as_many_markets_as_asked_for_and_all_by_default(monkeypatch):
    agent = QuantNet(**{**BRIEF, "steps": 12, "markets": 2})
    drawn = markets_drawn(monkeypatch, agent, environment(agent, panel()))
    assert len(drawn) == 12
    assert all(len(set(names)) == 2 for names in drawn)
    assert {name for names in drawn for name in names} == set(panel().markets)
    monkeypatch.undo()
    agent = QuantNet(**BRIEF)
    assert set(markets_drawn(monkeypatch, agent, environment(agent, panel()))) == {tuple(panel().markets)}


@every_kind
def test_weights_are_selected_by_the_signals_that_the_agent_gives_on_those_days(kind, monkeypatch):
    """With a state that has seen the whole history, in the selection as at prediction."""
    judged, objective = [], Course.objective

    def kept(self, batch):
        network = self.network
        if not torch.is_grad_enabled():
            signals = {name: network(name, network.inputs_of(e))[0] for name, e in batch.items()}
            judged.append({name: (e, signals[name][0].double().numpy()) for name, e in batch.items()})
        return objective(self, batch)

    monkeypatch.setattr(Course, "objective", kept)
    agent = QuantNet(**{**BRIEF, **KINDS[kind], "epoch": 6, "patience": 1})
    env = environment(agent, ragged(sizes=(2, 3), days=500, seed=4))
    learn, held = env.split()
    agent.fit(learn, seed=0, validation=held)
    everything = agent.signals(held.panel)
    for name, (episode, signals) in judged[-1].items():
        market = held.panel.markets[name]
        assert len(signals) == len(market.rows) - 1, "from the first day on"
        days = market.compact(everything)[: len(signals)]
        decided = episode.listed[0].numpy().any(axis=1)
        assert decided.any()
        np.testing.assert_allclose(signals[decided], days[decided], atol=1e-5)


@pytest.mark.parametrize("steps", [5, 12, 13])
def test_a_budget_of_steps_is_kept_where_the_last_epoch_is_shorter(steps, monkeypatch):
    agent = QuantNet(**{**BRIEF, "steps": steps, "epoch": 4, "patience": 99})
    assert len(markets_drawn(monkeypatch, agent, environment(agent, panel()))) == steps
    assert agent.training_.epochs == -(-steps // 4)


def test_more_markets_than_there_are_is_refused():
    with pytest.raises(ConfigError, match="markets is 5, expected 1 to 4"):
        fitted("published", panel(), markets=5)


# New markets.


@every_kind
@pytest.mark.parametrize("beside", [False, True])
def test_a_new_market_is_learnt_without_changing_anything_else(kind, beside):
    agent, block = known(kind), panel().select(KNOWN)
    before, signals = weights(agent), agent.signals(block)
    add(agent, [*KNOWN, *NEW] if beside else NEW)
    after = weights(agent)
    for name, value in before.items():
        assert torch.equal(after[name], value), name
    own = {id(p) for market in NEW for p in agent.network.own(market)}
    fresh = {name for name, p in agent.network.named_parameters() if id(p) in own}
    assert set(after) - set(before) == fresh
    np.testing.assert_array_equal(agent.signals(block), signals)
    assert all(p.requires_grad for p in agent.network.parameters())
    assert not agent.network.training


@every_kind
def test_a_new_market_does_learn(kind):
    """Further steps end elsewhere than none, in every tensor of the new market."""
    like = {} if kind == "shared" else {"like": "M0"}
    start, learnt = (add(known(kind), ["M2"], steps=steps, **like) for steps in (0, 6))
    for before, after in zip(start.network.own("M2"), learnt.network.own("M2"), strict=True):
        assert not torch.equal(before, after)


@every_kind
def test_the_same_seed_learns_the_same_new_market(kind):
    block = panel().select(NEW)
    first, second = (add(known(kind), NEW) for _ in range(2))
    np.testing.assert_array_equal(first.signals(block), second.signals(block))


@every_kind
@pytest.mark.parametrize("beside", [False, True])
def test_save_and_load_agree_after_a_market_was_added(kind, beside, tmp_path):
    agent = add(known(kind), [*KNOWN, *NEW] if beside else NEW)
    agent.save(tmp_path)
    again = QuantNet.load(tmp_path)
    np.testing.assert_array_equal(again.signals(panel()), agent.signals(panel()))
    env = environment(agent, panel().select([*KNOWN, *NEW] if beside else NEW))
    np.testing.assert_array_equal(play(again, env), play(agent, env))


@every_kind
def test_after_adding_the_agent_plays_environments_laid_out_like_the_new_one(kind):
    agent = add(known(kind), NEW)
    env = environment(agent, panel().select(NEW))
    stepped, at_once = play(agent, env), agent.signals(panel().select(NEW))
    live = env.tape.live[:-1]
    np.testing.assert_allclose(stepped[:-1][live], at_once[:-1][live], rtol=0, atol=1e-5)


def test_shared_weights_play_a_market_never_seen_as_one_without_embeddings():
    """The returns of a known market under a new name: as if its embeddings were zero, and not as they are."""
    agent = known("shared")
    block = panel().select(["M0"])
    unseen = renamed(block, "never seen")
    bare = agent.without_embeddings().signals(block)
    agent.add_market(environment(agent, unseen), seed=0, steps=0)
    found = agent.signals(unseen)
    np.testing.assert_array_equal(found, bare)
    np.testing.assert_array_equal(agent.without_embeddings().signals(unseen), found)
    assert np.abs(found).max() > 0.0
    assert not np.array_equal(found, agent.signals(block))


def test_a_copy_without_embeddings_leaves_the_original_alone():
    agent = add(known("shared"), NEW)
    before = agent.signals(panel())
    bare = agent.without_embeddings()
    assert not np.array_equal(bare.signals(panel()), before)
    for own in (bare.network.own(market) for market in bare.network.names):
        assert all(not p.any() for p in own)
    np.testing.assert_array_equal(agent.signals(panel()), before)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_a_published_network_starts_a_new_market_from_a_known_one(kind):
    """The returns of a known market under a new name, zero-shot: its signals."""
    agent, block = known(kind), panel().select(["M0"])
    unseen = renamed(block, "twin")
    agent.add_market(environment(agent, unseen), seed=0, steps=0, like="M0")
    # The unit is the standard deviation of the days it was given: 10% more than the known market's.
    agent.unit_["twin"] = agent.unit_["M0"]
    np.testing.assert_array_equal(agent.signals(unseen), agent.signals(block))


REFUSED = {
    "nothing to start from": ("published", NEW, {"steps": 0}, "needs the encoder of a known one: like=NAME"),
    "nothing new": ("published", KNOWN, {}, "known already: M0, M1"),
    "sizes": ("published", ["M2"], {"like": "M1"}, "'M2' has 3 assets and 'M1' has 2; an encoder serves"),
    "a typo": ("published", ["M2"], {"like": "M00"}, "unknown market 'M00'. Did you mean 'M0'"),
    "itself": ("published", ["M2"], {"like": "M2"}, "unknown market 'M2'"),
    "shared": ("shared", NEW, {"like": "M0"}, "like=NAME is for the published network"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_added_is_refused(case):
    kind, markets, options, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        add(known(kind), markets, **options)


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_market_changes_nothing(case):
    kind, markets, options, _ = REFUSED[case]
    agent = known(kind)
    before, signals = weights(agent), agent.signals(panel().select(KNOWN))
    with pytest.raises(ConfigError):
        add(agent, markets, **options)
    assert list(agent.network.names) == list(KNOWN)
    assert list(agent.columns_) == list(KNOWN)
    assert list(weights(agent)) == list(before)
    np.testing.assert_array_equal(agent.signals(panel().select(KNOWN)), signals)


def test_markets_that_are_not_known_are_refused_with_advice():
    agent = known("published")
    with pytest.raises(ConfigError, match="'M2' was not trained on; call add_market first"):
        agent.signals(panel())
    with pytest.raises(ConfigError, match="'M2' was not trained on; call add_market first"):
        agent.encoder_scores(panel())
    smaller = panel().select(["M0"])
    part = Panel.build(smaller.dates, smaller.assets[:2], ["M0"] * 2, smaller.returns[:, :2])
    with pytest.raises(ConfigError, match="'M0' has 2 assets, expected the 3 it was trained on"):
        agent.signals(part)
    with pytest.raises(ConfigError, match="not trained"):
        QuantNet().encoder_scores(panel())
    with pytest.raises(ConfigError, match="only shared weights have embeddings"):
        agent.without_embeddings()


# Warm starts.


LATER = ("M1", "M2")  # of the known markets one goes on, one ends, and one is new


@pytest.fixture
def starts(monkeypatch) -> list[dict[str, list[torch.Tensor]]]:
    """Copies of what each market has of its own when a training begins; under "" what all share."""
    found, begin = [], jobs.train

    def train(network, *arguments, **options):
        found.append(parts(network))
        return begin(network, *arguments, **options)

    monkeypatch.setattr(jobs, "train", train)
    return found


def parts(network) -> dict[str, list[torch.Tensor]]:
    own = {name: network.own(name) for name in network.names}
    taken = {id(p) for weights in own.values() for p in weights}
    own[""] = [p for p in network.parameters() if id(p) not in taken]
    return {name: [p.detach().clone() for p in weights] for name, weights in own.items()}


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def fit_from(
    earlier: QuantNet, kind: str, *, seed: int = 1, monitor: Monitor | None = None, **options
) -> QuantNet:
    agent = QuantNet(**{**BRIEF, **KINDS[kind], **options})
    agent.monitor = monitor or Monitor()
    agent.start_from(earlier)
    return agent.fit(environment(agent, panel().select(LATER)), seed=seed)


@every_kind
def test_a_warm_start_begins_at_what_is_shared_and_at_each_known_market(kind, starts):
    earlier = known(kind)
    before = parts(earlier.network)
    fitted(kind, panel().select(LATER), seed=1)
    warm = fit_from(earlier, kind)
    _, cold, start = starts
    assert same(start[""], before[""])
    assert same(start["M1"], before["M1"])
    assert same(start["M2"], cold["M2"])
    assert not same(cold["M1"], before["M1"])
    assert list(start) == ["M1", "M2", ""]
    assert parts(earlier.network).keys() == before.keys()
    assert all(same(parts(earlier.network)[name], before[name]) for name in before)
    assert not same(parts(warm.network)["M1"], before["M1"])


@every_kind
def test_a_warm_start_leaves_the_windows_to_the_seed(kind):
    first, again, other = (parts(fit_from(known(kind), kind, seed=s).network)["M1"] for s in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)


class KilledError(Exception):
    """What stops a training here."""


def stop(done: int, total: int) -> None:
    if done == 1:
        raise KilledError


@every_kind
def test_a_killed_warm_start_goes_on_to_the_same_weights_and_never_from_a_cold_one(kind, tmp_path):
    epochs = []
    # From scratch, and kept beside.
    fitted(kind, panel().select(LATER), seed=1, monitor=Monitor(checkpoints=tmp_path))
    with pytest.raises(KilledError):
        fit_from(known(kind), kind, monitor=Monitor(checkpoints=tmp_path, progress=stop))
    heard = Monitor(checkpoints=tmp_path, progress=lambda done, total: epochs.append(done))
    found = fit_from(known(kind), kind, monitor=heard)
    assert epochs[-1:] == [2]
    whole = fit_from(known(kind), kind)
    assert found.training_ == whole.training_
    assert all(torch.equal(a, b) for a, b in zip(*(weights(x).values() for x in (found, whole)), strict=True))


OTHER_SHAPES = {
    "shared": ("published", {"dimension": 7}, "what all markets share: .* cannot begin at those of shapes"),
    "own": ("no transfer", {"layers": 2}, "market 'M1': .* cannot begin at those of shapes"),
    "kind": ("published", {"weights": "shared"}, "what all markets share: "),
}


@pytest.mark.parametrize("case", OTHER_SHAPES)
def test_a_warm_start_of_another_shape_is_refused_by_the_part(case):
    kind, options, message = OTHER_SHAPES[case]
    with pytest.raises(ConfigError, match=message):
        fit_from(known(kind), kind, **options)


def test_a_refused_warm_start_changes_nothing():
    """The shared part agrees, and market M1 does not: it has three assets here and two there."""
    network = QuantNet(**BRIEF)._build({"M0": 3, "M1": 3})
    before = parts(network)
    with pytest.raises(ConfigError, match="market 'M1'"):
        take_over(network, known("published").network)
    assert all(same(parts(network)[name], before[name]) for name in before)


def test_a_warm_start_needs_a_trained_agent():
    with pytest.raises(ConfigError, match="not trained"):
        QuantNet().start_from(QuantNet())


# Awkward markets.


@lru_cache
def awkward() -> Panel:
    """A long market with an asset listed late and one never, and a market far shorter than a window."""
    returns = np.array(noise(markets=1, assets=6, days=260, seed=5).returns)
    returns[:150, 1] = np.nan
    returns[:, 2] = np.nan
    returns[255:, 3] = np.nan
    returns[:228, 4:] = np.nan
    returns[100:120, 0] = 0.0
    return Panel.build(weekdays(260), list("abcdef"), ["long"] * 4 + ["short"] * 2, returns)


@every_kind
@pytest.mark.parametrize("pooled", [False, True])
def test_short_markets_and_late_or_absent_assets_train_without_nan(kind, pooled):
    agent = fitted(kind, awkward(), length=63, pooled=pooled)
    assert np.isfinite(agent.training_.best_score)
    assert all(torch.isfinite(p).all() for p in agent.network.parameters())
    assert np.isfinite(agent.signals(awkward())).all()
    assert all((unit > 0).all() for unit in agent.unit_.values())


@every_kind
def test_an_asset_that_never_traded_in_training_has_finite_signals_once_it_does(kind):
    agent = fitted(kind, awkward())
    later = np.array(awkward().returns)
    later[200:, 2] = 0.01
    block = Panel.build(awkward().dates, awkward().assets, awkward().market_of, later)
    found = agent.signals(block)
    assert np.isfinite(found).all()
    assert np.abs(found[210:, 2]).max() > 0


@pytest.mark.parametrize(("days", "length"), [(9, 20), (200, 1)])
def test_too_few_days_for_any_sharpe_ratio_are_refused(days, length):
    """Of 9 days the held-out tenth is one; a window of one day has no deviation."""
    with pytest.raises(ConfigError):
        fitted("published", noise(markets=1, assets=2, days=days, seed=0), length=length)


def test_returns_are_read_in_units_of_the_training_blocks_deviation():
    agent = fitted("published", awkward())
    learnt = environment(agent, awkward()).split()[0].panel.returns
    for j in (0, 1, 3):
        assert agent.unit_["long"][j] == pytest.approx(np.nanstd(learnt[:, j]))
    assert agent.unit_["long"][2] == 1.0


# Streaming and scores.


@pytest.mark.parametrize("kind", WITH_ENCODER)
def test_pieces_of_another_length_give_the_same_signals_and_scores(kind, monkeypatch):
    agent = fitted(kind, panel())
    signals, scores = agent.signals(panel()), agent.encoder_scores(panel())
    monkeypatch.setattr("agents.quantnet.agent.CHUNK", 37)
    np.testing.assert_allclose(agent.signals(panel()), signals, rtol=0, atol=1e-5)
    for name, found in agent.encoder_scores(panel()).items():
        np.testing.assert_allclose(found, scores[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", WITH_ENCODER)
def test_encoder_scores_are_one_row_per_trading_day_and_causal(kind):
    agent, day = fitted(kind, panel(), dimension=7), panel().dates[200]
    scores = agent.encoder_scores(panel())
    other = panel().with_future_scrambled(day)
    scrambled = agent.encoder_scores(other)
    assert list(scores) == list(panel().markets)
    for name, market in panel().markets.items():
        assert scores[name].shape == (len(market.rows), 7)
        assert np.isfinite(scores[name]).all()
        past = int((panel().dates[market.rows] <= day).sum())
        np.testing.assert_array_equal(scrambled[name][:past], scores[name][:past])
        assert not np.array_equal(scrambled[name][past : past + 5], scores[name][past : past + 5])


def test_without_transfer_there_is_no_encoder_to_score():
    with pytest.raises(ConfigError, match="encoder"):
        fitted("no transfer", panel()).encoder_scores(panel())


def test_without_transfer_a_market_is_trained_as_if_it_were_alone():
    """No Transfer shares nothing: what another market's returns are does not reach this one's signals."""
    options = {"steps": 3, "epoch": 3, "max_norm": 1e9}  # one validation; the gradient's norm is common
    both = noise(markets=2, assets=2, days=200, seed=0)
    changed = np.array(both.returns)
    changed[:, 2:] *= -1.5
    other = Panel.build(both.dates, both.assets, both.market_of, changed)
    apart, shared = {}, {}
    for key, block in {"one": both, "other": other}.items():
        apart[key] = fitted("no transfer", block, **options).signals(both)[:, :2]
        shared[key] = fitted("published", block, **options).signals(both)[:, :2]
    np.testing.assert_array_equal(apart["one"], apart["other"])
    assert not np.array_equal(shared["one"], shared["other"])


# Settings.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, r"dropout is 1.0, expected a rate in \[0, 1\)"),
        ({"transfer_dropout": -0.1}, "transfer_dropout is -0.1, expected a rate"),
        ({"embedding_dropout": float("nan")}, "embedding_dropout is nan, expected a rate"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, expected a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"max_norm": float("inf")}, "max_norm is inf"),
        ({"train_cost_bps": -1.0}, "train_cost_bps is -1.0, expected a number >= 0"),
        ({"embedding_decay": float("nan")}, "embedding_decay is nan"),
        *(
            ({name: 0}, f"^{name} is 0, expected at least")
            for name in ("dimension", "layers", "transfer_layers", "lags", "embedding", "batch", "length")
        ),
        *(
            ({name: 0}, f"^{name} is 0, expected at least 1")
            for name in ("steps", "epoch", "patience", "decoder_hidden", "markets")
        ),
        ({"encoder": "gru"}, "encoder is 'gru', expected 'lstm' or 'linear'"),
        ({"transfer": "gru"}, "transfer is 'gru', expected 'lstm' or 'linear'"),
        ({"decoder": None}, "decoder is None, expected 'lstm' or 'linear'"),
        ({"weights": "common"}, "weights is 'common', expected 'market' or 'shared'"),
        ({"weights": "shared", "transfer": None}, "shared weights need a transfer layer"),
        ({"lags": 2}, "only a linear encoder"),
        ({"lags": 2, "encoder": "linear", "weights": "shared"}, "only a linear encoder"),
    ],
)
def test_bad_settings_are_refused_by_name(options, message):
    with pytest.raises(ConfigError, match=message):
        QuantNetConfig(**options)
    with pytest.raises(ConfigError, match=message):
        QuantNet(**options)


def test_an_unknown_setting_is_refused():
    with pytest.raises(TypeError, match="dimensions"):
        QuantNet(dimensions=10)

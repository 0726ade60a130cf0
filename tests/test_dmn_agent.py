"""Deep Momentum Networks as agents: all models learn, stream, stop and go on, save and load; settings."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache

import numpy as np
import pytest
import torch

import agents.dmn.spatiotemporal as joint
import agents.population.jobs as jobs
from agents.agent import Agent, play, signals_of
from agents.dmn import FEATURE_NAMES, DeepMomentum, DmnConfig, SpatioTemporal, SpatioTemporalConfig
from agents.dmn.course import Course
from agents.dmn.spatiotemporal import SpatioTemporalNetwork, carry_forward
from agents.dmn.training_windows import cut_windows
from agents.space import draw
from agents.training import Monitor, Training
from qn_env.economics import volatility_scale
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.features import EwVolatility
from qn_env.objectives import LOSS_FLOOR, sharpe
from qn_env.panel import Panel
from qn_env.sources.synthetic import ar1_trend, ragged, weekdays

BRIEF = {"epochs": 10, "patience": 4}
LINEAR = {"epochs": 40, "patience": 10}  # its weights start at random, and every epoch is one step
MODELS = {
    **{
        f"{network}-{loss}": {"network": network, "loss": loss}
        for network in ("linear", "mlp", "wavenet", "lstm")
        for loss in ("sharpe", "average", "mse", "binary")
    },
    "transformer-sharpe": {"network": "transformer"},
    "spatiotemporal": {},
    "spatiotemporal-mlp": {"hidden": 10},
    "spatiotemporal-delayed": {"hidden": 10, "delay": 1},
}
JOINT = [name for name in MODELS if name.startswith("spatiotemporal")]
ONE_OF_EACH = ["linear-binary", "mlp-average", "wavenet-mse", "lstm-sharpe", "transformer-sharpe", *JOINT]
every_model = pytest.mark.parametrize("name", MODELS)
one_of_each = pytest.mark.parametrize("name", ONE_OF_EACH)


@lru_cache
def market() -> Panel:
    return ragged(sizes=(2, 3), days=800, seed=3)


@lru_cache
def trending() -> Panel:
    """Half of the assets gain 1% a day, half lose it, with a deviation of 1%: nobody can miss it."""
    drift = np.array([0.01, -0.01, 0.01, -0.01])
    returns = np.random.default_rng(0).normal(drift, 0.01, (1200, 4))
    return Panel.build(weekdays(1200), list("abcd"), ["X", "X", "Y", "Y"], returns)


def make(name: str, **options) -> DeepMomentum | SpatioTemporal:
    if name in JOINT:
        return SpatioTemporal(**{**MODELS[name], "epochs": 30, "patience": 10, **options})
    brief = LINEAR if name.startswith("linear") else BRIEF
    return DeepMomentum(**{**MODELS[name], **brief, **options})


def environment(agent: Agent, panel: Panel, **options) -> TradingEnv:
    settings = agent.settings
    return TradingEnv(
        panel,
        **{
            "window": settings.window,
            "features": settings.features,
            "vol_target": settings.vol_target,
            "cost_bps": settings.train_cost_bps,
            **options,
        },
    )


def fit(name: str, panel: Panel, seed: int = 0, *, monitor: Monitor | None = None, **options):
    agent = make(name, **options)
    agent.monitor = monitor or Monitor()
    return agent.fit(environment(agent, panel), seed=seed)


@lru_cache
def trained(name: str):
    """Trained once on the first 700 days; tests must not change it beyond `reset`."""
    return fit(name, market().until(market().dates[700]))


def signals(agent, panel: Panel) -> np.ndarray:
    return signals_of(agent, panel, environment(agent, panel))


# What every model keeps.


@every_model
def test_signals_are_finite_within_minus_one_and_one_and_zero_without_inputs(name):
    agent = trained(name)
    found = signals(agent, market())
    defined = market().features(agent.settings.features)[..., len(FEATURE_NAMES)] > 0
    active = market().tradable & defined
    assert np.abs(found[active]).min() > 0.0
    assert not found[~active].any()
    if name.endswith(("mse", "binary")):
        assert set(np.unique(found)) == {-1.0, 0.0, 1.0}


@every_model
def test_a_blatant_trend_is_found(name):
    panel = trending()
    agent = fit(name, panel.until(panel.dates[900]))
    found = signals(agent, panel)[950:-1].mean(axis=0)
    np.testing.assert_array_equal(np.sign(found), [1, -1, 1, -1])


@one_of_each
def test_step_mode_equals_sequence_mode(name):
    agent = trained(name)
    env = environment(agent, market())
    live = env.tape.live[:-1]
    stepped, at_once = play(agent, env), agent.signals(market())
    np.testing.assert_allclose(stepped[:-1][live], at_once[:-1][live], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(play(agent, env), stepped)


@one_of_each
@pytest.mark.parametrize("day", [420, 680])
def test_the_future_cannot_change_the_past(name, day):
    agent, panel = trained(name), market()
    other = panel.with_future_scrambled(panel.dates[day], seed=day)
    np.testing.assert_array_equal(signals(agent, panel)[: day + 1], signals(agent, other)[: day + 1])
    assert not np.array_equal(signals(agent, panel)[day + 1 : 750], signals(agent, other)[day + 1 : 750])


@one_of_each
def test_the_same_seed_gives_the_same_weights_and_another_does_not(name):
    panel = market().until(market().dates[700])
    first, again, other = (trained(name), fit(name, panel), fit(name, panel, seed=1))
    ours, same, theirs = (list(agent.network.state_dict().values()) for agent in (first, again, other))
    assert all(torch.equal(a, b) for a, b in zip(ours, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@one_of_each
def test_save_and_load_agree(name, tmp_path):
    agent = trained(name)
    agent.save(tmp_path)
    again = type(agent).load(tmp_path)
    assert again.config == agent.config
    np.testing.assert_array_equal(signals(again, market()), signals(agent, market()))


class KilledError(Exception):
    """What stops a training here."""


def stop(done: int, total: int) -> None:
    if done == 3:
        raise KilledError


@one_of_each
def test_a_killed_training_goes_on_to_the_same_weights(name, tmp_path):
    panel, options = market().until(market().dates[700]), {"epochs": 6, "patience": 99, "batch": 8}
    epochs = []
    with pytest.raises(KilledError):
        fit(name, panel, monitor=Monitor(checkpoints=tmp_path, progress=stop), **options)
    heard = Monitor(checkpoints=tmp_path, progress=lambda done, total: epochs.append(done))
    found = fit(name, panel, monitor=heard, **options)
    whole = fit(name, panel, **options)
    assert epochs == [4, 5, 6]
    assert found.training_ == whole.training_
    for a, b in zip(found.network.parameters(), whole.network.parameters(), strict=True):
        assert torch.equal(a, b)


# Warm starts.


def weights(network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_equal_weights(ours, theirs):
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture
def starts(monkeypatch) -> list[dict[str, torch.Tensor]]:
    """The weights with which each training begins, from now on."""
    found = []

    def train(network, *arguments, **options):
        found.append(weights(network))
        return begin(network, *arguments, **options)

    begin = jobs.train
    for where in (jobs, joint):
        monkeypatch.setattr(where, "train", train)
    return found


def fit_from(earlier, name: str, panel: Panel, seed: int = 0, *, monitor: Monitor | None = None, **options):
    agent = make(name, **options)
    agent.monitor = monitor or Monitor()
    agent.start_from(earlier)
    return agent.fit(environment(agent, panel), seed=seed)


@one_of_each
def test_a_warm_start_begins_at_the_earlier_weights_and_the_seed_draws_the_rest(name, starts):
    earlier, panel, options = trained(name), market(), {"epochs": 1, "batch": 8}
    before = weights(earlier.network)
    first, again, other = (fit_from(earlier, name, panel, seed, **options) for seed in (1, 1, 2))
    for start in starts[-3:]:
        assert_equal_weights(start, before)
    assert_equal_weights(weights(earlier.network), before)
    assert_equal_weights(weights(first.network), weights(again.network))
    assert not torch.equal(first.network.head.weight, other.network.head.weight)
    assert not torch.equal(first.network.head.weight, earlier.network.head.weight)


@pytest.mark.parametrize("name", ["lstm-sharpe", *JOINT])
def test_a_killed_warm_start_goes_on_to_the_same_weights_and_never_from_a_cold_one(name, tmp_path):
    panel, options = market(), {"epochs": 6, "patience": 99, "batch": 8}
    epochs = []
    fit(name, panel, monitor=Monitor(checkpoints=tmp_path), **options)  # from scratch, and kept beside
    stopped = Monitor(checkpoints=tmp_path, progress=stop)
    with pytest.raises(KilledError):
        fit_from(trained(name), name, panel, monitor=stopped, **options)
    heard = Monitor(checkpoints=tmp_path, progress=lambda done, total: epochs.append(done))
    found = fit_from(trained(name), name, panel, monitor=heard, **options)
    assert epochs == [4, 5, 6]
    whole = fit_from(trained(name), name, panel, **options)
    assert found.training_ == whole.training_
    assert_equal_weights(weights(found.network), weights(whole.network))


def test_a_warm_start_of_another_shape_is_refused_naming_both():
    message = "a network 'mlp' of width 7 cannot begin at the weights of a network 'lstm' of width 20"
    with pytest.raises(ConfigError, match=message):
        make("mlp-sharpe", hidden=7).start_from(trained("lstm-sharpe"))
    with pytest.raises(ConfigError, match="hidden=10 cannot begin at the weights of one with hidden=None"):
        make("spatiotemporal-mlp").start_from(trained("spatiotemporal"))
    for agent in (DeepMomentum(), SpatioTemporal()):
        with pytest.raises(ConfigError, match="not trained"):
            agent.start_from(type(agent)())


@pytest.mark.parametrize("hidden", [None, 4])
def test_with_a_delay_an_asset_sees_itself_today_and_the_others_as_they_were_a_date_ago(hidden):
    N, F = 3, 2
    torch.manual_seed(0)
    network = SpatioTemporalNetwork(N, F, hidden, 0.0)
    today, before = torch.randn(2, 5, N * F).unbind()
    expected = []
    for asset in range(N):
        seen = before.clone().unflatten(-1, (N, F))
        seen[:, asset] = today.unflatten(-1, (N, F))[:, asset]
        expected.append(network(seen.flatten(1))[:, asset])
    torch.testing.assert_close(network(today, before), torch.stack(expected, 1))


@pytest.mark.parametrize("name", JOINT)
@torch.no_grad()
def test_joint_weights_are_taken_over_asset_by_asset_and_a_new_assets_are_the_seeds(name, starts):
    """The known assets, in another order and with nothing seen of the new one, are played as before."""
    panel = ragged(sizes=(2, 1, 3), days=800, seed=3)
    with torch.enable_grad():
        earlier = fit(name, panel.select(["M2", "M0"]), epochs=1)
        warm = fit_from(earlier, name, panel, seed=1, epochs=1)
        fit(name, panel, seed=1, epochs=1)
    _, start, cold = starts
    # Assets of M2, M0 there; of M0, M1, M2 here.
    here, there, new = [0, 1, 3, 4, 5], [3, 4, 0, 1, 2], 2
    inputs = torch.randn(7, 6, 8, generator=torch.Generator().manual_seed(0))
    inputs[:, new] = 0.0
    order = torch.tensor(here)[torch.tensor(there).argsort()]
    warm.network.load_state_dict(start)
    ours = warm.network(inputs.flatten(1))[:, order]
    torch.testing.assert_close(ours, earlier.network(inputs[:, order].flatten(1)), rtol=0, atol=1e-6)
    layer = "head" if name == "spatiotemporal" else "body"
    own = slice(8 * new, 8 * new + 8)
    assert torch.equal(start[f"{layer}.weight"][:, own], cold[f"{layer}.weight"][:, own])
    assert torch.equal(start["head.weight"][new], cold["head.weight"][new])
    assert torch.equal(start["head.bias"][new], cold["head.bias"][new])


@pytest.mark.parametrize("name", [n for n in ONE_OF_EACH if n not in JOINT])
def test_pieces_of_another_length_give_the_same_outputs(name, monkeypatch):
    agent = trained(name)
    whole = agent.outputs(market())
    monkeypatch.setattr("agents.dmn.agent.CHUNK", 50)
    np.testing.assert_allclose(agent.outputs(market()), whole, rtol=0, atol=2e-6)


# What they maximise.


def test_the_validation_score_is_the_pooled_sharpe_ratio_of_a_plain_pass():
    """Of a model without state: windows of the held-out days know the days before them."""
    panel = ar1_trend(markets=1, assets=3, days=700, seed=0)
    agent = fit("wavenet-sharpe", panel)
    found = agent.signals(panel) * volatility_scale(panel.feature(EwVolatility()), 0.15)
    net = (found[:-1] * panel.returns[1:])[629:].ravel()
    expected = sharpe(net, ddof=0, floor=LOSS_FLOOR)
    assert agent.training_.best_score == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "linear-mse",
        pytest.param("mlp-sharpe", marks=pytest.mark.slow),
        "lstm-binary",
        "lstm-sharpe",
        "spatiotemporal",
    ],
)
def test_costs_inside_the_loss_lower_the_turnover(name):
    """On reversing returns trading every day pays before costs, and never after 1% a trade."""
    reversing = ar1_trend(coefficient=-0.4, markets=1, assets=4, days=900, seed=0)

    def turnover(train_cost_bps: float) -> float:
        agent = fit(name, reversing, train_cost_bps=train_cost_bps, epochs=30, patience=30, batch=16)
        assert agent.settings.train_cost_bps == train_cost_bps
        positions = agent.signals(reversing)
        if isinstance(agent, DeepMomentum):
            positions = np.tanh(agent.outputs(reversing))  # what a sign is smoothed to
        return float(np.abs(np.diff(positions, axis=0)).mean())

    assert turnover(100.0) < 0.6 * turnover(0.0)


def test_the_l1_penalty_acts_on_the_linear_models_weights_alone():
    agent = trained("linear-binary")
    weights = agent.network.head.weight.detach()
    for p in (agent.network.head.weight, agent.network.head.bias):
        p.grad = None
    course = agent.course(environment(agent, market()), 0)
    penalty = replace(course, network=agent.network).penalty()
    penalty.backward()
    assert float(penalty.detach()) == pytest.approx(1e-5 * float(weights.abs().sum()))
    np.testing.assert_allclose(agent.network.head.weight.grad, 1e-5 * np.sign(weights.numpy()))
    assert agent.network.head.bias.grad is None
    other = make("mlp-average")
    assert float(other.course(environment(other, market()), 0).penalty()) == 0.0


def test_the_l1_penalty_is_part_of_the_loss(monkeypatch):
    heard: list[float] = []
    loss = Course.loss

    def hearing(course, given):
        heard.append(float(course.network.head.weight.detach().abs().sum()))
        return loss(course, given)

    monkeypatch.setattr(Course, "loss", hearing)

    def size(l1: float) -> float:
        agent = make("linear-sharpe", l1=l1, epochs=60, patience=60)
        agent.fit(environment(agent, market()), seed=0)
        return heard[-1]

    assert size(10.0) < 0.3 * size(0.0)


def test_without_options_it_is_the_sharpe_trained_lstm():
    config = DeepMomentum().config
    assert (config.network, config.loss, config.hidden, config.dropout) == ("lstm", "sharpe", 20, 0.2)
    assert set(DeepMomentum()._build(0).state_dict()) == {
        *(f"lstm.{kind}_l0" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")),
        *("head.weight", "head.bias"),
    }


@pytest.mark.parametrize("name", [n for n in ONE_OF_EACH if n not in JOINT])
def test_a_warmup_covers_the_inputs_and_the_days_a_network_reads(name):
    panel = ar1_trend(markets=1, assets=2, days=400, seed=0)
    defined = panel.features(make(name).settings.features)[..., len(FEATURE_NAMES)] > 0
    first = int(defined.all(axis=1).argmax())
    past = trained(name).network.past
    assert first + past < make(name).warmup <= first + past + 2


# Features.


def test_features_are_set_to_zero_one_at_a_time():
    """A linear model without an input gives what one gives whose weights for it are zero."""
    agent = trained("linear-binary")
    for k, name in enumerate(FEATURE_NAMES):
        bare = agent.without_feature(k)
        expected = agent.without_feature(0)
        expected._hidden_inputs = ()
        with torch.no_grad():
            expected.network.head.weight.view(5, 8)[:, k] = 0.0
        found = bare.outputs(market())
        np.testing.assert_allclose(found, expected.outputs(market()), rtol=0, atol=1e-6)
        np.testing.assert_array_equal(found, agent.without_feature(name).outputs(market()))
        assert not np.array_equal(found, agent.outputs(market()))


def test_a_copy_without_a_feature_leaves_the_original_alone_and_plays_saves_and_loads(tmp_path):
    agent = trained("lstm-sharpe")
    before = agent.signals(market())
    bare = agent.without_feature("MACD 8-24").without_feature(0)
    found = bare.signals(market())
    np.testing.assert_array_equal(agent.signals(market()), before)
    env = environment(agent, market())
    live = env.tape.live[:-1]
    np.testing.assert_allclose(play(bare, env)[:-1][live], found[:-1][live], rtol=0, atol=1e-5)
    bare.save(tmp_path)
    np.testing.assert_array_equal(DeepMomentum.load(tmp_path).signals(market()), found)


def test_a_feature_that_is_none_is_refused():
    for wrong in (8, -1, "MACD 8-25"):
        with pytest.raises(ConfigError, match=r"expected 0 to 7 or one of \['return 1', "):
            trained("lstm-sharpe").without_feature(wrong)


# Joint positions.


def test_an_asset_can_lead_another_only_where_inputs_are_joint():
    """B follows A a day later and is unpredictable from its own past."""
    rng = np.random.default_rng(0)
    leader = rng.normal(0.0, 0.01, 2600)
    follower = np.concatenate([[0.0], 0.5 * leader[:-1]]) + rng.normal(0.0, 0.005, 2600)
    panel = Panel.build(weekdays(2600), ["A", "B"], ["X", "X"], np.column_stack([leader, follower]))

    def ratio(name: str) -> float:
        agent = fit(name, panel.until(panel.dates[1999]))
        return float(sharpe(agent.signals(panel)[2000:-1, 1] * panel.returns[2001:, 1]))

    assert ratio("spatiotemporal") > 5.0
    assert ratio("mlp-sharpe") < 2.0


def test_joint_positions_belong_to_the_assets_trained_on():
    agent = trained("spatiotemporal")
    with pytest.raises(ConfigError, match="not those it was trained on, in their order"):
        agent.signals(trending())
    with pytest.raises(ConfigError, match="4 assets, expected the 5"):
        play(agent, environment(agent, trending()))


def test_closed_assets_are_seen_with_their_last_inputs_for_five_dates():
    features = np.arange(1.0, 13.0)[:, None, None]
    active = np.isin(np.arange(12), [2, 3, 11])[:, None]
    assert carry_forward(features, active)[:, 0, 0].tolist() == [0, 0, 3, 4, 4, 4, 4, 4, 4, 0, 0, 12]


# Settings.

REFUSED = {
    "network": ({"network": "lstn"}, "unknown network 'lstn'. Did you mean 'lstm'"),
    "loss": ({"loss": "sharp"}, "unknown loss 'sharp'. Did you mean 'sharpe'"),
    "search": ({"search": "dmn2020"}, "unknown search 'dmn2020'. Did you mean 'dmn2019'"),
    "split": ({"split": "assets"}, "unknown split 'assets'. Did you mean 'asset'"),
    "hidden": ({"hidden": 0}, "hidden is 0, expected at least 1"),
    "heads": ({"heads": 0}, "heads is 0"),
    "context": ({"context": 0}, "context is 0"),
    "batch": ({"batch": float("nan")}, "batch is nan"),
    "epochs": ({"epochs": 0}, "epochs is 0"),
    "patience": ({"patience": -1}, "patience is -1"),
    "length": ({"length": 0}, "length is 0"),
    "dropout": ({"dropout": 1.0}, r"dropout is 1.0, expected a rate in \[0, 1\)"),
    "learning_rate": ({"learning_rate": 0.0}, "learning_rate is 0.0, expected a number above 0"),
    "max_norm": ({"max_norm": float("inf")}, "max_norm is inf"),
    "l1": ({"l1": -1.0}, "l1 is -1.0, expected a number >= 0"),
    "train_cost_bps": ({"train_cost_bps": float("nan")}, "train_cost_bps is nan"),
    "changepoints": ({"changepoints": (3,)}, "changepoints is 3, expected at least 4"),
    "static": ({"static": -1}, "static is -1, expected"),
    "robustness": ({"robustness": -0.5}, "robustness is -0.5, expected a number >= 0"),
    "temperature": ({"temperature": 0.0}, "temperature is 0.0, expected a number above 0"),
}


def test_every_setting_has_a_case():
    assert set(REFUSED) == {field.name for field in fields(DmnConfig)}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_cannot_be_used_are_refused_by_name(case):
    options, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        DeepMomentum(**options)


@pytest.mark.parametrize("name", ["hidden", "batch", "epochs", "patience", "length"])
def test_settings_of_joint_positions_are_checked_too(name):
    with pytest.raises(ConfigError, match=f"{name} is 0, expected at least 1"):
        SpatioTemporalConfig(**{name: 0})


def test_a_split_by_asset_selects_on_delisted_assets_too(monkeypatch):
    """Asset b ends before the selection block begins: only the split by asset can select on it."""
    dates = weekdays(1200)
    returns = np.random.default_rng(1).normal(0.0, 0.01, (1200, 2))
    returns[800:, 1] = np.nan
    panel = Panel.build(dates, ["a", "b"], ["X", "X"], returns)
    shown = []

    loss = Course.loss

    def shows(course, given):
        if not course.network.training:
            shown.append(set(given.asset.tolist()))
        return loss(course, given)

    monkeypatch.setattr(Course, "loss", shows)
    for split, expected in (("date", {0}), ("asset", {0, 1})):
        agent = DeepMomentum(network="linear", epochs=1, split=split)
        agent.fit(
            environment(agent, panel.until(dates[999])),
            seed=0,
            validation=environment(agent, panel, start=dates[1000]),
        )
        assert shown.pop() == expected


def test_untrained_agents_are_refused():
    for agent in (DeepMomentum(), SpatioTemporal()):
        with pytest.raises(ConfigError, match="not trained"):
            agent.signals(market())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("search", ["dmn2019", "wood2022"])
def test_the_search_space_is_that_of_the_model(name, search):
    options = {} if name in JOINT else {"search": search}
    space = make(name, **options).space
    for trial in range(20):
        make(name, **{**options, **draw(space, seed=0, trial=trial)})
    if name not in JOINT:
        linear = name.startswith("linear")
        assert ("l1" in space, "hidden" in space, "dropout" in space) == (linear, not linear, not linear)
        assert space["batch"].values[0] == {"dmn2019": 256, "wood2022": 64}[search]


def test_the_published_grids():
    space = DeepMomentum().space
    assert space["hidden"].values == (5, 10, 20, 40, 80)
    assert space["dropout"].values == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert space["batch"].values == (256, 512, 1024, 2048)
    assert (min(space["learning_rate"].values), max(space["learning_rate"].values)) == (1e-5, 1.0)
    assert (min(space["max_norm"].values), max(space["max_norm"].values)) == (1e-4, 10.0)
    l1 = DeepMomentum(network="linear").space["l1"].values
    assert (min(l1), max(l1)) == (1e-5, 1e-1)
    later = DeepMomentum(search="wood2022").space
    assert later["hidden"].values == (5, 10, 20, 40, 80, 160)
    assert later["batch"].values == (64, 128, 256)
    assert later["max_norm"].values == (1e-2, 1.0, 100.0)


# What a minibatch is made of.


@pytest.mark.parametrize(
    ("name", "options", "by_days", "size"),
    [
        ("linear-sharpe", {}, True, 100),
        ("mlp-mse", {}, True, 100),
        ("wavenet-binary", {}, True, 100),
        ("lstm-sharpe", {}, False, 100),
        ("transformer-sharpe", {}, False, 100),
        ("mlp-sharpe", {"train_cost_bps": 10.0}, False, 2),  # 126 asset-days, the least that holds 100
    ],
)
def test_a_minibatch_is_of_asset_days_but_of_trajectories_for_an_lstm_or_under_costs(
    name, options, by_days, size, monkeypatch
):
    """So many steps an epoch: of pairs of asset and day, or of trajectories."""
    steps = []

    def counted(network, optimizer, losses, *arguments, **settings):
        steps.append(sum(1 for _ in losses(0)))
        return Training()

    monkeypatch.setattr(jobs, "train", counted)
    panel = market().until(market().dates[700])
    agent = fit(name, panel, batch=100, **options)
    learn, _ = environment(agent, panel).split()
    windows = cut_windows(learn, agent.config.length, agent.network.past)
    number = int(windows.pairs.counted.sum()) if by_days else len(windows)
    assert steps == [-(-number // size)]

"""Layers around an agent: what they trade, what they leave as it is, and names that say which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.agent import (
    Agent,
    Settings,
    learns,
    load_agent,
    make_agent,
    options_of,
    play,
    refuse_untrusted,
    register,
    settings_of,
    signals_of,
    source_digest,
    warmup_of,
    watch,
)
from agents.audit import audit_agent
from agents.layers import LAYERS, split_layer, unwrapped
from agents.less import Band, Every, Less, Partial, advance, start
from agents.mean import SeedMean, member_seed
from agents.space import preset_space, space_of
from agents.training import Monitor
from experiments.cli import main
from experiments.report.line_styles import short_labels
from experiments.running.protocols import holdout
from experiments.running.runner import run
from experiments.running.search import Search, search
from experiments.running.today import todays_signals
from experiments.running.units import Variant, place
from experiments.settings.config import RunConfig
from experiments.settings.configfile import with_config_file
from experiments.storage.store import RunFolder
from qn_env.arrays import FloatArray
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged
from qn_env.tape import Tape, backtest

RULES = [Band(0.0), Band(0.15), Band(1.0), Partial(1.0), Partial(0.3), Every(1), Every(4)]


class Wander:
    """Today's return of every asset, squashed; it may also be a constant."""

    learns = False

    def __init__(self, level: float | None = None, vol_target: float | None = None) -> None:
        self.level = level
        self.settings = Settings(window=1, vol_target=vol_target)

    def fit(self, env, *, seed, validation=None):
        self.shown = env.observation_space
        return self

    def reset(self) -> None: ...

    def act(self, observation):
        return self._say(observation["returns"][-1])

    def signals(self, panel: Panel) -> FloatArray:
        return self._say(np.nan_to_num(panel.returns))

    def _say(self, returns: FloatArray) -> FloatArray:
        return np.tanh(80.0 * returns) if self.level is None else np.full(returns.shape, self.level)


class Bare:
    """Nothing but what an agent has to have; it sees its positions."""

    def fit(self, env, *, seed, validation=None):
        self.seed = seed
        return self

    def reset(self) -> None: ...

    def act(self, observation):
        return np.clip(0.5 - observation["positions"] + np.tanh(50 * observation["returns"][-1]), -1, 1)


OWN = """
import numpy as np


class Half:
    learns = False

    def __init__(self, size=0.5):
        self.size = size

    def fit(self, env, *, seed, validation=None):
        return self

    def reset(self): ...

    def act(self, observation):
        return np.full(observation["returns"].shape[1], self.size)
"""


def environment(agent: Agent, panel: Panel, **options) -> TradingEnv:
    asked = settings_of(agent)
    chosen = {"window": asked.window, "features": asked.features, "vol_target": asked.vol_target}
    return TradingEnv(panel, **{**chosen, **options})


def fitted(agent: Agent, panel: Panel) -> Agent:
    return agent.fit(environment(agent, panel), seed=0)


def traded(agent: Agent, panel: Panel) -> FloatArray:
    """[T, N] signals in one pass."""
    return signals_of(fitted(agent, panel), panel, environment(agent, panel))


def turnover(signals: FloatArray, panel: Panel, vol_target: float | None = None) -> FloatArray:
    """[N] absolute changes of the weight, summed over each market's days."""
    tape = Tape.of(panel, vol_target=vol_target)
    total = np.zeros(panel.shape[1])
    for market in panel.markets.values():
        ledger = backtest(tape.of_market(market), market.compact(signals))
        total[market.columns] = ledger.turnover.sum(axis=0)
    return total


PANELS = st.builds(
    lambda seed, sizes: ragged(sizes=sizes, days=150, seed=seed),
    st.integers(0, 10_000),
    st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple),
)


@given(PANELS, st.lists(st.sampled_from(RULES), min_size=1, max_size=2), st.sampled_from([None, 0.15]))
@settings(max_examples=25)
def test_one_pass_over_a_history_is_a_step_a_day_to_the_bit(panel: Panel, rules: Sequence, target) -> None:
    agent: Agent = Wander(vol_target=target)
    for rule in rules:
        agent = Less(agent, rule)
    env = environment(agent, panel)
    at_once, stepped = signals_of(fitted(agent, panel), panel, env), play(agent, env)
    live = env.tape.live[:-1]
    np.testing.assert_array_equal(stepped[:-1][live], at_once[:-1][live])


@pytest.mark.parametrize("layer", ["band:0", "partial:1", "every:1", "band:0.0+every:1+partial:1.0"])
@pytest.mark.parametrize("name", ["macd", "cs-momentum", "dmn-linear-sharpe"])
def test_a_layer_of_nothing_is_the_agent_itself_to_the_bit(name: str, layer: str, panel: Panel) -> None:
    plain = make_agent(name, options={"epochs": 1} if learns(make_agent(name)) else {})
    inside = make_agent(f"{name}+{layer}", options={"epochs": 1} if learns(plain) else {})
    live = panel.tradable
    np.testing.assert_array_equal(traded(inside, panel)[live], traded(plain, panel)[live])


@given(PANELS, st.floats(0, 0.5), st.floats(0, 0.5))
@settings(max_examples=25)
def test_a_wider_band_never_trades_more_and_bands_in_bands_add_up(panel: Panel, a: float, b: float) -> None:
    """A discrete play operator moves only where its input does, by no more; P_a after P_b is P_(a + b)."""
    one = traded(Less(Wander(), Band(a)), panel)
    both = traded(Less(Less(Wander(), Band(a)), Band(b)), panel)
    np.testing.assert_allclose(both, traded(Less(Wander(), Band(a + b)), panel), rtol=0, atol=1e-12)
    assert (turnover(both, panel) <= turnover(one, panel) + 1e-12).all()


@given(PANELS, st.floats(0.01, 1), st.floats(0.01, 1))
@settings(max_examples=25)
def test_a_lower_rate_never_trades_more(panel: Panel, a: float, b: float) -> None:
    """Its answer to an impulse is that of the higher rate, averaged with positive weights that sum to 1."""
    low, high = (turnover(traded(Less(Wander(), Partial(r)), panel), panel) for r in sorted((a, b)))
    assert (low <= high + 1e-12).all()


@given(PANELS, st.integers(1, 30))
@settings(max_examples=25)
def test_trading_every_kth_day_never_trades_more_and_on_no_other_day(panel: Panel, days: int) -> None:
    signals = traded(Less(Wander(), Every(days)), panel)
    assert (turnover(signals, panel) <= turnover(traded(Wander(), panel), panel) + 1e-12).all()
    for market in panel.markets.values():
        own, plain = market.compact(signals), market.compact(traded(Wander(), panel))
        open_ = market.compact(panel.tradable)
        moved = np.diff(own, axis=0, prepend=0.0) != 0.0
        assert not moved[np.arange(len(own)) % days != 0].any()
        np.testing.assert_array_equal(own[::days][open_[::days]], plain[::days][open_[::days]])


@pytest.mark.parametrize("rate", [0.05, 0.3, 1.0])
def test_partial_adjustment_of_a_constant_target_is_one_less_a_power(rate: float, panel: Panel) -> None:
    signals = traded(Less(Wander(0.8), Partial(rate)), panel)
    days = panel.tradable.cumsum(axis=0)  # an asset's own trading days, this one too
    np.testing.assert_allclose(signals, 0.8 * (1.0 - (1.0 - rate) ** days), rtol=0, atol=1e-12)


def test_a_band_goes_to_its_edge_by_hand() -> None:
    state, found = start(1), []
    for wanted in (0.05, 0.3, 0.35, 0.45, 0.2, 0.15, -1.0):
        yes = np.ones(1, dtype=bool)
        state = advance(state, Band(0.1), np.array([wanted]), yes, yes, np.ones(1))
        found.append(float(state.signal[0]))
    np.testing.assert_allclose(found, [0.0, 0.2, 0.25, 0.35, 0.3, 0.25, -0.9])


def test_under_a_volatility_target_what_is_held_is_the_weight(panel: Panel) -> None:
    """The same signal every day is traded every day: volatility moves. In a band it is bought once."""
    target = 0.15
    whole, held = Wander(0.5, target), Less(Wander(0.5, target), Band(0.4))
    plain, banded = traded(whole, panel), traded(held, panel)
    assert (np.diff(plain, axis=0) == 0.0).all()
    before = turnover(plain, panel, target)
    after = turnover(banded, panel, target)
    # 0.1 is bought; it is moved again where volatility has changed by a factor: 0.1 becomes 0.9 at most.
    assert (after < 0.5 * before).all()
    tape = Tape.of(panel, vol_target=target)
    for j, market in ((j, panel.markets[name]) for j, name in enumerate(panel.market_of)):
        own = market.rows[panel.tradable[market.rows, j] & (tape.scale[market.rows, j] > 0)]
        weight = (banded * tape.scale)[own, j]
        inside = np.abs(banded[own, j] - 0.5) < 0.4 - 1e-9
        np.testing.assert_allclose(weight[1:][inside[1:]], weight[:-1][inside[1:]], rtol=1e-12)


def test_under_a_volatility_target_a_kth_day_is_left_only_where_the_signal_is_full(panel: Panel) -> None:
    target, agent = 0.15, Less(Wander(0.9, 0.15), Every(5))
    signals, tape = traded(agent, panel), Tape.of(panel, vol_target=0.15)
    weights = signals * tape.scale
    full = 0
    for market in panel.markets.values():
        for j in range(market.columns.start, market.columns.stop):
            number = np.arange(len(market.rows))
            open_ = panel.tradable[market.rows, j] & (tape.scale[market.rows, j] > 0)
            rows, number = market.rows[open_], number[open_]
            moved = ~np.isclose(weights[rows, j][1:], weights[rows, j][:-1], rtol=1e-12, atol=0)
            off = moved & (number[1:] % 5 != 0)
            np.testing.assert_array_equal(np.abs(signals[rows, j][1:][off]), 1.0)
            full += int(off.sum())
    assert full, "volatility never rose by a ninth within five days"
    daily = turnover(traded(Wander(0.9, target), panel), panel, target)
    assert turnover(signals, panel, target).sum() < daily.sum()


def test_closed_days_keep_the_signal_and_late_listings_start_at_nothing(panel: Panel) -> None:
    signals = traded(Less(Wander(), Partial(0.3)), panel)
    listed = np.maximum.accumulate(panel.tradable, axis=0)
    np.testing.assert_array_equal(signals[~listed], 0.0)
    closed = ~panel.tradable[1:]
    np.testing.assert_array_equal(signals[1:][closed], signals[:-1][closed])
    first = panel.tradable.argmax(axis=0), np.arange(panel.shape[1])
    np.testing.assert_allclose(signals[first], 0.3 * traded(Wander(), panel)[first])


def test_an_agent_is_trained_as_it_is(panel: Panel) -> None:
    plain, inside = (make_agent(f"dmn-linear-sharpe{layer}", quick=True) for layer in ("", "+band:0.1"))
    fitted(plain, panel), fitted(inside, panel)
    for ours, theirs in zip(plain.network.parameters(), inside.agent.network.parameters(), strict=True):
        np.testing.assert_array_equal(ours.detach().numpy(), theirs.detach().numpy())
    shown = fitted(Less(Wander(), Band(0.1)), panel).agent.shown
    assert "features" not in shown.spaces, "the volatility is the layer's, not the agent's"


def test_an_agent_that_sees_its_position_sees_what_the_layer_left_of_it(panel: Panel) -> None:
    agent = fitted(Less(Bare(), Partial(0.5)), panel)
    env = environment(agent, panel)
    assert not hasattr(agent, "signals")
    found = signals_of(agent, panel, env)
    np.testing.assert_array_equal(found, play(agent, env))
    held = np.zeros(panel.shape[1])
    observation, _ = env.reset()
    agent.reset()
    for t in range(30):
        # Without a volatility target the position is the signal: the same as the layer's own memory of it.
        inner, live = np.clip(Bare().act(observation), -1, 1), panel.tradable[t]
        held = np.where(live, held + 0.5 * (inner - held), held)
        np.testing.assert_allclose(found[t][live], held[live], atol=1e-12)
        observation, *_ = env.step(agent.act(observation))


@pytest.mark.parametrize("name", ["macd+band:0.05+every:3", "dmn-linear-sharpe+mean:2+partial:0.3"])
def test_agents_with_layers_pass_the_audit(name: str) -> None:
    panel = ragged(sizes=(2, 3), days=700, seed=5)
    agent = make_agent(name, quick=True)
    audited = audit_agent(fitted(agent, panel), environment(agent, panel), depth="full")
    assert audited.active
    stepped = fitted(Less(Bare(), Band(0.1)), panel)
    assert audit_agent(stepped, environment(stepped, panel)).active


def test_a_layer_has_what_its_agent_has() -> None:
    for word in ("band:0.1", "every:5", "mean:2", "mean:2+partial:0.5"):
        full = make_agent(f"dmn-linear-sharpe+{word}")
        for part in ("signals", "save", "space", "start_from", "monitor"):
            assert hasattr(full, part), (word, part)
        assert space_of(full, "it") == space_of(unwrapped(full), "it")
        assert preset_space("dmn2019", full, "it")
        assert (warmup_of(full), learns(full), place(f"dmn-linear-sharpe+{word}")) == (319, True, 9)
        rule = make_agent("macd+band:0.1")
        assert not hasattr(rule, "space")
        assert not hasattr(rule, "monitor")
        assert not learns(rule)
    for bare in (Less(Bare(), Band(0.1)), SeedMean(Bare(), 2)):
        assert not any(hasattr(bare, p) for p in ("signals", "save", "space", "start_from", "training_"))
    watched = Monitor()
    banded = make_agent("dmn-linear-sharpe+band:0.1")
    watch(banded, watched)
    assert unwrapped(banded).monitor is watched
    assert options_of("ppo+band:0.1", quick=True) == options_of("ppo", quick=True)
    assert source_digest("macd+band:0.1") == source_digest("macd")
    assert repr(make_agent("macd+band:0.1+every:5")) == (
        "Less(Less(RuleAgent('macd'), Band(width=0.1)), Every(days=5))"
    )
    assert repr(SeedMean(Bare(), 2)).endswith(", 2)")


def test_a_mean_trades_the_mean_of_its_members_each_with_a_seed_of_its_own(panel: Panel) -> None:
    train = TradingEnv(panel, window=1)
    agent = SeedMean(Bare(), 3).fit(train, seed=7)
    seeds = [member.seed for member in agent.members]
    assert seeds == [7, member_seed(7, 1), member_seed(7, 2)]
    assert len({member_seed(s, k) for s in range(50) for k in range(20)}) == 1000
    mean = make_agent("dmn-linear-sharpe+mean:2", quick=True)
    found = traded(mean, panel)
    parts = []
    for seed in (0, member_seed(0, 1)):
        one = make_agent("dmn-linear-sharpe", quick=True)
        parts.append(one.fit(environment(one, panel), seed=seed).signals(panel))
    np.testing.assert_array_equal(found, np.mean(parts, axis=0))
    alone = make_agent("dmn-linear-sharpe+mean:1", quick=True)
    np.testing.assert_array_equal(traded(alone, panel), parts[0])


def test_a_mean_is_resumed_told_of_and_warm_started_member_by_member(panel: Panel, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    options = {"epochs": 3, "patience": 3}

    def trained(monitor: Monitor, earlier: SeedMean | None = None) -> FloatArray:
        agent = make_agent("dmn-linear-sharpe+mean:2", options=options)
        watch(agent, monitor)
        if earlier is not None:
            agent.start_from(earlier)
        return traded(agent, panel)

    state = tmp_path / "state"
    first = trained(Monitor(progress=lambda done, total: told.append((done, total)), checkpoints=state))
    assert told == [(done, 6) for done in range(1, 7)]
    assert sorted(path.name for path in state.iterdir()) == ["member0", "member1"]
    told.clear()
    again = trained(Monitor(progress=lambda done, total: told.append((done, total)), checkpoints=state))
    np.testing.assert_array_equal(first, again)
    assert told == [], "what was trained is not trained again"
    earlier = fitted(make_agent("dmn-linear-sharpe+mean:2", options=options), panel)
    assert not np.array_equal(trained(Monitor(), earlier), first)
    with pytest.raises(ConfigError, match="a mean of 3 seeds cannot begin at one of 2"):
        make_agent("dmn-linear-sharpe+mean:3").start_from(earlier)
    banded = make_agent("dmn-linear-sharpe+band:0.1")
    banded.start_from(fitted(make_agent("dmn-linear-sharpe+band:0.2", options=options), panel))
    assert banded.agent._earlier is not None


def test_a_checkpoint_is_read_by_the_name_and_refused_if_it_is_of_another(
    panel: Panel, tmp_path: Path
) -> None:
    name = "macd+every:5+band:0.1"
    agent = fitted(make_agent(name), panel)
    agent.save(tmp_path)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.json")} == {
        "agent.json",
        "agent/agent.json",
        "agent/agent/agent.json",
    }
    np.testing.assert_array_equal(load_agent(name, tmp_path).signals(panel), agent.signals(panel))
    for other, told in {
        "macd+every:5+band:0.2": "is of the layer band:0.1, expected band:0.2",
        "macd+every:5+partial:0.1": "is of the layer band:0.1, expected partial:0.1",
        "macd+band:0.1": "agent.json: ",
        "dmn-linear-sharpe+every:5+band:0.1": "agent.json: ",
        "macd+every:5+mean:2": "agent.json: ",
    }.items():
        with pytest.raises(ConfigError, match=told):
            load_agent(other, tmp_path)
    mean = fitted(make_agent("dmn-linear-sharpe+mean:2", options={"epochs": 1}), panel)
    mean.save(tmp_path / "mean")
    with pytest.raises(ConfigError, match="is the mean of 2 seeds, expected 3"):
        load_agent("dmn-linear-sharpe+mean:3", tmp_path / "mean")
    (tmp_path / "mean" / "member1" / "agent.json").rename(tmp_path / "mean" / "member1" / "agent.pkl")
    with pytest.raises(ConfigError, match="holds nothing but files"):
        load_agent("dmn-linear-sharpe+mean:2", tmp_path / "mean")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("macd+bnd:0.1", "unknown layer 'bnd'; expected AGENT.LAYER:NUMBER.* Did you mean 'band'"),
        ("mcd+band:0.1", "unknown agent 'mcd'. Did you mean 'macd'"),
        ("macd+band", r"it has no number; expected band:WIDTH"),
        ("macd+band:", "'' is no number; expected band:WIDTH"),
        ("macd+band:wide", "'wide' is no number"),
        ("macd+band:1e+0", "unknown layer '0'"),
        ("macd+", "unknown layer ''"),
        ("+band:0.1", "names no agent before its layers"),
        ("macd++band:0.1", "unknown layer ''"),
        ("macd+band:nan", "the width of a band is nan, expected a signal >= 0 and at most 1"),
        ("macd+band:-0.1", "the width of a band is -0.1"),
        ("macd+band:1.5", "the width of a band is 1.5"),
        ("macd+partial:0", "the rate of partial adjustment is 0, expected a share above 0"),
        ("macd+partial:2", "the rate of partial adjustment is 2"),
        ("macd+every:0", "the days between trades is 0, expected at least 1"),
        ("macd+every:2.5", "the days between trades is 2.5, expected a whole number"),
        ("macd+mean:3", "learns nothing, so all its seeds are one"),
        ("quantnet+mean:0", "the number of seeds is 0, expected at least 1"),
        ("quantnet+mean:1000", "the number of seeds is 1000, expected at most 100"),
        ("nowhere.module:Mine+band:0.1", "no module named 'nowhere'"),
    ],
)
def test_names_that_are_none_are_refused_with_what_was_found_and_expected(name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make_agent(name)


def test_names_of_layers_and_import_paths_are_told_apart(tmp_path: Path, monkeypatch) -> None:
    assert split_layer("a.b:C+mean:5+band:.5") == ("a.b:C+mean:5", ("band", 0.5))
    assert split_layer("a.b:C") == ("a.b:C", None)
    assert set(LAYERS) == {"band", "partial", "every", "mean", "budget"}
    (tmp_path / "own_wander.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    agent = make_agent("own_wander:Half+partial:0.5+band:0.1", options={"size": 0.25})
    assert unwrapped(agent).size == 0.25
    with pytest.raises(ConfigError, match="begins a layer"):
        register("macd+more", "agents.rules:RuleAgent")
    # A file does not choose code by a layer around it, nor by a number that hides a path.
    refuse_untrusted("macd+band:0.1", "a.toml")
    for trust in ("own_wander:Half", "own_wander:Half+band:0.1"):
        refuse_untrusted("own_wander:Half+band:0.1", "a.toml", [trust])
    with pytest.raises(ConfigError, match=r"--trust own_wander:Half$"):
        refuse_untrusted("own_wander:Half+band:0.1", "a.toml")
    assert short_labels(["macd+band:0.1", "own_wander:Half+band:0.1"])["macd+band:0.1"] == "macd+band:0.1"


def test_another_environment_than_the_one_asked_for_is_refused(panel: Panel) -> None:
    agent = make_agent("macd+band:0.1")
    plain = make_agent("macd")
    with pytest.raises(ConfigError, match="the agent is not trained"):
        play(agent, environment(agent, panel))
    fitted(agent, panel)
    with pytest.raises(ConfigError, match="shows 3 features, expected the 4"):
        play(agent, environment(plain, panel))
    with pytest.raises(ConfigError, match="has 3 assets, and the agent was fitted to 8"):
        play(agent, environment(agent, panel.select([next(iter(panel.markets))])))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[RunFolder, Panel]:
    panel = ragged(sizes=(2, 2), days=1200, seed=2)
    short = {"epochs": 2, "patience": 2}
    names = ("macd", "macd+band:0.2", "macd+every:10", "dmn-linear-sharpe+mean:2+partial:0.3")
    variants = {name: Variant(name, short if "dmn" in name else {}) for name in names}
    config = RunConfig(agents=names, seeds=1, jobs=1, out=tmp_path_factory.mktemp("runs") / "run")
    return RunFolder.of_finished(run(config, panel, variants=variants)), panel


def test_a_run_takes_them_by_name_and_they_trade_less(finished) -> None:
    folder, _ = finished
    table = folder.results()
    rows = table[(table["metric"] == "turnover") & (table["market"] == "*") & (table["cost_bps"] == 2.0)]
    each = rows.set_index("agent")["value"].to_dict()
    assert each["macd+band:0.2"] < 0.8 * each["macd"]
    assert each["macd+every:10"] < 0.8 * each["macd"]
    assert (folder.path / "units" / "macd+band--0.2-seed0").is_dir()
    record = folder.record()["agents"]["dmn-linear-sharpe+mean:2+partial:0.3"]
    assert record["agent"] == "dmn-linear-sharpe+mean:2+partial:0.3"
    assert record["built_with"]["loss"] == "sharpe"


def test_todays_signals_are_those_of_their_checkpoints(finished) -> None:
    folder, panel = finished
    for name in ("macd+band:0.2", "dmn-linear-sharpe+mean:2+partial:0.3"):
        table = todays_signals(folder, name, panel)
        unit = folder.unit(f"{name.replace(':', '--')}-seed0")
        expected = load_agent(name, unit / "checkpoint").signals(panel)
        last = [panel.markets[market].rows[-1] for market in panel.market_of]
        trades = table["trades"].to_numpy()
        np.testing.assert_array_equal(
            table["signal"].to_numpy()[trades], expected[last, np.arange(len(last))][trades]
        )


def test_a_search_draws_the_options_of_the_agent_inside(tmp_path: Path) -> None:
    panel = ragged(sizes=(2, 2), days=1200, seed=2)
    name = "dmn-linear-sharpe+band:0.1"
    one = Search(
        label=name,
        variant=Variant(name),
        trials=range(2),
        seed=0,
        fixed={"epochs": 1, "batch": 256},
        vol_target=0.15,
    )
    results = search([one], [holdout(panel)], tmp_path, jobs=1)
    assert [result.get("error") for result in results] == [None, None]
    assert all(np.isfinite(result["score"]) for result in results)
    assert {"learning_rate", "max_norm"} <= set(results[0]["options"])


def test_the_list_of_agents_tells_the_layers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agents"]) == 0
    told = capsys.readouterr().out
    assert all(f"+{word}:{kind.number} " in told and kind.about in told for word, kind in LAYERS.items())


def test_a_configuration_file_names_layers_and_no_code(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('agents = ["macd+band:0.1", "macd"]\n')
    taken = with_config_file(["run", "--config", str(file)], {("run",): RunConfig})
    assert "--agents=macd+band:0.1,macd" in taken
    file.write_text('agents = ["macd+band:0.1", "own_wander:Half+band:0.1"]\n')
    with pytest.raises(ConfigError, match="a file does not choose which code runs"):
        with_config_file(["run", "--config", str(file)], {("run",): RunConfig})

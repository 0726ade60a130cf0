"""Runs on markets that nobody was trained on: an agent in three ways, the same tables and page."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from finished import write_panel

import experiments.running.units
from agents.agent import load_agent, make_agent
from experiments.cli import main
from experiments.commands.search import SearchConfig
from experiments.report import write_report
from experiments.results.run import read_run, read_runs
from experiments.results.tables import market_days, portfolio_table
from experiments.results.unseen import unseen_in_words, ways_table
from experiments.running.protocols import Fold
from experiments.running.runner import run
from experiments.running.today import todays_signals
from experiments.running.units import Unit, Variant, evaluate, train_agent
from experiments.running.unseen import Unseen
from experiments.settings.config import RunConfig
from experiments.statistics import sharpe_interval
from experiments.storage.store import RunFolder, unit_name
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, QnError
from qn_env.panel import Panel
from qn_env.sources import ragged

USER_MODULE = '''
import copy
import json
import numpy as np

STARTED = []  # trainings of this process


class Rule:
    """Fitted to the markets it plays, and tells which they are."""

    learns = False

    def fit(self, env, *, seed, validation=None):
        self.life = [["fit", sorted(env.panel.markets), str(env.panel.dates[-1]), validation is None]]
        return self

    def reset(self):
        pass

    def act(self, observation):
        return np.sign(observation["returns"][-1])

    def save(self, folder):
        folder.mkdir(parents=True)
        (folder / "life.json").write_text(json.dumps(self.life))


class Forgetful:
    """Remembers its life, what it was fitted to and what it was adapted to, but keeps no checkpoint."""

    learns = True

    def __init__(self, fails=None):
        self.fails = fails
        self.life = []

    def fit(self, env, *, seed, validation=None):
        self.number = np.random.default_rng(seed).uniform(0.1, 1.0)
        STARTED.append(seed)
        return self.after("fit", env, validation)

    def adapt(self, env, *, seed, learn, validation=None):
        other = copy.deepcopy(self)
        return other.after("learn" if learn else "show", env, validation)

    def after(self, what, env, validation):
        if what == self.fails:
            raise RuntimeError("no luck with " + what)
        self.number *= 0.9
        until = "" if validation is None else str(validation.panel.dates[-1])
        days = int(env.tape.decides.any(axis=1).sum())
        lag, costs = env.config.execution_lag, len(env.config.costs)
        self.life.append([what, sorted(env.panel.markets), str(env.panel.dates[-1]), until, days, lag, costs])
        return self

    def reset(self):
        pass

    def act(self, observation):
        return self.number * np.sign(observation["returns"][-1])


class Learner(Forgetful):
    """Keeps one."""

    def save(self, folder):
        folder.mkdir(parents=True)
        (folder / "life.json").write_text(json.dumps([self.life, self.number]))

    @classmethod
    def load(cls, folder):
        agent = cls()
        agent.life, agent.number = json.loads((folder / "life.json").read_text())
        return agent


class Bound(Learner):
    """Knows nothing of other markets."""

    adapt = property()


class Peeking(Learner):
    """Looks ahead once it has learnt from a few days."""

    def signals(self, panel):
        ahead = -any(what == "learn" for what, *_ in self.life)
        return self.number * np.sign(np.nan_to_num(np.roll(panel.returns, ahead, axis=0)))
'''
RULE, LEARNER, FORGETFUL, BOUND, PEEKING = (
    f"unseen_agents:{name}" for name in ("Rule", "Learner", "Forgetful", "Bound", "Peeking")
)
DMN = Variant("dmn-linear-sharpe", {"epochs": 2})
SETTINGS: dict[str, Any] = {
    "protocol": "unseen",
    "folds": 2,
    "shots": 40,
    "costs": (2.0,),
    "seeds": 1,
    "jobs": 1,
}
WAYS = ("", " few-shot", " trained")
WINDOWS = ("fold1", "fold2")


@pytest.fixture(scope="module", autouse=True)
def users_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder with a module of agents, as the working directory."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "unseen_agents.py").write_text(USER_MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        # Intervals and figures are others' to test, and take most of a run's time.
        quick = partial(sharpe_interval, replications=20)
        patch.setattr("experiments.results.leaderboard.sharpe_interval", quick)
        patch.setattr("experiments.report.figures.write_figures", lambda *_: None)
        yield folder
    sys.modules.pop("unseen_agents", None)


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Three markets, one of which ends a year before the others."""
    whole = ragged(sizes=(2, 1, 1), days=1400, seed=9)
    ends = dict.fromkeys(whole.markets, whole.dates[-1])
    return whole.until({**ends, "M1": whole.dates[-260]})


@pytest.fixture(scope="module")
def folds(panel: Panel) -> list[Fold]:
    return Unseen(number=2, shots=40).folds(panel)


def run_into(out: Path, panel: Panel, variants: dict[str, Variant], **more: Any) -> RunFolder:
    config = RunConfig(agents=tuple(variants), **{**SETTINGS, **more}, out=out)
    return RunFolder(run(config, panel, variants=variants, resume=True))


VARIANTS = {"learner": Variant(LEARNER), "bound": Variant(BOUND), "net": DMN, "rule": Variant(RULE)}


@pytest.fixture(scope="module")
def finished(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    started = started_trainings()
    started.clear()
    folder = run_into(tmp_path_factory.mktemp("unseen") / "run", panel, VARIANTS)
    assert len(started) == 2 * len(WINDOWS), "zero shots and few of them share a training"
    return folder


def started_trainings() -> list[int]:
    import unseen_agents  # type: ignore[import-not-found]

    started: list[int] = unseen_agents.STARTED
    return started


def life(folder: RunFolder, label: str, window: str) -> list[Any]:
    """What became of a user's agent."""
    file = folder.unit(unit_name(label, 0, window)) / "checkpoint" / "life.json"
    stored: list[Any] = json.loads(file.read_text())
    return stored if label == "rule" else stored[0]


def test_every_way_learns_from_what_it_may_and_is_shown_what_it_plays(
    finished: RunFolder, folds: list[Fold]
) -> None:
    assert finished.record()["failed"] == []
    for fold in folds:
        assert fold.own is not None
        assert fold.own.few is not None
        mine, last = sorted(fold.test.markets), str(fold.own.known.dates[-1])
        zero, few, trained = (
            [entry[:4] for entry in life(finished, f"learner{way}", fold.name)] for way in WAYS
        )
        shown = ["show", mine, last, ""]
        others = sorted(fold.train.markets)
        assert zero == [["fit", others, str(fold.train.dates[-1]), str(fold.select.dates[-1])], shown]
        train, select = fold.own.few.train, fold.own.few.select
        learnt = ["learn", mine, str(train.dates[-1]), str(select.dates[-1])]
        assert few == [*zero, learnt, shown]
        together = fold.own.together
        everything = sorted(together.train.markets)
        assert trained == [
            ["fit", everything, str(together.train.dates[-1]), str(together.select.dates[-1])],
            shown,
        ]
        assert set(others) < set(everything)
        assert life(finished, "rule", fold.name) == [["fit", mine, last, True]]
        # Decisions of 36 days to learn from: the close before each of them.
        days = life(finished, "learner few-shot", fold.name)[2][4]
        assert days >= 36


def test_who_plays_only_what_it_was_trained_on_is_left_out_by_name(finished: RunFolder) -> None:
    record = finished.record()
    assert record["unseen"]["left_out"] == ["bound"]
    labels = [f"{name}{way}" for name in ("learner", "net") for way in WAYS] + ["rule"]
    assert list(record["agents"]) == labels, "each beside itself, in the order they were named"
    assert set(finished.leaderboard()["agent"]) == set(finished.results()["agent"]) == set(labels)
    told = " ".join(unseen_in_words(record))
    assert "Left out: bound." in told
    ways = {label: about.get("way") for label, about in record["agents"].items()}
    assert ways["net"] == "zero-shot"
    assert ways["net few-shot"] == "few-shot"
    assert ways["net trained"] == "trained"
    assert ways["rule"] is None


def test_all_folds_together_are_each_by_itself_by_the_arithmetic_of_every_protocol(
    finished: RunFolder, folds: list[Fold], panel: Panel
) -> None:
    record = finished.record()
    assert record["panel"]["windows"] == list(WINDOWS)
    assert [row["market"] for row in record["panel"]["markets"]] == [m for f in folds for m in f.test.markets]
    for label, way in (
        ("net", "zero-shot"),
        ("net few-shot", "few-shot"),
        ("net trained", "trained"),
        ("rule", None),
    ):
        base = label.partition(" ")[0]
        alone = []
        for fold in folds:
            unit = Unit(label, VARIANTS[base], 0, record["agents"][label]["vol_target"], fold.name, way=way)  # type: ignore[arg-type]
            days, _ = evaluate(train_agent(unit, fold), unit, fold)
            days["date"] = days["date"].astype("datetime64[ms]")  # as Parquet has it
            pd.testing.assert_frame_equal(days, finished.unit_days(unit.name), check_exact=True)
            alone.append(days)
        joined = finished.agent_days(label, 0)
        pd.testing.assert_frame_equal(
            joined.drop(columns="window"), pd.concat(alone, ignore_index=True), check_exact=True
        )
        by_market = market_days(joined)
        assert sorted(by_market["market"].unique()) == sorted(panel.markets)
        blocks = pd.concat([fold.blocks for fold in folds])
        daily = portfolio_table(by_market, blocks, [2.0]).drop(columns="cost_bps")
        stored = finished.portfolio().query("agent == @label").drop(columns=["agent", "seed", "cost_bps"])
        pd.testing.assert_frame_equal(stored.reset_index(drop=True), daily, check_exact=True)


def test_what_knowing_the_markets_is_worth_stands_side_by_side(finished: RunFolder) -> None:
    seen = read_run(finished.path)
    ways = ways_table(seen.about, seen.ranking(2.0), None).set_index("agent")
    board = seen.ranking(2.0).set_index("agent")
    assert list(ways.index) == ["learner", "net"]
    for way, behind in zip(("zero-shot", "few-shot", "trained"), WAYS, strict=True):
        assert ways.loc["net", way] == board.loc[f"net{behind}", "sharpe"]
        assert ways.loc["net", f"{way}_low"] == board.loc[f"net{behind}", "sharpe_low"]


def test_the_page_tells_the_folds_the_ways_and_who_is_left_out(finished: RunFolder) -> None:
    pytest.importorskip("plotly")
    page = write_report(finished.path)
    text = " ".join(page.read_text().split())
    assert "Markets nobody was trained on" in text
    assert "Left out: bound." in text
    assert "What knowing the markets is worth" in text
    assert "Folds of markets" in text
    assert "3 agents (2 learnt, with 1 seeds each, each in 3 ways; 1 rule)" in text
    tables = finished.path / "tables"
    folds = pd.read_csv(tables / "folds.csv")
    assert folds["fold"].tolist() == list(WINDOWS)
    assert folds["cut"].tolist() == [fold["cut"] for fold in finished.record()["unseen"]["folds"]]
    ways = pd.read_csv(tables / "ways.csv").set_index("agent")
    gap = pd.read_csv(tables / "differences.csv").set_index(["left", "right"])
    assert ways.loc["net", "trained_difference"] == pytest.approx(
        gap.loc[("net trained", "net"), "difference"]
    )
    assert {"net few-shot", "learner trained"} <= set(gap.index.get_level_values("left"))
    assert len(read_runs(finished.path)) == 2


@pytest.mark.parametrize("begun", [1, 6])
def test_a_run_killed_between_two_units_goes_on_to_the_same_bytes(
    finished: RunFolder, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: int
) -> None:
    """After zero shots, and before the last one."""
    played: list[str] = []
    run_one = experiments.running.units.run_unit

    def run_unit(unit: Unit, *arguments: Any) -> None:
        played.append(unit.name)
        if len(played) == begun + 1:
            raise KeyboardInterrupt
        run_one(unit, *arguments)

    monkeypatch.setattr(experiments.running.units, "run_unit", run_unit)
    variants = {"learner": VARIANTS["learner"], "rule": VARIANTS["rule"]}
    with pytest.raises(KeyboardInterrupt):
        run_into(tmp_path / "run", panel, variants)
    # The tables are other tests' and take their time: the units are what went on.
    monkeypatch.setattr("experiments.running.runner._write_tables", lambda *_: [])
    folder = run_into(tmp_path / "run", panel, variants)
    assert len(played) == 8 + 1, "none was run twice, but the one that was killed"
    for unit in (folder.path / "units").iterdir():
        for file in unit.rglob("*"):
            if file.is_file():
                other = finished.path / file.relative_to(folder.path)
                assert file.read_bytes() == other.read_bytes(), file


def test_few_shots_that_are_killed_in_their_training_go_on_in_it(
    finished: RunFolder, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[str] = []
    monkeypatch.setattr("experiments.running.runner._write_tables", lambda *_: [])
    keep = experiments.running.units.monitor_of

    def monitor_of(unit: Unit, folder: RunFolder, report: Any = None) -> Any:
        def told(done: int, of: int) -> None:
            epochs.append(unit.label)
            if epochs.count("net few-shot") == 1 and unit.label == "net few-shot":
                raise KeyboardInterrupt

        return replace(keep(unit, folder, report), progress=told)

    monkeypatch.setattr(experiments.running.units, "monitor_of", monitor_of)
    with pytest.raises(KeyboardInterrupt):
        run_into(tmp_path / "run", panel, {"net": DMN})
    killed = RunFolder(tmp_path / "run").training("net few-shot-seed0-fold1")
    assert list(killed.glob("*.safetensors"))
    folder = run_into(tmp_path / "run", panel, {"net": DMN})
    assert not killed.exists()
    # Two epochs of each: one before the kill, one after it.
    assert epochs.count("net few-shot") == 2 * len(WINDOWS)
    for label in (f"net{way}" for way in WAYS):
        for window in WINDOWS:
            unit = unit_name(label, 0, window)
            file = Path("checkpoint") / "weights.safetensors"
            assert (folder.unit(unit) / file).read_bytes() == (finished.unit(unit) / file).read_bytes()


def test_quantnet_of_zero_shots_plays_as_with_the_markets_added_by_hand(folds: list[Fold]) -> None:
    variant = Variant("quantnet-shared", {"steps": 3})
    fold = folds[0]
    assert fold.own is not None
    unit = Unit("quantnet-shared", variant, 0, None, fold.name, way="zero-shot")
    agent: Any = make_agent(variant.agent, options=variant.options)

    def env(panel: Panel, **more: Any) -> TradingEnv:
        return TradingEnv(panel, window=1, features=agent.settings.features, cost_bps=0.0, **more)

    held = env(fold.select, start=fold.select_start, warmup=agent.warmup)
    agent.fit(env(fold.train), seed=0, validation=held)
    agent.add_market(env(fold.own.known), seed=0, steps=0)
    days, audit = evaluate(train_agent(unit, fold), unit, fold)
    np.testing.assert_array_equal(audit.signals, agent.signals(fold.test))
    assert set(days["market"]) == set(fold.test.markets)


def test_trainings_are_under_the_costs_and_the_delay_that_are_asked_for(
    panel: Panel, folds: list[Fold]
) -> None:
    from qn_env.costs import CostTable

    priced = replace(panel, own_costs=replace(CostTable.empty(), default_bps=3.0))
    fold = Unseen(number=2, shots=40).folds(priced)[0]
    unit = Unit(
        "x",
        Variant(LEARNER),
        0,
        None,
        fold.name,
        way="few-shot",
        train_execution="late",
        train_costs="market",
    )
    agent: Any = train_agent(unit, fold)
    assert [entry[5:] for entry in agent.life] == [[1, 1]] * 4
    days, _ = evaluate(agent, unit, fold)
    np.testing.assert_allclose(days["cost"], 3e-4 * days["turnover"], rtol=1e-12)
    assert folds[0].test_start == fold.test_start


def test_what_fails_is_told_and_few_shots_wait_for_zero(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variants = {
        "unfit": Variant(LEARNER, {"fails": "fit"}),
        "slow": Variant(LEARNER, {"fails": "learn"}),
        "peeks": Variant(PEEKING),
        "rule": Variant(RULE),
    }
    monkeypatch.setattr("experiments.running.runner._write_tables", lambda *_: [])
    folder = run_into(tmp_path / "run", panel, variants)
    failed = {(f["agent"], f["window"]): f for f in folder.record()["failed"]}
    waits = "QnError: not run; few shots wait for the agent of none, and window fold1 failed."
    assert failed["unfit", "fold1"]["error"] == "RuntimeError: no luck with fit"
    assert failed["unfit few-shot", "fold1"]["error"] == waits
    assert failed["unfit trained", "fold2"]["error"] == "RuntimeError: no luck with fit"
    # The option is not kept in a checkpoint: who is read from one has luck.
    assert not any(name.startswith("slow") for name, _ in failed)
    assert {name for name, _ in failed if name.startswith("peeks")} == {"peeks few-shot"}
    assert failed["peeks few-shot", "fold1"]["kind"] == "LookAheadError"
    assert folder.has_unit("rule-seed0-fold2")


def test_what_is_computed_of_a_folds_panels_is_not_kept_for_other_units(
    folds: list[Fold], tmp_path: Path
) -> None:
    fold = folds[0].afresh()
    unit = Unit("x", DMN, 0, 0.15, fold.name, way="trained")
    experiments.running.units.run_chain([unit], {fold.name: fold}, RunFolder(tmp_path))
    assert fold.own is not None
    for panel in (fold.test, fold.own.known, fold.own.together.train, fold.own.together.select):
        assert "_features" not in vars(panel)
    assert RunFolder(tmp_path).has_unit(unit.name)


def test_few_shots_of_an_agent_that_keeps_no_checkpoint_train_it_again(
    folds: list[Fold], tmp_path: Path
) -> None:
    agents: list[Any] = []
    folder, started = RunFolder(tmp_path), started_trainings()
    started.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "write_unit", keeping(agents, RunFolder.write_unit))
        for label, way in (("x", "zero-shot"), ("x few-shot", "few-shot")):
            unit = Unit(label, Variant(FORGETFUL), 0, None, folds[0].name, way=way)  # type: ignore[arg-type]
            experiments.running.units.run_unit(unit, folds[0], folder)
    assert started == [0, 0]
    zero, few = (agent.life for agent in agents)
    assert few[: len(zero)] == zero
    assert [what for what, *_ in few] == ["fit", "show", "learn", "show"]


def keeping(agents: list[Any], write: Any) -> Any:
    """What stores a unit, and keeps its agent."""

    def write_unit(self: RunFolder, name: str, days: pd.DataFrame, agent: Any) -> None:
        agents.append(agent)
        write(self, name, days, agent)

    return write_unit


def test_trainings_of_folds_share_a_programme_and_few_shots_go_on_from_it(
    finished: RunFolder, panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.running.runner._write_tables", lambda *_: [])
    from experiments.running import populations

    programmes: list[int] = []
    train = populations._train

    def counted(prepare: Any, *arguments: Any) -> None:
        programmes.append(len(prepare))
        train(prepare, *arguments)

    monkeypatch.setattr(populations, "_train", counted)
    folder = run_into(tmp_path / "run", panel, {"net": DMN}, population=8)
    assert programmes == [4], "zero shots and trained, of both folds"
    for way in WAYS:
        for window in WINDOWS:
            unit = unit_name(f"net{way}", 0, window)
            ours, theirs = (one.unit_days(unit) for one in (folder, finished))
            np.testing.assert_allclose(ours["signal"], theirs["signal"], atol=1e-4)


def test_without_shots_there_is_no_few_shot_and_a_run_of_bound_agents_alone_is_refused(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.running.runner._write_tables", lambda *_: [])
    folder = run_into(tmp_path / "run", panel, {"learner": Variant(LEARNER)}, shots=0)
    assert list(folder.record()["agents"]) == ["learner", "learner trained"]
    assert "few-shot" not in " ".join(unseen_in_words(folder.record()))
    with pytest.raises(
        ConfigError, match="no-transfer-linear, x: none of the agents plays a market that it was"
    ):
        run_into(
            tmp_path / "b", panel, {"no-transfer-linear": Variant("no-transfer-linear"), "x": Variant(BOUND)}
        )
    assert not (tmp_path / "b").exists()


def test_a_run_goes_on_with_the_same_folds_only(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.running.runner._write_tables", lambda *_: [])
    file = tmp_path / "groups.csv"
    file.write_text("market,group\nM0,a\nM1,b\nM2,b\n")
    options = {"folds": None, "groups": str(file)}
    folder = run_into(tmp_path / "run", panel, {"rule": Variant(RULE)}, **options)
    assert [fold["window"] for fold in folder.record()["unseen"]["folds"]] == ["fold1-b", "fold2-a"]
    (folder.path / "run.json").unlink()
    file.write_text("market,group\nM0,b\nM1,a\nM2,b\n")
    with pytest.raises(ConfigError, match=r"was begun with folds = .*'fold1-b': \['M1', 'M2'\]"):
        run_into(tmp_path / "run", panel, {"rule": Variant(RULE)}, **options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"protocol": "unseen", "warm_start": True},
            "warm_start goes on from the window before, and the windows",
        ),
        ({"protocol": "unseen", "folds": 1}, "folds is 1, expected at least 2"),
        ({"protocol": "unseen", "folds": 3, "groups": "x"}, "give --groups or --folds, not both"),
        ({"protocol": "unseen", "shots": -1}, "shots is -1, expected at least 0"),
        ({"folds": 3}, "folds deals markets into folds; it needs --protocol unseen"),
        ({"groups": "x"}, "groups deals markets into folds; it needs --protocol unseen"),
    ],
)
def test_a_setting_that_does_not_go_with_the_protocol_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig(**settings)


def test_commands_that_cannot_use_folds_of_markets_say_so(finished: RunFolder, panel: Panel) -> None:
    with pytest.raises(ConfigError, match="unseen judges on other markets than it learns from"):
        SearchConfig(agent="dmn-linear-sharpe", out=Path("x"), protocol="unseen")
    with pytest.raises(ConfigError, match="no agent of it knows all markets"):
        todays_signals(finished, "net", panel)


def test_the_command_line_runs_it_and_tells_who_is_left_out(
    panel: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.report.write_report", lambda folder: folder / "report.html")
    data = write_panel(panel, tmp_path / "data")
    argv = [
        "run",
        "--panel",
        str(data),
        "--kind",
        "returns",
        "--protocol",
        "unseen",
        "--folds",
        "2",
        "--shots",
        "30",
    ]
    argv += ["--agents", f"{LEARNER},quantnet,{RULE}", "--costs", "2", "--seeds", "1", "--jobs", "1"]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "What knowing the markets is worth, net of 2 bp, one day late" in told
    assert "Zero-shot Few-shot Trained" in told
    assert "Unseen: Left out: quantnet." in told
    assert "few-shot has gone on to learn from the 30 days of theirs before" in told
    assert f"{LEARNER} few-shot" in told
    assert load_agent(LEARNER, tmp_path / "run/units/unseen_agents--Learner trained-seed0-fold1/checkpoint")
    with pytest.raises(QnError, match="1 can be judged here"):
        run(
            RunConfig(agents=(RULE,), protocol="unseen", out=tmp_path / "one"),
            panel.select(["M0"]),
        )

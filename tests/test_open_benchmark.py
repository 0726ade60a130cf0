"""The open benchmark: separate runs in one table, killed and resumed, added to, refused, published."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished import small_panel, write_panel

import experiments.open_benchmark.benchmark as whole_benchmark
import experiments.open_benchmark.playing as playing
from experiments.cli import main
from experiments.open_benchmark.benchmark import Played, run_benchmark
from experiments.open_benchmark.config import BenchmarkConfig
from experiments.open_benchmark.folder import BenchmarkFolder
from experiments.open_benchmark.published import published
from experiments.open_benchmark.suites import SMALL, SUITES, Course, Planted, Suite
from experiments.results.joining import join_runs
from experiments.results.run import read_runs
from experiments.running.runner import run
from experiments.running.terminal import EXIT_LOOKAHEAD
from experiments.settings.config import RunConfig
from experiments.statistics import Moments, deflated_sharpe, moments, recorded_trials
from experiments.storage.store import RunFolder
from qn_env.errors import ConfigError, QnError
from qn_env.panel import Panel
from qn_env.sources import embedded, ragged

# Agents as users write them: two that learn by drawing, one of which cannot play what it was not trained on.
USER_MODULE = '''
import json
import numpy as np


class Guess:
    """Draws how much it follows the last return."""

    def fit(self, env, *, seed, validation=None):
        self.size = float(np.random.default_rng(seed).uniform(0.2, 1.0))
        return self

    def adapt(self, env, *, seed, learn, validation=None):
        return self

    def reset(self):
        pass

    def act(self, observation):
        return self.size * np.sign(observation["returns"][-1])

    def save(self, folder):
        folder.mkdir(parents=True)
        (folder / "guess.json").write_text(json.dumps({"size": self.size}))


class Local(Guess):
    """The other way round; knows its assets by their place."""

    adapt = property()

    def act(self, observation):
        return -self.size * np.sign(observation["returns"][-1])


class Unlucky(Guess):
    def fit(self, env, *, seed, validation=None):
        raise RuntimeError("no luck today")


class Prophet(Guess):
    def signals(self, panel):
        return np.sign(np.nan_to_num(np.roll(panel.returns, -1, axis=0)))
'''
GUESS, LOCAL, UNLUCKY, PROPHET = (f"bench_agents:{name}" for name in ("Guess", "Local", "Unlucky", "Prophet"))
TINY = Suite(
    name="tiny",
    reduced="Everything is.",
    agents=("macd", "sgn-returns"),
    courses=(Course(protocol="holdout", seeds=2), Course(protocol="unseen", seeds=1, folds=2)),
    probes=(
        Planted(axis="finds", probe="trend", days=120, test_days=100, seeds=2),
        Planted(axis="nothing", probe="noise", days=120, test_days=100, seeds=1),
        Planted(axis="unseen", probe="transfer", days=60, test_days=60, seeds=1),
        Planted(axis="few", probe="trend", days=60, test_days=100, seeds=1),
    ),
)
# Files that hold no seconds; and what lies there beside them.
SAME = ("plan.json", "table.csv", "scorecard.csv", "probes.csv", "record.json", "trials.csv")
Bench = Callable[..., Played]


@pytest.fixture(scope="module")
def panel() -> Panel:
    return small_panel()


@pytest.fixture(scope="module", autouse=True)
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The users' agents, importable."""
    place = tmp_path_factory.mktemp("agents")
    (place / "bench_agents.py").write_text(USER_MODULE)
    sys.path.insert(0, str(place))
    yield place / "bench_agents.py"
    sys.path.remove(str(place))
    sys.modules.pop("bench_agents", None)


def play(out: Path, panel: Panel, *add: str, suite: Suite = TINY, **more: object) -> Played:
    return run_benchmark(BenchmarkConfig(out=out, add=add, jobs=1, **more), panel, suite=suite)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, panel: Panel) -> Played:
    """Two rules of the suite, and a learner that was added, in one go."""
    return play(tmp_path_factory.mktemp("played") / "out", panel, GUESS)


@pytest.fixture
def copied(played: Played, tmp_path: Path) -> Path:
    return Path(shutil.copytree(played.folder.path, tmp_path / "copy"))


def stored(folder: Path, *places: str) -> dict[str, bytes]:
    """What lies below these places, without what holds seconds: the records of runs and their manifests."""
    files = [path for place in places for path in (folder / place).rglob("*") if path.is_file()]
    timed = [path for path in files if path.name in ("run.json", "plan.json")]
    homes = {path.parent / "manifest.sha256" for path in timed}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path not in timed and path not in homes
    }


def lines(found: pd.DataFrame, **at: object) -> pd.DataFrame:
    """The rows of a table with these values."""
    for name, value in at.items():
        found = found[found[name] == value]
    return found


# The table.


def test_the_table_has_the_figures_of_runs_of_one_agent(played, panel, tmp_path):
    table = played.results.table
    for agent in ("macd", GUESS):
        config = RunConfig(agents=(agent,), seeds=2, costs=(0.0, 2.0), jobs=1, out=tmp_path / agent[:4])
        board = RunFolder(run(config, panel)).leaderboard()
        mine = lines(table, protocol="holdout", agent=agent)
        assert len(mine) == len(board) == 4
        for row in board.to_dict("records"):
            (ours,) = lines(mine, execution=row["execution"], cost=f"{row['cost_bps']:g}").to_dict("records")
            for name in ("seeds", "sharpe", "sharpe_low", "sharpe_high", "turnover", "max_drawdown"):
                assert ours[name] == pytest.approx(row[name], rel=1e-5), name


def test_the_ranking_and_what_is_corrected_for_many_are_of_all_agents(played):
    table = played.results.table
    late = lines(table, protocol="holdout", execution="late", cost="2").set_index("agent")
    assert sorted(late["rank"]) == [1, 2, 3]
    assert late["sharpe"].idxmax() == late["rank"].idxmin()
    assert late["may_be_best"].isin([True, False]).all()
    assert lines(table, protocol="holdout", cost="0")["deflated"].isna().all(), "of the headline alone"


def test_deflation_counts_everything_that_was_looked_at_under_any_protocol(played):
    # Holdout: two rules once, two seeds; unseen: two rules, one seed zero-shot and trained.
    trials = pd.read_csv(played.folder.path / "trials.csv")
    assert len(trials) == 4 + 4
    assert played.results.record["trials"] == {"series": 8, "trainings": 4 + 2 * 4 + 3 * 5}
    run_of_all = read_runs(played.folder.joint("holdout"))["late"]
    assert run_of_all.about["further_trials"] == 4
    days = run_of_all.portfolio
    nets = days[days["cost_bps"] == 2.0].pivot(index="date", columns=["agent", "seed"], values="net").dropna()
    year = 252.0**0.5
    variance = recorded_trials([year * nets[c].mean() / nets[c].std(ddof=1) for c in nets]).variance
    each = moments(nets["macd"].to_numpy())
    mine = deflated_sharpe(
        Moments(*(float(np.mean(moment)) for moment in each)),
        recorded_trials([0.0] * 8)._replace(variance=variance),
    )
    (row,) = lines(
        played.results.table, protocol="holdout", agent="macd", execution="late", cost="2"
    ).to_dict("records")
    assert row["deflated"] == pytest.approx(float(mine), rel=1e-4)


def test_every_way_of_an_unseen_market_is_a_row_and_a_rule_is_one(played):
    table = lines(played.results.table, protocol="unseen", execution="late", cost="2")
    assert list(lines(table, agent=GUESS)["way"]) == ["zero-shot", "trained"]
    assert lines(table, agent="macd")["way"].isna().all()


def test_the_joint_run_is_a_run_that_everything_reads(played, capsys):
    joint = played.folder.joint("holdout")
    folder = RunFolder.of_finished(joint)
    assert set(folder.leaderboard()["agent"]) == {"macd", "sgn-returns", GUESS}
    assert len(folder.agent_days("macd", 0)) > 0
    assert read_runs(joint)["late"].learns(GUESS)
    assert folder.audit("macd-seed0")["comparisons"]
    assert main(["compare", str(joint), str(played.folder.run("holdout", "macd"))]) == 0
    assert "identical" in capsys.readouterr().out


def test_runs_of_other_data_or_settings_are_not_put_together(played, panel, tmp_path):
    part = RunFolder(played.folder.run("holdout", "macd"))
    other = RunFolder(
        run(RunConfig(agents=("long-only",), costs=(0.0, 5.0), jobs=1, out=tmp_path / "costs"), panel)
    )
    with pytest.raises(ConfigError, match=r"costs: was run with .* = .*only runs of the same data"):
        join_runs([part, other], tmp_path / "joint")
    with pytest.raises(ConfigError, match="holds the agent 'macd', and so does"):
        join_runs([part, part], tmp_path / "joint")
    with pytest.raises(ConfigError, match="no run to put together"):
        join_runs([], tmp_path / "joint")


# The record and the page.


def test_the_record_says_what_was_played_on_which_data_by_which_code(played, panel):
    record = json.loads((played.folder.path / "record.json").read_text())
    assert record["panel"]["fingerprint"] == panel.fingerprint
    assert record["suite"] == json.loads(json.dumps(whole_benchmark.asdict(TINY)))
    assert (record["agents"], record["added"]) == (["macd", "sgn-returns", GUESS], [GUESS])
    assert (record["costs"], record["headline"]) == (["0", "2"], "2")
    assert record["missing"] == record["failed"] == record["cannot"] == []
    (code,) = record["code"]
    assert {"python", "torch", "qn-env"} <= code["versions"].keys()
    assert len(code["runs"]) == 6
    assert "seconds" not in record, "nothing in it depends on a clock"
    seconds = json.loads((played.folder.path / "seconds.json").read_text())
    assert seconds["seconds"].keys() == set(record["agents"])
    assert all(one["all"] >= one["seed"] >= 0.0 for one in seconds["seconds"].values())


def test_the_page_shows_every_agent_with_a_figure_and_loads_nothing(played):
    page = (played.folder.path / "benchmark.html").read_text()
    for agent in played.results.record["agents"]:
        assert page.count(f'<img alt="{agent}: finds what is there') == 1
        assert (played.folder.path / "figures" / f"radar-{agent.replace(':', '--')}.svg").is_file()
    assert "<script" not in page
    assert "Everything is." in page
    assert page.count("src=") == page.count('src="data:image/png;base64,')
    assert "{{" not in page
    assert str(played.folder.path) not in page
    for part in ("The table", "The scorecard", "Holdout: luck and look-ahead", "Probes"):
        assert f"<h2>{part}</h2>" in page


# Killed, and gone on with.


def test_killed_and_resumed_it_ends_in_the_same_bytes_and_runs_nothing_twice(
    played, panel, tmp_path, monkeypatch
):
    done: list[str] = []

    def counted(unit, *given: object) -> None:
        if len(done) == 3:
            raise KeyboardInterrupt
        run_unit(unit, *given)
        done.append(unit.name)

    run_unit = playing.run_unit
    out = tmp_path / "out"
    monkeypatch.setattr(playing, "run_unit", counted)
    with pytest.raises(KeyboardInterrupt):
        play(out, panel, GUESS)
    assert not (out / "table.csv").exists()
    (out / ".plan.json.1.tmp").write_bytes(b"half")
    first = list(done)
    done[:] = ["more"] * 4  # from here on nothing is killed
    monkeypatch.setattr(whole_benchmark, "write_page", lambda *given: None)  # which shows seconds
    again = play(out, panel, GUESS)
    assert len(first) == 3
    assert len(done) == 4 + 12 - 3
    assert not {*first} & {*done}
    for name in SAME:
        assert (out / name).read_bytes() == (played.folder.path / name).read_bytes(), name
    mine, theirs = (stored(folder, "runs", "probes", "joint") for folder in (out, played.folder.path))
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if mine[name] != theirs[name]] == []
    assert not list(out.rglob("*.tmp"))
    pd.testing.assert_frame_equal(again.results.table, played.results.table)


# Another agent.


def test_adding_an_agent_runs_that_agent_alone(copied, panel, played, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in (copied / "runs").rglob("*") if path.is_file()}
    content = {path: path.read_bytes() for path in before}
    probes = stored(copied, "probes")
    ran = set()

    def spied(unit, *given: object) -> None:
        ran.add(unit.variant.agent)
        run_unit(unit, *given)

    run_unit = playing.run_unit
    monkeypatch.setattr(playing, "run_unit", spied)
    found = play(copied, panel, LOCAL)
    assert ran == {LOCAL}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {path: path.read_bytes() for path in content} == content
    assert probes.items() <= stored(copied, "probes").items()

    table, old = found.results.table, played.results.table
    alone = ["protocol", "agent", "way", "execution", "cost", "seeds", "sharpe", "sharpe_low", "turnover"]
    kept = table[table["agent"] != LOCAL][alone].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, old[alone], check_dtype=False)
    assert lines(table, protocol="holdout", agent=LOCAL)["sharpe"].notna().all()
    (absent,) = lines(table, protocol="unseen", agent=LOCAL).to_dict("records")
    assert np.isnan(absent["sharpe"])
    assert absent["note"] == "plays only markets that it is trained on"
    record = found.results.record
    assert record["cannot"] == [LOCAL]
    assert record["added"] == [GUESS, LOCAL]
    assert record["trials"]["series"] == 8 + 2
    deflated = [
        lines(t, protocol="holdout", agent="macd", cost="2", execution="late")["deflated"].item()
        for t in (old, table)
    ]
    assert deflated[0] != deflated[1], "there are more trials now"
    page = (copied / "benchmark.html").read_text()
    assert f"Not under unseen, where a dash stands: {LOCAL}" in page

    # Taken away again it has been looked at all the same.
    for protocol in ("holdout", "unseen"):
        shutil.rmtree(found.folder.run(protocol, LOCAL), ignore_errors=True)
    before_now = whole_benchmark._trials_before(found.folder)
    assert len(whole_benchmark.looked_at(found.folder, TINY, before_now)) == 10


def test_an_agent_whose_source_has_changed_is_not_shown_with_old_figures(copied, panel, module):
    module.write_text(USER_MODULE + "\n# another idea\n")
    try:
        with pytest.raises(
            ConfigError, match=rf"{GUESS}: the file its class is in has changed since .*Remove"
        ):
            play(copied, panel, GUESS)
    finally:
        module.write_text(USER_MODULE)


def test_no_name_in_a_folder_chooses_code(copied, panel, monkeypatch):
    """Its figures are shown; its class is asked for only where the user names it."""
    asked: list[str] = []
    make_agent = playing.make_agent

    def spied(name: str, **more: object) -> object:
        asked.append(name)
        return make_agent(name, **more)

    monkeypatch.setattr(playing, "make_agent", spied)
    monkeypatch.delitem(sys.modules, "bench_agents", raising=False)
    monkeypatch.setattr(whole_benchmark, "write_page", lambda *given: None)
    found = play(copied, panel)
    assert GUESS in set(found.results.table["agent"])
    assert GUESS not in asked
    assert "bench_agents" not in sys.modules


# What is refused.


@pytest.mark.parametrize(
    ("suite", "told"),
    [
        (replace(TINY, courses=TINY.courses[:1]), r"begun with courses = \["),
        (replace(TINY, probes=TINY.probes[:2]), r"begun with probes = \["),
        (replace(TINY, name="other"), 'begun with suite = "tiny", not "other"'),
        (replace(TINY, quick=True), "begun with quick = false, not true"),
    ],
)
def test_another_suite_in_the_same_folder_is_refused(played, panel, suite, told):
    with pytest.raises(ConfigError, match=rf"{told}.*do not stand in one table"):
        play(played.folder.path, panel, suite=suite)


def test_other_data_in_the_same_folder_are_refused(played):
    with pytest.raises(ConfigError, match=r'begun with panel = "3 assets in 2 markets, .*SHA-256 .*choose'):
        play(played.folder.path, ragged(sizes=(2, 1), days=1100, seed=4))


def test_another_agent_declared_is_no_other_suite(played, panel):
    plans = [
        whole_benchmark.plan_of(suite, panel, (0.0, 2.0)) for suite in (TINY, replace(TINY, agents=("macd",)))
    ]
    assert plans[0] == plans[1]
    assert BenchmarkFolder.begin(played.folder.path, plans[1]).path == played.folder.path


def test_a_folder_with_other_things_in_it_is_refused(tmp_path, panel):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"holds other files and no plan\.json"):
        play(tmp_path, panel)
    (tmp_path / "plan.json").write_text('{"format": 99}')
    with pytest.raises(ConfigError, match="another version of qn_env"):
        play(tmp_path, panel)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"only": ("mac",)}, "'mac' is not declared in the suite tiny. Did you mean 'macd'"),
        ({"add": ("macdd",)}, "unknown agent 'macdd'"),
        ({"add": ("nowhere:Agent",)}, "nowhere"),
        ({"add": ("macd", "macd")}, "add: macd appears twice"),
        ({"suite": "middle"}, "unknown suite 'middle'"),
        ({"show": True, "only": ("macd",)}, "show prints the results that come with the package"),
        ({"executor": "processes", "address": "tcp://there:1"}, "processes are on this machine"),
        ({"population": 0}, "population is 0"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(given, told, panel, tmp_path):
    with pytest.raises(ConfigError, match=told):
        run_benchmark(BenchmarkConfig(out=tmp_path / "out", **given), panel, suite=TINY)
    assert not (tmp_path / "out" / "runs").exists()


def test_nobody_with_figures_is_an_error_that_says_why(tmp_path, panel):
    only = replace(TINY, agents=(UNLUCKY,), courses=TINY.courses[:1], probes=())
    with pytest.raises(QnError, match=r"not a single agent has figures.*no luck today"):
        play(tmp_path / "out", panel, suite=only)


# The command.


def test_the_command_prints_publishes_and_names_who_failed(copied, panel, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(whole_benchmark, "SUITES", {"small": TINY})
    monkeypatch.setattr(whole_benchmark, "load_panel", lambda config: panel)
    words = ["benchmark", "--out", str(copied), "--jobs", "1", "--add", f"{UNLUCKY},{PROPHET}"]
    assert main([*words, "--publish", str(tmp_path / "results")]) == EXIT_LOOKAHEAD
    shown = " ".join(capsys.readouterr().out.split())
    assert f"Failed: {UNLUCKY}, in holdout, probe noise, probe transfer, probe trend, unseen: not a " in shown
    assert "no luck today (runs/holdout/bench_agents--Unlucky/units/" in shown
    assert f"Failed: {PROPHET}, in holdout, unseen: not a single unit finished" in shown
    assert "Looked at: 8 agents and seeds" in shown, "who has no figures was not looked at"
    assert "The scorecard, from 0 to 1" in shown
    table = pd.read_csv(tmp_path / "results" / "small.csv")
    assert set(table["agent"]) == {"macd", "sgn-returns", GUESS, UNLUCKY, PROPHET}
    assert lines(table, agent=PROPHET)["sharpe"].isna().all()
    scores = pd.read_csv(tmp_path / "results" / "small-scorecard.csv")
    assert scores.set_index("agent")["seconds"]["macd"] > 0.0
    record = json.loads((tmp_path / "results" / "small.json").read_text())
    assert record["failed"][0]["agent"] == PROPHET
    assert record["seconds"].keys() == set(record["agents"])


# The committed results.


def test_the_committed_results_are_of_this_suite_and_are_shown_without_running_anything(capsys):
    results = published("small")
    declared = json.loads(json.dumps(whole_benchmark.asdict(SMALL)))
    for part in ("courses", "probes", "quick"):
        assert results.record["suite"][part] == declared[part], part
    assert results.record["panel"]["fingerprint"] == embedded().fingerprint
    assert main(["benchmark", "--show"]) == 0
    shown = capsys.readouterr().out
    for agent in results.record["agents"]:
        assert f"\n{agent} " in shown


def test_suites_without_results_say_so(capsys):
    if (Path(whole_benchmark.__file__).parent / "results" / "full.csv").exists():
        pytest.skip("there are some")
    assert main(["benchmark", "--show", "--suite", "full"]) == 1
    assert "no results of the suite full come with this version" in capsys.readouterr().err


def test_a_committed_row_is_what_this_code_gives(tmp_path):
    (course,) = [one for one in SUITES["small"].courses if one.protocol == "holdout"]
    config = RunConfig(agents=("macd",), seeds=course.seeds, jobs=1, out=tmp_path / "run")
    board = RunFolder(run(config, embedded())).leaderboard()
    mine = lines(published("small").table, protocol="holdout", agent="macd")
    assert len(board) == len(mine) == 4
    for row in board.to_dict("records"):
        (theirs,) = lines(mine, execution=row["execution"], cost=f"{row['cost_bps']:g}").to_dict("records")
        for name in ("sharpe", "sharpe_low", "sharpe_high", "ann_return", "max_drawdown", "turnover"):
            assert theirs[name] == pytest.approx(row[name], rel=2e-5, abs=1e-9), name


# At length: elsewhere, together, and killed for good.


def same_figures(mine: Played, theirs: Played, tolerance: float = 0.0) -> None:
    names = ["sharpe", "sharpe_low", "sharpe_high", "turnover", "deflated"]
    pd.testing.assert_frame_equal(
        mine.results.table[names], theirs.results.table[names], rtol=tolerance or 1e-12, atol=tolerance
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["processes", "dask", "ray"])
def test_another_executor_gives_the_same_table(name, played, panel, tmp_path):
    if name != "processes":
        pytest.importorskip({"dask": "distributed", "ray": "ray"}[name])
    config = BenchmarkConfig(out=tmp_path / "out", add=(GUESS,), executor=name, jobs=2)
    found = run_benchmark(config, panel, suite=TINY)
    same_figures(found, played)
    for file in SAME:
        assert (found.folder.path / file).read_bytes() == (played.folder.path / file).read_bytes(), file


@pytest.mark.slow
def test_what_is_trained_together_has_the_same_figures_and_no_seconds_of_its_own(panel, tmp_path):
    learner = "dmn-linear-sharpe"
    suite = replace(TINY, agents=("macd", learner), probes=(), quick=True)
    alone, together = (
        play(tmp_path / f"{population}", panel, suite=suite, population=population) for population in (1, 16)
    )
    same_figures(together, alone, tolerance=2e-3)
    seconds = [one.results.record["seconds"][learner] for one in (alone, together)]
    assert seconds[0]["seed"] > 0.0
    assert seconds[1]["seed"] is None
    assert np.isnan(together.results.scores.set_index("agent")["seconds"][learner])


@pytest.mark.slow
def test_a_killed_command_goes_on_to_the_same_bytes(panel, tmp_path):
    """The process is killed by SIGKILL while it trains, again and again, wherever it is."""
    write_panel(panel, tmp_path / "panel")
    (tmp_path / "bench_agents.py").write_text(USER_MODULE)
    words = [
        "benchmark",
        "--panel",
        "panel",
        "--kind",
        "returns",
        "--only",
        "macd,sgn-returns",
        "--jobs",
        "1",
    ]

    def command(out: str) -> subprocess.Popen[bytes]:
        code = "import sys; from experiments.cli import main; sys.exit(main())"
        root = Path(__file__).resolve().parents[1]
        return subprocess.Popen(
            [sys.executable, "-c", code, *words, "--add", GUESS, "--jobs", "1", "--out", out],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    assert command("whole").wait() == 0
    kills = 0
    for least in (1, 12, 30):
        process = command("killed")
        seconds = tmp_path / "killed" / "seconds"
        while process.poll() is None and len(list(seconds.glob("*.json"))) < least:
            time.sleep(0.01)
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills == 3
    assert command("killed").wait() == 0
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for name in SAME:
        assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    places = ("runs", "probes", "joint")
    assert stored(whole, *places) == stored(killed, *places)

"""Runs and searches whose trainings share tensor programmes: the same results, also after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished import small_panel

from experiments.running import populations
from experiments.running.executors import run_in_processes
from experiments.running.fanout import Task
from experiments.running.populations import most_together
from experiments.running.protocols import holdout
from experiments.running.runner import run
from experiments.running.search import Search, search
from experiments.running.units import Variant
from experiments.settings.config import RunConfig
from experiments.storage.store import RunFolder

MEAN = "dmn-linear-sharpe+mean:2"
LABELS = {
    "linear": Variant("dmn-linear-sharpe", {"epochs": 3}),
    "linear mse": Variant("dmn-linear-mse", {"epochs": 3}),
    "mean": Variant(MEAN, {"epochs": 3}),
    "macd": Variant("macd"),
}


def finished(out: Path, population: int | None, **more: object) -> RunFolder:
    config = RunConfig(agents=tuple(LABELS), seeds=2, jobs=1, out=out, population=population, **more)
    return RunFolder(run(config, small_panel(), variants=LABELS))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The programmes that a run goes through."""
    names: list[str] = []

    def train(tasks: list[Task], jobs: int | None = None) -> object:
        programmes = [task for task in tasks if getattr(task.call, "func", None) is populations._train]
        names.extend(task.name for task in programmes)
        return run_in_processes(tasks, jobs)

    monkeypatch.setattr("experiments.running.runner.run_in_processes", train)
    return names


def test_a_run_has_the_results_of_one_whose_trainings_went_alone(tmp_path, told):
    alone = finished(tmp_path / "alone", None)
    assert told == []
    together = finished(tmp_path / "together", 16)
    # Four units of the linear model and two means of it, two losses: one programme.
    assert told == ["linear-seed0+5"]
    assert together.record()["failed"] == []
    tables = [one.results().drop(columns="run") for one in (together, alone)]
    keys = [name for name in tables[0] if name != "value"]
    ours, theirs = (table.set_index(keys)["value"].dropna() for table in tables)
    pd.testing.assert_series_equal(ours, theirs.reindex(ours.index), rtol=1e-3, atol=1e-4)
    assert not list((tmp_path / "together" / "units").glob("*/training"))
    for name in ("linear-seed0", "mean-seed1"):
        files = [sorted(p.name for p in (one.unit(name)).rglob("*")) for one in (alone, together)]
        assert files[0] == files[1]


def test_windows_train_together_but_where_one_begins_at_another(tmp_path, told):
    division = {"protocol": "expanding", "test_years": 1}
    finished(tmp_path / "cold", 16, **division)
    assert len(told) == 2  # 18 trainings, 16 at most
    windows = len(RunFolder(tmp_path / "cold").record()["panel"]["windows"])
    assert windows > 1
    assert told[0].endswith("+15")
    told.clear()
    finished(tmp_path / "warm", 16, warm_start=True, **division)
    assert told == []


def test_what_fails_in_a_population_is_reported_by_its_unit(tmp_path):
    labels = {**LABELS, "wild": Variant("dmn-linear-sharpe", {"epochs": 3, "learning_rate": 1e38})}
    config = RunConfig(agents=tuple(labels), seeds=1, jobs=1, out=tmp_path / "out", population=8)
    folder = RunFolder(run(config, small_panel(), variants=labels))
    (failed,) = folder.record()["failed"]
    assert failed["agent"] == "wild"
    assert "the training loss is nan; lower the learning rate" in failed["error"]
    assert set(folder.leaderboard()["agent"]) == set(LABELS)


def test_a_programme_that_breaks_costs_time_and_nothing_else(tmp_path, monkeypatch):
    def broken(*_given: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(populations, "_train", broken)
    folder = finished(tmp_path / "out", 8)
    assert folder.record()["failed"] == []
    assert set(folder.leaderboard()["agent"]) == set(LABELS)


def test_a_search_has_the_scores_of_one_whose_trials_went_alone(tmp_path):
    fold = holdout(small_panel())
    one = Search(
        label="linear",
        variant=Variant("dmn-linear-sharpe"),
        trials=range(5),
        seed=3,
        fixed={"epochs": 3, "learning_rate": 0.01},
    )
    alone = search([one], [fold], tmp_path / "alone", jobs=1, keep=True)
    together = search([replace(one, population=4)], [fold], tmp_path / "together", jobs=1, keep=True)
    for ours, theirs in zip(together, alone, strict=True):
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)
        assert (ours["options"], ours["epochs"]) == (theirs["options"], theirs["epochs"])
        np.testing.assert_allclose(ours["curve"], theirs["curve"], atol=1e-4)
    # A finished training is where a search of single trials leaves it, for a run of the winner to go on from.
    kept = [sorted(p.name for p in (tmp_path / n).glob("*.training/*")) for n in ("alone", "together")]
    assert kept[0] == kept[1]
    # A search of single trials goes on where one of populations was.
    again = search([one], [fold], tmp_path / "together", jobs=1)
    assert again == together


def test_how_many_train_together_is_as_said_or_one_on_the_cpu():
    assert most_together(None, "cpu") == 1
    assert most_together(7, "cpu") == 7
    assert most_together(None, "auto") == 1 or most_together(None, "auto") == populations.ON_A_CARD


CHILD = """
import sys
import torch
import agents.population.loop as loop
from pathlib import Path
from test_population_runs import killable
loop.STORED_EVERY = 0.0
torch.set_num_threads(1)
killable(Path(sys.argv[1]))
"""


def killable(out: Path) -> RunFolder:
    """A run of one population that takes a while, or what is left of it."""
    labels = {
        "linear": Variant("dmn-linear-sharpe", {"epochs": 60, "patience": 5}),
        "linear mse": Variant("dmn-linear-mse", {"epochs": 60, "patience": 9}),
    }
    config = RunConfig(agents=tuple(labels), seeds=3, jobs=1, out=out, population=8, resume=True)
    return RunFolder(run(config, small_panel(), variants=labels))


def test_a_run_that_was_killed_in_a_population_ends_with_the_same_bytes(tmp_path):
    here = Path(__file__).resolve().parent
    out = tmp_path / "out"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=here,
        env={**os.environ, "PYTHONPATH": f"{here.parent}{os.pathsep}{here}"},
    )
    with child:
        end = time.monotonic() + 120
        while not list(out.glob("units/*/training/*.safetensors")) and child.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(float(np.random.default_rng().uniform(0.0, 0.3)))  # any moment will do
        child.kill()
    assert child.returncode == -signal.SIGKILL, "it was to be killed in the middle"
    assert not RunFolder(out).finished
    killed, through = killable(out), killable(tmp_path / "through")
    pd.testing.assert_frame_equal(
        killed.results().drop(columns="run"), through.results().drop(columns="run"), check_exact=True
    )
    for unit in killed.path.glob("units/*"):
        for file in unit.rglob("*.safetensors"):
            other = through.path / file.relative_to(killed.path)
            assert file.read_bytes() == other.read_bytes()

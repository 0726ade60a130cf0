"""Units over processes: failures are reports, workers end with a killed parent, a killed run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from agents.training import Progress
from experiments import RunConfig
from experiments.running.fanout import Failure, Task, fan_out
from experiments.running.runner import run
from experiments.running.units import Variant
from qn_env.sources import ragged

ROOT = Path(__file__).resolve().parents[1]
TABLES = ("results.parquet", "leaderboard.parquet", "portfolio.parquet")
LEARNT = Variant("quantnet-shared", {"steps": 24, "epoch": 3, "patience": 99, "batch": 2, "length": 21})
SECONDS = {1: 2.0, 2: 6.0}  # by processes: a kill comes so long after the plan was written, at most
PATIENCE = 120.0  # a busy machine takes long to start a process

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="lists processes by /proc")


def short_run(jobs: int, out: Path) -> None:
    """Two trainings of a second and two rules; goes on where it was."""
    config = RunConfig(agents=("quantnet-shared", "macd", "buy-and-hold"), seeds=2, jobs=jobs, out=out)
    run(config, ragged(sizes=(2, 1), days=1100, seed=3), variants={"quantnet-shared": LEARNT}, resume=True)


def wait_for_ever(marks: Path) -> None:
    """Two tasks that never end, on two processes; each leaves a mark that it has begun."""
    fan_out([Task(name, partial(sleep_at, marks / name)) for name in "ab"], jobs=2)


def touch(mark: Path, report: Progress) -> None:
    report(1, 2)
    mark.touch()


def sleep_at(mark: Path, _report: Progress) -> None:
    mark.touch()
    time.sleep(1e6)


def fail_with(error: Exception, _report: Progress) -> None:
    raise error


@contextmanager
def begun(function: Callable[..., None], *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process in its own session that calls a function of this module; nothing of it is left behind."""
    code = (
        f"from pathlib import Path, PosixPath; from tests.test_fanout import {function.__name__} as call; "
        f"call(*{arguments!r})"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        for left in members(process.pid):
            os.kill(left, signal.SIGKILL)
        process.wait()


def members(session: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it ended meanwhile
            continue
        if int(own) == session and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def wait_until(happened: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, f"not within {PATIENCE:g} seconds: {what}"
        time.sleep(0.01)


def kill_alone(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and nothing but it; what it started has to end by itself."""
    process.kill()
    process.wait()
    wait_until(lambda: not members(process.pid), "all workers of a killed process end")


def killed(jobs: int, out: Path, after: float) -> bool:
    """Go on with the short run and kill it some time after its plan was written; False if it was done."""
    with begun(short_run, jobs, out) as process:
        wait_until(lambda: (out / "plan.json").exists() or process.poll() is not None, "a plan")
        try:
            code = process.wait(after)
        except subprocess.TimeoutExpired:
            kill_alone(process)
            return True
    assert code == 0
    return False


def kill_and_go_on(kills: Sequence[int], folder: Path, rng: np.random.Generator) -> None:
    """Kill runs with these numbers of processes; every one ends with the bytes of one that was left alone."""
    short_run(1, folder / "whole" / "run")
    expected = [(folder / "whole" / "run" / name).read_bytes() for name in TABLES]
    left, number = list(kills), 0
    while left:
        out = folder / str(number) / "run"
        number += 1
        while left and not (out / "run.json").exists():
            if killed(left[0], out, rng.uniform(0.0, SECONDS[left[0]])):
                left.pop(0)
        short_run(1, out)
        assert [(out / name).read_bytes() for name in TABLES] == expected
        assert not list(out.rglob(".*"))


@needs_proc
def test_a_run_that_is_killed_at_any_moment_ends_with_the_same_bytes(tmp_path: Path) -> None:
    kill_and_go_on([1, 2, 1], tmp_path, np.random.default_rng(7))


@needs_proc
@pytest.mark.slow
def test_twenty_kills_change_no_byte(tmp_path: Path) -> None:
    kill_and_go_on([1, 2] * 10, tmp_path, np.random.default_rng(0))


def workers(session: int) -> list[int]:
    """The processes of a session that run units."""
    found = []
    for number in members(session):
        try:
            command = Path(f"/proc/{number}/cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        if b"popen_loky" in command:
            found.append(number)
    return found


def shot(out: Path, kills: int, rng: np.random.Generator) -> int:
    """Run the short run on two processes, and kill some of its workers on the way; how many were killed."""
    done = 0
    with begun(short_run, 2, out) as process:
        while process.poll() is None:
            time.sleep(rng.uniform(0.0, 3.0))
            if done < kills and (found := workers(process.pid)):
                os.kill(int(rng.choice(found)), signal.SIGKILL)
                done += 1
        assert process.returncode == 0
    return done


def shoot(kills: int, folder: Path, rng: np.random.Generator) -> None:
    """Runs whose workers are killed end with the bytes of one that was left alone."""
    short_run(1, folder / "whole" / "run")
    expected = [(folder / "whole" / "run" / name).read_bytes() for name in TABLES]
    done = number = 0
    while done < kills:
        out = folder / str(number) / "run"
        # A unit is given up when it has seen three deaths.
        done += shot(out, min(kills - done, 2), rng)
        assert [(out / name).read_bytes() for name in TABLES] == expected
        number += 1


@needs_proc
def test_a_run_whose_worker_is_killed_ends_with_the_same_bytes(tmp_path: Path) -> None:
    shoot(1, tmp_path, np.random.default_rng(3))


@needs_proc
@pytest.mark.slow
def test_twenty_killed_workers_change_no_byte(tmp_path: Path) -> None:
    shoot(20, tmp_path, np.random.default_rng(1))


@needs_proc
def test_workers_at_work_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    with begun(wait_for_ever, tmp_path) as process:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2, "both tasks begin")
        assert len(members(process.pid)) >= 3
        kill_alone(process)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_task_that_fails_is_reported_and_the_others_are_done(jobs: int, tmp_path: Path) -> None:
    tasks = [
        Task("good", partial(touch, tmp_path / "good")),
        Task("bad", partial(fail_with, ValueError("no luck"))),
    ]
    failures = fan_out(tasks, jobs)
    assert list(failures) == ["bad"]
    assert isinstance(failures["bad"], Failure)
    assert (failures["bad"].kind, failures["bad"].error) == ("ValueError", "ValueError: no luck")
    assert "Traceback" in failures["bad"].trace
    assert (tmp_path / "good").exists()


def test_no_tasks_are_no_failures() -> None:
    assert fan_out([], 2) == {}

"""The same units give the same results wherever they run, and a worker that dies loses none."""

from __future__ import annotations

import json
import os
import pickle
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agents.training import Progress
from experiments.running.executors import DEATHS, SharedFold, executor, share_folds
from experiments.running.fanout import Task
from experiments.running.protocols import Fold, holdout
from experiments.running.search import Search, search
from experiments.running.units import Variant
from experiments.running.unseen import Unseen
from qn_env.errors import ConfigError, FileError
from qn_env.sources.synthetic import noise


@pytest.fixture(scope="module")
def fold() -> Fold:
    return holdout(noise(markets=2, assets=2, days=600, seed=0))


@pytest.fixture(scope="module")
def dask_address() -> Iterator[str]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def searched(fold: Fold, folder: Path, run) -> dict[str, bytes]:
    """What two trials of two agents leave in their folder, but for the seconds they took."""
    searches = [
        Search(
            label=name,
            variant=Variant(name),
            trials=range(2),
            seed=7,
            fixed={"steps": 4, "epoch": 2, "batch": 2, "length": 5},
        )
        for name in ("quantnet", "no-transfer-linear")
    ]
    search(searches, [fold], folder, execute=run)
    found = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    assert all(result.pop("seconds") >= 0 for result in found.values())
    for result in found.values():
        del result["sha256"]  # of the seconds, too
    return {name: json.dumps(result).encode() for name, result in found.items()}


def note(path: Path, _report: Progress | None = None) -> None:
    """Each call leaves one line: the process it ran in."""
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")


def die_at_first(path: Path, times: int, _report: Progress) -> None:
    """Kill the process that runs this, the first times it is called."""
    note(path)
    if len(path.read_text().splitlines()) <= times:
        os.kill(os.getpid(), signal.SIGKILL)


def break_down(_report: Progress) -> None:
    raise ValueError("broken")


def tasks_around(killer: Task, folder: Path) -> list[Task]:
    others = [Task(f"plain{k}", partial(note, folder / f"plain{k}")) for k in range(4)]
    return [*others[:2], killer, *others[2:], Task("broken", break_down)]


def check_survived(failures, folder: Path) -> None:
    assert all((folder / f"plain{k}").exists() for k in range(4))
    assert failures.pop("broken").error == "ValueError: broken"


def test_a_killed_process_loses_no_unit(tmp_path):
    killer = Task("killer", partial(die_at_first, tmp_path / "killer", 1))
    failures = executor(jobs=2)(tasks_around(killer, tmp_path))
    check_survived(failures, tmp_path)
    assert failures == {}
    assert len((tmp_path / "killer").read_text().splitlines()) == 2


def test_a_unit_that_kills_every_process_is_reported_and_the_others_finish(tmp_path):
    killer = Task("killer", partial(die_at_first, tmp_path / "killer", 99))
    failures = executor(jobs=2)(tasks_around(killer, tmp_path))
    check_survived(failures, tmp_path)
    assert failures.keys() == {"killer"}
    assert "its process died 3 times" in failures["killer"].error
    assert len((tmp_path / "killer").read_text().splitlines()) == DEATHS == 3


def test_a_dask_cluster_gives_the_same_results(fold, tmp_path, dask_address):
    here = searched(fold, tmp_path / "here", executor(jobs=1))
    there = searched(fold, tmp_path / "there", executor("dask", address=dask_address))
    assert len(here) == 4
    assert here == there


def test_a_killed_dask_worker_loses_no_unit(tmp_path, dask_address):
    killer = Task("killer", partial(die_at_first, tmp_path / "killer", 1))
    failures = executor("dask", address=dask_address)(tasks_around(killer, tmp_path))
    check_survived(failures, tmp_path)
    assert failures == {}
    assert len((tmp_path / "killer").read_text().splitlines()) == 2


def test_a_ray_cluster_gives_the_same_results(fold, tmp_path):
    pytest.importorskip("ray")
    here = searched(fold, tmp_path / "here", executor(jobs=1))
    there = searched(fold, tmp_path / "there", executor("ray", jobs=2))
    assert len(here) == 4
    assert here == there


def test_units_in_one_worker_run_one_after_the_other(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    from experiments.running.executors.attempts import attempt_alone

    spans = []

    def work(_report: Progress) -> None:
        begin = time.monotonic()
        time.sleep(0.05)
        spans.append((begin, time.monotonic()))

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(attempt_alone, [Task(str(k), work) for k in range(3)])) == [None] * 3
    spans.sort()
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


def test_a_shared_fold_travels_as_a_path_and_is_mapped_once(fold, tmp_path):
    with share_folds([fold], tmp_path / "shared") as (handle,):
        assert len(pickle.dumps(fold)) > 40_000
        assert len(pickle.dumps(handle)) < 500
        found = handle.get()
        assert handle.get() is found
        assert isinstance(found.train.returns, np.memmap)
        assert not found.train.returns.flags.writeable
        assert found.train.fingerprint == fold.train.fingerprint
        assert found.select_start == fold.select_start
    assert not (tmp_path / "shared").exists()


def test_what_a_killed_search_left_is_never_read(fold, tmp_path):
    left = tmp_path / "shared"
    left.mkdir()
    (left / "fold.json").write_bytes(b"not a fold")
    with share_folds([fold], left) as (handle,):
        assert not (left / "fold.json").exists()
        assert handle.get().name == fold.name
    with share_folds([replace(fold, name="another")], left) as (handle,):
        assert handle.get().name == "another", "another file of the same place is not taken from memory"


def test_what_is_laid_down_for_workers_is_arrays_and_json_and_no_pickle(fold, tmp_path):
    with share_folds([fold], tmp_path / "shared") as (handle,):
        laid = sorted(path.suffix for path in handle.path.iterdir())
        found = handle.get()
    assert laid == [".json"] + [".npy"] * 9
    for name in ("train", "select", "test"):
        mine, other = getattr(found, name), getattr(fold, name)
        assert mine.fingerprint == other.fingerprint
        assert (mine.assets, mine.market_of, mine.notes) == (other.assets, other.market_of, other.notes)
    pd.testing.assert_frame_equal(found.blocks, fold.blocks)
    assert (found.test_start, found.name) == (fold.test_start, fold.name)


@pytest.mark.parametrize("shots", [0, 60])
def test_a_shared_fold_of_markets_that_nobody_was_trained_on_is_the_same_fold(tmp_path, shots):
    folds = Unseen(number=2, shots=shots).folds(noise(markets=3, assets=2, days=1100, seed=0))
    with share_folds(folds, tmp_path / "shared") as handles:
        for fold, handle in zip(folds, handles, strict=True):
            mine, own = handle.get().own, fold.own
            assert (mine.cut, dict(mine.without)) == (own.cut, dict(own.without))
            assert mine.known.fingerprint == own.known.fingerprint
            assert (mine.few is None) == (own.few is None) == (not shots)
            both = [(mine.together, own.together), *([(mine.few, own.few)] if shots else [])]
            for found, given in both:
                assert found.train.fingerprint == given.train.fingerprint
                assert found.select.fingerprint == given.select.fingerprint
                assert (found.select_start, found.train_start) == (given.select_start, given.train_start)


def test_nothing_is_laid_down_through_a_link(fold, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "shared").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileError, match="shared: is a link"), share_folds([fold], tmp_path / "shared"):
        pass
    assert not list((tmp_path / "elsewhere").iterdir())


def test_handles_are_equal_by_their_path():
    assert SharedFold(Path("a")) == SharedFold(Path("a")) != SharedFold(Path("b"))


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"name": "dusk"}, "unknown executor 'dusk'. Did you mean 'dask'"),
        ({"address": "tcp://there:1"}, "processes are on this machine; name an executor"),
        ({"name": "dask", "address": "tcp://there:1", "jobs": 3}, "jobs is 3, but the cluster"),
    ],
)
def test_an_executor_that_cannot_be_is_refused(asked, text):
    with pytest.raises(ConfigError, match=text):
        executor(**asked)


@pytest.mark.parametrize("name", ["dask", "ray"])
def test_a_missing_package_is_named_with_what_installs_it(name, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, {"dask": "distributed", "ray": "ray"}[name], None)
    with pytest.raises(ConfigError, match=rf'pip install "qn-env\[{name}\]"'):
        executor(name)([Task("one", break_down)])

"""The benchmark of the search runs, its sides do the same, and the plan is the one worked by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments.benchmarks.search.__main__ import main
from experiments.benchmarks.search.plan import Cluster, read_recorded, simulate
from experiments.benchmarks.search.plan import main as plan
from qn_env.errors import DataError

NO_DELAY = {"window_bytes": 0.0, "units_a_second": 1e12}
UNITS = np.array([1.0, 2.0, 3.0, 4.0])


def test_the_quick_benchmark_fills_every_row(tmp_path, capsys):
    out = tmp_path / "out.json"
    rows = main(["--quick", "--out", str(out)])
    record = json.loads(out.read_text())
    assert [row["what"] for row in record["rows"]] == [row.what for row in rows]
    printed = capsys.readouterr().out
    for row in rows:
        assert row.what in printed
        for figure in (row.ours, row.baseline, row.ratio):
            assert figure is not None
            assert figure > 0


def test_two_cores_take_the_next_unit_when_they_are_free():
    # First core 1, then 3 until second 4; second core 2, then 4 until second 6; 10 seconds of 2 x 6.
    found = simulate(UNITS, 2 * UNITS, Cluster(machines=1, cores=2, **NO_DELAY, task_bytes=10.0), seed=0)
    assert found.makespan == pytest.approx(6.0)
    assert found.efficiency == pytest.approx(10 / 12)
    assert found.tail == pytest.approx(1 - 4 / 6)
    assert found.writes == pytest.approx((4 + 20) / 6)
    assert found.moved == pytest.approx(4 * 10.0 + 20 * Cluster.state_bytes)
    # Long ones first: 4 and 1, 3 and 2.
    found = simulate(UNITS[::-1], UNITS, Cluster(machines=2, cores=1, **NO_DELAY), seed=0)
    assert found.makespan == pytest.approx(5.0)
    assert found.efficiency == pytest.approx(1.0)


def test_machines_wait_for_their_windows_and_for_the_scheduler():
    fetched = Cluster(machines=2, cores=1, window_bytes=50.0, store_bytes_a_second=50.0, units_a_second=1e12)
    found = simulate(UNITS, 0 * UNITS, fetched, seed=0)
    assert found.makespan == pytest.approx(2.0 + 6.0)
    assert found.moved == pytest.approx(2 * 50.0 + 4 * Cluster.task_bytes)
    # One unit a second: begins at 0, 1, 2, 3, so the last ends at 3 + 4.
    slow = Cluster(machines=2, cores=1, window_bytes=0.0, units_a_second=1.0)
    assert simulate(UNITS, 0 * UNITS, slow, seed=0).makespan == pytest.approx(7.0)


def test_kills_cost_what_the_law_of_restarts_says():
    # A unit of s seconds under kills of rate r takes (e^(r s) - 1) / r on average, begun anew each time.
    units = np.full(20_000, 1800.0)
    cluster = Cluster(machines=1, cores=1, **NO_DELAY, kill_rate=1.0)
    found = simulate(units, 0 * units, cluster, seed=0)
    assert found.makespan / len(units) == pytest.approx(3600 * (np.exp(0.5) - 1), rel=0.02)
    assert found.kills / len(units) == pytest.approx(np.exp(0.5) - 1, rel=0.03)
    assert simulate(units, 0 * units, cluster, seed=0) == found


def test_the_plan_reads_recorded_trials_and_counts_no_failed_one(tmp_path, capsys):
    for number, seconds in enumerate((10.0, 30.0)):
        text = json.dumps({"score": 1.0, "seconds": seconds, "epochs": 3})
        (tmp_path / f"{number}.json").write_text(text)
    (tmp_path / "2.json").write_text(json.dumps({"score": None, "error": "broken"}))
    seconds, epochs = read_recorded(tmp_path)
    assert (seconds.tolist(), epochs.tolist()) == ([10.0, 30.0], [3.0, 3.0])
    plans = plan([str(tmp_path), "--units", "1000", "--machines", "5", "--cores", "2", "--kill-rate", "0.1"])
    assert plans["long ones first"].makespan <= plans["as they come"].makespan
    printed = capsys.readouterr().out
    assert "2 recorded trials: 20 s on average, 30 s at most. 1000 units are" in printed
    assert "long ones first: " in printed


def test_a_folder_without_trials_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no finished trial"):
        read_recorded(tmp_path)

"""The benchmark of the panel audit runs."""

from __future__ import annotations

import json

from experiments.benchmarks.panel_audit.__main__ import main, panel_of


def test_the_quick_benchmark_runs_and_writes_what_it_measured(tmp_path):
    out = tmp_path / "audit.json"
    rows = main(["--quick", "--out", str(out)])
    assert [row.met for row in rows] == [True, True]
    assert "12 assets in 1 market x 1,000 days" in rows[1].what
    assert [row["what"] for row in json.loads(out.read_text())["rows"]] == [row.what for row in rows]


def test_all_markets_are_open_on_every_day():
    panel = panel_of([2, 3], 900)
    assert panel.shape == (900, 5)
    assert panel.tradable.all()

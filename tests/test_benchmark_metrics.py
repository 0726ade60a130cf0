"""The benchmark of the metrics runs, and measures the same on both sides."""

from __future__ import annotations

import json
import sys

import pytest

from experiments.benchmarks.metrics.__main__ import main, returns, shared_row
from experiments.benchmarks.metrics.peer import NAMES, measure
from experiments.results.metrics import performance
from qn_env.errors import ConfigError


def interpreter(path, code):
    """A stand-in for an interpreter with the peer: it answers without measuring."""
    path.write_text(f"#!{sys.executable}\nimport json\n{code}")
    path.chmod(0o755)
    return path


def answer(figures):
    return f"print(json.dumps({{'version': '1.2', 'rate': 50.0, 'figures': {figures!r}}}))"


def test_the_quick_benchmark_runs_and_says_what_it_did_not_measure(tmp_path, capsys):
    out = tmp_path / "metrics.json"
    every, shared = main(["--quick", "--out", str(out)])
    assert every.ours > 0.0
    assert every.met is True
    assert (shared.baseline, shared.met) == (None, None)
    assert "baseline not measured" in capsys.readouterr().out
    assert [row["what"] for row in json.loads(out.read_text())["rows"]] == [every.what, shared.what]


def test_both_sides_must_have_measured_the_same(tmp_path):
    ours = performance(returns(100, 5))
    figures = {name: ours[name].tolist() for name in NAMES}
    python = interpreter(tmp_path / "same", answer(figures))
    row = shared_row(days=100, columns=5, rounds=1, python=python)
    assert row.baseline == 50.0
    assert row.ratio == pytest.approx(row.ours / 50.0)
    figures["calmar"][2] += 0.01
    with pytest.raises(AssertionError, match="calmar"):
        shared_row(days=100, columns=5, rounds=1, python=interpreter(tmp_path / "other", answer(figures)))


def test_an_interpreter_without_the_peer_is_refused(tmp_path):
    python = interpreter(tmp_path / "bare", "raise ModuleNotFoundError('empyrical')")
    with pytest.raises(
        ConfigError, match=r"ended with code 1 \(ModuleNotFoundError: empyrical\); .*pip install empyrical"
    ):
        shared_row(days=50, columns=2, rounds=1, python=python)


def test_the_peer_applies_every_function_to_every_series():
    found = measure({"longest": max, "shortest": min}, [[1.0, 2.0], [3.0, 4.0]])
    assert found == {"longest": [2.0, 4.0], "shortest": [1.0, 3.0]}

"""The benchmark of a device runs on a CPU, fills every row, and says where there is no card."""

from __future__ import annotations

import json

import pytest

from experiments.benchmarks.device.__main__ import main
from qn_env.errors import ConfigError


def test_the_quick_benchmark_fills_every_row(tmp_path, capsys):
    out = tmp_path / "out.json"
    rows = main(["--quick", "--device", "cpu", "--out", str(out)])
    record = json.loads(out.read_text())
    assert record["machine"]["device"] == "cpu"
    assert [row["what"] for row in record["rows"]] == [row.what for row in rows]
    printed = capsys.readouterr().out
    for row in rows:
        assert row.what in printed
        for figure in (row.ours, row.baseline, row.ratio):
            assert figure is not None
            assert figure > 0


def test_a_card_that_there_is_not_is_said(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(ConfigError, match="device is 'cuda', which there is not"):
        main(["--quick", "--device", "cuda"])

"""What the data of a run do to its figures: looked at before any training, told where the figures are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from finished import write_panel

from experiments import RunConfig
from experiments.cli import main
from experiments.report import write_report
from experiments.report.data import _where, data_tables, warnings_of
from experiments.results.run import read_run
from experiments.running.runner import run
from experiments.storage.store import RunFolder
from qn_env.errors import DataError
from qn_env.panel import Panel
from qn_env.panel_audit import audit_panel
from qn_env.sources import asynchronous, noise


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Half of the closes of each market are some hours early."""
    return asynchronous(markets=2, assets=6, days=1600, seed=0)


@pytest.fixture(scope="module")
def folder(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    config = RunConfig(agents=("macd", "buy-and-hold"), jobs=1, out=tmp_path_factory.mktemp("runs") / "run")
    return RunFolder(run(config, panel))


def test_a_run_holds_what_the_audit_of_its_panel_found(folder: RunFolder, panel: Panel) -> None:
    found = folder.panel_audit()
    assert found == json.loads(json.dumps(audit_panel(panel).as_dict()))
    assert found["fingerprint"] == folder.record()["panel"]["fingerprint"]
    assert "panel_audit.json" in (folder.path / "manifest.sha256").read_text()


def test_the_page_and_the_tables_say_which_closes_are_not_of_one_moment(folder: RunFolder) -> None:
    (warned,) = warnings_of(folder)
    assert warned.heading == "Closes that are not taken at one moment"
    assert warned.where == "M0, M1"
    page = write_report(folder.path).read_text()
    assert "Found in the data." in page
    assert "Closes that are not taken at one moment</b>: M0, M1." in page
    assert "Are closes taken at one moment?" in page
    shown = {table.name: table for table in data_tables(read_run(folder.path))}
    early = shown["closes"].shown.set_index(["Market", "Others"])["Closes"]
    assert set(early["M0", "assets"]) <= set("not of one moment")
    stored = pd.read_csv(folder.path / "tables" / "closes.csv")
    assert stored["asynchronous"].any()
    assert not (folder.path / "tables" / "closes-on-time.csv").exists(), "the same for both executions"


def test_a_finding_in_one_market_names_its_assets() -> None:
    found = {"kind": "stale", "first": "", "last": "", "count": 1, "detail": "", "severity": "", "effect": ""}
    one = [{**found, "market": "FX", "assets": ["A", "B"]}]
    assert _where(one) == "FX: A, B"
    assert _where([*one, {**found, "market": "M", "assets": ["C"]}]) == "FX, M"
    assert _where([{**found, "market": None, "assets": ["x/A", "y/B"]}]) == "x/A, y/B"


def test_clean_data_are_not_warned_of(tmp_path: Path) -> None:
    clean = noise(markets=2, assets=3, days=1500, seed=1)
    folder = RunFolder(run(RunConfig(agents=("buy-and-hold",), jobs=1, out=tmp_path / "run"), clean))
    assert warnings_of(folder) == []
    assert "Found in the data." not in write_report(folder.path).read_text()


def run_of(place: Path, out: Path) -> list[str]:
    """The command that runs a rule on a panel of returns."""
    words = ["run", "--panel", str(place), "--kind", "returns", "--agents", "macd", "--jobs", "1"]
    return [*words, "--out", str(out)]


def test_numbers_that_are_no_returns_are_refused_before_anything_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = noise(markets=1, assets=3, days=1500, seed=1)
    percent = replace(clean, returns=clean.returns.clip(-0.009, None) * 100)
    with pytest.raises(DataError, match=r"Per cent taken for fractions\. .*Divide by 100"):
        run(RunConfig(agents=("macd",), out=tmp_path / "run"), percent)
    assert not (tmp_path / "run").exists()
    place = write_panel(percent, tmp_path / "panel")
    argv = run_of(place, tmp_path / "run")
    assert main(argv) == 1
    assert "qn audit shows all" in capsys.readouterr().err


def test_the_terminal_names_what_was_found(
    panel: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write_panel(panel, tmp_path / "panel")
    argv = run_of(place, tmp_path / "run")
    assert main(argv) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "Data: Closes that are not taken at one moment: M0, M1." in told
    assert "qn audit --data-only says more" in told

"""`qn cross-validate`: what it writes and prints, and how it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished import write_panel

from experiments.cli import main
from experiments.commands.cross_validate import CrossValidate, as_text, cross_validate
from experiments.running.combinatorial import Combinatorial, CrossValidation
from experiments.running.terminal import EXIT_FAILED
from qn_env.errors import ConfigError, QnError
from qn_env.sources import read_panel
from qn_env.sources.synthetic import ragged
from qn_env.storage import read_bytes

# It holds the share of the days it learnt from on which its first asset rose, and a little of its seed.
AGENT = """
import numpy as np

class Share:
    learns = True
    warmup = 0

    def __init__(self, fails=False):
        self.fails = fails

    def fit(self, env, *, seed, validation=None):
        self.share = float((env.panel.returns[:, 0] > 0).mean()) - 0.4 + 0.01 * seed
        return self

    def reset(self):
        pass

    def act(self, observation):
        return np.full(observation["returns"].shape[1], self.share)

    def signals(self, panel):
        return np.full(panel.shape, self.share) * np.sign(np.nan_to_num(panel.returns))

class Broken(Share):
    def fit(self, env, *, seed, validation=None):
        raise ValueError("no data of mine")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a panel and agents, as a user has them."""
    write_panel(ragged(sizes=(1, 2), days=1400, seed=1), tmp_path / "panel")
    (tmp_path / "share_agents.py").write_text(AGENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def command(*words: str, agents: str = "macd,share_agents:Share", out: str = "cv") -> int:
    return main(
        [
            *("cross-validate", "--panel", "panel", "--kind", "returns", "--agents", agents, "--out", out),
            *("--groups", "3", "--purge", "1", "--seeds", "2", "--jobs", "1", *words),
        ]
    )


def test_what_is_written_is_what_python_gives(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    printed = capsys.readouterr().out
    assert "3 trainings a seed, 2 paths of 3 groups" in printed
    found = pd.read_csv(folder / "cv" / "sharpe.csv")
    seeds = {"macd": {0}, "share_agents:Share": {0, 1}}
    assert {a: set(own["seed"]) for a, own in found.groupby("agent")} == seeds
    panel, division = read_panel("panel", kind="returns"), Combinatorial(groups=3, tested=2, purge=1)
    for agent, seed in (("macd", 0), ("share_agents:Share", 1)):
        paths = CrossValidation.of(agent, division=division, seed=seed).run(panel)
        own = found[(found["agent"] == agent) & (found["seed"] == seed)]
        for execution, ratios in (("on-time", paths.sharpe), ("late", paths.sharpe_late)):
            rows = own[own["execution"] == execution].sort_values("path")
            np.testing.assert_allclose(rows["sharpe"], ratios, rtol=1e-12)
        days = pd.read_parquet(folder / "cv" / "paths" / f"{agent.replace(':', '--')}-seed{seed}.parquet")
        wide = days.pivot(index="date", columns="path", values="net_late")
        np.testing.assert_array_equal(wide.to_numpy(), paths.net_late.to_numpy())
    share = found[found["agent"] == "share_agents:Share"]
    assert share["sharpe"].nunique() == len(share) == 8, "each path and seed has its own"


def test_it_goes_on_where_it_was_and_takes_further_agents(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(agents="macd") == 0
    path = folder / "cv" / "paths" / "macd-seed0.parquet"
    before, written = read_bytes(path), path.stat().st_mtime_ns
    assert command(agents="macd,buy-and-hold") == 0
    assert path.stat().st_mtime_ns == written, "it was not run again"
    assert read_bytes(path) == before
    assert set(pd.read_csv(folder / "cv" / "sharpe.csv")["agent"]) == {"macd", "buy-and-hold"}
    assert json.loads((folder / "cv" / "config.json").read_text())["agents"] == ["macd", "buy-and-hold"]
    capsys.readouterr()
    assert command("--embargo", "7", agents="macd") == 1
    assert "begun with embargo 0, not 7" in capsys.readouterr().err


def test_an_agent_that_fails_is_told_and_the_others_finish(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(agents="share_agents:Broken,macd") == EXIT_FAILED
    printed = capsys.readouterr().out
    assert "share_agents--Broken-seed0: ValueError: no data of mine" in printed
    assert set(pd.read_csv(folder / "cv" / "sharpe.csv")["agent"]) == {"macd"}
    with pytest.raises(QnError, match=r"no agent finished: ValueError: no data of mine"):
        cross_validate(
            CrossValidate(
                agents=("share_agents:Broken",),
                panel=Path("panel"),
                kind="returns",
                groups=3,
                jobs=1,
                out=folder / "other",
            )
        )


def test_each_assets_own_costs_are_charged_where_they_are_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--cost", "market", agents="macd") == 1
    assert "--cost-default BPS" in capsys.readouterr().err
    assert command("--cost", "market", "--cost-default", "2", agents="macd") == 0
    assert "net of each asset's own costs" in capsys.readouterr().out
    assert command("--cost", "2", agents="macd", out="flat") == 0
    own, flat = (pd.read_csv(folder / name / "sharpe.csv") for name in ("cv", "flat"))
    np.testing.assert_allclose(own["sharpe"], flat["sharpe"], rtol=1e-12)


def test_the_text_is_ranked_by_the_execution_that_ranks(tmp_path: Path) -> None:
    rows = [
        {"agent": agent, "seed": 0, "path": path, "execution": execution, "sharpe": value}
        for agent, execution, values in (
            ("a", "late", [-1.0, 0.0, 1.0, 2.0, 3.0]),
            ("a", "on-time", [5.0] * 5),
            ("b", "late", [1.5] * 5),
            ("b", "on-time", [2.0] * 5),
            ("c", "late", [np.nan] * 5),
            ("c", "on-time", [np.nan] * 5),
        )
        for path, value in enumerate(values)
    ]
    config = CrossValidate(agents=("a",), out=tmp_path)
    lines = as_text(pd.DataFrame(rows), config).splitlines()
    assert lines[0] == "Sharpe ratios of the paths, net of 2 bp, one day late"
    assert [line.split() for line in lines[3:6]] == [
        ["b", "1.50", "1.50", "1.50", "1.50", "1.50", "0%", "2.00", "1"],
        ["a", "-1.00", "0.00", "1.00", "2.00", "3.00", "20%", "5.00", "1"],
        ["c", *"\N{EN DASH}" * 5, "0%", "\N{EN DASH}", "1"],
    ]
    on_time = CrossValidate(agents=("a",), out=tmp_path, rank_by="on-time")
    assert as_text(pd.DataFrame(rows), on_time).splitlines()[3].startswith("a ")


def test_settings_that_make_no_groups_are_refused_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(ConfigError, match="tested"):
        cross_validate(
            CrossValidate(agents=("macd",), panel=Path("panel"), kind="returns", tested=1, out=folder / "cv")
        )
    assert not (folder / "cv").exists()

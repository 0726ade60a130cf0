"""Two runs side by side: what differs in their settings, and what their agents earned."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import RunConfig
from experiments.commands.compare import Compare, compare_agents, compare_runs, differences
from experiments.running.runner import run
from experiments.running.units import Variant
from experiments.statistics import sharpe_difference
from experiments.storage.manifest import Manifest
from experiments.storage.store import RunFolder
from qn_env.errors import ConfigError, FileError
from qn_env.panel import Panel
from qn_env.sources import ragged
from qn_env.storage import write_atomically

USER_MODULE = '''
import numpy as np


class Guess:
    """Draws one signal per asset from its seed."""

    def fit(self, env, *, seed, validation=None):
        self.signal = np.random.default_rng(seed).uniform(-1, 1, env.panel.shape[1])
        return self

    def reset(self):
        pass

    def act(self, observation):
        return self.signal
'''


@pytest.fixture(scope="module")
def panel() -> Panel:
    return ragged(sizes=(2, 2), days=1300, seed=5)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder with a module of one agent, as the working directory."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "compared_agents.py").write_text(USER_MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        yield folder
    sys.modules.pop("compared_agents", None)


def finished(out: Path, panel: Panel, rule: str, seeds: int, *others: str) -> RunFolder:
    """A run of buy-and-hold, of `mine`, which is one rule or another, of guesses, and of others."""
    config = RunConfig(
        agents=("buy-and-hold", "mine", "guess", *others), seeds=seeds, costs=(0.0, 2.0), jobs=1, out=out
    )
    variants = {"mine": Variant(rule), "guess": Variant("compared_agents:Guess")}
    return RunFolder(run(config, panel, variants=variants))


@pytest.fixture(scope="module")
def a(place: Path, panel: Panel) -> RunFolder:
    return finished(place / "a", panel, "macd", 2, "long-only")


@pytest.fixture(scope="module")
def b(place: Path, panel: Panel) -> RunFolder:
    return finished(place / "b", panel, "sgn-returns", 3, "risk-parity")


def net(folder: RunFolder, agent: str) -> pd.DataFrame:
    """Stored daily net returns at 2 bps, one day late, [days, seeds]."""
    rows = folder.portfolio()
    rows = rows[rows["execution"] == "late"]
    rows = rows[(rows["agent"] == agent) & (rows["cost_bps"] == 2.0)]
    return rows.pivot(index="date", columns="seed", values="net")


def test_figures_are_those_of_the_stored_portfolios(a: RunFolder, b: RunFolder) -> None:
    table = compare_agents(a, b, 2.0).set_index("agent")
    assert sorted(table.index) == ["buy-and-hold", "guess", "long-only", "mine", "risk-parity"]
    ranked = table["sharpe_a"].fillna(table["sharpe_b"]).astype(float)
    assert ranked.is_monotonic_decreasing
    for agent, seeds in (("buy-and-hold", (1, 1)), ("mine", (1, 1)), ("guess", (2, 3))):
        row = table.loc[agent]
        assert (row["seeds_a"], row["seeds_b"]) == seeds
        left, right = net(a, agent), net(b, agent)
        assert row["days_a"] == row["days_b"] == len(left) == len(right)
        ratios = [(252**0.5 * side.mean() / side.std()).mean() for side in (left, right)]
        np.testing.assert_allclose([row["sharpe_a"], row["sharpe_b"]], ratios, rtol=1e-9)
        np.testing.assert_allclose(row["difference"], ratios[0] - ratios[1], rtol=1e-6, atol=1e-12)
    assert table.loc["buy-and-hold", "note"] == "identical"
    assert table.loc["buy-and-hold", ["difference", "low", "high"]].tolist() == [0.0, 0.0, 0.0]
    assert table.loc["buy-and-hold", "p_value"] == 1.0
    assert table.loc["long-only", "note"] == "only in A"
    assert table.loc["risk-parity", "note"] == "only in B"
    assert table.loc["risk-parity", ["days_a", "seeds_a", "sharpe_a", "difference"]].isna().all()


def test_the_interval_is_that_of_the_difference_of_sharpe_ratios(a: RunFolder, b: RunFolder) -> None:
    row = compare_agents(a, b, 2.0).set_index("agent").loc["mine"]
    found = sharpe_difference(net(a, "mine").to_numpy(), net(b, "mine").to_numpy())
    reach = 1.959964 * found.error * 252**0.5
    np.testing.assert_allclose([row["low"], row["high"]], row["difference"] + np.array([-reach, reach]))
    assert row["p_value"] == pytest.approx(found.p_value)
    assert reach > 0.0


def test_seeds_of_two_runs_need_not_be_equal_in_number(a: RunFolder, b: RunFolder, tmp_path: Path) -> None:
    """Five equal columns beside one are one beside one."""
    alone = sharpe_difference(net(a, "mine").to_numpy(), net(b, "mine").to_numpy())
    rows = b.portfolio()
    mine = rows[rows["agent"] == "mine"]
    other = pd.concat([mine.assign(seed=seed) for seed in range(5)])
    many = _with_portfolio(b, other, tmp_path / "many")
    row = compare_agents(a, many, 2.0).set_index("agent").loc["mine"]
    assert (row["seeds_a"], row["seeds_b"]) == (1, 5)
    assert row["difference"] == pytest.approx(252**0.5 * alone.value)
    reach = 1.959964 * 252**0.5 * alone.error
    assert row["high"] - row["low"] == pytest.approx(2 * reach)


def _with_portfolio(run_folder: RunFolder, rows: pd.DataFrame, place: Path) -> RunFolder:
    """A folder with the record of a run, and other portfolios."""
    place.mkdir()
    write_atomically(place / "run.json", (run_folder.path / "run.json").read_bytes())
    found = RunFolder(place)
    found.write_portfolio(rows)
    found.write_results(run_folder.results())
    found.finish()
    return found


def test_ratios_are_of_the_days_that_both_runs_have(a: RunFolder, b: RunFolder, tmp_path: Path) -> None:
    days = np.sort(a.portfolio()["date"].unique())
    rows = b.portfolio()
    half = _with_portfolio(b, rows[rows["date"] >= days[100]], tmp_path / "half")
    row = compare_agents(a, half, 2.0).set_index("agent").loc["mine"]
    assert row["days_a"] == row["days_b"] == len(days) - 100
    late = net(a, "mine").iloc[100:]
    assert row["sharpe_a"] == pytest.approx(float((252**0.5 * late.mean() / late.std()).iloc[0]))
    none = _with_portfolio(b, rows.assign(date=rows["date"] + pd.Timedelta(days=9000)), tmp_path / "none")
    row = compare_agents(a, none, 2.0).set_index("agent").loc["mine"]
    assert row["note"] == "no common days"
    assert np.isnan(row["difference"])
    assert np.isfinite([row["sharpe_a"], row["sharpe_b"]]).all()


def test_any_cost_can_be_asked_for(a: RunFolder, b: RunFolder) -> None:
    rows = a.portfolio()
    mine = rows[(rows["agent"] == "mine") & (rows["cost_bps"] == 0.0) & (rows["execution"] == "on-time")]
    paid = mine["gross"] - 7e-4 * mine["turnover"]
    row = compare_agents(a, b, 7.0, "on-time").set_index("agent").loc["mine"]
    assert row["sharpe_a"] == pytest.approx(252**0.5 * paid.mean() / paid.std())
    with pytest.raises(ConfigError, match="cost is nan, expected a number of basis points >= 0"):
        Compare(a.path, b.path, cost=float("nan"))


def test_equal_runs_are_identical(
    a: RunFolder, panel: Panel, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = finished(place / "again", panel, "macd", 2, "long-only")
    compare_runs(Compare(a.path, again.path))
    printed = capsys.readouterr().out
    assert "Settings, data and versions: the same." in printed
    assert "identical: every daily return agrees" in printed
    # One return of one asset, too small to show in any figure, and they are not.
    days = again.unit_days("mine-seed0")
    days.loc[3, "gross"] += 1e-18
    days.to_parquet(again.unit("mine-seed0") / "daily.parquet", index=False)
    with pytest.raises(FileError, match=r"mine-seed0/daily\.parquet: changed since it was written"):
        compare_runs(Compare(a.path, again.path))
    capsys.readouterr()
    Manifest.of(again.unit("mine-seed0")).write()
    compare_runs(Compare(a.path, again.path))
    assert "every daily return agrees" not in capsys.readouterr().out
    notes = compare_agents(a, again, 2.0).set_index("agent")["note"]
    assert notes["mine"] == ""
    assert (notes.drop("mine") == "identical").all()


def test_settings_that_differ_are_listed_and_places_are_not(a: RunFolder, b: RunFolder) -> None:
    found = {setting.name: (setting.a, setting.b) for setting in differences(a.record(), b.record())}
    assert found["config.seeds"] == (2, 3)
    assert found["agents.mine.agent"] == ("macd", "sgn-returns")
    assert not any("long-only" in name for name in found)  # the table says that only one has it
    assert not {"config.out", "config.costs", "data.fingerprint", "git.commit"} & found.keys()
    other = b.record()
    other["versions"]["numpy"] = "1.0"
    other["git"] = None
    found = {setting.name: setting for setting in differences(b.record(), other)}
    assert found["versions.numpy"].b == "1.0"
    if b.record()["git"] is not None:
        assert found["git.commit"].b is None
    assert str(found["versions.numpy"]) == f'versions.numpy: "{np.__version__}" | "1.0"'


def test_an_agent_whose_file_or_options_changed_is_told_from_what_it_was(
    a: RunFolder, place: Path, panel: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place / "compared_agents.py"
    digest = hashlib.sha256(USER_MODULE.encode()).hexdigest()
    assert a.record()["agents"]["guess"]["source"] == digest
    assert a.record()["agents"]["mine"]["built_with"] == {"rule": "macd"}
    path.write_text(USER_MODULE + "# and a line more\n")
    try:
        changed = finished(tmp_path / "changed", panel, "macd", 2, "long-only")
    finally:
        path.write_text(USER_MODULE)
    (found,) = differences(a.record(), changed.record())
    assert found.name == "agents.guess.source"
    assert compare_runs(Compare(a.path, changed.path)) == 0
    told = capsys.readouterr().out
    now = changed.record()["agents"]["guess"]["source"]
    assert f'  agents.guess.source:\n    A: "{digest}"\n    B: "{now}"\n' in told, "whole, below each other"


def test_runs_of_other_data_are_not_subtracted(
    a: RunFolder, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = finished(place / "other", ragged(sizes=(2, 2), days=1300, seed=6), "macd", 2, "long-only")
    compare_runs(Compare(a.path, other.path, out=tmp_path / "table.csv"))
    printed = capsys.readouterr().out
    assert "Warning: the runs are of different data" in printed
    assert "data.fingerprint" in printed
    table = pd.read_csv(tmp_path / "table.csv").set_index("agent")
    assert table["note"].unique().tolist() == ["different data"]
    assert table[["difference", "low", "high", "p_value"]].isna().all(axis=None)
    row, own = table.loc["mine"], net(other, "mine")
    assert row["days_b"] == len(own)
    assert row["sharpe_b"] == pytest.approx(float((252**0.5 * own.mean() / own.std()).iloc[0]))


def test_a_run_that_has_not_finished_is_refused(a: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({}))
    with pytest.raises(ConfigError, match=r"holds no run\.json with a manifest\.sha256"):
        compare_runs(Compare(a.path, tmp_path))
    with pytest.raises(ConfigError, match="no such run folder"):
        compare_runs(Compare(tmp_path / "none", a.path))

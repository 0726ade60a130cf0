"""A learner whose signals never move is a fixed book, and everything that shows its figures says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import RunConfig
from experiments.commands.compare import compare_agents
from experiments.papers.quantnet.measure import measure
from experiments.papers.quantnet.tables import tables_1
from experiments.report import write_report
from experiments.results.leaderboard import as_text, static_agents, static_note
from experiments.results.tables import market_days, portfolio_table, results_table
from experiments.running.runner import run
from experiments.storage.store import RunFolder
from qn_env.panel import Panel
from qn_env.sources import ragged


class Halves:
    """Holds the first asset of all, and follows the last return of the others."""

    learns = True

    def fit(self, env, *, seed, validation=None):
        return self

    def reset(self) -> None:
        pass

    def act(self, observation):
        signals = np.sign(np.nan_to_num(observation["returns"][-1]))
        signals[0] = 0.5
        return signals


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> RunFolder:
    out = tmp_path_factory.mktemp("runs") / "run"
    config = RunConfig(agents=("test_signal_variation:Halves", "buy-and-hold"), seeds=1, jobs=1, out=out)
    return RunFolder(run(config, panel()))


def panel() -> Panel:
    return ragged(sizes=(2, 1), days=1100, seed=3)


def test_the_results_hold_how_much_every_signal_varies(folder):
    rows = folder.results()
    mine = rows[(rows["agent"] == "test_signal_variation:Halves") & (rows["cost_bps"] == 0.0)]
    mine = mine[mine["execution"] == "late"]
    still = mine[mine["metric"] == "still"].set_index(["market", "asset"])["value"]
    assets = [name for name in still.index if "*" not in name]
    assert [still[name] for name in assets] == [1.0, 0.0, 0.0]
    assert still["*", "*"] == pytest.approx(1 / 3)
    assert still[assets[0][0], "*"] == 0.5
    days = folder.agent_days("test_signal_variation:Halves", 0)
    own = days[days["asset"] == assets[1][1]]
    moves = np.abs(np.diff(own.loc[own["counted"], "signal"]))
    change = mine[mine["metric"] == "signal_change"].set_index(["market", "asset"])["value"]
    assert change[assets[1]] == pytest.approx(moves.mean())


def test_a_learner_that_stands_still_is_marked_and_a_rule_is_not(folder):
    marked = folder.leaderboard().groupby("agent")["static"].agg(["min", "max"])
    assert marked.loc["test_signal_variation:Halves"].all()
    assert not marked.loc["buy-and-hold"].any()
    text = as_text(folder.leaderboard())
    assert "test_signal_variation:Halves =" in text
    assert "buy-and-hold =" not in text
    page = write_report(folder.path).read_text()
    assert page.count("static in part") == 2 * len(folder.leaderboard()["cost_bps"].unique())


def test_two_runs_say_whose_signals_stand_still(folder):
    row = compare_agents(folder, folder, 2.0).set_index("agent").loc["test_signal_variation:Halves"]
    assert row["still_a"] == row["still_b"] == pytest.approx(1 / 3)


def test_days_of_an_earlier_version_have_no_signals_and_no_such_figures(folder, tmp_path: Path):
    days = folder.agent_days("buy-and-hold", 0).drop(columns=["signal", "window"])
    by_market = market_days(days)
    blocks = pd.DataFrame(
        [
            {"market": name, "test_first": own["date"].min(), "test_last": own["date"].max()}
            for name, own in days.groupby("market")
        ]
    )
    table = results_table(days, by_market, portfolio_table(by_market, blocks, [0.0]), [0.0])
    assert "still" not in set(table["metric"])


def test_a_study_names_its_static_learners_and_the_share_of_their_signals(folder):
    board = folder.leaderboard()
    assert static_agents(board) == {"test_signal_variation:Halves": pytest.approx(1 / 3)}
    assert static_agents(board.drop(columns="static")) == {}
    measured = measure(folder)
    assert measured.static == {"test_signal_variation:Halves": pytest.approx(1 / 3)}
    shown = tables_1(measured, None)[0].shown
    assert list(shown.columns[1:]) == ["test_signal_variation:Halves =", "Buy and hold"]
    assert static_note({"Halves": 1 / 3}) == (
        "Static in part (=): of Halves 33% of the signals never move, a fixed book that learnt no timing."
    )

"""What a decision attended to, as the command tells and draws it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from finished import write_panel

from agents.agent import load_agent
from experiments import RunConfig
from experiments.artefacts.attention import attention_figure, decision_of
from experiments.cli import main
from experiments.running.runner import run
from experiments.running.today import todays_signals
from experiments.running.units import Variant
from experiments.storage.store import RunFolder
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.sources import ragged

TINY = {
    **{"hidden": 4, "recent": 9, "earlier": 2, "context_days": 5, "bank": 8},
    **{"epochs": 1, "length": 40},
}


@pytest.fixture(scope="module")
def panel() -> Panel:
    return ragged(sizes=(2, 2), days=800, seed=6)


@pytest.fixture(scope="module")
def folder(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    home = tmp_path_factory.mktemp("attended")
    write_panel(panel, home / "panel")
    config = RunConfig(
        agents=("x-trend", "macd"), panel=home / "panel", seeds=1, costs=(0.0,), jobs=1, out=home / "run"
    )
    return RunFolder(
        run(config, panel, variants={"x-trend": Variant("x-trend", TINY), "macd": Variant("macd")})
    )


def typed(folder: RunFolder, *more: str) -> list[str]:
    home = folder.path.parent
    return [
        "attended",
        "--run",
        str(home / "run"),
        "--panel",
        str(home / "panel"),
        "--kind",
        "returns",
        *more,
    ]


def test_the_shares_are_told_sum_to_one_and_are_drawn(
    folder: RunFolder, panel: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--agent", "x-trend", "--market", "M1", "--asset", panel.assets[2], "--out", str(tmp_path)]
    assert main(typed(folder, *words)) == 0
    told = capsys.readouterr().out
    shares = [float(share) for share in re.findall(r"^ *([\d.]+)%", told, flags=re.MULTILINE)]
    assert len(shares) == 9 + 2 + 1
    assert sum(shares) == pytest.approx(100.0, abs=0.01 * len(shares))
    assert shares[:-1] == sorted(shares[:-1], reverse=True)
    assert (tmp_path / "attended.png").read_bytes().startswith(b"\x89PNG")
    today = todays_signals(folder, "x-trend", panel).set_index(["market", "asset"])
    signal = today.loc[("M1", panel.assets[2]), "signal"]
    [shown] = re.findall(r"signal ([-+\d.]+)", told)
    assert np.isnan(signal) or float(shown) == pytest.approx(signal, abs=1e-4)


def test_a_decision_is_that_of_its_day_and_its_stretches_end_before_it(
    folder: RunFolder, panel: Panel
) -> None:
    agent = load_agent("x-trend", folder.unit("x-trend-seed0") / "checkpoint")
    own = panel.dates[panel.tradable[:, 0]]
    day = own[300]
    found = decision_of(agent, panel, "M0", panel.assets[0], str(day))
    assert found.day == day
    assert found.target.dates[-1] == day
    row = int(np.searchsorted(panel.dates, day))
    assert found.signal == agent.signals(panel)[row, 0]  # type: ignore[attr-defined]
    assert sum(weight for _, weight in found.attended) + found.none == pytest.approx(1.0)
    for stretch, _ in found.attended:
        assert len(stretch.dates) == len(stretch.returns) >= 1
        assert stretch.last < day
        market, name = stretch.name.split("/")
        column = list(zip(panel.market_of, panel.assets, strict=True)).index((market, name))
        rows = np.searchsorted(panel.dates, stretch.dates)
        np.testing.assert_array_equal(stretch.returns, panel.returns[rows, column])
    figure = attention_figure(found)
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert titles[0] == f"{found.target.name}: signal {found.signal:+.2f}"
    assert titles[1] == f"{found.attended[0][1]:.0%}  {found.attended[0][0].name}"


def test_stretches_of_assets_that_the_panel_lacks_are_named_without_their_gains(
    folder: RunFolder, panel: Panel
) -> None:
    agent = load_agent("x-trend", folder.unit("x-trend-seed0") / "checkpoint")
    alone = panel.select(["M1"])
    day = alone.dates[alone.tradable[:, 0]][40]
    found = decision_of(agent, alone, "M1", alone.assets[0], str(day))
    foreign = [one for one, _ in found.attended if one.name.startswith("M0/")]
    assert foreign
    assert all(len(one.dates) == 0 for one in foreign)
    assert attention_figure(found).axes


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--agent", "macd", "--market", "M0", "--asset", "A0"], "cannot tell what a decision attended to"),
        (["--agent", "x-trend", "--market", "M0", "--asset", "ZZ"], "no asset 'ZZ' in a market 'M0'"),
        (["--agent", "x-trend", "--market", "M0", "--asset", "A0", "--day", "1999-01-01"], "no decision on"),
        (["--agent", "y-trend", "--market", "M0", "--asset", "A0"], "no agent 'y-trend'"),
    ],
)
def test_what_cannot_be_told_is_refused(
    folder: RunFolder, words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed(folder, *words)) == 1
    assert text in capsys.readouterr().err.replace("\n", " ")


def test_an_unknown_day_is_refused_by_the_agent_itself(folder: RunFolder, panel: Panel) -> None:
    agent = load_agent("x-trend", folder.unit("x-trend-seed0") / "checkpoint")
    with pytest.raises(ConfigError, match="no decision on"):
        decision_of(agent, panel, "M0", panel.assets[0], str(panel.dates[0]))

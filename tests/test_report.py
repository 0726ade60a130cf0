"""The report of a finished run: complete, safe to open, offline, and the same every time."""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.report import write_report
from experiments.report.folder import read_run
from experiments.report.looks import DASHES, looks
from experiments.report.series import Curve, asset_sharpes, bin_edges, path, thinned
from experiments.report.tables import UNDEFINED, heat_map, leaderboard
from qn_env.errors import ConfigError, DataError, QnError
from qn_env.extras import require

MARKUP, IMPORTED = "<b>bold</b>&co", "my_package.my_module:Lucky"
AGENTS = {"quantnet": 2, "macd": 1, MARKUP: 1, IMPORTED: 5}  # seeds
MARKETS = {"Alpha": ["a1", "a2"], "Beta <i>": ["b1", "b2", "b3"]}
DAYS = pd.bdate_range("2020-01-01", periods=90)
FIGURES = ("cumulative", "drawdown", "sharpe_histogram", "overview")


def fake_run(
    folder: Path,
    agents: Mapping[str, int] = AGENTS,
    markets: Mapping[str, Sequence[str]] = MARKETS,
    days: pd.DatetimeIndex = DAYS,
    *,
    learnt: Sequence[str] = ("quantnet", IMPORTED),
    edge: Mapping[str, float] | None = None,
    record: Mapping[str, Any] | None = None,
) -> Path:
    """Write a run folder of random daily returns; one per-asset Sharpe ratio of `macd` is NaN.

    Args:
        folder: to be made.
        agents: number of seeds of each.
        markets: assets of each.
        days: test days.
        learnt: agents that learn.
        edge: annual Sharpe ratio of each agent before costs; default: 0.5.
        record: entries of run.json to replace.
    """
    folder.mkdir()
    rng = np.random.default_rng(0)
    common, T = rng.normal(0, 0.006, len(days)), len(days)
    daily, tidy, board = [], [], []
    for agent, n_seeds in agents.items():
        sharpe = (edge or {}).get(agent, 0.5)
        own = 0.5 * common + rng.normal(0, 0.004, T)
        for cost in (0.0, 2.0):
            nets = []
            for seed in range(n_seeds):
                gross = own + rng.normal(0, 0.001, T) + sharpe * 0.005 / 252**0.5
                turnover = np.full(T, 0.08)
                net = gross - cost * 1e-4 * turnover
                scaled = np.where(np.arange(T) < 20, np.nan, net * 1.3)
                frame = pd.DataFrame({"date": days, "gross": gross, "net": net, "net_10": scaled})
                daily.append(
                    frame.assign(
                        agent=agent, seed=seed, cost_bps=cost, cost=gross - net, turnover=0.08, markets=2
                    )
                )
                nets.append(net)
                for market, assets in markets.items():
                    for asset in ["*", *assets]:
                        value = sharpe - 0.1 * cost + rng.normal(0, 0.5)
                        if agent == "macd" and asset == next(iter(markets.values()))[0]:
                            value = np.nan
                        tidy.append((agent, market, asset, seed, cost, value))
                tidy.append((agent, "*", "*", seed, cost, sharpe))
            board.append(_leaderboard_row(agent, cost, np.array(nets), agent not in learnt or n_seeds >= 5))
    table = pd.DataFrame(board)
    table["rank"] = table.groupby("cost_bps")["sharpe"].rank(ascending=False).astype(int)
    table.sort_values(["cost_bps", "rank"]).to_parquet(folder / "leaderboard.parquet", index=False)
    pd.concat(daily).to_parquet(folder / "portfolio.parquet", index=False)
    results = pd.DataFrame(tidy, columns=["agent", "market", "asset", "seed", "cost_bps", "value"])
    results.assign(run="fake", split="test", metric="sharpe").to_parquet(
        folder / "results.parquet", index=False
    )
    about = _about(agents, markets, days, learnt) | dict(record or {})
    (folder / "run.json").write_text(json.dumps(about))
    return folder


def _leaderboard_row(agent: str, cost: float, nets: np.ndarray, comparable: bool) -> dict[str, Any]:  # noqa: FBT001
    sharpes = 252**0.5 * nets.mean(axis=1) / nets.std(axis=1, ddof=1)
    sharpe = float(sharpes.mean())
    growth = np.cumprod(1 + nets, axis=1)
    worst = float((growth / np.maximum.accumulate(growth, axis=1) - 1).min(axis=1).mean())
    annual = float(252 * nets.mean())
    return {
        "cost_bps": cost,
        "agent": agent,
        "seeds": len(nets),
        "comparable": comparable,
        "sharpe": sharpe,
        "sharpe_low": sharpe - 0.9,
        "sharpe_high": sharpe + 0.9,
        "ann_return": annual,
        "ann_volatility": float(252**0.5 * nets.std()),
        "max_drawdown": worst,
        "calmar": np.nan if agent == "macd" else annual / abs(worst),
        "turnover": 20.2,
        "ann_return_10": annual * 1.3,
        "max_drawdown_10": worst * 1.3,
        "undefined": int(agent == "macd"),
        "seed_low": float(sharpes.min()),
        "seed_high": float(sharpes.max()),
    }


def _about(
    agents: Mapping[str, int],
    markets: Mapping[str, Sequence[str]],
    days: pd.DatetimeIndex,
    learnt: Sequence[str],
) -> dict[str, Any]:
    first, last = f"{days[0]:%Y-%m-%d}", f"{days[-1]:%Y-%m-%d}"
    counts = {"train": 6809, "select": len(days), "test": len(days), "test_first": first, "test_last": last}
    return {
        "config": {
            "agents": list(agents),
            "panel": None,
            "protocol": "holdout",
            "costs": [0.0, 2.0],
            "seeds": 5,
            "vol_target": None,
            "quick": False,
            "out": "runs/x",
        },
        "panel": {
            "fingerprint": "0123456789abcdef",
            "first": "1990-01-02",
            "last": last,
            "assets": sum(map(len, markets.values())),
            "notes": ["Today's members only: survivorship <bias> & no delistings."],
            "markets": [
                {"market": market, "assets": len(assets), "shortened": i == 1} | counts
                for i, (market, assets) in enumerate(markets.items())
            ],
        },
        "agents": {
            agent: {
                "vol_target": None,
                "learns": agent in learnt,
                "seeds": list(range(n)),
                "train_cost_bps": 0.0,
            }
            for agent, n in agents.items()
        },
        "failed": [{"agent": "quantnet", "seed": 4, "error": "ValueError: <loss> is NaN"}],
        "versions": {"python": "3.13.1", "torch": "2.8.0"},
        "started": "2025-01-02T03:04:05+00:00",
        "seconds": 240.0,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = fake_run(tmp_path_factory.mktemp("runs") / "fake")
    write_report(made)
    return made


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def own(page: str) -> str:
    """The page without plotly.js."""
    return re.sub(r"<script>/\*\*\n\* plotly\.js.*?</script>", "", page, flags=re.DOTALL)


def test_the_page_holds_plotly_once_and_loads_nothing(page: str, own: str) -> None:
    assert len(re.findall(r"\* plotly\.js v\d", page)) == 1
    assert len(own) < 1_000_000 < len(page)
    assert not re.search(r"https?:|//[a-z]|\bsrc=|<link|<iframe|@import|url\(|fetch\(|XMLHttpRequest", own)


def test_the_page_forbids_the_browser_to_load_anything(page: str) -> None:
    assert """content="default-src 'none'; script-src 'unsafe-inline'""" in page


def test_every_agent_is_on_the_page_escaped(own: str) -> None:
    for agent in AGENTS:
        assert html.escape(agent) in own
    assert "<b>bold</b>" not in own
    assert "Beta <i>" not in own
    assert "<bias>" not in own
    assert "<loss>" not in own


def test_chart_names_are_not_read_as_markup_by_html_or_plotly(own: str) -> None:
    found = re.search(r'<script type="application/json" id="run-data">(.*?)</script>', own, re.DOTALL)
    assert found is not None
    assert "<" not in found[1]
    charts = json.loads(found[1])
    assert [agent["name"] for agent in charts["agents"]] == ["quantnet", "macd", html.escape(MARKUP), "Lucky"]
    growth = charts["paths"]["2"]["scaled"]["growth"]
    assert all(
        len(line) == len(DAYS) and line[:20] == [None] * 20 and line[20] is not None for line in growth
    )


def test_the_page_says_what_limits_it(own: str) -> None:
    assert "survivorship" in own
    assert "1 failed unit" in own
    assert "seed 4" in own
    assert "Fewer than 5 seeds: not comparable." in own
    assert "Quick run" not in own
    assert own.count("not comparable</small>") == 2  # quantnet, at both costs
    assert "shortened" in own
    assert "Research, not advice" in own


def test_a_quick_run_says_so_on_top(tmp_path: Path) -> None:
    made = fake_run(tmp_path / "run", record={"config": {"quick": True}})
    assert "Quick run: not comparable." in write_report(made).read_text()


def test_undefined_figures_are_shown_and_counted(folder: Path, own: str) -> None:
    run = read_run(folder)
    board = leaderboard(run, 2.0, looks(run))
    macd = next(row for row in board["rows"] if row["look"].name == "macd")
    assert macd["cells"][3] == (UNDEFINED, None)  # Calmar
    assert board["undefined"] == 1
    assert f"{UNDEFINED} 1 undefined" in own  # under the histogram of macd
    assert f"{UNDEFINED} Days without a value: 20 of every agent and seed." in own


def test_an_undefined_seed_is_counted_beside_the_mean_of_the_others(tmp_path: Path) -> None:
    made = fake_run(tmp_path / "run")
    table = pd.read_parquet(made / "results.parquet")
    cell = (table["agent"] == IMPORTED) & (table["market"] == "Alpha") & (table["asset"] == "*")
    table.loc[cell & (table["seed"] == 3), "value"] = np.nan
    table.loc[cell & (table["seed"] != 3), "value"] = 0.25
    table.to_parquet(made / "results.parquet")
    run = read_run(made)
    from experiments.report.series import market_sharpes

    shown = heat_map(market_sharpes(run, 0.0), looks(run))
    assert shown["markets"] == list(MARKETS)
    assert shown["rows"][3]["cells"][0] | {"colour": "", "alpha": 0} == {
        "text": "0.25",
        "undefined": 1,
        "colour": "",
        "alpha": 0,
    }


def test_asset_sharpe_ratios_are_means_over_seeds(folder: Path) -> None:
    table = pd.read_parquet(folder / "results.parquet")
    rows = table[(table["agent"] == IMPORTED) & (table["asset"] == "b2") & (table["cost_bps"] == 2.0)]
    found = asset_sharpes(read_run(folder), 2.0).mean.loc[IMPORTED, ("Beta <i>", "b2")]
    assert len(rows) == 5
    assert found == pytest.approx(rows["value"].mean())


def test_the_figures_are_written_as_png_and_svg(folder: Path) -> None:
    for name in FIGURES:
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (folder / "figures" / f"{name}.svg").read_text()


def test_the_same_folder_gives_the_same_bytes(folder: Path) -> None:
    files = [folder / "report.html", *sorted((folder / "figures").iterdir())]
    before = [file.read_bytes() for file in files]
    assert len(files) == 1 + 2 * len(FIGURES)
    write_report(folder)
    assert [file.read_bytes() for file in files] == before


def test_the_report_changes_nothing_the_run_wrote(tmp_path: Path) -> None:
    made = fake_run(tmp_path / "run")
    before = {file: file.read_bytes() for file in made.iterdir()}
    write_report(made)
    assert {file: file.read_bytes() for file in before} == before


def test_a_run_without_common_days_still_has_a_report(tmp_path: Path) -> None:
    made = fake_run(tmp_path / "run")
    pd.read_parquet(made / "portfolio.parquet").iloc[:0].to_parquet(made / "portfolio.parquet")
    pd.read_parquet(made / "leaderboard.parquet").assign(basis="markets").to_parquet(
        made / "leaderboard.parquet"
    )
    assert "Mean over markets, each on its own test block" in write_report(made).read_text()


def test_no_two_agents_look_alike(tmp_path: Path) -> None:
    agents = {f"learnt{i}": 1 for i in range(9)} | {f"rule{i}": 1 for i in range(20)}
    made = fake_run(tmp_path / "run", agents, learnt=[f"learnt{i}" for i in range(9)])
    found = looks(read_run(made)).values()
    assert len({(look.colour, look.dash) for look in found}) == len(agents)
    assert {look.dash for look in found} <= set(DASHES)


def test_a_missing_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: no such run folder"):
        write_report(tmp_path / "nowhere")
    made = fake_run(tmp_path / "run")
    for name in ("portfolio.parquet", "run.json"):
        (made / name).unlink()
        with pytest.raises(DataError, match=f"{name}: missing"):
            write_report(made)


def test_broken_files_are_named_with_what_they_lack(tmp_path: Path) -> None:
    made = fake_run(tmp_path / "run")
    table = pd.read_parquet(made / "leaderboard.parquet")
    table.drop(columns="sharpe_low").to_parquet(made / "leaderboard.parquet")
    with pytest.raises(QnError, match=r"leaderboard\.parquet: lacks the columns sharpe_low; found agent"):
        write_report(made)
    table.iloc[:0].to_parquet(made / "leaderboard.parquet")
    with pytest.raises(QnError, match=r"nothing to report\. Failed: quantnet: ValueError"):
        write_report(made)
    (made / "results.parquet").write_text("no table")
    with pytest.raises(QnError, match=r"results\.parquet: not a readable Parquet file"):
        write_report(made)
    (made / "run.json").write_text("{")
    with pytest.raises(QnError, match=r"run\.json: not valid JSON"):
        write_report(made)


def test_results_without_sharpe_ratios_are_refused(tmp_path: Path) -> None:
    made = fake_run(tmp_path / "run")
    table = pd.read_parquet(made / "results.parquet")
    table.assign(split="select").to_parquet(made / "results.parquet")
    with pytest.raises(DataError, match="metric 'sharpe', split 'test' and cost_bps 0"):
        write_report(made)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ConfigError, match=r'pip install "qn-env\[report\]"'):
        require("plotly")


def test_paths_average_over_seeds_and_ruin_is_final() -> None:
    found = path(np.array([[0.5, -1.5], [0.0, 3.0]]))
    np.testing.assert_allclose(found.growth, [0.75, 0.75])
    np.testing.assert_allclose(found.drawdown, [-0.5, -0.5])


def test_thinning_keeps_the_deepest_drawdown_and_the_last_growth() -> None:
    curve = Curve(np.array([1.0, 0.5, 1.0, 1.1, 1.2]), np.array([0.0, -0.5, 0.0, 0.0, np.nan]), 0)
    found = thinned(curve, 3)
    np.testing.assert_array_equal(found.growth, [1.0, 1.2])
    np.testing.assert_array_equal(found.drawdown, [-0.5, 0.0])


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0, 1e4])
def test_histogram_bins_hold_every_value(scale: float) -> None:
    values = scale * np.array([-1.0, 0.0, 0.3, 2.0, np.nan])
    edges = bin_edges(values)
    assert edges[0] <= -scale
    assert edges[-1] > 2 * scale
    assert np.abs(edges).min() == 0
    assert len(edges) <= 28

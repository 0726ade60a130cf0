"""The report of a finished run: complete, safe to open, offline, and the same every time."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.offline
import pytest
from scipy import stats

from experiments.report import write_report
from experiments.report.line_styles import DASHES, LineStyle, line_styles
from experiments.report.tables import UNDEFINED, heat_map, leaderboard, rank_figure
from experiments.report.trust import facts
from experiments.results.evidence import Evidence, audit_verdict, cost_curve, cost_scale, gather_evidence
from experiments.results.run import Run, read_run, read_runs
from experiments.results.series import Curve, asset_sharpes, bin_edges, path, thin
from experiments.statistics import (
    confidence_set,
    rank_agents,
    stepwise_superior,
    superior_predictive_ability,
)
from qn_env.errors import ConfigError, DataError, QnError
from qn_env.extras import require
from qn_env.storage import write_sealed

LATE = 0.5  # of what is earned and traded on time
MARKUP, IMPORTED = "<b>bold</b>&co", "my_package.my_module:Lucky"
AGENTS = {"quantnet": 2, "macd": 1, MARKUP: 1, IMPORTED: 5}  # seeds
MARKETS = {"Alpha": ["a1", "a2"], "Beta <i>": ["b1", "b2", "b3"]}
DAYS = pd.bdate_range("2020-01-01", periods=90)
FIGURES = ("cumulative", "drawdown", "sharpe_histogram", "overview", "costs", "ranks")
TABLES = ("leaderboard", "significance", "differences", "delays", "markets", "paired", "costs")


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
    folder.mkdir(parents=True)
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
                frame = pd.DataFrame({"date": days, "gross": gross, "net": net, "net_10": scaled}).assign(
                    agent=agent, seed=seed, cost_bps=cost, cost=gross - net, turnover=0.08, markets=2
                )
                late = {name: LATE * frame[name] for name in ("gross", "net", "net_10", "cost", "turnover")}
                daily += [frame.assign(execution="on-time"), frame.assign(execution="late", **late)]
                nets.append(net)
                for market, assets in markets.items():
                    for asset in ["*", *assets]:
                        value = sharpe - 0.1 * cost + rng.normal(0, 0.5)
                        if agent == "macd" and asset == next(iter(markets.values()))[0]:
                            value = np.nan
                        tidy.append((agent, market, asset, seed, cost, value))
                tidy.append((agent, "*", "*", seed, cost, sharpe))
            comparable = agent not in learnt or n_seeds >= 5
            board += [
                {"execution": execution, **_leaderboard_row(agent, cost, factor * np.array(nets), comparable)}
                for execution, factor in (("on-time", 1.0), ("late", LATE))
            ]
    table = pd.DataFrame(board)
    groups = table.groupby(["execution", "cost_bps"])
    table["rank"] = groups["sharpe"].rank(ascending=False, method="first").astype(int)
    table.sort_values(["execution", "cost_bps", "rank"]).to_parquet(
        folder / "leaderboard.parquet", index=False
    )
    pd.concat(daily).to_parquet(folder / "portfolio.parquet", index=False)
    results = pd.DataFrame(tidy, columns=["agent", "market", "asset", "seed", "cost_bps", "value"])
    both = [
        results.assign(execution="on-time"),
        results.assign(execution="late", value=results["value"] - 0.2),
    ]
    pd.concat(both).assign(run="fake", split="test", metric="sharpe").to_parquet(
        folder / "results.parquet", index=False
    )
    about = _about(agents, markets, days, learnt)
    about |= {k: about[k] | v if k == "config" else v for k, v in (record or {}).items()}
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
        "static": False,
        "first_day": agent == IMPORTED,
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
            "seed": 0,
            "begin": None,
            "execution_lag": 0,
            "vol_target": None,
            "quick": False,
            "rank_by": "on-time",
            "out": "runs/x",
        },
        "panel": {
            "fingerprint": "0123456789abcdef",
            "first": "1990-01-02",
            "last": last,
            "assets": sum(map(len, markets.values())),
            "windows": [""],
            "notes": ["Today's members only: survivorship <bias> & no delistings."],
            "markets": [
                {"market": market, "assets": len(assets), "shortened": i == 1} | counts
                for i, (market, assets) in enumerate(markets.items())
            ],
        },
        "agents": {
            agent: {
                "agent": agent,
                "options": {},
                "windows": {},
                "warmup": 0,
                "vol_target": None,
                "learns": agent in learnt,
                "seeds": list(range(n)),
                "train_cost_bps": 0.0,
            }
            for agent, n in agents.items()
        },
        "failed": [{"agent": "quantnet", "seed": 4, "error": "ValueError: <loss> is NaN"}],
        "git": None,
        "versions": {"python": "3.13.1", "torch": "2.8.0"},
        "started": "2025-01-02T03:04:05+00:00",
        "seconds": 240.0,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = fake_run(tmp_path_factory.mktemp("runs") / "fake")
    write_report(made)
    return made


PACKED = r'<script type="text/plain" id="plotly-js">(.*?)</script>'


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def own(page: str) -> str:
    """The page without plotly.js."""
    return re.sub(PACKED, "", page, flags=re.DOTALL)


def test_the_page_holds_plotly_once_and_loads_nothing(page: str, own: str) -> None:
    (packed,) = re.findall(PACKED, page, flags=re.DOTALL)
    library = gzip.decompress(base64.b64decode(packed)).decode()
    assert library == plotly.offline.get_plotlyjs()
    assert len(own) < 1_000_000 < len(page) < 3_000_000
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
    growth = charts["paths"]["late"]["2"]["scaled"]["growth"]
    assert all(
        len(line) == len(DAYS) and line[:20] == [None] * 20 and line[20] is not None for line in growth
    )


def test_the_page_says_what_limits_it(own: str) -> None:
    assert "survivorship" in own
    assert "1 failed unit" in own
    assert "seed 4" in own
    assert "Fewer than 5 seeds: not comparable." in own
    assert "Quick run" not in own
    assert own.count("not comparable</small>") == 4  # quantnet, at both costs, late and on time
    assert own.count("earned on the first day</small>") == 4
    assert "shortened" in own
    assert "Research, not advice" in own


def test_a_quick_run_says_so_on_top(tmp_path: Path) -> None:
    made = fake_run(tmp_path / "run", record={"config": {"quick": True}})
    assert "Quick run: not comparable." in write_report(made).read_text()


def test_undefined_figures_are_shown_and_counted(folder: Path, own: str) -> None:
    runs = read_runs(folder)
    board = leaderboard(runs, "on-time", 2.0, line_styles(runs["on-time"]))
    macd = next(row for row in board["rows"] if row["style"].name == "macd")
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
    from experiments.results.series import market_sharpes

    shown = heat_map(market_sharpes(run, 0.0), line_styles(run))
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
    rows = rows[rows["execution"] == "on-time"]
    found = asset_sharpes(read_run(folder), 2.0).mean.loc[IMPORTED, ("Beta <i>", "b2")]
    assert len(rows) == 5
    assert found == pytest.approx(rows["value"].mean())


def test_the_figures_are_written_as_png_and_svg(folder: Path) -> None:
    for name in FIGURES:
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (folder / "figures" / f"{name}.svg").read_text()


def test_the_same_folder_gives_the_same_bytes(folder: Path) -> None:
    written = [*sorted((folder / "figures").iterdir()), *sorted((folder / "tables").iterdir())]
    files = [folder / "report.html", folder / "honesty.json", *written]
    before = [file.read_bytes() for file in files]
    # Tables but that of delays once more for the other execution, and the captions.
    assert len(files) == 2 + 2 * len(FIGURES) + 2 * (2 * len(TABLES) - 1) + 1
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
    found = gather_evidence(read_runs(made))
    assert found.overfitting is None
    assert found.agents["deflated"].isna().all()
    assert found.differences["p_value"].isna().all()


def test_no_two_agents_look_alike(tmp_path: Path) -> None:
    agents = {f"learnt{i}": 1 for i in range(9)} | {f"rule{i}": 1 for i in range(20)}
    made = fake_run(tmp_path / "run", agents, learnt=[f"learnt{i}" for i in range(9)])
    found = line_styles(read_run(made)).values()
    assert len({(style.colour, style.dash) for style in found}) == len(agents)
    assert {style.dash for style in found} <= set(DASHES)


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
    with pytest.raises(DataError, match="metric 'sharpe', split 'test' and cost_bps 2"):
        write_report(made)


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ConfigError, match=r'pip install "qn-env\[report\]"'):
        require("plotly")


# The statistics of a run


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return read_run(folder)


@pytest.fixture(scope="module")
def found(folder: Path) -> Evidence:
    return gather_evidence(read_runs(folder))


def net_of(run: Run, agent: str, seed: int) -> pd.Series:
    """Daily net returns at 2 bp."""
    rows = run.portfolio[(run.portfolio["cost_bps"] == 2.0) & (run.portfolio["agent"] == agent)]
    return rows[rows["seed"] == seed].set_index("date")["net"]


def test_a_sharpe_ratio_is_deflated_by_the_agents_and_seeds_of_the_run(run: Run, found: Evidence) -> None:
    # The formulas of Bailey and Lopez de Prado (2012, 2014), written out for the one seed of macd.
    net = net_of(run, "macd", 0)
    ratios = [net_of(run, agent, seed) for agent, seeds in AGENTS.items() for seed in range(seeds)]
    daily = np.array([series.mean() / series.std() for series in ratios])
    number, ratio = 9, net.mean() / net.std()
    error = np.sqrt(
        (1 - stats.skew(net) * ratio + (stats.kurtosis(net, fisher=False) - 1) / 4 * ratio**2)
        / (len(net) - 1)
    )
    luck = daily.std(ddof=1) * (
        (1 - np.euler_gamma) * stats.norm.ppf(1 - 1 / number)
        + np.euler_gamma * stats.norm.ppf(1 - 1 / (number * np.e))
    )
    row = found.agents.set_index("agent").loc["macd"]
    assert found.tried[:2] == (number, 0)
    assert row["sharpe"] == pytest.approx(252**0.5 * ratio)
    assert row["probabilistic"] == pytest.approx(stats.norm.cdf(ratio / error))
    assert row["deflated"] == pytest.approx(stats.norm.cdf((ratio - luck) / error))


def trial_of(agent: str) -> dict[str, Any]:
    """A trial as a search stores it."""
    settings = {"options": {}, "vol_target": None, "lag": 0, "data": []}
    return {"agent": agent, "window": "", "trial": 0, "score": 1.0} | settings


def test_trials_of_recorded_searches_for_agents_of_the_run_count(tmp_path: Path) -> None:
    made = fake_run(tmp_path / "run")
    for folder, agents in (
        (made / "trials", ["quantnet", "quantnet", "ppo"]),
        (tmp_path / "trials", ["macd"]),
    ):
        folder.mkdir()
        for i, agent in enumerate(agents):
            write_sealed(folder / f"{agent}-seed0-trial{i}.json", trial_of(agent))
    more, less = (
        gather_evidence(read_runs(made)),
        gather_evidence(read_runs(fake_run(tmp_path / "apart" / "run"))),
    )
    assert (more.tried.units, more.tried.searched, less.tried.searched) == (9, 3, 0)
    assert more.tried.source == "9 agents and seeds of this run and 3 trials of recorded searches"
    assert (more.agents["deflated"] < less.agents["deflated"]).all()


def test_every_agent_is_held_against_the_best_and_each_pair_once(tmp_path: Path) -> None:
    agents = {"buy-and-hold": 1, "macd": 2, "quantnet": 3}
    runs = read_runs(fake_run(tmp_path / "run", agents, edge={"quantnet": 5.0}))
    run, found = runs["on-time"], gather_evidence(runs)
    pairs = list(zip(found.differences["left"], found.differences["right"], strict=True))
    order = found.agents["agent"].tolist()
    assert order[0] == "quantnet"
    assert found.reference == "buy-and-hold"
    assert {frozenset(pair) for pair in pairs} == {
        frozenset(("quantnet", "buy-and-hold")),
        frozenset(("quantnet", "macd")),
        frozenset(("buy-and-hold", "macd")),
    }
    assert len(pairs) == 3
    means = {
        agent: np.mean(
            [252**0.5 * net_of(run, agent, s).mean() / net_of(run, agent, s).std() for s in range(n)]
        )
        for agent, n in agents.items()
    }
    for row in found.differences.to_dict("records"):
        assert row["difference"] == pytest.approx(means[row["left"]] - means[row["right"]])
    # The smallest of three p-values times three.
    first = found.differences.sort_values("p_value").iloc[0]
    assert first["p_holm"] == pytest.approx(min(3 * first["p_value"], 1.0))


def test_a_day_late_every_agent_is_held_against_itself(tmp_path: Path) -> None:
    runs = read_runs(fake_run(tmp_path / "run", {"macd": 1, "quantnet": 3}, edge={"quantnet": 5.0}))
    # What is late is no multiple of what is on time.
    days = runs["late"].portfolio
    noise = np.random.default_rng(1).normal(0.0, 0.003, len(days))
    runs["late"] = replace(runs["late"], portfolio=days.assign(gross=days["gross"] + noise))
    found = gather_evidence(runs)
    assert found.execution == "on-time"
    assert found.delays["agent"].tolist() == found.agents["agent"].tolist() == ["quantnet", "macd"]
    ratios, kept = {}, {}
    for execution, run in runs.items():
        rows = run.portfolio[run.portfolio["cost_bps"] == 2.0].assign(
            net=lambda t: t["gross"] - 2e-4 * t["turnover"]
        )
        net = rows.pivot(index="date", columns=["agent", "seed"], values="net")
        # The first day, and the one on which a late book is entered, are no delay.
        for place, own in ((ratios, net), (kept, net.iloc[2:])):
            place[execution] = (252**0.5 * own.mean() / own.std()).groupby("agent").mean()
    for row in found.delays.to_dict("records"):
        agent = row["agent"]
        assert row["sharpe"] == pytest.approx(ratios["on-time"][agent])
        assert row["sharpe_late"] == pytest.approx(ratios["late"][agent])
        assert row["difference"] == pytest.approx(kept["late"][agent] - kept["on-time"][agent])
        assert row["error"] > 0.0
        assert row["p_holm"] >= row["p_value"]
    best = found.delays.iloc[0]
    fact = next(fact for fact in facts(found) if fact.question == "One day late")
    assert fact.answer == f"{best['sharpe_late']:.2f}"
    assert f"{best['sharpe']:.2f} on time" in fact.meaning
    assert "quantnet" in fact.meaning
    late = gather_evidence(runs, "late")
    assert late.execution == "late"
    fact = next(fact for fact in facts(late) if fact.question == "On time")
    assert fact.answer == f"{late.delays.iloc[0]['sharpe']:.2f}"


def test_the_statistics_of_either_execution_are_those_of_its_own_days(tmp_path: Path) -> None:
    """Late returns here are half of those on time, and their costs too: ratios are the same."""
    made = fake_run(tmp_path / "run")
    runs = read_runs(made)
    assert list(runs) == ["on-time", "late"]
    on_time, late = (gather_evidence(runs, execution) for execution in ("on-time", "late"))
    for name in ("sharpe", "sharpe_error", "probabilistic", "deflated", "break_even_bps"):
        np.testing.assert_allclose(late.agents[name], on_time.agents[name], err_msg=name)
    np.testing.assert_allclose(late.agents["iqm"], on_time.agents["iqm"] - 0.2)
    record = json.loads((made / "run.json").read_text())
    record["config"]["rank_by"] = "late"
    (made / "run.json").write_text(json.dumps(record))
    assert list(read_runs(made)) == ["late", "on-time"]
    assert read_run(made).execution == "late"
    assert read_run(made, "on-time").execution == "on-time"


def test_all_agents_are_held_against_cash_at_once(tmp_path: Path) -> None:
    agents = {"quantnet": 2, "macd": 1, "flat": 1}
    made = fake_run(tmp_path / "run", agents, edge={"quantnet": 25.0, "macd": 0.0, "flat": 0.0})
    runs = read_runs(made)
    found = gather_evidence(runs)
    verdict = found.agents.set_index("agent")
    days = runs["on-time"].portfolio
    days = (
        days[days["cost_bps"] == 2.0].pivot(index="date", columns=["agent", "seed"], values="net_10").dropna()
    )
    net = np.column_stack([days[agent].mean(axis=1) for agent in verdict.index])
    expected = stepwise_superior(net, seed=0)
    assert verdict["beats_cash"].tolist() == expected.tolist()
    assert verdict.loc["quantnet", "beats_cash"]
    assert not verdict.loc["macd", "beats_cash"]
    assert verdict["may_be_best"].tolist() == confidence_set(net, seed=0).included.tolist()
    assert found.superiority == superior_predictive_ability(net, seed=0)
    page = write_report(made).read_text()
    assert "Better than cash" in page
    assert "May be the best" in page


def test_break_even_and_the_cost_curve_are_of_the_stored_portfolio(run: Run, found: Evidence) -> None:
    level = found.agents.set_index("agent")["break_even_bps"]["macd"]
    rows = run.portfolio[(run.portfolio["cost_bps"] == 2.0) & (run.portfolio["agent"] == "macd")]
    assert level == pytest.approx(1e4 * rows["gross"].mean() / 0.08)
    curve = cost_curve(run)
    net = net_of(run, "macd", 0)
    assert curve["macd"][2.0] == pytest.approx(252**0.5 * net.mean() / net.std())
    assert curve.index[[0, -1]].tolist() == [0.0, 20.0]
    assert (curve.diff().iloc[1:] < 0).all().all()


def test_audits_are_read_from_the_units_and_refusals_from_the_record(tmp_path: Path) -> None:
    failed = [
        {"agent": "ppo", "seed": 0, "window": "", "kind": "LookAheadError", "error": "LookAheadError: x"}
    ]
    made = fake_run(tmp_path / "run", record={"failed": failed})
    audit = {"comparisons": [{"what": "a", "decisions": 1000}, {"what": "b", "decisions": 234}], "active": 3}
    for unit, said in (
        ("macd-seed0", audit),
        ("quantnet-seed1", audit),
        ("my_package.my_module--Lucky-seed0", audit | {"active": 0}),
    ):
        (made / "units" / unit).mkdir(parents=True)
        (made / "units" / unit / "audit.json").write_text(json.dumps(said | {"around": 7, "assets": 5}))
    run = read_run(made)
    assert audit_verdict(run, "macd") == "passed: 1,234 decisions"
    assert audit_verdict(run, "quantnet") == "passed: 1,234 decisions, 1 of 2 units"
    assert audit_verdict(run, IMPORTED) == "passed: 1,234 decisions, 1 of 5 units, but it held nothing"
    assert audit_verdict(run, MARKUP) == "not audited"
    assert audit_verdict(run, "ppo") == "refused"
    page = write_report(made).read_text()
    assert "3 of 4" in page
    assert "Refused: ppo." in page


def test_one_agent_alone_is_not_compared(tmp_path: Path) -> None:
    made = fake_run(tmp_path / "run", {"macd": 1})
    found = gather_evidence(read_runs(made))
    assert (found.overfitting, found.ranking, len(found.differences)) == (None, None, 0)
    assert "No market in which all agents have a score" in write_report(made).read_text()


def test_the_statistics_are_on_the_page_and_in_files(folder: Path, own: str) -> None:
    assert 'id="honesty"' in own
    assert "9 agents and seeds of this run" in own
    assert "treats assets as independent" in own
    assert "A bar joins agents whose ranks do not differ" in own
    assert 'id="probes"' not in own
    for name in TABLES:
        assert len(pd.read_csv(folder / "tables" / f"{name}.csv")) > 0
        assert r"\begin{table}" in (folder / "tables" / f"{name}.tex").read_text()
    record = json.loads((folder / "honesty.json").read_text())
    for execution in ("on-time", "late"):
        assert record[execution]["trials"]["units"] == 9
        assert 0.0 <= record[execution]["overfitting"]["probability"] <= 1.0


def test_probes_of_the_run_are_shown(tmp_path: Path) -> None:
    made = fake_run(tmp_path / "run")
    row = {"probe": "trend", "agent": "macd", "measure": "share", "seeds": 3, "value": -0.5, "low": -0.6}
    probes = pd.DataFrame([row | {"high": -0.4, "bar": ">= 0.5", "verdict": "fail"}])
    probes.to_csv(made / "probes.csv", index=False)
    page = write_report(made).read_text()
    assert 'id="probes"' in page
    assert "[\N{MINUS SIGN}0.60, \N{MINUS SIGN}0.40]" in page
    probes.drop(columns="bar").to_csv(made / "probes.csv", index=False)
    with pytest.raises(DataError, match=r"probes\.csv: lacks the columns bar"):
        write_report(made)


def test_the_tables_of_the_papers_study_are_shown(tmp_path: Path) -> None:
    made = fake_run(tmp_path / "run")
    assert 'id="study"' not in write_report(made).read_text()
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "exhibit3.txt").write_text("Exhibit 3\nLong only  <0.76>\n")
    (tmp_path / "tables" / "notes.txt").write_text("captions")
    (tmp_path / "study.json").write_text("{}")
    page = write_report(made).read_text()
    assert '<pre class="wide">Exhibit 3\nLong only  &lt;0.76&gt;</pre>' in page
    assert "captions</pre>" not in page


def test_the_figure_of_ranks_places_agents_and_joins_those_alike() -> None:
    ranking = rank_agents(pd.DataFrame(np.tile([4.0, 3, 2, 1], (20, 1)), columns=list("abcd")))
    same = LineStyle(name="", label="", learns=False, colour="", dash="solid")
    figure = rank_figure(ranking, dict.fromkeys("abcd", same))
    assert [row.text for row in figure.rows] == ["1.00", "2.00", "3.00", "4.00"]
    assert [row.x for row in figure.rows] == [x for x, _ in figure.ticks]
    # Critical difference 1.05: neighbours are alike; three bars in lanes of their own.
    assert [(start, stop) for _, start, stop in figure.bars] == [(11.0, 33.0), (33.0, 55.0), (55.0, 77.0)]
    assert len({x for x, _, _ in figure.bars}) == 3
    assert max(x for x, _, _ in figure.bars) < figure.width


def test_paths_average_over_seeds_and_ruin_is_final() -> None:
    found = path(np.array([[0.5, -1.5], [0.0, 3.0]]))
    np.testing.assert_allclose(found.growth, [0.75, 0.75])
    np.testing.assert_allclose(found.drawdown, [-0.5, -0.5])


def test_thinning_keeps_the_deepest_drawdown_and_the_last_growth() -> None:
    curve = Curve(np.array([1.0, 0.5, 1.0, 1.1, 1.2]), np.array([0.0, -0.5, 0.0, 0.0, np.nan]), 0)
    found = thin(curve, 3)
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


def test_the_scale_of_the_cost_figure_is_that_of_agents_that_can_pay() -> None:
    curve = pd.DataFrame({"calm": [1.0, 0.8, 0.6], "ruined": [0.9, -20.0, -41.0]}, index=[0.0, 10.0, 20.0])
    low, high = cost_scale(curve)
    assert low == pytest.approx(-2.0 - 0.15)
    assert high == pytest.approx(1.0 + 0.15)
    low, high = cost_scale(curve[["calm"]])
    assert (low, high) == pytest.approx((0.6 - 0.02, 1.0 + 0.02))
    assert cost_scale(curve * np.nan) == (-1.0, 1.0)

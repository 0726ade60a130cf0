"""QuantNet's tables and figures: numbers worked by hand, laws, and every file from a fabricated run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.papers.config import late_trained
from experiments.papers.quantnet import published
from experiments.papers.quantnet.ablation import table_7
from experiments.papers.quantnet.artefacts import write_ablation, write_artefacts
from experiments.papers.quantnet.bootstrap import day_counts, intervals, resampled_sharpe, row_median
from experiments.papers.quantnet.clusters import cluster, cluster_table
from experiments.papers.quantnet.comparisons import (
    counts_table,
    differences,
    executions_table,
    kolmogorov_smirnov,
    wilcoxon,
)
from experiments.papers.quantnet.comparisons import tests_table as paper_tests_table
from experiments.papers.quantnet.drawing import name_points
from experiments.papers.quantnet.factors import FACTORS, explain, hac_lags, read_factors, table_6
from experiments.papers.quantnet.figures import cluster_map, cumulative
from experiments.papers.quantnet.market_tables import by_country_table, by_size_table, line, lines_table
from experiments.papers.quantnet.measure import (
    MarketDays,
    Measured,
    Pair,
    daily,
    drawn_pairs,
    late_trained_pairs,
    measure,
    named_markets,
    pairs,
)
from experiments.papers.quantnet.places import read_places, with_places
from experiments.papers.quantnet.tables import (
    UNDEFINED,
    bracketed,
    label,
    summary,
    table_1,
    table_5,
    tables_1,
    tables_3,
)
from experiments.papers.quantnet.world import code_of, codes_of, squares
from experiments.results.tables import market_days, portfolio_table, results_table
from experiments.storage.manifest import Manifest
from experiments.storage.store import RunFolder, unit_name
from qn_env.errors import ConfigError, DataError
from qn_env.objectives import sharpe

NAN = np.nan
PAIR = Pair("quantnet", "no-transfer-lstm")
MARKETS = {"Alpha": 3, "Beta $": 2, "Gamma <i>": 4}  # assets
AGENTS = {"quantnet": 2, "quantnet-shared": 2, "no-transfer-lstm": 2, "buy-and-hold": 1}  # seeds
T = 150
LOST_LATE = 0.0005
STUDY = {
    "budget": {"trials": 3, "steps_a_trial": 40},
    "trials": [
        {
            "agent": "quantnet",
            "trial": i,
            "options": {"batch": 16 * (i + 1)},
            "score": 0.1 * i,
            "seconds": 2.0,
        }
        for i in range(3)
    ],
    "chosen": {
        "quantnet": {
            "trial": 2,
            "options": {"batch": 48, "learning_rate": 0.0123, "dimension": 10},
            "score": 0.2,
        }
    },
}


def block_of(market: str) -> pd.DatetimeIndex:
    """A market's test days; the blocks overlap in part."""
    return pd.bdate_range("2020-01-01", periods=T + 40)[20 * list(MARKETS).index(market) :][:T]


def record_of(counts: Mapping[str, int], **entries: Any) -> dict[str, Any]:
    markets = [
        {"market": market, "assets": n, "train": 500 + 100 * i, "select": T, "test": T, "shortened": False}
        | {"test_first": f"{block_of(market)[0]:%Y-%m-%d}", "test_last": f"{block_of(market)[-1]:%Y-%m-%d}"}
        for i, (market, n) in enumerate(MARKETS.items())
    ]
    made = {
        "config": {"seed": 0, "quick": False, "costs": [0.0, 10.0]}
        | {"agents": list(counts), "begin": None, "execution_lag": 0},
        "panel": {"first": "2015-01-01", "last": "2020-12-31", "assets": 9, "notes": ["<Survivors> only."]}
        | {"markets": markets, "fingerprint": "0123", "windows": [""]},
        "agents": {a: agent_record(a) | {"learns": n > 1, "seeds": [*range(n)]} for a, n in counts.items()},
        "versions": {},
        "git": None,
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 1.0,
        "failed": [{"agent": "quantnet", "seed": 9, "error": "ValueError: <loss>"}],
    }
    return made | {k: made["config"] | v if k == "config" else v for k, v in entries.items()}


def agent_record(name: str) -> dict[str, Any]:
    settings = {"options": {}, "windows": {}, "vol_target": None, "train_cost_bps": 0.0, "warmup": 0}
    return {"agent": name, "learns": True, "seeds": [0]} | settings


def unit_days(rng: np.random.Generator, agent: str) -> pd.DataFrame:
    """A unit's days: the last asset of Gamma is flat for buy-and-hold, the first is listed late."""
    parts = []
    for market, n in MARKETS.items():
        gross = rng.normal(0.001, 0.01, (T, n))
        listed = np.ones((T, n), dtype=bool)
        if market.startswith("Gamma"):
            listed[:30, 0] = False
            if agent == "buy-and-hold":
                gross[:, -1] = 0.0
        frame = pd.DataFrame({"date": block_of(market).repeat(n), "market": market})
        frame["asset"] = [f"{market[0]}{i}" for i in range(n)] * T
        frame["gross"], frame["turnover"] = (
            np.where(listed, gross, 0.0).ravel(),
            np.where(listed, 0.1, 0).ravel(),
        )
        # What waiting loses: the same on every day that is not flat.
        frame["gross_late"] = np.where(frame["gross"] == 0.0, 0.0, frame["gross"] - LOST_LATE)
        frame["turnover_late"] = frame["turnover"]
        frame["weight"] = frame["weight_late"] = 0.0
        frame["listed"] = frame["counted"] = frame["traded"] = listed.ravel()
        parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def fake_run(folder: Path, counts: Mapping[str, int] = AGENTS, **entries: Any) -> RunFolder:
    """A run as the runner writes it, of random daily returns."""
    run, rng, results = RunFolder.create(folder), np.random.default_rng(3), []
    record = record_of(counts, **entries)
    blocks = pd.DataFrame(record["panel"]["markets"])
    for agent, seeds in counts.items():
        for seed in range(seeds):
            days = unit_days(rng, agent)
            target = folder / "units" / unit_name(agent, seed)
            target.mkdir(parents=True)
            days.to_parquet(target / "daily.parquet")
            Manifest.of(target).write()
            by_market = market_days(days)
            whole = portfolio_table(by_market, blocks, [0.0, 10.0])
            results.append(results_table(days, by_market, whole, [0.0, 10.0]).assign(agent=agent, seed=seed))
    run.write_results(pd.concat(results).assign(run="fake", split="test"))
    run.write_record(record)
    run.finish()
    return run


def figures_run(folder: Path, sharpes: Mapping[str, Sequence[float]]) -> Measured:
    """A run whose per-asset Sharpe ratios are given, over the assets of Alpha, Beta and Gamma in order."""
    run = RunFolder.create(folder)
    assets = [(market, f"{market[0]}{i}") for market, n in MARKETS.items() for i in range(n)]
    rows = [
        (agent, market, asset, metric, value)
        for agent, values in sharpes.items()
        for (market, asset), value in zip(assets, values, strict=True)
        for metric in (m.name for m in published.METRICS)
    ]
    table = pd.DataFrame(rows, columns=["agent", "market", "asset", "metric", "value"])
    run.write_results(table.assign(run="x", split="test", execution="on-time", seed=0, cost_bps=0.0))
    run.write_record(record_of(dict.fromkeys(sharpes, 1)))
    run.finish()
    return measure(run)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return fake_run(tmp_path_factory.mktemp("paper") / "run")


def factor_table(days: int = 400, seed: int = 1) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(0, 0.01, (days, 7))
    table = pd.DataFrame(values, columns=[*FACTORS, "rf"])
    table.insert(0, "date", pd.bdate_range("2019-10-01", periods=days).strftime("%Y-%m-%d"))
    return table


def scores() -> dict[str, np.ndarray]:
    return {market: np.full(4, float(i)) for i, market in enumerate(MARKETS)}


@pytest.fixture(scope="module")
def written(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    factor_table().to_csv(folder / "factors.csv", index=False)
    write_all(run, folder)
    return folder


def write_all_of(run: RunFolder, folder: Path) -> Path:
    """Everything, of a run without factors beside it."""
    factor_table().to_csv(folder / "factors.csv", index=False)
    return write_all(run, folder)


def write_all(run: RunFolder, folder: Path) -> Path:
    return write_artefacts(
        run,
        folder / "out",
        study=STUDY,
        scores=scores(),
        places=pd.DataFrame({"market": list(MARKETS), "region": "R", "country": ["X", "X", "Y"]}),
        factors=folder / "factors.csv",
        named=["Gamma <i>", "Alpha"],
    )


# ---- Table 1


def test_table_1_is_numpys_median_and_the_deviations_worked_by_hand(tmp_path: Path) -> None:
    values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 17.0]
    data = table_1(figures_run(tmp_path / "run", {"quantnet": values}), None)
    row = data[data["metric"] == "sharpe"].iloc[0]
    assert row["median"] == np.median(values) == 4.0
    assert row["mean"] == 5.0
    assert row["mean_deviation"] == pytest.approx((5 + 4 + 3 + 2 + 1 + 0 + 1 + 2 + 12) / 9)
    assert row["median_deviation"] == 2.0
    assert row["sd"] == pytest.approx(np.std(values, ddof=1))
    assert (row["published_median"], row["published_mean_deviation"]) == (0.354776, 0.57218)


def test_an_assets_figure_is_the_mean_over_seeds(run: RunFolder) -> None:
    results, found = run.results(), measure(run).of("sharpe")
    rows = results[(results["agent"] == "quantnet") & (results["asset"] == "A1") & (results["cost_bps"] == 0)]
    each = rows[(rows["metric"] == "sharpe") & (rows["execution"] == "on-time")]["value"]
    assert len(each) == 2
    assert found.loc[("Alpha", "A1"), "quantnet"] == pytest.approx(each.mean())


def test_undefined_values_are_counted_and_shown(run: RunFolder) -> None:
    measured = measure(run)
    data = table_1(measured, None)
    flat = data[(data["agent"] == "buy-and-hold") & (data["metric"] == "sharpe")].iloc[0]
    assert (flat["assets"], flat["undefined"], flat["undefined_values"]) == (8, 1, 1)
    shown = tables_1(measured, None)[0].shown.set_index("Metric")
    assert "SR, undefined" not in shown.index, "no row of zeros"
    told = shown.loc["SR"].str.extract(r", (\d+) undefined$")[0].dropna()
    assert told.to_dict() == {"Buy and hold": "1"}
    assert summary(pd.Series([NAN]))["undefined"] == 1


def test_published_values_stand_beside_ours(run: RunFolder) -> None:
    shown = tables_1(measure(run), None)[0].shown.set_index("Metric")
    assert shown.loc["SR, paper", "QuantNet"] == "0.3548 (0.572)"
    assert shown.loc["SR, paper", "QuantNet Shared"] == UNDEFINED


def test_the_published_headline_is_the_specifications() -> None:
    medians = published.read_published("table1").pivot(index="agent", columns="metric", values="median")
    assert {agent: (row["sharpe"], row["calmar"]) for agent, row in medians.iterrows()} == {
        "quantnet": (0.354776, 0.241255),
        "no-transfer-linear": (0.306572, 0.169345),
        "no-transfer-lstm": (0.304244, 0.158987),
        "cs-momentum": (0.234583, 0.143195),
        "ts-momentum": (0.226471, 0.139599),
        "risk-parity": (0.155560, 0.095516),
        "buy-and-hold": (0.000051, 0.000040),
    }
    table_7, table_5 = (
        published.read_published(name).set_index(keys)
        for name, keys in (
            ("table7", ["configuration", "dimension"]),
            ("table5", ["market", "agent", "metric"]),
        )
    )
    four = ["mean", "sd", "median", "mean_deviation"]
    assert [*table_7.loc[("LSTM-Linear", 10), four]] == [0.370918, 0.715636, 0.354776, 0.572184]
    of_quantnet, without = ("SASEIDX", "quantnet", "sortino"), ("SPX", "no-transfer-linear", "cagr")
    assert [*table_5.loc[of_quantnet, four]] == [2.587949, 1.344404, 2.315208, 1.124332]
    assert [*table_5.loc[without, four]] == [0.000133, 0.001259, 0.000197, 0.000982]


# ---- Intervals


def random_days(rng: np.random.Generator, first: int, T: int, N: int) -> MarketDays:
    counted = rng.random((T, N)) < 0.9
    dates = np.arange("2020-01-01", "2021-01-01", dtype="datetime64[D]")[first : first + T]
    units = [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    net = {unit: np.where(counted, rng.normal(0.001, 0.01, (T, N)), 0.0) for unit in units}
    return MarketDays(dates, tuple(f"{i}" for i in range(N)), counted, counted, net)


def test_sharpe_ratios_from_sums_equal_those_of_the_resampled_days(rng: np.random.Generator) -> None:
    days = random_days(rng, 0, 40, 3)
    counts = day_counts(40, 5.0, rng, 6)
    fast = resampled_sharpe(days.net["a", 0], days.counted.astype(float), counts)
    for r in range(6):
        rows = np.repeat(np.arange(40), counts[r].astype(int))
        np.testing.assert_allclose(
            fast[r], sharpe(days.net["a", 0][rows], days.counted[rows], axis=0), rtol=1e-10
        )


def test_intervals_equal_those_of_a_slow_plain_loop(rng: np.random.Generator) -> None:
    markets = {"X": random_days(rng, 0, 60, 2), "Y": random_days(rng, 20, 60, 3)}
    seeds, pair = {"a": (0, 1), "b": (0, 1)}, Pair("a", "b")
    found = intervals(markets, seeds, [pair], seed=4, replications=30)
    again = np.random.default_rng(4)
    counts = day_counts(80, found.block, again, 30)
    draw = (again.random((30, 2)) * 2).astype(int)
    medians: dict[str, list[float]] = {"a": [], "b": []}
    paired = []
    for r in range(30):
        ratios = {}
        for agent in seeds:
            own = []
            for days, first in ((markets["X"], 0), (markets["Y"], 20)):
                rows = np.repeat(np.arange(60), counts[r, first : first + 60].astype(int))
                for k in range(len(days.assets)):
                    each = [
                        float(sharpe(days.net[agent, int(s)][rows, k], days.counted[rows, k]))
                        for s in draw[r]
                    ]
                    own.append(np.mean(each))
            ratios[agent] = np.array(own)
            medians[agent].append(float(np.median(own)))
        paired.append((ratios["a"] - ratios["b"]).mean())
    np.testing.assert_allclose(found.median["a"], np.quantile(medians["a"], [0.025, 0.975]))
    difference = np.array(medians["a"]) - np.array(medians["b"])
    np.testing.assert_allclose(found.difference[pair], np.quantile(difference, [0.025, 0.975]))
    np.testing.assert_allclose(found.paired[pair], np.quantile(paired, [0.025, 0.975]))


def test_identical_strategies_differ_by_exactly_nothing(rng: np.random.Generator) -> None:
    days = random_days(rng, 0, 60, 4)
    for seed in (0, 1):
        days.net["b", seed] = days.net["a", seed]
    pair = Pair("a", "b")
    found = intervals({"X": days}, {"a": (0, 1), "b": (0, 1)}, [pair], seed=0, replications=20)
    assert found.difference[pair] == (0.0, 0.0)
    assert found.paired[pair] == (0.0, 0.0)
    assert found.median["a"] == found.median["b"]


def test_a_strategy_that_never_trades_has_no_interval(rng: np.random.Generator) -> None:
    days = random_days(rng, 0, 30, 2)
    days.net["a", 0] = np.zeros((30, 2))
    found = intervals({"X": days}, {"a": (0,)}, [], seed=0, replications=5)
    assert np.isnan(found.median["a"]).all()


def test_medians_leave_out_what_is_undefined() -> None:
    rows = np.array([[3.0, NAN, 1.0], [1.0, 2.0, 9.0], [NAN, NAN, NAN]])
    np.testing.assert_array_equal(row_median(rows), [2.0, 2.0, NAN])


# ---- Pairs, section 4.2 and the numbers behind the figures


def test_the_linear_model_without_transfer_is_drawn_first_as_in_the_paper_and_every_pair_is_tabled() -> None:
    agents = ["quantnet-shared", "no-transfer-linear", "quantnet", "no-transfer-lstm"]
    linear = Pair("quantnet", "no-transfer-linear")
    assert len(pairs(agents)) == 4
    assert drawn_pairs(agents) == [linear, PAIR, Pair("quantnet-shared", "no-transfer-linear")]
    assert drawn_pairs(["quantnet", "no-transfer-linear"]) == [Pair("quantnet", "no-transfer-linear")]
    assert drawn_pairs(["quantnet", "buy-and-hold"]) == []


def test_differences_leave_out_assets_undefined_on_either_side(tmp_path: Path) -> None:
    first = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, NAN]
    second = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    measured = figures_run(tmp_path / "run", {"quantnet": first, "no-transfer-lstm": second})
    row = differences(measured, None, [PAIR]).iloc[0]
    assert row["median_difference"] == 4.5 - 1.0
    assert row["mean_difference"] == pytest.approx((36 - 7) / 8)
    assert (row["assets"], row["undefined"]) == (8, 1)


def test_assets_above_a_sharpe_ratio_of_one_are_counted(tmp_path: Path) -> None:
    values = [1.0, 1.1, 2.0, -3.0, NAN, 0.0, 1.5, 0.9, 0.0]
    data = counts_table(figures_run(tmp_path / "run", {"quantnet": values})).data
    assert data[["above_one", "assets", "undefined", "published"]].iloc[0].tolist() == [3, 9, 1, 583]


def test_rank_and_distribution_tests_by_hand() -> None:
    # Differences 1, -2, 3: ranks 1, 2, 3; the negative ones sum to 2.
    assert wilcoxon(np.array([2.0, -1.0, 4.0]), np.ones(3))[0] == 2.0
    assert np.isnan(wilcoxon(np.ones(3), np.ones(3))).all()
    assert kolmogorov_smirnov(np.array([0.0, 1.0]), np.array([2.0, 3.0]))[0] == 1.0
    assert kolmogorov_smirnov(np.array([0.0, 2.0]), np.array([1.0, 3.0]))[0] == 0.5


def test_published_tests_stand_beside_the_papers_own_pair_only(tmp_path: Path) -> None:
    ramp = np.arange(9.0)
    made = {"quantnet": ramp + 1, "no-transfer-lstm": ramp, "no-transfer-linear": ramp - 1}
    measured = figures_run(tmp_path / "run", made)
    data = paper_tests_table(measured, pairs(measured.agents)).data
    assert data.groupby("reference")["published"].count().to_dict() == {
        "no-transfer-linear": 3,
        "no-transfer-lstm": 0,
    }
    assert data["statistic"].iloc[0] == 0.0  # every difference is positive


def test_relative_differences_are_averaged_by_country(tmp_path: Path) -> None:
    # Market averages: strategy 2, 1, 3; reference 1, -2, 0.
    strategy = [2.0] * 3 + [1.0] * 2 + [3.0] * 4
    reference = [1.0] * 3 + [-2.0] * 2 + [0.0] * 4
    measured = figures_run(tmp_path / "run", {"quantnet": strategy, "no-transfer-lstm": reference})
    places = with_places(
        pd.DataFrame({"market": list(MARKETS), "region": "", "country": ["X", "X", "Y"]}), list(MARKETS)
    )
    data = by_country_table(measured, [PAIR], places).data.set_index("country")
    assert data.loc["X", "relative"] == pytest.approx((100.0 + 150.0) / 2)
    assert data.loc["X", "markets"] == 2
    assert np.isnan(data.loc["Y", "relative"])


def test_differences_are_grouped_by_training_days_and_by_size(tmp_path: Path) -> None:
    strategy = [1.0, 2.0, 3.0, 5.0, 7.0, 0.0, 0.0, 0.0, NAN]
    made = {"quantnet": strategy, "no-transfer-lstm": [0.0] * 9}
    measured = figures_run(tmp_path / "run", made)
    by_days = by_size_table(measured, [PAIR], "fig5b", "train").data
    assert by_days["group"].tolist() == ["500", "600", "700"]
    assert by_days["mean"].tolist() == [2.0, 6.0, 0.0]
    assert by_days["undefined"].tolist() == [0, 0, 1]
    by_assets = by_size_table(measured, [PAIR], "fig5c", "assets").data
    assert by_assets["group"].tolist() == ["2", "3", "4"]
    assert by_assets["mean"].tolist() == [6.0, 2.0, 0.0]


def test_the_fitted_line_has_statsmodels_p_values(rng: np.random.Generator) -> None:
    import statsmodels.api as sm

    x = rng.normal(size=20)
    y = 0.2 + 0.7 * x + 0.3 * rng.normal(size=20)
    found, fitted = line(x, y), sm.OLS(y, sm.add_constant(x)).fit()
    np.testing.assert_allclose([found["intercept"], found["slope"]], fitted.params)
    np.testing.assert_allclose([found["intercept_p"], found["slope_p"]], fitted.pvalues)
    assert np.isnan(line(np.ones(5), x[:5])["slope"])
    assert line(np.array([0.0, 1.0, NAN]), np.array([0.0, 1.0, 2.0]))["markets"] == 2


def test_identical_strategies_lie_on_the_line_of_equality(tmp_path: Path) -> None:
    values = np.arange(9.0)
    measured = figures_run(tmp_path / "run", {"quantnet": values, "no-transfer-lstm": values})
    data = lines_table(measured, [PAIR]).data
    np.testing.assert_allclose(data["slope"], 1.0)
    np.testing.assert_allclose(data["intercept"], 0.0, atol=1e-12)


# ---- Single markets


def test_a_markets_return_is_the_mean_over_its_listed_assets() -> None:
    listed = np.array([[True, True], [True, False], [False, False]])
    net = {("quantnet", 0): np.array([[0.02, 0.04], [0.10, 0.0], [0.0, 0.0]])}
    days = MarketDays(np.arange(3).astype("datetime64[D]"), ("a", "b"), listed, listed, net)
    np.testing.assert_allclose(days.market_net("quantnet", [0]), [[0.03, 0.10, NAN]])


def test_daily_returns_pay_the_cost(run: RunFolder) -> None:
    gross, net = (days["Alpha"].net["quantnet", 1] for days in daily(run, measure(run), measure(run, 10.0)))
    np.testing.assert_allclose(gross - net, 10e-4 * 0.1)
    days = run.unit_days(unit_name("quantnet", 1))
    own = days[days["market"] == "Alpha"].pivot(index="date", columns="asset", values="gross")
    np.testing.assert_array_equal(gross, own.to_numpy())


def test_late_figures_are_of_the_late_returns(run: RunFolder) -> None:
    on_time, late = measure(run), measure(run, execution="late")
    of_both = daily(run, on_time, late)
    own, waited = (days["Alpha"].net["quantnet", 1] for days in of_both)
    np.testing.assert_allclose(own - waited, LOST_LATE)
    both = [sharpe(of_both[1]["Alpha"].net["quantnet", s][:, 1]) for s in (0, 1)]
    assert late.of("sharpe").loc[("Alpha", "A1"), "quantnet"] == pytest.approx(np.mean(both))
    assert (on_time.basis, late.basis) == ("before costs", "before costs, traded one day late")


def test_late_medians_stand_beside_those_on_time(run: RunFolder) -> None:
    on_time, late = measure(run), measure(run, execution="late")
    found = [
        intervals(days, on_time.seeds, [PAIR], seed=0, replications=50) for days in daily(run, on_time, late)
    ]
    data = executions_table(on_time, late, *found).data.set_index("agent")
    for agent in AGENTS:
        assert data.loc[agent, "on_time"] == np.nanmedian(on_time.of("sharpe")[agent])
        assert data.loc[agent, "late"] == np.nanmedian(late.of("sharpe")[agent])
        assert data.loc[agent, "late_low"] <= data.loc[agent, "late"] <= data.loc[agent, "late_high"]
    assert data["share_less"].eq(1.0).all(), "each asset lost the same on every day"
    assert data["assets"].to_dict() == dict.fromkeys(AGENTS, 9) | {"buy-and-hold": 8}
    again = executions_table(on_time, on_time, found[0], found[0]).data
    assert again["share_less"].eq(0.0).all(), "equal ones are not less"


def test_models_trained_for_the_delay_stand_beside_those_that_never_met_it(tmp_path: Path) -> None:
    late = [late_trained(agent) for agent in PAIR]
    run = fake_run(tmp_path / "run", {**AGENTS, **dict.fromkeys(late, 2)})
    measured = measure(run)
    assert measured.agents == list(AGENTS)
    assert late_trained_pairs(measured) == [Pair(*late)]
    assert label(late[0]) == "QuantNet, trained late"
    write_all_of(run, tmp_path)
    tables = tmp_path / "out" / "tables"
    table = pd.read_csv(tables / "table1-late.csv").set_index("agent")
    waited = measure(run, execution="late").of("sharpe")
    for agent, trained in zip(PAIR, late, strict=True):
        assert table.loc[agent, "trained_late"] == pytest.approx(np.nanmedian(waited[trained]))
    assert np.isnan(table.loc["buy-and-hold", "trained_late"])
    pairs = pd.read_csv(tables / "table1-differences-late-trained-late.csv")
    assert pairs[["strategy", "reference"]].to_numpy().tolist() == [late]
    difference = np.nanmedian(waited[late[0]]) - np.nanmedian(waited[late[1]])
    assert pairs["median_difference"].iloc[0] == pytest.approx(difference)
    assert not set(late) & set(pd.read_csv(tables / "table1.csv")["agent"])
    lines = (tables / "table1.txt").read_text().splitlines()
    (head,) = (line for line in lines if "assets with less" in line)
    assert "trained late" in head
    # Intervals on time are of the same resampled days with and without these models.
    alone = pd.read_csv(tables / "table1.csv").query("metric == 'sharpe'").set_index("agent")
    own = {agent: measured.seeds[agent] for agent in AGENTS}
    found = intervals(*daily(run, measured), own, [PAIR], seed=0)
    assert alone.loc["quantnet", "median_low"] == pytest.approx(found.median["quantnet"].low)


def test_cumulative_returns_are_the_mean_of_the_seeds_growth(run: RunFolder) -> None:
    measured = measure(run)
    (markets,) = daily(run, measured)
    data = cumulative(markets, measured, ["quantnet"], ["Alpha"], scaled=False)
    each = [np.prod(1 + markets["Alpha"].net["quantnet", s].mean(axis=1)) - 1 for s in (0, 1)]
    assert data["quantnet"].iloc[-1] == pytest.approx(np.mean(each))
    scaled = cumulative(markets, measured, ["quantnet"], ["Alpha"], scaled=True)
    assert scaled["quantnet"].isna().sum() == 21  # no estimate before 21 days
    assert np.isfinite(scaled["quantnet"].iloc[-1])


def test_units_judged_on_other_days_are_refused(tmp_path: Path) -> None:
    made = fake_run(tmp_path / "run", {"quantnet": 2})
    path = made.path / "units" / "quantnet-seed1" / "daily.parquet"
    pd.read_parquet(path).iloc[:-4].to_parquet(path)
    Manifest.of(path.parent).write()
    with pytest.raises(DataError, match=r"quantnet-seed1.*'Gamma <i>' has other days or assets"):
        daily(made, measure(made))


def test_table_5_is_table_1_of_one_market(run: RunFolder) -> None:
    measured = measure(run)
    places = with_places(None, ["Alpha"])
    table = table_5(measured, ["Alpha"], ["quantnet"], places)
    data = table.data.set_index("metric")
    assert not table.shown["Market"].str.endswith("paper").any(), "the paper has no such market"
    own = measured.of("calmar").loc["Alpha", "quantnet"]
    assert data.loc["calmar", "median"] == np.median(own)
    assert data.loc["calmar", "sd"] == pytest.approx(np.std(own, ddof=1))


def test_table_5_has_the_papers_figures_of_the_same_country_below_ours(run: RunFolder) -> None:
    measured = measure(run)
    places = with_places(None, ["Alpha", "Beta $"])
    places.loc["Alpha", "country"] = "south korea"
    table = table_5(measured, ["Alpha", "Beta $"], ["quantnet", "no-transfer-lstm"], places)
    printed = published.read_published("table5").set_index(["market", "metric", "agent"])
    kospi = printed.loc[("KOSPI", "sharpe", "quantnet")]
    shown = table.shown.set_index(["Market", "Metric"])
    below = shown.loc[("KOSPI, paper", "SR")]
    assert below["QuantNet: mean (SD)"] == bracketed(kospi["mean"], kospi["sd"])
    assert below["QuantNet: median (MAD)"] == bracketed(kospi["median"], kospi["mean_deviation"])
    assert below["No Transfer LSTM: mean (SD)"] == UNDEFINED, "it prints another strategy"
    assert list(table.shown["Market"].unique()) == ["Alpha", "KOSPI, paper", "Beta $"]


def test_every_country_of_the_map_has_a_square_of_its_own_near_its_place() -> None:
    places = [(square.column, square.row) for square in squares().values()]
    assert len(set(places)) == len(places) > 100
    # East of, and north of: as on any map.
    for left, right in (("US", "GB"), ("GB", "PL"), ("IN", "JP"), ("BR", "ZA"), ("CA", "RU")):
        assert squares()[left].column < squares()[right].column
    for above, below in (("CA", "US"), ("US", "MX"), ("SE", "IT"), ("CN", "AU"), ("FI", "ZA")):
        assert squares()[above].row < squares()[below].row
    assert code_of("united states") == code_of("us") == "US"
    assert code_of("Namibia") == "NA"


def test_markets_that_are_countries_get_a_map_and_others_do_not() -> None:
    places = pd.DataFrame({"country": ["Japan", "US", "US"]}, index=["TPX", "SPX", "NDX"])
    codes = codes_of(places)
    assert codes is not None
    assert codes.to_dict() == {"TPX": "JP", "SPX": "US", "NDX": "US"}
    assert codes_of(places.replace("Japan", "energy")) is None
    clusters = cluster({"TPX": np.array([1.0, 0.0]), "SPX": np.array([0.0, 1.0])})
    figure = cluster_map(clusters, {"TPX": "JP", "SPX": "US"}).draw()
    (axes,) = figure.axes
    assert sorted(text.get_text() for text in axes.texts) == ["JP", "US"]
    colours = {patch.get_facecolor() for patch in axes.patches}
    assert len(colours) == 3  # two clusters, and the countries without a market


def test_names_stand_beside_their_points_and_not_over_each_other() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.1))
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(2, 8))
    x[1], y[1] = x[0] + 0.005, y[0] + 0.005  # two points that nearly meet
    axes.scatter(x, y)
    names = [f"market {k}" for k in range(8)]
    name_points(axes, names, np.append(x[:7], np.nan), y)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == names[:7], "none where there is no point"
    frame = axes.get_window_extent()
    for k, box in enumerate(boxes):
        assert frame.x0 <= box.x0
        assert box.x1 <= frame.x1
        assert not any(box.overlaps(other) for other in boxes[:k])


def test_the_largest_markets_are_named_and_typos_refused(run: RunFolder) -> None:
    measured = measure(run)
    assert named_markets(measured, None) == ["Gamma <i>", "Alpha", "Beta $"]
    with pytest.raises(ConfigError, match=r"no 'Alpa'\. Did you mean 'Alpha'"):
        named_markets(measured, ["Alpa"])


# ---- Table 6


def test_regression_recovers_planted_exposures_and_statsmodels_errors(rng: np.random.Generator) -> None:
    import statsmodels.api as sm

    factors = factor_table(500).set_index("date")
    factors.index = pd.to_datetime(factors.index)
    X = factors[list(FACTORS)].to_numpy()
    beta = np.array([0.5, -0.3, 0.2, 0.0, 0.1, 0.4])
    noise = np.convolve(rng.normal(0, 0.001, 504), np.ones(5) / 5, mode="valid")
    net = 0.0004 + X @ beta + noise
    found = explain(net, factors.index.to_numpy(), factors)
    assert found.coefficient["alpha"] == pytest.approx(0.0004, abs=1e-4)
    np.testing.assert_allclose([found.coefficient[f] for f in FACTORS], beta, atol=0.01)
    plain = sm.OLS(net, sm.add_constant(X)).fit()
    robust = sm.OLS(net, sm.add_constant(X)).fit(cov_type="HAC", cov_kwds={"maxlags": hac_lags(500)})
    np.testing.assert_allclose(list(found.t_ols.values()), plain.tvalues)
    np.testing.assert_allclose(list(found.t_hac.values()), robust.tvalues)
    assert (found.days, found.without, found.lags) == (500, 0, 5)
    shown = table_6({("quantnet", "X"): found}, "before costs").shown.iloc[0]
    assert "*" in shown["Beta"]


def test_days_without_factors_are_counted_not_filled(rng: np.random.Generator) -> None:
    factors = factor_table(100).set_index("date")
    factors.index = pd.to_datetime(factors.index)
    days = factors.index.append(factors.index[-3:] + pd.Timedelta(days=30))
    factors.loc[factors.index[4], "mom"] = NAN
    net = rng.normal(0, 0.01, 103)
    net[0] = NAN  # the market had no listed asset
    found = explain(net, days, factors)
    assert (found.days, found.without) == (98, 4)
    few = explain(net[:30], days[:30], factors)
    assert np.isnan(few.coefficient["alpha"])
    assert few.days == 28


@pytest.mark.parametrize(
    ("column", "row", "value", "text"),
    [
        ("smb", 3, 1.5, r"column 'smb' on 2019-10-04: found 1\.5, expected a daily return as a fraction"),
        ("rf", 0, "n/a?", r"column 'rf' on 2019-10-01: found the text 'n/a\?', expected a number"),
        ("date", 5, "4 May", r"date in data row 6 is '4 May', expected a day written YYYY-MM-DD"),
        ("date", 5, "04/10/2019", r"date in data row 6 is '04/10/2019'"),
        ("date", 2, "2019-10-02", r"date 2019-10-02 appears twice .* expected strictly increasing dates"),
    ],
)
def test_bad_factors_are_named(tmp_path: Path, column: str, row: int, value: Any, text: str) -> None:
    table = factor_table(20).astype({column: object})
    table.loc[row, column] = value
    table.to_csv(tmp_path / "factors.csv", index=False)
    with pytest.raises(DataError, match=text):
        read_factors(tmp_path / "factors.csv")


def test_factor_files_that_are_missing_short_of_columns_or_damaged_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: no such file"):
        read_factors(tmp_path / "none.csv")
    factor_table(5).drop(columns="mom").to_parquet(tmp_path / "few.parquet")
    with pytest.raises(DataError, match=r"few\.parquet: lacks the columns mom; found date"):
        read_factors(tmp_path / "few.parquet")
    (tmp_path / "bad.parquet").write_text("no table")
    with pytest.raises(DataError, match=r"bad\.parquet: cannot be read as parquet"):
        read_factors(tmp_path / "bad.parquet")


def test_factors_are_read_from_parquet_and_csv_alike(tmp_path: Path) -> None:
    table = factor_table(30)
    table.to_csv(tmp_path / "f.csv", index=False)
    table.assign(date=pd.to_datetime(table["date"]).dt.date).to_parquet(tmp_path / "f.parquet")
    pd.testing.assert_frame_equal(
        read_factors(tmp_path / "f.csv"), read_factors(tmp_path / "f.parquet"), check_index_type=False
    )


# ---- Clusters and places


def test_clusters_separate_planted_groups(rng: np.random.Generator) -> None:
    centres = 10.0 * np.eye(6)
    made = {f"m{i}": centres[i % 6] + 0.1 * rng.normal(size=6) for i in range(24)}
    found = cluster(made)
    groups = dict(zip(found.markets, found.cluster, strict=True))
    assert sorted(set(groups.values())) == [1, 2, 3, 4, 5, 6]
    assert all(groups[f"m{i}"] == groups[f"m{i % 6}"] for i in range(24))
    assert list(found.cluster) == sorted(found.cluster)  # numbered along the tree
    assert found.linkage[-6, 2] < found.threshold < found.linkage[-5, 2]


def test_a_few_markets_are_a_cluster_each() -> None:
    found = cluster(scores())
    assert found.cluster == (1, 2, 3)
    table = cluster_table(found, with_places(None, list(MARKETS)))
    assert set(table["country"]) == set(MARKETS)


def test_scores_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(DataError, match="1 market, expected at least two"):
        cluster({"A": np.ones(3)})
    with pytest.raises(DataError, match=r"'B' has shape \(2,\).*as market 'A', \(3,\)"):
        cluster({"A": np.ones(3), "B": np.ones(2)})
    with pytest.raises(DataError, match=r"'B' has shape .* 1 values that are not finite"):
        cluster({"A": np.ones(3), "B": np.array([1.0, NAN, 0.0])})


def test_places_are_read_where_a_panel_has_them(tmp_path: Path) -> None:
    assert read_places(tmp_path) is None
    (tmp_path / "markets.csv").write_text("code,country,size\nNA,Namibia,3\nDE,Germany,2\n")
    found = read_places(tmp_path)
    assert found is not None
    assert found.to_numpy().tolist() == [["NA", "", "Namibia"], ["DE", "", "Germany"]]
    assert with_places(found, ["DE", "XX"])["country"].tolist() == ["Germany", "XX"]
    pd.DataFrame({"market": ["DE"], "name": ["Germany"]}).to_parquet(tmp_path / "markets.parquet")
    assert read_places(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("market,country\nDE,Germany\nDE,Germany\n", "column 'market': 'DE' appears twice"),
        ("market,country\nDE,\n", "column 'country', row 1: empty"),
        ("name,country\nDE,Germany\n", "lacks a column 'market'; found name, country"),
    ],
)
def test_bad_places_are_named(tmp_path: Path, content: str, text: str) -> None:
    (tmp_path / "markets.csv").write_text(content)
    with pytest.raises(DataError, match=rf"markets\.csv: {text}"):
        read_places(tmp_path)


# ---- Files and the page

TABLES = (
    *("table1", "table1-median-deviation", "table1-mean", "table1-differences", "table2", "table3"),
    *("table1-late", "table1-differences-late"),
    *("table3-chosen", "table3-trials", "table5", "table5-published", "table6", "table6-published"),
    *("section4-2-counts", "section4-2-tests", "fig2", "fig4", "fig5b", "fig5c", "fig8", "fig9"),
)
FIGURES = (
    *("fig4", "fig5a", "fig5b", "fig5c", "fig7", "fig8", "fig9", "fig10", "fig11", "fig12"),
    *("fig3", "fig13"),
)


def test_every_artefact_is_written(written: Path) -> None:
    out = written / "out"
    for name in TABLES:
        assert len(pd.read_csv(out / "tables" / f"{name}.csv")) > 0
        assert "\\end{tabular}" in (out / "tables" / f"{name}.tex").read_text()
    for name in ("fig3", "fig5a", "fig10"):
        assert len(pd.read_csv(out / "tables" / f"{name}.csv")) > 0
    shared = tuple(f"{name}-quantnet-shared" for name in FIGURES[:-2])
    for name in (*FIGURES, *shared):
        assert (out / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (out / "figures" / f"{name}.svg").read_text()
    assert not list(out.rglob("*.tmp"))


def test_the_page_holds_everything_and_loads_nothing(written: Path) -> None:
    page = (written / "out" / "paper.html").read_text()
    own = re.sub(r'src="data:image/png;base64,[^"]+"', "", page)
    assert not re.search(r"https?:|//[a-z]|\bsrc=|<link|<script|<iframe|@import|url\(", own)
    assert "default-src 'none'" in page
    assert page.count('src="data:image/png;base64,') == 2 + 2 * 10
    for name in TABLES:
        assert f'id="{name}"' in page
    assert "<i>" not in own
    assert "<Survivors>" not in own
    assert "does not agree with the Sortino ratio" in own
    assert "before costs" in own


def test_the_budget_is_on_the_page_once_and_under_every_table_that_stands_alone(written: Path) -> None:
    out = written / "out"
    assert "Budget: trials 3, steps a trial 40." in (out / "paper.html").read_text()
    for name in TABLES:
        assert r"Budget: trials 3, steps a trial 40." in (out / "tables" / f"{name}.tex").read_text()
    assert "Budget: trials 3" in (out / "tables" / "notes.txt").read_text()


def test_the_same_run_gives_the_same_bytes(run: RunFolder, written: Path) -> None:
    files = [path for path in sorted((written / "out").rglob("*")) if path.is_file()]
    before = [path.read_bytes() for path in files]
    write_all(run, written)
    assert [path.read_bytes() for path in files] == before


def test_the_text_of_table_1_is_aligned_and_has_intervals(written: Path) -> None:
    text = (written / "out" / "tables" / "table1.txt").read_text()
    rows = [line for line in text.splitlines() if line.startswith(("QuantNet ", "Buy and hold "))]
    assert len(rows) == 3 * 3 + 3 + 2  # three strategies in three blocks and late, two pairs
    first = next(line for line in text.splitlines() if "95% interval" in line)
    assert "SR in the paper" in first
    assert len({len(line) for line in text.splitlines()[3:9]}) == 1
    assert re.search(r"QuantNet - No Transfer LSTM +[+-]0\.\d{3}", text)


def test_intervals_of_the_files_hold_their_medians(written: Path) -> None:
    data = pd.read_csv(written / "out" / "tables" / "table1.csv")
    rows = data[data["metric"] == "sharpe"]
    assert ((rows["median_low"] < rows["median"]) & (rows["median"] < rows["median_high"])).all()


def test_what_is_missing_is_left_out_with_its_reason(tmp_path: Path) -> None:
    made = fake_run(tmp_path / "run", {"buy-and-hold": 1, "quantnet": 1}, config={"quick": True})
    page = write_artefacts(
        made, tmp_path / "out", study=None, scores=None, places=None, factors=None, named=None, cost_bps=10.0
    ).read_text()
    assert "Table 6: no file of factors was given." in page
    assert "Figures 2 and 13: no encoder scores were given." in page
    assert "the run has no QuantNet beside a No Transfer model." in page
    assert "Quick run: not comparable" in page
    assert "no search recorded; a quick run" in page
    assert "net of 10 bps" in page
    assert {path.stem for path in (tmp_path / "out" / "figures").iterdir()} == {"fig3"}


def test_costs_and_folders_that_are_not_there_are_refused(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no results at 5 bps; its costs are 0, 10"):
        measure(run, 5.0)
    with pytest.raises(DataError, match=r"run\.json: missing, expected a finished run"):
        measure(RunFolder(tmp_path))


def test_table_3_shows_the_chosen_values_beside_the_ranges() -> None:
    shown = tables_3(STUDY)[0].shown.set_index("Hyperparameter")
    arrow = "\N{RIGHTWARDS ARROW}"
    assert shown.loc["Batch size (L)", "QuantNet LSTM-Linear"] == f"16-96 {arrow} 48"
    assert shown.loc["Learning rate", "QuantNet LSTM-Linear"] == f"0.0001-0.5 {arrow} 0.0123"
    assert shown.loc["Batch size (L)", "No Transfer Linear"] == "16-128"
    assert [table.name for table in tables_3(None)] == ["table3"]
    given = tables_3({**STUDY, "fixed": {"quantnet": ["batch", "steps"]}})[0]
    cells = given.shown.set_index("Hyperparameter")["QuantNet LSTM-Linear"]
    assert cells["Batch size (L)"] == "16-96, fixed at 48"
    assert cells["Learning rate"] == f"0.0001-0.5 {arrow} 0.0123"
    assert given.data.set_index(["hyperparameter", "agent"])["fixed"].sum() == 1


def test_table_7_places_every_variant(tmp_path: Path) -> None:
    lstm = {"encoder": "lstm", "decoder": "lstm"}
    options = {
        "quantnet[encoder=lstm,dimension=10]": lstm | {"transfer": "linear", "dimension": 10},
        "quantnet[encoder=lstm,dimension=50]": lstm | {"transfer": "lstm", "dimension": 50},
        "no-transfer-lstm": lstm | {"transfer": None},
    }
    agents = {name: agent_record(name) | {"options": made} for name, made in options.items()}
    run = fake_run(tmp_path / "run", dict.fromkeys(options, 1), agents=agents)
    table = table_7(measure(run))
    cells = table.data.set_index(["configuration", "dimension"])
    ours = measure(run).of("sharpe")
    assert cells.loc[("LSTM-Linear", 10), "mean"] == pytest.approx(ours.iloc[:, 0].mean())
    assert cells.loc[("LSTM-LSTM", 50), "agent"] == "quantnet[encoder=lstm,dimension=50]"
    assert cells.loc["No Transfer LSTM", "agent"].tolist() == ["no-transfer-lstm"] * 4
    assert np.isnan(cells.loc[("Linear-Linear", 25), "mean"])
    assert cells.loc[("LSTM-Linear", 10), "published_mean"] == 0.370918
    assert len(table.shown) == 2 * 2 * 4
    assert "Not of its shape" not in table.caption
    page = write_ablation(run, tmp_path / "out", None)
    assert page.name == "ablation.html"
    assert "quantnet[" not in page.read_text(), "names of agents are for files"
    assert (tmp_path / "out" / "tables" / "table7.csv").stat().st_size > 0


def test_variants_outside_table_7_are_named_and_doubles_refused(tmp_path: Path) -> None:
    mixed = {"encoder": "lstm", "decoder": "linear", "transfer": "linear"}
    agents = {
        name: agent_record(name) | {"options": options}
        for name, options in (("mixed", mixed), ("one", {"dimension": 25}), ("two", {"dimension": 25}))
    }
    run = fake_run(tmp_path / "run", dict.fromkeys(("mixed", "one"), 1), agents=agents)
    assert "Not of its shape: mixed." in table_7(measure(run)).caption
    double = fake_run(tmp_path / "double", dict.fromkeys(("one", "two"), 1), agents=agents)
    with pytest.raises(ConfigError, match="'one' and 'two' are both LSTM-Linear with N = 25"):
        table_7(measure(double))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(8)

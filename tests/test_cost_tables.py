"""What the data say that trading costs: read, in force from a date on, and charged as costs given by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from finished import write_panel

from agents.agent import Settings
from experiments import RunConfig
from experiments.cli import main
from experiments.report import write_report
from experiments.report.spreads import spread_tables
from experiments.results.books import at_level
from experiments.results.evidence import as_record, capital_table, gather_evidence
from experiments.results.run import read_runs
from experiments.results.thirds import third_of
from experiments.running.protocols import holdout
from experiments.running.runner import levels_for, run
from experiments.running.units import Unit, Variant, train_agent
from experiments.storage.store import RunFolder
from qn_env import TradingEnv
from qn_env.costs import (
    Borrow,
    CostTable,
    Financing,
    HalfSpread,
    Proportional,
    SaidImpact,
    SquareRootImpact,
    table_of,
)
from qn_env.errors import ConfigError, DataError
from qn_env.features import EwVolatility
from qn_env.panel import Panel
from qn_env.sources import ragged, read_costs, read_panel
from qn_env.sources.cost_tables import costs_in
from qn_env.sources.frames import join

NAT = pd.NaT


def table(*rows: tuple[object, ...], fields: tuple[str, ...] = ("half_spread_bps",)) -> CostTable:
    """Rows of date, market, asset and the fields."""
    frame = pd.DataFrame(rows, columns=["date", "market", "asset", *fields])
    return CostTable(frame.assign(date=pd.to_datetime(frame["date"]).astype("datetime64[s]")))


def panel() -> Panel:
    """Two markets, whose assets share a name, on ten days."""
    days = pd.bdate_range("2020-01-01", periods=10).to_numpy().astype("datetime64[D]")
    returns = np.random.default_rng(0).normal(0.0, 0.01, (10, 3))
    return Panel.build(days, ["A", "B", "A"], ["X", "X", "Y"], returns)


def test_a_cost_is_found_by_market_and_name_or_by_the_name_alone() -> None:
    said = table((NAT, "X", "A", 1.0), (NAT, "", "B", 2.0), (NAT, "Y", "A", 3.0))
    np.testing.assert_array_equal(said.of(panel(), "half_spread_bps"), [1.0, 2.0, 3.0])
    alike = table((NAT, "", "A", 1.0), (NAT, "", "B", 2.0))
    np.testing.assert_array_equal(alike.of(panel(), "half_spread_bps"), [1.0, 2.0, 1.0])
    assert alike.of(panel(), "commission_bps") is None


def test_a_value_is_in_force_from_its_date_until_the_next() -> None:
    said = table(
        ("2020-01-03", "X", "A", 1.0),
        ("2020-01-08", "X", "A", 5.0),
        (NAT, "", "B", 2.0),
        (NAT, "Y", "A", 3.0),
    )
    found = said.of(panel(), "half_spread_bps")
    assert found is not None
    days = panel().dates
    np.testing.assert_array_equal(np.isnan(found[:, 0]), days < np.datetime64("2020-01-03"))
    later = days >= np.datetime64("2020-01-08")
    np.testing.assert_array_equal(found[later, 0], 5.0)
    np.testing.assert_array_equal(found[(days >= np.datetime64("2020-01-03")) & ~later, 0], 1.0)
    np.testing.assert_array_equal(found[:, 1:], np.tile([2.0, 3.0], (10, 1)))


def test_an_asset_without_a_cost_is_named_unless_there_is_a_default() -> None:
    said = table((NAT, "X", "A", 1.0))
    with pytest.raises(ConfigError, match=r"no cost for asset 'B' on 2020-01-01 \(2 such assets: B, A\)"):
        said.costs(panel())
    (only,) = replace(said, default_bps=7.0).costs(panel())
    np.testing.assert_allclose(only.rates(panel()).turnover, [1e-4, 7e-4, 7e-4])
    dated = table(("2020-01-03", "", "A", 1.0), (NAT, "", "B", 1.0))
    with pytest.raises(ConfigError, match="no cost for asset 'A' on 2020-01-01"):
        dated.costs(panel())
    (only,) = replace(dated, default_bps=7.0).costs(panel())
    np.testing.assert_allclose(only.rates(panel()).turnover[:3, 0], [7e-4, 7e-4, 1e-4])
    (only,) = replace(CostTable.empty(), default_bps=4.0).costs(panel())
    np.testing.assert_allclose(only.rates(panel()).turnover, 4e-4)


def test_a_commission_is_a_cost_too_and_fees_are_charged_for_holding() -> None:
    fields = ("half_spread_bps", "commission_bps", "borrow_bps", "financing_bps")
    said = table(
        (NAT, "", "A", np.nan, 0.5, 100.0, np.nan), (NAT, "", "B", 2.0, np.nan, np.nan, 50.0), fields=fields
    )
    by_hand = (
        HalfSpread([0.0, 2.0, 0.0]),
        Proportional([0.5, 0.0, 0.5]),
        Borrow([100.0, 0.0, 100.0]),
        Financing([0.0, 50.0, 0.0]),
    )
    for made, given in zip(said.costs(panel()), by_hand, strict=True):
        for one, other in zip(made.rates(panel()), given.rates(panel()), strict=True):
            if other is None:
                assert one is None
            else:
                np.testing.assert_array_equal(one, other)


def played(panel: Panel, costs: tuple[object, ...]) -> list[bytes]:
    env = TradingEnv(panel, window=1, cost_bps=0.0, costs=costs)
    env.reset(seed=0)
    rng, told, done = np.random.default_rng(1), [], False
    while not done:
        _, reward, terminated, truncated, info = env.step(rng.uniform(-1, 1, panel.shape[1]))
        told += [np.float64(reward).tobytes(), info["cost"].tobytes(), info["net"].tobytes()]
        done = terminated or truncated
    return told


@pytest.mark.parametrize("dated", [False, True])
def test_costs_of_the_data_and_the_same_by_hand_give_the_same_bytes(dated: bool) -> None:  # noqa: FBT001
    whole = ragged(sizes=(3, 2), days=300, seed=2)
    rng = np.random.default_rng(3)
    days = [NAT] if not dated else [NAT, str(whole.dates[100]), str(whole.dates[200])]
    rows = [
        (day, market, asset, float(spread))
        for market, asset in zip(whole.market_of, whole.assets, strict=True)
        for day, spread in zip(days, rng.uniform(0.0, 20.0, len(days)), strict=True)
    ]
    said = table(*rows)
    spread = said.of(whole, "half_spread_bps")
    assert spread is not None
    assert spread.ndim == (2 if dated else 1)
    data = replace(whole, own_costs=said)
    assert data.fingerprint != whole.fingerprint
    assert played(data, said.costs(data)) == played(whole, (HalfSpread(spread),))
    part = data.select([next(iter(data.markets))]).until(data.dates[150])
    assert part.own_costs is said
    (own,) = part.own_costs.costs(part)
    assert own.rates(part).turnover.shape[-1] == part.shape[1]


def test_a_panel_folder_says_what_its_assets_cost(tmp_path: Path) -> None:
    days = pd.bdate_range("2020-01-01", periods=5).strftime("%Y-%m-%d")
    pd.DataFrame({"date": days, "A": 1.0, "B": [1.0, 2.0, 3.0, 4.0, 5.0]}).to_csv(
        tmp_path / "prices.csv", index=False
    )
    meta = pd.DataFrame({"instrument": ["A", "B"], "market": ["X", "Y"], "half_spread_bp": [1.5, np.nan]})
    meta.assign(region=["EU", "US"]).to_csv(tmp_path / "meta.csv", index=False)
    found = read_panel(tmp_path)
    assert found.own_costs is not None
    np.testing.assert_array_equal(found.own_costs.of(found, "half_spread_bps"), [1.5, np.nan])
    with pytest.raises(ConfigError, match="no cost for asset 'B'"):
        found.own_costs.costs(found)
    meta.drop(columns="half_spread_bp").to_csv(tmp_path / "meta.csv", index=False)
    assert read_panel(tmp_path).own_costs is None


def test_costs_may_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv"
    path.write_text(
        "date,asset,Half_Spread_bps,Commission_bp\n2020-01-01,A,1,0.5\n2020-01-06,A,2,\n2020-01-01,B,3,0\n"
    )
    said = read_costs(path)
    found = said.of(panel(), "half_spread_bps")
    assert found is not None
    assert found[0].tolist() == [1.0, 3.0, 1.0]
    assert found[-1].tolist() == [2.0, 3.0, 2.0]
    with pytest.raises(ConfigError, match="no such file"):
        read_costs(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("asset,half_spread_bps\nA,x\n", "column 'half_spread_bps' of 'A': found 'x', expected a number"),
        ("asset,half_spread_bps\nA,-1\n", "half_spread_bps is -1.0 for asset 'A'"),
        ("asset,half_spread_bps\nA,20000\n", "half_spread_bps is 20000.0 for asset 'A'"),
        ("asset,half_spread_bps\nA,1\nA,2\n", r"'A' twice \(1 such rows\)"),
        ("date,asset,half_spread_bps\n2020-01-01,A,1\n2020-01-01,A,2\n", "'A' twice on 2020-01-01"),
        ("date,asset,half_spread_bps\n01/02/2020,A,1\n", "data row 1 is '01/02/2020'"),
        ("asset,half_spread_bps,half_spread_bp\nA,1,1\n", "are both half_spread_bps; keep one"),
        ("name,half_spread_bps\nA,1\n", "expected instrument .or asset."),
        ("asset,spread\nA,1\n", "any of half_spread_bps"),
    ],
)
def test_a_table_of_costs_that_cannot_be_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "costs.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_costs(tmp_path / "costs.csv")


def test_panels_keep_their_costs_side_by_side() -> None:
    one = replace(panel().select(["X"]), own_costs=table((NAT, "X", "A", 1.0), (NAT, "X", "B", 2.0)))
    other = replace(panel().select(["Y"]), own_costs=table((NAT, "Y", "A", 3.0)))
    both = join([one, other])
    assert both.own_costs is not None
    np.testing.assert_array_equal(both.own_costs.of(both, "half_spread_bps"), [1.0, 2.0, 3.0])
    assert costs_in(pd.DataFrame({"asset": ["A"], "region": ["EU"]}), "meta") is None


# What a run charges


@pytest.mark.parametrize("protocol", ["holdout", "expanding"])
def test_own_costs_of_two_basis_points_for_all_are_two_basis_points(protocol: str, tmp_path: Path) -> None:
    """A law of every table: what each asset costs, where all cost the same, is the level of that number."""
    whole = ragged(sizes=(3, 2), days=1500, seed=1)
    data = replace(whole, own_costs=replace(CostTable.empty(), default_bps=2.0))
    windows = {"test_from": str(whole.dates[700]), "test_years": 2} if protocol == "expanding" else {}
    config = RunConfig(
        agents=("macd", "buy-and-hold"), jobs=1, out=tmp_path / "run", protocol=protocol, **windows
    )
    folder = RunFolder(run(config, data))
    assert folder.record()["config"]["costs"] == [0.0, 2.0, "market"]
    for table, keys in (
        (folder.results(), ["agent", "market", "asset", "execution", "metric"]),
        (folder.portfolio(), ["agent", "date", "execution"]),
        (folder.leaderboard(), ["agent", "execution"]),
    ):
        flat, own = (
            at_level(table, level).drop(columns="cost_bps").sort_values(keys, ignore_index=True)
            for level in (2.0, "market")
        )
        assert len(flat)
        pd.testing.assert_frame_equal(own, flat, rtol=1e-9, atol=1e-12)
    seen = read_runs(folder.path)["late"]
    assert (seen.levels, seen.headline) == ([0.0, 2.0, "market"], "market")
    evidence = gather_evidence(read_runs(folder.path))
    assert evidence.level == "market"
    assert as_record(evidence)["cost"] == "market"


def test_a_run_charges_every_asset_its_own(tmp_path: Path) -> None:
    whole = ragged(sizes=(2, 1), days=1300, seed=3)
    spreads = dict(zip(zip(whole.market_of, whole.assets, strict=True), (1.0, 10.0, 100.0), strict=True))
    said = table(*((NAT, market, asset, bps) for (market, asset), bps in spreads.items()))
    data = replace(whole, own_costs=said)
    folder = RunFolder(
        run(RunConfig(agents=("macd",), costs=("market", 5.0), jobs=1, out=tmp_path / "run"), data)
    )
    days = folder.unit_days("macd-seed0")
    rates = np.array([1e-4 * spreads[pair] for pair in zip(days["market"], days["asset"], strict=True)])
    np.testing.assert_allclose(days["cost"], days["turnover"] * rates, rtol=1e-12)
    np.testing.assert_allclose(days["cost_late"], days["turnover_late"] * rates, rtol=1e-12)
    assert days["cost"].sum() > 0.0
    own = at_level(folder.results(), "market").set_index(["execution", "market", "asset", "metric"])["value"]
    for (market, asset), bps in spreads.items():
        mine = days[(days["market"] == market) & (days["asset"] == asset) & days["counted"]]
        net = mine["gross_late"] - bps * 1e-4 * mine["turnover_late"]
        assert own["late", market, asset, "ann_return"] == pytest.approx(252 * net.mean())
    page = write_report(folder.path).read_text()
    assert "what the data say that each asset costs" in page
    assert 'data-cost="market"' in page


def test_costs_of_the_market_that_nobody_knows_are_asked_for(tmp_path: Path) -> None:
    whole = ragged(sizes=(2,), days=1300, seed=4)
    asked = RunConfig(agents=("macd",), costs=("market",), out=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"do not say what each asset costs; give --cost-table FILE"):
        run(asked, whole)
    partly = replace(whole, own_costs=table((NAT, "", whole.assets[0], 1.0)))
    with pytest.raises(ConfigError, match=f"no cost for asset '{whole.assets[1]}'"):
        run(replace(asked, out=tmp_path / "other"), partly)
    assert not (tmp_path / "other").exists()
    for wrong in (("market", "market"), ("dear",), ("2",)):
        with pytest.raises(ConfigError, match="costs"):
            RunConfig(agents=("macd",), costs=wrong)  # type: ignore[arg-type]


def test_the_command_line_takes_the_level_market(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = ragged(sizes=(2, 1), days=1300, seed=3)
    place = write_panel(whole, tmp_path / "panel")
    costs = pd.DataFrame(
        {"market": whole.market_of, "asset": whole.assets, "half_spread_bps": [1.0, 2.0, 3.0]}
    )
    costs.to_csv(tmp_path / "costs.csv", index=False)
    argv = ["run", "--agents", "macd", "--panel", str(place), "--kind", "returns", "--jobs", "1"]
    argv += [
        "--cost-table",
        str(tmp_path / "costs.csv"),
        "--costs",
        "0,market",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(argv) == 0
    told = capsys.readouterr().out
    assert "Net of each asset's own costs, one day late" in told
    assert "Net of 2 bps" not in told
    with pytest.raises(SystemExit):
        main([*argv[:-1], str(tmp_path / "again"), "--cost-default", "20000"])
    assert "cost_default is 20000.0" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("level", "rates"), [(None, [7e-4] * 3), (3.0, [3e-4] * 3), ("market", [1e-4, 2e-4, 3e-4])]
)
def test_agents_may_be_trained_under_the_costs_they_are_judged_by(
    level: float | str | None, rates: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spy:
        settings = Settings(train_cost_bps=7.0)

        def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv) -> Spy:
            self.rates = [one.tape.costs.turnover for one in (env, validation)]
            return self

    whole = ragged(sizes=(2, 1), days=1300, seed=3)
    pairs = zip(whole.market_of, whole.assets, (1.0, 2.0, 3.0), strict=True)
    data = replace(whole, own_costs=table(*((NAT, market, asset, bps) for market, asset, bps in pairs)))
    monkeypatch.setattr(Unit, "agent", lambda _: Spy())
    unit = Unit("spy", Variant("spy"), 0, None, train_costs=level)  # type: ignore[arg-type]
    for found in train_agent(unit, holdout(data)).rates:
        np.testing.assert_allclose(found, rates)


def test_costs_of_a_training_that_nobody_knows_are_asked_for() -> None:
    whole = ragged(sizes=(2,), days=1300, seed=4)
    with pytest.raises(ConfigError, match="do not say what each asset costs"):
        levels_for(RunConfig(agents=("macd",), costs=(0.0,), train_costs="market"), whole)
    with pytest.raises(ConfigError, match="costs"):
        RunConfig(agents=("macd",), train_costs=-1.0)


def test_figures_stand_by_how_dear_assets_are(tmp_path: Path) -> None:
    whole = ragged(sizes=(4, 3), days=1300, seed=6)
    pairs = list(zip(whole.market_of, whole.assets, strict=True))
    bps = [5.0, 1.0, 40.0, 2.0, 80.0, 3.0, 20.0]
    data = replace(whole, own_costs=table(*((NAT, *pair, one) for pair, one in zip(pairs, bps, strict=True))))
    config = RunConfig(agents=("macd", "buy-and-hold"), jobs=1, out=tmp_path / "run")
    folder = RunFolder(run(config, data))
    charged = folder.asset_costs()
    assert charged is not None
    np.testing.assert_allclose(charged["bps"], bps)
    third = third_of(charged)
    assert [third[pair] for pair in pairs] == [
        "middling",
        "cheap",
        "dear",
        "cheap",
        "dear",
        "cheap",
        "middling",
    ]
    (of_markets, thirds) = spread_tables(read_runs(folder.path)["late"])
    assert of_markets.shown["Dearest"].tolist() == ["40.00", "80.00"]
    rows = at_level(folder.results(), "market")
    rows = rows[(rows["metric"] == "sharpe") & (rows["agent"] == "macd") & (rows["execution"] == "late")]
    own = rows.set_index(["market", "asset"])["value"]
    expected = np.mean([own[pairs[2]], own[pairs[4]]])
    found = thirds.data.set_index(["agent", "execution", "third"])["sharpe"]
    assert found["macd", "late", "dear"] == pytest.approx(expected)
    page = write_report(folder.path).read_text()
    assert "By how dear assets are to trade" in page
    assert "What was charged" in page
    assert (folder.path / "tables" / "thirds.csv").exists()


# Impact


def with_volumes(whole: Panel, dated: bool = False) -> Panel:  # noqa: FBT001, FBT002
    """Spreads of 1 bp, and a volume of each asset, or two one after the other."""
    days = [NAT, str(whole.dates[len(whole.dates) // 2])] if dated else [NAT]
    pairs = zip(whole.market_of, whole.assets, strict=True)
    rows = [
        (day, market, asset, 1.0, 1e6 * (1 + j) * (1 + k))
        for j, (market, asset) in enumerate(pairs)
        for k, day in enumerate(days)
    ]
    return replace(whole, own_costs=table(*rows, fields=("half_spread_bps", "volume")))


def test_impact_is_the_closed_form_and_that_of_the_environment() -> None:
    whole = with_volumes(ragged(sizes=(2, 1), days=300, seed=3))
    said = table_of(whole)
    assert said is not None
    volumes = said.of(whole, "volume")
    assert volumes is not None
    rates = SaidImpact(said, capital=5e5).rates(whole)
    sigma = np.nan_to_num(whole.feature(EwVolatility()))
    np.testing.assert_allclose(rates.impact, sigma * np.sqrt(5e5 / volumes), rtol=1e-12)
    by_hand = SquareRootImpact(5e5, volumes).rates(whole)
    np.testing.assert_array_equal(rates.impact, by_hand.impact)
    assert played(whole, (SaidImpact(said, capital=5e5),)) == played(whole, (SquareRootImpact(5e5, volumes),))
    dated = table_of(with_volumes(whole, dated=True))
    assert dated is not None
    half = len(whole.dates) // 2
    doubled = SaidImpact(dated).rates(whole).impact
    once = SaidImpact(said).rates(whole).impact
    np.testing.assert_allclose(doubled[half:] * 2**0.5, once[half:], rtol=1e-12)
    np.testing.assert_array_equal(doubled[:half], once[:half])


@pytest.mark.parametrize("protocol", ["holdout", "expanding"])
def test_a_run_tells_what_impact_leaves_by_capital(protocol: str, tmp_path: Path) -> None:
    data = with_volumes(ragged(sizes=(3, 2), days=1500, seed=1))
    windows = {"test_from": str(data.dates[700]), "test_years": 2} if protocol == "expanding" else {}
    config = RunConfig(
        agents=("macd", "buy-and-hold"),
        capital=(1e3, 1e5),
        jobs=1,
        out=tmp_path / "run",
        protocol=protocol,
        **windows,
    )
    folder = RunFolder(run(config, data))
    for execution, seen in read_runs(folder.path).items():
        found = capital_table(seen).set_index("agent")
        days = at_level(seen.portfolio, "market")
        own = days[days["agent"] == "macd"]
        net = own["net"] - 1e5**0.5 * own["impact"]
        assert found.loc["macd", "100000"] == pytest.approx(252**0.5 * net.mean() / net.std()), execution
        assert found.loc["macd", "1000"] > found.loc["macd", "100000"]
        board = seen.ranking("market").set_index("agent")["sharpe"]
        bears = found.loc["buy-and-hold"]
        if board["buy-and-hold"] > 0:
            mine = days[days["agent"] == "buy-and-hold"]
            after = mine["net"] - bears["half"] ** 0.5 * mine["impact"]
            assert 252**0.5 * after.mean() / after.std() == pytest.approx(board["buy-and-hold"] / 2)
            assert (mine["net"] - bears["all"] ** 0.5 * mine["impact"]).mean() == pytest.approx(
                0.0, abs=1e-12
            )
    page = write_report(folder.path).read_text()
    assert "How much money it bears" in page


def test_impact_of_a_run_is_of_every_trade_of_every_asset(tmp_path: Path) -> None:
    data = with_volumes(ragged(sizes=(1,), days=1300, seed=8))
    folder = RunFolder(run(RunConfig(agents=("macd",), jobs=1, out=tmp_path / "run"), data))
    days = folder.unit_days("macd-seed0").set_index("date")
    sigma = pd.Series(data.feature(EwVolatility())[:, 0], index=pd.DatetimeIndex(data.dates))
    before = sigma.shift().reindex(days.index)  # of the close at which it is traded
    np.testing.assert_allclose(days["impact"], days["turnover"] ** 1.5 * before / 1e3, rtol=1e-12)
    np.testing.assert_allclose(days["impact_late"], days["turnover_late"] ** 1.5 * before / 1e3, rtol=1e-12)
    assert capital_table(read_runs(folder.path)["late"]).empty, "it was not asked"


def test_capital_without_volumes_is_refused() -> None:
    whole = ragged(sizes=(2,), days=1300, seed=4)
    asked = RunConfig(agents=("macd",), capital=(1e6,))
    with pytest.raises(ConfigError, match="no volume for asset"):
        levels_for(asked, whole)
    for wrong in ((0.0,), (-1.0,), (1e6, 1e6), ("much",)):
        with pytest.raises(ConfigError, match="capital"):
            RunConfig(agents=("macd",), capital=wrong)  # type: ignore[arg-type]

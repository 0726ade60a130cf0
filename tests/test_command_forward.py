"""The forward record: a whole life of it, day by day, against the backtest; and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tyro
from finished import as_an_earlier_version, edit_json, resealed
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.agent import load_agent
from experiments import RunConfig
from experiments.cli import main
from experiments.commands.forward import Forward, forward
from experiments.results.forward_table import MEAN, Scored, forward_table, wealth_of
from experiments.running.forward_entries import decide, histories, recorded_panel
from experiments.running.forward_scores import book_scale, revised, score, stand, standing_weights
from experiments.running.runner import run
from experiments.running.today import _starts, signals_every_day, units_of
from experiments.running.units import Variant
from experiments.settings.config import EXECUTIONS, MARKET
from experiments.storage import chain
from experiments.storage.chain import Line, canonical, opened_chain, read_chain
from experiments.storage.forward_file import add_entry, read_record
from experiments.storage.forward_record import (
    Decision,
    Entry,
    Header,
    Record,
    RecordedAgent,
    Terms,
)
from experiments.storage.store import RunFolder
from qn_env.costs import CostTable, own_costs
from qn_env.errors import ConfigError, FileError
from qn_env.panel import Panel
from qn_env.sources import embedded, ragged
from qn_env.storage import digest
from qn_env.tape import Tape, backtest

BEGIN, DAYS = 1290, 37  # of the record, among the panel's dates
LEVELS = (0.0, 5.0, MARKET)
AGENTS = ("dmn", "macd")
VARIANTS = {"dmn": Variant("dmn-linear-sharpe", {"epochs": 1, "patience": 1})}


@pytest.fixture(scope="module")
def whole() -> Panel:
    """The data as they will be one day: three markets with holidays, halts and delistings."""
    panel = ragged(sizes=(2, 1, 3), days=1500, seed=9)
    rows = pd.DataFrame({"market": panel.market_of, "asset": panel.assets, "date": pd.NaT})
    rows["half_spread_bps"], rows["financing_bps"] = np.arange(1.0, 7.0), 100.0
    return replace(panel, own_costs=CostTable(rows))


@pytest.fixture(scope="module")
def folder(whole: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a learner with two seeds and of a rule, on the days before the record."""
    out = tmp_path_factory.mktemp("forward") / "run"
    config = RunConfig(agents=AGENTS, seeds=2, costs=LEVELS, jobs=1, out=out)
    return run(config, whole.until(whole.dates[BEGIN - 20]), variants=VARIANTS)


def evening(panel: Panel) -> datetime:
    """After the last close of a panel, before the next one."""
    return datetime.fromisoformat(f"{panel.dates[-1]}T22:00:00").replace(tzinfo=UTC)


def add(folder: Path, path: Path, panel: Panel, *, now: datetime | None = None, **options: Any) -> None:
    config = Forward(run=folder, record=path, **options)
    assert forward(config, panel=panel, now=now or evening(panel)) == 0


def line_of(folder: Path, path: Path, panel: Panel, *, now: datetime | None = None) -> None:
    """The same line of a record that is begun, without the scores of all lines before it."""
    header = known(path).header
    entry = decide(RunFolder(folder), header, recorded_panel(header, panel), now=now or evening(panel))
    assert add_entry(path, header, entry).added


@pytest.fixture(scope="module")
def life(folder: Path, whole: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record to which a line was added on every day."""
    path = tmp_path_factory.mktemp("life") / "record.jsonl"
    add(folder, path, whole.until(whole.dates[BEGIN]))
    for day in range(BEGIN + 1, BEGIN + DAYS - 1):
        line_of(folder, path, whole.until(whole.dates[day]))
    add(folder, path, whole.until(whole.dates[BEGIN + DAYS - 1]))
    return path


@pytest.fixture
def copy(life: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(life, tmp_path / "record.jsonl"))


def known(path: Path) -> Record:
    record = read_record(path)
    assert record is not None
    return record


def scored(path: Path, panel: Panel, label: str) -> Scored:
    record = known(path)
    panel = recorded_panel(record.header, panel)
    found = score(record, stand(record, panel), panel, label)
    assert found is not None
    return found


# A whole life.


def backtested(
    folder: Path, panel: Panel, label: str, first: Panel, execution: str
) -> tuple[pd.Series, pd.DataFrame]:
    """What an agent would have earned from the first line on, at own costs, and its weights [T, N].

    The oracle: signals of the whole panel at once, `backtest` market by market, means day by day.
    """
    stored = RunFolder(folder)
    record = stored.record()
    units = units_of(record, label, None)
    starts = _starts(record, "", panel)
    agents = [load_agent(u.variant.agent, stored.unit(u.name) / "checkpoint") for u in units]
    each = [signals_every_day(agent, u, panel, starts) for agent, u in zip(agents, units, strict=True)]
    signals = np.mean(each, axis=0)
    begin = {name: own[-1] + 1 for name, own in first.own_dates.items()}
    tape = Tape.of(panel, costs=own_costs(panel), vol_target=units[0].vol_target, start=begin)
    by_day: dict[Any, dict[str, float]] = {}
    for name, market in panel.markets.items():
        own = tape.of_market(market)
        ledger = backtest(replace(own, lag=1) if execution == "late" else own, market.compact(signals))
        for t, day in enumerate(own.dates[1:]):
            counts = own.listed[t]
            if day >= begin[name] and counts.any():
                by_day.setdefault(day, {})[name] = float(ledger.net[t][counts].mean())
    days = sorted(by_day)
    alive = sum(own[-1] >= begin[name] for name, own in panel.own_dates.items())
    mean = [sum(by_day[day].values()) / alive for day in days]
    scale = Tape.of(panel, vol_target=units[0].vol_target).scale
    return pd.Series(mean, index=pd.DatetimeIndex(days)), pd.DataFrame(signals * scale)


@pytest.mark.parametrize("label", AGENTS)
@pytest.mark.parametrize("execution", EXECUTIONS)
def test_a_record_earns_what_the_backtest_of_the_same_signals_does(
    folder: Path, whole: Panel, life: Path, label: str, execution: str
) -> None:
    cut, first = whole.until(whole.dates[BEGIN + DAYS - 1]), whole.until(whole.dates[BEGIN])
    table = scored(life, cut, label).portfolio
    own = table[(table["execution"] == execution) & table["cost_bps"].isna()]
    expected, _ = backtested(folder, cut, label, first, execution)
    dates = pd.DatetimeIndex(own["date"])
    assert len(dates) >= DAYS - 8, "a day waits for its slowest asset"
    assert set(dates) <= set(expected.index)
    np.testing.assert_allclose(own["net"], expected[dates], rtol=0, atol=1e-12)
    assert own["net"].abs().max() > 1e-4
    flat = table[(table["execution"] == execution) & (table["cost_bps"] == 5.0)]
    np.testing.assert_allclose(flat["net"], flat["gross"] - 5e-4 * flat["turnover"], atol=1e-15)


def test_figures_of_a_day_do_not_change_when_later_days_come(life: Path, whole: Panel) -> None:
    last = scored(life, whole.until(whole.dates[BEGIN + DAYS + 20]), "macd")
    for day in range(BEGIN + DAYS - 1, BEGIN + DAYS + 20, 3):
        now = scored(life, whole.until(whole.dates[day]), "macd")
        both = last.portfolio.merge(now.portfolio, on=["date", "execution", "cost_bps"])
        assert len(both) == len(now.portfolio)
        np.testing.assert_allclose(both["net_x"], both["net_y"], atol=1e-15)
        np.testing.assert_allclose(now.scale, last.scale[: len(now.scale)], rtol=1e-12)


def test_lines_hold_what_was_decided_and_seen(folder: Path, whole: Panel, life: Path) -> None:
    record = known(life)
    assert len(record.entries) == DAYS
    assert record.header.agents["dmn"].seeds == (0, 1)
    assert record.header.evidence.cost == MARKET
    assert record.header.evidence.execution == "late"
    _, weights = backtested(folder, whole, "dmn", whole.until(whole.dates[BEGIN]), "late")
    for k, entry in enumerate(record.entries):
        for j, (market, asset) in enumerate(record.header.assets):
            row = int(np.searchsorted(whole.dates, np.datetime64(entry.as_of[market])))
            assert row == whole.markets[market].rows[whole.markets[market].rows <= BEGIN + k][-1]
            decided = entry.agents["dmn"].weights[j]
            assert (decided is None) == (not whole.tradable[row, j]), (market, asset)
            if decided is not None:
                np.testing.assert_allclose(decided, weights.iloc[row, j], rtol=0, atol=1e-12)
                assert entry.returns[j] == whole.returns[row, j]
    assert any(None in entry.returns for entry in record.entries), "an asset was halted or delisted"


def test_evidence_is_of_the_declared_execution_and_cost_worked_by_hand(life: Path, whole: Panel) -> None:
    cut, record = whole.until(whole.dates[BEGIN + DAYS - 1]), known(life)
    all_scored = {label: scored(life, cut, label) for label in AGENTS}
    table = forward_table(all_scored, record.header)
    proof = table[table["wealth"].notna()].set_index("agent")
    assert proof.index.tolist() == [*AGENTS, MEAN]
    paths = []
    for label, one in all_scored.items():
        days = one.portfolio[(one.portfolio["execution"] == "late") & one.portfolio["cost_bps"].isna()]
        halves, path = [0.5, 0.5], []
        for d, (net, cost) in enumerate(zip(days["net"], days["cost"], strict=True)):
            largest = 20.0 * one.scale[max(d - 20, 0) : d + 1].max() + cost + one.young[d]
            stake = net / largest if largest > 0.0 else 0.0
            halves = [halves[0] * (1.0 + 0.5 * stake), halves[1] * (1.0 + stake)]
            path.append(sum(halves))
        np.testing.assert_allclose(wealth_of(one, record.header.evidence), path, rtol=1e-12)
        np.testing.assert_allclose(proof.loc[label, "wealth"], path[-1], rtol=1e-12)
        np.testing.assert_allclose(proof.loc[label, "p_value"], 1.0 / max(1.0, *path), rtol=1e-12)
        assert proof.loc[label, "p_holm"] >= proof.loc[label, "p_value"]
        paths.append(path)
    np.testing.assert_allclose(proof.loc[MEAN, "wealth"], np.mean(paths, axis=0)[-1], rtol=1e-12)
    assert np.ptp(paths[0]) > 1e-3


def test_the_scale_is_of_the_book_held_over_the_days_before_and_of_no_later_one(whole: Panel) -> None:
    rng = np.random.default_rng(0)
    rows = np.array([5, 30, 700, 701, 1400])
    book = rng.standard_normal((5, whole.shape[1]))
    scale, young = book_scale(whole, whole.dates[rows], book, 252)
    for d, row in enumerate(rows):
        past = whole.returns[max(row - 252, 0) : row]
        traded = np.isfinite(past).sum(axis=0)
        old = traded >= 20
        earned = np.nan_to_num(past[:, old]) @ (book[d, old] * (len(past) / traded[old]) ** 0.5)
        np.testing.assert_allclose(scale[d], np.sqrt((earned**2).mean()), rtol=1e-12)
        np.testing.assert_allclose(young[d], np.abs(book[d, ~old]).sum(), rtol=1e-12)
    assert scale[0] == 0.0
    assert young[0] > 0.0
    later = whole.with_future_scrambled(whole.dates[699])
    moved = book_scale(later, whole.dates[rows[2:3]], book[2:3], 252)
    np.testing.assert_array_equal(moved[0], scale[2:3])


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("hourly", [False, True])
def test_weights_of_any_calendar_and_lag_earn_what_the_backtest_says(*, lag: int, hourly: bool) -> None:
    """A record made by hand: of days, and of bars within days, which are in time until the next bar."""
    rng, T = np.random.default_rng(lag), 140
    days = np.datetime64("2020-01-06") + np.arange(T // 7)
    bars = (days.astype("datetime64[s]")[:, None] + np.arange(14, 21) * np.timedelta64(3600, "s")).ravel()
    dates = bars if hourly else np.datetime64("2020-01-06") + np.arange(T)
    returns = rng.standard_normal((T, 2)) / 100
    panel = Panel.build(dates, ["A", "B"], ["M", "M"], returns, bars_per_year=1764.0 if hourly else 365.0)
    weights = rng.standard_normal((T, 2))
    terms = Terms(cost=3.0, execution="on-time", largest_loss=20.0, scale_days=50, widest_days=5, bets=(1.0,))
    agent = RecordedAgent(agent="macd", seeds=(0,), vol_target=None, units={})
    header = Header(
        created="2020-01-01T00:00:00Z",
        run="0" * 64,
        run_panel="",
        agents={"macd": agent},
        assets=(("M", "A"), ("M", "B")),
        costs=(3.0,),
        execution_lag=lag,
        bars_per_year=panel.bars_per_year,
        closes="03:00",
        evidence=terms,
        versions={},
    )
    entries = [
        Entry(
            written=f"{np.datetime64(dates[t], 's') + np.timedelta64(60, 's')}Z",
            run="0" * 64,
            as_of={"M": str(dates[t])},
            history=dict(
                zip(["M"], histories(panel, {"M": [str(dates[t])]}, priced=False)["M"], strict=True)
            ),
            returns=tuple(returns[t].tolist()),
            agents={"macd": Decision(signals=(0.5, 0.5), weights=tuple(weights[t].tolist()))},
        )
        for t in range(100, 139)
    ]
    record = Record.of(Path("r"), sealed([_content(header), *(_content(entry) for entry in entries)]))
    assert record is not None
    standing = stand(record, panel)
    assert standing.late == []
    assert revised(record, panel) is None
    found = score(record, standing, panel, "macd")
    assert found is not None
    tape = Tape.of(panel, cost_bps=3.0, start=dates[101], execution_lag=lag).of_market(panel.markets["M"])
    for execution, more in (("on-time", 0), ("late", 1)):
        held = np.where(np.arange(T)[:, None] >= 100, weights, 0.0)
        expected = backtest(replace(tape, lag=lag + more), held).net[100:].mean(axis=1)
        own = found.portfolio[found.portfolio["execution"] == execution]
        np.testing.assert_array_equal(own["date"].to_numpy().astype(dates.dtype), dates[101:])
        np.testing.assert_allclose(own["net"], expected, rtol=0, atol=1e-15)
    assert len(found.scale) == 39


@pytest.mark.slow
def test_a_life_of_thirty_days_on_the_embedded_panel(tmp_path: Path) -> None:
    panel = embedded()
    days = panel.dates[-31:]
    config = RunConfig(
        agents=("dmn-linear-sharpe", "macd"), seeds=2, quick=True, jobs=1, out=tmp_path / "run"
    )
    folder = run(config, panel.until(days[0] - 1))
    path = tmp_path / "record.jsonl"
    for day in days:
        add(folder, path, panel.until(day), closes="20:00")
    for label in config.agents:
        for execution in EXECUTIONS:
            table = scored(path, panel, label).portfolio
            own = table[(table["execution"] == execution) & (table["cost_bps"] == 0.0)]
            expected, _ = backtested(folder, panel, label, panel.until(days[0]), execution)
            assert len(own) == 30
            np.testing.assert_allclose(own["net"], expected, rtol=0, atol=1e-12)


# Lines that are late, missing or repeated.


def test_a_line_written_when_the_next_close_could_be_known_decides_nothing(
    folder: Path, whole: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = tmp_path / "record.jsonl", tmp_path / "without.jsonl"
    for one in (path, other):
        add(folder, one, whole.until(whole.dates[BEGIN]))
    for day in range(BEGIN + 1, BEGIN + 6):
        cut = whole.until(whole.dates[day])
        following = datetime.fromisoformat(f"{whole.dates[day + 1]}T03:00:00").replace(tzinfo=UTC)
        line_of(folder, path, cut, now=following if day == BEGIN + 3 else None)
        if day != BEGIN + 3:
            line_of(folder, other, cut)
    cut, line = whole.until(whole.dates[BEGIN + 14]), 2 + 3
    record = known(path)
    late = stand(record, cut).late
    opened = [name for name, own in whole.own_dates.items() if whole.dates[BEGIN + 4] in own]
    decided = [name for name in opened if record.entries[3].as_of[name] != record.entries[2].as_of[name]]
    assert {one.line for one in late} == {line}
    assert {one.market for one in late} == set(decided) != set()
    for label in AGENTS:
        pd.testing.assert_frame_equal(scored(path, cut, label).portfolio, scored(other, cut, label).portfolio)
    capsys.readouterr()
    forward(Forward(record=path), panel=cut)
    assert f"Late entry, left out: line {line}, written {whole.dates[BEGIN + 4]}T03:00:00Z" in (
        capsys.readouterr().out
    )


def test_days_count_for_all_markets_from_the_first_line_that_was_in_time_for_any(
    folder: Path, whole: Panel, tmp_path: Path
) -> None:
    """M2's data come late, so that the first line is late for it: until the second one it is flat."""
    path, panel = tmp_path / "record.jsonl", replace(whole, own_costs=None)
    late = {name: whole.dates[BEGIN - (9 if name == "M2" else 0)] for name in whole.markets}
    add(folder, path, panel.until(late), costs=(0.0,), now=evening(panel.until(whole.dates[BEGIN])))
    line_of(folder, path, panel.until(whole.dates[BEGIN + 3]))
    later = panel.until(whole.dates[BEGIN + 12])
    standing = stand(known(path), later)
    assert {(one.line, one.market) for one in standing.late} == {(2, "M2")}
    seen = whole.own_dates["M0"][whole.own_dates["M0"] <= whole.dates[BEGIN]][-1]
    assert standing.start == {"M0": seen + 1, "M2": seen + 1}, "M1 has ended"
    narrow = later.select(standing.start)
    weights = standing_weights(known(path), standing, narrow, "macd")
    before = narrow.dates <= whole.dates[BEGIN + 2]
    assert not weights[before][:, narrow.markets["M2"].columns].any()
    assert weights[before][:, narrow.markets["M0"].columns].any()
    assert weights[~before][:, narrow.markets["M2"].columns].any()
    table = scored(path, later, "macd").portfolio
    assert table["date"].min() > pd.Timestamp(seen)
    assert (table["markets"] == 2).all()


def test_a_second_earlier_it_was_in_time_and_the_header_says_what_is_late(
    folder: Path, whole: Panel, tmp_path: Path
) -> None:
    path = tmp_path / "record.jsonl"
    cut = whole.until(whole.dates[BEGIN])
    following = datetime.fromisoformat(f"{whole.dates[BEGIN + 1]}T19:59:59").replace(tzinfo=UTC)
    add(folder, path, cut, now=following, closes="20:00")
    later = whole.until(whole.dates[BEGIN + 9])
    assert stand(known(path), later).late == []
    with pytest.raises(ConfigError, match="closes is 21:00, and the record was begun with 20:00"):
        add(folder, path, later, closes="21:00")


def test_a_record_of_days_long_past_is_late_throughout_and_has_no_figures(
    folder: Path, whole: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "record.jsonl"
    now = datetime(2026, 11, 30, tzinfo=UTC)
    add(folder, path, whole.until(whole.dates[BEGIN]), now=now)
    for day in range(BEGIN + 1, BEGIN + 7):
        line_of(folder, path, whole.until(whole.dates[day]), now=now)
    printed = capsys.readouterr().out
    assert "by this machine's clock the next close may be known by now" in printed
    forward(Forward(record=path), panel=whole)
    printed = capsys.readouterr().out
    assert printed.count("Late entry, left out: line") == 5
    assert "Late entries, left out: 2 more, up to line 8." in printed
    assert "No day to score yet" in printed


def test_a_day_without_a_line_trades_nothing(folder: Path, whole: Panel, life: Path, tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    add(folder, path, whole.until(whole.dates[BEGIN]))
    for day in range(BEGIN + 3, BEGIN + 30, 3):
        line_of(folder, path, whole.until(whole.dates[day]))
    found = scored(path, whole.until(whole.dates[BEGIN + 40]), "macd").portfolio
    own = found[(found["execution"] == "on-time") & (found["cost_bps"] == 0.0)]
    traded = own[own["turnover"] > 1e-9]["date"].to_numpy().astype("datetime64[D]")
    rows = np.searchsorted(whole.dates, traded)
    assert len(rows) >= 8
    entries = known(path).entries
    decided = {moment for entry in entries for moment in entry.as_of.values()}
    before = {
        str(own[own < day][-1]) for day in traded for own in whole.own_dates.values() if (own == day).any()
    }
    assert before & decided
    exits = Tape.of(whole).exits.any(axis=1)
    for row, day in zip(rows, traded, strict=True):
        held = [own for own in whole.own_dates.values() if (own == day).any()]
        assert exits[row] or any(str(own[own < day][-1]) in decided for own in held)


def test_the_same_day_again_adds_nothing_and_says_so(
    folder: Path, whole: Panel, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = copy.read_bytes()
    add(folder, copy, whole.until(whole.dates[BEGIN + DAYS - 1]))
    assert f"Line {DAYS + 1} says the same of" in capsys.readouterr().out
    assert copy.read_bytes() == before


def test_the_same_day_with_other_decisions_an_earlier_day_or_a_clock_set_back_is_refused(
    folder: Path, whole: Panel, copy: Path
) -> None:
    before = copy.read_bytes()
    last = whole.until(whole.dates[BEGIN + DAYS - 1])
    other = replace(
        last, returns=np.where(np.arange(len(last.dates))[:, None] > 500, 1.1, 1.0) * last.returns
    )
    says = rf"line {DAYS + 1}: is of the same day, and says otherwise: '\w+' gave M\d/A\d a weight of "
    with pytest.raises(ConfigError, match=says):
        add(folder, copy, other)
    with pytest.raises(ConfigError, match=r"market 'M\d' ends on .*, and the last line of .* is of"):
        add(folder, copy, whole.until(whole.dates[BEGIN + DAYS - 2]))
    following = whole.until(whole.dates[BEGIN + DAYS])
    with pytest.raises(ConfigError, match=r"the panel ends on .*, and this machine's clock says"):
        add(folder, copy, following, now=datetime(1999, 1, 1, tzinfo=UTC))
    record = known(copy)
    ahead = replace(record.entries[-1], written="2200-01-01T00:00:00Z")
    early = replace(ahead, written=record.entries[0].written, as_of=dict.fromkeys(ahead.as_of, "1990-01-01"))
    with pytest.raises(ConfigError, match="later than the panel, which ends on 1990-01-01"):
        add_entry(copy, record.header, early)
    assert copy.read_bytes() == before
    with opened_chain(copy) as lines:
        lines.append(json.loads(canonical(_content(replace(ahead, as_of=_days_later(ahead.as_of))))))
    with pytest.raises(ConfigError, match=r"was written at 2200-01-01T00:00:00Z, and this machine's clock"):
        add_entry(
            copy,
            record.header,
            replace(ahead, as_of=_days_later(ahead.as_of), written="2199-01-01T00:00:00Z"),
        )


def _days_later(as_of: dict[str, str]) -> dict[str, str]:
    return {name: str(np.datetime64(day) + 9) for name, day in as_of.items()}


def _content(line: Any) -> dict[str, Any]:
    import msgspec

    content: dict[str, Any] = msgspec.to_builtins(line)
    return content


# What goes on and what does not.


def test_what_the_first_line_declares_holds_for_good(folder: Path, whole: Panel, copy: Path) -> None:
    panel = whole.until(whole.dates[BEGIN + DAYS])
    for options, says in (
        ({"agents": ("macd",)}, r"agents is .*'macd'.*, and the record was begun with .*'dmn', 'macd'"),
        ({"costs": (0.0,)}, "costs is "),
        ({"evidence_cost": 0.0}, "evidence_cost is 0.0, and the record was begun with market"),
        ({"execution": "on-time"}, "execution is on-time, and the record was begun with late"),
    ):
        with pytest.raises(ConfigError, match=says):
            add(folder, copy, panel, **options)
        with pytest.raises(ConfigError, match=says):
            forward(Forward(record=copy, **options), panel=panel)
    add(folder, copy, panel, agents=("macd", "dmn"), costs=LEVELS, execution="late")
    assert len(known(copy).entries) == DAYS + 1


def test_another_run_is_refused(folder: Path, whole: Panel, copy: Path, tmp_path: Path) -> None:
    again = Path(shutil.copytree(folder, tmp_path / "again"))
    add(again, copy, whole.until(whole.dates[BEGIN + DAYS]))  # a copy is the same run
    edit_json(again / "units" / "dmn-seed1" / "audit.json", lambda audit: audit.update(active=1))
    with pytest.raises(FileError, match="changed since it was written"):
        add(again, copy, whole.until(whole.dates[BEGIN + DAYS + 1]))
    resealed(again)
    with pytest.raises(ConfigError, match=r"again: its agent 'dmn' is another one than the record was begun"):
        add(again, copy, whole.until(whole.dates[BEGIN + DAYS + 1]))
    assert len(known(copy).entries) == DAYS + 1


def test_a_panel_that_lacks_something_is_refused_and_one_that_has_more_is_narrowed(
    folder: Path, whole: Panel, copy: Path
) -> None:
    header = known(copy).header
    with pytest.raises(ConfigError, match="the panel lacks M1/A0, which the record decides on"):
        forward(Forward(record=copy), panel=whole.select(["M0", "M2"]))
    with pytest.raises(ConfigError, match="the record declares each asset's own costs, and the data do not"):
        forward(Forward(record=copy), panel=replace(whole, own_costs=None))
    with pytest.raises(ConfigError, match="the panel has 52 rows a year, expected 252"):
        forward(Forward(record=copy), panel=replace(whole, bars_per_year=52.0))
    wide = replace(
        whole,
        assets=(*whole.assets, "NEW"),
        market_of=(*whole.market_of, "M9"),
        returns=np.hstack([whole.returns, np.full((len(whole.dates), 1), 0.01)]),
        tradable=np.hstack([whole.tradable, np.ones((len(whole.dates), 1), dtype=bool)]),
    )
    assert recorded_panel(header, wide).fingerprint == whole.fingerprint


def test_what_no_record_begins_with_is_refused(folder: Path, whole: Panel, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "record.jsonl"
    panel = whole.until(whole.dates[BEGIN])
    with pytest.raises(ConfigError, match="holds no record yet; --run DIR, a finished run, begins one"):
        forward(Forward(record=path), panel=panel)
    with pytest.raises(ConfigError, match=r"the run has no agent 'mcad'\. Did you mean 'macd'"):
        add(folder, path, panel, agents=("mcad",))
    with pytest.raises(
        ConfigError, match=r"evidence_cost is 3, expected one of the costs of the record: 0, 2\."
    ):
        add(folder, path, panel, costs=(0.0, 2.0), evidence_cost=3.0)
    with pytest.raises(ConfigError, match="closes is '9 pm', expected a time of day in UTC"):
        add(folder, path, panel, closes="9 pm")
    with pytest.raises(ConfigError, match="head is 'ab', expected at least 8 characters"):
        Forward(record=path, head="ab")
    assert not path.exists(), "nothing is begun by a command that is refused"
    add(folder, path, panel, costs=(2.0, 0.0))
    assert known(path).header.evidence.cost == 2.0


# Revised data.


def test_data_that_were_revised_are_named_with_the_first_line_that_saw_others(
    folder: Path, whole: Panel, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = known(copy)
    assert revised(record, whole) is None
    line = 14
    entry = record.entries[line - 2]
    market, j = next(
        (name, j)
        for j, (name, _) in enumerate(record.header.assets)
        if entry.returns[j] and entry.as_of[name] != record.entries[line - 3].as_of[name]
    )
    row = int(np.searchsorted(whole.dates, np.datetime64(entry.as_of[market])))
    returns = whole.returns.copy()
    returns[row, j] *= 1.0 + 1e-12
    change = revised(record, replace(whole, returns=returns))
    assert change is not None
    assert (change.line, change.market, change.lines) == (line, market, DAYS - (line - 2))
    was, now = repr(float(whole.returns[row, j])), repr(float(returns[row, j]))
    assert change.what == f"the return of {whole.assets[j]!r} on {entry.as_of[market]} was {was} and is {now}"
    capsys.readouterr()
    forward(Forward(record=copy), panel=replace(whole, returns=returns))
    assert f"Warning: the data were revised. Line {line} (market {market!r}" in capsys.readouterr().out
    returns = whole.returns.copy()
    returns[300, np.flatnonzero(np.isfinite(returns[300]))[0]] += 1e-6
    change = revised(record, replace(whole, returns=returns))
    assert change is not None
    assert (change.line, change.what) == (2, "an earlier return, a day on which an asset traded, or a cost")
    assert whole.own_costs is not None
    dearer = CostTable(whole.own_costs.rows.assign(half_spread_bps=0.5))  # type: ignore[attr-defined]
    change = revised(record, replace(whole, own_costs=dearer))
    assert change is not None
    assert change.line == 2


def test_a_history_is_the_same_digest_from_one_pass_or_many_and_from_longer_data(whole: Panel) -> None:
    own = whole.own_dates["M2"]
    ends = [str(own[k]) for k in (3, 3, 50, 51, 900)]
    found = histories(whole, {"M2": ends}, priced=True)["M2"]
    for end, digest_ in zip(ends, found, strict=True):
        cut = whole.until(end)
        assert histories(cut, {"M2": [end]}, priced=True)["M2"] == [digest_]
        assert histories(cut.select(["M2"]), {"M2": [end]}, priced=True)["M2"] == [digest_]
    assert len(set(found)) == 4
    assert histories(whole, {"M2": ends}, priced=False)["M2"] != found


# The file: what was done to it is named.


def refused(path: Path, folder: Path, panel: Panel, says: str) -> None:
    before = path.read_bytes()
    for use in (
        lambda: forward(Forward(record=path), panel=panel),
        lambda: add(folder, path, panel),
        lambda: forward(Forward(record=path, repair=True), panel=panel),
    ):
        with pytest.raises(FileError, match=says):
            use()
    assert path.read_bytes() == before


def test_a_changed_moved_removed_or_repeated_line_is_named_and_nothing_is_added(
    folder: Path, whole: Panel, copy: Path
) -> None:
    panel = whole.until(whole.dates[BEGIN + DAYS])
    lines = copy.read_bytes().splitlines(keepends=True)
    rng = np.random.default_rng(0)
    for _ in range(4):
        i, j = sorted(rng.choice(len(lines) - 1, 2, replace=False).tolist())
        place = int(rng.integers(len(lines[i]) - 1))
        byte = bytes([lines[i][place] ^ 1 << int(rng.integers(7))])
        changed = [*lines[:i], lines[i][:place] + byte + lines[i][place + 1 :], *lines[i + 1 :]]
        swapped = [*lines[:i], lines[j], *lines[i + 1 : j], lines[i], *lines[j + 1 :]]
        for content, says in (
            (changed, rf"line {i + 1}: was changed since it was written"),
            (swapped, rf"line {i + 1}: is line {j + 1}, and line {i + 1} is in line {j + 1}"),
            ([*lines[:i], *lines[i + 1 :]], rf"line {i + 1}: is line {i + 2}; line {i + 1} was removed"),
            ([*lines[: j + 1], *lines[i:]], rf"line {j + 2}: is line {i + 1} once more"),
        ):
            copy.write_bytes(b"".join(content))
            refused(copy, folder, panel, says)


def test_a_line_that_was_cut_short_is_repaired_and_the_record_goes_on_to_the_same_figures(
    folder: Path, whole: Panel, life: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    panel, content = whole.until(whole.dates[BEGIN + DAYS - 1]), copy.read_bytes()
    copy.write_bytes(content[:-100])
    for use in (lambda: forward(Forward(record=copy), panel=panel), lambda: add(folder, copy, panel)):
        with pytest.raises(FileError, match=rf"line {DAYS + 1}: was not written to its end .* --repair"):
            use()
    capsys.readouterr()
    add(folder, copy, panel, repair=True)
    assert "bytes of a line that was not written to its end are cut off" in capsys.readouterr().out
    assert copy.read_bytes() == content


def test_a_process_killed_behind_the_first_line_goes_on(folder: Path, whole: Panel, tmp_path: Path) -> None:
    path, panel = tmp_path / "record.jsonl", whole.until(whole.dates[BEGIN])
    add(folder, path, panel)
    content = path.read_bytes()
    path.write_bytes(content.splitlines(keepends=True)[0])
    assert known(path).entries == ()
    forward(Forward(record=path), panel=panel)
    add(folder, path, panel)
    assert path.read_bytes() == content


def test_a_head_that_was_kept_is_found_until_lines_are_cut_off_or_made_anew(
    whole: Panel, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = read_chain(copy)[-1].digest
    assert forward(Forward(record=copy, head=head[:12]), panel=whole) == 0
    printed = capsys.readouterr().out
    assert f"Line {DAYS + 1} has the digest that was kept." in printed
    assert f"Head, line {DAYS + 1}: {head}" in printed
    lines = copy.read_bytes().splitlines(keepends=True)
    copy.write_bytes(b"".join(lines[:-1]))
    forward(Forward(record=copy), panel=whole)  # the chain by itself is whole
    with pytest.raises(
        ConfigError, match=r"no line has the digest .*: lines were cut off or all written anew"
    ):
        forward(Forward(record=copy, head=head), panel=whole)


def test_the_command_line_ends_with_one_and_names_the_line(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(copy.read_bytes())
    content[content.index(b"\n") + 30] ^= 1
    copy.write_bytes(bytes(content))
    assert main(["forward", "--record", str(copy)]) == 1
    assert "record.jsonl, line 2: was changed since it was written" in capsys.readouterr().err


def test_the_options_are_read() -> None:
    words = "--record r.jsonl --run R --agents a,b --costs 0,market --evidence-cost market --repair"
    assert tyro.cli(Forward, args=[*words.split(), "--closes", "20:00"]) == Forward(
        record=Path("r.jsonl"),
        run=Path("R"),
        agents=("a", "b"),
        costs=(0.0, MARKET),
        evidence_cost=MARKET,
        closes="20:00",
        repair=True,
    )


def test_what_is_printed_can_be_read_and_is_written_as_a_table(
    whole: Panel, copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forward(Forward(record=copy, out=tmp_path / "scores.csv"), panel=whole)
    printed = capsys.readouterr().out
    written = pd.read_csv(tmp_path / "scores.csv")
    assert written["agent"].tolist() == ["dmn"] * 6 + ["macd"] * 6 + [MEAN]
    rows = [line.split() for line in printed.splitlines() if line.strip().startswith(("dmn", "macd"))]
    assert [len(row) for row in rows] == [8] * 12 + [6] * 2
    for row, (_, figures) in zip(rows[:12], written[:12].iterrows(), strict=True):
        assert (row[0], row[1], int(row[3])) == (figures["agent"], figures["execution"], figures["days"])
        assert float(row[4]) == pytest.approx(figures["sharpe"], rel=1e-3)
        assert float(row[5]) < float(row[4]) < float(row[6])
    assert "Evidence against no skill, one day late, each asset's own costs:" in printed
    assert "not when it was" in printed


# Lines that are whole, and no lines of a record.


def sealed(contents: list[dict[str, Any]]) -> list[Line]:
    """A chain that somebody made who knows how."""
    lines: list[Line] = []
    for content in contents:
        lines.append(chain._sealed(content, lines)[1])
    return lines


CHANGES: list[tuple[int, Callable[[Any], object], str]] = [
    (0, lambda c: c.update(kind="entry"), "line 1: Invalid enum value 'entry'"),
    (0, lambda c: c.update(format=2), "line 1: Invalid enum value 2"),
    (0, lambda c: c.update(agents={}), "line 1: it declares nothing"),
    (0, lambda c: c.update(assets=[c["assets"][0]] * 2), "line 1: an asset is there twice"),
    (0, lambda c: c.update(closes="25:00"), "line 1: closes is '25:00'"),
    (0, lambda c: c.update(costs=[-1.0]), "line 1: costs is -1.0"),
    (0, lambda c: c["evidence"].update(cost=7.0), "line 1: the cost of the evidence is none of its costs"),
    (0, lambda c: c["evidence"].update(bets=[2.0]), "line 1: bets is 2.0"),
    (0, lambda c: c["evidence"].update(largest_loss=0.0), "line 1: largest_loss is 0"),
    (0, lambda c: c.update(created="today"), "line 1: a time is 'today'"),
    (0, lambda c: c.update(run="x"), "line 1: run is no SHA-256"),
    (0, lambda c: c.pop("agents"), "line 1: Object missing required field `agents`"),
    (2, lambda c: c.update(kind="header"), "line 3: Invalid enum value 'header'"),
    (2, lambda c: c.update(run="0" * 64), "line 3: it is of another run"),
    (2, lambda c: c["as_of"].pop("M1"), "line 3: its markets are others"),
    (2, lambda c: c["as_of"].update(M1="soon"), "line 3: a date is 'soon'"),
    (2, lambda c: c["as_of"].update(M1="2001-13-01"), "line 3: a date is '2001-13-01'"),
    (2, lambda c: c["history"].update(M1="x"), "line 3: history holds what is no SHA-256"),
    (2, lambda c: c["agents"].pop("dmn"), "line 3: its agents are others"),
    (2, lambda c: c["agents"]["dmn"]["weights"].pop(), "line 3: weights has 5 values, expected 6"),
    (2, lambda c: c["agents"]["dmn"].update(signals=[2.0] * 6), "line 3: signals holds 2.0"),
    (2, lambda c: c["agents"]["dmn"].update(weights=[1e9] * 6), "line 3: weights holds 1000000000.0"),
    (2, lambda c: c["agents"]["dmn"].update(weights="all"), "line 3: Expected `array`, got `str`"),
    (2, lambda c: c.update(written="2001-01-01"), "line 3: a time is '2001-01-01'"),
    (2, lambda c: c.update(written="1999-01-01T00:00:00Z"), "line 3: is not later than the line before"),
    (2, lambda c: c.update(as_of=dict.fromkeys(c["as_of"], "1999-01-01")), "line 3: is not later than the"),
]


@pytest.mark.parametrize(("place", "change", "says"), CHANGES, ids=[says for _, _, says in CHANGES])
def test_a_whole_chain_that_holds_no_record_is_refused_by_line(
    life: Path, place: int, change: Callable[[Any], object], says: str
) -> None:
    contents = [json.loads(json.dumps(line.content)) for line in read_chain(life)[:4]]
    assert Record.of(life, sealed(contents)) is not None
    change(contents[place])
    with pytest.raises(FileError, match=rf"record\.jsonl, {says}"):
        Record.of(life, sealed(contents))


@settings(max_examples=30)
@given(data=st.data())
def test_whatever_stands_in_a_line_is_a_record_or_refused_by_its_number(
    life: Path, data: st.DataObject
) -> None:
    contents = [json.loads(json.dumps(line.content)) for line in read_chain(life)[:3]]
    place = data.draw(st.integers(0, 2))
    inner: Any = contents[place]
    for _ in range(data.draw(st.integers(1, 4))):
        keys = sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if not isinstance(inner[key], dict | list) or data.draw(st.booleans()):
            leaf = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5)
            inner[key] = data.draw(leaf | st.integers() | st.lists(leaf, max_size=2))
            break
        inner = inner[key]
    try:
        found = Record.of(life, sealed(contents))
    except FileError as error:
        assert f"line {place + 1}: " in str(error) or "is not later" in str(error)  # noqa: PT017
    else:
        assert found is not None


def test_a_run_without_checksums_is_no_identity(folder: Path, whole: Panel, tmp_path: Path) -> None:
    old = Path(shutil.copytree(folder, tmp_path / "old"))
    as_an_earlier_version(old)
    with pytest.raises(ConfigError, match="so nothing says which agents these are"):
        add(old, tmp_path / "record.jsonl", whole.until(whole.dates[BEGIN]))


def test_the_identity_is_of_the_trained_units(folder: Path, life: Path) -> None:
    header = known(life).header
    units = {name: sha for agent in header.agents.values() for name, sha in agent.units.items()}
    assert set(units) == {"dmn-seed0", "dmn-seed1", "macd-seed0"}
    for name, sha in units.items():
        assert sha == digest((folder / "units" / name / "manifest.sha256").read_bytes())
    assert header.run == digest("".join(f"{sha}  {name}\n" for name, sha in sorted(units.items())).encode())

"""Whole runs on small panels: what a run folder holds, what a run refuses, and the command line."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

import agents.population.jobs
import agents.rules
import experiments.running.units
from agents.agent import AGENTS, load_agent, make_agent, settings_of, signals_of, warmup_of
from agents.audit import audit_agent
from experiments import RunConfig, compare
from experiments.cli import main
from experiments.report.page import statement
from experiments.results.run import read_run
from experiments.running.protocols import Protocol, holdout
from experiments.running.runner import load_panel, run
from experiments.running.terminal import EXIT_FAILED
from experiments.running.units import Unit, Variant, evaluate, evaluation_environment, train_agent
from experiments.settings.config import EXECUTIONS, Execution
from experiments.storage.manifest import Manifest
from experiments.storage.records import markets_of
from experiments.storage.store import RunFolder, unit_name
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, DataError, FileError, LookAheadError, QnError
from qn_env.panel import Panel
from qn_env.sources import ar1_trend, ragged
from qn_env.tape import Tape, backtest

COSTS = (0.0, 2.5, 40.0)
RULES = ("buy-and-hold", "macd")

# Agents as a user would write them: one acts day by day, its twin in one pass; one learns; some are broken.
USER_MODULE = '''
import json
import numpy as np


class Follow:
    """Goes with the sign of the mean of all returns it has seen since reset."""

    learns = False

    def fit(self, env, *, seed, validation=None):
        return self

    def reset(self):
        self.total = 0.0

    def act(self, observation):
        self.total = self.total + np.where(observation["tradable"][-1] > 0, observation["returns"][-1], 0.0)
        return np.sign(self.total) * 0.5


class Streak:
    """Goes with the sign of the last return."""

    learns = False

    def fit(self, env, *, seed, validation=None):
        return self

    def reset(self):
        pass

    def act(self, observation):
        return np.sign(observation["returns"][-1])


class StreakTwin(Streak):
    def signals(self, panel):
        return np.sign(np.nan_to_num(panel.returns))

    def act(self, observation):
        raise AssertionError("signals come in one pass")


class Guess:
    """Draws one signal per asset from its seed."""

    def fit(self, env, *, seed, validation=None):
        self.signal = np.random.default_rng(seed).uniform(-1, 1, env.panel.shape[1])
        self.seen = [str(env.panel.dates[-1]), str(validation.panel.dates[-1])]
        return self

    def reset(self):
        pass

    def act(self, observation):
        return self.signal

    def save(self, folder):
        folder.mkdir(parents=True)
        (folder / "guess.json").write_text(json.dumps({"signal": self.signal.tolist(), "seen": self.seen}))


class Unlucky(Streak):
    def fit(self, env, *, seed, validation=None):
        raise RuntimeError("no luck today")


class Greedy(Streak):
    def act(self, observation):
        return np.full(observation["returns"].shape[1], 1.5)


class Tempted(Streak):
    """Learns to look at tomorrow from seed 1 on."""

    learns = True

    def fit(self, env, *, seed, validation=None):
        self.ahead = seed
        return self

    def signals(self, panel):
        return np.sign(np.nan_to_num(np.roll(panel.returns, -self.ahead, axis=0)))


class Heir(Streak):
    """Remembers its ancestors: the seed, and the year its selection block ends in; fails in one of them."""

    learns = True

    def __init__(self, fails=None):
        self.fails = fails
        self.line = []

    def start_from(self, earlier):
        self.line = list(earlier.line)

    def fit(self, env, *, seed, validation=None):
        year = str(validation.panel.dates[-1])[:4]
        if year == self.fails:
            raise RuntimeError("no heir")
        self.line.append([seed, year])
        return self

    def save(self, folder):
        folder.mkdir(parents=True)
        (folder / "heir.json").write_text(json.dumps(self.line))

    @classmethod
    def load(cls, folder):
        agent = cls()
        agent.line = json.loads((folder / "heir.json").read_text())
        return agent
'''
FOLLOW, STREAK, TWIN, GUESS, UNLUCKY, GREEDY, TEMPTED, HEIR = (
    f"users_agents:{name}"
    for name in ("Follow", "Streak", "StreakTwin", "Guess", "Unlucky", "Greedy", "Tempted", "Heir")
)
PLAYED = (*RULES, FOLLOW, GUESS, UNLUCKY)


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Three markets of 1185, 1132 and 1184 own days; two have a delisting in their test block."""
    return ragged(sizes=(2, 1, 2), days=1300, seed=9)


@pytest.fixture(scope="module", autouse=True)
def users_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A user's folder with a module of agents, as the working directory."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "users_agents.py").write_text(USER_MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        yield folder
    sys.modules.pop("users_agents", None)


def run_into(folder: Path, panel: Panel, **settings: Any) -> RunFolder:
    table = compare(PLAYED, panel, out=folder, seeds=2, costs=COSTS, **settings).table
    found = RunFolder(folder)
    pd.testing.assert_frame_equal(found.results(), table)
    return found


@pytest.fixture(scope="module")
def finished(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of rules and of a user's agents, one of which fails, in this process."""
    return run_into(tmp_path_factory.mktemp("alone") / "run", panel, jobs=1)


def agent_days(folder: RunFolder, unit: str) -> pd.DataFrame:
    return folder.unit_days(unit).sort_values(["market", "asset", "date"], ignore_index=True)


def settled(
    signals: np.ndarray, panel: Panel, vol_target: float | None, execution_lag: int = 0
) -> pd.DataFrame:
    """Gross and turnover of signals [T, N] on the test block, market by market."""
    fold = holdout(panel)
    parts = []
    for name, market in panel.markets.items():
        tape = Tape.of(
            panel.select([name]),
            vol_target=vol_target,
            start=fold.test_start[name],
            execution_lag=execution_lag,
        )
        ledger = backtest(tape, market.compact(signals))
        for j, asset in enumerate(market.assets):
            frame = pd.DataFrame({"date": tape.dates[1:], "market": name, "asset": asset})
            frame = frame.assign(gross=ledger.gross[:, j], turnover=ledger.turnover[:, j])
            parts.append(frame[frame["date"] >= fold.test_start[name]])
    return pd.concat(parts).sort_values(["market", "asset", "date"], ignore_index=True)


def test_two_processes_give_what_one_gives_to_the_last_bit(
    finished: RunFolder, panel: Panel, tmp_path: Path
) -> None:
    other = run_into(tmp_path / "run", panel, jobs=2)
    for table in ("results", "portfolio", "leaderboard"):
        one, two = (getattr(folder, table)() for folder in (finished, other))
        pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert finished.record()["failed"] == other.record()["failed"]
    names = sorted(p.name for p in (finished.path / "units").iterdir())
    assert names == sorted(p.name for p in (other.path / "units").iterdir())
    for name in names:
        if finished.has_unit(name):
            pd.testing.assert_frame_equal(finished.unit_days(name), other.unit_days(name), check_exact=True)


def test_a_failing_agent_is_reported_and_the_others_finish(finished: RunFolder) -> None:
    assert finished.record()["failed"] == [
        {
            "agent": UNLUCKY,
            "seed": seed,
            "window": "",
            "kind": "RuntimeError",
            "error": "RuntimeError: no luck today",
        }
        for seed in finished.record()["agents"][UNLUCKY]["seeds"]
    ]
    error = (finished.path / "units" / "users_agents--Unlucky-seed0" / "error.txt").read_text()
    assert "Traceback" in error
    assert "no luck today" in error
    assert not finished.has_unit("users_agents--Unlucky-seed0")
    done = set(PLAYED) - {UNLUCKY}
    assert set(finished.results()["agent"]) == set(finished.leaderboard()["agent"]) == done


@pytest.mark.parametrize("agent", ["macd", FOLLOW])
def test_every_unit_stores_the_audit_that_its_agent_passed(
    finished: RunFolder, panel: Panel, agent: str
) -> None:
    stored = json.loads((finished.unit(unit_name(agent, 0)) / "audit.json").read_text())
    fold = holdout(panel)
    unit = Unit(agent, Variant(agent), 0, finished.record()["agents"][agent]["vol_target"])
    found = audit_agent(unit.agent(), evaluation_environment(unit, unit.agent(), fold), seed=0)
    assert stored == {
        "comparisons": [{"what": c.what, "decisions": c.decisions} for c in found.comparisons],
        "around": found.around,
        "assets": found.assets,
        "active": found.active,
    }
    assert len(stored["comparisons"]) == 4  # a second pass, and three changes of later days
    # A decision on every own day from the close before the test block on, the last day among them.
    decisions = sum(
        int((panel.tradable[market.rows[fold_rows(panel, name) - 1 :], market.columns]).sum())
        for name, market in panel.markets.items()
    )
    assert stored["comparisons"][0]["decisions"] == decisions


def fold_rows(panel: Panel, market: str) -> int:
    """How many of a market's own days come before its test block."""
    own = panel.dates[panel.markets[market].rows]
    return int(np.searchsorted(own, holdout(panel).test_start[market]))


def test_an_agent_that_looks_ahead_with_one_seed_has_no_figures_at_all(panel: Panel, tmp_path: Path) -> None:
    table = compare([TEMPTED, "macd"], panel, out=tmp_path / "run", seeds=2, costs=COSTS, jobs=1).table
    folder = RunFolder(tmp_path / "run")
    (failure,) = folder.record()["failed"]
    assert {key: failure[key] for key in ("agent", "seed", "window", "kind")} == {
        "agent": TEMPTED,
        "seed": 1,
        "window": "",
        "kind": "LookAheadError",
    }
    assert re.search(r"Look-ahead: .* On \d{4}-\d\d-\d\d the signal for M\d/A\d was", failure["error"])
    # Its other seed was honest, and stays out of every table.
    assert folder.has_unit("users_agents--Tempted-seed0")
    assert not folder.has_unit("users_agents--Tempted-seed1")
    for found in (table, folder.results(), folder.portfolio(), folder.leaderboard()):
        assert set(found["agent"]) == {"macd"}


def test_a_run_of_nothing_but_look_ahead_says_so(panel: Panel, tmp_path: Path) -> None:
    with pytest.raises(LookAheadError, match=r"no agent finished every window, 1 of 2 units failed.*On \d"):
        compare([TEMPTED], panel, out=tmp_path / "run", seeds=2, jobs=1)


def test_all_agents_failing_is_an_error_that_says_why(panel: Panel, tmp_path: Path) -> None:
    with pytest.raises(QnError, match=r"not a single unit finished.*no luck today"):
        compare([UNLUCKY], panel, out=tmp_path / "run", jobs=1)


def test_signals_outside_their_bounds_fail_the_unit_naming_asset_and_day(
    panel: Panel, tmp_path: Path
) -> None:
    with pytest.raises(QnError, match=r"1\.5"):
        compare([GREEDY], panel, out=tmp_path / "run", jobs=1)


def test_an_existing_folder_is_refused_and_left_as_it_was(panel: Panel, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ConfigError, match=r"exists already; a run never overwrites another"):
        compare(RULES, panel, out=tmp_path, jobs=1)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_nothing_is_written_for_a_run_that_cannot_start(panel: Panel, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'macd'"):
        compare(["macdd"], panel, out=tmp_path / "run")
    with pytest.raises(DataError, match=r"market 'M0' has .* trading days"):
        compare(RULES, ragged(sizes=(1,), days=300, seed=0), out=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"unknown setting 'execution_leg'\. Did you mean 'execution_lag'"):
        compare(RULES, panel, out=tmp_path / "run", execution_leg=1)
    # With a panel at hand nothing is chosen from it.
    with pytest.raises(ConfigError, match="unknown setting 'exclude'"):
        compare(RULES, panel, out=tmp_path / "run", exclude=("M0",))
    assert list(tmp_path.iterdir()) == []


def test_compare_takes_every_setting_of_a_run(panel: Panel, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"protocol": "expanding", "test_years": 1, "calendar": "union", "jobs": 1}
    table = compare(RULES, panel, out=tmp_path / "a", costs=[3], **settings).table
    config = RunConfig(agents=RULES, costs=(3.0,), out=tmp_path / "b", **settings)
    expected = RunFolder(run(config, panel)).results()
    pd.testing.assert_frame_equal(table.drop(columns="run"), expected.drop(columns="run"), check_exact=True)
    assert len(RunFolder(tmp_path / "a").record()["panel"]["windows"]) > 1
    # Each window's record names every market; the page and its figure count them once.
    shape = f"{len(panel.assets)} assets in {len(panel.markets)} markets"
    assert shape in statement(read_run(tmp_path / "a"))
    assert markets_of(RunFolder(tmp_path / "a").record()) == list(panel.markets)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"agents": ("macd", "macd")}, "agents: macd appears twice"),
        ({"agents": ()}, "agents is empty"),
        ({"costs": (1.0, 1.0)}, r"costs: 1\.0 appears twice"),
        ({"costs": ()}, "costs is empty"),
        ({"costs": (-1.0,)}, r"costs is -1\.0, expected a number of basis points >= 0"),
        ({"costs": (float("nan"),)}, "costs is nan, expected a number of basis points"),
        ({"costs": (float("inf"),)}, "costs is inf, expected a number of basis points"),
        ({"protocol": "holdot"}, "unknown protocol 'holdot'. Did you mean 'holdout'"),
        ({"calendar": "unon"}, "unknown calendar 'unon'. Did you mean 'union'"),
        ({"warm_start": True}, "warm_start goes on from the window before, and holdout has one window"),
        ({"seeds": 0}, "seeds is 0, expected at least 1"),
        ({"jobs": 0}, "jobs is 0, expected at least 1"),
        ({"seed": -1}, "seed is -1, expected at least 0"),
        ({"vol_target": 0.0}, r"vol_target is 0\.0, expected a volatility, e\.g\. 0\.15, above 0"),
        ({"vol_target": float("nan")}, "vol_target is nan"),
    ],
)
def test_a_bad_setting_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunConfig(**settings)


def test_seeds_count_up_from_the_first() -> None:
    assert RunConfig().seed_list == (0, 1, 2, 3, 4)
    assert RunConfig(quick=True).seed_list == (0, 1)
    assert RunConfig(quick=True, seeds=3, seed=7).seed_list == (7, 8, 9)


def test_leaving_out_every_market_is_refused() -> None:
    markets = tuple(load_panel(RunConfig()).markets)
    assert tuple(load_panel(RunConfig(exclude=markets[1:])).markets) == markets[:1]
    with pytest.raises(ConfigError, match=rf"all {len(markets)} markets are excluded"):
        load_panel(RunConfig(exclude=markets))
    with pytest.raises(ConfigError, match=r"unknown market 'Enrgy'\. Did you mean 'Energy'"):
        load_panel(RunConfig(exclude=("Enrgy",)))


def test_the_record_says_what_ran_on_what(finished: RunFolder, panel: Panel) -> None:
    record = finished.record()
    assert record["config"]["agents"] == list(PLAYED)
    assert record["config"]["costs"] == list(COSTS)
    assert record["panel"]["fingerprint"] == panel.fingerprint
    assert record["panel"]["markets"] == holdout(panel).blocks.to_dict("records")
    assert record["panel"]["assets"] == 5
    rules = Path(agents.rules.__file__).read_bytes()
    assert record["agents"]["buy-and-hold"] == {
        "agent": "buy-and-hold",
        "options": {},
        "built_with": {"rule": "buy-and-hold"},
        "source": hashlib.sha256(rules).hexdigest(),
        "windows": {},
        "vol_target": None,
        "train_cost_bps": 0.0,
        "train_execution": "on-time",
        "warmup": 0,
        "learns": False,
        "warm_start": False,
        "seeds": [0],
    }
    assert (record["agents"]["macd"]["vol_target"], record["agents"]["macd"]["warmup"]) == (0.15, 315)
    assert (record["agents"][GUESS]["learns"], record["agents"][GUESS]["seeds"]) == (True, [0, 1])


def test_a_learnt_agent_is_shown_to_the_end_of_its_blocks_and_not_comparable_with_two_seeds(
    finished: RunFolder, panel: Panel
) -> None:
    fold = holdout(panel)
    stored = [
        json.loads(
            (finished.path / "units" / f"users_agents--Guess-seed{s}/checkpoint/guess.json").read_text()
        )
        for s in (0, 1)
    ]
    assert stored[0]["signal"] != stored[1]["signal"]
    assert stored[0]["seen"] == [str(fold.train.dates[-1]), str(fold.select.dates[-1])]
    board = finished.leaderboard().set_index("agent")
    assert not board.loc[GUESS, "comparable"].any()
    assert board.loc[["macd", "buy-and-hold", FOLLOW], "comparable"].all()
    assert (board.loc[GUESS, "seed_low"] < board.loc[GUESS, "seed_high"]).all()


def test_days_lie_in_the_test_block_of_their_market_and_no_day_is_missing(
    finished: RunFolder, panel: Panel
) -> None:
    fold = holdout(panel)
    for unit in ("macd-seed0", "users_agents--Follow-seed0"):
        days = finished.unit_days(unit)
        for name, market in panel.markets.items():
            own = panel.dates[market.rows]
            expected = own[own >= fold.test_start[name]]
            for asset in market.assets:
                mine = days[(days["market"] == name) & (days["asset"] == asset)]
                assert mine["date"].tolist() == list(pd.DatetimeIndex(expected))


def test_a_day_counts_where_a_listed_asset_trades_or_is_booked_out(finished: RunFolder, panel: Panel) -> None:
    days = finished.unit_days("macd-seed0").set_index(["market", "asset", "date"])
    start, booked_out = holdout(panel).test_start, 0
    for name, market in panel.markets.items():
        own = panel.dates[market.rows]
        for asset, traded in zip(market.assets, market.compact(panel.tradable).T, strict=True):
            first, last = np.flatnonzero(traded)[[0, -1]]
            for t in range(1, len(own)):
                if own[t] < start[name]:
                    continue
                row = days.loc[(name, asset, pd.Timestamp(own[t]))]
                assert row["listed"] == (first <= t - 1 <= last)
                assert row["counted"] == (row["listed"] and (traded[t] or t == last + 1))
                booked_out += row["counted"] and t == last + 1
    assert booked_out == 2


@pytest.mark.parametrize("agent", ["buy-and-hold", "macd", FOLLOW, GUESS])
def test_stored_days_reproduce_the_table_at_every_cost(finished: RunFolder, agent: str) -> None:
    table = finished.results()
    table = table[(table["agent"] == agent) & (table["seed"] == 0)]
    found = table.set_index(["execution", "cost_bps", "metric", "market", "asset"])["value"]
    assert found.index.is_unique
    days = finished.unit_days(f"{agent.replace(':', '--')}-seed0")
    for (execution, suffix), cost in product((("on-time", ""), ("late", "_late")), COSTS):
        net = days.assign(net=days[f"gross{suffix}"] - cost * 1e-4 * days[f"turnover{suffix}"])
        series = dict(iter(net[net["counted"]].groupby(["market", "asset"])["net"]))
        by_day = net[net["listed"]].groupby(["market", "date"])["net"].mean()
        series |= {(name, "*"): s for name, s in by_day.groupby("market")}
        for name, r in series.items():
            wealth = (1.0 + r).cumprod()
            expected = {
                "days": len(r),
                "ann_return": 252 * r.mean(),
                "ann_volatility": 252**0.5 * r.std(),
                "sharpe": 252**0.5 * r.mean() / r.std(),
                "max_drawdown": min((wealth / wealth.cummax().clip(lower=1.0) - 1.0).min(), 0.0),
                "skew": r.skew(),
            }
            for metric, value in expected.items():
                got = found[(execution, cost, metric, *name)]
                np.testing.assert_allclose(got, value, rtol=1e-9, err_msg=metric)


def test_the_portfolio_is_stored_for_every_agent_seed_and_cost(finished: RunFolder) -> None:
    portfolio = finished.portfolio()
    keys = ["agent", "seed", "execution", "cost_bps"]
    found = set(portfolio[keys].itertuples(index=False, name=None))
    runs = [(a, 0) for a in ("buy-and-hold", "macd", FOLLOW)] + [(GUESS, 0), (GUESS, 1)]
    assert found == {(*one, execution, cost) for one in runs for execution in EXECUTIONS for cost in COSTS}
    table = finished.results()
    whole = table[(table["market"] == "*") & (table["metric"] == "sharpe")]
    expected = portfolio.groupby(keys)["net"].agg(lambda r: 252**0.5 * r.mean() / r.std())
    found_sharpe = whole.set_index(keys)["value"].sort_index()
    np.testing.assert_allclose(found_sharpe, expected.sort_index(), rtol=1e-9)


def test_the_environment_day_by_day_books_what_the_run_stored(finished: RunFolder, panel: Panel) -> None:
    fold = holdout(panel)
    agent = load_agent("macd", finished.path / "units" / "macd-seed0" / "checkpoint")
    env = TradingEnv(
        panel,
        window=1,
        features=settings_of(agent).features,
        vol_target=0.15,
        cost_bps=0.0,
        start=fold.test_start,
        warmup=warmup_of(agent),
    )
    booked: dict[np.datetime64, dict[str, Any]] = {}
    observation, _ = env.reset()
    done = False
    while not done:
        observation, _, terminated, truncated, info = env.step(agent.act(observation))
        booked[np.datetime64(info["date"])] = info
        done = terminated or truncated
    days = agent_days(finished, "macd-seed0")
    for j, pair in enumerate(zip(panel.market_of, panel.assets, strict=True)):
        mine = days[(days["market"] == pair[0]) & (days["asset"] == pair[1])]
        own = mine["date"].to_numpy().astype("datetime64[D]")
        for name in ("gross", "turnover"):
            played = [booked[day][name][j] for day in own]
            np.testing.assert_allclose(mine[name], played, rtol=1e-12, atol=1e-15)
            elsewhere = [info[name][j] for day, info in booked.items() if day not in set(own)]
            assert not np.any(elsewhere)  # a market that is closed books nothing
        assert mine["turnover"].sum() > 0.0


@pytest.mark.parametrize("agent", ["macd", FOLLOW])
def test_one_day_late_is_what_a_market_that_trades_a_day_later_pays(
    finished: RunFolder, panel: Panel, agent: str
) -> None:
    days = agent_days(finished, f"{agent.replace(':', '--')}-seed0")
    fold, made = holdout(panel), make_agent(agent)
    target = settings_of(made).vol_target
    env = evaluation_environment(Unit(agent, Variant(agent), 0, target), made, fold)
    later = settled(signals_of(made, fold.test, env), panel, target, execution_lag=1)
    for (name, asset), mine in days.groupby(["market", "asset"]):
        other = later[(later["market"] == name) & (later["asset"] == asset)]
        assert mine["gross_late"].iloc[0] == 0.0  # nothing was decided early enough
        # Three trades in, what was decided before the block is out of both.
        market = panel.markets[name]
        traded = market.compact(panel.tradable)[:, list(market.assets).index(asset)]
        own = panel.dates[market.rows]
        since = np.searchsorted(np.cumsum(traded & (own >= fold.test_start[name])), 3)
        kept = mine["date"].to_numpy() > own[min(since, len(own) - 1)]
        np.testing.assert_allclose(mine["gross_late"][kept], other["gross"].to_numpy()[kept], atol=1e-15)
        np.testing.assert_allclose(
            mine["turnover_late"][kept], other["turnover"].to_numpy()[kept], atol=1e-15
        )
    assert not np.allclose(days["gross_late"], days["gross"])


def test_days_of_another_version_are_refused(finished: RunFolder, tmp_path: Path) -> None:
    old = RunFolder(tmp_path)
    days = finished.unit_days("macd-seed0").drop(columns="gross_late")
    old.unit("macd-seed0").mkdir(parents=True)
    days.to_parquet(old.unit("macd-seed0") / "daily.parquet")
    with pytest.raises(
        DataError, match=r"daily\.parquet: lacks the columns gross_late; found asset, counted"
    ):
        old.unit_days("macd-seed0")


def test_acting_day_by_day_and_in_one_pass_give_the_same_run(panel: Panel, tmp_path: Path) -> None:
    table = compare([STREAK, TWIN], panel, out=tmp_path / "run", costs=COSTS, jobs=1).table
    one, two = (
        table[table["agent"] == name].drop(columns="agent").reset_index(drop=True) for name in (STREAK, TWIN)
    )
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert one["value"].notna().any()
    folder = RunFolder(tmp_path / "run")
    days = [folder.unit_days(f"users_agents--{name}-seed0") for name in ("Streak", "StreakTwin")]
    pd.testing.assert_frame_equal(*days, check_exact=True)


def test_a_volatility_target_for_all_is_recorded_and_applied(panel: Panel, tmp_path: Path) -> None:
    half, full = (
        run(RunConfig(agents=RULES, vol_target=target, jobs=1, out=tmp_path / f"{target}"), panel)
        for target in (0.1, 0.2)
    )
    record = RunFolder(full).record()
    assert record["config"]["vol_target"] == 0.2
    assert [record["agents"][name]["vol_target"] for name in RULES] == [0.2, 0.2]
    for name in RULES:
        small, large = (RunFolder(f).unit_days(f"{name}-seed0") for f in (half, full))
        assert large["gross"].abs().sum() > 0.0
        np.testing.assert_allclose(large["gross"], 2.0 * small["gross"], rtol=1e-12)
        np.testing.assert_allclose(large["turnover"], 2.0 * small["turnover"], rtol=1e-12)


# What a training of each is long by, cut to the least.
SHORTEST = {"steps": 2, "epochs": 1, "patience": 1, "timesteps": 1}
TINY_TRAININGS: dict[str, dict[str, Any]] = {
    **{
        name: {**made.quick, **{k: v for k, v in SHORTEST.items() if k in made.quick}}
        for name, made in AGENTS.items()
    },
    "ppo-joint": {"timesteps": 64, "options": {"n_steps": 32, "batch_size": 32, "n_epochs": 1}},
}


# One of every network; what another loss stores is laid out alike.
STORED = tuple(name for name in AGENTS if not name.endswith(("-average", "-mse", "-binary")))


def test_checkpoints_of_all_registered_networks_play_what_the_run_played(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, quick in TINY_TRAININGS.items():
        monkeypatch.setitem(AGENTS, name, replace(AGENTS[name], quick=quick))
    config = RunConfig(agents=STORED, quick=True, seeds=1, jobs=1, out=tmp_path / "run")
    folder = RunFolder(run(config, panel))
    assert folder.record()["failed"] == []
    start = holdout(panel).test_start
    for name in STORED:
        agent = load_agent(name, folder.path / "units" / f"{name}-seed0" / "checkpoint")
        settings = settings_of(agent)
        env = TradingEnv(
            panel,
            window=settings.window,
            features=settings.features,
            vol_target=settings.vol_target,
            start=start,
            warmup=warmup_of(agent),
        )
        expected = settled(signals_of(agent, panel, env), panel, settings.vol_target)
        stored = agent_days(folder, f"{name}-seed0")
        np.testing.assert_array_equal(stored["gross"], expected["gross"], err_msg=name)
        np.testing.assert_array_equal(stored["turnover"], expected["turnover"], err_msg=name)
        # Who earned nothing on the validation block after so short a training holds nothing.
        assert stored["turnover"].sum() > 0.0 or not expected["gross"].any(), name


@pytest.fixture(scope="module")
def panel_folder(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The panel as one file of returns per market."""
    folder = tmp_path_factory.mktemp("panel")
    for name, market in panel.markets.items():
        frame = pd.DataFrame(market.compact(panel.returns), columns=list(market.assets))
        frame.insert(0, "date", panel.dates[market.rows])
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def test_the_command_line_runs_a_folder_of_files_and_writes_the_page(
    panel_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("plotly")
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    out = tmp_path / "run"
    words = ["run", "--panel", str(panel_folder), "--kind", "returns", "--exclude", "M1", "--jobs", "1"]
    code = main([*words, "--agents", "buy-and-hold, macd", "--costs", "0,2.5", "--out", str(out)])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert "Panel: 4 assets in 2 markets" in printed.out
    assert "Net of 2.5 bps per unit of turnover" in printed.out
    assert "Research, not investment advice." in printed.out
    assert "[2/2]" in printed.err
    folder = RunFolder(out)
    assert folder.record()["config"]["agents"] == ["buy-and-hold", "macd"]
    assert folder.record()["config"]["costs"] == [0.0, 2.5]
    assert set(folder.results()["market"]) == {"M0", "M2", "*"}
    page = out / "report.html"
    first = page.read_bytes()
    page.unlink()
    assert main(["report", str(out)]) == 0
    assert page.read_bytes() == first
    assert str(page) in capsys.readouterr().out


def test_the_command_line_says_which_agent_failed(
    panel_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--panel", str(panel_folder), "--kind", "returns", "--jobs", "1"]
    assert main([*words, "--agents", UNLUCKY, "--out", str(tmp_path / "run")]) == 1
    assert "qn: not a single unit finished" in capsys.readouterr().err


def test_a_misspelt_agent_is_refused_with_the_nearest_name(
    panel_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", "--panel", str(panel_folder), "--kind", "returns", "--out", str(tmp_path / "run")]
    assert main([*words, "--agents", "buy-and-hodl"]) == 1
    assert "qn: unknown agent 'buy-and-hodl'. Did you mean 'buy-and-hold'?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_missing_run_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "none")]) == 1
    assert "no such run folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--nonsense", "1"], "--nonsense"),
        (["run", "--costs", "cheap"], "cheap"),
        (["run", "--seeds", "0"], "seeds is 0, expected at least 1"),
        (["run", "--agents", "macd,macd"], "agents: macd appears twice"),
        (["run", "--protocol", "holdot"], "Did you mean 'holdout'"),
        (["run", "--calendar", "months"], "months"),
        (["run", "--warm-start"], "take expanding or rolling"),
        (["report"], "run"),
        (["nonsense"], "nonsense"),
        ([], "run"),
    ],
)
def test_a_wrong_command_line_exits_with_2_and_says_why(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    text = " ".join((printed.err + printed.out).replace("│", " ").split())
    assert message in text


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["report", "--help"], ["agents", "--help"]])
def test_help_exits_with_0(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 0
    assert "usage: qn" in capsys.readouterr().out


def test_the_list_of_agents_names_every_registered_one_and_whether_it_learns(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["agents"]) == 0
    listed, told, layers = capsys.readouterr().out.split("\n\n")
    assert "qn new-agent" in told
    assert "+band:WIDTH" in layers
    lines = [line.split() for line in listed.splitlines()]
    assert [line[0] for line in lines] == list(AGENTS)
    assert [line[1] == "learns" for line in lines] == [entry.learns for entry in AGENTS.values()]


def test_workers_import_the_agent_of_the_folder_the_run_starts_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Workers of an earlier run, with another working directory, are not used again."""
    request.addfinalizer(lambda: sys.modules.pop("same_name", None))
    panel, found = ar1_trend(markets=1, assets=2, days=1400, seed=0), []
    for side in (1, -1):
        here = tmp_path / f"side{side}"
        here.mkdir()
        (here / "same_name.py").write_text(
            "import numpy as np\n"
            "class Fixed:\n"
            "    learns = False\n"
            "    def fit(self, env, *, seed, validation=None): return self\n"
            "    def reset(self): ...\n"
            f"    def act(self, observation): return np.full(2, {side}.0)\n"
        )
        monkeypatch.chdir(here)
        monkeypatch.syspath_prepend(str(here))
        sys.modules.pop("same_name", None)
        table = compare(["same_name:Fixed", "buy-and-hold"], panel, out="run", costs=[0], jobs=2).table
        assert (here / "run" / "results.parquet").exists()
        mine = table[(table["agent"] == "same_name:Fixed") & (table["metric"] == "ann_return")]
        found.append(mine["value"].to_numpy())
    np.testing.assert_allclose(found[0], -found[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("execution", "lag", "trained"), [("on-time", 0, 0), ("late", 0, 1), ("late", 2, 3)])
def test_an_agent_may_be_trained_for_the_execution_it_is_judged_by(
    execution: Execution, lag: int, trained: int, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spy:
        def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv) -> Spy:
            self.lags = [env.config.execution_lag, validation.config.execution_lag]
            return self

    monkeypatch.setattr(Unit, "agent", lambda _: Spy())
    unit = Unit("spy", Variant("spy"), 0, None, execution_lag=lag, train_execution=execution)
    fold = holdout(panel)
    agent = train_agent(unit, fold)
    assert agent.lags == [trained, trained]
    assert evaluation_environment(unit, agent, fold).config.execution_lag == lag


def test_windows_of_an_expanding_run_are_joined_and_each_is_a_unit_of_its_own(tmp_path: Path) -> None:
    panel = ar1_trend(markets=2, assets=2, days=1500, seed=0)  # weekdays of 2000 to 2005
    table = compare(
        ["macd", "buy-and-hold"],
        panel,
        out=tmp_path / "run",
        protocol="expanding",
        test_from="2003-01-01",
        test_years=1,
        costs=[5.0],
        jobs=1,
    ).table
    folder = RunFolder(tmp_path / "run")
    windows = ["2003-2003", "2004-2004", "2005-2005"]
    assert folder.record()["panel"]["windows"] == windows
    assert {p.name for p in (folder.path / "units").iterdir()} == {
        f"{agent}-seed0-{window}" for agent in ("macd", "buy-and-hold") for window in windows
    }
    days = folder.agent_days("macd", 0)
    assert days["window"].drop_duplicates().tolist() == windows
    own = days[(days["market"] == "M0") & (days["asset"] == "A0")]
    tested = panel.dates[panel.dates >= np.datetime64("2003-01-01")]
    assert own["date"].to_numpy().astype("datetime64[D]").tolist() == tested.tolist()
    found = table[(table["agent"] == "macd") & (table["asset"] == "A0") & (table["market"] == "M0")]
    found = found[found["execution"] == "on-time"]
    net = own["gross"].to_numpy() - 5e-4 * own["turnover"].to_numpy()
    figures = found.set_index("metric")["value"]
    assert figures["days"] == len(tested)
    assert figures["sharpe"] == pytest.approx(252**0.5 * net.mean() / net.std(ddof=1))
    # A position is built up, and paid for, once: a later window begins with what the one before has left.
    held = folder.agent_days("buy-and-hold", 0)
    held = held[(held["market"] == "M0") & (held["asset"] == "A0")]
    assert held["turnover"].tolist() == [1.0] + [0.0] * (len(held) - 1)
    alone = [folder.unit_days(f"buy-and-hold-seed0-{window}") for window in windows]
    assert [days["turnover"].max() for days in alone] == [1.0] * 3, "each by itself starts flat"


def test_the_days_of_several_windows_are_guarded_and_those_of_an_earlier_version_start_flat(
    panel: Panel, tmp_path: Path
) -> None:
    settings = {"protocol": "expanding", "test_from": "2003-01-01", "test_years": 1, "jobs": 1}
    compare(["buy-and-hold"], panel, out=tmp_path / "run", **settings)
    folder = RunFolder(tmp_path / "run")
    windows = folder.record()["panel"]["windows"]
    stored = folder.path / "daily" / "buy-and-hold-seed0.parquet"
    content = stored.read_bytes()
    stored.write_bytes(content + b" ")
    with pytest.raises(FileError, match=r"buy-and-hold-seed0\.parquet"):
        folder.agent_days("buy-and-hold", 0)
    stored.unlink()
    with pytest.raises(FileError, match=r"buy-and-hold-seed0\.parquet"):
        folder.agent_days("buy-and-hold", 0)
    Manifest.of(folder.path).write()  # as of a run that never had it
    parts = [folder.unit_days(f"buy-and-hold-seed0-{window}").assign(window=window) for window in windows]
    days = folder.agent_days("buy-and-hold", 0)
    pd.testing.assert_frame_equal(days, pd.concat(parts, ignore_index=True))


def test_a_run_on_the_union_calendar_is_judged_on_the_same_dates_in_all_markets(
    panel: Panel, tmp_path: Path
) -> None:
    config = RunConfig(agents=("buy-and-hold",), calendar="union", jobs=1, out=tmp_path / "run")
    folder = RunFolder(run(config, panel))
    fold = holdout(panel, calendar="union")
    assert folder.record()["panel"]["markets"] == fold.blocks.to_dict("records")
    assert fold.blocks.to_dict("records") != holdout(panel).blocks.to_dict("records")
    begin = folder.unit_days("buy-and-hold-seed0").groupby("market")["date"].min()
    test_from = panel.dates[-(len(panel.dates) // 4)]
    for name, market in panel.markets.items():
        own = panel.dates[market.rows]
        assert begin[name] == pd.Timestamp(own[own >= test_from][0])


# What comes back.


def test_a_comparison_shows_its_leaderboard_and_draws_what_became_of_one(
    panel: Panel, tmp_path: Path
) -> None:
    found = compare(RULES, panel, out=tmp_path / "run", costs=[0, 5], jobs=1)
    assert found.path == tmp_path / "run"
    folder = RunFolder(tmp_path / "run")
    pd.testing.assert_frame_equal(found.table, folder.results())
    board = found.leaderboard()
    assert set(board["cost_bps"]) == {5.0}, "of the highest cost"
    assert board["sharpe"].is_monotonic_decreasing
    assert set(found.leaderboard(0)["cost_bps"]) == {0.0}
    with pytest.raises(ConfigError, match="cost is 3, expected one of the run's: 0, 5"):
        found.leaderboard(3)
    shown = found._repr_html_()
    assert "<table" in shown
    assert all(agent in shown for agent in RULES)
    assert f"{board['sharpe'].iloc[0]:.2f}" in shown
    assert "Net of 5 bps per unit of turnover, one day late" in repr(found)
    assert found.rank_by == "late"
    assert set(board["execution"]) == {"late"}
    assert set(found.leaderboard(execution="on-time")["execution"]) == {"on-time"}
    assert "On time</th>" in shown
    figure = found.plot(cost=0)
    assert [line.name for line in figure.data] == found.leaderboard(0)["agent"].tolist()
    days = folder.portfolio().query("agent == 'macd' and cost_bps == 0 and execution == 'late'")
    (line,) = (line for line in figure.data if line.name == "macd")
    assert line.y[-1] == pytest.approx((1.0 + days["net"]).prod())


# Failures and seeds without effect.


STUBBORN = "own_agents:Stubborn"
OWN = """
import numpy as np

class Stubborn:
    warmup = 0

    def __init__(self, fails=False):
        self.fails = fails

    def fit(self, env, *, seed, validation=None):
        if self.fails and seed == 1:
            raise ValueError("cannot learn from this")
        return self

    def reset(self):
        pass

    def act(self, observation):
        return np.sign(observation["returns"][-1])

class Failing(Stubborn):
    def __init__(self):
        super().__init__(fails=True)
"""


@pytest.fixture
def own_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "own_agents.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_agents", raising=False)
    return tmp_path


def test_seeds_that_decide_the_same_are_named_and_counted_once(
    own_agents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["run", "--agents", f"{STUBBORN},buy-and-hold", "--seeds", "3", "--out", "run", "--jobs", "1"]
    assert main(argv) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert (
        f"Note: {STUBBORN}: seeds 1, 2 decide the same as seed 0, to the byte; counted once. Has chance no "
        "part (learns = False)?"
    ) in told
    folder = RunFolder.of_finished(own_agents / "run")
    assert folder.record()["duplicates"] == [{"agent": STUBBORN, "seed": k, "same_as": 0} for k in (1, 2)]
    assert folder.record()["agents"][STUBBORN]["seeds"] == [0]
    board = folder.leaderboard().set_index(["agent", "cost_bps"])
    assert (board.loc[(STUBBORN, 2.0), "seeds"] == 1).all()
    assert set(folder.results().query("agent == @STUBBORN")["seed"]) == {0}
    assert "decide the same as seed 0" in (own_agents / "run" / "report.html").read_text()


def test_a_failed_unit_is_told_with_its_file_and_an_exit_code_of_its_own(
    own_agents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["run", "--agents", "own_agents:Failing,macd", "--seeds", "2", "--out", "run", "--jobs", "1"]
    assert main(argv) == EXIT_FAILED == 4
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Failed: ")]
    file = own_agents / "run" / "units" / "own_agents--Failing-seed1" / "error.txt"
    assert line == f"Failed: own_agents:Failing, seed 1: ValueError: cannot learn from this ({file})"
    assert "Traceback" in file.read_text()
    assert set(RunFolder.of_finished(own_agents / "run").leaderboard()["agent"]) == {
        "own_agents:Failing",
        "macd",
    }


# Warm starts.

WALKED: dict[str, Any] = {"protocol": "expanding", "test_from": "2003-01-01", "test_years": 1, "jobs": 1}
WINDOWS = ("2003-2003", "2004-2004", "2005-2005")
TINY_DMN = {"dmn": Variant("dmn-linear-sharpe", {"epochs": 2, "batch": 8})}


@pytest.fixture(scope="module")
def walked() -> Panel:
    """Weekdays of 2000 to 2005."""
    return ar1_trend(markets=2, assets=2, days=1500, seed=0)


def run_walked(panel: Panel, out: Path, variants: dict[str, Variant], **settings: Any) -> RunFolder:
    config = RunConfig(agents=tuple(variants), **WALKED, **{"seeds": 1, **settings}, out=out)
    return RunFolder(run(config, panel, variants=variants, resume=True))


def stored_bytes(folder: RunFolder, label: str) -> list[bytes]:
    """What the units of an agent earned and what they learnt, window by window."""
    units = [folder.unit(unit_name(label, 0, window)) for window in WINDOWS]
    files = ("daily.parquet", "checkpoint/weights.safetensors")
    return [(unit / file).read_bytes() for unit in units for file in files]


@pytest.fixture(scope="module")
def warm(walked: Panel, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of a small network with warm starts."""
    return run_walked(walked, tmp_path_factory.mktemp("warm") / "run", TINY_DMN, warm_start=True)


@pytest.mark.parametrize("warm_start", [True, False])
def test_every_window_of_an_agent_and_seed_inherits_from_the_one_before_if_asked_to(
    walked: Panel, tmp_path: Path, *, warm_start: bool
) -> None:
    variants = {"heir": Variant(HEIR), "macd": Variant("macd")}
    folder = run_walked(walked, tmp_path / "run", variants, warm_start=warm_start, seeds=2)
    assert folder.record()["failed"] == []
    for seed in (0, 1):
        for i, window in enumerate(WINDOWS):
            stored = folder.unit(unit_name("heir", seed, window)) / "checkpoint" / "heir.json"
            years = ["2002", "2003", "2004"][0 if warm_start else i : i + 1]
            assert json.loads(stored.read_text()) == [[seed, year] for year in years]
    about = folder.record()["agents"]
    assert (about["heir"]["warm_start"], about["macd"]["warm_start"]) == (warm_start, False)


def test_a_window_begins_at_the_weights_with_which_the_one_before_ended(
    warm: RunFolder, walked: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[dict[str, np.ndarray]] = []
    begin = agents.population.jobs.train

    def train(network: Any, *arguments: Any, **options: Any) -> Any:
        starts.append({name: value.numpy().copy() for name, value in network.state_dict().items()})
        return begin(network, *arguments, **options)

    monkeypatch.setattr(agents.population.jobs, "train", train)
    again = run_walked(walked, tmp_path / "run", TINY_DMN, warm_start=True)
    assert stored_bytes(again, "dmn") == stored_bytes(warm, "dmn")
    assert len(starts) == len(WINDOWS)
    for window, start in zip(WINDOWS[:-1], starts[1:], strict=True):
        ended = load_file(again.unit(unit_name("dmn", 0, window)) / "checkpoint" / "weights.safetensors")
        assert ended.keys() == start.keys()
        for name, value in ended.items():
            np.testing.assert_array_equal(start[name], value.numpy())
    assert not np.array_equal(starts[0]["head.weight"], starts[1]["head.weight"])


def test_without_warm_starts_every_window_is_trained_as_if_it_were_alone(
    warm: RunFolder, walked: Panel, tmp_path: Path
) -> None:
    folder = run_walked(walked, tmp_path / "run", TINY_DMN)
    cold, warmed = stored_bytes(folder, "dmn"), stored_bytes(warm, "dmn")
    assert cold[:2] == warmed[:2], "the first window has none before it"
    assert all(a != b for a, b in zip(cold[2:], warmed[2:], strict=True))
    alone = RunFolder(tmp_path / "alone")
    for fold in Protocol(name="expanding", test_from="2003-01-01", years=1).folds(walked):
        unit = Unit("dmn", TINY_DMN["dmn"], 0, 0.15, fold.name)
        agent = train_agent(unit, fold)
        alone.write_unit(unit.name, evaluate(agent, unit, fold)[0], agent)
    assert stored_bytes(alone, "dmn") == cold


@pytest.mark.parametrize("finished", [1, 2])
def test_windows_killed_between_two_of_them_go_on_to_the_same_bytes(
    warm: RunFolder, walked: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: int
) -> None:
    begun: list[str] = []
    run_one = experiments.running.units.run_unit

    def run_unit(unit: Unit, *arguments: Any) -> None:
        begun.append(unit.window)
        if len(begun) == finished + 1:
            raise KeyboardInterrupt
        run_one(unit, *arguments)

    monkeypatch.setattr(experiments.running.units, "run_unit", run_unit)
    with pytest.raises(KeyboardInterrupt):
        run_walked(walked, tmp_path / "run", TINY_DMN, warm_start=True)
    folder = run_walked(walked, tmp_path / "run", TINY_DMN, warm_start=True)
    # The window of the kill is begun anew, and none before it.
    assert tuple(begun) == (*WINDOWS[: finished + 1], *WINDOWS[finished:])
    assert stored_bytes(folder, "dmn") == stored_bytes(warm, "dmn")


def test_a_window_that_fails_ends_its_chain_and_the_later_ones_say_which_they_wait_for(
    walked: Panel, tmp_path: Path
) -> None:
    variants = {"heir": Variant(HEIR, {"fails": "2003"}), "macd": Variant("macd")}
    folder = run_walked(walked, tmp_path / "run", variants, warm_start=True)
    waits = "QnError: not run; a warm start waits for the window before, and window 2004-2004 failed."
    assert folder.record()["failed"] == [
        {"agent": "heir", "seed": 0, "window": window, "kind": kind, "error": error}
        for window, kind, error in (
            ("2004-2004", "RuntimeError", "RuntimeError: no heir"),
            ("2005-2005", "QnError", waits),
        )
    ]
    assert [folder.has_unit(unit_name("heir", 0, window)) for window in WINDOWS] == [True, False, False]
    assert "Traceback" in (folder.unit(unit_name("heir", 0, WINDOWS[1])) / "error.txt").read_text()
    assert (folder.unit(unit_name("heir", 0, WINDOWS[2])) / "error.txt").read_text() == f"{waits}\n"
    assert set(folder.leaderboard()["agent"]) == {"macd"}


def test_a_run_that_was_cut_short_goes_on_and_ends_like_one_that_was_not(
    panel: Panel, tmp_path: Path
) -> None:
    config = RunConfig(agents=RULES, costs=COSTS, jobs=1, out=tmp_path / "cut")
    compare(RULES, panel, out=tmp_path / "whole", costs=COSTS, jobs=1)
    run(config, panel, resume=True)
    cut, whole = RunFolder(tmp_path / "cut"), RunFolder(tmp_path / "whole")
    (cut.path / "run.json").unlink()
    (cut.path / "results.parquet").unlink()
    (cut.unit("macd-seed0") / "daily.parquet").unlink()
    kept = (cut.unit("buy-and-hold-seed0") / "daily.parquet").stat().st_mtime_ns
    run(config, panel, resume=True)
    assert (cut.unit("buy-and-hold-seed0") / "daily.parquet").stat().st_mtime_ns == kept
    pd.testing.assert_frame_equal(cut.results().drop(columns="run"), whole.results().drop(columns="run"))
    with pytest.raises(ConfigError, match=r"was begun with costs = \[0.0, 2.5, 40.0\], not \[1.0\]"):
        run(replace(config, costs=(1.0,)), panel, resume=True)


def test_a_run_goes_on_from_whatever_a_kill_left(panel: Panel, tmp_path: Path) -> None:
    """A folder without a plan, files half written, a checkpoint without the days that mark it as done."""
    out = tmp_path / "run"
    out.mkdir()
    (out / ".plan.json.123.tmp").write_text("{")
    config = RunConfig(agents=(GUESS,), seeds=1, jobs=1, out=out, resume=True)
    folder = RunFolder(run(config, panel))
    whole = folder.results()
    unit = folder.unit("users_agents--Guess-seed0")
    (out / "run.json").unlink()
    (unit / "daily.parquet").unlink()
    (unit / ".daily.parquet.123.tmp").write_text("")
    run(config, panel)  # the agent's save makes its folder, and refuses one that is there
    assert folder.record()["failed"] == []
    pd.testing.assert_frame_equal(folder.results(), whole, check_exact=True)
    assert sorted(p.name for p in unit.iterdir()) == [
        "audit.json",
        "checkpoint",
        "daily.parquet",
        "manifest.sha256",
    ]
    other = tmp_path / "other"
    other.mkdir()
    (other / ".mine.1.tmp").write_text("precious")
    with pytest.raises(ConfigError, match=r"no run was begun there"):
        run(replace(config, out=other), panel)
    assert (other / ".mine.1.tmp").exists()


def test_resume_without_a_folder_is_refused_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["run", "--resume"])
    assert stopped.value.code == 2
    assert "it needs --out" in " ".join(capsys.readouterr().err.split())

"""`compare`: run agents over a protocol, unit by unit, and write one folder that everything else reads."""

from __future__ import annotations

import platform
import subprocess
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from agents.agent import Agent, learns, make_agent, settings_of, signals_of, warmup_of
from experiments.config import RunConfig
from experiments.leaderboard import leaderboard
from experiments.progress import ProgressBoard, reported
from experiments.protocols import Fold, holdout
from experiments.store import RunFolder, unit_name
from experiments.tables import market_days, portfolio_table, results_table
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, QnError
from qn_env.panel import FloatArray, Panel
from qn_env.sources import embedded, read_panel
from qn_env.tape import Start, Tape, backtest

# Long units first: the last ones to run are short, and no core waits.
SLOW_FIRST = ("no-transfer-lstm", "quantnet", "ppo", "dmn-lstm-sharpe")
PACKAGES = ("qn-env", "torch", "numpy", "pandas", "gymnasium", "stable-baselines3", "skfolio")


@dataclass(frozen=True)
class Unit:
    """One agent with one seed: trained, selected and judged on its own."""

    agent: str
    seed: int
    vol_target: float | None
    quick: bool
    execution_lag: int = 0


def load_panel(config: RunConfig) -> Panel:
    """The panel a configuration names, without the markets it leaves out."""
    if config.panel is not None:
        return read_panel(config.panel, kind=config.kind, exclude=config.exclude)
    panel = embedded()
    if not config.exclude:
        return panel
    panel.select(config.exclude)  # refuses unknown names
    kept = [name for name in panel.markets if name not in config.exclude]
    if not kept:
        raise ConfigError(f"all {len(panel.markets)} markets are excluded, expected at least one to stay.")
    return panel.select(kept)


def run(config: RunConfig, panel: Panel | None = None) -> Path:
    """Run a configuration and write its folder; progress goes to the terminal's standard error.

    Args:
        config: what to run.
        panel: the data, where they are at hand already; default: what the configuration names.

    Returns:
        The run folder.

    Raises:
        ConfigError: the folder exists, an unknown agent, bad settings.
        DataError: a panel that cannot be used.
        QnError: not a single unit finished.
    """
    agents = {name: make_agent(name, quick=config.quick) for name in config.agents}
    panel = panel if panel is not None else load_panel(config)
    fold = holdout(panel)
    folder = RunFolder.create(config.folder)
    started, clock = datetime.now(UTC), time.perf_counter()
    units = _units(config, agents)
    failed = _run_units(units, fold, folder, config)
    if len(failed) == len(units):
        raise QnError(f"not a single unit finished; the first said: {failed[0]['error']}")
    learnt = {name for name, agent in agents.items() if learns(agent)}
    _write_tables(folder, fold, config, [u for u in units if _done(u, folder)], learnt)
    record = _record(config, panel, fold, units, agents) | {
        "failed": failed,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 1),
    }
    folder.write_record(record)
    return folder.path


def compare(
    agents: Sequence[str],
    panel: Panel | None = None,
    *,
    out: Path | str,
    protocol: str = "holdout",
    seeds: int | None = None,
    costs: Sequence[float] = (0.0, 2.0),
    vol_target: float | None = None,
    execution_lag: int = 0,
    quick: bool = False,
    jobs: int | None = None,
) -> pd.DataFrame:
    """Compare agents out of sample and after costs; write a run folder and return its tidy table.

    Args:
        agents: registered names or import paths `package.module:Class`.
        panel: the data; default: the embedded panel.
        out: run folder, which must not exist.
        protocol: "holdout".
        seeds: seeds of each learnt agent; default: 5, or 2 in a quick run.
        costs: basis points per unit of turnover.
        vol_target: annualised target per asset for every agent; None: what each prescribes.
        execution_lag: trading days between a decision and its trade.
        quick: short trainings, not comparable.
        jobs: processes; default: one per core.

    Returns:
        Columns run, agent, market, asset, seed, split, cost_bps, metric, value; "*" stands for all assets
        of a market, and for all markets.
    """
    config = RunConfig(
        agents=tuple(agents),
        protocol=protocol,
        seeds=seeds,
        costs=tuple(float(c) for c in costs),
        vol_target=vol_target,
        execution_lag=execution_lag,
        quick=quick,
        jobs=jobs,
        out=Path(out),
    )
    return RunFolder(run(config, panel)).results()


def run_unit(unit: Unit, fold: Fold, folder: RunFolder) -> None:
    """Train one agent with one seed, play its test block, and store what it earned and how it decided."""
    agent = make_agent(unit.agent, quick=unit.quick)
    settings = settings_of(agent)

    def environment(panel: Panel, start: Start, cost_bps: float) -> TradingEnv:
        return TradingEnv(
            panel,
            window=settings.window,
            features=settings.features,
            vol_target=unit.vol_target,
            cost_bps=cost_bps,
            start=start,
            warmup=warmup_of(agent) if start is not None else 0,
            execution_lag=unit.execution_lag,
        )

    train = environment(fold.train, None, settings.train_cost_bps)
    select = environment(fold.select, fold.select_start, settings.train_cost_bps)
    agent.fit(train, seed=unit.seed, validation=select)
    test = environment(fold.test, fold.test_start, 0.0)
    signals = signals_of(agent, fold.test, test)
    folder.write_unit(unit_name(unit.agent, unit.seed), _test_days(fold, signals, unit), agent)


def _test_days(fold: Fold, signals: FloatArray, unit: Unit) -> pd.DataFrame:
    """Gross return and turnover of every asset on every day of its market's test block."""
    parts = []
    whole = Tape.of(
        fold.test, vol_target=unit.vol_target, start=fold.test_start, execution_lag=unit.execution_lag
    )
    for name, market in fold.test.markets.items():
        tape = whole.of_market(market)
        ledger = backtest(tape, market.compact(signals))
        booked = tape.dates[1:] >= fold.test_start[name]
        days, n = int(booked.sum()), len(market.assets)
        parts.append(
            pd.DataFrame(
                {
                    "date": tape.dates[1:][booked].repeat(n),
                    "market": name,
                    "asset": list(market.assets) * days,
                    "gross": ledger.gross[booked].ravel(),
                    "turnover": ledger.turnover[booked].ravel(),
                    "listed": tape.listed[:-1][booked].ravel(),
                    "counted": tape.counted[:-1][booked].ravel(),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _units(config: RunConfig, agents: dict[str, Agent]) -> list[Unit]:
    units = []
    for name, agent in agents.items():
        target = config.vol_target if config.vol_target is not None else settings_of(agent).vol_target
        seeds = config.seed_list if learns(agent) else config.seed_list[:1]
        units += [Unit(name, seed, target, config.quick, config.execution_lag) for seed in seeds]
    return sorted(
        units, key=lambda u: SLOW_FIRST.index(u.agent) if u.agent in SLOW_FIRST else len(SLOW_FIRST)
    )


def _run_units(units: list[Unit], fold: Fold, folder: RunFolder, config: RunConfig) -> list[dict[str, Any]]:
    """Run all units over processes; a failing one is reported and the others finish."""
    from joblib import Parallel, cpu_count, delayed
    from joblib.externals.loky import get_reusable_executor

    jobs = min(config.jobs if config.jobs is not None else cpu_count(), len(units))
    with ProgressBoard([unit_name(u.agent, u.seed) for u in units]) as board:
        tasks = (delayed(_guarded)(unit, fold, folder, board.folder) for unit in units)
        failed = []
        for unit, error in Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks):
            board.finished(unit_name(unit.agent, unit.seed), error)
            if error is not None:
                failed.append({"agent": unit.agent, "seed": unit.seed, "error": error})
    if jobs > 1:
        # Workers kept for the next run would keep this one's working directory and imported agents.
        get_reusable_executor().shutdown(wait=True)
    return sorted(failed, key=lambda f: (f["agent"], f["seed"]))


def _guarded(unit: Unit, fold: Fold, folder: RunFolder, board: Path) -> tuple[Unit, str | None]:
    """Run a unit on one thread; any error becomes its report, with the traceback in the unit's folder."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    name = unit_name(unit.agent, unit.seed)
    try:
        with reported(board, name):
            run_unit(unit, fold, folder)
    except Exception as error:  # noqa: BLE001 - a user's agent may raise anything; the other units go on
        folder.write_error(name, traceback.format_exc())
        return unit, f"{type(error).__name__}: {error}"
    finally:
        torch.set_num_threads(threads)
    return unit, None


def _done(unit: Unit, folder: RunFolder) -> bool:
    return folder.has_unit(unit_name(unit.agent, unit.seed))


def _write_tables(
    folder: RunFolder, fold: Fold, config: RunConfig, done: list[Unit], learnt: set[str]
) -> None:
    """The tidy table, the daily portfolio returns and the leaderboard, from the stored units."""
    results, portfolios, markets = [], [], {}
    order = {name: i for i, name in enumerate(config.agents)}
    for unit in sorted(done, key=lambda u: (order[u.agent], u.seed)):
        days = folder.unit_days(unit_name(unit.agent, unit.seed))
        by_market = market_days(days)
        daily = portfolio_table(by_market, fold.blocks, config.costs)
        labels = {"agent": unit.agent, "seed": unit.seed}
        results.append(results_table(days, by_market, daily, config.costs).assign(**labels))
        portfolios.append(daily.assign(**labels))
        markets[unit.agent, unit.seed] = by_market
    table = pd.concat(results, ignore_index=True).assign(run=folder.path.name, split="test")
    folder.write_results(table)
    folder.write_portfolio(pd.concat(portfolios, ignore_index=True))
    board = leaderboard(
        folder.results(), folder.portfolio(), markets, seed=config.seed, learnt=learnt, quick=config.quick
    )
    folder.write_leaderboard(board)


def _record(
    config: RunConfig, panel: Panel, fold: Fold, units: list[Unit], agents: dict[str, Agent]
) -> dict[str, Any]:
    """Everything needed to repeat the run."""
    settings = {
        name: {
            "vol_target": next(u.vol_target for u in units if u.agent == name),
            "train_cost_bps": settings_of(agent).train_cost_bps,
            "warmup": warmup_of(agent),
            "learns": learns(agent),
            "seeds": [u.seed for u in units if u.agent == name],
        }
        for name, agent in agents.items()
    }
    plain = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}
    return {
        "config": plain,
        "panel": {
            "fingerprint": panel.fingerprint,
            "first": str(panel.dates[0]),
            "last": str(panel.dates[-1]),
            "assets": panel.shape[1],
            "notes": list(panel.notes),
            "markets": fold.blocks.to_dict("records"),
        },
        "agents": settings,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "git": _git_state(),
    }


def _git_state() -> dict[str, Any] | None:
    """Commit and cleanliness of the code, where it runs from a checkout."""
    here = Path(__file__).resolve().parent
    try:
        head = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        dirty = subprocess.run(
            ["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": head.stdout.strip(), "clean": not dirty.stdout.strip()}

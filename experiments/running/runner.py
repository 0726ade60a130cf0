"""`compare`: run agents over a protocol, unit by unit, and write one folder that everything else reads."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from agents.agent import (
    Agent,
    learns,
    make_agent,
    options_of,
    settings_of,
    source_digest,
    warmup_of,
)
from agents.device import card_of, on_card, resolve
from experiments.results.comparison import Comparison
from experiments.results.leaderboard import leaderboard
from experiments.results.tables import market_days, portfolio_table, results_table
from experiments.running.executors import run_in_processes
from experiments.running.fanout import Failure, Task
from experiments.running.populations import Waiting, most_together, train_in_populations
from experiments.running.protocols import Fold
from experiments.running.settling import carry_over
from experiments.running.units import Unit, Variant, place, prepare_unit, run_chain, takes_a_start
from experiments.running.unseen import Unseen, division_of, ways_of
from experiments.settings.config import (
    DEFAULT_COSTS,
    MARKET,
    WAYS,
    WITHOUT_EFFECT,
    Level,
    PanelConfig,
    RunConfig,
    check_levels,
)
from experiments.storage.records import (
    AgentRecord,
    DeviceRecord,
    DuplicateRecord,
    FailureRecord,
    UnseenRecord,
)
from experiments.storage.store import RunFolder, unit_name
from qn_env.checks import check_is, check_names, check_path
from qn_env.costs import COST_FIELDS, CostTable, SaidImpact, own_costs, table_of
from qn_env.economics import BASIS_POINT
from qn_env.errors import ConfigError, DataError, LookAheadError, QnError, did_you_mean
from qn_env.panel import Panel
from qn_env.panel_audit import PanelAudit, audit_panel
from qn_env.sources import embedded, excess, read_costs, read_panel, read_rate

# Adds units to a run: given the trained ones, the folds by name and the folder, stores further ones.
Extra = Callable[[Sequence[Unit], Mapping[str, Fold], RunFolder], Sequence[Unit]]
PACKAGES = ("qn-env", "torch", "numpy", "pandas", "gymnasium", "stable-baselines3", "skfolio")
OPTIONAL = ("sb3-contrib",)  # named where they are installed


def load_panel(config: PanelConfig) -> Panel:
    """The panel a configuration names, without the markets it leaves out, in excess of its rate if any."""
    panel = _with_costs(_panel(config), config)
    if config.risk_free is None:
        return panel
    return excess(panel, read_rate(config.risk_free, config.rate, config.rate_unit))


def _with_costs(panel: Panel, config: PanelConfig) -> Panel:
    """The panel with what trading its assets costs, as a file of its own or the settings say it."""
    table = table_of(panel) if config.cost_table is None else read_costs(config.cost_table)
    if config.cost_default is not None:
        table = replace(table or CostTable.empty(), default_bps=config.cost_default)
    return panel if table is None else replace(panel, own_costs=table)


def checked_data(panel: Panel) -> PanelAudit:
    """What the data of a panel do to a figure, looked at before any agent is trained.

    Raises:
        DataError: some of its numbers are no returns, of which no figure means anything.
    """
    found = audit_panel(panel)
    if found.errors:
        first = found.errors[0]
        raise DataError(
            f"{first} ({len(found.errors)} such findings; qn audit shows all). Where the numbers are right, "
            "leave these assets out."
        )
    return found


def without_costs(panel: Panel) -> Panel:
    """The panel without what its data say that each asset costs, which is then not asked for."""
    return panel if panel.own_costs is None else replace(panel, own_costs=None)


def _panel(config: PanelConfig) -> Panel:
    if config.panel is not None:
        return read_panel(
            config.panel, kind=config.kind, exclude=config.exclude, bars_per_year=config.bars_per_year
        )
    panel = embedded()
    if not config.exclude:
        return panel
    panel.select(config.exclude)  # refuses unknown names
    kept = [name for name in panel.markets if name not in config.exclude]
    if not kept:
        raise ConfigError(f"all {len(panel.markets)} markets are excluded, expected at least one to stay.")
    return panel.select(kept)


def run(
    config: RunConfig,
    panel: Panel | None = None,
    *,
    variants: Mapping[str, Variant] | None = None,
    resume: bool = False,
    begun: Mapping[str, Path] | None = None,
    extra: Extra | None = None,
) -> Path:
    """Run a configuration and write its folder; progress goes to the terminal's standard error.

    Args:
        config: what to run.
        panel: the data, where they are at hand already; default: what the configuration names.
        variants: agents with options of their own, by the label under which `config.agents` names them.
        resume: as the setting of that name, which a caller that always goes on need not make.
        begun: folders with the state of a training (`Monitor.checkpoints`), by the name of the unit that
            goes on from it: the same settings, seed and data; of others a training takes no notice.
        extra: called after the units, with them, the folds by name and the folder; the units it adds are
            reported, too.

    Returns:
        The run folder.

    Raises:
        ConfigError: the folder exists, an unknown agent, bad settings, a device that there is not.
        DataError: a panel that cannot be used.
        LookAheadError: an agent did not pass the look-ahead audit, and no other finished.
        QnError: no agent finished.
    """
    one = begin_run(config, panel, variants=variants, resume=resume or config.resume)
    if one.folder.finished:
        return one.folder.path
    for name, training in (begun or {}).items():
        if not one.folder.has_unit(name) and training.is_dir():
            shutil.copytree(training, one.folder.training(name), dirs_exist_ok=True)
    return conclude_run(one, _run_units(one), extra)


@dataclass(frozen=True, eq=False)
class BegunRun:
    """A run whose folder is there, and what has to be run for it.

    Attributes:
        config: its settings, costs chosen.
        panel: its data.
        folds: the windows by name.
        units: all of it, of which some may have finished.
        folder: where they are stored.
        about: what its record says of the division and the device, and when it began.
        clock: of this process when it began, in seconds.
    """

    config: RunConfig
    panel: Panel
    folds: Mapping[str, Fold]
    units: Sequence[Unit]
    folder: RunFolder
    about: Mapping[str, object]
    clock: float

    @property
    def waiting(self) -> list[Unit]:
        """The units that have not finished."""
        return [unit for unit in self.units if not self.folder.has_unit(unit.name)]


def begin_run(
    config: RunConfig,
    panel: Panel | None = None,
    *,
    variants: Mapping[str, Variant] | None = None,
    resume: bool = False,
    known: Mapping[str, Fold] | None = None,
) -> BegunRun:
    """Make the folder of a run, or take the one in which it was begun; nothing is trained.

    Whoever begins a run may have its units run anywhere, and then concludes it. Errors as of `run`.

    Args:
        config: as of `run`.
        panel: as of `run`.
        variants: as of `run`.
        resume: as of `run`.
        known: the windows of this division of this panel, by name, where they are at hand already.
    """
    clock, device = time.perf_counter(), device_record(config.device)
    named = {label: (variants or {}).get(label, Variant(label)) for label in config.agents}
    panel = panel if panel is not None else load_panel(config)
    levels = levels_for(config, panel)
    config = replace(config, costs=levels)
    if MARKET not in (*levels, config.train_costs) and not config.capital:
        panel = without_costs(panel)
    division = division_of(config)
    folds = known if known is not None else {fold.name: fold for fold in division.folds(panel)}
    data = checked_data(panel)
    units, left_out = _units(config, named, folds)
    plan = plan_of(config, named, panel) | _dealt(folds)
    about = {
        **({"unseen": _unseen(division, panel, folds, left_out)} if isinstance(division, Unseen) else {}),
        "device": device,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if resume:
        folder = RunFolder.resume(config.folder, plan)
    else:
        folder = RunFolder.create(config.folder).with_plan(plan)
    if not folder.finished:
        folder.write_panel_audit(data)
    return BegunRun(config, panel, folds, units, folder, about, clock)


def conclude_run(
    one: BegunRun,
    failed: Sequence[FailureRecord],
    extra: Extra | None = None,
    *,
    seconds: float | None = None,
) -> Path:
    """Write the tables and the record of a run whose units have run; its folder.

    Args:
        one: the run.
        failed: why units have no figures (`failures_of`).
        extra: as of `run`.
        seconds: that it took; None: since it was begun.

    Raises:
        LookAheadError: an agent did not pass the look-ahead audit, and no other finished.
        QnError: no agent finished.
    """
    config, folds, folder, units = one.config, one.folds, one.folder, list(one.units)
    if not _complete(units, folder, failed):
        _refuse_empty(units, failed, folder)
    if extra is not None:
        units = [*units, *extra(units, folds, folder)]
    duplicates = _write_tables(folder, folds, config, _complete(units, folder, failed))
    again = {(same["agent"], same["seed"]) for same in duplicates}
    units = [unit for unit in units if (unit.label, unit.seed) not in again]
    record = _record(config, one.panel, folds, units) | {
        **one.about,
        "failed": list(failed),
        "duplicates": duplicates,
        "seconds": round(time.perf_counter() - one.clock if seconds is None else seconds, 1),
    }
    folder.write_record(record)
    folder.finish()
    return folder.path


def compare(
    agents: Sequence[str],
    panel: Panel | None = None,
    *,
    out: Path | str,
    costs: Sequence[Level] | None = None,
    seeds: int | None = None,
    **settings: Any,
) -> Comparison:
    """Compare agents out of sample and after costs; write a run folder and return what it found.

    Args:
        agents: registered names or import paths `package.module:Class`.
        panel: the data; default: the embedded panel.
        out: run folder, which must not exist.
        costs: basis points per unit of turnover, or "market", what the data say that each asset costs;
            default: 0, 2 and, where the data say it, "market".
        seeds: seeds of each learnt agent; default: 5, or 2 in a quick run.
        settings: any other of `RunConfig`, such as `protocol="expanding"`, `execution_lag=1`, `jobs=2`; those
            that choose the data only where `panel` is not given.

    Returns:
        The figures: `table` (tidy), `leaderboard()`, `portfolio`, `plot()`; a notebook shows the leaderboard.

    Raises:
        ConfigError: a setting that does not exist, and what `run` raises.
    """
    taken = {"agents", "panel", "out", "costs", "seeds"}
    if panel is not None:
        taken |= {field.name for field in fields(PanelConfig)}
    known = [field.name for field in fields(RunConfig) if field.name not in taken]
    for name in settings:
        if name not in known:
            raise ConfigError(f"compare: unknown setting {name!r}. {did_you_mean(name, known)}")
    if panel is not None:
        check_is("panel", panel, Panel, "a Panel (qn_env.sources)")
    config = RunConfig(
        agents=check_names("agents", agents),
        out=check_path("out", out),
        costs=None if costs is None else check_levels(costs),
        seeds=seeds,
        **settings,
    )
    return Comparison(run(config, panel))


def levels_for(config: RunConfig, panel: Panel) -> tuple[Level, ...]:
    """The levels of costs of a run: those asked for, else 0, 2 and, where the data say it, each asset's own.

    Raises:
        ConfigError: each asset's own were asked for, and the data do not say them; or an asset has none.
    """
    levels = config.costs
    if levels is None:
        levels = (*DEFAULT_COSTS, *([MARKET] if panel.own_costs is not None else []))
    if MARKET in (*levels, config.train_costs):
        refuse_unsaid_costs(panel)
    if config.capital:
        table = table_of(panel)
        SaidImpact(table or CostTable.empty()).rates(panel)  # refuses an asset without a volume
    return levels


def refuse_unsaid_costs(panel: Panel) -> None:
    """Refuse to charge each asset its own costs where they are not known, before anything is trained.

    Raises:
        ConfigError: the data do not say them, or not of every asset.
    """
    if panel.own_costs is None:
        raise ConfigError(
            "costs names market, and the data do not say what each asset costs; give --cost-table FILE, "
            f"a column of meta ({', '.join(COST_FIELDS)}), or --cost-default BPS."
        )
    own_costs(panel)


def _units(
    config: RunConfig, variants: Mapping[str, Variant], folds: Mapping[str, Fold]
) -> tuple[list[Unit], list[str]]:
    """The units, and the labels of agents that cannot play markets they are not trained on, if they have to.

    Raises:
        ConfigError: an agent that cannot be built; all agents are left out.
    """
    units, left_out, windows = [], [], list(folds)
    apart = any(fold.own is not None for fold in folds.values())
    for label, variant in variants.items():
        agent = make_agent(variant.agent, quick=config.quick, options=variant.options)
        ways = ways_of(agent, config.shots) if apart else (None,)
        left_out += [] if ways else [label]
        target = config.vol_target if config.vol_target is not None else settings_of(agent).vol_target
        seeds = config.seed_list if learns(agent) else config.seed_list[:1]
        before = {later: earlier for earlier, later in pairwise(windows)} if _warm(config, agent) else {}
        units += [
            Unit(
                label if way is None else f"{label}{WAYS[way]}",
                variant,
                seed,
                target,
                window,
                quick=config.quick,
                execution_lag=config.execution_lag,
                train_execution=variant.train_execution or config.train_execution,
                train_costs=config.train_costs,
                scalars=config.tensorboard,
                after=before.get(window),
                device=config.device,
                way=way,
            )
            for way in ways
            for window in windows
            for seed in seeds
        ]
    if not units:
        raise ConfigError(
            f"{', '.join(left_out)}: none of the agents plays a market that it was not trained on (qn agents "
            "--contract: adapt). Name one that does, or take another protocol."
        )
    return sorted(units, key=lambda unit: place(unit.variant.agent)), left_out


def _warm(config: RunConfig, agent: Agent) -> bool:
    """Whether an agent's windows begin where the one before ended."""
    return config.warm_start and takes_a_start(agent)


def _run_units(one: BegunRun) -> list[FailureRecord]:
    """Run the units that are not finished; the failures."""
    config, folds, folder = one.config, one.folds, one.folder
    chains = chains_of(_train_together(one.waiting, folds, folder, config))
    tasks = [
        Task(name, partial(run_chain, chain, {unit.window: folds[unit.window] for unit in chain}, folder))
        for name, chain in chains.items()
    ]
    return failures_of(chains, run_in_processes(tasks, config.jobs), folder)


def failures_of(
    chains: Mapping[str, Sequence[Unit]], failures: Mapping[str, Failure], folder: RunFolder
) -> list[FailureRecord]:
    """Which units have no figures and why, of chains some of which failed; it is written into their folders.

    Args:
        chains: as `chains_of` gives them.
        failures: of these, by name.
        folder: of the run.
    """
    failed: list[FailureRecord] = []
    for name, failure in failures.items():
        for unit, why in _unfinished(chains[name], failure, folder):
            folder.write_error(unit.name, why.trace or f"{why.error}\n")
            failed.append(
                {
                    "agent": unit.label,
                    "seed": unit.seed,
                    "window": unit.window,
                    "kind": why.kind,
                    "error": why.error,
                }
            )
    return sorted(failed, key=lambda f: (str(f["agent"]), f["seed"], str(f["window"])))


def _train_together(
    units: Sequence[Unit], folds: Mapping[str, Fold], folder: RunFolder, config: RunConfig
) -> list[Unit]:
    """Train the units that begin from scratch and can share a programme; all of them, those to be run."""
    most = most_together(config.population, config.device)
    if most == 1 and not on_card(config.device):
        return list(units)
    waiting = [
        Waiting(unit.name, unit.agent(), partial(prepare_unit, unit, folds[unit.window], folder))
        for unit in from_scratch(units, list(folds))
    ]
    # A card is one process's: two of them would halve its memory and take turns.
    run = partial(run_in_processes, jobs=1 if on_card(config.device) else config.jobs)
    trained = train_in_populations(waiting, config.device, most, run)
    # What is left of these is done on the CPU.
    return [replace(unit, device="cpu") if unit.name in trained else unit for unit in units]


def from_scratch(units: Sequence[Unit], windows: Sequence[str]) -> list[Unit]:
    """The units whose training neither begins where another's ends nor is waited for by one of a window.

    Agents as they wait for a process, each through the windows in their order.
    """
    followed = {unit.predecessor for unit in units if unit.way is None}
    free = [unit for unit in units if unit.predecessor is None and unit.name not in followed]
    return sorted(free, key=lambda unit: (place(unit.variant.agent), windows.index(unit.window)))


def chains_of(units: Sequence[Unit]) -> dict[str, list[Unit]]:
    """Units, given in time order, by task: one that begins where another ends is in its task, behind it."""
    ends: dict[str | None, list[Unit]] = {}
    for unit in units:
        ends[unit.name] = [*ends.pop(unit.predecessor, []), unit]
    return {_chain_name(chain): chain for chain in ends.values()}


def _chain_name(chain: Sequence[Unit]) -> str:
    """The unit's name, or that of the first one up to the last window."""
    windows = dict.fromkeys([chain[0].window, chain[-1].window])
    return unit_name(chain[0].label, chain[0].seed, "-to-".join(windows))


def _unfinished(chain: Sequence[Unit], failure: Failure, folder: RunFolder) -> Iterator[tuple[Unit, Failure]]:
    """The unit of a task that failed, and those behind it that were not begun, each with the reason."""
    failed, *behind = (unit for unit in chain if not folder.has_unit(unit.name))
    yield failed, failure
    waits = (
        "few shots wait for the agent of none" if failed.way else "a warm start waits for the window before"
    )
    error = f"{QnError.__name__}: not run; {waits}, and window {failed.window} failed."
    for unit in behind:
        yield unit, Failure(QnError.__name__, error, f"{error}\n")


def failed_lookahead(failed: Sequence[FailureRecord]) -> set[str]:
    """The agents that did not pass the look-ahead audit, of the failures in a run's record.

    With one seed in one window: what the audit did not see in another is not thereby honest.
    """
    return {str(failure["agent"]) for failure in failed if failure.get("kind") == LookAheadError.__name__}


def _complete(units: Sequence[Unit], folder: RunFolder, failed: Sequence[FailureRecord]) -> list[Unit]:
    """One unit for each agent and seed that has finished every window, of agents without look-ahead."""
    broken = {(unit.label, unit.seed) for unit in units if not folder.has_unit(unit.name)}
    first = {(unit.label, unit.seed): unit for unit in reversed(units)}
    peeked = failed_lookahead(failed)
    return [unit for key, unit in first.items() if key not in broken and unit.label not in peeked]


def _refuse_empty(units: Sequence[Unit], failed: Sequence[FailureRecord], folder: RunFolder) -> NoReturn:
    """Say why there is nothing to report."""
    kind = LookAheadError if failed_lookahead(failed) else QnError
    first = failure_in_words(failed[0], folder)
    if len(failed) == len(units):
        raise kind(f"not a single unit finished; the first said: {first}")
    raise kind(
        f"no agent finished every window, {len(failed)} of {len(units)} units failed; the first said: {first}"
    )


def failure_in_words(failure: FailureRecord, folder: RunFolder) -> str:
    """Who failed and why, and the file with the whole of it."""
    window = failure.get("window", "")
    file = folder.unit(unit_name(failure["agent"], failure["seed"], window)) / "error.txt"
    where = f" in {window}" if window else ""
    return f"{failure['agent']}, seed {failure['seed']}{where}: {failure['error']} ({file})"


def _write_tables(
    folder: RunFolder, folds: Mapping[str, Fold], config: RunConfig, done: Sequence[Unit]
) -> list[DuplicateRecord]:
    """The tidy table, the daily portfolio returns and the leaderboard, from the stored units.

    A seed that decides the same as an earlier one of its agent, to the byte, is no further draw of chance: it
    is counted once.

    Returns:
        The seeds that are not counted.
    """
    first: dict[tuple[str, bytes], int] = {}  # agent and what it decided, to the seed
    duplicates: list[DuplicateRecord] = []
    blocks = pd.concat([fold.blocks for fold in folds.values()], ignore_index=True)
    results, portfolios, markets = [], [], {}
    year, costs = next(iter(folds.values())).test.bars_per_year, config.costs
    assert costs is not None, "chosen by `run`"
    order = {label: i for i, label in enumerate(_in_order(config, (unit.label for unit in done)))}
    for unit in sorted(done, key=lambda u: (order[u.label], u.seed)):
        days = _agent_days(folder, folds, unit)
        decided = hashlib.sha256(days["signal"].to_numpy().tobytes()).digest()
        seed = first.setdefault((unit.label, decided), unit.seed)
        if seed != unit.seed:
            duplicates.append({"agent": unit.label, "seed": unit.seed, "same_as": seed})
            continue
        by_market = market_days(days)
        daily = portfolio_table(by_market, blocks, costs, bars_per_year=year)
        labels = {"agent": unit.label, "seed": unit.seed}
        figures = results_table(days, by_market, daily, costs, bars_per_year=year)
        results.append(figures.assign(**labels))
        portfolios.append(daily.assign(**labels))
        markets[unit.label, unit.seed] = by_market
    table = pd.concat(results, ignore_index=True).assign(run=folder.path.name, split="test")
    folder.write_results(table)
    folder.write_portfolio(pd.concat(portfolios, ignore_index=True))
    if MARKET in costs:
        folder.write_asset_costs(asset_costs([fold.test for fold in folds.values()]))
    learnt = {unit.label for unit in done if learns(unit.agent())}
    board = leaderboard(
        folder.results(),
        folder.portfolio(),
        markets,
        seed=config.seed,
        learnt=learnt,
        quick=config.quick,
        begins=sorted(blocks.groupby("market")["test_first"].min()),
        bars_per_year=year,
    )
    folder.write_leaderboard(board)
    return duplicates


def asset_costs(tested: Sequence[Panel]) -> pd.DataFrame:
    """What trading each asset costs on the days of the last test block: market, asset, bps.

    Half spread and commission, in basis points of what is traded: the mean over the asset's own days.

    Args:
        tested: the test panels of all windows, in time order.
    """
    rows: dict[tuple[str, str], float] = {}
    for panel in tested:
        rate = np.zeros(panel.shape)
        for cost in own_costs(panel):
            rate = rate + cost.rates(panel).turnover / BASIS_POINT
        days = panel.tradable.sum(axis=0)
        mean = np.where(panel.tradable, rate, 0.0).sum(axis=0) / np.maximum(days, 1)
        pairs = zip(panel.market_of, panel.assets, strict=True)
        rows |= {pair: float(bps) for pair, bps, own in zip(pairs, mean, days, strict=True) if own}
    return pd.DataFrame([(*pair, bps) for pair, bps in rows.items()], columns=["market", "asset", "bps"])


def _agent_days(folder: RunFolder, folds: Mapping[str, Fold], unit: Unit) -> pd.DataFrame:
    """The days of an agent and seed in all windows; of several they are stored, with what is carried over."""
    blocks = folder.block_days(unit.label, unit.seed, list(folds))
    if len(blocks) == 1:
        return blocks[0]
    days = carry_over(
        list(folds.values()), blocks, vol_target=unit.vol_target, execution_lag=unit.execution_lag
    )
    folder.write_agent_days(unit.label, unit.seed, days)
    return days


def plan_of(config: RunConfig, variants: Mapping[str, Variant], panel: Panel) -> dict[str, object]:
    """What decides a run's figures: everything but the place and the number of processes."""
    plain = {k: v for k, v in _plain(config).items() if k not in WITHOUT_EFFECT}
    return plain | {
        "data": panel.fingerprint,
        "variants": {label: asdict(variant) for label, variant in variants.items()},
    }


def _record(
    config: RunConfig, panel: Panel, folds: Mapping[str, Fold], units: Sequence[Unit]
) -> dict[str, object]:
    """Everything needed to repeat the run."""
    agents: dict[str, AgentRecord] = {}
    for unit in units:
        agent = unit.agent()
        entry: AgentRecord = {
            "agent": unit.variant.agent,
            "options": dict(unit.variant.options),
            "built_with": options_of(unit.variant.agent, quick=unit.quick, options=unit.variant.options),
            "source": source_digest(unit.variant.agent),
            "windows": {name: dict(options) for name, options in unit.variant.windows.items()},
            "vol_target": unit.vol_target,
            "train_cost_bps": settings_of(agent).train_cost_bps,
            "train_execution": unit.train_execution,
            "warmup": warmup_of(agent),
            "learns": learns(agent),
            "warm_start": _warm(config, agent),
            "seeds": sorted({u.seed for u in units if u.label == unit.label}),
        }
        if unit.way is not None:
            entry["way"] = unit.way
        agents.setdefault(unit.label, entry)
    order = [label for label in _in_order(config, agents) if label in agents]
    return {
        "config": _plain(config),
        "panel": {
            "fingerprint": panel.fingerprint,
            "bars_per_year": panel.bars_per_year,
            "first": str(panel.dates[0]),
            "last": str(panel.dates[-1]),
            "assets": panel.shape[1],
            "notes": list(panel.notes),
            "windows": list(folds),
            "markets": [
                row | ({"window": name} if name else {})
                for name, fold in folds.items()
                for row in fold.blocks.to_dict("records")
            ],
        },
        "agents": {label: agents[label] for label in order},
        "versions": _versions(),
        "git": _git_state(),
    }


def _in_order(config: RunConfig, labels: Iterable[str]) -> list[str]:
    """The agents of a run as they were named, each in all its ways, then the others."""
    named = [f"{label}{behind}" for label in config.agents for behind in WAYS.values()]
    known = {*config.agents, *(given := list(labels))}
    return list(dict.fromkeys([*(label for label in named if label in known), *given]))


def _dealt(folds: Mapping[str, Fold]) -> dict[str, object]:
    """Of folds of markets, which they are; nothing where windows are spans of dates."""
    dealt = {name: list(fold.test.markets) for name, fold in folds.items() if fold.own is not None}
    return {"folds": dealt} if dealt else {}


def _unseen(
    division: Unseen, panel: Panel, folds: Mapping[str, Fold], left_out: Sequence[str]
) -> UnseenRecord:
    """How markets were dealt into folds, what was learnt from for each, and what was left out."""
    return {
        "rule": division.rule,
        "shots": division.shots,
        "folds": [
            {
                "window": name,
                "markets": list(fold.test.markets),
                "cut": str(fold.own.cut),
                "learnt": list(fold.train.markets),
                "without": dict(fold.own.without),
            }
            for name, fold in folds.items()
            if fold.own is not None
        ],
        "not_judged": division.not_judged(panel),
        "left_out": list(left_out),
    }


def device_record(name: str) -> DeviceRecord:
    """The device of a name as it is recorded.

    Raises:
        ConfigError: there is none.

    Examples:
        >>> device_record("cpu")
        {'asked': 'cpu', 'used': 'cpu', 'card': None}
    """
    device = resolve(name)
    return {"asked": name, "used": str(device), "card": card_of(device)}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    for name in OPTIONAL:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _plain(config: RunConfig) -> dict[str, object]:
    return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}


def _git_state() -> dict[str, str | bool] | None:
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

"""`qn cross-validate`: a distribution of Sharpe ratios, of many test paths, in place of one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from experiments.settings.config import (
    DEFAULT_COSTS,
    EXECUTIONS,
    IN_WORDS,
    LEVEL,
    MARKET,
    NAMES,
    Execution,
    Level,
    PanelConfig,
    check_agents,
    check_counts,
    check_level,
    check_target,
    in_bp,
    other_execution,
    take,
    take_paths,
)
from qn_env.checks import check_flag, check_known
from qn_env.errors import ConfigError, QnError

if TYPE_CHECKING:
    import pandas as pd

    from agents.training import Progress
    from experiments.running.combinatorial import Combinatorial, CrossValidation, Paths
    from qn_env.panel import Panel

PLAN = "plan.json"
QUARTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
MEDIAN = QUARTILES.index(0.5)


@dataclass(frozen=True, kw_only=True)
class CrossValidate(PanelConfig):
    """How much a figure owes to the one history there was: combinatorial purged cross-validation.

    The dates are cut into groups; every choice of some of them is judged by agents trained on the others, and
    the days are put together in many ways, each a path over the whole history on which no day was learnt
    from. Some of what is learnt lies after the days it is judged on: it is no simulation of trading, and its
    paths share days, so that their spread is no error bar. A command that was killed goes on where it was.
    """

    agents: Annotated[tuple[str, ...], NAMES]
    """Registered names or import paths, package.module:Class."""

    out: Path
    """Folder of the paths; an unfinished one goes on where it was, further agents and seeds join it."""

    groups: int = 6
    """Into which the dates are cut."""

    tested: int = 2
    """Groups that every training is judged on: of 6 groups 2 are 15 trainings and 5 paths."""

    purge: int = 0
    """Dates left out on both sides of a tested group, and own days of a market before its selection."""

    embargo: int = 0
    """Further dates left out behind a tested group."""

    cost: Annotated[Level, LEVEL] = DEFAULT_COSTS[-1]
    """Cost per unit of turnover, in basis points, or market: what the data say that each asset costs."""

    rank_by: Execution = "late"
    """The execution that ranks: late, one trading day after the decision, or on-time."""

    execution_lag: int = 0
    """Trading days between a decision and its trade: 0 is the close it is decided at, 1 the next one."""

    vol_target: float | None = None
    """Annualised volatility target per asset for all (0.15 is 15%); default: what each agent's paper says."""

    seeds: int = 1
    """Seeds of each learnt agent, each with as many trainings as there are choices of groups."""

    seed: int = 0
    """The first of these seeds."""

    quick: bool = False
    """Short trainings; the figures are not comparable."""

    jobs: int | None = None
    """Processes; default: one per core."""

    def __post_init__(self) -> None:
        super().__post_init__()
        take(self, "agents", check_agents(self.agents))
        take_paths(self, "out")
        check_counts(self, "purge", "embargo", "execution_lag", "seeds", "seed", "jobs")
        take(self, "cost", check_level("cost", self.cost))
        check_known("rank_by", self.rank_by, EXECUTIONS)
        check_target(self.vol_target)
        check_flag("quick", self.quick)

    @property
    def division(self) -> Combinatorial:
        """The groups.

        Raises:
            ConfigError: numbers that make none.
        """
        from experiments.running.combinatorial import Combinatorial

        return Combinatorial(groups=self.groups, tested=self.tested, purge=self.purge, embargo=self.embargo)


def cross_validate(config: CrossValidate) -> int:
    """Train and judge on every path, write `paths/` and `sharpe.csv`, and print their distributions.

    Returns:
        0, or 4 where an agent failed.

    Raises:
        ConfigError: settings that make no groups; a folder that holds paths of other settings.
        DataError: a panel that cannot be divided so, or whose numbers are no returns.
        QnError: no agent finished.
    """
    from experiments.running.executors import run_in_processes
    from experiments.running.fanout import Task
    from experiments.running.runner import checked_data, load_panel, refuse_unsaid_costs, without_costs
    from experiments.running.terminal import EXIT_FAILED
    from experiments.settings.configfile import claim_folder, write_config
    from experiments.storage.csvfile import write_csv
    from qn_env.storage import make_folder

    panel = load_panel(config)
    if config.cost == MARKET:
        refuse_unsaid_costs(panel)
    else:
        panel = without_costs(panel)
    splits = len(config.division.splits(panel))  # refuses what cannot be divided, before anything is trained
    validations = _validations(config)
    checked_data(panel)
    claim_folder(config.out, ["cross-validate"])
    _keep_plan(config, panel)
    write_config(config.out / "config.json", ["cross-validate"], config)
    make_folder(config.out / "paths")
    print(
        f"Panel: {panel.about}. {splits} trainings a seed, {len(config.division.paths)} paths of "
        f"{config.groups} groups.",
        flush=True,
    )
    tasks = [
        Task(name, partial(_store, one, panel, _file(config.out, name)))
        for name, one in validations.items()
        if not _file(config.out, name).exists()
    ]
    failed = run_in_processes(tasks, config.jobs)
    for name, failure in failed.items():
        print(f"{name}: {failure.error}")
    done = {name: one for name, one in validations.items() if _file(config.out, name).exists()}
    if not done:
        raise QnError(f"{config.out}: no agent finished: {next(iter(failed.values())).error}")
    kept = config.division.markets(panel)
    if left_out := [name for name in panel.markets if name not in kept]:
        print(f"Without a trading day in every group, left out: {', '.join(left_out)}.")
    found = _sharpe_ratios(config.out, done, panel.bars_per_year)
    write_csv(config.out / "sharpe.csv", found)
    print(f"\n{as_text(found, config)}\n\nPaths: {config.out}")
    return EXIT_FAILED if failed else 0


def _validations(config: CrossValidate) -> dict[str, CrossValidation]:
    """Every agent with every seed, by the name of its file."""
    from agents.agent import learns, make_agent
    from experiments.running.combinatorial import CrossValidation
    from experiments.running.units import Variant
    from experiments.storage.store import unit_name

    made = {}
    for agent in config.agents:
        number = config.seeds if learns(make_agent(agent, quick=config.quick)) else 1
        for seed in range(config.seed, config.seed + number):
            made[unit_name(agent, seed)] = CrossValidation(
                variant=Variant(agent),
                division=config.division,
                seed=seed,
                cost=config.cost,
                vol_target=config.vol_target,
                execution_lag=config.execution_lag,
                quick=config.quick,
            )
    return made


def _keep_plan(config: CrossValidate, panel: Panel) -> None:
    """Write what all paths of a folder have in common, or hold it against what the folder was begun with.

    Raises:
        ConfigError: it was begun with something else.
    """
    from qn_env.storage import read_object, write_atomically

    names = ("groups", "tested", "purge", "embargo", "cost", "execution_lag", "vol_target", "quick")
    plan = {"panel": panel.fingerprint, **{name: getattr(config, name) for name in names}}
    path = config.out / PLAN
    begun = read_object(path) if path.exists() else plan
    for name, meant in plan.items():
        if begun.get(name) != meant:
            raise ConfigError(
                f"{path}: begun with {name} {begun.get(name)}, not {meant}. Go on with the same settings, or "
                "choose another --out."
            )
    write_atomically(path, (json.dumps(plan, indent=2) + "\n").encode())


def _file(folder: Path, name: str) -> Path:
    return folder / "paths" / f"{name}.parquet"


def _store(validation: CrossValidation, panel: Panel, path: Path, report: Progress) -> None:
    """Run one and store its paths: date, path, net (daily, decimal), net_late."""
    from experiments.storage.store import as_parquet
    from qn_env.storage import write_atomically

    write_atomically(path, as_parquet(_as_rows(validation.run(panel, report))))


def _as_rows(paths: Paths) -> pd.DataFrame:
    import pandas as pd

    columns = {
        name: table.rename_axis(index="date", columns="path").stack()
        for name, table in (("net", paths.net), ("net_late", paths.net_late))
    }
    return pd.DataFrame(columns).reset_index()


def _read(path: Path, bars_per_year: float) -> Paths:
    """What `_store` has stored."""
    from experiments.running.combinatorial import Paths
    from experiments.storage.store import columns, read_parquet
    from qn_env.storage import read_bytes

    holds = {**columns("day", "date"), **columns("number", "path", "net", "net_late")}
    days = read_parquet(path, read_bytes(path), holds, "Remove it, and repeat the command.")
    net, late = (days.pivot(index="date", columns="path", values=name) for name in ("net", "net_late"))
    return Paths(net=net, net_late=late, bars_per_year=bars_per_year)


def _sharpe_ratios(folder: Path, done: Mapping[str, CrossValidation], bars_per_year: float) -> pd.DataFrame:
    """Of every path: agent, seed, path, execution, sharpe (annualised)."""
    import pandas as pd

    rows = []
    for name, one in done.items():
        paths = _read(_file(folder, name), bars_per_year)
        for number, ratios in enumerate(zip(paths.sharpe, paths.sharpe_late, strict=True)):
            rows += [
                {"agent": one.variant.agent, "seed": one.seed, "path": number}
                | {"execution": execution, "sharpe": float(ratio)}
                for execution, ratio in zip(("on-time", "late"), ratios, strict=True)
            ]
    return pd.DataFrame(rows)


def as_text(found: pd.DataFrame, config: CrossValidate) -> str:
    """The distribution of every agent's Sharpe ratios over paths and seeds, best median first.

    Args:
        found: agent, seed, path, execution, sharpe.
        config: what ranks, and what was paid.
    """
    from experiments.artefacts.numbers import UNDEFINED, align_columns

    def number(value: float) -> str:
        return f"{value:.2f}" if math.isfinite(value) else UNDEFINED

    first, other = config.rank_by, other_execution(config.rank_by)
    rows = []
    for agent, own in found.groupby("agent", sort=False):
        ratios = own[own["execution"] == first]["sharpe"]
        beside = own[own["execution"] == other]["sharpe"].median()
        rows.append(
            (
                str(agent),
                [
                    *(float(ratios.quantile(q)) for q in QUARTILES),
                    float((ratios < 0.0).mean()),
                    float(beside),
                ],
                own["seed"].nunique(),
            )
        )
    rows.sort(key=lambda row: (math.isnan(row[1][MEDIAN]), -row[1][MEDIAN], row[0]))
    heads = [
        "agent",
        "lowest",
        "25%",
        "median",
        "75%",
        "highest",
        "below 0",
        f"median {IN_WORDS[other]}",
        "seeds",
    ]
    cells = [heads]
    for agent, values, seeds in rows:
        *quartiles, share, beside = values
        cells.append([agent, *map(number, quartiles), f"{share:.0%}", number(beside), f"{seeds}"])
    return "\n".join(
        [
            f"Sharpe ratios of the paths, net of {in_bp(config.cost)}, {IN_WORDS[first]}",
            *align_columns(cells),
            "Paths share days and trainings: their spread is no error bar.",
        ]
    )

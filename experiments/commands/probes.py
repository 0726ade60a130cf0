"""`qn probes`: agents on markets with a planted structure and a known optimum, with a verdict each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

from experiments.settings.config import DEFAULT_AGENTS, NAMES, check_agents, check_counts, take_paths
from qn_env.checks import check_device, check_flag, check_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from experiments.probes.units import ProbeUnit
    from experiments.running.fanout import Failure

SEEDS, QUICK_SEEDS = 3, 2
QUICK_DAYS = 2000


@dataclass(frozen=True, kw_only=True)
class Probes:
    """Train agents on synthetic markets whose best Sharpe ratio is known; what share of it do they reach?

    Beside the agents stand the best policy itself, under the name oracle, and buy-and-hold.
    """

    agents: Annotated[tuple[str, ...], NAMES] = DEFAULT_AGENTS
    """Registered names or import paths, package.module:Class."""

    probes: Annotated[tuple[str, ...], NAMES] = ()
    """Of noise, drift, trend, reversal, latent-trend, transfer, context, contagion, costs, regime, ragged,
    costly-trend, costly-reversal and costly-latent; default: all."""

    seeds: int | None = None
    """Panels and trainings of each; default: 3, with --quick 2."""

    seed: int = 0
    """The first of these seeds."""

    days: int | None = None
    """Trading days to learn from; those to be judged on follow in proportion. Default: 8000 (2000 before each
    block of regime, 500 of transfer, 2500 of context), with --quick at most 2000."""

    quick: bool = False
    """Short trainings on fewer days; the result is marked as not comparable."""

    device: str = "cpu"
    """Where networks are trained: cpu, cuda (the first card), cuda:N or auto (cuda where there is one).
    Signals are made on the CPU."""

    jobs: int | None = None
    """Processes; default: one per core."""

    out: Path | None = None
    """Folder for probes.csv and what every unit found; an unfinished one goes on where it was."""

    def __post_init__(self) -> None:
        check_agents(self.agents)
        check_names("probes", self.probes)
        check_counts(self, "seeds", "seed", "days", "jobs")
        check_device("device", self.device)
        check_flag("quick", self.quick)
        take_paths(self, "out")

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds."""
        count = self.seeds if self.seeds is not None else (QUICK_SEEDS if self.quick else SEEDS)
        return tuple(range(self.seed, self.seed + count))


def probes(config: Probes) -> int:
    """Run what a command describes and print a table per probe; 0, or 1 where a unit failed.

    Raises:
        ConfigError: an unknown probe or agent, a device that there is not.
    """
    from agents.device import resolve
    from experiments.probes.table import table
    from experiments.probes.units import found_in
    from experiments.storage.csvfile import write_csv
    from qn_env.storage import make_folder

    resolve(config.device)
    units = units_of(config)
    with TemporaryDirectory(prefix="qn-probes-") as temporary:
        out = Path(temporary) if config.out is None else config.out
        folder = make_folder(out / "units")
        failures = run(units, folder, config.jobs)
        rows = table(found_in(folder, units))
        if config.out is not None:
            write_csv(out / "probes.csv", rows)
    _print(units, rows)
    for name, failure in failures.items():
        print(f"failed: {name}: {failure.error}")
    if config.out is not None:
        print(f"Table and figures of every unit: {config.out / 'probes.csv'}")
    return 1 if failures else 0


def units_of(config: Probes) -> list[ProbeUnit]:
    """What a command runs, probe by probe.

    Raises:
        ConfigError: an unknown probe or agent.
    """
    from agents.agent import make_agent
    from experiments.probes.registry import PROBES, find_probe
    from experiments.probes.units import BLIND, ORACLE, ProbeUnit

    for agent in config.agents:
        make_agent(agent, quick=config.quick)
    units = []
    for probe in map(find_probe, dict.fromkeys(config.probes or PROBES)):
        known = () if probe.control is None else (ORACLE,)
        agents = dict.fromkeys((*known, BLIND, *config.agents))
        days = config.days if config.days is not None else probe.days
        days = min(days, QUICK_DAYS) if config.quick else days
        test_days = max(days * probe.test_days // probe.days, 1)
        units += [
            ProbeUnit(probe.name, agent, seed, days, test_days, config.quick, config.device)
            for agent in agents
            for seed in config.seed_list
        ]
    return units


def run(units: Sequence[ProbeUnit], folder: Path, jobs: int | None) -> Mapping[str, Failure]:
    """Run the units that have not run yet, and return the failures by name.

    Args:
        units: what is run; each writes what it finds into a file of its name.
        folder: of these files.
        jobs: processes; default: one per core.
    """
    from experiments.probes.units import call_of
    from experiments.running.executors import run_in_processes
    from experiments.running.fanout import Task
    from experiments.running.units import place

    waiting = [unit for unit in units if not unit.within(folder).exists()]
    waiting.sort(key=lambda unit: place(unit.agent))
    return run_in_processes([Task(unit.name, call_of(unit, folder)) for unit in waiting], jobs)


def _print(units: Sequence[ProbeUnit], rows: pd.DataFrame) -> None:
    from experiments.probes.registry import find_probe
    from experiments.probes.table import as_text

    for name in dict.fromkeys(unit.probe for unit in units):
        probe, of_probe = find_probe(name), [unit for unit in units if unit.probe == name]
        seeds = len({unit.seed for unit in of_probe})
        print(f"\n{name}: {probe.planted}")
        print(
            f"{of_probe[0].days} days to learn from, {of_probe[0].test_days} to be judged on, "
            f"{seeds} {'seed' if seeds == 1 else 'seeds'}. Expected: {probe.expected}."
        )
        print(as_text(rows[rows["probe"] == name]))
    if any(unit.quick for unit in units):
        print("\n! not comparable: a quick run")

"""What a benchmark has to run, anywhere: the units of every agent under every protocol, and on the probes.

All that has not finished is one list of tasks for one executor, the longest first; each stores its own
result, and a run is concluded once its units have ended.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from agents.agent import AGENTS, make_agent, source_digest
from agents.device import on_card
from agents.layers import base_of
from agents.population.jobs import Fit
from agents.training import Progress
from experiments.open_benchmark.folder import BenchmarkFolder
from experiments.open_benchmark.seconds import timed, took
from experiments.open_benchmark.suites import Course, Suite
from experiments.probes.units import ProbeUnit, run_probe
from experiments.running.executors import Execute, SharedFold, share_folds
from experiments.running.fanout import Failure, Task
from experiments.running.populations import Waiting, most_together, train_in_populations
from experiments.running.protocols import Fold
from experiments.running.runner import (
    BegunRun,
    begin_run,
    chains_of,
    conclude_run,
    failures_of,
    from_scratch,
)
from experiments.running.units import Unit, place, prepare_unit, run_unit
from experiments.running.unseen import division_of, ways_of
from experiments.settings.config import UNSEEN, Level, RunConfig
from experiments.storage.store import RunFolder
from qn_env.errors import ConfigError, QnError
from qn_env.panel import Panel

PROBE = "probe"  # in place of a protocol, in the name of a task and of a trouble


class Trouble(NamedTuple):
    """Why an agent has no figures."""

    agent: str
    protocol: str
    kind: str  # the class of the error
    error: str


@dataclass(frozen=True, kw_only=True)
class Means:
    """Where a benchmark is run; none of it changes a figure, but for its rounding.

    Attributes:
        execute: runs the tasks.
        together: runs trainings that share a programme.
        device: where networks are trained.
        population: trainings of one programme, at most; None: as `experiments.running.populations` says.
    """

    execute: Execute
    together: Execute
    device: str = "cpu"
    population: int | None = None


def play(
    folder: BenchmarkFolder,
    suite: Suite,
    agents: Sequence[str],
    panel: Panel,
    costs: tuple[Level, ...],
    means: Means,
) -> list[Trouble]:
    """Run all that these agents have not finished; who has no figures, and why.

    Raises:
        ConfigError: an unknown agent; one whose source has changed since its figures were made.
    """
    folds: dict[str, dict[str, Fold]] = {}
    begun: list[BegunRun] = []
    for course in suite.courses:
        waiting = _waiting(folder, course, agents)
        configs = [_config(folder, suite, course, agent, costs, means) for agent in waiting]
        if not configs:
            continue
        folds[course.protocol] = {fold.name: fold for fold in division_of(configs[0]).folds(panel)}
        begun += [begin_run(config, panel, resume=True, known=folds[course.protocol]) for config in configs]
    probes = [unit for unit in probe_units(suite, agents, device=means.device) if _is_open(unit, folder)]
    return _play(folder, begun, folds, probes, means)


def probe_units(suite: Suite, agents: Sequence[str], *, device: str = "cpu") -> list[ProbeUnit]:
    """The units of the suite's probes, of these agents; every seed is a panel, for a rule too."""
    return [
        ProbeUnit(one.probe, agent, seed, one.days, one.test_days, suite.quick, device)
        for agent in agents
        for one in suite.probes
        for seed in range(one.seeds)
    ]


def plays(course: Course, agent: str) -> bool:
    """Whether an agent can be judged under a protocol.

    Raises:
        ConfigError: an unknown agent, or one that cannot be built.
    """
    return course.protocol != UNSEEN or bool(ways_of(make_agent(agent), course.shots))


def _waiting(folder: BenchmarkFolder, course: Course, agents: Sequence[str]) -> list[str]:
    """The agents that have not finished a protocol, and can."""
    finished = folder.finished(course.protocol)
    for agent in (agent for agent in agents if agent in finished):
        _refuse_changed(agent, finished[agent])
    return [agent for agent in agents if agent not in finished and plays(course, agent)]


def _refuse_changed(agent: str, run: RunFolder) -> None:
    """Refuse to show figures of a user's own agent beside a source that is another one by now.

    Raises:
        ConfigError: the file its class is in has changed.
    """
    if base_of(agent) in AGENTS:  # the package's own: its versions and commits are recorded
        return
    known = {made.get("source", "") for made in run.record()["agents"].values()}
    if source_digest(agent) not in known:
        raise ConfigError(
            f"{agent}: the file its class is in has changed since {run.path} was made. Remove that folder to "
            "have it run again; what was looked at before still counts as tried. Or give the class another "
            "name."
        )


def _config(
    folder: BenchmarkFolder,
    suite: Suite,
    course: Course,
    agent: str,
    costs: tuple[Level, ...],
    means: Means,
) -> RunConfig:
    """The run of an agent under a protocol."""
    config = RunConfig(
        agents=(agent,),
        protocol=course.protocol,
        seeds=course.seeds,
        test_years=course.test_years,
        costs=costs,
        quick=suite.quick,
        device=means.device,
        population=means.population,
        jobs=1,
        out=folder.run(course.protocol, agent),
        resume=True,
    )
    if course.protocol != UNSEEN:
        return config
    return replace(config, folds=course.folds, shots=course.shots)


def _is_open(unit: ProbeUnit, folder: BenchmarkFolder) -> bool:
    return not unit.within(folder.part("probes")).exists()


def _play(
    folder: BenchmarkFolder,
    begun: Sequence[BegunRun],
    folds: Mapping[str, Mapping[str, Fold]],
    probes: Sequence[ProbeUnit],
    means: Means,
) -> list[Trouble]:
    seconds = folder.part("seconds")
    windows = [(protocol, name) for protocol, known in folds.items() for name in known]
    with share_folds([folds[protocol][name] for protocol, name in windows], folder.path / "shared") as shared:
        handles: dict[str, dict[str, SharedFold]] = {protocol: {} for protocol in folds}
        for (protocol, name), handle in zip(windows, shared, strict=True):
            handles[protocol][name] = handle
        works = [_Work.of(run, handles[run.config.protocol], means) for run in begun]
        tasks = [task for work in works for task in work.tasks(seconds)]
        tasks += [(place(unit.agent), _probe_task(unit, folder, seconds)) for unit in probes]
        ordered = sorted(tasks, key=lambda task: task[0])
        failures = means.execute([task for _, task in ordered])
    return [
        *(trouble for work in works for trouble in work.conclude(failures, seconds)),
        *_failed_probes(probes, failures),
    ]


@dataclass(frozen=True)
class _Work:
    """A run, what there is to do for it, and its windows as workers get them."""

    run: BegunRun
    chains: Mapping[str, list[Unit]]
    handles: Mapping[str, SharedFold]
    together: frozenset[str]  # units trained in a programme with others

    @classmethod
    def of(cls, run: BegunRun, handles: Mapping[str, SharedFold], means: Means) -> _Work:
        """What has not finished of a run; what shares a programme is trained now."""
        trained = _train_together(run, handles, means)
        # What is left of these is done on the CPU.
        units = [replace(one, device="cpu") if one.name in trained else one for one in run.waiting]
        return cls(run, chains_of(units), handles, frozenset(trained))

    @property
    def protocol(self) -> str:
        """Of the run."""
        return self.run.config.protocol

    def tasks(self, seconds: Path) -> list[tuple[int, Task]]:
        """One for each chain of units, with its place in the queue."""
        return [
            (
                place(chain[0].variant.agent),
                Task(
                    f"{self.protocol}-{name}",
                    partial(
                        _run_chain,
                        {self._clock(unit, seconds): unit for unit in chain},
                        {unit.window: self.handles[unit.window] for unit in chain},
                        self.run.folder,
                    ),
                ),
            )
            for name, chain in self.chains.items()
        ]

    def _clock(self, unit: Unit, seconds: Path) -> Path:
        """The file that says what a unit took; of one that was trained with others, what its rest took."""
        rest = "-after-training" if unit.name in self.together else ""
        return seconds / f"{clock_name(self.protocol, unit.name)}{rest}.json"

    def conclude(self, failures: Mapping[str, Failure], seconds: Path) -> list[Trouble]:
        """Write the run's tables; why it has none, if so."""
        mine = {name: failures[key] for name in self.chains if (key := f"{self.protocol}-{name}") in failures}
        failed = failures_of(self.chains, mine, self.run.folder)
        clocks = [clock_name(self.protocol, unit.name) for unit in self.run.units]
        try:
            conclude_run(self.run, failed, seconds=sum(one["wall"] for one in took(seconds, clocks)))
        except QnError as error:
            (agent,) = self.run.config.agents
            told = str(error).replace(f"{seconds.parent}{os.sep}", "")  # a folder may be carried elsewhere
            return [Trouble(agent, self.protocol, type(error).__name__, told)]
        return []


def clock_name(protocol: str, unit: str) -> str:
    """The file of what a unit took, without its ending."""
    return f"{protocol}-{unit}"


def _run_chain(
    units: Mapping[Path, Unit], handles: Mapping[str, SharedFold], folder: RunFolder, report: Progress
) -> None:
    """Run units one after the other, each of which may begin where the one before ended.

    Args:
        units: by the file that is to say what each took.
        handles: their windows.
        folder: of their run.
        report: told how far it is.
    """
    for clock, unit in units.items():
        with timed(clock):
            run_unit(unit, handles[unit.window].get(), folder, report)


def _train_together(run: BegunRun, handles: Mapping[str, SharedFold], means: Means) -> set[str]:
    """Train the units that can share a programme; the names of those that were."""
    most = most_together(means.population, means.device)
    if most == 1 and not on_card(means.device):
        return set()
    waiting = [
        Waiting(unit.name, unit.agent(), partial(_prepare, unit, handles[unit.window], run.folder))
        for unit in from_scratch(run.waiting, list(run.folds))
    ]
    return train_in_populations(waiting, means.device, most, means.together)


def _prepare(unit: Unit, handle: SharedFold, folder: RunFolder) -> Fit:
    return prepare_unit(unit, handle.get(), folder)


def _probe_task(unit: ProbeUnit, folder: BenchmarkFolder, seconds: Path) -> Task:
    clock = seconds / f"{clock_name(PROBE, unit.name)}.json"
    return Task(f"{PROBE}-{unit.name}", partial(_run_probe, unit, folder.part("probes"), clock))


def _run_probe(unit: ProbeUnit, folder: Path, clock: Path, report: Progress) -> None:
    with timed(clock):
        run_probe(unit, folder, report)


def _failed_probes(probes: Sequence[ProbeUnit], failures: Mapping[str, Failure]) -> list[Trouble]:
    found = [(unit, failures.get(f"{PROBE}-{unit.name}")) for unit in probes]
    return [
        Trouble(unit.agent, f"{PROBE} {unit.probe}", failure.kind, f"seed {unit.seed}: {failure.error}")
        for unit, failure in found
        if failure is not None
    ]

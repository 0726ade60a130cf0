"""The record of a benchmark: what was played on which data by which code, and how much was tried."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import NotRequired, TypedDict

import numpy as np
import pandas as pd

from experiments.open_benchmark.folder import BenchmarkFolder
from experiments.open_benchmark.joint import HOLDOUT
from experiments.open_benchmark.playing import PROBE, Trouble, clock_name, probe_units
from experiments.open_benchmark.scorecard import QUESTIONS
from experiments.open_benchmark.seconds import took
from experiments.open_benchmark.suites import Suite
from experiments.settings.config import Level, level_name
from experiments.storage.records import RunRecord
from experiments.storage.store import unit_name
from qn_env.panel import Panel


class PanelPart(TypedDict):
    """The data."""

    about: str
    fingerprint: str
    notes: list[str]


class TrialsPart(TypedDict):
    """How much was tried: series that stand in a table, and trainings behind them and behind the probes."""

    series: int
    trainings: int


class CodePart(TypedDict):
    """Code that made figures, and of which agents."""

    versions: dict[str, str]
    git: dict[str, str | bool] | None
    runs: list[str]


class TroublePart(TypedDict):
    """Why an agent has no figures."""

    agent: str
    protocol: str
    error: str


class SecondsPart(TypedDict):
    """CPU seconds of an agent: of one seed under holdout, trained, audited and judged, and of everything."""

    seed: float | None
    all: float


class BenchmarkRecord(TypedDict):
    """`record.json`; a published one has also `seconds`, `machine` and `finished`."""

    suite: dict[str, object]
    panel: PanelPart
    costs: list[str]
    headline: str
    agents: list[str]
    added: list[str]
    missing: list[str]
    cannot: list[str]
    failed: list[TroublePart]
    trials: TrialsPart
    code: list[CodePart]
    questions: dict[str, str]
    seconds: NotRequired[dict[str, SecondsPart]]
    machine: NotRequired[str]
    finished: NotRequired[str]


def record_of(
    folder: BenchmarkFolder,
    suite: Suite,
    panel: Panel,
    costs: Sequence[Level],
    *,
    agents: Sequence[str],
    missing: Sequence[str],
    cannot: Sequence[str],
    trials: pd.DataFrame,
    troubles: Sequence[Trouble],
) -> BenchmarkRecord:
    """The record; nothing in it depends on a clock.

    Args:
        folder: of the benchmark.
        suite: what is played.
        panel: the data.
        costs: levels of costs.
        agents: those of the table.
        missing: of the suite's agents, those that have not finished everything.
        cannot: agents that play only markets that they are trained on, where others are played.
        trials: all that was ever looked at.
        troubles: who has no figures, and why.
    """
    records = {
        (course.protocol, agent): run.record()
        for course in suite.courses
        for agent, run in folder.finished(course.protocol).items()
    }
    units = sum(_units(record) for record in records.values())
    probes = [unit for unit in probe_units(suite, agents) if unit.within(folder.part("probes")).exists()]
    first: RunRecord = next(iter(records.values()))
    return {
        "suite": asdict(suite),
        "panel": {
            "about": panel.about,
            "fingerprint": first["panel"]["fingerprint"],
            "notes": list(panel.notes),
        },
        "costs": [level_name(level) for level in costs],
        "headline": level_name(costs[-1]),
        "agents": list(agents),
        "added": [agent for agent in agents if agent not in suite.agents],
        "missing": list(missing),
        "cannot": list(cannot),
        "failed": [{"agent": one.agent, "protocol": one.protocol, "error": one.error} for one in troubles],
        "trials": {"series": len(trials), "trainings": units + len(probes)},
        "code": _code(records),
        "questions": {one.title: one.meaning for one in QUESTIONS},
    }


def _units(record: RunRecord) -> int:
    """Trainings of a run: agents, in all their ways, times seeds and windows."""
    windows = len(record["panel"]["windows"])
    return sum(len(made["seeds"]) * windows for made in record["agents"].values())


def _code(records: Mapping[tuple[str, str], RunRecord]) -> list[CodePart]:
    """Every state of the code that made a run, with these runs."""
    states: list[CodePart] = []
    for (protocol, agent), record in records.items():
        name = f"{protocol}/{agent}"
        same = [s for s in states if (s["versions"], s["git"]) == (record["versions"], record["git"])]
        if same:
            same[0]["runs"].append(name)
        else:
            states.append({"versions": record["versions"], "git": record["git"], "runs": [name]})
    return states


def seconds_of(folder: BenchmarkFolder, suite: Suite, agents: Sequence[str]) -> dict[str, SecondsPart]:
    """What every agent took, by the files that its units have left."""
    place = folder.part("seconds")
    probes = probe_units(suite, agents)
    parts: dict[str, SecondsPart] = {}
    for agent in agents:
        clocks: dict[str, list[str]] = {}
        for course in suite.courses:
            run = folder.finished(course.protocol).get(agent)
            clocks[course.protocol] = [] if run is None else _clocks(course.protocol, run.record())
        clocks[PROBE] = [clock_name(PROBE, unit.name) for unit in probes if unit.agent == agent]
        every = [one["cpu"] for names in clocks.values() for one in took(place, names)]
        judged = [one["cpu"] for one in took(place, clocks.get(HOLDOUT, []))]
        parts[agent] = {
            "seed": round(float(np.mean(judged)), 1) if judged else None,
            "all": round(sum(every), 1),
        }
    return parts


def _clocks(protocol: str, record: RunRecord) -> list[str]:
    return [
        clock_name(protocol, unit_name(label, seed, window))
        for label, made in record["agents"].items()
        for seed in made["seeds"]
        for window in record["panel"]["windows"]
    ]


def clock_part(seconds: Mapping[str, SecondsPart]) -> dict[str, object]:
    """What depends on a clock and on a machine."""
    return {
        "seconds": dict(seconds),
        "machine": f"{platform.system()} {platform.machine()}",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }

"""A whole benchmark: what has not finished is run, then everything that is made of it is made anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

import pandas as pd

from agents.agent import class_of
from experiments.open_benchmark.config import BenchmarkConfig
from experiments.open_benchmark.folder import (
    PROBES,
    RECORD,
    SCORES,
    SECONDS,
    TABLE,
    TRIALS,
    BenchmarkFolder,
)
from experiments.open_benchmark.joint import (
    CANNOT,
    failures_in,
    join_all,
    looked_at,
    no_trials,
    ratios_of,
    table_of,
)
from experiments.open_benchmark.page import write_page
from experiments.open_benchmark.playing import Means, Trouble, play, plays, probe_units
from experiments.open_benchmark.published import DIGITS, Results, results_in
from experiments.open_benchmark.record import clock_part, record_of, seconds_of
from experiments.open_benchmark.scorecard import scorecard
from experiments.open_benchmark.suites import SUITES, Planted, Suite
from experiments.probes.table import Found
from experiments.probes.table import table as probe_table
from experiments.probes.units import found_in
from experiments.running.executors import executor
from experiments.running.runner import levels_for, load_panel, without_costs
from experiments.running.search import together_in
from experiments.settings.config import MARKET, Level, RunConfig
from experiments.storage.csvfile import write_csv
from qn_env.errors import ConfigError, QnError, did_you_mean
from qn_env.panel import Panel


class Played(NamedTuple):
    """A benchmark that was played.

    Attributes:
        folder: of it.
        results: the table, the scorecard and the record.
        troubles: who has no figures, and why.
    """

    folder: BenchmarkFolder
    results: Results
    troubles: Sequence[Trouble]


def run_benchmark(
    config: BenchmarkConfig, panel: Panel | None = None, *, suite: Suite | None = None
) -> Played:
    """Play a suite, or go on with it, and write its folder.

    Args:
        config: what to play, and where.
        panel: the data, where they are at hand already; default: what the configuration names.
        suite: what is played, in place of the one that the configuration names.

    Raises:
        ConfigError: an unknown agent, a folder that was begun with another suite or other data.
        DataError: a panel that cannot be used.
        QnError: not a single agent has figures.
    """
    chosen = SUITES[config.suite] if suite is None else suite
    asked = _asked(config, chosen)
    panel = load_panel(config) if panel is None else panel
    costs = levels_for(RunConfig(), panel)
    panel = panel if MARKET in costs else without_costs(panel)
    chosen = chosen.at_most(len(panel.markets))
    folder = BenchmarkFolder.begin(config.folder, plan_of(chosen, panel, costs))
    execute = executor(config.executor, address=config.address, jobs=config.jobs)
    means = Means(
        execute=execute,
        together=together_in(config.jobs, [config.device]) if config.executor == "processes" else execute,
        device=config.device,
        population=config.population,
    )
    troubles = play(folder, chosen, asked, panel, costs, means)
    return Played(folder, *_written(folder, chosen, panel, costs, troubles))


def plan_of(suite: Suite, panel: Panel, costs: Sequence[Level]) -> dict[str, object]:
    """What decides the figures of a benchmark. Its agents do not: no figure of one depends on another's."""
    declared = asdict(suite)
    return {
        "suite": suite.name,
        "courses": list(declared["courses"]),
        "probes": list(declared["probes"]),
        "quick": suite.quick,
        "costs": list(costs),
        "panel": f"{panel.about}; SHA-256 {panel.fingerprint}",
    }


def _asked(config: BenchmarkConfig, suite: Suite) -> list[str]:
    """The agents that are to have figures now.

    Raises:
        ConfigError: an agent that there is not, or none of the suite's where one was to be chosen.
    """
    for name in config.only:
        if name not in suite.agents:
            raise ConfigError(
                f"only: {name!r} is not declared in the suite {suite.name}. "
                f"{did_you_mean(name, suite.agents)} Another agent is put beside them by --add."
            )
    for name in config.add:
        class_of(name)
    chosen = [name for name in suite.agents if not config.only or name in config.only]
    return list(dict.fromkeys([*chosen, *config.add]))


def _written(
    folder: BenchmarkFolder,
    suite: Suite,
    panel: Panel,
    costs: Sequence[Level],
    troubles: Sequence[Trouble],
) -> tuple[Results, list[Trouble]]:
    """Everything that is made of what has finished."""
    agents = _present(folder, suite, troubles)
    trials = looked_at(folder, suite, _trials_before(folder))
    if not len(trials):
        first = f"; the first said: {troubles[0].agent}: {troubles[0].error}" if troubles else "."
        raise QnError(f"{folder.path}: not a single agent has figures{first}")
    write_csv(folder.path / TRIALS, trials)
    joined = join_all(folder, suite, agents, trials)
    known = sorted({*troubles, *failures_in(joined)})
    table = table_of(joined, suite, agents, known)
    found = _found(folder, suite, agents)
    write_csv(folder.path / TABLE, table, float_format=DIGITS)
    write_csv(folder.path / SCORES, scorecard(agents, ratios_of(joined), found), float_format=DIGITS)
    probes = _probe_table(found)
    write_csv(folder.path / PROBES, probes, float_format=DIGITS)
    record = record_of(
        folder,
        suite,
        panel,
        costs,
        agents=agents,
        missing=_missing(folder, suite),
        cannot=list(dict.fromkeys(table.loc[table["note"] == CANNOT, "agent"])),
        trials=trials,
        troubles=known,
    )
    folder.write_json(RECORD, record)
    folder.write_json(SECONDS, clock_part(seconds_of(folder, suite, agents)))
    results = results_in(folder)  # as the files say it, so that a page has no other figures
    write_page(folder, results.table, results.scores, probes, results.record, joined)
    return results, known


def _present(folder: BenchmarkFolder, suite: Suite, troubles: Sequence[Trouble]) -> list[str]:
    """The agents of the table: those of the suite in its order, then others by name, that were run."""
    finished = {agent for course in suite.courses for agent in folder.finished(course.protocol)}
    named = finished | {one.agent for one in troubles}
    return [*(a for a in suite.agents if a in named), *sorted(named.difference(suite.agents))]


def _missing(folder: BenchmarkFolder, suite: Suite) -> list[str]:
    """Agents of which something that they can play has not finished: of the suite, and others once begun."""
    declared = [
        agent
        for agent in suite.agents
        if any(
            agent not in folder.finished(course.protocol) and plays(course, agent) for course in suite.courses
        )
    ]
    begun = {agent for course in suite.courses for agent in folder.begun(course.protocol)}
    return [*declared, *sorted(begun.difference(suite.agents))]


def _trials_before(folder: BenchmarkFolder) -> pd.DataFrame:
    path = folder.path / TRIALS
    if not path.exists():
        return no_trials()
    return pd.read_csv(path, dtype={"protocol": str, "agent": str, "source": str}, keep_default_na=False)


def _found(folder: BenchmarkFolder, suite: Suite, agents: Sequence[str]) -> dict[Planted, list[Found]]:
    """What units of these agents found, by probe of the suite."""
    units = probe_units(suite, agents)
    return {
        one: found_in(
            folder.part("probes"),
            [u for u in units if (u.probe, u.days, u.test_days) == (one.probe, one.days, one.test_days)],
        )
        for one in suite.probes
    }


def _probe_table(found: Mapping[Planted, Sequence[Found]]) -> pd.DataFrame:
    """Means over seeds, probe by probe; the days that were learnt from stand behind the probe's name."""
    tables = [probe_table(units).assign(days=one.days) for one, units in found.items()]
    whole = pd.concat(tables, ignore_index=True) if tables else probe_table([]).assign(days=0)
    names = list(dict.fromkeys(["probe", "days", *whole.columns]))
    return whole[names]

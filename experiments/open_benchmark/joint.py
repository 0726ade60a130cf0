"""One table of all agents: their runs put together, protocol by protocol, and what stands between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from experiments.open_benchmark.folder import BenchmarkFolder
from experiments.open_benchmark.playing import Trouble
from experiments.open_benchmark.scorecard import Ratios
from experiments.open_benchmark.suites import Suite
from experiments.results.books import at_level, levels_in
from experiments.results.evidence import Evidence, gather_evidence
from experiments.results.joining import join_runs
from experiments.results.run import Run, read_runs
from experiments.settings.config import UNSEEN, WAYS, Execution, Way, level_name
from experiments.storage.store import RunFolder

FIGURES = (
    *("seeds", "rank", "sharpe", "sharpe_low", "sharpe_high", "seed_low", "seed_high"),
    *("ann_return", "ann_volatility", "max_drawdown", "turnover", "first_day", "static"),
)
OF_EVIDENCE = ("deflated", "beats_cash", "may_be_best")  # late and at the headline cost alone
KEYS = ("protocol", "agent", "way", "execution", "cost")
COLUMNS = (*KEYS, *FIGURES, *OF_EVIDENCE, "note")
CANNOT = "plays only markets that it is trained on"
HOLDOUT = "holdout"


@dataclass(frozen=True, kw_only=True)
class Joint:
    """All runs of one protocol as one.

    Attributes:
        folder: of them, a run folder.
        runs: as either execution shows it, late first.
        evidence: the statistics of the late one, by which is ranked.
    """

    folder: RunFolder
    runs: Mapping[Execution, Run]
    evidence: Evidence

    @property
    def late(self) -> Run:
        """As it is ranked."""
        return self.runs["late"]

    def base(self, label: str) -> tuple[str, Way | None]:
        """The agent behind a label of the tables, and what it knows of the markets it is judged on."""
        way: Way | None = self.late.about["agents"][label].get("way")  # type: ignore[assignment] # as written
        return (label if way is None else label.removesuffix(WAYS[way])), way


def join_all(
    folder: BenchmarkFolder, suite: Suite, agents: Sequence[str], trials: pd.DataFrame
) -> dict[str, Joint]:
    """Every protocol that some of these agents have finished, by its name.

    Args:
        folder: of the benchmark.
        suite: what is played.
        agents: in the order of the table.
        trials: protocol, agent, seed and source of all that was ever looked at.
    """
    joined = {}
    for course in suite.courses:
        finished = folder.finished(course.protocol)
        parts = [finished[agent] for agent in agents if agent in finished]
        if not parts:
            continue
        shown = sum(len(part.results()[["agent", "seed"]].drop_duplicates()) for part in parts)
        run = join_runs(parts, folder.joint(course.protocol), further_trials=len(trials) - shown)
        runs = read_runs(run.path)
        joined[course.protocol] = Joint(folder=run, runs=runs, evidence=gather_evidence(runs, "late"))
    return joined


def table_of(
    joined: Mapping[str, Joint], suite: Suite, agents: Sequence[str], troubles: Sequence[Trouble]
) -> pd.DataFrame:
    """One row for every protocol, agent, way, execution and cost; one for who is not there, with the reason.

    Returns:
        The columns `COLUMNS`. Figures are those of the leaderboard of a run; `deflated` (counting every trial
        of the benchmark), `beats_cash` and `may_be_best` are late and of the headline cost. `cost` is a
        level's name.
    """
    rows: list[dict[str, object]] = []
    for protocol, joint in joined.items():
        for run in joint.runs.values():
            rows += [{"protocol": protocol, **row} for row in _rows(joint, run)]
    present = {(row["protocol"], row["agent"]) for row in rows}
    reasons = {(one.agent, one.protocol): f"failed: {one.error}" for one in troubles}
    for protocol in (course.protocol for course in suite.courses):
        for agent in agents:
            told = reasons.get((agent, protocol), CANNOT if protocol == UNSEEN else "")
            if (protocol, agent) not in present and told:
                rows.append({"protocol": protocol, "agent": agent, "note": told})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    places = [[course.protocol for course in suite.courses], list(agents)]
    order = table.assign(
        protocol=table["protocol"].map(places[0].index), agent=table["agent"].map(places[1].index)
    )
    # Rows of an agent stay as they are: late first, costs ascending, ways as they are learnt.
    return table.loc[order.sort_values(["protocol", "agent"], kind="stable").index].reset_index(drop=True)


def _rows(joint: Joint, run: Run) -> list[dict[str, object]]:
    """The rows of one execution."""
    found = joint.evidence.agents.set_index("agent")
    rows: list[dict[str, object]] = []
    for level in levels_in(run.leaderboard):
        board = at_level(run.leaderboard, level).set_index("agent")
        for label in run.agents:
            base, way = joint.base(label)
            row: dict[str, Any] = {"agent": base, "way": way, "execution": run.execution}
            row |= {"cost": level_name(level), **{name: board.loc[label, name] for name in FIGURES}}
            if (run.execution, level) == (joint.evidence.execution, joint.evidence.level):
                row |= {name: found.loc[label, name] for name in OF_EVIDENCE}
            rows.append(row)
    return rows


def ratios_of(joined: Mapping[str, Joint]) -> dict[str, Ratios]:
    """What the scorecard asks of every agent's Sharpe ratios on the panel."""
    ratios: dict[str, dict[str, Any]] = {}
    if HOLDOUT in joined:
        for execution, run in joined[HOLDOUT].runs.items():
            name = execution.replace("-", "_")
            before = at_level(run.leaderboard, levels_in(run.leaderboard)[0]).set_index("agent")["sharpe"]
            for agent in run.agents:
                ratios.setdefault(agent, {"learns": run.learns(agent)})[name] = float(before[agent])
    if UNSEEN in joined:
        run = joined[UNSEEN].late
        net = run.ranking(run.headline).set_index("agent")["sharpe"]
        for label in run.agents:
            agent, way = joined[UNSEEN].base(label)
            own = ratios.setdefault(agent, {"learns": run.learns(label)})
            if way in ("zero-shot", "trained"):
                own[way.replace("-", "_")] = float(net[label])
    return {agent: Ratios(**own) for agent, own in ratios.items()}


def looked_at(folder: BenchmarkFolder, suite: Suite, before: pd.DataFrame) -> pd.DataFrame:
    """Every agent and seed that was ever looked at: those of before, and those that have finished by now.

    Returns:
        protocol, agent (with its way), seed, source (SHA-256 of the file the agent's class is in), sorted;
        what was looked at again with another source is another trial.
    """
    rows = []
    for course in suite.courses:
        for run in folder.finished(course.protocol).values():
            made = run.record()["agents"]
            series = run.results()[["agent", "seed"]].drop_duplicates()
            rows += [
                (course.protocol, str(label), int(seed), made[str(label)].get("source", ""))
                for label, seed in series.itertuples(index=False)
            ]
    now = pd.DataFrame(rows, columns=list(TRIAL_COLUMNS))
    whole = pd.concat([before, now], ignore_index=True) if len(before) else now
    return whole.drop_duplicates().sort_values(list(TRIAL_COLUMNS), ignore_index=True)


TRIAL_COLUMNS = ("protocol", "agent", "seed", "source")


def no_trials() -> pd.DataFrame:
    """The trials of a benchmark that has just begun."""
    return pd.DataFrame(
        {name: np.zeros(0, dtype=int if name == "seed" else object) for name in TRIAL_COLUMNS}
    )


def failures_in(joined: Mapping[str, Joint]) -> list[Trouble]:
    """Seeds without figures, of agents that have some."""
    return [
        Trouble(
            _base(one["agent"]), protocol, str(one.get("kind", "")), f"seed {one['seed']}: {one['error']}"
        )
        for protocol, joint in joined.items()
        for one in joint.late.about["failed"]
    ]


def _base(label: str) -> str:
    """The agent of a label, whatever its way."""
    return next((label.removesuffix(way) for way in WAYS.values() if way and label.endswith(way)), label)

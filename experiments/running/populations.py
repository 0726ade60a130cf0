"""Trainings of a run or a search that go through one tensor programme, before their units are run.

A population trains, and leaves the state of every training where the unit's own training would have left it.
The unit then finds its training finished, and does what is left: it audits, plays, scores and stores. So a
unit's results do not depend on how it was trained, a killed population goes on where its members were, and a
member that failed is trained again by its unit, alone, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from agents.agent import Agent
from agents.device import on_card, resolve
from agents.population.jobs import Fit
from agents.population.kin import kin_of, leaves
from agents.training import Progress
from experiments.running.fanout import Failure, Task
from qn_env.errors import QnError

# Trainings of one programme where nobody has said how many: small networks fill a card by the hundred.
ON_A_CARD = 256


@dataclass(frozen=True)
class Waiting:
    """A training that waits: what it is called, its agent, and a picklable call that gives it its data."""

    name: str
    agent: Agent
    prepare: Callable[[], Fit]


def most_together(population: int | None, device: str) -> int:
    """Trainings of one programme, at most: as many as said, else one on the CPU."""
    if population is not None:
        return population
    return ON_A_CARD if on_card(device) else 1


def train_in_populations(
    waiting: Sequence[Waiting],
    device: str,
    most: int,
    execute: Callable[[Sequence[Task]], Mapping[str, Failure]],
) -> set[str]:
    """Train what can be trained together.

    Args:
        waiting: trainings in the order in which neighbours share most, such as a window.
        device: where they train, by a name of `agents.device`.
        most: of one programme.
        execute: where programmes run.

    Returns:
        The names of those whose programme ran to its end.
    """
    groups = _groups(waiting, most, least=1 if on_card(device) else 2)
    tasks = [
        Task(name, partial(_train, [w.prepare for w in group], device)) for name, group in groups.items()
    ]
    failed = execute(tasks) if tasks else {}
    return {one.name for name, group in groups.items() if name not in failed for one in group}


def _groups(waiting: Sequence[Waiting], most: int, least: int) -> dict[str, list[Waiting]]:
    """Populations by name, of agents that can share a programme."""
    by_kin: dict[object, list[Waiting]] = {}
    for one in waiting:
        if (kin := kin_of(one.agent)) is not None:
            by_kin.setdefault(kin, []).append(one)
    groups = {}
    for alike in by_kin.values():
        for begin in range(0, len(alike), most):
            group = alike[begin : begin + most]
            if len(group) >= least:
                groups[_name(group)] = group
    return groups


def _name(group: Sequence[Waiting]) -> str:
    """The first member, and how many more there are."""
    more = len(group) - 1
    return group[0].name if not more else f"{group[0].name}+{more}"


def _train(prepare: Sequence[Callable[[], Fit]], device: str, report: Progress) -> None:
    """Train one population.

    Raises:
        QnError: every member failed.
    """
    fits = [leaf for one in prepare for leaf in leaves(one())]
    failed = type(fits[0].agent).fit_together(fits, device=resolve(device), progress=report)
    if failed and all(failed):
        raise QnError(f"every one of {len(failed)} trainings failed; the first said: {failed[0]}")

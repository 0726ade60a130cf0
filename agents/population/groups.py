"""Trainings of several kinds: each kind as a programme of its own, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import torch

from agents.population.jobs import Fit, Job
from agents.population.loop import Programme, train_together
from agents.training import Progress, Training
from qn_env.errors import QnError


class Course(Protocol):
    """A training before its first step, with all that its family needs to know."""

    @property
    def job(self) -> Job:
        """What it is beside its data."""


C = TypeVar("C", bound=Course)


def train_groups(
    courses: Sequence[C],
    kind: Callable[[C], Hashable],
    programme: Callable[[Sequence[C]], Programme],
    *,
    device: torch.device,
    progress: Progress | None = None,
) -> list[Training | QnError]:
    """Train every course beside those of its kind.

    Args:
        courses: trainings; neighbours stay neighbours.
        kind: what those of one programme have in common.
        programme: of courses of one kind.
        device: where they train.
        progress: told (done, total) epochs of all of them.

    Returns:
        How each went, in their order; its network has the best weights.
    """
    groups: dict[Hashable, list[int]] = {}
    for number, course in enumerate(courses):
        groups.setdefault(kind(course), []).append(number)
    total, before = sum(course.job.epochs for course in courses), 0
    done: dict[int, Training | QnError] = {}
    for numbers in groups.values():
        chosen = [courses[number] for number in numbers]
        told = None if progress is None else partial(_tell, progress, before, total)
        ends = train_together(
            [course.job for course in chosen],
            partial(_lay_down, programme, chosen),
            device=device,
            progress=told,
        )
        done |= dict(zip(numbers, ends, strict=True))
        before += sum(course.job.epochs for course in chosen)
    return [done[number] for number in range(len(courses))]


def fit_one(fit: Fit, device: torch.device) -> None:
    """Train an agent as a population of one.

    Raises:
        QnError: what became of it, where it failed.
    """
    (failed,) = type(fit.agent).fit_together([fit], device=device)
    if failed is not None:
        raise failed


def hand_out(
    fits: Sequence[Fit], courses: Sequence[C], trainings: Sequence[Training | QnError]
) -> list[QnError | None]:
    """Let every agent `take` its course and how that went; the error of each that failed instead."""
    failed: list[QnError | None] = []
    for fit, course, training in zip(fits, courses, trainings, strict=True):
        error = training if isinstance(training, QnError) else None
        if error is None:
            fit.agent.take(course, training)
        failed.append(error)
    return failed


def _lay_down(
    programme: Callable[[Sequence[C]], Programme], courses: Sequence[C], numbers: Sequence[int]
) -> Programme:
    return programme([courses[number] for number in numbers])


def _tell(progress: Progress, before: int, total: int, done: int, _total: int) -> None:
    progress(before + done, total)

"""Units over processes of this machine; one whose process dies is run again, alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path

from agents.training import Progress
from experiments.running.executors.attempts import attempt_alone
from experiments.running.fanout import Failure, Task, end_with, fan_out, worker_environment
from experiments.running.scratch import scratch

DEATHS = 3  # a unit whose process died so often is reported
DIED = Failure("ProcessDied", f"its process died {DEATHS} times (killed, or out of memory)", "")


def run_in_processes(tasks: Sequence[Task], jobs: int | None = None) -> dict[str, Failure]:
    """Run all tasks with `fan_out`; the failures by name.

    When a process dies, nobody says which unit it was at: the ones under way are run again in a process of
    their own each, the ones that wait go on as before.

    Args:
        tasks: units; each writes what it finds.
        jobs: processes; default: one per core. With one, the units run in this process.
    """
    failures: dict[str, Failure] = {}
    waiting = list(tasks)
    while waiting:
        with scratch() as marks:
            marked = [replace(task, call=partial(_run_marked, task, marks)) for task in waiting]
            try:
                return failures | fan_out(marked, jobs)
            except BrokenProcessPool:
                waiting = [task for task in waiting if not _mark(marks, task, "ended").exists()]
                suspects = [task for task in waiting if _mark(marks, task, "begun").exists()]
        for task in suspects:
            failure = _alone(task)
            if failure is not None:
                failures[task.name] = failure
        waiting = [task for task in waiting if task not in suspects]
    return failures


def _run_marked(task: Task, marks: Path, report: Progress) -> None:
    """Run a task and leave marks of its begin and of its good end."""
    _mark(marks, task, "begun").touch()
    task.call(report)
    _mark(marks, task, "ended").touch()


def _mark(marks: Path, task: Task, what: str) -> Path:
    return marks / f"{task.name}.{what}"


def _alone(task: Task) -> Failure | None:
    """Run a task that has seen one death in a process of its own, until the deaths are enough."""
    from joblib.externals.loky import ProcessPoolExecutor

    for _ in range(DEATHS - 1):
        pool = ProcessPoolExecutor(max_workers=1, initializer=end_with, initargs=(os.getpid(),))
        with pool, worker_environment():
            try:
                failure: Failure | None = pool.submit(attempt_alone, task).result()
            except BrokenProcessPool:
                continue
            return failure
    return DIED

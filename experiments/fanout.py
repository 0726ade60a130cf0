"""Units of work over processes, one Torch thread each; a failing one is reported and the others finish."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.progress import ProgressBoard, reported


@dataclass(frozen=True)
class Task:
    """A unit of work: what it is called, and a picklable call that stores its own result."""

    name: str
    call: Callable[[], None]


@dataclass(frozen=True)
class Failure:
    """Why a unit failed: the error in one line, and its traceback."""

    error: str
    trace: str


def fan_out(tasks: Sequence[Task], jobs: int | None = None) -> dict[str, Failure]:
    """Run all tasks, long ones first in their order, and return the failures by name.

    Args:
        tasks: units; each writes what it finds.
        jobs: processes; default: one per core.
    """
    from joblib import Parallel, cpu_count, delayed
    from joblib.externals.loky import get_reusable_executor

    if not tasks:
        return {}
    processes = min(jobs if jobs is not None else cpu_count(), len(tasks))
    failures: dict[str, Failure] = {}
    with ProgressBoard([task.name for task in tasks]) as board:
        calls = (delayed(_guarded)(task, board.folder) for task in tasks)
        for name, failure in Parallel(n_jobs=processes, return_as="generator_unordered")(calls):
            board.finished(name, None if failure is None else failure.error)
            if failure is not None:
                failures[name] = failure
    if processes > 1:
        # Workers kept for the next run would keep this one's working directory and imported agents.
        get_reusable_executor().shutdown(wait=True)
    return failures


def _guarded(task: Task, board: Path) -> tuple[str, Failure | None]:
    """Run a task on one thread; any error becomes its report."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with reported(board, task.name):
            task.call()
    except Exception as error:  # noqa: BLE001 - a user's agent may raise anything; the other units go on
        return task.name, Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
    finally:
        torch.set_num_threads(threads)
    return task.name, None

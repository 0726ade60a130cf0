"""Units of work over processes, one Torch thread each; a failing one is reported and the others finish."""

from __future__ import annotations

import os
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agents.training import Progress
from experiments.running.progress import ProgressBoard, report_to_file
from experiments.running.scratch import scratch

QUIET = "ignore:resource_tracker:UserWarning"
PARENT_SECONDS = 0.2  # how often a worker looks whether its parent is still there


@dataclass(frozen=True)
class Task:
    """A unit of work: what it is called, and a picklable call that stores its own result.

    The call is given what it may tell how far it is.
    """

    name: str
    call: Callable[[Progress], None]


@dataclass(frozen=True)
class Failure:
    """Why a unit failed: the name of the error's class, the error in one line, and its traceback."""

    kind: str
    error: str
    trace: str


def fan_out(tasks: Sequence[Task], jobs: int | None = None) -> dict[str, Failure]:
    """Run all tasks, long ones first in their order, and return the failures by name.

    Worker processes end with this one, also where it is killed and cannot tell them.

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
    with (
        scratch() as memory,
        ProgressBoard([task.name for task in tasks]) as board,
        warnings.catch_warnings(),
        worker_environment(),
    ):
        # A worker that has grown is replaced by a new one, which loses nothing.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs", category=UserWarning)
        calls = (delayed(_run_reported)(task, board.folder) for task in tasks)
        parallel = Parallel(
            n_jobs=processes,
            return_as="generator_unordered",
            initializer=end_with,
            initargs=(os.getpid(),),
            temp_folder=str(memory),
        )
        for name, failure in parallel(calls):
            board.finished(name, None if failure is None else failure.error)
            if failure is not None:
                failures[name] = failure
        if processes > 1:
            # Workers kept for the next run would keep this one's working directory and imported agents.
            get_reusable_executor().shutdown(wait=True)
    return failures


@contextmanager
def worker_environment() -> Iterator[None]:
    """Python processes that are started inside the block do not look for modules in the working directory.

    What this process finds there (an agent that the user named), they find too: their path is this one's. And
    the one that cleans up after the others, when a run is ended, does so without a word.
    """
    wanted = {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": QUIET}
    before = {name: os.environ.get(name) for name in wanted}
    if before["PYTHONWARNINGS"]:
        wanted["PYTHONWARNINGS"] = f"{before['PYTHONWARNINGS']},{QUIET}"
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def attempt(task: Task, report: Progress) -> Failure | None:
    """Run a task on one Torch thread; None, or why it failed."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        task.call(report)
    except Exception as error:  # noqa: BLE001 - a user's agent may raise anything; the other units go on
        kind = type(error).__name__
        return Failure(kind, f"{kind}: {error}", traceback.format_exc())
    finally:
        torch.set_num_threads(threads)
    return None


def _run_reported(task: Task, board: Path) -> tuple[str, Failure | None]:
    """Run a task and show how far it is."""
    with report_to_file(board, task.name) as report:
        return task.name, attempt(task, report)


def end_with(parent: int) -> None:
    """End this worker soon after the process that started it; called once, before any task.

    A thread that looks works on every POSIX system. Linux could send a signal instead (PR_SET_PDEATHSIG), but
    does so when the thread that started the worker ends, which may be long before the process does.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()

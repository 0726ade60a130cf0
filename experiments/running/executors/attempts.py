"""One unit in a worker at a time."""

from __future__ import annotations

import threading

from experiments.running.fanout import Failure, Task, attempt

# A worker may have several threads, but trainings seed generators of the whole process.
_ALONE = threading.Lock()


def attempt_alone(task: Task) -> Failure | None:
    """`attempt`, while no other unit runs in this process."""
    with _ALONE:
        return attempt(task, _ignore_progress)


def _ignore_progress(done: int, total: int) -> None:
    """Nobody asks how far a unit is that runs elsewhere."""

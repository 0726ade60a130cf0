"""One unit in a worker: one at a time, on one thread; an error becomes a report."""

from __future__ import annotations

import threading
import traceback

from experiments.fanout import Failure, Task

# A worker may have several threads, but trainings seed generators of the whole process.
_ALONE = threading.Lock()


def attempted(task: Task) -> Failure | None:
    """Run a task on one Torch thread; None, or why it failed."""
    import torch

    with _ALONE:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            task.call()
        except Exception as error:  # noqa: BLE001 - a user's agent may raise anything; the other units go on
            kind = type(error).__name__
            return Failure(kind, f"{kind}: {error}", traceback.format_exc())
        finally:
            torch.set_num_threads(threads)
    return None

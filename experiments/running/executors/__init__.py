"""Where units of work run: processes of this machine, or a Dask or Ray cluster, behind one call.

Every executor takes the same tasks and returns the same failures; a task stores its own result, so the folder
it writes to has to be one that all machines see. A unit whose process dies (killed, out of memory) is run
again, and reported after a few deaths (`DEATHS`; a Dask scheduler has its own `allowed-failures`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from experiments.running.executors.clusters import run_on_dask, run_on_ray
from experiments.running.executors.local import DEATHS, run_in_processes
from experiments.running.executors.sharing import SharedFold, share_folds
from experiments.running.fanout import Failure, Task
from qn_env.errors import ConfigError, did_you_mean

__all__ = ["DEATHS", "EXECUTORS", "Execute", "SharedFold", "executor", "run_in_processes", "share_folds"]

# Runs all tasks and returns the failures by name.
Execute = Callable[[Sequence[Task]], dict[str, Failure]]
EXECUTORS = ("processes", "dask", "ray")


def executor(name: str = "processes", *, address: str | None = None, jobs: int | None = None) -> Execute:
    """The executor of that name.

    Args:
        name: one of `EXECUTORS`.
        address: of a running Dask scheduler or Ray cluster; None: one is started on this machine.
        jobs: processes on this machine; default: one per core. A cluster at an address has its own number.

    Raises:
        ConfigError: an unknown name, an address for processes, or jobs for a cluster that runs elsewhere.
    """
    if name not in EXECUTORS:
        raise ConfigError(f"unknown executor {name!r}. {did_you_mean(name, EXECUTORS)}")
    if name == "processes":
        if address is not None:
            raise ConfigError(f"address is {address!r}, but processes are on this machine; name an executor.")
        return partial(run_in_processes, jobs=jobs)
    if address is not None and jobs is not None:
        raise ConfigError(f"jobs is {jobs}, but the cluster at {address!r} has its own number of workers.")
    run = run_on_dask if name == "dask" else run_on_ray
    return partial(run, address=address, jobs=jobs)

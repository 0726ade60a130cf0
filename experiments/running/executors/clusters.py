"""Units on a Dask or a Ray cluster; both run a unit again whose worker died."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from experiments.running.executors.attempts import attempt_alone
from experiments.running.executors.local import DEATHS
from experiments.running.fanout import Failure, Task, worker_environment
from experiments.running.progress import ProgressBoard
from qn_env.extras import require

Ended = Iterator[tuple[str, Failure | None]]


def run_on_dask(
    tasks: Sequence[Task], address: str | None = None, jobs: int | None = None
) -> dict[str, Failure]:
    """Run all tasks on a Dask cluster (package `distributed`); the failures by name.

    Args:
        tasks: units, submitted in their order.
        address: of the scheduler, `tcp://HOST:8786`; None: a cluster of processes on this machine.
        jobs: its processes; default: one per core.
    """
    distributed = require("distributed", what="The executor 'dask'", extra="dask")
    if address is not None:
        with distributed.Client(address) as client:
            return _follow(tasks, _ended_on_dask(tasks, client, distributed))
    workers = jobs if jobs is not None else os.cpu_count()
    with (
        worker_environment(),
        distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as local,
        distributed.Client(local) as client,
    ):
        return _follow(tasks, _ended_on_dask(tasks, client, distributed))


def run_on_ray(
    tasks: Sequence[Task], address: str | None = None, jobs: int | None = None
) -> dict[str, Failure]:
    """Run all tasks on a Ray cluster; the failures by name.

    Args:
        tasks: units, submitted in their order; each takes one core.
        address: of the cluster, `HOST:6379` or `auto`; None: one on this machine.
        jobs: its cores; default: all.
    """
    ray = require("ray", what="The executor 'ray'", extra="ray")
    if address is not None:
        ray.init(address=address, log_to_driver=False)
    else:
        with worker_environment():
            ray.init(address="local", num_cpus=jobs, include_dashboard=False, log_to_driver=False)
    try:
        return _follow(tasks, _ended_on_ray(tasks, ray))
    finally:
        ray.shutdown()


def _follow(tasks: Sequence[Task], ended: Ended) -> dict[str, Failure]:
    """Show the units as they end; the failures by name."""
    failures = {}
    with ProgressBoard([task.name for task in tasks]) as board:
        for name, failure in ended:
            board.finished(name, None if failure is None else failure.error)
            if failure is not None:
                failures[name] = failure
    return failures


def _ended_on_dask(tasks: Sequence[Task], client: Any, distributed: Any) -> Ended:
    futures = {client.submit(attempt_alone, task, pure=False): task.name for task in tasks}
    for future in distributed.as_completed(futures):
        error = future.exception()
        yield futures[future], future.result() if error is None else _lost(error)


def _ended_on_ray(tasks: Sequence[Task], ray: Any) -> Ended:
    run = ray.remote(num_cpus=1, max_retries=DEATHS - 1)(attempt_alone)
    running = {run.remote(task): task.name for task in tasks}
    while running:
        (done,), _ = ray.wait(list(running), num_returns=1)
        name = running.pop(done)
        try:
            yield name, ray.get(done)
        except ray.exceptions.RayError as error:
            yield name, _lost(error)


def _lost(error: BaseException) -> Failure:
    """The report of a unit that was given up."""
    kind = type(error).__name__
    return Failure(kind, f"its worker died again and again ({kind}: {error})", "")

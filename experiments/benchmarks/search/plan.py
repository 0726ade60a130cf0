"""A plan on paper for a search on many machines, from the unit times that a finished one recorded.

python -m experiments.benchmarks.search.plan TRIALS_DIR --units 10000 --machines 100 --cores 2 [--kill-rate R]

Units are drawn from the recorded trials, with replacement. Every machine first fetches the shared windows
from one store, all at once; the scheduler hands units out one after the other; a core takes the next unit
when it is free. A killed unit begins anew, which is the worst case: a training goes on from its last epoch
where the folder is still there. Left out: slower machines, a scheduler or a store that fails.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qn_env.arrays import FloatArray
from qn_env.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What units run on.

    Attributes:
        machines: how many.
        cores: of each.
        window_bytes: what a machine fetches once.
        task_bytes: what a unit is sent with and stores: its task and its result.
        state_bytes: of a training's state, which is stored after every epoch.
        store_bytes_a_second: the store's link, shared by all machines.
        units_a_second: what the scheduler hands out.
        kill_rate: kills per core and hour.
    """

    machines: int
    cores: int
    window_bytes: float = 40e6
    task_bytes: float = 3e3
    state_bytes: float = 5e5
    store_bytes_a_second: float = 1e9
    units_a_second: float = 200.0
    kill_rate: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a search would go.

    Attributes:
        makespan: seconds from its begin to its last unit's end.
        efficiency: seconds of the units over all seconds of all cores.
        tail: share of the makespan after the first core had nothing left to do.
        kills: units that were killed and begun anew.
        moved: bytes through the store's link.
        writes: files written a second, results and states.
    """

    makespan: float
    efficiency: float
    tail: float
    kills: int
    moved: float
    writes: float

    def __str__(self) -> str:
        rate = self.moved / self.makespan
        return (
            f"{self.makespan / 3600:.2f} h, efficiency {self.efficiency:.1%}, tail {self.tail:.1%}, "
            f"{self.kills} kills, {self.moved / 1e9:.1f} GB moved ({rate / 1e6:.0f} MB/s), "
            f"{self.writes:.0f} files/s"
        )


def simulate(seconds: FloatArray, epochs: FloatArray, cluster: Cluster, *, seed: int) -> Plan:
    """Run units [U] on a cluster, in their order.

    Args:
        seconds: [U] what each takes on one core.
        epochs: [U] states each stores.
        cluster: what they run on.
        seed: of the kills.
    """
    rng = np.random.default_rng(seed)
    arrived = cluster.machines * cluster.window_bytes / cluster.store_bytes_a_second
    free = [arrived] * (cluster.machines * cluster.cores)
    handed, kills = 0.0, 0
    for unit in seconds:
        begin = max(heapq.heappop(free), handed)
        handed = max(handed, begin) + 1.0 / cluster.units_a_second
        lost, died = _lost(float(unit), cluster.kill_rate / 3600.0, rng)
        kills += died
        heapq.heappush(free, begin + lost + float(unit))
    makespan = max(free)
    files = len(seconds) + float(epochs.sum())
    sent = len(seconds) * cluster.task_bytes + float(epochs.sum()) * cluster.state_bytes
    return Plan(
        makespan=makespan,
        efficiency=float(seconds.sum()) / (len(free) * makespan),
        tail=1.0 - min(free) / makespan,
        kills=kills,
        moved=cluster.machines * cluster.window_bytes + sent,
        writes=files / makespan,
    )


def read_recorded(folder: Path) -> tuple[FloatArray, FloatArray]:
    """Seconds and epochs [U] of the trials of a search that did not fail.

    Raises:
        DataError: no such trial in the folder.
    """
    trials = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    timed = [(trial["seconds"], trial["epochs"]) for trial in trials if "seconds" in trial]
    if not timed:
        raise DataError(f"{folder}: holds no finished trial, expected JSON files of a search (DIR/trials).")
    seconds, epochs = np.array(timed, dtype=np.float64).T
    return seconds, epochs


def _lost(seconds: float, rate: float, rng: np.random.Generator) -> tuple[float, int]:
    """Seconds that kills, at `rate` a second, cost a unit of so many, and their number."""
    lost, kills = 0.0, 0
    while rate > 0.0 and (lived := float(rng.exponential(1.0 / rate))) < seconds:
        lost, kills = lost + lived, kills + 1
    return lost, kills


def main(argv: Sequence[str] | None = None) -> dict[str, Plan]:
    """Print the plan with units as they come and with the long ones first; both are returned."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.search.plan", description=__doc__)
    parser.add_argument("trials", type=Path, help="folder of recorded trials")
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--machines", type=int, default=100)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--kill-rate", type=float, default=0.0, help="kills per core and hour")
    parser.add_argument("--window-bytes", type=float, default=Cluster.window_bytes)
    parser.add_argument("--units-a-second", type=float, default=Cluster.units_a_second)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    seconds, epochs = read_recorded(given.trials)
    drawn = np.random.default_rng(given.seed).integers(len(seconds), size=given.units)
    cluster = Cluster(
        machines=given.machines,
        cores=given.cores,
        window_bytes=given.window_bytes,
        units_a_second=given.units_a_second,
        kill_rate=given.kill_rate,
    )
    longest_first = drawn[np.argsort(-seconds[drawn], kind="stable")]
    plans = {
        name: simulate(seconds[order], epochs[order], cluster, seed=given.seed)
        for name, order in (("as they come", drawn), ("long ones first", longest_first))
    }
    work = seconds[drawn]
    print(
        f"{len(seconds)} recorded trials: {seconds.mean():.0f} s on average, {seconds.max():.0f} s at most. "
        f"{given.units} units are {work.sum() / 3600:.1f} core hours; no plan ends before "
        f"{max(work.sum() / (given.machines * given.cores), work.max()) / 3600:.2f} h."
    )
    for name, plan in plans.items():
        print(f"{name}: {plan}")
    return plans


if __name__ == "__main__":
    main()

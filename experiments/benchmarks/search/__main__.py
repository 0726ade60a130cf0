"""The command: measure every row, print the table, write what was found."""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from experiments.benchmarks.measure import Row, compare, publish
from experiments.running.executors import share_folds
from experiments.running.protocols import Fold, holdout
from experiments.running.search import Search, search
from experiments.running.units import Variant
from qn_env.sources.synthetic import ar1_trend


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run of the benchmark.

    Attributes:
        rounds: repetitions of each comparison.
        markets: of the panel, four assets each.
        days: of the panel.
        searched: trials of the search, about half of the paper's 50.
        epochs: of a trial.
    """

    rounds: int = 3
    markets: int = 14
    days: int = 6500
    searched: int = 24
    epochs: int = 20

    @classmethod
    def quick(cls) -> Config:
        """Every row in seconds: to see that it runs, not how fast."""
        return cls(rounds=1, markets=1, days=1600, searched=2, epochs=1)


def rows(config: Config) -> Iterator[Row]:
    """Measure, row after row."""
    fold = holdout(ar1_trend(markets=config.markets, assets=4, days=config.days, seed=0))
    yield throughput_row(fold, config)
    yield task_row(fold)


def throughput_row(fold: Fold, config: Config) -> Row:
    """Trials per elapsed second of a DMN search on two processes, their start included, against one."""

    def trials_a_second(jobs: int, trials: int = config.searched) -> float:
        one = Search(
            label="dmn-lstm-sharpe",
            variant=Variant("dmn-lstm-sharpe"),
            trials=range(trials),
            seed=0,
            fixed={"epochs": config.epochs, "patience": config.epochs, "hidden": 20, "batch": 256},
        )
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            search([one], [fold], Path(folder), jobs=jobs)
            return trials / (time.perf_counter() - begin)

    sides = {"two": 2, "one": 1}
    for jobs in sides.values():
        trials_a_second(jobs, trials=2)  # untimed: files and features that the first one reads
    rounds = range(-(-config.rounds // 3))
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in rounds:
        for name, jobs in sides.items():
            rates[name].append(trials_a_second(jobs))
    return compare(
        "DMN search on two processes / one, elapsed time", "trials/s", rates, "two", "one", low=1.7
    )


def task_row(fold: Fold) -> Row:
    """Bytes of its window that a task carries: a handle, against the window itself."""
    whole = len(pickle.dumps(fold))
    with tempfile.TemporaryDirectory() as folder, share_folds([fold], Path(folder) / "shared") as (handle,):
        carried = len(pickle.dumps(handle))
    return Row(
        what="a task's share of the data, handle / window",
        unit="bytes",
        ours=carried,
        baseline=whole,
        ratio=carried / whole,
        high=0.01,
    )


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Run the benchmark; the rows are returned, printed and, if asked for, written."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.search", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: no figure to quote")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)
    config = Config.quick() if given.quick else Config()
    return publish(rows(config), prog=parser.prog, argv=argv, config=asdict(config), out=given.out)


if __name__ == "__main__":
    main()

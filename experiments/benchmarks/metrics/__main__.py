"""The command: measure every row, print the table, write what was found."""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from experiments.benchmarks.measure import Row, compare, cpu_seconds, in_turn, publish
from experiments.results.books import Book
from experiments.results.metrics import all_metrics, performance
from qn_env.arrays import FloatArray
from qn_env.errors import ConfigError

SECONDS = 3.0  # for every metric of all columns, on one core
INSTALL = "python -m venv peer && peer/bin/pip install empyrical-reloaded"
NOT_MEASURED = f"baseline not measured: {INSTALL}, then --empyrical peer/bin/python"


def returns(days: int, columns: int) -> FloatArray:
    """Daily returns [T, K] with fat tails."""
    return 0.01 * np.random.default_rng(0).standard_t(5, (days, columns))


def all_row(*, days: int, columns: int, rounds: int) -> Row:
    """CPU seconds of `all_metrics`, against the limit."""
    gross = returns(days, columns)
    turnover, counted = np.abs(gross), np.ones(gross.shape, dtype=bool)
    counted[: days // 10, ::7] = False  # late listings
    work = partial(all_metrics, Book(gross, turnover), counted, 2.0)
    figures = in_turn({"ours": lambda: cpu_seconds(work)}, rounds)["ours"]
    what = f"every metric of {columns:,} series of {days:,} days / limit"
    ours = median(figures)
    return Row(what=what, unit="s", ours=ours, baseline=SECONDS, ratio=ours / SECONDS, high=1.0)


def shared_row(*, days: int, columns: int, rounds: int, python: Path | None) -> Row:
    """Series per CPU second on the metrics of return, risk and drawdown, against the peer's.

    Both sides find the days of a series side by side in memory.
    """
    net = np.asfortranarray(returns(days, columns))
    what = f"return, risk and drawdown of series of {days:,} days"

    def ours() -> float:
        return columns / cpu_seconds(lambda: performance(net))

    if python is None:
        rate = median(in_turn({"ours": ours}, rounds)["ours"])
        return Row(what=what, unit="series/s", ours=rate, low=3.0, note=NOT_MEASURED)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "returns.npy"
        np.save(file, net)
        answer = ask(python, file)
        for name, figures in answer["figures"].items():
            np.testing.assert_allclose(performance(net)[name], figures, rtol=1e-9, err_msg=name)
        rates = in_turn({"ours": ours, "peer": lambda: float(ask(python, file)["rate"])}, rounds)
    note = f"empyrical-reloaded {answer['version']}, equal figures"
    return compare(f"{what} / empyrical-reloaded", "series/s", rates, "ours", "peer", low=3.0, note=note)


def ask(python: Path, file: Path) -> dict[str, Any]:
    """One measurement of the peer.

    Raises:
        ConfigError: the interpreter cannot run it.
    """
    script = Path(__file__).with_name("peer.py")
    done = subprocess.run([python, script, file], capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.splitlines() or ["no error said"])[-1]
        raise ConfigError(
            f"--empyrical: {python} ended with code {done.returncode} ({said}); expected an interpreter with "
            f"the peer installed: {INSTALL}."
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Run the benchmark; the rows are returned, printed and, if asked for, written."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.metrics", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: no figure to quote")
    parser.add_argument("--empyrical", type=Path, help="an interpreter that has empyrical-reloaded installed")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    given = parser.parse_args(argv)
    days, columns, rounds = (500, 40, 1) if given.quick else (4000, 5000, 5)
    rows = (
        measure()
        for measure in (
            partial(all_row, days=days, columns=columns, rounds=rounds),
            partial(shared_row, days=days, columns=columns // 10, rounds=rounds, python=given.empyrical),
        )
    )
    config = {"days": days, "columns": columns, "rounds": rounds}
    return publish(rows, prog=parser.prog, argv=argv, config=config, out=given.out)


if __name__ == "__main__":
    main()

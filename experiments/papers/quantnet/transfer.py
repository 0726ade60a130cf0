"""Figure 5b where it is true by construction: the `transfer` probe over seeds and sample sizes.

Many small markets share one predictive law, so whatever is shared helps, and the more the shorter the
histories are. Each model is held against the No Transfer model of its own kind, seed by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypedDict

import pandas as pd

from agents.training import Progress
from experiments.papers.quantnet.config import QuantNetTransfer
from experiments.papers.quantnet.published import LABELS
from experiments.probes import transfer
from experiments.running.executors import run_in_processes
from experiments.running.fanout import Task
from experiments.running.units import place
from experiments.storage.csvfile import write_csv
from qn_env.errors import QnError
from qn_env.storage import check_content, make_folder, read_sealed, write_atomically, write_sealed

# Each model with transfer, and the one without that has the same kind of encoder.
TWINS: Mapping[str, str] = {
    "quantnet": "no-transfer-lstm",
    "quantnet-lstm-lstm": "no-transfer-lstm",
    "quantnet-linear-lstm": "no-transfer-linear",
    "quantnet-linear-linear": "no-transfer-linear",
    "quantnet-shared": "no-transfer-lstm",
}


def study(config: QuantNetTransfer) -> pd.DataFrame:
    """Run what has not run yet, and write `transfer.csv`, `transfer-pairs.csv` and `transfer.txt`.

    Returns:
        agent, days, seed, known, zero, new: shares of the optimum.

    Raises:
        QnError: a unit failed.
    """
    units = [
        (agent, days, seed)
        for agent in sorted(config.agents, key=place)
        for days in sorted(config.days, reverse=True)
        for seed in range(config.seed, config.seed + config.seeds)
    ]
    folder = make_folder(config.out / "transfer")
    waiting = [unit for unit in units if not _path(folder, *unit).exists()]
    tasks = [
        Task(_path(folder, *unit).stem, partial(_unit, *unit, folder, config.device)) for unit in waiting
    ]
    failures = run_in_processes(tasks, config.jobs)
    if failures:
        name, failure = next(iter(failures.items()))
        raise QnError(f"{len(failures)} units failed; {name} said: {failure.error}")
    rows = [_read(_path(folder, *unit)) for unit in units]
    table = pd.DataFrame(rows).sort_values(["agent", "days", "seed"], ignore_index=True)
    compared = pairs(table)
    write_csv(config.out / "transfer.csv", table)
    write_csv(config.out / "transfer-pairs.csv", compared)
    write_atomically(config.out / "transfer.txt", text(table, compared).encode())
    return table


def pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Each model minus its twin on the same seeds: mean, 95% interval and p-value of a paired t-test.

    Returns:
        agent, twin, days, seeds, difference, low, high, p.
    """
    from scipy.stats import ttest_rel

    known = table.pivot(index="seed", columns=["agent", "days"], values="known")
    rows = []
    for agent, twin in TWINS.items():
        for days in sorted(table["days"].unique()):
            if (agent, days) not in known or (twin, days) not in known or len(known) < 2:
                continue
            ours, theirs = known[agent, days].to_numpy(), known[twin, days].to_numpy()
            result = ttest_rel(ours, theirs)
            low, high = result.confidence_interval()
            difference = float((ours - theirs).mean())
            rows.append((agent, twin, days, len(ours), difference, low, high, result.pvalue))
    columns = ["agent", "twin", "days", "seeds", "difference", "low", "high", "p"]
    return pd.DataFrame(rows, columns=columns)


def text(table: pd.DataFrame, compared: pd.DataFrame) -> str:
    """Both tables for a terminal."""
    days = sorted(table["days"].unique())
    seeds = table["seed"].nunique()
    lines = [
        f"Share of the best possible Sharpe ratio, mean (standard deviation) of {seeds} seeds, before costs",
        _line("", [f"{d} days" for d in days]),
    ]
    for agent in [a for a in LABELS if a in set(table["agent"])]:
        mine = table[table["agent"] == agent]
        for column, suffix in (("known", ""), ("zero", ", embeddings zero"), ("new", ", unseen market")):
            if column in mine and mine[column].notna().any():
                cells = [_mean(mine.loc[mine["days"] == d, column]) for d in days]
                lines.append(_line(LABELS[agent] + suffix, cells))
    lines += ["", "Difference to No Transfer, paired by seed, with its 95% interval"]
    lines.append(_line("", [f"{d} days" for d in days]))
    for (agent, twin), mine in compared.groupby(["agent", "twin"], sort=False):
        by_days = mine.set_index("days")
        cells = [_interval(by_days.loc[d]) if d in by_days.index else "-" for d in days]
        lines.append(_line(f"{LABELS[str(agent)]} - {LABELS[str(twin)]}", cells))
    return "\n".join(lines) + "\n"


def _unit(agent: str, days: int, seed: int, folder: Path, device: str, report: Progress) -> None:
    found = transfer(agent, days, seed=seed, progress=report, device=device)
    shares = {"agent": agent, "days": days, "seed": seed, **found}
    write_sealed(_path(folder, agent, days, seed), shares)


class _Row(TypedDict):
    """What a unit found; shares of the optimum."""

    agent: str
    days: int
    seed: int
    known: float


def _read(path: Path) -> _Row:
    return check_content(path, read_sealed(path), _Row)


def _path(folder: Path, agent: str, days: int, seed: int) -> Path:
    return folder / f"{agent}-{days}days-seed{seed}.json"


def _mean(values: pd.Series[float]) -> str:
    spread = f" ({values.std():.2f})" if len(values) > 1 else ""
    return f"{values.mean():.2f}{spread}"


def _interval(row: pd.Series[float]) -> str:
    return f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"


def _line(head: str, cells: Sequence[str]) -> str:
    return f"{head:<42}" + "".join(f"{cell:>23}" for cell in cells)

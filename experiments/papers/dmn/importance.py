"""Exhibit 6: what a trained model loses when one of its inputs is set to zero over the whole backtest."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from agents.agent import load_agent
from agents.dmn import FEATURE_NAMES
from agents.training import Progress
from experiments.papers.dmn.unit import Unit as PortfolioUnit
from experiments.running.executors import run_in_processes
from experiments.running.fanout import Task
from experiments.running.protocols import Fold
from experiments.running.units import Unit, Variant, settle_test_days
from experiments.storage.manifest import NAME as MANIFEST
from experiments.storage.manifest import Manifest
from experiments.storage.records import AgentRecord
from experiments.storage.store import RunFolder, as_parquet, columns, read_parquet, unit_name
from qn_env.errors import FileError, QnError
from qn_env.objectives import sharpe
from qn_env.storage import make_folder, write_atomically

WHOLE = "none"  # no input set to zero
FILE = "daily.parquet"
HOLDS = {**columns("day", "date"), **columns("text", "feature"), **columns("number", "net")}


def importance(
    run: RunFolder, folds: Mapping[str, Fold], label: str, folder: Path, *, jobs: int | None
) -> pd.DataFrame | None:
    """Sharpe ratio of the portfolio, before costs, without each input; the mean over seeds.

    Args:
        run: a finished run.
        folds: its windows by name.
        label: of the model.
        folder: where every window's daily portfolio returns are kept, a folder each, so that a killed study
            goes on.
        jobs: processes; default: one per core.

    Returns:
        agent, feature, sharpe, drop; None where the model is not in the run.

    Raises:
        QnError: a window failed.
    """
    about = run.record()["agents"].get(label)
    if about is None:
        return None
    make_folder(folder)
    every = [(seed, window) for seed in about["seeds"] for window in folds]
    places = {unit: folder / unit_name(label, *unit) for unit in every}
    tasks = [
        Task(place.name, partial(_window, run, folds[unit[1]], label, about, unit, place))
        for unit, place in places.items()
        if Manifest.read(place) is None and run.has_unit(unit_name(label, *unit))
    ]
    failures = run_in_processes(tasks, jobs)
    if failures:
        raise QnError(f"feature importance: {next(iter(failures.values())).error}")
    days = [_read(place).assign(seed=unit[0]) for unit, place in places.items() if place.exists()]
    return rank_inputs(pd.concat(days, ignore_index=True)).assign(agent=label)[
        ["agent", "feature", "sharpe", "drop"]
    ]


def rank_inputs(days: pd.DataFrame) -> pd.DataFrame:
    """Sharpe ratio without each input, and how much less that is than with all of them.

    Args:
        days: date, feature, seed, net: daily returns of the portfolio.

    Returns:
        feature, sharpe, drop, the most important first.
    """
    ratios = days.groupby(["feature", "seed"])["net"].agg(lambda net: float(sharpe(net.to_numpy())))
    means = ratios.groupby("feature").mean()
    whole = float(means[WHOLE])
    ranked = pd.DataFrame({"sharpe": means.drop(WHOLE)})
    ranked["drop"] = whole - ranked["sharpe"]
    return ranked.sort_values("drop", ascending=False).reset_index()


def _window(
    run: RunFolder,
    fold: Fold,
    label: str,
    about: AgentRecord,
    unit: tuple[int, str],
    place: Path,
    _report: Progress,
) -> None:
    """Play one window with all inputs, and without each of them."""
    seed, window = unit
    # By the label, a registered name: the folder does not say which class is loaded.
    agent: Any = load_agent(label, run.check_unit(unit_name(label, seed, window)) / "checkpoint")
    played = Unit(
        label,
        Variant(label),
        seed,
        about["vol_target"],
        window,
        execution_lag=run.record()["config"]["execution_lag"],
    )
    seen = {WHOLE: agent} | {name: agent.without_feature(k) for k, name in enumerate(FEATURE_NAMES)}
    parts = [_portfolio(settle_test_days(who, played, fold), window, name) for name, who in seen.items()]
    write_atomically(make_folder(place) / FILE, as_parquet(pd.concat(parts, ignore_index=True)))
    Manifest.of(place).write()


def _read(place: Path) -> pd.DataFrame:
    """The stored days of one window."""
    manifest = Manifest.read(place)
    if manifest is None:
        raise FileError(f"{place / MANIFEST}: not found; remove {place} to have it made again.")
    content = manifest.read_checked(FILE)
    return read_parquet(place / FILE, content, HOLDS, f"Remove {place} to have it made again.")


def _portfolio(days: pd.DataFrame, window: str, feature: str) -> pd.DataFrame:
    """The days of the portfolio of Exhibit 2 in one window."""
    unit = PortfolioUnit.of(days.assign(window=window))
    return pd.DataFrame({"date": unit.dates, "feature": feature, "net": unit.portfolio().gross})

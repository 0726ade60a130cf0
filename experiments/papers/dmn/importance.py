"""Exhibit 6: what a trained model loses when one of its inputs is set to zero over the whole backtest."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from agents.agent import load_agent
from agents.checkpoint import write_atomically
from agents.dmn import FEATURE_NAMES
from experiments.fanout import Task, fan_out
from experiments.papers.dmn import measure
from experiments.protocols import Fold
from experiments.store import RunFolder, unit_name
from experiments.units import Unit, Variant, played_days
from qn_env.errors import QnError
from qn_env.objectives import sharpe

WHOLE = "none"  # no input set to zero


def importance(
    run: RunFolder, folds: Mapping[str, Fold], label: str, folder: Path, *, jobs: int | None
) -> pd.DataFrame | None:
    """Sharpe ratio of the portfolio, before costs, without each input; the mean over seeds.

    Args:
        run: a finished run.
        folds: its windows by name.
        label: of the model.
        folder: where every window's daily portfolio returns are kept, so that a killed study goes on.
        jobs: processes; default: one per core.

    Returns:
        agent, feature, sharpe, drop; None where the model is not in the run.

    Raises:
        QnError: a window failed.
    """
    about = run.record()["agents"].get(label)
    if about is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    every = [(seed, window) for seed in about["seeds"] for window in folds]
    paths = {unit: folder / f"{unit_name(label, *unit)}.parquet" for unit in every}
    tasks = [
        Task(path.stem, partial(_window, run, folds[unit[1]], label, about, unit, path))
        for unit, path in paths.items()
        if not path.exists() and run.has_unit(unit_name(label, *unit))
    ]
    failures = fan_out(tasks, jobs)
    if failures:
        raise QnError(f"feature importance: {next(iter(failures.values())).error}")
    days = pd.concat(
        [pd.read_parquet(path).assign(seed=unit[0]) for unit, path in paths.items() if path.exists()],
        ignore_index=True,
    )
    return ranked(days).assign(agent=label)[["agent", "feature", "sharpe", "drop"]]


def ranked(days: pd.DataFrame) -> pd.DataFrame:
    """Sharpe ratio without each input, and how much less that is than with all of them.

    Args:
        days: date, feature, seed, net: daily returns of the portfolio.

    Returns:
        feature, sharpe, drop, the most important first.
    """
    ratios = days.groupby(["feature", "seed"])["net"].agg(lambda net: float(sharpe(net.to_numpy())))
    means = ratios.groupby("feature").mean()
    whole = float(means[WHOLE])
    found = pd.DataFrame({"sharpe": means.drop(WHOLE)})
    found["drop"] = whole - found["sharpe"]
    return found.sort_values("drop", ascending=False).reset_index()


def _window(
    run: RunFolder, fold: Fold, label: str, about: Mapping[str, Any], unit: tuple[int, str], path: Path
) -> None:
    """Play one window with all inputs, and without each of them."""
    seed, window = unit
    agent: Any = load_agent(about["agent"], run.unit(unit_name(label, seed, window)) / "checkpoint")
    played = Unit(
        label,
        Variant(about["agent"]),
        seed,
        about["vol_target"],
        window,
        execution_lag=run.record()["config"]["execution_lag"],
    )
    seen = {WHOLE: agent} | {name: agent.without_feature(k) for k, name in enumerate(FEATURE_NAMES)}
    parts = [_portfolio(played_days(who, played, fold), window, name) for name, who in seen.items()]
    buffer = BytesIO()
    pd.concat(parts, ignore_index=True).to_parquet(buffer, index=False)
    write_atomically(path, buffer.getvalue())


def _portfolio(days: pd.DataFrame, window: str, feature: str) -> pd.DataFrame:
    """The days of the portfolio of Exhibit 2 in one window."""
    unit = measure.Unit.of(days.assign(window=window))
    net, _ = unit.portfolio()
    return pd.DataFrame({"date": unit.dates, "feature": feature, "net": net})

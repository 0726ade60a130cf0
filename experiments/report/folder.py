"""A finished run as read from its folder, checked at the edge."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from qn_env.errors import ConfigError, DataError, refuse_missing

HEADLINE_COST_BPS = 2.0  # the environment's default; the page opens on the run's cost nearest to it

OTHER_VERSION = "It was written by another version of qn_env, or by hand."
RUN_KEYS = ("config", "panel", "agents", "failed", "versions", "started", "seconds")
PANEL_KEYS = ("fingerprint", "first", "last", "assets", "notes", "markets")
COLUMNS = {
    "leaderboard": (
        *("cost_bps", "rank", "agent", "seeds", "comparable", "undefined", "turnover", "calmar"),
        *("sharpe", "sharpe_low", "sharpe_high", "seed_low", "seed_high"),
        *("ann_return", "ann_volatility", "max_drawdown", "ann_return_10", "max_drawdown_10"),
    ),
    "portfolio": (
        *("date", "agent", "seed", "cost_bps", "gross", "turnover", "gross_late", "turnover_late"),
        *("net", "net_10", "markets"),
    ),
    "results": ("agent", "market", "asset", "seed", "split", "cost_bps", "metric", "value"),
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run; the tables are as the runner wrote them."""

    folder: Path
    about: Mapping[str, Any]  # run.json
    leaderboard: pd.DataFrame  # one row per cost and agent, by rank
    portfolio: pd.DataFrame  # one row per day, agent, seed and cost
    results: pd.DataFrame  # tidy: one row per figure

    @property
    def costs_bps(self) -> list[float]:
        """Cost levels of the run, ascending, in basis points per unit of turnover."""
        return sorted(float(cost) for cost in self.leaderboard["cost_bps"].unique())

    @property
    def headline_bps(self) -> float:
        """The cost level shown first and drawn in the figures."""
        return min(self.costs_bps, key=lambda cost: (abs(cost - HEADLINE_COST_BPS), cost))

    @property
    def agents(self) -> list[str]:
        """Agents with results, in the order of `run.json`."""
        found = set(self.leaderboard["agent"])
        ordered = [name for name in self.about["agents"] if name in found]
        return ordered + sorted(found.difference(ordered))

    def learns(self, agent: str) -> bool:
        """Whether an agent is trained, as `run.json` says."""
        return bool(self.about["agents"].get(agent, {}).get("learns", False))

    @property
    def basis(self) -> str:
        """What the leaderboard describes: `portfolio`, or `markets` where too few days are common to them."""
        board = self.leaderboard
        return str(board["basis"].iloc[0]) if "basis" in board else "portfolio"

    def ranking(self, cost_bps: float) -> pd.DataFrame:
        """The leaderboard at one cost, best first."""
        rows = self.leaderboard[self.leaderboard["cost_bps"] == cost_bps]
        return rows.sort_values(["rank", "agent"], kind="stable")


def read_run(folder: Path) -> Run:
    """Read a run folder; refuse one that is incomplete, naming the file and what it lacks."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such run folder. A run writes one: qn run --help.")
    about = _read_about(folder / "run.json")
    tables = {name: _read_table(folder / f"{name}.parquet", needed) for name, needed in COLUMNS.items()}
    if tables["leaderboard"].empty:
        failed = "; ".join(f"{unit['agent']}: {unit['error']}" for unit in about["failed"])
        raise DataError(
            f"{folder / 'leaderboard.parquet'}: no rows, so there is nothing to report. Failed: {failed}"
        )
    tables["portfolio"]["date"] = pd.to_datetime(tables["portfolio"]["date"])
    return Run(folder=folder, about=about, **tables)


def _read_about(path: Path) -> dict[str, Any]:
    """`run.json`, with every key the report relies on."""
    text = _existing(path).read_text(encoding="utf-8")
    try:
        about: dict[str, Any] = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}). Run the comparison again.") from error
    refuse_missing(path, "keys", RUN_KEYS, sorted(about), OTHER_VERSION)
    refuse_missing(path, "panel keys", PANEL_KEYS, sorted(about["panel"]), OTHER_VERSION)
    return about


def _read_table(path: Path, needed: Iterable[str]) -> pd.DataFrame:
    """One of the run's tables, with every column the report reads."""
    try:
        table = pd.read_parquet(_existing(path))
    except (ValueError, OSError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise DataError(
            f"{path}: not a readable Parquet file ({error}). Run the comparison again."
        ) from error
    refuse_missing(path, "columns", needed, sorted(table.columns), OTHER_VERSION)
    return table


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path}: missing. The run is unfinished or the folder is not a run: qn run --help.")
    return path

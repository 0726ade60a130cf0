"""A finished run as read from its folder, checked at the edge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments.results.books import at_level, levels_in
from experiments.settings.config import MARKET, Execution, Level, other_execution
from experiments.storage.records import RunRecord
from experiments.storage.store import TABLES, RunFolder
from qn_env.errors import ConfigError, DataError
from qn_env.year import DAYS_PER_YEAR

HEADLINE_COST_BPS = 2.0  # the environment's default; the page opens on the run's cost nearest to it


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run as one execution shows it; the tables are as the runner wrote them, of it alone."""

    folder: Path
    stored: RunFolder  # the same folder
    about: RunRecord  # run.json
    execution: Execution
    leaderboard: pd.DataFrame  # one row per cost and agent, by rank
    portfolio: pd.DataFrame  # one row per day, agent, seed and cost
    results: pd.DataFrame  # tidy: one row per figure

    @property
    def levels(self) -> list[Level]:
        """Cost levels of the run: basis points per unit of turnover, ascending, then each asset's own."""
        return levels_in(self.leaderboard)

    @property
    def headline(self) -> Level:
        """The cost level shown first and drawn in the figures: what each asset costs, where it is known."""
        if MARKET in self.levels:
            return MARKET
        return min(self.levels, key=lambda cost: (abs(float(cost) - HEADLINE_COST_BPS), cost))

    @property
    def bars_per_year(self) -> float:
        """What its figures are annualised by."""
        return annualised_by(self.about)

    @property
    def bars(self) -> str:
        """What its rows are called: days, or bars where a year has another number of them than 252."""
        return "days" if self.bars_per_year == DAYS_PER_YEAR else "bars"

    @property
    def agents(self) -> list[str]:
        """Agents with results, in the order of `run.json`."""
        finished = set(self.leaderboard["agent"])
        ordered = [name for name in self.about["agents"] if name in finished]
        return ordered + sorted(finished.difference(ordered))

    def learns(self, agent: str) -> bool:
        """Whether an agent is trained, as `run.json` says."""
        agents = self.about["agents"]
        return agent in agents and agents[agent]["learns"]

    @property
    def basis(self) -> str:
        """What the leaderboard describes: `portfolio`, or `markets` where too few days are common to them."""
        board = self.leaderboard
        return str(board["basis"].iloc[0]) if "basis" in board else "portfolio"

    @property
    def capitals(self) -> tuple[float, ...]:
        """Money behind a weight of 1 in one asset, of which the run is to tell; none: it was not asked."""
        return tuple(float(amount) for amount in self.about["config"].get("capital", []))

    def ranking(self, level: Level) -> pd.DataFrame:
        """The leaderboard at one cost, best first."""
        rows = at_level(self.leaderboard, level)
        return rows.sort_values(["rank", "agent"], kind="stable")


def read_run(folder: Path, execution: Execution | None = None) -> Run:
    """Read a run folder as one execution shows it; default: the one that the run is ranked by.

    Raises:
        ConfigError: no such folder.
        DataError: a file that is missing, or does not hold what a run writes.
    """
    runs = read_runs(folder)
    return next(iter(runs.values())) if execution is None else runs[execution]


def read_runs(folder: Path) -> dict[Execution, Run]:
    """Read a run folder as either execution shows it, the one that it is ranked by first.

    A folder that is incomplete or changed is refused, with the file and what it lacks.

    Raises:
        ConfigError: no such folder.
        DataError: a file that is missing, or does not hold what a run writes.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such run folder. A run writes one: qn run --help.")
    for name in ("run.json", *(f"{table}.parquet" for table in TABLES)):
        if not (folder / name).is_file():
            raise DataError(
                f"{folder / name}: missing. The run is unfinished or the folder is not a run: qn run --help."
            )
    stored = RunFolder(folder)
    about = stored.record()
    board, portfolio, results = stored.leaderboard(), stored.portfolio(), stored.results()
    if board.empty:
        failed = "; ".join(f"{unit['agent']}: {unit['error']}" for unit in about["failed"])
        raise DataError(
            f"{folder / 'leaderboard.parquet'}: no rows, so there is nothing to report. Failed: {failed}"
        )
    return {
        execution: Run(
            folder=folder,
            stored=stored,
            about=about,
            execution=execution,
            leaderboard=_of(execution, board),
            portfolio=_of(execution, portfolio),
            results=_of(execution, results),
        )
        for execution in ranked_first(about)
    }


def annualised_by(about: RunRecord) -> float:
    """Bars a year of a run's panel; one of an earlier version counted 252."""
    return float(about["panel"].get("bars_per_year", DAYS_PER_YEAR))


def ranked_first(about: RunRecord) -> tuple[Execution, Execution]:
    """Both executions, the one that a run is ranked by first."""
    first: Execution = "on-time" if about["config"].get("rank_by") == "on-time" else "late"
    return first, other_execution(first)


def _of(execution: Execution, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one execution."""
    return table[table["execution"] == execution].reset_index(drop=True)

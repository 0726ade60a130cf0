"""The run folder: what a run writes and everything else reads.

plan.json             what is to be run, written first: a killed run goes on only with the same plan
run.json              configuration, data, versions: all that is needed to repeat the run; written last
results.parquet       the tidy table: one metric of one series a row
portfolio.parquet     daily returns of each agent's portfolio
leaderboard.parquet   the ranking, with intervals
units/NAME/           one agent with one seed: audit.json (the look-ahead audit it passed), checkpoint/ and
                      daily.parquet (per asset; it marks the unit as done), or error.txt; training/ while
                      it is being trained
report.html           the page; figures/, tables/ and honesty.json: its figures and the statistics
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from agents.agent import Agent
from agents.audit import AgentAudit
from agents.checkpoint import write_atomically
from experiments.tables import DAILY
from qn_env.errors import ConfigError, refuse_missing

DAYS = ("date", "market", "asset", *DAILY, "listed", "counted")  # columns of daily.parquet


def temporary(name: str) -> str:
    """The pattern of what `write_atomically` leaves of a file when it is killed."""
    return f".{name}.*.tmp"


def unit_name(agent: str, seed: int, window: str = "") -> str:
    """A folder name for one agent with one seed in one window of a protocol.

    Examples:
        >>> unit_name("my.module:Agent", 3)
        'my.module--Agent-seed3'
        >>> unit_name("macd", 0, "1995-1999")
        'macd-seed0-1995-1999'
    """
    return f"{agent.replace(':', '--')}-seed{seed}" + (f"-{window}" if window else "")


@dataclass(frozen=True)
class RunFolder:
    """Reads and writes one run folder; every file appears whole or not at all."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> RunFolder:
        """A new folder.

        Raises:
            ConfigError: there is something at that path already.
        """
        try:
            path.mkdir(parents=True)
        except FileExistsError as error:
            raise ConfigError(
                f"{path}: exists already; a run never overwrites another. Choose another --out, or go on "
                "with a run that was cut short by --resume."
            ) from error
        return cls(path.resolve())

    @classmethod
    def resume(cls, path: Path, plan: dict[str, Any]) -> RunFolder:
        """A new folder for this plan, or the one in which it was begun; files half written are removed.

        Raises:
            ConfigError: the folder was begun with another plan, or is no run folder.
        """
        if not path.exists():
            return cls.create(path).planned(plan)
        folder = cls(path.resolve())
        if path.is_dir() and all(found.match(temporary("plan.json")) for found in path.iterdir()):
            return folder._cleared().planned(plan)  # killed before its plan was written
        try:
            begun = json.loads((path / "plan.json").read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: no run was begun there ({error}); choose another --out.") from error
        wanted = json.loads(json.dumps(plan))
        for key in sorted(begun.keys() | wanted.keys()):
            if begun.get(key) != wanted.get(key):
                raise ConfigError(
                    f"{path}: was begun with {key} = {begun.get(key)}, not {wanted.get(key)}. Go on with the "
                    "same settings, or choose another --out."
                )
        return folder._cleared()

    def _cleared(self) -> RunFolder:
        """The same folder, without files that a killed process left half written."""
        for unfinished in self.path.rglob(temporary("*")):
            unfinished.unlink()
        return self

    def planned(self, plan: dict[str, Any]) -> RunFolder:
        """The same folder, with what is to be run written down."""
        write_atomically(self.path / "plan.json", (json.dumps(plan, indent=2) + "\n").encode())
        return self

    @classmethod
    def of_finished(cls, path: Path) -> RunFolder:
        """The folder of a finished run.

        Raises:
            ConfigError: there is no such folder, or no finished run in it.
        """
        if not path.is_dir():
            raise ConfigError(f"{path}: no such run folder. A run writes one: qn run --help.")
        if not (folder := cls(path.resolve())).finished:
            raise ConfigError(
                f"{path}: holds no run.json, expected a finished run. Go on with one that was cut short by "
                "qn run --resume."
            )
        return folder

    @property
    def finished(self) -> bool:
        """Whether the run is complete."""
        return (self.path / "run.json").exists()

    def unit(self, name: str) -> Path:
        """The folder of a unit."""
        return self.path / "units" / name

    def training(self, name: str) -> Path:
        """Where the state of a unit's training lies until it has finished."""
        return self.unit(name) / "training"

    def write_record(self, record: dict[str, Any]) -> None:
        """Write what is needed to repeat the run; the last file of a run."""
        write_atomically(self.path / "run.json", (json.dumps(record, indent=2) + "\n").encode())

    def record(self) -> dict[str, Any]:
        """Configuration, data, versions and failures of the run."""
        found: dict[str, Any] = json.loads((self.path / "run.json").read_text())
        return found

    def write_audit(self, name: str, audit: AgentAudit) -> None:
        """Store how a unit's agent was audited; who has an audit has passed."""
        verdict = {
            "comparisons": [comparison._asdict() for comparison in audit.comparisons],
            "around": audit.around,
            "assets": audit.assets,
            "active": audit.active,
        }
        self._write_into_unit(name, "audit.json", json.dumps(verdict, indent=2) + "\n")

    def write_unit(self, name: str, days: pd.DataFrame, agent: Agent) -> None:
        """Store a finished unit: the agent's checkpoint, then its daily results, which mark it as done."""
        folder = self.unit(name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").unlink(missing_ok=True)
        save: Any = getattr(agent, "save", None)
        if save is not None:
            # A checkpoint that a killed process began; an agent need not be able to save into a folder twice.
            shutil.rmtree(folder / "checkpoint", ignore_errors=True)
            save(folder / "checkpoint")
        _write_table(folder / "daily.parquet", days)

    def write_error(self, name: str, text: str) -> None:
        """Store why a unit failed."""
        self._write_into_unit(name, "error.txt", text)

    def _write_into_unit(self, name: str, file: str, text: str) -> None:
        folder = self.unit(name)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / file, text.encode())

    def has_unit(self, name: str) -> bool:
        """Whether a unit has finished."""
        return (self.unit(name) / "daily.parquet").exists()

    def unit_days(self, name: str) -> pd.DataFrame:
        """A unit's days: date, market, asset, gross, turnover, gross_late, turnover_late, listed, counted.

        Raises:
            DataError: another version of the package wrote them.
        """
        path = self.unit(name) / "daily.parquet"
        days = pd.read_parquet(path)
        refuse_missing(
            path,
            "columns",
            DAYS,
            days,
            "It was written by another version of qn_env: repeat the run into a new folder.",
        )
        return days

    def agent_days(self, agent: str, seed: int) -> pd.DataFrame:
        """The days of all windows of a finished run: those of `unit_days`, and `window`, in time order."""
        return self.joined_days(agent, seed, self.record()["panel"]["windows"])

    def joined_days(self, agent: str, seed: int, windows: Sequence[str]) -> pd.DataFrame:
        """The days of an agent and seed in these windows, one after the other, and `window`."""
        parts = [self.unit_days(unit_name(agent, seed, name)).assign(window=name) for name in windows]
        return pd.concat(parts, ignore_index=True)

    def write_results(self, table: pd.DataFrame) -> None:
        """Write the tidy table."""
        columns = ["run", "agent", "market", "asset", "seed", "split", "cost_bps", "metric", "value"]
        _write_table(self.path / "results.parquet", table[columns])

    def results(self) -> pd.DataFrame:
        """The tidy table."""
        return pd.read_parquet(self.path / "results.parquet")

    def write_portfolio(self, table: pd.DataFrame) -> None:
        """Write the daily portfolio returns."""
        _write_table(self.path / "portfolio.parquet", table)

    def portfolio(self) -> pd.DataFrame:
        """Daily portfolio returns of every agent, seed and cost."""
        return pd.read_parquet(self.path / "portfolio.parquet")

    def write_leaderboard(self, table: pd.DataFrame) -> None:
        """Write the ranking."""
        _write_table(self.path / "leaderboard.parquet", table)

    def leaderboard(self) -> pd.DataFrame:
        """The ranking."""
        return pd.read_parquet(self.path / "leaderboard.parquet")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table for the user, in place of an older one; its folder is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, table.to_csv(index=False).encode())


def _write_table(path: Path, table: pd.DataFrame) -> None:
    buffer = BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    write_atomically(path, buffer.getvalue())

"""The run folder: what a run writes and everything else reads.

plan.json             what is to be run, written first: a killed run goes on only with the same plan
run.json              configuration, data, versions: all that is needed to repeat the run
results.parquet       the tidy table: one metric of one series a row
portfolio.parquet     daily returns of each agent's portfolio
panel_audit.json      what the data do to a figure, found before any agent was trained
asset_costs.parquet   what the data say that trading each asset costs, where they do
leaderboard.parquet   the ranking, with intervals; all three for both executions, late and on time
daily/NAME.parquet    of a run in several windows: one agent with one seed over all of them (per asset); each
                      window takes over the positions that the one before has left
units/NAME/           one agent with one seed: audit.json (the look-ahead audit it passed), checkpoint/,
                      daily.parquet (per asset) and manifest.sha256 (which marks the unit as done), or
                      error.txt;
                      training/ while it is being trained
report.html           the page; figures/, tables/ and honesty.json: its figures and the statistics
manifest.sha256       the checksum of every file, looked at whenever one is read; it marks the run as done
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePath
from typing import Literal

import pandas as pd
from pandas.api import types

from agents.agent import Agent
from agents.audit import AgentAudit
from agents.checkpoint import refuse_other_files
from experiments.storage.manifest import NAME as MANIFEST
from experiments.storage.manifest import Manifest
from experiments.storage.records import AuditRecord, PanelAuditRecord, RunRecord
from qn_env.errors import ConfigError, FileError, QnError, in_a_line, refuse_missing
from qn_env.panel_audit import PanelAudit
from qn_env.storage import (
    REFUSALS,
    check_content,
    digest,
    make_folder,
    parse_json,
    read_bytes,
    read_object,
    reason_of,
    write_atomically,
)

# Of every asset, market and portfolio; late is of the same decisions, each traded one trading day later.
DAILY = ("gross", "turnover", "gross_late", "turnover_late")
WEIGHTS = ("weight", "weight_late")  # of every asset, held over the day
# Where the data say what each asset costs, and how much is traded in it: what a capital of 1 moves prices by.
OWN = ("cost", "cost_late", "impact", "impact_late")
PANEL_AUDIT, ASSET_COSTS = "panel_audit.json", "asset_costs.parquet"
TAKEN = ("audit.json", "daily.parquet")  # of a unit, by a run that is put together of others
FORMAT = 4  # of the run folder: with checksums, both executions in every table, and weights by day
OTHER_VERSION = "It was written by another version of qn_env, or by hand."
Kind = Literal["day", "text", "number", "truth"]


def columns(kind: Kind, *names: str) -> dict[str, Kind]:
    """Columns of one kind."""
    return dict.fromkeys(names, kind)


# The tables of a run: the columns that are read, and what they hold.
DAYS = {
    **columns("day", "date"),
    **columns("text", "market", "asset"),
    **columns("number", *DAILY, *WEIGHTS),
    **columns("truth", "listed", "counted", "traded"),
}
TABLES: Mapping[str, Mapping[str, Kind]] = {
    "leaderboard": {
        **columns("text", "agent", "execution"),
        **columns("truth", "comparable", "first_day"),
        **columns("number", "cost_bps", "rank", "seeds", "undefined", "turnover", "calmar"),
        **columns("number", "sharpe", "sharpe_low", "sharpe_high", "seed_low", "seed_high"),
        **columns(
            "number", "ann_return", "ann_volatility", "max_drawdown", "ann_return_10", "max_drawdown_10"
        ),
    },
    "portfolio": {
        **columns("day", "date"),
        **columns("text", "agent", "execution"),
        **columns("number", "seed", "cost_bps", "gross", "turnover", "cost"),
        **columns("number", "net", "net_10", "markets"),
    },
    "results": {
        **columns("text", "agent", "market", "asset", "split", "execution", "metric"),
        **columns("number", "seed", "cost_bps", "value"),
    },
}
HOLDS = {
    "day": types.is_datetime64_any_dtype,
    "text": types.is_string_dtype,
    "number": lambda column: types.is_any_real_numeric_dtype(column.dtype),
    "truth": types.is_bool_dtype,
}


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
        >>> unit_name("my.module:Agent+band:0.1", 0)
        'my.module--Agent+band--0.1-seed0'
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
            FileError: it cannot be made.
        """
        try:
            path.mkdir(parents=True)
        except REFUSALS as error:
            if isinstance(error, FileExistsError) and path.exists():
                raise ConfigError(
                    f"{path}: exists already; a run never overwrites another. Choose another --out, or go on "
                    "with a run that was cut short by --resume."
                ) from error
            raise FileError(
                f"{path}: the folder cannot be made ({reason_of(error)}). Choose another --out."
            ) from error
        return cls(path.resolve())

    @classmethod
    def resume(cls, path: Path, plan: Mapping[str, object]) -> RunFolder:
        """A new folder for this plan, or the one in which it was begun; files half written are removed.

        Raises:
            ConfigError: the folder was begun with another plan, or is no run folder.
        """
        if not path.exists():
            return cls.create(path).with_plan(plan)
        folder = cls(path.resolve())
        if path.is_dir() and all(entry.match(temporary("plan.json")) for entry in path.iterdir()):
            return folder._clear().with_plan(plan)  # killed before its plan was written
        try:
            begun = read_object(path / "plan.json")
        except FileError as error:
            raise ConfigError(f"{path}: no run was begun there ({error}); choose another --out.") from error
        if begun.pop("format", None) != FORMAT:
            raise ConfigError(
                f"{path}: was begun by another version of qn_env, whose folders have no checksums or "
                "other ones. "
                "Choose another --out."
            )
        wanted = json.loads(json.dumps(plan))
        for key in sorted(begun.keys() | wanted.keys()):
            if begun.get(key) != wanted.get(key):
                raise ConfigError(
                    f"{path}: was begun with {key} = {begun.get(key)}, not {wanted.get(key)}. Go on with the "
                    "same settings, or choose another --out."
                )
        return folder._clear()

    def _clear(self) -> RunFolder:
        """The same folder, without files that a killed process left half written."""
        for unfinished in self.path.rglob(temporary("*")):
            unfinished.unlink()
        if not self.finished:  # killed between its last files
            for name in ("run.json", MANIFEST):
                (self.path / name).unlink(missing_ok=True)
        return self

    def with_plan(self, plan: Mapping[str, object]) -> RunFolder:
        """The same folder, with what is to be run written down."""
        self._write(self.path / "plan.json", _as_json({"format": FORMAT, **plan}))
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
                f"{path}: holds no run.json with a {MANIFEST}, expected a finished run. Go on with one "
                "that was "
                "cut short by qn run --resume."
            )
        return folder

    @property
    def finished(self) -> bool:
        """Whether the run is complete; the manifest is its last file, in earlier versions it was run.json."""
        return (self.path / "run.json").exists() and ((self.path / MANIFEST).exists() or self.unchecked)

    @property
    def unchecked(self) -> bool:
        """Whether an earlier version wrote the run, without checksums.

        Raises:
            FileError: no readable `run.json`.
        """
        return not (self.path / MANIFEST).exists() and "manifest" not in read_object(self.path / "run.json")

    @property
    def note(self) -> str | None:
        """What a reader of a folder without checksums should know."""
        if not self.unchecked:
            return None
        return (
            f"{self.path} has no {MANIFEST}: an earlier version wrote it, and nothing says whether its "
            "files are "
            "what was written."
        )

    @contextmanager
    def consistent_files(self) -> Iterator[None]:
        """Inside the block, files that do not fit together are an error that says so.

        Each may be what one writes, and the whole not what a run writes: it was put together by hand, or by
        another version.

        Raises:
            FileError: what was made of them failed, and where.
        """
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            if isinstance(error, QnError):
                raise
            told = in_a_line(error)
            raise FileError(
                f"{self.path}: its files do not fit together ({told}). {OTHER_VERSION}"
            ) from error

    def unit(self, name: str) -> Path:
        """The folder of a unit.

        Raises:
            FileError: a name that would lie elsewhere.
        """
        if ".." in PurePath(name).parts or PurePath(name).is_absolute():
            raise FileError(f"{self.path}: {name!r} is no name of a unit; it would lie outside the folder.")
        return self.path / "units" / name

    def training(self, name: str) -> Path:
        """Where the state of a unit's training lies until it has finished."""
        return self.unit(name) / "training"

    def write_panel_audit(self, audit: PanelAudit) -> None:
        """Write what the data do to a figure."""
        self._write(self.path / PANEL_AUDIT, _as_json(audit.as_dict()))

    def panel_audit(self) -> PanelAuditRecord | None:
        """What the data do to a figure; None of a run that did not look.

        Raises:
            FileError: not what was written, or not what a run writes.
        """
        path = self.path / PANEL_AUDIT
        if not self._was_written(path):
            return None
        content = parse_json(path, self._content(path))
        return check_content(path, content if isinstance(content, dict) else {}, PanelAuditRecord)

    def write_record(self, record: Mapping[str, object]) -> None:
        """Write what is needed to repeat the run."""
        self._write(self.path / "run.json", _as_json({**record, "manifest": MANIFEST}))

    def record(self) -> RunRecord:
        """Configuration, data, versions and failures of the run.

        Raises:
            FileError: no `run.json`, not what was written, or not what a run writes.
        """
        path = self.path / "run.json"
        content = parse_json(path, self._content(path))
        if not isinstance(content, dict):
            raise FileError(
                f"{path}: holds {type(content).__name__}, expected a JSON object. {OTHER_VERSION}"
            )
        return check_content(path, content, RunRecord)

    def finish(self) -> None:
        """Write the manifest: the checksums of all units as they were stored, and of the files of the run."""
        whole = Manifest.of(self.path, leave_out=("units", "tensorboard"))
        for folder in sorted((self.path / "units").glob("*")):
            place = folder.relative_to(self.path).as_posix()
            manifest = Manifest.read(folder) or Manifest.of(folder, leave_out=("training",))
            files = {f"{place}/{name}": checksum for name, checksum in manifest.files.items()}
            if (folder / MANIFEST).exists():
                files[f"{place}/{MANIFEST}"] = digest(read_bytes(folder / MANIFEST))
            whole = whole.with_files(files)
        whole.write()

    def unreadable_checkpoints(self) -> list[str]:
        """What is said of agents whose checkpoints hold more than tensors and JSON: they are never loaded."""
        reasons = {}
        for place in sorted((self.path / "units").glob("*/checkpoint")):
            try:
                refuse_other_files(place)
            except ConfigError as error:
                reasons[place.parent.name.partition("-seed")[0]] = str(error)
        return list(reasons.values())

    def enter(self, *names: str) -> None:
        """Take files and folders that were written after the run into its manifest, if it has one."""
        manifest = Manifest.read(self.path)
        if manifest is not None:
            manifest.with_files(Manifest.of(self.path, only=names).files).write()

    def write_audit(self, name: str, audit: AgentAudit) -> None:
        """Store how a unit's agent was audited; who has an audit has passed."""
        verdict = {
            "comparisons": [comparison._asdict() for comparison in audit.comparisons],
            "around": audit.around,
            "assets": audit.assets,
            "active": audit.active,
        }
        self._write(self.unit(name) / "audit.json", _as_json(verdict))

    def audit(self, name: str) -> AuditRecord | None:
        """What the look-ahead audit of a unit said; None where there was none.

        Raises:
            FileError: not what was written.
        """
        path = self.unit(name) / "audit.json"
        manifest = Manifest.read(path.parent)
        if not path.is_file() and (manifest is None or path.name not in manifest.files):
            return None
        content = parse_json(path, self._content(path))
        return check_content(path, content if isinstance(content, dict) else {}, AuditRecord)

    def write_unit(self, name: str, days: pd.DataFrame, agent: Agent) -> None:
        """Store a finished unit: the checkpoint, the daily results, and the manifest, which marks it as done.

        Raises:
            FileError: a file cannot be written.
        """
        folder = make_folder(self.unit(name))
        (folder / "error.txt").unlink(missing_ok=True)
        save = getattr(agent, "save", None)
        if save is not None:
            # A checkpoint that a killed process began; an agent need not be able to save into a folder twice.
            shutil.rmtree(folder / "checkpoint", ignore_errors=True)
            save(folder / "checkpoint")
        self._write(folder / "daily.parquet", as_parquet(days))
        Manifest.of(folder, leave_out=("training",)).write()

    def write_error(self, name: str, text: str) -> None:
        """Store why a unit failed."""
        self._write(self.unit(name) / "error.txt", text.encode())

    def has_unit(self, name: str) -> bool:
        """Whether a unit has finished."""
        folder = self.unit(name)
        if (manifest := Manifest.read(folder)) is not None:
            return all((folder / file).exists() for file in manifest.files)
        return (folder / "daily.parquet").exists() and (self.path / "run.json").exists() and self.unchecked

    def check_unit(self, name: str) -> Path:
        """The folder of a finished unit, all files of which are what was written.

        Raises:
            FileError: one is not.
        """
        folder = self.unit(name)
        if (manifest := self._manifest(folder)) is not None:
            for file in manifest.files:
                manifest.read_checked(file)
            unlisted = Manifest.names(folder, leave_out=("training",)) - manifest.files.keys()
            if unlisted:
                raise FileError(
                    f"{folder / min(unlisted)}: not in {folder / MANIFEST}; somebody added it. Remove it."
                )
        return folder

    def checkpoint(self, name: str) -> Path | None:
        """The checkpoint of a finished unit, checked; None where its agent left none.

        Raises:
            FileError: a file of the unit is not what was written.
        """
        place = self.check_unit(name) / "checkpoint"
        return place if place.exists() else None

    def take_unit(self, name: str, other: RunFolder) -> None:
        """Hold what a finished unit of another run has earned and how it was audited, but no checkpoint.

        The files are the same ones, where the disk can have a file in two folders.

        Raises:
            FileError: a file of the unit is not what was written, or cannot be made here.
        """
        source, target = other.check_unit(name), make_folder(self.unit(name))
        for file in TAKEN:
            if (source / file).exists():
                _link_or_copy(source / file, target / file)
        Manifest.of(target).write()

    def take_data_files(self, other: RunFolder) -> None:
        """Hold what another run of the same data says of them.

        Raises:
            FileError: a file is not what was written, or cannot be made here.
        """
        for name in (PANEL_AUDIT, ASSET_COSTS):
            if other._was_written(other.path / name):
                self._write(self.path / name, other._content(other.path / name))

    def unit_days(self, name: str) -> pd.DataFrame:
        """A unit's days, as `settling.settle_block` makes them: at least the columns `DAYS`.

        Raises:
            FileError: not what was written.
            DataError: another version of the package wrote them.
        """
        path = self.unit(name) / "daily.parquet"
        advice = f"{OTHER_VERSION} Repeat the run into a new folder."
        return read_parquet(path, self._content(path), DAYS, advice)

    def write_agent_days(self, agent: str, seed: int, days: pd.DataFrame) -> None:
        """Store the days of an agent and seed over all windows of a run that has several."""
        self._write(self._joined(agent, seed), as_parquet(days))

    def agent_days(self, agent: str, seed: int) -> pd.DataFrame:
        """The days of all windows of an agent and seed: those of `unit_days`, and `window`, in time order.

        In a run of an earlier version every window starts flat.

        Raises:
            FileError: not what was written.
            DataError: another version of the package wrote them.
        """
        path = self._joined(agent, seed)
        if self._was_written(path):
            return read_parquet(path, self._content(path), DAYS | columns("text", "window"), OTHER_VERSION)
        windows = self.record()["panel"]["windows"]
        return pd.concat(self.block_days(agent, seed, windows), ignore_index=True)

    def block_days(self, agent: str, seed: int, windows: Sequence[str]) -> list[pd.DataFrame]:
        """The days of an agent and seed in each of these windows, each starting flat, and `window`."""
        return [self.unit_days(unit_name(agent, seed, name)).assign(window=name) for name in windows]

    def _was_written(self, path: Path) -> bool:
        """Whether a run wrote a file that not every run has: it is there, or is missed by the manifest."""
        manifest = self._manifest(self.path)
        return path.exists() or (
            manifest is not None and path.relative_to(self.path).as_posix() in manifest.files
        )

    def _joined(self, agent: str, seed: int) -> Path:
        return self.path / "daily" / f"{unit_name(agent, seed)}.parquet"

    def write_results(self, table: pd.DataFrame) -> None:
        """Write the tidy table."""
        names = [
            "run",
            "agent",
            "market",
            "asset",
            "seed",
            "split",
            "execution",
            "cost_bps",
            "metric",
            "value",
        ]
        self._write(self.path / "results.parquet", as_parquet(table[names]))

    def results(self) -> pd.DataFrame:
        """The tidy table."""
        return self._table("results")

    def write_portfolio(self, table: pd.DataFrame) -> None:
        """Write the daily portfolio returns."""
        self._write(self.path / "portfolio.parquet", as_parquet(table))

    def portfolio(self) -> pd.DataFrame:
        """Daily portfolio returns of every agent, seed, execution and cost."""
        return self._table("portfolio")

    def write_asset_costs(self, table: pd.DataFrame) -> None:
        """Write what trading each asset costs: market, asset, bps."""
        self._write(self.path / ASSET_COSTS, as_parquet(table))

    def asset_costs(self) -> pd.DataFrame | None:
        """What trading each asset costs; None where the data do not say it.

        Raises:
            FileError: not what was written.
            DataError: other columns than a run writes.
        """
        path = self.path / ASSET_COSTS
        if not self._was_written(path):
            return None
        holds = columns("text", "market", "asset") | columns("number", "bps")
        return read_parquet(path, self._content(path), holds, OTHER_VERSION)

    def write_leaderboard(self, table: pd.DataFrame) -> None:
        """Write the ranking."""
        self._write(self.path / "leaderboard.parquet", as_parquet(table))

    def leaderboard(self) -> pd.DataFrame:
        """The ranking."""
        return self._table("leaderboard")

    def _table(self, name: str) -> pd.DataFrame:
        """One of the run's tables.

        Raises:
            FileError: not there, not what was written, no Parquet, or other columns than a run writes.
        """
        path = self.path / f"{name}.parquet"
        return read_parquet(path, self._content(path), TABLES[name], OTHER_VERSION)

    def _write(self, path: Path, content: bytes) -> None:
        make_folder(path.parent)
        write_atomically(path, content)

    def _content(self, path: Path) -> bytes:
        """A file's content, held against the manifest of its unit or of the run, where there is one."""
        inside = path.relative_to(self.path).parts
        home = self.path.joinpath(*inside[:2]) if inside[0] == "units" else self.path
        manifest = self._manifest(home)
        if manifest is None:
            return read_bytes(path)
        return manifest.read_checked(path.relative_to(home).as_posix())

    def _manifest(self, home: Path) -> Manifest | None:
        """The manifest of the run or of a unit; None while the run goes on, or of an older version.

        Raises:
            FileError: it is not there, and should be.
        """
        manifest = Manifest.read(home)
        if manifest is None and home != self.path and (self.path / MANIFEST).exists():
            raise FileError(
                f"{home / MANIFEST}: not found; the unit did not finish, or the file was removed."
            )
        if manifest is None and home == self.path and (home / "run.json").exists() and not self.unchecked:
            raise FileError(f"{home / MANIFEST}: not found; go on with the run by qn run --resume.")
        return manifest


def read_parquet(path: Path, content: bytes, holds: Mapping[str, Kind], advice: str) -> pd.DataFrame:
    """A table out of the content of a Parquet file.

    Args:
        path: the file.
        content: its content.
        holds: the columns that it must have, and what each holds.
        advice: what to do about one that lacks them.

    Raises:
        FileError: no Parquet file, or a column of another kind.
        DataError: a column is missing.
    """
    try:
        table = pd.read_parquet(BytesIO(content))
    except (ValueError, TypeError, LookupError, OSError, MemoryError) as error:  # pyarrow's are such
        raise FileError(f"{path}: not a readable Parquet file ({error}). {advice}") from error
    refuse_missing(path, "columns", holds, sorted(map(str, table.columns)), advice)
    for name, kind in holds.items():
        column = table[name]
        if len(column) and not HOLDS[kind](column):
            raise FileError(f"{path}: column {name!r} holds {column.dtype}, expected {kind}s. {advice}")
    return table


def as_parquet(table: pd.DataFrame) -> bytes:
    """A table as the content of a Parquet file."""
    buffer = BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def _link_or_copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except REFUSALS:  # another disk, or one that has no links
        write_atomically(target, read_bytes(source))


def _as_json(content: Mapping[str, object]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()

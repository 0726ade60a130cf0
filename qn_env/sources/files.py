"""Panels from a folder of Parquet or CSV files."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as arrow
import pyarrow.csv as arrow_csv
import pyarrow.parquet as arrow_parquet

from qn_env.checks import check_known, check_names, check_path
from qn_env.costs import COST_FIELDS, CostTable
from qn_env.errors import ConfigError, DataError, did_you_mean, few
from qn_env.panel import Panel
from qn_env.sources.bars import is_bars, price_of
from qn_env.sources.cost_tables import costs_in
from qn_env.sources.frames import KINDS, Kind, check_once, from_frame, join
from qn_env.storage import read_bytes

SUFFIXES = (".parquet", ".csv")
DATE_NAMES = ("date", "dates", "datetime", "timestamp")  # of the column of dates, in any case
# How copies of a file are called.
COPIES = (r"(.+) \(\d+\)", r"(.+) - Copy(?: \(\d+\))?", r"(.+) copy(?: \d+)?", r"Copy of (.+)")
DESCRIBE = ("meta", "markets")  # what describes the data
RESERVED = (*DESCRIBE, "volume")  # beside the data, never a market's data
NOTES = "notes.txt"  # what a reader of the panel should know, a line each
# What spreadsheets and statistics programs write for a number that is missing; among names they are names.
MISSING = tuple(arrow_csv.ConvertOptions().null_values)


def read_panel(
    folder: str | Path,
    *,
    kind: Kind | None = None,
    exclude: Sequence[str] = (),
    bars_per_year: float | None = None,
) -> Panel:
    """Read a panel folder of Parquet or CSV files.

    The folder holds either one file `returns` or `prices` with a table `meta` (columns `instrument` or
    `asset`, and `market`), or one file per market, named after it, or one file per asset with its bars (open,
    high, low, close, volume), whose price is the adjusted close where there is one; the assets are then those
    of one market, named after the folder, or of the markets in `meta`. The first column of a data file is
    `date`, each other column one asset; an empty cell is a day on which the asset does not trade. So is, with
    a note, a cell of a CSV file with a word for it (`MISSING`: NA, null, nan, ...); in `meta` all words are
    names. The lines of a file `notes.txt` are notes of the panel. Columns of `meta` that say what trading an
    asset costs (`qn_env.costs.COST_FIELDS`) are the panel's own costs.

    Args:
        folder: the panel folder.
        kind: what the numbers are; the names `returns` and `prices` say so themselves, files named after
            markets hold prices unless told otherwise. Where both `returns` and `prices` are there, it picks
            one; by default the returns.
        exclude: names of markets to leave out, unread where each market has its own file.
        bars_per_year: as of `Panel.build`.

    Raises:
        ConfigError: no such folder, an unknown kind, a kind the folder does not hold, an unknown market.
        DataError: files that cannot be used as they are.
    """
    if kind is not None:
        check_known("kind", kind, KINDS)
    left_out = check_names("exclude", (exclude,) if isinstance(exclude, str) else exclude)
    shelf = _shelf(check_path("folder", folder))
    if any(name in shelf.files for name in KINDS):
        panel = _read_one_file(shelf, kind, left_out, bars_per_year)
    else:
        panel = _read_market_files(shelf, kind or "prices", left_out, bars_per_year)
    if "meta" not in shelf.files:
        return panel
    path = shelf.files["meta"]
    costs = costs_in(read_table(path), str(path))
    return panel if costs is None else replace(panel, own_costs=costs)


def read_costs(path: str | Path) -> CostTable:
    """A table of costs from a CSV or Parquet file, as `costs_in` takes it.

    Raises:
        ConfigError: no such file.
        DataError: no column of assets or of costs, and what `costs_in` refuses.
    """
    path = check_path("path", path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such file. Give a CSV or Parquet file of costs.")
    table = read_table(path)
    made = costs_in(table, str(path))
    if made is None:
        raise DataError(
            f"{path}: found the columns {few(map(str, table.columns), most=10)}; expected instrument (or "
            f"asset), perhaps market and date, and any of {', '.join(COST_FIELDS)}."
        )
    return made


@dataclass(frozen=True)
class _Shelf:
    """What a folder holds: data files by stem, its own notes, and the names of everything else."""

    folder: Path
    files: dict[str, Path]
    told: tuple[str, ...]
    others: tuple[str, ...]

    def notes(self, unread: Sequence[str], excluded: Sequence[str]) -> list[str]:
        """The folder's own notes, and remarks on what was left out, and why."""
        files = [*unread, *self.others]
        return [
            *self.told,
            *([f"{self.folder}: files not read: {few(files)}."] if files else []),
            *([f"{self.folder}: markets left out on request: {', '.join(excluded)}."] if excluded else []),
        ]


def _shelf(folder: Path) -> _Shelf:
    if not folder.exists():
        raise ConfigError(f"{folder}: no such folder. Give the path of a folder of Parquet or CSV files.")
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is a file, expected a folder. Give the folder that holds it.")
    files: dict[str, Path] = {}
    told: tuple[str, ...] = ()
    others = []
    for path in sorted(p for p in folder.iterdir() if not p.name.startswith(".")):
        if path.name == NOTES and path.is_file():
            told = _read_notes(path)
            continue
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            others.append(path.name)
            continue
        stem = path.stem.lower() if path.stem.lower() in (*RESERVED, *KINDS) else path.stem
        if stem in files:
            raise DataError(
                f"{path}: {files[stem].name} is there too, expected one file named {stem!r}. "
                "Remove one of them."
            )
        files[stem] = path
    if not set(files) - set(RESERVED):
        names = few([*(p.name for p in files.values()), *others]) or "nothing"
        raise DataError(
            f"{folder}: no data file; found {names}, expected returns or prices with meta, or one file "
            "per market (.parquet or .csv)."
        )
    return _Shelf(folder, files, told, tuple(others))


def _read_notes(path: Path) -> tuple[str, ...]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text in UTF-8 ({error}). Write it again, or remove it.") from error
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _read_one_file(
    shelf: _Shelf, kind: Kind | None, exclude: tuple[str, ...], bars_per_year: float | None
) -> Panel:
    """All markets in one file, told apart by the table meta."""
    chosen = _choose(shelf, kind)
    path = shelf.files[chosen]
    frame, words = _read_data(path)
    meta_path, market_of = _read_meta(shelf)
    _check_listed(path, meta_path, [str(name) for name in frame.columns], market_of)
    _check_excluded(shelf.folder, exclude, list(market_of.values()))
    kept = {asset: market for asset, market in market_of.items() if market not in exclude}
    unread = [p.name for stem, p in shelf.files.items() if stem not in (*KINDS, *DESCRIBE)]
    notes = shelf.notes(unread, exclude)
    if all(name in shelf.files for name in KINDS):
        notes.insert(0, f"{shelf.folder}: holds returns and prices; the {chosen} were read.")
    notes += words
    data = frame[[name for name in frame.columns if name in kept]]
    return from_frame(data, kept, kind=chosen, source=str(path), notes=notes, bars_per_year=bars_per_year)


def _choose(shelf: _Shelf, kind: Kind | None) -> Kind:
    """The kind to read: the one asked for, else returns, else prices."""
    held: list[Kind] = [name for name in ("returns", "prices") if name in shelf.files]
    if kind is None or kind in held:
        return kind or held[0]
    raise ConfigError(
        f"{shelf.files[held[0]]}: is named {held[0]!r}, but kind={kind!r} was asked for. Leave kind out, or "
        f"rename the file to {kind!r} if that is what it holds."
    )


def _read_market_files(
    shelf: _Shelf, kind: Kind, exclude: tuple[str, ...], bars_per_year: float | None
) -> Panel:
    """One file per market."""
    markets = {stem: path for stem, path in shelf.files.items() if stem not in RESERVED}
    _check_excluded(shelf.folder, exclude, list(markets))
    _refuse_copies(shelf, list(markets))
    kept = {name: path for name, path in markets.items() if name not in exclude}
    read = {name: _read_data(path) for name, path in kept.items()}
    bars = [name for name, (frame, _) in read.items() if is_bars([str(column) for column in frame.columns])]
    if bars and kind == "prices":
        return _join_bars(shelf, read, bars, bars_per_year)
    panels = [
        from_frame(frame, name, kind=kind, source=str(kept[name]), notes=words, bars_per_year=bars_per_year)
        for name, (frame, words) in read.items()
    ]
    return join(panels, source=str(shelf.folder), notes=shelf.notes(_beside(shelf), exclude))


def _join_bars(
    shelf: _Shelf,
    read: Mapping[str, tuple[pd.DataFrame, list[str]]],
    bars: Sequence[str],
    bars_per_year: float | None,
) -> Panel:
    """Files with the bars of one asset each: the assets of one market, or of those in the table meta.

    Raises:
        DataError: other files beside them.
    """
    others = [name for name in read if name not in bars]
    if others:
        raise DataError(
            f"{shelf.folder}: {few(bars)} hold the bars of one asset each (open, high, low, close), "
            f"{few(others)} a column for each asset. Put them into folders of their own."
        )
    market_of = dict.fromkeys(bars, shelf.folder.resolve().name)
    if "meta" in shelf.files:
        path, listed = _read_meta(shelf)
        _check_listed(shelf.folder, path, list(bars), listed)
        market_of = {name: listed[name] for name in bars}
    places = list(dict.fromkeys(market_of.values()))
    panels, notes = [], []
    for name in sorted(bars, key=lambda one: places.index(market_of[one])):
        (frame, words), source = read[name], str(shelf.files[name])
        price, note = price_of(frame, name, source)
        panels.append(
            from_frame(
                price,
                market_of[name],
                kind="prices",
                source=source,
                notes=words,
                bars_per_year=bars_per_year,
            )
        )
        notes.append(note)
    notes[1:] = [f"{shelf.folder}: the same of {few(bars[1:])}."] if len(bars) > 1 else []
    return join(panels, source=str(shelf.folder), notes=[*notes, *shelf.notes(_beside(shelf), ())])


def _beside(shelf: _Shelf) -> list[str]:
    """Files beside those of the markets that are not read."""
    return [path.name for stem, path in shelf.files.items() if stem in RESERVED and stem not in DESCRIBE]


def _refuse_copies(shelf: _Shelf, names: Sequence[str]) -> None:
    """Refuse a file that a browser or a file manager made of another one.

    Raises:
        DataError: it is there beside the one it is a copy of.
    """
    for name in names:
        for pattern in COPIES:
            found = re.fullmatch(pattern, name)
            if found and found[1] in names:
                raise DataError(
                    f"{shelf.files[name]}: looks like a copy of {shelf.files[found[1]].name}, and would be a "
                    "market of its own. Remove one of them, or give it a name of its own."
                )


def _check_excluded(folder: Path, exclude: tuple[str, ...], markets: Sequence[str]) -> None:
    known = set(markets)
    for name in exclude:
        if name not in known:
            raise ConfigError(
                f"{folder}: cannot exclude unknown market {name!r}. {did_you_mean(name, known)}"
            )
    if known and known <= set(exclude):
        raise ConfigError(f"{folder}: all {len(known)} markets are excluded, expected at least one to stay.")


def _read_meta(shelf: _Shelf) -> tuple[Path, dict[str, str]]:
    """The market of each instrument, from the table meta."""
    if "meta" not in shelf.files:
        raise DataError(
            f"{shelf.folder}: no table meta; expected meta.parquet or meta.csv with the columns instrument "
            "and market. Add it, or give each market a file of its own."
        )
    path = shelf.files["meta"]
    meta = read_table(path)
    label = next((name for name in ("instrument", "asset") if name in meta), None)
    if label is None or "market" not in meta:
        raise DataError(
            f"{path}: found the columns {few(map(str, meta.columns), most=10)}; expected 'instrument' (or "
            "'asset') and 'market'. Rename or add them."
        )
    table = meta[[label, "market"]].astype(object)
    missing = (table.isna() | (table == "")).any(axis=1).to_numpy()
    if missing.any():
        row = table.iloc[int(missing.argmax())]
        raise DataError(
            f"{path}: data row {missing.argmax() + 1} has {label} {row[label]!r} and market "
            f"{row['market']!r} ({missing.sum()} such rows); expected a name in both. Fill them in or remove "
            "the row."
        )
    instruments = [str(name) for name in table[label]]
    _check_once(path, instruments)
    return path, dict(zip(instruments, map(str, table["market"]), strict=True))


def _check_once(path: Path, instruments: list[str]) -> None:
    twice = {name: count for name, count in Counter(instruments).items() if count > 1}
    for name, count in twice.items():
        raise DataError(
            f"{path}: instrument {name!r} is listed {count} times ({len(twice)} such: {few(twice)}); "
            "expected one row each. Remove the others."
        )


def _check_listed(path: Path, meta_path: Path, columns: list[str], market_of: dict[str, str]) -> None:
    unlisted = [name for name in columns if name not in market_of]
    if unlisted:
        raise DataError(
            f"{path}: {len(unlisted)} columns are not listed in {meta_path}: {few(unlisted)}. Add a row with "
            "the market of each, or remove the columns."
        )


def _read_data(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """[T, N] the numbers of a data file, by date, and a note on words for missing ones."""
    table, words = read_numbers(path)
    if is_date(table.index.name):
        return table, words
    if not len(table.columns) or not is_date(table.columns[0]):
        first = repr(str(table.columns[0])) if len(table.columns) else "missing"
        raise DataError(
            f"{path}: the first column is {first}, expected 'date'. Put the dates first, in a column named "
            "date (columns of a CSV file are separated by commas)."
        )
    return table.set_index(table.columns[0]), words


def is_date(name: object) -> bool:
    """Whether a column of that name holds the dates."""
    return str(name).strip().lower() in DATE_NAMES


def read_table(path: Path) -> pd.DataFrame:
    """A file of names, CSV or Parquet: of a CSV file every cell is text as it stands, "" where it is empty.

    Raises:
        DataError: a file that cannot be read, or a column that is there twice.
    """
    return _as_frame(path, _read(path))


def read_numbers(path: Path) -> tuple[pd.DataFrame, list[str]]:
    """A file of dates and numbers, CSV or Parquet, and a note on words for missing numbers in a CSV file.

    A column that holds other text stays text, as does the column `date`.

    Raises:
        DataError: a file that cannot be read, or a column that is there twice.
    """
    table = _read(path)
    if path.suffix.lower() != ".csv":
        return _as_frame(path, table), []
    columns, words = {}, Counter[str]()
    for name in table.column_names:
        columns[name], missing = (table[name], ()) if is_date(name) else _to_numbers(table[name])
        words.update(missing)
    frame = pa.table(columns).to_pandas()
    said = f"{words.total()} cells hold a word for missing ({few(sorted(words))})"
    return frame, [f"{path}: {said}: counted as missing."] if words else []


def _read(path: Path) -> pa.Table:
    """One file as it is, or an error that names it."""
    try:
        if not path.stat().st_size:
            raise DataError(f"{path}: is empty (0 bytes). Write it again.")
        if path.suffix.lower() == ".csv":
            return _read_csv(path)
        with arrow_parquet.ParquetFile(path) as file:  # pandas would add columns for folders named a=b
            check_once(str(path), file.schema_arrow.names)
            return file.read()
    except DataError:
        raise
    except (pa.ArrowException, OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, error) from error


def _as_frame(path: Path, table: pa.Table) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = table.to_pandas()
    except (
        pa.ArrowException,
        ValueError,
        TypeError,
        LookupError,
    ) as error:  # of what pandas left in the file
        raise _unreadable(path, error) from error
    return frame


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: cannot be read as {path.suffix.lower()[1:]}: {error}. Check or rewrite the file."
    )


def _read_csv(path: Path) -> pa.Table:
    """The text of a CSV file, every row of which must be complete (pandas would fill short rows)."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file), [])
    check_once(str(path), names)
    return arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(use_threads=False),  # threads lose the row number in errors
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )


def _to_numbers(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, list[str]]:
    """The column as float64, to the last bit (or its text, if it holds any), and words for missing ones."""
    missing = arrow.is_in(column, pa.array(MISSING))
    words = [word for word in column.filter(missing).to_pylist() if word]
    text = arrow.if_else(missing, pa.scalar(None, pa.string()), column)
    try:
        numbers = text.cast(pa.float64())
    except pa.ArrowInvalid:
        return text, words
    undefined = arrow.is_nan(numbers)  # NAN, +nan: words that the list above has in other letters
    words += text.filter(undefined).to_pylist()
    return arrow.if_else(undefined, pa.scalar(None, pa.float64()), numbers), words

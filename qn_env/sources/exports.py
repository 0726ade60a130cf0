"""Tables as people export them: other dates, other decimals, long or with bars; read as they are asked to be.

Nothing is guessed that could be read in two ways: whether 03/04/2020 is in March or April, and whether 1,5 is
one and a half, is an option. What was understood is told in notes, and everything that is wrong with a file
in one error.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from qn_env.checks import check_known, check_path
from qn_env.dates import are_within_days
from qn_env.errors import DataError, QnError, few, in_a_line, refusal
from qn_env.extras import require
from qn_env.sources.bars import FIELDS, plain_field, price_field
from qn_env.sources.files import MISSING, is_date

DateOrder = Literal["iso", "dmy", "mdy"]
Decimal = Literal[".", ","]
SEPARATORS = (",", ";", "\t", "|")
# What a column of names is called in a long table, one row for each asset and day.
NAMES = ("symbol", "ticker", "asset", "instrument", "name", "code", "isin", "ric", "permno", "sid")
PATTERNS: Mapping[DateOrder, re.Pattern[str]] = {
    "iso": re.compile(r"(?P<y>\d{4})-?(?P<m>\d{2})-?(?P<d>\d{2})", re.ASCII),
    "dmy": re.compile(r"(?P<d>\d{1,2})[./-](?P<m>\d{1,2})[./-](?P<y>\d{4})", re.ASCII),
    "mdy": re.compile(r"(?P<m>\d{1,2})[./-](?P<d>\d{1,2})[./-](?P<y>\d{4})", re.ASCII),
}
# A time of day and a zone behind a date; of one row a day the date stays as it is written.
TIME = re.compile(
    r"(?:[T ](?P<h>\d{1,2}):(?P<m>\d{2})(?::(?P<s>\d{2})(?:\.\d+)?)?)?"
    r"(?P<zone> ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?",
    re.ASCII,
)
NUMBERS: Mapping[Decimal | None, re.Pattern[str]] = {
    None: re.compile(r"[+-]?\d*\.?\d*(?:[eE][+-]?\d+)?", re.ASCII),
    ".": re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)?(?:\.\d*)?(?:[eE][+-]?\d+)?", re.ASCII),
    ",": re.compile(r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+)?(?:,\d*)?(?:[eE][+-]?\d+)?", re.ASCII),
}
Shape = Literal["wide", "long", "bars", "fields over tickers"]


class Export(NamedTuple):
    """What an export holds.

    Attributes:
        shape: the form it had.
        prices: [T, N] of days by assets, NaN where there is none.
        volume: the same of traded volumes; None where there are none.
        notes: how it was read.
    """

    shape: Shape
    prices: pd.DataFrame
    volume: pd.DataFrame | None
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How an export is to be read.

    Attributes:
        dates: "iso" 2020-04-03 or 20200403; "dmy" 03/04/2020 is in April; "mdy" in March.
        decimal: the sign before the decimals, the other one then parts thousands; None: a point, and no
            thousands are parted.
        separator: of the columns of a text file; None: the one that its first line has most of.
        field: of bars, the column that is the price; None: the adjusted close, or the close.
    """

    dates: DateOrder = "iso"
    decimal: Decimal | None = None
    separator: str | None = None
    field: str | None = None

    def __post_init__(self) -> None:
        check_known("dates", self.dates, get_args(DateOrder))
        if self.decimal is not None:
            check_known("decimal", self.decimal, get_args(Decimal))
        if self.separator is not None:
            check_known("separator", self.separator, SEPARATORS)


def read_export(path: str | Path, reading: Reading | None = None) -> Export:
    """Read a file of prices: CSV or other text, Excel or Parquet.

    One column per asset; or one row per asset and day, with a column of names; or the bars of one asset,
    named after the file; or fields over tickers, as yfinance writes them.

    Args:
        path: the file.
        reading: how; default: ISO dates and decimal points.

    Raises:
        DataError: everything that is wrong with the file, one line each.
        ConfigError: a package that an Excel file needs is not installed.
    """
    path, reading = check_path("path", path), reading or Reading()
    return understand(_rows_of(path, reading), reading, source=str(path), name=path.stem)


def from_export(frame: pd.DataFrame, reading: Reading | None = None, *, source: str = "frame") -> Export:
    """The same of a data frame as other packages give it: with MultiIndex columns or index, or long.

    A polars frame is taken by its `to_pandas`.
    """
    frame = getattr(frame, "to_pandas", lambda: frame)()
    if isinstance(frame.columns, pd.MultiIndex):  # yfinance: fields over tickers, or tickers over fields
        frame = _fields_first(frame)
        head = [
            ["Price", *frame.columns.get_level_values(0)],
            ["Ticker", *frame.columns.get_level_values(1)],
            ["Date", *[""] * frame.shape[1]],
        ]
        body = frame.reset_index()
    else:
        body = frame
        if not isinstance(frame.index, pd.RangeIndex):
            unnamed = frame.index.names == [None]
            body = (frame.rename_axis(index="date") if unnamed else frame).reset_index()
        head = [[str(name) for name in body.columns]]
    rows = [[_as_text(value) for value in row] for row in body.itertuples(index=False, name=None)]
    return understand([*map(list, head), *rows], reading or Reading(), source=source, name=source)


def understand(rows: Sequence[Sequence[str]], reading: Reading, *, source: str, name: str) -> Export:
    """What a table of text says, its first row the names of the columns.

    Args:
        rows: of cells.
        reading: how to read them.
        source: what errors call it.
        name: of the asset, where a table is the bars of one.

    Raises:
        DataError: everything that is wrong, one line each.
    """
    wrong: list[str] = []
    table = _layout(rows, name, wrong)
    if table is None:
        raise refusal(source, wrong)
    days, told = _days(table.dates, reading, wrong)
    fields = {
        field: _numbers(cells, reading, field, wrong)
        for field, cells in table.values.items()
        if field in _wanted(table, reading, wrong)
    }
    if wrong:
        raise refusal(source, wrong)
    arrange = _columns if table.shape == "wide" else _pivot
    frames = {field: arrange(days, table.assets, values, wrong) for field, values in fields.items()}
    if wrong:
        raise refusal(source, wrong)
    price = _price(table, reading)
    notes = [f"{source}: {table.told}", *(f"{source}: {one}" for one in told)]
    if price:
        left = [field for field in table.values if field not in (price, "volume")]
        more = f"; left out: {', '.join(left)}" if left else ""
        notes.append(f"{source}: the price is {price!r}{more}.")
    return Export(table.shape, frames[price], frames.get("volume"), notes)


class _Table(NamedTuple):
    """Cells of text: one entry of `dates`, `assets` and of every field for each number.

    Of a wide table, which may have millions, each date and asset once, and the columns behind each other.
    """

    shape: Shape
    dates: list[str]
    assets: list[str]
    values: dict[str, list[str]]  # by field, in small letters; "" where a table has prices only
    told: str


def _layout(rows: Sequence[Sequence[str]], name: str, wrong: list[str]) -> _Table | None:
    """Which of the forms a table has; None, and why in `wrong`."""
    rows = [list(row) for row in rows if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        wrong.append("no rows below the names of the columns")
        return None
    if len(rows) > 3 and is_date(rows[2][0]) and not any(cell.strip() for cell in rows[2][1:]):
        return _fields_over_tickers(rows)
    head, body = [cell.strip() for cell in rows[0]], rows[1:]
    short = [number for number, row in enumerate(body, 2) if len(row) != len(head)]
    if short:
        wrong.append(
            f"row {short[0]} has {len(body[short[0] - 2])} cells, expected {len(head)} "
            f"({len(short)} such rows)"
        )
        return None
    place = next((k for k, cell in enumerate(head) if is_date(cell)), None)
    if place is None:
        wrong.append(f"no column called date, dates, datetime or timestamp; found {few(head, most=8)}")
        return None
    twice = sorted({cell for cell in head if head.count(cell) > 1})
    if twice or "" in head:
        wrong.append(f"columns without a name or with the same one: {few(twice or ['(none)'])}")
        return None
    dates = [row[place].strip() for row in body]
    label = next((k for k, cell in enumerate(head) if cell.lower() in NAMES), None)
    others = [k for k in range(len(head)) if k not in (place, label)]
    plain = {k: plain_field(head[k]) for k in others}
    if label is not None:
        values = {plain[k]: [row[k] for row in body] for k in others}
        assets = [row[label].strip() for row in body]
        told = f"one row for each asset and day, {len(set(assets))} assets in {head[label]!r}."
        return _Table("long", dates, assets, values, told)
    if price_field(plain.values()) is not None and set(plain.values()) <= FIELDS and len(others) > 1:
        values = {plain[k]: [row[k] for row in body] for k in others}
        return _Table("bars", dates, [name] * len(dates), values, f"bars of one asset, {name!r}.")
    cells = [row[k] for k in others for row in body]
    told = f"one column for each asset, {len(others)} of them."
    return _Table("wide", dates, [head[k] for k in others], {"": cells}, told)


def _fields_over_tickers(rows: Sequence[Sequence[str]]) -> _Table:
    """Fields in the first row, tickers in the second, as yfinance writes them."""
    fields = [plain_field(cell) for cell in rows[0][1:]]
    tickers = [cell.strip() for cell in rows[1][1:]]
    assets = list(dict.fromkeys(tickers))
    place = {(field, ticker): k + 1 for k, (field, ticker) in enumerate(zip(fields, tickers, strict=True))}
    body = rows[3:]
    values = {
        field: [
            row[place[field, asset]] if (field, asset) in place else "" for row in body for asset in assets
        ]
        for field in dict.fromkeys(fields)
    }
    dates = [row[0].strip() for row in body for _ in assets]
    told = f"fields over tickers, {len(assets)} assets."
    return _Table("fields over tickers", dates, assets * len(body), values, told)


def _price(table: _Table, reading: Reading) -> str:
    """The field that is the price; "" where there are no others."""
    if table.shape == "wide":
        return ""
    if reading.field is not None:
        return plain_field(reading.field)
    found = price_field(table.values)
    if found is None and len(table.values) == 1:
        found = next(iter(table.values))
    return found or ""


def _wanted(table: _Table, reading: Reading, wrong: list[str]) -> set[str]:
    """The fields that are read."""
    price = _price(table, reading)
    if price not in table.values:
        asked = f"no column {price!r}" if price else "no column close, adj close, price or value"
        line = f"{asked}; found {few(table.values, most=8)}. Name the price with --field"
        if line not in wrong:
            wrong.append(line)
        return set()
    return {price, *({"volume"} & table.values.keys())}


def _days(texts: Sequence[str], reading: Reading, wrong: list[str]) -> tuple[list[str], list[str]]:
    """Days as YYYY-MM-DD of texts, of bars within days moments, and what is to be told of them."""
    known: dict[str, _Moment] = {}
    for text in dict.fromkeys(texts):
        found = PATTERNS[reading.dates].match(text)
        rest = TIME.fullmatch(text[found.end() :]) if found else None
        if found and rest and _is_day(iso := f"{found['y']}-{int(found['m']):02}-{int(found['d']):02}"):
            known[text] = _Moment(iso, _time_of(rest), (rest["zone"] or "").strip().replace("UTC", "Z"))
    bad = [text for text in dict.fromkeys(texts) if text not in known]
    if bad:
        other = next(
            (
                order
                for order, pattern in PATTERNS.items()
                if order != reading.dates and all(pattern.match(text) for text in bad[:50])
            ),
            None,
        )
        hint = f"; if they are written {other}, read them with --dates {other}" if other else ""
        if other in ("dmy", "mdy"):
            hint = "; say --dates dmy if the day stands first, --dates mdy if the month does"
        wrong.append(
            f"{len(bad)} dates that are not {WRITTEN[reading.dates]}: {few(map(repr, bad), most=3)}{hint}"
        )
        return [], []
    zones = sum(bool(moment.zone) for moment in known.values())
    if not _within_days(known.values()):
        told = [f"{zones} dates have a time zone; the day is as it is written."] if zones else []
        return [known[text].day for text in texts], told
    if 0 < zones < len(known):
        wrong.append(f"a time zone behind {zones} of {len(known)} times; expected one behind all or none")
        return [], []
    stamps, late = {}, []
    for text, (day, time, zone) in known.items():
        try:
            stamp = datetime.fromisoformat(f"{day} {time or '00:00:00'}{zone}")
        except ValueError:
            late.append(text)
            continue
        stamps[text] = f"{stamp.astimezone(UTC) if zone else stamp:%Y-%m-%d %H:%M:%S}"
    if late:
        wrong.append(f"{len(late)} times that no clock shows: {few(map(repr, late), most=3)}")
        return [], []
    told = (
        ["the times were brought to UTC."] if zones else ["the times have no zone and are taken as they are."]
    )
    return [stamps[text] for text in texts], ["several rows a day: bars within days.", *told]


class _Moment(NamedTuple):
    """A date as it is written."""

    day: str  # YYYY-MM-DD
    time: str  # HH:MM:SS, "" where there is none
    zone: str


def _time_of(rest: re.Match[str]) -> str:
    return "" if rest["h"] is None else f"{int(rest['h']):02}:{rest['m']}:{rest['s'] or '00'}"


def _within_days(moments: Collection[_Moment]) -> bool:
    """Whether they are bars within days, as `qn_env.dates.read_dates` tells them from repeated days."""
    rows = list(Counter(moment.day for moment in moments).values())
    return are_within_days(rows, timed=any(moment.time.strip("0:") for moment in moments))


WRITTEN: Mapping[DateOrder, str] = {
    "iso": "YYYY-MM-DD or YYYYMMDD",
    "dmy": "day, month, year",
    "mdy": "month, day, year",
}


def _is_day(text: str) -> bool:
    try:
        np.datetime64(text, "D")
    except ValueError:
        return False
    return True


def _numbers(cells: Sequence[str], reading: Reading, field: str, wrong: list[str]) -> list[float]:
    """Numbers of texts, NaN where they say that one is missing."""
    pattern, point = NUMBERS[reading.decimal], reading.decimal or "."
    thousands = "," if point == "." else "."
    numbers, bad = [], []
    for cell in cells:
        text = cell.strip().replace("\N{NO-BREAK SPACE}", "")
        if text in MISSING or text in ("-", "\N{EN DASH}"):
            numbers.append(np.nan)
        elif (
            pattern.fullmatch(text)
            and any(sign.isdecimal() for sign in text)
            and math.isfinite(number := float(text.replace(thousands, "").replace(point, ".")))
        ):
            numbers.append(number)
        else:
            numbers.append(np.nan)
            bad.append(text)
    if bad:
        fit = [sign for sign in get_args(Decimal) if all(NUMBERS[sign].fullmatch(text) for text in bad)]
        hint = f"; say --decimal {fit[0]} if they are to be read so" if len(fit) == 1 else ""
        if len(fit) > 1:
            hint = (
                "; say --decimal , if a comma stands before the decimals, --decimal . if it parts thousands"
            )
        inside = f" in {field!r}" if field else ""
        wrong.append(f"{len(bad)} cells{inside} that are no numbers: {few(map(repr, bad), most=3)}{hint}")
    return numbers


def _pivot(
    days: Sequence[str], assets: Sequence[str], values: Sequence[float], wrong: list[str]
) -> pd.DataFrame:
    """[T, N] of numbers, one for each day and asset."""
    cells = pd.Series(values, index=pd.MultiIndex.from_arrays([days, assets]))
    twice = cells.index[cells.index.duplicated()]
    if len(twice):
        day, asset = twice[0]
        line = f"{asset!r} stands there twice on {day} ({len(twice)} such rows)"
        if line not in wrong:
            wrong.append(line)
        return pd.DataFrame()
    return _without_gaps(cells.unstack()[list(dict.fromkeys(assets))], wrong)


def _columns(
    days: Sequence[str], assets: Sequence[str], values: Sequence[float], wrong: list[str]
) -> pd.DataFrame:
    """[T, N] of numbers that stand column behind column."""
    index = pd.Index(days)
    twice = index[index.duplicated()]
    if len(twice):
        wrong.append(f"{twice[0]} stands there twice ({len(twice)} such rows)")
        return pd.DataFrame()
    numbers = np.array(values).reshape(len(assets), len(days)).T
    return _without_gaps(pd.DataFrame(numbers, index=index, columns=list(assets)), wrong)


def _without_gaps(table: pd.DataFrame, wrong: list[str]) -> pd.DataFrame:
    """In the order of time, without days and assets that have no number."""
    table = table.sort_index().dropna(how="all").dropna(how="all", axis=1)
    if table.empty:
        wrong.append("no number at all")
    return table.rename_axis(index="date", columns=None)


def _rows_of(path: Path, reading: Reading) -> list[list[str]]:
    """The cells of a file as text."""
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    readers: dict[str, Callable[[Path], list[list[str]]]] = {".parquet": _from_parquet, ".xlsx": _from_excel}
    try:
        if (reader := readers.get(path.suffix.lower())) is not None:
            return reader(path)
        text = path.read_text(encoding="utf-8-sig")
        first = text.split("\n", 1)[0]
        separator = reading.separator or max(SEPARATORS, key=first.count)
        return list(csv.reader(text.splitlines(), delimiter=separator))
    except QnError:
        raise
    except Exception as error:  # whatever the libraries make of wrong content
        form = "text in UTF-8" if path.suffix.lower() not in readers else path.suffix.lower()[1:]
        raise DataError(f"{path}: cannot be read as {form} ({in_a_line(error)}). Save it again.") from error


def _from_parquet(path: Path) -> list[list[str]]:
    frame = pd.read_parquet(path)
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    return _as_rows(frame)


def _from_excel(path: Path) -> list[list[str]]:
    require("openpyxl", what="An Excel file", extra="excel")
    return [[_as_text(cell) for cell in row] for row in pd.read_excel(path, header=None).to_numpy().tolist()]


def _as_rows(frame: pd.DataFrame) -> list[list[str]]:
    body = [[_as_text(cell) for cell in row] for row in frame.itertuples(index=False, name=None)]
    return [[str(name) for name in frame.columns], *body]


def _as_text(value: object) -> str:
    """A cell as it would be written; a moment as its date and, unless it is midnight, its time."""
    if value is None or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, pd.Timestamp):
        return (
            value.isoformat(" ") if value.tz is not None or value != value.normalize() else f"{value.date()}"
        )
    return repr(value) if isinstance(value, float) else str(value)


def _fields_first(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns (field, ticker), whichever of both stands above."""
    upper = {plain_field(str(name)) for name in frame.columns.get_level_values(0)}
    return frame if upper & FIELDS else frame.swaplevel(axis=1)

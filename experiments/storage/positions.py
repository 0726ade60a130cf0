"""Positions that somebody holds: a file that `qn signal` reads, and writes back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.storage.csvfile import write_csv
from qn_env.arrays import DateArray, FloatArray
from qn_env.errors import DataError, FileError, did_you_mean
from qn_env.panel import Panel
from qn_env.sources.files import read_table

COLUMNS = ("market", "asset", "date", "weight")
# A fraction of the capital of an asset's account; no sound position comes near.
MOST_WEIGHT = 1e6


@dataclass(frozen=True, eq=False)
class Positions:
    """What is held in every asset of a panel.

    Attributes:
        weight: [N] fraction of the capital of the asset's account, 0 of an asset that no file names.
        date: [N] the day each was decided on, NaT of those.
    """

    weight: FloatArray
    date: DateArray

    def of(self, panel: Panel, other: Panel) -> Positions:
        """The same in the order of the assets of another panel, which has no others."""
        place = _places(panel)
        order = [place[pair] for pair in zip(other.market_of, other.assets, strict=True)]
        return Positions(self.weight[order], self.date[order])


def read_positions(path: Path, panel: Panel) -> Positions:
    """Read a CSV file with the columns market, asset, date and weight; where there is none, nothing is held.

    Raises:
        FileError: another kind of file, which could not be written back.
        DataError: no such columns; an asset that the panel has not, or twice; no date; no finite number; a
            date behind the panel's.
    """
    if path.suffix.lower() != ".csv":
        raise FileError(f"{path}: positions are kept in a CSV file; name one that ends in .csv.")
    N = len(panel.assets)
    weight, date = np.zeros(N), np.full(N, "NaT", dtype="datetime64[D]")
    if not path.exists():
        return Positions(weight, date)
    table = read_table(path)
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise DataError(
            f"{path}: has no column {missing[0]!r}; found {', '.join(map(str, table.columns))}, expected "
            f"{', '.join(COLUMNS)}, as qn signal writes them."
        )
    place = _places(panel)
    seen: set[int] = set()
    for number, (market, asset, day, held) in enumerate(table[list(COLUMNS)].astype(str).to_numpy(), start=2):
        where = f"{path}, line {number}"
        j = place.get((market, asset))
        if j is None:
            hint = did_you_mean(asset, [asset for _, asset in place])
            raise DataError(
                f"{where}: asset {asset!r} of market {market!r} is not in the panel. {hint} "
                "Sell what you still hold of it and remove the line, or play a panel that has it."
            )
        if j in seen:
            raise DataError(f"{where}: asset {asset!r} of market {market!r} is there twice; keep one line.")
        seen.add(j)
        weight[j], date[j] = _number(where, held), _day(where, day, panel)
    return Positions(weight, date)


def write_positions(path: Path, table: pd.DataFrame) -> None:
    """Write what is held after a decision, in place of an older file; whole or not at all.

    Args:
        path: the file.
        table: with the columns market, asset, date and weight.

    Raises:
        FileError: it cannot be written.
    """
    write_csv(path, table[list(COLUMNS)])


def _places(panel: Panel) -> dict[tuple[str, str], int]:
    """Column by market and asset."""
    return {pair: j for j, pair in enumerate(zip(panel.market_of, panel.assets, strict=True))}


def _number(where: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if not abs(number) <= MOST_WEIGHT:
        raise DataError(
            f"{where}: column 'weight' holds {text!r}, expected a number: a fraction of the capital of the "
            "asset's account, 0 where nothing is held."
        )
    return number


def _day(where: str, text: str, panel: Panel) -> np.datetime64:
    try:
        day: np.datetime64 | None = np.datetime64(text.strip(), "D")
    except ValueError:
        day = None
    if day is None or np.isnat(day):
        raise DataError(f"{where}: column 'date' holds {text!r}, expected a day such as {panel.dates[-1]}.")
    if day > panel.dates[-1]:
        raise DataError(
            f"{where}: was decided on {day}, and the panel ends on {panel.dates[-1]}; expected a panel that "
            "goes on from there."
        )
    return day

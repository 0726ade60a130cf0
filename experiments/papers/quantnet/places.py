"""Where each market is: an optional table in a panel's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from qn_env.errors import DataError
from qn_env.sources.files import read_table

FILES = ("markets.parquet", "markets.csv")
MARKET_COLUMNS = ("market", "code")


def read_places(panel_folder: Path) -> pd.DataFrame | None:
    """The places in a panel folder's `markets.parquet` or `markets.csv`.

    Columns: `market` (or `code`), `country`, and optionally `region`; others are ignored.

    Returns:
        market, region, country; None without such a file, or if it has no column `country`.

    Raises:
        DataError: a file that cannot be read, has no column of markets, an empty or a double entry.
    """
    path = next((panel_folder / name for name in FILES if (panel_folder / name).is_file()), None)
    if path is None:
        return None
    table = read_table(path)  # Namibia's code is NA: only an empty cell is empty
    if "country" not in table.columns:
        return None
    named = next((name for name in MARKET_COLUMNS if name in table.columns), None)
    if named is None:
        raise DataError(
            f"{path}: lacks a column 'market'; found {', '.join(map(str, table.columns))}. Name the markets."
        )
    return _checked(path, table, named)


def with_places(places: pd.DataFrame | None, markets: Sequence[str]) -> pd.DataFrame:
    """Region and country of every market, index market; one that is not in the table is its own country.

    Examples:
        >>> with_places(None, ["DAX"]).loc["DAX"].tolist()
        ['', 'DAX']
    """
    own = pd.DataFrame({"region": "", "country": list(markets)}, index=pd.Index(list(markets), name="market"))
    if places is None:
        return own
    known = places.set_index("market")[["region", "country"]].reindex(own.index)
    return known.fillna(own)


def _checked(path: Path, table: pd.DataFrame, named: str) -> pd.DataFrame:
    places = pd.DataFrame(
        {
            "market": table[named],
            "region": table["region"] if "region" in table.columns else "",
            "country": table["country"],
        }
    )
    places["region"] = places["region"].fillna("").astype(str)
    for column, name in (("market", named), ("country", "country")):
        empty = places[column].isna() | (places[column].astype(str).str.strip() == "")
        if empty.any():
            row = int(empty.to_numpy().argmax())
            raise DataError(f"{path}: column {name!r}, row {row + 1}: empty, expected a name. Fill it in.")
    places = places.astype(str)
    double = places["market"].duplicated()
    if double.any():
        raise DataError(
            f"{path}: column {named!r}: {places.loc[double, 'market'].iloc[0]!r} appears twice, expected "
            "each market once. Remove one."
        )
    return places

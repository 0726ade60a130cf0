"""Groups of markets, as somebody names them: a file of them, or a column of the panel's table meta."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from qn_env.errors import ConfigError, DataError, did_you_mean
from qn_env.sources.files import SUFFIXES, read_table

COLUMN = "group"  # of a file of groups, beside `market`


def read_groups(groups: str, panel: Path | None) -> dict[str, str]:
    """The group of each market.

    Args:
        groups: a CSV or Parquet file with the columns market and group; or a column of the table meta in the
            panel's folder, which has one value for all assets of a market.
        panel: that folder, if the panel is one.

    Raises:
        ConfigError: no such file, and no such column.
        DataError: a table without these columns, a market in two groups or without one.
    """
    path = Path(groups)
    if path.is_file():
        return _groups_in(read_table(path), path, COLUMN)
    meta = None if panel is None else _meta_of(panel)
    if meta is None:
        raise ConfigError(
            f"groups is {groups!r}: no such file, and there is no table meta whose column it could be. Give "
            f"a CSV or Parquet file with the columns market and {COLUMN}."
        )
    table = read_table(meta)
    if groups not in table:
        raise ConfigError(
            f"groups is {groups!r}: no such file, and no column of {meta}. "
            f"{did_you_mean(groups, map(str, table.columns))}"
        )
    return _groups_in(table, meta, groups)


def _meta_of(panel: Path) -> Path | None:
    """The table meta of a panel's folder."""
    found = (path for path in sorted(panel.glob("*")) if path.suffix.lower() in SUFFIXES)
    return next((path for path in found if path.stem.lower() == "meta"), None)


def _groups_in(table: pd.DataFrame, path: Path, column: str) -> dict[str, str]:
    for name in ("market", column):
        if name not in table:
            found = ", ".join(map(str, table.columns))
            raise DataError(f"{path}: found the columns {found}; expected market and {column}.")
    groups: dict[str, str] = {}
    for row, (market, group) in enumerate(table[["market", column]].itertuples(index=False), 1):
        if pd.isna(market) or pd.isna(group) or "" in (market, group):
            raise DataError(
                f"{path}: data row {row} has market {market!r} and {column} {group!r}; expected a name in "
                "both."
            )
        known = groups.setdefault(str(market), str(group))
        if known != str(group):
            raise DataError(
                f"{path}: market {str(market)!r} is in {known!r} and, in data row {row}, in {str(group)!r}; "
                "expected one group for a market."
            )
    return groups

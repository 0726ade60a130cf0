"""Tables of costs from files: columns of a panel's `meta`, or a file of their own, per asset or by date."""

from __future__ import annotations

import numpy as np
import pandas as pd

from qn_env.costs import COST_FIELDS, CostTable
from qn_env.dates import read_dates
from qn_env.errors import ConfigError, DataError
from qn_env.sources.bars import plain_field

ASSET_NAMES = ("instrument", "asset")
# What a column may be called, in small letters, without blanks: basis points in the singular, too.
ALIASES = {name.removesuffix("s"): name for name in COST_FIELDS if name.endswith("_bps")}


def cost_field(name: str) -> str | None:
    """The field of a table of costs that a column is; None of another column.

    Examples:
        >>> cost_field("half_spread_bp"), cost_field("Volume"), cost_field("region")
        ('half_spread_bps', 'volume', None)
    """
    plain = plain_field(name).replace(" ", "_")
    return plain if plain in COST_FIELDS else ALIASES.get(plain)


def costs_in(table: pd.DataFrame, source: str) -> CostTable | None:
    """The costs that a table of assets says, None where it says none.

    Args:
        table: a column `instrument` or `asset`, perhaps `market` and `date` (then a value is in force from
            its date on), and any of `COST_FIELDS`; other columns are not looked at. Cells may be text; an
            empty one says nothing.
        source: what error messages call it.

    Raises:
        DataError: text that is no number, dates that are none, an asset twice, a field twice.
        ConfigError: a negative cost, or one beyond all reason.
    """
    found: dict[str, object] = {}
    for column in table.columns:
        field = cost_field(str(column))
        if field is None:
            continue
        if field in found:
            raise DataError(
                f"{source}: the columns {found[field]!r} and {column!r} are both {field}; keep one."
            )
        found[field] = column
    label = next((name for name in ASSET_NAMES if name in table), None)
    if not found or label is None:
        return None
    dated = "date" in table
    dates = pd.Series(pd.NaT, index=table.index, dtype="datetime64[s]")
    if dated:
        days, _ = read_dates(source, pd.Index(table["date"], dtype=object))
        dates = pd.Series(days.astype("datetime64[s]"), index=table.index)
    rows = pd.DataFrame(
        {
            "date": dates,
            "market": table["market"].astype(str) if "market" in table else "",
            "asset": table[label].astype(str),
        }
    )
    for field, column in found.items():
        cells = table[column].replace("", None)
        numbers = pd.to_numeric(cells, errors="coerce")
        bad = np.flatnonzero(numbers.isna() & cells.notna())
        if len(bad):
            raise DataError(
                f"{source}: column {str(column)!r} of {rows['asset'].iloc[bad[0]]!r}: found "
                f"{str(cells.iloc[bad[0]])!r}, expected a number ({len(bad)} such rows). Correct it, or "
                "leave it empty."
            )
        rows[field] = numbers.astype(np.float64)
    try:
        return CostTable(rows)
    except ConfigError as error:
        raise DataError(f"{source}: {error}") from error

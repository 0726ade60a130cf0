"""CSV files for people: whole or not at all, and with no cell that a spreadsheet would run as a formula."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from qn_env.storage import make_folder, write_atomically

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet compute a cell
QUOTE = "'"  # what makes it show one


def write_csv(path: Path, table: pd.DataFrame, *, float_format: str | None = None) -> None:
    """Write a table in place of an older one; its folder is made where there is none.

    Text that a spreadsheet would take for a formula begins with an apostrophe.

    Args:
        path: the file.
        table: one row a line, without its index.
        float_format: of numbers; default: all digits.

    Raises:
        FileError: it cannot be written.
    """
    make_folder(path.parent)
    text = _neutral(table).to_csv(index=False, float_format=float_format, lineterminator="\n")
    write_atomically(path, text.encode())


def _neutral(table: pd.DataFrame) -> pd.DataFrame:
    texts = [name for name in table.columns if pd.api.types.is_string_dtype(table[name])]
    quoted = table.assign(**{str(name): table[name].map(_quote) for name in texts}) if texts else table
    return quoted.set_axis([_quote(name) for name in quoted.columns], axis="columns")


def _quote(cell: object) -> object:
    """The cell, as text where it would be computed; a number or a dash is neither.

    Examples:
        >>> _quote("=1+1"), _quote("-3.5"), _quote("-"), _quote("+49 bps"), _quote("M0")
        ("'=1+1", '-3.5', '-', "'+49 bps", 'M0')
    """
    if not isinstance(cell, str) or not cell.startswith(FORMULA) or cell == "-":
        return cell
    try:
        float(cell)
    except ValueError:
        return QUOTE + cell
    return cell

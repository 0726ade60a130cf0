"""A table's columns as data: what each shows, under which heading, and as what text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pandas as pd

from experiments.artefacts.numbers import format_interval, format_value


class Column(NamedTuple):
    """One column of text."""

    heading: str
    keys: str | tuple[str, ...]  # the columns of numbers that a cell is made of
    cell: Callable[..., str] = str  # of one value per key

    def text(self, data: pd.DataFrame) -> list[str]:
        """One cell a row.

        Examples:
            >>> data = pd.DataFrame({"low": [-1.0, 0.5], "high": [1.0, 2.0]})
            >>> Column("Interval", ("low", "high"), "[{}, {}]".format).text(data)
            ['[-1.0, 1.0]', '[0.5, 2.0]']
        """
        keys = [self.keys] if isinstance(self.keys, str) else list(self.keys)
        return [self.cell(*values) for values in data[keys].itertuples(index=False, name=None)]


def as_text(data: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """The table as a reader sees it: these columns in this order."""
    return pd.DataFrame({column.heading: column.text(data) for column in columns})


def number_column(heading: str, key: str, form: str) -> Column:
    """Numbers in a format; a dash where undefined."""
    return Column(heading, key, lambda value: format_value(value, form))


def interval_column(heading: str, key: str, form: str = ".2f") -> Column:
    """The intervals KEY_low to KEY_high."""
    return Column(heading, (f"{key}_low", f"{key}_high"), lambda low, high: format_interval(low, high, form))


def estimate_column(heading: str, key: str, form: str) -> Column:
    """Numbers, and their intervals beside them.

    Examples:
        >>> row = pd.DataFrame({"sharpe": [0.5], "sharpe_low": [0.1], "sharpe_high": [0.9]})
        >>> estimate_column("Sharpe", "sharpe", ".2f").text(row)
        ['0.50 [0.10, 0.90]']
    """
    return Column(
        heading,
        (key, f"{key}_low", f"{key}_high"),
        lambda value, low, high: f"{format_value(value, form)} {format_interval(low, high, form)}",
    )

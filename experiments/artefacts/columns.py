"""Columns as data: which column of a table's figures stands under which heading, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import pandas as pd

from experiments.artefacts.numbers import format_interval, format_value


class Column(NamedTuple):
    """One column as a reader sees it.

    Attributes:
        heading: above it.
        name: of the figures; those of its interval are NAME_low and NAME_high.
        form: a format specification, or a function that writes one cell.
        kind: the figures alone, their intervals alone, or both side by side.
        scale: what the figures are multiplied by: 1e4 makes basis points of fractions.
    """

    heading: str
    name: str
    form: str | Callable[[Any], str] = str
    kind: Literal["figures", "intervals", "both"] = "figures"
    scale: float = 1.0

    def cells(self, data: pd.DataFrame) -> list[str]:
        """The column's text, row by row."""
        if callable(self.form):
            return [self.form(value) for value in data[self.name]]
        if self.kind == "intervals":
            return interval_cells(data, self.name, self.form)
        figures = [format_value(self.scale * value, self.form) for value in data[self.name]]
        if self.kind == "figures":
            return figures
        intervals = interval_cells(data, self.name, self.form)
        return [f"{value} {between}" for value, between in zip(figures, intervals, strict=True)]


def show(data: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """The columns as text, in their order.

    Examples:
        >>> rows = pd.DataFrame({"who": ["macd"], "sharpe": [0.5], "sharpe_low": [0.1], "sharpe_high": [0.9]})
        >>> shown = show(rows, [Column("Strategy", "who"), Column("Sharpe", "sharpe", ".2f", "both")])
        >>> shown.to_dict("records")
        [{'Strategy': 'macd', 'Sharpe': '0.50 [0.10, 0.90]'}]
    """
    return pd.DataFrame({column.heading: column.cells(data) for column in columns})


def interval_cells(data: pd.DataFrame, name: str, form: str = ".2f") -> list[str]:
    """Columns NAME_low and NAME_high as text."""
    bounds = zip(data[f"{name}_low"], data[f"{name}_high"], strict=True)
    return [format_interval(low, high, form) for low, high in bounds]

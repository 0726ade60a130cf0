"""Exhibits 2 and 3 and the orderings as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

import pandas as pd

from experiments.artefacts.columns import interval_column
from experiments.artefacts.items import Table
from experiments.artefacts.numbers import align_columns, format_value
from experiments.papers.dmn.published import LATER, METRICS

WIDTH = 110


def text_of_exhibits(
    tables: Sequence[Table],
    late: Sequence[Table],
    orderings: pd.DataFrame,
    heading: str,
    notes: Sequence[str] = (),
) -> str:
    """Both exhibits, strategies down and metrics across, what is left late, then the paper's orderings.

    Args:
        tables: Exhibits 2 and 3, with the data of `portfolio_figures`.
        late: what is beyond the paper, each as it is shown.
        orderings: of `orderings.orderings`.
        heading: what the figures are, budget included.
        notes: what else a reader should know, before anything.
    """
    lines = [heading, *(line for note in notes for line in wrap(note, WIDTH))]
    for table in tables:
        lines += ["", table.title, *align_columns(_cells(table.data))]
    for table in late:
        rows = [[str(cell) for cell in row] for row in table.shown.itertuples(index=False)]
        lines += ["", table.title, *align_columns([["", *table.shown.columns[1:]], *rows])]
    lines += ["", "Sharpe ratios: 95% intervals from resampled days and seeds.", *wrap(LATER, WIDTH)]
    cells = [["The paper's orderings, Sharpe ratios", "margin", "95% interval", "here"]]
    for row in orderings.to_dict("records"):
        between = interval_column("", "margin", "+.2f").text(pd.DataFrame([row]))[0]
        some = 0 < row["compared"] < row["of"]
        here = f"{row['verdict']} ({row['compared']} of {row['of']} pairs)" if some else row["verdict"]
        cells.append([row["claim"], format_value(row["margin"], "+.2f"), between, here])
    return "\n".join([*lines, "", *align_columns(cells)]) + "\n"


def _cells(data: pd.DataFrame) -> list[list[str]]:
    head = [""]
    for metric in METRICS:
        head += [metric.narrow]
        head += ["95% interval", "paper"] if metric.name == "sharpe" else []
    cells = [head]
    for row, interval in zip(data.to_dict("records"), interval_column("", "sharpe").text(data), strict=True):
        line = [row["label"]]
        for metric in METRICS:
            line += [format_value(row[metric.name], metric.form)]
            line += (
                [interval, format_value(row["sharpe_published"], ".2f")] if metric.name == "sharpe" else []
            )
        cells.append(line)
    return cells

"""Table 1 as plain text, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from experiments.artefacts.columns import Column
from experiments.artefacts.numbers import align_columns, format_digits
from experiments.papers.quantnet.comparisons import DIFFERENCES, execution_columns
from experiments.papers.quantnet.published import BUY_AND_HOLD_NOTE, METRIC_LABELS
from experiments.papers.quantnet.tables import MEDIAN_MAD, SHARPE_INTERVAL, label

# Blocks of the plain text: wide terminals are rare.
TEXT_BLOCKS = (
    ("sharpe", "calmar", "sortino"),
    ("cagr", "ann_volatility", "downside_risk"),
    ("max_drawdown", "skew", "kurtosis"),
)
BEHIND_SHARPE = (
    SHARPE_INTERVAL,
    Column("SR in the paper", "published_median", partial(format_digits, digits=3)),
)
SHORT_LATE = (
    *("", "on time", "95% interval", "late", "95% interval", "assets with less"),
    *("trained late", "95% interval"),
)
SHORT_DIFFERENCES = ("of medians", "95% interval", "mean, paired", "95% interval")


def text_of_table1(data: pd.DataFrame, late: pd.DataFrame, differences: pd.DataFrame, heading: str) -> str:
    """Table 1 for a terminal: strategies down, metrics across in blocks, then one day late and the pairs.

    Args:
        data: of `table_1`.
        late: of `comparisons.executions_table`.
        differences: of `comparisons.differences`; may be empty.
        heading: what the figures are, budget included.
    """
    lines = [heading, "Median (mean absolute deviation) over assets"]
    rows = {str(metric): own for metric, own in data.groupby("metric")}  # one an agent
    for block in TEXT_BLOCKS:
        shown = [(name, Column(METRIC_LABELS[name], MEDIAN_MAD, _bracketed_short)) for name in block]
        shown += [("sharpe", column) for column in BEHIND_SHARPE] if "sharpe" in block else []
        columns = [["", *map(label, data["agent"].unique())]]
        columns += [[column.heading, *column.text(rows[name])] for name, column in shown]
        lines += ["", *_aligned(columns)]
    columns = [
        [short, *column.text(late)]
        for short, column in zip(SHORT_LATE, execution_columns(late), strict=False)
    ]
    lines += ["", "Median SR, traded at the close that is decided from, and one day late", *_aligned(columns)]
    if "buy-and-hold" in set(data["agent"]):
        lines += ["", BUY_AND_HOLD_NOTE]
    undefined = int(data["undefined_values"].sum())
    if undefined:
        lines.append(f"{undefined} undefined values, left out; tables/table1.csv counts them one by one.")
    if len(differences):
        pair = Column("SR, strategy minus reference", ("strategy", "reference"), _minus)
        figures = zip(SHORT_DIFFERENCES, DIFFERENCES, strict=True)
        columns = [[pair.heading, *pair.text(differences)]]
        columns += [[short, *column.text(differences)] for short, column in figures]
        lines += ["", *_aligned(columns)]
    return "\n".join(lines) + "\n"


def _aligned(columns: Sequence[Sequence[str]]) -> list[str]:
    return align_columns([*zip(*columns, strict=True)])


def _bracketed_short(centre: float, spread: float) -> str:
    return f"{format_digits(centre, 3)} ({format_digits(spread, 2)})"


def _minus(strategy: str, reference: str) -> str:
    return f"{label(strategy)} - {label(reference)}"

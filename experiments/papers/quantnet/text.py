"""Table 1 as plain text, for a terminal."""

from __future__ import annotations

from typing import Any

import pandas as pd

from experiments.artefacts.numbers import align_columns, format_digits
from experiments.papers.quantnet.published import BUY_AND_HOLD_NOTE, METRIC_LABELS
from experiments.papers.quantnet.tables import interval_cell, label

# Blocks of the plain text: wide terminals are rare.
TEXT_BLOCKS = (
    ("sharpe", "calmar", "sortino"),
    ("cagr", "ann_volatility", "downside_risk"),
    ("max_drawdown", "skew", "kurtosis"),
)


def text_of_table1(data: pd.DataFrame, differences: pd.DataFrame, heading: str) -> str:
    """Table 1 for a terminal: strategies down, metrics across in blocks, then the pairs.

    Args:
        data: of `table_1`.
        differences: of `comparisons.differences`; may be empty.
        heading: what the figures are, budget included.
    """
    lines = [heading, "Median (mean absolute deviation) over assets"]
    for block in TEXT_BLOCKS:
        first = block[0] == "sharpe"
        extra = ["SR, 95% interval", "SR in the paper"] if first else []
        cells = [["", *(METRIC_LABELS[name] for name in block), *extra]]
        for agent, own in data.groupby("agent", sort=False):
            by_metric = own.set_index("metric")
            row = [label(str(agent)), *(_bracketed_short(by_metric.loc[name]) for name in block)]
            sharpe = by_metric.loc["sharpe"]
            cells.append(
                [
                    *row,
                    *([interval_cell(sharpe), format_digits(sharpe["published_median"], 3)] if first else []),
                ]
            )
        lines += ["", *align_columns(cells)]
    if "buy-and-hold" in set(data["agent"]):
        lines += ["", BUY_AND_HOLD_NOTE]
    undefined = int(data["undefined_values"].sum())
    if undefined:
        lines.append(f"{undefined} undefined values, left out; tables/table1.csv counts them one by one.")
    if len(differences):
        cells = [
            ["SR, strategy minus reference", "of medians", "95% interval", "mean, paired", "95% interval"]
        ]
        cells += [_difference_cells(row) for _, row in differences.iterrows()]
        lines += ["", *align_columns(cells)]
    return "\n".join(lines) + "\n"


def _bracketed_short(row: Any) -> str:
    return f"{format_digits(row['median'], 3)} ({format_digits(row['mean_deviation'], 2)})"


def _difference_cells(row: Any) -> list[str]:
    return [
        f"{label(row['strategy'])} - {label(row['reference'])}",
        f"{row['median_difference']:+.3f}",
        f"[{row['median_low']:+.3f}, {row['median_high']:+.3f}]",
        f"{row['mean_difference']:+.3f}",
        f"[{row['mean_low']:+.3f}, {row['mean_high']:+.3f}]",
    ]

"""Table 7: the Sharpe ratio by configuration and transfer dimension, from an ablation's run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from experiments.artefacts.columns import Column
from experiments.artefacts.items import Table
from experiments.papers.quantnet.measure import Measured
from experiments.papers.quantnet.published import DIMENSIONS, LABELS, join_published, read_published
from experiments.papers.quantnet.tables import STATISTICS, bracketed, in_paper, summary
from qn_env.errors import ConfigError


def ablation_column(options: Mapping[str, object]) -> str | None:
    """The column of Table 7 an agent belongs to; None if to none.

    Examples:
        >>> ablation_column({"encoder": "lstm", "decoder": "lstm", "transfer": "linear"})
        'LSTM-Linear'
        >>> ablation_column({"encoder": "linear", "decoder": "linear", "transfer": None})
        'No Transfer Linear'
    """
    words = {"lstm": "LSTM", "linear": "Linear"}
    encoder, decoder = options.get("encoder", "lstm"), options.get("decoder")
    transfer = options.get("transfer", "linear")
    if encoder not in words:
        return None
    if transfer in (None, "none"):
        return f"No Transfer {words[encoder]}"
    if decoder not in (None, encoder):
        return None
    return f"{words[encoder]}-{words[transfer]}" if transfer in words else None


def table_7(measured: Measured) -> Table:
    """Sharpe ratio by transfer dimension and configuration; No Transfer has no dimension, so it repeats."""
    by_cell, outside = _cells(measured)
    sharpe = measured.of("sharpe")
    rows = []
    for N in sorted({*DIMENSIONS, *(N for _, N in by_cell)}):
        for column in _columns():
            agent = by_cell.get((column, N), "")
            figures = summary(sharpe[agent] if agent else pd.Series(dtype=np.float64))
            seeds = len(measured.seeds[agent]) if agent else 0
            rows.append({"dimension": N, "configuration": column, "agent": agent, "seeds": seeds, **figures})
    data = join_published(pd.DataFrame(rows), "table7", ["configuration", "dimension"])
    return Table(
        name="table7",
        title="Table 7",
        caption="Sharpe ratio over all assets by transfer dimension N and configuration (encoder and "
        "decoder - transfer layer), mean with standard deviation and median with mean absolute deviation, "
        f"{measured.basis}." + (f" Not of its shape: {', '.join(outside)}." if outside else ""),
        data=data,
        shown=_shown_7(data),
    )


def _columns() -> list[str]:
    """The configurations in the order of the paper's columns."""
    return list(read_published("table7")["configuration"].unique())


def _cells(measured: Measured) -> tuple[dict[tuple[str, int], str], list[str]]:
    """The agent of every cell, and agents that belong to none.

    Raises:
        ConfigError: two agents of one cell.
    """
    by_cell: dict[tuple[str, int], str] = {}
    outside = []
    for agent in measured.agents:
        made = measured.record["agents"].get(agent)
        column, dimension = _place_in_7(agent, (made and made.get("options")) or {})
        if column is None:
            outside.append(agent)
            continue
        for N in DIMENSIONS if column.startswith("No Transfer") else (dimension,):
            other = by_cell.setdefault((column, N), agent)
            if other != agent:
                raise ConfigError(
                    f"Table 7: {other!r} and {agent!r} are both {column} with N = {N}, expected one agent a "
                    "cell. Leave one out of the ablation's run."
                )
    return by_cell, outside


def _place_in_7(agent: str, options: Mapping[str, object]) -> tuple[str | None, int]:
    if not options and agent in ("no-transfer-linear", "no-transfer-lstm"):
        return LABELS[agent], 0
    dimension = options.get("dimension")
    return ablation_column(options), dimension if isinstance(dimension, int) else DIMENSIONS[0]


def _shown_7(data: pd.DataFrame) -> pd.DataFrame:
    """Statistics and dimensions down, the paper's own figures below ours, configurations across."""
    rows = []
    for words, shown in STATISTICS.items():
        lines = (Column(words, shown, bracketed), Column(f"{words}, paper", in_paper(shown), bracketed))
        for N, own in data.groupby("dimension"):
            rows += [[line.heading, f"{N}", *line.text(own)] for line in lines]
    return pd.DataFrame(rows, columns=["Statistic", "N", *_columns()])

"""The supplement's test blocks: every block by itself, and mean with standard deviation across them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from experiments.artefacts.items import Table
from experiments.artefacts.numbers import format_value
from experiments.papers.dmn.measure import Measured, metrics
from experiments.papers.dmn.published import METRICS, label
from experiments.papers.dmn.scores import mean_known


def blocks(measured: Measured) -> pd.DataFrame:
    """Supplement: one row per agent and test block, the metrics of Exhibit 2 on the block's days alone."""
    rows = []
    for agent in measured.agents:
        for window in np.unique(measured.windows):
            days = measured.windows == window
            by_seed = metrics(measured.raw[agent].on(days), 0.0)
            rows.append(
                {"agent": agent, "label": label(agent), "window": str(window), "days": int(days.sum())}
                | {metric.name: mean_known(by_seed[metric.name]) for metric in METRICS}
            )
    return pd.DataFrame(rows)


def blocks_tables(measured: Measured) -> list[Table]:
    """Supplement: the blocks one by one, and mean with standard deviation across them."""
    data = blocks(measured)
    by_agent = data.groupby(["agent", "label"], sort=False)[[metric.name for metric in METRICS]]
    mean, spread = by_agent.mean(), by_agent.std()
    cells = {
        metric.title: _paired(mean[metric.name], spread[metric.name], "{} ({})", metric.form, metric.form)
        for metric in METRICS
    }
    names = mean.index.get_level_values("label")
    windows = [str(window) for window in np.unique(measured.windows)]
    wide = data.assign(cell=_paired(data["ann_return"], data["sharpe"], "{}, {}", ".1%", ".2f")).pivot(
        index="label", columns="window", values="cell"
    )
    many = f"{len(windows)} test block{'s' * (len(windows) > 1)}"
    across = mean.join(spread.add_suffix("_sd")).reset_index().assign(blocks=len(windows))
    return [
        Table(
            name="supplement-blocks",
            title="Supplement, across test blocks",
            caption=f"Mean (standard deviation) across the {many} of the raw portfolio's metrics, each block "
            "by itself, before costs, mean over seeds.",
            data=across,
            shown=pd.DataFrame({"Strategy": names, **cells}),
        ),
        Table(
            name="supplement-windows",
            title="Supplement, block by block",
            caption="Expected return and Sharpe ratio of the raw portfolio in each test block, before costs.",
            data=data,
            shown=wide.loc[names, windows]
            .reset_index()
            .set_axis(["Strategy", *(window or "all" for window in windows)], axis=1),
        ),
    ]


def _paired(left: pd.Series[float], right: pd.Series[float], text: str, *forms: str) -> list[str]:
    """Two figures a cell."""
    pairs = zip(left, right, strict=True)
    return [text.format(*map(format_value, pair, forms)) for pair in pairs]

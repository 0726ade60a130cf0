"""What was charged, and figures by how dear assets are to trade."""

from __future__ import annotations

import pandas as pd

from experiments.artefacts.items import Table
from experiments.artefacts.numbers import format_value
from experiments.artefacts.thirds import thirds_table
from experiments.results.run import Run
from experiments.results.thirds import thirds_of
from experiments.settings.config import MARKET

CHARGED, THIRDS = "charged", "thirds"  # names of the tables


def spread_tables(run: Run) -> list[Table]:
    """What was charged by market, and Sharpe ratios by thirds; none where the data say no costs."""
    costs = run.stored.asset_costs()
    if costs is None or MARKET not in run.levels:
        return []
    thirds = thirds_of(run.stored.results(), costs)
    agents = list(run.ranking(run.headline)["agent"])
    return [_charged(costs), *([thirds_table(*thirds, agents)] if thirds is not None else [])]


def _charged(costs: pd.DataFrame) -> Table:
    rows = costs.groupby("market", sort=False)["bps"].agg(["count", "min", "median", "max"]).reset_index()
    shown = [
        {
            "Market": row["market"],
            "Assets": f"{row['count']}",
            "Cheapest": format_value(row["min"], ".2f"),
            "Median": format_value(row["median"], ".2f"),
            "Dearest": format_value(row["max"], ".2f"),
        }
        for row in rows.to_dict("records")
    ]
    return Table(
        name=CHARGED,
        title="What was charged",
        caption="Half spread and commission in basis points of what is traded, by market: the mean over each "
        "asset's test days. At this level fees of holding come on top, where the data say them.",
        data=costs,
        shown=pd.DataFrame(shown),
    )

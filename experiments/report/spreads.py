"""What was charged, and figures by how dear assets are to trade: an edge that sits in dear assets is none."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from experiments.artefacts.items import Table
from experiments.artefacts.numbers import format_digits, format_value
from experiments.results.books import at_level
from experiments.results.run import Run
from experiments.settings.config import EXECUTIONS, IN_SHORT, MARKET

CHARGED, THIRDS = "charged", "thirds"  # names of the tables
NAMES = ("cheap", "middling", "dear")
FEWEST = 6  # assets with a cost, two in each third


def spread_tables(run: Run) -> list[Table]:
    """What was charged by market, and Sharpe ratios by thirds; none where the data say no costs."""
    costs = run.stored.asset_costs()
    if costs is None or MARKET not in run.levels:
        return []
    thirds = _thirds(run, costs) if len(costs) >= FEWEST else None
    return [_charged(costs), *([thirds] if thirds is not None else [])]


def third_of(costs: pd.DataFrame) -> pd.Series:
    """By (market, asset), whether it is among the cheapest third, the middling or the dear ones.

    Examples:
        >>> bps = pd.DataFrame({"market": "M", "asset": list("abc"), "bps": [9.0, 1.0, 2.0]})
        >>> third_of(bps).tolist()
        ['dear', 'cheap', 'middling']
    """
    ordered = costs.sort_values(["bps", "market", "asset"], kind="stable").index
    place = pd.Series(np.arange(len(costs)) * len(NAMES) // len(costs), index=ordered).sort_index()
    index = pd.MultiIndex.from_frame(costs[["market", "asset"]])
    return pd.Series([NAMES[number] for number in place], index=index)


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


def _thirds(run: Run, costs: pd.DataFrame) -> Table:
    """Mean Sharpe ratio of the assets of each third after their own costs, late and on time."""
    third = third_of(costs)
    rows = at_level(run.stored.results(), MARKET)
    rows = rows[(rows["metric"] == "sharpe") & (rows["asset"] != "*") & (rows["market"] != "*")]
    names = ["agent", "execution", "market", "asset"]
    own = rows.groupby(names, sort=False)["value"].mean().reset_index()  # over seeds
    own["third"] = third.reindex(pd.MultiIndex.from_frame(own[["market", "asset"]])).to_numpy()
    data = own.groupby(["agent", "execution", "third"])["value"].mean().rename("sharpe").reset_index()
    value = data.set_index(["agent", "execution", "third"])["sharpe"]
    shown = [
        {"Agent": agent}
        | {
            f"{name.capitalize()}, {IN_SHORT[execution]}": format_value(
                float(value.get((agent, execution, name), np.nan)), ".2f"
            )
            for execution in EXECUTIONS
            for name in NAMES
        }
        for agent in run.ranking(run.headline)["agent"]
    ]
    ends = costs.assign(third=third.to_numpy()).groupby("third")["bps"].agg(["min", "max"])
    least, most = (ends[end].map(partial(format_digits, digits=2)) for end in ("min", "max"))
    told = [f"{name} {least[name]} to {most[name]} bp" for name in NAMES]
    return Table(
        name=THIRDS,
        title="By how dear assets are to trade",
        caption="Mean Sharpe ratio of single assets after their own costs, late and on time, by thirds of "
        f"what trading costs ({', '.join(told)}). What is earned in the dear third alone, or there on time "
        "alone, is no edge.",
        data=data,
        shown=pd.DataFrame(shown),
    )

"""Sharpe ratios by how dear assets are to trade: an edge that sits in dear assets is none."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.results.books import at_level
from experiments.results.tables import ALL
from experiments.settings.config import MARKET

NAMES = ("cheap", "middling", "dear")
FEWEST = 6  # assets with a cost, two in each third


class Thirds(NamedTuple):
    """Sharpe ratios of the assets of each third.

    Attributes:
        sharpe: agent, execution, third and sharpe: the mean over the third's assets and the seeds, after each
            asset's own costs.
        bps: index third, columns min and max: what trading its assets costs, basis points.
    """

    sharpe: pd.DataFrame
    bps: pd.DataFrame


def thirds_of(results: pd.DataFrame, costs: pd.DataFrame | None) -> Thirds | None:
    """The thirds of a run; None where the data do not say what each asset costs, or of too few.

    Args:
        results: the run's tidy table.
        costs: market, asset, bps.
    """
    if costs is None or len(costs) < FEWEST:
        return None
    third = third_of(costs)
    rows = at_level(results, MARKET)
    rows = rows[(rows["metric"] == "sharpe") & (rows["asset"] != ALL) & (rows["market"] != ALL)]
    names = ["agent", "execution", "market", "asset"]
    own = rows.groupby(names, sort=False)["value"].mean().reset_index()  # over seeds
    own["third"] = third.reindex(pd.MultiIndex.from_frame(own[["market", "asset"]])).to_numpy()
    mean = own.groupby(["agent", "execution", "third"])["value"].mean().rename("sharpe").reset_index()
    bps = costs.assign(third=third.to_numpy()).groupby("third")["bps"].agg(["min", "max"])
    return Thirds(mean, bps.reindex(NAMES))


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

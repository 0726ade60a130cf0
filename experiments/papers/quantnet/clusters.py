"""Figures 2 and 13: markets grouped by what their encoders say, with Ward's (1963) linkage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from qn_env.arrays import FloatArray
from qn_env.errors import DataError

N_CLUSTERS = 6  # the paper's


class Clusters(NamedTuple):
    """Markets M in a tree.

    Attributes:
        markets: M names, in the order of the tree's leaves.
        cluster: M numbers from 1, in the same order; leaves of one cluster are neighbours.
        linkage: [M - 1, 4] scipy's linkage matrix over `scores` in their own order.
        threshold: height of the cut that leaves these clusters.
    """

    markets: tuple[str, ...]
    cluster: tuple[int, ...]
    linkage: FloatArray
    threshold: float


def cluster(scores: Mapping[str, FloatArray], most: int = N_CLUSTERS) -> Clusters:
    """Group markets by their mean encoder scores; with fewer than `most` markets, each is its own.

    Args:
        scores: market to [N] mean encoder output over its test days.
        most: number of clusters.

    Raises:
        DataError: fewer than two markets, or scores that are not finite vectors of one length.
    """
    from scipy.cluster.hierarchy import fcluster, leaves_list, linkage

    names = list(scores)
    points = _points(scores)
    tree = linkage(points, method="ward", optimal_ordering=True)
    k = min(most, len(names))
    labels, leaves = fcluster(tree, k, criterion="maxclust"), leaves_list(tree)
    numbers = {label: i + 1 for i, label in enumerate(dict.fromkeys(labels[leaves].tolist()))}
    heights = np.concatenate([[0.0], tree[:, 2]])
    count = len(numbers)  # equal heights can leave fewer
    low, high = heights[len(names) - count], heights[min(len(names) - count + 1, len(names) - 1)]
    return Clusters(
        tuple(names[i] for i in leaves),
        tuple(numbers[label] for label in labels[leaves].tolist()),
        tree,
        float((low + high) / 2.0),
    )


def cluster_table(clusters: Clusters, places: pd.DataFrame) -> pd.DataFrame:
    """Region, country, market and cluster, by cluster.

    Args:
        clusters: the clusters.
        places: index market, columns region and country.
    """
    table = places.loc[list(clusters.markets), ["region", "country"]].rename_axis("market").reset_index()
    table["cluster"] = clusters.cluster
    ordered = table.sort_values(["cluster", "country", "market"], kind="stable", ignore_index=True)
    return ordered[["cluster", "country", "market", "region"]]


def _points(scores: Mapping[str, FloatArray]) -> FloatArray:
    """[M, N] scores, checked."""
    if len(scores) < 2:
        raise DataError(f"encoder scores: {len(scores)} market, expected at least two to cluster.")
    first = next(iter(scores))
    shape = np.shape(scores[first])
    for market, score in scores.items():
        if np.ndim(score) != 1 or np.shape(score) != shape or not np.isfinite(score).all():
            raise DataError(
                f"encoder scores: market {market!r} has shape {np.shape(score)} with "
                f"{int((~np.isfinite(score)).sum())} values that are not finite; expected as many finite "
                f"numbers as market {first!r}, {shape}."
            )
    return np.stack([np.asarray(score, dtype=np.float64) for score in scores.values()])

"""Paired comparisons of agents across assets, corrected for how many there are."""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
import pandas as pd

from qn_env.arrays import FloatArray
from qn_env.errors import ConfigError
from qn_env.multiple_tests import holm


def paired_tests(scores: pd.DataFrame, *, against: str | None = None) -> pd.DataFrame:
    """Compare agents by their scores on the same assets: Wilcoxon signed-rank and Kolmogorov-Smirnov.

    Both take assets for independent. Strategies on correlated assets are not, and p-values are then too
    small: `sharpe_difference` makes no such assumption. Kolmogorov-Smirnov compares the two distributions
    of scores; it ignores the pairing, which costs power.

    Args:
        scores: one row per asset, one column per agent; NaN where undefined.
        against: the one agent that all others are compared with; default: every pair.

    Returns:
        One row per pair: `left`, `right`; `assets` with both scores and how many were `left_out`; the
        median of left - right; two-sided p-values `wilcoxon` and `ks`, and the same after Holm over all rows.
    """
    agents = [str(name) for name in scores.columns]
    if against is not None and against not in agents:
        raise ConfigError(f"against: {against!r} is none of the agents {', '.join(agents)}.")
    pairs = combinations(agents, 2) if against is None else ((a, against) for a in agents if a != against)
    columns = dict(zip(agents, scores.to_numpy(dtype=np.float64).T, strict=True))
    table = pd.DataFrame(
        [{"left": a, "right": b, **_compare(columns[a], columns[b])} for a, b in pairs],
        columns=["left", "right", "assets", "left_out", "median_difference", "wilcoxon", "ks"],
    )
    for test in ("wilcoxon", "ks"):
        table[f"{test}_holm"] = holm(table[test].to_numpy(dtype=np.float64))
    return table


def _compare(left: FloatArray, right: FloatArray) -> dict[str, float]:
    both = np.isfinite(left) & np.isfinite(right)
    counts: dict[str, float] = {"assets": int(both.sum()), "left_out": int((~both).sum())}
    if not both.any():
        return counts | {"median_difference": np.nan, "wilcoxon": np.nan, "ks": np.nan}
    left, right = left[both], right[both]
    return counts | {
        "median_difference": float(np.median(left - right)),
        "wilcoxon": _wilcoxon(left, right),
        "ks": _kolmogorov_smirnov(left, right),
    }


def _wilcoxon(left: FloatArray, right: FloatArray) -> float:
    from scipy.stats import wilcoxon

    if (left == right).all():
        return 1.0  # nothing to rank: SciPy divides by zero
    return float(wilcoxon(left, right).pvalue)


def _kolmogorov_smirnov(left: FloatArray, right: FloatArray) -> float:
    from scipy.stats import ks_2samp

    with warnings.catch_warnings():
        # The exact p-value of few assets may miss [0, 1] by rounding; SciPy then takes the asymptotic one.
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(ks_2samp(left, right).pvalue)

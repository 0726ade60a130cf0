"""Numbers that are no simple returns: per cent, prices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qn_env.arrays import FloatArray
from qn_env.panel_audit.histories import History, median
from qn_env.panel_audit.report import Finding
from qn_env.panel_audit.sums import dots, ratio

LEAST = 20  # returns before anything is said of an asset
PER_CENT = 0.1  # a median absolute return of a tenth: the wildest daily series have 0.03
LEVELS = 0.9  # autocorrelation of returns that only levels have
# All returns positive, or as persistent as levels: a deposit has that, too, but does not earn 0.2% a day.
DEPOSIT = 0.002


def wrong_units(history: History) -> Iterator[Finding]:
    """Assets whose returns are prices or per cent: any figure made of them is without meaning."""
    returns, assets = history.returns, history.market.assets
    size = median(np.abs(returns), axis=0)
    lowest = np.where(np.isfinite(returns), returns, np.inf).min(axis=0, initial=np.inf)
    persistence = _autocorrelation(returns)
    for j in np.flatnonzero((history.counts >= LEAST) & (size > DEPOSIT)):
        days = history.dates[history.rows[[0, history.counts[j] - 1], j]]
        count = int(history.counts[j])
        if lowest[j] > 0.0 or persistence[j] > LEVELS:
            kind, why = (
                "prices as returns",
                f"lowest return {lowest[j]:g}, autocorrelation {persistence[j]:.2f}",
            )
        elif size[j] > PER_CENT:
            kind, why = "percent", f"half of the returns exceed {size[j]:.0%} either way"
        else:
            continue
        yield Finding(kind, history.market.name, (assets[j],), str(days[0]), str(days[1]), count, why)


def _autocorrelation(returns: FloatArray) -> FloatArray:
    """[n] of neighbouring returns [L, n], about their mean; NaN where they do not vary."""
    present = np.isfinite(returns)
    count = np.maximum(present.sum(axis=0), 1)
    mean = np.where(present, returns, 0.0).sum(axis=0) / count
    spread = np.where(present, returns - mean, 0.0)
    return ratio(dots(spread[1:], spread[:-1]), dots(spread, spread))

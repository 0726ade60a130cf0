"""Series that are there twice, within a market or between two."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qn_env.arrays import FloatArray
from qn_env.panel import Panel
from qn_env.panel_audit.report import Finding
from qn_env.panel_audit.sums import dots

SPAN = 250  # dates that are compared at a time
TOGETHER = 200  # of them on which both have a return
MOVES = 60  # on which both move, before they are called one
ONE = 0.9995  # correlation: two share classes of one company have up to 0.999
# The first look is in single precision, about means of each series' own days and not of the days in common.
CANDIDATE = 0.998


def duplicates(panel: Panel) -> Iterator[Finding]:
    """Pairs of assets that correlate above 0.9995 over 250 days."""
    alike: dict[tuple[int, int], list[tuple[int, int, float]]] = {}
    T = len(panel.dates)
    # The last span reaches back to be a whole one.
    begins = [*range(0, T - SPAN, SPAN), max(T - SPAN, 0)]
    for begin in begins:
        end = min(begin + SPAN, T)
        for i, j, correlation in _pairs(panel.returns[begin:end]):
            alike.setdefault((i, j), []).append((begin, end, correlation))
    for (i, j), spans in sorted(alike.items()):
        markets = panel.market_of[i], panel.market_of[j]
        one = markets[0] == markets[1]
        names = tuple(panel.assets[k] if one else f"{panel.market_of[k]}/{panel.assets[k]}" for k in (i, j))
        correlation = min(span[2] for span in spans)
        days = len({row for begin, end, _ in spans for row in range(begin, end)})
        yield Finding(
            "duplicate",
            markets[0] if one else None,
            names,
            str(panel.dates[spans[0][0]]),
            str(panel.dates[spans[-1][1] - 1]),
            days,
            f"correlation {correlation:.5f} over {days} days",
        )


def _pairs(returns: FloatArray) -> Iterator[tuple[int, int, float]]:
    """Pairs of columns of [SPAN, N] that are one series."""
    present = np.isfinite(returns)
    enough = np.flatnonzero(
        (present.sum(axis=0) >= TOGETHER) & ((np.nan_to_num(returns) != 0.0).sum(axis=0) >= MOVES)
    )
    if len(enough) < 2:
        return
    near = np.argwhere(np.triu(_correlations(returns[:, enough]) > CANDIDATE, k=1))
    for a, b in near:
        i, j = int(enough[a]), int(enough[b])
        both = present[:, i] & present[:, j]
        x, y = returns[both, i], returns[both, j]
        if both.sum() < TOGETHER or ((x != 0.0) & (y != 0.0)).sum() < MOVES:
            continue
        correlation = float(np.corrcoef(x, y)[0, 1])
        if correlation > ONE:
            yield i, j, correlation


def _correlations(returns: FloatArray) -> NDArray[np.float32]:
    """[n, n] of columns [T, n] on the days that two have in common, in single precision."""
    present = np.isfinite(returns)
    mean = np.where(present, returns, 0.0).sum(axis=0) / present.sum(axis=0)
    spread = np.where(present, returns - mean, 0.0)
    length = np.sqrt(dots(spread, spread))
    scaled = (spread / np.where(length > 0.0, length, 1.0)).astype(np.float32)
    correlations: NDArray[np.float32] = scaled.T @ scaled
    if not present.all():
        # A day that one of the two lacks counts for neither.
        common = (scaled**2).T @ present.astype(np.float32)
        correlations /= np.sqrt(np.maximum(common * common.T, np.finfo(np.float32).tiny))
    return correlations

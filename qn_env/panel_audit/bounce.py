"""Own autocorrelation that sits in assets which are stale or dear to trade: there, and not to be had."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from qn_env.arrays import DateArray, FloatArray, IntArray
from qn_env.multiple_tests import holm
from qn_env.panel import Market
from qn_env.panel_audit.histories import History
from qn_env.panel_audit.report import Finding
from qn_env.panel_audit.sums import dots, ratio

LEVEL = 0.05  # of all assets of a market together
NOTABLE = 0.05  # an autocorrelation that a figure shows
STALE = 0.05  # share of returns that are exactly 0
DEAR = 2.0  # times the panel's median cost
TWICE = 2.0  # the others' autocorrelation, below which it is the market's own
WIDEST = 5.0  # robust deviations at which returns are clipped before they are multiplied


class OwnAutocorrelation(NamedTuple):
    """Assets' lag-1 autocorrelation, and how liquid they look; arrays [n].

    Attributes:
        coefficient: of returns in robust deviations, clipped at 5.
        ratio: its t-ratio: the products' sum over the root of their squares, so that volatility that
            changes does not feign evidence.
        zeros: share of returns that are exactly 0, a measure of the costs of trading by itself (Lesmond,
            Ogden and Trzcinka 1999).
        roll_bps: half the spread that would make the covariance of neighbouring returns (Roll 1984).
        first: row of the panel of the first return.
        last: and of the last.
        n_returns: how many.
    """

    coefficient: FloatArray
    ratio: FloatArray
    zeros: FloatArray
    roll_bps: FloatArray
    first: IntArray
    last: IntArray
    n_returns: IntArray

    @classmethod
    def of(cls, history: History) -> OwnAutocorrelation:
        """Measure the assets of a history."""
        returns, counts = history.returns, history.counts
        n, some = len(counts), np.maximum(counts, 1)
        if not len(returns):
            none, never = np.full(n, np.nan), np.zeros(n, dtype=np.intp)
            return cls(none, none, none, none, never, never, counts)
        scaled = np.clip(returns / history.usual, -WIDEST, WIDEST)
        present = np.isfinite(scaled)
        mean = np.where(present, scaled, 0.0).sum(axis=0) / some
        spread = np.where(present, scaled - mean, 0.0)
        products = spread[1:] * spread[:-1]
        sums, squares = products.sum(axis=0), dots(spread, spread)
        error = np.sqrt(dots(products, products))
        plain = np.where(np.isfinite(returns), returns, 0.0)
        covariance = dots(plain[1:], plain[:-1]) / some
        return cls(
            coefficient=ratio(sums, squares),
            ratio=ratio(sums, error),
            zeros=(returns == 0.0).sum(axis=0) / some,
            roll_bps=1e4 * np.sqrt(np.maximum(-covariance, 0.0)),
            first=history.rows[0],
            last=history.rows[some - 1, np.arange(n)],
            n_returns=counts,
        )


def bounce(
    market: Market,
    dates: DateArray,
    parts: Sequence[OwnAutocorrelation],
    cost_bps: FloatArray | None,
    typical_bps: float,
) -> Iterator[Finding]:
    """A market's own autocorrelations, where they sit in assets that are stale or dear to trade.

    Args:
        market: whose assets they are.
        dates: [T] of the panel.
        parts: its assets in parts, which together are all.
        cost_bps: [n] what trading costs, or None.
        typical_bps: the panel's median of it.
    """
    from scipy.special import ndtr

    own = OwnAutocorrelation(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
    clear = holm(2.0 * ndtr(-np.abs(own.ratio))) < LEVEL
    notable = clear & (np.abs(own.coefficient) >= NOTABLE)
    illiquid = own.zeros >= STALE
    if cost_bps is not None:
        illiquid |= cost_bps >= DEAR * typical_bps
    sits = np.flatnonzero(illiquid & notable)
    others = np.flatnonzero(~illiquid & np.isfinite(own.coefficient))
    if not len(sits):
        return
    here = float(own.coefficient[sits].mean())
    elsewhere = float(own.coefficient[others].mean()) if len(others) else 0.0
    if abs(here) < TWICE * abs(elsewhere):
        return  # the market's own, and not that of its illiquid assets
    sits = sits[np.argsort(-np.abs(own.coefficient[sits]), kind="stable")]
    detail = f"{here:+.2f} where {own.zeros[sits].mean():.0%} of the returns are 0"
    if cost_bps is not None and np.isfinite(cost_bps[sits]).any():
        detail += f" and trading costs {np.nanmean(cost_bps[sits]):.0f} bps"
    if len(others):
        detail += f", {elsewhere:+.2f} in the other {len(others)}"
    if here < 0.0:
        detail += f"; as a bid-ask bounce it is a half spread of {own.roll_bps[sits].mean():.0f} bps (Roll)"
    yield Finding(
        "own autocorrelation",
        market.name,
        tuple(market.assets[j] for j in sits),
        str(dates[own.first[sits].min()]),
        str(dates[own.last[sits].max()]),
        int(own.n_returns[sits].max()),
        detail,
    )

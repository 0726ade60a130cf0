"""A market's returns on each asset's own observations, and how large its moves usually are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qn_env.arrays import BoolArray, DateArray, FloatArray, IntArray
from qn_env.panel import Market, Panel

BLOCK = 63  # observations over which moves are alike: a quarter of daily bars
LEAST_MOVES = 20  # of a block, before it says what is usual
NORMAL = 1.4826  # standard deviation over median absolute deviation of a normal distribution


@dataclass(frozen=True, eq=False)
class History:
    """The returns of one market, each asset's observations brought to the top of its column.

    Attributes:
        market: whose they are.
        dates: [T] of the panel.
        returns: [L, n] simple returns, NaN below an asset's last one.
        rows: [L, n] the row of the panel of each.
        counts: [n] how many an asset has.
        moves: [B, n] robust standard deviation of returns other than 0 in each block of `BLOCK`
            observations: 1.4826 times their median absolute value; the asset's median where there are few.
    """

    market: Market
    dates: DateArray
    returns: FloatArray
    rows: IntArray
    counts: IntArray
    moves: FloatArray

    @property
    def usual(self) -> FloatArray:
        """[L, n] the robust deviation around each observation, at least half of the asset's median one."""
        floor = 0.5 * median(self.moves, axis=0)
        local = np.fmax(self.moves, floor[None, :])
        spread: FloatArray = np.repeat(local, BLOCK, axis=0)[: len(self.returns)]
        return spread

    def days(self, where: BoolArray, asset: int) -> DateArray:
        """The dates of an asset's observations that are marked in [L, n]."""
        days: DateArray = self.dates[self.rows[where[:, asset], asset]]
        return days


def history(panel: Panel, market: Market) -> History:
    """The market's history; an asset's first price, which has no return, is left out."""
    compact = market.compact(panel.returns)
    present = np.isfinite(compact)
    counts = present.sum(axis=0)
    longest = int(counts.max(initial=0))
    if present[len(compact) - longest :].all() and (counts == longest).all():  # nothing is ragged
        returns = compact[len(compact) - longest :]
        rows = np.broadcast_to(market.rows[len(compact) - longest :, None], returns.shape)
    else:
        order = np.argsort(~present, axis=0, kind="stable")[:longest]
        beyond = np.arange(longest)[:, None] >= counts
        returns = np.where(beyond, np.nan, np.take_along_axis(compact, order, axis=0))
        rows = market.rows[order]
    return History(market, panel.dates, returns, rows, counts, _moves(returns))


def in_blocks(values: FloatArray) -> FloatArray:
    """[B, BLOCK, n] of [L, n], the last block filled up with NaN."""
    missing = -len(values) % BLOCK
    padded = np.concatenate([values, np.full((missing, values.shape[1]), np.nan)]) if missing else values
    return padded.reshape(-1, BLOCK, values.shape[1])


def median(values: FloatArray, axis: int) -> FloatArray:
    """The lower median of what is finite along an axis, NaN where nothing is; NumPy's is slow."""
    count = np.isfinite(values).sum(axis=axis, keepdims=True)
    if not values.shape[axis]:
        return np.full(np.delete(values.shape, axis), np.nan)
    middle = np.take_along_axis(np.sort(values, axis=axis), np.maximum(count - 1, 0) // 2, axis)
    found: FloatArray = np.where(count > 0, middle, np.nan).squeeze(axis)
    return found


def _moves(returns: FloatArray) -> FloatArray:
    sizes = np.where(returns == 0.0, np.nan, np.abs(returns))
    blocks = in_blocks(sizes)
    found = NORMAL * median(blocks, axis=1)
    enough = np.isfinite(blocks).sum(axis=1) >= LEAST_MOVES
    found = np.where(enough, found, np.nan)
    overall = median(found, axis=0)
    if np.isnan(overall).any():  # no block has enough
        overall = np.where(np.isnan(overall), NORMAL * median(sizes, axis=0), overall)
    return np.where(np.isfinite(found), found, overall[None, :])

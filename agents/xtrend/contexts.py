"""Which context sequences a decision may look at: none that ended on its own day or later.

What an asset sees of others at t is what they were at t - 1 (directed delay): a sequence is looked at from
the day after the one on which its last next return was known.
"""

from __future__ import annotations

import numpy as np

from qn_env.arrays import IntArray

NONE = -1  # in place of a sequence where there are fewer


def context_sets(ended: IntArray, rows: IntArray, *, recent: int, earlier: int, renew: int) -> IntArray:
    """The context set of every row: the latest sequences, and some drawn from all before them.

    Args:
        ended: [P] ascending, the rows on which sequences ended; below 0, before the first row.
        rows: [R] rows, ascending.
        recent: how many of the latest.
        earlier: how many are drawn from those before.
        renew: rows after which these are drawn anew.

    Returns:
        [R, recent + earlier] numbers of sequences, the latest one first; `NONE` where there are fewer.
    """
    usable = np.searchsorted(ended, rows, side="left")  # those that ended before the row
    latest = usable[:, None] - 1 - np.arange(recent)
    blocks, which = np.unique(rows // renew, return_inverse=True)
    before = np.searchsorted(ended, blocks * renew, side="left") - recent
    drawn = [
        draw_earlier(int(block), int(among), earlier) for block, among in zip(blocks, before, strict=True)
    ]
    others = np.array(drawn, dtype=np.intp).reshape(len(blocks), earlier)[which]
    return np.concatenate([np.maximum(latest, NONE), others], axis=1)


def draw_earlier(block: int, among: int, count: int) -> IntArray:
    """[count] different numbers below `among`, drawn for one block of days; `NONE` where there are fewer."""
    chosen = np.full(count, NONE)
    if among > 0 and count > 0:
        found = np.random.default_rng([block, among]).choice(among, size=min(count, among), replace=False)
        chosen[: len(found)] = found
    return chosen

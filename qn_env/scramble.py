"""Other futures: the same panel up to a day, and other returns, halts and delistings after it."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from qn_env.arrays import BoolArray, FloatArray, read_only
from qn_env.panel import Panel

_LOWER, _UPPER = -0.9, 9.0  # bounds of a scrambled return
_SHOCK_DAYS = 5  # on which all returns have the sign of the shock; longer, and no price would survive


class Kind(NamedTuple):
    """One way to change the future."""

    magnitude: float  # the scrambled returns are multiplied with it
    shock: int  # sign of all returns in the first days; 0: each its own
    halted: float  # share of the observations taken away, beyond those `with_future_scrambled` takes
    delisted: float  # share of the assets open on the day that have no later observation


KINDS = (Kind(1.0, 0, 0.0, 0.0), Kind(4.0, -1, 0.3, 0.5), Kind(4.0, 1, 0.5, 0.3), Kind(0.02, 0, 0.3, 0.0))


def scramble(panel: Panel, day: np.datetime64, kind: Kind, chance: int) -> Panel:
    """The same panel up to `day`; after it other returns, fewer observations, some assets delisted.

    Every market keeps its calendar, in which the start of an account and a warm-up are counted.
    """
    rng = np.random.default_rng(chance)
    T, N = panel.shape
    row = int(np.searchsorted(panel.dates, day, side="right"))  # the first one to change
    values, tradable = _future(panel, day, rng)
    last = T - 1 - np.argmax(tradable[::-1], axis=0)
    gone = rng.random((T, N)) < kind.halted
    gone[last, np.arange(N)] = False
    leaves = panel.tradable[row - 1] & (rng.random(N) < kind.delisted)
    tradable[row:] &= ~(gone | leaves)[row:]
    _restore_calendar(panel, tradable, leaves)
    values[row:] *= kind.magnitude
    if kind.shock:
        values[row : row + _SHOCK_DAYS] = kind.shock * np.abs(values[row : row + _SHOCK_DAYS])
    values[row:] = values[row:].clip(_LOWER, _UPPER)
    return replace(panel, returns=read_only(np.where(tradable, values, np.nan)), tradable=read_only(tradable))


def _future(panel: Panel, day: np.datetime64, rng: np.random.Generator) -> tuple[FloatArray, BoolArray]:
    """Returns and observations of `with_future_scrambled` on the panel's own dates.

    The returns [T, N] have a value wherever the panel has one, also where the observation was taken away.
    """
    other = panel.with_future_scrambled(day, seed=int(rng.integers(2**32)))
    rows = np.searchsorted(panel.dates, other.dates)
    values = np.where(np.isfinite(panel.returns), rng.standard_normal(panel.shape) * 0.03, np.nan)
    tradable = np.zeros(panel.shape, dtype=bool)
    values[rows] = np.where(other.tradable, other.returns, values[rows])
    tradable[rows] = other.tradable
    return values, tradable


def _restore_calendar(panel: Panel, tradable: BoolArray, leaves: BoolArray) -> None:
    """Give, in place, every trading day a market has lost one observation back; of one that stays, if any."""
    for market in panel.markets.values():
        lost = market.rows[~market.compact(tradable).any(axis=1)]
        preferred = panel.tradable[lost, market.columns] * (2 - leaves[market.columns].astype(int))
        tradable[lost, market.columns.start + np.argmax(preferred, axis=1)] = True

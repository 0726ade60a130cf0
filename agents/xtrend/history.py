"""The days of a panel as X-Trend reads them: every asset's own, one asset behind the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qn_env.arrays import FloatArray, IntArray
from qn_env.features import Defined, EwVolatility, Feature, dmn_features
from qn_env.panel import Panel

# The eight inputs of Deep Momentum Networks, each 0 until it is defined, so that a young asset is served;
# whether the first of them is, the return of the day; and the daily volatility sigma_t.
_INPUTS = dmn_features()[:-1]

FEATURES: tuple[Feature, ...] = (*_INPUTS, Defined(_INPUTS[:1]), EwVolatility())
N_INPUTS = len(_INPUTS)
DEFINED, SIGMA = N_INPUTS, N_INPUTS + 1

# Next returns beyond so many standard deviations are read as so many; money is not.
LARGEST = 5.0


@dataclass(frozen=True, eq=False)
class History:
    """The days on which assets can be read, D in all: those of the first asset, then of the second, ...

    Attributes:
        inputs: [D, F] float32.
        label: [D] float32 the next own return over sigma_t, at most `LARGEST`; 0 where there is none yet.
        row: [D] of the union calendar.
        known: [D] the row on which the label is known, that of the asset's next own day; T where it is not.
        first: [N + 1] where each asset's days begin, and where the last one's end.
        days: T, rows of the union calendar.
    """

    inputs: FloatArray
    label: FloatArray
    row: IntArray
    known: IntArray
    first: IntArray
    days: int

    @classmethod
    def of(cls, panel: Panel) -> History:
        """The history of a panel."""
        T, N = panel.shape
        features = panel.features(FEATURES)
        active = panel.tradable & (features[..., DEFINED] > 0)
        asset, row = np.nonzero(active.T)
        following = _following(panel)[row, asset]
        there = following < T
        earned = panel.returns[following.clip(max=T - 1), asset]
        return cls(
            inputs=features[row, asset, :N_INPUTS].astype(np.float32),
            label=np.where(there, normalised(earned, features[row, asset, SIGMA]), 0.0).astype(np.float32),
            row=row,
            known=following,
            first=np.searchsorted(asset, np.arange(N + 1)),
            days=T,
        )

    @property
    def asset(self) -> IntArray:
        """[D] the column of each day's asset."""
        columns: IntArray = np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))
        return columns


def normalised(earned: FloatArray, sigma: FloatArray) -> FloatArray:
    """A return over the volatility of the day before, within +-`LARGEST`; 0 where it is not known."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: FloatArray = np.nan_to_num(earned / sigma, nan=0.0, posinf=LARGEST, neginf=-LARGEST)
    return ratio.clip(-LARGEST, LARGEST)


def _following(panel: Panel) -> IntArray:
    """[T, N] the asset's next own row behind each, T where there is none."""
    T = len(panel.dates)
    rows = np.where(panel.tradable, np.arange(T)[:, None], T)
    nearest = np.minimum.accumulate(rows[::-1], axis=0)[::-1]
    return np.concatenate([nearest[1:], np.full((1, panel.shape[1]), T)])

"""Sums over the days of many columns, and ratios of them."""

from __future__ import annotations

import numpy as np

from qn_env.arrays import FloatArray


def dots(one: FloatArray, other: FloatArray) -> FloatArray:
    """[n] sums over the days of products of [T, n]."""
    sums: FloatArray = np.einsum("tn,tn->n", one, other)
    return sums


def ratio(one: FloatArray, other: FloatArray) -> FloatArray:
    """[n] one over the other; NaN where that is not positive."""
    positive = other > 0.0
    return np.where(positive, one / np.where(positive, other, 1.0), np.nan)

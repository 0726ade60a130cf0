"""p-values of many tests at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qn_env.arrays import FloatArray


def holm(p_values: Sequence[float] | FloatArray) -> FloatArray:
    """p-values adjusted for their number (Holm 1979); NaN is no test and stays NaN.

    The i-th smallest of m is multiplied by m - i + 1, is no smaller than the one before, and at most 1.

    Examples:
        >>> print(holm([0.01, 0.04, 0.03]).round(2).tolist())
        [0.03, 0.06, 0.06]
    """
    adjusted = np.array(p_values, dtype=np.float64)
    tested = np.flatnonzero(np.isfinite(adjusted))
    order = tested[np.argsort(adjusted[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * adjusted[order]), 1.0)
    return adjusted

"""What arrays are called, wherever they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.intp]
DateArray = NDArray[np.datetime64]


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The same array, no longer writable."""
    array.setflags(write=False)
    return array

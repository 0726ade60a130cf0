"""What arrays are called, wherever they are, and what NumPy's and Torch's have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.intp]
DateArray = NDArray[np.datetime64]
Numbers = NDArray[Any]  # floats, whole numbers, True and False
Scalar = TypeVar("Scalar", bound=np.generic)  # what an array holds, where any will do

# Code that is written once for NumPy and Torch: all of a call's arrays are of the one kind or of the other.
Array = TypeVar("Array", FloatArray, "torch.Tensor")
Mask: TypeAlias = "BoolArray | torch.Tensor"
Index: TypeAlias = "IntArray | torch.Tensor"


class Product(Protocol[Array]):
    """Where the scalar product of vectors is."""

    def vecdot(self, one: Array, other: Array, /) -> Array:
        """Sums of products along the last axis."""


class Namespace(Product[Array], Protocol[Array]):
    """The functions that the one arithmetic takes from NumPy or from Torch."""

    linalg: Product[Array]  # where Torch has `vecdot`

    def where(self, mask: Mask, one: Array, other: Array, /) -> Array:
        """One where the mask is True, else the other."""

    def multiply(self, array: Array, mask: Mask, /) -> Array:
        """The array where the mask is True, else 0."""

    def sign(self, array: Array, /, *, out: Array | None = None) -> Array:
        """-1, 0 or 1."""

    def exp(self, array: Array, /) -> Array:
        """The exponential of each."""

    def log(self, array: Array, /) -> Array:
        """The natural logarithm of each."""

    def ones_like(self, array: Array, /) -> Array:
        """Ones of the same shape."""

    def full_like(self, array: Array, value: float, /) -> Array:
        """A number in the same shape."""

    def concatenate(self, arrays: tuple[Array, ...], /, axis: int = 0) -> Array:
        """Arrays one behind the other."""

    def take_along_axis(self, array: Array, rows: Index, axis: int, /) -> Array:
        """What NumPy has at the given places."""

    def take_along_dim(self, array: Array, rows: Index, axis: int, /) -> Array:
        """The same, as Torch calls it."""


def read_only(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """The same array, no longer writable."""
    array.setflags(write=False)
    return array

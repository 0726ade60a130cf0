"""What Torch lends a function whose derivative is written out, from its forward pass to its backward one."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Context(Protocol):
    """The first argument of both passes; Torch's own types do not say all that it has."""

    needs_input_grad: tuple[bool, ...]  # one for each argument behind the context
    saved_tensors: tuple[Tensor, ...]

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors; they come back as `saved_tensors`, None too."""

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Say of outputs that they have no gradient."""

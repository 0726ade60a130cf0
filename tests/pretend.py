"""A device that is none: tensors that say they are elsewhere, compute on the CPU, refuse what a card would.

Torch's own fake tensors compute nothing, so that no training, which asks for losses and counts days, can run
on them; and without a build for CUDA they cannot all be put on a card. These hold a tensor of the CPU and
claim the device meta. An operation on one of them and on a tensor of the CPU is refused as on a card, and so
are `.numpy()` and a generator of the CPU: a whole training finds every tensor that was made in the wrong
place, and its numbers can be held against those of the CPU. What it cannot find is what only a card does:
other kernels, other rounding.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only

ELSEWHERE = torch.device("meta")
LEARNERS = (
    "agents.ppo.agent",
    *("agents.dmn.agent", "agents.dmn.spatiotemporal", "agents.closed.agent"),
    *("agents.quantnet.agent", "agents.sb3.learner"),
)
aten = torch.ops.aten
# A card copies from and to the CPU, and takes indices from it.
COPIES = {aten.copy_.default, aten._to_copy.default}
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}


class Elsewhere(Tensor):
    """A tensor that claims to be on another device."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        made: Any = Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=ELSEWHERE,
        )
        made.held = held
        return made

    # With these two `nn.Module.to` exchanges what a parameter holds, as between real devices, and it stays
    # the parameter that an optimiser knows.
    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], about: None, size: Any, stride: Any) -> Elsewhere:
        return Elsewhere(inner["held"])

    def __repr__(self) -> str:
        return f"Elsewhere({self.held!r})"

    def tolist(self) -> Any:
        return self.held.tolist()

    def __getitem__(self, key: Any) -> Tensor:
        # Torch makes an index of a list where the tensor is, and on meta it would have no numbers.
        return super().__getitem__(torch.tensor(key) if isinstance(key, list) else key)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class Pretending(TorchDispatchMode):
    """Inside the block tensors can be made elsewhere; counts the operations that ran there."""

    def __init__(self) -> None:
        super().__init__()
        self.there = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = run(func, args, kwargs or {})
        self.there += isinstance(out, Elsewhere)
        return out


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation, on the CPU; its outputs are where a card would have them."""
    every = tree_flatten((args, kwargs))[0]
    given = [one for one in every if isinstance(one, Tensor)]
    there = [one for one in given if isinstance(one, Elsewhere)]
    here = [one for one in given if not isinstance(one, Elsewhere)]
    if any(one.is_meta for one in here):
        raise RuntimeError(f"{func}: a tensor without numbers, made where nobody pretends")
    takes_both = func in COPIES or (func in INDEXED and isinstance(args[0], Elsewhere))
    # A number without an axis is taken from wherever it is.
    if there and any(one.ndim for one in here) and not takes_both:
        raise RuntimeError(f"{func}: tensors on two devices, of shapes {[tuple(one.shape) for one in given]}")
    asked = kwargs.get("device")
    wanted = isinstance(args[0], Elsewhere) if func is aten.copy_.default else bool(there)
    if asked is not None:
        wanted, kwargs = torch.device(asked) == ELSEWHERE, {**kwargs, "device": torch.device("cpu")}
    if wanted and any(isinstance(one, torch.Generator) for one in every):
        raise RuntimeError(f"{func}: a generator of the CPU draws nothing elsewhere")
    inner_args, inner_kwargs = tree_map_only(Elsewhere, lambda one: one.held, (args, kwargs))
    out = func(*inner_args, **inner_kwargs)
    if func is aten._to_copy.default and out is inner_args[0]:
        out = out.clone()
    if not wanted:
        return out
    moved = tree_map_only(Tensor, Elsewhere, out)
    return return_and_correct_aliasing(func, args, kwargs, moved) if there else moved


def pretend(patch: pytest.MonkeyPatch) -> None:
    """Have every learner find its device elsewhere, whatever it is called."""
    for module in LEARNERS:
        patch.setattr(f"{module}.resolve", lambda name: ELSEWHERE)
    for name in ("tensor", "as_tensor"):  # on meta they would drop the numbers
        patch.setattr(torch, name, _moved(getattr(torch, name)))
    optimizer = import_module("torch.optim.optimizer")
    patch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: ["cpu", "meta"])


def _moved(make: Any) -> Any:
    def made(*args: Any, device: Any = None, **options: Any) -> Tensor:
        tensor = make(*args, **options)
        return tensor if device is None else tensor.to(device)

    return made

"""WaveNet's gated block over lagged rows (Lim, Zohren, Roberts 2019, Eq. 22), its derivatives written out.

Channels stand first and sequences last, [n, T, B]: rows of some days ago are then a view that a matrix
product takes as it is, and every gate is one contiguous block of memory. Automatic differentiation of the
plain composition copies the lagged rows beside each other, forward and backward, which costs about as much
as the products themselves.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qn_env.autograd import Context


def gated(rows: Tensor, weight: Tensor, bias: Tensor, lags: tuple[int, ...]) -> Tensor:
    """psi(u) = tanh(W u) * sigmoid(V u) + A u + b, u_t the rows at t and at each lag, the nearest first.

    Differentiable once.

    Args:
        rows: [m, T, B].
        weight: [3 n, m * len(lags)] W, V and A, one above the other.
        bias: [n].
        lags: days back, ascending.

    Returns:
        [n, T - max(lags), B], of the days that have all their lags.
    """
    outputs: Tensor = _Gated.apply(rows.contiguous(), weight, bias, lags)  # type: ignore[no-untyped-call]
    return outputs


def composed(rows: Tensor, weight: Tensor, bias: Tensor, lags: tuple[int, ...]) -> Tensor:
    """`gated` in plain PyTorch, differentiated by it."""
    pairs = zip(weight.chunk(len(lags), dim=1), _lag(rows.contiguous(), lags), strict=True)
    gates = torch.stack([part @ seen for part, seen in pairs]).sum(0)
    filtered, opened, skipped = gates.chunk(3)
    values = torch.tanh(filtered) * torch.sigmoid(opened) + skipped + bias[:, None]
    return values.view(len(bias), -1, rows.shape[2])


def _lag(rows: Tensor, lags: tuple[int, ...]) -> list[Tensor]:
    """[m, L * B] views of the rows, one for each lag."""
    L = rows.shape[1] - max(lags)
    return [rows[:, max(lags) - lag :][:, :L].flatten(1) for lag in lags]


class _LaggedContext(Context, Protocol):
    lags: tuple[int, ...]


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _LaggedContext, rows: Tensor, weight: Tensor, bias: Tensor, lags: tuple[int, ...]
    ) -> Tensor:
        n, B = len(bias), rows.shape[2]
        first, *others = zip(weight.chunk(len(lags), dim=1), _lag(rows, lags), strict=True)
        gates = torch.mm(*first)  # [3 n, L * B], turned into the gates in place
        for part, seen in others:
            gates.addmm_(part, seen)
        filtered, opened, skipped = gates.chunk(3)
        filtered.tanh_()
        opened.sigmoid_()
        ctx.save_for_backward(rows, weight, gates)
        ctx.lags = lags
        return torch.addcmul(skipped + bias[:, None], filtered, opened).view(n, -1, B)

    @staticmethod
    @once_differentiable
    def backward(ctx: _LaggedContext, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, gates = ctx.saved_tensors
        n = len(gates) // 3
        slope = gradient.contiguous().view(n, -1)
        filtered, opened, _ = gates.chunk(3)
        slopes = torch.empty_like(gates)
        to_filtered, to_opened, to_skipped = slopes.chunk(3)
        to_skipped.copy_(slope)
        torch.mul(slope, opened, out=to_filtered)
        torch.mul(to_filtered, filtered, out=to_opened)
        to_opened.addcmul_(to_opened, opened, value=-1.0)
        to_filtered.addcmul_(to_filtered, filtered.square(), value=-1.0)
        seen = _lag(rows, ctx.lags)
        d_weight = torch.cat([torch.mm(slopes, one.T) for one in seen], dim=1)
        d_rows = None
        if ctx.needs_input_grad[0]:
            d_rows = torch.zeros_like(rows)
            for part, into in zip(weight.chunk(len(ctx.lags), dim=1), _lag(d_rows, ctx.lags), strict=True):
                into.addmm_(part.T, slopes)
        return d_rows, d_weight, slope.sum(1), None

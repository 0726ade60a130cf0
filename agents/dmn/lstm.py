"""An LSTM with one dropout mask per sequence on its recurrent state (Gal and Ghahramani 2016).

No fused kernel takes such a mask, and automatic differentiation of a loop over days costs more than the
arithmetic. Here the inputs of all days are projected at once, a lean loop does what is left, and its
derivatives are written out. Assets stand side by side on the last axis, so that every gate is one contiguous
block of memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Our order of the gates, by their places in torch's (input, forget, candidate, output): candidate first, so
# that the three sigmoids are one block, and so are the three gates that the cell's slope reaches.
_ORDER = [2, 0, 1, 3]


def masked_lstm(
    lstm: nn.LSTM, inputs: Tensor, mask: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What `lstm` gives when its state h_{t-1} enters every gate times `mask` (scaled 0 or 1 / keep).

    Differentiable once, by weights and inputs; not by the mask nor by the state at the start.

    Args:
        lstm: one layer, one direction, batch first; its own weights are used.
        inputs: [B, L, F].
        mask: [B, H] one mask for all days of a sequence.
        hidden: [B, H] state before the first day.
        cell: [B, H] state before the first day.

    Returns:
        [B, L, H] hidden states, and both states [B, H] after the last day.
    """
    w, u, on_inputs, on_state = lstm.all_weights[0]
    found, last = _Recurrence.apply(  # type: ignore[no-untyped-call]
        inputs.permute(1, 2, 0).contiguous(),
        _ordered(w),
        _ordered(u),
        _ordered(on_inputs + on_state),
        mask.T.contiguous(),
        hidden.T.contiguous(),
        cell.T.contiguous(),
    )
    return found.permute(2, 0, 1), found[-1].T.detach(), last.T


def _ordered(weight: Tensor) -> Tensor:
    """[4 H, n] a weight of the four gates, or [4 H, 1] a bias, in our order."""
    gates = weight.reshape(4, weight.shape[0] // 4, -1)
    return gates[_ORDER].flatten(0, 1)


class _Recurrence(torch.autograd.Function):
    """Eqs. 28-33 with h_{t-1} masked; everything [L, ..., B]."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, w: Tensor, u: Tensor, bias: Tensor, mask: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor]:
        L, _, B = inputs.shape
        H = len(w) // 4
        gates = torch.matmul(w, inputs).add_(bias)  # [L, 4 H, B], turned into the gates in place
        cells = inputs.new_empty(L + 1, H, B)
        cells[0] = c
        masked, squashed, found = (inputs.new_empty(L, H, B) for _ in range(3))
        candidate, entered, forgotten, shown = (gates[:, k * H : (k + 1) * H].unbind(0) for k in range(4))
        whole, opened, cell = gates.unbind(0), gates[:, H:].unbind(0), cells.unbind(0)
        before, tanh, after = masked.unbind(0), squashed.unbind(0), found.unbind(0)
        for t in range(L):
            torch.mul(h, mask, out=before[t])
            whole[t].addmm_(u, before[t])
            candidate[t].tanh_()
            opened[t].sigmoid_()
            torch.mul(forgotten[t], cell[t], out=cell[t + 1]).addcmul_(entered[t], candidate[t])
            torch.tanh(cell[t + 1], out=tanh[t])
            h = torch.mul(shown[t], tanh[t], out=after[t])
        ctx.save_for_backward(inputs, w, u, mask, gates, cells, masked, squashed)
        last = cells[L].clone()
        ctx.mark_non_differentiable(last)
        return found, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _last: Tensor) -> tuple[Tensor | None, ...]:
        inputs, w, u, mask, gates, cells, masked, squashed = ctx.saved_tensors
        L, H, B = squashed.shape
        to_cell, to_gates = _slopes(gates, cells, squashed)
        slope = gradient.clone(memory_format=torch.contiguous_format)
        found = torch.empty_like(gates)
        d_u = torch.zeros_like(u)
        d_cell = inputs.new_zeros(H, B)
        d_h, cell_k = slope.unbind(0), to_cell.unbind(0)
        inner_k = to_gates[:, : 3 * H].view(L, 3, H, B).unbind(0)
        shown_k = to_gates[:, 3 * H :].unbind(0)
        whole, inner, shown = (
            found.unbind(0),
            found[:, : 3 * H].view(L, 3, H, B).unbind(0),
            found[:, 3 * H :].unbind(0),
        )
        forgotten, before = gates[:, 2 * H : 3 * H].unbind(0), masked.transpose(1, 2).unbind(0)
        back, d_before = u.T.contiguous(), torch.empty_like(d_cell)
        for t in range(L - 1, -1, -1):
            d_cell.addcmul_(d_h[t], cell_k[t])
            torch.mul(d_cell, inner_k[t], out=inner[t])
            torch.mul(d_h[t], shown_k[t], out=shown[t])
            d_u.addmm_(whole[t], before[t])
            if t:
                d_cell.mul_(forgotten[t])
                torch.mm(back, whole[t], out=d_before)
                d_h[t - 1].addcmul_(d_before, mask)
        d_inputs = torch.matmul(w.T, found) if ctx.needs_input_grad[0] else None
        d_w = torch.bmm(found, inputs.transpose(1, 2)).sum(0)
        return d_inputs, d_w, d_u, found.sum((0, 2))[:, None], None, None, None


def _slopes(gates: Tensor, cells: Tensor, squashed: Tensor) -> tuple[Tensor, Tensor]:
    """Of all days at once: d cell / d hidden [L, H, B], and by gate what its slope is multiplied with.

    The first three gates [L, 3 H, B] take it from the cell, the last from the hidden state.
    """
    H = squashed.shape[1]
    candidate, entered, _, shown = gates.chunk(4, dim=1)
    opened = gates[:, H:]
    to_gates = torch.empty_like(gates)
    torch.mul(opened, 1.0 - opened, out=to_gates[:, H:])
    torch.mul(
        entered,
        torch.addcmul(torch.ones_like(candidate), candidate, candidate, value=-1.0),
        out=to_gates[:, :H],
    )
    to_gates[:, H : 2 * H] *= candidate
    to_gates[:, 2 * H : 3 * H] *= cells[:-1]
    to_gates[:, 3 * H :] *= squashed
    to_cell = torch.addcmul(shown, shown * squashed, squashed, value=-1.0)
    return to_cell, to_gates

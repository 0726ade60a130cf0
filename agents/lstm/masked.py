"""An LSTM with one dropout mask per sequence on its recurrent state (Gal and Ghahramani 2016).

No fused kernel takes such a mask, and automatic differentiation of a loop over days costs more than the
arithmetic. Here a loop does only what has to follow day after day, and its derivatives are written out.
State, inputs and a one for the bias lie in one block, so that a day is one product of matrices. Assets stand
side by side on the last axis, so that every gate is one contiguous block of memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from qn_env.autograd import Context

# Our order of the gates, by their places in torch's (input, forget, candidate, output): candidate first, so
# that the three sigmoids are one block, and so are the three gates that the cell's slope reaches.
_ORDER = [2, 0, 1, 3]

# Of the gates whose slopes are made at once: few enough for the caches.
CHUNK = 2**18


class Masked(Protocol):
    """An LSTM that masks its own state, in place of torch's."""

    def masked(
        self, inputs: Tensor, mask: Tensor, hidden: Tensor, cell: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `masked_lstm`."""


def masked_lstm(
    lstm: nn.LSTM | Masked, inputs: Tensor, mask: Tensor, hidden: Tensor, cell: Tensor
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
    if not isinstance(lstm, nn.LSTM):
        return lstm.masked(inputs, mask, hidden, cell)
    states, last = _Recurrence.apply(  # type: ignore[no-untyped-call]
        inputs.permute(1, 2, 0),
        stack_weights(lstm.all_weights[0]),
        mask.T.contiguous(),
        hidden.T.contiguous(),
        cell.T.contiguous(),
    )
    return states.permute(2, 0, 1), states[-1].T.detach(), last.T


def stack_weights(weights: Sequence[Tensor]) -> Tensor:
    """[4 H, H + F + 1] state, inputs and bias of all gates side by side, from torch's own four arrays."""
    w, u, on_inputs, on_state = weights
    return torch.cat([_order_gates(u), _order_gates(w), _order_gates(on_inputs + on_state)], dim=1)


def _order_gates(weight: Tensor) -> Tensor:
    """[4 H, n] a weight of the four gates, or [4 H, 1] a bias, in our order."""
    gates = weight.reshape(4, weight.shape[0] // 4, -1)
    # Not `gates[_ORDER]`: a list becomes a tensor, which a device has to be sent.
    return torch.cat([gates[k] for k in _ORDER])


class _Recurrence(torch.autograd.Function):
    """Eqs. 28-33 with h_{t-1} masked; everything [L, ..., B]."""

    @staticmethod
    def forward(
        ctx: Context, inputs: Tensor, weights: Tensor, mask: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor]:
        L, F, B = inputs.shape
        H = len(h)
        seen = inputs.new_empty(L, H + F + 1, B)  # masked state, inputs, one: the columns of `weights`
        seen[:, H:-1] = inputs
        seen[:, -1] = 1.0
        gates, cells = inputs.new_empty(L, 4 * H, B), inputs.new_empty(L + 1, H, B)
        cells[0] = c
        squashed, hidden = (inputs.new_empty(L, H, B) for _ in range(2))
        candidate, entered, forgotten, shown = (gates[:, k * H : (k + 1) * H].unbind(0) for k in range(4))
        whole, cell = gates.unbind(0), cells.unbind(0)
        known, before = seen.unbind(0), seen[:, :H].unbind(0)
        tanh, after = squashed.unbind(0), hidden.unbind(0)
        # tanh(x) = 2 sigmoid(2 x) - 1: a sixth of the time of torch's own, and the same to an absolute 1e-7.
        doubled, minus = weights.clone(), -torch.ones_like(h)
        doubled[:H] *= 2.0
        for t in range(L):
            torch.mul(h, mask, out=before[t])
            torch.mm(doubled, known[t], out=whole[t]).sigmoid_()
            torch.add(minus, candidate[t], alpha=2.0, out=candidate[t])
            torch.mul(forgotten[t], cell[t], out=cell[t + 1]).addcmul_(entered[t], candidate[t])
            torch.add(cell[t + 1], cell[t + 1], out=tanh[t]).sigmoid_()
            torch.add(minus, tanh[t], alpha=2.0, out=tanh[t])
            h = torch.mul(shown[t], tanh[t], out=after[t])
        ctx.save_for_backward(weights, mask, gates, cells, seen, squashed)
        last = cells[L].clone()
        ctx.mark_non_differentiable(last)
        return hidden, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, gradient: Tensor, _last: Tensor) -> tuple[Tensor | None, ...]:
        weights, mask, gates, cells, seen, squashed = ctx.saved_tensors
        L, H, B = squashed.shape
        d_weights, d_cell = weights.new_zeros(weights.T.shape), mask.new_zeros(H, B)
        d_h = gradient.clone(memory_format=torch.contiguous_format).unbind(0)
        forgotten, known = gates[:, 2 * H : 3 * H].unbind(0), seen.unbind(0)
        to_state, d_before = weights[:, :H].T.contiguous(), torch.empty_like(d_cell)
        to_inputs, d_inputs = weights[:, H:-1].T, None
        if ctx.needs_input_grad[0]:
            d_inputs = seen.new_empty(L, len(to_inputs), B)
        days = max(CHUNK // gates[0].numel(), 1)
        for end in range(L, 0, -days):
            begin = max(end - days, 0)
            some = slice(begin, end)
            to_cell, d_gates = slopes(gates[some], cells[some], squashed[some])
            cell, whole, shown = to_cell.unbind(0), d_gates.unbind(0), d_gates[:, 3 * H :].unbind(0)
            inner = d_gates[:, : 3 * H].view(-1, 3, H, B).unbind(0)
            turned = d_gates.transpose(1, 2).unbind(0)
            for k in range(end - begin - 1, -1, -1):
                t = begin + k
                d_cell.addcmul_(d_h[t], cell[k])
                inner[k].mul_(d_cell)
                shown[k].mul_(d_h[t])
                d_weights.addmm_(known[t], turned[k])  # this way round it is the faster product
                if t:
                    d_cell.mul_(forgotten[t])
                    torch.mm(to_state, whole[k], out=d_before)
                    d_h[t - 1].addcmul_(d_before, mask)
            if d_inputs is not None:
                d_inputs[some] = torch.matmul(to_inputs, d_gates)
        return d_inputs, d_weights.T, None, None, None


def slopes(gates: Tensor, cells: Tensor, squashed: Tensor) -> tuple[Tensor, Tensor]:
    """Of some days at once: d cell / d hidden [..., H, B], and by gate what its slope is multiplied with.

    The first three gates [..., 3 H, B] take it from the cell, the last from the hidden state.

    Args:
        gates: [..., 4 H, B] after their functions.
        cells: [..., H, B] before the day.
        squashed: [..., H, B] tanh of the cell after it.
    """
    H = squashed.shape[-2]
    candidate, entered, _, shown = gates.chunk(4, dim=-2)
    opened, to_gates = gates[..., H:, :], torch.empty_like(gates)
    torch.addcmul(opened, opened, opened, value=-1.0, out=to_gates[..., H:, :])
    torch.addcmul(entered, entered * candidate, candidate, value=-1.0, out=to_gates[..., :H, :])
    to_gates[..., H : 2 * H, :] *= candidate
    to_gates[..., 2 * H : 3 * H, :] *= cells
    to_gates[..., 3 * H :, :] *= squashed
    to_cell = torch.addcmul(shown, shown * squashed, squashed, value=-1.0)
    return to_cell, to_gates

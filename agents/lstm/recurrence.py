"""The masked LSTM of `masked.py` over a population: K networks of one shape, each with its own sequences.

The same arithmetic with one axis more. On a GPU in float32 the kernel of `kernel.py` does it, where Triton
can be imported; everywhere else, and as what the kernel is tested against, the loop over days below.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from math import gcd

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from agents.lstm.masked import CHUNK, slopes
from qn_env.autograd import Context

# QN_ENV_KERNEL=plain keeps the loop of this module on a GPU, too.
SWITCH = "QN_ENV_KERNEL"

# Units and inputs that the kernel takes: tiles of more do not fit into the shared memory of a GPU.
WIDEST, INPUTS = 160, 127

# Numbers in a day's gates of the members that a processor takes together: few enough for its caches.
GROUP = 2**17

# Numbers that a processor's loop over vectors takes at once, at most: two of AVX-512 in float32.
VECTORS = 32


def recurrence(
    inputs: Tensor, weights: Tensor, mask: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[Tensor, Tensor]:
    """Hidden states of K masked LSTMs, a network's numbers being the same whoever stands beside it.

    Differentiable once, by inputs, weights and the state at the start; not by the mask. No sizes come from
    data and nothing waits for the device, so that a CUDA graph can hold it.

    Args:
        inputs: [L, K, F, B].
        weights: [K, 4 H, H + F + 1] gates: candidate, input, forget, output; columns: state, inputs, bias.
        mask: [K, H, B] what h_{t-1} is multiplied with before every gate (0 or 1 / keep), the same every day.
        hidden: [K, H, B] state before the first day.
        cell: [K, H, B] state before the first day.

    Returns:
        [L, K, H, B] hidden states, and the cells [K, H, B] after the last day.
    """
    learnt = hidden.requires_grad or cell.requires_grad  # a slope that the kernel does not give
    if not learnt and _has_kernel(inputs, mask):
        from agents.lstm import kernel

        return kernel.recurrence(inputs, weights, mask, hidden, cell)
    H, B = mask.shape[1:]
    if extra := -B % max(VECTORS // gcd(H, VECTORS), 8):
        # Whole vectors for every member: numbers behind the last whole one are computed in another way, and
        # which those are would depend on who stands beside it.
        inputs, mask, hidden, cell = (
            nn.functional.pad(part, (0, extra)) for part in (inputs, mask, hidden, cell)
        )
    states, last = _Recurrence.apply(inputs, weights, mask, hidden, cell)  # type: ignore[no-untyped-call]
    return states[..., :B], last[..., :B]


def _has_kernel(inputs: Tensor, mask: Tensor) -> bool:
    fits = inputs.is_cuda and inputs.dtype == torch.float32
    fits &= mask.shape[1] <= WIDEST and inputs.shape[2] <= INPUTS
    return fits and os.environ.get(SWITCH) != "plain" and _has_triton()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


class _Recurrence(torch.autograd.Function):
    """`masked._Recurrence` with a leading axis of members; what its comments say holds here."""

    @staticmethod
    def forward(
        ctx: Context, inputs: Tensor, weights: Tensor, mask: Tensor, h: Tensor, c: Tensor
    ) -> tuple[Tensor, Tensor]:
        L, K, F, B = inputs.shape
        H = h.shape[1]
        seen, gates = inputs.new_empty(L, K, H + F + 1, B), inputs.new_empty(L, K, 4 * H, B)
        cells = inputs.new_empty(L + 1, K, H, B)
        squashed, hidden = (inputs.new_empty(L, K, H, B) for _ in range(2))
        seen[:, :, H:-1] = inputs
        seen[:, :, -1] = 1.0
        cells[0] = c
        doubled = weights.clone()
        doubled[:, :H] *= 2.0
        for some in _groups(gates):
            by_day = (part[:, some] for part in (seen, gates, cells, squashed, hidden))
            _play(doubled[some], mask[some], h[some], *by_day)
        ctx.save_for_backward(weights, mask, gates, cells, seen, squashed)
        last = cells[L].clone()
        ctx.mark_non_differentiable(last)
        return hidden, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, gradient: Tensor, _last: Tensor) -> tuple[Tensor | None, ...]:
        weights, mask, gates, cells, seen, squashed = ctx.saved_tensors
        L, K, H, B = squashed.shape
        F = weights.shape[2] - H - 1
        d_inputs = seen.new_empty(L, K, F, B) if ctx.needs_input_grad[0] else None
        d_weights = weights.new_zeros(weights.mT.shape) if ctx.needs_input_grad[1] else None
        d_states = [mask.new_empty(K, H, B) if ctx.needs_input_grad[n] else None for n in (3, 4)]
        for some in _groups(gates):
            _play_back(
                weights[some],
                mask[some],
                gradient[:, some],
                gates[:, some],
                cells[:, some],
                seen[:, some],
                squashed[:, some],
                None if d_inputs is None else d_inputs[:, some],
                None if d_weights is None else d_weights[some],
                *(None if part is None else part[some] for part in d_states),
            )
        return d_inputs, None if d_weights is None else d_weights.mT, None, *d_states


def _groups(gates: Tensor) -> list[slice]:
    """The members that go through all days together: on a GPU all, else as many as the caches hold."""
    K = gates.shape[1]
    n = (
        1 if gates.is_cuda else max(min(K * gates[0, 0].numel() // GROUP, K // 2), 1)
    )  # nobody alone: see above
    return [slice(K * k // n, K * (k + 1) // n) for k in range(n)]


def _play(
    doubled: Tensor,
    mask: Tensor,
    h: Tensor,
    seen: Tensor,
    gates: Tensor,
    cells: Tensor,
    squashed: Tensor,
    hidden: Tensor,
) -> None:
    """Fill gates, cells, their tanh, hidden states and the state's rows of `seen`, day after day.

    Args:
        doubled: [K, 4 H, H + F + 1] weights, those of the candidate twice.
        mask: [K, H, B].
        h: [K, H, B] state before the first day.
        seen: [L, K, H + F + 1, B] room for the masked state, inputs, one.
        gates: [L, K, 4 H, B] room.
        cells: [L + 1, K, H, B] the first day's, and room.
        squashed: [L, K, H, B] room.
        hidden: [L, K, H, B] room.
    """
    H = h.shape[1]
    candidate, entered, forgotten, shown = (part.unbind(0) for part in gates.chunk(4, dim=2))
    whole, cell, tanh, after = gates.unbind(0), cells.unbind(0), squashed.unbind(0), hidden.unbind(0)
    known, before, minus = seen.unbind(0), seen[:, :, :H].unbind(0), -torch.ones_like(h)
    for t in range(len(hidden)):
        torch.mul(h, mask, out=before[t])
        torch.bmm(doubled, known[t], out=whole[t]).sigmoid_()
        torch.add(minus, candidate[t], alpha=2.0, out=candidate[t])
        torch.mul(forgotten[t], cell[t], out=cell[t + 1]).addcmul_(entered[t], candidate[t])
        torch.add(cell[t + 1], cell[t + 1], out=tanh[t]).sigmoid_()
        torch.add(minus, tanh[t], alpha=2.0, out=tanh[t])
        h = torch.mul(shown[t], tanh[t], out=after[t])


def _play_back(
    weights: Tensor,
    mask: Tensor,
    gradient: Tensor,
    gates: Tensor,
    cells: Tensor,
    seen: Tensor,
    squashed: Tensor,
    d_inputs: Tensor | None,
    d_weights: Tensor | None,
    d_hidden: Tensor | None,
    d_first: Tensor | None,
) -> None:
    """Fill the slopes of inputs [L, K, F, B] and of the state at the start, hidden and cell [K, H, B].

    Those of the weights, turned [K, H + F + 1, 4 H], are added to.
    """
    L, K, H, B = squashed.shape
    d_cell, d_before = mask.new_zeros(K, H, B), mask.new_empty(K, H, B)
    d_h = gradient.clone(memory_format=torch.contiguous_format).unbind(0)
    forgotten, known = gates[:, :, 2 * H : 3 * H].unbind(0), seen.unbind(0)
    to_state, to_inputs = weights[:, :, :H].mT.contiguous(), weights[:, :, H:-1].mT.contiguous()
    days = max(CHUNK // gates[0].numel(), 1)
    for end in range(L, 0, -days):
        begin = max(end - days, 0)
        some = slice(begin, end)
        to_cell, d_gates = slopes(gates[some], cells[some], squashed[some])
        cell, whole, shown = to_cell.unbind(0), d_gates.unbind(0), d_gates[:, :, 3 * H :].unbind(0)
        inner = d_gates[:, :, : 3 * H].view(-1, K, 3, H, B).unbind(0)
        turned = d_gates.mT.unbind(0)
        for k in range(end - begin - 1, -1, -1):
            t = begin + k
            d_cell.addcmul_(d_h[t], cell[k])
            inner[k].mul_(d_cell[:, None])
            shown[k].mul_(d_h[t])
            if d_weights is not None:
                d_weights.baddbmm_(known[t], turned[k])
            if d_inputs is not None:
                torch.bmm(to_inputs, whole[k], out=d_inputs[t])
            if t:
                d_cell.mul_(forgotten[t])
                torch.bmm(to_state, whole[k], out=d_before)
                d_h[t - 1].addcmul_(d_before, mask)
    if d_hidden is not None:
        torch.bmm(to_state, whole[0], out=d_hidden).mul_(mask)
    if d_first is not None:
        torch.mul(d_cell, forgotten[0], out=d_first)

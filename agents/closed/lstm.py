"""An LSTM that reads what it decided the day before, with its derivatives written out.

The loop of `agents.dmn.lstm` with one more row among what a day sees, what is held, and the head inside it:
a day's decision has to be known before the next day begins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from agents.closed.loops import Loop
from agents.dmn.lstm import CHUNK, order_gates, slopes
from qn_env.autograd import Context


def closed_lstm(
    lstm: nn.LSTM,
    inputs: Tensor,
    mask: Tensor,
    state: tuple[Tensor, Tensor],
    head: tuple[Tensor, Tensor],
    loop: Loop,
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """x_t = tanh(w . h_t + b) where the day is alive, else 0; h_t is of an LSTM that reads x_{t-1} ratio_t.

    Differentiable once, by the weights of `lstm` and by `head`; not by the rest.

    Args:
        lstm: one layer, one direction, batch first; its last input is what is held.
        inputs: [L, F, B] the other ones.
        mask: [H, B] what h_{t-1} is multiplied with before it enters the gates.
        state: h and c [B, H] before the first day.
        head: w [H, B], the weights of each sequence, and b [].
        loop: how a decision comes back.

    Returns:
        [L, B] decisions in [-1, 1], and both states [B, H] after the last day.
    """
    w, u, on_inputs, on_state = lstm.all_weights[0]
    decided, h, c = _Closed.apply(  # type: ignore[no-untyped-call]
        inputs,
        # The columns in the order of what a day sees: state, what is held, inputs, one.
        torch.cat([order_gates(part) for part in (u, w[:, -1:], w[:, :-1], on_inputs + on_state)], dim=1),
        mask,
        *(part.T.contiguous() for part in state),
        *head,
        *loop,
    )
    return decided, (h.T, c.T)


class _Closed(torch.autograd.Function):
    """Eqs. 28-33 of Lim et al. (2019) with what is held among the inputs; everything [L, ..., B]."""

    @staticmethod
    def forward(
        ctx: Context,
        inputs: Tensor,
        weights: Tensor,
        mask: Tensor,
        h: Tensor,
        c: Tensor,
        weigh: Tensor,
        bias: Tensor,
        ratio: Tensor,
        alive: Tensor,
        x: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        L, F, B = inputs.shape
        H = len(h)
        seen = inputs.new_empty(L, H + F + 2, B)
        seen[:, H + 1 : -1] = inputs
        seen[:, -1] = 1.0
        gates, cells = inputs.new_empty(L, 4 * H, B), inputs.new_empty(L + 1, H, B)
        cells[0] = c
        squashed, hidden = (inputs.new_empty(L, H, B) for _ in range(2))
        decided, product = inputs.new_empty(L, B), torch.empty_like(h)
        candidate, entered, forgotten, shown = (gates[:, k * H : (k + 1) * H].unbind(0) for k in range(4))
        whole, cell, tanh, after = gates.unbind(0), cells.unbind(0), squashed.unbind(0), hidden.unbind(0)
        known, before, held = seen.unbind(0), seen[:, :H].unbind(0), seen[:, H].unbind(0)
        # tanh(x) = 2 sigmoid(2 x) - 1, as in `agents.dmn.lstm`.
        doubled, minus = weights.clone(), -torch.ones_like(h)
        doubled[:H] *= 2.0
        days, open_, worth = decided.unbind(0), alive.unbind(0), ratio.unbind(0)
        for t in range(L):
            torch.mul(h, mask, out=before[t])
            torch.mul(x, worth[t], out=held[t])
            torch.mm(doubled, known[t], out=whole[t]).sigmoid_()
            torch.add(minus, candidate[t], alpha=2.0, out=candidate[t])
            torch.mul(forgotten[t], cell[t], out=cell[t + 1]).addcmul_(entered[t], candidate[t])
            torch.add(cell[t + 1], cell[t + 1], out=tanh[t]).sigmoid_()
            torch.add(minus, tanh[t], alpha=2.0, out=tanh[t])
            h = torch.mul(shown[t], tanh[t], out=after[t])
            torch.mul(h, weigh, out=product)
            x = torch.sum(product, 0, out=days[t]).add_(bias).tanh_().mul_(open_[t])
        ctx.save_for_backward(
            weights, mask, gates, cells, seen, squashed, hidden, weigh, ratio, alive, decided
        )
        h, last = h.clone(), cells[L].clone()
        ctx.mark_non_differentiable(h, last)
        return decided, h, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, gradient: Tensor, *_states: Tensor) -> tuple[Tensor | None, ...]:
        weights, mask, gates, cells, seen, squashed, hidden, weigh, ratio, alive, decided = ctx.saved_tensors
        L, H, B = squashed.shape
        d_weights, d_cell = weights.new_zeros(weights.T.shape), mask.new_zeros(H, B)
        # To d z_t, the slope by what is inside the head's tanh; where nothing is decided it is 0.
        d_z, inner_x = gradient.clone(memory_format=torch.contiguous_format), (1.0 - decided**2) * alive
        slope_z, slope_x, worth = d_z.unbind(0), inner_x.unbind(0), ratio.unbind(0)
        forgotten, known = gates[:, 2 * H : 3 * H].unbind(0), seen.unbind(0)
        to_past, d_h = weights[:, : H + 1].T.contiguous(), torch.empty_like(d_cell)
        d_past = mask.new_zeros(H + 1, B)  # of the state and of what is held
        d_before, d_held = d_past[:H], d_past[H]
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
                slope_z[t].mul_(slope_x[t])
                torch.mul(weigh, slope_z[t], out=d_h).addcmul_(d_before, mask)
                d_cell.addcmul_(d_h, cell[k])
                inner[k].mul_(d_cell)
                shown[k].mul_(d_h)
                d_weights.addmm_(known[t], turned[k])
                if t:
                    d_cell.mul_(forgotten[t])
                    torch.mm(to_past, whole[k], out=d_past)
                    slope_z[t - 1].addcmul_(d_held, worth[t])
        d_weigh = torch.einsum("lhb,lb->hb", hidden, d_z)
        return None, d_weights.T, None, None, None, d_weigh, d_z.sum(), None, None, None

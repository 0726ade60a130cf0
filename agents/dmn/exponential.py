"""The recurrence of an sLSTM (Beck et al. 2024, arXiv:2405.04517, Section 2.2), its derivatives written out.

As in `agents.lstm.masked`, a loop does only what has to follow day after day, and sequences stand side by
side on the last axis. What comes out does not depend on the running maximum m that holds the exponential
gates, only its rounding does: c and n are both in units of exp(m). So no derivative is taken through m.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from qn_env.autograd import Context

# h, c, n and m, each [H, B].
State = tuple[Tensor, Tensor, Tensor, Tensor]

# What a running maximum begins at: before the first day nothing is remembered, and every gate is larger.
NOTHING = -1e30


def recurrence(given: Tensor, weights: Tensor, state: State) -> tuple[Tensor, State]:
    """h_t = sigmoid(o~) c_t / n_t, day after day, c_t = f' c_{t-1} + i' tanh(z~), n_t = f' n_{t-1} + i'.

    m_t = max(log f_t + m_{t-1}, i~_t), i' = exp(i~_t - m_t), f' = exp(log f_t + m_{t-1} - m_t), with the
    forget gate f_t = sigmoid(f~_t). Differentiable once, by `given` and weights; not by the state.

    Args:
        given: [L, 4 H, B] what inputs and bias add to the gates: candidate z~, output o~, forget f~ and
            input i~.
        weights: [4 H, H] what h_{t-1} adds to them.
        state: before the first day.

    Returns:
        [L, H, B] h_t, and the state after the last day.
    """
    states, *after = _Recurrence.apply(given, weights, *state)  # type: ignore[no-untyped-call]
    return states, (states[-1].detach(), *after)


def composed(given: Tensor, weights: Tensor, state: State) -> tuple[Tensor, State]:
    """`recurrence` in plain PyTorch, differentiated by it."""
    h, c, n, m = state
    states = []
    for today in given.unbind(0):
        gates = torch.addmm(today, weights, h).view(4, *h.shape)
        candidate, shown, forgotten, entered = gates.unbind(0)
        before = functional.logsigmoid(forgotten) + m
        m = torch.maximum(entered, before).detach()
        entered, kept = torch.exp(entered - m), torch.exp(before - m)
        c = kept * c + entered * torch.tanh(candidate)
        n = kept * n + entered
        h = torch.sigmoid(shown) * (c / n)
        states.append(h)
    return torch.stack(states), (h, c, n, m)


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Context, given: Tensor, weights: Tensor, h: Tensor, c: Tensor, n: Tensor, m: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        (L, _, B), H = given.shape, len(h)
        gates, exps = torch.empty_like(given), given.new_empty(L, 2 * H, B)
        hidden, cells, norms = (given.new_empty(L + 1, H, B) for _ in range(3))
        ratios = given.new_empty(L, H, B)
        hidden[0], cells[0], norms[0] = h, c, n
        candidate, _, forgotten, raw = (part.unbind(0) for part in gates.chunk(4, dim=1))
        entered, kept = (part.unbind(0) for part in exps.chunk(2, dim=1))
        before, minus = torch.empty_like(h), -torch.ones_like(h)
        # tanh(x) = 2 sigmoid(2 x) - 1, as in the masked LSTM.
        doubled = weights.clone()
        doubled[:H] *= 2.0
        given = torch.cat([2.0 * given[:, :H], given[:, H:]], dim=1)
        for t in range(L):
            torch.addmm(given[t], doubled, hidden[t], out=gates[t])
            gates[t, : 2 * H].sigmoid_()
            torch.add(minus, candidate[t], alpha=2.0, out=candidate[t])
            forgotten[t].copy_(functional.logsigmoid(forgotten[t]))
            torch.add(forgotten[t], m, out=before)
            m = torch.maximum(raw[t], before)
            torch.sub(raw[t], m, out=entered[t])
            torch.sub(before, m, out=kept[t])
            exps[t].exp_()
            torch.mul(kept[t], cells[t], out=cells[t + 1]).addcmul_(entered[t], candidate[t])
            torch.addcmul(entered[t], kept[t], norms[t], out=norms[t + 1])
            torch.div(cells[t + 1], norms[t + 1], out=ratios[t])
            torch.mul(gates[t, H : 2 * H], ratios[t], out=hidden[t + 1])
        ctx.save_for_backward(weights, gates, exps, hidden, cells, norms, ratios)
        last = cells[L].clone(), norms[L].clone(), m
        ctx.mark_non_differentiable(*last)
        return hidden[1:], *last

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, gradient: Tensor, *_last: Tensor) -> tuple[Tensor | None, ...]:
        weights, gates, exps, hidden, cells, norms, ratios = ctx.saved_tensors
        L, H, B = ratios.shape
        candidate, shown, forgotten, _ = gates.chunk(4, dim=1)
        entered, kept = exps.chunk(2, dim=1)
        # By what the slopes of a day's h, c and n are multiplied on their way to its gates.
        to_cell = (shown / norms[1:]).unbind(0)
        to_shown = (ratios * shown * (1.0 - shown)).unbind(0)
        to_candidate = (entered * (1.0 - candidate * candidate)).unbind(0)
        to_forgotten = (kept * -torch.expm1(forgotten)).unbind(0)  # 1 - f, which is small, from log f
        d_gates, d_h = torch.empty_like(gates), gradient.clone(memory_format=torch.contiguous_format)
        d_candidate, d_shown, d_forgotten, d_entered = (part.unbind(0) for part in d_gates.chunk(4, dim=1))
        d_cell, d_norm, turned = gradient.new_zeros(H, B), gradient.new_zeros(H, B), weights.T.contiguous()
        for t in range(L - 1, -1, -1):
            through = d_h[t] * to_cell[t]
            d_cell += through
            d_norm.addcmul_(through, ratios[t], value=-1.0)
            torch.mul(d_h[t], to_shown[t], out=d_shown[t])
            torch.mul(d_cell, to_candidate[t], out=d_candidate[t])
            torch.addcmul(d_norm, d_cell, candidate[t], out=d_entered[t]).mul_(entered[t])
            torch.mul(d_cell, cells[t], out=d_forgotten[t]).addcmul_(d_norm, norms[t]).mul_(to_forgotten[t])
            d_cell *= kept[t]
            d_norm *= kept[t]
            if t:
                d_h[t - 1].addmm_(turned, d_gates[t])
        d_weights = torch.bmm(d_gates, hidden[:-1].mT).sum(0) if ctx.needs_input_grad[1] else None
        return d_gates, d_weights, None, None, None, None

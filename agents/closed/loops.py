"""Loops over days in which a decision is read by the next one, with their derivatives written out.

Automatic differentiation of a loop over days costs more than the arithmetic. Everything is [L, ..., B]: a day
is one contiguous block.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qn_env.autograd import Context


class Loop(NamedTuple):
    """How a decision comes back.

    Attributes:
        ratio: [L, B] what the decision of the day before is multiplied with to be one of today.
        alive: [L, B] 1 where something is decided, else 0.
        before: [B] the decision before the first day.
    """

    ratio: Tensor
    alive: Tensor
    before: Tensor


def follow(drive: Tensor, feedback: Tensor, loop: Loop) -> Tensor:
    """x_t = tanh(drive_t + feedback ratio_t x_{t-1}) on days that are alive, else 0 (Moody and Saffell 2001).

    Differentiable once, by drive and feedback.

    Args:
        drive: [L, B] what the inputs say.
        feedback: [] weight of what is held.
        loop: how a decision comes back.

    Returns:
        [L, B] decisions in [-1, 1].
    """
    decided: Tensor = _Linear.apply(drive, feedback, *loop)  # type: ignore[no-untyped-call]
    return decided


def follow_hidden(drive: Tensor, feedback: Tensor, weigh: Tensor, bias: Tensor, loop: Loop) -> Tensor:
    """x_t = tanh(w_t . tanh(drive_t + feedback ratio_t x_{t-1}) + b) on days that are alive, else 0.

    Differentiable once, by drive, feedback, weigh and bias.

    Args:
        drive: [L, H, B] what the inputs say to the hidden layer.
        feedback: [H] its weights of what is held.
        weigh: [L, H, B] those of the head, w, for each day and sequence (dropout).
        bias: [] that of the head, b.
        loop: how a decision comes back.

    Returns:
        [L, B] decisions in [-1, 1].
    """
    decided: Tensor = _Hidden.apply(drive, feedback, weigh, bias, *loop)  # type: ignore[no-untyped-call]
    return decided


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Context, drive: Tensor, feedback: Tensor, ratio: Tensor, alive: Tensor, before: Tensor
    ) -> Tensor:
        strength, decided = feedback * ratio, torch.empty_like(drive)
        held, days = before, decided.unbind(0)
        for day, said, weight, open_ in zip(days, drive, strength, alive, strict=True):
            torch.addcmul(said, weight, held, out=day).tanh_().mul_(open_)
            held = day
        ctx.save_for_backward(strength, ratio, alive, before, decided)
        return decided

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        strength, ratio, alive, before, decided = ctx.saved_tensors
        inner = _slope(decided, alive)
        slopes, onward = inner.unbind(0), strength.unbind(0)
        to_drive = gradient * inner
        rows = to_drive.unbind(0)
        for t in range(len(rows) - 1, 0, -1):
            rows[t - 1].addcmul_(rows[t] * onward[t], slopes[t - 1])
        return to_drive, (to_drive * _held(ratio, before, decided)).sum(), None, None, None


class _Hidden(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Context,
        drive: Tensor,
        feedback: Tensor,
        weigh: Tensor,
        bias: Tensor,
        ratio: Tensor,
        alive: Tensor,
        x: Tensor,
    ) -> Tensor:
        before, hidden, decided = x, torch.empty_like(drive), torch.empty_like(ratio)
        held, product, column = torch.empty_like(x), torch.empty_like(drive[0]), feedback[:, None]
        for t, (day, inside) in enumerate(zip(decided.unbind(0), hidden.unbind(0), strict=True)):
            torch.mul(x, ratio[t], out=held)
            torch.addcmul(drive[t], column, held, out=inside).tanh_()
            torch.mul(inside, weigh[t], out=product)
            x = torch.sum(product, 0, out=day).add_(bias).tanh_().mul_(alive[t])
        ctx.save_for_backward(feedback, weigh, ratio, alive, before, hidden, decided)
        return decided

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        feedback, weigh, ratio, alive, before, hidden, decided = ctx.saved_tensors
        inner_x, d_z = _slope(decided, alive), gradient.clone(memory_format=torch.contiguous_format)
        d_drive = weigh * torch.addcmul(torch.ones_like(hidden), hidden, hidden, value=-1.0)
        for t in range(len(d_z) - 1, -1, -1):
            d_z[t].mul_(inner_x[t])
            d_drive[t].mul_(d_z[t])
            if t:
                d_z[t - 1].addcmul_(torch.mv(d_drive[t].T, feedback), ratio[t])
        held = _held(ratio, before, decided)
        d_feedback = torch.einsum("lhb,lb->h", d_drive, held)
        return d_drive, d_feedback, hidden * d_z[:, None], d_z.sum(), None, None, None


def _slope(decided: Tensor, alive: Tensor) -> Tensor:
    """[L, B] of a decision by what is inside its tanh; where nothing is decided it is 0."""
    return (1.0 - decided**2) * alive


def _held(ratio: Tensor, before: Tensor, decided: Tensor) -> Tensor:
    """[L, B] what is read of the day before."""
    return ratio * torch.cat([before[None], decided[:-1]])

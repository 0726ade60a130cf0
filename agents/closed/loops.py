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


def follow_band(low: Tensor, high: Tensor, loop: Loop) -> Tensor:
    """What is held, brought to the nearer edge of a band where it is outside, on days that are alive, else 0.

    The form of the best policy under costs proportional to turnover (Davis and Norman 1990). Differentiable
    once, by both edges: a day's decision depends on the edge that it was brought to last.

    Args:
        low: [L, B] lower edges.
        high: [L, B] upper edges, none below the lower one.
        loop: how a decision comes back.

    Returns:
        [L, B] decisions.
    """
    decided: Tensor = _Band.apply(low, high, *loop)  # type: ignore[no-untyped-call]
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
        # The slope of a decision by what is inside its tanh; where nothing is decided it is 0.
        inner = (1.0 - decided**2) * alive
        slopes, onward = inner.unbind(0), strength.unbind(0)
        to_drive = gradient * inner
        rows = to_drive.unbind(0)
        for t in range(len(rows) - 1, 0, -1):
            rows[t - 1].addcmul_(rows[t] * onward[t], slopes[t - 1])
        held = torch.cat([before[None], decided[:-1]])
        return to_drive, (to_drive * ratio * held).sum(), None, None, None


class _Band(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Context, low: Tensor, high: Tensor, ratio: Tensor, alive: Tensor, x: Tensor) -> Tensor:
        decided, held = torch.empty_like(low), torch.empty_like(low)
        days = zip(decided.unbind(0), held.unbind(0), low, high, ratio, alive, strict=True)
        for day, before, least, most, worth, open_ in days:
            torch.mul(x, worth, out=before)
            x = torch.clamp(before, least, most, out=day).mul_(open_)
        ctx.save_for_backward(low, high, ratio, alive, held)
        return decided

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        low, high, ratio, alive, held = ctx.saved_tensors
        below, above = held < low, held > high
        stays = ratio.masked_fill(below | above, 0.0) * alive
        slopes = gradient.clone(memory_format=torch.contiguous_format)
        days = slopes.unbind(0)
        for t in range(len(days) - 1, 0, -1):
            days[t - 1].addcmul_(days[t], stays[t])
        slopes *= alive
        return slopes * below, slopes * above, None, None, None

"""The closed loop of one asset's own days: what is decided today is what is held tomorrow.

A policy reads its last decision as a signal of today: under a volatility target a weight is signal times
target over volatility, so that the signal which leaves the weight of day t - 1 as it is on day t is
x_{t-1} sigma_t / sigma_{t-1}; without a target it is x_{t-1}.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from qn_env.autograd import Context
from qn_env.economics import Costs, Ledger, settle


def follow(drive: Tensor, feedback: Tensor, ratio: Tensor, alive: Tensor, before: Tensor) -> Tensor:
    """x_t = tanh(drive_t + feedback ratio_t x_{t-1}) on days that are alive, else 0 (Moody and Saffell 2001).

    Differentiable once, by drive and feedback: the derivatives through all earlier days are written out,
    since automatic differentiation of a loop over days costs more than the arithmetic.

    Args:
        drive: [L, B] what the inputs say.
        feedback: [] weight of what is held.
        ratio: [L, B] what the decision of the day before is multiplied with to be one of today.
        alive: [L, B] 1 where something is decided, else 0.
        before: [B] the decision before the first day.

    Returns:
        [L, B] decisions in [-1, 1].
    """
    decided: Tensor = _Feedback.apply(drive, feedback, ratio, alive, before)  # type: ignore[no-untyped-call]
    return decided


class _Feedback(torch.autograd.Function):
    """Everything [L, B]: a day is one contiguous row."""

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


class Account(NamedTuple):
    """What an account needs to know of windows of single assets' own days.

    Attributes:
        scale: [B, L] weight per unit of signal.
        next_returns: [B, L] of the asset's next own day.
        costs: rates, numbers or [B, L]; None where nothing costs anything.
        lag: days between a decision and its trade.
    """

    scale: Tensor
    next_returns: Tensor
    costs: Costs[Tensor] | None
    lag: int

    def settle(self, decided: Tensor, before: Tensor) -> tuple[Ledger[Tensor], Tensor]:
        """What decisions [B, L] earn, and the last weights that were decided, for the window behind.

        Args:
            decided: signals.
            before: [B, lag + 1] the weights that were decided on the days before the first, oldest first: the
                last of them that was traded is what the first trade replaces.
        """
        wanted = torch.cat([before, decided * self.scale], dim=1)
        L = decided.shape[1]
        ledger = settle(wanted[:, 1 : L + 1], wanted[:, :L], self.next_returns, self.costs)
        return ledger, wanted[:, L:].detach()

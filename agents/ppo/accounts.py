"""Accounts of one asset each, stepped together on a device that nobody waits for."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from agents.closed.bands import to_band
from agents.ppo.tape import AssetTape
from qn_env.economics import Account, advance


class Paid(NamedTuple):
    """What a day brought, each [B].

    Attributes:
        reward: float32.
        held: float64, the signal of the next day that would leave the weight as it is, before a new episode.
        ruined: whether the episode ended in ruin, behind which nothing is earned.
        ended: whether it ended at all; where not in ruin, it is cut off and goes on unseen.
    """

    reward: Tensor
    held: Tensor
    ruined: Tensor
    ended: Tensor


class Accounts(nn.Module):
    """B accounts, which begin again elsewhere when their episode has ended.

    The reward of a day is u - risk_aversion / 2 u^2, where u is what the account earns net of costs in units
    of the daily risk of a full position: reward in the mean alone is largest at the bounds whatever the
    forecast is worth, and says nothing about how much to hold. Everything that is remembered is a buffer,
    written in place: a training under way is stored with it, and a step can be captured as a CUDA graph.
    """

    row: Tensor
    last: Tensor
    held: Tensor
    weight: Tensor
    orders: Tensor

    def __init__(self, tape: AssetTape, n: int, risk_aversion: float) -> None:
        """Lay `n` accounts out beside the tape; `begin` starts their episodes.

        Args:
            tape: what they play.
            n: how many.
            risk_aversion: price of a unit of squared reward.
        """
        super().__init__()
        self._tape, self._aversion = tape, risk_aversion
        device = tape.money.device
        for name in ("row", "last"):
            self.register_buffer(name, torch.zeros(n, dtype=torch.long, device=device))
        for name, shape in (("held", (n,)), ("weight", (n,)), ("orders", (tape.lag + 1, n))):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64, device=device))

    def begin(self, places: Tensor) -> None:
        """Begin every episode at one of the numbered places [B] of the tape."""
        self._begin(places, torch.ones_like(self.row, dtype=torch.bool))

    def observe(self, out: Tensor | None = None) -> Tensor:
        """[B, F + 2] what is seen today; written into `out` where it is given."""
        return self._tape.observe(self.row, self.held, out)

    def step(self, actions: Tensor, places: Tensor) -> Paid:
        """Trade one own day of every account.

        Args:
            actions: [B, 2] float64, as of `bands.to_band`.
            places: [B] where those begin again whose episode ends today.
        """
        day, per_risk, ratio = self._tape.terms(self.row)
        signals = to_band(actions, self.held)
        account, ledger = advance(Account(self.weight, self.weight, self.orders), signals, day)
        earned = ledger.net * per_risk
        reward = earned - 0.5 * self._aversion * earned.square()
        ruined, held = ledger.net <= -1.0, signals * ratio
        self.row.add_(1)
        ended = ruined | (self.row >= self.last)
        self.held.copy_(held)
        self.weight.copy_(account.weight)
        if self._tape.lag:  # without one no order is remembered
            self.orders.copy_(account.orders)
        self._begin(places, ended)
        return Paid(reward.float(), held, ruined, ended)

    def _begin(self, places: Tensor, which: Tensor) -> None:
        """Start the next episode of some accounts [B], flat."""
        row, last = self._tape.begins.index_select(0, places).unbind(1)
        self.row.copy_(torch.where(which, row, self.row))
        self.last.copy_(torch.where(which, last, self.last))
        for part in (self.held, self.weight, self.orders):
            part.masked_fill_(which, 0.0)

"""The account of windows of single assets' own days."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from qn_env.economics import Costs, Ledger, settle


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
            decided: signals, float64.
            before: [B, lag + 1] the weights that were decided on the days before the first, oldest first: the
                last of them that was traded is what the first trade replaces.
        """
        wanted = torch.cat([before, decided * self.scale], dim=1)
        L = decided.shape[1]
        ledger = settle(wanted[:, 1 : L + 1], wanted[:, :L], self.next_returns, self.costs)
        return ledger, wanted[:, L:].detach()

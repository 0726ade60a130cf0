"""The selection block on a device: what the policy, as it is, would have earned on it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from agents.closed.bands import CLIP, to_band
from agents.closed.windows import ClosedWindows
from agents.ppo.network import Policy, taken


@dataclass(frozen=True, eq=False)
class Block:
    """All own days of the assets it holds, day by day.

    Attributes:
        whole: a window for each asset.
        seen: [L, A, F + 2] as of `AssetTape`.
        ratio: [L, A] what the signal of the day before is multiplied with to be one of today.
        alive: [L, A] bool, whether something is decided.
    """

    whole: ClosedWindows
    seen: Tensor
    ratio: Tensor
    alive: Tensor

    @classmethod
    def of(cls, windows: ClosedWindows, device: torch.device) -> Block:
        """Lay out windows that do not overlap."""
        whole = windows.joined()
        inputs, ratio, alive = (part.transpose(0, 1).contiguous() for part in whole.days)
        room = inputs.new_zeros(*alive.shape, 1)
        seen = torch.cat([inputs * alive[..., None], alive[..., None], room], dim=2)
        clipped = seen.float().clip(-CLIP, CLIP)
        return cls(whole, clipped.to(device), ratio.to(device), alive.to(device))

    @torch.no_grad()
    def signals(self, policy: Policy) -> Tensor:
        """[L, A] of the policy's mean, from nothing held."""
        decided = torch.zeros_like(self.ratio)
        held = torch.zeros_like(self.ratio[0])
        for t in range(len(decided)):
            if t:
                held = decided[t - 1] * self.ratio[t]
            seen = self.seen[t].clone()
            seen[:, -1] = held.clip(-CLIP, CLIP)
            decided[t] = to_band(taken(policy.actor(seen)), held) * self.alive[t]
        return decided

    def score(self, policy: Policy) -> float:
        """Annualised net Sharpe ratio, pooled over assets."""
        decided = self.signals(policy).cpu().T
        return -float(self.whole.loss(decided, self.whole.flat()[1])[0])

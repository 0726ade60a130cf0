"""Single assets' own days on a device, one asset behind the other: what is seen of them and what they pay.

Only an asset's own days are rows, so that no step is one on which nothing can be done: a return over a
holiday or a halt is that of the day it began on, as it is for every network here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from agents.closed.bands import CLIP
from agents.closed.windows import ClosedWindows
from qn_env.economics import Costs, Day


class Terms(NamedTuple):
    """A day of accounts [B]: what it settles by, and in which units.

    Attributes:
        day: for `economics.advance`.
        per_risk: [B] one over the daily risk of a full position, 0 where it is unknown.
        ratio: [B] what a signal is multiplied with to be one of the next day; 0 where nothing is decided.
    """

    day: Day[Tensor]
    per_risk: Tensor
    ratio: Tensor


@dataclass(frozen=True, eq=False)
class AssetTape:
    """Rows of all assets; behind an asset's last day stands one more row, on which there is nothing to see.

    Attributes:
        seen: [R, F + 2] float32: the inputs, whether something can be decided, and 0 where what is held goes.
        money: [R, 4 + rates] float64: ratio, one over risk, return, weight per unit of signal (0 where
            nothing can be decided), and every rate that is present; they are read together.
        present: which of the rates there are.
        begins: [S, 2] the row that an episode may begin on, and the row behind its last day.
        on: [] True, of a day on which the market trades and decides: every own day is one.
        lag: days between a decision and its trade.
    """

    seen: Tensor
    money: Tensor
    present: tuple[bool, ...]
    begins: Tensor
    on: Tensor
    lag: int

    @classmethod
    def of(cls, windows: ClosedWindows, days: int, device: torch.device) -> AssetTape:
        """Lay out the windows of all assets, which do not overlap.

        Args:
            windows: of own days.
            days: of an episode, which ends before that where the asset's days do.
            device: where they are played.
        """
        whole = windows.joined()
        inputs, ratio, alive = whole.days
        A, L = alive.shape
        account = whole.account
        costs = account.costs if account.costs is not None else Costs(torch.zeros_like(account.scale))
        risk = account.scale * whole.sigma
        columns = [
            torch.cat([ratio[:, 1:], ratio[:, -1:]], dim=1) * alive,
            torch.where(risk > 0.0, 1.0 / risk, 0.0),
            account.next_returns,
            account.scale * alive,
            *(rate.expand(A, L) for rate in costs if rate is not None),
        ]
        seen = torch.cat([inputs * alive[..., None], alive[..., None], torch.zeros(A, L, 1)], dim=2)
        last = L - alive.flip(1).int().argmax(1)  # behind each asset's last day
        kept = torch.arange(L + 1) <= last[:, None]
        first = torch.cumsum(last + 1, 0) - (last + 1)
        asset, day = torch.nonzero(alive).unbind(1)
        row = first[asset] + day
        begins = torch.stack([row, torch.minimum(row + days, (first + last)[asset])], dim=1)

        def rows(values: Tensor) -> Tensor:
            """[R, ...] of [A, L, ...]."""
            behind = values.new_zeros(A, 1, *values.shape[2:])
            return torch.cat([values, behind], dim=1)[kept].to(device)

        return cls(
            rows(seen.float().clip(-CLIP, CLIP)),
            rows(torch.stack(columns, dim=2)),
            tuple(rate is not None for rate in costs),
            begins.to(device),
            torch.ones((), dtype=torch.bool, device=device),
            account.lag,
        )

    def observe(self, row: Tensor, held: Tensor, out: Tensor | None = None) -> Tensor:
        """[B, F + 2] what is seen on the rows [B] by who holds the signals [B].

        Args:
            row: of the tape.
            held: signals that would leave the weights as they are.
            out: where it is written; None: a new tensor.
        """
        seen = torch.index_select(self.seen, 0, row, out=out)
        seen[..., -1] = held.clip(-CLIP, CLIP)
        return seen

    def terms(self, row: Tensor) -> Terms:
        """What the rows [B] settle by."""
        ratio, per_risk, return_tp1, scale, *rates = self.money.index_select(0, row).unbind(1)
        costs = _filled(self.present, iter(rates))
        day = Day(return_tp1, costs, scale)
        if self.lag:
            day = day._replace(decides=self.on, awake=self.on)
        return Terms(day, per_risk, ratio)


def _filled(present: tuple[bool, ...], rates: Iterator[Tensor]) -> Costs[Tensor]:
    """Costs of the rates that there are."""
    turnover, *more = (next(rates) if here else None for here in present)
    assert turnover is not None, "a rate per unit of turnover is always there"
    return Costs(turnover, *more)

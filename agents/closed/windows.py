"""Windows of single assets' own days, each of which takes over what the one before it has left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.closed.loop import Account, follow
from agents.dmn.training_windows import SIGMA, TrainingWindows
from qn_env.economics import Costs
from qn_env.objectives import LOSS_FLOOR, sharpe


@dataclass(frozen=True, eq=False)
class ClosedWindows:
    """Windows of L days, B of them.

    Attributes:
        inputs: [B, L, F] float64, 0 where not all of them are defined.
        counted: [B, L] bool, the days that enter the objective; on others nothing is held.
        ratio: [B, L] what the decision of the day before is multiplied with to be one of today; that of a
            first day is of the last day of the window before.
        account: scale, returns and costs.
        previous: [B] number of the window before, of the same asset; -1 where there is none.
        bars_per_year: what ratios are annualised by.
    """

    inputs: Tensor
    counted: Tensor
    ratio: Tensor
    account: Account
    previous: Tensor
    bars_per_year: float

    @classmethod
    def of(cls, windows: TrainingWindows, *, targeted: bool) -> ClosedWindows:
        """From trajectories that do not overlap; `targeted` says that there is a volatility target."""
        episode, counted, *_ = windows.pairs
        number = torch.arange(len(counted))
        follows = torch.zeros(len(counted), dtype=torch.bool)
        follows[1:] = windows.asset[1:] == windows.asset[:-1]
        previous = torch.where(follows, number - 1, -1)
        return cls(
            windows.inputs.double(),
            counted,
            _ratio(episode.features[:, :, 0, SIGMA].double(), previous, targeted=targeted),
            Account(
                episode.scale[..., 0],
                episode.next_returns[..., 0],
                _each_rate(episode.terms.costs, lambda rate: rate[..., 0]),
                episode.lag,
            ),
            previous,
            episode.bars_per_year,
        )

    def __len__(self) -> int:
        return len(self.counted)

    def take(self, rows: Tensor) -> ClosedWindows:
        """The windows of the given numbers."""
        return self._each(lambda values: values[rows], self.previous[rows])

    def joined(self) -> ClosedWindows:
        """One window for each asset: all of its days, padded at the end with days that do not count."""
        first = torch.nonzero(self.previous < 0).flatten()
        counts = torch.diff(first, append=torch.tensor([len(self)]))
        place = torch.arange(int(counts.max()))
        rows, missing = (first[:, None] + place).clip(max=len(self) - 1), place >= counts[:, None]

        def join(values: Tensor) -> Tensor:
            windows = values[rows]  # [A, K, L, ...]
            gone = missing.reshape(*missing.shape, *(1,) * (windows.ndim - 2))
            return windows.masked_fill(gone, 0).flatten(1, 2)

        return self._each(join, torch.full((len(first),), -1))

    def _each(self, change: Callable[[Tensor], Tensor], previous: Tensor) -> ClosedWindows:
        """Every part [B, L, ...] changed."""
        scale, returns, costs, lag = self.account
        return ClosedWindows(
            change(self.inputs),
            change(self.counted),
            change(self.ratio),
            Account(change(scale), change(returns), _each_rate(costs, change), lag),
            previous,
            self.bars_per_year,
        )

    def play(
        self, drive: Tensor, feedback: Tensor, decided: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decide and settle every day.

        Args:
            drive: [B, L] what the inputs say.
            feedback: [] weight of what is held.
            decided: [B] the decision before the first day.
            weights: [B, lag + 1] those that were decided on the days before it.

        Returns:
            Minus the annualised net Sharpe ratio, pooled over the days that count; the decision of the last
            day [B], and the weights [B, lag + 1] decided up to it.
        """
        alive = self.counted.T.double()
        x = follow(drive.T.contiguous(), feedback, self.ratio.T.contiguous(), alive, decided).T
        ledger, left = self.account.settle(x, weights)
        ratio: Tensor = sharpe(
            ledger.net.flatten(),
            self.counted.flatten(),
            ddof=0,
            floor=LOSS_FLOOR,
            bars_per_year=self.bars_per_year,
        )
        return -ratio, x[:, -1].detach(), left


def _ratio(sigma: Tensor, previous: Tensor, *, targeted: bool) -> Tensor:
    """[B, L] sigma_t / sigma_{t-1}, or 1; 0 where there is no day before."""
    last = torch.where(previous >= 0, sigma[previous.clip(0), -1], 0.0)
    before = torch.cat([last[:, None], sigma[:, :-1]], dim=1)
    known = before > 0.0
    ratio = sigma / torch.where(known, before, 1.0) if targeted else torch.ones_like(sigma)
    return ratio * known


def _each_rate(costs: Costs[Tensor] | None, change: Callable[[Tensor], Tensor]) -> Costs[Tensor] | None:
    """The costs with every rate that differs between days changed."""
    return None if costs is None else costs.each(lambda rate: change(rate) if rate.ndim else rate)

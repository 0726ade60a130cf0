"""Windows of single assets' own days, each of which takes over what the one before it has left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.closed.account import Account
from agents.closed.traders import Days
from agents.dmn.training_windows import SIGMA, TrainingWindows
from qn_env.arrays import Array
from qn_env.economics import Costs
from qn_env.objectives import LOSS_FLOOR, sharpe


@dataclass(frozen=True, eq=False)
class ClosedWindows:
    """Windows of L days, B of them.

    Attributes:
        days: [B, L, ...] what a policy sees; days that are alive enter the objective, on others nothing is
            held. The ratio of a first day is of the last day of the window before.
        past: [B, P, F] the inputs of the days before each window.
        sigma: [B, L] daily volatility, decimal.
        account: scale, returns and costs.
        previous: [B] number of the window before, of the same asset; -1 where there is none.
        bars_per_year: what ratios are annualised by.
    """

    days: Days
    past: Tensor
    sigma: Tensor
    account: Account
    previous: Tensor
    bars_per_year: float

    @classmethod
    def of(
        cls, windows: TrainingWindows, *, targeted: bool, dtype: torch.dtype = torch.float32
    ) -> ClosedWindows:
        """From trajectories that do not overlap.

        Args:
            windows: the trajectories.
            targeted: whether there is a volatility target.
            dtype: of the inputs; money is float64.
        """
        episode, counted, *_ = windows.pairs
        number = torch.arange(len(counted), device=counted.device)
        follows = torch.zeros_like(number, dtype=torch.bool)
        follows[1:] = windows.asset[1:] == windows.asset[:-1]
        previous = torch.where(follows, number - 1, -1)
        sigma = episode.features[:, :, 0, SIGMA].double()
        return cls(
            Days(windows.inputs.to(dtype), _ratio(sigma, previous, targeted=targeted), counted),
            windows.past.to(dtype),
            sigma,
            Account(
                episode.scale[..., 0],
                episode.next_returns[..., 0],
                each_rate(episode.terms.costs, lambda rate: rate[..., 0]),
                episode.lag,
            ),
            previous,
            episode.bars_per_year,
        )

    def __len__(self) -> int:
        return len(self.past)

    def take(self, rows: Tensor) -> ClosedWindows:
        """The windows of the given numbers."""
        return self._each(lambda values: values[rows], self.past[rows], self.previous[rows])

    def to(self, device: torch.device) -> ClosedWindows:
        """The same windows on a device."""
        past, previous = self.past.to(device), self.previous.to(device)
        return self._each(lambda values: values.to(device), past, previous)

    def joined(self) -> ClosedWindows:
        """One window for each asset: all of its days, padded at the end with days that do not count."""
        first = torch.nonzero(self.previous < 0).flatten()
        counts = torch.diff(first, append=first.new_tensor([len(self)]))
        place = torch.arange(int(counts.max()), device=first.device)
        rows, missing = (first[:, None] + place).clip(max=len(self) - 1), place >= counts[:, None]

        def join(values: Tensor) -> Tensor:
            windows = values[rows]  # [A, K, L, ...]
            gone = missing.reshape(*missing.shape, *(1,) * (windows.ndim - 2))
            return windows.masked_fill(gone, 0).flatten(1, 2)

        return self._each(join, self.past[first], torch.full_like(first, -1))

    def loss(self, decided: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Settle what was decided on every day.

        Args:
            decided: [B, L].
            weights: [B, lag + 1] those that were decided on the days before it.

        Returns:
            Minus the annualised net Sharpe ratio, pooled over the days that count; the weights [B, lag + 1]
            decided up to the last day.
        """
        ledger, left = self.account.settle(decided.double(), weights)
        ratio: Tensor = sharpe(
            ledger.net.flatten(),
            self.days.alive.flatten(),
            ddof=0,
            floor=LOSS_FLOOR,
            bars_per_year=self.bars_per_year,
        )
        return -ratio, left

    def flat(self) -> tuple[Tensor, Tensor]:
        """The decision [B] and the weights [B, lag + 1] of accounts that hold nothing yet."""
        shape = len(self), self.account.lag + 1
        weights = self.past.new_zeros(shape, dtype=torch.float64)
        return self.past.new_zeros(len(self)), weights

    def _each(self, change: Callable[[Tensor], Tensor], past: Tensor, previous: Tensor) -> ClosedWindows:
        """Every part [B, L, ...] changed."""
        scale, returns, costs, lag = self.account
        return ClosedWindows(
            Days(*(change(part) for part in self.days)),
            past,
            change(self.sigma),
            Account(change(scale), change(returns), each_rate(costs, change), lag),
            previous,
            self.bars_per_year,
        )


def _ratio(sigma: Tensor, previous: Tensor, *, targeted: bool) -> Tensor:
    """[B, L] sigma_t / sigma_{t-1}, or 1; 0 where there is no day before."""
    last = torch.where(previous >= 0, sigma[previous.clip(0), -1], 0.0)
    before = torch.cat([last[:, None], sigma[:, :-1]], dim=1)
    known = before > 0.0
    ratio = sigma / torch.where(known, before, 1.0) if targeted else torch.ones_like(sigma)
    return ratio * known


def each_rate(costs: Costs[Array] | None, change: Callable[[Array], Array]) -> Costs[Array] | None:
    """The costs with every rate that differs between days changed."""
    return None if costs is None else costs.each(lambda rate: change(rate) if rate.ndim else rate)

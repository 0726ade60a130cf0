"""The same step as public code takes it: float64; modules, backward and optimiser of each market apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from agents.quantnet.network import QuantNetwork
from qn_env.objectives import LOSS_FLOOR
from qn_env.year import DAYS_PER_YEAR


class Market(nn.Module):
    """Encoder, decoder and head of one market around a transfer layer that belongs to all."""

    def __init__(self, n: int, dimension: int) -> None:
        super().__init__()
        self.encoder = nn.LSTM(n, dimension, batch_first=True)
        self.decoder = nn.LSTM(dimension, n, batch_first=True)
        self.head = nn.Linear(n, n)

    def forward(self, returns: Tensor, omega: nn.Linear) -> Tensor:
        """[B, L, n] returns to [B, L, n] signals."""
        hidden, _ = self.encoder(returns)
        hidden, _ = self.decoder(omega(hidden))
        signals: Tensor = torch.tanh(self.head(hidden))
        return signals


class PublicStep:
    """One pass over the markets, each with a backward pass and an optimiser step of its own.

    The shared layer steps once, with an optimiser of its own. The work that a careful writer would not leave
    out is not in here either: no masks, no costs, no clipping.
    """

    def __init__(
        self, returns: Mapping[str, Tensor], *, dimension: int, length: int, batch: int, rate: float
    ) -> None:
        """Build modules and optimisers.

        Args:
            returns: [T, n] by market, float64, without gaps.
            dimension: the transfer dimension.
            length: days of a window.
            batch: windows per market.
            rate: of learning.
        """
        device = next(iter(returns.values())).device
        self._returns, self._length, self._batch = dict(returns), length, batch
        self._unit = {name: values.std(0, correction=0) for name, values in returns.items()}
        self.markets: dict[str, Any] = {
            name: Market(values.shape[1], dimension).double().to(device) for name, values in returns.items()
        }
        self.omega = nn.Linear(dimension, dimension).double().to(device)
        self._optimizers = {
            name: torch.optim.Adam(market.parameters(), lr=rate, amsgrad=True)
            for name, market in self.markets.items()
        }
        self._shared = torch.optim.Adam(self.omega.parameters(), lr=rate, amsgrad=True)
        self._generator = torch.Generator().manual_seed(0)

    def __call__(self) -> None:
        """Every market in turn."""
        self._shared.zero_grad()
        for name, optimizer in self._optimizers.items():
            last = len(self._returns[name]) - self._length
            starts = torch.randint(last, (self._batch,), generator=self._generator)
            optimizer.zero_grad()
            torch.autograd.backward(self.loss(name, starts))
            optimizer.step()
        self._shared.step()

    def loss(self, name: str, starts: Tensor) -> Tensor:
        """Minus the mean Sharpe ratio of one market's windows [B] and assets."""
        history, L = self._returns[name], self._length
        seen = torch.stack([history[s : s + L] for s in starts.tolist()])
        earned = torch.stack([history[s + 1 : s + 1 + L] for s in starts.tolist()])
        net = self.markets[name](seen / self._unit[name], self.omega) * earned
        variance = net.var(1, correction=0).clip(LOSS_FLOOR)
        loss: Tensor = -(DAYS_PER_YEAR**0.5 * net.mean(1) / variance.sqrt()).mean()
        return loss

    @torch.no_grad()
    def copy(self, network: QuantNetwork) -> None:
        """Take the weights of the project's network of the same markets."""
        for name, market in self.markets.items():
            for ours, theirs in zip(market.parameters(), network.own(name), strict=True):
                ours.copy_(theirs)
        assert network.omega is not None
        for ours, theirs in zip(self.omega.parameters(), network.omega.parameters(), strict=True):
            ours.copy_(theirs)

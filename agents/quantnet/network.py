"""QuantNet (Koshiyama et al. 2020, Eqs. 2-4 and 12-15): encoder, shared transfer layer, decoder, head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["lstm", "linear"]
State = list[tuple[Tensor, Tensor] | None]


class Part(nn.Module):
    """One encoder, transfer layer or decoder: an LSTM or a linear map."""

    def __init__(self, kind: Kind, n_in: int, n_out: int) -> None:
        super().__init__()
        self.body = nn.LSTM(n_in, n_out, batch_first=True) if kind == "lstm" else nn.Linear(n_in, n_out)

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """[B, L, n_in] -> [B, L, n_out], and the state after the last day (None for a linear map)."""
        if isinstance(self.body, nn.LSTM):
            outputs, state = self.body(inputs, state)
            return outputs, state
        return self.body(inputs), None


class QuantNetwork(nn.Module):
    """Signals s = tanh(W d + b) of every market, with the transfer layer in the middle, or without it.

    With transfer: encoder (n -> N), omega (N -> N, the only shared parameters), decoder (N -> n), head.
    Without: one body (n -> n) per market, then the head (Eq. 2).
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        encoder: Kind,
        transfer: Kind | None,
        decoder: Kind,
        dimension: int,
        dropout: float,
    ) -> None:
        """Build the parts.

        Args:
            sizes: number of assets n of each market.
            encoder: kind of the encoders; of the body without transfer.
            transfer: kind of the shared layer, or None for No Transfer.
            decoder: kind of the decoders.
            dimension: the transfer dimension N.
            dropout: rate on the encoders' outputs while training; masks come from `generator`.
        """
        super().__init__()
        self.names = tuple(sizes)
        self.dropout = dropout
        self.generator = torch.Generator()
        width = {name: dimension if transfer else n for name, n in sizes.items()}
        # Lists, not dictionaries: a market's name may hold a dot.
        self.encoders = nn.ModuleList(Part(encoder, n, width[name]) for name, n in sizes.items())
        self.omega = Part(transfer, dimension, dimension) if transfer else None
        self.decoders = nn.ModuleList(Part(decoder, dimension, n) for n in sizes.values() if transfer)
        self.heads = nn.ModuleList(nn.Linear(n, n) for n in sizes.values())

    def forward(self, market: str, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Signals [B, L, n] of one market from its returns [B, L, n], and the state after the last day."""
        i = self.names.index(market)
        before: State = state if state is not None else [None, None, None]
        hidden, encoded = self.encoders[i](inputs, before[0])
        hidden, mixed, decoded = self._drop(hidden), None, None
        if self.omega is not None:
            hidden, mixed = self.omega(hidden, before[1])
            hidden, decoded = self.decoders[i](hidden, before[2])
        return torch.tanh(self.heads[i](hidden)), [encoded, mixed, decoded]

    def _drop(self, values: Tensor) -> Tensor:
        if not self.training or self.dropout == 0.0:
            return values
        keep = 1.0 - self.dropout
        return values * torch.empty_like(values).bernoulli_(keep, generator=self.generator) / keep

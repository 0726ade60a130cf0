"""QuantNet (Koshiyama et al. 2020, Eqs. 2-4 and 12-15): encoder, shared transfer layer, decoder, head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypedDict

import torch
from torch import Tensor, nn

Kind = Literal["lstm", "linear"]
# What a part remembers: hidden and cell state of every LSTM layer, or the days before today it still reads.
Memory = tuple[Tensor, ...]
State = list[Memory]


class Dropout:
    """Elementwise dropout whose masks come from a generator of its own; none at prediction.

    `nn.LSTM` drops nothing with one layer and draws from the global generator, so it is not used.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def __call__(self, values: Tensor, rate: float) -> Tensor:
        """The values with a share `rate` of them set to zero, the others scaled up."""
        if rate == 0.0:
            return values
        keep = 1.0 - rate
        return values * torch.empty_like(values).bernoulli_(keep, generator=self._generator) / keep


class Depth(TypedDict):
    """What encoders and decoders share: how many LSTM layers, and the dropout behind each."""

    layers: int
    dropout: float


class Part(nn.Module):
    """An encoder, transfer layer or decoder: LSTM layers with dropout behind each, or a linear map.

    A linear map has no state and no dropout (Table 3); with `lags` above 1 it reads so many days at once.
    """

    def __init__(
        self, kind: Kind, n_in: int, n_out: int, *, layers: int = 1, dropout: float = 0.0, lags: int = 1
    ) -> None:
        super().__init__()
        self.kind = kind
        self.lags = lags if kind == "linear" else 1
        self.dropout = dropout
        widths = [n_in] + [n_out] * layers
        # One module a layer, so that dropout between them can draw from its own generator.
        self.layers = nn.ModuleList(
            nn.LSTM(widths[k], widths[k + 1], batch_first=True)
            for k in range(layers if kind == "lstm" else 0)
        )
        self.linear = nn.Linear(n_in * self.lags, n_out) if kind == "linear" else None

    def forward(self, inputs: Tensor, memory: Memory, drop: Dropout | None) -> tuple[Tensor, Memory]:
        """[B, L, n_in] -> [B, L, n_out], and the memory after the last day; () is the zero state."""
        if self.linear is not None:
            seen, memory = self._with_past(inputs, memory)
            outputs: Tensor = self.linear(seen)
            return outputs, memory
        found: list[Tensor] = []
        for k, lstm in enumerate(self.layers):
            before = (memory[2 * k], memory[2 * k + 1]) if memory else None
            inputs, after = lstm(inputs, before)
            found += after
            inputs = inputs if drop is None else drop(inputs, self.dropout)
        return inputs, tuple(found)

    def _with_past(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Today's row and the `lags` - 1 before it side by side, [B, L, n_in * lags]; zeros before all."""
        if self.lags == 1:
            return inputs, ()
        B, L, n = inputs.shape
        past = memory[0] if memory else inputs.new_zeros(B, self.lags - 1, n)
        rows = torch.cat([past, inputs], dim=1)
        # Newest day first: block k of the columns is the return k days ago.
        seen = torch.cat([rows[:, self.lags - 1 - k :][:, :L] for k in range(self.lags)], dim=-1)
        return seen, (rows[:, L:],)


class QuantNetwork(nn.Module):
    """Signals s = tanh(W d + b) of every market, with the transfer layer in the middle, or without it.

    With transfer: encoder (n -> N), omega (N -> N, the only shared parameters), decoder (N -> n), head.
    Without: one body (n -> n) per market, then the head (Eq. 2); a linear body is the head itself.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        encoder: Kind = "lstm",
        transfer: Kind | None = "linear",
        decoder: Kind = "lstm",
        dimension: int = 10,
        layers: int = 1,
        dropout: float = 0.0,
        transfer_layers: int = 1,
        transfer_dropout: float = 0.0,
        decoder_hidden: int | None = None,
        lags: int = 1,
    ) -> None:
        """Build the parts.

        Args:
            sizes: number of assets n of each market.
            encoder: kind of the encoders; of the body without transfer.
            transfer: kind of the shared layer, or None for No Transfer.
            decoder: kind of the decoders.
            dimension: the transfer dimension N.
            layers: LSTM layers of encoders and decoders.
            dropout: rate behind each of these layers while training.
            transfer_layers: LSTM layers of the transfer layer.
            transfer_dropout: rate behind each of these layers while training.
            decoder_hidden: width of the decoders; None is each market's number of assets.
            lags: days a linear encoder reads at once.
        """
        super().__init__()
        self.names: list[str] = []
        self.generator = torch.Generator()
        self._drop = Dropout(self.generator)
        self._transfer = transfer is not None
        self._body: Depth = {"layers": layers, "dropout": dropout}
        self._kinds: tuple[Kind, Kind] = (encoder, decoder)
        self._dimension, self._decoder_hidden, self._lags = dimension, decoder_hidden, lags
        self.omega = (
            Part(transfer, dimension, dimension, layers=transfer_layers, dropout=transfer_dropout)
            if transfer is not None
            else None
        )
        # Lists, not dictionaries: a market's name may hold a dot.
        self.encoders, self.decoders, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for name, n in sizes.items():
            self.add(name, n)

    def add(self, market: str, n: int) -> None:
        """Give one more market of n assets its encoder, decoder and head."""
        encoder, decoder = self._kinds
        self.names.append(market)
        if self._transfer:
            width = self._decoder_hidden or n
            self.encoders.append(Part(encoder, n, self._dimension, lags=self._lags, **self._body))
            self.decoders.append(Part(decoder, self._dimension, width, **self._body))
            self.heads.append(nn.Linear(width, n))
        elif encoder == "lstm":
            self.encoders.append(Part(encoder, n, n, **self._body))
            self.heads.append(nn.Linear(n, n))
        else:
            self.encoders.append(Part(encoder, n, n, lags=self._lags))

    def own(self, market: str) -> list[nn.Parameter]:
        """The parameters that belong to one market alone."""
        i = self.names.index(market)
        parts = [found[i] for found in (self.encoders, self.decoders, self.heads) if i < len(found)]
        return [parameter for part in parts for parameter in part.parameters()]

    def copy(self, source: str, target: str) -> None:
        """Give `target` the encoder, decoder and head of `source`, a market of the same size."""
        with torch.no_grad():
            for ours, theirs in zip(self.own(target), self.own(source), strict=True):
                ours.copy_(theirs)

    def encode(self, market: str, inputs: Tensor, state: State | None = None) -> tuple[Tensor, Memory]:
        """The encoder's scores e_t [B, L, N] (Eq. 12), before dropout acts."""
        encoded: tuple[Tensor, Memory] = self.encoders[self.names.index(market)](
            inputs, state[0] if state else (), None
        )
        return encoded

    def forward(self, market: str, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Signals [B, L, n] of one market from its returns [B, L, n], and the state after the last day."""
        i = self.names.index(market)
        drop = self._drop if self.training else None
        before = state if state is not None else [(), (), ()]
        hidden, encoded = self.encoders[i](inputs, before[0], drop)
        mixed: Memory = ()
        decoded: Memory = ()
        if self.omega is not None:
            hidden, mixed = self.omega(hidden, before[1], drop)
            hidden, decoded = self.decoders[i](hidden, before[2], drop)
        if i < len(self.heads):
            hidden = self.heads[i](hidden)
        return torch.tanh(hidden), [encoded, mixed, decoded]

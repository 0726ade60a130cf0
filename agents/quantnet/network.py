"""QuantNet (Koshiyama et al. 2020, Eqs. 2-4 and 12-15): encoder, shared transfer layer, decoder, head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from agents.quantnet.parts import Depth, Dropout, Kind, MarketNetwork, Memory, Part, State
from qn_env.arrays import FloatArray
from qn_env.episodes import Episode
from qn_env.errors import ConfigError
from qn_env.features import Feature


class QuantNetwork(MarketNetwork):
    """Signals s = tanh(W d + b) of every market, with the transfer layer in the middle, or without it.

    With transfer: encoder (n -> N), omega (N -> N, the only shared parameters), decoder (N -> n), head.
    Without: one body (n -> n) per market, then the head (Eq. 2); a linear body is the head itself.

    It sees a market's returns of the day, each divided by the asset's standard deviation in the training
    block: a fixed rescaling of the encoder's input weights, so that 63-day windows of 1% returns reach the
    LSTM's gates.
    """

    options: ClassVar[tuple[str, ...]] = (
        *("encoder", "transfer", "decoder", "dimension", "layers", "dropout"),
        *("transfer_layers", "transfer_dropout", "decoder_hidden", "lags"),
    )
    features: ClassVar[tuple[Feature, ...]] = ()
    plays_unseen: ClassVar[bool] = False

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
        self.names = []
        self._sizes: dict[str, int] = {}
        self.generator = torch.Generator()
        self.drop = Dropout(self.generator)
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
        self._sizes[market] = n
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
        parts = [group[i] for group in (self.encoders, self.decoders, self.heads) if i < len(group)]
        return [parameter for part in parts for parameter in part.parameters()]

    def embeddings(self) -> list[nn.Parameter]:
        """None."""
        return []

    def forget_embeddings(self) -> None:
        """Refused: there are none."""
        raise ConfigError("only shared weights have embeddings to leave out.")

    def inputs(self, returns: FloatArray, features: FloatArray, unit: FloatArray) -> Tensor:
        """[B, L, n] returns in units of the training block's deviations."""
        return torch.tensor(returns / unit, dtype=torch.float32)

    def inputs_of(self, episode: Episode) -> Tensor:
        """The same of an episode."""
        return episode.inputs

    def copy(self, source: str, target: str) -> None:
        """Give `target` the encoder, decoder and head of `source`, a market of the same size."""
        if self._sizes[source] != self._sizes[target]:
            raise ConfigError(
                f"market {target!r} has {self._sizes[target]} assets and {source!r} has "
                f"{self._sizes[source]}; an encoder serves markets of one size."
            )
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
        drop = self.drop if self.training else None
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

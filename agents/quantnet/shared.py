"""QuantNet with weights shared by all assets and markets; what is a market's own is a small embedding.

The published network shares only omega and learns an encoder and a decoder per market, which short
histories cannot pay for. Here encoder, omega, decoder and head read one asset at a time beside its market's
mean, so that any number of assets in any order is served, and learnt vectors of the market and of the asset
condition them. While training, vectors are set to zero at random: zero is what an unseen market has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from agents.quantnet.parts import Depth, Dropout, Kind, MarketNetwork, Memory, Part, State
from qn_env.arrays import FloatArray
from qn_env.episodes import Episode
from qn_env.errors import ConfigError
from qn_env.features import Defined, Feature, NormalisedReturn, Winsorised

# What is seen of an asset: its normalised return, whether there is one, and the mean over the market.
OBSERVED = 3
# A return in units of its asset's own volatility, and whether there is one.
_NORMALISED = Winsorised(NormalisedReturn(1))


class SharedNetwork(MarketNetwork):
    """Signals of every asset from its own normalised returns and its market's mean, one network for all.

    Returns are over their causal EW volatility, so that an asset without any history of training is served.
    """

    options: ClassVar[tuple[str, ...]] = (
        *("encoder", "transfer", "decoder", "dimension", "layers", "dropout"),
        *("transfer_layers", "transfer_dropout", "decoder_hidden"),
        *("embedding", "embedding_dropout"),
    )
    features: ClassVar[tuple[Feature, ...]] = (_NORMALISED, Defined((_NORMALISED,)))
    plays_unseen: ClassVar[bool] = True

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        encoder: Kind = "lstm",
        transfer: Kind = "linear",
        decoder: Kind = "lstm",
        dimension: int = 10,
        layers: int = 1,
        dropout: float = 0.0,
        transfer_layers: int = 1,
        transfer_dropout: float = 0.0,
        decoder_hidden: int | None = None,
        embedding: int = 4,
        embedding_dropout: float = 0.5,
    ) -> None:
        """Build the parts.

        Args:
            sizes: number of assets n of each market, for the asset embeddings.
            encoder: kind of the encoder.
            transfer: kind of the transfer layer.
            decoder: kind of the decoder.
            dimension: the transfer dimension N.
            layers: LSTM layers of encoder and decoder.
            dropout: rate behind each of these layers while training.
            transfer_layers: LSTM layers of the transfer layer.
            transfer_dropout: rate behind each of these layers while training.
            decoder_hidden: width of the decoder; None is the transfer dimension.
            embedding: width of a market's and of an asset's embedding.
            embedding_dropout: share of the markets and of the assets whose embedding is zero in a window.
        """
        super().__init__()
        self.names = []
        self.generator = torch.Generator()
        self.drop = Dropout(self.generator)
        self._embedding, self._embedding_dropout = embedding, embedding_dropout
        width = decoder_hidden or dimension
        body: Depth = {"layers": layers, "dropout": dropout}
        self.encoder = Part(encoder, OBSERVED + 2 * embedding, dimension, **body)
        self.omega = Part(transfer, dimension, dimension, layers=transfer_layers, dropout=transfer_dropout)
        self.decoder = Part(decoder, dimension + 2 * embedding, width, **body)
        self.head = nn.Linear(width, 1)
        self.markets, self.assets = nn.ParameterList(), nn.ParameterList()
        for name, n in sizes.items():
            self.add(name, n)

    def add(self, market: str, n: int) -> None:
        """Give one more market of n assets its embeddings; zero until they are learnt."""
        self.names.append(market)
        self.markets.append(nn.Parameter(torch.zeros(self._embedding)))
        self.assets.append(nn.Parameter(torch.zeros(n, self._embedding)))

    def embeddings(self) -> list[nn.Parameter]:
        """Of every market, then of every market's assets."""
        return [*self.markets, *self.assets]

    def inputs(self, returns: FloatArray, features: FloatArray, unit: FloatArray) -> Tensor:
        """[B, L, n, 2] normalised returns and whether there is one."""
        return torch.tensor(features, dtype=torch.float32)

    def inputs_of(self, episode: Episode) -> Tensor:
        """The same of an episode."""
        return episode.features

    def copy(self, source: str, target: str) -> None:
        """Refused: an unseen market starts at the zero embedding."""
        raise ConfigError(
            "shared weights start at the zero embedding; like=NAME is for the published network."
        )

    def own(self, market: str) -> list[nn.Parameter]:
        """The embeddings of one market and its assets."""
        i = self.names.index(market)
        return [self.markets[i], self.assets[i]]

    def forget_embeddings(self) -> None:
        """Treat every market and asset as one never seen."""
        with torch.no_grad():
            for embedding in (*self.markets, *self.assets):
                embedding.zero_()

    def encode(self, market: str, inputs: Tensor, state: State | None = None) -> tuple[Tensor, Memory]:
        """The market's scores e_t [B, L, N]: the mean over assets of the encoder's outputs."""
        B, L, n, _ = inputs.shape
        given = self._embeddings_of(market, B)
        hidden, memory = self.encoder(self._sequences(inputs, given), state[0] if state else (), None)
        return hidden.reshape(B, n, L, -1).mean(1), memory

    def forward(self, market: str, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Signals [B, L, n] from [B, L, n, 2] normalised returns and whether there is one."""
        B, L, n, _ = inputs.shape
        drop = self.drop if self.training else None
        before = state if state is not None else [(), (), ()]
        given = self._embeddings_of(market, B)
        hidden, encoded = self.encoder(self._sequences(inputs, given), before[0], drop)
        hidden, mixed = self.omega(hidden, before[1], drop)
        hidden = torch.cat([hidden, given[:, None].expand(-1, L, -1)], dim=-1)
        hidden, decoded = self.decoder(hidden, before[2], drop)
        signals = torch.tanh(self.head(hidden)).reshape(B, n, L).transpose(1, 2)
        return signals, [encoded, mixed, decoded]

    def _sequences(self, inputs: Tensor, given: Tensor) -> Tensor:
        """[B * n, L, 3 + 2 d] what the encoder reads of every asset."""
        B, L, n, _ = inputs.shape
        returns, present = inputs[..., 0], inputs[..., 1]
        mean = (returns * present).sum(-1, keepdim=True) / present.sum(-1, keepdim=True).clip(1)
        seen = torch.stack([returns, present, mean.expand_as(returns)], dim=-1)
        own = seen.transpose(1, 2).reshape(B * n, L, OBSERVED)
        return torch.cat([own, given[:, None].expand(-1, L, -1)], dim=-1)

    def _embeddings_of(self, market: str, B: int) -> Tensor:
        """[B * n, 2 d] embeddings of market and asset, some of them zero while training."""
        i = self.names.index(market)
        assets: Tensor = self.assets[i]
        n = len(assets)
        common = self.markets[i].expand(B, 1, -1) * self._kept(B, 1)
        own = assets.expand(B, -1, -1) * self._kept(B, n)
        return torch.cat([common.expand(-1, n, -1), own], dim=-1).reshape(B * n, -1)

    def _kept(self, B: int, n: int) -> Tensor:
        """[B, n, 1] 1 where an embedding is used, 0 where it is dropped (not scaled: zero means unseen)."""
        like = self.head.weight
        if self.training and self._embedding_dropout > 0.0:
            return self.drop.kept(like.new_empty(B, n, 1), self._embedding_dropout)
        return like.new_ones(B, n, 1)

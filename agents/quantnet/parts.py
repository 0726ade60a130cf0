"""What both networks of QuantNet are made of, and what the agent asks of either."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol, TypedDict

import torch
from torch import Tensor, nn

from qn_env.arrays import FloatArray
from qn_env.episodes import Episode
from qn_env.features import Feature

Kind = Literal["lstm", "linear"]
# What a part remembers: hidden and cell state of every LSTM layer, or the days before today it still reads.
Memory = tuple[Tensor, ...]
State = list[Memory]


class Masks(Protocol):
    """What drops in place of a generator, where somebody has drawn already."""

    def __call__(self, like: Tensor, rate: float) -> Tensor:
        """1 where something is kept, 0 where it is dropped."""

    def keep(self, rate: float) -> Tensor:
        """The share that is kept where `rate` is dropped."""


def draw_kept(into: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """1 with probability 1 - rate, else 0, on the CPU: one number after the other as they lie in memory."""
    return into.bernoulli_(1.0 - rate, generator=generator)


class Dropout:
    """Elementwise dropout whose masks come from a generator of its own; none at prediction.

    `nn.LSTM` drops nothing with one layer and draws from the global generator, so it is not used.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self.masks: Masks | None = None

    def __call__(self, values: Tensor, rate: float) -> Tensor:
        """The values with a share `rate` of them set to zero, the others scaled up."""
        if rate == 0.0:
            return values
        if self.masks is not None:
            return values * self.masks(values, rate) / self.masks.keep(rate)
        return values * self.kept(values, rate) / (1.0 - rate)

    def kept(self, like: Tensor, rate: float) -> Tensor:
        """1 where something is kept, 0 where it is dropped; drawn on the CPU, wherever it is wanted."""
        if self.masks is not None:
            return self.masks(like, rate)
        drawn = draw_kept(torch.empty_like(like, device="cpu"), rate, self._generator)
        return drawn.to(like.device)


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
        after_all: list[Tensor] = []
        for k, lstm in enumerate(self.layers):
            before = (memory[2 * k], memory[2 * k + 1]) if memory else None
            inputs, after = lstm(inputs, before)
            after_all += after
            inputs = inputs if drop is None else drop(inputs, self.dropout)
        return inputs, tuple(after_all)

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


class MarketNetwork(nn.Module, ABC):
    """Signals of every market from its own history; what the agent asks of a network.

    Attributes:
        options: the fields of `QuantNetConfig` that it is built with.
        features: what it reads beside returns.
        plays_unseen: whether a market that was never trained on can be played.
        names: its markets, in order.
        generator: what dropout draws from.
        drop: dropout.
    """

    options: ClassVar[tuple[str, ...]]
    features: ClassVar[tuple[Feature, ...]]
    plays_unseen: ClassVar[bool]
    names: list[str]
    generator: torch.Generator
    drop: Dropout

    @abstractmethod
    def add(self, market: str, n: int) -> None:
        """Take in one more market of n assets, untrained."""

    @abstractmethod
    def copy(self, source: str, target: str) -> None:
        """Let a new market begin at the weights of a known one.

        Raises:
            ConfigError: it cannot.
        """

    @abstractmethod
    def own(self, market: str) -> list[nn.Parameter]:
        """The parameters that belong to one market alone."""

    @abstractmethod
    def embeddings(self) -> list[nn.Parameter]:
        """The learnt vectors that condition shared weights."""

    @abstractmethod
    def forget_embeddings(self) -> None:
        """Treat every market as one that was never seen.

        Raises:
            ConfigError: it has no embeddings.
        """

    @abstractmethod
    def inputs(self, returns: FloatArray, features: FloatArray, unit: FloatArray) -> Tensor:
        """What it reads of one market.

        Args:
            returns: [B, L, n] simple returns.
            features: [B, L, n, F] of `features`.
            unit: [n] each asset's standard deviation in the training block.
        """

    @abstractmethod
    def inputs_of(self, episode: Episode) -> Tensor:
        """The same of an episode."""

    @abstractmethod
    def encode(self, market: str, inputs: Tensor, state: State | None = None) -> tuple[Tensor, Memory]:
        """The encoder's scores (Eq. 12), before dropout acts."""

    def parameter_groups(
        self, learnt: Sequence[nn.Parameter], embedding_decay: float
    ) -> list[dict[str, Sequence[nn.Parameter] | float]]:
        """Groups for the optimiser: weights, then embeddings with an L2 penalty."""
        embeddings = {id(p) for p in self.embeddings()}
        weights = [p for p in learnt if id(p) not in embeddings]
        others = [p for p in learnt if id(p) in embeddings]
        groups: list[dict[str, Sequence[nn.Parameter] | float]] = [{"params": weights}] if weights else []
        return groups + ([{"params": others, "weight_decay": embedding_decay}] if others else [])

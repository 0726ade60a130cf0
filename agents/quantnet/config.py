"""The hyperparameters of QuantNet and its variants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agents.limits import (
    check_counts,
    check_layers,
    check_penalties,
    check_positive,
    check_shares,
    check_widths,
)
from agents.quantnet.parts import Kind
from qn_env.checks import check_flag
from qn_env.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class QuantNetConfig:
    """Hyperparameters; the paper's ranges are in `agents.quantnet.space` (Table 3)."""

    encoder: Kind = "lstm"
    transfer: Kind | None = "linear"  # None is No Transfer
    decoder: Kind = "lstm"
    weights: Literal["market", "shared"] = "market"  # encoders and decoders per market, or one for all assets
    dimension: int = 10  # the transfer dimension N
    layers: int = 1  # LSTM layers of encoders and decoders
    dropout: float = 0.1  # behind each of them
    transfer_layers: int = 1  # LSTM layers of omega
    transfer_dropout: float = 0.0  # behind each of them
    decoder_hidden: int | None = None  # width of the decoders; None: number of assets (shared: N)
    lags: int = 1  # days a linear encoder reads at once
    embedding: int = 4  # shared weights: width of a market's and of an asset's embedding
    embedding_dropout: float = 0.5  # shared weights: share of the embeddings that are zero in a window
    embedding_decay: float = 1e-3  # shared weights: L2 penalty's gradient per unit of embedding
    batch: int = 32  # windows per market and step (L)
    length: int = 63  # days of a window (p)
    markets: int | None = None  # markets per step (m); None: all
    aligned: bool = False  # windows of all markets end on one date
    pooled: bool = False  # one Sharpe ratio over all windows of an asset, as in older code
    train_cost_bps: float = 0.0  # costs inside the objective
    learning_rate: float = 5e-3
    steps: int = 2000
    epoch: int = 50  # steps between two validations
    patience: int = 8  # validations without a better score
    max_norm: float = 1.0  # of the gradient

    def __post_init__(self) -> None:
        check_shares(self, ("dropout", "transfer_dropout", "embedding_dropout"))
        check_positive(self, ("learning_rate", "max_norm"))
        check_penalties(self, ("train_cost_bps", "embedding_decay"))
        check_widths(self, ("dimension", "lags", "embedding", "decoder_hidden"))
        check_layers(self, ("layers", "transfer_layers"))
        check_counts(self, ("batch", "length", "steps", "epoch", "patience", "markets"))
        for name in ("aligned", "pooled"):
            check_flag(name, getattr(self, name))
        self._check_kinds()

    def _check_kinds(self) -> None:
        for name in ("encoder", "transfer", "decoder"):
            kind = getattr(self, name)
            if kind not in ("lstm", "linear") and not (name == "transfer" and kind is None):
                raise ConfigError(f"{name} is {kind!r}, expected 'lstm' or 'linear'.")
        if self.weights not in ("market", "shared"):
            raise ConfigError(f"weights is {self.weights!r}, expected 'market' or 'shared'.")
        if self.weights == "shared" and self.transfer is None:
            raise ConfigError("shared weights need a transfer layer; transfer=None is No Transfer.")
        if self.lags > 1 and (self.encoder != "linear" or self.weights == "shared"):
            raise ConfigError(f"lags is {self.lags}; only a linear encoder of one market reads lags.")

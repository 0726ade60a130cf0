"""iTransformer (Liu, Hu, Zhang, Wu, Wang, Ma, Long 2024, arXiv:2310.06625): a feature is a token.

A feature's whole window is embedded as one token, attention is among features, and what is specific to each
is left to the feed-forward part. The paper first brings every series to mean 0 and deviation 1 of its window
and undoes it on the forecast. Momentum features come scaled, and their size is what they say: they are taken
as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.dmn.attention import EncoderLayer
from agents.dmn.windowed import WindowNetwork

LAYERS = 2


class ITransformerNetwork(WindowNetwork):
    """Tokens E u_f + b of the features, two encoder layers, Z_t = w' [tokens, c]."""

    def __init__(
        self,
        n_features: int,
        hidden: int,
        dropout: float,
        *,
        static: int = 0,
        context: int = 63,
        heads: int = 4,
    ) -> None:
        """Of so many features and static inputs; a token has `hidden` numbers."""
        super().__init__(dropout, context, static)
        self.embedding = nn.Linear(context, hidden)
        self.layers = nn.ModuleList(EncoderLayer(self.drop, hidden, heads) for _ in range(LAYERS))
        self.head = nn.Linear(n_features * hidden + static, 1)

    def read(self, windows: Tensor, static: Tensor) -> Tensor:
        """Z [B, L]."""
        tokens = self.drop(self.embedding(windows.permute(2, 0, 1, 3)))  # [F, B, L, H]
        for layer in self.layers:
            tokens = layer(tokens)
        z: Tensor = self.head(torch.cat([tokens.permute(1, 2, 0, 3).flatten(2), static], dim=-1))
        return z.squeeze(-1)

"""PatchTST (Nie, Nguyen, Sinthong, Kalagnanam 2023, arXiv:2211.14730), alone and beside an LSTM.

Each feature for itself, with weights that all share: its window is cut into patches, they are embedded as
tokens with positions, and a transformer encoder reads them. Where we differ: one head over the tokens of all
features, since one position is wanted and not a forecast of each; layer norms instead of batch norms; and
features are taken as they are instead of at mean 0 and deviation 1 of each window: their size is what they
say.

LSTM + PatchTST is a row of the comparison in arXiv:2603.01820. Our reading: the tokens of the window that
ends today beside the LSTM's state of today, under one head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.dmn.attention import Drop, EncoderLayer
from agents.dmn.network import Memory, Network
from agents.dmn.windowed import WindowNetwork, pieces, windows_of
from agents.lstm.masked import masked_lstm

# Days of a patch, and from the beginning of one to that of the next.
PATCH, STRIDE = 16, 8
LAYERS = 2


class PatchEncoder(nn.Module):
    """[B, L, F, context] windows -> [B, L, F * N * H] tokens of their N patches, each feature for itself."""

    def __init__(self, drop: Drop, hidden: int, heads: int, context: int) -> None:
        """Dropout as the whole network does it."""
        super().__init__()
        self._drop = drop
        self.length = min(PATCH, context)
        self.count = (context - self.length) // STRIDE + 2
        self.embedding = nn.Linear(self.length, hidden)
        self.position = nn.Parameter(torch.empty(self.count, hidden).uniform_(-0.02, 0.02))
        self.layers = nn.ModuleList(EncoderLayer(drop, hidden, heads) for _ in range(LAYERS))

    def forward(self, windows: Tensor) -> Tensor:
        """Patches, embedding, positions and encoder of the paper's section 3.1."""
        B, L, F = windows.shape[:3]
        patches = cut_patches(windows, self.length).permute(3, 0, 1, 2, 4).flatten(2, 3)  # [N, B, L * F, P]
        tokens = self._drop(self.embedding(patches) + self.position[:, None, None])
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens.view(self.count, B, L, F, -1).permute(1, 2, 3, 0, 4).flatten(2)


def cut_patches(windows: Tensor, length: int) -> Tensor:
    """[..., T] -> [..., N, length], N = floor((T - length) / 8) + 2.

    As in the paper the last day is repeated eight times behind the window, so that no day is left out.
    """
    repeated = windows[..., -1:].expand(*windows.shape[:-1], STRIDE)
    return torch.cat([windows, repeated], dim=-1).unfold(-1, length, STRIDE)


class PatchTstNetwork(WindowNetwork):
    """Z_t = w' [tokens of all features, c] + b."""

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
        self.patches = PatchEncoder(self.drop, hidden, heads, context)
        self.head = nn.Linear(n_features * self.patches.count * hidden + static, 1)

    def read(self, windows: Tensor, static: Tensor) -> Tensor:
        """Z [B, L]."""
        z: Tensor = self.head(torch.cat([self.patches(windows), static], dim=-1))
        return z.squeeze(-1)


class LstmPatchTstNetwork(Network):
    """Z_t = w' [h_t, tokens of all features] + b; the LSTM also reads the static inputs.

    Dropout in the LSTM after Gal and Ghahramani (2016), as that of Deep Momentum Networks has it.
    """

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
        """Of so many features and static inputs; state and tokens have `hidden` numbers each."""
        super().__init__(dropout)
        self.past, self.n_features = context - 1, n_features
        self.lstm = nn.LSTM(n_features + static, hidden, batch_first=True)
        self.patches = PatchEncoder(self.drop, hidden, heads, context)
        self.head = nn.Linear((1 + n_features * self.patches.count) * hidden, 1)

    def memory(self, past: Tensor) -> Memory:
        """The LSTM's zero state, hidden and cell, and the last days as they are."""
        zero = past.new_zeros(len(past), self.lstm.hidden_size)
        return zero, zero, past

    def forward(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Z_t of these days, and the memory after the last of them."""
        h, c, rows = memory
        B, L = inputs.shape[:2]
        rows = torch.cat([rows, inputs], dim=1)
        windows = windows_of(rows[..., : self.n_features], self.past + 1)
        states, h, c = self._states(inputs, h, c)
        z = [
            self.head(torch.cat([states[:, some], self.patches(windows[:, some])], dim=-1)).squeeze(-1)
            for some in pieces(B, L, whole=self.training)
        ]
        return torch.cat(z, dim=1), (h, c, rows[:, L:])

    def _states(self, inputs: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, L, H] the LSTM's states, and both states after the last day."""
        if not self.drops:
            states, (h, c) = self.lstm(inputs, (h[None], c[None]))
            return states, h[0], c[0]
        B, _, F = inputs.shape
        on_inputs, on_state, on_outputs = (self.mask((B, n), inputs) for n in (F, *(h.shape[1],) * 2))
        states, h, c = masked_lstm(self.lstm, inputs * on_inputs[:, None], on_state, h, c)
        return states * on_outputs[:, None], h, c

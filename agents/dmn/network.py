"""The LSTM of Deep Momentum Networks (Lim, Zohren, Roberts 2019, Eqs. 28-33), one for all assets."""

from __future__ import annotations

import torch
from torch import Tensor, nn

State = tuple[Tensor, Tensor]


class LstmNetwork(nn.Module):
    """u_t [B, L, F] -> X_t [B, L] in (-1, 1): LSTM, then tanh(w'h + b).

    Dropout takes one mask per sequence on inputs and outputs (Gal and Ghahramani 2016), drawn from
    `generator`; none at prediction.
    """

    def __init__(self, n_features: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_features, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)
        self.dropout = dropout
        self.generator = torch.Generator()

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Signals [B, L] and the state after the last day."""
        hidden, state = self.lstm(self._masked(inputs), state)
        return torch.tanh(self.head(self._masked(hidden))).squeeze(-1), state

    def _masked(self, values: Tensor) -> Tensor:
        """Drop whole channels of a sequence, [B, L, C], and scale the others up."""
        if not self.training or self.dropout == 0.0:
            return values
        keep = 1.0 - self.dropout
        shape = (values.shape[0], 1, values.shape[2])
        mask = torch.empty(shape, dtype=values.dtype).bernoulli_(keep, generator=self.generator)
        return values * mask / keep

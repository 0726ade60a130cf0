"""Variable selection and an LSTM, the first of the architectures compared in arXiv:2603.01820.

The selection is that of the temporal fusion transformer (Lim, Arik, Loeff, Pfister 2021, arXiv:1912.09363,
Eqs. 6-8): each day's inputs are embedded one by one and weighed anew, so that an input that tells nothing at
present is left out. An LSTM reads what is chosen, and a gated skip may pass it by (Eq. 5). Asset and market,
where they are told, are the context of the weights.
"""

from __future__ import annotations

from torch import Tensor, nn

from agents.dmn.gates import Gate, VariableSelection
from agents.dmn.network import Memory, Network


class VsnLstmNetwork(Network):
    """x_t = selection(u_t, c), h = LSTM(x), Z_t = w' LayerNorm(x_t + GLU(h_t)) + b."""

    def __init__(self, n_features: int, hidden: int, dropout: float, *, static: int = 0) -> None:
        """Inputs are [B, L, n_features + static], the last of them an embedding c of asset and market."""
        super().__init__(dropout)
        self.n_features, self.spread = n_features, 5 * n_features + Network.spread
        self.select = VariableSelection(self.drop, n_features, hidden, context=static)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.output = Gate(self.drop, hidden, hidden)
        self.head = nn.Linear(hidden, 1)

    def memory(self, past: Tensor) -> Memory:
        """The zero state, hidden and cell."""
        zero = past.new_zeros(len(past), self.lstm.hidden_size)
        return zero, zero

    def forward(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Z_t of these days, and the memory after the last of them."""
        h, c = memory
        chosen = self.select(inputs[..., : self.n_features], inputs[..., self.n_features :])
        recent, (h, c) = self.lstm(chosen, (h[None], c[None]))
        return self.head(self.output(recent, chosen)).squeeze(-1), (h[0], c[0])

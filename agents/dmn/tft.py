"""The temporal fusion transformer (Lim, Arik, Loeff, Pfister 2021, arXiv:1912.09363) as a position network.

Variable selection with a gated residual network for every input, an LSTM for what is near, static
enrichment, interpretable causal attention for what is far, a gated residual network for every day; gated
skips around each. Where asset and market are told, residual networks of their own make of that embedding
the contexts of selection and enrichment and the LSTM's state before the first day (Section 4.3). A position
takes the place of the paper's quantiles of several horizons: there are no known future inputs, and every day
is the last of its own decoder. Attention reaches a bounded number of days back, so that it streams.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.dmn.gates import Gate, GatedResidual, VariableSelection
from agents.dmn.network import Memory, Network
from agents.dmn.transformer import Attention

# What the static context is made into: of selection and enrichment, and both parts of the LSTM's state.
CONTEXTS = ("selection", "enrichment", "hidden", "cell")


class TftNetwork(Network):
    """Selection, LSTM, enrichment, attention, a residual network per day; Z_t = w' h_t + b."""

    def __init__(
        self, n_features: int, hidden: int, dropout: float, *, heads: int, context: int, static: int = 0
    ) -> None:
        """The network before it has learnt.

        Args:
            n_features: inputs of a day.
            hidden: width of every state.
            dropout: rate before every gate.
            heads: of the attention.
            context: days it attends to, today among them.
            static: numbers of the embedding of asset and market behind a day's inputs, the same on all days.
        """
        super().__init__(dropout)
        self.n_features, self.spread = n_features, 5 * n_features + Network.spread
        width = hidden if static else 0
        self.contexts = nn.ModuleDict(
            {name: GatedResidual(self.drop, static, hidden, hidden) for name in CONTEXTS if static}
        )
        self.select = VariableSelection(self.drop, n_features, hidden, context=width)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.local = Gate(self.drop, hidden, hidden)
        self.enrich = GatedResidual(self.drop, hidden, hidden, hidden, context=width)
        self.attention = Attention(hidden, heads, context)
        self.attended = Gate(self.drop, hidden, hidden)
        self.feed = GatedResidual(self.drop, hidden, hidden, hidden)
        self.output = Gate(self.drop, hidden, hidden)
        self.head = nn.Linear(hidden, 1)

    def memory(self, past: Tensor) -> Memory:
        """The LSTM's state, no day to attend to, and that no day has been read.

        The state, zero so far, becomes that of the static context with the first day, which tells it.
        """
        B, H, days = len(past), self.lstm.hidden_size, self.attention.context - 1
        zero = past.new_zeros(B, H)
        return zero, zero, past.new_zeros(B, days, H), past.new_zeros(B, days), past.new_zeros(B, 1)

    def beginning(self, past: Tensor) -> Memory:
        """The same without a day to attend to."""
        h, c, rows, seen, begun = self.memory(past)
        return h, c, rows[:, :0], seen[:, :0], begun

    def forward(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Z_t of these days, and the memory after the last of them."""
        h, c, rows, seen, begun = memory
        u, static = inputs[..., : self.n_features], inputs[:, :1, self.n_features :]
        told = {name: part(static) for name, part in self.contexts.items()}
        if told:
            h, c = (
                torch.where(begun > 0, part, told[name][:, 0])
                for name, part in zip(("hidden", "cell"), (h, c), strict=True)
            )
        chosen = self.select(u, told.get("selection"))
        recent, (h, c) = self.lstm(chosen, (h[None], c[None]))
        temporal = self.local(recent, chosen)
        enriched = self.enrich(temporal, told.get("enrichment"))
        far, rows, seen = self.attention.stream(enriched, rows, seen)
        fed = self.feed(self.attended(far, enriched))
        hidden = self.output(fed, temporal)
        return self.head(hidden).squeeze(-1), (h[0], c[0], rows, seen, torch.ones_like(begun))

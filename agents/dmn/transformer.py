"""The Momentum Transformer (Wood, Giegerich, Roberts, Zohren 2021, arXiv:2112.08302).

The decoder-only temporal fusion transformer: variable selection, an LSTM for what is near, interpretable
causal attention for what is far, gated residual networks around each. Where we simplify: a variable is
embedded by a line instead of a gated residual network of its own, no static variables (which would tell
assets apart), no changepoint inputs; attention reaches a bounded number of days back, so that it streams.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.dmn.gates import Gate, GatedResidual
from agents.dmn.network import Memory, Network

# Days of queries handled at once, and what is added to the score of a day that is not to be attended to.
PIECE = 14
UNSEEN = -1e30


class Attention(nn.Module):
    """Interpretable multi-head attention: heads have their own queries and keys, and share the values.

    The mean of the heads' outputs is one attention pattern on one set of values. Day i reads days i - context
    + 1 to i.
    """

    def __init__(self, hidden: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads, self.width, self.context = heads, max(hidden // heads, 1), context
        self.queries = nn.Linear(hidden, heads * self.width)
        self.keys = nn.Linear(hidden, heads * self.width)
        self.values = nn.Linear(hidden, self.width)
        self.out = nn.Linear(self.width, hidden, bias=False)

    def forward(self, rows: Tensor, seen: Tensor, past: int) -> Tensor:
        """[B, L, H] for the rows behind the first `past` ones of [B, past + L, H].

        Args:
            rows: past and present.
            seen: [B, past + L] bool, which of them there were.
            past: how many of them are past.
        """
        total = rows.shape[1]
        queries = self.queries(rows[:, past:]).unflatten(-1, (self.heads, self.width)).transpose(1, 2)
        keys = self.keys(rows).unflatten(-1, (self.heads, self.width)).permute(0, 2, 3, 1)
        queries, keys = (queries * self.width**-0.5).contiguous(), keys.contiguous()
        values = self.values(rows)
        place = torch.arange(total, device=rows.device)
        hidden = torch.where(seen, 0.0, UNSEEN).to(rows.dtype)
        parts = []
        # Piece by piece: a band of a long history is a small part of its square.
        for begin in range(past, total, PIECE):
            end = min(begin + PIECE, total)
            first = max(begin - self.context + 1, 0)
            ago = place[begin:end, None] - place[None, first:end]
            outside = torch.where((ago >= 0) & (ago < self.context), 0.0, UNSEEN).to(rows.dtype)
            scores = queries[:, :, begin - past : end - past] @ keys[..., first:end]
            scores += (outside + hidden[:, None, first:end])[:, None]
            pattern = torch.softmax(scores, dim=-1).mean(1)
            parts.append(pattern @ values[:, first:end])
        mixed: Tensor = self.out(torch.cat(parts, dim=1))
        return mixed

    def stream(self, present: Tensor, rows: Tensor, seen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, L, H] for the present days behind the past ones, and what the next pass needs of both.

        Args:
            present: [B, L, H].
            rows: [B, P, H] the past.
            seen: [B, P] 1 where there was a day, else 0.
        """
        known = rows.shape[1]
        # Where no sequence has a past there is nothing to attend to in it.
        empty = known if known and not bool(seen.any()) else 0
        rows = torch.cat([rows, present], dim=1)
        seen = torch.cat([seen, seen.new_ones(present.shape[:2])], dim=1)
        far = self(rows[:, empty:], seen[:, empty:] > 0, known - empty)
        kept = max(rows.shape[1] - (self.context - 1), 0)
        return far, rows[:, kept:].detach(), seen[:, kept:]


class TransformerNetwork(Network):
    """Variable selection, LSTM, enrichment, attention, feed-forward; Z_t = w' h_t + b."""

    def __init__(self, n_features: int, hidden: int, dropout: float, *, heads: int, context: int) -> None:
        super().__init__(dropout)
        self.context = context
        self.select = GatedResidual(self.drop, n_features, hidden, n_features)
        self.embedding = nn.Linear(n_features, hidden, bias=False)
        self.offset = nn.Linear(n_features, hidden, bias=False)
        self.lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.local = Gate(self.drop, hidden, hidden)
        self.enrich = GatedResidual(self.drop, hidden, hidden, hidden)
        self.attention = Attention(hidden, heads, context)
        self.attended = Gate(self.drop, hidden, hidden)
        self.feed = GatedResidual(self.drop, hidden, hidden, hidden)
        self.output = Gate(self.drop, hidden, hidden)
        self.head = nn.Linear(hidden, 1)

    def memory(self, past: Tensor) -> Memory:
        """The LSTM's zero state, and no day to attend to: enriched rows, and 1 where there was a day."""
        B, H, days = len(past), self.lstm.hidden_size, self.context - 1
        zero = past.new_zeros(B, H)
        return zero, zero, past.new_zeros(B, days, H), past.new_zeros(B, days)

    def beginning(self, past: Tensor) -> Memory:
        """The same without a day to attend to."""
        h, c, rows, seen = self.memory(past)
        return h, c, rows[:, :0], seen[:, :0]

    def forward(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Z_t of these days, and the memory after the last of them."""
        h, c, rows, seen = memory
        embedded = self.select_inputs(inputs)
        recent, (h, c) = self.lstm(embedded, (h[None], c[None]))
        temporal = self.local(recent, embedded)
        enriched = self.enrich(temporal)
        far, rows, seen = self.attention.stream(enriched, rows, seen)
        fed = self.feed(self.attended(far, enriched))
        hidden = self.output(fed, temporal)
        return self.head(hidden).squeeze(-1), (h[0], c[0], rows, seen)

    def select_inputs(self, inputs: Tensor) -> Tensor:
        """[..., H] embedded variables, each times its weight: sum_k v_k (e_k u_k + b_k)."""
        weights = torch.softmax(self.select(inputs), dim=-1)
        embedded: Tensor = self.embedding(weights * inputs) + self.offset(weights)
        return embedded

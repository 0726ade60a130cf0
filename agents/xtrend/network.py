"""The network of X-Trend (Wood, Kessler, Roberts, Zohren 2023, arXiv:2310.10500).

Keys and values are encoded from context sequences, values with the next returns as well; values attend to
each other; a query, the target's own days so far, attends to the keys; a decoder reads what it found beside
the target's inputs, and gives a position and a Gaussian of the next normalised return. Where we read the
paper: feed-forward layers are gated residual networks, an LSTM begins at zero, heads share the values, so
that one set of weights says what a decision attended to; one more context is always there, learnt and the
same for all, to attend to where the others are of no use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.dmn.network import Dropping

# Dropout as the whole network does it.
Drop = Callable[[Tensor], Tensor]

UNKNOWN = -1  # the number of an asset that was never seen
UNSEEN = -1e30  # added to the score of what is not to be attended to
OPEN = 1.5  # added to the bias of a forget gate at the beginning
LEAST_DEVIATION = 0.05  # of the Gaussian, in units of the normalised return

# Parameters of the network that begin at 0 and bend the straight line from inputs to outputs.
BENDS = tuple(f"decoder.{part}.weight" for part in ("scale", "shift", "bend", "select.second"))

State = tuple[Tensor, Tensor]  # hidden and cell of an LSTM, [B, H]


class Outputs(NamedTuple):
    """What the decoder gives of every day."""

    z: Tensor  # [B, L] the position before its tanh
    mean: Tensor  # [B, L] of the next normalised return
    deviation: Tensor  # [B, L] its standard deviation


class Sets(NamedTuple):
    """What may be attended to on U days: a set of C contexts each."""

    keys: Tensor  # [U, C, H]
    values: Tensor  # [U, C, H]
    seen: Tensor  # [U, C] bool


class GatedResidual(nn.Module):
    """LayerNorm(a + GLU(W1 ELU(W2 a + W3 c + b2) + b1)), a projected where the sizes differ (TFT)."""

    def __init__(self, drop: Drop, n_in: int, hidden: int, n_out: int, n_given: int) -> None:
        super().__init__()
        self._drop = drop
        self.first, self.second = nn.Linear(n_in, hidden), nn.Linear(hidden, hidden)
        self.given = nn.Linear(n_given, hidden, bias=False)
        self.gate = nn.Linear(hidden, 2 * n_out)
        self.skip = nn.Identity() if n_in == n_out else nn.Linear(n_in, n_out)
        self.norm = nn.LayerNorm(n_out)

    def forward(self, inputs: Tensor, given: Tensor) -> Tensor:
        """[..., n_in] and [..., n_given] -> [..., n_out]."""
        hidden = self.second(functional.elu(self.first(inputs) + self.given(given)))
        outputs: Tensor = self.norm(self.skip(inputs) + functional.glu(self.gate(self._drop(hidden)), dim=-1))
        return outputs


class Selection(nn.Module):
    """Embedded inputs, sum_j v_j (e_j u_j + b_j), v = softmax(W1 ELU(W2 u + W3 c + b2) + b1).

    All inputs weigh the same in the beginning.
    """

    def __init__(self, n_in: int, hidden: int, n_given: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(n_in, hidden), nn.Linear(hidden, n_in)
        self.given = nn.Linear(n_given, hidden, bias=False)
        self.embedding, self.offset = nn.Linear(n_in, hidden, bias=False), nn.Linear(n_in, hidden, bias=False)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, inputs: Tensor, given: Tensor) -> Tensor:
        """[..., n_in] and [..., n_given] -> [..., H]."""
        hidden = functional.elu(self.first(inputs) + self.given(given))
        weights = torch.softmax(self.second(hidden), dim=-1)
        selected: Tensor = self.embedding(weights * inputs) + self.offset(weights)
        return selected


class Encoder(nn.Module):
    """Selection, LSTM, feed-forward, each with a skip around it, conditioned on the asset."""

    def __init__(self, drop: Drop, n_in: int, hidden: int, n_given: int) -> None:
        super().__init__()
        self.select = Selection(n_in, hidden, n_given)
        self.lstm = remembering(nn.LSTM(hidden, hidden, batch_first=True))
        self.norm = nn.LayerNorm(hidden)
        self.feed = GatedResidual(drop, hidden, hidden, hidden, n_given)

    def forward(
        self, inputs: Tensor, given: Tensor, *, scale: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """[B, L, n_in] of assets with embeddings [B, E] -> [B, L, H], and the state after the last day.

        Args:
            inputs: of every day.
            given: embeddings.
            scale: [B, L, H] what a day's embedded inputs are multiplied with; None: 1.
            state: after the day before the first; None: zero.
        """
        asset = given[:, None].expand(-1, inputs.shape[1], -1)
        selected = self.select(inputs, asset)
        if scale is not None:
            selected = selected * scale
        recent, state = run(self.lstm, selected, state)
        return self.feed(self.norm(selected + recent), asset), state


class SelfAttention(nn.Module):
    """LayerNorm(v + W Attention(v, v, v)) among the values of a set, several heads."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, values: Tensor, seen: Tensor) -> Tensor:
        """[U, C, H], of which `seen` [U, C] are there, -> [U, C, H]."""
        parts = self.project(values).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, own = parts.unbind(0)  # [U, heads, C, d]
        scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
        weights = torch.softmax(scores + hide(seen, scores)[:, None, None], dim=-1)
        mixed = (weights @ own).transpose(1, 2).flatten(2)
        attended: Tensor = self.norm(values + self.out(mixed))
        return attended


class CrossAttention(nn.Module):
    """A query attends to a set of contexts, or to the one that is always there.

    Heads have queries and keys of their own and share the values, so that their mean is one pattern. A learnt
    number for each place in the set tells the latest context from an older one.
    """

    def __init__(self, hidden: int, heads: int, places: int) -> None:
        super().__init__()
        self.heads, self.width = heads, hidden // heads
        self.queries = nn.Linear(hidden, hidden)
        self.keys = nn.Linear(hidden, hidden)
        self.values = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, hidden, bias=False)
        self.place = nn.Parameter(torch.zeros(heads, places))
        self.no_key = nn.Parameter(torch.zeros(heads, self.width))
        self.no_value = nn.Parameter(torch.zeros(hidden))

    def forward(self, queries: Tensor, sets: Sets) -> tuple[Tensor, Tensor]:
        """What A queries of each of U days [U, A, H] find in the day's set.

        Returns:
            [U, A, H], and the weights [U, A, C + 1], the last that of the context that is always there.
        """
        asked = self.queries(queries).unflatten(-1, (self.heads, self.width)).transpose(1, 2)
        keys = self.keys(sets.keys).unflatten(-1, (self.heads, self.width)).permute(0, 2, 3, 1)
        scores = asked @ keys + (self.place[:, None] + hide(sets.seen, queries)[:, None, None])
        none = (asked * self.no_key[:, None]).sum(-1, keepdim=True)
        scores = torch.cat([scores, none], dim=-1) / math.sqrt(self.width)
        weights = torch.softmax(scores, dim=-1).mean(1)
        values = self.values(sets.values)
        found = weights[..., :-1] @ values + weights[..., -1:] * self.no_value
        return self.out(found), weights


class Decoder(nn.Module):
    """The target's inputs beside what was found, an LSTM, feed-forward; a position and a Gaussian."""

    def __init__(self, drop: Drop, n_in: int, hidden: int, n_given: int) -> None:
        super().__init__()
        self._drop = drop
        self.select = Selection(n_in, hidden, n_given)
        self.scale, self.shift = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden, bias=False)
        self.merge = GatedResidual(drop, hidden, hidden, hidden, n_given)
        self.lstm = remembering(nn.LSTM(hidden, hidden, batch_first=True))
        self.norm = nn.LayerNorm(hidden)
        self.feed = GatedResidual(drop, hidden, hidden, hidden, n_given)
        # The heads read the selected inputs past the normalisations, too, which keep an input's direction
        # and lose its size. All begins with a straight line from these: what bends it starts at 0.
        self.line, self.bend = nn.Linear(hidden, 3), nn.Linear(hidden, 3, bias=False)
        with torch.no_grad():
            for parameter in (*self.scale.parameters(), self.shift.weight, self.bend.weight):
                parameter.zero_()

    def forward(
        self, inputs: Tensor, found: Tensor, given: Tensor, state: State | None
    ) -> tuple[Outputs, State]:
        """From inputs [B, L, F], what was found [B, L, H] and embeddings [B, E]."""
        asset = given[:, None].expand(-1, inputs.shape[1], -1)
        selected = self.select(inputs, asset) * (1.0 + self.scale(found)) + self.shift(found)
        merged = self.merge(selected, asset)
        recent, state = run(self.lstm, merged, state)
        hidden = self.feed(self.norm(merged + self._drop(recent)), asset)
        z, mean, spread = (self.line(selected) + self.bend(self._drop(hidden))).unbind(-1)
        return Outputs(z, mean, functional.softplus(spread) + LEAST_DEVIATION), state


class XTrendNetwork(Dropping):
    """Positions and forecasts of assets from their own days and from contexts."""

    def __init__(
        self, n_in: int, hidden: int, *, heads: int, places: int, assets: int, embedding: int, dropout: float
    ) -> None:
        """Build the parts.

        Args:
            n_in: inputs of a day, F.
            hidden: width of every state, H.
            heads: of the attention.
            places: contexts of a set, C.
            assets: known assets, each with an embedding.
            embedding: its width, E.
            dropout: rate while training.
        """
        super().__init__(dropout)
        self.hidden = hidden
        self.key, self.query = (
            Encoder(self.drop, n_in, hidden, embedding),
            Encoder(self.drop, n_in, hidden, embedding),
        )
        self.value, self.pair = Encoder(self.drop, n_in, hidden, embedding), nn.Linear(1, hidden)
        self.mix = SelfAttention(hidden, heads)
        self.cross = CrossAttention(hidden, heads, places)
        self.decoder = Decoder(self.drop, n_in, hidden, embedding)
        self.assets = nn.Parameter(torch.zeros(assets, embedding))  # zero until they are learnt

    def given(self, asset: Tensor) -> Tensor:
        """[B, E] embeddings of known assets [B]; zero of one that was never seen, below 0."""
        return self.assets[asset.clip(0)] * (asset >= 0)[:, None]

    def encode(self, inputs: Tensor, labels: Tensor, length: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [P, H] of context sequences, as they are after their last day.

        Args:
            inputs: [P, S, F]; what stands behind a sequence's days is not looked at.
            labels: [P, S] their next normalised returns.
            length: [P] days.
            given: [P, E] embeddings of their assets.
        """
        scale = self.pair(labels[..., None])
        found = self.key(inputs, given)[0], self.value(inputs, given, scale=scale)[0]
        last = (length - 1)[:, None, None].expand(-1, 1, found[0].shape[-1])
        keys, values = (self.drop(hidden.gather(1, last)[:, 0]) for hidden in found)
        return keys, values

    def offer(self, keys: Tensor, values: Tensor, sets: Tensor) -> Sets:
        """Context sets [U, C] of numbers of sequences, below 0 where there is none, with values mixed.

        Args:
            keys: [P, H], P at least 1.
            values: [P, H].
            sets: [U, C].
        """
        seen, chosen = sets >= 0, sets.clip(0).flatten()
        own_keys, own_values = (part.index_select(0, chosen).view(*sets.shape, -1) for part in (keys, values))
        return Sets(own_keys, self.mix(own_values, seen), seen)

    def ask(self, inputs: Tensor, given: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Queries [B, L, H] of the target's days [B, L, F]."""
        hidden, state = self.query(inputs, given, state=state)
        return self.drop(hidden), state

    def decode(
        self, inputs: Tensor, found: Tensor, given: Tensor, state: State | None
    ) -> tuple[Outputs, State]:
        """The decoder on [B, L, F] and what the queries of these days found [B, L, H]."""
        decoded: tuple[Outputs, State] = self.decoder(inputs, found, given, state)
        return decoded


def run(lstm: nn.LSTM, inputs: Tensor, state: State | None) -> tuple[Tensor, State]:
    """An LSTM over [B, L, H] from a state, or from zero; its outputs and the state after the last day."""
    before = None if state is None else (state[0][None], state[1][None])
    outputs, (hidden, cell) = lstm(inputs, before)
    return outputs, (hidden[0], cell[0])


def remembering(lstm: nn.LSTM) -> nn.LSTM:
    """The LSTM with forget gates that begin open (Jozefowicz et al. 2015): at first it sums over days."""
    H = lstm.hidden_size
    with torch.no_grad():
        lstm.get_parameter("bias_ih_l0")[H : 2 * H] += OPEN
    return lstm


def hide(seen: Tensor, like: Tensor) -> Tensor:
    """What is added to scores: 0 where something is seen, `UNSEEN` where not."""
    return torch.where(seen, 0.0, UNSEEN).to(like.dtype)

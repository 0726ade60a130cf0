"""xLSTM, the extended LSTM (Beck et al. 2024, arXiv:2405.04517): exponential gates, a matrix for a memory.

Residual blocks behind a layer normalisation, of two kinds. The mLSTM (Section 2.3) writes keys and values
into a matrix with gates that read no state, so that many days are one product, as in the paper's appendix.
The sLSTM (Section 2.2) has states that act on the gates of their own head, and is a loop over days. Both hold
their exponential gates by a running maximum m. What comes out does not depend on m, only its rounding does,
so that no derivative is taken through it.

Where we read: matrices of queries, keys, values and gates are whole, not of diagonal blocks (the equations
have them so); forget gates are sigmoids, and begin at 3 to 6 as in the authors' code, open for weeks to
months; no convolution before the sLSTM, which the paper leaves open. Static inputs are further inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.dmn.exponential import NOTHING, composed, recurrence
from agents.dmn.gates import EPSILON, Drop
from agents.dmn.network import Memory, Network

Kind = Literal["mlstm", "slstm"]

# Days of an mLSTM that are one product; the matrix is carried from one such piece to the next.
PIECE = 16
# Days that the convolution before an mLSTM reads.
READS = 4
# A logarithm whose number every precision holds: what is divided by more of it is nothing.
LARGEST = 80.0
# Where the biases of the forget gates begin, from the first unit or head to the last.
OPEN = (3.0, 6.0)


def apply_to_units(line: nn.Linear, values: Tensor) -> Tensor:
    """[L, n_in, B] -> [L, n_out, B] of a line with a bias."""
    return torch.baddbmm(line.bias[:, None], line.weight.expand(values.shape[0], -1, -1), values)


class Norm(nn.Module):
    """Layer normalisation of the units of every head by itself, then a scale for each unit."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, values: Tensor) -> Tensor:
        """[L, heads * d, B] -> the same."""
        by_head = values.reshape(values.shape[0], self.heads, -1, values.shape[2])
        centred = by_head - by_head.mean(2, keepdim=True)
        size = torch.rsqrt((centred * centred).mean(2, keepdim=True) + EPSILON)
        normed: Tensor = (centred * size).flatten(1, 2) * self.scale[:, None]
        return normed


def read_matrix(
    q: Tensor, k: Tensor, v: Tensor, entered: Tensor, kept: Tensor, memory: Memory
) -> tuple[Tensor, Memory]:
    """h~_t of an mLSTM for some days at once, and the memory after them (Section 2.3, stabilised).

    With F_t the sum of log f up to t, exp(F_t - F_j + log i_j - m_t) is what of day j <= t is left on day t,
    and exp(F_t + m_0 - m_t) of the memory before: a matrix D, and h~_t = (D o Q K')_t V / max(|n_t . q_t|,
    exp(-m_t)). m_t is the largest of these logarithms, the same as day after day max(log f_t + m_{t-1},
    log i_t). F_t is in all of them, and only m_t - F_t, the running maximum of log i_j - F_j, is needed.

    Args:
        q: [B, heads, L, d] queries.
        k: [B, heads, L, d] keys, divided by sqrt(d).
        v: [B, heads, L, d + 1] values, and a one that makes n of the keys.
        entered: [B, heads, L] log i.
        kept: [B, heads, L] log f.
        memory: C (keys by values) beside n, [B, heads, d, d + 1], and m [B, heads].

    Returns:
        [B, heads, L, d], and the memory.
    """
    matrix, before = memory
    L, total = q.shape[2], kept.cumsum(-1)
    logs = entered - total
    largest = torch.maximum(logs.detach().cummax(-1).values, before.detach()[..., None])
    later = torch.full((L, L), NOTHING, dtype=q.dtype, device=q.device).triu(1)
    left = torch.exp(logs[..., None, :] - largest[..., None] + later)
    shares = torch.exp(before[..., None] - largest)
    read = (left * (q @ k.mT)) @ v + shares[..., None] * (q @ matrix)
    least = torch.exp((-largest - total).clamp(max=LARGEST))[..., None]
    outputs = read[..., :-1] * torch.maximum(read[..., -1:].abs(), least).reciprocal()
    written = k * torch.exp(logs - largest[..., -1:])[..., None]
    after = shares[..., -1, None, None] * matrix + written.mT @ v
    return outputs, (after, largest[..., -1] + total[..., -1])


class MatrixBlock(nn.Module):
    """An mLSTM between an upward and a downward projection, which a second branch gates."""

    remembers = 3

    def __init__(self, drop: Drop, hidden: int, heads: int) -> None:
        super().__init__()
        self._drop = drop
        width = 2 * hidden
        self.heads, self.width = gcd(heads, width), width
        self.norm, self.each = Norm(1, hidden), Norm(self.heads, width)
        self.up, self.beside = nn.Linear(hidden, width), nn.Linear(hidden, width)
        self.convolution = nn.Parameter(torch.empty(READS, width).uniform_(-(READS**-0.5), READS**-0.5))
        self.queries, self.keys, self.values = (nn.Linear(width, width) for _ in range(3))
        self.gates = nn.Linear(width, 2 * self.heads)  # input, forget
        self.passed = nn.Parameter(torch.ones(width))
        self.down = nn.Linear(width, hidden)
        with torch.no_grad():
            self.gates.bias[self.heads :] = torch.linspace(*OPEN, self.heads)

    def memory(self, like: Tensor, rows: int) -> Memory:
        """Nothing: rows of the convolution, matrix beside normaliser, maximum; precise as a tensor is."""
        d = self.width // self.heads
        empty = (like.new_zeros(rows, *size) for size in ((READS - 1, self.width), (self.heads, d, d + 1)))
        return *empty, like.new_full((rows, self.heads), NOTHING)

    def forward(self, values: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """[L, H, B] -> the same, and the memory after the last day."""
        before, *state = memory
        L, normed = values.shape[0], self.norm(values)
        own = apply_to_units(self.up, normed)
        rows = torch.cat([before.permute(1, 2, 0), own])
        lags = enumerate(self.convolution.unbind(0))
        mixed = functional.silu(torch.stack([w[:, None] * rows[n : n + L] for n, w in lags]).sum(0))
        read, after = self.remember(mixed, own, tuple(state))
        gate = functional.silu(apply_to_units(self.beside, normed))
        read = torch.addcmul(self.each(read), self.passed[:, None], mixed) * gate
        return values + self._drop(apply_to_units(self.down, read)), (rows[L:].permute(2, 0, 1), *after)

    def remember(self, mixed: Tensor, own: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """[L, width, B] of both -> h~ [L, width, B], piece by piece."""
        q, k = (self._by_head(apply_to_units(line, mixed)) for line in (self.queries, self.keys))
        v, k = self._by_head(apply_to_units(self.values, own)), k * k.shape[-1] ** -0.5
        v = torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)
        entered, kept = apply_to_units(self.gates, mixed).permute(2, 1, 0).chunk(2, dim=1)
        kept = functional.logsigmoid(kept)
        parts = []
        days = (part.split(PIECE, dim=2) for part in (q, k, v, entered, kept))
        for queries, keys, values, entering, keeping in zip(*days, strict=True):
            part, memory = read_matrix(queries, keys, values, entering, keeping, memory)
            parts.append(part)
        return torch.cat(parts, dim=2).permute(2, 1, 3, 0).flatten(1, 2), memory

    def _by_head(self, values: Tensor) -> Tensor:
        """[L, width, B] -> [B, heads, L, d]."""
        by_head = values.reshape(values.shape[0], self.heads, -1, values.shape[2])
        return by_head.permute(3, 1, 0, 2).contiguous()


class ScalarBlock(nn.Module):
    """An sLSTM, then an upward and a downward projection with a gate between them."""

    remembers = 4

    def __init__(self, drop: Drop, hidden: int, heads: int) -> None:
        super().__init__()
        self._drop = drop
        self._run = recurrence
        self.heads = gcd(heads, hidden)
        d, inner = hidden // self.heads, -(-4 * hidden // 3)
        self.norm, self.each = Norm(1, hidden), Norm(self.heads, hidden)
        self.gates = nn.Linear(hidden, 4 * hidden, bias=False)  # candidate, output, forget, input
        # None for the input: c and n would be multiplied alike, from the first day on.
        self.bias = nn.Parameter(torch.empty(3 * hidden).uniform_(-(hidden**-0.5), hidden**-0.5))
        self.recurrent = nn.Parameter(torch.empty(4, self.heads, d, d).uniform_(-(d**-0.5), d**-0.5))
        self.up, self.beside = nn.Linear(hidden, inner), nn.Linear(hidden, inner)
        self.down = nn.Linear(inner, hidden)
        with torch.no_grad():
            self.bias[2 * hidden :] = torch.linspace(*OPEN, hidden)

    def memory(self, like: Tensor, rows: int) -> Memory:
        """Nothing: state, cell, normaliser, maximum; in the precision of a tensor."""
        hidden = self.down.out_features
        zero = like.new_zeros(rows, hidden)
        return zero, zero, zero, like.new_full((rows, hidden), NOTHING)

    def forward(self, values: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """[L, H, B] -> the same, and the memory after the last day."""
        h, c, n, m = (part.mT for part in memory)
        bias = functional.pad(self.bias, (0, values.shape[1]))
        weight = self.gates.weight.expand(values.shape[0], -1, -1)
        given = torch.baddbmm(bias[:, None], weight, self.norm(values))
        states, after = self._run(given, self.recurrent_weights(), (h, c, n, m))
        states = self.each(states)
        gate = functional.gelu(apply_to_units(self.beside, states))
        outputs = apply_to_units(self.down, apply_to_units(self.up, states) * gate)
        return values + self._drop(outputs), tuple(part.mT for part in after)

    def recurrent_weights(self) -> Tensor:
        """[4 H, H] what a state adds to the gates of its own head alone: zero outside of diagonal blocks."""
        own = torch.eye(self.heads, dtype=self.recurrent.dtype, device=self.recurrent.device)
        blocks = self.recurrent[:, :, :, None] * own[:, None, :, None]  # [4, heads, d, heads, d]
        return blocks.flatten(3).flatten(0, 2)

    def for_members(self) -> None:
        """Let `torch.func.vmap` read it: derivatives that are written out know one network."""
        self._run = composed


BLOCKS = {"mlstm": MatrixBlock, "slstm": ScalarBlock}


class XlstmNetwork(Network):
    """Residual blocks on a linear map of the inputs; Z_t = w' LayerNorm(x_t) + b.

    Inside, everything is [L, n, B]: a day is one block of memory, and so is a unit of it.
    """

    def __init__(
        self,
        n_features: int,
        hidden: int,
        dropout: float,
        *,
        heads: int,
        static: int = 0,
        blocks: Sequence[Kind] = ("mlstm", "slstm"),
    ) -> None:
        """The network before it has learnt.

        Args:
            n_features: inputs of a day.
            hidden: width of the residual stream; an mLSTM has twice as many.
            dropout: rate behind every block.
            heads: of every block; where they do not divide its width, as many as divide both.
            static: numbers of the embedding of asset and market behind a day's inputs.
            blocks: their kinds, the first reads the inputs.
        """
        super().__init__(dropout)
        self.embedding = nn.Linear(n_features + static, hidden)
        self.blocks: Any = nn.ModuleList(BLOCKS[kind](self.drop, hidden, heads) for kind in blocks)
        self.norm = Norm(1, hidden)
        self.head = nn.Linear(hidden, 1)

    def memory(self, past: Tensor) -> Memory:
        """What every block remembers, behind each other: nothing."""
        return tuple(part for block in self.blocks for part in block.memory(past, len(past)))

    def forward(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Z_t of these days, and the memory after the last of them."""
        values = apply_to_units(self.embedding, inputs.permute(1, 2, 0).contiguous())
        after: list[Tensor] = []
        for block in self.blocks:
            values, left = block(values, memory[len(after) : len(after) + block.remembers])
            after.extend(left)
        return apply_to_units(self.head, self.norm(values))[:, 0].mT, tuple(after)

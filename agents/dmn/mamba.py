"""Mamba-2 (Dao and Gu 2024, arXiv:2405.21060): a state space whose steps and directions are the inputs'.

h_t = exp(-a d_t) h_{t-1} + d_t x_t B_t', y_t = h_t C_t + D x_t, a one number of a head, d_t a softplus.
Inside a chunk of days that is one masked product of matrices, the duality of the paper's title; from chunk to
chunk the state is carried on (its section 6). Around it the paper's block: one projection for gate, x, B, C
and d, a short causal convolution of x, B and C, the norm behind the gate.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.dmn.network import Memory, Network

LAYERS = 2
# Inner width of a block in widths of the network, and numbers of the state for each inner one.
WIDER, STATE = 2, 16
KERNEL = 4  # days of the convolution
CHUNK = 16  # days whose products are taken at once
# Where the first values of d and a lie, as in the authors' code.
STEPS, RATES = (1e-3, 1e-1), (1.0, 16.0)


class MambaNetwork(Network):
    """Inputs embedded by a line, two blocks with a skip around each, Z_t = w' norm(x_t) + b."""

    def __init__(
        self,
        n_features: int,
        hidden: int,
        dropout: float,
        *,
        static: int = 0,
        heads: int = 4,
    ) -> None:
        """Of so many features and static inputs; how far it looks back is learnt."""
        super().__init__(dropout)
        self.embedding = nn.Linear(n_features + static, hidden)
        blocks = [MambaBlock(hidden, heads) for _ in range(LAYERS)]
        self.blocks, self._kept = nn.ModuleList(blocks), [shape for block in blocks for shape in block.kept]
        self.norm = nn.RMSNorm(hidden)
        self.head = nn.Linear(hidden, 1)

    def memory(self, past: Tensor) -> Memory:
        """No day behind the convolutions, and zero states."""
        return tuple(past.new_zeros(len(past), *shape) for shape in self._kept)

    def forward(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Z_t of these days, and the memory after the last of them."""
        rows, after = self.drop(self.embedding(inputs)), []
        for block, *before in zip(self.blocks, memory[::2], memory[1::2], strict=True):
            added, *kept = block(rows, *before)
            rows = rows + self.drop(added)
            after += kept
        return self.head(self.norm(rows)).squeeze(-1), tuple(after)


class MambaBlock(nn.Module):
    """The block of Mamba-2 without its skip.

    Attributes:
        kept: shapes of what it keeps of a sequence: the convolution's last rows, and the state.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.size = heads, max(WIDER * width // heads, 1)
        self.inner = heads * self.size
        mixed = self.inner + 2 * STATE
        self.kept = (KERNEL - 1, mixed), (heads, self.size, STATE)
        self.before = nn.RMSNorm(width)
        self.project = nn.Linear(width, self.inner + mixed + heads, bias=False)
        reach = KERNEL**-0.5
        self.kernel = nn.Parameter(torch.empty(KERNEL, mixed).uniform_(-reach, reach))
        self.offset = nn.Parameter(torch.empty(mixed).uniform_(-reach, reach))
        steps = torch.empty(heads).uniform_(*map(math.log, STEPS)).exp()
        self.step = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))  # softplus gives `steps`
        self.rate = nn.Parameter(torch.empty(heads).uniform_(*RATES).log())
        self.skip = nn.Parameter(torch.ones(heads))
        self.behind = nn.RMSNorm(self.inner)
        self.out = nn.Linear(self.inner, width, bias=False)

    def forward(self, rows: Tensor, earlier: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, L, width] -> the same, and what is kept.

        Args:
            rows: the days.
            earlier: [B, KERNEL - 1, mixed] what the convolution reads of the days before.
            state: [B, heads, size, STATE] after the day before.
        """
        L = rows.shape[1]
        sizes = [self.inner, self.inner + 2 * STATE, self.heads]
        gate, given, step = torch.split(self.project(self.before(rows)), sizes, dim=-1)
        given = torch.cat([earlier, given], dim=1)
        kernel = self.kernel.unbind(0)
        mixed = sum((given[:, k : k + L] * kernel[k] for k in range(1, KERNEL)), given[:, :L] * kernel[0])
        x, b, c = torch.split(functional.silu(mixed + self.offset), [self.inner, STATE, STATE], dim=-1)
        x = x.reshape(*x.shape[:2], self.heads, self.size)
        y, state = scan(x, functional.softplus(step + self.step), self.rate.exp(), b, c, state)
        y = (y + self.skip[:, None] * x).flatten(2)
        return self.out(self.behind(y * functional.silu(gate))), given[:, L:], state


def scan(
    x: Tensor, step: Tensor, rate: Tensor, b: Tensor, c: Tensor, state: Tensor, chunk: int = CHUNK
) -> tuple[Tensor, Tensor]:
    """h_t = exp(-a d_t) h_{t-1} + d_t x_t B_t', y_t = h_t C_t, by chunks of days.

    Args:
        x: [B, L, heads, P].
        step: [B, L, heads] d, not negative.
        rate: [heads] a, positive.
        b: [B, L, n], the same for all heads.
        c: [B, L, n], the same for all heads.
        state: [B, heads, P, n] before the first day.
        chunk: days of a chunk; any gives the same numbers.

    Returns:
        y [B, L, heads, P] and the state after the last day.
    """
    L = x.shape[1]
    days = min(chunk, L)
    # A day with d = 0 leaves the state as it is.
    x, step, b, c = (
        functional.pad(part, (0, 0) * (part.ndim - 2) + (0, -L % days)).reshape(
            len(part), -1, days, *part.shape[2:]
        )
        for part in (x, step, b, c)
    )
    given = (x * step[..., None]).transpose(2, 3)  # [B, chunks, heads, days, P]
    falls = (-rate * step).transpose(2, 3)  # logs of the days' decays, [B, chunks, heads, days]
    decay = _decays(falls)
    inside = ((c @ b.mT)[:, :, None] * decay) @ given
    added = (given * decay[..., -1, :, None]).mT @ b[:, :, None]  # [B, chunks, heads, P, n]
    since = falls.cumsum(-1).exp()[..., None]
    before = []
    for new, kept in zip(added.unbind(1), since[:, :, :, -1:].unbind(1), strict=True):
        before.append(state)
        state = kept * state + new
    carried = c[:, :, None] @ torch.stack(before, dim=1).mT  # [B, chunks, heads, days, P]
    y = inside + since * carried
    return y.transpose(2, 3).flatten(1, 2)[:, :L], state


def _decays(falls: Tensor) -> Tensor:
    """[..., t, s] what day t has of day s: exp of the sum of falls [..., T] behind s up to t, 0 where s > t.

    Sums of their own, as in the paper's listing: differences of sums from the first day would lose digits.
    """
    days = falls.shape[-1]
    there = torch.ones(days, days, dtype=torch.bool, device=falls.device).tril()
    sums = (falls[..., :, None] * there.tril(-1)).cumsum(-2)
    return sums.exp() * there

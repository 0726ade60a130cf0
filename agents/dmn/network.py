"""The networks of Deep Momentum Networks (Lim, Zohren, Roberts 2019, Eqs. 18-33), one for all assets.

Each gives Z_t before the output function g: losses and positions apply it. Each streams: a pass over some
days returns a memory from which the next pass goes on to the same numbers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from agents.dmn.gated import composed, gated
from agents.lstm.masked import masked_lstm

# What a network keeps from day to day, every tensor [B, ...].
Memory = tuple[Tensor, ...]

# Days the linear model, the MLP and WaveNet's first block read at once. The paper writes u_{t-tau:t} with
# tau = 5 days; read as the five days up to today.
LAGS = 5
# What WaveNet's blocks look back to: weekly scores of the last month, monthly ones of the last quarter.
WEEKS = (0, 5, 10, 15)
MONTHS = (0, 21, 42)


# Gives a mask of a shape, in the precision and on the device of a tensor.
Masks = Callable[[tuple[int, ...], Tensor], Tensor]


def kept_of(rate: float) -> int:
    """How many of the 2^16 numbers of 16 bits are kept at a rate of dropout."""
    return min(max(round((1.0 - rate) * 2**16), 1), 2**16 - 1)


class Dropping(nn.Module):
    """A module that draws its dropout masks from a generator of its own.

    Attributes:
        dropout: the rate.
        generator: what masks are drawn from.
        masks: what gives them in place of the generator, where somebody has drawn them already.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.generator = torch.Generator()
        self.masks: Masks | None = None

    @property
    def drops(self) -> bool:
        """Whether masks are drawn: while training, at a rate above 0."""
        return self.training and self.dropout > 0.0

    def drop(self, values: Tensor) -> Tensor:
        """While training, a share of the numbers set to zero and the others scaled up."""
        return values * self.mask(values.shape, values) if self.drops else values

    def mask(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """0 or 1 / keep, each drawn alone; the rate is rounded to a multiple of 2^-16.

        Four of them from each random word: drawn one by one they take a sixth of a step of a small WaveNet.
        Drawn on the CPU: a generator of another device draws something else.
        """
        if self.masks is not None:
            return self.masks(shape, like)
        count = math.prod(shape)
        words = torch.empty(-(-count // 4), dtype=torch.int64)
        words = words.random_(-(2**63), None, generator=self.generator).to(like.device)
        kept = kept_of(self.dropout)
        drawn = words.view(torch.int16)[:count].view(shape) < kept - 2**15
        return drawn.to(like.dtype).mul_(2**16 / kept)


class Network(Dropping, ABC):
    """u_t [B, L, F] -> Z_t [B, L], causal.

    Attributes:
        past: days before a window that a network wants to see, since it has no other memory of them.
        reads_days: whether a day needs no more than the days before it, so that days are learnt from one by
            one, in any order; a network with a state of its own learns from trajectories.
        spread: numbers that a day of a pass may hold at once, for each unit of the width.
    """

    past: int = 0
    reads_days: bool = False
    spread: int = 10

    @abstractmethod
    def memory(self, past: Tensor) -> Memory:
        """What is known before the first day: the inputs of the `past` days before it, [B, past, F].

        Zero rows stand for days before an asset's first. Of one size, whatever is known: a stream goes on
        from it.
        """

    def beginning(self, past: Tensor) -> Memory:
        """The same of sequences that all begin here: what is empty in each may be left out."""
        return self.memory(past)

    @abstractmethod
    def forward(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Z_t of these days, and the memory after the last of them."""

    def last_day(self, rows: Tensor) -> Tensor:
        """Z [B, 1] of the last of `past` + 1 days [B, past + 1, F]."""
        z: Tensor = self(rows[:, self.past :], self.memory(rows[:, : self.past]))[0]
        return z

    def penalised(self) -> Tensor | None:
        """The weights an L1 penalty acts on; None where there is none."""
        return None


class LinearNetwork(Network):
    """Z_t = w' u_{t-4:t} + b (Eq. 18), the inputs of five days side by side; no dropout, L1(w) (Eq. 19)."""

    past = LAGS - 1
    reads_days = True

    def __init__(self, n_features: int) -> None:
        super().__init__(0.0)
        self.head = nn.Linear(LAGS * n_features, 1)

    def memory(self, past: Tensor) -> Memory:
        """The last days as they are."""
        return (past,)

    def forward(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Eq. 18."""
        rows = torch.cat([memory[0], inputs], dim=1)
        return self.head(stack_days(rows, range(LAGS))).squeeze(-1), (rows[:, inputs.shape[1] :],)

    def penalised(self) -> Tensor:
        """The weights w, without the intercept."""
        weight: Tensor = self.head.weight
        return weight


class MlpNetwork(Network):
    """h_t = tanh(W u_{t-4:t} + b), Z_t = w' h_t + b (Eqs. 20-21); dropout on inputs and hidden state."""

    past = LAGS - 1
    reads_days = True

    def __init__(self, n_features: int, hidden: int, dropout: float) -> None:
        super().__init__(dropout)
        self.body = nn.Linear(LAGS * n_features, hidden)
        self.head = nn.Linear(hidden, 1)

    def memory(self, past: Tensor) -> Memory:
        """The last days as they are."""
        return (past,)

    def forward(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Eqs. 20-21."""
        rows = torch.cat([memory[0], inputs], dim=1)
        hidden = torch.tanh(self.body(self.drop(stack_days(rows, range(LAGS)))))
        return self.head(self.drop(hidden)).squeeze(-1), (rows[:, inputs.shape[1] :],)


class Block(nn.Module):
    """psi(u) = tanh(W u) * sigmoid(V u) + A u + b (Eq. 22), u_t the rows at t and at some lags."""

    def __init__(self, n_in: int, n_out: int, lags: tuple[int, ...]) -> None:
        super().__init__()
        self.gate = gated
        self.weights = nn.Linear(n_in * len(lags), 3 * n_out, bias=False)  # W, V and A: one matrix product
        self.bias = nn.Parameter(torch.zeros(n_out))
        self.lags = lags

    def forward(self, rows: Tensor) -> Tensor:
        """[n_in, T, B] -> [n_out, T - max(lags), B]."""
        return self.gate(rows, self.weights.weight, self.bias, self.lags)

    def for_members(self) -> None:
        """Let `torch.func.vmap` read it: derivatives that are written out know one network."""
        self.gate = composed


class WaveNetwork(Network):
    """Weekly, monthly and quarterly blocks on top of each other (Eqs. 22-27), 62 days deep.

    s_w(t) = psi(u_{t-4:t}); s_m(t) = psi(s_w at t, t-5, t-10, t-15); s_q(t) = psi(s_m at t, t-21, t-42);
    h_t = tanh(W [s_w, s_m, s_q] + b). Every state has one size. Dropout on the inputs and on the outputs of
    the blocks. The paper also sketches an LSTM over longer contexts; it gives no equation, and there is none.
    Inside, everything is [n, T, B].
    """

    past = LAGS - 1 + WEEKS[-1] + MONTHS[-1]
    reads_days = True

    def __init__(self, n_features: int, hidden: int, dropout: float) -> None:
        super().__init__(dropout)
        # Few features: they are laid side by side before the product.
        self.weekly = Block(LAGS * n_features, hidden, (0,))
        self.monthly = Block(hidden, hidden, WEEKS)
        self.quarterly = Block(hidden, hidden, MONTHS)
        self.body = nn.Linear(3 * hidden, hidden)
        self.head = nn.Linear(hidden, 1)

    def memory(self, past: Tensor) -> Memory:
        """The last days' inputs, weekly and monthly scores, as many as the blocks above look back to."""
        weekly = self._weekly(past)
        monthly = self.monthly(weekly)
        return past[:, 1 - LAGS :], weekly[:, -WEEKS[-1] :].permute(2, 1, 0), monthly.permute(2, 1, 0)

    def forward(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Eqs. 22-27."""
        L = inputs.shape[1]
        rows = torch.cat([memory[0], inputs], dim=1)
        weekly = torch.cat([memory[1].permute(2, 1, 0), self._weekly(rows)], dim=1)
        monthly = torch.cat([memory[2].permute(2, 1, 0), self.monthly(weekly)], dim=1)
        scores = (weekly[:, -L:], monthly[:, -L:], self.quarterly(monthly))
        parts = zip(self.body.weight.chunk(3, dim=1), scores, strict=True)
        hidden = self.body.bias[:, None] + sum(w @ self.drop(score).flatten(1) for w, score in parts)
        z = self.head.weight @ torch.tanh(hidden) + self.head.bias
        after = (rows[:, L:], weekly[:, L:].permute(2, 1, 0), monthly[:, L:].permute(2, 1, 0))
        return z.view(L, len(inputs)).T, after

    def last_day(self, rows: Tensor) -> Tensor:
        """Z [B, 1]; of the blocks below, only the days that the ones above look at."""
        B, M, W = len(rows), len(MONTHS), len(WEEKS)
        ends = self.past - torch.tensor(MONTHS)[:, None] - torch.tensor(WEEKS)
        seen = (ends[..., None] - torch.arange(LAGS)).to(rows.device)
        days = self.drop(rows)[:, seen]  # [B, M, W, LAGS, F]
        # The blocks read the rows at lags of their own: here these rows stand one behind the other, oldest
        # first, and the months beside each other in the batch.
        laid = days.flatten(3).flip(1, 2).permute(3, 2, 1, 0)
        weekly = self.weekly(laid.reshape(-1, W, M * B))
        monthly = self.monthly.gate(weekly, self.monthly.weights.weight, self.monthly.bias, tuple(range(W)))
        scores_m = monthly.reshape(-1, M, B)
        quarterly = self.quarterly.gate(
            scores_m, self.quarterly.weights.weight, self.quarterly.bias, tuple(range(M))
        )
        today = weekly.reshape(-1, W, M, B)[:, -1, -1]
        scores = (today, scores_m[:, -1], quarterly[:, 0])
        parts = zip(self.body.weight.chunk(3, dim=1), scores, strict=True)
        hidden = self.body.bias[:, None] + sum(w @ self.drop(score) for w, score in parts)
        return (self.head.weight @ torch.tanh(hidden) + self.head.bias).T

    def _weekly(self, rows: Tensor) -> Tensor:
        """Scores [n, T, B] of inputs [B, T + 4, F]."""
        weeks: Tensor = self.weekly(stack_days(self.drop(rows), range(LAGS)).permute(2, 1, 0))
        return weeks


class LstmNetwork(Network):
    """An LSTM, then Z_t = w' h_t + b (Eqs. 28-33).

    Dropout after Gal and Ghahramani (2016): one mask for all days of a sequence on inputs, recurrent state
    and outputs each. Without a mask on the state the fused kernel runs, on the same weights.
    """

    def __init__(self, n_features: int, hidden: int, dropout: float) -> None:
        super().__init__(dropout)
        self.lstm = nn.LSTM(n_features, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def memory(self, past: Tensor) -> Memory:
        """The zero state, hidden and cell."""
        zero = past.new_zeros(len(past), self.lstm.hidden_size)
        return zero, zero

    def forward(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Eqs. 28-33."""
        h, c = memory
        if not self.drops:
            hidden, (h, c) = self.lstm(inputs, (h[None], c[None]))
            return self.head(hidden).squeeze(-1), (h[0], c[0])
        B, _, F = inputs.shape
        on_inputs, on_state, on_outputs = (self.mask((B, n), inputs) for n in (F, *(h.shape[1],) * 2))
        hidden, h, c = masked_lstm(self.lstm, inputs * on_inputs[:, None], on_state, h, c)
        # w' (m * h_t) as (w * m)' h_t, in the layout [L, H, B] that the recurrence leaves.
        weighed = hidden.permute(1, 2, 0) * (self.head.weight * on_outputs).T
        return weighed.sum(1).T + self.head.bias, (h, c)


def stack_days(rows: Tensor, lags: range | tuple[int, ...]) -> Tensor:
    """[B, L - max(lags), n * len(lags)] each day's row and those so many days before it, side by side."""
    deepest, L = max(lags), rows.shape[1]
    return torch.cat([rows[:, deepest - lag : L - lag] for lag in lags], dim=-1)

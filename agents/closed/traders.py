"""Policies that read what they hold: a linear one, an MLP and an LSTM, one for all assets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.closed.loops import Loop, follow, follow_band
from agents.dmn.network import LAGS, Dropping, Memory, stack_days
from agents.lstm.masked import masked_lstm


class Days(NamedTuple):
    """What a policy sees of windows of single assets, B of them, and of what it held.

    Attributes:
        inputs: [B, L, F], 0 where not all of them are defined.
        ratio: [B, L] what the decision of the day before is multiplied with to be one of today: the signal
            that would leave the weight as it is.
        alive: [B, L] bool, whether something is decided.
    """

    inputs: Tensor
    ratio: Tensor
    alive: Tensor


class Trader(Dropping, ABC):
    """x_t [B, L] in [-1, 1] from inputs and x_{t-1}.

    Attributes:
        past: days before a window that a policy wants to see, since it has no other memory of them.
    """

    past: int = 0

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, and of what is read."""
        return next(self.parameters()).dtype

    @abstractmethod
    def memory(self, past: Tensor) -> Memory:
        """What is known before the first day beside the last decision, each [B, ...].

        Args:
            past: [B, past, F] the inputs of the days before it; zero rows stand for days before an asset's
                first.
        """

    @abstractmethod
    def decide(self, days: Days, memory: Memory, decided: Tensor) -> tuple[Tensor, Memory]:
        """Decisions [B, L], and the memory after the last day.

        Args:
            days: what is seen.
            memory: before the first day.
            decided: [B] the decision before it.
        """

    def penalised(self) -> Tensor | None:
        """The weights an L1 penalty acts on; None where there is none."""
        return None


class LinearTrader(Trader):
    """x_t = tanh(w . u_t + b + f x_{t-1}) (Moody and Saffell 2001, Eq. 2); float64."""

    def __init__(self, n_features: int, generator: torch.Generator) -> None:
        super().__init__(0.0)
        # From all zeros nothing is held, and nothing says which way to go.
        self.weight = nn.Parameter(0.1 * torch.randn(n_features, generator=generator, dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.feedback = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def memory(self, past: Tensor) -> Memory:
        """Nothing."""
        del past
        return ()

    def decide(self, days: Days, memory: Memory, decided: Tensor) -> tuple[Tensor, Memory]:
        """Eq. 2."""
        drive = days.inputs @ self.weight + self.bias
        return follow(drive.T.contiguous(), self.feedback, _loop(days, decided)).T, memory

    def penalised(self) -> Tensor:
        """The weights of the inputs."""
        return self.weight


class Banded(Trader):
    """Keeps what it holds inside a band that a network draws: x_t = x_{t-1}, clipped to [low_t, high_t].

    low_t = tanh(a_t - b_t) and high_t = tanh(a_t + b_t), with b_t = softplus of the network's second output.
    A network whose output is the decision itself has to learn from its losses that what it holds need not be
    traded; here that is where it begins, and the edges are what it learns. What is held enters nowhere else,
    so that all edges are known at once.
    """

    # Of the second output: the first bands are hardly any, where wide ones would leave all untraded.
    NARROW = -3.0

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__(dropout)
        self.head = nn.Linear(hidden, 2)
        with torch.no_grad():
            self.head.bias[1] = self.NARROW

    @abstractmethod
    def states(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """What the head reads [B, L, H], and the memory after the last day."""

    def decide(self, days: Days, memory: Memory, decided: Tensor) -> tuple[Tensor, Memory]:
        """Draw the bands, and follow them."""
        states, after = self.states(days.inputs, memory)
        middle, width = self.head(states).permute(2, 1, 0).unbind(0)
        half = functional.softplus(width)
        low, high = torch.tanh(middle - half), torch.tanh(middle + half)
        return follow_band(low, high, _loop(days, decided)).T, after


class MlpTrader(Banded):
    """Bands of an MLP over the inputs of five days, as Lim et al. (2019, Eqs. 20-21) have it."""

    past = LAGS - 1

    def __init__(self, n_features: int, hidden: int, dropout: float) -> None:
        super().__init__(hidden, dropout)
        self.body = nn.Linear(LAGS * n_features, hidden)

    def memory(self, past: Tensor) -> Memory:
        """The last days as they are."""
        return (past,)

    def states(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Eq. 20, with dropout on inputs and hidden state."""
        rows = torch.cat([memory[0], inputs], dim=1)
        hidden = torch.tanh(self.body(self.drop(stack_days(rows, range(LAGS)))))
        return self.drop(hidden), (rows[:, inputs.shape[1] :],)


class LstmTrader(Banded):
    """Bands of an LSTM (Lim et al. 2019, Eqs. 28-33).

    Dropout after Gal and Ghahramani (2016): one mask for all days of a sequence on inputs, recurrent state
    and outputs each. Without a mask on the state the fused kernel runs, on the same weights.
    """

    def __init__(self, n_features: int, hidden: int, dropout: float) -> None:
        super().__init__(hidden, dropout)
        self.lstm = nn.LSTM(n_features, hidden, batch_first=True)

    def memory(self, past: Tensor) -> Memory:
        """The zero state, hidden and cell."""
        zero = past.new_zeros(len(past), self.lstm.hidden_size)
        return zero, zero

    def states(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Eqs. 28-33."""
        h, c = memory
        if not self.drops:
            hidden, (h, c) = self.lstm(inputs, (h[None], c[None]))
            return hidden, (h[0].detach(), c[0].detach())
        B, _, F = inputs.shape
        on_inputs, on_state, on_outputs = (self.mask((B, n), inputs) for n in (F, *(h.shape[1],) * 2))
        hidden, h, c = masked_lstm(self.lstm, inputs * on_inputs[:, None], on_state, h, c)
        return hidden * on_outputs[:, None], (h, c.detach())


def _loop(days: Days, decided: Tensor) -> Loop:
    """In the precision of the inputs, by day."""
    kind = days.inputs.dtype
    ratio, alive = (part.to(kind).T.contiguous() for part in (days.ratio, days.alive))
    return Loop(ratio, alive, decided.to(kind))

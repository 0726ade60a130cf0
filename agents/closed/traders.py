"""Policies that read what they hold: a linear one, an MLP and an LSTM, one for all assets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from agents.closed.loops import Loop, follow, follow_hidden
from agents.closed.lstm import closed_lstm
from agents.dmn.network import LAGS, Dropping, Memory, stack_days


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


class MlpTrader(Trader):
    """x_t = tanh(w . tanh(W u_{t-4:t} + v x_{t-1} + c) + b): Eqs. 20-21 of Lim et al. (2019), closed.

    Dropout on inputs and hidden state, never on what is held.
    """

    past = LAGS - 1

    def __init__(self, n_features: int, hidden: int, dropout: float) -> None:
        super().__init__(dropout)
        self.body = nn.Linear(LAGS * n_features, hidden)
        self.feedback = nn.Parameter(torch.zeros(hidden))
        self.head = nn.Linear(hidden, 1)

    def memory(self, past: Tensor) -> Memory:
        """The last days as they are."""
        return (past,)

    def decide(self, days: Days, memory: Memory, decided: Tensor) -> tuple[Tensor, Memory]:
        """Eqs. 20-21."""
        B, L, _ = days.inputs.shape
        rows = torch.cat([memory[0], days.inputs], dim=1)
        drive = self.body(self.drop(stack_days(rows, range(LAGS)))).permute(1, 2, 0).contiguous()
        weigh = self.drop(self.head.weight.T.expand(L, -1, B))
        x = follow_hidden(drive, self.feedback, weigh, self.head.bias[0], _loop(days, decided))
        return x.T, (rows[:, L:],)


class LstmTrader(Trader):
    """x_t = tanh(w . h_t + b), h_t of an LSTM that reads u_t and x_{t-1}.

    Dropout after Gal and Ghahramani (2016), one mask for all days of a sequence on inputs, recurrent state
    and outputs each; never on what is held.
    """

    def __init__(self, n_features: int, hidden: int, dropout: float) -> None:
        super().__init__(dropout)
        self.lstm = nn.LSTM(n_features + 1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def memory(self, past: Tensor) -> Memory:
        """The zero state, hidden and cell."""
        zero = past.new_zeros(len(past), self.lstm.hidden_size)
        return zero, zero

    def decide(self, days: Days, memory: Memory, decided: Tensor) -> tuple[Tensor, Memory]:
        """Eqs. 28-33 of Lim et al. (2019)."""
        inputs, (B, _, F), H = days.inputs, days.inputs.shape, self.lstm.hidden_size
        weigh, mask = self.head.weight.T.expand(H, B), inputs.new_ones(H, B)
        if self.drops:
            on_inputs, mask, on_outputs = (self.mask((n, B), inputs) for n in (F, H, H))
            inputs, weigh = inputs * on_inputs.T[:, None], weigh * on_outputs
        h, c = memory
        x, state = closed_lstm(
            self.lstm,
            inputs.permute(1, 2, 0),
            mask,
            (h, c),
            (weigh, self.head.bias[0]),
            _loop(days, decided),
        )
        return x.T, state


def _loop(days: Days, decided: Tensor) -> Loop:
    """In the precision of the inputs, by day."""
    kind = days.inputs.dtype
    ratio, alive = (part.to(kind).T.contiguous() for part in (days.ratio, days.alive))
    return Loop(ratio, alive, decided.to(kind))

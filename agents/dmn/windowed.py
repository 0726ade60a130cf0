"""What networks have in common that read, for every day, the window of days that ends at it and no more."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from agents.dmn.network import Memory, Network

# Windows handled at once where no slopes are asked for; bounds memory.
AT_ONCE = 256


class WindowNetwork(Network):
    """Z_t of the inputs on the days t - context + 1 to t; nothing is known of earlier ones.

    Attributes:
        static: how many of the last inputs are the same on all days of a sequence; they are read on the last
            day alone.
    """

    reads_days = True

    def __init__(self, dropout: float, context: int, static: int) -> None:
        super().__init__(dropout)
        self.past, self.static = context - 1, static

    @abstractmethod
    def read(self, windows: Tensor, static: Tensor) -> Tensor:
        """Z [B, L] of windows [B, L, F, context], of every feature the oldest day first.

        Args:
            windows: without the static inputs.
            static: [B, L, static] those of the last day.
        """

    def memory(self, past: Tensor) -> Memory:
        """The last days as they are."""
        return (past,)

    def forward(self, inputs: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """Z_t of these days, and the rows that the next days look back to."""
        rows = torch.cat([memory[0], inputs], dim=1)
        F, L = inputs.shape[2] - self.static, inputs.shape[1]
        windows, static = windows_of(rows[..., :F], self.past + 1), inputs[..., F:]
        parts = pieces(len(inputs), L, whole=self.training)
        z = [self.read(windows[:, some], static[:, some]) for some in parts]
        return torch.cat(z, dim=1), (rows[:, L:],)

    def last_day(self, rows: Tensor) -> Tensor:
        """Z [B, 1] of one window each."""
        F = rows.shape[2] - self.static
        return self.read(rows[:, None, :, :F].mT, rows[:, -1:, F:])


def windows_of(rows: Tensor, context: int) -> Tensor:
    """[B, L, F, context] views of rows [B, context - 1 + L, F]: every day's window, the oldest day first."""
    return rows.unfold(1, context, 1)


def pieces(batch: int, days: int, *, whole: bool) -> Iterator[slice]:
    """Neighbouring days of `batch` sequences, so many at once that memory is bounded.

    Args:
        batch: sequences.
        days: of each.
        whole: all at once: a backward pass needs all of them anyway.
    """
    step = days if whole else max(AT_ONCE // batch, 1)
    return (slice(begin, begin + step) for begin in range(0, days, step))

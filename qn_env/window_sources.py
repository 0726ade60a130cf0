"""Where windows come from: whole histories as tensors, cut only when someone asks for a part.

What an episode is made of is gathered part by part and only when touched: a loss over open days and flat
scales reads returns and nothing else. `needed_parts` names the parts that cannot be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
import torch

from qn_env.arrays import BoolArray, FloatArray, IntArray
from qn_env.economics import Costs
from qn_env.tape import Tape

Tensor = torch.Tensor
Rows = Tensor | slice


class WindowSource(Protocol):
    """Where an episode's parts come from; a part is named as the episode's attribute."""

    @property
    def lag(self) -> int:
        """Days between a decision and its trade."""

    @property
    def bars_per_year(self) -> float:
        """What ratios are annualised by."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """B windows, L days, N assets."""

    def part(self, name: str) -> Tensor:
        """[B, L, N, ...] one part."""

    def costs(self) -> Costs[Tensor]:
        """Rates, [N] or [B, L, N]."""

    def simple_costs(self) -> Costs[Tensor] | None:
        """The same rates for computing: a number where equal everywhere, None where all are zero."""

    @property
    def needed_parts(self) -> frozenset[str]:
        """The parts that matter: leaving out any other changes no number that counts."""

    def take(self, rows: Rows) -> Self:
        """The windows of the given numbers."""


@dataclass(frozen=True, eq=False)
class MarketTensors:
    """One market's whole history.

    Attributes:
        parts: by name, [T - 1, N, ...]; row t is decision day t. `order` holds rows of the history, -1 where
            no decision is in force.
        rates: of every cost, [N] or [T, N].
        simple_rates: the same where they are not zero everywhere, a number where they are equal everywhere.
        needed_parts: by name of a part, [T] how many days before t make it matter; a part that never does is
            missing.
        first: the row of the first decision.
        lag: days between a decision and its trade.
        bars_per_year: what ratios are annualised by.
    """

    parts: Mapping[str, Tensor]
    rates: Costs[Tensor]
    simple_rates: Costs[Tensor] | None
    needed_parts: Mapping[str, IntArray]
    first: int
    lag: int
    bars_per_year: float

    @classmethod
    def of(
        cls, tape: Tape, features: Tensor, device: torch.device, unit: FloatArray | None = None
    ) -> MarketTensors:
        """Lay out the tape of one market and its features [T, N, F]; `unit` [N] divides the inputs."""

        def tensor(array: object, dtype: torch.dtype) -> Tensor:
            return torch.tensor(array, dtype=dtype, device=device)

        order = tape.order()
        parts = {
            "inputs": tensor(tape.returns[:-1] / (1.0 if unit is None else unit), torch.float32),
            "features": features[:-1].to(device),
            "next_returns": tensor(tape.returns[1:], torch.float64),
            "listed": tensor(tape.listed[:-1], torch.bool),
            "counted": tensor(tape.counted[:-1], torch.bool),
            "exits": tensor(tape.exits[1:], torch.float64),
            "scale": tensor(tape.scale[:-1], torch.float64),
            "order": tensor(np.where(order < len(order), order, -1)[:-1], torch.int64),
        }
        rates = tape.costs.each(lambda rate: tensor(rate, torch.float64))
        return cls(
            parts, rates, simplify(rates), _needed_parts(tape), tape.first, tape.lag, tape.bars_per_year
        )

    @property
    def days(self) -> int:
        """Decision days: the account is open and a next day exists."""
        return len(self.parts["inputs"]) - self.first

    def windows(self, starts: Tensor, length: int) -> SlicedWindows:
        """Windows of `length` days that begin at `starts` [B], a tensor on the CPU."""
        begin = starts.numpy()
        needed = {
            name for name, days in self.needed_parts.items() if (days[begin + length] > days[begin]).any()
        }
        return SlicedWindows(self, starts, length, frozenset(needed))

    def windows_anywhere(self, starts: Tensor, length: int) -> SlicedWindows:
        """The same of starts on the history's device: with every part that matters on any day."""
        return SlicedWindows(self, starts, length, frozenset(self.needed_parts))


@dataclass(frozen=True, eq=False)
class SlicedWindows:
    """Windows of one market's history; nothing is gathered before it is asked for."""

    tensors: MarketTensors
    starts: Tensor
    length: int
    needed_parts: frozenset[str]

    @property
    def lag(self) -> int:
        """Days between a decision and its trade."""
        return self.tensors.lag

    @property
    def bars_per_year(self) -> float:
        """What ratios are annualised by."""
        return self.tensors.bars_per_year

    @property
    def shape(self) -> tuple[int, int, int]:
        """B windows, L days, N assets."""
        return len(self.starts), self.length, self.tensors.parts["inputs"].shape[1]

    def part(self, name: str) -> Tensor:
        """[B, L, N, ...] one part; `order` counts from the window's start, L where there is none."""
        values = self._gather(self.tensors.parts[name])
        if name != "order":
            return values
        # A decision in force that was taken before the window is none of the window's.
        own = values - self.starts.to(values.device)[:, None, None]
        return torch.where(own >= 0, own, self.length)

    def costs(self) -> Costs[Tensor]:
        """Rates; those per asset alone are as they are."""
        return self.tensors.rates.each(self._rate)

    def simple_costs(self) -> Costs[Tensor] | None:
        """Rates that are not zero, or None."""
        return None if self.tensors.simple_rates is None else self.tensors.simple_rates.each(self._rate)

    def _rate(self, rate: Tensor) -> Tensor:
        return rate if rate.ndim < 2 else self._gather(rate)

    def take(self, rows: Rows) -> SlicedWindows:
        """The windows of the given numbers."""
        return replace(
            self, starts=self.starts[rows if isinstance(rows, slice) else rows.to(self.starts.device)]
        )

    def _gather(self, history: Tensor) -> Tensor:
        # A window is one contiguous stretch of memory: this copies it whole, not row by row.
        stretches = history.unfold(0, self.length, 1).movedim(-1, 1)
        return stretches.index_select(0, self.starts.to(history.device))


@dataclass(frozen=True, eq=False)
class PaddedWindows:
    """Windows that are laid out already, [W, L, N, ...] each, of which `rows` [B] are taken; None: all."""

    parts: Mapping[str, Tensor]
    rates: Costs[Tensor]
    simple_rates: Costs[Tensor] | None
    needed_parts: frozenset[str]
    lag: int
    bars_per_year: float
    rows: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """B windows, L days, N assets."""
        W, L, N = self.parts["listed"].shape
        return W if self.rows is None else len(self.rows), L, N

    def part(self, name: str) -> Tensor:
        """[B, L, N, ...] one part."""
        return self._take_rows(self.parts[name])

    def costs(self) -> Costs[Tensor]:
        """Rates; those per asset alone are as they are."""
        return self.rates.each(self._rate)

    def simple_costs(self) -> Costs[Tensor] | None:
        """Rates that are not zero, or None."""
        return None if self.simple_rates is None else self.simple_rates.each(self._rate)

    def take(self, rows: Rows) -> PaddedWindows:
        """The windows of the given numbers."""
        device = self.parts["listed"].device
        mine = torch.arange(self.shape[0], device=device) if self.rows is None else self.rows
        return replace(self, rows=mine[rows])

    def _rate(self, rate: Tensor) -> Tensor:
        return rate if rate.ndim < 2 else self._take_rows(rate)

    def _take_rows(self, values: Tensor) -> Tensor:
        return values if self.rows is None else values[self.rows]


def simplify(rates: Costs[Tensor]) -> Costs[Tensor] | None:
    """The same rates: absent where they are zero, a number where they are equal everywhere."""
    if not any(bool(rate.any()) for rate in rates if rate is not None):
        return None
    turnover, *others = (None if rate is None else _one_if_equal(rate) for rate in rates)
    assert turnover is not None
    return Costs(turnover, *(rate if rate is not None and bool(rate.any()) else None for rate in others))


def _one_if_equal(rate: Tensor) -> Tensor:
    first = rate.flatten()[0]
    return first if bool((rate == first).all()) else rate


def _needed_parts(tape: Tape) -> dict[str, IntArray]:
    """By part, [T] how many days before t make it matter for a window that contains them."""
    # Where a listed asset is open every day, each day's own decision is in force; where it is not listed its
    # weight is 0 by `listed`, whatever decision `order` names.
    shut = np.ones_like(tape.listed) if tape.lag else tape.listed & ~tape.live
    days: dict[str, BoolArray] = {
        "order": shut,
        "listed": ~tape.listed,
        "counted": ~tape.counted,
        "exits": np.roll(tape.exits > 0, -1, axis=0),
        "scale": (tape.scale != 1.0) & (tape.listed | tape.decides),
    }
    return {
        name: np.insert(day[:-1].any(axis=1).cumsum(), 0, 0) for name, day in days.items() if day[:-1].any()
    }

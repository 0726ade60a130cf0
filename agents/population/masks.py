"""Dropout for many members at once: the masks each would draw alone, whoever trains beside it.

A member's random words come from its own generator, on the CPU and in its own order, and are turned into
masks on the device. So they depend neither on the device nor on the other members, and a training can go on
alone where it was one of many. A word is 64 bits and makes four masks; one core draws 150 million a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# Numbers of 16 bits in a random word.
IN_A_WORD = 4


class Place(NamedTuple):
    """One mask of a step: its shape for a full batch, and which of its axes counts the batch."""

    shape: tuple[int, ...]
    batch_axis: int

    def of(self, rows: int) -> tuple[int, ...]:
        """Its shape for so many rows."""
        return (*self.shape[: self.batch_axis], rows, *self.shape[self.batch_axis + 1 :])

    def words(self, rows: int) -> int:
        """Random words it takes for so many rows."""
        return -(-math.prod(self.of(rows)) // IN_A_WORD)


@dataclass(frozen=True)
class Plan:
    """The masks of one step in the order in which a network asks for them."""

    places: tuple[Place, ...]
    batch: int

    @classmethod
    def of(cls, ask: Callable[[int, Callable[..., Tensor]], object], batch: int) -> Plan:
        """Learn them from two passes, of `batch` rows and of one more.

        Args:
            ask: runs a network on so many rows, with masks from the given source.
            batch: rows of a full batch.
        """
        small, large = (_asked(ask, rows) for rows in (batch, batch + 1))
        places = []
        for shape, other in zip(small, large, strict=True):
            (axis,) = [i for i, (a, b) in enumerate(zip(shape, other, strict=True)) if a != b]
            places.append(Place(shape, axis))
        return cls(tuple(places), batch)

    @property
    def words(self) -> int:
        """Random words of a full step."""
        return sum(place.words(self.batch) for place in self.places)

    def draw(self, generator: torch.Generator, steps: Sequence[int]) -> Tensor:
        """[S, words] int64 of one member's next steps of so many rows each; what is not drawn is 0."""
        drawn = torch.zeros(len(steps), self.words, dtype=torch.int64)
        full = 0
        while full < len(steps) and steps[full] == self.batch:
            full += 1
        # Drawn at once or one after the other, the words are the same.
        _random(drawn[:full], generator)
        for step, rows in enumerate(steps[full:], start=full):
            words = torch.empty(sum(place.words(rows) for place in self.places), dtype=torch.int64)
            self._lay(_random(words, generator), rows, drawn[step])
        return drawn

    def masks(self, words: Tensor, threshold: Tensor, scale: Tensor) -> list[Tensor]:
        """Every mask [K, ...], 0 or 1 / keep.

        Args:
            words: [K, words] of one step.
            threshold: [K] int16 below which a number is kept.
            scale: [K] 1 / keep, in the precision of the network.
        """
        numbers, at, found = words.view(torch.int16), 0, []
        for place in self.places:
            count, axes = math.prod(place.shape), (1,) * len(place.shape)
            kept = numbers[:, at : at + count].view(-1, *place.shape) < threshold.view(-1, *axes)
            found.append(kept.to(scale.dtype) * scale.view(-1, *axes))
            at += place.words(self.batch) * IN_A_WORD
        return found

    def _lay(self, words: Tensor, rows: int, into: Tensor) -> None:
        """Put the words of a smaller batch where those of its rows stand in a full one."""
        numbers, room, at, to = words.view(torch.int16), into.view(torch.int16), 0, 0
        for place in self.places:
            count = math.prod(place.of(rows))
            whole = room[to : to + math.prod(place.shape)].view(place.shape)
            whole.narrow(place.batch_axis, 0, rows).copy_(numbers[at : at + count].view(place.of(rows)))
            at += place.words(rows) * IN_A_WORD
            to += place.words(self.batch) * IN_A_WORD


def _random(words: Tensor, generator: torch.Generator) -> Tensor:
    return words.random_(-(2**63), None, generator=generator)


def _asked(ask: Callable[[int, Callable[..., Tensor]], object], rows: int) -> list[tuple[int, ...]]:
    shapes: list[tuple[int, ...]] = []

    def source(shape: tuple[int, ...], like: Tensor) -> Tensor:
        shapes.append(tuple(shape))
        return like.new_ones(shape)

    ask(rows, source)
    return shapes

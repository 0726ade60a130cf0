"""Encoded context sequences: what a decision attends to, and what an agent keeps of its training panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from agents.xtrend.network import XTrendNetwork
from agents.xtrend.sequences import Library
from qn_env.arrays import DateArray, IntArray
from qn_env.panel import Panel

CHUNK = 256  # sequences that are encoded at once

TENSORS = ("asset", "keys", "values", "days")  # of a pool

Asset = tuple[str, str]  # market and name


class Told(NamedTuple):
    """A context sequence as a reader knows it."""

    market: str
    asset: str
    first: np.datetime64  # its first day
    last: np.datetime64  # its last day; the return of the asset's next day is read, too


@dataclass(frozen=True, eq=False)
class Pool:
    """P encoded sequences, in the order in which they ended.

    Attributes:
        assets: names, of which each sequence has one.
        asset: [P] its number.
        keys: [P, H].
        values: [P, H], before they attend to each other.
        days: [P, 3] the first day, the last, and that on which the last next return was known, in seconds
            since 1970.
    """

    assets: tuple[Asset, ...]
    asset: Tensor
    keys: Tensor
    values: Tensor
    days: Tensor

    def __len__(self) -> int:
        return len(self.keys)

    @classmethod
    def of(cls, network: XTrendNetwork, panel: Panel, library: Library, known: IntArray) -> Self:
        """The sequences of a panel.

        Args:
            network: trained.
            panel: whose days they are.
            library: the sequences.
            known: [N] the number of each column's embedding, `UNKNOWN` where it has none.
        """
        found, row, moments = library.sequences, library.history.row, seconds(panel.dates)
        ends = (row[found.start], row[found.start + found.length - 1], found.ended)
        return cls(
            names_of(panel),
            torch.from_numpy(found.asset),
            *_encode(network, library, known),
            torch.from_numpy(np.stack([moments[end] for end in ends], axis=1)),
        )

    def take(self, numbers: IntArray) -> Self:
        """The sequences of the given numbers, in their order."""
        rows = torch.from_numpy(numbers)
        return type(self)(self.assets, *(tensor[rows] for tensor in self.tensors().values()))

    def thinned(self, most: int, recent: int) -> Self:
        """At most about so many: the latest ones, and others spread evenly over the time before."""
        P = len(self)
        spread = np.linspace(0, max(P - 1, 0), min(most, P)).round().astype(np.intp)
        return self.take(np.union1d(spread, np.arange(max(P - recent, 0), P)))

    def told(self, number: int) -> Told:
        """What a sequence is called."""
        first, last, _ = self.days[number].numpy().astype("datetime64[s]")
        return Told(*self.assets[int(self.asset[number])], first, last)

    def rows(self, moments: IntArray) -> IntArray:
        """[P] the last row of a calendar [T] by which each had ended; -1: before the first."""
        found: IntArray = np.searchsorted(moments, self.days[:, 2].numpy(), side="right") - 1
        return found

    def before(self, other: Self, moments: IntArray) -> tuple[Self, IntArray]:
        """These and others that ended on the days of a calendar [T], and the rows on which each ended.

        On one row these come first.
        """
        rows = np.concatenate([self.rows(moments), other.rows(moments)])
        both = type(self)(
            self.assets + other.assets,
            torch.cat([self.asset, other.asset + len(self.assets)]),
            *(
                torch.cat([getattr(pool, name) for pool in (self, other)])
                for name in ("keys", "values", "days")
            ),
        )
        order = np.argsort(rows, kind="stable")
        return both.take(order), rows[order]

    def beside(self, assets: Sequence[Asset], moments: IntArray) -> Self:
        """Those that assets [N] which are played over a calendar [T] do not bring themselves.

        Left out are sequences of the same assets that had not ended before the first day.
        """
        ours = set(assets)
        shared = np.array([name in ours for name in self.assets], dtype=bool)[self.asset.numpy()]
        return self.take(np.flatnonzero(~shared | (self.rows(moments) < 0)))

    def tensors(self) -> dict[str, Tensor]:
        """All but the names."""
        return {name: getattr(self, name) for name in TENSORS}


def names_of(panel: Panel) -> tuple[Asset, ...]:
    """[N] market and name of every asset."""
    return tuple(zip(panel.market_of, panel.assets, strict=True))


def seconds(dates: DateArray) -> IntArray:
    """[T] seconds since 1970."""
    moments: IntArray = dates.astype("datetime64[s]").astype(np.int64)
    return moments


def _encode(network: XTrendNetwork, library: Library, known: IntArray) -> tuple[Tensor, Tensor]:
    """Keys and values [P, H] of all sequences.

    In pieces of one size: a matrix product's rounding depends on its shape, so that a later sequence more or
    less would otherwise reach earlier ones.
    """
    P = len(library.sequences)
    keys, values = torch.zeros(2, P, network.hidden).unbind(0)
    for begin in range(0, P, CHUNK):
        piece = slice(begin, min(begin + CHUNK, P))
        read = library.read(np.arange(begin, begin + CHUNK).clip(max=P - 1))
        given = network.given(torch.from_numpy(known)[read.asset])
        both = network.encode(read.inputs, read.labels, read.length, given)
        keys[piece], values[piece] = (part[: piece.stop - begin] for part in both)
    return keys, values

"""Context sequences: stretches of one asset's days, and when each of them has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.xtrend.history import History
from qn_env.arrays import IntArray


@dataclass(frozen=True, eq=False)
class Sequences:
    """P stretches of a history, in the order in which they ended; at one close, in the order of assets.

    Attributes:
        asset: [P] column.
        start: [P] place of the first day in the history.
        length: [P] days; their next returns are known.
        ended: [P] the row on which the last of these next returns was known.
    """

    asset: IntArray
    start: IntArray
    length: IntArray
    ended: IntArray

    def __len__(self) -> int:
        return len(self.ended)


def in_order(asset: IntArray, start: IntArray, length: IntArray, ended: IntArray) -> Sequences:
    """The sequences in the order in which they ended."""
    order = np.lexsort((start, asset, ended))
    return Sequences(asset[order], start[order], length[order], ended[order])


def fixed(history: History, longest: int) -> Sequences:
    """Every asset's days in stretches of `longest`, one behind the other.

    The first stretch of an asset is shorter than that of the asset before it, so that assets with the same
    calendar do not all end theirs on the same days.
    """
    parts = []
    for j in range(len(history.first) - 1):
        begin, end = history.first[j : j + 2]
        paired = int((history.known[begin:end] < history.days).sum())
        stops = np.arange(first_length(j, len(history.first) - 1, longest), paired + 1, longest)
        starts = np.maximum(stops - longest, 0)
        parts.append(np.stack([np.full(len(stops), j), begin + starts, stops - starts]))
    asset, start, length = np.concatenate(parts, axis=1).astype(np.intp)
    return in_order(asset, start, length, history.known[start + length - 1])


def first_length(column: int, n_assets: int, longest: int) -> int:
    """Days of an asset's first stretch.

    Examples:
        >>> [first_length(j, 4, 10) for j in range(4)]
        [10, 8, 5, 3]
    """
    return longest - column * longest // n_assets


class Read(NamedTuple):
    """Sequences as a network reads them."""

    inputs: Tensor  # [P, S, F]
    labels: Tensor  # [P, S] next normalised returns
    length: Tensor  # [P] days
    asset: Tensor  # [P] column


@dataclass(frozen=True, eq=False)
class Library:
    """A history, and the sequences that it is cut into."""

    history: History
    sequences: Sequences
    longest: int  # S, days of the longest sequence there may be

    def read(self, numbers: IntArray) -> Read:
        """The sequences of the given numbers [P], the days behind their ends as 0."""
        length = self.sequences.length[numbers]
        day = np.arange(self.longest)
        inside = day < length[:, None]
        place = np.where(inside, self.sequences.start[numbers][:, None] + day, 0)
        inputs = self.history.inputs[place] * inside[..., None]
        labels = self.history.label[place] * inside
        return Read(*map(torch.from_numpy, (inputs, labels, length, self.sequences.asset[numbers])))

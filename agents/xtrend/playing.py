"""A whole history in one streamed pass over each asset's own days."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from agents.xtrend.history import History
from agents.xtrend.network import Outputs, Sets, State, XTrendNetwork
from agents.xtrend.pool import Pool
from qn_env.arrays import BoolArray, IntArray

# Rows whose context sets are put together at once, and numbers of contexts that are laid side by side.
ROWS, NUMBERS = 128, 2**21


class Piece(NamedTuple):
    """Some days of every asset: its own k-th to (k + L - 1)-th."""

    row: IntArray  # [N, L] of the union calendar
    active: BoolArray  # [N, L] whether there is such a day
    outputs: Outputs  # [N, L] each
    weights: Tensor  # [N, L, C + 1] of the contexts of the day's set, the last one of none


def offer(network: XTrendNetwork, pool: Pool, sets: IntArray) -> Sets:
    """What may be attended to on every row, from the numbers [T, C] of its sequences."""
    T, keys, values = len(sets), pool.keys, pool.values
    if not len(pool):
        keys, values = torch.zeros(2, 1, network.hidden)
    parts = []
    for begin in range(0, T, ROWS):
        # Pieces of one size: a matrix product's rounding depends on its shape.
        rows = np.arange(begin, begin + ROWS).clip(max=T - 1)
        offered = network.offer(keys, values, torch.from_numpy(sets[rows]))
        parts.append([part[: T - begin] for part in offered])
    return Sets(*(torch.cat(part) for part in zip(*parts, strict=True)))


def stream(network: XTrendNetwork, history: History, known: IntArray, offered: Sets) -> Iterator[Piece]:
    """The network's outputs piece by piece, its states warm; pieces of one size, as in `offer`.

    Args:
        network: trained.
        history: D days of N assets.
        known: [N] numbers of the embeddings.
        offered: what may be attended to on each of the T rows.
    """
    N, counts = len(known), np.diff(history.first)
    _, C, H = offered.keys.shape
    L = int(np.clip(NUMBERS // max(N * C * H, 1), 1, 128))
    given = network.given(torch.from_numpy(known))
    asked_state: State | None = None
    decoded_state: State | None = None
    for begin in range(0, int(counts.max(initial=0)), L):
        day = np.arange(begin, begin + L)
        active = day < counts[:, None]
        place = np.where(active, history.first[:-1, None] + day, 0)
        inputs, row = torch.from_numpy(history.inputs[place]), history.row[place]
        asked, asked_state = network.ask(inputs, given, asked_state)
        rows = torch.from_numpy(row).flatten()
        found, weights = network.cross(
            asked.flatten(0, 1)[:, None], Sets(*(part.index_select(0, rows) for part in offered))
        )
        outputs, decoded_state = network.decode(inputs, found.reshape(N, L, H), given, decoded_state)
        yield Piece(row, active, outputs, weights.reshape(N, L, C + 1))

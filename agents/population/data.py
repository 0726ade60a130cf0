"""What members of a population learn from, laid down once on their device, and which rows each takes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor

from agents.population.masks import Plan
from agents.population.steps import Batch

# Bytes of random words that are drawn, and lie on the device, at once.
DRAWN = 2**28


def batches(
    orders: Sequence[Tensor | None],
    offsets: Sequence[int],
    batch: int,
    plan: Plan,
    generators: Sequence[torch.Generator],
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> Iterator[Batch]:
    """One epoch of every member: rows [K, B], which of them there are [K, B], random words [K, words].

    Args:
        orders: [K] each member's order of its own rows in this epoch, on the CPU; None: it does not go on.
        offsets: [K] the number of each member's first row.
        batch: rows of a step.
        plan: the masks of a step.
        generators: [K] what each member's masks are drawn from.
        device: where the batches lie.
        dtype: of what says whether a member takes a step.
    """
    K = len(orders)
    sizes = [[] if order is None else [len(rows) for rows in torch.split(order, batch)] for order in orders]
    steps = max(map(len, sizes))
    rows = torch.zeros(K, steps * batch, dtype=torch.int64)
    there = torch.zeros(K, steps * batch, dtype=torch.bool)
    for k, order in enumerate(orders):
        if order is not None:
            rows[k, : len(order)] = order + offsets[k]
            there[k, : len(order)] = True
    rows, there = (send(part.view(K, steps, batch).transpose(0, 1), device) for part in (rows, there))
    taken = there.any(2, keepdim=True).to(dtype)
    portion = max(DRAWN // max(K * plan.words * 8, 1), 1)
    with ThreadPoolExecutor(_threads(device)) as pool:
        for begin in range(0, steps, portion):
            some = range(begin, min(begin + portion, steps))
            mine = [own[some.start : some.stop] for own in sizes]
            words = torch.zeros(len(some), K, plan.words, dtype=torch.int64)
            list(pool.map(partial(_draw, plan, words), range(K), generators, mine))
            for step, drawn in zip(some, send(words, device), strict=True):
                yield Batch((rows[step], there[step], drawn), taken[step])


def send(values: Tensor, device: torch.device) -> Tensor:
    """The values on a device; to a card they travel while it is still at work on what came before."""
    return values.to(device) if device.type != "cuda" else values.pin_memory().to(device, non_blocking=True)


def _draw(plan: Plan, into: Tensor, member: int, generator: torch.Generator, steps: Sequence[int]) -> None:
    """One member's words [S, words] of its next steps, into [S, K, words]."""
    into[: len(steps), member] = plan.draw(generator, steps)


def _threads(device: torch.device) -> int:
    """A card is fed by all cores of its process; on the CPU one process is one core."""
    return 1 if device.type == "cpu" else os.cpu_count() or 1


def join(parts: Sequence[Tensor], device: torch.device) -> Tensor:
    """One tensor of several, behind each other."""
    return torch.cat(list(parts)).to(device)


def gather(values: Tensor, rows: Tensor) -> Tensor:
    """[K, B, ...] the rows [K, B] of [W, ...]."""
    return values.index_select(0, rows.flatten()).view(*rows.shape, *values.shape[1:])

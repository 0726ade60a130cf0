"""One training step of all members, again and again: eagerly, or as one CUDA graph.

A step of small networks is hundreds of short kernels, and launching them takes longer than running them. A
CUDA graph launches all of them at once. It is captured after some real steps, which it does not repeat.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from agents.population.stack import Stack

# QN_ENV_GRAPH=off takes every step eagerly on a GPU, too.
SWITCH = "QN_ENV_GRAPH"
# Steps that are taken eagerly before one is captured: libraries set themselves up in the first ones.
EAGER = 3


class Batch(NamedTuple):
    """One step of all members.

    Attributes:
        parts: what `Losses` reads; of equal shapes in every step.
        taken: [K, 1] of members, or [K, n] of their parameters: 1 where a step is taken, else 0.
    """

    parts: tuple[Tensor, ...]
    taken: Tensor


class Losses(Protocol):
    """What members minimise."""

    def losses(self, weights: Mapping[str, Tensor], *parts: Tensor) -> Tensor:
        """[K] what each member minimises, of one batch; with dropout."""


class Steps:
    """Steps of a population, and the sums of what they report."""

    def __init__(self, stack: Stack, source: Losses) -> None:
        """Of these weights and losses."""
        self._stack, self._source = stack, source
        device = stack.flat.device
        self._sums = torch.zeros(3, len(stack), dtype=torch.float64, device=device)
        self._captures = device.type == "cuda" and os.environ.get(SWITCH) != "off"
        self._seen = 0
        self._graph: Any = None
        self._static: Batch | None = None

    def take(self, batch: Batch) -> None:
        """One step."""
        if not self._captures:
            self._step(batch)
        elif self._graph is not None:
            self._replay(batch)
        elif self._seen < EAGER:
            self._step_aside(batch)
        else:
            self._capture(batch)
            self._replay(batch)
        self._seen += 1

    def means(self) -> tuple[Tensor, Tensor]:
        """[K] of the losses and of the gradients' norms since the last call, over the steps each took."""
        losses, norms, taken = self._sums.clone()
        self._sums.zero_()
        return losses / taken, norms / taken

    def _step(self, batch: Batch) -> None:
        losses = self._source.losses(self._stack.weights, *batch.parts)
        norms, on = self._stack.step(losses, batch.taken), batch.taken.amax(1)
        # Of a member that waits, the loss of an empty batch is nothing that it was trained on.
        self._sums += torch.stack([torch.where(on > 0, losses.detach(), 0.0), on * norms, on])

    def _step_aside(self, batch: Batch) -> None:
        """On a stream of its own, as what is captured afterwards."""
        aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        now = torch.cuda.current_stream()
        aside.wait_stream(now)
        with torch.cuda.stream(aside):
            self._step(batch)
        now.wait_stream(aside)

    def _capture(self, batch: Batch) -> None:
        self._static = Batch(tuple(part.clone() for part in batch.parts), batch.taken.clone())
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._step(self._static)

    def _replay(self, batch: Batch) -> None:
        assert self._static is not None
        for ours, given in zip(
            (*self._static.parts, self._static.taken), (*batch.parts, batch.taken), strict=True
        ):
            ours.copy_(given)
        self._graph.replay()

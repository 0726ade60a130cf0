"""The one training loop: clipped steps, validation after every epoch, early stopping, best weights kept."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from qn_env.errors import QnError

# Told (done, total) of the training under way; set by whoever wants to show it.
Progress = Callable[[int, int], None]
_listener: ContextVar[Progress | None] = ContextVar("progress", default=None)


@dataclass(frozen=True)
class Training:
    """How a training went: scores are the objective, larger is better."""

    epochs: int
    best_epoch: int
    best_score: float


def train(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: Callable[[], Iterator[Tensor]],
    score: Callable[[], float],
    *,
    epochs: int,
    patience: int,
    max_norm: float,
    title: str,
) -> Training:
    """Train until `patience` epochs bring no better score, and leave the best weights in the network.

    Args:
        network: what is trained.
        optimizer: over its parameters.
        losses: an epoch: yields one loss after the other, each computed with the weights of that moment.
        score: the objective on held-out data with the weights of that moment; larger is better.
        epochs: at most so many.
        patience: epochs without a better score before it stops.
        max_norm: gradients are scaled down to this norm.
        title: what the progress bar says.

    Raises:
        QnError: a loss that is not a finite number.
    """
    best = Training(epochs=0, best_epoch=0, best_score=-math.inf)
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    with progress(title, epochs) as report:
        for epoch in range(1, epochs + 1):
            network.train()
            for loss in losses():
                _step(network, optimizer, loss, max_norm)
            network.eval()
            with torch.no_grad():
                found = score()
            if found > best.best_score:
                best = Training(epochs=epoch, best_epoch=epoch, best_score=found)
                kept = {name: value.clone() for name, value in network.state_dict().items()}
            report(epoch, epochs)
            if epoch - best.best_epoch >= patience:
                break
    network.load_state_dict(kept)
    network.eval()
    return Training(epochs=epoch, best_epoch=best.best_epoch, best_score=best.best_score)


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, max_norm: float) -> None:
    if not torch.isfinite(loss):
        raise QnError(f"the training loss is {loss.item()}; lower the learning rate or look at the data.")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), max_norm)
    optimizer.step()


@contextmanager
def progress(title: str, total: int) -> Iterator[Progress]:
    """A callback that shows how far a training is: to the listener if there is one, else as a bar."""
    listener = _listener.get()
    if listener is not None:
        yield listener
        return
    # disable=None: no bar where the output is no terminal.
    with tqdm(total=total, desc=title, disable=None, leave=False) as bar:
        yield lambda done, _total: bar.update(done - bar.n) and None


@contextmanager
def listening(listener: Progress) -> Iterator[None]:
    """Send the progress of the trainings inside the block to `listener`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside the block the global generators start from `seed`; after it they are as they were.

    Only for code that draws from them: the initialisation of torch modules, Stable-Baselines3.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - saved and restored
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - what Stable-Baselines3 draws from
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002 - restored

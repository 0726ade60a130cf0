"""The one training loop: clipped steps, validation after every epoch, early stopping, best weights kept."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents.progress import shows_bars, tqdm
from agents.resuming import Keeper, Parts
from qn_env.errors import QnError
from qn_env.extras import require

# Told (done, total) of a training under way.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Training:
    """How a training went: scores are the objective, larger is better."""

    epochs: int = 0
    best_epoch: int = 0
    best_score: float = -math.inf
    # The best score after each epoch: how it came there, no part of where it ended.
    curve: tuple[float, ...] = field(default=(), compare=False)

    def after(self, score: float) -> Training:
        """One more epoch."""
        epochs, best = self.epochs + 1, max(self.best_score, score)
        at = epochs if score > self.best_score else self.best_epoch
        return Training(epochs, at, best, (*self.curve, best))

    @property
    def improved(self) -> bool:
        """Whether the last epoch was the best."""
        return self.best_epoch == self.epochs


@dataclass(frozen=True, kw_only=True)
class Monitor:
    """Who watches a training, and what it leaves behind; no part of it changes a weight.

    Whoever starts a training hands it over as the agent's attribute `monitor`.

    Attributes:
        progress: told (done, total) after every epoch; None: a bar on the terminal.
        ends: told how the training stands before every epoch but the first, also when it was killed and goes
            on; True ends it. It has to depend on what it is told alone.
        checkpoints: folder where the training's state is stored after every epoch; it goes on from what is
            there, and ends with the same bytes as one that was not killed. None: nothing is stored.
        scalars: folder of losses and scores for TensorBoard (package `tensorboard`); None: none.
    """

    progress: Progress | None = None
    ends: Callable[[Training], bool] | None = None
    checkpoints: Path | None = None
    scalars: Path | None = None

    @contextmanager
    def reporting(self, title: str, total: int) -> Iterator[Progress]:
        """What is told how far a training is: `progress`, or a bar of that title."""
        if self.progress is not None:
            yield self.progress
            return
        with tqdm(total=total, desc=title, disable=not shows_bars(), leave=False) as bar:
            yield lambda done, _total: bar.update(done - bar.n) and None

    @contextmanager
    def recording(self, title: str) -> Iterator[Callable[[Mapping[str, float], int], None]]:
        """What records scalars of an epoch, where there is a folder for them."""
        if self.scalars is None:
            yield lambda _scalars, _epoch: None
            return
        require("tensorboard", what="Recording scalars", extra="tracking")
        from torch.utils.tensorboard import SummaryWriter

        make: Any = SummaryWriter
        writer = make(str(self.scalars / title.replace(" ", "-")))
        try:
            yield partial(_write, writer)
        finally:
            writer.close()

    def ended(self, state: Training) -> bool:
        """Whether a training is not to go on."""
        return self.ends is not None and state.epochs > 0 and self.ends(state)


def train(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: Callable[[int], Iterator[Tensor]],
    score: Callable[[], float],
    *,
    epochs: int,
    patience: int,
    max_norm: float,
    title: str,
    identity: str,
    generators: Mapping[str, torch.Generator],
    monitor: Monitor,
) -> Training:
    """Train until `patience` epochs bring no better score, and leave the best weights in the network.

    Args:
        network: what is trained.
        optimizer: over its parameters.
        losses: an epoch, given how many there were before: yields one loss after the other, each computed
            with the weights of that moment.
        score: the objective on held-out data with the weights of that moment; larger is better.
        epochs: at most so many.
        patience: epochs without a better score before it stops.
        max_norm: gradients are scaled down to this norm.
        title: what the progress bar says.
        identity: configuration, seed and data of this training as text; another one never goes on from it.
        generators: every generator that `losses` and the network draw from, by name.
        monitor: who watches it, and where its state is stored.

    Raises:
        QnError: a loss that is not a finite number.
    """

    def epoch(done: int) -> Mapping[str, float]:
        network.train()
        mean_loss, mean_norm = _epoch(network, optimizer, losses(done), max_norm)
        network.eval()
        return {"loss": mean_loss, "gradient_norm": mean_norm}

    return train_epochs(
        Parts(network, optimizer, generators),
        epoch,
        score,
        epochs=epochs,
        patience=patience,
        title=title,
        identity=identity,
        monitor=monitor,
    )


def train_epochs(
    parts: Parts,
    epoch: Callable[[int], Mapping[str, float]],
    score: Callable[[], float],
    *,
    epochs: int,
    patience: int,
    title: str,
    identity: str,
    monitor: Monitor,
) -> Training:
    """The same for who takes the steps of an epoch otherwise.

    Args:
        parts: what an epoch changes, and what is stored of a training under way.
        epoch: trains for one, given how many there were before; what is recorded of it.
        score: as in `train`, as are the others.
        epochs: at most so many.
        patience: epochs without a better score before it stops.
        title: what the progress bar says.
        identity: configuration, seed and data as text.
        monitor: who watches it.
    """
    network = parts.network
    keeper = Keeper.of(identity, parts, monitor.checkpoints)
    state, best = begin(keeper)
    with monitor.reporting(title, epochs) as report, monitor.recording(title) as write:
        while state.epochs < epochs and state.epochs - state.best_epoch < patience:
            if monitor.ended(state):
                break
            scalars = epoch(state.epochs)
            with torch.no_grad():
                validation_score = score()
            state = state.after(validation_score)
            if state.improved:
                best = weights_of(network)
            write({**scalars, "validation_score": validation_score}, state.epochs)
            keeper.save(asdict(state), best)
            report(state.epochs, epochs)
    network.load_state_dict(best)
    network.eval()
    return state


def begin(keeper: Keeper) -> tuple[Training, dict[str, Tensor]]:
    """Where a training stands, and its best weights: at its beginning, or where it was when it was killed."""
    stored = keeper.load()
    if stored is None:
        return Training(), weights_of(keeper.parts.network)
    state = Training(**stored[0])
    return replace(state, curve=tuple(state.curve)), stored[1]  # JSON has lists


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's weights by name."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, losses: Iterator[Tensor], max_norm: float
) -> tuple[float, float]:
    """One step for every loss; the means of the losses and of the gradients' norms before clipping.

    A loss that is not finite ends a training on the CPU at once, on another device at the end of the epoch.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    values: list[float] = []
    waiting: list[Tensor] = []  # losses on another device, which would stand still to tell each of them
    norms = []
    for loss in losses:
        if loss.is_cpu:
            values.append(_finite(loss.item()))
        else:
            waiting.append(loss.detach())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norms.append(nn.utils.clip_grad_norm_(parameters, max_norm))
        optimizer.step()
    if waiting:
        values += map(_finite, torch.stack(waiting).tolist())
    if not values:
        return math.nan, math.nan
    return float(np.mean(values)), float(torch.stack(norms).mean())


def _finite(loss: float) -> float:
    """A loss, refused where it is no finite number."""
    if not math.isfinite(loss):
        raise QnError(f"the training loss is {loss}; lower the learning rate or look at the data.")
    return loss


def _write(writer: Any, scalars: Mapping[str, float], epoch: int) -> None:
    for name, value in scalars.items():
        writer.add_scalar(name, value, epoch)


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Inside the block the global generators start from `seed`; after it they are as they were.

    Only for code that draws from them: the initialisation of torch modules, Stable-Baselines3.
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - saved and restored
    # A seed reaches the generators of all devices; those of cards exist once one was used.
    begun = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if begun else ()):
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - what Stable-Baselines3 draws from
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002 - restored

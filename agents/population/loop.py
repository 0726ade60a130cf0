"""The training loop of a population: every member goes its own way through the same tensor programme.

It is `agents.training.train` for many: clipped steps, a validation after every epoch, early stopping, best
weights kept. Members begin their epochs together; one that has fewer batches waits, and one that has stopped
is frozen until half have, when the others go on without them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from torch import Tensor

from agents.population.jobs import Job
from agents.population.stack import Stack
from agents.population.steps import Batch, Steps
from agents.resuming import Keeper
from agents.training import Training, begin
from qn_env.errors import QnError

# Seconds of a programme between two moments at which the state of every member is stored; more where storing
# takes long, so that it is a small share of them.
STORED_EVERY, SHARE = 5.0, 0.05

Weights = Mapping[str, Tensor]


class Programme(Protocol):
    """What K trainings do beside stepping their optimisers; every tensor is on their device."""

    def epoch(self, going: Sequence[bool], done: Sequence[int]) -> Iterator[Batch]:
        """One epoch of the members that go on, each drawn from its own generators.

        Args:
            going: [K] which members go on.
            done: [K] epochs that each has behind it.
        """

    def losses(self, weights: Weights, *parts: Tensor) -> Tensor:
        """[K] what each member minimises, of one batch; with dropout."""

    def scores(self, weights: Weights) -> Tensor:
        """[K] each member's objective on its held-out data; larger is better. Without gradient."""


@dataclass(eq=False)
class _Member:
    """One training: where it stands, its best weights, and why it failed."""

    job: Job
    keeper: Keeper
    state: Training
    best: dict[str, Tensor]
    failure: QnError | None = None

    @classmethod
    def of(cls, job: Job) -> _Member:
        """At its first weights, or where it was when it was killed."""
        keeper = job.keeper
        return cls(job, keeper, *begin(keeper))

    @property
    def goes_on(self) -> bool:
        return self.failure is None and self.job.goes_on(self.state)

    @property
    def stop(self) -> float:
        """The epoch behind which it no longer goes on, as far as is known."""
        if self.failure is not None:
            return self.state.epochs + 1
        return math.inf if self.goes_on else self.state.epochs

    def store(self) -> None:
        self.keeper.save(asdict(self.state), self.best)


def train_together(
    jobs: Sequence[Job],
    lay_down: Callable[[Sequence[int]], Programme],
    *,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> list[Training | QnError]:
    """Train every job as `agents.training.train` would, and leave its best weights in its network.

    Args:
        jobs: trainings of networks of one shape, with optimisers of one kind.
        lay_down: the programme of the jobs of the given numbers, in their order.
        device: where they train.
        progress: told (done, total) epochs of all members together; None: each member's monitor is told.

    Returns:
        How each went; a `QnError` in place of one whose loss was no finite number. The others go on.
    """
    members = [_Member.of(job) for job in jobs]
    place = torch.device(device)
    with ExitStack() as watchers:
        telling = _Telling(members, progress, watchers)
        while any(member.goes_on for member in members):
            stacked = _stacked(members)
            _train_stack([members[i] for i in stacked], lay_down(stacked), place, telling)
    for member in members:
        member.job.network.load_state_dict(member.best)
        member.job.network.eval()
    return [member.state if member.failure is None else member.failure for member in members]


def _stacked(members: Sequence[_Member]) -> list[int]:
    """The numbers of those that lie side by side now: the ones that go on, and some that have stopped.

    It follows from the epochs at which members stopped alone, so that a population that was killed goes on
    with the same stack: the last digits of a member depend on where it stands.
    """
    stops = [member.stop for member in members]
    stacked = [i for i, stop in enumerate(stops) if stop > 0]
    for epoch in range(1, _behind(members) + 1):
        going = [i for i in stacked if stops[i] > epoch]
        if 2 * len(going) <= len(stacked):
            stacked = going
    return stacked


def _behind(members: Sequence[_Member]) -> int:
    """Epochs of the members that go on and have the fewest."""
    return min(member.state.epochs for member in members if member.goes_on)


def _train_stack(
    members: Sequence[_Member], programme: Programme, device: torch.device, tell: _Telling
) -> None:
    """Train until half of the members have stopped, or all; leave each as it stands."""
    stack = Stack([member.job for member in members], device)
    steps = Steps(stack, programme)
    best = torch.stack([stack.row(member.best) for member in members])
    going, due = [member.goes_on for member in members], time.monotonic() + STORED_EVERY
    while 2 * sum(going) > len(members):
        # All that go on are at one epoch, but where a kill has caught some before they were stored.
        first = _behind(members)
        takes = [on and m.state.epochs == first for m, on in zip(members, going, strict=True)]
        for batch in programme.epoch(takes, [member.state.epochs for member in members]):
            steps.take(batch)
        # The only copy to the host in an epoch.
        found = torch.stack([*steps.means(), programme.scores(stack.weights)]).tolist()
        better = torch.zeros(len(members), dtype=torch.bool)
        ended = []
        for k, member in enumerate(members):
            if takes[k]:
                better[k] = _book(member, *(part[k] for part in found))
                going[k] = member.goes_on
                ended += [] if going[k] else [k]
        best = torch.where(better.to(device)[:, None], stack.flat, best)
        begun = time.monotonic()
        rest = [k for k, on in enumerate(going) if on and begun >= due]
        _store(members, stack, best, [*ended, *rest])
        if rest:
            now = time.monotonic()
            due = now + max(STORED_EVERY, (now - begun) / SHARE if STORED_EVERY else 0.0)
        for k, member in enumerate(members):
            if takes[k] and member.failure is None:
                tell.epoch(member, *(part[k] for part in found))
    _store(members, stack, best, [k for k, on in enumerate(going) if on])


def _book(member: _Member, loss: float, _norm: float, score: float) -> bool:
    """One more epoch; whether it was the best. A loss that is no number ends the training."""
    if not math.isfinite(loss):
        member.failure = QnError(f"the training loss is {loss}; lower the learning rate or look at the data.")
        return False
    member.state = member.state.after(score)
    return member.state.improved


def _store(members: Sequence[_Member], stack: Stack, best: Tensor, rows: Sequence[int]) -> None:
    """Leave members as they stand: in their networks, their optimisers and their files."""
    sound = [k for k in rows if members[k].failure is None]
    if not sound:
        return
    stack.write_back(sound)
    kept = best.cpu()
    for k in sound:
        members[k].best = stack.named(kept[k])
        members[k].store()


class _Telling:
    """Who is told how far the members are, and what is recorded of them."""

    def __init__(
        self, members: Sequence[_Member], progress: Callable[[int, int], None] | None, stack: ExitStack
    ) -> None:
        self._members, self._whole = members, progress
        self._writers = {id(m): stack.enter_context(m.job.monitor.recording(m.job.title)) for m in members}
        self._reports = (
            {}
            if progress is not None
            else {
                id(m): stack.enter_context(m.job.monitor.reporting(m.job.title, m.job.epochs))
                for m in members
            }
        )

    def epoch(self, member: _Member, loss: float, norm: float, score: float) -> None:
        """One member has finished an epoch."""
        scalars = {"loss": loss, "gradient_norm": norm, "validation_score": score}
        self._writers[id(member)](scalars, member.state.epochs)
        if self._whole is None:
            self._reports[id(member)](member.state.epochs, member.job.epochs)
        else:
            done = sum(m.state.epochs for m in self._members)
            self._whole(done, sum(m.job.epochs for m in self._members))

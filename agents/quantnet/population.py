"""QuantNets side by side: trials of a search and seeds of a run on one panel, in one programme.

Members share the shape of their networks, the panel, and how many windows of which length a step draws. A
market is one pass of all members; markets that a member's step leaves out count for nothing in it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from agents.population.data import send
from agents.population.groups import train_groups
from agents.population.skeleton import for_members
from agents.population.steps import Batch
from agents.quantnet.config import QuantNetConfig
from agents.quantnet.course import Course, build
from agents.quantnet.parts import MarketNetwork, draw_kept
from agents.training import Progress, Training, global_seed
from qn_env.episodes import Episode
from qn_env.errors import QnError
from qn_env.objectives import LOSS_FLOOR, sharpe
from qn_env.windows import member_sharpes

# Rates of dropout by which a mask of the frame says whose rate it is of; every member has its own.
RATES = {"dropout": 0.25, "transfer_dropout": 0.5, "embedding_dropout": 0.75}
_OWN = ("learning_rate", "max_norm", "steps", "patience", "embedding_decay", *RATES)


def kin(config: QuantNetConfig) -> tuple[object, ...]:
    """What members of one programme have in common: all but rates, penalties and limits of their own."""
    common = {name: value for name, value in asdict(config).items() if name not in _OWN}
    return (*common.values(), *(getattr(config, name) > 0.0 for name in RATES))


def train_courses(
    courses: Sequence[Course], device: torch.device, progress: Progress | None = None
) -> list[Training | QnError]:
    """Train every course; those that can share a programme do (`agents.population.groups`)."""
    return train_groups(courses, _key, partial(_programme, device), device=device, progress=progress)


def _key(course: Course) -> Hashable:
    """What members of one programme have in common."""
    return (*kin(course.config), course.data)


def _programme(device: torch.device, courses: Sequence[Course]) -> QuantNetProgramme:
    return QuantNetProgramme(courses, device)


class _Slot(NamedTuple):
    """One mask of a market's pass: its shape, how it lies in memory, its rate, where its numbers begin."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    rate: str
    at: int


class _Whole(nn.Module):
    """One market's pass as a module of its own for `functional_call`."""

    def __init__(self, network: nn.Module, market: str) -> None:
        super().__init__()
        self.network = network
        self._market = market

    def forward(self, inputs: Tensor) -> Tensor:
        """Signals [B, L, n]."""
        signals: Tensor = self.network(self._market, inputs)[0]
        return signals


class _Given:
    """Masks of one member's pass in the order of the slots."""

    def __init__(self, masks: Mapping[int, Tensor], keeps: Mapping[str, Tensor]) -> None:
        self._left, self._keeps = iter(masks.values()), keeps

    def __call__(self, _like: Tensor, _rate: float) -> Tensor:
        return next(self._left)

    def keep(self, rate: float) -> Tensor:
        return self._keeps[_name_of(rate)]


class _Asking:
    """Notes which masks a pass asks for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Tensor, str]] = []

    def __call__(self, like: Tensor, rate: float) -> Tensor:
        self.asked.append((torch.empty_like(like), _name_of(rate)))
        return torch.ones_like(like)

    def keep(self, _rate: float) -> Tensor:
        return torch.ones(())


class QuantNetProgramme:
    """K QuantNets of one shape; see `agents.population.Programme`."""

    def __init__(self, courses: Sequence[Course], device: torch.device) -> None:
        """Lay out what a step draws.

        Args:
            courses: trainings of equal `kin` on the same blocks.
            device: where they train, and where the blocks lie.

        Raises:
            ConfigError: no asset has two days that count, in what is learnt from or in what is held out.
        """
        self._courses, self._device = courses, device
        first = courses[0]
        self._config, self._episodes, self._held = first.config, first.episodes, first.held
        for blocks in (self._held, self._episodes.block()):
            first.refuse_uncountable(blocks)
        self._names = list(self._episodes.markets)
        self._dtype = next(first.network.parameters()).dtype
        frame = _frame(first).to(self._dtype)
        self._slots, self._drawn = self._lay_out_masks(frame)
        self._frame: Any = for_members(frame).to(device)
        self._wholes = {name: _Whole(self._frame, name) for name in {*self._names, *self._held}}
        keeps = {name: [1.0 - getattr(course.config, name) for course in courses] for name in RATES}
        self._keeps = {name: torch.tensor(k, dtype=self._dtype, device=device) for name, k in keeps.items()}
        self._touched = self._owners() if self._config.markets is not None else None
        self._always = torch.ones(len(courses), len(self._held), dtype=torch.float64, device=device)

    def epoch(self, going: Sequence[bool], done: Sequence[int]) -> Iterator[Batch]:
        """Every member's windows from its own generator, and its own masks."""
        K, M, B = len(self._courses), len(self._names), self._config.batch
        steps = [
            course.steps_of(epochs) if on else 0
            for course, on, epochs in zip(self._courses, going, done, strict=True)
        ]
        for step in range(max(steps)):
            starts = torch.zeros(M, K, B, dtype=torch.int64)
            present = torch.zeros(K, M)
            kept = torch.zeros(K, self._drawn, dtype=torch.bool)
            for k, course in enumerate(self._courses):
                if step < steps[k]:
                    for name, rows in course.draw().items():
                        m = self._names.index(name)
                        starts[m, k], present[k, m] = rows, 1.0
                        self._draw(course, name, kept[k])
            for m, name in enumerate(self._names):  # a window of nobody's has to exist, too
                starts[m] += (1 - present[:, m, None]).long() * self._episodes.first(name)
            present = present.double()
            taken = present.amax(1, keepdim=True)
            if self._touched is not None:
                taken = torch.cat([taken, present], dim=1)[:, self._touched]
            parts = (starts, present, kept)
            yield Batch(
                tuple(send(part, self._device) for part in parts), send(taken.to(self._dtype), self._device)
            )

    def losses(self, weights: Mapping[str, Tensor], *parts: Tensor) -> Tensor:
        """[K] minus each member's objective on its windows."""
        starts, present, kept = parts
        self._frame.train()
        batch = {
            name: self._episodes.windows(name, starts[m].flatten(), self._config.length)
            for m, name in enumerate(self._names)
        }
        signals = {name: self._run(weights, name, episode, kept) for name, episode in batch.items()}
        return -self._objective(batch, signals, present)

    @torch.no_grad()
    def scores(self, weights: Mapping[str, Tensor]) -> Tensor:
        """[K] each member's objective on its held-out block: a few long windows.

        The CPU has a fused LSTM for them, which knows one network; on a card all members go side by side.
        """
        if self._device.type == "cpu":
            found = [self._score_alone(k, weights) for k in range(len(self._courses))]
            return torch.tensor(found, dtype=torch.float64)
        self._frame.eval()
        nobody = torch.zeros(len(self._courses), dtype=torch.int64)
        batch = {name: episode.take(nobody) for name, episode in self._held.items()}
        signals = {name: self._run(weights, name, episode, None) for name, episode in batch.items()}
        return self._objective(batch, signals, self._always)

    def _score_alone(self, k: int, weights: Mapping[str, Tensor]) -> float:
        """One member's objective, played by its own network."""
        course = self._courses[k]
        course.network.load_state_dict({name: values[k] for name, values in weights.items()})
        course.network.eval()
        return float(course.objective(self._held))

    def _run(
        self, weights: Mapping[str, Tensor], market: str, episode: Episode, kept: Tensor | None
    ) -> Tensor:
        """Signals [K * B, L, n] of one market."""
        K = len(self._courses)
        slots = self._slots[market] if kept is not None else []
        masks = {
            i: kept[:, slot.at : slot.at + prod(slot.shape)].view(K, *slot.shape).to(self._dtype)
            for i, slot in enumerate(slots)
            if kept is not None
        }
        inputs = self._frame.inputs_of(episode).to(self._dtype)
        inputs = inputs.view(K, -1, *inputs.shape[1:])
        named = {f"network.{name}": values for name, values in weights.items()}

        def one(
            own: Mapping[str, Tensor], mine: Tensor, drawn: Mapping[int, Tensor], keeps: Mapping[str, Tensor]
        ) -> Tensor:
            self._frame.drop.masks = _Given(drawn, keeps)
            result: Tensor = functional_call(self._wholes[market], dict(own), (mine,))
            return result

        return vmap(one)(named, inputs, masks, self._keeps).flatten(0, 1)

    def _objective(
        self, batch: Mapping[str, Episode], signals: Mapping[str, Tensor], present: Tensor
    ) -> Tensor:
        if not self._config.pooled:
            return member_sharpes(batch, signals, present)
        return _pooled(batch, signals, present)

    def _lay_out_masks(self, frame: MarketNetwork) -> tuple[dict[str, list[_Slot]], int]:
        """The masks of every market's pass, and the numbers that a step draws at most.

        As a network alone asks for them, on the CPU: numbers are drawn in the order of its memory.
        """
        slots: dict[str, list[_Slot]] = {}
        at = 0
        for name in self._names:
            begins = torch.full((self._config.batch,), self._episodes.first(name), device=self._device)
            episode = self._episodes.windows(name, begins, self._config.length)
            asking = _Asking()
            frame.drop.masks = asking
            with torch.no_grad():
                frame.train()(name, torch.zeros(frame.inputs_of(episode).shape, dtype=self._dtype))
            slots[name] = []
            for like, rate in asking.asked:
                slots[name].append(_Slot(tuple(like.shape), like.stride(), rate, at))
                at += like.numel()
        return slots, at

    def _draw(self, course: Course, market: str, into: Tensor) -> None:
        """The masks of one member's pass over a market, from its own generator."""
        for shape, strides, rate, at in self._slots[market]:
            room = torch.empty_strided(shape, strides, dtype=self._dtype)
            kept = draw_kept(room, getattr(course.config, rate), course.network.generator)
            into[at : at + room.numel()] = kept.flatten() > 0

    def _owners(self) -> Tensor:
        """[n] by parameter: 0 of one that all markets share, else 1 + the number of its market."""
        network = self._courses[0].network
        of = {id(p): 1 + m for m, name in enumerate(self._names) for p in network.own(name)}
        return torch.tensor([of.get(id(p), 0) for p in network.parameters()])


def _frame(course: Course) -> MarketNetwork:
    """A network of a course's shape whose masks say whose rate they have; its weights do not matter."""
    rates: dict[str, Any] = {name: rate for name, rate in RATES.items() if getattr(course.config, name) > 0.0}
    sizes = {name: market.columns for name, market in course.episodes.panel.markets.items()}
    with global_seed(0):
        return build(replace(course.config, **rates), {name: c.stop - c.start for name, c in sizes.items()})


def _pooled(batch: Mapping[str, Episode], signals: Mapping[str, Tensor], present: Tensor) -> Tensor:
    """[K] `agents.quantnet.course.pooled_sharpe` of every member, the mean over its markets."""
    K, scores, known = len(present), [], []
    for name, episode in batch.items():
        net, counted = (
            part.reshape(K, -1, part.shape[-1])
            for part in (episode.settle(signals[name]).net, episode.counted)
        )
        year = episode.bars_per_year
        ratios = sharpe(net, counted, axis=1, ddof=0, floor=LOSS_FLOOR, bars_per_year=year)
        judged = counted.sum(1) >= 2
        scores.append((ratios * judged).sum(1) / judged.sum(1).clip(1))
        known.append(judged.any(1))
    among = torch.stack(known, dim=1) * present
    return (torch.stack(scores, dim=1) * among).sum(1) / among.sum(1).clip(1)


def _name_of(rate: float) -> str:
    return next(name for name, sentinel in RATES.items() if sentinel == rate)

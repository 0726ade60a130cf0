"""Deep Momentum Networks side by side: trials of a search, seeds and windows of a run, in one programme.

Members share architecture, width, batch and what a row of data is; everything else of their configuration is
their own, the loss included. Blocks that several of them learn from lie on the device once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from agents.dmn.architectures import build
from agents.dmn.config import Objective
from agents.dmn.course import Course
from agents.dmn.losses import DayPairs, Pairs, value_of
from agents.dmn.network import Network, kept_of
from agents.dmn.training_windows import AssetDays, TrainingWindows
from agents.population.data import batches, gather, join
from agents.population.groups import train_groups
from agents.population.masks import Plan
from agents.population.skeleton import for_members
from agents.population.steps import Batch
from agents.training import Progress, Training, global_seed
from qn_env.economics import Costs
from qn_env.episodes import Episode
from qn_env.errors import QnError
from qn_env.window_sources import PaddedWindows

# Bytes that a validation may hold at once, in activations and in money.
HELD, HELD_ON_CARD = 2**27, 2**32

Parts = dict[str, Tensor]


class WindowBlocks:
    """Windows of several blocks behind each other, as parts [W, ...] by name."""

    def __init__(self, blocks: Sequence[TrainingWindows], device: torch.device) -> None:
        """Lay the blocks down."""
        episodes = [block.pairs.episode for block in blocks]
        self._needed = frozenset[str]().union(*(episode.needed_parts for episode in episodes))
        self._lag, self._bars_per_year = episodes[0].lag, episodes[0].bars_per_year
        names = ("next_returns", "listed", *sorted(self._needed - {"listed", "counted"}))
        self._parts = {name: join([getattr(episode, name) for episode in episodes], device) for name in names}
        for name in ("counted", "labelled", "target", "year"):
            self._parts[name] = join([getattr(block.pairs, name) for block in blocks], device)
        self._years = max(block.pairs.years for block in blocks)
        for name in ("inputs", "past"):
            self._parts[name] = join([getattr(block, name) for block in blocks], device)
        self._rates = _join_rates(episodes, device)
        for name, rate in self._rates.items():
            if rate.ndim:
                self._parts[f"rate {name}"] = rate

    def take(self, rows: Tensor, there: Tensor) -> Parts:
        """The windows [K, B] of these numbers; those that are not there count for nothing."""
        parts = {name: gather(values, rows) for name, values in self._parts.items()}
        return parts | {name: parts[name] & there[..., None] for name in ("counted", "labelled")}

    def outputs(self, network: Network, one: Parts) -> Tensor:
        """[B, L] Z of one member's windows."""
        z: Tensor = network(one["inputs"], network.beginning(one["past"]))[0]
        return z

    def pairs(self, one: Parts) -> Pairs:
        """What losses need to know of one member's windows."""
        rates = {name: one.get(f"rate {name}", rate) for name, rate in self._rates.items()}
        costs = Costs(**rates) if rates else None
        source = PaddedWindows(
            one,
            costs or Costs(one["target"].new_zeros(())),
            costs,
            self._needed,
            self._lag,
            self._bars_per_year,
        )
        own = {name: one[name] for name in ("counted", "labelled", "target", "year")}
        return Pairs(episode=Episode(source), years=self._years, **own)


class DayBlocks:
    """Asset-days of several blocks behind each other."""

    def __init__(self, blocks: Sequence[AssetDays], device: torch.device) -> None:
        """Lay the blocks down."""
        self._bars_per_year = blocks[0].pairs.bars_per_year
        self._inputs = join([block.inputs for block in blocks], device)
        begins = torch.tensor([0, *(len(block.inputs) for block in blocks[:-1])]).cumsum(0).tolist()
        rows = [block.row + begin for block, begin in zip(blocks, begins, strict=True)]
        self._row = join(rows, device)
        self._parts = {
            name: join([getattr(block.pairs, name) for block in blocks], device)
            for name in ("earned", "counted", "labelled", "target", "year")
        }
        self._years = max(block.pairs.years for block in blocks)
        self._days = torch.arange(-blocks[0].past, 1, device=device)

    def take(self, rows: Tensor, there: Tensor) -> Parts:
        """The pairs [K, B] of these numbers; those that are not there count for nothing."""
        parts = {name: gather(values, rows) for name, values in self._parts.items()}
        parts |= {name: parts[name] & there[..., None] for name in ("counted", "labelled")}
        return parts | {"history": gather(self._inputs, gather(self._row, rows)[..., None] + self._days)}

    def outputs(self, network: Network, one: Parts) -> Tensor:
        """[B, 1] Z of one member's pairs."""
        return network.last_day(one["history"])

    def pairs(self, one: Parts) -> DayPairs:
        """What losses need to know of one member's pairs."""
        own = {name: one[name] for name in ("earned", "counted", "labelled", "target", "year")}
        return DayPairs(years=self._years, bars_per_year=self._bars_per_year, **own)


Blocks = WindowBlocks | DayBlocks


class _Shared(NamedTuple):
    """Blocks without repetition: the number of each member's first row and how many it has."""

    blocks: Sequence[Any]
    first: list[int]
    sizes: list[int]

    @classmethod
    def of(cls, given: Sequence[Any]) -> _Shared:
        distinct = {id(block): block for block in given}
        begins, at = {}, 0
        for key, block in distinct.items():
            begins[key], at = at, at + len(block)
        return cls(
            list(distinct.values()), [begins[id(block)] for block in given], [len(block) for block in given]
        )


class _Whole(nn.Module):
    """A network, what it reads of a row of data, and its penalty, as one module for `functional_call`."""

    def __init__(self, network: Network, blocks: Blocks) -> None:
        super().__init__()
        self.network = network
        self._blocks = blocks

    def forward(self, one: Parts) -> tuple[Tensor, Tensor]:
        """Z of one member's rows, and the sum of its penalised weights' sizes."""
        z, weights = self._blocks.outputs(self.network, one), self.network.penalised()
        return z, z.new_zeros(()) if weights is None else weights.abs().sum()


class DmnProgramme:
    """K Deep Momentum Networks of one shape; see `agents.population.Programme`."""

    def __init__(self, courses: Sequence[Course], frame: Network, device: torch.device) -> None:
        """Lay their data down.

        Args:
            courses: trainings of networks of one shape, on rows of one kind.
            frame: a further network of that shape, whose weights do not matter.
            device: where they train.
        """
        self._courses, self._device = courses, device
        self._dtype = next(courses[0].network.parameters()).dtype
        self._frame: Any = for_members(frame)
        self._learn = _Shared.of([course.learn for course in courses])
        self._held = _Shared.of([course.held for course in courses])
        kind = WindowBlocks if isinstance(courses[0].learn, TrainingWindows) else DayBlocks
        self._learnt: Blocks = kind(self._learn.blocks, device)
        self._judged = WindowBlocks(self._held.blocks, device)
        self._plan = Plan.of(self._ask, courses[0].batch)
        self._by_objective = _stretches([course.config.objective for course in courses])
        kept = torch.tensor([kept_of(course.network.dropout) for course in courses])
        self._threshold = (kept - 2**15).to(device, torch.int16)
        self._scale = (2.0**16 / kept.double()).to(device, self._dtype)
        self._l1 = torch.tensor([course.config.l1 for course in courses], dtype=self._dtype, device=device)

    def epoch(self, going: Sequence[bool], done: Sequence[int]) -> Iterator[Batch]:
        """Every member's rows in its own order, and its own masks."""
        del done
        orders = [course.order() if on else None for course, on in zip(self._courses, going, strict=True)]
        return batches(
            orders,
            self._learn.first,
            self._courses[0].batch,
            self._plan,
            [course.network.generator for course in self._courses],
            device=self._device,
            dtype=self._dtype,
        )

    def losses(self, weights: Mapping[str, Tensor], *parts: Tensor) -> Tensor:
        """[K] each member's own loss and penalty."""
        rows, there, words = parts
        given = self._learnt.take(rows, there)
        masks = self._plan.masks(words, self._threshold, self._scale)
        self._frame.train()
        z, sizes = self._run(self._learnt, weights, given, masks)
        return self._values(self._learnt, z, given) + self._l1 * sizes

    @torch.no_grad()
    def scores(self, weights: Mapping[str, Tensor]) -> Tensor:
        """[K] minus each member's loss on its held-out windows."""
        self._frame.eval()
        first, sizes = (torch.tensor(part, device=self._device) for part in self._held[1:])
        row = torch.arange(max(self._held.sizes), device=self._device)
        there = row < sizes[:, None]
        rows = torch.where(there, first[:, None] + row, 0)
        K, W, L = *rows.shape, self._courses[0].config.length
        room = HELD if self._device.type == "cpu" else HELD_ON_CARD
        held = self._courses[0].config.hidden * self._frame.spread * self._scale.itemsize
        of_network = max(room // (K * L * held), 1)
        z = torch.cat(
            [
                self._run(self._judged, weights, self._judged.take(some, some >= 0), [])[0]
                for some in torch.split(rows, of_network, dim=1)
            ],
            dim=1,
        )
        found = torch.empty(K, dtype=torch.float64, device=self._device)
        of_money = max(room // (W * L * 160), 1)
        for objective, members in self._by_objective:
            for begin in range(members.start, members.stop, of_money):
                mine = slice(begin, min(begin + of_money, members.stop))
                given = self._judged.take(rows[mine], there[mine])
                found[mine] = -self._value(self._judged, objective, z[mine], given)
        return found

    def _run(
        self, blocks: Blocks, weights: Mapping[str, Tensor], given: Parts, masks: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Z of every member, and the sizes of its penalised weights [K]."""
        whole = _Whole(self._frame, blocks)
        named = {f"network.{name}": values for name, values in weights.items()}

        def one(own: Parts, mine: Parts, drawn: list[Tensor]) -> tuple[Tensor, Tensor]:
            left = iter(drawn)
            self._frame.masks = lambda _shape, _like: next(left)
            result: tuple[Tensor, Tensor] = functional_call(whole, own, (mine,))
            return result

        return vmap(one)(named, given, masks)

    def _values(self, blocks: Blocks, z: Tensor, given: Parts) -> Tensor:
        """[K] the losses, each member's own."""
        found = []
        for objective, mine in self._by_objective:
            some = {part: values[mine] for part, values in given.items()}
            found.append(self._value(blocks, objective, z[mine], some))
        return torch.cat(found)

    def _value(self, blocks: Blocks, objective: Objective, z: Tensor, given: Parts) -> Tensor:
        def one(output: Tensor, mine: Parts) -> Tensor:
            return value_of(objective, output, blocks.pairs(mine)).double()

        return vmap(one)(z, given)

    def _ask(self, rows: int, source: Any) -> None:
        """Run the network on so many rows, to see which masks it asks for."""
        there = torch.ones(1, rows, dtype=torch.bool, device=self._device)
        given = self._learnt.take(torch.zeros(1, rows, dtype=torch.int64, device=self._device), there)
        self._frame.train().to(self._device)
        self._frame.masks = source
        with torch.no_grad():
            self._learnt.outputs(self._frame, {name: values[0] for name, values in given.items()})


def train_courses(
    courses: Sequence[Course], device: torch.device, progress: Progress | None = None
) -> list[Training | QnError]:
    """Train every course; those that can share a programme do (`agents.population.groups`)."""
    # Neighbours share an objective and, within it, a length.
    order = sorted(range(len(courses)), key=lambda k: (courses[k].config.objective, len(courses[k].learn)))
    chosen = [courses[k] for k in order]
    ends = train_groups(chosen, _key, partial(_programme, device), device=device, progress=progress)
    by_number = dict(zip(order, ends, strict=True))
    return [by_number[k] for k in range(len(courses))]


def _programme(device: torch.device, courses: Sequence[Course]) -> DmnProgramme:
    with global_seed(0):
        frame = build(courses[0].config, courses[0].layout)
    return DmnProgramme(courses, frame.to(next(courses[0].network.parameters()).dtype), device)


def _key(course: Course) -> Hashable:
    """What members of one programme have in common."""
    learn, network = course.learn, course.network
    lag = None if isinstance(learn, AssetDays) else learn.pairs.episode.lag
    costless = None if isinstance(learn, AssetDays) else learn.pairs.episode.terms.costs is None
    shapes = tuple((name, tuple(p.shape)) for name, p in network.named_parameters())
    config = course.config
    rows = (type(learn), lag, costless, learn.pairs.bars_per_year, course.batch, config.length)
    return (*rows, config.network, config.heads, config.context, shapes, network.dropout > 0.0)


def _stretches(objectives: Sequence[Objective]) -> list[tuple[Objective, slice]]:
    """Neighbours of one objective: it, and which they are."""
    found, begin = [], 0
    for objective, some in groupby(objectives):
        end = begin + len(list(some))
        found.append((objective, slice(begin, end)))
        begin = end
    return found


def _join_rates(episodes: Sequence[Episode], device: torch.device) -> dict[str, Tensor]:
    """By name of a cost, a number where it is one everywhere, else [W, L, 1]; nothing where nothing costs."""
    costs = [episode.terms.costs for episode in episodes]
    found = {}
    for name in Costs._fields:
        rates = [None if cost is None else getattr(cost, name) for cost in costs]
        if all(rate is None for rate in rates):
            continue
        known = [torch.zeros(()).double() if rate is None else rate for rate in rates]
        if all(rate.ndim == 0 and rate == known[0] for rate in known):
            found[name] = known[0].to(device)
        else:
            parts = [rate.expand(episode.shape) for rate, episode in zip(known, episodes, strict=True)]
            found[name] = join(parts, device)
    if found and "turnover" not in found:
        found["turnover"] = torch.zeros((), dtype=torch.float64, device=device)
    return found

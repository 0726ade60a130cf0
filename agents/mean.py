"""The mean of an agent's seeds, as one agent: what one would trade."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np

from agents.agent import Agent, learns, make_agent, settings_of, warmup_of, watch
from agents.checkpoint import load_json, save_json
from agents.layers import Layer, unwrapped
from agents.population.jobs import Fit
from agents.population.kin import kin_of
from agents.space import Space
from agents.training import Monitor, Progress
from qn_env.arrays import FloatArray
from qn_env.checks import check_whole
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.setup import Observation

MOST_MEMBERS = 100  # trainings of one agent: beyond it a mean changes no more


class Stored(TypedDict):
    """What a checkpoint says beside those of the members."""

    members: int


class SeedMean:
    """An agent trained with several seeds, whose signals are averaged, each day and asset.

    A single seed of a run trains them all: the first member has that seed, the others seeds drawn from it, so
    that no two seeds of a run share a member. The mean of one is the agent itself. Members that are stepped
    see the positions of the mean. It has what its agent may have, but no `training_`: there is one of each
    member.
    """

    learns = True

    def __init__(self, agent: Agent | str, members: int) -> None:
        """Copy an agent that is not trained.

        Args:
            agent: it, or its registered name or import path.
            members: how often it is trained.

        Raises:
            ConfigError: fewer than one or more than 100 members, an agent that learns nothing.
        """
        check_whole("the number of seeds", members, 1, MOST_MEMBERS)
        first = make_agent(agent) if isinstance(agent, str) else agent
        if not learns(first):
            raise ConfigError(f"{first!r} learns nothing, so all its seeds are one; take it without a mean.")
        self.members = [first, *(copy.deepcopy(first) for _ in range(members - 1))]
        self.settings = settings_of(first)
        self.warmup = warmup_of(first)
        self.monitor = Monitor()

    def __repr__(self) -> str:
        return f"SeedMean({self.members[0]!r}, {len(self.members)})"

    @classmethod
    def around(cls, agent: Agent, layer: Layer) -> Self:
        """The mean of so many seeds of an agent.

        Raises:
            ConfigError: as the constructor.
        """
        return cls(agent, layer.number)  # type: ignore[arg-type] # checked by it

    @property
    def unwrapped(self) -> object:
        """The first member, without its layers."""
        return unwrapped(self.members[0])

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Train every member with its own seed, on the same days."""
        trainings = self.trainings(Fit(self, env, seed, validation))
        self.members = [agent.fit(env, seed=own, validation=held) for agent, env, own, held in trainings]
        return self

    def trainings(self, fit: Fit) -> list[Fit]:
        """What the members are trained with: each its own seed, on the same days."""
        for number, member in enumerate(self.members):
            watch(member, self._watched(number))
        seeds = [member_seed(fit.seed, number) for number in range(len(self.members))]
        return [fit._replace(agent=m, seed=seed) for m, seed in zip(self.members, seeds, strict=True)]

    @property
    def adapt(self) -> Callable[..., SeedMean]:
        """As `agents.adapting.adapted`: the mean of the members for other markets, where they have it."""
        each: list[Callable[..., Agent]] = self._each("adapt")

        def adapted(
            env: TradingEnv, *, seed: int, learn: bool, validation: TradingEnv | None = None
        ) -> SeedMean:
            other = copy.copy(self)
            for number, member in enumerate(self.members):
                watch(member, self._watched(number))
            other.members = [
                adapt(env, seed=member_seed(seed, number), learn=learn, validation=validation)
                for number, adapt in enumerate(each)
            ]
            return other

        return adapted

    @property
    def kin(self) -> object:
        """Trainings of equal kin may share a programme (`agents.population`)."""
        return kin_of(self.members[0])

    def reset(self) -> None:
        """Let every member begin an episode."""
        for member in self.members:
            member.reset()

    def act(self, observation: Observation) -> FloatArray:
        """Signals [N]: the mean over members."""
        return _mean([member.act(observation) for member in self.members])

    @property
    def signals(self) -> Callable[[Panel], FloatArray]:
        """Signals [T, N] of a whole history, where the agent gives them."""
        passes: list[Callable[[Panel], FloatArray]] = self._each("signals")
        return lambda panel: _mean([one(panel) for one in passes])

    @property
    def signals_from(self) -> Callable[[Panel, FloatArray], FloatArray]:
        """Signals [N] of the last trading day, of who holds something else; where members remember theirs."""
        each: list[Callable[[Panel, FloatArray], FloatArray]] = self._each("signals_from")
        return lambda panel, held: _mean([one(panel, held) for one in each])

    @property
    def save(self) -> Callable[[Path], None]:
        """Write `agent.json` and every member's checkpoint into a folder of its own, where they have one."""
        saves: list[Callable[[Path], None]] = self._each("save")

        def write(folder: Path) -> None:
            save_json(folder, {"members": len(saves)})
            for number, save in enumerate(saves):
                save(folder / _folder(number))

        return write

    @classmethod
    def load_around(cls, folder: Path, layer: Layer, load: Callable[[Path], Agent]) -> Self:
        """Read what `save` wrote; which code reads the members is the caller's choice, not the folder's.

        Raises:
            ConfigError: another number of members.
        """
        stored = load_json(folder, Stored)["members"]
        if stored != layer.number:
            raise ConfigError(f"{folder}: is the mean of {stored} seeds, expected {layer.number}.")
        members = [load(folder / _folder(number)) for number in range(stored)]
        agent = cls.around(members[0], Layer(layer.word, 1))
        agent.members = members
        return agent

    @property
    def space(self) -> Space:
        """What a search draws the options of all members from."""
        space: Space = self.members[0].space  # type: ignore[attr-defined] # optional
        return space

    @property
    def start_from(self) -> Callable[[SeedMean], None]:
        """Let every member begin at the weights of its counterpart in another mean of as many seeds."""
        begins: list[Callable[[Agent], None]] = self._each("start_from")

        def start(earlier: SeedMean) -> None:
            if len(earlier.members) != len(begins):
                raise ConfigError(
                    f"a mean of {len(begins)} seeds cannot begin at one of {len(earlier.members)}; give both "
                    "the same number, or train from scratch."
                )
            for begin, member in zip(begins, earlier.members, strict=True):
                begin(member)

        return start

    def _each(self, part: str) -> list[Any]:
        """An optional part of every member; an AttributeError where members have none, as in any other."""
        return [getattr(member, part) for member in self.members]

    def _watched(self, number: int) -> Monitor:
        """The monitor of one member: its share of the progress, and folders of its own."""
        whole, total = self.monitor, len(self.members)

        def place(folder: Path | None) -> Path | None:
            return None if folder is None else folder / _folder(number)

        def part(progress: Progress) -> Progress:
            return lambda done, of: progress(number * of + done, total * of)

        return replace(
            whole,
            progress=None if whole.progress is None else part(whole.progress),
            checkpoints=place(whole.checkpoints),
            scalars=place(whole.scalars),
        )


def member_seed(seed: int, number: int) -> int:
    """The seed of a member: that of the mean for the first, for the others one drawn from both.

    Examples:
        >>> member_seed(3, 0)
        3
        >>> member_seed(3, 1) == member_seed(3, 1) != member_seed(4, 1)
        True
    """
    if number == 0:
        return seed
    # Below 2^31: trainings count on from their seed, and NumPy's older generators end at 2^32.
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)


def _folder(number: int) -> str:
    return f"member{number}"


def _mean(signals: list[FloatArray]) -> FloatArray:
    """The mean of signals of one shape; of one, these to the bit."""
    mean: FloatArray = np.mean(signals, axis=0, dtype=np.float64)
    return mean

"""Protocol `unseen`: markets in folds; what is learnt on the others is judged on a fold, on later days.

Every market is judged on its last block, as under `holdout`. The folds are dealt so that markets whose blocks
begin near each other are in one; or they are groups that somebody names, as asset classes. A fold has one
cut, the first day of the earliest of its markets' blocks: whatever is learnt from, of whichever market, lies
before it. So no day that a fold is judged on is as early as one that was learnt from, in any market, and
every market keeps its whole block. What a cut costs is training markets that have too few days before it, and
the days of the others behind it; since a fold's blocks begin near each other, that is little.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from agents.adapting import adapts
from agents.agent import Agent, learns
from experiments.running.groups import read_groups
from experiments.running.protocols import (
    BLOCK_DAYS,
    NEEDED_DAYS,
    Cut,
    Fold,
    Lessons,
    Own,
    Protocol,
    block_row,
    calendar_of,
    check_blocks,
    cut_at,
    lessons_of,
)
from experiments.settings.config import FEWEST_FOLDS, SOME_FOLDS, UNSEEN, WHOLE, Calendar, RunConfig, Way
from qn_env.checks import check_is, check_names, check_whole
from qn_env.dates import DateLike, as_day
from qn_env.errors import ConfigError, DataError, few
from qn_env.panel import Panel
from qn_env.year import bars_in

FEW_SELECT = 0.1  # share of the few days, the latest, that is selected on
NOT_IN_NAMES = r"[^\w.-]+"  # of windows, which are parts of folders' names


@dataclass(frozen=True)
class _Block:
    """A market's test block.

    Attributes:
        day: of the calendar it is counted on, on which it begins, before an embargo.
        begins: the market's own day at which it begins.
        shortened: whether it is shorter than blocks are.
        why_not: why the market cannot be judged on it; None: it can.
    """

    day: np.datetime64
    begins: int
    shortened: bool
    why_not: str | None


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """How markets are dealt into folds, and which days an agent learns from for each.

    A market's test block is that of `holdout`: its last 752 days, at most a quarter of them. Markets that
    begin so late that fewer than 252 of their days lie before it are not judged (`not_judged`). For a fold,
    an agent learns from the days of the other markets before the cut: the last 752 of them, at most a third,
    to select on, the rest, at least 252, to train on; a market that has fewer is left out of that training.

    Attributes:
        number: of folds; None: 5, or as many as there are markets. As many as markets: each alone.
        shots: days before the cut that few-shot learns from; 0: there is no few-shot.
        groups: the group of every market, in place of a number; a fold is what one group has.
        calendar: what days are counted on, as in `Protocol`.
        begin: days before it are left out.
        purge: own trading days left out at the end of a training and of a selection block.
        embargo: own trading days left out at the beginning of a selection and of a test block.
    """

    number: int | None = None
    shots: int = 252
    groups: Mapping[str, str] | None = None
    calendar: Calendar = "market"
    begin: DateLike | None = None
    purge: int = 0
    embargo: int = 0

    def __post_init__(self) -> None:
        if self.number is not None:
            check_whole("folds", self.number, *WHOLE["folds"])
        check_whole("shots", self.shots, *WHOLE["shots"])
        if self.groups is not None:
            check_is("groups", self.groups, Mapping, "the group of every market")
            check_names("groups", self.groups.values())
        if None not in (self.number, self.groups):
            raise ConfigError("groups are the folds; give groups or a number of folds, not both.")
        check_blocks(self.calendar, self.purge, self.embargo)
        if self.begin is not None:
            as_day(self.begin, "begin")

    @classmethod
    def of(cls, config: RunConfig) -> Self:
        """The division that a configuration asks for.

        Raises:
            ConfigError: groups that are neither a file nor a column of the panel's meta.
            DataError: a file of groups that cannot be used.
        """
        return cls(
            number=config.folds,
            shots=config.shots,
            groups=None if config.groups is None else read_groups(config.groups, config.panel),
            calendar=config.calendar,
            begin=config.begin,
            purge=config.purge,
            embargo=config.embargo,
        )

    @property
    def rule(self) -> str:
        """How folds are made, in words."""
        if self.groups is not None:
            return "a fold is a group of markets, as they were named"
        return (
            "markets are ordered by the first day of their test blocks, then by name, and cut into folds of "
            "equally many"
        )

    def not_judged(self, panel: Panel) -> dict[str, str]:
        """Markets that are in no fold, and why."""
        blocks = self._blocks(self._used(panel))
        return {name: block.why_not for name, block in blocks.items() if block.why_not is not None}

    def folds(self, panel: Panel) -> list[Fold]:
        """The folds, in the order of their cuts.

        Raises:
            ConfigError: what is no panel; more folds than markets.
            DataError: fewer than two markets; one without a group; a fold without a market to learn from.
        """
        panel = self._used(panel)
        blocks = self._blocks(panel)
        dealt = self._deal(blocks)
        return [self._fold(panel, name, mine, blocks) for name, mine in dealt.items()]

    def _used(self, panel: Panel) -> Panel:
        check_is("panel", panel, Panel, "a Panel")
        panel = panel if self.begin is None else panel.since(self.begin)
        if not len(panel.dates):
            raise DataError(f"the panel has no day from begin, {self.begin}, on. Begin earlier.")
        return panel

    def _blocks(self, panel: Panel) -> dict[str, _Block]:
        """The test block of every market."""
        return {name: self._block(panel, name) for name in panel.markets}

    def _block(self, panel: Panel, name: str) -> _Block:
        most = bars_in(BLOCK_DAYS, panel.bars_per_year)
        dates, places = calendar_of(panel, panel.markets[name], self.calendar)
        days, least, why_not = min(most, len(dates) // 4), NEEDED_DAYS["train"], None
        if not days:
            return _Block(panel.dates[-1], 0, shortened=True, why_not="it has next to no trading days")
        day, begins = dates[-days], int(np.searchsorted(places, len(dates) - days))
        if begins + self.embargo >= len(places):
            why_not = f"it has no trading day in its test block, from {day} on"
        elif begins < least:
            why_not = f"it has {begins} trading days before its test block, expected at least {least}"
        return _Block(day, begins, days < most, why_not)

    def _deal(self, blocks: Mapping[str, _Block]) -> dict[str, list[str]]:
        """The markets of every fold, by the name of its window."""
        judged = [name for name, block in blocks.items() if block.why_not is None]
        order = sorted(judged, key=lambda name: (blocks[name].day, name))
        if len(order) < FEWEST_FOLDS:
            lost = [f"{name}, for {block.why_not}" for name, block in blocks.items() if block.why_not]
            raise DataError(
                f"unseen learns on some markets and is judged on others; {len(order)} can be judged here, "
                f"expected at least {FEWEST_FOLDS}{f' (not {few(lost, most=3)})' if lost else ''}. Take "
                "holdout, or a longer panel."
            )
        if self.groups is not None:
            return self._grouped(order, self.groups)
        number = min(SOME_FOLDS, len(order)) if self.number is None else self.number
        if number > len(order):
            raise ConfigError(
                f"folds is {number}, and {len(order)} markets can be judged; expected {FEWEST_FOLDS} to "
                f"{len(order)}."
            )
        parts = np.array_split(np.array(order, dtype=object), number)
        return {f"fold{k}": [str(name) for name in part] for k, part in enumerate(parts, 1)}

    def _grouped(self, order: Sequence[str], groups: Mapping[str, str]) -> dict[str, list[str]]:
        lacking = [name for name in order if name not in groups]
        if lacking:
            raise DataError(
                f"groups has no group for {', '.join(lacking)}; expected one for every market. Add it, or "
                "leave the market out with --exclude."
            )
        labels = list(dict.fromkeys(groups[name] for name in order))
        if len(labels) < FEWEST_FOLDS:
            raise DataError(
                f"groups puts all markets into {labels[0]!r}; expected at least {FEWEST_FOLDS} groups, to "
                "learn on one and be judged on another."
            )
        windows = [f"fold{k}-{re.sub(NOT_IN_NAMES, '_', label)}" for k, label in enumerate(labels, 1)]
        return {
            window: [name for name in order if groups[name] == label]
            for window, label in zip(windows, labels, strict=True)
        }

    def _fold(self, panel: Panel, window: str, mine: Sequence[str], blocks: Mapping[str, _Block]) -> Fold:
        cut = min(blocks[name].day for name in mine)
        cuts = {name: self._cut(panel, name, cut) for name in panel.markets}
        short = {name: len(c.train) for name, c in cuts.items() if not _teaches(c)}
        others = [name for name in panel.markets if name not in mine and name not in short]
        if not others:
            raise DataError(
                f"{window} ({', '.join(mine)}) is judged from {cut} on, and no other market has "
                f"{NEEDED_DAYS['train']} days to learn from before; deal the markets into other folds."
            )
        ours = [name for name in panel.markets if name in mine]  # the panel's order
        learnt = self._lessons(panel, others, cuts)
        together = self._lessons(panel, [name for name in panel.markets if name not in short], cuts)
        test = panel.select(ours)
        known = test.until(panel.dates[panel.dates < cut][-1])
        starts = {name: blocks[name].begins + self.embargo for name in ours}
        return Fold(
            learnt.train,
            learnt.select,
            learnt.select_start,
            test,
            {name: test.own_dates[name][start] for name, start in starts.items()},
            pd.DataFrame(
                [
                    block_row(
                        test.markets[name],
                        train=0 if name in short else len(cuts[name].train),
                        select=0 if name in short else len(cuts[name].select),
                        test=test.own_dates[name][start:],
                        shortened=blocks[name].shortened,
                    )
                    for name, start in starts.items()
                ]
            ),
            window,
            Own(cut, known, self._few(known), together, short),
        )

    def _cut(self, panel: Panel, name: str, cut: np.datetime64) -> Cut:
        """The days of a market before a cut: to train on, to select on."""
        dates, places = calendar_of(panel, panel.markets[name], self.calendar)
        end = int(np.searchsorted(dates, cut))
        held = min(bars_in(BLOCK_DAYS, panel.bars_per_year), end // 3)
        edges = np.searchsorted(places, [0, end - held, end, end])
        return cut_at(edges, purge=self.purge, embargo=self.embargo)

    def _lessons(self, panel: Panel, names: Sequence[str], cuts: Mapping[str, Cut]) -> Lessons:
        return lessons_of(panel.select(names), {name: cuts[name] for name in names})

    def _few(self, known: Panel) -> Lessons | None:
        """The last days of the markets before the cut, of those that have two of them."""
        cuts = {name: self._few_days(len(own)) for name, own in known.own_dates.items()}
        cuts = {name: cut for name, cut in cuts.items() if len(cut.train) and len(cut.select)}
        if not self.shots:
            return None
        if not cuts:
            raise DataError(
                f"few-shot learns from {self.shots} days, of which purge ({self.purge}) and embargo "
                f"({self.embargo}) leave nothing in any market; take more shots, or 0, which leaves it out."
            )
        known = known.select(cuts)

        def days(part: str, place: int) -> dict[str, np.datetime64]:
            return {name: own[getattr(cuts[name], part)[place]] for name, own in known.own_dates.items()}

        return Lessons(
            known.until(days("train", -1)),
            known.until(days("select", -1)),
            days("select", 0),
            days("train", 0),
        )

    def _few_days(self, own: int) -> Cut:
        """Of so many own days of a market before the cut, the last: to train on, to select on."""
        end = max(own - self.purge, 0)
        first = max(end - self.shots, 0)
        held = max(int((end - first) * FEW_SELECT), 1)
        return Cut(
            train=range(first, end - held - self.purge),
            select=range(end - held + self.embargo, end),
            test=range(0),
            shortened=False,
        )


def ways_of(agent: Agent, shots: int) -> tuple[Way | None, ...]:
    """What an agent is judged as: in three ways, or two without few-shot; None: as a rule; not at all: ().

    A rule, which has no chance in it and no `adapt`, plays any market; it is shown the fold's own before the
    cut. An agent that learns says by `adapt` that it can play markets it was not trained on.
    """
    if not adapts(agent):
        return () if learns(agent) else (None,)
    return ("zero-shot", "few-shot", "trained") if shots else ("zero-shot", "trained")


def division_of(config: RunConfig) -> Protocol | Unseen:
    """How a run divides its panel."""
    return Unseen.of(config) if config.protocol == UNSEEN else Protocol.of(config)


def _teaches(cut: Cut) -> bool:
    """Whether there is enough to train on and to select on."""
    return all(len(getattr(cut, part)) >= NEEDED_DAYS[part] for part in ("train", "select"))

"""Combinatorial purged cross-validation (Lopez de Prado 2018, chapter 12): many test paths instead of one.

The dates of a panel are cut into groups. Every choice of some of them is a split: an agent learns from the
other groups and is judged on these. Each group is judged in several splits, so that the days can be put
together in several ways, each a path over the whole history on which no day was learnt from: a distribution
of Sharpe ratios in place of one. The splits are skfolio's.

What an agent learns from is what is left of the panel: days of tested groups, and those purged or embargoed
around them, are gone, as returns and as inputs. Over the gap

- an asset's first return is taken out: it begins at a price that is gone;
- other days count as neighbours, as after a very long holiday: an input that looks back over the gap (a
  trend, the state of a network) is made of the days that are left on both sides of it. Nothing of the gap is
  in it, but it is of a history that did not happen. Of k tested groups there are k such seams at most.

An agent judged on a group is shown the panel as it was, up to the group's end: it knows the days before, also
those it has learnt from, and some of what it has learnt lies after the days it is judged on. That is the
method's nature: it says how much a figure varies with the history one happens to learn from and be judged on,
and is no simulation of trading. For that there are holdout, expanding and rolling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import comb
from typing import Any, Self

import numpy as np
import pandas as pd

from agents.agent import Agent, make_agent, settings_of
from agents.training import Progress
from experiments.results.tables import market_days, portfolio_table
from experiments.running.protocols import LARGEST_SHARE, NEEDED_DAYS, Fold, block_row
from experiments.running.settling import carry_over
from experiments.running.units import Unit, Variant, evaluate, train_agent
from experiments.settings.config import EXECUTIONS, Level, check_levels
from qn_env.arrays import BoolArray, DateArray, FloatArray, IntArray
from qn_env.checks import MOST_DAYS, check_is, check_number, check_whole
from qn_env.errors import ConfigError, DataError
from qn_env.objectives import sharpe
from qn_env.panel import Panel

MOST_SPLITS = 1_000  # each a training


@dataclass(frozen=True, eq=False)
class Split:
    """One choice of tested groups.

    Attributes:
        folds: for each tested group, in time order, the blocks; training and selection are the same in all.
        tested: the numbers of these groups.
    """

    folds: tuple[Fold, ...]
    tested: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Combinatorial:
    """How a panel is divided; groups are of equally many dates of its union calendar, but for the last.

    Attributes:
        groups: into which the dates are cut, at least 3.
        tested: groups that a split is judged on, at least 2, fewer than all.
        select: share of the days an agent learns from, the latest, that it is selected on.
        purge: dates left out on both sides of a tested group, and own days of a market before its selection.
        embargo: further ones left out behind it.
    """

    groups: int = 6
    tested: int = 2
    select: float = 0.1
    purge: int = 0
    embargo: int = 0

    def __post_init__(self) -> None:
        check_whole("groups", self.groups, 3, MOST_DAYS)
        check_whole("tested", self.tested, 2, self.groups - 1)
        check_number("select", self.select, 0.0, LARGEST_SHARE, above=True, unit="a share of the days")
        check_whole("purge", self.purge, 0, MOST_DAYS)
        check_whole("embargo", self.embargo, 0, MOST_DAYS)
        if (number := comb(self.groups, self.tested)) > MOST_SPLITS:
            raise ConfigError(
                f"{self.tested} of {self.groups} groups are {number} splits, each a training; expected at "
                f"most {MOST_SPLITS}. Choose fewer groups."
            )

    @property
    def paths(self) -> IntArray:
        """[P, G] the split whose days of each group a path is made of; P is C(G - 1, k - 1).

        Examples:
            >>> Combinatorial(groups=4, tested=2).paths.tolist()
            [[0, 0, 1, 2], [1, 3, 3, 4], [2, 4, 5, 5]]
        """
        return np.asarray(_splitter(self).recombined_paths, dtype=np.intp).T

    def rows(self, days: int) -> list[tuple[IntArray, tuple[IntArray, ...]]]:
        """Of every split, the rows to learn from and those of each tested group, of so many dates.

        Raises:
            DataError: a group has no more dates than are purged and embargoed.
        """
        least = days // self.groups
        if least < self.purge + self.embargo + 2:
            raise DataError(
                f"{days} dates make {self.groups} groups of {least}, of which purge ({self.purge}) and "
                f"embargo ({self.embargo}) leave nothing; choose fewer groups, or leave out less."
            )
        split = _splitter(self).split(np.zeros((days, 1)))
        return [(np.asarray(learn), tuple(np.asarray(group) for group in tested)) for learn, tested in split]

    def markets(self, panel: Panel) -> tuple[str, ...]:
        """Those with a trading day in every group: every path is of the same markets.

        Raises:
            ConfigError: what is no panel.
            DataError: there is none, or too few dates.
        """
        check_is("panel", panel, Panel, "a Panel")
        spans = self._spans(len(panel.dates))
        kept = tuple(
            name
            for name, market in panel.markets.items()
            if all(np.isin(span, market.rows).any() for span in spans)
        )
        if not kept:
            raise DataError(
                f"no market has a trading day in each of the {self.groups} groups; choose fewer groups, or "
                "begin the panel later."
            )
        return kept

    def splits(self, panel: Panel) -> list[Split]:
        """Every split, of the markets that `markets` names; the others are left out.

        Raises:
            ConfigError: what is no panel.
            DataError: as `markets`; a market with fewer than 252 days to learn from in some split.
        """
        kept = self.markets(panel)
        divided, spans = self.rows(len(panel.dates)), self._spans(len(panel.dates))
        dates, whole = panel.dates, panel.select(kept)
        groups = [(dates[span[0]], dates[span[-1]]) for span in spans]
        chosen = _splitter(self).test_set_index.tolist()
        return [
            self._split(whole, dates[learn], groups, tested)
            for (learn, _), tested in zip(divided, chosen, strict=True)
        ]

    def _spans(self, days: int) -> list[IntArray]:
        """The rows of every group: each of as many dates, the last of what is left, too."""
        edges = [group * (days // self.groups) for group in range(1, self.groups)]
        return np.array_split(np.arange(days), edges)

    def _split(
        self,
        panel: Panel,
        learnt: DateArray,
        groups: Sequence[tuple[np.datetime64, np.datetime64]],
        tested: Sequence[int],
    ) -> Split:
        left = with_gaps(panel, np.isin(panel.dates, learnt))
        train_end, select_start, counted = {}, {}, {}
        for name, market in left.markets.items():
            own = left.dates[market.rows]
            held = max(int(len(own) * self.select), NEEDED_DAYS["select"])
            learn = len(own) - held - self.purge
            if learn < NEEDED_DAYS["train"]:
                raise DataError(
                    f"market {name!r} has {len(own)} trading days outside the groups "
                    f"{', '.join(map(str, tested))}, which leaves {max(learn, 0)} to train on; expected at "
                    f"least {NEEDED_DAYS['train']}. Choose more groups, or test fewer of them."
                )
            train_end[name], select_start[name] = own[learn - 1], own[-held]
            counted[name] = learn, held
        train = left.until(train_end)
        folds = []
        for group in tested:
            first, last = groups[group]
            seen = panel.until(last)
            start, rows = {}, []
            for name, market in seen.markets.items():
                own = seen.dates[market.rows]
                block = own[own >= first]
                start[name] = block[0]
                learn, held = counted[name]
                rows.append(block_row(market, train=learn, select=held, test=block))
            name = f"{'-'.join(map(str, tested))}-group{group}"
            folds.append(Fold(train, left, select_start, seen, start, pd.DataFrame(rows), name))
        return Split(tuple(folds), tuple(tested))


@dataclass(frozen=True, kw_only=True)
class Paths:
    """What an agent earned on every path, net of a cost, as the equal-weight portfolio of markets.

    Attributes:
        net: [T, P] daily net returns by date.
        net_late: [T, P] of the same decisions, each traded one trading day later.
        bars_per_year: the panel's.
        left_out: markets of the panel without a trading day in every group, which no path has.
    """

    net: pd.DataFrame
    net_late: pd.DataFrame
    bars_per_year: float
    left_out: tuple[str, ...] = ()

    @property
    def sharpe(self) -> FloatArray:
        """[P] annualised net Sharpe ratios; NaN where returns never vary."""
        return self._sharpe(self.net)

    @property
    def sharpe_late(self) -> FloatArray:
        """[P] those of what was traded one trading day later."""
        return self._sharpe(self.net_late)

    def _sharpe(self, net: pd.DataFrame) -> FloatArray:
        ratios: FloatArray = sharpe(net.to_numpy(), axis=0, bars_per_year=self.bars_per_year)
        return ratios


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """Combinatorial purged cross-validation of one agent with one seed.

    Attributes:
        variant: the agent and its options.
        division: of the panel.
        seed: of every training.
        cost: basis points per unit of turnover, or "market": what the data say that each asset costs.
        vol_target: annualised, per asset; None: what the agent asks for.
        execution_lag: trading days between a decision and its trade.
        quick: whether the registered options of a quick run apply.
    """

    variant: Variant
    division: Combinatorial = field(default_factory=Combinatorial)
    seed: int = 0
    cost: Level = 2.0
    vol_target: float | None = None
    execution_lag: int = 0
    quick: bool = False

    @classmethod
    def of(cls, agent: str, **settings: object) -> Self:
        """Of an agent by its name or import path."""
        return cls(variant=Variant(agent), **settings)  # type: ignore[arg-type] # checked where they act

    def run(self, panel: Panel, report: Progress | None = None) -> Paths:
        """Train the agent for every split, audit and judge it on the tested groups, put the paths together.

        Positions carry over from one group of a path into the next, as they do between the windows of a run.

        Args:
            panel: the data.
            report: told how many splits are done, of how many.

        Raises:
            LookAheadError: what it decides on a day depends on later days.
            ConfigError: an agent that cannot be built.
            DataError: as `Combinatorial.splits`.
        """
        (cost,) = check_levels([self.cost])
        splits = self.division.splits(panel)
        unit = self._unit(make_agent(self.variant.agent, quick=self.quick, options=self.variant.options))
        played: list[Mapping[int, tuple[Fold, pd.DataFrame]]] = []
        for split in splits:
            agent = train_agent(replace(unit, window=split.folds[0].name), split.folds[0])
            played.append(
                {
                    group: (fold, evaluate(agent, replace(unit, window=fold.name), fold)[0])
                    for group, fold in zip(split.tested, split.folds, strict=True)
                }
            )
            if report is not None:
                report(len(played), len(splits))
        tables = []
        for path in self.division.paths:
            parts = [played[split][group] for group, split in enumerate(path)]
            tables.append(
                self._portfolio(unit, [fold for fold, _ in parts], [days for _, days in parts], cost)
            )
        net = {
            execution: pd.concat(
                [table[table["execution"] == execution]["net"] for table in tables],
                axis=1,
                keys=range(len(tables)),
                names=["path"],
            )
            for execution in EXECUTIONS
        }
        kept = self.division.markets(panel)
        return Paths(
            net=net["on-time"],
            net_late=net["late"],
            bars_per_year=panel.bars_per_year,
            left_out=tuple(name for name in panel.markets if name not in kept),
        )

    def _unit(self, agent: Agent) -> Unit:
        target = self.vol_target if self.vol_target is not None else settings_of(agent).vol_target
        return Unit(
            self.variant.agent,
            self.variant,
            self.seed,
            target,
            quick=self.quick,
            execution_lag=self.execution_lag,
        )

    def _portfolio(
        self, unit: Unit, folds: Sequence[Fold], days: Sequence[pd.DataFrame], cost: Level
    ) -> pd.DataFrame:
        """The daily returns of one path, by date, on time and late."""
        chain = carry_over(folds, days, vol_target=unit.vol_target, execution_lag=unit.execution_lag)
        blocks = pd.concat([fold.blocks for fold in folds], ignore_index=True)
        year = folds[0].test.bars_per_year
        return portfolio_table(market_days(chain), blocks, [cost], bars_per_year=year).set_index("date")


def with_gaps(panel: Panel, kept: BoolArray) -> Panel:
    """The panel of some of its dates [T]; an asset's first return behind a gap is taken out.

    That return begins at a price in the gap, or, where the asset was closed, spans days of it.
    """
    gaps = np.cumsum(~kept)  # dates that are gone, up to each date
    present = panel.tradable & kept[:, None]
    # Up to each asset's observation before: 0 where there was none, as before the first gap.
    seen = np.maximum.accumulate(np.where(present, gaps[:, None], 0), axis=0)
    before = np.vstack([np.zeros((1, panel.shape[1]), dtype=seen.dtype), seen[:-1]])
    returns = np.where(present & (before == gaps[:, None]), panel.returns, np.nan)
    return panel.with_observations(returns, present)


def _splitter(division: Combinatorial) -> Any:
    from skfolio.model_selection import CombinatorialPurgedCV

    return CombinatorialPurgedCV(
        n_folds=division.groups,
        n_test_folds=division.tested,
        purged_size=division.purge,
        embargo_size=division.embargo,
    )

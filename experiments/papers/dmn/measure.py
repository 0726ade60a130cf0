"""What the exhibits are made of: the portfolio's days (Eq. 1), raw and rescaled, and per-asset figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.papers.dmn.published import in_paper_order
from experiments.results.books import Book
from experiments.results.metrics import all_metrics
from experiments.running.runner import failed_lookahead
from experiments.storage.records import RunRecord
from experiments.storage.store import DAILY
from qn_env.arrays import BoolArray, FloatArray
from qn_env.economics import volatility_scale
from qn_env.errors import DataError
from qn_env.features import EwVolatility

TARGET = 0.15  # annualised volatility of an asset's position, and of a rescaled portfolio


class Finished(Protocol):
    """What is asked of a run folder."""

    @property
    def path(self) -> Path:
        """The folder."""

    def record(self) -> RunRecord:
        """Configuration, data, agents and failures."""

    def agent_days(self, agent: str, seed: int) -> pd.DataFrame:
        """The days: those of `RunFolder.unit_days`, and window; any order."""


# A portfolio's days, one column per seed [D, S]; NaN where it has no return. Turnover is the mean over the
# listed assets.
Portfolio = Book[FloatArray]


def metrics(book: Portfolio, cost_bps: float) -> dict[str, FloatArray]:
    """Every metric [S] of a portfolio at a cost."""
    return all_metrics(book, np.isfinite(book.gross), cost_bps)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A finished run.

    Attributes:
        record: run.json.
        seeds: seeds of every agent, agents in the order of the exhibits.
        dates: [D] days with at least one listed asset.
        windows: [D] the test block of each day.
        raw: every agent's portfolio, 1/N_t over the listed assets (Eq. 1).
        scaled: the same times `ex_ante_scale`, on returns and turnover.
        raw_late: the portfolios of the same decisions, each traded one trading day later.
        scaled_late: these times their own `ex_ante_scale`.
        values: [assets, (metric, agent)], index (market, asset), before costs: mean over the seeds with one.
        undefined: [metric, agent] values that are NaN, over assets and seeds.
    """

    record: RunRecord
    seeds: Mapping[str, Sequence[int]]
    dates: NDArray[np.datetime64]
    windows: NDArray[np.str_]
    raw: Mapping[str, Portfolio]
    scaled: Mapping[str, Portfolio]
    raw_late: Mapping[str, Portfolio]
    scaled_late: Mapping[str, Portfolio]
    values: pd.DataFrame
    undefined: pd.DataFrame

    @property
    def agents(self) -> list[str]:
        """Agents with results."""
        return list(self.seeds)

    def book(self, agent: str, *, rescaled: bool, late: bool = False) -> Portfolio:
        """An agent's portfolio."""
        on_time, delayed = (self.scaled, self.scaled_late) if rescaled else (self.raw, self.raw_late)
        return (delayed if late else on_time)[agent]

    def of(self, metric: str) -> pd.DataFrame:
        """One metric of every asset, [assets, agents]."""
        values: pd.DataFrame = self.values[metric][self.agents]
        return values


def measure(run: Finished) -> Measured:
    """Read every unit of a run once, agent by agent.

    Raises:
        DataError: no agent has finished, or two were not judged on the same days and assets.
    """
    record = run.record()
    seeds = _finished_seeds(record)
    if not seeds:
        raise DataError(f"{run.path}: no agent has finished, expected at least one. Repeat the run.")
    days, tallies = _tally(run, seeds)
    raw, late, values, undefined = {}, {}, {}, {}
    for agent, tally in tallies.items():
        raw[agent], late[agent] = tally.books()
        values[agent], undefined[agent] = tally.figures(days.assets)
    return Measured(
        record=record,
        seeds=seeds,
        dates=days.dates,
        windows=days.windows,
        raw=raw,
        scaled={agent: rescaled(book) for agent, book in raw.items()},
        raw_late=late,
        scaled_late={agent: rescaled(book) for agent, book in late.items()},
        values=pd.concat(values, axis=1).swaplevel(axis=1).sort_index(axis=1),
        undefined=pd.DataFrame(undefined)[list(seeds)],
    )


def _finished_seeds(record: RunRecord) -> dict[str, list[int]]:
    """The seeds with results of every agent that has some and saw no later days, in the paper's order."""
    failures = record.get("failed", [])
    failed, refused = {(unit["agent"], unit["seed"]) for unit in failures}, failed_lookahead(failures)
    order = in_paper_order([agent for agent in record["agents"] if agent not in refused])
    own = {a: [s for s in record["agents"][a]["seeds"] if (a, s) not in failed] for a in order}
    return {agent: seeds for agent, seeds in own.items() if seeds}


def _tally(run: Finished, seeds: Mapping[str, Sequence[int]]) -> tuple[Unit, dict[str, _Tally]]:
    """The days and assets of every unit, and every agent's units added up.

    Raises:
        DataError: a unit of other days or assets.
    """
    days: Unit | None = None
    tallies = {agent: _Tally() for agent in seeds}
    for agent, seed in ((agent, seed) for agent, own in seeds.items() for seed in own):
        unit = Unit.of(run.agent_days(agent, seed))
        days = days or unit.without_days()
        if not unit.same_days(days):
            raise DataError(
                f"{run.path}: {agent!r}, seed {seed}, has other days or assets than the run's first "
                "agent, expected the same test blocks. Finish or repeat the run."
            )
        tallies[agent].add(unit)
    assert days is not None, "expected a seed"
    return days, tallies


def rescaled(book: Portfolio) -> Portfolio:
    """The book at 15% volatility.

    Costs are charged on the rescaled weights: the factor multiplies each day's turnover, too. It is that of
    the returns before costs at every cost level, so that two levels differ in nothing but the cost; what the
    factor's own changes would trade is left out.
    """
    scale = ex_ante_scale(book.gross)
    return Book(scale * book.gross, scale * book.turnover)


def ex_ante_scale(gross: FloatArray, target: float = TARGET) -> FloatArray:
    """[D, S] target over the EW volatility (span 60) of the portfolio's own returns up to the day before.

    NaN until there is an estimate. Times `gross` this is `experiments.results.tables.scaled_ex_ante`; here
    it is
    needed by itself, for the turnover.
    """
    scale = np.full(gross.shape, np.nan)
    volatility = EwVolatility()(gross)[:-1]
    scale[1:] = np.where(np.isnan(volatility), np.nan, volatility_scale(volatility, target))
    return scale


@dataclass(frozen=True)
class Unit:
    """One agent and seed as arrays.

    Attributes:
        dates: [D] days with at least one listed asset.
        windows: [D] the test block of each day.
        assets: N pairs of market and asset.
        listed: [D, N] the asset counts in the day's mean.
        counted: [D, N] the day enters the asset's statistics.
        gross: [D, N] return of its volatility-scaled position, before costs.
        turnover: [D, N] change of the position.
        gross_late, turnover_late: [D, N] of the same decisions, each traded one trading day later.
    """

    dates: NDArray[np.datetime64]
    windows: NDArray[np.str_]
    assets: pd.MultiIndex
    listed: BoolArray
    counted: BoolArray
    gross: FloatArray
    turnover: FloatArray
    gross_late: FloatArray
    turnover_late: FloatArray

    @classmethod
    def of(cls, days: pd.DataFrame) -> Unit:
        """From one row per day and asset.

        On a day its market is closed an asset has no row: it keeps its state, earns nothing and counts, for
        its position is held. Before its market's first row and after its last it is not there.
        """
        dates, row = np.unique(days["date"].to_numpy(), return_inverse=True)
        market, markets = pd.factorize(days["market"], sort=True)
        asset, assets = pd.factorize(days["asset"], sort=True)
        both, column = np.unique(market * len(assets) + asset, return_inverse=True)
        shape = (len(dates), len(both))
        if days.shape[0] != len(np.unique(row * len(both) + column)):
            raise DataError("a day of an asset appears twice, expected test blocks that do not overlap.")
        daily = {name: np.zeros(shape) for name in DAILY}
        listed, counted = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
        present = np.zeros(shape, dtype=bool)
        for name, values in daily.items():
            values[row, column] = days[name]
        listed[row, column], counted[row, column] = days["listed"], days["counted"]
        present[row, column] = True
        listed = _carried(listed, present)
        windows = np.empty(len(dates), dtype=f"U{max(map(len, days['window'].unique()), default=1) or 1}")
        windows[row] = days["window"].to_numpy(dtype=str)
        kept = listed.any(axis=1)
        return cls(
            dates[kept],
            windows[kept],
            pd.MultiIndex.from_arrays(
                [markets[both // len(assets)], assets[both % len(assets)]], names=["market", "asset"]
            ),
            listed[kept],
            counted[kept],
            **{name: values[kept] for name, values in daily.items()},
        )

    def without_days(self) -> Unit:
        """Its days and assets without its returns."""
        none = np.zeros((0, 0))
        return replace(self, gross=none, turnover=none, gross_late=none, turnover_late=none)

    def same_days(self, other: Unit) -> bool:
        """Whether both were judged on the same days and assets."""
        return (
            np.array_equal(self.dates, other.dates)
            and self.assets.equals(other.assets)
            and np.array_equal(self.listed, other.listed)
            and np.array_equal(self.counted, other.counted)
        )

    def portfolio(self, *, late: bool = False) -> tuple[FloatArray, FloatArray]:
        """[D] gross return and turnover, 1/N_t over the listed assets (Eq. 1)."""
        n = self.listed.sum(axis=1)
        daily = (self.gross_late, self.turnover_late) if late else (self.gross, self.turnover)
        gross, turnover = (np.where(self.listed, x, 0.0).sum(axis=1) / n for x in daily)
        return gross, turnover


def _carried(listed: BoolArray, present: BoolArray) -> BoolArray:
    """[D, N] states carried over days without a row, never past an asset's last row."""
    rows = np.arange(len(listed))[:, None]
    last = np.maximum.accumulate(np.where(present, rows, -1), axis=0)
    carried = np.take_along_axis(listed, np.maximum(last, 0), axis=0)
    inside = (last >= 0) & np.logical_or.accumulate(present[::-1], axis=0)[::-1]
    return carried & inside


def _book(portfolios: Sequence[tuple[FloatArray, FloatArray]]) -> Portfolio:
    """Gross returns and turnovers, one of each per seed."""
    gross, turnover = (np.stack(columns, axis=1) for columns in zip(*portfolios, strict=True))
    return Book(gross, turnover)


@dataclass
class _Tally:
    """An agent's units, added up seed by seed: their assets' days need not be kept."""

    on_time: list[tuple[FloatArray, FloatArray]] = field(default_factory=list)
    late: list[tuple[FloatArray, FloatArray]] = field(default_factory=list)
    measured: list[dict[str, FloatArray]] = field(default_factory=list)

    def add(self, unit: Unit) -> None:
        self.on_time.append(unit.portfolio())
        self.late.append(unit.portfolio(late=True))
        self.measured.append(all_metrics(Book(unit.gross, unit.turnover), unit.counted, 0.0))

    def books(self) -> tuple[Portfolio, Portfolio]:
        """On time, and one day late."""
        return _book(self.on_time), _book(self.late)

    def figures(self, assets: pd.MultiIndex) -> tuple[pd.DataFrame, pd.Series[int]]:
        """Each asset's mean over the seeds that have a value, and how many have none, by metric."""
        stacked = {
            name: np.stack([figures_of[name] for figures_of in self.measured]) for name in self.measured[0]
        }
        known = {name: np.isfinite(values) for name, values in stacked.items()}
        means = {
            name: np.where(
                known[name].any(axis=0),
                np.where(known[name], values, 0.0).sum(axis=0) / np.maximum(known[name].sum(axis=0), 1),
                np.nan,
            )
            for name, values in stacked.items()
        }
        missing = pd.Series({name: int((~figures_of).sum()) for name, figures_of in known.items()})
        return pd.DataFrame(means, index=assets), missing

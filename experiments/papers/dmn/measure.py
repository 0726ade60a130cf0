"""What the exhibits are made of: every strategy's portfolios, and per-asset figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.papers.config import is_late_trained
from experiments.papers.dmn.published import in_paper_order
from experiments.papers.dmn.unit import Portfolio, Unit
from experiments.results.books import Book
from experiments.results.metrics import all_metrics
from experiments.running.runner import failed_lookahead
from experiments.settings.config import Level
from experiments.storage.records import RunRecord
from qn_env.arrays import FloatArray
from qn_env.errors import DataError


class Finished(Protocol):
    """What is asked of a run folder."""

    @property
    def path(self) -> Path:
        """The folder."""

    def record(self) -> RunRecord:
        """Configuration, data, agents and failures."""

    def agent_days(self, agent: str, seed: int) -> pd.DataFrame:
        """The days: those of `RunFolder.unit_days`, and window; any order."""

    def results(self) -> pd.DataFrame:
        """The tidy table."""

    def asset_costs(self) -> pd.DataFrame | None:
        """What trading each asset costs: market, asset, bps; None where the data do not say it."""


def metrics(book: Portfolio, cost: Level) -> dict[str, FloatArray]:
    """Every metric [S] of a portfolio at a cost."""
    return all_metrics(book, np.isfinite(book.gross), cost)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A finished run.

    Attributes:
        record: run.json.
        seeds: seeds of every agent, agents in the order of the exhibits.
        dates: [D] days with at least one listed asset.
        windows: [D] the test block of each day.
        raw: every agent's portfolio, 1/N_t over the listed assets (Eq. 1), one column per seed.
        scaled: the same at 15% volatility (`Unit.rescaled`).
        raw_late: the portfolios of the same decisions, each traded one trading day later.
        scaled_late: these at 15% volatility.
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
        """The strategies of the exhibits: those with results, trained as the paper trades."""
        return [agent for agent in self.seeds if not is_late_trained(agent)]

    @property
    def priced(self) -> bool:
        """Whether the data say what each asset costs."""
        return all(book.own is not None for book in self.scaled.values())

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
    values, undefined = {}, {}
    for agent, tally in tallies.items():
        values[agent], undefined[agent] = tally.figures(days.assets)
    return Measured(
        record=record,
        seeds=seeds,
        dates=days.dates,
        windows=days.windows,
        raw={agent: _book(tally.raw) for agent, tally in tallies.items()},
        scaled={agent: _book(tally.scaled) for agent, tally in tallies.items()},
        raw_late={agent: _book(tally.raw_late) for agent, tally in tallies.items()},
        scaled_late={agent: _book(tally.scaled_late) for agent, tally in tallies.items()},
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


def _book(portfolios: Sequence[Portfolio]) -> Portfolio:
    """One column per seed, of one portfolio each."""
    own = [one.own for one in portfolios if one.own is not None]
    return Book(
        np.stack([one.gross for one in portfolios], axis=1),
        np.stack([one.turnover for one in portfolios], axis=1),
        np.stack(own, axis=1) if own else None,
    )


@dataclass
class _Tally:
    """An agent's units, added up seed by seed: their assets' days need not be kept."""

    raw: list[Portfolio] = field(default_factory=list)
    scaled: list[Portfolio] = field(default_factory=list)
    raw_late: list[Portfolio] = field(default_factory=list)
    scaled_late: list[Portfolio] = field(default_factory=list)
    measured: list[dict[str, FloatArray]] = field(default_factory=list)

    def add(self, unit: Unit) -> None:
        self.raw.append(unit.portfolio())
        self.scaled.append(unit.rescaled())
        self.raw_late.append(unit.portfolio(late=True))
        self.scaled_late.append(unit.rescaled(late=True))
        held = unit.on_time
        self.measured.append(all_metrics(Book(held.gross, held.turnover), unit.counted, 0.0))

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

"""Sharpe ratios of the portfolios at every cost, with intervals from resampled days and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from experiments.papers.bootstrap import Interval, day_counts, interval_of, resampled_sharpe, row_mean
from experiments.papers.dmn.measure import Measured, metrics
from experiments.papers.dmn.unit import Portfolio
from experiments.settings.config import MARKET
from experiments.settings.config import Level as Cost
from experiments.statistics import REPLICATIONS, block_length
from qn_env.arrays import FloatArray, IntArray
from qn_env.economics import BASIS_POINT

COSTS = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)  # Exhibit 8, basis points
HIGH_COST = 10.0  # Exhibit 9
BISECTIONS = 60


class Level(NamedTuple):
    """Which portfolio, at which cost."""

    rescaled: bool
    cost: Cost
    late: bool = False  # every decision is traded one trading day later

    @property
    def delayed(self) -> Level:
        """The same one day late."""
        return self._replace(late=True)


RAW = Level(rescaled=False, cost=0.0)
RESCALED = Level(rescaled=True, cost=0.0)
DEAR = Level(rescaled=True, cost=HIGH_COST)
OWN = Level(rescaled=True, cost=MARKET)  # what the data say that each asset costs
_ALWAYS = (RAW, *(Level(rescaled=True, cost=cost) for cost in COSTS), DEAR, RAW.delayed, RESCALED.delayed)


def levels_of(measured: Measured) -> tuple[Level, ...]:
    """The levels of a run."""
    return (*_ALWAYS, OWN, OWN.delayed) if measured.priced else _ALWAYS


class Score(NamedTuple):
    """A figure, the mean over seeds, with its bootstrap samples [R]."""

    value: float
    samples: FloatArray

    @property
    def interval(self) -> Interval:
        """95% percentile interval."""
        return interval_of(self.samples)

    def difference(self, other: Score) -> Score:
        """This minus the other, on the same resampled days."""
        return Score(self.value - other.value, self.samples - other.samples)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The Sharpe ratios of a run.

    Attributes:
        sharpe: by level, then by agent.
        break_even: by agent, of the rescaled portfolio: basis points at which its Sharpe ratio is zero.
        block: mean block length, days.
        replications: bootstrap samples.
    """

    sharpe: Mapping[Level, Mapping[str, Score]]
    break_even: Mapping[str, Score]
    block: float
    replications: int

    @property
    def how(self) -> str:
        """The intervals in words."""
        return (
            f"95% intervals from {self.replications} stationary-bootstrap samples of days (mean block "
            f"{self.block:.0f}) and seeds, the same days for every strategy"
        )


def score(measured: Measured, *, seed: int, replications: int = REPLICATIONS) -> Scores:
    """Stationary bootstrap (Politis and Romano 1994) of the portfolio's days, the same days for every agent.

    Seeds are resampled too; agents with equally many share the draw.

    Args:
        measured: the run.
        seed: the only chance.
        replications: bootstrap samples.
    """
    rng = np.random.default_rng(seed)
    # The longest of the strategies' block lengths, each of its mean over seeds.
    block = max(block_length(book.gross.T[:, :, None]) for book in measured.raw.values())
    counts = day_counts(len(measured.dates), block, rng, replications)
    draw = rng.random((replications, max(map(len, measured.seeds.values()))))
    by_agent, even = {}, {}
    levels = levels_of(measured)
    for agent, seeds in measured.seeds.items():
        S = len(seeds)
        chosen = (draw[:, :S] * S).astype(np.intp)
        by_agent[agent] = _agent_scores(measured, agent, levels, counts, chosen)
        book = measured.scaled[agent]
        whole = np.ones((1, len(measured.dates)))
        own = np.arange(S)[None]
        even[agent] = Score(float(break_even(book, whole, own)[0]), break_even(book, counts, chosen))
    return Scores(
        sharpe={level: {agent: own[level] for agent, own in by_agent.items()} for level in levels},
        break_even=even,
        block=block,
        replications=replications,
    )


def _agent_scores(
    measured: Measured, agent: str, levels: Sequence[Level], counts: FloatArray, chosen: IntArray
) -> dict[Level, Score]:
    """An agent's Sharpe ratios at every level."""
    books = [measured.book(agent, rescaled=level.rescaled, late=level.late) for level in levels]
    nets = [book.net(level.cost) for book, level in zip(books, levels, strict=True)]
    whole = np.concatenate(nets, axis=1)
    counted = np.isfinite(whole)
    resampled = resampled_sharpe(np.where(counted, whole, 0.0), counted.astype(np.float64), counts)
    by_level = resampled.reshape(len(counts), len(levels), -1)
    return {
        level: Score(
            mean_known(metrics(book, level.cost)["sharpe"]),
            row_mean(np.take_along_axis(by_level[:, i], chosen, axis=1)),
        )
        for i, (level, book) in enumerate(zip(levels, books, strict=True))
    }


def break_even(book: Portfolio, counts: FloatArray, chosen: IntArray) -> FloatArray:
    """[R] basis points at which the mean over seeds of the net Sharpe ratios is zero; NaN without turnover.

    A seed's own root is its mean return over its mean turnover; the mean's lies between the seeds', and is
    found by bisection. It is negative where the portfolio loses before costs.

    Args:
        book: daily gross returns and turnover.
        counts: [R, D] how often each day was drawn.
        chosen: [R, K] the seeds drawn, as columns of the book.
    """
    counted = np.isfinite(book.gross)
    days = np.maximum(counts @ counted.astype(np.float64), 1.0)
    series = book.gross, book.turnover
    centres = [_centre(values) for values in series]
    g, t = (np.where(counted, x - centre, 0.0) for x, centre in zip(series, centres, strict=True))
    dg, dt = (counts @ x / days for x in (g, t))  # of the means; centred, the squares below lose no digits
    moments = (
        centres[0] + dg,
        centres[1] + dt,
        counts @ g**2 / days - dg**2,
        counts @ (g * t) / days - dg * dt,
        counts @ t**2 / days - dt**2,
    )
    gross, turnover, vg, cov, vt = (np.take_along_axis(m, chosen, axis=1) for m in moments)
    trades = turnover > 0
    own = np.where(trades, gross / np.where(trades, turnover, 1.0), np.nan)
    low, high = own.min(axis=1), own.max(axis=1)
    for _ in range(BISECTIONS):
        middle = ((low + high) / 2.0)[:, None]
        deviation = np.sqrt(np.maximum(vg - 2.0 * middle * cov + middle**2 * vt, 0.0))
        numerator = gross - middle * turnover
        # One seed is at its root, or has no variation left: its sign is all that matters.
        ratio = numerator / np.where(deviation > 0, deviation, 1.0)
        ahead = ratio.sum(axis=1) > 0
        low, high = np.where(ahead, middle[:, 0], low), np.where(ahead, high, middle[:, 0])
    bps: FloatArray = (low + high) / 2.0 / BASIS_POINT
    return bps


def mean_known(values: FloatArray | Sequence[float]) -> float:
    """Mean over the seeds that have a value; NaN if none has."""
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _centre(values: FloatArray) -> FloatArray:
    counted = np.isfinite(values)
    total: FloatArray = np.where(counted, values, 0.0).sum(axis=0) / np.maximum(counted.sum(axis=0), 1)
    return total

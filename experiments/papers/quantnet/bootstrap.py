"""Intervals of median Sharpe ratios: days and seeds resampled, the same ones for every asset and strategy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.papers.bootstrap import Interval, day_counts, interval_of, resampled_sharpe, row_mean
from experiments.papers.quantnet.measure import MarketDays, Pair
from experiments.statistics import REPLICATIONS, block_length
from qn_env.arrays import DateArray, FloatArray


@dataclass(frozen=True)
class Intervals:
    """Intervals of Sharpe ratios over a run's assets.

    Attributes:
        median: of each agent's median.
        difference: of each pair's difference of medians, strategy minus reference.
        paired: of each pair's mean difference, asset by asset.
        block: mean block length, days.
        replications: bootstrap samples.
    """

    median: Mapping[str, Interval]
    difference: Mapping[Pair, Interval]
    paired: Mapping[Pair, Interval]
    block: float
    replications: int


def intervals(
    markets: Mapping[str, MarketDays],
    seeds: Mapping[str, Sequence[int]],
    pairs: Sequence[Pair],
    *,
    seed: int,
    replications: int = REPLICATIONS,
) -> Intervals:
    """Stationary bootstrap (Politis and Romano 1994) of days over the union of the markets' test blocks.

    Markets whose blocks overlap in time share their resampled days, so that dependence between markets,
    assets and strategies stays. Seeds are resampled too; agents with equally many share the draw.

    Args:
        markets: daily net returns by market.
        seeds: seeds of every agent.
        pairs: what to hold against each other.
        seed: the only chance.
        replications: bootstrap samples.
    """
    calendar = np.unique(np.concatenate([days.dates for days in markets.values()]))
    rng = np.random.default_rng(seed)
    block = _block(markets, seeds, calendar)
    counts = day_counts(len(calendar), block, rng, replications)
    draw = rng.random((replications, max(map(len, seeds.values()))))
    paired = {agent for pair in pairs for agent in pair}
    medians, ratios = {}, {}
    for agent, own in seeds.items():
        resampled = _agent_ratios(markets, calendar, counts, agent, own, draw)
        medians[agent] = row_median(resampled)
        if agent in paired:
            ratios[agent] = resampled
    return Intervals(
        median={agent: interval_of(resampled) for agent, resampled in medians.items()},
        difference={pair: interval_of(medians[pair.strategy] - medians[pair.reference]) for pair in pairs},
        paired={
            pair: interval_of(row_mean(ratios[pair.strategy] - ratios[pair.reference])) for pair in pairs
        },
        block=block,
        replications=replications,
    )


def row_median(values: FloatArray) -> FloatArray:
    """[R, K] -> [R] median of the defined values; NaN where there is none."""
    ordered = np.sort(values, axis=1)  # NaN last
    n = np.isfinite(values).sum(axis=1)
    rows, last = np.arange(len(values)), np.maximum(n - 1, 0)
    middle: FloatArray = (ordered[rows, last // 2] + ordered[rows, np.minimum(n // 2, last)]) / 2.0
    return middle


def _agent_ratios(
    markets: Mapping[str, MarketDays],
    calendar: DateArray,
    counts: FloatArray,
    agent: str,
    seeds: Sequence[int],
    draw: FloatArray,
) -> FloatArray:
    """[R, K] each asset's Sharpe ratio, the mean over the resampled seeds that have one."""
    S = len(seeds)
    chosen = (draw[:, :S] * S).astype(np.intp)
    parts = []
    for days in markets.values():
        drawn = counts[:, np.searchsorted(calendar, days.dates)]
        counted = days.counted.astype(np.float64)
        total = np.zeros((len(counts), len(days.assets)))
        weight = np.zeros_like(total)
        for i, seed in enumerate(seeds):
            ratios = resampled_sharpe(days.net[agent, seed], counted, drawn)
            times = (chosen == i).sum(axis=1)[:, None]
            defined = np.isfinite(ratios)
            total += times * np.where(defined, ratios, 0.0)
            weight += times * defined
        parts.append(np.where(weight > 0, total / np.maximum(weight, 1.0), np.nan))
    return np.concatenate(parts, axis=1)


def _block(
    markets: Mapping[str, MarketDays], seeds: Mapping[str, Sequence[int]], calendar: DateArray
) -> float:
    """The longest of the strategies' block lengths, each of its mean return over counted assets and seeds."""
    longest = 1.0
    for agent, own in seeds.items():
        total, count = np.zeros(len(calendar)), np.zeros(len(calendar))
        for days in markets.values():
            rows = np.searchsorted(calendar, days.dates)
            each = sum(days.net[agent, seed] for seed in own) / len(own)
            total[rows] += np.where(days.counted, each, 0.0).sum(axis=1)
            count[rows] += days.counted.sum(axis=1)
        series = total / np.maximum(count, 1.0)
        longest = max(longest, block_length(series[None, :, None]))
    return longest

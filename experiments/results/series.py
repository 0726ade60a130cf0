"""Series and samples behind the figures: growth, drawdown and per-asset Sharpe ratios, seeds averaged."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.results.books import at_level
from experiments.results.metrics import drawdowns, growth_of_one
from experiments.results.run import Run
from experiments.settings.config import Level, level_name
from experiments.storage.records import markets_of
from qn_env.errors import DataError

MAX_POINTS = 1500  # per line on the page; longer series are thinned
LOG_SPAN_DAYS = 8 * 365  # calendar days from which growth is read on a logarithmic axis

FloatArray = NDArray[np.float64]


View = Literal["net", "net_10"]  # daily net returns, raw or scaled to 10% volatility


class Curve(NamedTuple):
    """One agent's path; [T] on the run's dates, NaN where it is undefined."""

    growth: FloatArray  # of 1, after costs
    drawdown: FloatArray  # decimal, zero or negative
    undefined: int = 0  # daily returns without a value, over all seeds
    seeds: int = 1


class Figures(NamedTuple):
    """A figure of one agent: its mean over the seeds where it is defined, and how many are not."""

    mean: pd.DataFrame  # [agents, assets or markets]
    undefined: pd.DataFrame  # the same shape: seeds without a value


def run_dates(run: Run) -> pd.DatetimeIndex:
    """All days of the portfolio table, ascending."""
    return pd.DatetimeIndex(sorted(run.portfolio["date"].unique()))


def curves(run: Run, level: Level, column: View) -> dict[str, Curve]:
    """Growth and drawdown of every agent: each seed's own path, then the mean over seeds.

    Args:
        run: the run.
        level: of costs.
        column: daily net returns (decimal), raw or scaled to 10% volatility.
    """
    rows = at_level(run.portfolio, level)
    dates = run_dates(run)
    paths = {}
    for agent in run.agents:
        own = rows[rows["agent"] == agent].pivot(index="date", columns="seed", values=column)
        paths[agent] = path(own.reindex(dates).to_numpy(dtype=np.float64))
    return paths


def path(net: FloatArray) -> Curve:
    """Growth of 1 and drawdown, the mean over seeds of each seed's own.

    A day without a value earns nothing and is counted; before a seed's first value it has no path. Ruin
    (net <= -1) is final.

    Args:
        net: [T, S] daily net returns of S seeds, decimal.

    Examples:
        >>> path(np.array([[np.nan], [0.5], [-0.5]]))
        Curve(growth=array([ nan, 1.5 , 0.75]), drawdown=array([ nan,  0. , -0.5]), undefined=1, seeds=1)
    """
    missing = np.isnan(net)
    filled = np.where(missing, 0.0, net)
    growth = growth_of_one(filled)
    started = np.logical_or.accumulate(~missing, axis=0)
    return Curve(
        _mean(np.where(started, growth, np.nan)),
        _mean(np.where(started, drawdowns(growth), np.nan)),
        int(missing.sum()),
        max(net.shape[1], 1),
    )


def _mean(values: FloatArray) -> FloatArray:
    """[T, S] -> [T]: mean over the seeds that have a value, NaN where none has."""
    counts = (~np.isnan(values)).sum(axis=1)
    total = np.nansum(values, axis=1)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def thin(curve: Curve, step: int) -> Curve:
    """Every `step` days one point: the last growth and the deepest drawdown of those days.

    Examples:
        >>> thin(Curve(np.array([1.0, 2.0, 3.0]), np.array([-0.5, 0.0, 0.0])), 2)
        Curve(growth=array([2., 3.]), drawdown=array([-0.5,  0. ]), undefined=0, seeds=1)
    """
    if step == 1:
        return curve
    starts = np.arange(0, len(curve.growth), step)
    growth = curve.growth[block_ends(len(curve.growth), step)]
    return curve._replace(growth=growth, drawdown=np.fmin.reduceat(curve.drawdown, starts))


def block_ends(n_days: int, step: int) -> NDArray[np.int64]:
    """Index of the last day of every block of `step` days."""
    return np.minimum(np.arange(0, n_days, step) + step - 1, n_days - 1)


def is_long(dates: pd.DatetimeIndex) -> bool:
    """Whether the run is long enough for a logarithmic growth axis."""
    return len(dates) > 0 and bool((dates[-1] - dates[0]).days >= LOG_SPAN_DAYS)


def asset_sharpes(run: Run, level: Level) -> Figures:
    """Net Sharpe ratio per agent and asset."""
    rows = run.results
    return _by_agent(run, rows[(rows["market"] != "*") & (rows["asset"] != "*")], level)


def market_sharpes(run: Run, level: Level) -> Figures:
    """Net Sharpe ratio per agent and market, markets in the panel's order."""
    rows = run.results
    figures = _by_agent(run, rows[(rows["market"] != "*") & (rows["asset"] == "*")], level)
    known = markets_of(run.about)
    have = list(figures.mean.columns.get_level_values("market"))
    order = [(name, "*") for name in [m for m in known if m in have] + [m for m in have if m not in known]]
    return Figures(figures.mean[order], figures.undefined[order])


def _by_agent(run: Run, rows: pd.DataFrame, level: Level) -> Figures:
    """Test-block Sharpe ratios of some rows of the results, as [agents, (market, asset)]."""
    rows = at_level(rows[(rows["metric"] == "sharpe") & (rows["split"] == "test")], level)
    if rows.empty:
        raise DataError(
            f"{run.folder / 'results.parquet'}: no per-asset or no per-market row with metric 'sharpe', "
            f"split 'test' and cost_bps {level_name(level)}, a cost of the leaderboard. Run the comparison "
            "again."
        )
    groups = rows.groupby(["agent", "market", "asset"], sort=True)["value"]
    levels = ["market", "asset"]
    mean = groups.mean().unstack(levels).sort_index(axis=1)
    undefined = (groups.size() - groups.count()).unstack(levels).reindex(columns=mean.columns)
    return Figures(mean.reindex(run.agents), undefined.reindex(run.agents).fillna(0).astype(int))


def bin_edges(values: FloatArray, most: int = 26) -> FloatArray:
    """Common histogram edges: a round width, multiples of it, at most `most` bins, none left out.

    Args:
        values: sample, NaN ignored.
        most: most bins wanted.

    Examples:
        >>> bin_edges(np.array([-0.3, 0.9]), most=6)
        array([-0.5 , -0.25,  0.  ,  0.25,  0.5 ,  0.75,  1.  ])
    """
    finite = values[np.isfinite(values)]
    low, high = (min(finite.min(), 0.0), max(finite.max(), 0.0)) if finite.size else (0.0, 0.0)
    for width in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 50.0, (high - low) / (most - 2)):
        first, last = int(np.floor(low / width)), int(np.floor(high / width)) + 1
        if last - first <= most:
            break
    return np.arange(first, last + 1) * width

"""From the stored days of a unit to daily market and portfolio returns and to the tidy table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from experiments.results.books import Book, at_level, book_of, cost_column
from experiments.results.metrics import all_metrics, signal_metrics
from experiments.settings.config import EXECUTIONS, MARKET, Execution, Level
from experiments.storage.store import DAILY, OWN
from qn_env.arrays import BoolArray, FloatArray
from qn_env.economics import volatility_scale
from qn_env.features import EwVolatility, in_bars
from qn_env.year import DAYS_PER_YEAR

ALL = "*"  # all assets of a market; all markets
SCALED_TARGET = 0.10  # annualised volatility of returns shown on one scale


def market_days(days: pd.DataFrame) -> pd.DataFrame:
    """Daily gross return and turnover of each market, also one day late: the mean over its listed assets.

    Args:
        days: date, market, asset, gross, turnover, gross_late, turnover_late, listed, of one unit.
    """
    listed = days[days["listed"]]
    names = daily_columns(listed)
    means: pd.DataFrame = listed.groupby(["market", "date"], sort=False)[names].mean().reset_index()
    return means


def daily_columns(days: pd.DataFrame) -> list[str]:
    """The daily series of a table of days: what each asset costs is among them where the data say it."""
    return [name for name in (*DAILY, *OWN) if name in days]


def portfolio_table(
    by_market: pd.DataFrame,
    blocks: pd.DataFrame,
    costs: Sequence[Level],
    *,
    bars_per_year: float = DAYS_PER_YEAR,
) -> pd.DataFrame:
    """Daily returns of the equal-weight portfolio of markets, at each cost.

    A day counts if at least half of the markets are in their test block; a market that is closed that day
    yields nothing. `net_10` is scaled to 10% volatility with the EW volatility of the portfolio's own past
    net returns (span 60, known the day before), NaN until there is one.

    Both executions, each with a row for every day and cost.

    Args:
        by_market: market, date and the columns `DAILY`, of one unit.
        blocks: market, test_first, test_last; a market once for every window.
        costs: basis points, or `market`: each asset's own.
        bars_per_year: what the volatility is annualised by.

    Returns:
        date, execution, cost_bps, gross, turnover, cost, net, net_10, markets; and impact, of a capital of 1,
        where it is known.
    """
    series = daily_columns(by_market)
    wide = by_market.pivot(index="date", columns="market", values=series).sort_index()
    dates, names = pd.DatetimeIndex(wide.index), wide["gross"].columns
    inside = np.zeros((len(dates), len(names)), dtype=bool)
    for market, first, last in blocks[["market", "test_first", "test_last"]].itertuples(index=False):
        inside[:, names.get_loc(market)] |= (dates >= first) & (dates <= last)
    markets = inside.sum(axis=1)
    enough = 2 * markets >= len(names)
    means = {name: wide[name].sum(axis=1).to_numpy() / np.maximum(markets, 1) for name in series}
    base = pd.DataFrame({"date": dates, **means, "markets": markets})[enough]
    return pd.concat(
        [_at_cost(base, execution, cost, bars_per_year) for execution in EXECUTIONS for cost in costs],
        ignore_index=True,
    )


def results_table(
    days: pd.DataFrame,
    by_market: pd.DataFrame,
    portfolio: pd.DataFrame,
    costs: Sequence[Level],
    *,
    bars_per_year: float = DAYS_PER_YEAR,
) -> pd.DataFrame:
    """Every metric of every asset, market and the portfolio for each execution at each cost, tidy.

    Returns:
        market, asset, execution, cost_bps, metric, value; "*" stands for all.
    """
    by_asset = days.set_index(["date", "market", "asset"])
    counted = (
        by_asset["counted"].unstack(["market", "asset"], fill_value=False).sort_index().to_numpy(dtype=bool)
    )
    markets = by_market.set_index(["date", "market"]).unstack("market").sort_index()
    open_days = markets["gross"].notna().to_numpy()
    signals = _signal_figures(by_asset, counted) if "signal" in by_asset else None
    parts = []
    for execution in EXECUTIONS:
        assets = book_of(by_asset, execution).each(_unstacked)
        for cost in costs:
            rows = at_level(portfolio[portfolio["execution"] == execution], cost)
            whole = Book(*(rows[name].to_numpy()[:, None] for name in ("gross", "turnover", "cost")))
            measured = [
                *([signals] if signals is not None else []),
                _measure(assets, counted, cost, bars_per_year),
                _measure(book_of(markets, execution), open_days, cost, bars_per_year),
            ]
            if len(whole.gross):
                every = np.ones(whole.gross.shape, dtype=bool)
                metrics = all_metrics(whole, every, MARKET, bars_per_year=bars_per_year)  # as it is stored
                measured.append(pd.DataFrame(metrics, index=pd.Index([ALL], name="market")))
            parts += [
                _tidy(figures).assign(execution=execution, cost_bps=cost_column(cost)) for figures in measured
            ]
    return pd.concat(parts, ignore_index=True)


def _signal_figures(by_asset: pd.DataFrame, counted: BoolArray) -> pd.DataFrame:
    """How much the signals vary: of every asset, of every market and of all, the mean over their assets."""
    wide = by_asset["signal"].unstack(["market", "asset"]).sort_index()
    own = pd.DataFrame(signal_metrics(wide.to_numpy(dtype=float), counted), index=wide.columns)
    markets = own.groupby(level="market", sort=False).mean()
    whole = pd.concat([markets, own.mean().to_frame(ALL).T])
    whole.index = pd.MultiIndex.from_product([whole.index, [ALL]], names=["market", "asset"])
    return pd.concat([own, whole])


def _measure(book: Book[pd.DataFrame], counted: BoolArray, cost: Level, bars_per_year: float) -> pd.DataFrame:
    """Metrics of every column, one row per column."""
    arrays = book.each(lambda series: series.to_numpy(dtype=float))
    figures = all_metrics(arrays, counted, cost, bars_per_year=bars_per_year)
    return pd.DataFrame(figures, index=book.gross.columns)


def _tidy(measured: pd.DataFrame) -> pd.DataFrame:
    """One metric of one series a row."""
    long = measured.melt(ignore_index=False, var_name="metric", value_name="value").reset_index()
    if "asset" not in long:
        long["asset"] = ALL
    return long


def _unstacked(series: pd.Series) -> pd.DataFrame:
    """One series as [days, (market, asset)]."""
    wide: pd.DataFrame = series.unstack(["market", "asset"]).sort_index()
    return wide


def _at_cost(base: pd.DataFrame, execution: Execution, cost: Level, bars_per_year: float) -> pd.DataFrame:
    """The portfolio's days after costs, raw and scaled ex ante."""
    book = book_of(base, execution)
    net = book.net(cost).to_numpy()
    scaled = scaled_ex_ante(net, bars_per_year=bars_per_year)
    moved = "impact_late" if execution == "late" else "impact"
    return pd.DataFrame(
        {
            "date": base["date"],
            "execution": execution,
            "cost_bps": cost_column(cost),
            "gross": book.gross,
            "turnover": book.turnover,
            "cost": book.cost(cost),
            "net": net,
            "net_10": scaled,
            "markets": base["markets"],
            **({"impact": base[moved]} if moved in base else {}),
        }
    )


def scaled_ex_ante(
    net: FloatArray, target: float = SCALED_TARGET, *, bars_per_year: float = DAYS_PER_YEAR
) -> FloatArray:
    """Net returns [T] or [T, K] times target over the volatility estimated the day before.

    NaN until there is an estimate. The cost of the rescaling itself is left out.
    """
    if not len(net):
        return net
    columns = net.reshape(len(net), -1)
    scale = np.full(columns.shape, np.nan)
    volatility = in_bars(EwVolatility(), bars_per_year)(columns)[:-1]
    weight = volatility_scale(volatility, target, bars_per_year=bars_per_year)
    scale[1:] = np.where(np.isnan(volatility), np.nan, weight)
    scaled: FloatArray = net * scale.reshape(net.shape)
    return scaled

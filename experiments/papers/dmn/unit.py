"""One agent with one seed as arrays: the portfolio of all assets (Eq. 1), raw and rescaled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.results.books import Book
from qn_env.arrays import BoolArray, FloatArray, IntArray
from qn_env.economics import volatility_scale
from qn_env.errors import DataError
from qn_env.features import EwVolatility

Value = TypeVar("Value", np.bool_, np.float64)

TARGET = 0.15  # annualised volatility of an asset's position, and of a rescaled portfolio

# Daily gross returns, turnovers and own costs, one column per seed [D, S] or of one seed [D]; NaN where the
# portfolio has no return. A mean over the listed assets.
Portfolio = Book[FloatArray]


def ex_ante_scale(gross: FloatArray, target: float = TARGET) -> FloatArray:
    """[D, S] target over the EW volatility (span 60) of the portfolio's own returns up to the day before.

    NaN until there is an estimate. Times `gross` this is `experiments.results.tables.scaled_ex_ante`; here it
    is needed by itself, for what is traded.
    """
    scale = np.full(gross.shape, np.nan)
    volatility = EwVolatility()(gross)[:-1]
    scale[1:] = np.where(np.isnan(volatility), np.nan, volatility_scale(volatility, target))
    return scale


class Positions(NamedTuple):
    """What a unit holds by one execution and what it earns, [D, N]; 0 on days without a row.

    Attributes:
        gross: return of the position, before costs.
        turnover: what was traded for it.
        weight: the position, held over the day; on a day without a row as on the asset's last own one.
        cost: what trading and holding costs, where the data say that each asset costs; else None.
    """

    gross: FloatArray
    turnover: FloatArray
    weight: FloatArray
    cost: FloatArray | None


@dataclass(frozen=True)
class Unit:
    """One agent and seed as arrays.

    Attributes:
        dates: [D] days with at least one listed asset.
        windows: [D] the test block of each day.
        assets: N pairs of market and asset.
        listed: [D, N] the asset counts in the day's mean.
        counted: [D, N] the day enters the asset's statistics.
        present: [D, N] the asset's market has a day.
        traded: [D, N] the asset could be traded at its market's close before.
        rate: [D, N] what a unit of turnover costs, decimal, where the data say it; else None.
        on_time: the positions.
        late: those of the same decisions, each traded one trading day later.
    """

    dates: NDArray[np.datetime64]
    windows: NDArray[np.str_]
    assets: pd.MultiIndex
    listed: BoolArray
    counted: BoolArray
    present: BoolArray
    traded: BoolArray
    rate: FloatArray | None
    on_time: Positions
    late: Positions

    @classmethod
    def of(cls, days: pd.DataFrame) -> Self:
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
        present = np.zeros(shape, dtype=bool)
        present[row, column] = True
        windows = np.empty(len(dates), dtype=f"U{max(map(len, days['window'].unique()), default=1) or 1}")
        windows[row] = days["window"].to_numpy(dtype=str)

        def flag(name: str) -> BoolArray:
            wide = np.zeros(shape, dtype=bool)
            wide[row, column] = days[name]
            return wide

        def wide(name: str) -> FloatArray:
            values = np.zeros(shape)
            values[row, column] = days[name]
            return values

        def positions(suffix: str) -> Positions:
            cost = wide(f"cost{suffix}")[kept] if "cost" in days else None
            weight = _carried(wide(f"weight{suffix}"), present)
            return Positions(
                wide(f"gross{suffix}")[kept], wide(f"turnover{suffix}")[kept], weight[kept], cost
            )

        listed = _carried(flag("listed"), present) & _inside(present)
        kept = listed.any(axis=1)
        return cls(
            dates[kept],
            windows[kept],
            pd.MultiIndex.from_arrays(
                [markets[both // len(assets)], assets[both % len(assets)]], names=["market", "asset"]
            ),
            listed[kept],
            flag("counted")[kept],
            present[kept],
            flag("traded")[kept],
            wide("rate")[kept] if "rate" in days else None,
            positions(""),
            positions("_late"),
        )

    def without_days(self) -> Unit:
        """Its days and assets without its positions."""
        none = np.zeros((0, 0))
        return replace(
            self,
            present=none.astype(bool),
            traded=none.astype(bool),
            rate=None,
            on_time=Positions(none, none, none, None),
            late=Positions(none, none, none, None),
        )

    def same_days(self, other: Unit) -> bool:
        """Whether both were judged on the same days and assets."""
        return (
            np.array_equal(self.dates, other.dates)
            and self.assets.equals(other.assets)
            and np.array_equal(self.listed, other.listed)
            and np.array_equal(self.counted, other.counted)
        )

    def portfolio(self, *, late: bool = False) -> Portfolio:
        """[D] returns, turnover and own costs, 1/N_t over the listed assets (Eq. 1)."""
        held = self.late if late else self.on_time
        return Book(held.gross, held.turnover, held.cost).each(self._mean)

    def rescaled(self, *, late: bool = False) -> Portfolio:
        """[D] the portfolio at 15% volatility: every weight is times `ex_ante_scale` of the raw one.

        The factor is that of the returns before costs at every level of costs, so that two levels differ in
        nothing but the cost. It is known at the close at which an asset is traded; an asset that could not be
        traded then keeps the one it had. What its changes trade is charged, and so is the entry, on the first
        day with an estimate; before that day the portfolio is NaN.
        """
        held = self.late if late else self.on_time
        scale = ex_ante_scale(self._mean(held.gross)[:, None])[:, 0]
        factor = np.nan_to_num(scale)[self._factor_day]
        weight, position = held.weight, factor * held.weight
        listed = self.listed.astype(np.float64)  # what was delisted since was sold when that was booked
        # What was sold at a delisting is the part of the turnover that is no change of the weight.
        sold = held.turnover - abs(weight - _day_before(weight) * listed)
        turnover = np.where(self.present, abs(position - _day_before(position) * listed) + factor * sold, 0.0)
        cost = None
        if held.cost is not None and self.rate is not None:
            cost = self.rate * turnover + factor * (held.cost - self.rate * held.turnover)
        book = Book(factor * held.gross, turnover, cost).each(self._mean)
        return book.each(lambda series: np.where(np.isnan(scale), np.nan, series))

    @cached_property
    def _factor_day(self) -> IntArray:
        """[D, N] the day whose factor each position has: the one after the close at which it was traded."""
        rows = np.broadcast_to(np.arange(len(self.dates))[:, None], self.present.shape)
        last = np.maximum.accumulate(np.where(self.present, rows, -1), axis=0)
        close = np.concatenate([np.full((1, last.shape[1]), -1), last[:-1]])
        known = np.where(close >= 0, close + 1, rows)
        since = np.maximum.accumulate(np.where(self.present & self.traded, rows, -1), axis=0)
        return np.take_along_axis(known, since.clip(0), axis=0)  # on the first day nothing is held

    def _mean(self, values: FloatArray) -> FloatArray:
        """[D] over the listed assets."""
        mean: FloatArray = np.where(self.listed, values, 0.0).sum(axis=1) / self.listed.sum(axis=1)
        return mean


def _day_before(values: FloatArray) -> FloatArray:
    """[D, N] the values of the row before, 0 on the first one."""
    return np.concatenate([np.zeros((1, values.shape[1])), values[:-1]])


def _carried(values: NDArray[Value], present: BoolArray) -> NDArray[Value]:
    """[D, N] the values of each asset's last own row; before its first what is there."""
    rows = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(present, rows, -1), axis=0)
    return np.take_along_axis(values, np.maximum(last, 0), axis=0)


def _inside(present: BoolArray) -> BoolArray:
    """[D, N] from each asset's first row to its last."""
    begun, ahead = (np.logical_or.accumulate(one, axis=0) for one in (present, present[::-1]))
    inside: BoolArray = begun & ahead[::-1]
    return inside

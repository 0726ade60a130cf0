"""Panel and Market: returns of many assets, bar by bar, grouped into markets, on one union calendar."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from qn_env.arrays import BoolArray, DateArray, FloatArray, IntArray, Scalar, read_only
from qn_env.checks import (
    check_items,
    check_names,
    check_number,
    check_seed,
    check_text,
    in_words,
    is_function,
)
from qn_env.dates import DateLike, after, as_moment, check_increasing, read_dates
from qn_env.errors import ConfigError, DataError, did_you_mean
from qn_env.year import DAYS_PER_YEAR, MOST_BARS_PER_YEAR, infer_bars_per_year, is_intraday

if TYPE_CHECKING:
    from qn_env.features import Feature

BLOCK_NUMBERS = 2**20  # evaluated at once, to bound memory
ROWS_NUMBERS = 2**16  # laid side by side at once: few enough for the caches
# One, or one per market.
Dates: TypeAlias = DateLike | Mapping[str, str] | Mapping[str, date] | Mapping[str, np.datetime64]


@dataclass(frozen=True, eq=False)
class Market:
    """One market of a panel: a slice of its asset axis and the rows of its own trading days.

    Attributes:
        name: the market's name.
        columns: slice of the panel's asset axis, n assets.
        rows: [T_i] rows of the panel's union calendar on which any asset of the market trades.
        assets: [n] asset names.
    """

    name: str
    columns: slice
    rows: IntArray
    assets: tuple[str, ...]

    def compact(self, values: NDArray[Scalar]) -> NDArray[Scalar]:
        """The market's own history [T_i, n, ...] out of an array [T, N, ...] on the union calendar."""
        picked: NDArray[Scalar] = values[self.rows, self.columns]
        return picked

    def spread(self, values: NDArray[Scalar], out: NDArray[Scalar]) -> None:
        """Write a compact array [T_i, n, ...] back into an array [T, N, ...] on the union calendar."""
        out[self.rows, self.columns] = values


class SaidCosts(Protocol):
    """What the data say that each asset costs: `qn_env.costs.CostTable`, which makes costs of it."""

    @property
    def default_bps(self) -> float | None:
        """Half spread of an asset of which nothing is said."""

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of which it says anything."""

    def of(self, panel: Panel, field: str) -> FloatArray | None:
        """One field as [N] or [T, N], NaN where it is not said; None: of no asset."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Simple returns of N assets in M markets on a union calendar of T days (or bars of another length).

    Build one with `Panel.build`, which checks its input, or with a function of `qn_env.sources`.
    All arrays are read-only. The assets of a market stand side by side.

    Attributes:
        dates: [T] strictly increasing, datetime64[D], of bars within days datetime64[s] in UTC; on each at
            least one asset trades.
        assets: [N] names, unique within a market.
        market_of: [N] market names, each market one contiguous run.
        returns: [T, N] float64 simple return since the asset's previous observation, booked on the later
            day; NaN where it does not trade and on an asset's first price.
        tradable: [T, N] bool, the asset has an observation on that day.
        notes: what a reader of results should know about the data.
        bars_per_year: what is annualised by; spans of features are brought to it. Where it is not 252, a
            day of any setting is a bar.
        own_costs: what trading each asset costs, where the data say it (`qn_env.costs.CostTable`).
    """

    dates: DateArray
    assets: tuple[str, ...]
    market_of: tuple[str, ...]
    returns: FloatArray
    tradable: BoolArray
    notes: tuple[str, ...] = ()
    bars_per_year: float = DAYS_PER_YEAR
    own_costs: SaidCosts | None = None

    def __repr__(self) -> str:
        return f"<Panel: {self.about}>"

    @property
    def about(self) -> str:
        """What it holds, in a line."""
        T, N = self.shape
        span = f", {self.dates[0]} to {self.dates[-1]}" if T else ""
        rows = "days" if self.bars_per_year == DAYS_PER_YEAR else f"bars ({self.bars_per_year:,g} a year)"
        return f"{N} assets in {len(self.markets)} markets, {T} {rows}{span}"

    @classmethod
    def build(
        cls,
        dates: Iterable[DateLike],
        assets: Sequence[str],
        market_of: Sequence[str],
        returns: ArrayLike,
        *,
        tradable: ArrayLike | None = None,
        notes: Iterable[str] = (),
        source: str = "panel",
        bars_per_year: float | None = None,
    ) -> Self:
        """Check arrays, bring the assets of each market together, and freeze them.

        Args:
            dates: [T] days, strictly increasing: datetime64, or what `as_day` takes; or, of bars within days,
                moments in UTC.
            assets: [N] names.
            market_of: [N] the market of each asset.
            returns: [T, N] simple returns, NaN where an asset does not trade.
            tradable: [T, N] bool; default: where a return is present.
            notes: remarks that travel with the panel.
            source: what error messages call this data.
            bars_per_year: rows of a year; None: as the dates of the markets say, where it is plain (252, 365,
                52 or 12, or bars within the sessions of 252 or 365 days), else 252.

        Raises:
            ConfigError: an argument of another type, or bars within days whose number a year is not plain.
            DataError: shapes that disagree, unsorted or repeated dates, a name twice in a market, a return
                that is infinite or not above -1, a return on a day marked as not tradable.
        """
        check_text("source", source)
        assets, market_of = check_names("assets", assets), check_names("market_of", market_of)
        remarks = check_items("notes", notes, lambda one: isinstance(one, str), "a list of sentences")
        days, cut = _days(source, dates)
        values = _numbers("returns", returns)
        _check_shapes(source, days, values, assets, market_of)
        mask = np.isfinite(values) if tradable is None else _mask(tradable, values.shape)
        check_increasing(source, days)
        _check_returns(source, days, assets, values, mask)
        order = _group(market_of)
        names = tuple(str(assets[j]) for j in order)
        groups = tuple(str(market_of[j]) for j in order)
        _check_names(source, names, groups)
        values, mask = values[:, order], mask[:, order]
        keep = mask.any(axis=1)
        remarks += tuple(cut)
        if not keep.all():
            dropped = days[~keep]
            remarks += (
                f"{source}: {len(dropped)} dates without any observation left out, from {dropped[0]}.",
            )
        panel = cls(
            read_only(days[keep]), names, groups, read_only(values[keep]), read_only(mask[keep]), remarks
        )
        return replace(panel, bars_per_year=_bars_per_year(source, panel, bars_per_year))

    @property
    def shape(self) -> tuple[int, int]:
        """(T, N): days of the union calendar and assets."""
        return self.returns.shape[0], self.returns.shape[1]

    @cached_property
    def markets(self) -> dict[str, Market]:
        """The markets by name, in the order of the asset axis."""
        by_name: dict[str, Market] = {}
        labels = np.array(self.market_of)
        for name in dict.fromkeys(self.market_of):
            where = np.flatnonzero(labels == name)
            columns = slice(int(where[0]), int(where[-1]) + 1)
            rows = np.flatnonzero(self.tradable[:, columns].any(axis=1))
            by_name[name] = Market(name, columns, read_only(rows), self.assets[columns])
        return by_name

    @property
    def own_dates(self) -> dict[str, DateArray]:
        """[T_i] by market, the dates on which any of its assets trades."""
        return {name: self.dates[market.rows] for name, market in self.markets.items()}

    @cached_property
    def market_index(self) -> IntArray:
        """[N] the number of each asset's market."""
        names = list(self.markets)
        return read_only(np.array([names.index(m) for m in self.market_of], dtype=np.intp))

    @cached_property
    def listed(self) -> BoolArray:
        """[T, N] the asset is listed at the close of day t: open or closed, but not before or after its life.

        An asset is listed from its first observation up to the day before the market's first trading day
        after its last one; there its delisting is booked. Where the market itself ends, nothing is booked.
        """
        listed = np.zeros(self.shape, dtype=bool)
        for market in self.markets.values():
            if not len(market.rows):
                continue
            alive = _between_first_and_last(market.compact(self.tradable))
            today = np.searchsorted(market.rows, np.arange(len(self.dates)), side="right") - 1
            listed[:, market.columns] = (today >= 0)[:, None] & alive[np.maximum(today, 0)]
        return read_only(listed)

    @cached_property
    def awake(self) -> BoolArray:
        """[T, N] the asset's market has a trading day on day t."""
        awake = np.zeros(self.shape, dtype=bool)
        for market in self.markets.values():
            awake[market.rows, market.columns] = True
        return read_only(awake)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over dates, names and numbers: equal for equal data, whatever its source."""
        digest = hashlib.sha256()
        for array in (self.dates.astype(np.int64), self.returns, self.tradable):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(repr((self.assets, self.market_of)).encode())
        if self.bars_per_year != DAYS_PER_YEAR or is_intraday(self.dates):
            digest.update(repr((self.bars_per_year, str(self.dates.dtype))).encode())
        if self.own_costs is not None:
            for name in self.own_costs.fields:
                rates = self.own_costs.of(self, name)
                digest.update(repr((name, self.own_costs.default_bps)).encode())
                digest.update(b"" if rates is None else np.ascontiguousarray(rates).tobytes())
        return digest.hexdigest()

    def select(self, markets: Iterable[str]) -> Panel:
        """The panel of the named markets on their own union calendar.

        Raises:
            ConfigError: no market, an unknown one, or one twice.
        """
        names = self.known_markets(markets)
        if len(set(names)) < len(names):
            raise ConfigError(f"markets are {', '.join(names)}; expected each once.")
        columns = np.concatenate([np.arange(self.shape[1])[self.markets[n].columns] for n in names])
        return self._take(np.ones(len(self.dates), dtype=bool), columns)

    def known_markets(self, markets: Iterable[str]) -> tuple[str, ...]:
        """The names of markets of this panel, from a list of them or from one name.

        Raises:
            ConfigError: no market, or an unknown one.
        """
        names = check_names("markets", [markets] if isinstance(markets, str) else markets, keys=True)
        if not names:
            raise ConfigError("markets is empty; name at least one.")
        for name in names:
            if name not in self.markets:
                raise ConfigError(f"unknown market {name!r}. {did_you_mean(name, self.markets)}")
        return names

    def until(self, end: Dates) -> Panel:
        """The panel cut after a date, or after a date per market; nothing later is referred to.

        Assets without an observation by then stay as columns that never trade, so that the asset axis of a
        training block and of a test block agree.

        Raises:
            ConfigError: what is no date, or a mapping that leaves a market out.
        """
        ends = per_market(end, self, "end")
        return self._without({name: after(self.dates, ends[name]) for name in self.markets})

    def since(self, begin: Dates) -> Panel:
        """The panel from a date on, or from a date per market; assets stay as columns, as in `until`.

        The first return of an asset is kept: it was earned on the first day that is left.

        Raises:
            ConfigError: as `until`.
        """
        begins = per_market(begin, self, "begin")
        return self._without({name: self.dates < begins[name] for name in self.markets})

    def with_future_scrambled(self, day: DateLike, *, seed: int = 0) -> Panel:
        """The same panel up to `day`; after it other returns, and some observations taken away.

        An asset keeps its last observation, so that what the accounting books after the fact (a delisting)
        keeps its date. What a causal agent does up to `day` is the same on both panels.

        Raises:
            ConfigError: what is no date or no seed.
        """
        rng = np.random.default_rng(check_seed("seed", seed))
        later = after(self.dates, as_moment(day, self.dates, "day"))
        last = len(self.dates) - 1 - np.argmax(self.tradable[::-1], axis=0)
        closed = later[:, None] & self.tradable & (rng.random(self.shape) < 0.1)
        closed[last, np.arange(self.shape[1])] = False
        noise = rng.standard_normal(self.shape) * 0.03
        returns = np.where(
            later[:, None] & np.isfinite(self.returns), np.clip(noise, -0.5, 0.5), self.returns
        )
        tradable = self.tradable & ~closed
        keep = tradable.any(axis=1)
        return replace(
            self,
            dates=read_only(self.dates[keep]),
            returns=read_only(np.where(closed, np.nan, returns)[keep]),
            tradable=read_only(tradable[keep]),
        )

    def feature(self, feature: Feature) -> FloatArray:
        """[T, N] a causal feature on each asset's own trading days; NaN where undefined. Computed once.

        Raises:
            ConfigError: what is no feature.
        """
        return self._evaluate(check_items("feature", (feature,), is_function, "a feature (qn_env.features)"))[
            0
        ]

    def features(self, features: Sequence[Feature]) -> FloatArray:
        """[T, N, F] features side by side, 0 where undefined or not tradable.

        Raises:
            ConfigError: what is no list of features.
        """
        features = check_items("features", features, is_function, "a list of features (qn_env.features)")
        if not features:
            return np.zeros((*self.shape, 0))
        stacked = np.empty((*self.shape, len(features)))
        evaluated = self._evaluate(features)
        rows = max(ROWS_NUMBERS // max(stacked[:1].size, 1), 1)
        for begin in range(0, len(stacked), rows):  # a few rows at a time, which stay in the cache
            block = stacked[begin : begin + rows]
            for k, values in enumerate(evaluated):
                block[..., k] = values[begin : begin + rows]
            np.copyto(block, 0.0, where=~np.isfinite(block))
        return stacked

    def table(self) -> pd.DataFrame:
        """One row per market: assets, trading days, first and last day (QuantNet, Table 2)."""
        rows = []
        for name, market in self.markets.items():
            own = self.dates[market.rows]
            rows.append(
                {
                    "market": name,
                    "assets": len(market.assets),
                    "days": len(own),
                    "first": own[0] if len(own) else np.datetime64("NaT"),
                    "last": own[-1] if len(own) else np.datetime64("NaT"),
                }
            )
        return pd.DataFrame(rows)

    @cached_property
    def _own_rows(self) -> IntArray:
        """[T, N] per asset: the rows it trades on, first to last, then the others."""
        return np.argsort(~self.tradable, axis=0, kind="stable")

    def _blocks(self) -> list[slice]:
        """Columns in blocks whose numbers fit into a processor's cache: features are of one asset each."""
        width = max(BLOCK_NUMBERS // max(len(self.dates), 1), 1)
        return [slice(begin, begin + width) for begin in range(0, self.shape[1], width)]

    def _evaluate(self, features: Sequence[Feature]) -> list[FloatArray]:
        """[T, N] each, evaluated on every asset's own observations, brought to the top of its column."""
        from qn_env.features import evaluate, in_bars

        cache: dict[Feature, FloatArray] = self.__dict__.setdefault("_features", {})
        waiting = [feature for feature in dict.fromkeys(features) if feature not in cache]
        if waiting:
            evaluated = np.full((len(waiting), *self.shape), np.nan)
            spanning = [in_bars(feature, self.bars_per_year) for feature in waiting]
            for columns in self._blocks():
                known: dict[Feature, FloatArray] = {}
                if self.tradable[:, columns].all():  # every day is every asset's own
                    own = self.returns[:, columns].copy()
                    for number, feature in enumerate(spanning):
                        evaluated[number, :, columns] = evaluate(feature, own, known)
                    continue
                rows = self._own_rows[:, columns]
                beyond = np.arange(len(rows))[:, None] >= self.tradable[:, columns].sum(axis=0)
                own = np.take_along_axis(self.returns[:, columns], rows, axis=0)
                for number, feature in enumerate(spanning):
                    values = np.where(beyond, np.nan, evaluate(feature, own, known))
                    np.put_along_axis(evaluated[number, :, columns], rows, values, axis=0)
            cache |= {feature: read_only(values) for feature, values in zip(waiting, evaluated, strict=True)}
        return [cache[feature] for feature in features]

    def _without(self, gone: Mapping[str, BoolArray]) -> Panel:
        """The panel without some rows [T] of each market."""
        returns, tradable = self.returns.copy(), self.tradable.copy()
        for name, market in self.markets.items():
            returns[gone[name], market.columns] = np.nan
            tradable[gone[name], market.columns] = False
        return self.with_observations(returns, tradable)

    def with_observations(self, returns: FloatArray, tradable: BoolArray) -> Panel:
        """The panel of these in place of its own; dates without any observation are left out.

        Args:
            returns: [T, N] as `Panel.returns`.
            tradable: [T, N] as `Panel.tradable`.
        """
        keep = tradable.any(axis=1)
        return replace(
            self,
            dates=read_only(self.dates[keep]),
            returns=read_only(returns[keep]),
            tradable=read_only(tradable[keep]),
        )

    def _take(self, rows: BoolArray, columns: IntArray) -> Panel:
        tradable = self.tradable[:, columns]
        keep = rows & tradable.any(axis=1)
        return replace(
            self,
            dates=read_only(self.dates[keep]),
            assets=tuple(self.assets[j] for j in columns),
            market_of=tuple(self.market_of[j] for j in columns),
            returns=read_only(self.returns[keep][:, columns]),
            tradable=read_only(tradable[keep]),
        )


def per_market(dates: Dates, panel: Panel, name: str = "date") -> dict[str, np.datetime64]:
    """One date for each market of a panel, from one for all of them or from a mapping.

    Args:
        dates: as `as_moment` takes them.
        panel: whose markets they are.
        name: what error messages call the dates.

    Raises:
        ConfigError: what is no date, or a mapping that leaves a market out.
    """
    if not isinstance(dates, Mapping):
        return dict.fromkeys(panel.markets, as_moment(dates, panel.dates, name))
    days: dict[str, np.datetime64] = {}
    for market in panel.markets:
        if market not in dates:
            raise ConfigError(
                f"{name}: no date for market {market!r}; a mapping of dates must name every market."
            )
        days[market] = as_moment(dates[market], panel.dates, f"{name} of market {market!r}")
    return days


def _bars_per_year(source: str, panel: Panel, given: float | None) -> float:
    """What is annualised by: what was given, or what the dates say.

    Raises:
        ConfigError: no such number, or bars within days that leave it open.
    """
    if given is not None:
        return check_number(f"{source}: bars_per_year", given, 1.0, MOST_BARS_PER_YEAR)
    found = infer_bars_per_year(panel.own_dates)
    if found is None:
        raise ConfigError(
            f"{source}: the bars lie within days, and how many a year has cannot be told from them. Say "
            "bars_per_year (on the command line --bars-per-year)."
        )
    return found


def _between_first_and_last(tradable: BoolArray) -> BoolArray:
    """[T, n] True from the first to the last True of each column."""
    seen = np.logical_or.accumulate(tradable, axis=0)
    to_come: BoolArray = np.logical_or.accumulate(tradable[::-1], axis=0)[::-1]
    alive: BoolArray = seen & to_come
    return alive


def _group(market_of: Sequence[str]) -> IntArray:
    """The order that brings the assets of each market together, markets by first appearance."""
    first = {name: i for i, name in reversed(list(enumerate(market_of)))}
    return np.array(sorted(range(len(market_of)), key=lambda j: (first[market_of[j]], j)), dtype=np.intp)


def _days(source: str, dates: Iterable[DateLike]) -> tuple[DateArray, list[str]]:
    """[T] dates from datetime64 or as one may write them, and notes on times and zones."""
    if isinstance(dates, np.ndarray) and dates.dtype.kind == "M" and dates.ndim == 1:
        if np.isnat(dates).any():
            raise DataError(f"{source}: {np.isnat(dates).sum()} dates are NaT, expected a day in every row.")
        if not is_intraday(dates):  # as computed: of any year
            return dates.copy(), []
    listed = check_items("dates", dates, lambda one: True, "a list of days")
    return read_dates(source, pd.Index(listed, dtype=object))


def _numbers(name: str, values: ArrayLike) -> FloatArray:
    """The values as float64, a copy; text that could be read as numbers is refused, too."""
    try:
        array = np.array(values)
    except ValueError as error:  # rows of different lengths
        raise DataError(f"{name}: no array of numbers ({error}).") from error
    if array.dtype.kind not in "fiu" and array.size:
        raise DataError(f"{name} is {in_words(values)} of {array.dtype}, expected an array of numbers.")
    return array.astype(np.float64, copy=False)


def _mask(tradable: ArrayLike, shape: tuple[int, ...]) -> BoolArray:
    try:
        array = np.array(tradable)
    except ValueError as error:
        raise DataError(f"tradable: no array of True and False ({error}).") from error
    if array.shape != shape or array.dtype.kind != "b":
        raise DataError(
            f"tradable is {in_words(tradable)} of {array.dtype} and shape {array.shape}, expected True and "
            f"False in the returns' shape {shape}."
        )
    return array


def _check_shapes(
    source: str, dates: DateArray, returns: FloatArray, assets: Sequence[str], market_of: Sequence[str]
) -> None:
    expected = (len(dates), len(assets))
    if returns.shape != expected or len(market_of) != len(assets) or 0 in expected:
        raise DataError(
            f"{source}: returns have shape {returns.shape} for {len(dates)} dates, {len(assets)} assets and "
            f"{len(market_of)} market labels; expected [dates, assets], none of them empty."
        )


def _check_returns(
    source: str, dates: DateArray, assets: Sequence[str], returns: FloatArray, tradable: BoolArray
) -> None:
    present = ~np.isnan(returns)
    bad = np.argwhere(present & ~((returns > -1.0) & (returns < np.inf)))
    if len(bad):
        t, j = bad[0]
        raise DataError(
            f"{source}: column {assets[j]!r} on {dates[t]}: return is {returns[t, j]}, expected a finite "
            f"number above -1 ({len(bad)} such entries). Fix the data; returns are never clipped."
        )
    stray = np.argwhere(present & ~tradable)
    if len(stray):
        t, j = stray[0]
        raise DataError(
            f"{source}: column {assets[j]!r} on {dates[t]}: a return on a day marked as not tradable "
            f"({len(stray)} such entries)."
        )


def _check_names(source: str, assets: Sequence[str], market_of: Sequence[str]) -> None:
    seen: set[tuple[str, str]] = set()
    for pair in zip(market_of, assets, strict=True):
        if pair in seen:
            raise DataError(
                f"{source}: asset {pair[1]!r} appears twice in market {pair[0]!r}; names must differ."
            )
        seen.add(pair)

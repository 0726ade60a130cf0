"""Panels from data frames of prices or returns, checked at the edge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import pandas as pd

from qn_env.arrays import BoolArray, DateArray, FloatArray
from qn_env.checks import check_is, check_items, check_known, check_names, check_text
from qn_env.costs import CostTable, table_of
from qn_env.dates import read_dates
from qn_env.errors import DataError, few
from qn_env.panel import Panel
from qn_env.sources.bars import refuse_bars
from qn_env.sources.doubts import implausible, with_rhythm
from qn_env.year import is_intraday

Kind = Literal["prices", "returns"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def from_prices(
    frame: pd.DataFrame,
    market_of: Mapping[str, str] | str,
    *,
    source: str = "prices",
    notes: Iterable[str] = (),
    bars_per_year: float | None = None,
) -> Panel:
    """A panel from prices.

    A return runs from an asset's previous observation to its next, however far apart, and is booked on the
    later day. An asset is tradable where it has a price; its first price has no return.

    Args:
        frame: [T, N] positive prices, NaN where an asset does not trade; index of days, columns of assets.
        market_of: the market of each asset, or one name for all.
        source: what error messages call this data.
        notes: remarks that travel with the panel.
        bars_per_year: as of `Panel.build`.

    Raises:
        DataError: dates or numbers that cannot be used as they are.

    Examples:
        >>> prices = pd.DataFrame({"A": [100.0, np.nan, 110.0]}, ["2020-01-01", "2020-01-02", "2020-01-03"])
        >>> prices["B"] = [50.0, 25.0, 50.0]
        >>> from_prices(prices, "US").returns.round(6)
        array([[ nan,  nan],
               [ nan, -0.5],
               [ 0.1,  1. ]])
    """
    return from_frame(
        frame, market_of, kind="prices", source=source, notes=notes, bars_per_year=bars_per_year
    )


def from_returns(
    frame: pd.DataFrame,
    market_of: Mapping[str, str] | str,
    *,
    source: str = "returns",
    notes: Iterable[str] = (),
    bars_per_year: float | None = None,
) -> Panel:
    """A panel from simple returns; an asset is tradable where it has a return.

    Args:
        frame: [T, N] simple returns above -1 (0.01 is one per cent), NaN where an asset does not trade;
            index of days, columns of assets.
        market_of: the market of each asset, or one name for all.
        source: what error messages call this data.
        notes: remarks that travel with the panel.
        bars_per_year: as of `Panel.build`.

    Raises:
        DataError: dates or numbers that cannot be used as they are.
    """
    return from_frame(
        frame, market_of, kind="returns", source=source, notes=notes, bars_per_year=bars_per_year
    )


def from_frame(
    frame: pd.DataFrame,
    market_of: Mapping[str, str] | str,
    *,
    kind: Kind,
    source: str,
    notes: Iterable[str] = (),
    bars_per_year: float | None = None,
) -> Panel:
    """`from_prices` or `from_returns`, by name.

    Args:
        frame: [T, N] numbers, NaN where an asset does not trade; rows in the order of time, or all newest
            first.
        market_of: the market of each asset, or one name for all.
        kind: what the numbers are.
        source: what error messages call this data.
        notes: remarks that travel with the panel.
        bars_per_year: as of `Panel.build`.

    Raises:
        ConfigError: an unknown kind.
        DataError: dates or numbers that cannot be used as they are, or columns that are one asset's bars.
    """
    check_known("kind", kind, KINDS)
    check_text("source", source)
    check_is("frame", frame, pd.DataFrame, "a pandas DataFrame of days by assets")
    assets = [str(name) for name in frame.columns]
    _check_shape(source, frame)
    check_once(source, assets)
    refuse_bars(source, assets)
    markets, stray = _markets(source, assets, market_of)
    dates, cut = read_dates(source, frame.index)
    values = _numbers(source, dates, assets, frame)
    if len(dates) > 2 and (dates[1:] < dates[:-1]).all():
        dates, values = dates[::-1].copy(), values[::-1].copy()
        cut = [*cut, f"{source}: the rows stand newest first; they were read in the order of time."]
    _check_observed(source, assets, values)
    tradable = ~np.isnan(values)
    if kind == "prices":
        _check_prices(source, dates, assets, values)
        values = _returns_between_observations(values)
    doubts = implausible(source, dates, assets, values)
    remarks = (*_sentences(notes), *stray, *cut, *doubts)
    panel = Panel.build(
        dates,
        assets,
        markets,
        values,
        tradable=tradable,
        notes=remarks,
        source=source,
        bars_per_year=bars_per_year,
    )
    return with_rhythm(panel)


def from_market_frames(
    frames: Mapping[str, pd.DataFrame],
    *,
    kind: Kind = "prices",
    source: str = "frames",
    notes: Iterable[str] = (),
    bars_per_year: float | None = None,
) -> Panel:
    """A panel from one frame per market, each on its own calendar; asset names may repeat across markets.

    Args:
        frames: by market, [T_i, n] numbers, NaN where an asset does not trade.
        kind: what the numbers are.
        source: what error messages call this data.
        notes: remarks that travel with the panel.
        bars_per_year: as of `Panel.build`.

    Raises:
        ConfigError: an unknown kind.
        DataError: no frame, or dates or numbers that cannot be used as they are.
    """
    check_text("source", source)
    check_is("frames", frames, Mapping, "a mapping from market to DataFrame")
    check_names("frames", frames.keys())
    panels = [
        from_frame(frame, name, kind=kind, source=f"{source}: market {name!r}", bars_per_year=bars_per_year)
        for name, frame in frames.items()
    ]
    return join(panels, source=source, notes=notes)


def join(panels: Sequence[Panel], *, source: str = "join", notes: Iterable[str] = ()) -> Panel:
    """Panels side by side on the union of their calendars, with all their notes.

    Bars a year are those that they have in common, else what the dates of all say.

    Args:
        panels: at least one; an asset may not occur twice in a market.
        source: what error messages call this data.
        notes: further remarks, put first.

    Raises:
        DataError: no panel, an asset twice in a market, or days beside bars within days.
    """
    check_text("source", source)
    panels = check_items("panels", panels, lambda one: isinstance(one, Panel), "a list of Panels")
    if not panels:
        raise DataError(f"{source}: no market; expected at least one.")
    within = [is_intraday(panel.dates) for panel in panels]
    if any(within) and not all(within):
        few_of = few([name for panel, so in zip(panels, within, strict=True) if so for name in panel.markets])
        raise DataError(
            f"{source}: the markets {few_of} have bars within days, the others days; expected the same "
            "of all."
        )
    dates = np.unique(np.concatenate([panel.dates for panel in panels]))
    assets = [name for panel in panels for name in panel.assets]
    markets = [name for panel in panels for name in panel.market_of]
    returns = np.full((len(dates), len(assets)), np.nan)
    tradable = np.zeros(returns.shape, dtype=bool)
    end = 0
    for panel in panels:
        rows = np.searchsorted(dates, panel.dates)
        begin, end = end, end + len(panel.assets)
        returns[rows, begin:end] = panel.returns
        tradable[rows, begin:end] = panel.tradable
    remarks = list(dict.fromkeys([*_sentences(notes), *(note for panel in panels for note in panel.notes)]))
    tables = [table for panel in panels if (table := table_of(panel)) is not None]
    years = {panel.bars_per_year for panel in panels}
    joined = Panel.build(
        dates,
        assets,
        markets,
        returns,
        tradable=tradable,
        notes=remarks,
        source=source,
        bars_per_year=years.pop() if len(years) == 1 else None,
    )
    if tables:
        rows = pd.concat([table.rows for table in tables], ignore_index=True).drop_duplicates()
        joined = replace(joined, own_costs=CostTable(rows, tables[0].default_bps))
    return with_rhythm(joined, panels)


def check_once(source: str, names: Sequence[str]) -> None:
    """Refuse a column without a name, and a name that occurs twice.

    Raises:
        DataError: the first such column.
    """
    if "" in names:
        raise DataError(
            f"{source}: column {names.index('') + 1} has no name ({names.count('')} such columns); expected "
            "one for each. Name or remove it."
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{source}: column {twice[0]!r} appears {names.count(twice[0])} times ({len(twice)} such names); "
            "expected each name once. Rename or remove the others."
        )


def _sentences(notes: Iterable[str]) -> tuple[str, ...]:
    return check_items("notes", notes, lambda one: isinstance(one, str), "a list of sentences")


def _check_shape(source: str, frame: pd.DataFrame) -> None:
    for count, what in zip(frame.shape, ("rows", "asset columns"), strict=True):
        if not count:
            raise DataError(f"{source}: no {what}; expected one row per day and one column per asset.")


def _markets(
    source: str, assets: list[str], market_of: Mapping[str, str] | str
) -> tuple[list[str], list[str]]:
    """The market of each asset, and a note on those that have a market but no data."""
    if isinstance(market_of, str):
        return [check_text("market_of", market_of)] * len(assets), []
    check_is("market_of", market_of, Mapping, "a mapping from asset to market, or one market's name")
    check_names("market_of", market_of.values())
    known = {str(asset): str(market) for asset, market in market_of.items()}
    missing = [asset for asset in assets if asset not in known]
    if missing:
        raise DataError(
            f"{source}: column {missing[0]!r} has no market ({len(missing)} such columns: {few(missing)}); "
            "expected one for every column. Add them to market_of or remove the columns."
        )
    stray = sorted(set(known) - set(assets))
    note = f"{source}: {len(stray)} assets have a market but no data: {few(stray)}."
    return [known[asset] for asset in assets], [note] if stray else []


def _numbers(source: str, dates: DateArray, assets: list[str], frame: pd.DataFrame) -> FloatArray:
    """[T, N] float64; float32 is widened before any arithmetic."""
    values = np.empty(frame.shape)
    for j, name in enumerate(assets):
        values[:, j] = read_column(source, dates, name, frame.iloc[:, j])
    return values


def read_column(source: str, dates: DateArray, name: str, column: pd.Series) -> FloatArray:
    """[T] the numbers of a column, NaN where it is empty; text that is no number is refused.

    Raises:
        DataError: with the column's name, and the date where it can be told.
    """
    numbers = column
    if not pd.api.types.is_any_real_numeric_dtype(column.dtype):
        flags = column.map(lambda one: isinstance(one, bool | np.bool_)).any()
        # Its name is true of text and of mixed objects; pandas takes True among them for 1.
        if flags or not pd.api.types.is_string_dtype(column.dtype):
            raise DataError(
                f"{source}: column {name!r} holds {column.dtype}, expected numbers. Convert or remove it."
            )
        numbers = pd.to_numeric(column, errors="coerce")
        bad = np.flatnonzero(numbers.isna() & column.notna())
        if len(bad):
            raise DataError(
                f"{source}: column {name!r} on {dates[bad[0]]}: found the text {str(column.iloc[bad[0]])!r}, "
                f"expected a number ({len(bad)} such entries). Correct it, or leave it empty if not traded."
            )
    values: FloatArray = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def _check_observed(source: str, assets: list[str], values: FloatArray) -> None:
    empty = [assets[j] for j in np.flatnonzero(np.isnan(values).all(axis=0))]
    if empty:
        raise DataError(
            f"{source}: column {empty[0]!r} has no observation ({len(empty)} such columns: {few(empty)}); "
            "expected at least one. Remove the column."
        )


def _check_prices(source: str, dates: DateArray, assets: list[str], prices: FloatArray) -> None:
    bad: BoolArray = ~np.isnan(prices) & ~((prices > 0) & (prices < np.inf))
    if not bad.any():
        return
    t, j = np.argwhere(bad)[0]
    hint = (
        ' Negative numbers look like returns: if they are, read them with kind="returns" (on the command '
        "line --kind returns) or from_returns, and rename a file named prices to returns."
    )
    raise DataError(
        f"{source}: column {assets[j]!r} on {dates[t]}: price is {prices[t, j]}, expected a positive finite "
        f"number ({int(bad.sum())} such entries). Correct it, or leave it empty if not traded; prices are "
        f"never filled silently.{hint if (prices < 0).any() else ''}"
    )


def _returns_between_observations(prices: FloatArray) -> FloatArray:
    """[T, N] simple return since each asset's previous price, on the later day."""
    previous = pd.DataFrame(prices).ffill().shift().to_numpy()
    with np.errstate(over="ignore"):  # an infinite return is refused with its name and date by Panel.build
        returns: FloatArray = prices / previous - 1.0
    return returns

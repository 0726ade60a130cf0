"""What trading and holding cost: small objects that add up, each a formula of turnover or weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeGuard

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from qn_env.arrays import BoolArray, FloatArray
from qn_env.checks import (
    MOST_COST_BPS,
    MOST_FEE_BPS,
    MOST_MONEY,
    as_array,
    check_is,
    check_items,
    check_number,
    in_words,
)
from qn_env.economics import BASIS_POINT, Costs
from qn_env.errors import ConfigError, few
from qn_env.features import EwVolatility
from qn_env.panel import Panel

PerAsset: TypeAlias = float | Mapping[str, float] | ArrayLike
PerDay: TypeAlias = PerAsset | pd.DataFrame

# What a table of costs may say of an asset: basis points of the traded value (the first two) and of the held
# value a year (the next two), and the money that is traded in it a bar.
COST_FIELDS = ("half_spread_bps", "commission_bps", "borrow_bps", "financing_bps", "volume")
_FEES = ("borrow_bps", "financing_bps")

MOST_COEFFICIENT = 1e3  # of an impact; estimates are near 1


class Cost(Protocol):
    """A cost that knows its rates on a panel."""

    def rates(self, panel: Panel) -> Costs[FloatArray]:
        """Rates per asset [N], or per day and asset [T, N].

        Row t is known at the close of day t: a trade at that close pays it, and so does a weight held from
        there to the market's next trading day. Only an asset's own days are read: where it is closed, what
        it is charged is the rate of its last own day.
        """


@dataclass(frozen=True, eq=False)
class Proportional:
    """`bps` basis points per unit of turnover: one for all, per asset, or per day and asset (`per_day`).

    Examples:
        >>> from qn_env.sources.synthetic import noise
        >>> panel = noise(markets=1, assets=2, days=3, seed=0)
        >>> table = pd.DataFrame({"A0": [2.0, 8.0, 2.0], "A1": 1.0}, pd.DatetimeIndex(panel.dates))
        >>> Proportional(table).rates(panel).turnover.round(6).tolist()
        [[0.0002, 0.0001], [0.0008, 0.0001], [0.0002, 0.0001]]
    """

    bps: PerDay

    def __post_init__(self) -> None:
        check_per_day("cost_bps", self.bps, MOST_COST_BPS)

    def rates(self, panel: Panel) -> Costs[FloatArray]:
        """Rates [N] or [T, N]."""
        return Costs(per_day("cost_bps", self.bps, panel, MOST_COST_BPS) * BASIS_POINT)


@dataclass(frozen=True, eq=False)
class HalfSpread:
    """Half the bid-ask spread, in basis points of the price, paid on every trade: always adverse.

    One for all, per asset, or per day and asset (`per_day`).
    """

    half_spread_bps: PerDay

    def __post_init__(self) -> None:
        check_per_day("half_spread_bps", self.half_spread_bps, MOST_COST_BPS)

    def rates(self, panel: Panel) -> Costs[FloatArray]:
        """Rates [N] or [T, N]."""
        return Costs(per_day("half_spread_bps", self.half_spread_bps, panel, MOST_COST_BPS) * BASIS_POINT)


@dataclass(frozen=True, eq=False)
class SquareRootImpact:
    """Square-root impact: coefficient * sigma_t * sqrt(capital * turnover / volume) per unit of turnover.

    Grinold and Kahn (2000), Almgren et al. (2005). `sigma_t` is the EW volatility of a bar known at t; where
    there is no estimate yet the impact is zero.
    """

    capital: float  # money behind a weight of 1 in one asset
    volume: PerAsset  # traded value of a bar (of a day, where bars are days), in the same money
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_number("SquareRootImpact: capital", self.capital, 0.0, MOST_MONEY)
        check_number("SquareRootImpact: coefficient", self.coefficient, 0.0, MOST_COEFFICIENT)
        if not (check_per_asset("SquareRootImpact: volume", self.volume, MOST_MONEY) > 0.0).all():
            raise ConfigError("SquareRootImpact: volume must be > 0 for every asset.")

    def rates(self, panel: Panel) -> Costs[FloatArray]:
        """Rates per day and asset [T, N]."""
        return _square_root(panel, self.capital, per_asset("volume", self.volume, panel), self.coefficient)


@dataclass(frozen=True, eq=False)
class Borrow:
    """Fee on short weights, `annual_bps` a year, charged on every trading day of the market.

    One for all, per asset, or per day and asset (`per_day`).
    """

    annual_bps: PerDay

    def __post_init__(self) -> None:
        check_per_day("annual_bps", self.annual_bps, MOST_FEE_BPS)

    def rates(self, panel: Panel) -> Costs[FloatArray]:
        """Daily rates [N] or [T, N]."""
        return Costs(np.zeros(panel.shape[1]), short=_daily(self.annual_bps, panel))


@dataclass(frozen=True, eq=False)
class Financing:
    """Interest on long weights, `annual_bps` a year, charged on every trading day of the market.

    One for all, per asset, or per day and asset (`per_day`).
    """

    annual_bps: PerDay

    def __post_init__(self) -> None:
        check_per_day("annual_bps", self.annual_bps, MOST_FEE_BPS)

    def rates(self, panel: Panel) -> Costs[FloatArray]:
        """Daily rates [N] or [T, N]."""
        return Costs(np.zeros(panel.shape[1]), long=_daily(self.annual_bps, panel))


@dataclass(frozen=True, eq=False)
class CostTable:
    """What trading and holding every asset costs, as the data say; `costs` makes the costs of a panel of it.

    Attributes:
        rows: date (NaT: from the first day on), market ("" where the asset's name is enough), asset, and any
            of `COST_FIELDS`, NaN where it is not said. A value is in force from its date until the next.
        default_bps: half spread, in basis points, of an asset on a day of which neither spread nor commission
            is said; None: such an asset is refused.
    """

    rows: pd.DataFrame
    default_bps: float | None = None

    def __post_init__(self) -> None:
        check_is("rows", self.rows, pd.DataFrame, "a DataFrame")
        known = {"date", "market", "asset", *COST_FIELDS}
        lacking = sorted({"date", "market", "asset"} - set(self.rows))
        if lacking or set(self.rows) - known or not set(self.rows) & set(COST_FIELDS):
            raise ConfigError(
                f"a table of costs has the columns {', '.join(map(str, self.rows))}; expected date, market, "
                f"asset and any of {', '.join(COST_FIELDS)}."
            )
        twice = self.rows.duplicated(["date", "market", "asset"])
        if twice.any():
            row = self.rows[twice].iloc[0]
            raise ConfigError(
                f"a table of costs has {row['asset']!r} twice"
                + ("" if pd.isna(row["date"]) else f" on {row['date']:%Y-%m-%d}")
                + f" ({int(twice.sum())} such rows); expected one row each."
            )
        for name in self.fields:
            most = MOST_MONEY if name == "volume" else MOST_FEE_BPS if name in _FEES else MOST_COST_BPS
            values = self.rows[name].to_numpy(dtype=np.float64)
            bad = np.flatnonzero(~np.isnan(values) & _outside(values, most))
            if len(bad):
                asset = self.rows["asset"].iloc[bad[0]]
                raise ConfigError(
                    f"{name} is {values[bad[0]]} for asset {asset!r}, expected {_bounds(most)}."
                )
        if self.default_bps is not None:
            check_number("cost_default", self.default_bps, 0.0, MOST_COST_BPS)

    @classmethod
    def empty(cls) -> CostTable:
        """A table that says nothing."""
        columns = {"date": "datetime64[s]", "market": str, "asset": str, "half_spread_bps": float}
        return cls(pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()}))

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of which it says anything."""
        return tuple(name for name in COST_FIELDS if name in self.rows)

    def of(self, panel: Panel, field: str) -> FloatArray | None:
        """One field as [N], or [T, N] where it has dates; NaN where it is not said; None: of no asset."""
        if field not in self.rows:
            return None
        said = self.rows[self.rows[field].notna()]
        by_asset = dict(iter(said.groupby(["market", "asset"], sort=False)))
        columns = [
            by_asset.get((market, asset), by_asset.get(("", asset)))
            for market, asset in zip(panel.market_of, panel.assets, strict=True)
        ]
        if all(rows is None for rows in columns):
            return None
        if said["date"].isna().all():
            return np.array([np.nan if rows is None else float(rows[field].iloc[0]) for rows in columns])
        table = np.full(panel.shape, np.nan)
        for j, rows in enumerate(columns):
            if rows is None:
                continue
            ordered = rows.sort_values("date", na_position="first")
            since = ordered["date"].fillna(pd.Timestamp(panel.dates[0])).to_numpy().astype(panel.dates.dtype)
            place = np.searchsorted(since, panel.dates, side="right") - 1
            values = ordered[field].to_numpy(dtype=np.float64)
            table[:, j] = np.where(place >= 0, values[place.clip(0)], np.nan)
        return table

    def costs(self, panel: Panel) -> tuple[Cost, ...]:
        """The costs of a panel's assets: half spread and commission on turnover, borrow and financing fees.

        Raises:
            ConfigError: an asset of the panel without spread and commission on a day it trades.
        """
        spread, commission = self.of(panel, "half_spread_bps"), self.of(panel, "commission_bps")
        unsaid = np.ones(panel.shape, dtype=bool)
        for said in (spread, commission):
            if said is not None:
                unsaid &= np.isnan(said)
        missing = unsaid & panel.tradable
        if missing.any():
            if self.default_bps is None:
                t, j = np.argwhere(missing)[0]
                names = [panel.assets[k] for k in np.flatnonzero(missing.any(axis=0))]
                raise ConfigError(
                    f"no cost for asset {panel.assets[j]!r} on {panel.dates[t]} ({len(names)} such assets: "
                    f"{few(names)}); expected half_spread_bps or commission_bps. Add it, or say "
                    "--cost-default BPS (default_bps)."
                )
            known = np.zeros(panel.shape) if spread is None else np.nan_to_num(spread, nan=0.0)
            filled = np.where(unsaid, self.default_bps, known)
            spread = filled[0] if (filled == filled[0]).all() else filled  # one for each where no day differs
        made: list[Cost] = []
        for kind, values in (
            (HalfSpread, spread),
            (Proportional, commission),
            (Borrow, self.of(panel, "borrow_bps")),
            (Financing, self.of(panel, "financing_bps")),
        ):
            if values is not None:
                made.append(kind(np.nan_to_num(values, nan=0.0)))
        return tuple(made)


@dataclass(frozen=True, eq=False)
class SaidImpact:
    """`SquareRootImpact` with the volumes of a table, which may change over time.

    coefficient * sigma_t * sqrt(capital * turnover / volume) per unit of turnover, `capital` being the money
    behind a weight of 1 in one asset.
    """

    table: CostTable
    capital: float = 1.0
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_is("SaidImpact: table", self.table, CostTable, "a CostTable")
        check_number("SaidImpact: capital", self.capital, 0.0, MOST_MONEY)
        check_number("SaidImpact: coefficient", self.coefficient, 0.0, MOST_COEFFICIENT)

    def rates(self, panel: Panel) -> Costs[FloatArray]:
        """Rates per day and asset [T, N].

        Raises:
            ConfigError: an asset without a volume on a day it trades.
        """
        volume = _volume(self.table, panel)
        missing = panel.tradable & ~(volume > 0.0)
        if missing.any():
            t, j = np.argwhere(missing)[0]
            raise ConfigError(
                f"no volume for asset {panel.assets[j]!r} on {panel.dates[t]} "
                f"({int(missing.any(axis=0).sum())} such assets); expected the money that is traded in it a "
                "bar, above 0, in the column volume of meta or of the table of costs."
            )
        return _square_root(panel, self.capital, np.where(volume > 0.0, volume, 1.0), self.coefficient)


def own_impact(panel: Panel) -> SaidImpact | None:
    """The impact of a panel's own volumes, of a capital of 1; None where they do not tell of every asset."""
    table = table_of(panel)
    if table is None or (panel.tradable & ~(_volume(table, panel) > 0.0)).any():
        return None
    return SaidImpact(table)


def _volume(table: CostTable, panel: Panel) -> FloatArray:
    """[N] or [T, N] what is traded in each asset, NaN where it is not known."""
    volume = table.of(panel, "volume")
    return np.full(panel.shape[1], np.nan) if volume is None else volume


def _square_root(panel: Panel, capital: float, volume: FloatArray, coefficient: float) -> Costs[FloatArray]:
    """The rates of a square-root impact, of volumes [N] or [T, N]."""
    sigma = np.nan_to_num(panel.feature(EwVolatility()), nan=0.0)
    return Costs(np.zeros(panel.shape[1]), impact=coefficient * sigma * np.sqrt(capital / volume))


def table_of(panel: Panel) -> CostTable | None:
    """What the data of a panel say that each asset costs; None where they say nothing.

    Raises:
        ConfigError: `own_costs` is no table of costs.
    """
    table = panel.own_costs
    if table is None or isinstance(table, CostTable):
        return table
    raise ConfigError(f"own_costs is {in_words(table)}, expected a CostTable (qn_env.costs).")


def own_costs(panel: Panel) -> tuple[Cost, ...]:
    """What the data of a panel say that each asset costs, as costs; none where they say nothing.

    Raises:
        ConfigError: as `CostTable.costs`.
    """
    table = table_of(panel)
    return () if table is None else table.costs(panel)


def _daily(annual_bps: PerDay, panel: Panel) -> FloatArray:
    """[N] or [T, N] decimal rate per bar of a yearly fee in basis points."""
    return per_day("annual_bps", annual_bps, panel, MOST_FEE_BPS) * BASIS_POINT / panel.bars_per_year


def total(costs: Sequence[Cost], panel: Panel) -> Costs[FloatArray]:
    """All costs together; a rate that is zero everywhere is absent.

    Raises:
        ConfigError: what is no list of costs, or a cost whose rates cannot be used.
    """
    charged = [_rates(cost, panel) for cost in check_costs(costs)]

    def add_costs(parts: list[FloatArray | None]) -> FloatArray | None:
        present = [part for part in parts if part is not None]
        rate = sum(present[1:], present[0]) if present else None
        return rate if rate is not None and rate.any() else None

    turnover = sum((c.turnover for c in charged), np.zeros(panel.shape[1]))
    return Costs(
        turnover, *(add_costs([getattr(c, name) for c in charged]) for name in ("impact", "short", "long"))
    )


def _rates(cost: Cost, panel: Panel) -> Costs[FloatArray]:
    """The rates of a cost, which may be a user's own: finite numbers, for all, per asset, or per day too."""
    name, rates = type(cost).__name__, cost.rates(panel)
    check_is(f"{name}.rates", rates, Costs, "Costs (qn_env.economics)")
    shapes = ((), panel.shape[1:], panel.shape)
    for part, given in zip(rates._fields, rates, strict=True):
        rate = as_array(0.0 if given is None and part != "turnover" else given)
        if rate.shape not in shapes or rate.dtype.kind not in "fiu" or not np.isfinite(rate).all():
            raise ConfigError(
                f"{name}.rates: {part} is {in_words(given)} of shape {rate.shape}, expected finite numbers: "
                f"one, {list(shapes[1])} or {list(shapes[2])}."
            )
    return rates.each(lambda rate: np.asarray(rate) + np.zeros(panel.shape[1]))  # one for all: one for each


def check_costs(costs: Sequence[Cost]) -> tuple[Cost, ...]:
    """A list of costs.

    Raises:
        ConfigError: what is no list, or holds what has no rates.
    """

    def is_cost(one: object) -> bool:
        return not isinstance(one, type) and callable(getattr(one, "rates", None))

    return check_items("costs", costs, is_cost, "a list of costs (qn_env.costs)")


def per_asset(name: str, value: PerAsset, panel: Panel, most: float = np.inf) -> FloatArray:
    """[N] numbers, one for all assets, from a mapping by asset name, or from an array.

    Raises:
        ConfigError: an asset left out, another number of values, a value that is negative, not finite, above
            `most` or no number at all.
    """
    check_is("panel", panel, Panel, "a Panel")
    given = check_per_asset(name, value, most)
    if isinstance(value, Mapping):
        missing = [asset for asset in panel.assets if asset not in value]
        if missing:
            raise ConfigError(f"{name}: no value for asset {missing[0]!r} ({len(missing)} left out).")
        return np.array([value[asset] for asset in panel.assets], dtype=np.float64)
    if given.shape not in ((), (panel.shape[1],)):
        raise ConfigError(f"{name} has shape {given.shape}, expected one number or [{panel.shape[1]}].")
    numbers = np.broadcast_to(given, (panel.shape[1],)).copy()
    _check_bounds(name, numbers, panel.assets, most)
    return numbers


def check_per_asset(name: str, value: PerAsset, most: float = np.inf) -> FloatArray:
    """The numbers of a value per asset, () or [n], checked as far as that can be done without a panel.

    Raises:
        ConfigError: what is no number, no numbers by name and no array [n]; and a number that is negative,
            not finite or above `most` (of an array once a panel names its assets).
    """
    names = list(value) if isinstance(value, Mapping) else None
    try:
        numbers = np.asarray(list(value.values()) if isinstance(value, Mapping) else value)
    except ValueError as error:  # rows of different lengths
        raise ConfigError(f"{name} is no array of numbers ({error}).") from error
    if numbers.dtype.kind not in "iuf" or numbers.ndim > 1:
        raise ConfigError(
            f"{name} is {in_words(value)}, expected a number, numbers by asset name, or one per asset [N]."
        )
    values: FloatArray = numbers.astype(np.float64)
    if names is not None:
        _check_bounds(name, values, names, most)
    elif not values.ndim:
        check_number(name, float(values), 0.0, most)
    return values


def _check_bounds(name: str, numbers: FloatArray, assets: Sequence[str], most: float) -> None:
    bad = np.flatnonzero(_outside(numbers, most))
    if len(bad):
        raise ConfigError(
            f"{name} is {numbers[bad[0]]} for asset {assets[bad[0]]!r}, expected {_bounds(most)}."
        )


def _outside(numbers: FloatArray, most: float) -> BoolArray:
    """Which numbers are no cost; written so that NaN is none."""
    outside: BoolArray = ~((numbers >= 0.0) & (numbers <= most) & (numbers < np.inf))
    return outside


def _bounds(most: float) -> str:
    return f"a number >= 0 and {f'at most {most:g}' if most < np.inf else 'finite'}"


def per_day(name: str, value: PerDay, panel: Panel, most: float = np.inf) -> FloatArray:
    """[N] numbers as in `per_asset`; or [T, N] from a frame of dates by assets, or from an array.

    A frame's columns are asset names, or pairs (market, asset) where two markets share a name. It may cover
    more dates and assets than the panel, so it also fits every part of the panel; an array [T, N] fits the
    panel alone, its assets in the panel's order. What is said of days on which an asset does not trade is not
    read, and 0 here.

    Raises:
        ConfigError: as in `per_asset`; an index that is not of dates, a date or a name that appears twice, an
            asset left out, an array of another shape, a value that is missing, negative, not finite or above
            `most` on a day its asset trades.
    """
    if not _is_table(value):
        return per_asset(name, value, panel, most)
    check_is("panel", panel, Panel, "a Panel")
    check_per_day(name, value, most)
    table = (
        _align_to_panel(name, value, panel)
        if isinstance(value, pd.DataFrame)
        else np.asarray(value, np.float64)
    )
    if table.shape != panel.shape:
        raise ConfigError(f"{name} has shape {table.shape}, expected days by assets, {panel.shape}.")
    bad = panel.tradable & _outside(table, most)
    if bad.any():
        t, j = np.argwhere(bad)[0]
        raise ConfigError(
            f"{name} is {table[t, j]} for asset {panel.assets[j]!r} on {panel.dates[t]}, expected "
            f"{_bounds(most)} on every day it trades ({bad.sum()} such entries)."
        )
    return np.where(panel.tradable, table, 0.0)


def check_per_day(name: str, value: PerDay, most: float = np.inf) -> None:
    """`check_per_asset`, or of a table that it holds numbers, before a panel says which of them are read.

    Raises:
        ConfigError: as in `check_per_asset`, and a table that holds something else than numbers.
    """
    if not _is_table(value):
        check_per_asset(name, value, most)
        return
    kinds = value.dtypes if isinstance(value, pd.DataFrame) else [np.asarray(value).dtype]
    wrong = [kind for kind in kinds if kind.kind not in "iuf"]
    if wrong:
        raise ConfigError(f"{name} holds {wrong[0]}, expected numbers, by date and asset.")


def _is_table(value: object) -> TypeGuard[pd.DataFrame | FloatArray]:
    """Whether a value says a number for every day and asset."""
    return isinstance(value, pd.DataFrame) or (isinstance(value, np.ndarray) and value.ndim == 2)


def _align_to_panel(name: str, frame: pd.DataFrame, panel: Panel) -> FloatArray:
    """[T, N] the frame's numbers on the panel's dates and assets, NaN on a date that it does not have."""
    if not isinstance(frame.index, pd.DatetimeIndex) or frame.index.tz is not None:
        raise ConfigError(
            f"{name}: the index is {frame.index.dtype}, expected dates without a time zone (pd.to_datetime)."
        )
    for what, labels in (("date", frame.index), ("asset", frame.columns)):
        if not labels.is_unique:
            raise ConfigError(f"{name}: {what} {labels[labels.duplicated()][0]!s} appears twice.")
    named = frame.columns.nlevels == 1
    wanted: list[object] = (
        list(panel.assets) if named else list(zip(panel.market_of, panel.assets, strict=True))
    )
    missing = [label for label in wanted if label not in frame.columns]
    if missing:
        raise ConfigError(f"{name}: no column for asset {missing[0]!r} ({len(missing)} left out).")
    values: FloatArray = (
        frame.reindex(pd.DatetimeIndex(panel.dates)).loc[:, wanted].to_numpy(dtype=np.float64)
    )
    return values

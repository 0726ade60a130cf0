"""What trading and holding cost: small objects that add up, each a formula of turnover or weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from qn_env.arrays import FloatArray
from qn_env.checks import MOST_COST_BPS, MOST_FEE_BPS, as_array, check_is, check_items, check_number, in_words
from qn_env.economics import BASIS_POINT, Costs
from qn_env.errors import ConfigError
from qn_env.features import DAYS_PER_YEAR, EwVolatility
from qn_env.panel import Panel

PerAsset = float | Mapping[str, float] | ArrayLike

MOST_MONEY = 1e18  # beyond all the money there is, in any currency
MOST_COEFFICIENT = 1e3  # of an impact; estimates are near 1


class Cost(Protocol):
    """A cost that knows its rates on a panel."""

    def rates(self, panel: Panel) -> Costs[Any]:
        """Rates per asset [N], or per day and asset [T, N]."""


@dataclass(frozen=True, eq=False)
class Proportional:
    """`bps` basis points per unit of turnover, one for all or per asset."""

    bps: PerAsset

    def __post_init__(self) -> None:
        check_per_asset("cost_bps", self.bps, MOST_COST_BPS)

    def rates(self, panel: Panel) -> Costs[Any]:
        """Rates per asset [N]."""
        return Costs(per_asset("cost_bps", self.bps, panel) * BASIS_POINT)


@dataclass(frozen=True, eq=False)
class HalfSpread:
    """Half the bid-ask spread, in basis points of the price, paid on every trade: always adverse."""

    half_spread_bps: PerAsset

    def __post_init__(self) -> None:
        check_per_asset("half_spread_bps", self.half_spread_bps, MOST_COST_BPS)

    def rates(self, panel: Panel) -> Costs[Any]:
        """Rates per asset [N]."""
        return Costs(per_asset("half_spread_bps", self.half_spread_bps, panel) * BASIS_POINT)


@dataclass(frozen=True, eq=False)
class SquareRootImpact:
    """Square-root impact: coefficient * sigma_t * sqrt(capital * turnover / volume) per unit of turnover.

    Grinold and Kahn (2000), Almgren et al. (2005). `sigma_t` is the daily EW volatility known at t; where
    there is no estimate yet the impact is zero.
    """

    capital: float  # money behind a weight of 1 in one asset
    volume: PerAsset  # daily traded value, in the same money
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_number("SquareRootImpact: capital", self.capital, 0.0, MOST_MONEY)
        check_number("SquareRootImpact: coefficient", self.coefficient, 0.0, MOST_COEFFICIENT)
        if not (check_per_asset("SquareRootImpact: volume", self.volume, MOST_MONEY) > 0.0).all():
            raise ConfigError("SquareRootImpact: volume must be > 0 for every asset.")

    def rates(self, panel: Panel) -> Costs[Any]:
        """Rates per day and asset [T, N]."""
        volume = per_asset("volume", self.volume, panel)
        sigma = np.nan_to_num(panel.feature(EwVolatility()), nan=0.0)
        return Costs(
            np.zeros(panel.shape[1]), impact=self.coefficient * sigma * np.sqrt(self.capital / volume)
        )


@dataclass(frozen=True, eq=False)
class Borrow:
    """Fee on short weights, `annual_bps` a year, charged on every trading day of the market."""

    annual_bps: PerAsset

    def __post_init__(self) -> None:
        check_per_asset("annual_bps", self.annual_bps, MOST_FEE_BPS)

    def rates(self, panel: Panel) -> Costs[Any]:
        """Daily rates per asset [N]."""
        return Costs(np.zeros(panel.shape[1]), short=_daily(self.annual_bps, panel))


@dataclass(frozen=True, eq=False)
class Financing:
    """Interest on long weights, `annual_bps` a year, charged on every trading day of the market."""

    annual_bps: PerAsset

    def __post_init__(self) -> None:
        check_per_asset("annual_bps", self.annual_bps, MOST_FEE_BPS)

    def rates(self, panel: Panel) -> Costs[Any]:
        """Daily rates per asset [N]."""
        return Costs(np.zeros(panel.shape[1]), long=_daily(self.annual_bps, panel))


def _daily(annual_bps: PerAsset, panel: Panel) -> FloatArray:
    """[N] decimal rate per trading day of a yearly fee in basis points."""
    return per_asset("annual_bps", annual_bps, panel) * BASIS_POINT / DAYS_PER_YEAR


def total(costs: Sequence[Cost], panel: Panel) -> Costs[FloatArray]:
    """All costs together; a rate that is zero everywhere is absent.

    Raises:
        ConfigError: what is no list of costs, or a cost whose rates cannot be used.
    """
    found = [_rates(cost, panel) for cost in check_costs(costs)]

    def added(parts: list[Any]) -> FloatArray | None:
        present = [part for part in parts if part is not None]
        rate = sum(present[1:], present[0]) if present else None
        return rate if rate is not None and rate.any() else None

    turnover = sum((c.turnover for c in found), np.zeros(panel.shape[1]))
    return Costs(
        turnover, *(added([getattr(c, name) for c in found]) for name in ("impact", "short", "long"))
    )


def _rates(cost: Cost, panel: Panel) -> Costs[Any]:
    """The rates of a cost, which may be a user's own: finite numbers, for all, per asset, or per day too."""
    name, found = type(cost).__name__, cost.rates(panel)
    check_is(f"{name}.rates", found, Costs, "Costs (qn_env.economics)")
    shapes = ((), panel.shape[1:], panel.shape)
    for part, given in zip(found._fields, found, strict=True):
        rate = as_array(0.0 if given is None and part != "turnover" else given)
        if rate.shape not in shapes or rate.dtype.kind not in "fiu" or not np.isfinite(rate).all():
            raise ConfigError(
                f"{name}.rates: {part} is {in_words(given)} of shape {rate.shape}, expected finite numbers: "
                f"one, {list(shapes[1])} or {list(shapes[2])}."
            )
    return found.each(np.asarray)


def check_costs(costs: Sequence[Cost]) -> tuple[Cost, ...]:
    """A list of costs.

    Raises:
        ConfigError: what is no list, or holds what has no rates.
    """

    def is_cost(one: Any) -> bool:
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
    # The bounds are written so that NaN fails them.
    bad = np.flatnonzero(~((numbers >= 0.0) & (numbers <= most) & (numbers < np.inf)))
    if len(bad):
        bound = f" and at most {most:g}" if most < np.inf else " and finite"
        raise ConfigError(
            f"{name} is {numbers[bad[0]]} for asset {assets[bad[0]]!r}, expected a number >= 0{bound}."
        )

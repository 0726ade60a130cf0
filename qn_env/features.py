"""Causal transforms of one asset's own history: volatility, momentum, MACD trend, winsorising.

A feature is called with returns on each asset's own trading days, one column per asset, the first
observation in row 0 and NaN below the last one, and returns an array of the same shape. Row t uses rows up
to t only. `Panel.feature` does the lining up, so that a holiday never counts as a day.

Spans are written in trading days, of which a year has 252. Called on its own, a feature takes a row for such
a day; a panel whose bars are others evaluates what `in_bars` makes of it, which looks as far back in time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self, runtime_checkable

import numpy as np
import pandas as pd

from qn_env.arrays import BoolArray, FloatArray
from qn_env.checks import MOST_BARS, as_array, check_is, check_number, check_whole, in_words, is_function
from qn_env.errors import ConfigError
from qn_env.year import DAYS_PER_YEAR, bars_in, decay_a_bar

# A standard deviation below this is a price that does not move, not an estimate of risk.
SMALLEST_VOLATILITY = 1e-8

# From here on a moving sum of weights is taken in the frequency domain: directly it would take hours.
LONG_WINDOW = 2_000

MOST_WIDTH = 1e6  # standard deviations; nothing is clipped long before

Feature = Callable[[FloatArray], FloatArray]


@runtime_checkable
class Spanning(Protocol):
    """A feature whose spans are time, so that other bars need another number of them."""

    def in_bars(self, bars_per_year: float) -> Feature:
        """The feature of the same spans where a year has so many bars."""


def in_bars(feature: Feature, bars_per_year: float) -> Feature:
    """A feature on bars of which a year has so many; one that is a plain function stays as it is.

    Examples:
        >>> in_bars(MeanReturn(252), 52), in_bars(MeanReturn(252), 252)
        (MeanReturn(days=52), MeanReturn(days=252))
    """
    if bars_per_year == DAYS_PER_YEAR or not isinstance(feature, Spanning):
        return feature
    return feature.in_bars(bars_per_year)


def _span_in_bars(span: float, bars_per_year: float) -> float:
    """The span of an exponential weighting, alpha = 2 / (span + 1), that forgets as much in the same time."""
    alpha = 1.0 - decay_a_bar(1.0 - 2.0 / (span + 1.0), bars_per_year)
    return 2.0 / alpha - 1.0


def _scale_in_bars(scale: float, bars_per_year: float) -> float:
    """The same of a weighting with alpha = 1 / scale."""
    return 1.0 / (1.0 - decay_a_bar(1.0 - 1.0 / scale, bars_per_year))


class Derived(ABC):
    """A feature made of others, which `evaluate` computes once for all that share them."""

    @property
    @abstractmethod
    def parts(self) -> tuple[Feature, ...]:
        """What it is made of."""

    @abstractmethod
    def combine(self, returns: FloatArray, *parts: FloatArray) -> FloatArray:
        """The feature [T, N] from returns [T, N] and its parts, each [T, N]."""

    def __call__(self, returns: FloatArray) -> FloatArray:
        """Evaluate on returns [T, N]."""
        return evaluate(self, returns, {})


def evaluate(feature: Feature, returns: FloatArray, known: dict[Feature, FloatArray]) -> FloatArray:
    """A feature of `returns` [T, N]; it and its parts are taken from `known`, or computed and put there.

    Raises:
        ConfigError: a feature whose values are no numbers [T, N].
    """
    if feature not in known:
        if isinstance(feature, Derived):
            parts = [evaluate(part, returns, known) for part in feature.parts]
            known[feature] = feature.combine(returns, *parts)
        else:
            known[feature] = _values(feature, feature(returns), returns.shape)
    return known[feature]


def _values(feature: Feature, given: object, shape: tuple[int, ...]) -> FloatArray:
    """What a feature gave, which may be a user's function: None would be taken for undefined everywhere."""
    values = as_array(given)
    if values.shape != shape or values.dtype.kind not in "fiub":
        name = getattr(feature, "__name__", type(feature).__name__)
        raise ConfigError(
            f"feature {name} gave {in_words(given)} of shape {values.shape}, expected numbers in the shape "
            f"of the returns it was given, {shape}."
        )
    return values


@dataclass(frozen=True)
class EwVolatility:
    """Exponentially weighted standard deviation of daily returns, [T, N], of a bar, decimal.

    The ex-ante volatility of Lim et al. (2019): pandas `ewm(span=60).std()`. NaN before `min_days` returns.
    """

    span: float = 60
    min_days: int = 21

    def __post_init__(self) -> None:
        _check_span(self, "span")
        _check_days(self, "min_days")

    def in_bars(self, bars_per_year: float) -> Self:
        """The feature of the same spans where a year has so many bars."""
        span = _span_in_bars(self.span, bars_per_year)
        return replace(self, span=span, min_days=bars_in(self.min_days, bars_per_year, 2))

    def __call__(self, returns: FloatArray) -> FloatArray:
        """Evaluate on returns [T, N]."""
        frame = pd.DataFrame(returns)
        volatility = frame.ewm(span=self.span, min_periods=self.min_days).std().to_numpy()
        return np.where(volatility > SMALLEST_VOLATILITY, volatility, np.nan)


@dataclass(frozen=True)
class MeanReturn:
    """Mean of the last `days` daily returns, [T, N] (QuantNet, Eq. 10)."""

    days: int = 252

    def __post_init__(self) -> None:
        _check_days(self, "days")

    def in_bars(self, bars_per_year: float) -> Self:
        """The feature of the same spans where a year has so many bars."""
        return replace(self, days=bars_in(self.days, bars_per_year))

    def __call__(self, returns: FloatArray) -> FloatArray:
        """Evaluate on returns [T, N]."""
        mean: FloatArray = pd.DataFrame(returns).rolling(self.days).mean().to_numpy()
        return mean


@dataclass(frozen=True)
class Volatility:
    """Standard deviation (ddof 1) of the last `days` daily returns, [T, N], daily (QuantNet, Eq. 9)."""

    days: int = 252

    def __post_init__(self) -> None:
        _check_days(self, "days")

    def in_bars(self, bars_per_year: float) -> Self:
        """The feature of the same spans where a year has so many bars."""
        return replace(self, days=bars_in(self.days, bars_per_year, 2))

    def __call__(self, returns: FloatArray) -> FloatArray:
        """Evaluate on returns [T, N]."""
        volatility = pd.DataFrame(returns).rolling(self.days).std().to_numpy()
        return np.where(volatility > SMALLEST_VOLATILITY, volatility, np.nan)


@dataclass(frozen=True)
class WeightedAverage(Derived):
    """Exponentially weighted sum of the last `days` daily returns in units of its own deviation, [T, N].

    sum_k w_k r_{t-k} / (sigma_t * sqrt(sum_k w_k^2)), w_k = (1 - 2 / (span + 1))^k, sigma_t the standard
    deviation of the same days: of returns without a trend it has a variance of 1. With the span at `days`
    the weights lie as far back on average as those of `MeanReturn(days)`.
    """

    days: int = 252
    span: float = 252

    def __post_init__(self) -> None:
        _check_days(self, "days")
        _check_span(self, "span")

    def in_bars(self, bars_per_year: float) -> Self:
        """The feature of the same spans where a year has so many bars."""
        span = _span_in_bars(self.span, bars_per_year)
        return replace(self, days=bars_in(self.days, bars_per_year, 2), span=span)

    @property
    def parts(self) -> tuple[Feature, ...]:
        """sigma_t."""
        return (Volatility(self.days),)

    def combine(self, returns: FloatArray, *parts: FloatArray) -> FloatArray:
        """From sigma_t [T, N]."""
        from scipy.signal import lfilter, oaconvolve

        (volatility,) = parts
        weights = (1.0 - 2.0 / (self.span + 1.0)) ** np.arange(self.days)
        weights /= np.sqrt((weights**2).sum())
        if self.days <= LONG_WINDOW:
            average = lfilter(weights, [1.0], returns, axis=0)
        else:  # a missing return would be missing everywhere; the deviation knows where it is
            average = oaconvolve(np.nan_to_num(returns), weights[:, None], axes=0)[: len(returns)]
        average[: self.days - 1] = np.nan
        trend: FloatArray = average / volatility
        return trend


@dataclass(frozen=True)
class PriceIndex:
    """Prices [T, N] that grow by the returns, before the first return at 1; NaN below an asset's last day."""

    def __call__(self, returns: FloatArray) -> FloatArray:
        """Evaluate on returns [T, N]."""
        days = np.arange(len(returns))[:, None]
        last = np.where(np.isfinite(returns), days, -1).max(axis=0)
        prices = np.cumprod(1.0 + np.nan_to_num(returns, nan=0.0), axis=0)
        return np.where(days <= np.maximum(last, 0), prices, np.nan)


@dataclass(frozen=True)
class PriceDeviation(Derived):
    """Standard deviation (ddof 1) of the last `days` prices, [T, N]; NaN where the price does not move."""

    days: int = 63

    def __post_init__(self) -> None:
        _check_days(self, "days")

    def in_bars(self, bars_per_year: float) -> Self:
        """The feature of the same spans where a year has so many bars."""
        return replace(self, days=bars_in(self.days, bars_per_year, 2))

    @property
    def parts(self) -> tuple[Feature, ...]:
        """Prices."""
        return (PriceIndex(),)

    def combine(self, returns: FloatArray, *parts: FloatArray) -> FloatArray:
        """From prices [T, N]."""
        (prices,) = parts
        return _deviation(prices, self.days)


@dataclass(frozen=True)
class CumulativeReturn(Derived):
    """Simple return over the last `days` days, r_{t-days,t}, [T, N] (Lim et al. 2019, Eq. 2)."""

    days: int = 252

    def __post_init__(self) -> None:
        _check_days(self, "days")

    def in_bars(self, bars_per_year: float) -> Self:
        """The feature of the same spans where a year has so many bars."""
        return replace(self, days=bars_in(self.days, bars_per_year))

    @property
    def parts(self) -> tuple[Feature, ...]:
        """Prices."""
        return (PriceIndex(),)

    def combine(self, returns: FloatArray, *parts: FloatArray) -> FloatArray:
        """From prices [T, N]."""
        (prices,) = parts
        past = np.full_like(prices, np.nan)
        past[self.days :] = prices[: -self.days]
        # Without a first price the index starts one day before row 0, at 1.
        if len(prices) >= self.days:
            past[self.days - 1] = np.where(np.isnan(returns[0]), np.nan, 1.0)
        growth: FloatArray = prices / past - 1.0
        return growth


@dataclass(frozen=True)
class NormalisedReturn(Derived):
    """Return over `days` divided by sigma_t * sqrt(days), [T, N] (Lim et al. 2019, features)."""

    days: int = 1
    span: float = 60
    min_days: int = 21  # before there is a sigma_t

    def __post_init__(self) -> None:
        _check_days(self, "days")
        _check_span(self, "span")
        _check_days(self, "min_days")

    def in_bars(self, bars_per_year: float) -> Self:
        """The feature of the same spans where a year has so many bars."""
        return replace(
            self,
            days=bars_in(self.days, bars_per_year),
            span=_span_in_bars(self.span, bars_per_year),
            min_days=bars_in(self.min_days, bars_per_year, 2),
        )

    @property
    def parts(self) -> tuple[Feature, ...]:
        """The return and sigma_t."""
        return CumulativeReturn(self.days), EwVolatility(self.span, self.min_days)

    def combine(self, returns: FloatArray, *parts: FloatArray) -> FloatArray:
        """From the return and sigma_t, each [T, N]."""
        grown, volatility = parts
        normalised: FloatArray = grown / (volatility * np.sqrt(self.days))
        return normalised


@dataclass(frozen=True)
class MacdTrend(Derived):
    """Volatility-normalised MACD trend estimate Y_t, [T, N] (Baz et al. 2015; Lim et al. 2019, Eqs. 4-6).

    m(S) is the EWMA of prices with alpha = 1 / S. It is divided by the 63-day standard deviation of prices,
    then by the 252-day standard deviation of the result.
    """

    short: float = 8
    long: float = 24
    price_days: int = 63
    trend_days: int = 252

    def __post_init__(self) -> None:
        _check_span(self, "short")
        _check_span(self, "long")
        _check_days(self, "price_days")
        _check_days(self, "trend_days")

    def in_bars(self, bars_per_year: float) -> Self:
        """The feature of the same spans where a year has so many bars."""
        return replace(
            self,
            short=_scale_in_bars(self.short, bars_per_year),
            long=_scale_in_bars(self.long, bars_per_year),
            price_days=bars_in(self.price_days, bars_per_year, 2),
            trend_days=bars_in(self.trend_days, bars_per_year, 2),
        )

    @property
    def parts(self) -> tuple[Feature, ...]:
        """Prices and their deviation."""
        return PriceIndex(), PriceDeviation(self.price_days)

    def combine(self, returns: FloatArray, *parts: FloatArray) -> FloatArray:
        """From prices and their deviation, each [T, N]."""
        prices, deviation = parts
        fast, slow = ew_means(prices, *(1.0 - 1.0 / S for S in (self.short, self.long)))
        q = (fast - slow) / deviation
        trend: FloatArray = q / _deviation(q, self.trend_days)
        return trend


@dataclass(frozen=True)
class Winsorised(Derived):
    """A feature clipped to its own EW mean +- `width` EW standard deviations, [T, N].

    Half-life in days. Only what a network sees is clipped, never the returns that make profit and loss.
    """

    feature: Feature
    half_life: float = 252.0
    width: float = 5.0

    def __post_init__(self) -> None:
        _check_feature(self, "feature", self.feature)
        name = type(self).__name__
        check_number(f"{name}: half_life", self.half_life, 0.0, MOST_BARS, above=True)
        check_number(f"{name}: width", self.width, 0.0, MOST_WIDTH, above=True)

    def in_bars(self, bars_per_year: float) -> Self:
        """The feature of the same spans where a year has so many bars."""
        half_life = self.half_life * bars_per_year / DAYS_PER_YEAR
        return replace(self, feature=in_bars(self.feature, bars_per_year), half_life=half_life)

    @property
    def parts(self) -> tuple[Feature, ...]:
        """What is clipped."""
        return (self.feature,)

    def combine(self, returns: FloatArray, *parts: FloatArray) -> FloatArray:
        """From the feature [T, N]."""
        (values,) = parts
        centre, deviation = ew_moments(values, 0.5 ** (1.0 / self.half_life))
        reach = self.width * deviation
        # A first value has no deviation yet, and the bounds that are NaN leave it alone.
        clipped: FloatArray = np.fmin(np.fmax(values, centre - reach), centre + reach)
        return clipped


@dataclass(frozen=True)
class Defined(Derived):
    """1 where every one of `features` is defined, else 0, [T, N]: tells an absent number from a zero."""

    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        check_is("Defined: features", self.features, tuple, "a tuple of features")
        for feature in self.features:
            _check_feature(self, "features", feature)

    def in_bars(self, bars_per_year: float) -> Self:
        """The feature of the same spans where a year has so many bars."""
        return replace(self, features=tuple(in_bars(one, bars_per_year) for one in self.features))

    @property
    def parts(self) -> tuple[Feature, ...]:
        """The features."""
        return self.features

    def combine(self, returns: FloatArray, *parts: FloatArray) -> FloatArray:
        """From the features, each [T, N]."""
        known = np.ones(returns.shape, dtype=bool)
        for values in parts:
            known &= np.isfinite(values)
        return known.astype(np.float64)


def _check_days(feature: Feature, name: str) -> None:
    """Refuse a feature's number of days that is none."""
    check_whole(f"{type(feature).__name__}: {name}", getattr(feature, name), 1, MOST_BARS)


def _check_span(feature: Feature, name: str) -> None:
    """Refuse a span of exponential weights that is none."""
    check_number(f"{type(feature).__name__}: {name}", getattr(feature, name), 1.0, MOST_BARS)


def _check_feature(whole: Feature, name: str, part: object) -> None:
    """Refuse what is no feature, where a feature is made of others."""
    if not is_function(part):
        raise ConfigError(f"{type(whole).__name__}: {name} is {in_words(part)}, expected a feature.")


def dmn_features() -> tuple[Feature, ...]:
    """The eight inputs u_t of Deep Momentum Networks, winsorised, then `Defined` of them all.

    Returns over 1, 21, 63, 126 and 252 days, each over sigma_t * sqrt(days), and three MACD trends.
    """
    momentum: tuple[Feature, ...] = tuple(NormalisedReturn(days) for days in (1, 21, 63, 126, 252))
    trends: tuple[Feature, ...] = tuple(MacdTrend(s, long) for s, long in MACD_PAIRS)
    inputs = tuple(Winsorised(feature) for feature in (*momentum, *trends))
    return (*inputs, Defined(inputs))


MACD_PAIRS = ((8, 24), (16, 48), (32, 96))


def ew_means(values: FloatArray, *decays: float) -> list[FloatArray]:
    """Exponentially weighted means of each column, [T, N] by decay: pandas `ewm(alpha=1 - decay).mean()`.

    The value k rows ago has the weight decay^k; NaN at gaps. By linear filters, in a third of the time.
    """
    seen, first, moved, weights = _weighted_sums(values)
    means = []
    for decay in decays:
        mean = _exponential_sum(moved, decay)
        with np.errstate(invalid="ignore"):  # no weight before the first value
            mean /= _exponential_sum(weights, decay)
        mean += first
        np.copyto(mean, np.nan, where=~seen)
        means.append(mean)
    return means


def ew_moments(values: FloatArray, decay: float) -> tuple[FloatArray, FloatArray]:
    """As `ew_means`, and the standard deviation without bias, pandas `ewm(alpha=1 - decay).std()`.

    The deviation of a single value is NaN.
    """
    seen, first, moved, weights = _weighted_sums(values)
    weight = _exponential_sum(weights, decay)
    mean, variance = _exponential_sum(moved, decay), _exponential_sum(moved * moved, decay)
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = 1.0 - _exponential_sum(weights, decay**2) / weight**2  # share of the variance that is not lost
        mean /= weight
        variance /= weight
        variance -= mean * mean
        np.maximum(variance, 0.0, out=variance)
        variance /= np.where(kept > 0, kept, np.nan)
    mean += first
    for moment in (mean, variance):
        np.copyto(moment, np.nan, where=~seen)
    return mean, np.sqrt(variance, out=variance)


def _weighted_sums(values: FloatArray) -> tuple[BoolArray, FloatArray, FloatArray, FloatArray]:
    """Where there is a value, each column's first [N], distances from it, and weights, both 0 at gaps.

    Weights, 1 on a value's own day, are one column where all begin on one row and have no gap before the end.
    """
    seen = np.isfinite(values)
    rows, begin, count = np.arange(len(seen))[:, None], seen.argmax(axis=0), seen.sum(axis=0)
    first = np.where(count > 0, values[begin, np.arange(values.shape[1])], 0.0)
    common = begin[count > 0].min(initial=len(seen))
    alike = np.array_equal(seen, (rows >= common) & (rows < common + count))
    weights = (rows >= common if alike else seen).astype(np.float64)
    return seen, first, np.where(seen, values - first, 0.0), weights


def _exponential_sum(values: FloatArray, decay: float) -> FloatArray:
    """Sum over the rows up to each of decay^age times the value."""
    from scipy.signal import lfilter

    smoothed: FloatArray = lfilter([1.0], [1.0, -decay], values, axis=0)
    return smoothed


def _deviation(values: FloatArray, days: int) -> FloatArray:
    """Standard deviation (ddof 1) of the last `days` rows; NaN where 0, what does not move has no trend."""
    variance = pd.DataFrame(values).rolling(days).var().to_numpy()
    return np.sqrt(np.where(variance > 0, variance, np.nan))

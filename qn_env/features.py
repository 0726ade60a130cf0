"""Causal transforms of one asset's own history: volatility, momentum, MACD trend, winsorising.

A feature is called with returns on each asset's own trading days, one column per asset, the first
observation in row 0 and NaN below the last one, and returns an array of the same shape. Row t uses rows up
to t only. `Panel.feature` does the lining up, so that a holiday never counts as a day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qn_env.panel import FloatArray

DAYS_PER_YEAR = 252

# A daily standard deviation below this is a price that does not move, not an estimate of risk.
SMALLEST_VOLATILITY = 1e-8

Feature = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class EwVolatility:
    """Exponentially weighted standard deviation of daily returns, [T, N], daily, decimal.

    The ex-ante volatility of Lim et al. (2019): pandas `ewm(span=60).std()`. NaN before `min_days` returns.
    """

    span: int = 60
    min_days: int = 21

    def __call__(self, returns: FloatArray) -> FloatArray:
        """Evaluate on returns [T, N]."""
        frame = pd.DataFrame(returns)
        volatility = frame.ewm(span=self.span, min_periods=self.min_days).std().to_numpy()
        return np.where(volatility > SMALLEST_VOLATILITY, volatility, np.nan)


@dataclass(frozen=True)
class MeanReturn:
    """Mean of the last `days` daily returns, [T, N] (QuantNet, Eq. 10)."""

    days: int = 252

    def __call__(self, returns: FloatArray) -> FloatArray:
        """Evaluate on returns [T, N]."""
        return _array(pd.DataFrame(returns).rolling(self.days).mean())


@dataclass(frozen=True)
class Volatility:
    """Standard deviation (ddof 1) of the last `days` daily returns, [T, N], daily (QuantNet, Eq. 9)."""

    days: int = 252

    def __call__(self, returns: FloatArray) -> FloatArray:
        """Evaluate on returns [T, N]."""
        volatility = pd.DataFrame(returns).rolling(self.days).std().to_numpy()
        return np.where(volatility > SMALLEST_VOLATILITY, volatility, np.nan)


@dataclass(frozen=True)
class CumulativeReturn:
    """Simple return over the last `days` days, r_{t-days,t}, [T, N] (Lim et al. 2019, Eq. 2)."""

    days: int = 252

    def __call__(self, returns: FloatArray) -> FloatArray:
        """Evaluate on returns [T, N]."""
        prices = price_index(returns)
        past = np.full_like(prices, np.nan)
        past[self.days :] = prices[: -self.days]
        # Without a first price the index starts one day before row 0, at 1.
        if len(prices) >= self.days:
            past[self.days - 1] = np.where(np.isnan(returns[0]), np.nan, 1.0)
        growth: FloatArray = prices / past - 1.0
        return growth


@dataclass(frozen=True)
class NormalisedReturn:
    """Return over `days` divided by sigma_t * sqrt(days), [T, N] (Lim et al. 2019, features)."""

    days: int = 1
    span: int = 60

    def __call__(self, returns: FloatArray) -> FloatArray:
        """Evaluate on returns [T, N]."""
        volatility = EwVolatility(self.span)(returns)
        normalised: FloatArray = CumulativeReturn(self.days)(returns) / (volatility * np.sqrt(self.days))
        return normalised


@dataclass(frozen=True)
class MacdTrend:
    """Volatility-normalised MACD trend estimate Y_t, [T, N] (Baz et al. 2015; Lim et al. 2019, Eqs. 4-6).

    m(S) is the EWMA of prices with alpha = 1 / S. It is divided by the 63-day standard deviation of prices,
    then by the 252-day standard deviation of the result.
    """

    short: int = 8
    long: int = 24

    def __call__(self, returns: FloatArray) -> FloatArray:
        """Evaluate on returns [T, N]."""
        prices = pd.DataFrame(price_index(returns))
        macd = prices.ewm(alpha=1 / self.short).mean() - prices.ewm(alpha=1 / self.long).mean()
        q = _ratio(macd, prices.rolling(63).std())
        return _array(_ratio(q, q.rolling(252).std()))


@dataclass(frozen=True)
class Winsorised:
    """A feature clipped to its own EW mean +- `width` EW standard deviations, [T, N].

    Half-life in days. Only what a network sees is clipped, never the returns that make profit and loss.
    """

    feature: Feature
    half_life: float = 252.0
    width: float = 5.0

    def __call__(self, returns: FloatArray) -> FloatArray:
        """Evaluate on returns [T, N]."""
        values = pd.DataFrame(self.feature(returns))
        window = values.ewm(halflife=self.half_life)
        reach = self.width * window.std().fillna(np.inf)
        centre = window.mean()
        return _array(values.clip(centre - reach, centre + reach))


@dataclass(frozen=True)
class Defined:
    """1 where every one of `features` is defined, else 0, [T, N]: tells an absent number from a zero."""

    features: tuple[Feature, ...]

    def __call__(self, returns: FloatArray) -> FloatArray:
        """Evaluate on returns [T, N]."""
        known = np.ones(returns.shape, dtype=bool)
        for feature in self.features:
            known &= np.isfinite(feature(returns))
        return known.astype(np.float64)


def price_index(returns: FloatArray) -> FloatArray:
    """[T, N] prices that grow by `returns`, before the first return at 1; NaN below an asset's last day."""
    days = np.arange(len(returns))[:, None]
    last = np.where(np.isfinite(returns), days, -1).max(axis=0)
    prices = np.cumprod(1.0 + np.nan_to_num(returns, nan=0.0), axis=0)
    return np.where(days <= np.maximum(last, 0), prices, np.nan)


def dmn_features() -> tuple[Feature, ...]:
    """The eight inputs u_t of Deep Momentum Networks, winsorised, then `Defined` of them all.

    Returns over 1, 21, 63, 126 and 252 days, each over sigma_t * sqrt(days), and three MACD trends.
    """
    momentum: tuple[Feature, ...] = tuple(NormalisedReturn(days) for days in (1, 21, 63, 126, 252))
    trends: tuple[Feature, ...] = tuple(MacdTrend(s, long) for s, long in MACD_PAIRS)
    inputs = tuple(Winsorised(feature) for feature in (*momentum, *trends))
    return (*inputs, Defined(inputs))


MACD_PAIRS = ((8, 24), (16, 48), (32, 96))


def _ratio(numerator: pd.DataFrame, denominator: pd.DataFrame) -> pd.DataFrame:
    """The ratio, NaN where the denominator is zero: a price that does not move has no trend."""
    return numerator / denominator.where(denominator > 0)


def _array(frame: pd.DataFrame) -> FloatArray:
    """The numbers of a frame; a copy, since pandas hands out read-only ones."""
    numbers: FloatArray = frame.to_numpy(dtype=np.float64, copy=True)
    return numbers

"""The classical strategies, each a formula over causal features.

A formula maps features [..., n, F] and the tradable mask [..., n] of one market to signals [..., n], for one
day and for a whole history alike. The first five are the baselines of QuantNet (Koshiyama et al. 2020, Eq. 1
and Appendix B); the last three the references of Deep Momentum Networks (Lim et al. 2019, Eqs. 1-8).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypedDict

import numpy as np

from agents.agent import Settings
from agents.checkpoint import load_json, save_json
from qn_env.arrays import BoolArray, FloatArray
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, did_you_mean
from qn_env.features import (
    MACD_PAIRS,
    CumulativeReturn,
    Defined,
    Feature,
    MacdTrend,
    MeanReturn,
    Volatility,
    WeightedAverage,
)
from qn_env.panel import Panel
from qn_env.setup import Observation

Formula = Callable[[FloatArray, BoolArray], FloatArray]


def buy_and_hold(features: FloatArray, tradable: BoolArray) -> FloatArray:
    """Signal 1 for every asset. With a volatility target this is the long-only reference."""
    del features
    return np.ones(tradable.shape)


def risk_parity(features: FloatArray, tradable: BoolArray) -> FloatArray:
    """Signals s_j = (1 / sigma_j) / sum_k (1 / sigma_k), sigma over 252 days (QuantNet, Eq. 9)."""
    sigma = features[..., 0]
    known = tradable & (sigma > 0)
    inverse = np.where(known, 1.0 / np.where(known, sigma, 1.0), 0.0)
    total = inverse.sum(axis=-1, keepdims=True)
    return inverse / np.where(total > 0, total, 1.0)


def ts_momentum(features: FloatArray, tradable: BoolArray) -> FloatArray:
    """Signals s_j = mean return of the last 252 days, the mean itself, not its sign (QuantNet, Eq. 10)."""
    del tradable
    return np.clip(features[..., 0], -1.0, 1.0)


def moving_average(features: FloatArray, tradable: BoolArray) -> FloatArray:
    """Signals s_j = tanh(sum_k W_k r_{t-k}) over 252 days (QuantNet, Eq. 1), W_k diagonal and set by hand.

    The paper leaves them open: "typically decreases exponentially". Taken here: weights that decrease so and
    lie as far back on average as the 252-day mean, over the volatility of the same days, so that every asset
    uses as much of tanh's range.
    """
    del tradable
    return np.tanh(features[..., 0])


def cs_momentum(features: FloatArray, tradable: BoolArray) -> FloatArray:
    """Winners +|mu_j|, losers -|mu_j|, the rest 0 (QuantNet, Eq. 11 as its text describes it; q = 0.33).

    The printed formula gives a loser -mu_j, a long position when its mean is negative; the text buys winners
    and sells losers, so here the rank sets the side and |mu_j| the size. `cs_momentum_literal` has the
    printed formula.
    """
    mean, winner, loser = _rank(features, tradable)
    signals: FloatArray = np.clip(np.abs(mean) * winner - np.abs(mean) * loser, -1.0, 1.0)
    return signals


def cs_momentum_literal(features: FloatArray, tradable: BoolArray) -> FloatArray:
    """Eq. 11 of QuantNet as printed: winners mu_j, losers -mu_j, the rest 0."""
    mean, winner, loser = _rank(features, tradable)
    signals: FloatArray = np.clip(mean * winner - mean * loser, -1.0, 1.0)
    return signals


def sgn_returns(features: FloatArray, tradable: BoolArray) -> FloatArray:
    """Sign of the return over the last 252 days (Moskowitz et al. 2012; Lim et al. 2019, Eqs. 2-3)."""
    del tradable
    return np.sign(features[..., 0])


def macd(features: FloatArray, tradable: BoolArray) -> FloatArray:
    """Mean over three time scales of phi(Y_k) (Baz et al. 2015; Lim et al. 2019, Eqs. 4-8)."""
    del tradable
    signals: FloatArray = phi(features).mean(axis=-1)
    return signals


def phi(trend: FloatArray) -> FloatArray:
    """Position from trend, y exp(-y^2 / 4) / 0.89: grows up to |y| = 1.41, then shrinks (Eq. 7).

    Examples:
        >>> round(float(phi(np.array(2**0.5))), 3)
        0.964
    """
    position: FloatArray = trend * np.exp(-(trend**2) / 4.0) / 0.89
    return position


def _rank(features: FloatArray, tradable: BoolArray) -> tuple[FloatArray, BoolArray, BoolArray]:
    """Mean returns, and who is above the 1 - q and below the q quantile of the market's known means."""
    mean, known = features[..., 0], tradable & (features[..., 1] > 0)
    ordered = np.sort(np.where(known, mean, np.inf), axis=-1)
    count = known.sum(axis=-1, keepdims=True)
    high, low = _quantile(ordered, count, 1 - QUANTILE), _quantile(ordered, count, QUANTILE)
    return mean, known & (mean > high), known & (mean < low)


QUANTILE = 0.33


def _quantile(ordered: FloatArray, count: FloatArray, q: float) -> FloatArray:
    """[..., 1] linearly interpolated quantile of the first `count` of sorted values [..., n]."""
    place = q * np.maximum(count - 1, 0)
    below = np.floor(place).astype(np.intp)
    above = np.minimum(below + 1, np.maximum(count - 1, 0))
    left = np.take_along_axis(ordered, below, axis=-1)
    right = np.take_along_axis(ordered, above, axis=-1)
    gap = np.where(count > 1, right - np.where(count > 0, left, 0.0), 0.0)
    quantile: FloatArray = left + (place - below) * gap
    return quantile


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A formula, the features it reads and the days they need."""

    formula: Formula
    features: tuple[Feature, ...] = ()
    warmup: int = 0
    vol_target: float | None = None


_MEANS: tuple[Feature, ...] = (MeanReturn(252), Defined((MeanReturn(252),)))
_TRENDS: tuple[Feature, ...] = tuple(MacdTrend(short, long) for short, long in MACD_PAIRS)
DMN_TARGET = 0.15  # annualised volatility per asset (Lim et al. 2019)

RULES: dict[str, Rule] = {
    "buy-and-hold": Rule(formula=buy_and_hold),
    "risk-parity": Rule(formula=risk_parity, features=(Volatility(252),), warmup=253),
    "ts-momentum": Rule(formula=ts_momentum, features=(MeanReturn(252),), warmup=253),
    "moving-average": Rule(formula=moving_average, features=(WeightedAverage(252),), warmup=253),
    "cs-momentum": Rule(formula=cs_momentum, features=_MEANS, warmup=253),
    "cs-momentum-literal": Rule(formula=cs_momentum_literal, features=_MEANS, warmup=253),
    "long-only": Rule(formula=buy_and_hold, warmup=60, vol_target=DMN_TARGET),
    "sgn-returns": Rule(
        formula=sgn_returns, features=(CumulativeReturn(252),), warmup=253, vol_target=DMN_TARGET
    ),
    # 63 days for the deviation of prices, then 252 for the deviation of the result.
    "macd": Rule(formula=macd, features=_TRENDS, warmup=315, vol_target=DMN_TARGET),
}


class Stored(TypedDict):
    """What a checkpoint says: the rule, and every market's place on the asset axis."""

    rule: str
    columns: list[tuple[int, int]]


class RuleAgent:
    """A classical strategy as an agent; it learns nothing but where the markets' assets stand."""

    learns = False

    def __init__(self, rule: str) -> None:
        """Choose a rule of `RULES` by name.

        Raises:
            ConfigError: an unknown rule.
        """
        if rule not in RULES:
            raise ConfigError(f"unknown rule {rule!r}. {did_you_mean(rule, RULES)}")
        self.rule = rule
        chosen = RULES[rule]
        self._formula = chosen.formula
        self.warmup = chosen.warmup
        self.settings = Settings(window=1, features=chosen.features, vol_target=chosen.vol_target)
        self.columns_: tuple[tuple[int, int], ...] = ()

    def __repr__(self) -> str:
        return f"RuleAgent({self.rule!r})"

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Note the markets' slices of the asset axis."""
        del seed, validation
        self.columns_ = columns_of(env.panel)
        return self

    def reset(self) -> None:
        """Nothing to forget: a rule sees its past in the features."""

    def act(self, observation: Observation) -> FloatArray:
        """Signals [N] of the day."""
        N = observation["returns"].shape[1]
        features = observation.get("features", np.zeros((1, N, 0)))[-1]
        return self._apply(features, observation["tradable"][-1] > 0, self.columns_)

    def signals(self, panel: Panel) -> FloatArray:
        """Signals [T, N] of a whole history."""
        return self._apply(panel.features(self.settings.features), panel.tradable, columns_of(panel))

    def save(self, folder: Path) -> None:
        """Write `agent.json`."""
        save_json(folder, {"rule": self.rule, "columns": [list(c) for c in self.columns_]})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        stored = load_json(folder, Stored)
        agent = cls(stored["rule"])
        agent.columns_ = tuple((int(a), int(b)) for a, b in stored["columns"])
        return agent

    def _apply(
        self, features: FloatArray, tradable: BoolArray, columns: tuple[tuple[int, int], ...]
    ) -> FloatArray:
        signals = np.zeros(tradable.shape)
        for start, stop in columns:
            signals[..., start:stop] = self._formula(features[..., start:stop, :], tradable[..., start:stop])
        return signals


def columns_of(panel: Panel) -> tuple[tuple[int, int], ...]:
    """(start, stop) of each market on the asset axis."""
    return tuple((m.columns.start, m.columns.stop) for m in panel.markets.values())

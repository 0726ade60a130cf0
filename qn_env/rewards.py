"""Rewards by name: what the environment pays the agent for a day, from the same ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from qn_env.arrays import BoolArray, FloatArray, IntArray
from qn_env.checks import check_known
from qn_env.economics import aggregate, equal_market_share, volatility_scale
from qn_env.features import EwVolatility
from qn_env.panel import Panel
from qn_env.tape import Tape

RewardName = Literal["net", "log", "volatility_scaled", "differential_sharpe"]
Weighting = Literal["market", "asset"]

REWARDS = get_args(RewardName)
WEIGHTINGS = get_args(Weighting)

# Annualised volatility to which `volatility_scaled` brings every asset (Lim et al. 2019).
RISK_TARGET = 0.15

# Log growth of a day that loses everything or more: finite, and worse than any other day.
RUIN_LOG = float(np.log(1e-12))


@dataclass(frozen=True, eq=False)
class Reward:
    """A reward and the weights of its mean.

    net: the panel's net return. log: log(1 + net), the growth of capital. volatility_scaled: each asset's
    net return times 15% over its annualised ex-ante volatility, then the mean (Zhang, Zohren, Roberts 2020).
    differential_sharpe: the derivative of an exponentially weighted Sharpe ratio (Moody and Saffell 2001),
    0 until there is any variance.
    """

    name: RewardName
    share: FloatArray  # [T, N]
    risk: FloatArray | None  # [T, N], only for volatility_scaled
    rate: float  # adaptation of the differential Sharpe ratio

    @classmethod
    def of(cls, name: RewardName, weighting: Weighting, panel: Panel, tape: Tape) -> Reward:
        """Build a reward on a tape.

        Raises:
            ConfigError: an unknown name or weighting.
        """
        check_known("reward", name, REWARDS)
        check_known("weighting", weighting, WEIGHTINGS)
        risk = (
            volatility_scale(panel.feature(EwVolatility()), RISK_TARGET, bars_per_year=panel.bars_per_year)
            if name == "volatility_scaled"
            else None
        )
        return cls(
            name,
            share_of(tape.listed, panel, weighting) if weighting == "asset" else tape.share,
            risk,
            1.0 / panel.bars_per_year,
        )

    def start(self, *batch: int) -> FloatArray:
        """[2, ...] what is remembered at the start of an episode: EW mean and mean square of returns."""
        return np.zeros((2, *batch))

    def __call__(
        self,
        portfolio: float | FloatArray,
        net: FloatArray,
        t: int | IntArray,
        share: FloatArray,
        memory: FloatArray,
    ) -> tuple[float | FloatArray, FloatArray]:
        """The day's reward and what is remembered.

        Args:
            portfolio: [...] the panel's net return.
            net: [..., N] net returns per asset.
            t: the decision day or days.
            share: [..., N] weights of the mean.
            memory: [2, ...] from `start` or the day before.
        """
        if self.name == "net":
            return portfolio, memory
        if self.name == "log":
            ruined = portfolio <= -1.0
            return np.where(ruined, RUIN_LOG, np.log1p(np.where(ruined, 0.0, portfolio))), memory
        if self.risk is not None:
            return aggregate(net * self.risk[t], share), memory
        return self._differential(portfolio, memory)

    def _differential(
        self, portfolio: float | FloatArray, memory: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """D_t = (B dA - A dB / 2) / (B - A^2)^1.5, dA = r - A, dB = r^2 - B (Moody and Saffell 2001)."""
        first, second = memory
        up, square = portfolio - first, portfolio**2 - second
        variance = second - first**2
        known = variance > 1e-16
        ratio = (second * up - 0.5 * first * square) / np.where(known, variance, 1.0) ** 1.5
        return np.where(known, ratio, 0.0), memory + self.rate * np.stack([up, square])


def share_of(listed: BoolArray, panel: Panel, weighting: Weighting) -> FloatArray:
    """[..., N] weights of the mean: over markets' means, or over all listed assets alike."""
    index = panel.market_index if weighting == "market" else np.zeros(panel.shape[1], dtype=np.intp)
    return equal_market_share(listed, index)

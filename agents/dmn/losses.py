"""The losses of Deep Momentum Networks and the positions they imply (Lim, Zohren, Roberts 2019).

A network gives Z before the output function g, which follows the loss: tanh for direct outputs, the identity
for regression, the logistic function for classification. Everything is a mean over the counted pairs of asset
and day, Omega; padding and days without trade never enter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from agents.dmn.config import LossName, Objective
from qn_env.economics import Ledger
from qn_env.episodes import Episode
from qn_env.objectives import LOSS_FLOOR, sharpe, softmin
from qn_env.window_sources import Rows

# The volatility target s* of the paper, annualised.
VOL_TARGET = 0.15


class Pairs(NamedTuple):
    """What losses need to know of asset-days, windows of single assets."""

    episode: Episode  # [B, L, 1]
    counted: Tensor  # [B, L] bool, the pairs of Omega
    labelled: Tensor  # [B, L] bool, those with a target: all, but for the last days under an execution lag
    target: Tensor  # [B, L] float64 r_{t,t+1} / sigma_t (r_{t+lag,t+1+lag}), 0 where not labelled
    year: Tensor  # [B] int64 the year that a window begins in, counted from the first
    years: int  # how many there are

    @property
    def bars_per_year(self) -> float:
        """What ratios are annualised by."""
        return self.episode.bars_per_year

    def take(self, rows: Rows) -> Pairs:
        """Those of the windows of the given numbers."""
        own = {name: getattr(self, name)[rows] for name in ("counted", "labelled", "target", "year")}
        return self._replace(episode=self.episode.take(rows), **own)

    def settle(self, positions: Tensor) -> Ledger[Tensor]:
        """Settle positions [B, L]; where a pair does not count nothing is held, as at prediction."""
        return self.episode.settle((positions * self.counted)[..., None])

    def net(self, positions: Tensor) -> Tensor:
        """[B, L] what positions earn after costs."""
        return self.settle(positions).net[..., 0]

    def cost(self, positions: Tensor) -> Tensor | None:
        """[B, L] what trading to them costs; None where nothing costs anything."""
        return None if self.episode.terms.costs is None else self.settle(positions).cost[..., 0]


class DayPairs(NamedTuple):
    """The same of asset-days that are drawn one by one, without costs: turnover is between two days."""

    earned: Tensor  # [B, 1] float64 what a position of 1 earns
    counted: Tensor  # [B, 1] bool
    labelled: Tensor  # [B, 1] bool
    target: Tensor  # [B, 1] float64
    year: Tensor  # [B] int64
    years: int
    bars_per_year: float  # what ratios are annualised by

    def take(self, rows: Rows) -> DayPairs:
        """The pairs of the given numbers."""
        names = ("earned", "counted", "labelled", "target", "year")
        return self._replace(**{name: getattr(self, name)[rows] for name in names})

    def net(self, positions: Tensor) -> Tensor:
        """[B, 1] what positions earn."""
        return positions * self.earned

    def cost(self, positions: Tensor) -> None:
        """None: nothing costs anything."""


class Loss(NamedTuple):
    """One way to train, and what its outputs are good for."""

    value: Callable[[Tensor, Pairs | DayPairs], Tensor]  # of Z [B, L]; what is minimised, costs included
    positions: Callable[[Tensor], Tensor]  # X from Z


def value_of(objective: Objective, z: Tensor, pairs: Pairs | DayPairs) -> Tensor:
    """What is minimised, of Z [B, L]; costs are inside."""
    if objective.loss == "softmin":
        return softmin_loss(z, pairs, objective.robustness, objective.temperature)
    return LOSSES[objective.loss].value(z, pairs)


def direct(z: Tensor) -> Tensor:
    """X = tanh(Z), Eq. 15."""
    return torch.tanh(z)


def side(z: Tensor) -> Tensor:
    """X = sgn(Z): sgn(Y) of a regression (Eq. 13), sgn(Y - 0.5), Y = 1 / (1 + e^-Z), of a classification."""
    return torch.sign(z)


def sharpe_loss(z: Tensor, pairs: Pairs | DayPairs) -> Tensor:
    """Minus the annualised Sharpe ratio pooled over Omega (Eq. 17); costs as in Eq. 36 are inside."""
    net, counted = pairs.net(direct(z)).flatten(), pairs.counted.flatten()
    ratio: Tensor = sharpe(net, counted, ddof=0, floor=LOSS_FLOOR, bars_per_year=pairs.bars_per_year)
    return -ratio


def softmin_loss(
    z: Tensor, pairs: Pairs | DayPairs, robustness: float = 1.0, temperature: float = 1.0
) -> Tensor:
    """Minus the pooled Sharpe ratio and minus lambda times the smooth minimum of single years' ratios.

    DeePM (arXiv:2601.05975) takes windows of a portfolio's days. Read here for batches of single assets'
    trajectories: the windows are years, S_w is the Sharpe ratio pooled over the pairs of year w, and every
    year of the batch counts alike. Costs as in Eq. 36 are inside.

    Args:
        z: [B, L].
        pairs: their days.
        robustness: lambda.
        temperature: tau, an annualised Sharpe ratio.
    """
    net = pairs.net(direct(z))
    ratio = partial(sharpe, axis=-1, ddof=0, floor=LOSS_FLOOR, bars_per_year=pairs.bars_per_year)
    within = pairs.year == torch.arange(pairs.years, device=net.device)[:, None]
    counted = (within[..., None] & pairs.counted).flatten(1)
    ratios = ratio(net.flatten().expand(pairs.years, -1), counted)
    pooled: Tensor = ratio(net.flatten(), pairs.counted.flatten())
    robust: Tensor = softmin(ratios, counted.any(1), temperature=temperature)
    return -pooled - robustness * robust


def average_loss(z: Tensor, pairs: Pairs | DayPairs) -> Tensor:
    """Minus the mean return over Omega (Eq. 16); costs as in Eq. 36 are inside."""
    return -mean(pairs.net(direct(z)), pairs.counted)


def mse_loss(z: Tensor, pairs: Pairs | DayPairs) -> Tensor:
    """Mean squared error of the next return in units of its volatility (Eq. 10), and the turnover term."""
    error = (z.double() - pairs.target) ** 2
    return mean(error, pairs.labelled) + turnover_penalty(torch.tanh(z), pairs)


def binary_loss(z: Tensor, pairs: Pairs | DayPairs) -> Tensor:
    """Binary cross-entropy of the next return's sign (Eq. 11), and the turnover term."""
    above = (pairs.target > 0).double()
    entropy = functional.binary_cross_entropy_with_logits(z.double(), above, reduction="none")
    return mean(entropy, pairs.labelled) + turnover_penalty(2.0 * torch.sigmoid(z) - 1.0, pairs)


def turnover_penalty(positions: Tensor, pairs: Pairs | DayPairs) -> Tensor:
    """Mean cost over Omega in units of a bar's target volatility, s* / sqrt(bars_per_year).

    The paper writes the turnover term (Eqs. 34-36) for losses on returns and leaves it open for those whose
    positions are signs, which have no slope. Taken here: the cost of smooth positions, tanh(Y) of a
    regression and 2 p - 1 of a classification, in the units of their targets.
    """
    cost = pairs.cost(positions)
    if cost is None:
        return positions.new_zeros((), dtype=torch.float64)
    return mean(cost, pairs.counted) * math.sqrt(pairs.bars_per_year) / VOL_TARGET


def mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean over the pairs that count, 0 where there are none."""
    average: Tensor = (values * counted).sum() / counted.sum().clip(1)
    return average


LOSSES: dict[LossName, Loss] = {
    "sharpe": Loss(sharpe_loss, direct),
    "average": Loss(average_loss, direct),
    "mse": Loss(mse_loss, side),
    "binary": Loss(binary_loss, side),
    "softmin": Loss(softmin_loss, direct),
}

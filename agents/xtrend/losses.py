"""The joint loss of X-Trend: minus the Sharpe ratio, and the likelihood of the next normalised return."""

from __future__ import annotations

import math

from torch import Tensor

from agents.dmn.losses import Pairs, mean, sharpe_loss
from agents.xtrend.history import LARGEST
from agents.xtrend.network import Outputs


def joint_loss(outputs: Outputs, pairs: Pairs, likelihood: float) -> Tensor:
    """-Sharpe + alpha * negative log-likelihood, in float64.

    Args:
        outputs: of windows of single assets, [B, L].
        pairs: what they earn, and the next normalised returns.
        likelihood: alpha.
    """
    loss = sharpe_loss(outputs.z, pairs)
    if likelihood == 0.0:
        return loss
    surprise = gaussian_surprise(outputs.mean, outputs.deviation, pairs.target.clip(-LARGEST, LARGEST))
    return loss + likelihood * mean(surprise, pairs.labelled)


def gaussian_surprise(mean: Tensor, deviation: Tensor, target: Tensor) -> Tensor:
    """-log of the normal density, log(sqrt(2 pi) s) + (y - m)^2 / (2 s^2), float64, element by element.

    Examples:
        >>> import torch
        >>> zero, one = torch.zeros(()), torch.ones(())
        >>> print(f"{gaussian_surprise(zero, one, zero):.4f} {gaussian_surprise(zero, 2 * one, one):.4f}")
        0.9189 1.7371
    """
    error, spread = target - mean.double(), deviation.double()
    return spread.log() + 0.5 * math.log(2.0 * math.pi) + 0.5 * (error / spread) ** 2

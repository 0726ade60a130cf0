"""DLinear (Zeng, Chen, Zhang, Xu 2023, arXiv:2205.13504): is a linear map of the window enough?

Each feature's window is split into a moving average and what remains of it, and each part has a linear map.
The paper forecasts every series with a map that series share or have for themselves; here features have their
own, and what they give is added up to one number.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.dmn.windowed import WindowNetwork

# Days of the moving average.
DAYS = 25


class DLinearNetwork(WindowNetwork):
    """Z_t = sum_f (w_f . average_f + v_f . remainder_f) + u . c + b; dropout on both parts."""

    def __init__(
        self,
        n_features: int,
        hidden: int,
        dropout: float,
        *,
        static: int = 0,
        context: int = 63,
    ) -> None:
        """Of so many features and static inputs; it has no width."""
        del hidden
        super().__init__(dropout, context, static)
        self.head = nn.Linear(2 * n_features * context + static, 1)

    def read(self, windows: Tensor, static: Tensor) -> Tensor:
        """Z [B, L]."""
        average = moving_average(windows)
        parts = torch.cat([average, windows - average], dim=-1).flatten(2)
        z: Tensor = self.head(torch.cat([self.drop(parts), static], dim=-1))
        return z.squeeze(-1)


def moving_average(windows: Tensor) -> Tensor:
    """[..., n, T] the mean of the 25 days around each; at the ends the outermost day is repeated."""
    side = DAYS // 2
    first, last = (day.expand(*windows.shape[:-1], side) for day in (windows[..., :1], windows[..., -1:]))
    padded = torch.cat([first, windows, last], dim=-1)
    average: Tensor = functional.avg_pool1d(padded.flatten(0, -3), DAYS, stride=1)
    return average.view(windows.shape)

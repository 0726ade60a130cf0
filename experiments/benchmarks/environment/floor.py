"""The floor: what a step must cost in NumPy if it returns what `TradingEnv` returns and does nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from qn_env.arrays import FloatArray, IntArray
from qn_env.economics import BASIS_POINT
from qn_env.panel import Panel


class FloorEnv:
    """Every asset open on every day, one flat cost, no check of the action, no modes, no options.

    Its figures and observations are those of `TradingEnv` on such a panel (a test holds it to that): the
    same dictionary of fresh arrays, the reward after costs, the two flags, and the same info.
    """

    def __init__(self, panel: Panel, *, window: int, cost_bps: float = 2.0) -> None:
        """Lay out a panel without gaps.

        Args:
            panel: returns on every day for every asset, markets of equal size.
            window: days an observation shows.
            cost_bps: cost per unit of turnover in basis points.
        """
        T, N = panel.shape
        assert panel.tradable.all()
        assert len({len(market.assets) for market in panel.markets.values()}) == 1
        self._window = window
        self._returns, self._tradable = pad(panel, window)
        self._next = panel.returns
        self._dates = [str(date) for date in panel.dates]
        self._rate = cost_bps * BASIS_POINT
        self._share = np.full(N, 1.0 / N)
        self._last = T - 1

    def reset(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Begin at the first day, flat."""
        N = len(self._share)
        self._t = 0
        self._weight = np.zeros(N)
        self._equity = 1.0
        empty = np.zeros((4, N))
        info = {"date": self._dates[0], "equity": 1.0}
        info |= dict(zip(("gross", "turnover", "cost", "net"), empty, strict=True))
        return self._observe(), info

    def step(self, action: NDArray[np.floating[Any]]) -> tuple[dict[str, Any], float, bool, bool, Any]:
        """Trade at the close of t, earn the return of t + 1."""
        weight = action.astype(np.float64)
        t = self._t = self._t + 1
        gross = weight * self._next[t]
        turnover = abs(weight - self._weight)
        cost = turnover * self._rate
        net = gross - cost
        reward = float(net.dot(self._share))
        self._weight = weight
        self._equity *= 1.0 + reward
        info = {
            "date": self._dates[t],
            "equity": self._equity,
            "gross": gross,
            "turnover": turnover,
            "cost": cost,
            "net": net,
        }
        return self._observe(), reward, reward <= -1.0, t == self._last, info

    def _observe(self) -> dict[str, Any]:
        rows = slice(self._t, self._t + self._window)
        return {
            "returns": self._returns[rows].copy(),
            "tradable": self._tradable[rows].copy(),
            "positions": self._weight.copy(),
        }


def pad(panel: Panel, window: int) -> tuple[FloatArray, NDArray[np.int8]]:
    """Returns and masks [window - 1 + T, N], finite, empty days in front: what windows are cut from."""
    T, N = panel.shape
    returns, tradable = np.zeros((window - 1 + T, N)), np.zeros((window - 1 + T, N), np.int8)
    returns[window - 1 :] = np.nan_to_num(panel.returns)
    tradable[window - 1 :] = panel.tradable
    return returns, tradable


class Gather:
    """The floor of a batched step: the windows of many environments out of one strided view, nothing else."""

    def __init__(self, panel: Panel, *, window: int) -> None:
        """Lay out a panel; `views` are [T, window, N], no copies."""
        self.views = tuple(
            sliding_window_view(part, window, axis=0).transpose(0, 2, 1) for part in pad(panel, window)
        )

    def __call__(self, rows: IntArray) -> tuple[NDArray[Any], ...]:
        """[B, window, N] returns and masks at the given days [B]."""
        return tuple(view[rows] for view in self.views)

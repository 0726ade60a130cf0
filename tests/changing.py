"""Costs that change over time: by day and asset, all different, the same whatever else is in a panel."""

from __future__ import annotations

from zlib import crc32

import numpy as np

from qn_env.costs import Borrow, Financing, Proportional, SquareRootImpact
from qn_env.economics import Costs
from qn_env.panel import Panel


class Quoted:
    """Rates [T, N] of turnover, of short and of long weights."""

    def rates(self, panel: Panel) -> Costs[np.ndarray]:
        """From 0 to 100 bps, of the day, the market and the asset alone."""
        names = zip(panel.market_of, panel.assets, strict=True)
        asset = np.array([crc32(f"{market}/{name}".encode()) for market, name in names])
        day = panel.dates.astype(np.int64)[:, None]
        turnover, short, long = (((asset + k * 7919 + day * 104_729) % 1009) / 1009 for k in range(3))
        return Costs(1e-2 * turnover, short=1e-3 * short, long=1e-3 * long)


COSTS = {
    "none": (),
    "impact": (SquareRootImpact(1e6, 1e7),),
    "quoted": (Quoted(),),
    "all": (Proportional(3.0), SquareRootImpact(1e6, 1e7), Borrow(500.0), Financing(300.0), Quoted()),
}

"""A panel on which markets and assets are closed on days of their own."""

from __future__ import annotations

import numpy as np

from qn_env.panel import Panel
from qn_env.sources.synthetic import noise


def gappy(seed: int, *, halts: bool) -> Panel:
    """Two markets with holidays of their own, an asset that is listed late, and halts of single assets."""
    rng = np.random.default_rng(seed)
    panel = noise(markets=2, assets=2, days=460, seed=seed)
    returns = panel.returns.copy()
    for columns in ([0, 1], [2, 3]):
        returns[np.ix_(rng.random(len(returns)) < 0.05, columns)] = np.nan
    returns[:20, 1] = np.nan
    if halts:
        returns[rng.random(returns.shape) < 0.05] = np.nan
    return Panel.build(panel.dates, list(panel.assets), list(panel.market_of), returns)

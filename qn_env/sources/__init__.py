"""Where panels come from: the embedded real panel, files, data frames, synthetic markets."""

from __future__ import annotations

from qn_env.sources.embedded import embedded
from qn_env.sources.files import read_costs, read_panel
from qn_env.sources.frames import from_prices, from_returns
from qn_env.sources.rates import excess, read_rate
from qn_env.sources.synthetic import ar1_trend, asynchronous, noise, quantnet2020, ragged

__all__ = [
    "ar1_trend",
    "asynchronous",
    "embedded",
    "excess",
    "from_prices",
    "from_returns",
    "noise",
    "quantnet2020",
    "ragged",
    "read_costs",
    "read_panel",
    "read_rate",
]

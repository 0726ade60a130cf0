"""Changepoints: where an asset's returns last changed their law and how surely (Wood, Roberts, Zohren 2021).

`changepoints` and the feature `Changepoint` give severity and location of the latest changepoint by Gaussian
processes over a look-back; `segments` cuts a history into regimes at them; `cached` keeps them on disk.
"""

from __future__ import annotations

from qn_env.changepoints.cache import cached
from qn_env.changepoints.evidence import changepoints
from qn_env.changepoints.feature import Changepoint
from qn_env.changepoints.regimes import Segment, segments

__all__ = ["Changepoint", "Segment", "cached", "changepoints", "segments"]

"""Deep Momentum Networks (Lim, Zohren, Roberts 2019) and what their group built on them."""

from __future__ import annotations

from agents.dmn.agent import DeepMomentum
from agents.dmn.config import FEATURE_NAMES, DmnConfig
from agents.dmn.spatiotemporal import SpatioTemporal, SpatioTemporalConfig

__all__ = ["FEATURE_NAMES", "DeepMomentum", "DmnConfig", "SpatioTemporal", "SpatioTemporalConfig"]

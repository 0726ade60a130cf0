"""QuantNet (Koshiyama et al. 2020), its variants, its No Transfer twins, and shared weights."""

from __future__ import annotations

from agents.quantnet.agent import QuantNet
from agents.quantnet.config import QuantNetConfig

__all__ = ["QuantNet", "QuantNetConfig"]

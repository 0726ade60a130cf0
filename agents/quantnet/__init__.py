"""QuantNet (Koshiyama et al. 2020) and its No Transfer counterparts."""

from __future__ import annotations

from agents.quantnet.agent import QuantNet

__all__ = ["QuantNet"]

"""Deep Momentum Networks (Lim, Zohren, Roberts 2019)."""

from __future__ import annotations

from agents.dmn.agent import DeepMomentum

__all__ = ["DeepMomentum"]

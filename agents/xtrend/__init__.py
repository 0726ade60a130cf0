"""X-Trend: a forecaster that reads a law from other assets' days (Wood, Kessler, Roberts, Zohren 2023)."""

from agents.xtrend.agent import XTrend
from agents.xtrend.config import XTrendConfig

__all__ = ["XTrend", "XTrendConfig"]

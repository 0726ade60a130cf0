"""Where histories are cut into context sequences: all at once, and day by day."""

from __future__ import annotations

from collections.abc import Callable

from agents.xtrend.config import XTrendConfig
from agents.xtrend.history import FEATURES, History
from agents.xtrend.sequences import Library, first_length, fixed
from qn_env.arrays import FloatArray
from qn_env.features import Feature
from qn_env.panel import Panel

# From the features of the days behind the latest cut [n, F]: days of each sequence whose end is now known.
Ends = Callable[[FloatArray], list[int]]


def features_of(config: XTrendConfig) -> tuple[Feature, ...]:
    """What the agent wants to be shown of every day."""
    return FEATURES


def library_of(panel: Panel, config: XTrendConfig) -> Library:
    """The context sequences of a panel."""
    history = History.of(panel)
    return Library(history, fixed(history, config.context_days), config.context_days)


def ends_of(config: XTrendConfig, column: int, n_assets: int) -> Ends:
    """What cuts the days of one of N assets as they come."""
    return Tiles(column, n_assets, config.context_days)


class Tiles:
    """Cuts as `agents.xtrend.sequences.fixed` does."""

    def __init__(self, column: int, n_assets: int, longest: int) -> None:
        self._next, self._longest = first_length(column, n_assets, longest), longest

    def __call__(self, days: FloatArray) -> list[int]:
        """The length of the sequence that is full."""
        if len(days) < self._next:
            return []
        full, self._next = self._next, self._longest
        return [full]

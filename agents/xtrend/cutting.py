"""Where histories are cut into context sequences: at changepoints or in fixed lengths, at once or daily."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agents.xtrend.config import XTrendConfig
from agents.xtrend.history import FEATURES, History
from agents.xtrend.sequences import Library, Sequences, first_length, fixed, in_order
from qn_env.arrays import FloatArray
from qn_env.changepoints import Changepoint, Segment, segments
from qn_env.features import Feature
from qn_env.panel import Panel

# Columns of the features, behind those that every cut needs.
SEVERITY, LOCATION = len(FEATURES), len(FEATURES) + 1

# From the features of the days behind the latest cut [n, F]: days of each sequence whose end is now known.
Ends = Callable[[FloatArray], list[int]]


def features_of(config: XTrendConfig) -> tuple[Feature, ...]:
    """What the agent wants to be shown of every day."""
    return FEATURES + (_changes(config) if config.contexts == "changepoints" else ())


def library_of(panel: Panel, config: XTrendConfig) -> Library:
    """The context sequences of a panel."""
    history = History.of(panel)
    cut = (
        _at_changes(panel, history, config)
        if config.contexts == "changepoints"
        else fixed(history, config.context_days)
    )
    return Library(history, cut, config.context_days)


def ends_of(config: XTrendConfig, column: int, n_assets: int) -> Ends:
    """What cuts the days of one of N assets as they come, to the same sequences."""
    return (
        Regimes(config) if config.contexts == "changepoints" else Tiles(column, n_assets, config.context_days)
    )


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


class Regimes:
    """Cuts at changepoints as they are found."""

    def __init__(self, config: XTrendConfig) -> None:
        self._config = config

    def __call__(self, days: FloatArray) -> list[int]:
        """The lengths of the regimes whose ends are known today."""
        # Of the days before, no change has led to a cut, or they lie behind one that was found by then.
        severity = np.zeros(len(days))
        severity[-1] = days[-1, SEVERITY]
        return [found.end - found.begin for found in _segments(severity, days[:, LOCATION], self._config)]


def _at_changes(panel: Panel, history: History, config: XTrendConfig) -> Sequences:
    both = panel.features(_changes(config))[history.row, history.asset]
    parts = []
    for j, begin in enumerate(history.first[:-1]):
        end = history.first[j + 1]
        severity, location = both[begin:end].T
        parts += [
            (j, begin + one.begin, one.end - one.begin, begin + one.known)
            for one in _segments(severity, location, config)
        ]
    asset, start, length, known = np.array(parts, dtype=np.intp).reshape(-1, 4).T
    last = history.known[start + length - 1]
    there = last < history.days
    ended = np.maximum(last, history.row[known])
    return in_order(*(part[there] for part in (asset, start, length, ended)))


def _segments(severity: FloatArray, location: FloatArray, config: XTrendConfig) -> list[Segment]:
    return segments(
        severity,
        location,
        days=config.look_back,
        threshold=config.threshold,
        shortest=config.shortest,
        longest=config.context_days,
    )


def _changes(config: XTrendConfig) -> tuple[Feature, ...]:
    return Changepoint(config.look_back, "severity"), Changepoint(config.look_back, "location")

"""What QuantNet's figures share: two samples, pairs and their legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.artefacts.drawing import QUIET, plain
from experiments.papers.quantnet.measure import Pair
from experiments.papers.quantnet.tables import label
from qn_env.arrays import FloatArray
from qn_env.extras import require

STRATEGY, REFERENCE = "#0072B2", "#D55E00"


def overlay(axes: Any, edges: FloatArray, strategy: pd.Series[Any], reference: pd.Series[Any]) -> None:
    """Two samples on common edges, with their medians."""
    for values, colour in ((reference, REFERENCE), (strategy, STRATEGY)):
        known = values.dropna().to_numpy()
        axes.hist(known, bins=edges, color=colour, alpha=0.3)
        axes.hist(known, bins=edges, color=colour, histtype="step", linewidth=1.4)
        if known.size:
            axes.axvline(float(np.median(known)), color=colour, linewidth=1.2, linestyle="--")
    axes.yaxis.set_major_locator(require("matplotlib.ticker", what="A figure").MaxNLocator(4, integer=True))


def scatter(axes: Any, x: FloatArray, y: FloatArray, *, size: float) -> None:
    """Points with the line of equality."""
    axes.axline((0.0, 0.0), slope=1.0, color=QUIET, linewidth=1.0, linestyle=":")
    axes.axhline(0, color=QUIET, linewidth=0.7)
    axes.axvline(0, color=QUIET, linewidth=0.7)
    axes.scatter(x, y, s=size, color=STRATEGY, alpha=0.75, linewidths=0)


def shared_legend(
    figure: Any,
    strategies: Sequence[str],
    reference: str | None,
    *,
    markers: tuple[str, str] | None = None,
    extra: tuple[str, str] | None = None,
) -> None:
    """Name the strategy in blue and the reference in orange above all axes."""
    entries = [(label(name), STRATEGY) for name in strategies]
    entries += [(label(reference), REFERENCE)] if reference else []
    entries += [extra] if extra else []
    make = require("matplotlib.lines", what="A figure").Line2D
    styles: list[dict[str, Any]] = [{"linewidth": 2.4}] * len(entries)
    if markers:
        styles = [{"marker": marker, "linestyle": ""} for marker in markers]
    handles = [
        make([], [], color=colour, **style) for (_, colour), style in zip(entries, styles, strict=True)
    ]
    names = [plain(name) for name, _ in entries]
    figure.legend(handles, names, loc="outside upper center", ncols=len(entries), fontsize=9.5)


def versus(pair: Pair) -> str:
    """A pair in words."""
    return f"{label(pair.strategy)} against {label(pair.reference)}"

"""How the paper's figures are drawn and written: no global state, and the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agents.checkpoint import write_atomically
from experiments.papers.quantnet.measure import Pair
from experiments.papers.quantnet.tables import label
from experiments.report.figures import STYLE
from qn_env.extras import require
from qn_env.panel import FloatArray

DPI = 130
STRATEGY, REFERENCE, QUIET, INK = "#0072B2", "#D55E00", "#8c959f", "#1c2128"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure as an artefact."""

    name: str  # of its files
    title: str
    caption: str  # what it shows, in one sentence
    draw: Callable[[], Any]  # to a matplotlib figure


def write_drawing(drawing: Drawing, folder: Path) -> bytes:
    """Write NAME.png and NAME.svg into a folder; returns the PNG."""
    with require("matplotlib", what="A figure").rc_context(STYLE):
        made = drawing.draw()
        images = {
            kind: _image(made, kind, metadata)
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None}))
        }
    for kind, content in images.items():
        write_atomically(folder / f"{drawing.name}.{kind}", content)
    return images["png"]


def _image(made: Any, kind: str, metadata: Mapping[str, None]) -> bytes:
    content = io.BytesIO()
    made.savefig(content, format=kind, dpi=DPI, metadata=metadata)
    return content.getvalue()


def grid_of(n: int, *, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    """A figure of n axes of `width` by `height` inches, and these axes."""
    columns = max(min(columns, n), 1)
    rows = max(-(-n // columns), 1)
    figure = require("matplotlib.figure", what="A figure").Figure(
        figsize=(width * columns, height * rows + 0.35), layout="constrained"
    )
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[n:]:
        axes.set_axis_off()
    return figure, grid


def overlaid(axes: Any, edges: FloatArray, strategy: pd.Series[Any], reference: pd.Series[Any]) -> None:
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


def plain(name: str) -> str:
    """A name that matplotlib does not read as mathematics."""
    return name.replace("$", r"\$")

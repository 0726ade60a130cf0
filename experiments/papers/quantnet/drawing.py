"""What QuantNet's figures share: many small axes, two samples, pairs and their legend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from experiments.artefacts.drawing import QUIET, grid_of, plain
from experiments.papers.quantnet.measure import Pair
from experiments.papers.quantnet.tables import label
from qn_env.arrays import FloatArray
from qn_env.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STRATEGY, REFERENCE = "#0072B2", "#D55E00"
Shown = TypeVar("Shown")


class Samples(NamedTuple):
    """Two samples on common bins."""

    edges: FloatArray
    strategy: pd.Series[float]
    reference: pd.Series[float]


def small_multiples(
    shown: Mapping[str, Shown],
    draw: Callable[[Axes, Shown], None],
    *,
    columns: int,
    size: tuple[float, float],
    legend: tuple[str, str] | None = None,
    x: str = "",
    y: str = "",
) -> Figure:
    """One axes per title with what it shows, under one legend and with labels for all.

    Args:
        shown: title to what is drawn.
        draw: draws it.
        columns: at most so many axes side by side.
        size: width and height of one, inches.
        legend: strategy and reference; None: no legend.
        x: label of all horizontal axes.
        y: label of all vertical axes.
    """
    width, height = size
    figure, grid = grid_of(len(shown), columns=columns, width=width, height=height)
    for axes, (title, one) in zip(grid, shown.items(), strict=False):
        draw(axes, one)
        axes.set_title(plain(title), fontsize=10)
    if legend:
        shared_legend(figure, *legend)
    if x:
        figure.supxlabel(plain(x), fontsize=10)
    if y:
        figure.supylabel(plain(y), fontsize=10)
    return figure


def overlay(axes: Axes, samples: Samples) -> None:
    """Two samples with their medians."""
    edges = samples.edges.tolist()
    for values, colour in ((samples.reference, REFERENCE), (samples.strategy, STRATEGY)):
        known = values.dropna().to_numpy()
        axes.hist(known, bins=edges, color=colour, alpha=0.3)
        axes.hist(known, bins=edges, color=colour, histtype="step", linewidth=1.4)
        if known.size:
            axes.axvline(float(np.median(known)), color=colour, linewidth=1.2, linestyle="--")
    axes.yaxis.set_major_locator(require("matplotlib.ticker", what="A figure").MaxNLocator(4, integer=True))


def scatter(axes: Axes, x: FloatArray, y: FloatArray, *, size: float) -> None:
    """Points with the line of equality."""
    axes.axline((0.0, 0.0), slope=1.0, color=QUIET, linewidth=1.0, linestyle=":")
    axes.axhline(0, color=QUIET, linewidth=0.7)
    axes.axvline(0, color=QUIET, linewidth=0.7)
    axes.scatter(x, y, s=size, color=STRATEGY, alpha=0.75, linewidths=0)


# Where a name may stand beside its point, points of 1/72 inch; the first place that is free is taken.
NEAR = ((4, 3), (4, -9), (-4, 3), (-4, -9), (4, 10), (-4, 10), (4, -16), (-4, -16))
LETTER, LINE = 4.0, 8.0  # width of a letter and height of a line at 7 points


def name_points(axes: Axes, names: Sequence[str], x: FloatArray, y: FloatArray) -> None:
    """Names beside points, none outside the axes or over another one where that can be helped."""
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y)).tolist()
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    box, whole = axes.get_position(), axes.get_figure(root=True)
    assert whole is not None, "expected axes of a figure"
    wide, tall = (72.0 * size for size in whole.get_size_inches() * (box.width, box.height))
    across, up = (x - left) / (right - left) * wide, (y - low) / (high - low) * tall
    taken = [(across[i] - 3.0, up[i] - 3.0, across[i] + 3.0, up[i] + 3.0) for i in known]

    def place(i: int, offset: tuple[int, int]) -> tuple[float, float, float, float]:
        length = LETTER * len(names[i])
        begin = across[i] + offset[0] - (length if offset[0] < 0 else 0.0)
        return begin, up[i] + offset[1], begin + length, up[i] + offset[1] + LINE

    def is_free(one: tuple[float, float, float, float]) -> bool:
        if one[0] < 0.0 or one[2] > wide or one[1] < 0.0 or one[3] > tall:
            return False
        return all(one[0] > o[2] or one[2] < o[0] or one[1] > o[3] or one[3] < o[1] for o in taken)

    for i in known:
        offset = next((near for near in NEAR if is_free(place(i, near))), NEAR[0])
        taken.append(place(i, offset))
        axes.annotate(
            names[i],
            (x[i], y[i]),
            xytext=offset,
            textcoords="offset points",
            fontsize=7,
            ha="right" if offset[0] < 0 else "left",
        )


def signed_colours(values: FloatArray) -> list[str]:
    """The strategy's colour where it is ahead, else the reference's."""
    return [STRATEGY if value >= 0 else REFERENCE for value in values]


def shared_legend(
    figure: Figure, strategy: str, reference: str, *, markers: tuple[str, str] | None = None
) -> None:
    """Name the strategy in blue and what it is held against in orange above all axes."""
    make = require("matplotlib.lines", what="A figure").Line2D
    styles: list[dict[str, object]] = [{"linewidth": 2.4}] * 2
    if markers:
        styles = [{"marker": marker, "linestyle": ""} for marker in markers]
    colours = (STRATEGY, REFERENCE)
    handles = [make([], [], color=colour, **style) for colour, style in zip(colours, styles, strict=True)]
    names = [plain(label(name)) for name in (strategy, reference)]
    figure.legend(handles, names, loc="outside upper center", ncols=2, fontsize=9.5)


def versus(pair: Pair) -> str:
    """A pair in words."""
    return f"{label(pair.strategy)} against {label(pair.reference)}"

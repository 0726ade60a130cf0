"""How figures are drawn and written: no global state, and the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.artefacts.items import Drawing
from qn_env.extras import require
from qn_env.storage import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 130
QUIET, INK = "#8c959f", "#1c2128"
STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.edgecolor": "#8c959f",
    "grid.color": "#e3e7eb",
    "axes.axisbelow": True,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.hashsalt": "qn_env",  # fixed ids: the same run gives the same bytes
}


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


def _image(made: Figure, kind: str, metadata: Mapping[str, None]) -> bytes:
    content = io.BytesIO()
    made.savefig(content, format=kind, dpi=DPI, metadata=metadata)
    return content.getvalue()


def grid_of(n: int, *, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of n axes of `width` by `height` inches, and these axes."""
    columns = max(min(columns, n), 1)
    rows = max(-(-n // columns), 1)
    figure: Figure = require("matplotlib.figure", what="A figure").Figure(
        figsize=(width * columns, height * rows + 0.35), layout="constrained"
    )
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[n:]:
        axes.set_axis_off()
    return figure, grid


def date_axis(axes: Axes) -> None:
    """Few dates, each with no more than what tells it from the one before; lines reach the frame."""
    dates = require("matplotlib.dates", what="A figure")
    locator = dates.AutoDateLocator(minticks=3, maxticks=7)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    axes.margins(x=0.01)


def plain(name: str) -> str:
    """A name that matplotlib does not read as mathematics."""
    return name.replace("$", r"\$")

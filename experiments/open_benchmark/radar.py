"""One radar figure for each agent: its seven scores around a circle, each beside its name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.artefacts.drawing import INK, QUIET, plain
from experiments.artefacts.items import Drawing
from experiments.artefacts.numbers import UNDEFINED
from experiments.open_benchmark.folder import file_name
from experiments.open_benchmark.scorecard import QUESTIONS
from qn_env.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOUR = "#0060a0"
INCHES = (4.4, 4.1)
RINGS = (0.25, 0.5, 0.75, 1.0)
WIDEST = 33  # characters of a title in full size
OUTSIDE = 1.13  # where a name begins, of the radius


def radar_of(agent: str, scores: Mapping[str, float]) -> Drawing:
    """The figure of one agent.

    Args:
        agent: its name.
        scores: by the name of a question; NaN where it has no score.
    """
    told = "; ".join(f"{one.title.lower()} {_text(scores[one.name])}" for one in QUESTIONS)
    return Drawing(
        name=f"radar-{file_name(agent)}",
        title=agent,
        caption=f"{agent}: {told}.",
        draw=partial(_draw, agent, dict(scores)),
    )


def _draw(agent: str, scores: Mapping[str, float]) -> Figure:
    values = np.array([scores[one.name] for one in QUESTIONS])
    angles = np.linspace(0.0, 2.0 * np.pi, len(QUESTIONS), endpoint=False)
    figure: Figure = require("matplotlib.figure", what="A figure").Figure(figsize=INCHES)
    axes = figure.add_axes((0.24, 0.15, 0.52, 0.56), projection="polar")
    _grid(axes, angles)
    known = np.isfinite(values)
    around = np.append(np.arange(len(values)), 0)
    drawn = np.where(known, values, 0.0)[around]
    axes.plot(angles[around], drawn, color=COLOUR, linewidth=2.0, zorder=3, clip_on=False)
    axes.fill(angles[around], drawn, color=COLOUR, alpha=0.18, zorder=2)
    axes.plot(angles[known], values[known], "o", color=COLOUR, markersize=5.5, zorder=4, clip_on=False)
    missing = angles[~known]
    axes.plot(
        missing, np.zeros(len(missing)), "o", color=QUIET, markerfacecolor="white", markersize=5.5, zorder=4
    )
    for question, angle, value in zip(QUESTIONS, angles, values, strict=True):
        _name(axes, float(angle), question.short, float(value))
    figure.text(
        0.5, 0.985, plain(agent), ha="center", va="top", fontsize=_size(agent), fontweight="bold", color=INK
    )
    return figure


def _size(title: str) -> float:
    """Of a title that has to fit the figure."""
    return min(13.0, 13.0 * WIDEST / max(len(title), 1))


def _grid(axes: Axes, angles: np.ndarray) -> None:
    """Polygons in place of circles, and nothing else."""
    polar: Any = axes  # its methods are those of polar axes
    polar.set_theta_zero_location("N")
    polar.set_theta_direction(-1)
    axes.set_ylim(0.0, 1.0)
    axes.set_axis_off()
    closed = np.append(angles, angles[0])
    for ring in RINGS:
        last = ring == RINGS[-1]
        axes.plot(closed, np.full(len(closed), ring), color="#aeb6bf" if last else "#dde2e7",
                  linewidth=1.1 if last else 0.8, zorder=1, clip_on=False)  # fmt: skip
    for angle in angles:
        axes.plot([angle, angle], [0.0, 1.0], color="#dde2e7", linewidth=0.8, zorder=1)


def _name(axes: Axes, angle: float, short: str, value: float) -> None:
    """A question and its score, outside the circle, on the side it lies on."""
    across, up = np.sin(angle), np.cos(angle)
    sides: dict[str, Any] = {"ha": "center" if abs(across) < 0.2 else ("left" if across > 0 else "right")}
    sides["va"] = "bottom" if up > 0.8 else ("top" if up < -0.8 else "center")
    axes.text(
        angle,
        OUTSIDE,
        f"{short}\n{_text(value)}",
        fontsize=10.5,
        color=INK if np.isfinite(value) else QUIET,
        linespacing=1.15,
        **sides,
    )


def _text(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else UNDEFINED

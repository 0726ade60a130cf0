"""What an episode looks like: equity, drawdown and the weights held, as a picture or in a window."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qn_env.arrays import DateArray, FloatArray
from qn_env.errors import ConfigError
from qn_env.extras import require
from qn_env.panel import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Frame = NDArray[np.uint8]

INCHES, DPI = (8.0, 6.0), 100  # 800 by 600 pixels; even, as video codecs want it
# Okabe and Ito's colour-blind safe set; the second round is dashed.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# More markets than this are drawn alike, without names.
NAMED = 12
INK, MUTED, GRID = "#24292f", "#8c959f", "#e3e7eb"
NEED = "Rendering"


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """The days of an episode so far.

    Attributes:
        dates: [D] the days, today last.
        equity: [D] growth of 1.
        net: [D, M] mean weight held in each market, as the panel's mean counts its assets; 0 without any.
        net_of_all: [D] the panel's mean weight.
        gross_of_all: [D] the panel's mean absolute weight: its leverage.
        markets: the markets' names.
    """

    dates: DateArray
    equity: FloatArray
    net: FloatArray
    net_of_all: FloatArray
    gross_of_all: FloatArray
    markets: tuple[str, ...]

    @property
    def drawdown(self) -> FloatArray:
        """[D] distance from the highest equity so far, as a fraction of it, <= 0."""
        drawdown: FloatArray = self.equity / np.maximum.accumulate(self.equity) - 1.0
        return drawdown


class Screen:
    """Remembers an episode for its pictures; an environment has one only if it was given a render mode."""

    def __init__(self, mode: str, panel: Panel) -> None:
        """Start without a day.

        Args:
            mode: "rgb_array", or "human" for a window that follows the episode.
            panel: whose markets are drawn.
        """
        self._mode, self._panel = mode, panel
        self._window: Figure | None = None
        self._headless = False
        self.clear()

    def clear(self) -> None:
        """Forget the episode; a window stays open."""
        self._days: list[tuple[np.datetime64, float, FloatArray, float, float]] = []

    def add(self, date: np.datetime64, equity: float, weight: FloatArray, share: FloatArray) -> None:
        """Remember today, and show it if there is a window.

        Args:
            date: today.
            equity: growth of 1 since the episode began.
            weight: [N] the weights held.
            share: [N] each asset's share in the panel's mean.
        """
        index, held = self._panel.market_index, weight * share
        size = np.bincount(index, weights=share)
        net = np.bincount(index, weights=held) / np.where(size > 0.0, size, 1.0)
        self._days.append((date, equity, net, float(held.sum()), float(np.abs(held).sum())))
        if self._mode == "human":
            self._show()

    def render(self) -> Frame | None:
        """The picture of the episode so far; None in human mode, where the window shows it.

        Raises:
            ConfigError: before the first reset, or matplotlib is not installed.
        """
        if not self._days:
            raise ConfigError("render was called before reset; call reset first.")
        if self._mode == "human":
            self._show()
            return None
        return draw(self.history)

    @property
    def history(self) -> History:
        """The episode so far."""
        dates, equity, net, net_of_all, gross_of_all = zip(*self._days, strict=True)
        return History(
            dates=np.array(dates),
            equity=np.array(equity),
            net=np.array(net),
            net_of_all=np.array(net_of_all),
            gross_of_all=np.array(gross_of_all),
            markets=tuple(self._panel.markets),
        )

    def close(self) -> None:
        """Close the window, if there is one; it opens again with the next day that is shown."""
        if self._window is not None:
            require("matplotlib.pyplot", what=NEED).close(self._window)
        self._window = None

    def _show(self) -> None:
        """Redraw the window; nothing without a display, or once the user has closed the window."""
        if self._headless:
            return
        pyplot = require("matplotlib.pyplot", what=NEED)
        if self._window is None:
            self._open(pyplot)
        elif pyplot.fignum_exists(self._window.number):
            _paint(self._window, self.history)
            self._window.canvas.draw()
            self._window.canvas.flush_events()

    def _open(self, pyplot: ModuleType) -> None:
        base = require("matplotlib.backend_bases", what=NEED).FigureManagerBase
        figure = pyplot.figure(figsize=INCHES, dpi=DPI)
        # What every backend that only writes files has: Agg, which is also what there is without a display.
        self._headless = type(figure.canvas.manager) is base
        if self._headless:
            pyplot.close(figure)
            return
        self._window = figure
        figure.show()
        self._show()


def draw(history: History) -> Frame:
    """The episode so far as an image: uint8 [600, 800, 3].

    Raises:
        ConfigError: matplotlib is not installed.
    """
    agg = require("matplotlib.backends.backend_agg", what=NEED)
    figure = require("matplotlib.figure", what=NEED).Figure(figsize=INCHES, dpi=DPI)
    canvas = agg.FigureCanvasAgg(figure)
    _paint(figure, history)
    canvas.draw()
    return np.array(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def _paint(figure: Figure, history: History) -> None:
    """Draw the three panels on an empty or an older figure."""
    figure.clear()
    # A fixed layout: matplotlib's own takes longer than the drawing, and would jump from frame to frame.
    spaces = {"left": 0.085, "right": 0.975, "top": 0.895, "bottom": 0.165, "hspace": 0.25}
    panels = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1.7, 2.6), gridspec_kw=spaces)
    equity, drawdown = history.equity[-1], history.drawdown[-1]
    figure.suptitle(
        f"{history.dates[-1]}   equity {equity:.3f}   drawdown {drawdown:.1%}",
        x=0.015, y=0.975, ha="left", fontsize=12, fontweight="bold", color=INK,
    )  # fmt: skip
    for axes, title in zip(
        panels, ("Growth of 1", "Drawdown", "Weight held, mean of each market"), strict=True
    ):
        _furnish(axes, title)
    _paint_equity(panels[0], history)
    _paint_drawdown(panels[1], history)
    _paint_weights(panels[2], history)
    _paint_days(panels[2], history)


def _furnish(axes: Axes, title: str) -> None:
    # A place of its own spares the measuring of every tick, a third of the time.
    axes.set_title(title, loc="left", y=1.02, fontsize=10, color=INK)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, color=MUTED, labelcolor=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)


def _paint_equity(axes: Axes, history: History) -> None:
    axes.axhline(1.0, color=MUTED, linewidth=0.8)
    axes.plot(history.dates, history.equity, color=COLOURS[0], linewidth=1.6)
    axes.plot(history.dates[-1:], history.equity[-1:], "o", color=COLOURS[0], markersize=4, clip_on=False)


def _paint_drawdown(axes: Axes, history: History) -> None:
    axes.fill_between(history.dates, history.drawdown, 0.0, color=COLOURS[1], alpha=0.25, linewidth=0)
    axes.plot(history.dates, history.drawdown, color=COLOURS[1], linewidth=1.0)
    axes.set_ylim(top=0.0, bottom=min(1.1 * float(history.drawdown.min()), -0.01))
    axes.yaxis.set_major_formatter(require("matplotlib.ticker").PercentFormatter(1.0))


def _paint_weights(axes: Axes, history: History) -> None:
    """The markets' lines, the panel's over them, between plus and minus its leverage."""
    leverage = history.gross_of_all
    axes.fill_between(
        history.dates, -leverage, leverage,
        color=MUTED, alpha=0.18, linewidth=0, step="post", label="± gross of all",
    )  # fmt: skip
    named = len(history.markets) <= NAMED
    for m, name in enumerate(history.markets):
        colour = COLOURS[m % len(COLOURS)] if named else MUTED
        dash = "-" if m < len(COLOURS) or not named else "--"
        label, width = (name, 1.0) if named else (None, 0.4)
        axes.step(
            history.dates, history.net[:, m], dash, where="post", color=colour, linewidth=width, label=label
        )
    axes.step(history.dates, history.net_of_all, where="post", color=INK, linewidth=1.6, label="net of all")
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=5,
        fontsize=8, frameon=False, labelcolor=INK, handlelength=1.6,
    )  # fmt: skip


def _paint_days(axes: Axes, history: History) -> None:
    """A time axis that begins with the episode and is a month long at least, so that it does not jump."""
    first, today = history.dates[0], history.dates[-1]
    axes.set_xlim(first, max(today, first + np.timedelta64(30, "D")))
    dates = require("matplotlib.dates")
    locator = dates.AutoDateLocator(maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, show_offset=False))

"""Which regimes a decision of X-Trend attended to: the asset's own past, and the contexts by their weight."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.artefacts.drawing import INK, QUIET, date_axis, plain
from experiments.artefacts.items import Drawing
from qn_env.arrays import DateArray, FloatArray
from qn_env.dates import DateLike, as_moment
from qn_env.extras import require
from qn_env.panel import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from agents.xtrend import XTrend
    from agents.xtrend.pool import Asset, Told

COLOUR = "#0060a0"
WIDTH, ABOVE, ROW = 8.0, 2.9, 0.27  # inches: the figure, what is not a row of contexts, a row
LEAST_DAYS = 252  # own days of the asset that are shown at least, if there are as many
FAINTEST = 0.1  # opacity of a weight of 0
THINNEST = 0.005  # width of a span at least, of the axis
ALWAYS = "always there"  # how the context that is no asset's is called

Spans = Mapping["Asset", Sequence[tuple["Told", float]]]


def attention_of(
    agent: XTrend, panel: Panel, market: str, asset: str, day: DateLike, *, most: int = 12
) -> Drawing:
    """The figure of one decision.

    Args:
        agent: trained.
        panel: what is played.
        market: of the asset.
        asset: its name.
        day: the decision's.
        most: assets that are shown, those that weigh most.

    Raises:
        ConfigError: as `XTrend.attended`.
    """
    attended = agent.attended(panel, market, asset, day)
    always = sum(one.weight for one in attended if one.told is None)
    spans: dict[Asset, list[tuple[Told, float]]] = {}
    for told, weight in attended:
        if told is not None:
            spans.setdefault((told.market, told.asset), []).append((told, weight))
    heaviest = sorted(spans, key=lambda name: -_total(spans[name]))[:most]
    shown = {name: spans[name] for name in heaviest}
    rest = 1.0 - always - sum(_total(part) for part in shown.values())
    left_out = f", assets that are not shown {rest:.0%}" if len(spans) > len(shown) else ""
    moment = as_moment(day, panel.dates)
    return Drawing(
        name=re.sub(r"[^\w.-]+", "-", f"attention-{market}-{asset}-{moment}"),
        title=f"{market}/{asset}, {moment}",
        caption=f"What the decision for {market}/{asset} at the close of {moment} attended to: stretches of "
        "days that had ended, the darker the more, with the sum of each asset's weights; the context that is "
        f"always there has {always:.0%}{left_out}.",
        draw=partial(
            _draw,
            f"{market}/{asset} at the close of {moment}",
            *_past(panel, market, asset, moment),
            shown,
            always,
        ),
    )


def _past(panel: Panel, market: str, asset: str, moment: np.datetime64) -> tuple[DateArray, FloatArray]:
    """The asset's own days up to a day, and what 1 at the first close has become, decimal."""
    columns = panel.markets[market].columns
    column = columns.start + panel.assets[columns].index(asset)
    own = panel.tradable[:, column] & (panel.dates <= moment)
    return panel.dates[own], np.cumprod(1.0 + panel.returns[own, column])


def _draw(title: str, dates: DateArray, grown: FloatArray, spans: Spans, always: float) -> Figure:
    rows = len(spans) + 1
    figure: Figure = require("matplotlib.figure", what="A figure").Figure(
        figsize=(WIDTH, ABOVE + ROW * rows), layout="constrained"
    )
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[ABOVE - 0.9, ROW * rows + 0.2])
    begin = min([dates[-LEAST_DAYS:][0], *(told.first for part in spans.values() for told, _ in part)])
    shown = dates >= begin
    above.plot(dates[shown], 100.0 * (grown[shown] / grown[shown][0] - 1.0), color=COLOUR, linewidth=1.4)
    above.set_ylabel("cumulative return, %")
    above.set_title(plain(title))
    _rows(below, spans, always)
    for axes in (above, below):
        axes.axvline(dates[-1], color=INK, linewidth=1.0, linestyle=":")
    date_axis(below)
    return figure


def _rows(axes: Axes, spans: Spans, always: float) -> None:
    """A row for each asset, the heaviest on top; its contexts as spans, the sum of weights at the right."""
    number = require("matplotlib.dates", what="A figure").date2num
    darkest = max((weight for part in spans.values() for _, weight in part), default=1.0)
    thinnest = THINNEST * float(np.diff(axes.get_xlim())[0])
    totals = [*(_total(part) for part in spans.values()), always]
    names = [*(plain("/".join(name)) for name in spans), ALWAYS]
    for row, part in enumerate(spans.values()):
        for told, weight in part:
            begin, end = number(told.first), number(told.last)
            opacity = FAINTEST + (1.0 - FAINTEST) * weight / darkest
            bar: dict[str, Any] = {"facecolor": (COLOUR, opacity), "edgecolor": "white", "linewidth": 0.8}
            axes.broken_barh([(begin, max(end - begin, thinnest))], (row - 0.38, 0.76), **bar)
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    place: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": "left", "va": "center"}
    for row, total in enumerate(totals):
        axes.text(1.01, row, f"{total:.0%}", fontsize=9, color=INK, **place)
    axes.text(1.01, -0.9, "weight", fontsize=9, color=QUIET, **place)


def _total(part: Sequence[tuple[Told, float]]) -> float:
    return sum(weight for _, weight in part)

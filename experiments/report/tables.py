"""The page's tables and small drawings as plain values, ready for the template to escape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple, TypedDict

import numpy as np
import pandas as pd

from experiments.artefacts.numbers import UNDEFINED
from experiments.report.line_styles import LineStyle
from experiments.results.headings import LEADERBOARD, SCALED, pick
from experiments.results.run import Run
from experiments.results.series import Curve, Figures, bin_edges
from experiments.settings.config import IN_WORDS, Execution, Level, other_execution
from experiments.statistics import Ranking
from qn_env.arrays import FloatArray

BAR_WIDTH, BAR_HEIGHT = 112, 14  # of a whisker, SVG units
HISTOGRAM_WIDTH, HISTOGRAM_HEIGHT = 220, 72
STRONG_SHARPE = 1.5  # at and beyond it a heat-map cell has its full colour


COLUMNS = pick(*LEADERBOARD, *SCALED, "undefined")  # behind the Sharpe ratio


class Cell(NamedTuple):
    """A figure as shown, and as sorted."""

    text: str
    value: float | None  # None where undefined: sorts last


class Whisker(NamedTuple):
    """A point and its interval on the table's common scale; SVG units."""

    low: float
    high: float
    point: float
    zero: float


class Histogram(NamedTuple):
    """One agent's sample of per-asset Sharpe ratios; bars are (x, y, width, height, tooltip)."""

    style: LineStyle
    bars: list[tuple[float, float, float, float, str]]
    zero: float
    median: float | None
    caption: str


def number(value: float, digits: int = 2) -> str:
    """A figure with a true minus sign; an en dash where it is undefined.

    Examples:
        >>> number(0.456), number(float("nan")) == UNDEFINED
        ('0.46', True)
    """
    if not math.isfinite(value):
        return UNDEFINED
    text = f"{value:.{digits}f}"
    return text.replace("-", "\N{MINUS SIGN}") if float(text) else text.lstrip("-")


def percent(value: float) -> str:
    """A decimal share in percent.

    Examples:
        >>> percent(0.1234)
        '12.34%'
    """
    return number(100 * value) + ("%" if math.isfinite(value) else "")


def cell(value: float, kind: str) -> Cell:
    """A leaderboard cell."""
    value = float(value)
    text = percent(value) if kind == "percent" else number(value, 0 if kind == "count" else 2)
    return Cell(text, value if math.isfinite(value) else None)


class Row(TypedDict):
    """One agent of the leaderboard."""

    style: LineStyle
    rank: Cell
    comparable: bool
    static: bool
    first_day: bool
    sharpe: Cell
    other: Cell
    interval: str
    whisker: Whisker | None
    seeds: int
    spread: str
    cells: list[Cell]


def leaderboard(
    runs: Mapping[Execution, Run], execution: Execution, level: Level, appearance: Mapping[str, LineStyle]
) -> dict[str, object]:
    """Rows of the leaderboard of one execution at one cost, and the number of figures shown as undefined."""
    scale = _scale(pd.concat([run.leaderboard for run in runs.values()]))
    ranking = runs[execution].ranking(level).to_dict("records")
    other = runs[other_execution(execution)].ranking(level).set_index("agent")["sharpe"]
    rows = [_row(appearance[row["agent"]], row, float(other[row["agent"]]), scale) for row in ranking]
    cells = [shown for row in rows for shown in (row["sharpe"], *row["cells"])]
    return {
        "rows": rows,
        "undefined": sum(shown.value is None for shown in cells),
        "beside": IN_WORDS[other_execution(execution)],
        "low": number(scale[0], 1),
        "high": number(scale[1], 1),
    }


def _row(style: LineStyle, row: Mapping[str, float], other: float, scale: tuple[float, float]) -> Row:
    seeds = int(row["seeds"])
    spread = f"{number(row['seed_low'])} to {number(row['seed_high'])}" if seeds > 1 else ""
    return {
        "style": style,
        "rank": Cell(number(row["rank"], 0), float(row["rank"]) if math.isfinite(row["rank"]) else None),
        "comparable": bool(row["comparable"]),
        "static": bool(row.get("static", False)),
        "first_day": bool(row["first_day"]),
        "sharpe": cell(row["sharpe"], "number"),
        "other": cell(other, "number"),
        "interval": f"{number(row['sharpe_low'])} to {number(row['sharpe_high'])}",
        "whisker": whisker(row["sharpe_low"], row["sharpe"], row["sharpe_high"], scale),
        "seeds": seeds,
        "spread": spread,
        "cells": [cell(row[column.name], column.kind) for column in COLUMNS],
    }


def _scale(table: pd.DataFrame) -> tuple[float, float]:
    """Range of every Sharpe ratio and bound of the run, zero included, at every cost."""
    values = table[["sharpe", "sharpe_low", "sharpe_high"]].to_numpy(dtype=np.float64)
    values = values[np.isfinite(values)]
    low, high = (min(values.min(), 0.0), max(values.max(), 0.0)) if values.size else (0.0, 0.0)
    return (float(low), float(high)) if high > low else (-1.0, 1.0)


def whisker(low: float, point: float, high: float, scale: tuple[float, float]) -> Whisker | None:
    """Where the interval's bar, its point and zero stand; None without a finite interval.

    Examples:
        >>> whisker(-1.0, 0.0, 1.0, (-1.0, 1.0))
        Whisker(low=5.0, high=107.0, point=56.0, zero=56.0)
    """
    if not all(math.isfinite(value) for value in (low, point, high)):
        return None
    return Whisker(*(_place(value, scale, BAR_WIDTH) for value in (low, high, point, 0.0)))


def _place(value: float, scale: tuple[float, float], width: int, margin: int = 5) -> float:
    """A value's x on a drawing `width` wide."""
    return round(margin + (width - 2 * margin) * (value - scale[0]) / (scale[1] - scale[0]), 1)


def histograms(sample: Figures, edges: FloatArray, appearance: Mapping[str, LineStyle]) -> list[Histogram]:
    """One small histogram per agent, on common axes.

    Args:
        sample: per-asset Sharpe ratios of every agent.
        edges: common bin edges, for every agent and cost.
        appearance: the agents' styles, in order.
    """
    counts = {name: np.histogram(finite(sample.mean.loc[name]), edges)[0] for name in appearance}
    tallest = max(1, *(int(count.max()) for count in counts.values()))
    return [
        _histogram(
            style, counts[name], tallest, edges, sample.mean.loc[name], int(sample.undefined.loc[name].sum())
        )
        for name, style in appearance.items()
    ]


def common_edges(samples: list[Figures]) -> FloatArray:
    """Histogram edges that hold every agent at every cost, so that the drawings compare."""
    return bin_edges(np.concatenate([sample.mean.to_numpy(dtype=np.float64).ravel() for sample in samples]))


def finite(values: pd.Series) -> FloatArray:
    """The values of a row that are defined."""
    row: FloatArray = values.to_numpy(dtype=np.float64)
    return row[np.isfinite(row)]


def sample_caption(values: pd.Series, undefined: int) -> str:
    """One line under a histogram: median, share above zero, and what is undefined."""
    known = finite(values)
    parts = [f"median {number(float(np.median(known)))}"] if known.size else []
    parts.append(f"{int((known > 0).sum())} of {len(values)} above 0")
    if undefined:
        parts.append(f"{UNDEFINED} {undefined} undefined")
    return ", ".join(parts)


def _histogram(
    style: LineStyle, counts: FloatArray, tallest: int, edges: FloatArray, values: pd.Series, undefined: int
) -> Histogram:
    scale, known = (float(edges[0]), float(edges[-1])), finite(values)
    bars = []
    for count, left, right in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        x, end = (_place(edge, scale, HISTOGRAM_WIDTH) for edge in (left, right))
        height = round((HISTOGRAM_HEIGHT - 8) * count / tallest, 1)
        tip = f"{number(left)} to {number(right)}: {count}"
        if count:
            bars.append((x + 0.5, round(HISTOGRAM_HEIGHT - height, 1), round(end - x - 1, 1), height, tip))
    return Histogram(
        style=style,
        bars=bars,
        zero=_place(0.0, scale, HISTOGRAM_WIDTH),
        median=_place(float(np.median(known)), scale, HISTOGRAM_WIDTH) if known.size else None,
        caption=sample_caption(values, undefined),
    )


def heat_map(figures: Figures, appearance: Mapping[str, LineStyle]) -> dict[str, object]:
    """Agents by markets: text, colour and the number of seeds without a value."""
    rows = []
    for name, style in appearance.items():
        values, missing = figures.mean.loc[name].tolist(), figures.undefined.loc[name].tolist()
        rows.append({"style": style, "cells": [_heat(v, m) for v, m in zip(values, missing, strict=True)]})
    markets = [str(market) for market in figures.mean.columns.get_level_values("market")]
    return {"markets": markets, "rows": rows, "undefined": int(figures.undefined.to_numpy().sum())}


def _heat(value: float, undefined: int) -> dict[str, object]:
    strength = min(abs(value) / STRONG_SHARPE, 1.0) if math.isfinite(value) else 0.0
    return {
        "text": number(value),
        "undefined": undefined,
        "colour": "0, 114, 178" if value > 0 else "213, 94, 0",  # blue and vermilion, red, green, blue
        "alpha": round(0.6 * strength, 2),
    }


def undefined_days(paths: Mapping[str, Curve], appearance: Mapping[str, LineStyle]) -> str:
    """One sentence on daily returns that have no value; empty when all have one."""
    each = {path.undefined / path.seeds for path in paths.values()}
    if each == {0.0}:
        return ""
    if len(each) == 1 and (days := each.pop()).is_integer():
        return f"{UNDEFINED} Days without a value: {days:g} of every agent and seed."
    listed = ", ".join(f"{appearance[name].label} {path.undefined}" for name, path in paths.items())
    return f"{UNDEFINED} Days without a value, summed over seeds: {listed}."


RANKS_WIDTH, RANKS_ROW = 300, 22  # of the figure of ranks, SVG units
LANE = 9  # between two of its bars


class RankRow(NamedTuple):
    """One agent in the figure of ranks."""

    style: LineStyle
    x: float
    y: float
    text: str


class RankFigure(NamedTuple):
    """Average ranks and the bars that join agents which do not differ; SVG units."""

    rows: list[RankRow]
    bars: list[tuple[float, float, float]]  # x, from y, to y
    ticks: list[tuple[float, str]]
    width: float
    height: float


def rank_figure(ranking: Ranking, appearance: Mapping[str, LineStyle]) -> RankFigure:
    """The critical-difference figure on its side: best on top, bars to the right of the axis."""
    names, axis = list(ranking.average), RANKS_WIDTH - LANE * max(len(ranking.groups), 1) - 8
    scale = (1.0, float(len(names)))
    rows = [
        RankRow(appearance[name], _place(rank, scale, axis, 12), RANKS_ROW * (i + 0.5), number(rank))
        for i, (name, rank) in enumerate(ranking.average.items())
    ]
    bars = [
        (
            axis + LANE * (lane + 0.5),
            RANKS_ROW * (names.index(group[0]) + 0.5),
            RANKS_ROW * (names.index(group[-1]) + 0.5),
        )
        for lane, group in enumerate(ranking.groups)
    ]
    ticks = [(_place(float(rank), scale, axis, 12), f"{rank}") for rank in range(1, len(names) + 1)]
    return RankFigure(rows, bars, ticks, RANKS_WIDTH, RANKS_ROW * len(names))

"""The figures as PNG and SVG, drawn with matplotlib and no global state."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from experiments.artefacts.drawing import STYLE, date_axis, plain
from experiments.report.line_styles import LineStyle, line_styles
from experiments.report.tables import common_edges, finite, sample_caption
from experiments.results.evidence import Evidence, cost_curve, cost_scale
from experiments.results.run import Run
from experiments.results.series import Curve, asset_sharpes, curves, is_long, run_dates
from experiments.settings.config import IN_WORDS, MARKET, in_bp
from experiments.statistics import Ranking
from experiments.storage.records import markets_of
from qn_env.arrays import FloatArray
from qn_env.extras import require
from qn_env.storage import own_folder, write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 160


def paid(run: Run) -> str:
    """The costs that figures are after."""
    return in_bp(run.headline) if run.headline == MARKET else f"{in_bp(run.headline)} costs"


def write_figures(run: Run, evidence: Evidence) -> None:
    """Write `figures/<name>.png` and `.svg` of the run, at its headline cost."""
    draw: dict[str, Callable[[Run, Mapping[str, LineStyle]], Figure]] = {
        "cumulative": cumulative,
        "drawdown": drawdown,
        "sharpe_histogram": sharpe_histogram,
        "overview": overview,
        "costs": costs,
    }
    if evidence.ranking is not None:
        draw |= {"ranks": partial(ranks, evidence.ranking)}
    matplotlib, appearance = require("matplotlib"), line_styles(run)
    with matplotlib.rc_context(STYLE):
        for name, figure_of in draw.items():
            figure = figure_of(run, appearance)
            _write(run, figure, name, "png", {"Software": None})
            _write(run, figure, name, "svg", {"Date": None, "Creator": None})


def _write(run: Run, figure: Figure, name: str, kind: str, metadata: Mapping[str, None]) -> None:
    content = io.BytesIO()
    figure.savefig(content, format=kind, dpi=DPI, metadata=metadata)
    path = run.folder / "figures" / f"{name}.{kind}"
    own_folder(path.parent)
    write_atomically(path, content.getvalue())


def cumulative(run: Run, appearance: Mapping[str, LineStyle]) -> Figure:
    """Growth of 1 after costs."""
    figure, axes = _canvas(9, 4.8)
    paths = curves(run, run.headline, "net")
    _growth_axes(axes, run, paths, appearance)
    _legend(figure, appearance)
    return figure


def drawdown(run: Run, appearance: Mapping[str, LineStyle]) -> Figure:
    """Drawdown after costs."""
    figure, axes = _canvas(9, 4.0)
    paths = curves(run, run.headline, "net")
    _lines(axes, run, {name: path.drawdown for name, path in paths.items()}, appearance)
    axes.yaxis.set_major_formatter(require("matplotlib.ticker").PercentFormatter(1.0, decimals=0))
    axes.set_title(f"Drawdown after {paid(run)}, {IN_WORDS[run.execution]}, mean over seeds")
    _legend(figure, appearance)
    return figure


def sharpe_histogram(run: Run, appearance: Mapping[str, LineStyle]) -> Figure:
    """Small histograms of the per-asset Sharpe ratios, one per agent, on common axes."""
    sample = asset_sharpes(run, run.headline)
    edges = common_edges([sample])
    n_columns = min(4, len(appearance))
    n_rows = -(-len(appearance) // n_columns)
    figure: Figure = require("matplotlib.figure").Figure(
        figsize=(2.9 * n_columns, 1.9 * n_rows + 0.5), layout="constrained"
    )
    grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    for axes, (name, style) in zip(grid.flat, appearance.items(), strict=False):
        values = finite(sample.mean.loc[name])
        axes.hist(values, bins=edges, color=style.colour, edgecolor="white", linewidth=0.5)
        axes.axvline(0, color="#57606a", linewidth=0.8)
        if values.size:
            axes.axvline(float(np.median(values)), color="#1c2128", linewidth=1, linestyle="--")
        axes.set_title(plain(style.label), fontsize=10.5, fontweight="bold" if style.learns else "normal")
        caption = sample_caption(sample.mean.loc[name], int(sample.undefined.loc[name].sum()))
        axes.set_xlabel(caption, fontsize=8.5)
        axes.tick_params(labelbottom=True, labelsize=9)
        axes.yaxis.set_major_locator(require("matplotlib.ticker").MaxNLocator(4, integer=True))
    for axes in grid.flat[len(appearance) :]:
        axes.set_axis_off()
    figure.suptitle(
        f"Net Sharpe ratio of every asset after {paid(run)}, {IN_WORDS[run.execution]} (dashed: median)",
        fontsize=12,
        fontweight="bold",
    )
    return figure


def overview(run: Run, appearance: Mapping[str, LineStyle]) -> Figure:
    """Sharpe ratios with their intervals beside growth; readable at 1200 pixels."""
    figure: Figure = require("matplotlib.figure").Figure(figsize=(12, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    _intervals(left, run, appearance)
    paths = curves(run, run.headline, "net_10")
    _growth_axes(right, run, paths, appearance)
    right.set_title(f"Growth of 1, scaled to 10% volatility, after {in_bp(run.headline)}")
    _end_labels(right, run, paths, appearance)
    panel = run.about["panel"]
    figure.supxlabel(
        f"{panel['assets']} assets in {len(markets_of(run.about))} markets; costs {in_bp(run.headline)} per "
        f"unit of turnover, traded {IN_WORDS[run.execution]}; thick lines are learnt agents. {_caveat(run)}",
        fontsize=9,
        color="#57606a",
    )
    return figure


def costs(run: Run, appearance: Mapping[str, LineStyle]) -> Figure:
    """Net Sharpe ratio by cost."""
    figure, axes = _canvas(9, 4.4)
    curve = cost_curve(run)
    for name, style in appearance.items():
        line = axes.plot(curve.index, curve[name], color=style.colour, linewidth=style.width)
        line[0].set_dashes(style.dashes)
    axes.axhline(0, color="#57606a", linewidth=0.9)
    axes.set_xlabel("cost, basis points per unit of turnover")
    axes.set_title(f"Net Sharpe ratio by cost, {IN_WORDS[run.execution]}, mean over seeds")
    axes.margins(x=0.01)
    axes.set_ylim(*cost_scale(curve))
    _legend(figure, appearance)
    return figure


def ranks(ranking: Ranking, run: Run, appearance: Mapping[str, LineStyle]) -> Figure:
    """Average ranks; a bar on the right joins agents that do not differ (Demsar 2006, turned on its side)."""
    names = list(ranking.average)
    figure, axes = _canvas(9, 0.38 * len(names) + 1.5)
    for y, name in enumerate(names):
        style, rank = appearance[name], ranking.average[name]
        axes.plot([1, rank], [y, y], color=style.colour, linewidth=0.8)
        axes.plot([rank], [y], "o", color=style.colour, markersize=8)
    for lane, group in enumerate(ranking.groups):
        rows = [names.index(name) for name in (group[0], group[-1])]
        axes.plot([len(names) + 0.25 + 0.12 * lane] * 2, rows, color="#1c2128", linewidth=3)
    axes.set_yticks(range(len(names)), [plain(appearance[name].label) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xticks(range(1, len(names) + 1))
    axes.set_xlabel(
        f"average rank over {ranking.markets} markets, 1 is best; critical difference "
        f"{ranking.critical_difference:.2f}"
    )
    axes.set_title("Bars join agents that do not differ at 5%")
    return figure


def _caveat(run: Run) -> str:
    """What must not be missed where the figure is shown without the page."""
    quick = "Quick run, not comparable. " if run.about["config"].get("quick") else ""
    few = "Hollow dots: too few seeds to compare. " if not run.leaderboard["comparable"].all() else ""
    return f"{quick}{few}Research, not advice."


def _intervals(axes: Axes, run: Run, appearance: Mapping[str, LineStyle]) -> None:
    """Dot and 95% interval per agent, best on top."""
    board = run.ranking(run.headline)
    labels = []
    for y, row in enumerate(board.to_dict("records")):
        style = appearance[row["agent"]]
        low, high, point = row["sharpe_low"], row["sharpe_high"], row["sharpe"]
        axes.plot(
            [low, high], [y, y], color=style.colour, linewidth=style.width + 0.6, solid_capstyle="round"
        )
        face = style.colour if row["comparable"] else "white"
        axes.plot(
            [point], [y], "o", color=style.colour, markerfacecolor=face, markersize=8, markeredgewidth=1.8
        )
        known = "" if np.isfinite(point) else " (\N{EN DASH})"
        labels.append(plain(style.label) + known)
    axes.axvline(0, color="#57606a", linewidth=0.9)
    axes.set_yticks(range(len(board)), labels)
    for tick, agent in zip(axes.get_yticklabels(), board["agent"], strict=True):
        tick.set_fontweight("bold" if appearance[agent].learns else "normal")
    axes.set_ylim(len(board) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_title(f"Net Sharpe ratio {IN_WORDS[run.execution]}, 95% interval")


def _growth_axes(
    axes: Axes, run: Run, paths: Mapping[str, Curve], appearance: Mapping[str, LineStyle]
) -> None:
    _lines(axes, run, {name: path.growth for name, path in paths.items()}, appearance)
    if is_long(run_dates(run)):
        ticker = require("matplotlib.ticker")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.set_title(f"Growth of 1 after {paid(run)}, {IN_WORDS[run.execution]}, mean over seeds")


def _lines(
    axes: Axes, run: Run, values: Mapping[str, FloatArray], appearance: Mapping[str, LineStyle]
) -> None:
    """One line per agent over the run's dates, learnt agents on top."""
    dates = run_dates(run).to_numpy()
    if not len(dates):
        axes.text(0.5, 0.5, "no day has half of the markets", ha="center", transform=axes.transAxes)
        return
    for name, style in appearance.items():
        line = axes.plot(
            dates, values[name], color=style.colour, linewidth=style.width, zorder=3 if style.learns else 2
        )
        line[0].set_dashes(style.dashes)
    date_axis(axes)


def _end_labels(
    axes: Axes, run: Run, paths: Mapping[str, Curve], appearance: Mapping[str, LineStyle]
) -> None:
    """Name every line at its end, moved apart so that no two names overlap."""
    if not len(run_dates(run)):
        return
    ends = {name: path.growth[-1] for name, path in paths.items() if np.isfinite(path.growth[-1])}
    axes.autoscale_view()  # limits are settled lazily; the positions below need them
    to_share = axes.transData + axes.transAxes.inverted()
    last = require("matplotlib.dates").date2num(run_dates(run).to_numpy()[-1])
    shares = {name: float(to_share.transform((last, end))[1]) for name, end in ends.items()}
    for name, y in spread(shares, gap=0.052).items():
        style = appearance[name]
        axes.annotate(
            plain(style.label),
            xy=(1.0, shares[name]),
            xytext=(1.045, y),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=style.colour,
            fontsize=9.5,
            fontweight="bold" if style.learns else "normal",
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),  # from the name's left edge, not through it
                "color": style.colour,
                "linewidth": 0.7,
                "shrinkA": 1,
                "shrinkB": 0,
            },
        )


def spread(heights: Mapping[str, float], *, gap: float) -> dict[str, float]:
    """Heights moved apart to at least `gap`, in order, kept within 0 and 1 where they fit.

    Examples:
        >>> spread({"a": 0.5, "b": 0.5}, gap=0.5)
        {'a': 0.25, 'b': 0.75}
    """
    names = sorted(heights, key=lambda name: (heights[name], name))
    steps = gap * np.arange(len(names))
    level = np.array([heights[name] for name in names]) - steps  # in these terms "apart" is "not falling"
    pushed_up, pushed_down = np.maximum.accumulate(level), np.minimum.accumulate(level[::-1])[::-1]
    room = 1.0 - gap * max(len(names) - 1, 0)
    placed = ((pushed_up + pushed_down) / 2).clip(0.0, max(room, 0.0)) + steps
    return dict(zip(names, placed.tolist(), strict=True))


def _legend(figure: Figure, appearance: Mapping[str, LineStyle]) -> None:
    line = require("matplotlib.lines").Line2D
    handles = [line([], [], color=style.colour, linewidth=style.width) for style in appearance.values()]
    for handle, style in zip(handles, appearance.values(), strict=True):
        handle.set_dashes(style.dashes)
    names = [plain(style.label) for style in appearance.values()]
    figure.legend(handles, names, loc="outside right upper", fontsize=9.5, handlelength=2.6)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of `width` by `height` inches and its only axes."""
    figure: Figure = require("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()

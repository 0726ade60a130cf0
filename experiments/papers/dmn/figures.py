"""Exhibits 1, 4, 5, 6, 7 and 8 as figures, each a function that draws it when it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from agents.rules import phi
from experiments.artefacts.drawing import INK, QUIET, date_axis, grid_of, plain
from experiments.artefacts.items import Drawing
from experiments.papers.dmn.asset_tables import Boxed, daily_turnover
from experiments.papers.dmn.config import LSTM, REFERENCES
from experiments.papers.dmn.measure import Measured
from experiments.papers.dmn.portfolio_tables import EX_ANTE
from experiments.papers.dmn.published import LOSSES, MODELS, SIXTEEN, label, loss_of, model_of
from experiments.papers.dmn.scores import COSTS
from experiments.results.series import is_long, path
from experiments.settings.config import MARKET, level_name
from qn_env.arrays import FloatArray, IntArray
from qn_env.extras import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOSS_COLOURS = {"sharpe": "#0072B2", "average": "#009E73", "mse": "#E69F00", "binary": "#CC79A7"}
MODEL_COLOURS = {"linear": "#009E73", "mlp": "#E69F00", "wavenet": "#CC79A7", "lstm": "#0072B2"}
MARKERS = {"linear": "s", "mlp": "^", "wavenet": "D", "lstm": "o"}
REFERENCE_STYLES = {"long-only": ":", "sgn-returns": "--", "macd": "-."}
OTHER_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#B8860B")
# From the dearest to the cheapest: what is left at the highest cost is darkest.
COST_COLOURS = ("#08306b", "#08519c", "#2171b5", "#4292c6", "#6baed6", "#9ecae1", "#c6dbef")


def exhibit_1() -> tuple[Drawing, pd.DataFrame]:
    """phi(y), and its values."""
    y = np.linspace(-4.0, 4.0, 161)
    values = pd.DataFrame({"y": y, "phi": phi(y)})

    def draw() -> Figure:
        figure, (axes,) = grid_of(1, columns=1, width=5.6, height=3.1)
        axes.plot(y, values["phi"], color=LOSS_COLOURS["sharpe"], linewidth=2)
        for peak in (-(2**0.5), 2**0.5):
            axes.axvline(peak, color=QUIET, linewidth=0.9, linestyle="--")
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("trend estimate y")
        axes.set_ylabel("position")
        return figure

    drawing = Drawing(
        name="exhibit1",
        title="Exhibit 1, position from trend",
        caption="MACD's position phi(y) = y exp(-y\N{SUPERSCRIPT TWO} / 4) / 0.89 (Eq. 7); it shrinks beyond "
        "|y| = 1.41 (dashed).",
        draw=draw,
    )
    return drawing, values


def growth(measured: Measured) -> pd.DataFrame:
    """Date and each agent's growth of 1, rescaled, before costs, the mean over seeds of each seed's own."""
    grown = {agent: path(book.gross).growth for agent, book in measured.scaled.items()}
    return pd.DataFrame({"date": measured.dates, **grown})


def panels(agents: Sequence[str]) -> dict[str, list[str]]:
    """Exhibit 4's panels: the models of each loss, then strategies the paper does not have.

    Examples:
        >>> panels(["macd", "dmn-mlp-mse", "dmn-lstm-mse", "mine"])
        {'MSE': ['dmn-mlp-mse', 'dmn-lstm-mse'], 'Others': ['mine']}
    """
    by_panel = {words: [a for a in agents if loss_of(a) == loss] for loss, words in LOSSES.items()}
    own = [agent for agent in agents if agent not in (*REFERENCES, *SIXTEEN)]
    beside = [LSTM] if own and LSTM in agents else []
    by_panel["Others"] = [*beside, *own] if own else []
    return {title[0].upper() + title[1:]: names for title, names in by_panel.items() if names}


def exhibit_4(measured: Measured, data: pd.DataFrame) -> Drawing:
    """Growth by loss function, from the data of `growth`."""
    by_panel = panels(measured.agents) or {"References": []}
    references = [name for name in REFERENCES if name in measured.agents]
    dates = data["date"].to_numpy()

    def draw() -> Figure:
        figure, grid = grid_of(len(by_panel), columns=2, width=5.2, height=3.4)
        logarithmic = is_long(pd.DatetimeIndex(dates))
        for axes, (title, agents) in zip(grid, by_panel.items(), strict=False):
            for name in references:
                dashes = REFERENCE_STYLES[name]
                axes.plot(
                    dates,
                    data[name],
                    label=plain(label(name)),
                    color="#57606a",
                    linestyle=dashes,
                    linewidth=1.1,
                )
            for i, name in enumerate(agents):
                colour = _line_colour(name, i, title)
                # Thinner from line to line: of two that agree both are seen.
                width = max(2.2 - 0.5 * i, 1.0)
                axes.plot(dates, data[name], color=colour, linewidth=width, label=plain(label(name)))
            axes.set_title(title)
            _growth_axis(axes, logarithmic=logarithmic)
            axes.legend(fontsize=7.5, loc="upper left")
        figure.supylabel("growth of 1" + (", log scale" if logarithmic else ""), fontsize=10)
        return figure

    return Drawing(
        name="exhibit4",
        title="Exhibit 4, cumulative returns by loss function",
        caption=f"Growth of 1, compounded, of the portfolios {EX_ANTE}, before costs, mean over seeds.",
        draw=draw,
    )


def _growth_axis(axes: Axes, *, logarithmic: bool) -> None:
    ticker = require("matplotlib.ticker")
    date_axis(axes)
    axes.axhline(1, color=INK, linewidth=0.8)
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_formatter(ticker.NullFormatter())


def _line_colour(agent: str, place: int, panel: str) -> str:
    model = model_of(agent)
    if panel == "Others" or model is None:
        return OTHER_COLOURS[place % len(OTHER_COLOURS)]
    return MODEL_COLOURS[model]


def boxes(measured: Measured, figures: Sequence[Boxed], name: str, title: str, words: str) -> Drawing:
    """Exhibit 5 and the supplement: box plots across assets."""

    def draw() -> Figure:
        width = max(6.0, 0.36 * len(measured.agents) + 2.0)
        figure, grid = grid_of(len(figures), columns=1, width=width, height=2.5)
        for axes, box in zip(grid, figures, strict=True):
            _boxplot(axes, measured.agents, measured.of(box.name))
            if box.form.endswith("%"):
                axes.yaxis.set_major_formatter(require("matplotlib.ticker").PercentFormatter(1.0))
            axes.axhline(box.base, color=INK, linewidth=0.7)
            axes.set_ylabel(box.label, fontsize=9)
        for axes in grid[:-1]:
            axes.set_xticklabels([])
        _loss_legend(figure, measured.agents)
        return figure

    return Drawing(
        name=name,
        title=title,
        caption=f"{words} across assets: minimum, quartiles and maximum of each asset's own figure, "
        "positions at 15% volatility, before costs, mean over seeds.",
        draw=draw,
    )


def _boxplot(axes: Axes, agents: Sequence[str], values: pd.DataFrame) -> None:
    """One box per agent, whiskers to the extremes as in the paper."""
    known = [values[agent].dropna().to_numpy() for agent in agents]
    drawn = axes.boxplot(
        known,
        whis=(0, 100),
        widths=0.62,
        patch_artist=True,
        medianprops={"color": INK, "linewidth": 1.4},
        boxprops={"linewidth": 0.8},
        whiskerprops={"linewidth": 0.8},
        capprops={"linewidth": 0.8},
    )
    for patch, agent in zip(drawn["boxes"], agents, strict=True):
        patch.set_facecolor(_box_colour(agent))
        patch.set_alpha(0.85)
    names = [plain(label(agent)) for agent in agents]
    axes.set_xticks(range(1, len(agents) + 1), names, rotation=90, fontsize=8.5)
    axes.grid(visible=False, axis="x")


def _box_colour(agent: str) -> str:
    if agent in REFERENCES:
        return QUIET
    return LOSS_COLOURS[loss] if (loss := loss_of(agent)) else "#56B4E9"


def _loss_legend(figure: Figure, agents: Sequence[str]) -> None:
    """Colours of references, losses and other strategies above all axes."""
    patch = require("matplotlib.patches").Patch
    entries = {"references": QUIET} if set(agents) & set(REFERENCES) else {}
    entries |= {words: LOSS_COLOURS[loss] for loss, words in LOSSES.items() if _any_of(agents, loss)}
    if any(loss_of(agent) is None and agent not in REFERENCES for agent in agents):
        entries |= {"others": "#56B4E9"}
    handles = [patch(color=colour) for colour in entries.values()]
    figure.legend(handles, list(entries), loc="outside upper center", ncols=len(entries), fontsize=9)


def _any_of(agents: Sequence[str], loss: str) -> bool:
    return any(loss_of(agent) == loss for agent in agents)


def exhibit_6(importance: pd.DataFrame) -> Drawing:
    """Sharpe ratio lost when a feature is set to zero, one panel per agent."""
    agents = list(dict.fromkeys(importance["agent"]))

    def draw() -> Figure:
        features = importance["feature"].nunique()
        figure, grid = grid_of(len(agents), columns=2, width=4.9, height=0.3 * features + 1.1)
        for axes, agent in zip(grid, agents, strict=False):
            own = importance[importance["agent"] == agent].sort_values("drop", kind="stable")
            places, drops = np.arange(len(own)), own["drop"].to_numpy()
            axes.barh(places, drops, color=LOSS_COLOURS["sharpe"], height=0.65)
            axes.set_yticks(places, [plain(str(name)) for name in own["feature"]], fontsize=9)
            axes.axvline(0, color=INK, linewidth=0.8)
            axes.grid(visible=False, axis="y")
            axes.set_title(plain(label(agent)))
            axes.set_xlabel("Sharpe ratio lost")
        return figure

    return Drawing(
        name="exhibit6",
        title="Exhibit 6, feature importance",
        caption="Sharpe ratio lost when one feature is set to zero over the whole backtest. The paper: over "
        "2 for daily returns, 1 to 1.5 for the others.",
        draw=draw,
    )


def exhibit_7(measured: Measured) -> Drawing:
    """Turnover across assets, and average return against average turnover."""
    turnover = daily_turnover(measured)
    positive = turnover.where(turnover > 0)
    never = int((turnover == 0).to_numpy().sum())

    def draw() -> Figure:
        width = max(6.4, 0.36 * len(measured.agents) + 2.0)
        figure, (boxed, against) = grid_of(2, columns=1, width=width, height=3.5)
        boxed.set_yscale("log")
        _boxplot(boxed, measured.agents, positive)
        boxed.set_ylabel("turnover a day, log scale", fontsize=9)
        against.set_xscale("log")
        for agent in measured.agents:
            _return_per_turnover(against, measured, agent)
        if models := [model for model in MODELS if any(model_of(a) == model for a in measured.agents)]:
            line = require("matplotlib.lines").Line2D
            handles = [line([], [], color=INK, marker=MARKERS[model], linestyle="") for model in models]
            against.legend(handles, [MODELS[model] for model in models], fontsize=8, ncols=len(models))
        against.axhline(0, color=INK, linewidth=0.8)
        against.margins(x=0.16, y=0.1)
        against.set_xlabel("average turnover a day, log scale", fontsize=9)
        against.set_ylabel("average return, bps a day", fontsize=9)
        _loss_legend(figure, measured.agents)
        return figure

    flat = f" {never} assets of a strategy that never traded are left out." if never else ""
    return Drawing(
        name="exhibit7",
        title="Exhibit 7, turnover",
        caption="Above, average daily turnover across assets: minimum, quartiles and maximum. Below, the raw "
        f"portfolios' average return against their average turnover, before costs.{flat}",
        draw=draw,
    )


def _return_per_turnover(axes: Axes, measured: Measured, agent: str) -> None:
    """One strategy's point: its colour is the loss, its shape the model; others are named."""
    book, model = measured.raw[agent], model_of(agent)
    x, y = float(book.turnover.mean()), 1e4 * float(book.gross.mean())
    if x <= 0:
        return
    marker, colour = MARKERS.get(model or "", "*"), _box_colour(agent)
    axes.scatter(x, y, s=52, marker=marker, color=colour, edgecolors=INK, linewidths=0.5, zorder=3)
    if model is None:
        axes.annotate(plain(label(agent)), (x, y), xytext=(5, 3), textcoords="offset points", fontsize=7.5)


def exhibit_8(data: pd.DataFrame) -> Drawing:
    """Sharpe ratio after costs as stacked bars, from the data of the table."""
    names = data["label"].unique()
    sharpe = data.pivot(index="label", columns="level", values="sharpe").loc[names]
    wide = sharpe[[level_name(cost) for cost in COSTS]]
    values = wide.to_numpy()
    own = sharpe[MARKET].to_numpy() if MARKET in sharpe else None

    def draw() -> Figure:
        width = max(6.4, 0.36 * len(wide) + 2.0)
        figure, (axes,) = grid_of(1, columns=1, width=width, height=4.2)
        places = np.arange(len(wide))
        left = np.maximum(values[:, -1], 0.0)
        axes.bar(places, left, color=COST_COLOURS[0], width=0.7, label=f"left at {COSTS[-1]:g} bps")
        for i in range(len(COSTS) - 1, 0, -1):
            _block(axes, places, values[:, i], values[:, i - 1], COST_COLOURS[len(COSTS) - i], i)
        if own is not None:
            axes.plot(places, own, "D", color="#D55E00", markeredgecolor="white", label="at own costs")
        axes.axhline(0, color=INK, linewidth=0.9)
        axes.set_xticks(places, [plain(str(name)) for name in wide.index], rotation=90, fontsize=8.5)
        axes.set_xlim(-0.7, len(wide) - 0.3)
        axes.use_sticky_edges = False  # or negative bars end on the frame
        axes.margins(y=0.06)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel("Sharpe ratio")
        figure.legend(loc="outside upper center", ncols=7 if width > 9.0 else 4, fontsize=8.5)
        return figure

    return Drawing(
        name="exhibit8",
        title="Exhibit 8, Sharpe ratio after costs",
        caption="The top of a bar is the rescaled portfolio's Sharpe ratio before costs; each block is what "
        "the next cost takes away; blocks below zero are losses."
        + (" A diamond is what is left of it at each asset's own costs." if own is not None else ""),
        draw=draw,
    )


def _block(axes: Axes, places: IntArray, low: FloatArray, high: FloatArray, colour: str, i: int) -> None:
    """What cost i takes away from the Sharpe ratios at the one before."""
    words = f"{COSTS[i - 1]:g} to {COSTS[i]:g} bps"
    axes.bar(places, high - low, bottom=low, color=colour, width=0.7, label=words)

"""The paper's figures, each a function that draws it when it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from experiments.artefacts.drawing import INK, QUIET, date_axis, grid_of, plain
from experiments.artefacts.items import Drawing
from experiments.papers.quantnet.clusters import Clusters
from experiments.papers.quantnet.comparisons import COMPARED
from experiments.papers.quantnet.drawing import (
    REFERENCE,
    STRATEGY,
    Samples,
    name_points,
    overlay,
    scatter,
    shared_legend,
    signed_colours,
    small_multiples,
    versus,
)
from experiments.papers.quantnet.market_tables import SIZES, by_reference, line
from experiments.papers.quantnet.measure import MarketDays, Measured, Pair
from experiments.papers.quantnet.published import METRIC_LABELS
from experiments.papers.quantnet.tables import label
from experiments.papers.quantnet.world import squares
from experiments.results.series import bin_edges, path
from experiments.results.tables import scaled_ex_ante
from qn_env.arrays import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLUSTER_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B8860B", "#56B4E9")
FAINT = "#e6e6e2"  # a country without a market
WIDEST_RELATIVE = 300.0  # per cent; longer bars of Figure 8 are cut, their values printed
# Over what the mean of a market's return is, in Figures 5a and 10.
GROWTHS = {"fig5a": "its assets", "fig10": "its assets, each first scaled ex ante to 10% volatility"}


def title_of(name: str) -> str:
    """The paper's title of a figure, by the name of its files.

    Examples:
        >>> title_of("fig5a"), title_of("fig4-quantnet-shared")
        ('Figure 5a', 'Figure 4')
    """
    return f"Figure {name.removeprefix('fig').partition('-')[0]}"


_histograms = partial(small_multiples, draw=overlay, x="Sharpe ratio of an asset", y="assets")


def sharpe_histograms(measured: Measured, strategy: str) -> Drawing:
    """Figure 3: the strategy's Sharpe ratios over assets beside each other strategy's."""
    sharpe = measured.of("sharpe")[measured.agents]
    edges = bin_edges(sharpe.to_numpy(), most=40)
    samples = {
        f"vs {label(other)}": Samples(edges, sharpe[strategy], sharpe[other])
        for other in measured.agents
        if other != strategy
    }
    return Drawing(
        name="fig3",
        title="Figure 3",
        caption=f"Sharpe ratios over assets of {label(strategy)} and of every other strategy; dashed lines "
        f"are medians, {measured.basis}.",
        draw=partial(
            _histograms, samples, columns=3, size=(3.3, 2.5), legend=(strategy, "the one named above")
        ),
    )


def market_histograms(measured: Measured, pair: Pair, markets: Sequence[str], name: str) -> Drawing:
    """Figure 11: the pair's Sharpe ratios over the assets of named markets."""
    by_market = {market: measured.of("sharpe").loc[market][list(pair)] for market in markets}
    samples = {
        market: Samples(bin_edges(own.to_numpy(), most=26), own[pair.strategy], own[pair.reference])
        for market, own in by_market.items()
    }
    return Drawing(
        name=name,
        title=title_of(name),
        caption=f"Sharpe ratios over the assets of single markets, {versus(pair)}; dashed lines are "
        f"medians, {measured.basis}.",
        draw=partial(_histograms, samples, columns=2, size=(4.4, 2.7), legend=pair),
    )


def by_market(measured: Measured, pair: Pair, metrics: Sequence[str], name: str) -> Drawing:
    """Figures 4 and 7: the average ratio in each market, ordered by the reference's Sharpe ratio."""
    order = by_reference(measured, pair)

    def draw() -> Figure:
        width = max(7.0, 0.2 * len(order) + 1.5)
        figure, grid = grid_of(len(metrics), columns=1, width=width, height=3.6)
        for axes, metric in zip(grid, metrics, strict=False):
            means = measured.by_market(metric).loc[order]
            places = np.arange(len(order))
            first, second = means[pair.strategy].to_numpy(), means[pair.reference].to_numpy()
            axes.vlines(places, first, second, color="#c8ced4", linewidth=1.5, zorder=1)
            axes.plot(places, second, "D", color=REFERENCE, markersize=5, zorder=2)
            axes.plot(places, first, "o", color=STRATEGY, markersize=6, zorder=3)
            axes.axhline(0, color=INK, linewidth=0.8)
            axes.set_xticks(
                places, [plain(m) for m in order], rotation=90 if len(order) > 6 else 0, fontsize=9
            )
            axes.set_xlim(-0.7, len(order) - 0.3)
            axes.grid(visible=False, axis="x")
            axes.set_ylabel(f"average {METRIC_LABELS[metric]}")
        shared_legend(figure, *pair, markers=("o", "D"))
        return figure

    words = " and ".join(metric.capitalize() for metric in metrics)
    return Drawing(
        name=name,
        title=title_of(name),
        caption=f"Average {words} ratio{'s' * (len(metrics) > 1)} of each market's assets, {versus(pair)}, "
        f"ordered by the latter's Sharpe ratio, {measured.basis}.",
        draw=draw,
    )


def cumulative(
    markets: Mapping[str, MarketDays],
    measured: Measured,
    agents: Sequence[str],
    named: Sequence[str],
    *,
    scaled: bool,
) -> pd.DataFrame:
    """Figures 5a and 10: market, date and each agent's cumulative return, decimal, the mean over seeds.

    A market's return is the mean over its listed assets; where `scaled`, over its assets after each was
    scaled ex ante to 10% volatility, once it has an estimate.
    """
    parts = []
    for market in named:
        days = markets[market]
        own = {"market": market, "date": days.dates}
        for agent in agents:
            seeds = measured.seeds[agent]
            net = _scaled_net(days, agent, seeds) if scaled else days.market_net(agent, seeds)
            own[agent] = path(net.T).growth - 1.0
        parts.append(pd.DataFrame(own))
    return pd.concat(parts, ignore_index=True)


def _scaled_net(days: MarketDays, agent: str, seeds: Sequence[int]) -> FloatArray:
    """[S, T] mean over assets of their returns at 10% volatility, NaN before the first estimate."""
    by_seed = []
    for seed in seeds:
        scaled = scaled_ex_ante(np.where(days.counted, days.net[agent, seed], np.nan))
        known = np.isfinite(scaled)
        count = known.sum(axis=1)
        by_seed.append(np.where(count > 0, np.nansum(scaled, axis=1) / np.maximum(count, 1), np.nan))
    return np.stack(by_seed)


def growth_lines(measured: Measured, data: pd.DataFrame, pair: Pair, name: str, over: str) -> Drawing:
    """Figures 5a and 10 from the data of `cumulative`, a mean over `over`."""

    def draw_market(axes: Axes, own: pd.DataFrame) -> None:
        days = own["date"].to_numpy()
        axes.plot(days, 100 * own[pair.reference].to_numpy(), color=REFERENCE, linewidth=1.3)
        axes.plot(days, 100 * own[pair.strategy].to_numpy(), color=STRATEGY, linewidth=1.8)
        axes.axhline(0, color=INK, linewidth=0.8)
        date_axis(axes)

    return Drawing(
        name=name,
        title=title_of(name),
        caption=f"Cumulative return of single markets, the mean over {over}, {versus(pair)}, "
        f"{measured.basis}.",
        draw=partial(
            small_multiples,
            {str(market): own for market, own in data.groupby("market", sort=False)},
            draw_market,
            columns=2,
            size=(4.6, 2.7),
            legend=pair,
            y="cumulative return, %",
        ),
    )


def size_bars(measured: Measured, data: pd.DataFrame, pair: Pair, name: str, column: str) -> Drawing:
    """Figures 5b and 5c from the data of `by_size_table`."""
    own, words = _of_pair(data, pair), SIZES[column]

    def draw() -> Figure:
        figure, (axes,) = grid_of(1, columns=1, width=min(6.4, 2.0 + 1.1 * len(own)), height=3.2)
        places, heights = np.arange(len(own)), own["mean"].to_numpy()
        axes.bar(places, heights, color=signed_colours(heights), width=0.6)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xlim(-0.7, len(own) - 0.3)
        axes.margins(y=0.08)
        labels = [
            f"{row['group']}\n{row['markets']} market{'s' * (row['markets'] != 1)}\n"
            f"{row['assets']} asset{'s' * (row['assets'] != 1)}"
            for row in own.to_dict("records")
        ]
        axes.set_xticks(places, labels, fontsize=9)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(words)
        axes.set_ylabel("difference of SR")
        return figure

    return Drawing(
        name=name,
        title=title_of(name),
        caption=f"Average difference of the assets' Sharpe ratios, {label(pair.strategy)} minus "
        f"{label(pair.reference)}, markets grouped by their {words}, {measured.basis}.",
        draw=draw,
    )


def country_bars(measured: Measured, data: pd.DataFrame, pair: Pair, name: str) -> Drawing:
    """Figure 8 as bars from the data of `by_country_table`."""
    own = _of_pair(data, pair).dropna(subset="relative")

    def draw() -> Figure:
        figure, (axes,) = grid_of(1, columns=1, width=6.8, height=0.26 * len(own) + 1.2)
        values, places = own["relative"].to_numpy(), np.arange(len(own))
        cut = np.clip(values, -WIDEST_RELATIVE, WIDEST_RELATIVE)
        axes.barh(places, cut, color=signed_colours(values), height=0.65)
        for y, (short, value) in enumerate(zip(cut, values, strict=True)):
            axes.annotate(
                f"{value:+.0f}%",
                (short, y),
                xytext=(4 if short >= 0 else -4, 0),
                textcoords="offset points",
                va="center",
                ha="left" if short >= 0 else "right",
                fontsize=8.5,
            )
        axes.set_yticks(places, [plain(country) for country in own["country"]], fontsize=9)
        axes.set_ylim(len(own) - 0.4, -0.6)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.margins(x=0.16)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"difference of SR in % of {plain(label(pair.reference))}'s")
        return figure

    return Drawing(
        name=name,
        title=title_of(name),
        caption=f"Sharpe ratio of {label(pair.strategy)} relative to {label(pair.reference)}, by country, "
        f"bars cut at {WIDEST_RELATIVE:.0f}%, {measured.basis}.",
        draw=draw,
    )


def _of_pair(data: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    return data[(data["strategy"] == pair.strategy) & (data["reference"] == pair.reference)]


def market_scatter(measured: Measured, pair: Pair, name: str) -> Drawing:
    """Figure 9: market averages against each other with the fitted line."""

    def draw() -> Figure:
        figure, grid = grid_of(len(COMPARED), columns=2, width=4.5, height=4.1)
        for axes, metric in zip(grid, COMPARED, strict=True):
            means = measured.by_market(metric)
            x, y = means[pair.reference].to_numpy(), means[pair.strategy].to_numpy()
            scatter(axes, x, y, size=26)
            name_points(axes, [plain(str(market)) for market in means.index], x, y)
            fitted = line(x, y)
            if np.isfinite(fitted["slope"]):
                ends = np.array([np.nanmin(x), np.nanmax(x)])
                axes.plot(ends, fitted["intercept"] + fitted["slope"] * ends, color=REFERENCE, linewidth=1.6)
            side = "-" if fitted["slope"] < 0 else "+"
            axes.set_title(
                f"{METRIC_LABELS[metric]}: {fitted['intercept']:.2f} {side} {abs(fitted['slope']):.2f} x",
                fontsize=10,
            )
            axes.set_xlabel(plain(label(pair.reference)))
            axes.set_ylabel(plain(label(pair.strategy)))
        return figure

    return Drawing(
        name=name,
        title=title_of(name),
        caption=f"Average Sharpe and Calmar ratio of each market, {versus(pair)}, with the fitted line in "
        f"orange and equality dotted, {measured.basis}.",
        draw=draw,
    )


def asset_scatter(measured: Measured, pair: Pair, markets: Sequence[str], name: str) -> Drawing:
    """Figure 12: Sharpe ratios of single assets against each other, by market."""
    sharpe = measured.of("sharpe")

    def draw_market(axes: Axes, own: pd.DataFrame) -> None:
        scatter(axes, own[pair.reference].to_numpy(), own[pair.strategy].to_numpy(), size=16)

    return Drawing(
        name=name,
        title=title_of(name),
        caption=f"Sharpe ratio of every asset of single markets, {versus(pair)}; above the dotted line the "
        f"former is ahead, {measured.basis}.",
        draw=partial(
            small_multiples,
            {market: sharpe.loc[market] for market in markets},
            draw_market,
            columns=2,
            size=(4.0, 3.5),
            x=label(pair.reference),
            y=label(pair.strategy),
        ),
    )


def dendrogram(clusters: Clusters) -> Drawing:
    """Figure 13: the markets' tree, its clusters coloured."""

    def draw() -> Figure:
        from scipy.cluster.hierarchy import dendrogram as tree_of

        tree = tree_of(clusters.linkage, no_plot=True)
        figure, (axes,) = grid_of(1, columns=1, width=7.0, height=0.24 * len(clusters.markets) + 1.3)
        for ys, xs in zip(tree["icoord"], tree["dcoord"], strict=True):
            below = xs[1] <= clusters.threshold
            leaf = int((min(ys) - 5.0) // 10.0)
            axes.plot(
                xs, ys, color=_cluster_colour(clusters.cluster[leaf]) if below else QUIET, linewidth=1.6
            )
        names = [f"{plain(m)}  C{c}" for m, c in zip(clusters.markets, clusters.cluster, strict=True)]
        axes.set_yticks(5.0 + 10.0 * np.arange(len(names)), names, fontsize=9)
        for tick, number in zip(axes.get_yticklabels(), clusters.cluster, strict=True):
            tick.set_color(_cluster_colour(number))
        axes.axvline(clusters.threshold, color=INK, linewidth=0.9, linestyle="--")
        axes.set_ylim(10.0 * len(names), 0.0)
        axes.set_xlim(left=0.0)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("height (Ward)")
        return figure

    return Drawing(
        name="fig13",
        title="Figure 13",
        caption="Markets grouped by their mean encoder scores over the test days, Ward's linkage; the dashed "
        f"line cuts the tree into {max(clusters.cluster)} clusters.",
        draw=draw,
    )


def cluster_map(clusters: Clusters, codes: Mapping[str, str]) -> Drawing:
    """Figure 2: the countries on a map of squares, coloured by the cluster of their market.

    Args:
        clusters: the clusters.
        codes: country code of a market, of those that stand for their country.
    """
    number = dict(zip(clusters.markets, clusters.cluster, strict=True))
    of_country = {code: number[market] for market, code in codes.items()}

    def draw() -> Figure:
        from matplotlib.patches import Patch, Rectangle

        figure, (axes,) = grid_of(1, columns=1, width=7.4, height=4.6)
        for code, square in squares().items():
            cluster = of_country.get(code)
            colour = FAINT if cluster is None else _cluster_colour(cluster)
            corner = (square.column - 0.46, square.row - 0.46)
            axes.add_patch(Rectangle(corner, 0.92, 0.92, facecolor=colour, linewidth=0))
            if cluster is not None:
                middle = (square.column, square.row)
                axes.annotate(
                    code, middle, ha="center", va="center", fontsize=7, color="white", weight="bold"
                )
        at = [(square.column, square.row) for square in squares().values()]
        axes.set_xlim(min(x for x, _ in at) - 0.6, max(x for x, _ in at) + 0.6)
        axes.set_ylim(max(y for _, y in at) + 0.6, min(y for _, y in at) - 0.6)
        axes.set_aspect("equal")
        axes.axis("off")
        shown = sorted(set(of_country.values()))
        patches = [Patch(color=_cluster_colour(n), label=f"C{n}") for n in shown]
        axes.legend(handles=patches, loc="lower left", frameon=False, fontsize=9)
        return figure

    return Drawing(
        name="fig2-map",
        title="Figure 2",
        caption="The clusters of Figure 13 on a map that gives every country one square near its place; of a "
        "country with several markets the one with most assets stands for it.",
        draw=draw,
    )


def _cluster_colour(number: int) -> str:
    return CLUSTER_COLOURS[(number - 1) % len(CLUSTER_COLOURS)]

"""QuantNet beside No Transfer by market: the numbers of Figures 4, 5b, 5c, 7, 8 and 9."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from experiments.artefacts.columns import Column, as_text
from experiments.artefacts.items import Table
from experiments.artefacts.numbers import format_digits
from experiments.papers.quantnet.comparisons import COMPARED, PAIR, compare_assets, p_cell
from experiments.papers.quantnet.measure import Measured, Pair
from experiments.papers.quantnet.published import METRIC_LABELS, join_published
from experiments.papers.quantnet.tables import METRIC, label, summary
from qn_env.arrays import FloatArray

GROUPS = 5  # of markets in Figures 5b and 5c
SIZES = {"train": "days to train on", "assets": "number of assets"}  # what they are grouped by
RATIO = partial(format_digits, digits=3)


def by_reference(measured: Measured, pair: Pair) -> pd.Index:
    """The markets, ordered by the reference's average Sharpe ratio."""
    means = measured.by_market("sharpe")[pair.reference]
    return means.sort_values(ascending=False, kind="stable").index


def by_market_table(measured: Measured, pairs: Sequence[Pair], places: pd.DataFrame) -> Table:
    """Figures 4 and 7: average SR and CR by market, ordered by the main pair's No Transfer."""
    order = by_reference(measured, pairs[0])
    table = pd.DataFrame({"market": order, "country": places.loc[order, "country"].to_numpy()})
    columns = [Column("Market", "market"), Column("Country", "country")]
    for metric in COMPARED:
        for agent in compare_assets(pairs):
            key = f"{metric}:{agent}"
            table[key] = measured.by_market(metric).loc[order, agent].to_numpy()
            columns.append(Column(f"{METRIC_LABELS[metric]} {label(agent)}", key, RATIO))
    table["assets"] = measured.markets.loc[order, "assets"].to_numpy()
    return Table(
        name="fig4",
        title="Figures 4 and 7, by market",
        caption="Average Sharpe and Calmar ratio of each market's assets, ordered by "
        f"{label(pairs[0].reference)}, {measured.basis}.",
        data=table,
        shown=as_text(table, [*columns, Column("Assets", "assets")]),
    )


def size_groups(sizes: pd.Series[int], groups: int = GROUPS) -> pd.Series[str]:
    """Markets in groups of like size, as equally many as ties allow: market to "least-most".

    Examples:
        >>> size_groups(pd.Series({"A": 10, "B": 20, "C": 20, "D": 40}), groups=2).tolist()
        ['10', '20-40', '20-40', '20-40']
        >>> size_groups(pd.Series({"A": 10, "B": 20, "C": 20, "D": 40})).tolist()
        ['10', '20', '20', '40']
    """
    if sizes.nunique() <= groups:
        return sizes.astype(str)
    # Equal sizes have one rank, so no group cuts through them.
    group = np.floor(groups * (sizes.rank(method="average") - 0.5) / len(sizes))
    least, most = sizes.groupby(group).transform("min"), sizes.groupby(group).transform("max")
    return least.astype(str).where(least == most, least.astype(str) + "-" + most.astype(str))


def by_size_table(measured: Measured, pairs: Sequence[Pair], name: str, column: str) -> Table:
    """Figures 5b (`train`) and 5c (`assets`): SR difference over the assets of markets of like size."""
    sizes = measured.markets[column]
    groups, sharpe = size_groups(sizes), measured.of("sharpe")
    market = sharpe.index.get_level_values("market")
    rows = []
    for pair in pairs:
        difference = sharpe[pair.strategy] - sharpe[pair.reference]
        for group in dict.fromkeys(groups[sizes.sort_values(kind="stable").index]):
            inside = groups.index[groups == group]
            figures = summary(difference[market.isin(inside)])
            rows.append(
                pair._asdict()
                | {"group": group, "markets": len(inside), "mean": figures["mean"], "sd": figures["sd"]}
                | {"assets": figures["assets"], "undefined": figures["undefined"]}
            )
    data = pd.DataFrame(rows)
    words = SIZES[column]
    columns = (
        *PAIR,
        Column(words.capitalize(), "group"),
        Column("Markets", "markets"),
        Column("Mean difference", "mean", RATIO),
        Column("SD", "sd", RATIO),
        Column("Assets", "assets"),
        Column("Undefined", "undefined"),
    )
    return Table(
        name=name,
        title=f"Figure {name.removeprefix('fig')}, by {words}",
        caption=f"Average difference of Sharpe ratios over assets, markets grouped by their {words}, "
        f"{measured.basis}.",
        data=data,
        shown=as_text(data, columns),
    )


def by_country_table(measured: Measured, pairs: Sequence[Pair], places: pd.DataFrame) -> Table:
    """Figure 8: 100 (QuantNet - No Transfer) / |No Transfer| of each market's average SR, by country.

    Markets of one country are averaged; NaN where No Transfer is zero.
    """
    means, country = measured.by_market("sharpe"), places.loc[measured.markets.index, "country"]
    rows = []
    for pair in pairs:
        ours, theirs = means[pair.strategy], means[pair.reference]
        relative = 100.0 * (ours - theirs) / theirs.abs().where(theirs != 0)
        table = pd.DataFrame({"relative": relative, "sharpe_strategy": ours, "sharpe_reference": theirs})
        grouped = table.groupby(country.rename("country"))
        averages = grouped.mean()
        averages.insert(0, "markets", grouped.size())
        rows.append(averages.reset_index().assign(**pair._asdict()))
    data = pd.concat(rows, ignore_index=True)
    data = data[["strategy", "reference", *data.columns[:-2]]].sort_values(
        ["strategy", "reference", "relative"], ascending=[True, True, False], kind="stable", ignore_index=True
    )
    columns = (
        Column("Country", "country"),
        *PAIR,
        Column("Markets", "markets"),
        Column("Difference, %", "relative", RATIO),
        Column("SR strategy", "sharpe_strategy", RATIO),
        Column("SR reference", "sharpe_reference", RATIO),
    )
    return Table(
        name="fig8",
        title="Figure 8, by country",
        caption="Sharpe ratio of the strategy relative to its reference, 100 (a - b) / |b|, each country the "
        f"average of its markets, {measured.basis}.",
        data=data,
        shown=as_text(data, columns),
    )


def line(x: FloatArray, y: FloatArray) -> dict[str, float]:
    """Least squares y = intercept + slope x, with two-sided p-values; NaN with fewer than 3 points."""
    from scipy import stats

    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    names = ("slope", "slope_p", "intercept", "intercept_p", "r")
    if len(x) < 3 or np.ptp(x) == 0.0:
        return dict.fromkeys(names, np.nan) | {"markets": len(x)}
    fit = stats.linregress(x, y)
    with np.errstate(divide="ignore", invalid="ignore"):  # points on a line have no error
        t = np.divide(fit.intercept, fit.intercept_stderr)
    p = float(2.0 * stats.t.sf(abs(t), len(x) - 2))
    fitted = (fit.slope, fit.pvalue, fit.intercept, p, fit.rvalue)
    return dict(zip(names, map(float, fitted), strict=True)) | {"markets": len(x)}


LINES = (
    *PAIR,
    METRIC,
    Column("Intercept", "intercept", format_digits),
    Column("p", "intercept_p", p_cell),
    Column("Slope", "slope", format_digits),
    Column("p ", "slope_p", p_cell),
    Column("Markets", "markets"),
    Column("Paper: intercept", "published_intercept", format_digits),
    Column("Paper: slope", "published_slope", format_digits),
)


def lines_table(measured: Measured, pairs: Sequence[Pair]) -> Table:
    """Figure 9: the strategy's market averages on the reference's."""
    rows = []
    for pair in pairs:
        for metric in COMPARED:
            means = measured.by_market(metric)
            fitted = line(means[pair.reference].to_numpy(), means[pair.strategy].to_numpy())
            rows.append({**pair._asdict(), "metric": metric, **fitted})
    data = join_published(pd.DataFrame(rows), "figure9", ["strategy", "reference", "metric"])
    return Table(
        name="fig9",
        title="Figure 9, fitted lines",
        caption="Least-squares line of the strategy's average ratio in a market on the reference's, "
        f"{measured.basis}. The paper, QuantNet on No Transfer Linear: SR 0.1506 + 0.7381 x, "
        "CR 0.1851 + 0.7379 x.",
        data=data,
        shown=as_text(data, LINES),
    )

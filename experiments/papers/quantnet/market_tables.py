"""QuantNet beside No Transfer by market: the numbers of Figures 4, 5b, 5c, 7, 8 and 9."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.artefacts.items import Table
from experiments.artefacts.numbers import format_digits
from experiments.papers.quantnet.comparisons import COMPARED, compare_assets, p_cell
from experiments.papers.quantnet.measure import Measured, Pair
from experiments.papers.quantnet.published import METRIC_LABELS, join_published
from experiments.papers.quantnet.tables import label, summary
from qn_env.arrays import FloatArray

GROUPS = 5  # of markets in Figures 5b and 5c


def by_market_table(measured: Measured, pairs: Sequence[Pair], places: pd.DataFrame) -> Table:
    """Figures 4 and 7: average SR and CR by market, ordered by the main pair's No Transfer."""
    agents = compare_assets(pairs)
    order = measured.by_market("sharpe")[pairs[0].reference].sort_values(ascending=False, kind="stable").index
    table = pd.DataFrame({"market": order, "country": places.loc[order, "country"].to_numpy()})
    for metric in COMPARED:
        for agent in agents:
            table[f"{metric}:{agent}"] = measured.by_market(metric).loc[order, agent].to_numpy()
    table["assets"] = measured.markets.loc[order, "assets"].to_numpy()
    named = {
        f"{metric}:{agent}": f"{METRIC_LABELS[metric]} {label(agent)}"
        for metric in COMPARED
        for agent in agents
    }
    return Table(
        name="fig4",
        title="Figures 4 and 7, by market",
        caption="Average Sharpe and Calmar ratio of each market's assets, ordered by "
        f"{label(pairs[0].reference)}, {measured.basis}.",
        data=table,
        shown=table.map(_cell).rename(
            columns=named | {"market": "Market", "country": "Country", "assets": "Assets"}
        ),
    )


def size_groups(sizes: pd.Series[Any], groups: int = GROUPS) -> pd.Series[Any]:
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
            found = summary(difference[market.isin(inside)])
            rows.append(
                pair._asdict()
                | {"group": group, "markets": len(inside), "mean": found["mean"], "sd": found["sd"]}
                | {"assets": found["assets"], "undefined": found["undefined"]}
            )
    data = pd.DataFrame(rows)
    words = {"train": "days to train on", "assets": "number of assets"}[column]
    shown = data.assign(strategy=data["strategy"].map(label), reference=data["reference"].map(label)).map(
        _cell
    )
    headings = [
        "Strategy",
        "Reference",
        words.capitalize(),
        "Markets",
        "Mean difference",
        "SD",
        "Assets",
        "Undefined",
    ]
    return Table(
        name=name,
        title=f"Figure {name.removeprefix('fig')}, by {words}",
        caption=f"Average difference of Sharpe ratios over assets, markets grouped by their {words}, "
        f"{measured.basis}.",
        data=data,
        shown=shown.set_axis(headings, axis=1),
    )


def by_country_table(measured: Measured, pairs: Sequence[Pair], places: pd.DataFrame) -> Table:
    """Figure 8: 100 (QuantNet - No Transfer) / |No Transfer| of each market's average SR, by country.

    Markets of one country are averaged; NaN where No Transfer is zero.
    """
    means, country = measured.by_market("sharpe"), places.loc[measured.markets.index, "country"]
    rows = []
    for pair in pairs:
        below = means[pair.reference].abs()
        relative = 100.0 * (means[pair.strategy] - means[pair.reference]) / below.where(below > 0)
        table = pd.DataFrame({"relative": relative, **{k: means[v] for k, v in pair._asdict().items()}})
        grouped = table.groupby(country.rename("country"))
        found = grouped.mean().rename(
            columns={"strategy": "sharpe_strategy", "reference": "sharpe_reference"}
        )
        found.insert(0, "markets", grouped.size())
        rows.append(found.reset_index().assign(**pair._asdict()))
    data = pd.concat(rows, ignore_index=True)
    data = data[
        ["strategy", "reference", "country", "markets", "relative", "sharpe_strategy", "sharpe_reference"]
    ]
    data = data.sort_values(
        ["strategy", "reference", "relative"], ascending=[True, True, False], kind="stable"
    )
    shown = data.assign(strategy=data["strategy"].map(label), reference=data["reference"].map(label)).map(
        _cell
    )
    shown = shown[["country", "strategy", "reference", *shown.columns[3:]]]
    headings = ["Country", "Strategy", "Reference", "Markets", "Difference, %", "SR strategy", "SR reference"]
    return Table(
        name="fig8",
        title="Figure 8, by country",
        caption="Sharpe ratio of the strategy relative to its reference, 100 (a - b) / |b|, each country the "
        f"average of its markets, {measured.basis}.",
        data=data.reset_index(drop=True),
        shown=shown.set_axis(headings, axis=1),
    )


def line(x: FloatArray, y: FloatArray) -> dict[str, float]:
    """Least squares y = intercept + slope x, with two-sided p-values; NaN with fewer than 3 points."""
    from scipy import stats

    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    names = ("slope", "slope_p", "intercept", "intercept_p", "r")
    if len(x) < 3 or np.ptp(x) == 0.0:
        return dict.fromkeys(names, np.nan) | {"markets": len(x)}
    found = stats.linregress(x, y)
    with np.errstate(divide="ignore", invalid="ignore"):  # points on a line have no error
        t = np.divide(found.intercept, found.intercept_stderr)
    p = float(2.0 * stats.t.sf(abs(t), len(x) - 2))
    fitted = (found.slope, found.pvalue, found.intercept, p, found.rvalue)
    return dict(zip(names, map(float, fitted), strict=True)) | {"markets": len(x)}


def lines_table(measured: Measured, pairs: Sequence[Pair]) -> Table:
    """Figure 9: the strategy's market averages on the reference's."""
    rows = []
    for pair in pairs:
        for metric in COMPARED:
            means = measured.by_market(metric)
            fitted = line(means[pair.reference].to_numpy(), means[pair.strategy].to_numpy())
            rows.append({**pair._asdict(), "metric": metric, **fitted})
    data = join_published(pd.DataFrame(rows), "figure9", ["strategy", "reference", "metric"])
    shown = pd.DataFrame(
        {
            "Strategy": data["strategy"].map(label),
            "Reference": data["reference"].map(label),
            "Metric": data["metric"].map(METRIC_LABELS),
            "Intercept": data["intercept"].map(format_digits),
            "p": data["intercept_p"].map(p_cell),
            "Slope": data["slope"].map(format_digits),
            "p ": data["slope_p"].map(p_cell),
            "Markets": data["markets"].astype(str),
            "Paper: intercept": data["published_intercept"].map(format_digits),
            "Paper: slope": data["published_slope"].map(format_digits),
        }
    )
    return Table(
        name="fig9",
        title="Figure 9, fitted lines",
        caption="Least-squares line of the strategy's average ratio in a market on the reference's, "
        f"{measured.basis}. The paper, QuantNet on No Transfer Linear: SR 0.1506 + 0.7381 x, "
        "CR 0.1851 + 0.7379 x.",
        data=data,
        shown=shown,
    )


def _cell(value: Any) -> str:
    return format_digits(value, 3) if isinstance(value, float) else str(value)

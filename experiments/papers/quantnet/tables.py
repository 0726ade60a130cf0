"""Tables 1, 2, 3 and 5: numbers for a file, and the same as text for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.artefacts.items import Table
from experiments.artefacts.numbers import UNDEFINED, format_digits, format_setting, join_words
from experiments.papers.bootstrap import Interval
from experiments.papers.quantnet.bootstrap import Intervals
from experiments.papers.quantnet.measure import Measured
from experiments.papers.quantnet.published import (
    CONFIGURATIONS,
    HYPERPARAMETERS,
    LABELS,
    METRIC_LABELS,
    METRICS,
    join_published,
    read_published,
)

# Which centre and which spread a variant of Table 1 shows.
MEDIAN_MAD = ("median", "mean_deviation")
MEDIAN_MEDIAN = ("median", "median_deviation")
MEAN_SD = ("mean", "sd")


def label(agent: str) -> str:
    """The paper's name of an agent, where it has one."""
    return LABELS.get(agent, agent)


def summary(values: pd.Series[Any]) -> dict[str, float]:
    """Centre and spread of a sample, NaN left out and counted.

    Mean deviation: mean(|x - mean|), the paper's MAD. Median deviation: median(|x - median|). sd: ddof 1.

    Examples:
        >>> found = summary(pd.Series([1.0, 2.0, 6.0, float("nan")]))
        >>> [found[name] for name in ("mean", "median", "mean_deviation", "median_deviation", "undefined")]
        [3.0, 2.0, 2.0, 1.0, 1]
    """
    known = values.dropna()
    mean, median = known.mean(), known.median()
    return {
        "median": float(median),
        "mean_deviation": float((known - mean).abs().mean()),
        "median_deviation": float((known - median).abs().median()),
        "mean": float(mean),
        "sd": float(known.std()),
        "assets": len(known),
        "undefined": len(values) - len(known),
    }


def table_1(measured: Measured, found: Intervals | None) -> pd.DataFrame:
    """Tidy Table 1: one row per metric and agent, with the interval of the median Sharpe ratio.

    `undefined` counts assets without a value on any seed, `undefined_values` asset-seed pairs without one.
    """
    rows = []
    for metric in METRICS:
        values = measured.of(metric.name)
        for agent in measured.agents:
            bounds = found.median[agent] if found and metric.name == "sharpe" else Interval(np.nan, np.nan)
            rows.append(
                {"metric": metric.name, "label": metric.title, "agent": agent, **summary(values[agent])}
                | {"undefined_values": int(measured.undefined.loc[metric.name, agent])}
                | {"seeds": len(measured.seeds[agent]), "median_low": bounds.low, "median_high": bounds.high}
            )
    return join_published(pd.DataFrame(rows), "table1", ["metric", "agent"])


def tables_1(measured: Measured, found: Intervals | None) -> list[Table]:
    """Table 1, and the same with other centres and spreads."""
    data = table_1(measured, found)
    over = f"over {len(measured.values)} assets of {len(measured.markets)} markets, {measured.basis}"
    variants = (
        ("table1", MEDIAN_MAD, "Median with the mean absolute deviation about the mean in brackets"),
        ("table1-median-deviation", MEDIAN_MEDIAN, "Median with the median absolute deviation in brackets"),
        ("table1-mean", MEAN_SD, "Mean with the standard deviation in brackets"),
    )
    return [
        Table(
            name=name,
            title=f"Table 1{suffix}",
            caption=f"{words} of each strategy's metrics {over}; for a learnt strategy an asset's figure is "
            "its mean over seeds.",
            data=data,
            shown=_shown_1(data, shown),
        )
        for (name, shown, words), suffix in zip(variants, ("", ", median deviation", ", mean"), strict=True)
    ]


def _shown_1(data: pd.DataFrame, shown: tuple[str, str]) -> pd.DataFrame:
    """Metrics down, strategies across; the paper's own figures below ours where it prints these."""
    rows = []
    for metric in METRICS:
        own = data[data["metric"] == metric.name].set_index("agent")
        rows.append([metric.title, *(bracketed(row, shown) for _, row in own.iterrows())])
        if metric.name == "sharpe" and own["median_low"].notna().any() and shown[0] == "median":
            rows.append(["SR, 95% interval", *(interval_cell(row) for _, row in own.iterrows())])
        if own["undefined_values"].any():
            rows.append([f"{metric.title}, undefined", *(f"{n}" for n in own["undefined_values"])])
        if shown == MEDIAN_MAD:
            paper = ("published_median", "published_mean_deviation")
            rows.append([f"{metric.title}, paper", *(bracketed(row, paper) for _, row in own.iterrows())])
    agents = data["agent"].unique()
    return pd.DataFrame(rows, columns=["Metric", *(label(agent) for agent in agents)])


def bracketed(row: Any, shown: tuple[str, str]) -> str:
    """Centre, and spread in brackets; a dash where undefined."""
    centre, spread = (row[name] for name in shown)
    return f"{format_digits(centre)} ({format_digits(spread, 3)})" if np.isfinite(centre) else UNDEFINED


def interval_cell(row: Any) -> str:
    """The interval of a median; a dash where undefined."""
    return (
        f"[{row['median_low']:.3f}, {row['median_high']:.3f}]"
        if np.isfinite(row["median_low"])
        else UNDEFINED
    )


def table_2(measured: Measured, places: pd.DataFrame) -> Table:
    """The panel's markets; the paper's samples are days to train on."""
    markets = measured.markets
    data = pd.DataFrame(
        {
            "region": places["region"].reindex(markets.index),
            "market": markets.index,
            "country": places["country"].reindex(markets.index),
            "samples": markets["train"],
            "select": markets["select"],
            "test": markets["test"],
            "test_first": markets["test_first"],
            "test_last": markets["test_last"],
            "assets": markets["assets"],
        }
    ).reset_index(drop=True)
    shown = data.sort_values(["region", "market"], kind="stable").astype(str)
    shown = shown[["market", "country", "region", *shown.columns[3:]]]
    headings = ("Market", "Country", "Region", "Samples", "Select", "Test", "First", "Last", "Assets")
    return Table(
        name="table2",
        title="Table 2",
        caption="The markets of the run: samples are days to train on, then days to select on and to test "
        f"on; {int(markets['assets'].sum())} assets in {len(markets)} markets (the paper: 3,103 in 58).",
        data=data,
        shown=shown.set_axis(list(headings), axis=1),
    )


def tables_3(study: Mapping[str, Any] | None) -> list[Table]:
    """The search space of the paper, the values chosen here, and every trial."""
    chosen: Mapping[str, Any] = (study or {}).get("chosen", {})
    space = read_published("table3").set_index("hyperparameter")
    rows = []
    for hyperparameter, names in HYPERPARAMETERS.items():
        for agent in CONFIGURATIONS:
            options = chosen.get(agent, {}).get("options", {})
            value = next((options[name] for name in names if name in options), None)
            rows.append(
                {"hyperparameter": hyperparameter, "agent": agent}
                | {"published": space.loc[hyperparameter, agent], "chosen": value}
            )
    data = pd.DataFrame(rows)
    cells = data["published"].where(
        data["chosen"].isna() | (data["published"] == "-"),
        data["published"] + " \N{RIGHTWARDS ARROW} " + data["chosen"].map(format_setting),
    )
    shown = data.assign(cell=cells).pivot(index="hyperparameter", columns="agent", values="cell")
    shown = shown.loc[list(HYPERPARAMETERS), list(CONFIGURATIONS)].reset_index()
    found = [
        Table(
            name="table3",
            title="Table 3",
            caption="The published search space by configuration"
            + (", and after an arrow the value chosen here." if chosen else "; this run records no search."),
            data=data.astype({"chosen": object}),
            shown=shown.set_axis(["Hyperparameter", *CONFIGURATIONS.values()], axis=1),
        )
    ]
    if chosen:
        found.append(_options_table("table3-chosen", "Table 3, chosen", _chosen_rows(chosen)))
    if study is not None and study.get("trials"):
        found.append(_options_table("table3-trials", "Table 3, trials", list(study["trials"])))
    return found


def _chosen_rows(chosen: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"agent": agent, **best} for agent, best in chosen.items()]


def _options_table(name: str, title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Trials or choices with one column per option."""
    data = pd.DataFrame(
        [
            {k: v for k, v in row.items() if k != "options"}
            | {k: format_setting(v) for k, v in row.get("options", {}).items()}
            for row in rows
        ]
    )
    what = "Every trial of the search" if name.endswith("trials") else "The trial chosen for each agent"
    return Table(
        name=name,
        title=title,
        caption=f"{what}, with its score on the selection days.",
        data=data,
        shown=data.map(format_setting),
    )


def table_5(measured: Measured, markets: Sequence[str], agents: Sequence[str]) -> Table:
    """Table 1's metrics for named markets: mean (SD), then median (MAD), strategies side by side."""
    rows = []
    for market in markets:
        for metric in METRICS:
            for agent in agents:
                values = measured.of(metric.name).loc[market, agent]
                rows.append({"market": market, "metric": metric.name, "agent": agent, **summary(values)})
    data = pd.DataFrame(rows)
    parts = []
    for words, shown in (("Mean (SD)", MEAN_SD), ("Median (MAD)", MEDIAN_MAD)):
        cells = data.assign(cell=[_counted(row, shown) for _, row in data.iterrows()])
        wide = cells.pivot(index="metric", columns=["market", "agent"], values="cell")
        wide = wide.loc[list(METRIC_LABELS), [(m, a) for m in markets for a in agents]]
        wide.columns = pd.Index([f"{market}: {label(agent)}" for market, agent in wide.columns])
        wide.insert(0, "Metric", list(METRIC_LABELS.values()))
        wide.insert(0, "Statistic", words)
        parts.append(wide)
    return Table(
        name="table5",
        title="Table 5",
        caption=f"The metrics over the assets of {join_words(markets)}, mean with standard deviation and "
        f"median with mean absolute deviation, {measured.basis}.",
        data=data,
        shown=pd.concat(parts, ignore_index=True),
    )


def _counted(row: Any, shown: tuple[str, str]) -> str:
    missing = int(row["undefined"])
    return bracketed(row, shown) + (f", {missing} undefined" if missing else "")


def table_5_published() -> Table:
    """The paper's Table 5."""
    data = read_published("table5")
    cells = data.assign(
        label=data["metric"].map(METRIC_LABELS),
        mean_cell=[bracketed(row, MEAN_SD) for _, row in data.iterrows()],
        median_cell=[bracketed(row, MEDIAN_MAD) for _, row in data.iterrows()],
        agent=data["agent"].map(label),
    )[["market", "agent", "label", "mean_cell", "median_cell"]]
    return Table(
        name="table5-published",
        title="Table 5, published",
        caption="The paper's figures for SPX, UKX, KOSPI and SASEIDX, whose data this run does not have.",
        data=data,
        shown=cells.set_axis(["Market", "Strategy", "Metric", "Mean (SD)", "Median (MAD)"], axis=1),
    )

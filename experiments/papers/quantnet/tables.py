"""Tables 1, 2, 3 and 5: numbers for a file, and the same as text for a page."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import NotRequired, TypedDict

import numpy as np
import pandas as pd

from experiments.artefacts.columns import Column, as_text
from experiments.artefacts.items import Table
from experiments.artefacts.numbers import UNDEFINED, format_digits, format_setting, join_words
from experiments.papers.bootstrap import Interval
from experiments.papers.config import as_the_paper_trades, is_late_trained
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
from experiments.papers.quantnet.world import code_of
from experiments.storage.records import TrialResult

# Which centre and which spread a cell shows.
MEDIAN_MAD = ("median", "mean_deviation")
MEDIAN_MEDIAN = ("median", "median_deviation")
MEAN_SD = ("mean", "sd")
STATISTICS: Mapping[str, tuple[str, str]] = {"Mean (SD)": MEAN_SD, "Median (MAD)": MEDIAN_MAD}

# Table 1 and the same with other centres and spreads: name, title, what is shown and in which words.
VARIANTS_1 = (
    ("table1", "Table 1", MEDIAN_MAD, "Median with the mean absolute deviation about the mean in brackets"),
    (
        "table1-median-deviation",
        "Table 1, median deviation",
        MEDIAN_MEDIAN,
        "Median with the median absolute deviation in brackets",
    ),
    ("table1-mean", "Table 1, mean", MEAN_SD, "Mean with the standard deviation in brackets"),
)


class StudyRecord(TypedDict):
    """What a study spent and chose, `study.json`."""

    budget: Mapping[str, object]  # by what each number counts
    trials: Sequence[TrialResult]
    chosen: Mapping[str, TrialResult]  # by agent
    fixed: NotRequired[Mapping[str, Sequence[str]]]  # by agent, options that were given and not searched


def label(agent: str) -> str:
    """The paper's name of an agent, where it has one."""
    name = as_the_paper_trades(agent)
    return LABELS.get(name, name) + (", trained late" if is_late_trained(agent) else "")


def summary(values: pd.Series[float]) -> dict[str, float]:
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


def bracketed(centre: float, spread: float) -> str:
    """Centre, and spread in brackets; a dash where undefined."""
    return f"{format_digits(centre)} ({format_digits(spread, 3)})" if np.isfinite(centre) else UNDEFINED


def interval_cell(low: float, high: float) -> str:
    """The interval of a median; a dash where undefined."""
    return f"[{low:.3f}, {high:.3f}]" if np.isfinite(low) else UNDEFINED


METRIC = Column("Metric", "metric", METRIC_LABELS.__getitem__)
SHARPE_INTERVAL = Column("SR, 95% interval", ("median_low", "median_high"), interval_cell)


def table_1(measured: Measured, bootstrapped: Intervals | None) -> pd.DataFrame:
    """Tidy Table 1: one row per metric and agent, with the interval of the median Sharpe ratio.

    `undefined` counts assets without a value on any seed, `undefined_values` asset-seed pairs without one.
    """
    rows = []
    for metric in METRICS:
        values = measured.of(metric.name)
        for agent in measured.agents:
            bounds = (
                bootstrapped.median[agent]
                if bootstrapped and metric.name == "sharpe"
                else Interval(np.nan, np.nan)
            )
            rows.append(
                {"metric": metric.name, "label": metric.title, "agent": agent, **summary(values[agent])}
                | {"undefined_values": int(measured.undefined.loc[metric.name, agent])}
                | {"seeds": len(measured.seeds[agent]), "median_low": bounds.low, "median_high": bounds.high}
            )
    return join_published(pd.DataFrame(rows), "table1", ["metric", "agent"])


def tables_1(measured: Measured, bootstrapped: Intervals | None) -> list[Table]:
    """Table 1, and the same with other centres and spreads."""
    data = table_1(measured, bootstrapped)
    over = f"over {len(measured.values)} assets of {len(measured.markets)} markets, {measured.basis}"
    return [
        Table(
            name=name,
            title=title,
            caption=f"{words} of each strategy's metrics {over}; for a learnt strategy an asset's figure is "
            "its mean over seeds.",
            data=data,
            shown=_shown_1(data, shown, measured.static),
        )
        for name, title, shown, words in VARIANTS_1
    ]


def _shown_1(data: pd.DataFrame, shown: tuple[str, str], static: Collection[str]) -> pd.DataFrame:
    """Metrics down, strategies across, static ones marked; the paper's figures below ours."""
    rows = []
    for metric in METRICS:
        own = data[data["metric"] == metric.name]
        lines = [Column(metric.title, (*shown, "undefined_values"), _counted)]
        if metric.name == "sharpe" and own["median_low"].notna().any() and shown[0] == "median":
            lines.append(SHARPE_INTERVAL)
        if shown == MEDIAN_MAD:
            lines.append(Column(f"{metric.title}, paper", in_paper(shown), bracketed))
        rows += [[line.heading, *line.text(own)] for line in lines]
    names = [f"{label(agent)} =" if agent in static else label(agent) for agent in data["agent"].unique()]
    return pd.DataFrame(rows, columns=["Metric", *names])


def in_paper(shown: tuple[str, str]) -> tuple[str, str]:
    """The columns of the paper's centre and spread behind ours."""
    centre, spread = shown
    return f"published_{centre}", f"published_{spread}"


TABLE_2 = (
    Column("Market", "market"),
    Column("Country", "country"),
    Column("Region", "region"),
    Column("Samples", "samples"),
    Column("Select", "select"),
    Column("Test", "test"),
    Column("First", "test_first"),
    Column("Last", "test_last"),
    Column("Assets", "assets"),
)


def table_2(measured: Measured, places: pd.DataFrame) -> Table:
    """The panel's markets; the paper's samples are days to train on."""
    markets = measured.markets.rename(columns={"train": "samples"})
    whole = markets.join(places).reset_index()
    data = whole[["region", "market", "country", *(str(column.keys) for column in TABLE_2[3:])]]
    return Table(
        name="table2",
        title="Table 2",
        caption="The markets of the run: samples are days to train on, then days to select on and to test "
        f"on; {int(markets['assets'].sum())} assets in {len(markets)} markets (the paper: 3,103 in 58).",
        data=data,
        shown=as_text(data.sort_values(["region", "market"], kind="stable"), TABLE_2),
    )


def tables_3(study: StudyRecord | None) -> list[Table]:
    """The search space of the paper, the values chosen here, and every trial."""
    chosen: Mapping[str, TrialResult] = study["chosen"] if study else {}
    tables = [_space_table(chosen, study.get("fixed", {}) if study else {})]
    if chosen:
        best: list[TrialResult] = [{"agent": agent, **trial} for agent, trial in chosen.items()]
        tables.append(_options_table("chosen", "The trial chosen for each agent", best))
    if study and study["trials"]:
        tables.append(_options_table("trials", "Every trial of the search", study["trials"]))
    return tables


def _space_table(chosen: Mapping[str, TrialResult], fixed: Mapping[str, Sequence[str]]) -> Table:
    """Table 3: hyperparameters down, configurations across."""
    space = read_published("table3").set_index("hyperparameter")
    rows = []
    for hyperparameter, names in HYPERPARAMETERS.items():
        for agent in CONFIGURATIONS:
            options = chosen[agent]["options"] if agent in chosen else {}
            name = next((name for name in names if name in options), None)
            rows.append(
                {"hyperparameter": hyperparameter, "agent": agent}
                | {"published": space.loc[hyperparameter, agent], "chosen": name and options[name]}
                | {"fixed": name is not None and name in fixed.get(agent, ())}
            )
    data = pd.DataFrame(rows)
    cells = data.assign(cell=Column("", ("published", "chosen", "fixed"), _space_cell).text(data))
    shown = cells.pivot(index="hyperparameter", columns="agent", values="cell")
    shown = shown.loc[list(HYPERPARAMETERS), list(CONFIGURATIONS)].reset_index()
    return Table(
        name="table3",
        title="Table 3",
        caption="The published search space by configuration"
        + (
            ", and after an arrow the value chosen here; what was fixed was not searched and may lie outside."
            if chosen
            else "; this run records no search."
        ),
        data=data.astype({"chosen": object}),
        shown=shown.set_axis(["Hyperparameter", *CONFIGURATIONS.values()], axis=1),
    )


def _space_cell(space: str, chosen: object, fixed: bool) -> str:  # noqa: FBT001 - a cell of the table
    """A range, and behind an arrow the value chosen from it; or behind a comma the one that was given."""
    if space == "-" or pd.isna(chosen):
        return space
    if fixed:
        return f"{space}, fixed at {format_setting(chosen)}"
    return f"{space} \N{RIGHTWARDS ARROW} {format_setting(chosen)}"


# Of a trial's record: the same in all of them, or of no use to a reader; the files have them.
LEFT_OUT_3 = ("window", "vol_target", "lag", "data", "bars", "epochs", "best_epoch", "curve")


def _options_table(part: str, words: str, trials: Sequence[TrialResult]) -> Table:
    """Trials with one column per option."""
    rows = [
        {name: value for name, value in trial.items() if name != "options"}
        | {name: format_setting(value) for name, value in trial["options"].items()}
        for trial in trials
    ]
    data = pd.DataFrame(rows)
    shown = data.drop(columns=[c for c in LEFT_OUT_3 if c in data]).map(format_setting)
    shown["agent"] = data["agent"].map(label)
    return Table(
        name=f"table3-{part}",
        title=f"Table 3, {part}",
        caption=f"{words}, with its score on the selection days.",
        data=data,
        shown=shown.rename(columns=lambda name: name.replace("_", " ").capitalize()),
    )


# The paper's named markets, by country.
PAPER_MARKETS = {"US": "SPX", "GB": "UKX", "KR": "KOSPI", "SA": "SASEIDX"}


def table_5(measured: Measured, markets: Sequence[str], agents: Sequence[str], places: pd.DataFrame) -> Table:
    """Table 1's metrics for named markets: mean (SD) and median (MAD), strategies side by side.

    Below ours the paper's figures for its market of the same country, where it names one.

    Args:
        measured: the run.
        markets: looked at one by one.
        agents: the strategies.
        places: index market, column country.
    """
    rows = []
    for market in markets:
        like = PAPER_MARKETS.get(code_of(places.loc[market, "country"]) or "", "")
        for metric in METRICS:
            for agent in agents:
                values = measured.of(metric.name).loc[market, agent]
                names = {"market": market, "published_market": like, "metric": metric.name, "agent": agent}
                rows.append(names | summary(values))
    printed = read_published("table5").add_prefix("published_")
    data = pd.DataFrame(rows).merge(
        printed.rename(columns={f"published_{name}": name for name in ("metric", "agent")}),
        on=["published_market", "metric", "agent"],
        how="left",
    )
    return Table(
        name="table5",
        title="Table 5",
        caption=f"The metrics over the assets of {join_words(markets)}, mean with standard deviation and "
        f"median with mean absolute deviation, {measured.basis}.",
        data=data,
        shown=_shown_5(data, agents),
    )


def _shown_5(data: pd.DataFrame, agents: Sequence[str]) -> pd.DataFrame:
    """Markets and their metrics down, the paper's figures below ours, strategies and statistics across."""
    ours = [Column("", (*shown, "undefined"), _counted) for shown in STATISTICS.values()]
    theirs = [Column("", in_paper(shown), bracketed) for shown in STATISTICS.values()]
    rows = []
    for (market, like, metric), own in data.groupby(["market", "published_market", "metric"], sort=False):
        lines = [(str(market), ours)] + ([(f"{like}, paper", theirs)] if like else [])
        for head, columns in lines:
            cells = zip(*(column.text(own) for column in columns), strict=True)
            rows.append([head, METRIC_LABELS[str(metric)], *chain.from_iterable(cells)])
    heads = [f"{label(agent)}: {words[0].lower()}{words[1:]}" for agent in agents for words in STATISTICS]
    return pd.DataFrame(rows, columns=["Market", "Metric", *heads])


def _counted(centre: float, spread: float, undefined: int) -> str:
    return bracketed(centre, spread) + (f", {undefined} undefined" if undefined else "")


def table_5_published() -> Table:
    """The paper's Table 5."""
    data = read_published("table5")
    columns = (
        Column("Market", "market"),
        Column("Strategy", "agent", label),
        METRIC,
        *(Column(words, shown, bracketed) for words, shown in STATISTICS.items()),
    )
    return Table(
        name="table5-published",
        title="Table 5, published",
        caption="The paper's figures for SPX, UKX, KOSPI and SASEIDX; its stocks are not those of this run.",
        data=data,
        shown=as_text(data, columns),
    )

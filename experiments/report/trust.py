"""The tables that say how far a run can be trusted: one source for the page, the CSV files and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.artefacts.columns import Column, as_text, number_column
from experiments.artefacts.files import write_items
from experiments.artefacts.items import Table
from experiments.artefacts.numbers import UNDEFINED, format_interval, format_money, format_value
from experiments.report.data import CLOSES, FINDINGS, data_tables
from experiments.report.folds import FOLDS, unseen_tables
from experiments.report.spreads import CHARGED, THIRDS, spread_tables
from experiments.results.evidence import SWEEP_BPS, Evidence, capital_table, cost_curve
from experiments.results.headings import LEADERBOARD, SIGNALS, pick
from experiments.results.leaderboard import STATIC_SHARE
from experiments.results.run import Run
from experiments.settings.config import IN_WORDS, Execution, in_bp
from qn_env.errors import refuse_missing
from qn_env.storage import read_bytes

SHOWN_BPS = (0.0, 2.0, 5.0, 10.0, SWEEP_BPS)  # of the cost curve, in its table
OF_BOTH = (
    "delays",
    "signals",
    "probes",
    FINDINGS,
    CLOSES,
    CHARGED,
    THIRDS,
    FOLDS,
)  # tables that are the same for both executions
PROBES = ("probe", "agent", "measure", "seeds", "value", "low", "high", "bar", "verdict")


class Fact(NamedTuple):
    """One figure of the honesty panel: the question, the answer, and what it means."""

    question: str
    answer: str
    meaning: str


def facts(evidence: Evidence) -> list[Fact]:
    """What a reader should know before the ranking is believed."""
    best = evidence.agents.iloc[0]
    audits = evidence.agents["audit"]
    passed = int(audits.str.startswith("passed").sum())
    overfitting = evidence.overfitting
    return [
        Fact(
            "Trials",
            f"{evidence.tried.trials.number}",
            f"{evidence.tried.source}. A floor: what else was tried before is not recorded.",
        ),
        Fact(
            "Deflated Sharpe ratio",
            format_value(best["deflated"], ".2f"),
            f"probability that {best['agent']}, ranked first, is better than the luck of the best of these "
            "trials; evidence above 0.95.",
        ),
        Fact(
            "Probability of overfitting",
            UNDEFINED if overfitting is None else f"{overfitting.probability:.0%}",
            "too few agents or common days."
            if overfitting is None
            else "how often the best agent on half of the test days is in the worse half on the other days "
            f"({len(overfitting.logits):,} ways to halve them); noise gives about 50%.",
        ),
        Fact(
            "Better than cash",
            UNDEFINED if evidence.superiority is None else f"p = {evidence.superiority.p_value:.2f}",
            "too few common days."
            if evidence.superiority is None
            else "chance that the best of all agents would look as good if none were better than cash "
            "(Hansen 2005).",
        ),
        Fact(
            "Look-ahead audit",
            f"{passed} of {len(audits)}",
            "ranked agents passed: with the later days scrambled, they decided the same."
            + (f" Refused: {', '.join(evidence.refused)}." if evidence.refused else ""),
        ),
        _delay(evidence),
    ]


def _delay(evidence: Evidence) -> Fact:
    """What the agent that is ranked first has with the other execution."""
    best = evidence.delays.iloc[0]
    late, on_time = format_value(best["sharpe_late"], ".2f"), format_value(best["sharpe"], ".2f")
    if evidence.execution == "late":
        return Fact(
            "On time",
            on_time,
            f"Sharpe ratio of {best['agent']}, ranked first, if each decision could be traded at the very "
            f"close it is made at; {late} one trading day later, which is what is ranked here.",
        )
    return Fact(
        "One day late",
        late,
        f"Sharpe ratio of {best['agent']}, ranked first, if each decision is traded one trading day later; "
        f"{on_time} on time. What a delay takes was earned on the first day.",
    )


def tables(run: Run, evidence: Evidence) -> list[Table]:
    """Every table of the statistics, at the headline cost."""
    probes = probe_table(run.folder)
    return [
        _significance(run, evidence),
        _differences(evidence),
        _delays(evidence),
        _markets(evidence),
        _paired_tests(evidence),
        _costs(run, evidence),
        *_capital(run),
        *_signals(run),
        *([probes] if probes is not None else []),
        *unseen_tables(run, evidence),
        *data_tables(run),
        *spread_tables(run),
    ]


def write_tables(runs: Mapping[Execution, Run], shown: Mapping[Execution, Sequence[Table]]) -> None:
    """Write the leaderboard and these tables as CSV and LaTeX into `tables/`.

    Those of the execution that the run is not ranked by have it in their names.
    """
    run = next(iter(runs.values()))
    quick = " A quick run, not comparable." if run.about["config"].get("quick") else ""
    note = f"Test days only, at {in_bp(run.headline)}, {IN_WORDS[run.execution]}.{quick}"
    items = [
        replace(table, name=f"{table.name}-{name}") if name != run.execution else table
        for name, seen in runs.items()
        for table in [leaderboard_table(seen), *shown[name]]
        if name == run.execution or table.name not in OF_BOTH
    ]
    write_items(items, run.folder, {}, [note])


def study_texts(folder: Path) -> list[str]:
    """The tables that the paper's study prints, where the run is part of one (`qn paper`)."""
    study = folder.parent
    if not (study / "study.json").is_file():
        return []
    files = sorted((study / "tables").glob("*.txt"))
    return [
        read_bytes(path).decode(errors="replace").strip() for path in files if not path.stem.endswith("notes")
    ]


def leaderboard_table(run: Run) -> Table:
    """The leaderboard: every cost in the data, the headline cost as shown."""
    rows = run.ranking(run.headline)
    shown = [
        {
            "": f"{row['rank']}",
            "Agent": row["agent"],
            "Sharpe": format_value(row["sharpe"], ".2f"),
            "95% interval": format_interval(row["sharpe_low"], row["sharpe_high"]),
            **{one.title: format_value(row[one.name], one.form) for one in pick(*LEADERBOARD)},
            "Seeds": f"{row['seeds']}",
        }
        for row in rows.to_dict("records")
    ]
    return Table(
        name="leaderboard",
        title="Leaderboard",
        caption=f"Net of {in_bp(run.headline)}, {IN_WORDS[run.execution]}, by Sharpe "
        "ratio; means over seeds.",
        data=run.leaderboard,
        shown=pd.DataFrame(shown),
    )


def _significance(run: Run, evidence: Evidence) -> Table:
    shown = [
        {
            "Agent": row["agent"],
            "Sharpe": format_value(row["sharpe"], ".2f"),
            "Error": format_value(row["sharpe_error"], ".2f"),
            "Probabilistic": format_value(row["probabilistic"], ".2f"),
            "Deflated": format_value(row["deflated"], ".2f"),
            "Better than cash": _yes(row["beats_cash"]),
            "May be the best": _yes(row["may_be_best"]),
            "Years needed": _years(row["track_record_years"]),
            "Look-ahead audit": row["audit"],
        }
        for row in evidence.agents.to_dict("records")
    ]
    days = int(evidence.agents["days"].max())
    return Table(
        name="significance",
        title="Luck and look-ahead",
        caption=(
            f"Portfolio over {days} {run.bars} ({days / run.bars_per_year:.1f} years), net of "
            f"{in_bp(evidence.level)}; of one training. Error: standard error for dependent days. "
            "Probabilistic: probability of a true ratio above 0. Deflated: above what luck gives the best of "
            f"{evidence.tried.trials.number} trials ({evidence.tried.source}). Years needed: track record "
            "until the former reaches 95% (Bailey and Lopez de Prado 2012, 2014). Of all agents at once, at "
            "10% volatility: better than cash, with a chance of 5% that any is falsely called so (Romano and "
            "Wolf 2005); in the set that holds the best with 95% (Hansen, Lunde and Nason 2011)."
        ),
        data=evidence.agents[
            [
                "agent",
                "days",
                "sharpe",
                "sharpe_error",
                "probabilistic",
                "deflated",
                "beats_cash",
                "may_be_best",
                "track_record_years",
                "audit",
            ]
        ],
        shown=pd.DataFrame(shown),
    )


def _differences(evidence: Evidence) -> Table:
    shown = [
        {
            "Agent": row["left"],
            "Against": row["right"],
            **_difference(row),
            "p, corrected": format_value(row["p_holm"], ".3f"),
        }
        for row in evidence.differences.to_dict("records")
    ]
    return Table(
        name="differences",
        title="Differences of Sharpe ratios",
        caption=(
            "Portfolio, means over seeds, after Ledoit and Wolf (2008): neither dependent days nor a common "
            "market feign evidence. Corrected for the number of rows (Holm 1979); below 0.05 the two differ. "
            "They say what these seeds earned; other seeds would have earned something else."
        ),
        data=evidence.differences,
        shown=pd.DataFrame(shown, columns=["Agent", "Against", "Difference", "Error", "p", "p, corrected"]),
    )


def _delays(evidence: Evidence) -> Table:
    shown = [
        {
            "Agent": row["agent"],
            "On time": format_value(row["sharpe"], ".2f"),
            "One day late": format_value(row["sharpe_late"], ".2f"),
            **_difference(row),
            "p, corrected": format_value(row["p_holm"], ".3f"),
        }
        for row in evidence.delays.to_dict("records")
    ]
    return Table(
        name="delays",
        title="One day late",
        caption=(
            f"Net Sharpe ratio of the portfolio at {in_bp(evidence.level)}, and of the same decisions each "
            "traded one trading day later (nothing is held on the first test day then). Few can trade at the "
            "very close they decide from, and recorded closes are not of one moment: what does not outlast "
            "a day should not be counted on. p is of the difference; corrected for the number of agents "
            "(Holm 1979), below 0.05 it was earned on the first day. The difference leaves out the days on "
            "which a market's positions are entered."
        ),
        data=evidence.delays,
        shown=pd.DataFrame(shown),
    )


def _markets(evidence: Evidence) -> Table:
    columns = ["agent", "iqm", "iqm_low", "iqm_high", "improvement", "improvement_low", "improvement_high"]
    ranks = {} if evidence.ranking is None else evidence.ranking.average
    data = evidence.agents[columns].assign(average_rank=evidence.agents["agent"].map(ranks).astype(float))
    shown = [
        {
            "Agent": row["agent"],
            "Interquartile mean": _with_interval(row, "iqm"),
            f"Better than {evidence.reference}": _with_interval(row, "improvement"),
            "Average rank": format_value(row["average_rank"], ".2f"),
        }
        for row in data.to_dict("records")
    ]
    return Table(
        name="markets",
        title="Across markets and seeds",
        caption=(
            "Net Sharpe ratios of every market and seed: mean of their middle half, how often a run beats "
            f"one of {evidence.reference} in the same market, and mean rank among the agents. 95% intervals "
            "are over seeds, with none for a single seed (Agarwal et al. 2021). " + _rank_words(evidence)
        ),
        data=data,
        shown=pd.DataFrame(shown),
    )


def _rank_words(evidence: Evidence) -> str:
    ranking = evidence.ranking
    if ranking is None:
        return "No market in which all agents have a score."
    left_out = f", {ranking.left_out} without every score left out" if ranking.left_out else ""
    return (
        f"Ranks over {ranking.markets} markets{left_out}; agents further apart than "
        f"{ranking.critical_difference:.2f} differ, if markets are independent (Demsar 2006)."
    )


def _paired_tests(evidence: Evidence) -> Table:
    shown = [
        {
            "Agent": row["left"],
            "Against": row["right"],
            "Assets": f"{row['assets']}",
            "Median difference": format_value(row["median_difference"], "+.2f"),
            "Wilcoxon p": format_value(row["wilcoxon_holm"], ".3f"),
            "Kolmogorov-Smirnov p": format_value(row["ks_holm"], ".3f"),
        }
        for row in evidence.paired.to_dict("records")
    ]
    columns = ["Agent", "Against", "Assets", "Median difference", "Wilcoxon p", "Kolmogorov-Smirnov p"]
    return Table(
        name="paired",
        title="Paired tests over assets (treats assets as independent)",
        caption=(
            "As the papers test: Sharpe ratios of the same assets. Assets move together, so these p-values "
            "are too small; go by the differences of portfolio Sharpe ratios. Corrected by Holm."
        ),
        data=evidence.paired,
        shown=pd.DataFrame(shown, columns=columns),
    )


def _signals(run: Run) -> list[Table]:
    """How much every agent's signals vary; none in a run of an earlier version."""
    rows = run.ranking(run.headline)
    if not set(SIGNALS) <= set(rows.columns):
        return []
    columns = [
        Column("Agent", "agent"),
        *(number_column(one.title, one.name, one.form) for one in pick(*SIGNALS)),
    ]
    return [
        Table(
            name="signals",
            title="How much signals vary",
            caption="Mean absolute change of an asset's signal from one day to the next, and the share of "
            "the assets whose signal never moves; means over assets and seeds. A rule may hold one number by "
            f"design; of a learnt agent {STATIC_SHARE:.0%} or more say that so much of its book is fixed.",
            data=rows[["agent", *SIGNALS, "static"]],
            shown=as_text(rows, columns),
        )
    ]


def _costs(run: Run, evidence: Evidence) -> Table:
    curve = cost_curve(run)
    level = evidence.agents.set_index("agent")["break_even_bps"]
    turnover = run.ranking(run.headline).set_index("agent")["turnover"]
    shown = [
        {
            "Agent": agent,
            "Break-even": format_value(level[agent], ".1f"),
            "Turnover": format_value(turnover[agent], ".1f"),
        }
        | {
            f"{cost:g} bp": format_value(float(np.interp(cost, curve.index, curve[agent])), ".2f")
            for cost in SHOWN_BPS
        }
        for agent in evidence.agents["agent"]
    ]
    return Table(
        name="costs",
        title="Costs",
        caption=(
            "Break-even: basis points per unit of turnover that take the whole portfolio return; negative "
            "where there is none to take. Turnover: annualised, per asset. Then the net Sharpe ratio by cost."
        ),
        data=curve.T.rename_axis("agent")
        .add_suffix(" bp")
        .reset_index()
        .assign(break_even_bps=lambda rows: rows["agent"].map(level)),
        shown=pd.DataFrame(shown),
    )


def _capital(run: Run) -> list[Table]:
    """Net Sharpe ratios after impact; none where the run was not asked for them."""
    data = capital_table(run)
    if data.empty:
        return []
    heads = [format_money(capital) for capital in run.capitals]
    if len(set(heads)) < len(heads):
        heads = [f"{capital:,.17g}" for capital in run.capitals]
    named = dict(zip(heads, run.capitals, strict=True))
    shown = [
        {"Agent": row["agent"]}
        | {head: format_value(row[f"{capital:.17g}"], ".2f") for head, capital in named.items()}
        | {"Half gone at": format_money(row["half"]), "All gone at": format_money(row["all"])}
        for row in data.to_dict("records")
    ]
    return [
        Table(
            name="capital",
            title="How much money it bears",
            caption="Net Sharpe ratio of the portfolio after square-root impact, by the money behind a "
            "weight of 1 in one asset: the ex-ante volatility of a bar times the root of what is traded over "
            "the volume, on every trade (Grinold and Kahn 2000; Almgren et al. 2005). Then the money at "
            "which half of the ratio, and all of the mean return, is gone.",
            data=data,
            shown=pd.DataFrame(shown),
        )
    ]


def probe_table(folder: Path) -> Table | None:
    """The run's probes, if it has `probes.csv`.

    Raises:
        DataError: the file lacks a column.
    """
    path = folder / "probes.csv"
    if not path.is_file():
        return None
    data = pd.read_csv(path)
    refuse_missing(path, "columns", PROBES, data, "Write it again with qn probes.")
    shown = [
        {
            "Probe": row["probe"],
            "Agent": row["agent"],
            "Measure": row["measure"],
            "Seeds": f"{row['seeds']}",
            "Value": format_value(row["value"], ".2f"),
            "95% interval": format_interval(row["low"], row["high"]),
            "Bar": "" if pd.isna(row["bar"]) else f"{row['bar']}",
            "Verdict": "" if pd.isna(row["verdict"]) else f"{row['verdict']}",
        }
        for row in data.to_dict("records")
    ]
    return Table(
        name="probes",
        title="Probes",
        caption="Synthetic markets whose optimum is known: what an agent finds where something is planted.",
        data=data,
        shown=pd.DataFrame(shown),
    )


def _difference(row: pd.Series) -> dict[str, str]:
    """A difference of Sharpe ratios with its error and p."""
    return {
        "Difference": format_value(row["difference"], "+.2f"),
        "Error": format_value(row["error"], ".2f"),
        "p": format_value(row["p_value"], ".3f"),
    }


def _with_interval(row: pd.Series, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    interval = f" {format_interval(low, high)}" if math.isfinite(low) else ""
    return format_value(row[name], ".2f") + interval


def _yes(value: object) -> str:
    """A verdict; a dash where there is none."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else UNDEFINED


def _years(years: float) -> str:
    """A track record; a dash where none is long enough, `> 100` where it does not matter how long."""
    return UNDEFINED if not math.isfinite(years) else "> 100" if years > 100 else f"{years:.1f}"

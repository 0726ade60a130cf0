"""Every exhibit of the paper from a finished run: files, and one page that loads nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.artefacts.columns import Column, as_text, number_column
from experiments.artefacts.files import write_items
from experiments.artefacts.items import Item, Omitted, Table
from experiments.artefacts.numbers import join_words
from experiments.artefacts.page import Front, budget_line, write_page
from experiments.artefacts.thirds import thirds_table
from experiments.papers.dmn import figures, portfolio_tables
from experiments.papers.dmn.appendix import exhibit_a1, instruments
from experiments.papers.dmn.asset_tables import EXHIBIT_5, SUPPLEMENT, boxes_table, turnover_summary
from experiments.papers.dmn.blocks import blocks_tables
from experiments.papers.dmn.config import LSTM, REGULARISED
from experiments.papers.dmn.measure import Finished, Measured, measure
from experiments.papers.dmn.orderings import orderings_table
from experiments.papers.dmn.published import LATER, label
from experiments.papers.dmn.scores import Scores, score
from experiments.papers.dmn.text import text_of_exhibits
from experiments.papers.dmn.unit import TARGET
from experiments.results.leaderboard import static_note
from experiments.results.thirds import thirds_of
from qn_env.errors import DataError
from qn_env.storage import write_atomically

BASIS = "before costs where no cost is named"
IMPORTANCE = ("agent", "feature", "sharpe", "drop")
IMPORTANCE_COLUMNS = (
    Column("Strategy", "agent", label),
    Column("Feature set to zero", "feature"),
    number_column("Sharpe", "sharpe", ".2f"),
    number_column("Lost", "drop", "+.2f"),
)
NOTES = (
    "Published figures are references, not targets: they are of 88 futures 1995-2015, of a commercial "
    f"database. {LATER}",
    "Positions are scaled to 15% volatility asset by asset, and a portfolio is their mean over the assets "
    "listed that day, all markets together (Eq. 1); one whose market is closed keeps its position, earns "
    "nothing and counts. Rescaled portfolios start when they have an estimate of their own volatility.",
    "Return is 252 times the mean daily return, in the numerator of the Calmar ratio as well; MDD is "
    "compounded, zero or negative; % positive is of the days with a return other than zero.",
)


def write_artefacts(
    run: Finished,
    out: Path,
    *,
    study: Mapping[str, Any] | None,
    importance: pd.DataFrame | None,
    classes: pd.DataFrame | None,
    static: Mapping[str, float] | None = None,
) -> Path:
    """Write `tables/`, `figures/` and `paper.html` below `out`; the same run gives the same bytes.

    Args:
        run: a finished run of any of the paper's strategies and others.
        out: folder, made if it is not there.
        study: `budget` (names to plain values), `trials` and `chosen` (rows of agent, window, trial, options,
            score); None: the run was not part of a search.
        importance: agent, feature, sharpe, drop (Exhibit 6); None leaves it out.
        classes: `class` of every `instrument` or `market`; None: markets are the classes.
        static: by agent, the share of its signals that never move, of those that are static in part; they
            are marked.

    Returns:
        The page.

    Raises:
        DataError: no agent has finished, they were judged on different days, or a table lacks columns.
    """
    _refuse_other_columns(importance)
    measured = measure(run)
    scores = score(measured, seed=int(measured.record["config"].get("seed", 0)))
    still = {label(agent): share for agent, share in (static or {}).items()}
    both = [
        _marked(exhibit(measured, scores), still)
        for exhibit in (portfolio_tables.exhibit_2, portfolio_tables.exhibit_3)
    ]
    costs = _costs(measured, scores)
    nine = [item for item in costs if isinstance(item, Table) and item.name == "exhibit9"]
    beside = portfolio_tables.beside_the_paper([*both, *nine])
    claims = orderings_table(scores)
    position, of_phi = figures.exhibit_1()
    grown = figures.growth(measured)
    late = portfolio_tables.one_day_late(measured, scores)
    trained = portfolio_tables.trained_for_it(measured, scores)
    thirds = thirds_of(run.results(), run.asset_costs()) if measured.priced else None
    items: list[Item] = [
        claims,
        position,
        *both,
        figures.exhibit_4(measured, grown),
        figures.boxes(
            measured,
            EXHIBIT_5,
            "exhibit5",
            "Exhibit 5, performance across assets",
            "Sharpe ratio, average return and volatility",
        ),
        boxes_table(measured, EXHIBIT_5, "exhibit5", "Exhibit 5, performance across assets, table"),
        *_importance(importance),
        *costs,
        late,
        *([trained] if trained else []),
        *([thirds_table(*thirds, measured.agents, named=label, heading="Strategy")] if thirds else []),
        *([beside] if beside else []),
        *exhibit_a1(study),
        instruments(measured, classes),
        *blocks_tables(measured),
        figures.boxes(
            measured, SUPPLEMENT, "supplement", "Supplement, other ratios across assets", "Other figures"
        ),
        boxes_table(measured, SUPPLEMENT, "supplement", "Supplement, other ratios across assets, table"),
    ]
    budget = budget_line(measured.record, study)
    read = [*([static_note(still)] if still else []), *NOTES, *_without_target(measured)]
    notes = [f"{budget} Figures are {BASIS}.", *read]
    data = {"exhibit1": of_phi, "exhibit4": grown, "exhibit5-assets": by_asset(measured)}
    images = write_items(items, out, data, notes)
    text = text_of_exhibits(
        both,
        [late, *([trained] if trained else [])],
        claims.data,
        f"Deep Momentum Networks, before costs. {budget}",
        read[: bool(still)],
    )
    write_atomically(out / "tables" / "exhibit3.txt", text.encode())
    front = Front(
        title="Deep Momentum Networks (Lim, Zohren, Roberts 2019)",
        authors="Lim, Zohren and Roberts",
        work="Enhancing Time Series Momentum Strategies Using Deep Neural Networks",
        year=2019,
        basis=BASIS,
        notes=read,
        record=measured.record,
        seeds=measured.seeds,
        budget=budget,
        label=label,
    )
    return write_page(out / "paper.html", items, images, front)


def _marked(table: Table, names: Collection[str]) -> Table:
    """The table with a sign behind some strategies' names."""
    shown = table.shown.replace({"Strategy": {name: f"{name} =" for name in names}})
    return replace(table, shown=shown)


def by_asset(measured: Measured) -> pd.DataFrame:
    """Every asset's figures, the mean over seeds, one agent and asset a row: what the box plots are of."""
    long: pd.DataFrame = measured.values.stack(level=1, future_stack=True)
    return long.rename_axis(["market", "asset", "agent"], axis=0).rename_axis(None, axis=1).reset_index()


def _without_target(measured: Measured) -> list[str]:
    """The strategies whose positions are not scaled to the paper's volatility, by the run's record."""
    agents = measured.record["agents"]
    own = [a for a in measured.agents if agents[a].get("vol_target", TARGET) != TARGET]
    names = join_words([label(agent) for agent in own])
    return [f"Not scaled to 15% asset by asset, but sized as their makers do: {names}."] if own else []


def _costs(measured: Measured, scores: Scores) -> list[Item]:
    """Exhibits 7 to 9."""
    eight = portfolio_tables.exhibit_8(measured, scores)
    items: list[Item] = [
        figures.exhibit_7(measured),
        portfolio_tables.turnover_table(measured, turnover_summary(measured)),
        figures.exhibit_8(eight.data),
        eight,
    ]
    if LSTM not in measured.agents and REGULARISED not in measured.agents:
        return [*items, Omitted("Exhibit 9", "the run has no Sharpe-trained LSTM")]
    differences = portfolio_tables.exhibit_9_differences(measured, scores)
    items.append(portfolio_tables.exhibit_9(measured, scores))
    if REGULARISED not in measured.agents:
        items.append(Omitted("Exhibit 9, LSTM + Reg.", "the run has no LSTM trained with turnover costs"))
    own = portfolio_tables.exhibit_9_own(measured, scores)
    return [*items, *(table for table in (differences, own) if table)]


def _importance(importance: pd.DataFrame | None) -> list[Item]:
    """Exhibit 6."""
    if importance is None or importance.empty:
        return [Omitted("Exhibit 6", "no feature importance was given")]
    data = importance[list(IMPORTANCE)].reset_index(drop=True)
    shown = as_text(data, IMPORTANCE_COLUMNS)
    drawing = figures.exhibit_6(data)
    title = f"{drawing.title}, table"
    return [drawing, Table(name="exhibit6", title=title, caption=drawing.caption, data=data, shown=shown)]


def _refuse_other_columns(importance: pd.DataFrame | None) -> None:
    missing = [] if importance is None else [name for name in IMPORTANCE if name not in importance]
    if missing:
        raise DataError(
            f"importance: lacks the columns {', '.join(missing)}, expected {', '.join(IMPORTANCE)}."
        )

"""Exhibits 2, 3, 8 and 9 and the supplement's blocks: figures of the portfolio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from experiments.artefacts.columns import Column, as_text, estimate_column, interval_column, number_column
from experiments.artefacts.items import Table
from experiments.artefacts.numbers import format_digits, format_value
from experiments.papers.config import late_trained
from experiments.papers.dmn import published
from experiments.papers.dmn.config import LSTM, REFERENCES, REGULARISED
from experiments.papers.dmn.measure import Measured, metrics
from experiments.papers.dmn.published import METRICS, label
from experiments.papers.dmn.scores import (
    COSTS,
    DEAR,
    OWN,
    RAW,
    RESCALED,
    Level,
    Scores,
    mean_known,
)
from experiments.results.books import cost_column
from experiments.settings.config import MARKET, level_name
from experiments.settings.config import Level as Cost

EX_ANTE = (
    "scaled to 15% volatility with the EW volatility (span 60) of its own past returns, known the day before"
)
COST_RULE = (
    "costs are charged on the rescaled weights, on what changes of the factor trade as well; the factor is "
    "the same at every cost"
)
OWN_COSTS = "what the data say that trading and holding each asset costs"


def portfolio_figures(
    measured: Measured, scores: Scores, level: Level, exhibit: str, agents: Sequence[str]
) -> pd.DataFrame:
    """One row per agent: the nine metrics, means over seeds, what the paper prints, the Sharpe's interval."""
    printed = published.figures_of(exhibit)
    rows = []
    for agent in agents:
        book = measured.book(agent, rescaled=level.rescaled, late=level.late)
        by_seed = metrics(book, level.cost)
        low, high = scores.sharpe[level][agent].interval
        rows.append(
            {"agent": agent, "label": label(agent), "cost_bps": cost_column(level.cost)}
            | {metric.name: mean_known(by_seed[metric.name]) for metric in METRICS}
            | {f"{m.name}_published": printed.get(agent, {}).get(m.name, np.nan) for m in METRICS}
            | {"sharpe_low": low, "sharpe_high": high}
            | {"days": int(np.isfinite(book.gross).all(axis=1).sum()), "seeds": len(measured.seeds[agent])}
        )
    return pd.DataFrame(rows)


def figure_columns(data: pd.DataFrame) -> list[Column]:
    """The columns of `portfolio_figures`; of the paper's figures the Sharpe ratio, where it has some."""
    columns = [Column("Strategy", "label")]
    for metric in METRICS:
        columns.append(number_column(metric.title, metric.name, metric.form))
        if metric.name == "sharpe":
            columns.append(interval_column("95% interval", "sharpe", ".2f"))
            if data["sharpe_published"].notna().any():
                columns.append(number_column("Sharpe, paper", "sharpe_published", ".3f"))
    return [*columns, Column("Seeds", "seeds")]


def exhibit_2(measured: Measured, scores: Scores) -> Table:
    """Raw signals."""
    data = portfolio_figures(measured, scores, RAW, "2", measured.agents)
    return Table(
        name="exhibit2",
        title="Exhibit 2, raw signals",
        caption="The portfolio of all assets, 1/N over those listed each day (Eq. 1), before costs, mean "
        f"over seeds; {scores.how}. {_days(data)}",
        data=data,
        shown=as_text(data, figure_columns(data)),
    )


def exhibit_3(measured: Measured, scores: Scores) -> Table:
    """Rescaled to the volatility target."""
    data = portfolio_figures(measured, scores, RESCALED, "3", measured.agents)
    return Table(
        name="exhibit3",
        title="Exhibit 3, rescaled to 15% volatility",
        caption=f"The portfolio of Exhibit 2 {EX_ANTE}, before costs; {scores.how}. {_days(data)}",
        data=data,
        shown=as_text(data, figure_columns(data)),
    )


def _days(data: pd.DataFrame) -> str:
    low, high = data["days"].min(), data["days"].max()
    return f"{low} days." if low == high else f"{low} to {high} days."


def exhibit_8(measured: Measured, scores: Scores) -> Table:
    """Sharpe ratios after costs and the break-even cost, one row per agent and cost."""
    costs: list[Cost] = [*COSTS, *([OWN.cost] if OWN in scores.sharpe else [])]
    rows = []
    for agent in measured.agents:
        even = scores.break_even[agent]
        for cost in costs:
            score = scores.sharpe[Level(rescaled=True, cost=cost)][agent]
            low, high = score.interval
            rows.append(
                {"agent": agent, "label": label(agent), "level": level_name(cost)}
                | {"cost_bps": cost_column(cost), "sharpe": score.value}
                | {"sharpe_low": low, "sharpe_high": high, "break_even_bps": even.value}
                | {"break_even_bps_low": even.interval.low, "break_even_bps_high": even.interval.high}
            )
    data = pd.DataFrame(rows)
    return Table(
        name="exhibit8",
        title="Exhibit 8, Sharpe ratio after costs, table",
        caption=f"The rescaled portfolio of Exhibit 3 after costs per unit of turnover{_and_own(scores)}: "
        f"{COST_RULE}. The break-even cost is where the Sharpe ratio is zero, negative for a strategy that "
        f"loses before costs; {scores.how}.",
        data=data,
        shown=_shown_8(data),
    )


def _shown_8(data: pd.DataFrame) -> pd.DataFrame:
    """Strategies down, costs across."""
    sharpe = data.assign(cell=estimate_column("", "sharpe", ".2f").text(data))
    wide = sharpe.pivot(index="label", columns="level", values="cell").loc[data["label"].unique()]
    even = data.drop_duplicates("label")
    shown = as_text(
        even, (Column("Strategy", "label"), estimate_column("Break-even, bps", "break_even_bps", ".1f"))
    )
    levels = {level: "Own costs" if level == MARKET else f"{level} bps" for level in data["level"].unique()}
    return shown.assign(**{heading: wide[level].to_numpy() for level, heading in levels.items()})


def _and_own(scores: Scores) -> str:
    return f", and after {OWN_COSTS}" if OWN in scores.sharpe else ""


def exhibit_9(measured: Measured, scores: Scores) -> Table:
    """High costs: the LSTM, the same trained with them, and the references."""
    return _exhibit_9(
        portfolio_figures(measured, scores, DEAR, "9", _of_exhibit_9(measured)),
        "exhibit9",
        "Exhibit 9, turnover regularisation",
        f"at {DEAR.cost:g} bps per unit of turnover{_trained(measured)}",
        scores,
    )


def exhibit_9_own(measured: Measured, scores: Scores) -> Table | None:
    """Exhibit 9 at what the data say that each asset costs; None where they say nothing."""
    if OWN not in scores.sharpe:
        return None
    return _exhibit_9(
        # The paper prints none.
        portfolio_figures(measured, scores, OWN, "", _of_exhibit_9(measured)),
        "exhibit9-own-costs",
        "Exhibit 9, at each asset's own costs",
        f"after {OWN_COSTS}{_trained(measured)}",
        scores,
    )


def _exhibit_9(data: pd.DataFrame, name: str, title: str, paid: str, scores: Scores) -> Table:
    return Table(
        name=name,
        title=title,
        caption=f"The rescaled portfolio {paid}. {COST_RULE[0].upper()}{COST_RULE[1:]}; {scores.how}.",
        data=data,
        shown=as_text(data, figure_columns(data)),
    )


def _of_exhibit_9(measured: Measured) -> list[str]:
    return [name for name in (*REFERENCES, LSTM, REGULARISED) if name in measured.agents]


def beside_the_paper(exhibits: Sequence[Table]) -> Table | None:
    """Every figure of Exhibits 2, 3 and 9 that the paper's text or summaries tell, beside ours."""
    rows = []
    for table in exhibits:
        for row in table.data.to_dict("records"):
            rows += [
                {"exhibit": table.name.removeprefix("exhibit"), "agent": row["agent"], "label": row["label"]}
                | {"metric": metric.name, "published": row[f"{metric.name}_published"]}
                | {"value": row[metric.name]}
                for metric in METRICS
                if np.isfinite(row[f"{metric.name}_published"])
            ]
    if not rows:
        return None
    data = pd.DataFrame(rows)
    return Table(
        name="beside-the-paper",
        title="Exhibits 2, 3 and 9, the paper beside ours",
        caption="Every figure that the paper's text or public summaries of it tell; its tables have more. "
        "The paper: 88 futures, 1995-2015; ours: the panel and days of this study.",
        data=data,
        shown=as_text(data, PUBLISHED),
    )


def _as_metric(name: str, value: float) -> str:
    """A value in the format of its metric; Sharpe ratios with the three digits of the paper."""
    return format_value(value, ".3f" if name == "sharpe" else _TITLES[name].form)


_TITLES = {metric.name: metric for metric in METRICS}
PUBLISHED = (
    Column("Exhibit", "exhibit"),
    Column("Strategy", "label"),
    Column("Metric", "metric", lambda name: _TITLES[name].title),
    Column("Paper", ("metric", "published"), _as_metric),
    Column("Here", ("metric", "value"), _as_metric),
)


def _trained(measured: Measured) -> str:
    """What the regularised LSTM paid in training, where the run records it."""
    made = measured.record["agents"].get(REGULARISED)
    cost = made.get("train_cost_bps") if made is not None else None
    return f"; {label(REGULARISED)} was trained on returns after {cost:g} bps" if cost is not None else ""


DIFFERENCES = (
    Column("Strategy", "strategy", label),
    Column("Minus", "other", label),
    number_column("Difference of Sharpe ratios", "difference", "+.2f"),
    interval_column("95% interval", "difference", "+.2f"),
)


def exhibit_9_differences(measured: Measured, scores: Scores) -> Table | None:
    """Differences of Sharpe ratios at high costs, on the same resampled days; None without any pair."""
    pairs = [
        (strategy, other)
        for strategy in (REGULARISED, LSTM)
        for other in (LSTM, *REFERENCES)
        if strategy != other and {strategy, other} <= set(measured.agents)
    ]
    if not pairs:
        return None
    sharpe, rows = scores.sharpe[DEAR], []
    for strategy, other in pairs:
        low, high = sharpe[strategy].difference(sharpe[other]).interval
        rows.append(
            {"strategy": strategy, "other": other, "cost_bps": DEAR.cost}
            | {"difference": sharpe[strategy].value - sharpe[other].value}
            | {"difference_low": low, "difference_high": high}
        )
    data = pd.DataFrame(rows)
    return Table(
        name="exhibit9-differences",
        title="Exhibit 9, pair by pair",
        caption=f"Differences of Sharpe ratios of the rescaled portfolios at {DEAR.cost:g} bps; "
        f"{scores.how}.",
        data=data,
        shown=as_text(data, DIFFERENCES),
    )


LATE_COLUMNS = (
    Column("Strategy", "label"),
    *(
        column
        for kind, name in (("raw", "Raw"), ("rescaled", "Rescaled"))
        for column in (
            number_column(name, kind, ".2f"),
            number_column(f"{name}, late", f"{kind}_late", ".2f"),
            estimate_column(f"{name}, change", f"{kind}_change", "+.2f"),
        )
    ),
)


def one_day_late(measured: Measured, scores: Scores) -> Table:
    """Beyond the paper: what is left of the Sharpe ratios when every decision is traded a day later."""
    rows = []
    for agent in measured.agents:
        row: dict[str, str | float] = {"agent": agent, "label": label(agent)}
        for kind, level in (("raw", RAW), ("rescaled", RESCALED)):
            on_time, late = (scores.sharpe[each][agent] for each in (level, level.delayed))
            change = late.difference(on_time)
            row |= {f"{kind}": on_time.value, f"{kind}_late": late.value, f"{kind}_change": change.value}
            row |= dict(zip((f"{kind}_change_low", f"{kind}_change_high"), change.interval, strict=True))
        rows.append(row)
    data = pd.DataFrame(rows)
    return Table(
        name="one-day-late",
        title="Beyond the paper, one day late",
        caption="Sharpe ratios of the portfolios of Exhibits 2 and 3, before costs, and of the same "
        "decisions each traded one trading day later: what is lost was earned on the first day, at the close "
        f"that the decision was made from; {scores.how}.",
        data=data,
        shown=as_text(data, LATE_COLUMNS),
    )


def trained_for_it(measured: Measured, scores: Scores) -> Table | None:
    """Beyond the paper: models trained for a day's delay beside those that never met it, both late.

    None where none was.
    """
    models = [agent for agent in measured.agents if late_trained(agent) in measured.seeds]
    if not models:
        return None
    levels = {"free": RESCALED.delayed} | ({"own": OWN.delayed} if OWN in scores.sharpe else {})
    rows = []
    for agent in models:
        row: dict[str, str | float] = {"agent": agent, "label": label(agent)}
        for name, level in levels.items():
            never, trained = (scores.sharpe[level][one] for one in (agent, late_trained(agent)))
            gained = trained.difference(never)
            for key, score in (("", never), ("_trained", trained), ("_gained", gained)):
                row[f"{name}{key}"] = score.value
                row |= dict(zip((f"{name}{key}_low", f"{name}{key}_high"), score.interval, strict=True))
        rows.append(row)
    data = pd.DataFrame(rows)
    columns = [Column("Strategy", "label")]
    for name in levels:
        behind = ", own costs" if name == "own" else ""
        columns += [
            estimate_column(f"Trained on time{behind}", name, ".2f"),
            estimate_column(f"Trained late{behind}", f"{name}_trained", ".2f"),
            estimate_column(f"Gained{behind}", f"{name}_gained", "+.2f"),
        ]
    return Table(
        name="trained-late",
        title="Beyond the paper, one day late, trained for it",
        caption="Sharpe ratios of rescaled portfolios of which every decision is traded one trading day "
        "later, of models trained as the paper trades, which never met the delay, and of the same models "
        f"searched, trained and selected with it; before costs{_and_own(scores)}; {scores.how}.",
        data=data,
        shown=as_text(data, columns),
    )


def _three_digits(value: float) -> str:
    return format_digits(value, 3)


TURNOVER = (
    Column("Strategy", "label"),
    Column("Average return, bps a day", "daily_return", lambda value: format_value(1e4 * value, ".2f")),
    Column("Average turnover a day", "daily_turnover", _three_digits),
    number_column("Times long only", "times_long_only", ".1f"),
    number_column("Return per turnover, bps", "return_per_turnover_bps", ".2f"),
    Column("Median asset", "asset_median", _three_digits),
    Column("Least", "asset_minimum", _three_digits),
    Column("Most", "asset_maximum", _three_digits),
)


def turnover_table(measured: Measured, by_asset: pd.DataFrame) -> Table:
    """Exhibit 7: average daily return and turnover of the raw portfolios.

    Args:
        measured: the run.
        by_asset: five-number summary of the assets' average daily turnover, index agent.
    """
    rows = []
    for agent in measured.agents:
        book = measured.raw[agent]
        daily, traded = float(book.gross.mean()), float(book.turnover.mean())
        rows.append(
            {"agent": agent, "label": label(agent), "daily_return": daily, "daily_turnover": traded}
            | {"return_per_turnover_bps": 1e4 * daily / traded if traded > 0 else np.nan}
            | {f"asset_{name}": value for name, value in by_asset.loc[agent].items()}
        )
    data = pd.DataFrame(rows)
    held = data.loc[data["agent"] == "long-only", "daily_turnover"]
    base = float(held.iloc[0]) if len(held) and held.iloc[0] > 0 else np.nan
    data.insert(4, "times_long_only", data["daily_turnover"] / base)
    return Table(
        name="exhibit7",
        title="Exhibit 7, turnover, table",
        caption="Average daily return and turnover of the raw portfolios (Eq. 34), and the average daily "
        "turnover of single assets; their ratio is the cost per unit of turnover that would eat the return.",
        data=data,
        shown=as_text(data, TURNOVER),
    )

"""Exhibits 2, 3, 8 and 9 and the supplement's blocks: figures of the portfolio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.artefacts.items import Table
from experiments.artefacts.numbers import format_digits, format_interval, format_value
from experiments.papers.dmn import published
from experiments.papers.dmn.measure import Measured, metrics
from experiments.papers.dmn.published import LSTM, METRICS, REFERENCES, REGULARISED, label
from experiments.papers.dmn.scores import (
    COSTS,
    DEAR,
    RAW,
    RESCALED,
    Level,
    Scores,
    mean_known,
)

EX_ANTE = (
    "scaled to 15% volatility with the EW volatility (span 60) of its own past returns, known the day before"
)
COST_RULE = (
    "costs are charged on the rescaled weights, the factor times each day's turnover; the factor is the same "
    "at every cost, and what its own changes would trade is left out"
)


def portfolio_figures(
    measured: Measured, scores: Scores, level: Level, printed: Mapping[str, float], agents: Sequence[str]
) -> pd.DataFrame:
    """One row per agent: the nine metrics, means over seeds, and the Sharpe ratio's interval."""
    rows = []
    for agent in agents:
        book = measured.book(agent, rescaled=level.rescaled, late=level.late)
        found = metrics(book, level.cost_bps)
        low, high = scores.sharpe[level][agent].interval
        rows.append(
            {"agent": agent, "label": label(agent), "cost_bps": level.cost_bps}
            | {metric.name: mean_known(found[metric.name]) for metric in METRICS}
            | {"sharpe_low": low, "sharpe_high": high, "sharpe_published": printed.get(agent, np.nan)}
            | {"days": int(np.isfinite(book.gross).all(axis=1).sum()), "seeds": len(measured.seeds[agent])}
        )
    return pd.DataFrame(rows)


def shown_figures(data: pd.DataFrame) -> pd.DataFrame:
    """The rows of `portfolio_figures` as a reader sees them; the paper's figures where it has some."""
    shown = pd.DataFrame({"Strategy": data["label"]})
    for metric in METRICS:
        shown[metric.title] = [format_value(value, metric.form) for value in data[metric.name]]
        if metric.name == "sharpe":
            shown["95% interval"] = interval_cells(data, "sharpe")
            if data["sharpe_published"].notna().any():
                shown["Sharpe, paper"] = [format_value(value, ".3f") for value in data["sharpe_published"]]
    return shown.assign(Seeds=data["seeds"].astype(str))


def interval_cells(data: pd.DataFrame, name: str, form: str = ".2f") -> list[str]:
    """Columns NAME_low and NAME_high as text."""
    return [
        format_interval(a, b, form) for a, b in zip(data[f"{name}_low"], data[f"{name}_high"], strict=True)
    ]


def exhibit_2(measured: Measured, scores: Scores) -> Table:
    """Raw signals."""
    data = portfolio_figures(measured, scores, RAW, published.RAW, measured.agents)
    return Table(
        name="exhibit2",
        title="Exhibit 2, raw signals",
        caption="The portfolio of all assets, 1/N over those listed each day (Eq. 1), before costs, mean "
        f"over seeds; {scores.how}. {_days(data)}",
        data=data,
        shown=shown_figures(data),
    )


def exhibit_3(measured: Measured, scores: Scores) -> Table:
    """Rescaled to the volatility target."""
    data = portfolio_figures(measured, scores, RESCALED, published.RESCALED, measured.agents)
    return Table(
        name="exhibit3",
        title="Exhibit 3, rescaled to 15% volatility",
        caption=f"The portfolio of Exhibit 2 {EX_ANTE}, before costs; {scores.how}. {_days(data)}",
        data=data,
        shown=shown_figures(data),
    )


def _days(data: pd.DataFrame) -> str:
    low, high = data["days"].min(), data["days"].max()
    return f"{low} days." if low == high else f"{low} to {high} days."


def exhibit_8(measured: Measured, scores: Scores) -> Table:
    """Sharpe ratios after costs and the break-even cost, one row per agent and cost."""
    rows = []
    for agent in measured.agents:
        even = scores.break_even[agent]
        for cost in COSTS:
            found = scores.sharpe[Level(rescaled=True, cost_bps=cost)][agent]
            low, high = found.interval
            rows.append(
                {"agent": agent, "label": label(agent), "cost_bps": cost, "sharpe": found.value}
                | {"sharpe_low": low, "sharpe_high": high, "break_even_bps": even.value}
                | {"break_even_bps_low": even.interval.low, "break_even_bps_high": even.interval.high}
            )
    data = pd.DataFrame(rows)
    return Table(
        name="exhibit8",
        title="Exhibit 8, Sharpe ratio after costs, table",
        caption=f"The rescaled portfolio of Exhibit 3 after costs per unit of turnover: {COST_RULE}. The "
        "break-even cost is where the Sharpe ratio is zero, negative for a strategy that loses before costs; "
        f"{scores.how}.",
        data=data,
        shown=_shown_8(data),
    )


def _shown_8(data: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name, own in data.groupby("label", sort=False):
        cells = [
            f"{format_value(value, '.2f')} {interval}"
            for value, interval in zip(own["sharpe"], interval_cells(own, "sharpe"), strict=True)
        ]
        first = own.iloc[0]
        interval = interval_cells(own, "break_even_bps", ".1f")[0]
        even = f"{format_value(first['break_even_bps'], '.1f')} {interval}"
        rows.append([name, even, *cells])
    headings = ["Strategy", "Break-even, bps", *(f"{cost:g} bps" for cost in COSTS)]
    return pd.DataFrame(rows, columns=headings)


def exhibit_9(measured: Measured, scores: Scores) -> Table:
    """High costs: the LSTM, the same trained with them, and the references."""
    agents = [name for name in (*REFERENCES, LSTM, REGULARISED) if name in measured.agents]
    data = portfolio_figures(measured, scores, DEAR, {}, agents)
    return Table(
        name="exhibit9",
        title="Exhibit 9, turnover regularisation",
        caption=f"The rescaled portfolio at {DEAR.cost_bps:g} bps per unit of turnover{_trained(measured)}. "
        f"{COST_RULE[0].upper()}{COST_RULE[1:]}; {scores.how}.",
        data=data,
        shown=shown_figures(data),
    )


def _trained(measured: Measured) -> str:
    """What the regularised LSTM paid in training, where the run records it."""
    made = measured.record["agents"].get(REGULARISED)
    cost = made.get("train_cost_bps") if made is not None else None
    return f"; {label(REGULARISED)} was trained on returns after {cost:g} bps" if cost is not None else ""


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
    found, rows = scores.sharpe[DEAR], []
    for strategy, other in pairs:
        low, high = found[strategy].difference(found[other]).interval
        rows.append(
            {"strategy": strategy, "other": other, "cost_bps": DEAR.cost_bps}
            | {"difference": found[strategy].value - found[other].value}
            | {"difference_low": low, "difference_high": high}
        )
    data = pd.DataFrame(rows)
    shown = pd.DataFrame(
        {
            "Strategy": data["strategy"].map(label),
            "Minus": data["other"].map(label),
            "Difference of Sharpe ratios": [format_value(value, "+.2f") for value in data["difference"]],
            "95% interval": interval_cells(data, "difference", "+.2f"),
        }
    )
    return Table(
        name="exhibit9-differences",
        title="Exhibit 9, pair by pair",
        caption=f"Differences of Sharpe ratios of the rescaled portfolios at {DEAR.cost_bps:g} bps; "
        f"{scores.how}.",
        data=data,
        shown=shown,
    )


def one_day_late(measured: Measured, scores: Scores) -> Table:
    """Beyond the paper: what is left of the Sharpe ratios when every decision is traded a day later."""
    rows: list[dict[str, Any]] = []
    for agent in measured.agents:
        row: dict[str, Any] = {"agent": agent, "label": label(agent)}
        for kind, level in (("raw", RAW), ("rescaled", RESCALED)):
            on_time, late = (scores.sharpe[each][agent] for each in (level, level._replace(late=True)))
            change = late.difference(on_time)
            row |= {f"{kind}": on_time.value, f"{kind}_late": late.value, f"{kind}_change": change.value}
            row |= dict(zip((f"{kind}_change_low", f"{kind}_change_high"), change.interval, strict=True))
        rows.append(row)
    data = pd.DataFrame(rows)
    shown = pd.DataFrame({"Strategy": data["label"]})
    for kind, name in (("raw", "Raw"), ("rescaled", "Rescaled")):
        shown[name] = [format_value(value, ".2f") for value in data[kind]]
        shown[f"{name}, late"] = [format_value(value, ".2f") for value in data[f"{kind}_late"]]
        changes = zip(data[f"{kind}_change"], interval_cells(data, f"{kind}_change", "+.2f"), strict=True)
        shown[f"{name}, change"] = [
            f"{format_value(value, '+.2f')} {interval}" for value, interval in changes
        ]
    return Table(
        name="one-day-late",
        title="Beyond the paper, one day late",
        caption="Sharpe ratios of the portfolios of Exhibits 2 and 3, before costs, and of the same "
        "decisions each traded one trading day later: what is lost was earned on the first day, at the close "
        f"that the decision was made from; {scores.how}.",
        data=data,
        shown=shown,
    )


def turnover_table(measured: Measured, by_asset: pd.DataFrame) -> Table:
    """Exhibit 7: average daily return and turnover of the raw portfolios.

    Args:
        measured: the run.
        by_asset: five-number summary of the assets' average daily turnover, index agent.
    """
    rows: list[dict[str, Any]] = []
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
    shown = pd.DataFrame(
        {
            "Strategy": data["label"],
            "Average return, bps a day": [format_value(1e4 * value, ".2f") for value in data["daily_return"]],
            "Average turnover a day": data["daily_turnover"].map(lambda x: format_digits(x, 3)),
            "Times long only": [format_value(value, ".1f") for value in data["times_long_only"]],
            "Return per turnover, bps": [
                format_value(value, ".2f") for value in data["return_per_turnover_bps"]
            ],
            "Median asset": data["asset_median"].map(lambda x: format_digits(x, 3)),
            "Least": data["asset_minimum"].map(lambda x: format_digits(x, 3)),
            "Most": data["asset_maximum"].map(lambda x: format_digits(x, 3)),
        }
    )
    return Table(
        name="exhibit7",
        title="Exhibit 7, turnover, table",
        caption="Average daily return and turnover of the raw portfolios (Eq. 34), and the average daily "
        "turnover of single assets; their ratio is the cost per unit of turnover that would eat the return.",
        data=data,
        shown=shown,
    )

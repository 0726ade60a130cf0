"""Exhibits 5 and 7 and the supplement's box plots: figures of single assets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.artefacts.items import Table
from experiments.artefacts.numbers import format_value
from experiments.papers.dmn.measure import Measured
from experiments.papers.dmn.published import label
from qn_env.year import DAYS_PER_YEAR


class Boxed(NamedTuple):
    """A figure drawn as box plots across assets."""

    name: str
    label: str
    form: str
    base: float = 0.0  # what luck alone would give: a line


EXHIBIT_5 = (
    Boxed("sharpe", "Sharpe ratio", ".2f"),
    Boxed("ann_return", "Average return", ".1%"),
    Boxed("ann_volatility", "Volatility", ".1%"),
)
SUPPLEMENT = (
    Boxed("sortino", "Sortino ratio", ".2f"),
    Boxed("calmar_arith", "Calmar ratio", ".2f"),
    Boxed("downside_risk", "Downside deviation", ".1%"),
    Boxed("max_drawdown", "Maximum drawdown", ".1%"),
    Boxed("hit_rate", "Share of positive returns", ".1%", 0.5),
    Boxed("profit_loss_ratio", "Average profit / average loss", ".2f", 1.0),
)


def five_numbers(values: pd.Series[float]) -> dict[str, float]:
    """Minimum, quartiles and maximum of the known values, and how many there are.

    Examples:
        >>> five_numbers(pd.Series([1.0, 2.0, 3.0, 4.0, 9.0, float("nan")]))["upper"]
        4.0
    """
    known = values.dropna().to_numpy()
    names = ("minimum", "lower", "median", "upper", "maximum")
    quantiles = np.quantile(known, [0.0, 0.25, 0.5, 0.75, 1.0]) if len(known) else [np.nan] * 5
    return dict(zip(names, map(float, quantiles), strict=True)) | {
        "assets": len(known),
        "undefined": len(values) - len(known),
    }


def across_assets(measured: Measured, boxes: Sequence[Boxed]) -> pd.DataFrame:
    """One row per figure and agent: the five numbers of a box plot."""
    return pd.DataFrame(
        {
            "metric": box.name,
            "agent": agent,
            "label": label(agent),
            **five_numbers(measured.of(box.name)[agent]),
        }
        for box in boxes
        for agent in measured.agents
    )


def boxes_table(measured: Measured, boxes: Sequence[Boxed], name: str, title: str) -> Table:
    """The numbers of box plots."""
    data = across_assets(measured, boxes)
    form = {box.name: box.form for box in boxes}
    shown = pd.DataFrame(
        {"Strategy": data["label"], "Figure": data["metric"].map({b.name: b.label for b in boxes})}
    )
    for column in ("minimum", "lower", "median", "upper", "maximum"):
        shown[column.capitalize()] = [
            format_value(value, form[metric])
            for value, metric in zip(data[column], data["metric"], strict=True)
        ]
    shown["Assets"], shown["Undefined"] = data["assets"].astype(str), data["undefined"].astype(str)
    return Table(
        name=name,
        title=title,
        caption="Minimum, quartiles and maximum across assets of each asset's own figure, the mean over "
        "seeds, of positions at 15% volatility before costs.",
        data=data,
        shown=shown.rename(columns={"Lower": "Lower quartile", "Upper": "Upper quartile"}),
    )


def daily_turnover(measured: Measured) -> pd.DataFrame:
    """[assets, agents] average daily turnover."""
    return measured.of("turnover") / DAYS_PER_YEAR


def turnover_summary(measured: Measured) -> pd.DataFrame:
    """Five numbers of the assets' average daily turnover, index agent."""
    turnover = daily_turnover(measured)
    return pd.DataFrame({agent: five_numbers(turnover[agent]) for agent in measured.agents}).T

"""What a forward record has earned, in one table: net Sharpe ratios, and evidence against no skill."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.results.books import at_level, cost_column
from experiments.results.metrics import growth_of_one
from experiments.settings.config import EXECUTIONS
from experiments.statistics import (
    MIN_DAYS,
    anytime_p_values,
    holm,
    largest_losses,
    mean_sharpe,
    sharpe_interval,
    wealth_of_bets,
)
from experiments.statistics.evidence_process import THRESHOLD
from experiments.storage.forward_record import Header, Terms
from qn_env.arrays import FloatArray

MEAN = "* mean"  # of all agents


class Scored(NamedTuple):
    """What an agent's recorded weights earned.

    Attributes:
        portfolio: `portfolio_table` of the days that all assets have reached.
        scale: [D] standard deviation of the book held on each of its days, in the execution of the evidence,
            over the days before; decimal.
        young: [D] exposure of that book in assets too young to have one.
    """

    portfolio: pd.DataFrame
    scale: FloatArray
    young: FloatArray


def forward_table(scored: Mapping[str, Scored], header: Header) -> pd.DataFrame:
    """Every agent's figures in both executions at every cost, and its evidence where that is declared.

    Returns:
        agent, execution, cost_bps, days, sharpe, low, high (its 95% interval, from 30 days on) and net_return
        (compounded); of the evidence wealth, largest, reached (the day on which it first was 20), p_value and
        p_holm (over the agents). With several agents one more row: the mean of their wealth.
    """
    terms = header.evidence
    wealth = {label: wealth_of(one, terms) for label, one in scored.items()}
    p_values = holm([anytime_p_values(path)[-1] for path in wealth.values()])
    dates = _evident(next(iter(scored.values())).portfolio, terms)["date"]
    declared = {"execution": terms.execution, "cost_bps": cost_column(terms.cost)}
    rows = []
    for (label, one), adjusted in zip(scored.items(), p_values, strict=True):
        for execution in EXECUTIONS:
            for level in header.costs:
                days = at_level(one.portfolio[one.portfolio["execution"] == execution], level)
                row = {"agent": label, "execution": execution, "cost_bps": cost_column(level)}
                row |= _figures(days, header.bars_per_year)
                if (execution, level) == (terms.execution, terms.cost):
                    row |= _proof(wealth[label], dates) | {"p_holm": adjusted}
                rows.append(row)
    if len(wealth) > 1:
        rows.append({"agent": MEAN, **declared} | _proof(np.mean(list(wealth.values()), axis=0), dates))
    return pd.DataFrame(rows)


def wealth_of(scored: Scored, terms: Terms) -> FloatArray:
    """[D] the wealth of the declared bets on an agent."""
    days = _evident(scored.portfolio, terms)
    besides = days["cost"].to_numpy() + scored.young
    losses = largest_losses(scored.scale, besides, times=terms.largest_loss, days=terms.widest_days)
    return wealth_of_bets(days["net"].to_numpy(), losses, terms.bets)


def _evident(portfolio: pd.DataFrame, terms: Terms) -> pd.DataFrame:
    """The days of the evidence: of one execution, at one cost."""
    return at_level(portfolio[portfolio["execution"] == terms.execution], terms.cost)


def _figures(days: pd.DataFrame, bars_per_year: float) -> dict[str, object]:
    net = days["net"].to_numpy()
    series = net[None, :, None]
    low, high = np.nan, np.nan
    if len(net) >= MIN_DAYS:
        low, high = sharpe_interval(series, seed=0, bars_per_year=bars_per_year)
    return {
        "days": len(net),
        "sharpe": mean_sharpe(series, bars_per_year),
        "low": low,
        "high": high,
        "net_return": float(growth_of_one(net[:, None])[-1, 0]) - 1.0,
    }


def _proof(wealth: FloatArray, dates: pd.Series) -> dict[str, object]:
    reached = wealth >= THRESHOLD
    return {
        "wealth": wealth[-1],
        "largest": max(float(wealth.max()), 1.0),
        "reached": str(dates.iloc[int(reached.argmax())].date()) if reached.any() else "-",
        "p_value": anytime_p_values(wealth)[-1],
    }

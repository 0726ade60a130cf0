"""The leaderboard: agents ranked by their net Sharpe ratio, with an interval, at each cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from experiments.results.books import at_level, book_of, cost_column, levels_in
from experiments.results.delays import SIGNIFICANT, after_entry, delay
from experiments.results.headings import LEADERBOARD, SCALED, SIGNALS, pick
from experiments.results.metrics import performance
from experiments.results.tables import ALL, scaled_ex_ante
from experiments.settings.config import (
    EXECUTIONS,
    IN_SHORT,
    IN_WORDS,
    MARKET,
    SEEDS,
    Execution,
    Level,
    other_execution,
)
from experiments.statistics import holm, mean_sharpe, sharpe_interval
from experiments.storage.records import DuplicateRecord
from qn_env.arrays import FloatArray
from qn_env.year import DAYS_PER_YEAR

# Fewer common days, and agents are ranked by the mean over markets instead of by a portfolio.
MIN_PORTFOLIO_DAYS = 252
# Of the assets whose signal never moves: from so many on a learnt agent is said to be static in part.
STATIC_SHARE = 0.1


def leaderboard(
    results: pd.DataFrame,
    portfolio: pd.DataFrame,
    by_market: Mapping[tuple[str, int], pd.DataFrame],
    *,
    seed: int,
    learnt: Collection[str],
    quick: bool,
    begins: Collection[str],
    bars_per_year: float = DAYS_PER_YEAR,
) -> pd.DataFrame:
    """Rank the agents for each execution at each cost.

    Figures are means over seeds. They describe the equal-weight portfolio of markets; where fewer than 252
    days have half of the markets in their test block, the mean over markets (column `basis`). An agent whose
    Sharpe ratio is significantly lower one day late than on time (Holm-corrected over the agents, 5%) earned
    the difference on the first day (column `first_day`; `delay_p` is the corrected p).

    Args:
        results: the tidy table.
        portfolio: daily portfolio returns of every agent, seed and cost.
        by_market: daily market returns of every agent and seed.
        seed: of the bootstrap.
        learnt: names of the agents that learn; comparable with enough finished seeds of full trainings.
        quick: whether their trainings were short.
        begins: the first test day of each market.
        bars_per_year: what figures are annualised by.
    """
    days = portfolio.groupby(["agent", "seed", "execution", "cost_bps"], dropna=False).size()
    basis = "portfolio" if len(days) and days.min() >= MIN_PORTFOLIO_DAYS else "markets"
    costs, agents = levels_in(results), list(results["agent"].unique())
    seeds_of = {agent: sorted(results.loc[results["agent"] == agent, "seed"].unique()) for agent in agents}
    nets: dict[tuple[Execution, Level, str], FloatArray] = {}
    dates: dict[str, pd.DatetimeIndex] = {}
    for execution, cost, agent in product(EXECUTIONS, costs, agents):
        if basis == "portfolio":
            dates[agent], net = _portfolio_net(portfolio, agent, seeds_of[agent], execution, cost)
        else:
            dates[agent], net = _market_net(by_market, agent, seeds_of[agent], execution, cost)
        nets[execution, cost, agent] = net
    delays = {
        cost: _delays(
            {a: (dates[a], nets["on-time", cost, a], nets["late", cost, a]) for a in agents}, begins
        )
        for cost in costs
    }
    known = {
        (execution, cost, agent): rows
        for execution, cost in product(EXECUTIONS, costs)
        for agent, rows in at_level(results[results["execution"] == execution], cost).groupby("agent")
    }
    rows = []
    for execution in EXECUTIONS:
        for cost, agent in product(costs, agents):
            mine, net, seeds = known[execution, cost, agent], nets[execution, cost, agent], seeds_of[agent]
            rows.append(
                {
                    "execution": execution,
                    "cost_bps": cost_column(cost),
                    "agent": agent,
                    "seeds": len(seeds),
                    "comparable": agent not in learnt or (len(seeds) >= SEEDS and not quick),
                    "basis": basis,
                    **(figures := _figures(mine, basis)),
                    "static": agent in learnt and figures["still"] >= STATIC_SHARE,
                    **_sharpe_figures(net, seed, bars_per_year),
                    **_scaled_figures(net, bars_per_year),
                    "undefined": _count_undefined(mine),
                    **delays[cost][agent],
                }
            )
    table = pd.DataFrame(rows)
    groups = table.groupby(["execution", "cost_bps"], dropna=False)
    order = groups["sharpe"].rank(ascending=False, method="first", na_option="bottom")
    table.insert(2, "rank", order.astype(int))
    return table.sort_values(["execution", "cost_bps", "rank"], ignore_index=True)


def _delays(
    nets: Mapping[str, tuple[pd.DatetimeIndex, FloatArray, FloatArray]], begins: Collection[str]
) -> dict[str, dict[str, float | bool]]:
    """Whether waiting a day takes a part of an agent's Sharpe ratio that is no chance.

    Args:
        nets: by agent, [D] dates and [S, D, K] on time and late.
        begins: the first test day of each market.
    """
    gaps = []
    for dates, on_time, late in nets.values():
        columns = [net.transpose(1, 0, 2).reshape(len(dates), -1) for net in (late, on_time)]
        gaps.append(delay(*columns, kept=after_entry(dates, begins)))
    corrected = holm([gap.p_value for gap in gaps])
    return {
        agent: {"delay_p": float(p), "first_day": bool(gap.value < 0.0 and p < SIGNIFICANT)}
        for agent, gap, p in zip(nets, gaps, corrected, strict=True)
    }


def _figures(mine: pd.DataFrame, basis: str) -> dict[str, float]:
    """Means over seeds (and over markets, where that is the basis) of the shown metrics."""
    whole = mine["asset"] == ALL
    rows = mine[whole & ((mine["market"] == ALL) == (basis == "portfolio"))]
    means = rows.groupby("metric")["value"].mean()
    return {metric: float(means.get(metric, np.nan)) for metric in ("sharpe", *LEADERBOARD, *SIGNALS)}


def _sharpe_figures(net: FloatArray, seed: int, bars_per_year: float) -> dict[str, float]:
    """The mean Sharpe ratio, its interval, and its range over seeds."""
    low, high = sharpe_interval(net, seed=seed, bars_per_year=bars_per_year)
    each = np.array([mean_sharpe(net[s : s + 1], bars_per_year) for s in range(len(net))])
    each = each[np.isfinite(each)] if np.isfinite(each).any() else np.full(1, np.nan)
    return {
        "sharpe": mean_sharpe(net, bars_per_year),
        "sharpe_low": low,
        "sharpe_high": high,
        "seed_low": float(each.min()),
        "seed_high": float(each.max()),
    }


def _scaled_figures(net: FloatArray, bars_per_year: float) -> dict[str, float]:
    """Return and drawdown after ex-ante scaling to 10% volatility: means over seeds and series [S, D, K]."""
    by_seed = []
    for series in np.moveaxis(net, 2, 0):
        days = np.isfinite(series).all(axis=0)
        wide = scaled_ex_ante(series[:, days].T, bars_per_year=bars_per_year)
        measured = performance(wide, np.isfinite(wide), bars_per_year=bars_per_year)
        by_seed.append([measured["ann_return"].mean(), measured["max_drawdown"].mean()])
    annual, deepest = np.mean(by_seed, axis=0)
    return {"ann_return_10": float(annual), "max_drawdown_10": float(deepest)}


def _count_undefined(mine: pd.DataFrame) -> int:
    """How many per-asset Sharpe ratios are NaN, over all seeds."""
    assets = mine[(mine["asset"] != ALL) & (mine["metric"] == "sharpe")]
    return int(assets["value"].isna().sum())


def _portfolio_net(
    portfolio: pd.DataFrame, agent: str, seeds: list[int], execution: Execution, cost: Level
) -> tuple[pd.DatetimeIndex, FloatArray]:
    """[S, D, 1] daily net returns of the portfolio."""
    mine = portfolio[(portfolio["agent"] == agent) & (portfolio["execution"] == execution)]
    mine = at_level(mine, cost)
    wide = mine.pivot(index="date", columns="seed", values="net")[seeds].sort_index()
    return pd.DatetimeIndex(wide.index), wide.to_numpy().T[:, :, None]


def _market_net(
    by_market: Mapping[tuple[str, int], pd.DataFrame],
    agent: str,
    seeds: list[int],
    execution: Execution,
    cost: Level,
) -> tuple[pd.DatetimeIndex, FloatArray]:
    """[S, D, M] daily net returns of every market, NaN outside its test block."""
    stack = []
    for seed in seeds:
        days = by_market[agent, seed]
        wide = (
            days.assign(net=book_of(days, execution).net(cost))
            .pivot(index="date", columns="market", values="net")
            .sort_index()
        )
        stack.append(wide.to_numpy())
    return pd.DatetimeIndex(wide.index), np.stack(stack)


def still_shares(results: pd.DataFrame) -> dict[str, float]:
    """By agent, the share of the assets whose signal never moves, mean over seeds, from the tidy table.

    Empty for a run of an earlier version, which recorded no signals.
    """
    rows = results[(results["metric"] == "still") & (results["market"] == ALL)]
    means = rows.groupby("agent", sort=False)["value"].mean()
    return {str(agent): float(share) for agent, share in means.items()}


def static_agents(table: pd.DataFrame) -> dict[str, float]:
    """The agents of a leaderboard that are static in part: the share of their signals that never move.

    Empty for a run of an earlier version, which recorded no signals.
    """
    if "static" not in table:
        return {}
    rows = table[table["static"]].drop_duplicates("agent")
    return {str(agent): float(still) for agent, still in zip(rows["agent"], rows["still"], strict=True)}


def static_note(shares: Mapping[str, float]) -> str:
    """What a reader of their figures should know, one sentence; names by what they are called there.

    Examples:
        >>> static_note({"QuantNet": 0.34})
        'Static in part (=): of QuantNet 34% of the signals never move, a fixed book that learnt no timing.'
    """
    told = "; ".join(f"of {name} {share:.0%} of the signals never move" for name, share in shares.items())
    return f"Static in part (=): {told}, a fixed book that learnt no timing."


def as_text(table: pd.DataFrame, rank_by: Execution = "late") -> str:
    """The leaderboard as it is printed, a block per cost, ranked by one execution, the other's ratio beside.

    A star marks figures scaled ex ante to 10% volatility, an exclamation mark agents that are not comparable,
    an equals sign learnt agents that are static in part (signals of a tenth or more of the assets never
    move), a circumflex agents that earned a significant part on the first day.

    Args:
        table: as `leaderboard` gives it.
        rank_by: the execution that ranks.
    """
    ranked, others = table[table["execution"] == rank_by], table[table["execution"] != rank_by]
    blocks = []
    for level in levels_in(ranked):
        beside = at_level(others, level).set_index("agent")["sharpe"]
        blocks.append(_block(level, at_level(ranked, level), rank_by, beside))
    return "\n\n".join(blocks)


def _block(level: Level, rows: pd.DataFrame, rank_by: Execution, other: pd.Series) -> str:
    columns = pick(*LEADERBOARD, *SCALED)
    beside = IN_SHORT[other_execution(rank_by)]
    cells = [["", "agent", "Sharpe", beside, "95% interval", *(column.narrow for column in columns), "seeds"]]
    for _, row in rows.iterrows():
        interval = f"[{_number(row['sharpe_low'], '.2f')}, {_number(row['sharpe_high'], '.2f')}]"
        shown = [_number(row[column.name], column.form) for column in columns]
        seeds = f"{row['seeds']}" if row["comparable"] else f"{row['seeds']} !"
        marks = " =" * bool(row["static"]) + " ^" * bool(row["first_day"])
        ratios = [_number(row["sharpe"], ".2f"), _number(float(other[row["agent"]]), ".2f"), interval]
        cells.append([str(row["rank"]), f"{row['agent']}{marks}", *ratios, *shown, seeds])
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    left = {1, len(widths) - 1}  # names and seeds; numbers stand to the right
    lines = [
        "  ".join(c.ljust(widths[i]) if i in left else c.rjust(widths[i]) for i, c in enumerate(line))
        for line in cells
    ]
    lines.insert(1, "-" * max(len(line) for line in lines))
    paid = "each asset's own costs" if level == MARKET else f"{level:g} bps per unit of turnover"
    head = f"Net of {paid}, {IN_WORDS[rank_by]}"
    return "\n".join([head, *(line.rstrip() for line in lines)])


def _number(value: float, form: str) -> str:
    """A number, or a dash where it is undefined."""
    return format(value, form) if np.isfinite(value) else "-"


def duplicates_in_words(duplicates: Sequence[DuplicateRecord]) -> list[str]:
    """Of every agent, which seeds decide the same.

    Examples:
        >>> print(*duplicates_in_words([{"agent": "m", "seed": 1, "same_as": 0}]))
        m: seed 1 decides the same as seed 0, to the byte; counted once. Has chance no part (learns = False)?
    """
    same: dict[tuple[str, int], list[int]] = {}
    for one in duplicates:
        same.setdefault((one["agent"], one["same_as"]), []).append(one["seed"])
    notes = []
    for (agent, first), seeds in same.items():
        which = (
            f"seed {seeds[0]} decides" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))} decide"
        )
        notes.append(
            f"{agent}: {which} the same as seed {first}, to the byte; counted once. Has chance no part "
            "(learns = False)?"
        )
    return notes

"""What a finished run does not say by its ranking alone: luck, the search behind it, and who was audited.

Everything is computed from the run folder, at the cost level shown first. Daily figures are those of the
equal-weight portfolio of markets; with several seeds, moments and ratios are means over seeds, so they speak
of one training and not of an ensemble.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.results.books import Book, at_level
from experiments.results.delays import after_entry, delay
from experiments.results.metrics import break_even_bps
from experiments.results.run import Run
from experiments.results.series import asset_sharpes, market_sharpes
from experiments.results.unseen import pairs
from experiments.settings.config import MARKET, Execution, Level, level_name
from experiments.statistics import (
    MIN_DAYS,
    Difference,
    Moments,
    Overfitting,
    Ranking,
    Superiority,
    Trials,
    backtest_overfitting,
    confidence_set,
    deflated_sharpe,
    holm,
    interquartile_mean_interval,
    minimum_track_record,
    moments,
    paired_tests,
    probabilistic_sharpe,
    probability_of_improvement_interval,
    rank_agents,
    recorded_trials,
    robust_error,
    sharpe_difference,
    stepwise_superior,
    superior_predictive_ability,
)
from experiments.storage.records import read_trial
from experiments.storage.store import unit_name
from qn_env.arrays import BoolArray, FloatArray
from qn_env.errors import LookAheadError
from qn_env.objectives import sharpe
from qn_env.storage import write_atomically

REFERENCE = "buy-and-hold"  # what an agent has to beat; where it did not run, the best agent
BLOCKS = 16  # of the days, for the probability of backtest overfitting
SWEEP_BPS, SWEEP_POINTS = 20.0, 41  # costs of the curve, at least up to the first
BISECTIONS = 60
DEEPEST = 2.0  # how far below zero its figure goes, times its highest ratio


class Tried(NamedTuple):
    """What was tried before the best was looked at.

    Attributes:
        units: agents times seeds of the run; a floor, for what else its author tried is not recorded.
        searched: trials of recorded searches over hyperparameters of these agents.
        variance: of the daily Sharpe ratios of the units.
        further: agents and seeds that were looked at beside this run, as its record says.
    """

    units: int
    searched: int
    variance: float
    further: int = 0

    @property
    def trials(self) -> Trials:
        """As the deflated Sharpe ratio takes them."""
        return Trials(self.units + self.further + self.searched, self.variance)

    @property
    def source(self) -> str:
        """Where the number comes from, in words."""
        searched = f" and {self.searched} trials of recorded searches" if self.searched else ""
        further = f", {self.further} looked at beside it" if self.further else ""
        return f"{self.units} agents and seeds of this run{further}{searched}"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The statistics of a run at one cost for one execution.

    Attributes:
        execution: when decisions are traded.
        level: of costs.
        reference: the agent that the probability of improvement is over.
        tried: the trials.
        agents: one row per agent, in the order of the leaderboard.
        differences: one row per pair: difference of the annualised Sharpe ratios, its error, p and Holm's p.
        delays: one row per agent: its Sharpe ratio on time, that of the same decisions traded one trading day
            later, the difference, its error, p and Holm's p.
        paired: tests over assets, which take these as independent.
        refused: agents without figures because the look-ahead audit refused them.
        overfitting: of choosing the best agent by its portfolio; None with too few agents or days.
        superiority: whether the best agent is better than cash, beyond the luck of having many; None with too
            few days. Which ones are, and which may be the best, are columns of `agents`.
        ranking: of the agents across markets; None with fewer than two agents or no common market.
    """

    execution: Execution
    level: Level
    reference: str
    tried: Tried
    agents: pd.DataFrame
    differences: pd.DataFrame
    delays: pd.DataFrame
    paired: pd.DataFrame
    refused: tuple[str, ...]
    overfitting: Overfitting | None
    superiority: Superiority | None
    ranking: Ranking | None


def gather_evidence(runs: Mapping[Execution, Run], execution: Execution | None = None) -> Evidence:
    """The statistics of a run, at its headline cost; the same run gives the same figures.

    Args:
        runs: as `read_runs` gives them.
        execution: whose; default: the one that the run is ranked by.
    """
    run = runs[execution] if execution is not None else next(iter(runs.values()))
    both = {name: daily_portfolios(other) for name, other in runs.items()}
    cost, daily = run.headline, both[run.execution]
    kept = after_entry(common_days(run), _begins(run))
    best_first = [str(agent) for agent in run.ranking(cost)["agent"]]
    reference = REFERENCE if REFERENCE in best_first else best_first[0]
    against = list(dict.fromkeys([best_first[0], reference]))
    tried = _count_trials(run, daily)
    assets, markets = asset_sharpes(run, cost).mean, market_scores(run, cost)
    many = _many(run, best_first)
    rows = [
        {
            "agent": agent,
            **_significance(daily[agent].net(cost), tried.trials, run.bars_per_year),
            "break_even_bps": _break_even(daily[agent]),
            **_over_markets(markets, agent, reference, seed=int(run.about["config"].get("seed", 0))),
            "beats_cash": many.beats_cash.get(agent),
            "may_be_best": many.may_be_best.get(agent),
            "audit": audit_verdict(run, agent),
        }
        for agent in best_first
    ]
    return Evidence(
        execution=run.execution,
        level=cost,
        reference=reference,
        tried=tried,
        agents=pd.DataFrame(rows),
        differences=_differences(
            {agent: daily[agent].net(cost) for agent in best_first},
            against,
            [pair for pair in pairs(run.about) if daily.keys() >= {*pair}],
            run.bars_per_year,
        ),
        delays=_delays(best_first, both["on-time"], both["late"], kept, cost, run.bars_per_year),
        paired=paired_tests(assets.loc[best_first].T, against=best_first[0]),
        refused=refused_agents(run),
        overfitting=_overfitting(daily, cost, run.bars_per_year),
        superiority=many.superiority,
        ranking=_ranking(market_sharpes(run, cost).mean),
    )


def daily_portfolios(run: Run) -> dict[str, Book[FloatArray]]:
    """Every agent's portfolio, daily [T, S], on the days that all agents have (`common_days`)."""
    rows, names = _headline_rows(run), ["agent", "seed"]
    wide = [rows.pivot(columns=names, values=name).dropna() for name in ("gross", "turnover", "cost")]
    none = np.zeros((0, 1))
    return {
        # The costs that are stored are those of the headline, whatever they are.
        agent: Book(*(series[agent].to_numpy() for series in wide))
        if agent in wide[0]
        else Book(none, none, none)  # no day has half of the markets
        for agent in run.agents
    }


def common_days(run: Run) -> pd.DatetimeIndex:
    """[T] the days that all agents have."""
    gross = _headline_rows(run).pivot(columns=["agent", "seed"], values="gross").dropna()
    return pd.DatetimeIndex(gross.index)


def _headline_rows(run: Run) -> pd.DataFrame:
    return at_level(run.portfolio, run.headline).set_index("date")


def _begins(run: Run) -> list[str]:
    """The first test day of each market, in its first window."""
    firsts: dict[str, str] = {}
    for block in run.about["panel"]["markets"]:
        firsts[block["market"]] = min(block["test_first"], firsts.get(block["market"], block["test_first"]))
    return sorted(firsts.values())


def sharpes(book: Book[FloatArray], level: Level, bars_per_year: float) -> FloatArray:
    """Annualised Sharpe ratios [S] of a portfolio [T, S] at a cost; NaN where undefined."""
    ratios: FloatArray = sharpe(book.net(level), axis=0, bars_per_year=bars_per_year)
    return ratios


def market_scores(run: Run, level: Level) -> pd.DataFrame:
    """Net Sharpe ratio of every agent and seed (index) in every market (columns)."""
    rows = at_level(run.results, level)
    rows = rows[(rows["metric"] == "sharpe") & (rows["split"] == "test")]
    rows = rows[(rows["asset"] == "*") & (rows["market"] != "*")]
    scores: pd.DataFrame = rows.set_index(["agent", "seed", "market"])["value"].unstack("market")
    return scores


def cost_curve(run: Run) -> pd.DataFrame:
    """Net Sharpe ratio of every agent (columns) by cost in basis points (index): means over seeds."""
    flat = [level for level in run.levels if level != MARKET]
    costs = np.linspace(0.0, max([SWEEP_BPS, *flat]), SWEEP_POINTS)
    daily = daily_portfolios(run)
    curves = {
        agent: [_mean(sharpes(days, cost, run.bars_per_year)) for cost in costs]
        for agent, days in daily.items()
    }
    return pd.DataFrame(curves, index=pd.Index(costs, name="cost_bps"))


def capital_table(run: Run) -> pd.DataFrame:
    """Net Sharpe ratios after square-root impact, by agent and capital, and the capital that they bear.

    Impact grows with the root of the capital, so the stored impact of a capital of 1 tells of all. Means over
    seeds, after the costs of the headline.

    Returns:
        One row per agent: `agent`; a column for each of the run's capitals; `half`, the capital at which half
        of the ratio without impact is gone, and `all`, at which the mean return is 0; NaN where there is none
        to lose. Empty where the run was not asked, or knows no volumes.
    """
    rows = _headline_rows(run)
    if not run.capitals or "impact" not in rows or rows["impact"].isna().any():
        return pd.DataFrame(columns=["agent"])
    names = ["agent", "seed"]
    net, impact = (rows.pivot(columns=names, values=name).dropna() for name in ("net", "impact"))
    table = []
    for agent in run.ranking(run.headline)["agent"]:
        own, moved = net[agent].to_numpy(), impact[agent].to_numpy()

        def ratio(capital: float, own: FloatArray = own, moved: FloatArray = moved) -> float:
            return _mean(sharpe(own - capital**0.5 * moved, axis=0, bars_per_year=run.bars_per_year))

        earned, paid = float(own.mean()), float(moved.mean())
        bears = (earned / paid) ** 2 if earned > 0.0 and paid > 0.0 else float("nan")
        table.append(
            {
                "agent": str(agent),
                **{f"{capital:.17g}": ratio(capital) for capital in run.capitals},
                "half": _halved(ratio, bears) if np.isfinite(bears) and ratio(0.0) > 0.0 else float("nan"),
                "all": bears,
            }
        )
    return pd.DataFrame(table)


def _halved(ratio: Callable[[float], float], most: float) -> float:
    """The capital up to `most` at which the ratio is half of that without impact, by bisection."""
    low, high, half = 0.0, most, ratio(0.0) / 2.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if ratio(middle) > half else (low, middle)
    return (low + high) / 2.0


def cost_scale(curve: pd.DataFrame) -> tuple[float, float]:
    """Lowest and highest Sharpe ratio of a figure of `cost_curve`.

    An agent that costs ruin many times over would leave no room for the others: its line runs off below.
    """
    values = curve.to_numpy()[np.isfinite(curve.to_numpy())]
    if not len(values):
        return -1.0, 1.0
    high = max(float(values.max()), 0.5)
    low = max(float(values.min()), -DEEPEST * high)
    room = 0.05 * (high - low)
    return low - room, high + room


def audit_verdict(run: Run, agent: str) -> str:
    """What the look-ahead audit of an agent's units said; `not audited` where there was none."""
    if agent in refused_agents(run):
        return "refused"
    agents, windows = run.about["agents"], run.about["panel"]["windows"]
    seeds = agents[agent]["seeds"] if agent in agents else []
    units = [unit_name(agent, s, w) for s in seeds for w in windows]
    audits = [audit for audit in map(run.stored.audit, units) if audit is not None]
    if not audits:
        return "not audited"
    decisions = sum(int(part["decisions"]) for audit in audits for part in audit["comparisons"])
    some = "" if len(audits) == len(units) else f", {len(audits)} of {len(units)} units"
    held = "" if any(audit["active"] for audit in audits) else ", but it held nothing"
    return f"passed: {decisions:,} decisions{some}{held}"


def refused_agents(run: Run) -> tuple[str, ...]:
    """Agents that the look-ahead audit refused with any seed in any window."""
    kind = LookAheadError.__name__
    return tuple(dict.fromkeys(str(f["agent"]) for f in run.about["failed"] if f.get("kind") == kind))


def searched_trials(run: Run) -> int:
    """Trials of recorded searches for the run's agents, in `trials/` of the run or of the study around it."""
    files = [
        file
        for folder in (run.folder / "trials", run.folder.parent / "trials")
        for file in sorted(folder.glob("*-trial*.json"))
    ]
    return sum(read_trial(file)["agent"] in run.agents for file in files)


def _count_trials(run: Run, daily: Mapping[str, Book[FloatArray]]) -> Tried:
    ratios = np.concatenate([sharpes(days, run.headline, run.bars_per_year) for days in daily.values()])
    # Scores of a search are of other days and of each agent's own objective: they count, but do not vary.
    number, variance = recorded_trials(ratios.tolist(), run.bars_per_year)
    return Tried(int(number), searched_trials(run), variance, int(run.about.get("further_trials", 0)))


def _significance(net: FloatArray, trials: Trials, bars_per_year: float) -> dict[str, float]:
    """Is the Sharpe ratio of net returns [T, S] more than luck?"""
    each = moments(net)
    one = Moments(*(_mean(np.asarray(moment, dtype=np.float64)) for moment in each))
    return {
        "days": len(net),
        "sharpe": one.sharpe * bars_per_year**0.5,
        "sharpe_error": _mean(robust_error(net)) * bars_per_year**0.5,
        "probabilistic": float(probabilistic_sharpe(one)),
        "deflated": float(deflated_sharpe(one, trials)),
        "track_record_years": float(minimum_track_record(one)) / bars_per_year,
    }


def _break_even(days: Book[FloatArray]) -> float:
    """The cost at which the mean return over seeds is 0, in basis points."""
    return float(break_even_bps(days.gross.reshape(-1, 1), days.turnover.reshape(-1, 1))[0])


def _over_markets(scores: pd.DataFrame, agent: str, reference: str, *, seed: int) -> dict[str, float]:
    """The interquartile mean over seeds and markets, and how often a market is won against the reference."""
    mine, other = (scores.loc[name].to_numpy(dtype=np.float64) for name in (agent, reference))
    middle = interquartile_mean_interval(mine, seed=seed)
    won = probability_of_improvement_interval(mine, other, seed=seed)
    return {
        "iqm": middle.value,
        "iqm_low": middle.low,
        "iqm_high": middle.high,
        "improvement": won.value,
        "improvement_low": won.low,
        "improvement_high": won.high,
    }


def _differences(
    net: Mapping[str, FloatArray],
    references: Sequence[str],
    others: Sequence[tuple[str, str]],
    bars_per_year: float,
) -> pd.DataFrame:
    """Every agent against every reference, and other pairs; each once, Holm's correction over all rows."""
    rows: dict[frozenset[str], dict[str, str | float]] = {}
    for left, right in [*others, *((left, right) for right in references for left in net)]:
        pair = frozenset((left, right))
        if len(pair) == 2 and pair not in rows:
            both = _all_pairs(net[left], net[right])
            rows[pair] = {"left": left, "right": right, **_gap(*both, bars_per_year)}
    table = pd.DataFrame(list(rows.values()), columns=["left", "right", "difference", "error", "p_value"])
    return table.assign(p_holm=holm(table["p_value"].to_numpy(dtype=np.float64)))


def _delays(
    agents: Sequence[str],
    on_time: Mapping[str, Book[FloatArray]],
    late: Mapping[str, Book[FloatArray]],
    kept: BoolArray,
    level: Level,
    bars_per_year: float,
) -> pd.DataFrame:
    """What every agent's Sharpe ratio is one trading day late, net, seed beside the same seed.

    The difference and its p are of the days `kept` [T], on which the books are not just being entered.
    """
    rows = [
        {
            "agent": agent,
            "sharpe": _mean(sharpes(on_time[agent], level, bars_per_year)),
            "sharpe_late": _mean(sharpes(late[agent], level, bars_per_year)),
            **_annual(
                delay(
                    late[agent].net(level),
                    on_time[agent].net(level),
                    kept=kept[: len(late[agent].gross)],
                ),
                bars_per_year,
            ),
        }
        for agent in agents
    ]
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table["p_value"].to_numpy(dtype=np.float64)))


def _gap(left: FloatArray, right: FloatArray, bars_per_year: float) -> dict[str, float]:
    """The difference of the annualised Sharpe ratios of net returns [T, K], its error and p."""
    return _annual(sharpe_difference(left, right), bars_per_year)


def _annual(gap: Difference, bars_per_year: float) -> dict[str, float]:
    """A difference of daily Sharpe ratios as one of annualised ones."""
    return {
        "difference": gap.value * bars_per_year**0.5,
        "error": gap.error * bars_per_year**0.5,
        "p_value": gap.p_value,
    }


def _all_pairs(left: FloatArray, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """[T, S] and [T, Z] as [T, S Z] each: every seed beside every other, whatever their numbers."""
    S, Z = left.shape[1], right.shape[1]
    return left.repeat(Z, axis=1), np.tile(right, (1, S))


def _overfitting(
    daily: Mapping[str, Book[FloatArray]], level: Level, bars_per_year: float
) -> Overfitting | None:
    """Of choosing among the agents by the mean over seeds of their daily returns."""
    net = np.column_stack([days.net(level).mean(axis=1) for days in daily.values()])
    T, N = net.shape
    if N < 2 or T < 2 * BLOCKS:
        return None
    return backtest_overfitting(net, blocks=BLOCKS, bars_per_year=bars_per_year)


class _Many(NamedTuple):
    """Tests of all agents at once; empty where there are too few days."""

    superiority: Superiority | None
    beats_cash: dict[str, bool]
    may_be_best: dict[str, bool]


def _many(run: Run, agents: Sequence[str]) -> _Many:
    """Which agents are better than cash, and which may be the best, of daily returns at 10% volatility.

    An agent's returns are the mean over its seeds; days are those that all have, from the first estimate on.
    """
    rows = _headline_rows(run)
    wide = rows.pivot(columns=["agent", "seed"], values="net_10")
    means = pd.DataFrame({agent: wide[agent].mean(axis=1, skipna=False) for agent in agents if agent in wide})
    means = means.loc[:, means.notna().any()].dropna()
    if len(means) < MIN_DAYS or not len(means.columns):
        return _Many(None, {}, {})
    net, seed = means.to_numpy(), int(run.about["config"].get("seed", 0))
    names = [str(agent) for agent in means.columns]
    superior = stepwise_superior(net, seed=seed)
    included = confidence_set(net, seed=seed).included if len(names) > 1 else np.ones(1, dtype=bool)
    return _Many(
        superior_predictive_ability(net, seed=seed),
        dict(zip(names, superior.tolist(), strict=True)),
        dict(zip(names, included.tolist(), strict=True)),
    )


def _ranking(scores: pd.DataFrame) -> Ranking | None:
    """Ranks across markets of scores [agents, markets]; None where there is nothing to rank."""
    complete = scores.notna().all(axis=0)
    return rank_agents(scores.T) if len(scores) > 1 and complete.any() else None


def _mean(values: FloatArray) -> float:
    """The mean of what is defined; NaN if nothing is."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def as_record(evidence: Evidence) -> dict[str, object]:
    """What is not a table, as plain JSON values."""
    overfitting, ranking = evidence.overfitting, evidence.ranking
    return {
        "cost": level_name(evidence.level),
        "reference": evidence.reference,
        "refused": list(evidence.refused),
        "trials": {**evidence.tried._asdict(), "source": evidence.tried.source},
        "overfitting": None
        if overfitting is None
        else {
            "probability": overfitting.probability,
            "probability_of_loss": overfitting.probability_of_loss,
            "combinations": len(overfitting.logits),
        },
        "superiority": None
        if evidence.superiority is None
        else {"p_value": evidence.superiority.p_value, "t_statistic": evidence.superiority.t_statistic},
        "ranks": None
        if ranking is None
        else {
            "average": dict(ranking.average),
            "critical_difference": ranking.critical_difference,
            "markets": ranking.markets,
            "left_out": ranking.left_out,
        },
    }


def write_record(folder: Path, evidence: Sequence[Evidence]) -> None:
    """Write `honesty.json` into the run folder: the statistics of both executions."""
    record = {one.execution: as_record(one) for one in evidence}
    write_atomically(folder / "honesty.json", (json.dumps(record, indent=2) + "\n").encode())

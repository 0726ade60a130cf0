"""What the paper's tables are made of: per-asset figures, seeds averaged, and daily net returns of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.papers.config import is_late_trained, late_trained
from experiments.papers.quantnet.published import METRICS
from experiments.results.books import book_of
from experiments.results.leaderboard import STATIC_SHARE, still_shares
from experiments.results.tables import ALL
from experiments.settings.config import Execution
from experiments.storage.records import RunRecord
from experiments.storage.store import RunFolder, unit_name
from qn_env.arrays import BoolArray, FloatArray
from qn_env.errors import ConfigError, DataError, did_you_mean

QUANTNET_LIKE = ("quantnet", "quantnet-shared")
# The paper compares with the linear one (section 4.2, Appendix E).
NO_TRANSFER_LIKE = ("no-transfer-linear", "no-transfer-lstm")
NAMED_MARKETS = 4  # as many as the paper looks at one by one


class Pair(NamedTuple):
    """Two strategies held against each other, asset by asset."""

    strategy: str  # transfers
    reference: str  # does not


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A finished run at one cost, by one execution.

    Attributes:
        record: run.json.
        cost_bps: cost level of every figure, basis points per unit of turnover.
        execution: "on-time", as the paper trades, or "late", one trading day after the decision.
        seeds: seeds with results of every agent, agents in the order of the run.
        values: [assets, (metric, agent)], index (market, asset): the mean over the seeds that have a value.
        undefined: [metric, agent] values that are NaN, over assets and seeds.
        markets: one row per market, index market: assets, train, select, test, test_first, test_last.
        static: by learner that is static in part, the share of the assets whose signal never moves.
    """

    record: RunRecord
    cost_bps: float
    execution: Execution
    seeds: Mapping[str, Sequence[int]]
    values: pd.DataFrame
    undefined: pd.DataFrame
    markets: pd.DataFrame
    static: Mapping[str, float]

    @property
    def agents(self) -> list[str]:
        """The strategies with results, trained as the paper trades."""
        return [agent for agent in self.seeds if not is_late_trained(agent)]

    @property
    def basis(self) -> str:
        """Whether the figures are before or after costs, and late."""
        costs = "before costs" if self.cost_bps == 0.0 else f"net of {self.cost_bps:g} bps"
        return f"{costs}, traded one day late" if self.execution == "late" else costs

    def of(self, metric: str) -> pd.DataFrame:
        """One metric of every asset, [assets, agents], those that were trained one day late last."""
        values: pd.DataFrame = self.values[metric][list(self.seeds)]
        return values

    def by_market(self, metric: str) -> pd.DataFrame:
        """Mean over each market's assets that have a value, [markets, agents], in the run's order."""
        return self.of(metric).groupby(level="market").mean().reindex(self.markets.index)


@dataclass(frozen=True)
class MarketDays:
    """A market's own test days; listed and counted are the same for every agent.

    Attributes:
        dates: [T] days.
        assets: N names.
        listed: [T, N] the asset counts in the market's mean.
        counted: [T, N] the day enters the asset's statistics.
        net: by (agent, seed), [T, N] daily net returns, 0 where not counted and not listed.
    """

    dates: NDArray[np.datetime64]
    assets: tuple[str, ...]
    listed: BoolArray
    counted: BoolArray
    net: dict[tuple[str, int], FloatArray]

    def market_net(self, agent: str, seeds: Sequence[int]) -> FloatArray:
        """[S, T] the market's daily net return: the mean over its listed assets, NaN on a day without any."""
        count = self.listed.sum(axis=1)
        sums = [np.where(self.listed, self.net[agent, seed], 0.0).sum(axis=1) for seed in seeds]
        return np.where(count > 0, np.stack(sums) / np.maximum(count, 1), np.nan)


def measure(run: RunFolder, cost_bps: float | None = None, execution: Execution = "on-time") -> Measured:
    """Read a finished run at one cost, by one execution; default: its lowest cost, on time, as in the paper.

    Raises:
        ConfigError: the run has no such cost.
        DataError: not a finished run.
    """
    for name in ("run.json", "results.parquet"):
        if not (run.path / name).is_file():
            raise DataError(f"{run.path / name}: missing, expected a finished run. Finish or repeat the run.")
    record, results = run.record(), run.results()
    results = results[results["execution"] == execution]
    costs = sorted(float(cost) for cost in results["cost_bps"].dropna().unique())
    if not costs:
        raise ConfigError(
            f"{run.path}: has no results at a number of basis points, at which the tables are; name one in "
            "--costs."
        )
    cost = costs[0] if cost_bps is None else float(cost_bps)
    if cost not in costs:
        listed = ", ".join(f"{c:g}" for c in costs)
        raise ConfigError(f"{run.path}: has no results at {cost:g} bps; its costs are {listed}.")
    wanted = [metric.name for metric in METRICS]
    rows = results[(results["cost_bps"] == cost) & (results["asset"] != ALL)]
    rows = rows[rows["metric"].isin(wanted)]
    if rows.empty:
        raise DataError(f"{run.path / 'results.parquet'}: no per-asset rows. Run the comparison again.")
    finished = set(rows["agent"].unique())
    ordered = [agent for agent in record["agents"] if agent in finished]
    seeds = {
        agent: sorted(int(s) for s in rows.loc[rows["agent"] == agent, "seed"].unique())
        for agent in sorted([*ordered, *sorted(finished.difference(ordered))], key=is_late_trained)
    }
    values = rows.groupby(["market", "asset", "metric", "agent"])["value"].mean().unstack(["metric", "agent"])
    missing = rows["value"].isna().groupby([rows["metric"], rows["agent"]]).sum().unstack("agent")
    return Measured(
        record=record,
        cost_bps=cost,
        execution=execution,
        seeds=seeds,
        values=values.sort_index(axis=1),
        undefined=missing.reindex(index=wanted, columns=list(seeds)).fillna(0).astype(int),
        markets=pd.DataFrame(record["panel"]["markets"]).set_index("market"),
        static=_static(record, results),
    )


def _static(record: RunRecord, results: pd.DataFrame) -> dict[str, float]:
    """The learners of which many signals never move, and their share; means over seeds."""
    rules = {agent for agent, made in record["agents"].items() if not made.get("learns", True)}
    shares = still_shares(results)
    return {a: share for a, share in shares.items() if a not in rules and share >= STATIC_SHARE}


def daily(run: RunFolder, measured: Measured, *others: Measured) -> list[dict[str, MarketDays]]:
    """Daily net returns of every market, asset and unit, by market, of each measured; units are read once.

    Args:
        run: the finished run.
        measured: it at one cost, by one execution.
        others: the same run at other ones.

    Raises:
        DataError: two units that were not judged on the same days and assets.
    """
    every = (measured, *others)
    tables: list[dict[str, MarketDays]] = [{} for _ in every]
    for agent, seeds in measured.seeds.items():
        for seed in seeds:
            name = unit_name(agent, seed)
            for market, own in run.unit_days(name).groupby("market", sort=False):
                for one, markets in zip(every, tables, strict=True):
                    days = _market_days(own, (agent, seed), one)
                    first = markets.setdefault(str(market), days)
                    if first is not days:
                        _refuse_other_days(run, name, str(market), first, days)
                        first.net.update(days.net)
    return [
        {market: markets[market] for market in measured.markets.index if market in markets}
        for markets in tables
    ]


def _market_days(own: pd.DataFrame, unit: tuple[str, int], measured: Measured) -> MarketDays:
    """The days of one market in one unit, as arrays."""
    dates, rows = np.unique(own["date"].to_numpy(), return_inverse=True)
    columns, assets = pd.factorize(own["asset"], sort=True)
    shape = (len(dates), len(assets))
    net, listed, counted = np.zeros(shape), np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    listed[rows, columns], counted[rows, columns] = own["listed"], own["counted"]
    net[rows, columns] = book_of(own, measured.execution).net(measured.cost_bps)
    return MarketDays(
        dates, tuple(map(str, assets)), listed, counted, {unit: np.where(listed | counted, net, 0.0)}
    )


def _refuse_other_days(run: RunFolder, name: str, market: str, first: MarketDays, days: MarketDays) -> None:
    same = (
        first.assets == days.assets
        and np.array_equal(first.dates, days.dates)
        and np.array_equal(first.counted, days.counted)
        and np.array_equal(first.listed, days.listed)
    )
    if not same:
        raise DataError(
            f"{run.path / 'units' / name / 'daily.parquet'}: market {market!r} has other days or assets than "
            "the run's first unit, expected the same test block. Run the comparison again."
        )


def pairs(agents: Sequence[str]) -> list[Pair]:
    """Every QuantNet-like strategy against every No Transfer model, the main pair first.

    Examples:
        >>> pairs(["no-transfer-lstm", "buy-and-hold", "quantnet"])
        [Pair(strategy='quantnet', reference='no-transfer-lstm')]
    """
    return [
        Pair(strategy, reference)
        for strategy in QUANTNET_LIKE
        for reference in NO_TRANSFER_LIKE
        if strategy in agents and reference in agents
    ]


def late_trained_pairs(measured: Measured) -> list[Pair]:
    """The pairs of which both were trained one day late."""
    late = [Pair(*map(late_trained, pair)) for pair in pairs(measured.agents)]
    return [pair for pair in late if set(pair) <= set(measured.seeds)]


def drawn_pairs(agents: Sequence[str]) -> list[Pair]:
    """The pairs that have figures.

    Each strategy beside the first No Transfer model there is, the paper's, and the main strategy beside the
    other one.
    """
    every = pairs(agents)
    if not every:
        return []
    main = every[0]
    return [pair for pair in every if pair.reference == main.reference or pair.strategy == main.strategy]


def named_markets(measured: Measured, named: Sequence[str] | None) -> list[str]:
    """The markets looked at one by one: as named, or the largest ones.

    Raises:
        ConfigError: a market the run does not have.
    """
    known = [str(market) for market in measured.markets.index]
    if named is None:
        sizes = measured.markets["assets"].sort_values(ascending=False, kind="stable")
        return [str(market) for market in sizes.index[:NAMED_MARKETS]]
    for market in named:
        if market not in known:
            raise ConfigError(f"named markets: the run has no {market!r}. {did_you_mean(market, known)}")
    return list(dict.fromkeys(named))

"""`qn compare`: two finished runs side by side, how they were run and what their agents earned."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tyro.conf import Positional

from experiments.settings.config import EXECUTIONS, IN_WORDS, WITHOUT_EFFECT, Execution
from qn_env.checks import check_known
from qn_env.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from experiments.storage.records import RunRecord
    from experiments.storage.store import RunFolder

BESIDE = 40  # characters of a value that stands beside the other run's; longer ones stand below each other


@dataclass(frozen=True)
class Compare:
    """Two finished runs side by side: what differs in how they were run and in what their agents earned."""

    a: Positional[Path]
    """Folder of one run."""

    b: Positional[Path]
    """Folder of the other."""

    cost: float = 2.0
    """Cost per unit of turnover, in basis points; any, whatever the runs report."""

    rank_by: Execution = "late"
    """The execution compared and ranked by: late, one trading day after the decision, or on-time."""

    out: Path | None = None
    """CSV file to write the table to."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.cost < math.inf:
            raise ConfigError(f"cost is {self.cost}, expected a number of basis points >= 0.")
        check_known("rank_by", self.rank_by, EXECUTIONS)


class Setting(NamedTuple):
    """A setting, a version or a mark of the data that differs; None where a run has none."""

    name: str
    a: object
    b: object

    def __str__(self) -> str:
        a, b = (json.dumps(value) for value in (self.a, self.b))
        if max(len(a), len(b)) <= BESIDE:
            return f"{self.name}: {a} | {b}"
        return f"{self.name}:\n    A: {a}\n    B: {b}"


def compare_runs(config: Compare) -> int:
    """Print what differs between two runs, and write the table where that is asked for."""
    from experiments.storage.csvfile import write_csv
    from experiments.storage.store import RunFolder

    a, b = RunFolder.of_finished(config.a), RunFolder.of_finished(config.b)
    for note in filter(None, (a.note, b.note)):
        print(f"Note: {note}")
    with a.consistent_files(), b.consistent_files():
        settings = differences(a.record(), b.record())
        table = compare_agents(a, b, config.cost, config.rank_by)
    print(f"A: {a.path}\nB: {b.path}")
    print("Settings, data and versions (A | B):" if settings else "Settings, data and versions: the same.")
    for setting in settings:
        print(f"  {setting}")
    if not same_data(a, b):
        print(
            "Warning: the runs are of different data. Their figures stand side by side; a difference between "
            "them says nothing about the agents."
        )
    told = f"net of {config.cost:g} bps, {IN_WORDS[config.rank_by]}"
    print(f"\nSharpe ratios of the equal-weight portfolio, {told}:")
    counts = {name: table[name].astype(object).where(table[name].notna(), "-") for name in COUNTS}
    print(table.assign(**counts).to_string(index=False, na_rep="-", float_format="{:.2f}".format))
    if (table["note"] == IDENTICAL).all():
        print("identical: every daily return agrees")
    if config.out is not None:
        write_csv(config.out, table)
        print(f"Written to {config.out}.")
    return 0


def differences(a: RunRecord, b: RunRecord) -> list[Setting]:
    """What differs in configuration, data, the agents of both, versions and code, by two runs' records."""
    common = [label for label in a["agents"] if label in b["agents"]]
    left, right = _describe(a, common), _describe(b, common)
    return [
        Setting(name, left.get(name), right.get(name))
        for name in dict.fromkeys([*left, *right])
        if left.get(name) != right.get(name)
    ]


def _describe(record: RunRecord, agents: Sequence[str]) -> dict[str, object]:
    """Every setting under a name of its own; what changes no figure is left out."""
    config = {k: v for k, v in record["config"].items() if k not in WITHOUT_EFFECT}
    data = {k: record["panel"][k] for k in ("fingerprint", "first", "last", "assets", "windows")}
    parts: dict[str, Mapping[str, object]] = {
        "config": config,
        "data": data,
        "versions": record["versions"],
        "git": record["git"] or {},
    }
    parts |= {f"agents.{label}": record["agents"][label] for label in agents}
    return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}


IDENTICAL, ONLY_A, ONLY_B = "identical", "only in A", "only in B"
COUNTS = ("days_a", "days_b", "seeds_a", "seeds_b")
STILL = ("still_a", "still_b")  # shares of the assets whose signal never moves
COLUMNS = ("agent", *COUNTS, "sharpe_a", "sharpe_b", "difference", "low", "high", "p_value", *STILL, "note")


def compare_agents(
    a: RunFolder, b: RunFolder, cost_bps: float, execution: Execution = "late"
) -> pd.DataFrame:
    """The agents of two finished runs: net Sharpe ratios of the equal-weight portfolio, and their difference.

    The best of the first run first.

    Ratios are annualised means over seeds. Those of an agent in both runs are of the days that both have, and
    their difference, A less B, has a 95% interval for dependent days (`statistics.sharpe_difference`); the
    seeds are taken as they are. Runs of different data are not subtracted: each has its own days.

    Returns:
        agent, days_a, days_b, seeds_a, seeds_b, sharpe_a, sharpe_b, difference, low, high, p_value, still_a,
        still_b (the shares of the assets whose signal never moves), note.
    """
    import pandas as pd

    from experiments.results.leaderboard import still_shares
    from experiments.results.run import annualised_by

    left, right = (_portfolios(run, cost_bps, execution) for run in (a, b))
    years = [annualised_by(run.record()) for run in (a, b)]
    of_a, of_b = (partial(_figures, side, year) for side, year in zip("ab", years, strict=True))
    still = {name: still_shares(folder.results()) for name, folder in zip(STILL, (a, b), strict=True)}
    same, rows = same_data(a, b), []
    for agent in dict.fromkeys([*left, *right]):
        if agent not in right:
            rows.append(of_a(left[agent]) | {"note": ONLY_A})
        elif agent not in left:
            rows.append(of_b(right[agent]) | {"note": ONLY_B})
        elif not same:
            rows.append(of_a(left[agent]) | of_b(right[agent]) | {"note": "different data"})
        else:
            rows.append(_pair(left[agent], right[agent], years[0]))
            if _identical(a, b, agent, left[agent], right[agent]):
                rows[-1]["note"] = IDENTICAL
        rows[-1]["agent"] = agent
        rows[-1] |= {name: shares.get(agent, math.nan) for name, shares in still.items()}
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(COUNTS, "Int64"))
    best = (
        table["sharpe_a"].fillna(table["sharpe_b"]).astype(float).sort_values(ascending=False, kind="stable")
    )
    return table.loc[best.index].reset_index(drop=True)


def same_data(a: RunFolder, b: RunFolder) -> bool:
    """Whether two runs were of the same panel."""
    marks = [folder.record()["panel"]["fingerprint"] for folder in (a, b)]
    return bool(marks[0] == marks[1])


def _portfolios(folder: RunFolder, cost_bps: float, execution: Execution) -> dict[str, pd.DataFrame]:
    """By agent, the daily net returns of its portfolio, [days, seeds]."""
    from experiments.results.books import at_level, book_of, levels_in

    days = folder.portfolio()
    days = days[days["execution"] == execution]
    days = at_level(days, levels_in(days)[0])  # before costs, the same at every level
    days = days.assign(net=book_of(days).net(cost_bps))
    return {
        str(agent): own.pivot(index="date", columns="seed", values="net").sort_index()
        for agent, own in days.groupby("agent", sort=False)
    }


def _figures(side: str, bars_per_year: float, net: pd.DataFrame) -> dict[str, object]:
    """The columns of one run, from daily net returns [days, seeds]."""
    from experiments.statistics import mean_sharpe

    days, seeds = net.shape
    ratio = mean_sharpe(net.to_numpy().T[:, :, None], bars_per_year)
    return {f"days_{side}": days, f"seeds_{side}": seeds, f"sharpe_{side}": ratio}


def _pair(a: pd.DataFrame, b: pd.DataFrame, bars_per_year: float) -> dict[str, object]:
    """The columns of an agent on the days that both runs have."""
    import numpy as np
    from scipy.special import ndtri

    from experiments.statistics import LEVEL, sharpe_difference

    days = a.index.intersection(b.index)
    if len(days) < 2:
        both = _figures("a", bars_per_year, a) | _figures("b", bars_per_year, b)
        return both | {"note": "no common days"}
    a, b = a.loc[days], b.loc[days]
    # Every seed of one beside every seed of the other: the mean of the differences is that of the means.
    left, right = np.repeat(a.to_numpy(), b.shape[1], axis=1), np.tile(b.to_numpy(), (1, a.shape[1]))
    gap = sharpe_difference(left, right)
    value, reach = (bars_per_year**0.5 * daily for daily in (gap.value, ndtri((1 + LEVEL) / 2) * gap.error))
    of_difference = {"difference": value, "low": value - reach, "high": value + reach}
    both = _figures("a", bars_per_year, a) | _figures("b", bars_per_year, b)
    return both | of_difference | {"p_value": gap.p_value, "note": ""}


def _identical(a: RunFolder, b: RunFolder, agent: str, left: pd.DataFrame, right: pd.DataFrame) -> bool:
    """Whether all daily returns of all assets agree, to the last bit; `left`, `right` are the portfolios."""
    return left.equals(right) and all(
        a.agent_days(agent, seed).equals(b.agent_days(agent, seed)) for seed in left.columns
    )

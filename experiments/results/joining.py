"""Runs of equal data put together: one run of all their agents, from what each of them has stored."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.results.leaderboard import leaderboard
from experiments.results.run import annualised_by
from experiments.results.tables import market_days
from experiments.settings.config import WITHOUT_EFFECT
from experiments.storage.records import RunRecord
from experiments.storage.store import RunFolder, unit_name
from qn_env.errors import ConfigError

OF_EACH = (*WITHOUT_EFFECT, "agents")  # settings in which runs that are put together may differ


def join_runs(parts: Sequence[RunFolder], out: Path, *, further_trials: int = 0) -> RunFolder:
    """One finished run of the agents of several, which are left as they are; what lies there is replaced.

    Every figure of an agent by itself is that of its own run. What stands between agents, the ranking and
    what is corrected for their number, is computed anew; so is all that is read from the folder (`qn report`,
    `qn compare`). It holds what units have earned, and no checkpoints.

    Args:
        parts: finished runs of one panel, divided and charged in one way, with different agents.
        out: folder of the run.
        further_trials: agents and seeds that were looked at beside these, which deflation counts.

    Raises:
        ConfigError: no run, runs of other data or settings, or an agent in two of them.
        FileError: a file is not what a run has written.
    """
    if not parts:
        raise ConfigError("there is no run to put together; name at least one.")
    records = [part.record() for part in parts]
    _refuse_different(parts, records)
    shutil.rmtree(out, ignore_errors=True)
    folder = RunFolder.create(out)
    by_market = {}
    for part, record in zip(parts, records, strict=True):
        for agent, seed in _series(part):
            by_market[agent, seed] = market_days(days := part.agent_days(agent, seed))
            for window in record["panel"]["windows"]:
                folder.take_unit(unit_name(agent, seed, window), part)
            if len(record["panel"]["windows"]) > 1:
                folder.write_agent_days(agent, seed, days)
    joined = _record(records, out) | {"further_trials": further_trials}
    folder.write_results(
        pd.concat([part.results() for part in parts], ignore_index=True).assign(run=out.name)
    )
    folder.write_portfolio(pd.concat([part.portfolio() for part in parts], ignore_index=True))
    folder.write_leaderboard(_ranked(folder, by_market, records))
    folder.take_data_files(parts[0])
    folder.write_record(joined)
    folder.finish()
    return folder


def _series(part: RunFolder) -> list[tuple[str, int]]:
    """Every agent and seed that a run has figures of."""
    pairs = part.results()[["agent", "seed"]].drop_duplicates()
    return [(str(agent), int(seed)) for agent, seed in pairs.itertuples(index=False)]


def _ranked(
    folder: RunFolder, by_market: Mapping[tuple[str, int], pd.DataFrame], records: Sequence[RunRecord]
) -> pd.DataFrame:
    first = records[0]
    begins: dict[str, str] = {}
    for block in first["panel"]["markets"]:
        begins[block["market"]] = min(block["test_first"], begins.get(block["market"], block["test_first"]))
    return leaderboard(
        folder.results(),
        folder.portfolio(),
        by_market,
        seed=first["config"]["seed"],
        learnt={agent for record in records for agent, made in record["agents"].items() if made["learns"]},
        quick=first["config"]["quick"],
        begins=sorted(begins.values()),
        bars_per_year=annualised_by(first),
    )


def _record(records: Sequence[RunRecord], out: Path) -> dict[str, Any]:
    """The record of all of them: their agents and what went wrong, under the settings that they share."""
    first: dict[str, Any] = dict(records[0])
    joined = first | {
        "config": first["config"]
        | {"agents": [agent for one in records for agent in one["config"]["agents"]], "out": str(out)},
        "agents": {agent: made for one in records for agent, made in one["agents"].items()},
        "failed": [failure for one in records for failure in one["failed"]],
        "duplicates": [double for one in records for double in one.get("duplicates", [])],
        "started": min(one["started"] for one in records),
        "seconds": round(sum(one["seconds"] for one in records), 1),
    }
    if "unseen" in first:
        joined["unseen"] = first["unseen"] | {
            "left_out": [agent for one in records for agent in one.get("unseen", {}).get("left_out", [])]
        }
    return joined


def _refuse_different(parts: Sequence[RunFolder], records: Sequence[RunRecord]) -> None:
    """Refuse runs whose figures do not stand beside each other.

    Raises:
        ConfigError: with the run and what differs.
    """
    known: dict[str, Path] = {}
    first = _decisive(records[0])
    for part, record in zip(parts, records, strict=True):
        for name, value in _decisive(record).items():
            if value != first.get(name):
                raise ConfigError(
                    f"{part.path}: was run with {name} = {value}, and {parts[0].path} with "
                    f"{first.get(name)}; only runs of the same data and settings stand in one table."
                )
        for agent in record["agents"]:
            if agent in known:
                raise ConfigError(
                    f"{part.path}: holds the agent {agent!r}, and so does {known[agent]}; expected one of "
                    "them."
                )
            known[agent] = part.path


def _decisive(record: RunRecord) -> dict[str, object]:
    """What has to be the same: settings and data."""
    settings = {name: value for name, value in record["config"].items() if name not in OF_EACH}
    return {**settings, "panel": dict(record["panel"])}

"""What a line of the forward record says: what agents of a run decide today, and of which data."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd

from experiments.running.today import todays_signals, units_of
from experiments.settings.config import MARKET, Level
from experiments.storage.forward_record import (
    Decision,
    Entry,
    Header,
    RecordedAgent,
    Terms,
    moment,
    stamp,
)
from experiments.storage.manifest import NAME as MANIFEST
from experiments.storage.store import RunFolder
from qn_env.arrays import FloatArray
from qn_env.costs import table_of
from qn_env.errors import ConfigError, DataError, few
from qn_env.panel import Market, Panel
from qn_env.storage import digest, read_bytes


def declare(
    folder: RunFolder,
    panel: Panel,
    labels: Sequence[str],
    *,
    costs: Sequence[Level],
    terms: Terms,
    closes: str,
    now: datetime,
) -> Header:
    """The first line of a record: agents of a finished run, the assets of a panel, and how they are judged.

    Args:
        folder: the run, whose last window's agents decide, the mean over their seeds.
        panel: its data and later ones.
        labels: the agents, as the run calls them.
        costs: levels at which the record is scored.
        terms: of the evidence.
        closes: time of day, UTC, before which no market closes.
        now: the time.

    Raises:
        FileError: a file of the run is not what was written.
        ConfigError: an agent that the run has not, or that failed; a run without checksums.
    """
    record = folder.record()
    agents = {label: _agent(folder, label) for label in labels}
    return Header(
        created=stamp(now),
        run=_identity(agents),
        run_panel=record["panel"]["fingerprint"],
        agents=agents,
        assets=tuple(zip(panel.market_of, panel.assets, strict=True)),
        costs=tuple(costs),
        execution_lag=record["config"]["execution_lag"],
        bars_per_year=panel.bars_per_year,
        closes=closes,
        evidence=terms,
        versions=dict(record["versions"]),
    )


def _agent(folder: RunFolder, label: str) -> RecordedAgent:
    """An agent of the run, known by the manifests of its units."""
    units = units_of(folder.record(), label, None)
    if folder.unchecked:
        raise ConfigError(
            f"{folder.path}: has no {MANIFEST}, so nothing says which agents these are; repeat the run with "
            "this version."
        )
    return RecordedAgent(
        agent=units[0].variant.agent,
        seeds=tuple(unit.seed for unit in units),
        vol_target=units[0].vol_target,
        units={unit.name: digest(read_bytes(folder.check_unit(unit.name) / MANIFEST)) for unit in units},
    )


def _identity(agents: Mapping[str, RecordedAgent]) -> str:
    """SHA-256 over the checksums of all units."""
    units = sorted(pair for agent in agents.values() for pair in agent.units.items())
    return digest("".join(f"{checksum}  {name}\n" for name, checksum in units).encode())


def refuse_other_run(folder: RunFolder, header: Header) -> None:
    """Refuse a run whose agents are not those of the record.

    Raises:
        FileError: a file of the run is not what was written.
        ConfigError: the run has other agents, or trained them otherwise.
    """
    for label, declared in header.agents.items():
        if _agent(folder, label) != declared:
            raise ConfigError(
                f"{folder.path}: its agent {label!r} is another one than the record was begun with "
                "(retrained, or with other seeds). Name that run, or begin another record."
            )


def recorded_panel(header: Header, panel: Panel) -> Panel:
    """The recorded assets of a panel; others, which came later, are left out.

    Raises:
        ConfigError: an asset that the panel lacks; other rows a year; no costs of each asset where they are
            declared; a market without a day.
    """
    place = {pair: j for j, pair in enumerate(zip(panel.market_of, panel.assets, strict=True))}
    missing = [f"{market}/{name}" for market, name in header.assets if (market, name) not in place]
    if missing:
        raise ConfigError(
            f"the panel lacks {few(missing)}, which the record decides on; expected all "
            f"{len(header.assets)} assets of the record. Name the panel that it was begun with."
        )
    if panel.bars_per_year != header.bars_per_year:
        raise ConfigError(
            f"the panel has {panel.bars_per_year:g} rows a year, expected {header.bars_per_year:g}, as when "
            "the record was begun."
        )
    if MARKET in header.costs and panel.own_costs is None:
        raise ConfigError(
            "the record declares each asset's own costs, and the data do not say them; expected what it was "
            "begun with (--cost-table or --cost-default)."
        )
    kept = np.sort([place[pair] for pair in header.assets])
    if len(kept) < panel.shape[1]:
        pick = [np.asarray(names)[kept] for names in (panel.assets, panel.market_of)]
        narrow = replace(panel, assets=tuple(map(str, pick[0])), market_of=tuple(map(str, pick[1])))
        panel = narrow.with_observations(panel.returns[:, kept], panel.tradable[:, kept])
    for name, market in panel.markets.items():
        if not len(market.rows):
            raise DataError(f"market {name!r} has no day in the panel, expected its history.")
    return panel


def decide(
    folder: RunFolder, header: Header, panel: Panel, *, now: datetime, trust: Collection[str] = ()
) -> Entry:
    """The line of the last day of every market of a panel (`recorded_panel`).

    Raises:
        FileError: a file of the run is not what was written.
        ConfigError: as `todays_signals`.
    """
    tables = {label: todays_signals(folder, label, panel, trust=trust) for label in header.agents}
    last = {name: market.rows[-1] for name, market in panel.markets.items()}
    pairs = list(zip(panel.market_of, panel.assets, strict=True))
    seen = {pair: panel.returns[last[pair[0]], j] for j, pair in enumerate(pairs)}
    as_of = {name: str(panel.dates[row]) for name, row in last.items()}
    digests = histories(panel, {name: [day] for name, day in as_of.items()}, priced=MARKET in header.costs)
    return Entry(
        written=stamp(now),
        run=header.run,
        as_of=as_of,
        history={name: one for name, (one,) in digests.items()},
        returns=_or_none([seen[pair] for pair in header.assets]),
        agents={label: _decision(table, header) for label, table in tables.items()},
    )


def _decision(table: pd.DataFrame, header: Header) -> Decision:
    """The signals and weights of a table of `todays_signals`, in the order of the record."""
    ordered = table.set_index(["market", "asset"]).loc[list(header.assets)]
    return Decision(
        signals=_or_none(ordered["signal"].to_numpy()), weights=_or_none(ordered["weight"].to_numpy())
    )


def _or_none(values: Sequence[float] | FloatArray) -> tuple[float | None, ...]:
    return tuple(float(value) if np.isfinite(value) else None for value in values)


def histories(panel: Panel, ends: Mapping[str, Sequence[str]], *, priced: bool) -> dict[str, list[str]]:
    """SHA-256 of all data of every market up to each of some dates, in one pass.

    Args:
        panel: the data.
        ends: of every market, dates that do not go back.
        priced: whether what the data say that each asset costs is part of them.
    """
    costs = _costs(panel) if priced else []
    return {name: _prefixes(panel, panel.markets[name], days, costs) for name, days in ends.items()}


def _costs(panel: Panel) -> list[FloatArray]:
    """[T, N] each, what the data say that assets cost; -1 where they do not."""
    table = table_of(panel)
    if table is None:
        return []
    said = [table.of(panel, field) for field in table.fields]
    default = -1.0 if table.default_bps is None else table.default_bps
    fields = [np.full(panel.shape[1], default), *(values for values in said if values is not None)]
    return [np.broadcast_to(np.nan_to_num(values, nan=-1.0), panel.shape) for values in fields]


def _prefixes(panel: Panel, market: Market, ends: Sequence[str], costs: Sequence[FloatArray]) -> list[str]:
    """The digests of one market: its assets, then row by row the date and all that is known of it."""
    own = panel.dates[market.rows]
    returns = market.compact(panel.returns)
    parts = [own.astype(np.int64)[:, None], np.nan_to_num(returns, nan=0.0), np.isfinite(returns)]
    parts += [market.compact(panel.tradable), *(market.compact(values) for values in costs)]
    # Of one type, and without a negative zero: equal numbers are equal bytes.
    rows = np.ascontiguousarray(np.hstack([part.astype("<f8") for part in parts]) + 0.0)
    sha = hashlib.sha256(repr((market.name, market.assets, str(own.dtype))).encode())
    done, digests = 0, []
    for end in ends:
        begin, done = done, int(np.searchsorted(own, moment(end), side="right"))
        sha.update(rows[begin:done].tobytes())
        digests.append(sha.copy().hexdigest())
    return digests

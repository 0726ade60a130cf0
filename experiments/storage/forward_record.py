"""The forward record: what agents decided, line by line, before the days were known that judge them.

Its first line declares everything that the evidence depends on; every further one holds the decisions of one
evening. The lines are a chain (`experiments.storage.chain`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np

from experiments.storage.chain import Line
from experiments.storage.positions import MOST_WEIGHT
from qn_env.checks import (
    MOST_COST_BPS,
    MOST_DAYS,
    MOST_ITEMS,
    MOST_LAG,
    check_number,
    check_text,
    check_whole,
)
from qn_env.errors import ConfigError, FileError
from qn_env.year import MOST_BARS_PER_YEAR

FORMAT = 1
STAMP = "%Y-%m-%dT%H:%M:%SZ"  # of a time in UTC
DAY = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d)?", flags=re.ASCII)
TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d|24:00", flags=re.ASCII)
CHECKSUM = re.compile(r"[0-9a-f]{64}")
MOST_LOSS, MOST_BETS = 1e6, 1000
OTHER = "It was written by another version of qn_env, or by hand."

Parsed = TypeVar("Parsed")
Asset = tuple[str, str]  # market and name


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How the evidence is computed, declared before any return.

    Attributes:
        cost: its level of costs, basis points or market.
        execution: when what is decided is traded.
        largest_loss: deviations of its book that a day is assumed to lose at most.
        scale_days: days before a day that its book's deviation is of.
        widest_days: days up to a day of which the widest book counts.
        bets: shares of the stake.
    """

    cost: float | Literal["market"]
    execution: Literal["late", "on-time"]
    largest_loss: float
    scale_days: int
    widest_days: int
    bets: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RecordedAgent:
    """An agent of the record: which one, its seeds (the mean of their signals is recorded), its target."""

    agent: str
    seeds: tuple[int, ...]
    vol_target: float | None
    units: dict[str, str]  # checksums of the manifests of its trained units


@dataclass(frozen=True, kw_only=True)
class Header:
    """The first line.

    Attributes:
        created: time of writing, UTC.
        run: SHA-256 over the checksums of all trained units that decide.
        run_panel: fingerprint of the run's data.
        agents: by the name that the run gave them.
        assets: [N] market and name of every asset that is decided on.
        costs: levels at which lines are scored.
        execution_lag: trading days between a decision and its trade when it is on time.
        bars_per_year: what figures are annualised by.
        closes: time of day, UTC, before which no market of the panel closes: a line is in time if it was
            written before that time of its market's next date.
        evidence: how it is computed.
        versions: of the packages.
    """

    kind: Literal["header"] = "header"
    format: Literal[1] = 1
    created: str
    run: str
    run_panel: str
    agents: dict[str, RecordedAgent]
    assets: tuple[Asset, ...]
    costs: tuple[float | Literal["market"], ...]
    execution_lag: int
    bars_per_year: float
    closes: str
    evidence: Terms
    versions: dict[str, str]

    @property
    def markets(self) -> tuple[str, ...]:
        """The markets of the assets."""
        return tuple(dict.fromkeys(market for market, _ in self.assets))


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What an agent decided: signals and weights [N], None where the asset did not trade."""

    signals: tuple[float | None, ...]
    weights: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of decisions.

    Attributes:
        written: time of writing, UTC.
        run: as in the header.
        as_of: of every market, its last date that the agents saw, at whose close they decided.
        history: of every market, the SHA-256 of all its data up to there.
        returns: [N] of that date, None where there is none.
        agents: their decisions.
    """

    kind: Literal["entry"] = "entry"
    written: str
    run: str
    as_of: dict[str, str]
    history: dict[str, str]
    returns: tuple[float | None, ...]
    agents: dict[str, Decision]

    @property
    def span(self) -> str:
        """Its dates: one, or the first and the last of its markets."""
        days = sorted(set(self.as_of.values()))
        return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"


@dataclass(frozen=True)
class Record:
    """A forward record as it was read, checked line by line.

    Attributes:
        path: its file.
        header: what it declares.
        entries: the lines of decisions, the first of which is line 2.
        digests: of all lines.
    """

    path: Path
    header: Header
    entries: tuple[Entry, ...]
    digests: tuple[str, ...]

    @property
    def last_line(self) -> str:
        """The file and the number of its last line."""
        return f"{self.path}, line {len(self.digests)}"

    @classmethod
    def of(cls, path: Path, lines: Sequence[Line]) -> Record | None:
        """The record of a chain's lines; None where there is none yet.

        Raises:
            FileError: a line that is no part of a record, by its number.
        """
        if not lines:
            return None
        header = _parsed(path, lines[0], Header, _check_header)
        entries = [
            _parsed(path, line, Entry, lambda entry: _check_entry(entry, header)) for line in lines[1:]
        ]
        for number, (before, entry) in enumerate(pairwise(entries), start=3):
            with_line = f"{path}, line {number}"
            if not _goes_on(before, entry):
                raise FileError(f"{with_line}: is not later than the line before, in every market. {OTHER}")
        return cls(path, header, tuple(entries), tuple(line.digest for line in lines))

    def line_of(self, digest: str) -> int | None:
        """The number of the line with a digest, or with one that begins so; None where there is none."""
        found = [number for number, one in enumerate(self.digests, start=1) if one.startswith(digest)]
        return found[0] if len(found) == 1 else None


def moment(text: str) -> np.datetime64:
    """A date of a record: a day, or a moment in UTC.

    Raises:
        ConfigError: neither.

    Examples:
        >>> moment("2026-01-05"), moment("2026-01-05T12:30:00")
        (np.datetime64('2026-01-05'), np.datetime64('2026-01-05T12:30:00'))
    """
    try:
        if DAY.fullmatch(text):
            return np.datetime64(text, "s" if "T" in text else "D")
    except ValueError:
        pass
    raise ConfigError(f"a date is {text[:40]!r}, expected YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS.")


def stamp(time: datetime) -> str:
    """A time as it is written."""
    return time.astimezone(UTC).strftime(STAMP)


def stamped(text: str) -> np.datetime64:
    """A time that was written, in UTC.

    Raises:
        ConfigError: it is none.
    """
    try:
        return np.datetime64(datetime.strptime(text, STAMP), "s")
    except ValueError as error:
        raise ConfigError(f"a time is {text[:40]!r}, expected one like 2026-01-05T21:30:00Z.") from error


def check_closes(text: str) -> str:
    """A time of day.

    Raises:
        ConfigError: it is none.
    """
    if not TIME.fullmatch(check_text("closes", text)):
        raise ConfigError(f"closes is {text[:40]!r}, expected a time of day in UTC, HH:MM, up to 24:00.")
    return text


def not_older(before: Entry, later: Entry) -> bool:
    """Whether every market's date is the same or a later one."""
    return all(moment(later.as_of[name]) >= moment(day) for name, day in before.as_of.items())


def _goes_on(before: Entry, later: Entry) -> bool:
    """Whether a line may follow another: some market has a later date, none an earlier one; nor the clock."""
    on_time = bool(stamped(later.written) >= stamped(before.written))
    return later.as_of != before.as_of and not_older(before, later) and on_time


def _parsed(path: Path, line: Line, kind: type[Parsed], check: Callable[[Parsed], None]) -> Parsed:
    """What a line holds.

    Raises:
        FileError: it is not such a line.
    """
    content: Any = line.content
    try:
        found = msgspec.convert(content, kind)
        check(found)
    except (msgspec.ValidationError, ConfigError, OverflowError) as error:
        told = str(error).rstrip(".")
        raise FileError(f"{path}, line {line.number}: {told}. {OTHER}") from error
    return found


def _check_header(header: Header) -> None:
    """Refuse a first line that declares what makes no sense; its types are right."""
    stamped(header.created)
    _refuse_unless(bool(header.agents and header.assets and header.costs), "it declares nothing")
    _refuse_unless(len(header.assets) <= MOST_ITEMS, "it has too many assets")
    _refuse_unless(len(set(header.assets)) == len(header.assets), "an asset is there twice")
    _refuse_unless(bool(CHECKSUM.fullmatch(header.run)), "run is no SHA-256")
    for level in header.costs:
        if level != "market":
            check_number("costs", level, 0.0, MOST_COST_BPS)
    terms = header.evidence
    _refuse_unless(terms.cost in header.costs, "the cost of the evidence is none of its costs")
    check_whole("execution_lag", header.execution_lag, 0, MOST_LAG)
    check_number("bars_per_year", header.bars_per_year, 1.0, MOST_BARS_PER_YEAR)
    check_closes(header.closes)
    check_number("largest_loss", terms.largest_loss, 0.0, MOST_LOSS, above=True)
    check_whole("scale_days", terms.scale_days, 2, MOST_DAYS)
    check_whole("widest_days", terms.widest_days, 1, MOST_DAYS)
    _refuse_unless(1 <= len(terms.bets) <= MOST_BETS, "it has no bets, or too many")
    for bet in terms.bets:
        check_number("bets", bet, 0.0, 1.0, above=True)


def _check_entry(entry: Entry, header: Header) -> None:
    """Refuse a line of decisions that does not fit the first one."""
    stamped(entry.written)
    _refuse_unless(entry.run == header.run, "it is of another run")
    markets = set(header.markets)
    _refuse_unless(set(entry.as_of) == set(entry.history) == markets, "its markets are others")
    for day in entry.as_of.values():
        moment(day)
    _refuse_unless(all(map(CHECKSUM.fullmatch, entry.history.values())), "history holds what is no SHA-256")
    _refuse_unless(set(entry.agents) == set(header.agents), "its agents are others")
    N = len(header.assets)
    _check_numbers("returns", entry.returns, N, np.inf)
    for decision in entry.agents.values():
        _check_numbers("signals", decision.signals, N, 1.0)
        _check_numbers("weights", decision.weights, N, MOST_WEIGHT)


def _check_numbers(name: str, values: Sequence[float | None], N: int, most: float) -> None:
    _refuse_unless(len(values) == N, f"{name} has {len(values)} values, expected {N}, one for each asset")
    bad = next((value for value in values if value is not None and not abs(value) <= most), None)
    _refuse_unless(bad is None, f"{name} holds {bad}, expected at most {most:g} either way")


def _refuse_unless(fits: bool, says: str) -> None:  # noqa: FBT001 - what is said of it stands beside it
    if not fits:
        raise ConfigError(f"{says}.")

"""The file of a forward record: read whole, and added to by one line a day, which is never replaced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from experiments.storage.chain import Chain, opened_chain, read_chain
from experiments.storage.forward_record import Decision, Entry, Header, Record, moment, not_older, stamped
from qn_env.errors import ConfigError

SURE = 1e-9  # of a signal or weight: another machine rounds otherwise


class Added(NamedTuple):
    """A record, and whether a line was added to it."""

    record: Record
    added: bool


def read_record(path: Path) -> Record | None:
    """The record of a file; None where there is no file, or an empty one.

    Raises:
        FileError: it cannot be read, a line is not what was written (by its number), or no part of a record.
    """
    return Record.of(path, read_chain(path))


def add_entry(path: Path, header: Header, entry: Entry) -> Added:
    """Add a line of decisions, after the first line where there is none yet.

    While it is looked at and added to, no other process adds to it. A line that says the same of the same day
    is not added again.

    Raises:
        FileError: the record is not what was written, or cannot be written to.
        ConfigError: it was begun on other terms; its last line is of a later day, or says otherwise of this
            one; the clock was set back.
    """
    _refuse_early(entry)
    with opened_chain(path) as chain:
        record = Record.of(path, chain.lines)
        if record is None:
            _append(chain, header)
        else:
            if replace(record.header, created=header.created) != header:
                raise ConfigError(f"{path}: another process has begun it on other terms; see its line 1.")
            if record.entries and _is_there(record, record.entries[-1], entry):
                return Added(record, added=False)
        _append(chain, entry)
        record = Record.of(path, chain.lines)
    assert record is not None
    return Added(record, added=True)


def _append(chain: Chain, line: Header | Entry) -> None:
    chain.append(msgspec.to_builtins(line))


def _refuse_early(entry: Entry) -> None:
    """Refuse a time of writing before the data."""
    now, last = stamped(entry.written), max(map(moment, entry.as_of.values()))
    if now < last:
        raise ConfigError(f"the panel ends on {last}, and this machine's clock says {now}. Set the clock.")


def _is_there(record: Record, last: Entry, entry: Entry) -> bool:
    """Whether the last line says the same of the same day; one of another day has to follow it."""
    if not not_older(last, entry):
        raise ConfigError(
            f"{record.last_line}: is as of {last.span}, later than the panel, which ends on {entry.span}."
        )
    if stamped(entry.written) < stamped(last.written):
        raise ConfigError(
            f"{record.last_line}: was written at {last.written}, and this machine's clock says "
            f"{entry.written}. Set the clock."
        )
    if entry.as_of != last.as_of:
        return False
    for label, decided in entry.agents.items():
        if (place := _differs(last.agents[label], decided)) is not None:
            asset = "/".join(record.header.assets[place])
            then, now = last.agents[label].weights[place], decided.weights[place]
            raise ConfigError(
                f"{record.last_line}: is of the same day, and says otherwise: {label!r} gave {asset} a "
                f"weight of {then} there and gives it {now} now (revised data, or other code). A line is "
                "never replaced; that of the next day can be added."
            )
    return True


def _differs(one: Decision, other: Decision) -> int | None:
    """The first asset on which two decisions differ, but for rounding."""
    for mine, yours in ((one.signals, other.signals), (one.weights, other.weights)):
        for place, (a, b) in enumerate(zip(mine, yours, strict=True)):
            if (a is None) != (b is None) or (a is not None and b is not None and abs(a - b) > SURE):
                return place
    return None

"""`qn forward`: today's signals onto a record that nobody changes unseen, and what earlier ones earned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from experiments.settings.config import (
    EXECUTIONS,
    IN_WORDS,
    LEVEL,
    LEVELS,
    MARKET,
    NAMES,
    Execution,
    Level,
    PanelConfig,
    check_agents,
    check_level,
    check_levels,
    in_bp,
    level_name,
    take,
    take_paths,
)
from qn_env.checks import check_flag, check_known, check_text
from qn_env.errors import ConfigError, few

if TYPE_CHECKING:
    import pandas as pd

    from experiments.running.forward_scores import Standing
    from experiments.storage.forward_record import Header, Record
    from experiments.storage.store import RunFolder
    from qn_env.panel import Panel

CLOSES = "03:00"  # before any exchange of the world closes that day
LEAST_HEAD = 8  # characters of a digest that name a line
TOLD = 5  # late lines that are named one by one


@dataclass(frozen=True, kw_only=True)
class Forward(PanelConfig):
    """A forward record: decisions written down before the days are known that judge them.

    With --run, today's signals of agents of a finished run are added to the file, one line a day; every line
    holds the checksum of the one before. Then earlier lines are scored on the days that came after them, with
    evidence against "no skill" that is valid whenever one looks. Without --run the record is only checked and
    scored. A file that was changed, cut within or reordered is refused with the number of the line, and
    nothing is added to it. What the first line declares holds for good: a first command says it, later ones
    need not.
    """

    record: Path
    """The file, JSON Lines; where there is none, it is begun."""

    run: Path | None = None
    """Folder of the finished run whose agents decide; default: nothing is added."""

    agents: Annotated[tuple[str, ...], NAMES] = ()
    """Agents as the run calls them, the mean over their seeds; default: those of the record, at first all
    that finished."""

    costs: Annotated[tuple[Level, ...], LEVELS] | None = None
    """Costs at which the record is scored, in basis points, or market; default: those of the run."""

    evidence_cost: Annotated[Level, LEVEL] | None = None
    """That of the evidence, one of them; default: market where it is one, else the highest."""

    execution: Execution | None = None
    """That of the evidence: late, one trading day after the decision (default), or on-time."""

    closes: str | None = None
    """Time of day in UTC, HH:MM, before which no market of the panel closes. A line is in time if it was
    written before that time of its market's next date; others are left out. Default: 03:00, before any
    exchange closes; for American ones 20:00."""

    head: str | None = None
    """Digest of a line, or how it begins, that was kept elsewhere: the record has to contain it."""

    repair: bool = False
    """Cut off a last line that was not written to its end (the process was killed), and go on."""

    out: Path | None = None
    """CSV file to write the scores to."""

    trust: Annotated[tuple[str, ...], NAMES] = ()
    """Import paths of agents that the run may name, whose code is run; default: qn_env's own agents only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        take_paths(self, "record", "run", "out")
        if self.agents:
            take(self, "agents", check_agents(self.agents))
        if self.costs is not None:
            take(self, "costs", check_levels(self.costs))
        if self.evidence_cost is not None:
            take(self, "evidence_cost", check_level("evidence_cost", self.evidence_cost))
        if self.execution is not None:
            check_known("execution", self.execution, EXECUTIONS)
        if self.head is not None and len(check_text("head", self.head)) < LEAST_HEAD:
            raise ConfigError(
                f"head is {self.head!r}, expected at least {LEAST_HEAD} characters of a digest."
            )
        check_flag("repair", self.repair)


def forward(config: Forward, *, panel: Panel | None = None, now: datetime | None = None) -> int:
    """Check the record, add today's line where a run is named, and print what earlier ones earned.

    Args:
        config: the command.
        panel: the data; default: what the command names.
        now: the time; default: the clock's.

    Raises:
        FileError: the record is not what was written; with the number of the line.
        ConfigError: a panel or a run that the record does not go on with, or other terms than it declares.
    """
    from experiments.running.forward_entries import recorded_panel
    from experiments.running.forward_scores import refuse_older
    from experiments.running.runner import load_panel
    from experiments.running.terminal import print_wrapped
    from experiments.storage.chain import mend_chain
    from experiments.storage.forward_file import read_record

    if config.repair and (cut := mend_chain(config.record)):
        print(f"Repaired: {cut:,} bytes of a line that was not written to its end are cut off.")
    record = read_record(config.record)
    _check_head(config, record)
    panel = load_panel(config) if panel is None else panel
    if config.run is not None:
        record = _add_line(config, record, panel, config.run, now or datetime.now(UTC))
    elif record is None:
        raise ConfigError(f"{config.record}: holds no record yet; --run DIR, a finished run, begins one.")
    _refuse_other_terms(config, record.header)
    panel = recorded_panel(record.header, panel)
    refuse_older(record, panel)
    _print_record(record)
    table = _scores(record, panel)
    if table is not None:
        _print_scores(table, record)
    if config.out is not None and table is not None:
        from experiments.storage.csvfile import write_csv

        write_csv(config.out, table)
        print(f"Written to {config.out}.")
    print_wrapped(
        "The chain shows that no line was changed since a head digest was kept elsewhere, not when it was "
        "written: that is this machine's clock. Research, not investment advice."
    )
    return 0


def _check_head(config: Forward, record: Record | None) -> None:
    """Refuse a record without the line whose digest was kept."""
    if config.head is None:
        return
    number = None if record is None else record.line_of(config.head)
    if number is None:
        raise ConfigError(
            f"{config.record}: no line has the digest {config.head}: lines were cut off or all written anew "
            "since it was kept, or it is of another record."
        )
    print(f"Line {number} has the digest that was kept.")


# Adding a line.


def _add_line(config: Forward, record: Record | None, panel: Panel, run: Path, now: datetime) -> Record:
    """The record with today's line, or as it is where that line is there already."""
    from experiments.running.forward_entries import decide, recorded_panel, refuse_other_run
    from experiments.running.forward_scores import late_by_now, refuse_older
    from experiments.storage.forward_file import add_entry
    from experiments.storage.store import RunFolder

    folder = RunFolder.of_finished(run)
    with folder.consistent_files():
        if record is None:
            header = _declared(config, folder, panel, now)
        else:
            header = record.header
            _refuse_other_terms(config, header)
            refuse_other_run(folder, header)
        panel = recorded_panel(header, panel)
        if record is not None:
            refuse_older(record, panel)
        entry = decide(folder, header, panel, now=now, trust=config.trust)
    record, added = add_entry(config.record, header, entry)
    number = len(record.digests)
    if not added:
        print(f"Line {number} says the same of {entry.span} already; nothing is added.")
        return record
    print(f"Line {number}: {', '.join(header.agents)} on {len(header.assets)} assets, as of {entry.span}.")
    if late_by_now(entry, panel, header):
        print("Note: by this machine's clock the next close may be known by now; then this line is left out.")
    return record


def _declared(config: Forward, folder: RunFolder, panel: Panel, now: datetime) -> Header:
    """The first line of a new record."""
    from experiments.running.forward_entries import declare
    from experiments.running.runner import refuse_unsaid_costs
    from experiments.running.today import continues
    from experiments.statistics.evidence_process import BETS, LARGEST_LOSS, SCALE_DAYS, WIDEST_DAYS
    from experiments.storage.forward_record import Terms, check_closes

    about = folder.record()
    failed = {one["agent"] for one in about["failed"]}
    labels = config.agents or tuple(label for label in about["agents"] if label not in failed)
    costs = config.costs or check_levels(
        tuple(MARKET if c == MARKET else float(c) for c in about["config"]["costs"])
    )
    if MARKET in costs:
        refuse_unsaid_costs(panel)
    highest = MARKET if MARKET in costs else max(costs, key=float)
    cost = highest if config.evidence_cost is None else config.evidence_cost
    if cost not in costs:
        raise ConfigError(
            f"evidence_cost is {level_name(cost)}, expected one of the costs of the record: "
            f"{', '.join(map(level_name, costs))}."
        )
    if not continues(about, panel):
        print(f"Note: up to {about['panel']['last']} the panel is not the data of the run.")
    terms = Terms(
        cost=cost,
        execution=config.execution or "late",
        largest_loss=LARGEST_LOSS,
        scale_days=SCALE_DAYS,
        widest_days=WIDEST_DAYS,
        bets=BETS,
    )
    closes = check_closes(config.closes or CLOSES)
    return declare(folder, panel, labels, costs=costs, terms=terms, closes=closes, now=now)


def _refuse_other_terms(config: Forward, header: Header) -> None:
    """Refuse options that say otherwise than the first line."""
    told = {
        "agents": (tuple(sorted(config.agents)) or None, tuple(sorted(header.agents))),
        "costs": (config.costs, header.costs),
        "evidence_cost": (config.evidence_cost, header.evidence.cost),
        "execution": (config.execution, header.evidence.execution),
        "closes": (config.closes, header.closes),
    }
    for name, (given, declared) in told.items():
        if given is not None and given != declared:
            raise ConfigError(
                f"{name} is {given}, and the record was begun with {declared}; what its first line declares "
                "holds for good. Leave the option out, or begin another record."
            )


# What earlier lines earned.


def _scores(record: Record, panel: Panel) -> pd.DataFrame | None:
    """The table of all agents; None where there is no day yet. Says which lines are left out, and why."""
    from experiments.results.forward_table import forward_table
    from experiments.running.forward_scores import revised, score, stand

    standing = stand(record, panel)
    _print_late(standing)
    if (change := revised(record, panel)) is not None:
        print(
            f"Warning: the data were revised. Line {change.line} (market {change.market!r}, as of "
            f"{change.as_of}) is the first of {change.lines} that were decided on other data than these: "
            f"{change.what}."
        )
    scored = {label: score(record, standing, panel, label) for label in record.header.agents}
    known = {label: one for label, one in scored.items() if one is not None}
    if not known:
        print("No day to score yet: none came after a line that was written in time.")
        return None
    return forward_table(known, record.header)


# What is printed.


def _print_record(record: Record) -> None:
    from experiments.running.terminal import print_wrapped

    last = f", the last as of {record.entries[-1].span}" if record.entries else ""
    lines = f"{len(record.digests)} lines, all as they were written"
    print(f"{record.path}: {lines}{last}; begun {record.header.created}.")
    print(f"Head, line {len(record.digests)}: {record.digests[-1]}")
    print_wrapped(
        "Keep the head where you cannot change it (send it to somebody): --head DIGEST finds it again."
    )


def _print_late(standing: Standing) -> None:
    lines: dict[int, list[str]] = {}
    for one in standing.late:
        lines.setdefault(one.line, []).append(one.market)
    about = {one.line: one for one in reversed(standing.late)}
    for number in list(lines)[:TOLD]:
        one = about[number]
        print(
            f"Late entry, left out: line {number}, written {one.written}, when the close of {one.next_date} "
            f"could be known ({few(lines[number])})."
        )
    if len(lines) > TOLD:
        print(f"Late entries, left out: {len(lines) - TOLD} more, up to line {max(lines)}.")


def _print_scores(table: pd.DataFrame, record: Record) -> None:
    from experiments.running.terminal import print_wrapped

    terms = record.header.evidence
    returns = table[table["days"].notna()]
    costs = returns["cost_bps"].map(lambda bps: MARKET if bps != bps else f"{bps:g}")
    shown = returns.assign(costs=costs, days=returns["days"].astype(int))
    columns = ["agent", "execution", "costs", "days", "sharpe", "low", "high", "net_return"]
    print("\nNet of costs, on the days after each line (Sharpe ratio a year, 95% interval):")
    print(_plain(shown[columns]))
    print(f"\nEvidence against no skill, {IN_WORDS[terms.execution]}, {in_bp(terms.cost)}:")
    proof = table[table["wealth"].notna()]
    print(_plain(proof[["agent", "wealth", "largest", "reached", "p_value", "p_holm"]]))
    print_wrapped(
        "wealth: what 1 became by bets on the agent. Without skill it ever reaches 20 with a chance of 5% at "
        "most, on whatever day one looks, as long as no day loses more than "
        f"{terms.largest_loss:g} standard deviations of what is held. p_value is 1 over the largest so far; "
        "p_holm counts the agents, and the mean of all asks whether any of them has skill."
    )


def _plain(table: pd.DataFrame) -> str:
    text: str = table.to_string(index=False, na_rep="-", float_format="{:.4g}".format)
    return text

"""What a reader sees first: one row an agent, every protocol beside the others, and the scorecard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.artefacts.columns import Column, as_text, number_column
from experiments.artefacts.items import Table
from experiments.artefacts.numbers import UNDEFINED, align_columns, format_interval, format_value
from experiments.open_benchmark.record import BenchmarkRecord, TroublePart
from experiments.open_benchmark.scorecard import QUESTIONS, quickness
from experiments.settings.config import UNSEEN, WAYS, Execution, Level, in_bp

# The scorecard's headings where they have to be narrow.
SHORT = ("", "finds", "nothing", "pays", "a day", "unseen", "few days", "seconds")
RULE = "rule"  # in place of a figure of who was trained on something
Cell = tuple[str, str, Execution]  # protocol, way, execution


def scores_with_seconds(scores: pd.DataFrame, record: BenchmarkRecord) -> pd.DataFrame:
    """The scorecard with the score of its seconds, and the CPU seconds of one seed behind it."""
    taken = record.get("seconds", {})
    seconds = [taken[agent]["seed"] if agent in taken else None for agent in scores["agent"]]
    known = np.array([np.nan if one is None else one for one in seconds], dtype=np.float64)
    return scores.assign(seconds=[quickness(float(one)) for one in known], cpu_seconds=known)


def summary(table: pd.DataFrame, scores: pd.DataFrame, record: BenchmarkRecord) -> Table:
    """One row an agent, the best late and net under the first protocol on top.

    Args:
        table: of the benchmark.
        scores: as `scores_with_seconds` gives them.
        record: of the benchmark.
    """
    headline = record["headline"]
    protocols = [str(course["protocol"]) for course in _courses(record)]
    net = table[(table["cost"].astype(str) == headline) & table["execution"].notna()]
    cells = {
        (str(row["agent"]), (row["protocol"], _way(row["way"]), row["execution"])): row
        for row in net.to_dict("records")
    }
    agents = sorted(record["agents"], key=lambda agent: _place(cells.get((agent, _cell(protocols[0])))))
    asked = [cell for protocol in protocols for cell in _asked(protocol, record)]
    rows = []
    for agent in agents:
        first: Mapping[str, Any] = cells.get((agent, _cell(protocols[0])), {})
        row: dict[str, object] = {"agent": agent, "marks": _marks(first)}
        for cell in asked:
            found = cells.get((agent, cell))
            rule = found is None and cell[0] == UNSEEN and (agent, (UNSEEN, "", "late")) in cells
            found = cells.get((agent, (UNSEEN, "", cell[2]))) if rule and cell[1] == "zero-shot" else found
            name = _name(cell)
            for end in ("", "_low", "_high"):
                row[f"{name}{end}"] = np.nan if found is None else found[f"sharpe{end}"]
            row[f"{name}_rule"] = rule and cell[1] != "zero-shot"
        row |= {name: first.get(name, np.nan) for name in ("turnover", "deflated", "may_be_best", "seeds")}
        rows.append(row)
    data = pd.DataFrame(rows).merge(scores[["agent", "cpu_seconds"]], on="agent", how="left")
    columns = [
        Column("Agent", ("agent", "marks"), "{}{}".format),
        *(_column(cell, record) for cell in asked),
        number_column("Turnover", "turnover", ".1f"),
        number_column("Deflated", "deflated", ".2f"),
        Column("May be best", "may_be_best", _yes),
        number_column("Seeds", "seeds", ".0f"),
        number_column("CPU s", "cpu_seconds", ".1f"),
    ]
    return Table(
        name="benchmark",
        title="The table",
        caption=(
            "Annualised Sharpe ratios of the equal-weight portfolio of markets, net of "
            f"{in_bp(_level(headline))}, each decision traded one trading day after it is made; on time: at "
            "the very close it is made at. In brackets 95% intervals, over days and seeds. Zero-shot: "
            "nothing was learnt of the markets that are judged; trained: they were part of the training. "
            "Turnover: a year's. Deflated: the probability of more than the luck of the best of "
            f"{record['trials']['series']} agents and seeds that were looked at (evidence above 0.95). "
            "May be best: in the set that holds the best with 95%. CPU s: seconds of one seed, trained, "
            "audited and judged."
        ),
        data=data,
        shown=as_text(data, columns),
    )


def scorecard_table(scores: pd.DataFrame) -> Table:
    """The scorecard as a table.

    Args:
        scores: as `scores_with_seconds` gives them.
    """
    columns = [
        Column("Agent", "agent"),
        *(number_column(one.title, one.name, ".2f") for one in QUESTIONS),
    ]
    return Table(
        name="scorecard",
        title="The scorecard",
        caption="Each from 0 to 1, from stored figures alone; what each is stands below. A dash: not asked, "
        "or the agent cannot. No number sums them up.",
        data=scores,
        shown=as_text(scores, columns),
    )


def as_lines(item: Table, headings: Sequence[str] | None = None) -> str:
    """A table for a terminal.

    Args:
        item: the table.
        headings: in place of its own, where these are too wide.
    """
    head = list(item.shown.columns) if headings is None else list(headings)
    return "\n".join(align_columns([head, *item.shown.to_numpy().tolist()]))


def notes_of(record: BenchmarkRecord) -> list[str]:
    """What a reader has to know, a sentence or two each."""
    trials = record["trials"]
    notes = [
        str(record["suite"]["reduced"]),
        f"Looked at: {trials['series']} agents and seeds, which the deflation counts; trainings, those on "
        f"probes among them: {trials['trainings']}.",
    ]
    if record["missing"]:
        notes.append(f"Not run, or not to the end: {', '.join(record['missing'])}.")
    if record["added"]:
        notes.append(f"Added to the suite: {', '.join(record['added'])}.")
    if record["cannot"]:
        notes.append(
            f"Not under unseen, where a dash stands: {', '.join(record['cannot'])}; such an agent "
            "plays only markets that it is trained on."
        )
    notes += _failures(record)
    if len(record["code"]) > 1:
        notes.append(
            f"Figures were made by {len(record['code'])} states of the code or of its packages; which by "
            "which stands in record.json."
        )
    return [*notes, *record["panel"]["notes"]]


def seconds_in_words(record: BenchmarkRecord) -> str:
    """What all of it took, and on what."""
    if "seconds" not in record:
        return "What it took was not recorded."
    whole = sum(one["all"] for one in record["seconds"].values())
    return (
        f"All of it: {whole:,.0f} CPU seconds ({record.get('machine', '')}), finished "
        f"{record.get('finished', '')[:10]}."
    )


def _failures(record: BenchmarkRecord) -> list[str]:
    """Who has no figures in what, a sentence each, and the first reason."""
    told: dict[str, list[TroublePart]] = {}
    for one in record["failed"]:
        told.setdefault(one["agent"], []).append(one)
    return [
        f"Failed: {agent}, in {', '.join(dict.fromkeys(one['protocol'] for one in mine))}: {mine[0]['error']}"
        for agent, mine in told.items()
    ]


def _courses(record: BenchmarkRecord) -> list[Mapping[str, Any]]:
    courses: Any = record["suite"]["courses"]
    return list(courses)


def _asked(protocol: str, record: BenchmarkRecord) -> list[Cell]:
    """The cells of a protocol: late and, of the first, on time; under unseen the ways."""
    courses = _courses(record)
    (course,) = [one for one in courses if one["protocol"] == protocol]
    if protocol != UNSEEN:
        on_time: list[Cell] = [(protocol, "", "on-time")]
        return [_cell(protocol), *(on_time if courses[0]["protocol"] == protocol else [])]
    return [(protocol, way, "late") for way in WAYS if course["shots"] or way != "few-shot"]


def _cell(protocol: str) -> Cell:
    return (protocol, "", "late")


def _name(cell: Cell) -> str:
    return "_".join(part for part in cell if part)


def _column(cell: Cell, record: BenchmarkRecord) -> Column:
    protocol, way, execution = cell
    name = _name(cell)
    if execution == "on-time":
        return number_column("On time", name, ".2f")
    heading = f"Unseen, {way}" if way else protocol.capitalize()
    keys = (name, f"{name}_low", f"{name}_high", f"{name}_rule")
    return Column(heading, keys, _estimate)


def _estimate(value: float, low: float, high: float, rule: bool) -> str:  # noqa: FBT001 - a cell's value
    if rule:
        return RULE
    if not np.isfinite(value):
        return UNDEFINED
    return f"{format_value(value, '.2f')} {format_interval(low, high)}"


def _place(row: Mapping[str, Any] | None) -> tuple[bool, float]:
    """Best first, who has no figure last."""
    value = np.nan if row is None else float(row["sharpe"])
    return (not np.isfinite(value), -value if np.isfinite(value) else 0.0)


def _marks(row: Mapping[str, Any]) -> str:
    return " =" * (row.get("static") is True) + " ^" * (row.get("first_day") is True)


def _way(value: object) -> str:
    return value if isinstance(value, str) else ""


def _yes(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else UNDEFINED


def _level(name: str) -> Level:
    return "market" if name == "market" else float(name)

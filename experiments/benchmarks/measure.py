"""How things are measured: CPU time, sides in turn, medians, and one row per claim."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

Block = Callable[[], float]
"""One timed repetition: sets itself up off the clock, returns its figure (a rate, or a duration)."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: ours against a baseline, and the bounds the ratio is meant to keep.

    Attributes:
        what: what is compared with what.
        unit: of `ours` and `baseline`.
        ours: median figure of this project; None if not measured.
        baseline: median figure of the other side, or a limit; None if not measured.
        ratio: median over rounds of ours over baseline.
        low: least ratio that meets the target, if any.
        high: greatest ratio that does, if any.
        note: a remark, such as why the row was not measured.
    """

    what: str
    unit: str
    ours: float | None = None
    baseline: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the ratio is within its bounds; None without a target or a measurement."""
        if self.ratio is None or (self.low is None and self.high is None):
            return None
        return (self.low is None or self.ratio >= self.low) and (self.high is None or self.ratio <= self.high)

    @property
    def target(self) -> str:
        """The bounds in words."""
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        if self.low is not None:
            return f">= {self.low:g}"
        return f"<= {self.high:g}" if self.high is not None else ""

    def record(self) -> dict[str, Any]:
        """The row as plain JSON values."""
        return {**asdict(self), "target": self.target, "met": self.met}


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all its threads, that one call takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def in_turn(sides: Mapping[str, Block], rounds: int) -> dict[str, list[float]]:
    """Each side's figures, one per round; within a round the sides follow each other.

    An untimed round goes first: caches, lazily built arrays and the allocator settle in it.
    """
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, block in sides.items():
            figure = block()
            if number > 0:
                figures[name].append(figure)
    return figures


def compare(
    what: str,
    unit: str,
    figures: Mapping[str, list[float]],
    ours: str,
    baseline: str,
    *,
    low: float | None = None,
    high: float | None = None,
    note: str = "",
) -> Row:
    """The row of two sides measured in turn."""
    pairs = zip(figures[ours], figures[baseline], strict=True)
    return Row(
        what=what,
        unit=unit,
        ours=median(figures[ours]),
        baseline=median(figures[baseline]),
        ratio=median(a / b for a, b in pairs),
        low=low,
        high=high,
        note=note,
    )


def publish(
    rows: Iterable[Row],
    *,
    prog: str,
    argv: Sequence[str] | None,
    config: object,
    out: Path | None,
    **more: str,
) -> list[Row]:
    """Measure the rows one after the other, print them and, if asked for, write them.

    Args:
        rows: measured as they are drawn.
        prog: the command.
        argv: its arguments; None: those of this process.
        config: what it was set to, as JSON or text can show it.
        out: the JSON file, or None.
        more: about the machine.
    """
    measured = []
    for row in rows:
        print(row.what, "...", file=sys.stderr, flush=True)
        measured.append(row)
    where = machine() | more
    print(table(measured))
    print(", ".join(f"{key} {value}" for key, value in where.items()))
    if out is not None:
        record = {
            "command": f"{prog} {shlex.join(sys.argv[1:] if argv is None else argv)}",
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": config,
            "machine": where,
            "rows": [row.record() for row in measured],
        }
        out.write_text(json.dumps(record, indent=2, default=str) + "\n")
    return measured


def machine() -> dict[str, str | int]:
    """Where the figures come from."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 0,
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "gymnasium", "torch", "stable-baselines3", "qn-env")},
    }


def table(rows: list[Row]) -> str:
    """The rows as aligned text."""
    head = ("what", "ours", "baseline", "unit", "ratio", "target", "")
    lines = [head] + [
        (
            row.what,
            _number(row.ours),
            _number(row.baseline),
            row.unit,
            "" if row.ratio is None else f"{row.ratio:.2f}",
            row.target,
            _verdict(row),
        )
        for row in rows
    ]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    left = {0, 3, 5, 6}
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _verdict(row: Row) -> str:
    word = {None: "", True: "met", False: "MISSED"}[row.met]
    return "; ".join(part for part in (word, row.note) if part)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _cpu_model() -> str:
    """The processor's name; Linux keeps it where `platform` does not look."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

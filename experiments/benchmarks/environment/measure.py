"""How things are measured: CPU time, sides in turn, medians, and one row per claim."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
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
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, block in sides.items():
            figure = block()
            if number > 0:
                found[name].append(figure)
    return found


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

"""What the probes found, over seeds: one row per probe, agent and measure, and the same as text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from experiments.probes.registry import PROBES, Probe
from experiments.probes.trials import Figures
from experiments.statistics import LEVEL, Moments, deflated_sharpe, recorded_trials
from qn_env.arrays import FloatArray
from qn_env.year import DAYS_PER_YEAR

COLUMNS = ["probe", "agent", "measure", "seeds", "value", "low", "high", "bar", "verdict"]


class Found(NamedTuple):
    """What one agent with one seed showed on one probe."""

    probe: str
    agent: str
    seed: int
    figures: Figures


def table(results: Sequence[Found]) -> pd.DataFrame:
    """Means over seeds, with their 95% t intervals and verdicts.

    Returns:
        probe, agent, measure, seeds, value, low, high, bar, verdict: "pass", "fail", or "" of a measure
        without a bar. The bounds are NaN for a single seed.
    """
    rows = [
        row
        for probe in PROBES.values()
        for row in _probe_rows(probe, [unit for unit in results if unit.probe == probe.name])
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def as_text(rows: pd.DataFrame) -> str:
    """The rows of one probe as aligned lines."""
    lines: list[tuple[str, ...]] = [("agent", "measure", "value", "95% interval", "bar", "verdict")]
    lines += [_cells(row) for row in rows.to_dict("records")]
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    text = [_align(line, widths) for line in lines]
    return "\n".join([text[0], "-" * sum(widths, 2 * len(widths) - 2), *text[1:]])


def mean_interval(values: FloatArray) -> tuple[float, float]:
    """95% t interval of the mean of independent values; NaN of a single one.

    Examples:
        >>> low, high = mean_interval(np.array([1.0, 2.0, 3.0]))  # 2 -+ 4.3027 / sqrt(3)
        >>> print(round(low, 3), round(high, 3))
        -0.484 4.484
    """
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return np.nan, np.nan
    reach = float(stdtrit(n - 1, (1.0 + LEVEL) / 2.0) * values.std(ddof=1) / n**0.5)
    return float(values.mean()) - reach, float(values.mean()) + reach


def deflated(units: Sequence[Found]) -> list[float]:
    """Whether each unit's Sharpe ratio passes for skill, 1 or 0: its deflated Sharpe ratio exceeds 95%.

    The trials are all agents on the panel of the same seed, since their reader looks at the best of them.
    """
    by_seed: dict[int, list[float]] = defaultdict(list)
    for unit in units:
        by_seed[unit.seed].append(unit.figures["sharpe"])
    year = DAYS_PER_YEAR**0.5
    return [
        float(
            deflated_sharpe(
                Moments(days=np.nan, sharpe=unit.figures["sharpe"] / year),
                recorded_trials(by_seed[unit.seed]),
                error=unit.figures["error"] / year,
            )
            > LEVEL
        )
        for unit in units
    ]


def _probe_rows(probe: Probe, units: Sequence[Found]) -> Iterator[dict[str, object]]:
    if "deflated" in probe.bars:
        units = [
            unit._replace(figures={**unit.figures, "deflated": skill})
            for unit, skill in zip(units, deflated(units), strict=True)
        ]
    errors = {bar.error for bar in probe.bars.values()}
    by_agent: dict[str, list[Figures]] = defaultdict(list)
    for unit in units:
        by_agent[unit.agent].append(unit.figures)
    for agent, figures in by_agent.items():
        for measure in dict.fromkeys(name for seed in figures for name in seed if name not in errors):
            shown = [seed for seed in figures if measure in seed]
            yield {"probe": probe.name, "agent": agent, "measure": measure, **_row(probe, measure, shown)}


def _row(probe: Probe, measure: str, figures: Sequence[Figures]) -> dict[str, object]:
    values = np.array([seed[measure] for seed in figures])
    value = float(values.mean())
    low, high = mean_interval(values)
    row = {"seeds": len(values), "value": value, "low": low, "high": high}
    bar = probe.bars.get(measure)
    if bar is None:
        return {**row, "bar": np.nan, "verdict": ""}
    height = bar.height(figures)
    return {**row, "bar": height, "verdict": "pass" if bar.passed(value, height) else "fail"}


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    signs = {"at least": ">=", "at most": "<=", "within": "+-"}
    bar = PROBES[row["probe"]].bars.get(row["measure"])
    return (
        row["agent"],
        row["measure"],
        f"{row['value']:z.3f}",
        f"[{row['low']:z.3f}, {row['high']:z.3f}]" if row["seeds"] > 1 else "-",
        "-" if bar is None else f"{signs[bar.side]} {row['bar']:z.3f}",
        row["verdict"] or "-",
    )


def _align(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Words to the left, numbers to the right."""
    left = (0, 1, len(cells) - 1)
    padded = [
        c.ljust(w) if k in left else c.rjust(w) for k, (c, w) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()

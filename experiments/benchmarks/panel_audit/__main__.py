"""The command: audit panels of 3,103 assets, print the table, write what was found."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

from experiments.benchmarks.measure import Row, cpu_seconds, in_turn, publish
from qn_env.panel import Panel
from qn_env.panel_audit import audit_panel
from qn_env.sources.synthetic import TEST_DAYS, Size, ar1_of_sizes, quantnet2020_sizes

SECONDS = 30.0  # for all assets, on one core


def panel_of(sizes: Sequence[int], days: int) -> Panel:
    """Noise in markets of these sizes, all open on every day."""
    named = [Size(f"M{m}", "", "", days - TEST_DAYS, size) for m, size in enumerate(sizes)]
    return ar1_of_sizes(named, seed=0)


def audit_row(sizes: Sequence[int], *, days: int, rounds: int) -> Row:
    """CPU seconds of `audit_panel`, against the limit."""
    panel = panel_of(sizes, days)
    ours = median(in_turn({"ours": lambda: cpu_seconds(partial(audit_panel, panel))}, rounds)["ours"])
    markets = "1 market" if len(sizes) == 1 else f"{len(sizes)} markets"
    what = f"audit of {sum(sizes):,} assets in {markets} x {days:,} days / limit"
    return Row(what=what, unit="s", ours=ours, baseline=SECONDS, ratio=ours / SECONDS, high=1.0)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Run the benchmark; the rows are returned, printed and, if asked for, written."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.panel_audit", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: no figure to quote")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    given = parser.parse_args(argv)
    sizes = [4, 8] if given.quick else [size.assets for size in quantnet2020_sizes()]
    days, rounds = (1000, 1) if given.quick else (5000, 3)
    rows = (audit_row(one, days=days, rounds=rounds) for one in (sizes, [sum(sizes)]))
    return publish(rows, prog=parser.prog, argv=argv, config={"days": days, "rounds": rounds}, out=given.out)


if __name__ == "__main__":
    main()

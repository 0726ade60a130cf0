"""The page of a paper's artefacts: one file, no script, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agents.checkpoint import write_atomically
from experiments.config import SEEDS
from experiments.papers.quantnet.drawing import Drawing
from experiments.papers.quantnet.measure import Measured
from experiments.papers.quantnet.published import BUY_AND_HOLD_NOTE, LABELS
from experiments.papers.quantnet.tables import Table
from qn_env.extras import require

FOLDED_ROWS = 30  # longer tables open on demand
NOTES = (
    "Published figures are references, not targets: they are of 3,103 stocks in 58 markets whose data cannot "
    "be redistributed, and the paper chose hyperparameters on the days it reports. Here the test days are "
    "seen once.",
    BUY_AND_HOLD_NOTE,
    "Return is compounded, and so is the numerator of the Calmar ratio (CR); Sharpe (SR) and Sortino (SortR) "
    "ratios are arithmetic. Kurtosis is excess kurtosis. MAD is the mean absolute deviation about the "
    "mean, SD has n - 1. Undefined values are left out and counted.",
)


class Left(NamedTuple):
    """An artefact that is not there."""

    title: str
    why: str


Item = Table | Drawing | Left


def budget_line(record: Mapping[str, Any], study: Mapping[str, Any] | None) -> str:
    """What the run was given to spend, in one sentence.

    Examples:
        >>> budget_line({}, {"budget": {"trials": 200, "steps_each": 2000}})
        'Budget: trials 200, steps each 2000.'
    """
    budget = dict((study or {}).get("budget", {}))
    if budget:
        words = [f"{name.replace('_', ' ')} {value}" for name, value in budget.items()]
        return f"Budget: {', '.join(words)}."
    learnt = [made for made in record["agents"].values() if made.get("learns")]
    seeds = sorted({len(made.get("seeds", [])) for made in learnt})
    counts = " or ".join(f"{n}" for n in seeds) if seeds else "no"
    quick = "; a quick run, not comparable" if record["config"].get("quick") else ""
    return f"Budget: {len(learnt)} learnt agents with {counts} seeds each, no search recorded{quick}."


def write_page(
    path: Path, items: Sequence[Item], images: Mapping[str, bytes], measured: Measured, budget: str
) -> Path:
    """Write the page; the same items give the same bytes."""
    jinja2 = require("jinja2", what="The page")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    record = measured.record
    page = environment.get_template("paper.html.jinja").render(
        parts=[_part(item, images) for item in items if not isinstance(item, Left)],
        left=[item for item in items if isinstance(item, Left)],
        budget=budget,
        basis=measured.basis,
        notes=NOTES,
        panel=record["panel"],
        failed=record.get("failed", []),
        quick=bool(record["config"].get("quick")),
        few=[
            a
            for a, s in measured.seeds.items()
            if record["agents"].get(a, {}).get("learns") and len(s) < SEEDS
        ],
        enough=SEEDS,
    )
    write_atomically(path, str(page).encode())
    return path


def _part(item: Table | Drawing, images: Mapping[str, bytes]) -> dict[str, Any]:
    """One artefact as the template shows it."""
    # A figure drawn for a second pair bears the strategy in its file's name.
    strategy = item.name.partition("-")[2] if isinstance(item, Drawing) else ""
    title = f"{item.title}, {LABELS[strategy]}" if strategy else item.title
    made: dict[str, Any] = {"name": item.name, "title": title, "caption": item.caption}
    if isinstance(item, Drawing):
        return made | {"image": base64.b64encode(images[item.name]).decode()}
    rows = item.shown.astype(str).to_numpy().tolist()
    folded = len(rows) > FOLDED_ROWS or item.name.endswith("published")
    return made | {"image": None, "head": list(item.shown.columns), "rows": rows, "folded": folded}

"""The page of a benchmark: one file, no script, nothing loaded from elsewhere; its figures and tables."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from experiments.artefacts.columns import Column, as_text, interval_column, number_column
from experiments.artefacts.files import write_items
from experiments.artefacts.items import Table
from experiments.artefacts.page import HERE, part_of, templates_in
from experiments.open_benchmark.folder import PAGE, BenchmarkFolder
from experiments.open_benchmark.joint import Joint
from experiments.open_benchmark.radar import radar_of
from experiments.open_benchmark.record import BenchmarkRecord
from experiments.open_benchmark.scorecard import QUESTIONS
from experiments.open_benchmark.shown import notes_of, scorecard_table, summary
from experiments.report.trust import tables as tables_of_run
from qn_env.storage import write_atomically

# Of the tables of a run, those that say what stands between agents.
OF_EACH = ("significance", "differences", "delays", "markets", "ways", "folds", "costs")


def write_page(
    folder: BenchmarkFolder,
    table: pd.DataFrame,
    scores: pd.DataFrame,
    probes: pd.DataFrame,
    record: BenchmarkRecord,
    joined: Mapping[str, Joint],
) -> Path:
    """Write `benchmark.html`, `figures/` and `tables/`; its path.

    Args:
        folder: of the benchmark.
        table: of it.
        scores: as `shown.scores_with_seconds` gives them.
        probes: what the probes found (`experiments.probes.table`).
        record: of the benchmark, with its seconds.
        joined: the runs of every protocol put together.
    """
    leading = [summary(table, scores, record), scorecard_table(scores)]
    radars = [
        radar_of(str(row["agent"]), {one.name: float(row[one.name]) for one in QUESTIONS})
        for row in scores.to_dict("records")
    ]
    others = [*(one for name, joint in joined.items() for one in _between(name, joint)), *_probes(probes)]
    images = write_items([*leading, *radars, *others], folder.path, {}, notes_of(record))
    page = (
        templates_in(Path(__file__).parent, HERE)
        .get_template("page.html.jinja")
        .render(
            record=record,
            quick=bool(record["suite"]["quick"]),
            notes=notes_of(record),
            leading=[part_of(item, images) for item in leading],
            parts=[part_of(item, images) for item in others],
            radars=[
                {"caption": one.caption, "image": base64.b64encode(images[one.name]).decode()}
                for one in radars
            ],
            protocols=list(joined),
        )
    )
    write_atomically(folder.path / PAGE, str(page).encode())
    return folder.path / PAGE


def _between(protocol: str, joint: Joint) -> list[Table]:
    """What stands between the agents under a protocol, late."""
    run = joint.late
    shown = {one.name: one for one in tables_of_run(run, joint.evidence)}
    return [
        replace(
            shown[name],
            name=f"{protocol}-{name}",
            title=f"{protocol.capitalize()}: {shown[name].title[:1].lower()}{shown[name].title[1:]}",
        )
        for name in OF_EACH
        if name in shown
    ]


def _probes(found: pd.DataFrame) -> list[Table]:
    """What every agent showed on every probe."""
    if found.empty:
        return []
    columns = [
        Column("Probe", ("probe", "days"), "{}, {:,} days".format),
        Column("Agent", "agent"),
        Column("Measure", "measure"),
        number_column("Value", "value", ".3f"),
        interval_column("95% interval", "own", ".3f"),
        Column("Seeds", "seeds", "{:.0f}".format),
    ]
    data = found.assign(own_low=found["low"], own_high=found["high"])
    return [
        Table(
            name="probes",
            title="Probes",
            caption="Markets with a planted structure whose best Sharpe ratio is known (qn probes --help): "
            "what was measured out of sample, means over seeds with their t intervals.",
            data=found,
            shown=as_text(data, columns),
        )
    ]

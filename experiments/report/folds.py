"""Markets that nobody was trained on, on the page: the same agent in three ways, and the folds."""

from __future__ import annotations

import pandas as pd

from experiments.artefacts.columns import Column, as_text, estimate_column
from experiments.artefacts.items import Table
from experiments.artefacts.numbers import format_value
from experiments.results.evidence import Evidence
from experiments.results.run import Run
from experiments.results.unseen import TITLES, ways_table
from experiments.settings.config import IN_WORDS, in_bp
from experiments.storage.records import UnseenRecord

WAYS_TABLE, FOLDS = "ways", "folds"  # names of the tables


def unseen_tables(run: Run, evidence: Evidence) -> list[Table]:
    """What knowing markets is worth, and how they were dealt; no table of a run under another protocol."""
    unseen = run.about.get("unseen")
    if unseen is None:
        return []
    ways = ways_table(run.about, run.ranking(run.headline), evidence.differences)
    return [*([] if ways.empty else [_ways(run, unseen, ways)]), _folds(unseen)]


def _ways(run: Run, unseen: UnseenRecord, ways: pd.DataFrame) -> Table:
    known = [way for way in TITLES if ways[way].notna().any()]
    gaps = [way for way in known if f"{way}_difference" in ways]
    few = f" Few-shot: the {unseen['shots']} days before, too." if "few-shot" in known else ""
    return Table(
        name=WAYS_TABLE,
        title="What knowing the markets is worth",
        caption=f"Net Sharpe ratio at {in_bp(run.headline)}, {IN_WORDS[run.execution]}, with its 95% "
        f"interval. Zero-shot: nothing was learnt of the markets that are judged.{few} Trained: they were "
        "part of the training. Differences from zero-shot with their errors (Ledoit and Wolf 2008), p "
        "corrected with all differences of the run (Holm 1979).",
        data=ways,
        shown=as_text(
            ways,
            [
                Column("Agent", "agent"),
                *(estimate_column(TITLES[way], way, ".2f") for way in known),
                *(
                    Column(
                        f"{TITLES[way]} less zero-shot",
                        (f"{way}_difference", f"{way}_error", f"{way}_p"),
                        _difference,
                    )
                    for way in gaps
                ),
            ],
        ),
    )


def _difference(value: float, error: float, p: float) -> str:
    return f"{format_value(value, '+.2f')} ({format_value(error, '.2f')}), p {format_value(p, '.3f')}"


def _folds(unseen: UnseenRecord) -> Table:
    data = pd.DataFrame(
        {
            "fold": fold["window"],
            "judged": ", ".join(fold["markets"]),
            "learnt": ", ".join(fold["learnt"]),
            "cut": fold["cut"],
            "too_short": ", ".join(f"{name} ({days})" for name, days in fold["without"].items()),
        }
        for fold in unseen["folds"]
    )
    return Table(
        name=FOLDS,
        title="Folds of markets",
        caption="The markets of a fold are judged after the cut, each on its own last block; what is learnt "
        f"for them, on the others, lies before it. Folds: {unseen['rule']}. Too short: fewer than 252 days "
        "to train on before the cut (so many), or none to select on; nothing was learnt from these.",
        data=data,
        shown=as_text(
            data,
            [
                Column("Fold", "fold"),
                Column("Judged", "judged"),
                Column("Learnt on", "learnt"),
                Column("Before", "cut"),
                Column("Too short", "too_short"),
            ],
        ),
    )

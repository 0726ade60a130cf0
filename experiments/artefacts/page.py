"""The page of a paper's artefacts: one file, no script, nothing loaded from elsewhere."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.artefacts.items import Drawing, Item, Omitted, Table
from experiments.artefacts.numbers import join_words
from experiments.settings.config import SEEDS
from experiments.storage.records import RunRecord, markets_of
from qn_env.extras import require
from qn_env.storage import write_atomically

if TYPE_CHECKING:
    from jinja2 import Environment

_INTERVAL = re.compile(r"\[([^][, ]+), ([^][, ]+)\]")  # a table folds around it, not inside
FOLDED_ROWS = 40  # longer tables open on demand


@dataclass(frozen=True, kw_only=True)
class Front:
    """What stands above the artefacts.

    Attributes:
        title: of the page.
        authors: of the paper, as a citation begins.
        work: the paper's title.
        year: of the paper.
        basis: whether the figures are before or after costs.
        notes: how to read the figures, a paragraph each.
        record: run.json.
        seeds: seeds with results of every agent.
        budget: what the run was given to spend, one sentence.
        label: an agent's name in the tables.
    """

    title: str
    authors: str
    work: str
    year: int
    basis: str
    notes: Sequence[str]
    record: RunRecord
    seeds: Mapping[str, Sequence[int]]
    budget: str
    label: Callable[[str], str]


def budget_line(record: RunRecord, study: Mapping[str, Any] | None) -> str:
    """What the run was given to spend, in one sentence.

    Examples:
        >>> words = {"trials": 200, "steps_each": 2000}
        >>> budget_line({}, {"budget": words})
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


HERE = Path(__file__).parent  # base.html.jinja, which the pages of tables and figures extend


def templates_in(*folders: Path) -> Environment:
    """The templates of folders: everything is escaped, and a name that is not given is an error."""
    jinja2 = require("jinja2", what="The page")
    environment: Environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment


def write_page(path: Path, items: Sequence[Item], images: Mapping[str, bytes], front: Front) -> Path:
    """Write the page; the same items give the same bytes."""
    record = front.record
    page = (
        templates_in(HERE)
        .get_template("page.html.jinja")
        .render(
            front=front,
            parts=[part_of(item, images) for item in items if not isinstance(item, Omitted)],
            left=[item for item in items if isinstance(item, Omitted)],
            panel=record["panel"],
            markets=len(markets_of(record)),
            failed=record.get("failed", []),
            quick=bool(record["config"].get("quick")),
            few=_few_seeds(front),
            enough=SEEDS,
        )
    )
    write_atomically(path, str(page).encode())
    return path


def _few_seeds(front: Front) -> str:
    """The learnt strategies with too few seeds, or that it is all of them; empty where there is none."""
    learnt = [agent for agent in front.seeds if _learnt(front.record, agent)]
    few = [agent for agent in learnt if len(front.seeds[agent]) < SEEDS]
    if len(few) == len(learnt) > 1:
        return "all strategies that learn"
    return join_words([front.label(agent) for agent in few])


def _learnt(record: RunRecord, agent: str) -> bool:
    agents = record["agents"]
    return agent in agents and agents[agent]["learns"]


def part_of(item: Table | Drawing, images: Mapping[str, bytes]) -> dict[str, object]:
    """One artefact as the template shows it."""
    made: dict[str, object] = {"name": item.name, "title": item.title, "caption": item.caption}
    if isinstance(item, Drawing):
        return made | {"image": base64.b64encode(images[item.name]).decode()}
    cells = item.shown.astype(str).to_numpy().tolist()
    rows = [[_INTERVAL.sub("[\\1,\N{NO-BREAK SPACE}\\2]", cell) for cell in row] for row in cells]
    folded = len(rows) > FOLDED_ROWS or item.name.endswith("published")
    return made | {"image": None, "head": list(item.shown.columns), "rows": rows, "folded": folded}

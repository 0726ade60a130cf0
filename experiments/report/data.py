"""What the data of a run do to its figures: what their audit found, as lines and tables of the page."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from experiments.artefacts.items import Table
from experiments.artefacts.numbers import format_value
from experiments.results.run import Run
from experiments.storage.records import FindingRecord, PanelAuditRecord
from experiments.storage.store import RunFolder
from qn_env.errors import few
from qn_env.panel_audit.report import KINDS

FINDINGS, CLOSES = "findings", "closes"  # names of the tables


class Warned(NamedTuple):
    """One kind of finding that a reader should look at before believing a figure."""

    heading: str
    where: str
    effect: str


def warnings_of(stored: RunFolder) -> list[Warned]:
    """The kinds of findings that weigh, in the order of the audit; none of a run without one."""
    audit = stored.panel_audit()
    by_kind: dict[str, list[FindingRecord]] = {}
    for found in audit["findings"] if audit else []:
        if found["severity"] != "note":
            by_kind.setdefault(found["kind"], []).append(found)
    return [Warned(_heading(kind), _where(found), found[0]["effect"]) for kind, found in by_kind.items()]


def data_tables(run: Run) -> list[Table]:
    """What was found, and what others' closes say of tomorrow; no table of a run without an audit."""
    audit = run.stored.panel_audit()
    if audit is None:
        return []
    return [*([_findings(audit)] if audit["findings"] else []), *_closes(audit)]


def _findings(audit: PanelAuditRecord) -> Table:
    data = pd.DataFrame(audit["findings"]).assign(assets=lambda t: t["assets"].map(", ".join))
    shown = [
        {
            "Finding": _heading(found["kind"]),
            "Market": found["market"] or "",
            "Assets": few(found["assets"]),
            "Days": found["first"]
            if found["first"] == found["last"]
            else f"{found['first']} to {found['last']}",
            "Detail": found["detail"],
        }
        for found in audit["findings"]
    ]
    return Table(
        name=FINDINGS,
        title="What was found in the data",
        caption="Looked for before any agent was trained (qn audit --data-only). What each does to a figure "
        "stands in the file.",
        data=data,
        shown=pd.DataFrame(shown),
    )


def _closes(audit: PanelAuditRecord) -> list[Table]:
    rows = [row for row in audit["cross_autocorrelations"] if row["days"]]
    if not rows:
        return []
    shown = [
        {
            "Market": row["market"],
            "Others": row["others"],
            "b": format_value(row["coefficient"], ".3f"),
            "Error": format_value(row["error"], ".3f"),
            "p, corrected": format_value(row["p_holm"], ".3f"),
            "R2": format_value(row["r2"], ".2%"),
            "R2, late": format_value(row["r2_late"], ".2%"),
            "Sharpe": format_value(row["sharpe"], ".2f"),
            "Late": format_value(row["sharpe_late"], ".2f"),
            "Closes": "not of one moment" if row["asynchronous"] else "",
        }
        for row in rows
    ]
    return [
        Table(
            name=CLOSES,
            title="Are closes taken at one moment?",
            caption="What today's other closes of a market, or of the other markets, say of an asset's "
            "return tomorrow beyond its own last two (b), the share of its variance, and the annual Sharpe "
            "ratio of its sign before costs; late: a trading day later. What is there on time and gone a day "
            "later could not have been earned. p is one-sided, corrected by Holm.",
            data=pd.DataFrame(rows).drop(columns=["followers"], errors="ignore"),
            shown=pd.DataFrame(shown),
        )
    ]


def _heading(kind: str) -> str:
    """How a kind is headed; one of another version by its own name."""
    return KINDS[kind].heading if kind in KINDS else kind.capitalize()


def _where(found: list[FindingRecord]) -> str:
    """The markets, or in one market the assets."""
    assets = list(dict.fromkeys(name for one in found for name in one["assets"]))
    markets = list(dict.fromkeys(one["market"] for one in found if one["market"]))
    if len(markets) == 1 and len(assets) <= 4:
        return f"{markets[0]}: {few(assets)}"
    return few(markets or assets)

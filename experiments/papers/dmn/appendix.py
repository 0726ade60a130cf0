"""Exhibit A1 with the values chosen here, and the instruments by asset class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.artefacts.items import Table
from experiments.artefacts.numbers import UNDEFINED, format_setting, join_words
from experiments.papers.config import is_late_trained
from experiments.papers.dmn.measure import Measured
from experiments.papers.dmn.published import EXHIBIT_A1, label
from qn_env.errors import DataError

UNKNOWN = "unclassified"
# Of a trial's record: laid out in columns of their own, or of no use to a reader.
LEFT_OUT = ("options", "data", "bars", "curve")


def exhibit_a1(study: Mapping[str, Any] | None) -> list[Table]:
    """The published grid and how often each value was chosen; the choices and the trials one by one."""
    chosen = [row for row in (study or {}).get("chosen", []) if row.get("options")]
    as_printed = [row for row in chosen if not is_late_trained(row["agent"])]
    data = pd.DataFrame(
        {"hyperparameter": row.label, "option": row.option, "value": value, "note": row.note}
        | {"chosen": sum(_same(made["options"].get(row.option), value) for made in as_printed)}
        for row in EXHIBIT_A1
        for value in row.values
    )
    cells = []
    for row in EXHIBIT_A1:
        own = data[data["option"] == row.option]
        values = [
            f"{value:g}" + (f" ({n}\N{MULTIPLICATION SIGN})" if n else "")
            for value, n in zip(own["value"], own["chosen"], strict=True)
        ]
        cells.append([row.label, ", ".join(values), row.note or UNDEFINED])
    tables = [
        Table(
            name="exhibitA1",
            title="Exhibit A1, search grid",
            caption="The published grid; the steps between its printed ends are read as powers of ten."
            + (
                f" In brackets, how often a value was chosen here, of {len(as_printed)} searches."
                if as_printed
                else " This run records no search."
            ),
            data=data,
            shown=pd.DataFrame(cells, columns=["Hyperparameter", "Values", "Remark"]),
        )
    ]
    if chosen:
        tables.append(_options_table("exhibitA1-chosen", "Exhibit A1, chosen per block", chosen))
    trials = list((study or {}).get("trials", []))
    if trials:
        tables.append(_options_table("exhibitA1-trials", "Exhibit A1, every trial", trials))
    return tables


def _same(made: object, value: float) -> bool:
    return isinstance(made, int | float) and bool(np.isclose(made, value))


def _options_table(name: str, title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Trials or choices, one column per option."""
    known = {row.option: row.label for row in EXHIBIT_A1}
    data = pd.DataFrame(
        [{k: v for k, v in row.items() if k not in LEFT_OUT} | dict(row.get("options", {})) for row in rows]
    )
    first = [c for c in ("agent", "window", "trial", "score") if c in data]
    options = [c for c in known if c in data]
    rest = [c for c in data if c not in (*first, *options)]
    data = data[[*first, *options, *rest]].astype(object)
    shown = data.map(format_setting)
    shown["agent"] = data["agent"].map(label)
    headings = {"agent": "Strategy", "window": "Block", "trial": "Trial", "score": "Score"} | known
    return Table(
        name=name,
        title=title,
        caption="Each model's choice in each test block's search, with its score on the selection days."
        if name.endswith("chosen")
        else "Every trial of the search, with its score on the selection days.",
        data=data,
        shown=shown.rename(columns=headings),
    )


def instruments(measured: Measured, classes: pd.DataFrame | None) -> Table:
    """The assets by asset class; without a table of classes, by market.

    Args:
        measured: the run.
        classes: `class` of every `instrument` (an asset's name) or `market`.

    Raises:
        DataError: a table without these columns, or with a double entry.
    """
    assets = measured.values.index.to_frame(index=False).astype(str)
    assets["class"] = assets["market"] if classes is None else _classified(assets, classes)
    grouped = assets.sort_values(["class", "market", "asset"], kind="stable").groupby("class", sort=True)
    shown = pd.DataFrame(
        {"Class": name, "Assets": f"{len(own)}", "Names": join_words(own["asset"].tolist())}
        for name, own in grouped
    )
    return Table(
        name="instruments",
        title="Appendix, instruments by asset class",
        caption=f"{len(assets)} assets in {len(shown)} {'markets' if classes is None else 'classes'} (the "
        "paper: 88 futures, commodities, fixed income and currencies among them).",
        data=assets[["class", "market", "asset"]],
        shown=shown,
    )


def _classified(assets: pd.DataFrame, classes: pd.DataFrame) -> pd.Series[str]:
    key = next((c for c in ("instrument", "market") if c in classes), None)
    if key is None or "class" not in classes:
        present = ", ".join(map(str, classes.columns))
        raise DataError(
            f"classes: found the columns {present}, expected 'class' and 'instrument' or 'market'."
        )
    double = classes[key].duplicated()
    if double.any():
        name = classes.loc[double, key].iloc[0]
        raise DataError(f"classes: column {key!r}: {name!r} appears twice, expected each once. Remove one.")
    known = classes.astype(str).set_index(key)["class"]
    column = "asset" if key == "instrument" else "market"
    return assets[column].map(known).fillna(UNKNOWN)

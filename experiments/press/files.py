"""Tables as CSV and LaTeX, drawings as PNG and SVG, captions as text: whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from agents.checkpoint import write_atomically
from experiments.press.drawing import write_drawing
from experiments.press.items import Drawing, Item, Table
from experiments.press.numbers import UNDEFINED
from qn_env.extras import require

# What the tables hold beyond plain text, for any LaTeX.
SIGNS = {
    UNDEFINED: "--",
    "\N{RIGHTWARDS ARROW}": r"$\to$",
    "\N{SUPERSCRIPT TWO}": "$^2$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
}


def write_items(
    items: Sequence[Item],
    out: Path,
    data: Mapping[str, pd.DataFrame],
    notes: Sequence[str],
    *,
    captions: str = "notes.txt",
) -> dict[str, bytes]:
    """Write tables and figures below `out`; returns the PNG of every figure by name.

    Args:
        items: what there is.
        out: folder, made if it is not there.
        data: numbers behind figures that no table shows, by name.
        notes: lines above the captions; the first, the budget, also ends every table's caption.
        captions: the file of all captions.
    """
    for folder in ("tables", "figures"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    require("jinja2", what="A table in LaTeX")
    for name, frame in data.items():
        _write_csv(out / "tables" / f"{name}.csv", frame)
    images, lines = {}, list(notes)
    for item in items:
        if isinstance(item, Table):
            _write_csv(out / "tables" / f"{item.name}.csv", item.data)
            write_atomically(out / "tables" / f"{item.name}.tex", _latex(item, notes[0]).encode())
            lines.append(f"{item.name}: {item.caption}")
        elif isinstance(item, Drawing):
            images[item.name] = write_drawing(item, out / "figures")
    write_atomically(out / "tables" / captions, ("\n".join(lines) + "\n").encode())
    return images


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    write_atomically(path, frame.to_csv(index=False, float_format="%.10g", lineterminator="\n").encode())


def _latex(table: Table, budget: str) -> str:
    """The table as shown, with its caption and the budget."""
    caption = _escaped(f"{table.title}. {table.caption} {budget}")
    found: str = table.shown.to_latex(index=False, escape=True, caption=caption, label=f"tab:{table.name}")
    for sign, command in SIGNS.items():
        found = found.replace(sign, command)
    return found


def _escaped(text: str) -> str:
    """Text that LaTeX prints as it is: no command, no comment."""
    return "".join(f"\\{c}" if c in "&%$#_{}" else c for c in text)

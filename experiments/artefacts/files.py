"""Tables as CSV and LaTeX, drawings as PNG and SVG, captions as text: whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from experiments.artefacts.drawing import write_drawing
from experiments.artefacts.items import Drawing, Item, Table
from experiments.artefacts.numbers import UNDEFINED
from experiments.storage.csvfile import write_csv
from qn_env.extras import require
from qn_env.storage import own_folder, write_atomically

DIGITS = "%.10g"
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

    Raises:
        FileError: a file cannot be written, or would lie outside `out`.
    """
    for folder in ("tables", "figures"):
        own_folder(out / folder)
    require("jinja2", what="A table in LaTeX")
    for name, frame in data.items():
        write_csv(out / "tables" / f"{name}.csv", frame, float_format=DIGITS)
    images, lines = {}, list(notes)
    for item in items:
        if isinstance(item, Table):
            write_csv(out / "tables" / f"{item.name}.csv", item.data, float_format=DIGITS)
            write_atomically(out / "tables" / f"{item.name}.tex", _latex(item, notes[0]).encode())
            lines.append(f"{item.name}: {item.caption}")
        elif isinstance(item, Drawing):
            images[item.name] = write_drawing(item, out / "figures")
    write_atomically(out / "tables" / captions, ("\n".join(lines) + "\n").encode())
    return images


def _latex(table: Table, budget: str) -> str:
    """The table as shown, with its caption and the budget."""
    caption = _escape(f"{table.title}. {table.caption} {budget}")
    source: str = table.shown.to_latex(index=False, escape=True, caption=caption, label=f"tab:{table.name}")
    for sign, command in SIGNS.items():
        source = source.replace(sign, command)
    return source


def _escape(text: str) -> str:
    """Text that LaTeX prints as it is: no command, no comment."""
    return "".join(f"\\{c}" if c in "&%$#_{}" else c for c in text)

"""Progress bars: a line in a terminal, a widget in a notebook, nothing where neither is."""

from __future__ import annotations

import sys

from tqdm.auto import tqdm

__all__ = ["shows_bars", "tqdm"]


def shows_bars() -> bool:
    """Whether somebody sees a bar: standard error is a terminal, or this is a notebook that has widgets."""
    return sys.stderr.isatty() or any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)

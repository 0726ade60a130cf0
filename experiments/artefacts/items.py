"""What a paper's page is made of: tables, drawings, and what is left out and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table as an artefact."""

    name: str  # of its files
    title: str
    caption: str  # what it shows, in one sentence
    data: pd.DataFrame  # one figure a cell
    shown: pd.DataFrame  # text as a reader sees it


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One figure as an artefact."""

    name: str  # of its files
    title: str
    caption: str  # what it shows, in one sentence
    draw: Callable[[], Figure]


class Omitted(NamedTuple):
    """An artefact that is not there."""

    title: str
    why: str
    page: str = ""  # where it stands instead, beside this page


Item = Table | Drawing | Omitted

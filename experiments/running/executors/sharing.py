"""Windows of a protocol for many tasks: written once, memory-mapped by every process that reads them.

A task then carries a path instead of the data. Processes of one machine map the same pages, and a machine
reads the file once, whoever runs the tasks. What lies there is arrays and JSON, nothing that runs when it is
read; it is a transport between the processes of one search, written anew at its start, and nothing that was
left there by another is ever read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from experiments.running.protocols import Fold, Lessons, Own
from experiments.storage.store import as_parquet
from qn_env.costs import CostTable, table_of
from qn_env.panel import Panel
from qn_env.storage import make_folder, own_folder, read_object, write_atomically

# Windows a process keeps: what is derived from them (a panel's features) is computed once for many tasks.
KEPT = 2
ABOUT, COSTS = "fold.json", "costs.parquet"
PANELS = ("train", "select", "test")
ARRAYS = ("dates", "returns", "tradable")
FEW, TOGETHER, KNOWN = "few", "together", "known"  # of a fold that learns from other markets than it judges


class _Days(TypedDict):
    """The days of lessons, as text."""

    select_start: dict[str, str]
    train_start: dict[str, str] | None


@dataclass(frozen=True)
class SharedFold:
    """A handle to a window in a folder; it pickles to a few bytes."""

    path: Path

    def get(self) -> Fold:
        """The window, its arrays memory-mapped and read-only; the same object for all tasks of a process."""
        return _load(self.path)


@contextmanager
def share_folds(folds: Sequence[Fold], folder: Path) -> Iterator[list[SharedFold]]:
    """Inside the block the windows lie in folders below `folder`, which is removed after it.

    Args:
        folds: the windows.
        folder: on a disk that every worker sees; what is in it is replaced.

    Raises:
        FileError: it cannot be written, or is a link to somewhere else.
    """
    # A killed process leaves its folder behind, and its name must not meet one that is kept in memory.
    shutil.rmtree(own_folder(folder), ignore_errors=True)
    place = folder / f"{os.getpid()}-{os.urandom(4).hex()}"
    try:
        handles = [SharedFold(make_folder(place / str(number))) for number in range(len(folds))]
        for handle, fold in zip(handles, folds, strict=True):
            _lay_down(fold, handle.path)
        yield handles
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _lay_down(fold: Fold, place: Path) -> None:
    panels = {name: getattr(fold, name) for name in PANELS}
    if fold.own is not None:
        panels[KNOWN] = fold.own.known
    for part, lessons in _own_lessons(fold).items():
        panels |= {f"{part}-train": lessons.train, f"{part}-select": lessons.select}
    costs = table_of(fold.test)  # of all of a fold's panels
    if costs is not None:
        write_atomically(place / COSTS, as_parquet(costs.rows))
    for name, panel in panels.items():
        for array in ARRAYS:
            np.save(place / f"{name}-{array}.npy", getattr(panel, array), allow_pickle=False)
    about = {
        "name": fold.name,
        "cost_default": None if costs is None else costs.default_bps,
        "select_start": _as_text(fold.select_start),
        "test_start": _as_text(fold.test_start),
        "blocks": fold.blocks.to_dict("records"),
        "own": None if fold.own is None else {"cut": str(fold.own.cut), "without": dict(fold.own.without)},
        "lessons": {part: _days_of(lessons) for part, lessons in _own_lessons(fold).items()},
        "panels": {
            name: {
                "assets": panel.assets,
                "market_of": panel.market_of,
                "notes": panel.notes,
                "bars_per_year": panel.bars_per_year,
            }
            for name, panel in panels.items()
        },
    }
    write_atomically(place / ABOUT, json.dumps(about).encode())


@lru_cache(maxsize=KEPT)
def _load(place: Path) -> Fold:
    about = read_object(place / ABOUT)
    panels = {name: _panel(place, name, told) for name, told in about["panels"].items()}
    if (place / COSTS).exists():
        costs = CostTable(pd.read_parquet(place / COSTS), about["cost_default"])
        panels = {name: replace(panel, own_costs=costs) for name, panel in panels.items()}
    return Fold(
        train=panels["train"],
        select=panels["select"],
        test=panels["test"],
        select_start=_as_days(about["select_start"]),
        test_start=_as_days(about["test_start"]),
        blocks=pd.DataFrame(about["blocks"]),
        name=about["name"],
        own=_own(about, panels),
    )


def _own_lessons(fold: Fold) -> dict[str, Lessons]:
    """What is learnt from a fold's own markets before they are judged, where it learns from other ones."""
    if fold.own is None:
        return {}
    return {TOGETHER: fold.own.together, **({} if fold.own.few is None else {FEW: fold.own.few})}


def _days_of(lessons: Lessons) -> _Days:
    begins = lessons.train_start
    return {
        "select_start": _as_text(lessons.select_start),
        "train_start": None if begins is None else _as_text(begins),
    }


def _own(about: Mapping[str, Any], panels: Mapping[str, Panel]) -> Own | None:
    """What `_lay_down` has written of it."""
    if about["own"] is None:
        return None
    lessons = {
        part: Lessons(
            panels[f"{part}-train"],
            panels[f"{part}-select"],
            _as_days(days["select_start"]),
            None if days["train_start"] is None else _as_days(days["train_start"]),
        )
        for part, days in about["lessons"].items()
    }
    return Own(
        np.datetime64(about["own"]["cut"]),
        panels[KNOWN],
        lessons.get(FEW),
        lessons[TOGETHER],
        about["own"]["without"],
    )


def _panel(place: Path, name: str, about: Mapping[str, Any]) -> Panel:
    dates, returns, tradable = (
        np.load(place / f"{name}-{array}.npy", mmap_mode="r", allow_pickle=False) for array in ARRAYS
    )
    assets, market_of, notes = (tuple(about[key]) for key in ("assets", "market_of", "notes"))
    return Panel(dates, assets, market_of, returns, tradable, notes, about["bars_per_year"])


def _as_text(days: Mapping[str, np.datetime64]) -> dict[str, str]:
    return {market: str(day) for market, day in days.items()}


def _as_days(texts: Mapping[str, str]) -> dict[str, np.datetime64]:
    return {market: np.datetime64(day) for market, day in texts.items()}

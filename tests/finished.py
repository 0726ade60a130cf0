"""A small finished run and its panel, for tests of what reads a folder; and ways to tamper with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from experiments import RunConfig
from experiments.running.runner import run
from experiments.running.units import Variant
from experiments.settings.configfile import write_config
from experiments.storage.manifest import NAME as MANIFEST
from experiments.storage.manifest import Manifest
from experiments.storage.store import RunFolder
from qn_env.panel import Panel
from qn_env.sources import ragged

LEARNER = "dmn-linear-sharpe"
AGENTS = (LEARNER, "macd", "buy-and-hold")


def small_panel() -> Panel:
    """Two markets of two and one assets."""
    return ragged(sizes=(2, 1), days=1100, seed=3)


def write_panel(panel: Panel, folder: Path) -> Path:
    """One CSV file of returns per market."""
    folder.mkdir(parents=True)
    for name, market in panel.markets.items():
        frame = pd.DataFrame(market.compact(panel.returns), columns=list(market.assets))
        frame.insert(0, "date", panel.dates[market.rows])
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def finished_run(out: Path) -> Path:
    """A run of one learner and two rules, as the command leaves it before its page is written."""
    config = RunConfig(agents=AGENTS, seeds=1, jobs=1, out=out)
    tiny = {LEARNER: Variant(LEARNER, {"epochs": 1, "patience": 1})}
    run(config, small_panel(), variants=tiny)
    write_config(out / "config.json", ["run"], config)
    RunFolder(out).enter("config.json")
    return out


def copied(run_folder: Path, place: Path) -> Path:
    """A copy, to be tampered with."""
    return Path(shutil.copytree(run_folder, place))


def resealed(folder: Path) -> None:
    """Write the manifests anew, as somebody would who changed files on purpose."""
    for unit in (folder / "units").iterdir():
        Manifest.of(unit, leave_out=("training",)).write()
    RunFolder(folder).finish()


def as_an_earlier_version(folder: Path) -> None:
    """Take away everything that checks: the manifests, and what says that there are some."""
    for path in folder.rglob(MANIFEST):
        path.unlink()
    edit_json(folder / "run.json", lambda record: record.pop("manifest"))


def edit_json(path: Path, edit: Callable[[Any], object]) -> None:
    """Change what a JSON file holds."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def flip(path: Path, place: float = 0.5, bit: int = 0) -> None:
    """Flip one bit of a file, at a place from 0 (its begin) to 1 (its end)."""
    content = bytearray(path.read_bytes())
    content[min(int(place * len(content)), len(content) - 1)] ^= 1 << bit
    path.write_bytes(bytes(content))

"""The paper's study: recalibrated over expanding windows with a search each, then the exhibits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from agents.agent import make_agent, settings_of
from experiments.papers.config import as_the_paper_trades, is_late_trained
from experiments.papers.data import priced_panel
from experiments.papers.dmn.artefacts import write_artefacts
from experiments.papers.dmn.config import (
    LSTM,
    REFERENCES,
    REGULARISED,
    DmnStudy,
)
from experiments.papers.dmn.importance import importance
from experiments.results.leaderboard import static_agents
from experiments.running.protocols import Protocol
from experiments.running.runner import run
from experiments.running.search import Search, best, search, training_of
from experiments.running.units import Variant
from experiments.settings.config import Execution
from experiments.storage.records import TrialResult
from experiments.storage.store import RunFolder, unit_name
from qn_env.errors import DataError
from qn_env.sources.files import read_table
from qn_env.storage import write_atomically

QUICK_MODELS = ("dmn-linear-sharpe", "dmn-mlp-sharpe", "dmn-lstm-sharpe", "dmn-lstm-mse")
CLASS_COLUMNS = ("class", "dmn_class", "asset_class")


def study(config: DmnStudy) -> Path:
    """Search in every window, train what was chosen, judge it, and write every exhibit; the page.

    Every part is stored as it is finished: a study that was killed goes on where it was.

    Raises:
        ConfigError: a folder that was begun with another configuration.
        DataError: a panel that cannot be used.
    """
    if config.quick:
        config = quick(config)
    models = [*config.models, *([REGULARISED] if LSTM in config.models else [])]
    models += config.trained_late(models)
    whole, panel = priced_panel(
        config,
        config.run_config(
            (*models, *REFERENCES),
            config.seeds,
            out="run",
            protocol="expanding",
            begin=config.begin,
            test_from=config.test_from,
            test_years=config.test_years,
        ),
    )
    folds = {fold.name: fold for fold in Protocol.of(whole).folds(panel)}
    searches = [search_of(config, model) for model in models]
    trials = search(searches, list(folds.values()), config.out / "trials", jobs=config.jobs, keep=True)
    chosen = [best(trials, model, window) for model in models for window in folds]
    variants = {
        one.label: replace(
            one.variant,
            windows={trial["window"]: trial["options"] for trial in chosen if trial["agent"] == one.label},
        )
        for one in searches
    }
    about = _about(config, trials, chosen)
    whole = replace(whole, quick=config.quick)
    # With the first seed, the winner of a search is what was trained there.
    begun = {
        unit_name(trial["agent"], config.seed, trial["window"]): training_of(
            trial, config.seed, config.out / "trials"
        )
        for trial in chosen
    }
    folder = RunFolder(run(whole, panel, variants=variants, resume=True, begun=begun))
    return write_artefacts(
        folder,
        config.out,
        study=about,
        importance=importance(folder, folds, LSTM, config.out / "importance", jobs=config.jobs),
        classes=read_classes(config.panel) if config.panel is not None else None,
        static=static_agents(folder.leaderboard()),
    )


def quick(config: DmnStudy) -> DmnStudy:
    """The same study with a budget of a minute or two."""
    models = config.models if set(config.models) != set(DmnStudy.models) else QUICK_MODELS
    begin, test_from = ("2008-01-01", "2013-01-01") if config.panel is None else (None, config.test_from)
    return replace(config, models=models, draws=1, other_draws=1, seeds=1, begin=begin, test_from=test_from)


def search_of(config: DmnStudy, model: str) -> Search:
    """The trials of one model: its agent, its budget and its number of draws."""
    execution: Execution = "late" if is_late_trained(model) else "on-time"
    agent, options = as_the_paper_trades(model), {}
    if agent == REGULARISED:
        agent, options = LSTM, {"train_cost_bps": config.turnover_bps}
    fixed: dict[str, object] = {"epochs": config.epochs, "patience": config.patience}
    if config.quick:  # one random draw may learn nothing at all: nothing is drawn, but taken as registered
        made: Any = make_agent(agent, quick=True)
        fixed = {name: getattr(made.config, name) for name in (*made.space, *fixed)}
    return Search(
        label=model,
        variant=Variant(agent, options, train_execution=execution),
        trials=range(config.draws_of(as_the_paper_trades(model))),
        seed=config.seed,
        fixed=fixed,
        vol_target=settings_of(make_agent(agent)).vol_target,
        execution_lag=config.execution_lag,
        device=config.device,
        population=config.population,
        economics=None,  # the paper chooses by the validation loss
    )


def read_classes(panel_folder: Path) -> pd.DataFrame | None:
    """Instrument and asset class from a panel folder's `meta` table, None where it has no classes.

    Columns: `instrument` (or `asset`), and `class`, `dmn_class` or `asset_class`.

    Raises:
        DataError: a file that cannot be read, or an empty entry in one of both columns.
    """
    for name in ("meta.parquet", "meta.csv"):
        path = panel_folder / name
        if not path.is_file():
            continue
        meta = read_table(path)
        column = next((c for c in CLASS_COLUMNS if c in meta), None)
        instrument = next((c for c in ("instrument", "asset") if c in meta), None)
        if column is not None and instrument is not None:
            classes = meta[[instrument, column]].drop_duplicates()
            _refuse_empty(path, classes)
            return classes.set_axis(["instrument", "class"], axis=1)
    return None


def _refuse_empty(path: Path, table: pd.DataFrame) -> None:
    """Refuse a table of names in which one is missing."""
    empty = (table.isna() | (table == "")).to_numpy()
    if empty.any():
        row, column = np.argwhere(empty)[0]
        raise DataError(
            f"{path}: column {table.columns[column]!r}, row {table.index[row] + 1}: empty, expected a name "
            f"({int(empty.sum())} such entries). Fill them in, or remove the column of classes."
        )


def _about(
    config: DmnStudy, trials: Sequence[TrialResult], chosen: Sequence[TrialResult]
) -> dict[str, object]:
    """What the study spent and chose, as it is written into its folder."""
    budget: dict[str, object] = {
        "draws per recalibration": f"{config.draws} (Sharpe-trained), {config.other_draws} (others)",
        "seeds": config.seeds,
        "epochs at most": f"{config.epochs}, patience {config.patience}",
    }
    if config.quick:
        budget = {"search": "none, all options as registered for a quick run", "seeds": config.seeds}
    about: dict[str, object] = {"budget": budget, "trials": list(trials), "chosen": list(chosen)}
    write_atomically(config.out / "study.json", (json.dumps(about, indent=2, default=str) + "\n").encode())
    return about

"""Random search by stateless draws: a trial is trained, scored on the selection block, and stored."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from agents.agent import make_agent
from agents.checkpoint import write_atomically
from agents.resuming import kept_in
from agents.space import draw, space_of
from experiments.fanout import Task, fan_out
from experiments.protocols import Fold
from experiments.store import unit_name
from experiments.units import Unit, Variant, place, trained
from qn_env.errors import ConfigError, QnError


@dataclass(frozen=True, kw_only=True)
class Search:
    """The trials of one agent.

    Attributes:
        label: what the agent is called.
        variant: the agent and the options that are the same in every trial.
        trials: their numbers.
        seed: with a trial's number, the only chance: of the draw and of the training.
        fixed: options of every trial that replace what was drawn: the budget.
        vol_target: annualised, per asset, or None.
        execution_lag: trading days between a decision and its trade.
    """

    label: str
    variant: Variant
    trials: range
    seed: int
    fixed: Mapping[str, Any] = field(default_factory=dict)
    vol_target: float | None = None
    execution_lag: int = 0

    def options(self, trial: int) -> dict[str, Any]:
        """What the trial is built with."""
        agent = make_agent(self.variant.agent, options=self.variant.options)
        drawn = draw(space_of(agent, self.variant.agent), seed=self.seed, trial=trial)
        return {**self.variant.options, **drawn, **self.fixed}

    def identity(self, trial: int, fold: Fold) -> dict[str, Any]:
        """What decides the trial's score."""
        chosen = {"options": self.options(trial), "vol_target": self.vol_target, "lag": self.execution_lag}
        blocks = [str(sorted(fold.select_start.items())), fold.train.fingerprint, fold.select.fingerprint]
        found: dict[str, Any] = json.loads(json.dumps(chosen | {"data": blocks}))
        return found

    def path(self, trial: int, window: str, folder: Path) -> Path:
        """Where the trial's result is stored."""
        return folder / f"{unit_name(self.label, self.seed, window)}-trial{trial}.json"


def search(
    searches: Sequence[Search], folds: Sequence[Fold], folder: Path, *, jobs: int | None = None
) -> list[dict[str, Any]]:
    """Run every trial in every window that has no result yet; all results, by agent, window and number.

    A trial that fails is stored with its error and a score of minus infinity: it was tried, and counts.

    Args:
        searches: what to try.
        folds: the windows; of each only the training and the selection block are looked at.
        folder: one JSON file per trial; a killed search goes on here, inside a killed training too.
        jobs: processes; default: one per core.

    Raises:
        ConfigError: the folder holds a trial of another budget or another panel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every = [(one, fold, trial) for one in searches for fold in folds for trial in one.trials]
    waiting = {}
    for one, fold, trial in sorted(every, key=lambda unit: place(unit[0].variant.agent)):
        path = one.path(trial, fold.name, folder)
        if path.exists():
            _check_same(path, one.identity(trial, fold))
        else:
            waiting[path.stem] = (one, fold, trial)
    tasks = [Task(name, partial(_try, *waiting[name], folder)) for name in waiting]
    for name, failure in fan_out(tasks, jobs).items():
        _store(*waiting[name], folder, {"score": None, "error": failure.error})
    return [_read(one.path(trial, fold.name, folder)) for one, fold, trial in every]


def best(results: Sequence[dict[str, Any]], label: str, window: str = "") -> dict[str, Any]:
    """The trial of an agent in a window with the highest score; of equal ones the first.

    Raises:
        QnError: every trial failed.
    """
    mine = [r for r in results if (r["agent"], r["window"]) == (label, window)]
    found = max(mine, key=lambda r: r["score"])
    if found["score"] == -math.inf:
        raise QnError(f"every trial of {label} failed; the first said: {mine[0]['error']}")
    return found


def _try(one: Search, fold: Fold, trial: int, folder: Path) -> None:
    """Train a trial, score it on the selection block, and store the result."""
    started = time.process_time()
    state = one.path(trial, fold.name, folder).with_suffix(".training")
    variant = replace(one.variant, options=one.options(trial))
    unit = Unit(one.label, variant, one.seed, one.vol_target, fold.name, execution_lag=one.execution_lag)
    with kept_in(state):
        agent: Any = trained(unit, fold)
    training = agent.training_
    found = {
        "score": training.best_score,
        "epochs": training.epochs,
        "best_epoch": training.best_epoch,
        "seconds": round(time.process_time() - started, 1),
    }
    _store(one, fold, trial, folder, found)
    shutil.rmtree(state, ignore_errors=True)


def _store(one: Search, fold: Fold, trial: int, folder: Path, found: Mapping[str, Any]) -> None:
    named = {"agent": one.label, "window": fold.name, "trial": trial}
    result = named | one.identity(trial, fold) | dict(found)
    write_atomically(one.path(trial, fold.name, folder), (json.dumps(result, indent=2) + "\n").encode())


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    if found["score"] is None:
        found["score"] = -math.inf
    return found


def _check_same(path: Path, identity: Mapping[str, Any]) -> None:
    stored = _read(path)
    for key, wanted in identity.items():
        if stored[key] != wanted:
            raise ConfigError(
                f"{path}: was tried with other {key}: {stored[key]}, not {wanted}. Go on with the same "
                "settings, or choose another --out."
            )

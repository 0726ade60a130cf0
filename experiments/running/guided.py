"""Searches in which earlier trials decide about later ones: what is tried next, and what is given up early.

Optuna's tree-structured Parzen estimator (Bergstra et al. 2011) chooses options by earlier scores. The median
rule (Golovin et al. 2017) ends a training whose best score so far is below the median of what earlier trials
had after as many epochs. Order matters to both: trials are taken `TOGETHER` at a time and their scores told
in the order of their numbers, whatever the number of workers. The same seed and the same version of Optuna
then give the same trials on a laptop and on a cluster; more windows, not more workers per window, make it
faster. A killed search repeats its questions and is answered from the folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal, Protocol

from agents.space import Choice, Distribution, Integer, LogUniform, Space, Uniform, draw
from experiments.running.executors import Execute
from experiments.running.protocols import Fold
from experiments.running.search import Search, Trial, run_trials
from experiments.storage.records import TrialResult
from qn_env.errors import ConfigError
from qn_env.extras import require

TOGETHER = 4
# The median rule leaves the first epochs alone, and so many trials of every window.
EPOCHS_ALONE = 5
TRIALS_ALONE = 8


class Sampler(Protocol):
    """Chooses the options of trials; the same questions and scores give the same ones."""

    def ask(self, number: int) -> dict[str, object]:
        """The values of a trial."""

    def tell(self, number: int, score: float) -> None:
        """What a trial found; minus infinity where it failed."""


def guided_search(
    one: Search,
    folds: Sequence[Fold],
    folder: Path,
    *,
    execute: Execute,
    together: Execute | None = None,
    sampler: Literal["random", "tpe"] = "tpe",
    prune: bool = False,
) -> list[TrialResult]:
    """Run the trials of one agent, each window guided by its own scores; all results, by window and number.

    Args:
        one: what to try.
        folds: the windows; of each only the training and the selection block are looked at.
        folder: one JSON file per trial; a killed search goes on here.
        execute: where the trials run.
        together: where several are trained as one programme; default: as `execute`.
        sampler: "random" draws as `search` does; "tpe" needs Optuna.
        prune: whether the median rule ends trainings.

    Raises:
        ConfigError: Optuna is not installed, a distribution it does not know, or a folder that holds a trial
            of another search.
    """
    guides: list[Sampler] = [Guide(one.space, one.seed) if sampler == "tpe" else Draws(one) for _ in folds]
    by_window: dict[str, list[TrialResult]] = {fold.name: [] for fold in folds}
    for numbers in _portions(one.trials):
        trials = []
        for fold, guide in zip(folds, guides, strict=True):
            bars = medians([result.get("curve", ()) for result in by_window[fold.name]]) if prune else ()
            trials += [Trial(one, n, fold, one.built_with(guide.ask(n)), bars) for n in numbers]
        results = run_trials(trials, folder, execute, together=together)
        for fold, guide in zip(folds, guides, strict=True):
            mine = [result for result in results if result["window"] == fold.name]
            for result in mine:
                guide.tell(result["trial"], result["score"])
            by_window[fold.name] += mine
    return [result for fold in folds for result in by_window[fold.name]]


def medians(curves: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """By epoch, the median of the best scores so far of the trials that came so far, while they are enough.

    Args:
        curves: of each earlier trial, its best score after every epoch.
    """
    bars = []
    for epoch in range(max((len(curve) for curve in curves), default=0)):
        reached = [curve[epoch] for curve in curves if len(curve) > epoch]
        if len(reached) < TRIALS_ALONE:
            break
        bars.append(median(reached) if epoch >= EPOCHS_ALONE else -math.inf)
    return tuple(bars)


class Draws:
    """The draws of a random search; scores change nothing."""

    def __init__(self, one: Search) -> None:
        """The draws of this search."""
        self._search, self._space = one, one.space

    def ask(self, number: int) -> dict[str, object]:
        """The values of a trial."""
        return draw(self._space, seed=self._search.seed, trial=number)

    def tell(self, number: int, score: float) -> None:
        """Nothing to remember."""


class Guide:
    """Asks Optuna for options and tells it scores; the same questions and scores, the same options."""

    def __init__(self, space: Space, seed: int) -> None:
        """A new study of a space."""
        self._optuna = require("optuna", what="The sampler 'tpe'", extra="optuna")
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        sampler = self._optuna.samplers.TPESampler(seed=seed)
        self._study = self._optuna.create_study(direction="maximize", sampler=sampler)
        self._space = space
        self._distributions = {
            name: self._translate(name, distribution) for name, distribution in space.items()
        }
        self._asked: dict[int, Any] = {}

    def ask(self, number: int) -> dict[str, object]:
        """The values of a trial."""
        self._asked[number] = self._study.ask(self._distributions)
        values = self._asked[number].params
        return {name: _value(distribution, values[name]) for name, distribution in self._space.items()}

    def tell(self, number: int, score: float) -> None:
        """What a trial found; minus infinity where it failed."""
        state = self._optuna.trial.TrialState
        if score == -math.inf:
            self._study.tell(self._asked.pop(number), state=state.FAIL)
        else:
            self._study.tell(self._asked.pop(number), score)

    def _translate(self, name: str, distribution: Distribution) -> Any:
        known = self._optuna.distributions
        match distribution:
            case Choice(values):  # by place: Optuna takes plain values only
                return known.CategoricalDistribution(range(len(values)))
            case Integer(low, high):
                return known.IntDistribution(low, high)
            case Uniform(low, high):
                return known.FloatDistribution(low, high)
            case LogUniform(low, high):
                return known.FloatDistribution(low, high, log=True)
        raise ConfigError(
            f"{name} is drawn from {distribution!r}, which Optuna does not know; use the sampler random, or "
            "Choice, Integer, Uniform or LogUniform of agents.space."
        )


def _value(distribution: Distribution, value: Any) -> object:
    return distribution.values[value] if isinstance(distribution, Choice) else value


def _portions(trials: range) -> Iterator[range]:
    for begin in range(0, len(trials), TOGETHER):
        yield trials[begin : begin + TOGETHER]

"""Search over hyperparameters: a trial is trained, scored on the selection block, and stored.

A random search draws without state: a trial's options depend on the seed and its number alone, so the order
and the number of workers change nothing. `experiments.running.guided` lets earlier scores choose the next
options.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from agents.agent import Agent, make_agent
from agents.device import on_card, resolve
from agents.population.jobs import Fit
from agents.space import Space, draw, preset_space, space_of
from agents.training import Monitor, Progress, Training
from experiments.results.tables import market_days, portfolio_table
from experiments.running.executors import Execute, SharedFold, executor, share_folds
from experiments.running.fanout import Task
from experiments.running.populations import Waiting, most_together, train_in_populations
from experiments.running.protocols import Fold
from experiments.running.units import Unit, Variant, fit_of, place, settle_test_days, train_agent
from experiments.settings.config import Execution
from experiments.storage.records import TrialResult, read_trial
from experiments.storage.store import unit_name
from qn_env.errors import ConfigError, QnError
from qn_env.objectives import sharpe
from qn_env.storage import make_folder, write_sealed


@dataclass(frozen=True, kw_only=True)
class Economics:
    """What a trial is scored under: its decisions are played on the selection block, and pay for it.

    Attributes:
        cost_bps: per unit of turnover, in basis points.
        late: whether every decision is traded one trading day later.
    """

    cost_bps: float = 2.0
    late: bool = False


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
        preset: a published space by name, in place of the agent's own.
        device: where they are trained, which is no part of what they are.
        population: trainings of one programme, at most (`experiments.running.populations`).
        economics: what trials are scored under, by the net Sharpe ratio of the portfolio on the selection
            block; None: by what the agent says of itself, the best validation score in its `training_`, as
            the papers select.
    """

    label: str
    variant: Variant
    trials: range
    seed: int
    fixed: Mapping[str, object] = field(default_factory=dict)
    vol_target: float | None = None
    execution_lag: int = 0
    preset: str | None = None
    device: str = "cpu"
    population: int | None = None
    economics: Economics | None = field(default_factory=Economics)

    @property
    def train_execution(self) -> Execution:
        """When the decisions of a trial's training are traded."""
        return self.variant.train_execution or "on-time"

    @property
    def space(self) -> Space:
        """What is searched, of the agent with its fixed options: they can decide which others it has."""
        try:
            agent = make_agent(self.variant.agent, options={**self.variant.options, **self.fixed})
        except Exception:  # noqa: BLE001 - every trial will fail, and be stored with what its class says
            agent = make_agent(self.variant.agent, options=self.variant.options)
        if self.preset is not None:
            return preset_space(self.preset, agent, self.variant.agent)
        return space_of(agent, self.variant.agent)

    def options(self, trial: int) -> dict[str, object]:
        """What a trial of the random search is built with."""
        return self.built_with(draw(self.space, seed=self.seed, trial=trial))

    def built_with(self, chosen: Mapping[str, object]) -> dict[str, object]:
        """The options of a trial for which these were chosen."""
        return {**self.variant.options, **chosen, **self.fixed}


@dataclass(frozen=True)
class Trial:
    """One training: a search's number, in one window, with its options.

    Attributes:
        search: which search it is of.
        number: within the search.
        fold: the window; only the training and the selection block are looked at.
        options: what the agent is built with.
        bars: by epoch, from the first on, the least best score with which the training goes on; behind the
            last one nothing is asked for.
    """

    search: Search
    number: int
    fold: Fold
    options: Mapping[str, object]
    bars: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """Its file, without the ending."""
        return _name(self.search.label, self.search.seed, self.fold.name, self.number)

    @property
    def identity(self) -> dict[str, object]:
        """What decides its score."""
        chosen: dict[str, object] = {
            "options": dict(self.options),
            "vol_target": self.search.vol_target,
            "lag": self.search.execution_lag,
        }
        if self.search.train_execution == "late":
            chosen["train_execution"] = "late"
        if (paid := self.search.economics) is not None:
            chosen |= {"cost_bps": paid.cost_bps, "late": paid.late}
        fold = self.fold
        blocks = [str(sorted(fold.select_start.items())), fold.train.fingerprint, fold.select.fingerprint]
        bars = {"bars": list(self.bars)} if self.bars else {}
        decisive: dict[str, object] = json.loads(json.dumps(chosen | {"data": blocks} | bars))
        return decisive

    @property
    def anywhere(self) -> Callable[[Fold], Trial]:
        """The trial without its fold, which a worker has from elsewhere."""
        return partial(Trial, self.search, self.number, options=self.options, bars=self.bars)

    @property
    def unit(self) -> Unit:
        """What is trained."""
        one = self.search
        return Unit(
            one.label,
            replace(one.variant, options=self.options),
            one.seed,
            one.vol_target,
            self.fold.name,
            execution_lag=one.execution_lag,
            train_execution=one.train_execution,
            device=one.device,
        )

    @property
    def on_cpu(self) -> Trial:
        """The same on the CPU."""
        return replace(self, search=replace(self.search, device="cpu"))

    def falls_behind(self, training: Training) -> bool:
        """Whether the training is not worth going on with."""
        epochs = training.epochs
        return epochs <= len(self.bars) and training.best_score < self.bars[epochs - 1]


def search(
    searches: Sequence[Search],
    folds: Sequence[Fold],
    folder: Path,
    *,
    jobs: int | None = None,
    execute: Execute | None = None,
    together: Execute | None = None,
    keep: bool = False,
) -> list[TrialResult]:
    """Run every trial in every window that has no result yet; all results, by agent, window and number.

    A trial that fails is stored with its error and a score of minus infinity: it was tried, and counts.

    Args:
        searches: what to try.
        folds: the windows; of each only the training and the selection block are looked at.
        folder: one JSON file per trial; a killed search goes on here, inside a killed training too.
        jobs: processes of this machine; default: one per core.
        execute: where the trials run; default: these processes.
        together: where several are trained as one programme; default: as `execute`.
        keep: keep every finished training (`training_of`), for a run of the winners to go on from.

    Raises:
        ConfigError: the folder holds a trial of another budget or another panel; a device that this machine,
            whose processes run the trials, has not.
    """
    if execute is None:
        for one in searches:
            resolve(one.device)
    every = [
        Trial(one, number, fold, one.options(number))
        for one in searches
        for fold in folds
        for number in one.trials
    ]
    if execute is None:
        execute, together = executor(jobs=jobs), together_in(jobs, [one.device for one in searches])
    return run_trials(every, folder, execute, together=together, keep=keep)


def together_in(jobs: int | None, devices: Sequence[str]) -> Execute:
    """Processes for populations: a card is one process's, two would halve its memory and take turns."""
    return executor(jobs=1 if any(map(on_card, devices)) else jobs)


def training_of(result: TrialResult, seed: int, folder: Path) -> Path:
    """Where `search(..., keep=True)` keeps the training behind a result of a search with this seed."""
    return folder / f"{_name(result['agent'], seed, result['window'], result['trial'])}.training"


def run_trials(
    trials: Sequence[Trial],
    folder: Path,
    execute: Execute,
    *,
    together: Execute | None = None,
    keep: bool = False,
) -> list[TrialResult]:
    """Run the trials that have no result in the folder, long ones first; the results of all, in their order.

    Raises:
        ConfigError: the folder holds a trial of another budget or another panel.
    """
    folder = make_folder(folder).resolve()
    waiting = {}
    for trial in sorted(trials, key=lambda one: place(one.search.variant.agent)):
        path = _path(folder, trial.name)
        if path.exists():
            _check_same(path, trial.identity)
        else:
            waiting[trial.name] = trial
    folds = list({id(trial.fold): trial.fold for trial in waiting.values()}.values())
    with share_folds(folds, folder / "shared") as handles:
        of = {id(fold): handle for fold, handle in zip(folds, handles, strict=True)}
        trained = _train_together(list(waiting.values()), of, folder, together or execute)
        tasks = [
            Task(name, partial(_try, trial.anywhere, of[id(trial.fold)], folder, keep=keep))
            for name, trial in ((t.name, t.on_cpu if t.name in trained else t) for t in waiting.values())
        ]
        failures = execute(tasks)
    for name, failure in failures.items():
        _store(waiting[name], folder, {"score": None, "error": failure.error})
    return [read_trial(_path(folder, trial.name)) for trial in trials]


def _train_together(
    trials: Sequence[Trial], of: Mapping[int, SharedFold], folder: Path, execute: Execute
) -> set[str]:
    """Train the trials that can share a programme; the names of those that were."""
    if not trials:
        return set()
    one = trials[0].search
    most = most_together(one.population, one.device)
    if most == 1 and not on_card(one.device):
        return set()
    waiting = []
    for trial in trials:
        try:
            agent = trial.unit.agent()
        except Exception:  # noqa: BLE001 - its own try says why
            continue
        prepare = partial(_prepare, trial.anywhere, of[id(trial.fold)], folder)
        waiting.append(Waiting(trial.name, agent, prepare))
    return train_in_populations(waiting, one.device, most, execute)


def _prepare(trial_on: Callable[[Fold], Trial], of: SharedFold, folder: Path) -> Fit:
    """The training of a trial among others; what it leaves, the trial goes on from."""
    trial = trial_on(of.get())
    return fit_of(trial.unit, trial.fold, _monitor(trial, folder))


def best(results: Sequence[TrialResult], label: str, window: str = "") -> TrialResult:
    """The trial of an agent in a window with the highest score; of equal ones the first.

    Raises:
        QnError: every trial failed.
    """
    mine = [r for r in results if (r["agent"], r["window"]) == (label, window)]
    winner = max(mine, key=lambda r: r["score"])
    if winner["score"] == -math.inf:
        raise QnError(f"every trial of {label} failed; the first said: {mine[0]['error']}")
    return winner


def _try(
    trial_on: Callable[[Fold], Trial], of: SharedFold, folder: Path, report: Progress, *, keep: bool
) -> None:
    """Train a trial, score it on the selection block, and store the result."""
    started = time.process_time()
    trial = trial_on(of.get())
    unit = trial.unit
    agent = train_agent(unit, trial.fold, monitor=_monitor(trial, folder, report))
    training = getattr(agent, "training_", None)  # optional: of agents that train by `agents.training.train`
    outcome: dict[str, object] = {"score": _score(agent, training, unit, trial)}
    if training is not None:
        outcome |= {"epochs": training.epochs, "best_epoch": training.best_epoch}
        outcome["curve"] = list(getattr(training, "curve", ()))  # a user's agent need not keep one
    _store(trial, folder, outcome | {"seconds": round(time.process_time() - started, 1)})
    if not keep:
        shutil.rmtree(_state(trial, folder), ignore_errors=True)


def _score(agent: Agent, training: Any, unit: Unit, trial: Trial) -> float:
    """What a trained trial is ranked by; larger is better.

    Raises:
        ConfigError: it is to be ranked by its own score, and has none.
        QnError: its net returns never vary, so that they have no Sharpe ratio.
    """
    paid = trial.search.economics
    if paid is None:
        if training is None:
            raise ConfigError(f"{unit.label}: keeps no training_ whose best_score it could be ranked by.")
        return float(training.best_score)
    ratio = selection_sharpe(agent, unit, trial.fold, paid)
    if not math.isfinite(ratio):
        raise QnError(
            "its net returns on the selection block never vary, so that they have no Sharpe ratio: it never "
            "traded, or the block is too short."
        )
    return ratio


def selection_sharpe(agent: Agent, unit: Unit, fold: Fold, paid: Economics) -> float:
    """The annualised net Sharpe ratio of the portfolio of markets on the selection block.

    By the harness's own playing and settling, as a run judges the test block.
    """
    block = replace(fold, test=fold.select, test_start=fold.select_start)
    by_market = market_days(settle_test_days(agent, unit, block))
    dates = by_market.groupby("market", sort=False)["date"].agg(test_first="min", test_last="max")
    year = fold.select.bars_per_year
    days = portfolio_table(by_market, dates.reset_index(), [paid.cost_bps], bars_per_year=year)
    days = days[days["execution"] == ("late" if paid.late else "on-time")]
    net = days["net"].to_numpy()
    return float(sharpe(net, bars_per_year=year))


def _name(label: str, seed: int, window: str, number: int) -> str:
    return f"{unit_name(label, seed, window)}-trial{number}"


def _monitor(trial: Trial, folder: Path, report: Progress | None = None) -> Monitor:
    return Monitor(progress=report, ends=trial.falls_behind, checkpoints=_state(trial, folder))


def _state(trial: Trial, folder: Path) -> Path:
    """Where the training of a trial is stored."""
    return _path(folder, trial.name).with_suffix(".training")


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _store(trial: Trial, folder: Path, outcome: Mapping[str, object]) -> None:
    named = {"agent": trial.search.label, "window": trial.fold.name, "trial": trial.number}
    result = named | trial.identity | dict(outcome)
    write_sealed(_path(folder, trial.name), result)


def _check_same(path: Path, identity: Mapping[str, object]) -> None:
    stored = read_trial(path)
    for key, wanted in identity.items():
        if stored.get(key) != wanted:
            raise ConfigError(
                f"{path}: was tried with other {key}: {stored.get(key)}, not {wanted}. Go on with the same "
                "settings, or choose another --out."
            )

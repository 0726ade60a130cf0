"""`qn search`: the best options of one agent in every window of a protocol, on its selection blocks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypedDict, get_args

from tyro.constructors import PrimitiveConstructorSpec

from experiments.settings.config import (
    BY_DATES,
    UNSEEN,
    DivisionConfig,
    Executor,
    check_counts,
    take_paths,
)
from qn_env.checks import (
    MOST_COST_BPS,
    check_device,
    check_flag,
    check_is,
    check_known,
    check_number,
    check_text,
)
from qn_env.errors import ConfigError

if TYPE_CHECKING:
    from experiments.running.protocols import Fold
    from experiments.running.search import Search
    from experiments.storage.records import TrialResult

Sampler = Literal["random", "tpe"]


def read_options(text: str) -> dict[str, object]:
    """Options written as key=value,key=value; a value is JSON where it can be, else a word.

    Raises:
        ConfigError: a part without a key or a value.

    Examples:
        >>> read_options("epochs=3,learning_rate=1e-3,network=lstm,transfer=null")
        {'epochs': 3, 'learning_rate': 0.001, 'network': 'lstm', 'transfer': None}
    """
    options = {}
    for part in (word.strip() for word in text.split(",") if word.strip()):
        key, sign, value = part.partition("=")
        if not (sign and key and value):
            raise ConfigError(f"fixed: {part!r}, expected key=value, e.g. epochs=30,patience=5.")
        try:
            options[key.strip()] = json.loads(value)
        except ValueError:
            options[key.strip()] = value.strip()
    return options


OPTIONS: PrimitiveConstructorSpec[Mapping[str, object]] = PrimitiveConstructorSpec(
    nargs=1,
    metavar="KEY=VALUE,...",
    instance_from_str=lambda words: read_options(words[0]),
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=lambda value: [",".join(f"{k}={json.dumps(v)}" for k, v in value.items())],
)


@dataclass(frozen=True, kw_only=True)
class SearchConfig(DivisionConfig):
    """Try options of an agent on the selection block of every window; the test blocks are not looked at.

    Any agent that declares a `space` can be searched, your own by its import path. Every trial plays the
    selection block as a run plays the test block, and is scored by the net Sharpe ratio of the portfolio. A
    search that was killed goes on where it was, inside a training too.
    """

    agent: str
    """Registered name or import path, package.module:Class."""

    out: Path
    """Folder of the search; an unfinished one goes on where it was."""

    trials: int = 50
    """Options tried in every window."""

    seed: int = 0
    """With a trial's number, the only chance: of the draw and of the training."""

    space: str | None = None
    """A published space (quantnet2020, dmn2019, wood2022); default: the agent's own."""

    cost: float = 2.0
    """Cost per unit of turnover under which trials are scored, in basis points."""

    late: bool = False
    """Score trials with every decision traded one trading day later."""

    fixed: Annotated[Mapping[str, object], OPTIONS] = field(default_factory=dict)
    """Options of every trial, in place of what was drawn."""

    sampler: Sampler = "random"
    """random: every trial by itself, in any order; tpe (package optuna): four at a time in every window, each
    four guided by the scores before them."""

    prune: bool = False
    """End a training whose best score is below the median of earlier trials' after as many epochs; trials are
    then taken four at a time in every window, too."""

    executor: Executor = "processes"
    """Where trials run; workers elsewhere have to see --out and be started in the folder of your agent."""

    address: str | None = None
    """Of a running Dask scheduler or Ray cluster; default: one on this machine."""

    device: str = "auto"
    """Where networks are trained: cpu, cuda (the first card), cuda:N or auto (cuda where there is one).
    Signals are made on the CPU."""

    population: int | None = None
    """Trainings of one tensor programme, at most (Deep Momentum Networks, QuantNet); default: 256 on a card,
    and on the CPU every training by itself."""

    jobs: int | None = None
    """Processes on this machine; default: one per core."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol == UNSEEN:
            raise ConfigError(
                f"{UNSEEN} judges on other markets than it learns from; a search looks for options on the "
                f"selection blocks of one division by dates: take {', '.join(BY_DATES)}."
            )
        check_counts(self, "trials", "seed", "population", "jobs")
        take_paths(self, "out")
        check_text("agent", self.agent)
        for name in ("space", "address"):
            if getattr(self, name) is not None:
                check_text(name, getattr(self, name))
        check_is("fixed", self.fixed, Mapping, "options by name")
        check_known("sampler", self.sampler, get_args(Sampler))
        check_known("executor", self.executor, get_args(Executor))
        check_device("device", self.device)
        check_flag("prune", self.prune)
        check_flag("late", self.late)
        check_number("cost", self.cost, 0.0, MOST_COST_BPS, unit="a number of basis points")


def search_command(config: SearchConfig) -> int:
    """Search what a command describes, write `best.json`, and print the best trial of every window."""
    from agents.device import resolve
    from experiments.running.protocols import Protocol
    from experiments.running.runner import load_panel, without_costs
    from experiments.settings.configfile import claim_folder, write_config

    if config.address is None:  # workers elsewhere have devices of their own
        resolve(config.device)
    panel = without_costs(load_panel(config))
    folds = Protocol.of(config).folds(panel)
    claim_folder(config.out, ["search"])
    write_config(config.out / "config.json", ["search"], config)
    T, N = panel.shape
    windows = f"{len(folds)} window{'s' * (len(folds) != 1)}"
    print(f"Panel: {N} assets in {len(panel.markets)} markets, {T} days; {windows}.", flush=True)
    results = _results(config, search_of(config), folds)
    winners = write_best(results, [fold.name for fold in folds], config)
    for winner in winners:
        options = ", ".join(f"{key}={value}" for key, value in winner["options"].items())
        print(f"{winner['window'] or 'selection block'}: {options}")
    failed = sum(winner["failed"] for winner in winners)
    print(f"{len(results)} trials, {failed} failed: {config.out}")
    paid = f"net of {config.cost:g} bps{', one trading day late' if config.late else ''}"
    print(f"Best, Sharpe ratio on the selection block {paid}: " + "; ".join(map(_in_words, winners)))
    return 0


def search_of(config: SearchConfig) -> Search:
    """The trials a command describes."""
    from agents.agent import make_agent, settings_of
    from experiments.running.search import Economics, Search
    from experiments.running.units import Variant

    target = config.vol_target
    if target is None:
        target = settings_of(make_agent(config.agent)).vol_target
    return Search(
        label=config.agent,
        variant=Variant(config.agent),
        trials=range(config.trials),
        seed=config.seed,
        fixed=config.fixed,
        vol_target=target,
        execution_lag=config.execution_lag,
        preset=config.space,
        device=config.device,
        population=config.population,
        economics=Economics(cost_bps=config.cost, late=config.late),
    )


class Winner(TypedDict):
    """The best trial of a window, and the scores of all; None where a trial failed."""

    agent: str
    window: str
    trial: int
    options: dict[str, object]
    score: float
    trials: int
    failed: int
    scores: list[float | None]


def write_best(results: Sequence[TrialResult], windows: Sequence[str], config: SearchConfig) -> list[Winner]:
    """Write the best trial of every window as `best.json`, with all scores of the window.

    `experiments.statistics.recorded_trials(scores)` of a record is what the deflated Sharpe ratio of its
    winner asks for; a trial that failed is null there (minus infinity in `results`) and counts.

    Raises:
        QnError: every trial of a window failed.
    """
    from experiments.running.runner import device_record
    from experiments.running.search import best
    from qn_env.storage import write_atomically

    winners: list[Winner] = []
    for window in windows:
        scores = [result["score"] for result in results if result["window"] == window]
        known = [score if score > -math.inf else None for score in scores]
        won = best(results, config.agent, window)
        winners.append(
            {
                "agent": won["agent"],
                "window": won["window"],
                "trial": won["trial"],
                "options": won["options"],
                "score": won["score"],
                "trials": len(known),
                "failed": known.count(None),
                "scores": known,
            }
        )
    device = {"asked": config.device} if config.address is not None else device_record(config.device)
    record = {"sampler": config.sampler, "seed": config.seed, "device": device, "best": winners}
    write_atomically(config.out / "best.json", (json.dumps(record, indent=2) + "\n").encode())
    return winners


def _results(config: SearchConfig, one: Search, folds: Sequence[Fold]) -> list[TrialResult]:
    from experiments.running.executors import executor
    from experiments.running.guided import guided_search
    from experiments.running.search import search, together_in

    execute = executor(config.executor, address=config.address, jobs=config.jobs)
    together = together_in(config.jobs, [config.device]) if config.executor == "processes" else execute
    folder = config.out / "trials"
    if config.sampler == "tpe" or config.prune:
        return guided_search(
            one,
            folds,
            folder,
            execute=execute,
            together=together,
            sampler=config.sampler,
            prune=config.prune,
        )
    return search([one], folds, folder, execute=execute, together=together)


def _in_words(winner: Winner) -> str:
    window = f"{winner['window']} " if winner["window"] else ""
    return f"{window}trial {winner['trial']} ({winner['score']:.3f})"

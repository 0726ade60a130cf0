"""One unit of a run: an agent with one seed, trained, selected and judged on its own."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from agents.adapting import adapted
from agents.agent import (
    AGENTS,
    QUEUE,
    Agent,
    class_of,
    load_agent,
    make_agent,
    settings_of,
    signals_of,
    warmup_of,
    watch,
)
from agents.audit import AgentAudit, audit_agent
from agents.layers import base_of
from agents.population.jobs import Fit
from agents.training import Monitor, Progress
from experiments.running.protocols import Fold, Lessons
from experiments.running.settling import settle_block
from experiments.settings.config import MARKET, WAYS, Execution, Level, Way
from experiments.storage.store import RunFolder, unit_name
from qn_env.costs import Cost, own_costs
from qn_env.environment import TradingEnv
from qn_env.panel import Panel
from qn_env.tape import Start
from qn_env.year import bars_in


def place(agent: str) -> int:
    """An agent's place in the queue, whatever its layers: as registered, the longest trainings first."""
    base = base_of(agent)
    return AGENTS[base].queue if base in AGENTS else QUEUE


@dataclass(frozen=True)
class Variant:
    """An agent under a label of its own: which one, and options that replace its registered ones.

    Attributes:
        agent: registered name or import path.
        options: keyword arguments of its class.
        windows: further ones for single windows of a protocol, by the window's name.
        train_execution: when the decisions of its training are traded; None: as the run says.
    """

    agent: str
    options: Mapping[str, object] = field(default_factory=dict)
    windows: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    train_execution: Execution | None = None

    def at(self, window: str) -> dict[str, object]:
        """The options in a window."""
        return {**self.options, **self.windows.get(window, {})}


@dataclass(frozen=True)
class Unit:
    """What is run: `label` names it in every table.

    With `after`, a window of the same agent and seed, the training begins at the weights that one ended with.
    `way` is what it knows of the markets it is judged on, where a fold learns from others (`unseen`); few
    shots are learnt by the agent that the unit of zero shots has trained. None: it learns from the markets it
    is judged on, or is a rule.
    """

    label: str
    variant: Variant
    seed: int
    vol_target: float | None
    window: str = ""  # the fold's name
    quick: bool = False
    execution_lag: int = 0
    train_execution: Execution = "on-time"
    train_costs: Level | None = None  # None: as the agent asks for
    scalars: bool = False
    after: str | None = None
    device: str = "cpu"  # where it is trained
    way: Way | None = None

    @property
    def name(self) -> str:
        """Its folder."""
        return unit_name(self.label, self.seed, self.window)

    @property
    def train_lag(self) -> int:
        """Days between a decision and its trade in the training."""
        return self.execution_lag + (self.train_execution == "late")

    @property
    def predecessor(self) -> str | None:
        """The folder of the unit at whose weights it begins; None: from scratch."""
        if self.way == "few-shot":
            return self.zero_shot.name
        return None if self.after is None else unit_name(self.label, self.seed, self.after)

    @property
    def zero_shot(self) -> Unit:
        """The unit that trains the agent of this one, which learns from a few days more."""
        assert self.way == "few-shot"
        return replace(self, label=self.label.removesuffix(WAYS[self.way]), way="zero-shot")

    def agent(self) -> Agent:
        """The agent, untrained."""
        options = self.variant.at(self.window)
        return make_agent(self.variant.agent, quick=self.quick, options=options, device=self.device)


def run_chain(
    units: Sequence[Unit], folds: Mapping[str, Fold], folder: RunFolder, report: Progress | None = None
) -> None:
    """Run units one after the other, each of which may begin where the one before ended.

    The first error ends it; what was finished by then stays. Folds of markets have many panels each, no two
    of them alike: what is computed of them is not kept for other units.
    """
    folds = {name: fold if fold.own is None else fold.afresh() for name, fold in folds.items()}
    for unit in units:
        run_unit(unit, folds[unit.window], folder, report)


def run_unit(unit: Unit, fold: Fold, folder: RunFolder, report: Progress | None = None) -> None:
    """Train, audit and play the test block, and store what it earned and how it decided.

    The training's state lies in the unit's folder until then: a unit that was killed goes on from it.

    Raises:
        LookAheadError: the agent's decisions depend on later days; it has no figures then.
    """
    earlier = _earlier(unit, folder)
    agent = train_agent(unit, fold, earlier, monitor=monitor_of(unit, folder, report))
    days, audit = evaluate(agent, unit, fold)
    folder.write_audit(unit.name, audit)
    folder.write_unit(unit.name, days, agent)
    shutil.rmtree(folder.training(unit.name), ignore_errors=True)


def monitor_of(unit: Unit, folder: RunFolder, report: Progress | None = None) -> Monitor:
    """Who watches a unit's training, and where its state is stored."""
    scalars = folder.path / "tensorboard" / unit.name if unit.scalars else None
    return Monitor(progress=report, checkpoints=folder.training(unit.name), scalars=scalars)


def prepare_unit(unit: Unit, fold: Fold, folder: RunFolder) -> Fit:
    """The training of a unit among others; what it leaves, the unit goes on from."""
    return fit_of(unit, fold, monitor_of(unit, folder))


def train_agent(
    unit: Unit, fold: Fold, earlier: Agent | None = None, *, monitor: Monitor | None = None
) -> Agent:
    """The unit's agent, fitted to the training block and selected on the next.

    Where it learns from other markets than it is judged on, it is adapted to the latter.

    Args:
        unit: which agent, and its seed.
        fold: the blocks.
        earlier: a trained agent at whose weights the training begins, or that learns from a few days; None:
            from scratch.
        monitor: of the training, for an agent that has one; None: its own.
    """
    if unit.way == "few-shot":
        earlier = train_agent(unit.zero_shot, fold) if earlier is None else earlier
        return _shown(_after_few(earlier, unit, fold, monitor), unit, fold)
    fit = fit_of(unit, fold, monitor)
    if earlier is not None and (start_from := getattr(fit.agent, "start_from", None)) is not None:
        start_from(earlier)
    trained: Agent = fit.agent.fit(fit.env, seed=fit.seed, validation=fit.validation)
    return trained if unit.way is None else _shown(trained, unit, fold)


def fit_of(unit: Unit, fold: Fold, monitor: Monitor | None = None) -> Fit:
    """The unit's agent, untrained, and what its `fit` is called with; arguments as of `train_agent`."""
    agent = unit.agent()
    if monitor is not None:
        watch(agent, monitor)
    if fold.own is not None and unit.way is None:  # a rule, which is shown the markets that it plays
        return Fit(agent, training_environment(unit, agent, fold.own.known, None), unit.seed, None)
    if fold.own is not None and unit.way == "trained":
        return _lessons(unit, agent, fold.own.together)
    return _lessons(unit, agent, fold.lessons)


def _lessons(unit: Unit, agent: Agent, lessons: Lessons) -> Fit:
    """What an agent learns from and is selected on."""
    train = training_environment(unit, agent, lessons.train, lessons.train_start)
    select = training_environment(unit, agent, lessons.select, lessons.select_start)
    return Fit(agent, train, unit.seed, select)


def _after_few(agent: Agent, unit: Unit, fold: Fold, monitor: Monitor | None) -> Agent:
    """An agent that has learnt from a few days of the markets it is judged on, on the CPU."""
    assert fold.own is not None
    assert fold.own.few is not None
    if monitor is not None:
        watch(agent, monitor)
    few = _lessons(unit, agent, fold.own.few)
    return adapted(agent, few.env, seed=few.seed, learn=True, validation=few.validation)


def _shown(agent: Agent, unit: Unit, fold: Fold) -> Agent:
    """An agent for the markets it is judged on, which learns nothing of them but where their assets stand."""
    assert fold.own is not None
    env = training_environment(unit, agent, fold.own.known, None)
    return adapted(agent, env, seed=unit.seed, learn=False)


def training_environment(unit: Unit, agent: Agent, panel: Panel, start: Start) -> TradingEnv:
    """What the unit's agent learns from or is selected on: under the costs and the delay of its training."""
    level = unit.train_costs if unit.train_costs is not None else settings_of(agent).train_cost_bps
    flat, own = (0.0, own_costs(panel)) if level == MARKET else (float(level), ())
    return environment(unit, agent, panel, start, flat, lag=unit.train_lag, costs=own)


def takes_a_start(agent: Agent) -> bool:
    """Whether an agent's training can begin at the weights of an earlier one."""
    return hasattr(agent, "start_from")


def _earlier(unit: Unit, folder: RunFolder) -> Agent | None:
    """The finished agent at whose weights a unit begins, from its checkpoint; None: there is none.

    Few shots are learnt by an agent of zero shots that keeps no checkpoint, too: it is trained again.
    """
    if unit.predecessor is None:
        return None
    checkpoint = folder.checkpoint(unit.predecessor)
    if unit.way == "few-shot" and (checkpoint is None or not hasattr(class_of(unit.variant.agent), "load")):
        return None
    return load_agent(unit.variant.agent, folder.check_unit(unit.predecessor) / "checkpoint")


def evaluate(agent: Agent, unit: Unit, fold: Fold) -> tuple[pd.DataFrame, AgentAudit]:
    """Gross return and turnover of every asset on every day of its market's test block, and the audit.

    Nothing is settled before the agent has passed the look-ahead audit, and what is settled are the signals
    of the audit's first pass.

    Returns:
        The days as `settle_block` gives them, and how the agent was audited.

    Raises:
        LookAheadError: it did not pass.
    """
    env = evaluation_environment(unit, agent, fold)
    audit = audit_agent(agent, env, seed=unit.seed)
    return settle_block(env.tape, fold, audit.signals), audit


def settle_test_days(agent: Agent, unit: Unit, fold: Fold) -> pd.DataFrame:
    """The days of `evaluate`, of an agent that was audited there: as a variant of it that sees less."""
    env = evaluation_environment(unit, agent, fold)
    return settle_block(env.tape, fold, signals_of(agent, fold.test, env))


def evaluation_environment(unit: Unit, agent: Agent, fold: Fold) -> TradingEnv:
    """The environment of a unit's test block: each asset's own costs where the panel has them, else none.

    Costs in basis points are charged afterwards, from the turnover.
    """
    return environment(unit, agent, fold.test, fold.test_start, 0.0, costs=own_costs(fold.test))


def environment(
    unit: Unit,
    agent: Agent,
    panel: Panel,
    start: Start,
    cost_bps: float,
    *,
    lag: int | None = None,
    costs: Sequence[Cost] = (),
) -> TradingEnv:
    """What the agent asks for, on a panel: from `start` on after its warm-up, or from the first day.

    Args:
        unit: the agent's settings in the run.
        agent: the agent.
        panel: the data.
        start: first day that counts.
        cost_bps: basis points per unit of turnover.
        lag: days between a decision and its trade; default: the run's.
        costs: further ones.
    """
    settings = settings_of(agent)
    return TradingEnv(
        panel,
        window=settings.window,
        features=settings.features,
        vol_target=unit.vol_target,
        cost_bps=cost_bps,
        costs=costs,
        start=start,
        warmup=_warmup_bars(agent, panel) if start is not None else 0,
        execution_lag=unit.execution_lag if lag is None else lag,
    )


def _warmup_bars(agent: Agent, panel: Panel) -> int:
    """So many rows for windows, which count them, and so much time for spans of features, which do not."""
    days = warmup_of(agent)
    return max(days, bars_in(days, panel.bars_per_year, 0))

"""`qn audit`: the audit of a panel's data, then of look-ahead in an environment or an agent, to be read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

from experiments.running.terminal import EXIT_LOOKAHEAD
from experiments.settings.config import NAMES, Kind, RunConfig, check_counts, check_target, take_paths
from qn_env.checks import (
    MOST_AUDITED,
    MOST_COST_BPS,
    check_flag,
    check_is,
    check_known,
    check_names,
    check_number,
    check_text,
    check_whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from agents.audit import AgentAudit, Comparison
    from experiments.running.protocols import Fold, Protocol
    from experiments.running.units import Unit
    from qn_env.arrays import FloatArray
    from qn_env.environment import TradingEnv
    from qn_env.panel import Panel


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a panel's data do to a figure; then whether anything knows the future.

    First the data: closes that are not taken at one moment, stale and bad prices, splits, duplicates, dates,
    survivors. Then everything after random days is changed, and what is seen, paid or decided by then must
    not change: in the environment or, with --agent (without the data), in an agent.
    """

    agent: str | None = None
    """Audit this agent, a registered name or an import path package.module:Class, after a quick training on
    all but the last days of the panel. It brings its own window, and the costs do not matter."""

    refit: bool = False
    """With --agent: also train it again with the days after its training and selection blocks changed."""

    data_only: bool = False
    """Only the data."""

    panel: Path | None = None
    """Folder of Parquet or CSV files; default: the embedded panel."""

    kind: Kind | None = None
    """What the panel's files hold, where their names do not say it (default: prices)."""

    bars_per_year: float | None = None
    """Rows of the panel in a year; default: as its dates say, 252 where they are not plain."""

    exclude: Annotated[tuple[str, ...], NAMES] = ()
    """Markets to leave out."""

    window: int = 63
    """Days an observation shows."""

    vol_target: float | None = None
    """Annualised volatility target per asset (0.15 is 15%); default: none, or what the agent asks for."""

    costs_bps: float = 2.0
    """Cost per unit of turnover, in basis points."""

    days: int = 3
    """Random days after which the panel is changed."""

    seed: int = 0
    """Of the days, the changes and the actions; and of the agent's training."""

    def __post_init__(self) -> None:
        if self.agent is not None:
            check_text("agent", self.agent)
        check_flag("refit", self.refit)
        check_flag("data_only", self.data_only)
        take_paths(self, "panel")
        check_names("exclude", self.exclude)
        if self.kind is not None:
            check_known("kind", self.kind, get_args(Kind))
        check_counts(self, "window", "seed")
        check_whole("days", self.days, 1, MOST_AUDITED)
        check_number("costs_bps", self.costs_bps, 0.0, MOST_COST_BPS, unit="a number of basis points")
        check_target(self.vol_target)


def audit(config: Audit) -> int:
    """Audit what a command describes and print the verdict; 0 when it passes, else 3.

    Raises:
        ConfigError: options that contradict each other.
        DataError: numbers that are no returns, of which no figure means anything.
    """
    from qn_env.errors import ConfigError

    if config.agent is not None:
        if config.data_only:
            raise ConfigError("data_only leaves the agent out; give it or --agent.")
        return _audit_agent(config, config.agent)
    if config.refit:
        raise ConfigError("refit says to train an agent again; it needs --agent.")
    if config.data_only:
        _audit_data(_panel(config))
        return 0
    from qn_env.audit import check_no_lookahead

    env = build(config)
    _audit_data(env.panel)
    report = check_no_lookahead(env, days=config.days, seed=config.seed)
    print(report)
    return 0 if report.passed else EXIT_LOOKAHEAD


def _audit_data(panel: Panel) -> None:
    """Print what the data do to a figure.

    Raises:
        DataError: some of the numbers are no returns.
    """
    from qn_env.errors import DataError, few
    from qn_env.panel_audit import audit_panel

    _print_panel(panel)
    found = audit_panel(panel)
    print(found, flush=True)
    if found.errors:
        names = few(f"{one.market}/{name} ({one.kind})" for one in found.errors for name in one.assets)
        raise DataError(f"{names}: these are no returns, and no figure made of them means anything.")


def build(config: Audit) -> TradingEnv:
    """The environment a command describes."""
    from qn_env.environment import TradingEnv

    return TradingEnv(
        _panel(config), window=config.window, vol_target=config.vol_target, cost_bps=config.costs_bps
    )


def check_agent(
    name: str,
    panel: Panel,
    *,
    days: int = 3,
    seed: int = 0,
    vol_target: float | None = None,
    refit: bool = False,
) -> AgentAudit:
    """Train an agent quickly on the holdout protocol's blocks of a panel and audit it on the last one.

    Args:
        name: registered name or import path `package.module:Class`.
        panel: the data.
        days: random days of the test block after which the panel is changed, in every way after each.
        seed: of the training, the days and the changes.
        vol_target: annualised, per asset; None: what the agent asks for.
        refit: also train it again with the test block changed; it has to be the same agent.

    Raises:
        LookAheadError: it did not pass; with the first day and asset on which it decided otherwise.
        ConfigError: an agent that cannot be built, no day, a negative seed.
        DataError: a panel too short to train on.
    """
    from agents.agent import make_agent, settings_of
    from agents.audit import audit_agent, check_numbers
    from experiments.running.protocols import Protocol
    from experiments.running.units import Unit, Variant, evaluation_environment, train_agent
    from qn_env.panel import Panel

    check_text("name", name)
    check_is("panel", panel, Panel, "a Panel")
    check_numbers(days, seed)
    check_target(vol_target)
    check_flag("refit", refit)
    target = vol_target if vol_target is not None else settings_of(make_agent(name)).vol_target
    unit = Unit(name, Variant(name), seed, target, quick=True)
    division = Protocol()
    fold = division.folds(panel)[0]
    agent = train_agent(unit, fold)
    verdict = audit_agent(
        agent, evaluation_environment(unit, agent, fold), days=days, seed=seed, depth="full"
    )
    if not refit:
        return verdict
    return replace(
        verdict, comparisons=(*verdict.comparisons, check_refit(unit, fold, panel, division, verdict.signals))
    )


def check_refit(unit: Unit, fold: Fold, panel: Panel, division: Protocol, signals: FloatArray) -> Comparison:
    """Train a unit again, on a panel whose days after each market's selection block are changed.

    The blocks are cut anew from the changed panel, so that a protocol that lets later days into a training
    is found, too.

    Args:
        unit: the agent and its seed.
        fold: what it was trained and judged on, one of `division.folds(panel)`.
        panel: the whole data.
        division: the protocol.
        signals: [T, N] what the agent decided on `fold.test`.

    Raises:
        LookAheadError: another agent came out; or it does on unchanged data, too.
    """
    from agents.agent import signals_of
    from agents.audit import REPEAT, compare_decisions
    from experiments.running.units import evaluation_environment, train_agent
    from qn_env.errors import LookAheadError

    env = evaluation_environment(unit, unit.agent(), fold)

    def compare(learnt: Fold, what: str, verdict: str) -> Comparison:
        again = signals_of(train_agent(unit, learnt), fold.test, env)
        return compare_decisions(env, signals, again, what, verdict)

    ends = {name: fold.select.dates[market.rows[-1]] for name, market in fold.select.markets.items()}
    other = {f.name: f for f in division.folds(_changed_after(panel, ends, unit.seed))}[fold.name]
    try:
        return compare(
            other,
            "from an agent trained with the days after every market's selection block changed",
            "Look-ahead: what the agent learns depends on days after its training and selection blocks.",
        )
    except LookAheadError:
        # Chance that is not the seed's changes an agent as well.
        compare(fold, "from an agent trained again on the same days with the same seed", REPEAT)
        raise


def _audit_agent(config: Audit, name: str) -> int:
    from qn_env.errors import LookAheadError

    panel = _panel(config)
    _print_panel(panel)
    try:
        verdict = check_agent(
            name,
            panel,
            days=config.days,
            seed=config.seed,
            vol_target=config.vol_target,
            refit=config.refit,
        )
    except LookAheadError as error:
        print(f"Agent {name}: {error}")
        return EXIT_LOOKAHEAD
    print(f"Agent {name}: {verdict}")
    return 0


def _changed_after(panel: Panel, ends: Mapping[str, np.datetime64], seed: int) -> Panel:
    """The panel with everything changed after a day of each market; dates and calendars stay."""
    from qn_env.arrays import read_only
    from qn_env.scramble import KINDS, scramble

    returns, tradable = panel.returns.copy(), panel.tradable.copy()
    for day in sorted(set(ends.values())):
        other = scramble(panel, day, KINDS[1], seed)
        for columns in (panel.markets[name].columns for name, end in ends.items() if end == day):
            returns[:, columns], tradable[:, columns] = other.returns[:, columns], other.tradable[:, columns]
    return replace(panel, returns=read_only(returns), tradable=read_only(tradable))


def _panel(config: Audit) -> Panel:
    from experiments.running.runner import load_panel

    return load_panel(
        RunConfig(
            panel=config.panel,
            kind=config.kind,
            bars_per_year=config.bars_per_year,
            exclude=config.exclude,
        )
    )


def _print_panel(panel: Panel) -> None:
    print(f"Panel: {panel.about}.", flush=True)

"""The configuration of a run: frozen, checked, written into its folder."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from tyro.constructors import PrimitiveConstructorSpec

from qn_env.errors import ConfigError, did_you_mean

DEFAULT_AGENTS = (
    "quantnet",
    "quantnet-shared",
    "no-transfer-lstm",
    "dmn-lstm-sharpe",
    "ppo",
    "buy-and-hold",
    "risk-parity",
    "ts-momentum",
    "cs-momentum",
    "long-only",
    "sgn-returns",
    "macd",
)
PROTOCOLS = ("holdout", "expanding", "rolling")
# On which days a block is counted: those of each market, or all dates of the panel.
Calendar = Literal["market", "union"]
CALENDARS: tuple[Calendar, ...] = get_args(Calendar)
SEEDS = 5  # fewer, and a learnt agent's figures are not comparable
QUICK_SEEDS = 2
# Settings that change no figure of a run; its data are recorded by their fingerprint.
WITHOUT_EFFECT = ("out", "jobs", "panel", "risk_free", "tensorboard", "resume")

if TYPE_CHECKING:
    from experiments.protocols import Protocol

# How a comma-separated list is read from the command line.
NAMES: PrimitiveConstructorSpec[tuple[str, ...]] = PrimitiveConstructorSpec(
    nargs=1,
    metavar="NAME,...",
    instance_from_str=lambda words: tuple(w.strip() for w in words[0].split(",") if w.strip()),
    is_instance=lambda value: isinstance(value, tuple),
    str_from_instance=lambda value: [",".join(value)],
)
COUNTS: PrimitiveConstructorSpec[tuple[int, ...]] = PrimitiveConstructorSpec(
    nargs=1,
    metavar="N,...",
    instance_from_str=lambda words: tuple(int(w) for w in words[0].split(",") if w.strip()),
    is_instance=lambda value: isinstance(value, tuple),
    str_from_instance=lambda value: [",".join(str(v) for v in value)],
)
NUMBERS: PrimitiveConstructorSpec[tuple[float, ...]] = PrimitiveConstructorSpec(
    nargs=1,
    metavar="BPS,...",
    instance_from_str=lambda words: tuple(float(w) for w in words[0].split(",") if w.strip()),
    is_instance=lambda value: isinstance(value, tuple),
    str_from_instance=lambda value: [",".join(f"{v:g}" for v in value)],
)


@dataclass(frozen=True, kw_only=True)
class PanelConfig:
    """Which data; runs and studies are this and more."""

    panel: Path | None = None
    """Folder of Parquet or CSV files; default: the embedded panel."""

    kind: Literal["prices", "returns"] | None = None
    """What the panel's files hold, where their names do not say it (default: prices)."""

    exclude: Annotated[tuple[str, ...], NAMES] = ()
    """Markets to leave out."""

    risk_free: Path | None = None
    """CSV or Parquet file of risk-free rates, subtracted from the returns; default: returns as given."""

    rate: str = "rf"
    """The column of that file."""

    rate_unit: Literal["fraction-a-day", "percent-a-year"] = "fraction-a-day"
    """What its numbers are."""

    def __post_init__(self) -> None:
        if self.kind is not None and self.panel is None:
            raise ConfigError("kind says what a panel's files hold; it needs --panel.")


@dataclass(frozen=True, kw_only=True)
class DivisionConfig(PanelConfig):
    """How the data are divided into blocks, and how every agent trades them."""

    protocol: str = "holdout"
    """holdout: the last 752 days to test, the 752 before them to select, the rest to learn from; expanding:
    years to test after everything before them, again and again; rolling: after the last years before them."""

    calendar: Calendar = "market"
    """What the days of a block are counted on: each market's own trading days, or the dates of all markets
    together, so that every market's blocks begin at the same dates."""

    begin: str | None = None
    """First day of the data that is used, YYYY-MM-DD; default: all."""

    test_from: str | None = None
    """First test day of expanding and rolling, YYYY-MM-DD; default: --test-years after the first day."""

    test_years: int = 5
    """Years of each of their test blocks."""

    train_years: int = 10
    """Years before a test block that rolling learns from."""

    purge: int = 0
    """Trading days left out at the end of a training and of a selection block."""

    embargo: int = 0
    """Trading days left out at the beginning of a selection and of a test block."""

    execution_lag: int = 0
    """Trading days between a decision and its trade: 0 is the close it is decided at, 1 the next one."""

    vol_target: float | None = None
    """Annualised volatility target per asset for all (0.15 is 15%); default: what each agent's paper says."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_known("protocol", self.protocol, PROTOCOLS)
        check_known("calendar", self.calendar, CALENDARS)
        spans = (("test_years", 1), ("train_years", 1), ("purge", 0), ("embargo", 0), ("execution_lag", 0))
        for name, least in spans:
            check_least(name, getattr(self, name), least)
        # The bounds are written so that NaN fails them.
        if self.vol_target is not None and not 0.0 < self.vol_target < math.inf:
            raise ConfigError(f"vol_target is {self.vol_target}, expected a volatility > 0, e.g. 0.15.")

    @property
    def division(self) -> Protocol:
        """How the panel is divided."""
        from experiments.protocols import Protocol

        return Protocol(
            name=self.protocol,
            calendar=self.calendar,
            begin=self.begin,
            test_from=self.test_from,
            years=self.test_years,
            train_years=self.train_years,
            purge=self.purge,
            embargo=self.embargo,
        )


@dataclass(frozen=True, kw_only=True)
class RunConfig(DivisionConfig):
    """One comparison of agents over a panel, out of sample and after costs."""

    agents: Annotated[tuple[str, ...], NAMES] = DEFAULT_AGENTS
    """Registered names or import paths, package.module:Class."""

    costs: Annotated[tuple[float, ...], NUMBERS] = (0.0, 2.0)
    """Costs per unit of turnover, in basis points."""

    seeds: int | None = None
    """Seeds of each learnt agent; default: 5, with --quick 2."""

    seed: int = 0
    """The first of these seeds."""

    quick: bool = False
    """Short trainings; the result is marked as not comparable."""

    warm_start: bool = False
    """Begin the training of a window at the weights with which the window before ended (expanding, rolling);
    default: from scratch."""

    tensorboard: bool = False
    """Write the scalars of every training into the run folder, for TensorBoard."""

    jobs: int | None = None
    """Processes; default: one per core."""

    out: Path | None = None
    """Run folder, which must not exist unless --resume is given; default: runs/ and the time."""

    resume: bool = False
    """Go on with the run that was begun in --out, if any; no finished unit is run again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.agents:
            raise ConfigError("agents is empty; name at least one.")
        if not self.costs:
            raise ConfigError("costs is empty; name at least one level in basis points, e.g. 0,2.")
        if self.warm_start and self.protocol == "holdout":
            raise ConfigError(
                "warm_start goes on from the window before, and holdout has one window; take expanding or "
                "rolling."
            )
        if self.resume and self.out is None:
            raise ConfigError("resume goes on with a run that was begun; it needs --out, the run's folder.")
        _unique("agents", self.agents)
        _unique("costs", self.costs)
        for cost in self.costs:  # a bound that NaN fails
            if not 0.0 <= cost < math.inf:
                raise ConfigError(f"costs: {cost} is not a number of basis points >= 0.")
        for name, least in (("seeds", 1), ("jobs", 1), ("seed", 0)):
            check_least(name, getattr(self, name), least)

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds of a learnt agent."""
        count = self.seeds if self.seeds is not None else (QUICK_SEEDS if self.quick else SEEDS)
        return tuple(range(self.seed, self.seed + count))

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out if self.out is not None else Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")


def check_least(name: str, value: int | None, least: int) -> None:
    """Refuse a number below the least one.

    Raises:
        ConfigError: with the setting's name.
    """
    if value is not None and value < least:
        raise ConfigError(f"{name} is {value}, expected at least {least}.")


def check_known(name: str, value: str, known: Iterable[str]) -> None:
    """Refuse a word that is none of the known ones.

    Raises:
        ConfigError: with the setting's name and the nearest known word.
    """
    if value not in known:
        raise ConfigError(f"unknown {name} {value!r}. {did_you_mean(value, known)}")


def _unique(name: str, values: Sequence[object]) -> None:
    double = sorted({str(v) for v in values if list(values).count(v) > 1})
    if double:
        raise ConfigError(f"{name}: {', '.join(double)} appears twice.")

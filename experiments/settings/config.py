"""The configuration of a run: frozen, checked, written into its folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from tyro.constructors import PrimitiveConstructorSpec

from qn_env.checks import (
    MOST_COST_BPS,
    MOST_DAYS,
    MOST_FIRST_SEED,
    MOST_JOBS,
    MOST_LAG,
    MOST_MONEY,
    MOST_SEEDS,
    MOST_TRIALS,
    MOST_VOLATILITY,
    MOST_WINDOW,
    MOST_YEARS,
    check_device,
    check_flag,
    check_items,
    check_known,
    check_names,
    check_number,
    check_path,
    check_text,
    check_whole,
)
from qn_env.errors import ConfigError
from qn_env.year import MOST_BARS_PER_YEAR

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

DEFAULT_AGENTS = (
    "quantnet",
    "quantnet-shared",
    "no-transfer-lstm",
    "dmn-lstm-sharpe",
    "dmn-lstm-closed",
    "ppo",
    "buy-and-hold",
    "risk-parity",
    "ts-momentum",
    "cs-momentum",
    "long-only",
    "sgn-returns",
    "macd",
)
BY_DATES = ("holdout", "expanding", "rolling")  # protocols whose windows are spans of dates
UNSEEN = "unseen"  # the one whose windows are folds of markets
PROTOCOLS = (*BY_DATES, UNSEEN)
FEWEST_FOLDS, SOME_FOLDS = 2, 5  # of markets: at least, and unless said otherwise
# What an agent knows of the markets it is judged on under `unseen`: nothing, a few days, or it is trained on
# them too. And what stands behind its name in every table.
Way = Literal["zero-shot", "few-shot", "trained"]
WAYS: Mapping[Way, str] = {"zero-shot": "", "few-shot": " few-shot", "trained": " trained"}
# On which days a block is counted: those of each market, or all dates of the panel.
Calendar = Literal["market", "union"]
CALENDARS: tuple[Calendar, ...] = get_args(Calendar)
# When what is decided at a close is traded: one trading day of the market later, or at that close.
Execution = Literal["late", "on-time"]
EXECUTIONS: tuple[Execution, ...] = get_args(Execution)
# What a panel's files hold, and what the numbers of a file of rates are; as in `qn_env.sources`, which takes
# half a second to import.
Kind = Literal["prices", "returns"]
RateUnit = Literal["fraction-a-day", "percent-a-year"]
# Where units of work run: processes of this machine, or a cluster.
Executor = Literal["processes", "dask", "ray"]
# A level of costs: basis points per unit of turnover, or what the data say that each asset costs.
Level = float | Literal["market"]
MARKET: Literal["market"] = "market"
DEFAULT_COSTS: tuple[Level, ...] = (0.0, 2.0)
IN_WORDS: Mapping[Execution, str] = {"late": "one day late", "on-time": "on time"}
IN_SHORT: Mapping[Execution, str] = {"late": "late", "on-time": "on time"}
# Least and largest value of every whole-number setting, by the name it has in all configurations.
WHOLE = {
    "seeds": (1, MOST_SEEDS),
    "seed": (0, MOST_FIRST_SEED),
    "jobs": (1, MOST_JOBS),
    "population": (1, MOST_TRIALS),
    "trials": (1, MOST_TRIALS),
    "draws": (1, MOST_TRIALS),
    "other_draws": (1, MOST_TRIALS),
    "test_years": (1, MOST_YEARS),
    "train_years": (1, MOST_YEARS),
    "purge": (0, MOST_DAYS),
    "embargo": (0, MOST_DAYS),
    "folds": (FEWEST_FOLDS, MOST_DAYS),
    "shots": (0, MOST_DAYS),
    "execution_lag": (0, MOST_LAG),
    "window": (1, MOST_WINDOW),
    "days": (1, MOST_DAYS),
    "length": (1, MOST_WINDOW),  # days of a training window
    "windows": (1, 100_000),  # per market and training step: far beyond any memory
    "steps": (1, 10**9),  # of a training: at a thousand a second, twelve days
    "epochs": (1, 1_000_000),
    "patience": (1, 1_000_000),
}
SEEDS = 5  # fewer, and a learnt agent's figures are not comparable
QUICK_SEEDS = 2
# Settings that change no figure of a run, but for its rounding (device, population); its data are recorded by
# their fingerprint, and groups by the markets of every fold.
WITHOUT_EFFECT = (
    *("out", "jobs", "panel", "risk_free", "cost_table", "tensorboard", "resume", "rank_by"),
    *("device", "population", "groups"),
)

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


MONEY: PrimitiveConstructorSpec[tuple[float, ...]] = PrimitiveConstructorSpec(
    nargs=1,
    metavar="AMOUNT,...",
    instance_from_str=lambda words: tuple(float(w) for w in words[0].split(",") if w.strip()),
    is_instance=lambda value: isinstance(value, tuple),
    str_from_instance=lambda value: [",".join(f"{v:g}" for v in value)],
)
LEVELS: PrimitiveConstructorSpec[tuple[Level, ...]] = PrimitiveConstructorSpec(
    nargs=1,
    metavar="BPS,...,market",
    instance_from_str=lambda words: tuple(_level(w.strip()) for w in words[0].split(",") if w.strip()),
    is_instance=lambda value: isinstance(value, tuple),
    str_from_instance=lambda value: [",".join(level_name(level) for level in value)],
)


LEVEL: PrimitiveConstructorSpec[Level] = PrimitiveConstructorSpec(
    nargs=1,
    metavar="BPS|market",
    instance_from_str=lambda words: _level(words[0].strip()),
    is_instance=lambda value: value == MARKET or isinstance(value, float | int),
    str_from_instance=lambda value: [level_name(value)],
)


def _level(word: str) -> Level:
    return MARKET if word == MARKET else float(word)


def level_name(level: Level) -> str:
    """A level of costs as it is named in tables: a number of basis points, or `market`.

    Examples:
        >>> level_name(2.0), level_name("market")
        ('2', 'market')
    """
    return MARKET if level == MARKET else f"{level:g}"


def in_bp(level: Level) -> str:
    """A level of costs in words.

    Examples:
        >>> in_bp(2.0), in_bp("market")
        ('2 bp', "each asset's own costs")
    """
    return "each asset's own costs" if level == MARKET else f"{level:g} bp"


@dataclass(frozen=True, kw_only=True)
class PanelConfig:
    """Which data; runs and studies are this and more."""

    panel: Path | None = None
    """Folder of Parquet or CSV files; default: the embedded panel."""

    kind: Kind | None = None
    """What the panel's files hold, where their names do not say it (default: prices)."""

    bars_per_year: float | None = None
    """Rows of the panel in a year, which figures are annualised by; default: as its dates say, 252 where they
    are not plain."""

    exclude: Annotated[tuple[str, ...], NAMES] = ()
    """Markets to leave out."""

    cost_table: Path | None = None
    """CSV or Parquet file of what trading each asset costs (instrument, perhaps market and date,
    half_spread_bps, commission_bps, borrow_bps, financing_bps, volume); default: the columns of the panel's
    meta."""

    cost_default: float | None = None
    """Half spread in basis points of an asset of which the data say no cost; default: it is an error."""

    risk_free: Path | None = None
    """CSV or Parquet file of risk-free rates, subtracted from the returns; default: returns as given."""

    rate: str = "rf"
    """The column of that file."""

    rate_unit: RateUnit = "fraction-a-day"
    """What its numbers are."""

    def __post_init__(self) -> None:
        take_paths(self, "panel", "risk_free", "cost_table")
        if self.cost_default is not None:
            check_number("cost_default", self.cost_default, 0.0, MOST_COST_BPS)
        take(self, "exclude", check_names("exclude", self.exclude))
        check_text("rate", self.rate)
        check_known("rate_unit", self.rate_unit, get_args(RateUnit))
        if self.kind is not None:
            check_known("kind", self.kind, get_args(Kind))
        if self.bars_per_year is not None:
            take(
                self,
                "bars_per_year",
                check_number("bars_per_year", self.bars_per_year, 1.0, MOST_BARS_PER_YEAR),
            )
        for name in ("kind", "bars_per_year"):
            if getattr(self, name) is not None and self.panel is None:
                raise ConfigError(f"{name} says what a panel's files hold; it needs --panel.")


@dataclass(frozen=True, kw_only=True)
class DivisionConfig(PanelConfig):
    """How the data are divided into blocks, and how every agent trades them."""

    protocol: str = "holdout"
    """holdout: the last 752 days to test, the 752 before them to select, the rest to learn from; expanding:
    years to test after everything before them, again and again; rolling: after the last years before them;
    unseen (qn run alone): the last days of some markets to test, after what was learnt on the others."""

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
        check_counts(self, "test_years", "train_years", "purge", "embargo", "execution_lag")
        take_days(self, "begin", "test_from")
        check_target(self.vol_target)


@dataclass(frozen=True, kw_only=True)
class RunConfig(DivisionConfig):
    """One comparison of agents over a panel, out of sample and after costs."""

    agents: Annotated[tuple[str, ...], NAMES] = DEFAULT_AGENTS
    """Registered names or import paths, package.module:Class."""

    folds: int | None = None
    """Folds of markets of unseen; as many as markets: each by itself. Default: 5, or as many as there are."""

    shots: int = 252
    """Days of a fold's own markets, before all that is judged, that few-shot learns from under unseen; 0: it
    is left out."""

    groups: str | None = None
    """The folds of unseen: a CSV or Parquet file with the columns market and group, or a column of the table
    meta in the panel's folder; default: folds of equally many markets."""

    costs: Annotated[tuple[Level, ...], LEVELS] | None = None
    """Costs per unit of turnover, in basis points, or market: what the data say that each asset costs;
    default: 0,2 and, where the data say it, market."""

    capital: Annotated[tuple[float, ...], MONEY] = ()
    """Money behind a weight of 1 in one asset, in the currency of the volumes: net Sharpe ratios are also
    told after square-root impact on so much; it needs the volume of every asset."""

    seeds: int | None = None
    """Seeds of each learnt agent; default: 5, with --quick 2."""

    seed: int = 0
    """The first of these seeds."""

    rank_by: Execution = "late"
    """The execution that ranks and stands first: late, one trading day after the decision, or on-time, at the
    close it is made at. Figures of both are written."""

    train_execution: Execution = "on-time"
    """When the decisions of a training are traded; late: agents learn for the execution that they are judged
    by, a network that never met the delay is at a disadvantage there."""

    train_costs: Annotated[Level, LEVEL] | None = None
    """Costs inside every training, in basis points, or market: each asset's own; default: what each agent is
    registered with, mostly none."""

    quick: bool = False
    """Short trainings; the result is marked as not comparable."""

    warm_start: bool = False
    """Begin the training of a window at the weights with which the window before ended (expanding, rolling);
    default: from scratch."""

    tensorboard: bool = False
    """Write the scalars of every training into the run folder, for TensorBoard."""

    device: str = "cpu"
    """Where networks are trained: cpu, cuda (the first card), cuda:N or auto (cuda where there is one).
    Signals are made on the CPU."""

    population: int | None = None
    """Trainings of one tensor programme, at most (Deep Momentum Networks, QuantNet); default: 256 on a card,
    and on the CPU every training by itself."""

    jobs: int | None = None
    """Processes; default: one per core."""

    out: Path | None = None
    """Run folder, which must not exist unless --resume is given; default: runs/ and the time."""

    resume: bool = False
    """Go on with the run that was begun in --out, if any; no finished unit is run again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        take(self, "agents", check_agents(self.agents))
        if self.costs is not None:
            take(self, "costs", check_levels(self.costs))
        if self.train_costs is not None:
            take(self, "train_costs", check_level("train_costs", self.train_costs))
        take(self, "capital", check_capital(self.capital))
        for name in ("rank_by", "train_execution"):
            check_known(name, getattr(self, name), EXECUTIONS)
        take_paths(self, "out")
        check_device("device", self.device)
        for name in ("quick", "warm_start", "tensorboard", "resume"):
            check_flag(name, getattr(self, name))
        check_counts(self, "seeds", "seed", "population", "jobs")
        check_counts(self, "folds", "shots")
        self._check_unseen()
        if self.warm_start and self.protocol == "holdout":
            raise ConfigError(
                "warm_start goes on from the window before, and holdout has one window; take expanding or "
                "rolling."
            )
        if self.resume and self.out is None:
            raise ConfigError("resume goes on with a run that was begun; it needs --out, the run's folder.")

    def _check_unseen(self) -> None:
        """Refuse what unseen cannot have, and what is for unseen alone.

        Raises:
            ConfigError: with the setting's name.
        """
        if self.groups is not None:
            check_text("groups", self.groups)
        if self.protocol == UNSEEN:
            if self.warm_start:
                raise ConfigError(
                    "warm_start goes on from the window before, and the windows of unseen are of other "
                    "markets, at other times; take expanding or rolling."
                )
            if None not in (self.folds, self.groups):
                raise ConfigError("groups are the folds; give --groups or --folds, not both.")
            return
        for name in ("folds", "groups"):
            if getattr(self, name) is not None:
                raise ConfigError(f"{name} deals markets into folds; it needs --protocol {UNSEEN}.")

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds of a learnt agent."""
        count = self.seeds if self.seeds is not None else (QUICK_SEEDS if self.quick else SEEDS)
        return tuple(range(self.seed, self.seed + count))

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out if self.out is not None else Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")


def other_execution(execution: Execution) -> Execution:
    """The one that is not this one."""
    return "on-time" if execution == "late" else "late"


def check_counts(config: DataclassInstance, *names: str) -> None:
    """Refuse whole-number settings out of their bounds; None where a setting is optional.

    Raises:
        ConfigError: with the setting's name.
    """
    optional = {field.name for field in fields(config) if field.default is None}
    for name in names:
        value = getattr(config, name)
        if value is not None or name not in optional:
            check_whole(name, value, *WHOLE[name])


def take_days(config: DataclassInstance, *names: str) -> None:
    """Keep settings that name a day as text, YYYY-MM-DD, where they were given as dates; None stays.

    Raises:
        ConfigError: with the setting's name.
    """
    from qn_env.dates import as_day

    for name in names:
        if (value := getattr(config, name)) is not None:
            take(config, name, str(as_day(value, name)))


def check_agents(agents: Iterable[str], name: str = "agents") -> tuple[str, ...]:
    """The names of agents, each once; `name` is what the setting is called.

    Raises:
        ConfigError: no name, or one that appears twice.
    """
    names = check_names(name, agents)
    if not names:
        raise ConfigError(f"{name} is empty; name at least one.")
    _unique(name, names)
    return names


def check_levels(costs: Iterable[Level]) -> tuple[Level, ...]:
    """Levels of costs, `market` among them or not.

    Raises:
        ConfigError: no cost, one that appears twice, or one that is neither.
    """
    example = "0,2,market"
    given = check_items("costs", costs, lambda one: True, f"a list of basis points, e.g. {example}")
    if not given:
        raise ConfigError(f"costs is empty; name at least one level in basis points, e.g. {example}.")
    checked = tuple(check_level("costs", one) for one in given)
    _unique("costs", checked)
    return checked


def check_level(name: str, level: Level) -> Level:
    """A level of costs: a number of basis points, or `market`.

    Raises:
        ConfigError: with the setting's name.
    """
    if isinstance(level, str) and level == MARKET:
        return MARKET
    return check_number(name, level, 0.0, MOST_COST_BPS, unit="a number of basis points")


def check_capital(capital: Iterable[float]) -> tuple[float, ...]:
    """Amounts of money above 0, each once.

    Raises:
        ConfigError: what is none.
    """
    given = check_items("capital", capital, lambda one: True, "a list of amounts, e.g. 1e6,1e8")
    amounts = tuple(check_number("capital", one, 0.0, MOST_MONEY, above=True) for one in given)
    _unique("capital", amounts)
    return amounts


def check_target(target: float | None) -> None:
    """Refuse an annualised volatility target that is none.

    Raises:
        ConfigError: not positive and finite, or beyond any volatility.
    """
    if target is not None:
        check_number("vol_target", target, 0.0, MOST_VOLATILITY, above=True, unit="a volatility, e.g. 0.15,")


def take_paths(config: DataclassInstance, *names: str) -> None:
    """Keep settings that name a file or folder as paths, where they were given as text.

    Raises:
        ConfigError: what is no path.
    """
    optional = {field.name for field in fields(config) if field.default is None}
    for name in names:
        if (value := getattr(config, name)) is not None or name not in optional:
            take(config, name, check_path(name, value))


def take(config: DataclassInstance, name: str, value: object) -> None:
    """Keep a setting of a frozen configuration in the type it is declared in."""
    object.__setattr__(config, name, value)


def _unique(name: str, values: Sequence[object]) -> None:
    double = sorted({str(v) for v in values if list(values).count(v) > 1})
    if double:
        raise ConfigError(f"{name}: {', '.join(double)} appears twice.")

"""What every study of a paper is given: data, costs and place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar

from experiments.settings.config import (
    CALENDARS,
    LEVELS,
    NAMES,
    Calendar,
    Level,
    PanelConfig,
    RunConfig,
    check_counts,
    check_levels,
    take,
    take_paths,
)
from qn_env.checks import check_device, check_flag, check_known, check_names
from qn_env.errors import ConfigError, did_you_mean

_LATE = "-trained-late"


def late_trained(model: str) -> str:
    """What a model is called that was trained with every decision traded one trading day later."""
    return model + _LATE


def as_the_paper_trades(model: str) -> str:
    """The model without that.

    Examples:
        >>> as_the_paper_trades(late_trained("quantnet"))
        'quantnet'
    """
    return model.removesuffix(_LATE)


def is_late_trained(model: str) -> bool:
    """Whether it is one of these.

    Examples:
        >>> is_late_trained(late_trained("quantnet")), is_late_trained("quantnet")
        (True, False)
    """
    return model.endswith(_LATE)


@dataclass(frozen=True, kw_only=True)
class StudyData(PanelConfig):
    """Data, costs and place of a study; `run_config` derives its runs."""

    out: Path
    """Folder of the study; an unfinished one goes on where it was."""

    PAPER_COSTS: ClassVar[tuple[float, ...]] = (0.0, 2.0, 10.0)

    costs: Annotated[tuple[Level, ...], LEVELS] | None = None
    """Costs per unit of turnover, in basis points, or market: what the data say that each asset costs;
    default: as the study's paper and, where the data say it, market. The tables show the lowest."""

    calendar: Calendar = "market"
    """What the days of a block are counted on: each market's own trading days, or the dates of all markets
    together, so that no market is trained on days on which another one is selected on."""

    execution_lag: int = 0
    """Trading days between a decision and its trade."""

    seed: int = 0
    """Of the draws, and the first of the seeds."""

    device: str = "auto"
    """Where networks are trained: cpu, cuda (the first card), cuda:N or auto (cuda where there is one).
    Signals are made on the CPU."""

    population: int | None = None
    """Trainings of one tensor programme, at most (Deep Momentum Networks, QuantNet); default: 256 on a card,
    and on the CPU every training by itself."""

    jobs: int | None = None
    """Processes; default: one per core."""

    def __post_init__(self) -> None:
        super().__post_init__()
        take_paths(self, "out")
        if self.costs is not None:
            take(self, "costs", check_levels(self.costs))
        check_known("calendar", self.calendar, CALENDARS)
        check_counts(self, "execution_lag", "seed", "population", "jobs")
        check_device("device", self.device)

    @property
    def data(self) -> dict[str, Any]:
        """Which data, as options of another configuration."""
        return {field.name: getattr(self, field.name) for field in fields(PanelConfig)}

    def run_config(self, agents: tuple[str, ...], seeds: int, *, out: str, **division: Any) -> RunConfig:
        """The run of these agents in a folder below `out`; `division` says how the panel is divided."""
        return RunConfig(
            agents=agents,
            **self.data,
            costs=self.costs,
            rank_by="on-time",  # as both papers trade
            seeds=seeds,
            seed=self.seed,
            calendar=self.calendar,
            execution_lag=self.execution_lag,
            device=self.device,
            population=self.population,
            jobs=self.jobs,
            out=self.out / out,
            **division,
        )


@dataclass(frozen=True, kw_only=True)
class JudgedLate(StudyData):
    """A study that shows beside its paper's figures what is left of them one trading day later."""

    late_models: Annotated[tuple[str, ...], NAMES] | None = None
    """Models that are searched, trained and selected once more with each decision traded one trading day
    later, for the tables beyond the paper; default: all, in a quick study none."""

    quick: bool = False
    """Minimal budgets, marked as not comparable."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flag("quick", self.quick)
        if self.late_models is not None:
            take(self, "late_models", check_names("late_models", self.late_models))

    def trained_late(self, models: Sequence[str]) -> list[str]:
        """What those of a study's models are called that are trained with the delay as well.

        Raises:
            ConfigError: a setting that names a model which the study does not have.
        """
        if self.late_models is None:
            return [] if self.quick else [late_trained(model) for model in models]
        for name in self.late_models:
            if name not in models:
                raise ConfigError(f"late_models: the study has no {name!r}. {did_you_mean(name, models)}")
        return [late_trained(model) for model in models if model in self.late_models]

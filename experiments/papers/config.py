"""What every study of a paper is given: data, costs and place."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from experiments.settings.config import (
    CALENDARS,
    NUMBERS,
    Calendar,
    PanelConfig,
    RunConfig,
    check_costs,
    check_counts,
    take,
    take_paths,
)
from qn_env.checks import check_known


@dataclass(frozen=True, kw_only=True)
class StudyData(PanelConfig):
    """Data, costs and place of a study; `run_config` derives its runs."""

    out: Path
    """Folder of the study; an unfinished one goes on where it was."""

    costs: Annotated[tuple[float, ...], NUMBERS] = (0.0, 2.0, 10.0)
    """Costs per unit of turnover, in basis points; the tables show the lowest."""

    calendar: Calendar = "market"
    """What the days of a block are counted on: each market's own trading days, or the dates of all markets
    together, so that no market is trained on days on which another one is selected on."""

    execution_lag: int = 0
    """Trading days between a decision and its trade."""

    seed: int = 0
    """Of the draws, and the first of the seeds."""

    jobs: int | None = None
    """Processes; default: one per core."""

    def __post_init__(self) -> None:
        super().__post_init__()
        take_paths(self, "out")
        take(self, "costs", check_costs(self.costs))
        check_known("calendar", self.calendar, CALENDARS)
        check_counts(self, "execution_lag", "seed", "jobs")

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
            jobs=self.jobs,
            out=self.out / out,
            **division,
        )

"""What the command of the open benchmark is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from experiments.settings.config import (
    NAMES,
    Executor,
    PanelConfig,
    check_agents,
    check_counts,
    take,
    take_paths,
)
from qn_env.checks import check_device, check_flag, check_known, check_text
from qn_env.errors import ConfigError

SuiteName = Literal["small", "full"]


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(PanelConfig):
    """Play the open benchmark: declared agents, protocols, costs and probes, in one table with a scorecard.

    Agents are judged net of costs, one trading day late, and on markets nobody trained on. Everything lies in
    one folder: benchmark.html, table.csv, scorecard.csv, record.json, and the run folder of every agent under
    every protocol. The same command goes on where it was killed; what has finished is not run again.
    """

    suite: SuiteName = "small"
    """small: under 25 minutes on two cores, reduced as it says; full: every architecture, 5 seeds, expanding
    windows and few-shot too, for hours or a cluster."""

    add: Annotated[tuple[str, ...], NAMES] = ()
    """Further agents in the same table, registered names or import paths, package.module:Class; the others
    are not run again."""

    only: Annotated[tuple[str, ...], NAMES] = ()
    """Of the suite's agents, those to run now; the table has all that have finished. Default: all."""

    out: Path | None = None
    """Folder of the benchmark; one that was begun goes on. Default: runs/benchmark- and the suite."""

    show: bool = False
    """Print the results that come with the package, and run nothing."""

    publish: Path | None = None
    """Folder into which the table, the scorecard and the record are copied under the suite's name."""

    executor: Executor = "processes"
    """Where units run (one agent, one seed, one window; one probe); workers elsewhere have to see --out and
    be started in the folder of your agent."""

    address: str | None = None
    """Of a running Dask scheduler or Ray cluster; default: one on this machine."""

    device: str = "cpu"
    """Where networks are trained: cpu, cuda (the first card), cuda:N or auto (cuda where there is one).
    Signals are made on the CPU."""

    population: int | None = None
    """Trainings of one tensor programme, at most (Deep Momentum Networks, QuantNet); default: 256 on a card,
    and on the CPU every training by itself. What is trained so has no seconds of its own."""

    jobs: int | None = None
    """Processes on this machine; default: one per core."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_known("suite", self.suite, get_args(SuiteName))
        for name in ("add", "only"):
            if names := getattr(self, name):
                take(self, name, check_agents(names, name))
        take_paths(self, "out", "publish")
        check_known("executor", self.executor, get_args(Executor))
        if self.address is not None:
            check_text("address", self.address)
        check_device("device", self.device)
        check_flag("show", self.show)
        check_counts(self, "population", "jobs")
        if self.show and (self.add or self.only or self.publish):
            raise ConfigError(
                "show prints the results that come with the package; add, only and publish are of a "
                "benchmark that is run."
            )

    @property
    def folder(self) -> Path:
        """The folder of the benchmark."""
        return self.out if self.out is not None else Path("runs") / f"benchmark-{self.suite}"

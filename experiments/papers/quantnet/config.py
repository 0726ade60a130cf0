"""What a study of QuantNet is given: data, place and budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from experiments.config import COUNTS, NAMES, NUMBERS, RunConfig
from qn_env.errors import ConfigError

LEARNT = ("quantnet", "quantnet-shared", "no-transfer-linear", "no-transfer-lstm")
RULES = ("buy-and-hold", "risk-parity", "ts-momentum", "cs-momentum")
# The six configurations of the paper's search (Table 3).
SEARCHED = (
    "no-transfer-linear",
    "no-transfer-lstm",
    "quantnet-linear-linear",
    "quantnet-linear-lstm",
    "quantnet",
    "quantnet-lstm-lstm",
)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every training may spend, printed with every table."""

    steps: int
    windows: int  # per market and step
    length: int  # days of a window
    epoch: int  # steps between two validations
    patience: int  # validations without a better score

    def options(self, agent: str) -> dict[str, Any]:
        """The budget as options of an agent.

        Shared weights take a quarter of the windows: for them each of a market's assets is an example.
        """
        windows = max(self.windows // 4, 1) if agent == "quantnet-shared" else self.windows
        return {
            "steps": self.steps,
            "batch": windows,
            "length": self.length,
            "epoch": self.epoch,
            "patience": self.patience,
        }


@dataclass(frozen=True, kw_only=True)
class _Common:
    """Data and place, the same for every part of the study."""

    out: Path
    """Folder of the study; an unfinished one goes on where it was."""

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

    costs: Annotated[tuple[float, ...], NUMBERS] = (0.0, 2.0, 10.0)
    """Costs per unit of turnover, in basis points; the tables show the lowest."""

    execution_lag: int = 0
    """Trading days between a decision and its trade."""

    seed: int = 0
    """Of the draws, and the first of the seeds."""

    steps: int = 300
    """Training steps at most; the paper takes 2,000."""

    windows: int = 16
    """Windows per market and step."""

    length: int = 63
    """Days of a window."""

    jobs: int | None = None
    """Processes; default: one per core."""

    @property
    def budget(self) -> Budget:
        """What every training may spend."""
        return Budget(steps=self.steps, windows=self.windows, length=self.length, epoch=20, patience=5)

    def run_config(self, agents: tuple[str, ...], seeds: int, *, out: str) -> RunConfig:
        """The run of these agents in a folder below `out`."""
        return RunConfig(
            agents=agents,
            panel=self.panel,
            kind=self.kind,
            exclude=self.exclude,
            risk_free=self.risk_free,
            rate=self.rate,
            rate_unit=self.rate_unit,
            costs=self.costs,
            seeds=seeds,
            seed=self.seed,
            execution_lag=self.execution_lag,
            jobs=self.jobs,
            out=self.out / out,
        )


@dataclass(frozen=True, kw_only=True)
class QuantNetStudy(_Common):
    """QuantNet beside No Transfer and the classical rules: every table and figure of the paper.

    Each learnt agent's configuration is the best of a few draws on the selection block, then trained on
    several seeds and judged on the test block. With --quick, minimal budgets, marked as not comparable, and
    the ablation (Table 7) as well.
    """

    draws: int = 4
    """Configurations tried per learnt agent."""

    seeds: int = 5
    """Seeds of the chosen configuration."""

    factors: Path | None = None
    """Daily factors for Table 6: columns date, mkt_rf, smb, hml, rmw, cma, mom, rf, fractions a day."""

    named: Annotated[tuple[str, ...], NAMES] = ()
    """Markets looked at one by one; default: the four largest."""

    quick: bool = False
    """Two draws, two seeds, 40 steps."""

    def __post_init__(self) -> None:
        for name in ("draws", "seeds", "steps", "windows", "length"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 1.")


@dataclass(frozen=True, kw_only=True)
class QuantNetAblation(_Common):
    """Table 7: the four variants at N = 10, 25, 50, 100 beside both No Transfer models."""

    seeds: int = 5
    """Seeds of every configuration."""

    dimensions: Annotated[tuple[int, ...], COUNTS] = (10, 25, 50, 100)
    """Transfer dimensions N."""

    quick: bool = False
    """One seed, N = 10 and 25, 20 steps."""


@dataclass(frozen=True, kw_only=True)
class QuantNetSearch(_Common):
    """The paper's random search: draws from Table 3 over its six configurations."""

    draws: int = 200
    """Draws in all, split evenly over the configurations."""

    agents: Annotated[tuple[str, ...], NAMES] = SEARCHED
    """The configurations."""


@dataclass(frozen=True, kw_only=True)
class QuantNetTransfer:
    """Does sharing help where it must? Small markets under one law, by sample size (Figure 5b, planted)."""

    out: Path
    """Folder of the study; an unfinished one goes on where it was."""

    days: Annotated[tuple[int, ...], COUNTS] = (250, 500, 1000, 2000)
    """Trading days of each market."""

    agents: Annotated[tuple[str, ...], NAMES] = (*SEARCHED, "quantnet-shared")
    """The models."""

    seeds: int = 10
    """Panels and trainings."""

    seed: int = 0
    """The first of them."""

    jobs: int | None = None
    """Processes; default: one per core."""

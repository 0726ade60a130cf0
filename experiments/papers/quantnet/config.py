"""What a study of QuantNet is given: data, place and budget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from experiments.papers.config import JudgedLate, StudyData
from experiments.settings.config import COUNTS, NAMES, check_agents, check_counts, take_paths
from qn_env.checks import MOST_DAYS, check_device, check_flag, check_items, check_names, check_whole
from qn_env.errors import ConfigError

LEARNT = ("quantnet", "quantnet-shared", "no-transfer-linear", "no-transfer-lstm")
RULES = ("buy-and-hold", "risk-parity", "ts-momentum", "cs-momentum", "moving-average")
# The six configurations of the paper's search (Table 3).
SEARCHED = (
    "no-transfer-linear",
    "no-transfer-lstm",
    "quantnet-linear-linear",
    "quantnet-linear-lstm",
    "quantnet",
    "quantnet-lstm-lstm",
)

MOST_DIMENSION = 10_000  # of the transfer layer: ten times the assets of the largest market


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
class _Common(StudyData):
    """The budget, the same for every part of the study."""

    steps: int = 300
    """Training steps at most; the paper takes 2,000."""

    windows: int = 16
    """Windows per market and step."""

    length: int = 63
    """Days of a window."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "steps", "windows", "length")

    @property
    def budget(self) -> Budget:
        """What every training may spend."""
        return Budget(steps=self.steps, windows=self.windows, length=self.length, epoch=20, patience=5)


@dataclass(frozen=True, kw_only=True)
class QuantNetStudy(_Common, JudgedLate):
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
        super().__post_init__()
        check_counts(self, "draws", "seeds")
        take_paths(self, "factors")
        check_names("named", self.named)


@dataclass(frozen=True, kw_only=True)
class QuantNetAblation(_Common):
    """Table 7: the four variants at N = 10, 25, 50, 100 beside both No Transfer models."""

    seeds: int = 5
    """Seeds of every configuration."""

    dimensions: Annotated[tuple[int, ...], COUNTS] = (10, 25, 50, 100)
    """Transfer dimensions N."""

    quick: bool = False
    """One seed, N = 10 and 25, 20 steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "seeds")
        _check_each("dimensions", self.dimensions, 1, MOST_DIMENSION)
        check_flag("quick", self.quick)


@dataclass(frozen=True, kw_only=True)
class QuantNetSearch(_Common):
    """The paper's random search: draws from Table 3 over its six configurations."""

    draws: int = 200
    """Draws in all, split evenly over the configurations."""

    agents: Annotated[tuple[str, ...], NAMES] = SEARCHED
    """The configurations."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "draws")
        check_agents(self.agents)


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

    device: str = "auto"
    """Where networks are trained: cpu, cuda (the first card), cuda:N or auto (cuda where there is one).
    Signals are made on the CPU."""

    jobs: int | None = None
    """Processes; default: one per core."""

    def __post_init__(self) -> None:
        take_paths(self, "out")
        _check_each("days", self.days, 1, MOST_DAYS)
        check_agents(self.agents)
        check_counts(self, "seeds", "seed", "jobs")
        check_device("device", self.device)


def _check_each(name: str, values: Any, least: int, most: int) -> None:
    """Refuse what is no list of whole numbers within bounds.

    Raises:
        ConfigError: with the setting's name.
    """
    if not check_items(name, values, lambda one: True, "a list of whole numbers"):
        raise ConfigError(f"{name} is empty; name at least one.")
    for value in values:
        check_whole(name, value, least, most)

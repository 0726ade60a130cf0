"""One unit of the probes: an agent with one seed on one probe, run anywhere, its figures in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agents.agent import make_agent
from agents.training import Progress
from experiments.probes.registry import find_probe
from experiments.probes.table import Found
from experiments.probes.trials import Build, with_progress
from qn_env.storage import check_content, read_sealed, write_sealed

# The controls: the best policy, or who learns the one number it takes; and one that does not look.
ORACLE, BLIND = "oracle", "buy-and-hold"


@dataclass(frozen=True)
class ProbeUnit:
    """One agent with one seed on one probe."""

    probe: str
    agent: str
    seed: int
    days: int
    test_days: int
    quick: bool
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Its file: all that its figures depend on."""
        quick = "-quick" if self.quick else ""
        agent = self.agent.replace(":", "--")
        return f"{self.probe}-{agent}-{self.days}-{self.test_days}days{quick}-seed{self.seed}"

    def builder(self) -> Build:
        """What builds its agent."""
        control = find_probe(self.probe).control
        if self.agent == ORACLE and control is not None:
            return control
        return partial(make_agent, self.agent, quick=self.quick, device=self.device)

    def within(self, folder: Path) -> Path:
        """Where its figures lie in a folder of such files."""
        return folder / f"{self.name}.json"


def run_probe(unit: ProbeUnit, folder: Path, report: Progress) -> None:
    """Train and play the agent of a unit, and write its figures into a folder."""
    figures = find_probe(unit.probe).figures(
        with_progress(unit.builder(), report), unit.seed, days=unit.days, test_days=unit.test_days
    )
    write_sealed(unit.within(folder), figures)


def call_of(unit: ProbeUnit, folder: Path) -> Callable[[Progress], None]:
    """The unit as a picklable call that stores its own result."""
    return partial(run_probe, unit, folder)


def found_in(folder: Path, units: Sequence[ProbeUnit]) -> list[Found]:
    """What the units that have finished found.

    Raises:
        FileError: a file is not what was written.
    """
    return [
        Found(unit.probe, unit.agent, unit.seed, read_figures(unit.within(folder)))
        for unit in units
        if unit.within(folder).exists()
    ]


def read_figures(path: Path) -> dict[str, float]:
    """What a unit has found, by measure.

    Raises:
        FileError: not what was written.
    """
    return check_content(path, read_sealed(path), dict[str, float])

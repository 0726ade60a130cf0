"""The folder of a benchmark: what was declared, and the run of every agent under every protocol.

plan.json               what is played on which data, written first; it stays what it is
runs/PROTOCOL/AGENT/    a run folder of that agent alone (`experiments.storage.store`)
probes/NAME.json        what an agent with a seed found on a probe
seconds/NAME.json       what a unit took; no other file of these depends on a clock
joint/PROTOCOL/         all runs of a protocol as one, made of them: qn report and qn compare read it
trials.csv              every agent and seed that was ever looked at
table.csv, scorecard.csv, probes.csv, record.json
seconds.json            what each agent took
benchmark.html          the page; figures/ and tables/ hold what it shows
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.storage.store import RunFolder, temporary
from qn_env.errors import ConfigError, FileError
from qn_env.storage import make_folder, read_object, write_atomically

PLAN, FORMAT = "plan.json", 1
TABLE, SCORES, PROBES, RECORD = "table.csv", "scorecard.csv", "probes.csv", "record.json"
TRIALS, SECONDS, PAGE = "trials.csv", "seconds.json", "benchmark.html"


def file_name(agent: str) -> str:
    """An agent's name as that of a folder or a file.

    Examples:
        >>> file_name("my.module:Agent+band:0.1")
        'my.module--Agent+band--0.1'
    """
    return agent.replace(":", "--")


@dataclass(frozen=True)
class BenchmarkFolder:
    """Where everything of a benchmark lies."""

    path: Path

    @classmethod
    def begin(cls, path: Path, plan: Mapping[str, object]) -> BenchmarkFolder:
        """A new folder for this plan, or the one in which it was begun.

        Args:
            path: the folder.
            plan: what is played on which data, plain values by name.

        Raises:
            ConfigError: it was begun with another plan, or holds something else.
            FileError: it cannot be made.
        """
        folder = cls(make_folder(path).resolve())
        for unfinished in folder.path.rglob(temporary("*")):  # of a process that was killed
            unfinished.unlink()
        wanted = json.loads(json.dumps(plan))
        if (folder.path / PLAN).exists():
            folder._refuse_other(wanted)
        elif any(folder.path.iterdir()):
            raise ConfigError(
                f"{path}: holds other files and no {PLAN}; choose another --out, or an empty one."
            )
        else:
            folder.write_json(PLAN, {"format": FORMAT, **wanted})
        return folder

    def _refuse_other(self, wanted: Mapping[str, object]) -> None:
        begun = read_object(self.path / PLAN)
        if begun.pop("format", None) != FORMAT:
            raise ConfigError(
                f"{self.path}: was begun by another version of qn_env, whose folders are laid out in another "
                "way. Choose another --out."
            )
        for key in sorted(begun.keys() | wanted.keys()):
            if begun.get(key) != wanted.get(key):
                raise ConfigError(
                    f"{self.path}: the benchmark there was begun with {key} = {_told(begun.get(key))}, not "
                    f"{_told(wanted.get(key))}; figures of both do not stand in one table. Go on with the "
                    "same suite and data, or choose another --out."
                )

    def run(self, protocol: str, agent: str) -> Path:
        """Where the run of an agent under a protocol lies."""
        return self.path / "runs" / protocol / file_name(agent)

    def joint(self, protocol: str) -> Path:
        """Where all runs of a protocol are put together."""
        return self.path / "joint" / protocol

    def part(self, name: str) -> Path:
        """A folder inside, made if it is not there."""
        return make_folder(self.path / name)

    def finished(self, protocol: str) -> dict[str, RunFolder]:
        """The finished runs under a protocol, by agent."""
        folders = [RunFolder(place) for place in self._places(protocol)]
        return {folder.record()["config"]["agents"][0]: folder for folder in folders if folder.finished}

    def begun(self, protocol: str) -> list[str]:
        """The agents whose run under a protocol was begun and has not finished."""
        unfinished = [place for place in self._places(protocol) if not RunFolder(place).finished]
        return sorted(name for place in unfinished if (name := _planned(place)) is not None)

    def _places(self, protocol: str) -> list[Path]:
        return sorted(place for place in (self.path / "runs" / protocol).glob("*") if place.is_dir())

    def write_json(self, name: str, content: Mapping[str, object]) -> None:
        """Write names and values, whole or not at all."""
        write_atomically(self.path / name, (json.dumps(content, indent=2) + "\n").encode())


def _planned(place: Path) -> str | None:
    """The agent of a run that was begun; None where it was killed before it said."""
    try:
        return str(read_object(place / "plan.json")["agents"][0])
    except (FileError, LookupError, TypeError):
        return None


def _told(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 300 else f"{text[:300]}..."

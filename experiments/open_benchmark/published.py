"""Results that come with the package: the table, the scorecard and the record of a suite."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from experiments.open_benchmark.folder import RECORD, SCORES, SECONDS, TABLE, BenchmarkFolder
from experiments.open_benchmark.record import BenchmarkRecord
from experiments.open_benchmark.shown import scores_with_seconds
from experiments.storage.csvfile import write_csv
from qn_env.errors import ConfigError
from qn_env.storage import check_content, make_folder, read_object, write_atomically

DIGITS = "%.6g"  # of every published figure, and of those in a benchmark's folder
TEXTS = {"protocol": str, "agent": str, "way": str, "execution": str, "cost": str, "note": str}


class Results(NamedTuple):
    """What a suite gave.

    Attributes:
        table: one row for every protocol, agent, way, execution and cost.
        scores: the scorecard, with the seconds and their score.
        record: what was played, on what, by what.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    record: BenchmarkRecord


def results_in(folder: BenchmarkFolder) -> Results:
    """The results of a benchmark that was played.

    Raises:
        FileError: a file is missing, or is not what one writes.
    """
    record = _record(folder.path / RECORD, read_object(folder.path / SECONDS))
    scores = pd.read_csv(folder.path / SCORES, dtype={"agent": str})
    return Results(read_table(folder.path / TABLE), scores_with_seconds(scores, record), record)


def read_table(source: Path | StringIO) -> pd.DataFrame:
    """A table as it was written: text where it is text, None where there is none."""
    table = pd.read_csv(source, dtype=TEXTS, keep_default_na=True)
    return table.astype(dict.fromkeys(("first_day", "static", "beats_cash", "may_be_best"), object))


def publish(results: Results, place: Path, suite: str) -> None:
    """Write SUITE.csv, SUITE-scorecard.csv and SUITE.json into a folder.

    Raises:
        FileError: it cannot be written.
    """
    make_folder(place)
    write_csv(place / f"{suite}.csv", results.table, float_format=DIGITS)
    write_csv(place / f"{suite}-scorecard.csv", results.scores, float_format=DIGITS)
    write_atomically(place / f"{suite}.json", (json.dumps(results.record, indent=2) + "\n").encode())


def published(suite: str) -> Results:
    """The results of a suite that come with the package.

    Raises:
        ConfigError: none were published yet.
    """
    place = files("experiments.open_benchmark") / "results"
    parts = {end: place / f"{suite}{end}" for end in (".csv", "-scorecard.csv", ".json")}
    if not all(part.is_file() for part in parts.values()):
        raise ConfigError(
            f"no results of the suite {suite} come with this version; play it: qn benchmark --suite {suite}"
        )
    text = {end: part.read_text(encoding="utf-8") for end, part in parts.items()}
    return Results(
        read_table(StringIO(text[".csv"])),
        pd.read_csv(StringIO(text["-scorecard.csv"]), dtype={"agent": str}),
        check_content(Path(f"{suite}.json"), json.loads(text[".json"]), BenchmarkRecord),
    )


def _record(path: Path, seconds: Mapping[str, Any]) -> BenchmarkRecord:
    return check_content(path, {**read_object(path), **seconds}, BenchmarkRecord)

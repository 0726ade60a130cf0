"""`qn benchmark`: the open benchmark, played or shown; its table and its scorecard on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.open_benchmark.config import BenchmarkConfig
from qn_env.extras import PAGE, check_installed

if TYPE_CHECKING:
    from experiments.open_benchmark.published import Results

__all__ = ["BenchmarkConfig", "benchmark"]


def benchmark(config: BenchmarkConfig) -> int:
    """Play what a configuration describes, or go on with it, and print the table and the scorecard.

    Returns:
        0; 3 where an agent saw the future, 4 where a unit failed for another reason.
    """
    from experiments.open_benchmark.benchmark import run_benchmark
    from experiments.open_benchmark.folder import PAGE as NAME
    from experiments.open_benchmark.published import publish, published
    from experiments.running.terminal import EXIT_FAILED, EXIT_LOOKAHEAD
    from qn_env.errors import LookAheadError

    if config.show:
        _print(published(config.suite))
        return 0
    check_installed(PAGE, what="The page of a benchmark")
    played = run_benchmark(config)
    _print(played.results)
    if config.publish is not None:
        publish(played.results, config.publish, config.suite)
        print(f"Published: {config.publish}")
    print(f"Table, scorecard, record and page: {played.folder.path} (open {played.folder.path / NAME})")
    print("Research, not investment advice.")
    kinds = {one.kind for one in played.troubles}
    if LookAheadError.__name__ in kinds:
        return EXIT_LOOKAHEAD
    return EXIT_FAILED if kinds else 0


def _print(results: Results) -> None:
    from experiments.open_benchmark.shown import (
        SHORT,
        as_lines,
        notes_of,
        scorecard_table,
        seconds_in_words,
        summary,
    )
    from experiments.running.terminal import print_wrapped

    record = results.record
    table = summary(results.table, results.scores, record)
    print(f"\nThe open benchmark, suite {record['suite']['name']}: {record['panel']['about']}\n")
    print(as_lines(table), end="\n\n")
    print_wrapped(table.caption)
    scores = scorecard_table(results.scores)
    print(f"\n{scores.title}, from 0 to 1 (what each is stands on the page and in record.json)\n")
    print(as_lines(scores, SHORT), end="\n\n")
    for note in (*notes_of(record), seconds_in_words(record)):
        print_wrapped(note)

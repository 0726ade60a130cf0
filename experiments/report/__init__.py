"""The report of a finished run: one HTML page and its figures, read from the run folder alone."""

from __future__ import annotations

from pathlib import Path


def write_report(folder: Path) -> Path:
    """Write `report.html`, `figures/`, `tables/` and `honesty.json` beside a run's results; the page's path.

    The same folder gives the same bytes. Plotting packages are imported here, not with this module.

    Args:
        folder: a finished run, with `run.json`, `leaderboard.parquet`, `portfolio.parquet` and
            `results.parquet`.

    Raises:
        ConfigError: no such folder.
        DataError: a file is missing, was changed, or does not hold what a run writes.
    """
    from experiments.report.figures import write_figures
    from experiments.report.page import render
    from experiments.report.trust import tables, write_tables
    from experiments.results.evidence import gather_evidence, write_record
    from experiments.results.run import read_runs
    from qn_env.storage import write_atomically

    runs = read_runs(Path(folder))
    run = next(iter(runs.values()))  # as the execution that ranks shows it
    with run.stored.consistent_files():
        evidence = {execution: gather_evidence(runs, execution) for execution in runs}
        shown = {name: tables(seen, evidence[name]) for name, seen in runs.items()}
        page = render(runs, evidence, shown)
        write_figures(run, evidence[run.execution])
        write_tables(runs, shown)
        write_record(run.folder, list(evidence.values()))
    write_atomically(run.folder / "report.html", page.encode())
    run.stored.enter("report.html", "figures", "tables", "honesty.json")
    return run.folder / "report.html"

"""The report of a finished run: one HTML page and its figures, read from the run folder alone."""

from __future__ import annotations

from pathlib import Path


def write_report(folder: Path) -> Path:
    """Write `report.html` and `figures/*.png`, `*.svg` beside a run's results; return the page's path.

    The same folder gives the same bytes. Plotting packages are imported here, not with this module.

    Args:
        folder: a finished run, with `run.json`, `leaderboard.parquet`, `portfolio.parquet` and
            `results.parquet`.
    """
    from agents.checkpoint import write_atomically
    from experiments.report.figures import write_figures
    from experiments.report.folder import read_run
    from experiments.report.page import render

    run = read_run(Path(folder))
    page = render(run)
    write_figures(run)
    write_atomically(run.folder / "report.html", page.encode())
    return run.folder / "report.html"

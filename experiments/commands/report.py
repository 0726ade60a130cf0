"""`qn report`: the page of a finished run, written again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional


@dataclass(frozen=True)
class Report:
    """Write the page and the figures of a finished run again."""

    run: Positional[Path]
    """Run folder."""


def report_again(config: Report) -> int:
    """Write the page and print where it is."""
    from experiments.report import write_report
    from experiments.running.terminal import print_wrapped
    from experiments.storage.store import RunFolder

    page = write_report(config.run)
    if (note := RunFolder(config.run).note) is not None:
        print_wrapped(f"Note: {note}")
    print(page)
    return 0

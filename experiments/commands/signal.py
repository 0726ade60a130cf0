"""`qn signal`: what a trained agent of a finished run decides on the last day of a panel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from experiments.settings.config import IN_WORDS, NAMES, PanelConfig

if TYPE_CHECKING:
    from experiments.storage.records import RunRecord


@dataclass(frozen=True, kw_only=True)
class Signal(PanelConfig):
    """Today's signals and weights of an agent of a finished run.

    The agent plays a panel to its last day, as it was trained for the run's last test block; it learns
    nothing more.
    """

    run: Path
    """Folder of the finished run."""

    agent: str
    """The agent, as the run calls it."""

    seed: int | None = None
    """Only the agent trained with this seed; default: the mean over all seeds of the run, and each."""

    positions: Path | None = None
    """CSV file of what is held (market, asset, date, weight): decided from, and written back with the new
    weights; where there is none, nothing is held yet."""

    out: Path | None = None
    """CSV file to write the table to."""

    trust: Annotated[tuple[str, ...], NAMES] = ()
    """Import paths of agents that the run may name, whose code is run; default: qn_env's own agents only."""


def signal(config: Signal) -> int:
    """Print what the agent decides on the last day of the panel, and write it where that is asked for."""
    from experiments.running.runner import load_panel
    from experiments.running.terminal import print_wrapped
    from experiments.running.today import continues, todays_signals
    from experiments.storage.csvfile import write_csv
    from experiments.storage.positions import read_positions, write_positions
    from experiments.storage.store import RunFolder

    folder, panel = RunFolder.of_finished(config.run), load_panel(config)
    if (note := folder.note) is not None:
        print(f"Note: {note}")
    held = None if config.positions is None else read_positions(config.positions, panel)
    with folder.consistent_files():
        table = todays_signals(
            folder, config.agent, panel, seed=config.seed, trust=config.trust, positions=held
        )
    record = folder.record()
    if not continues(record, panel):
        print(
            f"Note: up to {record['panel']['last']} the panel is not the data of the run (other assets, "
            "revised prices or another rate)."
        )
    print(table.to_string(index=False, na_rep="-", float_format="{:.4f}".format))
    print_wrapped(_when(record))
    if config.out is not None:
        write_csv(config.out, table)
        print(f"Written to {config.out}.")
    if config.positions is not None:
        write_positions(config.positions, table)
        print(f"Positions written to {config.positions}: what is held once these trades are done.")
    print("Research, not investment advice.")
    return 0


def _when(record: RunRecord) -> str:
    """When these weights are traded, and what the run's figures say of either."""
    from experiments.results.run import ranked_first

    lag, rank_by = record["config"]["execution_lag"], ranked_first(record)[0]
    days = {0: "at the close they are decided at", 1: "one trading day later"}
    on_time, late = (days.get(wait, f"{wait} trading days later") for wait in (lag, lag + 1))
    return (
        f"Decided at the last close. The run's figures on time assume that they are traded {on_time}, those "
        f"one day late {late}; it is ranked {IN_WORDS[rank_by]}."
    )

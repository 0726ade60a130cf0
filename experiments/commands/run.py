"""`qn run`: agents on a panel, compared; the leaderboard, the run folder and its page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from experiments.settings.config import IN_WORDS, Execution, RunConfig, in_bp
from experiments.settings.configfile import write_config
from qn_env.extras import PAGE, check_installed

if TYPE_CHECKING:
    from experiments.storage.store import RunFolder


WHEN: Mapping[Execution, str] = {
    "late": "Ranked one day late: each decision is traded at the close after the one it is made at. On time, "
    "at that very close, is what the papers assume and few can do.",
    "on-time": "Ranked on time: each decision is traded at the very close it is made at, as the papers "
    "assume and few can do. Late is one trading day later.",
}


def run_command(config: RunConfig) -> int:
    """Run what a configuration describes and print the leaderboard.

    Returns:
        0; 3 where an agent saw the future, 4 where a unit failed for another reason.
    """
    from experiments.report import write_report
    from experiments.results.leaderboard import duplicates_in_words
    from experiments.results.unseen import unseen_in_words
    from experiments.running.runner import failed_lookahead, failure_in_words, load_panel, run
    from experiments.running.terminal import EXIT_FAILED, EXIT_LOOKAHEAD, print_wrapped
    from experiments.storage.store import RunFolder

    check_installed(PAGE, what="The page of a run")
    if config.tensorboard:
        check_installed(("tensorboard",), what="Recording scalars", extra="tracking")
    panel = load_panel(config)
    print(f"Panel: {panel.about}.")
    for note in panel.notes:
        print_wrapped(f"Note: {note}")
    folder = RunFolder(run(config, panel))
    write_config(folder.path / "config.json", ["run"], config)
    folder.enter("config.json")
    _print_leaderboard(folder)
    _print_ways(folder)
    _print_findings(folder)
    record = folder.record()
    for note in unseen_in_words(record):
        print_wrapped(f"Unseen: {note}")
    failed = record["failed"]
    for note in folder.unreadable_checkpoints():
        print_wrapped(f"Note: {note}")
    for note in duplicates_in_words(record.get("duplicates", [])):
        print_wrapped(f"Note: {note}")
    for failure in failed:
        print(f"Failed: {failure_in_words(failure, folder)}")
    print(f"Results, checkpoints and page: {folder.path} (open {write_report(folder.path)})")
    print("Research, not investment advice.")
    if failed_lookahead(failed):
        return EXIT_LOOKAHEAD
    return EXIT_FAILED if failed else 0


def _print_ways(folder: RunFolder) -> None:
    """What knowing the markets is worth, of a run on markets that nobody was trained on."""
    from experiments.artefacts.columns import Column, as_text, estimate_column
    from experiments.artefacts.numbers import align_columns
    from experiments.results.run import read_run
    from experiments.results.unseen import TITLES, ways_table

    run = read_run(folder.path)
    if "unseen" not in run.about:
        return
    ways = ways_table(run.about, run.ranking(run.headline), None)
    if ways.empty:
        return
    known = [way for way in TITLES if ways[way].notna().any()]
    columns = [Column("", "agent"), *(estimate_column(TITLES[way], way, ".2f") for way in known)]
    text = as_text(ways, columns)
    print(f"What knowing the markets is worth, net of {in_bp(run.headline)}, {IN_WORDS[run.execution]}")
    print("\n".join(align_columns([list(text.columns), *text.to_numpy().tolist()])), end="\n\n")


def _print_findings(folder: RunFolder) -> None:
    """What was found in the data that weighs, a line each."""
    from experiments.report.data import warnings_of
    from experiments.running.terminal import print_wrapped

    warnings = warnings_of(folder)
    for found in warnings:
        print_wrapped(f"Data: {found.heading}: {found.where}.")
    if warnings:
        print_wrapped("What each does to a figure stands on the page, and qn audit --data-only says more.")


def _print_leaderboard(folder: RunFolder) -> None:
    from experiments.results.leaderboard import as_text
    from experiments.results.run import ranked_first
    from experiments.running.terminal import print_wrapped

    board = folder.leaderboard()
    rank_by, _ = ranked_first(folder.record())
    print(f"\n{as_text(board, rank_by)}\n")
    print_wrapped(WHEN[rank_by])
    print("* scaled ex ante to 10% volatility")
    if not board["comparable"].all():
        print("! not comparable: a quick run, or a learnt agent with fewer than 5 seeds")
    if board["static"].any():
        print_wrapped(
            "= static in part: the signals of a tenth or more of the assets never move; so far as they do "
            "not, what stands here is a fixed book, and nothing that was learnt about time"
        )
    if board["first_day"].any():
        print_wrapped(
            "^ earned on the first day: the Sharpe ratio one day late is lower than on time, by more than "
            "chance (p below 0.05, corrected for the number of agents)"
        )
    if board["basis"].iloc[0] == "markets":
        print("Figures are means over markets: too few days have half of them in their test block.")

"""The command line `qn`. Heavy modules are imported inside the commands, so that --help is quick."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from experiments.commands.audit import PEEKS, Audit, audit
from experiments.commands.compare import Compare, compare_runs
from experiments.commands.probes import Probes, probes
from experiments.commands.search import SearchConfig, search_command
from experiments.commands.signal import Signal, signal
from experiments.papers.dmn.config import DmnStudy
from experiments.papers.quantnet.config import (
    QuantNetAblation,
    QuantNetSearch,
    QuantNetStudy,
    QuantNetTransfer,
)
from experiments.running.terminal import Terminated, complain, ended_in_a_line, plain_terminal
from experiments.settings.config import RunConfig
from experiments.settings.configfile import claim_folder, with_config_file, write_config
from qn_env.errors import LookAheadError, QnError
from qn_env.storage import said


@dataclass(frozen=True)
class Report:
    """Write the page and the figures of a finished run again."""

    run: Positional[Path]
    """Run folder."""


@dataclass(frozen=True)
class Agents:
    """List the registered agents."""


Study = (
    Annotated[QuantNetStudy, tyro.conf.subcommand("quantnet", prefix_name=False)]
    | Annotated[QuantNetAblation, tyro.conf.subcommand("quantnet-table7", prefix_name=False)]
    | Annotated[QuantNetSearch, tyro.conf.subcommand("quantnet-search", prefix_name=False)]
    | Annotated[QuantNetTransfer, tyro.conf.subcommand("quantnet-transfer", prefix_name=False)]
    | Annotated[DmnStudy, tyro.conf.subcommand("dmn", prefix_name=False)]
)


@dataclass(frozen=True)
class Paper:
    """Repeat a paper's study on any panel; a study that was killed goes on where it was."""

    study: tyro.conf.OmitSubcommandPrefixes[tyro.conf.OmitArgPrefixes[Study]]


Command = (
    Annotated[RunConfig, tyro.conf.subcommand("run", prefix_name=False)]
    | Annotated[Report, tyro.conf.subcommand("report", prefix_name=False)]
    | Annotated[Compare, tyro.conf.subcommand("compare", prefix_name=False)]
    | Annotated[Signal, tyro.conf.subcommand("signal", prefix_name=False)]
    | Annotated[Agents, tyro.conf.subcommand("agents", prefix_name=False)]
    | Annotated[Audit, tyro.conf.subcommand("audit", prefix_name=False)]
    | Annotated[Probes, tyro.conf.subcommand("probes", prefix_name=False)]
    | Annotated[SearchConfig, tyro.conf.subcommand("search", prefix_name=False)]
    | Annotated[Paper, tyro.conf.subcommand("paper", prefix_name=False)]
)

# Those that take --config FILE.
CONFIGURED: dict[tuple[str, ...], type] = {
    ("run",): RunConfig,
    ("search",): SearchConfig,
    ("paper", "quantnet"): QuantNetStudy,
    ("paper", "quantnet-table7"): QuantNetAblation,
    ("paper", "quantnet-search"): QuantNetSearch,
    ("paper", "quantnet-transfer"): QuantNetTransfer,
    ("paper", "dmn"): DmnStudy,
}

DESCRIPTION = (
    "Is this trading policy any good? run, search and paper take --config FILE (TOML or JSON, options by "
    "name) or the name of a paper's configuration, and write theirs into their folder as config.json. "
    "Code of "
    "your own that a file names is run only if you repeat its name: --trust NAME."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 on success, 1 for a refused input or a file that cannot be used, 2 for a wrong command line, 3 for an
    agent or an environment that knows the future, 130 if interrupted, 143 if terminated.
    """
    try:
        words = with_config_file(sys.argv[1:] if argv is None else argv, CONFIGURED)
        command = tyro.cli(Command, args=words, prog="qn", description=DESCRIPTION)
        with ended_in_a_line(), plain_terminal():
            return _obeyed(command)
    except QnError as error:
        complain(str(error))
        return PEEKS if isinstance(error, LookAheadError) else 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        complain(f"{place}the operating system says: {said(error)}. Nothing that was finished is lost.")
        return 1
    except Terminated as error:
        complain(f"ended by signal {error.name}; workers are stopped. A run goes on with --resume.")
        return 128 + error.number
    except KeyboardInterrupt:
        complain("interrupted.")
        return 130


def _obeyed(command: Command) -> int:
    match command:
        case RunConfig():
            return _run(command)
        case SearchConfig():
            return search_command(command)
        case Audit():
            return audit(command)
        case Probes():
            return probes(command)
        case Paper():
            _paper(command.study)
        case Compare():
            compare_runs(command)
        case Signal():
            signal(command)
        case Report():
            _report_again(command.run)
        case Agents():
            _list_agents()
    return 0


def _run(config: RunConfig) -> int:
    from experiments.results.leaderboard import as_text
    from experiments.running.runner import load_panel, peeking, run
    from experiments.storage.store import RunFolder

    panel = load_panel(config)
    T, N = panel.shape
    print(
        f"Panel: {N} assets in {len(panel.markets)} markets, {T} days, {panel.dates[0]} to {panel.dates[-1]}."
    )
    for note in panel.notes:
        _print_wrapped(f"Note: {note}")
    folder = RunFolder(run(config, panel))
    write_config(folder.path / "config.json", ["run"], config)
    folder.enter("config.json")
    board, failed = folder.leaderboard(), folder.record()["failed"]
    print(f"\n{as_text(board)}\n")
    print("* scaled ex ante to 10% volatility")
    if not board["comparable"].all():
        print("! not comparable: a quick run, or a learnt agent with fewer than 5 seeds")
    if board["basis"].iloc[0] == "markets":
        print("Figures are means over markets: too few days have half of them in their test block.")
    for note in folder.unreadable_checkpoints():
        _print_wrapped(f"Note: {note}")
    for failure in failed:
        print(f"failed: {failure['agent']} seed {failure['seed']}: {failure['error']}")
    print(f"Results, checkpoints and page: {folder.path} (open {_report(folder.path)})")
    print("Research, not investment advice.")
    return PEEKS if peeking(failed) else 0


def _paper(command: Study) -> None:
    from experiments.papers.dmn import study as dmn
    from experiments.papers.quantnet import study, transfer

    words = next(words for words, of in CONFIGURED.items() if of is type(command))
    claim_folder(command.out, words)
    write_config(command.out / "config.json", words, command)
    if isinstance(command, DmnStudy):
        page = dmn.study(command)
        print((command.out / "tables" / "exhibit3.txt").read_text())
        print(f"Tables, figures and page: {command.out} (open {page})")
        print("Research, not investment advice.")
        return
    if isinstance(command, QuantNetTransfer):
        transfer.study(command)
        print((command.out / "transfer.txt").read_text())
        return
    if isinstance(command, QuantNetSearch):
        trials = study.random_search(command)
        winner = max(trials, key=lambda trial: trial["score"])
        print(f"{len(trials)} trials in {command.out / 'search'}.")
        print(
            f"Best on the selection block: {winner['agent']} trial {winner['trial']}: {winner['score']:.3f}"
        )
        return
    page = study.ablation(command) if isinstance(command, QuantNetAblation) else study.study(command)
    name = "ablation" if isinstance(command, QuantNetAblation) else "table1"
    print((command.out / "tables" / f"{name}.txt").read_text())
    print(f"Tables, figures and page: {command.out} (open {page})")
    print("Research, not investment advice.")


def _print_wrapped(text: str) -> None:
    """Print a paragraph broken between words; a long path stays whole, so that it can be copied."""
    width = shutil.get_terminal_size().columns
    print(textwrap.fill(text, width=max(width, 60), break_long_words=False, break_on_hyphens=False))


def _report(folder: Path) -> Path:
    from experiments.report import write_report

    return write_report(folder)


def _report_again(folder: Path) -> None:
    from experiments.storage.store import RunFolder

    page = _report(folder)
    if (note := RunFolder(folder).note) is not None:
        _print_wrapped(f"Note: {note}")
    print(page)


def _list_agents() -> None:
    from agents.agent import AGENTS

    width = max(len(name) for name in AGENTS)
    for name, entry in AGENTS.items():
        kind = "learns" if entry.learns else "rule"
        print(f"{name:<{width}}  {kind:<6}  {entry.path}")

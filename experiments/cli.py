"""The command line `qn`: one table of commands, each with its options and the function that runs it.

A command imports its heavy modules inside that function, so that --help is quick.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import make_dataclass
from functools import reduce
from importlib.metadata import version
from operator import or_
from typing import Annotated, Any, NamedTuple

import tyro

from experiments.commands.agents import Agents, list_agents
from experiments.commands.audit import Audit, audit
from experiments.commands.benchmark import BenchmarkConfig, benchmark
from experiments.commands.compare import Compare, compare_runs
from experiments.commands.cross_validate import CrossValidate, cross_validate
from experiments.commands.forward import Forward, forward
from experiments.commands.new_agent import NewAgent, new_agent
from experiments.commands.panel import (
    PanelDownload,
    PanelImport,
    PanelShow,
    download_panel,
    import_panel,
    show_panel,
)
from experiments.commands.probes import Probes, probes
from experiments.commands.report import Report, report_again
from experiments.commands.run import run_command
from experiments.commands.search import SearchConfig, search_command
from experiments.commands.signal import Signal, signal
from experiments.papers.commands import (
    study_dmn,
    study_quantnet,
    study_quantnet_ablation,
    study_quantnet_search,
    study_quantnet_transfer,
)
from experiments.papers.dmn.config import DmnStudy
from experiments.papers.quantnet.config import (
    QuantNetAblation,
    QuantNetSearch,
    QuantNetStudy,
    QuantNetTransfer,
)
from experiments.running.terminal import (
    EXIT_LOOKAHEAD,
    EXIT_PIPE,
    Terminated,
    complain,
    plain_terminal,
    raise_when_terminated,
)
from experiments.settings.config import RunConfig
from experiments.settings.configfile import with_config_file
from qn_env.errors import LookAheadError, QnError
from qn_env.storage import reason_of


class Command(NamedTuple):
    """A command of `qn`."""

    name: str
    options: type  # the dataclass of its options
    run: Callable[[Any], int]  # given the options; returns the exit code
    takes_file: bool = False  # --config FILE


COMMANDS = (
    Command("run", RunConfig, run_command, takes_file=True),
    Command("report", Report, report_again),
    Command("compare", Compare, compare_runs),
    Command("cross-validate", CrossValidate, cross_validate, takes_file=True),
    Command("signal", Signal, signal),
    Command("forward", Forward, forward),
    Command("agents", Agents, list_agents),
    Command("new-agent", NewAgent, new_agent),
    Command("audit", Audit, audit),
    Command("probes", Probes, probes),
    Command("benchmark", BenchmarkConfig, benchmark),
    Command("search", SearchConfig, search_command, takes_file=True),
)
# Those behind the word paper.
STUDIES = (
    Command("quantnet", QuantNetStudy, study_quantnet, takes_file=True),
    Command("quantnet-table7", QuantNetAblation, study_quantnet_ablation, takes_file=True),
    Command("quantnet-search", QuantNetSearch, study_quantnet_search, takes_file=True),
    Command("quantnet-transfer", QuantNetTransfer, study_quantnet_transfer, takes_file=True),
    Command("dmn", DmnStudy, study_dmn, takes_file=True),
)
# Those behind the word panel.
PANELS = (
    Command("show", PanelShow, show_panel),
    Command("import", PanelImport, import_panel),
    Command("download", PanelDownload, download_panel),
)
# Those that take --config FILE, by the words that are typed.
CONFIGURED: dict[tuple[str, ...], type] = {
    **{(command.name,): command.options for command in COMMANDS if command.takes_file},
    **{("paper", study.name): study.options for study in STUDIES if study.takes_file},
}


def _one_of(choices: Sequence[tuple[str, type]]) -> Any:
    """What tyro reads a subcommand of these names from."""
    return reduce(or_, (Annotated[of, tyro.conf.subcommand(name, prefix_name=False)] for name, of in choices))


def _group(name: str, commands: Sequence[Command], about: str) -> Any:
    """The options of commands behind a word of their own; `chosen` are those of the one that was typed."""
    choice = _one_of([(command.name, command.options) for command in commands])
    plain = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes)
    of_them = Annotated[choice, *plain]  # type: ignore[valid-type] # a type that is made here
    made: Any = make_dataclass(name, [("chosen", of_them)], frozen=True)
    made.__doc__ = about
    return made


Paper = _group(
    "Paper",
    STUDIES,
    "Repeat a paper's study on any panel; a study that was killed goes on where it was.",
)
PanelGroup = _group(
    "PanelGroup", PANELS, "What a panel folder holds, and one made of files as they are or of a download."
)
OPTIONS = _one_of(
    [*((command.name, command.options) for command in COMMANDS), ("panel", PanelGroup), ("paper", Paper)]
)

DESCRIPTION = (
    "Is this trading policy any good? run, cross-validate, search and paper take --config FILE (TOML or "
    "JSON, options by name) or the name of a paper's configuration, and write theirs into their folder as "
    "config.json. Code of your own that a file names is run only if you repeat its name: --trust NAME. "
    "qn --version prints the version, qn --tyro-print-completion bash (or zsh, tcsh) a completion for your "
    "shell."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    0 on success, 1 for a refused input or a file that cannot be used, 2 for a wrong command line, 3 for an
    agent or an environment that knows the future, 4 for a run in which a unit failed, 130 if interrupted,
    141 if nobody reads on, 143 if terminated.
    """
    try:
        typed = sys.argv[1:] if argv is None else argv
        if list(typed) == ["--version"]:
            print(f"qn_env {version('qn-env')}")
            return 0
        words = with_config_file(typed, CONFIGURED)
        options: Any = tyro.cli(OPTIONS, args=words, prog="qn", description=DESCRIPTION)
        options = options.chosen if isinstance(options, Paper | PanelGroup) else options
        with raise_when_terminated(), plain_terminal():
            return _command_of(options).run(options)
    except QnError as error:
        complain(str(error))
        return EXIT_LOOKAHEAD if isinstance(error, LookAheadError) else 1
    except BrokenPipeError:  # who reads has seen enough, as behind `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        complain(f"{place}the operating system says: {reason_of(error)}. Nothing that was finished is lost.")
        return 1
    except Terminated as error:
        complain(f"ended by signal {error.name}; workers are stopped. A run goes on with --resume.")
        return 128 + error.number
    except KeyboardInterrupt:
        complain("interrupted.")
        return 130


def _command_of(options: object) -> Command:
    """The command whose options these are."""
    return next(command for command in (*COMMANDS, *PANELS, *STUDIES) if command.options is type(options))

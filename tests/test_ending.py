"""How a command ends: killed workers, signals, full disks; in a line, with nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from finished import AGENTS, LEARNER, finished_run, small_panel, write_panel

from experiments.cli import main
from experiments.running.scratch import scratch
from experiments.running.terminal import EXIT_FAILED, plain_terminal, printable
from experiments.storage.csvfile import write_csv
from experiments.storage.store import RunFolder

ROOT = Path(__file__).resolve().parents[1]
# Signals as in a terminal: whoever runs the tests (nohup) may ignore some of them.
CODE = """
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from experiments.cli import main
sys.exit(main())
"""
QN = [sys.executable, "-P", "-c", CODE]
PATIENCE = 120.0
# Ends its process as often as a file beside it says, a line each time.
MORTAL = """
import os, signal, time
from pathlib import Path


class Mortal:
    learns = False
    deaths = 1

    def fit(self, env, *, seed, validation=None):
        tried = Path("tried.txt")
        with tried.open("a") as file:
            file.write(f"{os.getpid()}\\n")
        if len(tried.read_text().splitlines()) <= self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return self

    def reset(self): ...

    def act(self, observation):
        return 0.0 * observation["positions"] + 0.5


class Doomed(Mortal):
    deaths = 99


class Endless(Mortal):
    def fit(self, env, *, seed, validation=None):
        Path("begun.txt").touch()
        time.sleep(1e6)
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="lists processes by /proc")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a panel and agents that end their process."""
    write_panel(small_panel(), tmp_path / "panel")
    (tmp_path / "mortal_agents.py").write_text(MORTAL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("mortal_agents", None)


def words(agents: str, *more: str) -> list[str]:
    return ["run", "--agents", agents, "--panel", "panel", "--kind", "returns", "--out", "out", *more]


def members(session: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it ended meanwhile
            continue
        if int(own) == session and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def wait_until(happened, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, f"not within {PATIENCE:g} seconds: {what}"
        time.sleep(0.02)


# Workers.


def test_a_worker_that_is_killed_is_tried_again_and_the_run_ends_well(place, capsys):
    assert main(words("mortal_agents:Mortal,macd,buy-and-hold", "--jobs", "2")) == 0
    folder = RunFolder(place / "out")
    assert folder.record()["failed"] == []
    assert set(folder.leaderboard()["agent"]) == {"mortal_agents:Mortal", "macd", "buy-and-hold"}
    assert len((place / "tried.txt").read_text().splitlines()) == 2


def test_a_worker_that_dies_again_and_again_is_reported_and_the_others_have_figures(place, capsys):
    assert main(words("mortal_agents:Doomed,macd,buy-and-hold", "--jobs", "2")) == EXIT_FAILED
    shown = capsys.readouterr().out
    why = "its process died 3 times (killed, or out of memory)"
    assert f"Failed: mortal_agents:Doomed, seed 0: {why} (" in shown
    folder = RunFolder(place / "out")
    assert set(folder.leaderboard()["agent"]) == {"macd", "buy-and-hold"}
    assert why in (folder.unit("mortal_agents--Doomed-seed0") / "error.txt").read_text()


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_signal_to_end_says_one_line_and_leaves_no_worker_and_no_scratch(number, jobs, place):
    process = subprocess.Popen(
        [*QN, *words("mortal_agents:Endless,macd", "--jobs", str(jobs))],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    try:
        wait_until(lambda: (place / "begun.txt").exists(), "the training begins")
        before = held(process.pid)
        process.send_signal(number)
        _, error = process.communicate(timeout=PATIENCE)
        wait_until(lambda: not members(process.pid), "all processes end")
    finally:
        for left in members(process.pid):
            os.kill(left, signal.SIGKILL)
    assert process.returncode == 128 + number
    *progress, last = error.strip().splitlines()
    assert all(line.startswith("[") for line in progress), error
    assert last.startswith(f"qn: ended by signal {signal.Signals(number).name}; workers are stopped.")
    assert "Traceback" not in error
    assert before, "while it runs there are some"
    assert not [folder for folder in before if folder.exists()]
    assert main(words("mortal_agents:Endless,macd", "--resume", "--agents", "macd")) == 1, "another plan"


def held(process: int) -> set[Path]:
    """The scratch folders whose lock a process holds."""
    files = [link.readlink() for link in Path(f"/proc/{process}/fd").iterdir()]
    return {file.parent for file in files if file.name == "lock" and file.parent.name.startswith("qn-")}


# Scratch.


HOLDS = """
import time
from experiments.running.scratch import scratch

with scratch() as folder:
    print(folder, flush=True)
    time.sleep(1e6)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_and_a_living_ones_is_not(tmp_path):
    with (
        subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True, cwd=ROOT) as dead,
        subprocess.Popen(
            [sys.executable, "-c", HOLDS], stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as living,
    ):
        try:
            left, kept = (Path(p.stdout.readline().strip()) for p in (dead, living))
            assert left.is_dir()
            assert kept.is_dir()
            assert left.parent.stat().st_mode & 0o777 == 0o700, "nobody else reads it"
            dead.kill()
            dead.wait()
            with scratch() as mine:
                assert not left.parent.exists()
                assert kept.is_dir()
                with scratch() as other:
                    assert mine.is_dir()
                    assert other != mine
            assert not mine.parent.exists()
        finally:
            dead.kill()
            living.kill()


# What the operating system refuses.


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("ending") / "run")


def refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(argv) == 1
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("qn: ")]
    assert len(lines) == 1
    assert "Traceback" not in error
    return lines[0]


def outs(out: str) -> dict[str, list[str]]:
    """Every command that writes a folder."""
    small = ["--panel", "panel", "--kind", "returns", "--jobs", "1", "--out", out]
    return {
        "run": ["run", "--agents", "macd", *small],
        "search": ["search", "--agent", LEARNER, "--trials", "1", *small],
        "paper quantnet": ["paper", "quantnet", "--quick", *small],
        "paper dmn": ["paper", "dmn", "--quick", *small],
        "paper transfer": ["paper", "quantnet-transfer", "--seeds", "1", "--out", out],
        "probes": ["probes", "--agents", "macd", "--probes", "noise", "--days", "300", "--out", out],
    }


@pytest.mark.parametrize("command", outs(""))
@pytest.mark.parametrize("out", ["file/out", "n" * 300, "file"])
def test_a_folder_that_cannot_be_made_is_named_in_a_line(command, out, place, capsys):
    (place / "file").write_text("mine")
    assert out[:100] in refused(outs(out)[command], capsys)
    assert (place / "file").read_text() == "mine"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_disk_that_takes_nothing_is_told_with_the_file(code, place, capsys, monkeypatch):
    def full(path: Path, content: bytes) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "write_bytes", full)
    for command, argv in outs("out").items():
        if command == "probes":
            continue  # every unit fails, and each says so
        said = refused(argv, capsys)
        assert os.strerror(code).lower() in said, command
        assert "out" in said, command


def test_a_disk_that_fills_in_the_middle_fails_the_units_and_not_the_command(place, capsys, monkeypatch):
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if "buy-and-hold" in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(words("macd,buy-and-hold", "--jobs", "1")) == 1
    assert "error.txt: cannot be written (no space left on device)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["leaderboard.parquet", "run.json", "manifest.sha256"])
def test_a_file_that_is_a_folder_is_named(name, finished, tmp_path, capsys):
    from finished import copied

    folder = copied(finished, tmp_path / "run")
    (folder / name).unlink()
    (folder / name).mkdir()
    assert name in refused(["report", str(folder)], capsys)


def test_a_temporary_folder_that_is_not_there_is_named(monkeypatch, tmp_path):
    import tempfile

    from qn_env.errors import FileError

    monkeypatch.setattr("experiments.running.scratch.MEMORY", tmp_path / "none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    says = r"nowhere.*no folder for temporary files can be made.*Set TMPDIR"
    with pytest.raises(FileError, match=says), scratch():
        pass


# What reaches a terminal or a spreadsheet.

ESCAPES = "a\x1b[2J\x07b\r\u202ec"


def test_control_characters_are_written_out():
    assert printable(ESCAPES) == r"a\x1b[2J\x07b\r\u202ec"
    assert printable("plain \u00e9\n\ttext") == "plain \u00e9\n\ttext"


def test_no_control_character_of_a_name_or_a_path_reaches_the_terminal(place, capsys):
    panel = pd.read_csv("panel/M0.csv").rename(columns={"A0": ESCAPES.replace("\r", "")})
    panel.to_csv("panel/M0.csv", index=False)
    assert main(words("macd,buy-and-hold", "--jobs", "1")) == 0
    shown = ["signal", "--run", "out", "--agent", "macd", "--panel", "panel", "--kind", "returns"]
    assert main(shown) == 0
    assert main(["report", f"no{ESCAPES}where"]) == 1
    printed = capsys.readouterr()
    for text in (printed.out, printed.err):
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "\u202e" not in text
    assert r"\x1b[2J" in printed.out
    assert r"\x1b[2J" in printed.err


def test_text_that_a_spreadsheet_would_compute_is_quoted_and_numbers_are_not(tmp_path):
    evil = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\tx", "-", "-3.5", "plain"]
    table = pd.DataFrame({"=name": evil, "value": [-1.5] * len(evil)})
    write_csv(tmp_path / "t.csv", table)
    found = pd.read_csv(tmp_path / "t.csv", dtype=str)
    assert found.columns.tolist() == ["'=name", "value"]
    assert found["'=name"].tolist() == [f"'{text}" for text in evil[:5]] + evil[5:]
    assert set(found["value"]) == {"-1.5"}


def test_names_that_are_formulas_stand_quoted_in_every_table_that_is_written(place):
    panel = pd.read_csv("panel/M0.csv").rename(columns={"A0": "=1+1"})
    panel.to_csv("panel/M0.csv", index=False)
    assert main(words("macd,buy-and-hold", "--jobs", "1")) == 0
    shown = ["signal", "--run", "out", "--agent", "macd", "--panel", "panel", "--kind", "returns"]
    assert main([*shown, "--out", "today.csv"]) == 0
    for path in (Path("today.csv"), *Path("out/tables").glob("*.csv")):
        for line in path.read_text().splitlines():
            assert not any(cell.startswith("=") for cell in line.split(",")), path


def test_a_warning_that_is_none_of_ours_is_shown_as_ever(capsys):
    import warnings

    with pytest.warns(UserWarning, match="something else"), plain_terminal():
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == ""


def test_the_agents_of_the_finished_run_have_figures(finished):
    assert set(RunFolder(finished).leaderboard()["agent"]) == set(AGENTS)

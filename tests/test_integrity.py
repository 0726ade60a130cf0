"""Nothing that was stored changes in silence, and no damage to a file ends in a traceback."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from finished import (
    AGENTS,
    LEARNER,
    as_an_earlier_version,
    copied,
    edit_json,
    finished_run,
    flip,
    resealed,
    small_panel,
    write_panel,
)

from agents.agent import load_agent
from agents.checkpoint import load_tensors, read_tensors, write_tensors
from experiments import RunConfig
from experiments.cli import main
from experiments.running.runner import run
from experiments.storage.manifest import NAME as MANIFEST
from experiments.storage.manifest import Manifest
from experiments.storage.store import RunFolder
from qn_env.errors import ConfigError, FileError
from qn_env.storage import UncheckedWarning, read_sealed, write_sealed

UNIT = f"units/{LEARNER}-seed0"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("integrity") / "run")


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_panel(small_panel(), tmp_path_factory.mktemp("integrity") / "panel")


def commands(folder: Path, whole: Path, panel: Path) -> dict[str, list[str]]:
    """Every command that reads a finished run."""
    signal = ["signal", "--run", str(folder), "--agent", LEARNER, "--panel", str(panel), "--kind", "returns"]
    return {
        "report": ["report", str(folder)],
        "compare": ["compare", str(whole), str(folder)],
        "signal": signal,
    }


def said(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command that fails says; one line, and no more."""
    assert main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("qn: ")
    assert error.count("\n") == 1
    return error


def test_a_folder_may_be_named_from_where_one_is(whole, panel, tmp_path, monkeypatch):
    copied(whole, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    for words in commands(Path("run"), whole, panel).values():
        assert main(words) == 0


# One flipped bit.


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("run.json", "report"),
        ("run.json", "signal"),
        ("run.json", "compare"),
        ("leaderboard.parquet", "report"),
        ("portfolio.parquet", "report"),
        ("portfolio.parquet", "compare"),
        ("results.parquet", "report"),
        (f"{UNIT}/audit.json", "report"),
        (f"{UNIT}/daily.parquet", "compare"),
        (f"{UNIT}/checkpoint/agent.json", "signal"),
        (f"{UNIT}/checkpoint/weights.safetensors", "signal"),
        (f"{UNIT}/{MANIFEST}", "signal"),
    ],
)
def test_one_flipped_bit_is_refused_by_the_name_of_its_file(file, command, whole, panel, tmp_path, capsys):
    folder = copied(whole, tmp_path / "run")
    flip(folder / file, 0.02 if MANIFEST in file else 0.7)
    error = said(commands(folder, whole, panel)[command], capsys)
    assert str(folder) in error
    if MANIFEST not in file:
        assert f"{file}: changed since it was written" in error


def test_a_checkpoint_knows_by_itself_that_it_was_changed(whole, tmp_path):
    for file in ("agent.json", "weights.safetensors"):
        place = copied(whole / UNIT / "checkpoint", tmp_path / file)
        edited = place / file
        if file == "agent.json":
            edit_json(edited, lambda content: content["config"].update(dropout=0.25))
        else:
            flip(edited, 0.999)
        with pytest.raises(FileError, match=f"{file}: changed since it was written"):
            load_agent(LEARNER, place)


def test_a_file_that_was_added_to_a_checkpoint_is_refused(whole, tmp_path):
    folder = copied(whole, tmp_path / "run")
    shutil.copy(folder / "run.json", folder / UNIT / "checkpoint" / "more.json")
    with pytest.raises(
        FileError, match=r"checkpoint/more\.json: not in .*manifest\.sha256; somebody added it"
    ):
        RunFolder(folder).checkpoint(f"{LEARNER}-seed0")


def test_a_run_without_the_manifest_it_speaks_of_is_refused(whole, panel, tmp_path, capsys):
    folder = copied(whole, tmp_path / "run")
    (folder / MANIFEST).unlink()
    for words in commands(folder, whole, panel).values():
        assert MANIFEST in said(words, capsys)


def test_the_manifest_names_every_file_and_is_checked_by_sha256sum(whole, tmp_path):
    folder = copied(whole, tmp_path / "run")
    assert main(["report", str(folder)]) == 0
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {MANIFEST}
    manifest = Manifest.read(folder)
    assert manifest is not None
    assert set(manifest.files) == there
    assert {"report.html", "config.json", f"{UNIT}/daily.parquet", "tables/delays.csv"} < there
    if (command := shutil.which("sha256sum")) is not None:
        subprocess.run([command, "--quiet", "-c", MANIFEST], cwd=folder, check=True)


def test_a_unit_changed_between_two_runs_of_its_comparison_is_refused(tmp_path):
    config = RunConfig(agents=AGENTS[1:], jobs=1, out=tmp_path / "run", resume=True)
    folder = RunFolder(run(config, small_panel()))
    for name in ("run.json", MANIFEST):
        (folder.path / name).unlink()
    flip(folder.unit("macd-seed0") / "daily.parquet")
    with pytest.raises(FileError, match=r"macd-seed0/daily\.parquet: changed since it was written"):
        run(config, small_panel())


# Earlier versions.


def test_a_run_of_an_earlier_version_is_read_with_a_note(whole, panel, tmp_path, capsys):
    folder = copied(whole, tmp_path / "run")
    as_an_earlier_version(folder)
    for name, words in commands(folder, whole, panel).items():
        assert main(words) == 0, name
        shown = " ".join(capsys.readouterr().out.split())
        assert f"Note: {folder} has no {MANIFEST}: an earlier version wrote it" in shown, name


def test_a_checkpoint_of_an_earlier_version_is_read_with_a_warning(whole, tmp_path, capsys):
    from safetensors.torch import save_file

    place = copied(whole / UNIT / "checkpoint", tmp_path / "old")
    edit_json(place / "agent.json", lambda content: content.pop("sha256"))
    save_file(load_tensors(place), place / "weights.safetensors")
    with pytest.warns(UncheckedWarning, match="old: holds files of an earlier version without a checksum"):
        load_agent(LEARNER, place)


def test_a_command_notes_files_without_a_checksum_once(tmp_path, capsys):
    from experiments.running.terminal import plain_terminal

    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("{}")
    with plain_terminal():
        for name in ("a.json", "b.json", "a.json"):
            read_sealed(tmp_path / name)
    notes = capsys.readouterr().err.splitlines()
    assert len(notes) == len(set(notes)) == 2
    assert all(note.startswith(f"Note: {tmp_path}: holds files of an earlier version") for note in notes)


def test_a_run_begun_by_an_earlier_version_is_not_gone_on_with(tmp_path):
    config = RunConfig(agents=("macd",), jobs=1, out=tmp_path / "run", resume=True)
    folder = RunFolder(run(config, small_panel()))
    edit_json(folder.path / "plan.json", lambda plan: plan.pop("format"))
    with pytest.raises(ConfigError, match="was begun by another version of qn_env"):
        run(config, small_panel())


# Damaged files.


def renamed_key(path: Path) -> None:
    if path.suffix == ".json":

        def rename(content: dict[str, object]) -> None:
            key = "panel" if "panel" in content else next(iter(content))
            content[f"{key}s"] = content.pop(key)

        edit_json(path, rename)
    elif path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        last = "value" if "value" in frame else "gross" if "gross" in frame else "sharpe"
        frame.rename(columns={last: "renamed"}).to_parquet(path, index=False)
    else:
        path.write_bytes(b"renamed")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "null": lambda path: path.write_text("null"),
    "list": lambda path: path.write_text("[]"),
    "number": lambda path: path.write_text("7"),
    "utf-16": lambda path: path.write_bytes(path.read_bytes().decode("latin-1").encode("utf-16")),
    "nested": lambda path: path.write_text("[" * 100_000),
    "renamed": renamed_key,
    "gone": lambda path: path.unlink(),
}
READ_BY = {
    "run.json": ("report", "compare", "signal"),
    "leaderboard.parquet": ("report",),
    "portfolio.parquet": ("report", "compare"),
    "results.parquet": ("report",),
    f"{UNIT}/audit.json": ("report",),
    f"{UNIT}/daily.parquet": ("compare",),
    f"{UNIT}/checkpoint/agent.json": ("signal",),
    f"{UNIT}/checkpoint/weights.safetensors": ("signal",),
}


@pytest.mark.parametrize("state", ["sealed", "resealed", "earlier"])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", READ_BY)
def test_a_damaged_file_is_one_line_that_names_it(
    file, damage, state, whole, panel, tmp_path, capsys, monkeypatch
):
    """Also where its writer sealed the damage, and in a folder of an earlier version, without checksums."""
    # The page itself takes seconds, and comes after everything was read.
    monkeypatch.setattr("experiments.report.page.render", lambda *_: "")
    monkeypatch.setattr("experiments.report.figures.write_figures", lambda *_: None)
    folder = copied(whole, tmp_path / "run")
    if state == "earlier":
        as_an_earlier_version(folder)
    DAMAGES[damage](folder / file)
    if state == "resealed":
        resealed(folder)
    if damage == "gone" and file.endswith("audit.json") and state != "sealed":
        return  # a unit need not have one
    for command in READ_BY[file]:
        assert main(commands(folder, whole, panel)[command]) == 1, command
        error = capsys.readouterr().err.removeprefix("Note: ")
        lines = [line for line in error.splitlines() if line.startswith("qn: ")]
        assert len(lines) == 1, command
        assert Path(file).name in lines[0] or str(folder) in lines[0], command


# Sealed files.


def test_what_is_sealed_is_read_back_and_a_changed_value_is_refused(tmp_path):
    path = tmp_path / "a.json"
    content = {"x": 0.1, "nan": float("nan"), "deep": {"a": [1, None, "\u00e9"]}}
    write_sealed(path, content)
    found = read_sealed(path)
    assert repr(found) == repr(content)
    path.write_text(json.dumps(json.loads(path.read_text()), separators=(",", ":")))
    assert repr(read_sealed(path)) == repr(content), "the layout of the text is no content"
    path.write_text(path.read_text().replace("0.1", "0.2"))
    with pytest.raises(FileError, match=r"a\.json: changed since it was written"):
        read_sealed(path)


def test_equal_tensors_are_equal_bytes_and_a_changed_text_is_refused(tmp_path):
    import torch

    tensors = {
        "b": torch.arange(6.0).reshape(2, 3),
        "a": torch.ones((), dtype=torch.bool),
        "c": torch.zeros(0),
    }
    written = []
    for number in range(5):
        write_tensors(tmp_path / f"{number}.safetensors", tensors, '{"epochs": 3}')
        written.append((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(set(written)) == 1
    found, text = read_tensors(tmp_path / "0.safetensors")
    assert text == '{"epochs": 3}'
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    (tmp_path / "0.safetensors").write_bytes(written[0].replace(rb"\"epochs\\\": 3", rb"\"epochs\\\": 4"))
    with pytest.raises(FileError, match="changed since it was written"):
        read_tensors(tmp_path / "0.safetensors")


def test_a_unit_is_never_read_from_outside_its_run(whole, panel, tmp_path, capsys):
    folder = copied(whole, tmp_path / "run")
    edit_json(folder / "run.json", lambda record: record["panel"]["windows"].__setitem__(0, "/../../../up"))
    resealed(folder)
    error = said(commands(folder, whole, panel)["signal"], capsys)
    assert "is no name of a unit; it would lie outside the folder" in error


def test_a_page_is_not_written_through_a_link(whole, tmp_path, capsys):
    folder = copied(whole, tmp_path / "run")
    (tmp_path / "elsewhere").mkdir()
    (folder / "figures").symlink_to(tmp_path / "elsewhere")
    assert "figures: is a link" in said(["report", str(folder)], capsys)
    assert not list((tmp_path / "elsewhere").iterdir())

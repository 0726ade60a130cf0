"""An append-only file of chained lines: whatever is done to it is found and named; what is killed goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.storage import chain
from experiments.storage.chain import (
    Line,
    TornError,
    canonical,
    mend_chain,
    opened_chain,
    read_chain,
)
from qn_env.errors import FileError, QnError
from qn_env.storage import digest

ROOT = Path(__file__).resolve().parents[1]
CONTENTS: list[dict[str, Any]] = [
    {"kind": "header", "names": ["a", "ü", 'quote"'], "nested": {"z": 1, "b": [None, True]}},
    {"weights": [0.1, -2.5e-17, 0.0, None], "written": "2026-01-05T21:00:00Z"},
    {"weights": [1.0 / 3.0, 1e22], "written": "2026-01-06T21:00:00Z"},
    {"weights": [], "written": "2026-01-07T21:00:00Z"},
    {"weights": [-0.0], "written": "2026-01-08T21:00:00Z"},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A chain of five lines."""
    return filled(tmp_path / "record.jsonl")


def filled(path: Path, contents: list[dict[str, Any]] = CONTENTS) -> Path:
    for content in contents:  # each by itself, as on as many days
        with opened_chain(path) as record:
            record.append(content)
    return path


def test_what_is_appended_is_read_again_line_by_line(path: Path) -> None:
    lines = read_chain(path)
    assert [line.number for line in lines] == [1, 2, 3, 4, 5]
    assert [line.content for line in lines] == CONTENTS
    assert path.read_bytes().count(b"\n") == 5


def test_a_line_is_canonical_json_with_the_digest_of_the_line_before_and_its_own(path: Path) -> None:
    before = ""
    for number, text in enumerate(path.read_text().splitlines(), start=1):
        whole = json.loads(text)
        assert text == json.dumps(whole, sort_keys=True, separators=(",", ":"))
        seal = whole.pop("digest")
        assert seal == digest(json.dumps(whole, sort_keys=True, separators=(",", ":")).encode())
        assert (whole["number"], whole["previous"]) == (number, before)
        before = seal


def test_where_there_is_no_file_or_an_empty_one_there_are_no_lines(tmp_path: Path) -> None:
    assert read_chain(tmp_path / "none") == ()
    (tmp_path / "empty").touch()
    assert read_chain(tmp_path / "empty") == ()
    filled(tmp_path / "empty", CONTENTS[:1])
    assert len(read_chain(tmp_path / "empty")) == 1


def test_any_byte_changed_anywhere_is_found_and_its_line_is_named(path: Path) -> None:
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    assert len(whole) < 2000
    for place in range(len(whole)):
        for byte in {10, *rng.integers(256, size=2).tolist()} - {whole[place]}:
            number = whole[:place].count(b"\n") + 1
            changed = whole[:place] + bytes([byte]) + whole[place + 1 :]
            with pytest.raises(FileError, match=rf"record\.jsonl, line {number}: ") as found:
                chain._parse(path, changed)
            assert not isinstance(found.value, TornError)
        if place % 40 == 0 or place == len(whole) - 1:
            path.write_bytes(changed)
            for use in (read_chain, mend_chain, filled):
                with pytest.raises(FileError, match=rf"line {number}: "):
                    use(path)
            assert path.read_bytes() == changed


def test_any_two_lines_swapped_any_line_removed_or_repeated_is_found_and_named(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    for i in range(5):
        for j in range(i + 1, 5):
            swapped = list(lines)
            swapped[i], swapped[j] = lines[j], lines[i]
            refuses(path, swapped, rf"line {i + 1}: is line {j + 1}, and line {i + 1} is in line {j + 1};")
        for j in range(i, 5):
            where = j + 2
            repeated = [*lines[: j + 1], lines[i], *lines[j + 1 :]]
            refuses(path, repeated, rf"line {where}: is line {i + 1} once more")
    for i in range(4):  # where the last is removed, the chain is whole: the digest of its head tells
        refuses(
            path,
            lines[:i] + lines[i + 1 :],
            rf"line {i + 1}: is line {i + 2}; line {i + 1} was removed",
        )


def refuses(path: Path, lines: list[bytes], says: str) -> None:
    path.write_bytes(b"".join(lines))
    with pytest.raises(FileError, match=says):
        read_chain(path)
    with pytest.raises(FileError, match=says), opened_chain(path) as record:
        record.append({})
    assert path.read_bytes() == b"".join(lines), "nothing is written to a chain that was changed"


def test_a_line_made_anew_with_its_checksum_does_not_fit_the_next(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    forged = json.loads(lines[2])
    forged["weights"] = [1.0]
    del forged["digest"]
    forged["digest"] = digest(canonical(forged))
    lines[2] = canonical(forged) + b"\n"
    refuses(path, lines, r"line 4: follows a line with the digest \w{64}, and the line before it has \w{64};")


def test_a_line_cut_short_is_told_apart_cut_off_and_the_chain_goes_on(path: Path, tmp_path: Path) -> None:
    whole = path.read_bytes()
    begin = whole[:-1].rindex(b"\n") + 1
    for end in {*range(begin, len(whole), 7), len(whole) - 1}:
        path.write_bytes(whole[:end])
        if end == begin:
            assert len(read_chain(path)) == 4
            continue
        with pytest.raises(TornError, match=rf"line 5: was not written to its end .*{end - begin} bytes"):
            read_chain(path)
        with pytest.raises(TornError, match="--repair"), opened_chain(path):
            pass
        assert path.read_bytes() == whole[:end]
        assert mend_chain(path) == end - begin
        assert path.read_bytes() == whole[:begin]
        assert filled(path, CONTENTS[-1:]).read_bytes() == whole
        assert mend_chain(path) == 0
        assert path.read_bytes() == whole


def test_a_first_line_cut_short_leaves_an_empty_chain(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(TornError, match="line 1: was not written to its end"):
        read_chain(path)
    assert mend_chain(path) == 30
    assert path.read_bytes() == b""
    assert mend_chain(path.with_name("none")) == 0


def test_a_disk_that_is_full_leaves_the_chain_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, write = path.read_bytes(), os.write

    def half(file: int, text: Any) -> int:
        write(file, bytes(text)[: len(text) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(chain.os, "write", half)
    with (
        pytest.raises(FileError, match=r"cannot be written \(no space left on device\)"),
        opened_chain(path) as record,
    ):
        record.append({})
    assert path.read_bytes() == whole


def test_a_write_in_several_parts_is_the_same_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, write = path.read_bytes(), os.write
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:4]))
    monkeypatch.setattr(chain.os, "write", lambda file, text: write(file, bytes(text)[:7]))
    assert filled(path, CONTENTS[-1:]).read_bytes() == whole


WRITER = """
import sys
from pathlib import Path
from experiments.storage.chain import opened_chain
path, name, number = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for day in range(number):
    with opened_chain(path) as chain:
        chain.append({"by": name, "day": day, "more": "x" * 5000})
        print(day, flush=True)
"""


def writer(path: Path, name: str, number: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", WRITER, str(path), name, str(number)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE)


def test_two_processes_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    both = [writer(path, name, 25) for name in "ab"]
    assert [process.wait() for process in both] == [0, 0]
    lines = read_chain(path)
    assert len(lines) == 50
    for name in "ab":
        assert [line.content["day"] for line in lines if line.content["by"] == name] == list(range(25))
    for process in both:
        assert process.stdout is not None
        process.stdout.close()


def test_a_process_that_is_killed_leaves_a_chain_that_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    with writer(path, "killed", 100_000) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        confirmed = 1 + process.stdout.read().count(b"\n")
    mend_chain(path)
    lines = read_chain(path)
    assert len(lines) in (confirmed, confirmed + 1), "what was said to be written is there"
    assert filled(path, [{"after": 1}]).read_bytes().endswith(b"\n")
    assert read_chain(path)[:-1] == lines


# What a file may hold that nobody wrote.


@given(st.binary(min_size=1, max_size=200))
def test_bytes_that_are_no_chain_are_refused(content: bytes) -> None:
    with pytest.raises(FileError, match="record, line 1: "):
        chain._parse(Path("record"), content)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25)
@given(st.dictionaries(st.sampled_from(["number", "previous", "digest", "x"]), JSON))
def test_json_that_is_no_line_is_refused(content: dict[str, Any]) -> None:
    text = json.dumps(content, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(FileError, match="record, line 1: "):
        chain._parse(Path("record"), text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000 + b"\n",
        b'{"number":' + b"9" * 10_000 + b"}\n",
        b'{"digest":NaN,"number":1,"previous":""}\n',
        b"\n" * 1000,
        '{"ü":1}\n'.encode(),
        b'{"digest":"","digest":"","number":1,"previous":""}\n',
    ],
    ids=["deep", "huge number", "not a number", "empty lines", "not ASCII", "a name twice"],
)
def test_malformed_lines_are_refused(text: bytes) -> None:
    with pytest.raises(FileError, match="record, line 1: was changed since it was written"):
        chain._parse(Path("record"), text)


def test_files_that_are_too_large_or_none_are_refused(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for use in (read_chain, mend_chain, lambda place: opened_chain(place).__enter__()):
        with pytest.raises(FileError, match="expected a file"):
            use(tmp_path)
    with pytest.raises(FileError, match="cannot be written"), opened_chain(tmp_path / "a\0b"):
        pass
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="expected a file"):
        read_chain(tmp_path / "pipe")
    monkeypatch.setattr(chain, "MOST_LINE", 100)
    with pytest.raises(FileError, match=r"line 1: was changed .*expected fewer than 100"):
        read_chain(path)
    with (
        pytest.raises(FileError, match=r"the line to add has .* expected 100 at most"),
        opened_chain(tmp_path / "new") as record,
    ):
        record.append(CONTENTS[0])
    monkeypatch.setattr(chain, "MOST_BYTES", 100)
    with pytest.raises(FileError, match="expected a file of at most 100"):
        read_chain(path)


def test_a_number_that_json_has_not_is_never_written(path: Path) -> None:
    whole = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"), opened_chain(path) as record:
        record.append({"weight": float("nan")})
    assert path.read_bytes() == whole


def test_the_errors_are_those_of_the_project() -> None:
    assert issubclass(TornError, QnError)
    assert Line._fields == ("number", "digest", "content")

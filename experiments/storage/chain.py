"""A chain: lines of JSON that are only ever added to, each of which holds the checksum of the line before.

A line is canonical JSON (names in order, no spaces, ASCII) with three names of the chain's own: `number`, its
place in the file from 1; `previous`, the digest of the line before, empty in the first; `digest`, the SHA-256
of the canonical JSON of all the rest. A changed, moved, repeated or removed line is therefore found, whoever
changed it, unless all lines behind it are made anew, too; then, and where lines are cut off at the end, the
digest of the last line is another one. Keep it elsewhere, and it shows that nothing before it was touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple, NoReturn

from qn_env.checks import MOST_ITEMS
from qn_env.errors import FileError
from qn_env.storage import REFUSALS, digest, make_folder, reason_of

NUMBER, PREVIOUS, DIGEST = OWN = ("number", "previous", "digest")
MOST_LINE = 2**24  # bytes: ten thousand assets under a hundred agents
MOST_BYTES = 2**28  # of a file, which is read whole: a hundred thousand bytes a day for ten years
RESTORE = "Restore the file from a copy; nothing was written to it"


class Line(NamedTuple):
    """One line of a chain: its place from 1, its digest, and what it holds beside the chain's own names."""

    number: int
    digest: str
    content: Mapping[str, object]


class TornError(FileError):
    """The last line was not written to its end."""


class Chain:
    """A chain that is open for more lines, and locked against other processes.

    Attributes:
        lines: what it holds, checked.
    """

    def __init__(self, path: Path, file: int, lines: tuple[Line, ...]) -> None:
        """Of an open file and what was read from it."""
        self.path, self.lines, self._file = path, lines, file

    def append(self, content: Mapping[str, object]) -> Line:
        """Write a line, and return once it is on the disk.

        Raises:
            FileError: it cannot be written, or is too long.
        """
        text, line = _sealed(content, self.lines)
        if len(text) > MOST_LINE:
            raise FileError(
                f"{self.path}: the line to add has {len(text):,} bytes, expected {MOST_LINE:,} at most."
            )
        size = os.fstat(self._file).st_size
        try:
            _write(self._file, text)
            if not self.lines:
                _sync_folder(self.path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):  # what was begun is no part of the chain
                os.ftruncate(self._file, size)
            raise FileError(f"{self.path}: cannot be written ({reason_of(error)}).") from error
        self.lines = (*self.lines, line)
        return line


def read_chain(path: Path) -> tuple[Line, ...]:
    """The lines of a chain, all of them checked; none where there is no file.

    Raises:
        FileError: it cannot be read, or a line is not what was written where it was, with its number.
        TornError: the last line was not written to its end.
    """
    if not _exists(path):
        return ()
    with _locked(path, writes=False) as file:
        return _parse(path, _content(path, file))


@contextlib.contextmanager
def opened_chain(path: Path) -> Iterator[Chain]:
    """A chain to be added to; where there is no file, an empty one. Another process waits for the end.

    Raises:
        FileError: as `read_chain`, or it cannot be written.
        TornError: the last line was not written to its end.
    """
    make_folder(path.parent)
    with _locked(path, writes=True) as file:
        yield Chain(path, file, _parse(path, _content(path, file)))


def mend_chain(path: Path) -> int:
    """Cut off a last line that was not written to its end; it was never part of the chain.

    Returns:
        The bytes that were cut off; 0 where the last line is whole.

    Raises:
        FileError: another line is not what was written.
    """
    if not _exists(path):
        return 0
    with _locked(path, writes=True) as file:
        content = _content(path, file)
        try:
            _parse(path, content)
        except TornError:
            whole = content.rfind(b"\n") + 1
            os.ftruncate(file, whole)
            os.fsync(file)
            return len(content) - whole
        return 0


def canonical(content: Mapping[str, object]) -> bytes:
    """The one text of some names and values: JSON in ASCII, names in order, no spaces.

    Raises:
        ValueError: a number that JSON has not.

    Examples:
        >>> canonical({"b": 1.0, "a": [None, "x"]})
        b'{"a":[null,"x"],"b":1.0}'
    """
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _sealed(content: Mapping[str, object], before: Sequence[Line]) -> tuple[bytes, Line]:
    """The text of a line that follows others, and the line."""
    number, previous = len(before) + 1, before[-1].digest if before else ""
    whole = {**content, NUMBER: number, PREVIOUS: previous}
    seal = digest(canonical(whole))
    return canonical({**whole, DIGEST: seal}) + b"\n", Line(number, seal, content)


def _parse(path: Path, content: bytes) -> tuple[Line, ...]:
    """The lines of a file's content."""
    texts, lines = BytesIO(content), list[Line]()
    for number, text in enumerate(texts, start=1):
        if not text.endswith(b"\n"):
            _refuse_rest(path, text, lines)
        found = _read(text[:-1])
        if isinstance(found, str):
            raise FileError(f"{path}, line {number}: was changed since it was written ({found}). {RESTORE}.")
        line, previous = found
        if line.number != number:
            raise FileError(f"{path}, line {number}: {_moved(line, number, lines, texts)}. {RESTORE}.")
        expected = lines[-1].digest if lines else ""
        if previous != expected:
            raise FileError(
                f"{path}, line {number}: follows a line with the digest {previous or 'none'}, and the line "
                f"before it has {expected or 'none'}; one of the two was put in the place of another. "
                f"{RESTORE}."
            )
        lines.append(line)
    return tuple(lines)


def _read(text: bytes) -> tuple[Line, str] | str:
    """A line and the digest it says it follows; or, in words, why it is not what was written."""
    if len(text) >= MOST_LINE:
        return f"it has {len(text):,} bytes, expected fewer than {MOST_LINE:,}"
    try:
        whole = json.loads(text.decode("ascii"))
        same = isinstance(whole, dict) and canonical(whole) == text
    except (ValueError, RecursionError):  # no ASCII, no JSON, a number that is none, nested too deeply
        same = False
    if not same:
        return "it is not JSON in the form that is written"
    number, previous, seal = (whole.pop(name, None) for name in OWN)
    if type(number) is not int or not isinstance(previous, str) or not isinstance(seal, str):
        return f"it has no {NUMBER}, {PREVIOUS} and {DIGEST}"
    expected = digest(canonical({**whole, NUMBER: number, PREVIOUS: previous}))
    if seal != expected:
        return f"it says that its digest is {seal[:64]}, and what it holds has {expected}"
    return Line(number, seal, whole), previous


def _moved(line: Line, place: int, before: Sequence[Line], behind: Iterable[bytes]) -> str:
    """What happened, in words, where a whole line does not stand in its place."""
    if any(line.digest == earlier.digest for earlier in before):
        return f"is line {line.number} once more; it was written twice"
    for later, text in enumerate(islice(behind, MOST_ITEMS), start=place + 1):
        found = _read(text.removesuffix(b"\n"))
        if not isinstance(found, str) and found[0].number == place:
            return f"is line {line.number}, and line {place} is in line {later}; their order was changed"
    if line.number > place:
        return f"is line {line.number}; line {place} was removed"
    return f"is line {line.number}, expected line {place}; it was put there from elsewhere"


def _refuse_rest(path: Path, rest: bytes, lines: Sequence[Line]) -> NoReturn:
    """Refuse what stands behind the last line end: a line that was not finished, or one that was changed."""
    number = len(lines) + 1
    found = _read(rest[:-1])
    if not isinstance(found, str) and found[0].number == number:
        raise FileError(f"{path}, line {number}: was changed since it was written (its end). {RESTORE}.")
    raise TornError(
        f"{path}, line {number}: was not written to its end ({len(rest):,} bytes without a line end), as "
        "when the process or the machine is stopped at that moment. It was never part of the record: "
        f"--repair cuts it off, and line {number} is written again."
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except REFUSALS as error:  # a name that cannot even be asked for
        raise FileError(f"{path}: cannot be read ({reason_of(error)}).") from error


@contextlib.contextmanager
def _locked(path: Path, *, writes: bool) -> Iterator[int]:
    """The open file, shared with other readers or, to be written, with nobody."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND if writes else os.O_RDONLY
    verb = "written" if writes else "read"
    if _exists(path) and not path.is_file():
        raise FileError(f"{path}: cannot be {verb}; expected a file.")
    try:
        file = os.open(path, flags | getattr(os, "O_BINARY", 0), 0o644)
    except REFUSALS as error:
        raise FileError(f"{path}: cannot be {verb} ({reason_of(error)}).") from error
    try:
        if sys.platform != "win32":  # where there is no such lock
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX if writes else fcntl.LOCK_SH)
        yield file
    finally:
        os.close(file)  # and with it the lock


def _content(path: Path, file: int) -> bytes:
    about = os.fstat(file)
    if not stat.S_ISREG(about.st_mode) or about.st_size > MOST_BYTES:
        raise FileError(f"{path}: has {about.st_size:,} bytes, expected a file of at most {MOST_BYTES:,}.")
    try:
        with open(file, "rb", closefd=False) as stream:
            return stream.read(about.st_size)
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({reason_of(error)}).") from error


def _write(file: int, text: bytes) -> None:
    """All of it, and onto the disk."""
    left = memoryview(text)
    while left:
        left = left[os.write(file, left) :]
    os.fsync(file)


def _sync_folder(folder: Path) -> None:
    """A new file's name onto the disk, too."""
    if sys.platform == "win32":  # where a folder cannot be opened
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)

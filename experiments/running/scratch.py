"""Folders for what is of use only while a process runs: private to the user, and swept up after a kill."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from qn_env.errors import FileError
from qn_env.storage import reason_of

# Memory that looks like a disk, where there is enough of it: what lies there is never copied.
MEMORY = Path("/dev/shm")
LEAST_FREE = 2 * 2**30  # bytes, as joblib asks for
LOCK = "lock"  # held for as long as its process lives, however it ends


@contextmanager
def scratch() -> Iterator[Path]:
    """Inside the block an empty folder that nobody else can read; folders that killed runs left are removed.

    Raises:
        FileError: no folder can be made.
    """
    for base in (MEMORY, Path(tempfile.gettempdir())):
        _sweep(base)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(), dir=_base()))
    except OSError as error:
        raise FileError(
            f"{error.filename or tempfile.gettempdir()}: no folder for temporary files can be made there "
            f"({reason_of(error)}). Set TMPDIR to a folder that can be written."
        ) from error
    try:
        with (folder / f"{LOCK}.new").open("w") as held:
            _lock(held)
            # Only now can a sweep see it: a folder is never there with a lock that nobody holds yet.
            (folder / f"{LOCK}.new").rename(folder / LOCK)
            inside = folder / "inside"
            inside.mkdir()
            yield inside
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prefix() -> str:
    return f"qn-{os.getuid() if sys.platform != 'win32' else os.getlogin()}-"


def _base() -> Path:
    try:
        room = os.statvfs(MEMORY)
    except (OSError, AttributeError):  # no such place, no such system
        return Path(tempfile.gettempdir())
    enough = room.f_bavail * room.f_frsize >= LEAST_FREE and os.access(MEMORY, os.W_OK)
    return MEMORY if enough else Path(tempfile.gettempdir())


def _sweep(base: Path) -> None:
    """Remove the folders whose process has ended: their lock is free."""
    for lock in base.glob(f"{_prefix()}*/{LOCK}"):
        try:
            with lock.open("r+") as held:
                free = not lock.parent.is_symlink() and _lock(held)
        except OSError:  # another sweep was quicker, or it is not ours
            continue
        if free:
            shutil.rmtree(lock.parent, ignore_errors=True)


def _lock(file: IO[str]) -> bool:
    """Take the lock of a file, if nobody holds it."""
    if sys.platform == "win32":  # where an open file cannot be removed anyway
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""Large read-only values that many tasks need: written once, memory-mapped by every process that reads them.

A task then carries a path instead of the data. Processes of one machine map the same pages, and a machine
reads the file once, whoever runs the tasks. The files are a transport between the processes of one search,
written anew at its start; nothing that was left there by another is ever read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
# Values a process keeps: what is derived from them (a panel's features) is computed once for many tasks.
KEPT = 2


@dataclass(frozen=True)
class Shared(Generic[T]):
    """A handle to a value in a file; it pickles to a few bytes."""

    path: Path

    def get(self) -> T:
        """The value, its arrays memory-mapped and read-only; the same object for all tasks of a process."""
        return cast(T, _loaded(self.path))


@contextmanager
def shared(values: Sequence[T], folder: Path) -> Iterator[list[Shared[T]]]:
    """Inside the block the values lie in files of `folder`, which is removed after it.

    Args:
        values: anything that pickles; large arrays in them are mapped.
        folder: on a disk that every worker sees; what is in it is replaced.
    """
    import joblib

    # A killed process leaves its folder behind, and its name must not meet a file that is kept in memory.
    shutil.rmtree(folder, ignore_errors=True)
    place = folder / f"{os.getpid()}-{os.urandom(4).hex()}"
    place.mkdir(parents=True)
    try:
        handles = [Shared[T](place / f"{number}.joblib") for number in range(len(values))]
        for handle, value in zip(handles, values, strict=True):
            joblib.dump(value, handle.path)
        yield handles
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@lru_cache(maxsize=KEPT)
def _loaded(path: Path) -> Any:
    import joblib

    return joblib.load(path, mmap_mode="r")

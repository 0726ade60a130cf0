"""What units took: each a file of its own, so that nothing else depends on a clock."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from qn_env.storage import check_content, make_folder, read_sealed, write_sealed


class Took(TypedDict):
    """What one unit took, in seconds: of the processor, and of the clock on the wall."""

    cpu: float
    wall: float


@contextmanager
def timed(path: Path) -> Iterator[None]:
    """Write what the block took, of this process, unless it fails.

    Of a unit that was killed and went on, what it took since.
    """
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    make_folder(path.parent)
    write_sealed(
        path, {"cpu": round(time.process_time() - cpu, 3), "wall": round(time.perf_counter() - wall, 3)}
    )


def took(folder: Path, names: Sequence[str]) -> list[Took]:
    """What these units took, of those that said it."""
    paths = [folder / f"{name}.json" for name in names]
    return [check_content(path, read_sealed(path), Took) for path in paths if path.exists()]

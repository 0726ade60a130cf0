"""Progress of units that run in other processes: each writes how far it is, one board shows them all."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from agents.progress import shows_bars, tqdm
from agents.training import Progress
from experiments.running.scratch import scratch
from experiments.running.terminal import printable
from qn_env.errors import FileError
from qn_env.storage import write_atomically

REFRESH_SECONDS = 0.3


@contextmanager
def report_to_file(folder: Path, name: str) -> Iterator[Progress]:
    """What is told how far a task is, and writes it to `folder / name` now and then."""
    last = 0.0

    def write(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REFRESH_SECONDS or done >= total:
            last = now
            tell(f"{done} {total}")

    def tell(text: str) -> None:
        with suppress(FileError):  # no unit fails because a bar cannot move
            write_atomically(folder / name, text.encode())

    tell("0 1")
    yield write


class ProgressBoard:
    """One bar for all units with the remaining time, and one bar per training under way.

    Where nobody sees a bar, one line per finished unit instead.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._done: set[str] = set()
        self._live = shows_bars()
        self._stop = threading.Event()
        self._bars: dict[str, tqdm[None]] = {}

    def __enter__(self) -> Self:
        self._scratch = scratch()
        self.folder = self._scratch.__enter__()
        self._started = time.monotonic()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        if self._live:
            form = "{desc} {percentage:3.0f}%|{bar}| {n:.1f}/{total:.0f} units [{elapsed}<{remaining}]"
            self._total = tqdm(total=len(self._names), desc="all units", bar_format=form, position=0)
            self._thread.start()
        return self

    def finished(self, name: str, error: str | None) -> None:
        """Note that a unit has ended."""
        self._done.add(name)
        seconds = time.monotonic() - self._started
        text = f"[{len(self._done)}/{len(self._names)}] {name}: {error or 'done'} ({seconds:.0f} s)"
        if not self._live:
            print(printable(text), file=sys.stderr, flush=True)
        elif error:
            tqdm.write(printable(text), file=sys.stderr)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._live:
            self._thread.join()
            self._draw()
            for bar in (*self._bars.values(), self._total):
                bar.close()
        self._scratch.__exit__(kind, value, trace)

    def _watch(self) -> None:
        while not self._stop.wait(REFRESH_SECONDS):
            self._draw()

    def _draw(self) -> None:
        shares = {name: self._share(name) for name in self._names}
        self._total.n = sum(shares.values())
        self._total.refresh()
        for name in [n for n in self._bars if n in self._done]:
            self._bars.pop(name).close()
        for name, share in shares.items():
            if name in self._done or not (self.folder / name).exists():
                continue
            if name not in self._bars:
                form = "  {desc:<28} {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
                self._bars[name] = tqdm(total=1.0, desc=printable(name), bar_format=form, leave=False)
            self._bars[name].n = share
            self._bars[name].refresh()

    def _share(self, name: str) -> float:
        """How much of a unit is done, 0 to 1."""
        if name in self._done:
            return 1.0
        try:
            done, total = (self.folder / name).read_text().split()
        except (FileNotFoundError, ValueError):
            return 0.0
        return min(float(done) / float(total), 0.99)

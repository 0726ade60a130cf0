"""What reaches the terminal: text without control characters, and one line when a process is told to end."""

from __future__ import annotations

import shutil
import signal
import sys
import textwrap
import threading
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import FrameType
from typing import IO, Any, TextIO

from qn_env.storage import UncheckedWarning

# Controls, formats (they turn the direction of a line), surrogates: nothing that a reader would see.
UNSEEN = ("Cc", "Cf", "Cs")
LAYOUT = "\n\t"
EXIT_LOOKAHEAD = 3  # exit code of a command that found look-ahead
EXIT_FAILED = 4  # of a run in which a unit failed for another reason
EXIT_PIPE = 141  # of a command whose output nobody reads any more
LONGEST = 2000  # characters of an error


def printable(text: str) -> str:
    """The text with everything that a terminal would obey, or hide, written out.

    Examples:
        >>> printable("a" + chr(27) + "[2Jb") == "a" + chr(92) + "x1b[2Jb"
        True
    """
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in UNSEEN and c not in LAYOUT else c
        for c in text
    )


def complain(text: str) -> None:
    """Say what went wrong on standard error; of a text without end (a file's content) what a reader needs."""
    told = printable(text)
    if len(told) > LONGEST:
        told = f"{told[: LONGEST // 2]} ... {told[-LONGEST // 2 :]}"
    print(f"qn: {told}", file=sys.stderr)


def print_wrapped(text: str) -> None:
    """Print a paragraph broken between words; a long path stays whole, so that it can be copied."""
    width = shutil.get_terminal_size().columns
    print(textwrap.fill(text, width=max(width, 60), break_long_words=False, break_on_hyphens=False))


class Terminated(BaseException):
    """The process was told to end."""

    def __init__(self, number: int) -> None:
        """By a signal of this number."""
        super().__init__(number)
        self.number, self.name = number, signal.Signals(number).name


@contextmanager
def raise_when_terminated() -> Iterator[None]:
    """Inside the block a signal that asks to end raises `Terminated`; another one ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Terminated(number)

    asked = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    # One that is ignored (by nohup) stays ignored.
    before = {one: signal.signal(one, end) for one in asked if signal.getsignal(one) != signal.SIG_IGN}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def plain_terminal() -> Iterator[None]:
    """Inside the block what is printed is printable, and folders without checksums are noted once."""
    noted: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, UncheckedWarning):
            shown(message, category, *where, **more)
        elif str(message) not in noted:
            noted.add(str(message))
            print(f"Note: {printable(str(message))}", file=sys.stderr)

    shown: Any = warnings.showwarning
    plain: Any = _Plain(sys.stdout)
    with redirect_stdout(plain), warnings.catch_warnings():
        warnings.simplefilter("always", UncheckedWarning)
        warnings.showwarning = show
        yield


class _Plain:
    """A text stream into which nothing but printable text is written."""

    def __init__(self, stream: TextIO | IO[str]) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        shown = printable(text).encode(self._encoding, "backslashreplace").decode(self._encoding)
        self._stream.write(shown)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

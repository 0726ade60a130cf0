"""A peer in an interpreter of its own, so that its packages stay out of the project's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qn_env.errors import ConfigError


class Peer:
    """The peer's process: it answers every line of JSON with one line of JSON, until its input closes."""

    def __init__(self, python: Path, script: Path, *, option: str, install: str) -> None:
        """Start it.

        Args:
            python: an interpreter that has the peer installed.
            script: what it runs; imports nothing of this project.
            option: of the command line that named the interpreter, for the error.
            install: how to get such an interpreter.
        """
        self._option, self._install = option, install
        self._process = subprocess.Popen(
            [python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process: it reads until its input closes."""
        self._process.communicate(timeout=60)

    def ask(self, request: object) -> Any:
        """The answer to a request.

        Raises:
            ConfigError: the process has ended.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            answer = stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self._process.communicate()
            raise ConfigError(
                f"{self._option}: the peer's process ended with code {self._process.returncode} (its error "
                f"is above); expected an interpreter with the peer installed: {self._install}."
            )
        return json.loads(answer)

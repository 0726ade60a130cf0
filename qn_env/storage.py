"""Files: written whole or not at all, read as what they are, and known again by their checksum."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from qn_env.errors import FileError

# What a file that cannot be used raises; a ValueError where its name cannot even be asked for.
REFUSALS = (OSError, ValueError)
SEAL = "sha256"  # the key of a JSON file, and of a tensor file's metadata, that holds its checksum


class UncheckedWarning(UserWarning):
    """A file without a checksum was read; what it holds cannot be told from what was written."""


def digest(content: bytes) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def make_folder(path: Path) -> Path:
    """The folder, made with its parents where it is not there.

    Raises:
        FileError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except REFUSALS as error:
        raise FileError(f"{path}: the folder cannot be made ({reason_of(error)}).") from error
    return path


def own_folder(path: Path) -> Path:
    """`make_folder` inside a folder that may be a stranger's: a link would lead out of it.

    Raises:
        FileError: it is a link, or cannot be made.
    """
    if path.is_symlink():
        raise FileError(f"{path}: is a link, expected a folder in {path.parent} itself. Remove it.")
    return make_folder(path)


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the target, then rename: a killed process leaves the old file or the new one.

    Raises:
        FileError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except REFUSALS as error:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            temporary.unlink(missing_ok=True)
        raise FileError(f"{path}: cannot be written ({reason_of(error)}).") from error


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        FileError: it is not there or cannot be read.
    """
    try:
        return path.read_bytes()
    except REFUSALS as error:
        raise FileError(f"{path}: cannot be read ({reason_of(error)}).") from error


def reason_of(error: Exception) -> str:
    """What the operating system said, in words."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__).lower()


def parse_json(where: object, content: bytes | str) -> object:
    """What a JSON text holds.

    Args:
        where: the file.
        content: its content.

    Raises:
        FileError: it is not JSON in UTF-8.
    """
    try:
        # Decoded here: of bytes, json would guess the encoding.
        return json.loads(content if isinstance(content, str) else content.decode())
    except RecursionError as error:
        raise FileError(f"{where}: not valid JSON (nested too deeply).") from error
    except ValueError as error:  # of its syntax, of its encoding, of a number with thousands of digits
        raise FileError(f"{where}: not valid JSON ({error}).") from error


def read_object(path: Path) -> dict[str, Any]:
    """The names and values of a JSON file.

    Raises:
        FileError: no such file, not JSON, or something else than names and values.
    """
    content = parse_json(path, read_bytes(path))
    if not isinstance(content, dict):
        raise FileError(
            f"{path}: holds {type(content).__name__}, expected a JSON object of names and values."
        )
    return content


def write_sealed(path: Path, content: Mapping[str, object]) -> None:
    """Write names and values as JSON with their checksum, whole or not at all.

    Raises:
        FileError: it cannot be written.
    """
    whole = {**content, SEAL: _seal(content)}
    write_atomically(path, (json.dumps(whole, indent=2) + "\n").encode())


def read_sealed(path: Path) -> dict[str, object]:
    """What `write_sealed` wrote; a file without a checksum is read with an `UncheckedWarning`.

    Raises:
        FileError: no such file, not JSON, or not what was written.
    """
    content = read_object(path)
    seal = content.pop(SEAL, None)
    check_seal(path, seal, _seal(content))
    return content


def check_seal(path: Path, seal: object, expected: str) -> None:
    """Refuse content that is not what was written; without a checksum, warn.

    Raises:
        FileError: the checksums differ.
    """
    if seal is None:
        import warnings

        warnings.warn(
            f"{path.parent}: holds files of an earlier version without a checksum, {path.name} for one; "
            "they are "
            "read as they are.",
            UncheckedWarning,
            stacklevel=2,
        )
    elif seal != expected:
        raise FileError(
            f"{path}: changed since it was written (its checksum does not fit). Restore it, or remove it "
            "to have "
            "it made again."
        )


Content = TypeVar("Content")


def check_content(path: Path, values: Mapping[str, object], of: type[Content]) -> Content:
    """The same names and values, if they are what a file of that kind holds; further names stay.

    Args:
        path: the file.
        values: what it holds.
        of: a TypedDict or another type that says what it has to hold.

    Raises:
        FileError: a name is missing or a value is of another type.
    """
    import msgspec

    try:
        msgspec.convert(values, of)
    except msgspec.ValidationError as error:
        raise FileError(
            f"{path}: {error}. It was written by another version of qn_env, or by hand: repeat what wrote it."
        ) from error
    kept: Any = dict(values)
    content: Content = kept
    return content


def _seal(content: Mapping[str, object]) -> str:
    """Of the values, whatever the order and the layout of the text."""
    return digest(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())

"""The manifest of a folder: the checksum of every file in it, looked at whenever one is read.

`manifest.sha256` is in the format of the command sha256sum, so `sha256sum -c manifest.sha256` checks a folder
without this package. It tells what was changed by accident; who changes a file on purpose can write it anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qn_env.errors import FileError
from qn_env.storage import digest, read_bytes, write_atomically

NAME = "manifest.sha256"
LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


@dataclass(frozen=True)
class Manifest:
    """The files of a folder, by their paths relative to it, and their checksums."""

    folder: Path
    files: Mapping[str, str]

    @classmethod
    def of(cls, folder: Path, *, leave_out: Sequence[str] = (), only: Sequence[str] = ()) -> Manifest:
        """The manifest of the files that lie in a folder now, by their content.

        Args:
            folder: the folder.
            leave_out: files and folders in it that are no part of it.
            only: the files and folders in it that are; default: all.

        Raises:
            FileError: a file cannot be read.
        """
        names = cls.names(folder, leave_out=leave_out, only=only)
        return cls(folder, {name: digest(read_bytes(folder / name)) for name in sorted(names)})

    @staticmethod
    def names(folder: Path, *, leave_out: Sequence[str] = (), only: Sequence[str] = ()) -> set[str]:
        """The files of a folder by their paths relative to it; its own manifest is none of them."""
        files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return {
            path.as_posix()
            for path in files
            if path.parts != (NAME,)
            and path.parts[0] not in leave_out
            and (not only or path.parts[0] in only)
        }

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The manifest that lies in a folder; None where there is none.

        Raises:
            FileError: it is not a manifest.
        """
        path = folder / NAME
        if not path.exists():
            return None
        files = {}
        try:
            lines = read_bytes(path).decode().splitlines()
        except UnicodeDecodeError as error:
            raise FileError(f"{path}: not text in UTF-8 ({error}). Restore it.") from error
        for number, line in enumerate(lines, start=1):
            entry = LINE.fullmatch(line)
            if entry is None:
                raise FileError(
                    f"{path}: line {number} is {line[:80]!r}, expected a checksum and the path of a file. "
                    "Restore it."
                )
            files[entry[2]] = entry[1]
        if not files:
            raise FileError(
                f"{path}: is empty, expected a checksum for every file of the folder. Restore it."
            )
        return cls(folder, files)

    def write(self) -> None:
        """Write it into its folder, whole or not at all."""
        lines = [f"{checksum}  {name}\n" for name, checksum in sorted(self.files.items())]
        write_atomically(self.folder / NAME, "".join(lines).encode())

    def with_files(self, files: Mapping[str, str]) -> Manifest:
        """The same manifest with these files, too."""
        return Manifest(self.folder, {**self.files, **files})

    def read_checked(self, name: str) -> bytes:
        """The content of a file, if it is what was written.

        Args:
            name: its path relative to the folder.

        Raises:
            FileError: the file is not there, not in the manifest, or was changed.
        """
        path = self.folder / name
        if name not in self.files:
            raise FileError(
                f"{path}: not in {self.folder / NAME}, so nothing says what it held. Restore the folder."
            )
        content = read_bytes(path)
        if digest(content) != self.files[name]:
            raise FileError(
                f"{path}: changed since it was written; {self.folder / NAME} has another checksum. "
                "Restore the "
                "file, or repeat the run into a new folder."
            )
        return content

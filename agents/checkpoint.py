"""Checkpoints: plain JSON and safetensors, each with its checksum. Loading one never runs code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, overload

from qn_env.errors import ConfigError, FileError
from qn_env.storage import (
    SEAL,
    check_content,
    check_seal,
    make_folder,
    read_sealed,
    write_atomically,
    write_sealed,
)

if TYPE_CHECKING:
    from torch import Tensor

Record = TypeVar("Record")

JSON_NAME = "agent.json"
WEIGHTS_NAME = "weights.safetensors"
KINDS = (".json", ".safetensors")  # formats that hold data and nothing that runs
# The one key of a tensor file's metadata, so that equal tensors are equal bytes: safetensors does not order
# several. It holds the text beside the tensors and the checksum of both, as JSON.
ABOUT = "about"


def save_json(folder: Path, content: Mapping[str, object]) -> None:
    """Write an agent's plain data as `agent.json`, whole or not at all."""
    write_sealed(make_folder(folder) / JSON_NAME, content)


@overload
def load_json(folder: Path) -> dict[str, object]: ...
@overload
def load_json(folder: Path, of: type[Record]) -> Record: ...
def load_json(folder: Path, of: type = dict) -> object:
    """Read `agent.json`.

    Args:
        folder: where the agent was saved.
        of: a TypedDict that says what the agent writes; default: any names and values.

    Raises:
        FileError: there is none, it is not JSON, it was changed, or it holds something else.
    """
    path = _existing(folder / JSON_NAME)
    return check_content(path, read_sealed(path), of)


def save_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as `weights.safetensors`, whole or not at all."""
    write_tensors(make_folder(folder) / WEIGHTS_NAME, tensors)


def load_tensors(folder: Path) -> dict[str, Tensor]:
    """Read `weights.safetensors`.

    Raises:
        FileError: there is none, it is damaged, or it was changed.
    """
    return read_tensors(_existing(folder / WEIGHTS_NAME))[0]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], text: str = "") -> None:
    """Write tensors and a text beside them as safetensors with a checksum of both, whole or not at all."""
    from safetensors.torch import save

    # Clones: two names may share one storage, which the format refuses.
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    about = json.dumps({"text": text, SEAL: _seal(whole, text)})
    write_atomically(path, save(whole, metadata={ABOUT: about}))


def read_tensors(path: Path, *, sealed: bool = False) -> tuple[dict[str, Tensor], str]:
    """Tensors and text of a file of `write_tensors`.

    Args:
        path: the file.
        sealed: refuse a file without a checksum; else it is read with an `UncheckedWarning`.

    Raises:
        FileError: no such file, a damaged one, or not what was written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(ABOUT, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        seal, text = about.get(SEAL), str(about.get("text", ""))
    except (SafetensorError, OSError, ValueError, AttributeError, RecursionError) as error:
        raise FileError(f"{path}: damaged ({error}); restore it, or remove it to train again.") from error
    if seal is None and sealed:
        raise FileError(f"{path}: damaged (it has no checksum); restore it, or remove it to train again.")
    check_seal(path, seal, _seal(tensors, text))
    return tensors, text


def refuse_other_files(folder: Path) -> None:
    """Refuse a checkpoint that holds anything but JSON and safetensors: other formats can run code.

    Raises:
        ConfigError: no folder, another file, or a link.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: not found; expected a folder written by an agent's save.")
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or (path.is_file() and path.suffix in KINDS)):
            raise ConfigError(
                f"{path}: a checkpoint holds nothing but files that end in {' and '.join(KINDS)}; other "
                "formats can "
                "run code when they are read. Let the agent's save write tensors and plain JSON."
            )


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileError(f"{path}: not found; expected a folder written by an agent's save.")
    return path


def _seal(tensors: Mapping[str, Tensor], text: str) -> str:
    """SHA-256 of the text and of every tensor's name, type, shape and bytes."""
    import torch

    checksum = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        checksum.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        checksum.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return checksum.hexdigest()

"""Checkpoints: plain JSON and safetensors. Loading one never runs code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qn_env.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

JSON_NAME = "agent.json"
WEIGHTS_NAME = "weights.safetensors"


def save_json(folder: Path, content: dict[str, Any]) -> None:
    """Write an agent's plain data as `agent.json`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / JSON_NAME, (json.dumps(content, indent=2) + "\n").encode())


def load_json(folder: Path) -> dict[str, Any]:
    """Read `agent.json`.

    Raises:
        ConfigError: there is none, or it is not JSON.
    """
    path = folder / JSON_NAME
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: not found; expected a folder written by an agent's save.") from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: not valid JSON ({error}).") from error
    return content


def save_tensors(folder: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as `weights.safetensors`, whole or not at all."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(folder / WEIGHTS_NAME, save(contiguous))


def load_tensors(folder: Path) -> dict[str, Tensor]:
    """Read `weights.safetensors`.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / WEIGHTS_NAME
    try:
        tensors: dict[str, Tensor] = load(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: not found; expected a folder written by an agent's save.") from error
    except SafetensorError as error:
        raise ConfigError(f"{path}: damaged ({error}).") from error
    return tensors


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the target, then rename: a killed process leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)

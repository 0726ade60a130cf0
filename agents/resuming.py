"""Trainings that survive being killed: everything a training is, in one file, whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from agents.checkpoint import read_tensors, write_tensors
from qn_env.errors import FileError
from qn_env.storage import make_folder


@dataclass(frozen=True)
class Parts:
    """What changes while a network is trained."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    generators: Mapping[str, torch.Generator]


@dataclass(frozen=True)
class Keeper:
    """Stores one training's state; `path` None stores nothing."""

    path: Path | None
    parts: Parts

    @classmethod
    def of(cls, identity: str, parts: Parts, folder: Path | None) -> Keeper:
        """The keeper of the training that `identity` (settings, seed, data) and the first weights name."""
        if folder is None:
            return cls(None, parts)
        digest = hashlib.sha256(identity.encode())
        for tensor in parts.network.state_dict().values():
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return cls(folder / f"training-{digest.hexdigest()[:16]}.safetensors", parts)

    def save(self, progress: Mapping[str, Any], best: Mapping[str, Tensor]) -> None:
        """Write network, best weights, optimiser, generators, and `progress` as JSON."""
        if self.path is None:
            return
        tensors = {f"network.{k}": v for k, v in self.parts.network.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in best.items()}
        tensors |= {f"generator.{k}": g.get_state() for k, g in self.parts.generators.items()}
        for i, state in self.parts.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        make_folder(self.path.parent)
        write_tensors(self.path, tensors, json.dumps(dict(progress)))

    def load(self) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Put the parts back as they were; the stored progress and best weights, None if nothing is stored.

        Raises:
            FileError: a damaged file, or not what was written.
        """
        if self.path is None or not self.path.exists():
            return None
        tensors, text = read_tensors(self.path, sealed=True)
        try:
            progress: dict[str, Any] = json.loads(text)
            self.parts.network.load_state_dict(_under("network.", tensors))
            for name, generator in self.parts.generators.items():
                generator.set_state(tensors[f"generator.{name}"])
            self._load_optimizer(_under("optimizer.", tensors))
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise FileError(f"{self.path}: damaged ({error}); remove it to train again.") from error
        return progress, _under("best.", tensors)

    def _load_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            number, _, key = name.partition(".")
            state.setdefault(int(number), {})[key] = tensor
        groups = self.parts.optimizer.state_dict()["param_groups"]
        self.parts.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

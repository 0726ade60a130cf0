"""Experiments: run agents over a protocol, measure them, compare them, show it."""

from __future__ import annotations

from experiments.settings.config import RunConfig

__all__ = ["RunConfig", "compare"]


def __getattr__(name: str) -> object:
    # The harness pulls in pandas and PyTorch; the command line must not wait for them.
    if name == "compare":
        from experiments.running.runner import compare

        return compare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

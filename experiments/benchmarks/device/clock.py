"""Seconds on a device, and what it remembers of them."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """What one call takes: CPU seconds of this process, or elapsed ones until a card has finished."""
    if device.type == "cpu":
        begin = time.process_time()
        work()
        return time.process_time() - begin
    torch.cuda.synchronize(device)
    begin = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def begin_peak(device: torch.device) -> None:
    """Forget how much memory a card has held so far."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> str:
    """The most memory that a card has held since then, in words; nothing of the CPU."""
    if device.type == "cpu":
        return ""
    return f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB"

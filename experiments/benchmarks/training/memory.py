"""Peak memory at the paper's scale; the child process of the memory row.

`python -m experiments.benchmarks.training.memory CONFIG` lays the panel out, takes steps, and prints the
process's peak resident memory as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

import torch

from experiments.benchmarks.training.panels import paper
from experiments.benchmarks.training.step import JointStep

LIMIT_GB = 6.0
STEPS = 3


def peak_gb(config: dict[str, Any]) -> float:
    """Peak resident memory of this process after a few steps, in 10^9 bytes."""
    torch.set_num_threads(1)
    panel = paper(whole=config["paper"])
    step = JointStep(
        panel, length=config["length"], batch=config["batch"], cost_bps=0.0, device=config["device"]
    )
    for _ in range(STEPS):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    print(json.dumps({"peak_gb": peak_gb(json.loads(sys.argv[1]))}))

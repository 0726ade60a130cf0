"""The peer's side: a script for an interpreter in which empyrical-reloaded is installed.

It imports nothing of this project. Its argument is a file of daily returns [T, K] (NumPy). It measures every
column with every metric that both have and prints one line of JSON: the version, columns per CPU second, and
the figures [K] by metric, so that the parent can see that both measured the same.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

# Our name, and the function of the peer.
NAMES = {
    "cagr": "annual_return",
    "ann_volatility": "annual_volatility",
    "sharpe": "sharpe_ratio",
    "downside_risk": "downside_risk",
    "sortino": "sortino_ratio",
    "max_drawdown": "max_drawdown",
    "calmar": "calmar_ratio",
}


def main() -> None:
    """Measure once untimed, once timed."""
    empyrical = importlib.import_module("empyrical")
    functions = {ours: getattr(empyrical, theirs) for ours, theirs in NAMES.items()}
    columns = np.ascontiguousarray(np.load(sys.argv[1]).T)  # a series is a row, its days side by side
    measure(functions, columns[:10])
    begin = time.process_time()
    figures = measure(functions, columns)
    seconds = time.process_time() - begin
    version = importlib.metadata.version("empyrical-reloaded")
    print(json.dumps({"version": version, "rate": len(columns) / seconds, "figures": figures}))


def measure(functions: dict[str, Callable[..., Any]], columns: Any) -> dict[str, list[float]]:
    """Every metric of every column."""
    return {name: [float(function(column)) for column in columns] for name, function in functions.items()}


if __name__ == "__main__":
    main()

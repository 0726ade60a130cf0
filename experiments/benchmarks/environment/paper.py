"""The paper's scale: thousands of assets in dozens of markets of unequal length (QuantNet, Table 2).

As a script it is the child of the memory row: `python -m experiments.benchmarks.environment.paper CSV TIMES`
opens a panel TIMES as wide, steps it, takes one differentiable step and prints its peak memory as JSON.
"""

from __future__ import annotations

import csv
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.environment.floor import pad
from experiments.benchmarks.environment.play import draw, steps
from experiments.benchmarks.measure import Block, Row, compare, cpu_seconds, in_turn
from qn_env.environment import TradingEnv
from qn_env.panel import Panel
from qn_env.sources.synthetic import weekdays

WINDOW = 60
# The table counts training samples, which begin 752 trading days into a market's history.
HISTORY = 752
LIMIT_GB = 20.0


@dataclass(frozen=True)
class Size:
    """One market of the table."""

    market: str
    assets: int
    days: int


def sizes(path: Path) -> list[Size]:
    """The markets of a table with the columns market, samples and assets."""
    with path.open(newline="") as file:
        return [
            Size(row["market"], int(row["assets"]), int(row["samples"]) + HISTORY)
            for row in csv.DictReader(file)
        ]


def paper_panel(markets: list[Size], *, times: int = 1, seed: int = 0) -> Panel:
    """Noise: all markets end on the same day, shorter ones start later; each `times` as wide."""
    rng = np.random.default_rng(seed)
    T, N = max(m.days for m in markets), times * sum(m.assets for m in markets)
    returns = np.full((T, N), np.nan)
    names: list[str] = []
    for market in markets:
        width = times * market.assets
        shocks = 0.01 * rng.standard_normal((market.days, width), dtype=np.float32)
        returns[-market.days :, len(names) : len(names) + width] = shocks
        names += [market.market] * width
    return Panel.build(weekdays(T), [f"A{j}" for j in range(N)], names, returns, source="paper scale")


def paper_rows(path: Path, *, length: int, rounds: int) -> list[Row]:
    """A step of one environment over the copy of its own observation, at both ends of the history.

    On the first days only the longest markets are listed, on the last ones every asset is open.
    """
    panel = paper_panel(sizes(path))
    ends = {"first": WINDOW, "last": panel.shape[0] - length - 2}
    return [
        _paper_row(f"{end} {length} steps", panel, range(begin, begin + length), rounds)
        for end, begin in ends.items()
    ]


def _paper_row(what: str, panel: Panel, days: range, rounds: int) -> Row:
    N = panel.shape[1]
    env = TradingEnv(panel, window=WINDOW, start=panel.dates[days.start + 1])
    play = steps(env, draw(len(days), N))
    sides: dict[str, Block] = {"step": lambda: 1e6 / play(), "copy": copies(panel, days)}
    what = f"{what}, {N:,} assets in {len(panel.markets)} markets / copy of the observation"
    return compare(what, "us", in_turn(sides, rounds), "step", "copy", high=1.5)


def copies(panel: Panel, days: range) -> Block:
    """CPU microseconds of fresh copies of a day's observation, day after day."""
    returns, tradable = pad(panel, WINDOW)
    positions = np.zeros(panel.shape[1])

    def play() -> object:
        last = None
        for t in days:
            rows = slice(t, t + WINDOW)
            last = returns[rows].copy(), tradable[rows].copy(), positions.copy()
        return last

    return lambda: 1e6 * cpu_seconds(play) / len(days)


def scale_row(path: Path, *, times: int = 10) -> Row:
    """Peak memory of a process that opens, steps and differentiates a panel ten times as wide."""
    command = [sys.executable, "-m", "experiments.benchmarks.environment.paper", str(path), str(times)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    what = f"memory, {times} times the paper's assets: open, step, one optimiser step / limit"
    if done.returncode != 0:
        # Above the limit the process may die of it; that is a figure too.
        return Row(what=what, unit="GB", baseline=LIMIT_GB, high=1.0, note=f"exit code {done.returncode}")
    figures = json.loads(done.stdout)
    gigabytes = figures["peak_gb"]
    return Row(
        what=what,
        unit="GB",
        ours=gigabytes,
        baseline=LIMIT_GB,
        ratio=gigabytes / LIMIT_GB,
        high=1.0,
        note=", ".join(f"{key} {value:.1f}" for key, value in figures.items() if key.startswith("after")),
    )


def at_scale(path: Path, times: int) -> dict[str, float]:
    """Open, step, draw a batch, take one optimiser step; seconds of each, and peak memory in GB."""
    import torch

    torch.set_num_threads(1)
    marks: dict[str, float] = {}
    last = time.process_time()

    def mark(name: str) -> None:
        nonlocal last
        now = time.process_time()
        marks[f"{name}_s"], last = now - last, now
        marks[f"after_{name}_gb"] = peak_gb()

    panel = paper_panel(sizes(path), times=times)
    mark("panel")
    env = TradingEnv(panel, window=WINDOW)
    env.reset()
    mark("open")
    for action in draw(20, panel.shape[1]):
        env.step(action)
    mark("steps")
    episodes = env.episodes(generator=torch.Generator().manual_seed(0))
    mark("episodes")
    _learn(episodes.sample(markets=4, length=63, batch=4))
    mark("learn")
    return {"assets": panel.shape[1], **marks, "peak_gb": peak_gb()}


def _learn(batch: dict[str, Any]) -> None:
    """One step of Adam on a network that treats assets alike, through costs, to every market's mean."""
    import torch

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimiser = torch.optim.Adam(network.parameters())
    loss = torch.zeros((), dtype=torch.float64)
    for episode in batch.values():
        signals = torch.tanh(network(100.0 * episode.inputs[..., None])[..., 0])
        loss = loss - episode.settle(signals).net.mean() / len(batch)
    torch.autograd.backward(loss)
    optimiser.step()


def peak_gb() -> float:
    """Peak resident memory of this process, in 10^9 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    # A machine without swap: refuse an allocation rather than bring the neighbours down.
    resource.setrlimit(resource.RLIMIT_DATA, (int(22e9), int(22e9)))
    print(json.dumps(at_scale(Path(sys.argv[1]), int(sys.argv[2]))))

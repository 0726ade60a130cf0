"""QuantNet's rows: a step against public style and against its own bare parts, on both panels."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from statistics import median

import torch

from experiments.benchmarks.measure import Block, Row, compare, in_turn
from experiments.benchmarks.training.memory import LIMIT_GB
from experiments.benchmarks.training.panels import of_sizes, paper
from experiments.benchmarks.training.public import PublicStep
from experiments.benchmarks.training.step import DIMENSION, LEARNING_RATE, JointStep, seconds
from qn_env.panel import Panel

# Sampling, settling and scoring may take so much of a step.
AROUND = 0.10


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run of these rows.

    Attributes:
        rounds: repetitions of each comparison on the small panel; a third as many at the paper's scale.
        sizes: assets of the small panel's markets.
        days: of the small panel.
        length: days of a window.
        batch: windows per market.
        steps: timed steps of the small panel in a round, few so that both sides see the same neighbours; one
            at the paper's scale.
        paper: whether the large panel is the paper's 58 markets, or a few small ones.
        device: cpu or cuda.
    """

    rounds: int = 21
    sizes: tuple[int, ...] = tuple(range(5, 55, 5))
    days: int = 2000
    length: int = 63
    batch: int = 32
    steps: int = 3
    paper: bool = True
    device: str = "cpu"

    @classmethod
    def quick(cls, *, device: str = "cpu") -> Config:
        """Every row in seconds: to see that it runs, not how fast."""
        return cls(rounds=1, sizes=(2, 3), days=120, length=10, batch=3, steps=1, paper=False, device=device)


def rows(config: Config) -> Iterator[Row]:
    """Measure, row after row."""
    small = of_sizes(config.sizes, config.days)
    what = f"{len(config.sizes)} markets"
    yield public_row(small, config)
    near = step_figures(small, config, cost_bps=0.0)
    yield around_row(what, near)
    yield around_row(f"{what}, costs of 2 bp", step_figures(small, config, cost_bps=2.0))
    large = paper(whole=config.paper)
    once = replace(config, steps=1, rounds=-(-config.rounds // 3))
    what = f"{len(large.markets)} markets, {large.shape[1]:,} assets"
    far = step_figures(large, once, cost_bps=0.0)
    yield around_row(what, far)
    yield around_row(f"{what}, costs of 2 bp", step_figures(large, once, cost_bps=2.0))
    yield versus_row(f"rate of the step, {what} / small panel", "GFLOP/s", "gigaflops", far, near, low=1.0)
    yield versus_row("share around, paper scale / small panel", "of the step", "around", far, near, high=1.0)
    yield memory_row(config)


def public_row(panel: Panel, config: Config) -> Row:
    """Steps per second against public style on the same panel."""
    joint = JointStep(panel, length=config.length, batch=config.batch, cost_bps=0.0, device=config.device)
    history = {
        name: torch.tensor(market.compact(panel.returns), device=config.device)
        for name, market in panel.markets.items()
    }
    public = PublicStep(
        history, dimension=DIMENSION, length=config.length, batch=config.batch, rate=LEARNING_RATE
    )
    sides = {
        "ours": _rate(joint, config.device, config.steps),
        "public": _rate(public, config.device, config.steps),
    }
    return compare(
        f"joint float32 step, {len(config.sizes)} markets / float64, market by market",
        "steps/s",
        in_turn(sides, config.rounds),
        "ours",
        "public",
        low=5.0,
    )


def step_figures(panel: Panel, config: Config, *, cost_bps: float) -> dict[str, list[float]]:
    """By round: ms of a whole and of a bare step, the share around it, and the whole step's rate."""
    joint = JointStep(
        panel, length=config.length, batch=config.batch, cost_bps=cost_bps, device=config.device
    )
    bare = joint.bare()
    sides: dict[str, Block] = {
        "full": lambda: 1e3 * seconds(joint, config.device, config.steps),
        "bare": lambda: 1e3 * seconds(bare, config.device, config.steps),
    }
    seconds_of = in_turn(sides, config.rounds)
    pairs = list(zip(seconds_of["full"], seconds_of["bare"], strict=True))
    return seconds_of | {
        "around": [max(1.0 - bare / full, 1e-9) for full, bare in pairs],
        "gigaflops": [1e-6 * joint.flops() / full for full, _ in pairs],
    }


def around_row(what: str, figures: dict[str, list[float]]) -> Row:
    """The share of a step that is spent around LSTMs, linear layers and optimiser."""
    return Row(
        what=f"share around the bare network and optimiser, {what}",
        unit="ms",
        ours=median(figures["full"]),
        baseline=median(figures["bare"]),
        ratio=median(figures["around"]),
        high=AROUND,
        note="whole step, bare step, share of the whole",
    )


def versus_row(
    what: str,
    unit: str,
    name: str,
    far: dict[str, list[float]],
    near: dict[str, list[float]],
    *,
    low: float | None = None,
    high: float | None = None,
) -> Row:
    """A figure at the paper's scale against the small panel's, median by median: not measured in turn."""
    ours, baseline = median(far[name]), median(near[name])
    return Row(what=what, unit=unit, ours=ours, baseline=baseline, ratio=ours / baseline, low=low, high=high)


def memory_row(config: Config) -> Row:
    """Peak memory of a process that trains at the paper's scale."""
    command = [sys.executable, "-m", "experiments.benchmarks.training.memory", json.dumps(asdict(config))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    gigabytes = float(json.loads(done.stdout)["peak_gb"])
    return Row(
        what="memory, steps at the paper's scale / limit",
        unit="GB",
        ours=gigabytes,
        baseline=LIMIT_GB,
        ratio=gigabytes / LIMIT_GB,
        high=1.0,
    )


def _rate(work: Callable[[], None], device: str, steps: int) -> Block:
    return lambda: 1.0 / seconds(work, device, steps)

"""Steps of populations on a device, and the same trainings one by one on a CPU core."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from statistics import median
from typing import Any, NamedTuple

import torch

from agents.dmn import DeepMomentum
from agents.dmn.architectures import ARCHITECTURES
from agents.dmn.config import NetworkName
from agents.dmn.course import Course, Known
from agents.dmn.population import train_courses
from agents.population.loop import train_together
from agents.quantnet import QuantNet
from agents.quantnet.course import Course as MarketCourse
from agents.quantnet.population import QuantNetProgramme
from agents.training import Monitor
from experiments.benchmarks.device.clock import begin_peak, peak, seconds
from experiments.benchmarks.measure import Row
from qn_env.environment import TradingEnv
from qn_env.panel import Panel
from qn_env.sources.synthetic import ar1_trend

LENGTH = 63
# Training sequences a second that the arithmetic (width 20) and the memory (width 80) of an H200 allow: 51
# TFLOP/s in float32 and activations written and read once at 4.1 TB/s.
LIMIT = {20: 60e6, 80: 5e6}
TARGET = {20: 5e6, 80: 1e6}
CPU = torch.device("cpu")
SILENT = Monitor(progress=lambda _done, _total: None)


@lru_cache
def trending(markets: int, days: int) -> Panel:
    """Four assets a market."""
    return ar1_trend(markets=markets, assets=4, days=days, seed=0)


def environments(agent: DeepMomentum | QuantNet, panel: Panel) -> tuple[TradingEnv, TradingEnv]:
    """What an agent learns from, and a short block that it is selected on."""
    asked = agent.settings
    options: dict[str, Any] = {
        "window": asked.window,
        "features": asked.features,
        "vol_target": asked.vol_target,
        "cost_bps": asked.train_cost_bps,
    }
    last = len(panel.dates) - 90
    learn = TradingEnv(panel.until(panel.dates[last]), **options)
    return learn, TradingEnv(panel, start=panel.dates[last + 1], **options)


class Shape(NamedTuple):
    """What members of a population have in common.

    Attributes:
        network: of the Deep Momentum family.
        hidden: its width.
        batch: trajectories of 63 days of a step, or asset-days where a network reads days.
    """

    network: NetworkName
    hidden: int
    batch: int

    def __str__(self) -> str:
        return self.network if self.network == "linear" else f"{self.network} of width {self.hidden}"


def dmn_courses(panel: Panel, members: int, shape: Shape, epochs: int) -> list[Course]:
    """Trainings that see the same blocks and draw their own batches and masks."""
    known: Known = {}
    courses = []
    learn, held = environments(DeepMomentum(), panel)
    for seed in range(members):
        agent = DeepMomentum(**shape._asdict(), epochs=epochs, patience=epochs)
        agent.monitor = SILENT
        courses.append(agent.course(learn, seed, held, known))
    return courses


def dmn_rows(panel: Panel, shape: Shape, members: Sequence[int], device: torch.device) -> Iterator[Row]:
    """Rows that are learnt from in a second, drawing, validating and stopping included."""
    core, best = _alone(panel, shape), 0.0
    days = "asset-days" if ARCHITECTURES[shape.network].one_by_one else "sequences"
    for K in members:
        begin_peak(device)
        rate = _together(panel, K, shape, device)
        best = max(best, rate)
        yield Row(
            what=f"{shape}, {K} networks on {device} / one on a CPU core",
            unit=f"{days}/s",
            ours=rate,
            baseline=core,
            ratio=rate / core,
            note=peak(device),
        )
    if device.type == "cuda" and shape.network == "lstm":
        for what, bound, low in (("target", TARGET, 1.0), ("limit", LIMIT, 1 / 3)):
            if shape.hidden in bound:
                yield Row(
                    what=f"{shape}, the most / the {what}",
                    unit=f"{days}/s",
                    ours=best,
                    baseline=bound[shape.hidden],
                    ratio=best / bound[shape.hidden],
                    low=low,
                )


def _together(panel: Panel, members: int, shape: Shape, device: torch.device) -> float:
    """Epochs of a population until some seconds have passed, less one, in which it sets itself up."""

    def epochs(number: int) -> float:
        courses = dmn_courses(panel, members, shape, number)
        return seconds(lambda: train_courses(courses, device, lambda _done, _total: None), device)

    rows = len(dmn_courses(panel, 1, shape, 1)[0].learn) * members
    if device.type == "cuda":
        epochs(1)  # libraries set themselves up, and kernels are compiled
    one = epochs(1)
    more = max(int(2.0 / one), 1)
    return rows * more / max(epochs(1 + more) - one, 1e-9)


def _alone(panel: Panel, shape: Shape) -> float:
    """The same of one training on a CPU core."""

    def epochs(number: int) -> float:
        (course,) = dmn_courses(panel, 1, shape, number)
        return seconds(course.alone, CPU)

    rows = len(dmn_courses(panel, 1, shape, 1)[0].learn)
    epochs(1)
    one, three = (median(epochs(number) for _ in range(3)) for number in (1, 3))
    return 2 * rows / max(three - one, 1e-9)


def market_rows(
    panel: Panel, members: list[int], device: torch.device, steps: int, batch: int
) -> Iterator[Row]:
    """Steps of QuantNet a second, of every member of a population, against one on a CPU core."""
    what = f"QuantNet, {len(panel.markets)} markets, {panel.shape[1]:,} assets"
    alone = _market_seconds(_market_alone, panel, 1, batch, CPU, steps)
    for K in members:
        begin_peak(device)
        together = _market_seconds(_market_together, panel, K, batch, device, steps) / K
        yield Row(
            what=f"{what}, a step of each of {K} on {device} / one on a CPU core",
            unit="ms",
            ours=1e3 * together,
            baseline=1e3 * alone,
            ratio=alone / together,
            low={1: 10.0, 8: 40.0}.get(K) if device.type == "cuda" and len(panel.markets) > 50 else None,
            note=peak(device),
        )


def _market_courses(
    panel: Panel, members: int, batch: int, device: torch.device, steps: int
) -> list[MarketCourse]:
    known: Any = {}
    courses = []
    for seed in range(members):
        agent = QuantNet(batch=batch, length=min(LENGTH, len(panel.dates) // 3), steps=steps, epoch=steps)
        agent.monitor = SILENT
        learn, held = environments(agent, panel)
        courses.append(
            MarketCourse.of(
                agent.config,
                agent._begin(learn, seed),
                learn,
                held,
                agent.unit_,
                seed=seed,
                monitor=SILENT,
                device=device,
                known=known,
            )
        )
    return courses


def _market_together(courses: list[MarketCourse], device: torch.device) -> None:
    train_together(
        [course.job for course in courses],
        lambda numbers: QuantNetProgramme([courses[k] for k in numbers], device),
        device=device,
        progress=lambda _done, _total: None,
    )


def _market_alone(courses: list[MarketCourse], _device: torch.device) -> None:
    (course,) = courses
    course.alone()


def _market_seconds(
    train: Callable[[list[MarketCourse], torch.device], None],
    panel: Panel,
    members: int,
    batch: int,
    device: torch.device,
    steps: int,
) -> float:
    """Seconds of a step: of a training less one of a few steps, with the same setting up and validation."""

    def total(number: int) -> float:
        gc.collect()  # histories of thousands of assets, which are otherwise left to lie
        courses = _market_courses(panel, members, batch, device, number)
        return seconds(lambda: train(courses, device), device)

    few = 5
    total(few)
    return max(total(few + steps) - total(few), 1e-9) / steps

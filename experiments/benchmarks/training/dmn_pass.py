"""What comes before and after a training of Deep Momentum Networks: the features, and a test pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any, get_args

from agents.dmn import DeepMomentum
from agents.dmn.config import NetworkName
from experiments.benchmarks.measure import Block, Row, cpu_seconds, in_turn
from experiments.benchmarks.training.panels import of_sizes
from qn_env.environment import TradingEnv
from qn_env.features import dmn_features
from qn_env.panel import Panel
from qn_env.year import DAYS_PER_YEAR

LIMIT_SECONDS = 0.3
WARMUP_DAYS = 400
NETWORKS: tuple[NetworkName, ...] = get_args(NetworkName)

# How good the weights are does not matter to the time a pass takes.
TRAINING_SIZE, TRAINING_DAYS = 4, 1000


def feature_row(*, assets: int, days: int, rounds: int) -> Row:
    """CPU seconds of the eight features, on a panel that has computed nothing yet."""
    panel = of_sizes((assets,), days)
    figures = in_turn({"ours": lambda: cpu_seconds(lambda: fresh(panel).features(dmn_features()))}, rounds)
    return _limit_row(f"the eight features of {assets} x {days:,}", figures["ours"])


def pass_rows(*, assets: int, years: int, wide: int, rounds: int) -> list[Row]:
    """CPU seconds of test passes: the LSTM of width `wide`, and the slowest network of the default width.

    The panel computes features once for all agents, so they are at hand; one row includes them.
    """
    panel = of_sizes((assets,), years * DAYS_PER_YEAR + WARMUP_DAYS)
    lstm = train_briefly("lstm", hidden=wide)
    defaults = {name: train_briefly(name) for name in NETWORKS}
    sides: dict[str, Block] = {
        "wide": _seconds(lstm, lambda: panel),
        "with features": _seconds(lstm, lambda: fresh(panel)),
        **{name: _seconds(agent, lambda: panel) for name, agent in defaults.items()},
    }
    figures = in_turn(sides, rounds)
    what = f"test pass, {assets} contracts, {years} years"
    slowest = max(NETWORKS, key=lambda name: median(figures[name]))
    note = f"{slowest}; " + ", ".join(f"{name} {median(figures[name]):.2f}" for name in NETWORKS)
    return [
        _limit_row(f"{what}: LSTM of width {wide}", figures["wide"]),
        _limit_row(f"{what}: the same, features included", figures["with features"]),
        _limit_row(
            f"{what}: slowest network of width {defaults[slowest].config.hidden}", figures[slowest], note
        ),
    ]


def train_briefly(network: NetworkName, **options: Any) -> DeepMomentum:
    """An agent after one epoch on a small panel; `options` as in `DmnConfig`."""
    agent = DeepMomentum(network=network, epochs=1, **options)
    settings = agent.settings
    panel = of_sizes((TRAINING_SIZE,), TRAINING_DAYS)
    return agent.fit(TradingEnv(panel, features=settings.features, vol_target=settings.vol_target), seed=0)


def _seconds(agent: DeepMomentum, panel: Callable[[], Panel]) -> Block:
    def block() -> float:
        given = panel()
        return cpu_seconds(lambda: agent.signals(given))

    return block


def fresh(panel: Panel) -> Panel:
    """The same data; nothing computed from it is kept."""
    return replace(panel)


def _limit_row(what: str, seconds: list[float], note: str = "") -> Row:
    ours = median(seconds)
    ratio = ours / LIMIT_SECONDS
    return Row(
        what=f"{what} / limit",
        unit="CPU s",
        ours=ours,
        baseline=LIMIT_SECONDS,
        ratio=ratio,
        high=1.0,
        note=note,
    )

"""Thirty assets, a window of 60 days: steps, vector steps, resets, and whether time matters to them."""

from __future__ import annotations

import numpy as np
from gymnasium.vector import SyncVectorEnv
from numpy.typing import NDArray

from experiments.benchmarks.environment.floor import FloorEnv, Gather, pad
from experiments.benchmarks.environment.play import draw, resets, steps, vector, vector_steps
from experiments.benchmarks.measure import Block, Row, compare, cpu_seconds, in_turn
from qn_env.environment import TradingEnv
from qn_env.panel import Panel
from qn_env.sources.synthetic import noise, ragged

N_ASSETS = 30
WINDOW = 60
RESET_LIMIT_US = 60.0


def walk(days: int, *, seed: int = 0) -> Panel:
    """A random walk: 30 assets in 6 markets, open every day."""
    return noise(markets=6, assets=N_ASSETS // 6, days=days, seed=seed)


def scalar_rows(*, days: int, length: int, rounds: int) -> list[Row]:
    """One environment's step against the floor and against copying its observation."""
    panel, actions = walk(days), draw(length, N_ASSETS)
    figures = in_turn(
        {
            "ours": steps(TradingEnv(panel, window=WINDOW), actions),
            "floor": steps(FloorEnv(panel, window=WINDOW), actions),
            "copyto": copies(panel, length),
            "ragged": steps(
                TradingEnv(ragged(sizes=[N_ASSETS // 6] * 6, days=days, seed=0), window=WINDOW), actions
            ),
        },
        rounds,
    )
    return [
        compare("step / minimal NumPy environment", "steps/s", figures, "ours", "floor", low=0.8),
        compare("step / numpy.copyto of its observation", "steps/s", figures, "ours", "copyto"),
        compare(
            "step, holidays, halts and delistings / open every day", "steps/s", figures, "ragged", "ours"
        ),
    ]


def copies(panel: Panel, length: int) -> Block:
    """Observations per CPU second written by numpy.copyto over one and the same buffer, day after day."""
    returns, tradable = pad(panel, WINDOW)
    positions = np.zeros(panel.shape[1])
    into = (np.empty_like(returns[:WINDOW]), np.empty_like(tradable[:WINDOW]), np.empty_like(positions))

    def play() -> None:
        for t in range(length):
            np.copyto(into[0], returns[t : t + WINDOW])
            np.copyto(into[1], tradable[t : t + WINDOW])
            np.copyto(into[2], positions)

    return lambda: length / cpu_seconds(play)


def vector_rows(*, days: int, length: int, large: int, small: int, rounds: int) -> list[Row]:
    """The native vector environment against a bare gather, against its row mode, against SyncVectorEnv."""
    panel = walk(days)
    many, few = draw(length, large, N_ASSETS), draw(length, small, N_ASSETS)
    scalars = SyncVectorEnv([lambda: TradingEnv(panel, window=WINDOW, random_start=True)] * small)
    sides = {
        "window": vector_steps(vector(panel, large, window=WINDOW), many),
        "gather": gathers(panel, large, length),
        "row": vector_steps(vector(panel, large, window=WINDOW, observation="row"), many),
        "index": vector_steps(vector(panel, large, window=WINDOW, observation="index"), many),
        "few": vector_steps(vector(panel, small, window=WINDOW), few),
        "few gathers": gathers(panel, small, length),
        "sync": vector_steps(scalars, few[: max(length // 5, 2)]),
    }
    figures = in_turn(sides, rounds)

    def row(what: str, ours: str, baseline: str, low: float | None = None) -> Row:
        return compare(what, "steps/s", figures, ours, baseline, low=low)

    return [
        row(f"vector step, {large} environments / bare gather of the windows", "window", "gather", 0.6),
        row(f"vector step, {small} environments / bare gather of the windows", "few", "few gathers"),
        row(f"vector step, {small} environments / SyncVectorEnv of the scalar one", "few", "sync", 10.0),
        row(f"vector step, {large} environments, row mode / window mode", "row", "window", 3.0),
        row(f"vector step, {large} environments, index mode / window mode", "index", "window"),
    ]


def gathers(panel: Panel, num_envs: int, length: int) -> Block:
    """Windows per CPU second of a bare gather at random starts, day after day."""
    gather = Gather(panel, window=WINDOW)
    starts = np.random.default_rng(0).integers(0, panel.shape[0] - length, num_envs)

    def play() -> object:
        last = None
        for t in range(length):
            last = gather(starts + t)
        return last

    return lambda: num_envs * length / cpu_seconds(play)


def flat_row(*, days: int, early: int, late: int, rounds: int) -> Row:
    """Steps after `late` of them against the first `early`."""
    env = TradingEnv(walk(days), window=WINDOW)
    actions: NDArray[np.float32] = draw(late + early, N_ASSETS)
    figures = in_turn({"late": steps(env, actions, skip=late), "early": steps(env, actions[:early])}, rounds)
    what = f"steps {late} to {late + early} / steps 0 to {early}"
    return compare(what, "steps/s", figures, "late", "early", low=0.9, high=1.1)


def reset_rows(*, lengths: tuple[int, ...], times: int, rounds: int) -> list[Row]:
    """A reset on panels of several lengths against the limit."""
    sides = {f"{days:,}": resets(TradingEnv(walk(days), window=WINDOW), times) for days in lengths}
    figures = in_turn(sides, rounds) | {"limit": [RESET_LIMIT_US] * rounds}
    return [compare(f"reset, {days} days / limit", "us", figures, days, "limit", high=1.0) for days in sides]

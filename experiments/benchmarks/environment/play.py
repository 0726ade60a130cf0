"""Timed blocks: an environment, or a vector of them, played with actions drawn beforehand."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from experiments.benchmarks.measure import Block, cpu_seconds
from qn_env import ENV_ID
from qn_env.panel import Panel


def draw(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    """Uniform signals in [-1, 1], float32 as policies give them."""
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape).astype(np.float32)


def steps(env: Any, actions: NDArray[np.float32], *, skip: int = 0) -> Block:
    """Steps per CPU second of one environment from reset, or from `skip` steps after it."""
    early, timed = list(actions[:skip]), list(actions[skip:])

    def block() -> float:
        env.reset()
        for action in early:
            env.step(action)

        def play() -> object:
            # What a step returned lives until the next one is there, as an agent keeps it.
            last = None
            for action in timed:
                last = env.step(action)
            return last

        return len(timed) / cpu_seconds(play)

    return block


def vector_steps(env: Any, actions: NDArray[np.float32]) -> Block:
    """Transitions per CPU second of a vector environment; actions [steps, B, N]."""

    def block() -> float:
        env.reset(seed=0)

        def play() -> object:
            last = None
            for action in actions:
                last = env.step(action)
            return last

        return int(actions.shape[0] * actions.shape[1]) / cpu_seconds(play)

    return block


def resets(env: Any, times: int) -> Block:
    """CPU microseconds of one reset."""

    def play() -> None:
        for _ in range(times):
            env.reset()

    return lambda: 1e6 * cpu_seconds(play) / times


def vector(
    panel: Panel, num_envs: int, *, window: int, observation: str = "window", autoreset_mode: str = "NextStep"
) -> Any:
    """The native vector environment, every episode from a random day on."""
    return gymnasium.make_vec(
        ENV_ID,
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        panel=panel,
        window=window,
        observation=observation,
        random_start=True,
        autoreset_mode=autoreset_mode,
    )

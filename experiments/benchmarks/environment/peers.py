"""The peers' side: a script for an interpreter in which gym-anytrading and gym-trading-env are installed.

It imports nothing of this project. The first line it reads is JSON {"prices": [...], "window": w}, answered
with the peers' versions. For every further line it measures each way of using each peer once and answers with
one line of JSON, a dictionary of transitions per CPU second, so that the parent can measure its own side in
turn. The words in front of the colon name the package.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

VECTOR = 64


def main() -> None:
    """Answer until the input ends."""
    answer, sys.stdout = sys.stdout, sys.stderr  # what a peer prints must not mix with the answers
    request = json.loads(sys.stdin.readline())
    ways = everything(request["prices"], request["window"])
    # gym-trading-env turns every warning of the process into an error, gym-anytrading's among them.
    warnings.simplefilter("ignore")
    versions = {name: importlib.metadata.version(name) for name in ("gym-anytrading", "gym-trading-env")}
    print(json.dumps(versions), file=answer, flush=True)
    for _ in sys.stdin:
        print(json.dumps({name: play() for name, play in ways.items()}), file=answer, flush=True)


def everything(prices: Sequence[float], window: int) -> dict[str, Callable[[], float]]:
    """Each peer in each way its documentation shows, rendering and printing off."""
    return {**anytrading(prices, window), **trading_env(prices, window)}


def anytrading(prices: Sequence[float], window: int) -> dict[str, Callable[[], float]]:
    """gym-anytrading: `gym.make` with a frame and `StocksEnv` built directly (README); 64 of the latter."""
    pandas = importlib.import_module("pandas")
    stocks = importlib.import_module("gym_anytrading.envs").StocksEnv
    frame = pandas.DataFrame({"Close": prices})
    options = {"df": frame, "window_size": window, "frame_bound": (window, len(frame))}
    steps = len(frame) - window - 2
    actions = np.random.default_rng(0).integers(0, 2, (steps, VECTOR))
    made = gymnasium.make("stocks-v0", **options)
    vector = gymnasium.vector.SyncVectorEnv([lambda: stocks(**options)] * VECTOR)
    return {
        "gym-anytrading: gym.make": lambda: scalar(made, actions[:, 0]),
        "gym-anytrading: StocksEnv": lambda: scalar(stocks(**options), actions[:, 0]),
        "gym-anytrading: SyncVectorEnv": lambda: batch(vector, actions[:100]),
    }


def trading_env(prices: Sequence[float], window: int) -> dict[str, Callable[[], float]]:
    """gym-trading-env: `gym.make("TradingEnv", ...)` of its quick start, the newest row or a window."""
    pandas = importlib.import_module("pandas")
    importlib.import_module("gym_trading_env")
    days = pandas.date_range("2000-01-03", periods=len(prices), freq="D")
    columns = ("open", "high", "low", "close")
    frame = pandas.DataFrame(dict.fromkeys(columns, np.asarray(prices)), index=days)
    frame["feature_close"] = frame["close"].pct_change().fillna(0.0)
    actions = np.random.default_rng(0).integers(0, 3, len(frame) - window - 2)

    def make(windows: int | None) -> Any:
        return gymnasium.make(
            "TradingEnv",
            name="walk",
            df=frame,
            positions=[-1, 0, 1],
            trading_fees=2e-4,
            borrow_interest_rate=0.0,
            windows=windows,
            verbose=0,
        )

    row, windowed = make(None), make(window)
    return {
        "gym-trading-env: newest row": lambda: scalar(row, actions),
        "gym-trading-env: window": lambda: scalar(windowed, actions),
    }


def scalar(env: Any, actions: Any) -> float:
    """Steps per CPU second of one episode."""
    env.reset(seed=0)
    chosen = actions.tolist()
    begin = time.process_time()
    for action in chosen:
        env.step(action)
    return len(chosen) / (time.process_time() - begin)


def batch(env: Any, actions: Any) -> float:
    """Transitions per CPU second of a vector environment."""
    env.reset(seed=0)
    begin = time.process_time()
    for action in actions:
        env.step(action)
    return float(actions.size / (time.process_time() - begin))


if __name__ == "__main__":
    main()

"""Keras's side: a script for an interpreter in which TensorFlow is installed.

It imports nothing of this project. The first line it reads is JSON {"width", "batch", "days", "features",
"dropout", "steps"}, answered with versions. For every further line it trains an LSTM with dropout on inputs
and recurrent state, compiled in two ways, so many steps each, and answers with one line of JSON, sequences
per CPU second by way, so that the parent can measure its own side in turn. Steps are `train_on_batch`: `fit`
makes the same ones, and a data pipeline around them that is dear when an epoch is short.

A step does a little less than the project's: no mask on the outputs, on padding or on days that do not count,
no clipping, and its data are noise. One thread, on the CPU.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

DAYS_PER_YEAR = 252
FLOOR = 1e-8
LEARNING_RATE = 1e-2


def main() -> None:
    """Answer until the input ends."""
    answer, sys.stdout = sys.stdout, sys.stderr  # what TensorFlow prints must not mix with the answers
    request = json.loads(sys.stdin.readline())
    works = ways(**request)
    versions = {name: importlib.import_module(name).__version__ for name in ("tensorflow", "keras")}
    print(json.dumps(versions), file=answer, flush=True)
    sequences = request["steps"] * request["batch"]
    for _ in sys.stdin:
        figures = {name: sequences / cpu_seconds(work) for name, work in works.items()}
        print(json.dumps(figures), file=answer, flush=True)


def ways(
    *, width: int, batch: int, days: int, features: int, dropout: float, steps: int
) -> dict[str, Callable[[], object]]:
    """`steps` steps of a model as Keras compiles it by itself, and of one compiled with XLA."""
    tensorflow = one_thread()
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((steps * batch, days, features)).astype("float32")
    returns = (0.01 * rng.standard_normal((steps * batch, days, 1))).astype("float32")
    steps_of: dict[str, Callable[[], object]] = {}
    for name, xla in (("as it is", "auto"), ("with XLA", True)):
        model = compile_model(tensorflow, (days, features), width, dropout, xla)
        steps_of[name] = partial(batch_by_batch, model, inputs, returns, batch)
    return steps_of


def one_thread() -> Any:
    """TensorFlow on one thread of the CPU."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tensorflow = importlib.import_module("tensorflow")
    tensorflow.config.set_visible_devices([], "GPU")
    tensorflow.config.threading.set_intra_op_parallelism_threads(1)
    tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    return tensorflow


def compile_model(tensorflow: Any, shape: tuple[int, int], width: int, dropout: float, xla: object) -> Any:
    """LSTM, tanh of a line, minus the Sharpe ratio, Adam."""
    keras = tensorflow.keras
    keras.utils.set_random_seed(0)
    lstm = keras.layers.LSTM(width, return_sequences=True, dropout=dropout, recurrent_dropout=dropout)
    model = keras.Sequential([keras.Input(shape), lstm, keras.layers.Dense(1, activation="tanh")])
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    model.compile(optimizer=optimizer, loss=partial(sharpe_loss, keras.ops), jit_compile=xla)
    return model


def sharpe_loss(ops: Any, returns: Any, positions: Any) -> Any:
    """Minus the annualised Sharpe ratio over all days and sequences."""
    net = returns * positions
    variance = ops.maximum(ops.var(net), FLOOR)
    return -(DAYS_PER_YEAR**0.5) * ops.mean(net) / ops.sqrt(variance)


def batch_by_batch(model: Any, inputs: Any, returns: Any, batch: int) -> None:
    """One `train_on_batch` after the other."""
    for begin in range(0, len(inputs), batch):
        model.train_on_batch(inputs[begin : begin + batch], returns[begin : begin + batch])


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process that one call takes."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


if __name__ == "__main__":
    main()

"""The step as the project takes it, whole and stripped of everything but the network and the optimiser."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from agents.quantnet.network import QuantNetwork
from agents.training import global_seed
from qn_env.environment import TradingEnv
from qn_env.episodes import Episode, Episodes
from qn_env.panel import Panel
from qn_env.windows import mean_window_sharpe

DIMENSION = 10
LEARNING_RATE = 5e-3
MAX_NORM = 1.0


def joint_network(sizes: Mapping[str, int]) -> QuantNetwork:
    """LSTM-Linear QuantNet (Eqs. 12-15) of the given markets, without dropout, on the CPU."""
    with global_seed(0):
        return QuantNetwork(
            sizes, encoder="lstm", transfer="linear", decoder="lstm", dimension=DIMENSION, dropout=0.0
        )


class JointStep:
    """One optimiser step on windows of all markets: networks in float32, money in float64."""

    def __init__(self, panel: Panel, *, length: int, batch: int, cost_bps: float, device: str) -> None:
        """Lay the panel out and build the network.

        Args:
            panel: the markets.
            length: days of a window.
            batch: windows per market.
            cost_bps: inside the objective; 0 is the paper's.
            device: where tensors live.
        """
        env = TradingEnv(panel, window=1, cost_bps=cost_bps)
        units = {
            name: np.nanstd(market.compact(panel.returns), axis=0) for name, market in panel.markets.items()
        }
        self.episodes = Episodes(
            env.setup, generator=torch.Generator().manual_seed(0), device=device, units=units
        )
        self.sizes = {name: len(panel.markets[name].assets) for name in self.episodes.markets}
        self.network = joint_network(self.sizes).to(device)
        self.parameters = list(self.network.parameters())
        self._optimizer = torch.optim.Adam(self.parameters, lr=LEARNING_RATE, amsgrad=True, fused=True)
        self._length, self._batch = length, batch

    def sample(self) -> dict[str, Episode]:
        """Windows of all markets."""
        return self.episodes.sample(length=self._length, batch=self._batch)

    def inputs(self, batch: Mapping[str, Episode]) -> dict[str, Tensor]:
        """[B, L, n] what the network reads of every market."""
        return {name: episode.inputs for name, episode in batch.items()}

    def objective(self, batch: Mapping[str, Episode]) -> Tensor:
        """Mean Sharpe ratio of windows, assets and markets."""
        inputs = self.inputs(batch)
        return mean_window_sharpe(batch, {name: self.network(name, inputs[name])[0] for name in batch})

    def __call__(self) -> None:
        """Sample, forward, settle, score, backward, clip, step."""
        loss = -self.objective(self.sample())
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss.item()}")
        self._optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._update()

    def bare(self) -> Callable[[], None]:
        """The same calls of LSTMs, linear layers and optimiser on fixed inputs and a given gradient."""
        inputs = self.inputs(self.sample())
        given = [1e-6 * torch.ones_like(values) for values in inputs.values()]

        def step() -> None:
            signals = [self.network(name, values)[0] for name, values in inputs.items()]
            self._optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(signals, given)
            self._update()

        return step

    def flops(self) -> float:
        """Floating-point operations of the matrix products: forward, and twice that backward.

        An LSTM of h units on n numbers multiplies and adds 4 h (n + h) times a day, a linear layer n h times.
        """
        N = DIMENSION
        daily = sum(4 * N * (n + N) + N * N + 4 * n * (N + n) + n * n for n in self.sizes.values())
        return 3.0 * 2.0 * daily * self._length * self._batch

    def _update(self) -> None:
        nn.utils.clip_grad_norm_(self.parameters, MAX_NORM)
        self._optimizer.step()


def seconds(work: Callable[[], object], device: str, times: int) -> float:
    """Seconds one call takes: CPU time of this process, or elapsed time until a GPU has finished."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    if device != "cpu":
        torch.cuda.synchronize()
    begin = clock()
    for _ in range(times):
        work()
    if device != "cpu":
        torch.cuda.synchronize()
    return (clock() - begin) / times

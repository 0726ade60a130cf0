"""Trials of one architecture and width as one tensor programme, against the same trials one after the other.

All trials read the same batch, which favours stacking; in a search the batch size is drawn as well, so that
few trials could be stacked at all. Linear model and MLP take a whole training step without dropout
(torch.func); of the LSTM, whose recurrence is written by hand in `agents.lstm.masked`, the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from agents.dmn.network import LinearNetwork, MlpNetwork, Network
from agents.training import global_seed

FEATURES = 8
DAYS = 63


class Steps:
    """Training steps of several trials of one network on one batch, each trial with its own weights.

    Attributes:
        networks: of the trials that step one by one.
        parameters: [trials, ...] by name, of the same trials stacked.
    """

    def __init__(self, name: str, *, trials: int, hidden: int, batch: int) -> None:
        """Draw the batch and build both sides from the same weights.

        Args:
            name: "linear" or "mlp".
            trials: how many.
            hidden: width of the MLP.
            batch: trajectories of 63 days per step.
        """
        draw = torch.Generator().manual_seed(0)
        self.networks = [_network(name, hidden, seed) for seed in range(trials)]
        self.parameters: dict[str, Tensor] = stack_module_state([*self.networks])[0]
        self._frame = _network(name, hidden, 0)
        self._inputs = torch.randn(batch, DAYS, FEATURES, generator=draw)
        self._past = torch.randn(batch, self._frame.past, FEATURES, generator=draw)
        self._returns = torch.randn(batch, DAYS, generator=draw) * 0.01
        self._together = torch.optim.Adam([*self.parameters.values()], lr=1e-3, fused=True)
        self._apart = [torch.optim.Adam(n.parameters(), lr=1e-3, fused=True) for n in self.networks]

    def stacked(self) -> None:
        """One step of all trials as one programme."""
        self._together.zero_grad(set_to_none=True)
        torch.autograd.backward(vmap(self._loss_of)(self.parameters).sum())
        for number in range(len(self.networks)):  # each trial's gradient has its own norm
            _clip([p.grad[number] for p in self.parameters.values() if p.grad is not None])
        self._together.step()

    def one_by_one(self) -> None:
        """One step of every trial, one after the other."""
        for network, optimizer in zip(self.networks, self._apart, strict=True):
            optimizer.zero_grad(set_to_none=True)
            z, _ = network(self._inputs, network.memory(self._past))
            torch.autograd.backward(_loss(z, self._returns))
            _clip([p.grad for p in network.parameters() if p.grad is not None])
            optimizer.step()

    def _loss_of(self, weights: Mapping[str, Tensor]) -> Tensor:
        memory = self._frame.memory(self._past)
        z, _ = functional_call(self._frame, dict(weights), (self._inputs, memory))
        return _loss(z, self._returns)


class Passes:
    """Forward passes of several trials' LSTMs over one batch; each gives the last states [trials, H, B]."""

    def __init__(self, *, trials: int, hidden: int, batch: int) -> None:
        """Draw weights and a batch of trajectories of 63 days."""
        draw = torch.Generator().manual_seed(0)
        self._w = torch.randn(trials, 4 * hidden, FEATURES, generator=draw) * 0.1
        self._u = torch.randn(trials, 4 * hidden, hidden, generator=draw) * 0.1
        self._inputs = torch.randn(DAYS, 1, FEATURES, batch, generator=draw)
        self._masks = torch.ones(trials, hidden, batch)

    def stacked(self) -> Tensor:
        """All trials as one programme."""
        return _recurrence(self._w, self._u, self._inputs, self._masks, torch.Tensor.baddbmm_)

    def one_by_one(self) -> Tensor:
        """One trial after the other."""
        trials = zip(self._w, self._u, self._masks, strict=True)
        inputs = self._inputs[:, 0]
        return torch.stack([_recurrence(w, u, inputs, mask, torch.Tensor.addmm_) for w, u, mask in trials])


def _recurrence(
    w: Tensor, u: Tensor, inputs: Tensor, mask: Tensor, add_product: Callable[..., Tensor]
) -> Tensor:
    """The loop over days of `agents.lstm.masked`, gates [..., 4 H, B], with any leading axis."""
    gates = torch.matmul(w, inputs)
    h, c = torch.zeros_like(mask), torch.zeros_like(mask)
    for today in gates:
        add_product(today, u, h * mask)
        candidate, entered, forgotten, shown = today.chunk(4, dim=-2)
        candidate.tanh_()
        today.narrow(-2, mask.shape[-2], 3 * mask.shape[-2]).sigmoid_()
        c = torch.mul(forgotten, c).addcmul_(entered, candidate)
        h = shown * torch.tanh(c)
    return h


def _network(name: str, hidden: int, seed: int) -> Network:
    with global_seed(seed):
        return LinearNetwork(FEATURES) if name == "linear" else MlpNetwork(FEATURES, hidden, 0.0)


def _loss(z: Tensor, returns: Tensor) -> Tensor:
    """Minus the Sharpe ratio, without the environment around it."""
    net = torch.tanh(z) * returns
    return -net.mean() / (net.var(correction=0) + 1e-8).sqrt()


def _clip(gradients: list[Tensor]) -> None:
    norm = nn.utils.get_total_norm(gradients)
    torch._foreach_mul_(gradients, (1.0 / (norm + 1e-6)).clamp(max=1.0))

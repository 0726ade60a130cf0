"""A Gaussian policy and a value: two MLPs that share no weight."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

BAND = 2  # numbers of an action: the band's middle and half its width
LOG_TWO_PI = math.log(2.0 * math.pi)


class Policy(nn.Module):
    """Actions are normal, with a mean that depends on what is seen and a deviation that does not.

    Weights begin orthogonal, those of the policy's last layer so small that it begins by holding nothing
    (Huang et al. 2022). The layers are SiLUs: as smooth as the usual tanh, at an eighth of its price on a
    CPU.
    """

    def __init__(self, n_seen: int, hidden: int, log_std: float, generator: torch.Generator) -> None:
        super().__init__()
        self.actor = _mlp(n_seen, hidden, BAND, 0.01, generator)
        self.critic = _mlp(n_seen, hidden, 1, 1.0, generator)
        self.log_std = nn.Parameter(torch.full((BAND,), log_std))

    def value(self, seen: Tensor) -> Tensor:
        """[...] what is expected of the days to come, of what is seen [..., F + 2]."""
        value: Tensor = self.critic(seen)
        return value.squeeze(-1)

    def log_prob(self, noise: Tensor) -> Tensor:
        """[...] logarithm of the density of an action so many deviations [..., 2] from the mean."""
        return -0.5 * noise.square().sum(-1) - self.log_std.sum() - 0.5 * BAND * LOG_TWO_PI

    def entropy(self) -> Tensor:
        """[] of an action, the same wherever it is taken."""
        return self.log_std.sum() + 0.5 * BAND * (1.0 + LOG_TWO_PI)


def taken(actions: Tensor) -> Tensor:
    """[..., 2] float64: actions brought to the bounds of a signal, which is how they are traded."""
    return actions.clip(-1.0, 1.0).double()


def _mlp(n_in: int, hidden: int, n_out: int, gain: float, generator: torch.Generator) -> nn.Sequential:
    """Two layers and a head of the given gain."""
    sizes = [(n_in, hidden, math.sqrt(2.0)), (hidden, hidden, math.sqrt(2.0)), (hidden, n_out, gain)]
    layers: list[nn.Module] = []
    for fan_in, fan_out, scale in sizes:
        # Without the weights that the layer would draw from the global generator.
        layer: nn.Linear = skip_init(nn.Linear, fan_in, fan_out)  # type: ignore[no-untyped-call]
        nn.init.orthogonal_(layer.weight, scale, generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.SiLU()]
    return nn.Sequential(*layers[:-1])

"""Warm starts: a network begins at the weights of an earlier one, for the markets that both have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from agents.quantnet.parts import MarketNetwork
from qn_env.errors import ConfigError

Weights = Sequence[nn.Parameter]


@torch.no_grad()
def take_over(network: MarketNetwork, earlier: MarketNetwork) -> None:
    """Copy what all markets share, and what belongs to each market of both; leave other markets as they are.

    Args:
        network: what is changed.
        earlier: where the weights come from.

    Raises:
        ConfigError: a part of another shape, by name; nothing is changed then.
    """
    pairs = {"what all markets share": (_shared_parameters(network), _shared_parameters(earlier))}
    for name in network.names:
        if name in earlier.names:
            pairs[f"market {name!r}"] = (network.own(name), earlier.own(name))
    for part, (ours, theirs) in pairs.items():
        _check_shapes(part, ours, theirs)
    for ours, theirs in pairs.values():
        for new, old in zip(ours, theirs, strict=True):
            new.copy_(old)


def _shared_parameters(network: MarketNetwork) -> Weights:
    """The parameters that belong to no single market."""
    own = {id(p) for name in network.names for p in network.own(name)}
    return [p for p in network.parameters() if id(p) not in own]


def _check_shapes(part: str, ours: Weights, theirs: Weights) -> None:
    wanted, given = ([tuple(p.shape) for p in weights] for weights in (ours, theirs))
    if wanted != given:
        raise ConfigError(
            f"{part}: a network with weights of shapes {wanted} cannot begin at those of shapes {given}; "
            "give both agents the same options and markets the same assets, or train from scratch."
        )

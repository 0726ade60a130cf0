"""The architectures of the family by name: how each is built from a configuration, and what it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from agents.dmn.config import DmnConfig, NetworkName
from agents.dmn.dlinear import DLinearNetwork
from agents.dmn.itransformer import ITransformerNetwork
from agents.dmn.mamba import MambaNetwork
from agents.dmn.network import LinearNetwork, LstmNetwork, MlpNetwork, Network, WaveNetwork
from agents.dmn.patchtst import LstmPatchTstNetwork, PatchTstNetwork
from agents.dmn.statics import StaticNetwork
from agents.dmn.tft import TftNetwork
from agents.dmn.transformer import TransformerNetwork
from agents.dmn.vsn_lstm import VsnLstmNetwork
from agents.dmn.xlstm import XlstmNetwork


class Architecture(NamedTuple):
    """How a network is built.

    Attributes:
        network: takes the number of inputs, and of the configuration width and dropout.
        options: fields of the configuration that it takes by name.
        days: days before its first valid one that it wants to see; None: a window of `context` days.
        one_by_one: whether it has no state of its own, and learns from single asset-days.
        places: whether it has a place for the vector of an asset, which otherwise is a further input.
    """

    network: Callable[..., Network]
    options: tuple[str, ...] = ()
    days: int | None = 0
    one_by_one: bool = False
    places: bool = False


ARCHITECTURES: Mapping[NetworkName, Architecture] = {
    "linear": Architecture(
        lambda n, _hidden, _dropout: LinearNetwork(n), days=LinearNetwork.past, one_by_one=True
    ),
    "mlp": Architecture(MlpNetwork, days=MlpNetwork.past, one_by_one=True),
    "wavenet": Architecture(WaveNetwork, days=WaveNetwork.past, one_by_one=True),
    "lstm": Architecture(LstmNetwork),
    "transformer": Architecture(TransformerNetwork, ("heads", "context")),
    "vsn-lstm": Architecture(VsnLstmNetwork, places=True),
    "tft": Architecture(TftNetwork, ("heads", "context"), places=True),
    "xlstm": Architecture(XlstmNetwork, ("heads",), places=True),
    "lstm-patchtst": Architecture(LstmPatchTstNetwork, ("heads", "context"), days=None, places=True),
    "patchtst": Architecture(PatchTstNetwork, ("heads", "context"), days=None, one_by_one=True, places=True),
    "dlinear": Architecture(DLinearNetwork, ("context",), days=None, one_by_one=True, places=True),
    "itransformer": Architecture(
        ITransformerNetwork, ("heads", "context"), days=None, one_by_one=True, places=True
    ),
    "mamba2": Architecture(MambaNetwork, ("heads",), places=True),
}


def build(config: DmnConfig, layout: Sequence[Sequence[str]] = ()) -> Network:
    """The network of a configuration, with weights from torch's global generator.

    Args:
        config: the hyperparameters.
        layout: market and name of the assets that have vectors of their own, where the configuration has any.
    """
    chosen, n, static = ARCHITECTURES[config.network], len(config.inputs), config.static
    options = {name: getattr(config, name) for name in chosen.options}
    if chosen.places:
        options["static"] = static
    else:
        n += static
    network = chosen.network(n, config.hidden, config.dropout, **options)
    return StaticNetwork(network, layout, static) if static else network


def days_before(config: DmnConfig) -> int:
    """Days before its first valid one that the network of a configuration wants to see (`Network.past`)."""
    days = ARCHITECTURES[config.network].days
    return config.context - 1 if days is None else days

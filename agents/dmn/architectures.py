"""The architectures of the family by name: how each is built from a configuration."""

from __future__ import annotations

from collections.abc import Sequence

from agents.dmn.config import DmnConfig
from agents.dmn.network import LinearNetwork, LstmNetwork, MlpNetwork, Network, WaveNetwork
from agents.dmn.statics import StaticNetwork
from agents.dmn.tft import TftNetwork
from agents.dmn.transformer import TransformerNetwork
from agents.dmn.vsn_lstm import VsnLstmNetwork
from agents.dmn.xlstm import XlstmNetwork

# Those without a state of their own, which learn from single asset-days.
DAY_BY_DAY: dict[str, type[Network]] = {"linear": LinearNetwork, "mlp": MlpNetwork, "wavenet": WaveNetwork}


def build(config: DmnConfig, layout: Sequence[Sequence[str]] = ()) -> Network:
    """The network of a configuration, with weights from torch's global generator.

    Args:
        config: the hyperparameters.
        layout: market and name of the assets that have vectors of their own, where the configuration has any.
    """
    n, static = len(config.inputs), config.static
    return StaticNetwork(_network(config, n, static), layout, static) if static else _network(config, n, 0)


def days_before(config: DmnConfig) -> int:
    """Days before its first valid one that the network of a configuration wants to see (`Network.past`)."""
    return DAY_BY_DAY.get(config.network, Network).past


def _network(config: DmnConfig, n: int, static: int) -> Network:
    """The network that reads n inputs, and behind them a vector of the asset of this width."""
    hidden, dropout, heads, context = config.hidden, config.dropout, config.heads, config.context
    match config.network:
        case "linear":
            return LinearNetwork(n + static)
        case "mlp":
            return MlpNetwork(n + static, hidden, dropout)
        case "wavenet":
            return WaveNetwork(n + static, hidden, dropout)
        case "lstm":
            return LstmNetwork(n + static, hidden, dropout)
        case "transformer":
            return TransformerNetwork(n + static, hidden, dropout, heads=heads, context=context)
        case "vsn-lstm":
            return VsnLstmNetwork(n, hidden, dropout, static=static)
        case "tft":
            return TftNetwork(n, hidden, dropout, heads=heads, context=context, static=static)
        case "xlstm":
            return XlstmNetwork(n, hidden, dropout, heads=heads, static=static)

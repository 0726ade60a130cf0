"""A multi-market trading environment: return windows in, transaction-cost-aware net returns out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import gymnasium

if TYPE_CHECKING:
    from qn_env.environment import TradingEnv
    from qn_env.errors import ConfigError, DataError, QnError
    from qn_env.panel import Market, Panel
    from qn_env.vector import TradingVectorEnv

__version__ = "0.1.0"
__all__ = [
    "ENV_ID",
    "ConfigError",
    "DataError",
    "Market",
    "Panel",
    "QnError",
    "TradingEnv",
    "TradingVectorEnv",
]

ENV_ID = "qn_env/Trading-v0"

# Loaded when first asked for: pandas and the rest take half a second that a command's --help does not have.
_HOME = {
    "ConfigError": "qn_env.errors",
    "DataError": "qn_env.errors",
    "Market": "qn_env.panel",
    "Panel": "qn_env.panel",
    "QnError": "qn_env.errors",
    "TradingEnv": "qn_env.environment",
    "TradingVectorEnv": "qn_env.vector",
}

if ENV_ID not in gymnasium.registry:
    gymnasium.register(
        ENV_ID,
        entry_point="qn_env.environment:TradingEnv",
        vector_entry_point="qn_env.vector:TradingVectorEnv",
    )


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Policies that see what they hold, trained by trading: back-propagation through the account."""

from agents.closed.agent import ClosedLoop
from agents.closed.config import ClosedConfig

__all__ = ["ClosedConfig", "ClosedLoop"]

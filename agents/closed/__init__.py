"""Policies that see what they hold, trained by trading: back-propagation through the account."""

from agents.closed.agent import Recurrent
from agents.closed.config import ClosedConfig

__all__ = ["ClosedConfig", "Recurrent"]

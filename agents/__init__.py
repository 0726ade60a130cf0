"""Agents: everything that turns a past into a position. Importing this package imports no PyTorch."""

from __future__ import annotations

from agents.agent import AGENTS, Agent, Settings, load_agent, make_agent, play, register

__all__ = ["AGENTS", "Agent", "Settings", "load_agent", "make_agent", "play", "register"]

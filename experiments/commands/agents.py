"""`qn agents`: the registered agents."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Agents:
    """List the registered agents."""


def list_agents(config: Agents) -> int:
    """Print every registered agent: its name, whether it learns, and its class."""
    from agents.agent import AGENTS

    width = max(len(name) for name in AGENTS)
    for name, entry in AGENTS.items():
        kind = "learns" if entry.learns else "rule"
        print(f"{name:<{width}}  {kind:<6}  {entry.path}")
    return 0

"""`qn agents`: the registered agents, and what an agent is to the harness."""

from __future__ import annotations

from dataclasses import dataclass

from qn_env.checks import check_flag


@dataclass(frozen=True)
class Agents:
    """List the registered agents, and the layers that go around any agent."""

    contract: bool = False
    """What an agent has to have, and what it may have, in place of the list."""

    def __post_init__(self) -> None:
        check_flag("contract", self.contract)


def list_agents(config: Agents) -> int:
    """Print every registered agent with a line about it, or the contract."""
    from agents.agent import AGENTS
    from agents.layers import LAYERS, SIGN

    if config.contract:
        print(contract_in_words())
        return 0
    width = max(len(name) for name in AGENTS)
    for name, entry in AGENTS.items():
        print(f"{name:<{width}}  {'learns' if entry.learns else 'rule':<6}  {entry.about or entry.path}")
    print("\nYours: package.module:Class (qn new-agent), by the contract of qn agents --contract.")
    print("\nAround any of them, as many as you like, the innermost first (macd+every:5+band:0.05):")
    forms = {f"{SIGN}{word}:{kind.number}": kind.about for word, kind in LAYERS.items()}
    for form, about in forms.items():
        print(f"{form:<{width}}  {about}")
    return 0


def contract_in_words() -> str:
    """The parts of an agent: those it needs, and those it may have with what is taken in their absence."""
    from agents.agent import CONTRACT

    width = max(len(part.name) for part in CONTRACT)
    needed = [f"  {part.name:<{width}}  {part.does}" for part in CONTRACT if not part.default]
    optional = [
        f"  {part.name:<{width}}  {part.does} (without: {part.default})" for part in CONTRACT if part.default
    ]
    return "\n".join(["An agent has", *needed, "", "and may have", *optional])

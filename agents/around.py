"""A layer around one agent has what the agent has: what a run, a search and a training may ask for."""

from __future__ import annotations

from collections.abc import Callable

from agents.agent import Agent, learns, warmup_of
from agents.layers import unwrapped
from agents.space import Space
from agents.training import Monitor, Training


class Around:
    """The optional parts of an agent (`agents.agent.CONTRACT`), where the one inside has them.

    Attributes:
        agent: the one inside.
    """

    agent: Agent

    @property
    def unwrapped(self) -> object:
        """The agent inside all layers."""
        return unwrapped(self.agent)

    @property
    def warmup(self) -> int:
        """That of the agent."""
        return warmup_of(self.agent)

    @property
    def learns(self) -> bool:
        """Whether the agent does."""
        return learns(self.agent)

    @property
    def space(self) -> Space:
        """What a search draws the agent's options from."""
        space: Space = self.agent.space  # type: ignore[attr-defined] # optional
        return space

    @property
    def start_from(self) -> Callable[[Around], None]:
        """Let the agent begin at the weights of the one inside another layer."""
        begin: Callable[[Agent], None] = self.agent.start_from  # type: ignore[attr-defined] # optional
        return lambda earlier: begin(earlier.agent)

    @property
    def training_(self) -> Training:
        """How the agent's training went."""
        training: Training = self.agent.training_  # type: ignore[attr-defined] # optional
        return training

    @property
    def monitor(self) -> Monitor:
        """Who watches the agent's training."""
        monitor: Monitor = self.agent.monitor  # type: ignore[attr-defined] # optional
        return monitor

    @monitor.setter
    def monitor(self, monitor: Monitor) -> None:
        self.agent.monitor = monitor  # type: ignore[attr-defined] # optional

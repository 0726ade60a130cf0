"""A layer around one agent has what the agent has: what a run, a search and a training may ask for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

from agents.agent import Agent, learns, warmup_of
from agents.checkpoint import save_json
from agents.layers import unwrapped
from agents.space import Space
from agents.training import Monitor, Training

INSIDE = "agent"  # folder of the checkpoint of the agent inside


class Around(ABC):
    """The optional parts of an agent (`agents.agent.CONTRACT`), where the one inside has them.

    Attributes:
        agent: the one inside.
    """

    agent: Agent

    @abstractmethod
    def _about(self) -> Mapping[str, object]:
        """What a checkpoint says beside that of the agent inside."""

    @property
    def save(self) -> Callable[[Path], None]:
        """Write `agent.json` and the agent's own checkpoint into a folder of its own, where it has one."""
        inner: Callable[[Path], None] = self.agent.save  # type: ignore[attr-defined] # optional

        def write(folder: Path) -> None:
            save_json(folder, self._about())
            inner(folder / INSIDE)

        return write

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

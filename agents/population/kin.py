"""Which trainings may share a programme, whatever layers are around their agents."""

from __future__ import annotations

from typing import Any

from agents.population.jobs import Fit


def leaves(fit: Fit) -> list[Fit]:
    """The trainings that `fit` of an agent comes down to: its own, or those of the agents inside a layer.

    A layer that trains what is inside says so with a method `trainings(fit)`: what it calls `fit` of others
    with.
    """
    inside = getattr(fit.agent, "trainings", None)
    return [fit] if inside is None else [leaf for one in inside(fit) for leaf in leaves(one)]


def kin_of(agent: Any) -> object:
    """What the trainings of an agent share a programme with; None: nothing, they go alone.

    An agent whose class has `fit_together` says so with `kin`, equal where it may; a layer with `trainings`
    has that of the agent inside.
    """
    able = hasattr(agent, "fit_together") or hasattr(agent, "trainings")
    return getattr(agent, "kin", None) if able else None

"""Markets that an agent was not trained on: who plays them, and how it learns from a few of their days.

An agent that can says so by a method of the contract (`agents.agent.CONTRACT`),

    adapt(env, *, seed, learn, validation=None) -> agent

which gives an agent for the markets of `env`, none of which it need have seen, and leaves it as it is. With
`learn` that agent has learnt from the days of `env`, and was selected on `validation`: few-shot. Without, it
has taken nothing from them but where their assets stand: zero-shot. Who has a network for each market has no
such method; a rule needs none.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from agents.agent import Agent
from qn_env.environment import TradingEnv

# Who takes as many steps on any number of days takes so many times fewer on a few.
FEW = 10
A = TypeVar("A")


def adapts(agent: object) -> bool:
    """Whether an agent, trained or not, plays markets that it was not trained on by being adapted to them."""
    return hasattr(agent, "adapt")


def adapted(
    agent: Agent, env: TradingEnv, *, seed: int, learn: bool, validation: TradingEnv | None = None
) -> Agent:
    """An agent for the markets of an environment.

    Args:
        agent: trained, one that `adapts`.
        env: the markets; what of them may be learnt from.
        seed: the only chance.
        learn: whether it learns from their days, or gets to know nothing but their assets.
        validation: selects the weights that are kept; None: the most recent 10% of `env`'s days.
    """
    other: Agent = agent.adapt(env, seed=seed, learn=learn, validation=validation)  # type: ignore[attr-defined] # optional
    return other


def fine_tuned(agent: A, env: TradingEnv, *, seed: int, validation: TradingEnv | None) -> A:
    """A copy that goes on learning on `env` from the weights of the agent, which has a `start_from`."""
    fresh: Any = copy.copy(agent)
    fresh.start_from(agent)
    tuned: A = fresh.fit(env, seed=seed, validation=validation)
    return tuned

"""A budget of turnover: a learner trained at the price per trade that keeps it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypedDict

import numpy as np

from agents.agent import Agent, learns, make_agent, settings_of, signals_of, watch
from agents.around import INSIDE, Around
from agents.checkpoint import load_json
from agents.layers import Layer
from qn_env.arrays import FloatArray
from qn_env.checks import check_number
from qn_env.costs import HalfSpread
from qn_env.economics import aggregate
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.setup import Observation

# Prices per unit of turnover beyond what is paid, bps: what comes after none, how it grows, where it ends.
FIRST, GROWTH, LAST = 1.0, 4.0, 1024.0
HALVINGS = 3  # of the interval between a price that is too low and one that is not: to a factor of 1.19
MOST_TURNOVER = 1e6


class Stored(TypedDict):
    """What a checkpoint says beside that of the agent inside."""

    turnover: float
    price_bps: float
    found: float


class Budget(Around):
    """An agent that is trained so that it trades no more than `turnover` times its capital a year.

    Inside its objective every unit of turnover costs a price beyond the costs of the environment. The lowest
    of them at which the portfolio's turnover on the validation block is within the budget is found by
    bisection, with a training from scratch at each price: none where the agent keeps the budget without one.
    The price is part of the objective, of the epoch that is selected, too, and no cost that is paid: turnover
    is counted, and the agent judged, without it.

    Attributes:
        price_bps_: the price of the training that is played, basis points; NaN before `fit`.
        turnover_: a year, on the validation block, of capital.
    """

    def __init__(self, agent: Agent | str, turnover: float) -> None:
        """Put a budget around an agent that is not trained.

        Args:
            agent: it, or its registered name or import path.
            turnover: the portfolio's, a year: 50 trades the whole capital fifty times.

        Raises:
            ConfigError: a budget that is no number above 0, an agent that learns nothing.
        """
        check_number("a budget of turnover", turnover, 0.0, MOST_TURNOVER, above=True, unit="times a year")
        self.agent = make_agent(agent) if isinstance(agent, str) else agent
        if not learns(self.agent):
            raise ConfigError(
                f"{self.agent!r} learns nothing, and no price makes it trade less; take a band."
            )
        self.turnover = turnover
        self.settings = settings_of(self.agent)
        self.price_bps_ = self.turnover_ = float("nan")

    def __repr__(self) -> str:
        return f"Budget({self.agent!r}, {self.turnover:g})"

    @classmethod
    def around(cls, agent: Agent, layer: Layer) -> Self:
        """The budget of a layer around an agent.

        Raises:
            ConfigError: as the constructor.
        """
        return cls(agent, layer.number)

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Train at rising prices until the budget is kept, then at prices in between.

        Raises:
            ConfigError: it is kept at no price.
        """
        env, validation = (env, validation) if validation is not None else env.split()
        held_out, fresh, monitor = validation, self.agent, getattr(self.agent, "monitor", None)

        def trained(price: float) -> tuple[Agent, float]:
            agent = copy.deepcopy(fresh)
            if monitor is not None:
                watch(agent, monitor)
            dear, judge = (_at_price(e, price) for e in (env, held_out))
            agent = agent.fit(dear, seed=seed, validation=judge)
            return agent, turnover_of(agent, held_out)

        low, price = 0.0, 0.0
        agent, found = trained(price)
        while found > self.turnover:
            low, price = price, price * GROWTH if price else FIRST
            if price > LAST:
                raise ConfigError(
                    f"{fresh!r} trades {found:.3g} times its capital a year on the validation block, even "
                    f"where a trade costs {low:g} bps more, expected at most {self.turnover:g}. Give it a "
                    "larger budget."
                )
            agent, found = trained(price)
        self.agent, self.price_bps_, self.turnover_ = agent, price, found
        for _ in range(HALVINGS if price else 0):
            # Prices matter by their ratio; below the first one there is only none.
            between = (low * self.price_bps_) ** 0.5 if low else self.price_bps_ / 2.0
            agent, found = trained(between)
            if found > self.turnover:
                low = between
            else:
                self.agent, self.price_bps_, self.turnover_ = agent, between, found
        return self

    @property
    def adapt(self) -> Callable[..., Budget]:
        """As `agents.adapting.adapted`: the agent for other markets, at the price that was found."""
        inner: Callable[..., Agent] = self.agent.adapt  # type: ignore[attr-defined] # optional

        def adapted(
            env: TradingEnv, *, seed: int, learn: bool, validation: TradingEnv | None = None
        ) -> Budget:
            other = copy.copy(self)
            held_out = None if validation is None else _at_price(validation, self.price_bps_)
            dear = _at_price(env, self.price_bps_)
            other.agent = inner(dear, seed=seed, learn=learn, validation=held_out)
            return other

        return adapted

    def reset(self) -> None:
        """Let the agent forget its episode."""
        self.agent.reset()

    def act(self, observation: Observation) -> FloatArray:
        """Signals [N] of the day."""
        return self.agent.act(observation)

    @property
    def signals(self) -> Callable[[Panel], FloatArray]:
        """Signals [T, N] of a whole history, where the agent gives them."""
        one_pass: Callable[[Panel], FloatArray] = self.agent.signals  # type: ignore[attr-defined] # optional
        return one_pass

    @property
    def signals_from(self) -> Callable[[Panel, FloatArray], FloatArray]:
        """Signals [N] of the last trading day, of who holds something else; where the agent has them."""
        decide: Callable[[Panel, FloatArray], FloatArray]
        decide = self.agent.signals_from  # type: ignore[attr-defined] # optional
        return decide

    @classmethod
    def load_around(cls, folder: Path, layer: Layer, load: Callable[[Path], Agent]) -> Self:
        """Read what `save` wrote; which code reads the agent inside is the caller's choice, not the folder's.

        Raises:
            ConfigError: it was written with another budget.
        """
        stored = load_json(folder, Stored)
        if stored["turnover"] != layer.number:
            raise ConfigError(
                f"{folder}: has a budget of {stored['turnover']:g}, expected {layer.number:g} a year."
            )
        agent = cls(load(folder / INSIDE), layer.number)
        agent.price_bps_, agent.turnover_ = stored["price_bps"], stored["found"]
        return agent

    def _about(self) -> Stored:
        return {
            "turnover": self.turnover,
            "price_bps": self.price_bps_,
            "found": self.turnover_,
        }


def turnover_of(agent: Agent, env: TradingEnv) -> float:
    """The portfolio's turnover a year where an agent plays an episode: the panel's mean over assets."""
    signals = signals_of(agent, env.panel, env)
    _, info = env.reset()
    row, turnover, done = int(np.searchsorted(env.panel.dates, np.datetime64(info["date"]))), [], False
    while not done:
        share = env.setup.share(row, None)
        *_, terminated, truncated, info = env.step(signals[row])
        turnover.append(float(aggregate(info["turnover"], share)))
        done, row = terminated or truncated, row + 1
    return env.panel.bars_per_year * float(np.mean(turnover))


def _at_price(env: TradingEnv, price_bps: float) -> TradingEnv:
    """The environment with every trade dearer."""
    return env if price_bps == 0.0 else env.like(costs=(*env.config.costs, HalfSpread(price_bps)))

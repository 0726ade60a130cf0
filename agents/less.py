"""Trading less, for any agent: a no-trade band, partial adjustment, a trade on every k-th day.

A layer around an agent trains it as it is and trades something else in its place: of the agent's signal, the
target, and of what is held it makes a signal. What is held is the weight that was last decided, read as a
signal: as the one that would leave it untouched today. Without a volatility target that is the last signal
itself. With one a weight is signal times target over volatility, so that a signal that stays is traded every
day the volatility moves; the signal that leaves the weight of day s as it is on day t is

    h_t = signal_s * sigma_t / sigma_s,     clipped to [-1, 1],

whatever the target is. Where the clip acts, volatility has risen so far that a full signal is less than what
is held: the target then cuts the position, on whatever day it is.

Why signals and not weights: a band of one width in weights is wide for a bond and narrow for a stock, one in
signals is the same share of each asset's full position. Why not the position that an observation shows: not
every agent is stepped. What a layer remembers follows from the agent's own signals, the days on which an
asset traded and its volatility, all known at t; so one pass over a history and a step a day are the same
arithmetic in the same order.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, Self, TypedDict

import numpy as np

from agents.agent import Agent, Settings, last_rows, make_agent, settings_of
from agents.around import INSIDE, Around
from agents.checkpoint import load_json
from agents.layers import Layer
from agents.population.jobs import Fit
from agents.population.kin import kin_of
from agents.rules import columns_of
from qn_env.arrays import BoolArray, FloatArray, IntArray
from qn_env.checks import MOST_DAYS, check_number, check_whole
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.features import EwVolatility
from qn_env.panel import Panel
from qn_env.setup import Observation

VOLATILITY = EwVolatility()  # of which a volatility target makes weights


class Rule(Protocol):
    """What is traded, of what is held and what is wanted; a frozen dataclass of one number."""

    word: ClassVar[str]

    def __call__(self, held: FloatArray, wanted: FloatArray, day: IntArray) -> FloatArray:
        """Signals [N] to trade.

        Args:
            held: [N] signals that would leave every weight as it is.
            wanted: [N] signals of the agent.
            day: [N] number of the trading day of each asset's market, 0 on its first.
        """


@dataclass(frozen=True)
class Band:
    """No trade while the target is within `width` of what is held, else one to the band's edge.

    What costs proportional to turnover make best of a target that wanders (Davis and Norman 1990; Martin
    2014): the trade ends at the edge, not at the target. Width 0 is the agent itself, of 1 or more it never
    trades.
    """

    width: float
    word: ClassVar[str] = "band"

    def __post_init__(self) -> None:
        check_number("the width of a band", self.width, 0.0, 1.0, unit="a signal")

    def __call__(self, held: FloatArray, wanted: FloatArray, day: IntArray) -> FloatArray:
        """See `Rule`."""
        del day
        return np.clip(held, wanted - self.width, wanted + self.width)


@dataclass(frozen=True)
class Partial:
    """A part `rate` of the way to the target, every day: held + rate * (wanted - held).

    The form that quadratic costs make best, with a rate that follows from costs, risk and how fast forecasts
    decay (Garleanu and Pedersen 2013); here the rate is given and the agent's own signal the aim. Rate 1 is
    the agent itself.
    """

    rate: float
    word: ClassVar[str] = "partial"

    def __post_init__(self) -> None:
        check_number("the rate of partial adjustment", self.rate, 0.0, 1.0, above=True, unit="a share")

    def __call__(self, held: FloatArray, wanted: FloatArray, day: IntArray) -> FloatArray:
        """See `Rule`."""
        del day
        # From the target's side: at rate 1 it is the target to the bit. Rounding leads out of no interval.
        moved = wanted - (1.0 - self.rate) * (wanted - held)
        return np.clip(moved, np.minimum(held, wanted), np.maximum(held, wanted))


@dataclass(frozen=True)
class Every:
    """A trade on the first of every `days` trading days of an asset's market, none on the others.

    Days are counted from the first one of the panel that is played, or from the first step. An asset that is
    closed on its market's day waits for the next one.
    """

    days: int
    word: ClassVar[str] = "every"

    def __post_init__(self) -> None:
        check_whole("the days between trades", self.days, 1, MOST_DAYS)

    def __call__(self, held: FloatArray, wanted: FloatArray, day: IntArray) -> FloatArray:
        """See `Rule`."""
        return np.where(day % self.days == 0, wanted, held)


RULES: dict[str, type[Band] | type[Partial] | type[Every]] = {
    rule.word: rule for rule in (Band, Partial, Every)
}


class State(NamedTuple):
    """What a layer remembers of an episode, all [N].

    Attributes:
        signal: last traded; 0 before an asset's first day.
        weight: what that made of the account, in units of the volatility target (of 1 without one).
        day: number of the market's last trading day, -1 before the first.
    """

    signal: FloatArray
    weight: FloatArray
    day: IntArray


def start(n_assets: int) -> State:
    """Before the first day: nothing is held."""
    return State(np.zeros(n_assets), np.zeros(n_assets), np.full(n_assets, -1))


def advance(
    state: State, rule: Rule, wanted: FloatArray, tradable: BoolArray, awake: BoolArray, unit: FloatArray
) -> State:
    """One day of every asset; whoever is closed keeps signal and weight.

    Args:
        state: of the day before.
        rule: what is traded.
        wanted: [N] signals of the agent.
        tradable: [N] the asset trades today.
        awake: [N] its market does.
        unit: [N] signal per unit of weight: the volatility under a target (0 where it is unknown, and nothing
            can be held), else 1.
    """
    day = state.day + awake
    held = np.clip(state.weight * unit, -1.0, 1.0)
    signal = np.where(tradable, rule(held, wanted, day), state.signal)
    weight = np.divide(signal, unit, out=np.zeros_like(signal), where=unit > 0.0)
    return State(signal, np.where(tradable, weight, state.weight), day)


class Stored(TypedDict):
    """What a checkpoint says beside that of the agent inside."""

    layer: str
    number: float
    columns: list[tuple[int, int]]
    scaled: bool


class Less(Around):
    """An agent inside a rule by which less is traded (`Band`, `Partial`, `Every`).

    It is trained as it is, on what it asks for. What it may have (`agents.agent.CONTRACT`) the layer has
    where the agent does; an agent that is stepped, since it sees its position, is stepped inside and sees
    what the layer left of its signals. A layer reads one feature more than its agent, the volatility, behind
    the agent's own.
    """

    def __init__(self, agent: Agent | str, rule: Band | Partial | Every) -> None:
        """Put a rule around an agent.

        Args:
            agent: it, or its registered name or import path.
            rule: what is traded.
        """
        self.agent = make_agent(agent) if isinstance(agent, str) else agent
        self.rule = rule
        inner = settings_of(self.agent)
        self._features = inner.features
        self.settings = Settings(
            window=inner.window,
            features=(*inner.features, VOLATILITY),
            vol_target=inner.vol_target,
            train_cost_bps=inner.train_cost_bps,
        )
        self.scaled_ = inner.vol_target is not None  # until `fit` sees the environment
        self.columns_: tuple[tuple[int, int], ...] = ()
        self._state: State | None = None

    def __repr__(self) -> str:
        return f"Less({self.agent!r}, {self.rule!r})"

    @classmethod
    def around(cls, agent: Agent, layer: Layer) -> Self:
        """The rule of a layer around an agent.

        Raises:
            ConfigError: a width, a rate or a number of days that there is not.
        """
        return cls(agent, rule_of(layer))

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Train the agent on what it asks for, and note whether there is a volatility target.

        Weights are taken to be made under such a target afterwards, too; which one makes no difference.
        """
        self.columns_, self.scaled_ = columns_of(env.panel), env.config.vol_target is not None
        (inner,) = self.trainings(Fit(self, env, seed, validation))
        self.agent = self.agent.fit(inner.env, seed=seed, validation=inner.validation)
        return self

    def trainings(self, fit: Fit) -> list[Fit]:
        """What the agent inside is trained with."""
        held_out = None if fit.validation is None else self._without_volatility(fit.validation)
        return [Fit(self.agent, self._without_volatility(fit.env), fit.seed, held_out)]

    @property
    def kin(self) -> object:
        """Trainings of equal kin may share a programme (`agents.population`)."""
        return kin_of(self.agent)

    @property
    def adapt(self) -> Callable[..., Less]:
        """As `agents.adapting.adapted`: the rule around the agent for other markets, where it has one."""
        inner: Callable[..., Agent] = self.agent.adapt  # type: ignore[attr-defined] # optional

        def adapted(env: TradingEnv, *, seed: int, learn: bool, validation: TradingEnv | None = None) -> Less:
            other = copy.copy(self)
            (given,) = self.trainings(Fit(self, env, seed, validation))
            other.agent = inner(given.env, seed=seed, learn=learn, validation=given.validation)
            other.columns_ = columns_of(env.panel)
            return other

        return adapted

    def reset(self) -> None:
        """Hold nothing, and let the agent forget its episode."""
        self.agent.reset()
        self._state = None

    def act(self, observation: Observation) -> FloatArray:
        """Signals [N] of the day.

        Raises:
            ConfigError: an environment of other assets, or without the features of `settings`.
        """
        inner, volatility = self._split(observation)
        tradable = observation["tradable"][-1] > 0
        awake = np.zeros(len(tradable), dtype=bool)
        for begin, end in self.columns_:
            awake[begin:end] = tradable[begin:end].any()
        state = start(len(tradable)) if self._state is None else self._state
        self._state = advance(
            state, self.rule, self.agent.act(inner), tradable, awake, self._unit(volatility)
        )
        return self._state.signal.copy()

    @property
    def signals(self) -> Callable[[Panel], FloatArray]:
        """Signals [T, N] of a whole history, where the agent gives them."""
        agent = self.agent
        if not hasattr(agent, "signals"):
            raise AttributeError("signals")
        return lambda panel: self._one_pass(agent.signals(panel), panel)

    @property
    def signals_from(self) -> Callable[[Panel, FloatArray], FloatArray]:
        """Signals [N] of the last trading day of every market, for who holds something else."""
        if not hasattr(self.agent, "signals"):
            raise AttributeError("signals_from")
        return self._from

    @classmethod
    def load_around(cls, folder: Path, layer: Layer, load: Callable[[Path], Agent]) -> Self:
        """Read what `save` wrote; which code reads the agent inside is the caller's choice, not the folder's.

        Raises:
            ConfigError: it was written by another layer.
        """
        stored, rule = load_json(folder, Stored), rule_of(layer)
        if (stored["layer"], stored["number"]) != (rule.word, number_of(rule)):
            raise ConfigError(
                f"{folder}: is of the layer {stored['layer']}:{stored['number']:g}, expected "
                f"{rule.word}:{number_of(rule):g}."
            )
        agent = cls(load(folder / INSIDE), rule)
        agent.columns_ = tuple((int(a), int(b)) for a, b in stored["columns"])
        agent.scaled_ = stored["scaled"]
        return agent

    def _about(self) -> Stored:
        return {
            "layer": self.rule.word,
            "number": number_of(self.rule),
            "columns": list(self.columns_),
            "scaled": self.scaled_,
        }

    def _one_pass(self, wanted: FloatArray, panel: Panel, told: FloatArray | None = None) -> FloatArray:
        """What is traded [T, N] of the agent's signals [T, N]: day by day, as in steps.

        On every market's last day with `told` [N], signals of that day, in place of what would be held.
        """
        unit = self._unit(panel.features((VOLATILITY,))[..., 0])
        last, signals = last_rows(panel), np.zeros(panel.shape)
        state = start(panel.shape[1])
        for t, today in enumerate(zip(wanted, panel.tradable, panel.awake, unit, strict=True)):
            if told is not None:
                weight = np.divide(told, unit[t], out=np.zeros_like(told), where=unit[t] > 0.0)
                state = state._replace(weight=np.where(last == t, weight, state.weight))
            state = advance(state, self.rule, *today)
            signals[t] = state.signal
        return signals

    def _from(self, panel: Panel, held: FloatArray) -> FloatArray:
        """[N] of every market's last day, for who holds `held` [N] before it."""
        wanted: FloatArray = self.agent.signals(panel)  # type: ignore[attr-defined] # looked at by `signals_from`
        own: Callable[[Panel, FloatArray], FloatArray] | None = getattr(self.agent, "signals_from", None)
        today = last_rows(panel), np.arange(panel.shape[1])
        if own is not None:
            wanted = wanted.copy()
            wanted[today] = own(panel, held)
        signals: FloatArray = self._one_pass(wanted, panel, held)[today]
        return signals

    def _unit(self, volatility: FloatArray) -> FloatArray:
        return volatility if self.scaled_ else np.ones_like(volatility)

    def _without_volatility(self, env: TradingEnv) -> TradingEnv:
        """The environment as the agent asks for it."""
        return env if env.config.features == self._features else env.like(features=self._features)

    def _split(self, observation: Observation) -> tuple[Observation, FloatArray]:
        """What the agent sees of an observation, and the volatility [N] of the day."""
        N, F = observation["returns"].shape[1], len(self._features)
        if not self.columns_ or self.columns_[-1][1] != N:
            fitted = f"was fitted to {self.columns_[-1][1]}" if self.columns_ else "is not trained"
            raise ConfigError(f"the environment has {N} assets, and the agent {fitted}; fit it to such ones.")
        features = observation.get("features")
        if features is None or features.shape[-1] != F + 1:
            found = 0 if features is None else features.shape[-1]
            raise ConfigError(
                f"the environment shows {found} features, expected the {F + 1} of this agent's settings: "
                f"its own and {VOLATILITY}."
            )
        inner = {name: part for name, part in observation.items() if name != "features"}
        if F:
            inner["features"] = features[..., :F]
        return inner, features[-1, :, F]


def rule_of(layer: Layer) -> Band | Partial | Every:
    """The rule that a layer of a name stands for."""
    rule = RULES[layer.word]
    return rule(layer.number)  # type: ignore[arg-type] # checked by the rule


def number_of(rule: Band | Partial | Every) -> float:
    """A rule's width, rate or number of days."""
    (number,) = (getattr(rule, field.name) for field in fields(rule))
    return float(number)

"""Exposure limits: Gymnasium wrappers that bring signals within a limit before they are traded.

They ask the environment for today's row, so that a limit on weights also holds under a volatility target.
Signals within the limit pass as they are; signals the environment would refuse are refused here.
"""

from __future__ import annotations

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs

from qn_env.arrays import FloatArray
from qn_env.checks import check_number, in_words
from qn_env.economics import aggregate, hold
from qn_env.environment import Action, TradingEnv
from qn_env.errors import ConfigError
from qn_env.setup import Observation, check_signals

MOST_CAP = 1e9  # no weight comes near it

Inner = gymnasium.Env[Observation, Action]
Limit = gymnasium.ActionWrapper[Observation, Action, Action]


class LongOnly(Limit, RecordConstructorArgs):
    """No short positions: negative signals become 0.

    The action space is Box(0, 1, [N]), so that a learner explores only what makes a difference; signals from
    -1 on are accepted all the same, for agents that know no limit. `RescaleAction(LongOnly(env), -1, 1)`
    spreads [-1, 1] over [0, 1] instead of cutting it off.
    """

    def __init__(self, env: Inner) -> None:
        """Wrap an environment.

        Raises:
            ConfigError: what is wrapped is not a `TradingEnv`.
        """
        RecordConstructorArgs.__init__(self)
        self._market = _trading(env)
        super().__init__(env)
        self.action_space = spaces.Box(0.0, 1.0, self._market.action_space.shape, np.float32)

    def action(self, action: Action) -> Action:
        """Signals [N] in [0, 1]."""
        return np.maximum(_check_action(action, self._market), 0.0)


class MaxWeight(Limit, RecordConstructorArgs):
    """No asset's weight above `cap` in absolute value: |signal| <= cap / (weight per unit of signal).

    It holds on every day, also for closed assets and under an execution lag: a weight is held as decided.
    """

    def __init__(self, env: Inner, cap: float) -> None:
        """Wrap an environment.

        Args:
            env: a `TradingEnv`, wrapped or not.
            cap: largest absolute weight of an asset, as a fraction of capital.

        Raises:
            ConfigError: a cap that is not positive and finite, or what is wrapped is not a `TradingEnv`.
        """
        RecordConstructorArgs.__init__(self, cap=cap)
        self._market, self._cap = _trading(env), _positive(cap)
        super().__init__(env)

    def action(self, action: Action) -> Action:
        """Signals [N] whose weights lie within the cap."""
        signals = _check_action(action, self._market)
        scale = self._market.tape.scale[self._market.row]
        with np.errstate(divide="ignore"):
            limit = self._cap / scale
        return np.clip(signals, -limit, limit)


class GrossLeverage(Limit, RecordConstructorArgs):
    """The panel's gross leverage, sum_j share_j |weight_j|, at most `cap`: all signals cut in proportion.

    The shares are those of the panel's mean, the leverage that of the weights held after today's trades: a
    closed asset counts with the weight it keeps, the others share what is left. Closed assets alone can
    exceed the cap when their shares grow, as by a delisting in their market; then nothing else is held.
    Under an execution lag the weights are those decided today, which are traded so many days later.
    """

    def __init__(self, env: Inner, cap: float) -> None:
        """Wrap an environment.

        Args:
            env: a `TradingEnv`, wrapped or not.
            cap: largest gross leverage, as a multiple of capital.

        Raises:
            ConfigError: a cap that is not positive and finite, or what is wrapped is not a `TradingEnv`.
        """
        RecordConstructorArgs.__init__(self, cap=cap)
        self._market, self._cap = _trading(env), _positive(cap)
        super().__init__(env)

    def action(self, action: Action) -> Action:
        """Signals [N] whose weights, with those kept, lie within the cap."""
        signals, env = _check_action(action, self._market), self._market
        tape, t = env.tape, env.row
        target, kept = signals * tape.scale[t], env.positions
        # Split by what trades today: `hold` picks the target there, and the old weight elsewhere.
        fixed = _gross(hold(np.zeros_like(target), kept, tape.decides[t], tape.listed[t]), env.share)
        asked = _gross(hold(target, np.zeros_like(kept), tape.decides[t], tape.listed[t]), env.share)
        if asked + fixed <= self._cap:
            return signals
        return signals * (max(self._cap - fixed, 0.0) / asked if asked > 0.0 else 1.0)


def _gross(weight: FloatArray, share: FloatArray) -> float:
    return float(aggregate(np.abs(weight), share))


def _trading(env: Inner) -> TradingEnv:
    inner = getattr(env, "unwrapped", env)
    if not isinstance(inner, TradingEnv):
        raise ConfigError(f"an exposure limit wraps a TradingEnv, not {in_words(inner)}.")
    return inner


def _positive(cap: float) -> float:
    return check_number("cap", cap, 0.0, MOST_CAP, above=True, unit="a positive number")


def _check_action(action: Action, env: TradingEnv) -> FloatArray:
    """What the environment would refuse is not brought within a limit in silence."""
    try:
        signals = np.asarray(action, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"the action is {in_words(action)}, expected numbers.") from error
    if signals.shape != env.action_space.shape:
        raise ConfigError(f"the action has shape {signals.shape}, expected {env.action_space.shape}.")
    check_signals(signals, env.panel)
    return signals

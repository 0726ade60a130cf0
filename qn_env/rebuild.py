"""The same environment on another panel: its constructor's arguments again, and its wrappers around it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeAlias

import gymnasium
from gymnasium.utils import RecordConstructorArgs

from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel

AnyEnv: TypeAlias = gymnasium.Env


def rebuilt(env: AnyEnv, panel: Panel) -> AnyEnv:
    """A new environment like `env` on another panel: what Gymnasium recorded, else what a TradingEnv keeps.

    Arguments of wrappers that are `env`'s panel itself are replaced too; anything else they were given, such
    as an array computed from it, stays as it is.

    Raises:
        ConfigError: a wrapper that does not record its arguments, or an environment of another class that
            was not made by `gymnasium.make`.
    """
    if isinstance(env, gymnasium.Wrapper):
        return _rewrap(env, rebuilt(env.env, panel), panel)
    try:
        if env.spec is not None:
            return gymnasium.make(env.spec, panel=panel, render_mode=None).unwrapped
        if isinstance(env, TradingEnv):
            return env.like(panel=panel)
    except TypeError as error:
        raise _cannot(type(env), f"its constructor says: {error}") from error
    raise _cannot(type(env), "it was not made by gymnasium.make")


def _rewrap(wrapper: gymnasium.Wrapper, env: AnyEnv, panel: Panel) -> AnyEnv:
    """The same wrapper around another environment."""
    cls = type(wrapper)
    if not isinstance(wrapper, RecordConstructorArgs):
        raise _cannot(cls, "it does not record its arguments (gymnasium.utils.RecordConstructorArgs)")
    recorded: Mapping[str, object] = getattr(wrapper, "_saved_kwargs", {})
    own = {
        name: panel if isinstance(value, Panel) else copy.deepcopy(value)
        for name, value in recorded.items()
        if name != "env"
    }
    try:
        made: AnyEnv = cls(env, **own)
    except TypeError as error:
        raise _cannot(cls, f"its constructor says: {error}") from error
    return made


def _cannot(cls: type, why: str) -> ConfigError:
    return ConfigError(
        f"{cls.__name__} cannot be built again on another panel: {why}. "
        "Pass rebuild=, a function that takes a panel and builds the same environment on it."
    )

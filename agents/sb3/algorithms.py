"""The algorithms that `SB3Agent` learns by: found by name, import path or class, with defaults and spaces."""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass
from typing import Any, TypeAlias

import stable_baselines3
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from agents.space import Choice, LogUniform, Space
from qn_env.checks import in_words
from qn_env.errors import ConfigError, did_you_mean
from qn_env.extras import require

BASE, CONTRIB = "stable_baselines3", "sb3_contrib"

# The algorithms of both packages that act in a Box. A checkpoint may name these and no others by itself.
ALGORITHMS = (
    "A2C",
    "DDPG",
    "PPO",
    "SAC",
    "TD3",
    f"{CONTRIB}:ARS",
    f"{CONTRIB}:CrossQ",
    f"{CONTRIB}:RecurrentPPO",
    f"{CONTRIB}:TQC",
    f"{CONTRIB}:TRPO",
)

# Those that choose among actions: for policies that play one asset at a time.
DISCRETE = ("DQN", f"{CONTRIB}:QRDQN")

# Those whose policies do not explore by themselves.
_DETERMINISTIC = ("DDPG", "TD3")

# A name, an import path into one of the two packages, or a class.
AlgorithmLike: TypeAlias = str | type[BaseAlgorithm]

# Policies that take a vector, without and with a memory.
POLICIES = ("MlpPolicy", "MlpLstmPolicy")

# Arguments of an algorithm's class that are not options: the agent gives them.
_GIVEN = ("self", "policy", "env", "seed", "device", "_init_setup_model")

# A buffer of a million steps, the default, takes gigabytes where an observation has hundreds of numbers.
MOST_REPLAYED = 100_000

# Longer rollouts and larger minibatches than the defaults suit one long, noisy episode.
_ROLLOUTS: dict[str, Any] = {"n_steps": 1024, "batch_size": 256, "gamma": 0.9}
_DEFAULTS: dict[str, dict[str, Any]] = {
    **{
        name: {**_ROLLOUTS, "n_epochs": 5, "learning_rate": 3e-4}
        for name in ("PPO", f"{CONTRIB}:RecurrentPPO")
    },
    f"{CONTRIB}:TRPO": _ROLLOUTS,
}

# For accounts of single assets, a thousand at once. Chosen on training and selection blocks of the probes
# (trend, drift, costs, costly-trend, costly-reversal, costly-latent with seed 50), where the tests have other
# ones. What is earned is mostly noise: steps are over thousands of days, which are used once, and policies
# try little around what they think best. A trade is worth what the next days bring: the horizon is short.
_CURIOUS = {"log_std_init": -1.0}  # standard deviation of an action: 0.37
_SHARED_ROLLOUTS: dict[str, Any] = {"gamma": 0.5, "learning_rate": 1e-3, "n_steps": 16}
_SHARED_REPLAY: dict[str, Any] = {
    "gamma": 0.5,
    "learning_rate": 1e-3,
    "batch_size": 2048,
    "buffer_size": 500_000,
    "learning_starts": 20_000,
    "train_freq": 1,
    "gradient_steps": 4,
    "policy_kwargs": {"net_arch": [64, 64]},
}
_SHARED: dict[str, dict[str, Any]] = {
    "PPO": {
        **_SHARED_ROLLOUTS,
        "batch_size": 4096,
        "n_epochs": 1,
        "policy_kwargs": {"net_arch": [32, 32], **_CURIOUS},
    },
    f"{CONTRIB}:RecurrentPPO": {
        **_SHARED_ROLLOUTS,
        "batch_size": 4096,
        "n_epochs": 1,
        "policy_kwargs": {"net_arch": [32], "lstm_hidden_size": 32, **_CURIOUS},
    },
    f"{CONTRIB}:TRPO": {
        **_SHARED_ROLLOUTS,
        "batch_size": 4096,
        "policy_kwargs": {"net_arch": [32, 32], **_CURIOUS},
    },
    "A2C": {**_SHARED_ROLLOUTS, "n_steps": 8, "policy_kwargs": {"net_arch": [32, 32], **_CURIOUS}},
    **dict.fromkeys(("DDPG", "TD3", f"{CONTRIB}:CrossQ"), _SHARED_REPLAY),
    **{name: {**_SHARED_REPLAY, "target_update_interval": 2_000} for name in DISCRETE},
    **{name: {**_SHARED_REPLAY, "ent_coef": 0.01} for name in ("SAC", f"{CONTRIB}:TQC")},
}

# Around the values that RL Baselines3 Zoo (Raffin 2020) searches, with shorter horizons: today's trade moves
# little beyond the next days.
_COMMON: Space = {
    "learning_rate": LogUniform(1e-5, 3e-3),
    "gamma": Choice((0.0, 0.5, 0.9, 0.95, 0.99)),
}
_ON_POLICY: Space = {
    **_COMMON,
    "gae_lambda": Choice((0.8, 0.9, 0.95, 1.0)),
    "ent_coef": LogUniform(1e-6, 1e-2),
    "n_steps": Choice((5, 16, 64, 256)),
    "n_epochs": Choice((3, 5, 10)),
    "clip_range": Choice((0.1, 0.2, 0.3)),
    "target_kl": LogUniform(1e-3, 1e-1),
    "n_critic_updates": Choice((5, 10, 20)),
}
_MINIBATCHES: Space = {"n_steps": Choice((256, 512, 1024, 2048))}  # multiples of the minibatch
_OFF_POLICY: Space = {
    **_COMMON,
    "batch_size": Choice((64, 128, 256)),
    "tau": Choice((0.005, 0.01, 0.02, 0.05)),
    "train_freq": Choice((1, 4, 16)),
    "top_quantiles_to_drop_per_net": Choice((0, 2, 5)),
}
# Rollouts of 1,024 accounts are whole numbers of minibatches.
_SHARED_SPACE: Space = {
    "gamma": Choice((0.0, 0.3, 0.5, 0.7, 0.9)),
    "learning_rate": LogUniform(1e-4, 3e-3),
    "n_steps": Choice((8, 16, 32)),
    "batch_size": Choice((1024, 2048, 4096, 8192)),
    "train_freq": Choice((1, 2, 4)),
}
_POPULATION: Space = {
    "learning_rate": LogUniform(5e-3, 1e-1),
    "n_delta": Choice((4, 8, 16)),
    "delta_std": LogUniform(1e-2, 1e-1),
}


@dataclass(frozen=True)
class Algorithm:
    """An algorithm of Stable-Baselines3, of sb3-contrib, or one's own.

    Attributes:
        name: one of `ALGORITHMS`, else `module:Class`; what a checkpoint calls it.
        kind: its class.
    """

    name: str
    kind: type[BaseAlgorithm]

    @property
    def policy(self) -> str:
        """The name of its policy for a vector.

        Raises:
            ConfigError: it has none.
        """
        aliases = self.kind.policy_aliases
        for name in POLICIES:
            if name in aliases:
                return name
        raise ConfigError(
            f"{self.name}: has the policies {', '.join(aliases) or 'none'}, expected "
            f"{' or '.join(POLICIES)}: observations are one vector."
        )

    @property
    def options(self) -> dict[str, Any]:
        """The names of its options, with the defaults of its class; with **kwargs those of its base, too."""
        found: dict[str, Any] = {}
        for base in self.kind.__mro__:
            if "__init__" not in vars(base):
                continue
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            for one in parameters:
                if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) and one.name not in _GIVEN:
                    found.setdefault(one.name, one.default)
            if not any(one.kind is one.VAR_KEYWORD for one in parameters):
                break
        return found

    @property
    def defaults(self) -> dict[str, Any]:
        """Options that suit it here; of a class of one's own a smaller replay buffer, where it has one."""
        size = self.options.get("buffer_size")
        large = isinstance(size, int) and size > MOST_REPLAYED
        return {**_DEFAULTS.get(self.name, {}), **({"buffer_size": MOST_REPLAYED} if large else {})}

    @property
    def shared_defaults(self) -> dict[str, Any]:
        """Options that suit it where one policy plays many accounts of single assets."""
        options = {**self.defaults, **_SHARED.get(self.name, {})}
        taken = self.options
        return copy.deepcopy({name: value for name, value in options.items() if name in taken})

    @property
    def shared_timesteps(self) -> int:
        """Days of single accounts that it learns from there: a replay buffer uses each of them again."""
        return 500_000 if "buffer_size" in self.options else 3_000_000

    @property
    def explores(self) -> bool:
        """Whether its policy tries more than it thinks best."""
        return self.name not in _DETERMINISTIC

    @property
    def space(self) -> Space:
        """What a random search draws from: options of its kind that it takes, and whose default is not None.

        None is off, and stays it.
        """
        taken = self.options
        if issubclass(self.kind, OnPolicyAlgorithm):
            every = {**_ON_POLICY, **(_MINIBATCHES if "batch_size" in taken else {})}
        elif issubclass(self.kind, OffPolicyAlgorithm):
            every = dict(_OFF_POLICY)
        else:
            every = dict(_POPULATION)
        return {name: drawn_from for name, drawn_from in every.items() if taken.get(name) is not None}

    @property
    def shared_space(self) -> Space:
        """The same where one policy plays hundreds of accounts of single assets."""
        return {name: _SHARED_SPACE.get(name, drawn_from) for name, drawn_from in self.space.items()}

    def build(
        self,
        env: VecEnv,
        options: dict[str, Any],
        *,
        seed: int | None = None,
        device: torch.device | str = "cpu",
    ) -> BaseAlgorithm:
        """A model over an environment of flat observations; it draws from the global generators."""
        make: Any = self.kind  # each class has arguments of its own
        # A copy: A2C writes its optimiser's class into the policy's options, and no checkpoint holds classes.
        model: BaseAlgorithm = make(self.policy, env, seed=seed, device=device, **copy.deepcopy(options))
        return model


def find_algorithm(given: AlgorithmLike) -> Algorithm:
    """The algorithm behind a name of Stable-Baselines3, an import path into it or sb3-contrib, or a class.

    Args:
        given: "PPO", "stable_baselines3:PPO", "sb3_contrib:TQC", or a class that derives from
            `BaseAlgorithm`.

    Raises:
        ConfigError: another module, an unknown name, no algorithm, or sb3-contrib is not installed.

    Examples:
        >>> find_algorithm("stable_baselines3:SAC").name, find_algorithm(stable_baselines3.PPO).name
        ('SAC', 'PPO')
    """
    if isinstance(given, str):
        return _named(given)
    if not (isinstance(given, type) and issubclass(given, BaseAlgorithm)):
        raise ConfigError(
            f"algorithm is {in_words(given)}, expected a name ({', '.join(ALGORITHMS)}) or a class that "
            "derives from stable_baselines3.common.base_class.BaseAlgorithm."
        )
    package = given.__module__.partition(".")[0]
    if package in (BASE, CONTRIB):
        path = f"{package}:{given.__name__}"
        return Algorithm(path.removeprefix(f"{BASE}:"), given)
    return Algorithm(f"{given.__module__}:{given.__qualname__}", given)


def _named(given: str) -> Algorithm:
    package, colon, name = given.rpartition(":")
    # A path can come from a file, so none leads out of these two packages, whatever else is installed.
    if colon and package not in (BASE, CONTRIB):
        raise ConfigError(
            f"algorithm {given!r}: expected an import path {BASE}:CLASS or {CONTRIB}:CLASS. One of your own "
            "is given as the class itself: algorithm = MyAlgorithm in a subclass of SB3Agent."
        )
    module = stable_baselines3
    if package == CONTRIB:
        module = require(CONTRIB, what=f"The algorithm {given}", extra="contrib")
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, BaseAlgorithm)):
        contributed = f"{CONTRIB}:{given}"
        hint = f"Did you mean {contributed!r}? " if contributed in ALGORITHMS else ""
        raise ConfigError(f"unknown algorithm {given!r}. {hint}{did_you_mean(given, ALGORITHMS)}")
    return Algorithm(given.removeprefix(f"{BASE}:"), found)

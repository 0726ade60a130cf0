"""What agents of Stable-Baselines3 share: the algorithm and its options, the best policy, whom to trust."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypedDict, TypeVar

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents.device import placed, resolve
from agents.sb3.algorithms import Algorithm, AlgorithmLike, find_algorithm
from agents.space import Space
from agents.training import Monitor, global_seed
from qn_env.arrays import Numbers
from qn_env.checks import check_device, in_words
from qn_env.errors import ConfigError, did_you_mean

# What is kept of a policy beside its weights.
Extra = TypeVar("Extra")


class SB3Learner(ABC):
    """An agent that learns by an algorithm of Stable-Baselines3, of sb3-contrib, or one's own.

    A subclass with an attribute `algorithm` learns by that one and no other, and loads no other's checkpoint:

        class Quantiles(SB3Agent):
            algorithm = "sb3_contrib:TQC"

    It is a name, an import path into stable_baselines3 or sb3_contrib (`pip install "qn-env[contrib]"`), or a
    class that derives from Stable-Baselines3's `BaseAlgorithm`.
    """

    learns = True
    warmup = 315
    algorithm: AlgorithmLike | None = None
    known: ClassVar[tuple[str, ...]]  # algorithms that a checkpoint may name by itself

    timesteps: int

    def __init__(
        self,
        algorithm: AlgorithmLike | None,
        options: dict[str, Any] | None,
        more: dict[str, Any],
        device: str,
    ) -> None:
        self._learner = find_algorithm(agreed(type(self), algorithm) or "PPO")
        self.algorithm = self._learner.name
        self.options = {**(options if options is not None else self._defaults()), **more}
        taken = self._learner.options
        for name in self.options:
            if name not in taken:
                raise ConfigError(f"{self.algorithm} takes no option {name!r}. {did_you_mean(name, taken)}")
        _refuse_objects(self._learner, self.options)
        self.device = check_device("device", device)
        self.monitor = Monitor()
        self.policy: BasePolicy | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.algorithm!r}, timesteps={self.timesteps})"

    @property
    def space(self) -> Space:
        """What a random search draws from; timesteps are its budget and stay."""
        return self._learner.space

    @abstractmethod
    def _defaults(self) -> dict[str, Any]:
        """Options that suit the algorithm here."""

    @classmethod
    def _like(cls, algorithm: AlgorithmLike, **options: Any) -> Self:
        """An agent that is not trained; a subclass with an algorithm of its own need not take one."""
        return cls(algorithm, **options) if cls.algorithm is None else cls(**options)

    def _learn(
        self, venv: VecEnv, judge: Callable[[], float], extra: Callable[[], Extra], *, seed: int
    ) -> Best[Extra]:
        """Train, and leave the best policy in the agent.

        On a device the policy samples its actions from that device's generator, which the seed decides, too.

        Args:
            venv: what is played.
            judge: the score of the policy as it is, larger is better.
            extra: what else belongs to it.
            seed: the only chance.
        """
        title = f"{self._learner.kind.__name__.lower()} seed {seed}"
        # Stable-Baselines3 seeds the global generators itself; the block restores them.
        with global_seed(seed), self.monitor.reporting(title, self.timesteps) as report:
            model = self._build(venv, seed)
            # Its own logger would make a folder among the temporary files, and leave it.
            model.set_logger(Logger(None, []))
            self.policy = model.policy
            best = Best(judge, extra, self.timesteps, report)
            with placed(model.policy, resolve(self.device)):
                model.learn(self.timesteps, callback=best)
                if best.kept is not None:
                    self._restore(model.policy, best.kept[0])
        return best

    def _build(self, venv: VecEnv, seed: int) -> BaseAlgorithm:
        """What learns."""
        return self._learner.build(venv, self.options, seed=seed, device=resolve(self.device))

    def _restore(self, policy: BasePolicy, weights: dict[str, torch.Tensor]) -> None:
        """Play a policy with the given weights."""
        policy.load_state_dict(weights)
        policy.set_training_mode(mode=False)
        self.policy = policy

    def _trained_policy(self) -> BasePolicy:
        if self.policy is None:
            raise ConfigError("this agent is not trained; call fit or load first.")
        return self.policy


class Checkpoint(TypedDict):
    """What every checkpoint says beside the weights."""

    algorithm: str
    timesteps: int
    options: dict[str, Any]


def options_of(stored: Checkpoint) -> dict[str, Any]:
    """The options of a checkpoint; JSON has lists: train_freq=(1, "episode") is a pair."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in stored["options"].items()}


class Best(BaseCallback, Generic[Extra]):
    """Reports progress, judges the deterministic policy after every tenth of the training, keeps the best."""

    def __init__(
        self,
        judge: Callable[[], float],
        extra: Callable[[], Extra],
        timesteps: int,
        report: Callable[[int, int], None],
    ) -> None:
        """Watch a training.

        Args:
            judge: the score of the policy as it is, larger is better.
            extra: what else belongs to it.
            timesteps: of the training.
            report: told how many are done.
        """
        super().__init__()
        self._judge, self._extra, self._timesteps, self._report = judge, extra, timesteps, report
        self._every = max(timesteps // 10, 1)
        self._told = self._judged = 0
        self.score = -np.inf
        self.kept: tuple[dict[str, torch.Tensor], Extra] | None = None

    def _on_step(self) -> bool:
        if self.num_timesteps // 256 > self._told:
            self._told = self.num_timesteps // 256
            self._report(min(self.num_timesteps, self._timesteps), self._timesteps)
        if self.num_timesteps // self._every > self._judged and self.num_timesteps < self._timesteps:
            self._judged = self.num_timesteps // self._every
            self._look()
        return True

    def _on_training_end(self) -> None:
        self._look()

    def _look(self) -> None:
        policy = self.model.policy
        was_training = policy.training
        policy.set_training_mode(mode=False)
        score = self._judge()
        # The first policy is kept even where its score is undefined.
        if self.kept is None or score > self.score:
            self.score = score if np.isfinite(score) else -np.inf
            weights = {name: value.clone() for name, value in policy.state_dict().items()}
            self.kept = weights, self._extra()
        policy.set_training_mode(was_training)


class _Spaces(gymnasium.Env[Any, Numbers]):
    """Spaces without a market: enough to rebuild a policy's network."""

    def __init__(self, seen: spaces.Space[Any], done: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = seen, done


def without_market(
    learner: Algorithm,
    seen: spaces.Space[Any],
    done: spaces.Space[Any],
    options: dict[str, Any],
    num_envs: int = 1,
) -> BaseAlgorithm:
    """A model over spaces alone: its policy has the network of a trained one."""
    with global_seed(0):
        return learner.build(DummyVecEnv([lambda: _Spaces(seen, done)] * num_envs), options)


def unfit(model: Callable[[], BaseAlgorithm]) -> Exception | None:
    """Why an algorithm cannot be built; None where it can.

    Raises:
        ConfigError: of an option, or of a policy that it has not.
    """
    try:
        model()
    except ConfigError:
        raise
    except (AssertionError, NotImplementedError, TypeError, ValueError) as error:
        return error
    return None


def agreed(cls: type[SB3Learner], given: AlgorithmLike | None) -> AlgorithmLike | None:
    """What a class learns by: its own algorithm, which no other replaces, else what is given.

    Raises:
        ConfigError: they differ.
    """
    own = cls.algorithm
    if own is not None and given is not None and find_algorithm(given) != find_algorithm(own):
        raise ConfigError(
            f"{cls.__name__} learns by {find_algorithm(own).name} (its attribute algorithm), and "
            f"{find_algorithm(given).name} was given. Leave it out, or take another class."
        )
    return given if own is None else own


def trusted(given: AlgorithmLike | None, stored: str, path: Path, known: tuple[str, ...]) -> AlgorithmLike:
    """The algorithm of a checkpoint: what its reader gives, else one of the known ones; no file chooses code.

    Raises:
        ConfigError: the file names another one, or none of those; sb3-contrib is not installed.
    """
    if given is None and stored not in known:
        raise ConfigError(
            f"{path}: names the algorithm {stored!r}; a file does not choose which code runs. Look at that "
            "code and, if you trust it, load the checkpoint by a subclass of SB3Agent whose attribute "
            f"algorithm is that class. Known without it: {', '.join(known)}."
        )
    try:
        expected = find_algorithm(stored if given is None else given)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if expected.name != stored:
        raise ConfigError(
            f"{path}: was written by the algorithm {stored!r}, expected {expected.name!r}, by which this "
            "agent learns; a file does not choose which code runs. Load it by the agent that wrote it, or "
            "train again."
        )
    return stored if given is None else given


def _refuse_objects(learner: Algorithm, options: dict[str, Any]) -> None:
    """Refuse options that a checkpoint cannot hold before hours of training, not after them.

    Raises:
        ConfigError: with the option's name.
    """
    for name, value in options.items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"option {name!r} of {learner.name} is {in_words(value)}, which no checkpoint can hold "
                f"({error}); expected numbers, words, and lists and tables of them. Let a class of your own "
                f"give it to its base: class Mine({learner.kind.__name__}), and algorithm = Mine in a "
                "subclass of SB3Agent."
            ) from error

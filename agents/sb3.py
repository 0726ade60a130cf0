"""Any algorithm of Stable-Baselines3 or sb3-contrib for continuous actions as an agent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypedDict

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents.agent import Settings
from agents.checkpoint import JSON_NAME, load_json, load_tensors, save_json, save_tensors
from agents.sb3_algorithms import ALGORITHMS, Algorithm, AlgorithmLike, find_algorithm
from agents.space import Space
from agents.training import Monitor, global_seed
from agents.vec_env import SB3VecEnv
from qn_env.arrays import FloatArray, Numbers
from qn_env.checks import in_words
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, did_you_mean
from qn_env.features import dmn_features
from qn_env.objectives import sharpe
from qn_env.setup import Observation

__all__ = ["ALGORITHMS", "SB3Agent", "SB3VecEnv"]

# Normalised observations are clipped here, as Stable-Baselines3 does by default.
CLIP = 10.0


class Stored(TypedDict):
    """What a checkpoint says beside the weights: the algorithm, and how observations are normalised."""

    algorithm: str
    timesteps: int
    options: dict[str, Any]
    shapes: dict[str, list[int]]
    mean: list[float]
    spread: list[float]


class SB3Agent:
    """Trains an algorithm of Stable-Baselines3 by stepping the environment, and keeps its best policy.

    The policy sees the eight Deep Momentum features and a ninth number, whether they are all defined, today's
    returns, the tradable mask and its own positions as one normalised vector, and is rewarded with the
    panel's net return after costs. After every tenth of the training its deterministic policy plays the
    validation block; the best by net Sharpe ratio stays. A policy with a memory (RecurrentPPO) carries its
    state from day to day, from `reset` on.

    A subclass with an attribute `algorithm` learns by that one and no other, and loads no other's checkpoint:

        class Quantiles(SB3Agent):
            algorithm = "sb3_contrib:TQC"

    It is a name, an import path into stable_baselines3 or sb3_contrib (`pip install "qn-env[contrib]"`), or a
    class that derives from Stable-Baselines3's `BaseAlgorithm`.
    """

    learns = True
    warmup = 315
    algorithm: AlgorithmLike | None = None

    def __init__(
        self,
        algorithm: AlgorithmLike | None = None,
        timesteps: int = 20480,
        options: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Choose an algorithm.

        Options are numbers, words, and lists and tables of them, for a checkpoint holds no objects; what
        needs one, as an `activation_fn`, is an argument that a class of one's own gives to its base.

        Args:
            algorithm: one of `ALGORITHMS`, another `stable_baselines3:CLASS` or `sb3_contrib:CLASS`, or a
                class; None: the attribute of that name, else PPO.
            timesteps: environment steps to learn from; algorithms end the rollout they are in. ARS plays
                whole episodes, twice `n_delta` of them for every step of its search.
            options: keyword arguments of the algorithm's class; None: those that suit it here.
            more: single ones of them, in place of those in `options`, as a search draws them.

        Raises:
            ConfigError: an algorithm that is unknown, not the one of the class, or not made for continuous
                actions and observations that are a vector; an option that it does not take, or that no
                checkpoint holds; sb3-contrib is not installed.
        """
        self._learner = find_algorithm(_agreed(type(self), algorithm) or "PPO")
        self.algorithm = self._learner.name
        self.timesteps = timesteps
        self.options = {**(options if options is not None else self._learner.defaults), **more}
        known = self._learner.options
        for name in self.options:
            if name not in known:
                raise ConfigError(f"{self.algorithm} takes no option {name!r}. {did_you_mean(name, known)}")
        _refuse_objects(self._learner, self.options)
        if self._learner.name not in ALGORITHMS:
            _refuse_unfit(self._learner, self.options)
        self.settings = Settings(window=1, features=dmn_features(), vol_target=0.15, train_cost_bps=2.0)
        self.monitor = Monitor()
        self.policy: BasePolicy | None = None
        self._space: spaces.Dict | None = None
        self._mean: FloatArray = np.zeros(0)
        self._spread: FloatArray = np.ones(0)
        self._state: tuple[Numbers, ...] | None = None  # of a policy with a memory

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.algorithm!r}, timesteps={self.timesteps})"

    @property
    def space(self) -> Space:
        """What a random search draws from; timesteps are its budget and stay."""
        return self._learner.space

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Learn by playing `env`; keep the policy with the best net Sharpe ratio on `validation`."""
        env, validation = (env, validation) if validation is not None else env.split()
        self._space = _dict_space(env)
        title = f"{self._learner.kind.__name__.lower()} seed {seed}"
        with global_seed(seed), self.monitor.reporting(title, self.timesteps) as report:
            venv = VecNormalize(DummyVecEnv([lambda: FlattenObservation(env)]), clip_obs=CLIP)
            # Stable-Baselines3 seeds the global generators itself; the block restores them.
            model = self._learner.build(venv, self.options, seed=seed)
            # Its own logger would make a folder among the temporary files, and leave it.
            model.set_logger(Logger(None, []))
            self.policy = model.policy
            keeper = _Keeper(self, venv, validation, self.timesteps, report)
            model.learn(self.timesteps, callback=keeper)
            keeper.restore()
        self.reset()
        return self

    def reset(self) -> None:
        """Forget the state of a policy with a memory; others see all they need in the observation."""
        self._state = None

    @torch.no_grad()
    def act(self, observation: Observation) -> FloatArray:
        """The deterministic policy's signals [N]."""
        policy, space = self._trained_policy()
        flat = np.asarray(spaces.flatten(space, observation))
        if flat.shape != self._mean.shape:
            raise ConfigError(
                f"the observation holds {flat.size} numbers, the policy was trained on {self._mean.size}; a "
                "Stable-Baselines3 policy plays only the assets it was trained on."
            )
        normal = np.clip((flat - self._mean) / self._spread, -CLIP, CLIP).astype(np.float32)
        # A policy without a memory gives back the None that it is given; from None a memory begins at zeros.
        action, self._state = policy.predict(normal, state=self._state, deterministic=True)
        return np.clip(action.astype(np.float64), -1.0, 1.0)

    def save(self, folder: Path) -> None:
        """Write configuration, normalisation and the policy's weights."""
        policy, space = self._trained_policy()
        content = {
            "algorithm": self._learner.name,
            "timesteps": self.timesteps,
            "options": self.options,
            "shapes": {name: list(box.shape or ()) for name, box in space.spaces.items()},
            "mean": self._mean.tolist(),
            "spread": self._spread.tolist(),
        }
        save_json(folder, content)
        save_tensors(folder, policy.state_dict())

    @classmethod
    def load(cls, folder: Path, algorithm: AlgorithmLike | None = None) -> Self:
        """Read what `save` wrote: the policy is rebuilt from its configuration, nothing is unpickled.

        The algorithm is the one of the class, or the one given here; the file's word is held against it.
        Where there is neither, the file may name one of `ALGORITHMS`.

        Args:
            folder: of the checkpoint.
            algorithm: by which it was trained; needed for one that is none of `ALGORITHMS`, where the class
                has no attribute `algorithm`.

        Raises:
            ConfigError: the file names another algorithm, or an unknown one and none is given.
            FileError: the folder does not hold what `save` writes.
        """
        stored = load_json(folder, Stored)
        chosen = _trusted(_agreed(cls, algorithm), stored["algorithm"], folder / JSON_NAME)
        timesteps = stored["timesteps"]
        # JSON has lists: train_freq=(1, "episode") is a pair.
        options = {key: tuple(v) if isinstance(v, list) else v for key, v in stored["options"].items()}
        # A subclass with an algorithm of its own need not take one.
        agent = (
            cls(chosen, timesteps, options)
            if cls.algorithm is None
            else cls(timesteps=timesteps, options=options)
        )
        agent._mean, agent._spread = np.array(stored["mean"]), np.array(stored["spread"])
        shapes = {name: tuple(shape) for name, shape in stored["shapes"].items()}
        agent._space = _space_of(shapes)
        agent.policy = _without_market(agent._learner, shapes, agent.options).policy
        agent.policy.load_state_dict(load_tensors(folder))
        agent.policy.set_training_mode(mode=False)
        return agent

    def normalise_as(self, venv: VecNormalize) -> None:
        """Take over the running mean and variance of the training environment."""
        statistics: Any = venv.obs_rms
        self._mean = np.array(statistics.mean)
        self._spread = np.sqrt(np.array(statistics.var) + venv.epsilon)

    def normalisation(self) -> tuple[FloatArray, FloatArray]:
        """Mean and spread that observations are normalised with."""
        return self._mean, self._spread

    def restore(self, weights: dict[str, torch.Tensor], normalisation: tuple[FloatArray, FloatArray]) -> None:
        """Go back to an earlier policy."""
        policy, _ = self._trained_policy()
        policy.load_state_dict(weights)
        policy.set_training_mode(mode=False)
        self._mean, self._spread = normalisation

    def _trained_policy(self) -> tuple[BasePolicy, spaces.Dict]:
        if self.policy is None or self._space is None:
            raise ConfigError("this agent is not trained; call fit or load first.")
        return self.policy, self._space


class _Keeper(BaseCallback):
    """Reports progress, plays the validation block after every tenth of the training, keeps the best."""

    def __init__(
        self,
        agent: SB3Agent,
        venv: VecNormalize,
        validation: TradingEnv,
        timesteps: int,
        report: Callable[[int, int], None],
    ) -> None:
        super().__init__()
        self._agent, self._venv, self._validation = agent, venv, validation
        self._timesteps, self._report = timesteps, report
        self._every = max(timesteps // 10, 1)
        self._best = -np.inf
        self._kept: tuple[dict[str, torch.Tensor], tuple[FloatArray, FloatArray]] | None = None

    def _on_step(self) -> bool:
        if self.num_timesteps % 256 == 0:
            self._report(min(self.num_timesteps, self._timesteps), self._timesteps)
        if self.num_timesteps % self._every == 0 and self.num_timesteps < self._timesteps:
            self._judge()
        return True

    def _on_training_end(self) -> None:
        self._judge()

    def _judge(self) -> None:
        policy = self.model.policy
        was_training = policy.training
        policy.set_training_mode(mode=False)
        self._agent.normalise_as(self._venv)
        score = validation_sharpe(self._agent, self._validation)
        # The first policy is kept even where its score is undefined.
        if self._kept is None or score > self._best:
            self._best = score if np.isfinite(score) else -np.inf
            weights = {name: value.clone() for name, value in policy.state_dict().items()}
            self._kept = weights, self._agent.normalisation()
        policy.set_training_mode(was_training)

    def restore(self) -> None:
        """Leave the best policy in the agent."""
        if self._kept is not None:
            self._agent.restore(*self._kept)


class _Shape(gymnasium.Env[Observation, FloatArray]):
    """Spaces without a market: enough to rebuild a policy's network."""

    def __init__(self, space: spaces.Dict) -> None:
        self.observation_space = space
        assets = space["positions"].shape or ()
        self.action_space = spaces.Box(-1.0, 1.0, assets, np.float64)


def _agreed(cls: type[SB3Agent], given: AlgorithmLike | None) -> AlgorithmLike | None:
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


def _trusted(given: AlgorithmLike | None, stored: str, path: Path) -> AlgorithmLike:
    """The algorithm of a checkpoint: what its reader gives, else one of `ALGORITHMS`; no file chooses code.

    Raises:
        ConfigError: the file names another one, or none of those; sb3-contrib is not installed.
    """
    if given is None and stored not in ALGORITHMS:
        raise ConfigError(
            f"{path}: names the algorithm {stored!r}; a file does not choose which code runs. Look at that "
            "code and, if you trust it, load the checkpoint by a subclass of SB3Agent whose attribute "
            f"algorithm is that class. Known without it: {', '.join(ALGORITHMS)}."
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


def _without_market(
    learner: Algorithm, shapes: dict[str, tuple[int, ...]], options: dict[str, Any]
) -> BaseAlgorithm:
    """A model over spaces alone: its policy has the network of a trained one."""
    with global_seed(0):
        env = DummyVecEnv([lambda: FlattenObservation(_Shape(_space_of(shapes)))])
        return learner.build(env, options)


def _refuse_unfit(learner: Algorithm, options: dict[str, Any]) -> None:
    """Refuse an algorithm that cannot act here before it is trained, by building it for one asset.

    Raises:
        ConfigError: it acts in discrete spaces only, has no policy for a vector, or is abstract.
    """
    try:
        _without_market(learner, {"returns": (1, 1), "positions": (1,)}, options)
    except ConfigError:
        raise
    except (AssertionError, NotImplementedError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{learner.name}: cannot be built for signals, which are continuous (a Box): {error}. Expected "
            f"an algorithm for continuous actions, such as {', '.join(ALGORITHMS)}."
        ) from error


def validation_sharpe(agent: SB3Agent, env: TradingEnv) -> float:
    """Net Sharpe ratio of the panel's daily reward when the agent plays an episode of `env`."""
    rewards: list[float] = []
    agent.reset()
    observation, _ = env.reset()
    done = False
    while not done:
        observation, reward, terminated, truncated, _ = env.step(agent.act(observation))
        rewards.append(reward)
        done = terminated or truncated
    return float(sharpe(np.array(rewards), bars_per_year=env.panel.bars_per_year))


def _dict_space(env: TradingEnv) -> spaces.Dict:
    space = env.observation_space
    if not isinstance(space, spaces.Dict):
        raise ConfigError(f"the environment observes {space}, expected the Dict of TradingEnv.")
    return space


def _space_of(shapes: dict[str, tuple[int, ...]]) -> spaces.Dict:
    return spaces.Dict({name: spaces.Box(-1.0, 1.0, shape, np.float64) for name, shape in shapes.items()})

"""Any Stable-Baselines3 algorithm for continuous actions as an agent."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypedDict

import gymnasium
import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents.agent import Settings
from agents.checkpoint import load_json, load_tensors, save_json, save_tensors
from agents.space import Choice, LogUniform, Space
from agents.training import Monitor, global_seed
from agents.vec_env import SB3VecEnv
from qn_env.arrays import FloatArray
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, did_you_mean
from qn_env.features import dmn_features
from qn_env.objectives import sharpe
from qn_env.setup import Observation

__all__ = ["SB3Agent", "SB3VecEnv"]

# The algorithms of Stable-Baselines3 that act in a Box.
ALGORITHMS = ("A2C", "DDPG", "PPO", "SAC", "TD3")

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
    validation block; the best by net Sharpe ratio stays.
    """

    learns = True
    warmup = 315

    def __init__(
        self,
        algorithm: str = "PPO",
        timesteps: int = 20480,
        options: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Choose an algorithm.

        Args:
            algorithm: one of `ALGORITHMS`.
            timesteps: environment steps to learn from.
            options: keyword arguments of the algorithm's class; None: those that suit it here.
            more: single ones of them, in place of those in `options`, as a search draws them.

        Raises:
            ConfigError: an algorithm that is unknown, or an option that it does not take.
        """
        if algorithm not in ALGORITHMS:
            raise ConfigError(f"unknown algorithm {algorithm!r}. {did_you_mean(algorithm, ALGORITHMS)}")
        self.algorithm = algorithm
        self.timesteps = timesteps
        self.options = {**(options if options is not None else DEFAULTS.get(algorithm, {})), **more}
        known = inspect.signature(getattr(stable_baselines3, algorithm)).parameters
        for name in self.options:
            if name not in known:
                raise ConfigError(f"{algorithm} takes no option {name!r}. {did_you_mean(name, list(known))}")
        self.settings = Settings(window=1, features=dmn_features(), vol_target=0.15, train_cost_bps=2.0)
        self.monitor = Monitor()
        self.policy: BasePolicy | None = None
        self._space: spaces.Dict | None = None
        self._mean: FloatArray = np.zeros(0)
        self._spread: FloatArray = np.ones(0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.algorithm!r}, timesteps={self.timesteps})"

    @property
    def space(self) -> Space:
        """What a random search draws from; timesteps are its budget and stay."""
        return SPACES[self.algorithm]

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Learn by playing `env`; keep the policy with the best net Sharpe ratio on `validation`."""
        env, validation = (env, validation) if validation is not None else env.split()
        self._space = _dict_space(env)
        title = f"{self.algorithm.lower()} seed {seed}"
        with global_seed(seed), self.monitor.reporting(title, self.timesteps) as report:
            venv = VecNormalize(DummyVecEnv([lambda: FlattenObservation(env)]), clip_obs=CLIP)
            algorithm: type[BaseAlgorithm] = getattr(stable_baselines3, self.algorithm)
            # Stable-Baselines3 seeds the global generators itself; the block restores them.
            model = algorithm("MlpPolicy", venv, seed=seed, device="cpu", **self.options)
            # Its own logger would make a folder among the temporary files, and leave it.
            model.set_logger(Logger(None, []))
            self.policy = model.policy
            keeper = _Keeper(self, venv, validation, self.timesteps, report)
            model.learn(self.timesteps, callback=keeper)
            keeper.restore()
        return self

    def reset(self) -> None:
        """Nothing to forget: the policy sees all it needs in the observation."""

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
        action, _ = policy.predict(normal, deterministic=True)
        return np.clip(action.astype(np.float64), -1.0, 1.0)

    def save(self, folder: Path) -> None:
        """Write configuration, normalisation and the policy's weights."""
        policy, space = self._trained_policy()
        content = {
            "algorithm": self.algorithm,
            "timesteps": self.timesteps,
            "options": self.options,
            "shapes": {name: list(box.shape or ()) for name, box in space.spaces.items()},
            "mean": self._mean.tolist(),
            "spread": self._spread.tolist(),
        }
        save_json(folder, content)
        save_tensors(folder, policy.state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote: the policy is rebuilt from its configuration, nothing is unpickled."""
        stored = load_json(folder, Stored)
        agent = cls(stored["algorithm"], stored["timesteps"], stored["options"])
        agent._mean, agent._spread = np.array(stored["mean"]), np.array(stored["spread"])
        shapes = {name: tuple(shape) for name, shape in stored["shapes"].items()}
        agent._space = _space_of(shapes)
        algorithm: type[BaseAlgorithm] = getattr(stable_baselines3, agent.algorithm)
        with global_seed(0):
            env = DummyVecEnv([lambda: FlattenObservation(_Shape(_space_of(shapes)))])
            model = algorithm("MlpPolicy", env, device="cpu", **agent.options)
        agent.policy = model.policy
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


# Longer rollouts and larger minibatches than the defaults suit one long, noisy episode. A buffer of a
# million steps, the default, takes gigabytes where an observation has hundreds of numbers.
DEFAULTS: dict[str, dict[str, Any]] = {
    "PPO": {"n_steps": 1024, "batch_size": 256, "n_epochs": 5, "gamma": 0.9, "learning_rate": 3e-4},
    **{name: {"buffer_size": 100_000} for name in ("DDPG", "SAC", "TD3")},
}

# Around the values that RL Baselines3 Zoo (Raffin 2020) searches, with shorter horizons: today's trade moves
# little beyond the next days.
_COMMON: Space = {
    "learning_rate": LogUniform(1e-5, 3e-3),
    "gamma": Choice((0.0, 0.5, 0.9, 0.95, 0.99)),
}
_ON_POLICY: Space = {"gae_lambda": Choice((0.8, 0.9, 0.95, 1.0)), "ent_coef": LogUniform(1e-6, 1e-2)}
_OFF_POLICY: Space = {
    "batch_size": Choice((64, 128, 256)),
    "tau": Choice((0.005, 0.01, 0.02, 0.05)),
    "train_freq": Choice((1, 4, 16)),
}
_ROLLOUTS: Space = {
    "n_steps": Choice((256, 512, 1024, 2048)),  # multiples of the minibatch
    "n_epochs": Choice((3, 5, 10)),
    "clip_range": Choice((0.1, 0.2, 0.3)),
}
SPACES: dict[str, Space] = {
    "PPO": {**_COMMON, **_ON_POLICY, **_ROLLOUTS},
    "A2C": {**_COMMON, **_ON_POLICY, "n_steps": Choice((5, 16, 64, 256))},
    **{name: {**_COMMON, **_OFF_POLICY} for name in ("DDPG", "SAC", "TD3")},
}


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

"""One policy over all assets at once, by any algorithm of Stable-Baselines3 for continuous actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents.agent import Settings
from agents.checkpoint import JSON_NAME, load_json, load_tensors, save_json, save_tensors
from agents.sb3.algorithms import ALGORITHMS, AlgorithmLike
from agents.sb3.learner import Checkpoint, SB3Learner, agreed, options_of, trusted, unfit, without_market
from qn_env.arrays import FloatArray, Numbers
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.features import dmn_features
from qn_env.objectives import sharpe
from qn_env.setup import Observation

# Normalised observations are clipped here, as Stable-Baselines3 does by default.
CLIP = 10.0


class Stored(Checkpoint):
    """What a checkpoint says beside the weights: the algorithm, and how observations are normalised."""

    shapes: dict[str, list[int]]
    mean: list[float]
    spread: list[float]


class SB3Agent(SB3Learner):
    """One policy over all assets: steps the environment and keeps the best policy by net Sharpe ratio.

    The policy sees the eight Deep Momentum features and a ninth number, whether they are all defined, today's
    returns, the tradable mask and its own positions as one normalised vector, and is rewarded with the
    panel's net return after costs. After every tenth of the training its deterministic policy plays the
    validation block; the best stays. A policy with a memory (RecurrentPPO) carries its state from day to day,
    from `reset` on. It plays only the assets it was trained on: `SharedSB3Agent` plays any.
    """

    known = ALGORITHMS

    def __init__(
        self,
        algorithm: AlgorithmLike | None = None,
        timesteps: int = 20480,
        options: dict[str, Any] | None = None,
        *,
        device: str = "cpu",
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
            device: where it is trained (`agents.device`).
            more: single ones of them, in place of those in `options`, as a search draws them.

        Raises:
            ConfigError: an algorithm that is unknown, not the one of the class, or not made for continuous
                actions and observations that are a vector; an option that it does not take, or that no
                checkpoint holds; sb3-contrib is not installed.
        """
        super().__init__(algorithm, options, more, device)
        self.timesteps = timesteps
        if self._learner.name not in ALGORITHMS:
            self._refuse_unfit()
        self.settings = Settings(window=1, features=dmn_features(), vol_target=0.15, train_cost_bps=2.0)
        self._space: spaces.Dict | None = None
        self._mean: FloatArray = np.zeros(0)
        self._spread: FloatArray = np.ones(0)
        self._state: tuple[Numbers, ...] | None = None  # of a policy with a memory

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Learn by playing `env`; keep the policy with the best net Sharpe ratio on `validation`."""
        env, validation = (env, validation) if validation is not None else env.split()
        held_out, self._space = validation, _dict_space(env)
        venv = VecNormalize(DummyVecEnv([lambda: FlattenObservation(env)]), clip_obs=CLIP)

        def judge() -> float:
            self._mean, self._spread = _normalisation(venv)
            return validation_sharpe(self, held_out)

        best = self._learn(venv, judge, self.normalisation, seed=seed)
        if best.kept is not None:
            self._mean, self._spread = best.kept[1]
        self.reset()
        return self

    def reset(self) -> None:
        """Forget the state of a policy with a memory; others see all they need in the observation."""
        self._state = None

    @torch.no_grad()
    def act(self, observation: Observation) -> FloatArray:
        """The deterministic policy's signals [N]."""
        policy, space = self._trained_policy(), self._space
        assert space is not None, "of the trained policy"
        flat = np.asarray(spaces.flatten(space, observation))
        if flat.shape != self._mean.shape:
            raise ConfigError(
                f"the observation holds {flat.size} numbers, the policy was trained on {self._mean.size}; a "
                "joint policy plays only the assets it was trained on."
            )
        normal = np.clip((flat - self._mean) / self._spread, -CLIP, CLIP).astype(np.float32)
        # A policy without a memory gives back the None that it is given; from None a memory begins at zeros.
        action, self._state = policy.predict(normal, state=self._state, deterministic=True)
        return np.clip(action.astype(np.float64), -1.0, 1.0)

    def save(self, folder: Path) -> None:
        """Write configuration, normalisation and the policy's weights."""
        policy, space = self._trained_policy(), self._space
        assert space is not None, "of the trained policy"
        content: Stored = {
            "algorithm": self._learner.name,
            "timesteps": self.timesteps,
            "options": self.options,
            "shapes": {name: list(box.shape or ()) for name, box in space.spaces.items()},
            "mean": self._mean.tolist(),
            "spread": self._spread.tolist(),
        }
        save_json(folder, {**content})
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
        chosen = trusted(agreed(cls, algorithm), stored["algorithm"], folder / JSON_NAME, cls.known)
        agent = cls._like(chosen, timesteps=stored["timesteps"], options=options_of(stored))
        agent._mean, agent._spread = np.array(stored["mean"]), np.array(stored["spread"])
        agent._space = _space_of({name: tuple(shape) for name, shape in stored["shapes"].items()})
        model = without_market(agent._learner, *_flat(agent._space), agent.options)
        agent._restore(model.policy, load_tensors(folder))
        return agent

    def normalisation(self) -> tuple[FloatArray, FloatArray]:
        """Mean and spread that observations are normalised with."""
        return self._mean, self._spread

    def _defaults(self) -> dict[str, Any]:
        return self._learner.defaults

    def _refuse_unfit(self) -> None:
        """Refuse an algorithm that cannot act here before it is trained, by building it for one asset.

        Raises:
            ConfigError: it acts in discrete spaces only, has no policy for a vector, or is abstract.
        """
        space = _space_of({"returns": (1, 1), "positions": (1,)})
        error = unfit(lambda: without_market(self._learner, *_flat(space), self.options))
        if error is not None:
            raise ConfigError(
                f"{self._learner.name}: cannot be built for signals, which are continuous (a Box): {error}. "
                f"Expected an algorithm for continuous actions, such as {', '.join(ALGORITHMS)}."
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


def _normalisation(venv: VecNormalize) -> tuple[FloatArray, FloatArray]:
    """The running mean and spread of the training environment."""
    statistics: Any = venv.obs_rms
    return np.array(statistics.mean), np.sqrt(np.array(statistics.var) + venv.epsilon)


def _dict_space(env: TradingEnv) -> spaces.Dict:
    space = env.observation_space
    if not isinstance(space, spaces.Dict):
        raise ConfigError(f"the environment observes {space}, expected the Dict of TradingEnv.")
    return space


def _space_of(shapes: dict[str, tuple[int, ...]]) -> spaces.Dict:
    return spaces.Dict({name: spaces.Box(-1.0, 1.0, shape, np.float64) for name, shape in shapes.items()})


def _flat(space: spaces.Dict) -> tuple[spaces.Box, spaces.Box]:
    """What a policy sees, flattened, and does."""
    flat = spaces.flatten_space(space)
    assert isinstance(flat, spaces.Box), "a Dict of boxes"
    return flat, spaces.Box(-1.0, 1.0, space["positions"].shape or (), np.float64)

"""The Stable-Baselines3 `VecEnv` over the native vector environment: one batch, no loop of environments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from qn_env.arrays import Numbers
from qn_env.checks import in_words
from qn_env.errors import ConfigError
from qn_env.setup import Observation
from qn_env.vector import TradingVectorEnv


class BatchVecEnv(VecEnv):
    """What a batch without single environments in it cannot do, and what is the same for all of them."""

    @property
    def batch(self) -> object:
        """Whose attributes are those of all environments."""
        return self

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[object]:
        """The batch's attribute, once per environment."""
        value = getattr(self.batch, attr_name) if attr_name != "render_mode" else None
        return [value] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: object, indices: VecEnvIndices = None) -> None:
        """Refused: the environments of a batch share their settings.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"{attr_name}: the environments of a batch share their settings; build another one."
        )

    def env_method(
        self, method_name: str, *args: object, indices: VecEnvIndices = None, **kwargs: object
    ) -> list[object]:
        """Refused: there are no single environments in a batch.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"{method_name}: there are no single environments in a batch.")

    def env_is_wrapped(self, wrapper_class: type, indices: VecEnvIndices = None) -> list[bool]:
        """Never: wrappers go around the adapter."""
        return [False] * len(list(self._get_indices(indices)))

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """A batch draws no pictures."""
        return [None] * self.num_envs


class SB3VecEnv(BatchVecEnv):
    """Plays a `TradingVectorEnv` for Stable-Baselines3, in SAME_STEP mode whatever mode it was made in.

    Infos hold only what Stable-Baselines3 reads: `terminal_observation` and `TimeLimit.truncated` where an
    episode ends. With `flat`, an observation is one float32 vector (`MlpPolicy`, RecurrentPPO's
    `MlpLstmPolicy`), in the order of `gymnasium.spaces.flatten`; else the Dict (`MultiInputPolicy`,
    `MultiInputLstmPolicy`).
    """

    def __init__(self, env: gymnasium.vector.VectorEnv[Any, Any, Any], *, flat: bool = True) -> None:
        """Play the environments of `gymnasium.make_vec("qn_env/Trading-v0", ...)` or of the class itself.

        Raises:
            ConfigError: another vector environment, or wrappers around it, which would be left out.
        """
        if not isinstance(env, TradingVectorEnv):
            raise ConfigError(
                f"env is {in_words(env)}, expected the TradingVectorEnv of "
                'gymnasium.make_vec("qn_env/Trading-v0", num_envs=...), without wrappers.'
            )
        self.env = env.with_autoreset(AutoresetMode.SAME_STEP)
        self._flat = flat
        single = env.single_observation_space
        space: spaces.Dict | spaces.Box = single
        if flat:
            size = spaces.flatdim(single)
            space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        super().__init__(env.num_envs, space, env.single_action_space)
        self._actions: Numbers = np.zeros(0)

    @property
    def batch(self) -> TradingVectorEnv:
        """The vector environment."""
        return self.env

    def reset(self) -> VecEnvObs:
        """Begin all episodes, with the seeds given to `seed`, if any."""
        given = [s for s in self._seeds if s is not None]
        observation, _ = self.env.reset(seed=list(self._seeds) if given else None)
        self._reset_seeds()
        self._reset_options()
        return self._as_sb3(observation)

    def step_async(self, actions: Numbers) -> None:
        """Take the actions of the next step."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """One day of every episode."""
        observation, rewards, terminated, truncated, info = self.env.step(self._actions)
        dones = terminated | truncated
        infos: list[dict[str, object]] = [{} for _ in range(self.num_envs)]
        if dones.any():
            last = self._as_sb3(info["final_obs"])
            for b in np.flatnonzero(dones):
                ended = {k: part[b] for k, part in last.items()} if isinstance(last, dict) else last[b]
                infos[b]["terminal_observation"] = ended
                infos[b]["TimeLimit.truncated"] = bool(truncated[b] and not terminated[b])
        return self._as_sb3(observation), rewards.astype(np.float32), dones, infos

    def _as_sb3(self, observation: Observation) -> Numbers | Observation:
        if not self._flat:
            return observation
        parts: Iterable[Numbers] = (observation[name] for name in self.env.single_observation_space.spaces)
        flat = [part.reshape(self.num_envs, -1) for part in parts]
        return np.concatenate(flat, axis=1, dtype=np.float32, casting="unsafe")

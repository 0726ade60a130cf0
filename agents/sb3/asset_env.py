"""Single assets' own days as the `VecEnv` of Stable-Baselines3: one policy for all of them.

Every place of the batch plays one asset from one of its own days on, and begins again elsewhere when the
episode has ended. Only an asset's own days are steps, so that no step is one on which nothing can be done: a
return over a holiday or a halt is that of the day it began on, as it is for every network here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from agents.closed.bands import CLIP, SIDES, observe, signals_of_actions
from agents.closed.windows import ClosedWindows, each_rate
from agents.sb3.vec_env import BatchVecEnv
from qn_env.arrays import BoolArray, FloatArray, IntArray, Numbers
from qn_env.economics import settle


def spaces_of(n_inputs: int, *, discrete: bool) -> tuple[spaces.Box, spaces.Space[Any]]:
    """What a policy sees and does."""
    return (
        spaces.Box(-CLIP, CLIP, (n_inputs + 2,), np.float32),
        spaces.Discrete(len(SIDES)) if discrete else spaces.Box(-1.0, 1.0, (2,), np.float32),
    )


class AssetVecEnv(BatchVecEnv):
    """`num_envs` accounts of one asset each, settled by the environment's own arithmetic.

    The reward of a day is u - risk_aversion / 2 u^2, where u is what the account earns net of costs in units
    of the daily risk of a full position: reward in the mean alone is largest at the bounds whatever the
    forecast is worth, and says nothing about how much to hold. An episode of `days` own days ends before that
    where the asset's days do (both are truncations, not ends), or in ruin.
    """

    def __init__(
        self,
        windows: ClosedWindows,
        num_envs: int,
        *,
        days: int,
        risk_aversion: float,
        discrete: bool,
        seed: int,
    ) -> None:
        """Lay all assets' days out one behind the other.

        Args:
            windows: of all assets; they do not overlap.
            num_envs: accounts played at once.
            days: of an episode.
            risk_aversion: price of a unit of squared reward.
            discrete: actions are -1, 0 and 1 by number, else bands.
            seed: of assets and days that episodes begin with.
        """
        whole = windows.joined()
        account = whole.account
        self._inputs = whole.days.inputs.numpy()
        self._active: BoolArray = whole.days.alive.numpy()
        self._ratio: FloatArray = whole.days.ratio.numpy()
        self._scale: FloatArray = account.scale.numpy()
        self._returns: FloatArray = account.next_returns.numpy()
        self._costs = None if account.costs is None else account.costs.each(lambda rate: rate.numpy())
        risk = self._scale * whole.sigma.numpy()
        self._per_risk = np.divide(1.0, risk, out=np.zeros_like(risk), where=risk > 0.0)
        self._asset, self._day = np.nonzero(self._active)  # where an episode may begin
        self._end = self._active.shape[1] - self._active[:, ::-1].argmax(axis=1)  # of an asset's days
        self._length, self._aversion, self._discrete = days, risk_aversion, discrete
        self._rng = np.random.default_rng(seed)
        super().__init__(num_envs, *spaces_of(self._inputs.shape[-1], discrete=discrete))
        self._a, self._t, self._last = (np.zeros(num_envs, dtype=np.intp) for _ in range(3))
        self._held = np.zeros(num_envs)
        self._orders = np.zeros((account.lag + 2, num_envs))  # the newest first
        self._actions: Numbers = np.zeros(0)
        self._nothing: list[dict[str, Any]] = [{}] * num_envs

    def reset(self) -> Numbers:
        """Begin all episodes."""
        self._begin(np.arange(self.num_envs))
        self._reset_seeds()
        self._reset_options()
        return self._observe()

    def step_async(self, actions: Numbers) -> None:
        """Take the actions of the next step."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """One own day of every account."""
        at = self._a, self._t
        signal = signals_of_actions(self._actions, self._held, discrete=self._discrete) * self._active[at]
        self._orders[1:] = self._orders[:-1].copy()
        self._orders[0] = signal * self._scale[at]
        ledger = settle(
            self._orders[-2],
            self._orders[-1],
            self._returns[at],
            each_rate(self._costs, lambda rate: rate[at]),
        )
        earned = ledger.net * self._per_risk[at]
        rewards = (earned - 0.5 * self._aversion * earned**2).astype(np.float32)
        ruined = ledger.net <= -1.0
        self._t = self._t + 1
        dones = ruined | (self._t == self._last)
        inside = np.minimum(self._t, self._ratio.shape[1] - 1)
        self._held = signal * self._ratio[self._a, inside]
        infos = self._nothing
        if dones.any():
            ended = np.flatnonzero(dones)
            infos = list(infos)
            last = self._observe(ended)
            for b, seen in zip(ended, last, strict=True):
                infos[b] = {"terminal_observation": seen, "TimeLimit.truncated": not ruined[b]}
            self._begin(ended)
        return self._observe(), rewards, dones, infos

    def _begin(self, which: IntArray) -> None:
        """Start the next episode of some accounts, flat."""
        drawn = self._rng.integers(len(self._asset), size=len(which))
        self._a[which], self._t[which] = self._asset[drawn], self._day[drawn]
        self._last[which] = np.minimum(self._t[which] + self._length, self._end[self._a[which]])
        self._held[which] = 0.0
        self._orders[:, which] = 0.0

    def _observe(self, which: IntArray | slice = slice(None)) -> Numbers:
        """Of some accounts; behind an asset's last day there is nothing to see but what is held."""
        a, t = self._a[which], self._t[which]
        inside = t < self._active.shape[1]
        at = a, np.where(inside, t, 0)
        active = self._active[at] & inside
        return observe(np.where(active[:, None], self._inputs[at], 0.0), active, self._held[which])

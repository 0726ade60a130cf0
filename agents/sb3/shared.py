"""One policy that plays every asset alone, by any algorithm of Stable-Baselines3 or sb3-contrib."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecEnv

from agents.adapting import FEW
from agents.agent import Settings
from agents.checkpoint import JSON_NAME, load_json, load_tensors, save_json, save_tensors
from agents.closed.bands import observe, signals_of_actions
from agents.closed.stepwise import Stepwise
from agents.closed.windows import ClosedWindows
from agents.dmn.config import FEATURE_NAMES
from agents.dmn.losses import VOL_TARGET
from agents.dmn.training_windows import FEATURES, cut_windows
from agents.limits import MOST_COUNT, check_penalties
from agents.sb3.algorithms import ALGORITHMS, DISCRETE, AlgorithmLike
from agents.sb3.asset_env import AssetVecEnv, spaces_of
from agents.sb3.learner import Checkpoint, SB3Learner, agreed, options_of, trusted, unfit, without_market
from agents.space import Space
from qn_env.arrays import BoolArray, FloatArray, Numbers
from qn_env.checks import check_whole
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError

# The state of a policy with a memory, each [layers, N, H]; of others None.
State = tuple[Numbers, ...] | None

# Standard deviation of what is added to the actions of algorithms whose policies do not explore, in signals.
EXPLORATION = 0.3
LENGTH = 63  # own days of a window that days are cut into, before they are laid one behind the other


class Stored(Checkpoint):
    """What a checkpoint says beside the weights."""

    accounts: int
    episode_days: int
    risk_aversion: float
    train_cost_bps: float
    targeted: bool
    flat: bool


class SharedSB3Agent(SB3Learner, Stepwise[State]):
    """One policy for all assets, those it never saw included: it reads one asset at a time and its position.

    It sees the eight Deep Momentum features, whether they are all defined, and what it holds, as a signal of
    today; it learns from many accounts of one asset at once (`AssetVecEnv`), rewarded with what the account
    earns net of costs in units of its risk, less a price on risk. An action is the band inside of which what
    is held is left as it is; algorithms for discrete actions choose among the signals -1, 0 and 1 (Zhang,
    Zohren and Roberts 2020). After every tenth of the training the deterministic policy plays the validation
    block; the best by net Sharpe ratio, pooled over assets, stays. To hold nothing is one of the candidates:
    where no policy earns anything there, the agent stays flat.
    """

    known = (*ALGORITHMS, *DISCRETE)

    def __init__(
        self,
        algorithm: AlgorithmLike | None = None,
        timesteps: int | None = None,
        options: dict[str, Any] | None = None,
        *,
        accounts: int = 1024,
        episode_days: int = 252,
        risk_aversion: float = 0.3,
        train_cost_bps: float = 2.0,
        device: str = "cpu",
        **more: Any,
    ) -> None:
        """Choose an algorithm.

        Options are numbers, words, and lists and tables of them, for a checkpoint holds no objects; what
        needs one, as an `activation_fn`, is an argument that a class of one's own gives to its base.

        Args:
            algorithm: one of `known`, another `stable_baselines3:CLASS` or `sb3_contrib:CLASS`, or a class;
                None: the attribute of that name, else PPO.
            timesteps: days of single accounts to learn from, all accounts together; None: as many as suit the
                algorithm.
            options: keyword arguments of the algorithm's class; None: those that suit it here.
            accounts: played at once.
            episode_days: own days of an episode, which begins flat on a random day of a random asset.
            risk_aversion: price of a unit of squared reward, where a full position has a daily risk of 1.
            train_cost_bps: per unit of turnover, inside the reward.
            device: where it is trained (`agents.device`).
            more: single options, in place of those in `options`, as a search draws them.

        Raises:
            ConfigError: an algorithm that is unknown, not the one of the class, or for neither numbers nor
                choices; an option that it does not take, or that no checkpoint holds; sb3-contrib is not
                installed.
        """
        SB3Learner.__init__(self, algorithm, options, more, device)
        Stepwise.__init__(self)
        self.timesteps = self._learner.shared_timesteps if timesteps is None else timesteps
        self.accounts, self.episode_days = accounts, episode_days
        self.risk_aversion, self.train_cost_bps = risk_aversion, train_cost_bps
        for name in ("timesteps", "accounts", "episode_days"):
            check_whole(name, getattr(self, name), 1, MOST_COUNT)
        check_penalties(self, ("risk_aversion", "train_cost_bps"))
        self._discrete = self._chooses()
        self.settings = Settings(
            window=1, features=FEATURES, vol_target=VOL_TARGET, train_cost_bps=train_cost_bps
        )
        self._flat = False
        self._earlier: dict[str, torch.Tensor] | None = None

    @property
    def space(self) -> Space:
        """What a random search draws from; timesteps are its budget and stay."""
        return self._learner.shared_space

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Learn by trading the assets of `env`; keep what does best on `validation`.

        Without `validation` the most recent 10% of each market's days in `env` are held out.
        """
        env, validation = (env, validation) if validation is not None else env.split()
        self._targeted = env.config.vol_target is not None
        learn, held_out = (
            ClosedWindows.of(cut_windows(e, LENGTH, 0), targeted=self._targeted) for e in (env, validation)
        )
        whole = held_out.joined()
        venv = AssetVecEnv(
            learn,
            self.accounts,
            days=self.episode_days,
            risk_aversion=self.risk_aversion,
            discrete=self._discrete,
            seed=seed,
        )
        self._flat = False  # until it is judged
        best = self._learn(venv, lambda: self._score(whole), lambda: None, seed=seed)
        self._flat = best.score <= 0.0
        self.reset()
        return self

    def adapt(self, env: TradingEnv, *, seed: int, learn: bool, validation: TradingEnv | None = None) -> Self:
        """An agent for any assets: this one, or one that has learnt a tenth of the timesteps on theirs.

        It goes on from the policy alone: what an off-policy algorithm remembers of other assets is forgotten,
        and the days before it begins to learn are a tenth of those of a training, too.
        """
        if not learn:
            return self
        fresh = copy.copy(self)
        fresh._earlier = self._trained_policy().state_dict()
        fresh.timesteps = -(-self.timesteps // FEW)
        if (waits := self.options.get("learning_starts")) is not None:
            fresh.options = {**self.options, "learning_starts": waits // FEW}
        return fresh.fit(env, seed=seed, validation=validation)

    def save(self, folder: Path) -> None:
        """Write configuration and the policy's weights."""
        content: Stored = {
            "algorithm": self._learner.name,
            "timesteps": self.timesteps,
            "options": self.options,
            "accounts": self.accounts,
            "episode_days": self.episode_days,
            "risk_aversion": self.risk_aversion,
            "train_cost_bps": self.train_cost_bps,
            "targeted": self._targeted,
            "flat": self._flat,
        }
        save_json(folder, {**content})
        save_tensors(folder, self._trained_policy().state_dict())

    @classmethod
    def load(cls, folder: Path, algorithm: AlgorithmLike | None = None) -> Self:
        """Read what `save` wrote: the policy is rebuilt from its configuration, nothing is unpickled.

        Args:
            folder: of the checkpoint.
            algorithm: as of `SB3Agent.load`.

        Raises:
            ConfigError: the file names another algorithm, or an unknown one and none is given.
            FileError: the folder does not hold what `save` writes.
        """
        stored = load_json(folder, Stored)
        chosen = trusted(agreed(cls, algorithm), stored["algorithm"], folder / JSON_NAME, cls.known)
        agent = cls._like(
            chosen,
            timesteps=stored["timesteps"],
            options=options_of(stored),
            accounts=stored["accounts"],
            episode_days=stored["episode_days"],
            risk_aversion=stored["risk_aversion"],
            train_cost_bps=stored["train_cost_bps"],
        )
        agent._targeted, agent._flat = stored["targeted"], stored["flat"]
        agent._restore(agent._model(discrete=agent._discrete).policy, load_tensors(folder))
        return agent

    def _defaults(self) -> dict[str, Any]:
        return self._learner.shared_defaults

    def _build(self, venv: VecEnv, seed: int) -> BaseAlgorithm:
        """A policy that does not explore by itself is made to."""
        model = super()._build(venv, seed)
        if self._learner.options.get("action_noise", 0) is None and not self._learner.explores:
            model.action_noise = NormalActionNoise(np.zeros(2), np.full(2, EXPLORATION))
        if self._earlier is not None:
            model.policy.load_state_dict(self._earlier)
        return model

    def _begin(self, n_assets: int) -> State:
        """From None a memory begins at zeros."""
        del n_assets
        return None

    @torch.no_grad()
    def _decide(
        self, inputs: FloatArray, active: BoolArray, held: FloatArray, memory: State
    ) -> tuple[FloatArray, State]:
        policy = self._trained_policy()
        if self._flat:
            return np.zeros(len(held)), memory
        actions, after = policy.predict(observe(inputs, active, held), state=memory, deterministic=True)
        return signals_of_actions(actions, held, discrete=self._discrete), after

    def _keep(self, tradable: BoolArray, after: State, before: State) -> State:
        if after is None:
            return None
        old = before if before is not None else tuple(np.zeros_like(part) for part in after)
        return tuple(np.where(tradable[:, None], new, kept) for new, kept in zip(after, old, strict=True))

    def _score(self, whole: ClosedWindows) -> float:
        """Net Sharpe ratio, pooled over assets, of the policy as it is."""
        inputs, ratio, alive = (part.numpy() for part in whole.days)
        decided, memory = np.zeros(alive.shape), None
        last = np.zeros(len(alive))
        for t in range(alive.shape[1]):
            last, memory = self._decide(inputs[:, t], alive[:, t], ratio[:, t] * last, memory)
            last = decided[:, t] = np.where(alive[:, t], last, 0.0)
        return -float(whole.loss(torch.from_numpy(decided), whole.flat()[1])[0])

    def _model(self, *, discrete: bool) -> BaseAlgorithm:
        seen, done = spaces_of(len(FEATURE_NAMES), discrete=discrete)
        # As many as in training: algorithms compare the sizes of rollouts and minibatches.
        return without_market(self._learner, seen, done, self.options, self.accounts)

    def _chooses(self) -> bool:
        """Whether the algorithm's actions are choices.

        Raises:
            ConfigError: it can be built for neither numbers nor choices.
        """
        if self._learner.name in self.known:
            return self._learner.name in DISCRETE
        errors = []
        for discrete in (False, True):
            error = unfit(partial(self._model, discrete=discrete))
            if error is None:
                return discrete
            errors.append(str(error))
        raise ConfigError(
            f"{self._learner.name}: cannot be built for one asset's signal: {'; '.join(errors)}. Expected an "
            f"algorithm for a Box or for choices, such as {', '.join(self.known)}."
        )

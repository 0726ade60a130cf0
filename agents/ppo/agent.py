"""Proximal policy optimisation on one device as an agent."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np
import torch

from agents.adapting import FEW, fine_tuned
from agents.agent import Settings, repr_of
from agents.checkpoint import load_json, load_tensors, save_json, save_tensors
from agents.closed.bands import observe, to_band
from agents.closed.stepwise import Stepwise
from agents.closed.windows import ClosedWindows
from agents.device import resolve
from agents.dmn.agent import INPUT_DAYS
from agents.dmn.config import FEATURE_NAMES
from agents.dmn.losses import VOL_TARGET
from agents.dmn.training_windows import FEATURES, cut_windows
from agents.ppo.accounts import Accounts
from agents.ppo.block import Block
from agents.ppo.config import PPOConfig
from agents.ppo.learning import Iterations, Learner
from agents.ppo.network import Policy, taken
from agents.ppo.tape import AssetTape
from agents.resuming import Parts
from agents.space import Space
from agents.training import Monitor, Training, train_epochs
from qn_env.arrays import BoolArray, FloatArray
from qn_env.checks import check_device
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError

LENGTH = 63  # own days of a window that days are cut into, before they are laid one behind the other


class Stored(TypedDict):
    """What a checkpoint says beside the weights."""

    config: dict[str, Any]
    targeted: bool
    flat: bool


class DevicePPO(Stepwise[None]):
    """One policy for all assets, learnt by proximal policy optimisation (Schulman et al. 2017) on one device.

    It sees what the policies of `SharedSB3Agent` see, acts as they do and is paid what they are paid: a band
    around what is held, and what an account of one asset earns net of costs in units of its risk, less a
    price on risk. Accounts, advantages and updates are tensors of one device; the host draws all chance, and
    waits for the device once an iteration. After every tenth of the training the policy's mean plays the
    validation block; the best by net Sharpe ratio, pooled over assets, stays, and where none earns anything
    there, the agent stays flat. A trained agent plays on the CPU.
    """

    learns = True
    warmup = INPUT_DAYS

    def __init__(self, *, device: str = "cpu", **options: Any) -> None:
        """Choose where it learns, and how.

        Args:
            device: where it is trained (`agents.device`); no part of what is learnt.
            options: fields of `PPOConfig`.
        """
        super().__init__()
        self.config = PPOConfig(**options)
        self.device = check_device("device", device)
        self.settings = Settings(
            window=1, features=FEATURES, vol_target=VOL_TARGET, train_cost_bps=self.config.train_cost_bps
        )
        self.policy: Policy | None = None
        self.training_ = Training()
        self.monitor = Monitor()
        self._flat = False
        self._earlier: Policy | None = None

    def __repr__(self) -> str:
        return repr_of(self, self.config, "timesteps")

    @property
    def space(self) -> Space:
        """What a random search draws from; timesteps are its budget and stay."""
        return self.config.space

    def start_from(self, earlier: DevicePPO) -> None:
        """Let `fit` begin at the weights of a trained agent.

        Raises:
            ConfigError: a policy of another width, or one that is not trained.
        """
        policy = earlier._trained()
        if earlier.config.hidden != self.config.hidden:
            raise ConfigError(
                f"{self!r} has layers of {self.config.hidden} and cannot begin at the weights of one with "
                f"{earlier.config.hidden}; give both the same width, or train from scratch."
            )
        self._earlier = policy

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Learn by trading the assets of `env`; keep what does best on `validation`.

        Without `validation` the most recent 10% of each market's days in `env` are held out.
        """
        config, device = self.config, resolve(self.device)
        generator = torch.Generator().manual_seed(seed)
        policy = build(config, generator)
        if self._earlier is not None:
            policy.load_state_dict(self._earlier.state_dict())
        policy.to(device)
        env, validation = (env, validation) if validation is not None else env.split()
        targeted = env.config.vol_target is not None
        learn, held_out = (
            ClosedWindows.of(cut_windows(e, LENGTH, 0), targeted=targeted) for e in (env, validation)
        )
        tape, block = AssetTape.of(learn, config.episode_days, device), Block.of(held_out, device)
        accounts = Accounts(tape, config.accounts, config.risk_aversion)
        accounts.begin(torch.randint(len(tape.begins), (config.accounts,), generator=generator).to(device))
        learner = Learner(policy, accounts)
        rate = torch.tensor(config.learning_rate, device=device)
        optimizer = torch.optim.Adam(policy.parameters(), lr=rate, eps=1e-5, fused=True)
        iterations = Iterations(config, tape, learner, optimizer, generator)
        self.training_ = train_epochs(
            Parts(learner, optimizer, {"chance": generator}),
            iterations.tenth,
            lambda: block.score(policy),
            epochs=iterations.tenths,
            patience=iterations.tenths,
            title=f"ppo-device seed {seed}",
            identity=json.dumps({"config": asdict(config), "seed": seed})
            + env.fingerprint
            + validation.fingerprint,
            monitor=self.monitor,
        )
        # An undefined score is none above 0.
        self._flat = not self.training_.best_score > 0.0
        self.policy, self._targeted = policy.cpu(), targeted
        self.reset()
        return self

    def adapt(
        self, env: TradingEnv, *, seed: int, learn: bool, validation: TradingEnv | None = None
    ) -> DevicePPO:
        """An agent for any assets: this one, or one that has learnt a tenth of the timesteps on theirs."""
        if not learn:
            return self
        shorter = copy.copy(self)
        shorter.config = replace(self.config, timesteps=-(-self.config.timesteps // FEW))
        return fine_tuned(shorter, env, seed=seed, validation=validation)

    def save(self, folder: Path) -> None:
        """Write configuration and weights."""
        content: Stored = {"config": asdict(self.config), "targeted": self._targeted, "flat": self._flat}
        policy = self._trained()
        save_json(folder, {**content})
        save_tensors(folder, policy.state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        stored = load_json(folder, Stored)
        agent = cls(**stored["config"])
        agent._targeted, agent._flat = stored["targeted"], stored["flat"]
        agent.policy = build(agent.config, torch.Generator())
        agent.policy.load_state_dict(load_tensors(folder))
        return agent

    def _begin(self, n_assets: int) -> None:
        """It remembers nothing but what it holds."""

    @torch.no_grad()
    def _decide(
        self, inputs: FloatArray, active: BoolArray, held: FloatArray, memory: None
    ) -> tuple[FloatArray, None]:
        policy = self._trained()
        if self._flat:
            return np.zeros(len(held)), memory
        seen = torch.from_numpy(observe(inputs, active, held))
        actions: FloatArray = taken(policy.actor(seen)).numpy()
        return to_band(actions, held), memory

    def _keep(self, tradable: BoolArray, after: None, before: None) -> None:
        """Nothing."""

    def _trained(self) -> Policy:
        if self.policy is None:
            raise ConfigError("this agent is not trained; call fit or load first.")
        return self.policy


def build(config: PPOConfig, generator: torch.Generator) -> Policy:
    """The policy of a configuration, with its first weights."""
    return Policy(len(FEATURE_NAMES) + 2, config.hidden, config.log_std, generator)

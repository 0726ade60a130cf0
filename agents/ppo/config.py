"""The hyperparameters of proximal policy optimisation over accounts of single assets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from agents.limits import check_counts, check_penalties, check_positive, check_shares, check_widths
from agents.space import Choice, LogUniform, Space
from qn_env.checks import check_number, check_whole
from qn_env.errors import ConfigError

MOST_TIMESTEPS = 10_000_000_000  # a quarter of an hour of a device that learns from ten million a second
MOST_ROLLOUT = 100_000_000  # days of one: about ten gigabytes


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Hyperparameters; chosen on training and selection blocks of the probes, with seeds from 50 on.

    What is earned is mostly noise: steps are over thousands of days, which are used once. A trade is worth
    what the next days bring: the horizon is short. Policies try little around what they think best: who
    tries much pays for it every day, in costs and in risk, learns bands so wide that no trial moves him, and
    without trials then holds nothing.
    """

    timesteps: int = 3_000_000  # days of single accounts to learn from, all accounts together
    accounts: int = 1024  # played at once
    episode_days: int = 252  # own days of an episode, which begins flat on a random day of a random asset
    steps: int = 16  # days of every account between two updates
    epochs: int = 1  # how often an update goes over them
    minibatches: int = 4  # of an epoch, each all days of some of the accounts
    hidden: int = 32  # width of both layers, of the policy and of the value
    learning_rate: float = 2e-3  # of Adam at the beginning; it falls to 0 linearly
    gamma: float = 0.5  # what tomorrow's reward is worth today
    gae_lambda: float = 0.95  # weight of longer returns in an advantage
    clip: float = 0.2  # of the ratio of probabilities, around 1
    entropy: float = 0.0  # weight of the bonus on the policy's entropy
    value_weight: float = 0.5  # of the value's loss
    max_norm: float = 0.5  # of the gradient
    log_std: float = -2.0  # logarithm of an action's standard deviation, at the beginning
    risk_aversion: float = 0.3  # price of a unit of squared reward, a full position's daily risk being 1
    train_cost_bps: float = 2.0  # per unit of turnover, inside the reward

    def __post_init__(self) -> None:
        check_whole("timesteps", self.timesteps, 1, MOST_TIMESTEPS)
        check_counts(self, ("accounts", "episode_days", "steps", "epochs", "minibatches"))
        check_widths(self, ("hidden",))
        check_positive(self, ("learning_rate", "clip", "max_norm"))
        check_penalties(self, ("entropy", "value_weight", "risk_aversion", "train_cost_bps"))
        check_shares(self, ("gamma",))
        check_number("gae_lambda", self.gae_lambda, 0.0, 1.0)
        check_number("log_std", self.log_std, -10.0, 2.0)
        if self.accounts * self.steps > MOST_ROLLOUT:
            raise ConfigError(
                f"accounts is {self.accounts} and steps {self.steps}: expected at most {MOST_ROLLOUT} days "
                "in a rollout, accounts times steps."
            )
        if self.accounts % self.minibatches:
            raise ConfigError(
                f"accounts is {self.accounts} and minibatches {self.minibatches}: expected a whole number of "
                "accounts in each minibatch, which is what keeps them of one size."
            )

    @property
    def iterations(self) -> int:
        """Rollouts, each with its update; the last one is played to its end."""
        return math.ceil(self.timesteps / (self.accounts * self.steps))

    @property
    def space(self) -> Space:
        """What a random search draws from; timesteps are its budget and stay."""
        return {
            "learning_rate": LogUniform(1e-4, 1e-2),
            "gamma": Choice((0.0, 0.3, 0.5, 0.7, 0.9)),
            "gae_lambda": Choice((0.8, 0.9, 0.95, 1.0)),
            "clip": Choice((0.1, 0.2, 0.3)),
            "entropy": LogUniform(1e-6, 1e-2),
            "steps": Choice((8, 16, 32)),
            "epochs": Choice((1, 2, 4)),
            "minibatches": Choice((2, 4, 8)),
            "hidden": Choice((16, 32, 64)),
        }

"""Iterations of a rollout and an update, a tenth of a training at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from agents.ppo.accounts import Accounts
from agents.ppo.config import PPOConfig
from agents.ppo.network import Policy
from agents.ppo.rollout import Draws, Record, collect, judge
from agents.ppo.tape import AssetTape
from agents.ppo.update import update
from qn_env.errors import QnError

TENTHS = 10  # how often a training is judged, if it has so many iterations


class Learner(nn.Module):
    """What changes in a training beside the optimiser and the generator, so that it is stored with them."""

    def __init__(self, policy: Policy, accounts: Accounts) -> None:
        super().__init__()
        self.policy, self.accounts = policy, accounts


@dataclass(frozen=True, eq=False)
class Iterations:
    """The iterations of a training.

    Attributes:
        config: how many there are, and what is learnt by.
        tape: what is played.
        learner: who plays it.
        optimizer: over the policy's parameters; its rate is a tensor on their device.
        generator: of the host, which draws everything.
    """

    config: PPOConfig
    tape: AssetTape
    learner: Learner
    optimizer: torch.optim.Optimizer
    generator: torch.Generator

    @property
    def tenths(self) -> int:
        """Into how many parts they fall."""
        return min(TENTHS, self.config.iterations)

    def tenth(self, number: int) -> Mapping[str, float]:
        """Iterate from the end of the part before to the end of this one; the mean loss.

        Raises:
            QnError: a loss that is not a finite number.
        """
        first, last = (self.config.iterations * n // self.tenths for n in (number, number + 1))
        record = Record.empty(self.config, self.tape)
        losses = [self._iterate(i, record) for i in range(first, last)]
        return {"loss": sum(losses) / len(losses)}

    def _iterate(self, i: int, record: Record) -> float:
        config, (policy, accounts) = self.config, (self.learner.policy, self.learner.accounts)
        left = 1.0 - i / config.iterations
        for group in self.optimizer.param_groups:
            group["lr"].fill_(config.learning_rate * left)
        draws = Draws.of(config, len(self.tape.begins), self.generator, self.tape.seen.device)
        collect(policy, accounts, draws, record)
        batch = judge(policy, self.tape, draws, record, config)
        # The one number that the host waits for.
        loss = float(update(policy, self.optimizer, batch, draws.order, config).mean())
        if not math.isfinite(loss):
            raise QnError(f"the training loss is {loss}; lower the learning rate or look at the data.")
        return loss

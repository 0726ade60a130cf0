"""The clipped objective, and steps over minibatches (Schulman et al. 2017, Eqs. 7 and 9)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.ppo.config import PPOConfig
from agents.ppo.network import Policy
from agents.ppo.rollout import Batch


def update(
    policy: Policy, optimizer: torch.optim.Optimizer, batch: Batch, order: Tensor, config: PPOConfig
) -> Tensor:
    """Take the steps of all epochs over a rollout; their losses, one each.

    Args:
        policy: what learns.
        optimizer: over its parameters.
        batch: of the rollout.
        order: [E, B] as of `Draws`.
        config: of the objective.
    """
    losses, parameters = [], list(policy.parameters())
    for chosen in order.view(len(order) * config.minibatches, -1):
        loss = objective(policy, Batch(*(part.index_select(1, chosen) for part in batch)), config)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, config.max_norm)
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


def objective(policy: Policy, batch: Batch, config: PPOConfig) -> Tensor:
    """[] what is minimised: minus the clipped objective, the value's error, minus the bonus on entropy.

    Advantages are normalised within the minibatch (Huang et al. 2022, detail 7).
    """
    noise = (batch.actions - policy.actor(batch.seen)) / policy.log_std.exp()
    ratio = (policy.log_prob(noise) - batch.log_prob).exp()
    surrogate = clipped(ratio, normalised(batch.advantage), config.clip).mean()
    error = (policy.value(batch.seen) - batch.target).square().mean()
    return config.value_weight * error - surrogate - config.entropy * policy.entropy()


def clipped(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """The smaller of ratio times advantage and the same with the ratio in [1 - clip, 1 + clip]: Eq. 7."""
    return torch.minimum(ratio * advantage, ratio.clip(1.0 - clip, 1.0 + clip) * advantage)


def normalised(advantage: Tensor) -> Tensor:
    """With mean 0 and deviation 1."""
    deviation, mean = torch.std_mean(advantage)
    return (advantage - mean) / (deviation + 1e-8)

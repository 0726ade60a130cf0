"""Rollouts of a policy over accounts, and the advantages of what it did (Schulman et al. 2016, 2017)."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from agents.ppo.accounts import Accounts
from agents.ppo.config import PPOConfig
from agents.ppo.network import Policy, taken
from agents.ppo.tape import AssetTape


class Draws(NamedTuple):
    """All chance of an iteration: drawn by the host, so that a seed means the same on every device.

    Attributes:
        noise: [T, B, 2] by how many deviations actions differ from their means.
        places: [T, B] where an episode begins if one ends.
        order: [E, B] the accounts of every epoch, in the order in which minibatches take them.
    """

    noise: Tensor
    places: Tensor
    order: Tensor

    @classmethod
    def of(cls, config: PPOConfig, n_places: int, generator: torch.Generator, device: torch.device) -> Self:
        """Draw in one block each, and bring them to the device."""
        T, B = config.steps, config.accounts
        blocks = (
            torch.randn(T, B, 2, generator=generator),
            torch.randint(n_places, (T, B), generator=generator),
            torch.stack([torch.randperm(B, generator=generator) for _ in range(config.epochs)]),
        )
        return cls(*(block.to(device, non_blocking=True) for block in blocks))


class Record(NamedTuple):
    """What accounts saw, did and were paid on T days; filled day after day.

    Attributes:
        seen: [T, B, F + 2].
        actions: [T, B, 2].
        reward: [T, B].
        row: [T, B] of the tape.
        held: [T, B] after the day, before a new episode.
        ruined: [T, B] bool.
        ended: [T, B] bool.
    """

    seen: Tensor
    actions: Tensor
    reward: Tensor
    row: Tensor
    held: Tensor
    ruined: Tensor
    ended: Tensor

    @classmethod
    def empty(cls, config: PPOConfig, tape: AssetTape) -> Self:
        """Room for one rollout."""
        T, B, device = config.steps, config.accounts, tape.seen.device

        def room(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(T, B, *shape, dtype=dtype, device=device)

        return cls(
            *(room(tape.seen.shape[1]), room(2), room(), room(dtype=torch.long)),
            *(room(), room(dtype=torch.bool), room(dtype=torch.bool)),
        )


class Batch(NamedTuple):
    """What an update learns from, each [T, B, ...]."""

    seen: Tensor
    actions: Tensor
    log_prob: Tensor  # of the actions, when they were taken
    advantage: Tensor
    target: Tensor  # of the value


@torch.no_grad()
def collect(policy: Policy, accounts: Accounts, draws: Draws, record: Record) -> None:
    """Play the days of a rollout."""
    departures = policy.log_std.exp() * draws.noise
    for t in range(len(record.reward)):
        play_day(policy, accounts, departures[t], draws.places[t], record, t)


def play_day(
    policy: Policy, accounts: Accounts, departure: Tensor, places: Tensor, record: Record, t: int
) -> None:
    """Play day t: nothing but tensors of fixed shapes, written where there is room for them.

    Args:
        policy: who acts.
        accounts: what is traded.
        departure: [B, 2] of the actions from their means.
        places: [B] where an episode begins if one ends.
        record: to which the day is added.
        t: its number in the rollout.
    """
    record.row[t].copy_(accounts.row)
    seen = accounts.observe(out=record.seen[t])
    actions = torch.add(policy.actor(seen), departure, out=record.actions[t])
    paid = accounts.step(taken(actions), places)
    record.reward[t].copy_(paid.reward)
    record.held[t].copy_(paid.held)
    record.ruined[t].copy_(paid.ruined)
    record.ended[t].copy_(paid.ended)


@torch.no_grad()
def judge(policy: Policy, tape: AssetTape, draws: Draws, record: Record, config: PPOConfig) -> Batch:
    """What every day was worth beside what the policy's value expected of it.

    Of an episode that was cut off, be it by the rollout's end, by its own length or by the asset's last day,
    the value of what was seen next stands for the days behind; behind ruin there are none.
    """
    values = policy.value(record.seen)
    behind = tape.observe(record.row.flatten() + 1, record.held.flatten())
    following = policy.value(behind).view_as(values)
    advantage = advantages(record, values, following, config.gamma, config.gae_lambda)
    log_prob = policy.log_prob(draws.noise)
    return Batch(record.seen, record.actions, log_prob, advantage, advantage + values)


def advantages(record: Record, values: Tensor, following: Tensor, gamma: float, gae_lambda: float) -> Tensor:
    """[T, B] generalised advantage estimates (Schulman et al. 2016, Eq. 16).

    A_t = d_t + gamma lambda A_{t+1}, with d_t = r_t + gamma V_{t+1} - V_t, and no A_{t+1} of another episode.

    Args:
        record: rewards and ends.
        values: [T, B] of what was seen.
        following: [T, B] of what was seen after each day, in the same episode.
        gamma: what tomorrow's reward is worth today.
        gae_lambda: weight of longer returns.
    """
    found = record.reward + gamma * following.masked_fill(record.ruined, 0.0) - values
    onward = (gamma * gae_lambda) * (~record.ended)
    for t in range(len(found) - 2, -1, -1):
        found[t].addcmul_(onward[t], found[t + 1])
    return found

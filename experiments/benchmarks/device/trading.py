"""The closed loop and PPO on a device: days of single assets in a second."""

from __future__ import annotations

import torch

from agents.ppo import DevicePPO
from agents.sb3 import SharedSB3Agent
from experiments.benchmarks.device.clock import begin_peak, peak, seconds
from experiments.benchmarks.measure import Row
from qn_env.environment import TradingEnv
from qn_env.rollout import Rollout
from qn_env.sources.synthetic import noise

CPU = torch.device("cpu")
DAYS = 64
ROLLOUT_TARGET, PPO_TARGET = 100e6, 10e6


def rollout_row(environments: int, device: torch.device) -> Row:
    """Steps of environments of thirty assets in a second, each a decision, settled and observed."""
    panel = noise(markets=3, assets=10, days=300, seed=0)
    env = TradingEnv(panel, window=1)

    def rate(number: int, place: torch.device) -> float:
        rollout = Rollout(env, device=place)
        rows = torch.randint(
            1, len(panel.dates) - 2 * DAYS, (number,), generator=torch.Generator().manual_seed(0)
        )
        signals = torch.zeros(number, panel.shape[1], device=place)

        @torch.no_grad()
        def play() -> None:
            rollout.reset(rows)
            for _ in range(DAYS):
                rollout.step(signals)

        play()
        return number * DAYS / seconds(play, place)

    begin_peak(device)
    ours, core = rate(environments, device), rate(min(environments, 10_000), CPU)
    return Row(
        what=f"Rollout, {environments:,} environments of 30 assets on {device} / 10,000 on a CPU core",
        unit="steps/s",
        ours=ours,
        baseline=core,
        ratio=ours / core,
        low=ROLLOUT_TARGET / core if device.type == "cuda" else None,
        note=peak(device),
    )


def ppo_row(timesteps: int, accounts: int, device: torch.device) -> Row:
    """Days of single assets that PPO learns from in a second, updates included."""
    panel = noise(markets=7, assets=4, days=3000, seed=0)

    def rate(agent: DevicePPO | SharedSB3Agent, number: int, place: torch.device) -> float:
        asked = agent.settings
        env = TradingEnv(panel.until(panel.dates[-40]), window=1, features=asked.features, vol_target=0.15)
        held = env.like(panel=panel.since(panel.dates[-360]))
        return number / seconds(lambda: agent.fit(env, seed=0, validation=held), place)

    begin_peak(device)
    options = {"timesteps": timesteps, "accounts": accounts}
    ours = rate(DevicePPO(device=str(device), **options), timesteps, device)
    fewer = min(timesteps, 16_384 * 8)
    core = rate(SharedSB3Agent("PPO", timesteps=fewer), fewer, CPU)
    return Row(
        what=f"ppo-device, {accounts:,} accounts on {device} / PPO of Stable-Baselines3 on a CPU core",
        unit="asset-days/s",
        ours=ours,
        baseline=core,
        ratio=ours / core,
        low=PPO_TARGET / core if device.type == "cuda" else None,
        note=peak(device),
    )

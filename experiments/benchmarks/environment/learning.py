"""Stable-Baselines3: PPO over the adapter of the native vector environment, against its own DummyVecEnv."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from gymnasium.wrappers import FlattenObservation
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper

from agents.ppo import DevicePPO
from agents.sb3 import SB3Agent, SB3VecEnv, SharedSB3Agent
from experiments.benchmarks.environment.play import vector
from experiments.benchmarks.environment.thirty import WINDOW, walk
from experiments.benchmarks.measure import Row, compare, in_turn
from qn_env.environment import TradingEnv
from qn_env.sources.synthetic import noise


def learning_rows(*, days: int, num_envs: int, length: int, rounds: int) -> list[Row]:
    """Transitions per CPU second of collecting rollouts, and the environment's share of PPO.learn.

    Args:
        days: of the panel.
        num_envs: copies of the environment.
        length: steps of each in a rollout.
        rounds: repetitions.
    """
    torch.set_num_threads(1)
    panel = walk(days)

    def native(*, flat: bool) -> Any:
        env = vector(panel, num_envs, window=WINDOW, autoreset_mode="SameStep")
        return SB3VecEnv(env, flat=flat)

    def scalar() -> TradingEnv:
        return TradingEnv(panel, window=WINDOW, random_start=True)

    pairs = {
        "MlpPolicy": (native(flat=True), DummyVecEnv([lambda: FlattenObservation(scalar())] * num_envs)),
        "MultiInputPolicy": (native(flat=False), DummyVecEnv([scalar] * num_envs)),
    }
    rollouts, shares = [], []
    for policy, (ours, dummy) in pairs.items():
        rollouts.append(_rollout_row(policy, ours, dummy, length, rounds))
        sides = {"ours": _share(policy, ours, length), "dummy": _share(policy, dummy, length)}
        what = f"environment's share of PPO.learn, {policy} / DummyVecEnv's"
        shares.append(compare(what, "of CPU", in_turn(sides, 1), "ours", "dummy"))
    # Eight assets as in the probes, and as many as a joint policy's step is worth most with.
    trained: list[Row] = [
        row(markets=m, days=days, rollouts=num_envs, rounds=-(-rounds // 3))
        for row in (shared_row, device_row)
        for m in (2, 7)
    ]
    return [*rollouts, *shares, *trained]


def shared_row(*, markets: int, days: int, rollouts: int, rounds: int) -> Row:
    """Days of single assets that PPO learns from in a CPU second, updates included, by agent as registered.

    One policy over accounts of single assets, against one policy over all of them, whose every step is a day
    of each asset.

    Args:
        markets: of four assets each.
        days: of the panel.
        rollouts: of 16,384 days of single accounts; the joint agent learns from a 128th as many steps.
        rounds: repetitions.
    """
    timed = Trainings(markets, days)
    joint = SB3Agent("PPO", timesteps=max(128 * rollouts // 1024, 1) * 1024)
    sides = {
        "ours": timed.rate(SharedSB3Agent("PPO", timesteps=16_384 * rollouts), 1),
        "joint": timed.rate(joint, timed.n_assets),
    }
    what = f"PPO as an agent, {timed.n_assets} assets, one policy for each of them / one for all at once"
    return compare(what, "asset-days/s", in_turn(sides, rounds), "ours", "joint", low=5.0)


def device_row(*, markets: int, days: int, rollouts: int, rounds: int) -> Row:
    """The same of PPO in PyTorch, on the CPU, beside that of Stable-Baselines3; arguments as there."""
    timed, timesteps = Trainings(markets, days), 16_384 * rollouts
    sides = {
        "ours": timed.rate(DevicePPO(timesteps=timesteps), 1),
        "sb3": timed.rate(SharedSB3Agent("PPO", timesteps=timesteps), 1),
    }
    what = f"PPO as an agent, {timed.n_assets} assets, one policy for each of them, in PyTorch / of SB3"
    return compare(what, "asset-days/s", in_turn(sides, rounds), "ours", "sb3", low=1.0)


class Trainings:
    """Trainings on a panel of independent returns; judged on hardly any days, since training is timed."""

    def __init__(self, markets: int, days: int) -> None:
        """Draw a panel of four assets a market, on whose first 315 days there are no features yet."""
        panel = noise(markets=markets, assets=4, days=max(days, 700), seed=0)
        self.n_assets = panel.shape[1]
        self._learn, self._judge = panel.until(panel.dates[-40]), panel.since(panel.dates[-360])

    def rate(self, agent: SB3Agent | SharedSB3Agent | DevicePPO, assets: int) -> Callable[[], float]:
        """What trains it anew, and returns the days of single assets it learnt from in a CPU second.

        Args:
            agent: as registered, but for its timesteps.
            assets: whose days a timestep is.
        """
        timesteps = agent.config.timesteps if isinstance(agent, DevicePPO) else agent.timesteps
        env = TradingEnv(self._learn, window=1, features=agent.settings.features, vol_target=0.15)
        held_out = env.like(panel=self._judge)

        def block() -> float:
            begin = time.process_time()
            agent.fit(env, seed=0, validation=held_out)
            return timesteps * assets / (time.process_time() - begin)

        return block


class TimedVecEnv(VecEnvWrapper):
    """Adds up the CPU seconds spent in the wrapped environment."""

    seconds = 0.0

    def reset(self) -> Any:
        """Begin all episodes."""
        return self._timed(self.venv.reset)

    def step_async(self, actions: Any) -> None:
        """Take the actions."""
        self._timed(lambda: self.venv.step_async(actions))

    def step_wait(self) -> Any:
        """One step."""
        return self._timed(self.venv.step_wait)

    def _timed(self, call: Callable[[], Any]) -> Any:
        begin = time.process_time()
        result = call()
        self.seconds += time.process_time() - begin
        return result


class RolloutWatch(BaseCallback):
    """CPU seconds of the last rollout, and how many of them the environment took."""

    def __init__(self, venv: TimedVecEnv) -> None:
        super().__init__()
        self._venv = venv
        self.seconds = self.inside = 0.0

    def _on_rollout_start(self) -> None:
        self._venv.seconds, self._begin = 0.0, time.process_time()

    def _on_rollout_end(self) -> None:
        self.seconds, self.inside = time.process_time() - self._begin, self._venv.seconds

    def _on_step(self) -> bool:
        return True


def _rollout_row(policy: str, ours: Any, dummy: Any, length: int, rounds: int) -> Row:
    """`collect_rollouts` with an untrained policy drawing the actions, on both sides.

    The policy and the buffer cost the same on both; the note says what a free environment would reach.
    """
    total = length * ours.num_envs
    free: list[float] = []

    def rollouts(venv: Any) -> Callable[[], float]:
        timed = TimedVecEnv(venv)
        watch = RolloutWatch(timed)
        # One pass over one batch: only the rollout is timed.
        model = PPO(policy, timed, n_steps=length, seed=0, device="cpu", n_epochs=1, batch_size=total)

        def block() -> float:
            model.learn(total, callback=watch, reset_num_timesteps=False)
            if venv is ours:
                free.append(total / (watch.seconds - watch.inside))
            return float(total / watch.seconds)

        return block

    figures = in_turn({"ours": rollouts(ours), "dummy": rollouts(dummy)}, rounds)
    most = median(free[-rounds:]) / median(figures["dummy"])
    return compare(
        f"PPO rollouts, {policy}, {ours.num_envs} environments / DummyVecEnv",
        "steps/s",
        figures,
        "ours",
        "dummy",
        low=3.0,
        note=f"{most:.1f} if ours cost nothing",
    )


def _share(policy: str, venv: Any, length: int) -> Callable[[], float]:
    """The part of `PPO.learn`'s CPU time, settings as they come, that is spent inside the environment."""
    timed = TimedVecEnv(venv)
    model = PPO(policy, timed, n_steps=length, seed=0, device="cpu")

    def block() -> float:
        timed.seconds, begin = 0.0, time.process_time()
        model.learn(length * venv.num_envs)
        return float(timed.seconds / (time.process_time() - begin))

    return block

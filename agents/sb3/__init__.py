"""Stable-Baselines3: its algorithms as agents, and the environment as its `VecEnv`."""

from agents.sb3.algorithms import ALGORITHMS
from agents.sb3.joint import SB3Agent
from agents.sb3.shared import SharedSB3Agent
from agents.sb3.vec_env import SB3VecEnv

__all__ = ["ALGORITHMS", "SB3Agent", "SB3VecEnv", "SharedSB3Agent"]

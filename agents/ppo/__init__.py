"""Proximal policy optimisation in PyTorch: rollouts, advantages and updates on one device."""

from agents.ppo.agent import DevicePPO
from agents.ppo.config import PPOConfig

__all__ = ["DevicePPO", "PPOConfig"]

"""An algorithm of Stable-Baselines3, with an environment and options of one's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from agents.sb3 import SB3Agent


class MyAgent(SB3Agent):
    """Soft actor-critic that pays 5 bps for its trades while it learns.

    What it sees and how it is trained, kept and played is `SB3Agent`'s, as is the space that `qn search`
    draws from. `algorithm` is one of A2C, DDPG, PPO, SAC and TD3; or, with pip install "qn-env[contrib]",
    sb3_contrib:TQC, sb3_contrib:CrossQ, sb3_contrib:TRPO, sb3_contrib:RecurrentPPO (a policy with a memory)
    or sb3_contrib:ARS; or a class of your own that derives from one of Stable-Baselines3's.
    """

    algorithm = "SAC"

    def __init__(self, timesteps: int = 10_000, options: dict[str, Any] | None = None, **more: Any) -> None:
        """Options are those of the algorithm's class; single ones by name replace them."""
        super().__init__(timesteps=timesteps, options=options, **more)
        self.settings = replace(self.settings, train_cost_bps=5.0)

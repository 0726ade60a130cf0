"""An algorithm of Stable-Baselines3, with an environment and options of one's own."""

from __future__ import annotations

from typing import Any

from agents.sb3 import SharedSB3Agent


class MyAgent(SharedSB3Agent):
    """Soft actor-critic that pays 5 bps for its trades while it learns: one policy for all assets.

    What it sees and how it is trained, kept and played is `SharedSB3Agent`'s, as is the space that
    `qn search` draws from. `algorithm` is one of A2C, DDPG, DQN, PPO, SAC and TD3; or, with
    pip install "qn-env[contrib]", sb3_contrib:TQC, sb3_contrib:CrossQ, sb3_contrib:TRPO, sb3_contrib:QRDQN,
    sb3_contrib:RecurrentPPO (a policy with a memory) or sb3_contrib:ARS; or a class of your own that derives
    from one of Stable-Baselines3's. `SB3Agent` in its place makes one policy over all assets at once.
    """

    algorithm = "SAC"

    def __init__(
        self,
        timesteps: int = 200_000,
        options: dict[str, Any] | None = None,
        *,
        train_cost_bps: float = 5.0,
        device: str = "cpu",
        **more: Any,
    ) -> None:
        """Options are those of the algorithm's class; single ones by name replace them."""
        super().__init__(
            timesteps=timesteps, options=options, train_cost_bps=train_cost_bps, device=device, **more
        )

"""The command: measure every row, print the table, write what was found."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from agents.device import card_of, resolve
from experiments.benchmarks.device.populations import Shape, dmn_rows, market_rows, trending
from experiments.benchmarks.device.trading import ppo_row, rollout_row
from experiments.benchmarks.measure import Row, publish
from experiments.benchmarks.training.panels import of_sizes, paper


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run of the benchmark.

    Attributes:
        shapes: of the Deep Momentum Networks.
        members: of their populations.
        markets: of their panel, four assets each.
        days: of their panel.
        market_members: of the populations of QuantNet.
        market_steps: timed.
        paper: whether QuantNet is measured at the paper's scale, too.
        environments: of the closed loop, stepped at once.
        timesteps: asset-days that PPO learns from.
        accounts: that PPO trades at once.
    """

    shapes: tuple[Shape, ...] = (
        *(Shape("lstm", width, 128) for width in (5, 20, 80)),
        *(Shape("linear", 1, 256), Shape("mlp", 20, 256)),
        *(Shape("wavenet", 20, 256), Shape("transformer", 20, 128)),
    )
    members: tuple[int, ...] = (1, 64, 256, 1024)
    markets: int = 14
    days: int = 6500
    market_members: tuple[int, ...] = (1, 8)
    market_steps: int = 40
    paper: bool = True
    environments: int = 1_000_000
    timesteps: int = 200_000_000
    accounts: int = 65_536

    @classmethod
    def of_a_core(cls) -> Config:
        """Sizes that one core takes minutes for."""
        return cls(
            members=(8, 32),
            markets=4,
            days=2500,
            market_steps=10,
            environments=10_000,
            timesteps=300_000,
            accounts=1024,
        )

    @classmethod
    def quick(cls) -> Config:
        """Every row in seconds: to see that it runs, not how fast."""
        return cls(
            shapes=(Shape("lstm", 4, 8), Shape("mlp", 4, 64)),
            members=(1, 2),
            markets=1,
            days=700,
            market_members=(1, 2),
            market_steps=2,
            paper=False,
            environments=10,
            timesteps=4_000,
            accounts=64,
        )


def rows(config: Config, device: torch.device) -> Iterator[Row]:
    """Measure, row after row."""
    panel = trending(config.markets, config.days)
    for shape in config.shapes:
        yield from dmn_rows(panel, shape, config.members, device)
    small = of_sizes(tuple(range(5, 55, 5)) if config.paper else (2, 3), 2000 if config.paper else 300)
    members = list(config.market_members)
    yield from market_rows(small, members, device, config.market_steps, 32 if config.paper else 2)
    if config.paper:
        yield from market_rows(paper(whole=True), members, device, config.market_steps, 32)
    yield rollout_row(config.environments, device)
    yield ppo_row(config.timesteps, config.accounts, device)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Run the benchmark; the rows are returned, printed and, if asked for, written."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.device", description=__doc__)
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N or auto")
    parser.add_argument("--quick", action="store_true", help="small sizes: no figure to quote")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file")
    given = parser.parse_args(argv)
    device = resolve(given.device)
    torch.set_num_threads(1)
    config = Config() if device.type == "cuda" else Config.of_a_core()
    config = Config.quick() if given.quick else config
    more = {"device": card_of(device) or "cpu"}
    return publish(
        rows(config, device), prog=parser.prog, argv=argv, config=asdict(config), out=given.out, **more
    )


if __name__ == "__main__":
    main()

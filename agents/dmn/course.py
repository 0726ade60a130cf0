"""What one training of a Deep Momentum Network is made of: its job, and the days it learns from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from agents.dmn.config import DmnConfig
from agents.dmn.losses import value_of
from agents.dmn.network import Network
from agents.dmn.statics import Layout, numbers_of
from agents.dmn.training_windows import AssetDays, TrainingWindows, cut_windows, features_of, join_blocks
from agents.population.jobs import Job
from agents.training import Monitor, Training
from qn_env.environment import TradingEnv

# Blocks that were cut, by what decides them.
Known = dict[tuple[object, ...], tuple[TrainingWindows | AssetDays, TrainingWindows]]


@dataclass(frozen=True, eq=False)
class Course:
    """A training before its first step.

    Attributes:
        config: the hyperparameters.
        network: with its first weights.
        job: the training.
        learn: what is learnt from: whole windows, or their days one by one.
        held: what it is selected on.
        layout: the assets whose numbers the network reads, if it reads any.
        batch: rows of `learn` in a step.
        generator: what batches are drawn from.
    """

    config: DmnConfig
    network: Network
    job: Job
    learn: TrainingWindows | AssetDays
    held: TrainingWindows
    layout: Layout
    batch: int
    generator: torch.Generator

    @classmethod
    def of(
        cls,
        config: DmnConfig,
        network: Network,
        env: TradingEnv,
        validation: TradingEnv,
        *,
        layout: Layout,
        seed: int,
        monitor: Monitor,
        known: Known,
    ) -> Course:
        """The training of a network on `env`, selected on `validation`.

        Args:
            config: the hyperparameters.
            network: with its first weights.
            env: what is learnt from.
            validation: what is held out; with `split="asset"` both are taken together.
            layout: the assets whose numbers the network reads, if it reads any.
            seed: of batches and dropout.
            monitor: who watches it.
            known: blocks that were cut for others, and what is added to them.
        """
        generator = torch.Generator().manual_seed(seed)
        network.generator.manual_seed(seed + 1)
        data = env.fingerprint + validation.fingerprint
        reads = (config.changepoints, config.static > 0)
        key = (data, config.length, network.past, config.split, reads)
        if key not in known:
            known[key] = _cut(env, validation, config, network, layout)
        learn, held = known[key]
        batch = config.batch
        if network.reads_days and isinstance(learn, TrainingWindows):
            # Turnover is between two days: whole trajectories of as many asset-days.
            batch = -(-batch // config.length)
        job = Job(
            network=network,
            optimizer=torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True),
            epochs=config.epochs,
            patience=config.patience,
            max_norm=config.max_norm,
            title=f"dmn-{config.network}-{config.loss} seed {seed}",
            identity=json.dumps({"config": asdict(config), "seed": seed}) + data,
            generators={"batches": generator, "dropout": network.generator},
            monitor=monitor,
        )
        return cls(config, network, job, learn, held, layout, batch, generator)

    def alone(self) -> Training:
        """Train it by itself."""

        def losses(_done: int) -> Iterator[Tensor]:
            for rows in torch.split(self.order(), self.batch):
                yield self.loss(self.learn.take(rows)) + self.penalty()

        return self.job.alone(losses, lambda: -float(self.loss(self.held)))

    def order(self) -> Tensor:
        """The rows of one more epoch, in the order in which they are taken."""
        return torch.randperm(len(self.learn), generator=self.generator)

    def loss(self, given: TrainingWindows | AssetDays) -> Tensor:
        """What is minimised, without the penalty."""
        return value_of(self.config.objective, given.outputs(self.network), given.pairs)

    def penalty(self) -> Tensor:
        """The L1 penalty of the linear model (Eq. 19), 0 for the others."""
        weights = self.network.penalised()
        return torch.zeros(()) if weights is None else self.config.l1 * weights.abs().sum()


def _cut(
    env: TradingEnv, validation: TradingEnv, config: DmnConfig, network: Network, layout: Layout
) -> tuple[TrainingWindows | AssetDays, TrainingWindows]:
    """What is learnt from, day by day where a day is all that a network needs; and what is held out."""

    def cut(block: TradingEnv) -> TrainingWindows:
        numbers = numbers_of(block.panel, layout) if config.static else None
        shown = features_of(config.changepoints)
        return cut_windows(block, config.length, network.past, features=shown, numbers=numbers)

    if config.split == "asset":
        learn, held = cut(join_blocks(env, validation)).split_by_asset()
    else:
        learn, held = cut(env), cut(validation)
    costless = learn.pairs.episode.terms.costs is None
    return (learn.asset_days() if network.reads_days and costless else learn), held

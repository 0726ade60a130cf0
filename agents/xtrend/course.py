"""One training of X-Trend: its batches, its loss, and what it is selected on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.population.jobs import Job
from agents.training import Monitor, Training
from agents.xtrend.config import XTrendConfig
from agents.xtrend.contexts import NONE
from agents.xtrend.losses import joint_loss
from agents.xtrend.network import BENDS, UNKNOWN, Outputs, XTrendNetwork
from agents.xtrend.sequences import Read
from agents.xtrend.windows import PADDING, Places, Windows
from qn_env.arrays import IntArray
from qn_env.environment import TradingEnv


@dataclass(frozen=True, eq=False)
class Course:
    """A training before its first step."""

    config: XTrendConfig
    network: XTrendNetwork
    job: Job
    learn: Windows
    held: Windows
    generator: torch.Generator  # what batches and dropped embeddings are drawn from

    @classmethod
    def of(
        cls,
        config: XTrendConfig,
        network: XTrendNetwork,
        env: TradingEnv,
        validation: TradingEnv,
        *,
        seed: int,
        monitor: Monitor,
    ) -> Course:
        """The training of a network on `env`, selected on `validation`."""
        generator = torch.Generator().manual_seed(seed)
        network.generator.manual_seed(seed + 1)
        learn, held = (Windows.of(e, config) for e in (env, validation))
        groups = _penalised(network, config, len(learn.row))
        identity = {"agent": "x-trend", "config": asdict(config), "seed": seed}
        job = Job(
            network=network,
            optimizer=torch.optim.Adam(groups, lr=config.learning_rate, fused=True),
            epochs=config.epochs,
            patience=config.patience,
            max_norm=config.max_norm,
            title=f"x-trend seed {seed}",
            identity=json.dumps(identity) + env.fingerprint + validation.fingerprint,
            generators={"batches": generator, "dropout": network.generator},
            monitor=monitor,
        )
        return cls(config, network, job, learn, held, generator)

    def alone(self) -> Training:
        """Train it by itself."""

        def losses(_done: int) -> Iterator[Tensor]:
            for spans in self.steps():
                yield self.loss(self.learn, spans)

        whole = range(len(self.held.spans))
        return self.job.alone(losses, lambda: -float(self.loss(self.held, whole)))

    def steps(self) -> Iterator[list[int]]:
        """The spans of one more epoch's steps, as many in each as make a batch of windows."""
        step: list[int] = []
        windows = 0
        for span in torch.randperm(len(self.learn.spans), generator=self.generator).tolist():
            step.append(span)
            windows += len(self.learn.spans[span])
            if windows >= self.config.batch:
                yield step
                step, windows = [], 0
        if step:
            yield step

    def loss(self, given: Windows, spans: Sequence[int]) -> Tensor:
        """What is minimised, over the windows of some spans."""
        windows = np.concatenate([given.spans[span] for span in spans])
        # Spans that meet on a row do not share it: each has as many assets on its rows as every other.
        span = np.repeat(np.arange(len(spans)), [len(given.spans[one]) for one in spans])
        outputs = self.outputs(given, windows, span)
        return joint_loss(outputs, given.pairs_of(windows), self.config.likelihood)

    def outputs(self, given: Windows, windows: IntArray, span: IntArray) -> Outputs:
        """What the network gives of windows [B] of spans [B]."""
        network, T, row = self.network, len(given.sets), given.row[windows]
        places = Places.of(np.where(row == PADDING, PADDING, row + T * span[:, None]))
        sets = given.sets[places.row % T]
        numbers, local = np.unique(sets, return_inverse=True)
        if len(numbers) and numbers[0] == NONE:
            numbers, local = numbers[1:], local - 1  # NONE is below 0 again
        keys, values = self._encode(given.library.read(numbers))
        offered = network.offer(keys, values, torch.from_numpy(local.reshape(sets.shape)))
        inputs = given.inputs[torch.from_numpy(windows)]
        asset = network.given(self._forget(torch.from_numpy(given.asset[windows])))
        asked = network.ask(inputs, asset, None)[0]
        found = network.cross(_take(asked, places.table), offered)[0]
        return network.decode(inputs, _take(found, places.slot), asset, None)[0]

    def _encode(self, read: Read) -> tuple[Tensor, Tensor]:
        """Keys and values [P, H], P at least 1."""
        if not len(read.length):
            nothing = self.network.assets.new_zeros(1, self.config.hidden)
            return nothing, nothing
        given = self.network.given(self._forget(read.asset))
        return self.network.encode(read.inputs, read.labels, read.length, given)

    def _forget(self, asset: Tensor) -> Tensor:
        """While training, a share of the assets [B] as ones that were never seen."""
        if not self.network.training or self.config.embedding_dropout == 0.0:
            return asset
        drawn = torch.rand(len(asset), generator=self.generator) < self.config.embedding_dropout
        return torch.where(drawn, UNKNOWN, asset)


def _penalised(network: XTrendNetwork, config: XTrendConfig, windows: int) -> list[dict[str, Any]]:
    """Parameters by their L2 penalty: embeddings, what bends the straight line from inputs, and others."""
    decays = {"embeddings": config.embedding_decay, "bends": config.decay / windows, "others": 0.0}
    groups: dict[str, list[Tensor]] = {group: [] for group in decays}
    for name, parameter in network.named_parameters():
        groups["embeddings" if name == "assets" else "bends" if name in BENDS else "others"].append(parameter)
    return [{"params": groups[group], "weight_decay": decay} for group, decay in decays.items()]


def _take(rows: Tensor, places: IntArray) -> Tensor:
    """[..., H] the rows [A, B, H] of the given places, 0 where a place is behind the last of them."""
    flat = torch.cat([rows.flatten(0, 1), rows.new_zeros(1, rows.shape[-1])])
    return flat.index_select(0, torch.from_numpy(places).flatten()).view(*places.shape, -1)

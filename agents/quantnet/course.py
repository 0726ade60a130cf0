"""What one training of QuantNet is made of: its job, its windows, and its objective."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from agents.population.jobs import Job
from agents.quantnet.config import QuantNetConfig
from agents.quantnet.network import QuantNetwork
from agents.quantnet.parts import MarketNetwork
from agents.quantnet.shared import SharedNetwork
from agents.training import Monitor, Training
from qn_env.arrays import FloatArray
from qn_env.environment import TradingEnv
from qn_env.episodes import Episode, Episodes
from qn_env.errors import ConfigError
from qn_env.objectives import LOSS_FLOOR, sharpe
from qn_env.windows import countable, mean_window_sharpe

# The network of each kind of weights.
NETWORKS: Mapping[str, type[QuantNetwork] | type[SharedNetwork]] = {
    "market": QuantNetwork,
    "shared": SharedNetwork,
}

# Blocks that were laid down, by what decides them: what is learnt from, and what is held out.
Known = dict[tuple[object, ...], tuple[Episodes, Mapping[str, Episode]]]


@dataclass(frozen=True, eq=False)
class Course:
    """A training before its first step.

    Attributes:
        config: the hyperparameters.
        network: with its first weights.
        job: the training.
        episodes: what windows are drawn from.
        held: what it is selected on, by market: as it is played, with a state that has seen all history.
        only: the markets whose own weights are trained; None: everything.
        steps: of the optimiser, at most.
        data: what was laid down, as text.
    """

    config: QuantNetConfig
    network: MarketNetwork
    job: Job
    episodes: Episodes
    held: Mapping[str, Episode]
    only: Sequence[str] | None
    steps: int
    data: str

    @classmethod
    def of(
        cls,
        config: QuantNetConfig,
        network: MarketNetwork,
        env: TradingEnv,
        validation: TradingEnv,
        units: Mapping[str, FloatArray],
        *,
        seed: int,
        monitor: Monitor,
        device: torch.device,
        only: Sequence[str] | None = None,
        steps: int | None = None,
        known: Known | None = None,
    ) -> Course:
        """AMSGrad on windows of the markets `only` (default: m of all) until validation is past its best.

        Args:
            config: the hyperparameters.
            network: with its first weights.
            env: what is learnt from.
            validation: what is held out.
            units: [n] by market, what returns are divided by.
            seed: of windows and dropout.
            monitor: who watches it.
            device: where the blocks are laid down.
            only: the markets whose own weights are trained; None: everything.
            steps: of the optimiser; default: those of the configuration.
            known: blocks that were laid down for others, and what is added to them.
        """
        steps = config.steps if steps is None else steps
        own = network.parameters() if only is None else (p for name in only for p in network.own(name))
        network.generator.manual_seed(seed + 1)
        generator = torch.Generator().manual_seed(seed)
        data = env.fingerprint + validation.fingerprint
        blocks = {} if known is None else known
        key = (data, tuple(only or ()), device)
        if key not in blocks:
            judged = validation.episodes(device=device, units=units).block(context=None)
            judged = judged if only is None else {name: judged[name] for name in only if name in judged}
            blocks[key] = (env.episodes(device=device, units=units), judged)
        episodes, held = blocks[key]
        optimizer = torch.optim.Adam(
            network.parameter_groups(list(own), config.embedding_decay),
            lr=config.learning_rate,
            amsgrad=True,
            fused=True,
        )
        identity = {"config": asdict(config), "seed": seed, "only": only, "steps": steps}
        job = Job(
            network=network,
            optimizer=optimizer,
            epochs=-(-steps // config.epoch),
            patience=config.patience,
            max_norm=config.max_norm,
            title=f"quantnet seed {seed}",
            identity=json.dumps(identity) + data,
            generators={"windows": generator, "dropout": network.generator},
            monitor=monitor,
        )
        return cls(config, network, job, episodes.drawing_from(generator), held, only, steps, data)

    def alone(self) -> Training:
        """Train it by itself, where its blocks and its network are."""

        def losses(done: int) -> Iterator[Tensor]:
            for _ in range(self.steps_of(done)):
                yield -self.objective(self.sample())

        return self.job.alone(losses, lambda: float(self.objective(self.held)))

    @property
    def markets(self) -> int | Sequence[str] | None:
        """Which markets a step draws windows of."""
        return self.config.markets if self.only is None else self.only

    def steps_of(self, done: int) -> int:
        """Steps of the epoch behind so many."""
        return min(self.config.epoch, self.steps - done * self.config.epoch)

    def sample(self) -> dict[str, Episode]:
        """The windows of one more step."""
        config = self.config
        return self.episodes.sample(
            markets=self.markets, length=config.length, batch=config.batch, aligned=config.aligned
        )

    def draw(self) -> dict[str, Tensor]:
        """Where these windows begin, in their place."""
        config = self.config
        return self.episodes.draw(
            markets=self.markets, length=config.length, batch=config.batch, aligned=config.aligned
        )

    def objective(self, batch: Mapping[str, Episode]) -> Tensor:
        """Mean over markets of the mean Sharpe ratio of windows and assets (Eqs. 7-8)."""
        signals = {name: self.network(name, self.network.inputs_of(e))[0] for name, e in batch.items()}
        self.refuse_uncountable(batch)
        if not self.config.pooled:
            return mean_window_sharpe(batch, signals)
        scores = [pooled_sharpe(e, signals[name]) for name, e in batch.items() if countable(e)]
        return torch.stack(scores).mean()

    def refuse_uncountable(self, batch: Mapping[str, Episode]) -> None:
        """Refuse windows of which no objective can be made.

        Raises:
            ConfigError: no asset has two days that count.
        """
        if not any(countable(episode) for episode in batch.values()):
            raise ConfigError(
                "no asset has two days to be judged on, in any market; give a longer panel or longer windows "
                f"(length is {self.config.length})."
            )


def build(config: QuantNetConfig, sizes: Mapping[str, int]) -> MarketNetwork:
    """The network of a configuration, with weights from torch's global generator; `sizes` [n] by market."""
    kind = NETWORKS[config.weights]
    return kind(sizes, **{name: getattr(config, name) for name in kind.options})


def pooled_sharpe(episode: Episode, signals: Tensor) -> Tensor:
    """Mean over assets of one Sharpe ratio each over the days of all windows.

    A mean of ratios of short windows rewards a network that takes its stake off after good days of the same
    window (Goetzmann et al. 2007); over all windows at once that pays much less.

    Args:
        episode: windows of one market, [B, L, n].
        signals: [B, L, n].
    """
    net, counted = episode.settle(signals).net.flatten(0, 1), episode.counted.flatten(0, 1)
    ratios = sharpe(net, counted, axis=0, ddof=0, floor=LOSS_FLOOR, bars_per_year=episode.bars_per_year)
    mean: Tensor = ratios[counted.sum(0) >= 2].mean()
    return mean

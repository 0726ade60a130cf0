"""Deep Momentum Networks as an agent: features in, volatility-scaled positions out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NotRequired, Self, TypedDict

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from agents.agent import Settings, repr_of
from agents.checkpoint import load_json, load_tensors, save_json, save_tensors
from agents.device import placed, resolve
from agents.dmn.config import FEATURE_NAMES, DmnConfig
from agents.dmn.losses import LOSSES, VOL_TARGET
from agents.dmn.network import LinearNetwork, LstmNetwork, Memory, MlpNetwork, Network, WaveNetwork
from agents.dmn.space import SPACES
from agents.dmn.training_windows import (
    DEFINED,
    FEATURES,
    AssetDays,
    TrainingWindows,
    cut_windows,
    join_blocks,
    mask_undefined,
)
from agents.dmn.transformer import TransformerNetwork
from agents.space import Space
from agents.training import Monitor, Training, global_seed, train
from qn_env.arrays import FloatArray
from qn_env.checks import check_device
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.setup import Observation

# Days a prediction pass handles at once; bounds memory.
CHUNK = 128

# Trading days until the slowest input is defined.
INPUT_DAYS = 315
READS_PAST: dict[str, type[Network]] = {"linear": LinearNetwork, "mlp": MlpNetwork, "wavenet": WaveNetwork}


class Stored(TypedDict):
    """What a checkpoint says beside the weights."""

    config: dict[str, Any]
    without: NotRequired[list[Annotated[int, Meta(ge=0, lt=len(FEATURE_NAMES))]]]  # inputs set to zero


class DeepMomentum:
    """One network for all assets over eight features of each (Lim, Zohren, Roberts 2019).

    Sixteen models: linear, MLP, WaveNet or LSTM, trained on the Sharpe ratio, the average return, the squared
    error of the next return or its sign; and the Momentum Transformer of the same group. Trained on
    non-overlapping trajectories of 63 of each asset's own trading days, selected on the validation block;
    predicts in one streamed pass with a warm state. A network without a state of its own (all but LSTM and
    transformer) reads the days before a trajectory too.
    """

    learns = True

    def __init__(self, *, device: str = "cpu", **options: Any) -> None:
        """Options are the fields of `DmnConfig`; `device` is where it is trained (`agents.device`)."""
        self.config = DmnConfig(**options)
        self.device = check_device("device", device)
        self.settings = Settings(
            window=1, features=FEATURES, vol_target=VOL_TARGET, train_cost_bps=self.config.train_cost_bps
        )
        self.warmup = INPUT_DAYS + READS_PAST.get(self.config.network, Network).past
        self.network: Network | None = None
        self.training_ = Training()
        self.monitor = Monitor()
        self._earlier: Network | None = None
        self._hidden_inputs: tuple[int, ...] = ()
        self._memory: Memory | None = None

    def __repr__(self) -> str:
        return repr_of(self, self.config, "network", "loss")

    @property
    def space(self) -> Space:
        """What a random search draws from (Exhibit A1)."""
        return SPACES[self.config.search](self.config)

    def start_from(self, earlier: DeepMomentum) -> None:
        """Let `fit` begin at the weights of a trained agent; the seed still draws batches and dropout.

        Raises:
            ConfigError: a network of another shape, or one that is not trained.
        """
        network = earlier._trained_network()
        if _shapes(network) != _shapes(self._build(0)):
            raise ConfigError(
                f"{_describe(self.config)} cannot begin at the weights of {_describe(earlier.config)}; "
                "give both the same network and width, or train from scratch."
            )
        self._earlier = network

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Minimise the loss on `env`; keep the weights that do best on `validation`.

        Without `validation` the most recent 10% of each market's days in `env` are held out. With
        `split="asset"` both blocks are taken together, and the last 10% of each asset's windows are held out:
        an asset that was delisted early is then selected on, too.
        """
        config, device = self.config, resolve(self.device)
        network = self._build(seed)
        if self._earlier is not None:
            network.load_state_dict(self._earlier.state_dict())
        generator = torch.Generator().manual_seed(seed)
        network.generator.manual_seed(seed + 1)
        env, validation = (env, validation) if validation is not None else env.split()
        if config.split == "asset":
            learn, held = cut_windows(
                join_blocks(env, validation), config.length, network.past
            ).split_by_asset()
        else:
            learn, held = (cut_windows(e, config.length, network.past) for e in (env, validation))

        given: TrainingWindows | AssetDays = learn
        batch = config.batch
        if network.reads_days and learn.pairs.episode.terms.costs is None:
            given = learn.asset_days()
        elif network.reads_days:  # turnover is between two days: whole trajectories of as many asset-days
            batch = -(-batch // config.length)
        given, held = given.to(device), held.to(device)

        def losses(_done: int) -> Iterator[Tensor]:
            order = torch.randperm(len(given), generator=generator).to(device)
            for rows in torch.split(order, batch):
                yield self._loss(network, given.take(rows)) + self._penalty(network)

        with placed(network, device):
            self.training_ = train(
                network,
                torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True),
                losses,
                lambda: -float(self._loss(network, held)),
                epochs=config.epochs,
                patience=config.patience,
                max_norm=config.max_norm,
                title=f"dmn-{config.network}-{config.loss} seed {seed}",
                identity=json.dumps({"config": asdict(config), "seed": seed})
                + env.fingerprint
                + validation.fingerprint,
                generators={"batches": generator, "dropout": network.generator},
                monitor=self.monitor,
            )
        self.network, self._hidden_inputs = network, ()
        return self

    def without_feature(self, feature: int | str) -> DeepMomentum:
        """A copy that sees zero in place of one input at prediction (Exhibit 6).

        Args:
            feature: one of `FEATURE_NAMES`, or its number.

        Raises:
            ConfigError: there is no such input.
        """
        names = list(FEATURE_NAMES)
        number = names.index(feature) if feature in names else feature
        if not isinstance(number, int) or not 0 <= number < len(names):
            raise ConfigError(f"feature is {feature!r}, expected 0 to {len(names) - 1} or one of {names}.")
        other = DeepMomentum(device=self.device, **asdict(self.config))
        other.network = other._build(0)
        other.network.load_state_dict(self._trained_network().state_dict())
        other.network.eval()
        other.training_, other._hidden_inputs = self.training_, (*self._hidden_inputs, number)
        return other

    def reset(self) -> None:
        """Forget the past of every asset."""
        self._memory = None

    @torch.no_grad()
    def act(self, observation: Observation) -> FloatArray:
        """Signals [N]: one more step for every asset that trades and whose features are defined."""
        network = self._trained_network()
        features = observation["features"][-1]
        N = len(features)
        if self._memory is None:
            self._memory = self._start(N)
        signals = np.zeros(N)
        active = np.flatnonzero((observation["tradable"][-1] > 0) & (features[:, DEFINED] > 0))
        if len(active):
            before = tuple(part[active] for part in self._memory)
            z, after = network(self._as_inputs(features[active, None]), before)
            for part, new in zip(self._memory, after, strict=True):
                part[active] = new
            signals[active] = self._positions(z[:, 0])
        return signals

    def signals(self, panel: Panel) -> FloatArray:
        """Signals [T, N] in one streamed pass over each asset's own trading days."""
        return self._positions(torch.from_numpy(self.outputs(panel)))

    @torch.no_grad()
    def outputs(self, panel: Panel) -> FloatArray:
        """Z_t [T, N], what the network gives before the output function and the position rule; 0 where none.

        All pieces of the pass are of one length: a matrix product's rounding depends on its shape, so a later
        day more or less would otherwise reach the positions of earlier ones.
        """
        network = self._trained_network()
        features = panel.features(self.settings.features)
        active = panel.tradable & (features[..., DEFINED] > 0)
        days = int(active.sum(axis=0).max(initial=0))
        # Each asset's active days first, so that one pass serves all of them.
        rows = np.argsort(~active, axis=0, kind="stable")
        rows = rows[np.minimum(np.arange(-(-days // CHUNK) * CHUNK), len(rows) - 1)]
        memory = self._start(panel.shape[1])
        by_asset = np.zeros(rows.shape)
        for begin in range(0, len(rows), CHUNK):
            piece = slice(begin, begin + CHUNK)
            own = np.take_along_axis(features, rows[piece, :, None], axis=0)
            z, memory = network(self._as_inputs(own.swapaxes(0, 1)), memory)
            by_asset[piece] = z.double().numpy().T
        outputs = np.zeros(panel.shape)
        np.put_along_axis(outputs, rows[:days], by_asset[:days], axis=0)
        return np.where(active, outputs, 0.0)

    def save(self, folder: Path) -> None:
        """Write configuration and weights."""
        save_json(folder, {"config": asdict(self.config), "without": list(self._hidden_inputs)})
        save_tensors(folder, self._trained_network().state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        stored = load_json(folder, Stored)
        agent = cls(**stored["config"])
        agent._hidden_inputs = tuple(stored.get("without", ()))
        agent.network = agent._build(0)
        agent.network.load_state_dict(load_tensors(folder))
        agent.network.eval()
        return agent

    def _build(self, seed: int) -> Network:
        with global_seed(seed):
            return build(self.config)

    def _trained_network(self) -> Network:
        if self.network is None:
            raise ConfigError("this agent is not trained; call fit or load first.")
        return self.network

    def _start(self, rows: int) -> Memory:
        """A writable memory of assets before their first day."""
        network = self._trained_network()
        zeros = torch.zeros(rows, network.past, len(FEATURE_NAMES))
        return tuple(part.clone() for part in network.memory(zeros))

    def _as_inputs(self, features: FloatArray) -> Tensor:
        """What the network reads at prediction."""
        inputs = mask_undefined(torch.tensor(features, dtype=torch.float32))
        inputs[..., list(self._hidden_inputs)] = 0.0
        return inputs

    def _positions(self, z: Tensor) -> FloatArray:
        positions: FloatArray = LOSSES[self.config.loss].positions(z).double().numpy()
        return positions

    def _loss(self, network: Network, given: TrainingWindows | AssetDays) -> Tensor:
        return LOSSES[self.config.loss].value(given.outputs(network), given.pairs)

    def _penalty(self, network: Network) -> Tensor:
        """The L1 penalty of the linear model (Eq. 19), 0 for the others."""
        weights = network.penalised()
        return torch.zeros(()) if weights is None else self.config.l1 * weights.abs().sum()


def build(config: DmnConfig) -> Network:
    """The network of a configuration, with weights from torch's global generator."""
    n, hidden, dropout = len(FEATURE_NAMES), config.hidden, config.dropout
    match config.network:
        case "linear":
            return LinearNetwork(n)
        case "mlp":
            return MlpNetwork(n, hidden, dropout)
        case "wavenet":
            return WaveNetwork(n, hidden, dropout)
        case "lstm":
            return LstmNetwork(n, hidden, dropout)
        case "transformer":
            return TransformerNetwork(n, hidden, dropout, heads=config.heads, context=config.context)


def _shapes(network: Network) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


def _describe(config: DmnConfig) -> str:
    return f"a network {config.network!r} of width {config.hidden}"

"""Spatio-Temporal Momentum (Tan, Roberts, Zohren 2023, arXiv:2302.10175): all assets of a date together.

One layer reads the features of every asset side by side and gives every asset's position, so that an asset
can lead another. Trained on the Sharpe ratio of the portfolio of all assets, not of single ones. The assets
are those of the training panel, in their order: the weights belong to them.

With a directed delay (DeePM, arXiv:2601.05975; reading) an asset sees itself as it is and the others as they
were a date ago: closes that are not taken at one moment cannot be traded on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np
import torch
from torch import Tensor, nn

from agents.agent import Settings, repr_of
from agents.checkpoint import load_json, load_tensors, save_json, save_tensors
from agents.device import placed, resolve
from agents.dmn.config import FEATURE_NAMES, check_training
from agents.dmn.losses import VOL_TARGET
from agents.dmn.space import DROPOUT, L1
from agents.dmn.training_windows import DEFINED, FEATURES, mask_undefined
from agents.limits import check_widths
from agents.space import Choice, Space
from agents.training import Monitor, Training, global_seed, train
from qn_env.arrays import BoolArray, FloatArray
from qn_env.checks import check_device, check_whole
from qn_env.environment import TradingEnv
from qn_env.episodes import Episode
from qn_env.errors import ConfigError
from qn_env.objectives import LOSS_FLOOR, sharpe
from qn_env.panel import Panel
from qn_env.setup import Observation
from qn_env.window_sources import MarketTensors

# Dates an asset is seen with its last inputs after it traded: over other markets' days, not after its end.
STALE = 5
# Dates a prediction pass handles at once.
CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class SpatioTemporalConfig:
    """Hyperparameters."""

    hidden: int | None = None  # width of a hidden layer; None: one layer from inputs to positions
    delay: int = 0  # dates by which what an asset sees of the others is older than its own: 0 or 1
    dropout: float = 0.4  # of the inputs, and of the hidden layer
    l1: float = 1e-2  # penalty on all weights
    train_cost_bps: float = 0.0  # cost inside the objective
    batch: int = 16  # windows per step
    learning_rate: float = 3e-3
    max_norm: float = 1.0  # of the gradient
    epochs: int = 200
    patience: int = 25  # epochs without a better validation loss
    length: int = 21  # dates of a window

    def __post_init__(self) -> None:
        check_widths(self, ("hidden",))
        check_whole("delay", self.delay, 0, 1)
        check_training(self)


class Stored(TypedDict):
    """What a checkpoint says beside the weights."""

    config: dict[str, Any]
    assets: list[list[str]]


class SpatioTemporalNetwork(nn.Module):
    """u_t of all assets [..., N * F] -> X_t [..., N] = tanh(W u_t + b), or with a hidden layer between."""

    def __init__(self, n_assets: int, n_features: int, hidden: int | None, dropout: float) -> None:
        super().__init__()
        self.n_features = n_features
        n_in = n_assets * n_features
        self.body = None if hidden is None else nn.Linear(n_in, hidden)
        self.head = nn.Linear(hidden or n_in, n_assets)
        self.dropout = dropout
        self.generator = torch.Generator()

    def forward(self, inputs: Tensor, before: Tensor | None = None) -> Tensor:
        """Positions of all assets.

        Args:
            inputs: [..., N * F] of today.
            before: the same of the date before, which an asset then sees of the others; None: today's.
        """
        kept = self._kept(inputs)
        values = inputs * kept
        if before is not None:
            return self._delayed(values, before * kept)
        if self.body is not None:
            values = self._drop(torch.tanh(self.body(values)))
        return torch.tanh(self.head(values))

    def _delayed(self, today: Tensor, before: Tensor) -> Tensor:
        """Everybody as of the date before, and what is new of an asset for itself alone."""
        N, F = self.head.out_features, self.n_features
        news = (today - before).view(*today.shape[:-1], N, F)
        if self.body is None:
            own = self.head.weight.view(N, N, F).diagonal().T  # [N, F]
            return torch.tanh(self.head(before) + (news * own).sum(-1))
        own = self.body.weight.view(-1, N, F)  # [H, N, F]
        hidden = self.body(before)[..., None, :] + torch.einsum("...nf,hnf->...nh", news, own)
        seen = self._drop(torch.tanh(hidden))  # [..., N, H]
        return torch.tanh((seen * self.head.weight).sum(-1) + self.head.bias)

    def penalised(self) -> list[Tensor]:
        """The weights, without intercepts."""
        return [p for p in self.parameters() if p.ndim > 1]

    @torch.no_grad()
    def take_over(self, earlier: SpatioTemporalNetwork, here: Tensor, there: Tensor) -> None:
        """Copy the weights of K assets from an earlier network of the same width; leave the others.

        Args:
            earlier: where they come from.
            here: [K] the places of these assets in this network.
            there: [K] their places in the earlier one.
        """
        inputs, others = self._columns(here), self._columns(there)
        if self.body is None or earlier.body is None:
            self.head.weight[here[:, None], inputs] = earlier.head.weight[there[:, None], others]
        else:
            self.body.weight[:, inputs] = earlier.body.weight[:, others]
            self.body.bias.copy_(earlier.body.bias)
            self.head.weight[here] = earlier.head.weight[there]
        self.head.bias[here] = earlier.head.bias[there]

    def _columns(self, assets: Tensor) -> Tensor:
        """Which of the inputs [N * F] are these assets'."""
        features = torch.arange(self.n_features, device=assets.device)
        return (assets[:, None] * self.n_features + features).flatten()

    def _drop(self, values: Tensor) -> Tensor:
        """While training, a share of the numbers set to zero and the others scaled up."""
        return values * self._kept(values)

    def _kept(self, values: Tensor) -> Tensor | float:
        """What a number is multiplied with: 0 or 1 / keep."""
        if not self.training or self.dropout == 0.0:
            return 1.0
        keep = 1.0 - self.dropout
        drawn = torch.empty_like(values, device="cpu").bernoulli_(keep, generator=self.generator)
        return drawn.to(values.device) / keep


class SpatioTemporal:
    """Positions of all assets from all assets' eight momentum features, learnt jointly."""

    learns = True
    warmup = 315

    def __init__(self, *, device: str = "cpu", **options: Any) -> None:
        """Options are the fields of `SpatioTemporalConfig`; `device` is where it is trained."""
        self.config = SpatioTemporalConfig(**options)
        self.device = check_device("device", device)
        self.settings = Settings(
            window=1, features=FEATURES, vol_target=VOL_TARGET, train_cost_bps=self.config.train_cost_bps
        )
        self.network: SpatioTemporalNetwork | None = None
        self.assets_: list[list[str]] = []
        self.training_ = Training()
        self.monitor = Monitor()
        self._earlier: tuple[SpatioTemporalNetwork, list[list[str]]] | None = None
        self._seen: tuple[FloatArray, FloatArray] | None = None
        self._before: Tensor | None = None

    def __repr__(self) -> str:
        return repr_of(self, self.config)

    @property
    def space(self) -> Space:
        """What a random search draws from; ours, the paper's grid being for other data."""
        return {
            "dropout": Choice(DROPOUT),
            "l1": Choice(L1),
            "batch": Choice((8, 16, 32)),
            "learning_rate": Choice((1e-4, 1e-3, 1e-2)),
            "max_norm": Choice((1e-2, 1.0, 100.0)),
        } | ({} if self.config.hidden is None else {"hidden": Choice((5, 10, 20, 40, 80))})

    def start_from(self, earlier: SpatioTemporal) -> None:
        """Let `fit` begin at the weights of a trained agent, for every asset that both have.

        What a new asset adds, and batches and dropout, are the seed's.

        Raises:
            ConfigError: a hidden layer of another width, or an agent that is not trained.
        """
        ours, theirs = self.config.hidden, earlier.config.hidden
        if ours != theirs:
            raise ConfigError(
                f"a network with hidden={ours} cannot begin at the weights of one with hidden={theirs}; give "
                "both the same width, or train from scratch."
            )
        self._earlier = (earlier._trained_network(), earlier.assets_)

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Maximise the portfolio's Sharpe ratio on `env`; keep the weights that do best on `validation`.

        Without `validation` the most recent 10% of each market's days in `env` are held out. Dates are those
        of the union calendar, on which an execution lag counts too.
        """
        config, device = self.config, resolve(self.device)
        env, validation = (env, validation) if validation is not None else env.split()
        self.assets_ = _layout(env.panel)
        with global_seed(seed):
            network = self._build()
        if self._earlier is not None:
            before, assets = self._earlier
            network.take_over(before, *_common(self.assets_, assets))
        generator = torch.Generator().manual_seed(seed)
        network.generator.manual_seed(seed + 1)
        learn, held = (
            _windows(e, length, device, config.delay)
            for e, length in ((env, config.length), (validation, None))
        )

        def losses(_done: int) -> Iterator[Tensor]:
            order = torch.randperm(learn.shape[0], generator=generator)
            for rows in torch.split(order, config.batch):
                penalty = sum(p.abs().sum() for p in network.penalised())
                yield config.l1 * penalty - portfolio_sharpe(network, learn.take(rows))

        identity = {"config": asdict(config), "seed": seed, "assets": self.assets_}
        with placed(network, device):
            self.training_ = train(
                network,
                torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True),
                losses,
                lambda: float(portfolio_sharpe(network, held)),
                epochs=config.epochs,
                patience=config.patience,
                max_norm=config.max_norm,
                title=f"spatiotemporal seed {seed}",
                identity=json.dumps(identity) + env.fingerprint + validation.fingerprint,
                generators={"batches": generator, "dropout": network.generator},
                monitor=self.monitor,
            )
        self.network = network
        return self

    def reset(self) -> None:
        """Forget what was seen."""
        self._seen = self._before = None

    @torch.no_grad()
    def act(self, observation: Observation) -> FloatArray:
        """Signals [N] from today's inputs, or the last ones of assets that do not trade today."""
        network, features = self._trained_network(), observation["features"][-1]
        if len(features) != len(self.assets_):
            raise ConfigError(f"{len(features)} assets, expected the {len(self.assets_)} it was trained on.")
        active = (observation["tradable"][-1] > 0) & (features[:, DEFINED] > 0)
        if self._seen is None:
            self._seen = (np.zeros_like(features), np.full(len(features), np.inf))
        last, ago = self._seen
        last, ago = np.where(active[:, None], features, last), np.where(active, 0.0, ago + 1.0)
        self._seen = (last, ago)
        today = _as_inputs(last * (ago <= STALE)[:, None])
        before = torch.zeros_like(today) if self._before is None else self._before
        signals = network(today, before if self.config.delay else None).double().numpy()
        self._before = today
        return np.where(active, signals, 0.0)

    @torch.no_grad()
    def signals(self, panel: Panel) -> FloatArray:
        """Signals [T, N], every date on its own."""
        network = self._trained_network()
        if _layout(panel) != self.assets_:
            raise ConfigError(
                "the panel's assets are not those it was trained on, in their order; this network's weights "
                "belong to assets. Train it on a panel with the same assets."
            )
        active = _active(panel)
        inputs = _with_the_date_before(carry_forward(panel.features(FEATURES), active))
        signals = np.zeros(panel.shape)
        for begin in range(0, len(inputs), CHUNK):
            piece = inputs[begin : begin + CHUNK]
            # Pieces of one length: a matrix product's rounding depends on its shape.
            whole = np.concatenate([piece, np.zeros((CHUNK - len(piece), *piece.shape[1:]))])
            before, today = (_as_inputs(part) for part in np.split(whole, 2, axis=-1))
            outputs = network(today, before if self.config.delay else None)
            signals[begin : begin + CHUNK] = outputs.double().numpy()[: len(piece)]
        return np.where(active, signals, 0.0)

    def save(self, folder: Path) -> None:
        """Write configuration, assets and weights."""
        save_json(folder, {"config": asdict(self.config), "assets": self.assets_})
        save_tensors(folder, self._trained_network().state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        stored = load_json(folder, Stored)
        agent = cls(**stored["config"])
        agent.assets_ = stored["assets"]
        agent.network = agent._build()
        agent.network.load_state_dict(load_tensors(folder))
        agent.network.eval()
        return agent

    def _build(self) -> SpatioTemporalNetwork:
        n, config = len(self.assets_), self.config
        return SpatioTemporalNetwork(n, len(FEATURE_NAMES), config.hidden, config.dropout)

    def _trained_network(self) -> SpatioTemporalNetwork:
        if self.network is None:
            raise ConfigError("this agent is not trained; call fit or load first.")
        return self.network


def portfolio_sharpe(network: SpatioTemporalNetwork, episode: Episode) -> Tensor:
    """Annualised Sharpe ratio, over all dates of all windows, of the mean over the assets that count."""
    parts = torch.split(episode.features, len(FEATURES), dim=-1)
    *before, today = (mask_undefined(part).flatten(2) for part in parts)
    signals = network(today, *before)
    counted = episode.counted & (episode.features[..., DEFINED] > 0)
    assets = counted.sum(-1)
    mean = (episode.settle(signals).net * counted).sum(-1) / assets.clip(1)
    held, year = (assets > 0).flatten(), episode.bars_per_year
    ratio: Tensor = sharpe(mean.flatten(), held, ddof=0, floor=LOSS_FLOOR, bars_per_year=year)
    return ratio


def carry_forward(features: FloatArray, active: BoolArray) -> FloatArray:
    """[T, N, ...] each asset's features on its last active day, 0 where that was too long ago."""
    row = np.arange(len(active))[:, None]
    last = np.maximum.accumulate(np.where(active, row, -1), axis=0)
    near = (last >= 0) & (row - last <= STALE)
    filled: FloatArray = np.take_along_axis(features, last.clip(0)[..., None], axis=0) * near[..., None]
    return filled


def _with_the_date_before(features: FloatArray) -> FloatArray:
    """[T, N, 2 F] the features of the date before, 0 before the first, then those of the date itself."""
    before = np.concatenate([np.zeros_like(features[:1]), features[:-1]])
    return np.concatenate([before, features], axis=-1)


def _windows(env: TradingEnv, length: int | None, device: torch.device, delay: int) -> Episode:
    """Windows of dates that do not overlap, the last one at the end; None: all dates as one; on a device.

    With a delay their features are those of the date before and of the date itself.
    """
    features = carry_forward(env.panel.features(FEATURES), _active(env.panel))
    if delay:
        features = _with_the_date_before(features)
    tensors = MarketTensors.of(env.tape, torch.tensor(features, dtype=torch.float32), device)
    span = min(length or tensors.days, tensors.days)
    ends = range(tensors.first + tensors.days, tensors.first + span - 1, -span)
    episode = Episode(tensors.windows(torch.tensor([end - span for end in reversed(ends)]), span))
    counted = episode.counted & (episode.features[..., DEFINED] > 0)
    keep = torch.nonzero(counted.flatten(1).any(1)).flatten()
    if not len(keep):
        raise ConfigError(
            "no date has an asset whose inputs are all defined; they need about 315 trading days of history, "
            f"and the panel has {len(env.panel.dates)} dates."
        )
    return episode.take(keep)


def _active(panel: Panel) -> BoolArray:
    """[T, N] the asset trades and its inputs are defined."""
    active: BoolArray = panel.tradable & (panel.features(FEATURES)[..., DEFINED] > 0)
    return active


def _layout(panel: Panel) -> list[list[str]]:
    """[N] market and name of every asset."""
    return [list(pair) for pair in zip(panel.market_of, panel.assets, strict=True)]


def _common(ours: list[list[str]], theirs: list[list[str]]) -> tuple[Tensor, Tensor]:
    """[K] the places, in each of two layouts, of the assets that both have."""
    known = [asset for asset in ours if asset in theirs]
    here, there = (
        torch.tensor([layout.index(asset) for asset in known], dtype=torch.long) for layout in (ours, theirs)
    )
    return here, there


def _as_inputs(features: FloatArray) -> Tensor:
    """What the network reads, [..., N * F]."""
    return mask_undefined(torch.tensor(features, dtype=torch.float32)).flatten(-2)

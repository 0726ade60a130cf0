"""What a network learns from: windows of each asset's own days, and the days before them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.dmn.losses import DayPairs, Pairs
from agents.dmn.network import Network
from qn_env.arrays import FloatArray, IntArray
from qn_env.changepoints import Changepoint
from qn_env.environment import TradingEnv
from qn_env.episodes import Episode
from qn_env.errors import ConfigError
from qn_env.features import Defined, EwVolatility, Feature, dmn_features
from qn_env.window_sources import Rows

# The eight inputs, whether all of them are defined, and the daily volatility sigma_t that targets are divided
# by: the paper's own, whatever volatility target the environment has. Further inputs stand behind the eight.
FEATURES: tuple[Feature, ...] = (*dmn_features(), EwVolatility())
DEFINED, SIGMA = -2, -1


def features_of(changepoints: tuple[int, ...]) -> tuple[Feature, ...]:
    """`FEATURES`, with severity and location of changepoints within look-backs behind the eight inputs."""
    if not changepoints:
        return FEATURES
    pairs = ((Changepoint(days, "severity"), Changepoint(days, "location")) for days in changepoints)
    both: tuple[Feature, ...] = tuple(one for pair in pairs for one in pair)
    inputs: tuple[Feature, ...] = (*dmn_features()[:-1], *both)
    return (*inputs, Defined(inputs), EwVolatility())


Float32Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TrainingWindows:
    """Windows of single assets that do not overlap, B of them, each with a day that counts.

    Attributes:
        pairs: what a loss needs.
        inputs: [B, L, F] float32, 0 where not all of them are defined.
        past: [B, P, F] float32 the inputs of the days before each window, 0 before an asset's first.
        asset: [B] column of each window's asset; those of one asset follow each other in time.
    """

    pairs: Pairs
    inputs: Tensor
    past: Tensor
    asset: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Rows) -> TrainingWindows:
        """The windows of the given numbers."""
        return TrainingWindows(self.pairs.take(rows), self.inputs[rows], self.past[rows], self.asset[rows])

    def outputs(self, network: Network) -> Tensor:
        """[B, L] Z of every day."""
        z: Tensor = network(self.inputs, network.beginning(self.past))[0]
        return z

    def asset_days(self) -> AssetDays:
        """Their days one by one; those of a window's end that earn behind it, under a lag, are left out."""
        episode, counted, labelled, target, year, years = self.pairs
        earned = torch.zeros_like(target)
        last = counted.shape[1] - episode.lag
        # A position of 1 on every day: the day it earns on is so many days behind its own.
        earned[:, :last] = self.pairs.settle(torch.ones_like(target)).gross[:, episode.lag :, 0]
        learnt = counted.clone()
        learnt[:, last:] = False
        learnt[:, :last] &= counted[:, episode.lag :]
        history = torch.cat([self.past, self.inputs], dim=1)
        window, day = torch.nonzero(learnt).unbind(1)
        past = self.past.shape[1]
        return AssetDays(
            history.flatten(0, 1),
            window * history.shape[1] + past + day,
            DayPairs(
                *(earned[learnt, None], learnt[learnt, None], labelled[learnt, None], target[learnt, None]),
                year[window],
                years,
                episode.bars_per_year,
            ),
            past,
        )

    def split_by_asset(self, latest: float = 0.1) -> tuple[TrainingWindows, TrainingWindows]:
        """All but the latest share of each asset's windows, and those; a single window is learnt from.

        Raises:
            ConfigError: no asset has two windows.
        """
        counts = torch.bincount(self.asset)
        first = torch.cumsum(counts, 0) - counts
        place = torch.arange(len(self), device=first.device) - first[self.asset]
        held = (counts * latest).long().clip(1).minimum(counts - 1)
        late = place >= (counts - held)[self.asset]
        if not late.any():
            raise ConfigError(
                "no asset has two windows of days, one to learn from and one to select on; take a longer "
                'panel, a shorter length, or split="date".'
            )
        return self.take(torch.nonzero(~late).flatten()), self.take(torch.nonzero(late).flatten())


@dataclass(frozen=True, eq=False)
class AssetDays:
    """Pairs of asset and day, n of them, what a network without a state of its own learns from.

    Attributes:
        inputs: [R, F] float32 of every window's days and of the P days before it, window behind window.
        row: [n] where a pair's own day stands among them; the days before it stand before it.
        pairs: [n, 1] what a loss needs of them.
        past: P.
    """

    inputs: Tensor
    row: Tensor
    pairs: DayPairs
    past: int

    def __len__(self) -> int:
        return len(self.row)

    def take(self, rows: Rows) -> AssetDays:
        """The pairs of the given numbers."""
        return AssetDays(self.inputs, self.row[rows], self.pairs.take(rows), self.past)

    @property
    def history(self) -> Tensor:
        """[n, P + 1, F] the inputs of each pair's days, its own last."""
        rows = self.row[:, None] + torch.arange(-self.past, 1, device=self.row.device)
        # One selection of whole rows: indexing window and day beside each other takes twice as long.
        return self.inputs.index_select(0, rows.flatten()).view(*rows.shape, -1)

    def outputs(self, network: Network) -> Tensor:
        """[n, 1] Z of every pair."""
        return network.last_day(self.history)


def cut_windows(
    env: TradingEnv,
    length: int,
    past: int,
    *,
    features: tuple[Feature, ...] = FEATURES,
    numbers: FloatArray | None = None,
) -> TrainingWindows:
    """Every asset's decision days in windows of `length`; a pair counts where its inputs are defined.

    Args:
        env: what is cut.
        length: days of a window.
        past: days before each window that are shown, too.
        features: what the environment must show, the inputs before `DEFINED` and `SIGMA`.
        numbers: [N, k] further inputs of each asset, the same on all days.

    Raises:
        ConfigError: an environment with other features, or without a day that counts.
    """
    if tuple(env.config.features) != features:
        raise ConfigError(
            f"the environment shows {len(env.config.features)} features, not those this agent reads; make it "
            "with features=agent.settings.features."
        )
    episode = env.episodes().trajectories(length)
    counted = (episode.counted & (episode.features[..., DEFINED] > 0))[:, :, 0]
    keep = torch.nonzero(counted.any(1)).flatten()
    if not len(keep):
        raise ConfigError(
            "no asset has a day whose inputs are all defined and a day after it; the inputs need about 315 "
            f"trading days of history, and the panel has {len(env.panel.dates)} dates."
        )
    before = torch.tensor(_before(env, env.panel.features(features).astype(np.float32), length, past))[keep]
    episode, counted = episode.take(keep), counted[keep]
    windows = -(-env.tape.decides.sum(axis=0) // length)
    asset = torch.from_numpy(np.repeat(np.arange(len(windows)), windows))[keep]
    seen = episode.features[:, :, 0]
    year, years = _years(env, length, keep)
    pairs = Pairs(episode, counted, *_labels(episode, seen, counted), year, years)
    inputs, earlier = mask_undefined(seen), mask_undefined(before)
    if numbers is not None:
        inputs, earlier = (beside(part, numbers[asset]) for part in (inputs, earlier))
    return TrainingWindows(pairs, inputs, earlier, asset)


def beside(inputs: Tensor, numbers: FloatArray) -> Tensor:
    """[B, L, F + k] inputs, and further ones [B, k] of each sequence that are the same on all days."""
    own = torch.tensor(numbers, dtype=inputs.dtype)[:, None].expand(-1, inputs.shape[1], -1)
    return torch.cat([inputs, own], dim=-1)


def join_blocks(env: TradingEnv, validation: TradingEnv) -> TradingEnv:
    """One environment from the first day of a training block to the last of its validation block."""
    dates = env.panel.dates
    first = {name: dates[m.rows[0] if len(m.rows) else 0] for name, m in env.panel.markets.items()}
    return validation.like(
        panel=validation.panel.since(first), start=env.config.start, warmup=env.config.warmup
    )


def mask_undefined(features: Tensor) -> Tensor:
    """The inputs of the network [..., F], 0 where not all of them are defined."""
    return features[..., :DEFINED] * features[..., DEFINED, None]


def _labels(episode: Episode, features: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """[B, L] whether a pair has a target, and the target: the return its position earns over sigma_t, or 0.

    Under an execution lag a position earns a later return, which may lie behind the window.
    """
    L = counted.shape[1]
    earned = torch.arange(L, device=counted.device) + episode.lag
    row = earned.clip(max=L - 1)
    labelled = counted & episode.listed[:, row, 0] & (earned < L)
    sigma = torch.where(labelled, features[..., SIGMA], 1.0).double()
    return labelled, episode.next_returns[:, row, 0] * labelled / sigma


def _before(env: TradingEnv, features: Float32Array, length: int, past: int) -> Float32Array:
    """[B, past, F] float32 features of the own days before every window of `Episodes.trajectories`."""
    F = features.shape[-1]
    parts = [np.zeros((0, past, F), np.float32)]
    for j in range(env.panel.shape[1]):
        own = np.flatnonzero(env.panel.tradable[:, j])
        padded = np.concatenate([np.zeros((past, F), np.float32), features[own, j]])
        parts.append(padded[_starts(env, own, j, length)[:, None] + np.arange(past)])
    return np.concatenate(parts)


def _starts(env: TradingEnv, own: IntArray, asset: int, length: int) -> IntArray:
    """Which of an asset's own days its windows begin on."""
    # Decision days are the last of an asset's own days, and the very last has no day after it.
    return np.arange(len(own) - int(env.tape.decides[:, asset].sum()), len(own) - 1, length)


def _years(env: TradingEnv, length: int, keep: Tensor) -> tuple[Tensor, int]:
    """[B] the year of bars that a window's first day is in, counted from the first one, and how many."""
    columns = range(env.panel.shape[1])
    own = [np.flatnonzero(env.panel.tradable[:, j]) for j in columns]
    rows = torch.from_numpy(np.concatenate([own[j][_starts(env, own[j], j, length)] for j in columns]))[keep]
    span = max(round(env.panel.bars_per_year), 1)
    year = torch.div(rows - rows.min(), span, rounding_mode="floor")
    return year, int(year.max()) + 1

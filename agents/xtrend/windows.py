"""What X-Trend learns from: windows of each asset's own days, and the contexts of every day of theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from agents.dmn.losses import Pairs
from agents.xtrend.config import XTrendConfig
from agents.xtrend.contexts import context_sets
from agents.xtrend.cutting import features_of, library_of
from agents.xtrend.history import DEFINED, N_INPUTS, SIGMA
from agents.xtrend.sequences import Library
from qn_env.arrays import IntArray
from qn_env.environment import TradingEnv
from qn_env.episodes import Episode
from qn_env.errors import ConfigError

PADDING = -1  # row of a day behind the end of an asset's last window


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of single assets that do not overlap, B of them, and what may be attended to on their days.

    Attributes:
        pairs: what a loss needs.
        inputs: [B, L, F] float32.
        row: [B, L] of the union calendar, `PADDING` behind an asset's last day.
        asset: [B] column.
        spans: numbers of the windows that begin near each other in time, span by span.
        library: context sequences.
        sets: [T, C] the context set of every row.
    """

    pairs: Pairs
    inputs: Tensor
    row: IntArray
    asset: IntArray
    spans: tuple[IntArray, ...]
    library: Library
    sets: IntArray

    @classmethod
    def of(cls, env: TradingEnv, config: XTrendConfig) -> Windows:
        """Every asset's decision days in windows; a day counts where the return of the day is defined.

        Raises:
            ConfigError: an environment with other features, or without a day that counts.
        """
        if tuple(env.config.features) != features_of(config):
            raise ConfigError(
                f"the environment shows {len(env.config.features)} features, not those this agent reads; "
                "make it with features=agent.settings.features."
            )
        episode = env.episodes().trajectories(config.length)
        counted = (episode.counted & (episode.features[..., DEFINED] > 0))[:, :, 0]
        keep = torch.nonzero(counted.any(1)).flatten()
        if not len(keep):
            raise ConfigError(
                "no asset has a day whose return is defined and a day after it; volatilities need about 21 "
                f"trading days of history, and the panel has {len(env.panel.dates)} dates."
            )
        row, asset = (part[keep.numpy()] for part in _where(env, config.length))
        episode, counted = episode.take(keep), counted[keep]
        year = torch.zeros(len(keep), dtype=torch.int64)  # the loss knows one pool of days
        features = episode.features[:, :, 0]
        library = library_of(env.panel, config)
        ended, rows = library.sequences.ended, np.arange(len(env.panel.dates))
        sets = context_sets(ended, rows, **config.sets)
        return cls(
            Pairs(episode, counted, *_targets(episode, features, counted), year, 1),
            features[..., :N_INPUTS].contiguous(),
            row,
            asset,
            _spans(row[:, 0], config.length, config.batch),
            library,
            sets,
        )

    def pairs_of(self, windows: IntArray) -> Pairs:
        """What a loss needs of the windows of the given numbers."""
        return self.pairs.take(torch.from_numpy(windows))


@dataclass(frozen=True, eq=False)
class Places:
    """Days of windows by the row that they are on, so that the assets of a row share its context set.

    Attributes:
        row: [U] rows.
        table: [U, A] which day [B * L] stands there; B * L: none.
        slot: [B, L] where a day stands in the table [U * A]; U * A: nowhere.
    """

    row: IntArray
    table: IntArray
    slot: IntArray

    @classmethod
    def of(cls, row: IntArray) -> Places:
        """Of the days of windows [B, L], `PADDING` where there is none."""
        days = row.ravel()
        there = np.flatnonzero(days != PADDING)
        rows, which = np.unique(days[there], return_inverse=True)
        order = np.argsort(which, kind="stable")
        counts = np.bincount(which, minlength=len(rows))
        rank = np.empty(len(there), dtype=np.intp)
        rank[order] = np.arange(len(there)) - np.repeat(np.cumsum(counts) - counts, counts)
        table = np.full((len(rows), counts.max(initial=0)), len(days))
        table[which, rank] = there
        slot = np.full(len(days), table.size)
        slot[there] = which * table.shape[1] + rank
        return cls(rows, table, slot.reshape(row.shape))


def _targets(episode: Episode, features: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """[B, L] whether a day has a target, and the target: what its position earns over sigma_t, or 0.

    Under an execution lag a position earns a later return, which may lie behind the window.
    """
    L = counted.shape[1]
    earned = torch.arange(L) + episode.lag
    row = earned.clip(max=L - 1)
    labelled = counted & episode.listed[:, row, 0] & (earned < L)
    sigma = torch.where(labelled, features[..., SIGMA], 1.0).double()
    return labelled, episode.next_returns[:, row, 0] * labelled / sigma


def _where(env: TradingEnv, length: int) -> tuple[IntArray, IntArray]:
    """Rows [B, L] and assets [B] of the windows of `Episodes.trajectories`."""
    rows, assets = [], []
    for j in range(env.panel.shape[1]):
        now = np.flatnonzero(env.tape.decides[:, j])[:-1]
        padded = np.concatenate([now, np.full(-len(now) % length, PADDING)]).reshape(-1, length)
        rows.append(padded)
        assets.append(np.full(len(padded), j))
    return np.concatenate(rows), np.concatenate(assets)


def _spans(first: IntArray, length: int, most: int) -> tuple[IntArray, ...]:
    """Windows in groups of at most `most` whose first rows [B] are less than a window apart."""
    order = np.argsort(first, kind="stable")
    spans, begin = [], 0
    for end in range(1, len(order) + 1):
        if end == len(order) or end - begin == most or first[order[end]] >= first[order[begin]] + length:
            spans.append(order[begin:end])
            begin = end
    return tuple(spans)

"""The loss of sampled windows in few passes: means over windows, assets and markets, and the gradient.

QuantNet's objective (Koshiyama et al. 2020, Eqs. 7-8). The value comes from the one arithmetic
(`weights_in_force`, `weights_before`, `settle`, the Sharpe ratio), the gradient from its derivatives written
out: automatic differentiation of the same chain takes some fifty passes over float64 arrays that do not fit
the cache, which costs more than the LSTMs in front of it. Here a few windows at a time go through both while
they are in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch.autograd.function import once_differentiable

from qn_env.autograd import Context
from qn_env.economics import Initial, settle, settle_slopes, weights_before, weights_in_force
from qn_env.episodes import Episode, Terms
from qn_env.objectives import LOSS_FLOOR, sharpe_and_slope

Tensor = torch.Tensor

# Numbers of a float64 array that is worked on at once (1 MB): a handful of them fits the cache, and the
# forty calls a chunk takes are cheap beside it. Half as many were slower when measured, more no faster.
CHUNK = 1 << 17


def window_sharpe(
    episode: Episode, signals: Tensor, *, floor: float = LOSS_FLOOR, initial: Initial = "free"
) -> Tensor:
    """Mean annualised Sharpe ratio over windows and assets: a market's L_i, a float64 scalar.

    The same number and gradient as averaging `sharpe(episode.settle(signals).net, episode.counted, axis=1,
    ddof=0, floor=floor, bars_per_year=episode.bars_per_year)` where an asset has at least two counted days in
    the window. Where none has, it is 0 without gradient (`countable` tells). Differentiable once.

    Args:
        episode: the windows.
        signals: [B, L, N] decided at the close of each row, in [-1, 1].
        floor: least variance of a trading day.
        initial: as in `Episode.settle`.
    """
    return _apply([episode], [signals], floor, initial)


def mean_window_sharpe(
    batch: Mapping[str, Episode],
    signals: Mapping[str, Tensor],
    *,
    floor: float = LOSS_FLOOR,
    initial: Initial = "free",
) -> Tensor:
    """Mean of `window_sharpe` over the markets where something counts: the objective, a float64 scalar.

    Args:
        batch: windows by market.
        signals: [B, L, N] by market, the same markets.
        floor: least variance of a trading day.
        initial: as in `Episode.settle`.
    """
    return _apply(list(batch.values()), [signals[name] for name in batch], floor, initial)


def member_sharpes(
    batch: Mapping[str, Episode],
    signals: Mapping[str, Tensor],
    present: Tensor,
    *,
    floor: float = LOSS_FLOOR,
    initial: Initial = "free",
) -> Tensor:
    """`mean_window_sharpe` of K members at once, each over windows and markets of its own: [K] float64.

    Nothing waits for the device, so that a CUDA graph can hold it. Differentiable once.

    Args:
        batch: windows by market, [K * B, L, N], those of a member behind each other.
        signals: [K * B, L, N] by market, the same markets.
        present: [K, M] float64, 1 where a member's batch has the market, else 0.
        floor: least variance of a trading day.
        initial: as in `Episode.settle`.
    """
    task = _Task(list(batch.values()), floor, initial, present)
    values: Tensor = _MemberSharpes.apply(task, *(signals[name] for name in batch))  # type: ignore[no-untyped-call]
    return values


def countable(episode: Episode) -> bool:
    """Whether any asset has two counted days in any window, so that a mean over markets includes it."""
    return _pairs(episode) > 0


class _Task(NamedTuple):
    """What the objective is of, beside the signals."""

    episodes: Sequence[Episode]
    floor: float
    initial: Initial
    present: Tensor | None = None  # [K, M] of members: 1 where a market is among theirs


def _apply(episodes: list[Episode], signals: list[Tensor], floor: float, initial: Initial) -> Tensor:
    value: Tensor = _MeanSharpe.apply(_Task(episodes, floor, initial), *signals)  # type: ignore[no-untyped-call]
    return value


class _MeanSharpe(torch.autograd.Function):
    """The gradient is found on the way: by the time of `backward` the arrays would have left the cache.

    One function for all markets, because each application costs as much as a small market.
    """

    @staticmethod
    def forward(ctx: Context, task: _Task, *signals: Tensor) -> Tensor:
        pairs = [_pairs(episode) for episode in task.episodes]
        markets = max(sum(count > 0 for count in pairs), 1)
        total = torch.zeros((), dtype=torch.float64, device=signals[0].device)
        slopes: list[Tensor | None] = []
        for k, (episode, given) in enumerate(zip(task.episodes, signals, strict=True)):
            wanted = ctx.needs_input_grad[1 + k]
            slope = torch.empty_like(given, memory_format=torch.contiguous_format) if wanted else None
            share = 1.0 / (max(pairs[k], 1) * markets)
            for rows in _chunks(episode, given.device):
                out = None if slope is None else slope[rows]
                total += _chunk(episode.take(rows), given[rows], task, share, out).sum()
            slopes.append(slope)
        ctx.save_for_backward(*slopes)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(None if slope is None else slope * gradient for slope in ctx.saved_tensors)


class _MemberSharpes(torch.autograd.Function):
    """As `_MeanSharpe`; every mean is over what is one member's."""

    @staticmethod
    def forward(ctx: Context, task: _Task, *signals: Tensor) -> Tensor:
        assert task.present is not None
        present, K = task.present, len(task.present)
        pairs = torch.stack([_member_pairs(episode, K) for episode in task.episodes], dim=1) * present
        shares = present / (pairs.clip(1) * (pairs > 0).sum(1, keepdim=True).clip(1))
        total, slopes = torch.zeros_like(present[:, 0]), list[Tensor | None]()
        for k, (episode, given) in enumerate(zip(task.episodes, signals, strict=True)):
            wanted = ctx.needs_input_grad[1 + k]
            slope = torch.empty_like(given, memory_format=torch.contiguous_format) if wanted else None
            share = shares[:, k].repeat_interleave(len(given) // K, output_size=len(given))[:, None, None]
            ratios = [
                _chunk(
                    episode.take(rows), given[rows], task, share[rows], None if slope is None else slope[rows]
                ).sum((1, 2))
                for rows in _chunks(episode, given.device)
            ]
            total = total + torch.cat(ratios).view(K, -1).sum(1)
            slopes.append(slope)
        ctx.save_for_backward(*slopes)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, gradient: Tensor) -> tuple[Tensor | None, ...]:
        K = len(gradient)
        given = (
            None
            if slope is None
            else (slope.view(K, -1) * gradient[:, None]).to(slope.dtype).view(slope.shape)
            for slope in ctx.saved_tensors
        )
        return None, *given


def _member_pairs(episode: Episode, members: int) -> Tensor:
    """[K] float64 `_pairs` of each member."""
    B, L, N = episode.shape
    if episode.all_counted and L > 1:
        return episode.next_returns.new_full((members,), B // members * N)
    return (episode.counted.sum(1) > 1).view(members, -1).sum(1).double()


def _pairs(episode: Episode) -> int:
    """Windows and assets with at least two counted days."""
    B, L, N = episode.shape
    return B * N if episode.all_counted and L > 1 else int((episode.counted.sum(1) > 1).sum())


def _chunks(episode: Episode, device: torch.device) -> Iterator[slice]:
    """Slices of windows small enough for the cache; all at once on a device that hides its memory's delay."""
    B, L, N = episode.shape
    step = max(CHUNK // max(L * N, 1), 1) if device.type == "cpu" else B
    # Equal slices: a small rest costs as many calls as a full one.
    number = -(-B // step)
    for k in range(number):
        yield slice(B * k // number, B * (k + 1) // number)


def _chunk(
    episode: Episode, signals: Tensor, task: _Task, share: float | Tensor, out: Tensor | None
) -> Tensor:
    """`share` times the Sharpe ratios [b, 1, N] of windows and assets; `out` takes their sum's slope."""
    terms, returns = episode.terms, episode.next_returns
    counted = None if episode.all_counted and episode.shape[1] > 1 else episode.counted
    weights = share if counted is None else (counted.sum(1, keepdim=True) > 1).double() * share
    target = signals.to(torch.float64, memory_format=torch.contiguous_format)
    if terms.scale is not None:
        target = target * terms.scale
    weight = weights_in_force(target, terms.order, terms.listed)
    if terms.costs is None:
        # The net is the gross return, and what a weight replaces is of no account.
        net, before = weight * returns, weight
    else:
        before = weights_before(weight, terms.listed, initial=task.initial, lag=episode.lag)
        net = settle(weight, before, returns, terms.costs, terms.exits).net
    ratios, slope = sharpe_and_slope(
        net, counted, weights, axis=1, floor=task.floor, bars_per_year=episode.bars_per_year
    )
    if out is not None:
        if terms.costs is None:
            slope *= returns
        else:
            now, then = settle_slopes(weight, before, returns, terms.costs, terms.exits)
            then *= slope
            slope *= now
            _replace_back(slope, then, terms, task.initial, episode.lag)
        slope = _hold_back(slope, terms)
        out.copy_(slope if terms.scale is None else slope * terms.scale)
    return ratios


def _replace_back(slope: Tensor, before: Tensor, terms: Terms, initial: Initial, lag: int) -> None:
    """The transpose of `economics.weights_before`: adds slopes by weight before to others, in place."""
    if terms.listed is not None:
        before = before * terms.listed
    if initial == "free":
        slope[:, : 1 + lag] += before[:, : 1 + lag]
        slope[:, lag:-1] += before[:, 1 + lag :]
    else:
        slope[:, :-1] += before[:, 1:]


def _hold_back(slope: Tensor, terms: Terms) -> Tensor:
    """The transpose of `economics.weights_in_force`: slopes by target, from those by weight."""
    if terms.listed is not None:
        slope = slope * terms.listed
    if terms.order is None:
        return slope
    b, L, N = slope.shape
    # The row behind the last one collects what belongs to no decision.
    return slope.new_zeros(b, L + 1, N).scatter_add_(1, terms.order, slope)[:, :L]

"""The differentiable mode: windows of every market as tensors, settled by the same economics, with gradients.

Networks run in float32 (the fused CPU LSTM exists only there), money in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from qn_env.economics import Costs, Ledger, trade
from qn_env.errors import ConfigError
from qn_env.panel import FloatArray, IntArray, Panel
from qn_env.tape import Tape

if TYPE_CHECKING:
    from qn_env.environment import TradingEnv

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Episode:
    """Windows of one market (or of single assets, then N is 1), B of them, each L days long.

    Row l is a decision day t; `next_returns` are those of the market's next trading day.

    Attributes:
        inputs: [B, L, N] float32 returns of day t, 0 where an asset does not trade.
        features: [B, L, N, F] float32.
        next_returns: [B, L, N] float64.
        listed: [B, L, N] bool, at t.
        counted: [B, L, N] bool; the days that enter an objective: listed at t, and with an observation (or
            the booking of a delisting) on the next trading day. Padding is never counted.
        exits: [B, L, N] float64.
        scale: [B, L, N] float64 weight per unit of signal.
        order: [B, L, N] integer row of the decision in force, L where there is none.
        costs: rates, [N] or [B, L, N] float64.
        lag: days between a decision and its trade.
    """

    inputs: Tensor
    features: Tensor
    next_returns: Tensor
    listed: Tensor
    counted: Tensor
    exits: Tensor
    scale: Tensor
    order: Tensor
    costs: Costs[Tensor]
    lag: int

    def settle(self, signals: Tensor, *, initial: Literal["flat", "free"] = "free") -> Ledger[Tensor]:
        """Gross, turnover, cost and net, each [B, L, N] float64, of signals [B, L, N].

        Args:
            signals: decided at the close of each row, in [-1, 1].
            initial: "free" leaves the first trade uncharged (a window's edge is not a trade), "flat" starts
                from weight 0 and charges it.
        """
        return trade(
            signals.double() * self.scale,
            self.order,
            self.listed,
            self.exits,
            self.next_returns,
            self.costs,
            initial=initial,
            lag=self.lag,
        )

    def take(self, rows: Tensor) -> Episode:
        """The windows of the given numbers [b]."""
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("costs", "lag")}
        taken = {name: values[rows] for name, values in parts.items()}
        return Episode(**taken, costs=_rates(self.costs, rows), lag=self.lag)


@dataclass(frozen=True, eq=False)
class _Reel:
    """One market's whole tape as tensors [T, N]; windows are cut from it by row numbers."""

    inputs: Tensor
    features: Tensor
    returns: Tensor
    decides: Tensor
    live: Tensor
    listed: Tensor
    counted: Tensor
    exits: Tensor
    scale: Tensor
    costs: Costs[Tensor]
    first: int
    lag: int

    @classmethod
    def of(cls, tape: Tape, features: Tensor, device: torch.device) -> _Reel:
        def tensor(array: object, dtype: torch.dtype) -> Tensor:
            return torch.tensor(array, dtype=dtype, device=device)

        return cls(
            tensor(tape.returns, torch.float32),
            features.to(device),
            tensor(tape.returns, torch.float64),
            tensor(tape.decides, torch.bool),
            tensor(tape.live, torch.bool),
            tensor(tape.listed, torch.bool),
            tensor(tape.counted, torch.bool),
            tensor(tape.exits, torch.float64),
            tensor(tape.scale, torch.float64),
            tape.costs.each(lambda rate: tensor(rate, torch.float64)),
            tape.first,
            tape.lag,
        )

    @property
    def days(self) -> int:
        """Decision days: the account is open and a next day exists."""
        return len(self.returns) - 1 - self.first

    def windows(self, starts: Tensor, length: int) -> Episode:
        """Windows of `length` days that begin at `starts` [B]."""
        rows = starts[:, None] + torch.arange(length, device=starts.device)
        return Episode(
            self.inputs[rows],
            self.features[rows],
            self.returns[rows + 1],
            self.listed[rows],
            self.counted[rows],
            self.exits[rows + 1],
            self.scale[rows],
            order_of(self.live[rows], self.decides[rows], self.lag),
            _rates(self.costs, rows),
            self.lag,
        )


class Episodes:
    """Sampled or whole episodes of an environment's panel, market by market, as tensors.

    Every market is on its own trading days; markets of a batch need not cover the same dates.
    """

    def __init__(
        self,
        env: TradingEnv,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Lay out the environment's panel; `generator` is the only chance (default: seed 0)."""
        self.panel: Panel = env.panel
        self.generator = generator if generator is not None else torch.Generator().manual_seed(0)
        self._device = torch.device(device)
        self._env = env
        features = env.panel.features(tuple(env.config.features))
        self._reels: dict[str, _Reel] = {}
        for name, market in env.panel.markets.items():
            if len(market.rows):
                own = torch.tensor(market.compact(features), dtype=torch.float32)
                self._reels[name] = _Reel.of(env.tape.of_market(market), own, self._device)

    @property
    def markets(self) -> tuple[str, ...]:
        """Names of the markets with at least one decision day."""
        return tuple(name for name, reel in self._reels.items() if reel.days > 0)

    def sample(
        self, *, markets: int | Sequence[str] | None = None, length: int, batch: int
    ) -> dict[str, Episode]:
        """Random windows per market (QuantNet, Algorithm 1).

        Args:
            markets: how many to draw without replacement, or their names; default: all.
            length: days of a window; a market with fewer decision days gives windows as long as it can.
            batch: windows per market, each at a random end, with replacement.

        Raises:
            ConfigError: more markets than there are, or a length or batch below 1.
        """
        if length < 1 or batch < 1:
            raise ConfigError(f"length is {length} and batch is {batch}, expected at least 1.")
        return {name: self._sample_one(self._reels[name], length, batch) for name in self._draw(markets)}

    def block(self, context: int = 0) -> dict[str, Episode]:
        """Each market's decision days as one window, B = 1.

        Args:
            context: so many days before the first decision are put in front, where there are any; they
                warm a recurrent state up and are neither listed nor counted.
        """
        found = {}
        for name in self.markets:
            reel = self._reels[name]
            begin = max(reel.first - context, 0)
            start = torch.tensor([begin], device=self._device)
            found[name] = reel.windows(start, len(reel.returns) - 1 - begin)
        return found

    def trajectories(self, length: int) -> Episode:
        """Every asset's own trading days cut into windows of `length` that do not overlap, N = 1.

        The natural batch of a network that treats assets alike (Lim et al. 2019): B counts windows of all
        assets, markets in order. A last window that is too short is padded at its end with days that are
        neither listed nor counted.

        Raises:
            ConfigError: no asset has two days to trade on.
        """
        tape = self._env.tape
        features = self.panel.features(tuple(self._env.config.features))
        chunks = [
            _cut(tape, features, np.flatnonzero(tape.decides[:, j]), j, length)
            for j in range(self.panel.shape[1])
        ]
        chunks = [chunk for chunk in chunks if len(chunk["listed"])]
        if not chunks:
            raise ConfigError("no asset has two days to trade on; there is nothing to cut trajectories from.")
        arrays = {key: np.concatenate([c[key] for c in chunks]) for key in chunks[0]}
        tensors = {k: torch.tensor(v, device=self._device) for k, v in arrays.items()}
        return Episode(
            order=order_of(tensors["listed"], tensors["listed"], tape.lag),
            costs=Costs(tensors.pop("turnover"), *(tensors.pop(k, None) for k in Costs._fields[1:])),
            exits=torch.zeros_like(tensors["scale"]),
            counted=tensors["listed"],
            lag=tape.lag,
            **tensors,
        )

    def _draw(self, markets: int | Sequence[str] | None) -> tuple[str, ...]:
        names = self.markets
        if markets is None:
            return names
        if not isinstance(markets, int):
            return tuple(markets)
        if not 1 <= markets <= len(names):
            raise ConfigError(f"markets is {markets}, expected 1 to {len(names)}.")
        picked = torch.randperm(len(names), generator=self.generator)[:markets]
        return tuple(names[i] for i in sorted(picked.tolist()))

    def _sample_one(self, reel: _Reel, length: int, batch: int) -> Episode:
        span = min(length, reel.days)
        # The last possible start, whose window ends at the last day, is included.
        starts = torch.randint(reel.days - span + 1, (batch,), generator=self.generator)
        return reel.windows(starts.to(self._device) + reel.first, span)


def _rates(costs: Costs[Tensor], rows: Tensor) -> Costs[Tensor]:
    """Rates of the given rows; rates per asset alone are as they are."""
    return costs.each(lambda rate: rate if rate.ndim == 1 else rate[rows])


def order_of(live: Tensor, decides: Tensor, lag: int) -> Tensor:
    """[..., L, N] `Tape.order` of windows: the row of the decision in force, L where there is none."""
    length = live.shape[-2]
    traded, decided = _latest(live), _latest(decides)
    due = traded - lag
    found = torch.where(due >= 0, torch.take_along_dim(decided, due.clip(0), dim=-2), -1)
    return torch.where((traded >= 0) & (found >= 0), found, length)


def _latest(mask: Tensor) -> Tensor:
    """[..., L, N] the last row up to each one where `mask` is True, -1 where there was none."""
    row = torch.arange(mask.shape[-2], device=mask.device)[:, None].expand(mask.shape)
    return torch.where(mask, row, -1).cummax(dim=-2).values


def _cut(
    tape: Tape, features: FloatArray, rows: IntArray, asset: int, length: int
) -> dict[str, NDArray[Any]]:
    """One asset's decision days as windows [B, length, 1], zero-padded at the end of the last one."""
    now, following = rows[:-1], rows[1:]
    pad = -len(now) % length

    def windows(values: NDArray[Any], dtype: str) -> NDArray[Any]:
        padded = np.concatenate([values, np.zeros((pad, *values.shape[1:]), values.dtype)])
        return padded.reshape(-1, length, 1, *values.shape[1:]).astype(dtype)

    return {
        "inputs": windows(tape.returns[now, asset], "float32"),
        "features": windows(features[now, asset], "float32"),
        "next_returns": windows(tape.returns[following, asset], "float64"),
        "listed": windows(np.ones(len(now), dtype=bool), "bool"),
        "scale": windows(tape.scale[now, asset], "float64"),
        **{
            name: windows(np.broadcast_to(rate, tape.returns.shape)[now, asset], "float64")
            for name, rate in tape.costs._asdict().items()
            if rate is not None
        },
    }

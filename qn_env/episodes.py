"""The differentiable mode: windows of every market as tensors, settled by the same economics, with gradients.

Networks run in float32 (the fused CPU LSTM exists only there), money in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from qn_env.arrays import BoolArray, FloatArray, IntArray
from qn_env.economics import Costs, Initial, Ledger, trade
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.setup import EnvSetup
from qn_env.tape import Tape
from qn_env.window_sources import MarketTensors, PaddedWindows, Rows, WindowSource, simplify

Tensor = torch.Tensor


class Terms(NamedTuple):
    """What `trade` needs beside the signals; None where leaving it out changes no number that counts."""

    scale: Tensor | None
    order: Tensor | None
    listed: Tensor | None
    exits: Tensor | None
    costs: Costs[Tensor] | None


class Episode:
    """Windows of one market (or of single assets, then N is 1), B of them, each L days long.

    Row l is a decision day t; `next_returns` are those of the market's next trading day. A part is gathered
    when it is first touched.
    """

    def __init__(self, source: WindowSource) -> None:
        """Windows as `source` gives them."""
        self._source = source

    def __repr__(self) -> str:
        B, L, N = self.shape
        return f"<Episode: {B} window{'s' * (B != 1)} of {L} days, {N} asset{'s' * (N != 1)}>"

    @property
    def shape(self) -> tuple[int, int, int]:
        """B windows, L days, N assets."""
        return self._source.shape

    @property
    def lag(self) -> int:
        """Days between a decision and its trade."""
        return self._source.lag

    @property
    def bars_per_year(self) -> float:
        """What ratios of these windows are annualised by: 252 of daily bars."""
        return self._source.bars_per_year

    @cached_property
    def inputs(self) -> Tensor:
        """[B, L, N] float32 returns of day t, 0 where an asset does not trade."""
        return self._source.part("inputs")

    @cached_property
    def features(self) -> Tensor:
        """[B, L, N, F] float32."""
        return self._source.part("features")

    @cached_property
    def next_returns(self) -> Tensor:
        """[B, L, N] float64."""
        return self._source.part("next_returns")

    @cached_property
    def listed(self) -> Tensor:
        """[B, L, N] bool, at t."""
        return self._source.part("listed")

    @cached_property
    def counted(self) -> Tensor:
        """[B, L, N] bool; the days that enter an objective.

        Listed at t, and with an observation (or the booking of a delisting) on the next trading day. Padding
        is never counted.
        """
        return self._source.part("counted")

    @cached_property
    def exits(self) -> Tensor:
        """[B, L, N] float64, 1 where a delisting is booked on the next trading day."""
        return self._source.part("exits")

    @cached_property
    def scale(self) -> Tensor:
        """[B, L, N] float64 weight per unit of signal."""
        return self._source.part("scale")

    @cached_property
    def order(self) -> Tensor:
        """[B, L, N] integer row of the decision in force, L where there is none."""
        return self._source.part("order")

    @cached_property
    def costs(self) -> Costs[Tensor]:
        """Rates, [N] or [B, L, N] float64."""
        return self._source.costs()

    @property
    def needed_parts(self) -> frozenset[str]:
        """The parts that matter: leaving out any other changes no number that counts."""
        return self._source.needed_parts

    @property
    def all_counted(self) -> bool:
        """Whether every day of every window is known to enter an objective."""
        return "counted" not in self.needed_parts

    @property
    def terms(self) -> Terms:
        """What settling these windows has to look at."""
        names = ("scale", "order", "listed", "exits")
        parts = {name: getattr(self, name) if name in self.needed_parts else None for name in names}
        return Terms(**parts, costs=self._source.simple_costs())

    def settle(self, signals: Tensor, *, initial: Initial = "free") -> Ledger[Tensor]:
        """Gross, turnover, cost and net, each [B, L, N] float64, of signals [B, L, N].

        Args:
            signals: decided at the close of each row, in [-1, 1].
            initial: "free" leaves the first trade uncharged (a window's edge is not a trade), "flat" starts
                from weight 0 and charges it.
        """
        terms = self.terms
        target = signals.double()
        return trade(
            target if terms.scale is None else target * terms.scale,
            terms.order,
            terms.listed,
            terms.exits,
            self.next_returns,
            terms.costs,
            initial=initial,
            lag=self.lag,
        )

    def take(self, rows: Rows) -> Episode:
        """The windows of the given numbers [b], or of a slice."""
        return Episode(self._source.take(rows))


class Episodes:
    """Sampled or whole episodes of an environment's panel, market by market, as tensors.

    Every market is on its own trading days; markets of a batch need not cover the same dates.
    """

    def __init__(
        self,
        setup: EnvSetup,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
        units: Mapping[str, FloatArray] | None = None,
    ) -> None:
        """Lay out an environment's panel.

        Args:
            setup: what the environment is set up from (`TradingEnv.setup`).
            generator: the only chance; default: seed 0.
            device: where tensors live.
            units: [N] by market, what the inputs of windows are divided by, once instead of in every window;
                the returns that make profit and loss are as they are.
        """
        self.panel: Panel = setup.config.panel
        self.generator = generator if generator is not None else torch.Generator().manual_seed(0)
        self._device = torch.device(device)
        self._setup = setup
        _keep_freed_memory()
        features = self.panel.features(tuple(setup.config.features))
        self._tensors: dict[str, MarketTensors] = {}
        for name, market in self.panel.markets.items():
            if len(market.rows):
                own = torch.tensor(market.compact(features), dtype=torch.float32)
                unit = None if units is None else units.get(name)
                self._tensors[name] = MarketTensors.of(setup.tape.of_market(market), own, self._device, unit)

    def __repr__(self) -> str:
        return f"<Episodes: {len(self.markets)} markets of {self.panel!r}>"

    @property
    def markets(self) -> tuple[str, ...]:
        """Names of the markets with at least one decision day."""
        return tuple(name for name, tensors in self._tensors.items() if tensors.days > 0)

    def sample(
        self,
        *,
        markets: int | Sequence[str] | None = None,
        length: int,
        batch: int,
        aligned: bool = False,
    ) -> dict[str, Episode]:
        """Random windows per market (QuantNet, Algorithm 1).

        Args:
            markets: how many to draw without replacement, or their names; default: all.
            length: days of a window; a market with fewer decision days gives windows as long as it can.
            batch: windows per market, each at a random end, with replacement.
            aligned: the windows of one number end on one date in every market, or on the market's last
                trading day before it; default: ends are independent, since calendars differ.

        Raises:
            ConfigError: more markets than there are, a length or batch below 1, or windows to align where
                no date can end one in every market.
        """
        drawn = self.draw(markets=markets, length=length, batch=batch, aligned=aligned)
        spans = {name: self.span(name, length) for name in drawn}
        return {name: Episode(self._tensors[name].windows(rows, spans[name])) for name, rows in drawn.items()}

    def draw(
        self,
        *,
        markets: int | Sequence[str] | None = None,
        length: int,
        batch: int,
        aligned: bool = False,
    ) -> dict[str, Tensor]:
        """The rows [B] at which the windows of `sample` begin, by market; arguments and errors as there."""
        if length < 1 or batch < 1:
            raise ConfigError(f"length is {length} and batch is {batch}, expected at least 1.")
        names = self._draw(markets)
        if aligned:
            return self._draw_aligned(names, length, batch)
        return {name: self._draw_one(name, length, batch) for name in names}

    def windows(self, market: str, rows: Tensor, length: int) -> Episode:
        """Windows of one market that begin at rows [B] on the episodes' device, which are not looked at."""
        return Episode(self._tensors[market].windows_anywhere(rows, self.span(market, length)))

    def first(self, market: str) -> int:
        """The row of a market's first decision."""
        return self._tensors[market].first

    def span(self, market: str, length: int) -> int:
        """Days of a market's windows: `length`, or as many decision days as it has."""
        return min(length, self._tensors[market].days)

    def drawing_from(self, generator: torch.Generator) -> Episodes:
        """The same tensors, with chances of their own."""
        other = copy(self)
        other.generator = generator
        return other

    def block(self, context: int | None = 0) -> dict[str, Episode]:
        """Each market's decision days as one window, B = 1.

        Args:
            context: so many days before the first decision are put in front, where there are any; they
                warm a recurrent state up and are neither listed nor counted. None: all there are.
        """
        episodes = {}
        for name in self.markets:
            tensors = self._tensors[name]
            begin = 0 if context is None else max(tensors.first - context, 0)
            episodes[name] = Episode(
                tensors.windows(torch.tensor([begin]), tensors.first + tensors.days - begin)
            )
        return episodes

    def trajectories(self, length: int) -> Episode:
        """Every asset's own trading days cut into windows of `length` that do not overlap, N = 1.

        The natural batch of a network that treats assets alike (Lim et al. 2019): B counts windows of all
        assets, markets in order. A last window that is too short is padded at its end with days that are
        neither listed nor counted. The day before a halt is charged for holding through it, for each of the
        days on which the market trades.

        Raises:
            ConfigError: no asset has two days to trade on.
        """
        tape = self._setup.tape
        features = self.panel.features(tuple(self._setup.config.features))
        chunks = [
            _cut(tape, features, np.flatnonzero(tape.decides[:, j]), j, length)
            for j in range(self.panel.shape[1])
        ]
        chunks = [chunk for chunk in chunks if len(chunk["listed"])]
        if not chunks:
            raise ConfigError("no asset has two days to trade on; there is nothing to cut trajectories from.")
        arrays = {key: np.concatenate([c[key] for c in chunks]) for key in chunks[0]}
        parts = {key: torch.tensor(values, device=self._device) for key, values in arrays.items()}
        rates = Costs(parts.pop("turnover"), *(parts.pop(key, None) for key in Costs._fields[1:]))
        return Episode(_stack(parts, rates, tape))

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

    def _draw_one(self, name: str, length: int, batch: int) -> Tensor:
        tensors = self._tensors[name]
        # The last possible start, whose window ends at the last day, is included.
        latest = tensors.days - self.span(name, length) + 1
        return torch.randint(latest, (batch,), generator=self.generator) + tensors.first

    def _draw_aligned(self, names: Sequence[str], length: int, batch: int) -> dict[str, Tensor]:
        """Windows that end on common dates, drawn from those that can end one in every market."""
        ends = {}
        for name in names:
            tensors = self._tensors[name]
            own = self.panel.dates[self.panel.markets[name].rows]
            ends[name] = own[tensors.first + min(length, tensors.days) - 1 : tensors.first + tensors.days]
        latest_first, earliest_last = (
            max(names, key=lambda name: ends[name][0]),
            min(names, key=lambda name: ends[name][-1]),
        )
        begin, end = ends[latest_first][0], ends[earliest_last][-1]
        common = self.panel.dates[(self.panel.dates >= begin) & (self.panel.dates <= end)]
        if not len(common):
            raise ConfigError(
                f"no windows of {length} days end on one date: those of {latest_first!r} end on {begin} "
                f"at the earliest, those of {earliest_last!r} on {end} at the latest. Use independent ends."
            )
        drawn = common[torch.randint(len(common), (batch,), generator=self.generator).numpy()]
        return {
            name: torch.from_numpy(np.searchsorted(ends[name], drawn, side="right") - 1)
            + self._tensors[name].first
            for name in names
        }


def _keep_freed_memory() -> None:
    """Have the C library keep what a training step frees for the next step.

    glibc gives the top of its heap back to the system when more of it is free than twice the largest block it
    has seen freed (32 MB at most; mallopt(3), M_MMAP_THRESHOLD). A step that frees a few MB would fetch them
    back page by page, every time: measured at 15% of a step. Elsewhere this does nothing.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


def _stack(parts: dict[str, Tensor], rates: Costs[Tensor], tape: Tape) -> PaddedWindows:
    """Trajectories, padded at their ends: every day that is not padding is open, listed and counted."""
    listed = parts["listed"]
    needed_parts = {
        "order": tape.lag > 0,
        "listed": not bool(listed.all()),
        "counted": not bool(listed.all()),
        "scale": bool((parts["scale"][listed] != 1.0).any()),
    }
    more = {
        "order": order_of(listed, listed, tape.lag),
        "exits": torch.zeros_like(parts["scale"]),
        "counted": listed,
    }
    matters = frozenset(name for name, so in needed_parts.items() if so)
    return PaddedWindows(parts | more, rates, simplify(rates), matters, tape.lag, tape.bars_per_year)


def order_of(live: Tensor, decides: Tensor, lag: int) -> Tensor:
    """[..., L, N] `Tape.order` of windows: the row of the decision in force, L where there is none."""
    length = live.shape[-2]
    traded, decided = _latest(live), _latest(decides)
    due = traded - lag
    in_force = torch.where(due >= 0, torch.take_along_dim(decided, due.clip(0), dim=-2), -1)
    return torch.where((traded >= 0) & (in_force >= 0), in_force, length)


def _latest(mask: Tensor) -> Tensor:
    """[..., L, N] the last row up to each one where `mask` is True, -1 where there was none."""
    row = torch.arange(mask.shape[-2], device=mask.device)[:, None].expand(mask.shape)
    return torch.where(mask, row, -1).cummax(dim=-2).values


def _cut(
    tape: Tape, features: FloatArray, rows: IntArray, asset: int, length: int
) -> dict[str, NDArray[np.generic]]:
    """One asset's decision days as windows [B, length, 1], zero-padded at the end of the last one."""
    now, following = rows[:-1], rows[1:]
    pad = -len(now) % length

    def windows(values: FloatArray | BoolArray, dtype: str) -> NDArray[np.generic]:
        padded = np.concatenate([values, np.zeros((pad, *values.shape[1:]), values.dtype)])
        # Not -1: what has no features has no size to infer the number of windows from.
        return padded.reshape(len(padded) // length, length, 1, *values.shape[1:]).astype(dtype)

    return {
        "inputs": windows(tape.returns[now, asset], "float32"),
        "features": windows(features[now, asset], "float32"),
        "next_returns": windows(tape.returns[following, asset], "float64"),
        "listed": windows(np.ones(len(now), dtype=bool), "bool"),
        "scale": windows(tape.scale[now, asset], "float64"),
        **{name: windows(rate, "float64") for name, rate in _cost_parts(tape, rows, asset).items()},
    }


def _cost_parts(tape: Tape, rows: IntArray, asset: int) -> dict[str, FloatArray]:
    """By name of a cost, the rate [L - 1] that an asset's own day of [L] is charged up to the next one."""
    now = rows[:-1]
    market_days = np.diff(tape.awake[:, asset].cumsum()[rows])  # a fee is due on each of them
    return {
        name: np.broadcast_to(rate, tape.returns.shape)[now, asset]
        * (market_days if name in ("short", "long") else 1.0)
        for name, rate in tape.costs._asdict().items()
        if rate is not None
    }

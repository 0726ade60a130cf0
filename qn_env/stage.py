"""The stage: what every mode of the environment is set up from, and what an observation shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from qn_env.costs import Cost, PerAsset
from qn_env.errors import ConfigError, did_you_mean
from qn_env.features import Feature
from qn_env.panel import BoolArray, FloatArray, IntArray, Panel, as_day, read_only
from qn_env.rewards import Reward, RewardName, Weighting, share_of
from qn_env.tape import Start, Tape

Observation = dict[str, Any]
View = Literal["window", "row", "index"]
VIEWS = get_args(View)

# Bounds of the observation space: no return, feature or weight of sound data comes near.
LIMIT = 1e9


@dataclass(frozen=True, kw_only=True, eq=False)
class EnvConfig:
    """One environment; the scalar, the vector and the differentiable mode are built from the same."""

    panel: Panel
    window: int = 63
    cost_bps: PerAsset = 2.0
    costs: Sequence[Cost] = ()
    vol_target: PerAsset | None = None
    features: Sequence[Feature] = ()
    observation: View = "window"
    positions: bool = True
    reward: RewardName = "net"
    weighting: Weighting = "market"
    start: Start = None
    warmup: int = 0
    execution_lag: int = 0
    random_start: bool = False
    episode_days: int | None = None

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ConfigError(f"window is {self.window}, expected at least 1 day.")
        if self.observation not in VIEWS:
            raise ConfigError(
                f"unknown observation {self.observation!r}. {did_you_mean(self.observation, VIEWS)}"
            )
        if self.episode_days is not None and self.episode_days < 1:
            raise ConfigError(f"episode_days is {self.episode_days}, expected at least 1.")


class Span(NamedTuple):
    """One episode: its first row, its last row, and the assets it trades (None: all)."""

    first: int
    last: int
    assets: BoolArray | None = None


class Stage:
    """What scalar and vector environments share: the laid-out panel, the spaces, the observations."""

    def __init__(self, config: EnvConfig) -> None:
        """Lay the panel out.

        Raises:
            ConfigError: a panel too short to take a step, costs or targets that cannot be used.
        """
        panel = config.panel
        self.config = config
        self.tape = Tape.of(
            panel,
            cost_bps=config.cost_bps,
            costs=config.costs,
            vol_target=config.vol_target,
            start=config.start,
            execution_lag=config.execution_lag,
        )
        if not self.tape.live[:-1].any():
            raise ConfigError(
                f"the panel leaves no day to trade: {len(panel.dates)} days, start {config.start}."
            )
        self.reward = Reward.of(config.reward, config.weighting, panel, self.tape)
        # Python's own strings: making one of a NumPy date costs a microsecond.
        self.dates: list[str] = self.tape.dates.astype(str).tolist()
        self.first = self._first_row()
        self._parts = self._lay_out()
        if config.observation == "window":
            # One copy of the returns: what a day earns is then in the cache when it is shown.
            returns = read_only(self._parts["returns"])[config.window - 1 :]
            self.tape = replace(self.tape, returns=returns)
        self._items = list(self._parts.items())
        self._is_index = config.observation == "index"
        self._shows_positions = config.positions
        self._span = config.window if config.observation == "window" else 0

    def spaces(self) -> tuple[spaces.Dict, spaces.Box]:
        """Observation and action space of one environment."""
        config, N, F = self.config, self.config.panel.shape[1], len(self.config.features)
        lead = (config.window,) if config.observation == "window" else ()
        parts: dict[str, spaces.Space[Any]] = {}
        if config.observation == "index":
            parts["index"] = spaces.Box(0, len(self.tape.dates) - 1, (1,), np.int64)
        else:
            parts["returns"] = spaces.Box(-1.0, LIMIT, (*lead, N), np.float64)
            parts["tradable"] = spaces.Box(0, 1, (*lead, N), np.int8)
            if F:
                parts["features"] = spaces.Box(-LIMIT, LIMIT, (*lead, N, F), np.float64)
        if config.positions:
            parts["positions"] = spaces.Box(-LIMIT, LIMIT, (N,), np.float64)
        # float32, as policies give it; float64 signals are taken as they are.
        return spaces.Dict(parts), spaces.Box(-1.0, 1.0, (N,), np.float32)

    def observe(self, t: int, weight: FloatArray) -> Observation:
        """Fresh arrays of what is seen at the close of row t."""
        rows = slice(t, t + self._span) if self._span else t
        observation: Observation = {}
        for name, part in self._items:
            observation[name] = part[rows].copy()
        if self._is_index:
            observation["index"] = np.array([t], dtype=np.int64)
        if self._shows_positions:
            observation["positions"] = weight.copy()
        return observation

    def observe_batch(self, rows: IntArray, weight: FloatArray) -> Observation:
        """Fresh arrays [B, ...] of what is seen at the close of rows [B]."""
        # Fancy indexing copies; the windows are views of the padded history.
        observation = {name: part[rows] for name, part in self._shown.items()}
        if self._is_index:
            observation["index"] = rows.astype(np.int64)[:, None]
        if self._shows_positions:
            observation["positions"] = weight.copy()
        return observation

    def draw(self, rng: np.random.Generator, options: Mapping[str, Any] | None) -> Span:
        """The next episode: as configured, then as `options` (start, length, markets) ask.

        Raises:
            ConfigError: an unknown option, market or date, or an episode without a day.
        """
        config, end = self.config, len(self.tape.dates) - 1
        first, days, assets = self.first, config.episode_days, None
        if config.random_start:
            latest = end - (days if days is not None else 1)
            first = int(rng.integers(first, max(latest, first) + 1))
        if options:
            unknown = sorted(set(options) - {"start", "length", "markets", "reset_mask"})
            if unknown:
                known = ("start", "length", "markets")
                raise ConfigError(f"unknown reset option {unknown[0]!r}. {did_you_mean(unknown[0], known)}")
            if "start" in options:
                first = max(int(np.searchsorted(self.tape.dates, as_day(options["start"]))), self.first)
            days = options.get("length", days)
            if "markets" in options:
                assets = self._assets_of(options["markets"])
        if days is not None and days < 1:
            raise ConfigError(f"the episode's length is {days}, expected at least 1 day.")
        if first >= end:
            raise ConfigError(
                f"the episode would have no day to trade; the panel ends on {self.tape.dates[-1]}."
            )
        return Span(first, end if days is None else min(first + days, end), assets)

    def share(self, t: Any, assets: BoolArray | None) -> Any:
        """[..., N] weights of the panel's mean on decision day t."""
        if assets is None:
            return self.reward.share[self.tape.share_since[t] if isinstance(t, int) else t]
        return share_of(self.tape.listed[t] & assets, self.config.panel, self.config.weighting)

    def _assets_of(self, markets: str | Iterable[str]) -> BoolArray:
        panel = self.config.panel
        names = [markets] if isinstance(markets, str) else list(markets)
        assets = np.zeros(panel.shape[1], dtype=bool)
        for name in names:
            if name not in panel.markets:
                raise ConfigError(f"unknown market {name!r}. {did_you_mean(name, panel.markets)}")
            assets[panel.markets[name].columns] = True
        return assets

    def _first_row(self) -> int:
        """The row `warmup` trading days before the first decision of every market."""
        rows = [self.tape.first]
        for market in self.config.panel.markets.values():
            trading = np.flatnonzero(market.compact(self.tape.decides).any(axis=1))
            if len(trading):
                rows.append(int(market.rows[max(trading[0] - self.config.warmup, 0)]))
        return min(rows)

    def _lay_out(self) -> dict[str, NDArray[Any]]:
        """Every part of an observation over time; for windows behind `window` - 1 empty days."""
        tape, config = self.tape, self.config
        if config.observation == "index":
            return {}
        parts: dict[str, NDArray[Any]] = {"returns": tape.returns, "tradable": tape.tradable.astype(np.int8)}
        if config.features:
            parts["features"] = config.panel.features(tuple(config.features))
        if config.observation != "window":
            return parts
        before = config.window - 1
        return {
            name: np.concatenate([np.zeros((before, *part.shape[1:]), part.dtype), part])
            for name, part in parts.items()
        }

    @cached_property
    def _shown(self) -> dict[str, NDArray[Any]]:
        """Arrays whose row t is the window, or the row, of day t: views, to be gathered from."""
        if self.config.observation != "window":
            return self._parts
        slide = np.lib.stride_tricks.sliding_window_view
        return {
            name: np.moveaxis(slide(part, self.config.window, axis=0), -1, 1)
            for name, part in self._parts.items()
        }


def check_signals(signals: FloatArray, panel: Panel) -> None:
    """Refuse signals [..., N] that are not numbers in [-1, 1].

    Raises:
        ConfigError: with the asset's name and what was found.
    """
    # argmax and argmin find a NaN, which then fails the comparison; no reduction is quicker.
    if signals.item(signals.argmax()) <= 1.0 and signals.item(signals.argmin()) >= -1.0:
        return
    bad: IntArray = np.argwhere(~(np.abs(signals) <= 1.0))[0]
    raise ConfigError(
        f"the action for asset {panel.assets[int(bad[-1])]!r} is {signals[tuple(bad)]}, "
        "expected a signal in [-1, 1]."
    )

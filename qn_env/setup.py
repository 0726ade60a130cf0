"""What every mode of the environment is set up from, and what an observation shows."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict, TypeVar, get_args

import numpy as np
from gymnasium import spaces

from qn_env.arrays import BoolArray, FloatArray, IntArray, Numbers, read_only
from qn_env.checks import (
    MOST_BARS,
    MOST_COST_BPS,
    MOST_LAG,
    MOST_NUMBERS,
    MOST_VOLATILITY,
    MOST_WINDOW,
    check_flag,
    check_is,
    check_items,
    check_known,
    check_whole,
    is_function,
)
from qn_env.costs import Cost, PerAsset, check_costs, per_asset
from qn_env.dates import as_moment
from qn_env.errors import ConfigError, did_you_mean
from qn_env.features import Feature
from qn_env.panel import Panel, per_market
from qn_env.rewards import REWARDS, WEIGHTINGS, Reward, RewardName, Weighting, share_of
from qn_env.tape import Start, Tape

Observation = dict[str, Any]  # arrays by name; Gymnasium says of its Dict that it holds spaces
Info: TypeAlias = dict[str, Any]  # as Gymnasium has it: wrappers add what they like
Options: TypeAlias = dict[str, Any]  # of `reset`, as Gymnasium has them
Init = TypeVar("Init", bound=Callable[..., None])
View = Literal["window", "row", "index"]
VIEWS = get_args(View)

# Least and largest value of every whole-number setting.
_WHOLE = {
    "window": (1, MOST_WINDOW),
    "warmup": (0, MOST_BARS),
    "execution_lag": (0, MOST_LAG),
    "episode_days": (1, MOST_BARS),
}
_WORDS: dict[str, tuple[str, ...]] = {"observation": VIEWS, "reward": REWARDS, "weighting": WEIGHTINGS}
_FEATURES = "a list of features (qn_env.features)"

# Bounds of the observation space: no return, feature or weight of sound data comes near.
LIMIT = 1e9


class EnvSettings(TypedDict, total=False):
    """The fields of `EnvConfig` but the panel, for type checkers and editors: what environments take."""

    window: int
    cost_bps: PerAsset
    costs: Sequence[Cost]
    vol_target: PerAsset | None
    features: Sequence[Feature]
    observation: View
    positions: bool
    reward: RewardName
    weighting: Weighting
    start: Start
    warmup: int
    execution_lag: int
    random_start: bool
    episode_days: int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class EnvConfig:
    """One environment; the scalar, the vector and the differentiable mode are built from the same.

    Attributes:
        panel: the data.
        window: days an observation shows.
        cost_bps: cost per unit of turnover in basis points, one for all, by asset name or [N].
        costs: further costs, added to it (`qn_env.costs`).
        vol_target: annualised volatility target (0.15 is 15%), one for all, by asset name or [N]; None
            trades the signals themselves.
        features: causal features to show beside the returns.
        observation: "window", "row" or "index".
        positions: whether an observation shows the weights held.
        reward: "net", "log", "volatility_scaled" or "differential_sharpe".
        weighting: "market" weighs markets alike, "asset" weighs listed assets alike.
        start: first day whose return counts, one for all or per market; default: the second.
        warmup: trading days of every market to play before that, where there are any: they are seen, their
            actions are ignored, nothing is charged.
        execution_lag: trading days of the market between a decision and its trade; 0 trades at the close the
            decision is made at.
        random_start: begin each episode on a random day, drawn from the seed given to `reset`.
        episode_days: steps of an episode; default: to the end of the data.
    """

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
        check_is("panel", self.panel, Panel, "a Panel (qn_env.sources)")
        for name, (least, most) in _WHOLE.items():
            if name != "episode_days" or self.episode_days is not None:
                self._take(name, check_whole(name, getattr(self, name), least, most))
        for name, known in _WORDS.items():
            check_known(name, getattr(self, name), known)
        for name in ("positions", "random_start"):
            self._take(name, check_flag(name, getattr(self, name)))
        self._take("features", check_items("features", self.features, is_function, _FEATURES))
        self._take("costs", check_costs(self.costs))
        per_asset("cost_bps", self.cost_bps, self.panel, MOST_COST_BPS)
        if self.vol_target is not None:
            per_asset("vol_target", self.vol_target, self.panel, MOST_VOLATILITY)
        if self.start is not None:
            per_market(self.start, self.panel, "start")
        self.check_size(1)

    def check_size(self, envs: int) -> None:
        """Refuse observations of so many environments that no memory holds.

        Raises:
            ConfigError: with the number of their numbers.
        """
        N, F = self.panel.shape[1], len(self.features)
        days = self.window if self.observation == "window" else 1
        numbers = envs * days * N * (2 + F)
        if numbers > MOST_NUMBERS:
            raise ConfigError(
                f"an observation of {envs} environments, {days} days, {N} assets and {2 + F} parts has "
                f"{numbers} numbers, expected at most {MOST_NUMBERS}. Take a shorter window, fewer "
                'environments, or observation="row".'
            )

    def _take(self, name: str, value: object) -> None:
        """Keep a setting in the type it is declared in."""
        object.__setattr__(self, name, value)


def check_settings(names: Iterable[str]) -> None:
    """Refuse the name of a setting that environments do not have.

    Raises:
        ConfigError: with the nearest one they have.
    """
    known = [setting.name for setting in fields(EnvConfig)]
    for name in names:
        if name not in known:
            raise ConfigError(f"unknown setting {name!r}. {did_you_mean(name, known)}")


def tells_settings(init: Init) -> Init:
    """The same constructor; its signature names every setting and default, for `help` and for completion."""
    signature = inspect.signature(init)
    *own, _ = signature.parameters.values()
    settings = [s for name, s in inspect.signature(EnvConfig).parameters.items() if name != "panel"]
    vars(init)["__signature__"] = signature.replace(parameters=[*own, *settings])
    return init


class Span(NamedTuple):
    """One episode: its first row, its last row, and the assets it trades (None: all)."""

    first: int
    last: int
    assets: BoolArray | None = None


class EnvSetup:
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
        parts: dict[str, spaces.Space[Numbers]] = {}
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
        observation = {name: part[rows] for name, part in self._shown_arrays.items()}
        if self._is_index:
            observation["index"] = rows.astype(np.int64)[:, None]
        if self._shows_positions:
            observation["positions"] = weight.copy()
        return observation

    def draw(self, rng: np.random.Generator, options: Options | None) -> Span:
        """The next episode: as configured, then as `options` (start, length, markets) ask.

        Raises:
            ConfigError: an unknown option, market or date, or an episode without a day.
        """
        if options is not None:
            check_is("options", options, Mapping, "a dict")
        config, end = self.config, len(self.tape.dates) - 1
        first, days, assets = self.first, config.episode_days, None
        if config.random_start:
            latest = end - (days if days is not None else 1)
            first = int(rng.integers(first, max(latest, first) + 1))
        if options:
            known = ("start", "length", "markets")
            for name in options:
                if name not in (*known, "reset_mask"):
                    raise ConfigError(f"unknown reset option {name!r}. {did_you_mean(str(name), known)}")
            if "start" in options:
                day = as_moment(options["start"], self.tape.dates, "start")
                first = max(int(np.searchsorted(self.tape.dates, day)), self.first)
            if options.get("length") is not None:
                days = check_whole("the episode's length", options["length"], 1, MOST_BARS)
            if "markets" in options:
                assets = self._assets_of(options["markets"])
        if first >= end:
            raise ConfigError(
                f"the episode would have no day to trade; the panel ends on {self.tape.dates[-1]}."
            )
        return Span(first, end if days is None else min(first + days, end), assets)

    def share(self, t: int | IntArray, assets: BoolArray | None) -> FloatArray:
        """[..., N] weights of the panel's mean on decision day t."""
        if assets is None:
            return self.reward.share[self.tape.share_since[t] if isinstance(t, int) else t]
        return share_of(self.tape.listed[t] & assets, self.config.panel, self.config.weighting)

    def _assets_of(self, markets: str | Iterable[str]) -> BoolArray:
        panel = self.config.panel
        assets = np.zeros(panel.shape[1], dtype=bool)
        for name in panel.known_markets(markets):
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

    def _lay_out(self) -> dict[str, Numbers]:
        """Every part of an observation over time; for windows behind `window` - 1 empty days."""
        tape, config = self.tape, self.config
        if config.observation == "index":
            return {}
        parts: dict[str, Numbers] = {"returns": tape.returns, "tradable": tape.tradable.astype(np.int8)}
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
    def _shown_arrays(self) -> dict[str, Numbers]:
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

"""The Gymnasium environment: it remembers, the functions of `economics` decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, TypedDict, Unpack

import gymnasium
import numpy as np
from gymnasium import spaces

from qn_env.arrays import BoolArray, FloatArray, Numbers
from qn_env.checks import check_is, check_known, check_number, check_whole, in_words
from qn_env.economics import Account, Ledger, advance, aggregate
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.rendering import Frame, Screen
from qn_env.setup import (
    EnvConfig,
    EnvSettings,
    EnvSetup,
    Info,
    Observation,
    Options,
    check_settings,
    check_signals,
    tells_settings,
)
from qn_env.tape import Tape

if TYPE_CHECKING:
    import torch

    from qn_env.episodes import Episodes

Action = Numbers

MOST_RESET_SEED = 2**64 - 1  # Gymnasium's generators take any


class State(TypedDict):
    """Where an episode is: what `TradingEnv.get_state` gives and `set_state` takes."""

    t: int  # today's row of the panel
    last: int  # the row the episode ends on
    assets: BoolArray | None  # [N] what it trades; None: everything
    account: Account[FloatArray]
    memory: FloatArray  # of the reward
    equity: float
    chance: Mapping[str, object]  # of the random starts


class TradingEnv(gymnasium.Env[Observation, Action]):
    """Trade every asset of a panel day by day: signals in, net returns out.

    At the close of day t the agent sees returns up to t and sets signals in [-1, 1]. They become weights
    (times `vol_target` over each asset's ex-ante volatility, if there is a target), which earn the return
    of each market's next trading day and pay `cost_bps` per unit of turnover, charged against that return.
    A closed asset keeps its weight and its action is ignored. Weights are set daily; the drift of a
    position between two closes is not traded.

    The settings are keyword arguments: the fields of `qn_env.setup.EnvConfig`, which says what each means.

    Observation (`spaces.Dict` of Boxes), by `observation`:
        window: returns [window, N] (0 where an asset does not trade), tradable [window, N] int8 (the last row
            is today), features [window, N, F] if asked for (0 where undefined).
        row: the last row of each, [N] and [N, F].
        index: index [1], today's row of the panel; who has the panel looks the rest up.
        and positions [N], the weights held as fractions of capital, unless switched off.
        Stable-Baselines3 takes a Dict with `MultiInputPolicy` (RecurrentPPO: `MultiInputLstmPolicy`).

    Action: Box(-1, 1, [N]), the signals.

    Reward: by default the panel's net return of the day: mean over a market's listed assets, then over
    markets. See `qn_env.rewards.Reward` for the others.

    Info: `date` (the day the reward is booked on), `gross`, `turnover`, `cost`, `net` per asset [N],
    `equity` (prod of 1 + the panel's net return).

    The episode is truncated where the data or its length end, and terminated by ruin (net return <= -1).
    """

    metadata: Info = {"render_modes": ["human", "rgb_array"], "render_fps": 30}  # noqa: RUF012 - Gymnasium's
    _screen: Screen | None = None  # only with a render mode: an episode that nobody sees pays nothing

    def __repr__(self) -> str:
        config = self.config
        rate = config.cost_bps
        paid = f"{rate:g} bps" if isinstance(rate, int | float) else "costs per asset"
        target = f", target volatility {config.vol_target:g}" if isinstance(config.vol_target, float) else ""
        return f"<TradingEnv: window {config.window}, {paid}{target}, {config.panel!r}>"

    @tells_settings
    def __init__(
        self,
        panel: Panel | None = None,
        *,
        render_mode: str | None = None,
        **settings: Unpack[EnvSettings],
    ) -> None:
        """Lay the panel out once; every later step copies, looks up and multiplies.

        Args:
            panel: the data; default: the embedded panel (`qn_env.sources.embedded`).
            render_mode: "rgb_array": `render` gives the episode so far as an image; "human": a matplotlib
                window follows it, where there is a display. Both need matplotlib.
            settings: the fields of `qn_env.setup.EnvConfig`, which says what each of them means.

        Raises:
            ConfigError: a setting that cannot be used, a panel too short to take a step.
        """
        check_settings(settings)
        if panel is None:
            from qn_env.sources import embedded

            panel = embedded()
        self.config = EnvConfig(panel=panel, **settings)
        self.setup = EnvSetup(self.config)
        self.observation_space: spaces.Dict
        self.observation_space, self.action_space = self.setup.spaces()
        self._shape = (panel.shape[1],)
        self._t = self._last = -1
        self._over = True
        self._watch(render_mode)

    def _watch(self, mode: str | None) -> None:
        if mode is not None:
            check_known("render_mode", mode, self.metadata["render_modes"])
        self.render_mode = mode
        self._screen = None if mode is None else Screen(mode, self.panel)

    @property
    def panel(self) -> Panel:
        """The data."""
        return self.config.panel

    @property
    def tape(self) -> Tape:
        """The data laid out for computing."""
        return self.setup.tape

    @property
    def row(self) -> int:
        """Today's row of the panel, -1 before the first reset."""
        return self._t

    @property
    def positions(self) -> FloatArray:
        """[N] the weights held, as fractions of capital; a copy."""
        if self._t < 0:
            raise ConfigError("nothing is held before the first reset; call reset first.")
        return self._account.weight.copy()

    @property
    def share(self) -> FloatArray:
        """[N] today's share of each asset in the panel's mean, 0 where it is not listed; a copy."""
        if self._t < 0:
            raise ConfigError("there is no day before the first reset; call reset first.")
        return np.array(self.setup.share(self._t, self._assets))

    def reset(self, *, seed: int | None = None, options: Options | None = None) -> tuple[Observation, Info]:
        """Begin an episode, flat.

        Args:
            seed: of the random starts; the only chance.
            options: `start` (date), `length` (days), `markets` (names) of this episode.

        Raises:
            ConfigError: an option that cannot be used.
        """
        super().reset(seed=None if seed is None else check_whole("seed", seed, 0, MOST_RESET_SEED))
        self._t, self._last, self._assets = self.setup.draw(self.np_random, options)
        self._over = False
        nothing = np.zeros(self._shape)
        lag = self.config.execution_lag
        self._account = Account(nothing, nothing, np.zeros((lag + 1, *self._shape)))
        self._memory = self.setup.reward.start()
        self._equity = 1.0
        if self._screen is not None:
            self._screen.clear()
            self._show_today(self._screen)
        return self.setup.observe(self._t, nothing), self._info(Ledger(*np.zeros((4, *self._shape))))

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, Info]:
        """Trade at the close of t, move to t + 1, and book its returns and costs.

        Raises:
            ConfigError: before `reset`, after the end, or an action that is not [N] numbers in [-1, 1].
        """
        setup, t = self.setup, self._t
        signals = self._check_action(action)
        day = setup.tape.day(t)
        if self._assets is not None:
            day = day.of_assets(self._assets)
        self._account, ledger = advance(self._account, signals, day)
        share = setup.share(t, self._assets)
        portfolio = float(aggregate(ledger.net, share))
        reward = portfolio
        if setup.config.reward != "net":
            paid, self._memory = setup.reward(portfolio, ledger.net, t, share, self._memory)
            reward = float(paid)
        self._equity *= 1.0 + portfolio
        self._t = t + 1
        terminated = portfolio <= -1.0
        truncated = self._t == self._last
        self._over = terminated or truncated
        if self._screen is not None:
            self._show_today(self._screen)
        observation = setup.observe(t + 1, self._account.weight)
        return observation, reward, terminated, truncated, self._info(ledger)

    def render(self) -> Frame | None:
        """The episode so far: uint8 [600, 800, 3] as "rgb_array"; None, and the window redrawn, as "human".

        Equity, drawdown and the mean weight held in each market.

        Raises:
            ConfigError: before the first reset, or matplotlib is not installed.
        """
        if self._screen is None:
            gymnasium.logger.warn(
                "render was called without a render mode: nothing is drawn. Make the environment with "
                'render_mode="rgb_array" or "human".'
            )
            return None
        return self._screen.render()

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._screen is not None:
            self._screen.close()

    def split(self, latest: float = 0.1) -> tuple[TradingEnv, TradingEnv]:
        """This environment without the latest share of each market's days, and one that trades only them.

        What an agent selects on when it is given no validation environment; the second one knows the days
        before as history.

        Raises:
            ConfigError: a share that is not between 0 and 1.
        """
        check_number("latest", latest, 0.0, 1.0, above=True, unit="a share of the days")
        cut: dict[str, np.datetime64] = {}
        begin: dict[str, np.datetime64] = {}
        for name, market in self.panel.markets.items():
            own = self.panel.dates[market.rows]
            keep = max(int(len(own) * (1.0 - latest)), 1)
            cut[name] = own[min(keep, len(own)) - 1] if len(own) else self.panel.dates[0]
            begin[name] = own[keep] if keep < len(own) else self.panel.dates[-1] + 1
        return self.like(panel=self.panel.until(cut)), self.like(start=begin)

    def like(self, *, panel: Panel | None = None, **changes: Unpack[EnvSettings]) -> TradingEnv:
        """The same environment with some settings changed, or on another panel; it has no render mode."""
        settings = {name: getattr(self.config, name) for name in EnvSettings.__annotations__}
        return type(self)(panel=self.panel if panel is None else panel, **{**settings, **changes})

    @property
    def fingerprint(self) -> str:
        """Equal for environments of equal data and equal settings, whatever they are rendered to."""
        from joblib import hash as digest

        settings = {s.name: getattr(self.config, s.name) for s in fields(self.config) if s.name != "panel"}
        return str(digest((self.panel.fingerprint, settings)))

    def episodes(
        self,
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str = "cpu",
        units: Mapping[str, FloatArray] | None = None,
    ) -> Episodes:
        """The differentiable mode: the same panel and economics as tensors (needs PyTorch).

        Arguments as in `qn_env.episodes.Episodes`.
        """
        from qn_env.episodes import Episodes

        return Episodes(self.setup, generator=generator, device=device, units=units)

    def get_state(self) -> State:
        """All that is needed to go on from here in another environment like this one; copies."""
        if self._over:
            raise ConfigError("there is no episode to keep; call reset first.")
        return {
            "t": self._t,
            "last": self._last,
            "assets": None if self._assets is None else self._assets.copy(),
            "account": Account(*(part.copy() for part in self._account)),
            "memory": self._memory.copy(),
            "equity": self._equity,
            "chance": self.np_random.bit_generator.state,
        }

    def set_state(self, state: State) -> Observation:
        """Go on from a state of `get_state`, and return what is seen there.

        Raises:
            ConfigError: what is no such state.
        """
        check_is("state", state, Mapping, "what get_state returns")
        if lacking := [part for part in State.__annotations__ if part not in state]:
            raise ConfigError(f"state lacks {', '.join(lacking)}; expected what get_state returns.")
        self._t, self._last, self._over = state["t"], state["last"], False
        self._assets = None if state["assets"] is None else state["assets"].copy()
        self._account = Account(*(part.copy() for part in state["account"]))
        self._memory, self._equity = state["memory"].copy(), state["equity"]
        self.np_random.bit_generator.state = state["chance"]
        if self._screen is not None:
            self._screen.clear()
            self._show_today(self._screen)
        return self.setup.observe(self._t, self._account.weight)

    def _show_today(self, screen: Screen) -> None:
        share = self.setup.share(self._t, self._assets)
        screen.add(self.tape.dates[self._t], self._equity, self._account.weight, share)

    def _check_action(self, action: Action) -> FloatArray:
        if self._over:
            raise ConfigError("step was called before reset or after the episode's end; call reset first.")
        # A copy: the signals may become the weights that are remembered.
        try:
            signals = np.array(action, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"the action is {in_words(action)}, expected {self._shape} numbers.") from error
        if signals.shape != self._shape:
            raise ConfigError(f"the action has shape {signals.shape}, expected {self._shape}.")
        check_signals(signals, self.panel)
        return signals

    def _info(self, ledger: Ledger[FloatArray]) -> Info:
        return {
            "date": self.setup.dates[self._t],
            "equity": self._equity,
            "gross": ledger.gross,
            "turnover": ledger.turnover,
            "cost": ledger.cost,
            "net": ledger.net,
        }

"""The native vector environment: many episodes of one panel, stepped as one batch of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Self, Unpack

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from qn_env.arrays import BoolArray, FloatArray, IntArray, Numbers
from qn_env.checks import MOST_ENVS, check_is, check_known, check_whole, in_words
from qn_env.economics import Account, Ledger, advance, aggregate
from qn_env.environment import MOST_RESET_SEED, TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.setup import EnvSettings, Info, Observation, Options, Span, check_signals, tells_settings

ArrayType = Numbers


class TradingVectorEnv(VectorEnv[Observation, ArrayType, ArrayType]):
    """`num_envs` episodes of `TradingEnv` at once, in batched NumPy: the same actions, the same net returns.

    Observations, rewards and infos are those of `TradingEnv` with a leading axis [B]; `date` is [B]
    datetime64[D]. Each environment draws its own random starts from its own seed. Autoreset, as Gymnasium
    defines it:
        NEXT_STEP: the step after an episode's end ignores the action and returns the next episode's first
            observation with reward 0.
        SAME_STEP: the step that ends an episode returns the next one's first observation; what was seen at
            the end is in `info["final_obs"]` and `info["final_info"]`, at the places `_final_obs` marks.
        DISABLED: the caller resets, with `reset(options={"reset_mask": mask})`.
    """

    single_observation_space: spaces.Dict
    _rows: IntArray  # [B] the day each environment is at
    _last: IntArray  # [B] the day each episode ends on
    _over: BoolArray  # [B] episodes that have ended and not begun again
    _assets: BoolArray | None  # [B, N] what each episode trades; None: everything
    _account: Account[FloatArray]
    _memory: FloatArray
    _equity: FloatArray  # [B]

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - Gymnasium's

    @tells_settings
    def __init__(
        self,
        num_envs: int = 1,
        *,
        panel: Panel | None = None,
        autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
        **settings: Unpack[EnvSettings],
    ) -> None:
        """Lay the panel out once for all environments.

        Args:
            num_envs: B, how many.
            panel: the data; default: the embedded panel.
            autoreset_mode: "NextStep", "SameStep" or "Disabled".
            render_mode: None; a batch draws no pictures.
            settings: the fields of `qn_env.setup.EnvConfig`, as in `TradingEnv`.

        Raises:
            ConfigError: no environment, or a setting that cannot be used.
        """
        if render_mode is not None:
            raise ConfigError("a batch draws no pictures; render one TradingEnv instead.")
        num_envs = check_whole("num_envs", num_envs, 1, MOST_ENVS)
        modes = [mode.value for mode in AutoresetMode]
        if not isinstance(autoreset_mode, AutoresetMode):
            autoreset_mode = AutoresetMode(check_known("autoreset_mode", autoreset_mode, modes))
        env = TradingEnv(panel, **settings)
        env.config.check_size(num_envs)
        self.config, self.setup, self.panel = env.config, env.setup, env.panel
        self.num_envs = num_envs
        self.autoreset_mode = autoreset_mode
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space, self.single_action_space = env.observation_space, env.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._shape = (num_envs, self.panel.shape[1])
        self._generators: list[np.random.Generator] = []
        self._begun = False
        self._allocate()

    def with_autoreset(self, mode: AutoresetMode) -> Self:
        """The same environments in another autoreset mode, not begun yet."""
        other = copy(self)
        other.autoreset_mode = mode
        other.metadata = {**self.metadata, "autoreset_mode": mode}
        other._generators, other._begun = [], False
        other._allocate()
        return other

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: Options | None = None,
    ) -> tuple[Observation, Info]:
        """Begin all episodes, or those that `options["reset_mask"]` [B] marks.

        Args:
            seed: one (environment b gets seed + b), or one each.
            options: `start`, `length`, `markets` of these episodes, as in `TradingEnv.reset`; `reset_mask`.

        Raises:
            ConfigError: an option that cannot be used.
        """
        if options is not None:
            check_is("options", options, Mapping, "a dict")
        self._reseed(seed)
        mask = None if options is None else options.get("reset_mask")
        if mask is None:
            self._allocate()
        elif not self._begun:
            raise ConfigError("reset_mask needs a first reset of all environments.")
        which = np.arange(self.num_envs) if mask is None else np.flatnonzero(self._mask(mask))
        self._begin(which, options)
        self._begun = True
        nothing = Ledger(*np.zeros((4, *self._shape)))
        return self.setup.observe_batch(self._rows, self._account.weight), self._info(nothing)

    def step(self, actions: ArrayType) -> tuple[Observation, ArrayType, ArrayType, ArrayType, Info]:
        """One day of every episode.

        Raises:
            ConfigError: before `reset`, on an ended episode in DISABLED mode, or signals that are not [B, N]
                numbers in [-1, 1].
        """
        signals = self._check_actions(actions)
        idle = self._over.copy()
        rewards, ledger, terminated = self._advance(signals, idle)
        truncated = (self._rows == self._last) & ~idle
        self._over = terminated | truncated
        self._begin(np.flatnonzero(idle), None)
        info = self._info(ledger)
        observation = self.setup.observe_batch(self._rows, self._account.weight)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and self._over.any():
            observation, info = self._begin_at_once(observation, info)
        return observation, rewards, terminated, truncated, info

    def _advance(
        self, signals: FloatArray, idle: BoolArray
    ) -> tuple[FloatArray, Ledger[FloatArray], BoolArray]:
        """Book one day of all episodes; idle ones earn nothing and stay where they are."""
        setup = self.setup
        # An ended episode may have no next day: it is computed on an earlier one, and thrown away.
        t = np.where(idle, setup.first, self._rows)
        day = setup.tape.days(t)
        if self._assets is not None:
            day = day.of_assets(self._assets)
        self._account, ledger = advance(self._account, signals, day)
        share = setup.share(t, self._assets)
        portfolio = aggregate(ledger.net, share)
        rewards, self._memory = setup.reward(portfolio, ledger.net, t, share, self._memory)
        if idle.any():
            ledger = Ledger(*(np.where(idle[:, None], 0.0, part) for part in ledger))
            portfolio, rewards = np.where(idle, 0.0, portfolio), np.where(idle, 0.0, rewards)
        self._equity = self._equity * (1.0 + portfolio)
        self._rows = self._rows + ~idle
        return np.array(rewards, dtype=np.float64), ledger, portfolio <= -1.0

    def _begin_at_once(self, observation: Observation, info: Info) -> tuple[Observation, Info]:
        """Start the next episodes where some have ended, and keep what was seen at their end."""
        ended = self._over.copy()
        final = {
            "final_obs": {name: part.copy() for name, part in observation.items()},
            "_final_obs": ended,
            "final_info": {name: part.copy() for name, part in info.items()},
            "_final_info": ended.copy(),
        }
        self._begin(np.flatnonzero(ended), None)
        for name, part in self.setup.observe_batch(self._rows[ended], self._account.weight[ended]).items():
            observation[name][ended] = part
        kept = Ledger(*(np.where(ended[:, None], 0.0, info[name]) for name in Ledger._fields))
        return observation, {**self._info(kept), **final}

    def _begin(self, which: IntArray, options: Options | None) -> None:
        """Start the next episode of the given environments."""
        for b in which:
            span = self.setup.draw(self._generators[b], options)
            self._rows[b], self._last[b] = span.first, span.last
            self._hold_only(int(b), span)
        self._account.weight[which] = 0.0
        self._account.settled[which] = 0.0
        self._account.orders[:, which] = 0.0
        self._memory[:, which] = 0.0
        self._equity[which] = 1.0
        self._over[which] = False

    def _hold_only(self, b: int, span: Span) -> None:
        """Environment b trades the assets of its episode; no mask is kept while all trade everything."""
        if span.assets is not None and self._assets is None:
            self._assets = np.ones(self._shape, dtype=bool)
        if self._assets is not None:
            self._assets[b] = True if span.assets is None else span.assets

    def _allocate(self) -> None:
        """All environments flat, none of them begun."""
        lag, flat = self.config.execution_lag, np.zeros(self._shape)
        self._rows = np.zeros(self.num_envs, dtype=np.intp)
        self._last = np.zeros(self.num_envs, dtype=np.intp)
        self._over = np.ones(self.num_envs, dtype=bool)
        self._assets = None
        self._account = Account(flat, flat.copy(), np.zeros((lag + 1, *self._shape)))
        self._memory = self.setup.reward.start(self.num_envs)
        self._equity = np.ones(self.num_envs)

    def _mask(self, mask: object) -> BoolArray:
        """[B] the environments to reset."""
        marks = np.asarray(mask)
        if marks.shape != (self.num_envs,) or marks.dtype.kind != "b":
            raise ConfigError(
                f"reset_mask is {in_words(mask)}, expected True or False for each of {self.num_envs} "
                "environments."
            )
        return marks

    def _reseed(self, seed: int | list[int | None] | None) -> None:
        seeds = self._seeds(seed)
        if seeds is None:
            if not self._generators:
                self._generators = [gymnasium.utils.seeding.np_random()[0] for _ in range(self.num_envs)]
            return
        fresh = [gymnasium.utils.seeding.np_random(s)[0] for s in seeds]
        old = self._generators or fresh
        self._generators = [
            new if s is not None else kept for s, new, kept in zip(seeds, fresh, old, strict=True)
        ]

    def _seeds(self, seed: int | list[int | None] | None) -> list[int | None] | None:
        """One seed or None for each environment; None for none."""
        if seed is None:
            return None
        if not isinstance(seed, list | tuple):
            first = check_whole("seed", seed, 0, MOST_RESET_SEED)
            return [first + b for b in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ConfigError(f"{len(seed)} seeds for {self.num_envs} environments.")
        return [None if s is None else check_whole("seed", s, 0, MOST_RESET_SEED) for s in seed]

    def _check_actions(self, actions: ArrayType) -> FloatArray:
        if not self._begun:
            raise ConfigError("step was called before reset; call reset first.")
        if self.autoreset_mode is AutoresetMode.DISABLED and self._over.any():
            raise ConfigError(
                f"environment {int(np.argmax(self._over))} has ended and autoreset is disabled; reset it "
                'with reset(options={"reset_mask": mask}).'
            )
        # A copy: the signals may become the weights that are remembered.
        try:
            signals = np.array(actions, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            text = f"the actions are {in_words(actions)}, expected {self._shape} numbers."
            raise ConfigError(text) from error
        if signals.shape != self._shape:
            raise ConfigError(f"the actions have shape {signals.shape}, expected {self._shape}.")
        check_signals(signals, self.panel)
        return signals

    def _info(self, ledger: Ledger[FloatArray]) -> Info:
        dates = self.setup.tape.dates[self._rows]
        return {"date": dates, "equity": self._equity.copy(), **ledger._asdict()}

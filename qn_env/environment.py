"""The Gymnasium environment: it remembers, the functions of `economics` decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from qn_env.economics import Ledger, aggregate, hold, settle
from qn_env.errors import ConfigError
from qn_env.features import Feature
from qn_env.panel import FloatArray, Panel
from qn_env.tape import Start, Tape

if TYPE_CHECKING:
    import torch

    from qn_env.episodes import Episodes

Observation = dict[str, Any]
Action = NDArray[np.floating[Any]]

# Bounds of the observation space: no return, feature or weight of sound data comes near.
LIMIT = 1e9


class TradingEnv(gymnasium.Env[Observation, Action]):
    """Trade every asset of a panel day by day: signals in, net returns out.

    At the close of day t the agent sees returns up to t and sets signals in [-1, 1]. They become weights
    (times `vol_target` over each asset's ex-ante volatility, if there is a target), which earn the return
    of each market's next trading day and pay `cost_bps` per unit of turnover, charged against that return.
    A closed asset keeps its weight and its action is ignored. Weights are set daily; the drift of a
    position between two closes is not traded.

    Observation (`spaces.Dict` of Boxes):
        returns: [window, N] daily simple returns, 0 where an asset does not trade.
        tradable: [window, N] int8, 1 where it does; the last row is today.
        positions: [N] weights held, as fractions of capital.
        features: [window, N, F] only if features are asked for; 0 where undefined.

    Action: Box(-1, 1, [N]), the signals.

    Reward: the panel's net return of the day: mean over a market's listed assets, then over markets.

    Info: `date` (the day the reward is booked on), `gross`, `turnover`, `cost`, `net` per asset [N],
    `equity` (prod of 1 + reward).

    The episode is truncated where the data end and terminated by ruin (reward <= -1).
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - the name and type are Gymnasium's

    def __init__(
        self,
        panel: Panel | None = None,
        *,
        window: int = 63,
        cost_bps: float = 2.0,
        vol_target: float | None = None,
        features: Sequence[Feature] = (),
        start: Start = None,
        warmup: int = 0,
        execution_lag: int = 0,
    ) -> None:
        """Lay the panel out once; every later step copies, looks up and multiplies.

        Args:
            panel: the data; default: the embedded panel (`qn_env.sources.embedded`).
            window: days an observation shows.
            cost_bps: cost per unit of turnover in basis points.
            vol_target: annualised volatility target per asset (0.15 is 15%), or None.
            features: causal features to show beside the returns.
            start: first day whose return counts, one for all or per market; default: the second.
            warmup: trading days of every market to play before that, where there are any: they are seen,
                their actions are ignored, nothing is charged.
            execution_lag: trading days of the market between a decision and its trade; 0 trades at the close
                the decision is made at.

        Raises:
            ConfigError: a window below 1, a panel too short to take a step, bad costs or targets.
        """
        if panel is None:
            from qn_env.sources import embedded

            panel = embedded()
        if window < 1:
            raise ConfigError(f"window is {window}, expected at least 1 day.")
        self.panel = panel
        self.window = window
        self.cost_bps = cost_bps
        self.vol_target = vol_target
        self.feature_list = tuple(features)
        self.start = start
        self.execution_lag = execution_lag
        self.tape = Tape.of(
            panel, cost_bps=cost_bps, vol_target=vol_target, start=start, execution_lag=execution_lag
        )
        if not self.tape.live[:-1].any():
            raise ConfigError(f"the panel leaves no day to trade: {len(panel.dates)} days, start {start}.")
        self.first = self._first_row(warmup)
        self._pad()
        N, F = panel.shape[1], len(self.feature_list)
        parts: dict[str, spaces.Space[Any]] = {
            "returns": spaces.Box(-1.0, LIMIT, (window, N), np.float64),
            "tradable": spaces.Box(0, 1, (window, N), np.int8),
            "positions": spaces.Box(-LIMIT, LIMIT, (N,), np.float64),
        }
        if F:
            parts["features"] = spaces.Box(-LIMIT, LIMIT, (window, N, F), np.float64)
        self.observation_space = spaces.Dict(parts)
        # float32, as policies give it; float64 signals are taken as they are.
        self.action_space = spaces.Box(-1.0, 1.0, (N,), np.float32)
        self._t = -1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin at the first day to play, flat. There is no chance in the environment itself."""
        super().reset(seed=seed)
        N = self.panel.shape[1]
        self._t = self.first
        self._weight = np.zeros(N)
        self._settled = np.zeros(N)
        self._orders = np.zeros((self.execution_lag + 1, N))
        self._equity = 1.0
        zero = Ledger(np.zeros(N), np.zeros(N), np.zeros(N), np.zeros(N))
        return self._observe(), self._info(zero)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Trade at the close of t, move to t + 1, and book its returns and costs.

        Raises:
            ConfigError: before `reset`, after the end, or an action that is not [N] numbers in [-1, 1].
        """
        tape, t = self.tape, self._t
        self._check(action)
        target = self._due(np.asarray(action, dtype=np.float64) * tape.scale[t])
        weight = hold(target, self._weight, tape.live[t], tape.listed[t])
        # A market that is closed on t + 1 settles this trade on its own next trading day.
        effective = np.where(tape.awake[t + 1], weight, self._settled)
        ledger = settle(effective, self._settled, tape.returns[t + 1], tape.cost_rate, tape.exits[t + 1])
        still = tape.listed[t + 1]
        self._weight, self._settled = weight * still, effective * still
        reward = float(aggregate(ledger.net, tape.share[t]))
        self._equity *= 1.0 + reward
        self._t = t + 1
        terminated = reward <= -1.0
        truncated = self._t == len(tape.dates) - 1
        return self._observe(), reward, terminated, truncated, self._info(ledger)

    def split(self, latest: float = 0.1) -> tuple[TradingEnv, TradingEnv]:
        """This environment without the latest share of each market's days, and one that trades only them.

        What an agent selects on when it is given no validation environment; the second one knows the days
        before as history.
        """
        cut: dict[str, np.datetime64] = {}
        begin: dict[str, np.datetime64] = {}
        for name, market in self.panel.markets.items():
            own = self.panel.dates[market.rows]
            keep = max(int(len(own) * (1.0 - latest)), 1)
            cut[name] = own[min(keep, len(own)) - 1] if len(own) else self.panel.dates[0]
            begin[name] = own[keep] if keep < len(own) else self.panel.dates[-1] + 1
        return self._like(self.panel.until(cut), self.start), self._like(self.panel, begin)

    def _like(self, panel: Panel, start: Start) -> TradingEnv:
        return TradingEnv(
            panel,
            window=self.window,
            cost_bps=self.cost_bps,
            vol_target=self.vol_target,
            features=self.feature_list,
            start=start,
            execution_lag=self.execution_lag,
        )

    def episodes(self, *, generator: torch.Generator | None = None) -> Episodes:
        """The differentiable mode: the same panel and economics as tensors (needs PyTorch)."""
        from qn_env.episodes import Episodes

        return Episodes(self, generator=generator)

    def _first_row(self, warmup: int) -> int:
        """The row `warmup` trading days before the first decision of every market."""
        rows = [self.tape.first]
        for market in self.panel.markets.values():
            trading = np.flatnonzero(market.compact(self.tape.decides).any(axis=1))
            if len(trading):
                rows.append(int(market.rows[max(trading[0] - warmup, 0)]))
        return min(rows)

    def _due(self, target: FloatArray) -> FloatArray:
        """Take today's orders and return the ones to trade today: those of `execution_lag` days ago."""
        if self.execution_lag == 0:
            return target
        decides, awake = self.tape.decides[self._t], self.tape.awake[self._t]
        standing = np.where(decides, target, self._orders[0])
        moved = np.concatenate([standing[None], self._orders[:-1]])
        self._orders = np.where(awake, moved, self._orders)
        due: FloatArray = self._orders[-1]
        return due

    def _check(self, action: Action) -> None:
        if self._t < 0 or self._t >= len(self.tape.dates) - 1:
            raise ConfigError("step was called before reset or after the episode's end; call reset first.")
        found = np.shape(action)
        if found != self.action_space.shape:
            raise ConfigError(f"the action has shape {found}, expected {self.action_space.shape}.")
        # Written so that NaN fails it.
        if not np.abs(action).max() <= 1.0:
            asset = int(np.argmax(~(np.abs(action) <= 1.0)))
            raise ConfigError(
                f"the action for asset {self.panel.assets[asset]!r} is {action[asset]}, "
                "expected a signal in [-1, 1]."
            )

    def _pad(self) -> None:
        """Lay `window` - 1 empty days before the first, so that every window has the same shape."""

        def padded(array: Any) -> Any:
            return np.concatenate([np.zeros((self.window - 1, *array.shape[1:]), array.dtype), array])

        self._returns = padded(self.tape.returns)
        self._tradable = padded(self.tape.tradable.astype(np.int8))
        self._features = padded(self.panel.features(self.feature_list)) if self.feature_list else None

    def _observe(self) -> Observation:
        rows = slice(self._t, self._t + self.window)
        observation = {
            "returns": self._returns[rows].copy(),
            "tradable": self._tradable[rows].copy(),
            "positions": self._weight.copy(),
        }
        if self._features is not None:
            observation["features"] = self._features[rows].copy()
        return observation

    def _info(self, ledger: Ledger[FloatArray]) -> dict[str, Any]:
        return {"date": str(self.tape.dates[self._t]), "equity": self._equity, **ledger._asdict()}

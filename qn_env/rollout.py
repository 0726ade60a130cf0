"""The closed-loop differentiable mode: the environment stepped in PyTorch, with gradients."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from qn_env.arrays import Numbers
from qn_env.economics import Account, Ledger, advance, aggregate
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.tape import Tape

Tensor = torch.Tensor


class Transition(NamedTuple):
    """One step of every episode."""

    observation: dict[str, Tensor]
    net: Tensor  # [B] the panel's net return, float64; 0 after ruin
    ledger: Ledger[Tensor]  # [B, N] float64
    alive: Tensor  # [B] bool, False from the step after ruin on


class Rollout:
    """Episodes of an environment's panel on its union calendar, B at a time, with gradients.

    For policies that see their own position: what `step` returns depends on the signals of all earlier steps
    through the weights held. The numbers are those of `TradingEnv`; after ruin (net <= -1, paid once) an
    episode earns nothing and `alive` is False. A step never waits for the device: all it asks about its days
    it asks the host's copy of the tape.
    """

    def __init__(
        self, env: TradingEnv, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        """Lay the environment's panel out on a device.

        Args:
            env: whose panel and economics are played.
            device: where tensors live.
            dtype: of observations; money is float64.
        """
        self._window = env.config.window
        self._dtype = dtype
        self._device = torch.device(device)
        self._first = env.setup.first
        self._host_tape = env.tape
        self._tape: Any = _tensors(env.tape, self._device)
        self._share = torch.tensor(env.setup.reward.share, device=self._device)
        history = {
            "returns": torch.tensor(env.tape.returns, dtype=dtype, device=self._device),
            "tradable": torch.tensor(env.tape.tradable, dtype=torch.bool, device=self._device),
        }
        if env.config.features:
            features = env.panel.features(tuple(env.config.features))
            history["features"] = torch.tensor(features, dtype=dtype, device=self._device)
        # As in the environment: `window` - 1 empty days before the first.
        self._history = {
            name: torch.cat([part.new_zeros(self._window - 1, *part.shape[1:]), part])
            for name, part in history.items()
        }
        self._host_rows = np.zeros(0, dtype=np.intp)

    def reset(self, rows: Tensor | None = None) -> dict[str, Tensor]:
        """Begin one flat episode at each of the panel's rows [B]; default: one, at the first day.

        Raises:
            ConfigError: a row without a next day.
        """
        days = len(self._host_tape.returns)
        chosen = torch.tensor([self._first]) if rows is None else rows
        self._host_rows = chosen.cpu().numpy().astype(np.intp)
        if not ((self._host_rows >= 0) & (self._host_rows < days - 1)).all():
            raise ConfigError(f"rows must lie in 0 to {days - 2}; the last of {days} days has no next one.")
        self._rows = chosen.to(self._device, torch.long)
        shape = (len(self._rows), self._tape.returns.shape[1])
        flat = torch.zeros(shape, dtype=torch.float64, device=self._device)
        self._account = Account(flat, flat, flat.new_zeros(self._tape.lag + 1, *shape))
        self._alive = torch.ones(len(self._rows), dtype=torch.bool, device=self._device)
        return self._observe()

    def step(self, signals: Tensor) -> Transition:
        """Trade signals [B, N] in [-1, 1] at today's close, and book the next day.

        Raises:
            ConfigError: the data have ended, or signals of another shape.
        """
        if signals.shape != self._account.weight.shape:
            raise ConfigError(
                f"signals have shape {tuple(signals.shape)}, expected {tuple(self._account.weight.shape)}."
            )
        if (self._host_rows >= len(self._host_tape.returns) - 1).any():
            raise ConfigError("an episode has reached the end of the data; call reset.")
        day = self._tape.days(self._rows, self._host_tape.flags_of(self._host_rows))
        account, ledger = advance(self._account, signals.double(), day)
        alive = self._alive
        held = alive[:, None]
        ledger = Ledger(*(torch.where(held, part, 0.0) for part in ledger))
        net = aggregate(ledger.net, self._share[self._rows])
        self._account = account
        self._alive = alive & (net > -1.0)
        self._rows, self._host_rows = self._rows + 1, self._host_rows + 1
        return Transition(self._observe(), net, ledger, alive)

    def _observe(self) -> dict[str, Tensor]:
        rows = self._rows[:, None] + torch.arange(self._window, device=self._device)
        observation = {name: part[rows] for name, part in self._history.items()}
        positions = torch.where(self._alive[:, None], self._account.weight, 0.0)
        return observation | {"positions": positions.to(self._dtype)}


def _tensors(tape: Tape, device: torch.device) -> Any:
    """The same tape with tensors in place of arrays; its methods index and add, as both can."""

    def tensor(array: Numbers) -> Tensor:
        return torch.tensor(array, device=device)

    arrays = {
        f.name: tensor(getattr(tape, f.name)) for f in fields(tape) if f.name not in ("dates", "costs", "lag")
    }
    changes: dict[str, Any] = {**arrays, "costs": tape.costs.each(tensor)}
    return replace(tape, **changes)

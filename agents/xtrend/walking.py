"""The same day by day: what an episode has seen, its open sequences, and those that have ended."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from agents.xtrend.config import XTrendConfig
from agents.xtrend.contexts import NONE, context_sets
from agents.xtrend.cutting import Ends, ends_of
from agents.xtrend.history import DEFINED, N_INPUTS, SIGMA, normalised
from agents.xtrend.network import Sets, State, XTrendNetwork
from agents.xtrend.pool import Pool
from qn_env.arrays import BoolArray, FloatArray, IntArray


@dataclass
class OpenSequence:
    """The days of an asset that no ended sequence holds, the oldest first."""

    ends: Ends  # says where the next sequences end
    features: list[FloatArray] = field(default_factory=list)
    labels: list[float] = field(default_factory=list)  # next returns, of all days but those yet to come
    due: list[int] = field(default_factory=list)  # days of sequences that wait for their last next return

    def earn(self, earned: float) -> None:
        """The return of an own day: the next one of the latest day that was read, if that has none."""
        if len(self.labels) < len(self.features):
            sigma = self.features[-1][SIGMA]
            self.labels.append(float(normalised(np.asarray(earned), np.asarray(sigma))))

    def read(self, features: FloatArray) -> None:
        """One more day, [F]."""
        self.features.append(features)
        self.due += self.ends(np.array(self.features[sum(self.due) :]))

    def ended(self) -> list[tuple[FloatArray, list[float]]]:
        """Inputs and labels of the sequences that have ended by now."""
        found = []
        while self.due and len(self.labels) >= self.due[0]:
            n = self.due.pop(0)
            found.append((np.array(self.features[:n])[:, :N_INPUTS], self.labels[:n]))
            del self.features[:n], self.labels[:n]
        return found


class Walk:
    """An episode of a trained network, from its first day on."""

    def __init__(
        self, network: XTrendNetwork, config: XTrendConfig, known: IntArray, bank: Pool, rows: IntArray
    ) -> None:
        """Begin an episode.

        Args:
            network: trained.
            config: its hyperparameters.
            known: [N] numbers of the embeddings of the assets that are played.
            bank: sequences of others.
            rows: ascending, by which of the rows to come each of these has ended.
        """
        self._network, self._config = network, config
        self._given = network.given(torch.from_numpy(known))
        self._known = known
        self._open = [OpenSequence(ends_of(config, j, len(known))) for j in range(len(known))]
        self._waiting = list(zip(rows.tolist(), bank.keys, bank.values, strict=True))
        self._ended: list[int] = []
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        zero = torch.zeros(2, 2, len(known), network.hidden)
        self._asked, self._decoded = ((one[0], one[1]) for one in zero)
        self._numbers: IntArray = np.zeros(0, dtype=np.intp)  # of the latest set that was put together
        self._sets: Sets | None = None  # that set
        self._t = 0

    def step(self, features: FloatArray, returns: FloatArray, tradable: BoolArray) -> FloatArray:
        """Z [N], which positions are the tanh of, at the close of one more row; 0 where an asset is not read.

        Args:
            features: [N, F] of the day.
            returns: [N] of the day.
            tradable: [N] which assets have one.
        """
        active = np.flatnonzero(tradable & (features[:, DEFINED] > 0))
        self._shelve_bank(self._t - 1)
        z = np.zeros(len(features))
        if len(active):
            z[active] = self._decide(features[active], active)
        self._shelve_bank(self._t)
        for j in np.flatnonzero(tradable):
            self._open[j].earn(returns[j])
        for j in active:
            self._open[j].read(features[j])
        self._shelve()
        self._t += 1
        return z

    def _decide(self, features: FloatArray, active: IntArray) -> FloatArray:
        network, given = self._network, self._given[active]
        inputs = torch.tensor(features[:, None, :N_INPUTS], dtype=torch.float32)
        asked, state = network.ask(inputs, given, _of(self._asked, active))
        _put(self._asked, active, state)
        found = network.cross(asked.transpose(0, 1), self._offered())[0].transpose(0, 1)
        outputs, state = network.decode(inputs, found, given, _of(self._decoded, active))
        _put(self._decoded, active, state)
        z: FloatArray = outputs.z[:, 0].double().numpy()
        return z

    def _offered(self) -> Sets:
        """Today's context set."""
        config, ended = self._config, np.array(self._ended, dtype=np.intp)
        numbers = context_sets(ended, np.array([self._t]), **config.sets)[0]
        if self._sets is not None and np.array_equal(numbers, self._numbers):
            return self._sets
        chosen = numbers[numbers != NONE].tolist()
        local = np.full(len(numbers), NONE)
        local[numbers != NONE] = np.arange(len(chosen))
        nothing = [torch.zeros(self._network.hidden)]
        keys, values = (
            torch.stack([shelf[n] for n in chosen] or nothing) for shelf in (self._keys, self._values)
        )
        self._numbers = numbers
        self._sets = self._network.offer(keys, values, torch.from_numpy(local)[None])
        return self._sets

    def _shelve_bank(self, row: int) -> None:
        """Take over what had ended elsewhere by a row."""
        while self._waiting and self._waiting[0][0] <= row:
            ended, key, value = self._waiting.pop(0)
            self._add(ended, key, value)

    def _shelve(self) -> None:
        """Encode what has ended today."""
        found = [(j, *one) for j, opened in enumerate(self._open) for one in opened.ended()]
        if not found:
            return
        length = torch.tensor([len(labels) for _, _, labels in found])
        inputs = torch.zeros(len(found), int(length.max()), N_INPUTS)
        labels = torch.zeros(inputs.shape[:2])
        for p, (_, days, paid) in enumerate(found):
            inputs[p, : len(paid)] = torch.tensor(days, dtype=torch.float32)
            labels[p, : len(paid)] = torch.tensor(paid, dtype=torch.float32)
        given = self._given[[j for j, _, _ in found]]
        for key, value in zip(*self._network.encode(inputs, labels, length, given), strict=True):
            self._add(self._t, key, value)

    def _add(self, ended: int, key: Tensor, value: Tensor) -> None:
        self._ended.append(ended)
        self._keys.append(key)
        self._values.append(value)


def _of(state: State, rows: IntArray) -> State:
    return state[0][rows], state[1][rows]


def _put(state: State, rows: IntArray, new: State) -> None:
    for whole, part in zip(state, new, strict=True):
        whole[rows] = part

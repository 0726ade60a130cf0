"""Deep Momentum Networks as an agent: features in, volatility-scaled positions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NotRequired, Self, TypedDict

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from agents.adapting import fine_tuned
from agents.agent import Settings, repr_of
from agents.checkpoint import load_json, load_tensors, save_json, save_tensors
from agents.device import resolve
from agents.dmn.architectures import build, days_before
from agents.dmn.config import DmnConfig
from agents.dmn.course import Course, Known
from agents.dmn.losses import LOSSES, VOL_TARGET
from agents.dmn.network import Memory, Network
from agents.dmn.population import train_courses
from agents.dmn.space import SPACES
from agents.dmn.statics import NUMBERS, Layout, StaticNetwork, layout_of, numbers_in, numbers_of
from agents.dmn.training_windows import DEFINED, beside, features_of, mask_undefined
from agents.population.groups import fit_one, hand_out
from agents.population.jobs import Fit
from agents.space import Space
from agents.training import Monitor, Progress, Training, global_seed
from qn_env.arrays import FloatArray
from qn_env.checks import check_device
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, QnError
from qn_env.panel import Panel
from qn_env.setup import Observation

# Days a prediction pass handles at once; bounds memory.
CHUNK = 128

# Trading days until the slowest input is defined.
INPUT_DAYS = 315


class Stored(TypedDict):
    """What a checkpoint says beside the weights."""

    config: dict[str, Any]
    layout: NotRequired[list[list[str]]]  # market and name of the assets that have vectors of their own
    without: NotRequired[list[Annotated[int, Meta(ge=0)]]]  # numbers of inputs that are set to zero


class DeepMomentum:
    """One network for all assets over eight features of each (Lim, Zohren, Roberts 2019).

    Sixteen models: linear, MLP, WaveNet or LSTM, trained on the Sharpe ratio, the average return, the squared
    error of the next return or its sign; and the Momentum Transformer of the same group. Trained on
    non-overlapping trajectories of 63 of each asset's own trading days, selected on the validation block;
    predicts in one streamed pass with a warm state. A network without a state of its own, and one that reads
    windows beside its state, is given the days before a trajectory too.
    """

    learns = True

    def __init__(self, *, device: str = "cpu", **options: Any) -> None:
        """Options are the fields of `DmnConfig`; `device` is where it is trained (`agents.device`)."""
        self.config = DmnConfig(**options)
        self.device = check_device("device", device)
        self.settings = Settings(
            window=1,
            features=features_of(self.config.changepoints),
            vol_target=VOL_TARGET,
            train_cost_bps=self.config.train_cost_bps,
        )
        self.warmup = max((INPUT_DAYS, *self.config.changepoints)) + days_before(self.config)
        self.network: Network | None = None
        self.layout_: Layout = []
        self.training_ = Training()
        self.monitor = Monitor()
        self._earlier: DeepMomentum | None = None
        self._hidden_inputs: tuple[int, ...] = ()
        self._memory: Memory | None = None

    def __repr__(self) -> str:
        return repr_of(self, self.config, "network", "loss")

    @property
    def space(self) -> Space:
        """What a random search draws from (Exhibit A1)."""
        return SPACES[self.config.search](self.config)

    def start_from(self, earlier: DeepMomentum) -> None:
        """Let `fit` begin at the weights of a trained agent; the seed still draws batches and dropout.

        Raises:
            ConfigError: a network of another shape, or one that is not trained.
        """
        ours = _core(self._build(0))
        if self.config.static != earlier.config.static or _shapes(
            _core(earlier._trained_network())
        ) != _shapes(ours):
            raise ConfigError(
                f"{_describe(self.config)} cannot begin at the weights of {_describe(earlier.config)}; "
                "give both the same network and width, or train from scratch."
            )
        self._earlier = earlier

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Minimise the loss on `env`; keep the weights that do best on `validation`.

        Without `validation` the most recent 10% of each market's days in `env` are held out. With
        `split="asset"` both blocks are taken together, and the last 10% of each asset's windows are held out:
        an asset that was delisted early is then selected on, too.
        """
        device = resolve(self.device)
        if device.type != "cpu":
            fit_one(Fit(self, env, seed, validation), device)
            return self
        course = self.course(env, seed=seed, validation=validation)
        self.take(course, course.alone())
        return self

    def adapt(
        self, env: TradingEnv, *, seed: int, learn: bool, validation: TradingEnv | None = None
    ) -> DeepMomentum:
        """An agent for any assets: this one, or one that has gone on learning on theirs."""
        return fine_tuned(self, env, seed=seed, validation=validation) if learn else self

    @classmethod
    def fit_together(
        cls, fits: Sequence[Fit], *, device: torch.device | str = "cpu", progress: Progress | None = None
    ) -> list[QnError | None]:
        """`fit` of several agents as few tensor programmes (`agents.population`).

        Args:
            fits: agents of this class, each with what its `fit` is given.
            device: where they train.
            progress: told (done, total) epochs of all of them.

        Returns:
            The error of each that failed; the others are trained.
        """
        known: Known = {}
        courses = [one.agent.course(*one[1:], known=known) for one in fits]
        return hand_out(fits, courses, train_courses(courses, torch.device(device), progress))

    @property
    def kin(self) -> tuple[object, ...]:
        """Agents of equal kin train as one programme."""
        config = self.config
        names = (
            "network",
            "hidden",
            "heads",
            "context",
            "static",
            "changepoints",
            "batch",
            "length",
            "split",
        )
        return (type(self), *(getattr(config, name) for name in names), config.dropout > 0.0)

    def course(
        self, env: TradingEnv, seed: int, validation: TradingEnv | None = None, known: Known | None = None
    ) -> Course:
        """The training of `fit` before its first step; blocks that are `known` are not cut again."""
        learn, held = (env, validation) if validation is not None else env.split()
        self.layout_ = layout_of(env.panel) if self.config.static else []
        network = self._build(seed)
        if self._earlier is not None:
            self._take_over(network, self._earlier)
        return Course.of(
            self.config,
            network,
            learn,
            held,
            layout=self.layout_,
            seed=seed,
            monitor=self.monitor,
            known={} if known is None else known,
        )

    def take(self, course: Course, training: Training) -> None:
        """Become what a training has made."""
        self.network, self.training_, self._hidden_inputs = course.network, training, ()

    def without_feature(self, feature: int | str) -> DeepMomentum:
        """A copy that sees zero in place of one input at prediction (Exhibit 6).

        Args:
            feature: one of the configuration's `inputs`, or its number.

        Raises:
            ConfigError: there is no such input.
        """
        names = list(self.config.inputs)
        number = names.index(feature) if feature in names else feature
        if not isinstance(number, int) or not 0 <= number < len(names):
            raise ConfigError(f"feature is {feature!r}, expected 0 to {len(names) - 1} or one of {names}.")
        other = DeepMomentum(device=self.device, **asdict(self.config))
        other.layout_ = self.layout_
        other.network = other._build(0)
        other.network.load_state_dict(self._trained_network().state_dict())
        other.network.eval()
        other.training_, other._hidden_inputs = self.training_, (*self._hidden_inputs, number)
        return other

    def reset(self) -> None:
        """Forget the past of every asset."""
        self._memory = None

    @torch.no_grad()
    def act(self, observation: Observation) -> FloatArray:
        """Signals [N]: one more step for every asset that trades and whose features are defined."""
        network = self._trained_network()
        features = observation["features"][-1]
        numbers = self._own_numbers(len(features))
        if self._memory is None:
            self._memory = self._start(numbers)
        signals = np.zeros(len(features))
        active = np.flatnonzero((observation["tradable"][-1] > 0) & (features[:, DEFINED] > 0))
        if len(active):
            before = tuple(part[active] for part in self._memory)
            z, after = network(self._as_inputs(features[active, None], numbers[active]), before)
            for part, new in zip(self._memory, after, strict=True):
                part[active] = new
            signals[active] = self._positions(z[:, 0])
        return signals

    def signals(self, panel: Panel) -> FloatArray:
        """Signals [T, N] in one streamed pass over each asset's own trading days."""
        return self._positions(torch.from_numpy(self.outputs(panel)))

    @torch.no_grad()
    def outputs(self, panel: Panel) -> FloatArray:
        """Z_t [T, N], what the network gives before the output function and the position rule; 0 where none.

        All pieces of the pass are of one length: a matrix product's rounding depends on its shape, so a later
        day more or less would otherwise reach the positions of earlier ones.
        """
        network = self._trained_network()
        features = panel.features(self.settings.features)
        numbers = numbers_of(panel, self.layout_)
        active = panel.tradable & (features[..., DEFINED] > 0)
        days = int(active.sum(axis=0).max(initial=0))
        # Each asset's active days first, so that one pass serves all of them.
        rows = np.argsort(~active, axis=0, kind="stable")
        rows = rows[np.minimum(np.arange(-(-days // CHUNK) * CHUNK), len(rows) - 1)]
        memory = self._start(numbers)
        by_asset = np.zeros(rows.shape)
        for begin in range(0, len(rows), CHUNK):
            piece = slice(begin, begin + CHUNK)
            own = np.take_along_axis(features, rows[piece, :, None], axis=0)
            z, memory = network(self._as_inputs(own.swapaxes(0, 1), numbers), memory)
            by_asset[piece] = z.double().numpy().T
        outputs = np.zeros(panel.shape)
        np.put_along_axis(outputs, rows[:days], by_asset[:days], axis=0)
        return np.where(active, outputs, 0.0)

    def save(self, folder: Path) -> None:
        """Write configuration and weights."""
        known = {"layout": self.layout_} if self.config.static else {}
        save_json(folder, {"config": asdict(self.config), "without": list(self._hidden_inputs), **known})
        save_tensors(folder, self._trained_network().state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        stored = load_json(folder, Stored)
        agent = cls(**stored["config"])
        agent._hidden_inputs, agent.layout_ = tuple(stored.get("without", ())), stored.get("layout", [])
        if max(agent._hidden_inputs, default=0) >= len(agent.config.inputs):
            raise ConfigError(
                f"without is {stored['without']}, expected numbers below {len(agent.config.inputs)}."
            )
        agent.network = agent._build(0)
        agent.network.load_state_dict(load_tensors(folder))
        agent.network.eval()
        return agent

    def _build(self, seed: int) -> Network:
        with global_seed(seed):
            return build(self.config, self.layout_)

    def _take_over(self, network: Network, earlier: DeepMomentum) -> None:
        """Begin at an earlier agent's weights; vectors of assets that it did not know begin at zero."""
        before = earlier._trained_network()
        if isinstance(network, StaticNetwork) and isinstance(before, StaticNetwork):
            network.take_over(before, self.layout_, earlier.layout_)
        else:
            network.load_state_dict(before.state_dict())

    def _own_numbers(self, n: int) -> FloatArray:
        """[N, 2] the numbers of the assets it was trained on, in their order; not read without vectors."""
        if not self.config.static:
            return np.zeros((n, NUMBERS))
        if n != len(self.layout_):
            raise ConfigError(
                f"{n} assets, expected the {len(self.layout_)} it was trained on, whose vectors are its "
                "inputs; the whole history of other assets is played by signals."
            )
        return numbers_in(self.layout_, self.layout_)

    def _trained_network(self) -> Network:
        if self.network is None:
            raise ConfigError("this agent is not trained; call fit or load first.")
        return self.network

    def _start(self, numbers: FloatArray) -> Memory:
        """A writable memory of assets [N, 2] before their first day."""
        network = self._trained_network()
        zeros = torch.zeros(len(numbers), network.past, len(self.config.inputs))
        past = beside(zeros, numbers) if self.config.static else zeros
        return tuple(part.clone() for part in network.memory(past))

    def _as_inputs(self, features: FloatArray, numbers: FloatArray) -> Tensor:
        """What the network reads at prediction, of features [B, L, ...] of assets [B, 2]."""
        inputs = mask_undefined(torch.tensor(features, dtype=torch.float32))
        inputs[..., list(self._hidden_inputs)] = 0.0
        return beside(inputs, numbers) if self.config.static else inputs

    def _positions(self, z: Tensor) -> FloatArray:
        positions: FloatArray = LOSSES[self.config.loss].positions(z).double().numpy()
        return positions


def _core(network: Network) -> Network:
    """The network without the vectors of assets that stand before it."""
    return network.inner if isinstance(network, StaticNetwork) else network


def _shapes(network: Network) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


def _describe(config: DmnConfig) -> str:
    return f"a network {config.network!r} of width {config.hidden}"

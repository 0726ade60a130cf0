"""QuantNet as an agent: each market's own returns in, its signals out, trained on all markets at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TypedDict

import numpy as np
import torch
from torch import Tensor

from agents.agent import Settings, repr_of
from agents.checkpoint import load_json, load_tensors, save_json, save_tensors
from agents.device import placed, resolve
from agents.population.groups import fit_one, hand_out
from agents.population.jobs import Fit
from agents.quantnet.config import QuantNetConfig
from agents.quantnet.course import NETWORKS, Course, Known, build
from agents.quantnet.parts import MarketNetwork, State
from agents.quantnet.population import kin, train_courses
from agents.quantnet.space import quantnet2020
from agents.quantnet.warm import take_over
from agents.space import Space
from agents.training import Monitor, Progress, Training, global_seed
from qn_env.arrays import FloatArray
from qn_env.checks import check_device
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, QnError, did_you_mean
from qn_env.panel import Market, Panel
from qn_env.setup import Observation

CHUNK = 512  # days a prediction pass handles at once


class Stored(TypedDict):
    """What a checkpoint says beside the weights: every market's place on the asset axis and its units."""

    config: dict[str, Any]
    columns: dict[str, tuple[int, int]]
    unit: dict[str, list[float]]


class QuantNet:
    """The encoder-omega-decoder network of Koshiyama et al. (2020), its No Transfer twin, or shared weights.

    The objective is Eqs. 7-8, the training Algorithm 1 with AMSGrad. What is read of a market, what belongs
    to it alone and how an unseen one begins are the network's (`agents.quantnet.network`, `.shared`).
    """

    learns = True
    warmup = 252

    def __init__(self, *, device: str = "cpu", **options: Any) -> None:
        """Options are the fields of `QuantNetConfig`; `device` is where it is trained (`agents.device`)."""
        self.config = QuantNetConfig(**options)
        self.device = check_device("device", device)
        self._kind = NETWORKS[self.config.weights]
        self.settings = Settings(
            window=1, features=self._kind.features, train_cost_bps=self.config.train_cost_bps
        )
        self.network: MarketNetwork | None = None
        self.columns_: dict[str, slice] = {}
        self.unit_: dict[str, FloatArray] = {}
        self.training_ = Training()
        self.monitor = Monitor()
        self._earlier: MarketNetwork | None = None
        self._state: dict[str, State] = {}

    def __repr__(self) -> str:
        return repr_of(self, self.config, "encoder", "transfer")

    @property
    def space(self) -> Space:
        """What a random search draws from (Table 3)."""
        return quantnet2020(self.config)

    def start_from(self, earlier: QuantNet) -> None:
        """Let `fit` begin at the weights of a trained agent: the shared ones, and those of markets both have.

        New markets, and windows and dropout, are the seed's. Returns are read in units of the new training
        block's deviations. `fit` refuses weights of other shapes.

        Raises:
            ConfigError: an agent that is not trained.
        """
        self._earlier = earlier._trained_network()

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Maximise the mean Sharpe ratio of assets, then markets, on sampled windows of `env`.

        The weights with the best objective on `validation` are kept; without it, the most recent 10% of each
        market's days in `env` are held out.

        Raises:
            ConfigError: weights to begin at (`start_from`) of another shape.
        """
        device = resolve(self.device)
        if device.type != "cpu":
            fit_one(Fit(self, env, seed, validation), device)
            return self
        env, validation = (env, validation) if validation is not None else env.split()
        self.network = self._begin(env, seed)
        self.training_ = self._train(env, validation, seed=seed, only=None, steps=self.config.steps)
        return self

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
        place, known, courses = torch.device(device), Known(), []
        for agent, env, seed, validation in fits:
            learn, held = (env, validation) if validation is not None else env.split()
            network = agent._begin(learn, seed)
            courses.append(
                Course.of(
                    agent.config,
                    network,
                    learn,
                    held,
                    agent.unit_,
                    seed=seed,
                    monitor=agent.monitor,
                    device=place,
                    known=known,
                )
            )
        return hand_out(fits, courses, train_courses(courses, place, progress))

    def take(self, course: Course, training: Training) -> None:
        """Become what a training has made."""
        self.network, self.training_ = course.network, training

    @property
    def kin(self) -> tuple[object, ...]:
        """Agents of equal kin train as one programme."""
        return (type(self), *kin(self.config))

    def _begin(self, env: TradingEnv, seed: int) -> MarketNetwork:
        """The network before its first step, with the layout of what it learns from."""
        self._learn_layout(env.panel)
        with global_seed(seed):
            network = self._build({name: len(unit) for name, unit in self.unit_.items()})
        if self._earlier is not None:
            take_over(network, self._earlier)
        return network

    def add_market(
        self,
        env: TradingEnv,
        *,
        seed: int,
        validation: TradingEnv | None = None,
        like: str | None = None,
        steps: int | None = None,
    ) -> Self:
        """Take the markets of `env` that were never seen, with everything shared frozen.

        The published network gets a new encoder, decoder and head and learns them through the frozen transfer
        layer; shared weights learn the new embeddings and nothing else. The agent afterwards plays
        environments laid out like `env`.

        Args:
            env: its panel holds the new markets, alone or beside known ones.
            seed: the only chance.
            validation: selects the weights that are kept; default: the most recent 10% of `env`'s days.
            like: a known market of the same size whose encoder and decoder the new ones start from.
            steps: training steps; 0 is zero-shot (published network: needs `like`); default: those of `fit`.

        Raises:
            ConfigError: no new market, nothing to start a zero-shot market from, sizes that differ.
        """
        network = self._trained_network()
        new = [name for name in env.panel.markets if name not in network.names]
        if not new:
            raise ConfigError(f"every market of the panel is known already: {', '.join(env.panel.markets)}.")
        steps = self.config.steps if steps is None else steps
        if steps == 0 and like is None and not network.plays_unseen:
            raise ConfigError(
                "without training steps a new market needs the encoder of a known one: like=NAME."
            )
        learn, held = (env, validation) if validation is not None else env.split()
        # What fails leaves this agent as it was: the markets are added to a copy.
        grown = self._copy()
        grown._grow(new, learn.panel if steps else env.panel, seed=seed, like=like)
        if steps:
            grown._train_only(new, learn, held, seed=seed, steps=steps)
        self.network, self.columns_, self.unit_ = grown.network, grown.columns_, grown.unit_
        self.training_ = grown.training_
        return self

    @property
    def adapt(self) -> Callable[..., QuantNet]:
        """As `agents.adapting.adapted`: a copy for the markets of `env`, of shared weights alone.

        Markets that it does not know have zero embeddings, as by `add_market` without steps; to learn, it
        learns the embeddings of these markets, and nothing else.
        """
        if not self._kind.plays_unseen:
            raise AttributeError("adapt")
        return self._adapted

    def _adapted(
        self, env: TradingEnv, *, seed: int, learn: bool, validation: TradingEnv | None = None
    ) -> QuantNet:
        other, network = self._copy(), self._trained_network()
        other._grow([name for name in env.panel.markets if name not in network.names], env.panel, seed=seed)
        if learn:
            given, held = (env, validation) if validation is not None else env.split()
            other._train_only(list(env.panel.markets), given, held, seed=seed, steps=self.config.steps)
        return other

    def without_embeddings(self) -> QuantNet:
        """A copy with shared weights that treats every market as one it never saw.

        Raises:
            ConfigError: a published network has no embeddings.
        """
        other = self._copy()
        other._trained_network().forget_embeddings()
        return other

    def reset(self) -> None:
        """Forget the state of every market."""
        self._state = {}

    @torch.no_grad()
    def act(self, observation: Observation) -> FloatArray:
        """Signals [N]: one more step for every market that trades today."""
        network = self._trained_network()
        returns, tradable = observation["returns"][-1], observation["tradable"][-1]
        features = observation["features"][-1] if "features" in observation else np.zeros((len(returns), 0))
        signals = np.zeros(len(returns))
        for name, columns in self.columns_.items():
            if tradable[columns].any():
                inputs = network.inputs(
                    returns[None, None, columns], features[None, None, columns], self.unit_[name]
                )
                outputs, self._state[name] = network(name, inputs, self._state.get(name))
                signals[columns] = outputs[0, 0].double().numpy()
        return signals

    @torch.no_grad()
    def signals(self, panel: Panel) -> FloatArray:
        """Signals [T, N] in one streamed pass over each market's own trading days."""
        signals = np.zeros(panel.shape)
        network = self._trained_network()
        for name, market in self._check_markets(panel).items():
            state: State | None = None
            parts = []
            for inputs in self._stream(panel, market):
                outputs, state = network(name, inputs, state)
                parts.append(outputs[0].double().numpy())
            if parts:
                market.spread(np.concatenate(parts)[: len(market.rows)], signals)
        return signals

    @torch.no_grad()
    def encoder_scores(self, panel: Panel) -> dict[str, FloatArray]:
        """Each market's encoder scores e_t [T_i, N] on its own trading days (Figures 2 and 13).

        Raises:
            ConfigError: No Transfer has no encoder.
        """
        if self.config.transfer is None:
            raise ConfigError("No Transfer has no encoder whose scores could be compared between markets.")
        network = self._trained_network()
        scores = {}
        for name, market in self._check_markets(panel).items():
            state: State | None = None
            parts = [np.zeros((0, self.config.dimension))]
            for inputs in self._stream(panel, market):
                encoded, memory = network.encode(name, inputs, state)
                state = [memory, (), ()]
                parts.append(encoded[0].double().numpy())
            scores[name] = np.concatenate(parts)[: len(market.rows)]
        return scores

    def save(self, folder: Path) -> None:
        """Write configuration, layout of the markets, and weights."""
        layout = {name: [c.start, c.stop] for name, c in self.columns_.items()}
        units = {name: unit.tolist() for name, unit in self.unit_.items()}
        save_json(folder, {"config": asdict(self.config), "columns": layout, "unit": units})
        save_tensors(folder, self._trained_network().state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        stored = load_json(folder, Stored)
        agent = cls(**stored["config"])
        agent.columns_ = {name: slice(a, b) for name, (a, b) in stored["columns"].items()}
        agent.unit_ = {name: np.array(unit) for name, unit in stored["unit"].items()}
        agent.network = agent._build({name: len(unit) for name, unit in agent.unit_.items()})
        agent.network.load_state_dict(load_tensors(folder))
        agent.network.eval()
        return agent

    def _copy(self) -> QuantNet:
        """Another agent with the same weights."""
        other = QuantNet(device=self.device, **asdict(self.config))
        other.columns_, other.unit_ = dict(self.columns_), dict(self.unit_)
        other.training_, other.monitor = self.training_, self.monitor
        network = other._build({name: len(unit) for name, unit in self.unit_.items()})
        network.load_state_dict(self._trained_network().state_dict())
        other.network = network.eval()
        return other

    def _grow(self, new: Sequence[str], panel: Panel, *, seed: int, like: str | None = None) -> None:
        """Take markets in, untrained or with the weights of a known one."""
        network, known = self._trained_network(), dict(self.unit_)
        self._learn_layout(panel)
        self.unit_ = known | {name: self.unit_[name] for name in new}  # in the order of the network
        with global_seed(seed):
            for name in new:
                network.add(name, len(self.unit_[name]))
        if like is not None:
            self._start_like(like, new)
        network.eval()

    def _train_only(
        self, new: Sequence[str], learn: TradingEnv, held: TradingEnv, *, seed: int, steps: int
    ) -> None:
        """Train what belongs to these markets, with everything else frozen."""
        network = self._trained_network()
        with placed(network, resolve(self.device)):
            mine = {id(p) for name in new for p in network.own(name)}
            frozen = [p for p in network.parameters() if id(p) not in mine]
            for p in frozen:
                p.requires_grad_(False)  # noqa: FBT003 - torch's own flag
            self.training_ = self._train(learn, held, seed=seed, only=new, steps=steps)
            for p in frozen:
                p.requires_grad_(True)  # noqa: FBT003 - torch's own flag

    def _train(
        self,
        env: TradingEnv,
        validation: TradingEnv,
        *,
        seed: int,
        only: Sequence[str] | None,
        steps: int,
    ) -> Training:
        """Train where the network is; of the markets `only`, what is theirs alone."""
        return Course.of(
            self.config,
            self._trained_network(),
            env,
            validation,
            self.unit_,
            seed=seed,
            monitor=self.monitor,
            device=resolve(self.device),
            only=only,
            steps=steps,
        ).alone()

    def _start_like(self, like: str, new: Sequence[str]) -> None:
        network = self._trained_network()
        if like not in network.names or like in new:
            raise ConfigError(f"unknown market {like!r}. {did_you_mean(like, network.names)}")
        for name in new:
            network.copy(like, name)

    def _learn_layout(self, panel: Panel) -> None:
        """Where each market's assets stand, and each asset's standard deviation (1 where it never traded)."""
        self.columns_ = {name: market.columns for name, market in panel.markets.items()}
        seen = np.isfinite(panel.returns)
        filled = np.where(seen, panel.returns, 0.0)
        days = np.maximum(seen.sum(axis=0), 1)
        mean = filled.sum(axis=0) / days
        spread = np.sqrt((np.where(seen, panel.returns - mean, 0.0) ** 2).sum(axis=0) / days)
        unit = np.where(spread > 0, spread, 1.0)
        self.unit_ = {name: unit[columns] for name, columns in self.columns_.items()}

    def _build(self, sizes: Mapping[str, int]) -> MarketNetwork:
        return build(self.config, sizes)

    def _trained_network(self) -> MarketNetwork:
        if self.network is None:
            raise ConfigError("this agent is not trained; call fit or load first.")
        return self.network

    def _check_markets(self, panel: Panel) -> dict[str, Market]:
        """The panel's markets, each known by name and size."""
        for name, market in panel.markets.items():
            if name not in self.unit_:
                raise ConfigError(f"market {name!r} was not trained on; call add_market first.")
            if len(market.assets) != len(self.unit_[name]):
                raise ConfigError(
                    f"market {name!r} has {len(market.assets)} assets, expected the {len(self.unit_[name])} "
                    "it was trained on."
                )
        return panel.markets

    def _stream(self, panel: Panel, market: Market) -> Iterator[Tensor]:
        """A market's inputs on its own trading days, piece by piece, B = 1; zeros after its last day.

        All pieces are of one length: a matrix product's rounding depends on its shape, so a later day more
        or less would otherwise reach the signals of earlier ones.
        """
        network = self._trained_network()
        returns = np.nan_to_num(market.compact(panel.returns), nan=0.0)
        features = market.compact(panel.features(self.settings.features))
        for begin in range(0, len(returns), CHUNK):
            piece = slice(begin, begin + CHUNK)
            yield network.inputs(
                _pad(returns[piece])[None], _pad(features[piece])[None], self.unit_[market.name]
            )


def _pad(piece: FloatArray) -> FloatArray:
    """[CHUNK, ...] the rows of a piece, then zeros."""
    return np.concatenate([piece, np.zeros((CHUNK - len(piece), *piece.shape[1:]))])

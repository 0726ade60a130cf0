"""X-Trend as an agent: positions from an asset's own days and from what other assets' days have shown."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, Self, TypedDict

import numpy as np
import torch

from agents.agent import Settings, repr_of
from agents.checkpoint import load_json, load_tensors, save_json, save_tensors
from agents.dmn.losses import VOL_TARGET
from agents.space import Space
from agents.training import Monitor, Training, global_seed
from agents.xtrend.config import XTrendConfig
from agents.xtrend.contexts import NONE, context_sets
from agents.xtrend.course import Course
from agents.xtrend.cutting import features_of, library_of
from agents.xtrend.history import N_INPUTS
from agents.xtrend.network import UNKNOWN, XTrendNetwork
from agents.xtrend.playing import Piece, offer, stream
from agents.xtrend.pool import Asset, Pool, Told, names_of, seconds
from agents.xtrend.sequences import Library
from agents.xtrend.space import searched
from agents.xtrend.walking import Walk
from qn_env.arrays import FloatArray, IntArray
from qn_env.dates import DateLike, as_moment
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.setup import Observation

RETURN_DAYS = 21  # trading days until the return of the day is defined
# What the tensors of a checkpoint are called beside the weights: those of the bank begin so; and the days, in
# seconds since 1970, that `act` is laid out for.
BANK, CALENDAR = "bank.", "calendar"


class Stored(TypedDict):
    """What a checkpoint says beside tensors; assets: known, of the bank, and those that `act` is shown."""

    config: dict[str, Any]
    assets: list[list[str]]
    banked: list[list[str]]
    columns: list[list[str]]


class Attended(NamedTuple):
    """A context that a decision attended to; `told` is None of the one that is always there."""

    told: Told | None
    weight: float  # of all of them the sum is 1


class XTrend:
    """A few-shot and zero-shot forecaster (Wood, Kessler, Roberts, Zohren 2023).

    It reads an asset's own days, and attends to context sequences: stretches of other assets' days, and of
    its own, that have ended, with the returns that followed each day. In a panel that is played, the
    sequences of its own assets are added as they end. What an agent keeps of its training panel, a bank of
    encoded sequences, serves assets that the panel does not hold.
    """

    learns = True
    warmup = RETURN_DAYS

    def __init__(self, **options: Any) -> None:
        """Options are the fields of `XTrendConfig`."""
        self.config = XTrendConfig(**options)
        self.settings = Settings(
            window=1,
            features=features_of(self.config),
            vol_target=VOL_TARGET,
            train_cost_bps=self.config.train_cost_bps,
        )
        self.network: XTrendNetwork | None = None
        self.assets_: tuple[Asset, ...] = ()  # those with an embedding
        self.bank_: Pool | None = None
        self.training_ = Training()
        self.monitor = Monitor()
        self._earlier: XTrend | None = None
        self._columns: tuple[Asset, ...] = ()  # those that `act` is shown
        self._moments: IntArray = np.zeros(0, dtype=np.intp)  # the days on which, as far as they are known
        self._walk: Walk | None = None

    def __repr__(self) -> str:
        return repr_of(self, self.config, "contexts")

    @property
    def space(self) -> Space:
        """What a random search draws from."""
        return searched()

    def start_from(self, earlier: XTrend) -> None:
        """Let `fit` begin at the weights of a trained agent, and at its embeddings of assets that both know.

        Raises:
            ConfigError: a network of another shape, or one that is not trained.
        """
        earlier._trained()
        for name in ("hidden", "heads", "embedding", "recent", "earlier"):
            ours, theirs = getattr(self.config, name), getattr(earlier.config, name)
            if ours != theirs:
                raise ConfigError(
                    f"{name} is {ours}, and {theirs} of the agent to begin at; give both the same, or train "
                    "from scratch."
                )
        self._earlier = earlier

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Minimise the joint loss on `env`; keep the weights that do best on `validation`.

        Without `validation` the most recent 10% of each market's days in `env` are held out.
        """
        learn, held = (env, validation) if validation is not None else env.split()
        self.assets_ = names_of(learn.panel)
        with global_seed(seed):
            network = self._build()
        self._take_over(network)
        course = Course.of(self.config, network, learn, held, seed=seed, monitor=self.monitor)
        self.training_ = course.alone()
        self.network = network
        with torch.no_grad():  # the days that it was selected on are known by now, too
            pool = self._pool(held.panel, library_of(held.panel, self.config))
        self.bank_ = pool.thinned(self.config.bank, self.config.recent)
        self._lay_out(env.panel)
        return self

    def adapt(
        self, env: TradingEnv, *, seed: int, learn: bool, validation: TradingEnv | None = None
    ) -> XTrend:
        """An agent that `act`s in environments laid out like `env`, in which it need know no asset.

        With `learn` it has gone on learning on the days of `env`, so that it knows them.
        """
        other = copy.copy(self)
        other._walk = None
        if learn:
            other.start_from(self)
            return other.fit(env, seed=seed, validation=validation)
        other._lay_out(env.panel)
        return other

    def without_embeddings(self) -> XTrend:
        """A copy that treats every asset as one it never saw."""
        other = copy.copy(self)
        other.network, other._walk = copy.deepcopy(self._trained()), None
        with torch.no_grad():
            other.network.assets.zero_()
        return other

    def reset(self) -> None:
        """Forget the past of every asset."""
        self._walk = None

    @torch.no_grad()
    def act(self, observation: Observation) -> FloatArray:
        """Signals [N]: one more day, in an environment laid out as that of the training, from its first day.

        Raises:
            ConfigError: another number of assets; `adapt` gives an agent for them.
        """
        features, returns = observation["features"][-1], observation["returns"][-1]
        if len(features) != len(self._columns):
            raise ConfigError(
                f"{len(features)} assets, expected the {len(self._columns)} it is laid out for; "
                "agent.adapt(env, seed=0, learn=False) gives one for others."
            )
        if self._walk is None:
            self._walk = self._begin()
        z = self._walk.step(features, returns, observation["tradable"][-1] > 0)
        return np.tanh(z)

    @torch.no_grad()
    def signals(self, panel: Panel) -> FloatArray:
        """Signals [T, N] in one streamed pass over each asset's own trading days."""
        z = np.zeros(panel.shape)
        for piece in self._pieces(panel)[0]:
            asset, day = np.nonzero(piece.active)
            z[piece.row[asset, day], asset] = piece.outputs.z[asset, day].double().numpy()
        return np.tanh(z)

    @torch.no_grad()
    def attended(self, panel: Panel, market: str, asset: str, day: DateLike) -> list[Attended]:
        """Which contexts the decision for an asset at the close of a day attended to, the heaviest first.

        Args:
            panel: what is played.
            market: of the asset.
            asset: its name.
            day: one on which it decides.

        Raises:
            ConfigError: an asset that the panel does not hold, or a day on which it does not decide.
        """
        if (market, asset) not in names_of(panel):
            raise ConfigError(f"the panel has no asset {asset!r} in a market {market!r}.")
        column = names_of(panel).index((market, asset))
        moment = as_moment(day, panel.dates, "day")
        row = int(np.searchsorted(panel.dates, moment))
        pieces, pool, sets = self._pieces(panel)
        for piece in pieces:
            here = piece.active[column] & (piece.row[column] == row)
            if row < len(panel.dates) and panel.dates[row] == moment and here.any():
                *weights, none = piece.weights[column, int(np.argmax(here))].tolist()
                found = [
                    Attended(pool.told(number), weight)
                    for number, weight in zip(sets[row], weights, strict=True)
                    if number != NONE
                ]
                return sorted([*found, Attended(None, none)], key=lambda one: -one.weight)
        raise ConfigError(f"{market}/{asset} has no decision on {day}: it does not trade, or is too young.")

    def save(self, folder: Path) -> None:
        """Write configuration, weights and the bank."""
        network, bank = self._trained(), self._bank()
        content: Stored = {
            "config": asdict(self.config),
            "assets": [list(name) for name in self.assets_],
            "banked": [list(name) for name in bank.assets],
            "columns": [list(name) for name in self._columns],
        }
        save_json(folder, content)
        tensors = {f"{BANK}{name}": tensor for name, tensor in bank.tensors().items()}
        calendar = {CALENDAR: torch.from_numpy(self._moments)}
        save_tensors(folder, network.state_dict() | tensors | calendar)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        stored, tensors = load_json(folder, Stored), load_tensors(folder)
        agent = cls(**stored["config"])
        agent.assets_, agent._columns, banked = (
            tuple((market, name) for market, name in stored[key]) for key in ("assets", "columns", "banked")
        )
        agent._moments = tensors.pop(CALENDAR).numpy()
        bank = {name.removeprefix(BANK): tensors.pop(name) for name in list(tensors) if name.startswith(BANK)}
        agent.bank_ = Pool(assets=banked, **bank)
        agent.network = agent._build()
        agent.network.load_state_dict(tensors)
        agent.network.eval()
        return agent

    def _build(self) -> XTrendNetwork:
        config = self.config
        return XTrendNetwork(
            N_INPUTS,
            config.hidden,
            heads=config.heads,
            places=config.recent + config.earlier,
            assets=len(self.assets_),
            embedding=config.embedding,
            dropout=config.dropout,
        )

    def _trained(self) -> XTrendNetwork:
        if self.network is None:
            raise ConfigError("this agent is not trained; call fit or load first.")
        return self.network

    def _bank(self) -> Pool:
        self._trained()
        assert self.bank_ is not None, "trained"
        return self.bank_

    def _numbers(self, names: tuple[Asset, ...]) -> IntArray:
        """[N] numbers of the assets' embeddings, `UNKNOWN` where there is none."""
        known = {name: number for number, name in enumerate(self.assets_)}
        return np.array([known.get(name, UNKNOWN) for name in names], dtype=np.intp)

    def _pool(self, panel: Panel, library: Library) -> Pool:
        """The encoded sequences of a panel."""
        return Pool.of(self._trained(), panel, library, self._numbers(names_of(panel)))

    def _lay_out(self, panel: Panel) -> None:
        """Let `act` be shown the assets of a panel, from its first day on."""
        self._columns, self._moments, self._walk = names_of(panel), seconds(panel.dates), None

    def _begin(self) -> Walk:
        """An episode of `act`."""
        bank = self._bank().beside(self._columns, self._moments)
        known, rows = self._numbers(self._columns), bank.rows(self._moments)
        return Walk(self._trained(), self.config, known, bank, rows)

    def _pieces(self, panel: Panel) -> tuple[Iterator[Piece], Pool, IntArray]:
        """The outputs over a panel, the sequences that may be attended to, and each row's numbers [T, C]."""
        network, config, moments = self._trained(), self.config, seconds(panel.dates)
        library = library_of(panel, config)
        bank = self._bank().beside(names_of(panel), moments)
        pool, ended = bank.before(self._pool(panel, library), moments)
        sets = context_sets(ended, np.arange(len(moments)), **config.sets)
        pieces = stream(network, library.history, self._numbers(names_of(panel)), offer(network, pool, sets))
        return pieces, pool, sets

    def _take_over(self, network: XTrendNetwork) -> None:
        """Put the weights of the agent to begin at into a network, and the embeddings of assets both know."""
        earlier = self._earlier
        if earlier is None:
            return
        known = {name: row for row, name in enumerate(earlier.assets_)}
        weights = earlier._trained().state_dict()
        embeddings = network.assets.detach().clone()
        for row, name in enumerate(self.assets_):
            if name in known:
                embeddings[row] = weights["assets"][known[name]]
        network.load_state_dict({**weights, "assets": embeddings})

"""Policies that read what they hold as agents, trained through the account they keep."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TypedDict

import torch
from torch import Tensor, nn

from agents.adapting import fine_tuned
from agents.agent import Settings, repr_of
from agents.checkpoint import load_json, load_tensors, save_json, save_tensors
from agents.closed.config import ClosedConfig
from agents.closed.stepwise import Stepwise
from agents.closed.traders import Days, LinearTrader, LstmTrader, MlpTrader, Trader
from agents.closed.windows import ClosedWindows
from agents.device import placed, resolve
from agents.dmn.agent import INPUT_DAYS
from agents.dmn.config import FEATURE_NAMES
from agents.dmn.losses import VOL_TARGET
from agents.dmn.network import Memory
from agents.dmn.training_windows import FEATURES, cut_windows
from agents.space import Space
from agents.training import Monitor, Training, global_seed, train
from qn_env.arrays import BoolArray, FloatArray
from qn_env.checks import check_device
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError


class Stored(TypedDict):
    """What a checkpoint says beside the weights."""

    config: dict[str, Any]
    targeted: bool


class Learner(nn.Module):
    """A trader, and what every window has left for the next one when it was last played."""

    decided: Tensor
    weights: Tensor

    def __init__(self, trader: Trader, windows: ClosedWindows) -> None:
        super().__init__()
        self.trader = trader
        for name, part in zip(("decided", "weights"), windows.flat(), strict=True):
            self.register_buffer(name, part)
        # A memory that is nothing but the days before a window needs no window before it.
        self._keeps = 0 if trader.past else len(trader.memory(windows.past))
        for k in range(self._keeps):
            self.register_buffer(f"memory{k}", trader.memory(windows.past)[k])

    def loss(self, windows: ClosedWindows, rows: Tensor) -> Tensor:
        """Minus the net Sharpe ratio of some windows, each from where the one before it has ended."""
        given = windows.take(rows)
        begins = given.previous < 0
        before = given.previous.clip(0)

        def handed(part: Tensor) -> Tensor:
            return part[before].masked_fill(begins.view(-1, *(1,) * (part.ndim - 1)), 0.0)

        kept = [self.get_buffer(f"memory{k}") for k in range(self._keeps)]
        memory = tuple(map(handed, kept)) if kept else self.trader.memory(given.past)
        decided, after = self.trader.decide(given.days, memory, handed(self.decided))
        loss, weights = given.loss(decided, handed(self.weights))
        self.decided[rows], self.weights[rows] = decided[:, -1].detach(), weights
        for part, new in zip(kept, after, strict=False):
            part[rows] = new
        return loss


class ClosedLoop(Stepwise[Memory]):
    """A policy that reads its last decision, trained through the account it keeps.

    Moody and Saffell (2001): the objective is the net Sharpe ratio, pooled over assets, and its gradient goes
    back through every day on which a position was taken because of the one before. Their linear policy, or a
    band around what is held that the MLP or LSTM of Deep Momentum Networks draws. Trained on windows of 63 of
    each asset's own days; a window begins with the position that the window before it ended with when it was
    last played, and pays for what it trades from there. One policy serves all assets, those it never saw
    included.
    """

    learns = True

    def __init__(self, *, device: str = "cpu", **options: Any) -> None:
        """Options are the fields of `ClosedConfig`; `device` is where it is trained (`agents.device`)."""
        super().__init__()
        self.config = ClosedConfig(**options)
        self.device = check_device("device", device)
        self.settings = Settings(
            window=1, features=FEATURES, vol_target=VOL_TARGET, train_cost_bps=self.config.train_cost_bps
        )
        self.trader: Trader | None = None
        self.training_ = Training()
        self.monitor = Monitor()
        self._earlier: Trader | None = None
        self.warmup = INPUT_DAYS + _KINDS[self.config.network].past

    def __repr__(self) -> str:
        return repr_of(self, self.config, "network")

    @property
    def space(self) -> Space:
        """What a random search draws from."""
        return self.config.space

    def start_from(self, earlier: ClosedLoop) -> None:
        """Let `fit` begin at the weights of a trained agent.

        Raises:
            ConfigError: a policy of another shape, or one that is not trained.
        """
        trader = earlier._trained()
        if _shapes(trader) != _shapes(build(self.config, 0)):
            raise ConfigError(
                f"{self!r} cannot begin at the weights of {earlier!r}; give both the same network and width, "
                "or train from scratch."
            )
        self._earlier = trader

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Maximise the net Sharpe ratio on `env`; keep the weights that do best on `validation`.

        Without `validation` the most recent 10% of each market's days in `env` are held out.
        """
        config, device = self.config, resolve(self.device)
        trader = build(config, seed)
        if self._earlier is not None:
            trader.load_state_dict(self._earlier.state_dict())
        generator = torch.Generator().manual_seed(seed)
        trader.generator.manual_seed(seed + 1)
        env, validation = (env, validation) if validation is not None else env.split()
        targeted = env.config.vol_target is not None
        learn, held = (
            ClosedWindows.of(
                cut_windows(e, config.length, trader.past), targeted=targeted, dtype=trader.dtype
            )
            for e in (env, validation)
        )
        learner = Learner(trader, learn)
        learn, whole = learn.to(device), held.joined().to(device)

        def losses(_done: int) -> Iterator[Tensor]:
            order = torch.randperm(len(learn), generator=generator).to(device)
            for rows in torch.split(order, config.batch):
                weights = trader.penalised()
                penalty = 0.0 if weights is None else config.l1 * weights.abs().sum()
                yield learner.loss(learn, rows) + penalty

        def score() -> float:
            flat, weights = whole.flat()
            decided, _ = trader.decide(whole.days, trader.memory(whole.past), flat)
            return -float(whole.loss(decided, weights)[0])

        with placed(learner, device):
            self.training_ = train(
                learner,
                torch.optim.Adam(trader.parameters(), lr=config.learning_rate, fused=True),
                losses,
                score,
                epochs=config.epochs,
                patience=config.patience,
                max_norm=config.max_norm,
                title=f"closed-{config.network} seed {seed}",
                identity=json.dumps({"config": asdict(config), "seed": seed})
                + env.fingerprint
                + validation.fingerprint,
                generators={"batches": generator, "dropout": trader.generator},
                monitor=self.monitor,
            )
        self.trader, self._targeted = trader, targeted
        self.reset()
        return self

    def adapt(
        self, env: TradingEnv, *, seed: int, learn: bool, validation: TradingEnv | None = None
    ) -> ClosedLoop:
        """An agent for any assets: this one, or one that has gone on learning on theirs."""
        return fine_tuned(self, env, seed=seed, validation=validation) if learn else self

    def save(self, folder: Path) -> None:
        """Write configuration and weights."""
        save_json(folder, {"config": asdict(self.config), "targeted": self._targeted})
        save_tensors(folder, self._trained().state_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        stored = load_json(folder, Stored)
        agent = cls(**stored["config"])
        agent._targeted = stored["targeted"]
        agent.trader = build(agent.config, 0)
        agent.trader.load_state_dict(load_tensors(folder))
        agent.trader.eval()
        return agent

    def _begin(self, n_assets: int) -> Memory:
        trader = self._trained()
        return trader.memory(torch.zeros(n_assets, trader.past, len(FEATURE_NAMES), dtype=trader.dtype))

    @torch.no_grad()
    def _decide(
        self, inputs: FloatArray, active: BoolArray, held: FloatArray, memory: Memory
    ) -> tuple[FloatArray, Memory]:
        trader = self._trained()
        # What is held is a signal of today already: it is read as it is.
        days = Days(
            torch.tensor(inputs, dtype=trader.dtype)[:, None],
            torch.ones(len(inputs), 1),
            torch.tensor(active)[:, None],
        )
        decided, after = trader.decide(days, memory, torch.tensor(held, dtype=trader.dtype))
        return decided[:, 0].double().numpy(), after

    def _keep(self, tradable: BoolArray, after: Memory, before: Memory) -> Memory:
        """Memories [N, ...] of tensors."""
        rows = torch.tensor(tradable)
        return tuple(
            torch.where(rows.view(-1, *(1,) * (new.ndim - 1)), new, old)
            for new, old in zip(after, before, strict=True)
        )

    def _trained(self) -> Trader:
        if self.trader is None:
            raise ConfigError("this agent is not trained; call fit or load first.")
        return self.trader


_KINDS: dict[str, type[Trader]] = {"linear": LinearTrader, "mlp": MlpTrader, "lstm": LstmTrader}


def build(config: ClosedConfig, seed: int) -> Trader:
    """The policy of a configuration, with its first weights."""
    n = len(FEATURE_NAMES)
    if config.network == "linear":
        return LinearTrader(n, torch.Generator().manual_seed(seed))
    kind = MlpTrader if config.network == "mlp" else LstmTrader
    with global_seed(seed):
        return kind(n, config.hidden, config.dropout)


def _shapes(trader: Trader) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in trader.state_dict().items()}

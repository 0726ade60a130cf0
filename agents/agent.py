"""The contract of an agent, and the one registry of agents."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np

from agents.checkpoint import refuse_other_files
from agents.device import resolve
from agents.importing import FORM, imported_class
from agents.layers import LAYERS, SIGN, Layer, base_of, split_layer
from agents.training import Monitor
from qn_env.arrays import FloatArray, IntArray
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, QnError, did_you_mean, in_a_line
from qn_env.features import Feature
from qn_env.panel import Panel
from qn_env.setup import Observation


class Part(NamedTuple):
    """One part of the contract between an agent and the harness."""

    name: str
    default: str  # what the harness takes where it is absent; empty: it is needed
    does: str


CONTRACT = (
    Part(
        "fit(env, *, seed, validation=None) -> self", "", "learn from `env.panel`; `seed` is the only chance"
    ),
    Part("reset()", "", "begin an episode: forget the last one, keep what was learnt"),
    Part("act(observation) -> [N]", "", "signals in [-1, 1] for the next day"),
    Part(
        "settings",
        "Settings()",
        "what it wants to see and be paid: window, features, volatility target, costs",
    ),
    Part("warmup", "0", "trading days before its first valid signal"),
    Part("learns", "True", "False: the seed has no effect, one is enough"),
    Part("signals(panel) -> [T, N]", "stepped", "a whole history in one pass, equal to `act` day by day"),
    Part(
        "signals_from(panel, held) -> [N]",
        "signals, or stepped",
        "the last day's, of who holds `held` [N], as signals of that day; for who remembers what it decided",
    ),
    Part(
        "save(folder), load(folder)",
        "none kept",
        "checkpoints of safetensors and JSON; `load` is a class method",
    ),
    Part("space", "no search", "what `qn search` draws its options from (`agents.space`)"),
    Part("start_from(earlier)", "from scratch", "called before `fit` in a run with warm starts"),
    Part(
        "adapt(env, *, seed, learn, validation=None) -> agent",
        "rules alone play `unseen`",
        "one for the markets of `env`, which it was not trained on; `learn`: it learns from their days too",
    ),
    Part(
        "__init__(..., device)",
        "not told",
        "where `fit` trains, as `--device` says: cpu, or a card, cuda:0; signals are made on the CPU",
    ),
    Part("monitor", "no bar", "an `agents.training.Monitor` that `train` shows progress to and resumes with"),
    Part(
        "kin, fit_together(fits)",
        "each alone",
        "trainings of equal `kin` as one tensor programme (`agents.population`), each ends as it would alone",
    ),
    Part("training_", "none", "how `train` went; ends hopeless trials of a search early, ranks none"),
)


@runtime_checkable
class Agent(Protocol):
    """Learns from an environment's panel, then plays it day by day; `CONTRACT` has the optional parts.

    With warm starts `start_from` gets what `load` returns for the window before: the training then begins at
    those weights instead of at those of the seed, which still decides everything else.
    """

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Self:
        """Learn from `env`'s panel, select on `validation`'s; `seed` is the only chance."""

    def reset(self) -> None:
        """Start an episode: forget the last one, keep what was learnt."""

    def act(self, observation: Observation) -> FloatArray:
        """Signals [N] in [-1, 1] for the next day, from this observation and the episode so far."""


class Wrapper(Agent, Protocol):
    """An agent around another one, named as a layer (`agents.layers`)."""

    @classmethod
    def around(cls, agent: Agent, layer: Layer) -> Self:
        """The layer around an agent that is not trained.

        Raises:
            ConfigError: a number that the layer cannot have.
        """

    @classmethod
    def load_around(cls, folder: Path, layer: Layer, load: Callable[[Path], Agent]) -> Self:
        """Read what `save` wrote.

        Args:
            folder: the checkpoint.
            layer: what the name of the agent asks for.
            load: reads the checkpoint of an agent inside; the name chooses its class, no file does.

        Raises:
            ConfigError: it was written by another layer.
        """


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The environment an agent asks for; a run records it and may override the volatility target."""

    window: int = 63  # days an observation shows
    features: tuple[Feature, ...] = ()  # causal features beside the returns
    vol_target: float | None = None  # annualised, per asset
    train_cost_bps: float = 0.0  # cost inside the reward it learns from


QUEUE = 9  # place of an agent whose training is short, or that has none


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One registered agent: where it is, and how it is built."""

    path: str  # package.module:Class
    about: str = ""  # what it is, in a line
    options: Mapping[str, object] = field(default_factory=dict)  # arguments of the class
    quick: Mapping[str, object] = field(default_factory=dict)  # further ones for a quick, not comparable run
    learns: bool = False
    queue: int = QUEUE  # place among the trainings that wait; the longest begin first


AGENTS: dict[str, Entry] = {}


def register(
    name: str,
    path: str,
    *,
    about: str = "",
    options: Mapping[str, object] | None = None,
    quick: Mapping[str, object] | None = None,
    learns: bool = False,
    queue: int = QUEUE,
) -> None:
    """Give an agent a name; the command line, the harness and the conformance suite read this registry.

    Args:
        name: as on the command line.
        path: `package.module:Class`, imported when the agent is made.
        about: what it is, in a line.
        options: keyword arguments of the class.
        quick: keyword arguments that replace some of them in a quick run.
        learns: whether its seed matters.
        queue: its place among the trainings that wait. Give a long one a small number: when the last to begin
            are short, no core waits.

    Raises:
        ConfigError: the name is taken, or would read as one with layers.
    """
    if SIGN in name:
        raise ConfigError(f"{name!r}: the name of an agent has no {SIGN}, which begins a layer around one.")
    if name in AGENTS:
        raise ConfigError(f"an agent named {name!r} is registered already ({AGENTS[name].path}).")
    AGENTS[name] = Entry(
        path=path, about=about, options=options or {}, quick=quick or {}, learns=learns, queue=queue
    )


def make_agent(
    name: str,
    *,
    quick: bool = False,
    options: Mapping[str, object] | None = None,
    device: str | None = None,
) -> Agent:
    """Build an agent by its registered name or by an import path `package.module:Class`.

    Args:
        name: as registered, or an import path; with layers behind it (`macd+band:0.1`, `agents.layers`).
        quick: whether the registered options of a quick run apply.
        options: keyword arguments of the class that replace all others; with layers, of the agent inside.
        device: where it is trained, by a name of `agents.device`; told to a class whose constructor has a
            parameter of that name, and no option. None: not told.

    Raises:
        ConfigError: an unknown name or layer, a module or class that cannot be found, a class without the
            methods of an agent (looked at before it is built), options it does not take, a number that a
            layer cannot have, a device that there is not.
    """
    inner, layer = split_layer(name)
    if layer is not None:
        return _wrapper(layer).around(make_agent(inner, quick=quick, options=options, device=device), layer)
    chosen, cls = options_of(name, quick=quick, options=options), class_of(name)
    if device is not None and "device" not in chosen and _takes_device(cls):
        chosen["device"] = str(resolve(device))
    try:
        agent: Agent = cls(**chosen)
    except TypeError as error:
        given = ", ".join(f"{key}={value!r}" for key, value in chosen.items()) or "no options"
        raise ConfigError(f"{name}: cannot be built with {given}: {error}.") from error
    return agent


def _takes_device(cls: type) -> bool:
    try:
        return "device" in inspect.signature(cls).parameters
    except ValueError:  # a constructor without a signature, as of some extension modules
        return False


def _wrapper(layer: Layer) -> type[Wrapper]:
    wrapper: type[Wrapper] = imported_class(LAYERS[layer.word].path)
    return wrapper


def options_of(
    name: str, *, quick: bool = False, options: Mapping[str, object] | None = None
) -> dict[str, object]:
    """The keyword arguments that `make_agent` builds an agent with, inside its layers."""
    entry = AGENTS.get(base_of(name), Entry(path=base_of(name)))
    return {**entry.options, **(entry.quick if quick else {}), **(options or {})}


def source_digest(name: str) -> str:
    """SHA-256 of the file an agent's class is in, whether it has changed since; empty where there is none."""
    try:
        return hashlib.sha256(Path(inspect.getfile(class_of(name))).read_bytes()).hexdigest()
    except (OSError, TypeError):  # made by hand, in a notebook
        return ""


def class_of(name: str) -> type:
    """The class of a registered agent or of an import path; it has the methods of an agent, and is not built.

    Of a name with layers, the class of the agent inside.

    Raises:
        ConfigError: an unknown name, a module or class that cannot be found, a class without the methods.
    """
    name = base_of(name)
    if name in AGENTS:
        path = AGENTS[name].path
        return imported_class(path, beside_the_user=not path.startswith("agents."))
    if ":" not in name:
        raise ConfigError(f"unknown agent {name!r}. {did_you_mean(name, AGENTS)} Or an import path, {FORM}.")
    return imported_class(name, beside_the_user=True)


def refuse_untrusted(name: str, source: object, trust: Collection[str] = ()) -> None:
    """Refuse an import path that a file names and the user has not repeated: no file chooses which code runs.

    Args:
        name: of the agent.
        source: the file.
        trust: what the user has repeated.

    Raises:
        ConfigError: neither registered nor repeated.
    """
    base = base_of(name)
    if base not in AGENTS and not {name, base} & set(trust):
        raise ConfigError(
            f"{source}: names the agent {base!r}, which is not one of qn_env's; a file does not choose "
            "which code "
            f"runs. Look at that code and, if you trust it, repeat its name: --trust {base}"
        )


def load_agent(name: str, folder: Path) -> Agent:
    """A trained agent from the folder it was saved in; runs no code from the folder.

    Raises:
        ConfigError: an unknown name, an agent that cannot be loaded, a folder that holds anything but tensors
            and JSON, or not what the agent writes.
    """
    cls = class_of(name)
    if not hasattr(cls, "load"):
        raise ConfigError(f"{name}: the class has no method load; it cannot be restored from {folder}.")
    refuse_other_files(folder)
    try:
        agent = _load(name, folder)
    except QnError as error:
        if str(folder) in str(error):
            raise
        raise ConfigError(f"{folder}: not a checkpoint of {name} ({error}) Train it again.") from error
    except Exception as error:  # whatever the class and its libraries make of wrong content
        raise ConfigError(
            f"{folder}: not a checkpoint of {name} ({in_a_line(error)}). Train it again."
        ) from error
    return agent


def _load(name: str, folder: Path) -> Agent:
    """The agent of a name, layer by layer: each knows the class that reads the folder inside its own."""
    inner, layer = split_layer(name)
    if layer is not None:
        return _wrapper(layer).load_around(folder, layer, lambda place: _load(inner, place))
    agent: Agent = class_of(name).load(folder)  # type: ignore[attr-defined] # looked at by `load_agent`
    return agent


def settings_of(agent: Agent) -> Settings:
    """The environment an agent asks for."""
    settings: Settings = getattr(agent, "settings", Settings())
    return settings


def warmup_of(agent: Agent) -> int:
    """Trading days an agent needs before its first valid signal."""
    return int(getattr(agent, "warmup", 0))


def repr_of(agent: object, config: Any, *always: str) -> str:
    """How an agent shows itself: its class and what of its configuration is not the default.

    Args:
        agent: of any class.
        config: a dataclass.
        always: fields that are shown in any case.
    """
    changed = [
        f"{field.name}={value!r}"
        for field in fields(config)
        if (value := getattr(config, field.name)) != field.default or field.name in always
    ]
    return f"{type(agent).__name__}({', '.join(changed)})"


def learns(agent: Agent) -> bool:
    """Whether an agent's seed matters."""
    return bool(getattr(agent, "learns", True))


def watch(agent: Agent, monitor: Monitor) -> None:
    """Hand a training's monitor to an agent that has one."""
    if isinstance(getattr(agent, "monitor", None), Monitor):
        agent.monitor = monitor  # type: ignore[attr-defined] # optional, so not in the protocol


def play(
    agent: Agent, env: TradingEnv, told: Callable[[int, Observation], Observation] | None = None
) -> FloatArray:
    """Play one episode and return the signals [T, N]; 0 before the first decision and on the last day.

    Args:
        agent: who plays.
        env: what is played.
        told: makes of a row and its observation what the agent is shown; None: the observation.
    """
    signals = np.zeros(env.panel.shape)
    agent.reset()
    observation, info = env.reset()
    row = int(np.searchsorted(env.panel.dates, np.datetime64(info["date"])))
    done = False
    while not done:
        signals[row] = agent.act(observation if told is None else told(row, observation))
        observation, _, terminated, truncated, _ = env.step(signals[row])
        done = terminated or truncated
        row += 1
    return signals


def last_rows(panel: Panel) -> IntArray:
    """[N] row of the last trading day of each asset's market, on which the asset itself may be closed."""
    return np.array([panel.markets[name].rows[-1] for name in panel.market_of], dtype=np.intp)


def signals_from(agent: Agent, panel: Panel, held: FloatArray, env: TradingEnv) -> FloatArray:
    """Signals [N] of the last trading day of every market, for whoever holds something else than the agent.

    Before that day the agent plays the panel as if it had traded it; on it, it decides with what is held in
    place of what it would have held.

    Args:
        agent: a trained one.
        panel: to its last day.
        held: [N] the signals of that day that would leave every weight as it is.
        env: the panel's environment, for an agent that is stepped.

    Raises:
        ConfigError: an agent that is stepped inside a layer: the layer remembers a position of its own.
    """
    last, assets = last_rows(panel), np.arange(len(held))
    own = getattr(agent, "signals_from", None)
    if own is not None:
        signals: FloatArray = own(panel, held)
        return signals
    if hasattr(agent, "signals"):
        return signals_of(agent, panel, env)[last, assets]
    if hasattr(agent, "unwrapped"):
        raise ConfigError(
            f"{agent!r}: the agent inside the layer is stepped, and what the layer remembers cannot be "
            "replaced by positions from a file. Give the agent a method signals, or leave the layer out."
        )
    weight = held * env.tape.scale[last, assets]

    def told(row: int, observation: Observation) -> Observation:
        if "positions" not in observation:
            return observation
        positions = np.where(last == row, weight, observation["positions"])
        return {**observation, "positions": positions}

    return play(agent, env, told)[last, assets]


def signals_of(agent: Agent, panel: Panel, env: TradingEnv) -> FloatArray:
    """Signals [T, N] on a panel: in one pass where the agent can, else played through `env`.

    Raises:
        ConfigError: signals of the wrong shape, not finite or outside [-1, 1].
    """
    one_pass = getattr(agent, "signals", None)
    signals = np.asarray(one_pass(panel) if one_pass is not None else play(agent, env), dtype=np.float64)
    if signals.shape != panel.shape:
        raise ConfigError(f"the agent's signals have shape {signals.shape}, expected {panel.shape}.")
    bad = np.argwhere(~(np.abs(signals) <= 1.0))
    if len(bad):
        t, j = bad[0]
        raise ConfigError(
            f"the agent's signal for {panel.assets[j]!r} on {panel.dates[t]} is {signals[t, j]}, "
            "expected a number in [-1, 1]."
        )
    return signals


_RULES = {
    "buy-and-hold": "every asset long, no scaling",
    "risk-parity": "long in inverse proportion to volatility (Koshiyama et al. 2020, Eq. 9)",
    "ts-momentum": "the mean return of a year, as it is (Koshiyama et al. 2020, Eq. 10)",
    "moving-average": "tanh of a year's weighted returns over their deviation (Koshiyama et al. 2020, Eq. 1)",
    "cs-momentum": "the year's winners of a market long, its losers short (Koshiyama et al. 2020, Eq. 11)",
    "long-only": "every asset long at 15% volatility (Lim et al. 2019)",
    "sgn-returns": "the side of the last year's return at 15% volatility (Moskowitz et al. 2012)",
    "macd": "trends over three time scales at 15% volatility (Baz et al. 2015)",
}
for _name, _about in _RULES.items():
    register(_name, "agents.rules:RuleAgent", about=_about, options={"rule": _name})
_QUANTNET: dict[str, tuple[str, dict[str, object]]] = {
    # Named Encoder/Decoder-Transfer in the paper; its best one, LSTM-Linear, bears the plain name.
    "quantnet": ("an LSTM per market around a linear layer that all share (Koshiyama et al. 2020)", {}),
    "quantnet-linear-linear": (
        "QuantNet with linear encoders, decoders and transfer",
        {"encoder": "linear", "decoder": "linear"},
    ),
    "quantnet-linear-lstm": (
        "QuantNet with linear encoders and decoders, an LSTM as transfer",
        {"encoder": "linear", "transfer": "lstm", "decoder": "linear"},
    ),
    "quantnet-lstm-lstm": ("QuantNet with LSTMs throughout", {"transfer": "lstm"}),
    "quantnet-shared": (
        "all weights shared, a small learnt vector per market; plays markets it never saw",
        {
            "weights": "shared",
            "decoder": "linear",
            "pooled": True,
            "batch": 8,
            "learning_rate": 2e-3,
            "epoch": 20,
            "patience": 15,
        },
    ),
    "no-transfer-lstm": ("an LSTM per market, nothing shared", {"transfer": None}),
    "no-transfer-linear": (
        "a linear model per market, nothing shared",
        {"encoder": "linear", "transfer": None},
    ),
}
for _name, (_about, _options) in _QUANTNET.items():
    register(
        _name,
        "agents.quantnet:QuantNet",
        about=_about,
        options=_options,
        quick={"steps": 200, "patience": 3},
        learns=True,
        queue={"quantnet-shared": 0, "no-transfer-lstm": 1, "quantnet": 2}.get(_name, QUEUE),
    )
# Networks that learn from single asset-days: the size and rate of a step that passes the probes, where the
# defaults, meant for trajectories, do not; a quick training has too few epochs for so small a rate.
_ONE_BY_ONE = {"batch": 2048, "learning_rate": 1e-3}
_QUICK_ONE_BY_ONE = {"batch": 256, "learning_rate": 1e-2}
_NETWORKS = {"linear": "a linear model", "mlp": "an MLP", "wavenet": "a WaveNet", "lstm": "an LSTM"}
_LOSSES = {
    "sharpe": "the Sharpe ratio",
    "average": "the average return",
    "mse": "the next return's squared error",
    "binary": "the next return's sign",
}
for _network in _NETWORKS:
    _own, _fast = ({}, {}) if _network == "lstm" else (_ONE_BY_ONE, _QUICK_ONE_BY_ONE)
    for _loss in _LOSSES:
        register(
            f"dmn-{_network}-{_loss}",
            "agents.dmn:DeepMomentum",
            about=f"{_NETWORKS[_network]}, trained on {_LOSSES[_loss]} (Lim et al. 2019)",
            options={"network": _network, "loss": _loss, **_own},
            # An epoch of the linear model is a step or two.
            quick={"epochs": 40, "patience": 10, **_fast}
            if _network == "linear"
            else {"epochs": 10, "patience": 4, **_fast},
            learns=True,
            queue=4 if (_network, _loss) == ("lstm", "sharpe") else QUEUE,
        )
register(
    "momentum-transformer",
    "agents.dmn:DeepMomentum",
    about="causal attention over an LSTM's states (Wood et al. 2021)",
    options={"network": "transformer"},
    quick={"epochs": 10, "patience": 4},
    learns=True,
)
_JOINT: dict[str, tuple[str, dict[str, object]]] = {
    "spatiotemporal": ("linear (Tan et al. 2023)", {"hidden": None}),
    "spatiotemporal-mlp": ("an MLP (Tan et al. 2023)", {"hidden": 10}),
    "spatiotemporal-delayed": ("an MLP that sees the others a day later", {"hidden": 10, "delay": 1}),
}
for _name, (_about, _options) in _JOINT.items():
    register(
        _name,
        "agents.dmn:SpatioTemporal",
        about=f"all assets' features of a date at once, {_about}",
        options=_options,
        quick={"epochs": 30, "patience": 10},
        learns=True,
    )
register(
    "dmn-lstm-softmin",
    "agents.dmn:DeepMomentum",
    about="an LSTM, trained on the Sharpe ratio of all years together and of the worst ones (DeePM)",
    options={"network": "lstm", "loss": "softmin"},
    quick={"epochs": 10, "patience": 4},
    learns=True,
)
register(
    "dmn-lstm-changepoints",
    "agents.dmn:DeepMomentum",
    about="an LSTM that sees where and how surely the law last changed (Wood et al. 2021)",
    options={"network": "lstm", "changepoints": (21, 126)},
    quick={"epochs": 10, "patience": 4},
    learns=True,
)
register(
    "rrl",
    "agents.closed:ClosedLoop",
    about="a linear policy that reads what it holds, trained net of 2 bps (Moody and Saffell 2001)",
    quick={"epochs": 20, "patience": 5},
    learns=True,
)
for _network in ("mlp", "lstm"):
    register(
        f"dmn-{_network}-closed",
        "agents.closed:ClosedLoop",
        about=f"{_NETWORKS[_network]} that draws a band around what it holds, trained net of 2 bps",
        options={"network": _network},
        quick={"epochs": 10, "patience": 4},
        learns=True,
    )
_SHARED_POLICIES = {
    "ppo": ("PPO", "PPO (Schulman et al. 2017)"),
    "a2c": ("A2C", "A2C (Mnih et al. 2016)"),
    "sac": ("SAC", "soft actor-critic (Haarnoja et al. 2018)"),
    "td3": ("TD3", "TD3 (Fujimoto et al. 2018)"),
    "ddpg": ("DDPG", "DDPG (Lillicrap et al. 2016)"),
    "dqn": ("DQN", "DQN over long, flat and short (Zhang, Zohren and Roberts 2020)"),
    "recurrent-ppo": ("sb3_contrib:RecurrentPPO", "PPO with a memory, of sb3-contrib"),
}
_OFF_POLICY = ("sac", "td3", "ddpg", "dqn")
for _name, (_algorithm, _about) in _SHARED_POLICIES.items():
    register(
        _name,
        "agents.sb3:SharedSB3Agent",
        about=f"{_about}, one policy for every asset, net of 2 bps",
        options={"algorithm": _algorithm, **({"risk_aversion": 0.05} if _name == "dqn" else {})},
        # Off-policy algorithms begin to learn after so many days, most of a quick training.
        quick={
            "timesteps": 50_000,
            **({"learning_starts": 5_000} if _name in _OFF_POLICY else {}),
        },
        learns=True,
        queue=3 if _name == "ppo" else QUEUE,
    )
register(
    "ppo-joint",
    "agents.sb3:SB3Agent",
    about="PPO, one policy over all assets at once, net of 2 bps",
    options={"algorithm": "PPO"},
    quick={"timesteps": 4096},
    learns=True,
)
register(
    "ppo-device",
    "agents.ppo:DevicePPO",
    about="PPO in PyTorch on one device, one policy for every asset, net of 2 bps",
    quick={"timesteps": 50_000, "accounts": 256, "learning_rate": 3e-3},
    learns=True,
)
register(
    "x-trend",
    "agents.xtrend:XTrend",
    about="attends to other assets' days that have ended; zero-shot, few-shot (Wood et al. 2023)",
    quick={"epochs": 6, "patience": 3, "recent": 8},
    learns=True,
)
_LATER: dict[str, object] = {"search": "wood2022"}  # trajectories, as that grid counts a batch
_BRIEF: dict[str, object] = {"epochs": 6, "hidden": 10}
# The architectures of arXiv:2603.01820 beside the LSTM; quick trainings of those that read windows are short.
_OTHERS: dict[str, tuple[str, dict[str, object], dict[str, object]]] = {
    "vsn-lstm": ("variable selection and an LSTM (Lim et al. 2021)", _LATER, _BRIEF),
    "tft": ("a temporal fusion transformer (Lim et al. 2021)", _LATER, _BRIEF),
    "xlstm": ("an xLSTM (Beck et al. 2024)", _LATER, _BRIEF),
    "patchtst": (
        "a transformer over patches of each feature's window (Nie et al. 2023)",
        {"hidden": 16, "heads": 2, "patience": 6, **_ONE_BY_ONE},
        {"hidden": 8, "context": 24, **_QUICK_ONE_BY_ONE},
    ),
    "lstm-patchtst": (
        "an LSTM beside a transformer over patches of the window (Nie et al. 2023)",
        {"hidden": 16, "heads": 2, "batch": 64, "learning_rate": 1e-3, "patience": 6, **_LATER},
        {"hidden": 8, "context": 24, "batch": 16, "learning_rate": 1e-2},
    ),
    "dlinear": (
        "linear maps of a window's moving average and of what remains (Zeng et al. 2023)",
        {"patience": 10, **_ONE_BY_ONE},
        {**_QUICK_ONE_BY_ONE},
    ),
    "itransformer": (
        "attention among features, a whole window each (Liu et al. 2024)",
        {"hidden": 16, "heads": 2, "patience": 10, **_ONE_BY_ONE},
        {"hidden": 8, **_QUICK_ONE_BY_ONE},
    ),
    "mamba2": (
        "a selective state space (Dao and Gu 2024)",
        {"hidden": 16, "batch": 64, "learning_rate": 3e-3, "patience": 10, **_LATER},
        {"hidden": 8, "batch": 16, "learning_rate": 1e-2},
    ),
}
for _network, (_about, _chosen, _quick) in _OTHERS.items():
    register(
        f"dmn-{_network}",
        "agents.dmn:DeepMomentum",
        about=_about,
        options={"network": _network, **_chosen},
        quick={"epochs": 5, "patience": 4, **_quick},
        learns=True,
        queue=4 if "patchtst" in _network else QUEUE,
    )

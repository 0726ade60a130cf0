"""The look-ahead audit of agents: every planted cheater is caught, no honest agent is accused."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import audit
from agents.agent import AGENTS, Settings, make_agent, settings_of, signals_of, warmup_of
from agents.audit import audit_agent
from agents.ppo.block import Block
from agents.sb3 import SharedSB3Agent
from experiments.cli import main
from experiments.commands.audit import check_agent, check_refit
from experiments.running.protocols import Protocol
from experiments.running.units import Unit, Variant, train_agent
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, LookAheadError
from qn_env.features import MeanReturn
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged

RULES = sorted(name for name, entry in AGENTS.items() if not entry.learns)
NAMED = r"On (\d{4}-\d\d-\d\d) the signal for (M\d/A\d) was"


@lru_cache
def market() -> Panel:
    return ragged(sizes=(8, 1, 6), days=900, seed=446)


def environment(agent, panel: Panel | None = None, **options) -> TradingEnv:
    """Played from the 500th day on."""
    panel = panel if panel is not None else market()
    asked = settings_of(agent)
    played = {"start": str(market().dates[500]), "warmup": warmup_of(agent)} | options
    return TradingEnv(
        panel, window=asked.window, features=asked.features, vol_target=asked.vol_target, **played
    )


class Agent:
    """Honest until a subclass is not: follows `decide` over the whole panel in one pass."""

    settings = Settings(window=3)
    learns = False

    def fit(self, env, *, seed, validation=None):
        return self

    def reset(self): ...

    def act(self, observation):
        raise NotImplementedError

    def signals(self, panel):
        return np.clip(self.decide(np.nan_to_num(panel.returns), panel), -1.0, 1.0)

    def decide(self, returns, panel):
        """Signals [T, N] from returns, 0 where there are none."""
        return 20 * returns


class Stepped(Agent):
    """Sees an observation a day."""

    signals = None

    def act(self, observation):
        return np.clip(20 * observation["returns"][-1], -1.0, 1.0)


class WholeSampleNormalised(Agent):
    def decide(self, returns, panel):
        return (returns - returns.mean(axis=0)) / (3 * returns.std(axis=0) + 1e-6)


class CentredWindow(Agent):
    def decide(self, returns, panel):
        return 20 * np.stack([np.convolve(column, np.ones(5) / 5, mode="same") for column in returns.T], 1)


class ShiftedTarget(Agent):
    def decide(self, returns, panel):
        return np.sign(np.vstack([returns[1:], returns[:1]]))


class TomorrowsMask(Agent):
    def decide(self, returns, panel):
        return np.where(np.vstack([panel.tradable[1:], panel.tradable[:1]]), 1.0, 0.2)


class LeavesBeforeDelisting(Agent):
    def decide(self, returns, panel):
        last = len(returns) - np.argmax(panel.tradable[::-1], axis=0)
        return np.where(last - np.arange(len(returns))[:, None] > 40, 1.0, 0.0)


class FitsOnWhatItIsJudgedOn(Agent):
    def decide(self, returns, panel):
        slope = (returns[1:] * returns[:-1]).sum(axis=0) / ((returns**2).sum(axis=0) + 1e-9)
        return 100 * slope * returns


class BestAssetsOfTheSample(Agent):
    def decide(self, returns, panel):
        total = returns.sum(axis=0)
        return np.where(total > np.median(total), 1.0, -1.0) * np.ones_like(returns)


class WinsorisedByTheSample(Agent):
    def decide(self, returns, panel):
        return 20 * returns.clip(*np.quantile(returns, [0.1, 0.9], axis=0))


class SmoothedBothWays(Agent):
    def decide(self, returns, panel):
        smooth = np.cumsum(returns[::-1], axis=0)[::-1]
        return np.tanh(5 * smooth)


class BackwardFilled(Agent):
    """Yesterday's closed asset was worth what it reopened at."""

    def decide(self, returns, panel):
        filled = returns.copy()
        for t in range(len(returns) - 2, -1, -1):
            filled[t] = np.where(panel.tradable[t], returns[t], filled[t + 1])
        following = np.vstack([filled[1:], filled[-1:]])
        return np.where(np.vstack([panel.tradable[1:], panel.tradable[:1]]), 20 * returns, 20 * following)


class ObservationsLeft(Agent):
    def decide(self, returns, panel):
        return panel.tradable[::-1].cumsum(axis=0)[::-1] / len(returns)


class RanksWithTomorrow(Agent):
    def decide(self, returns, panel):
        two_days = returns + np.vstack([returns[1:], returns[:1]])
        return 2 * two_days.argsort(axis=1).argsort(axis=1) / returns.shape[1] - 1.0


class SizedByLaterVolatility(Agent):
    def decide(self, returns, panel):
        later = np.array([returns[t : t + 20].std(axis=0) for t in range(len(returns))])
        return 0.002 / (later + 0.002)


class KeepsItsFirstPass(Agent):
    """The audit's passes would all be answered with what the first one left behind."""

    kept = None

    def decide(self, returns, panel):
        if self.kept is None:
            self.kept = np.sign(np.vstack([returns[1:], returns[:1]]))
        return self.kept


class OneBufferForAllPasses(Agent):
    """Hands out the array it writes into: the first pass changes with the second."""

    buffer = None

    def signals(self, panel):
        if self.buffer is None:
            self.buffer = np.zeros(panel.shape)
        self.buffer[:-1] = np.sign(np.nan_to_num(panel.returns[1:]))
        return self.buffer


class LooksIntoItsCaller(Stepped):
    def act(self, observation):
        env = inspect.currentframe().f_back.f_locals["env"]
        return np.clip(20 * np.nan_to_num(env.panel.returns[env.row + 1]), -1.0, 1.0)


class OneAssetShifted(Agent):
    asset = 5

    def decide(self, returns, panel):
        signals = 20 * returns
        signals[:-1, self.asset] = np.sign(returns[1:, self.asset])
        return signals


PEEKING = [
    WholeSampleNormalised,
    CentredWindow,
    ShiftedTarget,
    TomorrowsMask,
    LeavesBeforeDelisting,
    FitsOnWhatItIsJudgedOn,
    BestAssetsOfTheSample,
    WinsorisedByTheSample,
    SmoothedBothWays,
    BackwardFilled,
    ObservationsLeft,
    RanksWithTomorrow,
    SizedByLaterVolatility,
    KeepsItsFirstPass,
    OneBufferForAllPasses,
    LooksIntoItsCaller,
]


@pytest.mark.parametrize("cheater", PEEKING)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_agent_that_peeks_is_caught_and_the_day_and_asset_are_named(cheater, seed):
    agent = cheater()
    with pytest.raises(LookAheadError, match=r"^Look-ahead: .*depends on later days") as error:
        audit_agent(agent, environment(agent), seed=seed)
    day, asset = re.search(NAMED, str(error.value)).groups()
    changed_after = re.search(r"the days later than (\S+) were changed", str(error.value)).group(1)
    assert str(market().dates[499]) <= day <= changed_after
    assert asset in {f"{m}/{a}" for m, a in zip(market().market_of, market().assets, strict=True)}


@pytest.mark.parametrize("asset", range(15))
def test_a_leak_in_one_asset_is_caught_and_that_asset_named(asset):
    agent = OneAssetShifted()
    agent.asset = asset
    decided = environment(agent).tape.decides[:, asset].any()
    assert decided, "the panel was chosen so that every asset trades in the test block"
    with pytest.raises(LookAheadError, match=f"for {market().market_of[asset]}/{market().assets[asset]} was"):
        audit_agent(agent, environment(agent), depth="full")


class RememberedFuture(Agent):
    """Notes what it saw and uses it the next time."""

    noted = None

    def decide(self, returns, panel):
        known = self.noted if self.noted is not None else returns
        self.noted = np.vstack([returns[1:], returns[:1]])
        return 20 * known


class NeverForgets(Stepped):
    """Its mean goes on from the last day of the episode before."""

    mean = 0.0

    def act(self, observation):
        self.mean = 0.9 * self.mean + 0.1 * observation["returns"][-1]
        return np.clip(100 * self.mean, -1.0, 1.0)


class Dices(Agent):
    def decide(self, returns, panel):
        return np.random.default_rng().uniform(-1, 1, returns.shape)


@pytest.mark.parametrize("cheater", [RememberedFuture, NeverForgets, Dices])
def test_what_a_pass_leaves_behind_and_unseeded_chance_are_caught(cheater):
    agent = cheater()
    with pytest.raises(LookAheadError, match=r"^Not reproducible.* in a second pass") as error:
        audit_agent(agent, environment(agent))
    assert re.search(NAMED, str(error.value))


class LearnsFromItsLastPass(Agent):
    """Fits to the longest data that any agent of the class ever played."""

    seen: ClassVar[list] = []
    level = 0.0

    def fit(self, env, *, seed, validation=None):
        data = max([env.panel, *self.seen], key=lambda panel: len(panel.dates))
        self.level = np.nan_to_num(data.returns).mean(axis=0)
        return self

    def decide(self, returns, panel):
        self.seen.append(panel)
        return 100 * self.level + returns


class Means(Agent):
    """Honest: the mean of the training block."""

    def fit(self, env, *, seed, validation=None):
        self.level = np.nanmean(env.panel.returns, axis=0)
        return self

    def decide(self, returns, panel):
        return 100 * self.level + returns


class LuckyMeans(Means):
    def fit(self, env, *, seed, validation=None):
        super().fit(env, seed=seed)
        self.level += np.random.default_rng().normal() / 1000
        return self


@dataclass(frozen=True, kw_only=True)
class Leaky(Protocol):
    """Trains on the selection and the test block, too."""

    def folds(self, panel):
        return [replace(fold, train=fold.test) for fold in super().folds(panel)]


def refitted(agent, division):
    panel = market()
    unit = Unit("means", Variant(f"{__name__}:{agent.__name__}"), 0, None)
    fold = division.folds(panel)[0]
    signals = signals_of(train_agent(unit, fold), fold.test, TradingEnv(fold.test))
    return check_refit(unit, fold, panel, division, signals)


def test_a_training_that_reaches_beyond_its_block_is_caught():
    with pytest.raises(LookAheadError, match=r"^Look-ahead: what the agent learns .*On .* M\d/A\d"):
        refitted(Means, Leaky())
    assert refitted(Means, Protocol()).decisions > 100


def test_a_training_that_an_earlier_pass_reaches_is_caught(monkeypatch):
    monkeypatch.setattr(LearnsFromItsLastPass, "seen", [])
    with pytest.raises(LookAheadError, match=NAMED):
        check_agent(f"{__name__}:LearnsFromItsLastPass", market(), refit=True)


def test_a_training_whose_chance_is_not_the_seed_is_said_to_be_so():
    with pytest.raises(LookAheadError, match=r"^Not reproducible.* with the same seed"):
        refitted(LuckyMeans, Protocol())


@pytest.mark.parametrize("name", RULES)
def test_no_registered_rule_is_accused(name):
    found = check_agent(name, market(), refit=True)
    assert len(found.comparisons) == 1 + 3 * 4 + 1
    assert found.active > 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("quantnet", {"steps": 20}),
        ("dmn-linear-sharpe", {"epochs": 3}),
        ("dmn-lstm-sharpe", {"epochs": 1}),
        ("x-trend", {"epochs": 1}),
        ("ppo", {"timesteps": 128}),
        ("ppo-device", {"timesteps": 128, "accounts": 8}),
        ("dmn-lstm-closed", {"epochs": 1}),
        ("ppo-joint", {"timesteps": 128, "options": {"n_steps": 64, "batch_size": 64, "n_epochs": 1}}),
    ],
)
def test_no_learner_is_accused(name, options, monkeypatch):
    # Who earns nothing on the validation block stays flat, as most do after so short a training.
    monkeypatch.setattr(SharedSB3Agent, "_score", lambda *_: 1.0)
    monkeypatch.setattr(Block, "score", lambda *_: 1.0)
    agent = make_agent(name, quick=True, options=options)
    panel = market()
    agent.fit(environment(agent, panel.until(panel.dates[499]), start=None, warmup=0), seed=0)
    found = audit_agent(agent, environment(agent))
    assert len(found.comparisons) == 1 + 3
    assert found.active > 0
    np.testing.assert_array_equal(found.signals, signals_of(agent, panel, environment(agent)))


class Average(Agent):
    """Honest: the mean of each asset's last five days, in one pass."""

    settings = Settings(window=1, features=(MeanReturn(5),))

    def decide(self, returns, panel):
        return 30 * panel.features(self.settings.features)[..., 0]


class SteppedAverage(Stepped):
    """The same, day by day."""

    settings = Average.settings

    def act(self, observation):
        return np.clip(30 * observation["features"][-1, :, 0] + observation["positions"] / 9, -1.0, 1.0)


class Memory(Stepped):
    """Honest: forgets when it is told to."""

    def reset(self):
        self.mean = 0.0

    act = NeverForgets.act


@settings(max_examples=30)
@given(
    agent=st.sampled_from([Average, SteppedAverage, Memory]),
    seed=st.integers(0, 1000),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    begin=st.sampled_from([None, 10, 25]),
    warmup=st.integers(0, 15),
    lag=st.integers(0, 2),
    days=st.integers(1, 4),
)
def test_an_honest_agent_is_never_accused(agent, seed, sizes, begin, warmup, lag, days):
    panel = ragged(sizes=sizes, days=80, seed=seed)
    start = None if begin is None else str(panel.dates[begin])
    env = environment(agent(), panel, start=start, warmup=warmup, execution_lag=lag)
    found = audit_agent(agent(), env, days=days, seed=seed)
    assert 2 <= len(found.comparisons) <= 1 + days


class PeeksWhereNobodyListens(Agent):
    """On closed days and before its account is open its action is ignored."""

    def decide(self, returns, panel):
        tomorrow = np.vstack([returns[1:], returns[:1]])
        heard = panel.tradable & (panel.dates >= panel.dates[498])[:, None]
        return np.where(heard, 20 * returns, np.sign(tomorrow))


def test_an_action_that_is_ignored_is_not_compared():
    agent = PeeksWhereNobodyListens()
    assert audit_agent(agent, environment(agent), depth="full").active > 0


class RoundsByTheFuture(Agent):
    def decide(self, returns, panel):
        return 20 * returns + 1e-12 * returns.sum()


def test_a_difference_of_rounding_is_a_finding_and_called_so():
    agent = RoundsByTheFuture()
    with pytest.raises(LookAheadError, match="No difference is larger than rounding"):
        audit_agent(agent, environment(agent))


class Brittle(Agent):
    def decide(self, returns, panel):
        if np.abs(returns).max() > 0.2:
            raise ZeroDivisionError("too large")
        return 20 * returns


def test_an_error_on_changed_days_says_which_days_were_changed():
    agent = Brittle()
    with pytest.raises(ZeroDivisionError) as error:
        audit_agent(agent, environment(agent))
    assert "with the days later than 200" in error.value.__notes__[0]


class AnotherShape(Agent):
    def signals(self, panel):
        extra = 0 if panel is market() else 1
        return np.zeros((panel.shape[0] + extra, panel.shape[1]))


class Uncopied(Agent):
    """Holds something that cannot be copied."""

    def __init__(self):
        self.stream = (day for day in range(3))


def test_an_agent_that_cannot_be_copied_is_audited_as_it_is():
    agent = Uncopied()
    assert audit_agent(agent, environment(agent)).active > 0


def test_unusable_settings_and_signals_are_refused():
    agent = Agent()
    with pytest.raises(ConfigError, match="days is 0"):
        audit_agent(agent, environment(agent), days=0)
    with pytest.raises(ConfigError, match="seed is -1"):
        audit_agent(agent, environment(agent), seed=-1)
    for options in ({"random_start": True}, {"episode_days": 9}):
        with pytest.raises(ConfigError, match="plays to the end of its panel"):
            audit_agent(agent, environment(agent, **options))
    with pytest.raises(ConfigError, match=r"the agent's signals have shape \(9"):
        audit_agent(AnotherShape(), environment(agent))


def test_an_agent_that_is_stepped_plays_no_longer_than_to_the_changed_day(monkeypatch):
    lengths = []

    def counted(agent, env):
        lengths.append(env.config.episode_days)
        return play(agent, env)

    play = audit.play
    monkeypatch.setattr(audit, "play", counted)
    env = environment(Stepped())
    audit_agent(Stepped(), env)
    block = len(market().dates) - env.setup.first
    assert len(lengths) == 3
    assert sum(lengths) < 2.2 * block
    assert lengths == sorted(lengths)


class Idle(Agent):
    def decide(self, returns, panel):
        return 0.0 * returns


def test_a_report_says_what_was_compared_and_whether_it_shows_anything():
    full = str(audit_agent(Agent(), environment(Agent()), depth="full"))
    assert full.count("(a crash)") == full.count("(a calm)") == 3
    assert "15 of 15 assets traded" in full
    assert "shows nothing" not in full
    assert "shows nothing" in str(audit_agent(Idle(), environment(Idle())))


def test_the_command_passes_an_honest_agent(capsys, monkeypatch):
    monkeypatch.setattr("experiments.running.runner.load_panel", lambda config: market())
    assert main(["audit", "--agent", "macd", "--refit", "--seed", "3", "--days", "2"]) == 0
    out = capsys.readouterr().out
    assert "15 assets in 3 markets" in out
    assert "Agent macd: No look-ahead found, in 10 comparisons" in out
    assert "selection block changed" in out


def test_the_command_fails_an_agent_that_peeks(capsys, monkeypatch):
    monkeypatch.setattr("experiments.running.runner.load_panel", lambda config: market())
    assert main(["audit", "--agent", f"{__name__}:ShiftedTarget", "--vol-target", "0.15"]) == 3
    out = capsys.readouterr().out
    assert "ShiftedTarget: Look-ahead:" in out
    assert re.search(NAMED, out)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--agent", "mcad"], "Did you mean 'macd'"),
        (["--agent", "nowhere:Agent"], "no module named 'nowhere'"),
        (["--refit"], "needs --agent"),
    ],
)
def test_the_command_refuses_what_it_cannot_use(capsys, monkeypatch, words, message):
    monkeypatch.setattr("experiments.running.runner.load_panel", lambda config: market())
    assert main(["audit", *words]) == 1
    assert message in capsys.readouterr().err

"""The look-ahead audit of an environment: every planted leak is found, no honest environment is accused."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import (
    FlattenObservation,
    NormalizeObservation,
    RecordEpisodeStatistics,
    TimeLimit,
    TransformAction,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import qn_env
from experiments.cli import main
from experiments.commands import audit as command
from qn_env.audit import check_no_lookahead
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, LookAheadError
from qn_env.features import MeanReturn, NormalisedReturn
from qn_env.panel import Panel
from qn_env.scramble import KINDS, scramble
from qn_env.sources.synthetic import ragged

FEATURES = (NormalisedReturn(1), MeanReturn(5))
DAYS = 120


@pytest.fixture
def small() -> Panel:
    return ragged(days=DAYS, seed=3)


class Wrapper(gymnasium.Wrapper):
    """Around an environment on a panel; `row` is today's."""

    def __init__(self, env):
        super().__init__(env)
        self.source = env.unwrapped.panel
        self.known = np.nan_to_num(self.source.returns)

    def reset(self, **options):
        observation, info = self.env.reset(**options)
        return self.seen(observation, self.row(info)), self.told(info, self.row(info))

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(self.traded(action))
        row = self.row(info)
        observation, reward = self.seen(observation, row), self.paid(reward, action, row)
        return observation, reward, terminated or self.stopped(row), truncated, self.told(info, row)

    def row(self, info) -> int:
        return int(np.searchsorted(self.source.dates, np.datetime64(info["date"])))

    def tomorrow(self, values, row):
        return values[min(row + 1, len(values) - 1)]

    def seen(self, observation, row):
        return observation

    def told(self, info, row):
        return info

    def paid(self, reward, action, row):
        return reward

    def traded(self, action):
        return action

    def stopped(self, row):
        return False


class TomorrowsReturn(Wrapper):
    def seen(self, observation, row):
        observation["returns"][-1] = self.tomorrow(self.known, row)
        return observation


class WholeSampleNormalised(Wrapper):
    def seen(self, observation, row):
        observation["returns"] /= self.known.std(axis=0) + 1e-6
        return observation


class CentredAverage(Wrapper):
    def seen(self, observation, row):
        return {**observation, "trend": self.known[max(row - 2, 0) : row + 3].mean(axis=0)}


class TomorrowsMask(Wrapper):
    def seen(self, observation, row):
        observation["tradable"][-1] = self.tomorrow(self.source.tradable, row)
        return observation


class DelistingFlag(Wrapper):
    def seen(self, observation, row):
        last = DAYS - np.argmax(self.source.tradable[::-1], axis=0)
        return {**observation, "leaves_soon": last - row < 30}


class ObservationsLeft(Wrapper):
    def seen(self, observation, row):
        return {**observation, "left": self.source.tradable[row + 1 :].sum(axis=0)}


class BackwardFilled(Wrapper):
    def seen(self, observation, row):
        for j in np.flatnonzero(~self.source.tradable[row]):
            later = self.known[row:, j][self.source.tradable[row:, j]]
            observation["returns"][-1, j] = later[0] if len(later) else 0.0
        return observation


class WholeSampleWinsorised(Wrapper):
    def seen(self, observation, row):
        low, high = np.quantile(self.known, [0.1, 0.9], axis=0)
        observation["returns"] = observation["returns"].clip(low, high)
        return observation


class RewardADayEarly(Wrapper):
    def paid(self, reward, action, row):
        return float(np.mean(action * self.tomorrow(self.known, row)))


class WholeSampleScale(Wrapper):
    def traded(self, action):
        volatility = self.known.std(axis=0) + 1e-6
        return action * volatility.min() / volatility


class ToldTomorrow(Wrapper):
    def told(self, info, row):
        return {**info, "market": {"tomorrow": float(self.tomorrow(self.known, row).mean())}}


class ToldTheEnd(Wrapper):
    def told(self, info, row):
        return {**info, "final_equity": np.prod(1.0 + self.known.mean(axis=1))}


class StopsBeforeAFall(Wrapper):
    def stopped(self, row):
        return bool(self.tomorrow(self.known, row).mean() < -0.02)


def starting_before_the_best_week(panel: Panel) -> TradingEnv:
    gain = np.nan_to_num(panel.returns).mean(axis=1)
    week = np.convolve(gain, np.ones(5), mode="valid")
    return TradingEnv(panel, window=4, start=str(panel.dates[1 + int(np.argmax(week[1:-20]))]))


def around(leak):
    return lambda panel: leak(TradingEnv(panel, window=4, features=FEATURES, vol_target=0.15))


LEAKS = {
    "tomorrow's return": (around(TomorrowsReturn), "observation['returns']"),
    "returns normalised over the whole sample": (around(WholeSampleNormalised), "observation['returns']"),
    "centred moving average": (around(CentredAverage), "observation['trend']"),
    "tomorrow's mask": (around(TomorrowsMask), "observation['tradable']"),
    "delisting flag": (around(DelistingFlag), "observation['leaves_soon']"),
    "observations left": (around(ObservationsLeft), "observation['left']"),
    "backward filling": (around(BackwardFilled), "observation['returns']"),
    "winsorised with quantiles of the whole sample": (
        around(WholeSampleWinsorised),
        "observation['returns']",
    ),
    "reward paid a day early": (around(RewardADayEarly), "reward"),
    "position scale of the whole sample": (around(WholeSampleScale), "info['turnover']"),
    "info of tomorrow": (around(ToldTomorrow), "info['market']['tomorrow']"),
    "final equity at reset": (around(ToldTheEnd), "info['final_equity']"),
    "termination before a fall": (around(StopsBeforeAFall), "terminated"),
    "start chosen by later returns": (starting_before_the_best_week, "info['date']"),
}


@pytest.mark.parametrize("name", LEAKS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_leak_is_found_and_its_day_named(small, name, seed):
    build, what = LEAKS[name]
    report = check_no_lookahead(build(small), seed=seed, rebuild=build)
    assert not report.passed
    assert what in {finding.what for finding in report.findings}
    for finding in report.findings:
        assert finding.check == "future"
        assert finding.scrambled_after in report.days
        assert finding.date <= finding.scrambled_after
    with pytest.raises(LookAheadError, match=r"Look-ahead: .*depends on later days"):
        report.raise_if_failed()


@pytest.mark.parametrize("leak", [TomorrowsReturn, RewardADayEarly, ToldTomorrow])
def test_a_leak_of_the_next_day_is_found_on_the_day_before_the_change(small, leak):
    report = check_no_lookahead(around(leak)(small), rebuild=around(leak))
    assert {finding.scrambled_after for finding in report.findings} >= set(report.days[1:])
    assert all(finding.date == finding.scrambled_after for finding in report.findings)


def test_a_finding_names_the_asset_and_both_values(small):
    class OneAsset(Wrapper):
        def seen(self, observation, row):
            observation["positions"][2] = self.tomorrow(self.known, row)[5]
            return observation

    report = check_no_lookahead(around(OneAsset)(small), rebuild=around(OneAsset))
    finding = report.findings[0]
    assert finding.asset == f"{small.market_of[2]}/{small.assets[2]}"
    row = int(np.searchsorted(small.dates, np.datetime64(finding.date)))
    assert finding.value == np.nan_to_num(small.returns)[row + 1, 5] != finding.other
    assert f"{finding.date}: observation['positions'] of {finding.asset} was" in str(report)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    window=st.integers(1, 8),
    features=st.sampled_from([(), FEATURES]),
    vol_target=st.sampled_from([None, 0.15]),
    lag=st.integers(0, 2),
    begin=st.sampled_from([None, 0.2, 0.6]),
    warmup=st.integers(0, 15),
    chance=st.sampled_from([{}, {"random_start": True}, {"random_start": True, "episode_days": 20}]),
)
def test_an_honest_environment_is_never_accused(
    seed, sizes, window, features, vol_target, lag, begin, warmup, chance
):
    panel = ragged(sizes=sizes, days=70, seed=seed)
    start = None if begin is None else str(panel.dates[int(begin * len(panel.dates))])
    env = TradingEnv(
        panel,
        window=window,
        features=features,
        vol_target=vol_target,
        execution_lag=lag,
        start=start,
        warmup=warmup,
        **chance,
    )
    report = check_no_lookahead(env, days=2, seed=seed)
    report.raise_if_failed()
    assert report.steps > 0


@pytest.mark.parametrize(
    "wrap",
    [
        FlattenObservation,
        RecordEpisodeStatistics,
        lambda env: TimeLimit(FlattenObservation(env), 50),
        lambda env: TransformAction(env, lambda side: np.full(8, side - 1.0, np.float32), spaces.Discrete(3)),
    ],
)
def test_recorded_wrappers_are_put_around_again(small, wrap):
    made = gymnasium.make(qn_env.ENV_ID, panel=small, window=3, warmup=5, start=str(small.dates[40]))
    for env in (made, TradingEnv(small, window=3)):
        assert check_no_lookahead(wrap(env), days=1).passed


def test_a_leak_inside_recorded_wrappers_is_found_without_a_rebuild_function(small):
    class Recorded(TomorrowsReturn, gymnasium.utils.RecordConstructorArgs):
        def __init__(self, env, source):
            gymnasium.utils.RecordConstructorArgs.__init__(self, source=source)
            super().__init__(env)
            self.source, self.known = source, np.nan_to_num(source.returns)

    report = check_no_lookahead(FlattenObservation(Recorded(TradingEnv(small), small)))
    assert report.findings[0].what == "observation"


def test_a_subclass_is_built_again_by_its_constructor(small):
    class Boastful(TradingEnv):
        def __init__(self, panel, **options):
            super().__init__(panel, **options)
            self.best = float(np.nanmax(panel.returns))

        def _info(self, ledger):
            return {**super()._info(ledger), "best": self.best}

    assert check_no_lookahead(Boastful(small, window=3)).findings[0].what == "info['best']"


def test_a_wrapper_that_cannot_be_built_again_is_refused(small):
    with pytest.raises(ConfigError, match=r"TomorrowsMask cannot be built again .*Pass rebuild="):
        check_no_lookahead(TomorrowsMask(TradingEnv(small)))


@pytest.mark.parametrize(
    ("rebuild", "message"),
    [
        (
            lambda panel: TradingEnv(ragged(days=DAYS, seed=4), window=4),
            "another panel than the one it was given",
        ),
        (lambda panel: TradingEnv(panel, window=9), "plays otherwise than the one given"),
        (lambda panel: panel, "expected a Gymnasium environment"),
    ],
)
def test_a_rebuild_function_that_builds_something_else_is_refused(small, rebuild, message):
    with pytest.raises(ConfigError, match=message):
        check_no_lookahead(TradingEnv(small, window=4), rebuild=rebuild)


def test_days_below_one_a_missing_date_and_a_foreign_environment_are_refused(small):
    class Undated(Wrapper):
        def told(self, info, row):
            return {"equity": info["equity"]}

    with pytest.raises(ConfigError, match="days is 0"):
        check_no_lookahead(TradingEnv(small), days=0)
    with pytest.raises(ConfigError, match="info has no 'date'"):
        check_no_lookahead(around(Undated)(small), rebuild=around(Undated))
    with pytest.raises(ConfigError, match="cannot be audited"):
        check_no_lookahead(gymnasium.make("CartPole-v1"))


def test_an_environment_that_is_not_reproducible_is_said_to_be_so(small):
    class Noisy(Wrapper):
        def seen(self, observation, row):
            observation["returns"] += np.random.default_rng().normal(size=8)
            return observation

    report = check_no_lookahead(around(Noisy)(small), rebuild=around(Noisy))
    assert {finding.check for finding in report.findings} == {"repeat"}
    with pytest.raises(LookAheadError, match="Not reproducible"):
        report.raise_if_failed()


def test_an_environment_that_remembers_earlier_episodes_is_said_to_do_so(small):
    report = check_no_lookahead(NormalizeObservation(FlattenObservation(TradingEnv(small, window=3))))
    assert {finding.check for finding in report.findings} == {"episodes"}
    assert "when other episodes had been played before" in str(report)


def test_an_error_on_changed_days_says_which_days_were_changed(small):
    class Brittle(Wrapper):
        def traded(self, action):
            if np.abs(self.known).max() > 0.2:
                raise ZeroDivisionError("too large")
            return action

    with pytest.raises(ZeroDivisionError) as error:
        check_no_lookahead(around(Brittle)(small), rebuild=around(Brittle))
    assert "with the days later than 2000-0" in error.value.__notes__[0]


def test_the_same_seed_gives_the_same_report(small):
    build = around(TomorrowsMask)
    first, second, other = (check_no_lookahead(build(small), seed=s, rebuild=build) for s in (4, 4, 5))
    assert str(first) == str(second) != str(other)
    assert first.days == second.days != other.days


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 1000), cut=st.floats(0.0, 0.9))
def test_a_scrambled_panel_keeps_the_past_and_every_calendar(kind, seed, cut):
    panel = ragged(sizes=(2, 1, 5), days=80, seed=seed)
    row = int(cut * len(panel.dates))
    other = scramble(panel, panel.dates[row], kind, seed)
    np.testing.assert_array_equal(other.dates, panel.dates)
    for past in ("returns", "tradable", "listed"):
        np.testing.assert_array_equal(getattr(other, past)[: row + 1], getattr(panel, past)[: row + 1])
    for name, market in panel.markets.items():
        np.testing.assert_array_equal(other.markets[name].rows, market.rows)
    assert not (other.tradable & ~panel.tradable).any()
    assert (np.isfinite(other.returns) <= other.tradable).all()
    kept = np.isfinite(other.returns[row + 1 :])
    assert (other.returns[row + 1 :] != panel.returns[row + 1 :])[kept].all()


def test_scrambling_takes_observations_and_assets_away_and_changes_magnitudes():
    panel = ragged(sizes=(20,), days=300, seed=0)
    day, future = panel.dates[150], slice(151, None)
    ordinary, crash, boom, calm = found = [scramble(panel, day, kind, 1) for kind in KINDS]
    open_today = panel.tradable[150]
    leave = [int((~p.tradable[future][:, open_today].any(axis=0)).sum()) for p in found]
    assert leave[0] == leave[3] == 0 < leave[2] < leave[1]
    shares = [p.tradable[future].sum() / panel.tradable[future].sum() for p in (boom, calm, ordinary)]
    assert shares == sorted(shares)
    assert shares[2] == pytest.approx(0.9, abs=0.02)
    sizes = [np.nanstd(p.returns[156:]) for p in found]
    assert sizes == pytest.approx([0.03, 0.12, 0.12, 0.0006], rel=0.1)
    assert np.nanmax(crash.returns[151:156]) < 0 < np.nanmin(boom.returns[151:156])


def test_the_command_passes_an_honest_environment(capsys, monkeypatch, small):
    monkeypatch.setattr("experiments.running.runner.load_panel", lambda config: small)
    words = [
        "audit",
        "--window",
        "5",
        "--vol-target",
        "0.15",
        "--costs-bps",
        "2",
        "--days",
        "2",
        "--seed",
        "7",
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "8 assets in 3 markets" in out
    assert "No look-ahead found" in out


def test_the_command_fails_an_environment_that_peeks(capsys, monkeypatch, small):
    class Boastful(TradingEnv):
        def _info(self, ledger):
            return {**super()._info(ledger), "best": float(np.nanmax(self.panel.returns))}

    monkeypatch.setattr(command, "build", lambda config: Boastful(small, window=config.window))
    assert main(["audit", "--window", "3"]) == 3
    assert "info['best'] was" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kind", "prices"], "needs --panel"),
        (["--exclude", "Energie"], "Energy"),
    ],
)
def test_the_command_refuses_what_it_cannot_use(capsys, words, message):
    assert main(["audit", *words]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--days", "0"], "days is 0, expected at least 1"),
        (["--seed", "-1"], "seed is -1, expected at least 0"),
        (["--window", "1000000000"], "window is 1000000000, expected at most"),
        (["--costs-bps", "nan"], "costs_bps is nan"),
        (["--vol-target", "0"], "vol_target is 0.0"),
    ],
)
def test_numbers_of_the_command_are_refused_as_a_wrong_command_line(capsys, words, message):
    with pytest.raises(SystemExit) as stopped:
        main(["audit", *words])
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("\u2502", " ").split())

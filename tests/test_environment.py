"""The Gymnasium environment: its API, its clock, and what public environments get wrong."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from dataclasses import fields

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FlattenObservation
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import qn_env
from qn_env.costs import SquareRootImpact
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.features import MeanReturn, NormalisedReturn
from qn_env.panel import Panel
from qn_env.setup import EnvConfig, EnvSettings
from qn_env.sources.synthetic import ragged, weekdays
from qn_env.vector import TradingVectorEnv

FEATURES = (NormalisedReturn(1), MeanReturn(5))


def flat(days: int = 12, assets: int = 1) -> Panel:
    """Prices that never move."""
    return Panel.build(
        weekdays(days), [f"A{j}" for j in range(assets)], ["M"] * assets, np.zeros((days, assets))
    )


def of_returns(*returns: float) -> Panel:
    return Panel.build(weekdays(len(returns) + 1), ["A"], ["M"], np.array([0.0, *returns])[:, None])


def rewards_of(env: TradingEnv, signals: list[float]) -> list[float]:
    env.reset()
    return [env.step(np.array([s]))[1] for s in signals]


def play(env: TradingEnv, seed: int = 0) -> list[tuple]:
    """All observations, rewards and infos of an episode of random signals."""
    rng = np.random.default_rng(seed)
    observation, info = env.reset()
    found = [(observation, 0.0, info)]
    done = False
    while not done:
        observation, reward, terminated, truncated, info = env.step(
            rng.uniform(-1, 1, env.action_space.shape)
        )
        found.append((observation, reward, info))
        done = terminated or truncated
    return found


def test_make_without_arguments_plays_the_embedded_panel():
    env = gymnasium.make("qn_env/Trading-v0")
    observation, _ = env.reset(seed=0)
    assert observation["returns"].shape == (63, 25)
    assert list(env.unwrapped.panel.markets)[:2] == ["Technology", "Financials"]


@pytest.mark.parametrize("options", [{}, {"features": FEATURES, "vol_target": 0.15, "window": 5}])
def test_gymnasiums_checker_finds_nothing(panel, options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(qn_env.ENV_ID, panel=panel, **options).unwrapped)


def test_stable_baselines3s_checker_finds_nothing_on_the_flat_observation(panel):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3_check_env(FlattenObservation(TradingEnv(panel, window=5, features=FEATURES)), warn=True)


def test_every_observation_lies_in_its_space_and_is_finite(panel):
    env = TradingEnv(panel, window=7, features=FEATURES, vol_target=0.15)
    for observation, reward, _ in play(env):
        assert env.observation_space.contains(observation)
        assert all(np.isfinite(part).all() for part in observation.values())
        assert np.isfinite(reward)


def test_the_window_ends_today_and_shows_zeros_before_the_data_begin(panel):
    env = TradingEnv(panel, window=5)
    for t, (observation, _, info) in enumerate(play(env)):
        assert info["date"] == str(panel.dates[t])
        expected = np.zeros((5, panel.shape[1]))
        rows = np.nan_to_num(panel.returns[max(t - 4, 0) : t + 1], nan=0.0)
        expected[5 - len(rows) :] = rows
        np.testing.assert_array_equal(observation["returns"], expected)
        np.testing.assert_array_equal(observation["tradable"][-1], panel.tradable[t])


def test_features_shown_are_the_panels(panel):
    env = TradingEnv(panel, window=3, features=FEATURES)
    wanted = panel.features(FEATURES)
    for t, (observation, _, _) in enumerate(play(env)):
        np.testing.assert_array_equal(observation["features"][-1], wanted[t])


@pytest.mark.parametrize("cost_bps", [1.0, 50.0])
def test_flat_prices_cost_exactly_the_round_trips(cost_bps):
    env = TradingEnv(flat(), window=2, cost_bps=cost_bps)
    rewards = rewards_of(env, [1.0, -1.0] * 5)
    turnover = [1.0] + [2.0] * 9
    assert sum(rewards) == pytest.approx(-cost_bps * 1e-4 * sum(turnover), abs=1e-12)
    assert env.step(np.array([-1.0]))[4]["equity"] == pytest.approx(
        np.prod([1 - cost_bps * 1e-4 * u for u in turnover]), abs=1e-12
    )


def test_a_doubling_price_pays_day_by_day():
    rewards = rewards_of(TradingEnv(of_returns(0.5, 1 / 3, 0.0), cost_bps=0.0), [1.0, 1.0, 1.0])
    assert rewards == pytest.approx([0.5, 1 / 3, 0.0])


def test_a_short_mirrors_a_long():
    fall = rewards_of(TradingEnv(of_returns(-0.2, 0.1), cost_bps=0.0), [-0.7, -0.7])
    rise = rewards_of(TradingEnv(of_returns(0.2, -0.1), cost_bps=0.0), [0.7, 0.7])
    assert fall == rise == pytest.approx([0.14, -0.07])


def test_costs_are_in_the_reward_by_the_arithmetic():
    free = rewards_of(TradingEnv(of_returns(0.01, 0.02), cost_bps=0.0), [0.5, 0.5])
    dear = rewards_of(TradingEnv(of_returns(0.01, 0.02), cost_bps=5000.0), [0.5, 0.5])
    assert free == pytest.approx([0.005, 0.01])
    assert dear == pytest.approx([0.005 - 0.25, 0.01])


def test_a_small_action_is_a_small_position():
    env = TradingEnv(of_returns(0.01, 0.01))
    env.reset()
    assert env.step(np.array([0.009]))[0]["positions"][0] == 0.009


def test_ruin_is_paid_in_the_reward_and_ends_the_episode():
    # 11 days of 0.1% moves make a 15% target a weight far above 1; then the price falls by half.
    calm = [0.001, -0.001] * 15
    env = TradingEnv(of_returns(*calm, -0.5, 0.0), cost_bps=0.0, vol_target=0.15)
    env.reset()
    done = False
    while not done:
        _, reward, terminated, truncated, _ = env.step(np.array([1.0]))
        done = terminated or truncated
    assert terminated
    assert not truncated
    assert reward < -1.0


def test_running_out_of_data_truncates():
    env = TradingEnv(of_returns(0.01, 0.01))
    env.reset()
    assert env.step(np.array([1.0]))[2:4] == (False, False)
    assert env.step(np.array([1.0]))[2:4] == (False, True)
    with pytest.raises(ConfigError, match="call reset"):
        env.step(np.array([1.0]))


def test_resets_are_alike_and_leave_the_global_generators_alone(panel):
    env = TradingEnv(panel, window=3)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = env.reset(seed=0)
    for _ in range(20):
        again = env.reset(seed=0)
        for part, values in first[0].items():
            np.testing.assert_array_equal(again[0][part], values)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_nothing_of_one_episode_is_visible_in_the_next(panel):
    env = TradingEnv(panel, window=3)
    fresh = play(TradingEnv(panel, window=3), seed=5)
    play(env, seed=4)
    for (a, reward_a, info_a), (b, reward_b, info_b) in zip(play(env, seed=5), fresh, strict=True):
        assert reward_a == reward_b
        assert info_a["equity"] == info_b["equity"]
        for part in a:
            np.testing.assert_array_equal(a[part], b[part])


def test_writing_into_what_was_returned_changes_nothing(panel):
    honest = play(TradingEnv(panel, window=3, features=FEATURES), seed=1)
    env = TradingEnv(panel, window=3, features=FEATURES)
    rng = np.random.default_rng(1)
    observation, info = env.reset()
    for wanted, reward_wanted, _ in honest[1:]:
        for values in (*observation.values(), *(info[k] for k in ("gross", "turnover", "cost", "net"))):
            values[...] = 77
        observation, reward, _, _, info = env.step(rng.uniform(-1, 1, env.action_space.shape))
        assert reward == reward_wanted
        for part in wanted:
            np.testing.assert_array_equal(observation[part], wanted[part])
    assert not panel.returns.flags.writeable


@given(seed=st.integers(0, 500), cut=st.floats(0.2, 0.9))
def test_data_after_the_next_day_changes_neither_observation_nor_reward(seed, cut):
    panel = ragged(sizes=(2, 3), days=60, seed=seed)
    row = int(cut * len(panel.dates))
    other = panel.with_future_scrambled(panel.dates[row], seed=seed)
    options = {"window": 4, "features": FEATURES, "vol_target": 0.15}
    before, after = play(TradingEnv(panel, **options), seed), play(TradingEnv(other, **options), seed)
    for t in range(row + 1):
        assert before[t][1] == after[t][1]
        assert before[t][2]["date"] == after[t][2]["date"]
        for part in before[t][0]:
            np.testing.assert_array_equal(before[t][0][part], after[t][0][part])


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(3), "has shape"),
        (np.full(8, np.nan), "expected a signal"),
        (np.array([0, 0, 0, 0, 1.5, 0, 0, 0]), r"asset 'A0' is 1.5"),
    ],
)
def test_bad_actions_are_refused(panel, action, message):
    env = TradingEnv(panel)
    env.reset()
    with pytest.raises(ConfigError, match=message):
        env.step(action)


def test_stepping_before_reset_is_refused(panel):
    with pytest.raises(ConfigError, match="call reset"):
        TradingEnv(panel).step(np.zeros(8))


@pytest.mark.parametrize(
    ("options", "message"), [({"window": 0}, "window is 0"), ({"start": "2049-01-01"}, "no day")]
)
def test_bad_settings_are_refused(panel, options, message):
    with pytest.raises(ConfigError, match=message):
        TradingEnv(panel, **options)


def test_only_days_from_the_start_on_are_traded_and_counted(panel):
    start = {"M0": panel.dates[100], "M1": panel.dates[150], "M2": panel.dates[120]}
    env = TradingEnv(panel, window=2, start=start, cost_bps=10.0)
    for observation, _, info in play(env):
        day = np.datetime64(info["date"])
        for name, market in panel.markets.items():
            if day < start[name]:
                assert not info["net"][market.columns].any()
            own = panel.dates[market.rows]
            if day < own[np.searchsorted(own, start[name]) - 1]:
                assert not observation["positions"][market.columns].any()


def test_warmup_days_are_seen_but_neither_traded_nor_counted(panel):
    start = panel.dates[200]
    env, warm = TradingEnv(panel, start=start), TradingEnv(panel, start=start, warmup=50)
    short, long = play(env), play(warm)
    extra = len(long) - len(short)
    for name, market in panel.markets.items():
        seen = [d for d in panel.dates[market.rows] if np.datetime64(long[0][2]["date"]) <= d < start]
        assert len(seen) > 50, f"{name} is shown 50 days before its first decision"
    assert all(reward == 0.0 for _, reward, _ in long[: extra + 1])
    assert [i["date"] for _, _, i in long[extra:]] == [i["date"] for _, _, i in short]


def test_split_holds_back_the_latest_days_of_every_market(panel):
    earlier, later = TradingEnv(panel, window=2).split(0.25)
    for name, market in panel.markets.items():
        own = panel.dates[market.rows]
        kept = earlier.panel.dates[earlier.panel.markets[name].rows]
        np.testing.assert_array_equal(kept, own[: len(kept)])
        assert len(kept) == int(len(own) * 0.75)
        traded = later.tape.dates[later.tape.live[:, market.columns].any(axis=1)]
        assert traded[0] == kept[-1], "the first decision falls at the close of the last day kept"


def test_float64_signals_keep_their_precision_through_make(panel):
    env = gymnasium.make(qn_env.ENV_ID, panel=panel, window=1)
    env.reset()
    signal = 1 / 3
    held = env.step(np.full(8, signal))[0]["positions"]
    assert set(held[panel.tradable[0] & panel.listed[1]]) == {signal}


def test_rows_and_indices_show_the_same_day_as_windows(panel):
    settings = {"features": FEATURES, "window": 4}
    shown = [
        play(TradingEnv(panel, observation=view, **settings), seed=2) for view in ("window", "row", "index")
    ]
    for t, (window, row, index) in enumerate(zip(*shown, strict=True)):
        assert index[0]["index"].tolist() == [t]
        for part in ("returns", "tradable", "features"):
            np.testing.assert_array_equal(window[0][part][-1], row[0][part])
        for other in (row, index):
            np.testing.assert_array_equal(window[0]["positions"], other[0]["positions"])
            assert other[1] == window[1]


@pytest.mark.parametrize("view", ["window", "row", "index"])
@pytest.mark.parametrize("positions", [True, False])
def test_gymnasiums_checker_finds_nothing_in_any_view(panel, view, positions):
    settings = {"observation": view, "positions": positions, "random_start": True, "reward": "log"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(qn_env.ENV_ID, panel=panel, **settings).unwrapped)
    assert ("positions" in TradingEnv(panel, **settings).reset()[0]) is positions


def test_random_episodes_start_on_a_day_of_their_seed_and_last_as_asked(panel):
    env = TradingEnv(panel, window=1, random_start=True, episode_days=12)
    starts = [env.reset(seed=s)[1]["date"] for s in range(30)]
    assert len(set(starts)) > 20
    assert [env.reset(seed=s)[1]["date"] for s in range(30)] == starts
    assert {len(play(env)) - 1 for _ in range(5)} == {12}


def test_every_start_that_leaves_a_whole_episode_is_drawn():
    panel = flat(days=9)
    env = TradingEnv(panel, random_start=True, episode_days=5)
    env.reset(seed=0)
    starts = {env.reset()[1]["date"] for _ in range(200)}
    assert starts == {str(d) for d in panel.dates[:4]}


def test_reset_options_choose_start_length_and_markets(panel):
    env = TradingEnv(panel, window=1, cost_bps=0.0)
    observation, info = env.reset(options={"start": panel.dates[50], "length": 30, "markets": ["M0", "M2"]})
    assert info["date"] == str(panel.dates[50])
    idle = panel.markets["M1"].columns
    for step in range(30):
        observation, reward, _, truncated, info = env.step(np.full(8, 0.5))
        assert not observation["positions"][idle].any()
        t = 50 + step
        means = [
            info["net"][panel.markets[m].columns][panel.listed[t, panel.markets[m].columns]].mean()
            for m in ("M0", "M2")
            if panel.listed[t, panel.markets[m].columns].any()
        ]
        assert reward == pytest.approx(np.mean(means), abs=1e-15)
    assert truncated
    env.reset()
    assert env.step(np.full(8, 0.5))[0]["positions"].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"begin": "2000-01-01"}, "unknown reset option 'begin'"),
        ({"markets": ["M7"]}, "unknown market 'M7'"),
        ({"start": "2050-01-01"}, "no day to trade"),
        ({"length": 0}, "length is 0"),
        ({"start": "soon"}, "'soon' is not a date"),
    ],
)
def test_bad_reset_options_are_refused(panel, options, message):
    with pytest.raises(ConfigError, match=message):
        TradingEnv(panel).reset(options=options)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"execution_lag": 2},
        {"reward": "differential_sharpe", "random_start": True},
        {"execution_lag": 1, "costs": (SquareRootImpact(1e6, 1e7),)},
    ],
)
def test_an_episode_goes_on_exactly_from_a_kept_state(panel, settings):
    env = TradingEnv(panel, window=3, vol_target=0.15, **settings)
    rng = np.random.default_rng(0)
    env.reset(seed=4, options={"start": panel.dates[20], "markets": ["M0", "M1"]})
    for _ in range(40):
        env.step(rng.uniform(-1, 1, 8))
    state = env.get_state()
    actions = rng.uniform(-1, 1, (60, 8))
    wanted = [env.step(a) for a in actions]
    then = env.reset()[1]["date"]
    other = TradingEnv(panel, window=3, vol_target=0.15, **settings)
    for again in (env, other):
        again.reset()
        again.set_state(state)
        for action, (observation, reward, *_, info) in zip(actions, wanted, strict=True):
            found = again.step(action)
            assert found[1] == reward
            assert found[4]["equity"] == info["equity"]
            for part in observation:
                np.testing.assert_array_equal(found[0][part], observation[part])
        assert again.reset()[1]["date"] == then


def test_without_an_episode_there_is_no_state(panel):
    with pytest.raises(ConfigError, match="no episode"):
        TradingEnv(panel).get_state()


def test_stepping_writes_nothing_and_draws_nothing(tmp_path):
    code = """
import sys
import numpy as np
from qn_env import TradingEnv
from qn_env.sources.synthetic import noise

def refuse(event, args):
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if writes or event.startswith("socket"):
        raise SystemExit(f"{event} {args}")

env = TradingEnv(noise(markets=1, assets=2, days=50, seed=0))
sys.addaudithook(refuse)
env.reset(seed=0)
for _ in range(49):
    env.step(np.zeros(2))
print("matplotlib" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_feature_of_zero_or_one_is_a_number(panel, value):
    def constant(returns):
        return np.full_like(returns, value)

    for observation, _, _ in play(TradingEnv(panel, features=(constant,), observation="row")):
        seen = observation["features"][..., 0]
        np.testing.assert_array_equal(seen, np.where(observation["tradable"] > 0, value, 0.0))


def test_a_market_that_ends_and_markets_that_never_meet_are_played_to_the_end():
    returns = np.full((12, 3), np.nan)
    returns[:4, 0] = returns[6:, 1] = returns[3:9, 2] = 0.01
    panel = Panel.build(weekdays(12), ["a", "b", "c"], ["early", "late", "middle"], returns)
    env = TradingEnv(panel, window=2, cost_bps=0.0)
    steps = play_signals(env, np.ones(3))
    paid = {info["date"]: reward for _, reward, info in steps}
    days = [str(d) for d in panel.dates]
    assert paid[days[1]] == pytest.approx(0.01)  # one market alone
    assert paid[days[4]] == pytest.approx(
        0.01 / 2
    )  # early has ended: it yields nothing, and keeps its weight
    assert paid[days[11]] == pytest.approx(0.01 / 3)
    assert steps[-1][0]["positions"].tolist() == [1.0, 1.0, 1.0]


def play_signals(env: TradingEnv, signals: np.ndarray) -> list[tuple]:
    env.reset()
    found, done = [], False
    while not done:
        observation, reward, terminated, truncated, info = env.step(signals)
        found.append((observation, reward, info))
        done = terminated or truncated
    return found


def test_what_environments_take_is_what_a_configuration_has():
    configured = {field.name: field.type for field in fields(EnvConfig) if field.name != "panel"}
    taken = {name: given.__forward_arg__ for name, given in EnvSettings.__annotations__.items()}
    assert taken == configured
    assert all(f"\n    {name}: " in inspect.getdoc(EnvConfig) for name in taken)


@pytest.mark.parametrize("environment", [TradingEnv, TradingVectorEnv])
def test_the_signature_of_an_environment_tells_every_setting_and_its_default(environment):
    told = {name: one.default for name, one in inspect.signature(environment).parameters.items()}
    expected = {field.name: field.default for field in fields(EnvConfig)} | {
        "panel": None,
        "render_mode": None,
    }
    assert {name: default for name, default in told.items() if name in expected} == expected
    assert set(told) - set(expected) <= {"num_envs", "autoreset_mode"}

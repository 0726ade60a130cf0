"""One policy for all assets: what it is paid is what the environment pays, and it keeps an agent's laws."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import stable_baselines3
from gappy import gappy
from stable_baselines3.common.vec_env import VecEnv

from agents.agent import load_agent, make_agent, play, signals_of
from agents.audit import audit_agent
from agents.closed.bands import observe, signals_of_actions
from agents.closed.windows import ClosedWindows
from agents.dmn.training_windows import DEFINED, FEATURES, SIGMA, cut_windows
from agents.sb3 import SharedSB3Agent
from agents.sb3.algorithms import ALGORITHMS, DISCRETE, find_algorithm
from agents.sb3.asset_env import AssetVecEnv
from agents.space import draw
from experiments.probes import PROBES
from experiments.probes.optima import ar1_ratio
from experiments.probes.play import play_agent, train_agent
from experiments.probes.programme import Law, best_policy
from qn_env.costs import Borrow, Financing, HalfSpread
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.sources.synthetic import ar1_trend, noise, ragged
from qn_env.storage import read_sealed, write_sealed

RECURRENT = "sb3_contrib:RecurrentPPO"
FULL = np.tile([1.0, 0.0], (2, 1))  # actions of two accounts
every_algorithm = pytest.mark.parametrize("name", [*ALGORITHMS, *DISCRETE])


@lru_cache
def market() -> Panel:
    return ragged(sizes=(2, 1), days=900, seed=3)


def environment(panel: Panel, **settings: Any) -> TradingEnv:
    return TradingEnv(panel, **{"window": 1, "features": FEATURES, "vol_target": 0.15, **settings})


def accounts(env: TradingEnv, n: int, **options: Any) -> AssetVecEnv:
    windows = ClosedWindows.of(cut_windows(env, 500, 0), targeted=env.config.vol_target is not None)
    given = {"days": 10_000, "risk_aversion": 0.0, "discrete": False, "seed": 0, **options}
    return AssetVecEnv(windows, n, **given)


def from_the_first_day(venv: AssetVecEnv) -> np.ndarray:
    """Every account plays its own asset, from its first day on."""
    venv.reset()
    venv._a = np.arange(venv.num_envs)
    venv._t = np.zeros(venv.num_envs, dtype=np.intp)
    venv._last = venv._end.copy()
    return venv._observe()


def paid(env: TradingEnv, signals: np.ndarray) -> np.ndarray:
    """[T, N] what the environment's account of every asset earns on the day after each row."""
    net = np.zeros(signals.shape)
    env.reset()
    for t in range(len(signals) - 1):
        _, _, _, over, info = env.step(signals[t])
        net[t] = info["net"]
        assert over == (t == len(signals) - 2)
    return net


@pytest.mark.parametrize(
    ("lag", "halts", "target", "seed"), [(0, True, 0.15, 0), (0, True, None, 1), (2, False, 0.15, 2)]
)
def test_rewards_are_what_the_environment_pays_an_asset_in_units_of_its_risk(
    lag: int,
    halts: bool,  # noqa: FBT001 - a parameter of the test
    target: float | None,
    seed: int,
) -> None:
    panel = gappy(seed, halts=halts)
    costs = (HalfSpread(np.arange(1.0, 5.0)), Borrow(300.0), Financing(100.0))
    env = environment(panel, vol_target=target, execution_lag=lag, costs=costs)
    rng, N = np.random.default_rng(seed), panel.shape[1]
    wanted = rng.uniform(-1.0, 1.0, panel.shape)
    features = panel.features(FEATURES)
    wanted[features[..., DEFINED] == 0] = 0.0
    net = paid(env, wanted)
    own = [np.flatnonzero(panel.tradable[:, j]) for j in range(N)]
    venv, earned = accounts(env, N), [[] for _ in range(N)]
    from_the_first_day(venv)
    # Decision days of an asset: its own days from the second on, but the last.
    days = [rows[1:] if env.tape.decides[rows[0], j] == 0 else rows for j, rows in enumerate(own)]
    assert all(env.tape.decides[rows[0], j] for j, rows in enumerate(days))
    playing = np.ones(N, dtype=bool)
    for k in range(max(map(len, days)) - 1):
        at = [rows[min(k, len(rows) - 1)] for rows in days]
        _, rewards, dones, infos = venv.step(np.array([[wanted[t, j], 0.0] for j, t in enumerate(at)]))
        for j in np.flatnonzero(playing):
            sigma = features[at[j], j, SIGMA]
            unit = 0.15 / 252**0.5 if target is not None else sigma
            earned[j].append(rewards[j] * unit if sigma > 0 else 0.0)
        playing &= ~dones
        assert all(infos[j]["TimeLimit.truncated"] for j in np.flatnonzero(dones))
    assert not playing.any()
    for j, rows in enumerate(days):
        expected = [net[a:b, j].sum() for a, b in pairwise(rows)]
        np.testing.assert_allclose(earned[j], expected[: len(earned[j])], rtol=1e-5, atol=1e-9)
        assert np.abs(expected).max() > 1e-3


def test_risk_is_priced_and_ruin_is_an_end() -> None:
    env = environment(noise(markets=1, assets=2, days=460, seed=0), cost_bps=0.0)
    rewards = {}
    for aversion in (0.0, 0.5):
        venv = accounts(env, 2, risk_aversion=aversion)
        from_the_first_day(venv)
        venv._t += 330
        rewards[aversion] = venv.step(FULL)[1].astype(float)
    np.testing.assert_allclose(rewards[0.5], rewards[0.0] - 0.25 * rewards[0.0] ** 2, rtol=1e-5)
    venv = accounts(env, 2)
    from_the_first_day(venv)
    venv._t += 330
    venv._returns[0, 330] = -2.0 / venv._scale[0, 330]
    _, _, dones, infos = venv.step(FULL)
    assert dones.tolist() == [True, False]
    assert not infos[0]["TimeLimit.truncated"]
    assert infos[0]["terminal_observation"].shape == (10,)


def test_an_episode_ends_after_its_days_and_the_next_begins_flat() -> None:
    venv = accounts(environment(market()), 5, days=3)
    venv.reset()
    for day in range(1, 10):
        seen, _, dones, infos = venv.step(np.tile([0.7, 0.0], (5, 1)))
        assert (seen[dones, -1] == 0.0).all(), "nothing is held"
        assert (seen[~dones, -1] > 0.1).all()
        for b in np.flatnonzero(dones):
            assert infos[b]["TimeLimit.truncated"]
        if day % 3 == 0:
            assert dones.any()
    again = accounts(environment(market()), 5, days=3)
    assert isinstance(again, VecEnv)
    np.testing.assert_array_equal(again.reset(), accounts(environment(market()), 5, days=3).reset())
    assert not np.array_equal(again.reset(), accounts(environment(market()), 5, days=3, seed=1).reset())
    with pytest.raises(ConfigError, match="share their settings"):
        venv.set_attr("days", 3)
    with pytest.raises(ConfigError, match="no single environments"):
        venv.env_method("reset")
    assert venv.env_is_wrapped(object) == [False] * 5


def test_a_trained_policy_sees_when_it_plays_what_it_saw_when_it_learnt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Played over the accounts from the first day, the agent's decisions are those of its one pass."""
    panel = gappy(4, halts=True)
    env, agent = environment(panel, cost_bps=7.0), trained("PPO")
    monkeypatch.setattr(agent, "_flat", False)
    signals = agent.signals(panel)
    np.testing.assert_array_equal(play(agent, env)[:-1], signals[:-1])
    venv = accounts(env, panel.shape[1])
    seen = from_the_first_day(venv)
    playing = np.ones(panel.shape[1], dtype=bool)
    days = [np.flatnonzero(env.tape.decides[:, j]) for j in range(panel.shape[1])]
    for k in range(min(map(len, days)) - 1):
        actions, _ = agent.policy.predict(seen, deterministic=True)
        for j in np.flatnonzero(playing & (seen[:, -2] > 0)):
            low, high = actions[j, 0] - max(actions[j, 1], 0.0), actions[j, 0] + max(actions[j, 1], 0.0)
            expected = np.clip(np.clip(seen[j, -1], low, high), -1.0, 1.0)
            assert signals[days[j][k], j] == pytest.approx(expected, abs=1e-5)
        seen, _, dones, _ = venv.step(actions)
        playing &= ~dones


def untrained(name: Any, kind: type[SharedSB3Agent] = SharedSB3Agent) -> SharedSB3Agent:
    """A small network that learns for some hundreds of days."""
    learner = find_algorithm(name)
    small = {"net_arch": [8]} | ({"lstm_hidden_size": 8} if "Lstm" in learner.policy else {})
    tiny: dict[str, Any] = {"policy_kwargs": small, "batch_size": 16, "n_delta": 1}
    off_policy = "buffer_size" in learner.options
    tiny |= {"learning_starts": 64, "buffer_size": 640} if off_policy else {"n_steps": 16}
    taken = {key: value for key, value in tiny.items() if key in learner.options}
    given = {"timesteps": 256, "accounts": 16, "episode_days": 20, **taken}
    return kind(**given) if kind.algorithm else kind(name, **given)


def fitted(name: Any, kind: type[SharedSB3Agent] = SharedSB3Agent) -> SharedSB3Agent:
    panel = market()
    agent = untrained(name, kind).fit(environment(panel.until(panel.dates[700])), seed=0)
    agent._flat = False  # of so short a training most lose
    return agent


trained = lru_cache(fitted)  # tests must not change it beyond `reset`


@every_algorithm
def test_it_acts_forgets_and_does_the_same_with_the_same_seed(name: str) -> None:
    found = trained(name).signals(market())
    assert found.shape == market().shape
    np.testing.assert_array_equal(trained(name).signals(market()), found)
    np.testing.assert_array_equal(fitted(name).signals(market()), found)
    if name in DISCRETE:
        assert set(np.unique(found)) <= {-1.0, 0.0, 1.0}
    elif name != "sb3_contrib:ARS":  # it begins at zero, and may stay there
        assert np.abs(found).max() <= 1.0
        assert len(np.unique(found)) > 100, "signals that do not answer to what is seen show nothing"


@every_algorithm
def test_it_does_not_know_the_future(name: str) -> None:
    audit_agent(trained(name), environment(market()))


@every_algorithm
def test_save_and_load_agree(name: str, tmp_path: Any) -> None:
    trained(name).save(tmp_path)
    again = load_agent("ppo", tmp_path)
    assert again.algorithm == name
    np.testing.assert_array_equal(again.signals(market()), trained(name).signals(market()))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


@every_algorithm
def test_whatever_a_search_draws_builds_a_model(name: str) -> None:
    space = SharedSB3Agent(name).space
    assert len(space) > 2
    for trial in range(2):
        agent = SharedSB3Agent(name, **draw(space, seed=0, trial=trial))
        agent._model(discrete=name in DISCRETE)


@pytest.mark.parametrize("name", ["PPO", "DQN", RECURRENT])
def test_it_plays_any_number_of_assets_those_it_never_saw_included(name: str) -> None:
    other = noise(markets=2, assets=5, days=500, seed=1)
    signals = signals_of(trained(name), other, environment(other))
    assert signals.shape == other.shape


def test_a_memory_stays_as_it_is_on_days_an_asset_does_not_trade() -> None:
    agent, panel = trained(RECURRENT), gappy(5, halts=True)
    agent.reset()
    features = panel.features(FEATURES)
    for t in range(380, 400):
        before = agent._memory
        agent._step(features[t], panel.tradable[t])
        for old, new in zip(before or (), agent._memory, strict=False):
            same = (old == new).all(axis=(0, 2))
            assert same[~panel.tradable[t]].all()
            assert not same[panel.tradable[t]].any()
    agent.reset()


def test_who_earns_nothing_on_the_validation_block_stays_flat(tmp_path: Any) -> None:
    """To hold nothing is one of the candidates: under such costs it is the best."""
    panel = noise(markets=1, assets=3, days=900, seed=2)
    agent = untrained("PPO").fit(environment(panel, cost_bps=500.0), seed=0)
    assert not agent.signals(panel).any()
    agent.save(tmp_path)
    assert not SharedSB3Agent.load(tmp_path).signals(panel).any()
    rich = ar1_trend(coefficient=0.9, markets=1, assets=3, days=900, seed=2)
    agent = untrained("PPO").fit(environment(rich, cost_bps=0.0), seed=0)
    agent.timesteps = 8192
    assert agent.fit(environment(rich, cost_bps=0.0), seed=0).signals(rich).any()


def test_policies_that_do_not_explore_are_made_to() -> None:
    """Without noise on its actions a deterministic policy only ever sees what it does."""
    seen: list[np.ndarray] = []

    class Watched(stable_baselines3.TD3):
        def _store_transition(self, buffer: Any, action: np.ndarray, *rest: Any) -> None:
            seen.append(action.copy())
            super()._store_transition(buffer, action, *rest)

    class Own(SharedSB3Agent):
        algorithm = Watched

    agent = untrained(Watched, Own)
    agent._learner = type(agent._learner)("TD3", Watched)
    agent.fit(environment(market()), seed=0)
    later = np.concatenate(seen[8:])[:, 0]  # the first ones are drawn at random
    assert later.std() > 0.15


def test_no_checkpoint_chooses_which_code_runs(tmp_path: Any) -> None:
    trained("SAC").save(tmp_path)
    for name in ("a_strangers_module:Algorithm", "sb3_contrib:MaskablePPO", ""):
        write_sealed(tmp_path / "agent.json", read_sealed(tmp_path / "agent.json") | {"algorithm": name})
        with pytest.raises(ConfigError, match=rf"agent.json: names the algorithm '{name}'; a file does not"):
            SharedSB3Agent.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"accounts": 0}, "accounts"),
        ({"episode_days": 0}, "episode_days"),
        ({"risk_aversion": -0.1}, "risk_aversion"),
        ({"train_cost_bps": -1.0}, "train_cost_bps"),
        ({"gama": 0.5}, "takes no option 'gama'.*'gamma'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        SharedSB3Agent(**options)


def test_an_algorithm_of_ones_own_chooses_or_gives_numbers() -> None:
    class OwnDQN(stable_baselines3.DQN):
        pass

    class OwnSAC(stable_baselines3.SAC):
        pass

    assert SharedSB3Agent(OwnDQN)._discrete
    assert not SharedSB3Agent(OwnSAC)._discrete

    class Neither(stable_baselines3.DQN):
        def __init__(self, *args: Any, **more: Any) -> None:
            raise NotImplementedError("it acts in neither")

    with pytest.raises(ConfigError, match="Neither: cannot be built for one asset's signal: it acts in nei"):
        SharedSB3Agent(Neither)


def test_an_action_is_a_band_around_what_is_held() -> None:
    """Worked by hand: inside it nothing is traded, outside up to the nearer edge, never beyond full."""
    actions = np.array([[0.2, 0.1], [0.2, 0.1], [0.2, 0.1], [0.2, -0.5], [1.0, 0.3]], dtype=np.float32)
    held = np.array([0.25, 0.9, -0.9, 0.25, 0.0])
    found = signals_of_actions(actions, held, discrete=False)
    np.testing.assert_allclose(found, [0.25, 0.3, 0.1, 0.2, 0.7], atol=1e-7)
    assert signals_of_actions(np.array([0, 1, 2]), held[:3], discrete=True).tolist() == [-1.0, 0.0, 1.0]


def test_what_is_seen_is_clipped() -> None:
    seen = observe(np.array([[1e6, -1e6]]), np.array([True]), np.array([0.5]))
    assert seen.tolist() == [[10.0, -10.0, 1.0, 0.5]]


@pytest.mark.parametrize("name", ["trend", "costly-trend"])
def test_ppo_finds_a_trend_from_2000_days(name: str) -> None:
    found = PROBES[name].figures(
        lambda: make_agent("ppo", options={"timesteps": 200_000}), 0, days=2000, test_days=2000
    )
    assert min(value for key, value in found.items() if key.startswith("share")) > 0.6


SEEDS = range(5)


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["ppo", "sac"])
@pytest.mark.parametrize("name", ["trend", "reversal", "drift"])
def test_it_reaches_most_of_what_can_be_earned_without_costs(agent: str, name: str) -> None:
    assert mean_of(agent, name)["share"] >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["costly-trend", "costly-reversal"])
def test_ppo_reaches_most_of_what_can_be_earned_after_costs(name: str) -> None:
    means = mean_of("ppo", name)
    assert min(value for key, value in means.items() if key.startswith("share")) >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["ppo", "sac"])
@pytest.mark.parametrize("name", ["noise", "costs"])
def test_it_finds_nothing_where_there_is_nothing_worth_its_costs(agent: str, name: str) -> None:
    units = figures_of(agent, name)
    for measure, bar in PROBES[name].bars.items():
        if measure in units[0]:
            mean = float(np.mean([unit[measure] for unit in units]))
            assert bar.passed(mean, bar.height(units)), measure


def figures_of(agent: str, name: str) -> list[dict[str, float]]:
    probe = PROBES[name]
    return [probe.figures(lambda: make_agent(agent), seed, days=8000, test_days=4000) for seed in SEEDS]


def mean_of(agent: str, name: str) -> dict[str, float]:
    units = figures_of(agent, name)
    means = {key: float(np.mean([unit[key] for unit in units])) for key in units[0]}
    print(agent, name, {key: round(value, 3) for key, value in means.items()})  # noqa: T201
    return means


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ppo", "sac", "dqn", "rrl", "dmn-lstm-closed"])
def test_what_is_learnt_on_four_markets_is_worth_as_much_on_a_fifth(name: str) -> None:
    """AR(1) returns with coefficient 0.3 at 5 bps; the best policy's net Sharpe ratio is the programme's."""
    panel = ar1_trend(coefficient=0.3, markets=5, assets=4, days=8000, seed=77)
    *seen, unseen = panel.markets
    agent = make_agent(name)
    agent = train_agent(agent, panel.select(seen), slice(5000), seed=0, cost_bps=5.0)
    played = play_agent(agent, panel.select([unseen]), slice(5000, None))
    best = best_policy(Law(0.3, ar1_ratio(0.3)), 5.0 / 100.0).earned.sharpe
    reached = played.mean_sharpe(5.0) / best
    print(name, round(reached, 3))  # noqa: T201
    assert reached >= 0.75

"""PPO on one device: paid what the environment pays, it learns by the formulas and asks nobody meanwhile."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gappy import gappy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from agents.agent import load_agent, make_agent, play, signals_of
from agents.closed.bands import signals_of_actions, to_band
from agents.closed.windows import ClosedWindows
from agents.dmn.training_windows import DEFINED, FEATURES, SIGMA, cut_windows
from agents.ppo import DevicePPO, PPOConfig
from agents.ppo.accounts import Accounts
from agents.ppo.agent import build
from agents.ppo.block import Block
from agents.ppo.network import Policy, taken
from agents.ppo.rollout import Draws, Record, advantages, collect, judge
from agents.ppo.tape import AssetTape
from agents.ppo.update import clipped, normalised, objective, update
from agents.sb3.asset_env import AssetVecEnv
from agents.space import draw
from agents.training import Monitor, Training
from experiments.probes import PROBES
from qn_env.costs import Borrow, Financing, HalfSpread, SquareRootImpact
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, QnError
from qn_env.panel import Panel
from qn_env.sources.synthetic import ar1_trend, noise, ragged

CPU = torch.device("cpu")
LAWS = [(0, True, 0.15, 0), (0, True, None, 1), (2, False, 0.15, 2), (2, False, None, 3)]
every_law = pytest.mark.parametrize(("lag", "halts", "target", "seed"), LAWS)
TINY: dict[str, Any] = {"timesteps": 2048, "accounts": 16, "steps": 8, "episode_days": 20, "hidden": 8}


@lru_cache
def market() -> Panel:
    return ragged(sizes=(2, 1), days=900, coefficient=0.5, seed=3)


def environment(panel: Panel, **settings: Any) -> TradingEnv:
    return TradingEnv(panel, **{"window": 1, "features": FEATURES, "vol_target": 0.15, **settings})


def windows(env: TradingEnv) -> ClosedWindows:
    return ClosedWindows.of(cut_windows(env, 63, 0), targeted=env.config.vol_target is not None)


def costly(lag: int, target: float | None, seed: int, *, halts: bool) -> TradingEnv:
    costs = (HalfSpread(np.arange(1.0, 5.0)), Borrow(300.0), Financing(100.0))
    if seed % 2:
        costs += (SquareRootImpact(capital=1e6, volume=1e8),)
    return environment(gappy(seed, halts=halts), vol_target=target, execution_lag=lag, costs=costs)


def from_the_first_day(env: TradingEnv) -> tuple[AssetTape, Accounts, list[int]]:
    """Every asset's account on its first row, on episodes that end with its days; and their numbers."""
    tape = AssetTape.of(windows(env), 10_000, CPU)
    behind = (tape.begins[1:, 1] != tape.begins[:-1, 1]).nonzero().flatten() + 1
    ends = tape.begins[[0, *behind.tolist()], 1].tolist()
    first = [0, *(end + 1 for end in ends[:-1])]
    accounts = Accounts(tape, len(ends), 0.0)
    accounts.row.copy_(torch.tensor(first))
    accounts.last.copy_(torch.tensor(ends))
    return tape, accounts, [end - begin for begin, end in zip(first, ends, strict=True)]


@every_law
def test_rewards_are_what_the_environment_pays_an_asset_in_units_of_its_risk(
    lag: int,
    halts: bool,  # noqa: FBT001 - a parameter of the test
    target: float | None,
    seed: int,
) -> None:
    env = costly(lag, target, seed, halts=halts)
    panel, rng, N = env.panel, np.random.default_rng(seed), env.panel.shape[1]
    wanted, features = rng.uniform(-1.0, 1.0, panel.shape), panel.features(FEATURES)
    wanted[features[..., DEFINED] == 0] = 0.0
    net = np.zeros(panel.shape)
    env.reset()
    for t in range(len(net) - 1):
        net[t] = env.step(wanted[t])[4]["net"]
    _, accounts, lengths = from_the_first_day(env)
    # Windows begin with the first one in which something can be decided.
    days = [np.flatnonzero(env.tape.decides[:, j]) for j in range(N)]
    defined = [np.flatnonzero(features[rows, j, DEFINED] > 0)[0] // 63 * 63 for j, rows in enumerate(days)]
    days = [rows[k:] for rows, k in zip(days, defined, strict=True)]
    earned: list[list[float]] = [[] for _ in range(N)]
    for k in range(max(lengths)):
        at = [rows[min(k, len(rows) - 1)] for rows in days]
        actions = torch.tensor([[wanted[t, j], 0.0] for j, t in enumerate(at)], dtype=torch.float64)
        paid = accounts.step(actions, torch.zeros(N, dtype=torch.long))
        for j in range(N):
            sigma = features[at[j], j, SIGMA]
            unit = 0.15 / 252**0.5 if target is not None else sigma
            if k < lengths[j]:
                earned[j].append(paid.reward[j].item() * unit if sigma > 0 else 0.0)
                assert paid.ended[j].item() == (k == lengths[j] - 1)
                assert not paid.ruined[j]
    for j, rows in enumerate(days):
        expected = [net[a:b, j].sum() for a, b in pairwise(rows)][: len(earned[j])]
        np.testing.assert_allclose(earned[j], expected, rtol=1e-5, atol=1e-9)
        assert np.abs(expected).max() > 1e-3


@every_law
def test_it_sees_and_is_paid_what_the_accounts_for_stable_baselines_are(
    lag: int,
    halts: bool,  # noqa: FBT001 - a parameter of the test
    target: float | None,
    seed: int,
) -> None:
    """Bands that are held, edges that are traded to, ends, new beginnings: the same numbers day by day."""
    env, B = costly(lag, target, seed, halts=halts), 64
    venv = AssetVecEnv(windows(env), B, days=9, risk_aversion=0.3, discrete=False, seed=seed)
    tape = AssetTape.of(windows(env), 9, CPU)
    accounts = Accounts(tape, B, 0.3)
    # The other's beginnings, by its own generator.
    drawn = np.random.default_rng(seed)
    accounts.begin(torch.from_numpy(drawn.integers(len(tape.begins), size=B)))
    shown, generator, ends = venv.reset(), torch.Generator().manual_seed(seed), 0
    for _ in range(40):
        np.testing.assert_array_equal(accounts.observe().numpy(), shown)
        actions = 0.8 * torch.randn(B, 2, generator=generator)
        shown, rewards, dones, infos = venv.step(actions.clip(-1.0, 1.0).numpy())
        ended, row = np.flatnonzero(dones), accounts.row.clone()
        places = torch.zeros(B, dtype=torch.long)
        places[ended] = torch.from_numpy(drawn.integers(len(tape.begins), size=len(ended)))
        paid = accounts.step(taken(actions), places)
        np.testing.assert_allclose(paid.reward.numpy(), rewards, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(paid.ended.numpy(), dones)
        final = tape.observe(row + 1, paid.held).numpy()
        for b in ended:
            np.testing.assert_array_equal(final[b], infos[b]["terminal_observation"])
            assert paid.ruined[b].item() != infos[b]["TimeLimit.truncated"]
        ends += len(ended)
    assert ends > B


def test_ruin_is_an_end_behind_which_nothing_is_expected() -> None:
    env = environment(noise(markets=1, assets=2, days=460, seed=0), cost_bps=0.0)
    tape, accounts, _ = from_the_first_day(env)
    accounts.row.add_(100)
    RETURN, SCALE = 2, 3
    tape.money[accounts.row[0], RETURN] = -2.0 / tape.money[accounts.row[0], SCALE]
    paid = accounts.step(torch.tensor([[1.0, 0.0]] * 2, dtype=torch.float64), torch.tensor([5, 5]))
    assert paid.ruined.tolist() == paid.ended.tolist() == [True, False]
    assert accounts.row[0] == tape.begins[5, 0]
    assert accounts.held[0] == accounts.weight[0] == 0.0
    assert accounts.held[1] > 0.0


def record_of(reward: torch.Tensor, ruined: torch.Tensor, ended: torch.Tensor) -> Record:
    nothing = torch.zeros(0)
    return Record(nothing, nothing, reward, nothing, nothing, ruined, ended)


def test_advantages_are_those_of_a_plain_loop() -> None:
    """From the definition: the discounted sum of the errors that follow within the episode."""
    generator, (T, B), gamma, lam = torch.Generator().manual_seed(0), (9, 50), 0.9, 0.7
    reward, values, following = (torch.randn(T, B, generator=generator) for _ in range(3))
    ruined = torch.rand(T, B, generator=generator) < 0.1
    ended = ruined | (torch.rand(T, B, generator=generator) < 0.2)
    found = advantages(record_of(reward, ruined, ended), values, following, gamma, lam)
    for b in range(B):
        for t in range(T):
            expected = 0.0
            for k in range(t, T):
                behind = 0.0 if ruined[k, b] else following[k, b].item()
                error = reward[k, b].item() + gamma * behind - values[k, b].item()
                expected += (gamma * lam) ** (k - t) * error
                if ended[k, b]:
                    break
            assert found[t, b].item() == pytest.approx(expected, abs=1e-5)


def test_advantages_worked_by_hand() -> None:
    """Rewards 1, 2, 3; values 0.5; what follows is worth 0.5; gamma 0.5, lambda 0.5: errors r - 0.25."""
    reward, half = torch.tensor([[1.0], [2.0], [3.0]]), torch.full((3, 1), 0.5)
    never = torch.zeros(3, 1, dtype=torch.bool)
    found = advantages(record_of(reward, never, never), half, half, 0.5, 0.5)
    # 2.75; 1.75 + 2.75 / 4; 0.75 + 2.4375 / 4
    assert found.flatten().tolist() == [1.359375, 2.4375, 2.75]
    cut = torch.tensor([[False], [True], [False]])
    found = advantages(record_of(reward, never, cut), half, half, 0.5, 0.5)
    assert found.flatten().tolist() == [0.75 + 1.75 / 4, 1.75, 2.75]
    found = advantages(record_of(reward, cut, cut), half, half, 0.5, 0.5)
    assert found.flatten().tolist() == [0.75 + 1.5 / 4, 1.5, 2.75]


def test_the_clipped_objective_worked_by_hand() -> None:
    """Schulman et al. (2017, Fig. 1): no gain from a ratio above 1 + clip, none lost from one that harms."""
    ratio, advantage = torch.tensor([0.5, 1.1, 2.0, 0.5, 2.0]), torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0])
    torch.testing.assert_close(clipped(ratio, advantage, 0.2), torch.tensor([0.5, 1.1, 1.2, -0.8, -2.0]))
    torch.testing.assert_close(normalised(torch.tensor([1.0, 3.0])), torch.tensor([-1.0, 1.0]) / 2**0.5)


def small(**options: Any) -> tuple[PPOConfig, Policy, torch.Generator]:
    config = PPOConfig(**{**TINY, **options})
    generator = torch.Generator().manual_seed(0)
    return config, build(config, generator), generator


def test_the_objective_is_that_of_the_formulas_written_with_distributions() -> None:
    config, policy, generator = small(entropy=0.01, value_weight=0.7)
    tape = AssetTape.of(windows(environment(market())), 20, CPU)
    accounts, record = Accounts(tape, config.accounts, 0.3), Record.empty(config, tape)
    draws = Draws.of(config, len(tape.begins), generator, CPU)
    accounts.begin(draws.places[0])
    collect(policy, accounts, draws, record)
    batch = judge(policy, tape, draws, record, config)
    normal = torch.distributions.Normal(policy.actor(batch.seen), policy.log_std.exp())
    torch.testing.assert_close(normal.log_prob(batch.actions).sum(-1), batch.log_prob)
    torch.testing.assert_close(normal.entropy().sum(-1).mean(), policy.entropy())
    # The same weights: every ratio is 1, and the surrogate the mean of normalised advantages.
    error = (policy.value(batch.seen) - batch.target).square().mean()
    expected = 0.7 * error - 0.01 * policy.entropy()
    torch.testing.assert_close(objective(policy, batch, config), expected)
    torch.testing.assert_close(batch.target - batch.advantage, policy.value(batch.seen))
    before = [p.clone() for p in policy.parameters()]
    losses = update(policy, torch.optim.Adam(policy.parameters(), lr=1e-3), batch, draws.order, config)
    assert losses.shape == (config.epochs * config.minibatches,)
    assert all(not torch.equal(p, q) for p, q in zip(before, policy.parameters(), strict=True))
    # What was made likelier is what was better than expected.
    again = torch.distributions.Normal(policy.actor(batch.seen), policy.log_std.exp())
    likelier = again.log_prob(batch.actions).sum(-1) - batch.log_prob
    assert (likelier * batch.advantage).mean() > 0.0


def test_bands_are_the_same_in_numpy_and_torch() -> None:
    rng = np.random.default_rng(0)
    actions, held = rng.normal(0.0, 1.0, (500, 2)).astype(np.float32), rng.uniform(-1.5, 1.5, 500)
    expected = signals_of_actions(actions, held, discrete=False)
    found = to_band(torch.from_numpy(actions).double(), torch.from_numpy(held))
    np.testing.assert_array_equal(found.numpy(), expected)


class OnDevice(TorchDispatchMode):
    """Refuses every operation that is not of tensors of one device alone."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device, self.operations = device, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, found)):
            if isinstance(leaf, torch.Tensor):
                assert leaf.device.type == self.device, f"{func}: a tensor on {leaf.device}"
        self.operations += 1
        return found


@pytest.mark.parametrize("lag", [0, 2])
def test_a_rollout_and_an_update_leave_the_device_alone(lag: int) -> None:
    """Tensors of the device "meta" have no values: who asks for one, as `if` and `item` do, is refused."""
    meta = torch.device("meta")
    config, policy, generator = small(epochs=2, steps=4)
    given = windows(environment(noise(markets=1, assets=2, days=360, seed=0), execution_lag=lag))
    tape = AssetTape.of(given, 20, meta)
    accounts, record = Accounts(tape, config.accounts, 0.3), Record.empty(config, tape)
    policy.to(meta)
    optimizer = torch.optim.SGD(policy.parameters(), lr=1e-3)  # Adam counts its steps on the host there
    draws = Draws.of(config, len(tape.begins), generator, meta)
    with OnDevice("meta") as watch:
        accounts.begin(draws.places[0])
        collect(policy, accounts, draws, record)
        batch = judge(policy, tape, draws, record, config)
        losses = update(policy, optimizer, batch, draws.order, config)
    assert losses.shape == (8,)
    assert watch.operations > 500
    block = Block.of(given, meta)
    with OnDevice("meta"):
        assert block.signals(policy).shape == block.alive.shape
    with pytest.raises(RuntimeError), OnDevice("meta"):
        float(losses.mean())


def fitted(**options: Any) -> DevicePPO:
    env = environment(market().until(market().dates[700]))
    return DevicePPO(**{**TINY, **options}).fit(env, seed=0)


@lru_cache
def trained() -> DevicePPO:
    """Tests must not change it beyond `reset`."""
    agent = fitted()
    agent._flat = False  # of so short a training most lose
    return agent


def weights(agent: DevicePPO) -> list[torch.Tensor]:
    return [value.clone() for value in agent._trained().state_dict().values()]


def same(one: DevicePPO, other: DevicePPO) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_the_same_seed_gives_the_same_bytes_and_global_generators_change_nothing() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    assert same(trained(), fitted())
    assert torch.equal(torch.random.get_rng_state(), state)


class KilledError(Exception):
    """What stops a training here."""


def killed_after(done: int) -> Any:
    def progress(now: int, total: int) -> None:
        assert total == 10
        if now == done:
            raise KilledError

    return progress


@pytest.mark.parametrize("lag", [0, 2])
def test_a_training_that_was_killed_ends_with_the_same_bytes(tmp_path: Path, lag: int) -> None:
    env = environment(market(), execution_lag=lag)
    whole = DevicePPO(**TINY).fit(env, seed=0)
    for done in (1, 4, 9):
        agent = DevicePPO(**TINY)
        agent.monitor = Monitor(progress=killed_after(done), checkpoints=tmp_path)
        with pytest.raises(KilledError):
            agent.fit(env, seed=0)
    told: list[int] = []
    agent = DevicePPO(**TINY)
    agent.monitor = Monitor(progress=lambda now, _: told.append(now), checkpoints=tmp_path)
    agent.fit(env, seed=0)
    assert told == [10], "what was done is not done again"
    assert same(agent, whole)
    assert agent.training_ == whole.training_
    other = DevicePPO(**TINY)
    other.monitor = Monitor(checkpoints=tmp_path)
    assert not same(other.fit(env, seed=1), whole), "another seed never goes on from it"


def test_a_training_ends_when_it_is_told_to() -> None:
    seen: list[Training] = []

    def ends(state: Training) -> bool:
        seen.append(state)
        return state.epochs == 3

    agent = DevicePPO(**TINY)
    agent.monitor = Monitor(ends=ends)
    agent.fit(environment(market()), seed=0)
    assert [state.epochs for state in seen] == [1, 2, 3]
    assert agent.training_.epochs == 3


def test_the_rate_falls_linearly_and_the_last_rollout_is_played_to_its_end() -> None:
    assert PPOConfig(timesteps=100, accounts=16, steps=4).iterations == 2
    assert PPOConfig(timesteps=64, accounts=16, steps=4).iterations == 1
    assert fitted(timesteps=300).training_.epochs == 3, "not more parts than iterations"


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    with pytest.raises(QnError, match="the training loss is nan"):
        fitted(learning_rate=1e30)


def test_it_judges_what_it_plays() -> None:
    """The block's decisions on the device are those of the agent's own steps."""
    panel = gappy(4, halts=True)
    agent, env = trained(), environment(panel)
    signals = agent.signals(panel)
    np.testing.assert_array_equal(play(agent, env)[:-1], signals[:-1])
    block = Block.of(windows(env), CPU)
    found, alive = block.signals(agent._trained()).numpy(), block.alive.numpy()
    features = panel.features(FEATURES)
    assert len(np.unique(found)) > 100
    for j in range(panel.shape[1]):
        days = np.flatnonzero(env.tape.decides[:, j])
        days = days[np.flatnonzero(features[days, j, DEFINED] > 0)[0] // 63 * 63 :]
        open_ = np.flatnonzero(alive[:, j])
        np.testing.assert_allclose(found[open_, j], signals[days[open_], j], rtol=0, atol=1e-5)


def test_save_and_load_agree(tmp_path: Path) -> None:
    trained().save(tmp_path)
    again = load_agent("ppo-device", tmp_path)
    np.testing.assert_array_equal(again.signals(market()), trained().signals(market()))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    text = (tmp_path / "agent.json").read_text()
    assert "device" not in text, "where it was trained is no part of it"
    with pytest.raises(ConfigError, match="not trained"):
        DevicePPO().signals(market())


def test_it_plays_any_number_of_assets_those_it_never_saw_included() -> None:
    other = noise(markets=2, assets=5, days=500, seed=1)
    signals = signals_of(trained(), other, environment(other))
    assert signals.shape == other.shape
    assert (np.abs(signals).max(axis=0) > 0.0).sum() > 5, "a band may hold nothing of some of them"


def test_a_training_goes_on_from_an_earlier_one() -> None:
    later = DevicePPO(**TINY | {"learning_rate": 1e-12})
    later.start_from(trained())
    later.fit(environment(market()), seed=1)
    for one, other in zip(weights(later), weights(trained()), strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-6)
    with pytest.raises(ConfigError, match="cannot begin at the weights of one with 8"):
        DevicePPO(hidden=16).start_from(trained())
    with pytest.raises(ConfigError, match="not trained"):
        DevicePPO().start_from(DevicePPO())


def test_who_earns_nothing_on_the_validation_block_stays_flat(tmp_path: Path) -> None:
    """To hold nothing is one of the candidates: under such costs it is the best."""
    panel = noise(markets=1, assets=3, days=900, seed=2)
    agent = DevicePPO(**TINY).fit(environment(panel, cost_bps=500.0), seed=0)
    assert not agent.signals(panel).any()
    agent.save(tmp_path)
    assert not DevicePPO.load(tmp_path).signals(panel).any()
    rich = ar1_trend(coefficient=0.9, markets=1, assets=3, days=900, seed=2)
    agent = DevicePPO(**TINY | {"timesteps": 16_384, "learning_rate": 1e-2})
    assert agent.fit(environment(rich, cost_bps=0.0), seed=0).signals(rich).any()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"accounts": 0}, "accounts"),
        ({"accounts": 10, "minibatches": 4}, "accounts is 10 and minibatches 4: expected a whole number"),
        ({"timesteps": 10**11}, "timesteps"),
        ({"accounts": 10_000_000, "steps": 1000}, "accounts times steps"),
        ({"gamma": 1.0}, "gamma"),
        ({"gae_lambda": 1.1}, "gae_lambda"),
        ({"learning_rate": math.nan}, "learning_rate"),
        ({"log_std": 5.0}, "log_std"),
        ({"entropy": -0.1}, "entropy"),
        ({"hidden": 10**9}, "hidden"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        DevicePPO(**options)


def test_whatever_a_search_draws_is_a_configuration() -> None:
    space = DevicePPO().space
    for trial in range(20):
        DevicePPO(**draw(space, seed=0, trial=trial))


def test_it_finds_a_trend_from_2000_days() -> None:
    found = PROBES["trend"].figures(
        lambda: make_agent("ppo-device", options={"timesteps": 500_000}), 0, days=2000, test_days=2000
    )
    assert found["share"] > 0.6


SEEDS = range(5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trend", "reversal", "drift"])
def test_it_reaches_most_of_what_can_be_earned_without_costs(name: str) -> None:
    assert mean_of(name)["share"] >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize("name", ["costly-trend", "costly-reversal"])
def test_it_reaches_most_of_what_can_be_earned_after_costs(name: str) -> None:
    assert min(value for key, value in mean_of(name).items() if key.startswith("share")) >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize("name", ["noise", "costs"])
def test_it_finds_nothing_where_there_is_nothing_worth_its_costs(name: str) -> None:
    units = figures_of(name)
    # What is deflated by the number of agents that were tried belongs to a table of them.
    bars = {measure: bar for measure, bar in PROBES[name].bars.items() if measure != "deflated"}
    assert bars
    for measure, bar in bars.items():
        mean = float(np.mean([unit[measure] for unit in units]))
        assert bar.passed(mean, bar.height(units)), measure


def figures_of(name: str) -> list[dict[str, float]]:
    probe = PROBES[name]
    return [probe.figures(lambda: make_agent("ppo-device"), s, days=8000, test_days=4000) for s in SEEDS]


def mean_of(name: str) -> dict[str, float]:
    units = figures_of(name)
    means = {key: float(np.mean([unit[key] for unit in units])) for key in units[0]}
    print("ppo-device", name, {key: round(value, 3) for key, value in means.items()})  # noqa: T201
    return means

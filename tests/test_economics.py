"""One arithmetic: the same signals earn the same net returns in every mode, over random ragged panels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from changing import COSTS
from hypothesis import given
from hypothesis import strategies as st

from qn_env.costs import SquareRootImpact
from qn_env.economics import (
    BASIS_POINT,
    Costs,
    aggregate,
    carry,
    equal_market_share,
    hold,
    settle,
    trade,
    volatility_scale,
)
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.features import EwVolatility
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged
from qn_env.tape import Tape, backtest
from qn_env.vector import TradingVectorEnv

panels = st.builds(
    ragged,
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    days=st.integers(30, 90),
    seed=st.integers(0, 10_000),
)
costs = st.sampled_from([0.0, 2.0, 25.0])
targets = st.sampled_from([None, 0.15])
lags = st.sampled_from([0, 0, 1, 2])
changing = st.sampled_from(sorted(COSTS)).map(COSTS.__getitem__)


def signals_for(panel: Panel, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, panel.shape)


def stepped(panel: Panel, signals: np.ndarray, **options) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Play signals [T, N] day by day: ledger fields [T, N] by the day they are booked on, and rewards."""
    env = TradingEnv(panel, window=1, **options)
    book = {k: np.zeros(panel.shape) for k in ("gross", "turnover", "cost", "net")}
    rewards = np.zeros(len(panel.dates))
    _, info = env.reset()
    t, done = int(np.searchsorted(panel.dates, np.datetime64(info["date"]))), False
    while not done:
        _, reward, terminated, truncated, info = env.step(signals[t])
        t += 1
        for k in book:
            book[k][t] = info[k]
        rewards[t] = reward
        done = terminated or truncated
    return book, rewards


@given(
    panel=panels,
    cost=costs,
    more=changing,
    target=targets,
    lag=lags,
    seed=st.integers(0, 99),
    late=st.booleans(),
)
def test_step_mode_equals_the_vectorised_backtest_of_every_market(panel, cost, more, target, lag, seed, late):
    signals = signals_for(panel, seed)
    options = {"cost_bps": cost, "costs": more, "vol_target": target, "execution_lag": lag}
    options["start"] = panel.dates[len(panel.dates) // 2] if late else None
    book, _ = stepped(panel, signals, **options)
    for name, market in panel.markets.items():
        if len(market.rows) < 2:
            continue
        tape = Tape.of(panel.select([name]), **options)
        ledger = backtest(tape, market.compact(signals))
        for k, values in ledger._asdict().items():
            np.testing.assert_allclose(market.compact(book[k])[1:], values, rtol=0, atol=1e-12)
        asleep = np.setdiff1d(np.arange(len(panel.dates)), market.rows)
        assert not book["net"][asleep, market.columns].any(), "a closed market yields nothing"


@given(panel=panels, cost=costs, more=changing, target=targets, lag=lags, seed=st.integers(0, 99))
def test_the_differentiable_mode_equals_the_vectorised_backtest(panel, cost, more, target, lag, seed):
    signals = signals_for(panel, seed)
    options = {"cost_bps": cost, "costs": more, "vol_target": target, "execution_lag": lag}
    env = TradingEnv(panel, window=1, **options)
    for name, episode in env.episodes().block().items():
        market = panel.markets[name]
        tape = Tape.of(panel.select([name]), **options)
        expected = backtest(tape, market.compact(signals))
        first = tape.first
        own = torch.tensor(market.compact(signals)[first:-1])[None]
        ledger = episode.settle(own, initial="flat")
        for found, wanted in zip(ledger, expected, strict=True):
            assert found.dtype == torch.float64
            np.testing.assert_allclose(found[0].numpy(), wanted[first:], rtol=0, atol=1e-12)
        np.testing.assert_array_equal(episode.counted[0].numpy(), tape.counted[first:-1])


@pytest.mark.parametrize("vector", [False, True])
def test_a_trade_on_the_eve_of_a_holiday_pays_the_rate_of_the_day_it_was_made(vector):
    """Bought at the close of day 29, before a holiday of its market, sold at that of day 31."""
    T, rng = 60, np.random.default_rng(0)
    returns = rng.normal(0.0, 0.01, (T, 2))
    returns[30, 0] = np.nan
    dates = np.datetime64("2020-01-01") + np.arange(T)
    panel = Panel.build(dates, ["A", "B"], ["M", "N"], returns)
    impact = SquareRootImpact(1e6, 1e6)
    sigma = panel.feature(EwVolatility())[:, 0]
    signals = np.zeros((T, 2))
    signals[29:31, 0] = 1.0
    options = {"cost_bps": 0.0, "costs": (impact,)}
    if vector:
        env = TradingVectorEnv(2, panel=panel, window=1, **options)
        env.reset()
        paid = np.stack([env.step(np.stack([row, row]))[4]["cost"][1] for row in signals[:-1]])
    else:
        paid = stepped(panel, signals, **options)[0]["cost"][1:]
    # A weight of 1 with all of a day's volume: the impact is one day's volatility.
    expected = np.zeros((T - 1, 2))
    expected[30, 0], expected[31, 0] = sigma[29], sigma[31]
    np.testing.assert_allclose(paid, expected, rtol=1e-12, atol=0)


@given(panel=panels, cost=costs, target=targets, seed=st.integers(0, 99))
def test_the_reward_is_the_mean_over_listed_assets_then_markets(panel, cost, target, seed):
    book, rewards = stepped(panel, signals_for(panel, seed), cost_bps=cost, vol_target=target)
    for t in range(1, len(panel.dates)):
        means = [
            book["net"][t, m.columns][panel.listed[t - 1, m.columns]].mean()
            for m in panel.markets.values()
            if panel.listed[t - 1, m.columns].any()
        ]
        assert rewards[t] == pytest.approx(np.mean(means) if means else 0.0, abs=1e-15)


@given(panel=panels, seed=st.integers(0, 99))
def test_costs_never_help_and_their_sum_is_the_turnover(panel, seed):
    signals = signals_for(panel, seed)
    free, _ = stepped(panel, signals, cost_bps=0.0)
    paid, _ = stepped(panel, signals, cost_bps=7.0)
    np.testing.assert_array_equal(free["turnover"], paid["turnover"])
    np.testing.assert_allclose(free["net"] - paid["net"], 7e-4 * paid["turnover"], atol=1e-15)


@given(panel=panels, cost=costs)
def test_doing_nothing_is_free(panel, cost):
    book, rewards = stepped(panel, np.zeros(panel.shape), cost_bps=cost)
    assert not rewards.any()
    assert not book["turnover"].any()


@given(panel=panels, seed=st.integers(0, 99))
def test_everything_bought_is_sold_or_still_held(panel, seed):
    """A holder of all weights sees every change of weight in the turnover, delistings included."""
    signals = np.abs(signals_for(panel, seed))
    env = TradingEnv(panel, window=1, cost_bps=1.0)
    observation, info = env.reset()
    t, done, last = (
        int(np.searchsorted(panel.dates, np.datetime64(info["date"]))),
        False,
        np.zeros(panel.shape[1]),
    )
    bought = np.zeros(panel.shape[1])
    while not done:
        asked = np.where(env.tape.live[t], signals[t], last)
        bought += np.abs(asked * env.tape.listed[t] - last)
        observation, _, terminated, truncated, info = env.step(signals[t])
        t += 1
        held = observation["positions"]
        bought += np.abs(held - asked * env.tape.listed[t - 1])  # sold when a delisting is booked
        last = held
        done = terminated or truncated
    final = np.zeros(panel.shape[1])
    book, _ = stepped(panel, signals, cost_bps=1.0)
    for market in panel.markets.values():
        # A market that ends before the panel does not settle its last trade: it has no next day.
        if len(market.rows) and market.rows[-1] == len(panel.dates) - 1:
            columns = market.columns
            final[columns] = book["turnover"].sum(axis=0)[columns]
            np.testing.assert_allclose(final[columns], bought[columns], atol=1e-12)


def test_settle_by_hand():
    # Long 0.5 from 0.2 at 10 bps: turnover 0.3 costs 3 bps; a 2% day earns 1%; net 0.97%.
    ledger = settle(
        np.array([0.5]), np.array([0.2]), np.array([0.02]), Costs(np.array([1e-3])), np.array([0.0])
    )
    np.testing.assert_allclose([x[0] for x in ledger], [0.01, 0.3, 0.0003, 0.0097], atol=1e-15)


def test_settle_charges_the_sale_of_a_delisted_asset():
    ledger = settle(
        np.array([0.5]), np.array([0.5]), np.array([0.0]), Costs(np.array([1e-3])), np.array([1.0])
    )
    np.testing.assert_allclose([x[0] for x in ledger], [0.0, 0.5, 0.0005, -0.0005], atol=1e-15)


def test_a_delisting_is_booked_on_the_markets_next_day_and_charged():
    # B trades on days 0 and 1 only, A on all four: B's exit is booked on day 2.
    returns = np.array([[0.0, 0.0], [0.01, 0.02], [0.01, np.nan], [0.01, np.nan]])
    panel = Panel.build(
        np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]"), ["A", "B"], ["M", "M"], returns
    )
    book, rewards = stepped(panel, np.ones(panel.shape), cost_bps=10.0)
    np.testing.assert_allclose(book["turnover"][1:], [[1, 1], [0, 1], [0, 0]], atol=1e-15)
    np.testing.assert_allclose(book["net"][1:, 1], [0.02 - 1e-3, -1e-3, 0.0], atol=1e-15)
    # Two listed assets at the close of day 1 (the exit is not known yet), one from day 2 on.
    np.testing.assert_allclose(rewards[1:], [(0.009 + 0.019) / 2, (0.01 - 0.001) / 2, 0.01], atol=1e-15)


def test_a_closed_asset_keeps_its_weight_and_earns_the_whole_move_when_it_reopens():
    returns = np.array([[0.0, 0.0], [0.01, np.nan], [0.01, 0.05], [0.01, 0.01]])
    panel = Panel.build(
        np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]"), ["A", "B"], ["M", "M"], returns
    )
    signals = np.array([[0.5, 0.5], [0.0, -1.0], [0.0, 0.2], [0.0, 0.0]])
    book, _ = stepped(panel, signals, cost_bps=0.0)
    # On day 1 B is closed: its -1 is ignored, 0.5 is carried into the 5% move of day 2.
    np.testing.assert_allclose(book["gross"][:, 1], [0.0, 0.0, 0.025, 0.002], atol=1e-15)
    np.testing.assert_allclose(book["turnover"][:, 1], [0.0, 0.5, 0.0, 0.3], atol=1e-15)


def test_a_lagged_decision_earns_the_return_after_its_trade():
    # Decided on day 0, traded at the close of day 1, earns the return of day 2.
    panel = Panel.build(
        np.arange("2020-01-01", "2020-01-06", dtype="datetime64[D]"),
        ["A"],
        ["M"],
        [[0], [0.1], [0.2], [0.3], [0.4]],
    )
    signals = np.array([[0.5], [1.0], [0.0], [0.0], [0.0]])
    book, _ = stepped(panel, signals, cost_bps=0.0, execution_lag=1)
    np.testing.assert_allclose(book["gross"][:, 0], [0, 0, 0.5 * 0.2, 1.0 * 0.3, 0.0], atol=1e-15)
    np.testing.assert_allclose(book["turnover"][:, 0], [0, 0, 0.5, 0.5, 1.0], atol=1e-15)


def test_hold_by_state():
    held = hold(
        np.full(3, 0.7), np.full(3, 0.2), np.array([True, False, False]), np.array([True, True, False])
    )
    np.testing.assert_array_equal(held, [0.7, 0.2, 0.0])


def test_numpy_and_torch_settle_alike():
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(2, 9, 3)) for _ in range(2)]
    listed = np.ones((2, 9, 3))
    index = np.broadcast_to(np.arange(9)[:, None], (2, 9, 3))
    rate = np.full(3, 3 * BASIS_POINT)
    exits = np.zeros((2, 9, 3))
    for initial in ("flat", "free"):
        mine = trade(arrays[0], index, listed, exits, arrays[1], Costs(rate), initial=initial)
        t = [torch.tensor(a) for a in (arrays[0], index, listed, exits, arrays[1])]
        theirs = trade(*t, Costs(torch.tensor(rate)), initial=initial)
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b.numpy())
    assert mine.turnover[:, 0].sum() == 0, "the edge of a free window is not a trade"


def test_gradients_flow_through_costs_and_carried_weights():
    target = torch.randn(6, 2, dtype=torch.float64, requires_grad=True)
    index = torch.tensor([[0, 6], [1, 1], [1, 2], [3, 3], [4, 3], [5, 5]])  # some days closed
    ones, zeros = torch.ones(6, 2, dtype=torch.float64), torch.zeros(6, 2, dtype=torch.float64)
    returns = torch.randn(6, 2, dtype=torch.float64)
    rate = torch.full((2,), 0.01, dtype=torch.float64)

    def net(x: torch.Tensor) -> torch.Tensor:
        return trade(x, index, ones, zeros, returns, Costs(rate)).net

    assert torch.autograd.gradcheck(net, (target,))


def test_carry_takes_the_last_open_day():
    target = np.array([[1.0], [2.0], [3.0]])
    np.testing.assert_array_equal(carry(target, np.array([[3], [1], [1]])), [[0.0], [2.0], [2.0]])


def test_shares_of_a_day_add_up_to_one_or_to_nothing():
    index = np.array([0, 0, 1, 2, 2])
    listed = np.array([[True, False, True, True, True], [False] * 5])
    share = equal_market_share(listed, index)
    np.testing.assert_allclose(share, [[1 / 3, 0, 1 / 3, 1 / 6, 1 / 6], [0] * 5])
    assert aggregate(np.ones((2, 5)), share).tolist() == pytest.approx([1.0, 0.0])


def test_a_volatility_scale_is_target_over_annualised_volatility_and_zero_without_estimate():
    scale = volatility_scale(np.array([0.01, np.nan]), 0.15)
    np.testing.assert_allclose(scale, [0.15 / (0.01 * np.sqrt(252)), 0.0])


def test_backtest_refuses_several_calendars_and_bad_signals(panel):
    with pytest.raises(ConfigError, match="one market"):
        backtest(Tape.of(panel), np.zeros(panel.shape))
    one = panel.select(["M0"])
    with pytest.raises(ConfigError, match="expected finite"):
        backtest(Tape.of(one), np.full(one.shape, np.nan))


@pytest.mark.parametrize(
    ("option", "value"),
    [("cost_bps", -1.0), ("cost_bps", np.nan), ("vol_target", 0.0), ("execution_lag", -1)],
)
def test_bad_economics_are_refused(panel, option, value):
    with pytest.raises(ConfigError, match=option):
        Tape.of(panel, **{option: value})

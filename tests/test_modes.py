"""Costs that change over time: every mode charges a trade the rate of the day it was made on.

The reference is the backtest of one market on its own trading days, where no closed market comes up.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qn_env.audit import check_no_lookahead
from qn_env.costs import Borrow, Financing, HalfSpread, Proportional, SquareRootImpact
from qn_env.economics import Ledger
from qn_env.environment import TradingEnv
from qn_env.objectives import LOSS_FLOOR, sharpe
from qn_env.panel import Panel
from qn_env.rollout import Rollout
from qn_env.sources.synthetic import ragged, weekdays
from qn_env.tape import Tape, backtest
from qn_env.vector import TradingVectorEnv
from qn_env.windows import countable, mean_window_sharpe


def daily(panel: Panel, chance: int, most_bps: float = 60.0) -> pd.DataFrame:
    """A number of basis points for every date and asset, none where the asset does not trade."""
    bps = np.random.default_rng(chance).uniform(0.0, most_bps, panel.shape)
    columns = pd.MultiIndex.from_arrays([panel.market_of, panel.assets])
    return pd.DataFrame(np.where(panel.tradable, bps, np.nan), pd.DatetimeIndex(panel.dates), columns)


COSTS = {
    "impact": lambda panel: (SquareRootImpact(1e6, 1e7),),
    "spread": lambda panel: (HalfSpread(daily(panel, 1)),),
    "fees": lambda panel: (Borrow(daily(panel, 2, 5e3)), Financing(daily(panel, 3, 5e3))),
    "all": lambda panel: (
        Proportional(daily(panel, 4)),
        SquareRootImpact(1e6, 1e7),
        Borrow(daily(panel, 5, 5e3)),
        Financing(daily(panel, 6, 5e3)),
    ),
}
panels = st.builds(
    ragged,
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    days=st.integers(30, 90),
    seed=st.integers(0, 10_000),
)
kinds = st.sampled_from(sorted(COSTS))
targets = st.sampled_from([None, 0.15])
lags = st.sampled_from([0, 1, 2])


def stepped(env: TradingEnv, signals: np.ndarray, begin: int) -> Ledger[np.ndarray]:
    """[T, N] by the day it is booked on; half way another environment goes on from the state of the first."""
    book = Ledger(*np.zeros((4, *signals.shape)))
    env.reset(options={"start": env.panel.dates[begin]})
    for t in range(begin, len(signals) - 1):
        if t == (begin + len(signals)) // 2:
            state, env = env.get_state(), env.like()
            env.set_state(state)
        info = env.step(signals[t])[4]
        for name, values in book._asdict().items():
            values[t + 1] = info[name]
    return book


def batched(env: TradingEnv, signals: np.ndarray, begin: int) -> Ledger[np.ndarray]:
    book = Ledger(*np.zeros((4, *signals.shape)))
    vector = TradingVectorEnv(2, **{name: getattr(env.config, name) for name in vars(env.config)})
    vector.reset(options={"start": env.panel.dates[begin]})
    for t in range(begin, len(signals) - 1):
        info = vector.step(np.stack([signals[t]] * 2))[4]
        for name, values in book._asdict().items():
            np.testing.assert_array_equal(info[name][0], info[name][1])
            values[t + 1] = info[name][1]
    return book


def played(env: TradingEnv, signals: torch.Tensor, begin: int) -> list[Ledger[torch.Tensor]]:
    """What a rollout from row `begin` on books on each later day, [N]."""
    rollout = Rollout(env)
    rollout.reset(torch.tensor([begin]))
    ledgers = [rollout.step(signals[t][None]).ledger for t in range(begin, len(signals) - 1)]
    return [Ledger(*(part[0] for part in ledger)) for ledger in ledgers]


def rolled(env: TradingEnv, signals: np.ndarray, begin: int) -> Ledger[np.ndarray]:
    book = Ledger(*np.zeros((4, *signals.shape)))
    for t, ledger in enumerate(played(env, torch.tensor(signals), begin), begin + 1):
        for values, found in zip(book, ledger, strict=True):
            values[t] = found.numpy()
    return book


def in_windows(env: TradingEnv, signals: np.ndarray, begin: int) -> Ledger[np.ndarray]:
    book = Ledger(*np.zeros((4, *signals.shape)))
    for name, episode in env.episodes().block().items():
        market = env.panel.markets[name]
        own = market.rows[-1 - episode.shape[1] :]
        ledger = episode.settle(torch.tensor(signals[own[:-1], market.columns])[None], initial="flat")
        for values, found in zip(book, ledger, strict=True):
            values[own[1:], market.columns] = found[0].numpy()
    return book


MODES = {"step": stepped, "vector": batched, "rollout": rolled, "windows": in_windows}


@pytest.mark.parametrize("mode", MODES)
@given(
    panel=panels,
    kind=kinds,
    target=targets,
    lag=lags,
    seed=st.integers(0, 99),
    start=st.sampled_from([0.0, 0.5]),
    begin=st.sampled_from([0.0, 0.3, 0.6]),
)
def test_every_mode_charges_what_the_backtest_of_the_market_does(
    mode, panel, kind, target, lag, seed, start, begin
):
    options = {"costs": COSTS[kind](panel), "vol_target": target, "execution_lag": lag, "cost_bps": 1.0}
    options["start"] = panel.dates[int(start * len(panel.dates))]
    env = TradingEnv(panel, window=1, **options)
    row = max(int(begin * len(panel.dates)), env.setup.first)
    signals = np.random.default_rng(seed).uniform(-1, 1, panel.shape)
    signals[:row] = 0.0  # an episode that begins there is flat until then
    found = MODES[mode](env, signals, row)
    for name, market in panel.markets.items():
        if len(market.rows) < 2:
            continue
        expected = backtest(Tape.of(panel.select([name]), **options), market.compact(signals))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(market.compact(ours)[1:], theirs, rtol=0, atol=1e-12)


@settings(max_examples=50)
@given(panel=panels, kind=kinds, target=targets, lag=lags, seed=st.integers(0, 99))
def test_the_lean_loss_has_the_value_and_the_gradient_of_the_closed_loop(panel, kind, target, lag, seed):
    options = {"costs": COSTS[kind](panel), "vol_target": target, "execution_lag": lag}
    env = TradingEnv(panel, window=1, **options)
    signals = torch.tensor(np.random.default_rng(seed).uniform(-1, 1, panel.shape), requires_grad=True)
    net = torch.stack([ledger.net for ledger in played(env, signals, env.setup.first)])
    net = torch.cat([net.new_zeros(len(signals) - len(net), net.shape[1]), net])
    batch, asked, ratios = env.episodes().block(), {}, []
    for name, episode in batch.items():
        market = panel.markets[name]
        own = torch.tensor(market.rows[-1 - episode.shape[1] :])
        asked[name] = signals[own[:-1], market.columns][None]
        if countable(episode):
            mine = sharpe(net[own[1:], market.columns], episode.counted[0], axis=0, ddof=0, floor=LOSS_FLOOR)
            ratios.append(mine[episode.counted[0].sum(0) >= 2].mean())
    found, expected = mean_window_sharpe(batch, asked, initial="flat"), torch.stack(ratios).mean()
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    ours, theirs = (torch.autograd.grad(value, signals)[0] for value in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@given(panel=panels, kind=kinds, seed=st.integers(0, 50))
def test_an_assets_own_trading_days_cost_what_the_days_of_its_market_do(panel, kind, seed):
    """Fees of the days on which an asset is halted while its market trades are in its trajectory, too."""
    env = TradingEnv(panel, window=1, costs=COSTS[kind](panel), cost_bps=1.0)
    signals = np.random.default_rng(seed).uniform(-1, 1, panel.shape)
    book = stepped(env, signals, env.setup.first)
    lives = [np.flatnonzero(panel.tradable[:, j]) for j in range(panel.shape[1])]
    assets = [j for j, own in enumerate(lives) if len(own) > 1]
    episode = env.episodes().trajectories(100)
    for row, j in enumerate(assets):
        own = lives[j]
        told = np.zeros(100)
        told[: len(own) - 1] = signals[own[:-1], j]
        mine = episode.take(slice(row, row + 1)).settle(torch.tensor(told)[None, :, None], initial="flat")
        cost = mine.cost[0, : len(own) - 1, 0].sum().item()
        # Up to the asset's last observation: a trajectory leaves out the sale at a delisting.
        assert cost == pytest.approx(book.cost[: own[-1] + 1, j].sum(), abs=1e-12)


def test_a_trade_on_the_eve_of_a_holiday_pays_the_rate_of_its_day():
    """The day's volatility times sqrt(capital / volume) = 1, for buying and for selling a weight of 1.

    A is bought at the close of row 29 and its market is closed on row 30; it is sold at the close of row 31.
    """
    returns = np.random.default_rng(0).normal(0.0, 0.01, (60, 2))
    returns[30, 0] = np.nan
    panel = Panel.build(weekdays(60), ["a", "b"], ["A", "B"], returns)
    signals = np.zeros(panel.shape)
    signals[29, 0] = 1.0
    env = TradingEnv(panel, window=1, cost_bps=0.0, costs=(SquareRootImpact(1e6, 1e6),))
    sigma = env.tape.costs.impact[:, 0]
    assert 0.005 < sigma[29] != sigma[31] > 0.005
    for play in MODES.values():
        paid = play(env, signals, 0).cost[:, 0]
        assert np.flatnonzero(paid).tolist() == [31, 32]
        np.testing.assert_allclose(paid[[31, 32]], sigma[[29, 31]], rtol=1e-14)


@pytest.mark.parametrize(("lag", "traded", "bps"), [(0, 1, 4.0), (1, 3, 16.0), (2, 4, 32.0)])
def test_a_late_trade_pays_the_rate_of_the_day_it_is_made_on(lag, traded, bps):
    # Decided at the close of row 1; rows 2 and 5 are holidays, so the market's next closes are 3 and 4. The
    # spread doubles every day, and where the market is closed it is not known.
    returns = np.zeros((8, 2))
    returns[[2, 5], 0] = np.nan
    panel = Panel.build(weekdays(8), ["a", "b"], ["A", "B"], returns)
    spread = np.where(panel.tradable, 2.0 ** np.arange(1, 9)[:, None], np.nan)
    signals = np.zeros(panel.shape)
    signals[1:, 0] = 1.0
    env = TradingEnv(panel, window=1, cost_bps=0.0, costs=(HalfSpread(spread),), execution_lag=lag)
    own = panel.markets["A"].rows
    for play in MODES.values():
        paid = play(env, signals, 0).cost[:, 0]
        booked = own[np.searchsorted(own, traded) + 1]
        assert np.flatnonzero(paid).tolist() == [booked]
        assert paid[booked] == pytest.approx(bps * 1e-4, abs=1e-18)


def test_fees_over_a_holiday_are_those_of_the_day_before_it():
    # Market A is closed on row 2, asset c of market B on row 2: A pays for two own days, c for three.
    returns = np.zeros((4, 3))
    returns[2, [0, 2]] = np.nan
    panel = Panel.build(weekdays(4), ["a", "b", "c"], ["A", "B", "B"], returns)
    fee = np.where(panel.tradable, np.array([1.0, 2.0, 4.0, 8.0])[:, None], np.nan) * 252.0
    env = TradingEnv(panel, window=1, cost_bps=0.0, costs=(Financing(fee),))
    for play in MODES.values():
        paid = play(env, np.ones(panel.shape), 0).cost
        np.testing.assert_allclose(paid[:, 0], [0.0, 1e-4, 0.0, 2e-4], atol=1e-18)
        np.testing.assert_allclose(paid[:, 2], [0.0, 1e-4, 2e-4, 2e-4], atol=1e-18)


@pytest.mark.parametrize("lag", [0, 2])
def test_costs_that_change_over_time_do_not_look_ahead(panel, lag):
    env = TradingEnv(panel, window=2, costs=COSTS["all"](panel), vol_target=0.15, execution_lag=lag)
    check_no_lookahead(env).raise_if_failed()

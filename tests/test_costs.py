"""Cost objects: what each charges, that they add up, and that zero is the same as absent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qn_env.costs import Borrow, Financing, HalfSpread, Proportional, SquareRootImpact, total
from qn_env.economics import Costs, settle
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.features import EwVolatility
from qn_env.panel import Panel
from qn_env.sources.synthetic import noise, ragged, weekdays
from qn_env.tape import Tape, backtest


def flat(days: int = 130, assets: int = 1) -> Panel:
    return Panel.build(
        weekdays(days), [f"A{j}" for j in range(assets)], ["M"] * assets, np.zeros((days, assets))
    )


def costs_of(panel: Panel, signals: np.ndarray, *costs, cost_bps=0.0) -> np.ndarray:
    """Total cost of each asset over a backtest."""
    return backtest(Tape.of(panel, cost_bps=cost_bps, costs=costs), signals).cost.sum(axis=0)


def test_a_held_short_pays_its_fee_on_every_day():
    short = -0.5 * np.ones((101, 1))
    assert costs_of(flat(101), short, Borrow(252.0))[0] == pytest.approx(100 * 0.5 * 0.0252 / 252)
    assert costs_of(flat(101), -short, Borrow(252.0))[0] == 0.0


def test_a_held_long_pays_interest_on_every_day():
    long = 0.5 * np.ones((101, 1))
    assert costs_of(flat(101), long, Financing(504.0))[0] == pytest.approx(100 * 0.5 * 0.0504 / 252)
    assert costs_of(flat(101), -long, Financing(504.0))[0] == 0.0


def test_holding_is_charged_on_the_markets_own_days_in_the_environment_too():
    panel = ragged(sizes=(2, 1), days=60, seed=3)
    settings = {"cost_bps": 0.0, "costs": (Borrow(300.0), Financing(100.0))}
    env = TradingEnv(panel, **settings)
    env.reset()
    signals, paid, done = np.full(3, -0.4), np.zeros(3), False
    while not done:
        _, _, terminated, truncated, info = env.step(signals)
        paid += info["cost"]
        done = terminated or truncated
    for market in panel.markets.values():
        tape = Tape.of(panel, **settings).of_market(market)
        ledger = backtest(tape, np.full(tape.returns.shape, -0.4))
        np.testing.assert_allclose(paid[market.columns], ledger.cost.sum(axis=0), atol=1e-15)
        assert ledger.cost.sum() > 0


def test_half_the_spread_is_paid_on_every_trade_and_always_adverse():
    panel = noise(markets=1, assets=2, days=50, seed=0)
    signals = np.random.default_rng(0).uniform(-1, 1, panel.shape)
    tape = Tape.of(panel, costs=(HalfSpread({"A0": 3.0, "A1": 0.0}),))
    ledger = backtest(tape, signals)
    np.testing.assert_allclose(ledger.cost, ledger.turnover * [3e-4, 0.0])
    assert (ledger.cost >= 0).all()


def table_of(panel: Panel, values: np.ndarray) -> pd.DataFrame:
    columns = pd.MultiIndex.from_arrays([panel.market_of, panel.assets])
    one = len(panel.markets) == 1
    return pd.DataFrame(values, pd.DatetimeIndex(panel.dates), list(panel.assets) if one else columns)


def test_a_spread_of_the_day_is_paid_for_the_trades_of_that_day():
    # Bought at the close of day 0 (4 bp), doubled on day 1 (10 bp), closed on day 2, sold on day 3 (6 bp).
    returns = np.zeros((5, 2))
    returns[2, 0] = np.nan  # B keeps the market open
    panel = Panel.build(weekdays(5), ["A", "B"], ["M", "M"], returns)
    spread = np.array([[4.0, 0.0], [10.0, 0.0], [np.nan, 0.0], [6.0, 0.0], [1.0, 0.0]])
    signals = np.array([[0.5], [1.0], [0.2], [0.0], [0.0]]) * [1.0, 0.0]
    for told in (spread, table_of(panel, spread)):
        ledger = backtest(Tape.of(panel, costs=(HalfSpread(told),)), signals)
        np.testing.assert_allclose(ledger.cost[:, 0], [0.5 * 4e-4, 0.5 * 10e-4, 0.0, 6e-4], atol=1e-18)
        assert not ledger.cost[:, 1].any()


def test_a_table_is_found_by_date_and_name_in_any_part_of_the_panel():
    panel = ragged(sizes=(2, 1), days=60, seed=3)
    frame = table_of(panel, np.random.default_rng(0).uniform(1.0, 9.0, panel.shape))
    shuffled = frame.iloc[::-1, ::-1]
    for part in (panel, panel.until(panel.dates[40]), panel.select(["M1"])):
        expected = frame.loc[part.dates, list(zip(part.market_of, part.assets, strict=True))] * 1e-4
        found = Proportional(shuffled).rates(part).turnover
        np.testing.assert_array_equal(found, np.where(part.tradable, expected, 0.0))
    fees = Borrow(frame).rates(panel).short
    np.testing.assert_allclose(fees[panel.tradable], frame.to_numpy()[panel.tradable] * 1e-4 / 252)
    np.testing.assert_array_equal(Financing(frame).rates(panel).long, fees)


def test_a_table_of_one_number_is_that_number():
    panel = ragged(sizes=(2,), days=50, seed=2)
    signals = np.random.default_rng(0).uniform(-1, 1, panel.shape)
    for cost in (Proportional, HalfSpread, Borrow, Financing):
        one, table = (costs_of(panel, signals, cost(bps)) for bps in (30.0, np.full(panel.shape, 30.0)))
        np.testing.assert_allclose(table, one, rtol=1e-13)


def test_impact_grows_with_the_root_of_the_trade():
    panel = noise(markets=1, assets=1, days=60, seed=0)
    tape = Tape.of(panel, costs=(SquareRootImpact(capital=4e6, volume=1e8, coefficient=0.5),))
    sigma = np.nan_to_num(panel.feature(EwVolatility()))[:-1]
    signals = np.random.default_rng(1).uniform(-1, 1, panel.shape)
    ledger = backtest(tape, signals)
    np.testing.assert_allclose(ledger.cost, 0.5 * sigma * np.sqrt(0.04 * ledger.turnover) * ledger.turnover)


@given(seed=st.integers(0, 100))
def test_costs_add_up(seed):
    panel = ragged(sizes=(2,), days=50, seed=seed)
    signals = np.random.default_rng(seed).uniform(-1, 1, panel.shape)
    parts = [Proportional(2.0), HalfSpread(1.0), SquareRootImpact(1e6, 1e8), Borrow(50.0), Financing(30.0)]
    alone = sum(costs_of(panel, signals, part) for part in parts)
    np.testing.assert_allclose(costs_of(panel, signals, *parts), alone, atol=1e-15)
    np.testing.assert_allclose(costs_of(panel, signals, *parts[1:], cost_bps=2.0), alone, atol=1e-15)


def test_zero_is_the_same_as_absent():
    rates = total((Proportional(0.0), SquareRootImpact(0.0, 1.0), Borrow(0.0), Financing(0.0)), flat())
    assert rates.impact is rates.short is rates.long is None
    assert not rates.turnover.any()


def test_costs_differentiate():
    rates = Costs(*(torch.full((2,), r, dtype=torch.float64) for r in (1e-3, 2e-3, 3e-4, 4e-4)))
    before, returns = torch.tensor([0.1, -0.2], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    weight = torch.tensor([0.7, -0.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: settle(w, before, returns, rates).net, (weight,))
    still = before.clone().requires_grad_()
    settle(still, before, returns, rates).net.sum().backward()
    assert torch.isfinite(still.grad).all(), "not trading has a finite gradient"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda p: Tape.of(p, cost_bps={"A0": 1.0}), "no value for asset 'A1'"),
        (lambda p: Tape.of(p, cost_bps=[1.0, 2.0, 3.0]), r"has shape \(3,\), expected one number or \[2\]"),
        (lambda p: Tape.of(p, cost_bps=[1.0, -2.0]), "cost_bps is -2.0 for asset 'A1'"),
        (lambda p: Tape.of(p, costs=(Borrow(np.nan),)), "annual_bps is nan, expected a number >= 0"),
        (lambda p: Tape.of(p, costs=(SquareRootImpact(1.0, 0.0),)), "volume must be > 0"),
        (
            lambda p: Tape.of(p, cost_bps=np.ones((3, 2))),
            r"has shape \(3, 2\), expected days by assets, \(130",
        ),
        (lambda p: Proportional(-np.ones(p.shape)).rates(p), "-1.0 for asset 'A0' on 2000-01-03.*260 such"),
        (lambda p: Borrow(table_of(p, np.ones(p.shape))[1:]).rates(p), "nan for asset 'A0' on 2000-01-03"),
        (lambda p: Borrow(table_of(p, np.ones(p.shape))[["A1"]]).rates(p), "no column for asset 'A0'"),
        (lambda p: Borrow(table_of(p, np.ones(p.shape)).iloc[[0, 0]]).rates(p), "date 2000-01-03.* twice"),
        (lambda p: Borrow(table_of(p, np.ones(p.shape))[["A1", "A1"]]).rates(p), "asset A1 appears twice"),
        (lambda p: Borrow(table_of(p, np.ones(p.shape)).reset_index(drop=True)).rates(p), "expected dates"),
        (lambda p: Borrow(np.full(p.shape, "x")), "annual_bps holds .*, expected numbers, by date and asset"),
    ],
)
def test_bad_rates_are_refused(build, message):
    with pytest.raises(ConfigError, match=message):
        build(flat(assets=2))


def test_a_volatility_target_can_differ_by_asset():
    panel = noise(markets=1, assets=2, days=80, seed=0)
    both = Tape.of(panel, vol_target={"A0": 0.1, "A1": 0.2}).scale
    np.testing.assert_array_equal(both[:, 0], Tape.of(panel, vol_target=0.1).scale[:, 0])
    np.testing.assert_array_equal(both[:, 1], Tape.of(panel, vol_target=0.2).scale[:, 1])
    with pytest.raises(ConfigError, match=r"vol_target is 0\.0"):
        Tape.of(panel, vol_target=[0.1, 0.0])

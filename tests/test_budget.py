"""A budget of turnover: kept on the validation block, at the lowest price that keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.agent import load_agent, make_agent, settings_of
from agents.budget import FIRST, LAST, Budget, turnover_of
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.sources.synthetic import ar1_trend, ragged


class Elastic:
    """Trades every day between 0 and a size that falls with what a trade costs: 1 / (1 + bps)."""

    learns = True

    def __init__(self) -> None:
        self.size = float("nan")
        self.prices: list[float] = []

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Elastic:
        assert validation is not None
        price = float(env.tape.costs.turnover.flat[0]) * 1e4
        assert float(validation.tape.costs.turnover.flat[0]) * 1e4 == pytest.approx(price)
        PRICES.append(price)
        self.size = 1.0 / (1.0 + price)
        return self

    def reset(self) -> None:
        self.day = 0

    def act(self, observation: Any) -> np.ndarray:
        self.day += 1
        return np.full(observation["returns"].shape[1], self.size * (self.day % 2))


PRICES: list[float] = []


def environment(**settings: Any) -> TradingEnv:
    panel = ragged(sizes=(2, 3), days=400, seed=1)
    return TradingEnv(panel, **{"window": 1, "cost_bps": 0.0, **settings})


def test_the_lowest_price_that_keeps_the_budget_is_found() -> None:
    """A turnover of size a day on the days both trade: 252 / (1 + p) where all markets are open every day."""
    panel = ar1_trend(coefficient=0.0, markets=1, assets=2, days=500, seed=0)
    env = TradingEnv(panel, window=1, cost_bps=0.0)
    free = Elastic()
    free.size = 1.0
    assert turnover_of(free, env) == pytest.approx(252.0)
    PRICES.clear()
    agent = Budget(Elastic(), 252.0 / 11.0).fit(env, seed=0)
    # 10 bps keep it exactly; found within the factor of the bisection, and never below.
    assert 10.0 <= agent.price_bps_ <= 10.0 * 4.0 ** (1 / 8)
    assert agent.turnover_ <= 252.0 / 11.0
    assert PRICES[:4] == pytest.approx([0.0, 1.0, 4.0, 16.0])
    assert PRICES[4:] == pytest.approx([8.0, 128.0**0.5, (8.0 * 128.0**0.5) ** 0.5])


def test_who_keeps_the_budget_without_a_price_is_trained_once() -> None:
    PRICES.clear()
    agent = Budget(Elastic(), 1000.0).fit(environment(), seed=0)
    assert agent.price_bps_ == 0.0
    assert PRICES == [0.0]


def test_a_price_below_the_first_one_is_looked_for() -> None:
    PRICES.clear()
    env = TradingEnv(
        ar1_trend(coefficient=0.0, markets=1, assets=2, days=500, seed=0), window=1, cost_bps=0.0
    )
    agent = Budget(Elastic(), 252.0 / 1.2).fit(env, seed=0)
    assert pytest.approx([0.0, FIRST, 0.5, 0.25, 0.125]) == PRICES
    assert agent.price_bps_ == 0.25


def test_a_budget_that_no_price_keeps_is_said() -> None:
    with pytest.raises(
        ConfigError, match=rf"even where a trade costs {LAST:g} bps more, expected at most 0.01"
    ):
        Budget(Elastic(), 0.01).fit(environment(), seed=0)


def test_the_price_comes_beside_the_costs_of_the_environment() -> None:
    PRICES.clear()
    Budget(Elastic(), 5.0).fit(environment(cost_bps=3.0), seed=0)
    assert PRICES[:2] == pytest.approx([3.0, 4.0])


def test_a_network_trades_less_under_a_budget_and_comes_back_from_its_checkpoint(tmp_path: Path) -> None:
    panel = ar1_trend(coefficient=0.3, markets=1, assets=4, days=1500, seed=5)
    free = make_agent("dmn-linear-sharpe", options={"epochs": 10, "batch": 256, "learning_rate": 1e-2})
    settings = settings_of(free)
    env = TradingEnv(
        panel, window=1, features=settings.features, vol_target=settings.vol_target, cost_bps=0.0
    )
    _, held_out = env.split()
    without = turnover_of(free.fit(env, seed=0), held_out)
    name = f"dmn-linear-sharpe+budget:{without / 3:.1f}"
    agent = make_agent(name, options={"epochs": 10, "batch": 256, "learning_rate": 1e-2}).fit(env, seed=0)
    assert turnover_of(agent, held_out) == agent.turnover_ <= without / 3
    assert agent.price_bps_ > 0.0
    agent.save(tmp_path)
    again = load_agent(name, tmp_path)
    assert (again.price_bps_, again.turnover_) == (agent.price_bps_, agent.turnover_)
    np.testing.assert_array_equal(again.signals(panel), agent.signals(panel))
    with pytest.raises(ConfigError, match="has a budget of"):
        load_agent("dmn-linear-sharpe+budget:1", tmp_path)


def test_a_rule_has_no_price() -> None:
    with pytest.raises(ConfigError, match="learns nothing, and no price makes it trade less"):
        make_agent("macd+budget:50")
    with pytest.raises(ConfigError, match="a budget of turnover"):
        make_agent("dmn-linear-sharpe+budget:0")

"""The classical strategies against numbers worked by hand and plain loops of their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from agents.agent import make_agent
from agents.rules import (
    RULES,
    RuleAgent,
    cs_momentum,
    cs_momentum_literal,
    macd,
    phi,
    risk_parity,
    sgn_returns,
    ts_momentum,
)
from qn_env.errors import ConfigError
from qn_env.features import WeightedAverage
from qn_env.panel import Panel
from qn_env.sources.synthetic import noise, weekdays


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


OPEN = np.ones(4, dtype=bool)


def with_known(*means: float) -> np.ndarray:
    return np.stack([np.array(means), np.ones(len(means))], axis=-1)


def test_risk_parity_weighs_by_inverse_volatility():
    # 1 / (0.01, 0.02, 0.04) = 100, 50, 25: shares 4/7, 2/7, 1/7; an unknown volatility takes no share.
    found = risk_parity(column(0.01, 0.02, 0.04, 0.0), OPEN)
    np.testing.assert_allclose(found, [4 / 7, 2 / 7, 1 / 7, 0.0])
    np.testing.assert_allclose(risk_parity(column(0.01, 0.02, 0.04, 0.0), ~OPEN), 0.0)


def test_ts_momentum_is_the_mean_itself():
    np.testing.assert_array_equal(ts_momentum(column(0.001, -0.002), OPEN[:2]), [0.001, -0.002])


def test_cs_momentum_buys_winners_and_sells_losers_by_rank():
    # Quantiles 0.67 and 0.33 of (-3, -1, 2, 4) by interpolation: 2.02 and -1.03 (in 1e-3).
    means = (0.004, -0.001, -0.003, 0.002)
    np.testing.assert_allclose(cs_momentum(with_known(*means), OPEN), [0.004, 0, -0.003, 0])
    np.testing.assert_allclose(cs_momentum_literal(with_known(*means), OPEN), [0.004, 0, 0.003, 0])


def test_cs_momentum_in_a_falling_market_is_long_the_least_bad():
    means = (-0.001, -0.002, -0.003, -0.004)
    np.testing.assert_allclose(cs_momentum(with_known(*means), OPEN), [0.001, 0, 0, -0.004])
    np.testing.assert_allclose(cs_momentum_literal(with_known(*means), OPEN), [-0.001, 0, 0, 0.004])


def test_cs_momentum_ranks_only_what_is_known_and_open():
    features = with_known(0.004, -0.001, -0.003, 0.002)
    features[0, 1] = 0.0  # no mean yet
    closed = np.array([True, True, False, True])
    # Left are -1 and 2: quantiles 1.01 and -0.01.
    np.testing.assert_allclose(cs_momentum(features, closed), [0, -0.001, 0, 0.002])
    assert not cs_momentum(features, np.array([True, False, False, True]))[1:].any(), "one alone has no rank"
    assert not cs_momentum(features, ~OPEN).any()


def test_cs_momentum_quantiles_are_numpys():
    rng = np.random.default_rng(0)
    means = rng.normal(0, 0.001, (50, 9))
    known = rng.random((50, 9)) < 0.8
    found = cs_momentum(np.stack([means, known], axis=-1), np.ones((50, 9), dtype=bool))
    for row, ok, signal in zip(means, known, found, strict=True):
        high, low = np.quantile(row[ok], [0.67, 0.33])
        expected = np.where(ok & (row > high), np.abs(row), np.where(ok & (row < low), -np.abs(row), 0.0))
        np.testing.assert_allclose(signal, expected)


def test_sgn_returns_takes_a_side():
    np.testing.assert_array_equal(sgn_returns(column(0.2, -0.01, 0.0), OPEN[:3]), [1, -1, 0])


def test_phi_peaks_at_the_root_of_two():
    y = np.linspace(0, 4, 4001)
    assert y[phi(y).argmax()] == pytest.approx(2**0.5, abs=1e-3)
    assert phi(y).max() == pytest.approx(0.964, abs=5e-4)
    np.testing.assert_allclose(phi(-y), -phi(y))


def test_macd_is_the_mean_of_phi_over_three_scales():
    trends = np.array([[1.0, -2.0, 0.0]])
    assert macd(trends, OPEN[:1])[0] == pytest.approx((phi(np.array(1.0)) + phi(np.array(-2.0))) / 3)


def test_rules_see_252_days_of_each_asset():
    panel = noise(markets=1, assets=2, days=400, seed=0)
    returns = panel.returns
    signals = RuleAgent("ts-momentum").signals(panel)
    assert not signals[:251].any()
    for t in (251, 300, 399):
        np.testing.assert_allclose(signals[t], returns[t - 251 : t + 1].mean(axis=0))


def test_a_moving_average_weighs_252_days_by_their_age():
    panel = noise(markets=1, assets=2, days=400, seed=0)
    signals = RuleAgent("moving-average").signals(panel)
    assert not signals[:251].any()
    weights = np.array([(251.0 / 253.0) ** k for k in range(252)])
    for t in (251, 300, 399):
        window = panel.returns[t - 251 : t + 1]
        total = (weights[::-1, None] * window).sum(axis=0)
        units = window.std(axis=0, ddof=1) * (weights**2).sum() ** 0.5
        np.testing.assert_allclose(signals[t], np.tanh(total / units))


def test_without_a_trend_a_moving_average_is_a_standard_normal_number():
    panel = noise(markets=1, assets=400, days=252, seed=1)
    trend = panel.feature(WeightedAverage(252))[-1]
    assert np.isfinite(trend).all()
    # Of 400 numbers the mean has an error of 1 / 20, the deviation one of 1 / 28.
    assert abs(trend.mean()) < 3 / 20
    assert trend.std() == pytest.approx(1.0, abs=3 / 28)


def test_risk_parity_shares_add_up_to_one_in_every_market():
    panel = noise(markets=3, assets=4, days=300, seed=0)
    signals = RuleAgent("risk-parity").signals(panel)[260:]
    for market in panel.markets.values():
        np.testing.assert_allclose(signals[:, market.columns].sum(axis=1), 1.0)


def test_sgn_returns_follows_a_year_of_gains():
    returns = np.full((300, 1), 0.001)
    panel = Panel.build(weekdays(300), ["A"], ["M"], returns)
    signals = RuleAgent("sgn-returns").signals(panel)[:, 0]
    np.testing.assert_array_equal(signals, np.arange(300) >= 251)


def test_each_rule_has_the_volatility_target_its_paper_prescribes():
    found = {name: make_agent(name).settings.vol_target for name in RULES if name != "cs-momentum-literal"}
    none = dict.fromkeys(("buy-and-hold", "risk-parity", "ts-momentum", "cs-momentum", "moving-average"))
    assert found == none | dict.fromkeys(("long-only", "sgn-returns", "macd"), 0.15)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ConfigError, match="Did you mean 'macd'"):
        RuleAgent("mcad")

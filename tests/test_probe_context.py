"""The probe `context`: its law, the filters that know it, and who is ahead of whom on it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from agents.agent import make_agent
from experiments.probes import PROBES
from experiments.probes.controls import Chain, Switching
from experiments.probes.play import play_agent
from experiments.probes.spreading import (
    ASSETS,
    COEFFICIENT,
    MARKETS,
    OPTIMUM,
    UNSEEN,
    VOLATILITY,
    all_pasts,
    chain_of_a_market,
    context_panel,
    own_past,
)
from qn_env.arrays import FloatArray
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.sources.synthetic import cascade, cascade_signs

LAW = {"mean_days": 60, "least_days": 20, "spread": 10}


def signs(days: int = 60_000, markets: int = 3, seed: int = 0) -> FloatArray:
    return cascade_signs(days, markets, **LAW, rng=np.random.default_rng(seed))


# The market.


def test_regimes_last_as_long_as_asked_and_reach_every_market_within_the_spread() -> None:
    found = signs()
    assert set(np.unique(found)) == {-1.0, 1.0}
    changes = [np.flatnonzero(np.diff(found[:, m])) + 1 for m in range(3)]
    assert len({len(one) for one in changes}) == 1, "every change reaches every market"
    entered = np.array(changes)  # [M, K]
    assert (np.ptp(entered, axis=0) <= 10).all()
    lasted = np.diff(entered.min(axis=0))
    assert lasted.min() >= 20 - 10, "the first market to enter may be ten days behind the beginning"
    # About 1,000 regimes of 20 days and a geometric number with mean 40 (deviation sqrt(40 * 39) = 39.5).
    assert len(lasted) > 900
    assert lasted.mean() == pytest.approx(60.0, abs=4 * 39.5 / len(lasted) ** 0.5)
    # The order is drawn anew: every market is the first in about a third of the changes, and in ties.
    first = (entered == entered.min(axis=0)).mean(axis=1)
    assert first.min() > 0.3
    assert first.max() < 0.5


def test_returns_follow_the_law_of_their_markets_day() -> None:
    panel = cascade(coefficient=0.3, markets=3, assets=2, days=900, seed=4, **LAW)
    shocks = cascade(coefficient=1e-12, markets=3, assets=2, days=900, seed=4, **LAW)
    rng = np.random.default_rng(4)
    law = np.repeat(cascade_signs(900, 3, **LAW, rng=rng), 2, axis=1)
    moved = panel.returns[1:] - shocks.returns[1:]
    np.testing.assert_allclose(moved, 0.3 * law[1:] * panel.returns[:-1], atol=1e-12)
    assert (np.diff(law, axis=0) != 0).any()


def test_returns_have_the_variance_of_an_ar1_law_under_either_sign_and_no_correlation_on_average() -> None:
    returns = cascade(coefficient=0.4, markets=50, assets=2, days=4000, volatility=0.01, seed=1).returns
    assert returns.var() == pytest.approx(1e-4 / (1 - 0.16), rel=0.01)
    # About 67 regimes whose signs alternate: what is left over is at most a few days of one of them.
    assert abs((returns[1:] * returns[:-1]).mean() / returns.var()) < 0.4 * 0.25


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"least_days": 10}, "least_days"),
        ({"mean_days": 20}, "mean_days"),
        ({"spread": -1}, "spread"),
        ({"coefficient": 1.0}, "coefficient"),
    ],
)
def test_laws_that_cannot_be_are_refused(options: dict[str, float], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        cascade(**{"days": 100, "seed": 0, **LAW, **options})  # type: ignore[arg-type]


# The filters.


SMALL = {"mean_days": 9, "least_days": 5, "spread": 3}


def test_a_chain_knows_when_a_markets_law_changes() -> None:
    sign, first, move = chain_of_a_market(**SMALL)
    np.testing.assert_allclose(move.sum(axis=1), 1.0)
    assert first.sum() == 1.0
    drawn = np.stack(
        [cascade_signs(40, 1, **SMALL, rng=np.random.default_rng(seed))[:, 0] for seed in range(8000)]
    )
    kept, at_first = np.eye(len(sign)), first * sign
    for days in range(1, 40):
        kept = kept @ move
        # Share of paths, of 8,000, whose sign is that of the first day: a deviation of at most 0.0056.
        expected = 0.5 + 0.5 * float(at_first @ kept @ sign)
        assert (drawn[:, days] == drawn[:, 0]).mean() == pytest.approx(expected, abs=4 * 0.0056)


def bayes_by_hand(x: FloatArray, c: float, paths: FloatArray) -> FloatArray:
    """[T, N] forecasts from P simulated paths [P, T + 1] of the sign, by the likelihood of returns [T, N]."""
    loglike = np.zeros(len(paths))
    found = np.zeros(x.shape)
    for t in range(len(x)):
        if t > 0:
            loglike -= 0.5 * ((x[t] - c * paths[:, t, None] * x[t - 1]) ** 2).sum(axis=1)
        weight = np.exp(loglike - loglike.max())
        found[t] = weight @ paths[:, t + 1] / weight.sum() * c * x[t]
    return found


@pytest.mark.parametrize("reads", ["own", "all"])
def test_a_filter_is_bayes_rule(reads: str) -> None:
    c, markets = 0.5, 1 if reads == "all" else 3
    panel = cascade(coefficient=c, markets=markets, assets=2, days=22, volatility=0.01, seed=2, **SMALL)
    agent = Switching(c, 0.01, chain_of_a_market(**SMALL), reads=reads)  # type: ignore[arg-type]
    played = play_agent(agent, panel, slice(1, None))
    drawn = [cascade_signs(23, 4, **SMALL, rng=np.random.default_rng(seed)).T for seed in range(8000)]
    paths = np.concatenate([*drawn, *(-one for one in drawn)])
    x = panel.returns / 0.01
    # Both assets of one market tell of one law, and by itself each asset does.
    groups = [x] if reads == "all" else np.split(x, 6, axis=1)
    mu = np.concatenate([bayes_by_hand(one, c, paths) for one in groups], axis=1)
    # A return has the variance of the innovations and of its mean, whose square is (c x)^2.
    expected = 2.0 * mu / (1.0 + (c * x) ** 2)
    np.testing.assert_allclose(played.signals, expected[: len(played.signals)], atol=0.05)
    assert len(played.signals) == 21
    assert np.abs(played.signals).max() > 0.5


@lru_cache
def long() -> Panel:
    """The probe's own market, over more days."""
    return context_panel(4000, 77)


def test_who_reads_all_pasts_is_far_ahead_of_the_best_that_is_in_ones_own() -> None:
    panel = long()
    assert panel.shape[1] == (MARKETS + UNSEEN) * ASSETS
    shares = {
        name: play_agent(agent, panel, slice(200, None)).mean_sharpe() / OPTIMUM.sized
        for name, agent in (("own", own_past()), ("all", all_pasts()))
    }
    # One asset's ratio has an error of sqrt(252 / 3800) = 0.26, the mean over 48 of 0.04, 0.012 as a share.
    assert shares["own"] == pytest.approx(0.5, abs=0.04), "the bound of all that read one asset"
    assert shares["all"] > 0.8
    assert shares["all"] < 1.0


def test_no_filter_of_an_assets_own_past_with_another_memory_is_better() -> None:
    panel = long()
    best = play_agent(own_past(), panel, slice(200, None)).mean_sharpe()
    for days in (60, 120):
        switch = np.full((2, 2), 1.0 / days) + np.eye(2) * (1.0 - 2.0 / days)
        plain = Chain(np.array([1.0, -1.0]), np.array([0.5, 0.5]), switch)
        other = Switching(COEFFICIENT, VOLATILITY, plain, reads="own")
        assert play_agent(other, panel, slice(200, None)).mean_sharpe() < best


def test_the_positive_control_clears_the_bars_of_the_probe() -> None:
    probe = PROBES["context"]
    found = probe.figures(probe.control, 60, days=300, test_days=2000)
    for figure, bar in probe.bars.items():
        assert found[figure] > bar.level + 0.1
    assert found["new"] == pytest.approx(found["share"], abs=0.05), "no market is special"


def test_a_rule_that_reads_one_asset_is_behind_the_bound_of_its_own_past() -> None:
    found = PROBES["context"].figures(lambda: make_agent("macd"), 60, days=300, test_days=1000)
    assert found["beyond own past"] < 0.0
    assert found["share"] < 0.2

"""The `context` probe: laws that spread from market to market, and who can know which one is in force."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.agent import make_agent
from experiments.probes.controls import Switching
from experiments.probes.play import play_agent
from experiments.probes.registry import PROBES
from experiments.probes.spreading import (
    ASSETS,
    COEFFICIENT,
    LEAST_DAYS,
    MARKETS,
    MEAN_DAYS,
    OPTIMUM,
    UNSEEN,
    VOLATILITY,
    all_pasts,
    context_panel,
    context_trial,
    own_past,
)
from qn_env.arrays import FloatArray
from qn_env.errors import ConfigError
from qn_env.sources.synthetic import cascade, cascade_signs

# The law.


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    markets=st.integers(1, 6),
    spread=st.integers(0, 9),
    least_days=st.integers(10, 25),
    more=st.integers(1, 40),
)
def test_every_market_takes_over_every_law_a_few_days_after_the_first(
    seed, markets, spread, least_days, more
):
    days = 400
    signs = cascade_signs(
        days,
        markets,
        mean_days=least_days + more,
        least_days=least_days,
        spread=spread,
        rng=np.random.default_rng(seed),
    )
    assert set(np.unique(signs)) <= {-1.0, 1.0}
    assert (signs[:least_days] == signs[0, 0]).all(), "all begin in one law"
    changes = [(np.flatnonzero(np.diff(column)) + 1).tolist() for column in signs.T]
    most = max(len(change) for change in changes)
    for number in range(most):
        # The last ones may have no time left to spread.
        begun = [change[number] for change in changes if len(change) > number]
        if len(begun) == markets:
            assert max(begun) - min(begun) <= spread
        else:
            assert min(begun) + spread >= days
    for change in changes:
        gaps = np.diff([0, *change])
        assert (gaps > least_days - spread).all()
    if spread == 0:
        assert (signs == signs[:, :1]).all()


def test_a_regime_lasts_as_long_as_it_says_and_every_market_is_the_first_at_times():
    signs = cascade_signs(60_000, 4, mean_days=60, least_days=20, spread=10, rng=np.random.default_rng(3))
    changes = np.stack([np.flatnonzero(np.diff(column))[:900] for column in signs.T])
    # A geometric number of days of mean 40 has a deviation of 39.5; of 900, 1.3.
    assert np.diff(changes[0]).mean() == pytest.approx(60.0, abs=4 * 1.4)
    first = np.bincount(changes.argmin(axis=0), minlength=4) / 900
    np.testing.assert_allclose(first, first.mean(), atol=0.08)  # ties go to the one before


def test_returns_follow_those_of_the_day_before_by_the_sign_of_their_market():
    made, shocks = (cascade(coefficient=c, markets=3, assets=2, days=500, seed=6).returns for c in (0.3, 0.0))
    followed = (made[1:] - shocks[1:]) / (0.3 * made[:-1])
    np.testing.assert_allclose(np.abs(followed), 1.0, atol=1e-9)
    signs = np.sign(followed).reshape(-1, 3, 2)
    np.testing.assert_array_equal(signs[..., 0], signs[..., 1]), "assets of a market share its law"
    assert len({tuple(row) for row in signs[..., 0]}) > 2, "markets change on days of their own"


def test_one_seed_is_one_panel_and_bounds_are_refused_by_name():
    options = {"markets": 2, "assets": 2, "days": 90}
    first, again, other = (cascade(seed=seed, **options).returns for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    for given_, message in (
        ({"spread": -1}, "spread is -1"),
        ({"spread": 20}, "least_days is 20, expected at least 21"),
        ({"mean_days": 20}, "mean_days is 20, expected at least 21"),
        ({"coefficient": 1.0}, "coefficient is 1, expected"),
    ):
        with pytest.raises(ConfigError, match=message):
            cascade(seed=0, **{**options, **given_})


# Who can know.


@lru_cache
def figures(seed: int) -> tuple[dict[str, float], ...]:
    """Of who reads all pasts, and of who reads each asset's own."""
    return tuple(PROBES["context"].figures(c, seed, days=100, test_days=1200) for c in (all_pasts, own_past))


def test_who_reads_all_pasts_is_far_ahead_of_who_reads_its_own():
    for seed in (0, 1):
        everyone, alone = figures(seed)
        assert everyone["share"] > alone["share"] + 0.3
        assert everyone["beyond own past"] == pytest.approx(everyone["share"] - alone["share"])
        assert everyone["share"] > 0.85, "some days nobody can know the law yet"
        assert everyone["new"] > 0.8, "markets that nobody was trained on follow the same law"
        assert alone["beyond own past"] == 0.0


def test_of_its_own_past_nobody_makes_more():
    """Not who takes regimes for shorter or longer ones, nor who knows nothing of their least days."""
    panel = context_panel(2000, 77)

    def played(agent: Switching) -> float:
        return play_agent(agent, panel, slice(1, None)).mean_sharpe() / OPTIMUM.sized

    best = played(own_past())
    assert 0.45 < best < 0.6
    for mean_days, least_days in ((30, 20), (200, 20), (60, 1), (60, 50)):
        other = Switching(COEFFICIENT, VOLATILITY, mean_days, least_days=least_days, reads="own")
        assert played(other) < best


def test_the_filter_is_bayes_rule_over_every_course_of_the_laws():
    """All courses of seven days, each with its probability; a regime lasts 2 days, then ends with 1 in 4."""
    x = np.random.default_rng(8).normal(size=7) * 2.0
    agent = Switching(0.5, 0.01, 6, least_days=2, reads="own")
    for _ in range(2):  # a second episode remembers nothing
        agent.reset()
        for t in range(len(x)):
            observation: Any = {"returns": np.array([[0.01 * x[t]]])}
            found = float(agent.act(observation)[0])
            weights = np.zeros(2)
            for course in product((1.0, -1.0), repeat=t + 2):
                weights[int(course[-1] < 0)] += probability(course) * likelihood(course, x)
            up, down = weights / weights.sum()
            expected = 0.5 * x[t]
            assert found == pytest.approx(2.0 * (up - down) * expected / (1.0 + expected**2), abs=1e-12)


def probability(course: tuple[float, ...]) -> float:
    """Of laws of consecutive days, the first regime beginning with the first."""
    found, age = 0.5, 1
    for before, after in pairwise(course):
        ends = 0.25 if age > 2 else 0.0
        found *= 1.0 - ends if before == after else ends
        age = age + 1 if before == after else 1
    return found


def likelihood(course: tuple[float, ...], x: FloatArray) -> float:
    """Of the days but the last, which is yet to come."""
    days = range(1, len(course) - 1)
    return float(np.prod([np.exp(-0.5 * (x[s] - 0.5 * course[s] * x[s - 1]) ** 2) for s in days]))


def test_who_reads_all_pasts_takes_them_for_one():
    """What is believed is the same for all, and each sizes its own forecast by it."""
    x = np.random.default_rng(9).normal(size=(30, 3))
    agent = Switching(0.3, 0.01, 8, least_days=3, reads="all")
    for day in x:
        observation: Any = {"returns": 0.01 * day[None]}
        believed = agent.act(observation) / (0.6 * day / (1.0 + (0.3 * day) ** 2))
        np.testing.assert_allclose(believed, believed[0], rtol=0, atol=1e-12)
    assert abs(believed[0]) > 0.01


def test_the_trial_trains_on_the_known_markets_and_plays_the_others_beside_them():
    told = []

    class Watching(Switching):
        learns = True

        def fit(self, env, *, seed, validation=None):
            told.append(("fit", len(env.panel.markets), len(env.panel.dates)))
            return self

        def adapt(self, env, *, seed, learn, validation=None):
            told.append(("adapt", len(env.panel.markets), learn))
            return self

    def build() -> Switching:
        return Watching(COEFFICIENT, VOLATILITY, MEAN_DAYS, least_days=LEAST_DAYS, reads="all")

    panel = context_panel(400, 5)
    assert panel.shape[1] == (MARKETS + UNSEEN) * ASSETS
    found = context_trial(build, panel, 150, 0)
    assert told == [("fit", MARKETS, 150), ("adapt", MARKETS + UNSEEN, False)]
    assert found.keys() == {"share", "beyond own past", "new"}
    rule = context_trial(lambda: make_agent("sgn-returns"), panel, 150, 0)
    assert rule.keys() == {"share of sides", "beyond own past", "new"}, "a rule plays any market"
    assert rule["beyond own past"] < 0.0

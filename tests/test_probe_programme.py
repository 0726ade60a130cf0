"""The best policy under costs: closed forms, cases worked by hand, and what playing it earns."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad

from experiments.probes import PROBES
from experiments.probes.optima import ar1_ratio, latent_filter, normal_optimum
from experiments.probes.programme import Law, _earned, best_blind_policy, best_policy, rouwenhorst
from experiments.probes.registry import COSTS, PERSISTENCE, STRENGTH, STRONG

LATENT = Law(PERSISTENCE, latent_filter(PERSISTENCE, STRENGTH).ratio)
LAWS = (Law(STRONG, ar1_ratio(STRONG)), Law(-STRONG, ar1_ratio(STRONG)), LATENT)
YEAR = 252**0.5


@pytest.mark.parametrize("persistence", [-0.6, 0.0, 0.3, 0.98])
def test_the_chain_has_the_moments_of_the_process(persistence: float) -> None:
    states, step = rouwenhorst(31, persistence)
    np.testing.assert_allclose(step.sum(axis=1), 1.0)
    np.testing.assert_allclose(step @ states, persistence * states, atol=1e-12)
    of_squares = step @ states**2 - (step @ states) ** 2
    np.testing.assert_allclose(of_squares @ (np.linalg.matrix_power(step, 4000)[15]), 1 - persistence**2)


@pytest.mark.parametrize("law", [*LAWS, Law(0.15, ar1_ratio(0.15)), Law(0.5, 0.002), Law(0.9, 0.5)])
def test_without_costs_both_policies_are_the_closed_form(law: Law) -> None:
    known = normal_optimum(law.ratio).sized
    best, blind = best_policy(law, 0.0), best_blind_policy(law, 0.0)
    assert best.earned.sharpe == pytest.approx(known, rel=0.005)
    assert blind.earned.sharpe == pytest.approx(known, rel=0.005)
    weight = best.forecasts / (1.0 + best.forecasts**2)
    np.testing.assert_allclose(best.band[0], weight, atol=np.diff(best.positions[:2])[0])
    np.testing.assert_array_equal(*best.band)


def test_two_forecasts_by_hand() -> None:
    """mu is +0.3 or -0.3 and stays with probability 0.75; a unit of turnover costs 0.1.

    Who turns with the forecast holds a or -a, earns m = a (0.3 - 0.25 * 2 * 0.1) = 0.25 a a day, with
    s = a^2 (1.09 - 2 * 0.3 * 0.1 * 2 * 0.25 + 0.01 * 4 * 0.25) = 1.07 a^2; 0.25 / sqrt(1.07 - 0.0625) is
    0.249068 a day, 3.95382 a year. It trades 2 a on every fourth day: 126 a year.
    """
    law = Law(0.5, 0.09)
    best = best_policy(law, 0.1, forecasts=2)
    blind = best_blind_policy(law, 0.1, forecasts=2)
    for earned in (best.earned, blind.earned):
        assert earned.sharpe == pytest.approx(3.95382, abs=1e-3)
        assert earned.turnover == pytest.approx(126.0, rel=1e-6)
        assert earned.mean == pytest.approx(earned.square, rel=0.01), "a multiple with m = s"
    # The forecast is worth 0.3 / (1 - 0.5) in the long run: nobody enters at a cost above that.
    assert best_policy(law, 0.7, forecasts=2).earned.sharpe == 0.0
    assert best_policy(law, 0.7, forecasts=2).largest == 0.0


def test_three_forecasts_by_hand_for_who_is_blind() -> None:
    """The best map is (-a, 0, a): its Sharpe ratio is the same for all a, and is summed over nine pairs."""
    law, cost = Law(0.4, 0.04), 0.05
    states, step = rouwenhorst(3, law.persistence)
    mu, share = 0.2 * states, np.array([0.25, 0.5, 0.25])
    f = np.array([-1.0, 0.0, 1.0])
    m = s = 0.0
    for i in range(3):
        for j in range(3):
            paid = cost * abs(f[j] - f[i])
            m += share[i] * step[i, j] * (f[j] * mu[j] - paid)
            s += share[i] * step[i, j] * (f[j] ** 2 * (1 + mu[j] ** 2) - 2 * f[j] * mu[j] * paid + paid**2)
    expected = YEAR * m / (s - m * m) ** 0.5
    assert best_blind_policy(law, cost, forecasts=3).earned.sharpe == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("cost", [0.05, 0.2])
@pytest.mark.parametrize("law", LAWS)
def test_the_policy_with_the_largest_utility_has_the_largest_ratio(law: Law, cost: float) -> None:
    best = best_policy(law, cost)
    assert best.earned.mean == pytest.approx(best.earned.square, rel=0.01)
    n, m = best.chosen.shape
    traded = abs(best.positions[None] - best.positions[:, None])
    _, step = rouwenhorst(n, law.persistence)
    low, high = best.chosen[:, :1], best.chosen[:, -1:]
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    others = [
        np.clip(np.arange(m), np.floor(middle * a + (1 - a) * (m // 2) - half * b), middle * a + half * b)
        for a, b in ((1.0, 0.5), (1.0, 1.7), (0.9, 1.0))
    ]
    for other in others:
        chosen = np.clip(np.round(other), 0, m - 1).astype(np.intp)
        found = _earned(best.forecasts, best.positions, traded, step, chosen, cost)
        assert found.sharpe < best.earned.sharpe
    assert _earned(best.forecasts, best.positions, traded, step, best.chosen, cost).sharpe == pytest.approx(
        best.earned.sharpe
    )


@pytest.mark.parametrize("cost", [0.05, 0.2])
@pytest.mark.parametrize("law", LAWS)
def test_twice_the_grid_changes_little(law: Law, cost: float) -> None:
    coarse, fine = best_policy(law, cost), best_policy(law, cost, forecasts=81, positions=801)
    assert coarse.earned.sharpe == pytest.approx(fine.earned.sharpe, rel=0.005)
    assert coarse.earned.turnover == pytest.approx(fine.earned.turnover, rel=0.02)
    best_policy.cache_clear()  # 400 MB went into it, 20 are kept


@pytest.mark.parametrize("law", LAWS)
def test_seeing_the_position_is_worth_more_the_dearer_trades_are(law: Law) -> None:
    shares = []
    for cost in (0.0, 0.02, 0.05, 0.1, 0.2):
        best, blind = best_policy(law, cost), best_blind_policy(law, cost)
        assert blind.earned.sharpe <= best.earned.sharpe * 1.001
        shares.append(blind.earned.sharpe / best.earned.sharpe)
    assert (np.diff(shares) < 0).all()
    sharpes = [best_policy(law, cost).earned.sharpe for cost in (0.0, 0.05, 0.2, 0.5)]
    assert (np.diff(sharpes) < 0).all()


def test_the_band_by_hand() -> None:
    """The two forecasts of above, at the better one, which stays for four days on average.

    Who buys a little more has it for four days and sells it when the forecast turns, which pays up to the
    multiple with m = s: 0.25 / 1.07 = 0.2336. Who holds more than that will sell it then anyway, and sells
    earlier only what does not earn its risk: above 0.3 / 1.09 = 0.2752.
    """
    policy = best_policy(Law(0.5, 0.09), 0.1, forecasts=2)
    grid = 2.0 * np.diff(policy.positions[:2])[0]
    (short, long), (below, above) = policy.band
    assert (long, above) == pytest.approx((0.2336, 0.2752), abs=grid)
    assert (short, below) == pytest.approx((-above, -long))


def test_the_band_grows_with_the_cost_and_less_than_the_cost() -> None:
    """By its cube root where forecasts move slowly (Rogers 2004, Martin 2014), by all of it in jumps."""
    widths = []
    for cost in (0.02, 0.16):
        low, high = best_policy(Law(0.98, 0.01), cost, forecasts=161, positions=301).band
        widths.append((high - low)[80])
    best_policy.cache_clear()
    assert 2.0 < widths[1] / widths[0] < 8.0


def test_no_small_change_of_the_map_is_better_for_who_is_blind() -> None:
    rng = np.random.default_rng(0)
    for law in LAWS:
        policy = best_blind_policy(law, 0.2)
        _, step = rouwenhorst(len(policy.forecasts), law.persistence)
        start = rouwenhorst_law(len(step))
        pair = start[:, None] * step

        def ratio(f: np.ndarray, pair: np.ndarray = pair, mu: np.ndarray = policy.forecasts) -> float:
            paid = 0.2 * abs(f[None] - f[:, None])
            x1, x2 = f * mu - paid, f**2 * (1 + mu**2) - 2 * f * mu * paid + paid**2
            m, s = (pair * x1).sum(), (pair * x2).sum()
            return float(YEAR * m / (s - m * m) ** 0.5)

        assert ratio(policy.positions) == pytest.approx(policy.earned.sharpe)
        n = len(step)
        for _ in range(200):  # single forecasts, runs of them, and all by chance
            change = np.zeros(n)
            begin = rng.integers(n)
            change[begin : begin + rng.integers(1, n)] = rng.normal(0.0, 0.003)
            change += rng.normal(0.0, 0.0003, n) * rng.integers(2)
            assert ratio(policy.positions + change) < policy.earned.sharpe * (1.0 + 1e-5)


def rouwenhorst_law(size: int) -> np.ndarray:
    from scipy.stats import binom

    return binom.pmf(np.arange(size), size - 1, 0.5)


def test_the_band_moves_with_the_forecast_and_is_held_inside() -> None:
    policy = best_policy(LATENT, 0.2)
    low, high = policy.band
    assert (np.diff(low) >= 0).all()
    assert (np.diff(high) >= 0).all()
    np.testing.assert_allclose(low, -high[::-1], atol=1e-12)
    between = policy.forecasts[20] + 0.3 * (policy.forecasts[21] - policy.forecasts[20])
    edges = [0.7 * edge[20] + 0.3 * edge[21] for edge in policy.band]
    inside = np.mean(edges)
    found = policy.position(np.full(3, between), np.array([-1.0, inside, 1.0]))
    np.testing.assert_allclose(found, [edges[0], inside, edges[1]])
    assert policy.largest == low.max() < high.max(), "it buys up to the lower end"


LONG = 30_000


@pytest.mark.parametrize("name", ["costly-trend", "costly-reversal", "costly-latent"])
def test_playing_it_through_the_environment_earns_what_was_computed(name: str) -> None:
    probe = PROBES[name]
    assert probe.control is not None
    found = probe.figures(probe.control, 0, days=100, test_days=LONG)
    law, volatility, costs = probe.trial.args  # type: ignore[attr-defined]
    assert costs == COSTS
    for bps in costs:
        best = best_policy(law, bps * 1e-4 / volatility).earned.sharpe
        # Two errors of the mean of eight assets' ratios over so many days.
        assert found[f"share at {bps:g} bps"] == pytest.approx(
            1.0, abs=2.0 * (252 / (LONG * 8)) ** 0.5 / best
        )
    assert found["beyond blind at 20 bps"] > 0.15


def test_the_slopes_of_the_blind_search_are_those_of_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def keep(loss, f, args, **_):
        seen["error"] = check_grad(
            lambda x: loss(x, 0.01)[0], lambda x: loss(x, 0.01)[1], f + 0.01 * np.arange(len(f))
        )
        raise StopIteration

    monkeypatch.setattr("scipy.optimize.minimize", keep)
    with pytest.raises(StopIteration):
        best_blind_policy(Law(0.4, 0.05), 0.123, forecasts=9)
    assert seen["error"] < 1e-6

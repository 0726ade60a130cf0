"""Changepoints: as of plain Gaussian processes, found where planted, the same from any chunk of a history."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import cho_factor, cho_solve, cholesky, solve_triangular, toeplitz
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import multivariate_t

from qn_env.audit import check_no_lookahead
from qn_env.changepoints import Changepoint, Segment, changepoints, evidence, segments
from qn_env.changepoints.lattice import Processes, prediction_errors
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.features import Defined, evaluate, in_bars
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged

LOOK_BACKS = [10, 21, 63, *(pytest.param(days, marks=pytest.mark.slow) for days in (126, 252))]
BOTH = (Changepoint(10, "severity"), Changepoint(10, "location"))


def noise(days: int, assets: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0005, 0.01, (days, assets))


def covariances(days: int) -> list[tuple[float, np.ndarray]]:
    """Prior weight and covariance [days, days] of every law, each entry by its formula."""
    apart = np.abs(np.subtract.outer(np.arange(days), np.arange(days)))
    laws = [(0.5, np.eye(days))]
    for scale in evidence.LENGTH_SCALES:
        for signal in evidence.SIGNALS:
            d = np.sqrt(3) * apart / scale
            laws.append((0.5 / 6, signal * (1 + d) * np.exp(-d) + np.eye(days)))
    return laws


def log_evidence(values: np.ndarray) -> float:
    """Of standardised values, by SciPy's t distribution: normal laws over all noise variances."""
    a, b = evidence.SHAPE, evidence.SCALE
    return float(
        logsumexp(
            [
                np.log(w) + multivariate_t.logpdf(values, np.zeros(len(values)), b / a * C, 2 * a)
                for w, C in covariances(len(values))
            ]
        )
    )


def by_definition(window: np.ndarray) -> tuple[float, float]:
    """Severity and location of one window, a changepoint after another."""
    days = len(window)
    values = (window - window.mean()) / window.std()
    places = range(evidence.SHORTEST_HALF, days - evidence.SHORTEST_HALF + 1)
    changed = [log_evidence(values[:c]) + log_evidence(values[c:]) for c in places]
    nlml_m = -log_evidence(values) - np.log(0.95)
    nlml_c = -logsumexp(changed) + np.log(len(changed)) - np.log(0.05)
    return 1 - 1 / (1 + np.exp(-(nlml_c - nlml_m))), places[int(np.argmax(changed))] / days


def planted(days: int, *, shift: float = 0.0, widening: float = 1.0, draws: int = 200, seed: int = 0):
    """Returns [days, draws] with a break at a random place of the inner half, and the days before it."""
    rng = np.random.default_rng(seed)
    before = rng.integers(days // 4, days - days // 4 + 1, draws)
    after = np.arange(days)[:, None] >= before
    values = rng.standard_normal((days, draws)) * np.where(after, widening, 1.0) + shift * after
    return 0.01 * values, before


def test_the_lattice_gives_the_rows_of_every_inverse_cholesky_factor():
    values, column = noise(40)[:, 0], np.array([1.5, 0.9, 0.7, 0.6, 0.4, 0.3, 0.25, 0.2])
    processes = Processes.of(np.stack([column, np.eye(8)[0]]))
    for n, (last, first) in enumerate(prediction_errors(values, processes)):
        factor = cholesky(toeplitz(column[: n + 1]), lower=True)
        assert processes.variances[0, n] == pytest.approx(factor[n, n] ** 2, rel=1e-12)
        assert processes.constant[0, n] == pytest.approx(
            solve_triangular(factor, np.ones(n + 1), lower=True)[n] * factor[n, n], rel=1e-12
        )
        for begin in (0, 17, 40 - n - 1):
            stretch = values[begin : begin + n + 1]
            for found, ordered in ((last, stretch), (first, stretch[::-1])):
                error = solve_triangular(factor, ordered, lower=True)[n] * factor[n, n]
                assert found[0, begin] == pytest.approx(error, rel=1e-11)
                assert found[1, begin] == ordered[-1]


@pytest.mark.parametrize(("days", "shift"), [(4, 0.0), (10, 0.0), (21, 3.0), (40, -2.0)])
def test_severity_and_location_are_the_evidence_of_plain_gaussian_processes(days, shift):
    returns, _ = planted(days, shift=shift, draws=3, seed=days)
    severity, location = changepoints(returns, days)
    for j in range(3):
        expected = by_definition(returns[:, j])
        np.testing.assert_allclose((severity[-1, j], location[-1, j]), expected, rtol=1e-9)


def nlml(covariance: np.ndarray, values: np.ndarray) -> float:
    factor = cho_factor(covariance, lower=True)
    return float(
        0.5 * values @ cho_solve(factor, values)
        + np.log(np.diag(factor[0])).sum()
        + 0.5 * len(values) * np.log(2 * np.pi)
    )


def matern(x: np.ndarray, scale: float) -> np.ndarray:
    d = np.sqrt(3) * np.abs(np.subtract.outer(x, x)) / scale
    return (1 + d) * np.exp(-d)


def best_of_one(values: np.ndarray) -> float:
    """Least nlml of one Matern curve with noise by L-BFGS-B, within the bounds of the grid."""
    x = np.arange(len(values), dtype=float)

    def loss(theta):
        scale, signal, variance = np.exp(theta)
        return nlml(variance * (signal * matern(x, scale) + np.eye(len(x))), values)

    box = [np.log(evidence.LENGTH_SCALES), np.log([1e-6, max(evidence.SIGNALS)]), np.log([1e-3, 1e2])]
    starts = [(np.log(250.0), np.log(signal), 0.0) for signal in (1e-4, 0.3)]
    return min(minimize(loss, start, method="L-BFGS-B", bounds=box).fun for start in starts)


def best_on_the_grid(values: np.ndarray) -> float:
    """The same over the grid of the module, with the noise variance at its best."""
    n, found = len(values), []
    for _, C in covariances(n):
        variance = values @ np.linalg.solve(C, values) / n
        found.append(nlml(variance * C, values))
    return min(found)


@pytest.mark.parametrize("shift", [0.0, 2.0, 4.0])
def test_the_grid_is_as_good_as_a_fit_by_gradients(shift):
    returns, _ = planted(63, shift=shift, draws=3, seed=3)
    for window in returns.T:
        values = (window - window.mean()) / window.std()
        for stretch in (values, values[:20], values[20:]):
            assert -1e-3 < best_on_the_grid(stretch) - best_of_one(stretch) < 0.35


def test_a_break_is_where_the_published_fit_by_gradients_puts_it():
    """The soft kernel of the paper, all of its hyperparameters free; of several starts, it needs them."""
    days = 42
    returns, before = planted(days, shift=4.0, draws=3, seed=1)
    _, location = changepoints(returns, days)
    x = np.arange(days, dtype=float)

    def loss(theta, values):
        (one, other, s1, s2, variance, steep), c = np.exp(theta[:6]), theta[6]
        g = 1 / (1 + np.exp(-np.clip(steep * (x - c), -500, 500)))
        curve = s1 * matern(x, one) * np.outer(1 - g, 1 - g) + s2 * matern(x, other) * np.outer(g, g)
        return nlml(curve + variance * np.eye(days), values)

    box = [(-2, 7)] * 2 + [(-7, 4)] * 2 + [(-5, 3), (-2, 4), (1.0, days - 2.0)]
    for j, window in enumerate(returns.T):
        values = (window - window.mean()) / window.std()
        starts = [[3.0, 3.0, 0.0, 0.0, 0.0, 0.0, c] for c in (10.0, 20.0, 30.0)]
        fits = [minimize(loss, start, values, method="L-BFGS-B", bounds=box) for start in starts]
        c = min(fits, key=lambda fit: fit.fun).x[6]
        # It lies between the last day of the old law and the first of the new one.
        assert abs(c + 0.5 - location[-1, j] * days) <= 1.5
        assert abs(location[-1, j] * days - before[j]) <= 1


@pytest.mark.parametrize("days", LOOK_BACKS)
def test_planted_breaks_of_two_deviations_are_found_within_five_days(days, record_property):
    returns, before = planted(days, shift=2.0)
    severity, location = changepoints(returns, days)
    near = np.abs(location[-1] * days - before) <= 5
    record_property("within five days", float(near.mean()))
    record_property("and severity above 1/2", float((near & (severity[-1] > 0.5)).mean()))
    assert near.mean() >= 0.9
    if days >= 63:  # in a month, two deviations are still a guess
        assert (near & (severity[-1] > 0.5)).mean() >= 0.8


@pytest.mark.parametrize("days", LOOK_BACKS[2:])
def test_breaks_of_volatility_are_found_too(days, record_property):
    returns, before = planted(days, widening=3.0, draws=100)
    severity, location = changepoints(returns, days)
    near = np.abs(location[-1] * days - before) <= 5
    record_property("within five days", float(near.mean()))
    assert (near & (severity[-1] > 0.5)).mean() >= 0.8


@pytest.mark.parametrize("days", LOOK_BACKS[1:])
def test_a_strong_break_is_certain(days):
    severity, _ = changepoints(planted(days, shift=6.0, draws=40)[0], days)
    assert np.median(severity[-1]) > 0.95


@pytest.mark.parametrize("days", LOOK_BACKS)
def test_severity_is_near_zero_on_white_noise(days, record_property):
    severity = changepoints(np.random.default_rng(1).normal(size=(days, 300)), days)[0][-1]
    record_property("median", float(np.median(severity)))
    assert np.median(severity) < 0.06
    assert np.quantile(severity, 0.95) < 0.2
    assert (severity > 0.5).mean() <= 0.05  # which is what the prior says at most


def test_a_window_has_the_same_figures_to_the_last_bit_in_any_chunk_of_a_history():
    rng = np.random.default_rng(5)
    returns = noise(1300, 2, seed=5)
    returns[400] = np.nan
    for days in (4, 10, 63):
        whole = changepoints(returns, days)
        for _ in range(8):
            begin = int(rng.integers(0, 1300 - days))
            end = int(rng.integers(begin + days, 1301))
            for part, piece in zip(whole, changepoints(returns[begin:end, 1:], days), strict=True):
                np.testing.assert_array_equal(piece[days - 1 :], part[begin + days - 1 : end, 1:])
                assert np.isnan(piece[: days - 1]).all()


@settings(max_examples=25)
@given(seed=st.integers(0, 100), scale=st.sampled_from([1e-3, 2.0, -1.0]), days=st.sampled_from([7, 15]))
def test_laws_of_a_window(seed, scale, days):
    returns = noise(days, 3, seed)
    severity, location = changepoints(returns, days)
    assert np.isnan(severity[:-1]).all()
    assert ((severity[-1] > 0) & (severity[-1] < 1) & (location[-1] > 0) & (location[-1] < 1)).all()
    # It is standardised: units, a sign and a level say nothing.
    other = changepoints(scale * returns + 0.001 * scale, days)
    np.testing.assert_allclose(other[0][-1], severity[-1], rtol=1e-6)
    np.testing.assert_array_equal(other[1], location)
    # Read backwards it has the same change, as far from the other end.
    mirrored = changepoints(returns[::-1], days)
    np.testing.assert_allclose(mirrored[0][-1], severity[-1], rtol=1e-9)
    np.testing.assert_allclose(mirrored[1][-1], 1 - location[-1], rtol=1e-9)


def test_what_does_not_move_or_is_missing_has_no_changepoint():
    returns = noise(60)
    returns[20:32] = 0.001
    severity, location = changepoints(returns, 10)
    undefined = np.isnan(severity[:, 0])
    assert undefined.nonzero()[0].tolist() == [*range(9), 29, 30, 31]
    np.testing.assert_array_equal(np.isnan(location[:, 0]), undefined)
    returns[45] = np.nan
    assert np.isnan(changepoints(returns, 10)[0][45:55, 0]).all()
    assert np.isfinite(changepoints(returns, 10)[0][55:, 0]).all()
    assert np.isnan(changepoints(noise(9), 10)).all()
    assert np.isnan(changepoints(np.full((30, 2), np.nan), 10)).all()


def test_a_thousand_days_of_a_single_return_do_not_overflow():
    returns = np.zeros((1200, 1))
    returns[700:] = noise(500)
    severity, location = changepoints(returns, 1000)
    assert severity[-1, 0] == 1.0
    assert location[-1, 0] == 0.5


def test_a_feature_sees_an_assets_own_days_and_fits_both_parts_once(monkeypatch):
    panel = ragged(sizes=(2, 2), days=60, seed=4)
    calls = []
    fit = evidence.fit
    monkeypatch.setattr("qn_env.changepoints.cache.fit", lambda *given: calls.append(given) or fit(*given))
    panel.features((*BOTH, Defined(BOTH)))
    assert len(calls) == 4
    for j in range(4):
        own = panel.tradable[:, j]
        for feature, part in zip(BOTH, changepoints(panel.returns[own, j : j + 1], 10), strict=True):
            np.testing.assert_array_equal(panel.feature(feature)[own, j], part[:, 0])
            assert np.isnan(panel.feature(feature)[~own, j]).all()
    assert len(calls) == 4
    assert evaluate(BOTH[0], noise(30), {}).shape == (30, 1)


@settings(max_examples=20)
@given(seed=st.integers(0, 50), cut=st.floats(0.3, 0.95))
def test_no_changepoint_looks_ahead(seed, cut):
    panel = ragged(sizes=(2, 2), days=60, seed=seed)
    row = int(cut * len(panel.dates))
    other = panel.with_future_scrambled(panel.dates[row], seed=seed)
    np.testing.assert_array_equal(panel.features(BOTH)[: row + 1], other.features(BOTH)[: row + 1])


def test_an_environment_that_shows_changepoints_passes_the_audit(tmp_path, monkeypatch):
    monkeypatch.setenv("QN_ENV_CACHE", str(tmp_path))
    env = TradingEnv(ragged(sizes=(2, 3), days=80, seed=3), window=4, features=BOTH, vol_target=0.15)
    check_no_lookahead(env, days=3, seed=0).raise_if_failed()
    assert list(tmp_path.rglob("*.safetensors"))


def test_on_other_bars_a_look_back_spans_the_same_time():
    assert in_bars(Changepoint(63, "location"), 52) == Changepoint(13, "location")
    assert in_bars(Changepoint(10), 12) == Changepoint(4)
    assert in_bars(Changepoint(252), 98_280).days == 2_520
    weekly = ragged(sizes=(1, 1), days=80, seed=2)
    weekly = Panel.build(
        weekly.dates[0] + 7 * np.arange(len(weekly.dates)),
        weekly.assets,
        weekly.market_of,
        weekly.returns,
        tradable=weekly.tradable,
        bars_per_year=52,
    )
    own = weekly.tradable[:, 0]
    np.testing.assert_array_equal(
        weekly.feature(Changepoint(63))[own, 0], changepoints(weekly.returns[own, :1], 13)[0][:, 0]
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Changepoint(3), "Changepoint: days is 3, expected at least 4"),
        (lambda: Changepoint(21, "place"), "unknown Changepoint: part 'place'"),
        (lambda: changepoints(noise(30), 2.0), "days is 2.0, expected a whole number from 4"),
        (lambda: changepoints(noise(30)[:, 0], 10), r"returns is .*shape \(30,\), expected numbers of shape"),
        (lambda: cut([0.5], [0.5, 0.5]), r"have shapes \(1,\) and \(2,\)"),
        (lambda: cut([0.5], [0.5], threshold=1.5), "threshold is 1.5, expected a number >= 0 and at most 1"),
        (lambda: cut([0.5], [0.5], longest=2), "longest is 2, expected at least 3"),
    ],
)
def test_what_cannot_be_fitted_or_cut_is_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        wrong()


def cut(severity, location, *, days=10, threshold=0.5, shortest=3, longest=8):
    return segments(
        np.array(severity),
        np.array(location),
        days=days,
        threshold=threshold,
        shortest=shortest,
        longest=longest,
    )


def test_a_history_is_cut_before_the_changes_that_are_severe_enough():
    severity, location = np.full(24, 0.1), np.full(24, 0.5)
    # The window of 10 that ends at row 11 begins at row 2: four days before the change, so row 6 is new.
    severity[11], location[11] = 0.9, 0.4
    # Row 7 would be new: the regime since row 6 would have had one day.
    severity[12], location[12] = 0.9, 0.4
    assert cut(severity, location, longest=12) == [Segment(0, 6, 11), Segment(6, 18, 17)]
    # Without the change, every eight days; the last eight are not over.
    assert cut(np.full(23, 0.5), location[:23]) == [Segment(0, 8, 7), Segment(8, 16, 15)]
    severity[:9] = location[:9] = np.nan
    assert cut(severity, location, longest=20) == [Segment(0, 6, 11)]


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000),
    T=st.integers(0, 80),
    days=st.integers(4, 30),
    shortest=st.integers(1, 6),
    more=st.integers(0, 30),
    share=st.floats(0, 1),
)
def test_segments_join_keep_their_lengths_and_are_known_from_the_past_alone(
    seed, T, days, shortest, more, share
):
    rng = np.random.default_rng(seed)
    severity, location = rng.random(T), rng.integers(2, days - 1, T) / days
    severity[: days - 1] = location[: days - 1] = np.nan

    def found(rows):
        return cut(
            severity[:rows],
            location[:rows],
            days=days,
            threshold=0.7,
            shortest=shortest,
            longest=shortest + more,
        )

    whole = found(T)
    assert [s.begin for s in whole] == [0, *(s.end for s in whole)][: len(whole)]
    assert all(shortest <= s.end - s.begin <= shortest + more and s.end <= s.known + 1 for s in whole)
    assert [s.known for s in whole] == sorted(s.known for s in whole)
    begun = whole[-1].end if whole else 0
    assert T - begun < shortest + more
    rows = int(share * T)
    assert found(rows) == [s for s in whole if s.known < rows]


def test_regimes_of_planted_breaks_begin_where_they_were_planted():
    rng = np.random.default_rng(0)
    mean = np.repeat([0.0, 3.0, -1.0, 2.0], [150, 120, 140, 160])
    returns = 0.01 * (rng.standard_normal(570) + mean)[:, None]
    severity, location = (part[:, 0] for part in changepoints(returns, 63))
    regimes = cut(severity, location, days=63, threshold=0.9, shortest=21, longest=252)
    assert [round(s.end / 10) * 10 for s in regimes] == [150, 270, 410]
    assert all(s.known - s.end < 15 for s in regimes)  # how long it takes to know

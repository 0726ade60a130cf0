"""Many strategies at once: what the tests find, what they leave alone, and how often they err on noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from arch.bootstrap import SPA, StationaryBootstrap, StepM
from scipy.stats import binomtest

from experiments.results.tables import scaled_ex_ante
from experiments.statistics import (
    block_length,
    confidence_set,
    mean_error,
    stepwise_superior,
    superior_predictive_ability,
)
from experiments.statistics.many import bootstrap_error
from qn_env.arrays import FloatArray
from qn_env.errors import ConfigError, DataError

Law = Callable[[np.random.Generator, int, int], FloatArray]


def independent(rng: np.random.Generator, days: int, series: int) -> FloatArray:
    """[T, N] normal returns of variance 1, any two of which correlate by a half."""
    return (rng.standard_normal((days, 1)) + rng.standard_normal((days, series))) / 2**0.5


def fat_ar1(rng: np.random.Generator, days: int, series: int) -> FloatArray:
    """[T, N] AR(1) returns, coefficient 0.2, with shocks of Student-t(5) that correlate by a half."""
    values = (rng.standard_t(5, (days + 50, 1)) + rng.standard_t(5, (days + 50, series))) / (10 / 3) ** 0.5
    for t in range(1, len(values)):
        values[t] += 0.2 * values[t - 1]
    return values[50:] * (1 - 0.2**2) ** 0.5


def garch(rng: np.random.Generator, days: int, series: int) -> FloatArray:
    """[T, N] GARCH(1, 1) returns, 0.08 and 0.9, with shocks of Student-t(5) that correlate by a half."""
    values = (rng.standard_t(5, (days + 300, 1)) + rng.standard_t(5, (days + 300, series))) / (10 / 3) ** 0.5
    variance = np.ones(series)
    for t in range(len(values)):
        values[t] *= variance**0.5
        variance = 0.02 + 0.08 * values[t] ** 2 + 0.9 * variance
    return values[300:]


def net_of(law: Law, days: int, series: int, *chance: int) -> FloatArray:
    """[T, N] daily net returns of strategies without skill, of many volatilities, scaled ex ante to one."""
    rng = np.random.default_rng([days, series, *chance])
    raw = law(rng, days + 63, series) * rng.uniform(0.001, 0.03, series)
    return scaled_ex_ante(raw)[63:]


def errors(net: FloatArray, seed: int, replications: int) -> Iterator[tuple[str, bool]]:
    """Which tests find something, at the 5% level."""
    p = superior_predictive_ability(net, seed=seed, replications=replications)
    yield "superior predictive ability", p.p_value <= 0.05
    yield "reality check, studentised", p.upper <= 0.05
    yield "stepwise", bool(stepwise_superior(net, seed=seed, replications=replications).any())
    yield "confidence set", not confidence_set(net, seed=seed, replications=replications).included.all()


def sizes(law: Law, draws: int, days: int, replications: int, series: int = 6) -> dict[str, float]:
    """How often each test finds something where there is nothing."""
    found: dict[str, int] = {}
    for i in range(draws):
        for name, wrong in errors(net_of(law, days, series, i), i, replications):
            found[name] = found.get(name, 0) + wrong
    return {name: count / draws for name, count in found.items()}


def test_on_noise_hardly_anything_is_found() -> None:
    # 5% of 100 is 5 with a standard deviation of 2.2.
    for share in sizes(fat_ar1, 100, 300, 100).values():
        assert share <= 0.12


@pytest.mark.slow
@pytest.mark.parametrize("law", [independent, fat_ar1, garch])
def test_on_noise_the_tests_err_in_3_to_7_percent_of_samples(law: Law, record_property) -> None:
    for name, share in sizes(law, 2000, 752, 300).items():
        interval = binomtest(round(2000 * share), 2000).proportion_ci(0.95, "exact")
        record_property(name, f"{share:.4f} [{interval.low:.3f}, {interval.high:.3f}] of 2,000")
        assert 0.03 <= share <= 0.07, name

"""Tests of many strategies at once: is any better than a benchmark, which ones are, which may be the best.

Hansen's test of superior predictive ability (2005), the stepwise procedure of Romano and Wolf (2005) and the
model confidence set of Hansen, Lunde and Nason (2011), by `arch.bootstrap`, on daily net returns.

Give them returns of one volatility (`experiments.results.tables.scaled_ex_ante`; `net_10` in a run's
portfolio): the mean return, which all three compare, is then the Sharpe ratio but for a factor.

What differs from arch as it stands, in version 8.0:

- Its SPA compares means as they are, whatever `studentize` says (White's Reality Check with Hansen's
  recentring). Here every difference is divided by its standard error first, as in Hansen (2005), so that a
  noisy strategy does not hide the others.
- Its StepM ends with an error where a later step finds all strategies that are left. The steps are ours, over
  its SPA.
- Means of resampled days spread less than those of dependent days: by what blocks cut off, and by the mean
  that is taken out. As in `sharpe_interval` the days are spread by the ratio of a prewhitened standard error
  (`sharpe_errors`) to theirs, where that is above 1, and by the degrees of freedom that the mean costs. And
  the longer the blocks, the less is known of that spread: a t-statistic counts as the normal quantile of the
  same probability as it has in Student's distribution.

How often they then err where no strategy has any skill is recorded by `tests/test_many.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from experiments.statistics.intervals import LEVEL, REPLICATIONS, block_length
from experiments.statistics.sharpe_errors import error_of_mean
from qn_env.arrays import BoolArray, FloatArray, IntArray
from qn_env.checks import check_number, check_seed, check_whole
from qn_env.errors import ConfigError, DataError
from qn_env.objectives import ROUNDING

MIN_DAYS = 30  # fewer say nothing about errors of means
MOST_REPLICATIONS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Superiority:
    """Whether the best of many strategies is better than a benchmark, beyond the luck of having many.

    Attributes:
        p_value: of the hypothesis that none is better, Hansen's consistent one.
        lower: as if every strategy that did worse than the benchmark were exactly as good: too small.
        upper: as if all were exactly as good, however badly they did (White's Reality Check, studentised):
            safe.
        best: column of the strategy with the largest t-statistic; None where none differs from the benchmark.
        t_statistic: its mean difference over its standard error.
    """

    p_value: float
    lower: float
    upper: float
    best: int | None
    t_statistic: float


@dataclass(frozen=True, kw_only=True)
class ConfidenceSet:
    """The strategies among which the best one is, with the confidence asked for.

    Attributes:
        included: [N] whether a strategy is in the set.
        p_values: [N] the smallest size (1 - level) at which it would be left out; 1 for the last that stays.
    """

    included: BoolArray
    p_values: FloatArray


def superior_predictive_ability(
    net: FloatArray,
    reference: FloatArray | None = None,
    *,
    seed: int,
    replications: int = REPLICATIONS,
) -> Superiority:
    """Is the best of N strategies better than a benchmark (Hansen 2005)?

    Strategies that equal the benchmark, or differ from it by a constant, are left out: nothing can be said of
    them.

    Args:
        net: [T, N] daily net returns of one volatility.
        reference: [T] those of the benchmark; None: cash, which earns 0.
        seed: the only chance.
        replications: bootstrap samples.

    Raises:
        ConfigError: shapes that do not fit, fewer than 30 days, no strategy.
        DataError: a return is not finite.
    """
    excess = _excess(net, reference)
    _check_numbers(seed, replications)
    tested = np.flatnonzero(_varies(excess))
    if not len(tested):
        return Superiority(p_value=1.0, lower=1.0, upper=1.0, best=None, t_statistic=float("nan"))
    test = _spa(excess[:, tested], seed=seed, replications=replications)
    test.compute()
    p = test.pvalues
    statistics = -test.models.mean(axis=0)  # they are losses
    return Superiority(
        p_value=float(p["consistent"]),
        lower=float(p["lower"]),
        upper=float(p["upper"]),
        best=int(tested[statistics.argmax()]),
        t_statistic=float(statistics.max()),
    )


def stepwise_superior(
    net: FloatArray,
    reference: FloatArray | None = None,
    *,
    seed: int,
    level: float = LEVEL,
    replications: int = REPLICATIONS,
) -> BoolArray:
    """Which of N strategies are better than a benchmark, with a chance of any false one of 1 - level at most?

    The steps of Romano and Wolf (2005): whoever exceeds the critical value of the largest t-statistic is
    taken out, and the rest are held to the smaller one that remains, until none exceeds it. Critical values
    are Hansen's consistent ones, which strategies far below the benchmark do not raise (Hsu, Hsu and Kuan
    2010).

    Args:
        net: [T, N] daily net returns of one volatility.
        reference: [T] those of the benchmark; None: cash, which earns 0.
        seed: the only chance.
        level: 0.95 is a chance of 5% that any strategy is found which is not better.
        replications: bootstrap samples.

    Returns:
        [N] True where a strategy is better.

    Raises:
        ConfigError: shapes that do not fit, fewer than 30 days, no strategy.
        DataError: a return is not finite.
    """
    excess = _excess(net, reference)
    _check_numbers(seed, replications, level)
    tested = np.flatnonzero(_varies(excess))
    superior = np.zeros(excess.shape[1], dtype=bool)
    if not len(tested):
        return superior
    test = _spa(excess[:, tested], seed=seed, replications=replications)
    left = np.ones(len(tested), dtype=bool)
    while left.any():
        test.subset(left.copy())
        test.compute()
        found: IntArray = test.better_models(1.0 - level)
        if not len(found):
            break
        left[found] = False
    superior[tested] = ~left
    return superior


def confidence_set(
    net: FloatArray,
    *,
    seed: int,
    level: float = LEVEL,
    replications: int = REPLICATIONS,
) -> ConfidenceSet:
    """The strategies that may be the best of N (Hansen, Lunde and Nason 2011), by the range of t-statistics.

    The worst is left out as long as the largest t-statistic of any pair is more than chance. Copies of a
    strategy share its place. There is no benchmark; a flat strategy, cash say, is one among the others.

    Args:
        net: [T, N] daily net returns of one volatility.
        seed: the only chance.
        level: the chance that the best of them, or all of several, is in the set.
        replications: bootstrap samples.

    Raises:
        ConfigError: shapes that do not fit, fewer than 30 days, no strategy.
        DataError: a return is not finite.
    """
    from arch.bootstrap import MCS

    returns = _excess(net, None)
    _check_numbers(seed, replications, level)
    first, copy_of = _without_copies(returns)
    if len(first) == 1:
        alone = np.ones(returns.shape[1])
        return ConfidenceSet(included=alone > 0, p_values=alone)
    own = returns[:, first]
    pairs = np.column_stack([own[:, i] - own[:, j] for i, j in combinations(range(len(first)), 2)])
    length = _mean_length(pairs)
    # A factor common to all, that of the largest: arch takes the errors of differences from its own samples.
    factor = float(_inflation(pairs, length).mean())
    largest = np.abs(pairs.mean(axis=0) / (factor * bootstrap_error(pairs, length))).max(keepdims=True)
    normal = _as_normal(largest, _freedom(len(own), length))
    widened = _widen(own, factor * float((largest / normal)[0]) if normal[0] > 0.0 else factor)
    # Its block length is a mean, for which arch documents a float and declares an int.
    mean_length: Any = length
    chance = np.random.default_rng(seed)
    test = MCS(-widened, 1.0 - level, reps=replications, block_size=mean_length, method="R", seed=chance)
    test.compute()
    p_values = test.pvalues["Pvalue"].sort_index().to_numpy(dtype=np.float64)[copy_of]
    return ConfidenceSet(included=p_values > 1.0 - level, p_values=p_values)


def _spa(excess: FloatArray, *, seed: int, replications: int) -> Any:
    """SPA of arch, of differences [T, K] in units of their standard errors, as losses of a benchmark of 0."""
    from arch.bootstrap import SPA

    length = _mean_length(excess)
    mean_length: Any = length  # see `confidence_set`
    return SPA(
        np.zeros(len(excess)),
        -_studentised(excess, length),
        block_size=mean_length,
        reps=replications,
        seed=np.random.default_rng(seed),
    )


def _studentised(excess: FloatArray, length: float) -> FloatArray:
    """[T, K] whose means are t-statistics, as normal ones; the means of their resampled days deviate by 1."""
    error = bootstrap_error(excess, length)
    statistics = excess.mean(axis=0) / (float(_inflation(excess, length).mean()) * error)
    spread = (excess - excess.mean(axis=0)) / error
    scaled: FloatArray = _as_normal(statistics, _freedom(len(excess), length)) + spread
    return scaled


def _as_normal(statistics: FloatArray, freedom: float) -> FloatArray:
    """Normal quantiles with the probabilities of t-statistics."""
    from scipy.stats import norm, t

    quantiles: FloatArray = np.sign(statistics) * norm.isf(t.sf(np.abs(statistics), freedom))
    return quantiles


def _freedom(T: int, length: float) -> float:
    """Degrees of freedom of the variance of a mean by a kernel over lags: T over the sum of its squares."""
    kernel = _kernel(T, length)
    return float(T / (2.0 * (kernel[1:] ** 2).sum() + 1.0))


def _inflation(series: FloatArray, length: float) -> FloatArray:
    """[K] how much wider the means of series [T, K] are than those of their resampled days."""
    T = len(series)
    robust = np.array([error_of_mean(column) for column in series.T])
    # What the mean takes out of dependent days, as T - 1 does for independent ones.
    taken = min(_kernel(T, length)[1:].sum() * 2.0 + 1.0, T / 2) / T
    ratio: FloatArray = np.maximum(robust / bootstrap_error(series, length), 1.0) / (1.0 - taken) ** 0.5
    return ratio


def _widen(series: FloatArray, factor: float) -> FloatArray:
    """The same means [T, K], with days that spread by a factor more around them."""
    mean = series.mean(axis=0)
    widened: FloatArray = mean + factor * (series - mean)
    return widened


def bootstrap_error(series: FloatArray, length: float) -> FloatArray:
    """[K] standard deviation of the means of stationary-bootstrap samples of [T, K], exactly.

    Politis and Romano (1994, Lemma 1): the autocovariances of the series on a circle, in a kernel.

    Args:
        series: [T, K] values.
        length: mean length of a block.
    """
    T = len(series)
    spread = series - series.mean(axis=0)
    size = 2 ** (2 * T - 1).bit_length()  # of a transform without wrapping around
    power = np.abs(np.fft.rfft(spread, size, axis=0)) ** 2
    covariances = np.fft.irfft(power, size, axis=0)[:T] / T
    weights = np.where(np.arange(T) > 0, 2.0, 1.0) * _kernel(T, length)
    variance: FloatArray = (weights @ covariances) / T
    return np.sqrt(np.maximum(variance, 0.0))


def _kernel(T: int, length: float) -> FloatArray:
    """[T] weight of each lag's autocovariance, of the lag or of its complement on the circle."""
    lag, stay = np.arange(T), 1.0 - 1.0 / length
    kernel: FloatArray = (1.0 - lag / T) * stay**lag + (lag / T) * stay ** (T - lag)
    return kernel


def _mean_length(series: FloatArray) -> float:
    """Mean block length, of the series of [T, K] one by one."""
    return float(np.mean([block_length(column[None, :, None]) for column in series.T]))


def _varies(excess: FloatArray) -> BoolArray:
    """[N] whether a column varies at all."""
    varies: BoolArray = np.ptp(excess, axis=0) > ROUNDING * np.maximum(np.abs(excess).max(axis=0), ROUNDING)
    return varies


def _without_copies(returns: FloatArray) -> tuple[IntArray, IntArray]:
    """The first column of each group that only rounding tells apart, and [N] the group of every column."""
    first: list[int] = []
    group = np.zeros(returns.shape[1], dtype=np.intp)
    size = max(float(np.abs(returns).max()), ROUNDING)
    for column, values in enumerate(returns.T):
        gaps = (np.ptp(values - returns[:, one]) for one in first)
        same = next((place for place, gap in enumerate(gaps) if gap <= ROUNDING * size), None)
        group[column] = len(first) if same is None else same
        if same is None:
            first.append(column)
    return np.array(first), group


def _excess(net: FloatArray, reference: FloatArray | None) -> FloatArray:
    """[T, N] returns over the benchmark's, checked."""
    if net.ndim != 2 or net.shape[0] < MIN_DAYS or net.shape[1] < 1:
        raise ConfigError(
            f"net has shape {net.shape}, expected at least {MIN_DAYS} days of at least one strategy, [T, N]."
        )
    benchmark = np.zeros(len(net)) if reference is None else np.asarray(reference, dtype=np.float64)
    if benchmark.shape != (len(net),):
        raise ConfigError(f"the reference has shape {benchmark.shape}, expected {(len(net),)}.")
    for name, values in (("strategy", net), ("reference", benchmark[:, None])):
        if not np.isfinite(values).all():
            t, n = np.argwhere(~np.isfinite(values))[0]
            raise DataError(
                f"{name} {n}, day {t}: return is {values[t, n]}, expected a number. "
                "Keep the days that all have."
            )
    excess: FloatArray = net - benchmark[:, None]
    return excess


def _check_numbers(seed: int, replications: int, level: float = LEVEL) -> None:
    check_seed("seed", seed)
    check_whole("replications", replications, 1, MOST_REPLICATIONS)
    check_number("level", level, 0.5, 0.9999, unit="a level of confidence")

"""What is left of a Sharpe ratio when its sample and the search behind it are taken into account.

Bailey and Lopez de Prado, "The Sharpe Ratio Efficient Frontier" (2012) and "The Deflated Sharpe Ratio"
(2014). Everything is daily, not annualised; the formulas work on any one frequency.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from experiments.statistics.intervals import LEVEL
from experiments.statistics.sharpe_errors import Moments, independent_error
from qn_env.arrays import FloatArray
from qn_env.errors import ConfigError
from qn_env.year import DAYS_PER_YEAR


class Trials(NamedTuple):
    """The search behind a selected strategy.

    Attributes:
        number: independent trials.
        variance: of their daily Sharpe ratios.
    """

    number: float
    variance: float


def recorded_trials(scores: Sequence[float], bars_per_year: float = DAYS_PER_YEAR) -> Trials:
    """The trials of a search by their recorded, annualised Sharpe ratios.

    A trial that failed (not finite) was tried and counts, but has no ratio to enter the variance.

    Examples:
        >>> trials = recorded_trials([0.0, 252.0**0.5, -np.inf])
        >>> print(trials.number, round(trials.variance, 6))
        3 0.5
    """
    daily = np.asarray(scores, dtype=np.float64) / bars_per_year**0.5
    daily = daily[np.isfinite(daily)]
    return Trials(len(scores), float(daily.var(ddof=1)) if len(daily) > 1 else 0.0)


def effective_trials(number: int, correlation: float) -> float:
    """What `number` trials of average `correlation` are worth in independent ones: rho + (1 - rho) M.

    Bailey and Lopez de Prado (2014), appendix.
    """
    return correlation + (1.0 - correlation) * number


def expected_maximum_sharpe(trials: Trials) -> float:
    """The Sharpe ratio expected of the best of trials without any skill.

    sqrt(V) ((1 - g) Z(1 - 1 / N) + g Z(1 - 1 / (N e))) with the Euler-Mascheroni constant g and the normal
    quantile Z.
    """
    from scipy.special import ndtri

    number, variance = trials
    if not (number >= 1 and variance >= 0):
        raise ConfigError(
            f"trials: {number} of variance {variance}, expected at least one and no negative variance."
        )
    if number == 1:
        return 0.0
    high, higher = ndtri(1.0 - 1.0 / number), ndtri(1.0 - 1.0 / (number * np.e))
    return float(variance**0.5 * ((1.0 - np.euler_gamma) * high + np.euler_gamma * higher))


def probabilistic_sharpe(
    of: Moments, benchmark: ArrayLike = 0.0, *, error: ArrayLike | None = None
) -> FloatArray:
    """Probability that the true Sharpe ratio exceeds `benchmark`: Phi((SR - SR*) / error).

    Own code, because skfolio's takes returns and not moments, so that published examples cannot be held
    against it; the tests hold it against skfolio.

    Args:
        of: daily moments.
        benchmark: daily Sharpe ratio.
        error: daily standard error; default: that of independent days, as in the paper. With `robust_error`
            the statement holds for dependent days.
    """
    from scipy.special import ndtr

    spread = independent_error(of) if error is None else np.asarray(error, dtype=np.float64)
    margin = np.asarray(of.sharpe, dtype=np.float64) - np.asarray(benchmark, dtype=np.float64)
    probability: FloatArray = ndtr(margin / np.where(spread > 0.0, spread, np.nan))
    return probability


def deflated_sharpe(of: Moments, trials: Trials, *, error: ArrayLike | None = None) -> FloatArray:
    """Probability that the best of `trials` is better than luck.

    `probabilistic_sharpe` against their expected maximum; significant at 5% where it exceeds 0.95.
    """
    return probabilistic_sharpe(of, expected_maximum_sharpe(trials), error=error)


def minimum_track_record(of: Moments, benchmark: ArrayLike = 0.0, *, confidence: float = LEVEL) -> FloatArray:
    """Returns needed before `probabilistic_sharpe` reaches `confidence`, should the moments stay as they are.

    1 + (1 - skew SR + (kurtosis - 1) / 4 SR^2) (Z / (SR - SR*))^2; infinite where SR does not exceed SR*.
    """
    from scipy.special import ndtri

    margin = np.asarray(of.sharpe, dtype=np.float64) - np.asarray(benchmark, dtype=np.float64)
    spread = independent_error(of._replace(days=np.full_like(margin, 2.0)))  # times sqrt(2 - 1)
    above = np.where(margin > 0.0, margin, np.nan)
    needed = 1.0 + (spread * ndtri(confidence) / above) ** 2
    return np.where(margin <= 0.0, np.inf, needed)

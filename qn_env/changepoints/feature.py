"""The feature `Changepoint`: severity or location of the latest changepoint, fitted once for both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from qn_env.arrays import FloatArray
from qn_env.changepoints.cache import folder_of_environment, kept
from qn_env.changepoints.evidence import FEWEST_DAYS, MOST_DAYS
from qn_env.checks import check_known, check_whole
from qn_env.features import Derived, Feature
from qn_env.year import bars_in

PARTS = ("severity", "location")


@dataclass(frozen=True)
class Changepoint(Derived):
    """Severity or location of the latest changepoint in the last `days` returns, [T, N].

    As of `qn_env.changepoints.changepoints`: severity in [0, 1], location in (0, 1), NaN before `days`
    returns and where the returns of a window do not move. Asked for together (`Panel.features`), both parts
    of one look-back are fitted once. Fits are kept on disk if the environment variable QN_ENV_CACHE names a
    folder (`qn_env.changepoints.cache`), which changes no figure.
    """

    days: int = 21
    part: Literal["severity", "location"] = "severity"

    def __post_init__(self) -> None:
        check_whole("Changepoint: days", self.days, FEWEST_DAYS, MOST_DAYS)
        check_known("Changepoint: part", self.part, PARTS)

    def in_bars(self, bars_per_year: float) -> Self:
        """The feature of the same span where a year has so many bars."""
        days = min(bars_in(self.days, bars_per_year, FEWEST_DAYS), MOST_DAYS)
        return replace(self, days=days)

    @property
    def parts(self) -> tuple[Feature, ...]:
        """The fit."""
        return (_Fit(self.days),)

    def combine(self, returns: FloatArray, *parts: FloatArray) -> FloatArray:
        """From the fit [T, N, 2]."""
        (both,) = parts
        part: FloatArray = both[..., PARTS.index(self.part)]
        return part


@dataclass(frozen=True)
class _Fit(Derived):
    """Severity and location side by side, [T, N, 2]: no feature by itself, but what its parts share."""

    days: int

    @property
    def parts(self) -> tuple[Feature, ...]:
        """None."""
        return ()

    def combine(self, returns: FloatArray, *parts: FloatArray) -> FloatArray:
        """From returns [T, N]."""
        folder = folder_of_environment()
        both = np.full((*returns.shape, len(PARTS)), np.nan)
        for j in range(returns.shape[1]):
            both[:, j, 0], both[:, j, 1] = kept(returns[:, j], self.days, folder)
        return both

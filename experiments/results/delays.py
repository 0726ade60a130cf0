"""What waiting a day takes: the same decisions on time and one trading day later, paired day by day."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from experiments.statistics import Difference, sharpe_difference
from qn_env.arrays import BoolArray, FloatArray

ENTRY_DAYS = 2  # the first return of a book on time, and its entry a day late
SIGNIFICANT = 0.05


def after_entry(dates: pd.DatetimeIndex, begins: Iterable[str]) -> BoolArray:
    """[D] the days on which books on time and late differ by more than when they were entered.

    Where a market's test block begins, the one earns a day that the other waits for, and pays a day earlier;
    of a book that never moves this is all there is between them, and says nothing about its first day.

    Args:
        dates: [D] ascending.
        begins: the first test day of each market.

    Examples:
        >>> days = pd.DatetimeIndex(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-06"])
        >>> after_entry(days, ["2020-01-01"])
        array([False, False,  True,  True])
    """
    kept = np.ones(len(dates), dtype=bool)
    for begin in set(begins):
        first = int(dates.searchsorted(pd.Timestamp(begin)))
        kept[first : first + ENTRY_DAYS] = False
    return kept


def delay(late: FloatArray, on_time: FloatArray, *, kept: BoolArray) -> Difference:
    """Is the mean Sharpe ratio one day late lower than on time, beyond chance?

    Args:
        late: [D, K] daily net returns of K series (seeds and markets), NaN where one has none.
        on_time: the same days and series.
        kept: [D] as `after_entry` gives it.
    """
    return sharpe_difference(late[kept], on_time[kept])

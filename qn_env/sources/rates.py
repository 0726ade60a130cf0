"""The risk-free rate, and panels of excess returns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from qn_env.arrays import DateArray, FloatArray, read_only
from qn_env.checks import check_is, check_known, check_path, check_text
from qn_env.dates import check_increasing, read_days
from qn_env.errors import ConfigError, DataError, did_you_mean
from qn_env.panel import Panel
from qn_env.sources.files import read_numbers
from qn_env.sources.frames import read_column
from qn_env.year import DAYS_PER_YEAR

RateUnit = Literal["fraction-a-day", "percent-a-year"]

OLDEST = 31  # calendar days a rate stays in force without a newer one
LARGEST_A_DAY = 0.01  # no rate paid 1% a day: larger numbers are in another unit


def read_rate(path: str | Path, column: str, unit: RateUnit) -> pd.Series:
    """A risk-free rate as a fraction a day, by date, from a CSV or Parquet file.

    Args:
        path: a file with a column `date` (YYYY-MM-DD) and one column per rate.
        column: the rate's.
        unit: "fraction-a-day" is taken as it is and in force on its own date (Fama and French's `rf`);
            "percent-a-year" is divided by 100 and 252 and in force from the next date on, since it is
            published at the end of its day.

    A day with an empty cell has no rate of its own, nor has one with a word for it (NA, null, ...), which the
    series' `attrs["notes"]` tell. Dates and numbers are checked as those of panels are.

    Raises:
        ConfigError: an unknown unit, no such file or column.
        DataError: dates that are not written YYYY-MM-DD, out of order or twice; a number that cannot be a
            rate of this unit.
    """
    check_known("unit", unit, get_args(RateUnit))
    check_text("column", column)
    path = check_path("path", path)
    if not path.is_file():
        raise ConfigError(
            f"{path}: no such file. Give a CSV or Parquet file with the columns date and {column}."
        )
    table, words = read_numbers(path)
    if table.index.name == "date":
        table = table.reset_index()
    for needed in ("date", column):
        if needed not in table:
            raise ConfigError(f"{path}: no column {needed!r}. {did_you_mean(needed, list(map(str, table)))}")
    days, cut = read_days(str(path), pd.Index(table["date"]))
    check_increasing(str(path), days)
    values = read_column(str(path), days, column, table[column])
    rate = pd.Series(values, index=pd.DatetimeIndex(days), name=column)[~np.isnan(values)]
    if not len(rate):
        raise DataError(f"{path}: column {column!r} has no number, expected a rate. Give another column.")
    daily = rate if unit == "fraction-a-day" else _after_publication(rate) / 100.0 / DAYS_PER_YEAR
    bad = daily[~(daily.abs() < LARGEST_A_DAY)]
    if len(bad):
        raise DataError(
            f"{path}: column {column!r} on {bad.index[0]:%Y-%m-%d} is {rate.get(bad.index[0], np.nan)} in "
            f"{unit}, which is {bad.iloc[0]:.4g} a day; expected less than {LARGEST_A_DAY} ({len(bad)} such "
            "rows). Give the unit of the file."
        )
    daily.attrs["notes"] = (*words, *cut)
    return daily


def excess(panel: Panel, rate: pd.Series) -> Panel:
    """The panel of excess returns r_t - rf_t (Koshiyama et al. 2020, Appendix B).

    On a day without a rate of its own the latest earlier one is in force, for a month at most; a note says on
    how many days that was so. A return over several days (after a halt) bears one day's rate; a bar that is
    no trading day bears that of so many of them as it lasts, a year's being 252.

    Args:
        panel: simple returns.
        rate: fraction a day by date, as `read_rate` gives it.

    Raises:
        ConfigError: what is no panel or no series of rates by day.
        DataError: a day of the panel without a rate in the month before it; rates whose days or numbers
            `read_rate` would refuse in a file.
    """
    check_is("panel", panel, Panel, "a Panel")
    days, rates = _usable(rate)
    place = np.searchsorted(days, panel.dates, side="right") - 1
    age = (panel.dates.astype("datetime64[D]") - days[np.maximum(place, 0)]).astype(np.int64)
    missing = (place < 0) | (age > OLDEST)
    if missing.any():
        raise DataError(
            f"{rate.name}: no rate on {panel.dates[missing][0]} nor in the {OLDEST} days before it "
            f"({int(missing.sum())} such days; the rates cover {days[0]} to {days[-1]}). "
            "Give a longer series, or a panel within it."
        )
    paid = rates[place] * (DAYS_PER_YEAR / panel.bars_per_year)
    older = int((age > 0).sum())
    note = f"returns are in excess of the rate {rate.name!r}"
    note += f"; on {older} of {len(panel.dates)} days an earlier day's rate was in force" if older else ""
    return replace(
        panel,
        returns=read_only(np.maximum(panel.returns - paid[:, None], -1.0 + 1e-9)),
        notes=(*panel.notes, f"{note}.", *rate.attrs.get("notes", ())),
    )


def _usable(rate: pd.Series) -> tuple[DateArray, FloatArray]:
    """[K] the days that have a rate, and the rates; a series made by hand is checked as a file is."""
    check_is("rate", rate, pd.Series, "a series of rates by day, as read_rate gives it")
    check_is("rate's index", rate.index, pd.DatetimeIndex, "days, as read_rate gives them")
    source = f"rate {rate.name!r}"
    days, _ = read_days(source, rate.index)
    check_increasing(source, days)
    numbers = read_column(source, days, str(rate.name), rate)
    known = ~np.isnan(numbers)
    if not known.any():
        raise DataError(f"{source}: has no number, expected a rate a day. Give another series.")
    bad = np.flatnonzero(np.abs(numbers) >= LARGEST_A_DAY)
    if len(bad):
        raise DataError(
            f"{source}: {numbers[bad[0]]} on {days[bad[0]]}, expected a fraction a day, less than "
            f"{LARGEST_A_DAY} ({len(bad)} such days). Divide a yearly percentage by 100 and {DAYS_PER_YEAR}."
        )
    return days[known], numbers[known]


def _after_publication(rate: pd.Series) -> pd.Series:
    """Each rate from the day after its own on."""
    return pd.Series(rate.to_numpy(), index=rate.index + pd.Timedelta(days=1), name=rate.name)

"""Protocols: which days of each market an agent learns from, is selected on, and is judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd

from experiments.settings.config import BY_DATES, CALENDARS, Calendar, DivisionConfig
from qn_env.arrays import DateArray, IntArray
from qn_env.checks import MOST_BARS, MOST_DAYS, MOST_YEARS, check_is, check_known, check_number, check_whole
from qn_env.dates import DateLike, as_day
from qn_env.errors import DataError
from qn_env.panel import Market, Panel
from qn_env.year import bars_in

BLOCK_DAYS = 752  # about three years, QuantNet's test block, brought to other bars
MIN_TRAIN_DAYS = 252
LARGEST_SHARE = 0.9  # of the days before a test block to select on: something is left to learn from
NEEDED_DAYS = {"train": MIN_TRAIN_DAYS, "select": 1, "test": 1}  # a market's own days in a block


@dataclass(frozen=True, eq=False)
class Lessons:
    """What is learnt from and selected on.

    Attributes:
        train: the panel up to the end of each market's training block, without reference to the rest.
        select: the panel up to the end of the selection block; days before `select_start` are history.
        select_start: first day of each market's selection block.
        train_start: first day of each market's training block; days before it are history. None: all are.
    """

    train: Panel
    select: Panel
    select_start: Mapping[str, np.datetime64]
    train_start: Mapping[str, np.datetime64] | None = None

    def afresh(self) -> Lessons:
        """As `Fold.afresh`."""
        return replace(self, train=replace(self.train), select=replace(self.select))


@dataclass(frozen=True, eq=False)
class Own:
    """What there is of a fold's markets before they are judged, where the fold learns from other ones.

    Attributes:
        cut: nothing of this day or of a later one is learnt from.
        known: the fold's markets up to the cut.
        few: their last days before it, of who learns from few; None: of nobody.
        together: all markets, the fold's among them, of who is trained on them.
        without: markets of the panel with too few days before the cut to be learnt from, and how many.
    """

    cut: np.datetime64
    known: Panel
    few: Lessons | None
    together: Lessons
    without: Mapping[str, int]

    def afresh(self) -> Own:
        """As `Fold.afresh`."""
        few = None if self.few is None else self.few.afresh()
        return replace(self, known=replace(self.known), few=few, together=self.together.afresh())


@dataclass(frozen=True, eq=False)
class Fold:
    """One division of a panel into blocks, each made of a market's own trading days.

    Attributes:
        train: the panel up to the end of each market's training block, without reference to the rest.
        select: the panel up to the end of the selection block; days before `select_start` are history.
        select_start: first day of each market's selection block.
        test: the panel up to the end of the test block.
        test_start: first day of each market's test block.
        blocks: one row per market: days and dates of its blocks, and whether they were shortened.
        name: of the window, "" where there is one only.
        own: where `train` and `select` are of other markets than `test`, what there is of the latter before.
    """

    train: Panel
    select: Panel
    select_start: Mapping[str, np.datetime64]
    test: Panel
    test_start: Mapping[str, np.datetime64]
    blocks: pd.DataFrame
    name: str = ""
    own: Own | None = None

    @property
    def lessons(self) -> Lessons:
        """What is learnt from and selected on."""
        return Lessons(self.train, self.select, self.select_start)

    def afresh(self) -> Fold:
        """The same data, of which nothing is computed yet; what is (features, say) goes with this object."""
        panels = {name: replace(getattr(self, name)) for name in ("train", "select", "test")}
        return replace(self, **panels, own=None if self.own is None else self.own.afresh())


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a panel is divided.

    Attributes:
        name: "holdout": the last 752 days of each market to test, the 752 before them to select, the rest to
            learn from. "expanding": learn from everything before a date, judge on the years after it,
            begin again with more (Lim et al. 2019). "rolling": the same, learning from the last years only.
        calendar: "market": the days of a block, or a share of them, are counted on each market's own trading
            days. "union": on the dates of the whole panel; blocks begin at the same dates in all markets.
        begin: days before it are left out, YYYY-MM-DD; None: none.
        test_from: first test day of expanding and rolling; None: `years` after the first day.
        years: calendar years of a test block.
        train_years: calendar years before a test block that rolling learns from and selects on.
        select: share of the days before a test block, the latest, that expanding and rolling select on.
        purge: trading days left out at the end of a training and of a selection block.
        embargo: trading days left out at the beginning of a selection and of a test block.
    """

    name: str = "holdout"
    calendar: Calendar = "market"
    begin: DateLike | None = None
    test_from: DateLike | None = None
    years: int = 5
    train_years: int = 10
    select: float = 0.1
    purge: int = 0
    embargo: int = 0

    def __post_init__(self) -> None:
        check_known("protocol", self.name, BY_DATES)
        check_blocks(self.calendar, self.purge, self.embargo)
        for name, day in (("begin", self.begin), ("test_from", self.test_from)):
            if day is not None:
                as_day(day, name)
        check_whole("years", self.years, 1, MOST_YEARS)
        check_whole("train_years", self.train_years, 1, MOST_YEARS)
        check_number("select", self.select, 0.0, LARGEST_SHARE, above=True, unit="a share of the days")

    @classmethod
    def of(cls, config: DivisionConfig) -> Self:
        """The protocol that a configuration asks for."""
        return cls(
            name=config.protocol,
            calendar=config.calendar,
            begin=config.begin,
            test_from=config.test_from,
            years=config.test_years,
            train_years=config.train_years,
            purge=config.purge,
            embargo=config.embargo,
        )

    def folds(self, panel: Panel) -> list[Fold]:
        """The windows, in time order.

        Raises:
            DataError: a market too short (holdout), no market long enough for any window, or no day at all.
            ConfigError: what is no panel.
        """
        check_is("panel", panel, Panel, "a Panel")
        if self.begin is not None:
            panel = panel.since(self.begin)
        if not len(panel.dates):
            raise DataError(f"the panel has no day from begin, {self.begin}, on. Begin earlier.")
        if self.name == "holdout":
            return [holdout(panel, calendar=self.calendar, purge=self.purge, embargo=self.embargo)]
        windows = self._windows(panel)
        if not windows:
            raise DataError(
                f"the first test day would be after the panel's last, {panel.dates[-1]}; expected an earlier "
                "test_from, or fewer years."
            )
        divided = [self._window(panel, a, b) for a, b in windows]
        kept = [fold for fold in divided if fold is not None]
        if not kept:
            raise DataError(
                f"no market has {MIN_TRAIN_DAYS} days to learn from before any of the test blocks; begin the "
                "test later or take a longer panel."
            )
        return kept

    def _windows(self, panel: Panel) -> list[tuple[np.datetime64, np.datetime64]]:
        """First day of each test block, and the first day after it."""
        first, last = panel.dates[0], panel.dates[-1]
        begin = years_after(first, self.years)
        if self.test_from is not None:
            begin = as_day(self.test_from, "test_from")
        windows = []
        while begin <= last:
            end = years_after(begin, self.years)
            windows.append((begin, end))
            begin = end
        return windows

    def _window(self, panel: Panel, begin: np.datetime64, end: np.datetime64) -> Fold | None:
        """The window whose test block is [begin, end), of the markets that are long enough; None of none."""
        earliest = panel.dates[0] if self.name == "expanding" else years_after(begin, -self.train_years)
        cuts = {}
        for name, market in panel.markets.items():
            dates, places = calendar_of(panel, market, self.calendar)
            a, b, c = np.searchsorted(dates, [earliest, begin, end])
            held = max(int((b - a) * self.select), 1)
            edges = np.searchsorted(places, [a, b - held, b, c])
            cut = cut_at(edges, purge=self.purge, embargo=self.embargo)
            if too_short(cut) is None:
                cuts[name] = cut
        if not cuts:
            return None
        last = min(end - np.timedelta64(1, "D"), panel.dates[-1].astype("datetime64[D]"))
        return _fold(panel.select(cuts), cuts, name=f"{str(begin)[:4]}-{str(last)[:4]}")


def holdout(
    panel: Panel,
    *,
    days: int | None = None,
    calendar: Calendar = "market",
    purge: int = 0,
    embargo: int = 0,
) -> Fold:
    """Train on all before, select on the `days` before the last `days`, test on the last `days`.

    With T trading days a market's test block is min(days, T // 4), its selection block as long; what is
    left must be at least 252 days (QuantNet's split without its leak). On the union calendar T is the number
    of the panel's dates and the blocks begin at the same dates in all markets; a market must have at least
    252 trading days of its own before them, and one in each.

    Args:
        panel: what is divided.
        days: of the test block and of the selection block; None: 752, or as many bars as last so long.
        calendar: "market" or "union", as in `Protocol`.
        purge: own trading days left out at the end of the training and of the selection block.
        embargo: own trading days left out at the beginning of the selection and of the test block.

    Raises:
        ConfigError: what is no panel, no number of days or no calendar.
        DataError: a market too short, by name.
    """
    check_is("panel", panel, Panel, "a Panel")
    if days is None:
        days = bars_in(BLOCK_DAYS, panel.bars_per_year)
    check_whole("days", days, 1, MOST_BARS)
    check_blocks(calendar, purge, embargo)
    cuts = {}
    for name, market in panel.markets.items():
        dates, places = calendar_of(panel, market, calendar)
        T = len(dates)
        block = min(days, T // 4)
        edges = np.searchsorted(places, [0, T - 2 * block, T - block, T])
        cut = cut_at(edges, purge=purge, embargo=embargo, shortened=block < days)
        if (part := too_short(cut)) is not None:
            raise DataError(
                f"market {name!r} has {len(places)} trading days, which leaves {len(getattr(cut, part))} to "
                f"{part} on; expected at least {NEEDED_DAYS[part]}. Leave it out with --exclude {name!r} "
                f"(exclude=[{name!r}] in Python)."
            )
        cuts[name] = cut
    return _fold(panel, cuts, name="")


def years_after(day: np.datetime64, years: int) -> np.datetime64:
    """The same calendar day some years later or earlier; 28 February for the 29th.

    Examples:
        >>> str(years_after(np.datetime64("2000-02-29"), 5))
        '2005-02-28'
    """
    date = day.astype("datetime64[D]").item()
    leap = date.month == 2 and date.day == 29
    return np.datetime64(date.replace(year=date.year + years, day=28 if leap else date.day), "D")


def check_blocks(calendar: str, purge: int, embargo: int) -> None:
    """Refuse what no block can be counted on, or have left out of it.

    Raises:
        ConfigError: an unknown calendar, a number of days that is none.
    """
    check_known("calendar", calendar, CALENDARS)
    check_whole("purge", purge, 0, MOST_DAYS)
    check_whole("embargo", embargo, 0, MOST_DAYS)


@dataclass(frozen=True)
class Cut:
    """Numbers of one market's own days."""

    train: range
    select: range
    test: range
    shortened: bool


def calendar_of(panel: Panel, market: Market, calendar: Calendar) -> tuple[DateArray, IntArray]:
    """The dates that days of a block are counted on, and [T_i] where the market's own days stand on them."""
    if calendar == "union":
        return panel.dates, market.rows
    return panel.dates[market.rows], np.arange(len(market.rows))


def cut_at(edges: IntArray, *, purge: int, embargo: int, shortened: bool = False) -> Cut:
    """The blocks between [4] edges: own days at which training, selection and test begin, and test ends."""
    train, select, test, end = edges.tolist()
    return Cut(
        train=range(train, select - purge),
        select=range(select + embargo, test - purge),
        test=range(test + embargo, end),
        shortened=shortened,
    )


def too_short(cut: Cut) -> str | None:
    """The first block with fewer days than are needed, if there is one."""
    return next((part for part, least in NEEDED_DAYS.items() if len(getattr(cut, part)) < least), None)


def lessons_of(panel: Panel, cuts: Mapping[str, Cut]) -> Lessons:
    """The training and the selection blocks of all markets of a panel."""

    def days(part: str, place: int) -> dict[str, np.datetime64]:
        return {name: dates[getattr(cuts[name], part)[place]] for name, dates in panel.own_dates.items()}

    return Lessons(
        panel.until(days("train", -1)).since(days("train", 0)),
        panel.until(days("select", -1)),
        days("select", 0),
    )


def _fold(panel: Panel, cuts: Mapping[str, Cut], *, name: str) -> Fold:
    own, learnt = panel.own_dates, lessons_of(panel, cuts)
    return Fold(
        learnt.train,
        learnt.select,
        learnt.select_start,
        panel.until({market: own[market][cut.test[-1]] for market, cut in cuts.items()}),
        {market: own[market][cut.test[0]] for market, cut in cuts.items()},
        pd.DataFrame(
            [
                block_row(
                    panel.markets[market],
                    train=len(cut.train),
                    select=len(cut.select),
                    test=own[market][cut.test.start : cut.test.stop],
                    shortened=cut.shortened,
                )
                for market, cut in cuts.items()
            ]
        ),
        name,
    )


def block_row(
    market: Market, *, train: int, select: int, test: DateArray, shortened: bool = False
) -> dict[str, object]:
    """A market's row of `Fold.blocks`: days to train and to select on, and the dates of its test block."""
    return {
        "market": market.name,
        "assets": len(market.assets),
        "train": train,
        "select": select,
        "test": len(test),
        "test_first": str(test[0]),
        "test_last": str(test[-1]),
        "shortened": shortened,
    }

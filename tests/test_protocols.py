"""Blocks counted on each market's own days or on the union calendar; nothing of the future in training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from experiments.running.protocols import Fold, Protocol, holdout, years_after
from experiments.settings.config import CALENDARS, Calendar
from qn_env.errors import ConfigError, DataError
from qn_env.panel import Panel
from qn_env.sources import ragged
from qn_env.sources.synthetic import weekdays


def market_of_days(counts: Mapping[str, int], *, every: Mapping[str, int] | None = None) -> Panel:
    """One asset per market; market m trades on the last `counts[m]` of the weekdays, or of every k-th."""
    step = dict.fromkeys(counts, 1) | dict(every or {})
    T = max(count * step[name] for name, count in counts.items())
    returns = np.full((T, len(counts)), np.nan)
    rng = np.random.default_rng(0)
    for j, (name, count) in enumerate(counts.items()):
        rows = np.arange(T - 1, -1, -step[name])[:count]
        returns[rows, j] = rng.standard_normal(count) * 0.01
    return Panel.build(weekdays(T), ["A"] * len(counts), list(counts), returns)


def changed_after(panel: Panel, last: Mapping[str, np.datetime64]) -> Panel:
    """Other returns on the same days after a date per market."""
    returns = panel.returns.copy()
    rng = np.random.default_rng(1)
    for name, market in panel.markets.items():
        later = (panel.dates > last[name])[:, None] & np.isfinite(panel.returns[:, market.columns])
        block = returns[:, market.columns]
        returns[:, market.columns] = np.where(later, rng.standard_normal(block.shape) * 0.05, block)
    return Panel.build(panel.dates, panel.assets, panel.market_of, returns, tradable=panel.tradable)


def own_days(panel: Panel, name: str) -> list[np.datetime64]:
    return list(panel.dates[panel.markets[name].rows])


def counts(panel: Panel, name: str, days: int, calendar: Calendar) -> tuple[int, int, int]:
    """A market's own days in each block, told by their dates."""
    own = own_days(panel, name)
    dates = own if calendar == "market" else list(panel.dates)
    block = min(days, len(dates) // 4)
    select, test = dates[-2 * block], dates[-block]
    return (
        sum(day < select for day in own),
        sum(select <= day < test for day in own),
        sum(day >= test for day in own),
    )


def folded(panel: Panel, days: int, calendar: Calendar) -> Fold:
    """The fold, for panels whose markets are long enough."""
    for name in panel.markets:
        train, select, test = counts(panel, name, days, calendar)
        assume(train >= 252 and select and test)
    return holdout(panel, days=days, calendar=calendar)


ragged_panels = st.builds(
    lambda sizes, days, seed: ragged(sizes=sizes, days=days, seed=seed),
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.integers(900, 1300),
    st.integers(0, 2**32 - 1),
)
a_few = settings(max_examples=25)
every_calendar = pytest.mark.parametrize("calendar", CALENDARS)


@every_calendar
@a_few
@given(panel=ragged_panels, days=st.sampled_from([5, 100, 752]))
def test_blocks_are_disjoint_adjacent_and_cover_the_markets_own_days(
    panel: Panel, days: int, calendar: Calendar
) -> None:
    fold = folded(panel, days, calendar)
    assert fold.blocks["market"].tolist() == list(panel.markets)
    for row in fold.blocks.to_dict("records"):
        own = own_days(panel, row["market"])
        train, select, test = row["train"], row["select"], row["test"]
        assert train + select + test == len(own)
        assert (train, select, test) == counts(panel, row["market"], days, calendar)
        counted = len(own) if calendar == "market" else len(panel.dates)
        assert row["shortened"] == (counted // 4 < days)
        assert own_days(fold.train, row["market"]) == own[:train]
        assert own_days(fold.select, row["market"]) == own[: train + select]
        assert own_days(fold.test, row["market"]) == own
        assert fold.select_start[row["market"]] == own[train]
        assert fold.test_start[row["market"]] == own[train + select]
        assert (row["test_first"], row["test_last"]) == (str(own[train + select]), str(own[-1]))


@every_calendar
@a_few
@given(panel=ragged_panels, days=st.sampled_from([5, 100, 752]))
def test_what_happens_after_a_block_cannot_change_its_panel(
    panel: Panel, days: int, calendar: Calendar
) -> None:
    fold = folded(panel, days, calendar)
    train_end = {name: own_days(fold.train, name)[-1] for name in panel.markets}
    select_end = {name: own_days(fold.select, name)[-1] for name in panel.markets}
    other = holdout(changed_after(panel, train_end), days=days, calendar=calendar)
    assert other.train.fingerprint == fold.train.fingerprint
    assert other.select.fingerprint != fold.select.fingerprint
    other = holdout(changed_after(panel, select_end), days=days, calendar=calendar)
    assert other.select.fingerprint == fold.select.fingerprint
    assert other.test.fingerprint != fold.test.fingerprint


@every_calendar
@a_few
@given(panel=ragged_panels)
def test_the_training_panel_refers_to_nothing_later_and_keeps_the_asset_axis(
    panel: Panel, calendar: Calendar
) -> None:
    fold = folded(panel, 752, calendar)
    for part in (fold.train, fold.select):
        assert (part.assets, part.market_of) == (panel.assets, panel.market_of)
        assert not np.shares_memory(part.returns, panel.returns)
        assert not np.shares_memory(part.tradable, panel.tradable)
    assert fold.train.dates[-1] == max(own_days(fold.train, name)[-1] for name in panel.markets)


@pytest.mark.parametrize("name", ["holdout", "expanding", "rolling"])
@a_few
@given(panel=ragged_panels)
def test_on_the_union_calendar_blocks_begin_at_one_date_in_all_markets(panel: Panel, name: str) -> None:
    folded(panel, 752, "union")  # panels too short are left out
    assume(len(panel.dates) > 620)
    for fold in Protocol(name=name, calendar="union", years=1, train_years=2).folds(panel):
        ends = {market: own_days(fold.train, market)[-1] for market in fold.test.markets}
        for starts, before in ((fold.select_start, ends), (fold.test_start, last_days(fold.select))):
            date = min(starts.values())  # if any date will do, this one does
            for market in fold.test.markets:
                own = own_days(panel, market)
                assert starts[market] == min(day for day in own if day >= date)
                assert before[market] == max(day for day in own if day < date)


def last_days(panel: Panel) -> dict[str, np.datetime64]:
    return {name: own_days(panel, name)[-1] for name in panel.markets}


def test_block_lengths_are_those_worked_by_hand() -> None:
    # 3500 - 2 * 752; 3008 // 4 is just 752; 3007 // 4 = 751; 502 // 4 = 125 leaves just 252.
    fold = holdout(market_of_days({"long": 3500, "just": 3008, "under": 3007, "least": 502}))
    assert fold.blocks["train"].tolist() == [1996, 1504, 1505, 252]
    assert fold.blocks["select"].tolist() == [752, 752, 751, 125]
    assert fold.blocks["test"].tolist() == [752, 752, 751, 125]
    assert fold.blocks["shortened"].tolist() == [False, False, True, True]
    assert fold.blocks["assets"].tolist() == [1, 1, 1, 1]


def test_days_are_counted_on_a_markets_own_calendar() -> None:
    # Both end on the same day; one of them trades every fifth weekday only.
    panel = market_of_days({"daily": 3200, "weekly": 640}, every={"weekly": 5})
    fold = holdout(panel)
    assert fold.blocks["test"].tolist() == [752, 160]
    last = panel.dates[-1]
    assert fold.test_start["daily"] == weekdays(3200)[-752]
    assert fold.test_start["weekly"] == weekdays(3200)[-1 - 159 * 5]
    assert own_days(panel, "weekly")[-1] == last


def test_blocks_on_the_union_calendar_are_those_worked_by_hand() -> None:
    # Of 3,500 dates the test begins at row 2,748 and the selection at row 1,996. `young` trades from row
    # 1,200 on, `weekly` on rows 4, 9, ..., 3,499: 399 of them before row 1,996 and 549 before row 2,748.
    panel = market_of_days({"daily": 3500, "young": 2300, "weekly": 700}, every={"weekly": 5})
    fold = holdout(panel, calendar="union")
    assert fold.blocks["train"].tolist() == [1996, 796, 399]
    assert fold.blocks["select"].tolist() == [752, 752, 150]
    assert fold.blocks["test"].tolist() == [752, 752, 151]
    assert not fold.blocks["shortened"].any()
    dates = weekdays(3500)
    assert list(fold.select_start.values()) == [dates[1996], dates[1996], dates[1999]]
    assert list(fold.test_start.values()) == [dates[2748], dates[2748], dates[2749]]


def test_the_selection_share_on_the_union_calendar_is_that_of_its_dates() -> None:
    # 1,305 weekdays from 2000 to 2004; the latest tenth of them, 130, begins at row 1,175 for both markets.
    # `weekly` trades on rows 4, 9, ...: 235 before row 1,175, too few, until the next window.
    panel = market_of_days({"daily": 3000, "weekly": 600}, every={"weekly": 5})
    folds = Protocol(name="expanding", calendar="union", test_from="2005-01-01", years=3).folds(panel)
    dates = weekdays(3000)
    assert list(folds[0].test.markets) == ["daily"]
    assert folds[0].select_start == {"daily": dates[1175]}
    # 781 more weekdays by the end of 2007: of 2,086 the latest 208 begin at row 1,878. `weekly` trades on row
    # 1,879, and on 375 rows before.
    assert folds[1].select_start == {"daily": dates[1878], "weekly": dates[1879]}
    assert folds[1].blocks["train"].tolist() == [1878, 375]


@pytest.mark.parametrize(
    ("days", "last", "message"),
    [
        (1755, 3499, "'other' has 1755 trading days, which leaves 251 to train on; expected at least 252"),
        (3500, 2747, "'other' has 2748 trading days, which leaves 0 to test on; expected at least 1"),
        (3500, 1995, "'other' has 1996 trading days, which leaves 0 to select on; expected at least 1"),
    ],
)
def test_a_market_that_lacks_a_block_of_the_union_calendar_is_named(
    days: int, last: int, message: str
) -> None:
    panel = market_of_days({"whole": 3500, "other": days})
    cut = panel.until({"whole": panel.dates[-1], "other": panel.dates[last]})
    with pytest.raises(DataError, match=f"market {message}.*--exclude 'other'"):
        holdout(cut, calendar="union")


def test_one_day_is_enough_to_select_or_test_on_the_union_calendar() -> None:
    panel = market_of_days({"whole": 3500, "other": 1756})
    cut = panel.until({"whole": panel.dates[-1], "other": panel.dates[2748]})
    fold = holdout(cut, calendar="union")
    assert fold.blocks.set_index("market").loc["other", ["train", "select", "test"]].tolist() == [252, 752, 1]


def test_a_market_too_short_to_train_on_is_named_with_the_way_to_leave_it_out() -> None:
    panel = market_of_days({"fine": 600, "tiny": 501})
    with pytest.raises(
        DataError,
        match=r"market 'tiny' has 501 trading days, which leaves 251 .* at least 252.*--exclude 'tiny'",
    ):
        holdout(panel)
    assert holdout(panel.select(["fine"])).blocks["train"].tolist() == [300]


def test_fewer_test_days_make_a_short_market_long_enough() -> None:
    assert holdout(market_of_days({"tiny": 501}), days=100).blocks["train"].tolist() == [301]


def test_a_date_with_years_added_stays_a_day_of_the_calendar():
    assert str(years_after(np.datetime64("1996-02-29"), 1)) == "1997-02-28"
    assert str(years_after(np.datetime64("1995-01-03"), -5)) == "1990-01-03"


def long_markets() -> Panel:
    """Two markets from 2000 on: one of 3,000 weekdays, one that begins 1,500 later."""
    return market_of_days({"old": 3000, "young": 1500})


def test_expanding_windows_learn_from_everything_before_and_cover_every_day_once():
    panel = long_markets()
    folds = Protocol(name="expanding", test_from="2005-01-01", years=3).folds(panel)
    assert [fold.name for fold in folds] == ["2005-2007", "2008-2010", "2011-2011"]
    tested = []
    for fold in folds:
        own = own_days(panel, "old")
        [row] = fold.blocks[fold.blocks["market"] == "old"].to_dict("records")
        begin = own.index(fold.test_start["old"])
        assert own_days(fold.train, "old") + own_days(fold.select, "old")[row["train"] :] == own[:begin]
        assert row["select"] == max(int(begin * 0.1), 1)
        assert fold.select_start["old"] == own[row["train"]]
        tested += own[begin : begin + row["test"]]
        assert own_days(fold.test, "old")[-1] == tested[-1]
    assert tested == [day for day in own if day >= np.datetime64("2005-01-01")]


def test_a_market_joins_when_it_has_a_year_to_learn_from():
    panel = long_markets()
    folds = Protocol(name="expanding", test_from="2005-01-01", years=1).folds(panel)
    first = {}
    for fold in folds:
        for name in fold.test.markets:
            first.setdefault(name, fold.name)
    begin = own_days(panel, "young")[0]
    # 252 days to learn from and a tenth on top to select on: a block that begins at least 280 days later.
    wanted = next(
        f"{year}-{year}"
        for year in range(2005, 2012)
        if np.busday_count(begin, np.datetime64(f"{year}-01-01")) * 0.9 >= 252
    )
    assert first == {"old": "2005-2005", "young": wanted}


def test_rolling_forgets_what_is_older_than_its_training_years():
    folds = Protocol(name="rolling", test_from="2006-01-01", years=2, train_years=3).folds(long_markets())
    for fold in folds:
        begin = fold.test_start["old"]
        assert fold.train.dates[0] >= years_after(begin, -3) - np.timedelta64(3, "D")
        assert fold.test.dates[0] < fold.train.dates[0], "a test block keeps its history"


@every_calendar
@pytest.mark.parametrize("name", ["holdout", "expanding", "rolling"])
def test_purge_and_embargo_leave_a_markets_own_days_out_between_the_blocks(name, calendar):
    panel = market_of_days({"daily": 3000, "every third": 1000}, every={"every third": 3})
    options = {"name": name, "calendar": calendar, "test_from": "2006-01-01", "years": 2, "train_years": 5}
    for plain, gapped in zip(
        Protocol(**options).folds(panel), Protocol(**options, purge=5, embargo=3).folds(panel), strict=True
    ):
        assert list(gapped.test.markets) == list(panel.markets)
        for market in panel.markets:
            own = own_days(panel, market)
            place = own.index(plain.select_start[market])
            assert own_days(gapped.train, market)[-1] == own[place - 1 - 5]
            assert gapped.select_start[market] == own[place + 3]
            place = own.index(plain.test_start[market])
            assert own_days(gapped.select, market)[-1] == own[place - 1 - 5]
            assert gapped.test_start[market] == own[place + 3]
            assert own_days(gapped.test, market)[-1] == own_days(plain.test, market)[-1]


@every_calendar
@pytest.mark.parametrize("name", ["expanding", "rolling"])
def test_nothing_from_the_selection_block_on_reaches_the_training_panel(name, calendar):
    panel = long_markets()
    protocol = Protocol(name=name, calendar=calendar, test_from="2006-01-01", years=2)
    for fold in protocol.folds(panel):
        last = dict.fromkeys(panel.markets, fold.train.dates[-1])
        others = protocol.folds(changed_after(panel, last))
        [other] = [f for f in others if f.name == fold.name]
        assert other.train.fingerprint == fold.train.fingerprint


def test_the_first_day_of_the_data_can_be_chosen():
    panel = long_markets()
    folds = Protocol(name="expanding", begin="2003-01-01", test_from="2006-01-01").folds(panel)
    assert folds[0].train.dates[0] == np.datetime64("2003-01-01")


def test_a_protocol_without_a_window_is_refused():
    with pytest.raises(DataError, match="no market has 252 days to learn from"):
        Protocol(name="expanding", test_from="2000-03-01", years=50).folds(long_markets())
    with pytest.raises(ConfigError, match="unknown protocol 'hold-out'"):
        Protocol(name="hold-out").folds(long_markets())
    with pytest.raises(ConfigError, match=r"unknown calendar 'unon'\. Did you mean 'union'"):
        Protocol(calendar="unon").folds(long_markets())

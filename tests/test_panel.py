"""The panel: what is listed, open and closed, what a cut leaves out, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qn_env.errors import ConfigError, DataError
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged, weekdays

NAN = np.nan


def build(returns, assets=None, market_of=None, **options) -> Panel:
    values = np.array(returns, dtype=float)
    assets = assets or [f"A{j}" for j in range(values.shape[1])]
    return Panel.build(weekdays(len(values)), assets, market_of or ["M"] * len(assets), values, **options)


def test_assets_of_a_market_are_brought_together_in_order_of_appearance():
    panel = build([[1e-2, 2e-2, 3e-2, 4e-2]] * 2, assets=list("abcd"), market_of=["Y", "X", "Y", "X"])
    assert panel.assets == ("a", "c", "b", "d")
    assert list(panel.markets) == ["Y", "X"]
    np.testing.assert_array_equal(panel.returns[0], [1e-2, 3e-2, 2e-2, 4e-2])
    np.testing.assert_array_equal(panel.market_index, [0, 0, 1, 1])


def test_an_asset_is_listed_from_its_first_day_to_the_market_day_after_its_last():
    # a trades on days 1 and 3 (closed on 2); b every day but 4; c keeps the market open to day 5.
    panel = build([[NAN, 0, 0], [0, 0, 0], [NAN, 0, 0], [0, 0, 0], [NAN, NAN, 0], [NAN, 0, 0]])
    np.testing.assert_array_equal(panel.listed[:, 0], [False, True, True, True, False, False])
    np.testing.assert_array_equal(panel.listed[:, 1], [True] * 6)


def test_a_delisting_is_booked_on_the_markets_own_next_day():
    # Market X is closed on day 2 while Y trades: a's exit waits for day 3.
    returns = [[0, 0, 0], [0, 0, 0], [NAN, NAN, 0], [NAN, 0, 0]]
    panel = build(returns, market_of=["X", "X", "Y"])
    np.testing.assert_array_equal(panel.listed[:, 0], [True, True, True, False])
    np.testing.assert_array_equal(panel.awake[:, 0], [True, True, False, True])


def test_where_the_market_itself_ends_nothing_is_booked():
    panel = build([[0, 0], [0, 0], [NAN, 0]], market_of=["X", "Y"])
    np.testing.assert_array_equal(panel.listed[:, 0], [True, True, True])


@given(seed=st.integers(0, 300), cut=st.floats(0.1, 1.0))
def test_a_cut_panel_knows_nothing_later_and_everything_earlier(seed, cut):
    panel = ragged(sizes=(2, 3), days=50, seed=seed)
    end = panel.dates[int(cut * (len(panel.dates) - 1))]
    short = panel.until(end)
    assert short.dates[-1] <= end
    np.testing.assert_array_equal(short.returns, panel.returns[: len(short.dates)])
    assert short.assets == panel.assets
    assert short.fingerprint == panel.with_future_scrambled(end, seed=seed).until(end).fingerprint


def test_a_panel_can_be_cut_at_another_date_for_each_market(panel):
    ends = {"M0": panel.dates[50], "M1": panel.dates[90], "M2": panel.dates[200]}
    short = panel.until(ends)
    for name, market in panel.markets.items():
        own, kept = panel.dates[market.rows], short.dates[short.markets[name].rows]
        np.testing.assert_array_equal(kept, own[own <= ends[name]])


def test_scrambling_changes_the_future_and_its_calendar_and_keeps_last_days(panel):
    other = panel.with_future_scrambled(panel.dates[150])
    assert not np.array_equal(other.returns[151:], panel.returns[151 : len(other.returns)], equal_nan=True)
    assert other.tradable.sum() < panel.tradable.sum()
    for j in range(panel.shape[1]):
        assert (
            other.dates[np.flatnonzero(other.tradable[:, j])[-1]]
            == panel.dates[np.flatnonzero(panel.tradable[:, j])[-1]]
        )


def test_selecting_a_market_keeps_its_own_days_only(panel):
    one = panel.select(["M1"])
    market = panel.markets["M1"]
    np.testing.assert_array_equal(one.dates, panel.dates[market.rows])
    np.testing.assert_array_equal(one.returns, market.compact(panel.returns))


def test_compact_and_spread_undo_each_other(panel):
    out = np.full(panel.shape, NAN)
    for market in panel.markets.values():
        market.spread(market.compact(panel.returns), out)
    np.testing.assert_array_equal(out, panel.returns)


def test_the_fingerprint_changes_with_one_bit_and_not_with_the_source(panel):
    same = Panel.build(panel.dates, panel.assets, panel.market_of, panel.returns, source="other")
    assert same.fingerprint == panel.fingerprint
    returns = panel.returns.copy()
    t, j = np.argwhere(np.isfinite(returns))[5]
    returns[t, j] = np.nextafter(returns[t, j], 1)
    assert Panel.build(panel.dates, panel.assets, panel.market_of, returns).fingerprint != panel.fingerprint


def test_arrays_are_read_only(panel):
    for array in (panel.dates, panel.returns, panel.tradable, panel.listed, panel.awake):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[0]


def test_building_does_not_freeze_or_change_the_callers_arrays():
    returns = np.zeros((3, 1))
    build(returns)
    returns[0] = 1.0


def test_dates_on_which_nothing_trades_are_left_out_with_a_note():
    panel = build([[0.0], [NAN], [0.0]])
    assert len(panel.dates) == 2
    assert "1 dates without any observation left out, from 2000-01-04" in panel.notes[0]


def test_the_table_of_markets_counts_own_days(panel):
    table = panel.table().set_index("market")
    for name, market in panel.markets.items():
        assert table.loc[name, "assets"] == len(market.assets)
        assert table.loc[name, "days"] == len(market.rows)


@pytest.mark.parametrize(
    ("returns", "message"),
    [
        ([[0.0], [np.inf]], r"column 'A0' on 2000-01-04: return is inf"),
        ([[0.0], [-1.0]], r"return is -1.0, expected a finite number above -1 \(1 such entries\)"),
        (np.zeros((0, 1)), "none of them empty"),
    ],
)
def test_impossible_returns_are_refused(returns, message):
    with pytest.raises(DataError, match=message):
        build(returns)


def test_dates_must_increase():
    days = weekdays(3)
    for order, message in (
        ([0, 1, 1], "2000-01-04 appears twice"),
        ([0, 2, 1], "2000-01-04 follows 2000-01-05"),
    ):
        with pytest.raises(DataError, match=message):
            Panel.build(days[order], ["A"], ["M"], np.zeros((3, 1)))


def test_a_name_may_not_appear_twice_in_a_market():
    with pytest.raises(DataError, match="'a' appears twice in market 'M'"):
        build(np.zeros((2, 2)), assets=["a", "a"])
    build(np.zeros((2, 2)), assets=["a", "a"], market_of=["M", "N"])


def test_a_return_on_a_closed_day_is_refused():
    with pytest.raises(DataError, match="marked as not tradable"):
        build(np.zeros((2, 1)), tradable=[[True], [False]])


def test_unknown_names_and_dates_are_refused(panel):
    with pytest.raises(ConfigError, match=r"unknown market 'M9'.*Known: M0, M1, M2"):
        panel.select(["M9"])
    with pytest.raises(ConfigError, match="'soon' is not a date"):
        panel.until("soon")
    with pytest.raises(ConfigError, match="no date for market 'M1'"):
        panel.until({"M0": "2001-01-01"})

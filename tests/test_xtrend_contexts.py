"""Context sequences of X-Trend: where histories are cut, when a sequence has ended, who may look at it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.xtrend.config import XTrendConfig
from agents.xtrend.contexts import NONE, context_sets
from agents.xtrend.cutting import ends_of, features_of, library_of
from agents.xtrend.history import DEFINED, N_INPUTS, History
from agents.xtrend.sequences import Library, first_length
from agents.xtrend.walking import OpenSequence
from agents.xtrend.windows import PADDING, Places
from qn_env.features import EwVolatility
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged, weekdays

CUTS = ("fixed", "changepoints")
# A low threshold, so that there are changes on a few hundred days of noise.
SMALL: dict[str, Any] = {"context_days": 12, "shortest": 3, "look_back": 8, "threshold": 0.05}
panels = st.builds(
    ragged, sizes=st.sampled_from([(2, 1), (1,), (1, 3)]), days=st.integers(60, 160), seed=st.integers(0, 999)
)
cuts = st.sampled_from(CUTS)


def own_days(panel: Panel, j: int) -> list[int]:
    """Rows on which an asset can be read, by a plain loop: those whose volatility is known."""
    sigma = panel.feature(EwVolatility())
    return [t for t in range(len(panel.dates)) if panel.tradable[t, j] and sigma[t, j] > 0]


def next_day(panel: Panel, t: int, j: int) -> int | None:
    """The asset's next row with a return behind t."""
    return next((s for s in range(t + 1, len(panel.dates)) if panel.tradable[s, j]), None)


def tiles(panel: Panel, longest: int) -> list[tuple[int, int, list[int]]]:
    """Asset, row of the end and rows of every sequence of fixed length, by plain loops, in order."""
    N, found = panel.shape[1], []
    for j in range(N):
        days = own_days(panel, j)
        length, begin = longest - j * longest // N, 0
        while begin + length <= len(days):
            rows = days[begin : begin + length]
            if (end := next_day(panel, rows[-1], j)) is not None:
                found.append((j, end, rows))
            begin, length = begin + length, longest
    return sorted(found, key=lambda one: (one[1], one[0], one[2]))


def told(library: Library) -> list[tuple[int, int, list[int]]]:
    """The same of a library."""
    found, row = library.sequences, library.history.row
    spans = zip(found.asset, found.ended, found.start, found.length, strict=True)
    return [(int(j), int(end), row[s : s + n].tolist()) for j, end, s, n in spans]


@settings(max_examples=15)
@given(panel=panels)
def test_a_history_holds_every_day_with_a_volatility_and_its_next_return(panel):
    history, sigma = History.of(panel), panel.feature(EwVolatility())
    T = len(panel.dates)
    inputs = panel.features(features_of(XTrendConfig()))[..., :N_INPUTS]
    for j, (begin, end) in enumerate(zip(history.first[:-1], history.first[1:], strict=True)):
        days = own_days(panel, j)
        assert history.row[begin:end].tolist() == days
        assert (history.asset[begin:end] == j).all()
        for place, t in enumerate(days, start=begin):
            after = next_day(panel, t, j)
            assert history.known[place] == (T if after is None else after)
            expected = 0.0 if after is None else panel.returns[after, j] / sigma[t, j]
            assert history.label[place] == pytest.approx(min(max(expected, -5.0), 5.0), rel=1e-6)
            np.testing.assert_array_equal(history.inputs[place], inputs[t, j].astype(np.float32))


@settings(max_examples=15)
@given(panel=panels, longest=st.integers(1, 12))
def test_fixed_sequences_are_those_of_a_plain_loop(panel, longest):
    library = library_of(panel, XTrendConfig(context_days=longest, shortest=1))
    assert told(library) == tiles(panel, longest)


def test_assets_with_one_calendar_end_their_sequences_on_different_days():
    assert [first_length(j, 5, 5) for j in range(5)] == [5, 4, 3, 2, 1]
    panel = Panel.build(
        weekdays(60), list("abc"), ["X"] * 3, np.random.default_rng(0).normal(0, 0.01, (60, 3))
    )
    ended = library_of(panel, XTrendConfig(context_days=6)).sequences.ended
    assert len(set(ended.tolist())) == len(ended) > 15


@settings(max_examples=20)
@given(panel=panels, cut=cuts, data=st.data())
def test_later_days_neither_move_nor_remove_a_sequence(panel, cut, data):
    day = data.draw(st.integers(20, len(panel.dates) - 1))
    config = XTrendConfig(contexts=cut, **SMALL)
    whole, part = (told(library_of(one, config)) for one in (panel, panel.until(panel.dates[day])))
    assert part == [one for one in whole if one[1] <= day]


@settings(max_examples=20)
@given(panel=panels, cut=cuts)
def test_sequences_hold_days_in_order_each_once_and_their_next_returns_before_they_end(panel, cut):
    library = library_of(panel, XTrendConfig(contexts=cut, **SMALL))
    seen: set[tuple[int, int]] = set()
    for j, end, rows in told(library):
        days = own_days(panel, j)
        assert 1 <= len(rows) <= 12
        assert rows == days[days.index(rows[0]) :][: len(rows)], "without a gap"
        after = next_day(panel, rows[-1], j)
        assert after is not None
        assert after <= end
        assert not seen & {(j, t) for t in rows}
        seen |= {(j, t) for t in rows}
        if cut == "changepoints":
            assert len(rows) >= 3
    assert (np.diff(library.sequences.ended) >= 0).all()


@settings(max_examples=20)
@given(panel=panels, cut=cuts)
def test_cut_day_by_day_histories_have_the_same_sequences(panel, cut):
    config = XTrendConfig(contexts=cut, **SMALL)
    N = panel.shape[1]
    features = panel.features(features_of(config))
    opened = [OpenSequence(ends_of(config, j, N)) for j in range(N)]
    found = []
    for t, tradable in enumerate(panel.tradable):
        for j in np.flatnonzero(tradable):
            opened[j].earn(panel.returns[t, j])
            if features[t, j, DEFINED] > 0:
                opened[j].read(features[t, j])
        found += [(j, t, *one) for j, its in enumerate(opened) for one in its.ended()]
    library = library_of(panel, config)
    read = library.read(np.arange(len(library.sequences)))
    assert [(j, t) for j, t, _, _ in found] == [(j, end) for j, end, _ in told(library)]
    for p, (_, _, inputs, labels) in enumerate(found):
        n = int(read.length[p])
        np.testing.assert_array_equal(read.inputs[p, :n].numpy(), np.float32(inputs))
        np.testing.assert_array_equal(read.labels[p, :n].numpy(), np.float32(labels))
        assert not read.inputs[p, n:].any()
        assert not read.labels[p, n:].any()


def test_a_planted_change_of_volatility_ends_a_sequence():
    """From row 100 on returns are ten times as large; of noise in between there is no cut so sure."""
    returns = np.random.default_rng(1).normal(0.0, 0.01, (180, 1))
    returns[100:] *= 10.0
    panel = Panel.build(weekdays(180), ["a"], ["X"], returns)
    config = XTrendConfig(contexts="changepoints", context_days=63, look_back=21, threshold=0.9, shortest=5)
    begins = [rows[0] for _, _, rows in told(library_of(panel, config))]
    assert any(abs(begin - 100) <= 3 for begin in begins), begins


# Who may look at what.


ended_rows = st.lists(st.integers(-3, 60), max_size=40).map(sorted)
asked = st.tuples(st.integers(1, 6), st.integers(0, 5), st.integers(1, 9))


@given(ended=ended_rows, sizes=asked)
def test_a_set_holds_the_latest_sequences_that_ended_before_its_row_and_some_from_before_these(ended, sizes):
    recent, earlier, renew = sizes
    sets = context_sets(
        np.array(ended, dtype=np.intp), np.arange(60), recent=recent, earlier=earlier, renew=renew
    )
    assert sets.shape == (60, recent + earlier)
    for t, numbers in enumerate(sets.tolist()):
        usable = [p for p, end in enumerate(ended) if end < t]
        latest = (usable[::-1] + [NONE] * recent)[:recent]
        assert numbers[:recent] == latest
        begun = t // renew * renew
        older = [p for p, end in enumerate(ended) if end < begun][:-recent]
        drawn = [p for p in numbers[recent:] if p != NONE]
        assert len(set(drawn)) == len(drawn) == min(earlier, len(older))
        assert set(drawn) <= set(older) - set(latest)
        assert numbers[recent:] == sets[begun, recent:].tolist(), "drawn once for a block of days"


@given(ended=ended_rows, sizes=asked, row=st.integers(0, 59))
def test_a_set_does_not_depend_on_what_ends_later_nor_on_the_other_rows(ended, sizes, row):
    options = dict(zip(("recent", "earlier", "renew"), sizes, strict=True))
    whole = context_sets(np.array(ended, dtype=np.intp), np.arange(60), **options)
    before = np.array([end for end in ended if end < row], dtype=np.intp)
    np.testing.assert_array_equal(context_sets(before, np.array([row]), **options)[0], whole[row])


def test_earlier_sequences_are_drawn_from_all_of_them_alike():
    """Of 20 sequences behind 5 recent ones, 4 in every block: each in a fifth of 500 blocks, nearly."""
    ended = np.full(25, -1)
    sets = context_sets(ended, np.arange(500), recent=5, earlier=4, renew=1)[:, 5:]
    share = np.bincount(sets.ravel(), minlength=20) / 500
    np.testing.assert_allclose(share, 0.2, atol=4 * (0.2 * 0.8 / 500) ** 0.5)


@given(
    row=st.lists(st.lists(st.integers(-1, 8), min_size=3, max_size=3), min_size=1, max_size=6).map(np.array)
)
def test_days_are_laid_out_by_their_row_and_found_again(row):
    places = Places.of(row)
    flat = row.ravel()
    assert places.row.tolist() == sorted(set(flat[flat != PADDING].tolist()))
    for u, days in enumerate(places.table.tolist()):
        there = [day for day in days if day < len(flat)]
        assert sorted(there) == np.flatnonzero(flat == places.row[u]).tolist()
    laid = places.table.ravel()
    for day, slot in enumerate(places.slot.ravel().tolist()):
        assert (slot == places.table.size) if flat[day] == PADDING else (laid[slot] == day)

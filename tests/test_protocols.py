"""The holdout protocol: blocks counted on each market's own days, and nothing of the future in training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from experiments.protocols import Fold, holdout
from qn_env.errors import DataError
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


def folded(panel: Panel, days: int) -> Fold:
    """The fold, for panels whose markets are long enough."""
    lengths = [len(market.rows) for market in panel.markets.values()]
    assume(min(T - 2 * min(days, T // 4) for T in lengths) >= 252)
    return holdout(panel, days=days)


ragged_panels = st.builds(
    lambda sizes, days, seed: ragged(sizes=sizes, days=days, seed=seed),
    st.lists(st.integers(1, 3), min_size=1, max_size=3),
    st.integers(900, 1300),
    st.integers(0, 2**32 - 1),
)
a_few = settings(max_examples=25)


@a_few
@given(ragged_panels, st.sampled_from([5, 100, 752]))
def test_blocks_are_disjoint_adjacent_and_cover_the_markets_own_days(panel: Panel, days: int) -> None:
    fold = folded(panel, days)
    assert fold.blocks["market"].tolist() == list(panel.markets)
    for row in fold.blocks.to_dict("records"):
        own = own_days(panel, row["market"])
        train, select, test = row["train"], row["select"], row["test"]
        assert train + select + test == len(own)
        assert select == test == min(days, len(own) // 4)
        assert row["shortened"] == (len(own) // 4 < days)
        assert own_days(fold.train, row["market"]) == own[:train]
        assert own_days(fold.select, row["market"]) == own[: train + select]
        assert own_days(fold.test, row["market"]) == own
        assert fold.select_start[row["market"]] == own[train]
        assert fold.test_start[row["market"]] == own[train + select]
        assert (row["test_first"], row["test_last"]) == (str(own[train + select]), str(own[-1]))


@a_few
@given(ragged_panels, st.sampled_from([5, 100, 752]))
def test_what_happens_after_a_block_cannot_change_its_panel(panel: Panel, days: int) -> None:
    fold = folded(panel, days)
    train_end = {name: own_days(fold.train, name)[-1] for name in panel.markets}
    select_end = {name: own_days(fold.select, name)[-1] for name in panel.markets}
    other = holdout(changed_after(panel, train_end), days=days)
    assert other.train.fingerprint == fold.train.fingerprint
    assert other.select.fingerprint != fold.select.fingerprint
    other = holdout(changed_after(panel, select_end), days=days)
    assert other.select.fingerprint == fold.select.fingerprint
    assert other.test.fingerprint != fold.test.fingerprint


@a_few
@given(ragged_panels)
def test_the_training_panel_refers_to_nothing_later_and_keeps_the_asset_axis(panel: Panel) -> None:
    fold = folded(panel, 752)
    for part in (fold.train, fold.select):
        assert (part.assets, part.market_of) == (panel.assets, panel.market_of)
        assert not np.shares_memory(part.returns, panel.returns)
        assert not np.shares_memory(part.tradable, panel.tradable)
    assert fold.train.dates[-1] == max(own_days(fold.train, name)[-1] for name in panel.markets)


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

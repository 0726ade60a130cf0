"""Combinatorial purged cross-validation: groups, gaps and paths by hand; nothing of a gap is learnt."""

from __future__ import annotations

from itertools import combinations
from math import comb
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.running.combinatorial import Combinatorial, CrossValidation, with_gaps
from experiments.running.units import Variant
from qn_env.arrays import FloatArray
from qn_env.errors import ConfigError, DataError
from qn_env.objectives import sharpe
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged, weekdays

NAN = np.nan


def one_asset(returns: FloatArray) -> Panel:
    return Panel.build(weekdays(len(returns)), ["A"], ["M"], returns[:, None])


def test_four_groups_two_tested_by_hand() -> None:
    """Six splits: 01, 02, 03, 12, 13, 23. Group 0 is tested in the first three, group 1 in 01, 12, 13, ..."""
    division = Combinatorial(groups=4, tested=2, purge=1, embargo=1)
    assert division.paths.tolist() == [[0, 0, 1, 2], [1, 3, 3, 4], [2, 4, 5, 5]]
    learnt = [rows.tolist() for rows, _ in division.rows(22)]  # groups of 5, 5, 5 and 7 dates
    assert learnt == [
        [12, 13, 14, 15, 16, 17, 18, 19, 20, 21],  # 0 and 1 tested: 10 is purged, 11 embargoed
        [7, 8, 17, 18, 19, 20, 21],  # 0 and 2: 5, 6 behind the first; 9 before, 15, 16 behind the second
        [7, 8, 9, 10, 11, 12, 13],
        [0, 1, 2, 3, 17, 18, 19, 20, 21],
        [0, 1, 2, 3, 12, 13],
        [0, 1, 2, 3, 4, 5, 6, 7, 8],
    ]
    tested = [[group.tolist() for group in groups] for _, groups in division.rows(22)]
    assert tested[1] == [[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]]
    assert tested[5] == [[10, 11, 12, 13, 14], [15, 16, 17, 18, 19, 20, 21]]


@given(st.integers(3, 8), st.data())
@settings(max_examples=30)
def test_a_path_has_every_group_once_and_a_tested_group_is_on_one_path(groups: int, data) -> None:
    tested = data.draw(st.integers(2, groups - 1))
    division = Combinatorial(groups=groups, tested=tested)
    chosen = list(combinations(range(groups), tested))
    assert division.paths.shape == (comb(groups - 1, tested - 1), groups)
    pairs = [(split, group) for path in division.paths.tolist() for group, split in enumerate(path)]
    assert sorted(pairs) == sorted((n, g) for n, of in enumerate(chosen) for g in of)


def test_the_first_return_behind_a_gap_is_taken_out_by_hand() -> None:
    a = [NAN, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    b = [NAN, NAN, NAN, NAN, NAN, 0.05, 0.06, 0.07]  # its first price lies in the gap
    c = [NAN, 0.01, 0.02, 0.03, 0.04, NAN, 0.06, 0.07]  # it is closed on the first day behind the gap
    d = [NAN, 0.01, NAN, NAN, NAN, NAN, NAN, NAN]  # delisted
    tradable = np.isfinite(np.column_stack([a, b, c, d]))
    tradable[0, [0, 2, 3]] = tradable[4, 1] = True
    panel = Panel.build(
        weekdays(8), list("abcd"), ["X", "X", "Y", "Y"], np.column_stack([a, b, c, d]), tradable=tradable
    )
    left = with_gaps(panel, np.array([1, 1, 0, 0, 0, 1, 1, 1], dtype=bool))
    np.testing.assert_array_equal(left.dates, panel.dates[[0, 1, 5, 6, 7]])
    np.testing.assert_array_equal(left.returns[:, 0], [NAN, 0.1, NAN, 0.6, 0.7])
    np.testing.assert_array_equal(left.returns[:, 1], [NAN, NAN, NAN, 0.06, 0.07])
    np.testing.assert_array_equal(left.returns[:, 2], [NAN, 0.01, NAN, NAN, 0.07])
    np.testing.assert_array_equal(left.returns[:, 3], [NAN, 0.01, NAN, NAN, NAN])
    np.testing.assert_array_equal(left.tradable, tradable[[0, 1, 5, 6, 7]])
    # Nothing is taken out where nothing is gone, also of a panel whose first returns are there.
    whole = one_asset(np.arange(1, 6) / 10)
    assert with_gaps(whole, np.ones(5, dtype=bool)).fingerprint == whole.fingerprint


@pytest.mark.parametrize(
    ("groups", "tested", "purge", "embargo", "number"),
    [(4, 2, 0, 0, 0), (4, 2, 1, 3, 1), (5, 3, 9, 0, 4), (6, 2, 2, 5, 14)],
)
def test_what_is_learnt_from_holds_nothing_of_the_tested_groups_nor_of_the_days_around_them(
    groups: int, tested: int, purge: int, embargo: int, number: int
) -> None:
    panel = ragged(sizes=(2, 1), days=3500, seed=number)
    division = Combinatorial(groups=groups, tested=tested, purge=purge, embargo=embargo)
    learnt, spans = division.rows(len(panel.dates))[number]
    split = division.splits(panel)[number]
    kept = np.isin(np.arange(len(panel.dates)), learnt)
    random = np.random.default_rng(0).normal(0, 0.05, panel.shape)
    other = np.where(kept[:, None] | ~np.isfinite(panel.returns), panel.returns, random)
    # Also the return of the first day behind a gap, which begins at a price in it.
    first = kept & ~np.concatenate([[True], kept[:-1]])
    other = np.where(first[:, None] & np.isfinite(other), 0.123, other)
    changed = Panel.build(panel.dates, panel.assets, panel.market_of, other, tradable=panel.tradable)
    again = division.splits(changed)[number]
    assert again.folds[0].train.fingerprint == split.folds[0].train.fingerprint
    assert again.folds[0].select.fingerprint == split.folds[0].select.fingerprint
    assert len(split.folds) == tested
    for fold, rows in zip(split.folds, spans, strict=True):
        seen = panel.select(fold.test.markets).until(panel.dates[rows[-1]])
        assert fold.test.fingerprint == seen.fingerprint
        assert not np.isin(panel.dates[rows], fold.select.dates).any()
        for row in fold.blocks.to_dict("records"):
            name = row["market"]
            train, left, own = (p.dates[p.markets[name].rows] for p in (fold.train, fold.select, fold.test))
            assert fold.test_start[name] == own[own >= panel.dates[rows[0]]][0]
            np.testing.assert_array_equal(train, left[: row["train"]])
            assert row["train"] + purge + row["select"] == len(left)
            assert row["select"] == max(int(len(left) * 0.1), 1)
            assert fold.select_start[name] == left[-row["select"]]


@pytest.fixture
def learner(monkeypatch: pytest.MonkeyPatch) -> str:
    """An agent that always holds the share of the days it learnt from on which its first asset rose."""

    class Share:
        learns = True

        def fit(self, env, *, seed, validation=None):
            self.share = float((env.panel.returns[:, 0] > 0).mean())
            return self

        def reset(self): ...

        def act(self, observation):
            return np.full(observation["returns"].shape[1], self.share)

        def signals(self, panel):
            return np.full(panel.shape, self.share)

    module = ModuleType("combinatorial_agents")
    module.Share = Share
    monkeypatch.setitem(__import__("sys").modules, "combinatorial_agents", module)
    return "combinatorial_agents:Share"


def test_paths_are_the_days_of_their_splits_by_hand(learner: str) -> None:
    """One asset, four groups: what each split's agent holds on the groups of each path, and what it costs."""
    rng = np.random.default_rng(0)
    T = 1403
    returns = rng.normal(0, 0.01, T)
    panel = one_asset(returns)
    division = Combinatorial(groups=4, tested=2, purge=3, embargo=2)
    paths = CrossValidation.of(learner, division=division, cost=10.0).run(panel)
    edges = [0, 350, 700, 1050, T]
    group = np.searchsorted(edges, np.arange(T), side="right") - 1
    held = {}
    for number, tested in enumerate(combinations(range(4), 2)):
        learnt = ~np.isin(group, tested)
        for g in tested:
            for row in range(edges[g] - 3, edges[g]):
                learnt[max(row, 0)] = False
            for row in range(edges[g + 1], edges[g + 1] + 5):
                learnt[min(row, T - 1)] = False
        learnt &= ~np.isin(group, tested)
        kept = np.flatnonzero(learnt)
        values = returns[kept]
        values[np.flatnonzero(np.diff(kept, prepend=-1) > 1)] = NAN  # first behind a gap
        train = values[: len(kept) - int(len(kept) * 0.1) - 3]
        held[number] = float((train > 0).mean())
    assert len(set(held.values())) == 6
    for path, splits in enumerate([[0, 0, 1, 2], [1, 3, 3, 4], [2, 4, 5, 5]]):
        # The position that earns day t was decided at the close before by the agent of day t's group.
        weight = np.array([held[splits[g]] for g in group[1:]])
        cost = 10e-4 * np.abs(np.diff(weight, prepend=0.0))
        net = weight * returns[1:] - cost
        found = paths.net[path]
        np.testing.assert_array_equal(found.index.to_numpy().astype("datetime64[D]"), panel.dates[1:])
        np.testing.assert_allclose(found.to_numpy(), net, rtol=0, atol=1e-15)
        assert paths.sharpe[path] == pytest.approx(float(sharpe(net)), rel=1e-12)
        late = np.concatenate([[0.0], weight[:-1]]) * returns[1:]
        late -= 10e-4 * np.abs(np.diff(np.concatenate([[0.0], weight[:-1]]), prepend=0.0))
        np.testing.assert_allclose(paths.net_late[path].to_numpy(), late, rtol=0, atol=1e-15)
    assert len(set(paths.sharpe.tolist())) == 3
    assert paths.sharpe_late.shape == (3,)


def test_a_rule_earns_the_same_on_every_path_and_layers_are_taken() -> None:
    panel = ragged(sizes=(1, 2), days=1400, seed=1)
    division = Combinatorial(groups=3, tested=2)
    paths = CrossValidation.of("macd", division=division).run(panel)
    assert paths.net.shape[1] == 2
    assert np.isfinite(paths.sharpe).all()
    np.testing.assert_array_equal(paths.net[0].to_numpy(), paths.net[1].to_numpy())
    short = Variant("dmn-linear-sharpe+band:0.1", {"epochs": 2, "patience": 2})
    learnt = CrossValidation(variant=short, division=division, cost=0.0).run(panel)
    assert len(set(learnt.sharpe.tolist())) == 2
    again = CrossValidation(variant=short, division=division, cost=0.0).run(panel)
    np.testing.assert_array_equal(learnt.net.to_numpy(), again.net.to_numpy())


def test_markets_without_a_day_in_some_group_are_left_out_and_short_ones_refused() -> None:
    T = 1400
    returns = np.random.default_rng(0).normal(0, 0.01, (T, 2))
    returns[:900, 1] = NAN
    panel = Panel.build(weekdays(T), ["A", "B"], ["old", "young"], returns)
    assert list(Combinatorial(groups=4).splits(panel)[0].folds[0].test.markets) == ["old"]
    assert CrossValidation.of("buy-and-hold", division=Combinatorial(groups=4)).run(panel).left_out == (
        "young",
    )
    with pytest.raises(DataError, match="no market has a trading day in each of the 4 groups"):
        Combinatorial(groups=4).splits(
            Panel.build(
                weekdays(T), ["A", "B"], ["a", "b"], np.where(np.eye(2)[np.arange(T) // 700] > 0, 0.01, NAN)
            )
        )
    with pytest.raises(
        DataError, match=r"market 'M' has 200 trading days outside the groups 0, 1, .* 180 to"
    ):
        Combinatorial(groups=4).splits(one_asset(np.full(400, 0.01)))
    with pytest.raises(
        DataError, match=r"100 dates make 4 groups of 25, of which purge \(20\) and embargo \(9\)"
    ):
        Combinatorial(groups=4, purge=20, embargo=9).splits(one_asset(np.full(100, 0.01)))
    with pytest.raises(ConfigError, match="panel is "):
        Combinatorial().splits([])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"groups": 2}, "groups is 2, expected at least 3"),
        ({"groups": 4, "tested": 1}, "tested is 1, expected at least 2"),
        ({"groups": 4, "tested": 4}, "tested is 4, expected at most 3"),
        ({"groups": 20, "tested": 10}, "are 184756 splits, each a training"),
        ({"select": 0.0}, "select is 0"),
        ({"purge": -1}, "purge is -1"),
        ({"embargo": 0.5}, "embargo is 0.5"),
    ],
)
def test_divisions_that_are_none_are_refused(options, told) -> None:
    with pytest.raises(ConfigError, match=told):
        Combinatorial(**options)

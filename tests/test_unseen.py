"""Markets in folds: for a fold is learnt on other markets, and on days before all that it is judged on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from test_protocols import changed_after, market_of_days, own_days

from experiments.running.groups import read_groups
from experiments.running.protocols import Fold, Lessons, Own, holdout
from experiments.running.unseen import Unseen, division_of
from experiments.settings.config import CALENDARS, RunConfig
from qn_env.errors import ConfigError, DataError
from qn_env.panel import Panel
from qn_env.sources import ragged

LEAST = 252
every_calendar = pytest.mark.parametrize("calendar", CALENDARS)


@st.composite
def ragged_panels(draw: st.DrawFn) -> Panel:
    """Markets of random sizes that trade on random days and begin and end at random dates."""
    sizes = draw(st.lists(st.integers(1, 2), min_size=3, max_size=6))
    panel = ragged(sizes=sizes, days=1500, seed=draw(st.integers(0, 2**32 - 1)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    T = len(panel.dates)
    begin = {name: panel.dates[rng.integers(0, T // 3)] for name in panel.markets}
    end = {name: panel.dates[rng.integers(T // 2, T)] for name in panel.markets}
    return panel.since(begin).until(end)


divisions = st.fixed_dictionaries(
    {
        "shots": st.sampled_from([0, 1, 40, 252]),
        "calendar": st.sampled_from(CALENDARS),
        "purge": st.sampled_from([0, 0, 4]),
        "embargo": st.sampled_from([0, 0, 3]),
    }
)
a_few = settings(max_examples=8)


def divided(panel: Panel, **options: Any) -> tuple[Unseen, list[Fold]]:
    """A division and its folds; panels that have none are left out."""
    division = Unseen(**options)
    try:
        return division, division.folds(panel)
    except (ConfigError, DataError):
        reject()


def own_of(fold: Fold) -> Own:
    assert fold.own is not None
    return fold.own


def learnt_from(lessons: Lessons) -> dict[str, list[np.datetime64]]:
    """The own days of every market that are trained or selected on."""
    found: dict[str, list[np.datetime64]] = {}
    for part, start in ((lessons.train, lessons.train_start), (lessons.select, lessons.select_start)):
        for name in part.markets:
            own = own_days(part, name)
            found[name] = [*found.get(name, []), *(d for d in own if start is None or d >= start[name])]
    return found


@a_few
@given(panel=ragged_panels(), options=divisions)
def test_nothing_is_learnt_from_a_market_of_the_fold_nor_from_a_day_that_is_not_before_all_judged_ones(
    panel: Panel, options: Mapping[str, Any]
) -> None:
    _, folds = divided(panel, **options)
    for fold in folds:
        own, first = own_of(fold), min(fold.test_start.values())
        assert not set(fold.train.markets) & set(fold.test.markets)
        assert list(fold.train.markets) == list(fold.select.markets)
        for lessons in (fold.lessons, own.together, *([] if own.few is None else [own.few])):
            assert all(panel_.dates[-1] < first for panel_ in (lessons.train, lessons.select))
        assert own.known.dates[-1] < first
        assert own.cut <= first
        assert list(own.known.markets) == list(fold.test.markets)
        assert (own.known.assets, own.known.market_of) == (fold.test.assets, fold.test.market_of)
        assert set(own.together.train.markets) - set(fold.train.markets) <= set(fold.test.markets)


@a_few
@given(panel=ragged_panels(), options=divisions)
def test_every_market_is_judged_in_one_fold_on_its_own_last_block_or_named_with_the_reason(
    panel: Panel, options: Mapping[str, Any]
) -> None:
    division, folds = divided(panel, **options)
    lost, counted = division.not_judged(panel), options["calendar"]
    judged = [name for fold in folds for name in fold.test.markets]
    assert sorted([*judged, *lost]) == sorted(panel.markets), "each once"
    sizes = [len(fold.test.markets) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    assert [own_of(fold).cut for fold in folds] == sorted(own_of(fold).cut for fold in folds)
    for fold in folds:
        for row in fold.blocks.to_dict("records"):
            own = own_days(panel, row["market"])
            dates = own if counted == "market" else list(panel.dates)
            first = dates[-min(752, len(dates) // 4)]
            expected = [day for day in own if day >= first][options["embargo"] :]
            assert own_days(fold.test, row["market"]) == own, "what it plays has all its past"
            assert fold.test_start[row["market"]] == expected[0]
            assert (row["test"], row["test_last"]) == (len(expected), str(own[-1]))
            assert sum(day < first for day in own) >= LEAST
            assert own_of(fold).cut <= first
    for name, why in lost.items():
        own = own_days(panel, name)
        dates = own if counted == "market" else list(panel.dates)
        block = min(752, len(dates) // 4)
        before = sum(day < dates[-block] for day in own) if block else 0
        assert before < LEAST or len(own) - before <= options["embargo"], why


@a_few
@given(panel=ragged_panels(), options=divisions)
def test_a_third_before_the_cut_is_selected_on_and_who_has_not_252_days_more_is_named_not_learnt_from(
    panel: Panel, options: Mapping[str, Any]
) -> None:
    _, folds = divided(panel, **options)
    purge, embargo = options["purge"], options["embargo"]
    for fold in folds:
        own, taught = own_of(fold), []
        for name in panel.markets:
            days = own_days(panel, name)
            dates = days if options["calendar"] == "market" else list(panel.dates)
            before = [day for day in dates if day < own.cut]
            held = min(752, len(before) // 3)
            select_from = before[-held] if held else own.cut
            train = [day for day in days if day < select_from]
            train = train[: max(len(train) - purge, 0)]
            select = [day for day in days if select_from <= day < own.cut][embargo:]
            select = select[: max(len(select) - purge, 0)]
            if len(train) < LEAST or not select:
                assert own.without[name] == len(train)
                continue
            taught.append(name)
            assert own_days(own.together.train, name) == train
            assert own.together.select_start[name] == select[0]
            assert own_days(own.together.select, name)[-1] == select[-1]
            if name not in fold.test.markets:
                assert own_days(fold.train, name) == train
                assert fold.select_start[name] == select[0]
                assert own_days(fold.select, name)[-1] == select[-1]
        assert taught == list(own.together.train.markets)
        assert sorted([*taught, *own.without]) == sorted(panel.markets)
        rows = fold.blocks.set_index("market")
        assert [name for name in fold.test.markets if not rows.loc[name, "train"]] == [
            name for name in fold.test.markets if name in own.without
        ]


@a_few
@given(panel=ragged_panels(), options=divisions)
def test_few_shots_are_the_last_days_of_the_folds_own_markets_before_the_cut(
    panel: Panel, options: Mapping[str, Any]
) -> None:
    _, folds = divided(panel, **options)
    shots, purge = options["shots"], options["purge"]
    for fold in folds:
        own = own_of(fold)
        if not shots:
            assert own.few is None
            continue
        assert own.few is not None
        assert set(own.few.train.markets) <= set(fold.test.markets)
        assert own.few.train_start is not None
        days = learnt_from(own.few)
        for name, found in days.items():
            before = [day for day in own_days(panel, name) if day < own.cut]
            last = before[: len(before) - purge][-shots:]
            assert found == sorted(set(found)), "no day twice"
            assert set(found) <= set(last)
            assert found[-1] == last[-1]
            if not purge and not options["embargo"]:
                assert found == last
                assert sum(day >= own.few.select_start[name] for day in found) == max(int(len(last) * 0.1), 1)


@every_calendar
def test_what_happens_from_the_cut_on_changes_nothing_that_is_learnt_from(calendar: Any) -> None:
    panel = ragged(sizes=(1, 2, 1, 1), days=1400, seed=5)
    division = Unseen(number=2, calendar=calendar)
    for fold in division.folds(panel):
        own = own_of(fold)
        last = dict.fromkeys(panel.markets, panel.dates[panel.dates < own.cut][-1])
        [other] = [f for f in division.folds(changed_after(panel, last)) if f.name == fold.name]
        assert other.test.fingerprint != fold.test.fingerprint
        again = own_of(other)
        assert again.known.fingerprint == own.known.fingerprint
        assert own.few is not None
        assert again.few is not None
        for one, two in (
            (fold.lessons, other.lessons),
            (own.few, again.few),
            (own.together, again.together),
        ):
            assert one.train.fingerprint == two.train.fingerprint
            assert one.select.fingerprint == two.select.fingerprint


def test_the_folds_depend_on_the_panel_and_not_on_the_order_of_its_markets() -> None:
    panel = ragged(sizes=(1, 2, 1, 1, 2), days=1400, seed=6)
    turned = panel.select(list(panel.markets)[::-1])
    one, two = (
        [set(fold.test.markets) for fold in Unseen(number=3).folds(given)] for given in (panel, turned)
    )
    assert one == two


def test_days_are_those_worked_by_hand() -> None:
    # Rows of 4,000 weekdays. `long` has all of them: its block is the last 752, from row 3,248 on. `also` and
    # `early` end with row 2,999: a quarter of 3,000 days, from row 2,250 on. `late` begins at row 3,700: of
    # its 300 days 75 would be judged, after 225.
    whole = market_of_days({"late": 300, "long": 4000, "early": 4000, "also": 4000})
    dates = whole.dates
    ends = {"late": 3999, "long": 3999, "early": 2999, "also": 2999}
    panel = whole.until({name: dates[row] for name, row in ends.items()})
    division = Unseen(number=2, shots=100)
    assert division.not_judged(panel) == {
        "late": "it has 225 trading days before its test block, expected at least 252"
    }
    first, second = division.folds(panel)
    assert [first.name, second.name] == ["fold1", "fold2"]
    assert first.test_start == {"early": dates[2250], "also": dates[2250]}
    assert second.test_start == {"long": dates[3248]}
    # Learnt for the first on 2,250 days of `long`: a third to select on; few shots are rows 2,150 to 2,249.
    assert own_of(first).cut == dates[2250]
    assert own_of(first).without == own_of(second).without == {"late": 0}
    assert own_days(first.train, "long") == list(dates[:1500])
    assert first.select_start == {"long": dates[1500]}
    few = own_of(first).few
    assert few is not None
    assert few.train_start == {"early": dates[2150], "also": dates[2150]}
    assert few.train.dates[-1] == dates[2239]
    assert few.select_start == {"early": dates[2240], "also": dates[2240]}
    # For the second on all 3,000 days of the other two: 752 to select on.
    assert own_of(second).cut == dates[3248]
    assert own_days(second.train, "early") == list(dates[:2248])
    assert second.select_start == {"early": dates[2248], "also": dates[2248]}
    assert own_days(own_of(second).known, "long") == list(dates[:3248])
    assert list(own_of(second).together.train.markets) == ["long", "early", "also"]
    rows = second.blocks.to_dict("records")
    assert [(row["market"], row["train"], row["select"], row["test"]) for row in rows] == [
        ("long", 2496, 752, 752)
    ]


def test_where_all_markets_end_together_what_is_trained_is_trained_as_under_holdout() -> None:
    panel = market_of_days({"a": 4000, "b": 3600, "c": 3300})
    other = holdout(panel)
    for fold in Unseen(number=3).folds(panel):
        together = own_of(fold).together
        assert together.train.fingerprint == other.train.fingerprint
        assert together.select.fingerprint == other.select.fingerprint
        assert together.select_start == other.select_start
        for name, day in fold.test_start.items():
            assert day == other.test_start[name]


def test_as_many_folds_as_markets_leave_one_market_out_each_time_and_few_markets_are_as_many_folds() -> None:
    panel = market_of_days(dict.fromkeys("abcd", 1500))
    assert [list(fold.test.markets) for fold in Unseen(number=4).folds(panel)] == [["a"], ["b"], ["c"], ["d"]]
    assert len(Unseen().folds(panel)) == 4
    assert [list(fold.test.markets) for fold in Unseen(number=3).folds(panel)] == [["a", "b"], ["c"], ["d"]]
    assert len(Unseen().folds(market_of_days(dict.fromkeys("abcdefg", 1500)))) == 5


def test_the_days_that_are_used_can_begin_later() -> None:
    panel = market_of_days(dict.fromkeys("ab", 2000))
    for fold in Unseen(number=2, begin=panel.dates[500]).folds(panel):
        assert fold.train.dates[0] == fold.test.dates[0] == panel.dates[500]
    with pytest.raises(DataError, match="no day from begin"):
        Unseen(begin="2100-01-01").folds(panel)


def test_a_market_that_is_not_judged_teaches_if_it_is_long_enough() -> None:
    # On the union calendar the test begins for all at one date, by when `ended` has ended.
    whole = market_of_days({"ended": 3000, "a": 3000, "b": 3000})
    panel = whole.until({"ended": whole.dates[2000], "a": whole.dates[-1], "b": whole.dates[-1]})
    division = Unseen(number=2, calendar="union")
    why = f"it has no trading day in its test block, from {whole.dates[2250]} on"
    assert division.not_judged(panel) == {"ended": why}
    for fold in division.folds(panel):
        assert "ended" in fold.train.markets
        assert len(fold.test.markets) == 1


def test_markets_too_short_to_be_judged_are_named_where_too_few_are_left() -> None:
    panel = market_of_days({"long": 1500, "short": 300})
    why = r"\(not short, for it has 225 trading days before its test block, expected at least 252\)"
    with pytest.raises(DataError, match=f"1 can be judged here, expected at least 2 {why}"):
        Unseen().folds(panel)


def test_a_fold_that_nobody_can_learn_for_is_refused() -> None:
    whole = market_of_days({"early": 3000, "late": 1000})
    panel = whole.until({"early": whole.dates[1500], "late": whole.dates[-1]})
    with pytest.raises(DataError, match=r"fold1 \(early\) is judged from .* no other market has 252 days"):
        Unseen(number=2).folds(panel)


@pytest.mark.parametrize(
    ("markets", "options", "message"),
    [
        (1, {}, r"1 can be judged here, expected at least 2\. Take holdout"),
        (3, {"number": 4}, "folds is 4, and 3 markets can be judged; expected 2 to 3"),
        (2, {"groups": {"a": "x"}}, "groups has no group for b; expected one for every market"),
        (2, {"groups": {"a": "x", "b": "x"}}, "groups puts all markets into 'x'; expected at least 2 groups"),
        (2, {"shots": 3, "purge": 5}, r"of which purge \(5\) and embargo \(0\) leave nothing in any market"),
    ],
)
def test_a_division_that_is_none_is_refused(markets: int, options: dict[str, Any], message: str) -> None:
    panel = market_of_days(dict.fromkeys("abc"[:markets], 1500))
    with pytest.raises((ConfigError, DataError), match=message):
        Unseen(**options).folds(panel)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"number": 1}, "folds is 1, expected at least 2"),
        ({"shots": -1}, "shots is -1, expected at least 0"),
        ({"number": 2, "groups": {"a": "x"}}, "give groups or a number of folds, not both"),
        ({"calendar": "unon"}, "unknown calendar 'unon'"),
        ({"begin": "yesterday"}, "begin"),
    ],
)
def test_a_bad_setting_is_refused_before_any_data(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Unseen(**options)


# Groups.


def test_groups_are_the_folds_in_the_order_of_their_cuts(tmp_path: Path) -> None:
    whole = market_of_days(dict.fromkeys("abcd", 3000))
    panel = whole.until({name: whole.dates[-1 if name != "d" else 2500] for name in whole.markets})
    table = pd.DataFrame({"market": list("abcd"), "group": ["rates", "a/b c", "rates", "a/b c"]})
    table.to_csv(tmp_path / "groups.csv", index=False)
    config = RunConfig(protocol="unseen", groups=str(tmp_path / "groups.csv"))
    folds = division_of(config).folds(panel)
    assert {fold.name: list(fold.test.markets) for fold in folds} == {
        "fold1-a_b_c": ["b", "d"],
        "fold2-rates": ["a", "c"],
    }


def test_groups_can_be_a_column_of_the_table_meta(tmp_path: Path) -> None:
    meta = {"instrument": ["x", "y", "z"], "market": ["a", "a", "b"], "sector": ["s", "s", "t"]}
    pd.DataFrame(meta).to_parquet(tmp_path / "Meta.parquet")
    assert read_groups("sector", tmp_path) == {"a": "s", "b": "t"}
    with pytest.raises(ConfigError, match=r"no such file, and no column of .*Did you mean 'sector'"):
        read_groups("setcor", tmp_path)
    with pytest.raises(ConfigError, match="no such file, and there is no table meta"):
        read_groups("sector", None)
    with pytest.raises(DataError, match="market 'a' is in 'x' and, in data row 2, in 'y'"):
        read_groups("instrument", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("market,class\na,x\n", "found the columns market, class; expected market and group"),
        ("market,group\na,\n", "data row 1 has market 'a' and group ''; expected a name in both"),
        ("market,group\na,x\na,y\n", "market 'a' is in 'x' and, in data row 2, in 'y'"),
    ],
)
def test_a_file_of_groups_that_names_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_groups(str(tmp_path / "groups.csv"), None)

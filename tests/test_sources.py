"""Panels from data frames and files: nothing lost or filled in silence; errors name the place."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as arrow_parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qn_env.errors import ConfigError, DataError
from qn_env.sources.files import read_panel
from qn_env.sources.frames import from_market_frames, from_prices, from_returns, join
from qn_env.sources.synthetic import TEST_DAYS, quantnet2020, quantnet2020_sizes

NAN = np.nan
REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data are not at {REAL}")


def days(count: int) -> pd.DatetimeIndex:
    return pd.date_range("2020-01-01", periods=count)


def prices_of_two() -> pd.DataFrame:
    return pd.DataFrame({"A": [100.0, NAN, 110.0, 99.0], "B": [NAN, 50.0, 25.0, NAN]}, index=days(4))


def write(frame: pd.DataFrame, path: Path) -> Path:
    """Write a frame of dates by assets, or a table without dates, by the path's suffix."""
    table = frame.rename_axis("date").reset_index() if isinstance(frame.index, pd.DatetimeIndex) else frame
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)
    return path


@pytest.fixture(params=[".csv", ".parquet"])
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    """A folder with `prices` of A (market X) and B (market Y), and `meta`."""
    write(prices_of_two(), tmp_path / "prices.csv")
    (tmp_path / "meta.csv").write_text("instrument,market\nA,X\nB,Y\n")
    return tmp_path


@pytest.fixture
def per_market(tmp_path: Path) -> Path:
    """A folder with the markets US and JP; both have an asset A."""
    write(prices_of_two(), tmp_path / "US.parquet")
    write(pd.DataFrame({"A": [1.0, 2.0]}, index=days(6)[4:]), tmp_path / "JP.csv")
    return tmp_path


# Frames


def test_a_return_runs_between_consecutive_observations_and_is_booked_on_the_later_day() -> None:
    panel = from_prices(prices_of_two(), {"A": "X", "B": "Y"})
    np.testing.assert_allclose(panel.returns, [[NAN, NAN], [NAN, NAN], [0.1, -0.5], [-0.1, NAN]], rtol=1e-14)
    np.testing.assert_array_equal(panel.tradable, [[True, False], [False, True], [True, True], [True, False]])
    assert (panel.assets, panel.market_of, panel.notes) == (("A", "B"), ("X", "Y"), ())


def test_an_asset_is_tradable_where_it_has_a_return() -> None:
    panel = from_returns(pd.DataFrame({"A": [0.01, NAN, 0.0], "B": [NAN, 0.02, 0.0]}, index=days(3)), "X")
    np.testing.assert_array_equal(panel.tradable, np.isfinite(panel.returns))
    np.testing.assert_array_equal(panel.returns, [[0.01, NAN], [NAN, 0.02], [0.0, 0.0]])


def test_float32_is_widened_before_the_division() -> None:
    prices = np.array([0.1, 0.3], dtype=np.float32)
    panel = from_prices(pd.DataFrame({"A": prices}, index=days(2)), "X")
    assert panel.returns[1, 0] == float(prices[1]) / float(prices[0]) - 1.0


def test_integers_nullable_numbers_and_numeric_text_are_numbers() -> None:
    columns = {"int": [1, 2], "null": pd.array([1, None], dtype="Int64"), "text": ["1", "2"]}
    panel = from_prices(pd.DataFrame(columns, index=days(2)), "X")
    np.testing.assert_array_equal(panel.returns[1], [1.0, NAN, 1.0])


def test_a_date_without_any_observation_is_left_out_with_a_note() -> None:
    panel = from_prices(pd.DataFrame({"A": [1.0, NAN, 2.0]}, index=days(3)), "X", source="mine", notes=("n",))
    assert [str(day) for day in panel.dates] == ["2020-01-01", "2020-01-03"]
    assert panel.notes[0] == "n"
    assert "mine: 1 dates without any observation left out, from 2020-01-02" in panel.notes[1]


def test_assets_with_a_market_but_no_data_are_noted() -> None:
    panel = from_prices(prices_of_two(), {"A": "X", "B": "X", "C": "X"})
    assert panel.notes == ("prices: 1 assets have a market but no data: C.",)


def test_the_input_frame_is_left_as_it_was() -> None:
    frame = prices_of_two()
    from_prices(frame, "X")
    pd.testing.assert_frame_equal(frame, prices_of_two())


def test_markets_keep_their_own_calendar_and_may_share_asset_names() -> None:
    frames = {
        "US": pd.DataFrame({"A": [1.0, 2.0]}, index=days(2)),
        "JP": pd.DataFrame({"A": [4.0, 3.0]}, index=days(3)[1:]),
    }
    panel = from_market_frames(frames)
    np.testing.assert_array_equal(panel.returns, [[NAN, NAN], [1.0, NAN], [NAN, -0.25]])
    np.testing.assert_array_equal(panel.tradable, [[True, False], [True, True], [False, True]])
    assert (panel.assets, panel.market_of) == (("A", "A"), ("US", "JP"))


def test_an_error_in_a_market_frame_names_the_market() -> None:
    with pytest.raises(DataError, match=r"frames: market 'US': column 'A' on 2020-01-02: price is 0\.0"):
        from_market_frames({"US": pd.DataFrame({"A": [1.0, 0.0]}, index=days(2))})


def test_joining_nothing_or_an_asset_twice_in_a_market_is_refused() -> None:
    panel = from_prices(prices_of_two(), "X")
    with pytest.raises(DataError, match="no market; expected at least one"):
        join([])
    with pytest.raises(DataError, match="asset 'A' appears twice in market 'X'"):
        join([panel, panel])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (
            0.0,
            r"column 'A' on 2020-01-02: price is 0\.0, expected a positive finite number \(1 such entries\)",
        ),
        (np.inf, r"column 'A' on 2020-01-02: price is inf, expected a positive finite number"),
        (-0.01, r"price is -0\.01.*kind=\"returns\" \(on the command line --kind returns\)"),
    ],
)
def test_a_price_that_is_not_positive_and_finite_is_refused(bad: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_prices(pd.DataFrame({"A": [1.0, bad, 2.0]}, index=days(3)), "X")


def test_only_negative_prices_suggest_returns() -> None:
    with pytest.raises(DataError) as caught:
        from_prices(pd.DataFrame({"A": [1.0, 0.0]}, index=days(2)), "X")
    assert "--kind" not in str(caught.value)
    with pytest.raises(DataError, match=r"price is 0\.0.*\(2 such entries\).*--kind returns"):
        from_prices(pd.DataFrame({"A": [1.0, 0.0, -0.1]}, index=days(3)), "X")


def test_prices_so_far_apart_that_the_return_overflows_are_refused() -> None:
    with pytest.raises(DataError, match="column 'A' on 2020-01-02: return is inf"):
        from_prices(pd.DataFrame({"A": [1e-300, 1e300]}, index=days(2)), "X")


@pytest.mark.parametrize("bad", [np.inf, -np.inf, -1.0, -2.5])
def test_a_return_that_is_infinite_or_not_above_minus_one_is_refused(bad: float) -> None:
    message = rf"returns: column 'A' on 2020-01-02: return is {bad}, .*above -1 \(1 such entries\)"
    with pytest.raises(DataError, match=message):
        from_returns(pd.DataFrame({"A": [0.0, bad]}, index=days(2)), "X")


@pytest.mark.parametrize("text", ["n.a.", "1,5", "", "12 USD"])
def test_text_among_numbers_is_refused_with_its_column_date_and_wording(text: str) -> None:
    message = rf"column 'B' on 2020-01-02: found the text '{text}', expected a number \(2 such entries\)"
    with pytest.raises(DataError, match=message):
        from_prices(pd.DataFrame({"A": [1.0] * 3, "B": ["1.5", text, text]}, index=days(3)), "X")


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([True, False], "bool"), ([1j, 2j], "complex128"), (days(2).to_numpy(), "datetime64")],
)
def test_a_column_of_another_type_is_refused(values: Sequence[object], dtype: str) -> None:
    with pytest.raises(DataError, match=f"column 'A' holds {dtype}.*, expected numbers"):
        from_prices(pd.DataFrame({"A": values}, index=days(2)), "X")


def test_an_asset_without_any_observation_is_refused() -> None:
    with pytest.raises(DataError, match=r"column 'B' has no observation \(1 such columns: B\).*Remove"):
        from_prices(pd.DataFrame({"A": [1.0, 2.0], "B": [NAN, NAN]}, index=days(2)), "X")


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (["2020-01-02", "2020-01-02"], "date 2020-01-02 appears twice"),
        (["2020-01-03", "2020-01-02"], "date 2020-01-02 follows 2020-01-03.*Sort"),
        (["03/04/2020", "04/04/2020"], r"data row 1 is '03/04/2020', .*YYYY-MM-DD.*\(2 such rows\)"),
        (["2020-01-02", "2020-02-30"], r"data row 2 is '2020-02-30', .*\(1 such rows\)"),
        (["2020-01-02", None], "data row 2 is '(None|nan)'"),
        (
            ["2020-01-02 00:00:00+01:00", "2020-01-03"],
            "data row 1 is .*zone behind all of them",
        ),
        ([20200102, 20200103], "data row 1 is '20200102'"),
        ([0, 1], "data row 1 is '0'"),
        (pd.DatetimeIndex(["2020-01-02", None]), "data row 2 is 'NaT'"),
        (["0202-01-02", "2020-01-03"], "data row 1 is '0202-01-02', .* from 1678-01-01"),
        (pd.DatetimeIndex(["0202-01-02", "2020-01-03"], dtype="datetime64[s]"), "data row 1 is '0202-01-02"),
        ([pd.Timestamp("2020-01-02"), pd.Timestamp("2020-01-03", tz="UTC")], "data row 2 is .*time zone"),
        (
            ["2020-01-02 10:00", "2020-01-02 16:00"],
            r"several times on 2020-01-02 \(1 such rows.*one row per day",
        ),
    ],
)
def test_dates_that_are_no_increasing_days_are_refused(dates: Sequence[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_prices(pd.DataFrame({"A": [1.0, 2.0]}, index=pd.Index(dates)), "X")


@pytest.mark.parametrize(
    "dates",
    [
        ["2020-01-01", "2020-01-02"],
        [pd.Timestamp("2020-01-01").date(), pd.Timestamp("2020-01-02").date()],
        days(2),
        days(2).to_period("D"),
    ],
)
def test_days_may_be_text_dates_stamps_or_periods(dates: Sequence[object]) -> None:
    panel = from_prices(pd.DataFrame({"A": [1.0, 2.0]}, index=pd.Index(dates)), "X")
    assert [str(day) for day in panel.dates] == ["2020-01-01", "2020-01-02"]
    assert panel.notes == ()


def test_times_of_day_are_cut_off_with_a_note() -> None:
    closes = pd.DatetimeIndex(["1969-12-30 23:00", "1969-12-31 23:00:00.5"])
    panel = from_prices(pd.DataFrame({"A": [1.0, 2.0]}, index=closes), "X")
    assert [str(day) for day in panel.dates] == ["1969-12-30", "1969-12-31"]
    assert panel.notes == ("prices: times of day cut off in 2 rows, the first at 1969-12-30 23:00:00.",)


def test_a_column_name_used_twice_is_refused() -> None:
    with pytest.raises(DataError, match=r"column 'A' appears 2 times \(1 such names\)"):
        from_prices(pd.DataFrame([[1.0, 2.0]], index=days(1), columns=["A", "A"]), "X")


def test_a_column_without_a_market_is_refused() -> None:
    with pytest.raises(DataError, match=r"column 'B' has no market \(1 such columns: B\).*market_of"):
        from_prices(prices_of_two(), {"A": "X"})


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        from_prices(pd.DataFrame({"A": []}), "X")
    with pytest.raises(DataError, match="no asset columns"):
        from_prices(pd.DataFrame(index=days(2)), "X")


@st.composite
def price_frames(draw: st.DrawFn, *, low: float, high: float) -> pd.DataFrame:
    """[T, N] prices with holes; every asset has one at least."""
    T, N = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    price = st.one_of(st.just(NAN), st.floats(low, high))
    values = np.array(draw(st.lists(price, min_size=T * N, max_size=T * N))).reshape(T, N)
    values[draw(st.integers(0, T - 1))] = low
    return pd.DataFrame(values, index=days(T), columns=[f"a{j}" for j in range(N)])


@settings(deadline=None)
@given(price_frames(low=1.0, high=100.0))  # 1 + return loses a digit with every tenfold fall
def test_returns_cumulate_back_to_the_prices(frame: pd.DataFrame) -> None:
    panel = from_prices(frame, "X")
    kept = frame.to_numpy()[frame.notna().any(axis=1)]
    first = frame.bfill().iloc[0].to_numpy()
    rebuilt = first * np.cumprod(1.0 + np.nan_to_num(panel.returns), axis=0)
    np.testing.assert_array_equal(panel.tradable, ~np.isnan(kept))
    np.testing.assert_allclose(rebuilt[panel.tradable], kept[panel.tradable], rtol=1e-9)


@settings(deadline=None, max_examples=30)
@given(price_frames(low=1e-6, high=1e9), st.sampled_from([".csv", ".parquet"]))
def test_a_file_gives_the_panel_of_its_frame_to_the_last_bit(frame: pd.DataFrame, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(frame, Path(folder) / f"X{suffix}")
        assert read_panel(folder).fingerprint == from_prices(frame, "X").fingerprint


# Files


def test_one_file_takes_its_markets_from_meta(one_file: Path) -> None:
    panel = read_panel(one_file)
    assert panel.fingerprint == from_prices(prices_of_two(), {"A": "X", "B": "Y"}).fingerprint
    assert panel.notes == ()


def test_one_file_per_market_is_named_after_it(per_market: Path) -> None:
    panel = read_panel(str(per_market))
    frames = {"JP": pd.DataFrame({"A": [1.0, 2.0]}, index=days(6)[4:]), "US": prices_of_two()}
    assert panel.fingerprint == from_market_frames(frames).fingerprint
    assert list(panel.markets) == ["JP", "US"]
    assert panel.notes == ()


def test_meta_may_be_parquet_and_call_its_instruments_assets(one_file: Path) -> None:
    expected = read_panel(one_file).fingerprint
    (one_file / "meta.csv").unlink()
    meta = pd.DataFrame({"market": ["Y", "X"], "asset": ["B", "A"], "other": [1, 2]})
    meta.to_parquet(one_file / "meta.parquet")
    assert read_panel(one_file).fingerprint == expected


def test_a_market_called_na_is_a_name_and_numeric_tickers_are_text(tmp_path: Path) -> None:
    (tmp_path / "returns.csv").write_text("date,0700,NA\n2020-01-02,0.1,0.2\n")
    (tmp_path / "meta.csv").write_text("instrument,market\n0700,NA\nNA,null\n")
    panel = read_panel(tmp_path)
    assert (panel.assets, panel.market_of) == (("0700", "NA"), ("NA", "null"))


def test_words_for_missing_numbers_count_as_missing_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "X.csv"
    path.write_text("date,A,B\n2020-01-02,1,NA\n2020-01-03,null,2\n2020-01-06,2,#N/A\n2020-01-07,NAN,4\n")
    panel = read_panel(tmp_path)
    np.testing.assert_array_equal(
        panel.tradable, [[True, False], [False, True], [True, False], [False, True]]
    )
    np.testing.assert_array_equal(panel.returns[2:], [[1.0, NAN], [NAN, 1.0]])
    note = f"{path}: 4 cells hold a word for missing (#N/A, NA, NAN, null): counted as missing."
    assert panel.notes == (note,)


def test_an_empty_cell_needs_no_note(tmp_path: Path) -> None:
    (tmp_path / "X.csv").write_text('date,A,B\n2020-01-02,1,\n2020-01-03,"",2\n')
    assert read_panel(tmp_path).notes == ()


def test_a_word_for_missing_among_other_text_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "X.csv").write_text("date,A\n2020-01-02,NA\n2020-01-03,none\n2020-01-06,1\n")
    with pytest.raises(DataError, match=r"column 'A' on 2020-01-03: found the text 'none'.*1 such entries"):
        read_panel(tmp_path)


@pytest.mark.parametrize("name", ["NA", "null", "nan", "1e5", "True", "#N/A", "NaT"])
def test_a_header_an_instrument_and_a_market_keep_their_names(name: str, tmp_path: Path) -> None:
    (tmp_path / "prices.csv").write_text(f"date,{name}\n2020-01-02,1\n2020-01-03,2\n")
    (tmp_path / "meta.csv").write_text(f"instrument,market\n{name},{name}\n")
    panel = read_panel(tmp_path)
    assert (panel.assets, panel.market_of) == ((name,), (name,))
    other = from_prices(pd.DataFrame({name: [1.0, 2.0]}, index=["2020-01-02", "2020-01-03"]), {name: name})
    assert other.fingerprint == panel.fingerprint


def test_true_among_numbers_is_not_one() -> None:
    with pytest.raises(DataError, match="column 'A' holds object, expected numbers"):
        from_prices(pd.DataFrame({"A": pd.Series([1.0, True], dtype=object)}).set_axis(days(2)), "X")


def test_a_parquet_file_may_keep_its_dates_in_the_index(tmp_path: Path) -> None:
    prices_of_two().rename_axis("date").to_parquet(tmp_path / "X.parquet")
    assert read_panel(tmp_path).fingerprint == from_prices(prices_of_two(), "X").fingerprint


def test_a_csv_from_a_spreadsheet_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "X.csv").write_bytes(b"\xef\xbb\xbfdate,A\r\n2020-01-02,1\r\n2020-01-03,2.5\r\n")
    np.testing.assert_array_equal(read_panel(tmp_path).returns, [[NAN], [1.5]])


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    folder = tmp_path / "region=1"
    folder.mkdir()
    write(prices_of_two(), folder / "X.parquet")
    assert read_panel(folder).assets == ("A", "B")


def test_returns_win_over_prices_with_a_note_unless_prices_are_asked_for(one_file: Path) -> None:
    write(pd.DataFrame({"A": [0.5], "B": [0.25]}, index=days(1)), one_file / "returns.csv")
    by_default, asked = read_panel(one_file), read_panel(one_file, kind="prices")
    np.testing.assert_array_equal(by_default.returns, [[0.5, 0.25]])
    assert by_default.notes == (f"{one_file}: holds returns and prices; the returns were read.",)
    assert asked.shape == (4, 2)
    assert asked.notes == (f"{one_file}: holds returns and prices; the prices were read.",)


def test_a_kind_that_contradicts_the_name_of_the_file_is_refused(one_file: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"prices\.csv: is named 'prices', but kind='returns' was asked for"
    ):
        read_panel(one_file, kind="returns")


def test_files_named_after_markets_hold_prices_unless_told_otherwise(tmp_path: Path) -> None:
    write(pd.DataFrame({"A": [0.01, -0.01]}, index=days(2)), tmp_path / "X.csv")
    with pytest.raises(DataError, match=r"X\.csv: column 'A' on 2020-01-02: price is -0\.01.*--kind returns"):
        read_panel(tmp_path)
    np.testing.assert_array_equal(read_panel(tmp_path, kind="returns").returns, [[0.01], [-0.01]])


def test_an_unknown_kind_is_refused_with_the_nearest_one(one_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown kind 'price'\. Did you mean 'prices'"):
        read_panel(one_file, kind="price")  # type: ignore[arg-type]


def test_excluded_markets_are_left_out_with_a_note(one_file: Path) -> None:
    panel = read_panel(one_file, exclude=["Y"])
    assert panel.fingerprint == from_prices(prices_of_two()[["A"]], "X").fingerprint
    assert panel.notes[0] == f"{one_file}: markets left out on request: Y."


def test_an_excluded_market_file_is_not_even_read(per_market: Path) -> None:
    (per_market / "JP.csv").write_text("broken")
    panel = read_panel(per_market, exclude=["JP"])
    assert list(panel.markets) == ["US"]
    assert panel.notes == (f"{per_market}: markets left out on request: JP.",)


@pytest.mark.parametrize("layout", ["one_file", "per_market"])
def test_excluding_an_unknown_market_or_all_is_refused(layout: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(layout)
    names = ["X", "Y"] if layout == "one_file" else ["US", "JP"]
    with pytest.raises(ConfigError, match=rf"unknown market '{names[0]}x'. Did you mean '{names[0]}'"):
        read_panel(folder, exclude=[names[0] + "x"])
    with pytest.raises(ConfigError, match="all 2 markets are excluded"):
        read_panel(folder, exclude=names)


def test_meta_rows_without_data_and_unread_files_are_noted(one_file: Path) -> None:
    (one_file / "meta.csv").write_text("instrument,market\nA,X\nB,Y\nC,X\n")
    (one_file / "README.md").write_text("words")
    (one_file / "volume.csv").write_text("date,A\n")
    (one_file / ".hidden").write_text("")
    assert read_panel(one_file).notes == (
        f"{one_file}: files not read: volume.csv, README.md.",
        f"{one_file / 'prices.csv'}: 1 assets have a market but no data: C.",
    )


@pytest.mark.parametrize("layout", ["one_file", "per_market"])
def test_lines_of_notes_txt_are_notes_of_the_panel(layout: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(layout)
    (folder / "notes.txt").write_bytes("\ufeffFrom the exchange.\r\n\n Prices in \u20ac. \n".encode())
    assert read_panel(folder).notes == ("From the exchange.", "Prices in \u20ac.")
    (folder / "notes.txt").write_bytes("Prices in \u20ac.".encode("cp1252"))
    with pytest.raises(DataError, match=r"notes.txt: is not text in UTF-8"):
        read_panel(folder)


def test_meta_and_markets_are_no_market_files(per_market: Path) -> None:
    for name in ("meta", "markets"):
        (per_market / f"{name}.csv").write_text("market,words\nUS,of no use here\n")
    assert sorted(read_panel(per_market).markets) == ["JP", "US"]


def test_a_missing_folder_a_file_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        read_panel(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no data file; found nothing, expected"):
        read_panel(tmp_path)
    (tmp_path / "meta.csv").write_text("instrument,market\n")
    with pytest.raises(DataError, match=r"no data file; found meta\.csv, expected"):
        read_panel(tmp_path)
    with pytest.raises(ConfigError, match=r"meta\.csv: is a file, expected a folder"):
        read_panel(tmp_path / "meta.csv")


def test_two_files_of_one_name_are_refused(per_market: Path) -> None:
    write(prices_of_two(), per_market / "US.csv")
    with pytest.raises(DataError, match=r"US\.parquet: US\.csv is there too.*Remove one"):
        read_panel(per_market)


BROKEN_CSV = {
    "": r"is empty \(0 bytes\)",
    "\n": "cannot be read as csv",
    "date,A\n": "no rows",
    "date\n2020-01-02\n": "no asset columns",
    "day,A\n2020-01-02,1\n": "the first column is 'day', expected 'date'",
    "date;A\n2020-01-02;1\n": "the first column is 'date;A', expected 'date'.*commas",
    "A,date\n1,2020-01-02\n": "the first column is 'A', expected 'date'",
    "date,A,A\n2020-01-02,1,2\n": "column 'A' appears 2 times",
    "date,A,B\n2020-01-02,1,2\n2020-01-03,1\n": "cannot be read as csv: .*Row #3: Expected 3 columns, got 2",
    "date,A\n2020-01-02,1,2\n": "Expected 2 columns, got 3",
    "date,A\n2020-01-02,1\n2020-01-03,1O1\n": "column 'A' on 2020-01-03: found the text '1O1'",
    "date,A\n2020-01-02,true\n": "column 'A' on 2020-01-02: found the text 'true'",
    "date,A,B\n2020-01-02,1,\n": "column 'B' has no observation",
    "date,A\n03/04/2020,1\n": "date in data row 1 is '03/04/2020', expected a day written YYYY-MM-DD",
    "date,A\n2020-01-02,1\n,2\n": r"date in data row 2 is .*\(1 such rows\)",
    "date,A\n2020-01-02T10:00,1\n2020-01-02T11:00,2\n": "several times on 2020-01-02",
    "date,A\n2020-01-03,1\n2020-01-02,2\n": "date 2020-01-02 follows 2020-01-03",
    "date,A\n2020-01-02,inf\n": "price is inf",
}


@pytest.mark.parametrize("text", BROKEN_CSV)
def test_a_broken_csv_is_refused_by_name(text: str, tmp_path: Path) -> None:
    (tmp_path / "US.csv").write_text(text)
    with pytest.raises(DataError, match=rf"US\.csv: .*{BROKEN_CSV[text]}"):
        read_panel(tmp_path)


BROKEN_PARQUET: dict[str, Callable[[Path], object]] = {
    r"is empty \(0 bytes\)": lambda path: path.write_bytes(b""),
    "cannot be read as parquet": lambda path: path.write_bytes(b"PAR1 and then nothing"),
    "no rows": lambda path: write(prices_of_two().iloc[:0], path),
    "the first column is 'A', expected 'date'": lambda path: prices_of_two().to_parquet(path, index=False),
    "column 'A' on 2020-01-01: found the text 'x'": lambda path: write(
        pd.DataFrame({"A": ["x"]}, index=days(1)), path
    ),
    "column 'A' appears 2 times": lambda path: arrow_parquet.write_table(
        pa.table([pa.array(["2020-01-02"]), pa.array([1.0]), pa.array([2.0])], names=["date", "A", "A"]), path
    ),
}


@pytest.mark.parametrize("message", BROKEN_PARQUET)
def test_a_broken_parquet_file_is_refused_by_name(message: str, tmp_path: Path) -> None:
    path = tmp_path / "US.parquet"
    BROKEN_PARQUET[message](path)
    with pytest.raises(DataError, match=rf"US\.parquet: {message}"):
        read_panel(tmp_path)


BROKEN_META = {
    "": r"meta\.csv: is empty",
    "name,market\nA,X\n": r"meta\.csv: found the columns name, market; expected 'instrument' \(or 'asset'\)",
    "instrument,group\nA,X\n": r"meta\.csv: found the columns instrument, group; expected .* and 'market'",
    "instrument,market\nA,X\n": r"prices\.csv: 1 columns are not listed in .*meta\.csv: B",
    "instrument,market\nA,X\nB,Y\nA,Y\n": r"meta\.csv: instrument 'A' is listed 2 times",
    "instrument,market\nA,X\nB,\n": r"meta\.csv: data row 2 has instrument 'B' and market ''",
}


@pytest.mark.parametrize("text", BROKEN_META)
def test_a_broken_meta_is_refused_by_name(text: str, one_file: Path) -> None:
    (one_file / "meta.csv").write_text(text)
    with pytest.raises(DataError, match=BROKEN_META[text]):
        read_panel(one_file)


def test_one_file_without_meta_is_refused(one_file: Path) -> None:
    (one_file / "meta.csv").unlink()
    with pytest.raises(
        DataError, match=r"no table meta; expected meta\.parquet or meta\.csv with the columns"
    ):
        read_panel(one_file)


# The real data


@needs_real_data
def test_the_real_futures_load_and_their_prices_tell_the_same_returns() -> None:
    returns = read_panel(REAL / "futures")
    prices = read_panel(REAL / "futures", kind="prices")
    assert (returns.shape[1], len(returns.markets)) == (110, 15)
    assert "the returns were read" in returns.notes[0]
    theirs = prices.returns[np.isin(prices.dates, returns.dates)]
    both = np.isfinite(returns.returns) & np.isfinite(theirs)
    assert both.sum() == np.isfinite(returns.returns).sum()  # prices lack no return
    np.testing.assert_allclose(theirs[both], returns.returns[both], atol=1e-9)


@needs_real_data
def test_the_real_equities_load_market_by_market() -> None:
    panel = read_panel(REAL / "equities")
    assert (len(panel.markets), panel.shape[1]) == (21, 1125)
    table = panel.table().set_index("market")
    assert dict(table.loc["AU", ["assets", "days"]]) == {"assets": 37, "days": 4578}
    without = read_panel(REAL / "equities", exclude=["US", "JP"])
    assert (len(without.markets), without.shape[1]) == (19, 925)


# Synthetic


def test_the_panel_at_paper_scale_is_as_table_2_says() -> None:
    sizes = quantnet2020_sizes()
    panel = quantnet2020(seed=0, coefficient=0.3)
    table = panel.table()
    assert table["market"].tolist() == [size.market for size in sizes]
    assert table["assets"].tolist() == [size.assets for size in sizes]
    assert table["days"].tolist() == [size.samples + TEST_DAYS for size in sizes]
    assert table["last"].nunique() == 1
    assert panel.shape == (4083 + TEST_DAYS, 3103)
    own = panel.returns[-500:]
    assert own.std() == pytest.approx(0.01 / (1 - 0.3**2) ** 0.5, rel=0.01)
    assert (own[1:] * own[:-1]).mean() / own.var() == pytest.approx(0.3, abs=0.01)


def test_the_panel_at_paper_scale_comes_from_its_seed() -> None:
    first, again, other = (quantnet2020(seed=seed).returns for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[-1], other[-1])


# Bars of one asset, copies of files, and numbers that nobody should believe.

BARS = """Date,Open,High,Low,Close,Adj Close,Volume
2020-01-02,10,12,9,11,5.5,1000
2020-01-03,11,13,10,12,6.6,3000000
2020-01-06,12,13,11,12,6.6,10
"""


def test_bars_are_one_asset_at_its_adjusted_close(tmp_path: Path) -> None:
    folder = tmp_path / "shares"
    folder.mkdir()
    (folder / "AAPL.csv").write_text(BARS)
    (folder / "MSFT.csv").write_text(
        BARS.replace("Adj Close,", "").replace(",5.5,", ",").replace(",6.6,", ",")
    )
    panel = read_panel(folder)
    assert (panel.assets, panel.market_of) == (("AAPL", "MSFT"), ("shares", "shares"))
    np.testing.assert_allclose(panel.returns[1:, 0], [0.2, 0.0])
    np.testing.assert_allclose(panel.returns[1:, 1], [12 / 11 - 1, 0.0])
    (note, others) = panel.notes[:2]
    assert "AAPL.csv: bars of one asset; its price is 'Adj Close'. Left out: Open, High, Low, Close" in note
    assert "the same of MSFT" in others
    (folder / "meta.csv").write_text("instrument,market\nAAPL,NASDAQ\nMSFT,LSE\n")
    assert read_panel(folder).market_of == ("NASDAQ", "LSE")
    (folder / "meta.csv").write_text("instrument,market\nAAPL,NASDAQ\n")
    with pytest.raises(DataError, match=r"1 columns are not listed in .*meta\.csv: MSFT"):
        read_panel(folder)


def test_bars_among_files_of_another_form_or_in_a_frame_are_refused(tmp_path: Path) -> None:
    write(prices_of_two(), tmp_path / "US.csv")
    (tmp_path / "AAPL.csv").write_text(BARS)
    with pytest.raises(DataError, match=r"AAPL hold the bars of one asset each .*, US a column"):
        read_panel(tmp_path)
    frame = pd.DataFrame({"open": [1.0, 2.0], "high": [2.0, 2.0], "close": [1.5, 2.0]}, index=days(2))
    with pytest.raises(DataError, match=r"open, high, close are the bars of one asset, and .* for 3"):
        from_prices(frame, "US")
    assert from_prices(frame[["close"]], "US").assets == ("close",), "a single column says nothing of bars"


@pytest.mark.parametrize(
    "name", ["US (1)", "US - Copy", "US - Copy (2)", "US copy", "US copy 2", "Copy of US"]
)
def test_a_copy_of_a_file_is_no_market(tmp_path: Path, name: str) -> None:
    for stem in ("US", name):
        write(prices_of_two(), tmp_path / f"{stem}.csv")
    with pytest.raises(DataError, match=r"looks like a copy of US\.csv"):
        read_panel(tmp_path)
    (tmp_path / "US.csv").unlink()
    assert read_panel(tmp_path).market_of == (name, name), "alone it is a name like any other"


def test_a_move_that_no_price_makes_and_a_series_that_is_there_twice_are_named() -> None:
    rng = np.random.default_rng(0)
    walk = 100.0 * np.exp(rng.normal(0.0, 0.01, (80, 3)).cumsum(axis=0))
    frame = pd.DataFrame(walk, columns=["A", "B", "C"], index=pd.bdate_range("2020-01-01", periods=80))
    frame["D"] = 2.0 * frame["B"]  # the same returns, but for rounding
    frame["E"] = frame["B"]
    frame.loc[frame.index[40] :, "A"] *= 20.0
    notes = from_prices(frame, "US", source="mine").notes
    assert any(n.startswith("mine: 'A' moves by +1,9") and "on 2020-02-26: a split" in n for n in notes)
    assert any(n.startswith("mine: B, D, E have the same return on every day") for n in notes)
    calm = from_prices(frame[["B", "C"]], "US")
    assert calm.notes == ()


def test_rows_that_stand_newest_first_are_read_in_the_order_of_time() -> None:
    forward = from_prices(prices_of_two(), "US")
    backward = from_prices(prices_of_two()[::-1], "US", source="mine")
    np.testing.assert_array_equal(forward.dates, backward.dates)
    np.testing.assert_array_equal(forward.returns, backward.returns)
    assert backward.notes == ("mine: the rows stand newest first; they were read in the order of time.",)
    mixed = prices_of_two().iloc[[1, 0, 2, 3]]
    with pytest.raises(DataError, match="expected strictly increasing"):
        from_prices(mixed, "US")


@pytest.mark.parametrize("name", ["Date", "dates", "DATETIME", " Timestamp"])
def test_the_column_of_dates_may_be_called_as_exports_call_it(tmp_path: Path, name: str) -> None:
    write(prices_of_two(), tmp_path / "US.csv")
    plain = read_panel(tmp_path)
    text = (tmp_path / "US.csv").read_text()
    (tmp_path / "US.csv").write_text(text.replace("date", name, 1))
    assert read_panel(tmp_path).fingerprint == plain.fingerprint


@pytest.mark.parametrize(("rhythm", "rate"), [("W-FRI", 52), ("D", 365), ("MS", 12)])
def test_a_panel_that_does_not_trade_on_working_days_says_what_its_year_has(rhythm: str, rate: int) -> None:
    days = pd.date_range("2010-01-01", "2019-12-31", freq=rhythm)
    frame = pd.DataFrame({"A": np.linspace(1.0, 2.0, len(days))}, index=days)
    panel = from_prices(frame, "mine")
    assert panel.bars_per_year == rate
    (note,) = panel.notes
    assert note.startswith(f"A year has {rate} bars here")


@pytest.mark.parametrize(
    ("rhythm", "rate", "times"), [("W-FRI", 52, "2.20"), ("D", 365, "0.83"), ("MS", 12, "4.58")]
)
def test_a_market_of_another_rhythm_is_told_what_252_does_to_its_sharpe_ratio(
    rhythm: str, rate: int, times: str
) -> None:
    others = pd.date_range("2010-01-01", "2019-12-31", freq=rhythm)
    working = pd.date_range("2010-01-01", "2019-12-31", freq="B")
    frames = {
        "mine": pd.DataFrame({"A": np.linspace(1.0, 2.0, len(others))}, index=others),
        "US": pd.DataFrame({"B": np.linspace(1.0, 2.0, len(working))}, index=working),
    }
    panel = from_market_frames(frames)
    assert panel.bars_per_year == 252
    (note,) = panel.notes
    assert note == (
        f"mine: {rate} bars a year; annualised figures count 252, which makes a Sharpe ratio {times} times "
        "what it is. Say bars_per_year (--bars-per-year), or keep such markets in a panel of their own."
    )


def test_working_days_with_holidays_are_no_other_rhythm() -> None:
    days = pd.date_range("2010-01-01", "2019-12-31", freq="B")
    keep = np.random.default_rng(0).uniform(size=len(days)) < 0.9
    frame = pd.DataFrame({"A": np.linspace(1.0, 2.0, len(days))}, index=days)[keep]
    assert from_prices(frame, "mine").notes == ()
    assert from_prices(frame[:50], "mine").notes == ()

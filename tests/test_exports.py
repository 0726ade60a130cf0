"""Prices as people export them: each form is read right, or refused by one error with all that is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.cli import main
from qn_env.errors import ConfigError, DataError
from qn_env.sources import read_panel
from qn_env.sources.exports import Reading, from_export, read_export

DAYS = ["2020-04-01", "2020-04-02", "2020-04-03", "2020-04-06"]
A = [100.0, 1101.5, 1102.25, np.nan]
B = [50.0, 49.5, np.nan, 51.0]

WIDE = """date,A,B
2020-04-01,100,50
2020-04-02,1101.5,49.5
2020-04-03,1102.25,
2020-04-06,,51
"""
LONG = """Symbol,Date,Close
A,2020-04-01,100
B,2020-04-01,50
A,2020-04-02,1101.5
B,2020-04-02,49.5
A,2020-04-03,1102.25
B,2020-04-06,51
"""
YFINANCE = """Price,Close,Close,Volume,Volume
Ticker,A,B,A,B
Date,,,,
2020-04-01,100,50,1000,2000
2020-04-02,1101.5,49.5,1100,2100
2020-04-03,1102.25,,1200,
2020-04-06,,51,,2300
"""


def reordered(text: str) -> str:
    head, *rows = text.splitlines()
    return "\n".join([head, *reversed(rows)]) + "\n"


def german(text: str) -> str:
    return text.replace(",", ";").replace(".", ",")


def dated(text: str, form: str) -> str:
    for day in DAYS:
        text = text.replace(day, pd.Timestamp(day).strftime(form))
    return text


# Fifteen exports of the same prices, and how each is to be read.
EXPORTS = {
    "wide": (WIDE, {}),
    "Date in capitals": (WIDE.replace("date", "Date"), {}),
    "Dates": (WIDE.replace("date", "Dates"), {}),
    "byte order mark": ("\ufeff" + WIDE, {}),
    "newest first": (reordered(WIDE), {}),
    "windows line ends": (WIDE.replace("\n", "\r\n"), {}),
    "YYYYMMDD": (dated(WIDE, "%Y%m%d"), {}),
    "day first": (dated(WIDE, "%d/%m/%Y"), {"dates": "dmy"}),
    "month first": (dated(WIDE, "%m/%d/%Y"), {"dates": "mdy"}),
    "dots": (dated(WIDE, "%d.%m.%Y"), {"dates": "dmy"}),
    "semicolons": (WIDE.replace(",", ";"), {}),
    "tabs": (WIDE.replace(",", "\t"), {"separator": "\t"}),
    "decimal commas": (german(WIDE), {"decimal": ","}),
    "thousands": (german(WIDE).replace("1101", "1.101").replace("1102", "1.102"), {"decimal": ","}),
    "time zones": (dated(WIDE, "%Y-%m-%d 00:00:00-04:00"), {}),
    "long": (LONG, {}),
    "yfinance": (YFINANCE, {}),
    "words for missing": (WIDE.replace("1102.25,", "1102.25,NaN").replace("06,,", "06,N/A,"), {}),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_read_as_what_it_says(name: str, tmp_path: Path) -> None:
    text, options = EXPORTS[name]
    path = tmp_path / "export.csv"
    path.write_bytes(text.encode())
    export = read_export(path, Reading(**options))
    assert list(export.prices.columns) == ["A", "B"]
    assert list(export.prices.index) == DAYS
    np.testing.assert_array_equal(export.prices.to_numpy(), np.column_stack([A, B]))
    assert export.notes, "what was understood is told"


@pytest.mark.parametrize("kind", ["xlsx", "parquet"])
def test_excel_and_parquet_are_read_likewise(kind: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"Date": pd.to_datetime(DAYS), "A": A, "B": B})
    path = tmp_path / f"export.{kind}"
    if kind == "xlsx":
        frame.to_excel(path, index=False)
    else:
        frame.set_index("Date").to_parquet(path)
    export = read_export(path)
    assert list(export.prices.index) == DAYS
    np.testing.assert_array_equal(export.prices.to_numpy(), np.column_stack([A, B]))


def test_frames_of_other_packages_are_taken_as_they_are() -> None:
    days = pd.DatetimeIndex(DAYS, name="Date")
    wide = pd.DataFrame({"A": A, "B": B}, index=days)
    over = pd.concat({"Close": wide, "Volume": wide * 10.0}, axis=1)
    long = wide.rename_axis(columns="Ticker").stack().rename("price")
    for frame in (
        wide,
        wide.rename_axis(None),
        over,
        over.swaplevel(axis=1),
        long.reset_index(),
        long.to_frame(),
    ):
        export = from_export(frame)
        np.testing.assert_array_equal(export.prices.to_numpy(), np.column_stack([A, B]))
        assert list(export.prices.index) == DAYS
    volume = from_export(over).volume
    assert volume is not None
    np.testing.assert_array_equal(volume.to_numpy(), 10.0 * np.column_stack([A, B]))

    class LikePolars:
        def to_pandas(self) -> pd.DataFrame:
            return wide.reset_index()

    np.testing.assert_array_equal(from_export(LikePolars()).prices["A"], A)  # type: ignore[arg-type]


# What can be read in two ways is asked for; all that is wrong is told at once.
REFUSED = {
    "two orders of dates": (
        dated(WIDE, "%d/%m/%Y"),
        {},
        ["4 dates that are not YYYY-MM-DD or YYYYMMDD: '01/04/2020'", "--dates dmy if the day stands first"],
    ),
    "no such day": (WIDE.replace("2020-04-02", "2020-02-30"), {}, ["1 dates that are not", "'2020-02-30'"]),
    "commas in numbers": (
        'date,A,B\n2020-04-01,"1,101",50\n2020-04-02,"1,102",51\n',
        {},
        [
            "2 cells that are no numbers: '1,101', '1,102'",
            "--decimal , if a comma stands before the decimals",
        ],
    ),
    "decimal commas": (german(WIDE), {}, ["'1101,5'", "say --decimal , if they are to be read so"]),
    "text": (WIDE.replace("49.5", "n.v."), {}, ["1 cells that are no numbers: 'n.v.'"]),
    "two things": (
        dated(WIDE, "%d/%m/%Y").replace("49.5", "n.v."),
        {},
        ["2 things are wrong", "- 4 dates", "- 1 cells"],
    ),
    "a day twice": (LONG + "A,2020-04-01,101\n", {}, ["'A' stands there twice on 2020-04-01"]),
    "a day twice in a wide table": (WIDE + "2020-04-02,1,2\n", {}, ["2020-04-02 stands there twice (1 such"]),
    "no dates": ("day,A\n1,2\n", {}, ["no column called date, dates, datetime or timestamp; found day, A"]),
    "a column twice": ("date,A,A\n2020-04-01,1,2\n", {}, ["with the same one: A"]),
    "a short row": (WIDE + "2020-04-07,1\n", {}, ["row 6 has 2 cells, expected 3 (1 such rows)"]),
    "no price": (LONG.replace("Close", "Bid"), {"field": "ask"}, ["no column 'ask'; found bid"]),
    "two prices": (
        "Symbol,Date,Bid,Ask\nA,2020-04-01,1,2\n",
        {},
        ["no column close, adj close, price or value; found bid, ask. Name the price with --field"],
    ),
    "nothing": ("date,A\n", {}, ["no rows below the names of the columns"]),
    "only gaps": ("date,A\n2020-04-01,\n2020-04-02,NA\n", {}, ["no number at all"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_told_whole(name: str, tmp_path: Path) -> None:
    text, options, parts = REFUSED[name]
    path = tmp_path / "export.csv"
    path.write_text(text)
    with pytest.raises(DataError) as refused:
        read_export(path, Reading(**options))
    told = str(refused.value)
    assert told.startswith(f"{path}: ")
    for part in parts:
        assert part in told


def test_bars_within_days_keep_their_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = pd.bdate_range("2024-03-06", periods=5)  # summer time begins in New York on the 10th
    stamps = [day + pd.Timedelta(hours=hour) for day in days for hour in range(9, 16)]
    local = pd.DatetimeIndex(stamps).tz_localize("America/New_York")
    prices = 100.0 * np.cumprod(1.0 + np.random.default_rng(0).normal(0.0, 0.01, len(local)))
    rows = [f"{when},{price:.4f}" for when, price in zip(local, prices, strict=True)]
    (tmp_path / "US.csv").write_text("\n".join(["Timestamp,SPY", *reversed(rows)]) + "\n")
    export = read_export(tmp_path / "US.csv")
    assert export.prices.index[0] == "2024-03-06 14:00:00"
    assert export.prices.index[-1] == "2024-03-12 19:00:00"
    assert "brought to UTC" in " ".join(export.notes)
    assert main(["panel", "import", str(tmp_path / "US.csv"), "--out", str(tmp_path / "panel")]) == 0
    panel = read_panel(tmp_path / "panel")
    assert panel.bars_per_year == 7 * 252
    np.testing.assert_array_equal(panel.dates, local.tz_convert("UTC").tz_localize(None).to_numpy())
    assert "1,764 bars a year" in capsys.readouterr().out
    mixed = [*rows[:-1], rows[-1].replace("-04:00", "")]
    (tmp_path / "US.csv").write_text("\n".join(["Timestamp,SPY", *mixed]))
    with pytest.raises(DataError, match="a time zone behind 34 of 35 times"):
        read_export(tmp_path / "US.csv")


def test_an_import_of_bars_of_no_plain_year_asks_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hours = pd.date_range("2022-01-02 22:00", "2023-06-30", freq="h")
    of_week = 24 * hours.day_of_week + hours.hour
    index = hours[(of_week < 4 * 24 + 22) | (of_week >= 6 * 24 + 22)]
    rates = pd.DataFrame({"EURUSD": 1.0 + 0.01 * np.sin(np.arange(len(index)))}, index=index)
    rates.rename_axis("date").to_csv(tmp_path / "fx.csv")
    asked = ["panel", "import", str(tmp_path / "fx.csv"), "--out"]
    assert main([*asked, str(tmp_path / "one")]) == 1
    assert "--bars-per-year" in capsys.readouterr().err
    assert not (tmp_path / "one").exists()
    assert main([*asked, str(tmp_path / "two"), "--bars-per-year", "6240"]) == 0
    assert "6,240 bars a year" in capsys.readouterr().out


def test_bad_readings_are_refused() -> None:
    for bad in ({"dates": "ymd"}, {"decimal": ";"}, {"separator": ":"}):
        with pytest.raises(ConfigError):
            Reading(**bad)  # type: ignore[arg-type]


# The commands.


def test_an_import_makes_a_panel_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metals.csv").write_text(dated(german(WIDE), "%d.%m.%Y"))
    out = tmp_path / "panel"
    words = ["panel", "import", str(tmp_path / "mine"), "--out", str(out), "--dates", "dmy", "--decimal", ","]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "one column for each asset, 2 of them" in told
    assert "2 assets in 1 markets, 2020-04-01 to 2020-04-06" in told
    panel = read_panel(out)
    assert panel.market_of == ("metals", "metals")
    assert "one column for each asset, 2 of them" in panel.notes[0], (
        "what was understood stays with the panel"
    )
    np.testing.assert_allclose(panel.returns[1:3, 0], [1101.5 / 100 - 1, 1102.25 / 1101.5 - 1])
    assert main(words) == 1, "it overwrites nothing"
    assert "is not empty" in capsys.readouterr().err


def test_bars_and_volumes_of_a_folder_become_one_market(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "nasdaq"
    source.mkdir()
    rows = "".join(f"{day},1,3,1,{k + 2},{k + 1},{1000 + k}\n" for k, day in enumerate(DAYS))
    for name in ("AAPL", "MSFT"):
        (source / f"{name}.csv").write_text(f"Date,Open,High,Low,Close,Adj Close,Volume\n{rows}")
    assert main(["panel", "import", str(source), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert "bars of one asset, 'AAPL'" in told
    assert "the price is 'adj close'; left out: open, high, low, close" in told
    panel = read_panel(tmp_path / "out")
    assert panel.market_of == ("nasdaq", "nasdaq")
    np.testing.assert_allclose(panel.returns[1:, 0], [1.0, 0.5, 1 / 3])
    volume = pd.read_parquet(tmp_path / "out" / "volume.parquet")
    assert volume["MSFT"].tolist() == [1000.0, 1001.0, 1002.0, 1003.0]
    words = [
        "panel",
        "import",
        str(source),
        "--out",
        str(tmp_path / "raw"),
        "--field",
        "close",
        "--market",
        "US",
    ]
    assert main(words) == 0
    np.testing.assert_allclose(read_panel(tmp_path / "raw").returns[1:, 0], [1 / 2, 1 / 3, 1 / 4])
    assert set(read_panel(tmp_path / "raw").market_of) == {"US"}


def test_all_files_that_are_wrong_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("a", WIDE), ("b", WIDE.replace("50", "fifty")), ("c", dated(WIDE, "%d/%m/%Y"))):
        (tmp_path / f"{name}.csv").write_text(text)
    assert main(["panel", "import", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err
    assert "b.csv: 1 cells that are no numbers: 'fifty'" in told
    assert "c.csv: 4 dates that are not" in told
    assert not (tmp_path / "out").exists()


def test_prices_that_make_no_panel_are_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.csv").write_text(WIDE.replace("49.5", "-49.5"))
    assert main(["panel", "import", str(tmp_path / "mine.csv"), "--out", str(tmp_path / "out")]) == 1
    assert "column 'B' on 2020-04-02: price is -49.5" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_panel_is_shown_by_market_and_year(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    days = pd.date_range("2020-01-01", "2022-12-31", freq="B")
    frame = pd.DataFrame({"A": 1.0, "B": 1.0, "C": np.nan}, index=days.rename("date"))
    frame.loc["2022":, "C"] = 1.0
    frame.loc["2021":, "B"] = np.nan
    frame[["A", "B"]].reset_index().to_csv(tmp_path / "US.csv", index=False)
    frame[["C"]].reset_index().to_csv(tmp_path / "JP.csv", index=False)
    assert main(["panel", "show", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "3 assets in 2 markets, 2020-01-01 to 2022-12-30" in told
    full, half = "\N{FULL BLOCK}", "\N{LOWER HALF BLOCK}"
    assert f"|{full}{half}{half}|" in told
    assert f"|  {full}|" in told

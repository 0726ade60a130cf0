"""Excess returns: the rate's unit, the day it is in force, and what cannot be used."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from experiments.running.runner import load_panel
from experiments.settings.config import RunConfig
from qn_env.errors import ConfigError, DataError
from qn_env.panel import Panel
from qn_env.sources import excess, from_prices, noise, read_rate
from tests.conftest import REAL_DATA

DAYS = pd.to_datetime(["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"])


def written(tmp_path, **columns):
    path = tmp_path / "rates.csv"
    pd.DataFrame({"date": [f"{d:%Y-%m-%d}" for d in DAYS], **columns}).to_csv(path, index=False)
    return path


def four_days() -> Panel:
    return Panel.build(
        DAYS.to_numpy(), ["a", "b"], ["M", "M"], np.array([[0.01, 0.02]] * 3 + [[0.01, np.nan]])
    )


def test_a_fraction_a_day_is_taken_as_it_is_on_its_own_day(tmp_path):
    rate = read_rate(written(tmp_path, rf=[1e-4, 2e-4, 3e-4, 4e-4]), "rf", "fraction-a-day")
    found = excess(four_days(), rate)
    expected = [[0.0099, 0.0199], [0.0098, 0.0198], [0.0097, 0.0197], [0.0096, np.nan]]
    np.testing.assert_allclose(found.returns, expected, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(found.tradable, four_days().tradable)


def test_a_percentage_a_year_counts_from_the_day_after_it_was_published(tmp_path):
    rate = read_rate(written(tmp_path, libor=[2.52, 5.04, 2.52, 2.52]), "libor", "percent-a-year")
    with pytest.raises(DataError, match="no rate on 2020-01-02"):
        excess(four_days(), rate)
    later = four_days().returns[1:]
    panel = Panel.build(DAYS[1:].to_numpy(), ["a", "b"], ["M", "M"], later)
    # 2.52% a year is 1e-4 a day; the one of Friday the 3rd is in force on Monday the 6th.
    expected = later - np.array([1e-4, 2e-4, 1e-4])[:, None]
    np.testing.assert_allclose(excess(panel, rate).returns, expected, rtol=0, atol=1e-15)


def test_a_rate_published_later_changes_nothing_before(tmp_path):
    paths = []
    for name, last in (("a", 2.0), ("b", 9.0)):
        (tmp_path / name).mkdir()
        paths.append(written(tmp_path / name, libor=[2.0, 2.0, 2.0, last]))
    panel = Panel.build(DAYS[1:].to_numpy(), ["a"], ["M"], np.full((3, 1), 0.01))
    one, other = (excess(panel, read_rate(p, "libor", "percent-a-year")).returns for p in paths)
    np.testing.assert_array_equal(one, other)


def test_days_without_a_rate_of_their_own_are_counted_in_a_note(tmp_path):
    path = written(tmp_path, rf=[1e-4, np.nan, 3e-4, 4e-4])
    found = excess(four_days(), read_rate(path, "rf", "fraction-a-day"))
    assert found.returns[1, 0] == pytest.approx(0.0099, abs=1e-15)
    assert "on 1 of 4 days an earlier day's rate was in force" in found.notes[-1]


def test_an_old_rate_is_not_in_force_for_ever(tmp_path):
    rate = read_rate(written(tmp_path, rf=[1e-4] * 4), "rf", "fraction-a-day")
    days = np.array(["2020-02-07", "2020-02-10"], dtype="datetime64[D]")  # 31 and 34 days after the last
    panel = Panel.build(days, ["a"], ["M"], np.zeros((2, 1)))
    with pytest.raises(DataError, match="rf: no rate on 2020-02-10 nor in the 31 days before it"):
        excess(panel, rate)


@pytest.mark.parametrize(
    ("columns", "column", "unit", "error", "message"),
    [
        ({"rf": [1e-4] * 4}, "rff", "fraction-a-day", ConfigError, "no column 'rff'. Did you mean 'rf'"),
        ({"rf": [1e-4] * 4}, "rf", "percent-a-yaer", ConfigError, "Did you mean 'percent-a-year'"),
        ({"rf": [2.0] * 4}, "rf", "fraction-a-day", DataError, "on 2020-01-02 is 2.0 in fraction-a-day"),
    ],
)
def test_what_cannot_be_a_rate_is_refused(columns, column, unit, error, message, tmp_path):
    with pytest.raises(error, match=message):
        read_rate(written(tmp_path, **columns), column, unit)


BROKEN = {
    "date,rf\n03/04/2020,0.0001\n": "date in data row 1 is '03/04/2020', expected a day written YYYY-MM-DD",
    "date,rf\n20200103,0.0001\n": "date in data row 1 is '20200103'",
    "date,rf\n2020-01-03,0.0001\n,0.0001\n": "date in data row 2 is ''",
    "date,rf\n2020-01-03,0.0001\n2020-01-06,.\n": "column 'rf' on 2020-01-06: found the text '.', expected a",
    "date,rf\n2020-01-03,1,1\n": "Expected 2 columns, got 3",
    "date,rf\n2020-01-03,0.0001\n2020-01-03,0.0002\n": "date 2020-01-03 appears twice",
    "date,rf\n2020-01-03 10:00,1e-4\n2020-01-03 11:00,1e-4\n": "several times on 2020-01-03",
    "date,rf\n2020-01-03 00:00+01:00,1e-4\n": "date in data row 1 is .*without time zone",
    "date,rf\n2020-01-03,\n": "column 'rf' has no number",
    "date,rf,rf\n2020-01-03,1,2\n": "column 'rf' appears 2 times",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_file_of_rates_is_refused_as_a_panel_is(text, tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"rates\.csv: .*{BROKEN[text]}"):
        read_rate(path, "rf", "fraction-a-day")


@pytest.mark.parametrize(
    "dates",
    [
        [20200102, 20200103, 20200106, 20200107],
        ["02/01/2020", "03/01/2020", "06/01/2020", "07/01/2020"],
        DAYS.tz_localize("UTC"),
    ],
)
def test_dates_of_a_parquet_file_of_rates_are_not_guessed(dates, tmp_path):
    pd.DataFrame({"date": dates, "rf": 1e-4}).to_parquet(tmp_path / "rates.parquet")
    with pytest.raises(DataError, match=r"date in data row 1 is .*YYYY-MM-DD"):
        read_rate(tmp_path / "rates.parquet", "rf", "fraction-a-day")


def test_a_word_for_a_missing_rate_is_noted(tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text("date,rf\n2020-01-02,0.0001\n2020-01-03,NA\n2020-01-06,0.0003\n2020-01-07,0.0004\n")
    found = excess(four_days(), read_rate(path, "rf", "fraction-a-day"))
    assert found.notes[-1] == f"{path}: 1 cells hold a word for missing (NA): counted as missing."
    assert "on 1 of 4 days an earlier day's rate was in force" in found.notes[-2]


def test_dates_in_the_index_of_a_parquet_file_are_its_dates(tmp_path):
    pd.DataFrame({"rf": 1e-4}, index=DAYS.rename("date")).to_parquet(tmp_path / "rates.parquet")
    assert len(read_rate(tmp_path / "rates.parquet", "rf", "fraction-a-day")) == 4


SERIES = {
    "several times or twice": (lambda s: pd.concat([s, s[-1:]]), "date 2020-01-07 appears twice"),
    "out of order": (lambda s: s[::-1], "date 2020-01-06 follows 2020-01-07"),
    "with a time zone": (lambda s: s.tz_localize("UTC"), "date in data row 1 is .*without time zone"),
    "text": (lambda s: s.astype(str).replace("0.0001", "x"), "found the text 'x', expected a number"),
    "without a day": (lambda s: s[:0], "has no number, expected a rate a day"),
    "without a number": (lambda s: s * np.nan, "has no number, expected a rate a day"),
    "infinite": (lambda s: s * np.inf, "inf on 2020-01-02, expected a fraction a day"),
    "in percent": (lambda s: s * 1e4, "1.0 on 2020-01-02, expected a fraction a day, less than 0.01"),
}


@pytest.mark.parametrize("name", SERIES)
def test_a_series_of_rates_made_by_hand_is_checked_as_a_file_is(name):
    change, message = SERIES[name]
    with pytest.raises(DataError, match=rf"rate 'rf': .*{message}"):
        excess(four_days(), change(pd.Series(1e-4, index=DAYS, name="rf")))


def test_a_day_without_a_number_has_no_rate_of_its_own():
    rate = pd.Series([1e-4, np.nan, 3e-4, 4e-4], index=DAYS, name="rf")
    found = excess(four_days(), rate)
    assert np.isfinite(found.returns[found.tradable]).all()
    assert "on 1 of 4 days an earlier day's rate was in force" in found.notes[-1]


def test_days_out_of_order_are_refused(tmp_path):
    path = tmp_path / "rates.csv"
    path.write_text("date,rf\n2020-01-03,0.0001\n2020-01-02,0.0001\n")
    with pytest.raises(DataError, match="2020-01-02 follows 2020-01-03"):
        read_rate(path, "rf", "fraction-a-day")
    with pytest.raises(ConfigError, match="no such file"):
        read_rate(tmp_path / "none.csv", "rf", "fraction-a-day")


def test_a_run_takes_excess_returns_from_its_flags(tmp_path):
    panel = noise(markets=1, assets=2, days=30, seed=0)
    prices = pd.DataFrame(100 * np.cumprod(1 + panel.returns, axis=0), index=panel.dates, columns=["a", "b"])
    (tmp_path / "data").mkdir()
    prices.rename_axis("date").to_csv(tmp_path / "data" / "M.csv")
    days = pd.date_range(panel.dates[0], panel.dates[-1])
    rates = pd.DataFrame({"date": days.strftime("%Y-%m-%d"), "rf": 1e-4})
    rates.to_csv(tmp_path / "rates.csv", index=False)
    config = RunConfig(panel=tmp_path / "data", risk_free=tmp_path / "rates.csv")
    plain = from_prices(prices, {"a": "M", "b": "M"})
    np.testing.assert_allclose(load_panel(config).returns, plain.returns - 1e-4, atol=1e-12)


@pytest.mark.skipif(not REAL_DATA.exists(), reason="the data folder is not here")
def test_real_rates_of_both_units_are_read_and_agree_roughly():
    path = REAL_DATA / "factors" / "risk_free.parquet"
    bills = read_rate(path, "tbill_3m_pct", "percent-a-year")
    french = read_rate(path, "ff_rf_daily", "fraction-a-day")
    common = bills.index.intersection(french.index)
    assert abs(bills[common].mean() - french[common].mean()) < 1e-5

"""Bars a year: figures, spans and targets at 52, 252, 365 and 98,280 of them; bars within days; inference.

Hand-worked numbers are of two returns, 1% and 3%: their mean is 0.02, their standard deviation sqrt(2) / 100.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from agents.dmn.losses import Pairs, average_loss, sharpe_loss, turnover_penalty
from experiments import RunConfig
from experiments.commands.compare import compare_agents
from experiments.results.evidence import cost_curve, gather_evidence
from experiments.results.metrics import performance
from experiments.results.run import read_run, read_runs
from experiments.running.protocols import holdout
from experiments.running.runner import run
from experiments.storage.store import RunFolder
from qn_env import TradingEnv
from qn_env.audit import check_no_lookahead
from qn_env.costs import Borrow
from qn_env.economics import volatility_scale
from qn_env.errors import ConfigError, DataError
from qn_env.features import (
    CumulativeReturn,
    EwVolatility,
    MacdTrend,
    MeanReturn,
    NormalisedReturn,
    Volatility,
    WeightedAverage,
    Winsorised,
    dmn_features,
    in_bars,
)
from qn_env.objectives import sharpe
from qn_env.panel import Panel
from qn_env.sources import from_prices, from_returns, ragged, read_panel
from qn_env.sources.frames import join
from qn_env.sources.rates import excess
from qn_env.tape import Tape
from qn_env.windows import window_sharpe

YEARS = (52, 252, 365, 98_280)
TWO = np.array([[0.01], [0.03]])


def panel_of(bars_per_year: float, rows: int, seed: int = 0) -> Panel:
    """One market of one asset, a return on every day, of a year of so many bars."""
    returns = np.random.default_rng(seed).normal(2e-4, 0.01, (rows, 1))
    days = np.busday_offset("1900-01-01", np.arange(rows), roll="forward")
    return Panel.build(days, ["A"], ["M"], returns, bars_per_year=bars_per_year)


@pytest.mark.parametrize(
    ("year", "ratio", "annual", "volatility"),
    [
        (52, 10.198039, 1.04, 0.10198039),  # sqrt(104), 52 x 0.02
        (252, 22.449944, 5.04, 0.22449944),  # sqrt(504)
        (365, 27.018512, 7.30, 0.27018512),  # sqrt(730)
        (98_280, 443.350876, 1965.6, 4.43350876),  # sqrt(196560)
    ],
)
def test_sharpe_ratio_return_and_volatility_of_two_returns(
    year: int, ratio: float, annual: float, volatility: float
) -> None:
    assert float(sharpe(TWO[:, 0], bars_per_year=year)) == pytest.approx(ratio, rel=1e-7)
    figures = performance(TWO, bars_per_year=year)
    assert figures["sharpe"][0] == pytest.approx(ratio, rel=1e-7)
    assert figures["ann_return"][0] == pytest.approx(annual)
    assert figures["ann_volatility"][0] == pytest.approx(volatility, rel=1e-7)
    if year < 98_280:  # beyond all numbers
        assert figures["cagr"][0] == pytest.approx((1.01 * 1.03) ** (year / 2) - 1)


@pytest.mark.parametrize(("year", "weight"), [(52, 1.0400629), (252, 0.4724556), (365, 0.3925679)])
def test_a_target_of_15_percent_over_a_volatility_of_2_percent_a_bar(year: int, weight: float) -> None:
    """0.15 / (0.02 sqrt(B)): 7.5 / 7.2111026, 7.5 / 15.8745079, 7.5 / 19.1049732."""
    found = volatility_scale(np.array(0.02), 0.15, bars_per_year=year)
    assert float(found) == pytest.approx(weight, rel=1e-6)


@pytest.mark.parametrize("year", YEARS)
def test_a_volatility_target_is_met_by_the_ex_ante_estimate_of_the_panels_year(year: int) -> None:
    """alpha a day is 2 / 61: of a weight 59 / 61 is left after a day, (59 / 61)^(252 / B) after a bar."""
    panel = panel_of(year, 9_000 if year > 365 else 600)
    found = Tape.of(panel, vol_target=0.15).scale[:, 0]
    alpha = 1.0 - (59.0 / 61.0) ** (252.0 / year)
    sigma = pd.Series(panel.returns[:, 0]).ewm(alpha=alpha).std().to_numpy()
    first = max(round(21 * year / 252), 2) - 1
    assert (found[:first] == 0.0).all()
    np.testing.assert_allclose(found[first:-1], 0.15 / (year**0.5 * sigma[first:-1]), rtol=1e-10)


@pytest.mark.parametrize(
    ("year", "price", "trend"), [(52, 13, 52), (252, 63, 252), (365, 91, 365), (98_280, 24_570, 98_280)]
)
def test_macd_looks_as_far_back_in_time_whatever_a_bar_is(year: int, price: int, trend: int) -> None:
    """m(S) keeps 1 - 1 / S of a weight a day; deviations of a quarter and of a year."""
    panel = panel_of(year, price + trend + 50)
    found = panel.feature(MacdTrend(8, 24))[:, 0]
    level = pd.Series(np.cumprod(1.0 + panel.returns[:, 0]))
    fast, slow = (level.ewm(alpha=1.0 - (1.0 - 1.0 / S) ** (252.0 / year)).mean() for S in (8, 24))
    q = (fast - slow) / level.rolling(price).std()
    expected = (q / q.rolling(trend).std()).to_numpy()
    assert np.isnan(found[: price + trend - 2]).all()
    np.testing.assert_allclose(found[-50:], expected[-50:], rtol=1e-6)


@pytest.mark.parametrize(
    ("feature", "weekly"),
    [
        (MeanReturn(252), MeanReturn(52)),
        (Volatility(252), Volatility(52)),
        (CumulativeReturn(21), CumulativeReturn(4)),
        (CumulativeReturn(1), CumulativeReturn(1)),
    ],
)
def test_windows_of_days_are_windows_of_weeks(feature: object, weekly: object) -> None:
    assert in_bars(feature, 52) == weekly  # type: ignore[arg-type]
    panel = panel_of(52, 400)
    np.testing.assert_array_equal(panel.feature(feature), replace(panel, bars_per_year=252).feature(weekly))  # type: ignore[arg-type]


def test_every_feature_of_the_networks_is_defined_after_its_year_of_bars() -> None:
    for year in (12, 52, 365):
        panel = panel_of(year, 3 * year + 10)
        assert (panel.feature(dmn_features()[-1])[round(1.26 * year) + 2 :] == 1.0).all()


def test_a_normalised_return_is_over_the_volatility_of_its_own_bars() -> None:
    panel = panel_of(52, 200)
    sigma = panel.feature(EwVolatility())
    growth = panel.feature(CumulativeReturn(63))
    np.testing.assert_allclose(panel.feature(NormalisedReturn(63)), growth / (sigma * 13**0.5), rtol=1e-12)


def test_a_long_weighted_average_is_the_same_by_either_way() -> None:
    panel = panel_of(98_280, 100_000)
    found = panel.feature(WeightedAverage(252, 252))[:, 0]
    returns = panel.returns[:, 0]
    weights = ((251.0 / 253.0) ** (252.0 / 98_280)) ** np.arange(98_280)
    assert np.isnan(found[:98_279]).all()
    for t in (98_279, 99_999):
        last = returns[t - 98_279 : t + 1][::-1]
        expected = (weights @ last) / (last.std(ddof=1) * np.sqrt((weights**2).sum()))
        assert found[t] == pytest.approx(expected, rel=1e-8)


def test_a_winsorised_feature_forgets_as_fast_in_time() -> None:
    assert in_bars(Winsorised(MeanReturn(252)), 63) == Winsorised(MeanReturn(63), half_life=63.0)


def test_a_plain_function_and_a_daily_panel_keep_their_features() -> None:
    def own(returns: np.ndarray) -> np.ndarray:
        return returns

    assert in_bars(own, 52) is own
    for feature in dmn_features():
        assert in_bars(feature, 252) is feature


def test_fees_of_a_year_are_charged_bar_by_bar() -> None:
    panel = panel_of(52, 60)
    assert Borrow(520.0).rates(panel).short == pytest.approx(0.052 / 52)


def test_a_weekly_return_bears_the_rate_of_a_week() -> None:
    panel = panel_of(52, 60)
    rate = pd.Series(1e-4, index=pd.DatetimeIndex(panel.dates), name="rf")
    np.testing.assert_allclose(excess(panel, rate).returns, panel.returns - 1e-4 * 252 / 52, rtol=1e-12)


# What the dates say


@pytest.mark.parametrize(
    ("dates", "year"),
    [
        (pd.bdate_range("2010-01-01", "2020-01-01"), 252),
        (pd.bdate_range("2020-01-01", periods=10), 252),  # too few to say otherwise
        (pd.date_range("2020-01-01", periods=59), 252),
        (pd.date_range("2020-01-01", periods=60), 365),
        (pd.date_range("2010-01-01", "2020-01-01"), 365),
        (pd.date_range("2010-01-01", "2020-01-01", freq="W-FRI"), 52),
        (pd.date_range("2010-01-01", "2020-01-01", freq="ME"), 12),
        (pd.date_range("2010-01-01", "2020-01-01", freq="QE"), 252),  # not plain: a note says so
    ],
)
def test_a_year_is_taken_from_plain_dates(dates: pd.DatetimeIndex, year: float) -> None:
    prices = pd.DataFrame({"A": np.linspace(1.0, 2.0, len(dates))}, index=dates)
    panel = from_prices(prices, "M")
    assert panel.bars_per_year == year
    assert from_prices(prices, "M", bars_per_year=42.0).bars_per_year == 42.0


def sessions(
    first: str, days: int, begin: str, minutes: int, step: int = 1, zone: str | None = None
) -> pd.DatetimeIndex:
    """Bars of so many sessions on working days."""
    stamps = [
        day + pd.Timedelta(begin) + pd.Timedelta(minutes=k)
        for day in pd.bdate_range(first, periods=days)
        for k in range(0, minutes, step)
    ]
    index = pd.DatetimeIndex(stamps)
    return index if zone is None else index.tz_localize(zone)


def intraday(index: pd.DatetimeIndex, seed: int = 0) -> pd.DataFrame:
    """Prices of two assets at these times."""
    moves = np.random.default_rng(seed).normal(0.0, 1e-3, (len(index), 2))
    return pd.DataFrame(100.0 * np.cumprod(1.0 + moves, axis=0), index=index, columns=["A", "B"])


def test_minutes_of_a_session_make_98280_bars_a_year() -> None:
    panel = from_prices(intraday(sessions("2024-03-04", 10, "09:30:00", 390, zone="America/New_York")), "US")
    assert panel.bars_per_year == 98_280
    assert panel.dates.dtype == "datetime64[s]"
    assert str(panel.dates[0]) == "2024-03-04T14:30:00"  # UTC, in winter
    assert str(panel.dates[-1]) == "2024-03-15T19:59:00"  # and in summer
    assert any("brought to UTC" in note for note in panel.notes)
    assert any("98,280 bars" in note for note in panel.notes)


def test_hours_around_the_clock_make_8760_bars_a_year() -> None:
    index = pd.date_range("2024-01-01", periods=24 * 20, freq="h")
    assert from_prices(intraday(index), "crypto").bars_per_year == 8_760


def test_bars_within_days_of_no_plain_year_are_asked_for() -> None:
    week = pd.date_range("2022-01-02 22:00", "2023-06-30", freq="h")
    of_week = 24 * week.day_of_week + week.hour
    index = week[(of_week < 4 * 24 + 22) | (of_week >= 6 * 24 + 22)]  # Sunday night to Friday night
    with pytest.raises(ConfigError, match=r"cannot be told.*--bars-per-year"):
        from_prices(intraday(index), "fx")
    assert from_prices(intraday(index), "fx", bars_per_year=6_240).bars_per_year == 6_240


def test_a_daily_close_with_a_zone_keeps_its_day() -> None:
    index = pd.bdate_range("2020-01-01", periods=5).tz_localize("Asia/Tokyo")
    panel = from_prices(intraday(index), "JP")
    assert panel.dates.dtype == "datetime64[D]"
    np.testing.assert_array_equal(panel.dates, index.tz_localize(None).to_numpy())
    assert any("the day is as it is written" in note for note in panel.notes)


@pytest.mark.parametrize("year", [0.5, np.nan, np.inf, "52", True, 1e9])
def test_a_year_of_no_number_of_bars_is_refused(year: object) -> None:
    with pytest.raises(ConfigError, match="bars_per_year"):
        from_returns(
            pd.DataFrame({"A": [0.1, 0.2]}, index=pd.bdate_range("2020-01-01", periods=2)),
            "M",
            bars_per_year=year,
        )  # type: ignore[arg-type]


def test_panels_of_one_rhythm_are_joined_with_it_and_others_are_told() -> None:
    returns = np.random.default_rng(0).normal(0.0, 0.01, (300, 1))
    weeks = np.arange("2010-01-01", "2016-01-01", 7, dtype="datetime64[D]")[:300]
    weekly = Panel.build(weeks, ["W"], ["w"], returns)
    other = Panel.build(weekly.dates, ["V"], ["v"], weekly.returns)
    both = join([weekly, other])
    assert both.bars_per_year == 52
    assert [note for note in both.notes if "52 bars" in note] == [
        "A year has 52 bars here: figures are annualised by it; what is called a day is a bar."
    ]
    minutes = from_prices(intraday(sessions("2024-03-04", 10, "09:30:00", 390)), "US")
    with pytest.raises(DataError, match="US have bars within days, the others days"):
        join([weekly, minutes])


def test_equal_numbers_of_another_year_are_other_data() -> None:
    panel = panel_of(252, 50)
    assert panel.fingerprint != replace(panel, bars_per_year=52).fingerprint


def test_the_text_of_a_panel_says_what_a_row_is() -> None:
    assert "50 days, 1900" in repr(panel_of(252, 50))
    assert "50 bars (98,280 a year), 1900" in repr(panel_of(98_280, 50))


# Bars within days


@pytest.fixture(scope="module")
def hours() -> Panel:
    """Seven bars a session, two years of two assets."""
    return from_prices(intraday(sessions("2022-01-03", 520, "09:30:00", 420, 60)), "US")


def test_a_day_of_a_cut_means_all_its_bars_and_a_moment_one_of_them(hours: Panel) -> None:
    assert hours.bars_per_year == 7 * 252
    assert str(hours.until("2022-01-04").dates[-1]) == "2022-01-04T15:30:00"
    assert str(hours.until("2022-01-04 10:30").dates[-1]) == "2022-01-04T10:30:00"
    assert str(hours.until("2022-01-04 05:30-05:00").dates[-1]) == "2022-01-04T10:30:00"
    assert str(hours.since("2022-01-04").dates[0]) == "2022-01-04T09:30:00"
    assert str(hours.since(np.datetime64("2022-01-04T12:30:00")).dates[0]) == "2022-01-04T12:30:00"
    for wrong in ("2022-01-04T", "04/01/2022 10:00", np.datetime64("NaT", "s"), "2022-13-04 10:00"):
        with pytest.raises(ConfigError, match="is not a date"):
            hours.until(wrong)


def test_blocks_and_episodes_of_hours_are_cut_between_bars(hours: Panel) -> None:
    fold = holdout(hours, days=100)
    assert fold.blocks[["select", "test"]].to_numpy().tolist() == [[100, 100]]
    assert len(fold.test.dates) == len(hours.dates)
    assert (fold.train.dates < fold.select_start["US"]).all()
    assert fold.test_start["US"] == hours.dates[-100]
    env = TradingEnv(hours, window=5, start="2023-01-02 12:30")
    _, info = env.reset(seed=0)
    assert str(info["date"]) == "2023-01-02T11:30:00"  # the close it decides at; the return is that of 12:30


def test_an_environment_of_hours_sees_no_later_bar(hours: Panel) -> None:
    env = TradingEnv(hours, window=5, vol_target=0.15, features=(MeanReturn(21),))
    assert check_no_lookahead(env, days=2, seed=0).passed


def test_a_run_of_hours_reports_hours(hours: Panel, tmp_path: Path) -> None:
    folder = run(RunConfig(agents=("buy-and-hold", "sgn-returns"), out=tmp_path / "run", jobs=1), hours)
    finished = read_run(folder)
    assert finished.bars_per_year == 7 * 252
    board = finished.ranking(0.0).set_index("agent")
    days = RunFolder(folder).portfolio()
    own = days[(days["agent"] == "buy-and-hold") & (days["cost_bps"] == 0.0)]
    own = own[own["execution"] == "late"]
    assert len(own) == len(hours.dates) // 4
    expected = (7 * 252) ** 0.5 * own["net"].mean() / own["net"].std()
    assert board.loc["buy-and-hold", "sharpe"] == pytest.approx(expected)
    assert gather_evidence(read_runs(folder)).agents["days"].tolist() == [len(own)] * 2


def test_hours_in_a_file_are_read_with_their_zone(tmp_path: Path) -> None:
    table = intraday(sessions("2024-03-04", 10, "09:30:00", 420, 60, zone="America/New_York"))
    table.rename_axis("date").to_csv(tmp_path / "US.csv")
    panel = read_panel(tmp_path)
    assert panel.bars_per_year == 7 * 252
    assert str(panel.dates[-1]) == "2024-03-15T19:30:00"
    assert read_panel(tmp_path, bars_per_year=1_000).bars_per_year == 1_000


# One law for all figures: the same returns with a quarter of the bars a year


SHORT = 63.0  # a quarter of 252: figures differ by powers of two, to the bit
HALVED = ("ann_volatility", "sharpe", "downside_risk", "sortino")
QUARTERED = ("ann_return", "turnover", "cost_drag", "calmar_arith")


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same decisions and returns, of a year of 252 and of 63 bars."""
    place = tmp_path_factory.mktemp("years")
    panel = ragged(sizes=(3, 2), days=1500, seed=1)
    division = {"protocol": "expanding", "test_from": str(panel.dates[700]), "test_years": 1}
    folders = []
    for year in (252.0, SHORT):
        config = RunConfig(
            agents=("buy-and-hold", "tests.test_year:Wobble"), out=place / f"{year:g}", jobs=1, **division
        )
        folders.append(run(config, replace(panel, bars_per_year=year)))
    return folders[0], folders[1]


class Wobble:
    """Signals of the date alone, which no feature changes."""

    learns = False

    def fit(self, env: TradingEnv, *, seed: int, validation: TradingEnv | None = None) -> Wobble:
        self.assets = env.panel.shape[1]
        return self

    def reset(self) -> None:
        self.day = 0

    def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        self.day += 1
        return np.sin(np.arange(self.assets) + 0.1 * self.day)

    def signals(self, panel: Panel) -> np.ndarray:
        return np.sin(np.arange(panel.shape[1]) + 0.1 * (1 + np.arange(len(panel.dates)))[:, None])


def test_every_figure_of_a_run_is_annualised_by_the_panels_year(two_runs: tuple[Path, Path]) -> None:
    daily, short = (RunFolder(folder).results() for folder in two_runs)
    keys = ["agent", "seed", "market", "asset", "execution", "cost_bps", "metric"]
    both = daily.merge(short, on=keys, suffixes=("", "_short"))
    assert len(both) == len(daily) == len(short)
    for metric, rows in both.groupby("metric"):
        a, b = rows["value"].to_numpy(), rows["value_short"].to_numpy()
        if metric == "cagr":
            np.testing.assert_allclose((1.0 + b) ** 4, 1.0 + a, rtol=1e-12)
        elif metric == "calmar":
            continue  # of the two around it
        else:
            factor = 0.5 if metric in HALVED else 0.25 if metric in QUARTERED else 1.0
            np.testing.assert_array_equal(b, factor * a, err_msg=str(metric))


def test_ranking_and_statistics_are_annualised_by_it(two_runs: tuple[Path, Path]) -> None:
    daily, short = (read_run(folder) for folder in two_runs)
    a, b = (folder.stored.leaderboard() for folder in (daily, short))
    assert a["agent"].tolist() == b["agent"].tolist()
    for name in ("sharpe", "sharpe_low", "sharpe_high", "seed_low", "seed_high", "ann_volatility"):
        np.testing.assert_allclose(b[name], 0.5 * a[name], rtol=1e-12, err_msg=name)
    one, other = (gather_evidence(read_runs(folder)) for folder in two_runs)
    for name in ("sharpe", "sharpe_error", "iqm", "iqm_low", "iqm_high"):
        np.testing.assert_allclose(other.agents[name], 0.5 * one.agents[name], rtol=1e-9, err_msg=name)
    for name in ("probabilistic", "deflated", "break_even_bps", "improvement", "days"):
        np.testing.assert_allclose(other.agents[name], one.agents[name], rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(
        other.agents["track_record_years"], 4.0 * one.agents["track_record_years"], rtol=1e-9
    )
    for name, table, same in (("difference", "differences", "p_value"), ("sharpe_late", "delays", "p_value")):
        ours, theirs = getattr(one, table), getattr(other, table)
        np.testing.assert_allclose(theirs[name], 0.5 * ours[name], rtol=1e-9)
        np.testing.assert_allclose(theirs["error"], 0.5 * ours["error"], rtol=1e-9)
        np.testing.assert_allclose(theirs[same], ours[same], rtol=1e-9)
    assert one.overfitting is not None
    assert other.overfitting is not None
    np.testing.assert_allclose(other.overfitting.inside, 0.5 * one.overfitting.inside, rtol=1e-12)
    np.testing.assert_array_equal(other.overfitting.logits, one.overfitting.logits)
    np.testing.assert_allclose(cost_curve(short), 0.5 * cost_curve(daily), rtol=1e-12)
    assert (daily.bars, short.bars) == ("days", "bars")


def test_a_comparison_of_two_runs_annualises_each_by_its_own(two_runs: tuple[Path, Path]) -> None:
    daily, short = map(RunFolder, two_runs)
    table = compare_agents(daily, short, 0.0)
    np.testing.assert_allclose(table["sharpe_b"].astype(float), 0.5 * table["sharpe_a"].astype(float))
    inside = compare_agents(short, short, 0.0)
    np.testing.assert_allclose(inside["sharpe_a"].astype(float), table["sharpe_b"].astype(float))


def test_losses_are_of_the_panels_year() -> None:
    """A Sharpe ratio is halved, and so is a cost in units of a bar's target volatility, which is doubled."""
    panel = ragged(sizes=(2,), days=700, seed=2)
    values = []
    for year in (252.0, SHORT):
        env = TradingEnv(replace(panel, bars_per_year=year), cost_bps=5.0)
        episode = env.episodes().trajectories(21)
        counted = episode.counted[..., 0]
        pairs = Pairs(episode, counted, counted, torch.zeros(counted.shape), torch.zeros(len(counted)), 1)
        z = torch.linspace(-1.0, 1.0, pairs.counted.numel()).reshape(pairs.counted.shape)
        values.append([float(loss(z, pairs)) for loss in (sharpe_loss, average_loss, turnover_penalty)])
    (ratio, mean, penalty), short = values
    assert short == pytest.approx([0.5 * ratio, mean, 0.5 * penalty], rel=1e-9)
    assert penalty > 0.0


def test_windows_of_every_kind_know_the_year() -> None:
    panel = replace(ragged(sizes=(2, 1), days=300, seed=4), bars_per_year=SHORT)
    env = TradingEnv(panel, window=5)
    episodes = env.episodes()
    some = episodes.sample(length=21, batch=4)
    kinds = [*some.values(), *episodes.block().values(), episodes.trajectories(21)]
    assert {kind.bars_per_year for kind in kinds} == {SHORT}
    assert kinds[0].take(slice(1, 3)).bars_per_year == SHORT
    episode = next(iter(some.values()))
    signals = torch.sin(torch.arange(episode.inputs.numel())).reshape(episode.shape)
    expected = sharpe(
        episode.settle(signals).net, episode.counted, axis=1, ddof=0, floor=1e-12, bars_per_year=SHORT
    )
    held = episode.counted.sum(1) > 1
    assert float(window_sharpe(episode, signals, floor=1e-12)) == pytest.approx(float(expected[held].mean()))


def test_a_floor_of_a_day_is_a_quarter_of_it_of_a_quarter_of_a_day() -> None:
    """Returns that hardly move: the floor is the least variance of a day, whatever a bar is."""
    net = np.array([1e-6, 3e-6])
    daily = sharpe(net, floor=1e-8, ddof=0)
    finer = sharpe(net / 4, floor=1e-8, ddof=0, bars_per_year=4 * 252)
    assert float(daily) == pytest.approx(252**0.5 * 2e-6 / 1e-4)
    assert float(finer) == pytest.approx((4 * 252) ** 0.5 * 0.5e-6 / 0.5e-4)

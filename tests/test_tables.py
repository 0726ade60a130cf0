"""From stored days to market and portfolio returns, the tidy table and the leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.results import tables
from experiments.results.leaderboard import as_text, leaderboard
from experiments.results.tables import market_days, results_table, scaled_ex_ante
from experiments.settings.config import EXECUTIONS, Execution
from qn_env.arrays import FloatArray

NAN = np.nan
DATES = pd.bdate_range("2020-01-01", periods=600)


def rows_of(market: str, asset: str, first: int, gross: Sequence[float], **columns: object) -> pd.DataFrame:
    """The days of one asset from DATES[first] on; listed and counted unless said otherwise."""
    frame = pd.DataFrame({"date": DATES[first : first + len(gross)], "market": market, "asset": asset})
    plain = {"turnover": 0.0, "gross_late": 0.0, "turnover_late": 0.0, "listed": True, "counted": True}
    return frame.assign(gross=gross, **(plain | columns))


def blocks_of(days: pd.DataFrame) -> pd.DataFrame:
    """First and last day of each market."""
    found = days.groupby("market", sort=False)["date"].agg(test_first="min", test_last="max").reset_index()
    return found.assign(
        test_first=found["test_first"].dt.strftime("%Y-%m-%d"),
        test_last=found["test_last"].dt.strftime("%Y-%m-%d"),
    )


# Market X has A and B on days 0 to 2, Y has C on days 1 to 3; B is unlisted on day 1, and on day 2 it is
# listed but does not count (it is closed on the next day).
TINY = pd.concat(
    [
        rows_of("X", "A", 0, [0.02, 0.04, -0.02], turnover=[1.0, 0.5, 0.0]),
        rows_of(
            "X",
            "B",
            0,
            [0.04, 0.0, 0.0],
            turnover=[0.5, 0.0, 0.5],
            listed=[True, False, True],
            counted=[True, False, False],
        ),
        rows_of("Y", "C", 1, [0.01, 0.03, 0.05], turnover=[1.0, 0.0, 2.0]),
    ],
    ignore_index=True,
)
COSTS = (0.0, 10.0, 20.0)
a_few = settings(max_examples=25)


def portfolio_table(
    by_market: pd.DataFrame, blocks: pd.DataFrame, costs: Sequence[float], execution: Execution = "on-time"
) -> pd.DataFrame:
    """The days of one execution."""
    both = tables.portfolio_table(by_market, blocks, costs)
    assert set(both["execution"]) <= set(EXECUTIONS)
    return both[both["execution"] == execution].drop(columns="execution").reset_index(drop=True)


def table_of(days: pd.DataFrame, costs: Sequence[float] = COSTS) -> pd.DataFrame:
    by_market = market_days(days)
    return results_table(days, by_market, tables.portfolio_table(by_market, blocks_of(days), costs), costs)


def value(
    table: pd.DataFrame, market: str, asset: str, cost: float, metric: str, execution: str = "on-time"
) -> float:
    found = table[
        (table["execution"] == execution)
        & (table["market"] == market)
        & (table["asset"] == asset)
        & (table["cost_bps"] == cost)
        & (table["metric"] == metric)
    ]
    (only,) = found["value"]
    return float(only)


def test_a_markets_day_is_the_mean_over_its_listed_assets() -> None:
    found = market_days(TINY).set_index(["market", "date"]).sort_index()
    assert found.loc["X", "gross"].tolist() == pytest.approx([0.03, 0.04, -0.01])
    assert found.loc["X", "turnover"].tolist() == pytest.approx([0.75, 0.5, 0.25])
    assert found.loc["Y", "gross"].tolist() == [0.01, 0.03, 0.05]


def test_a_market_has_no_day_without_a_listed_asset() -> None:
    days = rows_of("X", "A", 0, [0.1, 0.2, 0.3], listed=[False, True, True])
    assert market_days(days)["date"].tolist() == list(DATES[1:3])


def test_the_portfolio_is_the_mean_of_the_markets_in_their_test_block() -> None:
    found = portfolio_table(market_days(TINY), blocks_of(TINY), [10.0])
    assert found["date"].tolist() == list(DATES[:4])
    assert found["markets"].tolist() == [1, 2, 2, 1]
    assert found["gross"].tolist() == pytest.approx([0.03, 0.025, 0.01, 0.05])
    assert found["turnover"].tolist() == pytest.approx([0.75, 0.75, 0.125, 2.0])
    assert found["cost"].tolist() == pytest.approx([0.00075, 0.00075, 0.000125, 0.002])
    assert found["net"].tolist() == pytest.approx([0.02925, 0.02425, 0.009875, 0.048])
    assert found["cost_bps"].tolist() == [10.0] * 4


def test_what_is_late_is_averaged_like_what_is_on_time() -> None:
    days = TINY.assign(gross_late=-2.0 * TINY["gross"], turnover_late=3.0 * TINY["turnover"])
    on_time, late = (
        portfolio_table(market_days(days), blocks_of(days), [10.0], execution)
        for execution in ("on-time", "late")
    )
    np.testing.assert_allclose(late["gross"], -2.0 * on_time["gross"])
    np.testing.assert_allclose(late["turnover"], 3.0 * on_time["turnover"])
    np.testing.assert_allclose(late["net"], -2.0 * on_time["gross"] - 3e-3 * on_time["turnover"])
    assert late["gross"].abs().sum() > 0.0


def test_every_figure_that_is_late_is_that_of_a_unit_which_earns_it_on_time() -> None:
    rng = np.random.default_rng(0)
    late = {"gross_late": 0.01 * rng.standard_normal(len(TINY)), "turnover_late": rng.random(len(TINY))}
    days = TINY.assign(**late)
    as_if = TINY.assign(gross=late["gross_late"], turnover=late["turnover_late"])
    found, expected = (
        table[table["execution"] == execution].drop(columns="execution").reset_index(drop=True)
        for table, execution in ((table_of(days), "late"), (table_of(as_if), "on-time"))
    )
    pd.testing.assert_frame_equal(found, expected)
    assert (
        found["value"] != table_of(days).loc[lambda t: t["execution"] == "on-time", "value"].to_numpy()
    ).any()


def test_a_market_closed_within_its_block_yields_nothing_that_day() -> None:
    days = pd.concat([rows_of("X", "A", 0, [0.02, 0.04, 0.06]), rows_of("Y", "B", 0, [0.01, 0.01, 0.01])])
    closed = days[~((days["market"] == "X") & (days["date"] == DATES[1]))]
    found = portfolio_table(market_days(closed), blocks_of(days), [0.0])
    assert found["gross"].tolist() == pytest.approx([0.015, 0.005, 0.035])
    assert found["markets"].tolist() == [2, 2, 2]


def test_a_day_counts_with_half_of_the_markets_in_their_block() -> None:
    # On day 0 one of three markets, on days 1 and 2 two, on day 3 three, on day 4 one.
    days = pd.concat(
        [
            rows_of("X", "A", 0, [0.03] * 4),
            rows_of("Y", "A", 1, [0.06] * 3),
            rows_of("Z", "A", 3, [0.09] * 2),
        ]
    )
    found = portfolio_table(market_days(days), blocks_of(days), [0.0])
    assert found["date"].tolist() == list(DATES[1:4])
    assert found["markets"].tolist() == [2, 2, 3]
    assert found["gross"].tolist() == pytest.approx([0.045, 0.045, 0.06])


@st.composite
def ragged_units(draw: st.DrawFn) -> pd.DataFrame:
    """The days of a unit: markets of one to three assets, each with its own test block and holidays."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = []
    for m in range(draw(st.integers(1, 4))):
        first, count = int(rng.integers(0, 20)), int(rng.integers(2, 60))
        open_days = np.unique(np.r_[0, np.flatnonzero(rng.random(count) < 0.9), count - 1])
        for asset in range(int(rng.integers(1, 4))):
            n = len(open_days)
            listed = rng.random(n) < 0.9 if asset else np.ones(n, dtype=bool)
            gross = np.where(listed, rng.standard_normal(n) * 0.01, 0.0)
            frame = rows_of(f"M{m}", f"A{asset}", 0, gross.tolist()).assign(
                date=DATES[first + open_days],
                turnover=np.where(listed, rng.random(n), 0.0),
                listed=listed,
                counted=listed & (rng.random(n) < 0.9),
            )
            parts.append(frame)
    return pd.concat(parts, ignore_index=True)


@a_few
@given(ragged_units(), st.floats(0.0, 100.0))
def test_net_returns_are_linear_in_the_cost(days: pd.DataFrame, cost: float) -> None:
    found = portfolio_table(market_days(days), blocks_of(days), [0.0, cost + 1.0, 2.0 * cost + 2.0])
    free, once, twice = (part.reset_index(drop=True) for _, part in found.groupby("cost_bps"))
    np.testing.assert_array_equal(free["net"], free["gross"])
    np.testing.assert_allclose(free["net"] - once["net"], once["cost"], atol=1e-15)
    np.testing.assert_allclose(free["net"] - twice["net"], 2.0 * once["cost"], atol=1e-15)


@a_few
@given(ragged_units())
def test_the_portfolio_agrees_with_a_plain_loop(days: pd.DataFrame) -> None:
    blocks = blocks_of(days)
    expected = []
    for date in sorted(days["date"].unique()):
        day = f"{date:%Y-%m-%d}"
        inside = [b["market"] for _, b in blocks.iterrows() if b["test_first"] <= day <= b["test_last"]]
        if 2 * len(inside) < len(blocks):
            continue
        means = [
            days[(days["date"] == date) & (days["market"] == m) & days["listed"]]["gross"].mean()
            for m in inside
        ]
        expected.append((date, np.nansum(means) / len(inside), len(inside)))
    found = portfolio_table(market_days(days), blocks, [0.0])
    assert list(zip(found["date"], found["markets"], strict=True)) == [(d, n) for d, _, n in expected]
    np.testing.assert_allclose(found["gross"], [g for _, g, _ in expected], atol=1e-15)


def test_the_tidy_table_has_the_values_worked_by_hand() -> None:
    table = table_of(TINY)
    assert value(table, "X", "A", 0.0, "ann_return") == pytest.approx(252 * 0.04 / 3)
    assert value(table, "X", "A", 10.0, "ann_return") == pytest.approx(252 * (0.04 - 0.0015) / 3)
    assert value(table, "X", "A", 0.0, "turnover") == pytest.approx(252 * 0.5)
    # B counts on day 0 only.
    assert value(table, "X", "B", 20.0, "ann_return") == pytest.approx(252 * 0.039)
    assert value(table, "X", "B", 0.0, "days") == 1.0
    assert np.isnan(value(table, "X", "B", 0.0, "sharpe"))
    assert value(table, "X", "*", 0.0, "ann_return") == pytest.approx(252 * 0.02)
    assert value(table, "X", "*", 0.0, "max_drawdown") == pytest.approx(-0.01)
    assert value(table, "Y", "*", 20.0, "ann_return") == pytest.approx(252 * (0.09 - 0.006) / 3)
    assert value(table, "*", "*", 0.0, "ann_return") == pytest.approx(252 * 0.115 / 4)
    assert value(table, "*", "*", 10.0, "cost_drag") == pytest.approx(252 * 0.003625 / 4)


def test_every_asset_market_and_the_portfolio_has_every_metric_once_at_every_cost() -> None:
    table = table_of(TINY)
    series = {("X", "A"), ("X", "B"), ("X", "*"), ("Y", "C"), ("Y", "*"), ("*", "*")}
    assert set(zip(table["market"], table["asset"], strict=True)) == series
    metrics = table["metric"].nunique()
    assert len(table) == len(series) * metrics * len(COSTS) * len(EXECUTIONS)
    assert not table.duplicated(["market", "asset", "execution", "cost_bps", "metric"]).any()


@a_few
@given(ragged_units())
def test_every_series_agrees_with_pandas_at_every_cost(days: pd.DataFrame) -> None:
    table = table_of(days, (0.0, 25.0))
    table = table[table["execution"] == "on-time"]
    table = table.set_index(["cost_bps", "metric", "market", "asset"])["value"]
    for cost in (0.0, 25.0):
        net = days.assign(net=days["gross"] - cost * 1e-4 * days["turnover"])
        by_asset = net[net["counted"]].groupby(["market", "asset"])["net"]
        by_market = net[net["listed"]].groupby(["market", "date"])["net"].mean().groupby("market")
        for name, series in [*by_asset, *(((m, "*"), s) for m, s in by_market)]:
            assert table[(cost, "days", *name)] == len(series)
            assert table[(cost, "ann_return", *name)] == pytest.approx(252 * series.mean(), abs=1e-12)
            np.testing.assert_allclose(
                table[(cost, "ann_volatility", *name)], 252**0.5 * series.std(), rtol=1e-9
            )
            np.testing.assert_allclose(
                table[(cost, "sharpe", *name)], 252**0.5 * series.mean() / series.std(), rtol=1e-9
            )


def test_without_a_common_day_the_portfolio_is_empty_and_has_no_row_in_the_table() -> None:
    days = pd.concat([rows_of(m, "A", 3 * i, [0.01, 0.02, 0.03]) for i, m in enumerate("XYZ")])
    assert portfolio_table(market_days(days), blocks_of(days), COSTS).empty
    assert set(table_of(days)["market"]) == {"X", "Y", "Z"}


def noise(seed: int, T: int = 400) -> FloatArray:
    return 0.0005 + 0.02 * np.random.default_rng(seed).standard_normal(T)


def test_scaled_returns_divide_by_the_volatility_of_the_day_before() -> None:
    net = noise(0)
    volatility = pd.Series(net).ewm(span=60, min_periods=21).std().shift()
    scaled = scaled_ex_ante(net)
    np.testing.assert_allclose(scaled, net * 0.10 / (252**0.5 * volatility), rtol=1e-12)
    assert np.isnan(scaled[:21]).all()  # 21 returns make the first estimate, used on the 22nd
    assert np.isfinite(scaled[21:]).all()
    assert 252**0.5 * scaled[21:].std() == pytest.approx(0.10, rel=0.1)


@given(st.integers(0, 99), st.integers(0, 2**32 - 1))
def test_scaled_returns_use_only_past_days(day: int, seed: int) -> None:
    net = noise(seed, 100)
    other = net.copy()
    other[day:] = np.random.default_rng(seed + 1).standard_normal(100 - day) * 0.1
    np.testing.assert_array_equal(scaled_ex_ante(other)[:day], scaled_ex_ante(net)[:day])
    # The return of the day itself is not in its own scale.
    ratio = scaled_ex_ante(other)[day] / other[day]
    np.testing.assert_allclose(ratio, scaled_ex_ante(net)[day] / net[day], rtol=1e-12)


def test_scaled_returns_do_not_depend_on_leverage_and_follow_the_target() -> None:
    net = noise(1)
    np.testing.assert_allclose(scaled_ex_ante(4.0 * net), scaled_ex_ante(net), rtol=1e-12)
    np.testing.assert_allclose(scaled_ex_ante(net, 0.3), 3.0 * scaled_ex_ante(net), rtol=1e-12)


@pytest.mark.parametrize("net", [np.zeros(0), np.zeros(1), np.zeros(100), np.full(100, 0.01)])
def test_without_volatility_nothing_is_scaled(net: FloatArray) -> None:
    assert scaled_ex_ante(net).shape == net.shape
    assert np.isnan(scaled_ex_ante(net)).all()


def unit(seed: int, mean: float, *, first: Mapping[str, int] | None = None, T: int = 300) -> pd.DataFrame:
    """The days of one asset in each of three markets."""
    rng = np.random.default_rng(seed)
    starts = first or {"X": 0, "Y": 5, "Z": 10}
    return pd.concat(
        [
            rows_of(m, "A", start, (mean + 0.01 * rng.standard_normal(T)).tolist(), turnover=rng.random(T))
            for m, start in starts.items()
        ],
        ignore_index=True,
    )


def board_of(
    units: Mapping[tuple[str, int], pd.DataFrame],
    costs: Sequence[float] = (0.0,),
    *,
    learnt: Sequence[str] = (),
    quick: bool = False,
    seed: int = 0,
    execution: Execution | None = "on-time",
) -> pd.DataFrame:
    """The leaderboard of units (agent, seed): days, of one execution or of both."""
    results, portfolios, by_market = [], [], {}
    for (agent, run), days in units.items():
        by_market[agent, run] = market_days(days)
        daily = tables.portfolio_table(by_market[agent, run], blocks_of(days), costs)
        table = results_table(days, by_market[agent, run], daily, costs)
        results.append(table.assign(agent=agent, seed=run))
        portfolios.append(daily.assign(agent=agent, seed=run))
    board = leaderboard(
        pd.concat(results, ignore_index=True),
        pd.concat(portfolios, ignore_index=True),
        by_market,
        seed=seed,
        learnt=learnt,
        quick=quick,
        begins=sorted(set(blocks_of(days)["test_first"])),
    )
    return board if execution is None else board[board["execution"] == execution].reset_index(drop=True)


FLAT = unit(0, 0.0).assign(gross=0.0, turnover=0.0)


def test_agents_are_ranked_by_net_sharpe_ratio_at_each_cost() -> None:
    # The busy one earns more before costs and less after them.
    busy, calm = unit(1, 0.004), unit(1, 0.002).assign(turnover=0.0)
    board = board_of({("calm", 0): calm, ("busy", 0): busy}, (0.0, 100.0))
    assert board["cost_bps"].tolist() == [0.0, 0.0, 100.0, 100.0]
    assert board["rank"].tolist() == [1, 2, 1, 2]
    assert board["agent"].tolist() == ["busy", "calm", "calm", "busy"]


def test_a_nan_sharpe_ratio_ranks_last_and_prints_as_a_dash() -> None:
    units = {("flat", 0): FLAT, ("bad", 0): unit(1, -0.01), ("good", 0): unit(1, 0.01)}
    board, both = board_of(units), board_of(units, execution=None)
    assert board["agent"].tolist() == ["good", "bad", "flat"]
    assert board["rank"].tolist() == [1, 2, 3]
    assert board.loc[2, ["sharpe", "sharpe_low", "sharpe_high", "seed_low", "calmar"]].isna().all()
    line = as_text(both, "on-time").splitlines()[-1]
    assert line.split()[:4] == ["3", "flat", "-", "-"]
    assert "nan" not in as_text(both)


def test_figures_are_those_of_the_portfolio_with_means_over_seeds() -> None:
    units = {("a", s): unit(s, 0.001 * (s + 1)) for s in range(2)}
    (row,) = board_of(units, (10.0,)).to_dict("records")
    nets = []
    for days in units.values():
        daily = portfolio_table(market_days(days), blocks_of(days), [10.0])
        nets.append(daily["net"])
    sharpes = [252**0.5 * net.mean() / net.std() for net in nets]
    assert (row["basis"], row["seeds"], row["undefined"]) == ("portfolio", 2, 0)
    assert row["sharpe"] == pytest.approx(np.mean(sharpes))
    assert (row["seed_low"], row["seed_high"]) == pytest.approx((min(sharpes), max(sharpes)))
    assert row["ann_return"] == pytest.approx(252 * np.mean([net.mean() for net in nets]))
    assert row["ann_volatility"] == pytest.approx(252**0.5 * np.mean([net.std() for net in nets]))
    assert row["sharpe_low"] < row["sharpe"] < row["sharpe_high"]
    scaled = [pd.Series(scaled_ex_ante(net.to_numpy())) for net in nets]
    assert row["ann_return_10"] == pytest.approx(252 * np.mean([s.mean() for s in scaled]))
    wealth = [(1.0 + s.dropna()).cumprod() for s in scaled]
    deepest = [(w / w.cummax().clip(lower=1.0) - 1.0).min() for w in wealth]
    assert row["max_drawdown_10"] == pytest.approx(np.mean(deepest))


@pytest.mark.parametrize("flat_seed", [0, 1])
def test_the_range_over_seeds_is_that_of_the_seeds_with_a_sharpe_ratio(flat_seed: int) -> None:
    units = {("a", s): FLAT if s == flat_seed else unit(1, 0.001) for s in range(2)}
    (row,) = board_of(units).to_dict("records")
    assert row["seed_low"] == row["seed_high"] == pytest.approx(row["sharpe"])
    assert row["undefined"] == 3  # assets of the flat seed


def test_markets_whose_blocks_never_overlap_are_ranked_by_the_mean_over_markets() -> None:
    apart = {"X": 0, "Y": 200, "Z": 400}
    good, bad = unit(1, 0.002, first=apart, T=200), unit(2, -0.002, first=apart, T=200)
    board = board_of({("bad", 0): bad, ("good", 0): good}, (10.0,))
    assert board["basis"].tolist() == ["markets", "markets"]
    assert board["agent"].tolist() == ["good", "bad"]
    net = good.assign(net=good["gross"] - 0.001 * good["turnover"]).groupby("market")["net"]
    assert board["sharpe"][0] == pytest.approx((252**0.5 * net.mean() / net.std()).mean())
    assert board["ann_return"][0] == pytest.approx(252 * net.mean().mean())
    assert board["sharpe_low"][0] < board["sharpe"][0] < board["sharpe_high"][0]
    nets = [
        days["net"] for _, days in good.assign(net=good["gross"] - 0.001 * good["turnover"]).groupby("market")
    ]
    scaled = [np.nanmean(scaled_ex_ante(days.to_numpy())) for days in nets]
    assert board["ann_return_10"][0] == pytest.approx(252 * np.mean(scaled))
    both = board_of({("bad", 0): bad, ("good", 0): good}, (10.0,), execution=None)
    assert "good" in as_text(both)


@pytest.mark.parametrize(("days", "basis"), [(251, "markets"), (252, "portfolio")])
def test_a_portfolio_ranks_from_252_common_days_on(days: int, basis: str) -> None:
    board = board_of({("a", 0): unit(1, 0.0, first={"X": 0, "Y": 0, "Z": 0}, T=days)})
    assert board["basis"].tolist() == [basis]


@pytest.mark.parametrize(
    ("seeds", "learnt", "quick", "comparable"),
    [
        pytest.param(1, False, False, True, id="a rule has one seed"),
        pytest.param(1, False, True, True, id="a rule is never quick"),
        pytest.param(5, True, False, True, id="five seeds"),
        pytest.param(4, True, False, False, id="a seed short, or failed"),
        pytest.param(1, True, False, False, id="one seed of a learner is an anecdote"),
        pytest.param(5, True, True, False, id="short trainings"),
    ],
)
def test_a_learnt_agent_is_comparable_with_five_full_trainings(
    seeds: int, *, learnt: bool, quick: bool, comparable: bool
) -> None:
    units = {("a", s): unit(s, 0.001, T=60) for s in range(seeds)}
    board = board_of(units, learnt=["a"] if learnt else [], quick=quick, execution=None)
    assert board["comparable"].tolist() == [comparable] * 2
    assert as_text(board).endswith(" !") is not comparable


def test_a_part_that_was_earned_on_the_first_day_is_marked_and_a_delay_without_a_price_is_not() -> None:
    rng = np.random.default_rng(3)
    noise_of = {seed: 0.01 * rng.standard_normal(3 * 300) for seed in range(2)}
    edge = unit(4, 0.0)
    quick = edge.assign(gross=edge["gross"] + 0.004, gross_late=noise_of[0])
    steady = edge.assign(gross=edge["gross"] + 0.001, gross_late=edge["gross"] + 0.001)
    board = board_of({("quick", 0): quick, ("steady", 0): steady}, execution=None).set_index(
        ["execution", "agent"]
    )
    assert board["first_day"].to_dict() == {
        ("late", "quick"): True,
        ("late", "steady"): False,
        ("on-time", "quick"): True,
        ("on-time", "steady"): False,
    }
    assert board.loc[("on-time", "quick"), "rank"] == 1
    assert board.loc[("late", "quick"), "rank"] == 2
    text = as_text(board.reset_index(), "on-time")
    assert "quick ^" in text
    assert "steady ^" not in text


def test_a_book_that_never_moves_has_earned_nothing_on_the_first_day() -> None:
    """Late it misses its first day, and pays for its entry on the next: no more is between them."""
    held = unit(5, 0.001, first={"X": 0, "Y": 0, "Z": 0}).assign(turnover=0.0)
    first = held.groupby("market").cumcount()
    held = held.assign(turnover=np.where(first == 0, 1.0, 0.0), turnover_late=np.where(first == 1, 1.0, 0.0))
    held = held.assign(gross_late=np.where(first == 0, 0.0, held["gross"]))
    board = board_of({("held", 0): held}, (0.0, 50.0), execution=None)
    assert not board["first_day"].any()


def test_the_same_seed_gives_the_same_board() -> None:
    units = {("a", 0): unit(1, 0.001), ("b", 0): unit(2, 0.001)}
    pd.testing.assert_frame_equal(board_of(units), board_of(units), check_exact=True)
    assert board_of(units)["sharpe_low"][0] != board_of(units, seed=1)["sharpe_low"][0]


def test_the_printed_board_has_one_block_per_cost_and_one_line_per_agent_by_rank() -> None:
    board = pd.DataFrame(
        {
            "execution": "late",
            "cost_bps": [0.0, 0.0, 2.5],
            "rank": [1, 2, 1],
            "agent": ["macd", "a-long-name", "macd"],
            "seeds": [1, 5, 1],
            "comparable": [True, False, True],
            "static": [True, False, False],
            "first_day": [True, False, False],
            "sharpe": [1.234, NAN, -0.5],
            "sharpe_low": [-0.1, NAN, -1.0],
            "sharpe_high": [2.0, NAN, 0.25],
            "ann_return": [0.1234, 0.0, -0.01],
            "ann_volatility": [0.1, 0.0, 0.02],
            "max_drawdown": [-0.255, 0.0, -0.1],
            "calmar": [0.48, NAN, -0.1],
            "turnover": [12.34, 0.0, 1.0],
            "ann_return_10": [0.12, NAN, -0.05],
            "max_drawdown_10": [-0.2, NAN, -0.3],
        }
    )
    board = pd.concat([board, board.assign(execution="on-time", sharpe=[1.5, NAN, -0.25])])
    free, costly = as_text(board).split("\n\n")
    title, head, rule, first, second = free.splitlines()
    assert title == "Net of 0 bps per unit of turnover, one day late"
    assert len(rule) == len(head)
    assert len(first) <= len(head)
    shown = "1 macd = ^ 1.23 1.50 [-0.10, 2.00] 12.34% 10.00% -25.5% 0.48 12.3 12.00% -20.0% 1"
    assert " ".join(first.split()) == shown
    assert " ".join(second.split()) == "2 a-long-name - - [-, -] 0.00% 0.00% 0.0% - 0.0 - - 5 !"
    assert costly.splitlines()[0] == "Net of 2.5 bps per unit of turnover, one day late"
    assert len(costly.splitlines()) == 4
    other = as_text(board, "on-time").splitlines()
    assert other[0].endswith("turnover, on time")
    assert " ".join(other[1].split()[:7]) == "agent Sharpe late 95% interval return volat."
    assert " ".join(other[3].split()[:8]) == "1 macd = ^ 1.50 1.23 [-0.10, 2.00]"

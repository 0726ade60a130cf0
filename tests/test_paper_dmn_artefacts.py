"""The exhibits of Deep Momentum Networks: numbers worked by hand, laws, and every file from a fake run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agents.dmn.config import DmnConfig
from agents.dmn.space import dmn2019
from agents.rules import phi
from experiments.papers.config import late_trained
from experiments.papers.dmn import published
from experiments.papers.dmn.appendix import exhibit_a1, instruments
from experiments.papers.dmn.artefacts import write_artefacts
from experiments.papers.dmn.asset_tables import across_assets, five_numbers, turnover_summary
from experiments.papers.dmn.blocks import blocks
from experiments.papers.dmn.config import LSTM, REFERENCES, REGULARISED
from experiments.papers.dmn.figures import exhibit_1, growth, panels
from experiments.papers.dmn.measure import Measured, measure, metrics
from experiments.papers.dmn.orderings import orderings, verdict
from experiments.papers.dmn.portfolio_tables import (
    beside_the_paper,
    exhibit_2,
    exhibit_3,
    exhibit_8,
    exhibit_9,
    exhibit_9_differences,
    exhibit_9_own,
    one_day_late,
    trained_for_it,
    turnover_table,
)
from experiments.papers.dmn.published import ORDER, SIXTEEN, label
from experiments.papers.dmn.scores import (
    COSTS,
    DEAR,
    OWN,
    RAW,
    RESCALED,
    Level,
    Scores,
    break_even,
    levels_of,
    score,
)
from experiments.papers.dmn.unit import Unit, ex_ante_scale
from experiments.results.books import Book
from experiments.results.tables import scaled_ex_ante
from experiments.settings.config import EXECUTIONS
from experiments.storage.store import DAILY, WEIGHTS
from qn_env.errors import DataError
from qn_env.objectives import sharpe

NAN = np.nan
MARKETS = {"Grain": 2, "Metal $": 2, "Bond <i>": 1}  # assets
T = 320
SEEDS = {"dmn-lstm-sharpe": 2, "dmn-lstm-mse": 2, "dmn-lstm-sharpe-turnover": 2, "dmn-mlp-sharpe": 1}
AGENTS = {"long-only": 1, "macd": 1, **SEEDS, "mine": 1}
CHOSEN = [
    {"agent": agent, "window": window, "trial": 3, "options": {"hidden": 20, "dropout": 0.1}, "score": 0.5}
    for agent in ("dmn-lstm-sharpe", "dmn-mlp-sharpe")
    for window in ("2000-2000", "2001-2001")
]
STUDY = {"budget": {"draws": 50, "seeds": 2}, "trials": [*CHOSEN, CHOSEN[0] | {"trial": 4}], "chosen": CHOSEN}
IMPORTANCE = pd.DataFrame(
    {"agent": LSTM, "feature": ["1 day", "21 days"], "sharpe": [0.2, 0.9], "drop": [0.8, 0.1]}
)


@dataclass
class FakeRun:
    """A finished run whose days are given by a function of agent and seed."""

    days: Callable[[str, int], pd.DataFrame]
    counts: Mapping[str, int]
    failed: list[dict[str, Any]] = field(default_factory=list)
    path: Path = Path("fake")

    def record(self) -> dict[str, Any]:
        markets = [{"market": name, "window": w} for w in ("2000-2000", "2001-2001") for name in MARKETS]
        return {
            "config": {"seed": 0, "quick": False},
            "panel": {"first": "1990-01-01", "last": "2001-12-31", "assets": 5, "markets": markets}
            | {"notes": ["<Survivors> only."]},
            "agents": {
                agent: {"learns": agent in SEEDS, "seeds": list(range(n)), "train_cost_bps": 10.0}
                | {"vol_target": None if agent == "mine" else 0.15}
                for agent, n in self.counts.items()
            },
            "failed": self.failed,
        }

    def agent_days(self, agent: str, seed: int) -> pd.DataFrame:
        return self.days(agent, seed)

    def asset_costs(self) -> pd.DataFrame | None:
        """Where the days have costs, those of every asset."""
        days = self.days(next(iter(self.counts)), 0)
        if "cost" not in days:
            return None
        assets = days[["market", "asset"]].drop_duplicates(ignore_index=True)
        return assets.assign(bps=np.arange(1.0, len(assets) + 1))

    def results(self) -> pd.DataFrame:
        """A Sharpe ratio after their own costs of every agent and asset: 1 on time and 0 late."""
        assets = self.days(next(iter(self.counts)), 0)[["market", "asset"]].drop_duplicates()
        plain = {"seed": 0, "split": "test", "cost_bps": NAN, "metric": "sharpe"}
        return pd.concat(
            assets.assign(agent=agent, execution=execution, value=float(execution == "on-time"), **plain)
            for agent in self.counts
            for execution in EXECUTIONS
        )


def random_days(agent: str, seed: int) -> pd.DataFrame:
    """Random days of five assets; one is listed late, and a market is closed on some days."""
    rng = np.random.default_rng([seed, *agent.encode()])
    dates = pd.bdate_range("2000-03-01", periods=T)
    parts = []
    for market, n in MARKETS.items():
        frame = pd.DataFrame({"date": dates.repeat(n), "market": market})
        frame["asset"] = [f"{market[0]}{i}" for i in range(n)] * T
        frame["gross"] = rng.normal(0.0005, 0.01, T * n)
        frame["turnover"] = rng.uniform(0.0, 0.1, T * n)
        frame["gross_late"] = 0.5 * frame["gross"] + rng.normal(0.0, 0.005, T * n)
        frame["turnover_late"] = frame["turnover"]
        # What is no change of the weight counts as sold at a delisting: all of it, of a weight of zero.
        frame["weight"] = frame["weight_late"] = 0.0
        late = (frame["asset"] == "G1") & (frame["date"] < dates[40])
        frame["listed"] = frame["counted"] = frame["traded"] = ~late
        frame.loc[late, [*DAILY, *WEIGHTS]] = 0.0
        frame["window"] = np.where(frame["date"].dt.year == 2000, "2000-2000", "2001-2001")
        parts.append(frame[frame["date"] != dates[100]] if market.startswith("Bond") else frame)
    return pd.concat(parts, ignore_index=True)


def tiny_days(rows: list[tuple[str, str, str, float, float, bool]]) -> pd.DataFrame:
    """Days from (date, market, asset, gross, turnover, listed)."""
    frame = pd.DataFrame(rows, columns=["date", "market", "asset", "gross", "turnover", "listed"])
    frame["date"] = pd.to_datetime(frame["date"])
    late = {"gross_late": frame["gross"], "turnover_late": frame["turnover"]}
    weights = dict.fromkeys(WEIGHTS, 0.0)
    flags = {"counted": frame["listed"], "traded": frame["listed"]}
    return frame.assign(window="all", **late, **weights, **flags)


@pytest.fixture(scope="module")
def run() -> FakeRun:
    return FakeRun(random_days, AGENTS)


@pytest.fixture(scope="module")
def measured(run: FakeRun) -> Measured:
    return measure(run)


@pytest.fixture(scope="module")
def scores(measured: Measured) -> Scores:
    return score(measured, seed=0, replications=200)


def with_books(
    measured: Measured, books: Mapping[str, Book], late: Mapping[str, Book] | None = None
) -> Measured:
    """The same run with other portfolios, which a delay does not change unless `late` says so."""
    late = late or books
    return replace(
        measured,
        seeds={agent: list(range(book.gross.shape[1])) for agent, book in books.items()},
        raw=dict(books),
        scaled={agent: rescaled(book) for agent, book in books.items()},
        raw_late=dict(late),
        scaled_late={agent: rescaled(book) for agent, book in late.items()},
    )


def rescaled(book: Book) -> Book:
    """A book times the factor of its returns: of weights that are bought anew every day."""
    scale = ex_ante_scale(book.gross)
    return book.each(lambda series: scale * series)


def random_book(seed: int, mean: float = 0.0005, columns: int = 2, turnover: float = 0.05) -> Book:
    rng = np.random.default_rng(seed)
    gross = rng.normal(mean, 0.005, (T, columns))
    return Book(gross, turnover * rng.uniform(0.5, 1.5, gross.shape))


# ---- The portfolio


def test_a_portfolio_is_the_mean_over_all_listed_assets_whatever_their_market() -> None:
    days = tiny_days(
        [
            ("2020-01-01", "A", "a", 0.03, 0.3, True),
            ("2020-01-01", "A", "b", 0.09, 0.6, False),  # not listed yet
            ("2020-01-01", "B", "c", 0.01, 0.1, True),
            ("2020-01-02", "A", "a", 0.03, 0.3, True),
            ("2020-01-02", "A", "b", 0.06, 0.0, True),
            ("2020-01-02", "B", "c", -0.03, 0.0, True),
        ]
    )
    gross, turnover, _ = Unit.of(days).portfolio()
    np.testing.assert_allclose(gross, [0.02, 0.02])
    np.testing.assert_allclose(turnover, [0.2, 0.1])


def test_an_asset_whose_market_is_closed_earns_nothing_and_counts() -> None:
    rows = [(f"2020-01-0{day}", "A", "a", 0.02, 0.1, True) for day in (1, 2, 3, 4)]
    rows += [(f"2020-01-0{day}", "B", "b", 0.04, 0.1, True) for day in (1, 3)]
    gross = Unit.of(tiny_days(rows)).portfolio().gross
    # On the 2nd B is closed: (0.02 + 0) / 2. On the 4th it has ended: 0.02 / 1.
    np.testing.assert_allclose(gross, [0.03, 0.01, 0.03, 0.02])


def test_a_delisted_asset_stays_delisted_while_its_market_is_closed() -> None:
    rows = [(f"2020-01-0{day}", "A", "a", 0.02, 0.0, True) for day in (1, 2, 3, 4)]
    rows += [("2020-01-01", "B", "b", 0.04, 0.0, True), ("2020-01-02", "B", "b", 0.0, 0.0, False)]
    rows += [("2020-01-04", "B", "b", 0.0, 0.0, False)]
    gross = Unit.of(tiny_days(rows)).portfolio().gross
    np.testing.assert_allclose(gross, [0.03, 0.02, 0.02, 0.02])


def test_a_day_given_twice_is_refused() -> None:
    row = ("2020-01-01", "A", "a", 0.02, 0.0, True)
    with pytest.raises(DataError, match="appears twice, expected test blocks that do not overlap"):
        Unit.of(tiny_days([row, row]))


def test_agents_judged_on_other_days_are_refused() -> None:
    def shortened(agent: str, seed: int) -> pd.DataFrame:
        days = random_days(agent, seed)
        return days[days["date"] < "2001-01-01"] if (agent, seed) == (LSTM, 1) else days

    with pytest.raises(DataError, match="'dmn-lstm-sharpe', seed 1, has other days or assets"):
        measure(FakeRun(shortened, AGENTS))


def test_failed_seeds_are_left_out_and_a_run_without_any_is_refused() -> None:
    failed = [{"agent": LSTM, "seed": 0, "window": "2000-2000", "error": "ValueError: <loss>"}]
    assert measure(FakeRun(random_days, {LSTM: 2}, failed)).seeds == {LSTM: [1]}
    with pytest.raises(DataError, match="no agent has finished"):
        measure(FakeRun(random_days, {LSTM: 1}, failed))


def test_an_assets_figure_is_the_mean_over_seeds(measured: Measured) -> None:
    each = []
    for seed in (0, 1):
        days = random_days(LSTM, seed)
        own = days[(days["asset"] == "G1") & days["counted"]]["gross"].to_numpy()
        each.append(float(sharpe(own)))
    assert measured.of("sharpe").loc[("Grain", "G1"), LSTM] == pytest.approx(np.mean(each))


# ---- Ex-ante scaling


def test_the_factor_times_the_returns_is_the_harness_own_scaling() -> None:
    gross = random_book(1).gross
    np.testing.assert_array_equal(ex_ante_scale(gross) * gross, scaled_ex_ante(gross, 0.15))


def test_later_returns_leave_earlier_scaled_returns_alone() -> None:
    book = random_book(2)
    later = Book(np.where(np.arange(T)[:, None] > 150, 9.0 * book.gross, book.gross), book.turnover)
    for before, after in zip(rescaled(book)[:2], rescaled(later)[:2], strict=True):
        np.testing.assert_array_equal(before[:151], after[:151])
    # Even the factor of the first changed day knows nothing of it.
    np.testing.assert_array_equal(ex_ante_scale(book.gross)[151], ex_ante_scale(later.gross)[151])
    assert (ex_ante_scale(book.gross)[152:] > ex_ante_scale(later.gross)[152:]).all()


def test_rescaled_portfolios_come_to_the_target_and_start_with_their_estimate() -> None:
    book = rescaled(random_book(3))
    assert np.isnan(book.gross[:21]).all()
    assert np.isfinite(book.gross[21:]).all()
    assert metrics(book, 0.0)["ann_volatility"] == pytest.approx(0.15, rel=0.1)


# ---- Exhibits 2, 3, 8 and 9


def test_the_nine_figures_by_hand(measured: Measured) -> None:
    gross = np.zeros((T, 1))
    gross[:4, 0] = [0.02, -0.01, 0.01, 0.0]
    made = with_books(measured, {LSTM: Book(gross, np.zeros_like(gross))})
    row = exhibit_2(made, score(made, seed=0, replications=5)).data.iloc[0]
    mean = 0.02 / T
    deviation = np.sqrt((0.02**2 + 2 * 0.01**2 - T * mean**2) / (T - 1))
    assert row["ann_return"] == pytest.approx(252 * mean)
    assert row["ann_volatility"] == pytest.approx(np.sqrt(252) * deviation)
    assert row["downside_risk"] == pytest.approx(np.sqrt(252 * 0.01**2 / T))
    assert row["max_drawdown"] == pytest.approx(-0.01)
    assert row["sharpe"] == pytest.approx(np.sqrt(252) * mean / deviation)
    assert row["sortino"] == pytest.approx(252 * mean / np.sqrt(252 * 0.01**2 / T))
    assert row["calmar_arith"] == pytest.approx(252 * mean / 0.01)
    assert row["hit_rate"] == pytest.approx(2 / 3)  # of the days with a return
    assert row["profit_loss_ratio"] == pytest.approx(1.5)
    assert row["sharpe_published"] == 2.804


def test_published_figures_stand_beside_ours_only_where_there_are_some(
    measured: Measured, scores: Scores
) -> None:
    shown = exhibit_3(measured, scores).shown.set_index("Strategy")
    assert shown.loc["LSTM, Sharpe", "Sharpe, paper"] == "2.907"
    assert shown.loc["mine", "Sharpe, paper"] == "\N{EN DASH}"
    dear = exhibit_9(measured, scores).shown.set_index("Strategy")
    assert dear["Sharpe, paper"].to_dict()["LSTM, Sharpe"] == "-5.310"
    three = exhibit_3(measured, scores)
    table = beside_the_paper([three, exhibit_9(measured, scores)])
    assert table is not None
    rows = table.shown.set_index(["Exhibit", "Strategy", "Metric"])
    assert rows.loc[("3", "LSTM, Sharpe", "MDD"), "Paper"] == "-20.9%"
    assert rows.loc[("3", "LSTM, Sharpe", "Sortino"), "Paper"] == "4.29"
    assert rows.loc[("3", "LSTM, Sharpe", "Sharpe"), "Paper"] == "2.907"
    mine = three.data.set_index("agent").loc["dmn-lstm-sharpe"]
    assert rows.loc[("3", "LSTM, Sharpe", "MDD"), "Here"] == f"{mine['max_drawdown']:.1%}"
    assert rows.loc[("9", "LSTM, Sharpe", "Sharpe"), "Paper"] == "-5.310"
    assert beside_the_paper([three.__class__(**{**vars(three), "data": three.data.iloc[:0]})]) is None


def test_exhibit_8_without_costs_is_exhibit_3(measured: Measured, scores: Scores) -> None:
    free = exhibit_8(measured, scores).data.query("cost_bps == 0").set_index("agent")
    three = exhibit_3(measured, scores).data.set_index("agent")
    for name in ("sharpe", "sharpe_low", "sharpe_high"):
        pd.testing.assert_series_equal(free[name], three[name], check_exact=True)


def test_costs_only_lower_returns_and_sharpe_ratios(measured: Measured, scores: Scores) -> None:
    wide = exhibit_8(measured, scores).data.pivot(index="agent", columns="cost_bps", values="sharpe")
    assert (np.diff(wide[list(COSTS)].to_numpy(), axis=1) < 0).all()
    for book in measured.scaled.values():
        returns = [metrics(book, cost)["ann_return"] for cost in COSTS]
        assert (np.diff(returns, axis=0) < 0).all()


def test_the_break_even_cost_plugged_back_gives_a_sharpe_ratio_of_zero(
    measured: Measured, scores: Scores
) -> None:
    for agent, found in scores.break_even.items():
        at_root = metrics(measured.scaled[agent], found.value)["sharpe"].mean()
        assert at_root == pytest.approx(0.0, abs=1e-9)
        assert found.interval.low < found.value < found.interval.high


def test_one_seeds_break_even_is_its_mean_return_over_its_mean_turnover() -> None:
    book = random_book(5, columns=1)
    ones, own = np.ones((1, T)), np.zeros((1, 1), dtype=int)
    by_hand = 1e4 * book.gross.mean() / book.turnover.mean()
    assert break_even(book, ones, own)[0] == pytest.approx(by_hand)
    losing = Book(-abs(book.gross), book.turnover)
    assert break_even(losing, ones, own)[0] < 0
    assert np.isnan(break_even(Book(book.gross, 0.0 * book.turnover), ones, own)[0])


def test_break_even_of_resampled_days_equals_a_slow_plain_loop() -> None:
    book, rng = random_book(6, columns=2), np.random.default_rng(0)
    rows = rng.integers(T, size=(3, T))
    counts = np.stack([np.bincount(r, minlength=T) for r in rows]).astype(float)
    chosen = np.array([[0, 1], [1, 1], [0, 0]])
    for found, days, seeds in zip(break_even(book, counts, chosen), rows, chosen, strict=True):
        drawn = Book(book.gross[days][:, seeds], book.turnover[days][:, seeds])
        assert metrics(drawn, found)["sharpe"].mean() == pytest.approx(0.0, abs=1e-9)


def test_intervals_equal_those_of_a_slow_plain_loop(measured: Measured) -> None:
    from experiments.papers.bootstrap import day_counts

    made = with_books(measured, {LSTM: random_book(7), "macd": random_book(8, columns=1)})
    found = score(made, seed=3, replications=20)
    rng = np.random.default_rng(3)
    counts = day_counts(T, found.block, rng, 20).astype(int)
    draw = (2 * rng.random((20, 2))).astype(int)
    level = Level(rescaled=True, cost=2.0)
    for agent, chosen in ((LSTM, draw), ("macd", np.zeros((20, 1), dtype=int))):
        net = made.scaled[agent].net(2.0)
        expected = []
        for r in range(20):
            days = net[np.repeat(np.arange(T), counts[r])]
            known = np.isfinite(days)
            ratios = sharpe(np.where(known, days, 0.0), known, axis=0)
            expected.append(np.mean([ratios[seed] for seed in chosen[r]]))
        np.testing.assert_allclose(found.sharpe[level][agent].samples, expected, rtol=1e-9)
        np.testing.assert_allclose(
            found.sharpe[level][agent].interval, np.quantile(expected, [0.025, 0.975]), rtol=1e-9
        )


def test_identical_strategies_differ_by_exactly_nothing(measured: Measured) -> None:
    book = random_book(9)
    made = with_books(measured, {LSTM: book, REGULARISED: book, "macd": random_book(1, columns=1)})
    found = score(made, seed=0, replications=20)
    table = exhibit_9_differences(made, found)
    assert table is not None
    same = table.data.query("strategy == @REGULARISED and other == @LSTM").iloc[0]
    assert same[["difference", "difference_low", "difference_high"]].tolist() == [0.0, 0.0, 0.0]
    claim = orderings(found).set_index("claim").loc["LSTM + Reg.: ahead of LSTM, Sharpe at 10 bps"]
    assert claim["margin"] == 0.0
    assert claim["verdict"] == "does not hold"


def test_what_a_delay_takes_is_measured_on_the_same_days(measured: Measured) -> None:
    plain, other = random_book(3), random_book(4, mean=-0.0005)
    made = with_books(measured, {LSTM: plain, "mine": plain}, late={LSTM: plain, "mine": other})
    found = score(made, seed=0, replications=50)
    rows = one_day_late(made, found).data.set_index("agent")
    for kind, level in (("raw", RAW), ("rescaled", RESCALED)):
        assert level.delayed in levels_of(made)
        same = rows.loc[LSTM, [f"{kind}_change", f"{kind}_change_low", f"{kind}_change_high"]]
        assert same.tolist() == [0.0, 0.0, 0.0]
        books = [rescaled(book) if level.rescaled else book for book in (plain, other)]
        known = np.isfinite(books[0].gross[:, 0])
        on_time, late = (float(sharpe(book.gross[known], axis=0).mean()) for book in books)
        assert rows.loc["mine", kind] == pytest.approx(on_time)
        assert rows.loc["mine", f"{kind}_late"] == pytest.approx(late)
        assert (
            rows.loc["mine", f"{kind}_change_low"] < late - on_time < rows.loc["mine", f"{kind}_change_high"]
        )


def test_late_portfolios_are_means_over_the_listed_assets_too(run: FakeRun, measured: Measured) -> None:
    book = measured.book("dmn-lstm-mse", rescaled=False, late=True)
    for seed in range(2):
        days = run.agent_days("dmn-lstm-mse", seed)
        day = days[days["listed"] & (days["date"] == measured.dates[7])]
        assert book.gross[7, seed] == pytest.approx(day["gross_late"].mean())
        assert book.turnover[7, seed] == pytest.approx(day["turnover_late"].mean())
    assert measured.book("dmn-lstm-mse", rescaled=True, late=True) is measured.scaled_late["dmn-lstm-mse"]


def test_models_trained_for_the_delay_stand_beside_those_that_never_met_it(measured: Measured) -> None:
    plain, never, trained = random_book(3), random_book(4, mean=-0.0005), random_book(5)
    name = late_trained(LSTM)
    books = {LSTM: plain, "macd": plain, name: plain}
    made = with_books(measured, books, late=books | {LSTM: never, name: trained})
    assert made.agents == [LSTM, "macd"]
    found = score(made, seed=0, replications=50)
    table = trained_for_it(made, found)
    assert table is not None
    assert table.data["agent"].tolist() == [LSTM]
    row = table.data.iloc[0]
    for key, book in (("free", never), ("free_trained", trained)):
        scaled = rescaled(book).gross
        assert row[key] == pytest.approx(float(sharpe(scaled[np.isfinite(scaled[:, 0])], axis=0).mean()))
    gained = found.sharpe[RESCALED.delayed][name].difference(found.sharpe[RESCALED.delayed][LSTM])
    assert (row["free_gained_low"], row["free_gained_high"]) == gained.interval
    assert trained_for_it(measured, score(measured, seed=0, replications=5)) is None
    assert label(name) == "LSTM, Sharpe, trained late"


# ---- What the data say that each asset costs


def priced_days(agent: str, seed: int) -> pd.DataFrame:
    """The same days, of assets that cost 1 to 5 bp to trade and nothing to hold."""
    days = random_days(agent, seed)
    order = {asset: i + 1.0 for i, asset in enumerate(days["asset"].unique())}
    rate = 1e-4 * days["asset"].map(order)
    return days.assign(rate=rate, cost=rate * days["turnover"], cost_late=rate * days["turnover_late"])


def test_own_costs_are_a_level_of_exhibits_8_and_9(tmp_path: Path) -> None:
    run = FakeRun(priced_days, AGENTS)
    measured = measure(run)
    assert measured.priced
    found = score(measured, seed=0, replications=50)
    eight = exhibit_8(measured, found)
    assert list(eight.shown.columns[-2:]) == ["5 bps", "Own costs"]
    own = eight.data[eight.data["level"] == "market"].set_index("agent")
    assert own["cost_bps"].isna().all()
    # The assets' mean cost of 3 bp is between what 1 and 5 bp for all take.
    at = eight.data.pivot(index="agent", columns="level", values="sharpe")
    assert ((at["market"] < at["1"]) & (at["market"] > at["5"])).all()
    nine = exhibit_9_own(measured, found)
    assert nine is not None
    row = nine.data.set_index("agent").loc[LSTM]
    book = measured.scaled[LSTM]
    assert book.own is not None
    assert row["ann_return"] == pytest.approx(252 * np.nanmean(book.gross - book.own))
    assert row["sharpe"] == own.loc[LSTM, "sharpe"] == found.sharpe[OWN][LSTM].value
    assert np.isnan(row["sharpe_published"])
    page = write_all(run, tmp_path)
    assert 'id="exhibit9-own-costs"' in page.read_text()
    assert 'id="thirds"' not in page.read_text(), "five assets are no thirds"


def test_costs_of_all_assets_that_are_equal_are_a_number_of_basis_points() -> None:
    def same(agent: str, seed: int) -> pd.DataFrame:
        days = random_days(agent, seed)
        costs = {"cost": 2e-4 * days["turnover"], "cost_late": 2e-4 * days["turnover_late"]}
        return days.assign(rate=2e-4, **costs)

    measured = measure(FakeRun(same, AGENTS))
    for books in (measured.raw, measured.scaled, measured.raw_late, measured.scaled_late):
        for book in books.values():
            np.testing.assert_allclose(book.cost("market"), book.cost(2.0), rtol=1e-12, atol=1e-18)


def test_where_the_data_say_no_costs_there_is_no_such_level(measured: Measured, scores: Scores) -> None:
    assert not measured.priced
    assert OWN not in scores.sharpe
    assert exhibit_9_own(measured, scores) is None
    assert exhibit_8(measured, scores).shown.columns[-1] == "5 bps"


def test_a_strategy_that_never_trades_has_no_figures(measured: Measured) -> None:
    flat = Book(np.zeros((T, 1)), np.zeros((T, 1)))
    made = with_books(measured, {LSTM: flat, "macd": random_book(1, columns=1)})
    found = score(made, seed=0, replications=10)
    assert np.isnan(found.sharpe[RAW][LSTM].value)
    assert np.isnan(found.sharpe[RESCALED][LSTM].interval).all()
    claims = orderings(found).set_index("claim")
    assert claims.loc["LSTM, Sharpe: first of all, raw", "verdict"] == "not decided: undefined"
    assert claims.loc["LSTM, Sharpe: ahead of the references at 2 bps", "compared"] == 0
    assert exhibit_3(made, found).shown["Sharpe"].tolist().count("\N{EN DASH}") == 1


def test_exhibit_9_is_at_ten_basis_points_of_the_rescaled_weights(measured: Measured, scores: Scores) -> None:
    row = exhibit_9(measured, scores).data.set_index("agent").loc[REGULARISED]
    book = measured.scaled[REGULARISED]
    assert row["ann_return"] == pytest.approx(252 * np.nanmean(book.gross - 10e-4 * book.turnover))
    assert scores.sharpe[DEAR][REGULARISED].value == row["sharpe"]


# ---- Orderings


def test_verdicts_follow_the_margins_interval(measured: Measured) -> None:
    books = {LSTM: random_book(1, 0.003), "macd": random_book(2, 0.0001), "long-only": random_book(3, -0.002)}
    found = orderings(score(with_books(measured, books), seed=0, replications=100)).set_index("claim")
    first = found.loc["LSTM, Sharpe: first of all, raw"]
    assert first["verdict"] == "holds"
    assert (first["ahead"], first["behind"], first["compared"]) == (LSTM, "macd", 2)
    twice = found.loc["LSTM, Sharpe: over twice the best reference, raw"]
    assert twice["margin"] == pytest.approx(twice["sharpe_ahead"] - 2 * twice["sharpe_behind"])
    assert found.loc["Best reference: ahead of LSTM, Sharpe at 5 bps", "verdict"] == "does not hold"
    assert found.loc["MLP: Sharpe ahead of MSE and binary", "verdict"] == "not in this run"
    assert verdict(NAN, 1.0) == "not decided: undefined"


def test_a_strategy_without_a_sharpe_ratio_is_left_out_of_a_comparison_and_counted(
    measured: Measured,
) -> None:
    flat = Book(np.zeros((T, 1)), np.zeros((T, 1)))
    books = {LSTM: random_book(1, 0.003), "macd": random_book(2, 0.0001), "long-only": flat}
    found = orderings(score(with_books(measured, books), seed=0, replications=50)).iloc[0]
    assert (found["verdict"], found["behind"], found["compared"], found["of"]) == ("holds", "macd", 1, 18)


def test_a_side_and_its_opposite_have_mirrored_intervals(measured: Measured) -> None:
    from experiments.papers.dmn.orderings import _held

    books = {name: random_book(i, 0.0003 * i) for i, name in enumerate((LSTM, *REFERENCES))}
    found = score(with_books(measured, books), seed=0, replications=100).sharpe[RESCALED]
    one, other = _held(found, [LSTM], REFERENCES, 1.0), _held(found, REFERENCES, [LSTM], 1.0)
    assert (one["margin"], one["margin_low"]) == (-other["margin"], -other["margin_high"])
    assert one["margin_low"] < one["margin"] < one["margin_high"]


# ---- Assets, blocks and the appendix


def test_five_numbers_count_what_is_undefined() -> None:
    found = five_numbers(pd.Series([1.0, 2.0, 3.0, 4.0, 9.0, NAN]))
    assert list(found.values()) == [1.0, 2.0, 3.0, 4.0, 9.0, 5, 1]
    assert np.isnan(five_numbers(pd.Series([NAN]))["median"])


def test_turnover_is_a_days_average_and_a_multiple_of_long_only(measured: Measured) -> None:
    each = [random_days(LSTM, seed).query("asset == 'M0'")["turnover"].mean() for seed in (0, 1)]
    assert measured.of("turnover").loc[("Metal $", "M0"), LSTM] / 252 == pytest.approx(np.mean(each))
    data = turnover_table(measured, turnover_summary(measured)).data.set_index("agent")
    assert data.loc["long-only", "times_long_only"] == 1.0
    expected = 1e4 * measured.raw[LSTM].gross.mean() / measured.raw[LSTM].turnover.mean()
    assert data.loc[LSTM, "return_per_turnover_bps"] == pytest.approx(expected)


def test_blocks_are_measured_by_themselves(measured: Measured) -> None:
    data = blocks(measured).set_index(["agent", "window"])
    first = measured.dates < np.datetime64("2001-01-01")
    own = measured.raw["macd"].gross[first, 0]
    assert data.loc[("macd", "2000-2000"), "sharpe"] == pytest.approx(float(sharpe(own)))
    assert data.loc["macd"]["days"].sum() == T


def test_growth_compounds_each_seed_and_then_averages(measured: Measured) -> None:
    data = growth(measured)
    net = measured.scaled[LSTM].gross
    assert data[LSTM].iloc[-1] == pytest.approx(np.nanprod(1 + net, axis=0).mean())
    assert data["macd"].isna().sum() == 21


def test_panels_hold_a_loss_each_and_the_others_beside_the_lstm() -> None:
    found = panels(list(ORDER))
    assert list(found) == ["Sharpe", "Average return", "MSE", "Binary", "Others"]
    assert found["Others"][0] == LSTM
    assert sum(len(names) for names in found.values()) == len(ORDER) - len(REFERENCES) + 1


def test_exhibit_1_is_the_rules_own_function() -> None:
    values = exhibit_1()[1]
    np.testing.assert_array_equal(values["phi"], phi(values["y"].to_numpy()))
    assert values["phi"].max() == pytest.approx(0.964, abs=1e-3)


def test_the_printed_grid_is_the_search_space() -> None:
    printed = {row.option: row.values for row in published.EXHIBIT_A1}
    spaces = dmn2019(DmnConfig(network="lstm")) | dmn2019(DmnConfig(network="linear"))
    assert {name: tuple(choice.values) for name, choice in spaces.items()} == printed  # type: ignore[union-attr]


def test_chosen_values_are_counted_in_the_grid() -> None:
    grid, chosen, trials = exhibit_a1(STUDY)
    shown = grid.shown.set_index("Hyperparameter")["Values"]
    assert shown["Hidden layer size"] == "5, 10, 20 (4\N{MULTIPLICATION SIGN}), 40, 80"
    assert chosen.shown["Block"].tolist() == ["2000-2000", "2001-2001"] * 2
    assert (len(chosen.data), len(trials.data)) == (4, 5)
    recorded = [row | {"data": ["blocks"], "curve": [0.1]} for row in CHOSEN]
    assert exhibit_a1(STUDY | {"chosen": recorded})[1].data.equals(chosen.data)
    assert [table.name for table in exhibit_a1(None)] == ["exhibitA1"]


def test_instruments_are_grouped_by_class_or_by_market(measured: Measured) -> None:
    assert instruments(measured, None).shown["Class"].tolist() == ["Bond <i>", "Grain", "Metal $"]
    by_name = pd.DataFrame({"instrument": ["G0", "G1", "B0"], "class": ["Ags", "Ags", "Rates"]})
    shown = instruments(measured, by_name).shown.set_index("Class")
    assert shown["Assets"].to_dict() == {"Ags": "2", "Rates": "1", "unclassified": "2"}
    assert shown.loc["Ags", "Names"] == "G0 and G1"
    by_market = pd.DataFrame({"market": list(MARKETS), "class": "All"})
    assert instruments(measured, by_market).shown["Assets"].tolist() == ["5"]
    with pytest.raises(DataError, match="'G0' appears twice"):
        instruments(measured, pd.concat([by_name, by_name]))
    with pytest.raises(DataError, match="expected 'class' and 'instrument' or 'market'"):
        instruments(measured, by_name.rename(columns={"class": "kind"}))


def test_published_figures_are_the_specifications() -> None:
    three = published.figures_of("3")
    assert three[LSTM]["sharpe"] / three["sgn-returns"]["sharpe"] > 2
    assert set(published.figures_of("2")) | set(three) <= {*REFERENCES, *SIXTEEN}
    assert set(published.figures_of("9")) == {LSTM, REGULARISED}
    metrics_of = {metric.name for metric in published.METRICS}
    assert all(set(row) <= metrics_of for row in three.values())
    # Of one row all that is told fits: the return is the Sharpe ratio times 15.5%, the text's volatility.
    one = three[LSTM]
    assert one["ann_return"] / one["sharpe"] == pytest.approx(0.155, abs=5e-4)
    assert one["ann_return"] / -one["max_drawdown"] == pytest.approx(one["calmar_arith"], abs=5e-3)
    assert label("dmn-wavenet-average") == "WaveNet, average return"


def test_boxes_have_a_row_for_every_agent(measured: Measured) -> None:
    from experiments.papers.dmn.asset_tables import EXHIBIT_5

    data = across_assets(measured, EXHIBIT_5)
    assert len(data) == len(EXHIBIT_5) * len(AGENTS)
    assert (data["assets"] == 5).all()


# ---- Files and the page

TABLES = (
    *("orderings", "exhibit2", "exhibit3", "exhibit5", "exhibit6", "exhibit7", "exhibit8", "exhibit9"),
    *("exhibit9-differences", "exhibitA1", "exhibitA1-chosen", "exhibitA1-trials", "instruments"),
    *("one-day-late", "supplement", "supplement-blocks", "supplement-windows"),
)
FIGURES = ("exhibit1", "exhibit4", "exhibit5", "exhibit6", "exhibit7", "exhibit8", "supplement")


def write_all(run: FakeRun, out: Path) -> Path:
    classes = pd.DataFrame({"market": list(MARKETS), "class": ["Ags", "Metals", "Rates"]})
    return write_artefacts(run, out, study=STUDY, importance=IMPORTANCE, classes=classes)


@pytest.fixture(scope="module")
def with_failure() -> FakeRun:
    failed = [{"agent": "dmn-mlp-mse", "seed": 0, "window": "2000-2000", "error": "ValueError: <loss>"}]
    return FakeRun(random_days, AGENTS | {"dmn-mlp-mse": 1}, failed)


@pytest.fixture(scope="module")
def written(with_failure: FakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(with_failure, tmp_path_factory.mktemp("dmn") / "out").parent


def test_every_artefact_is_written(written: Path) -> None:
    for name in TABLES:
        assert len(pd.read_csv(written / "tables" / f"{name}.csv")) > 0
        assert "\\end{tabular}" in (written / "tables" / f"{name}.tex").read_text()
    for name in ("exhibit1", "exhibit4", "exhibit5-assets"):
        assert len(pd.read_csv(written / "tables" / f"{name}.csv")) > 0
    for name in FIGURES:
        assert (written / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (written / "figures" / f"{name}.svg").read_text()
    assert not list(written.rglob("*.tmp"))
    assert {path.stem for path in (written / "figures").iterdir()} == set(FIGURES)


def test_the_page_holds_everything_and_loads_nothing(written: Path) -> None:
    page = (written / "paper.html").read_text()
    own = re.sub(r'src="data:image/png;base64,[^"]+"', "", page)
    assert not re.search(r"https?:|//[a-z]|\bsrc=|<link|<script|<iframe|@import|url\(", own)
    assert "default-src 'none'" in page
    assert page.count('src="data:image/png;base64,') == len(FIGURES)
    for name in TABLES:
        assert f'id="{name}"' in page
    for markup in ("<i>", "<Survivors>", "<loss>"):
        assert markup not in own
    assert "dmn-mlp-mse, seed 0, 2000-2000: ValueError" in own
    assert "5 assets in 3 markets" in own
    assert "sized as their makers do: mine." in own
    assert "LSTM + Reg. was trained on returns after 10 bps" in own


def test_the_budget_is_on_the_page_once_and_under_every_table_that_stands_alone(written: Path) -> None:
    page = (written / "paper.html").read_text()
    assert page.count("Budget: draws 50, seeds 2.") == 1
    for name in TABLES:
        assert "Budget: draws 50, seeds 2." in (written / "tables" / f"{name}.tex").read_text()
    for name in ("notes.txt", "exhibit3.txt"):
        assert "Budget: draws 50, seeds 2." in (written / "tables" / name).read_text()


def test_the_text_for_the_terminal_has_both_exhibits_and_the_orderings(written: Path) -> None:
    lines = (written / "tables" / "exhibit3.txt").read_text().splitlines()
    rows = [line for line in lines if line.startswith("LSTM, Sharpe  ")]
    assert len(rows) == 3
    assert re.search(r"\[-?\d\.\d\d, -?\d\.\d\d\] +2\.80 ", rows[0])
    assert "2.91" in rows[1]
    at = lines.index("Beyond the paper, one day late")
    assert re.match(r"LSTM, Sharpe +(-?\d\.\d\d +){2}[-+]\d\.\d\d \[", rows[2])
    assert rows[2] in lines[at : at + len(AGENTS) + 2]
    assert any(line.startswith("LSTM, Sharpe: ahead of the references at 2 bps") for line in lines)
    assert max(map(len, lines)) <= 130


def test_files_of_the_same_run_have_the_same_bytes(
    with_failure: FakeRun, written: Path, tmp_path: Path
) -> None:
    again = write_all(with_failure, tmp_path).parent
    files = sorted(path.relative_to(written) for path in written.rglob("*") if path.is_file())
    assert len(files) > 50
    assert all((written / path).read_bytes() == (again / path).read_bytes() for path in files)


def test_what_is_missing_is_left_out_with_its_reason(tmp_path: Path) -> None:
    def whole(agent: str, seed: int) -> pd.DataFrame:
        return random_days(agent, seed).assign(window="")  # a protocol of one window

    few = FakeRun(whole, {"long-only": 1, "macd": 1})
    page = write_artefacts(few, tmp_path, study=None, importance=None, classes=None).read_text()
    assert "Exhibit 6: no feature importance was given." in page
    assert "Exhibit 9: the run has no Sharpe-trained LSTM." in page
    assert "no search recorded" in page
    assert "not in this run" in page
    assert "across the 1 test block of" in page
    assert not (tmp_path / "figures" / "exhibit6.png").exists()


def test_feature_importance_without_its_columns_is_refused(run: FakeRun, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="importance: lacks the columns drop"):
        write_artefacts(run, tmp_path, study=None, importance=IMPORTANCE.drop(columns="drop"), classes=None)

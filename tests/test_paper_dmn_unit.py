"""The portfolio at 15%: what the environment's own arithmetic gives for weights times the factor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments.papers.dmn.unit import Unit, ex_ante_scale
from experiments.results.books import Book
from experiments.running.protocols import Fold
from experiments.running.settling import settle_block
from qn_env.arrays import FloatArray
from qn_env.costs import Borrow, CostTable, HalfSpread, own_costs
from qn_env.panel import Panel
from qn_env.sources.synthetic import noise, ragged
from qn_env.tape import Tape, backtest

SEEDS = range(6)


def priced(panel: Panel, seed: int) -> Panel:
    """Half spreads and fees of its own for every asset."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({"date": pd.NaT, "market": list(panel.market_of), "asset": list(panel.assets)})
    rows["date"] = pd.to_datetime(rows["date"])
    rows["half_spread_bps"] = rng.uniform(0.5, 80.0, len(rows))
    rows["borrow_bps"] = rng.uniform(0.0, 300.0, len(rows))
    return replace(panel, own_costs=CostTable(rows))


def whole(panel: Panel) -> Fold:
    """One test block over all days but the first of every market."""
    start = {name: panel.dates[market.rows[1]] for name, market in panel.markets.items()}
    return Fold(panel, panel, start, panel, start, pd.DataFrame())


def settled(panel: Panel, signals: FloatArray, target: float | None) -> Unit:
    """The signals [T, N] as a unit of a run has them."""
    fold = whole(panel)
    tape = Tape.of(panel, costs=own_costs(panel), vol_target=target, start=fold.test_start)
    return Unit.of(settle_block(tape, fold, signals).assign(window="all"))


def random_signals(panel: Panel, seed: int) -> FloatArray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, panel.shape) * panel.tradable


@pytest.mark.parametrize("target", [None, 0.15])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_rescaled_portfolio_is_what_trading_the_scaled_signals_earns(
    seed: int, target: float | None
) -> None:
    """Ragged panels: markets with holidays of their own, late listings, delistings, days without a price."""
    panel = priced(ragged(sizes=(3, 4, 2), days=420, seed=seed), seed)
    signals = random_signals(panel, seed)
    unit = settled(panel, signals, target)
    scale = ex_ante_scale(unit.portfolio().gross[:, None])[:, 0]
    # Known at the close of a day is the factor of the next day of the portfolio.
    following = np.searchsorted(unit.dates, panel.dates, side="right")
    known = np.append(np.nan_to_num(scale), 0.0)[following.clip(max=len(scale))]
    most = known.max()
    scaled = signals * known[:, None] / most
    start = whole(panel).test_start
    tape = Tape.of(panel, costs=own_costs(panel), vol_target=target, start=start)
    expected = {name: np.zeros((len(unit.dates), len(unit.assets))) for name in ("gross", "turnover", "cost")}
    for name, market in panel.markets.items():
        ledger = backtest(tape.of_market(market), market.compact(scaled))
        own = panel.dates[market.rows][1:]
        kept = np.isin(own, unit.dates)
        rows = np.searchsorted(unit.dates, own[kept])
        for j, asset in enumerate(market.assets):
            column = unit.assets.get_loc((name, asset))
            for part, values in expected.items():
                values[rows, column] = most * getattr(ledger, part)[kept, j]
    n = unit.listed.sum(axis=1)
    book, begun = unit.rescaled(), np.isfinite(scale)
    assert begun.sum() > 300
    for series, part in zip((book.gross, book.turnover, book.own), expected.values(), strict=True):
        assert series is not None
        mean = np.where(unit.listed, part, 0.0).sum(axis=1) / n
        np.testing.assert_allclose(series[begun], mean[begun], rtol=1e-10, atol=1e-15)
        assert np.isnan(series[~begun]).all()


@pytest.mark.parametrize("execution", ["late", "on-time"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_factor_that_never_changes_is_a_factor(
    seed: int, execution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = priced(ragged(sizes=(3, 4), days=300, seed=seed), seed)
    unit = settled(panel, random_signals(panel, seed), None)
    monkeypatch.setattr("experiments.papers.dmn.unit.ex_ante_scale", lambda gross: np.full(gross.shape, 2.5))
    raw, scaled = (made(late=execution == "late") for made in (unit.portfolio, unit.rescaled))
    assert raw.own is not None
    assert scaled.own is not None
    for one, other in zip(raw, scaled, strict=True):
        np.testing.assert_allclose(2.5 * one, other, rtol=1e-12, atol=1e-16)


def test_by_hand() -> None:
    """One asset that is held: what is traded is the change of the factor, and what it costs is its spread."""
    panel = noise(markets=1, assets=1, days=200, seed=1)
    rows = pd.DataFrame({"date": pd.to_datetime([pd.NaT]), "market": [panel.market_of[0]]})
    rows["asset"], rows["half_spread_bps"] = list(panel.assets), 10.0
    panel = replace(panel, own_costs=CostTable(rows))
    unit = settled(panel, np.ones(panel.shape), None)
    book, raw = unit.rescaled(), unit.portfolio()
    scale = ex_ante_scale(raw.gross[:, None])[:, 0]
    first = int(np.isfinite(scale).argmax())
    assert raw.turnover[1:].max() == 0.0, "held from the first day on"
    assert book.turnover[first] == scale[first], "the entry"
    np.testing.assert_allclose(book.turnover[first + 1 :], abs(np.diff(scale[first:])), rtol=1e-12)
    np.testing.assert_allclose(book.own[first:], 1e-3 * book.turnover[first:], rtol=1e-12)
    np.testing.assert_allclose(book.gross[first:], (scale * raw.gross)[first:], rtol=1e-12)


def test_an_asset_that_was_closed_keeps_the_factor_it_was_traded_at() -> None:
    panel = noise(markets=2, assets=1, days=120, seed=4)
    returns = panel.returns.copy()
    returns[80:83, 1] = np.nan  # holidays of the second market
    panel = Panel.build(panel.dates, list(panel.assets), list(panel.market_of), returns)
    unit = settled(panel, np.ones(panel.shape), None)
    scale = ex_ante_scale(unit.portfolio().gross[:, None])[:, 0]
    day = {t: int(np.searchsorted(unit.dates, panel.dates[t])) for t in range(78, 86)}
    gross = unit.rescaled().gross
    # Traded at the close of day 79, with the factor of day 80; it earns day 83's return with it.
    expected = (scale[day[83]] * panel.returns[83, 0] + scale[day[80]] * panel.returns[83, 1]) / 2
    assert gross[day[83]] == pytest.approx(expected, rel=1e-12)
    assert gross[day[84]] == pytest.approx(scale[day[84]] * panel.returns[84].mean(), rel=1e-12)


def test_costs_are_absent_where_the_data_say_none() -> None:
    panel = noise(markets=1, assets=2, days=200, seed=0)
    unit = settled(panel, random_signals(panel, 0), None)
    assert unit.rate is None
    assert isinstance(unit.rescaled(), Book)
    assert unit.rescaled().own is None


def test_fees_of_holding_are_those_of_the_scaled_weight() -> None:
    panel = noise(markets=1, assets=1, days=150, seed=2)
    rows = pd.DataFrame({"date": pd.to_datetime([pd.NaT]), "market": [panel.market_of[0]]})
    rows["asset"], rows["half_spread_bps"], rows["borrow_bps"] = list(panel.assets), 4.0, 252.0
    unit = settled(replace(panel, own_costs=CostTable(rows)), -np.ones(panel.shape), None)
    book = unit.rescaled()
    scale = ex_ante_scale(unit.portfolio().gross[:, None])[:, 0]
    first = int(np.isfinite(scale).argmax())
    np.testing.assert_allclose(
        book.own[first:], 4e-4 * book.turnover[first:] + 1e-4 * scale[first:], rtol=1e-12
    )
    assert [type(cost) for cost in own_costs(replace(panel, own_costs=CostTable(rows)))] == [
        HalfSpread,
        Borrow,
    ]

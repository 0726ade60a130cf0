"""The audit of a panel: planted defects are found by their names and days, sound data are left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.cli import main
from qn_env.arrays import FloatArray
from qn_env.costs import CostTable
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.panel_audit import Finding, audit_panel
from qn_env.panel_audit.histories import BLOCK, history, median
from qn_env.panel_audit.prices import COARSE, coarse_ticks, stale_prices
from qn_env.panel_audit.report import KINDS
from qn_env.sources import embedded, from_prices, from_returns, noise, ragged
from qn_env.sources.synthetic import weekdays

T, N = 1500, 12  # days, assets of each of two markets
MARKET = ("all assets",)


def sound(seed: int = 3) -> Panel:
    return noise(markets=2, assets=N, days=T, seed=seed)


def planted(change: Callable[[FloatArray], None]) -> Panel:
    """A sound panel whose returns were changed in place."""
    panel = sound()
    returns = panel.returns.copy()
    change(returns)
    return Panel.build(panel.dates, panel.assets, panel.market_of, returns)


def stale_run(returns: FloatArray) -> None:
    returns[600:620, 1] = 0.0


def stale_often(returns: FloatArray) -> None:
    returns[10::8, 1] = 0.0


def copied_date(returns: FloatArray) -> None:
    returns[700, :N] = returns[699, :N]


def carried_dates(returns: FloatArray) -> None:
    returns[[700, 900], :N] = 0.0


def bad_print(returns: FloatArray) -> None:
    """A price of 1.3 times what it was, once."""
    returns[500, 2] = 1.3 * (1 + returns[500, 2]) - 1
    returns[501, 2] = (1 + returns[501, 2]) / 1.3 - 1


def split(returns: FloatArray) -> None:
    returns[500, 2] = (1 + returns[500, 2]) / 2 - 1


def reverse_split(returns: FloatArray) -> None:
    returns[500, 2] = 10 * (1 + returns[500, 2]) - 1


def per_cent(returns: FloatArray) -> None:
    returns[:, 4] = np.maximum(100 * returns[:, 4], -0.99)


def prices(returns: FloatArray) -> None:
    returns[:, 5] = 100 * np.cumprod(1 + returns[:, 5])


def log_prices(returns: FloatArray) -> None:
    returns[:, 5] = np.cumsum(returns[:, 5]) - 0.01


def duplicate(returns: FloatArray) -> None:
    """The same series with a rounding of its own, in the other market, from a day on."""
    returns[500:, N + 3] = returns[500:, 3].round(5)


def hole(returns: FloatArray) -> None:
    returns[300:340, 6] = np.nan


def market_hole(returns: FloatArray) -> None:
    returns[300:320] = np.nan


def thin_date(returns: FloatArray) -> None:
    returns[800, 1:N] = np.nan


def volatility_break(returns: FloatArray) -> None:
    returns[T // 2 :, 7] *= 8


def ticks(returns: FloatArray) -> None:
    """Prices around 1 in cents, of an asset that moves by a cent a day."""
    level = np.round(np.cumprod(1 + returns[:, 8]), 2)
    returns[1:, 8] = level[1:] / level[:-1] - 1


def bounce(returns: FloatArray) -> None:
    """Closes at bid or ask, 60 bps either way of the mid."""
    side = np.random.default_rng(0).choice([-0.006, 0.006], T)
    returns[1:, 9] += np.diff(side)


def stale_bounce(returns: FloatArray) -> None:
    """The same, not renewed on every tenth day."""
    bounce(returns)
    returns[::10, 9] = 0.0


# What is planted, the kind it is found as, the assets, the first and last row, and how many days.
PLANTED = [
    (stale_run, "stale", ("A1",), 600, 619, 20),
    (stale_often, "stale", ("A1",), 10, 1498, 187),
    (copied_date, "repeated date", MARKET, 700, 700, 1),
    (carried_dates, "repeated date", MARKET, 700, 900, 2),
    (bad_print, "bad print", ("A2",), 500, 500, 1),
    (split, "split", ("A2",), 500, 500, 1),
    (reverse_split, "split", ("A2",), 500, 500, 1),
    (per_cent, "percent", ("A4",), 0, T - 1, T),
    (prices, "prices as returns", ("A5",), 0, T - 1, T),
    (log_prices, "prices as returns", ("A5",), 0, T - 1, T),
    (duplicate, "duplicate", ("M0/A3", "M1/A3"), 500, T - 1, T - 500),
    (hole, "hole", ("A6",), 299, 340, 40),
    (thin_date, "thin date", MARKET, 800, 800, 1),
    (volatility_break, "volatility break", ("A7",), 756, T - 1, T - 756),
]


def test_sound_data_have_nothing_to_report():
    audit = audit_panel(sound())
    assert audit.findings == ()
    assert audit.errors == ()
    assert "Nothing to report" in str(audit)


@pytest.mark.parametrize(
    ("plant", "kind", "assets", "first", "last", "count"), PLANTED, ids=[row[0].__name__ for row in PLANTED]
)
def test_a_planted_defect_is_found_with_its_asset_and_its_days_and_nothing_else(
    plant, kind, assets, first, last, count
):
    panel = planted(plant)
    (finding,) = audit_panel(panel).findings
    assert (finding.kind, finding.assets, finding.count) == (kind, assets, count)
    assert (finding.first, finding.last) == (str(panel.dates[first]), str(panel.dates[last]))
    assert finding.effect in str(finding)
    assert finding.market == (None if kind == "duplicate" else "M0")


def test_a_hole_of_all_markets_is_theirs_and_not_that_of_each_asset():
    panel = planted(market_hole)
    found = audit_panel(panel).findings
    assert [(one.kind, one.market, one.assets) for one in found] == [
        ("hole", market, MARKET) for market in panel.markets
    ]
    assert "the longest of 31 days from 2001-02-23" in found[0].detail


def test_coarse_ticks_are_told_and_explain_their_zero_returns():
    (finding,) = audit_panel(planted(ticks)).findings
    assert (finding.kind, finding.assets) == ("coarse ticks", ("A8",))


def test_bounce_sits_in_the_asset_that_is_stale_or_dear():
    found = audit_panel(planted(stale_bounce))
    (own,) = found.of_kind("own autocorrelation")
    assert own.assets == ("A9",)
    assert "in the other 11" in own.detail
    assert "half spread of 5" in own.detail or "half spread of 6" in own.detail  # 60 bps were planted
    assert {one.kind for one in found.findings} == {"own autocorrelation", "stale"}
    liquid = planted(bounce)
    assert audit_panel(liquid).findings == ()
    cost = np.where(np.arange(2 * N) == 9, 60.0, 2.0)
    cost[0] = np.nan
    (dear,) = audit_panel(liquid, cost_bps=cost).findings
    assert (dear.kind, dear.assets) == ("own autocorrelation", ("A9",))
    assert "trading costs 60 bps" in dear.detail
    rows = pd.DataFrame({"asset": liquid.assets[:N], "market": "M0", "half_spread_bps": cost[:N]})
    said = replace(liquid, own_costs=CostTable(rows.assign(date=pd.NaT, commission_bps=1.0)))
    (dear,) = audit_panel(said).findings
    assert "trading costs 61 bps" in dear.detail
    assert audit_panel(replace(liquid, own_costs=CostTable.empty())).findings == ()


def test_a_saturday_now_and_then_is_stray_and_a_market_that_trades_on_sundays_is_not():
    panel = sound()
    dates = np.concatenate([panel.dates, [np.datetime64("2001-03-03"), np.datetime64("2002-06-02")]])
    extra = np.full((2, 2 * N), np.nan)
    extra[:, : N // 2] = 0.001
    order = np.argsort(dates)
    returns = np.concatenate([panel.returns, extra])[order]
    (finding,) = audit_panel(Panel.build(dates[order], panel.assets, panel.market_of, returns)).findings
    assert (finding.kind, finding.market, finding.count) == ("weekend", "M0", 2)
    assert (finding.first, finding.last) == ("2001-03-03", "2002-06-02")
    assert "50% of the assets" in finding.detail
    days = np.busday_offset("2000-01-02", np.arange(T), weekmask="Sun Mon Tue Wed Thu")
    assert audit_panel(replace(panel, dates=days)).findings == ()
    everyday = np.datetime64("2000-01-01") + np.arange(T)
    assert audit_panel(replace(panel, dates=everyday, bars_per_year=365.0)).findings == ()


def test_series_that_are_there_twice_are_found_across_calendars_and_near_ones_are_not():
    """The copy lacks a day in ten; series that share all but a twentieth, or a thousandth, are none."""
    panel = sound()
    rng = np.random.default_rng(0)
    returns = 0.01 * np.sqrt(0.95) * rng.standard_normal((T, 1)) + 0.05 * panel.returns
    returns[:, 1] = returns[:, 0] + 0.0004 * rng.standard_normal(T)  # correlation 0.9992
    copied = np.where(rng.random(T) < 0.1, np.nan, returns[:, 2])
    alike = Panel.build(
        panel.dates, panel.assets, panel.market_of, np.column_stack([returns[:, :-1], copied])
    )
    (finding,) = audit_panel(alike).of_kind("duplicate")
    assert finding.assets == ("M0/A2", "M1/A11")
    assert finding.count == T


def test_ten_years_of_twenty_assets_without_a_delisting_are_survivors():
    days = 2700
    together = noise(markets=1, assets=20, days=days, seed=0)
    (finding,) = audit_panel(together).findings
    assert (finding.kind, finding.severity, finding.market) == ("no delisting", "note", "M0")
    apart = noise(markets=5, assets=4, days=days, seed=0)
    (finding,) = audit_panel(apart).findings
    assert finding.market is None
    assert "none of 20 assets of M0, M1, M2, M3, M4" in finding.detail
    returns = together.returns.copy()
    returns[2000:, 3] = np.nan
    assert audit_panel(replace(together, returns=returns, tradable=np.isfinite(returns))).findings == ()
    assert audit_panel(together.until("2009-12-01")).findings == ()


def test_a_crash_that_all_lived_through_is_no_bad_print_and_a_rout_no_split():
    """Returns of quarters of another volatility, and a fall by 49% in a quarter of such falls."""
    panel = sound()
    returns = panel.returns.copy()
    returns[504:567] *= 9  # a block of the audit
    returns[520], returns[521] = -0.2, 0.22
    returns[530, 0] = -0.5
    assert audit_panel(replace(panel, returns=returns)).findings == ()


def test_a_ratio_of_a_price_of_few_ticks_is_no_split():
    """From 12 ticks to 4: the embedded panel's RRC in April 1990."""
    rng = np.random.default_rng(1)
    level = np.clip(np.cumsum(rng.choice([-1, 0, 0, 0, 1], T)) + 12, 8, 14) * 0.277
    level[700:] = np.maximum(level[700:] / 3, 0.277).round(3)
    panel = from_prices_of(level)
    assert "split" not in {one.kind for one in audit_panel(panel).findings}


def from_prices_of(level: FloatArray) -> Panel:
    return from_prices(pd.DataFrame({"A": level}, index=weekdays(len(level))), "M")


def test_the_embedded_panel_shows_what_its_notes_say_and_no_more():
    """Survivors, and prices of the 1990s so coarse that many returns are zero."""
    audit = audit_panel(embedded())
    assert {one.kind for one in audit.findings} == {"coarse ticks", "no delisting"}
    (coarse,) = audit.of_kind("coarse ticks")
    assert (coarse.assets, coarse.last[:3]) == (("RRC",), "199")
    assert not any(row.asynchronous for row in audit.cross_autocorrelations)
    assert len(audit.cross_autocorrelations) == 15  # eight markets, of which one has a single asset


def random_walk(s: float, days: int, columns: int, seed: int) -> Panel:
    """Prices in whole ticks, of which a day's standard deviation is s."""
    rng = np.random.default_rng(seed)
    level = 100_000 + np.round(
        rng.uniform(0, 1, columns) + s * rng.standard_normal((days, columns)).cumsum(0)
    )
    returns = level[1:] / level[:-1] - 1
    return Panel.build(weekdays(days - 1), [f"A{j}" for j in range(columns)], ["M"] * columns, returns)


def test_ticks_are_called_coarse_from_half_a_deviation_on():
    """And their zero returns are those that rounding explains, at every size."""
    for s, coarse in ((0.5, True), (1.0, True), (4.0, False), (10.0, False)):
        panel = random_walk(s, 2000, 60, seed=1)
        seen = history(panel, panel.markets["M"])
        share = len(list(coarse_ticks(seen))) / 60
        assert share > 0.95 if coarse else share < 0.05, s
        assert list(stale_prices(seen)) == [], s
    at_threshold = random_walk(2.0, 40 * BLOCK + 1, 50, seed=2).returns
    blocks = at_threshold.reshape(-1, BLOCK, 50)
    walked = np.concatenate([np.zeros((len(blocks), 1, 50)), np.log1p(blocks).cumsum(1)], axis=1)
    new = 1 + (np.diff(np.sort(walked, axis=1), axis=1) > 1e-6).sum(axis=1)
    assert new.sum() / ((blocks != 0).sum(axis=1) + 1).sum() == pytest.approx(COARSE, abs=0.01)
    centred = at_threshold[1:] * at_threshold[:-1]
    assert centred.mean() / (at_threshold**2).mean() == pytest.approx(-0.02, abs=0.005)


def test_wrong_units_are_told_and_left_out_of_everything_else():
    panel = planted(prices)
    audit = audit_panel(panel)
    assert [one.severity for one in audit.errors] == ["error"]
    without = planted(lambda returns: returns.__setitem__((slice(None), 5), np.nan))
    assert [row.coefficient for row in audit.cross_autocorrelations] == [
        row.coefficient for row in audit_panel(without).cross_autocorrelations
    ]


def test_a_deposit_is_no_price():
    """Every return positive, next to the same every day: 5% a year."""
    deposit = planted(lambda returns: returns.__setitem__((slice(None), 5), 0.0002 + 1e-6 * returns[:, 5]))
    assert audit_panel(deposit).errors == ()


@settings(max_examples=15)
@given(
    seed=st.integers(0, 500),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    days=st.integers(6, 400),
)
def test_any_ragged_panel_is_audited_unchanged_twice_alike_and_never_in_error(seed, sizes, days):
    panel = ragged(sizes=sizes, days=days, seed=seed)
    before = panel.fingerprint
    audit = audit_panel(panel)
    assert audit_panel(panel) == audit or str(audit_panel(panel)) == str(audit)  # NaN differs from itself
    assert panel.fingerprint == before == audit.fingerprint
    assert audit.errors == ()
    for finding in audit.findings:
        assert finding.first <= finding.last
        assert str(panel.dates[0]) <= finding.first
        assert finding.last <= str(panel.dates[-1])
    json.dumps(audit.as_dict(), allow_nan=False)


@settings(max_examples=10)
@given(order=st.permutations(range(2 * N)))
def test_the_order_of_assets_changes_no_finding(order):
    def several(returns: FloatArray) -> None:
        for plant in (stale_run, bad_print, duplicate, hole, volatility_break):
            plant(returns)

    panel = planted(several)
    mixed = Panel.build(
        panel.dates,
        [panel.assets[j] for j in order],
        [panel.market_of[j] for j in order],
        panel.returns[:, list(order)],
    )

    def told(one: Finding) -> tuple[object, ...]:
        return one.kind, one.market, frozenset(one.assets), one.first, one.last, one.count

    assert {told(one) for one in audit_panel(mixed).findings} == {
        told(one) for one in audit_panel(panel).findings
    }


def test_weekly_bars_have_no_holes_and_no_weekends():
    panel = noise(markets=1, assets=3, days=400, seed=1)
    sundays = np.datetime64("2000-01-02") + 7 * np.arange(400)
    weekly = Panel.build(sundays, panel.assets, panel.market_of, panel.returns)
    assert weekly.bars_per_year == 52
    assert audit_panel(weekly).findings == ()


def test_medians_are_those_of_numpy():
    values = np.random.default_rng(0).normal(size=(5, 31, 4))
    np.testing.assert_array_equal(median(values, axis=1), np.median(values, axis=1))
    values[:, 20:, 1], values[0, :, 0] = np.nan, np.nan
    found = median(values, axis=1)
    assert np.isnan(found[0, 0])
    assert found[1, 1] == np.sort(values[1, :20, 1])[9]


def test_the_report_is_short_told_in_order_and_plain_json():
    audit = audit_panel(planted(lambda r: (duplicate(r), per_cent(r), hole(r))[0]))
    assert [one.kind for one in audit.findings] == ["percent", "duplicate", "hole"]
    assert repr(audit) == (
        "<PanelAudit: 1 error, 1 warning, 1 note; "
        "24 assets in 2 markets, 1500 days, 2000-01-03 to 2005-09-30>"
    )
    record = json.loads(json.dumps(audit.as_dict(), allow_nan=False))
    assert record["findings"][0]["severity"] == "error"
    assert record["findings"][1]["assets"] == ["M0/A3", "M1/A3"]
    assert [row["others"] for row in record["cross_autocorrelations"]] == ["assets", "markets"] * 2
    text = audit.as_text().splitlines()
    assert text[0] == "error: Per cent taken for fractions"
    assert max(map(len, text[-4:])) <= 110
    many = audit_panel(planted(lambda r: r.__setitem__((slice(300, 340), range(2, 9)), np.nan)))
    assert "M0: 3 more: A6, A7, A8" in str(many)
    assert "M0: 3 more" not in many.as_text(shown=9)


def test_every_kind_says_what_it_does_to_a_figure():
    assert all(kind.effect.endswith(".") and kind.heading for kind in KINDS.values())
    assert [name for name, kind in KINDS.items() if kind.severity == "error"] == [
        "prices as returns",
        "percent",
    ]


@pytest.mark.parametrize("cost", [[1.0], ["a"] * 24, [-1.0] * 24, [float("inf")] * 24])
def test_costs_that_are_none_are_refused(cost):
    with pytest.raises(ConfigError, match="cost_bps"):
        audit_panel(sound(), cost_bps=cost)
    with pytest.raises(ConfigError, match="a Panel"):
        audit_panel(sound().returns)


def test_the_command_tells_of_the_data_and_then_of_the_environment(capsys, monkeypatch):
    monkeypatch.setattr("experiments.running.runner.load_panel", lambda config: planted(split))
    assert main(["audit", "--window", "3", "--days", "1"]) == 0
    out = capsys.readouterr().out
    assert out.index("Splits left in") < out.index("Sharpe: of its sign") < out.index("No look-ahead found")
    assert main(["audit", "--data-only"]) == 0
    out = capsys.readouterr().out
    assert "Splits left in" in out
    assert "look-ahead" not in out
    assert main(["audit", "--data-only", "--agent", "macd"]) == 1
    assert "data_only leaves the agent out" in capsys.readouterr().err


def test_the_command_ends_with_an_error_where_prices_are_read_as_returns(capsys, tmp_path):
    walk = 100 * np.cumprod(1 + sound().returns[:300, :3], axis=0)
    frame = pd.DataFrame(walk, columns=["a", "b", "c"], index=pd.Index(weekdays(300), name="date"))
    frame.to_csv(tmp_path / "X.csv")
    assert main(["audit", "--panel", str(tmp_path), "--kind", "returns"]) == 1
    said = capsys.readouterr()
    assert "Prices taken for returns" in said.out
    assert "X/a (prices as returns), X/b (prices as returns)" in said.err
    assert main(["audit", "--panel", str(tmp_path), "--data-only"]) == 0
    assert from_returns(frame, "X").shape == (300, 3)

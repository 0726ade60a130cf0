"""The audit itself: every check on every market of a panel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from qn_env.arrays import FloatArray, read_only
from qn_env.checks import MOST_COST_BPS, as_array, check_is, in_words
from qn_env.errors import ConfigError
from qn_env.panel import Market, Panel
from qn_env.panel_audit.bounce import OwnAutocorrelation, bounce
from qn_env.panel_audit.calendars import holes, repeated_dates, stray_weekends, survivors, thin_dates
from qn_env.panel_audit.copies import duplicates
from qn_env.panel_audit.cross_autocorrelation import CrossAutocorrelation, cross_autocorrelations
from qn_env.panel_audit.histories import history, median
from qn_env.panel_audit.prices import bad_prints, coarse_ticks, splits, stale_prices, volatility_breaks
from qn_env.panel_audit.report import Finding, PanelAudit, ordered
from qn_env.panel_audit.units import wrong_units

BLOCK_NUMBERS = 2**20  # of a market's returns that are looked at together, to bound memory


def audit_panel(panel: Panel, *, cost_bps: ArrayLike | None = None) -> PanelAudit:
    """What a reader should know about a panel before any figure is made of it.

    Looks for closes that are not taken at one moment (`cross_autocorrelations`) and for data that mislead
    (`report.KINDS`). Nothing is changed, drawn or filled. Assets whose numbers are no simple returns at all
    are told of and left out of everything else.

    Args:
        panel: the data.
        cost_bps: [N] what a unit of turnover of each asset costs, in bps, NaN where unknown; None: what the
            panel itself says (`Panel.own_costs`). Where neither says it, how dear an asset is to trade shows
            in its returns of exactly 0 alone.

    Raises:
        ConfigError: no panel, or costs that are not N numbers of at least 0.

    Examples:
        >>> from qn_env.sources import noise
        >>> audit_panel(noise(markets=2, assets=3, days=500, seed=0))
        <PanelAudit: no findings; 6 assets in 2 markets, 500 days, 2000-01-03 to 2001-11-30>
    """
    check_is("panel", panel, Panel, "a Panel")
    costs = _own_costs(panel) if cost_bps is None else _costs(cost_bps, panel.shape[1])
    findings = [
        one
        for market in panel.markets.values()
        for part in _parts(market)
        for one in wrong_units(history(panel, part))
    ]
    sound = _without(panel, findings)
    for market in sound.markets.values():
        findings += _of_market(sound, market, costs)
    rows = cross_autocorrelations(sound)
    findings += [*duplicates(sound), *survivors(sound), *_asynchronous(sound, rows)]
    return PanelAudit(panel.about, panel.fingerprint, ordered(findings), rows)


def _of_market(panel: Panel, market: Market, costs: FloatArray | None) -> Iterator[Finding]:
    """Everything about one market's dates and assets."""
    yield from repeated_dates(panel, market)
    yield from stray_weekends(panel, market)
    yield from thin_dates(panel, market)
    own = []
    for part in _parts(market):
        seen = history(panel, part)
        for check in (bad_prints, splits, stale_prices, coarse_ticks, volatility_breaks):
            yield from check(seen)
        yield from holes(panel, seen)
        own.append(OwnAutocorrelation.of(seen))
    typical = float(median(costs, axis=0)) if costs is not None else np.nan
    yield from bounce(market, panel.dates, own, None if costs is None else costs[market.columns], typical)


def _parts(market: Market) -> Iterator[Market]:
    """The market a few assets at a time."""
    width = max(BLOCK_NUMBERS // max(len(market.rows), 1), 1)
    begin, end = market.columns.start, market.columns.stop
    for first in range(begin, end, width):
        columns = slice(first, min(first + width, end))
        yield replace(
            market, columns=columns, assets=market.assets[columns.start - begin : columns.stop - begin]
        )


def _without(panel: Panel, findings: Iterable[Finding]) -> Panel:
    """The panel without the returns of the assets that are found to be something else."""
    gone = {(one.market, one.assets[0]) for one in findings}
    if not gone:
        return panel
    columns = [name in gone for name in zip(panel.market_of, panel.assets, strict=True)]
    returns = panel.returns.copy()
    returns[:, columns] = np.nan
    return replace(panel, returns=read_only(returns))


def _asynchronous(panel: Panel, rows: Iterable[CrossAutocorrelation]) -> Iterator[Finding]:
    """Markets whose closes are not taken at one moment."""
    for row in rows:
        if not row.asynchronous:
            continue
        dates = panel.own_dates[row.market]
        who = "the other assets" if row.others == "assets" else "the other markets"
        detail = (
            f"today's closes of {who} explain {row.r2:.2%} of tomorrow's variance"
            f"{f' ({row.r2_follower:.2%} of {row.followers[0]})' if row.followers else ''} and "
            f"{max(row.r2_late, 0.0):.2%} of the day after's (p {row.p_holm:.2g} after Holm); "
            f"their sign earns a Sharpe ratio of {row.sharpe:.1f} on time and "
            f"{row.sharpe_late:.1f} a day late, before costs"
        )
        names = row.followers or ("all assets together",)
        yield Finding(
            "asynchronous closes", row.market, names, str(dates[0]), str(dates[-1]), row.days, detail
        )


def _own_costs(panel: Panel) -> FloatArray | None:
    """[N] half spread and commission, in bps, as the panel says them: its median over the days."""
    if panel.own_costs is None:
        return None
    fields = (panel.own_costs.of(panel, name) for name in ("half_spread_bps", "commission_bps"))
    said = [median(np.atleast_2d(values), axis=0) for values in fields if values is not None]
    if not said:
        return None
    known = np.isfinite(said).any(axis=0)
    return np.where(known, np.nansum(said, axis=0), np.nan)


def _costs(given: ArrayLike, n: int) -> FloatArray:
    values = as_array(given)
    if values.shape != (n,) or values.dtype.kind not in "fiu":
        raise ConfigError(
            f"cost_bps is {in_words(given)}, expected {n} numbers of basis points (NaN: unknown)."
        )
    costs: FloatArray = values.astype(np.float64)
    if not (np.isnan(costs) | ((costs >= 0.0) & (costs <= MOST_COST_BPS))).all():
        raise ConfigError(f"cost_bps has values outside 0 to {MOST_COST_BPS:g} basis points.")
    return costs

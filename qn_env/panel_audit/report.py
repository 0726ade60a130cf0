"""What an audit of a panel found: findings and the table of cross-autocorrelations, as text and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from qn_env.errors import few
from qn_env.panel_audit.cross_autocorrelation import LEVEL, CrossAutocorrelation

Severity = Literal["error", "warning", "note"]


class Kind(NamedTuple):
    """One kind of finding."""

    severity: Severity  # error: the figures mean nothing; warning: look before believing them; note: know it
    heading: str
    effect: str  # what it does to a figure


# In the order in which they are told.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "prices as returns": Kind(
            "error",
            "Prices taken for returns",
            "Every figure is without meaning: levels are compounded as if they were gains. Read them with "
            "kind prices.",
        ),
        "percent": Kind(
            "error",
            "Per cent taken for fractions",
            "Every return counts a hundredfold: means and volatilities are 100 times too large, compounding "
            "is nonsense and costs vanish. Divide by 100.",
        ),
        "asynchronous closes": Kind(
            "warning",
            "Closes that are not taken at one moment",
            "An agent that reads the other closes earns this on time, where nobody could have traded: rank "
            "by the figures that are traded a day late, or take all closes at one time. Small stocks that "
            "follow large ones, bid-ask bounce in a market that moves together and an autocorrelated index "
            "look alike.",
        ),
        "own autocorrelation": Kind(
            "warning",
            "Own autocorrelation that sits in stale or dear assets",
            "What trades on it earns stale prices and the bid-ask bounce, which are not there to trade at: "
            "charge these assets their spread, or leave them out.",
        ),
        "split": Kind(
            "warning",
            "Splits left in",
            "A gain or loss that nobody had, of the size of years of returns; volatility targets shrink the "
            "position for months after it. Adjust the prices.",
        ),
        "bad print": Kind(
            "warning",
            "Bad prints that revert",
            "Whoever buys what fell earns the way back on paper: reversal and mean reversion are flattered, "
            "and a volatility target is cut for months. Remove the print.",
        ),
        "duplicate": Kind(
            "warning",
            "One series under several names",
            "It counts as several assets: breadth is overstated, errors are too small, and an agent that "
            "reads one knows the other. Keep one.",
        ),
        "repeated date": Kind(
            "warning",
            "Dates that repeat",
            "Filled or copied rows are days that were not: zeros lower volatility and raise a Sharpe ratio, "
            "copied returns are earned twice. Leave the dates empty.",
        ),
        "stale": Kind(
            "warning",
            "Stale prices",
            "Volatility is too low, positions at equal risk too large, and the move at the end of a stale "
            "stretch looks foreseeable from assets that traded.",
        ),
        "weekend": Kind(
            "warning",
            "Stray weekend dates",
            "A day on which few trade counts as a trading day: it shifts lags, windows and what is late.",
        ),
        "thin date": Kind(
            "warning",
            "Dates on which next to none of the assets trade",
            "The market's mean of the day is that of a few assets, and a day is counted that was none.",
        ),
        "volatility break": Kind(
            "warning",
            "Volatility that changes by a factor above 5 between halves",
            "Another unit, contract or currency? What is learnt on one half is of another asset; unscaled "
            "positions are those of the wilder half.",
        ),
        "hole": Kind(
            "note",
            "Holes",
            "The move across a hole is one day's return, or missing; windows reach further back than said.",
        ),
        "coarse ticks": Kind(
            "note",
            "Coarse ticks",
            "Rounding alone makes an own autocorrelation of -0.02 and beyond, which no one can trade; many "
            "returns are exactly zero.",
        ),
        "no delisting": Kind(
            "note",
            "Markets in which nothing was ever delisted",
            "Survivors: what failed is missing, and long-only figures are flattered, those of buying what "
            "fell most of all.",
        ),
    }
)
SHOWN = 4  # findings of a kind and market that the text names


@dataclass(frozen=True)
class Finding:
    """One thing about the data that a reader of figures has to know.

    Attributes:
        kind: a key of `KINDS`.
        market: whose it is; None where it is between markets, or the panel's.
        assets: names, of several markets as market/asset.
        first: the first day concerned, YYYY-MM-DD, or a moment.
        last: the last one.
        count: days concerned.
        detail: what was found, with numbers, without a full stop.
    """

    kind: str
    market: str | None
    assets: tuple[str, ...]
    first: str
    last: str
    count: int
    detail: str

    @property
    def severity(self) -> Severity:
        """error: the figures mean nothing; warning: look before believing them; note: know it."""
        return KINDS[self.kind].severity

    @property
    def effect(self) -> str:
        """What it does to a figure."""
        return KINDS[self.kind].effect

    @property
    def where(self) -> str:
        """Assets, days and detail in a line, without the market."""
        days = self.first if self.first == self.last else f"{self.first} to {self.last}"
        return f"{few(self.assets)} ({days}): {self.detail}"

    def __str__(self) -> str:
        market = f"{self.market}: " if self.market is not None else ""
        return f"{KINDS[self.kind].heading}. {market}{self.where}. {self.effect}"


@dataclass(frozen=True)
class PanelAudit:
    """What `audit_panel` found.

    Attributes:
        panel: what was audited, in a line.
        fingerprint: of the panel.
        findings: by kind in the order of `KINDS`, then as the panel orders markets and assets.
        cross_autocorrelations: the test of each market against its own assets and against the other markets.
    """

    panel: str
    fingerprint: str
    findings: tuple[Finding, ...]
    cross_autocorrelations: tuple[CrossAutocorrelation, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings with which no figure means anything."""
        return tuple(one for one in self.findings if one.severity == "error")

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """The findings of one kind, a key of `KINDS`."""
        return tuple(one for one in self.findings if one.kind == kind)

    def __repr__(self) -> str:
        counts = {
            name: sum(one.severity == name for one in self.findings) for name in ("error", "warning", "note")
        }
        told = ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for name, n in counts.items() if n)
        return f"<PanelAudit: {told or 'no findings'}; {self.panel}>"

    def __str__(self) -> str:
        return self.as_text()

    def as_text(self, *, shown: int = SHOWN) -> str:
        """Findings by kind and market, then the table.

        Args:
            shown: findings of a kind and market that are named one by one.
        """
        lines = ["Nothing to report of single prices, dates and series."] if not self.findings else []
        for kind, of_kind in groupby(self.findings, key=lambda one: one.kind):
            lines += [f"{KINDS[kind].severity}: {KINDS[kind].heading}", f"  {KINDS[kind].effect}"]
            for market, group in groupby(of_kind, key=lambda one: one.market):
                lines += [f"  - {line}" for line in _of_market(market, list(group), shown)]
        return "\n".join([*lines, *self.table_lines()])

    def table_lines(self) -> list[str]:
        """The table of cross-autocorrelations as aligned text, under a line that says what it shows."""
        if not self.cross_autocorrelations:
            return ["One asset: no closes of others to compare with."]
        head = (
            "market",
            "others",
            "days",
            "b",
            "error",
            "p",
            "p (Holm)",
            "R2",
            "R2 late",
            "Sharpe",
            "late",
            "",
        )
        body = [_cells(row) for row in self.cross_autocorrelations]
        widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
        return [
            "What today's other closes say of tomorrow, beyond an asset's own last two returns (R2: share of "
            "the variance;",
            f"Sharpe: of its sign, annualised, before costs; late: a trading day later; {LEVEL:.0%} level)",
            *(
                "  ".join(
                    cell.ljust(width) if i in (0, 1, 11) else cell.rjust(width)
                    for i, (cell, width) in enumerate(zip(line, widths, strict=True))
                ).rstrip()
                for line in (head, *body)
            ),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values; what is undefined is None."""
        return {
            "panel": self.panel,
            "fingerprint": self.fingerprint,
            "findings": [
                {**asdict(one), "assets": list(one.assets), "severity": one.severity, "effect": one.effect}
                for one in self.findings
            ],
            "cross_autocorrelations": [
                {
                    **{name: _plain(value) for name, value in asdict(row).items()},
                    "asynchronous": row.asynchronous,
                }
                for row in self.cross_autocorrelations
            ],
        }


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by kind, otherwise in the order in which they came."""
    rank = {kind: number for number, kind in enumerate(KINDS)}
    return tuple(sorted(findings, key=lambda one: rank[one.kind]))


def _of_market(market: str | None, group: list[Finding], shown: int) -> Iterator[str]:
    begin = f"{market}: " if market is not None else ""
    for finding in group[:shown]:
        yield f"{begin}{finding.where}"
    rest = group[shown:]
    if rest:
        names = few(dict.fromkeys(name for one in rest for name in one.assets))
        yield f"{begin}{len(rest)} more: {names}"


def _cells(row: CrossAutocorrelation) -> tuple[str, ...]:
    if not row.days:
        return (row.market, row.others, "0", *["-"] * 8, "too few days")
    verdict = "asynchronous" if row.asynchronous else "persistent" if row.p_holm < LEVEL else ""
    return (
        row.market,
        row.others,
        f"{row.days:,}",
        f"{row.coefficient:.3f}",
        f"{row.error:.3f}",
        f"{row.p_value:.3f}",
        f"{row.p_holm:.3f}",
        f"{row.r2:.2%}",
        f"{row.r2_late:.2%}",
        f"{row.sharpe:.2f}",
        f"{row.sharpe_late:.2f}",
        verdict,
    )


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value

"""Every table and figure of the paper from a finished run: files, and one page that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from experiments.artefacts.columns import Column, as_text
from experiments.artefacts.files import write_items
from experiments.artefacts.items import Item, Omitted, Table
from experiments.artefacts.page import budget_line
from experiments.artefacts.thirds import thirds_table
from experiments.papers.quantnet import comparisons, figures, market_tables, tables
from experiments.papers.quantnet.ablation import table_7
from experiments.papers.quantnet.bootstrap import Intervals, intervals
from experiments.papers.quantnet.clusters import cluster, cluster_table
from experiments.papers.quantnet.factors import read_factors, regressions, table_6, table_6_published
from experiments.papers.quantnet.measure import (
    QUANTNET_LIKE,
    MarketDays,
    Measured,
    Pair,
    daily,
    drawn_pairs,
    late_trained_pairs,
    measure,
    named_markets,
    pairs,
)
from experiments.papers.quantnet.page import write_page
from experiments.papers.quantnet.places import with_places
from experiments.papers.quantnet.published import BUY_AND_HOLD_NOTE
from experiments.papers.quantnet.text import text_of_table1
from experiments.papers.quantnet.world import codes_of
from experiments.results.leaderboard import static_note
from experiments.results.thirds import Thirds, thirds_of
from experiments.storage.store import RunFolder
from qn_env.arrays import FloatArray
from qn_env.storage import write_atomically

CLUSTERED = (
    Column("Cluster", "cluster", "C{}".format),
    Column("Country", "country"),
    Column("Market", "market"),
    Column("Region", "region"),
)
NO_PAIR = "the run has no QuantNet beside a No Transfer model"


@dataclass(frozen=True, kw_only=True)
class PaperData:
    """A run, measured once by either execution, as every artefact needs it."""

    measured: Measured
    markets: Mapping[str, MarketDays]
    intervals: Intervals
    late: Measured
    late_intervals: Intervals
    pairs: Sequence[Pair]
    late_trained: Sequence[Pair]  # the same, trained one day late
    thirds: Thirds | None  # where the data say what each asset costs
    places: pd.DataFrame  # index market, columns region and country
    named: Sequence[str]

    @cached_property
    def still(self) -> dict[str, float]:
        """The learners that are static in part, by the name in the tables: the share that never moves."""
        return {tables.label(agent): share for agent, share in self.measured.static.items()}

    @cached_property
    def executions(self) -> Table:
        """Table 1's Sharpe ratios on time and late."""
        return comparisons.executions_table(self.measured, self.late, self.intervals, self.late_intervals)

    @property
    def agents(self) -> list[str]:
        """The strategies looked at in single markets: those of the pairs, else all."""
        return comparisons.compare_assets(self.pairs) or self.measured.agents

    @cached_property
    def growths(self) -> dict[str, pd.DataFrame]:
        """The data of Figures 5a and 10, where there are pairs."""
        return {
            figure: figures.cumulative(self.markets, self.measured, self.agents, self.named, scaled=scaled)
            for figure, scaled in (("fig5a", False), ("fig10", True))
            if self.pairs
        }

    def drawn(self, figure: str) -> list[tuple[Pair, str]]:
        """The pairs with figures, and the name of each one's; the main pair's is plain."""
        first, *others = drawn_pairs(self.measured.agents)
        named = [
            (pair, pair.strategy if pair.strategy != first.strategy else pair.reference) for pair in others
        ]
        return [(first, figure), *((pair, f"{figure}-{name}") for pair, name in named)]


def write_artefacts(
    run: RunFolder,
    out: Path,
    *,
    study: tables.StudyRecord | None,
    scores: Mapping[str, FloatArray] | None,
    places: pd.DataFrame | None,
    factors: Path | None,
    named: Sequence[str] | None,
    cost_bps: float | None = None,
) -> Path:
    """Write `tables/`, `figures/` and `paper.html` below `out`; the same run gives the same bytes.

    Args:
        run: a finished run.
        out: folder, made if it is not there.
        study: what it spent and chose; None: the run was not part of a search.
        scores: market to [N] mean encoder scores; None leaves the clusters out.
        places: market, region, country; None: each market is its own country.
        factors: daily factors (see `factors.py`); None leaves Table 6 out.
        named: markets looked at one by one; default: the four largest.
        cost_bps: cost level; default: the run's lowest.

    Returns:
        The page.

    Raises:
        ConfigError: a cost or a market the run does not have.
        DataError: not a finished run, factors or scores that cannot be used.
    """
    measured = measure(run, cost_bps)
    chosen = named_markets(measured, named)
    known = read_factors(factors) if factors is not None else None
    late = measure(run, cost_bps, "late")
    (markets, late_markets), every_pair = daily(run, measured, late), pairs(measured.agents)
    seed = int(measured.record["config"].get("seed", 0))
    own = {agent: measured.seeds[agent] for agent in measured.agents}
    of_medians = intervals(markets, own, every_pair, seed=seed)
    late_pairs = late_trained_pairs(measured)
    whole = PaperData(
        measured=measured,
        markets=markets,
        intervals=of_medians,
        late=late,
        late_intervals=intervals(late_markets, late.seeds, [*every_pair, *late_pairs], seed=seed),
        pairs=every_pair,
        late_trained=late_pairs,
        thirds=thirds_of(run.results(), run.asset_costs()),
        places=with_places(places, [str(market) for market in measured.markets.index]),
        named=chosen,
    )
    items: list[Item] = [
        *_main_results(whole),
        *_markets(whole, study),
        *_single_markets(whole),
        *_factor_items(whole, known),
        *_cluster_items(whole, scores),
        Omitted("Table 7", "the ablation is a run of its own, with a page of its own", "ablation.html"),
    ]
    budget = budget_line(measured.record, study)
    still = [static_note(whole.still)] if whole.still else []
    notes = [f"{budget} Figures are {measured.basis}.", *still, BUY_AND_HOLD_NOTE]
    written = write_items(items, out, _data_behind(whole), notes)
    text = text_of_table1(
        tables.table_1(measured, of_medians),
        whole.executions.data,
        comparisons.differences(measured, of_medians, every_pair),
        "\n".join([f"Table 1, {measured.basis}. {budget}", *still]),
    )
    write_atomically(out / "tables" / "table1.txt", text.encode())
    return write_page(out / "paper.html", items, written, measured, budget, still)


def write_ablation(run: RunFolder, out: Path, study: tables.StudyRecord | None) -> Path:
    """Write Table 7 and `ablation.html` below `out`, from a run of an ablation's variants; returns the page.

    The variants are told apart by their options in run.json: encoder, decoder, transfer, dimension.
    """
    measured = measure(run)
    table = table_7(measured)
    items: list[Item] = [table]
    budget = budget_line(measured.record, study)
    notes = [f"{budget} Figures are {measured.basis}.", BUY_AND_HOLD_NOTE]
    written = write_items(items, out, {}, notes, captions="ablation-notes.txt")
    text = f"Table 7, {measured.basis}. {budget}\n\n{table.shown.to_string(index=False)}\n"
    write_atomically(out / "tables" / "ablation.txt", text.encode())
    return write_page(out / "ablation.html", items, written, measured, budget, [])


def _main_results(made: PaperData) -> list[Item]:
    """Table 1, section 4.2 and Figures 3, 4, 5b and 5c."""
    measured = made.measured
    first, *others = tables.tables_1(measured, made.intervals)
    items: list[Item] = [first]
    if made.pairs:
        items.append(comparisons.differences_table(measured, made.intervals, made.pairs))
    items.append(made.executions)
    if made.pairs:
        items.append(comparisons.differences_table(made.late, made.late_intervals, made.pairs))
    if made.late_trained:
        items.append(
            comparisons.differences_table(
                made.late, made.late_intervals, made.late_trained, trained_late=True
            )
        )
    if made.thirds is not None:
        items.append(thirds_table(*made.thirds, measured.agents, named=tables.label, heading="Strategy"))
    items += [*others, comparisons.counts_table(measured)]
    if made.pairs:
        items.append(comparisons.tests_table(measured, made.pairs))
    strategy = next((agent for agent in QUANTNET_LIKE if agent in measured.agents), None)
    if strategy:
        items.append(figures.sharpe_histograms(measured, strategy))
    if not made.pairs:
        missing = ("Figures 4, 5, 7, 8, 9, 10, 11 and 12", "Section 4.2, tests")
        return [*items, *(Omitted(what, NO_PAIR) for what in missing)]
    items += [figures.by_market(measured, pair, ("sharpe",), name) for pair, name in made.drawn("fig4")]
    for figure, column in (("fig5b", "train"), ("fig5c", "assets")):
        table = market_tables.by_size_table(measured, made.pairs, figure, column)
        items += [
            figures.size_bars(measured, table.data, pair, name, column) for pair, name in made.drawn(figure)
        ]
        items.append(table)
    return items


def _markets(made: PaperData, searched: tables.StudyRecord | None) -> list[Item]:
    """Tables 2 and 3, Figures 7 to 9."""
    measured = made.measured
    items: list[Item] = [tables.table_2(measured, made.places), *tables.tables_3(searched)]
    if not made.pairs:
        return items
    items += [
        figures.by_market(measured, pair, comparisons.COMPARED, name) for pair, name in made.drawn("fig7")
    ]
    items.append(market_tables.by_market_table(measured, made.pairs, made.places))
    countries = market_tables.by_country_table(measured, made.pairs, made.places)
    items += [figures.country_bars(measured, countries.data, pair, name) for pair, name in made.drawn("fig8")]
    items.append(countries)
    items += [figures.market_scatter(measured, pair, name) for pair, name in made.drawn("fig9")]
    return [*items, market_tables.lines_table(measured, made.pairs)]


def _single_markets(made: PaperData) -> list[Item]:
    """Table 5 and Figures 5a, 10, 11 and 12: named markets."""
    measured, named = made.measured, made.named
    items: list[Item] = [
        tables.table_5(measured, named, made.agents, made.places),
        tables.table_5_published(),
    ]
    if not made.pairs:
        return items
    for pair, suffix in made.drawn(""):
        items += [
            figures.growth_lines(measured, made.growths[figure], pair, figure + suffix, over)
            for figure, over in figures.GROWTHS.items()
        ]
        items.append(figures.market_histograms(measured, pair, named, f"fig11{suffix}"))
        items.append(figures.asset_scatter(measured, pair, named, f"fig12{suffix}"))
    return items


def _factor_items(made: PaperData, known: pd.DataFrame | None) -> list[Item]:
    if known is None:
        return [Omitted("Table 6", "no file of factors was given"), table_6_published()]
    fitted = regressions(made.markets, made.named, made.measured.seeds, made.agents, known)
    return [table_6(fitted, made.measured.basis), table_6_published()]


def _cluster_items(made: PaperData, scores: Mapping[str, FloatArray] | None) -> list[Item]:
    """Figures 2 and 13."""
    if scores is None:
        return [Omitted("Figures 2 and 13", "no encoder scores were given")]
    if len(scores) < 2:
        return [Omitted("Figures 2 and 13", "a single market cannot be clustered")]
    clusters = cluster(scores)
    places = with_places(made.places.reset_index(), list(scores))
    data = cluster_table(clusters, places)
    codes = codes_of(places)
    table = Table(
        name="fig2",
        title="Figure 2, clusters",
        caption="The cluster of each market, from its mean encoder scores over the test days"
        + (
            "."
            if codes is not None
            else "; the paper draws them on a map, and these markets are no countries."
        ),
        data=data,
        shown=as_text(data, CLUSTERED),
    )
    drawn = [figures.dendrogram(clusters)]
    if codes is not None:
        size = pd.Series({market: len(made.markets[market].assets) for market in codes.index})
        largest = codes[size.sort_values(ascending=False, kind="stable").index].drop_duplicates()
        drawn.insert(0, figures.cluster_map(clusters, {str(m): str(code) for m, code in largest.items()}))
    return [*drawn, table]


def _data_behind(made: PaperData) -> dict[str, pd.DataFrame]:
    """Numbers behind figures that no table shows."""
    sharpe = made.measured.of("sharpe").rename_axis(columns=None).reset_index()
    return {"fig3": sharpe, **made.growths}

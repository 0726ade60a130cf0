"""The page of QuantNet's tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from experiments.artefacts.items import Drawing, Item
from experiments.artefacts.page import Front
from experiments.artefacts.page import write_page as write_front_and_items
from experiments.papers.quantnet.measure import NO_TRANSFER_LIKE, Measured
from experiments.papers.quantnet.published import BUY_AND_HOLD_NOTE, LABELS
from experiments.papers.quantnet.tables import label

NOTES = (
    "Published figures are references, not targets: they are of 3,103 stocks in 58 markets whose data cannot "
    "be redistributed, and the paper chose hyperparameters on the days it reports. Here the test days are "
    "seen once.",
    BUY_AND_HOLD_NOTE,
    "Return is compounded, and so is the numerator of the Calmar ratio (CR); Sharpe (SR) and Sortino (SortR) "
    "ratios are arithmetic. Kurtosis is excess kurtosis. MAD is the mean absolute deviation about the "
    "mean, SD has n - 1. Undefined values are left out and counted.",
)


def write_page(
    path: Path,
    items: Sequence[Item],
    images: Mapping[str, bytes],
    measured: Measured,
    budget: str,
    notes: Sequence[str],
) -> Path:
    """Write the page; the same items give the same bytes."""
    front = Front(
        title="QuantNet (Koshiyama et al. 2020)",
        authors="Koshiyama, Flennerhag, Blumberg, Firoozye and Treleaven",
        work="QuantNet: Transferring Learning Across Systematic Trading Strategies",
        year=2020,
        basis=measured.basis,
        notes=[*notes, *NOTES],
        record=measured.record,
        seeds=measured.seeds,
        budget=budget,
        label=label,
    )
    return write_front_and_items(path, [_titled(item) for item in items], images, front)


def _titled(item: Item) -> Item:
    """A figure drawn for a second pair bears what differs in its file's name, and here in its title."""
    if isinstance(item, Drawing) and (strategy := item.name.partition("-")[2]):
        against = "against " if strategy in NO_TRANSFER_LIKE else ""
        return replace(item, title=f"{item.title}, {against}{LABELS[strategy]}")
    return item

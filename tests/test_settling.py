"""Several test blocks in a row: what one holds at its end, the next begins with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from experiments.running.protocols import Fold, Protocol
from experiments.running.settling import carry_over, settle_block
from qn_env.arrays import FloatArray
from qn_env.panel import Panel
from qn_env.sources.synthetic import noise, ragged
from qn_env.tape import Tape

MONEY = ["gross", "turnover", "gross_late", "turnover_late"]
KEYS = ["date", "market", "asset"]


def random_signals(panel: Panel, seed: int) -> FloatArray:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, panel.shape) * panel.tradable


def settle(fold: Fold, signals: FloatArray, *, target: float | None, lag: int) -> pd.DataFrame:
    """A fold's days of signals [T, N] of its test panel."""
    tape = Tape.of(fold.test, vol_target=target, start=fold.test_start, execution_lag=lag)
    return settle_block(tape, fold, signals)


def part_of(panel: Panel, signals: FloatArray, test: Panel) -> FloatArray:
    """Signals of a panel on the days and assets of a part of it."""
    names = list(zip(panel.market_of, panel.assets, strict=True))
    columns = [names.index(name) for name in zip(test.market_of, test.assets, strict=True)]
    return signals[np.searchsorted(panel.dates, test.dates)][:, columns]


def fold_of(panel: Panel, folds: Sequence[Fold]) -> Fold:
    """One fold whose test blocks are those of all folds together."""
    first: dict[str, np.datetime64] = {}
    for fold in folds:
        first = dict(fold.test_start) | first
    return Fold(panel, panel, first, panel, first, pd.DataFrame())


@pytest.mark.parametrize("lag", [0, 1, 2])
@pytest.mark.parametrize("target", [None, 0.15])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("calendar", ["market", "union"])
def test_in_how_many_blocks_the_same_decisions_come_does_not_matter(
    calendar: str, seed: int, target: float | None, lag: int
) -> None:
    panel = ragged(sizes=(2, 3), days=1500, seed=seed)
    folds = Protocol(name="expanding", years=1, calendar=calendar).folds(panel)
    assert len(folds) > 2
    signals = random_signals(panel, seed)
    blocks = [settle(f, part_of(panel, signals, f.test), target=target, lag=lag) for f in folds]
    joined = carry_over(folds, blocks, vol_target=target, execution_lag=lag)
    assert joined["window"].drop_duplicates().tolist() == [fold.name for fold in folds]
    whole = settle(fold_of(panel, folds), signals, target=target, lag=lag)
    mine, once = joined.set_index(KEYS).sort_index(), whole.set_index(KEYS).sort_index()
    pd.testing.assert_frame_equal(mine[once.columns], once, check_exact=True)
    # What every block would have by itself is something else: the first days of the later ones.
    alone = pd.concat(blocks).set_index(KEYS).sort_index()
    assert not np.allclose(alone["turnover"], once["turnover"])
    assert not np.allclose(alone["gross_late"], once["gross_late"])


def test_by_hand() -> None:
    """Long 1, then short 0.5 from the first decision of the second block on."""
    panel = noise(markets=1, assets=1, days=1000, seed=3)
    folds = Protocol(name="expanding", years=1, calendar="market").folds(panel)[:2]
    ((name, market),) = panel.markets.items()
    dates = panel.dates[market.rows]
    signals = [np.full(fold.test.shape, value) for fold, value in zip(folds, (1.0, -0.5), strict=True)]
    blocks = [settle(fold, s, target=None, lag=0) for fold, s in zip(folds, signals, strict=True)]
    joined = carry_over(folds, blocks, vol_target=None, execution_lag=0)
    second = joined[joined["window"] == folds[1].name]
    assert blocks[1]["turnover"].iloc[0] == 0.5, "from nothing"
    assert second["turnover"].tolist()[:2] == [1.5, 0.0]
    returns = market.compact(panel.returns)[np.searchsorted(dates, folds[1].test_start[name]) :, 0]
    np.testing.assert_allclose(second["gross"].iloc[:2], -0.5 * returns[:2])
    # One day late the first day is still the long one's, and the change is paid a day later.
    assert blocks[1]["gross_late"].iloc[0] == 0.0
    np.testing.assert_allclose(second["gross_late"].iloc[:2], [returns[0], -0.5 * returns[1]])
    assert second["turnover_late"].tolist()[:3] == [0.0, 1.5, 0.0]


def test_what_was_decided_last_stands_through_an_embargo() -> None:
    panel = noise(markets=1, assets=1, days=1000, seed=3)
    folds = Protocol(name="expanding", years=1, calendar="market", embargo=10).folds(panel)[:2]
    signals = [np.full(fold.test.shape, value) for fold, value in zip(folds, (1.0, -0.5), strict=True)]
    blocks = [settle(fold, s, target=None, lag=0) for fold, s in zip(folds, signals, strict=True)]
    joined = carry_over(folds, blocks, vol_target=None, execution_lag=0)
    assert len(joined) == sum(map(len, blocks)), "the days left out are booked nowhere"
    assert joined[joined["window"] == folds[1].name]["turnover"].iloc[0] == 1.5


def test_a_market_that_a_window_leaves_out_starts_flat_again() -> None:
    panel = noise(markets=2, assets=1, days=1300, seed=4)
    folds = Protocol(name="expanding", years=1, calendar="market").folds(panel)[:3]
    gone, stays = panel.markets
    middle = folds[1]
    some = middle.test.select([stays])
    folds[1] = Fold(
        some,
        some,
        {stays: middle.test_start[stays]},
        some,
        {stays: middle.test_start[stays]},
        middle.blocks,
        middle.name,
    )
    blocks = [settle(fold, np.ones(fold.test.shape), target=None, lag=0) for fold in folds]
    joined = carry_over(folds, blocks, vol_target=None, execution_lag=0)
    first = joined.groupby(["market", "window"])["turnover"].first()
    names = [fold.name for fold in folds]
    assert first[gone].to_dict() == {names[0]: 1.0, names[2]: 1.0}
    assert first[stays].to_dict() == {names[0]: 1.0, names[1]: 0.0, names[2]: 0.0}

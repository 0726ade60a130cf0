"""Protocols: which days of each market an agent learns from, is selected on, and is judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from qn_env.errors import DataError
from qn_env.panel import Panel

BLOCK_DAYS = 752  # about three years, QuantNet's test block
MIN_TRAIN_DAYS = 252


@dataclass(frozen=True, eq=False)
class Fold:
    """One division of a panel, counted on each market's own trading days.

    Attributes:
        train: the panel up to the end of each market's training block, without reference to the rest.
        select: the panel up to the end of the selection block; days before `select_start` are history.
        select_start: first day of each market's selection block.
        test: the panel up to the end of the test block.
        test_start: first day of each market's test block.
        blocks: one row per market: days and dates of its blocks, and whether they were shortened.
    """

    train: Panel
    select: Panel
    select_start: Mapping[str, np.datetime64]
    test: Panel
    test_start: Mapping[str, np.datetime64]
    blocks: pd.DataFrame


def holdout(panel: Panel, *, days: int = BLOCK_DAYS) -> Fold:
    """Train on all before, select on the `days` before the last `days`, test on the last `days`.

    With T trading days a market's test block is min(days, T // 4), its selection block as long; what is
    left must be at least 252 days (QuantNet's split without its leak).

    Raises:
        DataError: a market too short, by name.
    """
    train_end, select_start, select_end, test_start = {}, {}, {}, {}
    rows = []
    for name, market in panel.markets.items():
        own = panel.dates[market.rows]
        T = len(own)
        block = min(days, T // 4)
        train = T - 2 * block
        if train < MIN_TRAIN_DAYS:
            raise DataError(
                f"market {name!r} has {T} trading days, which leaves {train} to train on; expected at least "
                f"{MIN_TRAIN_DAYS}. Leave it out with --exclude {name!r} (exclude=[{name!r}] in Python)."
            )
        train_end[name], select_start[name] = own[train - 1], own[train]
        select_end[name], test_start[name] = own[train + block - 1], own[train + block]
        rows.append(
            {
                "market": name,
                "assets": len(market.assets),
                "train": train,
                "select": block,
                "test": block,
                "test_first": str(own[train + block]),
                "test_last": str(own[-1]),
                "shortened": block < days,
            }
        )
    return Fold(
        panel.until(train_end), panel.until(select_end), select_start, panel, test_start, pd.DataFrame(rows)
    )

"""Bars of one asset (open, high, low, close, volume): one asset, not six."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from qn_env.errors import DataError

# What the columns of bars are called, in small letters and single spaces.
PRICES = ("adj close", "adjusted close", "close")  # the first that is there is the price
OTHERS = ("open", "high", "low", "volume", "dividends", "stock splits", "vwap", "trades", "open interest")
FIELDS = frozenset((*PRICES, *OTHERS))


def price_field(names: Iterable[str]) -> str | None:
    """The field that is the price, by names in small letters; None where there is none."""
    known = set(names)
    return next((name for name in PRICES if name in known), None)


def is_bars(names: Sequence[str]) -> bool:
    """Whether columns are those of one asset's bars: a close beside an open, a high or a low, and no other.

    Examples:
        >>> is_bars(["Open", "High", "Low", "Close", "Adj Close", "Volume"]), is_bars(["AAPL", "Close"])
        (True, False)
    """
    plain = {plain_field(name) for name in names}
    return price_field(plain) is not None and bool(plain & {"open", "high", "low"}) and plain <= FIELDS


def price_of(frame: pd.DataFrame, asset: str, source: str) -> tuple[pd.DataFrame, str]:
    """The price of one asset's bars as a column of its name, and a note that says which it is.

    The adjusted close where there is one: a close moves by splits and dividends that nobody gained or lost.

    Args:
        frame: [T, columns] bars.
        asset: its name.
        source: what the note calls this data.
    """
    by_name = {plain_field(str(name)): name for name in frame.columns}
    chosen = by_name[next(name for name in PRICES if name in by_name)]
    left = [str(name) for name in frame.columns if name != chosen]
    doubt = ", adjusted for splits and dividends or not" if plain_field(str(chosen)) == "close" else ""
    note = f"{source}: bars of one asset; its price is {chosen!r}{doubt}. Left out: {', '.join(left)}."
    return frame[[chosen]].set_axis([asset], axis=1), note


def refuse_bars(source: str, names: Sequence[str]) -> None:
    """Refuse one asset's bars where a column is an asset.

    Raises:
        DataError: they are.
    """
    if is_bars(names):
        raise DataError(
            f"{source}: the columns {', '.join(names)} are the bars of one asset, and would be taken for "
            f"{len(names)} assets. Give one column of it, the adjusted close, under the asset's name "
            "(a folder with one such file per asset is read as it is)."
        )


def plain_field(name: str) -> str:
    """The name of a field in small letters and with single spaces.

    Examples:
        >>> plain_field("Adj_Close"), plain_field(" Stock  Splits ")
        ('adj close', 'stock splits')
    """
    return " ".join(name.lower().replace("_", " ").split())

"""A map of the world without borders: every country one square, as near to its place as all the others allow.

The squares need no shapes of countries and no network, and a small country is as easy to see as a large one.
Positions are whole degrees near the middle of a country, in `world.csv`.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
import pandas as pd

WEST, NORTH = -130.0, 76.0  # of the first square
WIDE, HIGH = 8.5, 6.0  # degrees of a square
COLUMNS, ROWS = 38, 21


class Square(NamedTuple):
    """One country of the map."""

    country: str
    column: int  # from the west
    row: int  # from the north


@cache
def squares() -> Mapping[str, Square]:
    """Country code (ISO 3166, two letters) to its square; the sum of squared distances is the smallest."""
    from scipy.optimize import linear_sum_assignment

    text = files("experiments.papers.quantnet").joinpath("world.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    x = (np.array([float(row["longitude"]) for row in rows]) - WEST) / WIDE
    y = (NORTH - np.array([float(row["latitude"]) for row in rows])) / HIGH
    column, line = (axis.ravel() for axis in np.meshgrid(np.arange(COLUMNS), np.arange(ROWS)))
    _, cell = linear_sum_assignment((x[:, None] - column) ** 2 + (y[:, None] - line) ** 2)
    return {
        row["code"]: Square(row["country"], int(column[k]), int(line[k]))
        for row, k in zip(rows, cell, strict=True)
    }


def codes_of(places: pd.DataFrame) -> pd.Series | None:
    """Every market's country code, index market; None unless every market is in a country of the map.

    Args:
        places: index market, column country: a country's name or code.

    Examples:
        >>> table = pd.DataFrame({"country": ["Japan", "us"]}, index=["TPX", "SPX"])
        >>> codes_of(table).tolist(), codes_of(table.replace("us", "gold"))
        (['JP', 'US'], None)
    """
    codes = places["country"].map(code_of)
    return None if codes.isna().any() else codes


def code_of(country: str) -> str | None:
    """The code of a country by its name or code, in any case; None of one that the map does not have."""
    return _codes().get(str(country).casefold())


@cache
def _codes() -> Mapping[str, str]:
    names = {square.country.casefold(): code for code, square in squares().items()}
    return names | {code.casefold(): code for code in squares()}

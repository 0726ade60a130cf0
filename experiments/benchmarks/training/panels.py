"""The panels that steps are timed on: AR(1) returns, every asset open on every day of its market."""

from __future__ import annotations

from collections.abc import Sequence

from qn_env.panel import Panel
from qn_env.sources.synthetic import TEST_DAYS, Size, ar1_of_sizes, quantnet2020

COEFFICIENT = 0.15


def of_sizes(assets: Sequence[int], days: int) -> Panel:
    """Markets M0, M1, ... of so many assets each."""
    sizes = [Size(f"M{m}", "", "", days - TEST_DAYS, n) for m, n in enumerate(assets)]
    return ar1_of_sizes(sizes, seed=0, coefficient=COEFFICIENT)


def paper(*, whole: bool) -> Panel:
    """The paper's 58 markets, or a few small ones in their place."""
    return quantnet2020(seed=0, coefficient=COEFFICIENT) if whole else of_sizes((4, 2, 3), 150)

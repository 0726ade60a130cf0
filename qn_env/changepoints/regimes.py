"""Regimes: a history cut into segments at its changepoints (Wood et al. 2023, X-Trend, section 3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from qn_env.arrays import FloatArray
from qn_env.changepoints.evidence import FEWEST_DAYS, MOST_DAYS
from qn_env.checks import MOST_BARS, as_array, check_number, check_whole
from qn_env.errors import ConfigError


class Segment(NamedTuple):
    """Rows begin to end - 1 of one asset's own days, whose bounds are known at the close of row `known`."""

    begin: int
    end: int
    known: int


def segments(
    severity: FloatArray,
    location: FloatArray,
    *,
    days: int,
    threshold: float,
    shortest: int,
    longest: int,
) -> list[Segment]:
    """The regimes of one asset, in order, each from where the one before ended.

    The history is read forwards. A segment ends before a change as soon as one is located in the look-back of
    a row whose severity exceeds `threshold` and leaves the segment at least `shortest` rows, and at `longest`
    rows at the latest. So what is known of a history up to a row is the segments with `known` up to that row:
    later rows neither move nor remove them. The rows after the last segment belong to a regime whose end is
    not known yet. (The paper reads backwards from today; the segments then change with the day one asks.)

    Args:
        severity: [T] of `changepoints`, on the asset's own days; NaN is no changepoint.
        location: [T] likewise.
        days: the look-back they were computed with.
        threshold: severity in [0, 1) that a change has to exceed.
        shortest: rows of a segment, at least 1.
        longest: rows of a segment, at least `shortest`.

    Raises:
        ConfigError: a setting out of bounds, or arrays that are not of one shape [T].
    """
    days = check_whole("days", days, FEWEST_DAYS, MOST_DAYS)
    threshold = check_number("threshold", threshold, 0.0, 1.0)
    shortest = check_whole("shortest", shortest, 1, MOST_BARS)
    longest = check_whole("longest", longest, shortest, MOST_BARS)
    shapes = as_array(severity).shape, as_array(location).shape
    if len(shapes[0]) != 1 or shapes[0] != shapes[1]:
        raise ConfigError(
            f"severity and location have shapes {shapes[0]} and {shapes[1]}, expected [T] of one asset."
        )
    found: list[Segment] = []
    begin = 0
    for row in range(len(severity)):
        if severity[row] > threshold and np.isfinite(location[row]):
            change = row + 1 - days + round(float(location[row]) * days)  # first row of the new law
            if shortest <= change - begin <= longest:
                found.append(Segment(begin, change, row))
                begin = change
        while row + 1 - begin >= longest:
            found.append(Segment(begin, begin + longest, row))
            begin += longest
    return found

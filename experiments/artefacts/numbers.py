"""Numbers, settings and lists as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np

UNDEFINED = "\N{EN DASH}"
MONEY = ((1e12, "tn"), (1e9, "bn"), (1e6, "m"), (1e3, "k"))


ROUNDING = 1e-12  # no figure of a table is so small, but for what is left of a sum of opposites


def format_digits(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits, never in powers of ten; a dash where undefined.

    What is nothing but the rounding of a sum that is 0 is written as 0.

    Examples:
        >>> format_digits(7.63e-17)
        '0'
        >>> format_digits(0.0000512345), format_digits(33.29913), format_digits(1234567.0)
        ('0.00005123', '33.30', '1234567')
        >>> format_digits(float("nan")) == UNDEFINED
        True
    """
    if value is None or not np.isfinite(value):
        return UNDEFINED
    if abs(value) < ROUNDING:
        return "0"
    magnitude = int(np.floor(np.log10(abs(value))))
    return f"{value:.{max(digits - 1 - magnitude, 0)}f}"


def format_money(value: float | None) -> str:
    """An amount of money with three significant digits, in thousands (k), millions (m), billions (bn) ...

    Examples:
        >>> [format_money(amount) for amount in (1e6, 2.5e5, 999999.0, 1.234e10, 70.0, 0.0)]
        ['1m', '250k', '1m', '12.3bn', '70', '0']
        >>> format_money(float("nan")) == UNDEFINED
        True
    """
    if not _is_known(value):
        return UNDEFINED
    rounded = float(f"{value:.3g}")
    size, unit = next(((size, unit) for size, unit in MONEY if abs(rounded) >= size), (1.0, ""))
    return f"{rounded / size:.12g}{unit}"


def format_value(value: float | None, form: str) -> str:
    """A number in a format; a dash where undefined.

    Examples:
        >>> format_value(0.12345, ".1%"), format_value(1.0, "+.2f"), format_value(-0.001, ".2f")
        ('12.3%', '+1.00', '0.00')
    """
    sign = form[: form.startswith("+")]
    return f"{value:{sign}z{form.removeprefix('+')}}" if _is_known(value) else UNDEFINED


def format_interval(low: float | None, high: float | None, form: str = ".2f") -> str:
    """An interval; a dash where undefined.

    Examples:
        >>> format_interval(-0.5, 1.25)
        '[-0.50, 1.25]'
    """
    return (
        f"[{format_value(low, form)}, {format_value(high, form)}]"
        if _is_known(low) and _is_known(high)
        else UNDEFINED
    )


def format_setting(value: object) -> str:
    """A setting as text; a dash where there is none."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return UNDEFINED
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def join_words(words: Sequence[str]) -> str:
    """Words with commas and one `and`.

    Examples:
        >>> join_words(["0", "2", "5"])
        '0, 2 and 5'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def align_columns(cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines with names to the left and numbers to the right, a rule under the heading.

    Examples:
        >>> align_columns([["", "SR"], ["macd", "0.5"]])
        ['       SR', '---------', 'macd  0.5']
    """
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(w) if i else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def _is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and bool(np.isfinite(value))

"""Evidence of skill that may be looked at every day: the wealth of somebody who bets on an agent's returns.

Whoever holds f / L_t times a book whose net return is x_t multiplies wealth by 1 + f x_t / L_t a day. If the
book has no skill, E[x_t | past] <= 0 on every day, and never loses more than L_t, known the day before, the
wealth W_t (from 1) is a supermartingale that is never negative, whatever the law of the returns, their
volatility and its dependence over time. By Ville's inequality it then ever reaches 1 / a with a probability
of a at most: 20 in at most 5% of all cases, however often one looks and whenever one stops. Ramdas,
Gruenwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference" (2023), sections 2
and 4; the bets on a mean are those of Waudby-Smith and Ramdas, "Estimating means of bounded random variables
by betting" (2024). A mean of such wealths, over bets f or over agents, is one again.

The assumption that is left is the largest loss. There is no test of a mean without one (Bahadur and Savage,
"The nonexistence of certain statistical procedures in nonparametric problems", 1956): nobody can see a loss
that is large and has never happened. Gains need no bound.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qn_env.arrays import FloatArray
from qn_env.checks import MOST_DAYS, check_number, check_whole
from qn_env.errors import ConfigError, DataError

BETS = (0.5, 1.0)  # shares of the largest stake, a half of the wealth on each
LARGEST_LOSS = 20.0  # standard deviations of the book in the year before
SCALE_DAYS = 252  # days before a day that the standard deviation of its book is of
WIDEST_DAYS = 21  # up to a day, of which the widest book counts
THRESHOLD = 20.0  # of wealth: 1 / 5%
MOST_LOSS, MOST_BETS = 1e6, 1000


def largest_losses(
    scale: FloatArray, cost: FloatArray, *, times: float = LARGEST_LOSS, days: int = WIDEST_DAYS
) -> FloatArray:
    """[T, ...] what a day is assumed to lose at most, decimal: a multiple of the book's scale, and its costs.

    The scale is the largest of so many days, the day's own too: a book that is closed is charged its last
    costs at about the stakes it was held at.

    Args:
        scale: [T, ...] standard deviation of each day's book, known the day before, decimal; 0 where nothing
            is held.
        cost: [T, ...] what is charged that day, decimal, known the day before.
        times: the multiple.
        days: of which the largest is taken.

    Raises:
        ConfigError: a multiple or a number of days that is none.
        DataError: a scale or cost that is negative or not finite.
    """
    check_number("times", times, 0.0, MOST_LOSS, above=True)
    check_whole("days", days, 1, MOST_DAYS)
    for name, values in (("scale", scale), ("cost", cost)):
        if not (np.isfinite(values) & (values >= 0.0)).all():
            raise DataError(f"{name} holds a number that is negative or not finite, expected neither.")
    largest = scale.copy()
    for back in range(1, min(days, len(scale))):
        np.maximum(largest[back:], scale[:-back], out=largest[back:])
    losses: FloatArray = times * largest + cost
    return losses


def wealth_of_bets(net: FloatArray, losses: FloatArray, bets: Sequence[float] = BETS) -> FloatArray:
    """[T, ...] the wealth after every day of betting on net returns, from 1: the evidence of skill.

    The wealth is divided equally among the bets on the first day and left to each. A day that loses more than
    the assumption allows takes all that was staked with it, for good.

    Args:
        net: [T, ...] net returns of a day, decimal.
        losses: [T, ...] the largest loss of the day, known the day before; where it is 0 nothing is bet.
        bets: shares of the stake that the largest loss allows, each above 0 and at most 1.

    Raises:
        ConfigError: no bet, one out of bounds, or shapes that differ.
        DataError: a return that is not finite; a loss that is negative or NaN.

    Examples:
        >>> wealth_of_bets(np.array([0.01, -0.01]), np.array([0.02, 0.04]), [1.0]).tolist()
        [1.5, 1.125]
    """
    stakes = _checked(net, losses, bets)
    total = np.zeros(net.shape)
    for bet in bets:
        with np.errstate(divide="ignore"):  # log 0: all is lost
            growth = np.log(np.maximum(1.0 + bet * stakes, 0.0))
        with np.errstate(over="ignore"):
            total += np.exp(np.cumsum(growth, axis=0)) / len(bets)
    return total


def anytime_p_values(wealth: FloatArray) -> FloatArray:
    """[T, ...] p-values that hold on any day, chosen in whatever way: 1 over the largest wealth so far.

    Examples:
        >>> anytime_p_values(np.array([0.5, 4.0, 2.0])).tolist()
        [1.0, 0.25, 0.25]
    """
    p_values: FloatArray = 1.0 / np.maximum(np.maximum.accumulate(wealth, axis=0), 1.0)
    return p_values


def _checked(net: FloatArray, losses: FloatArray, bets: Sequence[float]) -> FloatArray:
    """[T, ...] returns in units of the largest loss; 0 where nothing is bet."""
    if not 1 <= len(bets) <= MOST_BETS:
        raise ConfigError(f"bets: {len(bets)} of them, expected 1 to {MOST_BETS}.")
    for bet in bets:
        check_number("bets", bet, 0.0, 1.0, above=True, unit="a share of the stake")
    if net.shape != losses.shape:
        raise ConfigError(f"net has shape {net.shape}, and the largest losses {losses.shape}.")
    if not np.isfinite(net).all():
        raise DataError("net holds a number that is not finite; keep the days that have a return.")
    if not (losses >= 0.0).all():
        raise DataError("losses hold a number that is negative or NaN, expected the largest loss, >= 0.")
    return np.divide(net, losses, out=np.zeros(net.shape), where=losses > 0.0)

"""The one arithmetic: signals become weights, weights and returns become gross, cost and net.

Everything here uses operators that NumPy and PyTorch share: the environment calls it on [N], the backtest
on [T, N], a training loss on [B, T, N] tensors with gradients. Importing it does not import PyTorch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Generic, Literal, NamedTuple, TypeVar

import numpy as np

from qn_env.arrays import Array, BoolArray, FloatArray, Index, IntArray, Mask, Namespace
from qn_env.year import DAYS_PER_YEAR

BASIS_POINT = 1e-4

Initial = Literal["flat", "free"]

# The records hold arrays of either kind; the functions say `Array`, so that they see what it can do.
Held = TypeVar("Held")
Other = TypeVar("Other")


class Ledger(NamedTuple, Generic[Held]):
    """What one day's weights earned, asset by asset, as fractions of capital."""

    gross: Held
    turnover: Held
    cost: Held
    net: Held


class Costs(NamedTuple, Generic[Held]):
    """Rates of every cost, per asset [N] or [..., N]; None is absent, and the same as zero."""

    turnover: Held  # per unit of turnover, decimal (1e-4 is one basis point)
    impact: Held | None = None  # per unit of turnover to the power 1.5
    short: Held | None = None  # per day and unit of short weight
    long: Held | None = None  # per day and unit of long weight

    def each(self, change: Callable[[Held], Other]) -> Costs[Other]:
        """Every rate that is present, changed."""
        more = (None if rate is None else change(rate) for rate in self[1:])
        return Costs(change(self.turnover), *more)


class Account(NamedTuple, Generic[Held]):
    """What is remembered from day to day."""

    weight: Held  # [..., N] held after the last close
    settled: Held  # [..., N] the last weight whose trade was charged
    orders: Held  # [lag + 1, ..., N] targets in force, the newest first


class Day(NamedTuple, Generic[Held]):
    """One decision day t of a tape, and what the day after it brings; every field [..., N].

    None says that nothing is the matter: no volatility target, every asset open, every market awake, no
    delisting, no execution lag.
    """

    return_tp1: Held
    costs: Costs[Held]
    scale: Held | None = None
    live: Mask | None = None
    awake_tp1: Mask | None = None
    exit_tp1: Held | None = None
    decides: Mask | None = None  # only with an execution lag, as is the next one
    awake: Mask | None = None

    def of_assets(self, assets: Mask) -> Day[Held]:
        """The same day for an account that trades only some assets [..., N]."""
        return self._replace(live=assets if self.live is None else self.live & assets)


def settle(
    weight_t: Array,
    weight_tm1: Array,
    return_tp1: Array,
    costs: Costs[Array] | None,
    exit_tp1: Array | None = None,
) -> Ledger[Array]:
    """Settle one day, asset by asset: gross, turnover, cost and net.

    Args:
        weight_t: [..., N] weight chosen at the close of t, as a fraction of capital.
        weight_tm1: [..., N] weight it replaces.
        return_tp1: [..., N] simple return to the market's next trading day, 0 where closed.
        costs: rates, [N] or [..., N]; None where nothing costs anything.
        exit_tp1: [..., N] 1 where a delisting is booked on the next trading day: the weight is sold at the
            last price, and pays for it; else 0. None where nothing is delisted.
    """
    w = weight_t
    turnover = abs(w - weight_tm1)
    if exit_tp1 is not None:
        turnover = turnover + abs(w) * exit_tp1
    gross = w * return_tp1
    if costs is None:
        return Ledger(gross, turnover, 0.0 * turnover, gross)
    cost = turnover * costs.turnover
    if costs.impact is not None:
        cost = cost + turnover**1.5 * costs.impact
    if costs.short is not None:
        cost = cost + (abs(w) - w) * 0.5 * costs.short
    if costs.long is not None:
        cost = cost + (abs(w) + w) * 0.5 * costs.long
    return Ledger(gross, turnover, cost, gross - cost)


def settle_slopes(
    weight_t: Array,
    weight_tm1: Array,
    return_tp1: Array,
    costs: Costs[Array],
    exit_tp1: Array | None = None,
) -> tuple[Array, Array]:
    """The derivatives of `settle`'s net with respect to `weight_t` and to `weight_tm1`; arguments as there.

    What automatic differentiation of `settle` gives, in a fraction of the passes over memory; the slope of
    an absolute value at 0 is 0. Without costs they are the return and 0.
    """
    w, r = weight_t, return_tp1
    xp = namespace(w)
    traded = w - weight_tm1
    price = _price_of_turnover(traded, w, costs, exit_tp1)
    charge = xp.sign(traded, out=traded)  # `traded` is ours to write into
    charge *= price
    slope = r - charge
    if exit_tp1 is not None:
        slope = slope - xp.sign(w) * exit_tp1 * price
    if costs.short is not None:
        slope = slope - (xp.sign(w) - 1.0) * 0.5 * costs.short
    if costs.long is not None:
        slope = slope - (xp.sign(w) + 1.0) * 0.5 * costs.long
    return slope, charge


def _price_of_turnover(traded: Array, weight_t: Array, costs: Costs[Array], exit_tp1: Array | None) -> Array:
    """The derivative of the cost with respect to the turnover."""
    if costs.impact is None:
        return costs.turnover
    turnover = abs(traded) if exit_tp1 is None else abs(traded) + abs(weight_t) * exit_tp1
    return costs.turnover + 1.5 * turnover**0.5 * costs.impact


def advance(account: Account[Array], signals: Array, day: Day[Array]) -> tuple[Account[Array], Ledger[Array]]:
    """One day of an account: decide at the close of t, trade what is due, book the day after.

    A market that is closed on t + 1 settles its trade on its own next trading day: until then it yields
    exactly nothing.

    Args:
        account: as the last day left it.
        signals: [..., N] in [-1, 1].
        day: the day's rows of a tape.
    """
    target = signals if day.scale is None else signals * day.scale
    settled, orders = account.settled, account.orders
    if day.decides is not None and day.awake is not None:
        xp = namespace(target)
        standing = xp.where(day.decides, target, orders[0])
        orders = xp.where(day.awake, xp.concatenate((standing[None], orders[:-1])), orders)
        target = orders[-1]
    weight = target if day.live is None else hold(target, account.weight, day.live)
    effective = weight if day.awake_tp1 is None else hold(weight, settled, day.awake_tp1)
    ledger = settle(effective, settled, day.return_tp1, _awake(day), day.exit_tp1)
    if day.exit_tp1 is not None:
        stays = 1.0 - day.exit_tp1
        weight, effective = weight * stays, effective * stays
    return Account(weight, effective, orders), ledger


def _awake(day: Day[Array]) -> Costs[Array]:
    """The day's rates; nothing is charged for holding where the market is closed on the day after."""
    costs = day.costs
    if (costs.short is None and costs.long is None) or day.awake_tp1 is None:
        return costs
    xp, awake = namespace(costs.turnover), day.awake_tp1
    held = [None if rate is None else xp.multiply(rate, awake) for rate in (costs.short, costs.long)]
    return Costs(costs.turnover, costs.impact, *held)


def hold(target_t: Array, weight_tm1: Array, tradable_t: Mask, listed_t: Mask | None = None) -> Array:
    """The weight held after the close of t: the target where open, the old one where closed, else 0.

    Args:
        target_t: [..., N] the weight asked for.
        weight_tm1: [..., N] the weight held before.
        tradable_t: [..., N] 1 or True where the asset trades on t.
        listed_t: [..., N] 1 or True where it is listed at t; None where what is not listed has no weight.
    """
    xp = namespace(target_t)
    held = xp.where(tradable_t, target_t, weight_tm1)
    return held if listed_t is None else xp.multiply(held, listed_t)


def carry(target: Array, order: Index) -> Array:
    """`hold` over a whole history at once: the target of the decision in force.

    Args:
        target: [..., T, N] the weights asked for.
        order: [..., T, N] integer row of the decision in force after the close of t, T where there is none;
            without execution lag that of the asset's last open day.
    """
    xp = namespace(target)
    padded = xp.concatenate((target, 0.0 * target[..., :1, :]), axis=-2)
    gather = xp.take_along_axis if xp is np else xp.take_along_dim
    return gather(padded, order, -2)


def trade(
    target: Array,
    order: Index | None,
    listed: Array | None,
    exits: Array | None,
    next_returns: Array,
    costs: Costs[Array] | None,
    *,
    initial: Initial = "flat",
    lag: int = 0,
) -> Ledger[Array]:
    """Settle a whole history of targets: the same numbers as `hold` and `settle` day by day.

    Args:
        target: [..., T, N] weights asked for at the close of each day.
        order: [..., T, N] as in `carry`; None where every target of a listed asset is traded at its close.
        listed: [..., T, N] 1 where listed at t; None where all are.
        exits: [..., T, N] 1 where a delisting is booked on the day after t; None where none is.
        next_returns: [..., T, N] return of the day after t, 0 where closed.
        costs: rates, [N] or [..., T, N]; None where nothing costs anything.
        initial: the weight before the first day: "flat" is 0, so the first trade is charged; "free" equals
            the first weight, for sampled training windows, whose edge is not a trade.
        lag: days between a decision and its trade; the first weight of a window appears on row `lag`.
    """
    weight = weights_in_force(target, order, listed)
    before = weights_before(weight, listed, initial=initial, lag=lag)
    return settle(weight, before, next_returns, costs, exits)


def weights_in_force(target: Array, order: Index | None, listed: Array | None) -> Array:
    """[..., T, N] the weights held after each close; arguments as in `trade`."""
    weight = target if order is None else carry(target, order)
    return weight if listed is None else weight * listed


def weights_before(weight: Array, listed: Array | None, *, initial: Initial, lag: int = 0) -> Array:
    """[..., T, N] the weights that those held after each close replace; arguments as in `trade`."""
    w, xp = weight, namespace(weight)
    if initial == "free":
        before = xp.concatenate((w[..., : 1 + lag, :], w[..., lag:-1, :]), axis=-2)
    else:
        before = xp.concatenate((0.0 * w[..., :1, :], w[..., :-1, :]), axis=-2)
    # An asset delisted since was sold when its exit was booked: nothing is left to replace.
    return before if listed is None else before * listed


def aggregate(values: Array, share: Array) -> Array:
    """[...] weighted sum of per-asset values [..., N]; `share` from `equal_market_share` makes it a mean."""
    if values.ndim == 1:
        one: Array = values.dot(share)  # half the price of the general product on a short vector
        return one
    xp = namespace(values)
    return (xp if xp is np else xp.linalg).vecdot(values, share)


def equal_market_share(listed: BoolArray, market_index: IntArray) -> FloatArray:
    """[..., N] weights of the mean over a market's listed assets, then over markets with a listed asset.

    Args:
        listed: [..., N] bool, NumPy.
        market_index: [N] integer market of each asset, markets contiguous.

    Examples:
        >>> equal_market_share(np.array([True, True, False, True]), np.array([0, 0, 1, 2])).tolist()
        [0.25, 0.25, 0.0, 0.5]
    """
    starts = np.flatnonzero(np.diff(market_index, prepend=-1))
    size = np.add.reduceat(listed, starts, axis=-1, dtype=np.int64)
    markets = np.maximum((size > 0).sum(axis=-1, keepdims=True), 1)
    share: FloatArray = listed / (np.maximum(size, 1)[..., market_index] * markets)
    return share


def volatility_scale(
    volatility: FloatArray,
    target: float | FloatArray | None,
    *,
    bars_per_year: float = DAYS_PER_YEAR,
) -> FloatArray:
    """[...] weight per unit of signal: target over annualised volatility, 1 without target, 0 where unknown.

    Args:
        volatility: [...] ex-ante standard deviation of a bar known at t, NaN where there is no estimate.
        target: annualised volatility, one or per asset [N] (0.15 is 15%), or None (Lim et al. 2019, Eq. 1).
        bars_per_year: what the standard deviation is annualised by.
    """
    if target is None:
        return np.ones_like(volatility)
    scale: FloatArray = np.nan_to_num(target / (np.sqrt(bars_per_year) * volatility), nan=0.0)
    return scale


def namespace(array: Array) -> Namespace[Array]:
    """The module whose functions act on `array`: torch for a tensor, else numpy."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(array, torch.Tensor) else np

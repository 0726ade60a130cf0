"""What single assets' prices show: stale stretches, bad prints, splits, ticks, changes of scale."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from qn_env.arrays import BoolArray, FloatArray, IntArray
from qn_env.panel_audit.histories import BLOCK, History, in_blocks, median
from qn_env.panel_audit.report import Finding

FAR = 8.0  # robust deviations that no quarter's ordinary day reaches
BACK = 0.2  # of a move, within which the next day takes it back
RATIOS = (2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 25.0, 50.0, 100.0, 1000.0)  # of splits and of units
CLOSE = 0.02  # relative distance of a price ratio from a split's
SETTLED = 21  # observations after which a split is still there
LEAST_RUN = 5  # equal prices in a row
CHANCE = 1e-3  # of a run or of a repeated date, in the whole history of an asset or market
STALE = 0.05  # share of returns that are exactly 0 beyond what the tick explains
LEAST_STALE = 10  # such returns
LEAST_TICKS = 0.1  # of a day's deviation: nine days in ten show no move
# New prices over moves in a block of 63: 0.4 for a random walk whose tick is half a daily deviation, where
# rounding alone makes an autocorrelation of -0.02 (0.30 and -0.07 at one, 0.55 and -0.005 at a quarter;
# `test_ticks_are_called_coarse_from_half_a_deviation_on`).
COARSE = 0.4
COARSE_BLOCKS = 4  # in a row, taken together: a block's share scatters by 0.1
LEAST_MOVED = 32  # moves in these
SAME_PRICE = 1e-6  # relative: prices in single precision differ by 1e-7
SCALE = 5.0  # ratio of a robust volatility to that of the other half
LEAST_HALF = 2 * BLOCK
WIDEST = 5.0  # robust deviations at which returns are clipped before they make a deviation


def bad_prints(history: History) -> Iterator[Finding]:
    """Moves beyond 8 robust deviations that the asset's next observation takes back to within 20%."""
    returns, far = history.returns, _far(history)
    back = np.zeros_like(far)
    ratio = (1.0 + returns[:-1]) * (1.0 + returns[1:])
    back[:-1] = np.abs(ratio - 1.0) <= BACK * np.abs(returns[:-1])
    hit = far & back
    # The way back is far, too, and may be taken back by another print: each is told once.
    hit[1:] &= ~hit[:-1]
    for j in np.flatnonzero(hit.any(axis=0)).tolist():
        worst = returns[hit[:, j], j]
        worst = worst[np.abs(worst).argmax()]
        detail = f"{hit[:, j].sum()} {_days(hit[:, j].sum())}, the largest {worst:+.1%} and back"
        yield _finding(history, "bad print", j, hit, detail)


def splits(history: History) -> Iterator[Finding]:
    """Price ratios within 2% of a split's (2, 3, 4, 5, 10, ..., or one over them) that stay."""
    returns = history.returns
    ratio = np.where(np.isfinite(returns), 1.0 + returns, 1.0)
    size = np.where(ratio >= 1.0, ratio, 1.0 / ratio)
    candidate = _far(history) & (size > 2.0 * (1.0 - CLOSE))
    # Of a price of few ticks every ratio is one of whole numbers.
    candidate &= np.repeat(_ticks(in_blocks(returns)) <= CLOSE, BLOCK, axis=0)[: len(returns)]
    near = np.zeros_like(candidate)
    for value in RATIOS:
        near |= np.abs(size / value - 1.0) <= CLOSE
    logs = np.log(ratio)
    stays = np.zeros_like(candidate)
    for k, j in np.argwhere(candidate & near):
        after = logs[k : k + 1 + SETTLED, j].cumsum()
        stays[k, j] = (after * np.sign(after[0]) > 0.5 * abs(after[0])).all()
    for j in np.flatnonzero(stays.any(axis=0)).tolist():
        told = ", ".join(f"{value:+.1%}" for value in returns[stays[:, j], j][:3])
        yield _finding(history, "split", j, stays, f"a return of {told} that stays")


def stale_prices(history: History) -> Iterator[Finding]:
    """Returns that are exactly 0 more often than the tick explains, and runs of equal prices."""
    returns = history.returns
    zero = returns == 0.0
    expected = _zeros_of_ticks(history)
    counts = np.maximum(history.counts, 1)
    excess = zero.sum(axis=0) - expected.sum(axis=0)
    many = (
        (excess > STALE * counts) & (excess >= LEAST_STALE) & (excess > 5.0 * np.sqrt(expected.sum(axis=0)))
    )
    runs, ends = _longest_runs(zero)
    often = np.fmax(zero.sum(axis=0) / counts, (expected / BLOCK).max(axis=0, initial=0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        improbable = np.log(counts) + runs * np.log(often) < np.log(CHANCE)
    improbable &= (runs >= LEAST_RUN) & (often < 1.0)
    flat = (runs >= LEAST_RUN) & (often >= 1.0)  # it never moved
    for j in np.flatnonzero(many | improbable | flat).tolist():
        run = np.zeros_like(zero)
        run[ends[j] - runs[j] + 1 : ends[j] + 1, j] = True
        days = history.days(run, j)
        detail = (
            f"{zero[:, j].sum() / counts[j]:.0%} of the returns are exactly 0, "
            f"{expected[:, j].sum() / counts[j]:.0%} expected of the tick"
        )
        if runs[j] >= LEAST_RUN:
            detail += f"; the longest run of them has {runs[j]}, from {days[0]} on"
        yield _finding(history, "stale", j, zero if many[j] else run, detail)


def coarse_ticks(history: History) -> Iterator[Finding]:
    """Prices that return to few values: new prices are too small a share of the moves."""
    returns = history.returns
    if not len(returns):
        return
    blocks = in_blocks(returns)
    moved = (np.isfinite(blocks) & (blocks != 0.0)).sum(axis=1)
    new = np.where(moved > 0, _distinct_prices(blocks), 0)
    pooled_new, pooled_moved = _over_blocks(new), _over_blocks(np.where(moved > 0, moved + 1, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(pooled_moved >= LEAST_MOVED, pooled_new / pooled_moved, np.nan)
        typical = np.where(moved.sum(axis=0) > 0, new.sum(axis=0) / (moved + 1).sum(axis=0), np.nan)
    share[: COARSE_BLOCKS - 1] = np.nan  # not yet a year
    low = np.repeat(share < COARSE, BLOCK, axis=0)[: len(returns)] & np.isfinite(returns)
    for j in np.flatnonzero(low.any(axis=0)).tolist():
        least = np.nanmin(share[:, j])
        detail = (
            f"{low[:, j].sum() / history.counts[j]:.0%} of the days, where as few as {least:.0%} of the "
            f"moves reach a new price ({typical[j]:.0%} over all)"
        )
        yield _finding(history, "coarse ticks", j, low, detail)


def volatility_breaks(history: History) -> Iterator[Finding]:
    """Robust volatilities of an asset's two halves that differ by a factor above 5."""
    counts = history.counts
    used = -(-counts // BLOCK)  # blocks of each asset
    number = np.arange(len(history.moves))[:, None]
    early = median(np.where(number < used // 2, history.moves, np.nan), axis=0)
    late = median(np.where((number >= used // 2) & (number < used), history.moves, np.nan), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = late / early
    for j in np.flatnonzero((counts >= 2 * LEAST_HALF) & ((ratio > SCALE) | (ratio < 1.0 / SCALE))).tolist():
        middle = history.dates[history.rows[(used[j] // 2) * BLOCK, j]]
        last = history.dates[history.rows[counts[j] - 1, j]]
        detail = f"{early[j]:.2%} a day before, {late[j]:.2%} from here on"
        yield Finding(
            "volatility break",
            history.market.name,
            (history.market.assets[j],),
            str(middle),
            str(last),
            int(counts[j] - (used[j] // 2) * BLOCK),
            detail,
        )


def _far(history: History) -> BoolArray:
    """[L, n] moves beyond 8 robust deviations."""
    far: BoolArray = np.abs(history.returns) > FAR * history.usual
    return far


def _finding(history: History, kind: str, asset: int, where: BoolArray, detail: str) -> Finding:
    days = history.days(where, asset)
    names = (history.market.assets[asset],)
    return Finding(kind, history.market.name, names, str(days[0]), str(days[-1]), len(days), detail)


def _days(count: int) -> str:
    return "day" if count == 1 else "days"


def _zeros_of_ticks(history: History) -> FloatArray:
    """[B, n] returns of exactly 0 that a block's tick explains, the exact price lying anywhere within it.

    A move of s ticks standard deviation is rounded away with probability
    2 Phi(1/s) - 1 - s sqrt(2/pi) (1 - exp(-1 / (2 s^2))): the mean of max(0, 1 - |x|) over x ~ N(0, s^2). The
    tick, over the price, is the smallest move other than 0 of the block. What is seen of a variance of s^2 is
    s^2 + 1/6: rounding adds a twelfth at either end.
    """
    from scipy.special import ndtr

    blocks = in_blocks(history.returns)
    sizes = np.abs(blocks)
    present = np.isfinite(blocks).sum(axis=1)
    tick = _ticks(blocks)
    clipped = np.fmin(sizes, WIDEST * history.moves[:, None, :])
    deviation = np.sqrt(np.nansum(clipped**2, axis=1) / np.maximum(present, 1))
    known = np.isfinite(tick) & (deviation > 0.0)
    seen = np.where(known, deviation, 1.0) / np.where(known, tick, 1.0)
    s = np.sqrt(np.maximum(seen**2 - 1.0 / 6.0, LEAST_TICKS**2))
    rounded = 2.0 * ndtr(1.0 / s) - 1.0 - s * np.sqrt(2.0 / np.pi) * -np.expm1(-0.5 / s**2)
    zeros: FloatArray = np.where(known, rounded, 0.0) * present
    return zeros


def _ticks(blocks: FloatArray) -> FloatArray:
    """[B, n] the smallest move other than 0 of each block of returns [B, BLOCK, n]; infinite without one."""
    sizes = np.abs(blocks)
    smallest: FloatArray = np.where(sizes > 0.0, sizes, np.inf).min(axis=1, initial=np.inf)
    return smallest


def _longest_runs(zero: BoolArray) -> tuple[IntArray, IntArray]:
    """[n] length of the longest run of True in each column [L, n], and the row it ends at."""
    L, n = zero.shape
    if not L:
        return np.zeros(n, dtype=np.intp), np.zeros(n, dtype=np.intp)
    number = np.arange(1, L + 1)[:, None]
    since = number - np.maximum.accumulate(np.where(zero, 0, number), axis=0)
    ends = since.argmax(axis=0)
    return since[ends, np.arange(n)], ends


def _distinct_prices(blocks: FloatArray) -> FloatArray:
    """[B, n] how many prices there are in each block of returns [B, BLOCK, n], the one before it counted."""
    logs = np.zeros((blocks.shape[0], blocks.shape[1] + 1, blocks.shape[2]))
    np.cumsum(np.log1p(np.where(np.isfinite(blocks), blocks, 0.0)), axis=1, out=logs[:, 1:])
    logs.sort(axis=1)
    distinct: FloatArray = 1 + (np.diff(logs, axis=1) > SAME_PRICE).sum(axis=1)
    return distinct


def _over_blocks(values: FloatArray) -> FloatArray:
    """[B, n] sums of `COARSE_BLOCKS` blocks in a row, each block with those before it."""
    sums = np.cumsum(values, axis=0)
    sums[COARSE_BLOCKS:] = sums[COARSE_BLOCKS:] - sums[:-COARSE_BLOCKS].copy()
    return sums

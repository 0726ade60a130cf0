"""The losses of Deep Momentum Networks, their positions and turnover term, and the pairs that count."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

from agents.dmn.config import FEATURE_NAMES
from agents.dmn.losses import LOSSES, Pairs, softmin_loss
from agents.dmn.training_windows import FEATURES, AssetDays, TrainingWindows, cut_windows, join_blocks
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.features import EwVolatility
from qn_env.objectives import LOSS_FLOOR, sharpe
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged

every_loss = pytest.mark.parametrize("loss", LOSSES)
LENGTH = 63


@lru_cache
def panel() -> Panel:
    return ragged(sizes=(2, 3), days=600, seed=3)


@lru_cache
def environment(**options) -> TradingEnv:
    return TradingEnv(panel(), **{"window": 1, "features": FEATURES, "vol_target": 0.15, **options})


def outputs(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def value(loss: str, z: torch.Tensor, given: TrainingWindows) -> float:
    return float(LOSSES[loss].value(z, given.pairs))


# The equations, pair by pair from the panel.


def pairs_by_hand(vol_target: float | None):
    """Windows in order, each with its year; of each day whether it counts, weight, next return, sigma."""
    p, sigma = panel(), panel().feature(EwVolatility())
    defined = panel().features(FEATURES)[..., len(FEATURE_NAMES)] > 0
    windows = []
    for j in range(p.shape[1]):
        own = np.flatnonzero(p.tradable[:, j])
        now, following = own[:-1], own[1:]
        for begin in range(0, len(now), LENGTH):
            days = []
            for k in range(begin, min(begin + LENGTH, len(now))):
                t = now[k]
                known = np.isfinite(sigma[t, j])
                scale = 1.0 if vol_target is None else vol_target / (sigma[t, j] * 252**0.5) if known else 0
                days.append((defined[t, j], scale, p.returns[following[k], j], sigma[t, j]))
            if any(day[0] for day in days):
                windows.append((now[begin], days))
    first = min(begin for begin, _ in windows)
    return [((begin - first) // 252, days) for begin, days in windows]


def ratio_by_hand(net: np.ndarray) -> float:
    return 252**0.5 * net.mean() / np.sqrt(np.mean(net**2) - net.mean() ** 2)


def robust_by_hand(net: np.ndarray, years: np.ndarray) -> float:
    assert len(set(years)) > 1, "several years must occur"
    ratios = np.array([ratio_by_hand(net[years == year]) for year in set(years)])
    return -ratio_by_hand(net) + np.log(np.mean(np.exp(-ratios)))


def by_hand(loss: str, z: np.ndarray, cost_bps: float, vol_target: float | None) -> float:
    values, costs, years = [], [], []
    for row, (year, days) in zip(z, pairs_by_hand(vol_target), strict=True):
        smooth = 2.0 / (1.0 + np.exp(-row)) - 1.0 if loss == "binary" else np.tanh(row)
        weights = [x * day[1] * day[0] for x, day in zip(smooth, days, strict=False)]
        for k, (counts, _, r, sigma) in enumerate(days):
            if not counts:
                continue
            # The first step of a window is free.
            cost = cost_bps * 1e-4 * abs(weights[k] - weights[k - 1]) if k else 0.0
            costs.append(cost)
            years.append(year)
            if loss == "mse":
                values.append((row[k] - r / sigma) ** 2)
            elif loss == "binary":
                p = 1.0 / (1.0 + np.exp(-row[k]))
                values.append(-np.log(p if r > 0 else 1.0 - p))
            else:
                values.append(weights[k] * r - cost)
    if loss == "sharpe":
        return -ratio_by_hand(np.array(values))
    if loss == "average":
        return -np.mean(values)
    if loss == "softmin":
        return robust_by_hand(np.array(values), np.array(years))
    return np.mean(values) + np.mean(costs) * 252**0.5 / 0.15


@every_loss
@pytest.mark.parametrize("cost_bps", [0.0, 100.0])
@pytest.mark.parametrize("vol_target", [0.15, None])
def test_losses_are_those_of_equations_10_to_17_and_34_to_36(loss, cost_bps, vol_target):
    given = cut_windows(environment(cost_bps=cost_bps, vol_target=vol_target), LENGTH, 0)
    z = outputs(given.inputs.shape[:2])
    expected = by_hand(loss, z.numpy(), cost_bps, vol_target)
    # sigma is a float32 feature.
    assert value(loss, z, given) == pytest.approx(expected, rel=1e-6 if loss == "mse" else 1e-10)


def test_the_sharpe_loss_is_the_objectives_ratio_of_the_net_returns_that_count():
    given = cut_windows(environment(cost_bps=5.0), LENGTH, 0)
    z = outputs(given.inputs.shape[:2])
    counted = given.pairs.counted
    net = given.pairs.episode.settle((torch.tanh(z) * counted)[..., None]).net[..., 0][counted]
    expected = -sharpe(net.numpy(), ddof=0, floor=LOSS_FLOOR)
    assert value("sharpe", z, given) == pytest.approx(expected, abs=1e-12)


def test_the_robust_loss_goes_from_the_worst_year_to_the_mean_of_all_as_its_temperature_rises():
    given = cut_windows(environment(cost_bps=5.0), LENGTH, 0)
    z, pairs = outputs(given.inputs.shape[:2]), given.pairs
    pooled = value("sharpe", z, given)
    net, counted = pairs.net(torch.tanh(z)), pairs.counted
    years = [counted & (pairs.year == year)[:, None] for year in range(pairs.years)]
    ratios = [float(sharpe(net[year].numpy(), ddof=0, floor=LOSS_FLOOR)) for year in years if year.any()]
    assert len(ratios) > 1
    found = [float(softmin_loss(z, pairs, 2.0, tau)) - pooled for tau in (1e-4, 1e-2, 1.0, 1e2, 1e8)]
    assert found[0] == pytest.approx(-2.0 * min(ratios), abs=1e-3)
    assert found[-1] == pytest.approx(-2.0 * np.mean(ratios), abs=1e-5)
    assert (np.diff(found) < 0).all(), "never above the mean"
    assert float(softmin_loss(z, pairs, 0.0, 1.0)) == pooled


def test_positions_follow_the_loss():
    z = torch.tensor([-2.0, -1e-3, 0.0, 0.5], dtype=torch.float64)
    np.testing.assert_allclose(LOSSES["sharpe"].positions(z), np.tanh(z.numpy()), rtol=1e-15)
    np.testing.assert_allclose(LOSSES["average"].positions(z), np.tanh(z.numpy()), rtol=1e-15)
    np.testing.assert_array_equal(LOSSES["mse"].positions(z), [-1, -1, 0, 1])  # sgn(Y)
    probability = 1.0 / (1.0 + np.exp(-z.numpy()))
    np.testing.assert_array_equal(LOSSES["binary"].positions(z), np.sign(probability - 0.5))


# What counts.


@every_loss
@pytest.mark.parametrize("cost_bps", [0.0, 100.0])
def test_padding_and_days_that_do_not_count_never_enter(loss, cost_bps):
    given = cut_windows(environment(cost_bps=cost_bps), LENGTH, 0)
    z = outputs(given.inputs.shape[:2])
    counted, listed = given.pairs.counted, given.pairs.episode.listed[..., 0]
    assert (~listed).any(), "padding must occur"
    assert (listed & ~counted).any(), "days without inputs must occur"
    other = torch.where(counted, z, 50.0 * outputs(z.shape, seed=1))
    assert value(loss, other, given) == value(loss, z, given)


@every_loss
def test_longer_padding_changes_nothing(loss):
    """The windows of an asset as one long padded one, and cut off where its days end."""
    env = environment(cost_bps=0.0)
    short, long = cut_windows(env, 600, 0), cut_windows(env, 900, 0)
    z = outputs((len(long), 900))
    assert value(loss, z, long) == pytest.approx(value(loss, z[:, :600], short), rel=1e-12)


@every_loss
def test_gradients_reach_what_counts_and_nothing_else(loss):
    given = cut_windows(environment(cost_bps=0.0), LENGTH, 0)
    z = outputs(given.inputs.shape[:2]).requires_grad_()
    LOSSES[loss].value(z, given.pairs).backward()
    assert torch.equal(z.grad != 0, given.pairs.counted)


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss not in ("sharpe", "softmin")])
def test_the_turnover_term_has_a_gradient_that_lowers_turnover(loss):
    """Under enormous costs the slope points from restless outputs to calm ones.

    Sharpe ratios, which know no size, are left out: a loss is no better for being smaller.
    """
    given = cut_windows(environment(cost_bps=5000.0), LENGTH, 0)
    counted = given.pairs.counted
    calm, restless = torch.full_like(outputs(counted.shape), 0.3), outputs(counted.shape)
    z = restless.clone().requires_grad_()
    LOSSES[loss].value(z, given.pairs).backward()
    assert float(((calm - restless) * z.grad).sum()) < 0.0
    assert value(loss, calm, given) < value(loss, restless, given)


def test_targets_do_not_depend_on_the_volatility_target():
    ours, theirs = (cut_windows(environment(vol_target=v), LENGTH, 0) for v in (0.15, None))
    assert torch.equal(ours.pairs.target, theirs.pairs.target)
    z = outputs(ours.inputs.shape[:2])
    assert value("average", z, ours) != value("average", z, theirs)


def test_under_an_execution_lag_a_target_is_the_return_that_the_position_earns():
    """Of windows of 5 days the last two have none: what they earn lies behind the window."""
    prompt, late = (cut_windows(environment(execution_lag=lag), 5, 0).pairs for lag in (0, 2))
    assert torch.equal(prompt.labelled, prompt.counted)
    assert not late.labelled[:, 3:].any()
    assert late.labelled[:, :3].any()
    rows = torch.nonzero(late.labelled[:, :3].all(1)).flatten()
    sigma = late.episode.features[rows, :3, 0, -1]
    expected = late.episode.next_returns[rows, 2:, 0] / sigma
    torch.testing.assert_close(late.target[rows, :3], expected)


# Windows and the days before them.


@pytest.mark.parametrize("start", [None, "2001-06-01"])
def test_windows_come_with_the_days_before_them(start):
    """A window's inputs are 63 of its asset's days, its past the 7 before; zero where undefined."""
    env = environment(start=start)
    given, row = cut_windows(env, LENGTH, 7), 0
    features = panel().features(FEATURES)
    seen = features[..., : len(FEATURE_NAMES)] * features[..., [len(FEATURE_NAMES)]]
    for j in range(panel().shape[1]):
        own = np.flatnonzero(panel().tradable[:, j])
        known = np.concatenate([np.zeros((7, len(FEATURE_NAMES))), seen[own, j]])
        first = len(own) - int(env.tape.decides[:, j].sum())
        for begin in range(first, len(own) - 1, LENGTH):
            end = min(begin + LENGTH, len(own) - 1)
            if not features[own[begin:end], j, len(FEATURE_NAMES)].any():
                continue
            np.testing.assert_allclose(given.past[row], known[begin : begin + 7], rtol=1e-6)
            np.testing.assert_allclose(
                given.inputs[row, : end - begin], known[begin + 7 : end + 7], rtol=1e-6
            )
            row += 1
    assert row == len(given)


def test_a_split_by_asset_holds_out_the_latest_windows_of_each():
    given = cut_windows(environment(), 20, 0)
    learn, held = given.split_by_asset(0.3)
    assert len(learn) + len(held) == len(given)
    for j in given.asset.unique():
        mine = given.inputs[given.asset == j]
        first = len(mine) - min(max(int(0.3 * len(mine)), 1), len(mine) - 1)  # of those held out
        assert torch.equal(learn.inputs[learn.asset == j], mine[:first])
        assert torch.equal(held.inputs[held.asset == j], mine[first:])


def test_a_split_by_asset_needs_two_windows():
    with pytest.raises(ConfigError, match="no asset has two windows"):
        cut_windows(environment(), 5000, 0).split_by_asset()


def test_training_and_selection_blocks_are_joined_without_the_days_before_or_after_them():
    whole, dates = panel(), panel().dates
    train = environment().like(panel=whole.until(dates[-100]).since(dates[50]))
    select = environment().like(panel=whole.until(dates[-20]), start=str(dates[-99]), warmup=30)
    both = join_blocks(train, select)
    assert (both.panel.dates[0], both.panel.dates[-1]) == (dates[50], dates[-20])
    assert (both.config.start, both.config.warmup) == (None, 0)


def test_what_cannot_be_learnt_from_is_refused():
    with pytest.raises(ConfigError, match=r"shows 0 features.*features=agent\.settings\.features"):
        cut_windows(TradingEnv(panel(), window=1), LENGTH, 0)
    brief = TradingEnv(panel().until(panel().dates[200]), window=1, features=FEATURES)
    with pytest.raises(ConfigError, match="about 315 trading days of history, and the panel has 201 dates"):
        cut_windows(brief, LENGTH, 0)


def test_taking_windows_takes_every_part_of_them():
    given, rows = cut_windows(environment(cost_bps=3.0), LENGTH, 2), torch.tensor([3, 1])
    some = given.take(rows)
    assert len(some) == 2
    assert torch.equal(some.inputs, given.inputs[rows])
    assert torch.equal(some.past, given.past[rows])
    assert isinstance(some.pairs, Pairs)
    assert torch.equal(some.pairs.episode.next_returns, given.pairs.episode.next_returns[rows])


# Pairs of asset and day, drawn one by one.


def places(days: AssetDays, given: TrainingWindows) -> tuple[torch.Tensor, torch.Tensor]:
    """The window of every pair, and its day in it."""
    length = days.past + given.inputs.shape[1]
    return days.row // length, days.row % length - days.past


@every_loss
def test_all_asset_days_together_have_the_loss_of_all_trajectories(loss):
    given = cut_windows(environment(cost_bps=0.0), LENGTH, 0)
    days = given.asset_days()
    assert len(days) == int(given.pairs.counted.sum())
    z = outputs(given.pairs.counted.shape)
    chosen = days.take(torch.randperm(len(days), generator=torch.Generator().manual_seed(1)))
    order = torch.randperm(len(days), generator=torch.Generator().manual_seed(1))
    window, day = (part[order] for part in places(days, given))
    found = float(LOSSES[loss].value(z[window, day, None], chosen.pairs))
    assert found == pytest.approx(value(loss, z, given), rel=1e-12)


@pytest.mark.parametrize("past", [0, 4, 61])
def test_an_asset_day_has_its_own_inputs_and_those_of_the_days_before(past):
    given = cut_windows(environment(), LENGTH, past)
    days = given.asset_days()
    rows = torch.tensor([0, 70, len(days) - 1])
    chosen = days.take(rows)
    pairs = zip(*(part.tolist() for part in places(chosen, given)), strict=True)
    for (window, day), history in zip(pairs, chosen.history, strict=True):
        before = torch.cat([given.past[window], given.inputs[window]])[day : day + past]
        assert torch.equal(history, torch.cat([before, given.inputs[window, day, None]]))


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_what_a_position_earns_is_booked_by_the_settlement_under_a_lag_too(lag):
    given = cut_windows(environment(execution_lag=lag), LENGTH, 0)
    days = given.asset_days()
    window, day = places(days, given)
    for k in (0, 5, 300):
        positions = torch.zeros(given.pairs.counted.shape, dtype=torch.float64)
        positions[window[k], day[k]] = 0.7
        ledger = given.pairs.settle(positions)
        assert int((ledger.gross != 0).sum()) <= 1
        assert float(ledger.gross.sum()) == pytest.approx(
            0.7 * float(days.take(torch.tensor([k])).pairs.earned)
        )

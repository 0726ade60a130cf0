"""The fast loss of sampled windows is the plain one: settle, Sharpe ratio, means, with the same gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from changing import Quoted
from hypothesis import given
from hypothesis import strategies as st

from qn_env import windows
from qn_env.costs import Borrow, Financing, Proportional, SquareRootImpact
from qn_env.economics import trade
from qn_env.environment import TradingEnv
from qn_env.objectives import LOSS_FLOOR, sharpe, sharpe_and_slope
from qn_env.panel import Panel
from qn_env.sources.synthetic import noise, ragged, weekdays
from qn_env.windows import countable, mean_window_sharpe, window_sharpe

panels = st.builds(
    ragged,
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    days=st.integers(30, 90),
    seed=st.integers(0, 10_000),
)
COSTS = {
    "none": (),
    "flat": (Proportional(3.0),),
    "impact": (SquareRootImpact(1e6, 1e7),),
    "borrow": (Borrow(500.0),),
    "long": (Financing(300.0),),
    "quoted": (Quoted(),),
    "all": (Proportional(3.0), SquareRootImpact(1e6, 1e7), Borrow(500.0), Financing(300.0)),
}
options = st.fixed_dictionaries(
    {
        "costs": st.sampled_from(sorted(COSTS)).map(COSTS.__getitem__),
        "vol_target": st.sampled_from([None, 0.15]),
        "execution_lag": st.sampled_from([0, 0, 1, 2]),
    }
)


def episodes_of(panel: Panel, seed: int = 0, **kwargs):
    env = TradingEnv(panel, window=1, **{"cost_bps": 0.0, **kwargs})
    return env.episodes(generator=torch.Generator().manual_seed(seed))


def plain(episode, signals, initial="free"):
    """The composition the fast loss stands for, from every array in full; None where nothing counts."""
    net = trade(
        signals.double() * episode.scale,
        episode.order,
        episode.listed.double(),
        episode.exits,
        episode.next_returns,
        episode.costs,
        initial=initial,
        lag=episode.lag,
    ).net
    ratios = sharpe(net, episode.counted, axis=1, ddof=0, floor=LOSS_FLOOR)
    enough = episode.counted.sum(1) >= 2
    return ratios[enough].mean() if enough.any() else None


def drawn(episode, seed, dtype=torch.float64):
    """Signals of every kind: some zero, some held unchanged from the day before."""
    rng = np.random.default_rng(seed)
    signals = rng.uniform(-1, 1, episode.shape)
    signals[rng.random(episode.shape) < 0.2] = 0.0
    same = rng.random(episode.shape) < 0.2
    same[:, 0] = False
    signals = np.where(same, np.roll(signals, 1, axis=1), signals)
    return torch.tensor(signals, dtype=dtype, requires_grad=True)


def gradient(value, signals):
    return torch.autograd.grad(value, signals)[0]


@given(
    panel=panels,
    option=options,
    seed=st.integers(0, 99),
    length=st.integers(1, 40),
    initial=st.sampled_from(["free", "flat"]),
)
def test_value_and_gradient_are_those_of_the_plain_composition(panel, option, seed, length, initial):
    for episode in episodes_of(panel, seed, **option).sample(length=length, batch=4).values():
        signals = drawn(episode, seed)
        expected = plain(episode, signals, initial)
        found = window_sharpe(episode, signals, initial=initial)
        assert countable(episode) == (expected is not None)
        if expected is None:
            assert found == 0.0
            assert not gradient(found, signals).any()
            continue
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        ours, theirs = gradient(found, signals), gradient(expected, signals)
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@given(panel=panels, option=options, seed=st.integers(0, 99), length=st.integers(2, 40))
def test_settle_leaves_nothing_out_that_counts(panel, option, seed, length):
    for episode in episodes_of(panel, seed, **option).sample(length=length, batch=4).values():
        signals = drawn(episode, seed).detach()
        expected = trade(
            signals * episode.scale,
            episode.order,
            episode.listed.double(),
            episode.exits,
            episode.next_returns,
            episode.costs,
            initial="free",
            lag=episode.lag,
        )
        for ours, theirs in zip(episode.settle(signals), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-15)


@pytest.mark.parametrize("costs", sorted(COSTS))
@pytest.mark.parametrize("lag", [0, 2])
def test_the_gradient_is_that_of_finite_differences(costs, lag):
    panel = ragged(sizes=(3,), days=60, seed=4)
    options = {"costs": COSTS[costs], "execution_lag": lag, "vol_target": 0.15}
    episode = episodes_of(panel, **options).sample(length=12, batch=3)["M0"]
    # Away from 0 and from each other: an absolute value has no derivative there.
    signals = torch.linspace(-0.9, 0.9, int(np.prod(episode.shape)), dtype=torch.float64)
    signals = signals[torch.randperm(len(signals), generator=torch.Generator().manual_seed(0))]
    signals = signals.reshape(episode.shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: window_sharpe(episode, x), (signals,))


@given(panel=panels, seed=st.integers(0, 99), chunk=st.integers(1, 400))
def test_how_windows_are_put_together_in_the_cache_changes_nothing(panel, seed, chunk):
    batch = episodes_of(panel, seed, cost_bps=5.0).sample(length=15, batch=6)
    for episode in batch.values():
        signals = drawn(episode, seed)
        whole = window_sharpe(episode, signals)
        usual, windows.CHUNK = windows.CHUNK, chunk
        try:
            parts = window_sharpe(episode, signals)
        finally:
            windows.CHUNK = usual
        torch.testing.assert_close(parts, whole, rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(gradient(parts, signals), gradient(whole, signals), rtol=1e-13, atol=1e-13)


def test_the_objective_is_the_mean_over_markets_where_something_counts():
    returns = np.random.default_rng(0).normal(0, 0.01, (30, 3))
    returns[:28, 2] = np.nan  # market Z has one return to earn
    panel = Panel.build(weekdays(30), ["a", "b", "c"], ["X", "Y", "Z"], returns)
    batch = episodes_of(panel).block()
    assert [countable(batch[name]) for name in "XYZ"] == [True, True, False]
    signals = {name: drawn(episode, 1) for name, episode in batch.items()}
    found = mean_window_sharpe(batch, signals)
    expected = (plain(batch["X"], signals["X"]) + plain(batch["Y"], signals["Y"])) / 2
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        gradient(found, signals["Y"]), gradient(expected, signals["Y"]), rtol=1e-12, atol=1e-12
    )


def test_signals_of_a_network_get_a_gradient_of_their_own_kind(panel):
    episode = episodes_of(panel, cost_bps=2.0).sample(length=20, batch=3)["M0"]
    wide = drawn(episode, 0)
    narrow = wide.detach().float().requires_grad_()
    value = window_sharpe(episode, narrow)
    assert value.dtype == torch.float64
    assert gradient(value, narrow).dtype == torch.float32
    expected = gradient(window_sharpe(episode, wide), wide).float()
    torch.testing.assert_close(
        gradient(window_sharpe(episode, narrow), narrow), expected, rtol=1e-3, atol=1e-4
    )
    # A network may hand over a transposed view.
    turned = narrow.detach().transpose(0, 1).contiguous().transpose(0, 1).requires_grad_()
    assert not turned.is_contiguous()
    assert window_sharpe(episode, turned) == value.detach()
    with torch.no_grad():
        assert window_sharpe(episode, narrow) == value


def test_a_window_without_movement_has_a_finite_gradient():
    episode = episodes_of(noise(markets=1, assets=2, days=40, seed=0)).sample(length=10, batch=2)["M0"]
    signals = torch.zeros(episode.shape, dtype=torch.float64, requires_grad=True)
    value = window_sharpe(episode, signals)
    assert value == 0.0
    torch.testing.assert_close(gradient(value, signals), gradient(plain(episode, signals), signals))


def test_open_days_without_costs_need_nothing_but_returns():
    episode = episodes_of(noise(markets=1, assets=3, days=80, seed=0)).sample(length=10, batch=2)["M0"]
    assert tuple(episode.terms) == (None,) * len(episode.terms)
    assert episode.all_counted


@given(seed=st.integers(0, 99), masked=st.booleans())
def test_the_slope_of_the_sharpe_ratio_is_the_same_in_numpy(seed, masked):
    rng = np.random.default_rng(seed)
    net = rng.normal(0, 0.01, (4, 12, 3))
    mask = rng.random(net.shape) < 0.7 if masked else None
    ratios, slope = sharpe_and_slope(net, mask, 0.5, axis=1, floor=LOSS_FLOOR)
    total = ratios.sum()
    leaf = torch.tensor(net, requires_grad=True)
    told = None if mask is None else torch.tensor(mask)
    expected = 0.5 * sharpe(leaf, told, axis=1, ddof=0, floor=LOSS_FLOOR).sum()
    assert total == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(slope, gradient(expected, leaf).numpy(), rtol=1e-11, atol=1e-11)


def test_a_part_left_out_is_one_that_does_not_matter(panel):
    """A market with holidays of single assets is not taken for one that is open every day."""
    for episode in episodes_of(panel, vol_target=0.15, cost_bps=1.0).block().values():
        terms = episode.terms
        assert (terms.exits is None) == (not episode.exits.any())
        assert (terms.listed is None) == bool(episode.listed.all())
        assert episode.all_counted == bool(episode.counted.all())
        assert terms.scale is not None
        same = trades_its_own_decision(episode)
        assert (terms.order is None) == same


def trades_its_own_decision(episode) -> bool:
    """Whether every listed day trades its own decision."""
    own = torch.arange(episode.shape[1])[None, :, None].expand(episode.shape)
    return bool((episode.order == own)[episode.listed].all())

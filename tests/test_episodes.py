"""The differentiable mode: windows, what counts in them, trajectories of single assets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qn_env.environment import TradingEnv
from qn_env.episodes import order_of
from qn_env.errors import ConfigError
from qn_env.features import Defined, MeanReturn
from qn_env.panel import Panel
from qn_env.sources.synthetic import noise, ragged, weekdays
from qn_env.tape import Tape, backtest

FEATURES = (MeanReturn(5), Defined((MeanReturn(5),)))


def episodes_of(panel: Panel, seed: int = 0, **options):
    env = TradingEnv(panel, window=1, features=FEATURES, **options)
    return env.episodes(generator=torch.Generator().manual_seed(seed))


def start_of(window: np.ndarray, history: np.ndarray) -> int:
    """Where a window of returns begins in a market's history."""
    L = len(window)
    return next(s for s in range(len(history) - L) if np.array_equal(history[s : s + L], window))


def test_windows_are_stretches_of_the_markets_own_history(panel):
    batch = episodes_of(panel).sample(length=20, batch=5)
    assert list(batch) == ["M0", "M1", "M2"]
    for name, episode in batch.items():
        tape = Tape.of(panel.select([name]))
        history = tape.returns.astype(np.float32)
        assert episode.inputs.shape == (5, 20, tape.returns.shape[1])
        for b in range(5):
            s = start_of(episode.inputs[b].numpy(), history)
            np.testing.assert_array_equal(episode.next_returns[b].numpy(), tape.returns[s + 1 : s + 21])
            np.testing.assert_array_equal(episode.counted[b].numpy(), tape.counted[s : s + 20])


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_decisions_in_force_are_those_a_window_has_seen_itself(panel, lag):
    batch = episodes_of(panel, execution_lag=lag).sample(length=20, batch=5)
    for name, episode in batch.items():
        tape = Tape.of(panel.select([name]), execution_lag=lag)
        history = tape.returns.astype(np.float32)
        for b in range(5):
            s = start_of(episode.inputs[b].numpy(), history)
            live, decides = (torch.tensor(mask[s : s + 20]) for mask in (tape.live, tape.decides))
            assert torch.equal(episode.order[b], order_of(live, decides, lag))


def test_parts_are_gathered_when_touched_and_stay(panel):
    episode = episodes_of(panel).sample(length=20, batch=5)["M0"]
    assert episode.inputs is episode.inputs
    part = episode.take(torch.tensor([4, 1]))
    assert part.shape == (2, 20, 3)
    assert torch.equal(part.next_returns, episode.next_returns[[4, 1]])
    assert torch.equal(episode.take(slice(1, 3)).counted, episode.counted[1:3])


def test_a_day_counts_where_it_has_an_observation_or_an_exit():
    returns = np.array([[np.nan, 0.0], [0.0, 0.0], [np.nan, 0.0], [0.01, 0.0], [np.nan, 0.0], [np.nan, 0.0]])
    panel = Panel.build(weekdays(6), ["a", "b"], ["M", "M"], returns)
    counted = episodes_of(panel).block()["M"].counted[0, :, 0]
    # Day 0 to 1: not listed yet. 1 to 2: closed. 2 to 3: reopens. 3 to 4: the exit. 4 to 5: gone.
    assert counted.tolist() == [False, False, True, True, False]


def test_every_possible_window_is_drawn_the_last_included():
    panel = ragged(sizes=(2,), days=30, seed=5)
    history = Tape.of(panel).returns.astype(np.float32)
    batch = episodes_of(panel).sample(length=20, batch=400)["M0"]
    starts = {start_of(window.numpy(), history) for window in batch.inputs}
    assert starts == set(range(len(history) - 20))


def test_a_short_market_gives_windows_as_long_as_it_can():
    panel = ragged(sizes=(2,), days=30, seed=5)
    episode = episodes_of(panel).sample(length=500, batch=3)["M0"]
    assert episode.inputs.shape[1] == len(panel.dates) - 1


def test_markets_are_drawn_without_replacement_and_named(panel):
    episodes = episodes_of(panel)
    drawn = [tuple(episodes.sample(markets=2, length=5, batch=1)) for _ in range(30)]
    assert all(len(set(names)) == 2 for names in drawn)
    assert len(set(drawn)) == 3
    assert list(episodes.sample(markets=["M2"], length=5, batch=1)) == ["M2"]


def test_the_same_seed_draws_the_same_windows(panel):
    first, second = (episodes_of(panel, seed=3).sample(length=9, batch=4) for _ in range(2))
    for name in first:
        assert torch.equal(first[name].inputs, second[name].inputs)
    other = episodes_of(panel, seed=4).sample(length=9, batch=4)
    assert not torch.equal(first["M0"].inputs, other["M0"].inputs)


def test_windows_lie_within_the_days_the_account_is_open(panel):
    start = panel.dates[200]
    episodes = episodes_of(panel, start=start)
    for name, episode in episodes.sample(length=8, batch=50).items():
        market = panel.markets[name]
        own = panel.dates[market.rows]
        recent = Tape.of(panel.select([name])).returns.astype(np.float32)[np.searchsorted(own, start) - 1 :]
        for window in episode.inputs:
            start_of(window.numpy(), recent)


def test_context_days_warm_up_and_do_not_count(panel):
    start = panel.dates[200]
    bare, warm = (episodes_of(panel, start=start).block(context) for context in (0, 30))
    for name in bare:
        extra = warm[name].inputs.shape[1] - bare[name].inputs.shape[1]
        assert extra == 30
        assert not warm[name].counted[:, :extra].any()
        assert torch.equal(warm[name].counted[:, extra:], bare[name].counted)
        signals = torch.rand_like(warm[name].next_returns)
        theirs = warm[name].settle(signals, initial="flat").net[:, extra:]
        ours = bare[name].settle(signals[:, extra:], initial="flat").net
        torch.testing.assert_close(theirs, ours, rtol=0, atol=0)


@given(seed=st.integers(0, 200), length=st.integers(3, 40))
def test_trajectories_hold_every_trading_day_of_every_asset_once(seed, length):
    panel = ragged(sizes=(2, 2), days=60, seed=seed)
    episode = episodes_of(panel).trajectories(length)
    assert episode.inputs.shape[1:] == (length, 1)
    found = episode.next_returns[episode.listed].numpy()
    own = [panel.returns[panel.tradable[:, j], j][1:] for j in range(panel.shape[1])]
    np.testing.assert_array_equal(found, np.concatenate(own))
    assert not episode.counted[~episode.listed].any()


@given(seed=st.integers(0, 50))
def test_an_assets_trajectory_earns_what_the_backtest_of_its_market_says(seed):
    """On its own trading days: closed days between them hold the weight and earn nothing."""
    panel = ragged(sizes=(3,), days=60, seed=seed)
    episode = episodes_of(panel, cost_bps=10.0, vol_target=0.15).trajectories(100)
    signals = np.random.default_rng(seed).uniform(-1, 1, panel.shape)
    ledger = backtest(Tape.of(panel, cost_bps=10.0, vol_target=0.15), signals)
    for j in range(panel.shape[1]):
        own = np.flatnonzero(panel.tradable[:, j])
        if len(own) < 2:
            continue
        row = sum(panel.tradable[:, k].sum() > 1 for k in range(j))
        padded = np.zeros(100)
        padded[: len(own) - 1] = signals[own[:-1], j]
        mine = episode.take(torch.tensor([row])).settle(torch.tensor(padded)[None, :, None], initial="flat")
        span = slice(own[0], own[-1])  # the asset's life, without the sale at its end
        for field in ("gross", "turnover"):
            total = getattr(ledger, field)[span, j].sum()
            assert getattr(mine, field)[0, : len(own) - 1].sum().item() == pytest.approx(total, abs=1e-12)


def test_trajectories_need_no_features(panel):
    episode = TradingEnv(panel, window=1).episodes().trajectories(20)
    assert episode.features.shape == (*episode.shape, 0)


def test_gradients_reach_the_signals_through_settle(panel):
    for episode in episodes_of(panel, cost_bps=5.0, vol_target=0.15).sample(length=10, batch=2).values():
        signals = torch.zeros_like(episode.next_returns, requires_grad=True)
        episode.settle(signals + 0.1).net.sum().backward()
        assert torch.isfinite(signals.grad).all()
        assert signals.grad.abs().sum() > 0


def test_bad_requests_are_refused(panel):
    episodes = episodes_of(panel)
    with pytest.raises(ConfigError, match="expected 1 to 3"):
        episodes.sample(markets=4, length=5, batch=1)
    with pytest.raises(ConfigError, match="length is 0"):
        episodes.sample(length=0, batch=1)


def test_aligned_windows_of_all_markets_end_on_one_date_or_just_before_it():
    panel = ragged(sizes=(2, 3), days=300, seed=4)
    # Every asset's return tells its day: row numbers of the union calendar, in millionths.
    days = np.broadcast_to(np.arange(len(panel.dates))[:, None] * 1e-6, panel.shape)
    panel = Panel.build(panel.dates, panel.assets, panel.market_of, np.where(panel.tradable, days, np.nan))
    episodes = TradingEnv(panel, window=1).episodes(generator=torch.Generator().manual_seed(0))
    batch = episodes.sample(length=10, batch=50, aligned=True)
    last = {name: (e.inputs[:, -1].amax(-1) * 1e6).round().long().numpy() for name, e in batch.items()}
    first, second = last.values()
    assert len(set(first)) > 25, "ends are drawn"
    for name, other in (("M0", second), ("M1", first)):
        rows = panel.markets[name].rows
        for end, theirs in zip(last[name], other, strict=True):
            if end < theirs:
                assert not ((rows > end) & (rows <= theirs)).any(), "no own day lies between the two"


def test_windows_that_no_date_can_end_in_every_market_are_not_aligned():
    panel = noise(markets=2, assets=1, days=100, seed=0)
    returns = panel.returns.copy()
    returns[50:, 0], returns[:50, 1] = np.nan, np.nan
    apart = Panel.build(panel.dates, panel.assets, panel.market_of, returns)
    with pytest.raises(ConfigError, match="no windows of 5 days end on one date: those of 'M1'"):
        TradingEnv(apart, window=1).episodes().sample(length=5, batch=2, aligned=True)

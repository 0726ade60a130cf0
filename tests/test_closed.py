"""Policies trained through the account: the environment's numbers and gradients, and what they learn."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from agents.agent import make_agent, signals_of
from agents.closed import Recurrent
from agents.closed.agent import Trader
from agents.closed.loop import follow
from agents.closed.windows import ClosedWindows
from agents.dmn.training_windows import DEFINED, FEATURES, SIGMA, cut_windows
from experiments.probes import PROBES
from qn_env.costs import Borrow, Financing, HalfSpread
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.objectives import LOSS_FLOOR, sharpe
from qn_env.panel import Panel
from qn_env.rollout import Rollout
from qn_env.sources.synthetic import ar1_trend, noise

Loss = tuple[torch.Tensor, list[torch.Tensor]]


def gappy(seed: int, *, halts: bool) -> Panel:
    """Two markets with holidays of their own, an asset that is listed late, and halts of single assets."""
    rng = np.random.default_rng(seed)
    panel = noise(markets=2, assets=2, days=460, seed=seed)
    returns = panel.returns.copy()
    for columns in ([0, 1], [2, 3]):
        returns[np.ix_(rng.random(len(returns)) < 0.05, columns)] = np.nan
    returns[:20, 1] = np.nan
    if halts:
        returns[rng.random(returns.shape) < 0.05] = np.nan
    return Panel.build(panel.dates, list(panel.assets), list(panel.market_of), returns)


def made(panel: Panel, *, target: float | None, lag: int, costly: bool) -> TradingEnv:
    costs = (HalfSpread(np.arange(1.0, 5.0)), Borrow(300.0), Financing(100.0)) if costly else ()
    return TradingEnv(panel, features=FEATURES, vol_target=target, execution_lag=lag, costs=costs)


def traders(seed: int) -> Trader:
    trader = Trader(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        trader.bias.fill_(0.1)
        trader.feedback.fill_(0.6)
    return trader


def by_rollout(env: TradingEnv, trader: Trader, *, targeted: bool) -> Loss:
    """The same policy stepped through the environment in PyTorch, with automatic differentiation.

    What an asset earns between two of its own days is one day of it; the day of its last decision, which is
    settled behind the data, is left out, and so are days without features.
    """
    rollout, panel = Rollout(env), env.panel
    shown = rollout.reset(torch.tensor([0]))
    held, volatility = (torch.zeros(panel.shape[1], dtype=torch.float64) for _ in range(2))
    net, counted, row = [], [], torch.full((panel.shape[1],), -1)
    for t in range(len(panel.dates) - 1):
        features = shown["features"][0, -1].double()
        tradable = shown["tradable"][0, -1]
        sigma = features[:, SIGMA]
        known = (volatility > 0) & (sigma > 0)
        ratio = (sigma / torch.where(known, volatility, 1.0) if targeted else torch.ones_like(sigma)) * known
        active = tradable & (features[:, DEFINED] > 0)
        x = torch.tanh(trader.drive(features[:, :DEFINED]) + trader.feedback * ratio * held)
        signals = torch.where(active, x, 0.0)
        held = torch.where(tradable, signals, held)
        volatility = torch.where(tradable, sigma, volatility)
        shown, _, ledger, _ = rollout.step(signals[None])
        net.append(ledger.net[0])
        counted.append(active)
        row = torch.where(tradable, t, row)
    total, days = [], torch.stack(net)
    for j in range(panel.shape[1]):
        own = np.flatnonzero(panel.tradable[:, j])
        for begin, end in pairwise(own):
            if counted[begin][j]:
                total.append(days[begin:end, j].sum())
    pooled = torch.stack(total)
    loss = -sharpe(
        pooled, torch.ones_like(pooled, dtype=torch.bool), ddof=0, floor=LOSS_FLOOR, bars_per_year=252
    )
    return loss, list(torch.autograd.grad(loss, list(trader.parameters())))


def by_windows(env: TradingEnv, trader: Trader, *, targeted: bool) -> Loss:
    whole = ClosedWindows.of(cut_windows(env, 63, 0), targeted=targeted).joined()
    flat = torch.zeros(len(whole), whole.account.lag + 1, dtype=torch.float64)
    loss, *_ = whole.play(trader.drive(whole.inputs), trader.feedback, flat[:, 0], flat)
    return loss, list(torch.autograd.grad(loss, list(trader.parameters())))


@pytest.mark.parametrize("costly", [False, True], ids=["free", "costly"])
@pytest.mark.parametrize("target", [None, 0.15])
@pytest.mark.parametrize(("lag", "halts", "seed"), [(0, True, 0), (0, True, 1), (1, False, 2), (2, False, 3)])
def test_objective_and_gradient_are_those_of_the_environment(
    lag: int,
    halts: bool,  # noqa: FBT001 - a parameter of the test
    seed: int,
    target: float | None,
    costly: bool,  # noqa: FBT001
) -> None:
    env = made(gappy(seed, halts=halts), target=target, lag=lag, costly=costly)
    trader, targeted = traders(seed), target is not None
    expected, slopes = by_rollout(env, trader, targeted=targeted)
    found, written_out = by_windows(env, trader, targeted=targeted)
    assert found.item() == pytest.approx(expected.item(), rel=1e-10)
    for one, other in zip(written_out, slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_the_written_out_derivatives_are_those_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    drive, ratio = (torch.randn(9, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    alive = (torch.rand(9, 4, generator=generator) > 0.2).double()
    before = torch.tensor([0.5, -0.3, 0.0, 1.0], dtype=torch.float64)
    feedback = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    drive.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda d, f: follow(d, f, ratio.abs(), alive, before), (drive, feedback), eps=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("lag", [0, 2])
def test_windows_played_one_behind_the_other_are_one_window(lag: int) -> None:
    """Each begins with what the one before has left, and pays for what it trades from there."""
    env = made(gappy(3, halts=lag == 0), target=0.15, lag=lag, costly=True)
    windows = ClosedWindows.of(cut_windows(env, 21, 0), targeted=True)
    trader, whole = traders(3), windows.joined()
    drive = trader.drive(windows.inputs).detach()
    decided = torch.zeros(len(windows), dtype=torch.float64)
    weights = torch.zeros(len(windows), lag + 1, dtype=torch.float64)
    nets = torch.zeros_like(windows.ratio)
    for k in range(len(windows)):
        row = torch.tensor([k])
        one, before = windows.take(row), windows.previous[row]
        begins = (before < 0).item()
        start = torch.zeros(1, dtype=torch.float64) if begins else decided[before]
        held = torch.zeros(1, lag + 1, dtype=torch.float64) if begins else weights[before]
        _, decided[row], weights[row] = one.play(drive[row], trader.feedback.detach(), start, held)
        alive = one.counted.T.double()
        x = follow(
            drive[row].T.contiguous(), trader.feedback.detach(), one.ratio.T.contiguous(), alive, start
        )
        nets[row] = one.account.settle(x.T, held)[0].net
    loss = -sharpe(nets.flatten(), windows.counted.flatten(), ddof=0, floor=LOSS_FLOOR, bars_per_year=252)
    flat = torch.zeros(len(whole), lag + 1, dtype=torch.float64)
    once, *_ = whole.play(trader.drive(whole.inputs), trader.feedback, flat[:, 0], flat)
    assert loss.item() == pytest.approx(once.item(), rel=1e-10)


def test_what_is_decided_depends_on_what_is_held_and_on_nothing_else_that_is_past() -> None:
    agent = Recurrent()
    agent.trader = traders(1)
    panel = noise(markets=1, assets=1, days=450, seed=1)
    signals = agent.signals(panel)
    features = panel.features(FEATURES)
    assert (signals[features[..., DEFINED] == 0] == 0).all()
    t = 395
    held = signals[t - 1, 0] * features[t, 0, SIGMA] / features[t - 1, 0, SIGMA]
    drive = features[t, 0, :DEFINED] @ agent.trader.weight.detach().numpy() + 0.1
    assert signals[t, 0] == pytest.approx(np.tanh(drive + 0.6 * held), rel=1e-12)


def test_it_plays_any_number_of_assets_those_it_never_saw_included() -> None:
    agent = Recurrent(epochs=2)
    env = TradingEnv(noise(markets=1, assets=2, days=700, seed=0), features=FEATURES, vol_target=0.15)
    agent.fit(env, seed=0)
    other = noise(markets=2, assets=5, days=500, seed=1)
    signals = signals_of(agent, other, env.like(panel=other))
    assert signals.shape == other.shape
    assert (signals[-1] != 0).all()


def test_a_training_goes_on_from_an_earlier_one() -> None:
    panel = ar1_trend(coefficient=0.3, markets=1, assets=4, days=1200, seed=5)
    env = TradingEnv(panel, features=FEATURES, vol_target=0.15)
    first = Recurrent(epochs=30).fit(env, seed=0)
    later = Recurrent(epochs=1, learning_rate=1e-9)
    later.start_from(first)
    later.fit(env, seed=1)
    for one, other in zip(first._trained().parameters(), later._trained().parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-6)
    with pytest.raises(ConfigError, match="not trained"):
        Recurrent().start_from(Recurrent())


@pytest.mark.parametrize("name", ["costly-trend", "costly-reversal"])
def test_it_trades_less_where_trades_are_dear(name: str) -> None:
    """A short training and 2,000 days; the bars of the probe are for 8,000."""
    found = PROBES[name].figures(lambda: make_agent("rrl", quick=True), 0, days=2000, test_days=2000)
    assert found["share at 5 bps"] > 0.8
    assert found["share at 20 bps"] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["costly-trend", "costly-reversal", "costly-latent"])
def test_it_reaches_most_of_what_the_best_policy_earns(name: str) -> None:
    units = [
        PROBES[name].figures(lambda: make_agent("rrl"), seed, days=8000, test_days=4000) for seed in range(5)
    ]
    means = {key: float(np.mean([unit[key] for unit in units])) for key in units[0]}
    print(name, {key: round(value, 3) for key, value in means.items()})  # noqa: T201
    assert min(value for key, value in means.items() if key.startswith("share")) >= 0.6

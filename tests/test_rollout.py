"""The closed-loop mode: the environment's numbers, with gradients through earlier positions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from changing import Quoted
from hypothesis import given
from hypothesis import strategies as st

from qn_env.costs import Borrow, SquareRootImpact
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.features import MeanReturn
from qn_env.panel import Panel
from qn_env.rollout import Rollout
from qn_env.sources.synthetic import noise, ragged, weekdays

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
@given(
    seed=st.integers(0, 200),
    lag=st.sampled_from([0, 0, 1, 2]),
    target=st.sampled_from([None, 0.15]),
    costs=st.sampled_from([(), (SquareRootImpact(capital=1e6, volume=1e8), Borrow(100.0)), (Quoted(),)]),
)
def test_the_rollout_earns_what_the_environment_pays(device, seed, lag, target, costs):
    panel = ragged(sizes=(2, 1), days=40, seed=seed)
    settings = {"window": 3, "execution_lag": lag, "vol_target": target, "costs": costs}
    env = TradingEnv(panel, features=(MeanReturn(3),), **settings)
    rollout = Rollout(env, device=device, dtype=torch.float64)
    seen, _ = env.reset()
    shown = rollout.reset()
    rng = np.random.default_rng(seed)
    done = False
    while not done:
        for name, part in seen.items():
            np.testing.assert_allclose(shown[name][0].cpu().numpy(), part, rtol=0, atol=1e-12, err_msg=name)
        signals = rng.uniform(-1, 1, panel.shape[1])
        seen, reward, terminated, truncated, info = env.step(signals)
        shown, net, ledger, alive = rollout.step(torch.tensor(signals, device=device)[None])
        assert net.item() == pytest.approx(reward, abs=1e-12)
        assert alive.item()
        for field, values in ledger._asdict().items():
            np.testing.assert_allclose(values[0].cpu().numpy(), info[field], rtol=0, atol=1e-12)
        done = terminated or truncated


def objective(rollout: Rollout, rows: torch.Tensor, weights: torch.Tensor, steps: int) -> torch.Tensor:
    """Mean net return of a policy that sees its own positions: tanh(a * return + b * position + c)."""
    shown, earned = rollout.reset(rows), []
    for _ in range(steps):
        a, b, c = weights
        signals = torch.tanh(a * shown["returns"][:, -1] + b * shown["positions"] + c)
        shown, net, _, _ = rollout.step(signals)
        earned.append(net)
    return torch.stack(earned).mean()


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("kind", ["dense", "ragged"])
def test_gradients_through_earlier_positions_are_those_of_finite_differences(kind, lag):
    panel = noise(markets=2, assets=2, days=40, seed=1) if kind == "dense" else ragged(days=60, seed=4)
    env = TradingEnv(panel, window=2, cost_bps=20.0, execution_lag=lag)
    rollout = Rollout(env, dtype=torch.float64)
    weights = torch.tensor([3.0, 0.8, 0.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: objective(rollout, torch.tensor([5, 9]), w, 8), (weights,))


def test_an_earlier_signal_matters_through_the_position_alone():
    """With costs, yesterday's signal changes today's net return; without them it does not."""
    panel = noise(markets=1, assets=2, days=20, seed=0)
    for cost_bps, matters in ((0.0, False), (10.0, True)):
        rollout = Rollout(TradingEnv(panel, window=1, cost_bps=cost_bps))
        rollout.reset()
        first = torch.full((1, 2), 0.3, requires_grad=True)
        rollout.step(first)
        net = rollout.step(torch.full((1, 2), -0.2)).net
        if not matters:
            assert not net.requires_grad or not torch.autograd.grad(net.sum(), first)[0].any()
        else:
            assert torch.autograd.grad(net.sum(), first)[0].abs().sum() > 0


def test_after_ruin_nothing_is_earned():
    returns = np.array([[0.0], *[[0.001], [-0.001]] * 15, [-0.5], [0.1], [0.1]])
    env = TradingEnv(
        Panel.build(weekdays(len(returns)), ["A"], ["M"], returns), cost_bps=0.0, vol_target=0.15
    )
    rollout = Rollout(env)
    rollout.reset()
    steps = [rollout.step(torch.ones(1, 1)) for _ in range(len(returns) - 1)]
    fall = next(i for i, s in enumerate(steps) if s.net.item() <= -1.0)
    assert [s.alive.item() for s in steps] == [True] * (fall + 1) + [False] * (len(steps) - fall - 1)
    assert all(s.net.item() == 0.0 and not s.ledger.net.any() for s in steps[fall + 1 :])
    assert not steps[-1].observation["positions"].any()


@pytest.mark.parametrize("lag", [0, 1])
def test_a_step_asks_the_device_nothing(lag):
    """Tensors of the device "meta" have no values: whoever wants to know one is refused."""
    settings = {"window": 3, "execution_lag": lag, "vol_target": 0.15, "features": (MeanReturn(3),)}
    rollout = Rollout(TradingEnv(ragged(sizes=(2, 1), days=40, seed=1), **settings), device="meta")
    rollout.reset(torch.tensor([20, 5]))
    for _ in range(3):
        shown, *others = rollout.step(torch.zeros(2, 3, device="meta"))
    assert {part.device.type for part in (*shown.values(), others[0], *others[1], others[2])} == {"meta"}


def test_bad_calls_are_refused(panel):
    rollout = Rollout(TradingEnv(panel))
    with pytest.raises(ConfigError, match="has no next one"):
        rollout.reset(torch.tensor([len(panel.dates) - 1]))
    rollout.reset(torch.tensor([len(panel.dates) - 2]))
    with pytest.raises(ConfigError, match="signals have shape"):
        rollout.step(torch.zeros(1, 3))
    rollout.step(torch.zeros(1, panel.shape[1]))
    with pytest.raises(ConfigError, match="end of the data"):
        rollout.step(torch.zeros(1, panel.shape[1]))

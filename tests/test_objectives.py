"""One Sharpe ratio for reports and losses, in NumPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from qn_env.objectives import LOSS_FLOOR, sharpe, softmin


def test_sharpe_by_hand():
    # Mean 0.01, deviations -0.01, 0, 0.01: ddof 1 gives 0.01, ddof 0 gives 0.01 * sqrt(2/3).
    net = np.array([0.0, 0.01, 0.02])
    assert sharpe(net) == pytest.approx(252**0.5)
    assert sharpe(net, ddof=0) == pytest.approx(252**0.5 * 1.5**0.5)


@given(seed=st.integers(0, 999), axis=st.sampled_from([0, 1, 2]), ddof=st.sampled_from([0, 1]))
def test_a_mask_equals_leaving_days_out(seed, axis, ddof):
    rng = np.random.default_rng(seed)
    net, mask = rng.normal(size=(12, 13, 14)), rng.random((12, 13, 14)) < 0.7
    found = np.moveaxis(np.expand_dims(sharpe(net, mask, axis=axis, ddof=ddof), axis), axis, -1)[..., 0]
    rows, flags = np.moveaxis(net, axis, -1), np.moveaxis(mask, axis, -1)
    for place in np.ndindex(found.shape):
        days = rows[place][flags[place]]
        expected = np.sqrt(252) * days.mean() / days.std(ddof=ddof) if len(days) > ddof else np.nan
        assert found[place] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("floor", [None, LOSS_FLOOR])
def test_torch_equals_numpy(floor):
    rng = np.random.default_rng(0)
    net, mask = rng.normal(0, 0.01, (6, 40)), rng.random((6, 40)) < 0.8
    ours = sharpe(net, mask, ddof=0, floor=floor)
    theirs = sharpe(torch.tensor(net), torch.tensor(mask), ddof=0, floor=floor)
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=0, atol=1e-12)


@pytest.mark.parametrize("net", [np.zeros(10), np.full(10, 0.001), np.array([0.01]), np.zeros(0)])
def test_an_undefined_ratio_is_nan_in_reports(net):
    assert np.isnan(sharpe(net))


def test_a_flat_window_has_a_finite_gradient_in_a_loss():
    net = torch.zeros(20, dtype=torch.float64, requires_grad=True)
    sharpe(net, ddof=0, floor=LOSS_FLOOR).backward()
    assert torch.isfinite(net.grad).all()


def test_the_gradient_is_that_of_finite_differences():
    net = (0.01 * torch.randn(3, 15, dtype=torch.float64)).requires_grad_()
    mask = torch.rand(3, 15) < 0.8
    assert torch.autograd.gradcheck(lambda x: sharpe(x, mask, ddof=0, floor=LOSS_FLOOR), (net,))


def test_softmin_by_hand():
    """Sharpe ratios 1, 3 of two windows: -2 log((e^-0.5 + e^-1.5) / 2) at a temperature of 2."""
    expected = -2.0 * np.log((np.exp(-0.5) + np.exp(-1.5)) / 2.0)
    assert softmin(np.array([1.0, 3.0]), temperature=2.0) == pytest.approx(expected, rel=1e-14)


@settings(deadline=None)
@given(
    values=hnp.arrays(float, st.integers(1, 8), elements=st.floats(-50, 50)),
    temperature=st.floats(1e-3, 1e3),
)
def test_softmin_lies_between_the_least_and_the_mean_and_knows_no_absent_window(values, temperature):
    found = softmin(values, temperature=temperature)
    assert values.min() - 1e-9 <= found <= values.mean() + 1e-9
    padded, mask = np.append(values, -1e3), np.append(np.ones(len(values), dtype=bool), False)
    assert softmin(padded, mask, temperature=temperature) == pytest.approx(found, abs=1e-9)
    tensors = torch.tensor(padded, requires_grad=True), torch.tensor(mask)
    theirs = softmin(*tensors, temperature=temperature)
    assert float(theirs.detach()) == pytest.approx(found, abs=1e-9)
    theirs.backward()
    weights = np.exp(-(values - values.min()) / temperature)
    np.testing.assert_allclose(tensors[0].grad, [*(weights / weights.sum()), 0.0], atol=1e-9)


def test_softmin_tends_to_the_least_and_to_the_mean():
    values = np.array([[0.5, -1.5, 2.0], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(softmin(values, temperature=1e-6), [-1.5, 1.0], atol=1e-5)
    np.testing.assert_allclose(softmin(values, temperature=1e7), [1 / 3, 1.0], atol=1e-6)
    assert softmin(values, np.zeros((2, 3), dtype=bool), temperature=1.0).tolist() == [0.0, 0.0]

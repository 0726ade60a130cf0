"""One Sharpe ratio for reports and losses, in NumPy and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qn_env.objectives import LOSS_FLOOR, sharpe


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

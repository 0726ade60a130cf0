"""The masked LSTM of a population is that of its members, each by itself; so is the kernel's."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from agents.lstm import recurrence as module
from agents.lstm.masked import _ORDER, masked_lstm
from agents.lstm.recurrence import recurrence

HERE = "tests.test_recurrence"


class Case(NamedTuple):
    inputs: Tensor  # [L, K, F, B]
    weights: Tensor  # [K, 4 H, H + F + 1]
    mask: Tensor  # [K, H, B]
    hidden: Tensor
    cell: Tensor
    gradient: Tensor  # [L, K, H, B] by the states


def made(L, K, F, H, B, dtype=torch.float64, seed=0):
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    kept = torch.bernoulli(torch.full((K, H, B), 0.7, dtype=torch.float64), generator=random) / 0.7
    weights = normal(K, 4 * H, H + F + 1) / H**0.5
    case = Case(normal(L, K, F, B), weights, kept, normal(K, H, B), normal(K, H, B), normal(L, K, H, B))
    return Case(*(part.to(dtype) for part in case))


def found(run, case):
    """States, last cells, slopes of inputs and weights."""
    inputs, weights = (part.detach().clone().requires_grad_() for part in case[:2])
    states, last = run(inputs, weights, *case[2:5])
    slopes = torch.autograd.grad(states, (inputs, weights), case.gradient)
    return states.detach(), last, *slopes


def subset(case, members):
    by_day = {"inputs", "gradient"}
    parts = zip(case._fields, case, strict=True)
    return Case(*(part[:, members] if name in by_day else part[members] for name, part in parts))


def one_by_one(inputs, weights, mask, hidden, cell):
    """The members' own networks, with weights that come from ours."""
    states, last = [], []
    for k in range(len(weights)):
        H, F = mask.shape[1], inputs.shape[2]
        lstm = nn.LSTM(F, H, batch_first=True, dtype=weights.dtype)
        back = torch.tensor(_ORDER).argsort()
        gates = weights[k].unflatten(0, (4, H))[back].flatten(0, 1)
        w, u, on_inputs, on_state = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        bias = gates[:, -1]
        given = {w: gates[:, H:-1], u: gates[:, :H], on_inputs: bias, on_state: torch.zeros_like(bias)}
        for name, value in given.items():
            delattr(lstm, name)
            setattr(lstm, name, value)
        lstm._flat_weights = [given[name] for name in (w, u, on_inputs, on_state)]
        out, _, c = masked_lstm(lstm, inputs[:, k].permute(2, 0, 1), mask[k].T, hidden[k].T, cell[k].T)
        states.append(out.permute(1, 2, 0))
        last.append(c.T)
    return torch.stack(states, 1), torch.stack(last)


sizes = st.tuples(*(st.integers(1, most) for most in (7, 5, 4, 9, 11)))


@given(sizes=sizes, group=st.sampled_from([1, 2**7, 2**20]), chunk=st.sampled_from([1, 2**9, 2**18]))
@settings(max_examples=25, deadline=None)
def test_a_population_is_its_members_one_by_one(sizes, group, chunk):
    case = made(*sizes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUP", group)  # so many numbers of members together
        patch.setattr(module, "CHUNK", chunk)  # and of days
        together = found(recurrence, case)
    for ours, theirs in zip(together, found(one_by_one, case), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


ASKED = [
    ("inputs",),
    ("weights",),
    ("inputs", "weights"),
    ("hidden",),
    ("cell",),
    ("weights", "hidden", "cell"),
]


@pytest.mark.parametrize("asked", ASKED)
def test_its_gradient_is_that_of_finite_differences_by_what_asks_for_it(asked):
    case = made(3, 2, 2, 3, 4)._asdict()
    case.pop("gradient")
    for name in asked:
        case[name].requires_grad_()
    wanted = tuple(case[name] for name in asked)
    assert torch.autograd.gradcheck(
        lambda *given: recurrence(**(case | dict(zip(asked, given, strict=True))))[0], wanted
    )
    states, last = recurrence(**case)
    assert states.requires_grad
    assert not last.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("H", "B"), [(20, 37), (5, 64), (16, 1), (33, 7)])
def test_a_member_is_the_same_to_the_bit_whoever_stands_beside_it(H, B, dtype, monkeypatch):
    monkeypatch.setattr(module, "GROUP", 3 * 4 * H * B)
    case, members, threads = made(4, 8, 3, H, B, dtype), [6, 1, 3], torch.get_num_threads()
    torch.set_num_threads(1)  # with more of them, a product for one member alone is split another way
    try:
        among_eight, among_three = found(recurrence, case), found(recurrence, subset(case, members))
    finally:
        torch.set_num_threads(threads)
    states, last, d_inputs, d_weights = among_eight
    expected = states[:, members], last[members], d_inputs[:, members], d_weights[members]
    for ours, theirs in zip(among_three, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_the_plain_loop_is_what_runs_without_a_gpu_or_when_told_to(monkeypatch):
    class OnGpu(NamedTuple):
        dtype: torch.dtype
        shape: tuple[int, ...]
        is_cuda: bool = True

    mask, there = torch.ones(2, 20, 8), OnGpu(torch.float32, (3, 2, 4, 8))
    monkeypatch.delenv(module.SWITCH, raising=False)
    monkeypatch.setattr(module, "_has_triton", lambda: True)
    assert module._has_kernel(there, mask)
    assert not module._has_kernel(torch.ones(3, 2, 4, 8), mask)
    assert not module._has_kernel(there._replace(dtype=torch.float64), mask)
    assert not module._has_kernel(there, torch.ones(2, module.WIDEST + 1, 8))
    assert module._has_kernel(there, mask)
    monkeypatch.setenv(module.SWITCH, "plain")
    assert not module._has_kernel(there, mask)


# The kernel, in Triton's interpreter: a process of its own, since importing Triton settles how it runs.


def _missing() -> str:
    try:
        major, minor = version("triton").split(".")[:2]
    except PackageNotFoundError:
        return "Triton is not installed"
    return (
        "" if (int(major), int(minor)) >= (3, 7) else "before 3.7 Triton's interpreter wants an older NumPy"
    )


def check_gradient():
    from agents.lstm import kernel

    assert doctest.testmod(kernel).failed == 0
    kernel.CHUNK = 1  # a part for every day
    # Widths of one tile and of two, weights kept and fetched, sequences that fill no block.
    for L, K, F, H, B in [
        (2, 2, 3, 5, 7),
        (2, 1, 10, 20, 19),
        (3, 1, 17, 40, 5),
        (2, 1, 2, 80, 33),
    ]:
        case = made(L, K, F, H, B, seed=H)
        plain = found(recurrence, case)
        fused = found(kernel.recurrence, Case(*(part.float() for part in case)))
        for name, ours, theirs in zip(("states", "cell", "inputs", "weights"), fused, plain, strict=True):
            worst = float((ours - theirs).abs().max() / theirs.abs().max())
            assert worst < 2e-4, (L, K, F, H, B, name, worst)  # the interpreter cuts bfloat16 off, unrounded


def check_members():
    from agents.lstm import kernel

    case = made(3, 3, 2, 6, 5, torch.float32)
    among_three, alone = found(kernel.recurrence, case), found(kernel.recurrence, subset(case, [1]))
    states, last, d_inputs, d_weights = among_three
    for ours, theirs in zip(
        alone, (states[:, [1]], last[[1]], d_inputs[:, [1]], d_weights[[1]]), strict=True
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.skipif(bool(_missing()), reason=_missing() or "never")
def test_the_kernel_computes_what_the_plain_loop_does_and_every_member_by_itself():
    code = f"from {HERE} import check_gradient, check_members; check_gradient(); check_members()"
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

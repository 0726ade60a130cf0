"""Mamba-2: its recurrence day by day in plain NumPy, its chunks, its streams, its static inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from agents.dmn.mamba import KERNEL, STATE, MambaNetwork, scan
from agents.training import global_seed

F, S, H, HEADS = 3, 2, 6, 2
Array = NDArray[Any]


def made(static: int = S, hidden: int = H, heads: int = HEADS) -> MambaNetwork:
    with global_seed(0):
        network = MambaNetwork(F, hidden, 0.0, static=static, heads=heads)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in network.parameters():
            p += 0.2 * torch.randn(p.shape, generator=generator)
    return network.double().eval()


def rows_of(batch: int, days: int, static: int = S) -> Tensor:
    """[B, days, F + S], the last S the same on all days of a sequence."""
    rng = np.random.default_rng(0)
    own, fixed = rng.normal(size=(batch, days, F)), rng.normal(size=(batch, 1, static))
    return torch.tensor(np.concatenate([own, np.repeat(fixed, days, axis=1)], axis=-1))


def parts_of_a_scan(seed: int, days: int, heads: int = 2, size: int = 3, n: int = 4) -> list[Tensor]:
    """x, d, a, B, C and a state that is carried in, of two sequences."""
    rng = np.random.default_rng(seed)
    shapes = ((2, days, heads, size), (2, days, n), (2, days, n), (2, heads, size, n))
    x, b, c, state = (torch.tensor(rng.normal(size=shape)) for shape in shapes)
    step, rate = rng.uniform(0.0, 2.0, (2, days, heads)), rng.uniform(0.1, 8.0, heads)
    return [x, torch.tensor(step), torch.tensor(rate), b, c, state]


def scan_by_hand(x, step, rate, b, c, state) -> tuple[Array, Array]:
    """h_t = exp(-a d_t) h_{t-1} + d_t x_t B_t', y_t = h_t C_t, one sequence, head and day at a time."""
    x, step, rate, b, c, state = (part.detach().numpy() for part in (x, step, rate, b, c, state))
    y, last = np.zeros(x.shape), np.array(state)
    for i in range(len(x)):
        for k in range(len(rate)):
            h = np.array(state[i, k])
            for t in range(x.shape[1]):
                d = step[i, t, k]
                h = np.exp(-rate[k] * d) * h + d * np.outer(x[i, t, k], b[i, t])
                y[i, t, k] = h @ c[i, t]
            last[i, k] = h
    return y, last


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), days=st.integers(1, 40), chunk=st.integers(1, 45))
def test_chunks_of_any_length_give_the_recurrence_from_any_carried_state(seed, days, chunk):
    given = parts_of_a_scan(seed, days)
    y, last = scan(*given, chunk=chunk)
    expected, state = scan_by_hand(*given)
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(last, state, rtol=0, atol=1e-11)


def test_the_gradient_of_the_chunked_form_is_that_of_finite_differences():
    given = [part.requires_grad_() for part in parts_of_a_scan(0, 5, heads=1, size=2, n=2)]
    assert torch.autograd.gradcheck(lambda *parts: scan(*parts, chunk=2), given)


def test_a_long_forgetful_sequence_neither_overflows_nor_loses_its_slopes():
    """Decays over a chunk underflow, their inverses overflow, and their logs are too long for differences."""
    x, step, rate, b, c, state = (part.float() for part in parts_of_a_scan(0, 200))
    given = [x, 50.0 * step.requires_grad_(), rate, b, c, state]
    y, _ = scan(*given)
    (slope,) = torch.autograd.grad(y.sum(), step)
    assert torch.isfinite(y).all()
    assert torch.isfinite(slope).all()
    np.testing.assert_allclose(y.detach(), scan_by_hand(*given)[0], rtol=1e-5, atol=1e-4)


# The whole network.


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def root_normed(x: Array, weight: Array) -> Array:
    return x / np.sqrt((x**2).mean() + np.finfo(np.float64).eps) * weight


def block_by_hand(a: dict[str, Array], rows: list[Array], earlier: Array, state: Array) -> list[Array]:
    """One sequence, day by day, with what is kept of the days before."""
    inner, heads = a["out.weight"].shape[1], len(a["rate"])
    size, kept, h = inner // heads, list(earlier), np.array(state)
    outputs = []
    for row in rows:
        projected = a["project.weight"] @ root_normed(row, a["before.weight"])
        gate, given, step = np.split(projected, [inner, 2 * inner + 2 * STATE])
        kept = [*kept[1 - KERNEL :], given]
        mixed = silu(sum(w * one for w, one in zip(a["kernel"], kept, strict=True)) + a["offset"])
        x, b, c = np.split(mixed, [inner, inner + STATE])
        d = np.log1p(np.exp(step + a["step"]))
        y = np.zeros(inner)
        for k in range(heads):
            own = slice(k * size, (k + 1) * size)
            h[k] = np.exp(-np.exp(a["rate"][k]) * d[k]) * h[k] + d[k] * np.outer(x[own], b)
            y[own] = h[k] @ c + a["skip"][k] * x[own]
        outputs.append(a["out.weight"] @ root_normed(y * silu(gate), a["behind.weight"]))
    return outputs


def network_by_hand(network: MambaNetwork, rows: Array, memory: list[Array]) -> list[float]:
    a = {name: value.numpy() for name, value in network.state_dict().items()}
    hidden = [a["embedding.weight"] @ row + a["embedding.bias"] for row in rows]
    for k in range(2):
        own = {name.removeprefix(f"blocks.{k}."): value for name, value in a.items()}
        added = block_by_hand(own, hidden, *memory[2 * k : 2 * k + 2])
        hidden = [one + other for one, other in zip(hidden, added, strict=True)]
    head, bias = a["head.weight"][0], a["head.bias"][0]
    return [float(head @ root_normed(one, a["norm.weight"]) + bias) for one in hidden]


@torch.no_grad()
def test_outputs_are_those_of_the_block_of_the_paper_from_any_memory():
    network, rows = made(), rows_of(2, 40)
    start = network.memory(rows[:, :0])
    generator = torch.Generator().manual_seed(3)
    memory = tuple(torch.randn(part.shape, generator=generator, dtype=torch.float64) for part in start)
    for before in (start, memory):
        z, _ = network(rows, before)
        expected = [
            network_by_hand(network, row.numpy(), [part[i].numpy() for part in before])
            for i, row in enumerate(rows)
        ]
        np.testing.assert_allclose(z, expected, rtol=0, atol=1e-11)


@torch.no_grad()
def test_a_later_input_never_moves_an_earlier_output_and_streams_equal_one_pass():
    network, rows = made(), rows_of(2, 60)
    start = network.memory(rows[:, :0])
    whole, after = network(rows, start)
    other = rows.clone()
    other[:, 31:, :F] += 10.0
    moved, _ = network(other, start)
    assert torch.equal(moved[:, :31], whole[:, :31])
    assert not torch.equal(moved[:, 31], whole[:, 31])
    memory, found = start, []
    for piece in torch.split(rows, [1, 2, 30, 1, 26], dim=1):
        z, memory = network(piece, memory)
        found.append(z)
    torch.testing.assert_close(torch.cat(found, dim=1), whole, rtol=0, atol=1e-12)
    for part, one, same in zip(start, memory, after, strict=True):
        assert part.shape == one.shape
        torch.testing.assert_close(one, same, rtol=0, atol=1e-12)


def test_at_first_steps_and_rates_lie_where_the_authors_code_puts_them():
    with global_seed(0):
        block = MambaNetwork(F, 512, 0.0, heads=256).blocks[0]
    steps, rates = torch.nn.functional.softplus(block.step.detach()), block.rate.detach().exp()
    assert 1e-3 <= float(steps.min()) < 2e-3
    assert 5e-2 < float(steps.max()) <= 1e-1
    assert float(steps.log().mean()) == pytest.approx(np.log(1e-2), abs=0.3)  # even in logarithms
    assert 1.0 <= float(rates.min()) < 1.5
    assert 15.0 < float(rates.max()) <= 16.0


@pytest.mark.parametrize(("hidden", "heads"), [(3, 8), (7, 2)])
@torch.no_grad()
def test_widths_that_the_heads_do_not_divide_serve(hidden, heads):
    network = made(hidden=hidden, heads=heads)
    rows = rows_of(2, 20)
    assert torch.isfinite(network(rows, network.memory(rows))[0]).all()


@torch.no_grad()
def test_a_static_input_matters_and_zero_is_an_asset_never_seen():
    network, rows = made(), rows_of(2, 20)
    unseen = torch.cat([rows[..., :F], torch.zeros(2, 20, S)], dim=-1)
    z, nothing = network(rows, network.memory(rows))[0], network(unseen, network.memory(rows))[0]
    assert torch.isfinite(nothing).all()
    assert float((z - nothing).abs().min()) > 0.0
    bare, weights = made(static=0), network.state_dict()
    weights["embedding.weight"] = weights["embedding.weight"][:, :F]
    bare.load_state_dict(weights)
    found, _ = bare(rows[..., :F], bare.memory(rows))
    torch.testing.assert_close(found, nothing, rtol=0, atol=1e-12)

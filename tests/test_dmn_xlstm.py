"""xLSTM: both memories and their blocks against plain NumPy, day by day; gates that do not overflow."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from agents.dmn.exponential import NOTHING, composed, recurrence
from agents.dmn.xlstm import PIECE, MatrixBlock, ScalarBlock, XlstmNetwork, read_matrix
from agents.training import global_seed


def randoms(seed: int):
    rng = np.random.default_rng(seed)
    return lambda *shape: torch.tensor(rng.normal(size=shape))


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def log_sigmoid(x):
    return -np.logaddexp(0.0, -x)


# The sLSTM.


def scalar_by_hand(given, weights, h, c, n, m):
    """Section 2.2, gate by gate, one sequence: inputs [L, 4 H]."""
    found = []
    for today in given:
        candidate, shown, forgotten, entered = np.split(today + weights @ h, 4)
        new = np.maximum(log_sigmoid(forgotten) + m, entered)
        i, f = np.exp(entered - new), np.exp(log_sigmoid(forgotten) + m - new)
        c, n, m = f * c + i * np.tanh(candidate), f * n + i, new
        h = sigmoid(shown) * c / n
        found.append(h)
    return np.array(found), (h, c, n, m)


def scalar_case(seed: int, days: int = 7, units: int = 4, batch: int = 3, *, begun: bool = True):
    normal = randoms(seed)
    state = [normal(units, batch) for _ in range(4)]
    state[2] = state[2].abs() + 0.5
    if not begun:
        state = [torch.zeros(units, batch, dtype=torch.float64)] * 3 + [torch.full_like(state[3], NOTHING)]
    return 2.0 * normal(days, 4 * units, batch), normal(4 * units, units), tuple(state)


@pytest.mark.parametrize("run", [recurrence, composed])
@pytest.mark.parametrize("begun", [True, False])
@torch.no_grad()
def test_an_slstm_is_that_of_the_equations_from_any_state(run, begun):
    entering, weights, state = scalar_case(0, begun=begun)
    states, after = run(entering, weights, state)
    for b in range(3):
        mine = (part[:, b].numpy() for part in state)
        expected, last = scalar_by_hand(entering[..., b].numpy(), weights.numpy(), *mine)
        np.testing.assert_allclose(states[..., b], expected, rtol=0, atol=1e-12)
        for part, wanted in zip(after, last, strict=True):
            np.testing.assert_allclose(part[:, b], wanted, rtol=0, atol=1e-12)


@torch.no_grad()
def test_an_slstm_is_the_weighted_mean_that_its_gates_say():
    """Without a stabiliser: c_t / n_t, the candidates' mean by the exponential gates that were kept."""
    entering, weights, state = scalar_case(1, begun=False)
    states, _ = recurrence(entering, torch.zeros_like(weights), state)
    candidate, shown, forgotten, entered = entering.numpy().reshape(7, 4, 4, 3).swapaxes(0, 1)
    for t in range(7):
        shares = [np.exp(entered[j]) * sigmoid(forgotten[j + 1 : t + 1]).prod(0) for j in range(t + 1)]
        mean = sum(share * np.tanh(candidate[j]) for j, share in enumerate(shares)) / sum(shares)
        np.testing.assert_allclose(states[t], sigmoid(shown[t]) * mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("days", [1, 2, 6])
def test_the_written_out_gradient_of_an_slstm_is_that_of_finite_differences(days):
    entering, weights, state = scalar_case(2, days=days, units=2, batch=2)
    asked = (entering.requires_grad_(), weights.requires_grad_())
    assert torch.autograd.gradcheck(lambda *given: recurrence(*given, state)[0], asked)
    slope = randoms(3)(days, 2, 2)
    ours, plain = (torch.autograd.grad(run(*asked, state)[0], asked, slope) for run in (recurrence, composed))
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


# The mLSTM.


def matrix_by_hand(q, k, v, entered, kept, C, n, m):
    """Section 2.3, one sequence and head: [L, d] and [L]; C [d values, d keys] as in the paper."""
    found = []
    for t in range(len(q)):
        new = max(kept[t] + m, entered[t])
        i, f = np.exp(entered[t] - new), np.exp(kept[t] + m - new)
        C, n, m = f * C + i * np.outer(v[t], k[t]), f * n + i * k[t], new
        found.append(C @ q[t] / max(abs(n @ q[t]), np.exp(-m)))
    return np.array(found), C, n, m


def matrix_case(seed: int, days: int, d: int, *, begun: bool = True, size: float = 2.0):
    """Arguments of `read_matrix` for two sequences of two heads."""
    normal = randoms(seed)
    q, k, v = (normal(2, 2, days, d) for _ in range(3))
    v = torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)
    entered, kept = size * normal(2, 2, days), torch.nn.functional.logsigmoid(size * normal(2, 2, days))
    memory = (normal(2, 2, d, d + 1), normal(2, 2))
    if not begun:
        memory = (torch.zeros_like(memory[0]), torch.full_like(memory[1], NOTHING))
    return (q, k, v, entered, kept), memory


cases = st.tuples(st.integers(0, 999), st.integers(1, 9), st.integers(1, 4), st.booleans())


@given(case=cases, size=st.sampled_from([0.1, 2.0, 10.0]))
@settings(max_examples=25, deadline=None)
@torch.no_grad()
def test_an_mlstm_of_many_days_at_once_is_that_of_one_after_the_other_from_any_memory(case, size):
    seed, days, d, begun = case
    given_days, (matrix, largest) = matrix_case(seed, days, d, begun=begun, size=size)
    found, (after, last) = read_matrix(*given_days, (matrix, largest))
    for b, head in np.ndindex(2, 2):
        q, k, v, entered, kept = (part[b, head].numpy() for part in given_days)
        C, n = matrix[b, head, :, :-1].numpy().T, matrix[b, head, :, -1].numpy()
        expected, C, n, m = matrix_by_hand(q, k, v[:, :-1], entered, kept, C, n, float(largest[b, head]))
        # A quotient may be large where little is divided by less.
        np.testing.assert_allclose(found[b, head], expected, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(after[b, head], np.c_[C.T, n], rtol=0, atol=1e-12)
        assert float(last[b, head]) == pytest.approx(m, abs=1e-12)


def test_the_gradient_of_an_mlstm_is_that_of_finite_differences():
    """Through no maximum, on which nothing depends; also where n . q is too small to divide by."""
    (q, k, v, entered, _), (matrix, largest) = matrix_case(8, 5, 2)
    raw = randoms(5)(2, 2, 5)

    def outputs(q, k, v, entered, raw, matrix):
        v = torch.cat([v, torch.ones_like(v[..., :1])], dim=-1)
        kept = torch.nn.functional.logsigmoid(raw)
        return read_matrix(q, k, v, entered, kept, (matrix, largest))[0]

    # Where all values are one, n . q is divided by itself, or by more.
    alike = outputs(q, k, torch.ones_like(v[..., :-1]), entered, raw, matrix[..., -1:].expand_as(matrix))
    itself = torch.isclose(alike.abs(), torch.ones_like(alike))
    assert 0.2 < itself.double().mean() < 0.8, "both must occur"
    asked = tuple(part.clone().requires_grad_() for part in (q, k, v[..., :-1], entered, raw, matrix))
    assert torch.autograd.gradcheck(outputs, asked)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_exponential_gates_do_not_overflow(dtype, sign):
    """At +-50 and far beyond, on every gate, for longer than a number of that size could be multiplied."""
    with global_seed(0):
        network = XlstmNetwork(3, 8, 0.0, heads=2).to(dtype)
    for size in (50.0, 5000.0):
        for block in network.blocks:
            with torch.no_grad():
                block.gates.weight.normal_(generator=torch.Generator().manual_seed(1)).mul_(size)
                (block.bias if isinstance(block, ScalarBlock) else block.gates.bias).fill_(sign * size)
        u = 50.0 * randoms(6)(4, 200, 3).to(dtype)
        u[1], u[2] = 50.0, -50.0
        z, memory = network(u, network.memory(u[:, :0]))
        network.zero_grad()
        z.square().sum().backward()
        assert z.isfinite().all()
        assert all(part.isfinite().all() for part in memory)
        assert all(p.grad.isfinite().all() for p in network.parameters())


# The blocks.


def arrays_of(module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


def line(a, name, x):
    return a[f"{name}.weight"] @ x + a[f"{name}.bias"]


def by_head(scale, x, heads):
    """Layer normalisation of every head."""
    parts = [(p - p.mean()) / np.sqrt(p.var() + 1e-5) for p in np.split(x, heads)]
    return np.concatenate(parts) * scale


def silu(x):
    return x * sigmoid(x)


def matrix_block_by_hand(a, rows, heads):
    """Up, convolution, mLSTM by head, skip, gate, down; residual."""
    normed = [by_head(a["norm.scale"], x, 1) for x in rows]
    own = [line(a, "up", x) for x in normed]
    width, found = len(own[0]), []
    d = width // heads
    states = [(np.zeros((d, d)), np.zeros(d), NOTHING) for _ in range(heads)]
    for t, x in enumerate(rows):
        lags = [(w, t - 3 + n) for n, w in enumerate(a["convolution"])]
        mixed = silu(sum(w * own[s] for w, s in lags if s >= 0))
        q, k, v = line(a, "queries", mixed), line(a, "keys", mixed) / d**0.5, line(a, "values", own[t])
        entered, forgotten = np.split(line(a, "gates", mixed), 2)
        read = []
        for head in range(heads):
            mine = slice(head * d, (head + 1) * d)
            (h,), *states[head] = matrix_by_hand(
                q[None, mine],
                k[None, mine],
                v[None, mine],
                entered[None, head],
                log_sigmoid(forgotten[None, head]),
                *states[head],
            )
            read.append(h)
        read = by_head(a["each.scale"], np.concatenate(read), heads) + a["passed"] * mixed
        found.append(x + line(a, "down", read * silu(line(a, "beside", normed[t]))))
    return found


def scalar_block_by_hand(a, rows, heads):
    """An sLSTM by head, up and down with a gate; residual."""
    H = len(rows[0])
    d, weights = H // heads, np.zeros((4 * H, H))
    for gate, head in np.ndindex(4, heads):
        mine = slice(head * d, (head + 1) * d)
        weights[gate * H + head * d : gate * H + (head + 1) * d, mine] = a["recurrent"][gate, head]
    bias = np.r_[a["bias"], np.zeros(H)]  # candidate, output, forget, input
    entering = [a["gates.weight"] @ by_head(a["norm.scale"], x, 1) + bias for x in rows]
    nothing = np.zeros(H), np.zeros(H), np.zeros(H), np.full(H, NOTHING)
    states, _ = scalar_by_hand(entering, weights, *nothing)
    found = []
    for x, h in zip(rows, states, strict=True):
        h = by_head(a["each.scale"], h, heads)
        gate = line(a, "beside", h)
        gate = gate * (1.0 + erf(gate / 2**0.5)) / 2.0
        found.append(x + line(a, "down", line(a, "up", h) * gate))
    return found


def under(a, prefix):
    return {name.removeprefix(prefix): value for name, value in a.items() if name.startswith(prefix)}


@pytest.mark.parametrize("blocks", [("mlstm",), ("slstm",), ("mlstm", "slstm"), ("slstm", "mlstm", "mlstm")])
@torch.no_grad()
def test_outputs_are_those_of_the_papers_equations(blocks):
    H, heads, days = 4, 2, 2 * PIECE + 5
    with global_seed(0):
        network = XlstmNetwork(3, H, 0.0, heads=heads, blocks=blocks).double().eval()
        for p in network.parameters():
            p += 0.2 * torch.randn(p.shape, dtype=torch.float64)
    u, a = randoms(7)(2, days, 3), arrays_of(network)
    by_hand = {"mlstm": matrix_block_by_hand, "slstm": scalar_block_by_hand}
    z, _ = network(u, network.memory(u[:, :0]))
    for b in range(2):
        rows = [line(a, "embedding", x) for x in u[b].numpy()]
        for number, kind in enumerate(blocks):
            rows = by_hand[kind](under(a, f"blocks.{number}."), rows, heads)
        expected = [line(a, "head", by_head(a["norm.scale"], x, 1))[0] for x in rows]
        np.testing.assert_allclose(z[b], expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("hidden", "heads"), [(1, 4), (5, 4), (10, 4), (20, 4), (6, 3)])
def test_widths_that_heads_do_not_divide_have_as_many_as_divide_both(hidden, heads):
    network = XlstmNetwork(3, hidden, 0.0, heads=heads)
    matrix, scalar = network.blocks
    assert scalar.heads == np.gcd(hidden, heads)
    assert matrix.heads == np.gcd(2 * hidden, heads)
    u = torch.randn(2, 5, 3)
    assert network(u, network.memory(u[:, :0]))[0].shape == (2, 5)


def test_forget_gates_begin_open():
    matrix, scalar = (kind(lambda x: x, 8, 4) for kind in (MatrixBlock, ScalarBlock))
    np.testing.assert_allclose(matrix.gates.bias.detach()[4:], np.linspace(3.0, 6.0, 4))
    np.testing.assert_allclose(scalar.bias.detach()[16:], np.linspace(3.0, 6.0, 8))


@torch.no_grad()
def test_a_bias_of_an_slstms_input_gates_would_do_nothing():
    entering, weights, state = scalar_case(9, begun=False)
    moved = entering.clone()
    moved[:, 12:] += 0.7  # of four units
    torch.testing.assert_close(recurrence(entering, weights, state)[0], recurrence(moved, weights, state)[0])

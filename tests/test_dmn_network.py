"""The networks of Deep Momentum Networks against plain NumPy; masks, gradients, causality, streaming."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from agents.dmn.architectures import build
from agents.dmn.config import FEATURE_NAMES, DmnConfig, NetworkName
from agents.dmn.gated import gated
from agents.dmn.network import LinearNetwork, MlpNetwork, Network, WaveNetwork
from agents.dmn.transformer import Attention
from agents.lstm.masked import masked_lstm
from agents.training import global_seed

F, H = len(FEATURE_NAMES), 6
NETWORKS = get_args(NetworkName)
WITH_DROPOUT = NETWORKS[1:]
every_network = pytest.mark.parametrize("name", NETWORKS)


def made(name: str, **options) -> Network:
    with global_seed(0):
        network = build(DmnConfig(network=name, hidden=H, context=9, heads=2, **options))
    # Weights far from symmetric and an intercept in every block, so that nothing vanishes by chance.
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in network.parameters():
            p += 0.1 * torch.randn(p.shape, generator=generator)
    network.generator.manual_seed(2)
    return network.double().eval()


def inputs(batch: int = 2, days: int = 9, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=(batch, days, F)))


def z_of(network: Network, u: torch.Tensor, past: torch.Tensor | None = None) -> torch.Tensor:
    before = u.new_zeros(len(u), network.past, F) if past is None else past
    return network(u, network.memory(before))[0]


def recorded(network: Network) -> list[torch.Tensor]:
    """The masks a network draws from now on, in order."""
    drawn, mask = [], network.mask

    def draw(shape, like):
        drawn.append(mask(shape, like))
        return drawn[-1]

    network.mask = draw
    return drawn


# The equations, one sequence [L, F] and one day at a time.


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def arrays_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


def at(rows: list[np.ndarray], t: int) -> np.ndarray:
    """The row of day t, zero before the first."""
    return rows[t] if t >= 0 else np.zeros_like(rows[0])


def five_days(u, t):
    return np.concatenate([at(u, t - k) for k in range(5)])


def linear_by_hand(a, u, masks):
    """Eq. 18."""
    return [a["head.weight"][0] @ five_days(u, t) + a["head.bias"][0] for t in range(len(u))]


def mlp_by_hand(a, u, masks):
    """Eqs. 20-21, dropout on inputs and hidden state."""
    found = []
    for t in range(len(u)):
        seen = five_days(u, t) * masks[0][t]
        hidden = np.tanh(a["body.weight"] @ seen + a["body.bias"]) * masks[1][t]
        found.append(a["head.weight"][0] @ hidden + a["head.bias"][0])
    return found


def psi(a, name, seen):
    """Eq. 22."""
    W, V, A = np.split(a[f"{name}.weights.weight"], 3)
    return np.tanh(W @ seen) * sigmoid(V @ seen) + A @ seen + a[f"{name}.bias"]


def wavenet_by_hand(a, u, masks):
    """Eqs. 22-27; before the first day there are rows of zeros, of which blocks make their own constants."""
    early = 61
    u = [np.zeros(F)] * early + list(u)
    weekly = [psi(a, "weekly", five_days(u, t)) for t in range(len(u))]
    monthly = [
        psi(a, "monthly", np.concatenate([at(weekly, t - k) for k in (0, 5, 10, 15)])) for t in range(len(u))
    ]
    found = []
    for t in range(early, len(u)):
        quarterly = psi(a, "quarterly", np.concatenate([monthly[t - k] for k in (0, 21, 42)]))
        scores = np.concatenate([weekly[t], monthly[t], quarterly])
        hidden = np.tanh(a["body.weight"] @ scores + a["body.bias"])
        found.append(a["head.weight"][0] @ hidden + a["head.bias"][0])
    return found


def lstm_by_hand(a, u, masks, hidden=0.0, cell=0.0):
    """Eqs. 28-33 gate by gate; masks on inputs, state and outputs are the same on all days."""
    on_inputs, on_state, on_outputs = masks
    w, v = (np.split(a[f"lstm.weight_{k}_l0"], 4) for k in ("ih", "hh"))
    b = np.split(a["lstm.bias_ih_l0"] + a["lstm.bias_hh_l0"], 4)
    hidden, cell, found = hidden + np.zeros(H), cell + np.zeros(H), []
    for row in u:
        gates = [w[k] @ (row * on_inputs) + v[k] @ (hidden * on_state) + b[k] for k in range(4)]
        entered, forgotten, shown = (sigmoid(gates[k]) for k in (0, 1, 3))
        cell = forgotten * cell + entered * np.tanh(gates[2])
        hidden = shown * np.tanh(cell)
        found.append(a["head.weight"][0] @ (hidden * on_outputs) + a["head.bias"][0])
    return found


BY_HAND = {
    "linear": linear_by_hand,
    "mlp": mlp_by_hand,
    "wavenet": wavenet_by_hand,
    "lstm": lstm_by_hand,
}


@pytest.mark.parametrize("name", BY_HAND)
@torch.no_grad()
def test_outputs_are_those_of_the_papers_equations(name):
    network, u = made(name), inputs(days=70)
    no_mask = [np.ones(F), np.ones(H), np.ones(H)] if name == "lstm" else np.ones((2, 70, 1))
    expected = [BY_HAND[name](arrays_of(network), row.numpy(), no_mask) for row in u]
    np.testing.assert_allclose(z_of(network, u).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "lstm"])
@torch.no_grad()
def test_outputs_while_training_are_those_of_the_equations_with_the_drawn_masks(name):
    network, u = made(name, dropout=0.4).train(), inputs(batch=3)
    masks = recorded(network)
    found = z_of(network, u).numpy()
    expected = [
        BY_HAND[name](arrays_of(network), row.numpy(), [m[b].numpy() for m in masks])
        for b, row in enumerate(u)
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_wavenet_drops_inputs_and_the_outputs_of_its_blocks():
    network = made("wavenet", dropout=0.4).train()
    masks = recorded(network)
    z_of(network, inputs())
    # Past rows, then four of them beside the days themselves; then weekly, monthly, quarterly scores.
    assert [tuple(m.shape) for m in masks] == [(2, 61, F), (2, 4 + 9, F), *[(H, 9, 2)] * 3]


@torch.no_grad()
def test_an_lstm_draws_one_mask_per_sequence_for_inputs_state_and_outputs():
    network = made("lstm", dropout=0.5).train()
    masks = recorded(network)
    z_of(network, inputs(batch=40))
    assert [tuple(m.shape) for m in masks] == [(40, F), (40, H), (40, H)]  # no axis of days
    for mask in masks:
        assert set(mask.unique().tolist()) == {0.0, 2.0}
        assert len({tuple(row) for row in mask.tolist()}) > 10


@pytest.mark.parametrize("rate", [0.1, 0.37, 0.9])
def test_masks_keep_the_mean_and_are_drawn_one_by_one(rate):
    mask = made("mlp", dropout=rate).mask((500, 401), torch.zeros((), dtype=torch.float64)).numpy()
    zero = mask == 0.0
    scale = 1.0 / (1.0 - rate)
    np.testing.assert_allclose(np.unique(mask), [0.0, scale], rtol=2**-16 * scale)
    error = np.sqrt(rate * (1.0 - rate) / mask.size)
    assert abs(zero.mean() - rate) < 4.0 * error + 2**-17
    # Neighbours that may come from one random word, and numbers far from each other, are independent.
    for step in (1, 2, 3, 4, 401):
        both = (zero.ravel()[:-step] & zero.ravel()[step:]).mean()
        assert abs(both - rate**2) < 8.0 * error


@pytest.mark.parametrize("lags", [(0,), (0, 2), (0, 1, 4)])
def test_the_gated_block_and_its_gradient_are_those_of_the_equation(lags):
    generator = torch.Generator().manual_seed(3)
    rows, weight, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((2, 7, 3), (9, 2 * len(lags)), (3,))
    )
    seen = torch.cat([rows[:, max(lags) - lag : 7 - lag] for lag in lags]).flatten(1)
    w, v, a = weight.chunk(3)
    plain = torch.tanh(w @ seen) * torch.sigmoid(v @ seen) + a @ seen + bias[:, None]
    torch.testing.assert_close(gated(rows, weight, bias, lags).flatten(1), plain, rtol=0, atol=1e-13)
    assert torch.autograd.gradcheck(lambda *given: gated(*given, lags), (rows, weight, bias))


@pytest.mark.parametrize("name", WITH_DROPOUT)
@torch.no_grad()
def test_masks_come_from_the_networks_own_generator_and_never_at_prediction(name):
    network, u = made(name, dropout=0.5), inputs()
    calm = z_of(network, u)
    network.train()
    state = torch.random.get_rng_state()
    network.generator.manual_seed(5)
    first, second = z_of(network, u), z_of(network, u)
    network.generator.manual_seed(5)
    assert torch.equal(z_of(network, u), first)
    assert not torch.equal(first, second)
    assert not torch.equal(first, calm)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(z_of(network.eval(), u), calm)


# The masked recurrence.


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
def test_with_masks_of_ones_the_masked_lstm_is_the_fused_one(dtype, tolerance):
    with global_seed(0):
        lstm = nn.LSTM(F, H, batch_first=True).to(dtype)
        u, weights = torch.randn(4, 30, F, dtype=dtype), torch.randn(4, 30, H, dtype=dtype)
        h, c = torch.randn(2, 4, H, dtype=dtype).unbind()
    found = []
    for run in ("masked", "fused"):
        lstm.zero_grad()
        if run == "masked":
            hidden, *state = masked_lstm(lstm, u, torch.ones(4, H, dtype=dtype), h, c)
        else:
            hidden, last = lstm(u, (h[None], c[None]))
            state = [part[0] for part in last]
        (hidden * weights).sum().backward()
        gradients = [p.grad.clone() / p.grad.abs().max() for p in lstm.parameters()]
        found.append([hidden.detach(), *(part.detach() for part in state), *gradients])
    for masked, fused in zip(*found, strict=True):
        torch.testing.assert_close(masked, fused, rtol=0, atol=tolerance)


@pytest.mark.parametrize("days", [1, 2, 5])
def test_the_gradient_of_the_masked_lstm_is_that_of_finite_differences(days, monkeypatch):
    monkeypatch.setattr("agents.lstm.masked.CHUNK", days * 4 * 4 * 2)  # slopes of so many days at once
    with global_seed(0):
        lstm = nn.LSTM(3, 4, batch_first=True).double()
        u = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
        h, c = torch.randn(2, 2, 4, dtype=torch.float64).unbind()
        mask = torch.bernoulli(torch.full((2, 4), 0.6, dtype=torch.float64)) / 0.6
    parameters = list(lstm.parameters())
    assert 0 < int((mask == 0).sum()) < 8, "the case must occur"
    assert torch.autograd.gradcheck(lambda u, *_: masked_lstm(lstm, u, mask, h, c)[0], (u, *parameters))


@pytest.mark.parametrize("name", WITH_DROPOUT)
def test_every_weight_learns_while_dropout_acts(name):
    network = made(name, dropout=0.3).train()
    z_of(network, inputs(days=20)).square().sum().backward()
    for parameter_name, p in network.named_parameters():
        # A bias that all keys share adds the same to every score, and does nothing.
        if parameter_name != "attention.keys.bias":
            assert float(p.grad.abs().max()) > 0.0, parameter_name


# What streams, and what never looks ahead.


@every_network
@torch.no_grad()
def test_a_later_input_never_moves_an_earlier_output(name):
    network, u = made(name), inputs(days=80)
    whole = z_of(network, u)
    for t in (0, 10, 62):
        other = u.clone()
        other[:, t + 1 :] += 100.0 * inputs(days=79 - t, seed=t + 1)
        found = z_of(network, other)
        assert torch.equal(found[:, : t + 1], whole[:, : t + 1])
        assert not torch.equal(found[:, t + 1], whole[:, t + 1])


@every_network
@pytest.mark.parametrize("pieces", [(80,), (1,) * 80, (3, 40, 1, 36)])
@torch.no_grad()
def test_streaming_in_pieces_equals_one_pass(name, pieces):
    network, u = made(name), inputs(days=80)
    memory, found = network.memory(u.new_zeros(2, network.past, F)), []
    for piece in torch.split(u, list(pieces), dim=1):
        z, memory = network(piece, memory)
        found.append(z)
    np.testing.assert_allclose(torch.cat(found, 1), z_of(network, u), rtol=0, atol=1e-12)


@every_network
@torch.no_grad()
def test_a_window_with_its_past_gives_what_a_pass_from_the_first_day_gives(name):
    network, u = made(name), inputs(days=100)
    before = 100 - 30
    found = z_of(network, u[:, before:], u[:, before - network.past : before])
    same = torch.allclose(found, z_of(network, u)[:, before:], rtol=0, atol=1e-12)
    assert same == network.reads_days, "the others begin a window in their zero state"


@pytest.mark.parametrize(
    ("name", "days"),
    [("linear", 5), ("mlp", 5), ("wavenet", 62), ("patchtst", 9), ("dlinear", 9), ("itransformer", 9)],
)
@torch.no_grad()
def test_a_network_without_state_reads_so_many_days_and_no_more(name, days):
    network, u = made(name), inputs(batch=1, days=90)
    u = u.expand(90, -1, -1).clone()
    for t in range(90):
        u[t, t] += 1.0
    moved = (z_of(network, u)[:, -1] - z_of(network, inputs(batch=1, days=90))[:, -1]).abs() > 1e-12
    assert moved.nonzero().min() == 90 - days


# The transformer.


@torch.no_grad()
def test_attention_is_the_mean_of_the_heads_patterns_on_shared_values():
    """A plain loop over days and heads; day i reads days i - 8 to i that there were."""
    attention = made("transformer").attention
    rows, seen = torch.randn(2, 40, H, dtype=torch.float64), torch.ones(2, 40, dtype=torch.bool)
    seen[1, :5] = False
    a = arrays_of(attention)
    found = attention(rows, seen, 8).numpy()
    for b in range(2):
        x = rows[b].numpy()
        queries, keys, values = (
            x @ a[f"{k}.weight"].T + a[f"{k}.bias"] for k in ("queries", "keys", "values")
        )
        for i in range(8, 40):
            days = [j for j in range(i - 8, i + 1) if seen[b, j]]
            mixed = np.zeros(H // 2)
            for own in (slice(0, H // 2), slice(H // 2, H)):
                scores = np.exp([queries[i, own] @ keys[j, own] / (H // 2) ** 0.5 for j in days])
                mixed += scores / scores.sum() @ values[days] / 2
            np.testing.assert_allclose(found[b, i - 8], a["out.weight"] @ mixed, rtol=0, atol=1e-12)


@torch.no_grad()
def test_selected_variables_are_embedded_one_by_one_with_weights_that_add_up_to_one():
    network, u = made("transformer"), inputs()
    weights = torch.softmax(network.select(u), -1)
    np.testing.assert_allclose(weights.sum(-1), 1.0)
    a = arrays_of(network)
    lines = u[..., None].numpy() * a["embedding.weight"].T + a["offset.weight"].T  # [B, L, F, H]
    expected = (weights[..., None].numpy() * lines).sum(-2)
    np.testing.assert_allclose(network.select_inputs(u), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_gated_residual_network_is_a_normalised_gated_skip():
    part, x = made("transformer").enrich, torch.randn(3, H, dtype=torch.float64)
    a = arrays_of(part)
    first = x.numpy() @ a["first.weight"].T + a["first.bias"]
    first = np.where(first > 0, first, np.exp(first) - 1.0)
    second = first @ a["second.weight"].T + a["second.bias"]
    value, gate = np.split(second @ a["gate.linear.weight"].T + a["gate.linear.bias"], 2, axis=-1)
    mixed = x.numpy() + value * sigmoid(gate)
    centred = mixed - mixed.mean(-1, keepdims=True)
    expected = centred / np.sqrt(centred.var(-1, keepdims=True) + 1e-5)
    expected = expected * a["gate.norm.weight"] + a["gate.norm.bias"]
    np.testing.assert_allclose(part(x), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_transformer_may_attend_to_today_alone():
    network = build(DmnConfig(network="transformer", context=1)).eval()
    u = inputs().float()
    z, memory = network(u, network.memory(u[:, :0]))
    first, memory = network(u[:, :4], network.memory(u[:, :0]))
    second, _ = network(u[:, 4:], memory)
    torch.testing.assert_close(torch.cat([first, second], 1), z)


def test_attention_serves_widths_below_its_number_of_heads():
    assert Attention(3, 4, 5)(torch.randn(1, 6, 3), torch.ones(1, 6, dtype=torch.bool), 0).shape == (1, 6, 3)


# Days one by one.


@pytest.mark.parametrize(
    "make", [lambda: LinearNetwork(8), lambda: MlpNetwork(8, 5, 0.0), lambda: WaveNetwork(8, 5, 0.0)]
)
def test_a_day_alone_has_the_output_of_the_stream(make):
    torch.manual_seed(0)
    network = make().double().eval()
    rows = torch.randn(3, network.past + 30, 8, dtype=torch.float64)
    streamed, _ = network(rows[:, network.past :], network.memory(rows[:, : network.past]))
    for day in (0, 7, 29):
        alone = network.last_day(rows[:, day : day + network.past + 1])
        torch.testing.assert_close(alone[:, 0], streamed[:, day])

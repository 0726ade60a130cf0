"""The parts of X-Trend's network against plain NumPy, and what they look at."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.training import global_seed
from agents.xtrend.contexts import NONE
from agents.xtrend.losses import gaussian_surprise
from agents.xtrend.network import (
    LEAST_DEVIATION,
    OPEN,
    UNKNOWN,
    CrossAttention,
    Decoder,
    GatedResidual,
    Selection,
    SelfAttention,
    Sets,
    XTrendNetwork,
    remembering,
)
from qn_env.arrays import FloatArray

F, H, E, PLACES = 3, 4, 2, 3
Weights = Mapping[str, FloatArray]


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=shape))


def shaken(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """In float64, with every weight other than where it begins."""
    generator = torch.Generator().manual_seed(seed)
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def weights_of(module: torch.nn.Module) -> Weights:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def linear(w: Weights, name: str, x: FloatArray) -> FloatArray:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)


def elu(x: FloatArray) -> FloatArray:
    return np.where(x > 0, x, np.exp(x) - 1.0)


def softmax(x: FloatArray) -> FloatArray:
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def layer_norm(w: Weights, name: str, x: FloatArray) -> FloatArray:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def network(*, learnt: bool = True) -> XTrendNetwork:
    with global_seed(0):
        built = XTrendNetwork(F, H, heads=2, places=PLACES, assets=5, embedding=E, dropout=0.5)
    return shaken(built) if learnt else built.double().eval()


def close(ours: torch.Tensor, theirs: FloatArray | torch.Tensor) -> None:
    np.testing.assert_allclose(ours.numpy(), np.asarray(theirs), rtol=0, atol=1e-10)


# Equations.


@torch.no_grad()
@pytest.mark.parametrize("n_out", [F, H])
def test_a_gated_residual_is_that_of_the_paper(n_out):
    part = shaken(GatedResidual(lambda values: values, F, H, n_out, E))
    inputs, asset, w = drawn(F), drawn(E, seed=1), weights_of(part)
    hidden = elu(linear(w, "first", inputs.numpy()) + linear(w, "given", asset.numpy()))
    value, gate = np.split(linear(w, "gate", linear(w, "second", hidden)), 2)
    skip = inputs.numpy() if n_out == F else linear(w, "skip", inputs.numpy())
    close(part(inputs, asset), layer_norm(w, "norm", skip + value / (1.0 + np.exp(-gate))))


@torch.no_grad()
def test_a_selection_weighs_every_input_and_embeds_it():
    part = shaken(Selection(F, H, E))
    inputs, asset, w = drawn(F), drawn(E, seed=1), weights_of(part)
    hidden = elu(linear(w, "first", inputs.numpy()) + linear(w, "given", asset.numpy()))
    weights = softmax(linear(w, "second", hidden))
    expected = np.zeros(H)
    for j in range(F):
        column = w["embedding.weight"][:, j] * inputs[j].item() + w["offset.weight"][:, j]
        expected += weights[j] * column
    close(part(inputs, asset), expected)
    fresh = Selection(F, H, E).double()  # all weigh the same in the beginning
    even = fresh.embedding(inputs / F) + fresh.offset(torch.full((F,), 1.0 / F, dtype=torch.float64))
    close(fresh(inputs, asset), even)


@torch.no_grad()
def test_a_query_attends_to_keys_places_and_the_one_that_is_always_there():
    part = shaken(CrossAttention(H, 2, PLACES))
    queries, keys, values, w = drawn(H), drawn(PLACES, H, seed=1), drawn(PLACES, H, seed=2), weights_of(part)
    seen = torch.tensor([[True, False, True]])
    found, weights = part(queries[None, None], Sets(keys[None], values[None], seen))
    asked = linear(w, "queries", queries.numpy()).reshape(2, 2)
    offered = linear(w, "keys", keys.numpy()).reshape(PLACES, 2, 2)
    mean = np.zeros(PLACES + 1)
    for head in range(2):
        scores = [asked[head] @ offered[c, head] + w["place"][head, c] for c in (0, 2)]
        first, third, none = softmax(np.array([*scores, asked[head] @ w["no_key"][head]]) / np.sqrt(2.0))
        mean += np.array([first, 0.0, third, none]) / 2
    close(weights[0, 0], mean)
    mixed = mean[:-1] @ linear(w, "values", values.numpy()) + mean[-1] * w["no_value"]
    close(found[0, 0], linear(w, "out", mixed))


@torch.no_grad()
def test_values_attend_to_each_other():
    part = shaken(SelfAttention(H, 2))
    values, w = drawn(PLACES, H), weights_of(part)
    found = part(values[None], torch.tensor([[True, True, False]]))[0]
    parts = linear(w, "project", values.numpy()).reshape(PLACES, 3, 2, 2)  # query, key, value of each head
    for c in range(2):
        mixed = np.zeros((2, 2))
        for head in range(2):
            scores = np.array([parts[c, 0, head] @ parts[d, 1, head] for d in range(2)]) / np.sqrt(2.0)
            mixed[head] = softmax(scores) @ parts[:2, 2, head]
        expected = layer_norm(w, "norm", values[c].numpy() + linear(w, "out", mixed.ravel()))
        close(found[c], expected)


@torch.no_grad()
def test_a_decoder_is_a_line_and_what_bends_it():
    part = shaken(Decoder(lambda values: values, F, H, E))
    inputs, found, asset, w = drawn(6, F), drawn(6, H, seed=1), drawn(E, seed=2), weights_of(part)
    outputs = part(inputs[None], found[None], asset[None], None)[0]
    state, cell = np.zeros((2, H))
    for t in range(6):
        told = found[t].numpy()
        selected = part.select(inputs[t], asset).numpy()
        turned = selected * linear(w, "scale", told) + linear(w, "shift", told)
        merged = part.merge(torch.tensor(selected + turned), asset).numpy()
        gates = w["lstm.weight_ih_l0"] @ merged + w["lstm.weight_hh_l0"] @ state
        i, forget, g, o = np.split(gates + w["lstm.bias_ih_l0"] + w["lstm.bias_hh_l0"], 4)
        i, forget, o = (1.0 / (1.0 + np.exp(-gate)) for gate in (i, forget, o))
        cell = forget * cell + i * np.tanh(g)
        state = o * np.tanh(cell)
        hidden = part.feed(torch.tensor(layer_norm(w, "norm", merged + state)), asset).numpy()
        heads = linear(w, "line", inputs[t].numpy()) + linear(w, "turn", turned) + linear(w, "bend", hidden)
        z, mean, spread = heads
        close(outputs.z[0, t], z)
        close(outputs.mean[0, t], mean)
        close(outputs.deviation[0, t], np.log1p(np.exp(spread)) + LEAST_DEVIATION)


@torch.no_grad()
def test_an_untrained_network_is_a_straight_line_through_the_days_inputs():
    built, found = network(learnt=False), drawn(2, 6, H)
    asset = built.given(torch.tensor([0, UNKNOWN]))

    def z(x: torch.Tensor) -> torch.Tensor:
        return built.decode(x, found, asset, None)[0].z

    x, y = drawn(2, 6, F, seed=1), drawn(2, 6, F, seed=2)
    close(z(x) + z(y), z(x + y) + z(0.0 * x))
    close(built.decode(x, 5.0 * found, asset, None)[0].z, z(x))


def test_forget_gates_begin_open():
    lstm = torch.nn.LSTM(H, H, batch_first=True)
    before = lstm.bias_ih_l0.detach().clone()
    moved = (remembering(lstm).bias_ih_l0 - before).detach().view(4, H)
    torch.testing.assert_close(moved, torch.tensor([0.0, OPEN, 0.0, 0.0])[:, None].expand(-1, H))


def test_the_surprise_of_a_gaussian_by_hand():
    # log 2 + log sqrt(2 pi) + (1.5 - 0.5)^2 / (2 * 4) = 0.693147 + 0.918939 + 0.125.
    mean, deviation, target = (torch.tensor([x]) for x in (0.5, 2.0, 1.5))
    found = gaussian_surprise(mean, deviation, target.double())
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(1.737086, abs=1e-6)


# What is looked at.


@torch.no_grad()
def test_what_stands_behind_a_sequence_is_not_looked_at():
    built, length = network(), torch.tensor([2, 5])
    inputs, labels, asset = drawn(2, 5, F), drawn(2, 5, seed=1), built.given(torch.tensor([0, 1]))
    plain = built.encode(inputs, labels, length, asset)
    inputs[0, 2:], labels[0, 2:] = 9.0, -9.0
    for ours, theirs in zip(built.encode(inputs, labels, length, asset), plain, strict=True):
        close(ours, theirs)
    alone = built.encode(inputs[:1, :2], labels[:1, :2], length[:1], asset[:1])
    close(alone[0][0], plain[0][0])
    close(alone[1][0], plain[1][0])


@torch.no_grad()
def test_values_know_the_next_returns_and_keys_do_not():
    built, length = network(), torch.tensor([5])
    asset = built.given(torch.tensor([0]))
    (keys, values), (same, other) = (
        built.encode(drawn(1, 5, F), drawn(1, 5, seed=seed), length, asset) for seed in (1, 2)
    )
    close(keys, same)
    assert not torch.allclose(values, other)


@torch.no_grad()
def test_a_context_that_is_not_there_is_not_looked_at():
    built, sets = network(), torch.tensor([[1, NONE, 0]])
    keys, values, queries = drawn(2, H), drawn(2, H, seed=1), drawn(1, 1, H, seed=2)
    found, weights = built.cross(queries, built.offer(keys, values, sets))
    assert weights[0, 0, 1] == 0.0
    assert weights.sum() == pytest.approx(1.0)
    close(
        built.cross(queries, built.offer(keys.flip(0), values.flip(0), torch.tensor([[0, -7, 1]])))[0], found
    )
    nothing = torch.full((1, PLACES), NONE)
    _, weights = built.cross(queries, built.offer(keys, values, nothing))
    close(weights[0, 0], np.array([0.0, 0.0, 0.0, 1.0]))


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(1, 8), max_size=4, unique=True))
@torch.no_grad()
def test_any_cutting_of_a_history_gives_the_same_outputs(cuts):
    built, inputs, found = network(), drawn(2, 9, F), drawn(2, 9, H, seed=1)
    asset = built.given(torch.tensor([3, UNKNOWN]))
    asked, outputs = built.ask(inputs, asset, None)[0], built.decode(inputs, found, asset, None)[0]
    one = two = None
    for begin, end in pairwise([0, *sorted(cuts), 9]):
        part, one = built.ask(inputs[:, begin:end], asset, one)
        close(part, asked[:, begin:end])
        decoded, two = built.decode(inputs[:, begin:end], found[:, begin:end], asset, two)
        for ours, theirs in zip(decoded, outputs, strict=True):
            close(ours, theirs[:, begin:end])
    assert (outputs.deviation > 0).all()


@torch.no_grad()
def test_an_asset_that_was_never_seen_has_the_embedding_zero():
    built = network()
    close(
        built.given(torch.tensor([2, UNKNOWN, 0])), np.stack([built.assets[2], np.zeros(E), built.assets[0]])
    )
    assert not network(learnt=False).assets.any(), "as every asset in the beginning"


@torch.no_grad()
def test_dropout_draws_from_its_own_generator_while_training_only():
    built, inputs = network().train(), drawn(1, 6, F)
    asset = built.given(torch.tensor([0]))
    before = torch.random.get_rng_state()
    found = []
    for seed in (1, 1, 2):
        built.generator.manual_seed(seed)
        found.append(built.ask(inputs, asset, None)[0])
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    close(built.eval().ask(inputs, asset, None)[0], built.ask(inputs, asset, None)[0])

"""The network of X-Trend against plain NumPy, part by part, and its joint loss."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from agents.xtrend.config import XTrendConfig
from agents.xtrend.cutting import features_of
from agents.xtrend.losses import gaussian_surprise, joint_loss
from agents.xtrend.network import (
    BENDS,
    LEAST_DEVIATION,
    CrossAttention,
    Decoder,
    GatedResidual,
    Outputs,
    Selection,
    SelfAttention,
    Sets,
    XTrendNetwork,
    remembering,
    run,
)
from agents.xtrend.windows import Windows
from qn_env.environment import TradingEnv
from qn_env.sources.synthetic import ragged

F, H, E, C, HEADS = 3, 4, 2, 5, 2


def keep(values: Tensor) -> Tensor:
    return values


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def shaken(module: nn.Module) -> nn.Module:
    """With parameters none of which is 0."""
    with torch.no_grad():
        for number, parameter in enumerate(module.parameters()):
            parameter.copy_(random(*parameter.shape, seed=number))
    return module.eval()


@lru_cache
def network() -> XTrendNetwork:
    made = XTrendNetwork(F, H, heads=HEADS, places=C, assets=3, embedding=E, dropout=0.3)
    shaken(made)
    return made


def plain(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: p.detach().double().numpy() for name, p in module.named_parameters()}


def norm_by_hand(x: np.ndarray, p: dict[str, np.ndarray], name: str = "norm") -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def softmax(x: np.ndarray) -> np.ndarray:
    grown = np.exp(x - x.max(-1, keepdims=True))
    return grown / grown.sum(-1, keepdims=True)


def residual_by_hand(x: np.ndarray, c: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    inner = elu(x @ p["first.weight"].T + p["first.bias"] + c @ p["given.weight"].T)
    hidden = inner @ p["second.weight"].T + p["second.bias"]
    value, gate = np.split(hidden @ p["gate.weight"].T + p["gate.bias"], 2, axis=-1)
    skip = x @ p["skip.weight"].T + p["skip.bias"] if "skip.weight" in p else x
    return norm_by_hand(skip + value / (1.0 + np.exp(-gate)), p)


def selection_by_hand(u: np.ndarray, c: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    inner = elu(u @ p["first.weight"].T + p["first.bias"] + c @ p["given.weight"].T)
    v = softmax(inner @ p["second.weight"].T + p["second.bias"])
    return sum(
        v[..., j, None] * (p["embedding.weight"][:, j] * u[..., j, None] + p["offset.weight"][:, j])
        for j in range(u.shape[-1])
    )


def part(p: dict[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(f"{name}."): value for key, value in p.items() if key.startswith(f"{name}.")}


def close(found: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.detach().double().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_in", [H, F])
def test_a_gated_residual_network_is_its_equation(n_in: int) -> None:
    module = shaken(GatedResidual(keep, n_in, H, H, E))
    x, c = random(6, n_in), random(6, E)
    close(module(x, c), residual_by_hand(x.double().numpy(), c.double().numpy(), plain(module)))


def test_a_selection_is_its_equation_and_begins_with_equal_weights() -> None:
    module = Selection(F, H, E)
    x, c = random(6, F), random(6, E)
    equal = (x @ module.embedding.weight.T + module.offset.weight.sum(1)) / F
    torch.testing.assert_close(module(x, c), equal)
    shaken(module)
    close(module(x, c), selection_by_hand(x.double().numpy(), c.double().numpy(), plain(module)))


def test_values_attend_to_those_of_their_set_that_are_there() -> None:
    module = shaken(SelfAttention(H, HEADS))
    values, p = random(2, C, H), plain(module)
    seen = torch.tensor([[True, True, False, True, False], [True] * 5])
    found = module(values, seen)
    for u in range(2):
        there = np.flatnonzero(seen[u].numpy())
        v = values[u, there].double().numpy()
        q, k, own = np.split(v @ p["project.weight"].T + p["project.bias"], 3, axis=-1)
        d = H // HEADS
        mixed = [
            softmax(q[:, h : h + d] @ k[:, h : h + d].T / d**0.5) @ own[:, h : h + d] for h in range(0, H, d)
        ]
        out = np.concatenate(mixed, axis=1) @ p["out.weight"].T + p["out.bias"]
        close(found[u, there], norm_by_hand(v + out, p))


@pytest.mark.parametrize("n_seen", [0, 1, 3, C])
def test_cross_attention_is_its_equation_and_its_weights_sum_to_one(n_seen: int) -> None:
    module = shaken(CrossAttention(H, HEADS, C))
    queries, keys, values, p = random(1, 2, H), random(1, C, H), random(1, C, H, seed=9), plain(module)
    seen = torch.arange(C)[None] < n_seen
    found, weights = module(queries, Sets(keys, values, seen))
    d = H // HEADS
    q, k, v = (
        x[0].double().numpy() @ p[f"{name}.weight"].T + p[f"{name}.bias"]
        for name, x in (("queries", queries), ("keys", keys), ("values", values))
    )
    for a in range(2):
        heads = []
        for h in range(HEADS):
            own = q[a, h * d : (h + 1) * d]
            scores = [own @ k[c, h * d : (h + 1) * d] + p["place"][h, c] for c in range(n_seen)]
            heads.append(softmax(np.array([*scores, own @ p["no_key"][h]]) / d**0.5))
        expected = np.mean(heads, axis=0)
        close(weights[0, a, [*range(n_seen), C]], expected)
        mixed = expected[:-1] @ v[:n_seen] + expected[-1] * p["no_value"]
        close(found[0, a], mixed @ p["out.weight"].T)
    assert (weights[0, :, n_seen:C] == 0.0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2))


def test_the_decoder_is_its_equations() -> None:
    module = shaken(Decoder(keep, F, H, E))
    x, found, c = random(2, 6, F), random(2, 6, H), random(2, E)
    outputs = module(x, found, c, None)[0]
    p, told = plain(module), c.double().numpy()[:, None].repeat(6, 1)
    u, f = x.double().numpy(), found.double().numpy()
    selected = selection_by_hand(u, told, part(p, "select"))
    turned = selected * (f @ p["scale.weight"].T + p["scale.bias"]) + f @ p["shift.weight"].T
    merged = residual_by_hand(selected + turned, told, part(p, "merge"))
    recent = np.zeros((2, 6, H))
    state, cell = np.zeros((2, H)), np.zeros((2, H))
    for t in range(6):
        gates = merged[:, t] @ p["lstm.weight_ih_l0"].T + state @ p["lstm.weight_hh_l0"].T
        i, forget, g, o = np.split(gates + p["lstm.bias_ih_l0"] + p["lstm.bias_hh_l0"], 4, axis=1)
        i, forget, o = (1.0 / (1.0 + np.exp(-gate)) for gate in (i, forget, o))
        cell = forget * cell + i * np.tanh(g)
        state = recent[:, t] = o * np.tanh(cell)
    hidden = residual_by_hand(norm_by_hand(merged + recent, p), told, part(p, "feed"))
    heads = u @ p["line.weight"].T + p["line.bias"]
    heads = heads + turned @ p["turn.weight"].T + hidden @ p["bend.weight"].T
    close(outputs.z, heads[..., 0])
    close(outputs.mean, heads[..., 1])
    close(outputs.deviation, np.log1p(np.exp(heads[..., 2])) + LEAST_DEVIATION)


def test_an_untrained_network_holds_nothing_and_first_learns_a_straight_line() -> None:
    made = XTrendNetwork(F, H, heads=HEADS, places=C, assets=3, embedding=E, dropout=0.3).eval()
    names = dict(made.named_parameters())
    assert all(not names[name].any() for name in BENDS)
    x, given, found = random(2, 6, F), made.given(torch.tensor([0, -1])), random(2, 6, H)

    def z(inputs: Tensor) -> Tensor:
        return made.decode(inputs, found, given, None)[0].z

    assert not z(x).any()
    z(x).sum().backward()
    moved = {name for name, p in names.items() if p.grad is not None and p.grad.any()}
    # What is found turns it as soon as that helps: the selected inputs are read from the first step on.
    assert moved == {f"decoder.{name}" for name in ("line.weight", "line.bias", "bend.weight")} | {
        f"decoder.{name}" for name in ("scale.weight", "scale.bias", "shift.weight")
    }
    with torch.no_grad():
        made.decoder.line.weight.copy_(random(3, F))
    torch.testing.assert_close(z(x), x @ made.decoder.line.weight[0])


# What a sequence, an asset and a stream are.


def test_what_stands_behind_a_sequence_is_not_looked_at() -> None:
    inputs, labels, length = random(3, 7, F), random(3, 7), torch.tensor([2, 7, 4])
    given = network().given(torch.tensor([0, 1, -1]))
    keys, values = network().encode(inputs, labels, length, given)
    behind = torch.arange(7) >= length[:, None]
    inputs[behind], labels[behind] = 99.0, -99.0
    for ours, theirs in zip((keys, values), network().encode(inputs, labels, length, given), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert not torch.allclose(
        network().encode(inputs[:, :1], labels[:, :1], length.clip(max=1), given)[0], keys
    )


def test_keys_know_inputs_alone_and_values_the_next_returns_as_well() -> None:
    inputs, labels, length = random(3, 7, F), random(3, 7), torch.tensor([2, 7, 4])
    given = network().given(torch.tensor([0, 1, 2]))
    keys, values = network().encode(inputs, labels, length, given)
    other_keys, other_values = network().encode(inputs, -labels, length, given)
    torch.testing.assert_close(other_keys, keys, rtol=0, atol=0)
    assert ((other_values - values).abs().max(1).values > 1e-3).all()


def test_an_asset_never_seen_has_the_embedding_zero() -> None:
    given = network().given(torch.tensor([-1, 1]))
    assert torch.equal(given[0], torch.zeros(E))
    assert torch.equal(given[1], network().assets[1])


def test_days_one_by_one_give_what_all_of_them_give_at_once() -> None:
    inputs, found, given = random(2, 9, F), random(2, 9, H), random(2, E)
    asked = network().ask(inputs, given, None)[0]
    whole = network().decode(inputs, found, given, None)[0]
    ask_state = decode_state = None
    for t in range(9):
        day = slice(t, t + 1)
        query, ask_state = network().ask(inputs[:, day], given, ask_state)
        outputs, decode_state = network().decode(inputs[:, day], found[:, day], given, decode_state)
        torch.testing.assert_close(query, asked[:, day], rtol=1e-5, atol=1e-5)
        for ours, theirs in zip(outputs, whole, strict=True):
            torch.testing.assert_close(ours, theirs[:, day], rtol=1e-5, atol=1e-5)


def test_later_days_reach_no_earlier_ones() -> None:
    inputs, found, given = random(2, 9, F), random(2, 9, H), random(2, E)
    whole, asked = network().decode(inputs, found, given, None)[0], network().ask(inputs, given, None)[0]
    inputs[:, 5:], found[:, 5:] = 7.0, -7.0
    torch.testing.assert_close(network().ask(inputs, given, None)[0][:, :5], asked[:, :5], rtol=0, atol=0)
    changed = network().decode(inputs, found, given, None)[0]
    for ours, theirs in zip(changed, whole, strict=True):
        torch.testing.assert_close(ours[:, :5], theirs[:, :5], rtol=0, atol=0)
        assert not torch.allclose(ours[:, 5:], theirs[:, 5:])


def test_forget_gates_begin_open() -> None:
    lstm = nn.LSTM(H, H, batch_first=True)
    before = lstm.bias_ih_l0.detach().clone()
    moved = (remembering(lstm).bias_ih_l0 - before).detach().view(4, H)
    assert moved.abs().sum(1).gt(0).tolist() == [False, True, False, False], "input, forget, cell, output"
    assert run(lstm, random(2, 3, H), None)[0].shape == (2, 3, H)


# The loss.


@lru_cache
def windows() -> Windows:
    asked = XTrendConfig(length=20)
    panel = ragged(sizes=(2, 1), days=200, seed=1)
    return Windows.of(TradingEnv(panel, window=1, features=features_of(asked), vol_target=0.15), asked)


def test_the_surprise_of_a_gaussian_is_minus_its_log_density() -> None:
    mean, deviation, target = random(50), random(50, seed=1).exp(), random(50, seed=2).double()
    expected = -norm.logpdf(target.numpy(), mean.double().numpy(), deviation.double().numpy())
    np.testing.assert_allclose(gaussian_surprise(mean, deviation, target).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_the_joint_loss_is_minus_the_sharpe_ratio_and_the_mean_surprise(alpha: float) -> None:
    pairs = windows().pairs
    B, L = pairs.counted.shape
    outputs = Outputs(random(B, L), random(B, L, seed=1), random(B, L, seed=2).exp())
    counted, labelled = pairs.counted.numpy(), pairs.labelled.numpy()
    net = pairs.net(torch.tanh(outputs.z.double())).numpy()[counted]
    aims = pairs.target.numpy().clip(-5.0, 5.0)[labelled]
    surprise = -norm.logpdf(aims, outputs.mean.numpy()[labelled], outputs.deviation.numpy()[labelled]).mean()
    ratio = 252**0.5 * net.mean() / np.sqrt((net**2).mean() - net.mean() ** 2)
    assert float(joint_loss(outputs, pairs, alpha)) == pytest.approx(-ratio + alpha * surprise, rel=1e-5)
    assert counted.sum() > 300

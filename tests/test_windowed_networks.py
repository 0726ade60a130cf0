"""Networks that read a window for each day: their equations in plain NumPy, days, streams, static inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import erf, softmax
from torch import Tensor, nn

import agents.dmn.windowed as windowed
from agents.dmn.attention import EncoderLayer, attend
from agents.dmn.dlinear import DLinearNetwork, moving_average
from agents.dmn.itransformer import ITransformerNetwork
from agents.dmn.network import Network
from agents.dmn.patchtst import LstmPatchTstNetwork, PatchTstNetwork, cut_patches
from agents.training import global_seed

F, S, H, HEADS, T = 3, 2, 6, 2, 21
Array = NDArray[Any]
KINDS: dict[str, Any] = {
    "patchtst": PatchTstNetwork,
    "dlinear": DLinearNetwork,
    "itransformer": ITransformerNetwork,
    "lstm-patchtst": LstmPatchTstNetwork,
}
WINDOWED = ("patchtst", "dlinear", "itransformer")
every_kind = pytest.mark.parametrize("name", KINDS)
every_window = pytest.mark.parametrize("name", WINDOWED)


def made(name: str, static: int = S, dropout: float = 0.0, context: int = T) -> Network:
    sizes: dict[str, int] = {"static": static, "context": context}
    if name != "dlinear":  # which attends to nothing
        sizes["heads"] = HEADS
    with global_seed(0):
        network: Network = KINDS[name](F, H, dropout, **sizes)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in network.parameters():
            p += 0.2 * torch.randn(p.shape, generator=generator)
    return network.double().eval()


def rows_of(batch: int, days: int, static: int = S, seed: int = 0) -> Tensor:
    """[B, days, F + S], the last S the same on all days of a sequence."""
    rng = np.random.default_rng(seed)
    own, fixed = rng.normal(size=(batch, days, F)), rng.normal(size=(batch, 1, static))
    return torch.tensor(np.concatenate([own, np.repeat(fixed, days, axis=1)], axis=-1))


def arrays_of(module: nn.Module) -> dict[str, Array]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


# One day at a time, in plain NumPy.


def normed(a: dict[str, Array], name: str, x: Array) -> Array:
    centred = x - x.mean()
    scaled = centred / np.sqrt((centred**2).mean() + 1e-5)
    return scaled * a[f"{name}.weight"] + a[f"{name}.bias"]


def linear(a: dict[str, Array], name: str, x: Array) -> Array:
    return a[f"{name}.weight"] @ x + a[f"{name}.bias"]


def encoded(a: dict[str, Array], tokens: list[Array]) -> list[Array]:
    """One encoder layer of a sequence of tokens [H]: attention head by head, then every token for itself."""
    W, w = a["attention.project.weight"], H // HEADS
    queries, keys, values = ([part @ x for x in tokens] for part in np.split(W, 3))
    mixed = []
    for i in range(len(tokens)):
        found = np.zeros(HEADS * w)
        for h in range(HEADS):
            own = slice(h * w, (h + 1) * w)
            scores = [queries[i][own] @ key[own] / np.sqrt(w) for key in keys]
            for weight, value in zip(softmax(scores), values, strict=True):
                found[own] += weight * value[own]
        mixed.append(linear(a, "attention.out", found))
    outputs = []
    for x, added in zip(tokens, mixed, strict=True):
        x = normed(a, "attended", x + added)
        wide = linear(a, "first", x)
        outputs.append(normed(a, "fed", x + linear(a, "second", wide * (1.0 + erf(wide / np.sqrt(2.0))) / 2)))
    return outputs


def within(a: dict[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): value for name, value in a.items() if name.startswith(prefix)}


def layers_by_hand(a: dict[str, Array], tokens: list[Array]) -> list[Array]:
    for k in range(2):
        tokens = encoded(within(a, f"layers.{k}."), tokens)
    return tokens


def patches_by_hand(a: dict[str, Array], window: Array) -> Array:
    """[context, F] -> the tokens of all features behind each other."""
    found = []
    for feature in window.T:
        longer = [*feature, *[feature[-1]] * 8]
        begins = range(0, len(longer) - 15, 8)
        patches = [np.array(longer[begin : begin + 16]) for begin in begins]
        tokens = [linear(a, "embedding", p) + a["position"][k] for k, p in enumerate(patches)]
        found += layers_by_hand(a, tokens)
    return np.concatenate(found)


def patchtst_by_hand(a: dict[str, Array], window: Array, fixed: Array) -> float:
    tokens = patches_by_hand(within(a, "patches."), window)
    return float(linear(a, "head", np.concatenate([tokens, fixed]))[0])


def dlinear_by_hand(a: dict[str, Array], window: Array, fixed: Array) -> float:
    days, z, weights = len(window), float(a["head.bias"][0]), iter(a["head.weight"][0])
    for feature in window.T:
        around = [[feature[min(max(t + k, 0), days - 1)] for k in range(-12, 13)] for t in range(days)]
        average = np.array([sum(some) / 25.0 for some in around])
        for value in (*average, *(feature - average)):
            z += value * next(weights)
    return z + sum(value * weight for value, weight in zip(fixed, weights, strict=True))


def itransformer_by_hand(a: dict[str, Array], window: Array, fixed: Array) -> float:
    tokens = layers_by_hand(a, [linear(a, "embedding", feature) for feature in window.T])
    return float(linear(a, "head", np.concatenate([*tokens, fixed]))[0])


BY_HAND = {"patchtst": patchtst_by_hand, "dlinear": dlinear_by_hand, "itransformer": itransformer_by_hand}


@every_window
@torch.no_grad()
def test_outputs_are_those_of_the_equations(name):
    network, rows = made(name), rows_of(2, T - 1 + 4)
    z, _ = network(rows[:, T - 1 :], network.memory(rows[:, : T - 1]))
    expected = [
        [BY_HAND[name](arrays_of(network), one[t : t + T, :F].numpy(), one[0, F:].numpy()) for t in range(4)]
        for one in rows
    ]
    np.testing.assert_allclose(z, expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_beside_an_lstm_the_tokens_of_todays_window_stand_under_one_head():
    network, rows = made("lstm-patchtst"), rows_of(2, T - 1 + 4)
    a, today = arrays_of(network), rows[:, T - 1 :]
    states = network.lstm(today)[0].numpy()  # torch's own, from the zero state
    z, _ = network(today, network.memory(rows[:, : T - 1]))
    for b in range(2):
        for t in range(4):
            tokens = patches_by_hand(within(a, "patches."), rows[b, t : t + T, :F].numpy())
            expected = linear(a, "head", np.concatenate([states[b, t], tokens]))
            np.testing.assert_allclose(z[b, t], expected[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("days", "count"), [(16, 2), (63, 7), (64, 8), (65, 8), (100, 12)])
def test_patches_are_those_of_the_paper_and_leave_no_day_out(days, count):
    patches = cut_patches(torch.arange(1.0, days + 1).expand(2, 3, days), 16)
    assert patches.shape == (2, 3, count, 16)
    assert count == (days - 16) // 8 + 2
    for k in range(count):
        seen = [min(8 * k + place, days - 1) + 1.0 for place in range(16)]
        assert patches[1, 2, k].tolist() == seen
    assert set(patches[0, 0].flatten().tolist()) == set(np.arange(1.0, days + 1))


def test_the_moving_average_of_a_line_is_the_line_but_for_the_repeated_ends():
    line = torch.arange(40.0).double().expand(1, 2, 40)
    average = moving_average(line)
    torch.testing.assert_close(average[..., 12:-12], line[..., 12:-12])
    assert float(average[0, 0, 0]) == pytest.approx(sum(range(13)) / 25)
    assert float(average[0, 1, -1]) == pytest.approx((sum(range(27, 40)) + 12 * 39) / 25)


# Attention.


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), heads=st.integers(1, 3), width=st.integers(1, 4), tokens=st.integers(1, 5))
def test_attention_and_its_gradient_are_those_of_the_plain_products(seed, heads, width, tokens):
    generator = torch.Generator().manual_seed(seed)
    given = [
        torch.randn(heads, width, tokens, 3, generator=generator, dtype=torch.float64, requires_grad=True)
        for _ in range(3)
    ]
    queries, keys, values = (part.permute(3, 0, 2, 1) for part in given)  # [n, heads, N, w]
    plain = (torch.softmax(queries @ keys.mT, dim=-1) @ values).permute(1, 3, 2, 0)
    found = attend(*given)
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-12)
    slope = torch.randn(found.shape, generator=generator, dtype=torch.float64)
    for one, other in zip(
        torch.autograd.grad(found, given, slope), torch.autograd.grad(plain, given, slope), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_attention_over_members_is_each_ones_own():
    given = [torch.randn(4, 2, 3, 5, 7, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    shared = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    found = torch.func.vmap(attend, in_dims=(0, 0, None))(*given, shared)
    single = torch.stack([attend(q, k, shared) for q, k in zip(*given, strict=True)])
    torch.testing.assert_close(found, single, rtol=0, atol=1e-13)
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), given),
        torch.autograd.grad(single.square().sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


@torch.no_grad()
def test_scores_far_from_zero_are_no_trouble():
    tokens = 1e4 * torch.randn(3, 5, H)
    assert torch.isfinite(EncoderLayer(nn.Identity(), H, HEADS)(tokens)).all()


@pytest.mark.parametrize(("hidden", "heads"), [(3, 5), (7, 2)])
@torch.no_grad()
def test_attention_serves_widths_that_its_heads_do_not_divide(hidden, heads):
    assert EncoderLayer(nn.Identity(), hidden, heads)(torch.randn(4, 2, hidden)).shape == (4, 2, hidden)


# Days, streams and memory.


@every_window
@torch.no_grad()
def test_a_day_alone_has_the_output_of_the_stream(name):
    network, rows = made(name), rows_of(3, T + 29)
    streamed, _ = network(rows[:, T - 1 :], network.memory(rows[:, : T - 1]))
    for day in (0, 7, 29):
        alone = network.last_day(rows[:, day : day + T])
        torch.testing.assert_close(alone[:, 0], streamed[:, day], rtol=0, atol=1e-12)


@every_kind
@pytest.mark.parametrize("at_once", [1, 8, 40])
@torch.no_grad()
def test_days_taken_piece_by_piece_to_bound_memory_give_the_same_numbers(name, at_once, monkeypatch):
    network, rows = made(name), rows_of(4, T + 29)
    whole, _ = network(rows[:, T - 1 :], network.memory(rows[:, : T - 1]))
    monkeypatch.setattr(windowed, "AT_ONCE", at_once)
    found, _ = network(rows[:, T - 1 :], network.memory(rows[:, : T - 1]))
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)


@every_kind
@torch.no_grad()
def test_a_later_input_never_moves_an_earlier_output_and_streams_equal_one_pass(name):
    network, rows = made(name), rows_of(2, 50)
    start = network.memory(rows.new_zeros(2, network.past, F + S))
    whole, after = network(rows, start)
    other = rows.clone()
    other[:, 31:, :F] += 10.0
    moved, _ = network(other, start)
    assert torch.equal(moved[:, :31], whole[:, :31])
    assert not torch.equal(moved[:, 31], whole[:, 31])
    memory, found = start, []
    for piece in torch.split(rows, [1, 1, 30, 18], dim=1):
        z, memory = network(piece, memory)
        found.append(z)
    torch.testing.assert_close(torch.cat(found, dim=1), whole, rtol=0, atol=1e-12)
    assert [part.shape for part in memory] == [part.shape for part in start]
    for one, same in zip(memory, after, strict=True):
        torch.testing.assert_close(one, same, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["patchtst", "itransformer"])
def test_a_context_shorter_than_a_patch_or_than_the_moving_average_serves(name):
    assert torch.isfinite(made(name, context=5).last_day(rows_of(2, 5))).all()
    assert torch.isfinite(made("dlinear", context=1).last_day(rows_of(2, 1))).all()


# Static inputs.


@every_kind
@torch.no_grad()
def test_a_static_input_matters_and_zero_is_an_asset_never_seen(name):
    network, rows = made(name), rows_of(2, 40)
    unseen = torch.cat([rows[..., :F], torch.zeros(2, 40, S)], dim=-1)
    start = network.memory(rows.new_zeros(2, network.past, F + S))
    z, nothing = network(rows, start)[0], network(unseen, start)[0]
    assert torch.isfinite(nothing).all()
    assert float((z - nothing).abs().min()) > 0.0
    # Without static inputs there are no weights for them, and the rest is what it was.
    bare, weights = made(name, static=0), network.state_dict()
    reads = "lstm.weight_ih_l0" if name == "lstm-patchtst" else "head.weight"
    weights[reads] = weights[reads][:, : bare.state_dict()[reads].shape[1]]
    bare.load_state_dict(weights)
    found, _ = bare(rows[..., :F], bare.memory(rows.new_zeros(2, bare.past, F)))
    torch.testing.assert_close(found, nothing, rtol=0, atol=1e-12)


@every_kind
def test_masks_of_a_step_have_one_axis_for_the_sequences(name, monkeypatch):
    """So a population can draw them for each member: a training's days are not cut into pieces."""
    monkeypatch.setattr(windowed, "AT_ONCE", 50)
    network, shapes = made(name, dropout=0.3).train(), {}
    for batch in (17, 18):
        asked: list[tuple[int, ...]] = []

        def source(shape, like, asked=asked):
            asked.append(tuple(shape))
            return like.new_ones(shape)

        network.masks, rows = source, rows_of(batch, T + 10)
        with torch.no_grad():
            network(rows[:, T - 1 :], network.beginning(rows[:, : T - 1]))
        shapes[batch] = asked
    assert shapes[17]
    for one, other in zip(shapes[17], shapes[18], strict=True):
        assert one.count(17) == 1
        assert list(other) == [18 if n == 17 else n for n in one]

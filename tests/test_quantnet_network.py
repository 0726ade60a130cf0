"""QuantNet's equations against plain NumPy, its gradients, what markets share, streaming and dropout."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from agents.quantnet.network import Dropout, QuantNetwork
from agents.training import global_seed
from qn_env.objectives import LOSS_FLOOR, sharpe

N = 4
SIZES = {"X": 2, "Y.Z": 3}  # a market's name may hold a dot
VARIANTS = {
    "linear-linear": {"encoder": "linear", "decoder": "linear"},
    "linear-lstm": {"encoder": "linear", "transfer": "lstm", "decoder": "linear"},
    "lstm-linear": {},
    "lstm-lstm": {"transfer": "lstm"},
    "no-transfer-lstm": {"transfer": None},
    "no-transfer-linear": {"encoder": "linear", "transfer": None},
    "linear-linear with lags": {"encoder": "linear", "decoder": "linear", "lags": 3},
    "no-transfer-linear with lags": {"encoder": "linear", "transfer": None, "lags": 3},
    "linear encoder, lstm decoder": {"encoder": "linear", "lags": 3, "decoder_hidden": 5},
    "lstm-lstm of two layers": {"transfer": "lstm", "layers": 2, "transfer_layers": 2, "decoder_hidden": 5},
    "no-transfer-lstm of two layers": {"transfer": None, "layers": 2},
}
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def build(variant: str, sizes=SIZES, **options) -> QuantNetwork:
    with global_seed(0):
        return QuantNetwork(sizes, dimension=N, **{**VARIANTS[variant], **options}).double().eval()


def returns(n: int, *, batch: int = 2, days: int = 7, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(size=(batch, days, n)))


# The equations, one window [L, n] at a time, from a part's named arrays.


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def lstm_by_hand(x, w_ih, w_hh, b_ih, b_hh):
    hidden = np.zeros(w_hh.shape[1])
    cell, found = hidden, []
    for row in x:
        gates = w_ih @ row + b_ih + w_hh @ hidden + b_hh
        entered, forgotten, candidate, shown = np.split(gates, 4)
        cell = sigmoid(forgotten) * cell + sigmoid(entered) * np.tanh(candidate)
        hidden = sigmoid(shown) * np.tanh(cell)
        found.append(hidden)
    return np.array(found)


def linear_by_hand(x, weight, bias):
    """Block k of the columns multiplies the row k days ago, zero before the first."""
    n = x.shape[1]
    found = np.tile(bias, (len(x), 1))
    for t in range(len(x)):
        for k in range(min(weight.shape[1] // n, t + 1)):
            found[t] += weight[:, k * n : (k + 1) * n] @ x[t - k]
    return found


def part_by_hand(part: nn.Module, x):
    arrays = {name: value.numpy() for name, value in part.state_dict().items()}
    if "linear.weight" in arrays:
        return linear_by_hand(x, arrays["linear.weight"], arrays["linear.bias"])
    for k in range(len(arrays) // 4):
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        x = lstm_by_hand(x, *(arrays[f"layers.{k}.{name}"] for name in names))
    return x


def signals_by_hand(network: QuantNetwork, market: str, x):
    i = network.names.index(market)
    hidden = part_by_hand(network.encoders[i], x)
    if network.omega is not None:
        hidden = part_by_hand(network.omega, hidden)
        hidden = part_by_hand(network.decoders[i], hidden)
    if len(network.heads):
        head = network.heads[i]
        hidden = hidden @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    return np.tanh(hidden)


@every_variant
@torch.no_grad()
def test_signals_are_those_of_equations_12_to_15(variant):
    network = build(variant)
    for market, n in SIZES.items():
        x = returns(n)
        found, _ = network(market, x)
        expected = np.stack([signals_by_hand(network, market, window.numpy()) for window in x])
        assert found.shape == (2, 7, n)
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("training", [True, False])
@every_variant
@torch.no_grad()
def test_encoder_scores_are_those_of_equation_12_whether_or_not_dropout_acts(variant, training):
    network = build(variant, dropout=0.5).train(training)
    x = returns(3)
    found, _ = network.encode("Y.Z", x)
    expected = np.stack([part_by_hand(network.encoders[1], window.numpy()) for window in x])
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


@every_variant
def test_parts_have_the_shapes_of_the_paper(variant):
    """Encoder n -> N, decoder N -> n unless its width is chosen, head n x n; without omega n -> n."""
    network, options = build(variant), VARIANTS[variant]
    for i, n in enumerate(SIZES.values()):
        shared = network.omega is not None
        width = options.get("decoder_hidden", n) if shared else n
        assert part_by_hand(network.encoders[i], np.ones((1, n))).shape == (1, N if shared else n)
        if shared:
            assert part_by_hand(network.decoders[i], np.ones((1, N))).shape == (1, width)
        if variant.startswith("no-transfer-linear"):
            assert not len(network.heads)
        else:
            assert network.heads[i].weight.shape == (n, width)


# Gradients (Eqs. 5-6).


def market_losses(network: QuantNetwork, parameters: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Each market's mean Sharpe ratio of the signals decided a day before the return."""
    found = []
    for seed, (market, n) in enumerate(SIZES.items()):
        x = returns(n, days=6, seed=seed)
        signals, _ = functional_call(network, parameters, (market, x[:, :-1]))
        found.append(sharpe(signals * x[:, 1:], axis=1, ddof=0, floor=LOSS_FLOOR).mean())
    return found


@pytest.mark.parametrize("variant", list(VARIANTS)[:7])
def test_gradients_of_the_sharpe_objective_are_those_of_finite_differences(variant):
    network = build(variant)
    names, values = zip(*network.named_parameters(), strict=True)

    def objective(*changed):
        return torch.stack(market_losses(network, dict(zip(names, changed, strict=True)))).mean()

    assert torch.autograd.gradcheck(objective, values, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("variant", ["linear-linear", "linear-lstm", "lstm-linear", "lstm-lstm"])
def test_omegas_gradient_is_the_sum_of_the_markets_gradients(variant):
    """Eqs. 5-6: of the shared layer both markets have a say, of its own parts each market alone."""
    network = build(variant)
    parameters = dict(network.named_parameters())
    losses = market_losses(network, parameters)

    def slopes(loss, wanted):
        return torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)

    omega = list(network.omega.parameters())
    of_one, of_other = (slopes(loss, omega) for loss in losses)
    for whole, one, other in zip(slopes(sum(losses), omega), of_one, of_other, strict=True):
        assert one.abs().sum() > 0
        assert other.abs().sum() > 0
        torch.testing.assert_close(whole, one + other, rtol=0, atol=1e-12)
    for loss, stranger in zip(losses, reversed(list(SIZES)), strict=True):
        assert all(slope is None for slope in slopes(loss, network.own(stranger)))


# What is shared.


def size(parameters) -> int:
    return sum(p.numel() for p in parameters)


def test_omega_is_the_matrix_z_and_its_bias():
    assert size(build("lstm-linear").omega.parameters()) == N * N + N
    assert size(build("linear-linear with lags").omega.parameters()) == N * N + N
    assert size(build("lstm-lstm").omega.parameters()) == 4 * (N * N + N * N + 2 * N)
    assert size(build("lstm-lstm of two layers").omega.parameters()) == 8 * (N * N + N * N + 2 * N)
    assert build("no-transfer-lstm").omega is None


@every_variant
@torch.no_grad()
def test_only_omega_is_shared_and_everything_else_belongs_to_one_market(variant):
    """Found by trying: change one tensor and see whose signals change."""
    network = build(variant)
    own = {market: {id(p) for p in network.own(market)} for market in SIZES}
    omega = {id(p) for p in network.omega.parameters()} if network.omega is not None else set()
    assert not own["X"] & own["Y.Z"]
    assert own["X"] | own["Y.Z"] | omega == {id(p) for p in network.parameters()}
    before = {market: network(market, returns(n))[0] for market, n in SIZES.items()}
    for parameter in network.parameters():
        kept = parameter.clone()
        parameter += 0.1
        changed = {m for m, n in SIZES.items() if not torch.equal(network(m, returns(n))[0], before[m])}
        parameter.copy_(kept)
        expected = {m for m in SIZES if id(parameter) in own[m]} or set(SIZES)
        assert changed == expected


# Streaming.


@given(variant=st.sampled_from(list(VARIANTS)), cuts=st.lists(st.integers(0, 9), max_size=4))
@torch.no_grad()
def test_any_cutting_of_a_sequence_gives_the_same_signals(variant, cuts):
    network, x = build(variant), returns(3, days=9)
    whole, last = network("Y.Z", x)
    edges = [0, *sorted(cuts), 9]
    state, parts = None, []
    for begin, end in pairwise(edges):
        if begin < end:
            found, state = network("Y.Z", x[:, begin:end], state)
            parts.append(found)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-12)
    for ours, theirs in zip(state, last, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_state_is_that_of_the_sequence_and_not_of_the_network():
    network = build("lstm-lstm")
    _, state = network("X", returns(2, seed=1))
    fresh, _ = network("X", returns(2))
    warm, _ = network("X", returns(2), state)
    assert torch.equal(fresh, network("X", returns(2))[0])
    assert not torch.equal(fresh, warm)


# Dropout.


def test_dropout_sets_its_share_to_zero_and_keeps_the_mean():
    found = Dropout(torch.Generator().manual_seed(0))(torch.ones(100_000), 0.3)
    assert found.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    # Three standard errors of a share of 0.3 in 100,000 draws.
    assert (found == 0).double().mean().item() == pytest.approx(0.3, abs=3 * (0.3 * 0.7 / 100_000) ** 0.5)


@pytest.mark.parametrize(
    ("variant", "rates"),
    [
        ("lstm-linear", {"dropout": 0.5}),
        ("no-transfer-lstm", {"dropout": 0.5}),
        ("no-transfer-lstm of two layers", {"dropout": 0.5}),
        ("lstm-lstm", {"transfer_dropout": 0.5}),
        ("linear-lstm", {"transfer_dropout": 0.5}),
    ],
)
@torch.no_grad()
def test_dropout_acts_while_training_with_one_layer_too_and_its_generator_decides(variant, rates):
    network, x = build(variant, **rates), returns(2)
    plain = network("X", x)[0]
    assert torch.equal(plain, build(variant)("X", x)[0]), "at prediction nothing is dropped"
    network.train()
    network.generator.manual_seed(1)
    before = torch.random.get_rng_state()
    first, second = network("X", x)[0], network("X", x)[0]
    assert torch.equal(torch.random.get_rng_state(), before)
    network.generator.manual_seed(1)
    assert torch.equal(network("X", x)[0], first)
    assert not torch.equal(first, plain)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("variant", "rates"),
    [
        ("linear-linear", {"dropout": 0.5, "transfer_dropout": 0.5}),
        ("no-transfer-linear", {"dropout": 0.5}),
        ("linear-lstm", {"dropout": 0.5}),
        ("lstm-linear", {"transfer_dropout": 0.5}),
    ],
)
@torch.no_grad()
def test_linear_parts_drop_nothing(variant, rates):
    network, x = build(variant, **rates), returns(2)
    assert torch.equal(network("X", x)[0], network.train()("X", x)[0])


# Further markets.


@every_variant
@torch.no_grad()
def test_a_further_market_changes_nothing_of_the_others(variant):
    network = build(variant)
    before = {market: network(market, returns(n))[0] for market, n in SIZES.items()}
    network.add("new", 5)
    network.double()
    assert network("new", returns(5))[0].shape == (2, 7, 5)
    for market, n in SIZES.items():
        assert torch.equal(network(market, returns(n))[0], before[market])


@every_variant
@torch.no_grad()
def test_a_copied_market_plays_like_its_source_and_goes_its_own_way_after(variant):
    network = build(variant, sizes={"X": 3, "Y": 2, "Z": 3})
    x = returns(3)
    assert not torch.equal(network("X", x)[0], network("Z", x)[0])
    network.copy("X", "Z")
    source = network("X", x)[0]
    assert torch.equal(network("Z", x)[0], source)
    for parameter in network.own("Z"):
        parameter += 0.1
    assert torch.equal(network("X", x)[0], source)
    assert not torch.equal(network("Z", x)[0], source)

"""Variable selection, the networks that begin with it, and what a static context is to all that read one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from agents.dmn.gates import GatedResidual, VariableSelection
from agents.dmn.network import Network
from agents.dmn.tft import TftNetwork
from agents.dmn.vsn_lstm import VsnLstmNetwork
from agents.dmn.xlstm import XlstmNetwork
from agents.population.skeleton import for_members
from agents.training import global_seed

F, H, S, CONTEXT = 3, 4, 2, 5
NETWORKS = {
    "vsn-lstm": lambda dropout=0.0, **more: VsnLstmNetwork(F, H, dropout, **more),
    "tft": lambda dropout=0.0, **more: TftNetwork(F, H, dropout, heads=2, context=CONTEXT, **more),
    "xlstm": lambda dropout=0.0, **more: XlstmNetwork(F, H, dropout, heads=2, **more),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def shaken(module: nn.Module) -> nn.Module:
    """In float64, with weights far from symmetric and no bias or scale that does nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.2 * torch.randn(p.shape, generator=generator)
    return module.double().eval()


def made(name: str, **options) -> Network:
    with global_seed(0):
        network = NETWORKS[name](**options)
    return shaken(network)


def inputs(batch: int = 2, days: int = 12, static: int = 0, seed: int = 0) -> torch.Tensor:
    """Features, and behind them an embedding that is the same on all days."""
    rng = np.random.default_rng(seed)
    u, c = rng.normal(size=(batch, days, F)), rng.normal(size=(batch, 1, static))
    return torch.tensor(np.concatenate([u, np.repeat(c, days, axis=1)], axis=2))


def z_of(network: Network, u: torch.Tensor) -> torch.Tensor:
    return network(u, network.memory(u[:, :0]))[0]


# The equations, one sequence [L, n] and one day at a time.


def arrays_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in module.state_dict().items()}


def under(a: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix + "."): v for name, v in a.items() if name.startswith(prefix + ".")}


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def line(a, name, x):
    return a[f"{name}.weight"] @ x + a.get(f"{name}.bias", 0.0)


def normalised(x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


def gate_by_hand(a, x, skipped):
    """LayerNorm(skipped + sigmoid(W4 x + b4) (W5 x + b5)), both maps in one."""
    value, opened = np.split(line(a, "linear", x), 2)
    return normalised(skipped + sigmoid(opened) * value) * a["norm.weight"] + a["norm.bias"]


def residual_by_hand(a, x, c=None):
    """Eqs. 2-4 of the paper."""
    first = line(a, "first", x)
    if c is not None:
        first = first + a["context.weight"] @ c
    first = np.where(first > 0.0, first, np.exp(first) - 1.0)
    skipped = line(a, "skip", x) if "skip.weight" in a else x
    return gate_by_hand(under(a, "gate"), line(a, "second", first), skipped)


def selection_by_hand(a, u, c=None):
    """Eqs. 6-8: every variable embedded, processed by its own residual network, and weighed."""
    n = len(u)
    embedded = [a["embedding.weight"][j, :, 0] * u[j] + a["embedding.bias"][j] for j in range(n)]
    weights = softmax(residual_by_hand(under(a, "weigh"), np.concatenate(embedded), c))
    chosen = 0.0
    for j in range(n):
        first, second, value, opened = (
            lambda x, part=part, j=j: a[f"{part}.weight"][j] @ x + a[f"{part}.bias"][j]
            for part in ("first", "second", "value", "gate")
        )
        hidden = first(embedded[j])
        hidden = second(np.where(hidden > 0.0, hidden, np.exp(hidden) - 1.0))
        mixed = embedded[j] + sigmoid(opened(hidden)) * value(hidden)
        chosen = chosen + weights[j] * (normalised(mixed) * a["scale"][j] + a["shift"][j])
    return chosen, weights


def lstm_by_hand(a, rows, h=0.0, c=0.0):
    h, c, found = h + np.zeros(H), c + np.zeros(H), []
    for x in rows:
        gates = a["weight_ih_l0"] @ x + a["bias_ih_l0"] + a["weight_hh_l0"] @ h + a["bias_hh_l0"]
        entered, forgotten, candidate, shown = np.split(gates, 4)
        c = sigmoid(forgotten) * c + sigmoid(entered) * np.tanh(candidate)
        h = sigmoid(shown) * np.tanh(c)
        found.append(h)
    return found


def attention_by_hand(a, rows):
    """Heads have their own queries and keys; the mean of their patterns is applied to shared values."""
    found, d = [], H // 2
    for t in range(len(rows)):
        days = range(max(t - CONTEXT + 1, 0), t + 1)
        pattern = np.zeros(len(days))
        for own in (slice(0, d), slice(d, H)):
            query = line(a, "queries", rows[t])[own]
            scores = np.array([query @ line(a, "keys", rows[j])[own] for j in days])
            pattern += softmax(scores / d**0.5) / 2
        found.append(a["out.weight"] @ sum(p * line(a, "values", rows[j]) for p, j in zip(pattern, days)))  # noqa: B905
    return found


def vsn_lstm_by_hand(a, u, c):
    chosen = [selection_by_hand(under(a, "select"), row, c)[0] for row in u]
    recent = lstm_by_hand(under(a, "lstm"), chosen)
    pairs = zip(recent, chosen, strict=True)
    return [line(a, "head", gate_by_hand(under(a, "output"), h, x))[0] for h, x in pairs]


def tft_by_hand(a, u, c):
    told = (
        {}
        if c is None
        else {
            name: residual_by_hand(under(a, f"contexts.{name}"), c)
            for name in ("selection", "enrichment", "hidden", "cell")
        }
    )
    chosen = [selection_by_hand(under(a, "select"), row, told.get("selection"))[0] for row in u]
    recent = lstm_by_hand(under(a, "lstm"), chosen, told.get("hidden", 0.0), told.get("cell", 0.0))
    temporal = [gate_by_hand(under(a, "local"), h, x) for h, x in zip(recent, chosen, strict=True)]
    enriched = [residual_by_hand(under(a, "enrich"), x, told.get("enrichment")) for x in temporal]
    far = attention_by_hand(under(a, "attention"), enriched)
    fed = [
        residual_by_hand(under(a, "feed"), gate_by_hand(under(a, "attended"), x, e))
        for x, e in zip(far, enriched, strict=True)
    ]
    pairs = zip(fed, temporal, strict=True)
    return [line(a, "head", gate_by_hand(under(a, "output"), x, t))[0] for x, t in pairs]


@pytest.mark.parametrize(("n_in", "n_out"), [(H, H), (6, H), (H, 3)])
@torch.no_grad()
def test_a_gated_residual_network_adds_a_line_of_its_context_before_the_activation(n_in, n_out):
    network = shaken(GatedResidual(lambda x: x, n_in, H, n_out, context=S))
    x, c = torch.randn(5, n_in, dtype=torch.float64), torch.randn(5, S, dtype=torch.float64)
    a = arrays_of(network)
    expected = [residual_by_hand(a, *pair) for pair in zip(x.numpy(), c.numpy(), strict=True)]
    np.testing.assert_allclose(network(x, c), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("hidden", [1, H])
@pytest.mark.parametrize("static", [0, S])
@torch.no_grad()
def test_variables_have_residual_networks_of_their_own_and_weights_that_read_all_of_them(static, hidden):
    network, u = shaken(VariableSelection(lambda x: x, F, hidden, context=static)), inputs(static=static)
    values, c = u[..., :F], u[..., F:]
    a = arrays_of(network)
    chosen, weights = network(values, c), network.weights(values, c)
    for b in range(2):
        for t in range(u.shape[1]):
            told = c[b, t].numpy() if static else None
            expected = selection_by_hand(a, values[b, t].numpy(), told)
            np.testing.assert_allclose(chosen[b, t], expected[0], rtol=0, atol=1e-12)
            np.testing.assert_allclose(weights[b, t], expected[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("static", [0, S])
@pytest.mark.parametrize(("name", "by_hand"), [("vsn-lstm", vsn_lstm_by_hand), ("tft", tft_by_hand)])
@torch.no_grad()
def test_outputs_are_those_of_the_papers_equations(name, by_hand, static):
    network, u = made(name, static=static), inputs(static=static)
    expected = [
        by_hand(arrays_of(network), row[:, :F].numpy(), row[0, F:].numpy() if static else None) for row in u
    ]
    np.testing.assert_allclose(z_of(network, u), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_every_variable_is_dropped_by_a_mask_of_its_own():
    network = made("vsn-lstm", dropout=0.5).train()
    shapes, mask = [], network.mask
    network.mask = lambda shape, like: [shapes.append(tuple(shape)), mask(shape, like)][1]
    z_of(network, inputs(batch=6, days=7))
    # What weighs them, before its gate; each of them before its own; the LSTM before the skip.
    assert shapes == [(6, 7, H), (F, H, 6, 7), (6, 7, H)]


# What a static context is.


@every_network
def test_without_a_static_context_there_are_no_parameters_for_it(name):
    without, with_it = (
        {key: value.shape for key, value in made(name, static=static).state_dict().items()}
        for static in (0, S)
    )
    changed = {key for key, shape in with_it.items() if without.get(key) != shape}
    assert set(without) <= set(with_it)
    if name == "xlstm":
        assert changed == {"embedding.weight"}, "it reads it as further inputs"
    else:
        assert changed
        assert all("context" in key for key in changed)


@every_network
@torch.no_grad()
def test_the_same_features_of_another_asset_have_another_output(name):
    network, u = made(name, static=S), inputs(static=S)
    other, nobody = u.clone(), u.clone()
    other[..., F:] += 1.0
    nobody[..., F:] = 0.0
    outputs = [z_of(network, rows) for rows in (u, other, nobody)]
    assert all(z.isfinite().all() for z in outputs)
    for one, another in ((0, 1), (0, 2), (1, 2)):
        assert ((outputs[one] - outputs[another]).abs() > 1e-6).all()


@every_network
@pytest.mark.parametrize("pieces", [(1,) * 12, (3, 5, 1, 3)])
@torch.no_grad()
def test_streaming_under_a_static_context_in_pieces_equals_one_pass(name, pieces):
    network, u = made(name, static=S), inputs(static=S)
    memory, found = network.memory(u[:, :0]), []
    for piece in torch.split(u, list(pieces), dim=1):
        z, memory = network(piece, memory)
        found.append(z)
    np.testing.assert_allclose(torch.cat(found, 1), z_of(network, u), rtol=0, atol=1e-12)


@every_network
@torch.no_grad()
def test_an_asset_that_begins_later_begins_as_it_would_have_alone(name):
    """Beside others that are on their way, as assets are when they are stepped."""
    network, u = made(name, static=S), inputs(batch=2, static=S)
    memory = network.memory(u[:, :0])
    _, first = network(u[:1, :4], tuple(part[:1] for part in memory))
    both = tuple(torch.cat([one, part[1:]]) for one, part in zip(first, memory, strict=True))
    found, _ = network(torch.cat([u[:1, 4:], u[1:, :8]]), both)
    whole = z_of(network, u)
    np.testing.assert_allclose(found[0], whole[0, 4:], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[1], whole[1, :8], rtol=0, atol=1e-12)


@every_network
@torch.no_grad()
def test_a_later_day_under_a_static_context_never_moves_an_earlier_output(name):
    network, u = made(name, static=S), inputs(days=40, static=S)
    whole = z_of(network, u)
    for t in (0, 16, 31):
        other = u.clone()
        other[:, t + 1 :, :F] += 100.0 * inputs(days=39 - t, seed=t + 1)
        found = z_of(network, other)
        assert torch.equal(found[:, : t + 1], whole[:, : t + 1])
        assert not torch.equal(found[:, t + 1], whole[:, t + 1])


@every_network
def test_every_weight_that_reads_the_context_learns(name):
    network = made(name, static=S).train()
    z_of(network, inputs(static=S)).square().sum().backward()
    for key, p in network.named_parameters():
        # A bias that all keys share adds the same to every score, and does nothing.
        if key != "attention.keys.bias":
            assert float(p.grad.abs().max()) > 0.0, key


@every_network
def test_members_side_by_side_have_the_slopes_of_each_alone_by_their_contexts_too(name):
    """The state before the first day among them, which a static context makes."""
    members, frame = [made(name, static=S) for _ in range(3)], for_members(made(name, static=S))
    for k, member in enumerate(members):
        with torch.no_grad():
            for p in member.parameters():
                p *= 1.0 + 0.1 * k
    u = torch.stack([inputs(static=S, seed=k) for k in range(3)])
    weights = {
        key: torch.stack([dict(m.named_parameters())[key].detach() for m in members]).requires_grad_()
        for key, _ in frame.named_parameters()
    }

    def one(own, rows):
        return functional_call(frame, own, (rows, frame.beginning(rows[:, :0])))[0]

    z = vmap(one)(weights, u)
    slopes = torch.autograd.grad(z.square().sum(), list(weights.values()))
    for k, member in enumerate(members):
        alone = member(u[k], member.beginning(u[k][:, :0]))[0]
        torch.testing.assert_close(z[k], alone, rtol=0, atol=1e-12)
        wanted = torch.autograd.grad(alone.square().sum(), list(member.parameters()))
        for key, found, expected in zip(weights, slopes, wanted, strict=True):
            torch.testing.assert_close(found[k], expected, rtol=0, atol=1e-10, msg=key)

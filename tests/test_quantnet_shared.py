"""Shared weights: any assets in any order, embeddings that may be absent, assets that may be absent."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agents.quantnet.shared import SharedNetwork
from agents.training import global_seed

SIZES = {"X": 3, "Y": 5}
KINDS = {
    "lstm-linear": {},
    "linear decoder": {"decoder": "linear"},
    "all linear": {"encoder": "linear", "decoder": "linear", "decoder_hidden": 6},
    "all lstm": {"transfer": "lstm", "layers": 2},
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def build(kind: str = "lstm-linear", *, learnt: bool = True, **options) -> SharedNetwork:
    """A network in float64; `learnt` gives its markets and assets embeddings other than zero."""
    with global_seed(0):
        network = SharedNetwork(SIZES, dimension=4, embedding=2, **{**KINDS[kind], **options}).double().eval()
        if learnt:
            for embedding in (*network.markets, *network.assets):
                torch.nn.init.normal_(embedding)
    return network


def observed(n: int, *, batch: int = 2, days: int = 6, seed: int = 0, closed: float = 0.2) -> torch.Tensor:
    """[B, L, n, 2] returns, 0 where there is none, and whether there is one."""
    rng = np.random.default_rng(seed)
    present = rng.random((batch, days, n)) >= closed
    return torch.tensor(np.stack([rng.normal(size=(batch, days, n)) * present, present], axis=-1))


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@given(kind=st.sampled_from(list(KINDS)), order=st.permutations(range(5)))
@torch.no_grad()
def test_reordered_assets_have_reordered_signals(kind, order):
    x = observed(5)
    plain = build(kind, learnt=False)
    close(plain("Y", x[:, :, order])[0], plain("Y", x)[0][..., order])
    learnt = build(kind)
    expected = learnt("Y", x)[0][..., order]
    learnt.assets[1].copy_(learnt.assets[1][list(order)])
    close(learnt("Y", x[:, :, order])[0], expected)


@every_kind
@torch.no_grad()
def test_one_network_serves_markets_of_any_size(kind):
    network = build(kind)
    weights = sum(p.numel() for p in network.parameters()) - sum(2 * (1 + n) for n in SIZES.values())
    for n in (1, 2, 17):
        network.add(f"new {n}", n)
        network.double()
        found, _ = network(f"new {n}", observed(n))
        assert found.shape == (2, 6, n)
        assert found.abs().max() < 1.0
    own = sum(p.numel() for name in network.names for p in network.own(name))
    assert sum(p.numel() for p in network.parameters()) == weights + own
    one = SharedNetwork({"only": 1}, dimension=4, embedding=2, **KINDS[kind])
    assert sum(p.numel() for p in one.parameters()) == weights + 2 * 2


@every_kind
@torch.no_grad()
def test_a_market_of_twins_plays_like_the_market(kind):
    """Every asset twice leaves the market's mean, and so each signal, as it was."""
    network, x = build(kind), observed(3)
    network.add("one", 3)
    network.add("two", 6)
    network.double()
    twice, _ = network("two", torch.cat([x, x], dim=2))
    once, _ = network("one", x)
    close(twice, torch.cat([once, once], dim=-1))


@every_kind
@torch.no_grad()
def test_a_market_whose_embeddings_are_forgotten_plays_like_one_never_seen(kind):
    network, x = build(kind), observed(5)
    known, _ = network("Y", x)
    network.add("new", 5)
    network.double()
    unseen, _ = network("new", x)
    assert not torch.equal(unseen, known)
    network.forget_embeddings()
    assert torch.equal(network("Y", x)[0], unseen)


@every_kind
@torch.no_grad()
def test_each_embedding_belongs_to_its_market_and_asset_alone(kind):
    network, x = build(kind), {market: observed(n) for market, n in SIZES.items()}
    before = {market: network(market, x[market])[0] for market in SIZES}
    assert [id(p) for p in network.own("X")] == [id(network.markets[0]), id(network.assets[0])]
    network.assets[0][1] += 1.0
    assert torch.equal(network("Y", x["Y"])[0], before["Y"])
    changed = network("X", x["X"])[0]
    close(changed[..., [0, 2]], before["X"][..., [0, 2]])
    assert not torch.equal(changed[..., 1], before["X"][..., 1])
    network.assets[0][1] -= 1.0
    network.markets[0].add_(1.0)
    assert torch.equal(network("Y", x["Y"])[0], before["Y"])
    assert (network("X", x["X"])[0] != before["X"]).any(dim=0).any(dim=0).all()


@every_kind
@torch.no_grad()
def test_an_asset_that_never_trades_does_not_reach_the_others(kind):
    network = build(kind, learnt=False)
    x = observed(5)
    x[:, :, 2] = 0.0
    others = [0, 1, 3, 4]
    network.add("without", 4)
    network.double()
    close(network("Y", x)[0][..., others], network("without", x[:, :, others])[0])
    # A number where there is no observation is not read into the mean either.
    wild = x.clone()
    wild[:, :, 2, 0] = 99.0
    close(network("Y", wild)[0][..., others], network("Y", x)[0][..., others])


@torch.no_grad()
def test_a_day_on_which_nothing_trades_is_finite():
    assert torch.isfinite(build()("X", torch.zeros(2, 6, 3, 2, dtype=torch.float64))[0]).all()


@every_kind
@torch.no_grad()
def test_the_encoder_reads_the_asset_its_markets_mean_and_the_embeddings(kind):
    """By hand, asset by asset; a market's score is the mean over its assets."""
    network, x = build(kind), observed(3)
    scores, signals = [], []
    for b in range(2):
        returns, present = x[b, ..., 0], x[b, ..., 1]
        mean = torch.stack([(r * p).sum() / max(p.sum(), 1) for r, p in zip(returns, present, strict=True)])
        for j in range(3):
            given = torch.cat([network.markets[0], network.assets[0][j]]).expand(6, -1)
            seen = torch.stack([returns[:, j], present[:, j], mean], dim=-1)
            score, _ = network.encoder(torch.cat([seen, given], dim=-1)[None], (), None)
            mixed, _ = network.omega(score, (), None)
            decoded, _ = network.decoder(torch.cat([mixed, given[None]], dim=-1), (), None)
            scores.append(score[0])
            signals.append(torch.tanh(network.head(decoded))[0, :, 0])
    close(network.encode("X", x)[0], torch.stack(scores).reshape(2, 3, 6, 4).mean(1))
    close(network("X", x)[0], torch.stack(signals).reshape(2, 3, 6).transpose(1, 2))


@given(kind=st.sampled_from(list(KINDS)), cuts=st.lists(st.integers(1, 8), max_size=4, unique=True))
@torch.no_grad()
def test_any_cutting_of_a_sequence_gives_the_same_signals_and_scores(kind, cuts):
    network, x = build(kind), observed(3, days=9)
    edges = [0, *sorted(cuts), 9]
    state, memory, signals, scores = None, None, [], []
    for begin, end in pairwise(edges):
        found, state = network("X", x[:, begin:end], state)
        signals.append(found)
        score, memory = network.encode("X", x[:, begin:end], None if memory is None else [memory, (), ()])
        scores.append(score)
    close(torch.cat(signals, dim=1), network("X", x)[0])
    close(torch.cat(scores, dim=1), network.encode("X", x)[0])


@every_kind
@torch.no_grad()
def test_with_every_embedding_dropped_training_sees_what_an_unseen_market_shows(kind):
    x = observed(3)
    dropped, kept = (build(kind, embedding_dropout=rate).train() for rate in (1.0, 0.0))
    assert torch.equal(kept("X", x)[0], kept.eval()("X", x)[0])
    assert torch.equal(dropped.eval()("X", x)[0], kept("X", x)[0]), "at prediction nothing is dropped"
    found = dropped.train()("X", x)[0]
    dropped.forget_embeddings()
    assert torch.equal(found, dropped.eval()("X", x)[0])


@torch.no_grad()
def test_embeddings_are_dropped_whole_per_window_the_markets_for_all_its_assets():
    network, x = build(embedding_dropout=0.5), observed(3, batch=1).expand(200, -1, -1, -1)
    whole = [embedding.clone() for embedding in network.own("X")]

    def shown(*, market: bool, assets: bool):
        for kept, embedding, value in zip((market, assets), network.own("X"), whole, strict=True):
            embedding.copy_(value * kept)
        return network("X", x[:1])[0][0]

    cases = {(m, a): shown(market=m, assets=a) for m in (False, True) for a in (False, True)}
    shown(market=True, assets=True)
    network.generator.manual_seed(0)
    before = torch.random.get_rng_state()
    found = network.train()("X", x)[0]
    assert torch.equal(torch.random.get_rng_state(), before)
    kept = []
    for window in found:
        same = [
            [c for c, s in cases.items() if torch.allclose(window[:, j], s[:, j], 0, 1e-12)] for j in range(3)
        ]
        assert all(len(case) == 1 for case in same)
        assert len({case[0][0] for case in same}) == 1
        kept.append([same[0][0][0], *(case[0][1] for case in same)])
    # Each at a rate of one half, within three standard errors of 200 draws.
    np.testing.assert_allclose(np.mean(kept, axis=0), 0.5, atol=3 * 0.5 / 200**0.5)
    assert len({tuple(row) for row in kept}) == 16, "independent of each other"


@torch.no_grad()
def test_dropout_behind_a_single_layer_acts_while_training_only():
    network, x = build(dropout=0.5, embedding_dropout=0.0), observed(3)
    plain = network("X", x)[0]
    assert torch.equal(plain, build()("X", x)[0])
    network.train()
    network.generator.manual_seed(1)
    first, second = network("X", x)[0], network("X", x)[0]
    network.generator.manual_seed(1)
    assert torch.equal(network("X", x)[0], first)
    assert not torch.equal(first, plain)
    assert not torch.equal(first, second)

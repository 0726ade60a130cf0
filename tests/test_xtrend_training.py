"""What X-Trend learns from: windows, their batches, what counts, and embeddings that are forgotten."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from agents.training import Monitor
from agents.xtrend.config import XTrendConfig
from agents.xtrend.contexts import NONE
from agents.xtrend.course import Course
from agents.xtrend.cutting import features_of
from agents.xtrend.history import DEFINED, FEATURES, N_INPUTS, SIGMA
from agents.xtrend.network import UNKNOWN, XTrendNetwork
from agents.xtrend.windows import PADDING
from qn_env.environment import TradingEnv
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged

SMALL: dict[str, Any] = {"hidden": 4, "context_days": 5, "recent": 3, "earlier": 2, "renew": 7, "length": 20}


@lru_cache
def market(seed: int) -> Panel:
    return ragged(days=240, seed=seed)


def config(**options: Any) -> XTrendConfig:
    return XTrendConfig(**{**SMALL, **options})


def environment(panel: Panel, asked: XTrendConfig, **options: Any) -> TradingEnv:
    return TradingEnv(panel, window=1, features=features_of(asked), vol_target=0.15, cost_bps=0.0, **options)


def course(panel: Panel, asked: XTrendConfig) -> Course:
    network = XTrendNetwork(
        N_INPUTS,
        asked.hidden,
        heads=asked.heads,
        places=asked.recent + asked.earlier,
        assets=panel.shape[1],
        embedding=asked.embedding,
        dropout=asked.dropout,
    )
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)) / 3)
    env = environment(panel, asked)
    made = Course.of(asked, network, env, env, seed=0, monitor=Monitor())
    network.eval()
    return made


@torch.no_grad()
def test_a_batch_gives_every_day_what_its_own_row_offers() -> None:
    panel = market(2)
    made = course(panel, config(context_days=7, batch=3, length=10))
    given, network, library = made.learn, made.network, made.learn.library
    spans = [5, 0, 6]
    windows = np.concatenate([given.spans[span] for span in spans])
    span = np.repeat(np.arange(3), [len(given.spans[one]) for one in spans])
    found = made.outputs(given, windows, span)
    ended = library.sequences.ended
    for b, w in enumerate(windows):
        asset = network.given(torch.tensor([given.asset[w]]))
        inputs = given.inputs[w][None]
        asked = network.ask(inputs, asset, None)[0]
        told = []
        for day, row in enumerate(given.row[w]):
            if row == PADDING:
                told.append(torch.zeros(1, 1, asked.shape[-1]))
                continue
            numbers = given.sets[row]
            assert (ended[numbers[numbers != NONE]] < row).all()
            if (numbers == NONE).all():
                keys = values = torch.zeros(1, asked.shape[-1])
            else:
                read = library.read(np.maximum(numbers, 0))
                keys, values = network.encode(
                    read.inputs, read.labels, read.length, network.given(read.asset)
                )
            local = np.where(numbers == NONE, NONE, np.arange(len(numbers)))
            offered = network.offer(keys, values, torch.from_numpy(local)[None])
            told.append(network.cross(asked[:, day : day + 1].transpose(0, 1), offered)[0])
        outputs = network.decode(inputs, torch.cat(told, dim=1), asset, None)[0]
        real = given.row[w] != PADDING
        for ours, theirs in zip(found, outputs, strict=True):
            np.testing.assert_allclose(ours[b][real], theirs[0][real], rtol=1e-4, atol=1e-5)


def test_windows_are_grouped_by_time_and_each_belongs_to_one_group() -> None:
    given = course(market(1), config(batch=4)).learn
    assert sorted(np.concatenate(given.spans)) == list(range(len(given.row)))
    for span in given.spans:
        first = given.row[span, 0]
        assert len(span) <= 4
        assert first.max() < first.min() + 20


def test_what_is_learnt_from_counts_own_days_whose_return_is_defined() -> None:
    panel = market(3)
    given = course(panel, config()).learn
    defined, sigma = panel.features(FEATURES)[..., DEFINED] > 0, panel.features(FEATURES)[..., SIGMA]
    counted = 0
    for row, asset, count, target in zip(
        given.row, given.asset, given.pairs.counted, given.pairs.target, strict=True
    ):
        for t, counts, aim in zip(row, count, target, strict=True):
            if t == PADDING:
                assert not counts
                continue
            assert bool(counts) == (defined[t, asset] and panel.tradable[t, asset])
            if counts:
                following = t + 1 + np.flatnonzero(panel.tradable[t + 1 :, asset])[0]
                assert float(aim) == pytest.approx(
                    panel.returns[following, asset] / sigma[t, asset], rel=1e-5
                )
                counted += 1
    assert counted > 500


def test_an_embedding_is_forgotten_as_often_as_asked_and_never_when_selecting() -> None:
    made = course(market(1), config(embedding_dropout=0.3))
    asset = torch.arange(2000) % 7
    assert torch.equal(made._forget(asset), asset)
    made.network.train()
    found = made._forget(asset)
    kept = found == asset
    assert torch.equal(found[~kept], torch.full_like(found[~kept], UNKNOWN))
    # 2,000 draws with a share of 0.7: a deviation of sqrt(2000 * 0.21) = 20.5.
    assert abs(int(kept.sum()) - 1400) < 4 * 20.5

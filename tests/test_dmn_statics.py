"""Learnt vectors of assets and markets as inputs: known by name, zero where unknown, optional for all."""

from __future__ import annotations

from functools import lru_cache
from typing import get_args

import numpy as np
import pytest
import torch

from agents.agent import play
from agents.dmn import DeepMomentum
from agents.dmn.architectures import build
from agents.dmn.config import NetworkName
from agents.dmn.statics import StaticNetwork, layout_of, numbers_of
from agents.dmn.training_windows import FEATURES, cut_windows
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged

BRIEF = {"hidden": 6, "epochs": 3, "patience": 3, "batch": 16, "static": 3}
every_network = pytest.mark.parametrize("network", get_args(NetworkName))


@lru_cache
def market() -> Panel:
    return ragged(sizes=(2, 1, 2), days=700, seed=5)


def environment(panel: Panel) -> TradingEnv:
    return TradingEnv(panel, window=1, features=FEATURES, vol_target=0.15)


@lru_cache
def trained(network: str = "lstm") -> DeepMomentum:
    agent = DeepMomentum(network=network, **BRIEF)
    return agent.fit(environment(market()), seed=0)


def without_vectors(agent: DeepMomentum) -> DeepMomentum:
    """The same agent, told that it knows no asset."""
    other = DeepMomentum(network=agent.config.network, **BRIEF)
    other.network, other.layout_ = agent.network, []
    return other


def test_assets_and_markets_are_numbered_from_one_and_unknown_ones_are_zero():
    panel = market()
    known = layout_of(panel.select(["M0", "M2"]))
    assert numbers_of(panel, known).tolist() == [[1, 1], [2, 1], [0, 0], [3, 2], [4, 2]]
    assert numbers_of(panel, known[1:]).tolist() == [[0, 1], [1, 1], [0, 0], [2, 2], [3, 2]]


def test_windows_hold_the_numbers_of_their_asset_on_every_day():
    env = environment(market())
    numbers = numbers_of(market(), layout_of(market()))
    bare, given = cut_windows(env, 63, 5), cut_windows(env, 63, 5, numbers=numbers)
    for seen, plain in ((given.inputs, bare.inputs), (given.past, bare.past)):
        assert torch.equal(seen[..., :-2], plain)
        own = torch.tensor(numbers, dtype=torch.float32)[given.asset, None].expand(-1, seen.shape[1], -1)
        assert torch.equal(seen[..., -2:], own)


@every_network
def test_every_network_takes_vectors_and_an_asset_without_one_is_played_with_zero(network):
    agent = trained(network)
    assert isinstance(agent.network, StaticNetwork)
    assert agent.network.assets.shape == (5, 3)
    assert agent.network.markets.shape == (3, 3)
    learnt = (agent.network.assets != 0).all(1).tolist()
    assert learnt == [False, True, True, True, True], "the first is listed too late to be learnt from"
    found, others = agent.signals(market()), without_vectors(agent).signals(market())
    active = found != 0
    assert np.array_equal(active, others != 0)
    assert not np.array_equal(found, others)
    zeroed = build(agent.config, agent.layout_)
    zeroed.load_state_dict(agent.network.state_dict())
    with torch.no_grad():
        zeroed.assets.zero_()
        zeroed.markets.zero_()
    told = DeepMomentum(network=network, **BRIEF)
    told.network, told.layout_ = zeroed.eval(), agent.layout_
    np.testing.assert_array_equal(told.signals(market()), others)


def test_vectors_go_by_name_and_not_by_place():
    panel, agent = market(), trained()
    turned = panel.select(["M2", "M0"])
    columns = [layout_of(panel).index(pair) for pair in layout_of(turned)]
    found, whole = agent.signals(turned), agent.signals(panel)
    rows = np.isin(panel.dates, turned.dates)
    np.testing.assert_allclose(found, whole[rows][:, columns], atol=1e-6)


def test_a_trained_agent_steps_through_the_assets_it_knows_and_refuses_others():
    agent = trained()
    env = environment(market())
    stepped, at_once = play(agent, env), agent.signals(market())
    live = env.tape.live[:-1]
    np.testing.assert_allclose(stepped[:-1][live], at_once[:-1][live], rtol=0, atol=1e-5)
    with pytest.raises(ConfigError, match=r"2 assets, expected the 5 it was trained on"):
        play(agent, environment(market().select(["M0"])))


def test_a_checkpoint_keeps_whose_vectors_they_are(tmp_path):
    agent = trained()
    agent.save(tmp_path)
    again = DeepMomentum.load(tmp_path)
    assert again.layout_ == layout_of(market())
    np.testing.assert_array_equal(again.signals(market()), agent.signals(market()))


def test_a_warm_start_takes_over_the_vectors_that_both_have():
    few = market().select(["M0", "M2"])
    earlier = DeepMomentum(**BRIEF).fit(environment(few), seed=1)
    later = DeepMomentum(**BRIEF)
    later.start_from(earlier)
    network = later.course(environment(market()), 2).network
    before = earlier.network
    assert torch.equal(network.assets[[0, 1, 3, 4]], before.assets)
    assert torch.equal(network.markets[[0, 2]], before.markets)
    assert not network.assets[2].any()
    assert torch.equal(network.inner.head.weight, before.inner.head.weight)
    with pytest.raises(ConfigError, match="cannot begin at the weights"):
        DeepMomentum(**{**BRIEF, "static": 2}).start_from(earlier)


def test_while_training_some_sequences_have_no_vectors_and_the_others_have_them_whole():
    agent = trained()
    network = agent.network
    rows = torch.zeros(400, 3, 10)
    rows[..., -2:] = 1.0
    network.train()
    try:
        network.generator.manual_seed(0)
        seen = network._with_vectors(rows, network._kept(rows))[..., 8:]
    finally:
        network.eval()
    whole = (network.assets[0] + network.markets[0]).expand_as(seen)
    kept = (seen == whole).all(-1).all(-1)
    assert ((seen == 0).all(-1).all(-1) | kept).all()
    assert 0.7 < float(kept.float().mean()) < 0.9  # dropout 0.2

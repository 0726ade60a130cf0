"""Changepoints as further inputs of Deep Momentum Networks (Wood, Roberts, Zohren 2021)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

from agents.agent import play
from agents.dmn import FEATURE_NAMES, DeepMomentum
from agents.dmn.training_windows import DEFINED, FEATURES, cut_windows, features_of
from qn_env.changepoints import Changepoint
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError
from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged

LOOK_BACKS = (10, 21)
BRIEF = {"hidden": 6, "epochs": 2, "batch": 16, "changepoints": LOOK_BACKS}


@lru_cache
def market() -> Panel:
    return ragged(sizes=(2, 2), days=600, seed=4)


def environment(agent: DeepMomentum, panel: Panel) -> TradingEnv:
    return TradingEnv(panel, window=1, features=agent.settings.features, vol_target=0.15)


@lru_cache
def trained() -> DeepMomentum:
    agent = DeepMomentum(**BRIEF)
    return agent.fit(environment(agent, market()), seed=0)


def test_they_stand_behind_the_eight_inputs_by_name():
    agent = DeepMomentum(**BRIEF)
    assert agent.config.inputs == (
        *FEATURE_NAMES,
        *("changepoint severity 10", "changepoint location 10"),
        *("changepoint severity 21", "changepoint location 21"),
    )
    assert features_of(()) == FEATURES
    assert agent.settings.features[:8] == FEATURES[:8]
    assert agent.settings.features[9] == Changepoint(10, "location")


def test_windows_hold_them_where_all_inputs_are_defined():
    agent = trained()
    windows = cut_windows(environment(agent, market()), 63, 0, features=agent.settings.features)
    assert windows.inputs.shape[-1] == 12
    counted = windows.pairs.counted
    severity, location = windows.inputs[..., 10][counted], windows.inputs[..., 11][counted]
    assert ((severity >= 0) & (severity <= 1)).all()
    assert ((location > 0) & (location < 1)).all()
    assert not windows.inputs[~(windows.inputs != 0).any(-1)].any()


def test_a_network_learns_with_them_steps_as_in_one_pass_and_knows_no_future():
    agent, panel = trained(), market()
    env = environment(agent, panel)
    live, found = env.tape.live[:-1], agent.signals(panel)
    np.testing.assert_allclose(play(agent, env)[:-1][live], found[:-1][live], rtol=0, atol=1e-5)
    other = panel.with_future_scrambled(panel.dates[480], seed=1)
    np.testing.assert_array_equal(agent.signals(other)[:481], found[:481])
    assert not np.array_equal(
        agent.without_feature("changepoint severity 21").signals(panel)[:481], found[:481]
    )


def test_a_checkpoint_keeps_the_look_backs(tmp_path):
    trained().save(tmp_path)
    again = DeepMomentum.load(tmp_path)
    assert again.config == trained().config
    pairs = zip(again.network.parameters(), trained().network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("given", "message"),
    [((21, 21), "21, 21; a look-back appears twice"), ((3,), "changepoints is 3, expected at least 4")],
)
def test_look_backs_that_are_none_are_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        DeepMomentum(changepoints=given)


def test_days_without_one_do_not_count():
    """Of a price that does not move there is no changepoint."""
    agent = DeepMomentum(changepoints=(10,))
    features = market().features(agent.settings.features)
    known = np.isfinite(market().feature(Changepoint(10, "severity")))
    assert (features[..., DEFINED] <= np.where(known, 1.0, 0.0)).all()

"""Stateless draws, and a search that survives being killed and counts what failed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.agent import AGENTS, make_agent
from agents.quantnet import QuantNetConfig
from agents.quantnet.space import quantnet2020
from agents.space import PRESETS, Choice, Integer, LogUniform, Uniform, draw, preset_space, space_of
from experiments.running.protocols import Fold, Protocol, holdout
from experiments.running.search import Search, best, search
from experiments.running.units import Variant
from qn_env.errors import ConfigError, QnError
from qn_env.sources.synthetic import noise

SPACE = {"a": Integer(1, 9), "b": LogUniform(1e-4, 1e-1), "c": Uniform(0.1, 0.9), "d": Choice((1, 2, 3))}
TINY = {"steps": 4, "epoch": 2, "batch": 2, "length": 5}


@pytest.fixture(scope="module")
def fold() -> Fold:
    return holdout(noise(markets=2, assets=2, days=600, seed=0))


def searches(trials: int = 3, **fixed: object) -> list[Search]:
    return [
        Search(label=name, variant=Variant(name), trials=range(trials), seed=7, fixed=TINY | fixed)
        for name in ("quantnet", "no-transfer-linear")
    ]


@given(seed=st.integers(0, 2**31), trial=st.integers(0, 10_000))
def test_a_draw_depends_on_seed_and_number_and_stays_in_its_range(seed, trial):
    found = draw(SPACE, seed=seed, trial=trial)
    assert found == draw(SPACE, seed=seed, trial=trial)
    assert 1 <= found["a"] <= 9
    assert 1e-4 <= found["b"] <= 1e-1
    assert 0.1 <= found["c"] <= 0.9
    assert found["d"] in (1, 2, 3)


@given(seed=st.integers(0, 2**31), trial=st.integers(0, 10_000))
def test_one_hyperparameter_more_leaves_the_draws_of_the_others_alone(seed, trial):
    less = {name: SPACE[name] for name in ("d", "b")}
    found = draw(less, seed=seed, trial=trial)
    assert found == {name: draw(SPACE, seed=seed, trial=trial)[name] for name in less}


def test_draws_fill_their_ranges_evenly():
    drawn = [draw(SPACE, seed=0, trial=k) for k in range(4000)]
    counts = np.bincount([d["a"] for d in drawn], minlength=10)[1:]
    assert counts.min() > 350  # of 444 expected
    logs = np.log10([d["b"] for d in drawn])
    assert np.mean(logs) == pytest.approx(-2.5, abs=0.05)  # the middle of -4 and -1
    assert np.mean([d["c"] for d in drawn]) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("name", "batch", "length", "rate", "more"),
    [
        ("no-transfer-linear", 128, 504, 1e-1, set()),
        ("no-transfer-lstm", 128, 504, 1e-1, {"layers", "dropout"}),
        ("quantnet-linear-linear", 128, 504, 1e-1, {"dimension"}),
        ("quantnet-linear-lstm", 96, 252, 5e-1, {"dimension", "transfer_layers", "transfer_dropout"}),
        ("quantnet", 96, 252, 5e-1, {"dimension", "layers", "dropout"}),
        (
            "quantnet-lstm-lstm",
            *(96, 252, 5e-1),
            {"dimension", "layers", "dropout", "transfer_layers", "transfer_dropout"},
        ),
    ],
)
def test_each_configuration_is_searched_over_its_column_of_table_3(name, batch, length, rate, more):
    space = space_of(make_agent(name), name)
    assert space["batch"] == Integer(16, batch)
    assert space["length"] == Integer(21, length)
    assert space["learning_rate"] == LogUniform(1e-4, rate)
    assert space.keys() - {"batch", "length", "learning_rate"} == more


@pytest.mark.parametrize("name", sorted(n for n in AGENTS if AGENTS[n].path == "agents.quantnet:QuantNet"))
def test_every_draw_is_a_valid_configuration(name):
    agent = make_agent(name)
    for trial in range(50):
        QuantNetConfig(**{**AGENTS[name].options, **draw(space_of(agent, name), seed=0, trial=trial)})
    assert quantnet2020(agent.config)["batch"].draw(np.random.default_rng(0)) > 0


def test_an_agent_without_a_space_is_refused():
    with pytest.raises(ConfigError, match="'macd' declares no search space"):
        space_of(make_agent("macd"), "macd")


@pytest.mark.parametrize(
    ("preset", "name"),
    [("quantnet2020", "quantnet"), ("dmn2019", "dmn-mlp-mse"), ("wood2022", "dmn-mlp-mse")],
)
def test_a_preset_is_the_space_of_its_paper(preset, name):
    agent = make_agent(name)
    found = preset_space(preset, agent, name)
    own = make_agent(name, options={} if preset == "quantnet2020" else {"search": preset})
    assert found == space_of(own, name)
    assert len(PRESETS) == 3


def test_a_preset_that_is_unknown_or_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match=r"unknown space 'dmn2109'. Did you mean 'dmn2019'\?"):
        preset_space("dmn2109", make_agent("macd"), "macd")
    with pytest.raises(ConfigError, match="is not one of agent 'quantnet'; fitting: quantnet2020"):
        preset_space("dmn2019", make_agent("quantnet"), "quantnet")
    with pytest.raises(ConfigError, match="is not one of agent 'macd'; none fits it"):
        preset_space("dmn2019", make_agent("macd"), "macd")


def test_a_search_over_a_preset_draws_from_it():
    one = Search(label="a", variant=Variant("dmn-lstm-sharpe"), trials=range(40), seed=0, preset="wood2022")
    drawn = [one.options(trial) for trial in one.trials]
    assert {d["batch"] for d in drawn} == {64, 128, 256}
    assert 160 in {d["hidden"] for d in drawn}


def test_an_interrupted_search_ends_with_the_same_trials(fold, tmp_path):
    whole = search(searches(), [fold], tmp_path / "whole", jobs=1)
    part = tmp_path / "part"
    search(searches(trials=1), [fold], part, jobs=1)
    again = search(searches(), [fold], part, jobs=1)
    plain = [{k: v for k, v in trial.items() if k != "seconds"} for trial in whole]
    assert plain == [{k: v for k, v in trial.items() if k != "seconds"} for trial in again]
    assert [t["trial"] for t in whole] == [0, 1, 2, 0, 1, 2]
    assert all(math.isfinite(t["score"]) for t in whole)
    assert not list(part.glob("*.training")), "states of finished trainings are removed"


def test_the_best_trial_is_the_highest_score_and_the_first_of_equal_ones():
    trials = [
        {"agent": "a", "window": "", "trial": k, "score": s} for k, s in enumerate([0.1, 0.4, 0.4, -1.0])
    ]
    assert best(trials, "a")["trial"] == 1
    with pytest.raises(QnError, match="every trial of b failed; the first said: broken"):
        best([{"agent": "b", "window": "", "trial": 0, "score": -math.inf, "error": "broken"}], "b")


def test_a_trial_that_fails_is_stored_and_counts(fold, tmp_path):
    broken = replace(searches(trials=2)[0], fixed={**TINY, "length": 0})
    found = search([broken], [fold], tmp_path, jobs=1)
    assert [t["score"] for t in found] == [-math.inf, -math.inf]
    assert "length is 0, expected at least 1" in found[0]["error"]


def test_another_budget_or_other_data_are_refused(fold, tmp_path):
    search(searches(trials=1), [fold], tmp_path, jobs=1)
    with pytest.raises(ConfigError, match="was tried with other options"):
        search(searches(trials=1, steps=6), [fold], tmp_path, jobs=1)
    other = holdout(noise(markets=2, assets=2, days=600, seed=1))
    with pytest.raises(ConfigError, match="was tried with other data"):
        search(searches(trials=1), [other], tmp_path, jobs=1)


def test_a_trial_is_one_file_with_what_it_takes_to_repeat_it(fold, tmp_path: Path):
    search(searches(trials=1), [fold], tmp_path, jobs=1)
    stored = json.loads((tmp_path / "quantnet-seed7-trial0.json").read_text())
    assert stored["data"][1:] == [fold.train.fingerprint, fold.select.fingerprint]
    assert {"learning_rate", "dropout", "dimension", "steps"} <= stored["options"].keys()


def test_every_window_is_searched_on_its_own_blocks(tmp_path):
    panel = noise(markets=1, assets=2, days=1500, seed=0)
    folds = Protocol(name="expanding", test_from="2003-01-01", years=2).folds(panel)
    found = search(searches(trials=2)[:1], folds, tmp_path, jobs=1)
    assert [(t["window"], t["trial"]) for t in found] == [
        (name, trial) for name in ("2003-2004", "2005-2005") for trial in (0, 1)
    ]
    assert found[0]["options"] == found[2]["options"], "a draw does not depend on the window"
    assert found[0]["score"] != found[2]["score"]
    assert best(found, "quantnet", "2005-2005")["window"] == "2005-2005"

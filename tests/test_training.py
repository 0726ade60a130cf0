"""The training loop: best weights, early stopping, going on after a kill, scalars, generators."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from agents.agent import AGENTS, settings_of
from agents.checkpoint import write_tensors
from agents.dmn import DeepMomentum
from agents.quantnet import QuantNet
from agents.training import Monitor, Training, global_seed, train
from agents.xtrend import XTrend
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, QnError
from qn_env.panel import Panel
from qn_env.sources.synthetic import noise

# Every registered agent that this loop trains, by its class; each epoch draws windows and dropout masks.
CLASSES = {
    "agents.quantnet:QuantNet": QuantNet,
    "agents.dmn:DeepMomentum": DeepMomentum,
    "agents.xtrend:XTrend": XTrend,
}
BRIEF = {
    QuantNet: {"steps": 24, "epoch": 4, "batch": 4, "length": 20, "dropout": 0.3, "patience": 99},
    DeepMomentum: {"epochs": 6, "batch": 16, "patience": 99},
    XTrend: {"epochs": 6, "batch": 32, "hidden": 4, "recent": 4, "dropout": 0.3, "patience": 99},
}
LEARNERS = sorted(name for name, entry in AGENTS.items() if entry.path in CLASSES)
EPOCHS = 6
every_learner = pytest.mark.parametrize("name", LEARNERS)


class KilledError(Exception):
    """What stops a training here."""


@lru_cache
def panel(seed: int = 0) -> Panel:
    return noise(markets=2, assets=2, days=400, seed=seed)


def make(name: str, **options) -> QuantNet | DeepMomentum | XTrend:
    cls = CLASSES[AGENTS[name].path]
    return cls(**{**AGENTS[name].options, **BRIEF[cls], **options})


def environment(agent: QuantNet | DeepMomentum | XTrend, panel: Panel, **options) -> TradingEnv:
    settings = settings_of(agent)
    return TradingEnv(panel, **{"window": settings.window, "features": settings.features, **options})


class Listener:
    """Remembers the epochs of a training, and stops it after one of them."""

    def __init__(self, stop: int | None = None) -> None:
        self.epochs: list[int] = []
        self.stop = stop

    def __call__(self, done: int, total: int) -> None:
        self.epochs.append(done)
        if done == self.stop:
            raise KilledError


def weights(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in network.state_dict().items()}


def fit(
    name: str,
    *,
    seed: int = 0,
    data: Panel | None = None,
    listener=None,
    kept=None,
    scalars=None,
    env=None,
    **options,
):
    """A learner's weights after a brief training, and how it went."""
    agent = make(name, **options)
    agent.monitor = Monitor(progress=listener or Listener(), checkpoints=kept, scalars=scalars)
    agent.fit(environment(agent, data or panel(), **(env or {})), seed=seed)
    return weights(agent.network), agent.training_


@lru_cache
def uninterrupted(name: str):
    return fit(name)


def assert_same(ours, theirs):
    assert list(ours[0]) == list(theirs[0])
    for name, value in ours[0].items():
        np.testing.assert_array_equal(value, theirs[0][name])
    assert ours[1] == theirs[1]


# Going on after a kill.


@every_learner
@pytest.mark.parametrize("stop", [1, 4])
def test_a_killed_training_goes_on_to_the_same_weights(name, stop, tmp_path):
    whole = uninterrupted(name)
    assert whole[1].epochs == EPOCHS
    first, second = Listener(stop=stop), Listener()
    with pytest.raises(KilledError):
        fit(name, kept=tmp_path, listener=first)
    again = fit(name, kept=tmp_path, listener=second)
    assert first.epochs == list(range(1, stop + 1))
    assert second.epochs == list(range(stop + 1, EPOCHS + 1))
    assert_same(again, whole)


@every_learner
def test_a_finished_training_is_not_repeated(name, tmp_path):
    again = Listener()
    fit(name, kept=tmp_path)
    found = fit(name, kept=tmp_path, listener=again)
    assert again.epochs == []
    assert_same(found, uninterrupted(name))
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]


def test_a_training_killed_after_every_epoch_ends_the_same(tmp_path):
    for epoch in range(1, EPOCHS + 1):
        with pytest.raises(KilledError):
            fit("quantnet", kept=tmp_path, listener=Listener(stop=epoch))
    found = fit("quantnet", kept=tmp_path)
    assert_same(found, uninterrupted("quantnet"))


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit("quantnet")
    assert list(tmp_path.iterdir()) == []


LONG = {"steps": 80, "epoch": 2}
CHILD = f"""
import sys
from pathlib import Path

import torch

torch.set_num_threads(1)
from test_training import fit

fit("quantnet", listener=lambda done, total: print(done, flush=True), kept=Path(sys.argv[1]), **{LONG})
"""


def test_a_killed_process_leaves_a_training_that_goes_on_to_the_same_weights(tmp_path):
    here = Path(__file__).resolve().parent
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(here.parent)},
    )
    with child:
        for line in child.stdout:
            if int(line) >= 3:
                break
        time.sleep(np.random.default_rng().uniform(0.0, 0.1))  # any moment will do
        child.kill()
    assert child.returncode == -signal.SIGKILL, "it was to be killed in the middle"
    second = Listener()
    found = fit("quantnet", kept=tmp_path, listener=second, **LONG)
    assert second.epochs[0] >= 4
    assert second.epochs[-1] == 40
    assert_same(found, fit("quantnet", **LONG))


@pytest.mark.parametrize("name", ["quantnet", "dmn-lstm-sharpe"])
@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"learning_rate": 1e-3},
        {"dropout": 0.15},
        {"data": 1},
        pytest.param({"env": {"cost_bps": 50.0}}, id="costs"),
        pytest.param({"env": {"vol_target": 0.1}}, id="target"),
        pytest.param({"env": {"start": "2000-06-01"}}, id="start"),
        pytest.param({"env": {"execution_lag": 1}}, id="lag"),
    ],
)
def test_another_training_does_not_go_on_from_it(name, other, tmp_path):
    options = {key: panel(value) if key == "data" else value for key, value in other.items()}
    listener = Listener()
    fit(name, kept=tmp_path)
    found = fit(name, kept=tmp_path, listener=listener, **options)
    once_more = fit(name, kept=tmp_path)
    assert listener.epochs == list(range(1, EPOCHS + 1))
    assert_same(found, fit(name, **options))
    assert_same(once_more, uninterrupted(name))


def test_another_validation_block_is_another_training(tmp_path):
    agent, listener = make("quantnet"), Listener()
    learn = environment(agent, panel().until(panel().dates[300]))
    for start in (panel().dates[301], panel().dates[350]):
        again = make("quantnet")
        again.monitor = Monitor(progress=listener, checkpoints=tmp_path)
        again.fit(learn, seed=0, validation=environment(agent, panel(), start=start))
    assert listener.epochs == 2 * list(range(1, EPOCHS + 1))


def test_another_training_block_is_another_training(tmp_path):
    """Judged on the same days, learnt from more of them."""
    agent, listener = make("quantnet"), Listener()
    held = environment(agent, panel(), start=panel().dates[301])
    for day in (250, 300):
        learn = environment(agent, panel().until(panel().dates[day]))
        again = make("quantnet")
        again.monitor = Monitor(progress=listener, checkpoints=tmp_path)
        again.fit(learn, seed=0, validation=held)
    assert listener.epochs == 2 * list(range(1, EPOCHS + 1))


# Going on with a new market.


def base(name: str, seed: int) -> QuantNet:
    agent = make(name)
    return agent.fit(environment(agent, panel().select(["M0"])), seed=seed)


def add(
    agent: QuantNet, listener: Listener, kept: Path | None = None, **options
) -> tuple[dict[str, np.ndarray], Training]:
    agent.monitor = Monitor(progress=listener, checkpoints=kept)
    agent.add_market(environment(agent, panel().select(["M1"])), seed=1, **options)
    return weights(agent.network), agent.training_


@pytest.mark.parametrize("name", ["quantnet", "quantnet-shared", "no-transfer-linear"])
def test_adding_a_market_goes_on_after_a_kill(name, tmp_path):
    second = Listener()
    with pytest.raises(KilledError):
        add(base(name, 0), Listener(stop=3), tmp_path)
    again = add(base(name, 0), second, tmp_path)
    assert second.epochs == [4, 5, 6]
    assert_same(again, add(base(name, 0), Listener()))


@pytest.mark.parametrize("other", ["weights", "start"])
def test_adding_a_market_to_another_network_does_not_go_on_from_it(other, tmp_path):
    seed, options = (7, {}) if other == "weights" else (0, {"like": "M0"})
    listener = Listener()
    add(base("quantnet", 0), Listener(), tmp_path)
    found = add(base("quantnet", seed), listener, tmp_path, **options)
    assert listener.epochs == list(range(1, EPOCHS + 1))
    assert_same(found, add(base("quantnet", seed), Listener(), **options))


# Damaged files.


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    """One bit of the last tensor."""
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


def without(prefix: str) -> Callable[[Path], None]:
    """Rewrites a file as a valid one that lacks some tensors."""

    def damage(path: Path) -> None:
        tensors = {name: value for name, value in load_file(path).items() if not name.startswith(prefix)}
        write_tensors(path, tensors, '{"epochs": 2, "best_epoch": 1, "best_score": 0.5}')

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(b"junk" * 100), id="junk"),
        pytest.param(cut, id="cut"),
        pytest.param(lambda path: save_file(load_file(path), path), id="no checksum"),
        pytest.param(lambda path: write_tensors(path, load_file(path)), id="no progress"),
        pytest.param(lambda path: write_tensors(path, load_file(path), "{"), id="no JSON"),
        pytest.param(flipped, id="one bit"),
        pytest.param(without("generator."), id="no generators"),
        pytest.param(without("network."), id="no network"),
    ],
)
def test_a_damaged_file_is_refused_by_name(damage, tmp_path):
    with pytest.raises(KilledError):
        fit("quantnet", kept=tmp_path, listener=Listener(stop=2))
    (path,) = tmp_path.iterdir()
    damage(path)
    with pytest.raises(ConfigError, match=rf"(?s){path.name}: (damaged|changed) .*remove it to"):
        fit("quantnet", kept=tmp_path)
    path.unlink()
    again = fit("quantnet", kept=tmp_path)
    assert_same(again, uninterrupted("quantnet"))


# The loop itself.


def walk(
    scores: Callable[[float], float] = lambda w: w,
    *,
    epochs: int = 9,
    patience: int = 99,
    steps: int = 1,
    loss: Callable[[torch.Tensor], torch.Tensor] = lambda w: -w.sum(),
    max_norm: float = 2.0,
    title: str = "walk",
    **monitor,
) -> tuple[float, Training]:
    """One weight that starts at 0 and that every step moves down the slope of its loss, by 1 as it stands."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    training = train(
        network,
        torch.optim.SGD(network.parameters(), lr=1.0),
        lambda _done: (loss(network.weight) for _ in range(steps)),
        lambda: scores(network.weight.item()),
        epochs=epochs,
        patience=patience,
        max_norm=max_norm,
        title=title,
        identity=title,
        generators={},
        monitor=Monitor(**monitor),
    )
    assert not network.training
    return network.weight.item(), training


def test_the_best_weights_are_kept_and_patience_ends_the_training():
    # After epoch k the weight is k; scores -9, -4, -1, 0 (best), -1, -4: two without a better one.
    found, training = walk(lambda w: -((w - 4.0) ** 2), patience=2)
    assert (found, training) == (4.0, Training(epochs=6, best_epoch=4, best_score=0.0))


def test_an_equal_score_is_not_better():
    assert walk(lambda _: 1.0, patience=3) == (1.0, Training(4, 1, 1.0))


def test_without_a_better_score_a_training_ends_after_its_epochs():
    assert walk(epochs=5) == (5.0, Training(5, 5, 5.0))


def test_a_score_that_is_no_number_is_never_the_best():
    found, training = walk(lambda w: math.nan if w > 2 else w, patience=3)
    assert (found, training) == (2.0, Training(5, 2, 2.0))
    assert walk(lambda _: math.nan, patience=3) == (0.0, Training(3, 0, -math.inf))


def test_every_step_is_clipped_to_the_norm_asked_for():
    assert walk(epochs=1, steps=4, loss=lambda w: -10.0 * w.sum(), max_norm=0.5)[0] == pytest.approx(2.0)
    assert walk(epochs=1, steps=4, loss=lambda w: -0.1 * w.sum(), max_norm=0.5)[0] == pytest.approx(0.4)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_refused(value):
    with pytest.raises(QnError, match=f"the training loss is {value}; lower the learning rate"):
        walk(loss=lambda w: w.sum() + value)


def test_a_training_that_stopped_early_stops_at_the_same_epoch_after_a_kill(tmp_path):
    whole = walk(lambda w: -abs(w - 2.0), patience=4)
    assert whole[1].epochs == 6
    with pytest.raises(KilledError):
        walk(lambda w: -abs(w - 2.0), patience=4, checkpoints=tmp_path, progress=Listener(stop=4))
    assert walk(lambda w: -abs(w - 2.0), patience=4, checkpoints=tmp_path) == whole


def jitter(stop: int | None = None, kept: Path | None = None) -> tuple[float, Training, list[float]]:
    """A weight led by chance, with momentum; `stop` kills it in the middle of an epoch, at that step."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    windows, masks = torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)
    drawn: list[float] = []

    def losses(_done):
        for _ in range(5):
            if len(drawn) == stop:
                raise KilledError
            aim = torch.randn(1, generator=windows) + torch.rand(1, generator=masks)
            drawn.append(aim.item())
            yield ((network.weight - aim) ** 2).sum()

    training = train(
        network,
        torch.optim.Adam(network.parameters(), lr=0.1, amsgrad=True),
        losses,
        lambda: network.weight.item(),
        epochs=6,
        patience=99,
        max_norm=1.0,
        title="jitter",
        identity="jitter",
        generators={"windows": windows, "masks": masks},
        monitor=Monitor(checkpoints=kept),
    )
    return network.weight.item(), training, drawn


def test_a_training_killed_in_the_middle_of_an_epoch_begins_that_epoch_anew(tmp_path):
    weight, training, drawn = jitter()
    with pytest.raises(KilledError):
        jitter(stop=13, kept=tmp_path)  # of 5 steps an epoch: the third step of the third
    again = jitter(kept=tmp_path)
    assert again == (weight, training, drawn[10:])


def test_a_listener_hears_every_epoch_and_the_total():
    heard = []
    walk(epochs=3, progress=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_a_training_ends_where_its_monitor_says_so_but_not_before_the_first_epoch():
    asked = []

    def ends(training: Training) -> bool:
        asked.append(training.epochs)
        return training.best_score >= 2.0

    assert walk(epochs=9, ends=ends)[1] == Training(2, 2, 2.0)
    assert asked == [1, 2]


# Scalars.


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows of a folder: value by epoch, by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return {tag: {e.step: e.value for e in found.Scalars(tag)} for tag in found.Tags()["scalars"]}


def test_scalars_of_every_epoch_are_recorded(tmp_path):
    walk(
        lambda w: -abs(w - 2.0),
        epochs=3,
        loss=lambda w: -4.0 * w.sum(),
        max_norm=1.0,
        title="walk seed 3",
        scalars=tmp_path,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["walk-seed-3"]
    # Before its step an epoch's weight is 0, 1, 2 and its loss -4 times that; the slope is 4 before clipping.
    found = scalars(tmp_path / "walk-seed-3")
    assert set(found) == {"validation_score", "loss", "gradient_norm"}
    assert found["validation_score"] == pytest.approx({1: -1.0, 2: 0.0, 3: -1.0}, abs=1e-5)
    assert found["loss"] == pytest.approx({1: 0.0, 2: -4.0, 3: -8.0}, abs=1e-5)
    assert found["gradient_norm"] == {1: 4.0, 2: 4.0, 3: 4.0}


@pytest.mark.parametrize("name", ["quantnet", "dmn-lstm-sharpe"])
def test_a_learners_validation_scores_are_recorded_also_across_a_kill(name, tmp_path):
    places = {"scalars": tmp_path / "scalars", "kept": tmp_path / "kept"}
    with pytest.raises(KilledError):
        fit(name, listener=Listener(stop=2), **places)
    _, training = fit(name, **places)
    (folder,) = (tmp_path / "scalars").iterdir()
    scores = scalars(folder)["validation_score"]
    assert list(scores) == list(range(1, EPOCHS + 1))
    assert max(scores, key=lambda epoch: scores[epoch]) == training.best_epoch
    assert scores[training.best_epoch] == pytest.approx(training.best_score)


def test_recording_changes_no_weight(tmp_path):
    found = fit("quantnet", scalars=tmp_path)
    assert_same(found, uninterrupted("quantnet"))


# Global generators.


def draws() -> tuple[float, float, float]:
    return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002 - what is tested


def test_seeded_starts_the_global_generators_and_puts_them_back():
    with global_seed(5):
        first = draws()
        outer = draws()
    with global_seed(5):
        assert draws() == first
        with pytest.raises(KilledError), global_seed(6):
            raise KilledError(draws())
        assert draws() == outer

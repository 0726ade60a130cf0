"""The benchmark of training runs, and the sides of each comparison take the same step."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agents.dmn import DmnConfig
from experiments.benchmarks.training import dmn, keras_step
from experiments.benchmarks.training.__main__ import main
from experiments.benchmarks.training.dmn_pass import fresh
from experiments.benchmarks.training.dmn_step import AgentStep, BareStep, trajectories
from experiments.benchmarks.training.memory import peak_gb
from experiments.benchmarks.training.panels import of_sizes, paper
from experiments.benchmarks.training.public import PublicStep
from experiments.benchmarks.training.step import DIMENSION, JointStep
from qn_env.errors import ConfigError
from qn_env.features import EwVolatility

SIZES = (2, 5, 3)
DMN = DmnConfig(hidden=7, dropout=0.0, batch=6)
# A stand-in for an interpreter with TensorFlow: it answers without measuring.
ANSWERS = """
request = json.loads(sys.stdin.readline())
assert request["features"] == 8 and request["dropout"] == 0.2, request
print(json.dumps({"keras": "3.0"}), flush=True)
for _ in sys.stdin:
    print(json.dumps({"as it is": 2.0, "with XLA": 4.0 * request["width"]}), flush=True)
"""


@pytest.fixture
def joint() -> JointStep:
    return JointStep(of_sizes(SIZES, 200), length=20, batch=6, cost_bps=0.0, device="cpu")


def public_of(panel) -> PublicStep:
    returns = {name: torch.tensor(market.compact(panel.returns)) for name, market in panel.markets.items()}
    return PublicStep(returns, dimension=DIMENSION, length=20, batch=6, rate=5e-3)


@pytest.fixture
def interpreter(tmp_path):
    def write(code: str):
        path = tmp_path / "interpreter"
        path.write_text(f"#!{sys.executable}\nimport json, sys\n{code}")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture(scope="module")
def given():
    # 600 days, 315 of them without inputs: the last window of an asset is padded.
    return trajectories(of_sizes((3,), 600), 20)


def test_both_sides_have_the_same_loss_and_gradient(joint):
    panel = of_sizes(SIZES, 200)
    public = public_of(panel)
    public.copy(joint.network)
    batch = joint.sample()
    joint.network.zero_grad()
    ours = -joint.objective(batch)
    ours.backward()
    histories = {name: panel.returns[:, market.columns] for name, market in panel.markets.items()}
    losses = []
    for name, episode in batch.items():
        windows = np.lib.stride_tricks.sliding_window_view(histories[name], 20, axis=0).transpose(0, 2, 1)
        earned = episode.next_returns.numpy()
        starts = [int(np.flatnonzero((windows == window).all((1, 2)))[0]) - 1 for window in earned]
        losses.append(public.loss(name, torch.tensor(starts)))
    theirs = torch.stack(losses).mean()
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4, abs=1e-4)
    for name, market in public.markets.items():
        for mine, other in zip(joint.network.own(name), market.parameters(), strict=True):
            torch.testing.assert_close(mine.grad.double(), other.grad, rtol=1e-3, atol=1e-3)


def test_steps_change_every_weight(joint):
    public = public_of(of_sizes(SIZES, 200))
    modules = [joint.network, public.omega, *public.markets.values()]
    before = [p.clone() for module in modules for p in module.parameters()]
    joint()
    public()
    after = [p for module in modules for p in module.parameters()]
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_bare_step_repeats_the_networks_calls_on_fixed_windows(joint):
    before = [p.clone() for p in joint.parameters]
    joint.bare()()
    assert not any(torch.equal(a, b) for a, b in zip(before, joint.parameters, strict=True))


def test_operations_are_those_of_the_layer_sizes():
    joint = JointStep(of_sizes((4,), 100), length=7, batch=3, cost_bps=0.0, device="cpu")
    # Encoder 4*10*(4+10), omega 10*10, decoder 4*4*(10+4), head 4*4; times 2, forward and twice backward.
    assert joint.flops() == 3 * 2 * (560 + 100 + 224 + 16) * 7 * 3
    matrices = sum(p.numel() for p in joint.parameters if p.ndim == 2)
    assert joint.flops() == 3 * 2 * matrices * 7 * 3


def test_the_quick_benchmark_fills_every_row(tmp_path, interpreter, capsys):
    out = tmp_path / "out.json"
    rows = main(["--quick", "--keras", str(interpreter(ANSWERS)), "--out", str(out)])
    record = json.loads(out.read_text())
    assert [row["what"] for row in record["rows"]] == [row.what for row in rows]
    printed = capsys.readouterr().out
    for row in rows:
        assert row.what in printed
        for figure in (row.ours, row.baseline, row.ratio):
            assert figure is not None
            assert np.isfinite(figure)
            assert figure > 0
    assert {row.baseline for row in rows if row.what.endswith("Keras as it is")} == {2.0}
    assert [row.baseline for row in rows if row.what.endswith("Keras with XLA")] == [80.0, 320.0]


def test_one_part_alone_and_without_keras_says_how_to_get_it(tmp_path, capsys):
    out = tmp_path / "out.json"
    rows = main(["--quick", "--only", "dmn", "--out", str(out)])
    assert list(json.loads(out.read_text())["config"]) == ["dmn"]
    assert not any("markets" in row.what for row in rows)
    assert all("CPU" in row.unit for row in rows)
    lacking = [row for row in rows if row.ratio is None]
    assert [row.what for row in lacking] == [f"LSTM step, width {w}, full dropout / Keras" for w in (20, 80)]
    assert all(row.ours and row.met is None and "pip install tensorflow-cpu" in row.note for row in lacking)


def test_an_interpreter_that_fails_is_named(given, interpreter):
    config = dmn.Config.quick(keras=interpreter("sys.exit(3)"))
    with pytest.raises(ConfigError, match=r"--keras: .* ended with code 3 .*pip install tensorflow-cpu"):
        dmn.keras_rows(given, 20, config)


def test_the_bare_lstm_step_has_the_agents_loss_and_gradient(given):
    batch = given.take(torch.arange(3, len(given), 2))
    assert not batch.pairs.counted.all()
    agent, bare = AgentStep(given, DMN), BareStep(batch, DMN)
    bare.network.load_state_dict(agent.network.state_dict())
    ours, theirs = agent.loss(batch), bare.loss()
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-4, abs=1e-4)
    ours.backward()
    theirs.backward()
    pairs = zip(agent.network.parameters(), bare.network.parameters(), strict=True)
    for mine, other in pairs:
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_lstm_steps_are_as_many_as_asked_for_and_change_every_weight(given, dropout):
    agent = AgentStep(given, DmnConfig(hidden=7, dropout=dropout, batch=6))
    bare = BareStep(given.take(torch.arange(6)), DMN)
    for step, counted in ((agent, agent.network), (bare, bare.network["lstm"])):
        shapes = []
        counted.register_forward_hook(lambda _module, read, _found, seen=shapes: seen.append(read[0].shape))
        before = [p.clone() for p in step.network.parameters()]
        step(3)
        assert shapes == [(6, 20, 8)] * 3
        after = list(step.network.parameters())
        assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_fresh_panel_computes_its_features_again():
    panel = of_sizes((2,), 100)
    before = panel.feature(EwVolatility())
    assert panel.feature(EwVolatility()) is before
    assert fresh(panel).feature(EwVolatility()) is not before
    np.testing.assert_array_equal(fresh(panel).feature(EwVolatility()), before)


def test_keras_is_trained_on_a_sharpe_ratio():
    # Mean 0.02, standard deviation 0.01: a daily ratio of 2. NumPy stands in for keras.ops.
    loss = keras_step.sharpe_loss(np, np.array([0.01, -0.03]), np.array([1.0, -1.0]))
    assert loss == pytest.approx(-2.0 * 252**0.5)


def test_keras_takes_every_batch_once():
    seen = []
    model = SimpleNamespace(train_on_batch=lambda inputs, returns: seen.append((inputs, returns)))
    keras_step.batch_by_batch(model, [1, 2, 3, 4], [5, 6, 7, 8], 2)
    assert seen == [([1, 2], [5, 6]), ([3, 4], [7, 8])]


def test_keras_answers_line_by_line(monkeypatch, capsys):
    request = {"width": 20, "batch": 8, "days": 5, "features": 8, "dropout": 0.2, "steps": 3}
    asked = []
    monkeypatch.setattr(keras_step, "ways", lambda **given: asked.append(given) or {"way": None})
    monkeypatch.setattr(keras_step, "cpu_seconds", lambda _work: 0.5)
    packages = SimpleNamespace(import_module=lambda name: SimpleNamespace(__version__=f"{name} 1"))
    monkeypatch.setattr(keras_step, "importlib", packages)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(request) + "\nagain\nagain\n"))
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    keras_step.main()
    versions, *figures = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert asked == [request]
    assert versions == {"tensorflow": "tensorflow 1", "keras": "keras 1"}
    # 3 steps of 8 sequences in half a second.
    assert figures == [{"way": 48.0}] * 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_rows_say_so(capsys):
    assert main(["--quick", "--device", "cuda"]) == []
    assert "no CUDA device" in capsys.readouterr().out


def test_the_memory_row_takes_steps():
    assert peak_gb({"paper": False, "length": 10, "batch": 2, "device": "cpu"}) > 0


def test_the_large_panel_is_the_papers():
    panel = paper(whole=True)
    assert (len(panel.markets), panel.shape[1]) == (58, 3103)

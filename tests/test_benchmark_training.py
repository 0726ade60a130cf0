"""The benchmark of the training step runs, and its two sides take the same step."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from experiments.benchmarks.training.__main__ import main
from experiments.benchmarks.training.memory import peak_gb
from experiments.benchmarks.training.panels import of_sizes, paper
from experiments.benchmarks.training.public import PublicStep
from experiments.benchmarks.training.step import DIMENSION, JointStep

SIZES = (2, 5, 3)


@pytest.fixture
def joint() -> JointStep:
    return JointStep(of_sizes(SIZES, 200), length=20, batch=6, cost_bps=0.0, device="cpu")


def public_of(panel) -> PublicStep:
    returns = {name: torch.tensor(market.compact(panel.returns)) for name, market in panel.markets.items()}
    return PublicStep(returns, dimension=DIMENSION, length=20, batch=6, rate=5e-3)


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


def test_the_quick_benchmark_fills_every_row(tmp_path, capsys):
    out = tmp_path / "out.json"
    rows = main(["--quick", "--out", str(out)])
    record = json.loads(out.read_text())
    assert [row["what"] for row in record["rows"]] == [row.what for row in rows]
    printed = capsys.readouterr().out
    for row in rows:
        assert row.what in printed
        for figure in (row.ours, row.baseline, row.ratio):
            assert figure is not None
            assert np.isfinite(figure)
            assert figure > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_rows_say_so(capsys):
    assert main(["--quick", "--device", "cuda"]) == []
    assert "no CUDA device" in capsys.readouterr().out


def test_the_memory_row_takes_steps():
    assert peak_gb({"paper": False, "length": 10, "batch": 2, "device": "cpu"}) > 0


def test_the_large_panel_is_the_papers():
    panel = paper(whole=True)
    assert (len(panel.markets), panel.shape[1]) == (58, 3103)

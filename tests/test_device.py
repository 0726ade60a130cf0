"""Networks trained on a device: whole trainings elsewhere, what is recorded, and what is refused where."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished import as_an_earlier_version, edit_json, small_panel, write_panel
from pretend import ELSEWHERE, Elsewhere, Pretending, pretend
from torch import Tensor, nn

from agents import Agent, make_agent
from agents.agent import class_of
from agents.device import placed, resolve
from agents.dmn import DeepMomentum
from agents.quantnet import QuantNet
from agents.training import Monitor, train
from experiments.cli import main
from experiments.commands.probes import Probes, units_of
from experiments.commands.search import SearchConfig, search_of
from experiments.papers.dmn.config import DmnStudy
from experiments.papers.quantnet.config import QuantNetStudy
from experiments.report import write_report
from experiments.running.protocols import holdout
from experiments.running.runner import plan_of, run
from experiments.running.search import Trial, search
from experiments.running.units import Unit, Variant
from experiments.settings.config import RunConfig
from experiments.storage.store import RunFolder
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, QnError
from qn_env.sources import ragged

SHORT: dict[str, dict[str, Any]] = {
    "DeepMomentum": {"epochs": 2},
    "SpatioTemporal": {"epochs": 2},
    "ClosedLoop": {"epochs": 2},
    "QuantNet": {"steps": 2, "epoch": 1, "batch": 4, "length": 21},
    "SharedSB3Agent": {"timesteps": 320, "accounts": 16},
    "SB3Agent": {"timesteps": 96, "n_steps": 32, "batch_size": 32},
    "DevicePPO": {"timesteps": 2000, "accounts": 16},
}
# Every network, loss, layout of the data and optimiser.
TRAININGS: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("dmn-linear-sharpe", {}),
    "mlp": ("dmn-mlp-mse", {}),
    "mlp with costs": ("dmn-mlp-average", {"train_cost_bps": 2.0}),
    "wavenet": ("dmn-wavenet-binary", {}),
    "wavenet with costs": ("dmn-wavenet-sharpe", {"train_cost_bps": 2.0}),
    "lstm": ("dmn-lstm-sharpe", {"split": "asset"}),
    "lstm without dropout": ("dmn-lstm-mse", {"dropout": 0.0, "train_cost_bps": 2.0}),
    "transformer": ("momentum-transformer", {"context": 10}),
    "lstm-patchtst": ("dmn-lstm-patchtst", {"context": 8}),
    "dlinear": ("dmn-dlinear", {}),
    "mamba2": ("dmn-mamba2", {}),
    "vsn-lstm": ("dmn-vsn-lstm", {}),
    "xlstm": ("dmn-xlstm", {}),
    "spatiotemporal": ("spatiotemporal", {}),
    "spatiotemporal-mlp": ("spatiotemporal-mlp", {"train_cost_bps": 2.0}),
    "rrl": ("rrl", {}),
    "closed mlp": ("dmn-mlp-closed", {}),
    "closed lstm": ("dmn-lstm-closed", {}),
    "quantnet": ("quantnet", {"train_cost_bps": 2.0, "aligned": True}),
    "quantnet linear": ("quantnet-linear-linear", {"lags": 3, "pooled": True}),
    "quantnet-shared": ("quantnet-shared", {"encoder": "linear"}),
    "no transfer": ("no-transfer-linear", {}),
    "ppo": ("ppo", {"batch_size": 64}),
    "sac": ("sac", {"learning_starts": 100, "batch_size": 32, "gradient_steps": 1}),
    "ppo-joint": ("ppo-joint", {}),
    "ppo-device": ("ppo-device", {}),
}
LATER = {"lstm-patchtst", "dlinear", "mamba2", "xlstm"}  # the variable selection stands for them
# Elsewhere these train as a population of one, and the fused LSTM of the CPU rounds otherwise than a loop.
ROUNDED = {name for name, (agent, _) in TRAININGS.items() if class_of(agent) in (DeepMomentum, QuantNet)} | {
    "closed lstm"
}
# Stable-Baselines3 says of small networks that a CPU is as fast.
SB3_SAYS = "ignore:You are trying to run .* on the GPU:UserWarning"
DAYS = {"QuantNet": 300}  # which reads no features that take a year and a quarter


class Told:
    """An agent of a user's with a device of its own."""

    def __init__(self, device: str = "elsewhere") -> None:
        self.device = device

    def fit(self, env, *, seed, validation=None):
        return self

    def reset(self):
        pass

    def act(self, observation):
        return np.full(observation["returns"].shape[1], 0.5)


class NotTold(Told):
    def __init__(self, **options: object) -> None:
        super().__init__()
        self.options = options


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cards, as far as Torch says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device.index}")


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


def made(name: str, **options: object) -> Agent:
    kind = class_of(name).__name__
    return make_agent(name, options={**SHORT[kind], **options})


def environment(agent: Any) -> TradingEnv:
    panel = ragged(sizes=(2, 1), days=DAYS.get(type(agent).__name__, 460), seed=0)
    asked = agent.settings
    return TradingEnv(
        panel,
        window=asked.window,
        features=asked.features,
        vol_target=asked.vol_target,
        cost_bps=asked.train_cost_bps,
    )


def network_of(agent: Any) -> nn.Module:
    for name in ("network", "trader", "policy"):
        if getattr(agent, name, None) is not None:
            found: nn.Module = getattr(agent, name)
            return found
    raise AssertionError("not trained")


def trained_elsewhere(name: str, **options: object) -> Any:
    with pytest.MonkeyPatch.context() as patch, Pretending() as mode:
        pretend(patch)
        agent: Any = made(name, **options)
        agent.fit(environment(agent), seed=3)
    assert mode.there > 100
    return agent


@pytest.mark.filterwarnings(SB3_SAYS)
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case in LATER else case for case in TRAININGS]
)
def test_a_training_elsewhere_gives_what_the_cpu_gives(case: str, tmp_path: Path) -> None:
    name, options = TRAININGS[case]
    here = made(name, **options)
    here = here.fit(environment(here), seed=3)
    there = trained_elsewhere(name, **options)
    theirs = network_of(there).state_dict()
    assert {value.device.type for value in theirs.values()} == {"cpu"}
    assert not any(isinstance(value, Elsewhere) for value in theirs.values())
    atol = 1e-4 if case in ROUNDED else 0.0
    for key, value in network_of(here).state_dict().items():
        torch.testing.assert_close(theirs[key], value, rtol=0.0, atol=atol)
    there.save(tmp_path / "there")
    here.save(tmp_path / "here")
    files = {path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("*.*")}
    for file in files if case not in ROUNDED else ():
        assert (tmp_path / "there" / file).read_bytes() == (tmp_path / "here" / file).read_bytes()


def test_what_belongs_to_a_new_market_is_learnt_elsewhere_too() -> None:
    def grown(agent: Any) -> Any:
        env = environment(agent)
        first, second = env.panel.markets
        agent.fit(env.like(panel=env.panel.select([first])), seed=0)
        return agent.add_market(env.like(panel=env.panel.select([second])), seed=1, steps=2)

    options: dict[str, object] = {"transfer": "linear", "encoder": "linear", "decoder": "linear"}
    here = grown(made("quantnet", **options))
    with pytest.MonkeyPatch.context() as patch, Pretending():
        pretend(patch)
        there = grown(made("quantnet", **options))
    ours, theirs = network_of(here), network_of(there)
    for (key, value), found in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(found, value, rtol=0.0, atol=1e-5, msg=key)
        assert found.requires_grad


class KilledError(Exception):
    pass


# Torch takes the pretended device for one without numbers, and copies all the same.
@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter:UserWarning")
def test_a_training_that_was_killed_on_one_device_goes_on_on_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(done: int, total: int) -> None:
        if done == 2:
            raise KilledError

    def fitted(agent: Any, kept: Path | None, progress: Any = lambda done, total: None) -> nn.Module:
        agent.monitor = Monitor(progress=progress, checkpoints=kept)
        agent.fit(environment(agent), seed=3)
        return network_of(agent)

    def agent() -> Any:
        return made("dmn-mlp-sharpe", epochs=4)

    monkeypatch.setattr("agents.population.loop.STORED_EVERY", 0.0)
    whole = fitted(agent(), None).state_dict()
    with pytest.MonkeyPatch.context() as patch, Pretending():
        pretend(patch)
        with pytest.raises(KilledError):
            fitted(agent(), tmp_path / "there", kill)
    with pytest.raises(KilledError):
        fitted(agent(), tmp_path / "here", kill)
    assert [path.name for path in (tmp_path / "there").iterdir()] == [
        path.name for path in (tmp_path / "here").iterdir()
    ]
    epochs: list[int] = []
    again = fitted(agent(), tmp_path / "there", lambda done, total: epochs.append(done))
    with pytest.MonkeyPatch.context() as patch, Pretending():
        pretend(patch)
        there = fitted(agent(), tmp_path / "here")
    assert epochs == [3, 4]
    for found in (again, there):
        for key, value in found.state_dict().items():
            torch.testing.assert_close(value, whole[key], rtol=0.0, atol=1e-5)


@pytest.mark.parametrize(("device", "steps"), [("cpu", 2), ("meta", 5)])
def test_a_loss_that_is_not_finite_is_refused_at_once_or_at_the_end_of_the_epoch(
    device: str, steps: int
) -> None:
    taken: list[int] = []
    with pytest.MonkeyPatch.context() as patch, Pretending():
        pretend(patch)
        network = nn.Linear(2, 1).to(device)

        def losses(_done: int) -> Iterator[Tensor]:
            for step in range(5):
                taken.append(step)
                yield network.weight.sum() * (math.nan if step == 1 else 1.0)

        with pytest.raises(QnError, match="the training loss is nan"):
            train(
                network,
                torch.optim.SGD(network.parameters(), lr=0.1),
                losses,
                lambda: 0.0,
                epochs=3,
                patience=3,
                max_norm=1.0,
                title="",
                identity="",
                generators={},
                monitor=Monitor(progress=lambda done, total: None),
            )
    assert len(taken) == steps


def test_the_pretended_device_refuses_what_a_card_would() -> None:
    """What the tests above would find."""
    x = torch.ones(3)
    with Pretending():
        y = x.to(ELSEWHERE)
        for mistake in (
            lambda: y + torch.zeros(3),
            lambda: y * torch.arange(3),
            lambda: torch.cat([y, x]),
            lambda: y.index_select(0, torch.tensor([0])),
            lambda: torch.where(x > 0, y, 0.0),
            lambda: y.numpy(),
            lambda: torch.empty_like(y).bernoulli_(0.5, generator=torch.Generator()),
        ):
            with pytest.raises(RuntimeError):
                mistake()
        assert (y + torch.tensor(1.0)).cpu().tolist() == [2.0, 2.0, 2.0]
        assert y[torch.tensor([0, 1])].sum().item() == 2.0


def test_a_network_comes_back_to_the_cpu_whatever_happens() -> None:
    network = nn.Linear(2, 1)

    def fail() -> None:
        with placed(network, ELSEWHERE):
            assert network.weight.is_meta
            raise KilledError

    with Pretending():
        with pytest.raises(KilledError):
            fail()
        assert network.weight.device.type == "cpu"


# Names.


@pytest.mark.usefixtures("no_card")
def test_without_a_card_auto_is_the_cpu_and_cuda_is_refused_with_what_was_found() -> None:
    assert resolve("cpu") == resolve("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:1"):
        says = rf"device is '{name}', which there is not: torch .* finds 0 devices\. .*, or take cpu"
        with pytest.raises(ConfigError, match=says):
            resolve(name)


@pytest.mark.usefixtures("cards")
def test_cards_are_counted_from_0_and_cuda_is_the_first() -> None:
    assert resolve("auto") == resolve("cuda") == torch.device("cuda", 0)
    assert resolve("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match=r"finds 2 devices\. Take one of cuda:0, cuda:1"):
        resolve("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:1 ", "meta", 0, None])
def test_another_name_is_refused_with_those_that_there_are(name: Any, tmp_path: Path) -> None:
    says = "expected cpu, cuda .*, cuda:N .* or auto"
    for refused in (
        lambda: resolve(name),
        lambda: make_agent("rrl", options={"device": name}),
        lambda: make_agent("ppo", options={"device": name}),
        lambda: RunConfig(device=name),
        lambda: Probes(device=name),
        lambda: SearchConfig(agent="rrl", out=tmp_path, device=name),
        lambda: DmnStudy(out=tmp_path, device=name),
    ):
        with pytest.raises(ConfigError, match=says):
            refused()


# Who is told.


def test_agents_are_told_where_their_constructor_has_the_parameter() -> None:
    told, plain = f"{__name__}:Told", f"{__name__}:NotTold"
    agent: Any = make_agent(told, device="cpu")
    assert agent.device == "cpu"
    assert Told().device == make_agent(told).device == "elsewhere"  # type: ignore[attr-defined]
    inside: Any = make_agent(f"{told}+mean:2+band:0.1", device="cpu")
    assert [member.device for member in inside.agent.members] == ["cpu", "cpu"]
    other: Any = make_agent(plain, device="cpu")
    assert (other.device, other.options) == ("elsewhere", {})
    given: Any = make_agent(told, options={"device": "mine"}, device="cpu")
    assert given.device == "mine"
    assert make_agent("macd", device="cpu") is not None


@pytest.mark.usefixtures("cards")
def test_units_tell_it_and_nothing_of_theirs_depends_on_it() -> None:
    unit = Unit("mine", Variant(f"{__name__}:Told"), 0, None, device="auto")
    agent: Any = unit.agent()
    assert agent.device == "cuda:0"
    assert unit.name == replace(unit, device="cpu").name
    for name in ("dmn-lstm-sharpe", "spatiotemporal", "rrl", "quantnet", "ppo", "ppo-joint"):
        learner: Any = Unit(name, Variant(name), 0, None, device="cuda:1").agent()
        assert learner.device == "cuda:1"
        assert "device" not in getattr(learner, "options", {})
        assert not hasattr(getattr(learner, "config", None), "device")


@pytest.mark.usefixtures("cards")
def test_trials_and_probes_are_the_same_on_any_device(tmp_path: Path) -> None:
    one = search_of(SearchConfig(agent="rrl", out=tmp_path, device="cuda:1"))
    assert one.device == "cuda:1"
    fold = holdout(small_panel())
    here, there = (Trial(replace(one, device=name), 0, fold, one.options(0)) for name in ("cpu", "cuda:1"))
    assert here.identity == there.identity
    assert here.name == there.name
    units = [units_of(Probes(agents=("rrl",), probes=("drift",), device=name)) for name in ("cpu", "cuda:1")]
    assert [unit.name for unit in units[0]] == [unit.name for unit in units[1]]
    built: Any = units[1][-1].builder()()
    assert built.device == "cuda:1"


def test_searches_and_studies_take_a_card_where_there_is_one_and_runs_where_they_are_told() -> None:
    assert SearchConfig(agent="rrl", out=Path("x")).device == "auto"
    study = QuantNetStudy(out=Path("x"))
    assert study.device == study.run_config(("macd",), 1, out="run").device == "auto"
    assert RunConfig().device == Probes().device == "cpu"


# The harness.


def test_the_device_is_recorded_and_a_run_goes_on_on_another(
    tmp_path: Path, cards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(agents=("macd", f"{__name__}:NotTold"), jobs=1, out=tmp_path / "run", device="cuda:1")
    panel = small_panel()
    folder = RunFolder(run(config, panel))
    record = folder.record()
    assert record["device"] == {"asked": "cuda:1", "used": "cuda:1", "card": "Card 1"}
    page = write_report(folder.path).read_text()
    assert "<dt>Trained on</dt><dd>cuda:1 (Card 1)</dd>" in page
    assert "--device cuda:1" in page
    variants = {label: Variant(label) for label in config.agents}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    elsewhere = replace(config, device="auto", resume=True)
    assert plan_of(elsewhere, variants, panel) == plan_of(config, variants, panel)
    assert run(elsewhere, panel) == folder.path


@pytest.mark.usefixtures("no_card")
def test_a_search_says_where_it_was(tmp_path: Path) -> None:
    data = write_panel(small_panel(), tmp_path / "data")
    argv = ["search", "--agent", "dmn-linear-sharpe", "--trials", "1", "--fixed", "epochs=1", "--jobs", "1"]
    assert main([*argv, "--panel", str(data), "--kind", "returns", "--out", str(tmp_path / "out")]) == 0
    best = json.loads((tmp_path / "out" / "best.json").read_text())
    assert best["device"] == {"asked": "auto", "used": "cpu", "card": None}
    (trial,) = (tmp_path / "out" / "trials").glob("*.json")
    assert "device" not in trial.read_text()


def test_the_page_of_an_earlier_run_says_nothing_of_it(tmp_path: Path) -> None:
    folder = run(RunConfig(agents=("macd",), jobs=1, out=tmp_path / "run"), small_panel())
    assert "<dt>Trained on</dt><dd>cpu</dd>" in write_report(folder).read_text()
    edit_json(folder / "run.json", lambda record: record.pop("device"))
    as_an_earlier_version(folder)
    assert "Trained on" not in write_report(folder).read_text()


@pytest.mark.usefixtures("no_card")
@pytest.mark.parametrize(
    "argv",
    [
        ["run", "--agents", "macd"],
        ["search", "--agent", "rrl", "--trials", "1"],
        ["probes", "--agents", "macd", "--quick"],
        ["paper", "quantnet", "--quick"],
        ["paper", "quantnet-table7", "--quick"],
        ["paper", "quantnet-search"],
        ["paper", "quantnet-transfer"],
        ["paper", "dmn", "--quick"],
    ],
    ids=lambda argv: " ".join(argv[:2]),
)
def test_a_card_that_there_is_not_ends_a_command_before_anything_is_written(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main([*argv, "--device", "cuda", "--out", str(tmp_path / "out")]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "device is 'cuda', which there is not: torch" in told
    assert "finds 0 devices" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("no_card")
def test_a_search_on_a_card_that_there_is_not_leaves_no_failed_trials(tmp_path: Path) -> None:
    one = replace(search_of(SearchConfig(agent="rrl", out=tmp_path, trials=1)), device="cuda")
    with pytest.raises(ConfigError, match="device is 'cuda'"):
        search([one], [holdout(small_panel())], tmp_path / "trials", jobs=1)
    assert not (tmp_path / "trials").exists()


@pytest.mark.usefixtures("no_card")
def test_an_agent_on_a_card_that_there_is_not_is_not_trained() -> None:
    for name in ("dmn-linear-sharpe", "spatiotemporal", "rrl", "no-transfer-linear", "ppo", "ppo-joint"):
        agent = made(name, device="cuda")
        with pytest.raises(ConfigError, match="device is 'cuda'"):
            agent.fit(environment(agent), seed=0)


def test_a_checkpoint_says_nothing_of_a_device(tmp_path: Path) -> None:
    for name in ("dmn-linear-sharpe", "no-transfer-linear"):
        agent: Any = made(name, device="auto")
        agent.fit(environment(agent), seed=0).save(tmp_path / name)
        assert "device" not in json.dumps(json.loads((tmp_path / name / "agent.json").read_text()))
        assert class_of(name).load(tmp_path / name).device == "cpu"  # type: ignore[attr-defined]

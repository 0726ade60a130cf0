"""`qn new-agent`: what it writes works, through every command that takes an agent."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from agents.agent import AGENTS, CONTRACT, register
from experiments.cli import main
from experiments.commands.agents import contract_in_words
from experiments.commands.new_agent import NewAgent
from experiments.running.terminal import EXIT_PIPE
from experiments.storage.store import RunFolder
from qn_env.errors import ConfigError
from qn_env.sources.synthetic import ragged

# A training of Stable-Baselines3 and what its audit plays take a minute.
KINDS = ("rule", "sklearn", "torch", pytest.param("sb3", marks=pytest.mark.slow))
WINDOWS = ["--protocol", "holdout", "--jobs", "1"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a small panel of one's own."""
    panel = ragged(sizes=(2, 1), days=1300, seed=1)
    names = [f"{market}-{asset}" for market, asset in zip(panel.market_of, panel.assets, strict=True)]
    prices = 100.0 * (1.0 + pd.DataFrame(panel.returns, columns=names)).cumprod()
    prices.insert(0, "date", panel.dates)
    (tmp_path / "data").mkdir()
    prices.to_csv(tmp_path / "data" / "prices.csv", index=False)
    meta = pd.DataFrame({"instrument": names, "market": list(panel.market_of)})
    meta.to_csv(tmp_path / "data" / "meta.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(place: Path, kind: str) -> str:
    """A new agent of that kind, with a short training; its import path."""
    name = f"Own{kind.capitalize()}"
    assert main(["new-agent", name, "--kind", kind]) == 0
    module = place / f"own_{kind}.py"
    text = module.read_text()
    module.write_text(
        text.replace("timesteps: int = 10_000", "timesteps: int = 128").replace("= 30)", "= 2)")
    )
    return f"own_{kind}:{name}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_agent_goes_through_every_command(
    place: Path, kind: str, capsys: pytest.CaptureFixture
) -> None:
    agent, data = written(place, kind), ["--panel", "data"]
    more = ["--seeds", "1", "--costs", "2", *WINDOWS]
    assert main(["run", "--agents", f"{agent},buy-and-hold", "--out", "a", *data, *more]) == 0
    assert main(["run", "--agents", f"{agent},macd", "--out", "b", *data, *more]) == 0
    board = RunFolder.of_finished(place / "a").leaderboard()
    assert set(board["agent"]) == {agent, "buy-and-hold"}
    assert board["sharpe"].notna().all()
    assert main(["compare", "a", "b"]) == 0
    assert agent in capsys.readouterr().out
    assert main(["audit", "--agent", agent, *data]) == 0
    assert main(["search", "--agent", agent, "--trials", "2", "--out", "s", *data, *WINDOWS]) == 0
    told = capsys.readouterr().out
    assert "2 trials, 0 failed" in told
    assert "Best, Sharpe ratio on the selection block net of 2 bps: trial" in told


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_test_passes(place: Path, kind: str) -> None:
    written(place, kind)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"test_own_{kind}.py"],
        cwd=place,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_agent_is_probed(place: Path, kind: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["probes", "--agents", written(place, kind), "--quick", "--jobs", "1"]) == 0
    assert f"own_{kind}" in capsys.readouterr().out


def test_nothing_is_overwritten_or_hidden(place: Path) -> None:
    assert main(["new-agent", "MyTrend", "--out", "mine"]) == 0
    assert {path.name for path in (place / "mine").iterdir()} == {"my_trend.py", "test_my_trend.py"}
    (place / "mine" / "my_trend.py").write_text("mine")
    assert main(["new-agent", "MyTrend", "--kind", "torch", "--out", "mine"]) == 1
    assert (place / "mine" / "my_trend.py").read_text() == "mine"
    for name, words in (
        ("trend", "expected the name of a class"),
        ("My-Trend", "expected the name of a class"),
        ("Agents", "would hide the module 'agents'"),
        ("Random", "would hide the module 'random'"),
    ):
        with pytest.raises(ConfigError, match=words):
            NewAgent(name)


def test_the_contract_is_told_and_every_agent_says_what_it_is(capsys: pytest.CaptureFixture) -> None:
    assert main(["agents", "--contract"]) == 0
    told = capsys.readouterr().out
    assert told.strip() == contract_in_words()
    assert all(part.name in told for part in CONTRACT)
    assert main(["agents"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(entry.about for entry in AGENTS.values())
    assert any(line.startswith("macd ") and line.endswith(AGENTS["macd"].about) for line in lines)


@pytest.mark.parametrize(
    ("argv", "missing", "extra"),
    [
        (["run", "--agents", "macd", "--out", "r"], ("plotly", "jinja2"), "report"),
        (["run", "--agents", "macd", "--out", "r", "--tensorboard"], ("tensorboard",), "tracking"),
        (["paper", "dmn", "--quick", "--out", "r"], ("matplotlib",), "report"),
        (["paper", "quantnet", "--quick", "--out", "r"], ("statsmodels",), "report"),
    ],
)
def test_a_missing_extra_is_named_before_anything_is_trained(
    argv: list[str],
    missing: tuple[str, ...],
    extra: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    def found(package: str) -> object:
        return None if package in missing else find_spec(package)

    monkeypatch.setattr("qn_env.extras.find_spec", found)
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 1
    told = capsys.readouterr()
    assert ", ".join(missing) in told.err
    assert f'pip install "qn-env[{extra}]"' in told.err
    assert list(tmp_path.iterdir()) == []


def test_the_version_and_a_completion_are_printed(capsys: pytest.CaptureFixture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"qn_env {version('qn-env')}\n"
    with pytest.raises(SystemExit) as ended:
        main(["--tyro-print-completion", "bash"])
    assert ended.value.code in (0, None)
    assert "complete" in capsys.readouterr().out


def test_output_that_nobody_reads_on_is_no_error() -> None:
    script = "import sys, experiments.cli as c; sys.exit(c.main(['agents']))"
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "{script}" | (exec 0<&-; sleep 1); exit ${{PIPESTATUS[0]}}'],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert (done.returncode, done.stderr) == (EXIT_PIPE, "")


def test_the_readme_has_the_contract() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    for part in CONTRACT:
        assert f"| `{part.name}` | {part.default or 'needed'} | {part.does} |" in readme


def test_an_agent_registered_without_a_word_shows_its_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("agents.agent.AGENTS", dict(AGENTS))
    register("mine", "my_agents:Mine")
    assert main(["agents"]) == 0
    assert "mine" in capsys.readouterr().out

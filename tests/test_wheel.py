"""The package as somebody installs it: a wheel, in an empty environment, used from an empty folder."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What is no Python and has to be in it.
CARRIED = (
    *(f"{package}/py.typed" for package in ("qn_env", "agents", "experiments")),
    "qn_env/sources/quantnet_table2.csv",
    "experiments/report/page.html.jinja",
    "experiments/artefacts/page.html.jinja",
    "experiments/artefacts/base.html.jinja",
    "experiments/open_benchmark/page.html.jinja",
    "experiments/open_benchmark/results/small.csv",
    "experiments/open_benchmark/results/small-scorecard.csv",
    "experiments/open_benchmark/results/small.json",
    "experiments/settings/configs/dmn2019.toml",
    "experiments/papers/dmn/published/exhibits.csv",
    "experiments/papers/quantnet/world.csv",
    "experiments/commands/templates/torch_agent.py",
)


def run(*command: str | Path, cwd: Path, code: int = 0) -> str:
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


@pytest.mark.slow
def test_the_wheel_carries_what_is_no_python(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert [name for name in CARRIED if name not in names] == []
    assert not [name for name in names if name.startswith("tests/")]


@pytest.mark.slow
def test_it_installs_into_an_empty_environment_and_runs_from_an_empty_folder(
    wheel: Path, tmp_path: Path
) -> None:
    home, here = tmp_path / "venv", tmp_path / "here"
    here.mkdir()
    run(sys.executable, "-m", "venv", home, cwd=here)
    pip = (home / "bin" / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt")
    qn = home / "bin" / "qn"
    run(*pip, wheel, cwd=here)
    assert run(qn, "--version", cwd=here).startswith("qn_env ")
    assert "macd" in run(qn, "agents", cwd=here)
    assert "The scorecard" in run(qn, "benchmark", "--show", cwd=here)
    refused = run(qn, "run", "--quick", "--out", "run", cwd=here, code=1)
    assert "needs the package matplotlib" in refused  # others come with packages that are needed anyway
    assert 'pip install "qn-env[report]"' in refused
    refused = run(qn, "panel", "download", "AAPL", "--out", "panel", cwd=here, code=1)
    assert 'pip install "qn-env[yahoo]"' in refused
    assert list(here.iterdir()) == []
    run(*pip, f"qn-env[report] @ file://{wheel}", cwd=here)
    told = run(qn, "run", "--quick", "--agents", "macd,dmn-linear-sharpe", "--out", "run", cwd=here)
    assert "Net of 2 bps" in told
    assert (here / "run" / "report.html").is_file()
    run(qn, "new-agent", "MyTrend", cwd=here)
    assert "my_trend:MyTrend" in run(
        qn, "run", "--quick", "--agents", "my_trend:MyTrend", "--out", "mine", cwd=here
    )

"""The README's code runs as it stands, in the order it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from experiments.cli import main
from experiments.open_benchmark.published import published
from experiments.open_benchmark.shown import SHORT, scorecard_table, summary

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
# Of the open benchmark's table: what the README shows, and how it is headed there.
SHOWN = ["Holdout", "On time", "Unseen, zero-shot", "Unseen, trained", "Deflated"]
HEADS = ["", "`holdout` [95%]", "on time", "`unseen`, zero-shot", "trained", "deflated"]
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the README's agent in it."""
    monkeypatch.chdir(tmp_path)
    [agent] = [block for block in BLOCKS if block.startswith("# my_agents.py")]
    (tmp_path / "my_agents.py").write_text(agent)
    return tmp_path


def test_every_python_block_runs(folder, capsys):
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
    assert (folder / "runs" / "reversal" / "results.parquet").exists()
    assert set(names["found"].table["agent"]) == {"my_agents:WeeklyReversal", "buy-and-hold"}
    assert names["position"].grad is not None


def test_the_agent_of_the_readme_runs_from_the_command_line(folder, capsys):
    [command] = re.findall(r"^qn (run --agents my_agents.*)$", README, flags=re.MULTILINE)
    assert main([*command.split(), "--jobs", "1"]) == 0
    assert "my_agents:WeeklyReversal" in capsys.readouterr().out
    assert (folder / "runs" / "reversal" / "report.html").exists()


def test_the_tables_of_the_open_benchmark_are_the_published_ones():
    results = published("small")
    table = summary(*results).shown
    figures = [[f"`{row['Agent']}`", *row[SHOWN]] for _, row in table.iterrows()]
    figures = [[*row[:3], row[3].partition(" ")[0], row[4].partition(" ")[0], *row[5:]] for row in figures]
    scores = [[f"`{row[0]}`", *row[1:]] for row in scorecard_table(results.scores).shown.to_numpy().tolist()]
    for head, rows in ((HEADS, figures), (list(SHORT), scores)):
        text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        heading = f"| {' | '.join(head)} |".replace("|  |", "| |")
        assert f"{heading}\n{'|---' * len(head)}|\n{text}\n" in README, f"README lacks\n{heading}\n{text}"


def test_an_agent_takes_twenty_lines():
    [agent] = [block for block in BLOCKS if block.startswith("# my_agents.py")]
    assert len([line for line in agent.splitlines() if line.strip()]) <= 20


def test_the_files_that_contributing_names_exist():
    root = Path(__file__).resolve().parents[1]
    table = (root / "CONTRIBUTING.md").read_text().partition("## What to touch")[2].partition("## Laws")[0]
    named = set(re.findall(r"`((?:qn_env|agents|experiments|tests)/[^`]*)`", table))
    assert len(named) > 15
    assert [path for path in sorted(named) if "NAME" not in path and not (root / path).exists()] == []

"""Configuration files: what they may say, what is refused, and what the command line replaces."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro

from experiments.commands.search import SearchConfig
from experiments.papers.dmn.config import DmnStudy
from experiments.papers.quantnet.config import QuantNetStudy
from experiments.settings.config import MONEY, NAMES, RunConfig
from experiments.settings.configfile import read_config, shipped_configs, with_config_file, write_config
from qn_env.errors import ConfigError

COMMANDS = {
    ("run",): RunConfig,
    ("search",): SearchConfig,
    ("paper", "quantnet"): QuantNetStudy,
    ("paper", "dmn"): DmnStudy,
}


@dataclass(frozen=True, kw_only=True)
class Sample:
    out: Path
    days: int = 1
    share: float = 0.5
    quick: bool = True
    kind: Literal["a", "b"] | None = "a"
    names: Annotated[tuple[str, ...], NAMES] = ("x",)
    costs: Annotated[tuple[float, ...], MONEY] = (1.0,)


def read(argv: list[str]) -> Sample:
    return tyro.cli(Sample, args=with_config_file(argv, {("sample",): Sample})[1:])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.toml", 'out="o"\ndays=-3\nshare=2\nquick=false\nnames=["p","q"]\ncosts=[0, 2.5]\nkind="b"\n'),
        (
            "c.json",
            '{"out":"o","days":-3,"share":2,"quick":false,"names":["p","q"],"costs":[0,2.5],"kind":"b"}',
        ),
    ],
)
def test_a_file_sets_every_option_and_flags_replace_it(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    wanted = Sample(
        out=Path("o"), days=-3, share=2.0, quick=False, kind="b", names=("p", "q"), costs=(0.0, 2.5)
    )
    assert read(["sample", "--config", str(path)]) == wanted
    assert read([f"--config={path}", "sample"]) == wanted
    found = read(["sample", "--days", "7", "--quick", "--config", str(path), "--costs", "4"])
    assert (found.days, found.quick, found.costs, found.share) == (7, True, (4.0,), 2.0)


def test_without_the_flag_the_command_line_is_as_it_was():
    assert with_config_file(["agents"], COMMANDS) == ["agents"]


def test_what_was_written_is_read_back(tmp_path):
    config = Sample(out=Path("o"), days=9, kind=None, quick=False, names=())
    write_config(tmp_path / "config.json", ["sample"], config)
    assert read(["sample", "--config", str(tmp_path / "config.json")]) == config


def test_the_configuration_of_a_run_survives(tmp_path):
    config = RunConfig(
        agents=("macd", "buy-and-hold"), costs=(0.0, 2.5), vol_target=0.15, seeds=3, quick=True
    )
    write_config(tmp_path / "config.json", ["run"], config)
    argv = with_config_file(["run", "--config", str(tmp_path / "config.json")], COMMANDS)
    assert tyro.cli(RunConfig, args=argv[1:]) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dais = 3", r"unknown key 'dais'. Did you mean 'days'\?"),
        ("days = 3.5", "days is 3.5, expected a whole number"),
        ("days = true", "days is True, expected a whole number"),
        ('share = "much"', "share is 'much', expected a number"),
        ("quick = 1", "quick is 1, expected true or false"),
        ("names = 'x'", "names is 'x', expected a list, each text"),
        ("costs = [1, 'x']", r"costs is \[1, 'x'\], expected a list, each a number"),
        ("kind = 'c'", "kind is 'c', expected one of 'a', 'b'"),
        ("out = 3", "out is 3, expected a path"),
        ("days = ", "not a readable TOML or JSON file"),
        ("command = 'paper dmn'", "is for qn paper dmn, not for qn sample"),
    ],
)
def test_a_file_that_cannot_be_used_names_file_key_and_what_was_expected(tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        read(["sample", "--config", str(path)])
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["run", "--config"], "--config needs a file, or one of dmn2019, quantnet2020"),
        (["run", "--config", "dmn2109"], r"no such file.* Did you mean 'dmn2019'\?"),
        (["run", "--config", "dmn2019"], "is for qn paper dmn, not for qn run"),
        (["agents", "--config", "dmn2019"], "stands behind a command that takes one: run, search, paper"),
        (["run", "--config", "a", "--config", "b"], "--config is given twice: a and b"),
    ],
)
def test_a_command_line_that_cannot_be_used_is_refused(argv, message):
    with pytest.raises(ConfigError, match=message):
        with_config_file(argv, COMMANDS)


def test_a_json_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps([1]))
    with pytest.raises(ConfigError, match="holds list, expected a table of names and values"):
        read_config(str(tmp_path / "c.json"), ["sample"], Sample)


def test_both_papers_come_with_the_package():
    assert shipped_configs() == ["dmn2019", "quantnet2020"]
    argv = with_config_file(["paper", "dmn", "--config", "dmn2019", "--out", "o"], COMMANDS)
    assert argv[:2] == ["paper", "dmn"]
    # The defaults of the study are the paper's.
    assert tyro.cli(DmnStudy, args=argv[2:]) == DmnStudy(out=Path("o"))
    argv = with_config_file(["paper", "quantnet", "--config", "quantnet2020", "--out", "o"], COMMANDS)
    found = tyro.cli(QuantNetStudy, args=argv[2:])
    assert (found.steps, found.draws) == (2000, 33)

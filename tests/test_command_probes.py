"""The command `qn probes`: what it runs, that it goes on where it was, what it prints and writes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import tyro

from agents.agent import AGENTS, make_agent
from experiments.commands.probes import Probes, probes, run, units_of
from experiments.probes import PROBES
from experiments.probes.controls import Oracle, constant_forecast
from experiments.probes.units import BLIND, ORACLE, ProbeUnit
from experiments.settings.config import DEFAULT_AGENTS
from qn_env.errors import ConfigError
from qn_env.storage import write_sealed


class Failing(Oracle):
    """An agent that cannot be trained."""

    def __init__(self) -> None:
        super().__init__(constant_forecast(0.0))

    def fit(self, env, *, seed, validation=None):
        raise ValueError("no luck")


def small(**changes) -> Probes:
    given = {"agents": ("sgn-returns",), "probes": ("trend",), "days": 300, "seeds": 2, "jobs": 1}
    return Probes(**{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"agents": ()}, "agents is empty"),
        ({"seeds": 0}, "seeds is 0, expected at least 1"),
        ({"seed": -1}, "seed is -1, expected at least 0"),
        ({"days": 0}, "days is 0, expected at least 1"),
        ({"jobs": 0}, "jobs is 0, expected at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        small(**changes)


def test_unknown_names_are_refused_before_anything_runs():
    with pytest.raises(ConfigError, match="Did you mean 'noise'"):
        units_of(small(probes=("nois",)))
    with pytest.raises(ConfigError, match="Did you mean 'macd'"):
        units_of(small(agents=("macdd",)))


def test_the_command_line_fills_the_settings_and_its_help_names_every_probe(capsys):
    words = "--agents macd,ppo --probes trend,noise --quick --seeds 4 --days 900 --jobs 1 --out there"
    assert tyro.cli(Probes, args=words.split()) == Probes(
        agents=("macd", "ppo"),
        probes=("trend", "noise"),
        quick=True,
        seeds=4,
        days=900,
        jobs=1,
        out=Path("there"),
    )
    with pytest.raises(SystemExit):
        tyro.cli(Probes, args=["--help"])
    shown = capsys.readouterr().out
    assert [name for name in PROBES if name not in shown] == []


def test_by_default_all_probes_and_the_agents_of_a_run_beside_both_controls():
    units = units_of(Probes())
    assert dict.fromkeys(unit.probe for unit in units) == dict.fromkeys(PROBES)
    of_trend = dict.fromkeys(unit.agent for unit in units if unit.probe == "trend")
    assert list(of_trend) == ["oracle", *sorted(DEFAULT_AGENTS, key=lambda name: name != "buy-and-hold")]
    assert {unit.seed for unit in units} == {0, 1, 2}
    of_noise = {unit.agent for unit in units if unit.probe == "noise"}
    assert of_noise == set(DEFAULT_AGENTS), "nobody knows anything about noise"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"trend": (8000, 4000), "regime": (2000, 6000), "transfer": (500, 4000)}),
        ({"quick": True}, {"trend": (2000, 1000), "regime": (2000, 6000), "transfer": (500, 4000)}),
        ({"days": 1000}, {"trend": (1000, 500), "regime": (1000, 3000), "transfer": (1000, 8000)}),
    ],
)
def test_test_days_are_in_proportion_to_the_days_learnt_from(changes, expected):
    units = units_of(Probes(agents=("macd",), probes=tuple(expected), **changes))
    assert {unit.probe: (unit.days, unit.test_days) for unit in units} == expected
    assert {unit.seed for unit in units} == ({0, 1} if changes.get("quick") else {0, 1, 2})


def test_a_units_file_says_all_that_its_figures_depend_on():
    unit = ProbeUnit("trend", "my.module:Agent", 3, 300, 150, quick=True)
    assert unit.name == "trend-my.module--Agent-300-150days-quick-seed3"


def test_a_table_is_printed_and_written_and_a_finished_unit_is_not_run_again(tmp_path, capsys):
    config = small(out=tmp_path / "new" / "folder")
    assert probes(config) == 0
    shown = capsys.readouterr().out
    assert "trend: AR(1) returns, coefficient 0.15" in shown
    assert "300 days to learn from, 150 to be judged on, 2 seeds." in shown
    assert "not comparable" not in shown
    rows = pd.read_csv(config.out / "probes.csv")
    expected = ["probe", "agent", "measure", "seeds", "value", "low", "high", "bar", "verdict"]
    assert list(rows.columns) == expected
    assert list(rows["agent"]) == ["oracle", "buy-and-hold", "sgn-returns"]
    assert (rows["seeds"] == 2).all()

    kept = config.out / "units" / "trend-sgn-returns-300-150days-seed0.json"
    write_sealed(kept, {"share of sides": 9.0})
    (config.out / "units" / "trend-sgn-returns-300-150days-seed1.json").unlink()
    assert probes(config) == 0
    again = pd.read_csv(config.out / "probes.csv").set_index("agent")["value"]
    before = rows.set_index("agent")["value"]
    assert again["sgn-returns"] > 3.0, "the mean of what was kept and what was run anew"
    assert again["oracle"] == before["oracle"]


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    units = units_of(small(agents=("sgn-returns",), seeds=1))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert run(units, tmp_path / name, jobs=1) == {}
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("a", "b"))
    assert first == second
    assert len(first) == 3


def test_a_failing_agent_is_named_and_the_others_go_on(capsys):
    config = small(agents=(f"{__name__}:Failing", "sgn-returns"), seeds=1)
    assert probes(config) == 1
    shown = capsys.readouterr().out
    assert f"failed: trend-{__name__}--Failing-300-150days-seed0: ValueError: no luck" in shown
    assert "sgn-returns" in shown


def test_a_quick_run_trains_quickly_and_says_that_it_is_not_comparable(monkeypatch, capsys):
    seen = []

    def spied(name, *, quick=False, **more):
        seen.append((name, quick))
        return make_agent(name, quick=quick, **more)

    monkeypatch.setattr("agents.agent.make_agent", spied)
    assert probes(small(quick=True, seeds=1)) == 0
    assert ("sgn-returns", True) in seen
    assert "! not comparable: a quick run" in capsys.readouterr().out


def test_no_agent_is_registered_under_the_name_of_a_control():
    assert ORACLE not in AGENTS
    assert BLIND in AGENTS

"""`qn new-agent`: a working agent of one's own to begin with, and its test."""

from __future__ import annotations

import keyword
import re
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

from tyro.conf import Positional

from experiments.settings.config import take_paths
from qn_env.checks import check_known, check_text
from qn_env.errors import ConfigError

Kind = Literal["rule", "sklearn", "torch", "sb3"]

# What a test builds the agent with, so that it trains in seconds.
SHORT: dict[Kind, str] = {"rule": "", "sklearn": "", "torch": "epochs=2", "sb3": "timesteps=128"}
TEST = '''"""The laws that every agent keeps, held against {name}."""

import numpy as np
import pytest

from agents import play
from agents.audit import audit_agent
from {module} import {name}
from qn_env import TradingEnv
from qn_env.sources import ragged

PANEL = ragged(sizes=(2, 1), days=900, seed=0)  # a synthetic panel; markets with holidays of their own
MARKED = PANEL.dates[700]  # the days before it are learnt from


def environment(agent, panel, **more):
    """What the harness plays the agent in."""
    asked = agent.settings
    more |= {{"window": asked.window, "features": asked.features, "vol_target": asked.vol_target}}
    return TradingEnv(panel, warmup=agent.warmup, **more)


def trained(seed=0):
    agent = {name}({short})
    return agent.fit(environment(agent, PANEL.until(MARKED)), seed=seed)


@pytest.fixture(scope="module")
def agent():
    return trained()


def test_it_plays_an_episode_and_forgets_it(agent):
    env = environment(agent, PANEL, start=MARKED)
    signals = play(agent, env)
    assert signals.shape == PANEL.shape
    assert np.abs(signals).max() <= 1.0
    assert signals.any(), "it never trades"
    np.testing.assert_array_equal(play(agent, env), signals)


def test_it_decides_the_same_in_one_pass_and_day_by_day(agent):
    if not hasattr(agent, "signals"):
        pytest.skip("it is always stepped")
    env = environment(agent, PANEL, start=MARKED)
    stepped, decided = play(agent, env)[:-1], env.tape.decides[:-1]  # on the last day nothing is decided
    np.testing.assert_allclose(agent.signals(PANEL)[:-1][decided], stepped[decided], atol=1e-12)


def test_the_same_seed_gives_the_same_signals(agent):
    env = environment(agent, PANEL, start=MARKED)
    np.testing.assert_array_equal(play(trained(), env), play(agent, env))


def test_it_does_not_know_the_future(agent):
    audit_agent(agent, environment(agent, PANEL, start=MARKED))


def test_it_comes_back_from_its_checkpoint(agent, tmp_path):
    if not hasattr(agent, "save"):
        pytest.skip("it leaves no checkpoint")
    agent.save(tmp_path / "checkpoint")
    again = {name}.load(tmp_path / "checkpoint")
    env = environment(agent, PANEL, start=MARKED)
    np.testing.assert_array_equal(play(again, env), play(agent, env))
'''


@dataclass(frozen=True)
class NewAgent:
    """Write a working agent of your own and its test, to be changed into what you have in mind."""

    name: Positional[str]
    """Of the class, as MyTrend; the file is my_trend.py."""

    kind: Kind = "rule"
    """rule: a formula; sklearn: a regression; torch: a network trained end to end on the Sharpe ratio; sb3:
    an algorithm of Stable-Baselines3."""

    out: Path = Path()
    """Folder of the two files."""

    def __post_init__(self) -> None:
        check_text("name", self.name)
        check_known("kind", self.kind, get_args(Kind))
        take_paths(self, "out")
        if not self.name.isidentifier() or keyword.iskeyword(self.name) or not self.name[0].isupper():
            raise ConfigError(f"name is {self.name!r}, expected the name of a class, as MyTrend.")
        taken = {*sys.stdlib_module_names, "agents", "experiments", "qn_env"}
        if self.module in taken:
            raise ConfigError(f"name is {self.name!r}, whose file would hide the module {self.module!r}.")

    @property
    def module(self) -> str:
        """The name of the file, without the ending.

        Examples:
            >>> NewAgent("MyTrend").module, NewAgent("PPO2Mix").module
            ('my_trend', 'ppo2_mix')
        """
        words = re.findall(r"[A-Z]+(?![a-z])[0-9]*|[A-Z][a-z0-9_]*|[a-z0-9_]+", self.name)
        return "_".join(word.strip("_").lower() for word in words)


def new_agent(config: NewAgent) -> int:
    """Write the two files and say what can be done with them."""
    from qn_env.storage import make_folder, write_atomically

    source = files("experiments.commands.templates").joinpath(f"{config.kind}_agent.py")
    code = source.read_text(encoding="utf-8").replace("MyAgent", config.name)
    test = TEST.format(name=config.name, module=config.module, short=SHORT[config.kind])
    folder = make_folder(config.out)
    wanted = {folder / f"{config.module}.py": code, folder / f"test_{config.module}.py": test}
    for path in wanted:
        if path.exists():
            raise ConfigError(f"{path}: exists already, and is left as it is. Choose another name or --out.")
    for path, text in wanted.items():
        write_atomically(path, text.encode())
        print(f"Written: {path}")
    agent = f"{config.module}:{config.name}"
    inside = f"cd {config.out} && " if config.out != Path() else ""
    print(
        f"""
{inside}python -m pytest test_{config.module}.py       # the laws that every agent keeps
{inside}qn run --agents {agent},buy-and-hold --out runs/{config.module}
{inside}qn audit --agent {agent} --refit
{inside}qn probes --agents {agent} --quick
{inside}qn search --agent {agent} --trials 20 --out searches/{config.module}
{inside}qn agents --contract                     # what else an agent may have"""
    )
    return 0

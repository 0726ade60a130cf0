"""`qn search`: what it writes and prints, guided searches, and searches that are killed again and again."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tyro

from agents.agent import make_agent
from agents.space import Choice, Integer, LogUniform, Uniform
from experiments.commands.search import SearchConfig, read_options, search_command
from experiments.running.executors import executor
from experiments.running.guided import EPOCHS_ALONE, TOGETHER, TRIALS_ALONE, Guide, guided_search, medians
from experiments.running.protocols import Protocol, holdout
from experiments.running.search import Search, search
from experiments.running.units import Variant
from experiments.statistics import recorded_trials
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, QnError
from qn_env.objectives import sharpe
from qn_env.sources import read_panel
from qn_env.sources.synthetic import noise
from qn_env.storage import read_sealed, write_sealed

# A user's agent: it learns nothing and is quick. What it says of itself has its maximum, 1, at x = 0.3 and no
# penalty; what it earns, since it looks ahead where it may, is most at x = 0.8.
AGENT = """
import time
from types import SimpleNamespace
import numpy as np
from agents.space import Choice, Uniform

class Tiny:
    warmup = 0
    space = {"x": Uniform(0.0, 1.0), "penalty": Choice((0.0, 0.5))}

    def __init__(self, x=0.5, penalty=0.0, seconds=0.0):
        if seconds < 0:
            raise ValueError("no time")
        self.x, self.penalty, self.seconds = x, penalty, seconds

    def fit(self, env, *, seed, validation=None):
        time.sleep(self.seconds)
        score = 1.0 - (self.x - 0.3) ** 2 - self.penalty
        self.training_ = SimpleNamespace(best_score=score, epochs=1, best_epoch=1)
        return self

    def reset(self):
        pass

    def act(self, observation):
        return np.zeros(observation["returns"].shape[1])

    def signals(self, panel):
        ahead = np.sign(np.vstack([np.nan_to_num(panel.returns)[1:], np.zeros(panel.shape[1])]))
        wrong = 5.0 * abs(self.x - 0.8)
        noise = np.random.default_rng(0).uniform(-1.0, 1.0, panel.shape)
        return (ahead + wrong * noise) / (1.0 + wrong)
"""
# A search as a process of its own: folder, trials, sampler, processes.
RUN = """
import sys
from experiments.commands.search import SearchConfig, search_command
from pathlib import Path
search_command(SearchConfig(
    out=Path(sys.argv[1]), trials=int(sys.argv[2]), sampler=sys.argv[3], jobs=int(sys.argv[4]),
    agent="tiny_agents:Tiny", panel=Path("panel"), kind="returns", fixed={"seconds": 0.02},
    protocol="expanding", test_from="2003-01-01", test_years=2,
))
"""


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working directory with an agent and a panel of two windows of an expanding protocol."""
    (tmp_path / "tiny_agents.py").write_text(AGENT)
    panel = noise(markets=1, assets=2, days=1500, seed=0)
    (tmp_path / "panel").mkdir()
    rows = [
        ",".join([str(day), *(repr(float(r)) for r in row)])
        for day, row in zip(panel.dates, panel.returns, strict=True)
    ]
    (tmp_path / "panel" / "returns.csv").write_text("\n".join(["date,a,b", *rows]) + "\n")
    (tmp_path / "panel" / "meta.csv").write_text("instrument,market\na,m\nb,m\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "tiny_agents", raising=False)
    return tmp_path


def config(place: Path, **more) -> SearchConfig:
    plain = {"agent": "tiny_agents:Tiny", "panel": place / "panel", "kind": "returns", "jobs": 1, "trials": 6}
    windows = {"protocol": "expanding", "test_from": "2003-01-01", "test_years": 2}
    return SearchConfig(**{**plain, **windows, "out": place / "out", **more})


def trials_of(folder: Path) -> dict[str, dict]:
    """The stored trials, each as it was sealed, without the seconds it took, which the seal is of too."""
    found = {path.name: read_sealed(path) for path in (folder / "trials").glob("*.json")}
    return {name: {k: v for k, v in one.items() if k != "seconds"} for name, one in found.items()}


def test_the_best_trial_of_every_window_is_written_and_named_last(place, capsys):
    assert search_command(config(place)) == 0
    stored = trials_of(place / "out")
    assert len(stored) == 12
    record = json.loads((place / "out" / "best.json").read_text())
    assert [winner["window"] for winner in record["best"]] == ["2003-2004", "2005-2005"]
    for winner in record["best"]:
        mine = sorted(
            (t for t in stored.values() if t["window"] == winner["window"]), key=lambda t: t["trial"]
        )
        top = max(mine, key=lambda t: t["score"])
        assert winner == {
            "agent": "tiny_agents:Tiny",
            "window": top["window"],
            "trial": top["trial"],
            "options": top["options"],
            "score": top["score"],
            "trials": 6,
            "failed": 0,
            "scores": [t["score"] for t in mine],
        }
        # What it earns decides, not what it says of itself.
        assert top == min(mine, key=lambda t: abs(t["options"]["x"] - 0.8))
        assert top != min(mine, key=lambda t: (t["options"]["x"] - 0.3) ** 2 + t["options"]["penalty"])
    first, second = record["best"]
    assert capsys.readouterr().out.splitlines()[-1] == (
        "Best, Sharpe ratio on the selection block net of 2 bps: "
        f"2003-2004 trial {first['trial']} ({first['score']:.3f}); "
        f"2005-2005 trial {second['trial']} ({second['score']:.3f})"
    )


@pytest.mark.parametrize(("cost", "late", "lag"), [(0.0, False, 0), (20.0, False, 1), (5.0, True, 0)])
def test_a_trial_is_scored_as_an_episode_of_the_selection_block_pays(place, cost, late, lag):
    out = place / "out"
    settings = {"protocol": "holdout", "cost": cost, "late": late, "execution_lag": lag}
    search_command(config(place, trials=2, **settings))
    panel = read_panel(place / "panel", kind="returns")
    fold = holdout(panel)
    for path in (out / "trials").glob("*.json"):
        trial = read_sealed(path)
        assert (trial["cost_bps"], trial["late"], trial["lag"]) == (cost, late, lag)
        agent = make_agent("tiny_agents:Tiny", options=trial["options"])
        decided = agent.signals(fold.select)
        if late:  # an episode with a lag of a day would begin to decide a day earlier
            begin = np.searchsorted(fold.select.dates, fold.select_start["m"])
            decided = np.vstack([decided[: begin - 2] * 0.0, [[0.0, 0.0]], decided[begin - 1 :]])
        env = TradingEnv(
            fold.select, window=1, cost_bps=cost, start=fold.select_start, execution_lag=lag + late
        )
        _, info = env.reset()
        net, done = [], False
        while not done:
            row = int(np.searchsorted(fold.select.dates, np.datetime64(info["date"])))
            _, reward, terminated, truncated, info = env.step(decided[row])
            done = terminated or truncated
            if np.datetime64(info["date"]) >= fold.select_start["m"]:
                net.append(reward)
        assert trial["score"] == pytest.approx(float(sharpe(np.array(net))), rel=1e-9)
    (winner,) = json.loads((out / "best.json").read_text())["best"]
    assert winner["score"] == max(winner["scores"])


def test_a_trial_that_never_trades_is_counted_as_failed(place):
    (place / "flat_agents.py").write_text(
        AGENT.replace("return (ahead + wrong * noise) / (1.0 + wrong)", "return 0.0 * noise")
    )
    with pytest.raises(QnError, match="never vary, so that they have no Sharpe ratio: it never traded"):
        search_command(config(place, agent="flat_agents:Tiny", trials=2))


def test_failed_trials_are_counted_by_what_deflates_the_winner(place):
    found = search_command(config(place, trials=2, protocol="holdout"))
    assert found == 0
    out = place / "out"
    path = next((out / "trials").glob("*trial0.json"))
    write_sealed(path, read_sealed(path) | {"score": None, "error": "broken"})
    search_command(config(place, trials=3, protocol="holdout"))
    (winner,) = json.loads((out / "best.json").read_text())["best"]
    assert (winner["trials"], winner["failed"], winner["scores"][0]) == (3, 1, None)
    scores = [-math.inf if score is None else score for score in winner["scores"]]
    number, variance = recorded_trials(scores)
    assert number == 3
    assert variance == pytest.approx(np.var([s / 252**0.5 for s in scores[1:]], ddof=1))


def test_a_search_without_a_single_good_trial_says_why(place):
    with pytest.raises(QnError, match=r"every trial of tiny_agents:Tiny failed; .*ValueError: no time"):
        search_command(config(place, fixed={"seconds": -1.0}))


def test_what_was_searched_with_can_be_fed_back(place):
    from experiments.settings.configfile import with_config_file

    asked = config(place, trials=1, fixed={"seconds": 0.0, "x": 0.25})
    search_command(asked)
    command, known = ["search", "--config", "out/config.json"], {("search",): SearchConfig}
    with pytest.raises(ConfigError, match="repeat its name: --trust tiny_agents:Tiny"):
        with_config_file(command, known)  # the file may be a stranger's
    command += ["--trust", "tiny_agents:Tiny"]
    argv = with_config_file(command, known)
    assert tyro.cli(SearchConfig, args=argv[1:]) == asked
    more = with_config_file([*command, "--trials", "2"], known)
    assert tyro.cli(SearchConfig, args=more[1:]).trials == 2


def test_options_are_read_from_one_word():
    text = "epochs=3,rate=1e-3,name=lstm,transfer=null,pooled=true"
    assert read_options(text) == {"epochs": 3, "rate": 1e-3, "name": "lstm", "transfer": None, "pooled": True}
    found = tyro.cli(SearchConfig, args=["--agent", "a", "--out", "b", "--fixed", text])
    assert found.fixed == read_options(text)
    with pytest.raises(ConfigError, match="'epochs', expected key=value"):
        read_options("epochs")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"trials": 0}, "trials is 0, expected at least 1"),
        ({"protocol": "hold"}, "unknown protocol 'hold'. Did you mean 'holdout'"),
        ({"embargo": -1}, "embargo is -1"),
        ({"vol_target": math.nan}, "vol_target is nan"),
    ],
)
def test_bad_settings_are_refused(place, more, text):
    with pytest.raises(ConfigError, match=text):
        config(place, **more)


def kill_while_searching(place: Path, *, kills: int, jobs: int, sampler: str = "random") -> None:
    """Kill the process group of a search at random moments; it ends with the same trials and winners."""
    trials = 5 * kills
    rng = np.random.default_rng(0)
    command = [sys.executable, "-c", RUN]

    def started(out: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*command, out, str(trials), sampler, str(jobs)],
            cwd=place,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    assert started("whole").wait() == 0
    folder = place / "cut" / "trials"
    for number in range(kills):
        # Two windows: 10 results for every kill, so that each hits a search under way.
        least = int(rng.integers(10 * number, 10 * number + 8))
        process = started("cut")
        while len(list(folder.glob("*.json"))) <= least:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.02))
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert started("cut").wait() == 0
    assert trials_of(place / "cut") == trials_of(place / "whole")
    assert len(trials_of(place / "cut")) == 2 * trials
    assert (place / "cut" / "best.json").read_bytes() == (place / "whole" / "best.json").read_bytes()


def test_a_search_killed_three_times_ends_with_the_same_trials(place):
    kill_while_searching(place, kills=3, jobs=1)


@pytest.mark.slow
def test_a_search_killed_twenty_times_ends_with_the_same_trials(place):
    kill_while_searching(place, kills=20, jobs=2)


@pytest.mark.slow
def test_a_guided_search_killed_again_and_again_ends_with_the_same_trials(place):
    pytest.importorskip("optuna")
    kill_while_searching(place, kills=5, jobs=1, sampler="tpe")


def test_a_guided_search_gives_the_same_trials_in_any_order_of_work(place):
    pytest.importorskip("optuna")
    folds = Protocol(name="expanding", test_from="2003-01-01", years=2).folds(
        noise(markets=1, assets=1, days=1500, seed=0)
    )

    def backwards(tasks):
        return executor(jobs=1)(tasks[::-1])

    def guided(trials: int, folder: str, execute):
        one = Search(
            label="tiny",
            variant=Variant("tiny_agents:Tiny"),
            trials=range(trials),
            seed=0,
            economics=None,
        )
        found = guided_search(one, folds, place / folder, execute=execute)
        assert [(t["window"], t["trial"]) for t in found] == [
            (fold.name, number) for fold in folds for number in range(trials)
        ]
        return [{k: v for k, v in trial.items() if k != "seconds"} for trial in found]

    whole = guided(14, "whole", executor(jobs=1))
    assert guided(14, "other", backwards) == whole
    guided(9, "cut", executor(jobs=1))
    assert guided(14, "cut", executor(jobs=1)) == whole, "it goes on with the options it would have asked for"


def test_a_guided_search_finds_better_options_than_chance(place):
    pytest.importorskip("optuna")
    panel = noise(markets=1, assets=1, days=1500, seed=0)
    (fold,) = Protocol().folds(panel)

    def late(sampler) -> float:
        """Mean score of the second half of the trials, over some seeds."""
        means = []
        for seed in range(3):
            one = Search(
                label="tiny",
                variant=Variant("tiny_agents:Tiny"),
                trials=range(40),
                seed=seed,
                economics=None,
            )
            found = sampler(one, place / f"{sampler.__name__}{seed}")
            means.append(np.mean([result["score"] for result in found[-20:]]))
        return float(np.mean(means))

    def guided(one: Search, folder: Path):
        return guided_search(one, [fold], folder, execute=executor(jobs=1))

    def drawn(one: Search, folder: Path):
        return search([one], [fold], folder, jobs=1)

    # By chance: 1 - E(x - 0.3)^2 - 0.25 = 1 - (1/12 + 0.04) - 0.25 = 0.627 on average.
    assert late(drawn) == pytest.approx(0.627, abs=0.1)
    assert late(guided) > 0.81, "half of the way to 1, the best there is"
    assert TOGETHER == 4


def test_every_distribution_is_asked_for_within_its_range():
    pytest.importorskip("optuna")
    space = {
        "a": Integer(1, 3),
        "b": LogUniform(1e-4, 1e-1),
        "c": Uniform(0.1, 0.9),
        "d": Choice(((1, 2), "word")),
    }
    guide = Guide(space, seed=0)
    found = []
    for number in range(30):
        found.append(guide.ask(number))
        guide.tell(number, -math.inf if number == 3 else float(number))
    assert {one["a"] for one in found} == {1, 2, 3}
    assert {one["d"] for one in found} == {(1, 2), "word"}
    assert all(1e-4 <= one["b"] <= 1e-1 and 0.1 <= one["c"] <= 0.9 for one in found)
    assert np.log10([one["b"] for one in found[:10]]).min() < -2.5


def test_a_distribution_that_optuna_does_not_know_is_refused():
    pytest.importorskip("optuna")

    class Odd:
        def draw(self, rng):
            return rng.integers(5) * 2 + 1

    with pytest.raises(ConfigError, match=r"odd is drawn from .* use the sampler random"):
        Guide({"odd": Odd()}, seed=0)


def test_the_bars_are_medians_of_the_trials_that_came_so_far():
    high, low = [3.0] * 9, [1.0] * 7
    curves = [high] * 5 + [low] * 4 + [[9.0] * 2]
    # Ten trials have the first two epochs, nine have seven; of the last two epochs only five know.
    assert medians(curves) == (*[-math.inf] * EPOCHS_ALONE, 3.0, 3.0)
    assert medians(curves[: TRIALS_ALONE - 1]) == medians([]) == ()


def test_a_pruned_search_gives_up_what_falls_behind_and_goes_on_with_the_same_trials(tmp_path):
    (fold,) = Protocol().folds(noise(markets=2, assets=2, days=800, seed=0))
    budget = {"steps": 24, "epoch": 2, "batch": 2, "length": 5, "patience": 12}

    def run(trials: int, folder: str):
        one = Search(
            label="q",
            variant=Variant("no-transfer-linear"),
            trials=range(trials),
            seed=0,
            fixed=budget,
            economics=None,
        )
        found = guided_search(
            one, [fold], tmp_path / folder, execute=executor(jobs=1), sampler="random", prune=True
        )
        return [{k: v for k, v in trial.items() if k != "seconds"} for trial in found]

    whole = run(16, "whole")
    assert [len(t["curve"]) for t in whole] == [t["epochs"] for t in whole]
    assert all(t["score"] == t["curve"][-1] for t in whole)
    early = whole[:TRIALS_ALONE]
    assert [t["epochs"] for t in early] == [12] * TRIALS_ALONE
    for trial in whole[TRIALS_ALONE:]:
        behind = [s < b for s, b in zip(trial["curve"], trial["bars"], strict=False)]
        assert trial["epochs"] == (behind.index(True) + 1 if True in behind else 12)
    assert any(t["epochs"] < 12 for t in whole)
    run(9, "cut")
    assert run(16, "cut") == whole

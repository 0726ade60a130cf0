"""Today's signals: those that the run itself, had it gone on, would have decided; and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agents.agent import Settings, load_agent, settings_of, signals_from, signals_of, warmup_of
from agents.sb3 import SharedSB3Agent
from experiments import RunConfig
from experiments.commands.signal import Signal, signal
from experiments.running.protocols import holdout
from experiments.running.runner import run
from experiments.running.today import _with_a_day_off, todays_signals
from experiments.running.units import Variant
from experiments.storage.positions import Positions, read_positions
from experiments.storage.store import RunFolder
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError, DataError, FileError
from qn_env.panel import Panel
from qn_env.sources import ragged
from qn_env.tape import Tape

USER_MODULE = '''
import numpy as np


class Follow:
    """A rule that keeps no checkpoint and acts day by day: the sign of all it has seen since reset."""

    learns = False

    def __init__(self, size=0.5):
        self.size = size

    def fit(self, env, *, seed, validation=None):
        return self

    def reset(self):
        self.total = 0.0

    def act(self, observation):
        self.total = self.total + np.where(observation["tradable"][-1] > 0, observation["returns"][-1], 0.0)
        return np.sign(self.total) * self.size


class Forgetful(Follow):
    """Learns, and keeps no checkpoint."""

    learns = True


class Half(Follow):
    """Fails with its second seed."""

    learns = True

    def fit(self, env, *, seed, validation=None):
        if seed:
            raise RuntimeError("no luck today")
        return self

    def save(self, folder):
        folder.mkdir(parents=True)

    @classmethod
    def load(cls, folder):
        return cls()
'''
FOLLOW, FORGETFUL, HALF = (f"signal_agents:{name}" for name in ("Follow", "Forgetful", "Half"))
TRUSTED = (FOLLOW, FORGETFUL, HALF)
VARIANTS = {
    "quantnet": Variant("quantnet", {"steps": 2, "epoch": 1, "patience": 1, "batch": 2, "length": 10}),
    "dmn": Variant("dmn-linear-sharpe", {"epochs": 1, "patience": 1}),
    "follow": Variant(FOLLOW, {"size": 0.25}),
    "forgetful": Variant(FORGETFUL),
    "half": Variant(HALF),
}
PLAYED = ("quantnet", "dmn", "follow", "macd")
# The last row of a panel, and who does not trade on its market's last day: none; one that is halted, before a
# holiday of its market; two that are halted; one that is delisted, before a holiday.
CLOSED = {1200: set(), 1294: {("M0", "A1")}, 1329: {("M0", "A1"), ("M2", "A1")}, 1454: {("M2", "A0")}}


@pytest.fixture(scope="module")
def whole() -> Panel:
    """The data as they will be one day: three markets with holidays, halts and delistings."""
    return ragged(sizes=(2, 1, 3), days=1500, seed=9)


@pytest.fixture(scope="module")
def past(whole: Panel) -> Panel:
    """What the run had."""
    return whole.until(whole.dates[1200])


@pytest.fixture(scope="module")
def folder(past: Panel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A finished run of two learnt agents, two rules, and two that cannot be used."""
    home = tmp_path_factory.mktemp("signal")
    (home / "signal_agents.py").write_text(USER_MODULE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.syspath_prepend(home)
        config = RunConfig(
            agents=(*PLAYED, "forgetful", "half"), seeds=2, costs=(0.0,), jobs=1, out=home / "run"
        )
        yield RunFolder(run(config, past, variants=VARIANTS))
    sys.modules.pop("signal_agents", None)


@pytest.fixture(scope="module")
def memories(past: Panel, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of agents that remember what they decided."""
    variants = {
        "closed": Variant("dmn-lstm-closed", {"epochs": 1, "hidden": 3}),
        "banded": Variant("macd+band:0.3"),
        "shared": Variant("ppo", {"timesteps": 1, "options": {"n_steps": 2}}),
    }
    home = tmp_path_factory.mktemp("memories")
    config = RunConfig(agents=tuple(variants), seeds=1, costs=(0.0,), jobs=1, out=home / "run")
    with pytest.MonkeyPatch.context() as patch:
        # Who earns nothing on the validation block stays flat, as most do after so short a training.
        patch.setattr(SharedSB3Agent, "_score", lambda *_: 1.0)
        return RunFolder(run(config, past, variants=variants))


def agent_of(folder: RunFolder, label: str, seed: int) -> Any:
    about = folder.record()["agents"][label]
    if label == "follow":
        return sys.modules["signal_agents"].Follow(size=0.25)
    return load_agent(about["agent"], folder.unit(f"{label}-seed{seed}") / "checkpoint")


def environment(agent: Any, panel: Panel, past: Panel) -> TradingEnv:
    """Played as in the run, from its test block on."""
    asked = settings_of(agent)
    return TradingEnv(
        panel,
        window=asked.window,
        features=asked.features,
        vol_target=asked.vol_target,
        start=holdout(past).test_start,
        warmup=warmup_of(agent),
    )


@pytest.mark.parametrize("label", PLAYED)
@pytest.mark.parametrize("days", CLOSED)
def test_signals_and_weights_are_those_of_a_run_that_goes_on(
    folder: RunFolder, whole: Panel, past: Panel, label: str, days: int
) -> None:
    cut = whole.until(whole.dates[days])
    table = todays_signals(folder, label, cut, trust=TRUSTED)
    assert list(zip(table["market"], table["asset"], strict=True)) == list(
        zip(whole.market_of, whole.assets, strict=True)
    )
    seeds = folder.record()["agents"][label]["seeds"]
    played = {seed: _weights(agent_of(folder, label, seed), whole, past) for seed in seeds}
    for j, found in table.iterrows():
        own = cut.dates[cut.markets[found["market"]].rows]
        assert found["date"] == str(own[-1])
        row = int(np.searchsorted(whole.dates, own[-1]))
        assert found["trades"] == whole.tradable[row, j]
        if not found["trades"]:
            assert np.isnan(found[["signal", "weight"]].astype(float)).all()
            continue
        each = [signals[row, j] for signals, _ in played.values()]
        np.testing.assert_allclose(found["signal"], np.mean(each), rtol=1e-15)
        if len(seeds) > 1:
            assert [found[f"signal_seed{seed}"] for seed in seeds] == each
        held = [weights[row, j] for _, weights in played.values()]
        np.testing.assert_allclose(found["weight"], np.mean(held), rtol=1e-12)
    assert table["signal"].abs().sum() > 0.0
    closed = table[~table["trades"]]
    assert set(zip(closed["market"], closed["asset"], strict=True)) == CLOSED[days]
    assert ("signal_seed1" in table) == (len(seeds) > 1)


def _weights(agent: Any, whole: Panel, past: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Signals [T, N] on the longer panel, and the weights that the environment holds after each close."""
    env = environment(agent, whole, past)
    signals = signals_of(agent, whole, env)
    env.reset()
    weights, over = np.zeros(whole.shape), False
    while not over:
        row = env.row
        _, _, terminated, truncated, _ = env.step(signals[row])
        weights[row] = env.positions
        over = terminated or truncated
    return signals, weights


def test_one_seed_is_asked_for_by_its_number(folder: RunFolder, past: Panel) -> None:
    both, one = todays_signals(folder, "quantnet", past), todays_signals(folder, "quantnet", past, seed=1)
    np.testing.assert_array_equal(one["signal"], both["signal_seed1"])
    assert "signal_seed1" not in one
    with pytest.raises(
        ConfigError, match=r"agent 'quantnet', seed 7: the run did not train it\. Seeds: 0, 1\."
    ):
        todays_signals(folder, "quantnet", past, seed=7)


def test_a_market_that_was_never_seen_is_named_and_taken_by_who_takes_any(
    folder: RunFolder, past: Panel
) -> None:
    new = ragged(sizes=(1,), days=1500, seed=4).until(past.dates[-1])
    more = joined(past, replace(new, market_of=("NEW",)))
    with pytest.raises(ConfigError, match=r"market 'NEW' was never seen by 'quantnet'.*--exclude 'NEW'"):
        todays_signals(folder, "quantnet", more)
    for label in ("dmn", "follow", "macd"):
        before, found = (todays_signals(folder, label, panel, trust=TRUSTED) for panel in (past, more))
        assert found["market"].tolist() == [*past.market_of, "NEW"]
        pd.testing.assert_frame_equal(found[:-1], before)


def joined(a: Panel, b: Panel) -> Panel:
    """Two panels side by side on their union calendar."""
    dates = np.union1d(a.dates, b.dates)
    returns = np.full((len(dates), a.shape[1] + b.shape[1]), np.nan)
    tradable = np.zeros(returns.shape, dtype=bool)
    for panel, columns in ((a, slice(None, a.shape[1])), (b, slice(a.shape[1], None))):
        rows = np.searchsorted(dates, panel.dates)
        returns[rows, columns], tradable[rows, columns] = panel.returns, panel.tradable
    names, markets = (*a.assets, *b.assets), (*a.market_of, *b.market_of)
    return Panel.build(dates, names, markets, returns, tradable=tradable)


def test_a_trained_market_or_asset_that_is_missing_is_named(folder: RunFolder, past: Panel) -> None:
    with pytest.raises(
        ConfigError, match=r"market 'M1' is not in the panel, and 'quantnet' was trained with"
    ):
        todays_signals(folder, "quantnet", past.select(["M0", "M2"]))
    fewer = replace(
        past,
        assets=past.assets[:-1],
        market_of=past.market_of[:-1],
        returns=past.returns[:, :-1],
        tradable=past.tradable[:, :-1],
    )
    with pytest.raises(ConfigError, match=r"market 'M2' has the assets A0, A1, expected .*: A0, A1, A2\."):
        todays_signals(folder, "quantnet", fewer)
    renamed = replace(past, assets=(*past.assets[:-1], "B9"))
    with pytest.raises(ConfigError, match=r"market 'M2' has the assets A0, A1, B9, expected"):
        todays_signals(folder, "quantnet", renamed)


def test_markets_in_another_order_are_brought_into_that_of_the_training(
    folder: RunFolder, past: Panel
) -> None:
    found = todays_signals(folder, "quantnet", past.select(["M2", "M0", "M1"]))
    pd.testing.assert_frame_equal(found, todays_signals(folder, "quantnet", past))


def test_a_panel_older_than_the_run_is_refused(folder: RunFolder, past: Panel) -> None:
    with pytest.raises(ConfigError, match=r"the panel ends on .*, older than the model's data, which end on"):
        todays_signals(folder, "macd", past.until(past.dates[-2]))
    own = past.dates[past.markets["M1"].rows]
    stale = past.until({name: own[-40] if name == "M1" else past.dates[-1] for name in past.markets})
    with pytest.raises(ConfigError, match=rf"market 'M1' ends on {own[-40]}, older than the model's data"):
        todays_signals(folder, "macd", stale)


def test_agents_that_are_unknown_that_failed_or_left_no_checkpoint_are_refused(
    folder: RunFolder, past: Panel, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"no agent 'quantnett'\. Did you mean 'quantnet'\?"):
        todays_signals(folder, "quantnett", past)
    with pytest.raises(ConfigError, match=r"forgetful-seed0/checkpoint: not found, and agent .* learns"):
        todays_signals(folder, "forgetful", past, trust=TRUSTED)
    assert (
        len(todays_signals(folder, "half", past, trust=TRUSTED)) == past.shape[1]
    )  # with the seed that finished
    with pytest.raises(ConfigError, match=r"agent 'half', seed 1: RuntimeError: no luck today\. Seeds: 0\."):
        todays_signals(folder, "half", past, seed=1)
    with pytest.raises(ConfigError, match=r"agent 'half' failed in the run: on a day"):
        todays_signals(_peeked(folder, tmp_path), "half", past)


def _peeked(folder: RunFolder, place: Path) -> RunFolder:
    """The record of the run, had the failing seed been caught looking ahead."""
    record = folder.record()
    record["failed"] = [f | {"kind": "LookAheadError", "error": "on a day"} for f in record["failed"]]
    found = RunFolder(place)
    found.write_record(record)
    found.finish()
    return found


def write_panel(panel: Panel, folder: Path) -> Path:
    """One file of returns per market."""
    folder.mkdir()
    for name, market in panel.markets.items():
        frame = pd.DataFrame(market.compact(panel.returns), columns=list(market.assets))
        frame.insert(0, "date", panel.dates[market.rows])
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


def test_the_command_prints_the_table_and_writes_it(
    folder: RunFolder, whole: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write_panel(whole, tmp_path / "panel")
    asked = Signal(run=folder.path, agent="macd", panel=place, kind="returns", out=tmp_path / "today.csv")
    signal(asked)
    printed = capsys.readouterr().out
    assert "Research, not investment advice." in printed
    written = pd.read_csv(tmp_path / "today.csv")
    assert written["asset"].tolist() == list(whole.assets)
    shown = [line.split() for line in printed.splitlines() if line.strip().startswith("M")]
    assert [line[:3] for line in shown] == written[["market", "asset", "date"]].to_numpy().tolist()
    for line, (_, row) in zip(shown, written.iterrows(), strict=True):
        assert line[5] == (f"{row['weight']:.4f}" if row["trades"] else "-")


def test_data_that_do_not_go_on_from_those_of_the_run_are_said_to(
    folder: RunFolder, past: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    revised = replace(past, returns=past.returns * 1.01)
    for panel, noted in ((past, False), (revised, True)):
        place = write_panel(panel, tmp_path / f"panel{noted}")
        signal(Signal(run=folder.path, agent="macd", panel=place, kind="returns"))
        assert ("the panel is not the data of the run" in capsys.readouterr().out) == noted


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such run folder"):
        signal(Signal(run=tmp_path / "none", agent="macd"))
    with pytest.raises(
        ConfigError, match=r"holds no run\.json with a manifest\.sha256, expected a finished run"
    ):
        signal(Signal(run=tmp_path, agent="macd"))


# Positions that somebody holds.


def held_by_the_agent(folder: RunFolder, label: str, panel: Panel) -> np.ndarray:
    """[N] weights of the one seed before the panel's last day, had it traded the panel."""
    agent = agent_of(folder, label, 0)
    before = panel.until(panel.dates[-2])
    signals = signals_of(agent, before, environment(agent, before, panel.until(panel.dates[1200])))
    scale = Tape.of(before, vol_target=settings_of(agent).vol_target).scale
    rows = [np.flatnonzero(before.tradable[:, j])[-1] for j in range(before.shape[1])]
    columns = np.arange(before.shape[1])
    return signals[rows, columns] * scale[rows, columns]


def positions_of(panel: Panel, weight: np.ndarray, day: object) -> Positions:
    return Positions(weight, np.full(len(weight), np.datetime64(str(day)), dtype="datetime64[D]"))


@pytest.mark.parametrize("label", ["closed", "banded", "shared"])
def test_who_holds_what_the_agent_would_hold_is_told_what_the_agent_would_do(
    memories: RunFolder, whole: Panel, label: str
) -> None:
    panel = whole.until(whole.dates[1203])
    today = panel.tradable[-1]
    assert today.sum() == 5
    held = held_by_the_agent(memories, label, panel)
    alone = todays_signals(memories, label, panel, seed=0)
    told = todays_signals(
        memories, label, panel, seed=0, positions=positions_of(panel, held, panel.dates[-2])
    )
    np.testing.assert_allclose(told["weight"][today], alone["weight"][today], rtol=0, atol=1e-6)
    np.testing.assert_allclose(told["trade"], told["weight"] - held, atol=1e-12)
    flat = todays_signals(
        memories, label, panel, seed=0, positions=positions_of(panel, 0.0 * held, panel.dates[-2])
    )
    assert not np.allclose(flat["weight"][today], alone["weight"][today], atol=1e-4), (
        "what is held makes no difference"
    )


def test_an_agent_that_looks_at_its_positions_is_shown_those_of_the_file(whole: Panel) -> None:
    class Half:
        """Goes half of the way from what it holds to full."""

        settings = Settings(window=1)

        def fit(self, env: TradingEnv, **_: Any) -> Any:
            return self

        def reset(self) -> None:
            pass

        def act(self, observation: Any) -> Any:
            return 0.5 * observation["positions"] + 0.5

    panel = whole.until(whole.dates[300])
    env = TradingEnv(_with_a_day_off(panel), window=1)
    held = np.linspace(-1.0, 1.0, panel.shape[1])
    found = signals_from(Half(), env.panel, held, env)
    trades = panel.tradable[-1]
    np.testing.assert_allclose(found[trades], (0.5 * held + 0.5)[trades])


def test_the_file_is_read_and_written_back(
    memories: RunFolder, whole: Panel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, path = write_panel(whole.until(whole.dates[1203]), tmp_path / "panel"), tmp_path / "held.csv"
    config = Signal(run=memories.path, agent="banded", panel=str(data), kind="returns", positions=path)
    assert signal(config) == 0
    first = pd.read_csv(path)
    assert list(first.columns) == ["market", "asset", "date", "weight"]
    assert (first["weight"] != 0.0).any(), "from flat, something is bought"
    assert f"Positions written to {path}" in capsys.readouterr().out
    # Asked again on the same day, nothing more is traded.
    assert signal(config) == 0
    pd.testing.assert_frame_equal(pd.read_csv(path), first)
    later = write_panel(whole.until(whole.dates[1210]), tmp_path / "later")
    assert signal(replace(config, panel=str(later))) == 0
    second = pd.read_csv(path)
    assert (second["date"] > first["date"]).any()
    panel = whole.until(whole.dates[1210])
    expected = todays_signals(
        memories,
        "banded",
        panel,
        positions=Positions(first["weight"].to_numpy(), first["date"].to_numpy(dtype="datetime64[D]")),
    )
    np.testing.assert_allclose(second["weight"], expected["weight"], atol=1e-12)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("market,asset,weight\nM0,A0,1.0\n", "has no column 'date'"),
        ("market,asset,date,weight\nM0,A9,2001-01-02,1.0\n", "line 2: asset 'A9' of market 'M0' is not in"),
        ("market,asset,date,weight\nM0,A0,2001-01-02,much\n", "line 2: column 'weight' holds 'much'"),
        ("market,asset,date,weight\nM0,A0,2001-01-02,nan\n", "line 2: column 'weight' holds 'nan'"),
        ("market,asset,date,weight\nM0,A0,soon,1.0\n", "line 2: column 'date' holds 'soon', expected a day"),
        ("market,asset,date,weight\nM0,A0,2999-01-01,1.0\n", "line 2: was decided on 2999-01-01, and the"),
        (
            "market,asset,date,weight\nM0,A0,2001-01-02,1.0\nM0,A0,2001-01-02,1.0\n",
            "line 3: asset 'A0' of market 'M0' is there twice",
        ),
    ],
)
def test_positions_that_make_no_sense_are_refused(
    whole: Panel, tmp_path: Path, lines: str, says: str
) -> None:
    path = tmp_path / "held.csv"
    path.write_text(lines)
    with pytest.raises(DataError, match=says):
        read_positions(path, whole)


def test_a_file_that_could_not_be_written_back_is_refused_before_anything_is_played(
    whole: Panel, tmp_path: Path
) -> None:
    with pytest.raises(FileError, match=r"held.parquet: positions are kept in a CSV file"):
        read_positions(tmp_path / "held.parquet", whole)

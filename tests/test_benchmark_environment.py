"""The benchmark of the environment runs, and its floor is an honest one."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest

from experiments.benchmarks.environment.__main__ import main
from experiments.benchmarks.environment.floor import FloorEnv, Gather
from experiments.benchmarks.environment.one_asset import Peers, one_asset_rows
from experiments.benchmarks.environment.paper import Size, at_scale, paper_panel, sizes
from experiments.benchmarks.environment.play import draw, vector
from experiments.benchmarks.environment.thirty import N_ASSETS, WINDOW, walk
from experiments.benchmarks.measure import Row, compare, in_turn
from qn_env.environment import TradingEnv
from qn_env.errors import ConfigError

TABLE = "region,market,country,samples,assets\nX,LONG,Long,40,3\nX,SHORT,Short,10,2\n"


def assert_same(ours, floor):
    assert ours.keys() == floor.keys()
    for name, part in ours.items():
        assert np.asarray(floor[name]).dtype == np.asarray(part).dtype
        if name == "equity":
            assert math.isclose(floor[name], part, rel_tol=1e-12)
        else:
            np.testing.assert_array_equal(floor[name], part)


def test_the_floor_returns_what_the_environment_returns():
    panel = walk(200)
    env, floor = TradingEnv(panel, window=WINDOW), FloorEnv(panel, window=WINDOW)
    for ours, theirs in zip(env.reset(), floor.reset(), strict=True):
        assert_same(ours, theirs)
    for action in draw(199, N_ASSETS):
        observation, reward, *flags, info = env.step(action)
        seen, paid, *said, told = floor.step(action)
        assert_same(observation, seen)
        assert_same(info, told)
        # The order of a sum is not part of the contract.
        assert math.isclose(paid, reward, rel_tol=1e-12, abs_tol=1e-17)
        assert said == flags
    assert flags == [False, True]


def test_what_the_floor_returns_is_never_shared():
    floor = FloorEnv(walk(100), window=WINDOW)
    first, _ = floor.reset()
    second, *_, info = floor.step(draw(1, N_ASSETS)[0])
    parts = [
        *first.values(),
        *second.values(),
        *(info[name] for name in ("gross", "turnover", "cost", "net")),
    ]
    for i, part in enumerate(parts):
        assert not any(np.shares_memory(part, other) for other in parts[i + 1 :])
        part[...] = 7
    assert (floor.step(draw(1, N_ASSETS)[0])[0]["tradable"] <= 1).all()


def test_the_gather_shows_the_windows_of_the_vector_environment():
    panel = walk(150)
    env = vector(panel, 5, window=WINDOW)
    observation, _ = env.reset(seed=0)
    starts = np.searchsorted(panel.dates, env.reset(seed=0)[1]["date"])
    returns, tradable = Gather(panel, window=WINDOW)(starts)
    assert len(set(starts)) > 1
    np.testing.assert_array_equal(observation["returns"], returns)
    np.testing.assert_array_equal(observation["tradable"], tradable)


def interpreter(path, code):
    """A stand-in for an interpreter with the peers: it answers without measuring."""
    path.write_text(f"#!{sys.executable}\nimport json, sys\n{code}")
    path.chmod(0o755)
    return path


FIGURES = {
    "gym-anytrading: gym.make": 1.0,
    "gym-anytrading: StocksEnv": 2.0,
    "gym-trading-env: newest row": 4.0,
    "gym-trading-env: window": 3.0,
}
ANSWERS = f"""
prices = json.loads(sys.stdin.readline())["prices"]
print(json.dumps({{"gym-anytrading": "2.0.0"}}), flush=True)
for _ in sys.stdin:
    print(json.dumps({FIGURES}), flush=True)
"""


def test_the_quick_benchmark_fills_every_row(tmp_path, capsys):
    table, out = tmp_path / "table.csv", tmp_path / "out.json"
    table.write_text(TABLE)
    peers = interpreter(tmp_path / "peers", ANSWERS)
    rows = main(["--quick", "--paper-csv", str(table), "--peers-python", str(peers), "--out", str(out)])
    record = json.loads(out.read_text())
    assert [row["what"] for row in record["rows"]] == [row.what for row in rows]
    assert {"cpu", "cores", "python", "numpy", "gymnasium"} <= set(record["machine"])
    printed = capsys.readouterr().out
    for row in rows:
        assert row.what in printed
        for figure in (row.ours, row.baseline, row.ratio):
            assert figure is not None
            assert np.isfinite(figure)
            assert figure > 0
    # A peer is held to its fastest way.
    assert {row.baseline for row in rows if row.what.endswith("gym-anytrading")} == {2.0}


def test_without_the_peers_their_rows_say_how_to_get_them():
    rows = one_asset_rows(days=100, window=5, num_envs=4, rounds=1, python=None)
    assert all(row.ours and row.ratio is None and row.met is None for row in rows)
    assert all("pip install gym-anytrading gym-trading-env" in row.note for row in rows)


def test_an_interpreter_without_the_peers_is_refused(tmp_path):
    broken = interpreter(tmp_path / "python", "sys.exit(3)")
    with pytest.raises(ConfigError, match=r"ended with code 3 .*pip install gym-anytrading"):
        Peers(broken, np.ones(50_000), 60)


def test_the_paper_panel_is_as_the_table_says(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    markets = sizes(path)
    assert markets == [Size("LONG", 3, 792), Size("SHORT", 2, 762)]
    table = paper_panel(markets, times=2).table()
    assert table["assets"].tolist() == [6, 4]
    assert table["days"].tolist() == [792, 762]
    assert table["last"].nunique() == 1


def test_the_memory_row_opens_steps_and_differentiates(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("market,samples,assets\n" + "".join(f"M{m},40,2\n" for m in range(4)))
    found = at_scale(path, 1)
    assert found["assets"] == 8
    assert found["peak_gb"] > 0


def test_sides_are_measured_in_turn_and_the_first_round_is_thrown_away():
    order: list[str] = []
    figures = iter([9.0, 9.0, 2.0, 4.0, 6.0, 4.0])

    def block(name: str) -> float:
        order.append(name)
        return next(figures)

    found = in_turn({"a": lambda: block("a"), "b": lambda: block("b")}, 2)
    assert order == ["a", "b"] * 3
    assert found == {"a": [2.0, 6.0], "b": [4.0, 4.0]}
    row = compare("a / b", "us", found, "a", "b", low=1.0)
    assert (row.ours, row.baseline, row.ratio, row.met) == (4.0, 4.0, 1.0, True)


def test_a_row_says_whether_it_meets_its_target():
    assert Row(what="x", unit="us", ratio=0.7, low=0.8).met is False
    assert Row(what="x", unit="us", ratio=1.0, low=0.9, high=1.1).met is True
    assert Row(what="x", unit="us", ratio=1.2, low=0.9, high=1.1).met is False
    assert Row(what="x", unit="us", ratio=float("nan"), low=0.9).met is False
    assert Row(what="x", unit="us", ratio=1.0).met is None
    assert Row(what="x", unit="us", low=1.0).met is None

"""Whatever a file holds: an answer or one line that names it; no code, no change, nothing written elsewhere.

Every loader that meets a file is given files that were damaged at random, byte by byte and value by value,
also
by somebody who wrote the checksums anew. What it opens, starts and imports is watched by an audit hook.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
import tyro
from finished import LEARNER, finished_run, resealed, small_panel, write_panel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import experiments.cli as cli
from agents.agent import load_agent, make_agent
from agents.resuming import Keeper, Parts
from experiments.commands.compare import compare_agents, differences
from experiments.papers.dmn.importance import _read as read_importance
from experiments.papers.dmn.study import read_classes
from experiments.papers.quantnet.factors import read_factors
from experiments.papers.quantnet.places import read_places
from experiments.papers.quantnet.transfer import _read as read_transfer
from experiments.probes.units import read_figures as read_probe
from experiments.results.evidence import searched_trials
from experiments.results.run import read_run
from experiments.running.protocols import holdout
from experiments.running.today import todays_signals
from experiments.settings.configfile import with_config_file
from experiments.storage.forward_file import add_entry, read_record
from experiments.storage.forward_record import Decision, Entry, Header, RecordedAgent, Terms
from experiments.storage.manifest import NAME as MANIFEST
from experiments.storage.manifest import Manifest
from experiments.storage.records import read_trial
from experiments.storage.store import RunFolder, as_parquet
from qn_env import TradingEnv
from qn_env.errors import QnError
from qn_env.sources import read_panel, read_rate
from qn_env.sources.exports import read_export
from qn_env.storage import SEAL, UncheckedWarning, write_sealed

SECONDS = 10.0  # more than any file of a test may take
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect")
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")


class Bomb:
    """Starts a program when it is unpickled, which `_watch` sees."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("true",)


# What is watched.

_watched: list[str] | None = None
_home = ""


def _watch(event: str, details: tuple[Any, ...]) -> None:
    if _watched is None:
        return
    if event in STARTS or event == "pickle.find_class":
        _watched.append(f"{event} {details}")
    elif event == "open" and isinstance(details[0], str | bytes) and _writes(details):
        if not os.fsdecode(details[0]).startswith(_home):
            _watched.append(f"{event} {details}")
    elif event in CHANGES and not os.fsdecode(str(details[0])).startswith(_home):
        _watched.append(f"{event} {details}")


def _writes(details: tuple[Any, ...]) -> bool:
    flags = details[2] if isinstance(details[2], int) else 0
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


sys.addaudithook(_watch)


# The loaders and the files they meet.


@dataclass(frozen=True)
class Loader:
    """A way in: the folder its files lie in, and what is done with them.

    Attributes:
        folder: of its files.
        load: returns something that is equal when nothing has changed.
        sealed: whether a change of any byte has to be noticed.
        seal: what somebody does who wants a change not to be noticed; None where nothing is sealed.
    """

    folder: Path
    load: Callable[[Path], object]
    sealed: bool = False
    seal: Callable[[Path], None] | None = None


def seal_json(folder: Path) -> None:
    """Write the checksum of every JSON file in a folder anew."""
    for path in folder.rglob("*.json"):
        try:
            content = json.loads(path.read_bytes())
            content.pop(SEAL, None)
            write_sealed(path, content)
        except (ValueError, AttributeError, RecursionError, TypeError, QnError):
            continue  # not what it was


def seal_unit(folder: Path) -> None:
    Manifest.of(folder).write()


def seal_run(folder: Path) -> None:
    for place in folder.rglob("checkpoint"):
        seal_json(place)
    resealed(folder)


def as_text(found: object) -> str:
    """What was read, whatever the order of its names."""
    return json.dumps(found, sort_keys=True) if isinstance(found, dict) else repr(found)


def _figures(table: pd.DataFrame) -> bytes:
    return table.to_csv().encode()


def _of_run(folder: Path) -> object:
    """Everything that is read of a run, short of drawing it."""
    run = read_run(folder)
    with run.stored.consistent_files():
        units = [unit.name for unit in sorted((folder / "units").iterdir())]
        days = [_figures(run.stored.unit_days(name)) for name in units]
        audits = [repr(run.stored.audit(name)) for name in units]
        agents = [run.learns(agent) for agent in run.agents]
        return repr(run.about), _figures(run.leaderboard), _figures(run.portfolio), days, audits, agents


def _compared(whole: Path) -> Callable[[Path], object]:
    def load(folder: Path) -> object:
        a, b = RunFolder.of_finished(whole), RunFolder.of_finished(folder)
        with a.consistent_files(), b.consistent_files():
            return repr(differences(a.record(), b.record())), _figures(compare_agents(a, b, 2.0))

    return load


def _signal(folder: Path) -> object:
    stored = RunFolder.of_finished(folder)
    with stored.consistent_files():
        return _figures(todays_signals(stored, LEARNER, small_panel()))


def _resumed(folder: Path) -> object:
    plan = {"costs": [0.0], "agents": ["macd"]}
    return sorted(p.name for p in RunFolder.resume(folder, plan).path.iterdir())


def _training(folder: Path) -> object:
    network = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(network.weight, 0.5)
    torch.nn.init.constant_(network.bias, 0.5)
    parts = Parts(network, torch.optim.Adam(network.parameters()), {"draw": torch.Generator()})
    found = Keeper.of("identity", parts, folder).load()
    return repr(found), repr(network.state_dict())


def _config(folder: Path) -> object:
    found = []
    for name in ("config.json", "config.toml"):
        words = with_config_file(["run", "--config", str(folder / name)], cli.CONFIGURED)
        try:
            found.append(tyro.cli(cli.OPTIONS, args=words))
        except SystemExit as ended:
            assert ended.code == 2  # noqa: PT017 - what tyro does with a wrong word
    return repr(found)


def _panel_of(folder: Path) -> object:
    panel = read_panel(folder, kind="returns")
    return panel.fingerprint, panel.notes


def _checkpoint(name: str) -> Callable[[Path], object]:
    def load(folder: Path) -> object:
        agent: Any = load_agent(name, folder)
        return repr(agent.signals(small_panel()).tolist())

    return load


def _begun_training(place: Path) -> None:
    network = torch.nn.Linear(2, 1)
    torch.nn.init.constant_(network.weight, 0.5)
    torch.nn.init.constant_(network.bias, 0.5)
    parts = Parts(network, torch.optim.Adam(network.parameters()), {"draw": torch.Generator()})
    keeper = Keeper.of("identity", parts, place)
    network(torch.ones(1, 2)).sum().backward()
    parts.optimizer.step()
    keeper.save({"epochs": 3, "best_epoch": 2, "best_score": 0.5}, network.state_dict())


def _record(path: Path) -> None:
    """A forward record of an agent on an asset, two lines of decisions behind the first."""
    terms = Terms(
        cost=2.0, execution="late", largest_loss=20.0, scale_days=252, widest_days=21, bets=(0.5, 1.0)
    )
    agent = RecordedAgent(agent="macd", seeds=(0,), vol_target=0.15, units={"macd-seed0": "0" * 64})
    header = Header(
        created="2020-01-01T00:00:00Z",
        run="0" * 64,
        run_panel="0" * 64,
        agents={"macd": agent},
        assets=(("M0", "A0"),),
        costs=(0.0, 2.0),
        execution_lag=0,
        bars_per_year=252.0,
        closes="03:00",
        evidence=terms,
        versions={},
    )
    for day in ("2020-01-02", "2020-01-03"):
        entry = Entry(
            written=f"{day}T22:00:00Z",
            run="0" * 64,
            as_of={"M0": day},
            history={"M0": "1" * 64},
            returns=(0.01,),
            agents={"macd": Decision(signals=(0.5,), weights=(0.25,))},
        )
        assert add_entry(path, header, entry).added


def _trained(name: str, options: Mapping[str, Any], place: Path) -> Path:
    agent: Any = make_agent(name, options=options)
    fold = holdout(small_panel())
    train, select = (
        TradingEnv(p, window=agent.settings.window, features=agent.settings.features)
        for p in (fold.train, fold.select)
    )
    agent.fit(train, seed=0, validation=select).save(place)
    return place


def _files(home: Path) -> None:
    """Every kind of file that is read, each in a folder of its own."""
    panel = small_panel()
    write_panel(panel, home / "markets-csv")
    (home / "table").mkdir()
    frame = pd.DataFrame(
        panel.returns, columns=[f"{m}-{a}" for m, a in zip(panel.market_of, panel.assets, strict=True)]
    )
    frame.insert(0, "date", panel.dates.astype("datetime64[us]"))
    frame.to_parquet(home / "table" / "returns.parquet", index=False)
    meta = pd.DataFrame({"instrument": frame.columns[1:], "market": panel.market_of, "class": "equity"})
    meta.to_csv(home / "table" / "meta.csv", index=False)
    days = pd.bdate_range("2020-01-01", periods=60).strftime("%Y-%m-%d")
    rates = pd.DataFrame({"date": days, "rf": np.linspace(1e-4, 2e-4, 60)})
    (home / "rates").mkdir()
    rates.to_csv(home / "rates" / "rates.csv", index=False)
    rates.assign(date=pd.to_datetime(days)).to_parquet(home / "rates" / "rates.parquet", index=False)
    names = ["mkt_rf", "smb", "hml", "rmw", "cma", "mom", "rf"]
    factors = pd.DataFrame(np.full((60, 7), 0.001), columns=names)
    factors.insert(0, "date", days)
    (home / "factors").mkdir()
    factors.to_csv(home / "factors" / "factors.csv", index=False)
    places = pd.DataFrame({"market": ["M0", "M1"], "country": ["NA", "DE"], "region": ["Africa", "Europe"]})
    (home / "places").mkdir()
    places.to_csv(home / "places" / "markets.csv", index=False)
    (home / "exports").mkdir()
    wide = pd.DataFrame({"Date": days, "A": np.linspace(1.0, 2.0, 60), "B": 3.0})
    wide.to_csv(home / "exports" / "wide.csv", index=False, sep=";")
    tidy = wide.melt("Date", var_name="Ticker", value_name="Close")
    tidy.to_csv(home / "exports" / "long.csv", index=False)
    wide.assign(Date=pd.to_datetime(days)).to_parquet(home / "exports" / "wide.parquet", index=False)
    wide[:5].to_excel(home / "exports" / "wide.xlsx", index=False)
    (home / "config").mkdir()
    content = {"agents": ["macd", "buy-and-hold"], "costs": [0.0, 2.5], "seeds": 3, "quick": True}
    (home / "config" / "config.json").write_text(json.dumps(content))
    toml = 'agents = ["macd"]\ncosts = [0.0, 2.5]\nseeds = 3\nbegin = "2001-01-01"\n'
    (home / "config" / "config.toml").write_text(toml)
    for name in ("trials", "probes", "transfer", "plan", "training", "importance"):
        (home / name).mkdir()
    settings = {"options": {"x": 0.5, "hidden": [1, 2]}, "vol_target": 0.15, "lag": 0, "data": ["a", "b"]}
    trial = {"agent": LEARNER, "window": "", "trial": 0, "score": 0.3, "curve": [0.1, 0.3], **settings}
    write_sealed(home / "trials" / f"{LEARNER}-seed0-trial0.json", trial)
    write_sealed(home / "probes" / "unit.json", {"share": 0.9, "sharpe": 1.1})
    write_sealed(home / "transfer" / "unit.json", {"agent": "quantnet", "days": 5, "seed": 0, "known": 0.5})
    RunFolder(home / "plan").with_plan({"costs": [0.0], "agents": ["macd"]})
    _begun_training(home / "training")
    (home / "record").mkdir()
    _record(home / "record" / "record.jsonl")
    table = pd.DataFrame({"date": pd.to_datetime(days), "feature": "none", "net": 0.001})
    (home / "importance" / "daily.parquet").write_bytes(as_parquet(table))
    seal_unit(home / "importance")


class Loaders(dict[str, Loader]):
    """By name."""

    def __repr__(self) -> str:
        return "Loaders"


@pytest.fixture(scope="module")
def loaders(tmp_path_factory: pytest.TempPathFactory) -> Loaders:
    home = tmp_path_factory.mktemp("fuzz").resolve()
    _files(home)
    whole = finished_run(home / "whole")
    for name in ("run", "compared", "played"):
        shutil.copytree(whole, home / name)
    _trained("quantnet", {"steps": 2, "epoch": 1, "patience": 1, "batch": 2, "length": 10}, home / "quantnet")
    shutil.copytree(whole / "units" / f"{LEARNER}-seed0" / "checkpoint", home / "dmn")
    _trained("macd", {}, home / "rule")

    def one(name: str, read: Callable[[Path], object], *files: str) -> Callable[[Path], object]:
        return lambda folder: [as_text(read(folder / file)) for file in files]

    rates = ("rates.csv", "rates.parquet")
    sealed: dict[str, Any] = {"sealed": True, "seal": seal_json}
    found = {
        "run": Loader(home / "run", _of_run, sealed=True, seal=seal_run),
        "compared": Loader(home / "compared", _compared(whole), sealed=True, seal=seal_run),
        "played": Loader(home / "played", _signal, sealed=True, seal=seal_run),
        "quantnet": Loader(home / "quantnet", _checkpoint("quantnet"), **sealed),
        "dmn": Loader(home / "dmn", _checkpoint(LEARNER), **sealed),
        "rule": Loader(home / "rule", _checkpoint("macd"), **sealed),
        "trials": Loader(home / "trials", one("t", read_trial, f"{LEARNER}-seed0-trial0.json"), **sealed),
        "probes": Loader(home / "probes", one("p", read_probe, "unit.json"), **sealed),
        "transfer": Loader(home / "transfer", one("t", read_transfer, "unit.json"), **sealed),
        "importance": Loader(
            home / "importance", lambda f: _figures(read_importance(f)), sealed=True, seal=seal_unit
        ),
        "training": Loader(home / "training", _training, sealed=True),
        "record": Loader(home / "record", one("r", read_record, "record.jsonl")),
        "plan": Loader(home / "plan", _resumed),
        "config": Loader(home / "config", _config),
        "markets-csv": Loader(home / "markets-csv", _panel_of),
        "table": Loader(home / "table", lambda f: (_panel_of(f), repr(read_classes(f)))),
        "rates": Loader(
            home / "rates", one("r", lambda path: read_rate(path, "rf", "fraction-a-day"), *rates)
        ),
        "factors": Loader(home / "factors", one("f", read_factors, "factors.csv")),
        "exports": Loader(
            home / "exports",
            one("e", read_export, "wide.csv", "long.csv", "wide.parquet", "wide.xlsx"),
        ),
        "places": Loader(home / "places", lambda folder: repr(read_places(folder))),
    }
    return Loaders(found)


NAMES = (
    *("run", "compared", "played", "quantnet", "dmn", "rule", "trials", "probes", "transfer", "importance"),
    *(
        "training",
        "record",
        "plan",
        "config",
        "markets-csv",
        "table",
        "rates",
        "factors",
        "places",
        "exports",
    ),
)

# Damage.

CONTENTS = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"0",
    b"\x00" * 64,
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"9" * 5000,
    b"\xff\xfe\x00\x01",
    b"\xef\xbb\xbf",
    b"PAR1",
    pickle.dumps(Bomb()),
    b"\x1b]0;title\x07\x1b[2J",
)
VALUES = (
    *(None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf"), "", "x", [], {}, [[]], "\x1b[2J\u202e"),
    *("../../../../up", "/etc/passwd", "os:system", "subprocess:Popen", "macd", "quantnet", "2020-01-01"),
)
CELLS = (
    *("", "NA", "null", "nan", "inf", "-1", "1e999", "0", "NaT", "20200101", "01/02/2020", "2020-13-45"),
    *("9999-12-31", "0001-01-01", "2020-01-01T00:00:00+02:00", "=1+1", '"', "a,b", "\x1b[2J", "\u00e9", "M0"),
)


def _bytes(content: bytes, draw: st.DrawFn) -> bytes:
    """Flipped bits, a cut, a slice twice, or other bytes in the middle."""
    place = draw(st.integers(0, max(len(content) - 1, 0)))
    match draw(st.sampled_from(["flip", "cut", "twice", "insert", "replace", "utf-16"])):
        case "flip" if content:
            changed = bytearray(content)
            changed[place] ^= 1 << draw(st.integers(0, 7))
            return bytes(changed)
        case "cut":
            return content[:place]
        case "twice":
            return content[:place] + content[max(place - 40, 0) :]
        case "insert":
            return content[:place] + draw(st.binary(min_size=1, max_size=8)) + content[place:]
        case "utf-16":
            return content.decode("latin-1").encode("utf-16")
    other = draw(st.binary(min_size=1, max_size=8))
    return content[:place] + other + content[place + len(other) :]


def _json(content: bytes, draw: st.DrawFn) -> bytes:
    """Another value, name or length somewhere in a JSON text."""
    whole = json.loads(content)
    node, trail = whole, 0
    while isinstance(node, dict | list) and node and trail < 6:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or draw(st.integers(0, 2)) == 0:
            break
        node, trail = node[key], trail + 1
    else:
        return b"{}"
    match draw(st.sampled_from(["value", "value", "gone", "renamed"])):
        case "value":
            node[key] = draw(st.sampled_from(VALUES))
        case "gone":
            del node[key]
        case "renamed" if isinstance(node, dict):
            node[draw(st.sampled_from(["x", "../x", str(key).upper()]))] = node.pop(key)
    return json.dumps(whole).encode()


def _csv(content: bytes, draw: st.DrawFn) -> bytes:
    """Another cell, or a row in another place."""
    lines = content.decode().splitlines()
    row = draw(st.integers(0, min(len(lines) - 1, 8)))
    cells = lines[row].split(",")
    cells[draw(st.integers(0, len(cells) - 1))] = draw(st.sampled_from(CELLS))
    lines[row] = ",".join(cells)
    if draw(st.integers(0, 4)) == 0:
        lines.insert(draw(st.integers(0, len(lines))), lines[row])
    return "\n".join(lines).encode()


def _parquet(path: Path, draw: st.DrawFn) -> bytes:
    """Another type, name or order of a column, or other rows."""
    frame = pd.read_parquet(path)
    name = draw(st.sampled_from([str(column) for column in frame.columns]))
    match draw(st.sampled_from(["text", "gone", "renamed", "rows", "none", "reversed", "huge", "object"])):
        case "text":
            frame[name] = "x"
        case "gone":
            frame = frame.drop(columns=name)
        case "renamed":
            frame = frame.rename(columns={name: "\x1b[2J"})
        case "rows":
            frame = pd.concat([frame, frame])
        case "none":
            frame = frame.iloc[:0]
        case "reversed":
            frame = frame.iloc[::-1]
        case "huge":
            frame[name] = 1e308
        case "object":
            frame[name] = [[1, 2]] * len(frame)
    return as_parquet(frame)


def damaged(path: Path, draw: st.DrawFn) -> bytes:
    """The content of a file after something happened to it."""
    content, kind = (
        path.read_bytes(),
        draw(st.sampled_from(["bytes", "bytes", "values", "values", "content"])),
    )
    if kind == "content":
        return draw(st.sampled_from(CONTENTS))
    if kind == "values" and path.suffix == ".json":
        return _json(content, draw)
    if kind == "values" and path.suffix == ".csv":
        return _csv(content, draw)
    if kind == "values" and path.suffix == ".parquet":
        return _parquet(path, draw)
    return _bytes(content, draw)


# The property.


class Answer(NamedTuple):
    """What a loader answers, or its error; and whether it said that there was no checksum."""

    found: object = None
    error: QnError | None = None
    noted: bool = False


def watched(loader: Loader) -> Answer:
    """What a loader answers; it starts nothing, writes nothing elsewhere, and takes no time."""
    global _watched, _home
    _watched, _home = [], str(loader.folder)
    began = time.monotonic()
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always", UncheckedWarning)
        try:
            answer = Answer(found=loader.load(loader.folder))
        except QnError as error:
            answer = Answer(error=error)
        finally:
            seen, _watched = _watched, None
    assert time.monotonic() - began < SECONDS
    assert seen == []
    return answer._replace(noted=bool(notes))


def hold(name: str, loaders: Mapping[str, Loader], data: st.DataObject) -> None:
    """Damage a file of a loader, and look at what it does."""
    loader = loaders[name]
    files = sorted(path for path in loader.folder.rglob("*") if path.is_file())
    before = {path: path.read_bytes() for path in files}
    path = data.draw(st.sampled_from(files), label="file")
    content = data.draw(st.composite(lambda draw: damaged(path, draw))(), label="content")
    again = loader.seal is not None and data.draw(st.booleans(), label="sealed again")
    whole = watched(loader)
    assert whole.error is None
    assert not whole.noted
    try:
        path.write_bytes(content)
        if again and loader.seal is not None:
            loader.seal(loader.folder)
        now = {p: p.read_bytes() for p in files}
        answer = watched(loader)
        if answer.error is not None:
            _check_error(answer.error, loader.folder)
        elif loader.sealed and not (again or answer.noted):
            assert answer.found == whole.found, "a change that nobody was told of"
        assert {p: p.read_bytes() for p in files if p.exists()} == now, "reading changes nothing"
    finally:
        for file, content in before.items():
            file.write_bytes(content)
        for file in set(loader.folder.rglob("*")) - set(before):
            if file.is_file():
                file.unlink()


def _check_error(error: QnError, folder: Path) -> None:
    assert str(folder) in str(error), "it names the file, or its folder"


COMMON: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [
        HealthCheck.too_slow,
        HealthCheck.function_scoped_fixture,
        HealthCheck.data_too_large,
    ],
}


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=1000 // len(NAMES) + 1, **COMMON)
@given(data=st.data())
def test_a_thousand_damaged_files_are_read_or_refused_in_a_line(name, loaders, data):
    hold(name, loaders, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10_000 // len(NAMES) + 1, **COMMON)
@given(data=st.data())
def test_ten_thousand_damaged_files_are_read_or_refused_in_a_line(name, loaders, data):
    hold(name, loaders, data)


def test_the_loaders_are_all_tried(loaders):
    assert set(NAMES) == set(loaders)
    assert searched_trials is not None
    assert MANIFEST in {path.name for path in loaders["run"].folder.iterdir()}

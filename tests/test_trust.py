"""Nothing that a stranger's file says chooses which code runs here."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from finished import LEARNER, copied, edit_json, finished_run, resealed, small_panel, write_panel

from agents.agent import load_agent, make_agent
from experiments.cli import main
from experiments.settings.configfile import with_config_file
from qn_env.errors import ConfigError

# A console script: its folder comes first on the path, not the working directory.
QN = [sys.executable, "-P", "-c", "import sys; from experiments.cli import main; sys.exit(main())"]
LEAVES_A_MARK = "open({mark!r}, 'w').close()\n"
BESIDE = """
class Agent:
    learns = False

    def __init__(self, **options):
        open({mark!r}, "w").close()

    def fit(self, env, *, seed, validation=None):
        return self

    def reset(self): ...

    def act(self, observation):
        return 0.0 * observation["positions"]

    @classmethod
    def load(cls, folder):
        return cls()
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("trust") / "run")


@pytest.fixture(scope="module")
def panel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_panel(small_panel(), tmp_path_factory.mktemp("trust") / "panel")


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that is there once a stranger's code has run."""
    return tmp_path / "mark"


def named(folder: Path, agent: str, options: dict[str, object]) -> Path:
    """The run says that its learner is another class; who wrote that sealed it."""

    def edit(record: dict[str, dict[str, dict[str, object]]]) -> None:
        record["agents"][LEARNER] |= {"agent": agent, "options": options, "learns": False}

    edit_json(folder / "run.json", edit)
    resealed(folder)
    return folder


def signal(folder: Path, panel: Path, *more: str) -> int:
    words = ["signal", "--run", str(folder), "--agent", LEARNER, "--panel", str(panel), "--kind", "returns"]
    return main([*words, *more])


class Bomb:
    """Runs a program when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_a_run_that_names_a_program_runs_nothing(whole, panel, mark, tmp_path, capsys):
    folder = copied(whole, tmp_path / "run")
    options = {"args": ["touch", str(mark)]}
    for unit in (folder / "units").glob(f"{LEARNER}*"):
        (unit / "checkpoint" / "agent.json").unlink()
        (unit / "checkpoint" / "weights.safetensors").unlink()
        (unit / "checkpoint").rmdir()
    named(folder, "subprocess:Popen", options)
    assert signal(folder, panel) == 1
    said = capsys.readouterr().err
    assert "run.json: names the agent 'subprocess:Popen'" in said
    assert "--trust subprocess:Popen" in said
    assert signal(folder, panel, "--trust", "subprocess:Popen") == 1, "not even when it is repeated"
    assert "standard library, which holds no agents" in capsys.readouterr().err
    assert not mark.exists()


def test_a_run_that_names_a_reader_of_pickles_reads_none(whole, panel, mark, tmp_path, capsys):
    folder = copied(whole, tmp_path / "run")
    for unit in (folder / "units").glob(f"{LEARNER}*"):
        for file in (unit / "checkpoint").iterdir():
            file.unlink()
        (unit / "checkpoint").rmdir()
        (unit / "checkpoint").write_bytes(pickle.dumps(Bomb(mark)))
    named(folder, "joblib:numpy_pickle", {})
    assert signal(folder, panel) == 1
    assert "names the agent 'joblib:numpy_pickle'" in capsys.readouterr().err
    assert signal(folder, panel, "--trust", "joblib:numpy_pickle") == 1
    assert "is a module, expected a class with the methods of an agent" in capsys.readouterr().err
    assert not mark.exists()


def test_a_module_beside_a_stranger_is_imported_only_when_its_name_is_repeated(
    whole, panel, mark, tmp_path, capsys, monkeypatch
):
    folder = named(copied(whole, tmp_path / "run"), "beside_a_stranger:Agent", {})
    (tmp_path / "beside_a_stranger.py").write_text(BESIDE.format(mark=str(mark)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert signal(folder, panel) == 1
    assert "beside_a_stranger" not in sys.modules
    assert not mark.exists()
    assert signal(folder, panel, "--trust", "beside_a_stranger:Agent") == 0
    assert mark.exists()
    assert sys.path[-1] == str(tmp_path), "the working directory is looked at last"
    sys.modules.pop("beside_a_stranger")


@pytest.mark.parametrize(
    "name", ["os:system", "builtins:exit", "subprocess:Popen", "antigravity:geohash", "os.path:join"]
)
def test_the_standard_library_holds_no_agents_and_is_not_imported_for_one(name):
    known = name.partition(":")[0] in sys.modules
    for asked in (lambda: make_agent(name), lambda: load_agent(name, Path())):
        with pytest.raises(
            ConfigError, match=r"a module of Python's standard library, which holds no agents"
        ):
            asked()
    assert (name.partition(":")[0] in sys.modules) == known


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("joblib:dump", "joblib:dump: is a function, expected a class"),
        ("numpy:random", "numpy:random: is a module, expected a class"),
        ("pathlib_of:", "'pathlib_of:' is no import path; expected package.module:Class"),
        ("../evil:Agent", "'../evil:Agent' is no import path"),
        ("a b:C", "'a b:C' is no import path"),
        ("pandas:DataFrame", "needs the methods fit, reset and act; missing: fit, reset, act"),
    ],
)
def test_what_is_no_class_of_an_agent_is_refused_by_name(name, says):
    with pytest.raises(ConfigError) as error:
        make_agent(name)
    assert says in str(error.value)


def test_a_class_without_the_methods_is_not_built(mark, tmp_path, monkeypatch):
    (tmp_path / "half_of_one.py").write_text(
        f"class Half:\n    def __init__(self):\n        {LEAVES_A_MARK.format(mark=str(mark))}"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ConfigError, match="missing: fit, reset, act"):
        make_agent("half_of_one:Half")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise RuntimeError('no')", "cannot be imported: RuntimeError: no"),
        ("import sys; sys.exit(4)", "cannot be imported: SystemExit: 4"),
        ("class :", "cannot be imported: SyntaxError"),
        (
            "import nowhere_at_all",
            "cannot be imported: ModuleNotFoundError: No module named 'nowhere_at_all'",
        ),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_in_a_line_with_its_place(text, says, tmp_path, monkeypatch):
    (tmp_path / "broken_module.py").write_text(f"{text}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ConfigError) as error:
        make_agent("broken_module:Agent")
    assert says in str(error.value)
    assert "broken_module.py, line 1" in str(error.value)
    assert "\n" not in str(error.value)


def test_options_that_an_agent_does_not_take_are_named():
    with pytest.raises(ConfigError, match=r"dmn-lstm-sharpe: cannot be built with .*colour='red'.*colour"):
        make_agent("dmn-lstm-sharpe", options={"colour": "red"})


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "weights.pt", "notes.txt", "link.json"])
def test_a_checkpoint_of_another_format_is_not_loaded(name, whole, tmp_path):
    place = copied(whole / "units" / f"{LEARNER}-seed0" / "checkpoint", tmp_path / "checkpoint")
    if name.startswith("link"):
        (place / name).symlink_to(place / "agent.json")
    else:
        (place / name).write_bytes(pickle.dumps({}))
    with pytest.raises(ConfigError, match=rf"{name}: a checkpoint holds nothing but files that end in .json"):
        load_agent(LEARNER, place)


def test_a_run_says_which_checkpoints_will_never_be_loaded(tmp_path, monkeypatch, capsys, panel):
    (tmp_path / "pickling_agents.py").write_text(
        BESIDE.format(mark=str(tmp_path / "built"))
        + "\n    def save(self, folder):"
        + "\n        folder.mkdir()\n        (folder / 'm.pkl').write_bytes(b'')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    words = ["run", "--agents", "pickling_agents:Agent", "--panel", str(panel), "--kind", "returns"]
    assert main([*words, "--jobs", "1", "--out", "out"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "m.pkl: a checkpoint holds nothing but files that end in .json and .safetensors" in said
    sys.modules.pop("pickling_agents")


@pytest.mark.parametrize(
    ("command", "content", "name"),
    [
        ("run", {"agents": ["macd", "mine:Agent"]}, "mine:Agent"),
        ("search", {"agent": "mine:Agent"}, "mine:Agent"),
        ("paper dmn", {"models": ["mine:Agent"]}, "mine:Agent"),
        ("search", {"agent": "macd", "executor": "dask", "address": "tcp://there:1"}, "tcp://there:1"),
    ],
)
def test_a_configuration_file_names_no_code_that_is_not_repeated(command, content, name, tmp_path):
    from experiments.cli import CONFIGURED

    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    words = [*command.split(), "--config", str(path)]
    with pytest.raises(ConfigError, match=f"config.json: names the .* '{name}'.*--trust {name}"):
        with_config_file(words, CONFIGURED)
    assert with_config_file([*words, f"--trust={name}"], CONFIGURED)
    with pytest.raises(ConfigError, match=r"(?i)repeat"):
        with_config_file([*words, "--trust", "other:Agent"], CONFIGURED)


def test_every_setting_that_names_an_agent_is_looked_at():
    from dataclasses import fields

    from experiments.cli import CONFIGURED
    from experiments.settings.configfile import CODE

    settings = {field.name for of in CONFIGURED.values() for field in fields(of)}
    assert {name for name in settings if "agent" in name or "model" in name or "address" in name} <= set(CODE)


def test_no_file_of_the_working_directory_takes_the_place_of_a_module(tmp_path, panel):
    """Not in the command, and not in the processes it starts."""
    (tmp_path / "own_agents.py").write_text(BESIDE.format(mark=str(tmp_path / "built")))
    shadows = ("jinja2", "plotly", "joblib", "numpy", "pickle", "argparse", "multiprocessing", "matplotlib")
    for name in shadows:
        (tmp_path / f"{name}.py").write_text(LEAVES_A_MARK.format(mark=str(tmp_path / f"shadowed-{name}")))
    words = ["run", "--agents", "macd,own_agents:Agent", "--panel", str(panel), "--kind", "returns"]
    done = subprocess.run(
        [*QN, *words, "--jobs", "2", "--out", "out"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "built").exists()
    assert not [path.name for path in tmp_path.glob("shadowed-*")]
    assert (tmp_path / "out" / "report.html").exists()


def test_a_command_writes_into_no_folder_of_somebody_else(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"auths": {}}')
    words = ["search", "--agent", "dmn-linear-sharpe", "--trials", "1", "--out", str(tmp_path)]
    assert main(words) == 1
    assert "holds other files, and no config.json of qn; choose another --out" in capsys.readouterr().err
    assert main(["paper", "dmn", "--quick", "--out", str(tmp_path)]) == 1
    assert (tmp_path / "config.json").read_text() == '{"auths": {}}'

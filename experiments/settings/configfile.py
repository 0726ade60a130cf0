"""Configuration files: `--config FILE` for every command that takes a configuration.

A file (TOML or JSON) holds values of the command's options by their names. Flags of the command line replace
them. `command` in a file, if it is there, says which command it is for. What a run ended up with is written
into its folder as `config.json`, which can be fed back.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from qn_env.errors import ConfigError, did_you_mean
from qn_env.storage import make_folder, read_object

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FLAG, TRUST = "--config", "--trust"
TRIALS = ("trials", "search", "transfer", "ablation")  # what a search or a study makes first
# Settings that say whose code runs: an agent by its import path, a cluster that sends and takes objects.
CODE = ("agent", "agents", "models", "late_models", "address")
COMMAND = "command"

# A command as it is typed, such as ("paper", "dmn"), and the dataclass of its options.
Commands = Mapping[tuple[str, ...], type]


def with_config_file(argv: Sequence[str], commands: Commands) -> list[str]:
    """The same command line, with the values of its `--config FILE` as flags before its own.

    The last of two equal flags counts, so what was typed replaces what the file says.

    Args:
        argv: what was typed, without the program's name.
        commands: those that take a file.

    Raises:
        ConfigError: no such file, not readable, an unknown key, a value of the wrong type, a command that
            takes
            no file, or code that the file names and `--trust` does not repeat.
    """
    name, rest = _take_flag(argv, FLAG)
    if name is None:
        return list(argv)
    command = next((words for words in commands if tuple(rest[: len(words)]) == words), None)
    if command is None:
        known = ", ".join(" ".join(words) for words in commands)
        raise ConfigError(f"{FLAG} stands behind a command that takes one: {known}.")
    trust, rest = _take_flag(rest, TRUST)
    values = read_config(name, command, commands[command])
    _refuse_code(name, values, () if trust is None else trust.split(","))
    flags = [flag for key, value in values.items() for flag in _flags(key, value)]
    return [*command, *flags, *rest[len(command) :]]


def read_config(name: str, command: Sequence[str], of: type) -> dict[str, object]:
    """The values of a file for a command's dataclass, checked.

    Args:
        name: a path, or the name of a configuration that comes with the package.
        command: words of the command.
        of: its dataclass.

    Raises:
        ConfigError: see `with_config_file`.
    """
    import msgspec

    path = _find(name)
    values = _parse(path)
    meant = values.pop(COMMAND, " ".join(command))
    if meant != " ".join(command):
        raise ConfigError(f"{path}: is for qn {meant}, not for qn {' '.join(command)}.")
    types = get_type_hints(of)
    known = [field.name for field in fields(of)]
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"{path}: unknown key {key!r}. {did_you_mean(key, known)}")
        try:
            values[key] = _convert(value, types[key])
        except msgspec.ValidationError as error:
            expected = describe_type(types[key])
            raise ConfigError(f"{path}: {key} is {value!r}, expected {expected}.") from error
    return values


def write_config(path: Path, command: Sequence[str], config: DataclassInstance) -> None:
    """Write an effective configuration as JSON that `--config` reads."""
    from qn_env.storage import write_atomically

    text = json.dumps({COMMAND: " ".join(command)} | asdict(config), indent=2, default=str)
    write_atomically(path, (text + "\n").encode())


def shipped_configs() -> list[str]:
    """Names of the configurations that come with the package."""
    return sorted(
        f.name.removesuffix(".toml") for f in _shipped_folder().iterdir() if f.name.endswith(".toml")
    )


def _convert(value: object, annotation: Any) -> object:
    """A value of a file as a field's type.

    Raises:
        msgspec.ValidationError: it is of another type.

    Examples:
        >>> _convert(3, float), _convert([1, 2], tuple[int, ...]), _convert("a", Path | None)
        (3.0, (1, 2), PosixPath('a'))
    """
    import msgspec

    return msgspec.convert(value, annotation, dec_hook=_of_other_type)


def _of_other_type(of: type, value: object) -> object:
    """A value of a type that msgspec does not know: an option of an agent, which may be any, or a path."""
    if of is object:
        return value
    if of is not Path or not isinstance(value, str):
        raise TypeError(f"expected a path, found {value!r}")
    return Path(value)


def describe_type(annotation: Any) -> str:
    """A field's type in words.

    Examples:
        >>> describe_type(int | None), describe_type(tuple[float, ...]), describe_type(Literal["a", "b"])
        ('a whole number', 'a list, each a number', "one of 'a', 'b'")
    """
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in words:
        return words[annotation]
    if origin in (Union, UnionType):
        return " or ".join(describe_type(one) for one in inner if one is not NoneType)
    if origin is Annotated:
        return describe_type(inner[0])
    if origin is Literal:
        return f"one of {', '.join(repr(one) for one in inner)}"
    if origin is tuple:
        return f"a list, each {describe_type(inner[0])}"
    return "a table of names and values"


def claim_folder(path: Path, command: Sequence[str]) -> None:
    """Make the folder of a search or a study, or take the one where it was begun.

    Raises:
        ConfigError: something else lies there, which a command must not write into.
        FileError: it cannot be made.
    """
    if not path.is_dir() or not any(path.iterdir()):
        make_folder(path)
        return
    known = path / "config.json"
    if not known.exists() and any((path / name).is_dir() for name in TRIALS):
        return  # begun from Python
    meant = str(read_object(known).get(COMMAND, "")) if known.is_file() else ""
    if meant.partition(" ")[0] != command[0]:  # studies of one paper may share a folder
        content = f"holds what qn {meant} wrote" if meant else f"holds other files, and no {known.name} of qn"
        raise ConfigError(f"{path}: {content}; choose another --out, or an empty folder.")


def _refuse_code(name: str, values: Mapping[str, object], trust: Sequence[str]) -> None:
    """Refuse a file that names code which the user has not repeated: no file chooses what runs."""
    from agents.agent import refuse_untrusted

    for key in (key for key in CODE if values.get(key) is not None):
        given = values[key]
        for value in map(str, given if isinstance(given, tuple) else (given,)):
            if key == "address" and value not in trust:
                raise ConfigError(
                    f"{name}: names the cluster {value!r}, which sends code to this machine; a file does "
                    "not choose "
                    f"it. Repeat it if you trust it: {TRUST} {value}"
                )
            if ":" in value and key != "address":
                refuse_untrusted(value, name, trust)


def _take_flag(argv: Sequence[str], wanted: str) -> tuple[str | None, list[str]]:
    """The value of a flag, and the command line without it."""
    name, rest, words = None, [], iter(argv)
    for word in words:
        flag, sign, value = word.partition("=")
        if flag != wanted:
            rest.append(word)
            continue
        given = value if sign else next(words, None)
        if not given:
            needed = (
                f"a file, or one of {', '.join(shipped_configs())}" if wanted == FLAG else "names: NAME,..."
            )
            raise ConfigError(f"{wanted} needs {needed}.")
        if name is not None:
            raise ConfigError(f"{wanted} is given twice: {name} and {given}.")
        name = given
    return name, rest


def _find(name: str) -> Traversable:
    path = Path(name)
    if path.is_file():
        return path
    if name in shipped_configs():
        return _shipped_folder() / f"{name}.toml"
    raise ConfigError(
        f"{FLAG} {name}: no such file, and none that comes with qn. {did_you_mean(name, shipped_configs())}"
    )


def _shipped_folder() -> Traversable:
    return files("experiments.settings") / "configs"


def _parse(path: Traversable) -> dict[str, object]:
    read = json.loads if path.name.endswith(".json") else tomllib.loads
    try:
        content = read(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ConfigError(f"{path}: not a readable TOML or JSON file (nested too deeply).") from error
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: not a readable TOML or JSON file ({error}).") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds {type(content).__name__}, expected a table of names and values.")
    return content


def _flags(key: str, value: object) -> list[str]:
    """What one would type."""
    name = f"--{key.replace('_', '-')}"
    if isinstance(value, bool):
        return [name if value else f"--no-{name.removeprefix('--')}"]
    if isinstance(value, tuple):
        return [f"{name}={','.join(str(one) for one in value)}"]
    if isinstance(value, dict):
        return [f"{name}={','.join(f'{k}={json.dumps(v)}' for k, v in value.items())}"]
    return [f"{name}={value}"]

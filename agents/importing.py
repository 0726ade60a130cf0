"""Classes behind import paths: found, and held to the contract, before anything is built."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

from qn_env.errors import ConfigError, in_a_line

METHODS = ("fit", "reset", "act")
FORM = "package.module:Class"
PACKAGES = ("agents", "experiments", "qn_env")  # which a user's folder cannot be called


def imported_class(path: str, *, beside_the_user: bool = False) -> type:
    """The class behind an import path; nothing of it is called.

    Args:
        path: `package.module:Class`.
        beside_the_user: whether the module may lie in the working directory, which is then looked at last, so
            that no file in it takes the place of an installed module.

    Raises:
        ConfigError: no import path, a module of Python's standard library, one that cannot be imported, no
            class of that name, a class without the methods of an agent.
    """
    module_name, _, class_name = path.partition(":")
    if not (class_name.isidentifier() and all(part.isidentifier() for part in module_name.split("."))):
        raise ConfigError(f"{path!r} is no import path; expected {FORM}.")
    if module_name.partition(".")[0] in sys.stdlib_module_names:
        raise ConfigError(
            f"{path}: {module_name!r} is a module of Python's standard library, which holds no agents; "
            "expected "
            f"the import path of an agent's class, {FORM}."
        )
    if beside_the_user and (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    module = _import_module(path, module_name)
    if not hasattr(module, class_name):
        raise ConfigError(f"{path}: module {module_name!r} has no class {class_name!r}.")
    return _check_class(path, getattr(module, class_name))


def _import_module(path: str, module_name: str) -> ModuleType:
    """The module; whatever its own code raises is told in one line."""
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise ConfigError(f"{path}: cannot be imported: {in_a_line(error)}.") from error
        ours = module_name.partition(".")[0]
        if ours in PACKAGES and (Path.cwd() / ours).is_dir():
            raise ConfigError(
                f"{path}: {ours!r} is a package of qn_env, and yours of the same name in {Path.cwd()} is "
                "hidden by it; rename your folder."
            ) from error
        raise ConfigError(
            f"{path}: no module named {error.name!r}; start the command where it can be imported."
        ) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{path}: cannot be imported: {in_a_line(error)}.") from error


def _check_class(path: str, named: object) -> type:
    if not isinstance(named, type):
        raise ConfigError(
            f"{path}: is a {type(named).__name__}, expected a class with the methods of an agent."
        )
    missing = [name for name in METHODS if not callable(getattr(named, name, None))]
    if missing:
        raise ConfigError(
            f"{path}: an agent needs the methods fit, reset and act; missing: {', '.join(missing)}."
        )
    return named

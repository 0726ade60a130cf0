"""The optional packages, asked for in one place."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from qn_env.errors import ConfigError


def require(module: str, *, what: str = "A report", extra: str = "report") -> Any:
    """Import an optional module, or say what needs it and how to install it.

    Examples:
        >>> require("math").pi > 3
        True
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ConfigError(
            f'{what} needs the package {package!r}, which is not installed: pip install "qn-env[{extra}]"'
        ) from error


PAGE = ("plotly", "matplotlib", "jinja2")  # what a page with figures is made with


def check_installed(packages: Sequence[str], *, what: str, extra: str = "report") -> None:
    """Refuse to begin what needs packages in the end that are not installed; nothing is imported.

    Raises:
        ConfigError: some are not there; all of them are named.

    Examples:
        >>> check_installed(("math",), what="Nothing")
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise ConfigError(
            f"{what} needs the package{'s' * (len(missing) > 1)} {', '.join(missing)}, not installed: "
            f'pip install "qn-env[{extra}]"'
        )

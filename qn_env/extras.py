"""The optional packages, asked for in one place."""

from __future__ import annotations

import importlib
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

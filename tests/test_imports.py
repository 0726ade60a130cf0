"""Imports point inward, and importing the environment changes nothing around it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "qn_env": {"qn_env"},
    "agents": {"agents", "qn_env"},
    "experiments": {"experiments", "agents", "qn_env"},
}


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_point_inward(package):
    outward = []
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            roots = {name.split(".")[0] for name in names} & set(MAY_IMPORT)
            outward += [f"{path.name}: {name}" for name in roots - MAY_IMPORT[package]]
    assert outward == []


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout


def test_importing_qn_env_and_its_environment_needs_no_torch():
    assert run("import qn_env, sys; qn_env.TradingEnv; print('torch' in sys.modules)").strip() == "False"


def test_importing_changes_no_warning_filter_and_no_random_state():
    code = """
import random, warnings, threading
import numpy as np
before = (list(warnings.filters), random.getstate(), repr(np.random.get_state()), threading.active_count())
import gymnasium
filters = list(warnings.filters)
import qn_env, agents, experiments
qn_env.TradingEnv
after = (random.getstate(), repr(np.random.get_state()), threading.active_count())
ours = [f for f in warnings.filters if f not in filters and 'qn_env' in str(f[3])]
print(before[1:] == after, ours)
"""
    assert run(code).strip() == "True []"


def test_an_unknown_attribute_is_an_attribute_error():
    import experiments
    import qn_env

    for module in (qn_env, experiments):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = module.nothing

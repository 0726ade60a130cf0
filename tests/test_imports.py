"""Imports point inward, and importing the environment changes nothing around it."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "qn_env": {"qn_env"},
    "agents": {"agents", "qn_env"},
    "experiments": {"experiments", "agents", "qn_env"},
}
# The rooms of `experiments`, each with those that it may import: all arrows point to earlier lines.
_BASIS = {"settings", "storage", "statistics"}
ROOMS: dict[str, set[str]] = {
    "settings": set(),
    "storage": set(),
    "statistics": set(),
    "results": _BASIS,
    "running": {*_BASIS, "results"} - {"statistics"},
    "artefacts": {"settings", "storage"},
    "report": {*_BASIS, "results", "artefacts"},
    "probes": {"statistics", "results"},
    "open_benchmark": {*_BASIS, "results", "running", "artefacts", "report", "probes"} - {"statistics"},
    "papers": {*_BASIS, "results", "running", "artefacts", "probes"},
    "benchmarks": {"results", "running"},
    "commands": {*_BASIS, "results", "running", "artefacts", "report", "probes", "open_benchmark"},
    "cli": {"settings", "running", "papers", "commands"},
    "__init__": {"settings", "running"},
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


def modules() -> dict[str, Path]:
    """Every module by its dotted name."""
    paths = [path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")]
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in paths}


def imported(path: Path, known: Mapping[str, Path]) -> set[str]:
    """The modules that one imports, wherever in it, also for the type checker alone."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{name.name}" for name in node.names}
            found |= {name if name in known else node.module for name in inner}
    return found & known.keys()


def test_no_two_files_import_each_other_by_any_way_round():
    known = modules()
    graph = {name: imported(path, known) - {name} for name, path in known.items()}
    list(graphlib.TopologicalSorter(graph).static_order())  # a CycleError names the circle


def test_the_rooms_of_experiments_import_what_the_table_allows_and_it_has_no_way_back():
    known = modules()
    arrows: dict[str, set[str]] = {room: set() for room in ROOMS}
    for name, path in known.items():
        if not name.startswith("experiments"):
            continue
        room = name.split(".")[1] if "." in name else "__init__"
        targets = {one.split(".")[1] for one in imported(path, known) if one.startswith("experiments.")}
        arrows[room] |= targets - {room}
    assert arrows == ROOMS, "the table is what there is: no arrow more, none less"
    order = list(ROOMS)
    assert all(order.index(other) < order.index(room) for room, others in ROOMS.items() for other in others)


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

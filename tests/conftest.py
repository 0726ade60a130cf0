"""Panels and environments the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from qn_env.panel import Panel
from qn_env.sources.synthetic import ragged

# One thread, as the trainings run; examples may be slow on a busy machine, and are the same every time.
torch.set_num_threads(1)
settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def panel() -> Panel:
    """Three ragged markets of 3, 1 and 4 assets with holidays, halts, late listings and delistings."""
    return ragged(seed=1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the figures that tests recorded, such as a learner's share of the optimum."""
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid}: {name} = {value}")

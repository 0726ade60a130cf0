"""One asset, the same price series: this project against the peers that install from PyPI."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import numpy as np

from experiments.benchmarks.environment.play import draw, steps, vector, vector_steps
from experiments.benchmarks.measure import Block, Row, compare, in_turn
from experiments.benchmarks.peer import Peer
from qn_env.arrays import FloatArray
from qn_env.environment import TradingEnv
from qn_env.panel import Panel
from qn_env.sources.synthetic import weekdays

INSTALL = "python -m venv peers && peers/bin/pip install gym-anytrading gym-trading-env"
NOT_MEASURED = f"baseline not measured: {INSTALL}, then --peers-python peers/bin/python"
CLAIMS = (
    ("one asset: step, window", "ours: scalar window", "gym-trading-env: window", 2.0),
    ("one asset: step, newest row", "ours: scalar row", "gym-trading-env: newest row", 2.0),
    ("one asset: step, window", "ours: scalar window", "gym-anytrading", None),
    ("one asset: vector step, window", "ours: vector window", "gym-anytrading", 10.0),
)


class Peers(Peer):
    """The peers' process: one answer, a figure per way of using each peer, per round."""

    def __init__(self, python: Path, prices: FloatArray, window: int) -> None:
        """Start it; `python` has the peers installed, in an environment of its own."""
        script = Path(__file__).with_name("peers.py")
        super().__init__(python, script, option="--peers-python", install=INSTALL)
        self.versions: dict[str, str] = self.ask({"prices": prices.tolist(), "window": window})

    def figures(self) -> dict[str, float]:
        """Transitions per CPU second of each way, and per package those of its fastest."""
        rates: dict[str, float] = self.ask("again")
        for package in ("gym-anytrading", "gym-trading-env"):
            rates[package] = max(value for name, value in rates.items() if name.startswith(package + ":"))
        return rates


def one_asset_rows(*, days: int, window: int, num_envs: int, rounds: int, python: Path | None) -> list[Row]:
    """Scalar and vector steps on a random walk of `days` prices, the peers' in turn with ours."""
    shocks = np.random.default_rng(1).standard_normal(days)
    prices: FloatArray = np.asarray(100.0 * np.cumprod(1.0 + 0.01 * shocks), dtype=np.float64)
    panel = Panel.build(weekdays(days - 1), ["A"], ["M"], (prices[1:] / prices[:-1] - 1.0)[:, None])
    actions = draw(days - window - 2, 1)
    sides: dict[str, Block] = {
        "ours: scalar window": steps(TradingEnv(panel, window=window), actions),
        "ours: scalar row": steps(TradingEnv(panel, window=window, observation="row"), actions),
        "ours: vector window": vector_steps(vector(panel, num_envs, window=window), draw(100, num_envs, 1)),
    }
    if python is None:
        ours = in_turn(sides, rounds)
        return [
            Row(what=what, unit="steps/s", ours=median(ours[side]), low=low, note=NOT_MEASURED)
            for what, side, _, low in CLAIMS
        ]
    with Peers(python, prices, window) as peers:
        versions = ", ".join(f"{name} {number}" for name, number in peers.versions.items())
        theirs = [peers.figures()]

        def ask() -> float:
            theirs.append(peers.figures())
            return 0.0

        figures = in_turn({**sides, "peers": ask}, rounds)
    for name in theirs[0]:
        figures[name] = [round_[name] for round_ in theirs[-rounds:]]
    return [
        compare(f"{what} / {peer}", "steps/s", figures, side, peer, low=low, note=versions)
        for what, side, peer, low in CLAIMS
    ]

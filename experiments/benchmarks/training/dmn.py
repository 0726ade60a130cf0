"""The rows of Deep Momentum Networks: LSTM steps, features and test passes, on one thread of the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from agents.closed import ClosedConfig
from agents.dmn import FEATURE_NAMES, DmnConfig
from agents.dmn.training_windows import TrainingWindows
from experiments.benchmarks.measure import Block, Row, compare, cpu_seconds, in_turn
from experiments.benchmarks.peer import Peer
from experiments.benchmarks.training.dmn_pass import feature_row, pass_rows
from experiments.benchmarks.training.dmn_step import AgentStep, BareStep, ClosedStep, trajectories
from experiments.benchmarks.training.panels import of_sizes

UNIT = "sequences/CPU s"
NARROW, WIDE = 20, 80

# What the reference machine of the targets gave, sequences per CPU second by width.
REFERENCE = {
    NARROW: "reference machine: bare 10,000, ours at least 8,000",
    WIDE: "reference machine: bare 2,680, ours at least 2,500",
}
KERAS_REFERENCE = {
    NARROW: "reference machine: Keras 1,956 to 2,576",
    WIDE: "reference machine: Keras 932 to 988",
}
INSTALL = "python -m venv keras && keras/bin/pip install tensorflow-cpu"
NOT_MEASURED = f"baseline not measured: {INSTALL}, then --keras keras/bin/python"


@dataclass(frozen=True, kw_only=True)
class Config:
    """One run of these rows.

    Attributes:
        rounds: repetitions of each comparison; a third as many of passes and features.
        assets: contracts.
        days: of the panel that steps are taken on.
        length: days of a trajectory.
        batch: trajectories per step.
        steps: timed steps in a round.
        dropout: of the comparison with Keras.
        feature_days: of the panel whose features are timed.
        years: of the test pass, without its warm-up.
        keras: an interpreter with TensorFlow; None leaves its side out.
    """

    rounds: int = 21
    assets: int = 88
    days: int = 2000
    length: int = 63
    batch: int = 128
    steps: int = 10
    dropout: float = 0.2
    feature_days: int = 6500
    years: int = 5
    keras: Path | None = None

    @classmethod
    def quick(cls, *, keras: Path | None = None) -> Config:
        """Every row in seconds: to see that it runs, not how fast."""
        return cls(
            rounds=1, assets=3, days=600, length=10, batch=5, steps=1, feature_days=700, years=1, keras=keras
        )


def rows(config: Config) -> Iterator[Row]:
    """Measure, row after row."""
    given = trajectories(of_sizes((config.assets,), config.days), config.length)
    for width in (NARROW, WIDE):
        yield bare_row(given, width, config)
    for width in (NARROW, WIDE):
        yield from keras_rows(given, width, config)
    for width in (NARROW, WIDE):
        yield closed_row(given, width, config)
    rounds = -(-config.rounds // 3)
    yield from pass_rows(assets=config.assets, years=config.years, wide=WIDE, rounds=rounds)
    yield feature_row(assets=config.assets, days=config.feature_days, rounds=rounds)


def bare_row(given: TrainingWindows, width: int, config: Config) -> Row:
    """The agent's step without dropout, where the fused kernel runs, against the bare step."""
    network = DmnConfig(hidden=width, dropout=0.0, batch=config.batch)
    batch = given.take(slice(config.batch))
    sides = {
        "ours": _rate(AgentStep(given, network), config),
        "bare": _rate(BareStep(batch, network), config),
    }
    return compare(
        f"LSTM step, width {width} / bare LSTM, head, loss and optimiser",
        UNIT,
        in_turn(sides, config.rounds),
        "ours",
        "bare",
        low=0.8,
        note=REFERENCE[width],
    )


def keras_rows(given: TrainingWindows, width: int, config: Config) -> list[Row]:
    """The agent's step with dropout on inputs, state and outputs, against Keras's LSTM in every way."""
    network = DmnConfig(hidden=width, dropout=config.dropout, batch=config.batch)
    ours = _rate(AgentStep(given, network), config)
    what, low = f"LSTM step, width {width}, full dropout", 1.7
    if config.keras is None:
        rate = median(in_turn({"ours": ours}, config.rounds)["ours"])
        return [Row(what=f"{what} / Keras", unit=UNIT, ours=rate, low=low, note=NOT_MEASURED)]
    request = {
        "width": width,
        "batch": config.batch,
        "days": config.length,
        "features": len(FEATURE_NAMES),
        "dropout": config.dropout,
        "steps": config.steps,
    }
    figures, versions = _beside_keras(ours, config.keras, request, config.rounds)
    note = f"{versions}; {KERAS_REFERENCE[width]}"
    return [
        compare(f"{what} / Keras {way}", UNIT, figures, "ours", way, low=low, note=note)
        for way in figures
        if way != "ours"
    ]


def closed_row(given: TrainingWindows, width: int, config: Config) -> Row:
    """The step of the LSTM that reads what it holds, against the open-loop one, both with full dropout."""
    sides = {
        "ours": ClosedStep(
            given, ClosedConfig(network="lstm", hidden=width, dropout=config.dropout, batch=config.batch)
        ),
        "open": AgentStep(given, DmnConfig(hidden=width, dropout=config.dropout, batch=config.batch)),
    }
    figures = in_turn({name: _rate(step, config) for name, step in sides.items()}, config.rounds)
    what = f"LSTM step, width {width}, reads what it holds / does not"
    return compare(what, UNIT, figures, "ours", "open", low=0.4)


def _beside_keras(
    ours: Block, python: Path, request: Mapping[str, float], rounds: int
) -> tuple[dict[str, list[float]], str]:
    """Figures of ours and of every way of Keras, in turn; and Keras's versions."""
    script = Path(__file__).with_name("keras_step.py")
    theirs: list[dict[str, float]] = []
    with Peer(python, script, option="--keras", install=INSTALL) as peer:
        versions: dict[str, str] = peer.ask(request)

        def ask() -> float:
            theirs.append(peer.ask("again"))
            return 0.0

        figures = {"ours": in_turn({"ours": ours, "Keras": ask}, rounds)["ours"]}
    for way in theirs[0]:
        figures[way] = [answer[way] for answer in theirs[-rounds:]]
    return figures, ", ".join(f"{name} {number}" for name, number in versions.items())


def _rate(step: Callable[[int], None], config: Config) -> Block:
    """Sequences per CPU second."""
    return lambda: config.steps * config.batch / cpu_seconds(lambda: step(config.steps))

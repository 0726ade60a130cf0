"""What a random search of X-Trend draws from."""

from __future__ import annotations

from agents.space import Choice, LogUniform, Space


def searched() -> Space:
    """Ours: the paper gives its ranges for other data. The cut of contexts is a choice, not drawn."""
    return {
        "hidden": Choice((8, 16, 32)),
        "dropout": Choice((0.1, 0.2, 0.3, 0.4, 0.5)),
        "context_days": Choice((5, 10, 21)),
        "recent": Choice((10, 20, 30)),
        "earlier": Choice((0, 5, 10)),
        "decay": LogUniform(30.0, 1000.0),
        "likelihood": Choice((0.0, 0.1, 1.0, 5.0)),
        "learning_rate": LogUniform(3e-4, 1e-2),
        "batch": Choice((64, 128, 256)),
    }

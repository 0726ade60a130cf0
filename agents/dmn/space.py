"""The search grids of Deep Momentum Networks, by the paper that published them."""

from __future__ import annotations

from agents.dmn.config import DmnConfig
from agents.space import Choice, Distribution

DROPOUT = (0.1, 0.2, 0.3, 0.4, 0.5)
L1 = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
# Ours: no paper prints a grid of these.
ROBUSTNESS, TEMPERATURE, STATIC = (0.25, 0.5, 1.0, 2.0), (0.25, 0.5, 1.0, 2.0), (2, 4, 8)
# Architectures of later papers, whose heads are searched over, too.
HEADS, WITH_HEADS = (1, 2, 4), ("tft", "xlstm", "lstm-patchtst", "patchtst", "itransformer", "mamba2")


def dmn2019(config: DmnConfig) -> dict[str, Distribution]:
    """Lim, Zohren, Roberts (2019), Exhibit A1; 50 draws, the whole search again at each recalibration.

    The steps of learning rate, gradient norm and L1 weight are read as powers of ten: the paper prints their
    ends. The linear model has neither a width nor dropout, and no other has an L1 penalty.
    """
    return _of_model(config, hidden=(5, 10, 20, 40, 80)) | {
        "batch": Choice((256, 512, 1024, 2048)),
        "learning_rate": Choice((1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)),
        "max_norm": Choice((1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)),
    }


def wood2022(config: DmnConfig) -> dict[str, Distribution]:
    """The later grid of the same group: wider networks, smaller batches, no extreme rates."""
    return _of_model(config, hidden=(5, 10, 20, 40, 80, 160)) | {
        "batch": Choice((64, 128, 256)),
        "learning_rate": Choice((1e-4, 1e-3, 1e-2, 1e-1)),
        "max_norm": Choice((1e-2, 1.0, 100.0)),
    }


SPACES = {"dmn2019": dmn2019, "wood2022": wood2022}


def _of_model(config: DmnConfig, hidden: tuple[int, ...]) -> dict[str, Distribution]:
    """What a network or a loss has for itself."""
    own: dict[str, Distribution] = {"hidden": Choice(hidden), "dropout": Choice(DROPOUT)}
    if config.network == "linear":
        own = {"l1": Choice(L1)}
    if config.network == "dlinear":  # which has no width either
        own = {"dropout": Choice(DROPOUT)}
    if config.network in WITH_HEADS:
        own |= {"heads": Choice(HEADS)}
    if config.loss == "softmin":
        own |= {"robustness": Choice(ROBUSTNESS), "temperature": Choice(TEMPERATURE)}
    if config.static:
        own |= {"static": Choice(STATIC)}
    return own

"""The search space of QuantNet and its No Transfer twins (Koshiyama et al. 2020, Table 3)."""

from __future__ import annotations

from agents.quantnet.config import QuantNetConfig
from agents.space import Choice, Distribution, Integer, LogUniform, Uniform

DIMENSIONS = (10, 25, 50, 100)
DROPOUT = Uniform(0.1, 0.9)


def quantnet2020(config: QuantNetConfig) -> dict[str, Distribution]:
    """What Table 3 searches for a variant: its parts decide which columns it has.

    The two No Transfer models and Linear-Linear have the wider batches, Linear-Linear and No Transfer the
    longer sequences, everything with an LSTM in the encoder/decoder or the transfer layer the larger rates.
    Shared weights, which the paper does not have, keep to small batches: every asset is an example.
    """
    if config.weights == "shared":
        return {
            "batch": Choice((4, 8, 16)),
            "length": Integer(21, 252),
            "learning_rate": LogUniform(5e-4, 1e-2),
            "dimension": Choice((5, 10, 20)),
            "dropout": Uniform(0.0, 0.5),
            "embedding_dropout": Uniform(0.5, 0.95),
        }
    lstm_body = config.encoder == "lstm"
    simple = config.transfer is None or (config.transfer == "linear" and not lstm_body)
    space: dict[str, Distribution] = {
        "batch": Integer(16, 128 if simple else 96),
        "length": Integer(21, 504 if simple else 252),
        "learning_rate": LogUniform(1e-4, 1e-1 if simple else 5e-1),
    }
    if lstm_body:
        space |= {"layers": Integer(1, 2), "dropout": DROPOUT}
    if config.transfer == "lstm":
        space |= {"transfer_layers": Integer(1, 2), "transfer_dropout": DROPOUT}
    if config.transfer is not None:
        space["dimension"] = Choice(DIMENSIONS)
    return space

"""What Koshiyama et al. (2020) printed, to stand beside our own figures: references, never targets.

"QuantNet: Transferring Learning Across Systematic Trading Strategies", over 3,103 stocks of 58 markets whose
data cannot be redistributed. The paper tunes on and reports the same last 752 days; this harness does not.
The numbers are in published/*.csv, each file under a first line that says where the paper prints them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

import pandas as pd
import pyarrow.csv as arrow_csv

from experiments.results.headings import as_printed

# Rows of Tables 1 and 5, under the paper's names.
METRICS = as_printed(
    {
        "cagr": "Ann Ret",
        "ann_volatility": "Ann Vol",
        "calmar": "CR",
        "downside_risk": "DownRisk",
        "kurtosis": "Kurt",
        "max_drawdown": "MDD",
        "sharpe": "SR",
        "skew": "Skew",
        "sortino": "SortR",
    }
)
METRIC_LABELS: Mapping[str, str] = {metric.name: metric.title for metric in METRICS}

LABELS: Mapping[str, str] = {
    "buy-and-hold": "Buy and hold",
    "risk-parity": "Risk parity",
    "ts-momentum": "TS Mom",
    "cs-momentum": "CS Mom",
    "moving-average": "Moving average",
    "no-transfer-lstm": "No Transfer LSTM",
    "no-transfer-linear": "No Transfer Linear",
    "quantnet": "QuantNet",
    "quantnet-shared": "QuantNet Shared",
    "quantnet-shared-zero": "QuantNet Shared, unseen",
    "quantnet-linear-linear": "QuantNet Linear-Linear",
    "quantnet-linear-lstm": "QuantNet Linear-LSTM",
    "quantnet-lstm-lstm": "QuantNet LSTM-LSTM",
}

BUY_AND_HOLD_NOTE = (
    "The printed Sharpe ratio of buy and hold, 0.000051, does not agree with the Sortino ratio and the "
    "volatility of the same column, which imply about 0.15."
)

# Table 3's configurations. The paper's text leaves open which of them have layers and dropout: they are
# placed by the structure of each.
CONFIGURATIONS: Mapping[str, str] = {
    "no-transfer-linear": "No Transfer Linear",
    "no-transfer-lstm": "No Transfer LSTM",
    "quantnet-linear-linear": "QuantNet Linear-Linear",
    "quantnet-linear-lstm": "QuantNet Linear-LSTM",
    "quantnet": "QuantNet LSTM-Linear",
    "quantnet-lstm-lstm": "QuantNet LSTM-LSTM",
}
# Its hyperparameters, and the names that an agent's options may give each.
HYPERPARAMETERS: Mapping[str, tuple[str, ...]] = {
    "Batch size (L)": ("batch", "batch_size"),
    "Sequence length (p)": ("length", "sequence_length"),
    "Learning rate": ("learning_rate", "lr"),
    "E/D layers": ("layers", "encoder_layers"),
    "E/D dropout": ("dropout", "encoder_dropout"),
    "TL layers": ("transfer_layers",),
    "TL dropout": ("transfer_dropout",),
    "TL dimension (N)": ("dimension",),
    "Training steps": ("steps",),
}

ABOVE_ONE: Mapping[str, int] = {"no-transfer-linear": 432, "quantnet": 583}  # section 4.2: assets, SR > 1.0
DIMENSIONS = (10, 25, 50, 100)  # of the transfer layer, in Table 7


@cache
def read_published(name: str) -> pd.DataFrame:
    """The table in published/NAME.csv, every number as printed; read once, so not to be written to."""
    with (files(__package__) / "published" / f"{name}.csv").open("rb") as source:
        # By Arrow, as pandas 2 can miss the last bit of a number.
        return arrow_csv.read_csv(source, arrow_csv.ReadOptions(skip_rows=1)).to_pandas()


def join_published(data: pd.DataFrame, name: str, on: Sequence[str]) -> pd.DataFrame:
    """Our figures and the paper's behind them, as columns `published_...`; NaN where it prints none.

    Args:
        data: ours.
        name: of the paper's table, as `read_published` takes it.
        on: columns that both have and by which rows meet.
    """
    return data.join(read_published(name).set_index(list(on)).add_prefix("published_"), on=list(on))

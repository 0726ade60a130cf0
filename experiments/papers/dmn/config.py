"""What a study of Deep Momentum Networks is given: data, windows and budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from experiments.papers.config import JudgedLate
from experiments.settings.config import NAMES, Calendar, check_agents, check_counts, take_days
from qn_env.checks import MOST_COST_BPS, check_number

NETWORKS = ("linear", "mlp", "wavenet", "lstm")
LOSSES = ("sharpe", "average", "mse", "binary")
MODELS = tuple(f"dmn-{network}-{loss}" for loss in LOSSES for network in NETWORKS)
RIVALS = ("momentum-transformer", "spatiotemporal")
REFERENCES = ("long-only", "sgn-returns", "macd")
LSTM = "dmn-lstm-sharpe"
REGULARISED = "dmn-lstm-sharpe-turnover"  # the LSTM with the turnover regulariser of Eqs. 35-36


@dataclass(frozen=True, kw_only=True)
class DmnStudy(JudgedLate):
    """Deep Momentum Networks beside their references: every exhibit of the paper.

    Recalibrated from scratch before every test block on everything before it, each time with a random search
    of its own. With --quick, two short windows, no search and short trainings, marked as not comparable.
    """

    PAPER_COSTS: ClassVar[tuple[float, ...]] = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0)

    calendar: Calendar = "union"
    """What the days of a block are counted on: the dates of all markets together, so that no market learns
    from days on which another one is selected on; or each market's own trading days."""

    begin: str | None = "1990-01-01"
    """First day of the data that is used, YYYY-MM-DD."""

    test_from: str | None = "1995-01-01"
    """First test day, YYYY-MM-DD."""

    test_years: int = 5
    """Years of a test block."""

    models: Annotated[tuple[str, ...], NAMES] = MODELS
    """Models of the paper, and their rivals by name."""

    draws: int = 50
    """Configurations tried per Sharpe-trained model and recalibration."""

    other_draws: int = 50
    """The same for every other model."""

    seeds: int = 1
    """Seeds of the chosen configuration."""

    epochs: int = 100
    """Epochs at most."""

    patience: int = 25
    """Epochs without a better validation score."""

    turnover_bps: float = 10.0
    """Cost inside the loss of the turnover-regularised LSTM."""

    quick: bool = False
    """No search and one seed, every option as registered for a quick run; two windows of the last years."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "draws", "other_draws", "seeds", "epochs", "patience", "test_years")
        take_days(self, "begin", "test_from")
        check_agents(self.models, "models")
        check_number("turnover_bps", self.turnover_bps, 0.0, MOST_COST_BPS, unit="a number of basis points")

    def draws_of(self, model: str) -> int:
        """Trials of a model and recalibration."""
        sharpe = model.endswith(("-sharpe", "-turnover")) or model in RIVALS
        return self.draws if sharpe else self.other_draws

"""The hyperparameters of Deep Momentum Networks, and what their inputs are called."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from agents.limits import (
    MOST_WIDTH,
    check_counts,
    check_penalties,
    check_positive,
    check_shares,
    check_widths,
)
from qn_env.changepoints.evidence import FEWEST_DAYS, MOST_DAYS
from qn_env.changepoints.feature import PARTS
from qn_env.checks import check_items, check_known, check_whole
from qn_env.errors import ConfigError

NetworkName = Literal[
    "linear",
    "mlp",
    "wavenet",
    "lstm",
    "transformer",
    "vsn-lstm",
    "tft",
    "xlstm",
    "lstm-patchtst",
    "patchtst",
    "dlinear",
    "itransformer",
    "mamba2",
]
LossName = Literal["sharpe", "average", "mse", "binary", "softmin"]
SpaceName = Literal["dmn2019", "wood2022"]
SplitName = Literal["date", "asset"]

# The eight inputs u_t, in the order of `qn_env.features.dmn_features`.
FEATURE_NAMES = (
    *("return 1", "return 21", "return 63", "return 126", "return 252"),
    *("MACD 8-24", "MACD 16-48", "MACD 32-96"),
)


class Objective(NamedTuple):
    """What is minimised: a loss by its name, and the numbers that the robust one has.

    Attributes:
        loss: its name.
        robustness: what the smooth worst year counts beside the pooled Sharpe ratio, lambda.
        temperature: tau of that smooth minimum, an annualised Sharpe ratio.
    """

    loss: LossName
    robustness: float = 1.0
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True)
class DmnConfig:
    """Hyperparameters; values of the paper's search grid (Exhibit A1) where it has one."""

    network: NetworkName = "lstm"
    loss: LossName = "sharpe"
    hidden: int = 20  # width of every state; the linear model has none
    dropout: float = 0.2  # one rate for all masks; the linear model has none
    l1: float = 1e-5  # penalty on the linear model's weights (Eq. 19), in units of the loss
    train_cost_bps: float = 0.0  # c of the turnover regularisation (Eqs. 35-36)
    heads: int = 4  # of attention, of an xLSTM's memory, of a state space
    context: int = 63  # days that attention or a window reaches back to, today among them
    batch: int = 256  # of a step: trajectories of a network with a state, asset-days of the others
    learning_rate: float = 1e-2
    max_norm: float = 1.0  # of the gradient
    epochs: int = 100
    patience: int = 25  # epochs without a better validation loss
    length: int = 63  # days of a trajectory
    changepoints: tuple[int, ...] = ()  # look-backs whose severity and location of a changepoint are inputs
    static: int = 0  # width of the learnt vectors of asset and market that are further inputs; 0: none
    robustness: float = 1.0  # of the loss "softmin": what the smooth worst year counts beside the pooled one
    temperature: float = 1.0  # of that smooth minimum, an annualised Sharpe ratio
    split: SplitName = "date"  # selects on the given block, or on each asset's own last tenth
    search: SpaceName = "dmn2019"  # what a random search draws from

    def __post_init__(self) -> None:
        for name, kinds in KINDS.items():
            check_known(name, getattr(self, name), get_args(kinds))
        check_widths(self, ("hidden", "heads", "context"))
        check_whole("static", self.static, 0, MOST_WIDTH)
        object.__setattr__(self, "changepoints", _look_backs(self.changepoints))
        check_positive(self, ("temperature",))
        check_penalties(self, ("robustness",))
        check_training(self)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the inputs are called: the eight of the paper, then those of changepoints."""
        parts = (f"changepoint {part} {days}" for days in self.changepoints for part in PARTS)
        return (*FEATURE_NAMES, *parts)

    @property
    def objective(self) -> Objective:
        """What is minimised; without the numbers that its loss does not have."""
        numbers = (self.robustness, self.temperature) if self.loss == "softmin" else ()
        return Objective(self.loss, *numbers)


def _look_backs(given: Iterable[int]) -> tuple[int, ...]:
    """Look-backs of changepoints, each once; a checkpoint holds them as a list."""
    days = check_items("changepoints", given, lambda one: True, "a list of days, e.g. 21,126")
    found = tuple(check_whole("changepoints", one, FEWEST_DAYS, MOST_DAYS) for one in days)
    if len(set(found)) < len(found):
        raise ConfigError(f"changepoints: {', '.join(map(str, found))}; a look-back appears twice.")
    return found


KINDS = {"network": NetworkName, "loss": LossName, "search": SpaceName, "split": SplitName}


def check_training(config: object) -> None:
    """Refuse what every configuration of a training has, out of its range.

    Raises:
        ConfigError: with the name of the field.
    """
    check_counts(config, ("batch", "epochs", "patience", "length"))
    check_shares(config, ("dropout",))
    check_positive(config, ("learning_rate", "max_norm"))
    check_penalties(config, ("l1", "train_cost_bps"))

"""The hyperparameters of X-Trend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict, get_args

from agents.limits import check_counts, check_penalties, check_positive, check_shares, check_widths
from qn_env.checks import check_known
from qn_env.errors import ConfigError

Cut = Literal["changepoints", "fixed"]


class Choice(TypedDict):
    """What `agents.xtrend.contexts.context_sets` is told."""

    recent: int
    earlier: int
    renew: int


@dataclass(frozen=True, kw_only=True)
class XTrendConfig:
    """Hyperparameters; the paper searches widths, dropout and the number of contexts."""

    hidden: int = 16  # width of every state
    heads: int = 2  # of the attention
    embedding: int = 4  # width of an asset's embedding
    embedding_dropout: float = 0.5  # share of the windows that are learnt from as if their asset were unseen
    embedding_decay: float = 1e-3  # L2 penalty's gradient per unit of embedding
    decay: float = 150.0  # the same, over the windows learnt from, of what bends the line from inputs
    dropout: float = 0.4  # of what leaves an encoder or the decoder's LSTM
    contexts: Cut = "fixed"  # where histories are cut into context sequences
    context_days: int = 10  # of a context sequence, at most
    look_back: int = 21  # days that a changepoint is looked for in
    threshold: float = 0.5  # severity beyond which a change ends a sequence
    shortest: int = 5  # days of a sequence that ends at one
    recent: int = 20  # context sequences of a day: the latest that have ended
    earlier: int = 4  # and some that are drawn from all before them
    renew: int = 21  # days after which those are drawn anew
    bank: int = 256  # context sequences of the training panel that a trained agent keeps
    likelihood: float = 3.0  # alpha, of the negative log-likelihood beside the Sharpe ratio
    train_cost_bps: float = 0.0  # costs inside the Sharpe ratio
    batch: int = 128  # windows of a step
    length: int = 63  # days of a window
    learning_rate: float = 3e-3
    max_norm: float = 1.0  # of the gradient
    epochs: int = 80
    patience: int = 25  # epochs without a better validation loss

    def __post_init__(self) -> None:
        check_known("contexts", self.contexts, get_args(Cut))
        check_widths(self, ("hidden", "heads", "embedding", "context_days", "recent"))
        check_counts(self, ("renew", "bank", "batch", "length", "epochs", "patience"))
        check_counts(self, ("look_back", "shortest"))
        check_shares(self, ("dropout", "embedding_dropout", "threshold"))
        check_positive(self, ("learning_rate", "max_norm"))
        check_penalties(self, ("decay", "embedding_decay", "likelihood", "train_cost_bps"))
        if self.earlier != 0:
            check_widths(self, ("earlier",))
        if self.shortest > self.context_days:
            raise ConfigError(
                f"shortest is {self.shortest}, expected at most context_days, {self.context_days}."
            )
        if self.hidden % self.heads:
            raise ConfigError(f"hidden is {self.hidden}, expected a multiple of heads, {self.heads}.")

    @property
    def sets(self) -> Choice:
        """How the context set of a day is chosen."""
        return {"recent": self.recent, "earlier": self.earlier, "renew": self.renew}

"""What `compare` gives back: the figures of a run, and how a notebook shows them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from experiments.results.books import at_level, levels_in
from experiments.results.headings import HEADINGS
from experiments.results.leaderboard import as_text
from experiments.results.metrics import growth_of_one
from experiments.results.run import ranked_first
from experiments.settings.config import IN_WORDS, Execution, Level, in_bp, level_name, other_execution
from experiments.storage.store import RunFolder
from qn_env.errors import ConfigError
from qn_env.extras import require

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Columns of the leaderboard as a notebook shows them.
SHOWN = ("sharpe", "ann_return", "ann_volatility", "max_drawdown", "turnover")


@dataclass(frozen=True)
class Comparison:
    """A finished run; in a notebook it shows its leaderboard.

    Attributes:
        path: the run folder; `qn report` writes its page.
    """

    path: Path

    @property
    def folder(self) -> RunFolder:
        """The run folder, with everything a run writes."""
        return RunFolder(self.path)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Tidy: run, agent, market, asset, seed, split, execution, cost_bps, metric, value; "*" is all."""
        return self.folder.results()

    @cached_property
    def portfolio(self) -> pd.DataFrame:
        """Daily returns of every agent's portfolio, by seed, execution and cost."""
        return self.folder.portfolio()

    @cached_property
    def rank_by(self) -> Execution:
        """The execution that ranks: "late", one trading day after the decision, or "on-time"."""
        return ranked_first(self.folder.record())[0]

    def leaderboard(self, cost: Level | None = None, execution: Execution | None = None) -> pd.DataFrame:
        """The ranking at a cost, best first; default: the execution that ranks.

        The default cost is each asset's own, where the data say it, else the run's highest.

        Raises:
            ConfigError: a cost that the run does not have.
        """
        board = self.folder.leaderboard()
        board = board[board["execution"] == (execution or self.rank_by)]
        return at_level(board, self._cost(cost)).reset_index(drop=True)

    def plot(self, cost: Level | None = None, execution: Execution | None = None) -> go.Figure:
        """Growth of one, net, of every agent's portfolio, the mean over its seeds; a Plotly figure.

        Raises:
            ConfigError: a cost that the run does not have, or no Plotly.
        """
        graphs = require("plotly.graph_objects", what="A figure")
        chosen, traded = self._cost(cost), execution or self.rank_by
        days = at_level(self.portfolio, chosen)
        days = days[days["execution"] == traded]
        figure: go.Figure = graphs.Figure()
        for agent in self.leaderboard(cost, traded)["agent"]:
            net = days[days["agent"] == agent].pivot(index="date", columns="seed", values="net").mean(axis=1)
            grown = growth_of_one(net.to_numpy()[:, None])[:, 0]
            figure.add_scatter(x=net.index, y=grown, name=agent, mode="lines")
        figure.update_layout(
            title=f"Growth of one, net of {in_bp(chosen)}, {IN_WORDS[traded]}",
            template="plotly_white",
            hovermode="x unified",
        )
        return figure

    def __repr__(self) -> str:
        return f"{as_text(self.folder.leaderboard(), self.rank_by)}\n\n{self.path}"

    def _repr_html_(self) -> str:
        """The leaderboard at the highest cost, for notebooks."""
        board = self.leaderboard()
        columns = {"agent": "Agent", **{name: HEADINGS[name].title for name in SHOWN}}
        forms = {HEADINGS[name].title: f"{{:{HEADINGS[name].form}}}".format for name in SHOWN}
        shown = board[list(columns)].rename(columns=columns)
        ends = zip(board["sharpe_low"], board["sharpe_high"], strict=True)
        shown.insert(2, "95% interval", [f"[{low:.2f}, {high:.2f}]" for low, high in ends])
        other = self.leaderboard(execution=other_execution(self.rank_by)).set_index("agent")["sharpe"]
        beside = [f"{other[agent]:.2f}" for agent in board["agent"]]
        shown.insert(3, IN_WORDS[other_execution(self.rank_by)].capitalize(), beside)
        html = shown.to_html(index=False, formatters=forms, border=0)
        told = f"Net of {in_bp(self._cost(None))}, {IN_WORDS[self.rank_by]}; {self.path}"
        return f"<p>{told}</p>{html}"

    def _cost(self, cost: Level | None) -> Level:
        known = levels_in(self.folder.leaderboard())
        if cost is None:
            return known[-1]
        if cost not in known:
            told = ", ".join(level_name(one) for one in known)
            raise ConfigError(f"cost is {cost}, expected one of the run's: {told}.")
        return cost

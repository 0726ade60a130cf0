"""The table of Sharpe ratios by how dear assets are to trade, as every page shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from experiments.artefacts.items import Table
from experiments.artefacts.numbers import format_digits, format_value
from experiments.settings.config import EXECUTIONS, IN_SHORT


def thirds_table(
    sharpe: pd.DataFrame,
    bps: pd.DataFrame,
    agents: Sequence[str],
    *,
    named: Callable[[str], str] = str,
    heading: str = "Agent",
) -> Table:
    """Mean Sharpe ratio of the assets of each third after their own costs, late and on time.

    Args:
        sharpe: agent, execution, third, sharpe.
        bps: index third from the cheapest on, columns min and max.
        agents: the rows.
        named: what an agent is called.
        heading: what agents are called.
    """
    value: Mapping[tuple[str, str, str], float] = sharpe.set_index(["agent", "execution", "third"])[
        "sharpe"
    ].to_dict()
    names = list(bps.index)
    shown = [
        {heading: named(agent)}
        | {
            f"{name.capitalize()}, {IN_SHORT[execution]}": format_value(
                value.get((agent, execution, name), np.nan), ".2f"
            )
            for execution in EXECUTIONS
            for name in names
        }
        for agent in agents
    ]
    least, most = (bps[end].map(partial(format_digits, digits=2)) for end in ("min", "max"))
    told = [f"{name} {least[name]} to {most[name]} bp" for name in names]
    return Table(
        name="thirds",
        title="By how dear assets are to trade",
        caption="Mean Sharpe ratio of single assets after their own costs, late and on time, by thirds of "
        f"what trading costs ({', '.join(told)}). What is earned in the dear third alone, or there on time "
        "alone, is no edge.",
        data=sharpe[sharpe["agent"].isin(list(agents))].reset_index(drop=True),
        shown=pd.DataFrame(shown),
    )

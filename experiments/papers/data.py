"""The panel of a study: daily bars, which the papers' settings and figures are of."""

from __future__ import annotations

from experiments.running.runner import load_panel, without_costs
from experiments.settings.config import PanelConfig
from qn_env.errors import DataError
from qn_env.panel import Panel
from qn_env.year import DAYS_PER_YEAR


def daily_panel(config: PanelConfig) -> Panel:
    """The panel that a study's configuration names.

    Raises:
        DataError: its year has another number of bars than 252: a paper's window of 63 days, its costs a day
            and its figures would be something else.
    """
    panel = without_costs(load_panel(config))
    if panel.bars_per_year != DAYS_PER_YEAR:
        raise DataError(
            f"the panel has {panel.bars_per_year:,g} bars a year, expected {DAYS_PER_YEAR}: the study of a "
            "paper is of daily data. Compare agents on it by qn run; where it is daily, say "
            "--bars-per-year 252."
        )
    return panel

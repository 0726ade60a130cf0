"""The panel of a study: daily bars, which the papers' settings and figures are of."""

from __future__ import annotations

from dataclasses import replace

from experiments.papers.config import StudyData
from experiments.running.runner import load_panel, refuse_unsaid_costs, without_costs
from experiments.settings.config import MARKET, PanelConfig, RunConfig
from qn_env.errors import DataError
from qn_env.panel import Panel
from qn_env.year import DAYS_PER_YEAR


def priced_panel(study: StudyData, whole: RunConfig) -> tuple[RunConfig, Panel]:
    """A study's run with its levels of costs, and its panel: those asked for, else the study's own.

    Where the data say what each asset costs, that is one of them unless others were asked for; else the panel
    is without it.

    Args:
        study: the settings.
        whole: of its run.

    Raises:
        ConfigError: an asset without a cost, where each asset's own are charged.
        DataError: as `daily_panel`.
    """
    panel = daily_panel(whole)
    levels = study.costs
    if levels is None:
        levels = (*study.PAPER_COSTS, *([MARKET] if panel.own_costs is not None else []))
    if MARKET in levels:
        refuse_unsaid_costs(panel)
    else:
        panel = without_costs(panel)
    return replace(whole, costs=levels), panel


def daily_panel(config: PanelConfig) -> Panel:
    """The panel that a study's configuration names.

    Raises:
        DataError: its year has another number of bars than 252: a paper's window of 63 days, its costs a day
            and its figures would be something else.
    """
    panel = load_panel(config)
    if panel.bars_per_year != DAYS_PER_YEAR:
        raise DataError(
            f"the panel has {panel.bars_per_year:,g} bars a year, expected {DAYS_PER_YEAR}: the study of a "
            "paper is of daily data. Compare agents on it by qn run; where it is daily, say "
            "--bars-per-year 252."
        )
    return panel

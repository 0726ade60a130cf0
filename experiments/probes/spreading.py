"""The `context` probe: two laws spread from market to market, so that others' days tell which is in force."""

from __future__ import annotations

from experiments.probes.controls import Switching
from experiments.probes.optima import ar1_ratio, normal_optimum
from experiments.probes.play import play_agent, train_agent
from experiments.probes.sharing import on_other_markets
from experiments.probes.trials import Build, Figures, share
from qn_env.panel import Panel
from qn_env.sources.synthetic import cascade

MARKETS, UNSEEN, ASSETS = 20, 4, 2
COEFFICIENT, VOLATILITY, MEAN_DAYS, LEAST_DAYS = 0.2, 0.01, 60, 20
OPTIMUM = normal_optimum(ar1_ratio(COEFFICIENT))  # the same under either law


def context_panel(days: int, seed: int) -> Panel:
    """The markets that are learnt from, and behind them those that are not."""
    return cascade(
        coefficient=COEFFICIENT,
        volatility=VOLATILITY,
        mean_days=MEAN_DAYS,
        least_days=LEAST_DAYS,
        markets=MARKETS + UNSEEN,
        assets=ASSETS,
        days=days,
        seed=seed,
    )


def context_trial(build: Build, panel: Panel, days: int, seed: int) -> Figures:
    """The share of the optimum of who knows which law is in force, and how far beyond one's own past that is.

    The best that can be made of an asset's own past is taken from a filter that knows both laws and how long
    they last. Beside it the share in the markets that were not learnt from, of agents that play such.
    """
    test, names = slice(days, None), list(panel.markets)
    known = panel.select(names[:MARKETS])
    chosen = train_agent(build(), known, slice(days), seed=seed)
    played = play_agent(chosen, known, test)
    own = play_agent(own_past(), known, test).mean_sharpe() / OPTIMUM.sized
    figures = {**share(played, OPTIMUM), "beyond own past": played.mean_sharpe() / OPTIMUM.sized - own}
    other = on_other_markets(chosen, panel, days, seed)
    if other is not None:
        new = slice(panel.markets[names[MARKETS]].columns.start, None)
        figures["new"] = play_agent(other, panel, test).of(new).mean_sharpe() / OPTIMUM.sized
    return figures


def all_pasts() -> Switching:
    """The positive control: a filter that takes what the days of all assets tell for one law."""
    return Switching(COEFFICIENT, VOLATILITY, MEAN_DAYS, least_days=LEAST_DAYS, reads="all")


def own_past() -> Switching:
    """The same filter on each asset's own days."""
    return Switching(COEFFICIENT, VOLATILITY, MEAN_DAYS, least_days=LEAST_DAYS, reads="own")

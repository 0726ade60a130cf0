"""The `context` probe: two laws spread from market to market, and others' days tell which is in force."""

from __future__ import annotations

import numpy as np

from agents.adapting import adapts
from agents.agent import learns
from experiments.probes.controls import Chain, Switching
from experiments.probes.optima import ar1_ratio, normal_optimum
from experiments.probes.play import play_agent, train_agent
from experiments.probes.sharing import on_other_markets
from experiments.probes.trials import Build, Figures, share
from qn_env.panel import Panel
from qn_env.sources.synthetic import cascade

MARKETS, UNSEEN, ASSETS = 20, 4, 2
COEFFICIENT, VOLATILITY = 0.2, 0.01
MEAN_DAYS, LEAST_DAYS, SPREAD = 60, 20, 10
OPTIMUM = normal_optimum(ar1_ratio(COEFFICIENT))  # the same under either law


def context_panel(days: int, seed: int) -> Panel:
    """The markets that are learnt from, and behind them those that are not."""
    return cascade(
        coefficient=COEFFICIENT,
        volatility=VOLATILITY,
        mean_days=MEAN_DAYS,
        least_days=LEAST_DAYS,
        spread=SPREAD,
        markets=MARKETS + UNSEEN,
        assets=ASSETS,
        days=days,
        seed=seed,
    )


def context_trial(build: Build, panel: Panel, days: int, seed: int) -> Figures:
    """The share of the optimum of who knows which law is in force, and how far beyond one's own past that is.

    The best that can be made of an asset's own past is taken from a filter that knows both laws and how they
    change. Beside it the share in the markets that were not learnt from, of agents that play such.
    """
    test, names = slice(days, None), list(panel.markets)
    known = panel.select(names[:MARKETS])
    chosen = train_agent(build(), known, slice(days), seed=seed)
    played = play_agent(chosen, known, test)
    own = play_agent(own_past(), known, test).mean_sharpe() / OPTIMUM.sized
    figures = {**share(played, OPTIMUM), "beyond own past": played.mean_sharpe() / OPTIMUM.sized - own}
    if adapts(chosen) or not learns(chosen):
        other = on_other_markets(chosen, panel, days, seed)
        new = slice(panel.markets[names[MARKETS]].columns.start, None)
        figures["new"] = play_agent(other, panel, test).of(new).mean_sharpe() / OPTIMUM.sized
    return figures


def all_pasts() -> Switching:
    """The positive control: a filter that takes what the days of all assets tell for one law."""
    return Switching(COEFFICIENT, VOLATILITY, chain_of_a_market(), reads="all")


def own_past() -> Switching:
    """The same filter on each asset's own days, of which nothing makes more."""
    return Switching(COEFFICIENT, VOLATILITY, chain_of_a_market(), reads="own")


def chain_of_a_market(
    mean_days: int = MEAN_DAYS, least_days: int = LEAST_DAYS, spread: int = SPREAD
) -> Chain:
    """The law of one market's sign in `cascade`: states are its sign, the regime's age, and who is in it.

    A regime may end from the age of `least_days` days on, each day with the same probability. Of the days on
    which a market may enter it, those that are left are equally likely.
    """
    states = [(age, True) for age in range(least_days + 1)] + [(age, False) for age in range(spread)]
    place = {state: number for number, state in enumerate(states)}
    S, end = len(states), 1.0 / (mean_days - least_days)
    stay, flip = np.zeros((2, S, S))  # to states of the same sign, and of the other
    for (age, entered), here in place.items():
        if not entered:
            enters = 1.0 / (spread - age)
            flip[here, place[age + 1, True]] = enters
            if enters < 1.0:
                stay[here, place[age + 1, False]] = 1.0 - enters
            continue
        ends = end if age == least_days else 0.0
        stay[here, place[min(age + 1, least_days), True]] = 1.0 - ends
        flip[here, place[0, True]] += ends / (spread + 1)
        if spread > 0:
            stay[here, place[0, False]] += ends * spread / (spread + 1)
    first = np.zeros(2 * S)
    first[[place[0, True], S + place[0, True]]] = 0.5
    return Chain(np.repeat([1.0, -1.0], S), first, np.block([[stay, flip], [flip, stay]]))

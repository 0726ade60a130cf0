"""One agent on one probe with one seed: trained, played, measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from agents.agent import Agent, watch
from agents.training import Monitor, Progress
from experiments.probes.optima import Optimum
from experiments.probes.play import Played, play_agent, train_agent
from experiments.probes.programme import Law, best_blind_policy, best_policy
from qn_env.economics import BASIS_POINT
from qn_env.panel import Panel
from qn_env.year import DAYS_PER_YEAR

# An untrained agent.
Build = Callable[[], Agent]


def with_progress(build: Build, report: Progress | None) -> Build:
    """The same agents, whose trainings tell `report` how far they are; None: a bar on the terminal."""

    def built() -> Agent:
        agent = build()
        watch(agent, Monitor(progress=report))
        return agent

    return built


# What was measured, by name.
Figures = dict[str, float]

# Measures an agent that is built, on a panel of whose rows it learns from the first `days`, with a seed.
Trial = Callable[[Build, Panel, int, int], Figures]


def share(played: Played, optimum: Optimum) -> Figures:
    """The mean Sharpe ratio as a share of the optimum; of the best sides where no sizes were taken."""
    if played.takes_sides:
        return {"share of sides": played.mean_sharpe() / optimum.sided}
    return {"share": played.mean_sharpe() / optimum.sized}


def share_trial(optimum: Optimum, build: Build, panel: Panel, days: int, seed: int) -> Figures:
    """The share of the optimum on the days after the training."""
    return share(_held_out(build, panel, days, seed), optimum)


def drift_trial(optimum: Optimum, build: Build, panel: Panel, days: int, seed: int) -> Figures:
    """The share of the optimum, and the annualised turnover."""
    played = _held_out(build, panel, days, seed)
    return {**share(played, optimum), "turnover": _turnover(played)}


def noise_trial(build: Build, panel: Panel, days: int, seed: int) -> Figures:
    """The mean Sharpe ratio, and its standard error where there is nothing to be found.

    On independent returns around 0 daily gains are uncorrelated over days and assets whatever the agent does,
    so that the mean over N assets and D days has the annualised error sqrt(252 / (D N)).
    """
    played = _held_out(build, panel, days, seed)
    return {"sharpe": played.mean_sharpe(), "error": (DAYS_PER_YEAR / played.gross.size) ** 0.5}


def contagion_trial(optimum: Optimum, build: Build, panel: Panel, days: int, seed: int) -> Figures:
    """The share of the optimum in the second market, the follower."""
    _, follower = panel.markets.values()
    return share(_held_out(build, panel, days, seed).of(follower.columns), optimum)


def costs_trial(cost_bps: float, build: Build, panel: Panel, days: int, seed: int) -> Figures:
    """Annualised turnover and net return of an agent that also learns under the costs it pays.

    Beside them the net return in standard errors of this one test block, 0 of who stays flat, and the share
    of the assets that were never held. Over many seeds any trade at all would show as a loss beyond chance.
    """
    played = _held_out(build, panel, days, seed, cost_bps)
    portfolio = played.net(cost_bps).mean(axis=1)
    mean, error = float(portfolio.mean()), float(portfolio.std(ddof=1)) / len(portfolio) ** 0.5
    return {
        "turnover": _turnover(played),
        "net return": DAYS_PER_YEAR * mean,
        "net / error": mean / error if error > 0.0 else 0.0,
        "flat": float((played.gross == 0.0).all(axis=0).mean()),
    }


def costly_trial(
    law: Law, volatility: float, costs: Sequence[float], build: Build, panel: Panel, days: int, seed: int
) -> Figures:
    """At every cost the share of the best net Sharpe ratio, of an agent that learns under that cost.

    Beside it how far the agent is beyond the best policy that does not see what it holds, as a share too.

    Args:
        law: of the forecast.
        volatility: standard deviation of what it leaves open, decimal.
        costs: basis points.
        build: the agent.
        panel: of whose rows it learns from the first `days`.
        days: to learn from.
        seed: of the training.
    """
    figures: Figures = {}
    for bps in costs:
        price = bps * BASIS_POINT / volatility
        best, blind = (found(law, price).earned.sharpe for found in (best_policy, best_blind_policy))
        reached = _held_out(build, panel, days, seed, bps).mean_sharpe(bps)
        figures |= {f"share at {bps:g} bps": reached / best}
        figures |= {f"beyond blind at {bps:g} bps": (reached - blind) / best}
    return figures


def regime_trial(optimum: Optimum, build: Build, panel: Panel, days: int, seed: int) -> Figures:
    """Shares of the optimum of a model trained once, and of one trained anew before every test block.

    Test blocks are as long as the training block and follow it; the walk-forward model learns from the block
    before each.
    """
    begins = range(days, len(panel.dates) - days + 1, days)
    frozen = train_agent(build(), panel, slice(days), seed=seed)
    walking = [train_agent(build(), panel, slice(b - days, b), seed=seed) for b in begins]
    blocks = [slice(begin, begin + days) for begin in begins]
    still = play_agent(frozen, panel, slice(days, None)).mean_sharpe() / optimum.sized
    moving = _join([play_agent(a, panel, block) for a, block in zip(walking, blocks, strict=True)])
    share_moving = moving.mean_sharpe() / optimum.sized
    return {"gain": share_moving - still, "walk-forward": share_moving, "frozen": still}


def ragged_trial(
    optimum: Optimum,
    complete: Callable[[int, int], Panel],
    build: Build,
    panel: Panel,
    days: int,
    seed: int,
) -> Figures:
    """The share of the optimum on a ragged panel, and the same agent's on a complete one of the same law.

    Args:
        optimum: of either.
        complete: a panel of the same assets, from its days and its seed.
        build: the agent.
        panel: the ragged one.
        days: to learn from.
        seed: of the training and of the complete panel.
    """
    agent = train_agent(build(), panel, slice(days), seed=seed)
    shares = share(play_agent(agent, panel, slice(days, None)), optimum)
    other = play_agent(agent, complete(len(panel.dates), seed), slice(days, None))
    (known,) = share(other, optimum).values()
    return {**shares, "complete": known}


def _held_out(build: Build, panel: Panel, days: int, seed: int, cost_bps: float | None = None) -> Played:
    agent = train_agent(build(), panel, slice(days), seed=seed, cost_bps=cost_bps)
    return play_agent(agent, panel, slice(days, None))


def _turnover(played: Played) -> float:
    return float(DAYS_PER_YEAR * played.turnover.mean())


def _join(parts: list[Played]) -> Played:
    """One block after the other."""
    return Played(
        np.concatenate([part.signals for part in parts]),
        np.concatenate([part.gross for part in parts]),
        np.concatenate([part.turnover for part in parts]),
        np.concatenate([part.counted for part in parts]),
    )

"""The `transfer` probe: many small markets that share one law."""

from __future__ import annotations

from typing import Any

from agents.adapting import adapted, adapts
from agents.agent import Agent, learns, make_agent
from agents.training import Progress
from experiments.probes.optima import ar1_optimum
from experiments.probes.play import environment, play_agent, train_agent
from experiments.probes.trials import Build, Figures, with_progress
from qn_env.panel import Panel
from qn_env.sources.synthetic import ar1_trend

TRANSFER_MARKETS, TRANSFER_ASSETS, TRANSFER_COEFFICIENT = 10, 8, 0.15


def transfer(
    agent: str,
    days: int,
    *,
    seed: int,
    test_days: int = 4000,
    progress: Progress | None = None,
    device: str = "cpu",
) -> dict[str, float]:
    """Shares of the optimum on 10 markets of 8 AR(1) assets with `days` days each, and on an unseen one.

    Every asset follows the same law, so an agent that shares weights has 80 times the data of one that
    learns every asset alone.

    Args:
        agent: registered name.
        days: days of each market the agent learns and selects from.
        seed: of the panel and of the training.
        test_days: days it is judged on.
        progress: told how far the training is; None: a bar on the terminal.
        device: where the agent is trained.

    Returns:
        `known`: the mean per-asset Sharpe ratio of the markets trained on, over the optimum. Of an agent that
        plays others also `new`, an eleventh market never seen; and `zero`, the first with every embedding at
        zero, where it has such.
    """
    build = with_progress(lambda: make_agent(agent, device=device), progress)
    return shared_law(build, transfer_panel(days + test_days, 1000 + seed), days, seed)


def transfer_panel(days: int, seed: int) -> Panel:
    """Ten markets, and the eleventh."""
    return ar1_trend(
        coefficient=TRANSFER_COEFFICIENT,
        markets=TRANSFER_MARKETS + 1,
        assets=TRANSFER_ASSETS,
        days=days,
        seed=seed,
    )


def shared_law(build: Build, panel: Panel, days: int, seed: int) -> Figures:
    """What `transfer` finds, of an agent that is built, on the panel of `transfer_panel`."""
    names = list(panel.markets)
    known, new = panel.select(names[:-1]), panel.select(names[-1:])
    chosen: Any = train_agent(build(), known, slice(days), seed=seed)
    shares = {"known": _share(chosen, known, days)}
    if not adapts(chosen):
        return shares
    if hasattr(chosen, "without_embeddings"):
        shares["zero"] = _share(chosen.without_embeddings(), known, days)
    return {**shares, "new": _share(_zero_shot(chosen, new, days, seed), new, days)}


def on_other_markets(agent: Agent, panel: Panel, days: int, seed: int) -> Agent | None:
    """The agent for a panel with markets that it was not trained on and does not learn; None: it plays none.

    Args:
        agent: trained, or a rule, which plays any market.
        panel: what it is to play.
        days: after which it is judged.
        seed: the only chance.
    """
    if not learns(agent):
        return agent
    return _zero_shot(agent, panel, days, seed) if adapts(agent) else None


def _zero_shot(agent: Agent, panel: Panel, days: int, seed: int) -> Agent:
    return adapted(agent, environment(agent, panel.until(panel.dates[days - 1])), seed=seed, learn=False)


def _share(agent: Agent, panel: Panel, begin: int) -> float:
    """Mean per-asset Sharpe ratio over the optimum of the transfer probe."""
    return play_agent(agent, panel, slice(begin, None)).mean_sharpe() / ar1_optimum(TRANSFER_COEFFICIENT)

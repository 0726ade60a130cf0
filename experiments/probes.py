"""Markets whose best Sharpe ratio is known, so that a learner's score is a share of the possible."""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.agent import Agent, make_agent, settings_of, signals_of
from agents.quantnet.shared import SharedNetwork
from qn_env.environment import TradingEnv
from qn_env.features import DAYS_PER_YEAR
from qn_env.objectives import sharpe
from qn_env.panel import FloatArray, Panel
from qn_env.sources.synthetic import ar1_trend
from qn_env.tape import Tape, backtest


def ar1_optimum(coefficient: float) -> float:
    """Best annualised Sharpe ratio of any causal strategy on one AR(1) asset, before costs.

    With conditional mean mu and variance sigma^2 the best weight is mu / (mu^2 + sigma^2); its squared daily
    ratio is B / (1 - B), B = E[q / (1 + q)], q = mu^2 / sigma^2. Here mu = coefficient * r_t is normal.

    Examples:
        >>> round(ar1_optimum(0.15), 2)
        2.36
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    q = coefficient**2 / (1.0 - coefficient**2) * nodes**2
    B = float((weights * q / (1.0 + q)).sum() / weights.sum())
    return float(np.sqrt(DAYS_PER_YEAR * B / (1.0 - B)))


def out_of_sample(agent: str, panel: Panel, train_days: int, *, seed: int) -> FloatArray:
    """Net returns [D, N] at 0 bps of an agent trained on the first `train_days` and played on the rest.

    Args:
        agent: registered name or import path.
        panel: markets on one common calendar.
        train_days: days of the panel the agent learns and selects from.
        seed: of the training.
    """
    chosen = make_agent(agent)
    chosen.fit(environment(chosen, panel.until(panel.dates[train_days - 1])), seed=seed)
    return earned(chosen, panel, train_days)


def environment(agent: Agent, panel: Panel) -> TradingEnv:
    """The environment an agent asks for, at 0 bps."""
    settings = settings_of(agent)
    return TradingEnv(
        panel,
        window=settings.window,
        features=settings.features,
        vol_target=settings.vol_target,
        cost_bps=0.0,
    )


def earned(agent: Agent, panel: Panel, begin: int) -> FloatArray:
    """Net returns [D, N] at 0 bps of a trained agent, from day `begin` of the panel on."""
    signals = signals_of(agent, panel, environment(agent, panel))
    net = np.zeros(panel.shape)
    tape = Tape.of(panel, vol_target=settings_of(agent).vol_target)
    for market in panel.markets.values():
        net[1:, market.columns] = backtest(tape.of_market(market), market.compact(signals)).net
    return net[begin:]


# The `transfer` probe: many small markets that share one law.
TRANSFER_MARKETS, TRANSFER_ASSETS, TRANSFER_COEFFICIENT = 10, 8, 0.15


def transfer(agent: str, days: int, *, seed: int, test_days: int = 4000) -> dict[str, float]:
    """Shares of the optimum on 10 markets of 8 AR(1) assets with `days` days each, and on an unseen one.

    Every asset follows the same law, so an agent that shares weights has 80 times the data of one that
    learns every asset alone.

    Args:
        agent: registered name.
        days: days of each market the agent learns and selects from.
        seed: of the panel and of the training.
        test_days: days it is judged on.

    Returns:
        `known`: the mean per-asset Sharpe ratio of the markets trained on, over the optimum. For shared
        weights also `zero`, the same with every embedding at zero, and `new`, an eleventh market never seen.
    """
    whole = ar1_trend(
        coefficient=TRANSFER_COEFFICIENT,
        markets=TRANSFER_MARKETS + 1,
        assets=TRANSFER_ASSETS,
        days=days + test_days,
        seed=1000 + seed,
    )
    names = list(whole.markets)
    known, new = whole.select(names[:-1]), whole.select(names[-1:])
    chosen: Any = make_agent(agent)
    chosen.fit(environment(chosen, known.until(known.dates[days - 1])), seed=seed)
    found = {"known": _share(chosen, known, days)}
    if isinstance(getattr(chosen, "network", None), SharedNetwork):
        found["zero"] = _share(chosen.without_embeddings(), known, days)
        learn = environment(chosen, new.until(new.dates[days - 1]))
        found["new"] = _share(chosen.add_market(learn, seed=seed, steps=0), new, days)
    return found


def _share(agent: Agent, panel: Panel, begin: int) -> float:
    """Mean per-asset Sharpe ratio over the optimum of the transfer probe."""
    ratio = float(sharpe(earned(agent, panel, begin), axis=0).mean())
    return ratio / ar1_optimum(TRANSFER_COEFFICIENT)

"""Markets whose best Sharpe ratio is known, so that a learner's score is a share of the possible."""

from __future__ import annotations

import numpy as np

from agents.agent import make_agent, settings_of, signals_of
from qn_env.environment import TradingEnv
from qn_env.features import DAYS_PER_YEAR
from qn_env.panel import FloatArray, Panel
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
    settings = settings_of(chosen)

    def environment(block: Panel) -> TradingEnv:
        return TradingEnv(
            block,
            window=settings.window,
            features=settings.features,
            vol_target=settings.vol_target,
            cost_bps=0.0,
        )

    chosen.fit(environment(panel.until(panel.dates[train_days - 1])), seed=seed)
    signals = signals_of(chosen, panel, environment(panel))
    net = np.zeros(panel.shape)
    tape = Tape.of(panel, vol_target=settings.vol_target)
    for market in panel.markets.values():
        net[1:, market.columns] = backtest(tape.of_market(market), market.compact(signals)).net
    return net[train_days:]

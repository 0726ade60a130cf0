"""`qn audit`: the look-ahead audit of an environment on a panel, with a verdict to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from experiments.config import NAMES, RunConfig

if TYPE_CHECKING:
    from qn_env.environment import TradingEnv

PEEKS = 3  # exit code of an audit that does not pass


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Change everything after random days of a panel; what the environment shows by then must not change."""

    panel: Path | None = None
    """Folder of Parquet or CSV files; default: the embedded panel."""

    kind: Literal["prices", "returns"] | None = None
    """What the panel's files hold, where their names do not say it (default: prices)."""

    exclude: Annotated[tuple[str, ...], NAMES] = ()
    """Markets to leave out."""

    window: int = 63
    """Days an observation shows."""

    vol_target: float | None = None
    """Annualised volatility target per asset (0.15 is 15%)."""

    costs_bps: float = 2.0
    """Cost per unit of turnover, in basis points."""

    days: int = 3
    """Random days after which the panel is changed."""

    seed: int = 0
    """Of the days, the changes and the actions."""


def audit(config: Audit) -> int:
    """Audit the environment a command describes and print the verdict; 0 when it passes, else 3."""
    from qn_env.audit import check_no_lookahead

    env = build(config)
    T, N = env.panel.shape
    first, last = env.panel.dates[0], env.panel.dates[-1]
    print(f"Panel: {N} assets in {len(env.panel.markets)} markets, {T} days, {first} to {last}.", flush=True)
    report = check_no_lookahead(env, days=config.days, seed=config.seed)
    print(report)
    return 0 if report.passed else PEEKS


def build(config: Audit) -> TradingEnv:
    """The environment a command describes."""
    from experiments.runner import load_panel
    from qn_env.environment import TradingEnv

    panel = load_panel(RunConfig(panel=config.panel, kind=config.kind, exclude=config.exclude))
    return TradingEnv(panel, window=config.window, vol_target=config.vol_target, cost_bps=config.costs_bps)

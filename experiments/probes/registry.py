"""The probes: what is planted, what is measured, and what a good agent reaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from experiments.probes.controls import (
    Banded,
    Forecast,
    Oracle,
    Regression,
    ar1_forecast,
    constant_forecast,
    latent_forecast,
    leader_forecast,
)
from experiments.probes.optima import ar1_ratio, constant_optimum, latent_filter, normal_optimum
from experiments.probes.programme import Law
from experiments.probes.sharing import TRANSFER_COEFFICIENT, shared_law, transfer_panel
from experiments.probes.spreading import COEFFICIENT as COMMON
from experiments.probes.spreading import MEAN_DAYS, all_pasts, context_panel, context_trial
from experiments.probes.trials import (
    Build,
    Figures,
    Trial,
    contagion_trial,
    costly_trial,
    costs_trial,
    drift_trial,
    noise_trial,
    ragged_trial,
    regime_trial,
    share_trial,
)
from qn_env.errors import ConfigError, did_you_mean
from qn_env.panel import Panel
from qn_env.sources.synthetic import ar1_trend, contagion, drift, latent_drift, noise, ragged, regime


@dataclass(frozen=True, kw_only=True)
class Bar:
    """What the mean of a measure over seeds has to reach.

    Attributes:
        level: the number; of standard errors of that mean, where `error` names the measure that holds the
            standard error of one seed.
        side: on which side of it a good agent is; "within" is between minus and plus the level.
        error: a measure, or None.
    """

    level: float
    side: Literal["at least", "at most", "within"] = "at least"
    error: str | None = None

    def height(self, units: Sequence[Figures]) -> float:
        """The number itself, given what the seeds measured."""
        if self.error is None:
            return self.level
        squares = np.array([unit[self.error] for unit in units]) ** 2
        return float(self.level * squares.sum() ** 0.5 / len(units))

    def passed(self, value: float, height: float) -> bool:
        """Whether a mean is on the good side; NaN never is."""
        match self.side:
            case "at least":
                return value >= height
            case "at most":
                return value <= height
            case "within":
                return abs(value) <= height


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Markets with a planted structure and a known optimum.

    Attributes:
        name: as on the command line.
        planted: what is in the data.
        expected: what a good agent shows, and how to read who does not.
        panel: its panel, from its days and a seed.
        trial: what is done with an agent, and measured.
        bars: what measures have to reach, by name.
        control: the best policy, or who learns it; None where there is nothing to know.
        days: trading days to learn from.
        test_days: to be judged on.
    """

    name: str
    planted: str
    expected: str
    panel: Callable[[int, int], Panel]
    trial: Trial
    bars: Mapping[str, Bar]
    control: Build | None
    days: int = 8000
    test_days: int = 4000

    def figures(self, build: Build, seed: int, *, days: int, test_days: int) -> Figures:
        """Train an agent on a panel drawn with this seed, play it, and measure."""
        return self.trial(build, self.panel(days + test_days, seed), days, seed)


MARKETS, ASSETS, VOLATILITY = 2, 4, 0.01
COEFFICIENT, WEAK, COST_BPS = 0.15, 0.02, 20.0
DRIFT, PERSISTENCE, STRENGTH = 0.0625, 0.9, 0.3
STRONG = 0.3  # AR(1), worth its costs
COSTS = (5.0, 20.0)  # bps

_SHARES = {"share": Bar(level=0.6), "share of sides": Bar(level=0.7)}
_AR1 = normal_optimum(ar1_ratio(COEFFICIENT))


def _panels(make: Callable[..., Panel], offset: int, **law: float) -> Callable[[int, int], Panel]:
    """Panels of one law; with an offset of its own, no two probes are about the same draws."""
    return lambda days, seed: make(
        markets=MARKETS, assets=ASSETS, volatility=VOLATILITY, days=days, seed=offset + seed, **law
    )


def _ar1_oracle(coefficient: float) -> Oracle:
    return Oracle(ar1_forecast(coefficient, VOLATILITY))


def _ragged_panel(days: int, seed: int) -> Panel:
    percent = 100.0 * VOLATILITY
    return ragged(
        sizes=[ASSETS] * MARKETS,
        days=days,
        coefficient=COEFFICIENT,
        spread=(percent, percent),
        seed=9000 + seed,
    )


_TREND = Probe(
    name="trend",
    planted=f"AR(1) returns, coefficient {COEFFICIENT:g}",
    expected="a large share of the best Sharpe ratio; who only takes sides is held against the best sides",
    panel=_panels(ar1_trend, 1000, coefficient=COEFFICIENT),
    trial=partial(share_trial, _AR1),
    bars=_SHARES,
    control=partial(_ar1_oracle, COEFFICIENT),
)
_NOISE = Probe(
    name="noise",
    planted="nothing: independent returns",
    expected="a Sharpe ratio within two standard errors of 0, and no seed in which it passes for skill",
    panel=_panels(noise, 2000),
    trial=noise_trial,
    bars={
        "sharpe": Bar(level=2.0, side="within", error="error"),
        "deflated": Bar(level=0.05, side="at most"),
    },
    control=None,
)
_REVERSAL = Probe(
    name="reversal",
    planted=f"AR(1) returns, coefficient {-COEFFICIENT:g}",
    expected="what it shows on trend",
    panel=_panels(ar1_trend, 3000, coefficient=-COEFFICIENT),
    trial=partial(share_trial, _AR1),
    bars=_SHARES,
    control=partial(_ar1_oracle, -COEFFICIENT),
)
_DRIFT = Probe(
    name="drift",
    planted=f"a constant mean, {DRIFT:g} of the daily standard deviation",
    expected="nearly the best Sharpe ratio, and little trading",
    panel=_panels(drift, 4000, strength=DRIFT),
    trial=partial(drift_trial, constant_optimum(DRIFT)),
    # A tenth of the capital a day.
    bars={**_SHARES, "turnover": Bar(level=25.2, side="at most")},
    control=lambda: Oracle(constant_forecast(DRIFT)),
)
_LATENT = Probe(
    name="latent-trend",
    planted=f"noise around an unseen AR(1) drift, coefficient {PERSISTENCE:g}, {STRENGTH:g} times as large",
    expected="a large share of what the Kalman forecast earns",
    panel=_panels(latent_drift, 5000, persistence=PERSISTENCE, strength=STRENGTH),
    trial=partial(share_trial, normal_optimum(latent_filter(PERSISTENCE, STRENGTH).ratio)),
    bars=_SHARES,
    control=lambda: Oracle(latent_forecast(PERSISTENCE, STRENGTH, VOLATILITY)),
)
_TRANSFER = Probe(
    name="transfer",
    planted=f"ten short markets under one law, AR(1) with coefficient {TRANSFER_COEFFICIENT:g}",
    expected="models that share weights are far ahead of those that learn every market alone",
    panel=lambda days, seed: transfer_panel(days, 10_000 + seed),
    trial=shared_law,
    bars={"known": Bar(level=0.6)},
    control=partial(_ar1_oracle, TRANSFER_COEFFICIENT),
    days=500,
)
_CONTEXT = Probe(
    name="context",
    planted=f"two laws, AR(1) with {COMMON:g} and {-COMMON:g}, that spread from market to market every "
    f"{MEAN_DAYS} days or so",
    expected="who learns from other markets' last days which law is in force is ahead of the best that can "
    "be made of one's own past, also in markets never seen",
    panel=lambda days, seed: context_panel(days, 14_000 + seed),
    trial=context_trial,
    bars={"share": Bar(level=0.6), "beyond own past": Bar(level=0.0)},
    control=all_pasts,
    days=2500,
    test_days=2000,
)
_CONTAGION = Probe(
    name="contagion",
    planted=f"the second market follows the first a day later, coefficient {COEFFICIENT:g}",
    expected="who reads every market alone finds nothing in the second, by construction",
    panel=lambda days, seed: contagion(
        coefficient=COEFFICIENT, volatility=VOLATILITY, assets=ASSETS, days=days, seed=6000 + seed
    ),
    trial=partial(contagion_trial, normal_optimum(COEFFICIENT**2)),
    bars={"share": Bar(level=0.3), "share of sides": Bar(level=0.3)},
    control=lambda: Oracle(leader_forecast(COEFFICIENT, VOLATILITY)),
)
_COSTS = Probe(
    name="costs",
    planted=f"an edge that is not worth its costs: AR(1), coefficient {WEAK:g}, at {COST_BPS:g} bps",
    expected="hardly any trading, and no loss beyond two standard errors of a test block; flat passes",
    panel=_panels(ar1_trend, 7000, coefficient=WEAK),
    trial=partial(costs_trial, COST_BPS),
    # A twentieth of the capital a day.
    bars={"turnover": Bar(level=12.6, side="at most"), "net / error": Bar(level=-2.0)},
    control=lambda: Oracle(constant_forecast(0.0)),
)
_REGIME = Probe(
    name="regime",
    planted=f"AR(1) returns, coefficient {COEFFICIENT:g}, of the other sign in the second half",
    expected="trained anew before every block it beats the model that was trained once",
    panel=_panels(regime, 8000, coefficient=COEFFICIENT),
    trial=partial(regime_trial, _AR1),
    bars={"gain": Bar(level=0.25)},
    control=Regression,
    days=2000,
    test_days=6000,  # three blocks; the second half of the panel begins with the second of them
)
_RAGGED = Probe(
    name="ragged",
    planted="trend on ragged calendars: holidays, halts, late listings, delistings",
    expected="no undefined number, and on what is tradable the share of complete calendars",
    panel=_ragged_panel,
    trial=partial(ragged_trial, _AR1, _TREND.panel),
    bars=_SHARES,
    control=partial(_ar1_oracle, COEFFICIENT),
)


def _costly(
    name: str,
    planted: str,
    panel: Callable[[int, int], Panel],
    law: Law,
    volatility: float,
    forecast: Forecast,
) -> Probe:
    """A market with an edge that is worth its costs, to who trades no more than it must."""
    return Probe(
        name=name,
        planted=f"{planted}, at {' and '.join(f'{bps:g}' for bps in COSTS)} bps",
        expected="a large share of what the best policy under these costs earns, which leaves a band around "
        "its position untraded; beyond the blind one is only who sees or remembers what it holds",
        panel=panel,
        trial=partial(costly_trial, law, volatility, COSTS),
        bars={f"share at {bps:g} bps": Bar(level=0.6) for bps in COSTS},
        control=lambda: Banded(forecast, law, volatility),
    )


def _costly_ar1(name: str, coefficient: float, offset: int) -> Probe:
    return _costly(
        name,
        f"AR(1) returns, coefficient {coefficient:g}",
        _panels(ar1_trend, offset, coefficient=coefficient),
        Law(coefficient, ar1_ratio(coefficient)),
        VOLATILITY,
        ar1_forecast(coefficient, VOLATILITY),
    )


_FILTER = latent_filter(PERSISTENCE, STRENGTH)
_COSTLY_LATENT = _costly(
    "costly-latent",
    f"noise around an unseen AR(1) drift, coefficient {PERSISTENCE:g}, {STRENGTH:g} times as large",
    _panels(latent_drift, 13_000, persistence=PERSISTENCE, strength=STRENGTH),
    Law(PERSISTENCE, _FILTER.ratio),
    VOLATILITY * _FILTER.innovation**0.5,
    latent_forecast(PERSISTENCE, STRENGTH, VOLATILITY),
)

PROBES: Mapping[str, Probe] = {
    probe.name: probe
    for probe in (
        _NOISE,
        _DRIFT,
        _TREND,
        _REVERSAL,
        _LATENT,
        _TRANSFER,
        _CONTEXT,
        _CONTAGION,
        _COSTS,
        _REGIME,
        _RAGGED,
        _costly_ar1("costly-trend", STRONG, 11_000),
        _costly_ar1("costly-reversal", -STRONG, 12_000),
        _COSTLY_LATENT,
    )
}


def find_probe(name: str) -> Probe:
    """A probe by its name.

    Raises:
        ConfigError: there is none; with the nearest one.
    """
    if name not in PROBES:
        raise ConfigError(f"unknown probe {name!r}. {did_you_mean(name, PROBES)}")
    return PROBES[name]

"""The suites: which agents play what, how often, and which probes; all of it declared before any figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from experiments.settings.config import UNSEEN

# An axis of the scorecard that probes answer.
Axis = Literal["finds", "nothing", "pays", "unseen", "few"]


@dataclass(frozen=True, kw_only=True)
class Course:
    """One protocol of a suite.

    Attributes:
        protocol: as of `qn run`; a suite has each once.
        seeds: of each learnt agent.
        folds: of markets, under `unseen`; at most as many as there are markets.
        shots: days that few-shot learns from, under `unseen`; 0: there is no few-shot.
        test_years: of each test block, under `expanding`.
    """

    protocol: str
    seeds: int
    folds: int | None = None
    shots: int = 0
    test_years: int = 5


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One probe of a suite.

    Attributes:
        axis: of the scorecard that it answers.
        probe: its name (`experiments.probes.PROBES`).
        days: trading days to learn from.
        test_days: to be judged on.
        seeds: panels and trainings of each agent.
    """

    axis: Axis
    probe: str
    days: int
    test_days: int
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What is played. Both executions are always settled, and every cost level that the data know.

    Attributes:
        name: as on the command line.
        reduced: what is less than in a whole comparison, a sentence.
        agents: registered names; the others of a table were added.
        courses: the protocols; the first one, `holdout`, is what the scorecard looks at.
        probes: of the scorecard.
        quick: short trainings, for which no figure is comparable.
    """

    name: str
    reduced: str
    agents: tuple[str, ...]
    courses: tuple[Course, ...]
    probes: tuple[Planted, ...]
    quick: bool = False

    def at_most(self, markets: int) -> Suite:
        """The suite on a panel of so many markets: no more folds than these, and nothing unseen of one."""
        courses = [one for one in self.courses if one.protocol != UNSEEN or markets > 1]
        folded = [
            one if one.folds is None else replace(one, folds=min(one.folds, markets)) for one in courses
        ]
        return replace(self, courses=tuple(folded))


def _planted(days: int, test_days: int, few: Sequence[int], seeds: int) -> tuple[Planted, ...]:
    """The probes of all suites."""
    asked: tuple[tuple[Axis, str, int], ...] = (
        ("finds", "trend", days),
        ("finds", "reversal", days),
        ("finds", "latent-trend", days),
        ("nothing", "noise", days),
        ("pays", "costly-trend", days),
        ("pays", "costly-reversal", days),
        ("unseen", "transfer", 500),
        *(("few", "trend", fewer) for fewer in few),
    )
    return tuple(
        Planted(axis=axis, probe=probe, days=own, test_days=test_days, seeds=seeds)
        for axis, probe, own in asked
    )


SMALL = Suite(
    name="small",
    reduced="Reduced, to end in 25 minutes on two cores: 3 seeds (5 are needed to compare; unseen and the "
    "probes have 2), two folds of markets, no few-shot, no test blocks before the last three years, and "
    "probes with 2,000 days to learn from in place of 8,000.",
    agents=(
        "buy-and-hold",
        "long-only",
        "macd",
        "sgn-returns",
        "quantnet-shared",
        "dmn-lstm-sharpe",
        "dmn-lstm-closed",
        "ppo",
    ),
    courses=(Course(protocol="holdout", seeds=3), Course(protocol=UNSEEN, seeds=2, folds=2)),
    probes=_planted(2000, 4000, (500, 1000), seeds=2),
)
FULL = Suite(
    name="full",
    reduced="Nothing is reduced: 5 seeds everywhere; but every agent is taken as it is registered, without a "
    "search over its options.",
    agents=(
        *("buy-and-hold", "risk-parity", "ts-momentum", "cs-momentum", "moving-average"),
        *("long-only", "sgn-returns", "macd"),
        *("quantnet", "quantnet-shared", "no-transfer-lstm"),
        *("dmn-linear-sharpe", "dmn-mlp-sharpe", "dmn-wavenet-sharpe", "dmn-lstm-sharpe"),
        *("dmn-lstm-softmin", "dmn-lstm-changepoints", "momentum-transformer"),
        *("dmn-vsn-lstm", "dmn-tft", "dmn-xlstm", "dmn-lstm-patchtst"),
        *("dmn-patchtst", "dmn-dlinear", "dmn-itransformer", "dmn-mamba2"),
        *("spatiotemporal", "spatiotemporal-delayed", "x-trend"),
        *("rrl", "dmn-mlp-closed", "dmn-lstm-closed"),
        *("ppo", "a2c", "sac", "td3", "dqn", "ppo-device"),
    ),
    courses=(
        Course(protocol="holdout", seeds=5),
        Course(protocol="expanding", seeds=5),
        Course(protocol=UNSEEN, seeds=5, folds=5, shots=252),
    ),
    probes=_planted(8000, 4000, (500, 1000), seeds=5),
)
SUITES: Mapping[str, Suite] = {suite.name: suite for suite in (SMALL, FULL)}

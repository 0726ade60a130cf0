"""The scorecard: seven questions, each answered by one number in [0, 1] from figures that are stored.

In the manner of bsuite (Osband et al. 2020, Behaviour Suite for Reinforcement Learning): no score sums up the
others. A question that an agent was not asked, or that it cannot answer, has no score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from experiments.open_benchmark.suites import Axis, Planted, Suite
from experiments.probes.optima import ar1_optimum
from experiments.probes.sharing import TRANSFER_COEFFICIENT
from experiments.probes.table import Found

SHARES = ("share", "share of sides")  # of the optimum; of the best sides, for who takes no sizes
# Standard errors: up to the first a mean passes for nothing, from the second on never. Of independent returns
# three are met by one agent in 370, and a table has many agents.
ERRORS = (3.0, 6.0)
LEAST_SHARPE = 1.0  # what is lost is measured against no less: of a smaller ratio any share is chance
LONGEST = 4.0  # decimal logarithm of the seconds that score 0


class Question(NamedTuple):
    """One axis."""

    name: str  # the column
    title: str
    short: str  # on two lines, for a figure
    meaning: str  # in one sentence, with the formula


QUESTIONS = (
    Question(
        "finds",
        "Finds what is there",
        "finds what\nis there",
        "Mean over the probes trend, reversal and latent-trend of the share of the best possible Sharpe "
        "ratio that is reached out of sample, each cut to [0, 1].",
    ),
    Question(
        "nothing",
        "Finds nothing in noise",
        "finds nothing\nin noise",
        "On independent returns, z the mean Sharpe ratio over its standard error: 2 - |z| / 3, cut to [0, "
        "1], which is 1 up to three errors and 0 from six on.",
    ),
    Question(
        "pays",
        "Pays for its trades",
        "pays for\nits trades",
        "Mean over the probes costly-trend and costly-reversal, at 5 and at 20 bps, of the share of the best "
        "possible net Sharpe ratio, each cut to [0, 1].",
    ),
    Question(
        "day",
        "Survives a day",
        "survives\na day",
        "On the panel under holdout, before costs, S on time and L one day late: 1 - (S - L) / max(S, 1), "
        "cut to [0, 1].",
    ),
    Question(
        "unseen",
        "Survives an unseen market",
        "survives an\nunseen market",
        "Mean over the panel (late and net, S trained on a market, Z never having seen it) and the probe "
        "transfer (S of the markets it was trained on, Z of an eleventh) of 1 - (S - Z) / max(S, 1), cut to "
        "[0, 1]; a rule, which learns on none, has 1.",
    ),
    Question(
        "few",
        "From few days",
        "from\nfew days",
        "Mean over the probe trend with 500 and with 1,000 days to learn from of the share of the best "
        "possible Sharpe ratio, each cut to [0, 1].",
    ),
    Question(
        "seconds",
        "At what cost in seconds",
        "at what cost\nin seconds",
        "s the mean CPU seconds of training, audit and test of one seed under holdout: 1 - log10(s) / 4, cut "
        "to [0, 1], which is 1 at a second and 0 at 10,000.",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """Annualised Sharpe ratios of an agent on the panel; NaN where there is none.

    Attributes:
        on_time: under holdout, before costs.
        late: of the same decisions, traded one trading day later.
        trained: under unseen, late and net, of who was trained on the markets it is judged on.
        zero_shot: of who has never seen them.
        learns: whether it is trained at all.
    """

    on_time: float = math.nan
    late: float = math.nan
    trained: float = math.nan
    zero_shot: float = math.nan
    learns: bool = True


def scorecard(
    agents: Sequence[str], ratios: Mapping[str, Ratios], found: Mapping[Planted, Sequence[Found]]
) -> pd.DataFrame:
    """The scores of every agent but that of its seconds, which depends on the machine.

    Args:
        agents: one row each.
        ratios: on the panel.
        found: by probe of a suite, what units of any agent found.
    """
    rows = []
    for agent in agents:
        mine = {one: [unit for unit in units if unit.agent == agent] for one, units in found.items()}
        own = ratios.get(agent, Ratios())
        rows.append(
            {
                "agent": agent,
                "finds": _mean_share(_of("finds", mine)),
                "nothing": _nothing(_of("nothing", mine)),
                "pays": _mean_share(_of("pays", mine)),
                "day": kept(own.on_time, own.late),
                "unseen": _unseen(own, _of("unseen", mine)),
                "few": _mean_share(_of("few", mine)),
            }
        )
    return pd.DataFrame(rows, columns=["agent", *(one.name for one in QUESTIONS if one.name != "seconds")])


def planted_in(suite: Suite, found: Mapping[Planted, Sequence[Found]]) -> dict[Planted, Sequence[Found]]:
    """What was found, of the suite's probes alone."""
    return {one: found.get(one, ()) for one in suite.probes}


def kept(before: float, after: float) -> float:
    """How much of an annualised Sharpe ratio is left, 0 to 1; NaN where one of them is undefined.

    What is lost is divided by the ratio, or by 1 where that is smaller: a share of next to nothing is chance.

    Examples:
        >>> kept(2.0, 1.5), kept(0.2, 0.1), kept(0.5, 0.9), kept(4.86, -0.04)
        (0.75, 0.9, 1.0, 0.0)
    """
    return clipped(1.0 - (before - after) / max(before, LEAST_SHARPE))


def nothing_found(sharpes: Sequence[float], errors: Sequence[float]) -> float:
    """How well a mean Sharpe ratio passes for nothing, 0 to 1.

    Args:
        sharpes: of every seed, each on a panel of its own.
        errors: their standard errors where there is nothing to be found.

    Examples:
        >>> nothing_found([0.2, -0.1], [0.1, 0.1]), nothing_found([0.45], [0.1]), nothing_found([0.7], [0.1])
        (1.0, 0.5, 0.0)
    """
    if not sharpes:
        return math.nan
    z = sum(sharpes) / sum(error**2 for error in errors) ** 0.5
    least, most = ERRORS
    return clipped((most - abs(z)) / (most - least))


def quickness(seconds: float) -> float:
    """1 at a second or less, 0 at 10,000 or more, by the logarithm between.

    Examples:
        >>> quickness(0.1), quickness(100.0), quickness(1e5)
        (1.0, 0.5, 0.0)
    """
    return clipped(1.0 - math.log10(max(seconds, 1.0)) / LONGEST) if seconds == seconds else math.nan


def clipped(value: float) -> float:
    """The nearest number from 0 to 1; NaN stays.

    Examples:
        >>> clipped(1.2), clipped(-0.5), clipped(float("nan"))
        (1.0, 0.0, nan)
    """
    return min(max(round(value, 12), 0.0), 1.0) if value == value else math.nan


def _of(axis: Axis, mine: Mapping[Planted, Sequence[Found]]) -> list[Sequence[Found]]:
    """What an agent found on the probes of an axis, one entry a probe; empty unless it was asked all."""
    asked = [units for one, units in mine.items() if one.axis == axis]
    return asked if all(asked) else []


def _mean_share(asked: Sequence[Sequence[Found]]) -> float:
    """The mean over probes and costs of the mean share over seeds, each cut to [0, 1]."""
    shares = [clipped(float(np.mean(seeds))) for units in asked for seeds in _shares(units)]
    return float(np.mean(shares)) if shares else math.nan


def _shares(units: Sequence[Found]) -> list[list[float]]:
    """The shares of the optimum of every seed: one list, or one for each cost."""
    costly = [name for name in units[0].figures if name.startswith("share at ")]
    if costly:
        return [[unit.figures[name] for unit in units] for name in costly]
    return [[next(unit.figures[name] for name in SHARES if name in unit.figures) for unit in units]]


def _nothing(asked: Sequence[Sequence[Found]]) -> float:
    units = [unit for probe in asked for unit in probe]
    return nothing_found(
        [unit.figures["sharpe"] for unit in units], [unit.figures["error"] for unit in units]
    )


def _unseen(own: Ratios, asked: Sequence[Sequence[Found]]) -> float:
    """What is left of a Sharpe ratio on a market that was never seen; a rule has nothing to lose."""
    if not own.learns:
        return 1.0
    parts = [kept(own.trained, own.zero_shot), *(_transferred(units) for units in asked)]
    known = [part for part in parts if part == part]
    return float(np.mean(known)) if known else math.nan


def _transferred(units: Sequence[Found]) -> float:
    """The same of the probe transfer, whose figures are shares of the optimum; NaN of who cannot."""
    if not all("new" in unit.figures for unit in units):
        return math.nan
    best = ar1_optimum(TRANSFER_COEFFICIENT)
    known, new = (float(np.mean([unit.figures[name] for unit in units])) for name in ("known", "new"))
    return kept(best * known, best * new)

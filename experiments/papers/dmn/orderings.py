"""The paper's claims, each held against the run: a margin of Sharpe ratios with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.artefacts.items import Table
from experiments.artefacts.numbers import UNDEFINED, format_interval, format_value
from experiments.papers.bootstrap import Interval
from experiments.papers.dmn.config import LSTM, REFERENCES, REGULARISED
from experiments.papers.dmn.published import MODELS, SIXTEEN, label
from experiments.papers.dmn.scores import DEAR, RAW, RESCALED, Level, Score, Scores
from experiments.statistics import LEVEL
from qn_env.arrays import FloatArray


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The best of some strategies has more than `times` the Sharpe ratio of the best of others.

    One of the two sides is a single strategy.
    """

    words: str
    level: Level
    ahead: Sequence[str]
    behind: Sequence[str]
    times: float = 1.0


# Of annualised Sharpe ratios: a smaller one would be printed as +0.00, or is what rounding makes of equals.
LEAST_MARGIN = 0.01
_OTHERS = tuple(name for name in (*REFERENCES, *SIXTEEN) if name != LSTM)
_AT = {cost: Level(rescaled=True, cost=cost) for cost in (2.0, 3.0, 5.0)}


def _claim(
    words: str, level: Level, ahead: Sequence[str], behind: Sequence[str], times: float = 1.0
) -> Claim:
    return Claim(words=words, level=level, ahead=ahead, behind=behind, times=times)


CLAIMS = (
    _claim("LSTM, Sharpe: first of all, raw", RAW, [LSTM], _OTHERS),
    _claim("LSTM, Sharpe: first of all, rescaled", RESCALED, [LSTM], _OTHERS),
    _claim("LSTM, Sharpe: over twice the best reference, raw", RAW, [LSTM], REFERENCES, 2.0),
    _claim("LSTM, Sharpe: over twice the best reference, rescaled", RESCALED, [LSTM], REFERENCES, 2.0),
    *(
        _claim(
            f"{name}: Sharpe ahead of MSE and binary",
            RESCALED,
            [f"dmn-{model}-sharpe"],
            [f"dmn-{model}-mse", f"dmn-{model}-binary"],
        )
        for model, name in MODELS.items()
    ),
    _claim("LSTM, Sharpe: ahead of the references at 2 bps", _AT[2.0], [LSTM], REFERENCES),
    _claim("LSTM, Sharpe: ahead of the references at 3 bps", _AT[3.0], [LSTM], REFERENCES),
    _claim("Best reference: ahead of LSTM, Sharpe at 5 bps", _AT[5.0], REFERENCES, [LSTM]),
    _claim("LSTM + Reg.: ahead of LSTM, Sharpe at 10 bps", DEAR, [REGULARISED], [LSTM]),
    _claim("LSTM + Reg.: ahead of the references at 10 bps", DEAR, [REGULARISED], REFERENCES),
)


def orderings(scores: Scores) -> pd.DataFrame:
    """One row per claim: Sharpe ratios, the margin ahead - times x behind, its interval and the verdict.

    `compared` counts the pairs in which both strategies have a Sharpe ratio, of `of` in the claim.
    """
    return pd.DataFrame(
        {
            "claim": claim.words,
            "rescaled": claim.level.rescaled,
            "cost_bps": claim.level.cost,
            "times": claim.times,
            "of": len(claim.ahead) * len(claim.behind),
            **_held(scores.sharpe[claim.level], claim.ahead, claim.behind, claim.times),
        }
        for claim in CLAIMS
    )


def _held(
    scores: Mapping[str, Score], ahead: Sequence[str], behind: Sequence[str], times: float
) -> dict[str, str | float]:
    """One claim's figures."""
    first, second = _best(scores, ahead), _best(scores, behind)
    known = [[name for name in side if _known(scores, name)] for side in (ahead, behind)]
    pairs = [scores[a].samples - times * scores[b].samples for a in known[0] for b in known[1]]
    if len(ahead) == 1:
        low, high = _of_least(pairs)
    else:
        low, high = (-bound for bound in reversed(_of_least(-margin for margin in pairs)))
    values = [scores[name].value if name else np.nan for name in (first, second)]
    return {
        "compared": len(pairs),
        "ahead": first,
        "behind": second,
        "sharpe_ahead": values[0],
        "sharpe_behind": values[1],
        "margin": values[0] - times * values[1],
        "margin_low": low,
        "margin_high": high,
        "verdict": verdict(low, high) if first and second else "not in this run",
    }


def _of_least(margins: Iterable[FloatArray]) -> Interval:
    """95% interval of the least of K margins, from the R samples of each.

    From below the least of the margins' own lower bounds will do; from above any of them might be the one
    that chance made the least, so each upper bound takes its share of the level (Bonferroni).
    """
    samples = list(margins)
    if not samples or not all(np.isfinite(one).all() for one in samples):
        return Interval(np.nan, np.nan)
    tail = (1.0 - LEVEL) / 2.0
    low = min(np.quantile(one, tail) for one in samples)
    high = min(np.quantile(one, 1.0 - tail / len(samples)) for one in samples)
    return Interval(float(low), float(high))


def _best(scores: Mapping[str, Score], names: Sequence[str]) -> str:
    """The strategy of the run with the highest Sharpe ratio, one without any last; "" if none was run."""
    run = [name for name in names if name in scores]
    return max(run, key=lambda name: np.nan_to_num(scores[name].value, nan=-np.inf), default="")


def _known(scores: Mapping[str, Score], name: str) -> bool:
    return name in scores and bool(np.isfinite(scores[name].value))


def verdict(low: float, high: float) -> str:
    """What an interval of a margin says: ahead is by `LEAST_MARGIN` at least.

    Examples:
        >>> verdict(0.1, 0.5), verdict(-0.5, -0.1), verdict(0.0, 0.0)
        ('holds', 'does not hold', 'does not hold')
        >>> verdict(-0.1, 0.5)
        'not decided'
    """
    if not (np.isfinite(low) and np.isfinite(high)):
        return "not decided: undefined"
    if low > LEAST_MARGIN:
        return "holds"
    return "does not hold" if high < LEAST_MARGIN else "not decided"


def orderings_table(scores: Scores) -> Table:
    """`orderings` as an artefact."""
    data = orderings(scores)
    some_missing = (data["compared"] < data["of"]).any()
    rows = []
    for row in data.to_dict("records"):
        times = f"{row['times']:g} \N{MULTIPLICATION SIGN} " if row["times"] != 1.0 else ""
        rows.append(
            {
                "Claim of the paper": row["claim"],
                "Here": row["verdict"],
                "Margin": format_value(row["margin"], "+.2f"),
                "95% interval": format_interval(row["margin_low"], row["margin_high"], "+.2f"),
                "Sharpe ratio": _side(row, "ahead"),
                "Held against": times * bool(row["behind"]) + _side(row, "behind"),
                "Compared": f"{row['compared']} of {row['of']}",
            }
        )
    return Table(
        name="orderings",
        title="The paper's orderings, held against this run",
        caption=f"A claim holds if the interval of its margin lies above {LEAST_MARGIN:g}, and does not if "
        "it lies below; one that contains it decides nothing. Where several strategies are held against one, "
        "the best of them stands here and the interval allows for its having been picked. "
        f"{scores.how[0].upper()}{scores.how[1:]}.",
        data=data,
        shown=pd.DataFrame(rows).drop(columns=[] if some_missing else ["Compared"]),
    )


def _side(row: Mapping[str, str], side: str) -> str:
    """The best strategy of a side with its Sharpe ratio."""
    return (
        f"{format_value(float(row[f'sharpe_{side}']), '.2f')} {label(row[side])}" if row[side] else UNDEFINED
    )

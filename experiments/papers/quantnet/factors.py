"""Table 6: a strategy's daily market return explained by five Fama-French factors and momentum.

A factor file is CSV or Parquet with the columns `date` (YYYY-MM-DD, ascending, each day once) and mkt_rf,
smb, hml, rmw, cma, mom, rf: daily returns as fractions, 0.01 for one per cent (Fama and French 2015; momentum
after Carhart 1997).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from experiments.artefacts.columns import Column
from experiments.artefacts.items import Table
from experiments.artefacts.numbers import UNDEFINED, format_digits
from experiments.papers.quantnet.measure import MarketDays
from experiments.papers.quantnet.published import read_published
from experiments.papers.quantnet.tables import label
from qn_env.arrays import DateArray, FloatArray
from qn_env.dates import check_increasing, read_days
from qn_env.errors import DataError, refuse_missing
from qn_env.extras import require
from qn_env.sources.files import read_numbers
from qn_env.sources.frames import read_column

TERM_LABELS = {
    "alpha": "Alpha",
    "mkt_rf": "Beta",
    "smb": "Small minus Big",
    "hml": "High minus Low",
    "rmw": "Robust minus Weak",
    "cma": "Conservative minus Aggressive",
    "mom": "Momentum",
}
TERMS = tuple(TERM_LABELS)
FACTORS = TERMS[1:]
COLUMNS = ("date", *FACTORS, "rf")
MIN_DAYS = 60  # fewer days in common, and nothing is estimated
LARGEST = 0.5  # no factor moved by 50% on a day: larger values are percentages
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Regression:
    """Ordinary least squares of daily returns on a constant and the factors.

    Attributes:
        coefficient: by term: alpha a day, then one exposure per factor; NaN with too few days.
        t_ols: t-statistics under independent errors of one variance.
        t_hac: t-statistics of Newey and West (1987), for errors dependent over `lags` days.
        p_hac: two-sided p-values of these, normal.
        r_squared: share explained.
        days: days used.
        without: days of the strategy on which the file has no factors; not used.
        lags: floor(4 (days / 100)^(2/9)), the rule of Newey and West (1994).
    """

    coefficient: Mapping[str, float]
    t_ols: Mapping[str, float]
    t_hac: Mapping[str, float]
    p_hac: Mapping[str, float]
    r_squared: float
    days: int
    without: int
    lags: int


def read_factors(path: Path) -> pd.DataFrame:
    """A factor file, index date, checked.

    Raises:
        DataError: a file that cannot be read, lacks a column or holds something else than daily fractions.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file, expected daily factors as CSV or Parquet.")
    table, _ = read_numbers(path)
    if table.index.name == "date":
        table = table.reset_index()
    advice = f"Expected {', '.join(COLUMNS)}: add them or rename what is there."
    refuse_missing(path, "columns", COLUMNS, table.columns, advice)
    days, _ = read_days(str(path), pd.Index(table["date"]))
    check_increasing(str(path), days)
    numbers = pd.DataFrame({name: _numbers(path, table[name], days) for name in COLUMNS[1:]})
    return numbers.set_axis(pd.DatetimeIndex(days, name="date"), axis=0)


def explain(net: FloatArray, dates: DateArray, factors: pd.DataFrame) -> Regression:
    """Regress a market's daily return on the factors of the same days.

    The strategy's return is taken as it is: long and short positions finance each other, so `rf` is not
    subtracted; it is in the file for panels of plain returns.

    Args:
        net: [T] daily net return of a strategy, decimal, NaN where it has none.
        dates: [T] its days.
        factors: index date, columns mkt_rf to mom, decimal.
    """
    known = np.isfinite(net)
    days = pd.DatetimeIndex(dates)[known]
    joined = factors.reindex(days)[list(FACTORS)]
    present = joined.notna().all(axis=1).to_numpy()
    X, y = joined.to_numpy(dtype=np.float64)[present], net[known][present]
    n, without = len(y), int((~present).sum())
    lags = hac_lags(n)
    design = np.column_stack([np.ones(n), X])
    if n < MIN_DAYS or np.ptp(y) == 0.0 or np.linalg.matrix_rank(design) < design.shape[1]:
        nothing = dict.fromkeys(TERMS, np.nan)
        return Regression(nothing, nothing, nothing, nothing, np.nan, n, without, lags)
    model = require("statsmodels.api", what="Table 6").OLS(y, design)
    plain, robust = model.fit(), model.fit(cov_type="HAC", cov_kwds={"maxlags": lags})
    return Regression(
        coefficient=_by_term(plain.params),
        t_ols=_by_term(plain.tvalues),
        t_hac=_by_term(robust.tvalues),
        p_hac=_by_term(robust.pvalues),
        r_squared=float(plain.rsquared),
        days=n,
        without=without,
        lags=lags,
    )


def hac_lags(n: int) -> int:
    """Newey and West's (1994) number of lags for n days.

    Examples:
        >>> hac_lags(100), hac_lags(752)
        (4, 6)
    """
    return int(4.0 * (n / 100.0) ** (2.0 / 9.0))


def regressions(
    markets: Mapping[str, MarketDays],
    named: Sequence[str],
    seeds: Mapping[str, Sequence[int]],
    agents: Sequence[str],
    factors: pd.DataFrame,
) -> dict[tuple[str, str], Regression]:
    """By (agent, market): the market's mean over listed assets, then the mean over seeds, on the factors."""
    return {
        (agent, market): explain(
            markets[market].market_net(agent, seeds[agent]).mean(axis=0), markets[market].dates, factors
        )
        for agent in agents
        for market in named
    }


def _by_term(values: FloatArray) -> dict[str, float]:
    return dict(zip(TERMS, map(float, values), strict=True))


def _numbers(path: Path, column: pd.Series[float], days: DateArray) -> FloatArray:
    """[T] one factor as numbers; an empty cell is a day without it."""
    numbers = read_column(str(path), days, str(column.name), column)
    bad = np.flatnonzero(np.abs(numbers) > LARGEST)
    if len(bad):
        raise DataError(
            f"{path}: column {column.name!r} on {days[bad[0]]}: found {column.iloc[bad[0]]}, expected a "
            f"daily return as a fraction, 0.01 for one per cent ({len(bad)} such rows). Divide percentages "
            "by 100."
        )
    return numbers


def table_6(fitted: Mapping[tuple[str, str], Regression], basis: str) -> Table:
    """Coefficients with t-statistics; a star where the HAC p-value is below 5%."""
    rows = [
        {"agent": agent, "market": market, "term": term}
        | {"coefficient": r.coefficient[term], "t_ols": r.t_ols[term], "t_hac": r.t_hac[term]}
        | {"p_hac": r.p_hac[term], "days": r.days, "days_without_factors": r.without, "hac_lags": r.lags}
        | {"r_squared": r.r_squared}
        for (agent, market), r in fitted.items()
        for term in TERMS
    ]
    data = pd.DataFrame(rows)
    return Table(
        name="table6",
        title="Table 6",
        caption="Daily market return of a strategy on five Fama-French factors and momentum: coefficient, "
        f"t-statistic of ordinary least squares, t-statistic after Newey and West; {basis}.",
        data=data,
        shown=pd.DataFrame([_shown_6(agent, market, r) for (agent, market), r in fitted.items()]),
    )


def _shown_6(agent: str, market: str, r: Regression) -> dict[str, str]:
    return {
        "Market": market,
        "Strategy": label(agent),
        **{TERM_LABELS[term]: _coefficient_cell(r, term) for term in TERMS},
        "R\N{SUPERSCRIPT TWO}": format_digits(r.r_squared, 2),
        "Days": f"{r.days}",
        "Days without factors": f"{r.without}",
        "Lags": f"{r.lags}",
    }


def _coefficient_cell(r: Regression, term: str) -> str:
    if not np.isfinite(r.coefficient[term]):
        return UNDEFINED
    star = "*" if r.p_hac[term] < SIGNIFICANT else ""
    return f"{format_digits(r.coefficient[term], 3)}{star} ({r.t_ols[term]:.2f}; {r.t_hac[term]:.2f})"


def table_6_published() -> Table:
    """The paper's Table 6."""
    data = read_published("table6")
    cells = data.assign(cell=Column("", ("coefficient", "t"), "{:.4f} ({:.2f})".format).text(data))
    shown = cells.pivot(index="market", columns="term", values="cell")
    shown = shown.loc[data["market"].unique(), data["term"].unique()]
    return Table(
        name="table6-published",
        title="Table 6, published",
        caption="The paper's coefficients and t-statistics for QuantNet; all four alphas are significant.",
        data=data,
        shown=shown.rename(columns=TERM_LABELS).rename_axis("Market").reset_index().rename_axis(columns=None),
    )

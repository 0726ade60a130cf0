"""The embedded real panel: S&P 500 stocks by sector and factor ETFs, read from the skfolio wheel."""

from __future__ import annotations

import gzip
from functools import lru_cache
from importlib.resources import files

import pandas as pd

from qn_env.panel import Panel
from qn_env.sources.frames import from_prices

# Sectors of the Global Industry Classification Standard.
SECTORS = {
    "Technology": ("AAPL", "AMD", "MSFT"),
    "Financials": ("BAC", "JPM"),
    "Consumer Discretionary": ("BBY", "HD"),
    "Consumer Staples": ("KO", "PEP", "PG", "WMT"),
    "Energy": ("CVX", "RRC", "XOM"),
    "Health Care": ("JNJ", "LLY", "MRK", "PFE", "UNH"),
    "Industrials": ("GE",),
}
FACTORS = {"Factor ETFs": ("MTUM", "QUAL", "SIZE", "USMV", "VLUE")}

LIMITS = (
    "Embedded panel (from skfolio): 20 stocks of the S&P 500 that survived to 2022, so long-only results are "
    "flattered; adjusted closes 1990-2022 rounded to 0.001, which makes many returns of the 1990s exactly "
    "zero; five factor ETFs from 2014; no volume, no delistings. For learning the tool, not for conclusions."
)


@lru_cache(maxsize=1)
def embedded() -> Panel:
    """20 stocks in seven sectors, 1990-2022, and five factor ETFs, 2014-2022, as eight markets.

    Works offline: the prices lie in the installed skfolio package and are read, never copied.
    """
    stocks, etfs = _read("sp500_dataset"), _read("factors_dataset")
    market_of = {asset: name for name, assets in (SECTORS | FACTORS).items() for asset in assets}
    prices = pd.concat([stocks, etfs], axis=1)[list(market_of)]
    return from_prices(prices, market_of, source="skfolio", notes=(LIMITS,))


def _read(name: str) -> pd.DataFrame:
    """One data set of the skfolio wheel, without importing skfolio (which takes a second)."""
    with files("skfolio.datasets").joinpath("data", f"{name}.csv.gz").open("rb") as packed:
        return pd.read_csv(gzip.open(packed), index_col="Date", parse_dates=True)

"""Daily prices of Yahoo Finance, by the package yfinance: all that was asked for, or one error.

yfinance answers with an empty or a short frame where something went wrong, and logs what it was. Here every
answer is held against what was asked and against what Yahoo says of the asset itself: since when it is
traded, and when it was last.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from qn_env.arrays import DateArray
from qn_env.checks import check_names
from qn_env.dates import DateLike, as_day
from qn_env.errors import ConfigError, few, refusal
from qn_env.extras import require
from qn_env.sources.exports import Export, from_export

SOURCE = "Yahoo Finance"
# What a ticker is written with; it becomes a part of an address.
TICKER = re.compile(r"[A-Z0-9^][A-Z0-9.^=&_-]*", re.ASCII)
ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}[0-9]", re.ASCII)
# Calendar days without a price that mean nothing: no exchange has longer holidays.
LONGEST_HOLIDAYS = 14
LONGEST_HISTORY = 36_135  # days, 99 years: Yahoo refuses to look back further than a century
TIMEOUT_SECONDS = 30.0
RETRIES = 2  # after one second and two, where a connection failed
KEPT = ["Adj Close", "Volume"]  # of the fields that are answered


class Download(NamedTuple):
    """What was downloaded.

    Attributes:
        export: the prices, which are adjusted closes, the volumes and how they came about.
        exchanges: by asset, where it is traded, as Yahoo calls it ("NMS", "JPX").
    """

    export: Export
    exchanges: dict[str, str]


def download(
    tickers: Sequence[str],
    *,
    start: DateLike | None = None,
    end: DateLike | None = None,
    watch: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> Download:
    """Ask Yahoo Finance for the daily prices of some tickers, one after the other.

    The price is the close adjusted for dividends and splits; a day is one of the exchange. An asset may begin
    or end within the days that were asked for if Yahoo says itself that it was not traded before or after,
    which is noted; otherwise its answer was cut short.

    Args:
        tickers: as Yahoo writes them, in any case: "AAPL", "7203.T", "^GSPC", "EURUSD=X".
        start: first day; None: the first that there is.
        end: last day, included; None: yesterday's (UTC). Today's has no close yet.
        watch: goes through the tickers, so that somebody sees how far it is.

    Raises:
        ConfigError: tickers or days that cannot be asked for; the package yfinance is not installed.
        DataError: everything that is wrong with the answers, one line each.
    """
    names = _tickers(tickers)
    span = _span(start, end)
    wrong: list[str] = []
    told: list[str] = []
    answers = _ask_all(names, span, watch, wrong)
    for answer in answers:
        _examine(answer, span, wrong, told)
    if wrong:
        raise refusal(SOURCE, wrong)
    frame = pd.concat({answer.ticker: answer.bars[KEPT] for answer in answers}, axis=1, sort=True)
    export = from_export(frame.swaplevel(axis=1).copy(), source=SOURCE)  # one block, not one for each asset
    notes = [_origin(names, span), *export.notes, _currencies(answers), *(f"{SOURCE}: {one}" for one in told)]
    return Download(export._replace(notes=notes), {answer.ticker: answer.exchange for answer in answers})


@dataclass(frozen=True)
class _Span:
    """The days that are asked for."""

    start: np.datetime64 | None
    end: np.datetime64

    @property
    def first(self) -> np.datetime64:
        return self.end - LONGEST_HISTORY if self.start is None else self.start

    def __str__(self) -> str:
        return f"{'the first day' if self.start is None else self.start} to {self.end}"


@dataclass(frozen=True)
class _Answer:
    """What came of one ticker: its bars [T, columns] by day of the exchange, and Yahoo's words about it."""

    ticker: str
    bars: pd.DataFrame
    about: Mapping[str, Any]  # as Yahoo writes it

    @property
    def exchange(self) -> str:
        return str(self.about.get("exchangeName") or self.about["exchangeTimezoneName"])

    def day(self, key: str) -> np.datetime64 | None:
        """The day of a moment that Yahoo tells."""
        moment = self.about.get(key)
        return np.datetime64(moment.date(), "D") if isinstance(moment, pd.Timestamp) else None


class _Failure(NamedTuple):
    """Why there is no answer, and whether there is any use in asking for another ticker."""

    reason: str
    final: bool = False


def _tickers(tickers: Sequence[str]) -> tuple[str, ...]:
    """In capitals, each once."""
    names = tuple(name.upper() for name in check_names("tickers", tickers))
    if not names:
        raise ConfigError(
            "tickers is empty; name at least one, as Yahoo Finance writes it: AAPL, 7203.T, ^GSPC."
        )
    for name in names:
        if ISIN.fullmatch(name):
            raise ConfigError(
                f"tickers holds the ISIN {name}; expected the ticker that Yahoo Finance has for it."
            )
        if not TICKER.fullmatch(name):
            raise ConfigError(
                f"tickers holds {name!r}; expected letters, digits and . ^ = & _ - as Yahoo Finance writes "
                "them: AAPL, 7203.T, ^GSPC."
            )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"tickers holds {few(twice)} twice; expected each once.")
    return names


def _span(start: DateLike | None, end: DateLike | None) -> _Span:
    yesterday = np.datetime64("today", "D") - 1  # NumPy's today is in UTC
    last = yesterday if end is None else as_day(end, "end")
    if last > yesterday:
        raise ConfigError(f"end is {last}, expected a day that is over (UTC): {yesterday} or an earlier one.")
    first = None if start is None else as_day(start, "start")
    if first is not None and first > last:
        raise ConfigError(f"start is {first}, expected a day up to the last one, {last}.")
    return _Span(first, last)


def _ask_all(
    names: Sequence[str],
    span: _Span,
    watch: Callable[[Sequence[str]], Iterable[str]],
    wrong: list[str],
) -> list[_Answer]:
    """The answers for the tickers that have one; why the others have none is added to `wrong`."""
    yfinance = require("yfinance", what="A download from Yahoo Finance", extra="yahoo")
    answers, asked = [], 0
    with _outspoken(yfinance):
        connection = _Connection()
        for name in watch(names):
            asked += 1
            answer = connection.ask(yfinance, name, span)
            if isinstance(answer, _Answer):
                answers.append(answer)
                continue
            wrong.append(f"{name}: {answer.reason}")
            if answer.final:
                break
    if asked < len(names):
        wrong.append(f"not asked for after that: {few(names[asked:], most=10)}")
    return answers


@contextmanager
def _outspoken(yfinance: Any) -> Iterator[None]:
    """In this block yfinance raises what it would log, and forgets the answers it had before."""
    logger, config = logging.getLogger("yfinance"), yfinance.config
    before = config.debug.hide_exceptions, config.network.retries, logger.level
    config.debug.hide_exceptions, config.network.retries = False, RETRIES
    logger.setLevel(logging.CRITICAL + 1)
    yfinance.data.YfData.cache_get.cache_clear()  # it keeps wrong answers, too
    try:
        with warnings.catch_warnings():
            # What yfinance uses and pandas will give up is theirs to settle.
            for category in (DeprecationWarning, FutureWarning):
                warnings.filterwarnings("ignore", category=category, module="yfinance")
            yield
    finally:
        config.debug.hide_exceptions, config.network.retries = before[:2]
        logger.setLevel(before[2])


class _Connection:
    """A connection to Yahoo that remembers with which status of HTTP its last chart came; None: with none.

    yfinance's errors do not tell the status, and without it a captive portal looks like a change of format.
    """

    def __init__(self) -> None:
        requests = require("curl_cffi.requests", what="A download from Yahoo Finance", extra="yahoo")
        self._session = requests.Session(impersonate="chrome")  # as yfinance makes its own
        self._request = self._session.request
        self._session.request = self._remember
        self._status: int | None = None

    def _remember(self, method: str, url: str, **options: Any) -> Any:
        chart = "/finance/chart/" in url
        if chart:
            self._status = None
        response = self._request(method, url, **options)
        if chart:
            self._status = response.status_code
        return response

    def ask(self, yfinance: Any, name: str, span: _Span) -> _Answer | _Failure:
        """The bars of a ticker, or why there are none."""
        self._status = None
        # Beside its own errors yfinance raises whatever Python does with content that it did not expect.
        unforeseen = (OSError, ValueError, LookupError, TypeError, AttributeError)
        try:
            ticker = yfinance.Ticker(name, session=self._session)
            bars = ticker.history(
                start=str(span.first),
                end=str(span.end + 1),  # it leaves out the day that it calls the end
                auto_adjust=False,
                timeout=TIMEOUT_SECONDS,
            )
            about = ticker.get_history_metadata()
            bars = bars.set_axis(bars.index.tz_localize(None), axis=0)
            return _Answer(name, bars.loc[str(span.first) : str(span.end)], about)
        except (yfinance.exceptions.YFException, *unforeseen) as error:
            return self._failure(yfinance, error, span)

    def _failure(self, yfinance: Any, error: Exception, span: _Span) -> _Failure:
        """What an error means to who asked."""
        known, status = yfinance.exceptions, self._status
        said = str(error).partition("\n")[0].partition(" See http")[0]
        if isinstance(error, known.YFRateLimitError) or status == 429:
            hint = "wait for a while, an hour perhaps, and ask for fewer tickers at a time"
            return _Failure(f"Yahoo refuses to answer so many requests (HTTP 429); {hint}", final=True)
        unknown = _Failure("no such ticker, or one that Yahoo no longer has; look it up, or leave it out")
        if status == 404:
            return unknown
        missing = isinstance(error, known.YFPricesMissingError)
        reason = getattr(error, "yahoo_reason", None)
        if missing and reason:
            return _Failure(
                f"no price from {span} (Yahoo says: {reason}); ask for other days, or leave it out"
            )
        if isinstance(error, OSError) and status is None:
            reason = f"no answer from Yahoo ({type(error).__name__}: {said})"
            return _Failure(f"{reason}; look after the connection to the network, and try again", final=True)
        if status is not None and status >= 400:
            return _Failure(f"Yahoo answers with an error (HTTP {status}); try again later")
        if isinstance(error, known.YFTzMissingError):
            return unknown
        if missing:
            return _Failure(f"no price from {span}; ask for other days, or leave it out")
        hint = f"try again later, or with a newer yfinance than {yfinance.__version__}"
        return _Failure(f"the answer cannot be read ({type(error).__name__}: {said}); {hint}")


def _examine(answer: _Answer, span: _Span, wrong: list[str], told: list[str]) -> None:
    """Whether an answer is what was asked for: faults are added to `wrong`, remarks to `told`."""
    name, about, bars = answer.ticker, answer.about, answer.bars
    if str(about.get("symbol", name)).upper() != name:
        wrong.append(
            f"{name}: Yahoo answers for {about['symbol']!r} instead; give that ticker if it is the one"
        )
        return
    if about.get("dataGranularity", "1d") != "1d":
        wrong.append(f"{name}: rows for every {about['dataGranularity']}, expected 1d; ask for fewer years")
        return
    price, close = bars["Adj Close"].dropna(), bars["Close"].dropna()
    if price.empty:
        wrong.append(f"{name}: no price from {span}; ask for other days, or leave it out")
        return
    wrong += [f"{name}: {fault}" for fault in _bad_numbers(price, close, bars["Dividends"])]
    _examine_days(answer, price.index.to_numpy().astype("datetime64[D]"), span, wrong, told)


def _bad_numbers(price: pd.Series, close: pd.Series, dividends: pd.Series) -> Iterator[str]:
    """What is wrong with the numbers of one asset."""
    bad = price[~((price > 0) & (price < np.inf))]
    if len(bad):
        yield (
            f"the adjusted close of {bad.index[0]:%Y-%m-%d} is {bad.iloc[0]}, expected a positive number "
            f"({len(bad)} such days); ask for other days, or leave it out"
        )
    bare = close.index.difference(price.index)
    if len(bare):
        yield f"{bare[0]:%Y-%m-%d} has a close and no adjusted close ({len(bare)} such days); try again later"
    paid = dividends[dividends.index > price.index[0]]
    # Where Yahoo leaves the adjusted closes out, yfinance puts the closes there.
    if (paid > 0).any() and price.equals(close):
        yield (
            f"{int((paid > 0).sum())} dividends, and the adjusted close is the close on every day; expected "
            "prices adjusted for them; try again later"
        )


def _examine_days(answer: _Answer, days: DateArray, span: _Span, wrong: list[str], told: list[str]) -> None:
    """Whether the days that have a price are all of those asked for on which the asset was traded."""
    name, holidays = answer.ticker, np.timedelta64(LONGEST_HOLIDAYS, "D")
    listed, traded = answer.day("firstTradeDate"), answer.day("regularMarketTime")
    since = span.first if listed is None else max(span.first, listed)
    cut = "the answer was cut short; try again later, or ask for days"
    if days[0] - since > holidays and listed is not None:
        wrong.append(
            f"{name}: begins on {days[0]}, expected {since}, when it was traded: {cut} from {days[0]} on"
        )
    elif span.start is not None and days[0] - span.start > holidays:
        why = "since when it is traded Yahoo does not say" if listed is None else "its first day by Yahoo"
        told.append(f"{name} begins on {days[0]}; {why}.")
    if span.end - days[-1] > holidays:
        if traded is not None and traded - days[-1] <= holidays:
            told.append(f"{name} ends on {days[-1]}; its last day by Yahoo.")
        else:
            last = "" if traded is None else f", and it was traded until {traded}"
            wrong.append(f"{name}: ends on {days[-1]}, expected {span.end}{last}: {cut} up to {days[-1]}")
    gaps = np.flatnonzero(np.diff(days) > holidays)
    if len(gaps):
        more = f" ({len(gaps)} such gaps)" if len(gaps) > 1 else ""
        told.append(f"{name} has no price between {days[gaps[0]]} and {days[gaps[0] + 1]}{more}.")


def _origin(names: Sequence[str], span: _Span) -> str:
    """Where and when the prices come from, and what is needed to ask for them again."""
    made_by = f"yfinance {version('yfinance')} and qn_env {version('qn-env')}"
    return (
        f"{SOURCE}: downloaded on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC by {made_by}: daily prices of "
        f"{few(names, most=10)}, {span}. Opens, highs, lows and closes before adjustment are left out. "
        "Adjusted closes change with later dividends and splits: the same request gives other prices then, "
        "and the same returns up to rounding."
    )


def _currencies(answers: Sequence[_Answer]) -> str:
    """In which currency the assets are quoted."""
    of: dict[str, list[str]] = {}
    for answer in answers:
        of.setdefault(str(answer.about.get("currency") or "unknown"), []).append(answer.ticker)
    quoted = "; ".join(f"{currency}: {few(names)}" for currency, names in of.items())
    return f"{SOURCE}: prices in the currency of the exchange, not converted: {quoted}."

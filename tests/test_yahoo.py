"""Downloads from Yahoo Finance, in whose place a server of ours answers: what was asked for, or an error."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest

from experiments.cli import main
from qn_env.errors import ConfigError, DataError
from qn_env.sources import read_panel
from qn_env.sources import yahoo as source
from qn_env.sources.yahoo import download

START, END = "2020-01-02", "2020-06-30"
DAYS = pd.bdate_range("2018-01-01", "2021-12-31")
ASKED = DAYS[(DAYS >= START) & (DAYS <= END)]
NOW = pd.Timestamp("2026-06-15 16:00", tz="America/New_York")  # when Yahoo's answers were given
Reply = tuple[int, bytes]  # a status of HTTP, and what is sent with it


@dataclass
class Asset:
    """An asset as the endpoint v8/finance/chart answers for it; the fields are what a test changes."""

    symbol: str
    days: pd.DatetimeIndex = field(default_factory=lambda: DAYS)
    exchange: str = "NMS"
    zone: str = "America/New_York"
    currency: str = "USD"
    listed: str = "2018-01-01"
    traded: pd.Timestamp = NOW
    dividends: tuple[str, ...] = ("2020-03-02",)
    about: dict[str, Any] = field(default_factory=dict)  # what its meta has beside or instead
    edit: Callable[[dict[str, Any]], object] = dict  # changes an answer in place, at last

    @property
    def closes(self) -> pd.Series:
        """A walk of its own, the same in every test."""
        steps = np.random.default_rng(sum(map(ord, self.symbol))).normal(0, 0.01, len(self.days))
        return pd.Series(100.0 * np.exp(steps.cumsum()), index=self.days).round(2)

    @property
    def adjusted(self) -> pd.Series:
        """One per cent less before each dividend."""
        later = sum((self.days < day).astype(int) for day in self.dividends)
        return self.closes * 0.99**later

    def reply(self, query: dict[str, list[str]]) -> Reply:
        opening = (self.days + pd.Timedelta("09:30:00")).tz_localize(self.zone)
        seconds = opening.as_unit("s").asi8
        chosen = slice(-1, None)
        if "period1" in query:
            begin, end = int(query["period1"][0]), int(query["period2"][0])
            chosen = slice(*np.searchsorted(seconds, [begin, end]))
        closes = self.closes.iloc[chosen]
        chart: dict[str, Any] = {
            "meta": self._meta(),
            "timestamp": seconds[chosen].tolist(),
            "events": {"dividends": {}},
            "indicators": {
                "quote": [
                    {
                        "open": closes.tolist(),
                        "high": (closes + 1).tolist(),
                        "low": (closes - 1).tolist(),
                        "close": closes.tolist(),
                        "volume": list(range(1000, 1000 + len(closes))),
                    }
                ],
                "adjclose": [{"adjclose": self.adjusted.iloc[chosen].tolist()}],
            },
        }
        for day in self.dividends:
            moment = int(seconds[self.days.get_loc(day)])
            if moment in chart["timestamp"]:
                chart["events"]["dividends"][str(moment)] = {"amount": 0.25, "date": moment}
        self.edit(chart)
        return ok({"chart": {"result": [chart], "error": None}})

    def _meta(self) -> dict[str, Any]:
        meta = {
            "currency": self.currency,
            "symbol": self.symbol,
            "exchangeName": self.exchange,
            "fullExchangeName": f"{self.exchange} in full",
            "instrumentType": "EQUITY",
            "firstTradeDate": int(pd.Timestamp(self.listed, tz=self.zone).timestamp()),
            "regularMarketTime": int(self.traded.timestamp()),
            "hasPrePostMarketData": True,
            "gmtoffset": -18000,
            "timezone": "EST",
            "exchangeTimezoneName": self.zone,
            "regularMarketPrice": 101.5,
            "priceHint": 2,
            "dataGranularity": "1d",
            "range": "",
            "validRanges": ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"],
        }
        return meta | self.about


def ok(content: object) -> Reply:
    return 200, json.dumps(content).encode()


def refusal(status: int, code: str, words: str | None) -> Reply:
    return status, json.dumps(
        {"chart": {"result": None, "error": {"code": code, "description": words}}}
    ).encode()


NOT_FOUND = refusal(404, "Not Found", "No data found, symbol may be delisted")


class Yahoo:
    """What answers in Yahoo's place: the assets it knows, replies for tickers, and what it was asked."""

    def __init__(self) -> None:
        self.assets: dict[str, Asset] = {}
        self.replies: dict[str, Reply | None] = {}  # instead of an asset's; None: the line is cut
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.crumb: Reply = (200, b"aCrumb")
        self.port = 0  # where it is reached

    def add(self, symbol: str, **changed: Any) -> Asset:
        self.assets[symbol] = Asset(symbol, **changed)
        return self.assets[symbol]

    def reply(self, path: str, query: dict[str, list[str]]) -> Reply | None:
        self.asked.append((path, query))
        if path == "/v1/test/getcrumb":
            return self.crumb
        if not path.startswith("/v8/finance/chart/"):
            return 404, b'{"finance": {"result": null, "error": {"code": "Not Found"}}}'
        symbol = path.rpartition("/")[2]
        if symbol in self.replies:
            return self.replies[symbol]
        return self.assets[symbol].reply(query) if symbol in self.assets else NOT_FOUND


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[ThreadingHTTPServer, list[Yahoo]]]:
    """A server on the loopback; what it answers is in the list, one for the whole module."""
    stage: list[Yahoo] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            reply = stage[0].reply(address.path.replace("%5E", "^"), parse_qs(address.query))
            if reply is None:
                self.close_connection = True
                return
            self.send_response(reply[0])
            self.send_header("Content-Length", str(len(reply[1])))
            self.end_headers()
            self.wfile.write(reply[1])

        do_POST = do_GET  # noqa: N815 - the name that http.server calls

        def log_message(self, *args: object) -> None:
            pass

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield serving, stage
    serving.shutdown()
    serving.server_close()
    thread.join()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """yfinance keeps cookies and time zones here, not in the user's home."""
    yfinance = pytest.importorskip("yfinance", reason="the extra yahoo is not installed")
    yfinance.set_tz_cache_location(str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def yahoo(
    cache: None, server: tuple[ThreadingHTTPServer, list[Yahoo]], monkeypatch: pytest.MonkeyPatch
) -> Yahoo:
    """Every address of Yahoo leads to our server, and no other address is asked for."""
    from curl_cffi import requests

    serving, stage = server
    stage[:] = [Yahoo()]
    stage[0].port = serving.server_port
    real = requests.Session.request

    def redirected(self: Any, method: str, url: str, **options: Any) -> Any:
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.hostname.endswith(".yahoo.com"), url
        here = address._replace(scheme="http", netloc=f"127.0.0.1:{stage[0].port}")
        return real(self, method, here.geturl(), **options)

    monkeypatch.setattr(requests.Session, "request", redirected)
    monkeypatch.setattr(source, "RETRIES", 0)  # each of them waits
    yfinance = sys.modules["yfinance"]
    monkeypatch.setattr(yfinance.data.SingletonMeta, "_instances", {})  # cookies and crumbs of earlier tests
    return stage[0]


def command(tmp_path: Path, *words: str, start: str | None = START, end: str | None = END) -> int:
    days = [*(["--start", start] if start else []), *(["--end", end] if end else [])]
    return main(["panel", "download", *words, "--out", str(tmp_path / "out"), *days])


def test_a_download_is_a_panel_of_adjusted_closes(
    yahoo: Yahoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = yahoo.add("AAA"), yahoo.add("^BBB", exchange="SNP", dividends=())
    c = yahoo.add("1234.T", exchange="JPX", zone="Asia/Tokyo", currency="JPY", days=DAYS.delete([540, 541]))
    assert command(tmp_path, "aaa", "^bbb", "1234.t") == 0
    told = capsys.readouterr().out
    panel = read_panel(tmp_path / "out")
    assert panel.assets == ("AAA", "^BBB", "1234.T")
    assert panel.market_of == ("NMS", "SNP", "JPX")
    assert panel.dates.tolist() == ASKED.date.tolist()
    for asset in (a, b, c):
        prices = asset.adjusted.reindex(ASKED).dropna()
        found = panel.returns[:, panel.assets.index(asset.symbol)]
        known = pd.Series(found, ASKED)[prices.index[1:]]
        np.testing.assert_allclose(known, prices.to_numpy()[1:] / prices.to_numpy()[:-1] - 1, rtol=1e-12)
    assert not panel.tradable[np.isin(panel.dates, DAYS[[540, 541]].to_numpy()), 2].any()
    volume = pd.read_parquet(tmp_path / "out" / "volume.parquet")
    assert volume["AAA"].tolist() == list(range(1000, 1000 + len(ASKED)))
    assert "3 assets in 3 markets, 2020-01-02 to 2020-06-30" in told
    for part in (
        f"by yfinance {sys.modules['yfinance'].__version__} and qn_env ",
        f"daily prices of AAA, ^BBB, 1234.T, {START} to {END}",
        "the price is 'adj close'",
        "USD: AAA, ^BBB; JPY: 1234.T",
    ):
        assert part in told
        assert part in (tmp_path / "out" / "notes.txt").read_text()
        assert part in " ".join(panel.notes)


def test_one_market_can_be_named_for_all(yahoo: Yahoo, tmp_path: Path) -> None:
    yahoo.add("AAA")
    yahoo.add("BBB", exchange="NYQ")
    assert command(tmp_path, "AAA", "BBB", "--market", "US") == 0
    assert read_panel(tmp_path / "out").market_of == ("US", "US")


def test_without_days_it_asks_for_all_that_are_over(yahoo: Yahoo, tmp_path: Path) -> None:
    today = pd.Timestamp.now("UTC").tz_localize(None).normalize()
    days = pd.date_range(today - pd.Timedelta(days=40), today)  # and today's, which is not over
    traded = pd.Timestamp.now("America/New_York")
    yahoo.add("AAA", days=days, listed=str(days[0].date()), traded=traded, dividends=())
    assert command(tmp_path, "AAA", start=None, end=None) == 0
    panel = read_panel(tmp_path / "out")
    assert panel.dates.tolist() == days[:-1].date.tolist()
    (chart,) = [query for path, query in yahoo.asked if "period1" in query]
    assert int(chart["period1"][0]) < -1_000_000_000, "a time before 1938"


def test_what_ends_and_begins_within_the_days_is_noted(yahoo: Yahoo, tmp_path: Path) -> None:
    yahoo.add("AAA")
    yahoo.add("NEW", days=DAYS[DAYS >= "2020-02-20"], listed="2020-02-20")
    yahoo.add("OLD", days=DAYS[DAYS <= "2020-04-30"], traded=pd.Timestamp("2020-04-30 20:00", tz="UTC"))
    yahoo.add("GAP", days=DAYS[(DAYS < "2020-03-05") | (DAYS > "2020-04-10")])
    yahoo.add("DUMB", days=DAYS[DAYS >= "2020-03-02"], about={"firstTradeDate": None})
    assert command(tmp_path, "AAA", "NEW", "OLD", "GAP", "DUMB") == 0
    panel = read_panel(tmp_path / "out")
    told = " ".join(panel.notes)
    assert "NEW begins on 2020-02-20; its first day by Yahoo." in told
    assert "OLD ends on 2020-04-30; its last day by Yahoo." in told
    assert "GAP has no price between 2020-03-04 and 2020-04-13." in told
    assert "DUMB begins on 2020-03-02; since when it is traded Yahoo does not say." in told
    assert "AAA begins" not in told
    assert panel.dates[panel.tradable[:, panel.assets.index("OLD")]][-1] == np.datetime64("2020-04-30")


def adjusted(chart: dict[str, Any]) -> list[float | None]:
    return chart["indicators"]["adjclose"][0]["adjclose"]


def without_prices(chart: dict[str, Any]) -> None:
    """As Yahoo answers where there is no trading day among those asked for."""
    del chart["timestamp"]
    chart["indicators"] = {"quote": [{}], "adjclose": [{}]}


def nothing_but_null(chart: dict[str, Any]) -> None:
    for values in (*chart["indicators"]["quote"], *chart["indicators"]["adjclose"]):
        for name in values:
            values[name] = [None] * len(values[name])


def not_adjusted(chart: dict[str, Any]) -> None:
    del chart["indicators"]["adjclose"]


def some_not_adjusted(chart: dict[str, Any]) -> None:
    adjusted(chart)[5:7] = [None] * len(adjusted(chart)[5:7])


def negative(chart: dict[str, Any]) -> None:
    adjusted(chart)[:2] = [-0.5, -0.25][: len(adjusted(chart))]


# What Yahoo may answer for one ticker of three, and what is said of it.
FAULTS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no such days": (
        {"about": {"firstTradeDate": None}, "edit": without_prices},
        ["no price from 2020-01-02 to 2020-06-30"],
    ),
    "only gaps": ({"edit": nothing_but_null}, ["no price from 2020-01-02 to 2020-06-30"]),
    "begins late": (
        {"days": DAYS[DAYS >= "2020-03-02"], "listed": "2018-01-01"},
        ["begins on 2020-03-02, expected 2020-01-02, when it was traded: the answer was cut short"],
    ),
    "cut short": (
        {"days": DAYS[DAYS < "2020-05-01"]},
        ["ends on 2020-04-30, expected 2020-06-30, and it was traded until 2026-06-15: the answer was cut"],
    ),
    "months": ({"about": {"dataGranularity": "1mo"}}, ["rows for every 1mo, expected 1d"]),
    "another one": ({"about": {"symbol": "ODD"}}, ["Yahoo answers for 'ODD' instead"]),
    "not adjusted": (
        {"edit": not_adjusted},
        ["1 dividends, and the adjusted close is the close on every day"],
    ),
    "some days not adjusted": (
        {"edit": some_not_adjusted},
        ["2020-01-09 has a close and no adjusted close (2 such days)"],
    ),
    "negative": (
        {"edit": negative},
        ["the adjusted close of 2020-01-02 is -0.5, expected a positive number (2 such days)"],
    ),
}
REPLIES: dict[str, tuple[Reply | None, list[str]]] = {
    "unknown": (NOT_FOUND, ["no such ticker, or one that Yahoo no longer has"]),
    "an error of the server": ((500, b"<html>Oops</html>"), ["Yahoo answers with an error (HTTP 500)"]),
    "an error in JSON": (refusal(503, "Unavailable", None), ["Yahoo answers with an error (HTTP 503)"]),
    "a refusal": ((401, b'{"finance": {"error": {}}}'), ["Yahoo answers with an error (HTTP 401)"]),
    "down": ((200, b"Will be right back..."), ["the answer cannot be read ("]),
    "broken JSON": (
        (200, b'{"chart": {"result": [{"me'),
        ["the answer cannot be read (", "newer yfinance than"],
    ),
    "another page": ((200, b"<html>Log in to this network</html>"), ["the answer cannot be read ("]),
    "another form": (ok({"chart": {"result": [{}], "error": None}}), ["the answer cannot be read ("]),
    "too many requests": ((429, b"Too Many Requests"), ["so many requests (HTTP 429); wait for a while"]),
    "a cut line": (None, ["no answer from Yahoo (", "look after the connection"]),
}


def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], ticker: str, parts: list[str]) -> None:
    """Of two tickers one is refused, and nothing is written."""
    assert command(tmp_path, "AAA", ticker) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert f"Yahoo Finance: {ticker}: " in told.err
    assert "AAA" not in told.err
    for part in parts:
        assert part in told.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", FAULTS)
def test_an_answer_that_is_not_what_was_asked_for_is_refused(
    name: str, yahoo: Yahoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed, parts = FAULTS[name]
    yahoo.add("AAA")
    yahoo.add("BAD", **changed)
    refused(tmp_path, capsys, "BAD", parts)


@pytest.mark.parametrize("asked", ["first", "again"])
@pytest.mark.parametrize("name", REPLIES)
def test_what_is_no_answer_is_refused(
    name: str, asked: str, yahoo: Yahoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reply, parts = REPLIES[name]
    ticker = "X" + "".join(word[0] for word in name.split()).upper()
    yahoo.add("AAA")
    if asked == "again":  # yfinance then asks for the prices at once, and not for the time zone before
        yahoo.add(ticker)
        download([ticker], start=START, end=END)
    yahoo.replies[ticker] = reply
    refused(tmp_path, capsys, ticker, parts)


def test_days_that_yahoo_refuses_are_told_in_its_words(yahoo: Yahoo) -> None:
    yahoo.add("DDD")
    download(["DDD"], start=START, end=END)  # from now on its time zone is known
    yahoo.replies["DDD"] = refusal(400, "Bad Request", "Data doesn't exist for startDate = 1577934000")
    with pytest.raises(
        DataError, match=r"DDD: no price from .* \(Yahoo says: Data doesn't exist for startDate"
    ):
        download(["DDD"], start=START, end=END)


def test_all_that_is_wrong_is_in_one_error(
    yahoo: Yahoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yahoo.add("AAA")
    yahoo.add("SHORT", days=DAYS[(DAYS >= "2020-03-02") & (DAYS < "2020-05-01")], edit=negative)
    yahoo.replies |= {"HTML": (200, b"<html>"), "FULL": (429, b"Too Many Requests")}
    assert command(tmp_path, "GONE1", "AAA", "SHORT", "GONE2", "GONE3", "HTML", "FULL", "AAB", "AAC") == 1
    told = capsys.readouterr().err
    assert "Yahoo Finance: 9 things are wrong:" in told
    for part in (
        "- GONE1: no such ticker",
        "- GONE2: no such ticker",
        "- GONE3: no such ticker",
        "- SHORT: begins on 2020-03-02",
        "- SHORT: ends on 2020-04-30",
        "- SHORT: the adjusted close of 2020-03-02 is -0.5",
        "- HTML: the answer cannot be read",
        "- FULL: Yahoo refuses to answer so many requests",
        "- not asked for after that: AAB, AAC.",
    ):
        assert part in told
    assert not (tmp_path / "out").exists()
    assert not [path for path, _ in yahoo.asked if "AAB" in path or "AAC" in path]


def test_without_a_connection_it_gives_up_at_the_first_ticker(
    yahoo: Yahoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nobody listens there
        yahoo.port = closed.getsockname()[1]
        assert command(tmp_path, "AAA", "BBB") == 1
    told = capsys.readouterr().err
    assert "- AAA: no answer from Yahoo (ConnectionError: " in told
    assert "- not asked for after that: BBB." in told
    assert not (tmp_path / "out").exists()


def test_a_crumb_that_is_refused_is_not_needed(yahoo: Yahoo) -> None:
    yahoo.crumb = (429, b"Too Many Requests")
    yahoo.add("AAA")
    assert len(download(["AAA"], start=START, end=END).export.prices) == len(ASKED)


def test_yfinance_is_left_as_it_was(yahoo: Yahoo) -> None:
    config, logger = sys.modules["yfinance"].config, logging.getLogger("yfinance")
    before = config.debug.hide_exceptions, config.network.retries, logger.level
    with pytest.raises(DataError, match="GONE"):
        download(["GONE"])
    assert (config.debug.hide_exceptions, config.network.retries, logger.level) == before


def test_a_folder_that_holds_something_is_refused_before_anything_is_asked(
    yahoo: Yahoo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert command(tmp_path, "AAA") == 1
    assert "is not empty" in capsys.readouterr().err
    assert yahoo.asked == []


@pytest.mark.parametrize(
    ("tickers", "days", "words"),
    [
        ([], {}, "tickers is empty"),
        ("AAPL", {}, "expected a list of names"),
        (["AAPL", "aapl"], {}, "tickers holds AAPL twice"),
        (["US0378331005"], {}, "tickers holds the ISIN US0378331005"),
        (["../../v1/test"], {}, "expected letters, digits and"),
        (["A?B"], {}, "expected letters, digits and"),
        (["AAPL"], {"start": "03/04/2020"}, "start: '03/04/2020' is not a date"),
        (["AAPL"], {"start": "2020-02-01", "end": "2020-01-31"}, "start is 2020-02-01, expected a day up to"),
        (["AAPL"], {"end": "2261-01-01"}, r"end is 2261-01-01, expected a day that is over \(UTC\)"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(tickers: Any, days: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        download(tickers, **days)


def test_yfinance_is_imported_where_something_is_downloaded_and_not_before() -> None:
    ours = "import sys, experiments.cli, qn_env.sources.yahoo"
    code = f"{ours}; print({{'yfinance', 'curl_cffi'}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_missing_package_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yfinance", None)
    assert command(tmp_path, "AAA") == 1
    told = capsys.readouterr().err
    assert "needs the package 'yfinance', which is not installed: pip install \"qn-env[yahoo]\"" in told
    assert not (tmp_path / "out").exists()

"""Whatever an argument is, it is taken or refused by name, at once: never a traceback from the depth."""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

import experiments.running.runner as runner
from agents.agent import make_agent
from agents.audit import audit_agent
from experiments.cli import main
from experiments.commands.audit import Audit, check_agent
from experiments.commands.probes import Probes
from experiments.commands.search import SearchConfig
from experiments.papers.dmn.config import DmnStudy
from experiments.papers.quantnet.config import (
    QuantNetAblation,
    QuantNetSearch,
    QuantNetStudy,
    QuantNetTransfer,
)
from experiments.running.protocols import Protocol, holdout
from experiments.running.unseen import Unseen
from experiments.settings.config import RunConfig
from qn_env import TradingEnv, TradingVectorEnv
from qn_env.audit import check_no_lookahead
from qn_env.checks import check_number, check_whole, in_words
from qn_env.costs import Borrow, Financing, HalfSpread, Proportional, SquareRootImpact, per_asset
from qn_env.economics import Costs
from qn_env.errors import ConfigError, QnError
from qn_env.features import (
    CumulativeReturn,
    Defined,
    EwVolatility,
    MacdTrend,
    MeanReturn,
    NormalisedReturn,
    PriceDeviation,
    Volatility,
    Winsorised,
)
from qn_env.panel import Panel
from qn_env.sources import (
    ar1_trend,
    embedded,
    excess,
    from_prices,
    from_returns,
    noise,
    quantnet2020,
    ragged,
    read_panel,
)
from qn_env.sources.frames import from_market_frames, join
from qn_env.sources.rates import read_rate
from qn_env.sources.synthetic import contagion, drift, latent_drift, regime
from qn_env.tape import Tape
from qn_env.wrappers import GrossLeverage, LongOnly, MaxWeight

SECONDS = 1.0  # of this process: others on the machine do not count

WRONG: dict[str, Any] = {
    "none": None,
    "text": "x",
    "empty text": "",
    "digits": "63",
    "a fraction": 3.5,
    "a whole float": 2.0,
    "a list": [],
    "a list of text": ["x"],
    "a list of nothing": [None],
    "a dict": {},
    "a dict of text": {"x": "x"},
    "an object": object(),
    "nan": math.nan,
    "inf": math.inf,
    "minus inf": -math.inf,
    "huge": 10**30,
    "beyond printing": 10**5000,
    "beyond 64 bits": 2**63,
    "a billion": 10**9,
    "minus one": -1,
    "zero": 0,
    "true": True,
    "bytes": b"x",
    "an array": np.array([[1.0, 2.0]]),
    "an array of nothing": np.array(None),
    "NaT": pd.NaT,
    "a class": dict,
    "a frame": pd.DataFrame({"x": [1.0]}),
}

PANEL = ragged(seed=1, days=60)
embedded()  # what no panel stands for: read once
RATE = pd.Series(1e-4, index=pd.date_range("1999-12-01", "2000-12-31"), name="rf")
FRAME = pd.DataFrame({"A": [1.0, 1.1], "B": [2.0, 2.1]}, index=pd.date_range("2020-01-01", periods=2))


class Site(NamedTuple):
    """Something that is called, and its arguments as they should be."""

    call: Callable[..., Any]
    arguments: Mapping[str, Any]


def begun(**settings: Any) -> TradingEnv:
    env = TradingEnv(PANEL, window=2, **settings)
    env.reset(seed=0)
    return env


def batch(**settings: Any) -> TradingVectorEnv:
    envs = TradingVectorEnv(2, panel=PANEL, window=2, **settings)
    envs.reset(seed=0)
    return envs


def configured(of: type, **given: Any) -> Site:
    """A configuration: its settings are its arguments, at their defaults."""
    arguments = dict(given)
    for field in fields(of):
        if field.name not in arguments and field.default is not MISSING:
            arguments[field.name] = field.default
    return Site(of, arguments)


SYNTHETIC = {"volatility": 0.01, "markets": 1, "assets": 1, "days": 5, "seed": 0}
ENV = {
    "panel": PANEL,
    "window": 2,
    "cost_bps": 2.0,
    "costs": (),
    "vol_target": None,
    "features": (),
    "observation": "window",
    "positions": True,
    "reward": "net",
    "weighting": "market",
    "start": None,
    "warmup": 0,
    "execution_lag": 0,
    "random_start": False,
    "episode_days": None,
    "render_mode": None,
}
SITES: dict[str, Site] = {
    "TradingEnv": Site(TradingEnv, ENV),
    "TradingEnv.reset": Site(lambda **k: begun().reset(**k), {"seed": 0, "options": None}),
    "TradingEnv.reset options": Site(
        lambda **k: begun().reset(options=k), {"start": "2000-01-05", "length": 3, "markets": ["M0"]}
    ),
    "TradingEnv.step": Site(lambda **k: begun().step(**k), {"action": np.zeros(8)}),
    "TradingEnv.split": Site(lambda **k: begun().split(**k), {"latest": 0.1}),
    "TradingEnv.set_state": Site(lambda **k: begun().set_state(**k), {"state": begun().get_state()}),
    "TradingEnv.like": Site(begun().like, {"window": 3, "cost_bps": 1.0}),
    "TradingVectorEnv": Site(
        TradingVectorEnv,
        {k: v for k, v in ENV.items() if k != "render_mode"} | {"num_envs": 2, "autoreset_mode": "NextStep"},
    ),
    "TradingVectorEnv.reset": Site(lambda **k: batch().reset(**k), {"seed": 0, "options": None}),
    "TradingVectorEnv.reset options": Site(
        lambda **k: batch().reset(options=k),
        {"start": "2000-01-05", "length": 3, "markets": ["M0"], "reset_mask": np.array([True, False])},
    ),
    "TradingVectorEnv.step": Site(lambda **k: batch().step(**k), {"actions": np.zeros((2, 8))}),
    "Tape.of": Site(
        Tape.of,
        {k: ENV[k] for k in ("panel", "cost_bps", "costs", "vol_target", "start", "execution_lag")},
    ),
    "LongOnly": Site(LongOnly, {"env": begun()}),
    "MaxWeight": Site(MaxWeight, {"env": begun(), "cap": 0.5}),
    "GrossLeverage": Site(GrossLeverage, {"env": begun(), "cap": 0.5}),
    "check_no_lookahead": Site(
        check_no_lookahead, {"env": begun(episode_days=3), "days": 1, "seed": 0, "rebuild": None}
    ),
    "audit_agent": Site(
        audit_agent,
        {"agent": make_agent("buy-and-hold"), "env": begun(), "days": 1, "seed": 0, "depth": "brief"},
    ),
    "Proportional": Site(lambda **k: Proportional(**k).rates(PANEL), {"bps": 1.0}),
    "HalfSpread": Site(lambda **k: HalfSpread(**k).rates(PANEL), {"half_spread_bps": 1.0}),
    "SquareRootImpact": Site(
        lambda **k: SquareRootImpact(**k).rates(PANEL), {"capital": 1.0, "volume": 1.0, "coefficient": 1.0}
    ),
    "Borrow": Site(lambda **k: Borrow(**k).rates(PANEL), {"annual_bps": 1.0}),
    "Financing": Site(lambda **k: Financing(**k).rates(PANEL), {"annual_bps": 1.0}),
    "per_asset": Site(per_asset, {"value": 1.0, "panel": PANEL, "name": "volume"}),
    "EwVolatility": Site(EwVolatility, {"span": 60, "min_days": 21}),
    "MeanReturn": Site(MeanReturn, {"days": 5}),
    "Volatility": Site(Volatility, {"days": 5}),
    "PriceDeviation": Site(PriceDeviation, {"days": 5}),
    "CumulativeReturn": Site(CumulativeReturn, {"days": 5}),
    "NormalisedReturn": Site(NormalisedReturn, {"days": 5, "span": 60}),
    "MacdTrend": Site(MacdTrend, {"short": 8, "long": 24}),
    "Winsorised": Site(Winsorised, {"feature": MeanReturn(5), "half_life": 252.0, "width": 5.0}),
    "Defined": Site(Defined, {"features": (MeanReturn(5),)}),
    "Panel.build": Site(
        Panel.build,
        {
            "dates": ["2020-01-01", "2020-01-02"],
            "assets": ["A"],
            "market_of": ["M"],
            "returns": [[0.1], [0.2]],
            "tradable": None,
            "notes": (),
            "source": "mine",
        },
    ),
    "Panel.select": Site(PANEL.select, {"markets": ["M0"]}),
    "Panel.until": Site(PANEL.until, {"end": "2000-02-01"}),
    "Panel.since": Site(PANEL.since, {"begin": "2000-02-01"}),
    "Panel.until per market": Site(
        lambda **k: PANEL.until(k), {"M0": "2000-02-01", "M1": "2000-02-01", "M2": "2000-02-01"}
    ),
    "Panel.with_future_scrambled": Site(PANEL.with_future_scrambled, {"day": "2000-02-01", "seed": 0}),
    "Panel.feature": Site(PANEL.feature, {"feature": MeanReturn(5)}),
    "Panel.features": Site(PANEL.features, {"features": [MeanReturn(5)]}),
    "from_prices": Site(from_prices, {"frame": FRAME, "market_of": "M", "source": "mine", "notes": ()}),
    "from_returns": Site(from_returns, {"frame": FRAME, "market_of": "M", "source": "mine", "notes": ()}),
    "from_market_frames": Site(
        from_market_frames, {"frames": {"M": FRAME}, "kind": "prices", "source": "mine", "notes": ()}
    ),
    "join": Site(join, {"panels": [PANEL], "source": "mine", "notes": ()}),
    "read_panel": Site(read_panel, {"folder": "nowhere", "kind": "prices", "exclude": ()}),
    "read_rate": Site(read_rate, {"path": "nowhere", "column": "rf", "unit": "fraction-a-day"}),
    "excess": Site(excess, {"panel": PANEL, "rate": RATE}),
    "ar1_trend": Site(ar1_trend, {"coefficient": 0.1, **SYNTHETIC}),
    "noise": Site(noise, SYNTHETIC),
    "drift": Site(drift, {"strength": 0.1, **SYNTHETIC}),
    "latent_drift": Site(latent_drift, {"persistence": 0.9, "strength": 0.3, **SYNTHETIC}),
    "contagion": Site(contagion, {"coefficient": 0.1, "volatility": 0.01, "assets": 1, "days": 5, "seed": 0}),
    "regime": Site(regime, {"coefficient": 0.1, **SYNTHETIC}),
    "ragged": Site(
        ragged, {"sizes": (1, 2), "days": 40, "coefficient": 0.0, "spread": (0.5, 3.0), "seed": 1}
    ),
    "Protocol": Site(
        Protocol,
        {
            "name": "holdout",
            "calendar": "market",
            "begin": None,
            "test_from": None,
            "years": 5,
            "train_years": 10,
            "select": 0.1,
            "purge": 0,
            "embargo": 0,
        },
    ),
    "Protocol.folds": Site(Protocol().folds, {"panel": PANEL}),
    "Unseen": Site(
        Unseen,
        {
            "number": None,
            "shots": 252,
            "groups": None,
            "calendar": "market",
            "begin": None,
            "purge": 0,
            "embargo": 0,
        },
    ),
    "Unseen.folds": Site(Unseen().folds, {"panel": PANEL}),
    "holdout": Site(holdout, {"panel": PANEL, "days": 5, "calendar": "market", "purge": 0, "embargo": 0}),
    "RunConfig": configured(RunConfig),
    "SearchConfig": configured(SearchConfig, agent="quantnet", out=Path("x"), fixed={}),
    "Audit": configured(Audit),
    "Probes": configured(Probes),
    "QuantNetStudy": configured(QuantNetStudy, out=Path("x")),
    "QuantNetAblation": configured(QuantNetAblation, out=Path("x")),
    "QuantNetSearch": configured(QuantNetSearch, out=Path("x")),
    "QuantNetTransfer": configured(QuantNetTransfer, out=Path("x")),
    "DmnStudy": configured(DmnStudy, out=Path("x")),
}
ARGUMENTS = [(name, argument) for name, site in SITES.items() for argument in site.arguments]
# Those whose proper call takes its time, or writes: what follows the checks is left out.
SLOW: dict[str, Site] = {
    "compare": Site(
        runner.compare,
        {"agents": ["macd"], "panel": PANEL, "out": "x", "costs": [0.0], "seeds": 1}
        | {
            f.name: f.default
            for f in fields(RunConfig)
            if f.name in ("seed", "jobs", "begin", "quick", "protocol")
        },
    ),
    "check_agent": Site(
        check_agent,
        {"name": "macd", "panel": PANEL, "days": 1, "seed": 0, "vol_target": None, "refit": False},
    ),
    "quantnet2020": Site(quantnet2020, {"seed": 0, "coefficient": 0.0, "volatility": 0.01}),
}
SLOW_ARGUMENTS = [(name, argument) for name, site in SLOW.items() for argument in site.arguments]


# What a message calls an argument whose name alone would tell little.
CALLED = {
    ("Protocol", "name"): "protocol",
    ("Unseen", "number"): "folds",
    ("per_asset", "value"): "volume",
    ("read_panel", "kind"): "",  # none is right, but for the folder
}
CALLED |= {(wrapper, "env"): "TradingEnv" for wrapper in ("LongOnly", "MaxWeight", "GrossLeverage")}


class BegunError(QnError):
    """The checks were passed, and what takes its time would begin."""


def taken_or_refused(name: str, site: Site, argument: str) -> None:
    """Every wrong value in place of one argument: accepted, or refused with a sentence, within a second."""
    for what, value in WRONG.items():
        begin, refusal = time.process_time(), ""
        try:
            site.call(**{**site.arguments, argument: value})
        except BegunError:
            pass
        except QnError as error:
            refusal = str(error)
        except Exception as error:
            error.add_note(f"{argument} was {what}.")
            raise
        assert time.process_time() - begin < SECONDS, what
        assert len(refusal) < 1000, what
        # Text, lists and the like may be of the right type and be refused for what they say.
        if (
            refusal
            and not isinstance(value, str | list | dict | pd.DataFrame | type(PANEL.returns))
            and value != 0
        ):
            assert CALLED.get((name, argument), argument) in refusal, (what, refusal)


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_an_argument_is_taken_or_refused_by_name_at_once(name: str, argument: str) -> None:
    taken_or_refused(name, SITES[name], argument)


@pytest.mark.parametrize(("name", "argument"), SLOW_ARGUMENTS)
def test_what_takes_its_time_refuses_before_it_begins(
    name: str, argument: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: Any, **__: Any) -> None:
        raise BegunError("begun")

    monkeypatch.setattr(runner, "run", begin)
    monkeypatch.setattr(Protocol, "folds", begin)
    monkeypatch.setattr("qn_env.sources.synthetic.ar1_of_sizes", begin)
    with pytest.raises(BegunError):
        SLOW[name].call(**SLOW[name].arguments)
    taken_or_refused(name, SLOW[name], argument)


@pytest.mark.parametrize("name", SITES)
def test_the_arguments_as_they_should_be_are_taken(name: str) -> None:
    if name in ("read_panel", "read_rate", "Protocol.folds", "Unseen.folds", "holdout"):  # none, too few days
        with pytest.raises(QnError, match=r"no such|trading days"):
            SITES[name].call(**SITES[name].arguments)
    else:
        SITES[name].call(**SITES[name].arguments)


@pytest.mark.parametrize("value", [2.0, True, "3", None, math.nan, np.float64(3.0), np.True_, [3]])
def test_only_whole_numbers_are_whole_numbers(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"window is .*, expected a whole number from 1 to 9"):
        check_whole("window", value, 1, 9)
    assert check_whole("window", np.int32(3), 1, 9) == 3


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, 1.1, True, "0.5", None, 10**400])
def test_a_number_out_of_its_bounds_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"share is .*, expected a number >= 0 and at most 1"):
        check_number("share", value, 0.0, 1.0)
    assert check_number("share", np.float32(0.5), 0.0, 1.0) == 0.5


def test_what_was_found_is_told_in_a_few_words() -> None:
    words = [in_words(v) for v in (10**5000, "x" * 99, pd.NaT, dict, PANEL, np.int64(3), {"a": 1})]
    assert words[0] == "a number of thousands of digits"
    assert len(words[1]) < 70
    assert words[2:] == ["NaT", "the class dict", "a Panel", "3", "{'a': 1}"]


BEYOND = {
    "seeds": (RunConfig, 10**30, "seeds is 1000000000000000000000000000000, expected at most 10000"),
    "test_years": (RunConfig, 100_000, "test_years is 100000, expected at most 200"),
    "jobs": (RunConfig, 10**6, "jobs is 1000000, expected at most 1024"),
    "seed": (RunConfig, 2**32, "seed is 4294967296, expected at most 2147483647"),
    "costs": (
        RunConfig,
        (1e5,),
        "costs is 100000.0, expected a number of basis points >= 0 and at most 10000",
    ),
    "vol_target": (
        RunConfig,
        15.0,
        "vol_target is 15.0, expected a volatility, e.g. 0.15, above 0 and at most 10",
    ),
    "trials": (SearchConfig, 10**7, "trials is 10000000, expected at most 1000000"),
    "window": (TradingEnv, 10**9, "window is 1000000000, expected at most 20000"),
    "execution_lag": (TradingEnv, 10**12, "execution_lag is 1000000000000, expected at most 1000"),
    "warmup": (TradingEnv, -1, "warmup is -1, expected at least 0"),
    "episode_days": (TradingEnv, 1.5, "episode_days is 1.5, expected a whole number from 1 to 100000000"),
    "num_envs": (TradingVectorEnv, 10**9, "num_envs is 1000000000, expected at most 1000000"),
    "dimensions": (QuantNetAblation, (10, 10**9), "dimensions is 1000000000, expected at most 10000"),
}


@pytest.mark.parametrize("name", BEYOND)
def test_a_number_beyond_all_reason_is_refused_by_name(name: str) -> None:
    of, value, message = BEYOND[name]
    given = {"agent": "macd", "out": Path("x")} if of is SearchConfig else {}
    given |= {"out": Path("x")} if of is QuantNetAblation else {}
    given |= {"panel": PANEL} if of in (TradingEnv, TradingVectorEnv) else {}
    with pytest.raises(ConfigError, match=re.escape(message)):
        of(**given, **{name: value})


def test_a_batch_that_no_memory_holds_is_refused_before_it_is_laid_out() -> None:
    with pytest.raises(
        ConfigError, match=r"1000000 environments, 63 days, 8 assets .* expected at most 536870912"
    ):
        TradingVectorEnv(1_000_000, panel=PANEL)
    with pytest.raises(ConfigError, match=r"are 15000000000000 returns, expected at most"):
        noise(markets=10_000, assets=10_000, days=150_000, seed=0)


def test_a_setting_that_does_not_exist_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting 'windw'\. Did you mean 'window'"):
        TradingVectorEnv(2, panel=PANEL, windw=3)
    with pytest.raises(ConfigError, match=r"unknown setting 'windw'\. Did you mean 'window'"):
        TradingEnv(PANEL, windw=3)
    with pytest.raises(ConfigError, match=r"unknown autoreset_mode 'SameStp'\. Did you mean 'SameStep'"):
        TradingVectorEnv(2, panel=PANEL, autoreset_mode="SameStp")
    with pytest.raises(ConfigError, match=r"unknown calendar 'markt'\. Did you mean 'market'"):
        Protocol(calendar="markt")  # type: ignore[arg-type]


def test_one_name_is_no_list_of_names() -> None:
    with pytest.raises(ConfigError, match="agents is 'macd', expected a list of names"):
        runner.compare("macd", PANEL, out="x")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="costs is 5, expected a list of basis points"):
        runner.compare(["macd"], PANEL, out="x", costs=5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="features is a MeanReturn, expected a list of features"):
        TradingEnv(PANEL, features=MeanReturn(5))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="costs is a HalfSpread, expected a list of costs"):
        TradingEnv(PANEL, costs=HalfSpread(1.0))  # type: ignore[arg-type]


# What a user's own functions and objects give


@pytest.mark.parametrize(
    "given", [None, "x", 3.0, [[1.0], [1.0, 2.0]], np.zeros((3, 8)), np.full((60, 8), "x")]
)
def test_a_feature_of_ones_own_must_give_a_number_a_day_and_asset(given: Any) -> None:
    def own(_: Any) -> Any:
        return given

    with pytest.raises(
        ConfigError, match=r"feature own gave .*, expected numbers in the shape of the returns"
    ):
        ragged(seed=1, days=60).feature(own)


def test_a_feature_of_ones_own_may_give_a_frame() -> None:
    np.testing.assert_array_equal(PANEL.feature(lambda r: pd.DataFrame(r)), PANEL.returns)  # type: ignore


@pytest.mark.parametrize(
    "given",
    [
        3,
        None,
        Costs(None),
        Costs("x"),
        Costs(np.nan),
        Costs(np.zeros(3)),
        Costs(0.0, impact=[[1.0], [1.0, 2.0]]),
        Costs(0.0, short=np.full(8, np.inf)),
    ],
)
def test_a_cost_of_ones_own_must_give_finite_rates(given: Any) -> None:
    class Own:
        def rates(self, panel: Panel) -> Any:
            return given

    with pytest.raises(ConfigError, match=r"Own\.rates.*, expected (Costs|finite numbers)"):
        TradingEnv(PANEL, costs=[Own()])


def test_a_cost_of_ones_own_may_give_one_rate_for_all() -> None:
    class Own:
        def rates(self, panel: Panel) -> Any:
            return Costs(1e-4, long=1e-5)

    assert TradingEnv(PANEL, costs=[Own()]).tape.costs.long is not None


def test_a_list_without_end_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="features has more than 1000000 entries, expected a list of features"
    ):
        TradingEnv(PANEL, features=itertools.repeat(MeanReturn(5)))  # type: ignore[arg-type]


# Dates

DAYS = [
    "2000-02-01",
    date(2000, 2, 1),
    datetime(2000, 2, 1, 16, 30),
    pd.Timestamp("2000-02-01"),
    np.datetime64("2000-02-01"),
    np.datetime64("2000-02-01T10:00"),
]
NO_DAYS = [
    "",
    "-5",
    "NaT",
    "nan",
    "today",
    "20200101",
    "2020",
    "2020-01",
    "2020-02-30",
    "01/02/2020",
    "2020-01-01 ",
    "2020-01-01T10:00",
    "1066-10-14",
    "9999-12-31",
    "\u0662\u0660\u0662\u0660-01-01",
    5,
    20200101,
    pd.NaT,
    np.datetime64("NaT"),
    np.datetime64("2020"),
    np.datetime64("2020-01"),
    pd.Timestamp("2020-01-01", tz="UTC"),
    date(1066, 10, 14),
]


@pytest.mark.parametrize("day", DAYS)
def test_a_day_may_be_text_or_a_date(day: Any) -> None:
    assert PANEL.since(day).fingerprint == PANEL.since("2000-02-01").fingerprint
    assert TradingEnv(PANEL, start=day).tape.first == TradingEnv(PANEL, start="2000-02-01").tape.first
    assert RunConfig(begin=day).begin == "2000-02-01"


@pytest.mark.parametrize("day", NO_DAYS)
def test_what_is_no_day_is_refused_and_never_ignored(day: Any) -> None:
    how = r" is not a date; write YYYY-MM-DD, from 1678-01-01 to 2261-12-31"
    for name, call in {
        "begin": lambda: PANEL.since(day),
        "end": lambda: PANEL.until(day),
        "end of market 'M1'": lambda: PANEL.until({"M0": "2000-02-01", "M1": day, "M2": "2000-02-01"}),
        "start": lambda: TradingEnv(PANEL, start=day),
        "begin:": lambda: RunConfig(begin=day),
        "test_from": lambda: RunConfig(test_from=day),
        "test_from:": lambda: Protocol(test_from=day),
        "begin: ": lambda: DmnStudy(out=Path("x"), begin=day),
        "start:": lambda: begun().reset(options={"start": day}),
    }.items():
        with pytest.raises(ConfigError, match=f"^{re.escape(name)}.*{how}"):
            call()


@pytest.mark.parametrize("day", ["NaT", "", "-5", "20200101"])
def test_the_command_line_refuses_what_is_no_day(day: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["run", f"--begin={day}"])
    assert stopped.value.code == 2
    assert f"begin: {day!r} is not a date; write YYYY-MM-DD" in " ".join(capsys.readouterr().err.split())


def test_a_begin_after_the_last_day_is_refused() -> None:
    with pytest.raises(QnError, match="no day from begin, 2100-01-01, on"):
        Protocol(begin="2100-01-01").folds(PANEL)
    with pytest.raises(QnError, match=r"first test day would be after the panel's last, 2000-0.*test_from"):
        Protocol(name="expanding", test_from="2100-01-01").folds(PANEL)


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        ([20200101, 20200102], "data row 1 is '20200101'"),
        (["2020", "2021"], "data row 1 is '2020'"),
        (np.array(["2020-01", "2020-02"], dtype="datetime64[M]"), "data row 1 is '2020-01'"),
        (np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"), "1 dates are NaT"),
        (["03/04/2020", "04/04/2020"], "data row 1 is '03/04/2020'"),
    ],
)
def test_dates_of_a_panel_built_by_hand_are_not_guessed(dates: Any, message: str) -> None:
    with pytest.raises(QnError, match=message):
        Panel.build(dates, ["A"], ["M"], [[0.1], [0.2]])


def test_text_is_no_return() -> None:
    with pytest.raises(QnError, match=r"returns is .*, expected an array of numbers"):
        Panel.build(["2020-01-01"], ["A"], ["M"], [["0.1"]])
